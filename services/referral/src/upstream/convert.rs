//! From the messages of other services to what an assessment needs.

mod marking;

use neurotriage_domain::{PatientId, Side};
use neurotriage_proto::{
    common::v1 as common, ingestion::v1 as ingestion, records::v1 as records,
    segmentation::v1 as segmentation,
};
use time::{Date, macros::format_description};

pub(super) use self::marking::{
    marking, report_origin, serving_model, step_progress, study_origin,
};
use crate::{
    assessment::{AssessmentError, Patient, Segmentation, SymptomReport},
    crosscheck::{ImageEvidence, ImageOutcome, LesionRegion, LesionSite, ReportedFinding},
    evidence::Handedness,
    hospital::Coordinates,
    ranking::{NearbyArea, NeedLesion},
};

/// Said if the segmentation service gives no reason of its own.
const SPACE_UNKNOWN: &str = "the images are in an unknown coordinate space";

/// Most reasons for doubt that are repeated; the segmentation service has fewer kinds.
const REASONS_MAX: usize = 16;

/// A finding that is neither there nor denied is not guessed at.
pub(super) const PRESENCE_UNSAID: &str = "a finding that is neither present nor denied";

pub(super) fn malformed(service: &'static str, what: &'static str) -> AssessmentError {
    AssessmentError::Malformed { service, what }
}

pub(super) fn symptom_report(
    answer: records::GetSymptomReportResponse,
) -> Result<SymptomReport, AssessmentError> {
    let report = answer.report.ok_or_else(|| malformed("records", "no report"))?;
    Ok(SymptomReport {
        patient_id: patient_id("records", &report.patient_id)?,
        findings: report.findings.into_iter().map(finding).collect::<Result<_, _>>()?,
        not_understood: report.not_understood,
    })
}

fn patient_id(service: &'static str, text: &str) -> Result<PatientId, AssessmentError> {
    text.parse().map_err(|_| malformed(service, "patient id is no UUID"))
}

fn finding(finding: records::Finding) -> Result<ReportedFinding, AssessmentError> {
    let side = match finding.side() {
        common::Side::Left => Some(Side::Left),
        common::Side::Right => Some(Side::Right),
        common::Side::Midline => Some(Side::Midline),
        common::Side::Unspecified => None,
    };
    let present = finding.present.ok_or_else(|| malformed("records", PRESENCE_UNSAID))?;
    Ok(ReportedFinding {
        finding_id: finding.finding_id,
        code: finding.code,
        display_name: finding.display_name,
        side,
        present,
        matched_text: finding.matched_text,
    })
}

pub(super) fn patient(answer: records::GetPatientResponse) -> Result<Patient, AssessmentError> {
    let patient = answer.patient.ok_or_else(|| malformed("records", "no patient"))?;
    let handedness = match patient.handedness() {
        records::Handedness::Right => Handedness::Right,
        records::Handedness::Left => Handedness::Left,
        records::Handedness::Both => Handedness::Both,
        records::Handedness::Unspecified => Handedness::Unknown,
    };
    let home = match patient.address.and_then(|address| address.coordinates) {
        Some(home) => Some(
            Coordinates::from_degrees(home.latitude_degrees, home.longitude_degrees)
                .map_err(|_| malformed("records", "address is not on earth"))?,
        ),
        None => None,
    };
    Ok(Patient { handedness, home, birth_date: birth_date(&patient.birth_date)? })
}

pub(super) fn remaining_patient(
    answer: records::GetPatientResponse,
) -> Result<PatientId, AssessmentError> {
    let patient = answer.patient.ok_or_else(|| malformed("records", "no patient"))?;
    patient_id("records", &patient.patient_id)
}

fn birth_date(text: &str) -> Result<Option<Date>, AssessmentError> {
    if text.is_empty() {
        return Ok(None);
    }
    Date::parse(text, format_description!("[year]-[month]-[day]"))
        .map(Some)
        .map_err(|_| malformed("records", "birth date is no date"))
}

pub(super) fn segmentation(
    answer: segmentation::GetSegmentationResponse,
) -> Result<Segmentation, AssessmentError> {
    let segmentation =
        answer.segmentation.ok_or_else(|| malformed("segmentation", "no segmentation"))?;
    let outcome = outcome(&segmentation);
    let localisation =
        segmentation.localisation.ok_or_else(|| malformed("segmentation", "no localisation"))?;
    // An image that is in doubt calls for nothing: the site may still be known by the symptoms.
    let lesions = match outcome {
        ImageOutcome::Tumour => localisation.lesions.iter().map(need_lesion).collect(),
        ImageOutcome::NoTumourFound | ImageOutcome::NotSure { .. } => Vec::new(),
    };
    Ok(Segmentation {
        lesions,
        study_id: segmentation
            .study_id
            .parse()
            .map_err(|_| malformed("segmentation", "study id is no UUID"))?,
        model_id: segmentation.model_id,
        image: ImageEvidence { outcome, ..image(localisation) },
    })
}

fn outcome(segmentation: &segmentation::Segmentation) -> ImageOutcome {
    match segmentation.outcome() {
        // Stored before outcomes were judged: its lesions say what was marked.
        segmentation::Outcome::Unspecified | segmentation::Outcome::Tumour => ImageOutcome::Tumour,
        segmentation::Outcome::NoTumourFound => ImageOutcome::NoTumourFound,
        segmentation::Outcome::NotSure => {
            let reasons = segmentation.outcome_reasons.iter().take(REASONS_MAX).cloned().collect();
            ImageOutcome::NotSure { reasons }
        }
    }
}

fn image(localisation: segmentation::Localisation) -> ImageEvidence {
    use segmentation::Space;
    let known = matches!(localisation.space(), Space::Sri24 | Space::Mni152);
    let space_reason = match (known, localisation.space_reason.is_empty()) {
        (true, _) => String::new(),
        (false, true) => SPACE_UNKNOWN.to_owned(),
        (false, false) => localisation.space_reason,
    };
    let lesions =
        localisation.lesions.into_iter().map(|lesion| lesion_site(lesion, known)).collect();
    ImageEvidence { outcome: ImageOutcome::default(), lesions, space_reason }
}

fn lesion_site(lesion: segmentation::Lesion, known: bool) -> LesionSite {
    let regions = if known {
        // A region that this version does not know cannot be compared: the others still can.
        let named = |share: segmentation::RegionShare| {
            let region = share.region.parse().ok()?;
            Some(LesionRegion { region, weight: share.site_weight, span: span(&share) })
        };
        lesion.regions.into_iter().filter_map(named).collect()
    } else {
        Vec::new()
    };
    LesionSite { volume_ml: lesion.volume_ml, confidence: lesion.confidence, regions }
}

/// Returns the least and the greatest weight: the weight follows the share.
fn span(share: &segmentation::RegionShare) -> Option<(f64, f64)> {
    let (least, greatest) = (share.share_min?, share.share_max?);
    if share.share > 0.0 {
        let scale = share.site_weight / share.share;
        Some((least * scale, greatest * scale))
    } else {
        Some((least, greatest))
    }
}

fn need_lesion(lesion: &segmentation::Lesion) -> NeedLesion {
    let area = |area: &segmentation::EloquentArea| NearbyArea {
        area: area.area.clone(),
        display_name: area.display_name.clone(),
        distance_mm: area.distance_mm,
    };
    NeedLesion {
        volume_ml: lesion.volume_ml,
        enhancing_ml: lesion.enhancing_ml,
        // Told together with the contacts of a lesion in a known space.
        eloquent: lesion.touches_cortex.map(|_| lesion.eloquent.iter().map(area).collect()),
    }
}

pub(super) fn patient_of_study(
    answer: ingestion::GetStudyResponse,
) -> Result<PatientId, AssessmentError> {
    let study = answer.study.ok_or_else(|| malformed("ingestion", "no study"))?;
    patient_id("ingestion", &study.patient_id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_against_the_contract_is_refused() {
        let report = |patient_id: &str| records::GetSymptomReportResponse {
            report: Some(records::SymptomReport {
                patient_id: patient_id.to_owned(),
                ..Default::default()
            }),
        };
        assert!(symptom_report(records::GetSymptomReportResponse { report: None }).is_err());
        assert!(symptom_report(report("banana")).is_err());
        assert!(symptom_report(report("01900000-0000-7000-8000-000000000000")).is_ok());
        let patient_of = |birth_date: &str, latitude_degrees| records::GetPatientResponse {
            patient: Some(records::Patient {
                birth_date: birth_date.to_owned(),
                address: Some(records::Address {
                    coordinates: Some(records::Coordinates {
                        latitude_degrees,
                        longitude_degrees: 0.0,
                    }),
                    ..Default::default()
                }),
                ..Default::default()
            }),
        };
        assert!(patient(records::GetPatientResponse { patient: None }).is_err());
        assert!(patient(patient_of("1970-02-30", 0.0)).is_err());
        assert!(patient(patient_of("", 91.0)).is_err());
        assert!(patient(patient_of("1970-02-28", 90.0)).is_ok());
        assert!(
            segmentation(segmentation::GetSegmentationResponse { segmentation: None }).is_err()
        );
        assert!(patient_of_study(ingestion::GetStudyResponse { study: None }).is_err());
    }

    #[test]
    fn the_outcome_is_taken_over_and_an_older_result_counts_as_marked() {
        let of = |wire: i32| {
            outcome(&segmentation::Segmentation {
                outcome: wire,
                outcome_reasons: vec!["confidence is low".to_owned()],
                ..Default::default()
            })
        };
        let reasons = vec!["confidence is low".to_owned()];
        let table = [
            (segmentation::Outcome::Unspecified.into(), ImageOutcome::Tumour),
            (segmentation::Outcome::Tumour.into(), ImageOutcome::Tumour),
            (segmentation::Outcome::NoTumourFound.into(), ImageOutcome::NoTumourFound),
            (segmentation::Outcome::NotSure.into(), ImageOutcome::NotSure { reasons }),
            // Of a later version of the contract.
            (99, ImageOutcome::Tumour),
        ];
        for (wire, expected) in table {
            assert_eq!(of(wire), expected, "{wire}");
        }
    }

    #[test]
    fn an_unknown_space_names_no_region_and_says_why() {
        let localisation = |space: segmentation::Space, reason: &str| segmentation::Localisation {
            space: space.into(),
            space_reason: reason.to_owned(),
            lesions: vec![segmentation::Lesion {
                volume_ml: 2.0,
                regions: vec![share("frontal_left", 0.6), share("region_of_a_later_version", 0.4)],
                ..Default::default()
            }],
            ..Default::default()
        };
        fn share(region: &str, site_weight: f64) -> segmentation::RegionShare {
            segmentation::RegionShare {
                region: region.to_owned(),
                site_weight,
                share: site_weight,
                share_min: Some(0.25),
                share_max: Some(0.75),
                ..Default::default()
            }
        }
        let known = image(localisation(segmentation::Space::Sri24, ""));
        let frontal = LesionRegion {
            region: "frontal_left".parse().unwrap(),
            weight: 0.6,
            span: Some((0.25, 0.75)),
        };
        assert_eq!(known.lesions[0].regions, [frontal]);
        assert_eq!(known.space_reason, "");
        for (space, reason, expected) in [
            (segmentation::Space::Unknown, "", SPACE_UNKNOWN),
            (segmentation::Space::Unspecified, "", SPACE_UNKNOWN),
            (segmentation::Space::Unknown, "too few slices", "too few slices"),
        ] {
            let unknown = image(localisation(space, reason));
            assert!(unknown.lesions[0].regions.is_empty());
            assert_eq!(unknown.space_reason, expected);
        }
    }
}
