//! Between messages and domain values.

mod comparison;
mod diagnosis;

use neurotriage_domain::{AssessmentId, FieldViolation, Side};
use neurotriage_proto::{common::v1 as common, records::v1 as records, referral::v1 as pb};
use uuid::Uuid;

pub(super) use self::{
    comparison::{comparison_request, study_comparison},
    diagnosis::{diagnosis, diagnosis_id, diagnosis_progress, diagnosis_request},
};
use crate::{
    assessment::{
        Assessment, AssessmentError, AssessmentRequest, HOSPITALS_DEFAULT, HOSPITALS_MAX,
    },
    crosscheck::{Alternative, FindingFit, Fit, Pivot, ReportedFinding, Verdict, WeightedRegion},
    evidence::Cause,
    hospital::{Coordinates, Hospital, Identifier},
    ranking::{Factor, RankedHospital, Requirement, TumourHint},
};

pub(super) fn assessment_request(
    request: &pb::AssessRequest,
) -> Result<AssessmentRequest, AssessmentError> {
    let mut violations: Vec<FieldViolation> = Vec::new();
    let mut refuse = |field: &str, description: String| {
        violations.push(FieldViolation { field: field.to_owned(), description });
    };
    let request_id = Uuid::try_parse(&request.request_id)
        .inspect_err(|_| refuse("request_id", "a UUID chosen by the caller".to_owned()))
        .ok();
    let symptom_report_id = request
        .symptom_report_id
        .parse()
        .inspect_err(|error: &neurotriage_domain::InvalidId| {
            refuse("symptom_report_id", error.to_string());
        })
        .ok();
    let segmentation_id = request
        .segmentation_id
        .parse()
        .inspect_err(|error: &neurotriage_domain::InvalidId| {
            refuse("segmentation_id", error.to_string());
        })
        .ok();
    let hospitals_max = match request.hospitals_max {
        0 => HOSPITALS_DEFAULT,
        given => given,
    };
    if hospitals_max > HOSPITALS_MAX {
        refuse("hospitals_max", format!("at most {HOSPITALS_MAX}"));
    }
    match (request_id, symptom_report_id, segmentation_id) {
        (Some(request_id), Some(symptom_report_id), Some(segmentation_id))
            if violations.is_empty() =>
        {
            Ok(AssessmentRequest { request_id, symptom_report_id, segmentation_id, hospitals_max })
        }
        _ => Err(AssessmentError::Invalid(violations)),
    }
}

pub(super) fn assessment_id(text: &str) -> Result<AssessmentId, AssessmentError> {
    text.parse().map_err(|error: neurotriage_domain::InvalidId| {
        AssessmentError::field("assessment_id", error.to_string())
    })
}

pub(super) fn assessment(assessment: Assessment) -> pb::Assessment {
    let findings = assessment.findings;
    let comparison = findings.comparison;
    pb::Assessment {
        assessment_id: assessment.assessment_id.to_string(),
        created_at: Some(std::time::SystemTime::from(assessment.created_at).into()),
        patient_id: assessment.patient_id.to_string(),
        symptom_report_id: assessment.request.symptom_report_id.to_string(),
        segmentation_id: assessment.request.segmentation_id.to_string(),
        verdict: verdict(comparison.verdict).into(),
        concordance: comparison.concordance,
        reasons: comparison.reasons,
        findings: comparison.findings.into_iter().map(finding_fit).collect(),
        symptom_regions: regions(&comparison.symptom_regions),
        image_regions: regions(&comparison.image_regions),
        confirmed_site: comparison.confirmed_site.map_or_else(String::new, |site| site.to_string()),
        not_understood: findings.not_understood,
        urgent_signs: comparison.urgent_signs,
        hospitals: findings.ranking.hospitals.into_iter().map(ranked_hospital).collect(),
        hospitals_reason: findings.ranking.reason,
        evidence_version: findings.evidence_version,
        model_id: findings.model_id,
        next_checks: comparison.next_checks,
        alternatives: comparison.alternatives.into_iter().map(alternative).collect(),
        pivots: comparison.pivots.into_iter().map(pivot).collect(),
        expected_but_absent: comparison.expected_but_absent,
        worth_asking: comparison.worth_asking,
        requirements: findings.ranking.requirements.into_iter().map(requirement).collect(),
        tumour_hints: findings.ranking.hints.into_iter().map(tumour_hint).collect(),
        site_confidence: comparison.site_confidence,
        ranking_version: findings.ranking.rules_version,
    }
}

fn verdict(verdict: Verdict) -> pb::Verdict {
    match verdict {
        Verdict::Concordant => pb::Verdict::Concordant,
        Verdict::PartlyConcordant => pb::Verdict::PartlyConcordant,
        Verdict::Discordant => pb::Verdict::Discordant,
        Verdict::InsufficientEvidence => pb::Verdict::InsufficientEvidence,
    }
}

fn alternative(alternative: Alternative) -> pb::Alternative {
    let cause = match alternative.cause {
        Cause::RaisedPressure => pb::Cause::RaisedPressure,
        Cause::SeizureAftermath => pb::Cause::SeizureAftermath,
        Cause::MassEffect => pb::Cause::MassEffect,
        Cause::SecondLesion => pb::Cause::SecondLesion,
        Cause::OtherDisease => pb::Cause::OtherDisease,
    };
    let Alternative { finding_ids, reason, .. } = alternative;
    pb::Alternative { cause: cause.into(), finding_ids, reason }
}

fn pivot(pivot: Pivot) -> pb::Pivot {
    let verdict_without = verdict(pivot.verdict_without).into();
    pb::Pivot { finding_id: pivot.finding_id, verdict_without }
}

fn fit(fit: Fit) -> pb::Fit {
    match fit {
        Fit::Explained => pb::Fit::Explained,
        Fit::Unexplained => pb::Fit::Unexplained,
        Fit::NotLocalising => pb::Fit::NotLocalising,
        Fit::Absent => pb::Fit::Absent,
    }
}

fn side(side: Side) -> common::Side {
    match side {
        Side::Left => common::Side::Left,
        Side::Right => common::Side::Right,
        Side::Midline => common::Side::Midline,
    }
}

fn finding_fit(of: FindingFit) -> pb::FindingFit {
    pb::FindingFit {
        finding: Some(finding(of.finding)),
        fit: fit(of.fit).into(),
        reason: of.reason,
        points_to: regions(&of.points_to),
    }
}

fn finding(finding: ReportedFinding) -> records::Finding {
    records::Finding {
        finding_id: finding.finding_id,
        code: finding.code,
        display_name: finding.display_name,
        side: finding.side.map_or(common::Side::Unspecified, side).into(),
        present: Some(finding.present),
        matched_text: finding.matched_text,
        ..Default::default()
    }
}

fn regions(regions: &[WeightedRegion]) -> Vec<pb::RegionProbability> {
    regions
        .iter()
        .map(|entry| pb::RegionProbability {
            region: entry.region.to_string(),
            display_name: entry.region.display_name(),
            side: side(entry.region.side).into(),
            probability: entry.weight,
        })
        .collect()
}

fn ranked_hospital(ranked: RankedHospital) -> pb::RankedHospital {
    pb::RankedHospital {
        hospital: Some(hospital(ranked.hospital)),
        score: ranked.score,
        factors: ranked.factors.into_iter().map(factor).collect(),
        distance_km: ranked.distance_km,
        reason: ranked.reason,
        travel_minutes: ranked.travel_minutes,
    }
}

fn requirement(requirement: Requirement) -> pb::Requirement {
    let Requirement { capability, why, essential } = requirement;
    pb::Requirement { capability: capability.as_str().to_owned(), why, essential }
}

fn tumour_hint(hint: TumourHint) -> pb::TumourHint {
    let TumourHint { kind, reason, capabilities, source } = hint;
    let capabilities = capabilities.into_iter().map(|name| name.as_str().to_owned()).collect();
    pb::TumourHint { kind, reason, capabilities, source }
}

fn factor(factor: Factor) -> pb::RankingFactor {
    pb::RankingFactor {
        name: factor.name,
        value: factor.value,
        weight: factor.weight,
        explanation: factor.explanation,
    }
}

pub(super) fn hospital(hospital: Hospital) -> pb::Hospital {
    let capabilities =
        hospital.capabilities.iter().map(|capability| capability.as_str().to_owned()).collect();
    pb::Hospital {
        hospital_id: hospital.hospital_id.to_string(),
        name: hospital.name,
        city: hospital.city,
        location: Some(coordinates(hospital.location)),
        capabilities,
        accepts_referrals: hospital.accepts_referrals,
        capacity: hospital.capacity,
        identifiers: hospital.identifiers.into_iter().map(identifier).collect(),
        languages: hospital.languages,
        beds_free: hospital.beds_free,
    }
}

fn identifier(identifier: Identifier) -> pb::HospitalIdentifier {
    let Identifier { system, value } = identifier;
    pb::HospitalIdentifier { system, value }
}

fn coordinates(location: Coordinates) -> records::Coordinates {
    records::Coordinates {
        latitude_degrees: location.latitude_degrees(),
        longitude_degrees: location.longitude_degrees(),
    }
}
