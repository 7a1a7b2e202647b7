//! Where a study lies in the space of a template: by its header, and by registration.

use std::{
    str::FromStr,
    sync::{Arc, OnceLock},
};

use neurotriage_anatomy::{
    AnatomyError, Atlas, MidlineShift, PlacedBy, Placement, RegistrationQuality, Template,
    recognise_image,
};
use neurotriage_imaging::{Image, Mask};
use neurotriage_network::DeviceChoice;
use neurotriage_registration::{
    Patient, Quality, Registration, RegistrationError, RegistrationOptions, Target, Verdict,
    register,
};

/// Which studies are registered to a template.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RegistrationRule {
    /// All: studies said to lie in a template's space often lie some millimetres off.
    #[default]
    Always,
    /// Those whose header names no template.
    Unknown,
    /// None: a study in no template's space has no regions.
    Never,
}

/// Text that names no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown rule of registration; expected always, unknown or never")]
pub struct UnknownRule;

impl FromStr for RegistrationRule {
    type Err = UnknownRule;

    fn from_str(text: &str) -> Result<Self, UnknownRule> {
        match text {
            "always" => Ok(Self::Always),
            "unknown" => Ok(Self::Unknown),
            "never" => Ok(Self::Never),
            _ => Err(UnknownRule),
        }
    }
}

/// Why a study could not be placed. One that fits nowhere is no error.
#[derive(Debug, thiserror::Error)]
pub enum PlacementError {
    /// The image has no place in space, or a template is damaged.
    #[error(transparent)]
    Anatomy(#[from] AnatomyError),
    /// libtorch or the device failed.
    #[error("register study")]
    Registration(#[from] RegistrationError),
}

/// Where a study lies, or why that is unknown.
pub type Place = Result<Placement, String>;

/// Places a study: by its header if that names a template, better by registration of `image`.
///
/// A study in no template's space is registered to SRI24. One that cannot be registered keeps the
/// place that its header gives.
///
/// # Shapes
/// - `image`: one sequence, T1 best, `[x, y, z]`, any orientation and spacing
/// - `lesion`: what to leave out, in any grid
///
/// # Errors
/// As [`PlacementError`].
pub fn place(
    image: &Image,
    lesion: Option<&Mask>,
    rule: RegistrationRule,
    device: DeviceChoice,
) -> Result<Place, PlacementError> {
    let header = recognise_image(image)?;
    let wanted = match rule {
        RegistrationRule::Always => true,
        RegistrationRule::Unknown => header.is_err(),
        RegistrationRule::Never => false,
    };
    if !wanted {
        return Ok(header.map(Placement::by_header));
    }
    let template = *header.as_ref().unwrap_or(&Template::Sri24);
    let target = target(template)?;
    let options = RegistrationOptions { device, deform: true };
    let failed = match register(&target, &Patient { image, lesion }, &options) {
        Ok(found) if found.quality.verdict == Verdict::Good => {
            let map = found.target_from_patient;
            let moved_mm = header.is_ok().then(|| target.mean_distance_mm(&map));
            return Ok(Ok(Placement {
                template,
                placed_by: PlacedBy::Registration,
                template_from_patient: map,
                registration: Some(quality(&found.quality, moved_mm)),
                midline_shift: midline_shift(template, &found)?,
            }));
        }
        Ok(found) => format!(
            "registration to {} failed: mutual information {:.3}, overlap of the brains {}",
            template.display_name(),
            found.quality.mutual_information,
            found.quality.brain_overlap.map_or("not known".to_owned(), |dice| format!("{dice:.2}")),
        ),
        Err(error @ (RegistrationError::Flat | RegistrationError::TooSmall { .. })) => {
            format!("the study cannot be registered: {error}")
        }
        Err(error) => return Err(error.into()),
    };
    Ok(match header {
        Ok(template) => Ok(Placement::by_header(template)),
        Err(reason) => Err(format!("{reason}; {failed}")),
    })
}

fn quality(quality: &Quality, moved_mm: Option<f64>) -> RegistrationQuality {
    RegistrationQuality {
        mutual_information: quality.mutual_information,
        brain_overlap: quality.brain_overlap,
        moved_mm,
    }
}

fn midline_shift(
    template: Template,
    found: &Registration,
) -> Result<Option<MidlineShift>, AnatomyError> {
    let Some(deformation) = &found.deformation else { return Ok(None) };
    let displacement_mm = |point_mm| deformation.displacement_mm(point_mm);
    let atlas = Atlas::of(template)?;
    Ok(MidlineShift::measure(&atlas, &found.target_from_patient, displacement_mm))
}

/// Returns a template ready to be compared; made once.
fn target(template: Template) -> Result<Arc<Target>, PlacementError> {
    static TARGETS: [OnceLock<Arc<Target>>; 2] = [const { OnceLock::new() }; 2];
    let slot = &TARGETS[template as usize];
    if let Some(target) = slot.get() {
        return Ok(Arc::clone(target));
    }
    let target = Arc::new(Target::new(&*template.t1()?)?);
    Ok(Arc::clone(slot.get_or_init(|| target)))
}
