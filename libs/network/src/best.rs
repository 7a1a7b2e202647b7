//! Which validation was the best, and when to stop waiting for a better one.

use serde::{Deserialize, Serialize};

use crate::ValidationReport;

/// The best validation so far.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Best {
    /// The report; none before the first validation.
    pub(crate) report: Option<ValidationReport>,
    /// Validations since then.
    pub(crate) waited: u32,
}

/// What a validation was, compared with those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Better than all before.
    Better,
    /// Not better.
    NotBetter,
}

impl Best {
    /// Counts a validation: it is better if its mean Dice over cases and regions is larger.
    pub(crate) fn take(&mut self, report: &ValidationReport) -> Verdict {
        let better = self.report.as_ref().is_none_or(|best| report.mean.mean() > best.mean.mean());
        if better {
            *self = Self { report: Some(report.clone()), waited: 0 };
            return Verdict::Better;
        }
        self.waited += 1;
        Verdict::NotBetter
    }

    /// Returns whether `patience` validations have passed without a better one; 0 never stops.
    pub(crate) fn is_over(&self, patience: u32) -> bool {
        patience > 0 && self.waited >= patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RegionDice;

    #[test]
    fn patience_counts_validations_since_the_best() {
        let mut best = Best::default();
        // (mean Dice, better, over with patience 2)
        let table = [
            (0.5, Verdict::Better, false),
            (0.5, Verdict::NotBetter, false),
            (0.6, Verdict::Better, false),
            (0.4, Verdict::NotBetter, false),
            (f64::NAN, Verdict::NotBetter, true),
        ];
        for (step, (dice, verdict, over)) in table.into_iter().enumerate() {
            let mean = RegionDice { wt: dice, tc: dice, et: dice };
            let report = ValidationReport { step: step as u64, mean, cases: Vec::new() };
            assert_eq!(best.take(&report), verdict, "step {step}");
            assert_eq!(best.is_over(2), over, "step {step}");
            assert!(!best.is_over(0));
        }
        assert_eq!(best.report.unwrap().step, 2);
    }
}
