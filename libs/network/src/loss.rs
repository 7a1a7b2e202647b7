//! What training minimises.

use neurotriage_domain::TumourClass;
use serde::{Deserialize, Serialize};
use tch::{Kind, Reduction, Tensor};

use crate::{
    NetworkError,
    layers::{channels_first, sides},
};

/// Added to both sides of every overlap ratio, so that a class that is absent from truth and
/// prediction scores 1.
pub(crate) const SMOOTH: f64 = 1e-5;

/// Weight of each of the four classes in the original's Dice loss.
pub(crate) const SEED_CLASS_WEIGHT: f64 = 0.25;

/// Weight of the focal loss of the rare class, and its exponent.
pub(crate) const FOCAL_ALPHA: f64 = 0.25;
const FOCAL_GAMMA: f64 = 2.0;

/// Distance that probabilities keep from 0 and 1 in the focal loss.
pub(crate) const FOCAL_CLIP: f64 = 1e-7;

/// Voxels added to both sides of the Dice ratio of a region. Larger than [`SMOOTH`], so that a
/// region absent from a crop gives a small and steady gradient.
const REGION_SMOOTH: f64 = 10.0;

/// Which loss a run minimises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossKind {
    /// The original's: soft Dice with weights of 0.25 that are not normalised, plus focal. A
    /// perfect prediction still costs 0.75.
    Seed,
    /// The original's with weights that sum to 1: a perfect prediction costs nothing.
    Normalised,
    /// Soft Dice plus binary cross-entropy of the nested regions.
    Region,
    /// As `region`, with minus the logarithm of each region's soft Dice in place of one minus it:
    /// a region that is hardly found yet, as enhancing tumour at first, pulls the harder.
    RegionLog,
}

/// How the overlap of a region enters the loss.
#[derive(Clone, Copy, Debug)]
enum DiceTerm {
    OneMinus,
    MinusLog,
}

/// Returns the class index 0 to 3 of every voxel: label 4 becomes 3.
fn class_indices(labels: &Tensor) -> Result<Tensor, NetworkError> {
    Ok(labels.f_clamp_max(3)?.f_to_kind(Kind::Int64)?)
}

/// Returns membership of every voxel in the regions WT, TC, ET.
///
/// # Shapes
/// - `labels`: `[batch, x, y, z]`, `u8`, values 0, 1, 2, 3 or 4
/// - returns: `[batch, 3, x, y, z]`, `f32`, 0 or 1
pub(crate) fn region_targets(labels: &Tensor) -> Result<Tensor, NetworkError> {
    let oedema = i64::from(TumourClass::Oedema.label());
    let whole = labels.f_ne(0)?;
    let core = whole.f_logical_and(&labels.f_ne(oedema)?)?;
    let enhancing = labels.f_gt(oedema)?;
    let stacked = Tensor::f_stack(&[whole, core, enhancing], 4)?;
    channels_first(&stacked.f_to_kind(Kind::Float)?)
}

/// Returns the loss of a forward pass.
///
/// # Shapes
/// - `outputs`: as returned by the network, finest first
/// - `labels`: `[batch, x, y, z]`, `u8`, values 0, 1, 2, 3 or 4
/// - returns: `[]`, dimensionless, `f64` if the outputs are, else `f32`
///
/// # Errors
/// [`NetworkError::Shape`] if an output has another grid than its target.
pub(crate) fn loss(
    kind: LossKind,
    outputs: &[Tensor],
    labels: &Tensor,
) -> Result<Tensor, NetworkError> {
    let Some(finest) = outputs.first() else {
        return Err(NetworkError::Shape {
            name: "network outputs",
            expected: "at least one".to_owned(),
            got: Vec::new(),
        });
    };
    match kind {
        LossKind::Seed => seed_loss(finest, labels, SEED_CLASS_WEIGHT),
        LossKind::Normalised => seed_loss(finest, labels, 1.0),
        LossKind::Region | LossKind::RegionLog => {
            let targets = region_targets(labels)?.f_to_kind(precision(finest)?)?;
            let term =
                if kind == LossKind::Region { DiceTerm::OneMinus } else { DiceTerm::MinusLog };
            deep_region_loss(outputs, &targets, term)
        }
    }
}

/// Returns the original's loss: [`dice_loss`] plus [`focal_loss`].
///
/// # Shapes
/// - `logits`: `[batch, 4, x, y, z]`
/// - `labels`: `[batch, x, y, z]`, `u8`
fn seed_loss(logits: &Tensor, labels: &Tensor, class_weight: f64) -> Result<Tensor, NetworkError> {
    let (p, g) = probabilities_and_truth(logits, labels)?;
    Ok(dice_loss(&p, &g, class_weight)?.f_add(&focal_loss(&p, &g)?)?)
}

/// Returns the softmax of the logits and the one-hot truth, both `[batch, 4, x, y, z]`.
pub(crate) fn probabilities_and_truth(
    logits: &Tensor,
    labels: &Tensor,
) -> Result<(Tensor, Tensor), NetworkError> {
    let kind = precision(logits)?;
    let p = logits.f_softmax(1, kind)?;
    let classes = p.size().get(1).copied().unwrap_or(0);
    let g = class_indices(labels)?.f_one_hot(classes)?.f_to_kind(kind)?;
    let g = channels_first(&g)?;
    same_size("labels", &g, &p)?;
    Ok((p, g))
}

/// Returns `1 - mean_c(w F_c)`, `F_c = (2 tp + s) / (2 tp + fn + fp + s)`.
///
/// Sums run over batch and voxels, `s` is [`SMOOTH`], background counts.
///
/// # Shapes
/// - `p`, `g`: `[batch, class, x, y, z]`, softmax and one-hot truth
pub(crate) fn dice_loss(p: &Tensor, g: &Tensor, class_weight: f64) -> Result<Tensor, NetworkError> {
    let kind = precision(p)?;
    let over: &[i64] = &[0, 2, 3, 4];
    let tp = g.f_mul(p)?.f_sum_dim_intlist(over, false, kind)?;
    // 2 tp + fn + fp = sum(p) + sum(g)
    let truth = g.f_sum_dim_intlist(over, false, kind)?;
    let extent = p.f_sum_dim_intlist(over, false, kind)?.f_add(&truth)?;
    let score = tp
        .f_mul_scalar(2.0)?
        .f_add_scalar(SMOOTH)?
        .f_div(&extent.f_add_scalar(SMOOTH)?)?
        .f_mean(kind)?;
    Ok(score.f_mul_scalar(-class_weight)?.f_add_scalar(1.0)?)
}

/// Returns `mean(-g a (1 - q)^2 ln q)` over batch, voxels and classes, `q` the clipped softmax.
///
/// # Shapes
/// - `p`, `g`: `[batch, class, x, y, z]`, softmax and one-hot truth
pub(crate) fn focal_loss(p: &Tensor, g: &Tensor) -> Result<Tensor, NetworkError> {
    let q = p.f_clamp(FOCAL_CLIP, 1.0 - FOCAL_CLIP)?;
    Ok(q.f_neg()?
        .f_add_scalar(1.0)?
        .f_pow_tensor_scalar(FOCAL_GAMMA)?
        .f_mul(&q.f_log()?)?
        .f_mul(g)?
        .f_mean(precision(p)?)?
        .f_mul_scalar(-FOCAL_ALPHA)?)
}

/// Returns the kind that sums over `tensor` are taken in: its own, but 32 bits at least.
fn precision(tensor: &Tensor) -> Result<Kind, NetworkError> {
    Ok(if tensor.f_kind()? == Kind::Double { Kind::Double } else { Kind::Float })
}

/// Returns the region losses of all levels, weighted 1/2^level and divided by the sum of weights.
/// Targets of coarser levels are the shares of the block that lie in the region.
fn deep_region_loss(
    outputs: &[Tensor],
    targets: &Tensor,
    dice_term: DiceTerm,
) -> Result<Tensor, NetworkError> {
    let [_, _, x, ..] = sides("targets", targets)?;
    let mut total: Option<Tensor> = None;
    let mut weights = 0.0;
    for (level, output) in outputs.iter().enumerate() {
        let [_, _, x_out, ..] = sides("network output", output)?;
        let block = x / x_out.max(1);
        let term = if block == 1 {
            region_loss(output, targets, dice_term)?
        } else {
            let kernel = [block; 3];
            let coarse = targets.f_avg_pool3d(kernel, kernel, [0, 0, 0], false, true, None)?;
            region_loss(output, &coarse, dice_term)?
        };
        let weight = 0.5_f64.powi(i32::try_from(level).unwrap_or(i32::MAX));
        let term = term.f_mul_scalar(weight)?;
        weights += weight;
        total = Some(match total {
            Some(sum) => sum.f_add(&term)?,
            None => term,
        });
    }
    let total =
        total.map_or_else(|| Tensor::f_zeros([0_i64; 0], (Kind::Float, targets.device())), Ok)?;
    Ok(total.f_div_scalar(f64::max(weights, 1.0))?)
}

/// Returns `mean_r(1 - F_r)` or `mean_r(-ln F_r)` plus binary cross-entropy with logits, where
/// `F_r = (2 Σ p g + s) / (Σ p + Σ g + s)`.
///
/// Sums run over batch and voxels, `p` is the sigmoid of `logits`.
///
/// # Shapes
/// - `logits`, `targets`: `[batch, 3, x, y, z]`, targets in `[0, 1]`
fn region_loss(
    logits: &Tensor,
    targets: &Tensor,
    dice_term: DiceTerm,
) -> Result<Tensor, NetworkError> {
    same_size("region targets", targets, logits)?;
    let over: &[i64] = &[0, 2, 3, 4];
    let kind = precision(logits)?;
    let p = logits.f_sigmoid()?;
    let overlap = p.f_mul(targets)?.f_sum_dim_intlist(over, false, kind)?;
    let truth = targets.f_sum_dim_intlist(over, false, kind)?;
    let extent = p.f_sum_dim_intlist(over, false, kind)?.f_add(&truth)?;
    let dice = overlap
        .f_mul_scalar(2.0)?
        .f_add_scalar(REGION_SMOOTH)?
        .f_div(&extent.f_add_scalar(REGION_SMOOTH)?)?;
    let dice_loss = match dice_term {
        DiceTerm::OneMinus => dice.f_neg()?.f_add_scalar(1.0)?,
        DiceTerm::MinusLog => dice.f_log()?.f_neg()?,
    };
    let entropy = logits.f_binary_cross_entropy_with_logits(
        targets,
        None::<&Tensor>,
        None::<&Tensor>,
        Reduction::Mean,
    )?;
    Ok(entropy.f_add(&dice_loss.f_mean(kind)?)?)
}

fn same_size(name: &'static str, got: &Tensor, expected: &Tensor) -> Result<(), NetworkError> {
    if got.size() == expected.size() {
        return Ok(());
    }
    Err(NetworkError::Shape { name, expected: format!("{:?}", expected.size()), got: got.size() })
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    /// Labels `[1, 2, 2, 2]`.
    fn mask(labels: [u8; 8]) -> Tensor {
        Tensor::f_from_slice(&labels).unwrap().f_reshape([1, 2, 2, 2]).unwrap()
    }

    /// Logits that are sure of every class of `labels`.
    fn sure(labels: &Tensor) -> Tensor {
        let hot = class_indices(labels).unwrap().f_one_hot(4).unwrap();
        channels_first(&(hot.f_to_kind(Kind::Float).unwrap() * 100.0)).unwrap()
    }

    fn value(kind: LossKind, logits: &Tensor, labels: &Tensor) -> f64 {
        let outputs = [logits.shallow_clone()];
        loss(kind, &outputs, labels).unwrap().f_double_value(&[]).unwrap()
    }

    #[test]
    fn a_perfect_prediction_costs_the_floor_of_its_weights() {
        let labels = mask([0, 1, 2, 4, 0, 0, 2, 4]);
        let perfect = sure(&labels);
        assert!((value(LossKind::Seed, &perfect, &labels) - 0.75).abs() < 1e-5);
        assert!(value(LossKind::Normalised, &perfect, &labels).abs() < 1e-5);
        let regions = (region_targets(&labels).unwrap() * 2.0 - 1.0) * 50.0;
        assert!(value(LossKind::Region, &regions, &labels).abs() < 1e-5);
    }

    #[test]
    fn a_class_absent_from_both_scores_one_and_one_invented_scores_nothing() {
        let truth = mask([0, 0, 0, 0, 2, 2, 2, 2]);
        let guess = sure(&mask([0, 0, 0, 0, 2, 2, 2, 4]));
        // F: background 1, necrosis 1 (absent), oedema 6/7, enhancing s / (1 + s)
        let (f, clipped) = ((1.0 + 1.0 + 6.0 / 7.0) / 4.0, 1e-7_f64);
        let focal = -FOCAL_ALPHA * clipped.ln() / 32.0;
        let expected = 1.0 - f + focal;
        let got = value(LossKind::Normalised, &guess, &truth);
        assert!((got - expected).abs() < 1e-3, "{got} {expected}");
    }

    #[test]
    fn an_even_guess_has_the_closed_form() {
        let labels = mask([0, 1, 2, 4, 0, 1, 2, 4]);
        let even = Tensor::f_zeros([1, 4, 2, 2, 2], (Kind::Float, Device::Cpu)).unwrap();
        // p = 1/4: tp = 1/2, extent = 4, F = 1/4; focal = a (3/4)^2 ln 4 / 4
        let focal = FOCAL_ALPHA * 0.5625 * 4.0_f64.ln() / 4.0;
        let got = value(LossKind::Normalised, &even, &labels);
        assert!((got - 0.75 - focal).abs() < 1e-4, "{got}");
        let even = Tensor::f_zeros([1, 3, 2, 2, 2], (Kind::Float, Device::Cpu)).unwrap();
        let s = REGION_SMOOTH;
        let dice = [6.0, 4.0, 2.0].map(|n: f64| (n + s) / (4.0 + n + s)).iter().sum::<f64>() / 3.0;
        let got = value(LossKind::Region, &even, &labels);
        assert!((got - (1.0 - dice + 2.0_f64.ln())).abs() < 1e-5, "{got}");
        let logs = [6.0, 4.0, 2.0].map(|n: f64| ((n + s) / (4.0 + n + s)).ln()).iter().sum::<f64>();
        let got = value(LossKind::RegionLog, &even, &labels);
        assert!((got - (2.0_f64.ln() - logs / 3.0)).abs() < 1e-5, "{got}");
    }

    #[test]
    fn coarser_heads_are_scored_on_shares_of_their_blocks() {
        let labels = mask([2, 2, 2, 2, 0, 0, 0, 0]);
        let targets = region_targets(&labels).unwrap();
        let fine = (targets.f_mul_scalar(2.0).unwrap() - 1.0) * 50.0;
        // The block is half tumour: logit 0 for WT is as good as can be, and far below 0 for others.
        let coarse = Tensor::f_from_slice(&[0.0_f32, -50.0, -50.0]).unwrap();
        let coarse = coarse.f_reshape([1, 3, 1, 1, 1]).unwrap();
        let got = loss(LossKind::Region, &[fine, coarse], &labels).unwrap();
        let s = REGION_SMOOTH;
        let dice = ((0.5 + s) / (1.0 + s) + 2.0) / 3.0;
        let expected = 0.5 * (1.0 - dice + 2.0_f64.ln() / 3.0) / 1.5;
        assert!((got.f_double_value(&[]).unwrap() - expected).abs() < 1e-5);
    }

    #[test]
    fn labels_of_every_year_become_nested_regions() {
        let targets = region_targets(&mask([0, 1, 2, 3, 4, 0, 0, 0])).unwrap();
        let expected =
            [[0.0, 1.0, 1.0, 1.0, 1.0], [0.0, 1.0, 0.0, 1.0, 1.0], [0.0, 0.0, 0.0, 1.0, 1.0]];
        for (region, row) in expected.iter().enumerate() {
            for (voxel, want) in row.iter().enumerate() {
                let at =
                    [0, region as i64, voxel as i64 / 4, voxel as i64 / 2 % 2, voxel as i64 % 2];
                assert_eq!(targets.f_double_value(&at).unwrap(), *want, "{region} {voxel}");
            }
        }
    }

    #[test]
    fn grids_that_differ_are_refused() {
        let logits = Tensor::f_zeros([1, 4, 2, 2, 4], (Kind::Float, Device::Cpu)).unwrap();
        let result = loss(LossKind::Seed, &[logits], &mask([0; 8]));
        assert!(matches!(result, Err(NetworkError::Shape { .. })));
    }
}
