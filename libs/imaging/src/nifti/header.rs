//! Checks the header before anything is believed.

use ::nifti::{Endianness, NiftiHeader, NiftiType, Unit};

use super::{FILE_BYTES_MAX, VOXELS_MAX};
use crate::{Affine, FileProblem, InvalidAffine};

/// Header and the four bytes that announce extensions.
pub(super) const HEADER_BYTES: usize = 352;

/// `sizeof_hdr` of NIfTI-1 and NIfTI-2.
const NIFTI1_BYTES: u32 = 348;
const NIFTI2_BYTES: u32 = 540;

/// Largest dimension that the header's signed 16 bits can hold.
const DIMENSION_MAX: u16 = i16::MAX as u16;

/// What is needed of a header, checked.
pub(super) struct Layout {
    pub(super) shape: [u16; 3],
    pub(super) affine: Affine,
    pub(super) voxel_type: NiftiType,
    pub(super) slope: f32,
    pub(super) intercept: f32,
    pub(super) endianness: Endianness,
    pub(super) data_offset: u64,
    pub(super) data_bytes: u64,
}

/// Returns true if the bytes begin as NIfTI-1 or NIfTI-2 does, in either byte order.
pub(super) fn has_known_size(bytes: &[u8]) -> bool {
    header_size(bytes).is_some()
}

fn header_size(bytes: &[u8]) -> Option<u32> {
    let start: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
    [u32::from_le_bytes(start), u32::from_be_bytes(start)]
        .into_iter()
        .find(|size| [NIFTI1_BYTES, NIFTI2_BYTES].contains(size))
}

impl Layout {
    /// Reads the first [`HEADER_BYTES`] bytes of a file.
    pub(super) fn parse(start: &[u8]) -> Result<Self, FileProblem> {
        match header_size(start) {
            Some(NIFTI2_BYTES) => return Err(FileProblem::Nifti2),
            Some(_) => {}
            None if start.len() < 4 => {
                return Err(FileProblem::HeaderCutOff { found: start.len() });
            }
            None => return Err(FileProblem::NotNifti),
        }
        if start.len() < HEADER_BYTES {
            return Err(FileProblem::HeaderCutOff { found: start.len() });
        }
        if &start[344..347] == b"ni1" {
            return Err(FileProblem::Pair);
        }
        let header = NiftiHeader::from_reader(start)
            .map_err(|error| FileProblem::Header { detail: error.to_string() })?;
        let shape = shape(&header)?;
        let voxel_type = voxel_type(&header)?;
        check_unit(&header)?;
        let voxels = shape.iter().map(|&side| u64::from(side)).product::<u64>();
        if voxels > VOXELS_MAX {
            return Err(FileProblem::TooManyVoxels { voxels, voxels_max: VOXELS_MAX });
        }
        let data_bytes = voxels * voxel_type.size_of() as u64;
        let data_offset = data_offset(&header)?;
        if data_bytes + data_offset > FILE_BYTES_MAX {
            let bytes = data_bytes + data_offset;
            return Err(FileProblem::TooLarge { bytes, bytes_max: FILE_BYTES_MAX });
        }
        let (slope, intercept) = scaling(&header);
        Ok(Self {
            shape,
            affine: affine(&header)?,
            voxel_type,
            slope,
            intercept,
            endianness: header.endianness,
            data_offset,
            data_bytes,
        })
    }
}

fn shape(header: &NiftiHeader) -> Result<[u16; 3], FileProblem> {
    let count = usize::from(header.dim[0]);
    if !(1..=7).contains(&count) {
        let detail = format!("dim[0] is {count}, not 1 to 7");
        return Err(FileProblem::Header { detail });
    }
    let dims = &header.dim[1..=count];
    if let Some(axis) = dims.iter().position(|&side| side == 0 || side > DIMENSION_MAX) {
        let detail = format!("dim[{}] is {}", axis + 1, dims[axis] as i16);
        return Err(FileProblem::Header { detail });
    }
    match *dims {
        [x, y, z, ref rest @ ..] if rest.iter().all(|&side| side == 1) => Ok([x, y, z]),
        _ => Err(FileProblem::NotOneVolume { dims: dims.to_vec() }),
    }
}

fn voxel_type(header: &NiftiHeader) -> Result<NiftiType, FileProblem> {
    let unread = FileProblem::VoxelType { code: header.datatype };
    let Ok(voxel_type) = header.data_type() else { return Err(unread) };
    let grey = [
        NiftiType::Int8,
        NiftiType::Uint8,
        NiftiType::Int16,
        NiftiType::Uint16,
        NiftiType::Int32,
        NiftiType::Uint32,
        NiftiType::Float32,
        NiftiType::Float64,
    ];
    if !grey.contains(&voxel_type) {
        return Err(unread);
    }
    let bits = voxel_type.size_of() * 8;
    if header.bitpix != 0 && i64::from(header.bitpix) != bits as i64 {
        let detail = format!("bitpix is {}, the voxel type has {bits}", header.bitpix);
        return Err(FileProblem::Header { detail });
    }
    Ok(voxel_type)
}

fn check_unit(header: &NiftiHeader) -> Result<(), FileProblem> {
    match header.xyzt_to_space() {
        Ok(Unit::Meter) => Err(FileProblem::Unit { unit: "metres" }),
        Ok(Unit::Micron) => Err(FileProblem::Unit { unit: "micrometres" }),
        // Millimetres, or not said, which every reader takes for millimetres.
        _ => Ok(()),
    }
}

fn data_offset(header: &NiftiHeader) -> Result<u64, FileProblem> {
    let offset = header.vox_offset;
    // Some writers leave 0 in single files.
    if offset == 0.0 {
        return Ok(HEADER_BYTES as u64);
    }
    if !(HEADER_BYTES as f32..=FILE_BYTES_MAX as f32).contains(&offset) || offset.fract() != 0.0 {
        let detail = format!("vox_offset is {offset}, expected at least {HEADER_BYTES}");
        return Err(FileProblem::Header { detail });
    }
    Ok(offset as u64)
}

/// NIfTI-1: a slope of 0 means that the stored values are the values.
fn scaling(header: &NiftiHeader) -> (f32, f32) {
    let (slope, intercept) = (header.scl_slope, header.scl_inter);
    if slope == 0.0 || !slope.is_finite() {
        return (0.0, 0.0);
    }
    (slope, if intercept.is_finite() { intercept } else { 0.0 })
}

fn affine(header: &NiftiHeader) -> Result<Affine, FileProblem> {
    if header.sform_code > 0 {
        return sform(header)
            .map_err(|problem| FileProblem::Orientation { form: "sform", problem });
    }
    if header.qform_code > 0 {
        return qform(header)
            .map_err(|problem| FileProblem::Orientation { form: "qform", problem });
    }
    Err(FileProblem::NoOrientation)
}

fn sform(header: &NiftiHeader) -> Result<Affine, InvalidAffine> {
    let [x, y, z] = [header.srow_x, header.srow_y, header.srow_z].map(|row| row.map(f64::from));
    Affine::from_rows([x, y, z, [0.0, 0.0, 0.0, 1.0]])
}

/// Quaternion, offsets and voxel edges, as section "METHOD 2" of nifti1.h defines them.
fn qform(header: &NiftiHeader) -> Result<Affine, InvalidAffine> {
    let mut b = f64::from(header.quatern_b);
    let mut c = f64::from(header.quatern_c);
    let mut d = f64::from(header.quatern_d);
    let mut a = 0.0;
    let squares = b * b + c * c + d * d;
    if squares < 1.0 {
        a = (1.0 - squares).sqrt();
    } else {
        // Rounded above 1: a half turn.
        let length = squares.sqrt();
        (b, c, d) = (b / length, c / length, d / length);
    }
    let rotation = [
        [a * a + b * b - c * c - d * d, 2.0 * (b * c - a * d), 2.0 * (b * d + a * c)],
        [2.0 * (b * c + a * d), a * a + c * c - b * b - d * d, 2.0 * (c * d - a * b)],
        [2.0 * (b * d - a * c), 2.0 * (c * d + a * b), a * a + d * d - b * b - c * c],
    ];
    let handedness = if header.pixdim[0] < 0.0 { -1.0 } else { 1.0 };
    let edges = [
        f64::from(header.pixdim[1]).abs(),
        f64::from(header.pixdim[2]).abs(),
        f64::from(header.pixdim[3]).abs() * handedness,
    ];
    let offsets = [header.quatern_x, header.quatern_y, header.quatern_z].map(f64::from);
    let row = |r: usize| {
        [
            rotation[r][0] * edges[0],
            rotation[r][1] * edges[1],
            rotation[r][2] * edges[2],
            offsets[r],
        ]
    };
    Affine::from_rows([row(0), row(1), row(2), [0.0, 0.0, 0.0, 1.0]])
}
