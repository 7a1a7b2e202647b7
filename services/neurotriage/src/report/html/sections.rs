//! The sections of the page, from top to bottom.

use std::collections::HashMap;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    super::{
        Finding, Fit, Hospital, Image, Lesion, Outcome, Referral, RegionProbability, Report, Space,
        Symptoms, Volumes,
        text::{
            bytes, confidence, contacts, eloquent, escape, midline_shift, percent, placement,
            seconds, side, uncertainty, words,
        },
    },
    Page, bar,
};

/// Regions of one lesion in the table at most; the rest are summed in one row.
const REGIONS_MAX: usize = 12;
/// Regions compared between image and symptoms at most.
const COMPARED_REGIONS_MAX: usize = 8;
/// Weight below which a region is left out of the comparison, 0 to 1.
const COMPARED_WEIGHT_MIN: f64 = 0.02;

impl Page {
    pub(super) fn header(&mut self, report: &Report) {
        let date = report.generated_at.get(..16).unwrap_or(&report.generated_at).replace('T', " ");
        let phantom = if report.study.phantom {
            "<br><b>Synthetic study (phantom): the images are of no patient.</b>"
        } else {
            ""
        };
        self.put(&format!(
            "<header><h1><small>NeuroTriage report</small>{}</h1>\
             <dl><dt>Made </dt><dd>{} UTC</dd><br><dt>Study </dt><dd>{}</dd></dl></header>\n\
             <p class=\"notice\">{}{phantom}</p>\n",
            escape(&report.study.case),
            escape(&date),
            escape(&report.study.study_id),
            escape(report.notice)
        ));
    }

    pub(super) fn finding(&mut self, report: &Report) {
        let assessment = &report.assessment;
        let verdict = serde_name(&assessment.verdict);
        let agreement = assessment.concordance.map_or_else(String::new, |value| {
            format!(" <span class=\"muted\">agreement of regions {value:.2} of 1</span>")
        });
        let site = if assessment.confirmed_site.is_empty() {
            "not determined".to_owned()
        } else {
            escape(&assessment.confirmed_site_name)
        };
        let sure = report.image.uncertainty.map_or_else(
            || "-".to_owned(),
            |value| format!("{value:.2} of 1 ({})", uncertainty(value)),
        );
        self.outcome(&report.image);
        self.put(&format!(
            "<section class=\"finding\"><div class=\"lead\">{}</div><div class=\"row\">\
             <div><span class=\"key\">Image and symptoms</span>\
             <span class=\"badge {verdict}\">{}</span>{agreement}</div>\
             <div><span class=\"key\">Site from both</span><span class=\"value\">{site}</span></div>\
             <div><span class=\"key\">Uncertainty of the marking</span>\
             <span class=\"value\">{sure}</span></div></div></section>\n",
            escape(&report.headline),
            assessment.verdict.display_name(),
        ));
        if !assessment.urgent_signs.is_empty() {
            self.put("<div class=\"urgent\"><b>Needs attention soon</b>");
            self.list(&assessment.urgent_signs);
            self.put("</div>\n");
        }
    }

    /// Writes that there is no tumour, or that it is not sure, and why.
    fn outcome(&mut self, image: &Image) {
        let (class, outcome) = match image.outcome {
            Some(outcome @ Outcome::NotSure) => ("not_sure", outcome),
            Some(outcome @ Outcome::NoTumourFound) => ("no_tumour", outcome),
            Some(Outcome::Tumour) | None => return,
        };
        self.put(&format!("<div class=\"outcome {class}\"><b>{}</b>", outcome.display_name()));
        if !image.outcome_reasons.is_empty() {
            self.list(&image.outcome_reasons);
        }
        self.put("</div>\n");
    }

    fn list(&mut self, items: &[String]) {
        self.put("<ul>");
        for item in items {
            self.put(&format!("<li>{}</li>", escape(item)));
        }
        self.put("</ul>");
    }

    pub(super) fn overlay(&mut self, report: &Report, overlay_png: Option<&[u8]>) {
        let Some(png) = overlay_png else { return };
        self.put(&format!(
            "<figure><img alt=\"Slices of the study with the marking: {}\" \
             src=\"data:image/png;base64,{}\"><figcaption>Slices through the marking in radiological \
             convention: the patient's right is on the left of the picture (R, L).</figcaption></figure>\n",
            escape(&report.headline),
            STANDARD.encode(png)
        ));
    }

    pub(super) fn image(&mut self, image: &Image) {
        self.put("<h2>What the image shows</h2>\n");
        if image.space == Space::Unknown && !image.space_reason.is_empty() {
            let reason = escape(&image.space_reason);
            self.put(&format!("<p><b>No region is named.</b> {reason}</p>\n"));
        }
        if let Some(known) = image.placement {
            self.put(&format!("<p class=\"muted\">{}</p>\n", escape(&placement(known))));
            if let Some(shift) = midline_shift(known) {
                self.put(&format!("<p>{}</p>\n", escape(&shift)));
            }
        }
        if image.lesions.is_empty() {
            self.put("<p>No lesion was found.</p>\n");
        }
        for (number, lesion) in image.lesions.iter().enumerate() {
            self.lesion(number + 1, image.lesions.len(), lesion);
        }
        if image.components_ignored > 0 {
            let count = image.components_ignored;
            self.put(&format!(
                "<p class=\"muted\">{count} small component(s) not counted as lesions.</p>\n"
            ));
        }
    }

    fn lesion(&mut self, number: usize, count: usize, lesion: &Lesion) {
        let crossing = if lesion.crosses_midline {
            format!(", {} across the midline", percent(lesion.share_across_midline))
        } else {
            String::new()
        };
        let sides = lesion.side.map_or_else(String::new, |side| format!(", {side}"));
        self.put(&format!(
            "<h3>Lesion {number} of {count}: {:.1} ml, longest diameter {:.0} mm{sides}{crossing}</h3>\n",
            lesion.volumes.whole_ml, lesion.diameter_max_mm,
        ));
        self.compartments(lesion.volumes);
        if let Some(value) = lesion.confidence {
            let word = confidence(value);
            self.put(&format!(
                "<p>Confidence in this lesion: <b>{value:.2}</b> of 1 ({word})</p>\n"
            ));
        }
        if lesion.regions.is_empty() {
            return;
        }
        self.put(
            "<table><thead><tr><th>Region</th><th>Side</th><th class=\"number\">ml</th>\
             <th class=\"number\">Of the tumour</th><th></th><th class=\"number\">Of the core</th>\
             <th></th><th>SNOMED CT</th></tr></thead><tbody>\n",
        );
        for region in lesion.regions.iter().take(REGIONS_MAX) {
            self.put(&format!(
                "<tr><td>{}{}</td><td>{}</td><td class=\"number\">{:.1}</td>\
                 <td class=\"number\">{}</td><td>{}</td><td class=\"number\">{}</td><td>{}</td>\
                 <td>{}</td></tr>\n",
                escape(&region.display_name),
                if region.is_uncertain { " <span class=\"muted\">uncertain</span>" } else { "" },
                side(region.side),
                region.volume_ml,
                escape(&percent(region.share)),
                bar("", region.share),
                escape(&percent(region.core_share)),
                bar("core", region.core_share),
                escape(&region.snomed_code),
            ));
        }
        let rest = lesion.regions.get(REGIONS_MAX..).unwrap_or_default();
        if !rest.is_empty() {
            let volume_ml: f64 = rest.iter().map(|region| region.volume_ml).sum();
            let share: f64 = rest.iter().map(|region| region.share).sum();
            self.put(&format!(
                "<tr><td class=\"muted\">{} more, in report.json</td><td></td>\
                 <td class=\"number\">{volume_ml:.1}</td><td class=\"number\">{}</td>\
                 <td colspan=\"4\"></td></tr>\n",
                rest.len(),
                escape(&percent(share)),
            ));
        }
        self.put("</tbody></table>\n");
        if lesion.share_assigned_by_distance > 0.0 {
            self.put(&format!(
                "<p class=\"muted\">{} of the lesion lay on no region of the atlas and was given to \
                 the nearest.</p>\n",
                escape(&percent(lesion.share_assigned_by_distance))
            ));
        }
        if lesion.regions.iter().take(REGIONS_MAX).any(|region| region.is_uncertain) {
            self.put(
                "<p class=\"muted\">Uncertain: less than half of it if the study lies a few \
                 millimetres off.</p>\n",
            );
        }
        let near = eloquent(lesion);
        if !near.is_empty() {
            self.put(&format!("<p>Eloquent areas: {}</p>\n", escape(&near)));
        }
        let contacts = contacts(lesion);
        if !contacts.is_empty() {
            self.put(&format!("<p>The lesion {}.</p>\n", escape(&contacts)));
        }
    }

    fn compartments(&mut self, volumes: Volumes) {
        let parts = [
            ("necrotic", "necrotic core", volumes.necrotic_core_ml),
            ("enhancing", "enhancing", volumes.enhancing_ml),
            ("oedema", "oedema", volumes.oedema_ml),
        ];
        self.put("<div class=\"stack\">");
        for (class, _, ml) in parts {
            let width = 100.0 * ml / volumes.whole_ml.max(f64::MIN_POSITIVE);
            self.put(&format!("<i class=\"{class}\" style=\"width:{width:.1}%\"></i>"));
        }
        self.put("</div><p class=\"muted\">");
        for (class, name, ml) in parts {
            self.put(&format!("<span class=\"swatch {class}\"></span>{name} {ml:.1} ml"));
        }
        self.put("</p>\n");
    }

    pub(super) fn agreement(&mut self, report: &Report) {
        let assessment = &report.assessment;
        self.put(&format!(
            "<h2>Do image and symptoms agree?</h2>\n<p><span class=\"badge {}\">{}</span> {}</p>\n",
            serde_name(&assessment.verdict),
            assessment.verdict.display_name(),
            assessment.verdict.meaning()
        ));
        let reasons: Vec<String> = report.reasons_of_their_own().map(str::to_owned).collect();
        self.list(&reasons);
        let compared = compared(&assessment.image_regions, &assessment.symptom_regions);
        if compared.is_empty() {
            return;
        }
        self.put(
            "<table><thead><tr><th>Region</th><th class=\"number\">Image</th><th></th>\
             <th class=\"number\">Symptoms</th><th></th></tr></thead><tbody>\n",
        );
        for (name, image, symptoms) in compared {
            self.put(&format!(
                "<tr><td>{}</td><td class=\"number\">{}</td><td>{}</td>\
                 <td class=\"number\">{}</td><td>{}</td></tr>\n",
                escape(name),
                escape(&percent(image)),
                bar("", image),
                escape(&percent(symptoms)),
                bar("symptom", symptoms),
            ));
        }
        self.put("</tbody></table>\n");
    }

    pub(super) fn symptoms(&mut self, symptoms: &Symptoms) {
        let text = escape(&symptoms.text);
        self.put(&format!("<h2>Symptoms</h2>\n<blockquote>{text}</blockquote>\n"));
        self.put(
            "<table><thead><tr><th>Fit</th><th>Finding</th><th>Side</th><th>Read from</th>\
             <th>Why</th></tr></thead><tbody>\n",
        );
        for fit in Fit::ALL {
            for finding in symptoms.findings.iter().filter(|finding| finding.fit == fit) {
                self.symptom(finding);
            }
        }
        for piece in &symptoms.not_understood {
            self.put(&format!(
                "<tr><td class=\"fit unknown\">not understood</td><td>-</td><td>-</td>\
                 <td>{}</td><td>Not compared; a clinician should read it.</td></tr>\n",
                escape(piece)
            ));
        }
        self.put("</tbody></table>\n");
    }

    fn symptom(&mut self, finding: &Finding) {
        self.put(&format!(
            "<tr><td class=\"fit {}\">{}</td><td class=\"name\">{}<br><span class=\"muted\">{}</span></td>\
             <td>{}</td><td>{}</td><td>{}</td></tr>\n",
            serde_name(&finding.fit),
            finding.fit.display_name(),
            escape(&finding.display_name),
            escape(&finding.code),
            side(finding.side),
            escape(&finding.matched_text),
            escape(&finding.reason),
        ));
    }

    pub(super) fn attention(&mut self, report: &Report) {
        let assessment = &report.assessment;
        for (heading, lines) in [
            ("What else to consider", &assessment.to_consider),
            ("What to check next", &assessment.next_checks),
        ] {
            if !lines.is_empty() {
                self.put(&format!("<h2>{heading}</h2>\n"));
                self.list(lines);
            }
        }
    }

    pub(super) fn hospitals(&mut self, referral: &Referral) {
        self.put("<h2>Hospitals</h2>\n");
        if !referral.reason.is_empty() {
            self.put(&format!("<p>{}</p>\n", escape(&referral.reason)));
        }
        for (rank, hospital) in referral.hospitals.iter().enumerate() {
            self.hospital(rank + 1, hospital);
        }
    }

    fn hospital(&mut self, rank: usize, hospital: &Hospital) {
        let distance = hospital.distance_km.map_or_else(String::new, |km| format!(", {km:.0} km"));
        // The explanations of the factors say the same, each beside its bar.
        let reason = if hospital.factors.is_empty() {
            format!("<p>{}</p>", escape(&hospital.reason))
        } else {
            String::new()
        };
        self.put(&format!(
            "<article class=\"hospital\"><div class=\"top\"><h3><span class=\"rank\">{rank}</span>{} \
             <span class=\"muted\">{}{distance}</span></h3><span class=\"score\">score {:.2}</span></div>\
             {reason}<table>",
            escape(&hospital.name),
            escape(&hospital.city),
            hospital.score,
        ));
        for factor in &hospital.factors {
            self.put(&format!(
                "<tr><td>{}</td><td>{}</td><td class=\"number\">{:.2} &times; {:.2}</td><td>{}</td></tr>",
                escape(&words(&factor.name)),
                bar("score", factor.value),
                factor.value,
                factor.weight,
                escape(&factor.explanation),
            ));
        }
        self.put("</table><div class=\"tags\">");
        for capability in &hospital.capabilities {
            self.put(&format!("<span>{}</span>", escape(&words(capability))));
        }
        self.put("</div></article>\n");
    }

    pub(super) fn footer(&mut self, report: &Report) {
        let (study, model, run) = (&report.study, &report.model, &report.run);
        let shape: Vec<String> = study.shape.iter().map(u32::to_string).collect();
        let spacing: Vec<String> = study.spacing_mm.iter().map(|mm| format!("{mm:.2}")).collect();
        let steps: Vec<String> = run
            .steps
            .iter()
            .map(|step| format!("{} {}", step.name, seconds(step.seconds)))
            .collect();
        let memory = run
            .peak_memory_bytes
            .map_or_else(String::new, |peak| format!("; peak memory {}", bytes(peak)));
        let files: Vec<&str> = study.files.iter().map(|file| file.file_name.as_str()).collect();
        let rows = [
            (
                "Model",
                format!("{} on {}, weights {}", model.model_id, model.device, model.weights_sha256),
            ),
            ("Preprocessing", format!("{}, version {}", model.profile, model.profile_version)),
            ("Atlas", report.image.atlas.clone()),
            ("Evidence table", report.assessment.evidence_version.clone()),
            ("Symptom lexicon", report.symptoms.lexicon_version.clone()),
            ("Files", files.join(", ")),
            (
                "Grid",
                format!(
                    "{} voxels, {} mm, {}",
                    shape.join(" x "),
                    spacing.join(" x "),
                    study.orientation
                ),
            ),
            ("Patient", study.patient_id.clone()),
            ("Assessment", study.assessment_id.clone()),
            ("Segmentation", study.segmentation_id.clone()),
            ("Time", format!("{} ({}){memory}", seconds(run.total_seconds), steps.join(", "))),
            ("Software", format!("{} {}", report.software.name, report.software.version)),
        ];
        self.put("<h2>Made with</h2>\n<table class=\"provenance\">");
        for (name, value) in rows {
            self.put(&format!("<tr><td>{name}</td><td>{}</td></tr>", escape(&value)));
        }
        let notice = escape(report.notice);
        self.put(&format!("</table>\n<footer>{notice}</footer>\n"));
    }
}

/// Returns the name that `value`, a variant without fields, has in JSON.
fn serde_name(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}

/// Returns name, weight in the image and weight by the symptoms, of the regions that matter in
/// either, by falling weight in the image.
fn compared<'a>(
    image: &'a [RegionProbability],
    symptoms: &'a [RegionProbability],
) -> Vec<(&'a str, f64, f64)> {
    let mut weights: HashMap<&str, (&str, f64, f64)> = HashMap::new();
    for region in image {
        let entry = weights.entry(&region.region).or_insert((&region.display_name, 0.0, 0.0));
        entry.1 += region.probability;
    }
    for region in symptoms {
        let entry = weights.entry(&region.region).or_insert((&region.display_name, 0.0, 0.0));
        entry.2 += region.probability;
    }
    let mut compared: Vec<_> = weights
        .into_values()
        .filter(|(_, image, symptoms)| image.max(*symptoms) >= COMPARED_WEIGHT_MIN)
        .collect();
    let weight = |row: &(&str, f64, f64)| row.1.max(row.2);
    compared.sort_by(|a, b| weight(b).total_cmp(&weight(a)).then_with(|| a.0.cmp(b.0)));
    compared.truncate(COMPARED_REGIONS_MAX);
    compared.sort_by(|a, b| b.1.total_cmp(&a.1).then(b.2.total_cmp(&a.2)));
    compared
}
