//! The losses against numbers that `tools/parity_vectors.py` computed from the formulas, and
//! against closed forms. Everything in 64 bits, so that a difference is one of formulas.

use serde::Deserialize;
use tch::{Device, Kind, Tensor};

use crate::{
    LossKind,
    loss::{
        FOCAL_ALPHA, FOCAL_CLIP, SEED_CLASS_WEIGHT, SMOOTH, dice_loss, focal_loss, loss,
        probabilities_and_truth,
    },
    random::{normal, seeded},
};

/// Both sides are computed in 64 bits; sums run in another order, and the clip of the focal loss
/// is rounded.
const TOLERANCE: f64 = 1e-6;

/// Central differences are good to about the square of the step.
const STEP: f64 = 1e-5;

const VECTORS: &str = include_str!("../tests/vectors/original.json");

#[derive(Deserialize)]
struct Vectors {
    cases: Vec<Case>,
}

/// One value for the weights of the original and one for normalised weights.
#[derive(Deserialize)]
struct ByWeights<T> {
    seed: T,
    normalised: T,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    batch: i64,
    grid: [i64; 3],
    labels: Vec<u8>,
    logits: Vec<f64>,
    probabilities: Vec<f64>,
    dice_loss: ByWeights<f64>,
    focal_loss: f64,
    total_loss: ByWeights<f64>,
    gradient: ByWeights<Vec<f64>>,
    region_logits: Vec<f64>,
    region_loss: f64,
    region_gradient: Vec<f64>,
}

impl Case {
    fn labels(&self) -> Tensor {
        let [x, y, z] = self.grid;
        Tensor::f_from_slice(&self.labels).unwrap().f_reshape([self.batch, x, y, z]).unwrap()
    }

    /// Returns values `[batch, channels, x, y, z]` as a tensor.
    fn tensor(&self, values: &[f64], channels: i64) -> Tensor {
        let [x, y, z] = self.grid;
        let shape = [self.batch, channels, x, y, z];
        Tensor::f_from_slice(values).unwrap().f_reshape(shape).unwrap()
    }

    /// Returns each kind of loss with its logits, its value and its gradient.
    fn losses(&self) -> [(LossKind, Tensor, f64, &[f64]); 3] {
        let logits = || self.tensor(&self.logits, 4);
        let region_logits = self.tensor(&self.region_logits, 3);
        [
            (LossKind::Seed, logits(), self.total_loss.seed, &self.gradient.seed),
            (LossKind::Normalised, logits(), self.total_loss.normalised, &self.gradient.normalised),
            (LossKind::Region, region_logits, self.region_loss, &self.region_gradient),
        ]
    }
}

fn cases() -> Vec<Case> {
    let vectors: Vectors = serde_json::from_str(VECTORS).unwrap();
    assert!(vectors.cases.len() >= 12, "the file of vectors was cut");
    vectors.cases
}

fn number(tensor: &Tensor) -> f64 {
    assert_eq!(tensor.f_kind().unwrap(), Kind::Double, "64 bits are kept");
    tensor.f_double_value(&[]).unwrap()
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    Vec::try_from(tensor.f_contiguous().unwrap().f_view([-1]).unwrap()).unwrap()
}

fn value(kind: LossKind, logits: &Tensor, labels: &Tensor) -> f64 {
    number(&loss(kind, &[logits.shallow_clone()], labels).unwrap())
}

/// Returns the gradient that libtorch derives.
fn derived(kind: LossKind, logits: &Tensor, labels: &Tensor) -> Vec<f64> {
    let logits = logits.f_detach_copy().unwrap().f_set_requires_grad(true).unwrap();
    let total = loss(kind, &[logits.shallow_clone()], labels).unwrap();
    let gradients = Tensor::f_run_backward(&[&total], &[&logits], false, false).unwrap();
    numbers(&gradients[0])
}

fn assert_close(got: &[f64], expected: &[f64], what: &str) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (place, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!((got - expected).abs() < TOLERANCE, "{what}[{place}]: {got} {expected}");
    }
}

#[test]
fn dice_focal_and_total_are_those_of_the_original() {
    for case in cases() {
        let logits = case.tensor(&case.logits, 4);
        let (p, g) = probabilities_and_truth(&logits, &case.labels()).unwrap();
        assert_close(&numbers(&p), &case.probabilities, &case.name);
        let dice = [SEED_CLASS_WEIGHT, 1.0].map(|w| number(&dice_loss(&p, &g, w).unwrap()));
        assert_close(&dice, &[case.dice_loss.seed, case.dice_loss.normalised], &case.name);
        let focal = number(&focal_loss(&p, &g).unwrap());
        assert_close(&[focal], &[case.focal_loss], &case.name);
        for (kind, logits, expected, _) in case.losses() {
            let got = value(kind, &logits, &case.labels());
            assert_close(&[got], &[expected], &format!("{} {kind:?}", case.name));
        }
    }
}

#[test]
fn gradients_are_the_slopes_of_the_formulas() {
    for case in cases() {
        for (kind, logits, _, expected) in case.losses() {
            let got = derived(kind, &logits, &case.labels());
            assert_close(&got, expected, &format!("gradient of {} {kind:?}", case.name));
        }
    }
}

#[test]
fn gradients_are_the_slopes_of_the_code() {
    for case in cases().iter().filter(|case| case.batch < 3) {
        for (kind, logits, ..) in case.losses() {
            let (start, labels) = (numbers(&logits), case.labels());
            let channels = logits.size()[1];
            // Every seventh logit: all channels and most voxels, in a seventh of the time.
            let slopes: Vec<f64> = (0..start.len())
                .step_by(7)
                .map(|place| {
                    let [above, below] = [STEP, -STEP].map(|step| {
                        let mut moved = start.clone();
                        moved[place] += step;
                        value(kind, &case.tensor(&moved, channels), &labels)
                    });
                    (above - below) / (2.0 * STEP)
                })
                .collect();
            let got: Vec<f64> = derived(kind, &logits, &labels).into_iter().step_by(7).collect();
            assert_close(&got, &slopes, &format!("slope of {} {kind:?}", case.name));
        }
    }
}

#[test]
fn coarser_heads_have_the_slopes_of_the_code_too() {
    let draw = |side: i64| normal(side, &[1, 3, side, side, side]).f_to_kind(Kind::Double).unwrap();
    let heads = [draw(4), draw(2)];
    let labels = || Tensor::f_randint(4, [1, 4, 4, 4], (Kind::Uint8, Device::Cpu)).unwrap();
    let labels = seeded(5, labels);
    let total = |coarse: &Tensor| {
        let heads = [heads[0].shallow_clone(), coarse.shallow_clone()];
        loss(LossKind::Region, &heads, &labels).unwrap()
    };
    let coarse = heads[1].f_detach_copy().unwrap().f_set_requires_grad(true).unwrap();
    let gradients = Tensor::f_run_backward(&[&total(&coarse)], &[&coarse], false, false).unwrap();
    let start = numbers(&heads[1]);
    let slopes: Vec<f64> = (0..start.len())
        .map(|place| {
            let [above, below] = [STEP, -STEP].map(|step| {
                let mut moved = start.clone();
                moved[place] += step;
                let moved = Tensor::f_from_slice(&moved).unwrap().f_reshape([1, 3, 2, 2, 2]);
                number(&total(&moved.unwrap()))
            });
            (above - below) / (2.0 * STEP)
        })
        .collect();
    assert_close(&numbers(&gradients[0]), &slopes, "coarse head");
}

/// Probabilities and truth `[1, 4, 1, 1, n]` of a row of voxels.
fn row(probabilities: &[[f64; 4]], classes: &[u8]) -> (Tensor, Tensor) {
    let voxels = i64::try_from(classes.len()).unwrap();
    let p: Vec<f64> = (0..4).flat_map(|c| probabilities.iter().map(move |p| p[c])).collect();
    let g: Vec<f64> = (0..4_u8)
        .flat_map(|c| classes.iter().map(move |class| f64::from(u8::from(*class == c))))
        .collect();
    let tensor = |values: &[f64]| {
        Tensor::f_from_slice(values).unwrap().f_reshape([1, 4, 1, 1, voxels]).unwrap()
    };
    (tensor(&p), tensor(&g))
}

fn sure(class: u8) -> [f64; 4] {
    [0, 1, 2, 3].map(|c: u8| f64::from(u8::from(c == class)))
}

#[test]
fn weights_of_a_quarter_leave_three_quarters_to_a_perfect_prediction() {
    let classes = [0, 1, 2, 3, 0, 2];
    let (p, g) = row(&classes.map(sure), &classes);
    let at = |weight| number(&dice_loss(&p, &g, weight).unwrap());
    assert!((at(SEED_CLASS_WEIGHT) - 0.75).abs() < 1e-12);
    assert!(at(1.0).abs() < 1e-12);
}

#[test]
fn a_class_invented_in_n_voxels_scores_the_smoothing_over_n() {
    for n in 1..8_usize {
        // Eight voxels of background, n of them taken for class 1: classes 2 and 3 are nowhere.
        let guess: Vec<[f64; 4]> = (0..8).map(|voxel| sure(u8::from(voxel < n))).collect();
        let (p, g) = row(&guess, &[0; 8]);
        let right = (8 - n) as f64;
        let background = (2.0 * right + SMOOTH) / (right + 8.0 + SMOOTH);
        let invented = 4.0 * (1.0 - number(&dice_loss(&p, &g, 1.0).unwrap())) - background - 2.0;
        let expected = SMOOTH / (n as f64 + SMOOTH);
        assert!((invented - expected).abs() < 1e-12, "{n} voxels: {invented} {expected}");
        assert!((invented * n as f64 / SMOOTH - 1.0).abs() < 2e-5, "about s / n");
    }
}

#[test]
fn focal_is_the_mean_over_voxels_times_alpha_over_the_classes() {
    let of_truth = [0.9, 0.5, 0.25, 0.01];
    let guess = of_truth.map(|p: f64| [p, 1.0 - p, 0.0, 0.0]);
    let (p, g) = row(&guess, &[0; 4]);
    let mean = of_truth.iter().map(|p| -(1.0 - p).powi(2) * p.ln()).sum::<f64>() / 4.0;
    let got = number(&focal_loss(&p, &g).unwrap());
    assert!((got - FOCAL_ALPHA / 4.0 * mean).abs() < 1e-15, "{got}");
    // A truth held impossible costs what the clip leaves of it, not infinity.
    let (p, g) = row(&[sure(1)], &[0]);
    let got = number(&focal_loss(&p, &g).unwrap());
    let expected = -FOCAL_ALPHA / 4.0 * (1.0 - FOCAL_CLIP).powi(2) * FOCAL_CLIP.ln();
    assert!((got - expected).abs() < 1e-12, "{got} {expected}");
}
