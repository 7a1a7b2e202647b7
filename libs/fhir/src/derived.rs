//! What software derived: ImagingStudy, Observation, Condition, DiagnosticReport, ServiceRequest,
//! Organization, Device, Provenance.

use std::collections::BTreeMap;

use neurotriage_domain::Side;
use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    NOTICE,
    code::{
        DICOM, HOSPITAL_ID, LATERALITY, LOINC, OWN, PARTICIPANT, REFERRAL_STATE, REFERRER, SECTION,
        SIDE, SNOMED, VERIFICATION, own, side_concept,
    },
    element::{
        coded, concept, narrative, quantity, ratio, uri_identifier, uuid_uri, without_empty,
    },
    story::{
        Assessment, Hospital, Lesion, Outcome, Referral, ReferralStatus, Region, Segmentation,
        Study, Verdict, Volumes, Writer, derived_id,
    },
    time_text::{day, instant},
};

/// Regions of one lesion at most.
const REGIONS_MAX: usize = 12;

/// Returns the resources, those that others refer to first.
pub(crate) fn resources(writer: &Writer<'_>, now: OffsetDateTime) -> Vec<Value> {
    let story = writer.story;
    let mut resources: Vec<Value> =
        story.studies.iter().map(|study| imaging_study(writer, study)).collect();
    let mut devices = BTreeMap::new();
    let mut provenances = Vec::new();
    for one in &story.segmentations {
        let (device_id, device) = model_device(writer, one);
        devices.insert(device_id, device);
        let made = Made { device_id, at: one.created_at.unwrap_or(now) };
        let lesions = lesions(writer, one, &made);
        let sources = vec![writer.reference("ImagingStudy", one.study_id)];
        provenances.push(provenance(&made, one.segmentation_id, &lesions, sources));
        resources.extend(lesions);
    }
    for one in &story.assessments {
        let (device_id, device) = rules_device(writer, one);
        devices.insert(device_id, device);
        let made = Made { device_id, at: one.created_at };
        let derived = vec![verdict(writer, one, &made), diagnostic_report(writer, one, &made)];
        let sources = vec![
            writer.reference("Observation", one.symptom_report_id),
            writer.reference("Observation", one.segmentation_id),
        ];
        provenances.push(provenance(&made, one.assessment_id, &derived, sources));
        resources.extend(derived);
    }
    for stored in &story.reports {
        if !stored.from_text.contains(&true) {
            continue;
        }
        let (device_id, device) = lexicon_device(writer, &stored.lexicon_version);
        devices.insert(device_id, device);
        let made = Made { device_id, at: stored.created_at.unwrap_or(now) };
        let read: Vec<Value> = (0..stored.report.findings.len())
            .filter(|place| stored.from_text.get(*place) == Some(&true))
            .map(|place| json!({ "resourceType": "Observation", "id": crate::finding::finding_id(stored, place) }))
            .collect();
        let sources = vec![writer.reference("Observation", stored.symptom_report_id)];
        provenances.push(provenance(&made, stored.symptom_report_id, &read, sources));
    }
    resources.extend(story.hospitals.iter().map(organization));
    resources.extend(story.referrals.iter().map(|referral| service_request(writer, referral)));
    resources.extend(devices.into_values());
    resources.extend(provenances);
    resources
}

/// By what and when something was derived.
struct Made {
    device_id: Uuid,
    at: OffsetDateTime,
}

impl Made {
    fn device(&self) -> Value {
        json!({ "reference": uuid_uri(self.device_id), "type": "Device" })
    }
}

fn imaging_study(writer: &Writer<'_>, study: &Study) -> Value {
    let series = |sequence: &String| {
        // A DICOM UID that is derived from a UUID (PS3.5, B.2): there is none in the files.
        let uid = derived_id(&format!("series/{}/{sequence}", study.study_id)).as_u128();
        json!({
            "uid": format!("2.25.{uid}"),
            "modality": coded(DICOM, "MR", Some("Magnetic Resonance")),
            "description": sequence,
        })
    };
    let mut identifiers = vec![uri_identifier(&uuid_uri(study.study_id))];
    if !study.accession.is_empty() {
        identifiers.push(json!({ "use": "secondary", "value": study.accession }));
    }
    let is_kept = !study.sequences.is_empty();
    without_empty(json!({
        "resourceType": "ImagingStudy",
        "id": study.study_id,
        "identifier": identifiers,
        "status": if is_kept { "available" } else { "unknown" },
        "modality": [coded(DICOM, "MR", Some("Magnetic Resonance"))],
        "subject": writer.subject(),
        "started": study.acquired_on.map(day),
        "numberOfSeries": is_kept.then_some(study.sequences.len()),
        "description": (!study.description.is_empty()).then_some(&study.description),
        "series": study.sequences.iter().map(series).collect::<Vec<_>>(),
    }))
}

fn observation(writer: &Writer<'_>, made: &Made, id: Uuid, code: Value) -> Value {
    json!({
        "resourceType": "Observation",
        "id": id,
        "status": "preliminary",
        "code": code,
        "subject": writer.subject(),
        "issued": instant(made.at),
        "device": made.device(),
    })
}

fn notes<'a>(texts: impl IntoIterator<Item = &'a str>) -> Value {
    let notes: Vec<Value> = texts.into_iter().map(|text| json!({ "text": text })).collect();
    json!(notes)
}

/// The segmentation as a whole, then each lesion as an Observation and a Condition.
fn lesions(writer: &Writer<'_>, one: &Segmentation, made: &Made) -> Vec<Value> {
    let total = one.lesions.iter().fold(Volumes::default(), |sum, lesion| Volumes {
        whole_ml: sum.whole_ml + lesion.volumes.whole_ml,
        necrotic_core_ml: sum.necrotic_core_ml + lesion.volumes.necrotic_core_ml,
        oedema_ml: sum.oedema_ml + lesion.volumes.oedema_ml,
        enhancing_ml: sum.enhancing_ml + lesion.volumes.enhancing_ml,
    });
    let outcome = match one.outcome {
        Outcome::Unsaid => None,
        Outcome::Tumour => Some(("tumour", "tumour, as marked")),
        Outcome::NoTumourFound => Some(("no-tumour-found", "no tumour found")),
        Outcome::NotSure => Some(("not-sure", "not sure: a person must look")),
    };
    let mut components = tissues(total);
    components.extend(outcome.map(|(code, text)| {
        json!({ "code": own("outcome", "outcome"), "valueCodeableConcept": own(code, text) })
    }));
    let source = writer.reference("ImagingStudy", one.study_id);
    let code = own("tumour-volume", "tumour volume, all lesions");
    let mut whole = observation(writer, made, one.segmentation_id, code);
    whole["valueQuantity"] = quantity(total.whole_ml, "mL");
    whole["component"] = json!(components);
    whole["derivedFrom"] = json!([source]);
    let reasons = one.outcome_reasons.iter().map(String::as_str);
    whole["note"] = notes(std::iter::once(NOTICE).chain(reasons));
    let mut resources = vec![whole];
    for (place, lesion) in one.lesions.iter().enumerate() {
        let id = lesion_id(one, place);
        resources.push(lesion_observation(writer, made, id, &source, lesion));
        // What may not be there is no condition.
        if matches!(one.outcome, Outcome::Tumour | Outcome::Unsaid) {
            resources.push(lesion_condition(writer, made, id, lesion));
        }
    }
    resources
}

fn lesion_id(one: &Segmentation, place: usize) -> Uuid {
    derived_id(&format!("lesion/{}/{place}", one.segmentation_id))
}

fn tissues(volumes: Volumes) -> Vec<Value> {
    [
        ("necrotic-core-volume", "necrotic core", volumes.necrotic_core_ml),
        ("oedema-volume", "oedema", volumes.oedema_ml),
        ("enhancing-tumour-volume", "enhancing tumour", volumes.enhancing_ml),
    ]
    .into_iter()
    .map(|(code, text, ml)| json!({ "code": own(code, text), "valueQuantity": quantity(ml, "mL") }))
    .collect()
}

/// A region as a site of the body: SNOMED CT where it has a code, and this project's own.
fn site(name: &str, display_name: &str, snomed_code: &str) -> Value {
    let mut codings = Vec::new();
    if !snomed_code.is_empty() {
        codings.push(coded(SNOMED, snomed_code, None));
    }
    codings.push(coded(OWN, name, None));
    let text = if display_name.is_empty() { name } else { display_name };
    json!({ "coding": codings, "text": text })
}

fn main_region(lesion: &Lesion) -> Option<&Region> {
    lesion.regions.iter().find(|region| region.name == lesion.main_region)
}

fn side_component(side: Side) -> Value {
    json!({
        "code": own(SIDE, "side"),
        "valueCodeableConcept": side_concept(side, side.as_str()),
    })
}

fn lesion_observation(
    writer: &Writer<'_>,
    made: &Made,
    id: Uuid,
    source: &Value,
    lesion: &Lesion,
) -> Value {
    let mut resource = observation(writer, made, id, own("lesion-volume", "volume of one lesion"));
    resource["valueQuantity"] = quantity(lesion.volumes.whole_ml, "mL");
    if let Some(region) = main_region(lesion) {
        resource["bodySite"] = site(&region.name, &region.display_name, &region.snomed_code);
    }
    let mut components = tissues(lesion.volumes);
    components.push(json!({
        "code": { "coding": [coded(LOINC, "33728-7", Some("Size.maximum dimension in Tumor"))] },
        "valueQuantity": quantity(lesion.diameter_max_mm, "mm"),
    }));
    components.extend(lesion.side.map(side_component));
    if let Some(confidence) = lesion.confidence {
        components.push(json!({
            "code": own("confidence", "how far the lesion may be trusted; no probability"),
            "valueQuantity": ratio(confidence),
        }));
    }
    components.extend(lesion.regions.iter().take(REGIONS_MAX).map(|region| {
        json!({
            "code": site(&region.name, &region.display_name, &region.snomed_code),
            "valueQuantity": quantity(region.volume_ml, "mL"),
        })
    }));
    resource["component"] = json!(components);
    resource["derivedFrom"] = json!([source]);
    resource
}

fn lesion_condition(writer: &Writer<'_>, made: &Made, lesion_id: Uuid, lesion: &Lesion) -> Value {
    let mut sites = Vec::new();
    if let Some(region) = main_region(lesion) {
        let mut site = site(&region.name, &region.display_name, &region.snomed_code);
        if let Some(side) = region.side.or(lesion.side) {
            site["extension"] = json!([{
                "url": LATERALITY,
                "valueCodeableConcept": side_concept(side, side.as_str()),
            }]);
        }
        sites.push(site);
    }
    without_empty(json!({
        "resourceType": "Condition",
        "id": derived_id(&format!("condition/{lesion_id}")),
        "verificationStatus": concept(VERIFICATION, "unconfirmed", "unconfirmed"),
        "code": own("lesion", "lesion that software marked in MRI; no diagnosis"),
        "bodySite": sites,
        "subject": writer.subject(),
        "recordedDate": instant(made.at),
        "evidence": [{ "detail": [{ "reference": uuid_uri(lesion_id), "type": "Observation" }] }],
        "note": notes([NOTICE]),
    }))
}

fn verdict_concept(verdict: Verdict) -> Value {
    let (code, text) = match verdict {
        Verdict::Concordant => ("concordant", "symptoms and image agree"),
        Verdict::PartlyConcordant => ("partly-concordant", "symptoms and image agree in part"),
        Verdict::Discordant => ("discordant", "symptoms and image do not agree"),
        Verdict::InsufficientEvidence => ("insufficient-evidence", "not enough evidence"),
    };
    own(code, text)
}

fn verdict_id(one: &Assessment) -> Uuid {
    derived_id(&format!("verdict/{}", one.assessment_id))
}

fn verdict(writer: &Writer<'_>, one: &Assessment, made: &Made) -> Value {
    let code = own("image-and-symptoms", "image and symptoms compared");
    let mut resource = observation(writer, made, verdict_id(one), code);
    resource["valueCodeableConcept"] = verdict_concept(one.verdict);
    let mut components = Vec::new();
    if let Some(concordance) = one.concordance {
        components.push(json!({
            "code": own("concordance", "agreement, 0 to 1"),
            "valueQuantity": ratio(concordance),
        }));
    }
    if let Some((name, display_name, side)) = &one.site {
        let regions = writer.story.segmentations.iter().flat_map(|one| &one.lesions);
        let known = regions.flat_map(|lesion| &lesion.regions).find(|region| region.name == *name);
        let snomed_code = known.map_or("", |region| region.snomed_code.as_str());
        resource["bodySite"] = site(name, display_name, snomed_code);
        components.push(side_component(*side));
    }
    resource["component"] = json!(components);
    resource["derivedFrom"] = json!([
        writer.reference("Observation", one.symptom_report_id),
        writer.reference("Observation", one.segmentation_id),
    ]);
    let reasons = one.reasons.iter().map(String::as_str);
    resource["note"] = notes(std::iter::once(NOTICE).chain(reasons));
    without_empty(resource)
}

fn diagnostic_report(writer: &Writer<'_>, one: &Assessment, made: &Made) -> Value {
    let mut segmentations = writer.story.segmentations.iter();
    let segmentation = segmentations.find(|known| known.segmentation_id == one.segmentation_id);
    let mut results =
        vec![json!({ "reference": uuid_uri(verdict_id(one)), "type": "Observation" })];
    results.push(writer.reference("Observation", one.segmentation_id));
    if let Some(segmentation) = segmentation {
        let lesions = (0..segmentation.lesions.len()).map(|place| lesion_id(segmentation, place));
        results
            .extend(lesions.map(|id| json!({ "reference": uuid_uri(id), "type": "Observation" })));
    }
    let studies: Vec<Value> = segmentation
        .map(|segmentation| writer.reference("ImagingStudy", segmentation.study_id))
        .into_iter()
        .collect();
    let mut sentences = vec![NOTICE.to_owned()];
    sentences.extend(one.reasons.iter().cloned());
    if !one.urgent_signs.is_empty() {
        sentences.push(format!("Needs attention soon: {}.", one.urgent_signs.join(", ")));
    }
    let mut told = sentences.clone();
    if !one.hospitals.is_empty() {
        told.push(format!("Hospitals that could see the patient: {}.", one.hospitals.join(", ")));
    }
    without_empty(json!({
        "resourceType": "DiagnosticReport",
        "id": one.assessment_id,
        "text": narrative(&told),
        "identifier": [uri_identifier(&uuid_uri(one.assessment_id))],
        "status": "preliminary",
        "category": [{ "coding": [coded(SECTION, "RAD", Some("Radiology"))] }],
        "code": {
            "coding": [
                coded(LOINC, "24590-2", Some("MR Brain")),
                coded(LOINC, "18748-4", Some("Diagnostic imaging study")),
            ],
            "text": "image and symptoms compared by software",
        },
        "subject": writer.subject(),
        "issued": instant(made.at),
        "result": results,
        "imagingStudy": studies,
        "conclusion": sentences.join("\n"),
        "conclusionCode": [verdict_concept(one.verdict)],
    }))
}

fn organization_id(hospital_id: &str) -> Uuid {
    derived_id(&format!("hospital/{hospital_id}"))
}

fn organization(hospital: &Hospital) -> Value {
    let mut identifiers = vec![json!({ "system": HOSPITAL_ID, "value": hospital.hospital_id })];
    let others = hospital.identifiers.iter();
    identifiers.extend(others.map(|(system, value)| json!({ "system": system, "value": value })));
    let mut resource = json!({
        "resourceType": "Organization",
        "id": organization_id(&hospital.hospital_id),
        "identifier": identifiers,
        "active": true,
        "name": hospital.name,
    });
    if !hospital.city.is_empty() {
        resource["address"] = json!([{ "city": hospital.city }]);
    }
    resource
}

fn service_request(writer: &Writer<'_>, referral: &Referral) -> Value {
    let status = match referral.status {
        ReferralStatus::Draft => "draft",
        ReferralStatus::Active => "active",
        ReferralStatus::Completed => "completed",
        ReferralStatus::Revoked => "revoked",
    };
    let is_held = writer.story.hospitals.iter().any(|one| one.hospital_id == referral.hospital_id);
    let performer = if is_held {
        let uri = uuid_uri(organization_id(&referral.hospital_id));
        json!({ "reference": uri, "type": "Organization" })
    } else {
        let identifier = json!({ "system": HOSPITAL_ID, "value": referral.hospital_id });
        json!({ "type": "Organization", "identifier": identifier })
    };
    let reason = Some(referral.reason.as_str()).filter(|reason| !reason.is_empty());
    without_empty(json!({
        "resourceType": "ServiceRequest",
        "id": referral.referral_id,
        "extension": [{ "url": REFERRAL_STATE, "valueCode": referral.state }],
        "identifier": [uri_identifier(&uuid_uri(referral.referral_id))],
        "status": status,
        "intent": "order",
        "code": own("referral", "referral to a hospital"),
        "subject": writer.subject(),
        "occurrenceDateTime": referral.scheduled_at.map(instant),
        "authoredOn": instant(referral.created_at),
        "requester": {
            "type": "Organization",
            "identifier": { "system": REFERRER, "value": referral.referrer_id },
        },
        "performer": [performer],
        "reasonReference": [writer.reference("DiagnosticReport", referral.assessment_id)],
        "note": notes(reason),
    }))
}

fn device(id: Uuid, name: &str, versions: &[(&str, &str)]) -> (Uuid, Value) {
    let versions: Vec<Value> = versions
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| json!({ "type": { "text": name }, "value": value }))
        .collect();
    let resource = without_empty(json!({
        "resourceType": "Device",
        "id": id,
        "status": "active",
        "deviceName": [{ "name": name, "type": "user-friendly-name" }],
        "type": { "text": "software, decision support for research use" },
        "version": versions,
        "note": notes([NOTICE]),
    }));
    (id, resource)
}

fn model_device(writer: &Writer<'_>, one: &Segmentation) -> (Uuid, Value) {
    let id = derived_id(&format!("model/{}/{}/{}", one.model_id, one.weights_sha256, one.atlas));
    let versions = [
        ("software", writer.story.software_version.as_str()),
        ("model", &one.model_id),
        ("model weights, SHA-256", &one.weights_sha256),
        ("atlas", &one.atlas),
    ];
    device(id, "NeuroTriage, segmentation", &versions)
}

fn rules_device(writer: &Writer<'_>, one: &Assessment) -> (Uuid, Value) {
    let key = format!("rules/{}/{}", one.evidence_version, one.ranking_version);
    let versions = [
        ("software", writer.story.software_version.as_str()),
        ("evidence table", &one.evidence_version),
        ("ranking rules", &one.ranking_version),
    ];
    device(derived_id(&key), "NeuroTriage, comparison of image and symptoms", &versions)
}

fn lexicon_device(writer: &Writer<'_>, lexicon_version: &str) -> (Uuid, Value) {
    let versions = [
        ("software", writer.story.software_version.as_str()),
        ("symptom lexicon", lexicon_version),
    ];
    let id = derived_id(&format!("lexicon/{lexicon_version}"));
    device(id, "NeuroTriage, coding of symptoms", &versions)
}

/// Returns where `derived` come from, all of them made from `of`.
fn provenance(made: &Made, of: Uuid, derived: &[Value], sources: Vec<Value>) -> Value {
    let target = |resource: &Value| {
        let id = resource["id"].as_str().unwrap_or_default();
        json!({ "reference": format!("urn:uuid:{id}"), "type": resource["resourceType"] })
    };
    let source = |what: Value| json!({ "role": "source", "what": what });
    json!({
        "resourceType": "Provenance",
        "id": derived_id(&format!("provenance/{of}")),
        "text": narrative(&[NOTICE.to_owned()]),
        "target": derived.iter().map(target).collect::<Vec<_>>(),
        "recorded": instant(made.at),
        "agent": [{ "type": concept(PARTICIPANT, "assembler", "assembler"), "who": made.device() }],
        "entity": sources.into_iter().map(source).collect::<Vec<_>>(),
    })
}
