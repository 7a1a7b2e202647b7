//! Why an image, a study or a prepared volume is refused, and what to do about it.

use std::path::PathBuf;

use neurotriage_domain::{DomainError, ErrorCode, Modality};

use crate::InvalidAffine;

/// What is wrong with one image file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileProblem {
    /// No bytes.
    #[error("file is empty; copy or download it again")]
    Empty,
    /// A page of a web site was saved in place of the image.
    #[error("file is a web page, not an image; sign in and download it again")]
    WebPage,
    /// A DICOM file.
    #[error("file is DICOM; convert the series to NIfTI first, for example with dcm2niix")]
    Dicom,
    /// Neither gzip nor NIfTI-1.
    #[error("file is neither NIfTI-1 nor gzip; export the image as .nii or .nii.gz")]
    NotNifti,
    /// The name ends in `.gz` and the content is not gzip.
    #[error("name ends in .gz but the content is not gzip; copy or compress the file again")]
    NotGzip,
    /// Gzip data that ends early or does not match its checksum.
    #[error("gzip data is cut off or damaged ({detail}); copy or download the file again")]
    DamagedGzip {
        /// What the decoder found.
        detail: String,
    },
    /// The file ends inside the header.
    #[error("file ends inside the header, after {found} of 352 bytes; copy it again")]
    HeaderCutOff {
        /// Bytes of the header that are there.
        found: usize,
    },
    /// NIfTI-2.
    #[error("file is NIfTI-2; save it as NIfTI-1")]
    Nifti2,
    /// Only the header of a `.hdr` and `.img` pair.
    #[error("header and voxels are in two files (.hdr, .img); save them as one .nii file")]
    Pair,
    /// A header that contradicts itself.
    #[error("header is damaged: {detail}; export the image again")]
    Header {
        /// What does not hold.
        detail: String,
    },
    /// Not one three-dimensional volume.
    #[error("expected one 3D volume, the header says {dims:?}; extract one volume")]
    NotOneVolume {
        /// Voxels along each dimension.
        dims: Vec<u16>,
    },
    /// More voxels than an MRI volume has.
    #[error("header promises {voxels} voxels, the limit is {voxels_max}; crop or resample first")]
    TooManyVoxels {
        /// Product of the dimensions.
        voxels: u64,
        /// Limit.
        voxels_max: u64,
    },
    /// More bytes than are read.
    #[error("file would take {bytes} bytes decompressed, the limit is {bytes_max}; crop it first")]
    TooLarge {
        /// Bytes promised or found.
        bytes: u64,
        /// Limit.
        bytes_max: u64,
    },
    /// A voxel type that holds no grey values.
    #[error("voxel type {code} is not read; save the image as int16 or float32")]
    VoxelType {
        /// Code in the header.
        code: i16,
    },
    /// The voxels do not fill the shape.
    #[error(
        "header promises {expected} bytes of voxels, file has {found}; copy or export it again"
    )]
    DataLength {
        /// Bytes that the header promises.
        expected: u64,
        /// Bytes in the file; at least this many.
        found: u64,
    },
    /// NaN or infinite voxels.
    #[error(
        "{count} voxels are NaN, infinite or beyond float32, the first at {index:?}; \
         replace them before exporting"
    )]
    NotFinite {
        /// How many.
        count: usize,
        /// `[x, y, z]` of the first, in file order.
        index: [usize; 3],
    },
    /// The header says nothing about left and right.
    #[error("header has no orientation (sform_code and qform_code are 0); export it with one")]
    NoOrientation,
    /// The header's orientation is not usable.
    #[error("orientation in the header ({form}) is not usable: {problem}; export the image again")]
    Orientation {
        /// `sform` or `qform`.
        form: &'static str,
        /// What is wrong with the matrix.
        problem: InvalidAffine,
    },
    /// Lengths that are not in millimetres.
    #[error("header gives lengths in {unit}; convert them to millimetres")]
    Unit {
        /// The unit.
        unit: &'static str,
    },
    /// A mask value that is no tumour label.
    #[error("value {value} at {index:?} is no tumour label; expected 0, 1, 2, 3 or 4")]
    Label {
        /// The value.
        value: f32,
        /// `[x, y, z]` in file order.
        index: [usize; 3],
    },
}

/// Why imaging work was refused. Messages name the file, the cause and what to do, so that no error
/// has a source: whoever prints the sources too would say the cause twice.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImagingError {
    /// One file is not a usable image.
    #[error("{name}: {problem}")]
    File {
        /// Name of the file as the caller gave it.
        name: String,
        /// What is wrong.
        problem: FileProblem,
    },
    /// The file system refused.
    #[error("cannot {action} {path:?}: {problem}; check that it exists and its permissions")]
    Io {
        /// What was tried: `read`, `write` or `list`.
        action: &'static str,
        /// File or folder.
        path: PathBuf,
        /// Answer of the system.
        problem: std::io::Error,
    },
    /// A case folder lacks a sequence.
    #[error(
        "no {modality} image in {folder:?}; expected <id>_{modality}.nii.gz or a BraTS 2023 name \
         such as <id>-t2f.nii.gz"
    )]
    MissingModality {
        /// Which sequence.
        modality: Modality,
        /// The folder.
        folder: PathBuf,
    },
    /// A case folder has two files for one thing, or files of two cases.
    #[error("{first} and {second} in {folder:?} {conflict}; keep one of them")]
    Ambiguous {
        /// Name of the one file.
        first: String,
        /// Name of the other file.
        second: String,
        /// The folder.
        folder: PathBuf,
        /// What cannot both be true.
        conflict: &'static str,
    },
    /// Two images of one study have different shapes.
    #[error(
        "{first} has shape {first_shape:?} but {second} has {second_shape:?}; \
         resample them to one grid"
    )]
    ShapesDiffer {
        /// Name of the first file.
        first: String,
        /// Its shape in LPS order.
        first_shape: [usize; 3],
        /// Name of the second file.
        second: String,
        /// Its shape in LPS order.
        second_shape: [usize; 3],
    },
    /// Two images of one study lie at different places.
    #[error(
        "{first} has affine [{first_affine}] but {second} has [{second_affine}]; \
         register them to one grid"
    )]
    AffinesDiffer {
        /// Name of the first file.
        first: String,
        /// Rows of its affine.
        first_affine: String,
        /// Name of the second file.
        second: String,
        /// Rows of its affine.
        second_affine: String,
    },
    /// An image holds one value only.
    #[error("{name}: every voxel is {value}; export the image again")]
    Constant {
        /// Name of the file.
        name: String,
        /// The one value.
        value: f32,
    },
    /// An image too small to be a head.
    #[error("{name}: shape is {shape:?}; expected at least {side_min} voxels a side")]
    TooSmall {
        /// Name of the file.
        name: String,
        /// Voxels along each axis.
        shape: [usize; 3],
        /// Smallest side.
        side_min: usize,
    },
    /// Resampling to 1 mm would make too many voxels.
    #[error("the study at 1 mm has {voxels} voxels, the limit is {voxels_max}; crop it first")]
    GridTooLarge {
        /// Voxels at 1 mm.
        voxels: u64,
        /// Limit.
        voxels_max: u64,
    },
    /// An array does not have the shape that was agreed.
    #[error("{what} has shape {found:?}; expected {expected:?}")]
    Shape {
        /// Which array.
        what: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// The shape it should have.
        expected: Vec<usize>,
    },
    /// A value in a mask array that is no tumour label.
    #[error("{what} has label {label}; expected 0, 1, 2, 3 or 4")]
    Label {
        /// Which array.
        what: &'static str,
        /// The value.
        label: u8,
    },
    /// Bytes that are not a prepared volume of this version.
    #[error("prepared volume is not usable: {detail}; prepare the study again")]
    Prepared {
        /// What does not hold.
        detail: String,
    },
    /// The profile `seed` works on BraTS volumes only.
    #[error(
        "profile seed needs shape {expected:?} in LPS order, study has {found:?}; use profile whole"
    )]
    SeedShape {
        /// Shape of the study in LPS order.
        found: [usize; 3],
        /// Shape of BraTS.
        expected: [usize; 3],
    },
    /// A picture cannot be drawn as asked.
    #[error("cannot draw picture: {detail}")]
    Picture {
        /// What does not hold.
        detail: String,
    },
}

impl ImagingError {
    pub(crate) fn file(name: &str, problem: FileProblem) -> Self {
        Self::File { name: name.to_owned(), problem }
    }

    /// Returns the error of a file with another name for it, where its own is not to be told.
    pub fn called(mut self, other: &str) -> Self {
        if let Self::File { name, .. } = &mut self {
            other.clone_into(name);
        }
        self
    }
}

impl DomainError for ImagingError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::File { .. }
            | Self::MissingModality { .. }
            | Self::Ambiguous { .. }
            | Self::ShapesDiffer { .. }
            | Self::AffinesDiffer { .. }
            | Self::Constant { .. }
            | Self::TooSmall { .. }
            | Self::GridTooLarge { .. }
            | Self::Shape { .. }
            | Self::Label { .. }
            | Self::SeedShape { .. } => ErrorCode::InvalidArgument,
            Self::Io { .. } | Self::Prepared { .. } | Self::Picture { .. } => ErrorCode::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::File { .. } => "IMAGE_UNREADABLE",
            Self::Io { .. } => "IMAGE_IO",
            Self::MissingModality { .. } => "MODALITY_MISSING",
            Self::Ambiguous { .. } => "CASE_AMBIGUOUS",
            Self::ShapesDiffer { .. } => "SHAPES_DIFFER",
            Self::AffinesDiffer { .. } => "AFFINES_DIFFER",
            Self::Constant { .. } => "IMAGE_CONSTANT",
            Self::TooSmall { .. } => "IMAGE_TOO_SMALL",
            Self::GridTooLarge { .. } => "IMAGE_TOO_LARGE",
            Self::Shape { .. } => "SHAPE_UNEXPECTED",
            Self::Label { .. } => "LABEL_UNKNOWN",
            Self::Prepared { .. } => "PREPARED_UNREADABLE",
            Self::SeedShape { .. } => "SEED_SHAPE",
            Self::Picture { .. } => "PICTURE_FAILED",
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::File { name, .. } | Self::Constant { name, .. } | Self::TooSmall { name, .. } => {
                vec![("file", name.clone())]
            }
            Self::MissingModality { modality, .. } => vec![("modality", modality.to_string())],
            Self::Ambiguous { first, second, .. }
            | Self::ShapesDiffer { first, second, .. }
            | Self::AffinesDiffer { first, second, .. } => {
                vec![("file", first.clone()), ("other_file", second.clone())]
            }
            Self::Io { .. }
            | Self::GridTooLarge { .. }
            | Self::Shape { .. }
            | Self::Label { .. }
            | Self::Prepared { .. }
            | Self::SeedShape { .. }
            | Self::Picture { .. } => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn a_file_can_go_by_another_name() {
        let error = ImagingError::file("han-garam.nii", FileProblem::Empty).called("t1 volume");
        assert!(error.to_string().starts_with("t1 volume: file is empty"));
        assert_eq!(error.metadata(), [("file", "t1 volume".to_owned())]);
    }

    #[test]
    fn a_cause_is_said_once_however_an_error_is_printed() {
        let problem = FileProblem::Orientation { form: "sform", problem: InvalidAffine::Flat };
        let action = "read";
        let denied = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        let table: [(ImagingError, String); 2] = [
            (ImagingError::file("a.nii", problem), InvalidAffine::Flat.to_string()),
            (
                ImagingError::Io { action, path: PathBuf::from("a"), problem: denied },
                "permission denied".to_owned(),
            ),
        ];
        for (error, cause) in table {
            let mut said = error.to_string();
            let mut source = error.source();
            while let Some(inner) = source {
                said.push_str(&format!(": {inner}"));
                source = inner.source();
            }
            assert_eq!(said.matches(&cause).count(), 1, "{said}");
        }
    }
}
