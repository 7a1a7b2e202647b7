//! Symptoms, and whether they agree with the image.

use std::collections::HashMap;

use super::{
    super::{
        super::{
            Finding, Fit, RegionProbability, Report, schematic,
            text::{escape, percent},
        },
        Page, bar,
    },
    serde_name,
};

/// Regions compared between image and symptoms at most.
const COMPARED_REGIONS_MAX: usize = 8;
/// Weight below which a region is left out of the comparison, 0 to 1.
const COMPARED_WEIGHT_MIN: f64 = 0.02;

impl Page {
    pub(in super::super) fn schematic(&mut self, report: &Report) {
        let Some(drawing) = schematic::render(report, self.words) else { return };
        let labels = &self.labels.schematic;
        self.put(&format!(
            "<h2>{}</h2>\n<figure class=\"drawn\">{drawing}",
            escape(labels.heading)
        ));
        self.put(&format!("<figcaption>{}", escape(labels.caption)));
        let beside: Vec<String> = schematic::numbered(&report.symptoms)
            .into_iter()
            .filter(|(_, finding)| finding.fit == Fit::NotLocalising)
            .map(|(number, finding)| {
                let tag = schematic::tag_in_text(number, finding.fit);
                format!(
                    "<span class=\"entry\">{tag} {}</span>",
                    escape(&self.words.sided_finding(finding))
                )
            })
            .collect();
        if !beside.is_empty() {
            self.put(&format!(
                "<br><span class=\"beside\">{} {}</span>",
                escape(labels.beside),
                beside.join(" ")
            ));
        }
        self.put("</figcaption></figure>\n");
    }

    pub(in super::super) fn agreement(&mut self, report: &Report) {
        let (words, labels, assessment) = (self.words, self.labels, &report.assessment);
        self.put(&format!(
            "<h2>{}</h2>\n<p><span class=\"badge {}\">{}</span> {}</p>\n",
            escape(labels.agreement_heading),
            serde_name(&assessment.verdict),
            words.verdict(assessment.verdict),
            escape(words.verdict_meaning(assessment.verdict))
        ));
        self.list(&words.reasons(report));
        let compared = self.compared(&assessment.image_regions, &assessment.symptom_regions);
        if compared.is_empty() {
            return;
        }
        self.put(&format!(
            "<table class=\"whole\"><thead><tr><th>{}</th><th class=\"number\">{}</th><th></th>\
             <th class=\"number\">{}</th><th></th></tr></thead><tbody>\n",
            labels.region, labels.image, labels.symptoms
        ));
        for (name, image, symptoms) in compared {
            self.put(&format!(
                "<tr><td>{}</td><td class=\"number\">{}</td><td>{}</td>\
                 <td class=\"number\">{}</td><td>{}</td></tr>\n",
                escape(&name),
                escape(&percent(image)),
                bar("", image),
                escape(&percent(symptoms)),
                bar("symptom", symptoms),
            ));
        }
        self.put("</tbody></table>\n");
    }

    /// Returns name, weight in the image and weight by the symptoms, of the regions that matter in
    /// either, by falling weight in the image.
    fn compared(
        &self,
        image: &[RegionProbability],
        symptoms: &[RegionProbability],
    ) -> Vec<(String, f64, f64)> {
        let mut weights: HashMap<&str, (String, f64, f64)> = HashMap::new();
        let name = |region: &RegionProbability| {
            (self.words.region(&region.region, &region.display_name), 0.0, 0.0)
        };
        for region in image {
            weights.entry(&region.region).or_insert_with(|| name(region)).1 += region.probability;
        }
        for region in symptoms {
            weights.entry(&region.region).or_insert_with(|| name(region)).2 += region.probability;
        }
        let mut compared: Vec<_> = weights
            .into_values()
            .filter(|(_, image, symptoms)| image.max(*symptoms) >= COMPARED_WEIGHT_MIN)
            .collect();
        let weight = |row: &(String, f64, f64)| row.1.max(row.2);
        compared.sort_by(|a, b| weight(b).total_cmp(&weight(a)).then_with(|| a.0.cmp(&b.0)));
        compared.truncate(COMPARED_REGIONS_MAX);
        compared.sort_by(|a, b| b.1.total_cmp(&a.1).then(b.2.total_cmp(&a.2)));
        compared
    }

    pub(in super::super) fn symptoms(&mut self, report: &Report) {
        let (labels, symptoms) = (self.labels, &report.symptoms);
        let text = escape(&symptoms.text);
        self.put(&format!(
            "<h2>{}</h2>\n<blockquote>{text}</blockquote>\n\
             <table class=\"symptoms\"><thead><tr><th></th><th>{}</th><th>{}</th><th>{}</th><th>{}</th><th>{}</th>\
             </tr></thead><tbody>\n",
            escape(labels.symptoms_heading),
            labels.fit,
            labels.finding,
            labels.side,
            labels.read_from,
            labels.why
        ));
        for (number, finding) in schematic::numbered(symptoms) {
            self.symptom(number, finding, report);
        }
        for piece in &symptoms.not_understood {
            self.put(&format!(
                "<tr><td></td><td class=\"fit unknown\">{}</td><td>-</td><td>-</td>\
                 <td>{}</td><td>{}</td></tr>\n",
                labels.not_understood,
                escape(piece),
                escape(labels.not_understood_why)
            ));
        }
        self.put("</tbody></table>\n");
    }

    fn symptom(&mut self, number: usize, finding: &Finding, report: &Report) {
        let words = self.words;
        // The name without its side, which has a column of its own.
        let name = words.sided_finding(&Finding { side: None, ..finding.clone() });
        self.put(&format!(
            "<tr><td>{}</td><td class=\"fit {}\">{}</td><td class=\"name\">{}<br>\
             <span class=\"muted\">{}</span></td><td class=\"side-name\">{}</td><td>{}</td><td>{}</td></tr>\n",
            schematic::tag_in_text(number, finding.fit),
            serde_name(&finding.fit),
            words.fit(finding.fit),
            escape(&name),
            escape(&finding.code),
            finding.side.map_or("-", |side| words.body_side(side)),
            escape(&finding.matched_text),
            escape(&words.finding_reason(finding, report)),
        ));
    }

    pub(in super::super) fn attention(&mut self, report: &Report) {
        let (words, labels, assessment) = (self.words, self.labels, &report.assessment);
        for (heading, lines) in [
            (labels.to_consider_heading, words.to_consider(assessment)),
            (labels.next_checks_heading, words.next_checks(assessment)),
        ] {
            if !lines.is_empty() {
                self.put(&format!("<section class=\"short\"><h2>{}</h2>\n", escape(heading)));
                self.list(&lines);
                self.put("</section>\n");
            }
        }
    }
}
