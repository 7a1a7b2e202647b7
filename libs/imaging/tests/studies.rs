//! From files in any orientation and spacing to the network and back.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::{fs, path::Path};

use ndarray::{Array3, Axis};
use neurotriage_domain::{DomainError, ErrorCode, Modality, VoxelSpacing};
use neurotriage_imaging::{
    Affine, CaseFiles, Image, NamedImage, Orientation, Prepared, Study, Volume, canonicalise,
    nifti::{write_atomically, write_image_gz, write_mask_gz},
    overlay::{OverlayOptions, Plane, SliceView, busiest_slice, render_overlay, render_slice},
    prepare, seed_labels, seed_volume,
};

/// A ball of brain in air, `[x, y, z]` in the index order of `affine`.
fn ball(shape: [usize; 3], affine: Affine, brightness: f32) -> Image {
    let centre = shape.map(|side| (side as f64 - 1.0) / 2.0);
    let voxels = Array3::from_shape_fn(shape, |(x, y, z)| {
        let from_centre =
            |at: usize, axis: usize| ((at as f64 - centre[axis]) / centre[axis]).powi(2);
        let squared = from_centre(x, 0) + from_centre(y, 1) + from_centre(z, 2);
        let texture = ((x * 7 + y * 13 + z * 29) % 11) as f32;
        if squared < 0.5 { brightness + texture } else { 0.0 }
    });
    Volume { voxels, affine }
}

fn affine_of(orientation: Orientation, edges: [f64; 3]) -> Affine {
    let mut rows = [[0.0; 4]; 4];
    for (index, world) in orientation.world_axes().into_iter().enumerate() {
        let sign = if orientation.is_positive()[index] { 1.0 } else { -1.0 };
        rows[world][index] = sign * edges[index];
    }
    rows[0][3] = 30.5;
    rows[2][3] = -11.0;
    rows[3][3] = 1.0;
    Affine::from_rows(rows).unwrap()
}

fn named(images: [Image; 4]) -> [NamedImage; 4] {
    let mut names = Modality::ALL.into_iter();
    images.map(|image| NamedImage { name: format!("{}.nii", names.next().unwrap()), image })
}

fn study(shape: [usize; 3], affine: Affine) -> Study {
    let images = [100.0, 200.0, 300.0, 400.0].map(|brightness| ball(shape, affine, brightness));
    Study::from_images(named(images)).unwrap()
}

#[test]
fn images_that_do_not_belong_together_are_refused() {
    let shape = [12, 14, 16];
    let lps = affine_of(Orientation::LPS, [1.0; 3]);
    let good = || [1.0, 2.0, 3.0, 4.0].map(|brightness| ball(shape, lps, brightness));
    let with = |at: usize, image: Image| {
        let mut images = good();
        images[at] = image;
        images
    };
    let mut moved = *lps.rows();
    moved[1][3] = 7.0;
    let moved = Affine::from_rows(moved).unwrap();
    let constant = |value| Volume { voxels: Array3::from_elem(shape, value), affine: lps };
    // (case, images, reason, phrases)
    let table = [
        (
            "shape",
            with(2, ball([12, 14, 17], lps, 1.0)),
            "SHAPES_DIFFER",
            vec!["flair.nii", "t1ce.nii", "[12, 14, 16]", "[12, 14, 17]"],
        ),
        (
            "place",
            with(3, ball(shape, moved, 1.0)),
            "AFFINES_DIFFER",
            vec!["flair.nii", "t2.nii", "0 -1 0 0;", "0 -1 0 7;"],
        ),
        ("zero", with(1, constant(0.0)), "IMAGE_CONSTANT", vec!["t1.nii", "every voxel is 0"]),
        ("constant", with(1, constant(5.0)), "IMAGE_CONSTANT", vec!["every voxel is 5"]),
        ("thin", with(0, ball([12, 14, 7], lps, 1.0)), "IMAGE_TOO_SMALL", vec!["flair.nii", "8"]),
    ];
    for (case, images, reason, phrases) in table {
        let error = Study::from_images(named(images)).expect_err(case);
        assert_eq!(error.reason(), reason, "case {case}");
        assert_eq!(error.code(), ErrorCode::InvalidArgument, "case {case}");
        for phrase in phrases {
            assert!(error.to_string().contains(phrase), "case {case}: {phrase:?} not in {error}");
        }
    }
}

#[test]
fn rounding_and_mixed_index_orders_are_accepted() {
    let shape = [12, 12, 12];
    let lps = affine_of(Orientation::LPS, [1.0; 3]);
    let mut rounded = *lps.rows();
    rounded[0][3] += 1e-4;
    rounded[0][1] = 1e-5;
    let rounded = ball(shape, Affine::from_rows(rounded).unwrap(), 2.0);
    let (canonical, reorientation) =
        canonicalise(ball(shape, affine_of("RAS".parse().unwrap(), [1.0; 3]), 3.0));
    let mut other_order = reorientation.undo(canonical);
    // The same places in space as `lps`, counted from the other ends.
    let mut rows = *other_order.affine.rows();
    (rows[0][3], rows[1][3]) = (30.5 - 11.0, -11.0);
    other_order.affine = Affine::from_rows(rows).unwrap();
    let images = [ball(shape, lps, 1.0), rounded, other_order, ball(shape, lps, 4.0)];
    let study = Study::from_images(named(images)).unwrap();
    assert_eq!(study.affine(), &lps);
}

#[test]
fn a_mask_returns_to_the_input_in_every_orientation() {
    for orientation in Orientation::all() {
        let study = study([20, 24, 28], affine_of(orientation, [1.0; 3]));
        let prepared = prepare(&study).unwrap();
        assert_eq!(prepared.grid(), study.grid(), "1 mm is not resampled");
        // Label what is brain; its place in the input is known.
        let brain = prepared.channels().index_axis(Axis(0), 0).mapv(|value| u8::from(value != 0.0));
        let restored = prepared.restore_mask(&brain).unwrap();
        let input = ball([20, 24, 28], affine_of(orientation, [1.0; 3]), 100.0);
        let expected = input.voxels.mapv(|value| u8::from(value != 0.0));
        let differing = restored.voxels.iter().zip(&expected).filter(|(a, b)| a != b).count();
        // A voxel at exactly the mean would count as air; none here.
        assert_eq!(differing, 0, "{orientation}");
        assert_eq!(restored.affine, input.affine, "{orientation}");
    }
}

#[test]
fn coarse_and_fine_studies_are_resampled_to_one_millimetre_and_masks_return() {
    let edges = [0.5, 1.0, 3.0];
    for name in ["LPS", "RAS", "SAR", "PIR"] {
        let orientation: Orientation = name.parse().unwrap();
        let affine = affine_of(orientation, edges);
        let study = study([60, 30, 16], affine);
        let prepared = prepare(&study).unwrap();
        assert_eq!(prepared.grid().affine.spacing().as_mm(), [1.0; 3], "{name}");
        let [x, y, z] = study.shape();
        let [a, b, c] = study.spacing().as_mm();
        let size_mm = [x as f64 * a, y as f64 * b, z as f64 * c].map(|mm| mm.round() as usize);
        assert_eq!(prepared.grid().shape, size_mm, "{name}");

        let brain = prepared.channels().index_axis(Axis(0), 2).mapv(|value| u8::from(value != 0.0));
        let volume_ml = brain.iter().filter(|&&label| label > 0).count() as f64;
        let restored = prepared.restore_mask(&brain).unwrap();
        assert_eq!((restored.shape(), restored.affine), ([60, 30, 16], affine), "{name}");
        let truth = ball([60, 30, 16], affine, 300.0).voxels.mapv(|value| u8::from(value != 0.0));
        let both = restored.voxels.iter().zip(&truth).filter(|&(a, b)| a & b == 1).count() as f64;
        let sum =
            (restored.voxels.iter().chain(&truth)).filter(|&&label| label == 1).count() as f64;
        assert!(2.0 * both / sum > 0.95, "{name}: dice {}", 2.0 * both / sum);
        let truth_mm3 = truth.iter().filter(|&&label| label == 1).count() as f64 * 1.5;
        assert!((volume_ml / truth_mm3 - 1.0).abs() < 0.05, "{name}: {volume_ml} {truth_mm3}");
    }
}

#[test]
fn nearly_one_millimetre_is_left_alone_and_too_large_a_grid_is_refused() {
    let near = study([20, 20, 20], affine_of(Orientation::LPS, [0.96, 1.04, 1.0]));
    assert_eq!(prepare(&near).unwrap().grid(), near.grid());
    let far = study([20, 20, 20], affine_of(Orientation::LPS, [60.0; 3]));
    let error = prepare(&far).unwrap_err();
    assert_eq!(error.reason(), "IMAGE_TOO_LARGE");
}

#[test]
fn brain_is_normalised_and_air_stays_zero() {
    let study = study([30, 32, 34], affine_of(Orientation::LPS, [1.0; 3]));
    let prepared = prepare(&study).unwrap();
    let crop = prepared.crop();
    assert!(crop.shape.iter().zip(study.shape()).all(|(&side, full)| side < full));
    for (channel, image) in prepared.channels().outer_iter().zip(study.images()) {
        let source = crop.view(&image.voxels).unwrap();
        let mut inside = Vec::new();
        for (&value, &grey) in channel.iter().zip(source) {
            if grey == 0.0 {
                assert_eq!(value, 0.0);
            } else {
                inside.push(f64::from(value));
            }
        }
        let count = inside.len() as f64;
        let mean = inside.iter().sum::<f64>() / count;
        let variance = inside.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
        assert!(mean.abs() < 1e-5 && (variance - 1.0).abs() < 1e-4, "{mean} {variance}");
    }
}

#[test]
fn prepared_volumes_are_stored_and_damage_is_noticed() {
    let study = study([20, 24, 28], affine_of("SAR".parse().unwrap(), [1.0, 0.7, 2.0]));
    let prepared = prepare(&study).unwrap();
    let bytes = prepared.to_bytes().unwrap();
    let read = Prepared::from_bytes(&bytes).unwrap();
    assert_eq!((read.crop(), read.grid()), (prepared.crop(), prepared.grid()));
    assert_eq!(read.reorientation(), prepared.reorientation());
    let difference = (read.channels() - prepared.channels()).mapv(f32::abs);
    assert!(difference.iter().all(|&value| value < 3e-3), "float16 of up to 5");
    assert_eq!(Prepared::from_bytes(&read.to_bytes().unwrap()).unwrap(), read);

    let text_at = |needle: &str| {
        bytes.windows(needle.len()).position(|window| window == needle.as_bytes()).unwrap()
    };
    let changed = |needle: &str, with: &str| {
        let mut changed = bytes.clone();
        let at = text_at(needle);
        changed[at..at + with.len()].copy_from_slice(with.as_bytes());
        changed
    };
    let table = [
        ("empty", vec![]),
        ("not a file", b"hello, this is no tensor".to_vec()),
        ("cut off", bytes[..bytes.len() - 1].to_vec()),
        ("another profile", changed("whole", "seed!")),
        ("another version", changed("\\\"version\\\":1", "\\\"version\\\":2")),
        ("another type", changed("\"dtype\":\"F16\"", "\"dtype\":\"I16\"")),
        ("no description", changed("neurotriage.prepared", "neurotriage.xxxxxxxx")),
    ];
    for (case, bytes) in table {
        let error = Prepared::from_bytes(&bytes).expect_err(case);
        assert_eq!(error.reason(), "PREPARED_UNREADABLE", "case {case}");
        assert!(error.to_string().contains("prepare the study again"), "case {case}: {error}");
    }
}

#[test]
fn labels_of_another_shape_or_value_are_refused() {
    let prepared = prepare(&study([20, 20, 20], affine_of(Orientation::LPS, [1.0; 3]))).unwrap();
    let error = prepared.restore_mask(&Array3::zeros((3, 3, 3))).unwrap_err();
    assert_eq!(error.reason(), "SHAPE_UNEXPECTED");
    let mut labels = Array3::zeros(prepared.crop().shape);
    labels[[0, 0, 0]] = 3;
    assert_eq!(prepared.grid_mask(&labels).unwrap().voxels.iter().max(), Some(&4));
    labels[[0, 0, 0]] = 9;
    assert_eq!(prepared.restore_mask(&labels).unwrap_err().reason(), "LABEL_UNKNOWN");
}

#[test]
fn seed_profile_scales_each_axial_slice_with_its_air() {
    let shape = [240, 240, 155];
    let image = |step: f32| Volume {
        // Slice 20 is constant; elsewhere a ramp along x whose height differs per slice.
        voxels: Array3::from_shape_fn(shape, |(x, _, z)| {
            if z == 20 { step } else { x as f32 * step * (z + 1) as f32 - 17.0 }
        }),
        affine: Affine::brats(),
    };
    let study = Study::from_images(named([1.0, 2.0, 3.0, 4.0].map(image))).unwrap();
    let seed = seed_volume(&study).unwrap();
    assert_eq!(seed.dim(), (3, 128, 128, 128));
    for (index, &value) in seed.indexed_iter() {
        let (_, x, _, z) = index;
        let expected = if z + 13 == 20 { 0.0 } else { (x + 56) as f32 / 239.0 };
        assert!((value - expected).abs() < 1e-5, "at {index:?}: {value} {expected}");
    }
    let mut labels = Array3::<u8>::zeros(shape);
    labels[[56, 56, 13]] = 4;
    labels[[183, 183, 140]] = 2;
    let cropped = seed_labels(&labels).unwrap();
    assert_eq!((cropped[[0, 0, 0]], cropped[[127, 127, 127]]), (3, 2));
}

#[test]
fn seed_profile_refuses_other_shapes() {
    let study = study([20, 20, 20], affine_of(Orientation::LPS, [1.0; 3]));
    let message = seed_volume(&study).unwrap_err().to_string();
    assert!(message.contains("[20, 20, 20]") && message.contains("whole"), "{message}");
    assert!(seed_labels(&Array3::zeros((240, 240, 154))).is_err());
}

fn write(folder: &Path, names: &[&str]) {
    let image = ball([10, 10, 10], Affine::brats(), 50.0);
    let mask = Volume { voxels: image.voxels.mapv(|v| u8::from(v > 55.0)), affine: image.affine };
    for name in names {
        let bytes = if name.contains("seg") {
            write_mask_gz(&mask).unwrap()
        } else {
            write_image_gz(&image).unwrap()
        };
        write_atomically(&folder.join(name), &bytes).unwrap();
    }
}

#[test]
fn cases_of_every_challenge_year_are_found() {
    // (case, files, id, with truth)
    let table = [
        (
            "2021",
            vec!["A_1_flair.nii.gz", "A_1_t1.nii.gz", "A_1_t1ce.nii.gz", "A_1_t2.nii.gz"],
            ("A_1", false),
        ),
        (
            "2020, unpacked, with truth",
            vec!["B_flair.nii", "B_t1.nii", "B_t1ce.nii", "B_t2.nii", "B_seg.nii", "notes.txt"],
            ("B", true),
        ),
        (
            "2023",
            vec![
                "G-1-t2f.nii.gz",
                "G-1-t1n.nii.gz",
                "G-1-t1c.nii.gz",
                "G-1-t2w.nii.gz",
                "G-1-seg.nii.gz",
            ],
            ("G-1", true),
        ),
    ];
    for (case, names, (id, with_truth)) in table {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("one");
        fs::create_dir(&folder).unwrap();
        fs::create_dir(root.path().join("empty")).unwrap();
        write(&folder, &names);
        let found = CaseFiles::find(&folder).expect(case);
        assert_eq!((found.id.as_str(), found.truth.is_some()), (id, with_truth), "case {case}");
        assert!(found.images[0].ends_with(names[0]), "case {case}: flair first");
        let study = found.read_study().expect(case);
        if let Some(truth) = found.read_truth().expect(case) {
            study.align_mask(truth, "seg").expect(case);
        }
        assert_eq!(CaseFiles::find_all(root.path()).expect(case), [found], "case {case}");
    }
}

#[test]
fn incomplete_and_mixed_folders_are_refused() {
    let full = ["A_flair.nii.gz", "A_t1.nii.gz", "A_t1ce.nii.gz", "A_t2.nii.gz"];
    let table = [
        ("no t1ce", vec![full[0], full[1], full[3]], vec!["no t1ce image"]),
        ("empty", vec![], vec!["no flair image"]),
        ("twice", [&full[..], &["A_t1.nii"]].concat(), vec!["A_t1.nii", "same sequence"]),
        ("old and new name", [&full[..], &["A-t1n.nii"]].concat(), vec!["same sequence"]),
        ("two cases", [&full[..], &["B_seg.nii"]].concat(), vec!["B_seg.nii", "two cases"]),
    ];
    for (case, names, phrases) in table {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &names);
        let message = CaseFiles::find(folder.path()).expect_err(case).to_string();
        for phrase in phrases {
            assert!(message.contains(phrase), "case {case}: {phrase:?} not in {message}");
        }
    }
    let error = CaseFiles::find(Path::new("/nowhere/at/all")).unwrap_err();
    assert_eq!((error.reason(), error.code()), ("IMAGE_IO", ErrorCode::Internal));
}

#[test]
fn pictures_are_drawn_at_true_proportions_and_bad_requests_refused() {
    let spacing = VoxelSpacing::from_mm([1.0, 1.0, 4.0]).unwrap();
    let affine = Affine::lps(spacing, [0.0; 3]).unwrap();
    let study = study([60, 80, 20], affine);
    let mut mask = Volume { voxels: Array3::<u8>::zeros((60, 80, 20)), affine };
    assert_eq!(busiest_slice(&mask, Plane::Axial), None);
    let options = OverlayOptions::default();
    assert!(render_overlay(&study, &mask, &options).is_ok(), "no tumour is no error");
    mask.voxels[[30, 40, 7]] = 4;
    mask.voxels[[31, 40, 7]] = 1;
    let busiest = [Plane::Axial, Plane::Coronal, Plane::Sagittal].map(|p| busiest_slice(&mask, p));
    assert_eq!(busiest, [Some(7), Some(40), Some(30)]);

    let view = SliceView { modality: Modality::T1ce, plane: Plane::Coronal, index: 40 };
    let png = render_slice(&study, &mask, view, &options).unwrap();
    let side = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap()) as f64;
    // The ball fills 0.7 of 60 x 80 mm; strips for captions are 56 and 92 pixels.
    let (width_mm, height_mm) = ((side(16) - 56.0) / 2.5, (side(20) - 92.0) / 2.5);
    assert!((width_mm - 45.0).abs() < 6.0, "{width_mm}");
    assert!((height_mm - 60.0).abs() < 10.0, "{height_mm}");

    let beyond = SliceView { index: 80, ..view };
    assert!(render_slice(&study, &mask, beyond, &options).is_err());
    let vast = OverlayOptions { pixels_per_mm: 1e9, ..options };
    assert!(render_overlay(&study, &mask, &vast).is_err());
    let other = Volume { voxels: Array3::<u8>::zeros((60, 80, 21)), affine };
    let error = render_overlay(&study, &other, &options).unwrap_err();
    assert_eq!(error.reason(), "SHAPE_UNEXPECTED");
}
