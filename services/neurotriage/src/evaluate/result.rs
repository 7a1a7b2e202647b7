//! What an evaluation found, as its JSON says it.
//!
//! The keys `model`, `cases` (`id`, `dice`, `hd95_mm`, `lesion_wise`, `iou_mean`, `accuracy`,
//! `seconds`) and `mean` are stable; others stand beside them. `model` is the model's id as the
//! services give it, or null for two mask files; what else is known of it is in `model_card`.

use neurotriage_metrics::{
    Bootstrap, CaseScores, PerRegion, bootstrap_interval, mean_scores, summary::INTERVAL_CASES_MIN,
};
use neurotriage_network::Outcome;
use serde::Serialize;

use crate::report::NOTICE;

/// The scores of a model, or of a mask.
#[derive(Serialize)]
pub(super) struct Evaluation {
    notice: &'static str,
    pub(super) model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) model_card: Option<ModelLine>,
    pub(super) cases: Vec<CaseLine>,
    /// Over all cases.
    pub(super) mean: Option<CaseScores>,
    pub(super) interval_95: IntervalLine,
    /// Over the cases that the model was not trained on, if there are others too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unseen: Option<Group>,
    /// Cases that could not be scored; in no mean.
    pub(super) failed: Vec<Failure>,
}

/// What a model's card says that a reader of scores needs.
#[derive(Serialize)]
pub(super) struct ModelLine {
    pub(super) name: String,
    pub(super) weights_sha256: String,
    pub(super) trained_on: String,
    pub(super) licence: String,
    pub(super) intended_use: String,
}

/// The scores of one case.
#[derive(Serialize)]
pub(super) struct CaseLine {
    pub(super) id: String,
    /// True if the model's card names the case among its training data.
    pub(super) seen_in_training: bool,
    pub(super) tumour_in_truth: bool,
    /// Whether a tumour was found; none for two mask files.
    #[serde(flatten)]
    pub(super) answer: Option<Answer>,
    #[serde(flatten)]
    pub(super) scores: CaseScores,
    /// Time from the files on disk to the mask, in seconds.
    pub(super) seconds: f64,
    /// Most memory that the process held up to the mask, in MiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) peak_memory_mib: Option<f64>,
}

/// What the model says of a case beside its mask.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Answer {
    /// `tumour`, `no_tumour_found` or `not_sure`.
    pub(super) outcome: &'static str,
    /// Why it is not sure; empty otherwise.
    pub(super) reasons: Vec<String>,
}

impl From<Outcome> for Answer {
    fn from(outcome: Outcome) -> Self {
        let (outcome, doubts) = match outcome {
            Outcome::Tumour => ("tumour", Vec::new()),
            Outcome::NoTumourFound => ("no_tumour_found", Vec::new()),
            Outcome::NotSure { reasons } => ("not_sure", reasons),
        };
        Self { outcome, reasons: doubts.iter().map(ToString::to_string).collect() }
    }
}

impl Answer {
    /// Returns the answer in words if it is another than "tumour".
    pub(super) fn remark(&self) -> Option<String> {
        match self.outcome {
            "tumour" => None,
            "no_tumour_found" => Some("no tumour found".to_owned()),
            _ => Some(format!("not sure: {}", self.reasons.join("; "))),
        }
    }
}

/// A case that could not be scored.
#[derive(Debug, Serialize)]
pub(super) struct Failure {
    pub(super) id: String,
    pub(super) error: String,
}

/// Means over some of the cases.
#[derive(Serialize)]
pub(super) struct Group {
    /// How many cases.
    pub(super) count: usize,
    pub(super) mean: Option<CaseScores>,
    pub(super) interval_95: IntervalLine,
}

/// Percentile bootstrap interval of each mean, or why there is none.
#[derive(Serialize)]
pub(super) struct IntervalLine {
    /// Cases it rests on.
    pub(super) count: usize,
    pub(super) resamples: u32,
    pub(super) seed: u64,
    pub(super) low: Option<CaseScores>,
    pub(super) high: Option<CaseScores>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) absent_because: Option<String>,
}

impl Evaluation {
    /// Returns the evaluation of a model on cases.
    pub(super) fn of_model(card: ModelLine, cases: Vec<CaseLine>, failed: Vec<Failure>) -> Self {
        let all = Group::of(cases.iter());
        let any_seen = cases.iter().any(|case| case.seen_in_training);
        let unseen =
            any_seen.then(|| Group::of(cases.iter().filter(|case| !case.seen_in_training)));
        Self {
            notice: NOTICE,
            model: Some(card.name.clone()),
            model_card: Some(card),
            cases,
            mean: all.mean,
            interval_95: all.interval_95,
            unseen,
            failed,
        }
    }

    /// Returns the evaluation of one mask against another.
    pub(super) fn of_masks(case: CaseLine) -> Self {
        let all = Group::of(std::iter::once(&case));
        Self {
            notice: NOTICE,
            model: None,
            model_card: None,
            cases: vec![case],
            mean: all.mean,
            interval_95: all.interval_95,
            unseen: None,
            failed: Vec::new(),
        }
    }
}

impl Group {
    fn of<'a>(cases: impl Iterator<Item = &'a CaseLine>) -> Self {
        let scores: Vec<CaseScores> = cases.map(|case| case.scores).collect();
        let bootstrap = Bootstrap::default();
        let interval = bootstrap_interval(&scores, &bootstrap);
        let count = scores.len();
        let absent_because = interval.is_none().then(|| {
            format!(
                "{count} case{}; an interval needs at least {INTERVAL_CASES_MIN}",
                if count == 1 { "" } else { "s" }
            )
        });
        Self {
            count,
            mean: mean_scores(&scores),
            interval_95: IntervalLine {
                count,
                resamples: bootstrap.resamples,
                seed: bootstrap.seed,
                low: interval.map(|interval| interval.low),
                high: interval.map(|interval| interval.high),
                absent_because,
            },
        }
    }
}

/// A score of regions, for tables.
pub(super) struct Metric {
    pub(super) name: &'static str,
    /// What it is, for readers who do not know the name.
    pub(super) meaning: &'static str,
    pub(super) digits: usize,
    pub(super) of: fn(&CaseScores) -> &PerRegion<f64>,
}

/// The scores of regions, in the order of tables.
pub(super) const METRICS: [Metric; 12] = [
    Metric {
        name: "Dice",
        meaning: "overlap: twice the shared volume by the sum of both; 1 is best",
        digits: 3,
        of: |scores| &scores.dice,
    },
    Metric {
        name: "IoU",
        meaning: "shared volume by the volume of either; 1 is best",
        digits: 3,
        of: |scores| &scores.iou,
    },
    Metric {
        name: "sensitivity",
        meaning: "share of the expert's region that was found",
        digits: 3,
        of: |scores| &scores.sensitivity,
    },
    Metric {
        name: "specificity",
        meaning: "share of the rest of the volume, air included, that was left alone: always \
                  close to 1",
        digits: 4,
        of: |scores| &scores.specificity,
    },
    Metric {
        name: "precision",
        meaning: "share of the marked region that is right",
        digits: 3,
        of: |scores| &scores.precision,
    },
    Metric {
        name: "HD95 mm",
        meaning: "95 % of each surface lie within this distance of the other; 0 is best",
        digits: 1,
        of: |scores| &scores.hd95_mm,
    },
    Metric {
        name: "surface distance mm",
        meaning: "average symmetric surface distance; 0 is best",
        digits: 2,
        of: |scores| &scores.surface_distance_mm,
    },
    Metric {
        name: "volume error ml",
        meaning: "marked minus true volume: below 0 is too small",
        digits: 1,
        of: |scores| &scores.volume_error_ml,
    },
    Metric {
        name: "volume error relative",
        meaning: "the same as a share of the true volume",
        digits: 2,
        of: |scores| &scores.volume_error_relative,
    },
    Metric {
        name: "lesion-wise Dice",
        meaning: "mean over lesions as in BraTS 2023: each lesion missed and each false one is 0",
        digits: 3,
        of: |scores| &scores.lesion_wise.dice,
    },
    Metric {
        name: "lesion-wise HD95 mm",
        meaning: "mean over lesions: each lesion missed and each false one is 374 mm",
        digits: 1,
        of: |scores| &scores.lesion_wise.hd95_mm,
    },
    Metric {
        name: "false lesions",
        meaning: "marked pieces that touch no true lesion",
        digits: 1,
        of: |scores| &scores.lesion_wise.false_components,
    },
];

/// A score of the four classes (background, necrotic core, oedema, enhancing), for tables.
pub(super) struct ClassMetric {
    pub(super) name: &'static str,
    pub(super) meaning: &'static str,
    pub(super) digits: usize,
    pub(super) of: fn(&CaseScores) -> f64,
}

/// The scores of the four classes, as the original reports them.
pub(super) const CLASS_METRICS: [ClassMetric; 3] = [
    ClassMetric {
        name: "IoUScore(0.5)",
        meaning: "smoothed IoU, mean over the four classes; an absent class is 1",
        digits: 3,
        of: |scores| scores.iou_score,
    },
    ClassMetric {
        name: "MeanIoU",
        meaning: "IoU, mean over those of the four classes that are present",
        digits: 3,
        of: |scores| scores.iou_mean,
    },
    ClassMetric {
        name: "accuracy",
        meaning: "share of voxels, air included, whose class is right: always close to 1",
        digits: 4,
        of: |scores| scores.accuracy,
    },
];

#[cfg(test)]
pub(super) mod tests {
    use neurotriage_network::Doubt;

    use super::*;

    pub(crate) fn line(id: &str, seen_in_training: bool, dice: f64) -> CaseLine {
        let regions = PerRegion { wt: dice, tc: dice, et: dice };
        CaseLine {
            id: id.to_owned(),
            seen_in_training,
            tumour_in_truth: true,
            answer: Some(Outcome::Tumour.into()),
            scores: CaseScores { dice: regions, iou_mean: 0.5, ..CaseScores::default() },
            seconds: 2.0,
            peak_memory_mib: Some(900.0),
        }
    }

    pub(crate) fn card() -> ModelLine {
        ModelLine {
            name: "model-1".to_owned(),
            weights_sha256: "ab".repeat(32),
            trained_on: "cases trained on: a".to_owned(),
            licence: "none".to_owned(),
            intended_use: "research".to_owned(),
        }
    }

    #[test]
    fn the_stable_keys_are_there() {
        let cases = vec![line("a", true, 0.9), line("b", false, 0.5), line("c", false, 0.7)];
        let json = serde_json::to_value(Evaluation::of_model(card(), cases, vec![])).unwrap();
        assert_eq!(json["model"], "model-1");
        for key in ["id", "seconds", "iou_mean", "accuracy"] {
            assert!(!json["cases"][0][key].is_null(), "{key}");
        }
        for key in ["dice", "hd95_mm"] {
            for region in ["wt", "tc", "et"] {
                assert!(json["cases"][0][key][region].is_number(), "{key} {region}");
                assert!(json["mean"][key][region].is_number(), "{key} {region}");
            }
        }
        assert!(json["cases"][0]["lesion_wise"]["dice"]["wt"].is_number());
        assert!((json["mean"]["dice"]["wt"].as_f64().unwrap() - 0.7).abs() < 1e-9);
        assert_eq!(json["cases"][0]["outcome"], "tumour");
        assert_eq!(json["interval_95"]["count"], 3);
        let low = json["interval_95"]["low"]["dice"]["wt"].as_f64().unwrap();
        assert!((0.5..0.7).contains(&low), "{low}");
    }

    #[test]
    fn an_answer_that_is_not_tumour_is_remarked_on() {
        let not_sure = Outcome::NotSure { reasons: vec![Doubt::ForeignSpace] };
        assert_eq!(Answer::from(Outcome::Tumour).remark(), None);
        let nothing = Answer::from(Outcome::NoTumourFound).remark();
        assert_eq!(nothing.as_deref(), Some("no tumour found"));
        let remark = Answer::from(not_sure).remark().unwrap();
        assert!(remark.starts_with("not sure: the images are not in the space"), "{remark}");
    }

    #[test]
    fn unseen_cases_have_means_of_their_own_and_say_why_they_have_no_interval() {
        let cases = || vec![line("a", true, 0.9), line("b", false, 0.5), line("c", false, 0.7)];
        let unseen = Evaluation::of_model(card(), cases(), vec![]).unseen.unwrap();
        assert_eq!(unseen.count, 2);
        assert!((unseen.mean.unwrap().dice.et - 0.6).abs() < 1e-9);
        assert!(unseen.interval_95.low.is_none());
        let because = unseen.interval_95.absent_because.unwrap();
        assert!(because.contains("2 cases") && because.contains("at least 3"), "{because}");
        let none_seen = cases().into_iter().filter(|case| !case.seen_in_training).collect();
        assert!(Evaluation::of_model(card(), none_seen, vec![]).unseen.is_none());
        let all_seen = cases().into_iter().filter(|case| case.seen_in_training).collect();
        let unseen = Evaluation::of_model(card(), all_seen, vec![]).unseen.unwrap();
        assert!(unseen.count == 0 && unseen.mean.is_none());
    }

    #[test]
    fn two_masks_have_no_model_and_no_interval() {
        let evaluation = Evaluation::of_masks(line("a", false, 0.5));
        assert!(evaluation.interval_95.absent_because.is_some());
        let json = serde_json::to_value(evaluation).unwrap();
        assert!(json["model"].is_null() && json.get("model_card").is_none());
        assert_eq!(json["mean"]["dice"]["wt"], 0.5);
    }
}
