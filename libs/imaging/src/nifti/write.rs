//! Writes NIfTI-1 files.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    process,
    sync::atomic::{AtomicU64, Ordering},
};

use flate2::{Compression, GzBuilder, write::GzEncoder};
use ndarray::ArrayView3;

use super::header::HEADER_BYTES;
use crate::{Affine, FileProblem, Image, ImagingError, Mask, Volume};

/// Masks are nearly all zeros, images are noise: more effort gains little in either.
const LEVEL: Compression = Compression::new(4);

/// Codes of nifti1.h.
const UINT8: (i16, i16) = (2, 8);
const FLOAT32: (i16, i16) = (16, 32);
const SCANNER_ANATOMICAL: i16 = 1;
const MILLIMETRES: u8 = 2;

/// Largest difference of a rotation from orthogonal that a qform may hide.
const ORTHOGONAL_TOLERANCE: f64 = 1e-5;

/// Returns the image as `.nii.gz`, float32, with sform and, unless the axes are skewed, qform.
///
/// The same image always gives the same bytes.
///
/// # Errors
/// [`ImagingError::File`] if a side is 0 or above 32767 voxels.
pub fn write_image_gz(image: &Image) -> Result<Vec<u8>, ImagingError> {
    write_gz(image, FLOAT32, |row, value| row.extend_from_slice(&value.to_le_bytes()))
}

/// Returns the mask as `.nii.gz`, uint8, with sform and, unless the axes are skewed, qform.
///
/// # Errors
/// [`ImagingError::File`] if a side is 0 or above 32767 voxels.
pub fn write_mask_gz(mask: &Mask) -> Result<Vec<u8>, ImagingError> {
    write_gz(mask, UINT8, |row, value| row.push(value))
}

/// Replaces a file in one step: readers see the old bytes or the new ones, also after a power cut.
///
/// # Errors
/// [`ImagingError::Io`]; the file is then as it was.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), ImagingError> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let io_error = |problem| ImagingError::Io { action: "write", path: path.to_owned(), problem };
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let Some(name) = path.file_name() else {
        return Err(io_error(io::Error::new(io::ErrorKind::InvalidInput, "path names no file")));
    };
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let mut partial_name = name.to_owned();
    partial_name.push(format!(".{}-{number}.partial", process::id()));
    let partial = folder.join(partial_name);
    let written = write_synced(&partial, bytes)
        .and_then(|()| fs::rename(&partial, path))
        .and_then(|()| File::open(&folder)?.sync_all());
    written.map_err(|problem| {
        // The first error says what went wrong; one of the clean-up would only hide it.
        let _ = fs::remove_file(&partial);
        io_error(problem)
    })
}

fn write_synced(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

fn write_gz<T: Copy>(
    volume: &Volume<T>,
    voxel_type: (i16, i16),
    push: impl Fn(&mut Vec<u8>, T),
) -> Result<Vec<u8>, ImagingError> {
    let header = header_bytes(volume.shape(), &volume.affine, voxel_type)
        .map_err(|problem| ImagingError::file("image to write", problem))?;
    let mut encoder = GzBuilder::new().write(Vec::new(), LEVEL);
    encode(&mut encoder, &header, volume.voxels.view(), push)
        .and_then(|()| encoder.finish())
        .map_err(|problem| ImagingError::Io {
            action: "compress",
            path: PathBuf::from("image"),
            problem,
        })
}

/// Writes the voxels with x fastest, as NIfTI stores them.
fn encode<T: Copy>(
    encoder: &mut GzEncoder<Vec<u8>>,
    header: &[u8],
    voxels: ArrayView3<'_, T>,
    push: impl Fn(&mut Vec<u8>, T),
) -> io::Result<()> {
    encoder.write_all(header)?;
    let mut plane = Vec::new();
    for slice in voxels.axis_iter(ndarray::Axis(2)) {
        plane.clear();
        slice.t().iter().for_each(|&value| push(&mut plane, value));
        encoder.write_all(&plane)?;
    }
    Ok(())
}

fn header_bytes(
    shape: [usize; 3],
    affine: &Affine,
    (code, bits): (i16, i16),
) -> Result<Vec<u8>, FileProblem> {
    let mut header = vec![0_u8; HEADER_BYTES];
    let mut put = |offset: usize, bytes: &[u8]| {
        header[offset..offset + bytes.len()].copy_from_slice(bytes);
    };
    put(0, &348_i32.to_le_bytes());
    put(40, &3_i16.to_le_bytes());
    for axis in 0..3 {
        let side = i16::try_from(shape[axis]).ok().filter(|&side| side > 0).ok_or_else(|| {
            FileProblem::Header { detail: format!("shape {shape:?} does not fit NIfTI-1") }
        })?;
        put(42 + 2 * axis, &side.to_le_bytes());
    }
    for axis in 3..7 {
        put(42 + 2 * axis, &1_i16.to_le_bytes());
    }
    put(70, &code.to_le_bytes());
    put(72, &bits.to_le_bytes());
    let quaternion = quaternion(affine);
    let handedness = quaternion.map_or(1.0, |(_, handedness)| handedness);
    put(76, &(handedness as f32).to_le_bytes());
    for (axis, edge_mm) in affine.spacing().as_mm().into_iter().enumerate() {
        put(80 + 4 * axis, &(edge_mm as f32).to_le_bytes());
    }
    put(108, &(HEADER_BYTES as f32).to_le_bytes());
    put(112, &1_f32.to_le_bytes());
    put(123, &[MILLIMETRES]);
    if let Some((bcd, _)) = quaternion {
        put(252, &SCANNER_ANATOMICAL.to_le_bytes());
        for axis in 0..3 {
            put(256 + 4 * axis, &(bcd[axis] as f32).to_le_bytes());
            put(268 + 4 * axis, &(affine.rows()[axis][3] as f32).to_le_bytes());
        }
    }
    put(254, &SCANNER_ANATOMICAL.to_le_bytes());
    for (row, values) in affine.rows()[..3].iter().enumerate() {
        for (column, value) in values.iter().enumerate() {
            put(280 + 16 * row + 4 * column, &(*value as f32).to_le_bytes());
        }
    }
    put(344, b"n+1\0");
    Ok(header)
}

/// Returns the components b, c, d of the unit quaternion and the handedness (1 or -1) of the
/// affine's rotation, or `None` if its axes are not at right angles.
fn quaternion(affine: &Affine) -> Option<([f64; 3], f64)> {
    let edges_mm = affine.spacing().as_mm();
    let mut r = [[0.0; 3]; 3];
    for row in 0..3 {
        for column in 0..3 {
            r[row][column] = affine.rows()[row][column] / edges_mm[column];
        }
    }
    for first in 0..3 {
        for second in 0..first {
            let dot: f64 = (0..3).map(|row| r[row][first] * r[row][second]).sum();
            if dot.abs() > ORTHOGONAL_TOLERANCE {
                return None;
            }
        }
    }
    let determinant = r[0][0] * (r[1][1] * r[2][2] - r[1][2] * r[2][1])
        - r[0][1] * (r[1][0] * r[2][2] - r[1][2] * r[2][0])
        + r[0][2] * (r[1][0] * r[2][1] - r[1][1] * r[2][0]);
    let handedness = if determinant < 0.0 { -1.0 } else { 1.0 };
    for row in &mut r {
        row[2] *= handedness;
    }
    // Four times the square of each component; the largest is the safe one to divide by.
    let squares = [
        1.0 + r[0][0] + r[1][1] + r[2][2],
        1.0 + r[0][0] - r[1][1] - r[2][2],
        1.0 - r[0][0] + r[1][1] - r[2][2],
        1.0 - r[0][0] - r[1][1] + r[2][2],
    ];
    let largest = (0..4).fold(0, |best, i| if squares[i] > squares[best] { i } else { best });
    let length = 2.0 * squares[largest].sqrt();
    let abcd = match largest {
        0 => [squares[0], r[2][1] - r[1][2], r[0][2] - r[2][0], r[1][0] - r[0][1]],
        1 => [r[2][1] - r[1][2], squares[1], r[0][1] + r[1][0], r[0][2] + r[2][0]],
        2 => [r[0][2] - r[2][0], r[0][1] + r[1][0], squares[2], r[1][2] + r[2][1]],
        _ => [r[1][0] - r[0][1], r[0][2] + r[2][0], r[1][2] + r[2][1], squares[3]],
    };
    // The reader takes the first component to be positive.
    let sign = if abcd[0] < 0.0 { -1.0 } else { 1.0 };
    Some(([1, 2, 3].map(|i: usize| sign * abcd[i] / length), handedness))
}
