//! The regions that are compared, and distributions over them.

use neurotriage_domain::{RegionName, Side, Structure};

use super::{ImageEvidence, LesionSite, REGIONS_LISTED_MAX, WeightedRegion};
use crate::evidence::EvidenceTable;

/// Weight below which a region is not listed.
const LISTED_MIN: f64 = 0.01;

/// Share of the image's greatest weight that a region needs to become the fused site.
const SITE_SHARE_MIN: f64 = 0.5;

/// Every lateralised region of the evidence table, in order of name; distributions are slices in
/// this order.
pub(super) struct RegionSpace {
    regions: Vec<RegionName>,
    prior: Vec<f64>,
    /// The prior as far as it is believed where the symptoms alone are placed.
    soft_prior: Vec<f64>,
}

/// Returns true for structures that have no side.
pub(super) fn is_unpaired(structure: Structure) -> bool {
    matches!(structure, Structure::BrainStem | Structure::CorpusCallosum | Structure::Hypothalamus)
}

impl RegionSpace {
    pub(super) fn new(table: &EvidenceTable) -> Self {
        let mut regions = Vec::new();
        let mut prior = Vec::new();
        for (&structure, &weight) in table.prior() {
            if is_unpaired(structure) {
                regions.push(RegionName { structure, side: Side::Midline });
                prior.push(weight);
                continue;
            }
            for side in [Side::Left, Side::Right] {
                regions.push(RegionName { structure, side });
                prior.push(weight / 2.0);
            }
        }
        normalise(&mut prior);
        let mut soft_prior: Vec<f64> =
            prior.iter().map(|share| share.powf(table.prior_weight())).collect();
        normalise(&mut soft_prior);
        Self { regions, prior, soft_prior }
    }

    pub(super) fn regions(&self) -> &[RegionName] {
        &self.regions
    }

    /// Returns Σ P·L.
    pub(super) fn prior_mean(&self, likelihoods: &[f64]) -> f64 {
        dot(&self.prior, likelihoods)
    }

    /// Returns the distribution of the symptoms alone.
    pub(super) fn posterior(&self, likelihoods: &[f64]) -> Vec<f64> {
        let mut posterior: Vec<f64> = self
            .soft_prior
            .iter()
            .zip(likelihoods)
            .map(|(prior, likelihood)| prior * likelihood)
            .collect();
        normalise(&mut posterior);
        posterior
    }

    /// Returns the distribution of the image: lesions by volume as far as they may be trusted, regions by
    /// site weight as far as the place of the study is certain. `None` if no lesion lies in a region of the
    /// space; ventricles are no site and do not count.
    pub(super) fn image(&self, image: &ImageEvidence) -> Option<Vec<f64>> {
        let mut weights = vec![0.0; self.regions.len()];
        for lesion in &image.lesions {
            if !(lesion.volume_ml.is_finite() && lesion.volume_ml > 0.0) {
                continue;
            }
            let trusted_ml = lesion.volume_ml * confidence(lesion);
            for part in &lesion.regions {
                let weight = part.expected_weight();
                if weight.is_finite() && weight > 0.0 {
                    self.add(&mut weights, part.region, weight * trusted_ml);
                }
            }
        }
        normalise(&mut weights).then_some(weights)
    }

    fn add(&self, weights: &mut [f64], region: RegionName, weight: f64) {
        let RegionName { structure, side } = region;
        for (own, total) in self.regions.iter().zip(weights) {
            if own.structure != structure {
                continue;
            }
            if own.side == Side::Midline || own.side == side {
                *total += weight;
            } else if side == Side::Midline {
                *total += weight / 2.0;
            }
        }
    }

    /// Returns the greatest regions, by falling weight.
    pub(super) fn listed(&self, weights: &[f64]) -> Vec<WeightedRegion> {
        let mut listed = self.sorted(weights);
        listed.retain(|entry| entry.weight >= LISTED_MIN);
        listed.truncate(REGIONS_LISTED_MAX);
        listed
    }

    /// Returns all regions by falling weight, ties by name.
    pub(super) fn sorted(&self, weights: &[f64]) -> Vec<WeightedRegion> {
        let mut sorted: Vec<WeightedRegion> = self
            .regions
            .iter()
            .zip(weights)
            .map(|(&region, &weight)| WeightedRegion { region, weight })
            .collect();
        sorted.sort_by(|a, b| b.weight.total_cmp(&a.weight).then(a.region.cmp(&b.region)));
        sorted
    }

    /// Returns the region of the image that both together make most likely. Only regions that hold
    /// a good part of the lesion are candidates, so that symptoms cannot move the site off it.
    pub(super) fn most_likely_site(
        &self,
        image: &[f64],
        likelihoods: &[f64],
    ) -> Option<RegionName> {
        let greatest = image.iter().copied().fold(0.0, f64::max);
        let fused: Vec<f64> = image
            .iter()
            .zip(likelihoods)
            .map(
                |(&weight, &likelihood)| {
                    if weight >= SITE_SHARE_MIN * greatest { weight * likelihood } else { 0.0 }
                },
            )
            .collect();
        self.sorted(&fused).first().filter(|first| first.weight > 0.0).map(|first| first.region)
    }

    /// Returns the share of `site` in image times likelihood, over all regions, 0 to 1.
    pub(super) fn share_of_site(
        &self,
        image: &[f64],
        likelihoods: &[f64],
        site: RegionName,
    ) -> f64 {
        let mut fused: Vec<f64> =
            image.iter().zip(likelihoods).map(|(weight, likelihood)| weight * likelihood).collect();
        normalise(&mut fused);
        let own = self.regions.iter().zip(&fused).filter(|(region, _)| **region == site);
        own.map(|(_, share)| share).sum()
    }
}

/// Least part that a lesion counts however little it may be trusted, so that an image of doubtful
/// lesions alone still has a distribution.
const CONFIDENCE_MIN: f64 = 0.01;

fn confidence(lesion: &LesionSite) -> f64 {
    let known = lesion.confidence.filter(|confidence| confidence.is_finite());
    known.map_or(1.0, |confidence| confidence.clamp(CONFIDENCE_MIN, 1.0))
}

/// Returns how far the lesions of an image may be trusted, by volume, 0 to 1; 1 without lesions.
pub(super) fn trust(image: &ImageEvidence) -> f64 {
    let sound = |lesion: &&LesionSite| lesion.volume_ml.is_finite() && lesion.volume_ml > 0.0;
    let (mut trusted_ml, mut total_ml) = (0.0, 0.0);
    for lesion in image.lesions.iter().filter(sound) {
        trusted_ml += lesion.volume_ml * confidence(lesion);
        total_ml += lesion.volume_ml;
    }
    if total_ml > 0.0 { trusted_ml / total_ml } else { 1.0 }
}

/// Returns Σ a·b.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Returns the greatest value; 0 of none.
pub(super) fn greatest(values: &[f64]) -> f64 {
    values.iter().copied().fold(0.0, f64::max)
}

/// Scales to a sum of 1. Returns false, and changes nothing, if the sum is 0.
fn normalise(weights: &mut [f64]) -> bool {
    let sum: f64 = weights.iter().sum();
    if !(sum.is_finite() && sum > 0.0) {
        return false;
    }
    for weight in weights {
        *weight /= sum;
    }
    true
}
