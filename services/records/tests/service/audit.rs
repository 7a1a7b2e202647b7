//! What every call leaves in the audit, in SQLite and PostgreSQL.

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
};

use neurotriage_migrations::records::Migrator;
use neurotriage_proto::records::v1::{
    BatchCreateRequest, CreateNoteRequest, GetNoteRequest, GetPatientRequest, GetStudyLinkRequest,
    GetSymptomReportRequest, ListPatientsRequest, ListStudyLinksRequest, Patient,
    SearchPatientsRequest, WatchChangesRequest, batch_create_request::Create,
    records_service_client::RecordsServiceClient,
};
use neurotriage_sealing::Keyring;
use neurotriage_service_kit::audit::{OperatorError, audit_entry_row, checkpoint, verify};
use neurotriage_service_kit::telemetry::{self, TelemetryConfig, TelemetryGuard};
use neurotriage_testkit::{databases, issuer::Issuer};
use sea_orm::DatabaseConnection;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::harness::{
    self, Caller, Harness, Start, named, number, patient, start, start_with, stored,
};

const STUDY: &str = "0190aaaa-bbbb-7ccc-8ddd-eeeeffffaaaa";
const HOSPITAL: &str = "sample";
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Traces, as the service's own program has them; once in a process.
fn traced() {
    static GUARD: OnceLock<TelemetryGuard> = OnceLock::new();
    GUARD.get_or_init(|| {
        let log_filter = "off,neurotriage_service_kit::telemetry=info".to_owned();
        telemetry::init("test", &TelemetryConfig { otlp_endpoint: None, log_filter })
            .expect("first in the process")
    });
}

/// What was seen of the audit.
#[derive(Default)]
struct Seen(BTreeSet<(i32, i64)>);

impl Seen {
    /// Returns what is new: action, kind, outcome and detail of each, in order of the words.
    async fn news(&mut self, db: &DatabaseConnection) -> anyhow::Result<Vec<String>> {
        let mut news = Vec::new();
        for row in stored::audit(db).await? {
            if !self.0.insert((row.shard, row.sequence)) {
                continue;
            }
            assert_eq!((row.actor.as_str(), row.hospital_id.as_str()), ("nurse-7", HOSPITAL));
            assert_eq!((row.purpose.as_str(), row.trace_id.as_deref()), ("TREAT", Some(TRACE_ID)));
            let audit_entry_row::Model { action, resource_kind, outcome, detail, .. } = row;
            news.push(format!("{action} {resource_kind} {outcome} {detail}"));
        }
        news.sort();
        Ok(news)
    }
}

async fn start_traced(db: neurotriage_testkit::TestDb) -> anyhow::Result<(Harness, Issuer)> {
    traced();
    let issuer = Issuer::start()?;
    let access = Some(issuer.access().await?);
    let mut harness = start_with(db, Start { access, ..Start::default() }).await?;
    let token = issuer.caller_for(HOSPITAL, "user/*.cruds", ("nurse-7", "TREAT"))?;
    let caller = Caller { token: Some(token), trace: Some(TRACE) };
    harness.client = RecordsServiceClient::with_interceptor(harness.channel.clone(), caller);
    Ok((harness, issuer))
}

fn search(name: &str) -> SearchPatientsRequest {
    SearchPatientsRequest {
        name_prefix: name.to_owned(),
        birth_date: "1960-02-29".to_owned(),
        medical_record_number: Some(number("MRN-1")),
        code: "HP:0002315".to_owned(),
        ..Default::default()
    }
}

#[tokio::test]
async fn every_call_on_patients_is_noted() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let (mut harness, _issuer) = start_traced(db).await?;
        let store = harness.store().clone();
        let mut seen = Seen::default();
        let request_id = Uuid::now_v7().to_string();
        let a = harness.create_as(&request_id, named(1, "Markname")).await?;
        assert_eq!(seen.news(&store).await?, ["create patient done revision=1"]);
        harness.create_as(&request_id, named(1, "Markname")).await?;
        let shown = "read patient done revision=1";
        assert_eq!(seen.news(&store).await?, ["create patient done reason=REPEATED", shown]);
        harness.create_as(&request_id, named(2, "Markname")).await.unwrap_err();
        assert_eq!(seen.news(&store).await?, ["create patient failed reason=REQUEST_ID_REUSED"]);
        harness.create(patient(1)).await.unwrap_err();
        let taken = "create patient failed reason=MEDICAL_RECORD_NUMBER_TAKEN";
        assert_eq!(seen.news(&store).await?, [taken]);
        let b = harness.create(patient(2)).await?;
        seen.news(&store).await?;

        harness.get(&a.patient_id).await?;
        assert_eq!(seen.news(&store).await?, ["read patient done revision=1"]);
        harness.get(&Uuid::now_v7().to_string()).await.unwrap_err();
        assert_eq!(seen.news(&store).await?, ["read patient failed reason=PATIENT_NOT_FOUND"]);
        harness.client.list_patients(ListPatientsRequest::default()).await?;
        let read = "read patient done revision=1";
        let listed = "search patient done fields=list count=2";
        assert_eq!(seen.news(&store).await?, [read, read, listed]);
        harness.report(&a.patient_id, "headache").await?;
        seen.news(&store).await?;
        harness.search(search("mark")).await?;
        let fields = "search patient done fields=name_prefix+medical_record_number+birth_date+code";
        assert_eq!(seen.news(&store).await?, [read, &format!("{fields} count=1")]);
        harness.search(search("nobody")).await?;
        assert_eq!(seen.news(&store).await?, [format!("{fields} count=0")]);

        let changed = Patient { name: "Othermark".to_owned(), ..a.clone() };
        let changed = harness.update(changed, &["name", "birth_date"]).await?;
        let updated = "update patient done fields=name+birth_date revision=2";
        assert_eq!(seen.news(&store).await?, [updated]);
        harness.update(a.clone(), &["name"]).await.unwrap_err();
        assert_eq!(seen.news(&store).await?, ["update patient failed reason=REVISION_STALE"]);
        harness.merge(&changed, &b).await?;
        assert_eq!(
            seen.news(&store).await?,
            ["merge patient done revision=2", "merge patient done revision=3"]
        );
        harness.merge(&changed, &b).await?;
        let shown = "read patient done revision=3";
        assert_eq!(seen.news(&store).await?, ["merge patient done reason=REPEATED", shown]);
        harness.delete(&a.patient_id, 3).await?;
        assert_eq!(seen.news(&store).await?, ["delete patient done revision=4"]);
        harness.undelete(&a.patient_id, 4).await?;
        assert_eq!(seen.news(&store).await?, ["undelete patient done revision=5"]);
        harness.undelete(&a.patient_id, 5).await.unwrap_err();
        assert_eq!(seen.news(&store).await?, ["undelete patient failed reason=NOT_DELETED"]);
        harness.erase(&a.patient_id, 4).await.unwrap_err();
        assert_eq!(seen.news(&store).await?, ["erase patient failed reason=REVISION_STALE"]);
        harness.erase(&a.patient_id, 5).await?;
        let erased = "erase patient done count=1";
        assert_eq!(seen.news(&store).await?, [erased, erased]);
        harness.erase(&a.patient_id, 5).await?;
        assert_eq!(seen.news(&store).await?, ["erase patient done reason=REPEATED"]);

        // Each names its record, and none what is written down about it.
        let rows = stored::audit(&store).await?;
        let of = |id: &str| {
            let id: Uuid = id.parse().expect("a UUID");
            rows.iter().filter(|row| row.resource_id == Some(id)).count()
        };
        assert_eq!((of(&a.patient_id), of(&b.patient_id)), (19, 4));
        let shown = format!("{rows:?}").to_lowercase();
        for mark in ["mark", "mrn", "1960-02-29", "headache", "hp:", "김", "sample hospital"] {
            assert!(!shown.contains(mark), "{mark} in {shown}");
        }
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn every_call_on_entries_is_noted() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let (mut harness, issuer) = start_traced(db).await?;
        let store = harness.store().clone();
        let mut seen = Seen::default();
        let id = harness.create(patient(1)).await?.patient_id;
        seen.news(&store).await?;

        let report = harness.report(&id, "markache").await?;
        assert_eq!(seen.news(&store).await?, ["create symptom_report done revision=1"]);
        let request =
            GetSymptomReportRequest { symptom_report_id: report.symptom_report_id.clone() };
        harness.client.get_symptom_report(request).await?;
        assert_eq!(seen.news(&store).await?, ["read symptom_report done revision=1"]);
        harness.reports(&id).await?;
        let [read, listed] =
            ["read symptom_report done revision=1", "search symptom_report done count=1"];
        assert_eq!(seen.news(&store).await?, [read, listed]);
        harness.report(&Uuid::now_v7().to_string(), "markache").await.unwrap_err();
        assert_eq!(seen.news(&store).await?, ["create patient failed reason=PATIENT_NOT_FOUND"]);

        // What a repetition is answered with is read.
        let request_id = Uuid::now_v7().to_string();
        harness.report_as(&request_id, &id, "markache").await?;
        seen.news(&store).await?;
        harness.report_as(&request_id, &id, "markache").await?;
        let repeated = "create symptom_report done reason=REPEATED";
        assert_eq!(seen.news(&store).await?, [repeated, "read symptom_report done revision=1"]);

        let link = harness.link(&id, STUDY).await?;
        assert_eq!(seen.news(&store).await?, ["create study_link done revision=1"]);
        let get_link = GetStudyLinkRequest { study_link_id: link.study_link_id };
        harness.client.get_study_link(get_link.clone()).await?;
        assert_eq!(seen.news(&store).await?, ["read study_link done revision=1"]);
        harness.link(&id, STUDY).await.unwrap_err();
        assert_eq!(seen.news(&store).await?, ["create study_link failed reason=STUDY_LINKED"]);
        let links = ListStudyLinksRequest { patient_id: id.clone(), ..Default::default() };
        harness.client.list_study_links(links).await?;
        assert_eq!(seen.news(&store).await?.len(), 2);

        let note = harness.note(&id, "marknote").await?;
        assert_eq!(seen.news(&store).await?, ["create note done revision=1"]);
        harness.client.get_note(GetNoteRequest { note_id: note.note_id.clone() }).await?;
        assert_eq!(seen.news(&store).await?, ["read note done revision=1"]);
        harness.notes(&id).await?;
        assert_eq!(
            seen.news(&store).await?,
            ["read note done revision=1", "search note done count=1"]
        );
        harness.delete_entry(&note.note_id, 9).await.unwrap_err();
        assert_eq!(seen.news(&store).await?, ["delete note failed reason=REVISION_STALE"]);
        harness.delete_entry(&note.note_id, 1).await?;
        assert_eq!(seen.news(&store).await?, ["delete note done revision=2"]);
        harness.delete_entry(&note.note_id, 2).await.unwrap_err();
        assert_eq!(seen.news(&store).await?, ["delete entry failed reason=ENTRY_NOT_FOUND"]);
        harness.erase_entry(&note.note_id, 1).await.unwrap_err();
        assert_eq!(seen.news(&store).await?, ["erase note failed reason=REVISION_STALE"]);
        harness.erase_entry(&note.note_id, 2).await?;
        assert_eq!(seen.news(&store).await?, ["erase note done revision=3"]);
        harness.erase_entry(&note.note_id, 2).await?;
        assert_eq!(seen.news(&store).await?, ["erase note done reason=REPEATED"]);
        harness.erase_entry(&id, 1).await.unwrap_err();
        assert_eq!(seen.news(&store).await?, ["erase entry failed reason=ENTRY_NOT_FOUND"]);

        harness.client.watch_changes(WatchChangesRequest::default()).await?;
        assert_eq!(seen.news(&store).await?, ["search change done "]);
        let of_one = WatchChangesRequest { patient_id: id.clone(), ..Default::default() };
        harness.client.watch_changes(of_one).await?;
        assert_eq!(seen.news(&store).await?, ["search change done "]);
        let create = Create::Note(CreateNoteRequest {
            request_id: Uuid::now_v7().to_string(),
            patient_id: id.clone(),
            text: "marknote".to_owned(),
        });
        let create = BatchCreateRequest { create: Some(create) };
        harness.client.batch_create(tokio_stream::once(create)).await?;
        assert_eq!(seen.news(&store).await?, ["create note done revision=1"]);

        // Kept to another patient: denied, and noted.
        let other = harness.create(patient(2)).await?.patient_id;
        seen.news(&store).await?;
        let mut client = harness.client_of(&issuer.patient(HOSPITAL, &other)?);
        let request = GetSymptomReportRequest { symptom_report_id: report.symptom_report_id };
        client.get_symptom_report(request).await.unwrap_err();
        client.get_study_link(get_link).await.unwrap_err();
        client.get_patient(GetPatientRequest { patient_id: id.clone() }).await.unwrap_err();
        harness.client = client;
        harness.notes(&id).await.unwrap_err();
        harness.note(&id, "marknote").await.unwrap_err();
        harness.delete(&id, 1).await.unwrap_err();
        let rows = stored::audit(&store).await?;
        let denied = rows.iter().filter(|row| row.outcome == "denied");
        let mut words = Vec::new();
        for row in denied {
            assert_eq!((row.actor.as_str(), row.purpose.as_str()), ("user-7", "NOT-STATED"));
            assert_eq!(row.detail, "reason=OTHER_PATIENT");
            words.push(format!("{} {}", row.action, row.resource_kind));
        }
        words.sort();
        let expected = [
            "create patient",
            "delete patient",
            "read patient",
            "read study_link",
            "read symptom_report",
            "search patient",
        ];
        assert_eq!(words, expected);
        assert!(!format!("{rows:?}").contains("mark"));
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_audit_is_whole_after_a_mixed_load() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let mut ids = Vec::new();
        for at in 0..4 {
            ids.push(harness.create(patient(at)).await?.patient_id);
        }
        let ids = Arc::new(ids);
        let mut tasks = JoinSet::new();
        for task in 0..32_usize {
            let (mut client, ids) = (harness.client.clone(), Arc::clone(&ids));
            tasks.spawn(async move {
                for step in 0..6 {
                    let patient_id = ids[(task + step) % ids.len()].clone();
                    match (task + step) % 4 {
                        0 => {
                            let request = CreateNoteRequest {
                                request_id: Uuid::now_v7().to_string(),
                                patient_id,
                                text: "seen".to_owned(),
                            };
                            client.create_note(request).await?;
                        }
                        1 => drop(client.list_patients(ListPatientsRequest::default()).await?),
                        2 => drop(client.get_patient(GetPatientRequest { patient_id }).await?),
                        _ => {
                            let patient_id = Uuid::now_v7().to_string();
                            let request = GetPatientRequest { patient_id };
                            client.get_patient(request).await.unwrap_err();
                        }
                    }
                }
                Ok::<_, tonic::Status>(())
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        let report = verify(&harness.db.service, &harness::keyring(), &[], "").await?;
        assert_eq!(report.broken().count(), 0, "{:?}", report.broken().next());
        let rows = stored::audit(harness.store()).await?;
        assert_eq!(report.entries(), rows.len() as u64);
        // Four creates; 48 of each step, and four more for each list.
        assert_eq!(rows.len(), 4 + 48 + 48 * 5 + 48 + 48);
        let shards: BTreeSet<i32> = rows.iter().map(|row| row.shard).collect();
        assert!(shards.len() > 8, "{shards:?}");
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn checkpoints_are_read_back() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let issuer = Issuer::start()?;
        let access = Some(issuer.access().await?);
        let mut harness = start_with(db, Start { access, ..Start::default() }).await?;
        for hospital in ["north", "south"] {
            harness.act_as(&issuer.caller(hospital, "user/*.cruds")?);
            harness.create(patient(1)).await?;
        }
        let (db, keys) = (harness.db.service.clone(), harness::keyring());
        let lines = checkpoint(&db, &keys).await?;
        assert!(lines.len() == 2 && lines[0].starts_with("c1 north ") && !lines[0].contains('\n'));
        harness.create(patient(2)).await?;
        let later = checkpoint(&db, &keys).await?;
        let file = [lines.clone(), vec![String::new()], later].concat().join("\n");
        let report = verify(&db, &keys, &[], &file).await?;
        assert_eq!((report.checkpoints, report.broken().count()), (4, 0));
        assert_eq!((report.chains.len(), report.entries()), (128, 3));

        // (what the row is for, lines, number of the one that is wrong)
        let other = harness::KEYS.replace(
            "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVpbXF1eX2A=",
            "YUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVpbXF1eX2A=",
        );
        let table = [
            ("another hospital", lines[0].replace("north", "south"), &keys),
            ("another number", lines[0].replacen("c1 north 1", "c1 north 2", 1), &keys),
            ("not a checkpoint", "banana".to_owned(), &keys),
            ("cut", lines[0][..lines[0].len() - 4].to_owned(), &keys),
            ("another key", lines[0].clone(), &Keyring::parse(&other)?),
        ];
        for (case, line, keys) in table {
            let refused = verify(&db, keys, &[], &format!("\n{line}\n")).await;
            assert!(
                matches!(refused, Err(OperatorError::Checkpoint { line: 2, .. })),
                "case: {case}: {refused:?}"
            );
        }
        // Whose chains must be there is known from elsewhere too.
        let absent = ["west".parse()?];
        let report = verify(&db, &keys, &absent, "").await?;
        assert_eq!(report.broken().count(), 64);
        assert!(report.broken().all(|(chain, _)| chain.hospital_id == absent[0]));
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_call_without_the_scope_is_noted() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let (mut harness, issuer) = start_traced(db).await?;
        let store = harness.store().clone();
        let mut seen = Seen::default();
        let id = harness.create(patient(1)).await?.patient_id;
        seen.news(&store).await?;
        let token = Some(issuer.caller_for(HOSPITAL, "user/Note.cruds", ("nurse-7", "TREAT"))?);
        let caller = Caller { token, trace: Some(TRACE) };
        harness.client = RecordsServiceClient::with_interceptor(harness.channel.clone(), caller);
        harness.get(&id).await.unwrap_err();
        assert_eq!(seen.news(&store).await?, ["read patient denied reason=SCOPE_MISSING"]);
        harness.search(search("mark")).await.unwrap_err();
        assert_eq!(seen.news(&store).await?, ["search patient denied reason=SCOPE_MISSING"]);
        // Nobody is named by a token that can't be trusted, nor by none.
        let mut nobody = RecordsServiceClient::new(harness.channel.clone());
        nobody.get_patient(GetPatientRequest { patient_id: id }).await.unwrap_err();
        assert!(seen.news(&store).await?.is_empty());
        assert_eq!(verify(&store, &harness::keyring(), &[], "").await?.broken().count(), 0);
        harness.stop().await?;
    }
    Ok(())
}
