//! Brings a study to a template: an affine map of twelve parameters, found by gradient descent.
//!
//! [`register`] moves the template's points into the patient's image until the two tell most about
//! each other (normalised mutual information, so any sequence will do), from coarse to fine, with
//! the tumour left out. It returns the map and a [`Quality`] that says whether to believe it. Where
//! asked for, it then lets the template give way on a coarse grid: the [`Deformation`] says how far
//! parts of the brain lie from where the affine map expects them, such as pushed aside by a tumour.
//!
//! Points are RAS+ millimetres. Images may be in any orientation and spacing: everything goes
//! through their affines.

mod deformation;
mod descent;
mod error;
mod level;
mod moving;
mod pyramid;
mod quality;
mod similarity;
mod spline;
mod target;

use neurotriage_device::DeviceChoice;
use neurotriage_imaging::{AffineMap, Image, Mask};

pub use deformation::Deformation;
pub use error::RegistrationError;
pub use quality::{Quality, Verdict};
pub use target::Target;

use crate::{
    descent::{Descent, Found, Freedom, Steps},
    level::Level,
    moving::Moving,
    pyramid::Fineness,
    quality::judge,
};

/// What to bring to a template.
#[derive(Clone, Copy, Debug)]
pub struct Patient<'a> {
    /// One sequence, `[x, y, z]`, any unit; with or without the skull. T1 fits best.
    pub image: &'a Image,
    /// Tumour to leave out, in any grid.
    pub lesion: Option<&'a Mask>,
}

/// How to register.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RegistrationOptions {
    /// Where to compute.
    pub device: DeviceChoice,
    /// Whether to look for a deformation where the affine map can be believed: as much work again.
    pub deform: bool,
}

impl Default for RegistrationOptions {
    fn default() -> Self {
        Self { device: DeviceChoice::Auto, deform: false }
    }
}

/// A patient's place in the space of a template.
#[derive(Clone, Debug, PartialEq)]
pub struct Registration {
    /// From the patient's RAS+ millimetres to those of the template.
    pub target_from_patient: AffineMap,
    /// Whether to believe it.
    pub quality: Quality,
    /// What the affine map leaves; absent if it was not asked for, if the map cannot be believed, or
    /// if it could not be found.
    pub deformation: Option<Deformation>,
}

/// Most points compared in one step.
const POINTS_MAX: usize = 30_000;

/// Rotations that the search starts from, beside none: about each axis, both ways, in degrees.
const START_DEGREES: f64 = 18.0;

/// Starts that are followed to the middle level.
const FOLLOWED: usize = 2;

/// Brings a patient to a template.
///
/// # Errors
/// [`RegistrationError::Flat`] if the image is the same everywhere,
/// [`RegistrationError::TooSmall`] if it is thinner than a brain,
/// [`RegistrationError::Device`] if the device is not there, [`RegistrationError::Torch`] if
/// libtorch fails. A patient that fits nowhere is no error: the verdict says so.
pub fn register(
    target: &Target,
    patient: &Patient<'_>,
    options: &RegistrationOptions,
) -> Result<Registration, RegistrationError> {
    let device = options.device.resolve()?;
    let moving = Moving::prepare(patient)?;
    let level = |fineness| Level::new(target, &moving, fineness, device);
    let centre_mm = target.centre_mm();
    let coarse = level(Fineness::Coarse)?;
    let start = AffineMap::shift(centre_mm, moving.centre_mm);
    let mut found = Vec::new();
    for rotation in starts() {
        let from = start.turned(centre_mm, rotation);
        let steps = Steps { count: 50, length_mm: [3.0, 0.5], points_max: POINTS_MAX };
        found.push(Descent { level: &coarse, centre_mm }.run(from, Freedom::Rigid, steps)?);
    }
    found.sort_by(|a, b| b.similarity.total_cmp(&a.similarity));
    found.truncate(FOLLOWED);
    let middle = level(Fineness::Middle)?;
    let mut best: Option<Found> = None;
    for candidate in found {
        let descent = Descent { level: &middle, centre_mm };
        let steps = Steps { count: 40, length_mm: [1.5, 0.5], points_max: POINTS_MAX / 3 };
        let rigid = descent.run(candidate.map, Freedom::Rigid, steps)?;
        let steps = Steps { count: 120, length_mm: [1.5, 0.2], points_max: POINTS_MAX / 2 };
        let affine = descent.run(rigid.map, Freedom::Affine, steps)?;
        if best.is_none_or(|best| affine.similarity > best.similarity) {
            best = Some(affine);
        }
    }
    let best = best.ok_or(RegistrationError::Flat)?;
    let fine = level(Fineness::Fine)?;
    let steps = Steps { count: 120, length_mm: [0.8, 0.05], points_max: POINTS_MAX };
    let found = Descent { level: &fine, centre_mm }.run(best.map, Freedom::Affine, steps)?;
    let quality = judge(&middle, &found.map, centre_mm, moving.skull)?;
    let target_from_patient = found.map.inverse().ok_or(RegistrationError::Flat)?;
    let wanted = options.deform && quality.verdict == Verdict::Good;
    let deformation = if wanted {
        // It adds to the answer: without it the map is as good.
        Deformation::find([&middle, &fine], &found.map, centre_mm).unwrap_or_else(|error| {
            tracing::warn!(%error, "no deformation");
            None
        })
    } else {
        None
    };
    Ok(Registration { target_from_patient, quality, deformation })
}

/// Returns rotations to start from, as turns about the RAS+ axes in radians.
fn starts() -> Vec<[f64; 3]> {
    let angle = START_DEGREES.to_radians();
    let mut starts = vec![[0.0; 3]];
    for axis in 0..3 {
        for sign in [1.0, -1.0] {
            let mut turn = [0.0; 3];
            turn[axis] = sign * angle;
            starts.push(turn);
        }
    }
    starts
}
