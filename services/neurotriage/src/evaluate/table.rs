//! The evaluation as text for a terminal.

use neurotriage_metrics::{CaseScores, PerRegion};

use super::result::{Answer, CLASS_METRICS, CaseLine, Evaluation, IntervalLine, METRICS};
use crate::report::NOTICE;

/// The three regions, from the outermost.
const REGIONS: [fn(&PerRegion<f64>) -> f64; 3] =
    [|regions| regions.wt, |regions| regions.tc, |regions| regions.et];

/// Characters of a case's name, of a number with its interval.
const NAME_WIDTH: usize = 30;
const CELL_WIDTH: usize = 23;

/// Returns the tables.
pub(super) fn render(evaluation: &Evaluation) -> String {
    let mut text = String::new();
    if let Some(card) = &evaluation.model_card {
        let digest = card.weights_sha256.get(..12).unwrap_or_default();
        text.push_str(&format!("model {} (weights {digest})\n", card.name));
        text.push_str(&format!("trained on: {}\n\n", card.trained_on));
        push_cases(&mut text, &evaluation.cases);
    }
    if let Some(unseen) = &evaluation.unseen {
        let title = format!("mean of {} not trained on", unseen.count);
        push_means(&mut text, &title, unseen.mean.as_ref(), &unseen.interval_95);
    }
    let title = match evaluation.cases.as_slice() {
        [case] => case.id.clone(),
        cases => format!("mean of all {}", cases.len()),
    };
    push_means(&mut text, &title, evaluation.mean.as_ref(), &evaluation.interval_95);
    push_notes(&mut text, evaluation);
    text
}

fn push_cases(text: &mut String, cases: &[CaseLine]) {
    let group = |name: &str| format!("{name:^20}  ");
    let groups = ["Dice", "HD95 mm", "lesion-wise Dice"].map(group).concat();
    text.push_str(&format!(
        "{:NAME_WIDTH$} {groups}{:>7} {:>7} {:>6} {:>6}\n{:NAME_WIDTH$}",
        "case", "MeanIoU", "acc.", "s", "MiB", ""
    ));
    for _ in 0..3 {
        text.push_str(&format!(" {:>6} {:>6} {:>6} ", "WT", "TC", "ET"));
    }
    text.push('\n');
    for case in cases {
        let mark = if case.seen_in_training { " *" } else { "" };
        text.push_str(&format!("{:NAME_WIDTH$}", format!("{}{mark}", case.id)));
        let scores = &case.scores;
        let groups = [(&scores.dice, 3), (&scores.hd95_mm, 1), (&scores.lesion_wise.dice, 3)];
        for (PerRegion { wt, tc, et }, digits) in groups {
            text.push_str(&format!(" {wt:>6.digits$} {tc:>6.digits$} {et:>6.digits$} "));
        }
        let mib = case.peak_memory_mib.map_or_else(|| "-".to_owned(), |mib| format!("{mib:.0}"));
        text.push_str(&format!(
            " {:>6.3} {:>7.4} {:>6.1} {mib:>6}\n",
            scores.iou_mean, scores.accuracy, case.seconds
        ));
    }
    text.push('\n');
}

fn push_means(text: &mut String, title: &str, mean: Option<&CaseScores>, interval: &IntervalLine) {
    let Some(mean) = mean else {
        text.push_str(&format!("{title}: no such case\n\n"));
        return;
    };
    text.push_str(&format!("{title:NAME_WIDTH$}"));
    for region in ["WT", "TC", "ET"] {
        text.push_str(&format!(" {region:CELL_WIDTH$}"));
    }
    push_line_end(text);
    for metric in &METRICS {
        text.push_str(&format!("  {:28}", metric.name));
        let ends = interval.low.as_ref().zip(interval.high.as_ref());
        for of in REGIONS {
            let value = |scores: &CaseScores| of((metric.of)(scores));
            let ends = ends.map(|(low, high)| [value(low), value(high)]);
            text.push_str(&format!(" {:CELL_WIDTH$}", cell(value(mean), ends, metric.digits)));
        }
        push_line_end(text);
    }
    for metric in &CLASS_METRICS {
        let ends = interval.low.as_ref().zip(interval.high.as_ref());
        let ends = ends.map(|(low, high)| [(metric.of)(low), (metric.of)(high)]);
        let value = cell((metric.of)(mean), ends, metric.digits);
        text.push_str(&format!("  {:28} {value}\n", format!("{}, 4 classes", metric.name)));
    }
    text.push_str(&match &interval.absent_because {
        Some(because) => format!("  no interval: {because}\n\n"),
        None => format!(
            "  in brackets: 95 % percentile bootstrap over {} cases, {} resamples\n\n",
            interval.count, interval.resamples
        ),
    });
}

fn push_line_end(text: &mut String) {
    text.truncate(text.trim_end().len());
    text.push('\n');
}

fn cell(value: f64, ends: Option<[f64; 2]>, digits: usize) -> String {
    match ends {
        Some([low, high]) => format!("{value:.digits$} [{low:.digits$}, {high:.digits$}]"),
        None => format!("{value:.digits$}"),
    }
}

fn push_notes(text: &mut String, evaluation: &Evaluation) {
    if evaluation.cases.iter().any(|case| case.seen_in_training) {
        text.push_str(
            "* the model was trained on this case: its scores say nothing about others\n",
        );
    }
    for case in evaluation.cases.iter().filter(|case| !case.tumour_in_truth) {
        text.push_str(&format!(
            "case {}: no tumour in the truth; a region in neither mask scores 1 and 0 mm, a region \
             in the prediction alone 0 and 374 mm\n",
            case.id
        ));
    }
    for case in &evaluation.cases {
        if let Some(remark) = case.answer.as_ref().and_then(Answer::remark) {
            text.push_str(&format!("case {}: the model's answer is {remark}\n", case.id));
        }
    }
    for failure in &evaluation.failed {
        text.push_str(&format!("case {} failed: {}\n", failure.id, failure.error));
    }
    text.push_str(NOTICE);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use neurotriage_network::Outcome;

    use super::*;
    use crate::evaluate::result::{
        Failure,
        tests::{card, line},
    };

    #[test]
    fn the_table_shows_every_case_both_means_and_what_was_seen() {
        let mut healthy = line("healthy", false, 1.0);
        healthy.tumour_in_truth = false;
        healthy.answer = Some(Outcome::NoTumourFound.into());
        let cases = vec![line("a", true, 0.9), line("b", false, 0.5), healthy];
        let failed = vec![Failure { id: "x".into(), error: "no truth".into() }];
        let text = render(&Evaluation::of_model(card(), cases, failed));
        for expected in [
            "model model-1 (weights abababababab)",
            "\na *  ",
            "\nb  ",
            "\nmean of 2 not trained on",
            "no interval: 2 cases; an interval needs at least 3",
            "\nmean of all 3",
            "0.800 [",
            "95 % percentile bootstrap over 3 cases, 10000 resamples",
            "MeanIoU, 4 classes           0.500 [0.500, 0.500]",
            "* the model was trained",
            "case healthy: no tumour in the truth",
            "case healthy: the model's answer is no tumour found",
            "case x failed: no truth",
            "research use",
        ] {
            assert!(text.contains(expected), "{expected:?} not in\n{text}");
        }
    }

    #[test]
    fn two_masks_are_named_after_the_prediction_and_have_no_case_table() {
        let text = render(&Evaluation::of_masks(line("prediction", false, 0.5)));
        assert!(text.starts_with("prediction  "), "{text}");
        assert!(!text.contains("trained on"), "{text}");
    }
}
