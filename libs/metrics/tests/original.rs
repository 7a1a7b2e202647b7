//! The metrics of the original on the vectors of `tools/parity_vectors.py`.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test fails by panicking")]

use ndarray::{Array4, Array5, Axis};
use neurotriage_metrics::{
    MetricsError,
    original::{
        IOU_SMOOTHING,
        batch::{BatchError, Count, accuracy, confusion, f_score, iou_score, mean_iou},
        iou_mean, iou_score_of_probabilities,
    },
    overlap,
};
use serde::Deserialize;

const VECTORS: &str = include_str!("../../network/tests/vectors/original.json");

/// Both sides are computed in 64 bits; only the order of sums differs.
const TOLERANCE: f64 = 1e-6;

const HALF: Count = Count::Above(0.5);

#[derive(Deserialize)]
struct Vectors {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    batch: usize,
    grid: [usize; 3],
    labels: Vec<u8>,
    probabilities: Vec<f64>,
    dice_loss: DiceLoss,
    f_soft: [f64; 4],
    iou_soft: [f64; 4],
    f_score: f64,
    iou_score: f64,
    iou_classes: [f64; 4],
    accuracy: f64,
    confusion: [[u64; 4]; 4],
    mean_iou_classes: [Option<f64>; 4],
    mean_iou: f64,
}

#[derive(Deserialize)]
struct DiceLoss {
    seed: f64,
    normalised: f64,
}

impl Case {
    fn truth(&self) -> Array4<u8> {
        let [x, y, z] = self.grid;
        Array4::from_shape_vec((self.batch, x, y, z), self.labels.clone()).unwrap()
    }

    fn probabilities(&self) -> Array5<f64> {
        let [x, y, z] = self.grid;
        Array5::from_shape_vec((self.batch, 4, x, y, z), self.probabilities.clone()).unwrap()
    }
}

fn cases() -> Vec<Case> {
    let vectors: Vectors = serde_json::from_str(VECTORS).unwrap();
    assert!(vectors.cases.len() >= 12, "the file of vectors was cut");
    vectors.cases
}

#[track_caller]
fn assert_close(got: f64, expected: f64, case: &str) {
    assert!((got - expected).abs() < TOLERANCE, "case {case}: {got} {expected}");
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[test]
fn scores_are_those_of_the_original() {
    for case in cases() {
        let (truth, p) = (case.truth(), case.probabilities());
        let (truth, p) = (truth.view(), p.view());
        assert_close(iou_score(truth, p, HALF).unwrap(), case.iou_score, &case.name);
        assert_close(mean(&case.iou_classes), case.iou_score, &case.name);
        assert_close(f_score(truth, p, HALF).unwrap(), case.f_score, &case.name);
        let soft = iou_score(truth, p, Count::Share).unwrap();
        assert_close(soft, mean(&case.iou_soft), &case.name);
        let soft = f_score(truth, p, Count::Share).unwrap();
        assert_close(soft, mean(&case.f_soft), &case.name);
        assert_close(1.0 - soft, case.dice_loss.normalised, &case.name);
        assert_close(1.0 - soft / 4.0, case.dice_loss.seed, &case.name);
        assert_close(accuracy(truth, p).unwrap(), case.accuracy, &case.name);
        assert_close(mean_iou(truth, p).unwrap(), case.mean_iou, &case.name);
    }
}

#[test]
fn one_confusion_matrix_gives_every_class_of_the_final_check() {
    for case in cases() {
        let (truth, p) = (case.truth(), case.probabilities());
        let found = confusion(truth.view(), p.view()).unwrap();
        assert_eq!(found.counts, case.confusion, "case {}", case.name);
        for (class, expected) in case.mean_iou_classes.iter().enumerate() {
            let counts = found.class(class);
            assert_eq!(counts.truth() + counts.predicted() > 0, expected.is_some(), "{class}");
            assert_close(counts.iou(), expected.unwrap_or(1.0), &case.name);
        }
        assert_close(iou_mean(&found), case.mean_iou, &case.name);
        assert_close(found.accuracy(), case.accuracy, &case.name);
    }
}

#[test]
fn a_batch_of_one_scores_as_the_single_case_does() {
    for case in cases().iter().filter(|case| case.batch == 1) {
        let (truth, p) = (case.truth(), case.probabilities().mapv(|p| p as f32));
        let (one, p_one) = (truth.index_axis(Axis(0), 0), p.index_axis(Axis(0), 0));
        let alone = iou_score_of_probabilities(one, p_one).unwrap();
        let batch = iou_score(truth.view(), p.view(), HALF).unwrap();
        assert!((alone - batch).abs() < 1e-12, "case {}: {alone} {batch}", case.name);
    }
}

#[test]
fn a_batch_is_scored_as_one_volume_and_not_as_the_mean_of_its_samples() {
    // Sample 0 is all background and right; in sample 1 class 1 is missed altogether.
    let truth = Array4::from_shape_fn((2, 1, 1, 4), |(sample, _, _, _)| u8::from(sample == 1));
    let p = Array5::from_shape_fn((2, 4, 1, 1, 4), |(_, class, ..)| f64::from(class == 0));
    let got = iou_score(truth.view(), p.view(), HALF).unwrap();
    let s = IOU_SMOOTHING;
    let expected = ((4.0 + s) / (8.0 + s) + s / (4.0 + s) + 2.0) / 4.0;
    assert!((got - expected).abs() < 1e-12, "{got} {expected}");
    assert_eq!(mean_iou(truth.view(), p.view()).unwrap(), 0.25);
}

#[test]
fn exactly_one_half_is_no_class_and_of_equals_the_first_is_taken() {
    let truth = Array4::<u8>::zeros((1, 1, 1, 1));
    let p = Array5::from_shape_fn((1, 4, 1, 1, 1), |(_, class, ..)| match class {
        0 | 1 => 0.5_f32,
        _ => 0.0,
    });
    let s = IOU_SMOOTHING;
    let expected = (s / (1.0 + s) + 3.0) / 4.0;
    let got = iou_score(truth.view(), p.view(), HALF).unwrap();
    assert!((got - expected).abs() < 1e-12, "{got}");
    assert_eq!(accuracy(truth.view(), p.view()).unwrap(), 1.0);
}

#[test]
fn a_fortran_ordered_batch_keeps_its_voxels_in_place() {
    let case = &cases()[1];
    let p = case.probabilities();
    let turned = p.t().as_standard_layout().into_owned().reversed_axes();
    assert!(!turned.is_standard_layout());
    let expected = confusion(case.truth().view(), p.view()).unwrap();
    assert_eq!(confusion(case.truth().view(), turned.view()).unwrap(), expected);
}

#[test]
fn batches_that_do_not_match_are_refused() {
    let truth = |batch, side, label| Array4::from_elem((batch, side, 2, 2), label);
    let p = |batch, classes| Array5::<f32>::zeros((batch, classes, 2, 2, 2));
    let table = [
        ("samples", truth(1, 2, 0), p(2, 4), BatchError::Samples { truth: 1, predicted: 2 }),
        (
            "classes",
            truth(1, 2, 0),
            p(1, 3),
            BatchError::Masks(MetricsError::Classes { found: 3, expected: overlap::CLASS_COUNT }),
        ),
        (
            "grid",
            truth(1, 3, 0),
            p(1, 4),
            BatchError::Masks(MetricsError::Shape { truth: [3, 2, 2], predicted: [2, 2, 2] }),
        ),
        ("label", truth(1, 2, 5), p(1, 4), BatchError::Masks(MetricsError::Label { value: 5 })),
        ("nothing", truth(0, 2, 0), p(0, 4), BatchError::Masks(MetricsError::Empty)),
    ];
    for (case, truth, p, expected) in table {
        let (truth, p) = (truth.view(), p.view());
        let refused = [
            iou_score(truth, p, HALF).unwrap_err(),
            f_score(truth, p, HALF).unwrap_err(),
            accuracy(truth, p).unwrap_err(),
            mean_iou(truth, p).unwrap_err(),
        ];
        assert!(refused.iter().all(|error| *error == expected), "case {case}: {refused:?}");
    }
}
