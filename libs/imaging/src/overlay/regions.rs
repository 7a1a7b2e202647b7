//! A lesion among the regions of an atlas: outlines and numbers, with a key below.

use std::collections::BTreeMap;

use ndarray::Array2;

use super::{
    COLUMNS, FAINT, GAP, GROUND, OverlayOptions, Plane, STRIP, TEXT, annotate_sides,
    canvas::{Canvas, Colour, text_height, text_width},
    draw_scale_bar, margin_around,
    slice::{Slice, Window},
};
use crate::{CropBox, Image, ImagingError, Mask};

/// Colours of regions in the key, used in turn.
const COLOURS: [Colour; 8] = [
    [255, 120, 200],
    [110, 225, 120],
    [120, 200, 255],
    [255, 170, 70],
    [190, 150, 255],
    [90, 220, 210],
    [240, 240, 120],
    [255, 150, 140],
];

/// Colour of the outlines of other regions.
const OTHER: Colour = [105, 110, 120];

/// Smallest piece of a region in a slice that gets a number, in square millimetres.
const NUMBERED_MM2_MIN: f64 = 30.0;

/// A region in the key, and in the picture in colour.
#[derive(Clone, Debug, PartialEq)]
pub struct RegionKey {
    /// Its label, as the picture's function of place gives it.
    pub label: u8,
    /// What is written in the key, such as `left temporal lobe 75 %`.
    pub text: String,
}

/// What [`render_regions`] draws.
pub struct RegionPicture<'a> {
    /// The image, in LPS order.
    pub image: &'a Image,
    /// The mask, on the same grid.
    pub mask: &'a Mask,
    /// Voxel that the three planes go through.
    pub at: [usize; 3],
    /// Returns the region's label at a place in voxels of the image; 0 is none.
    pub label_at: &'a dyn Fn([f64; 3]) -> u8,
    /// Regions to name, most important first.
    pub key: &'a [RegionKey],
    /// Line above the notice, such as the name of the atlas.
    pub caption: &'a str,
}

/// Draws an image, its mask and the outlines of regions in three planes, as a PNG with a key.
///
/// # Errors
/// [`ImagingError::Shape`] if the mask has another shape, [`ImagingError::Picture`] if the voxel is
/// outside or the options are out of range.
pub fn render_regions(
    picture: &RegionPicture<'_>,
    options: &OverlayOptions,
) -> Result<Vec<u8>, ImagingError> {
    let panels = region_panels(picture, options)?;
    let [width, mut y] = panels.size();
    let lines = key_lines(picture.key, width);
    let line_height = text_height(TEXT) + GAP / 2;
    let height = y + (lines.len() + 2) * line_height + GAP;
    let mut canvas = Canvas::new(width, height, GROUND)?;
    canvas.paste([0, 0], &panels);
    for line in lines {
        for (x, number) in line {
            let text = format!("{} {}", number + 1, picture.key[number].text);
            canvas.text([x, y], &text, TEXT, colour(number));
        }
        y += line_height;
    }
    canvas.text([GAP, y], picture.caption, TEXT, FAINT);
    let note = "RADIOLOGICAL CONVENTION. DECISION SUPPORT FOR RESEARCH USE, NOT A MEDICAL DEVICE.";
    canvas.text([GAP, y + line_height], note, TEXT, FAINT);
    canvas.png()
}

/// Draws what [`render_regions`] draws, without key and caption: for a page that has its own.
///
/// # Errors
/// As [`render_regions`].
pub fn render_region_panels(
    picture: &RegionPicture<'_>,
    options: &OverlayOptions,
) -> Result<Vec<u8>, ImagingError> {
    region_panels(picture, options)?.png()
}

/// Returns the colour of the region with this place in the key.
pub fn region_rgb(number: usize) -> [u8; 3] {
    colour(number)
}

fn region_panels(
    picture: &RegionPicture<'_>,
    options: &OverlayOptions,
) -> Result<Canvas, ImagingError> {
    options.check()?;
    let (image, mask) = (picture.image, picture.mask);
    if mask.shape() != image.shape() {
        return Err(ImagingError::Shape {
            what: "mask to draw",
            found: mask.shape().to_vec(),
            expected: image.shape().to_vec(),
        });
    }
    if (0..3).any(|axis| picture.at[axis] >= image.shape()[axis]) {
        let detail = format!("voxel {:?} is outside {:?}", picture.at, image.shape());
        return Err(ImagingError::Picture { detail });
    }
    let corner = image.voxels.first().copied().unwrap_or(0.0);
    let crop = margin_around(
        CropBox::around(&image.voxels, |value| value != corner),
        image.shape(),
        image.spacing().as_mm(),
    );
    let window = Window::of(image);
    let mut panels = Vec::new();
    for plane in COLUMNS {
        panels.push(panel(picture, plane, &crop, window, options)?);
    }
    let row_height = panels.iter().map(|panel| panel.size()[1]).max().unwrap_or(0);
    let width = panels.iter().map(|panel| panel.size()[0] + GAP).sum::<usize>() + GAP;
    let mut canvas = Canvas::new(width, row_height + 2 * GAP, GROUND)?;
    let mut x = GAP;
    for panel in &panels {
        canvas.paste([x, GAP + (row_height - panel.size()[1]) / 2], panel);
        x += panel.size()[0] + GAP;
    }
    Ok(canvas)
}

fn colour(number: usize) -> Colour {
    COLOURS[number % COLOURS.len()]
}

/// Breaks the key into lines: where each entry begins, and its number.
fn key_lines(key: &[RegionKey], width: usize) -> Vec<Vec<(usize, usize)>> {
    let mut lines: Vec<Vec<(usize, usize)>> = Vec::new();
    let mut x = width;
    for (number, entry) in key.iter().enumerate() {
        let own = text_width(&format!("{} {}", number + 1, entry.text), TEXT) + 3 * GAP;
        if x + own > width || lines.is_empty() {
            lines.push(Vec::new());
            x = GAP;
        }
        if let Some(line) = lines.last_mut() {
            line.push((x, number));
        }
        x += own;
    }
    lines
}

fn panel(
    picture: &RegionPicture<'_>,
    plane: Plane,
    crop: &CropBox,
    window: Window,
    options: &OverlayOptions,
) -> Result<Canvas, ImagingError> {
    let [down, right, through] = plane.axes();
    let index = picture.at[through];
    let edges_mm = picture.image.spacing().as_mm();
    let length = |axis: usize| {
        let pixels = crop.shape[axis] as f64 * edges_mm[axis] * options.pixels_per_mm;
        (pixels.round() as usize).max(1)
    };
    let size = [length(right), length(down)];
    let mut canvas = Canvas::new(size[0] + 2 * STRIP[0], size[1] + 2 * STRIP[1], [0; 3])?;
    let slice = Slice::cut(picture.image, picture.mask, plane, index, crop);
    for (at, colour) in slice.pixels(window, size, options.fill_opacity).into_iter().enumerate() {
        canvas.put(STRIP[0] + at % size[0], STRIP[1] + at / size[0], colour);
    }
    let labels = Array2::from_shape_fn([size[1], size[0]], |(y, x)| {
        let part = |at: usize, axis: usize, length: usize| {
            (at as f64 + 0.5) / length as f64 * crop.shape[axis] as f64 - 0.5
        };
        let mut voxel = [index as f64; 3];
        voxel[right] = crop.start[right] as f64 + part(x, right, size[0]);
        let along = part(y, down, size[1]);
        // Superior, the high end of z, is drawn at the top.
        let along = if down == 2 { crop.shape[down] as f64 - 1.0 - along } else { along };
        voxel[down] = crop.start[down] as f64 + along;
        (picture.label_at)(voxel)
    });
    let numbers: BTreeMap<u8, usize> =
        picture.key.iter().enumerate().map(|(number, entry)| (entry.label, number)).collect();
    outline(&mut canvas, &labels, &numbers);
    write_numbers(&mut canvas, &labels, &numbers, options);
    annotate_sides(&mut canvas, plane, index, picture.image.shape()[through]);
    draw_scale_bar(&mut canvas, options.pixels_per_mm);
    Ok(canvas)
}

/// Draws where the label changes: in the colour of the named region, of the more important of two.
fn outline(canvas: &mut Canvas, labels: &Array2<u8>, numbers: &BTreeMap<u8, usize>) {
    for ((y, x), &label) in labels.indexed_iter() {
        let others = [labels.get([y + 1, x]), labels.get([y, x + 1])];
        let Some(&other) = others.into_iter().flatten().find(|&&other| other != label) else {
            continue;
        };
        let named = [label, other].into_iter().filter_map(|label| numbers.get(&label)).min();
        canvas.put(STRIP[0] + x, STRIP[1] + y, named.map_or(OTHER, |&number| colour(number)));
    }
}

/// Writes the number of each named region where it is widest.
fn write_numbers(
    canvas: &mut Canvas,
    labels: &Array2<u8>,
    numbers: &BTreeMap<u8, usize>,
    options: &OverlayOptions,
) {
    for (&label, &number) in numbers {
        let count = labels.iter().filter(|&&other| other == label).count();
        let mm2 = count as f64 / options.pixels_per_mm.powi(2);
        if mm2 < NUMBERED_MM2_MIN {
            continue;
        }
        // The longest run of the region in a row, its middle.
        let mut best: Option<(usize, [usize; 2])> = None;
        for (y, row) in labels.outer_iter().enumerate() {
            let mut start = None;
            for (x, &other) in row.iter().chain([&0]).enumerate() {
                match (other == label, start) {
                    (true, None) => start = Some(x),
                    (false, Some(from)) => {
                        let length = x - from;
                        if best.is_none_or(|(longest, _)| length > longest) {
                            best = Some((length, [from + length / 2, y]));
                        }
                        start = None;
                    }
                    _ => {}
                }
            }
        }
        if let Some((_, [x, y])) = best {
            let text = (number + 1).to_string();
            let x = STRIP[0] + x - (text_width(&text, TEXT) / 2).min(STRIP[0] + x);
            let y = STRIP[1] + y - (text_height(TEXT) / 2).min(STRIP[1] + y);
            canvas.text([x, y], &text, TEXT, colour(number));
        }
    }
}
