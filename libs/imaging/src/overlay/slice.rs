//! One slice of a study as it hangs on the wall, and its pixels.

use ndarray::Array2;
use neurotriage_domain::TumourClass;

use super::{Plane, canvas::Colour};
use crate::{CropBox, Image, Mask};

/// Opacity of the line around a class.
const OUTLINE_OPACITY: f32 = 0.95;

/// Samples of the mask along each side of a pixel.
const SUBPIXELS: usize = 2;

/// Grey values and labels, `[row, column]` from the upper left of the picture.
pub(super) struct Slice {
    grey: Array2<f32>,
    labels: Array2<u8>,
}

/// Grey value that becomes black, and the one that becomes white.
#[derive(Clone, Copy)]
pub(super) struct Window {
    pub(super) low: f32,
    pub(super) high: f32,
}

impl Plane {
    /// Returns the volume axes that run down, to the right, and through the picture.
    pub(super) fn axes(self) -> [usize; 3] {
        match self {
            Self::Axial => [1, 0, 2],
            Self::Coronal => [2, 0, 1],
            Self::Sagittal => [2, 1, 0],
        }
    }

    /// Returns the letters at the left, right, upper and lower edge.
    pub(super) fn letters(self) -> [&'static str; 4] {
        match self {
            Self::Axial => ["R", "L", "A", "P"],
            Self::Coronal => ["R", "L", "S", "I"],
            Self::Sagittal => ["A", "P", "S", "I"],
        }
    }

    /// Returns the name for captions.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Axial => "AXIAL",
            Self::Coronal => "CORONAL",
            Self::Sagittal => "SAGITTAL",
        }
    }
}

impl Window {
    /// Returns the window from the 1st to the 99.5th percentile of the voxels that are not 0.
    pub(super) fn of(image: &Image) -> Self {
        let mut values: Vec<f32> =
            image.voxels.iter().copied().filter(|&value| value != 0.0).collect();
        if values.is_empty() {
            return Self { low: 0.0, high: 1.0 };
        }
        let mut percentile = |share: f64| {
            let at = ((values.len() - 1) as f64 * share).round() as usize;
            *values.select_nth_unstable_by(at, f32::total_cmp).1
        };
        let (low, high) = (percentile(0.01), percentile(0.995));
        Self { low, high: if high > low { high } else { low + 1.0 } }
    }
}

impl Slice {
    /// Cuts the part of a slice that lies inside `crop`.
    pub(super) fn cut(
        image: &Image,
        mask: &Mask,
        plane: Plane,
        index: usize,
        crop: &CropBox,
    ) -> Self {
        let [down, right, through] = plane.axes();
        let shape = (crop.shape[down], crop.shape[right]);
        let place = |(row, column): (usize, usize)| {
            let mut voxel = [0; 3];
            voxel[through] = index;
            voxel[right] = crop.start[right] + column;
            // Superior, the high end of z, is drawn at the top.
            let from_top = if down == 2 { crop.shape[down] - 1 - row } else { row };
            voxel[down] = crop.start[down] + from_top;
            voxel
        };
        Self {
            grey: Array2::from_shape_fn(shape, |at| image.voxels[place(at)]),
            labels: Array2::from_shape_fn(shape, |at| mask.voxels[place(at)]),
        }
    }

    /// Returns the colours of a picture of `[width, height]` pixels, row after row.
    pub(super) fn pixels(
        &self,
        window: Window,
        [width, height]: [usize; 2],
        fill_opacity: f32,
    ) -> Vec<Colour> {
        let classes = self.classes([width * SUBPIXELS, height * SUBPIXELS]);
        let step = self.step([width, height]);
        let mut pixels = Vec::with_capacity(width * height);
        for y in 0..height {
            for x in 0..width {
                let [row, column] = centre([x, y], step);
                let value = cubic(&self.grey, row, column);
                let share = ((value - window.low) / (window.high - window.low)).clamp(0.0, 1.0);
                pixels.push(blend(&classes, [x, y], 255.0 * share, fill_opacity));
            }
        }
        pixels
    }

    /// Returns the voxels that one step down and to the right in a picture of this size covers.
    fn step(&self, [width, height]: [usize; 2]) -> [f64; 2] {
        let (rows, columns) = self.grey.dim();
        [rows as f64 / height as f64, columns as f64 / width as f64]
    }

    /// Returns the label at every sample, `[row, column]`: that with the greatest share of the four
    /// voxels around it, so that borders run smoothly.
    fn classes(&self, size: [usize; 2]) -> Array2<u8> {
        const LABELS: [u8; 4] = [0, 1, 2, 4];
        let step = self.step(size);
        let (rows, columns) = self.labels.dim();
        Array2::from_shape_fn((size[1], size[0]), |(y, x)| {
            let [row, column] = centre([x, y], step);
            let (r0, r1, r) = between(row, rows);
            let (c0, c1, c) = between(column, columns);
            let corners = [
                (self.labels[[r0, c0]], (1.0 - r) * (1.0 - c)),
                (self.labels[[r0, c1]], (1.0 - r) * c),
                (self.labels[[r1, c0]], r * (1.0 - c)),
                (self.labels[[r1, c1]], r * c),
            ];
            if corners.iter().all(|corner| corner.0 == corners[0].0) {
                return corners[0].0;
            }
            let share = |label: u8| -> f64 {
                corners.iter().filter(|corner| corner.0 == label).map(|corner| corner.1).sum()
            };
            LABELS.into_iter().fold(
                0,
                |best, label| {
                    if share(label) > share(best) { label } else { best }
                },
            )
        })
    }
}

/// Colour of a class in pictures.
pub(super) fn class_colour(class: TumourClass) -> Colour {
    match class {
        TumourClass::NecroticCore => [240, 70, 60],
        TumourClass::Oedema => [245, 205, 60],
        TumourClass::Enhancing => [70, 170, 255],
    }
}

/// Returns the colour of a pixel: its grey value under the mask's mean colour.
fn blend(classes: &Array2<u8>, [x, y]: [usize; 2], grey: f32, fill_opacity: f32) -> Colour {
    let (rows, columns) = (y * SUBPIXELS..(y + 1) * SUBPIXELS, x * SUBPIXELS..(x + 1) * SUBPIXELS);
    let mut sum = [0.0_f32; 3];
    for row in rows {
        for column in columns.clone() {
            let label = classes[[row, column]];
            let Ok(Some(class)) = TumourClass::from_label(f32::from(label)) else {
                sum.iter_mut().for_each(|part| *part += grey);
                continue;
            };
            let border = on_border(classes, row, column);
            for (part, of_class) in sum.iter_mut().zip(class_colour(class)) {
                let colour = f32::from(of_class);
                *part += if border {
                    grey + (colour - grey) * OUTLINE_OPACITY
                } else {
                    stain(grey, colour, fill_opacity)
                };
            }
        }
    }
    let samples = (SUBPIXELS * SUBPIXELS) as f32;
    sum.map(|part| (part / samples).round().clamp(0.0, 255.0) as u8)
}

/// Stains like glass, so that structure shows in bright tissue, with a little of the colour itself,
/// so that it shows in dark tissue.
fn stain(grey: f32, colour: f32, opacity: f32) -> f32 {
    const GLOW: f32 = 0.35;
    let through_glass = grey * (1.0 - opacity + opacity * colour / 255.0);
    through_glass + (colour - through_glass).max(0.0) * opacity * GLOW
}

/// Returns true if another class lies within a pixel and a half.
fn on_border(classes: &Array2<u8>, row: usize, column: usize) -> bool {
    let far = (SUBPIXELS * 3 / 2) as isize;
    let near = SUBPIXELS as isize;
    [(0, -far), (0, far), (-far, 0), (far, 0)]
        .into_iter()
        .chain([(-near, -near), (-near, near), (near, -near), (near, near)])
        .any(|(down, right)| {
            let place = [row.wrapping_add_signed(down), column.wrapping_add_signed(right)];
            classes.get(place).is_some_and(|&other| other != classes[[row, column]])
        })
}

/// Returns the place, in voxels down and to the right, of the centre of a pixel.
fn centre([x, y]: [usize; 2], step: [f64; 2]) -> [f64; 2] {
    [(y as f64 + 0.5) * step[0] - 0.5, (x as f64 + 0.5) * step[1] - 0.5]
}

/// Returns the voxels before and after a place, and how far it is from the first to the second.
fn between(place: f64, count: usize) -> (usize, usize, f64) {
    let place = place.clamp(0.0, (count - 1) as f64);
    let low = place.floor() as usize;
    (low, (low + 1).min(count - 1), place - low as f64)
}

/// Catmull-Rom interpolation: sharper than linear, and exact at the voxels.
fn cubic(grey: &Array2<f32>, row: f64, column: f64) -> f32 {
    let (rows, columns) = grey.dim();
    let (row_at, row_weights) = taps(row, rows);
    let (column_at, column_weights) = taps(column, columns);
    let mut sum = 0.0;
    for (r, row_weight) in row_at.into_iter().zip(row_weights) {
        for (c, column_weight) in column_at.into_iter().zip(column_weights) {
            sum += row_weight * column_weight * grey[[r, c]];
        }
    }
    sum
}

fn taps(place: f64, count: usize) -> ([usize; 4], [f32; 4]) {
    let (low, _, t) = between(place, count);
    let last = count - 1;
    let at = [low.saturating_sub(1), low, (low + 1).min(last), (low + 2).min(last)];
    let (t2, t3) = (t * t, t * t * t);
    let weights = [
        -0.5 * t3 + t2 - 0.5 * t,
        1.5 * t3 - 2.5 * t2 + 1.0,
        -1.5 * t3 + 2.0 * t2 + 0.5 * t,
        0.5 * t3 - 0.5 * t2,
    ];
    (at, weights.map(|weight| weight as f32))
}
