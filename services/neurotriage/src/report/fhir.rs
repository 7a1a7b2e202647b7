//! The report as a FHIR R4B DiagnosticReport with contained Observations and the Device that made them.
//!
//! The patient is named by an id alone, and nothing that the patient wrote is in its fields; the page that
//! it presents quotes the symptoms. Its status is `preliminary`: no person has read the images.

#[cfg(test)]
mod tests;

use base64::{Engine, engine::general_purpose::STANDARD};
use neurotriage_anatomy::snomed_concept;
use neurotriage_domain::{RegionName, Side};
use neurotriage_fhir::{
    code::{
        LOINC, SECTION, SIDE, SNOMED, body_side_concept, finding_system, own, presence,
        side_concept,
    },
    element::{coded, quantity, ratio, uri_identifier},
};
use serde_json::{Value, json};

use super::{
    Finding, Fit, Language, Lesion, RegionShare, Report, Verdict, Volumes,
    language::Wording,
    text::{escape, plain},
};

/// Most bytes of a page that goes into the resource; a larger one is named only. Servers take some
/// megabytes of a resource, and base64 adds a third.
const PAGE_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Name of the page beside the resource.
const PAGE_NAME: &str = "report.html";
/// Regions of one lesion at most.
const REGIONS_MAX: usize = 12;

/// Returns the report as indented JSON that ends with a line feed; `page` is the HTML rendering.
///
/// # Errors
/// If a value can't be written as JSON; none that is made here is of that kind.
pub fn render(
    report: &Report,
    page: &str,
    language: Language,
) -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string_pretty(&resource(report, page, language))?;
    text.push('\n');
    Ok(text)
}

fn resource(report: &Report, page: &str, language: Language) -> Value {
    let words = language.wording();
    let maker = Maker { report, words };
    let mut contained = vec![device(report, words)];
    let mut observations = vec![maker.verdict(), maker.volumes()];
    let lesions = report.image.lesions.iter().enumerate();
    observations.extend(lesions.map(|(at, lesion)| maker.lesion(at + 1, lesion)));
    let findings = report.symptoms.findings.iter().enumerate();
    observations.extend(findings.map(|(at, finding)| maker.finding(at + 1, finding)));
    let results: Vec<Value> = observations
        .iter()
        .filter_map(|observation| observation["id"].as_str())
        .map(|id| json!({"reference": format!("#{id}")}))
        .collect();
    contained.extend(observations);
    let conclusion = conclusion(report, words);
    json!({
        "resourceType": "DiagnosticReport",
        "id": report.study.assessment_id,
        "language": language.tag(),
        "text": {"status": "generated", "div": narrative(report, words, language)},
        "contained": contained,
        "identifier": [identifier(&report.study.assessment_id)],
        "status": "preliminary",
        "category": [{"coding": [{
            "system": SECTION,
            "code": "RAD",
            "display": "Radiology",
        }]}],
        "code": {
            "coding": [
                {"system": LOINC, "code": "24590-2", "display": "MR Brain"},
                {"system": LOINC, "code": "18748-4", "display": "Diagnostic imaging study"},
            ],
            "text": words.labels().report,
        },
        "subject": patient(report),
        "issued": report.generated_at,
        "result": results,
        "imagingStudy": [{
            "type": "ImagingStudy",
            "identifier": identifier(&report.study.study_id),
        }],
        "conclusion": conclusion,
        "conclusionCode": [verdict_concept(report.assessment.verdict, words)],
        "presentedForm": [presented(page, language)],
    })
}

fn identifier(uuid: &str) -> Value {
    uri_identifier(&format!("urn:uuid:{uuid}"))
}

fn patient(report: &Report) -> Value {
    json!({"type": "Patient", "identifier": identifier(&report.study.patient_id)})
}

fn presented(page: &str, language: Language) -> Value {
    let mut form = json!({
        "contentType": "text/html; charset=utf-8",
        "language": language.tag(),
        "title": PAGE_NAME,
        "size": page.len(),
    });
    if page.len() <= PAGE_BYTES_MAX {
        form["data"] = json!(STANDARD.encode(page));
    } else {
        form["url"] = json!(PAGE_NAME);
    }
    form
}

/// Returns what the report says, in sentences.
fn conclusion(report: &Report, words: &dyn Wording) -> String {
    let assessment = &report.assessment;
    let mut sentences = vec![
        words.labels().notice.to_owned(),
        words.headline(&report.image),
        format!(
            "{}: {}. {}",
            words.labels().image_and_symptoms,
            words.verdict(assessment.verdict),
            words.verdict_meaning(assessment.verdict)
        ),
    ];
    sentences.extend(words.urgent_signs(assessment));
    sentences.join("\n")
}

/// Returns the same as XHTML, with the hospitals.
fn narrative(report: &Report, words: &dyn Wording, language: Language) -> String {
    let mut paragraphs: Vec<String> =
        conclusion(report, words).lines().map(|line| format!("<p>{}</p>", escape(line))).collect();
    paragraphs.push(list(&words.reasons(report)));
    if !report.referral.hospitals.is_empty() {
        paragraphs.push(format!("<p>{}</p>", escape(words.labels().hospitals_heading)));
        let hospitals: Vec<String> = report
            .referral
            .hospitals
            .iter()
            .map(|hospital| format!("{} ({})", plain(&hospital.name), words.score(hospital.score)))
            .collect();
        paragraphs.push(list(&hospitals));
    }
    format!(
        "<div xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"{language}\" xml:lang=\"{language}\">{}</div>",
        paragraphs.concat()
    )
}

fn list(items: &[String]) -> String {
    if items.is_empty() {
        return String::new();
    }
    let items: Vec<String> =
        items.iter().map(|item| format!("<li>{}</li>", escape(item))).collect();
    format!("<ul>{}</ul>", items.concat())
}

fn device(report: &Report, words: &dyn Wording) -> Value {
    let model = &report.model;
    let versions = [
        ("software", report.software.version),
        ("model", &model.model_id),
        ("model weights, SHA-256", &model.weights_sha256),
        ("atlas", &report.image.atlas),
        ("evidence table", &report.assessment.evidence_version),
        ("symptom lexicon", &report.symptoms.lexicon_version),
        ("ranking rules", &report.referral.ranking_version),
    ];
    let versions: Vec<Value> = versions
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| json!({"type": {"text": name}, "value": value}))
        .collect();
    json!({
        "resourceType": "Device",
        "id": "software",
        "deviceName": [{"name": "NeuroTriage", "type": "user-friendly-name"}],
        "type": {"text": "software, decision support for research use"},
        "version": versions,
        "note": [{"text": words.labels().notice}],
    })
}

fn verdict_concept(verdict: Verdict, words: &dyn Wording) -> Value {
    let code = match verdict {
        Verdict::Concordant => "concordant",
        Verdict::PartlyConcordant => "partly-concordant",
        Verdict::Discordant => "discordant",
        Verdict::InsufficientEvidence => "insufficient-evidence",
    };
    own(code, words.verdict(verdict))
}

struct Maker<'a> {
    report: &'a Report,
    words: &'a dyn Wording,
}

impl Maker<'_> {
    fn observation(&self, id: &str, code: Value) -> Value {
        json!({
            "resourceType": "Observation",
            "id": id,
            "status": "preliminary",
            "code": code,
            "subject": patient(self.report),
            "issued": self.report.generated_at,
            "device": {"reference": "#software"},
        })
    }

    /// Returns a region as a site of the body, with its code where it has one.
    fn site(&self, region: &str, display_name: &str) -> Value {
        let text = self.words.region(region, display_name);
        let concept =
            region.parse::<RegionName>().ok().and_then(|name| snomed_concept(name.structure));
        match concept {
            Some(concept) => json!({
                "coding": [{"system": SNOMED, "code": concept.code, "display": concept.display}],
                "text": text,
            }),
            None => json!({"text": text}),
        }
    }

    fn side(&self, side: Side) -> Value {
        json!({
            "code": own(SIDE, self.words.labels().side),
            "valueCodeableConcept": side_concept(side, self.words.side(side)),
        })
    }

    fn verdict(&self) -> Value {
        let (words, assessment) = (self.words, &self.report.assessment);
        let mut observation = self
            .observation("verdict", own("image-and-symptoms", words.labels().image_and_symptoms));
        observation["valueCodeableConcept"] = verdict_concept(assessment.verdict, words);
        let mut components = Vec::new();
        if let Some(concordance) = assessment.concordance {
            components.push(json!({
                "code": own("concordance", &words.agreement(concordance)),
                "valueQuantity": ratio(concordance),
            }));
        }
        if let Ok(site) = assessment.confirmed_site.parse::<RegionName>() {
            observation["bodySite"] =
                self.site(&assessment.confirmed_site, &assessment.confirmed_site_name);
            components.push(self.side(site.side));
        }
        if !components.is_empty() {
            observation["component"] = json!(components);
        }
        let notes: Vec<Value> =
            words.reasons(self.report).into_iter().map(|reason| json!({"text": reason})).collect();
        if !notes.is_empty() {
            observation["note"] = json!(notes);
        }
        observation
    }

    fn volumes(&self) -> Value {
        let image = &self.report.image;
        let mut observation =
            self.observation("volumes", own("tumour-volume", "tumour volume, all lesions"));
        observation["valueQuantity"] = quantity(image.volumes.whole_ml, "mL");
        observation["component"] = json!(self.tissues(image.volumes));
        observation
    }

    fn tissues(&self, volumes: Volumes) -> Vec<Value> {
        let labels = self.words.labels();
        [
            ("necrotic-core-volume", labels.necrotic_core, volumes.necrotic_core_ml),
            ("oedema-volume", labels.oedema, volumes.oedema_ml),
            ("enhancing-tumour-volume", labels.enhancing, volumes.enhancing_ml),
        ]
        .into_iter()
        .map(|(code, text, ml)| {
            json!({"code": own(code, text), "valueQuantity": quantity(ml, "mL")})
        })
        .collect()
    }

    fn lesion(&self, number: usize, lesion: &Lesion) -> Value {
        let words = self.words;
        let title = words.lesion_title(number, self.report.image.lesions.len(), lesion);
        let mut observation =
            self.observation(&format!("lesion-{number}"), own("lesion-volume", &title));
        observation["valueQuantity"] = quantity(lesion.volumes.whole_ml, "mL");
        let main = lesion.regions.iter().find(|region| region.region == lesion.main_region);
        if let Some(main) = main {
            observation["bodySite"] = self.site(&main.region, &main.display_name);
        }
        let mut components = self.tissues(lesion.volumes);
        components.push(json!({
            "code": {"coding": [{
                "system": LOINC,
                "code": "33728-7",
                "display": "Size.maximum dimension in Tumor",
            }]},
            "valueQuantity": quantity(lesion.diameter_max_mm, "mm"),
        }));
        components.extend(lesion.side.map(|side| self.side(side)));
        if let Some(confidence) = lesion.confidence {
            components.push(json!({
                "code": own("confidence", words.labels().lesion_confidence),
                "valueQuantity": ratio(confidence),
            }));
        }
        components.extend(lesion.regions.iter().take(REGIONS_MAX).map(|share| self.share(share)));
        observation["component"] = json!(components);
        observation
    }

    fn share(&self, share: &RegionShare) -> Value {
        json!({
            "code": self.site(&share.region, &share.display_name),
            "valueQuantity": quantity(share.volume_ml, "mL"),
        })
    }

    fn finding(&self, number: usize, finding: &Finding) -> Value {
        let words = self.words;
        let text = words.sided_finding(finding);
        let mut code = json!({"text": text});
        if !finding.code.is_empty() {
            let system = finding_system(&finding.code);
            code["coding"] = json!([coded(system, &finding.code, None)]);
        }
        let mut observation = self.observation(&format!("finding-{number}"), code);
        let is_present = match finding.fit {
            Fit::Denied => false,
            Fit::Explained | Fit::Unexplained | Fit::NotLocalising | Fit::NotCompared => true,
        };
        observation["valueCodeableConcept"] = presence(is_present);
        let mut components = vec![json!({
            "code": own("fit", words.labels().fit),
            "valueCodeableConcept": own(fit_code(finding.fit), words.fit(finding.fit)),
        })];
        components.extend(finding.side.map(|side| {
            json!({
                "code": own(SIDE, words.labels().side),
                "valueCodeableConcept": body_side_concept(side, words.body_side(side)),
            })
        }));
        observation["component"] = json!(components);
        observation
    }
}

fn fit_code(fit: Fit) -> &'static str {
    match fit {
        Fit::Explained => "explained",
        Fit::Unexplained => "unexplained",
        Fit::NotLocalising => "not-localising",
        Fit::Denied => "denied",
        Fit::NotCompared => "not-compared",
    }
}
