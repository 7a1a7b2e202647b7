//! Between the messages of diagnoses and domain values.

use neurotriage_domain::{DiagnosisId, FieldViolation, InvalidId};
use neurotriage_proto::{
    common::v1 as common, referral::v1 as pb, segmentation::v1 as segmentation,
};
use uuid::Uuid;

use crate::{
    assessment::{AssessmentError, HOSPITALS_DEFAULT, HOSPITALS_MAX},
    diagnosis::{Answer, DiagnosisError, DiagnosisRequest, Step, StepProgress},
    measurement::{
        AxialDiameters, LesionMeasurements, Marking, MaskReference, Measurements, Outcome, Space,
    },
};

/// Longest id of a model, in bytes, as the segmentation service has it.
const MODEL_ID_LENGTH_MAX: usize = 64;

pub(in crate::grpc) fn diagnosis_request(
    request: pb::DiagnoseRequest,
) -> Result<DiagnosisRequest, DiagnosisError> {
    let mut violations: Vec<FieldViolation> = Vec::new();
    let mut refuse = |field: &str, description: String| {
        violations.push(FieldViolation { field: field.to_owned(), description });
    };
    let request_id = Uuid::try_parse(&request.request_id)
        .inspect_err(|_| refuse("request_id", "a UUID chosen by the caller".to_owned()))
        .ok();
    let study_id = request
        .study_id
        .parse()
        .inspect_err(|error: &InvalidId| refuse("study_id", error.to_string()))
        .ok();
    let symptom_report_id = request
        .symptom_report_id
        .parse()
        .inspect_err(|error: &InvalidId| refuse("symptom_report_id", error.to_string()))
        .ok();
    let hospitals_max = match request.hospitals_max {
        0 => HOSPITALS_DEFAULT,
        given => given,
    };
    if hospitals_max > HOSPITALS_MAX {
        refuse("hospitals_max", format!("at most {HOSPITALS_MAX}"));
    }
    let plain = |letter: u8| letter.is_ascii_alphanumeric() || b"._-".contains(&letter);
    if request.model_id.len() > MODEL_ID_LENGTH_MAX || !request.model_id.bytes().all(plain) {
        let text =
            format!("1 to {MODEL_ID_LENGTH_MAX} of letters, digits, `.`, `_`, `-`, or empty");
        refuse("model_id", text);
    }
    match (request_id, study_id, symptom_report_id) {
        (Some(request_id), Some(study_id), Some(symptom_report_id)) if violations.is_empty() => {
            Ok(DiagnosisRequest {
                request_id,
                study_id,
                symptom_report_id,
                hospitals_max,
                model_id: Some(request.model_id).filter(|model_id| !model_id.is_empty()),
            })
        }
        _ => Err(AssessmentError::Invalid(violations).into()),
    }
}

pub(in crate::grpc) fn diagnosis_id(text: &str) -> Result<DiagnosisId, DiagnosisError> {
    text.parse()
        .map_err(|error: InvalidId| DiagnosisError::field("diagnosis_id", error.to_string()))
}

pub(in crate::grpc) fn diagnosis_progress(at: StepProgress) -> pb::DiagnosisProgress {
    let step = match at.step {
        Step::Check => pb::DiagnosisStep::Check,
        Step::Queue => pb::DiagnosisStep::Queue,
        Step::Segment => pb::DiagnosisStep::Segment,
        Step::Localise => pb::DiagnosisStep::Localise,
        Step::Assess => pb::DiagnosisStep::Assess,
    };
    let fraction = if at.total > 0 { at.done as f64 / at.total as f64 } else { 0.0 };
    let (units_done, units_total) = (at.done, at.total);
    pb::DiagnosisProgress { step: step.into(), units_done, units_total, fraction }
}

pub(in crate::grpc) fn diagnosis(answer: Answer) -> pb::Diagnosis {
    let Answer { diagnosis, assessment } = answer;
    let state = match &diagnosis.ending {
        Some(_) => pb::DiagnosisState::Finished,
        None => pb::DiagnosisState::Unfinished,
    };
    let origin = diagnosis.origin;
    let findings = assessment.as_ref().map(|found| &found.findings);
    let evidence_version = findings.map(|found| found.evidence_version.clone());
    let ranking_version = findings.map(|found| found.ranking.rules_version.clone());
    let mut provenance = pb::Provenance {
        prepared_digest: origin.prepared_digest.to_string(),
        preparation: origin.preparation,
        lexicon_version: origin.lexicon_version,
        evidence_version: evidence_version.unwrap_or_default(),
        ranking_version: ranking_version.unwrap_or_default(),
        code_version: diagnosis
            .ending
            .as_ref()
            .map(|ending| ending.code_version.clone())
            .unwrap_or_default(),
        ..Default::default()
    };
    let mut segmentation_id = String::new();
    if let Some(marking) = &diagnosis.marking {
        segmentation_id = marking.segmentation_id.to_string();
        provenance.model_id.clone_from(&marking.model_id);
        provenance.weights_sha256.clone_from(&marking.weights_sha256);
        provenance.mask = Some(mask(marking.mask));
        provenance.atlas.clone_from(&marking.atlas);
        provenance.space = space(marking.space).into();
    }
    let time = |at: time::OffsetDateTime| std::time::SystemTime::from(at).into();
    pb::Diagnosis {
        diagnosis_id: diagnosis.diagnosis_id.to_string(),
        request_id: diagnosis.request.request_id.to_string(),
        state: state.into(),
        created_at: Some(time(diagnosis.created_at)),
        finished_at: diagnosis.ending.map(|ending| time(ending.finished_at)),
        patient_id: diagnosis.patient_id.to_string(),
        study_id: diagnosis.request.study_id.to_string(),
        symptom_report_id: diagnosis.request.symptom_report_id.to_string(),
        segmentation_id,
        measurements: diagnosis
            .marking
            .map(|Marking { measurements: found, .. }| measurements(found)),
        assessment: assessment.map(super::assessment),
        provenance: Some(provenance),
    }
}

fn mask(mask: MaskReference) -> common::BlobReference {
    common::BlobReference { digest: mask.digest.to_string(), size_bytes: mask.size_bytes }
}

pub(super) fn space(space: Space) -> segmentation::Space {
    match space {
        Space::Sri24 => segmentation::Space::Sri24,
        Space::Mni152 => segmentation::Space::Mni152,
        Space::Unknown => segmentation::Space::Unknown,
    }
}

pub(super) fn measurements(measurements: Measurements) -> pb::Measurements {
    let outcome = match measurements.outcome {
        Outcome::Unsaid => segmentation::Outcome::Unspecified,
        Outcome::Tumour => segmentation::Outcome::Tumour,
        Outcome::NoTumourFound => segmentation::Outcome::NoTumourFound,
        Outcome::NotSure => segmentation::Outcome::NotSure,
    };
    pb::Measurements {
        whole_ml: measurements.whole_ml(),
        core_ml: measurements.core_ml(),
        enhancing_ml: measurements.enhancing_ml(),
        outcome: outcome.into(),
        lesions: measurements.lesions.into_iter().map(lesion).collect(),
    }
}

fn lesion(lesion: LesionMeasurements) -> pb::LesionMeasurements {
    pb::LesionMeasurements {
        whole_ml: lesion.whole_ml,
        core_ml: lesion.core_ml,
        enhancing_ml: lesion.enhancing_ml,
        main_region: lesion.main_region,
        centroid_template_mm: lesion.centroid_template_mm.map(Vec::from).unwrap_or_default(),
        axial: lesion.axial.map(axial),
        enhancing_axial: lesion.enhancing_axial.map(axial),
    }
}

fn axial(axial: AxialDiameters) -> segmentation::AxialDiameters {
    segmentation::AxialDiameters {
        longest_mm: axial.longest_mm,
        perpendicular_mm: axial.perpendicular_mm,
        product_mm2: axial.product_mm2,
    }
}
