//! Pictures of regions: where their outlines and numbers come to lie.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use ndarray::Array3;
use neurotriage_imaging::{
    Affine, Image, Volume,
    overlay::{OverlayOptions, RegionKey, RegionPicture, render_regions},
};

const SIDE: usize = 40;

fn ball() -> Image {
    let voxels = Array3::from_shape_fn([SIDE; 3], |(x, y, z)| {
        let squared: f64 = [x, y, z].iter().map(|&at| (at as f64 - 19.5).powi(2)).sum();
        if squared < 18.0 * 18.0 { 100.0 } else { 0.0 }
    });
    Volume { voxels, affine: Affine::brats() }
}

/// Width, and colours row after row.
fn decoded(png: &[u8]) -> (usize, Vec<[u8; 3]>) {
    let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
    let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut bytes).unwrap();
    (
        info.width as usize,
        bytes.chunks_exact(3).map(|pixel| [pixel[0], pixel[1], pixel[2]]).collect(),
    )
}

#[test]
fn the_border_of_a_region_is_drawn_where_the_label_changes_and_it_is_in_the_key() {
    let image = ball();
    let mask = Volume { voxels: Array3::<u8>::zeros([SIDE; 3]), affine: image.affine };
    // Region 7 is the patient's left: high x.
    let label_at = |voxel: [f64; 3]| if voxel[0] > 19.5 { 7 } else { 0 };
    let key = [RegionKey { label: 7, text: "left half 50 %".to_owned() }];
    let draw = |key: &[RegionKey]| {
        let picture = RegionPicture {
            image: &image,
            mask: &mask,
            at: [20, 20, 20],
            label_at: &label_at,
            key,
            caption: "test",
        };
        decoded(&render_regions(&picture, &OverlayOptions::default()).unwrap())
    };
    let (width, pixels) = draw(&key);
    let (_, plain) = draw(&[]);
    // The first colour of the key; a dim one where the region is not named.
    let (named, other) = ([255, 120, 200], [105, 110, 120]);
    // The axial panel is the first of three: its middle column is the border.
    let in_axial = |colour: [u8; 3], pixels: &[[u8; 3]]| -> Vec<usize> {
        let at = pixels.iter().enumerate().filter(|(_, pixel)| **pixel == colour);
        at.map(|(at, _)| at % width).filter(|x| *x < width / 3).collect()
    };
    let columns = in_axial(named, &pixels);
    let border = columns.iter().filter(|&&x| columns.iter().filter(|&&y| y == x).count() > 50);
    let border: std::collections::BTreeSet<usize> = border.copied().collect();
    assert_eq!(border.len(), 1, "{border:?}");
    let place = *border.first().unwrap() as f64 / (width as f64 / 3.0);
    assert!((0.4..0.6).contains(&place), "{place}");
    assert!(in_axial(other, &plain).len() > 50 && in_axial(named, &plain).is_empty());
}

#[test]
fn what_cannot_be_drawn_is_refused() {
    let image = ball();
    let mask = Volume { voxels: Array3::<u8>::zeros([SIDE; 3]), affine: image.affine };
    let small = Volume { voxels: Array3::<u8>::zeros([SIDE, SIDE, 3]), affine: image.affine };
    let draw = |mask, at, options: &OverlayOptions| {
        let picture =
            RegionPicture { image: &image, mask, at, label_at: &|_| 0, key: &[], caption: "" };
        render_regions(&picture, options).map_err(|error| error.to_string())
    };
    let usual = OverlayOptions::default();
    assert!(draw(&mask, [20; 3], &usual).is_ok());
    assert!(draw(&small, [20; 3], &usual).unwrap_err().contains("mask to draw"));
    assert!(draw(&mask, [20, 20, 40], &usual).unwrap_err().contains("outside"));
    let huge = OverlayOptions { pixels_per_mm: 100.0, ..usual };
    assert!(draw(&mask, [20; 3], &huge).unwrap_err().contains("out of range"));
}
