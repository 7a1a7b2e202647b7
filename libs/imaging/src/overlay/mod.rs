//! Pictures of a study with its mask, for people to look at.
//!
//! Radiological convention: in axial and coronal slices the patient's right is on the left of the
//! picture. For research use; not for diagnosis.

pub(crate) mod canvas;
mod compare;
mod font;
mod regions;
mod slice;

use ndarray::Axis;
use neurotriage_domain::{Modality, TumourClass};

use self::{
    canvas::{Canvas, Colour, text_height, text_width},
    slice::{Slice, Window, class_colour},
};
pub use self::{
    compare::{Disagreement, class_rgb, render_comparison, worst_slice},
    regions::{RegionKey, RegionPicture, region_rgb, render_region_panels, render_regions},
};
use crate::{CropBox, ImagingError, Mask, Study};

const GROUND: Colour = [16, 18, 22];
const INK: Colour = [225, 229, 235];
const FAINT: Colour = [150, 156, 166];

/// Rows of [`render_overlay`], from the top.
const ROWS: [Modality; 2] = [Modality::Flair, Modality::T1ce];

/// Columns of [`render_overlay`], from the left.
const COLUMNS: [Plane; 3] = [Plane::Axial, Plane::Coronal, Plane::Sagittal];

/// Air around the head that is drawn.
const MARGIN_MM: f64 = 2.0;

/// Black around the image of a panel, in pixels, for captions and letters.
const STRIP: [usize; 2] = [28, 46];

/// Length of the scale bar.
const SCALE_BAR_MM: f64 = 50.0;

/// Pixels between panels.
const GAP: usize = 12;

/// Pixels of one dot of a letter: of names and numbers, of the letters that tell sides.
const TEXT: usize = 2;
const SIDE_TEXT: usize = 3;

/// How pictures are drawn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct OverlayOptions {
    /// Pixels for one millimetre, 0.5 to 8.
    pub pixels_per_mm: f64,
    /// Opacity of the mask inside its outline, 0 to 1.
    pub fill_opacity: f32,
}

impl Default for OverlayOptions {
    fn default() -> Self {
        Self { pixels_per_mm: 2.5, fill_opacity: 0.4 }
    }
}

impl OverlayOptions {
    fn check(&self) -> Result<(), ImagingError> {
        if (0.5..=8.0).contains(&self.pixels_per_mm) && (0.0..=1.0).contains(&self.fill_opacity) {
            return Ok(());
        }
        Err(ImagingError::Picture { detail: format!("{self:?} is out of range") })
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

/// Draws FLAIR and T1ce, one row each, in three planes through the slices with most tumour, as a
/// PNG with a legend and the volume of each class.
///
/// The mask is on the study's LPS grid: see [`crate::Prepared::canonical_mask`] and
/// [`Study::align_mask`].
///
/// # Errors
/// [`ImagingError::Shape`] if the mask has another shape, [`ImagingError::Picture`] if the options
/// are out of range.
pub fn render_overlay(
    study: &Study,
    mask: &Mask,
    options: &OverlayOptions,
) -> Result<Vec<u8>, ImagingError> {
    let panels = overlay_panels(study, mask, options)?;
    let [panels_width, panels_height] = panels.size();
    let legend_height = 2 * text_height(TEXT) + 2 * GAP;
    let size = [panels_width.max(LEGEND_WIDTH_MIN), panels_height + legend_height];
    let mut canvas = Canvas::new(size[0], size[1], GROUND)?;
    canvas.paste([0, 0], &panels);
    draw_legend(&mut canvas, mask, panels_height);
    canvas.png()
}

/// Draws what [`render_overlay`] draws, without legend: for a page that has its own.
///
/// # Errors
/// As [`render_overlay`].
pub fn render_overlay_panels(
    study: &Study,
    mask: &Mask,
    options: &OverlayOptions,
) -> Result<Vec<u8>, ImagingError> {
    overlay_panels(study, mask, options)?.png()
}

fn overlay_panels(
    study: &Study,
    mask: &Mask,
    options: &OverlayOptions,
) -> Result<Canvas, ImagingError> {
    let scene = Scene::new(study, mask, options)?;
    let row_height = COLUMNS.map(|plane| scene.panel_size(plane)[1]).into_iter().max().unwrap_or(0);
    let mut panels = Vec::new();
    for modality in ROWS {
        let window = Window::of(study.image(modality));
        for plane in COLUMNS {
            let index = busiest_slice(mask, plane).unwrap_or_else(|| scene.middle(plane));
            panels.push(scene.panel(SliceView { modality, plane, index }, window, row_height)?);
        }
    }
    let widths: Vec<usize> = panels[..COLUMNS.len()].iter().map(|panel| panel.size()[0]).collect();
    let width = widths.iter().sum::<usize>() + GAP * (widths.len() + 1);
    let height = ROWS.len() * (row_height + GAP) + GAP;
    let mut canvas = Canvas::new(width, height, GROUND)?;
    let mut x = GAP;
    for (column, panel_width) in widths.iter().enumerate() {
        for row in 0..ROWS.len() {
            let panel = &panels[row * COLUMNS.len() + column];
            canvas.paste([x, GAP + row * (row_height + GAP)], panel);
        }
        x += panel_width + GAP;
    }
    Ok(canvas)
}

/// Draws one slice as a PNG, without legend.
///
/// # Errors
/// [`ImagingError::Shape`] if the mask has another shape, [`ImagingError::Picture`] if there is no
/// such slice or the options are out of range.
pub fn render_slice(
    study: &Study,
    mask: &Mask,
    view: SliceView,
    options: &OverlayOptions,
) -> Result<Vec<u8>, ImagingError> {
    let scene = Scene::new(study, mask, options)?;
    let height = scene.panel_size(view.plane)[1];
    scene.panel(view, Window::of(study.image(view.modality)), height)?.png()
}

/// Returns the slice with most tumour voxels, the lowest of equals, or `None` without tumour.
pub fn busiest_slice(mask: &Mask, plane: Plane) -> Option<usize> {
    let [_, _, through] = plane.axes();
    let mut best: Option<(usize, usize)> = None;
    for (index, slice) in mask.voxels.axis_iter(Axis(through)).enumerate() {
        let count = slice.iter().filter(|&&label| label != 0).count();
        if count > best.map_or(0, |(_, most)| most) {
            best = Some((index, count));
        }
    }
    best.map(|(index, _)| index)
}

/// What every panel of a picture shares.
struct Scene<'a> {
    study: &'a Study,
    mask: &'a Mask,
    options: &'a OverlayOptions,
    crop: CropBox,
}

impl<'a> Scene<'a> {
    fn new(
        study: &'a Study,
        mask: &'a Mask,
        options: &'a OverlayOptions,
    ) -> Result<Self, ImagingError> {
        if mask.shape() != study.shape() {
            return Err(ImagingError::Shape {
                what: "mask to draw",
                found: mask.shape().to_vec(),
                expected: study.shape().to_vec(),
            });
        }
        options.check()?;
        Ok(Self { study, mask, options, crop: head_box(study) })
    }

    fn middle(&self, plane: Plane) -> usize {
        let [_, _, through] = plane.axes();
        self.crop.start[through] + self.crop.shape[through] / 2
    }

    /// Returns width and height of a panel, in pixels.
    fn panel_size(&self, plane: Plane) -> [usize; 2] {
        let [down, right, _] = plane.axes();
        let edges_mm = self.study.spacing().as_mm();
        let length = |axis: usize| {
            let pixels = self.crop.shape[axis] as f64 * edges_mm[axis] * self.options.pixels_per_mm;
            (pixels.round() as usize).max(1)
        };
        [length(right) + 2 * STRIP[0], length(down) + 2 * STRIP[1]]
    }

    /// Draws one slice in the middle of a panel of `height` pixels.
    fn panel(
        &self,
        view: SliceView,
        window: Window,
        height: usize,
    ) -> Result<Canvas, ImagingError> {
        let SliceView { modality, plane, index } = view;
        let [_, _, through] = plane.axes();
        let count = self.study.shape()[through];
        if index >= count {
            let detail = format!("slice {index} of {count} does not exist");
            return Err(ImagingError::Picture { detail });
        }
        let slice = Slice::cut(self.study.image(modality), self.mask, plane, index, &self.crop);
        let [width, own_height] = self.panel_size(plane);
        let size = [width - 2 * STRIP[0], own_height - 2 * STRIP[1]];
        let mut canvas = Canvas::new(width, height, [0; 3])?;
        let top = height.saturating_sub(size[1]) / 2;
        let pixels = slice.pixels(window, size, self.options.fill_opacity);
        for (at, colour) in pixels.into_iter().enumerate() {
            canvas.put(STRIP[0] + at % size[0], top + at / size[0], colour);
        }
        annotate(&mut canvas, view, count);
        draw_scale_bar(&mut canvas, self.options.pixels_per_mm);
        Ok(canvas)
    }
}

/// Returns the box of all voxels that are not 0 and a margin of air around it.
fn head_box(study: &Study) -> CropBox {
    let head = CropBox::around(&study.image(Modality::Flair).voxels, |value| value != 0.0);
    margin_around(head, study.shape(), study.spacing().as_mm())
}

/// Returns a box with a margin of air around it, within a volume; without a box, all of it.
fn margin_around(head: Option<CropBox>, shape: [usize; 3], edges_mm: [f64; 3]) -> CropBox {
    let mut crop = head.unwrap_or(CropBox { start: [0; 3], shape });
    for (axis, edge_mm) in edges_mm.into_iter().enumerate() {
        let margin = (MARGIN_MM / edge_mm).ceil() as usize;
        let end = (crop.start[axis] + crop.shape[axis] + margin).min(shape[axis]);
        crop.start[axis] = crop.start[axis].saturating_sub(margin);
        crop.shape[axis] = end - crop.start[axis];
    }
    crop
}

/// Distance of captions and letters from the edge of a panel, in pixels.
const INSET: usize = 6;

/// Writes sequence, plane, slice and the four sides.
fn annotate(canvas: &mut Canvas, view: SliceView, count: usize) {
    let sequence = match view.modality {
        Modality::Flair => "FLAIR",
        Modality::T1 => "T1",
        Modality::T1ce => "T1CE",
        Modality::T2 => "T2",
    };
    canvas.text([INSET, INSET], sequence, TEXT, INK);
    annotate_sides(canvas, view.plane, view.index, count);
}

/// Writes plane, slice and the four sides.
fn annotate_sides(canvas: &mut Canvas, plane: Plane, index: usize, count: usize) {
    let [width, height] = canvas.size();
    let caption = format!("{} {}/{count}", plane.name(), index + 1);
    canvas.text([INSET, INSET + text_height(TEXT) + TEXT * 3], &caption, TEXT, FAINT);
    let (letter_width, letter_height) = (text_width("R", SIDE_TEXT), text_height(SIDE_TEXT));
    let across = width.saturating_sub(letter_width) / 2;
    let down = height.saturating_sub(letter_height) / 2;
    let [left, right, top, bottom] = plane.letters();
    canvas.text([INSET, down], left, SIDE_TEXT, INK);
    let right_edge = width.saturating_sub(letter_width + INSET);
    canvas.text([right_edge, down], right, SIDE_TEXT, INK);
    canvas.text([across, INSET], top, SIDE_TEXT, INK);
    canvas.text([across, height.saturating_sub(letter_height + INSET)], bottom, SIDE_TEXT, INK);
}

fn draw_scale_bar(canvas: &mut Canvas, pixels_per_mm: f64) {
    const INSET: usize = 8;
    let length = (SCALE_BAR_MM * pixels_per_mm).round() as usize;
    let [width, height] = canvas.size();
    if length + 2 * INSET > width * 9 / 20 || height < 4 * INSET {
        return;
    }
    let y = height - INSET - 3;
    canvas.fill([INSET, y], [length, 3], INK);
    for x in [INSET, INSET + length - 2] {
        canvas.fill([x, y - 4], [2, 7], INK);
    }
    let text_y = y.saturating_sub(8 + text_height(TEXT));
    canvas.text([INSET, text_y], &format!("{} MM", SCALE_BAR_MM), TEXT, FAINT);
}

/// Pixels that the legend needs.
const LEGEND_WIDTH_MIN: usize = 760;

fn draw_legend(canvas: &mut Canvas, mask: &Mask, y: usize) {
    const MM3_PER_ML: f64 = 1000.0;
    let voxel_ml = mask.spacing().voxel_volume_mm3() / MM3_PER_ML;
    let mut x = GAP;
    for class in [TumourClass::Enhancing, TumourClass::NecroticCore, TumourClass::Oedema] {
        let name = match class {
            TumourClass::NecroticCore => "NECROTIC CORE",
            TumourClass::Oedema => "OEDEMA",
            TumourClass::Enhancing => "ENHANCING TUMOUR",
        };
        let voxels = mask.voxels.iter().filter(|&&label| label == class.label()).count();
        let text = format!("{name} {:.1} ML", voxels as f64 * voxel_ml);
        canvas.fill([x, y], [text_height(TEXT); 2], class_colour(class));
        x += text_height(TEXT) + 8;
        canvas.text([x, y], &text, TEXT, INK);
        x += text_width(&text, TEXT) + 3 * GAP;
    }
    let note = "RADIOLOGICAL CONVENTION. DECISION SUPPORT FOR RESEARCH USE, NOT A MEDICAL DEVICE.";
    canvas.text([GAP, y + text_height(TEXT) + GAP], note, TEXT, FAINT);
}
