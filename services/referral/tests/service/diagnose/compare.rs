//! Two studies of one patient compared, over a real socket.

use neurotriage_proto::{
    referral::v1::{
        CompareStudiesRequest, DateOrigin, DiagnoseRequest, Diagnosis, ImagingChange, LesionFate,
        StudyComparison, Timepoint, TumourPart, timepoint::Source,
    },
    segmentation::v1::Lesion,
};
use tonic::{Code, Status};
use uuid::Uuid;

use super::{
    harness::{Harness, begin, lesion, sqlite, until_segmenting},
    reason,
};
use crate::support::neighbours::MODEL;

const HERE: [f64; 3] = [-30.0, 20.0, 40.0];
const FAR: [f64; 3] = [50.0, 20.0, 40.0];

async fn compare(
    harness: &Harness,
    earlier: (Source, &str),
    later: (Source, &str),
) -> Result<StudyComparison, Status> {
    let [earlier, later] = [earlier, later].map(|(source, acquired_on)| {
        Some(Timepoint { source: Some(source), acquired_on: acquired_on.to_owned() })
    });
    let request = CompareStudiesRequest { earlier, later };
    let answer = harness.client.clone().compare_studies(request).await?.into_inner();
    answer.comparison.ok_or_else(|| Status::internal("no comparison in the answer"))
}

/// Diagnoses a first study and one that the same patient has later.
async fn two_dates(
    harness: &Harness,
    later: Vec<Lesion>,
) -> anyhow::Result<(Diagnosis, Diagnosis)> {
    let request = harness.patient();
    let earlier = harness.diagnose(&request).await?.diagnosis;
    let study_id = harness.study(&earlier.patient_id, later);
    let request_id = Uuid::now_v7().to_string();
    let request = DiagnoseRequest { request_id, study_id, ..request };
    Ok((earlier, harness.diagnose(&request).await?.diagnosis))
}

fn of(diagnosis: &Diagnosis) -> Source {
    Source::DiagnosisId(diagnosis.diagnosis_id.clone())
}

#[tokio::test]
async fn growth_is_told_in_millilitres_and_by_diameters() -> anyhow::Result<()> {
    let harness = sqlite().await?;
    let lesions = vec![lesion(84.0, HERE, 30.0), lesion(2.0, FAR, 12.0)];
    let (earlier, later) = two_dates(&harness, lesions).await?;
    let days = ["2026-01-01", "2026-03-02"];
    let comparison = compare(&harness, (of(&earlier), days[0]), (of(&later), days[1])).await?;

    assert_eq!((&comparison.patient_id, comparison.interval_days), (&earlier.patient_id, 60));
    let study = comparison.later.clone().expect("the later study");
    assert_eq!((study.date.as_str(), study.date_origin()), (days[1], DateOrigin::Request));
    assert_eq!((&study.study_id, study.model_id.as_str()), (&later.study_id, MODEL));
    assert_eq!(study.measurements, later.measurements);
    let whole = comparison.volumes[0];
    assert_eq!((whole.part(), whole.earlier_ml, whole.later_ml), (TumourPart::Whole, 42.0, 86.0));
    assert_eq!(whole.change_ml, 44.0);
    assert!((whole.ml_per_month.expect("a rate") - 44.0 / 60.0 * 30.44).abs() < 1e-9);
    assert!(whole.doubling_days.is_some_and(|days| (days - 58.0).abs() < 1.0), "{whole:?}");
    let fates: Vec<LesionFate> = comparison.lesions.iter().map(|change| change.fate()).collect();
    assert_eq!(fates, [LesionFate::Followed, LesionFate::New]);
    assert_eq!(comparison.lesions[1].later_index, Some(1));
    let enhancing = comparison.enhancing.clone().expect("diameters");
    assert_eq!((enhancing.earlier_sum_mm2, enhancing.later_sum_mm2), (625.0, 900.0));
    assert_eq!(enhancing.change(), ImagingChange::Increase);
    assert_eq!(enhancing.reason, "A measurable enhancing lesion is new.");
    assert_eq!(comparison.enhancing_by_volume(), ImagingChange::Increase);
    let whole = comparison.whole.clone().expect("diameters");
    assert_eq!((whole.earlier_sum_mm2, whole.change()), (625.0, ImagingChange::Increase));
    // What holds always, and nothing else.
    assert_eq!(comparison.cautions.len(), 2, "{:?}", comparison.cautions);

    // The same two by their segmentations.
    let segmentation =
        |diagnosis: &Diagnosis| Source::SegmentationId(diagnosis.segmentation_id.clone());
    let sources = (segmentation(&earlier), segmentation(&later));
    let again = compare(&harness, (sources.0, days[0]), (sources.1, days[1])).await?;
    assert_eq!(again, comparison);
    harness.stop().await
}

#[tokio::test]
async fn without_days_those_of_the_uploads_are_taken_with_a_caution() -> anyhow::Result<()> {
    let harness = sqlite().await?;
    let (earlier, _) = two_dates(&harness, Vec::new()).await?;
    // The later one by another model.
    "model-2".clone_into(&mut harness.world.model.lock().unwrap());
    let study_id = harness.study(&earlier.patient_id, vec![lesion(42.0, HERE, 25.0)]);
    let later = DiagnoseRequest {
        request_id: Uuid::now_v7().to_string(),
        study_id,
        symptom_report_id: earlier.symptom_report_id.clone(),
        ..Default::default()
    };
    let later = harness.diagnose(&later).await?.diagnosis;
    let comparison = compare(&harness, (of(&earlier), ""), (of(&later), "")).await?;
    let study = comparison.earlier.clone().expect("the earlier study");
    assert_eq!(study.date_origin(), DateOrigin::Upload);
    // Both were uploaded just now; midnight may lie between.
    assert!(comparison.interval_days <= 1);
    let has = |words: &str| comparison.cautions.iter().any(|text| text.contains(words));
    assert!(has("those of the uploads") && has("different models"), "{:?}", comparison.cautions);
    let enhancing = comparison.enhancing.expect("diameters");
    assert_eq!(enhancing.change(), ImagingChange::Stable);
    harness.stop().await
}

#[tokio::test]
async fn a_study_under_the_old_id_of_a_merged_patient_is_theirs() -> anyhow::Result<()> {
    let harness = sqlite().await?;
    let own = harness.patient();
    let first = harness.diagnose(&own).await?.diagnosis;
    let old_id = Uuid::now_v7().to_string();
    let study_id = harness.study(&old_id, vec![lesion(42.0, HERE, 25.0)]);
    let of_old = DiagnoseRequest {
        request_id: Uuid::now_v7().to_string(),
        study_id,
        symptom_report_id: own.symptom_report_id.clone(),
        ..Default::default()
    };
    let Err(status) = harness.diagnose(&of_old).await else { panic!("another patient's study") };
    assert_eq!(reason(&status), "DIFFERENT_PATIENTS");
    harness.merge(&old_id, &first.patient_id);
    let second = harness.diagnose(&of_old).await?.diagnosis;
    assert_eq!(second.patient_id, first.patient_id);
    let comparison = compare(&harness, (of(&first), ""), (of(&second), "")).await?;
    assert!(comparison.earlier.is_some());
    harness.stop().await
}

#[tokio::test]
async fn compare_studies_refuses_what_it_should() -> anyhow::Result<()> {
    let harness = sqlite().await?;
    let (earlier, later) = two_dates(&harness, vec![lesion(84.0, HERE, 30.0)]).await?;
    let (stranger, _) = two_dates(&harness, Vec::new()).await?;
    harness.hold();
    let mut events = begin(&harness.client, &harness.patient()).await?;
    let unfinished = Source::DiagnosisId(until_segmenting(&mut events).await?);
    drop(events);
    let id = || Uuid::now_v7().to_string();
    let (earlier, later, stranger) = (of(&earlier), of(&later), of(&stranger));
    // (what the row is for, earlier, later, code, reason)
    let table = [
        (
            "no ids",
            (Source::DiagnosisId("banana".to_owned()), ""),
            (later.clone(), ""),
            Code::InvalidArgument,
            "INVALID_FIELDS",
        ),
        (
            "one day",
            (earlier.clone(), "2026-01-01"),
            (later.clone(), ""),
            Code::InvalidArgument,
            "INVALID_FIELDS",
        ),
        (
            "no day",
            (earlier.clone(), "2026-02-30"),
            (later.clone(), "2026-03-01"),
            Code::InvalidArgument,
            "INVALID_FIELDS",
        ),
        (
            "reversed",
            (earlier.clone(), "2026-03-01"),
            (later.clone(), "2026-02-01"),
            Code::InvalidArgument,
            "INVALID_FIELDS",
        ),
        (
            "one study",
            (earlier.clone(), ""),
            (earlier.clone(), ""),
            Code::InvalidArgument,
            "INVALID_FIELDS",
        ),
        (
            "someone else",
            (earlier.clone(), ""),
            (stranger, ""),
            Code::FailedPrecondition,
            "DIFFERENT_PATIENTS",
        ),
        (
            "unfinished",
            (earlier.clone(), ""),
            (unfinished, ""),
            Code::FailedPrecondition,
            "DIAGNOSIS_NOT_SEGMENTED",
        ),
        (
            "no diagnosis",
            (earlier.clone(), ""),
            (Source::DiagnosisId(id()), ""),
            Code::NotFound,
            "DIAGNOSIS_NOT_FOUND",
        ),
        (
            "no segmentation",
            (earlier, ""),
            (Source::SegmentationId(id()), ""),
            Code::NotFound,
            "SEGMENTATION_NOT_FOUND",
        ),
    ];
    for (case, earlier, later, code, expected) in table {
        let status = compare(&harness, earlier, later).await.expect_err(case);
        assert_eq!((status.code(), reason(&status).as_str()), (code, expected), "case: {case}");
    }
    let request = CompareStudiesRequest { earlier: None, later: None };
    let status = harness.client.clone().compare_studies(request).await.expect_err("empty");
    assert_eq!(reason(&status), "INVALID_FIELDS");
    harness.release();
    harness.stop().await
}
