//! Expert's and model's mask side by side on one axial slice, with what the model got wrong.
//!
//! Errors differ in hue and in pattern, so that the picture reads without telling red from green
//! and in grey print: missed is solid, false is striped, the wrong class is dotted.

use ndarray::{Array3, Axis};
use neurotriage_domain::{Modality, TumourClass, TumourRegion};

use super::{
    FAINT, GAP, GROUND, INK, OverlayOptions, Plane, STRIP, Scene, SliceView, TEXT, annotate,
    canvas::{Canvas, Colour, text_height},
    class_colour, draw_scale_bar,
    slice::{Slice, Window},
};
use crate::{ImagingError, Mask, Study};

/// Rows of [`render_comparison`], from the top: the sequence, and the region whose errors it shows.
const ROWS: [(Modality, TumourRegion, &str); 2] = [
    (Modality::Flair, TumourRegion::Whole, "ERRORS: WHOLE TUMOUR"),
    (Modality::T1ce, TumourRegion::Core, "ERRORS: CORE"),
];

/// Opacity of the colour of an error inside its outline.
const ERROR_OPACITY: f32 = 0.6;

/// Opacity between the stripes and dots of an error.
const PATTERN_OPACITY: f32 = 0.15;

/// Pixels of a stripe, a dot and the space between.
const PATTERN: usize = 3;

/// How a voxel of the prediction differs from the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disagreement {
    /// In the region by the expert, not by the model.
    Missed,
    /// In the region by the model, not by the expert.
    False,
    /// In the region by both, of another class.
    OtherClass,
}

impl Disagreement {
    /// Every kind, in the order of legends.
    pub const ALL: [Self; 3] = [Self::Missed, Self::False, Self::OtherClass];

    /// Returns how two labels of one voxel differ within `region`; `None` if they agree there. In
    /// the whole tumour only its extent counts, not the class.
    pub fn of(truth: u8, predicted: u8, region: TumourRegion) -> Option<Self> {
        match (region.contains(truth), region.contains(predicted)) {
            (true, false) => Some(Self::Missed),
            (false, true) => Some(Self::False),
            (true, true) if region != TumourRegion::Whole && truth != predicted => {
                Some(Self::OtherClass)
            }
            (true, true) | (false, false) => None,
        }
    }

    /// Returns red, green and blue of its colour.
    pub fn colour(self) -> [u8; 3] {
        match self {
            Self::Missed => [240, 90, 200],
            Self::False => [0, 205, 145],
            Self::OtherClass => [255, 160, 20],
        }
    }

    /// Returns true where its pattern has colour.
    fn is_inked(self, [x, y]: [usize; 2]) -> bool {
        match self {
            Self::Missed => true,
            Self::False => ((x + y) / PATTERN).is_multiple_of(2),
            Self::OtherClass => [x, y].iter().all(|at| (at / PATTERN).is_multiple_of(2)),
        }
    }
}

/// Returns red, green and blue in which pictures show a class.
pub fn class_rgb(class: TumourClass) -> [u8; 3] {
    class_colour(class)
}

/// Returns the axial slice with most voxels whose class differs, the lowest of equals; `None` if
/// the masks agree or have different shapes.
pub fn worst_slice(truth: &Mask, predicted: &Mask) -> Option<usize> {
    if truth.shape() != predicted.shape() {
        return None;
    }
    let [_, _, through] = Plane::Axial.axes();
    let slices = truth.voxels.axis_iter(Axis(through));
    let mut worst: Option<(usize, usize)> = None;
    for (index, (t, p)) in slices.zip(predicted.voxels.axis_iter(Axis(through))).enumerate() {
        let count = t.iter().zip(&p).filter(|(t, p)| t != p).count();
        if count > worst.map_or(0, |(_, most)| most) {
            worst = Some((index, count));
        }
    }
    worst.map(|(index, _)| index)
}

/// Draws one axial slice as a PNG: FLAIR and T1ce, one row each; from the left the image, the
/// expert's mask, the model's mask, and where they differ (whole tumour on FLAIR, core on T1ce).
///
/// `index` counts along the third axis in LPS order, from 0; both masks are on the study's LPS
/// grid.
///
/// # Errors
/// [`ImagingError::Shape`] if a mask has another shape, [`ImagingError::Picture`] if there is no
/// such slice or the options are out of range.
pub fn render_comparison(
    study: &Study,
    [truth, predicted]: [&Mask; 2],
    index: usize,
    options: &OverlayOptions,
) -> Result<Vec<u8>, ImagingError> {
    let nothing = Mask { voxels: Array3::zeros(truth.voxels.dim()), affine: truth.affine };
    let bare = Scene::new(study, &nothing, options)?;
    let scenes = [Scene::new(study, truth, options)?, Scene::new(study, predicted, options)?];
    let [width, height] = bare.panel_size(Plane::Axial);
    let row_height = text_height(TEXT) + GAP + height + GAP;
    let columns = scenes.len() + 2;
    let size = [GAP + columns * (width + GAP), GAP + ROWS.len() * row_height];
    let mut canvas = Canvas::new(size[0], size[1], GROUND)?;
    for (row, (modality, region, errors)) in ROWS.into_iter().enumerate() {
        let view = SliceView { modality, plane: Plane::Axial, index };
        let window = Window::of(study.image(modality));
        let mut panels = vec![("IMAGE", bare.panel(view, window, height)?)];
        for (name, scene) in ["EXPERT", "MODEL"].into_iter().zip(&scenes) {
            panels.push((name, scene.panel(view, window, height)?));
        }
        let map = ErrorMap { bare: &bare, masks: [truth, predicted], region };
        panels.push((errors, map.panel(view, window)?));
        let top = GAP + row * row_height;
        for (column, (name, panel)) in panels.iter().enumerate() {
            let left = GAP + column * (width + GAP);
            canvas.text([left, top], name, TEXT, if column == 0 { FAINT } else { INK });
            canvas.paste([left, top + text_height(TEXT) + GAP / 2], panel);
        }
    }
    canvas.png()
}

/// What the panel of errors is made of.
struct ErrorMap<'a> {
    bare: &'a Scene<'a>,
    masks: [&'a Mask; 2],
    region: TumourRegion,
}

impl ErrorMap<'_> {
    fn panel(&self, view: SliceView, window: Window) -> Result<Canvas, ImagingError> {
        let Scene { study, mask, options, crop } = self.bare;
        let [width, height] = self.bare.panel_size(view.plane);
        let size = [width - 2 * STRIP[0], height - 2 * STRIP[1]];
        let slice = Slice::cut(study.image(view.modality), mask, view.plane, view.index, crop);
        let greys = slice.pixels(window, size, 0.0);
        let mut canvas = Canvas::new(width, height, [0; 3])?;
        for (at, grey) in greys.into_iter().enumerate() {
            let pixel = [at % size[0], at / size[0]];
            let colour = match self.at(pixel, size, view.index) {
                Some(kind) => paint(grey, kind, pixel, self.is_rim(kind, pixel, size, view.index)),
                None => grey,
            };
            canvas.put(STRIP[0] + pixel[0], STRIP[1] + pixel[1], colour);
        }
        annotate(&mut canvas, view, study.shape()[view.plane.axes()[2]]);
        draw_scale_bar(&mut canvas, options.pixels_per_mm);
        Ok(canvas)
    }

    /// Returns how the masks differ at the voxel under a pixel of the axial slice `index`.
    fn at(&self, pixel: [usize; 2], size: [usize; 2], index: usize) -> Option<Disagreement> {
        let crop = &self.bare.crop;
        let voxel = |axis: usize| {
            // The voxel whose area holds the pixel's centre.
            let along = (2 * pixel[axis] + 1) * crop.shape[axis] / (2 * size[axis]);
            crop.start[axis] + along.min(crop.shape[axis] - 1)
        };
        let place = [voxel(0), voxel(1), index];
        let label = |mask: &Mask| mask.voxels.get(place).copied().unwrap_or(0);
        let [truth, predicted] = self.masks;
        Disagreement::of(label(truth), label(predicted), self.region)
    }

    fn is_rim(&self, kind: Disagreement, [x, y]: [usize; 2], size: [usize; 2], z: usize) -> bool {
        [(0, -1), (0, 1), (-1, 0), (1, 0)].into_iter().any(|(right, down)| {
            let near = [x.wrapping_add_signed(right), y.wrapping_add_signed(down)];
            let inside = near[0] < size[0] && near[1] < size[1];
            inside && self.at(near, size, z) != Some(kind)
        })
    }
}

fn paint(grey: Colour, kind: Disagreement, pixel: [usize; 2], is_rim: bool) -> Colour {
    let opacity = if is_rim {
        1.0
    } else if kind.is_inked(pixel) {
        ERROR_OPACITY
    } else {
        PATTERN_OPACITY
    };
    let mut mixed = [0; 3];
    for ((out, below), above) in mixed.iter_mut().zip(grey).zip(kind.colour()) {
        let (below, above) = (f32::from(below), f32::from(above));
        *out = (below + (above - below) * opacity).round().clamp(0.0, 255.0) as u8;
    }
    mixed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Affine, NamedImage, Volume};

    fn mask(shape: [usize; 3], voxels: &[([usize; 3], u8)]) -> Mask {
        let mut mask = Mask { voxels: Array3::zeros(shape), affine: Affine::brats() };
        for &(voxel, label) in voxels {
            mask.voxels[voxel] = label;
        }
        mask
    }

    fn study(shape: [usize; 3]) -> Study {
        let image = || Volume {
            voxels: Array3::from_shape_fn(shape, |(x, y, z)| (1 + (x + y + z) % 9) as f32),
            affine: Affine::brats(),
        };
        let name = || NamedImage { name: "image".to_owned(), image: image() };
        Study::from_images([name(), name(), name(), name()]).unwrap()
    }

    /// Returns the pixels of one colour.
    fn pixels_of(png: &[u8], colour: [u8; 3]) -> usize {
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        reader.next_frame(&mut pixels).unwrap();
        pixels.chunks_exact(3).filter(|pixel| *pixel == colour).count()
    }

    #[test]
    fn each_kind_of_error_is_drawn_where_it_lies() {
        const SHAPE: [usize; 3] = [40, 30, 10];
        let study = study(SHAPE);
        let truth = mask(SHAPE, &[([10, 10, 4], 2), ([20, 10, 4], 4), ([30, 10, 4], 4)]);
        let options = OverlayOptions { pixels_per_mm: 2.0, fill_opacity: 0.4 };
        // (what the row is for, labels predicted at the three voxels, slice, kinds drawn)
        let table = [
            ("all right", [2, 4, 4], 4, [false, false, false]),
            ("oedema missed", [0, 4, 4], 4, [true, false, false]),
            ("core for oedema", [1, 4, 4], 4, [false, true, false]),
            ("necrosis for enhancing", [2, 1, 4], 4, [false, false, true]),
            ("two at once", [2, 1, 0], 4, [true, false, true]),
            ("errors of another slice", [0, 0, 0], 5, [false, false, false]),
        ];
        for (case, [first, second, third], index, expected) in table {
            let predicted =
                mask(SHAPE, &[([10, 10, 4], first), ([20, 10, 4], second), ([30, 10, 4], third)]);
            let png = render_comparison(&study, [&truth, &predicted], index, &options).unwrap();
            let drawn = Disagreement::ALL.map(|kind| pixels_of(&png, kind.colour()) > 0);
            assert_eq!(drawn, expected, "case: {case}");
        }
        let other = mask([40, 30, 11], &[]);
        assert!(render_comparison(&study, [&truth, &other], 4, &options).is_err());
        assert!(render_comparison(&study, [&other, &truth], 4, &options).is_err());
        assert!(render_comparison(&study, [&truth, &truth], 10, &options).is_err(), "no slice 10");
    }

    #[test]
    fn a_disagreement_is_judged_within_its_region() {
        use Disagreement::{False, Missed, OtherClass};
        // (truth, predicted, in the whole tumour, in the core)
        let table = [
            (0, 0, None, None),
            (2, 2, None, None),
            (2, 0, Some(Missed), None),
            (0, 2, Some(False), None),
            (4, 0, Some(Missed), Some(Missed)),
            (4, 2, None, Some(Missed)),
            (2, 1, None, Some(False)),
            (1, 4, None, Some(OtherClass)),
            (4, 4, None, None),
        ];
        for (truth, predicted, whole, core) in table {
            let of = |region| Disagreement::of(truth, predicted, region);
            assert_eq!(of(TumourRegion::Whole), whole, "{truth} and {predicted}");
            assert_eq!(of(TumourRegion::Core), core, "{truth} and {predicted}");
        }
    }

    #[test]
    fn the_worst_slice_differs_most_and_not_where_tumour_is() {
        const SHAPE: [usize; 3] = [8, 8, 8];
        let oedema = |voxels: &[[usize; 3]]| {
            mask(SHAPE, &voxels.iter().map(|v| (*v, 2)).collect::<Vec<_>>())
        };
        let truth = oedema(&[[1, 1, 2], [2, 1, 2], [3, 1, 2], [1, 1, 5]]);
        let predicted = oedema(&[[1, 1, 2], [2, 1, 2], [3, 1, 2], [4, 1, 5], [5, 1, 5]]);
        assert_eq!(worst_slice(&truth, &predicted), Some(5));
        assert_eq!(worst_slice(&truth, &truth), None);
        let other = mask([8, 8, 9], &[]);
        assert_eq!(worst_slice(&truth, &other), None);
    }

    #[test]
    fn kinds_differ_in_pattern_as_well_as_in_colour() {
        let pattern = |kind: Disagreement| -> Vec<bool> {
            (0..36).map(|at| kind.is_inked([at % 6, at / 6])).collect()
        };
        let [missed, striped, dotted] = Disagreement::ALL.map(pattern);
        let inked = |pattern: &[bool]| pattern.iter().filter(|inked| **inked).count();
        assert_eq!([inked(&missed), inked(&striped), inked(&dotted)], [36, 18, 9]);
        let grey = [100; 3];
        assert_eq!(paint(grey, Disagreement::Missed, [0, 0], true), [240, 90, 200]);
        assert_eq!(paint(grey, Disagreement::False, [3, 0], false), [85, 116, 107]);
    }
}
