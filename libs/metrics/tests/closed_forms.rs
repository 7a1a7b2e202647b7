//! Scores of shapes whose answers are known by hand.

#![expect(clippy::unwrap_used, reason = "helpers of tests may stop the test")]

use ndarray::{Array3, Array4};
use neurotriage_domain::{TumourRegion, VoxelSpacing};
use neurotriage_metrics::{
    ABSENT_DISTANCE_MM, CaseScores, MetricsError, mean_scores, original, overlap, score_case,
    surface,
};

const GRID: [usize; 3] = [32, 30, 28];

fn spacing(xyz_mm: [f64; 3]) -> VoxelSpacing {
    VoxelSpacing::from_mm(xyz_mm).unwrap()
}

/// A box of `size` voxels at `start`, of one label.
fn cube(start: [usize; 3], size: [usize; 3], label: u8) -> Array3<u8> {
    Array3::from_shape_fn(GRID, |(x, y, z)| {
        let at = [x, y, z];
        let inside = (0..3).all(|axis| (start[axis]..start[axis] + size[axis]).contains(&at[axis]));
        if inside { label } else { 0 }
    })
}

fn close(found: f64, expected: f64) -> bool {
    (found - expected).abs() < 1e-6
}

#[test]
fn a_shifted_cube_has_the_overlap_of_the_formula() {
    let truth = cube([5, 5, 5], [10, 10, 10], 4);
    for shift in [0, 1, 3, 10, 12] {
        let predicted = cube([5 + shift, 5, 5], [10, 10, 10], 4);
        let scores = score_case(truth.view(), predicted.view(), spacing([1.0; 3])).unwrap();
        let shared = 10.0 - shift.min(10) as f64;
        assert!(close(scores.dice.et, shared / 10.0), "shift {shift}");
        assert!(close(scores.iou.wt, shared / (20.0 - shared)), "shift {shift}");
        assert!(close(scores.sensitivity.tc, shared / 10.0), "shift {shift}");
        assert!(close(scores.precision.tc, shared / 10.0), "shift {shift}");
        assert!(close(scores.volume_error_ml.wt, 0.0), "shift {shift}");
        assert!(close(scores.volume_truth_ml.wt, 1.0), "shift {shift}");
    }
}

#[test]
fn the_surface_distance_of_a_shift_follows_the_spacing_of_its_axis() {
    // (axis of the shift, spacing in mm); the leading face is far more than 5 % of the surface
    let table = [(0, [1.0, 1.0, 1.0]), (1, [0.5, 0.5, 3.0]), (2, [0.5, 0.5, 3.0])];
    for (axis, spacing_mm) in table {
        let mut start = [5, 5, 5];
        let truth = cube(start, [8, 8, 8], 1);
        start[axis] += 2;
        let predicted = cube(start, [8, 8, 8], 1);
        let scores = score_case(truth.view(), predicted.view(), spacing(spacing_mm)).unwrap();
        let expected_mm = 2.0 * spacing_mm[axis];
        assert!(close(scores.hd95_mm.wt, expected_mm), "axis {axis}: {}", scores.hd95_mm.wt);
        assert!(scores.surface_distance_mm.wt < expected_mm, "axis {axis}");
        assert!(scores.surface_distance_mm.wt > 0.0, "axis {axis}");
    }
}

#[test]
fn pooling_both_directions_hides_a_stray_that_the_larger_direction_shows() {
    // 2 of 27 predicted voxels (7 %) lie 9 mm off; of both surfaces together they are 4 %.
    let truth = vec![0.0; 25];
    let predicted = [vec![0.0; 25], vec![9.0; 2]].concat();
    let distances =
        surface::SurfaceDistances { from_truth_mm: truth, from_predicted_mm: predicted };
    assert!(close(distances.hd95_mm(), 0.7 * 9.0), "rank 24.7 of 0 to 26");
    assert!(close(distances.hd95_pooled_mm(), 0.0), "rank 48.45 of 0 to 51");
    assert!(close(distances.average_mm(), 18.0 / 52.0));
}

#[test]
fn the_relative_volume_error_is_signed_and_defined_without_truth() {
    // (what the row is for, truth voxels, predicted voxels, relative error)
    let table = [
        ("equal", 8, 8, 0.0),
        ("half as large again", 8, 12, 0.5),
        ("missed", 8, 0, -1.0),
        ("both absent", 0, 0, 0.0),
        ("truth absent", 0, 8, 1.0),
    ];
    for (case, truth, predicted, expected) in table {
        let truth = cube([2, 2, 2], [truth, 1, 1], 4);
        let predicted = cube([2, 2, 2], [predicted, 1, 1], 4);
        let scores = score_case(truth.view(), predicted.view(), spacing([1.0, 2.0, 0.5])).unwrap();
        assert!(close(scores.volume_error_relative.et, expected), "case: {case}");
    }
}

#[test]
fn two_single_voxels_are_their_distance_apart() {
    let truth = cube([3, 4, 5], [1, 1, 1], 4).mapv(|label| label != 0);
    let predicted = cube([6, 8, 5], [1, 1, 1], 4).mapv(|label| label != 0);
    let distances =
        surface::surface_distances(truth.view(), predicted.view(), spacing([1.0; 3])).unwrap();
    assert!(close(distances.hd95_mm(), 5.0));
    assert!(close(distances.average_mm(), 5.0));
}

#[test]
fn an_absent_region_scores_one_alone_and_zero_against_something() {
    let nothing = Array3::<u8>::zeros(GRID);
    let oedema = cube([5, 5, 5], [6, 6, 6], 2);
    let alike = score_case(nothing.view(), nothing.view(), spacing([1.0; 3])).unwrap();
    assert_eq!((alike.dice.wt, alike.hd95_mm.wt), (1.0, 0.0));
    assert_eq!((alike.lesion_wise.dice.wt, alike.lesion_wise.hd95_mm.wt), (1.0, 0.0));
    assert_eq!((alike.iou_mean, alike.accuracy), (1.0, 1.0));
    for (case, truth, predicted) in [("missed", &oedema, &nothing), ("false", &nothing, &oedema)] {
        let scores = score_case(truth.view(), predicted.view(), spacing([1.0; 3])).unwrap();
        assert_eq!(scores.dice.wt, 0.0, "case: {case}");
        assert_eq!(scores.hd95_mm.wt, ABSENT_DISTANCE_MM, "case: {case}");
        assert_eq!(scores.hd95_pooled_mm.wt, ABSENT_DISTANCE_MM, "case: {case}");
        assert_eq!(scores.surface_distance_mm.wt, ABSENT_DISTANCE_MM, "case: {case}");
        let found = [scores.sensitivity.wt, scores.precision.wt];
        assert_eq!(found, if case == "missed" { [0.0, 1.0] } else { [1.0, 0.0] });
        assert_eq!(scores.lesion_wise.dice.wt, 0.0, "case: {case}");
        assert_eq!(scores.lesion_wise.hd95_mm.wt, ABSENT_DISTANCE_MM, "case: {case}");
        // Oedema is no core: absent on both sides.
        assert_eq!(scores.dice.tc, 1.0, "case: {case}");
        assert_eq!(scores.lesion_wise.dice.et, 1.0, "case: {case}");
    }
}

#[test]
fn a_missed_and_a_false_lesion_each_cost_a_share() {
    let mut truth = cube([2, 2, 2], [5, 5, 5], 4);
    truth += &cube([20, 20, 20], [5, 5, 5], 4);
    let mut predicted = cube([2, 2, 2], [5, 5, 5], 4);
    predicted += &cube([20, 2, 2], [5, 5, 5], 4);
    let scores = score_case(truth.view(), predicted.view(), spacing([1.0; 3])).unwrap();
    // One perfect lesion, one missed, one false.
    let lesions = scores.lesion_wise;
    assert!(close(lesions.dice.et, 1.0 / 3.0));
    assert!(close(lesions.hd95_mm.et, 2.0 * ABSENT_DISTANCE_MM / 3.0));
    assert_eq!((lesions.found.et, lesions.missed.et, lesions.false_components.et), (1.0, 1.0, 1.0));
}

#[test]
fn a_small_true_lesion_does_not_count_but_excuses_what_touches_it() {
    let mut truth = cube([2, 2, 2], [6, 6, 6], 4);
    truth += &cube([20, 20, 20], [3, 3, 3], 4);
    let predicted = truth.clone();
    let scores = score_case(truth.view(), predicted.view(), spacing([1.0; 3])).unwrap();
    assert_eq!((scores.lesion_wise.dice.et, scores.lesion_wise.found.et), (1.0, 1.0));
    // The same voxels at 2 mm are 216 mm3 and count.
    let scores = score_case(truth.view(), predicted.view(), spacing([2.0; 3])).unwrap();
    assert_eq!((scores.lesion_wise.dice.et, scores.lesion_wise.found.et), (1.0, 2.0));
}

#[test]
fn pieces_of_the_truth_that_lie_close_are_one_lesion() {
    // (voxels between the pieces, lesions); three steps of dilation from each side meet at 7
    for (gap, lesions) in [(1, 1.0), (6, 1.0), (9, 2.0)] {
        let mut truth = cube([2, 2, 2], [5, 5, 5], 4);
        truth += &cube([7 + gap, 2, 2], [5, 5, 5], 4);
        let scores = score_case(truth.view(), truth.view(), spacing([1.0; 3])).unwrap();
        assert_eq!(scores.lesion_wise.found.et, lesions, "gap {gap}");
        assert_eq!(scores.lesion_wise.dice.et, 1.0, "gap {gap}");
    }
}

#[test]
fn labels_three_and_four_are_the_same_class() {
    let (three, four) = (cube([5, 5, 5], [6, 6, 6], 3), cube([5, 5, 5], [6, 6, 6], 4));
    let scores = score_case(three.view(), four.view(), spacing([1.0; 3])).unwrap();
    assert_eq!((scores.dice.et, scores.iou_mean, scores.accuracy), (1.0, 1.0, 1.0));
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let good = Array3::<u8>::zeros([4, 4, 4]);
    let unit = spacing([1.0; 3]);
    let other = Array3::<u8>::zeros([4, 4, 5]);
    let shape = MetricsError::Shape { truth: [4, 4, 4], predicted: [4, 4, 5] };
    assert_eq!(score_case(good.view(), other.view(), unit), Err(shape));
    let empty = Array3::<u8>::zeros([0, 4, 4]);
    assert_eq!(score_case(empty.view(), empty.view(), unit), Err(MetricsError::Empty));
    let mut odd = good.clone();
    odd[[1, 1, 1]] = 9;
    assert_eq!(score_case(good.view(), odd.view(), unit), Err(MetricsError::Label { value: 9 }));
    assert_eq!(score_case(odd.view(), good.view(), unit), Err(MetricsError::Label { value: 9 }));
}

#[test]
fn the_original_scores_follow_their_formulas() {
    // 1 of 8 voxels is class 1 in truth; the prediction says class 2 there.
    let mut truth = Array3::<u8>::zeros([2, 2, 2]);
    truth[[0, 0, 0]] = 1;
    let mut predicted = Array3::<u8>::zeros([2, 2, 2]);
    predicted[[0, 0, 0]] = 2;
    let confusion = overlap::confusion(truth.view(), predicted.view()).unwrap();
    let s = original::IOU_SMOOTHING;
    // Background 7 of 7, two classes s / (1 + s), the fourth absent from both.
    let expected = (1.0 + 2.0 * s / (1.0 + s) + 1.0) / 4.0;
    assert!(close(original::iou_score(&confusion), expected));
    // Unsmoothed, the absent class is left out.
    assert!(close(original::iou_mean(&confusion), 1.0 / 3.0));
    assert!(close(confusion.accuracy(), 7.0 / 8.0));
    assert_eq!(confusion.region(TumourRegion::Whole).dice(), 1.0);
}

#[test]
fn the_original_threshold_is_strict() {
    let truth = Array3::<u8>::zeros([2, 2, 2]);
    let mut probabilities = Array4::<f32>::zeros([4, 2, 2, 2]);
    probabilities.index_axis_mut(ndarray::Axis(0), 0).fill(0.5);
    let score = original::iou_score_of_probabilities(truth.view(), probabilities.view()).unwrap();
    let s = original::IOU_SMOOTHING;
    assert!(close(score, (s / (8.0 + s) + 3.0) / 4.0));
    probabilities.index_axis_mut(ndarray::Axis(0), 0).fill(0.51);
    let score = original::iou_score_of_probabilities(truth.view(), probabilities.view()).unwrap();
    assert!(close(score, 1.0));
    let three = Array4::<f32>::zeros([3, 2, 2, 2]);
    assert_eq!(
        original::iou_score_of_probabilities(truth.view(), three.view()),
        Err(MetricsError::Classes { found: 3, expected: 4 })
    );
}

#[test]
fn scores_are_json_by_region_and_average_over_cases() {
    let truth = cube([5, 5, 5], [10, 10, 10], 4);
    let half = cube([10, 5, 5], [10, 10, 10], 4);
    let unit = spacing([1.0; 3]);
    let good = score_case(truth.view(), truth.view(), unit).unwrap();
    let fair = score_case(truth.view(), half.view(), unit).unwrap();
    let mean = mean_scores(&[good, fair]).unwrap();
    assert!(close(mean.dice.et, 0.75));
    assert!(close(mean.dice.mean(), 0.75));
    assert_eq!(mean_scores(&[]), None);
    let json = serde_json::to_value(fair).unwrap();
    for pointer in ["/dice/wt", "/hd95_mm/et", "/lesion_wise/dice/tc", "/iou_mean", "/accuracy"] {
        assert!(json.pointer(pointer).is_some_and(serde_json::Value::is_number), "{pointer}");
    }
    assert_eq!(serde_json::from_value::<CaseScores>(json).unwrap(), fair);
}

#[test]
fn memory_order_does_not_change_a_score() {
    let truth = cube([5, 6, 7], [8, 7, 6], 4);
    let predicted = cube([6, 6, 9], [8, 7, 6], 4);
    let fortran = {
        let mut copy = Array3::zeros(ndarray::ShapeBuilder::f(GRID));
        copy.assign(&predicted);
        copy
    };
    let unit = spacing([1.0, 1.5, 2.0]);
    let expected = score_case(truth.view(), predicted.view(), unit);
    assert_eq!(score_case(truth.view(), fortran.view(), unit), expected);
}
