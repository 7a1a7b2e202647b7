//! Real cases of BraTS, where the machine has them.

use std::path::PathBuf;

use neurotriage_domain::Modality;
use neurotriage_imaging::{
    Affine, CaseFiles, Grid, Orientation, Prepared,
    overlay::{OverlayOptions, render_overlay},
    prepare, seed_volume,
};

fn cases() -> Option<PathBuf> {
    let folder = std::env::var_os("NEUROTRIAGE_CASES").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("skipped: set NEUROTRIAGE_CASES");
    }
    folder
}

#[test]
fn brats_cases_read_as_lps_with_their_affine() {
    let Some(folder) = cases() else { return };
    let cases = CaseFiles::find_all(&folder).unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let study = case.read_study().unwrap();
        assert_eq!(study.source(), Grid::brats(), "case {}", case.id);
        assert_eq!(study.affine(), &Affine::brats(), "case {}", case.id);
        assert_eq!(study.affine().orientation(), Orientation::LPS);
        if let Some(truth) = case.read_truth().unwrap() {
            study.align_mask(truth, "truth").unwrap();
        }
    }
}

#[test]
fn a_real_case_is_prepared_stored_and_its_truth_restored() {
    let Some(folder) = cases() else { return };
    let case = CaseFiles::find(&folder.join("BraTS2021_00006")).unwrap();
    let study = case.read_study().unwrap();
    let truth = case.read_truth().unwrap().unwrap();
    let prepared = prepare(&study).unwrap();
    let crop = prepared.crop();
    for (side, side_max) in crop.shape.into_iter().zip([180, 220, 155]) {
        assert!(side > 100 && side < side_max, "crop {crop:?}");
    }
    let bytes = prepared.to_bytes().unwrap();
    let read = Prepared::from_bytes(&bytes).unwrap();
    let difference = (read.channels() - prepared.channels()).mapv(f32::abs);
    assert!(difference.iter().all(|&value| value < 3e-3));
    let labels = crop.view(&truth.voxels).unwrap().to_owned();
    assert_eq!(read.restore_mask(&labels).unwrap(), truth);

    let flair = prepared.channels().index_axis(ndarray::Axis(0), Modality::Flair.channel());
    let inside: Vec<f32> = flair.iter().copied().filter(|&value| value != 0.0).collect();
    let mean = inside.iter().sum::<f32>() / inside.len() as f32;
    assert!(mean.abs() < 0.02, "mean {mean}");
    assert_eq!(seed_volume(&study).unwrap().dim(), (3, 128, 128, 128));
}

#[test]
fn a_real_case_is_drawn() {
    let Some(folder) = cases() else { return };
    let case = CaseFiles::find(&folder.join("BraTS2021_00006")).unwrap();
    let study = case.read_study().unwrap();
    let truth = study.align_mask(case.read_truth().unwrap().unwrap(), "truth").unwrap();
    let png = render_overlay(&study, &truth, &OverlayOptions::default()).unwrap();
    assert!(png.starts_with(b"\x89PNG"));
    if let Some(folder) = std::env::var_os("NEUROTRIAGE_PICTURES") {
        std::fs::write(PathBuf::from(folder).join("overlay.png"), &png).unwrap();
    }
}
