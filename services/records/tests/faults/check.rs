//! What must hold after all the kills.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use neurotriage_proto::records::v1::{
    GetSymptomReportRequest, ListPatientsRequest, Patient,
    records_service_client::RecordsServiceClient,
};
use neurotriage_records::store::{change_row, entry_row, patient_row, search_token_row};
use neurotriage_sealing::Keyring;
use neurotriage_service_kit::audit::{self, audit_entry_row};
use sea_orm::{
    ColumnTrait as _, DatabaseConnection, EntityTrait as _, PaginatorTrait as _, QueryFilter as _,
};
use tonic::transport::Channel;
use uuid::Uuid;

use crate::{
    load::{Content, Create, patient},
    program::KEYS,
};

/// Checks that every acknowledged create is there once, under the id that was acknowledged, and that nothing else
/// is there but creates that were given up, once each. Returns the ids of what is stored.
pub(crate) async fn rows(
    db: &DatabaseConnection,
    creates: &[Create],
) -> anyhow::Result<BTreeSet<String>> {
    let mut stored: BTreeMap<Uuid, String> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    let patients = patient_row::Entity::find().all(db).await?;
    let entries = entry_row::Entity::find().all(db).await?;
    let numbers = search_token_row::Entity::find()
        .filter(search_token_row::Column::Kind.eq("medical_record_number"))
        .count(db)
        .await?;
    assert_eq!(numbers, patients.len() as u64, "numbers by which patients are found");
    let patients = patients.into_iter().map(|row| (row.request_id, row.patient_id));
    let entries = entries.into_iter().map(|row| (row.request_id, row.entry_id));
    for (request_id, id) in patients.chain(entries) {
        ensure!(stored.insert(request_id, id.to_string()).is_none(), "stored twice: {request_id}");
        ensure!(ids.insert(id.to_string()), "one id twice: {id}");
    }
    let (mut acknowledged, mut unsaid) = (0, 0);
    for create in creates {
        let there = stored.remove(&create.request_id);
        match &create.acknowledged {
            Some(id) => {
                assert_eq!(there.as_ref(), Some(id), "acknowledged: {create:?}");
                acknowledged += 1;
            }
            None => unsaid += usize::from(there.is_some()),
        }
    }
    assert!(stored.is_empty(), "stored and never asked for: {stored:?}");
    assert_eq!(ids.len(), acknowledged + unsaid);
    eprintln!("{acknowledged} acknowledged, {unsaid} stored without a word");
    Ok(ids)
}

/// Checks that the change feed tells of each record once.
pub(crate) async fn changes(
    db: &DatabaseConnection,
    stored: &BTreeSet<String>,
) -> anyhow::Result<()> {
    let rows = change_row::Entity::find().all(db).await?;
    assert_eq!(rows.len(), stored.len(), "changes");
    let told: BTreeSet<String> = rows
        .into_iter()
        .filter(|row| row.action == "created")
        .map(|row| row.record_id.to_string())
        .collect();
    assert!(told == *stored, "the changes are of other records than are stored");
    Ok(())
}

/// Checks that the audit is whole and says once of each record that it was created.
pub(crate) async fn audit(
    db: &DatabaseConnection,
    stored: &BTreeSet<String>,
) -> anyhow::Result<()> {
    let report = audit::verify(db, &Keyring::parse(KEYS)?, &[], "").await?;
    let broken: Vec<_> = report.broken().collect();
    assert!(broken.is_empty(), "{broken:?}");
    let rows = audit_entry_row::Entity::find().all(db).await?;
    assert_eq!(report.entries(), rows.len() as u64);
    let mut created: BTreeMap<String, usize> = BTreeMap::new();
    let mut repeated = 0;
    for row in rows.iter().filter(|row| row.action == "create") {
        ensure!(row.outcome == "done", "a refusal that nobody was told of: {row:?}");
        if row.detail.contains("REPEATED") {
            repeated += 1;
        } else {
            let id = row.resource_id.context("a create of nothing")?;
            *created.entry(id.to_string()).or_default() += 1;
        }
    }
    assert!(created.values().all(|&times| times == 1), "created twice, says the audit");
    assert!(created.keys().eq(stored.iter()), "the audit is of other records than are stored");
    eprintln!(
        "{} entries of audit in {} chains, {repeated} repetitions",
        rows.len(),
        report.chains.len()
    );
    Ok(())
}

/// Checks that the service returns what was acknowledged with its content.
pub(crate) async fn contents(
    client: &RecordsServiceClient<Channel>,
    creates: &[Create],
) -> anyhow::Result<()> {
    let patients = all_patients(client.clone()).await?;
    let mut reports = Vec::new();
    for create in creates {
        let Some(id) = create.acknowledged.clone() else { continue };
        match &create.content {
            Content::Patient { number, name } => {
                let got = patients.get(&id).with_context(|| format!("not listed: {create:?}"))?;
                let sent = patient(number, name);
                ensure!(
                    (got.revision, &got.name) == (1, name)
                        && got.medical_record_numbers == sent.medical_record_numbers
                        && got.birth_date == sent.birth_date,
                    "other content: {got:?}"
                );
            }
            Content::Report { patient_id, text } => {
                reports.push(report_is(client.clone(), id, patient_id, text));
            }
        }
    }
    stream::iter(reports).buffer_unordered(32).try_collect::<Vec<()>>().await.map(drop)
}

async fn all_patients(
    mut client: RecordsServiceClient<Channel>,
) -> anyhow::Result<BTreeMap<String, Patient>> {
    let mut patients = BTreeMap::new();
    let mut page_token = String::new();
    loop {
        let request = ListPatientsRequest { page_size: 200, page_token, ..Default::default() };
        let page = client.list_patients(request).await?.into_inner();
        for patient in page.patients {
            let twice = patients.insert(patient.patient_id.clone(), patient);
            ensure!(twice.is_none(), "listed twice: {twice:?}");
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(patients);
        }
    }
}

async fn report_is(
    mut client: RecordsServiceClient<Channel>,
    id: String,
    patient_id: &str,
    text: &str,
) -> anyhow::Result<()> {
    let request = GetSymptomReportRequest { symptom_report_id: id.clone() };
    let got = client.get_symptom_report(request).await?.into_inner();
    let got = got.report.context("no report")?;
    ensure!(
        got.symptom_report_id == id
            && (got.patient_id.as_str(), got.text.as_str()) == (patient_id, text)
            && got.findings.len() == 1,
        "other content: {got:?}"
    );
    Ok(())
}
