//! Bringing a bundle in: what is known already, what is new, what is refused.

mod hospitals;
mod known;

use std::collections::HashMap;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use neurotriage_domain::{HospitalId, PatientId};
use neurotriage_fhir::{
    Problem,
    finding::StoredReport,
    import::{Import, ReadNote, ReadPatient, ReadReport, Refusal, State},
    patient::{StoredPatient, contradictions},
};
use serde::Serialize;
use uuid::Uuid;

use super::{Create, Created, FhirError, Records, RefusedCreate};
use crate::directory::DirectoryStore;

/// Most patients of one bundle: each is looked for by every number.
pub const PATIENTS_MAX: usize = 1_000;
/// Patients that are looked for at a time.
const ASKED_MAX: usize = 8;
/// Most reports, and most notes, of a known patient that a bundle is compared with.
const COMPARED_MAX: usize = 1_000;

/// Request ids of what is created from bundles, by hospital and content.
const NAMESPACE: Uuid = Uuid::from_u128(0x2c94_b7f0_0d8e_5a8b_8d3a_57a2_9e51_c6d4);

/// Reason of the records for what a request created before, and somebody deleted or erased since.
const DELETED: &str = "DELETED_SINCE";

/// Reason of a patient whose number is of somebody who cannot be the same.
const MISMATCH: &str = "PATIENT_MISMATCH";

/// Who imports, and how.
#[derive(Clone, Debug)]
pub struct ImportRequest {
    /// Hospital whose records are written.
    pub tenant: HospitalId,
    /// Whether the caller may change the directory of hospitals.
    pub may_change_hospitals: bool,
    /// Nothing is stored.
    pub dry_run: bool,
}

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Stored, or would be; the id is not known in a dry run.
    Created(Option<String>),
    /// A hospital that is changed, or would be.
    Updated(String),
    /// Known already.
    Unchanged(String),
    /// Wrong, with a stable reason.
    Refused(String, Vec<Problem>),
    /// Of no kind that is brought in.
    PassedOver(&'static str),
}

/// An entry and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryResult {
    /// Name of its resource; empty if that is none of R4.
    pub resource_type: &'static str,
    /// What became of it.
    pub outcome: Outcome,
    /// What of it is left out, and why.
    pub notes: Vec<Problem>,
}

/// Brings in what `import` holds; an answer for each entry, in order.
///
/// # Errors
/// [`FhirError::Invalid`] if there are too many patients; [`FhirError::Failed`] if a service is away:
/// what was stored until then stays, and the same bundle again finishes the rest.
pub async fn bring_in<S: DirectoryStore, R: Records>(
    store: &S,
    records: &R,
    request: &ImportRequest,
    mut import: Import,
) -> Result<Vec<EntryResult>, FhirError> {
    if import.patients.len() > PATIENTS_MAX {
        return Err(FhirError::field(
            "content",
            format!("at most {PATIENTS_MAX} patients in a bundle"),
        ));
    }
    let directory = std::mem::take(&mut import.directory);
    let without = std::mem::take(&mut import.directory_refused);
    let results = std::mem::take(&mut import.entries).into_iter().map(|entry| EntryResult {
        resource_type: entry.resource_type,
        outcome: match entry.state {
            // What it becomes is found below.
            State::Read => Outcome::PassedOver("nothing of it is brought in"),
            State::PassedOver(reason) => Outcome::PassedOver(reason),
            State::Refused(refusal, problems) => {
                Outcome::Refused(refusal.as_str().to_owned(), problems)
            }
        },
        notes: entry.notes,
    });
    let mut run = Run { records, request, results: results.collect(), patients: HashMap::new() };
    for (place, outcome) in hospitals::bring_in(store, request, &directory, without).await? {
        run.set(place, outcome);
    }
    run.patients(import.patients).await?;
    run.told(import.reports, import.notes).await?;
    Ok(run.results)
}

/// A patient of the bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// In the records before.
    Before(PatientId),
    /// New; the id is not known in a dry run.
    New(Option<PatientId>),
}

/// Those who have numbers of one patient of the bundle.
type Found = HashMap<PatientId, StoredPatient>;

struct Run<'a, R> {
    records: &'a R,
    request: &'a ImportRequest,
    results: Vec<EntryResult>,
    /// By the place of the entry; those who were refused are not in it.
    patients: HashMap<usize, Known>,
}

/// Something to create and the entries it comes from.
struct Planned {
    entries: Vec<usize>,
    create: Create,
}

/// Returns what is told of something that was brought in before, and that somebody deleted or erased since. The
/// records ask for another request id; here it follows from the content, and the next bundle of every night would bring
/// back what was taken away on purpose.
fn gone(what: &Created) -> String {
    let back = match what {
        Created::Patient(_) => {
            "bring the patient back by UndeletePatient, or make them anew by CreatePatient"
        }
        Created::Report(..) => "make it anew by CreateSymptomReport",
        Created::Note(..) => "make it anew by CreateNote",
    };
    format!(
        "was brought in before, and deleted or erased here since; import does not bring it back: {back}"
    )
}

impl<R: Records> Run<'_, R> {
    fn set(&mut self, place: usize, outcome: Outcome) {
        if let Some(result) = self.results.get_mut(place) {
            result.outcome = outcome;
        }
    }

    fn request_id(
        &self,
        kind: &str,
        of: &str,
        content: &impl Serialize,
    ) -> Result<Uuid, FhirError> {
        let content = serde_json::to_string(content).map_err(|source| FhirError::Store {
            operation: "derive a request id",
            source: Box::new(source),
        })?;
        let name = format!("{}\0{kind}\0{of}\0{content}", self.request.tenant);
        Ok(Uuid::new_v5(&NAMESPACE, name.as_bytes()))
    }

    async fn find(&self, patient: &ReadPatient) -> Result<Found, FhirError> {
        let mut found = HashMap::new();
        for number in &patient.patient.numbers {
            let known = self.records.find_patient(number).await?;
            found.extend(known.map(|known| (PatientId::from(known.patient_id), known)));
        }
        Ok(found)
    }

    async fn patients(&mut self, patients: Vec<ReadPatient>) -> Result<(), FhirError> {
        let lookups: Vec<_> = patients.iter().map(|patient| self.find(patient)).collect();
        let found: Vec<Found> = stream::iter(lookups).buffered(ASKED_MAX).try_collect().await?;
        let mut fresh = Vec::new();
        for (patient, found) in patients.into_iter().zip(found) {
            if !self.match_known(&patient, &found) {
                fresh.push(patient);
            }
        }
        if self.request.dry_run {
            for patient in fresh {
                self.patients.insert(patient.entry, Known::New(None));
                self.set(patient.entry, Outcome::Created(None));
            }
            return Ok(());
        }
        let mut planned = Vec::new();
        for patient in &fresh {
            let of = patient.full_url.as_deref().unwrap_or_default();
            let request_id = self.request_id("patient", of, &patient.patient)?;
            let what = Created::Patient(Box::new(patient.patient.clone()));
            planned.push(Planned {
                entries: vec![patient.entry],
                create: Create { request_id, what },
            });
        }
        let created = self.create(planned).await?;
        for (patient, created) in fresh.iter().zip(created) {
            match created {
                Ok(id) => {
                    let known = Known::New(Some(PatientId::from(id)));
                    self.patients.insert(patient.entry, known);
                }
                // Somebody else registered the patient since.
                Err(refused) if refused.reason == "MEDICAL_RECORD_NUMBER_TAKEN" => {
                    let found = self.find(patient).await?;
                    self.match_known(patient, &found);
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    /// Notes whom the numbers of a patient belong to; returns false if that is nobody.
    ///
    /// A number alone is no proof: somebody who was born on another day, is of another sex or has another
    /// family name is not the same, and nothing is written for them.
    fn match_known(&mut self, patient: &ReadPatient, found: &Found) -> bool {
        let place = patient.entry;
        let mut known = found.iter();
        let (id, kept) = match (known.next(), known.next()) {
            (None, _) => return false,
            (Some(one), None) => one,
            (Some(_), Some(_)) => {
                let path = format!("entry[{place}].resource.identifier");
                let text = "holds the numbers of several patients who are registered; merge them first, \
                            or send each by itself";
                let reason = Refusal::Contradicted.as_str().to_owned();
                self.set(place, Outcome::Refused(reason, vec![Problem::new(path, text)]));
                return true;
            }
        };
        let differ = contradictions(&kept.patient, &patient.patient, &patient.hints);
        if differ.is_empty() {
            self.patients.insert(place, Known::Before(*id));
            self.set(place, Outcome::Unchanged(id.to_string()));
            return true;
        }
        let problem = |element: &str| {
            let path = format!("entry[{place}].resource.{element}");
            let text = "is not that of the patient who is registered with this medical record number; \
                        check the number, then correct the one that is wrong";
            Problem::new(path, text)
        };
        let problems = differ.into_iter().map(problem).collect();
        self.set(place, Outcome::Refused(MISMATCH.to_owned(), problems));
        true
    }

    /// Reports and notes.
    async fn told(
        &mut self,
        reports: Vec<ReadReport>,
        notes: Vec<ReadNote>,
    ) -> Result<(), FhirError> {
        let mut known_reports: HashMap<PatientId, Vec<StoredReport>> = HashMap::new();
        let mut known_notes = HashMap::new();
        let mut planned = Vec::new();
        for mut read in reports {
            let Some(known) = self.patient(read.patient, &read.entries) else { continue };
            if let Known::Before(patient_id) = known {
                if let std::collections::hash_map::Entry::Vacant(vacant) =
                    known_reports.entry(patient_id)
                {
                    vacant.insert(self.records.newest_reports(patient_id, COMPARED_MAX).await?);
                }
                let stored = known_reports.get(&patient_id).map_or(&[][..], Vec::as_slice);
                self.leave_known(stored, &mut read);
                if read.entries.is_empty() {
                    continue;
                }
            }
            let ReadReport { entries, report, .. } = read;
            let Some(patient_id) = self.id_of(known, &entries) else { continue };
            let request_id = self.request_id("report", &patient_id.to_string(), &report)?;
            let create = Create { request_id, what: Created::Report(patient_id, Box::new(report)) };
            planned.push(Planned { entries, create });
        }
        for ReadNote { entry, patient, text } in notes {
            let Some(known) = self.patient(patient, &[entry]) else { continue };
            if let Known::Before(patient_id) = known {
                if let std::collections::hash_map::Entry::Vacant(vacant) =
                    known_notes.entry(patient_id)
                {
                    vacant.insert(self.records.newest_notes(patient_id, COMPARED_MAX).await?);
                }
                let stored = known_notes.get(&patient_id).into_iter().flatten();
                if let Some(same) = stored.into_iter().find(|stored| stored.text == text) {
                    self.set(entry, Outcome::Unchanged(same.note_id.to_string()));
                    continue;
                }
            }
            let Some(patient_id) = self.id_of(known, &[entry]) else { continue };
            let request_id = self.request_id("note", &patient_id.to_string(), &text)?;
            let create = Create { request_id, what: Created::Note(patient_id, text) };
            planned.push(Planned { entries: vec![entry], create });
        }
        self.create(planned).await?;
        Ok(())
    }

    /// Takes from a report what is stored already: all of it, or findings that no report of the bundle names.
    fn leave_known(&mut self, stored: &[StoredReport], read: &mut ReadReport) {
        if read.finding_of.is_empty() {
            if let Some(same) = known::same_report(stored, &read.report) {
                let entries = std::mem::take(&mut read.entries);
                self.set_all(&entries, &Outcome::Unchanged(same.to_string()));
            }
            return;
        }
        let held = known::take_held(stored, &mut read.report);
        let mut rest = Vec::new();
        for (place, finding) in read.entries.iter().zip(&read.finding_of) {
            match held.get(*finding).copied().flatten() {
                Some(same) => self.set(*place, Outcome::Unchanged(same.to_string())),
                None => rest.push(*place),
            }
        }
        read.entries = rest;
    }

    /// Returns the patient of an entry; if they were refused, so are `entries`.
    fn patient(&mut self, patient: usize, entries: &[usize]) -> Option<Known> {
        let known = self.patients.get(&patient).copied();
        if known.is_none() {
            for place in entries {
                let path = format!("entry[{place}].resource.subject");
                let text = format!("depends on entry[{patient}], which was refused");
                let reason = Refusal::DependsOnRefused.as_str().to_owned();
                self.set(*place, Outcome::Refused(reason, vec![Problem::new(path, text)]));
            }
        }
        known
    }

    /// Returns for whom to create; nobody in a dry run, which is noted.
    fn id_of(&mut self, known: Known, entries: &[usize]) -> Option<PatientId> {
        let id = match known {
            Known::Before(id) => Some(id),
            Known::New(id) => id,
        };
        if self.request.dry_run {
            self.set_all(entries, &Outcome::Created(None));
            return None;
        }
        id
    }

    fn set_all(&mut self, places: &[usize], outcome: &Outcome) {
        for place in places {
            self.set(*place, outcome.clone());
        }
    }

    async fn create(
        &mut self,
        mut planned: Vec<Planned>,
    ) -> Result<Vec<Result<Uuid, RefusedCreate>>, FhirError> {
        if planned.is_empty() {
            return Ok(Vec::new());
        }
        let of_entries: Vec<(Vec<usize>, String)> = planned
            .iter_mut()
            .map(|planned| (std::mem::take(&mut planned.entries), gone(&planned.create.what)))
            .collect();
        let creates: Vec<Create> = planned.into_iter().map(|planned| planned.create).collect();
        let count = creates.len();
        let created = self.records.create(creates).await?;
        if created.len() != count {
            let what = "another number of results than creates";
            return Err(FhirError::Malformed { service: "records", what });
        }
        for ((entries, gone), created) in of_entries.iter().zip(&created) {
            for place in entries {
                let outcome = match created {
                    Ok(id) => Outcome::Created(Some(id.to_string())),
                    Err(refused) => {
                        let path = format!("entry[{place}].resource");
                        let problem = |text: &String| Problem::new(path.clone(), text.clone());
                        let problems = match refused.reason.as_str() {
                            DELETED => vec![problem(gone)],
                            _ => refused.problems.iter().map(problem).collect(),
                        };
                        Outcome::Refused(refused.reason.clone(), problems)
                    }
                };
                self.set(*place, outcome);
            }
        }
        Ok(created)
    }
}
