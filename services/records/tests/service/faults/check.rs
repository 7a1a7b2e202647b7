//! What must hold after all the kills.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, ensure};
use futures::{StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use neurotriage_proto::records::v1::{
    GetPatientRequest, GetSymptomReportRequest, ListPatientsRequest, Patient,
    records_service_client::RecordsServiceClient,
};
use neurotriage_records::store::{change_row, entry_row, patient_row, search_token_row};
use neurotriage_sealing::Keyring;
use neurotriage_service_kit::audit::{self, audit_entry_row};
use sea_orm::{
    ColumnTrait as _, DatabaseConnection, EntityTrait as _, PaginatorTrait as _, QueryFilter as _,
};
use tonic::{Code, transport::Channel};
use uuid::Uuid;

use super::{
    program::KEYS,
    writes::{BIRTH_DATE, Content, Known, Written},
};

/// Calls of the checks at a time.
const CHECKS: usize = 32;

/// Checks that every acknowledged create is there once, under the id that was acknowledged, that nothing else is there
/// but creates that were given up, once each, and that of the erased nothing is left. Returns the ids of what is stored.
pub(crate) async fn rows(
    db: &DatabaseConnection,
    written: &Written,
) -> anyhow::Result<BTreeSet<String>> {
    let mut stored: BTreeMap<Uuid, String> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    let patients = patient_row::Entity::find().all(db).await?;
    let entries = entry_row::Entity::find().all(db).await?;
    let erased: BTreeSet<String> = patients
        .iter()
        .filter(|row| row.content.is_none())
        .map(|row| row.patient_id.to_string())
        .collect();
    let gone = written.patients.keys().filter(|id| written.remains(id).is_none());
    assert!(erased.iter().eq(gone), "others are erased than were acknowledged");
    let left = entries.iter().filter(|row| erased.contains(&row.patient_id.to_string()));
    assert!(left.clone().all(|row| row.content.is_none()), "content of the erased");
    let numbers = search_token_row::Entity::find()
        .filter(search_token_row::Column::Kind.eq("medical_record_number"))
        .count(db)
        .await?;
    let here = patients.len() - erased.len();
    assert_eq!(numbers, here as u64, "numbers by which patients are found");
    let patients = patients.into_iter().map(|row| (row.request_id, row.patient_id));
    let entries = entries.into_iter().map(|row| (row.request_id, row.entry_id));
    for (request_id, id) in patients.chain(entries) {
        ensure!(stored.insert(request_id, id.to_string()).is_none(), "stored twice: {request_id}");
        ensure!(ids.insert(id.to_string()), "one id twice: {id}");
    }
    let (mut acknowledged, mut unsaid) = (0, 0);
    for create in &written.creates {
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
    eprintln!("{acknowledged} creates acknowledged, {unsaid} stored without a word");
    Ok(ids)
}

/// Checks that the change feed tells once that each record was created, and once of each revision up to the one that is
/// there. Returns the changes.
pub(crate) async fn changes(
    db: &DatabaseConnection,
    stored: &BTreeSet<String>,
) -> anyhow::Result<Vec<change_row::Model>> {
    let rows = change_row::Entity::find().all(db).await?;
    let created: Vec<String> = rows
        .iter()
        .filter(|row| row.action == "created")
        .map(|row| row.record_id.to_string())
        .collect();
    assert_eq!(created.len(), stored.len(), "changes");
    let created: BTreeSet<String> = created.into_iter().collect();
    assert!(created == *stored, "the changes are of other records than are stored");
    let mut revisions: BTreeMap<Uuid, BTreeSet<i64>> = BTreeMap::new();
    for row in &rows {
        let once = revisions.entry(row.record_id).or_default().insert(row.revision);
        ensure!(once, "told of twice: {row:?}");
    }
    for row in patient_row::Entity::find().all(db).await? {
        let last = revisions[&row.patient_id].last();
        assert_eq!(last, Some(&row.revision), "the last change of {}", row.patient_id);
    }
    Ok(rows)
}

/// Checks that the audit is whole and says once of each change that it was made.
pub(crate) async fn audit(
    db: &DatabaseConnection,
    changes: &[change_row::Model],
) -> anyhow::Result<()> {
    let report = audit::verify(db, &Keyring::parse(KEYS)?, &[], "").await?;
    let broken: Vec<_> = report.broken().collect();
    assert!(broken.is_empty(), "{broken:?}");
    let rows = audit_entry_row::Entity::find().all(db).await?;
    assert_eq!(report.entries(), rows.len() as u64);
    let words =
        [("create", "created"), ("update", "updated"), ("merge", "merged"), ("erase", "erased")];
    let (mut repeated, mut refused) = (0, 0);
    for (action, change) in words {
        let mut said: Vec<Uuid> = Vec::new();
        for row in rows.iter().filter(|row| row.action == action) {
            if row.outcome != "done" {
                let stale = row.detail.contains("REVISION_STALE");
                ensure!(stale, "a refusal that nobody was told of: {row:?}");
                refused += 1;
            } else if row.detail.contains("REPEATED") {
                repeated += 1;
            } else {
                said.push(row.resource_id.context("a write of nothing")?);
            }
        }
        let told = changes.iter().filter(|row| row.action == change);
        let mut told: Vec<Uuid> = told.map(|row| row.record_id).collect();
        said.sort_unstable();
        told.sort_unstable();
        assert!(said == told, "of what was {change} the audit says otherwise than the changes");
        eprintln!("{} {change}", told.len());
    }
    eprintln!(
        "{} entries of audit in {} chains, {repeated} repetitions, {refused} of another revision",
        rows.len(),
        report.chains.len()
    );
    Ok(())
}

/// Checks that the service returns what was acknowledged with its content: patients at the revision of their last
/// acknowledged write or with an update that was given up after it, those who were merged as who remains, and of the
/// erased nothing.
pub(crate) async fn contents(
    client: &RecordsServiceClient<Channel>,
    written: &Written,
) -> anyhow::Result<()> {
    let listed = all_patients(client.clone()).await?;
    let mut unsaid = 0;
    let mut asked: Vec<BoxFuture<'_, anyhow::Result<()>>> = Vec::new();
    for (id, known) in &written.patients {
        let remains = written.remains(id);
        if remains.is_some_and(|remains| remains.patient_id == *id) {
            let got = listed.get(id).with_context(|| format!("not listed: {known:?}"))?;
            unsaid += u64::from(is_with_unsaid(got, known)?);
        } else {
            ensure!(!listed.contains_key(id), "listed: {known:?}");
            asked.push(Box::pin(resolves(client.clone(), id, remains)));
        }
    }
    for create in &written.creates {
        let (Content::Report { patient_id, text }, Some(id)) =
            (&create.content, &create.acknowledged)
        else {
            continue;
        };
        asked.push(Box::pin(report_is(client.clone(), id, written.remains(patient_id), text)));
    }
    eprintln!("{unsaid} updates stored without a word");
    stream::iter(asked).buffer_unordered(CHECKS).try_collect::<Vec<()>>().await.map(drop)
}

/// Returns whether a patient has an update that was not acknowledged.
///
/// # Errors
/// If they are neither as acknowledged nor with one of those.
fn is_with_unsaid(got: &Patient, known: &Known) -> anyhow::Result<bool> {
    let mut numbers: Vec<&String> =
        got.medical_record_numbers.iter().map(|number| &number.number).collect();
    let mut own: Vec<&String> = known.numbers.iter().collect();
    numbers.sort_unstable();
    own.sort_unstable();
    let there = (got.revision, &got.name);
    let unsaid = got.revision == known.revision + 1 && known.tried.contains(&got.name);
    ensure!(
        (there == (known.revision, &known.name) || unsaid)
            && numbers == own
            && got.birth_date == BIRTH_DATE,
        "other content: {got:?} of {known:?}"
    );
    Ok(unsaid)
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

/// Checks that an id leads to who remains, or to nobody.
async fn resolves(
    mut client: RecordsServiceClient<Channel>,
    id: &str,
    remains: Option<&Known>,
) -> anyhow::Result<()> {
    let got = client.get_patient(GetPatientRequest { patient_id: id.to_owned() }).await;
    let Some(remains) = remains else {
        let code = got.map_err(|status| status.code()).err();
        ensure!(code == Some(Code::NotFound), "erased, and answered by {code:?}: {id}");
        return Ok(());
    };
    let got = got?.into_inner().patient.context("no patient")?;
    let right = got.patient_id == remains.patient_id
        && got.merged_patient_ids.iter().any(|merged| merged == id);
    ensure!(right, "{id} leads to {got:?} and not to {remains:?}");
    Ok(())
}

async fn report_is(
    mut client: RecordsServiceClient<Channel>,
    id: &str,
    remains: Option<&Known>,
    text: &str,
) -> anyhow::Result<()> {
    let request = GetSymptomReportRequest { symptom_report_id: id.to_owned() };
    let got = client.get_symptom_report(request).await;
    let Some(remains) = remains else {
        let code = got.map_err(|status| status.code()).err();
        ensure!(code == Some(Code::NotFound), "erased, and answered by {code:?}: {id}");
        return Ok(());
    };
    let got = got?.into_inner().report.context("no report")?;
    ensure!(
        got.symptom_report_id == id
            && (&got.patient_id, got.text.as_str()) == (&remains.patient_id, text)
            && got.findings.len() == 1,
        "other content: {got:?}"
    );
    Ok(())
}
