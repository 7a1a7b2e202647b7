//! What many cases say together: means, and how sure they are.
//!
//! Every score of a case is a number, also where a region is absent (see the crate's
//! documentation), so every mean is over all cases: none is left out.

use serde::{Deserialize, Serialize};

use crate::{CaseScores, surface::quantile};

/// Fewest cases from which an interval is estimated: with two, a resample takes one of three
/// values, and its percentiles say nothing.
pub const INTERVAL_CASES_MIN: usize = 3;

/// Resamples that an interval is read from; the usual number for percentiles of 2.5 and 97.5.
pub const RESAMPLES: u32 = 10_000;

/// Seed of the resamples, so that the same scores always give the same interval.
pub const BOOTSTRAP_SEED: u64 = 20_230_815;

/// Share of the resampled means that the interval encloses.
pub const CONFIDENCE: f64 = 0.95;

/// How an interval is estimated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bootstrap {
    /// Resamples drawn, each as large as the set of cases.
    pub resamples: u32,
    /// Share of the resampled means inside the interval, above 0 and below 1.
    pub confidence: f64,
    /// The same seed gives the same interval.
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: RESAMPLES, confidence: CONFIDENCE, seed: BOOTSTRAP_SEED }
    }
}

/// An interval around each mean.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower ends.
    pub low: CaseScores,
    /// Upper ends.
    pub high: CaseScores,
}

/// Returns the mean of each score over cases; `None` if there are none.
pub fn mean_scores(cases: &[CaseScores]) -> Option<CaseScores> {
    if cases.is_empty() {
        return None;
    }
    Some(CaseScores::reduce(cases, &mut mean))
}

/// Returns the percentile bootstrap interval of each mean; `None` with fewer than
/// [`INTERVAL_CASES_MIN`] cases or without resamples.
///
/// Cases are drawn with replacement, as many as there are; the ends are percentiles of the means
/// of the draws, linear between ranks. Every score sees the same draws. The interval tells how
/// much the mean depends on which cases were at hand; with few cases it is too narrow.
///
/// # Source
/// Efron, Tibshirani, "An Introduction to the Bootstrap", Chapman & Hall 1993, chapter 13.
pub fn bootstrap_interval(cases: &[CaseScores], bootstrap: &Bootstrap) -> Option<Interval> {
    if cases.len() < INTERVAL_CASES_MIN || bootstrap.resamples == 0 {
        return None;
    }
    let outside = 1.0 - bootstrap.confidence.clamp(0.0, 1.0);
    let end = |part: f64| {
        CaseScores::reduce(cases, &mut |values| quantile(&resampled_means(values, bootstrap), part))
    };
    Some(Interval { low: end(outside / 2.0), high: end(1.0 - outside / 2.0) })
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Returns the means of the resamples, ascending.
fn resampled_means(values: &[f64], bootstrap: &Bootstrap) -> Vec<f64> {
    let mut numbers = SplitMix64 { state: bootstrap.seed };
    let mut means: Vec<f64> = (0..bootstrap.resamples)
        .map(|_| {
            let drawn = values.iter().map(|_| values[numbers.below(values.len())]);
            drawn.sum::<f64>() / values.len() as f64
        })
        .collect();
    means.sort_by(f64::total_cmp);
    means
}

/// Random numbers whose sequence never changes with a dependency.
///
/// Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014, figure 14.
struct SplitMix64 {
    state: u64,
}

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Returns a number below `count`; the bias, `count` in 2^64, is far below a percentile.
    fn below(&mut self, count: usize) -> usize {
        let scaled = (u128::from(self.next()) * count as u128) >> 64;
        scaled as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cases(values: &[f64]) -> Vec<CaseScores> {
        values.iter().map(|&accuracy| CaseScores { accuracy, ..CaseScores::default() }).collect()
    }

    #[test]
    fn the_generator_gives_the_published_numbers() {
        // The first numbers of the reference implementation for seed 1234567.
        let mut numbers = SplitMix64 { state: 1_234_567 };
        let first: Vec<u64> = (0..3).map(|_| numbers.next()).collect();
        assert_eq!(
            first,
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]
        );
    }

    #[test]
    fn every_case_is_drawn_about_as_often() {
        let mut numbers = SplitMix64 { state: BOOTSTRAP_SEED };
        let mut drawn = [0_u32; 5];
        for _ in 0..50_000 {
            drawn[numbers.below(5)] += 1;
        }
        // Five standard deviations of a binomial share of 1/5 are 447.
        assert!(drawn.iter().all(|count| count.abs_diff(10_000) < 450), "{drawn:?}");
    }

    #[test]
    fn an_interval_needs_three_cases() {
        for count in 0..3 {
            let some = cases(&vec![0.5; count]);
            assert_eq!(bootstrap_interval(&some, &Bootstrap::default()), None, "{count} cases");
        }
        let none_drawn = Bootstrap { resamples: 0, ..Bootstrap::default() };
        assert_eq!(bootstrap_interval(&cases(&[0.1, 0.2, 0.3]), &none_drawn), None);
        assert!(bootstrap_interval(&cases(&[0.1, 0.2, 0.3]), &Bootstrap::default()).is_some());
    }

    #[test]
    fn equal_cases_leave_no_doubt() {
        let interval = bootstrap_interval(&cases(&[0.25; 7]), &Bootstrap::default()).unwrap();
        assert_eq!((interval.low.accuracy, interval.high.accuracy), (0.25, 0.25));
        assert_eq!(interval.low.dice.wt, 0.0, "scores that are 0 everywhere stay 0");
    }

    #[test]
    fn the_interval_is_that_of_the_normal_distribution_for_many_cases() {
        // Evenly spread over [0, 1]: deviation 1/sqrt(12), so the mean's is that over sqrt(n).
        let count = 400_u32;
        let values: Vec<f64> =
            (0..count).map(|n| (f64::from(n) + 0.5) / f64::from(count)).collect();
        let interval = bootstrap_interval(&cases(&values), &Bootstrap::default()).unwrap();
        let half = 1.96 / (12.0 * f64::from(count)).sqrt();
        // 10,000 resamples know a percentile to about a twentieth of the half width.
        let tolerance = half / 20.0;
        assert!((interval.low.accuracy - (0.5 - half)).abs() < tolerance, "{interval:?}");
        assert!((interval.high.accuracy - (0.5 + half)).abs() < tolerance, "{interval:?}");
    }

    #[test]
    fn the_same_seed_gives_the_same_interval_and_another_one_nearly_that() {
        let some = cases(&[0.9, 0.7, 0.85, 0.2, 0.6]);
        let first = bootstrap_interval(&some, &Bootstrap::default());
        assert_eq!(bootstrap_interval(&some, &Bootstrap::default()), first);
        let other = Bootstrap { seed: 7, ..Bootstrap::default() };
        let (first, other) = (first.unwrap(), bootstrap_interval(&some, &other).unwrap());
        assert!((first.low.accuracy - other.low.accuracy).abs() < 0.02);
        let mean = mean_scores(&some).unwrap().accuracy;
        assert!(first.low.accuracy < mean && mean < first.high.accuracy);
    }
}
