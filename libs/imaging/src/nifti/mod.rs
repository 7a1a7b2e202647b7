//! Reads and writes NIfTI-1 files.
//!
//! Files come from anywhere, so nothing in them is believed: every promise of the header is
//! checked before memory is taken for it, and every error names the file and says what to do.

mod header;
#[expect(clippy::needless_range_loop, reason = "rows and columns of matrices")]
mod write;

use std::{fs::File, io::Read, path::Path};

use ::nifti::{InMemNiftiVolume, IntoNdArray};
use flate2::bufread::MultiGzDecoder;
use ndarray::{Array3, Ix3};
use neurotriage_domain::TumourClass;

use self::header::{HEADER_BYTES, Layout};
pub use self::write::{write_atomically, write_image_gz, write_mask_gz};
use crate::{FileProblem, Image, ImagingError, Mask, Volume};

/// Most bytes that one file may take, compressed or not. A float64 volume of 400 voxels a side
/// fits.
pub const FILE_BYTES_MAX: u64 = 512 << 20;

/// Most voxels in one volume: 400 a side.
pub const VOXELS_MAX: u64 = 64_000_000;

/// Deflate packs at most this many bytes into one.
const DEFLATE_RATIO_MAX: usize = 1032;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Returns the image in a NIfTI-1 file, gzip or not, with the header's slope and intercept
/// applied. `name` is only used in errors.
///
/// The sform is taken if its code is above 0, the qform otherwise. Voxels are
/// `[x, y, z]` in the index order of the file: see [`crate::canonicalise`].
///
/// # Errors
/// [`ImagingError::File`] with the [`FileProblem`].
pub fn read_image(bytes: &[u8], name: &str) -> Result<Image, ImagingError> {
    decode(bytes, name).map_err(|problem| ImagingError::file(name, problem))
}

/// Returns the tumour mask in a NIfTI-1 file; label 3 (BraTS 2023) becomes 4.
///
/// # Errors
/// [`ImagingError::File`] with the [`FileProblem`]; [`FileProblem::Label`] for any value but 0, 1,
/// 2, 3 and 4.
pub fn read_mask(bytes: &[u8], name: &str) -> Result<Mask, ImagingError> {
    let image = read_image(bytes, name)?;
    let mut labels = Vec::with_capacity(image.voxels.len());
    for (index, &value) in image.voxels.indexed_iter() {
        let Ok(class) = TumourClass::from_label(value) else {
            let problem = FileProblem::Label { value, index: index.into() };
            return Err(ImagingError::file(name, problem));
        };
        labels.push(class.map_or(0, TumourClass::label));
    }
    let voxels = Array3::from_shape_vec(image.voxels.dim(), labels)
        .map_err(|error| damaged(name, &error))?;
    Ok(Volume { voxels, affine: image.affine })
}

/// Reads a file as [`read_image`] does.
///
/// # Errors
/// [`ImagingError::Io`], or as [`read_image`].
pub fn read_image_file(path: &Path) -> Result<Image, ImagingError> {
    read_image(&read_bounded(path)?, &file_name(path))
}

/// Reads a file as [`read_mask`] does.
///
/// # Errors
/// [`ImagingError::Io`], or as [`read_mask`].
pub fn read_mask_file(path: &Path) -> Result<Mask, ImagingError> {
    read_mask(&read_bounded(path)?, &file_name(path))
}

fn read_bounded(path: &Path) -> Result<Vec<u8>, ImagingError> {
    let io_error = |problem| ImagingError::Io { action: "read", path: path.to_owned(), problem };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(io_error)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(io_error)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let problem =
            FileProblem::TooLarge { bytes: bytes.len() as u64, bytes_max: FILE_BYTES_MAX };
        return Err(ImagingError::file(&file_name(path), problem));
    }
    Ok(bytes)
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn damaged(name: &str, error: &dyn std::fmt::Display) -> ImagingError {
    ImagingError::file(name, FileProblem::Header { detail: error.to_string() })
}

fn decode(bytes: &[u8], name: &str) -> Result<Image, FileProblem> {
    if bytes.is_empty() {
        return Err(FileProblem::Empty);
    }
    if !bytes.starts_with(&GZIP_MAGIC) {
        if bytes.len() >= 4 && !header::has_known_size(bytes) {
            return Err(foreign(bytes, name));
        }
        return decode_stream(bytes, bytes.len(), |error| FileProblem::Header {
            detail: error.to_string(),
        });
    }
    let unpacked_max = bytes.len().saturating_mul(DEFLATE_RATIO_MAX);
    decode_stream(MultiGzDecoder::new(bytes), unpacked_max, |error| FileProblem::DamagedGzip {
        detail: error.to_string(),
    })
}

/// Says what a file is that is neither gzip nor NIfTI.
fn foreign(bytes: &[u8], name: &str) -> FileProblem {
    const SNIFF_BYTES: usize = 512;
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(SNIFF_BYTES)]).to_lowercase();
    if ["<!doctype", "<html", "<?xml"].iter().any(|tag| start.trim_start().starts_with(tag)) {
        return FileProblem::WebPage;
    }
    if bytes.get(128..132) == Some(b"DICM") {
        return FileProblem::Dicom;
    }
    if name.ends_with(".gz") { FileProblem::NotGzip } else { FileProblem::NotNifti }
}

/// Reads header and voxels; memory is taken only for what the checked header promises and the
/// source, of at most `source_max` bytes, can hold.
fn decode_stream(
    mut source: impl Read,
    source_max: usize,
    unreadable: impl Fn(std::io::Error) -> FileProblem,
) -> Result<Image, FileProblem> {
    let mut start = Vec::with_capacity(HEADER_BYTES);
    source.by_ref().take(HEADER_BYTES as u64).read_to_end(&mut start).map_err(&unreadable)?;
    let layout = Layout::parse(&start)?;

    let gap = layout.data_offset - HEADER_BYTES as u64;
    let skipped =
        std::io::copy(&mut source.by_ref().take(gap), &mut std::io::sink()).map_err(&unreadable)?;
    let expected = layout.data_bytes;
    let mut data = Vec::new();
    let capacity = usize::try_from(expected).unwrap_or(usize::MAX);
    if skipped == gap {
        // One byte more, so that too long a file is noticed and gzip's checksum is read.
        data.try_reserve_exact(capacity.saturating_add(1).min(source_max))
            .map_err(|_| FileProblem::TooLarge { bytes: expected, bytes_max: FILE_BYTES_MAX })?;
        source.take(expected + 1).read_to_end(&mut data).map_err(&unreadable)?;
    }
    if data.len() as u64 != expected {
        return Err(FileProblem::DataLength { expected, found: data.len() as u64 });
    }
    image(&layout, data)
}

fn image(layout: &Layout, data: Vec<u8>) -> Result<Image, FileProblem> {
    let broken = |detail: String| FileProblem::Header { detail };
    let [x, y, z] = layout.shape;
    let volume = InMemNiftiVolume::from_raw_fields(
        [3, x, y, z, 1, 1, 1, 1],
        layout.voxel_type,
        layout.slope,
        layout.intercept,
        data,
        layout.endianness,
    )
    .map_err(|error| broken(error.to_string()))?;
    let voxels = volume
        .into_ndarray::<f32>()
        .map_err(|error| broken(error.to_string()))?
        .into_dimensionality::<Ix3>()
        .map_err(|error| broken(error.to_string()))?;
    // The crate's arrays lie in Fortran order: this copies by logical index, not by memory.
    let voxels = voxels.as_standard_layout().into_owned();
    refuse_not_finite(&voxels)?;
    Ok(Volume { voxels, affine: layout.affine })
}

fn refuse_not_finite(voxels: &Array3<f32>) -> Result<(), FileProblem> {
    if voxels.iter().all(|value| value.is_finite()) {
        return Ok(());
    }
    let mut bad = voxels.indexed_iter().filter(|(_, value)| !value.is_finite());
    match bad.next() {
        Some((index, _)) => {
            Err(FileProblem::NotFinite { count: 1 + bad.count(), index: index.into() })
        }
        None => Ok(()),
    }
}
