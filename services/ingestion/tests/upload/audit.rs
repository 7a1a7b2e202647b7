//! What every call leaves in the audit, and what is done without one: nothing.

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
};

use neurotriage_audit::{Break, Part};
use neurotriage_ingestion::store::study_row;
use neurotriage_migrations::ingestion::Migrator;
use neurotriage_proto::{common::v1::Modality, ingestion::v1::ListStudiesRequest};
use neurotriage_service_kit::{
    audit::{AuditReport, audit_entry_row, audit_head_row, verify},
    telemetry::{self, TelemetryConfig, TelemetryGuard},
};
use neurotriage_testkit::{TestDb, databases, issuer::Issuer};
use sea_orm::{DatabaseConnection, EntityTrait as _, IntoActiveModel as _, PaginatorTrait as _};
use tokio::task::JoinSet;
use tonic::{Code, Status};
use uuid::Uuid;

use super::{
    client::{Client, client, download, get, list, refused, traced_client, upload},
    harness::{Harness, chunks, header, keyring, start, start_for, study},
    stored,
};

const HOSPITAL: &str = "north-lake";
const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Traces, as the service's own program has them; once in a process.
fn traced() {
    static GUARD: OnceLock<TelemetryGuard> = OnceLock::new();
    GUARD.get_or_init(|| {
        let log_filter = "off".to_owned();
        telemetry::init("test", &TelemetryConfig { otlp_endpoint: None, log_filter })
            .expect("first in the process")
    });
}

async fn start_traced(db: TestDb) -> anyhow::Result<(Harness, Issuer, Client)> {
    traced();
    let issuer = Issuer::start()?;
    let harness = start_for(db, 4, issuer.access().await?).await?;
    let nurse = issuer.caller_for(HOSPITAL, "user/*.cruds", ("nurse-7", "TREAT"))?;
    let client = traced_client(&harness, nurse, TRACE);
    Ok((harness, issuer, client))
}

fn id() -> String {
    Uuid::now_v7().to_string()
}

/// What was seen of the audit.
#[derive(Default)]
struct Seen(BTreeSet<(String, i32, i64)>);

impl Seen {
    async fn rows(
        &mut self,
        db: &DatabaseConnection,
    ) -> anyhow::Result<Vec<audit_entry_row::Model>> {
        let mut rows = stored::audit(db).await?;
        rows.retain(|row| self.0.insert((row.hospital_id.clone(), row.shard, row.sequence)));
        Ok(rows)
    }

    /// Returns what is new: action, kind, id, outcome and detail of each, in order of the words.
    async fn news(&mut self, db: &DatabaseConnection) -> anyhow::Result<Vec<String>> {
        let mut news = Vec::new();
        for row in self.rows(db).await? {
            assert_eq!((row.actor.as_str(), row.hospital_id.as_str()), ("nurse-7", HOSPITAL));
            assert_eq!((row.purpose.as_str(), row.trace_id.as_deref()), ("TREAT", Some(TRACE_ID)));
            news.push(words(&row));
        }
        news.sort();
        Ok(news)
    }
}

fn words(row: &audit_entry_row::Model) -> String {
    let audit_entry_row::Model { action, resource_kind, resource_id, outcome, detail, .. } = row;
    let id = resource_id.map(|id| id.to_string()).unwrap_or_default();
    format!("{action} {resource_kind} {id} {outcome} {detail}")
}

#[tokio::test]
async fn every_call_is_noted() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let (harness, _issuer, mut nurse) = start_traced(db).await?;
        let store = harness.db.db.clone();
        let mut seen = Seen::default();
        let (request_id, patient) = (id(), id());
        let a = upload(&mut nurse, &request_id, &patient).await?;
        assert_eq!(seen.news(&store).await?, [format!("create study {a} done ")]);
        upload(&mut nurse, &request_id, &patient).await?;
        let repeated = format!("create study {a} done reason=REPEATED");
        assert_eq!(seen.news(&store).await?, [repeated]);
        upload(&mut nurse, &request_id, &id()).await.unwrap_err();
        let reused = format!("create study {a} failed reason=REQUEST_ID_REUSED");
        assert_eq!(seen.news(&store).await?, [reused]);
        let b = upload(&mut nurse, &id(), &patient).await?;
        seen.news(&store).await?;

        get(&mut nurse, &a).await?;
        assert_eq!(seen.news(&store).await?, [format!("read study {a} done ")]);
        let absent = id();
        get(&mut nurse, &absent).await.unwrap_err();
        let not_found = format!("read study {absent} failed reason=STUDY_NOT_FOUND");
        assert_eq!(seen.news(&store).await?, [not_found.as_str()]);

        // A page shows one, and says that there is more.
        assert_eq!(list(&mut nurse, &patient).await?, 2);
        let reads = [&a, &b].map(|id| format!("read study {id} done "));
        let reads = reads.each_ref().map(String::as_str);
        let searched = |count: usize| format!("search study {patient} done count={count}");
        assert_eq!(seen.news(&store).await?, [reads[0], reads[1], searched(2).as_str()]);
        let page_size = 1;
        let page =
            ListStudiesRequest { patient_id: patient.clone(), page_size, ..Default::default() };
        nurse.list_studies(page).await?;
        assert_eq!(seen.news(&store).await?, [reads[1], searched(1).as_str()]);
        let nobody = id();
        assert_eq!(list(&mut nurse, &nobody).await?, 0);
        let searched = format!("search study {nobody} done count=0");
        assert_eq!(seen.news(&store).await?, [searched]);

        download(&mut nurse, &a).await?;
        assert_eq!(seen.news(&store).await?, [format!("read study {a} done fields=t1")]);
        download(&mut nurse, &absent).await.unwrap_err();
        assert_eq!(seen.news(&store).await?, [not_found]);

        // What is refused for what it says touches nothing.
        let mut wrong = vec![header(&id(), &patient)];
        wrong.extend(chunks(Modality::T1, "t1", b"no image"));
        nurse.upload_study(tokio_stream::iter(wrong)).await.unwrap_err();
        get(&mut nurse, "banana").await.unwrap_err();
        assert_eq!(seen.news(&store).await?, [""; 0]);

        // Nothing of what the caller named things is there.
        let shown = format!("{:?}", stored::audit(&store).await?);
        assert!(!shown.contains("ACC-1") && !shown.contains("nii.gz"), "{shown}");
        let report = verify(&harness.db.service, &keyring(), &[], "").await?;
        assert_eq!((report.broken().count(), report.entries()), (0, seen.0.len() as u64));
        drop(nurse);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn who_may_not_is_noted() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let (harness, issuer, mut nurse) = start_traced(db).await?;
        let store = harness.db.db.clone();
        let (mine, other) = (id(), id());
        let of_other = upload(&mut nurse, &id(), &other).await?;
        let mut seen = Seen::default();
        seen.news(&store).await?;

        let mut patient = client(&harness, issuer.patient(HOSPITAL, &mine)?);
        let results = [
            get(&mut patient, &of_other).await.map(drop),
            download(&mut patient, &of_other).await.map(drop),
            list(&mut patient, &other).await.map(drop),
            upload(&mut patient, &id(), &other).await.map(drop),
        ];
        for result in results {
            let denied = (Code::PermissionDenied, "OTHER_PATIENT".to_owned());
            assert_eq!(refused(result, "of another patient"), denied);
        }
        // Another hospital asks for what it has not: in its own audit, not in this one's.
        let mut stranger = client(&harness, issuer.caller("south-lake", "user/*.cruds")?);
        get(&mut stranger, &of_other).await.unwrap_err();

        let rows = seen.rows(&store).await?;
        let (here, there): (Vec<_>, Vec<_>) =
            rows.iter().partition(|row| row.hospital_id == HOSPITAL);
        let mut said: Vec<String> = here.iter().map(|row| words(row)).collect();
        said.sort();
        let denied = |what: &str, id: &str| format!("{what} {id} denied reason=OTHER_PATIENT");
        let read = denied("read study", &of_other);
        let expected = [
            denied("create patient", &other),
            read.clone(),
            read,
            denied("search patient", &other),
        ];
        assert_eq!(said, expected);
        for row in &here {
            assert_eq!((row.actor.as_str(), row.purpose.as_str()), ("user-7", "NOT-STATED"));
        }
        let said: Vec<String> = there.iter().map(|row| words(row)).collect();
        assert_eq!(said, [format!("read study {of_other} failed reason=STUDY_NOT_FOUND")]);
        drop((nurse, patient, stranger));
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn without_an_audit_nothing_is_stored_and_nothing_shown() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let issuer = Issuer::start()?;
        let patient = id();
        let harness = start_for(db, 4, issuer.access().await?).await?;
        let mut nurse = client(&harness, issuer.caller("sample", "user/*.cruds")?);
        let mut kept = client(&harness, issuer.patient("sample", &id())?);
        let study_id = upload(&mut nurse, &id(), &patient).await?;
        let store = harness.db.db.clone();
        let heads = audit_head_row::Entity::find().all(&store).await?;
        let entries = stored::audit(&store).await?;
        stored::run(&store, "DELETE FROM audit_head").await?;

        let results = [
            upload(&mut nurse, &id(), &patient).await.map(drop),
            get(&mut nurse, &study_id).await.map(drop),
            get(&mut nurse, &id()).await.map(drop),
            list(&mut nurse, &patient).await.map(drop),
            download(&mut nurse, &study_id).await.map(drop),
            get(&mut kept, &study_id).await.map(drop),
            upload(&mut kept, &id(), &patient).await.map(drop),
        ];
        for (at, result) in results.into_iter().enumerate() {
            let failed = (Code::Internal, "STORE_FAILED".to_owned());
            assert_eq!(refused(result, &format!("call {at}")), failed, "call {at}");
        }
        assert_eq!(study_row::Entity::find().count(&store).await?, 1);
        assert_eq!(stored::audit(&store).await?, entries);

        // Put back, it goes on.
        let heads = heads.into_iter().map(|head| head.into_active_model());
        audit_head_row::Entity::insert_many(heads).exec_without_returning(&store).await?;
        assert_eq!(list(&mut nurse, &patient).await?, 1);
        drop((nurse, kept));
        harness.stop().await?;
    }
    Ok(())
}

fn broken(report: &AuditReport) -> Vec<&Break> {
    report.broken().map(|(_, why)| why).collect()
}

#[tokio::test]
async fn what_is_altered_or_removed_is_found() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db, 4).await?;
        let patient = id();
        harness.upload(study(&id(), &patient)).await?;
        for _ in 0..3 {
            let request = ListStudiesRequest { patient_id: patient.clone(), ..Default::default() };
            harness.client.list_studies(request).await?;
        }
        let (db, keys) = (harness.db.db.clone(), keyring());
        // One chain: the patient's.
        let entries = stored::audit(&db).await?;
        assert_eq!(entries.iter().map(|row| row.shard).collect::<BTreeSet<_>>().len(), 1);
        let report = verify(&db, &keys, &[], "").await?;
        assert_eq!((report.broken().count(), report.entries()), (0, 7));

        stored::run(&db, "UPDATE audit_entry SET actor = 'nobody' WHERE sequence = 3").await?;
        let report = verify(&db, &keys, &[], "").await?;
        let altered = Break::Altered { sequence: 3, part: Part::Content };
        assert_eq!(broken(&report), [&altered]);
        stored::run(&db, "DELETE FROM audit_entry WHERE sequence = 3").await?;
        let report = verify(&db, &keys, &[], "").await?;
        assert_eq!(broken(&report), [&Break::Removed { first: 3, last: 3 }]);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_audit_is_whole_after_calls_at_once() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let (harness, _issuer, mut nurse) = start_traced(db).await?;
        // One request, made twice at once: one study.
        let (request_id, patient) = (id(), id());
        let mut again = nurse.clone();
        let (one, two) = tokio::join!(
            upload(&mut nurse, &request_id, &patient),
            upload(&mut again, &request_id, &patient)
        );
        let study_id = one?;
        assert_eq!(two?, study_id);
        let mut news = Seen::default().news(&harness.db.db).await?;
        assert_eq!(news.pop(), Some(format!("create study {study_id} done reason=REPEATED")));
        assert_eq!(news, [format!("create study {study_id} done ")]);

        let patient = Arc::new(patient);
        let mut tasks = JoinSet::new();
        for task in 0..24_usize {
            let (mut client, patient, study_id) =
                (nurse.clone(), Arc::clone(&patient), study_id.clone());
            tasks.spawn(async move {
                for step in 0..4 {
                    match (task + step) % 4 {
                        0 => drop(get(&mut client, &study_id).await?),
                        1 => drop(list(&mut client, &patient).await?),
                        2 => drop(download(&mut client, &study_id).await?),
                        _ => drop(get(&mut client, &id()).await.unwrap_err()),
                    }
                }
                Ok::<_, Status>(())
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        let report = verify(&harness.db.service, &keyring(), &[], "").await?;
        assert_eq!(report.broken().count(), 0, "{:?}", report.broken().next());
        // Two creates; 24 of each step, and one more for each list.
        assert_eq!(report.entries(), 2 + 24 * 5);
        assert_eq!(stored::audit(&harness.db.db).await?.len() as u64, report.entries());
        drop((nurse, again));
        harness.stop().await?;
    }
    Ok(())
}
