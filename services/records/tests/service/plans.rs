//! How the databases run what the service asks: by the indexes meant for it.

use std::{
    mem,
    sync::{Arc, Mutex},
};

use neurotriage_migrations::records::Migrator;
use neurotriage_proto::records::v1::{
    GetSymptomReportRequest, SearchPatientsRequest, WatchChangesRequest,
};
use neurotriage_records::{
    change::Position,
    entry::EntryKind,
    records::{EntryFilter, PatientFilter},
    store::{patient_row, queries},
};
use neurotriage_service_kit::{
    audit,
    tenant::{self, Mode},
};
use neurotriage_testkit::{TestDb, databases};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, DatabaseTransaction, DbBackend, EntityTrait,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, QueryTrait as _, Select, Statement,
};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::harness::{Harness, keyring, named, number, patient, start};

/// Whose calls are made without a token.
const HOSPITAL: &str = "development";
const STUDY: &str = "0190aaaa-bbbb-7ccc-8ddd-eeeeffffaaaa";
/// Tables that grow.
const TABLES: [&str; 6] =
    ["patient", "entry", "search_token", "change", "audit_head", "audit_entry"];

const HISTORY: &str = "SELECT at_us, actor, action, resource_kind, purpose, trace_id, outcome, detail \
    FROM audit_entry WHERE resource_id = $1 ORDER BY at_us";

/// Some thousand patients of two hospitals, each with an entry, and one with many; and an audit of many hospitals.
fn fill(backend: DbBackend) -> Vec<String> {
    let postgres = backend == DbBackend::Postgres;
    let (uuid, now, bytes) = if postgres {
        ("gen_random_uuid()", "now()", "'\\x00'::bytea")
    } else {
        ("randomblob(16)", "'2026-01-01'", "x'00'")
    };
    let text = |id: &str| if postgres { format!("{id}::text") } else { format!("hex({id})") };
    let numbers = "WITH RECURSIVE numbers(n) AS \
         (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 4000) ";
    let patients = format!(
        "{numbers}INSERT INTO patient (patient_id, hospital_id, request_id, request_mac, revision, created_at, \
         updated_at, merged_patient_ids, content) SELECT {uuid}, CASE WHEN n % 4 = 0 THEN 'other' ELSE '{HOSPITAL}' \
         END, {uuid}, 'x', 1, {now}, {now}, '[]', 'x' FROM numbers"
    );
    let entry = |of: &str| {
        format!(
            "INSERT INTO entry (entry_id, hospital_id, patient_id, kind, request_id, request_mac, revision, \
             created_at, updated_at, content) SELECT {uuid}, hospital_id, patient_id, 'symptom_report', {uuid}, 'x', \
             1, {now}, {now}, 'x' FROM {of}"
        )
    };
    let largest = format!(
        "(SELECT p.hospital_id, p.patient_id FROM patient AS p, (SELECT 1 AS one FROM patient LIMIT 2000) AS many \
         WHERE p.patient_id = (SELECT patient_id FROM patient WHERE hospital_id = '{HOSPITAL}' \
         ORDER BY patient_id DESC LIMIT 1)) AS largest"
    );
    // Some share the first letters of a name, and each number is one patient's.
    let tokens = |kind: &str, table: &str, record: &str| {
        let whole = ["medical_record_number", "study"].contains(&kind);
        let token = text(record);
        let token = if whole { token } else { format!("substr({token}, 1, 3)") };
        format!(
            "INSERT INTO search_token (hospital_id, kind, token, patient_id, record_id) \
             SELECT hospital_id, '{kind}', {token}, patient_id, {record} FROM {table}"
        )
    };
    let changes = format!(
        "INSERT INTO change (transaction_id, hospital_id, kind, record_id, patient_id, action, revision, changed_at) \
         SELECT revision, hospital_id, 'patient', patient_id, patient_id, 'created', 1, {now} FROM patient"
    );
    let hospitals = format!(
        "{numbers}INSERT INTO audit_hospital (hospital_id, created_at) SELECT 'hospital-' || n, {now} FROM numbers"
    );
    let heads = format!(
        "INSERT INTO audit_head (hospital_id, shard, sequence, hash, mac) \
         SELECT hospital_id, 0, 1, {bytes}, 'x' FROM audit_hospital WHERE hospital_id LIKE 'hospital-%'"
    );
    let audited = format!(
        "{numbers}INSERT INTO audit_entry (hospital_id, shard, sequence, at_us, actor, action, resource_kind, \
         resource_id, purpose, outcome, detail, previous_hash, hash) \
         SELECT CASE WHEN n % 4 = 0 THEN 'other' ELSE '{HOSPITAL}' END, n % 64, 1000 + n, n, 'x', 'read', 'patient', \
         {uuid}, 'x', 'done', '', {bytes}, {bytes} FROM numbers"
    );
    vec![
        patients,
        entry("patient"),
        entry(&largest),
        tokens("name", "patient", "patient_id"),
        tokens("birth_date", "patient", "patient_id"),
        tokens("medical_record_number", "patient", "patient_id"),
        tokens("finding", "entry", "entry_id"),
        tokens("study", "entry", "entry_id"),
        changes,
        hospitals,
        heads,
        audited,
        "ANALYZE".to_owned(),
    ]
}

async fn plan<E: EntityTrait>(
    transaction: &DatabaseTransaction,
    query: &Select<E>,
) -> anyhow::Result<String> {
    plan_of(transaction, query.build(transaction.get_database_backend())).await
}

async fn plan_of(
    transaction: &DatabaseTransaction,
    mut statement: Statement,
) -> anyhow::Result<String> {
    let backend = transaction.get_database_backend();
    let (explain, column) = if backend == DbBackend::Postgres {
        ("EXPLAIN", "QUERY PLAN")
    } else {
        ("EXPLAIN QUERY PLAN", "detail")
    };
    statement.sql = format!("{explain} {}", statement.sql);
    let rows = transaction.query_all_raw(statement).await?;
    let lines: Vec<String> =
        rows.iter().map(|row| row.try_get("", column)).collect::<Result<_, _>>()?;
    Ok(lines.join("\n"))
}

/// Fails where rows are read one after the other or sorted, or an index is not used; `a|b` stands for either.
fn check(case: &str, plan: &str, indexes: &[&str], sorts: bool) {
    let mut plan = plan.to_owned();
    for table in TABLES {
        // What SQLite calls the index of a primary key.
        plan = plan.replace(&format!("sqlite_autoindex_{table}_1"), &format!("pk_{table}"));
    }
    for either in indexes {
        let used = either.split('|').any(|index| plan.contains(index));
        assert!(used, "{case}: no {either} in\n{plan}");
    }
    for table in TABLES {
        let whole = [format!("Seq Scan on {table}"), format!("SCAN {table}\n")];
        for whole in whole {
            assert!(!format!("{plan}\n").contains(&whole), "{case}: {whole} in\n{plan}");
        }
    }
    if !sorts {
        assert!(
            !plan.contains("Sort") && !plan.contains("TEMP B-TREE FOR ORDER"),
            "{case}:\n{plan}"
        );
    }
}

async fn filled(db: &TestDb) -> anyhow::Result<Uuid> {
    for statement in fill(db.db.get_database_backend()) {
        db.db.execute_unprepared(&statement).await?;
    }
    let id: Option<Uuid> = patient_row::Entity::find()
        .filter(patient_row::Column::HospitalId.eq(HOSPITAL))
        .order_by_desc(patient_row::Column::PatientId)
        .select_only()
        .column(patient_row::Column::PatientId)
        .into_tuple()
        .one(&db.db)
        .await?;
    id.ok_or_else(|| anyhow::anyhow!("no patients"))
}

#[tokio::test]
async fn lists_and_searches_use_their_indexes() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let largest = filled(&db).await?;
        // As the service asks: under its own role, bound by row-level security.
        let transaction = tenant::begin(&db.service, &HOSPITAL.parse()?, Mode::Read).await?;
        let middle = Some(Uuid::from_u128(1 << 127));
        // Met by every row: no filter makes a page cheaper.
        let from = Some(OffsetDateTime::UNIX_EPOCH);
        let before = Some(OffsetDateTime::now_utc() + Duration::days(1));

        let pages = ["uq_patient_hospital_id_patient_id"];
        let filter = PatientFilter {
            created_from: from,
            created_before: before,
            updated_from: from,
            show_deleted: true,
        };
        for (case, filter, before) in [
            ("first page", PatientFilter::default(), None),
            ("next page", PatientFilter::default(), middle),
            ("filters", filter, middle),
        ] {
            let plan =
                plan(&transaction, &queries::patients(HOSPITAL, &filter, before, 51)).await?;
            check(case, &plan, &pages, false);
        }

        let part = |kind, tokens: &[&str]| {
            (kind, tokens.iter().map(|&token| token.to_owned()).collect::<Vec<String>>())
        };
        let name = part("name", &["a0b", "A0B"]);
        let born = part("birth_date", &["a0b"]);
        for (case, parts, before) in [
            ("search by name", vec![name.clone()], None),
            ("next page of it", vec![name.clone()], middle),
            ("by two words and birth", vec![name.clone(), name, born], None),
            ("by code", vec![part("finding", &["a0b", "A0B"])], None),
        ] {
            let query = queries::patients_with(HOSPITAL, &parts, before, 51);
            // The few that are found are sorted.
            check(case, &plan(&transaction, &query).await?, &["pk_search_token"], true);
        }

        let pages = ["ix_entry_hospital_id_patient_id_kind_entry_id"];
        let filter = EntryFilter { code: None, created_from: from, created_before: before };
        let kind = EntryKind::SymptomReport;
        for (case, filter, before) in [
            ("entries", EntryFilter::default(), None),
            ("next page of entries", EntryFilter::default(), middle),
            ("entries by time", filter, middle),
        ] {
            let query = queries::entries(HOSPITAL, largest, kind, (&filter, None), before, 51);
            check(case, &plan(&transaction, &query).await?, &pages, false);
        }
        let tokens = ["a0b".to_owned(), "A0B".to_owned()];
        let by = (&EntryFilter::default(), Some(tokens.as_slice()));
        let query = queries::entries(HOSPITAL, largest, kind, by, None, 51);
        let with_code = plan(&transaction, &query).await?;
        check("entries by code", &with_code, &["search_token"], true);

        let pages = ["ix_change_hospital_id_transaction_id_sequence"];
        let seen = Position { transaction_id: 1, sequence: 1500 };
        for (case, patients, horizon) in [
            ("changes", None, Some(9)),
            ("changes without horizon", None, None),
            ("changes of a patient", Some([largest].as_slice()), Some(9)),
            ("changes of one who was merged", Some(&[largest, Uuid::nil()]), Some(9)),
        ] {
            let query = queries::changes(HOSPITAL, seen, patients, horizon, 200);
            check(case, &plan(&transaction, &query).await?, &pages, false);
        }

        // As docs/audit.md asks who saw a patient.
        let mut history = Statement::from_string(transaction.get_database_backend(), HISTORY);
        history.values = Some(sea_orm::Values(vec![largest.into()]));
        let plan = plan_of(&transaction, history).await?;
        check("history", &plan, &["ix_audit_entry_resource_id_at_us"], false);
        transaction.rollback().await?;
        db.drop().await?;
    }
    Ok(())
}

/// What the service sends to its database.
type Sent = Arc<Mutex<Vec<Statement>>>;

/// Notes from now on what the service sends.
fn listen(db: &mut TestDb) -> Sent {
    let sent = Sent::default();
    let heard = Arc::clone(&sent);
    db.service.set_metric_callback(move |info| heard.lock().unwrap().push(info.statement.clone()));
    sent
}

const PATIENT: &str = "pk_patient|uq_patient_hospital_id_patient_id";
const NUMBER: &str = "uq_search_token_medical_record_number|pk_search_token";
const MERGED: &str = "ix_patient_merged_into";
const OF_RECORD: &str = "ix_search_token_record_id|ix_search_token_hospital_id_patient_id";
/// What is found of a patient who is merged or erased.
const ALL_OF_PATIENT: [&str; 4] = [
    PATIENT,
    MERGED,
    "ix_entry_hospital_id_patient_id_kind_entry_id",
    "ix_search_token_hospital_id_patient_id",
];

/// Names of indexes, as [`check`] takes them.
type Indexes = &'static [&'static str];

/// A call, the indexes by which it finds what it is about, and what it sent.
struct Asked {
    case: &'static str,
    indexes: Indexes,
    sent: Vec<Statement>,
}

/// Makes each call that looks for something other than a page.
async fn calls(harness: &mut Harness, sent: &Sent) -> anyhow::Result<Vec<Asked>> {
    let mut asked = Vec::new();
    let mut note = |case, indexes: Indexes| {
        asked.push(Asked { case, indexes, sent: mem::take(&mut *sent.lock().unwrap()) });
    };
    let (request, of_report) = (Uuid::now_v7().to_string(), Uuid::now_v7().to_string());
    let one = harness.create_as(&request, patient(1)).await?;
    let two = harness.create(named(2, "Lee Sample")).await?;
    let (id, other) = (one.patient_id.clone(), two.patient_id.clone());
    note("creates", &["pk_audit_head"]);
    let report = harness.report_as(&of_report, &id, "headache").await?;
    note("create of an entry", &[PATIENT]);
    harness.link(&id, STUDY).await?;
    let written = harness.note(&id, "seen").await?;
    note("other entries", &[PATIENT]);

    harness.get(&id).await?;
    note("get", &[PATIENT, "pk_audit_head"]);
    let of_number = SearchPatientsRequest {
        medical_record_number: Some(number("MRN-1")),
        ..SearchPatientsRequest::default()
    };
    assert_eq!(harness.search(of_number).await?, std::slice::from_ref(&id));
    note("search by number", &[NUMBER]);
    harness.create_as(&request, patient(1)).await?;
    note("repeated create", &["uq_patient_hospital_id_request_id"]);
    harness.create(patient(1)).await.expect_err("the number is taken");
    note("number that is taken", &["uq_patient_hospital_id_request_id", NUMBER]);
    harness.report_as(&of_report, &id, "headache").await?;
    note("repeated entry", &["uq_entry_hospital_id_request_id"]);
    harness.link(&other, STUDY).await.expect_err("the study is linked");
    note("study that is linked", &["uq_search_token_study|pk_search_token"]);
    let symptom_report_id = report.symptom_report_id;
    harness.client.get_symptom_report(GetSymptomReportRequest { symptom_report_id }).await?;
    note("get of an entry", &["pk_entry"]);
    let mut renumbered = two;
    renumbered.medical_record_numbers = vec![number("MRN-3")];
    let two = harness.update(renumbered, &["medical_record_numbers"]).await?;
    note("update of numbers", &[PATIENT, NUMBER, OF_RECORD]);
    harness.delete_entry(&written.note_id, 1).await?;
    note("deletion of an entry", &["pk_entry", OF_RECORD]);

    let kept = harness.merge(&one, &two).await?;
    note("merge", &ALL_OF_PATIENT);
    assert_eq!(harness.get(&other).await?.patient_id, id);
    note("get of who was merged", &[PATIENT]);
    drop(harness.client.watch_changes(WatchChangesRequest::default()).await?);
    note("watch from now on", &["pk_audit_head"]);
    let watched =
        WatchChangesRequest { patient_id: other, from_beginning: true, ..Default::default() };
    let mut changes = harness.client.watch_changes(watched).await?.into_inner();
    changes.message().await?.expect("a change");
    drop(changes);
    note("watch of who was merged", &[MERGED]);
    harness.erase(&id, kept.revision).await?;
    note("erasure", &ALL_OF_PATIENT);
    Ok(asked)
}

#[tokio::test]
async fn whatever_a_call_looks_for_is_found_by_an_index() -> anyhow::Result<()> {
    for mut db in databases::<Migrator>().await? {
        let sent = listen(&mut db);
        let mut harness = start(db).await?;
        let asked = calls(&mut harness, &sent).await?;
        let report = audit::verify(&harness.db.service, &keyring(), &[], "").await?;
        assert_eq!(report.broken().count(), 0);
        let verified = mem::take(&mut *sent.lock().unwrap());

        // Asked of few rows and explained over many: as the service asks, so under its own role.
        filled(&harness.db).await?;
        let transaction =
            tenant::begin(&harness.db.service, &HOSPITAL.parse()?, Mode::Read).await?;
        for Asked { case, indexes, sent } in asked {
            let mut plans = Vec::new();
            // The feed is explained by the other test: of one patient it is walked as a whole.
            for statement in sent.iter().filter(|sent| !sent.sql.contains("FROM \"change\"")) {
                let plan = plan_of(&transaction, statement.clone()).await?;
                check(&format!("{case}: {}", statement.sql), &plan, &[], true);
                // An index may be walked in order to a limit, and not through all of a hospital.
                let all = ["(hospital_id=?)", "(hospital_id=? AND kind=?)"];
                let all = all.iter().any(|all| plan.contains(all));
                assert!(!all || statement.sql.contains("ORDER BY"), "{case}: all in\n{plan}");
                plans.push(plan);
            }
            check(case, &plans.join("\n"), indexes, true);
        }
        // Each chain is read by its key, the few rows of a short one sorted; who has a chain, and what is outside of them,
        // takes a look at all.
        let is_page = |sent: &Statement| sent.sql.contains("audit_") && sent.sql.contains("LIMIT");
        let pages: Vec<Statement> = verified.into_iter().filter(is_page).collect();
        assert!(!pages.is_empty());
        for page in pages {
            let case = page.sql.clone();
            let index =
                if case.contains("audit_head") { "pk_audit_head" } else { "pk_audit_entry" };
            check(&case, &plan_of(&transaction, page).await?, &[index], true);
        }
        transaction.rollback().await?;
        harness.stop().await?;
    }
    Ok(())
}
