//! Diagnoses over a real socket, with a real database and the other services in process.

mod callers;
mod compare;
mod harness;
mod tenants;

use std::{sync::atomic::Ordering, time::Duration};

use harness::{begin, begin_within, read, sqlite, start, start_with, until_segmenting};
use neurotriage_domain::{AssessmentId, BlobDigest, DiagnosisId, PatientId};
use neurotriage_migrations::referral::Migrator;
use neurotriage_proto::{
    referral::v1::{DiagnoseRequest, DiagnosisState, DiagnosisStep, Verdict},
    segmentation::v1::Space,
};
use neurotriage_referral::{
    diagnosis::{
        Diagnosis, DiagnosisLimits, DiagnosisRequest, DiagnosisStore as _, Ending, Origin,
    },
    store::SqlReferralStore,
};
use neurotriage_service_kit::audit::Call;
use neurotriage_testkit::{TestDb, databases};
use time::OffsetDateTime;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::support::{keys::ledger, neighbours::MODEL};

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

fn asks_to_retry(status: &Status) -> bool {
    status.get_details_retry_info().is_some_and(|retry| retry.retry_delay.is_some())
}

fn fresh(request: &DiagnoseRequest) -> DiagnoseRequest {
    DiagnoseRequest { request_id: Uuid::now_v7().to_string(), ..request.clone() }
}

#[tokio::test]
async fn a_study_goes_the_whole_path_and_a_repeated_request_is_answered_from_the_store()
-> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let harness = start(db).await?;
        let request = harness.patient();
        let watched = harness.diagnose(&request).await?;

        let steps: Vec<DiagnosisStep> = watched.progress.iter().map(|at| at.step()).collect();
        use DiagnosisStep::{Assess, Check, Localise, Queue, Segment};
        assert_eq!(steps, [Check, Queue, Segment, Segment, Localise, Localise, Assess]);
        let fractions: Vec<f64> = watched.progress.iter().map(|at| at.fraction).collect();
        assert_eq!(fractions, [1.0, 0.0, 0.25, 1.0, 0.0, 0.0, 0.0]);
        assert_eq!(watched.sequences, [1, 2, 3, 4, 5, 6, 7, 8]);

        let diagnosis = watched.diagnosis;
        assert_eq!(diagnosis.state(), DiagnosisState::Finished);
        assert_eq!(diagnosis.request_id, request.request_id);
        assert_eq!(diagnosis.study_id, request.study_id);
        assert_eq!(diagnosis.symptom_report_id, request.symptom_report_id);
        assert!(diagnosis.created_at.is_some() && diagnosis.finished_at.is_some());
        let assessment = diagnosis.assessment.clone().expect("an assessment");
        assert_eq!(assessment.verdict(), Verdict::Concordant);
        assert_eq!(assessment.segmentation_id, diagnosis.segmentation_id);
        assert_eq!(assessment.patient_id, diagnosis.patient_id);
        assert_eq!(assessment.hospitals.len(), 3);
        let measurements = diagnosis.measurements.clone().expect("measurements");
        assert_eq!((measurements.whole_ml, measurements.enhancing_ml), (42.0, 21.0));
        assert_eq!(measurements.lesions[0].enhancing_axial.map(|it| it.product_mm2), Some(625.0));

        let provenance = diagnosis.provenance.clone().expect("provenance");
        assert_eq!(provenance.model_id, MODEL);
        assert_eq!(provenance.weights_sha256, "weights of model-1");
        assert_eq!(provenance.mask.clone().expect("a mask").digest, "a5".repeat(32));
        assert_eq!((provenance.atlas.as_str(), provenance.space()), ("atlas 3", Space::Sri24));
        assert_eq!(provenance.prepared_digest, "b6".repeat(32));
        assert_eq!(provenance.preparation, "whole/1");
        assert_eq!(provenance.lexicon_version, "lexicon-7");
        assert_eq!(provenance.evidence_version, assessment.evidence_version);
        assert_eq!(provenance.ranking_version, assessment.ranking_version);
        assert!(!provenance.ranking_version.is_empty());
        assert_eq!(provenance.code_version, env!("CARGO_PKG_VERSION"));

        let calls = harness.world.deadlines.lock().unwrap().len();
        let again = harness.diagnose(&request).await?;
        assert_eq!((again.diagnosis, again.sequences), (diagnosis.clone(), vec![1]));
        assert_eq!(harness.get(&diagnosis.diagnosis_id).await?, diagnosis);
        assert_eq!(harness.world.deadlines.lock().unwrap().len(), calls);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_caller_that_goes_takes_the_call_along_and_a_repeat_goes_on() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let harness = start(db).await?;
        let request = harness.patient();
        harness.hold();
        let mut events = begin(&harness.client, &request).await?;
        let diagnosis_id = until_segmenting(&mut events).await?;
        drop(events);
        harness.dropped(1).await?;

        let left = harness.get(&diagnosis_id).await?;
        assert_eq!(left.state(), DiagnosisState::Unfinished);
        assert!(left.finished_at.is_none() && left.assessment.is_none());
        assert_eq!(left.segmentation_id, "");
        let provenance = left.provenance.expect("provenance");
        assert_eq!((provenance.model_id.as_str(), provenance.code_version.as_str()), ("", ""));

        harness.release();
        let watched = harness.diagnose(&request).await?;
        assert_eq!(watched.diagnosis.diagnosis_id, diagnosis_id);
        assert_eq!(watched.diagnosis.state(), DiagnosisState::Finished);
        assert_eq!(watched.diagnosis.created_at, left.created_at);
        assert_eq!(harness.world.marked.load(Ordering::SeqCst), 1);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_was_segmented_stays_when_a_service_is_away() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let harness = start(db).await?;
        let request = harness.patient();
        harness.world.patients_away.store(true, Ordering::SeqCst);
        let status = harness.diagnose(&request).await.expect_err("records is away");
        assert_eq!(
            (status.code(), reason(&status).as_str()),
            (Code::Unavailable, "UPSTREAM_UNAVAILABLE")
        );
        assert!(asks_to_retry(&status));

        // Another model serves meanwhile: the diagnosis keeps the mask that it has.
        "model-2".clone_into(&mut harness.world.model.lock().unwrap());
        harness.world.patients_away.store(false, Ordering::SeqCst);
        let calls = harness.world.deadlines.lock().unwrap().len();
        let watched = harness.diagnose(&request).await?;
        let provenance = watched.diagnosis.provenance.expect("provenance");
        assert_eq!(provenance.model_id, MODEL);
        let called: Vec<&str> =
            harness.world.deadlines.lock().unwrap()[calls..].iter().map(|call| call.0).collect();
        assert!(!called.contains(&"SegmentStudy"), "{called:?}");
        let steps: Vec<DiagnosisStep> = watched.progress.iter().map(|at| at.step()).collect();
        assert_eq!(steps, [DiagnosisStep::Check, DiagnosisStep::Assess]);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_connection_that_breaks_while_the_network_runs_is_a_service_that_is_away()
-> anyhow::Result<()> {
    let harness = sqlite().await?;
    let request = harness.patient();
    harness.hold();
    let mut events = begin(&harness.client, &request).await?;
    until_segmenting(&mut events).await?;
    harness.cut.send_replace(());
    let status = read(events).await.expect_err("the connection is cut");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(asks_to_retry(&status));
    harness.dropped(1).await?;
    harness.release();
    harness.diagnose(&request).await?;
    harness.stop().await
}

#[tokio::test]
async fn the_callers_deadline_is_passed_on_and_ends_the_work() -> anyhow::Result<()> {
    let harness = sqlite().await?;
    let request = harness.patient();
    let time = Duration::from_secs(5);
    read(begin_within(&harness.client, &request, time).await?).await?;
    for (method, text) in harness.world.deadlines.lock().unwrap().drain(..) {
        let mut metadata = tonic::metadata::MetadataMap::new();
        metadata.insert("grpc-timeout", text.parse()?);
        let left = neurotriage_service_kit::deadline::of_caller(&metadata).expect(method);
        assert!(left < time && left > Duration::ZERO, "{method}: {text}");
    }

    // Without a deadline a call that reads a row has ten seconds, and the network the service's limit.
    let patient = harness.patient();
    harness.diagnose(&patient).await?;
    let called = harness.world.deadlines.lock().unwrap().clone();
    let of = |method: &str| called.iter().find(|call| call.0 == method).expect("called").1.clone();
    assert_eq!(of("GetStudy"), "10000000u");
    let segmenting = of("SegmentStudy");
    assert!(segmenting.starts_with("3599"), "{segmenting}");

    harness.hold();
    let held = harness.patient();
    let events = begin_within(&harness.client, &held, Duration::from_millis(500)).await?;
    let status = read(events).await.expect_err("the time is over");
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::DeadlineExceeded, "DEADLINE_EXCEEDED")
    );
    harness.dropped(1).await?;
    harness.release();
    harness.diagnose(&held).await?;
    harness.stop().await
}

#[tokio::test]
async fn two_callers_of_one_request_share_the_work_and_the_result() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let harness = start(db).await?;
        let request = harness.patient();
        harness.hold();
        let mut first = begin(&harness.client, &request).await?;
        let diagnosis_id = until_segmenting(&mut first).await?;
        let mut second = begin(&harness.client, &request).await?;
        // The second sees how far the first has come.
        assert_eq!(until_segmenting(&mut second).await?, diagnosis_id);
        harness.release();
        let (first, second) = tokio::try_join!(read(first), read(second))?;
        assert_eq!(first.diagnosis, second.diagnosis);
        assert_eq!(harness.world.marked.load(Ordering::SeqCst), 1);
        assert_eq!(*harness.world.dropped.borrow(), 0);
        let segmented = harness
            .world
            .deadlines
            .lock()
            .unwrap()
            .iter()
            .filter(|it| it.0 == "SegmentStudy")
            .count();
        assert_eq!(segmented, 1);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn who_watches_takes_over_when_the_one_that_works_goes() -> anyhow::Result<()> {
    let harness = sqlite().await?;
    let request = harness.patient();
    harness.hold();
    let mut first = begin(&harness.client, &request).await?;
    let diagnosis_id = until_segmenting(&mut first).await?;
    let mut second = begin(&harness.client, &request).await?;
    until_segmenting(&mut second).await?;
    drop(first);
    harness.dropped(1).await?;
    harness.release();
    let watched = read(second).await?;
    assert_eq!(watched.diagnosis.diagnosis_id, diagnosis_id);
    assert_eq!(harness.world.marked.load(Ordering::SeqCst), 1);
    harness.stop().await
}

#[tokio::test]
async fn two_replicas_give_one_request_one_result() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let harness = start(db).await?;
        let other = harness.another_replica().await?;
        let request = harness.patient();
        harness.hold();
        let mut here = begin(&harness.client, &request).await?;
        let mut there = begin(&other.client, &request).await?;
        let ids = tokio::try_join!(until_segmenting(&mut here), until_segmenting(&mut there))?;
        assert_eq!(ids.0, ids.1);
        harness.release();
        let (here, there) = tokio::try_join!(read(here), read(there))?;
        assert_eq!(here.diagnosis, there.diagnosis);
        other.stop().await?;
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn calls_beyond_the_limit_are_refused_and_answers_are_not() -> anyhow::Result<()> {
    let limits = DiagnosisLimits { running_max: 1, time_max: Duration::from_secs(3) };
    let harness = start_with(TestDb::sqlite::<Migrator>().await?, limits).await?;
    let done = harness.patient();
    harness.diagnose(&done).await?;
    harness.hold();
    let slow = harness.patient();
    let mut events = begin(&harness.client, &slow).await?;
    until_segmenting(&mut events).await?;
    let status = harness.diagnose(&fresh(&done)).await.expect_err("one runs");
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::ResourceExhausted, "DIAGNOSES_BUSY")
    );
    assert!(asks_to_retry(&status));
    harness.diagnose(&done).await?;
    // The service's own limit of time ends the one that runs, and frees its slot.
    let status = read(events).await.expect_err("the time is over");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    harness.release();
    harness.diagnose(&fresh(&done)).await?;
    harness.stop().await
}

#[tokio::test]
async fn a_model_that_was_asked_for_marks_the_tumour_or_none_does() -> anyhow::Result<()> {
    let harness = sqlite().await?;
    let wanting =
        |model_id: &str| DiagnoseRequest { model_id: model_id.to_owned(), ..harness.patient() };
    let diagnosis = harness.diagnose(&wanting(MODEL)).await?.diagnosis;
    assert_eq!(diagnosis.provenance.expect("provenance").model_id, MODEL);
    let status = harness.diagnose(&wanting("model-9")).await.expect_err("another serves");
    assert_eq!(
        (status.code(), reason(&status).as_str()),
        (Code::FailedPrecondition, "OTHER_MODEL_SERVES")
    );
    assert_eq!(harness.world.marked.load(Ordering::SeqCst), 1);
    // It changes while the study is segmented.
    harness.hold();
    let request = wanting(MODEL);
    let mut events = begin(&harness.client, &request).await?;
    until_segmenting(&mut events).await?;
    "model-2".clone_into(&mut harness.world.model.lock().unwrap());
    harness.release();
    let status = read(events).await.expect_err("another serves now");
    assert_eq!(reason(&status), "OTHER_MODEL_SERVES");
    harness.stop().await
}

#[tokio::test]
async fn diagnose_refuses_what_it_should() -> anyhow::Result<()> {
    let harness = sqlite().await?;
    let base = harness.patient();
    let stranger = harness.patient();
    harness.diagnose(&base).await?;
    let change = |change: &dyn Fn(&mut DiagnoseRequest)| {
        let mut request = fresh(&base);
        change(&mut request);
        request
    };
    let id = || Uuid::now_v7().to_string();
    // (what the row is for, request, code, reason)
    let table = [
        ("no ids", DiagnoseRequest::default(), Code::InvalidArgument, "INVALID_FIELDS"),
        (
            "too many hospitals",
            change(&|request| request.hospitals_max = 51),
            Code::InvalidArgument,
            "INVALID_FIELDS",
        ),
        (
            "no model's name",
            change(&|request| request.model_id = "a model".to_owned()),
            Code::InvalidArgument,
            "INVALID_FIELDS",
        ),
        ("no study", change(&|request| request.study_id = id()), Code::NotFound, "STUDY_NOT_FOUND"),
        (
            "no report",
            change(&|request| request.symptom_report_id = id()),
            Code::NotFound,
            "SYMPTOM_REPORT_NOT_FOUND",
        ),
        (
            "someone else",
            change(&|request| request.study_id.clone_from(&stranger.study_id)),
            Code::FailedPrecondition,
            "DIFFERENT_PATIENTS",
        ),
        (
            "used request id",
            DiagnoseRequest { hospitals_max: 4, ..base.clone() },
            Code::AlreadyExists,
            "REQUEST_ID_REUSED",
        ),
        (
            "used request id, another model",
            DiagnoseRequest { model_id: MODEL.to_owned(), ..base.clone() },
            Code::AlreadyExists,
            "REQUEST_ID_REUSED",
        ),
    ];
    for (case, request, code, expected) in table {
        let status = harness.diagnose(&request).await.expect_err(case);
        assert_eq!((status.code(), reason(&status).as_str()), (code, expected), "case: {case}");
    }
    let invalid = DiagnoseRequest { hospitals_max: 51, ..Default::default() };
    let status = harness.diagnose(&invalid).await.expect_err("invalid");
    let fields: Vec<String> = status
        .get_details_bad_request()
        .map(|bad| bad.field_violations.into_iter().map(|violation| violation.field).collect())
        .unwrap_or_default();
    assert_eq!(fields, ["request_id", "study_id", "symptom_report_id", "hospitals_max"]);
    for (case, diagnosis_id, code, expected) in [
        ("not an id", "banana".to_owned(), Code::InvalidArgument, "INVALID_FIELDS"),
        ("unknown", id(), Code::NotFound, "DIAGNOSIS_NOT_FOUND"),
    ] {
        let status = harness.get(&diagnosis_id).await.expect_err(case);
        assert_eq!((status.code(), reason(&status).as_str()), (code, expected), "case: {case}");
    }
    harness.stop().await
}

#[tokio::test]
async fn a_segmentation_that_ends_without_a_result_is_an_error() -> anyhow::Result<()> {
    let harness = sqlite().await?;
    let request = harness.patient();
    harness.world.speechless.store(true, Ordering::SeqCst);
    let status = harness.diagnose(&request).await.expect_err("no result");
    assert_eq!((status.code(), reason(&status).as_str()), (Code::Internal, "UPSTREAM_MALFORMED"));
    harness.world.speechless.store(false, Ordering::SeqCst);
    harness.diagnose(&request).await?;
    harness.stop().await
}

#[tokio::test]
async fn the_schema_refuses_an_end_without_a_segmentation() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let store = SqlReferralStore::new(ledger(&db.service));
        let call = Call::of_program("north-lake".parse()?, "test")?;
        let request = DiagnosisRequest {
            request_id: Uuid::now_v7(),
            study_id: Uuid::now_v7().into(),
            symptom_report_id: Uuid::now_v7().into(),
            hospitals_max: 5,
            model_id: None,
        };
        let diagnosis = Diagnosis {
            diagnosis_id: DiagnosisId::generate(),
            created_at: OffsetDateTime::UNIX_EPOCH,
            patient_id: PatientId::generate(),
            request: request.clone(),
            origin: Origin {
                uploaded_at: OffsetDateTime::UNIX_EPOCH,
                prepared_digest: BlobDigest::from_bytes([7; 32]),
                preparation: "whole/1".to_owned(),
                lexicon_version: "lexicon-7".to_owned(),
            },
            marking: None,
            ending: None,
        };
        assert_eq!(store.insert_diagnosis(&call, &diagnosis).await?, Some(diagnosis.clone()));
        let twice = Diagnosis { diagnosis_id: DiagnosisId::generate(), ..diagnosis.clone() };
        assert_eq!(store.insert_diagnosis(&call, &twice).await?, None);
        let found = store.find_begun(&call, &request).await?;
        assert_eq!(found, Some(diagnosis.clone()));
        let ending = Ending {
            assessment_id: AssessmentId::generate(),
            finished_at: OffsetDateTime::UNIX_EPOCH,
            code_version: "0".to_owned(),
        };
        assert!(store.add_ending(&call, diagnosis.diagnosis_id, &ending).await.is_err());
        assert_eq!(store.find_diagnosis(&call, diagnosis.diagnosis_id).await?, diagnosis);
        db.drop().await?;
    }
    Ok(())
}
