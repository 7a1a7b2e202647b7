//! The sections of the page on the image, from top to bottom.

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    super::{
        Image, Lesion, Outcome, Report, Space, Volumes,
        text::{escape, percent},
    },
    Outlines, Page, Pictures, bar,
};

mod assessment;
mod footer;
mod referral;

/// Regions of one lesion in the table at most; the rest are summed in one row.
const REGIONS_MAX: usize = 12;

impl Page {
    pub(super) fn header(&mut self, report: &Report) {
        let date = report.generated_at.get(..16).unwrap_or(&report.generated_at).replace('T', " ");
        let phantom = if report.study.phantom {
            format!("<br><b>{}</b>", escape(self.labels.phantom))
        } else {
            String::new()
        };
        self.put(&format!(
            "<header><h1><small>{}</small>{}</h1>\
             <dl><dt>{} </dt><dd>{} UTC</dd><br><dt>{} </dt><dd>{}</dd></dl></header>\n\
             <p class=\"notice\">{}{phantom}</p>\n",
            escape(self.labels.report),
            escape(&report.study.case),
            escape(self.labels.made),
            escape(&date),
            escape(self.labels.study),
            escape(&report.study.study_id),
            escape(self.labels.notice)
        ));
    }

    pub(super) fn finding(&mut self, report: &Report) {
        let (words, labels, assessment) = (self.words, self.labels, &report.assessment);
        let verdict = serde_name(&assessment.verdict);
        let agreement = assessment.concordance.map_or_else(String::new, |value| {
            format!(" <span class=\"muted\">{}</span>", escape(&words.agreement(value)))
        });
        let site = if assessment.confirmed_site.is_empty() {
            labels.not_determined.to_owned()
        } else {
            words.region(&assessment.confirmed_site, &assessment.confirmed_site_name)
        };
        let sure = report
            .image
            .uncertainty
            .map_or_else(|| "-".to_owned(), |value| words.of_one(value, words.uncertainty(value)));
        self.outcome(&report.image);
        self.put(&format!(
            "<section class=\"finding\"><div class=\"lead\">{}</div><div class=\"row\">\
             <div><span class=\"key\">{}</span>\
             <span class=\"badge {verdict}\">{}</span>{agreement}</div>\
             <div><span class=\"key\">{}</span><span class=\"value\">{}</span></div>\
             <div><span class=\"key\">{}</span>\
             <span class=\"value\">{}</span></div></div></section>\n",
            escape(&words.headline(&report.image)),
            escape(labels.image_and_symptoms),
            words.verdict(assessment.verdict),
            escape(labels.site_from_both),
            escape(&site),
            escape(labels.marking_uncertainty),
            escape(&sure),
        ));
        let signs = words.urgent_signs(assessment);
        // A sign without words of this language is among the sentences at the end.
        if !assessment.urgent_signs.is_empty() {
            self.put(&format!("<div class=\"urgent\"><b>{}</b>", escape(labels.urgent)));
            self.list(&signs);
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
        let name = self.words.outcome(outcome);
        self.put(&format!("<div class=\"outcome {class}\"><b>{name}</b>"));
        let reasons = self.words.outcome_reasons(image);
        if !reasons.is_empty() {
            self.list(&reasons);
        }
        self.put("</div>\n");
    }

    pub(super) fn list(&mut self, items: &[String]) {
        self.put("<ul>");
        for item in items {
            self.put(&format!("<li>{}</li>", escape(item)));
        }
        self.put("</ul>");
    }

    pub(super) fn slices(&mut self, report: &Report, pictures: &Pictures) {
        let labels = self.labels;
        if let Some(png) = &pictures.slices_png {
            self.put(&format!(
                "<figure><img alt=\"{}: {}\" src=\"data:image/png;base64,{}\">",
                escape(labels.slices_alt),
                escape(&self.words.headline(&report.image)),
                STANDARD.encode(png)
            ));
            self.put("<figcaption><span class=\"legend\">");
            self.classes(report.image.volumes);
            self.put(&format!("</span>{}</figcaption></figure>\n", escape(labels.slices_caption)));
        }
        if let Some(outlines) = &pictures.outlines {
            self.outlines(outlines);
        }
    }

    fn outlines(&mut self, outlines: &Outlines) {
        let labels = self.labels;
        self.put(&format!(
            "<figure><img alt=\"{}\" src=\"data:image/png;base64,{}\"><figcaption>\
             <span class=\"legend\">",
            escape(labels.outlines_alt),
            STANDARD.encode(&outlines.png)
        ));
        for (number, region) in outlines.regions.iter().enumerate() {
            let [red, green, blue] = region.rgb;
            let name = self.words.region(&region.region, &region.display_name);
            self.put(&format!(
                "<span class=\"entry\"><span class=\"outline-number\" \
                 style=\"color:rgb({red},{green},{blue})\">{}</span>{} {}</span>",
                number + 1,
                escape(&name),
                escape(&percent(region.share)),
            ));
        }
        self.put(&format!("</span>{}</figcaption></figure>\n", escape(labels.outlines_caption)));
    }

    pub(super) fn image(&mut self, image: &Image) {
        let labels = self.labels;
        self.put(&format!("<h2>{}</h2>\n", escape(labels.image_heading)));
        if image.space == Space::Unknown && !image.space_reason.is_empty() {
            let reason = escape(&self.words.space_reason(image));
            self.put(&format!("<p><b>{}</b> {reason}</p>\n", escape(labels.no_region_named)));
        }
        if let Some(known) = image.placement {
            let placement = escape(&self.words.placement(known));
            self.put(&format!("<p class=\"muted\">{placement}</p>\n"));
            if let Some(shift) = self.words.midline_shift(known) {
                self.put(&format!("<p>{}</p>\n", escape(&shift)));
            }
        }
        if image.lesions.is_empty() {
            self.put(&format!("<p>{}</p>\n", escape(labels.no_lesion)));
        }
        for (number, lesion) in image.lesions.iter().enumerate() {
            self.lesion(number + 1, image.lesions.len(), lesion);
        }
        if image.components_ignored > 0 {
            let told = escape(&self.words.small_components(image.components_ignored));
            self.put(&format!("<p class=\"muted\">{told}</p>\n"));
        }
    }

    fn lesion(&mut self, number: usize, count: usize, lesion: &Lesion) {
        let (words, labels) = (self.words, self.labels);
        let title = escape(&words.lesion_title(number, count, lesion));
        self.put(&format!("<section class=\"lesion\"><h3>{title}</h3>\n"));
        self.compartments(lesion.volumes);
        if let Some(value) = lesion.confidence {
            let told = words.of_one(value, words.confidence(value));
            let (number, rest) = told.split_at(told.find([' ', '/']).unwrap_or(told.len()));
            self.put(&format!(
                "<p>{} <b>{}</b>{}</p>\n",
                escape(labels.lesion_confidence),
                escape(number),
                escape(rest)
            ));
        }
        if !lesion.regions.is_empty() {
            self.regions(lesion);
        }
        self.put("</section>\n");
    }

    fn regions(&mut self, lesion: &Lesion) {
        let (words, labels) = (self.words, self.labels);
        self.put(&format!(
            "<table><thead><tr><th>{}</th><th>{}</th><th class=\"number unit\">ml</th>\
             <th class=\"number\">{}</th><th></th><th class=\"number\">{}</th>\
             <th></th><th>SNOMED CT</th></tr></thead><tbody>\n",
            labels.region, labels.side, labels.of_tumour, labels.of_core
        ));
        for region in lesion.regions.iter().take(REGIONS_MAX) {
            let uncertain = if region.is_uncertain {
                format!(" <span class=\"muted\">{}</span>", labels.uncertain)
            } else {
                String::new()
            };
            self.put(&format!(
                "<tr><td>{}{uncertain}</td><td>{}</td><td class=\"number\">{:.1}</td>\
                 <td class=\"number\">{}</td><td>{}</td><td class=\"number\">{}</td><td>{}</td>\
                 <td>{}</td></tr>\n",
                escape(&words.region(&region.region, &region.display_name)),
                region.side.map_or("-", |side| words.side(side)),
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
                "<tr><td class=\"muted\">{}</td><td></td>\
                 <td class=\"number\">{volume_ml:.1}</td><td class=\"number\">{}</td>\
                 <td colspan=\"4\"></td></tr>\n",
                escape(&words.more_regions(rest.len())),
                escape(&percent(share)),
            ));
        }
        self.put("</tbody></table>\n");
        if lesion.share_assigned_by_distance > 0.0 {
            let told = words.assigned_by_distance(lesion.share_assigned_by_distance);
            self.put(&format!("<p class=\"muted\">{}</p>\n", escape(&told)));
        }
        if lesion.regions.iter().take(REGIONS_MAX).any(|region| region.is_uncertain) {
            self.put(&format!("<p class=\"muted\">{}</p>\n", escape(labels.uncertain_note)));
        }
        let near = words.eloquent(lesion);
        if !near.is_empty() {
            self.put(&format!("<p>{} {}</p>\n", escape(labels.eloquent), escape(&near)));
        }
        let contacts = words.contacts(lesion);
        if !contacts.is_empty() {
            self.put(&format!("<p>{} {}.</p>\n", escape(labels.contacts), escape(&contacts)));
        }
    }

    fn compartments(&mut self, volumes: Volumes) {
        let parts = [
            ("necrotic", volumes.necrotic_core_ml),
            ("enhancing", volumes.enhancing_ml),
            ("oedema", volumes.oedema_ml),
        ];
        self.put("<div class=\"stack\">");
        for (class, ml) in parts {
            let width = 100.0 * ml / volumes.whole_ml.max(f64::MIN_POSITIVE);
            self.put(&format!("<i class=\"{class}\" style=\"width:{width:.1}%\"></i>"));
        }
        self.put("</div><p class=\"muted legend\">");
        self.classes(volumes);
        self.put("</p>\n");
    }

    /// Writes the colours of the marking with their volumes.
    fn classes(&mut self, volumes: Volumes) {
        let labels = self.labels;
        for (class, name, ml) in [
            ("necrotic", labels.necrotic_core, volumes.necrotic_core_ml),
            ("enhancing", labels.enhancing, volumes.enhancing_ml),
            ("oedema", labels.oedema, volumes.oedema_ml),
        ] {
            self.put(&format!(
                "<span class=\"entry\"><span class=\"swatch {class}\"></span>{name} {ml:.1} ml</span>"
            ));
        }
    }
}

/// Returns the name that `value`, a variant without fields, has in JSON.
fn serde_name(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value)
        .ok()
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}
