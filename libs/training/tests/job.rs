//! Jobs from case folders on disk to a model, and what is wrong with folders that are not cases.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "helpers of tests"
)]

use std::{error::Error, fs, path::Path};

use ndarray::Array3;
use neurotriage_imaging::{Affine, Image, nifti::write_image_gz};
use neurotriage_network::{CHECKPOINT_FILE, METRICS_FILE, Model, WEIGHTS_FILE};
use neurotriage_training::{
    CURVES_FILE, FOLDS_FILE, FoldEvent, Start, TENSORBOARD_FOLDER, TrainControl, TrainingError,
    TrainingFile, run, run_folds,
};

const SIDE: usize = 40;

/// Writes a case: a head of four sequences, and a tumour of `label` in it; 0 for none.
fn case(folder: &Path, id: &str, label: f32) {
    let dir = folder.join(id);
    fs::create_dir_all(&dir).unwrap();
    let distance = |place: (usize, usize, usize), middle: f32| {
        let (x, y, z) = place;
        [x, y, z].map(|side| (side as f32 - middle).powi(2)).iter().sum::<f32>().sqrt()
    };
    let truth = Array3::from_shape_fn((SIDE, SIDE, SIDE), |place| {
        if distance(place, 17.0) < 6.0 { label } else { 0.0 }
    });
    for (number, name) in ["flair", "t1", "t1ce", "t2"].into_iter().enumerate() {
        let voxels = Array3::from_shape_fn((SIDE, SIDE, SIDE), |place| {
            let tissue = 100.0 + (place.0 * 3 + place.1 * 5 + place.2) as f32 % 17.0;
            let bright = if truth[place] > 0.0 { 40.0 * number as f32 } else { 0.0 };
            if distance(place, 19.5) < 16.0 { tissue + bright } else { 0.0 }
        });
        write(&dir.join(format!("{id}_{name}.nii.gz")), voxels);
    }
    write(&dir.join(format!("{id}_seg.nii.gz")), truth);
}

fn write(path: &Path, voxels: Array3<f32>) {
    let image = Image { voxels, affine: Affine::brats() };
    fs::write(path, write_image_gz(&image).unwrap()).unwrap();
}

/// Returns a file that trains a tiny network for three steps on the cases of a folder.
fn file(folder: &Path, cases: &[&str]) -> TrainingFile {
    let mut file = TrainingFile::parse(
        "out = 'x'\n[train]\ndevice = 'cpu'\nthreads = 1\nsteps_max = 3\nmax_minutes = 0.0\n\
         log_steps = 1\n[train.network]\narchitecture = 'residual'\nin_channels = 4\n\
         out_channels = 3\nwidths = [4, 6]\nstem_stride = 2\ndeep_supervision = false\n\
         dropout = []\n[data]\n[data.mix]\npatch = [16, 16, 16]\n[data.mix.shares]\nreal = 1.0\n\
         transplant = 0.0\npaste = 0.0\nphantom = 0.0\nhealthy = 0.0",
    )
    .unwrap();
    file.out = folder.join("out");
    file.data.case_folders = cases.iter().map(|id| folder.join(id)).collect();
    file
}

fn said(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(&format!(": {inner}"));
        source = inner.source();
    }
    text
}

fn train(file: &TrainingFile) -> Result<neurotriage_training::TrainOutcome, TrainingError> {
    run(file, Start::Fresh, &TrainControl::default(), &mut |_| ())
}

#[test]
fn a_job_leaves_model_log_curves_and_events() {
    let folder = tempfile::tempdir().unwrap();
    case(folder.path(), "ill", 2.0);
    case(folder.path(), "healthy", 0.0);
    let file = file(folder.path(), &["ill", "healthy"]);
    let mut steps = 0;
    let outcome = run(&file, Start::Fresh, &TrainControl::default(), &mut |at| {
        steps += 1;
        let scores = at.training.unwrap();
        assert!((0.0..=1.0).contains(&scores.accuracy) && (0.0..=1.0).contains(&scores.iou));
    })
    .unwrap();
    assert_eq!((steps, outcome.card.steps), (3, 3));
    assert!(outcome.card.provenance.data.contains("cases trained on: ill, healthy"));
    for name in [WEIGHTS_FILE, METRICS_FILE, CURVES_FILE, CHECKPOINT_FILE] {
        assert!(fs::metadata(file.out.join(name)).unwrap().len() > 0, "{name}");
    }
    assert_eq!(fs::read_dir(file.out.join(TENSORBOARD_FOLDER)).unwrap().count(), 1);
}

#[test]
fn folders_that_are_no_cases_are_named_with_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("empty")).unwrap();
    case(folder.path(), "odd", 7.0);
    case(folder.path(), "unmarked", 2.0);
    fs::remove_file(folder.path().join("unmarked/unmarked_seg.nii.gz")).unwrap();
    let table = [("empty", "empty"), ("odd", "7"), ("unmarked", "_seg"), ("missing", "missing")];
    for (id, expected) in table {
        let error = train(&file(folder.path(), &[id])).unwrap_err();
        assert!(matches!(error, TrainingError::Case { .. }), "{id}: {error:?}");
        let said = said(&error);
        assert!(said.contains(id) && said.contains(expected), "{id}: {said}");
    }
    // Without any case, real samples can't be drawn.
    assert!(matches!(train(&file(folder.path(), &[])), Err(TrainingError::Samples(_))));
}

#[test]
fn a_case_without_tumour_can_be_learned_from() {
    let folder = tempfile::tempdir().unwrap();
    case(folder.path(), "healthy", 0.0);
    let outcome = train(&file(folder.path(), &["healthy"])).unwrap();
    assert!(!outcome.cancelled);
}

#[test]
fn a_run_starts_from_a_model_of_the_same_network_only() {
    let folder = tempfile::tempdir().unwrap();
    case(folder.path(), "ill", 2.0);
    let first = file(folder.path(), &["ill"]);
    let card = train(&first).unwrap().card;
    let mut second = first.clone();
    second.out = folder.path().join("second");
    second.train.start_from = Some(first.out.clone());
    second.train.optimiser.learning_rate = 1e-12;
    let started = train(&second).unwrap().card;
    assert!(started.provenance.data.contains(&card.weights_sha256.to_string()));
    // The steps are too small to be seen in 16 bits: the weights are those that it started from.
    assert_eq!(started.weights_sha256, card.weights_sha256);
    let device = neurotriage_network::DeviceChoice::Cpu;
    assert!(Model::load_folder(&second.out, device).is_ok());
    second.train.network.widths = vec![4, 8];
    let error = said(&train(&second).unwrap_err());
    assert!(error.contains("start_from") && error.contains("another network"), "{error}");
}

#[test]
fn a_device_that_is_not_there_and_sixteen_bits_that_need_it_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    case(folder.path(), "ill", 2.0);
    let mut file = file(folder.path(), &["ill"]);
    file.train.precision = neurotriage_network::TrainPrecision::F16;
    assert!(said(&train(&file).unwrap_err()).contains("needs a CUDA device"));
    file.train.device = neurotriage_network::DeviceChoice::Cuda(99);
    let error = said(&train(&file).unwrap_err());
    assert!(error.contains("`cuda:99` is not available"), "{error}");
}

/// Real cases, where there are some: each is held out once.
#[test]
fn folds_hold_out_every_case_once_and_are_not_trained_twice() {
    let Some(cases) = std::env::var_os("NEUROTRIAGE_CASES") else {
        println!("skipped: set NEUROTRIAGE_CASES");
        return;
    };
    let mut names: Vec<String> = fs::read_dir(cases)
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.to_lowercase().starts_with("brats"))
        .collect();
    names.sort();
    names.truncate(2);
    let folder = tempfile::tempdir().unwrap();
    let mut file = file(folder.path(), &[]);
    file.data.cases_env = Some("NEUROTRIAGE_CASES".to_owned());
    file.data.cases = names.clone();
    let control = TrainControl::default();
    let report = run_folds(&file, 2, &control, &mut |_| ()).unwrap();
    let found: Vec<&String> = report.cases.iter().map(|case| &case.name).collect();
    assert_eq!(found, names.iter().collect::<Vec<_>>());
    assert!(report.mean.is_some() && file.out.join(FOLDS_FILE).exists());
    let again = run_folds(&file, 2, &control, &mut |event| {
        assert!(matches!(event, FoldEvent::Skipped(_)), "{event:?}");
    });
    // The numbers went through text, which keeps all but the last digit.
    let (again, report) = (again.unwrap().mean.unwrap(), report.mean.unwrap());
    assert!((again.mean() - report.mean()).abs() < 1e-12, "{again:?} {report:?}");
}
