//! Lists and searches that are walked page by page while others write: what stays is shown once, and what is gone is not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use neurotriage_migrations::records::Migrator;
use neurotriage_proto::records::v1::{
    ListNotesRequest, ListPatientsRequest, ListStudyLinksRequest, ListSymptomReportsRequest,
    Patient, SearchPatientsRequest,
};
use neurotriage_testkit::databases;
use tonic::Status;
use uuid::Uuid;

use crate::harness::{Client, Harness, named, start};

const PAGE_ROWS: u32 = 8;
/// Rows before the walk; half of them are touched meanwhile.
const ROWS: usize = 64;
/// Pages, at least, between which somebody writes.
const PAGES_MIN: usize = 5;

/// Ids on a page, and the token of the next one.
type Page = (Vec<String>, String);

/// Walks through all pages; `write` is called between them with the number of pages so far. Returns each id with the
/// number of its page.
async fn walk(
    mut page: impl AsyncFnMut(String) -> Result<Page, Status>,
    mut write: impl AsyncFnMut(usize) -> Result<(), Status>,
) -> anyhow::Result<BTreeMap<String, usize>> {
    let mut shown = BTreeMap::new();
    let mut token = String::new();
    for number in 1.. {
        let (ids, next) = page(token).await?;
        assert!(ids.is_sorted_by(|newer, older| newer > older), "not newest first: {ids:?}");
        for id in ids {
            assert_eq!(shown.insert(id.clone(), number), None, "shown twice: {id}");
        }
        if next.is_empty() {
            assert!(number >= PAGES_MIN, "too few pages: {number}");
            break;
        }
        token = next;
        write(number).await?;
    }
    Ok(shown)
}

/// Fails if one of `stayed` was not shown, or one of `gone` was by a later page than the one that it was there for.
fn check(
    case: &str,
    shown: &BTreeMap<String, usize>,
    stayed: &BTreeSet<String>,
    gone: &BTreeMap<String, usize>,
) {
    let missing: Vec<&String> = stayed.iter().filter(|&id| !shown.contains_key(id)).collect();
    assert!(missing.is_empty(), "{case}: not shown: {missing:?}");
    for (id, last) in gone {
        let late = shown.get(id).filter(|&page| page > last);
        assert_eq!(late, None, "{case}: gone after page {last}, and shown: {id}");
    }
}

/// Patients of one name, of whom others change every second one.
struct Patients {
    untouched: BTreeSet<String>,
    /// Oldest first: from the front come those that are not shown yet, from the back those that were.
    touched: VecDeque<Patient>,
    deleted: Option<(String, u64)>,
    /// By id, with the last page for which they were there.
    gone: BTreeMap<String, usize>,
    renamed: BTreeMap<String, usize>,
    made: usize,
}

impl Patients {
    async fn new(harness: &mut Harness) -> Result<Self, Status> {
        let mut patients = Self {
            untouched: BTreeSet::new(),
            touched: VecDeque::new(),
            deleted: None,
            gone: BTreeMap::new(),
            renamed: BTreeMap::new(),
            made: 0,
        };
        for row in 0..ROWS {
            let patient = patients.make(harness).await?;
            if row % 2 == 0 {
                patients.untouched.insert(patient.patient_id);
            } else {
                patients.touched.push_back(patient);
            }
        }
        Ok(patients)
    }

    async fn make(&mut self, harness: &mut Harness) -> Result<Patient, Status> {
        self.made += 1;
        harness.create(named(self.made, "Park Sample")).await
    }

    /// Creates one, brings one back, and deletes, renames and merges some that were shown and some that were not.
    async fn write(&mut self, harness: &mut Harness, page: usize) -> Result<(), Status> {
        self.make(harness).await?;
        if let Some((id, revision)) = self.deleted.take() {
            harness.undelete(&id, revision).await?;
            self.gone.remove(&id);
        }
        for shown in [false, true] {
            let Some(patient) = self.take(shown) else { return Ok(()) };
            let revision = harness.delete(&patient.patient_id, patient.revision).await?;
            self.gone.insert(patient.patient_id.clone(), page);
            self.deleted = Some((patient.patient_id, revision));
        }
        let Some(mut patient) = self.take(false) else { return Ok(()) };
        self.renamed.insert(patient.patient_id.clone(), page);
        patient.name = "Lee Sample".to_owned();
        harness.update(patient, &["name"]).await?;
        // By turns into one who was shown, and into one who was not.
        let shown = page.is_multiple_of(2);
        let (Some(kept), Some(duplicate)) = (self.take(shown), self.take(!shown)) else {
            return Ok(());
        };
        harness.merge(&kept, &duplicate).await?;
        self.gone.insert(duplicate.patient_id, page);
        Ok(())
    }

    fn take(&mut self, shown: bool) -> Option<Patient> {
        if shown { self.touched.pop_back() } else { self.touched.pop_front() }
    }
}

fn ids_of(patients: Vec<Patient>) -> Vec<String> {
    patients.into_iter().map(|patient| patient.patient_id).collect()
}

#[tokio::test]
async fn a_list_of_patients_shows_each_once_while_others_write() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let mut patients = Patients::new(&mut harness).await?;
        let mut client = harness.client.clone();
        let page = async |page_token| {
            let request =
                ListPatientsRequest { page_size: PAGE_ROWS, page_token, ..Default::default() };
            let page = client.list_patients(request).await?.into_inner();
            Ok((ids_of(page.patients), page.next_page_token))
        };
        let shown = walk(page, async |page| patients.write(&mut harness, page).await).await?;
        let stayed = patients.renamed.into_keys().chain(patients.untouched).collect();
        check("list", &shown, &stayed, &patients.gone);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_search_by_name_shows_each_once_while_others_write() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let mut patients = Patients::new(&mut harness).await?;
        let mut client = harness.client.clone();
        let page = async |page_token| {
            let request = SearchPatientsRequest {
                name_prefix: "park".to_owned(),
                page_size: PAGE_ROWS,
                page_token,
                ..Default::default()
            };
            let page = client.search_patients(request).await?.into_inner();
            Ok((ids_of(page.patients), page.next_page_token))
        };
        let shown = walk(page, async |page| patients.write(&mut harness, page).await).await?;
        check("search", &shown, &patients.untouched, &patients.gone);
        check("search, renamed", &shown, &patients.untouched, &patients.renamed);
        harness.stop().await?;
    }
    Ok(())
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Report,
    Note,
    Link,
}

async fn add(harness: &mut Harness, kind: Kind, patient_id: &str) -> Result<String, Status> {
    Ok(match kind {
        Kind::Report => harness.report(patient_id, "headache").await?.symptom_report_id,
        Kind::Note => harness.note(patient_id, "seen").await?.note_id,
        Kind::Link => harness.link(patient_id, &Uuid::now_v7().to_string()).await?.study_link_id,
    })
}

async fn entries(
    client: &mut Client,
    kind: Kind,
    patient_id: String,
    page_token: String,
) -> Result<Page, Status> {
    let page_size = PAGE_ROWS;
    Ok(match kind {
        Kind::Report => {
            let request = ListSymptomReportsRequest {
                patient_id,
                page_size,
                page_token,
                ..Default::default()
            };
            let page = client.list_symptom_reports(request).await?.into_inner();
            let ids = page.reports.into_iter().map(|report| report.symptom_report_id);
            (ids.collect(), page.next_page_token)
        }
        Kind::Note => {
            let request = ListNotesRequest { patient_id, page_size, page_token };
            let page = client.list_notes(request).await?.into_inner();
            (page.notes.into_iter().map(|note| note.note_id).collect(), page.next_page_token)
        }
        Kind::Link => {
            let request = ListStudyLinksRequest { patient_id, page_size, page_token };
            let page = client.list_study_links(request).await?.into_inner();
            (page.links.into_iter().map(|link| link.study_link_id).collect(), page.next_page_token)
        }
    })
}

/// Entries of a patient, of whom others change every second one, and the patient too.
struct Entries {
    kind: Kind,
    patient_id: String,
    untouched: BTreeSet<String>,
    touched: VecDeque<String>,
    gone: BTreeMap<String, usize>,
    /// Who is merged into the patient, and whom the patient is merged into, with entries of their own.
    others: [String; 2],
}

impl Entries {
    async fn new(harness: &mut Harness, kind: Kind) -> Result<Self, Status> {
        let mut of = Vec::new();
        for (at, name) in ["Park Sample", "Park Again", "Park Before"].into_iter().enumerate() {
            let number = kind as usize * 3 + at;
            of.push(harness.create(named(number, name)).await?.patient_id);
        }
        let [patient_id, duplicate, survivor] = of.try_into().expect("three");
        let mut entries = Self {
            kind,
            patient_id,
            untouched: BTreeSet::new(),
            touched: VecDeque::new(),
            gone: BTreeMap::new(),
            others: [duplicate, survivor],
        };
        for row in 0..ROWS {
            let id = add(harness, kind, &entries.patient_id).await?;
            if row % 2 == 0 {
                entries.untouched.insert(id);
            } else {
                entries.touched.push_back(id);
            }
            if row % 8 == 0 {
                add(harness, kind, &entries.others[0]).await?;
                add(harness, kind, &entries.others[1]).await?;
            }
        }
        Ok(entries)
    }

    /// Adds one, deletes one that was shown and one that was not, and changes the patient: the third time somebody is
    /// merged into them, and the fourth time they into another.
    async fn write(&mut self, harness: &mut Harness, page: usize) -> Result<(), Status> {
        add(harness, self.kind, &self.patient_id).await?;
        for id in [self.touched.pop_front(), self.touched.pop_back()].into_iter().flatten() {
            harness.delete_entry(&id, 1).await?;
            self.gone.insert(id, page);
        }
        let mut patient = harness.get(&self.patient_id).await?;
        match page {
            3 => {
                let duplicate = harness.get(&self.others[0]).await?;
                harness.merge(&patient, &duplicate).await?;
            }
            4 => {
                let survivor = harness.get(&self.others[1]).await?;
                harness.merge(&survivor, &patient).await?;
            }
            _ => {
                patient.name = format!("Park Sample {page}");
                harness.update(patient, &["name"]).await?;
            }
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_list_of_entries_shows_each_once_while_others_write() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        for kind in [Kind::Report, Kind::Note, Kind::Link] {
            let mut written = Entries::new(&mut harness, kind).await?;
            let mut client = harness.client.clone();
            let asked = written.patient_id.clone();
            let page = async |token| entries(&mut client, kind, asked.clone(), token).await;
            let shown = walk(page, async |page| written.write(&mut harness, page).await).await?;
            // Those that are moved in between may come too, each once.
            let stayed = written.untouched.into_iter().chain(written.touched).collect();
            check(&format!("{kind:?}"), &shown, &stayed, &written.gone);
        }
        harness.stop().await?;
    }
    Ok(())
}
