//! The sections of the page, from top to bottom.

use base64::{Engine, engine::general_purpose::STANDARD};
use neurotriage_domain::TumourClass;
use neurotriage_imaging::overlay::{Disagreement, class_rgb};
use neurotriage_metrics::{CaseScores, PerRegion};

use super::{Page, escape};
use crate::evaluate::{
    pictures::{CasePictures, PICTURED_CASES_MAX},
    result::{Answer, CLASS_METRICS, CaseLine, Evaluation, IntervalLine, METRICS},
};

/// Columns of the table of cases: heading, digits, score.
type Column = (&'static str, usize, fn(&CaseScores) -> &PerRegion<f64>);
const COLUMNS: [Column; 5] = [
    ("Dice", 3, |scores| &scores.dice),
    ("HD95, mm", 1, |scores| &scores.hd95_mm),
    ("Surface distance, mm", 2, |scores| &scores.surface_distance_mm),
    ("Volume error, ml", 1, |scores| &scores.volume_error_ml),
    ("Lesion-wise Dice", 3, |scores| &scores.lesion_wise.dice),
];

/// The three regions in the order of tables: name and value.
type Region = (&'static str, fn(&PerRegion<f64>) -> f64);
const REGIONS: [Region; 3] =
    [("WT", |regions| regions.wt), ("TC", |regions| regions.tc), ("ET", |regions| regions.et)];

/// Mean and interval of a set of cases, with its title.
type Summary<'a> = (String, Option<&'a CaseScores>, &'a IntervalLine);

impl Page {
    pub(super) fn summary(&mut self, evaluation: &Evaluation) {
        let count = evaluation.cases.len();
        let mut groups: Vec<Summary<'_>> = Vec::new();
        if let Some(unseen) = &evaluation.unseen {
            let title = format!("{} not trained on", cases(unseen.count));
            groups.push((title, unseen.mean.as_ref(), &unseen.interval_95));
        }
        let mut title = format!("All {}", cases(count));
        if let Some(unseen) = &evaluation.unseen {
            title += &format!(", {} of them seen in training", count - unseen.count);
        }
        groups.push((title, evaluation.mean.as_ref(), &evaluation.interval_95));
        self.put("<h2>Means</h2>\n");
        if evaluation.unseen.is_some() {
            self.put(
                "<p>Only the cases that the model was not trained on say how it does on new \
                 patients; the others say how well it remembers.</p>\n",
            );
        }
        self.put("<table class=\"means\"><thead><tr><th rowspan=\"2\">Score</th>");
        for (title, ..) in &groups {
            self.put(&format!("<th colspan=\"3\" class=\"group\">{}</th>", escape(title)));
        }
        self.put("<th rowspan=\"2\">What it is</th></tr><tr>");
        for _ in &groups {
            for (at, (region, _)) in REGIONS.into_iter().enumerate() {
                let edge = if at == 0 { " edge" } else { "" };
                self.put(&format!("<th class=\"number{edge}\">{region}</th>"));
            }
        }
        self.put("</tr></thead><tbody>\n");
        self.mean_rows(&groups);
        self.put("</tbody></table>\n<p class=\"muted\">");
        for (title, _, interval) in &groups {
            self.put(&format!("{}: {}<br>", escape(title), escape(&interval_note(interval))));
        }
        self.put("</p>\n");
    }

    fn mean_rows(&mut self, groups: &[Summary<'_>]) {
        for metric in &METRICS {
            self.put(&format!("<tr><td>{}</td>", metric.name));
            for (_, mean, interval) in groups {
                for (at, (_, of)) in REGIONS.into_iter().enumerate() {
                    let value = |scores: &CaseScores| of((metric.of)(scores));
                    let edge = if at == 0 { " edge" } else { "" };
                    let cell = cell(*mean, interval, &value, metric.digits);
                    self.put(&format!("<td class=\"number{edge}\">{cell}</td>"));
                }
            }
            self.put(&format!("<td class=\"muted\">{}</td></tr>\n", escape(metric.meaning)));
        }
        for metric in &CLASS_METRICS {
            self.put(&format!("<tr><td>{}, four classes</td>", metric.name));
            for (_, mean, interval) in groups {
                let cell = cell(*mean, interval, &metric.of, metric.digits);
                self.put(&format!("<td colspan=\"3\" class=\"number edge middle\">{cell}</td>"));
            }
            self.put(&format!("<td class=\"muted\">{}</td></tr>\n", escape(metric.meaning)));
        }
    }

    pub(super) fn failures(&mut self, evaluation: &Evaluation) {
        if evaluation.failed.is_empty() {
            return;
        }
        self.put("<div class=\"failed\"><b>Cases that could not be scored; in no mean</b><ul>");
        for failure in &evaluation.failed {
            let (id, error) = (escape(&failure.id), escape(&failure.error));
            self.put(&format!("<li>{id}: {error}</li>"));
        }
        self.put("</ul></div>\n");
    }

    pub(super) fn table(&mut self, evaluation: &Evaluation) {
        self.put("<h2>Cases</h2>\n<table class=\"cases\"><thead><tr><th rowspan=\"2\">Case</th>");
        for (name, ..) in COLUMNS {
            self.put(&format!("<th colspan=\"3\" class=\"group\">{name}</th>"));
        }
        self.put(
            "<th rowspan=\"2\" class=\"number edge\">MeanIoU</th>\
             <th rowspan=\"2\" class=\"number\">Accuracy</th>\
             <th rowspan=\"2\" class=\"number\">Time, s</th>\
             <th rowspan=\"2\" class=\"number\">Memory, MiB</th></tr><tr>",
        );
        for _ in COLUMNS {
            for (at, (region, _)) in REGIONS.into_iter().enumerate() {
                let edge = if at == 0 { " edge" } else { "" };
                self.put(&format!("<th class=\"number{edge}\">{region}</th>"));
            }
        }
        self.put("</tr></thead><tbody>\n");
        for case in in_order(&evaluation.cases) {
            self.case_row(case);
        }
        self.put("</tbody></table>\n");
    }

    fn case_row(&mut self, case: &CaseLine) {
        let class = if case.seen_in_training { " class=\"seen\"" } else { "" };
        let id = escape(&case.id);
        self.put(&format!("<tr{class}><td><a href=\"#case-{id}\">{id}</a>{}</td>", badges(case)));
        for (_, digits, of) in COLUMNS {
            for (at, (_, region)) in REGIONS.into_iter().enumerate() {
                let edge = if at == 0 { " edge" } else { "" };
                let value = region(of(&case.scores));
                self.put(&format!("<td class=\"number{edge}\">{}</td>", number(value, digits)));
            }
        }
        let memory = case.peak_memory_mib.map_or_else(|| "-".to_owned(), |mib| number(mib, 0));
        self.put(&format!(
            "<td class=\"number edge\">{}</td><td class=\"number\">{}</td>\
             <td class=\"number\">{}</td><td class=\"number\">{memory}</td></tr>\n",
            number(case.scores.iou_mean, 3),
            number(case.scores.accuracy, 4),
            number(case.seconds, 1),
        ));
    }

    pub(super) fn cases(&mut self, evaluation: &Evaluation, pictures: &[CasePictures]) {
        if pictures.is_empty() {
            return;
        }
        self.put("<h2>Pictures</h2>\n");
        self.legend();
        if evaluation.cases.len() > pictures.len() {
            self.put(&format!(
                "<p class=\"muted\">Of {} cases the {} with the lowest mean Dice are shown; a page \
                 holds at most {PICTURED_CASES_MAX}.</p>\n",
                evaluation.cases.len(),
                pictures.len()
            ));
        }
        for case in in_order(&evaluation.cases) {
            if let Some(drawn) = pictures.iter().find(|drawn| drawn.id == case.id) {
                self.pictures_of(case, drawn);
            }
        }
    }

    fn legend(&mut self) {
        self.put("<p class=\"legend\"><b>Expert and model:</b>");
        for (class, name) in [
            (TumourClass::Enhancing, "enhancing tumour"),
            (TumourClass::NecroticCore, "necrotic core"),
            (TumourClass::Oedema, "oedema"),
        ] {
            self.put(&swatch(class_rgb(class), "solid", name));
        }
        self.put("<br><b>Errors:</b>");
        for kind in Disagreement::ALL {
            let (pattern, name) = match kind {
                Disagreement::Missed => ("solid", "missed: marked by the expert alone (solid)"),
                Disagreement::False => ("striped", "false: marked by the model alone (striped)"),
                Disagreement::OtherClass => {
                    ("dotted", "core marked by both, enhancing or necrotic confused (dotted)")
                }
            };
            self.put(&swatch(kind.colour(), pattern, name));
        }
        self.put(
            "<br>Errors on FLAIR are those of the whole tumour, on T1ce those of its core. Axial \
             slices in radiological convention: the patient's right is on the left of the picture \
             (R, L).</p>\n",
        );
    }

    fn pictures_of(&mut self, case: &CaseLine, drawn: &CasePictures) {
        let id = escape(&case.id);
        self.put(&format!("<section id=\"case-{id}\"><h3>{id}{}</h3>\n", badges(case)));
        if let Some(remark) = case.answer.as_ref().and_then(Answer::remark) {
            self.put(&format!("<p>The model's answer: {}.</p>", escape(&remark)));
        }
        self.put("<table class=\"facts\"><thead><tr><th></th>");
        for metric in &METRICS {
            self.put(&format!("<th class=\"number\">{}</th>", metric.name));
        }
        self.put("<th class=\"number\">true ml</th><th class=\"number\">marked ml</th></tr></thead><tbody>");
        for (name, of) in REGIONS {
            self.put(&format!("<tr><td>{name}</td>"));
            for metric in &METRICS {
                let value = number(of((metric.of)(&case.scores)), metric.digits);
                self.put(&format!("<td class=\"number\">{value}</td>"));
            }
            for volumes in [&case.scores.volume_truth_ml, &case.scores.volume_predicted_ml] {
                self.put(&format!("<td class=\"number\">{}</td>", number(of(volumes), 1)));
            }
            self.put("</tr>");
        }
        self.put("</tbody></table>\n");
        for picture in &drawn.slices {
            let place = format!("slice {} of {}", picture.index + 1, picture.count);
            self.put(&format!(
                "<figure><figcaption><b>{}</b> ({place})</figcaption><img alt=\"Case {id}, {place}: \
                 image, expert, model and errors on FLAIR and T1ce\" \
                 src=\"data:image/png;base64,{}\"></figure>\n",
                capital(picture.reason),
                STANDARD.encode(&picture.png)
            ));
        }
        self.put("</section>\n");
    }

    pub(super) fn reading(&mut self, evaluation: &Evaluation) {
        self.put(
            "<h2>How to read this</h2>\n<ul>\
             <li>WT is the whole tumour (labels 1, 2, 4), TC the tumour core (1, 4), ET the enhancing \
             tumour (4). The four classes are background, necrotic core, oedema, enhancing tumour.</li>\
             <li>A region in neither mask scores 1 and 0 mm. A region in one mask alone scores Dice and \
             IoU 0 and 374 mm, as in BraTS 2023; nothing to find is sensitivity 1, nothing claimed is \
             precision 1; the relative volume error is then 1 or -1. No case is left out of a mean.</li>\
             <li>HD95 is the larger of the two directed 95th percentiles between voxel surfaces.</li>\
             <li>An interval tells how much a mean depends on which cases were at hand. With few \
             cases, or cases of one hospital, it is too narrow.</li></ul>\n",
        );
        let Some(card) = &evaluation.model_card else { return };
        self.put("<h2>Model</h2>\n<table class=\"model\"><tbody>");
        for (name, value) in [
            ("Name", &card.name),
            ("Weights (SHA-256)", &card.weights_sha256),
            ("Trained on", &card.trained_on),
            ("Licence", &card.licence),
            ("Intended use", &card.intended_use),
        ] {
            self.put(&format!("<tr><td>{name}</td><td>{}</td></tr>", escape(value)));
        }
        self.put("</tbody></table>\n");
    }
}

/// Returns the cases not trained on, then the others, each in the order given.
fn in_order(cases: &[CaseLine]) -> impl Iterator<Item = &CaseLine> {
    let unseen = cases.iter().filter(|case| !case.seen_in_training);
    unseen.chain(cases.iter().filter(|case| case.seen_in_training))
}

fn badges(case: &CaseLine) -> String {
    let mut badges = String::new();
    if case.seen_in_training {
        badges.push_str(" <span class=\"badge\">seen in training</span>");
    }
    if !case.tumour_in_truth {
        badges.push_str(" <span class=\"badge plain\">no tumour by the expert</span>");
    }
    if let Some(remark) = case.answer.as_ref().and_then(Answer::remark) {
        let short = remark.split(':').next().unwrap_or_default();
        badges.push_str(&format!(
            " <span class=\"badge doubt\" title=\"{}\">model: {short}</span>",
            escape(&remark)
        ));
    }
    badges
}

fn swatch([red, green, blue]: [u8; 3], pattern: &str, name: &str) -> String {
    format!(
        " <span class=\"swatch {pattern}\" style=\"--c:rgb({red},{green},{blue})\"></span>{}",
        escape(name)
    )
}

fn cases(count: usize) -> String {
    format!("{count} case{}", if count == 1 { "" } else { "s" })
}

fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn interval_note(interval: &IntervalLine) -> String {
    match &interval.absent_because {
        Some(because) => format!("no interval, {because}"),
        None => format!(
            "small print is the 95 % percentile bootstrap interval over {} cases ({} resamples)",
            interval.count, interval.resamples
        ),
    }
}

fn cell(
    mean: Option<&CaseScores>,
    interval: &IntervalLine,
    of: &dyn Fn(&CaseScores) -> f64,
    digits: usize,
) -> String {
    let Some(mean) = mean else { return "-".to_owned() };
    let value = number(of(mean), digits);
    match interval.low.as_ref().zip(interval.high.as_ref()) {
        Some((low, high)) => format!(
            "{value}<small>{} to {}</small>",
            number(of(low), digits),
            number(of(high), digits)
        ),
        None => value,
    }
}

/// Returns a number with a true minus sign, and no minus before what rounds to zero.
fn number(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    match text.strip_prefix('-') {
        Some(rest) if rest.chars().all(|c| matches!(c, '0' | '.')) => rest.to_owned(),
        Some(rest) => format!("\u{2212}{rest}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_a_true_minus_and_zero_has_none() {
        let table = [(1.25, "1.2"), (-1.26, "\u{2212}1.3"), (-0.01, "0.0"), (0.0, "0.0")];
        for (value, expected) in table {
            assert_eq!(number(value, 1), expected, "{value}");
        }
        assert_eq!(number(-3.2, 0), "\u{2212}3");
    }
}
