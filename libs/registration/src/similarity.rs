//! How much two images tell about each other.

use tch::{Kind, TchError, Tensor};

/// Bins of the joint histogram along each image.
pub(crate) const BINS: i64 = 32;

/// Added to a probability before its logarithm.
const TINY: f64 = 1e-9;

/// Returns, for values of 0 to 1, the part of each that falls into each bin: a hat over two
/// neighbouring bins.
///
/// # Shapes
/// - `values`: `[point]`
/// - returns: `[point, bin]`, each row sums to 1
pub(crate) fn bin_shares(values: &Tensor) -> Result<Tensor, TchError> {
    let bins = Tensor::f_arange(BINS, (Kind::Float, values.device()))?;
    let scaled = values.f_mul_scalar((BINS - 1) as f64)?.f_unsqueeze(1)?;
    scaled.f_sub(&bins)?.f_abs()?.f_neg()?.f_add_scalar(1.0)?.f_relu()
}

/// Returns the normalised mutual information `(H(A) + H(B)) / H(A, B)` of Studholme, Hill and Hawkes
/// (Pattern Recognition 32, 1999): 1 if the images tell nothing about each other, 2 if all.
///
/// # Shapes
/// - `fixed`, `moving`: `[point, bin]`, from [`bin_shares`]
/// - `weights`: `[point]`, 0 leaves a point out
pub(crate) fn normalised_mutual_information(
    fixed: &Tensor,
    moving: &Tensor,
    weights: &Tensor,
) -> Result<Tensor, TchError> {
    let weighted = moving.f_mul(&weights.f_unsqueeze(1)?)?;
    let joint = fixed.f_tr()?.f_matmul(&weighted)?;
    let total = joint.f_sum(Kind::Float)?.f_clamp_min(TINY)?;
    let joint = joint.f_div(&total)?;
    let entropy = |shares: &Tensor| -> Result<Tensor, TchError> {
        shares.f_mul(&shares.f_add_scalar(TINY)?.f_log()?)?.f_sum(Kind::Float)?.f_neg()
    };
    let along = |axis: i64| joint.f_sum_dim_intlist([axis].as_slice(), false, Kind::Float);
    let apart = entropy(&along(0)?)?.f_add(&entropy(&along(1)?)?)?;
    apart.f_div(&entropy(&joint)?.f_clamp_min(TINY)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn similarity(fixed: &[f32], moving: &[f32], weights: &[f32]) -> f64 {
        let shares = |values: &[f32]| bin_shares(&Tensor::from_slice(values)).unwrap();
        let weights = Tensor::from_slice(weights);
        normalised_mutual_information(&shares(fixed), &shares(moving), &weights)
            .unwrap()
            .double_value(&[])
    }

    #[test]
    fn an_image_tells_all_about_its_negative_and_nothing_about_a_constant() {
        let values: Vec<f32> = (0..31 * 8).map(|index| (index % 31 + 1) as f32 / 31.0).collect();
        let negative: Vec<f32> = values.iter().map(|value| 32.0 / 31.0 - value).collect();
        let weights = vec![1.0; values.len()];
        assert!((similarity(&values, &negative, &weights) - 2.0).abs() < 1e-3);
        let constant = vec![0.0; values.len()];
        assert!((similarity(&values, &constant, &weights) - 1.0).abs() < 1e-3);
    }

    #[test]
    fn a_point_without_weight_changes_nothing() {
        let [a, b] = [vec![0.1, 0.4, 0.4, 0.9], vec![0.2, 0.2, 0.6, 0.9]];
        let three = similarity(&a[..3], &b[..3], &[1.0; 3]);
        let four = similarity(&a, &b, &[1.0, 1.0, 1.0, 0.0]);
        assert!((three - four).abs() < 1e-6);
    }

    #[test]
    fn shares_of_a_value_sum_to_one_and_lie_on_its_two_bins() {
        let shares = bin_shares(&Tensor::from_slice(&[0.0_f32, 0.5, 1.0])).unwrap();
        let sums =
            Vec::<f32>::try_from(shares.sum_dim_intlist([1].as_slice(), false, None)).unwrap();
        assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-6), "{sums:?}");
        assert_eq!(shares.double_value(&[0, 0]), 1.0);
        assert_eq!(shares.double_value(&[1, 15]), 0.5);
        assert_eq!(shares.double_value(&[2, BINS - 1]), 1.0);
    }
}
