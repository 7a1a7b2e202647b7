//! Finds the files of a case in the layout of BraTS.

use std::{
    fs,
    path::{Path, PathBuf},
};

use neurotriage_domain::Modality;

use crate::{ImagingError, Mask, NamedImage, Study, nifti};

/// Most entries of a folder that are looked at.
const ENTRIES_MAX: usize = 100_000;

/// Files of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseFiles {
    /// Common start of the file names, such as `BraTS2021_00006`.
    pub id: String,
    /// Image files in the order of [`Modality::ALL`].
    pub images: [PathBuf; 4],
    /// Expert's mask, if there is one.
    pub truth: Option<PathBuf>,
}

/// What a file of a case holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Image(Modality),
    Truth,
}

/// Endings of BraTS 2018 to 2021, and of 2023.
const ENDINGS: [(&str, Role); 9] = [
    ("flair", Role::Image(Modality::Flair)),
    ("t2f", Role::Image(Modality::Flair)),
    ("t1", Role::Image(Modality::T1)),
    ("t1n", Role::Image(Modality::T1)),
    ("t1ce", Role::Image(Modality::T1ce)),
    ("t1c", Role::Image(Modality::T1ce)),
    ("t2", Role::Image(Modality::T2)),
    ("t2w", Role::Image(Modality::T2)),
    ("seg", Role::Truth),
];

impl CaseFiles {
    /// Returns the files of the one case in a folder: `<id>_flair.nii.gz` and so on, or the names
    /// of BraTS 2023, `<id>-t2f.nii.gz`. Other files are passed over.
    ///
    /// # Errors
    /// [`ImagingError::MissingModality`], [`ImagingError::Ambiguous`] if two files claim one role
    /// or belong to two cases, [`ImagingError::Io`].
    pub fn find(folder: &Path) -> Result<Self, ImagingError> {
        let ambiguous = |first: &str, second: &str, conflict| ImagingError::Ambiguous {
            first: first.to_owned(),
            second: second.to_owned(),
            folder: folder.to_owned(),
            conflict,
        };
        let mut found: Vec<(Role, String, String)> = Vec::new();
        for name in list(folder)? {
            let Some((id, role)) = parse(&name) else { continue };
            if let Some((_, _, other)) = found.iter().find(|(_, other, _)| other != id) {
                return Err(ambiguous(other, &name, "belong to two cases"));
            }
            if let Some((_, _, other)) = found.iter().find(|(other, _, _)| *other == role) {
                return Err(ambiguous(other, &name, "hold the same sequence"));
            }
            found.push((role, id.to_owned(), name));
        }
        let path_of = |role| {
            found.iter().find(|(found, _, _)| *found == role).map(|(_, _, name)| folder.join(name))
        };
        let image = |modality| {
            path_of(Role::Image(modality)).ok_or_else(|| ImagingError::MissingModality {
                modality,
                folder: folder.to_owned(),
            })
        };
        let [flair, t1, t1ce, t2] = Modality::ALL.map(image);
        let images = [flair?, t1?, t1ce?, t2?];
        let id = found.first().map(|(_, id, _)| id.clone()).unwrap_or_default();
        Ok(Self { id, images, truth: path_of(Role::Truth) })
    }

    /// Returns every case in the folders of `root`, sorted by name. Folders without any image of a
    /// case are passed over.
    ///
    /// # Errors
    /// As [`CaseFiles::find`], for the first folder that has some but not all files of a case.
    pub fn find_all(root: &Path) -> Result<Vec<Self>, ImagingError> {
        let mut cases = Vec::new();
        for name in list(root)? {
            let folder = root.join(name);
            if folder.is_dir() && list(&folder)?.iter().any(|name| parse(name).is_some()) {
                cases.push(Self::find(&folder)?);
            }
        }
        Ok(cases)
    }

    /// Reads the four images and checks that they belong together.
    ///
    /// # Errors
    /// As [`nifti::read_image_file`] and [`Study::from_images`].
    pub fn read_study(&self) -> Result<Study, ImagingError> {
        let read = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            Ok(NamedImage { name, image: nifti::read_image_file(path)? })
        };
        let [flair, t1, t1ce, t2] = &self.images;
        Study::from_images([read(flair)?, read(t1)?, read(t1ce)?, read(t2)?])
    }

    /// Reads the expert's mask, if there is one, in the geometry of its file:
    /// [`Study::align_mask`] brings it to the study's images.
    ///
    /// # Errors
    /// As [`nifti::read_mask_file`].
    pub fn read_truth(&self) -> Result<Option<Mask>, ImagingError> {
        self.truth.as_deref().map(nifti::read_mask_file).transpose()
    }
}

/// Returns the names in a folder, sorted.
fn list(folder: &Path) -> Result<Vec<String>, ImagingError> {
    let io_error = |problem| ImagingError::Io { action: "list", path: folder.to_owned(), problem };
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(io_error)?.take(ENTRIES_MAX) {
        if let Ok(name) = entry.map_err(io_error)?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Returns the id and the role that a file name tells.
fn parse(name: &str) -> Option<(&str, Role)> {
    let stem = name.strip_suffix(".nii.gz").or_else(|| name.strip_suffix(".nii"))?;
    let separator = stem.rfind(['_', '-'])?;
    let ending = stem[separator + 1..].to_ascii_lowercase();
    let (_, role) = ENDINGS.into_iter().find(|(known, _)| *known == ending)?;
    (separator > 0 && !name.starts_with('.')).then_some((&stem[..separator], role))
}
