//! Many creates in one call, and changes as a stream, in SQLite and PostgreSQL.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use neurotriage_migrations::records::Migrator;
use neurotriage_proto::records::v1::{
    BatchCreateRequest, BatchCreateResult, Change, ChangeAction, CreateNoteRequest,
    CreatePatientRequest, CreateSymptomReportRequest, LinkStudyRequest, Patient, RecordKind,
    UpdatePatientRequest, WatchChangesRequest, WatchChangesResponse, batch_create_request::Create,
    batch_create_result::Outcome,
};
use neurotriage_records::{
    change::WatchersMax,
    store::{change_row, patient_row},
};
use neurotriage_testkit::{
    databases,
    issuer::{Bearer, Issuer, claims},
};
use prost_types::FieldMask;
use sea_orm::{DbBackend, EntityTrait as _, PaginatorTrait as _, QueryOrder as _};
use tokio::time::{Instant, timeout};
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use crate::harness::{
    Client, Harness, Start, fields, metadata, patient, reason, start, start_with,
};

/// Longest that a test waits for something that happens at once.
const PATIENCE: Duration = Duration::from_secs(20);
const STUDY: &str = "0190aaaa-bbbb-7ccc-8ddd-eeeeffffaaaa";

fn request_id() -> String {
    Uuid::now_v7().to_string()
}

fn create(create: Create) -> BatchCreateRequest {
    BatchCreateRequest { create: Some(create) }
}

fn create_patient(patient: Patient) -> BatchCreateRequest {
    create(Create::Patient(CreatePatientRequest {
        request_id: request_id(),
        patient: Some(patient),
    }))
}

fn create_note(patient_id: &str, text: &str) -> BatchCreateRequest {
    create(Create::Note(CreateNoteRequest {
        request_id: request_id(),
        patient_id: patient_id.to_owned(),
        text: text.to_owned(),
    }))
}

/// Says how each create ended: its reason if it was refused.
fn ends(results: &[BatchCreateResult]) -> Vec<&str> {
    let end = |result| match result {
        &BatchCreateResult { outcome: Some(Outcome::Id(_)) } => "stored",
        BatchCreateResult { outcome: Some(Outcome::Error(error)) } => error.reason.as_str(),
        BatchCreateResult { outcome: None } => "nothing",
    };
    results.iter().map(end).collect()
}

#[tokio::test]
async fn each_create_of_a_batch_stands_for_itself() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let known = harness.create(patient(1)).await?;
        let id = known.patient_id.clone();
        let nobody = request_id();
        let wrong = Patient { name: "n".repeat(300), sex: 99, ..patient(3) };
        let report = CreateSymptomReportRequest {
            request_id: request_id(),
            patient_id: id.clone(),
            text: "headache".to_owned(),
            ..Default::default()
        };
        let link = |request_id: String| LinkStudyRequest {
            request_id,
            patient_id: id.clone(),
            study_id: STUDY.to_owned(),
            ..Default::default()
        };
        let creates = vec![
            create_patient(patient(2)),
            create_patient(wrong),
            create(Create::SymptomReport(report)),
            create_patient(patient(1)),
            create(Create::StudyLink(link(request_id()))),
            create_note(&nobody, "seen"),
            create_note(&id, " "),
            BatchCreateRequest { create: None },
            create_note("김하나", "seen"),
            create_note(&id, "seen today"),
        ];
        let expected = [
            "stored",
            "INVALID_FIELDS",
            "stored",
            "MEDICAL_RECORD_NUMBER_TAKEN",
            "stored",
            "PATIENT_NOT_FOUND",
            "INVALID_FIELDS",
            "INVALID_FIELDS",
            "INVALID_FIELDS",
            "stored",
        ];
        let stream = tokio_stream::iter(creates.clone());
        let results = harness.client.batch_create(stream).await?.into_inner().results;
        assert_eq!(ends(&results), expected);
        let Some(Outcome::Error(error)) = &results[1].outcome else { panic!("{results:?}") };
        assert_eq!(error.code, i32::from(Code::InvalidArgument));
        let names: Vec<&str> =
            error.field_violations.iter().map(|wrong| wrong.field.as_str()).collect();
        assert_eq!(names, ["patient.name", "patient.sex"]);
        let Some(Outcome::Error(error)) = &results[3].outcome else { panic!("{results:?}") };
        assert_eq!(error.code, i32::from(Code::AlreadyExists));
        assert_eq!(error.metadata["patientId"], id);
        assert!(!format!("{results:?}").contains("김"));

        // Sent again it makes nothing, and tells the same.
        let stream = tokio_stream::iter(creates);
        let again = harness.client.batch_create(stream).await?.into_inner().results;
        assert_eq!(again, results);
        assert_eq!(patient_row::Entity::find().count(harness.store()).await?, 2);
        assert_eq!(harness.notes(&id).await?.len(), 1);
        let Some(Outcome::Id(made)) = &results[0].outcome else { panic!("{results:?}") };
        assert_eq!(
            harness.get(made).await?.medical_record_numbers,
            patient(2).medical_record_numbers
        );
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_batch_is_limited() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let none = harness.client.batch_create(tokio_stream::empty()).await?.into_inner().results;
        assert!(none.is_empty());
        // Refused before anything is asked of the database, with as much to say as can be.
        let wrong = |at: usize| {
            let mut wrong = patient(at);
            wrong.medical_record_numbers = (0..16)
                .map(|_| neurotriage_proto::records::v1::MedicalRecordNumber::default())
                .collect();
            create_patient(wrong)
        };
        let stream = tokio_stream::iter((0..10_000).map(wrong));
        let results = harness.client.batch_create(stream).await?.into_inner().results;
        assert_eq!(results.len(), 10_000);
        assert!(ends(&results).iter().all(|end| *end == "INVALID_FIELDS"));
        let Some(Outcome::Error(first)) = &results[0].outcome else { panic!("{:?}", results[0]) };
        assert_eq!(first.field_violations.len(), 32);

        let nothing = |_| BatchCreateRequest { create: None };
        let stream = tokio_stream::iter((0..10_001).map(nothing));
        let status = harness.client.batch_create(stream).await.unwrap_err();
        assert_eq!(
            (status.code(), fields(&status)),
            (Code::InvalidArgument, vec!["create".to_owned()])
        );
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_a_broken_batch_stored_is_found_by_sending_it_again() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let creates: Vec<_> = (0..20).map(|at| create_patient(patient(at))).collect();
        let (sender, receiver) = tokio::sync::mpsc::channel(1);
        let stream = tokio_stream::wrappers::ReceiverStream::new(receiver);
        let mut client = harness.client.clone();
        let call = tokio::spawn(async move { client.batch_create(stream).await });
        for create in &creates[..12] {
            sender.send(create.clone()).await?;
        }
        // The caller goes away in the midst of it.
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
        drop(sender);
        let stream = tokio_stream::iter(creates);
        let results = harness.client.batch_create(stream).await?.into_inner().results;
        assert_eq!(ends(&results), ["stored"; 20]);
        assert_eq!(patient_row::Entity::find().count(harness.store()).await?, 20);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn as_many_wrong_fields_as_fit_are_named() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let patient_id = harness.create(patient(1)).await?.patient_id;
        let finding = neurotriage_proto::records::v1::Finding {
            side: 99,
            onset: 99,
            severity: 1,
            ..Default::default()
        };
        for (case, findings) in [("as many as may be", 100), ("far too many", 100_000)] {
            let request = CreateSymptomReportRequest {
                request_id: request_id(),
                patient_id: patient_id.clone(),
                findings: vec![finding.clone(); findings],
                ..Default::default()
            };
            let status = harness.client.create_symptom_report(request).await.expect_err(case);
            assert_eq!(status.code(), Code::InvalidArgument, "case: {case}: {status:?}");
            assert_eq!(fields(&status).len(), 32, "case: {case}");
        }
        let contacts = vec![neurotriage_proto::records::v1::ContactPoint::default(); 100_000];
        let wrong = Patient { contact_points: contacts, ..patient(2) };
        let status = harness.create(wrong).await.unwrap_err();
        assert_eq!(fields(&status)[0], "patient.contact_points[0].system");
        harness.stop().await?;
    }
    Ok(())
}

async fn watch(
    client: &mut Client,
    request: WatchChangesRequest,
) -> Result<Streaming<WatchChangesResponse>, Status> {
    Ok(client.watch_changes(request).await?.into_inner())
}

fn after(resume_token: &str) -> WatchChangesRequest {
    WatchChangesRequest { resume_token: resume_token.to_owned(), ..Default::default() }
}

fn from_beginning() -> WatchChangesRequest {
    WatchChangesRequest { from_beginning: true, ..Default::default() }
}

async fn next(
    changes: &mut Streaming<WatchChangesResponse>,
) -> anyhow::Result<WatchChangesResponse> {
    let told = timeout(PATIENCE, changes.message()).await??;
    told.ok_or_else(|| anyhow::anyhow!("the stream ended"))
}

async fn next_change(changes: &mut Streaming<WatchChangesResponse>) -> anyhow::Result<Change> {
    loop {
        if let Some(change) = next(changes).await?.change {
            return Ok(change);
        }
    }
}

fn shown(change: &Change) -> (RecordKind, ChangeAction, u64) {
    (change.kind(), change.action(), change.revision)
}

#[tokio::test]
async fn a_watcher_is_told_every_kind_of_change() -> anyhow::Result<()> {
    use ChangeAction::{Created, Deleted, Erased, Merged, Undeleted, Updated};
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let a = harness.create(patient(1)).await?;
        let mut client = harness.client.clone();
        let mut changes = watch(&mut client, WatchChangesRequest::default()).await?;
        // At once, that it is heard, or what was being committed.
        let first = next(&mut changes).await?;
        assert!(first.change.is_none_or(|change| change.record_id == a.patient_id));

        let b = harness.create(patient(2)).await?;
        let report = harness.report(&b.patient_id, "headache").await?;
        harness.link(&b.patient_id, STUDY).await?;
        harness.note(&b.patient_id, "seen").await?;
        harness.get(&a.patient_id).await?;
        harness.update(a.clone(), &["sex"]).await?;
        let kept = harness.get(&a.patient_id).await?;
        harness.merge(&kept, &b).await?;
        harness.delete_entry(&report.symptom_report_id, 1).await?;
        harness.delete(&a.patient_id, 3).await?;
        harness.undelete(&a.patient_id, 4).await?;
        harness.erase(&a.patient_id, 5).await?;
        let expected = [
            (RecordKind::Patient, Created, 1),
            (RecordKind::SymptomReport, Created, 1),
            (RecordKind::StudyLink, Created, 1),
            (RecordKind::Note, Created, 1),
            (RecordKind::Patient, Updated, 2),
            (RecordKind::Patient, Merged, 3),
            (RecordKind::Patient, Merged, 2),
            (RecordKind::SymptomReport, Deleted, 2),
            (RecordKind::Patient, Deleted, 4),
            (RecordKind::Patient, Undeleted, 5),
        ];
        for expected in expected {
            let mut change = next_change(&mut changes).await?;
            if (&change.record_id, change.action()) == (&a.patient_id, Created) {
                change = next_change(&mut changes).await?;
            }
            assert_eq!(shown(&change), expected);
            let merged = matches!(change.action(), Merged | Deleted | Undeleted);
            let of = if merged || change.action() == Updated { &a } else { &b };
            assert_eq!(change.patient_id, of.patient_id, "{change:?}");
        }
        let erased = [next_change(&mut changes).await?, next_change(&mut changes).await?];
        let ids: BTreeSet<&str> = erased.iter().map(|change| change.record_id.as_str()).collect();
        assert_eq!(ids, BTreeSet::from([a.patient_id.as_str(), b.patient_id.as_str()]));
        assert!(erased.iter().all(|change| change.action() == Erased));
        drop(changes);

        // From the beginning, of one patient: of who remains too, if they were merged.
        let own = [Created, Updated, Merged, Merged, Deleted, Deleted, Undeleted, Erased, Erased];
        let request = WatchChangesRequest { patient_id: a.patient_id.clone(), ..from_beginning() };
        let mut changes = watch(&mut client, request).await?;
        for action in own {
            let change = next_change(&mut changes).await?;
            assert_eq!((change.action(), &change.patient_id), (action, &a.patient_id));
        }
        let request = WatchChangesRequest { patient_id: b.patient_id.clone(), ..from_beginning() };
        let mut of_both = watch(&mut client, request).await?;
        let mut told: Vec<(RecordKind, String)> = Vec::new();
        for _ in 0..own.len() + 4 {
            let change = next_change(&mut of_both).await?;
            if change.patient_id == b.patient_id {
                assert_eq!(change.action(), Created);
                told.push((change.kind(), change.patient_id));
            }
        }
        let kinds: Vec<RecordKind> = told.iter().map(|(kind, _)| *kind).collect();
        let expected = [RecordKind::Patient, RecordKind::SymptomReport, RecordKind::StudyLink];
        assert_eq!(kinds, [expected.as_slice(), &[RecordKind::Note]].concat());
        drop(of_both);
        harness.stop_watched(changes).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_watch_of_one_patient_follows_them_into_a_merge() -> anyhow::Result<()> {
    use ChangeAction::{Created, Merged};
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let kept = harness.create(patient(1)).await?;
        let duplicate = harness.create(patient(2)).await?;
        let request =
            WatchChangesRequest { patient_id: duplicate.patient_id.clone(), ..Default::default() };
        let mut changes = watch(&mut harness.client.clone(), request).await?;
        next(&mut changes).await?;
        harness.note(&duplicate.patient_id, "seen").await?;
        loop {
            let change = next_change(&mut changes).await?;
            assert_eq!(change.patient_id, duplicate.patient_id);
            if change.kind() == RecordKind::Note {
                break;
            }
        }
        let other = harness.create(patient(3)).await?;
        harness.merge(&kept, &duplicate).await?;
        harness.note(&other.patient_id, "not theirs").await?;
        harness.note(&kept.patient_id, "theirs").await?;
        for action in [Merged, Merged, Created] {
            let change = next_change(&mut changes).await?;
            assert_eq!((change.action(), &change.patient_id), (action, &kept.patient_id));
        }
        drop(changes);

        // Merged once more, who stood in between for a while is not left out.
        let (kept, other) =
            (harness.get(&kept.patient_id).await?, harness.get(&other.patient_id).await?);
        harness.merge(&other, &kept).await?;
        let request = WatchChangesRequest {
            patient_id: duplicate.patient_id.clone(),
            from_beginning: true,
            ..Default::default()
        };
        let mut changes = watch(&mut harness.client.clone(), request).await?;
        let mut merged_into = Vec::new();
        while merged_into.len() < 4 {
            let change = next_change(&mut changes).await?;
            if change.action() == Merged {
                merged_into.push(change.patient_id);
            }
        }
        let [one, last] = [&kept.patient_id, &other.patient_id];
        assert_eq!(merged_into.iter().collect::<Vec<_>>(), [one, one, last, last]);
        harness.stop_watched(changes).await?;
    }
    Ok(())
}

impl Harness {
    /// Ends the service while somebody watches.
    async fn stop_watched(
        self,
        mut changes: Streaming<WatchChangesResponse>,
    ) -> anyhow::Result<()> {
        let Self { client, channel, db, stop, server } = self;
        let _ = stop.send(());
        let status = loop {
            match timeout(PATIENCE, changes.message()).await? {
                Ok(Some(_)) => {}
                Ok(None) => anyhow::bail!("the stream ended without saying why"),
                Err(status) => break status,
            }
        };
        assert_eq!(
            (status.code(), reason(&status)),
            (Code::Unavailable, "SHUTTING_DOWN".to_owned())
        );
        assert!(status.get_details_retry_info().is_some());
        drop((client, channel, changes));
        timeout(PATIENCE, server).await???;
        db.drop().await
    }
}

#[tokio::test]
async fn a_watch_of_one_patient_goes_on_behind_the_changes_of_others() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let mut client = harness.client.clone();
        let of_one = harness.create(patient(1)).await?.patient_id;
        let of_none =
            WatchChangesRequest { patient_id: Uuid::now_v7().to_string(), ..from_beginning() };
        let mut places = Vec::new();
        for number in 2..4 {
            harness.create(patient(number)).await?;
            let mut changes = watch(&mut client, of_none.clone()).await?;
            let told = next(&mut changes).await?;
            assert!(told.change.is_none(), "{told:?}");
            places.push(told.resume_token);
        }
        // SQLite looks at a file of its own.
        let postgres = harness.store().get_database_backend() == DbBackend::Postgres;
        assert_eq!(places[0] != places[1], postgres);
        harness.note(&of_one, "seen today").await?;
        let watch_one = WatchChangesRequest { patient_id: of_one, ..after(&places[1]) };
        let mut changes = watch(&mut client, watch_one).await?;
        let mut change = next_change(&mut changes).await?;
        while change.kind() != RecordKind::Note {
            assert!(!postgres, "told again: {change:?}");
            change = next_change(&mut changes).await?;
        }
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn watches_that_may_not_be_are_refused() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let mut client = harness.client.clone();
        let mut first = watch(&mut client, WatchChangesRequest::default()).await?;
        let token = next(&mut first).await?.resume_token;
        let later = [b"c".as_slice(), &i64::MAX.to_be_bytes(), &[0; 8]].concat();
        let later = URL_SAFE_NO_PAD.encode(later);
        let table = [
            ("no token", after("banana"), "resume_token"),
            ("cut", after(&token[..token.len() - 2]), "resume_token"),
            ("of a database that has come further", after(&later), "resume_token"),
            (
                "from two places",
                WatchChangesRequest { from_beginning: true, ..after(&token) },
                "from_beginning",
            ),
            (
                "no patient",
                WatchChangesRequest { patient_id: "김하나".to_owned(), ..Default::default() },
                "patient_id",
            ),
        ];
        for (case, request, field) in table {
            let status = watch(&mut client, request).await.expect_err(case);
            assert_eq!(fields(&status), [field], "case: {case}");
        }
        let second = watch(&mut client, after(&token)).await?;
        let status = watch(&mut client, after(&token)).await.unwrap_err();
        assert_eq!(
            (status.code(), reason(&status)),
            (Code::ResourceExhausted, "TOO_MANY_WATCHERS".to_owned())
        );
        assert_eq!(metadata(&status, "watchersMax"), "2");
        assert!(status.get_details_retry_info().is_some());
        // Others are answered, and a place is free once its watcher has gone.
        harness.create(patient(1)).await?;
        drop(second);
        let begun = Instant::now();
        let third = loop {
            match watch(&mut client, after(&token)).await {
                Ok(third) => break third,
                Err(status) => assert_eq!(reason(&status), "TOO_MANY_WATCHERS"),
            }
            assert!(begun.elapsed() < PATIENCE, "the place is not free");
            tokio::time::sleep(Duration::from_millis(100)).await;
        };
        drop(first);
        harness.stop_watched(third).await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_watch_ends_with_its_token() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let issuer = Issuer::start()?;
        let access = Some(issuer.access().await?);
        let harness = start_with(db, Start { access, ..Start::default() }).await?;
        let mut claims = claims("user/*.rs")?;
        // Good for as long as the leeway, but for some seconds of it.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs();
        claims["exp"] = (now - 26).into();
        let mut client = harness.client_of(&Bearer::new(&issuer.sign(&claims)?)?);
        let mut changes = watch(&mut client, WatchChangesRequest::default()).await?;
        let begun = Instant::now();
        let ended = loop {
            match timeout(PATIENCE, changes.message()).await? {
                Ok(told) => assert!(told.is_some(), "the watch ended without a reason"),
                Err(status) => break status,
            }
        };
        assert_eq!(
            (ended.code(), reason(&ended)),
            (Code::Unauthenticated, "TOKEN_EXPIRED".to_owned())
        );
        assert!(begun.elapsed() < PATIENCE);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_watcher_hears_that_nothing_changes() -> anyhow::Result<()> {
    let mut tasks = tokio::task::JoinSet::new();
    for db in databases::<Migrator>().await? {
        tasks.spawn(async move {
            let mut harness = start(db).await?;
            let mut changes = watch(&mut harness.client, WatchChangesRequest::default()).await?;
            assert_eq!(next(&mut changes).await?.change, None);
            let begun = Instant::now();
            let told = next(&mut changes).await?;
            assert_eq!(told.change, None);
            let waited = begun.elapsed();
            assert!(waited > Duration::from_secs(14), "{waited:?}");
            harness.create(patient(1)).await?;
            // From there on it is told what came after.
            let mut resumed = watch(&mut harness.client, after(&told.resume_token)).await?;
            assert_eq!(next_change(&mut resumed).await?.action(), ChangeAction::Created);
            drop(resumed);
            harness.stop_watched(changes).await
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

/// Writes patients and changes to them; some are refused.
async fn write(mut client: Client, writer: usize) -> Result<(), Status> {
    for step in 0..12 {
        let number = writer * 100 + step;
        let request =
            CreatePatientRequest { request_id: request_id(), patient: Some(patient(number)) };
        let made = client.create_patient(request).await?.into_inner().patient.expect("a patient");
        let request = CreateNoteRequest {
            request_id: request_id(),
            patient_id: made.patient_id.clone(),
            text: "seen".to_owned(),
        };
        client.create_note(request).await?;
        let update_mask = Some(FieldMask { paths: vec!["sex".to_owned()] });
        let request = UpdatePatientRequest { patient: Some(made), update_mask };
        client.update_patient(request.clone()).await?;
        client.update_patient(request).await.unwrap_err();
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_watcher_who_comes_back_misses_nothing_and_sees_nothing_twice() -> anyhow::Result<()> {
    const CHANGES: usize = 8 * 12 * 3;
    for db in databases::<Migrator>().await? {
        let watchers_max = WatchersMax { together: 4, per_hospital: 4 };
        let harness = start_with(db, Start { watchers_max, ..Start::default() }).await?;
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..8 {
            writers.spawn(write(harness.client.clone(), writer));
        }
        // Breaks off after a few changes again and again, and goes on with the last token.
        let mut client = harness.client.clone();
        let broken = tokio::spawn(async move {
            let (mut seen, mut request) = (Vec::new(), from_beginning());
            while seen.len() < CHANGES {
                let mut changes = watch(&mut client, request.clone()).await?;
                for _ in 0..1 + seen.len() % 11 {
                    let told = next(&mut changes).await?;
                    request = after(&told.resume_token);
                    seen.extend(told.change);
                    if seen.len() == CHANGES {
                        break;
                    }
                }
            }
            Ok::<_, anyhow::Error>(seen)
        });
        let mut client = harness.client.clone();
        let steady = tokio::spawn(async move {
            let mut changes = watch(&mut client, from_beginning()).await?;
            let mut seen = Vec::new();
            while seen.len() < CHANGES {
                seen.push(next_change(&mut changes).await?);
            }
            Ok::<_, anyhow::Error>(seen)
        });
        while let Some(ended) = writers.join_next().await {
            ended??;
        }
        let (broken, steady) = (broken.await??, steady.await??);
        let rows = change_row::Entity::find()
            .order_by_asc(change_row::Column::TransactionId)
            .order_by_asc(change_row::Column::Sequence)
            .all(harness.store())
            .await?;
        assert_eq!(rows.len(), CHANGES);
        let stored: Vec<(String, i64)> =
            rows.iter().map(|row| (row.record_id.to_string(), row.revision)).collect();
        for (case, seen) in [("broken off", broken), ("steady", steady)] {
            let seen: Vec<(String, i64)> = seen
                .into_iter()
                .map(|change| (change.record_id, change.revision.try_into().expect("small")))
                .collect();
            let twice = seen.len() - seen.iter().collect::<BTreeSet<_>>().len();
            assert_eq!(twice, 0, "case: {case}");
            // The order is that of the table, and of each record's revisions.
            assert_eq!(seen, stored, "case: {case}");
            let mut last = BTreeMap::new();
            for (id, revision) in &seen {
                let before = last.insert(id, revision);
                assert!(before.is_none_or(|before| before < revision), "case: {case}");
            }
        }
        harness.stop().await?;
    }
    Ok(())
}
