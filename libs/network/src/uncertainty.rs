//! How sure the network was: by voxel, by lesion and over the whole mask.
//!
//! Two things are told apart. *Entropy* is the network's own doubt: 0 bits where a probability is 0
//! or 1, 1 bit where it is one half. *Spread* is how far the answers on mirror images of the study
//! differ: a network may be sure, and sure of another thing once left and right are swapped.
//! Neither is a calibrated probability of being right.

use ndarray::{Array3, ArrayView3, ArrayView4, Axis, Zip};
use neurotriage_domain::TumourRegion;
use serde::{Deserialize, Serialize};

use crate::{NetworkError, Segmentation};

/// Probability of tumour below which a voxel of the mask is doubtful: half way between chance and
/// certainty.
pub const SURE_PROBABILITY: f32 = 0.75;

/// Most lesions that are told apart.
pub const LESION_NUMBER_MAX: usize = 10_000;

/// How sure the network was where it saw tumour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Uncertainty {
    /// Mean binary entropy of the three regions over the voxels of the mask, in bits, `[0, 1]`;
    /// 0 for an empty mask.
    pub lesion_entropy_bits_mean: f64,
    /// Share of the voxels of the mask whose probability of being tumour is below
    /// [`SURE_PROBABILITY`].
    pub lesion_doubtful_share: f64,
    /// Mean standard deviation over the mirror images of the probability of tumour over the voxels
    /// of the mask, `[0, 0.5]`; 0 without mirror images.
    #[serde(default)]
    pub lesion_mirror_spread_mean: f64,
}

/// How sure the network was of one lesion.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LesionCertainty {
    /// Voxels of the lesion.
    pub voxels: usize,
    /// Mean over its voxels of the entropy map, in bits, `[0, 1]`.
    pub entropy_bits_mean: f64,
    /// Mean over its voxels of the spread over mirror images, `[0, 0.5]`; 0 without mirror images.
    pub mirror_spread_mean: f64,
    /// Mean over its voxels of the probability of being tumour, `[0, 1]`.
    pub probability_mean: f64,
    /// Share of its voxels whose probability of being tumour is below [`SURE_PROBABILITY`].
    pub doubtful_share: f64,
    /// All of it in one number, `[0, 1]`; see [`confidence`].
    pub confidence: f64,
}

/// Returns how much a lesion may be trusted, `[0, 1]`, from the means over its voxels.
///
/// The geometric mean of three shares, so that one bad share cannot be bought off by two good ones:
/// `cbrt(p (1 - h) (1 - 2 s))` with `p` the probability of tumour, `h` the entropy in bits and `s`
/// the spread over mirror images, which is at most one half. 1 only if every voxel was certain in
/// every mirror image. It ranks lesions; it is no probability of being right.
pub fn confidence(probability_mean: f64, entropy_bits_mean: f64, mirror_spread_mean: f64) -> f64 {
    let sure = 1.0 - entropy_bits_mean.clamp(0.0, 1.0);
    let steady = 1.0 - 2.0 * mirror_spread_mean.clamp(0.0, 0.5);
    (probability_mean.clamp(0.0, 1.0) * sure * steady).cbrt()
}

/// Returns the certainty of each lesion: lesion `n` at `n - 1`, nothing where no voxel has the
/// number.
///
/// `numbers` is the number of the lesion that each voxel belongs to, from 1; 0 for none. What a
/// lesion is (which pieces belong together, which are too small) is the localiser's to say.
///
/// # Shapes
/// - `numbers`: `[x, y, z]`, grid of the segmentation
///
/// # Errors
/// [`NetworkError::Shape`] if `numbers` is of another grid or counts beyond
/// [`LESION_NUMBER_MAX`].
pub fn lesion_certainties(
    numbers: ArrayView3<'_, u32>,
    segmentation: &Segmentation,
) -> Result<Vec<Option<LesionCertainty>>, NetworkError> {
    let count = numbers.iter().copied().max().unwrap_or(0) as usize;
    if numbers.dim() != segmentation.labels.dim() || count > LESION_NUMBER_MAX {
        return Err(NetworkError::Shape {
            name: "lesion numbers",
            expected: format!("{:?}, numbers to {LESION_NUMBER_MAX}", segmentation.labels.shape()),
            got: numbers.shape().iter().map(|&side| side as i64).collect(),
        });
    }
    let mut tallies = vec![Tally::default(); count];
    let whole = segmentation.probabilities.index_axis(Axis(0), 0);
    Zip::from(numbers)
        .and(whole)
        .and(&segmentation.entropy_bits)
        .and(&segmentation.mirror_spread)
        .for_each(|&number, &probability, &entropy, &spread| {
            if number != 0 {
                tallies[number as usize - 1].add(probability, entropy, spread);
            }
        });
    Ok(tallies.into_iter().map(Tally::certainty).collect())
}

/// Returns the certainty of the whole mask as if it were one lesion; nothing if it is empty.
pub fn mask_certainty(segmentation: &Segmentation) -> Option<LesionCertainty> {
    let mut tally = Tally::default();
    let whole = segmentation.probabilities.index_axis(Axis(0), 0);
    Zip::from(&segmentation.labels)
        .and(whole)
        .and(&segmentation.entropy_bits)
        .and(&segmentation.mirror_spread)
        .for_each(|&label, &probability, &entropy, &spread| {
            if label != 0 {
                tally.add(probability, entropy, spread);
            }
        });
    tally.certainty()
}

/// Sums over voxels.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    voxels: usize,
    probability: f64,
    entropy_bits: f64,
    mirror_spread: f64,
    doubtful: usize,
}

impl Tally {
    fn add(&mut self, probability: f32, entropy_bits: f32, mirror_spread: f32) {
        self.voxels += 1;
        self.probability += f64::from(probability);
        self.entropy_bits += f64::from(entropy_bits);
        self.mirror_spread += f64::from(mirror_spread);
        self.doubtful += usize::from(probability < SURE_PROBABILITY);
    }

    fn certainty(self) -> Option<LesionCertainty> {
        if self.voxels == 0 {
            return None;
        }
        let mean = |sum: f64| sum / self.voxels as f64;
        let (probability_mean, entropy_bits_mean, mirror_spread_mean) =
            (mean(self.probability), mean(self.entropy_bits), mean(self.mirror_spread));
        Some(LesionCertainty {
            voxels: self.voxels,
            entropy_bits_mean,
            mirror_spread_mean,
            probability_mean,
            doubtful_share: mean(self.doubtful as f64),
            confidence: confidence(probability_mean, entropy_bits_mean, mirror_spread_mean),
        })
    }
}

/// Returns the mean binary entropy over the regions of each voxel, in bits, `[0, 1]`.
///
/// # Shapes
/// - `regions`: `[region, x, y, z]`, probabilities; returns `[x, y, z]`
///
/// # Source
/// Shannon, 1948: `h(p) = -p log2 p - (1 - p) log2 (1 - p)`.
pub fn entropy_map(regions: ArrayView4<'_, f32>) -> Array3<f32> {
    let (_, x, y, z) = regions.dim();
    let mut entropy = Array3::<f32>::zeros((x, y, z));
    let share = 1.0 / TumourRegion::ALL.len() as f32;
    for region in regions.axis_iter(Axis(0)) {
        Zip::from(&mut entropy)
            .and(region)
            .for_each(|sum, &probability| *sum += share * binary_entropy_bits(probability));
    }
    entropy
}

fn binary_entropy_bits(p: f32) -> f32 {
    if p <= 0.0 || p >= 1.0 {
        return 0.0;
    }
    let rest = 1.0 - p;
    (-p).mul_add(p.log2(), -rest * rest.log2())
}

/// Returns the means over the mask.
pub(crate) fn summary(segmentation: &Segmentation) -> Uncertainty {
    mask_certainty(segmentation).map_or_else(Uncertainty::default, |mask| Uncertainty {
        lesion_entropy_bits_mean: mask.entropy_bits_mean,
        lesion_doubtful_share: mask.doubtful_share,
        lesion_mirror_spread_mean: mask.mirror_spread_mean,
    })
}

#[cfg(test)]
mod tests {
    use ndarray::Array4;

    use super::*;

    /// Four voxels in a row; the regions alike.
    fn row(probabilities: [f32; 4], spread: [f32; 4]) -> Segmentation {
        let mut regions = Array4::zeros((3, 4, 1, 1));
        for mut region in regions.axis_iter_mut(Axis(0)) {
            region.iter_mut().zip(probabilities).for_each(|(value, p)| *value = p);
        }
        let mut segmentation =
            Segmentation {
                labels: Array3::from_shape_fn((4, 1, 1), |(x, ..)| {
                    if probabilities[x] > 0.5 { 2 } else { 0 }
                }),
                entropy_bits: entropy_map(regions.view()),
                probabilities: regions,
                mirror_spread: Array3::from_shape_fn((4, 1, 1), |(x, ..)| spread[x]),
                uncertainty: Uncertainty::default(),
                repaired_voxels: 0,
            };
        segmentation.uncertainty = summary(&segmentation);
        segmentation
    }

    #[test]
    fn entropy_is_what_the_formula_says() {
        // (probability, bits)
        let table: [(f32, f32); 7] = [
            (0.0, 0.0),
            (1.0, 0.0),
            (0.5, 1.0),
            (0.25, 0.811_278_1),
            (0.75, 0.811_278_1),
            (0.9, 0.468_995_6),
            (1e-30, 0.0),
        ];
        for (p, expected) in table {
            assert!((binary_entropy_bits(p) - expected).abs() < 1e-6, "{p}");
        }
        let mut regions = Array4::zeros((3, 1, 1, 2));
        regions[[0, 0, 0, 1]] = 0.5;
        regions[[1, 0, 0, 1]] = 0.25;
        let map = entropy_map(regions.view());
        assert_eq!(map[[0, 0, 0]], 0.0);
        assert!((map[[0, 0, 1]] - (1.0 + 0.811_278_1) / 3.0).abs() < 1e-6);
    }

    #[test]
    fn confidence_falls_with_every_kind_of_doubt() {
        // (what, probability, entropy, spread, confidence)
        let table = [
            ("certain", 1.0, 0.0, 0.0, 1.0),
            ("an eighth of certainty", 1.0, 0.875, 0.0, 0.5),
            ("mirrors that contradict one another", 1.0, 0.0, 0.5, 0.0),
            ("a coin", 0.5, 1.0, 0.0, 0.0),
            ("all three", 0.8, 0.5, 0.25, 0.2_f64.cbrt()),
            ("out of range", 1.5, -1.0, -0.1, 1.0),
        ];
        for (what, p, h, s, expected) in table {
            assert!((confidence(p, h, s) - expected).abs() < 1e-12, "{what}");
        }
    }

    #[test]
    fn each_lesion_is_summed_up_by_itself() {
        let segmentation = row([1.0, 0.7, 0.0, 0.9], [0.0, 0.1, 0.4, 0.2]);
        let numbers = Array3::from_shape_vec((4, 1, 1), vec![1, 1, 0, 3]).unwrap();
        let found = lesion_certainties(numbers.view(), &segmentation).unwrap();
        assert_eq!(found.len(), 3);
        assert_eq!(found[1], None, "no voxel has the number 2");
        let first = found[0].unwrap();
        assert_eq!((first.voxels, first.doubtful_share), (2, 0.5));
        assert!((first.probability_mean - 0.85).abs() < 1e-6);
        assert!((first.mirror_spread_mean - 0.05).abs() < 1e-6);
        // h(0.7) = 0.8813 bits, and 0 bits.
        assert!((first.entropy_bits_mean - 0.440_645).abs() < 1e-5);
        let expected = (0.85_f64 * (1.0 - 0.440_645) * 0.9).cbrt();
        assert!((first.confidence - expected).abs() < 1e-5);
        let third = found[2].unwrap();
        assert_eq!((third.voxels, third.doubtful_share), (1, 0.0));
        assert!((third.entropy_bits_mean - 0.468_996).abs() < 1e-5);
        let whole = segmentation.uncertainty;
        assert!((whole.lesion_mirror_spread_mean - 0.1).abs() < 1e-6);
        assert!((whole.lesion_doubtful_share - 1.0 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn an_empty_mask_has_no_certainty_and_another_grid_is_refused() {
        let empty = row([0.0; 4], [0.0; 4]);
        assert_eq!(mask_certainty(&empty), None);
        assert_eq!(empty.uncertainty, Uncertainty::default());
        let none = Array3::zeros((4, 1, 1));
        assert_eq!(lesion_certainties(none.view(), &empty).unwrap(), []);
        let other = Array3::zeros((4, 1, 2));
        assert!(lesion_certainties(other.view(), &empty).is_err());
        let huge = Array3::from_elem((4, 1, 1), u32::MAX);
        assert!(lesion_certainties(huge.view(), &empty).is_err());
    }
}
