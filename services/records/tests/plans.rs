//! How the databases run what lists and searches ask: by the indexes meant for it.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests may stop the test")]

use neurotriage_migrations::records::Migrator;
use neurotriage_records::{
    change::Position,
    entry::EntryKind,
    records::{EntryFilter, PatientFilter},
    store::{patient_row, queries},
};
use neurotriage_service_kit::tenant::{self, Mode};
use neurotriage_testkit::{TestDb, databases};
use sea_orm::{
    ColumnTrait as _, ConnectionTrait as _, DatabaseTransaction, DbBackend, EntityTrait,
    QueryFilter as _, QueryOrder as _, QuerySelect as _, QueryTrait as _, Select, Statement,
};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

const HOSPITAL: &str = "sample";

/// Some thousand patients of two hospitals, each with an entry, and one with many.
fn fill(backend: DbBackend) -> Vec<String> {
    let postgres = backend == DbBackend::Postgres;
    let (uuid, now) =
        if postgres { ("gen_random_uuid()", "now()") } else { ("randomblob(16)", "'2026-01-01'") };
    let text = |id: &str| {
        if postgres {
            format!("substr({id}::text, 1, 3)")
        } else {
            format!("substr(hex({id}), 1, 3)")
        }
    };
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
    let tokens = |kind: &str, table: &str, record: &str| {
        let token = text(record);
        format!(
            "INSERT INTO search_token (hospital_id, kind, token, patient_id, record_id) \
             SELECT hospital_id, '{kind}', {token}, patient_id, {record} FROM {table}"
        )
    };
    let changes = format!(
        "INSERT INTO change (transaction_id, hospital_id, kind, record_id, patient_id, action, revision, changed_at) \
         SELECT revision, hospital_id, 'patient', patient_id, patient_id, 'created', 1, {now} FROM patient"
    );
    vec![
        patients,
        entry("patient"),
        entry(&largest),
        tokens("name", "patient", "patient_id"),
        tokens("birth_date", "patient", "patient_id"),
        tokens("finding", "entry", "entry_id"),
        changes,
        "ANALYZE".to_owned(),
    ]
}

async fn plan<E: EntityTrait>(
    transaction: &DatabaseTransaction,
    query: &Select<E>,
) -> anyhow::Result<String> {
    let backend = transaction.get_database_backend();
    let mut statement: Statement = query.build(backend);
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

/// Fails where rows are read one after the other or sorted, or an index is not used.
fn check(case: &str, plan: &str, indexes: &[&str], sorts: bool) {
    // What SQLite calls the index of a primary key.
    let plan = plan.replace("sqlite_autoindex_search_token_1", "pk_search_token");
    for index in indexes {
        assert!(plan.contains(index), "{case}: no {index} in\n{plan}");
    }
    for table in ["patient", "entry", "search_token", "change"] {
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
        transaction.rollback().await?;
        db.drop().await?;
    }
    Ok(())
}
