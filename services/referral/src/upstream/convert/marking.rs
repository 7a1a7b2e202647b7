//! From the messages of other services to what a diagnosis needs.

use neurotriage_proto::{
    common::v1 as common, ingestion::v1 as ingestion, records::v1 as records,
    segmentation::v1 as segmentation,
};
use time::OffsetDateTime;

use super::{malformed, patient_id};
use crate::{
    assessment::AssessmentError,
    diagnosis::{ReportOrigin, Step, StepProgress, StudyOrigin},
    measurement::{
        AxialDiameters, LesionMeasurements, Marking, MaskReference, Measurements, Outcome, Space,
    },
};

pub(in crate::upstream) fn study_origin(
    answer: ingestion::GetStudyResponse,
) -> Result<StudyOrigin, AssessmentError> {
    let wrong = |what| move || malformed("ingestion", what);
    let study = answer.study.ok_or_else(wrong("no study"))?;
    let created_at = study.created_at.ok_or_else(wrong("no time of the upload"))?;
    let prepared = study.prepared.ok_or_else(wrong("no prepared study"))?;
    let blob = prepared.blob.ok_or_else(wrong("no prepared object"))?;
    let uploaded_at = OffsetDateTime::from_unix_timestamp(created_at.seconds)
        .map_err(|_| malformed("ingestion", "time of the upload is no time"))?;
    Ok(StudyOrigin {
        patient_id: patient_id("ingestion", &study.patient_id)?,
        uploaded_at,
        prepared_digest: blob
            .digest
            .parse()
            .map_err(|_| malformed("ingestion", "prepared object has no digest"))?,
        preparation: format!("{}/{}", prepared.profile, prepared.profile_version),
    })
}

pub(in crate::upstream) fn report_origin(
    answer: records::GetSymptomReportResponse,
) -> Result<ReportOrigin, AssessmentError> {
    let report = answer.report.ok_or_else(|| malformed("records", "no report"))?;
    let patient_id = patient_id("records", &report.patient_id)?;
    Ok(ReportOrigin { patient_id, lexicon_version: report.lexicon_version })
}

pub(in crate::upstream) fn serving_model(
    answer: segmentation::GetModelResponse,
) -> Result<String, AssessmentError> {
    let model = answer.model.ok_or_else(|| malformed("segmentation", "no model"))?;
    Ok(model.model_id)
}

pub(in crate::upstream) fn step_progress(progress: &common::Progress) -> StepProgress {
    let step = match progress.step.as_str() {
        "queue" => Step::Queue,
        "localise" | "store" => Step::Localise,
        // `segment`, and what a later version may tell of it.
        _ => Step::Segment,
    };
    StepProgress {
        step,
        done: progress.units_done.min(progress.units_total),
        total: progress.units_total,
    }
}

pub(in crate::upstream) fn marking(
    segmentation: segmentation::Segmentation,
) -> Result<Marking, AssessmentError> {
    let wrong = |what| move || malformed("segmentation", what);
    let outcome = match segmentation.outcome() {
        segmentation::Outcome::Unspecified => Outcome::Unsaid,
        segmentation::Outcome::Tumour => Outcome::Tumour,
        segmentation::Outcome::NoTumourFound => Outcome::NoTumourFound,
        segmentation::Outcome::NotSure => Outcome::NotSure,
    };
    let mask = segmentation.mask.ok_or_else(wrong("no mask"))?;
    let localisation = segmentation.localisation.ok_or_else(wrong("no localisation"))?;
    let space = match localisation.space() {
        segmentation::Space::Sri24 => Space::Sri24,
        segmentation::Space::Mni152 => Space::Mni152,
        segmentation::Space::Unspecified | segmentation::Space::Unknown => Space::Unknown,
    };
    let id = |text: &str| text.parse().map_err(|_| malformed("segmentation", "id is no UUID"));
    Ok(Marking {
        segmentation_id: id(&segmentation.segmentation_id)?,
        study_id: segmentation
            .study_id
            .parse()
            .map_err(|_| malformed("segmentation", "study id is no UUID"))?,
        model_id: segmentation.model_id,
        weights_sha256: segmentation.weights_sha256,
        mask: MaskReference {
            digest: mask
                .digest
                .parse()
                .map_err(|_| malformed("segmentation", "mask has no digest"))?,
            size_bytes: mask.size_bytes,
        },
        atlas: localisation.atlas,
        space,
        measurements: Measurements {
            outcome,
            lesions: localisation.lesions.iter().map(lesion).collect(),
        },
    })
}

fn lesion(lesion: &segmentation::Lesion) -> LesionMeasurements {
    LesionMeasurements {
        whole_ml: lesion.volume_ml,
        core_ml: lesion.necrotic_core_ml + lesion.enhancing_ml,
        enhancing_ml: lesion.enhancing_ml,
        main_region: lesion.main_region.clone(),
        centroid_template_mm: lesion.centroid_template_mm.as_slice().try_into().ok(),
        axial: lesion.axial.as_ref().map(axial),
        enhancing_axial: lesion.enhancing_axial.as_ref().map(axial),
    }
}

fn axial(axial: &segmentation::AxialDiameters) -> AxialDiameters {
    AxialDiameters {
        longest_mm: axial.longest_mm,
        perpendicular_mm: axial.perpendicular_mm,
        product_mm2: axial.product_mm2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> segmentation::Segmentation {
        let id = "01900000-0000-7000-8000-000000000000".to_owned();
        segmentation::Segmentation {
            segmentation_id: id.clone(),
            study_id: id,
            mask: Some(common::BlobReference { digest: "a5".repeat(32), size_bytes: 7 }),
            localisation: Some(segmentation::Localisation {
                space: segmentation::Space::Mni152.into(),
                lesions: vec![segmentation::Lesion {
                    volume_ml: 5.0,
                    necrotic_core_ml: 1.0,
                    enhancing_ml: 2.0,
                    centroid_template_mm: vec![1.0, 2.0, 3.0],
                    ..Default::default()
                }],
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn a_marking_takes_over_what_was_measured() {
        let marking = marking(good()).unwrap();
        assert_eq!((marking.space, marking.mask.size_bytes), (Space::Mni152, 7));
        let lesion = &marking.measurements.lesions[0];
        assert_eq!((lesion.whole_ml, lesion.core_ml, lesion.enhancing_ml), (5.0, 3.0, 2.0));
        assert_eq!(lesion.centroid_template_mm, Some([1.0, 2.0, 3.0]));
        assert_eq!((lesion.axial, marking.measurements.outcome), (None, Outcome::Unsaid));
    }

    #[test]
    fn an_answer_against_the_contract_is_refused() {
        let without = |change: &dyn Fn(&mut segmentation::Segmentation)| {
            let mut changed = good();
            change(&mut changed);
            marking(changed).is_err()
        };
        assert!(without(&|segmentation| segmentation.mask = None));
        assert!(without(&|segmentation| segmentation.localisation = None));
        assert!(without(&|segmentation| segmentation.study_id = "banana".to_owned()));
        assert!(without(&|segmentation| segmentation.segmentation_id.clear()));
        let study = |prepared| ingestion::GetStudyResponse {
            study: Some(ingestion::Study {
                patient_id: good().study_id,
                created_at: Some(std::time::SystemTime::UNIX_EPOCH.into()),
                prepared,
                ..Default::default()
            }),
        };
        let prepared =
            ingestion::PreparedStudy { profile: "whole".to_owned(), ..Default::default() };
        assert!(study_origin(study(None)).is_err());
        assert!(study_origin(study(Some(prepared.clone()))).is_err());
        let blob = good().mask;
        let origin = study_origin(study(Some(ingestion::PreparedStudy {
            blob,
            profile_version: 2,
            ..prepared
        })));
        assert_eq!(origin.unwrap().preparation, "whole/2");
        assert!(serving_model(segmentation::GetModelResponse { model: None }).is_err());
    }

    #[test]
    fn every_step_of_a_segmentation_is_one_of_a_diagnosis() {
        // (step of the segmentation service, ours)
        let table = [
            ("queue", Step::Queue),
            ("segment", Step::Segment),
            ("localise", Step::Localise),
            ("store", Step::Localise),
            ("of a later version", Step::Segment),
        ];
        for (text, step) in table {
            let message = common::Progress { step: text.to_owned(), units_done: 9, units_total: 4 };
            assert_eq!(step_progress(&message), StepProgress { step, done: 4, total: 4 }, "{text}");
        }
    }
}
