//! Keys changed while records stay readable, in SQLite and PostgreSQL.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use neurotriage_audit::Break;
use neurotriage_domain::PatientId;
use neurotriage_migrations::records::Migrator;
use neurotriage_proto::records::v1::{
    BatchCreateRequest, CreatePatientRequest, GetPatientRequest, ListPatientsRequest,
    MedicalRecordNumber, Patient, SearchPatientsRequest, SymptomReport,
    batch_create_request::Create,
};
use neurotriage_records::{
    error::RecordsError,
    lexicon::Lexicon,
    patient::PatientDraft,
    records::Records,
    store::{
        SqlRecordsStore,
        admin::{RotateError, left, rotate_keys},
        entry_row, patient_row, search_token_row,
    },
};
use neurotriage_sealing::{Indexer, KeyId, Keyring, PrefixColumn};
use neurotriage_service_kit::{
    audit::{self, Call, audit_head_row},
    keyring::{Clash, Left},
};
use neurotriage_testkit::{TestDb, databases};
use sea_orm::EntityTrait as _;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::harness::{
    self, Harness, Start, metadata, named, number, patient, reason, refusal, start, start_with,
    stored,
};

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
    harness.erase(&erased.patient_id, 1).await?;
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
        // Three patients, of whom one was merged; three entries and a deleted one; and what was found by both keys.
        assert_eq!(rotated.resealed, 3 + OTHERS as u64 + 4 + 2);
        assert_eq!(rotated.seen, rotated.resealed + 1);
        assert!(rotated.left.is_nothing() && rotated.clashes.is_empty(), "{rotated:?}");
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

#[tokio::test]
async fn names_that_were_indexed_by_rules_of_before_are_indexed_again() -> anyhow::Result<()> {
    // As it was stored before accents and hyphens were left out, less the birth date.
    const OF_BEFORE: [&str; 2] = ["jü", "mü"];
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let known = harness.create(named(1, "Jü-Ho Mü")).await?;
        let id = stored::id(harness.store(), &known.patient_id);
        let indexer = Indexer::new(&old())?;
        let column = PrefixColumn {
            table: "patient",
            column: "name",
            token_bytes: 6,
            chars_min: 2,
            chars_max: 5,
        };
        let hospital = stored::audit(harness.store()).await?[0].hospital_id.clone();
        let sql = format!("DELETE FROM search_token WHERE kind = 'name' AND record_id = {id}");
        assert!(stored::run(harness.store(), &sql).await? > 0);
        for text in OF_BEFORE {
            // The word as it is written is among what is looked for.
            let looked_for = indexer.prefix_candidates(&column, &hospital, text)?;
            for token in looked_for.iter().flatten() {
                let folded = indexer.prefix_tokens(&column, &hospital, text)?;
                if !folded.contains(token) {
                    let sql = format!(
                        "INSERT INTO search_token (hospital_id, kind, token, record_id, patient_id) \
                         VALUES ('{hospital}', 'name', '{}', {id}, {id})",
                        token.as_str()
                    );
                    stored::run(harness.store(), &sql).await?;
                }
            }
        }
        // The old spelling is found before, and either after.
        let found = std::slice::from_ref(&known.patient_id);
        assert_eq!(harness.search(by_name("jü mü")).await?, found);
        assert!(harness.search(by_name("ju mu")).await?.is_empty());
        let rotated = rotate_keys(&harness.db.service, &old()).await?;
        assert_eq!((rotated.seen, rotated.resealed), (1, 1));
        for typed in ["jü mü", "ju mu", "juho", "jü-ho"] {
            assert_eq!(harness.search(by_name(typed)).await?, found, "typed: {typed}");
        }
        assert_eq!(harness.search(by_number("MRN-1")).await?, found);
        let again = rotate_keys(&harness.db.service, &old()).await?;
        assert_eq!((again.seen, again.resealed), (1, 0));
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
    assert_eq!(resealed.len(), 3 + OTHERS + 4 + 2);
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
        // Some of those who are registered meanwhile are met: they were found by both keys.
        assert!(rotated.resealed >= 3 + OTHERS as u64 + 4, "{rotated:?}");
        assert!(rotated.left.is_nothing() && rotated.clashes.is_empty(), "{rotated:?}");
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

/// The old keys write, the new ones read.
fn prepared() -> Keyring {
    let text = format!("{}\n{}", harness::KEYS, NEW_KEYS.replace(":active:", ":retired:"));
    Keyring::parse(&text).expect("both keys of the tests")
}

/// The new keys write and the old ones read, but for those of the index: each is there in the state that is given.
fn indexing(old: Option<&str>, new: Option<&str>) -> Keyring {
    let mut text = String::new();
    for (lines, other, index) in [(harness::KEYS, ":retired:", old), (NEW_KEYS, ":active:", new)] {
        for line in lines.lines() {
            let state =
                if line.starts_with("index") { index } else { Some(other.trim_matches(':')) };
            let Some(state) = state else { continue };
            text.push_str(&line.replace("active", state));
            text.push('\n');
        }
    }
    Keyring::parse(&text).expect("keys")
}

async fn register(
    records: &Records<SqlRecordsStore>,
    text: &str,
) -> Result<PatientId, RecordsError> {
    let call = Call::of_program("hospital".parse().expect("a hospital"), "test").expect("a name");
    let number = neurotriage_records::patient::MedicalRecordNumber {
        issuer: "Sample Hospital".to_owned(),
        number: text.to_owned(),
    };
    let mut draft = PatientDraft::default();
    draft.details.medical_record_numbers.push(number);
    draft.details.name = "Kim Hana".to_owned();
    Ok(records.create_patient(&call, Ok(Uuid::now_v7()), Ok(draft)).await?.patient_id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_number_is_registered_once_whichever_key_a_replica_writes_with() -> anyhow::Result<()> {
    const ACTIVE: Option<&str> = Some("active");
    const RETIRED: Option<&str> = Some("retired");
    // (what tells the replicas apart, the old and the new key of the one, and of the other)
    let table = [
        ("one knows the new key", [(ACTIVE, None), (ACTIVE, RETIRED)]),
        ("one writes with the new key", [(ACTIVE, RETIRED), (RETIRED, ACTIVE)]),
        ("one was not told of the new key", [(ACTIVE, None), (RETIRED, ACTIVE)]),
        ("one forgot the old key", [(RETIRED, ACTIVE), (None, ACTIVE)]),
    ];
    let lexicon = Arc::new(Lexicon::built_in()?);
    for (case, keys) in table {
        for db in databases::<Migrator>().await? {
            let records = |(old, new)| {
                let store = SqlRecordsStore::new(db.service.clone(), &indexing(old, new))?;
                Ok::<_, anyhow::Error>(Records::new(store, Arc::clone(&lexicon)))
            };
            let (one, other) = (records(keys[0])?, records(keys[1])?);
            for at in 0..9_usize {
                let text = format!("MRN-{at}");
                // One after the other, each way, and at the same time.
                let (first, second) = match at % 3 {
                    0 => (register(&one, &text).await, register(&other, &text).await),
                    1 => (register(&other, &text).await, register(&one, &text).await),
                    _ => tokio::join!(register(&one, &text), register(&other, &text)),
                };
                let made = usize::from(first.is_ok()) + usize::from(second.is_ok());
                assert_eq!(made, 1, "case: {case}, number {at}: {first:?} {second:?}");
                let refused = first.err().or(second.err());
                let taken = matches!(refused, Some(RecordsError::NumberTaken { .. }));
                assert!(taken, "case: {case}: {refused:?}");
            }
            drop((one, other));
            db.drop().await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn what_an_old_replica_writes_after_a_rotation_is_told() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start_keyed(db, prepared()).await?;
        harness.create(named(1, "Kim Hana")).await?;
        assert!(rotate_keys(&harness.db.service, &both()).await?.left.is_nothing());
        // This replica writes with the old keys still.
        let late = harness.create(named(2, "Kim Hana")).await?;
        harness.note(&late.patient_id, "seen").await?;
        let found = left(&harness.db.service, &both()).await?;
        assert_eq!((found.rows, found.heads), (2, 1));
        let report = audit::verify(&harness.db.service, &both(), &[], "").await?;
        assert_eq!(report.broken().count(), 0);
        let retired: Vec<&str> = report.retired_keys.iter().map(KeyId::as_str).collect();
        assert_eq!(retired, ["a1"]);

        let rotated = rotate_keys(&harness.db.service, &both()).await?;
        assert_eq!((rotated.resealed, rotated.left), (2, Left::default()));
        let report = audit::verify(&harness.db.service, &new(), &[], "").await?;
        assert!(report.broken().count() == 0 && report.retired_keys.is_empty());
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn two_patients_of_one_number_stop_no_rotation() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let first = harness.create(named(7, "Kim Hana")).await?;
        let before = harness.create(named(8, "Lee Sample")).await?;
        // As an earlier version could: who does not know the old key finds nobody.
        let mut harness =
            start_keyed(harness.leave().await?, indexing(None, Some("active"))).await?;
        let second = harness.create(named(7, "Kim Hana")).await?;

        let mut harness = start_keyed(harness.leave().await?, both()).await?;
        for resealed in [1, 0] {
            let rotated = rotate_keys(&harness.db.service, &both()).await?;
            let clash = Clash {
                kind: "medical_record_number".to_owned(),
                patient_id: first.patient_id.parse()?,
                other_patient_id: second.patient_id.parse()?,
                record_id: first.patient_id.parse()?,
                other_record_id: second.patient_id.parse()?,
            };
            assert_eq!(rotated.clashes, [clash]);
            assert_eq!(rotated.resealed, resealed);
            assert_eq!(rotated.left, Left { rows: 1, heads: 0 });
        }
        assert_eq!(harness.get(&first.patient_id).await?, first);
        assert_eq!(harness.search(by_number("MRN-8")).await?, [before.patient_id]);
        // What has nothing to do with the number goes on; what has is told whose it is.
        let first =
            harness.update(Patient { name: "Kim Duri".to_owned(), ..first }, &["name"]).await?;
        let third = harness.create(named(9, "Park Sample")).await?;
        let taken = harness.merge(&first, &third).await.unwrap_err();
        assert_eq!(
            (reason(&taken), metadata(&taken, "patientId")),
            ("MEDICAL_RECORD_NUMBER_TAKEN".to_owned(), second.patient_id.clone())
        );
        // Made one, they stand in nobody's way.
        harness.merge(&first, &second).await?;
        let rotated = rotate_keys(&harness.db.service, &both()).await?;
        assert!(rotated.left.is_nothing() && rotated.clashes.is_empty(), "{rotated:?}");
        let mut harness = start_keyed(harness.leave().await?, new()).await?;
        assert_eq!(harness.search(by_number("MRN-7")).await?, [first.patient_id]);
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
            assert!(matches!(refused, Err(RotateError::Store(_))), "{refused:?}");
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
