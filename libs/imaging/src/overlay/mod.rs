//! Pictures of a study with its mask, for people to look at.

use neurotriage_domain::Modality;

use crate::{ImagingError, Mask, Study};

/// How [`render_overlay`] draws.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OverlayOptions {
    /// Pixels for one millimetre.
    pub pixels_per_mm: f64,
}

impl Default for OverlayOptions {
    fn default() -> Self {
        Self { pixels_per_mm: 2.0 }
    }
}

/// A plane of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plane {
    /// Seen from the feet: the patient's right is on the left of the picture.
    Axial,
    /// Seen from the front: the patient's right is on the left of the picture.
    Coronal,
    /// Seen from the patient's left: anterior is on the left of the picture.
    Sagittal,
}

/// Which slice [`render_slice`] draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceView {
    /// Sequence to draw.
    pub modality: Modality,
    /// Plane of the slice.
    pub plane: Plane,
    /// Index of the slice along the axis that the plane cuts, in LPS order.
    pub index: usize,
}

/// Draws FLAIR and T1ce, one row each, in three planes, as a PNG.
///
/// # Errors
/// [`ImagingError::Shape`] if the mask is not on the grid of the study.
pub fn render_overlay(
    study: &Study,
    mask: &Mask,
    options: &OverlayOptions,
) -> Result<Vec<u8>, ImagingError> {
    let view = SliceView { modality: Modality::Flair, plane: Plane::Axial, index: 0 };
    render_slice(study, mask, view, options)
}

/// Draws one slice as a PNG.
///
/// # Errors
/// [`ImagingError::Shape`] if the mask is not on the grid of the study.
pub fn render_slice(
    _study: &Study,
    _mask: &Mask,
    _view: SliceView,
    _options: &OverlayOptions,
) -> Result<Vec<u8>, ImagingError> {
    Err(ImagingError::Picture { detail: "not drawn".to_owned() })
}
