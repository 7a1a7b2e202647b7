//! Keys changed while records stay readable, in SQLite and PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may stop the test")]

mod harness;

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use harness::{Harness, Start, named, number, patient, reason, refusal, start, start_with, stored};
use neurotriage_audit::Break;
use neurotriage_migrations::records::Migrator;
use neurotriage_proto::records::v1::{
    BatchCreateRequest, CreatePatientRequest, GetPatientRequest, ListPatientsRequest,
    MedicalRecordNumber, Patient, SearchPatientsRequest, SymptomReport,
    batch_create_request::Create,
};
use neurotriage_records::store::{
    admin::{RotateError, rotate_keys},
    entry_row, patient_row, search_token_row,
};
use neurotriage_sealing::Keyring;
use neurotriage_service_kit::audit::{self, audit_head_row};
use neurotriage_testkit::{TestDb, databases};
use sea_orm::EntityTrait as _;
use tonic::{Code, Status};
use uuid::Uuid;

const STUDY: &str = "0190aaaa-bbbb-7ccc-8ddd-eeeeffffaaaa";
const OTHER_STUDY: &str = "0190aaaa-bbbb-7ccc-8ddd-eeeeffffaaab";
/// Patients beyond those looked at one by one: more than are sealed again at a time.
const OTHERS: usize = 230;

const NEW_KEYS: &str = "seal:s2:active:YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXp7fH1+f4A=\n\
    index:i2:active:gYKDhIWGh4iJiouMjY6PkJGSk5SVlpeYmZqbnJ2en6A=\n\
    audit:a2:active:oaKjpKWmp6ipqqusra6vsLGys7S1tre4ubq7vL2+v8A=";

fn old() -> Keyring {
    harness::keyring()
}

fn new() -> Keyring {
    Keyring::parse(NEW_KEYS).expect("the new keys of the tests")
}

/// The new keys write, the old ones read.
fn both() -> Keyring {
    let text = format!("{NEW_KEYS}\n{}", harness::KEYS.replace(":active:", ":retired:"));
    Keyring::parse(&text).expect("both keys of the tests")
}

async fn start_keyed(db: TestDb, keyring: Keyring) -> anyhow::Result<Harness> {
    start_with(db, Start { keyring, ..Start::default() }).await
}

fn by_number(text: &str) -> SearchPatientsRequest {
    SearchPatientsRequest { medical_record_number: Some(number(text)), ..Default::default() }
}

fn by_name(text: &str) -> SearchPatientsRequest {
    SearchPatientsRequest { name_prefix: text.to_owned(), ..Default::default() }
}

/// What there is before keys change.
struct Before {
    known: Patient,
    report: SymptomReport,
    deleted: Patient,
    request_id: String,
}

async fn prepare(harness: &mut Harness) -> anyhow::Result<Before> {
    let request_id = Uuid::now_v7().to_string();
    let known = harness.create_as(&request_id, named(1, "Kim Hana")).await?;
    let id = known.patient_id.clone();
    let report = harness.report(&id, "headache").await?;
    harness.note(&id, "seen today").await?;
    harness.link(&id, STUDY).await?;
    let gone = harness.report(&id, "seizure").await?;
    harness.delete_entry(&gone.symptom_report_id, 1).await?;
    let duplicate = harness.create(patient(2)).await?;
    let known = harness.merge(&known, &duplicate).await?;
    let deleted = harness.create(patient(3)).await?;
    harness.delete(&deleted.patient_id, 1).await?;
    let erased = harness.create(patient(4)).await?;
    harness.erase(&erased.patient_id).await?;
    let others = (0..OTHERS).map(|at| {
        let patient = Some(named(1000 + at, "Lee Sample"));
        let create = CreatePatientRequest { request_id: Uuid::now_v7().to_string(), patient };
        BatchCreateRequest { create: Some(Create::Patient(create)) }
    });
    harness.client.batch_create(tokio_stream::iter(others)).await?;
    Ok(Before { known, report, deleted, request_id })
}

/// Checks that everything is read, found and unique as it was.
async fn check(harness: &mut Harness, before: &Before) -> anyhow::Result<()> {
    let id = &before.known.patient_id;
    assert_eq!(&harness.get(id).await?, &before.known);
    assert_eq!(harness.reports(id).await?, std::slice::from_ref(&before.report));
    assert_eq!(harness.notes(id).await?.len(), 1);
    let by_code = SearchPatientsRequest {
        code: before.report.findings[0].code.clone(),
        birth_date: "1960-02-29".to_owned(),
        ..Default::default()
    };
    for search in [by_number("mrn-1"), by_number("MRN-2"), by_name("han kim"), by_code] {
        assert_eq!(&harness.search(search).await?, std::slice::from_ref(id));
    }
    for search in [by_number("MRN-3"), by_number("MRN-4"), by_name("김하")] {
        assert!(harness.search(search).await?.is_empty());
    }
    let lee = harness.search(SearchPatientsRequest { page_size: 200, ..by_name("lee") }).await?;
    assert_eq!(lee.len(), OTHERS);
    for taken in [1, 2, 3, 1007] {
        let refused = harness.create(patient(taken)).await;
        assert_eq!(refusal(refused).1, "MEDICAL_RECORD_NUMBER_TAKEN", "number {taken}");
    }
    let other = harness.search(by_number("MRN-1007")).await?.pop().expect("one of the others");
    let taken =
        Patient { medical_record_numbers: vec![number("Mrn-1")], ..harness.get(&other).await? };
    let refused = harness.update(taken, &["medical_record_numbers"]).await;
    assert_eq!(refusal(refused).1, "MEDICAL_RECORD_NUMBER_TAKEN");
    assert_eq!(refusal(harness.link(&other, STUDY).await).1, "STUDY_LINKED");
    Ok(())
}

#[tokio::test]
async fn records_stay_readable_while_keys_change() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let before = prepare(&mut harness).await?;
        check(&mut harness, &before).await?;
        let db = harness.leave().await?;

        // The new keys write; nothing was sealed again yet.
        let mut harness = start_keyed(db, both()).await?;
        check(&mut harness, &before).await?;
        let again = harness.create_as(&before.request_id, named(1, "Kim Hana")).await?;
        assert_eq!(again, before.known);
        let between = harness.create(named(5, "Park Sample")).await?;
        harness.link(&between.patient_id, OTHER_STUDY).await?;

        let rotated = rotate_keys(&harness.db.service, &both()).await?;
        // Three patients, of whom one was merged; three entries and a deleted one.
        assert_eq!(rotated.resealed, 3 + OTHERS as u64 + 4);
        assert_eq!(rotated.seen, rotated.resealed + 3);
        check(&mut harness, &before).await?;
        let again = rotate_keys(&harness.db.service, &both()).await?;
        assert_eq!((again.seen, again.resealed), (rotated.seen, 0));
        let db = harness.leave().await?;
        check_sealed_anew(&db).await?;

        // The old keys are gone.
        let mut harness = start_keyed(db, new()).await?;
        check(&mut harness, &before).await?;
        assert_eq!(harness.get(&between.patient_id).await?, between);
        let back = harness.undelete(&before.deleted.patient_id, 2).await?;
        assert_eq!(harness.search(by_number("MRN-3")).await?, [back.patient_id]);
        assert_eq!(
            refusal(harness.link(&before.known.patient_id, OTHER_STUDY).await).1,
            "STUDY_LINKED"
        );
        let report = audit::verify(&harness.db.service, &new(), &[], "").await?;
        assert_eq!(report.broken().count(), 0, "{:?}", report.broken().next());
        // The hash of what the request said was made with a key that is gone.
        let again = harness.create_as(&before.request_id, named(1, "Kim Hana")).await;
        assert_eq!(refusal(again).1, "REQUEST_ID_REUSED");
        harness.stop().await?;
    }
    Ok(())
}

/// Checks that nothing that is read needs an old key, and that the audit tells what was done.
async fn check_sealed_anew(db: &TestDb) -> anyhow::Result<()> {
    let patients = patient_row::Entity::find().all(&db.db).await?;
    let entries = entry_row::Entity::find().all(&db.db).await?;
    let contents = patients.iter().map(|row| &row.content);
    for content in contents.chain(entries.iter().map(|row| &row.content)).flatten() {
        assert!(content.starts_with("v1.s2."), "{content}");
    }
    let tokens = search_token_row::Entity::find().all(&db.db).await?;
    assert!(tokens.iter().all(|row| row.token.starts_with("i1.i2.")));
    let here = |row: &search_token_row::Model| {
        patients.iter().any(|patient| patient.patient_id == row.patient_id)
    };
    assert!(tokens.iter().all(here));
    let heads = audit_head_row::Entity::find().all(&db.db).await?;
    assert!(heads.len() == 64 && heads.iter().all(|row| row.mac.starts_with("h1.a2.")));
    let rows = stored::audit(&db.db).await?;
    let resealed: Vec<_> = rows.iter().filter(|row| row.action == "reseal").collect();
    assert_eq!(resealed.len(), 3 + OTHERS + 4);
    for row in resealed {
        assert_eq!(row.actor, "neurotriage-records rotate-keys");
        assert_eq!((row.purpose.as_str(), row.outcome.as_str()), ("HSYSADMIN", "done"));
        assert!(row.resource_id.is_some());
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_go_on_while_rows_are_sealed_again() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let before = prepare(&mut harness).await?;
        let mut harness = start_keyed(harness.leave().await?, both()).await?;
        let ended = Arc::new(AtomicBool::new(false));
        let mut tasks = tokio::task::JoinSet::new();
        for task in 0..4_usize {
            let (mut client, ended) = (harness.client.clone(), Arc::clone(&ended));
            let patient_id = before.known.patient_id.clone();
            tasks.spawn(async move {
                let mut rounds = 0;
                while !ended.load(Ordering::Acquire) || rounds < 3 {
                    let request = GetPatientRequest { patient_id: patient_id.clone() };
                    client.get_patient(request).await?;
                    let at = 1000 + (rounds * 4 + task) % OTHERS;
                    let request = by_number(&format!("MRN-{at}"));
                    let found = client.search_patients(request).await?.into_inner().patients;
                    assert_eq!(found.len(), 1, "number {at}");
                    let request = CreatePatientRequest {
                        request_id: Uuid::now_v7().to_string(),
                        patient: Some(patient(at)),
                    };
                    let status = client.create_patient(request).await.unwrap_err();
                    assert_eq!(reason(&status), "MEDICAL_RECORD_NUMBER_TAKEN", "number {at}");
                    let request = CreatePatientRequest {
                        request_id: Uuid::now_v7().to_string(),
                        patient: Some(named(10_000 + rounds * 4 + task, "Park")),
                    };
                    client.create_patient(request).await?;
                    rounds += 1;
                }
                Ok::<_, Status>(rounds)
            });
        }
        let rotated = rotate_keys(&harness.db.service, &both()).await?;
        assert_eq!(rotated.resealed, 3 + OTHERS as u64 + 4);
        ended.store(true, Ordering::Release);
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        check_unique(&mut harness).await?;
        let report = audit::verify(&harness.db.service, &both(), &[], "").await?;
        assert_eq!(report.broken().count(), 0);
        let mut harness = start_keyed(harness.leave().await?, new()).await?;
        check(&mut harness, &before).await?;
        harness.stop().await?;
    }
    Ok(())
}

/// Checks that no number is of two patients.
async fn check_unique(harness: &mut Harness) -> anyhow::Result<()> {
    let (mut numbers, mut page_token) = (Vec::<MedicalRecordNumber>::new(), String::new());
    loop {
        let request = ListPatientsRequest {
            page_size: 200,
            page_token,
            show_deleted: true,
            ..Default::default()
        };
        let page = harness.client.list_patients(request).await?.into_inner();
        numbers
            .extend(page.patients.into_iter().flat_map(|patient| patient.medical_record_numbers));
        if page.next_page_token.is_empty() {
            break;
        }
        page_token = page.next_page_token;
    }
    let mut texts: Vec<&str> = numbers.iter().map(|number| number.number.as_str()).collect();
    texts.sort_unstable();
    let count = texts.len();
    texts.dedup();
    assert_eq!(texts.len(), count);
    Ok(())
}

/// The keys of the tests with one of them exchanged: under the same name, or taken away for a new one.
fn exchanged(of: &str) -> [Keyring; 2] {
    let exchange = |line: &str| {
        let new = NEW_KEYS.lines().find(|new| new.starts_with(of)).expect("a use");
        let (named, secret) = (line.rsplit_once(':'), new.rsplit_once(':'));
        format!("{}:{}", named.expect("a key").0, secret.expect("a key").1)
    };
    let with = |change: &dyn Fn(&str) -> String| {
        let line = |line: &str| if line.starts_with(of) { change(line) } else { line.to_owned() };
        let text = harness::KEYS.lines().map(line).collect::<Vec<_>>().join("\n");
        Keyring::parse(&text).expect("keys")
    };
    let renamed = |line: &str| exchange(line).replacen("1:active", "9:active", 1);
    [with(&exchange), with(&renamed)]
}

#[tokio::test]
async fn without_the_right_key_nothing_is_shown() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let known = harness.create(named(1, "Kim Hana")).await?;
        let report = harness.report(&known.patient_id, "headache").await?;
        let mut db = harness.leave().await?;
        for of in ["seal", "audit"] {
            for keyring in exchanged(of) {
                let mut harness = start_keyed(db, keyring).await?;
                let statuses = [
                    harness.get(&known.patient_id).await.map(drop),
                    harness.reports(&known.patient_id).await.map(drop),
                    harness.search(by_name("kim")).await.map(drop),
                    harness.undelete(&known.patient_id, 1).await.map(drop),
                    harness.update(known.clone(), &["name"]).await.map(drop),
                ];
                for (at, result) in statuses.into_iter().enumerate() {
                    // That the patient is not deleted is told without opening anything.
                    if of == "seal" && at == 3 {
                        assert_eq!(refusal(result).1, "NOT_DELETED");
                        continue;
                    }
                    // A new audit key of another chain's head is not met in a search.
                    let status = result.expect_err(of);
                    let said = (status.code(), status.message());
                    assert_eq!(said, (Code::Internal, "internal error"), "{of}, call {at}");
                    assert!(!format!("{status:?}").contains("Kim"), "{status:?}");
                }
                db = harness.leave().await?;
            }
        }
        for keyring in exchanged("index") {
            let mut harness = start_keyed(db, keyring).await?;
            assert_eq!(harness.get(&known.patient_id).await?, known);
            assert!(harness.search(by_name("kim")).await?.is_empty());
            db = harness.leave().await?;
        }

        // What does not open is not sealed again, and not lost.
        let [wrong, missing] = exchanged("seal");
        for keyring in [wrong, missing] {
            let refused = rotate_keys(&db.service, &keyring).await;
            // With the name of the active key it is taken for sealed already, until it is opened.
            if let Err(error) = refused {
                assert!(matches!(error, RotateError::Store(_)), "{error:?}");
            }
        }
        let [wrong, missing] = exchanged("audit");
        for keyring in [wrong, missing] {
            assert!(rotate_keys(&db.service, &keyring).await.is_err());
            let report = audit::verify(&db.service, &keyring, &[], "").await?;
            assert_eq!(report.broken().count(), 64);
            let by_head = |why: &Break| matches!(why, Break::HeadSignature { .. });
            assert!(report.broken().all(|(_, why)| by_head(why)));
        }
        let mut harness = start_keyed(db, old()).await?;
        assert_eq!(harness.get(&known.patient_id).await?, known);
        assert_eq!(harness.reports(&known.patient_id).await?, [report]);
        assert_eq!(audit::verify(harness.store(), &old(), &[], "").await?.broken().count(), 0);
        harness.stop().await?;
    }
    Ok(())
}
