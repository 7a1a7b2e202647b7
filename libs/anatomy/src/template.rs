//! The spaces that regions are known in, and telling whether a mask or an image lies in one.

use std::sync::{Arc, OnceLock};

use ndarray::Array3;
use neurotriage_imaging::{AffineMap, Image, nifti::read_image};
use serde::{Deserialize, Serialize};

use crate::{AnatomyError, grid::Oriented};

const SRI24_T1: &[u8] = include_bytes!("../../../assets/atlas/sri24_t1.nii.gz");
const MNI152_T1: &[u8] = include_bytes!("../../../assets/atlas/mni152_t1.nii.gz");

/// How far a face may lie from its place, beyond one voxel of the mask, in millimetres.
///
/// A voxel, because resampling keeps either the faces or the first voxel centre and rounds the
/// number of voxels; the rest for headers written with few digits.
const FACE_TOLERANCE_MM: f64 = 2.0;

/// Largest part of a voxel axis that may point away from its world axis: about one degree.
const TILT_MAX: f64 = 0.02;

/// Least Dice of an image's brain and a template's for the image to lie in its space: the six real
/// studies at hand, in SRI24 by their headers, reach .79 to .94.
const OVERLAP_MIN: f64 = 0.7;

/// Least share of voxels with the value of the corner for the image to have air of one value.
const AIR_SHARE_MIN: f64 = 0.2;

/// Largest volume of a brain without its skull, in millilitres.
const BRAIN_ML_MAX: f64 = 2_300.0;

/// A space that regions are known in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Template {
    /// The SRI24 atlas on the grid of `BraTS` (up to 2023): millimetres count from a corner.
    Sri24,
    /// MNI152: millimetres count from near the anterior commissure.
    Mni152,
}

/// Outer faces of a grid in RAS+ millimetres: lowest and highest along each axis.
type Faces = [[f64; 2]; 3];

/// A grid that names its space, and who writes it.
struct KnownGrid {
    template: Template,
    name: &'static str,
    faces_mm: Faces,
}

/// Fields of view that no scanner and no other template writes.
///
/// MNI152 has three in use: that of FSL and SPM (182 x 218 x 182 voxels of 1 mm), that of ICBM 2009c
/// (193 x 229 x 193) and that of ICBM 2009a (197 x 233 x 189).
const KNOWN_GRIDS: [KnownGrid; 4] = [
    KnownGrid {
        template: Template::Sri24,
        name: "SRI24",
        faces_mm: [[-239.5, 0.5], [-0.5, 239.5], [-0.5, 154.5]],
    },
    KnownGrid {
        template: Template::Mni152,
        name: "MNI152 (FSL)",
        faces_mm: [[-91.5, 90.5], [-126.5, 91.5], [-72.5, 109.5]],
    },
    KnownGrid {
        template: Template::Mni152,
        name: "MNI152 (ICBM 2009c)",
        faces_mm: [[-96.5, 96.5], [-132.5, 96.5], [-78.5, 114.5]],
    },
    KnownGrid {
        template: Template::Mni152,
        name: "MNI152 (ICBM 2009a)",
        faces_mm: [[-98.5, 98.5], [-134.5, 98.5], [-72.5, 116.5]],
    },
];

impl Template {
    /// Every template.
    pub const ALL: [Self; 2] = [Self::Sri24, Self::Mni152];

    /// Returns the name as people write it.
    pub fn display_name(self) -> &'static str {
        match self {
            Self::Sri24 => "SRI24",
            Self::Mni152 => "MNI152",
        }
    }

    /// Returns the template's T1, brain only, 2 mm, 0 outside the brain.
    ///
    /// Read once; later calls cost nothing.
    ///
    /// # Errors
    /// [`AnatomyError::Atlas`] if the program was built with a damaged file.
    pub fn t1(self) -> Result<Arc<Image>, AnatomyError> {
        static T1: [OnceLock<Result<Arc<Image>, AnatomyError>>; 2] = [const { OnceLock::new() }; 2];
        let bytes = match self {
            Self::Sri24 => SRI24_T1,
            Self::Mni152 => MNI152_T1,
        };
        let read = || {
            read_image(bytes, self.display_name())
                .map(Arc::new)
                .map_err(|error| AnatomyError::Atlas { reason: error.to_string() })
        };
        T1[self as usize].get_or_init(read).clone()
    }
}

/// Returns the template whose space the mask lies in, by where its field of view lies.
///
/// The orientation and the spacing are free.
///
/// # Errors
/// Why it lies in none.
pub(crate) fn recognise(mask: &Oriented<'_>) -> Result<Template, String> {
    let spacing_mm = mask.spacing.as_mm();
    for (axis, length_mm) in spacing_mm.into_iter().enumerate() {
        let step = mask.world_from_voxel.step(axis);
        for (world, part) in step.iter().enumerate() {
            if world != axis && part.abs() > TILT_MAX * length_mm {
                return Err("the image axes are tilted against the templates".to_owned());
            }
        }
    }
    let outer = mask.shape().map(|voxels| voxels as f64 - 0.5);
    let first = mask.world_from_voxel.apply([-0.5; 3]);
    let last = mask.world_from_voxel.apply(outer);
    let faces_mm = [0, 1, 2].map(|axis| [first[axis].min(last[axis]), first[axis].max(last[axis])]);
    // How far the worst face lies from its place, beyond what is allowed.
    let excess_mm = |known: &KnownGrid| {
        let mut worst: f64 = f64::NEG_INFINITY;
        for axis in 0..3 {
            for (found, expected) in faces_mm[axis].iter().zip(known.faces_mm[axis]) {
                worst = worst.max((found - expected).abs() - FACE_TOLERANCE_MM - spacing_mm[axis]);
            }
        }
        worst
    };
    let nearest = KNOWN_GRIDS
        .iter()
        .min_by(|a, b| excess_mm(a).total_cmp(&excess_mm(b)))
        .unwrap_or(&KNOWN_GRIDS[0]);
    if excess_mm(nearest) <= 0.0 {
        return Ok(nearest.template);
    }
    let span = |faces: &Faces| {
        let part = |axis: usize| format!("{:.1} to {:.1}", faces[axis][0], faces[axis][1]);
        format!("{} mm left-right, {} mm front-back, {} mm up-down", part(0), part(1), part(2))
    };
    Err(format!(
        "the image runs from {}; the nearest known grid, {}, from {}: give the image too, to register \
         the study",
        span(&faces_mm),
        nearest.name,
        span(&nearest.faces_mm),
    ))
}

/// Returns how well the brain of an image covers that of a template, as Dice; `None` if the image has
/// a skull or air of many values, so that its brain cannot be told.
///
/// # Shapes
/// - `image`: `[x, y, z]`, any orientation and spacing
/// - `template_from_patient`: RAS+ millimetres to those of the template
///
/// # Errors
/// [`AnatomyError::Atlas`] if the template is damaged; [`AnatomyError::Geometry`] if the map flattens
/// space.
pub fn brain_overlap(
    image: &Image,
    template: Template,
    template_from_patient: &AffineMap,
) -> Result<Option<f64>, AnatomyError> {
    let Some(brain) = brain(image) else { return Ok(None) };
    let t1 = template.t1()?;
    let flat = || AnatomyError::Geometry { reason: "the map flattens space".to_owned() };
    let patient_from_template = template_from_patient.inverse().ok_or_else(flat)?;
    let voxel_from_patient = AffineMap::from(&image.affine).inverse().ok_or_else(flat)?;
    let map = voxel_from_patient.after(&patient_from_template).after(&(&t1.affine).into());
    let (mut common, mut template_voxels) = (0_u64, 0_u64);
    for ((x, y, z), &value) in t1.voxels.indexed_iter() {
        if value <= 0.0 {
            continue;
        }
        template_voxels += 1;
        let place = map.apply([x as f64, y as f64, z as f64]).map(f64::round);
        let inside = place.iter().all(|&index| index >= 0.0);
        let there = || brain.get(place.map(|index| index as usize)).copied().unwrap_or(false);
        common += u64::from(inside && there());
    }
    let ml = |voxels: f64, voxel_mm3: f64| voxels * voxel_mm3 / 1000.0;
    let voxel_mm3 = t1.spacing().voxel_volume_mm3();
    let own = brain.iter().filter(|&&inside| inside).count() as f64;
    let own_ml =
        ml(own, image.spacing().voxel_volume_mm3()) * template_from_patient.volume_factor().abs();
    let both_ml = own_ml + ml(template_voxels as f64, voxel_mm3);
    Ok(Some(2.0 * ml(common as f64, voxel_mm3) / both_ml))
}

/// Returns the template whose space an image lies in: by its field of view, and by the place of its
/// brain where the skull was taken out.
///
/// The inner error says why it lies in none.
///
/// # Errors
/// [`AnatomyError::NoVoxels`] or [`AnatomyError::Geometry`] if the image has no place;
/// [`AnatomyError::Atlas`] if a template is damaged.
pub fn recognise_image(image: &Image) -> Result<Result<Template, String>, AnatomyError> {
    let voxels = Array3::<u8>::zeros(image.voxels.dim());
    let oriented = Oriented::new(voxels.view(), (&image.affine).into())?;
    let template = match recognise(&oriented) {
        Ok(template) => template,
        Err(reason) => return Ok(Err(reason)),
    };
    let overlap = brain_overlap(image, template, &AffineMap::IDENTITY)?;
    Ok(match overlap.filter(|&overlap| overlap < OVERLAP_MIN) {
        None => Ok(template),
        Some(overlap) => Err(format!(
            "by its field of view the study lies in {}, but its brain covers that of the template by \
             {overlap:.2} only",
            template.display_name()
        )),
    })
}

/// Returns which voxels are brain, if the skull was taken out.
fn brain(image: &Image) -> Option<Array3<bool>> {
    let corner = *image.voxels.first()?;
    let brain = image.voxels.mapv(|value| value != corner && value.is_finite());
    let voxels = brain.iter().filter(|&&inside| inside).count();
    let air = brain.len() - voxels;
    let ml = voxels as f64 * image.spacing().voxel_volume_mm3() / 1000.0;
    (air as f64 >= AIR_SHARE_MIN * brain.len() as f64 && ml <= BRAIN_ML_MAX).then_some(brain)
}
