//! What may be done with patients and the entries of their records.

use std::{collections::BTreeSet, future::Future, sync::Arc};

use neurotriage_audit::Action;
use neurotriage_domain::{FieldViolation, PatientId};
use neurotriage_service_kit::audit::Call;
use serde::Serialize;
use time::OffsetDateTime;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use crate::{
    change::{Looked, Position},
    coding,
    entry::{Content, Entry, Note, StudyLink},
    error::{RecordsError, violation},
    lexicon::Lexicon,
    patient::{Patient, PatientChanges, PatientDetails, PatientDraft, PatientField},
    search::Criteria,
    symptoms::{ReportedSymptoms, Symptoms, SymptomsDraft},
};

/// Rows on a page if the caller does not say.
pub const PAGE_SIZE_DEFAULT: u32 = 50;
/// Most rows on a page.
pub const PAGE_SIZE_MAX: u32 = 200;

/// What a create stores, and the request that asked for it.
#[derive(Clone, Debug)]
pub struct New<T> {
    /// Its id.
    pub id: Uuid,
    /// What is stored.
    pub content: T,
    /// The request's own id.
    pub request_id: Uuid,
    /// Everything the request said, in one spelling: tells a repetition from other content.
    pub request: Vec<u8>,
    /// When, UTC.
    pub at: OffsetDateTime,
}

/// What is right where patients are searched by nothing.
pub(crate) const CRITERIA: &str =
    "at least one of name_prefix, medical_record_number, birth_date and code";

/// What was read of a request, or everything of it that is wrong.
pub type Read<T> = Result<T, Vec<FieldViolation>>;

/// Returns what was read of two parts of a request, or everything that is wrong with either.
///
/// # Errors
/// The wrong fields of both, those of the first part first.
pub fn both<A, B>(one: Read<A>, other: Read<B>) -> Read<(A, B)> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (one, other) => Err(one.err().into_iter().chain(other.err()).flatten().collect()),
    }
}

/// One page.
#[derive(Clone, Debug)]
pub struct Page<T> {
    /// What is on it; may be less than was asked for, though there is more.
    pub items: Vec<T>,
    /// Id after which the next page begins; none on the last.
    pub next: Option<Uuid>,
}

/// Which patients are listed. Each bound is met by those who keep it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PatientFilter {
    /// Registered then or later.
    pub created_from: Option<OffsetDateTime>,
    /// Registered before then.
    pub created_before: Option<OffsetDateTime>,
    /// Changed then or later.
    pub updated_from: Option<OffsetDateTime>,
    /// Deleted ones too.
    pub show_deleted: bool,
}

/// Which entries of a patient are listed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct EntryFilter {
    /// Those with this finding present.
    pub code: Option<String>,
    /// Stored then or later.
    pub created_from: Option<OffsetDateTime>,
    /// Stored before then.
    pub created_before: Option<OffsetDateTime>,
}

/// Two patients to make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Merge {
    /// Who remains.
    pub patient_id: PatientId,
    /// Revision of the one who remains that the decision rests on.
    pub revision: u64,
    /// Who was registered once too often.
    pub duplicate: PatientId,
    /// Revision of the duplicate that the decision rests on.
    pub duplicate_revision: u64,
}

/// Where records are kept.
///
/// Each operation is one transaction that sees the call's hospital only, and that leaves its audit
/// entries too. Ids of merged patients stand for the patient who remains, whom the call must reach too.
pub trait RecordsStore: Clone + Send + Sync + 'static {
    /// Keeps a patient; if the request was made before, returns what it made.
    ///
    /// # Errors
    /// [`RecordsError::RequestReused`], [`RecordsError::DeletedSince`], [`RecordsError::NumberTaken`].
    fn create_patient(
        &self,
        call: &Call,
        new: &New<PatientDetails>,
    ) -> impl Future<Output = Result<Patient, RecordsError>> + Send;

    /// Returns one patient.
    ///
    /// # Errors
    /// [`RecordsError::PatientNotFound`].
    fn read_patient(
        &self,
        call: &Call,
        patient_id: PatientId,
    ) -> impl Future<Output = Result<Patient, RecordsError>> + Send;

    /// Returns patients with ids below `before`, newest first.
    fn list_patients(
        &self,
        call: &Call,
        filter: &PatientFilter,
        before: Option<Uuid>,
        limit: u32,
    ) -> impl Future<Output = Result<Page<Patient>, RecordsError>> + Send;

    /// Returns patients who meet the criteria with ids below `before`, newest first.
    ///
    /// # Errors
    /// [`RecordsError::Invalid`] if a name can't be searched for.
    fn search_patients(
        &self,
        call: &Call,
        criteria: &Criteria,
        before: Option<Uuid>,
        limit: u32,
    ) -> impl Future<Output = Result<Page<Patient>, RecordsError>> + Send;

    /// Changes a patient.
    ///
    /// # Errors
    /// [`RecordsError::PatientNotFound`], [`RecordsError::Stale`], [`RecordsError::NumberTaken`].
    fn update_patient(
        &self,
        call: &Call,
        patient_id: PatientId,
        revision: u64,
        changes: &PatientChanges,
    ) -> impl Future<Output = Result<Patient, RecordsError>> + Send;

    /// Hides a patient and all that belongs to them; returns the revision after.
    ///
    /// # Errors
    /// [`RecordsError::PatientNotFound`], [`RecordsError::Stale`].
    fn delete_patient(
        &self,
        call: &Call,
        patient_id: PatientId,
        revision: u64,
    ) -> impl Future<Output = Result<u64, RecordsError>> + Send;

    /// Brings a deleted patient back.
    ///
    /// # Errors
    /// [`RecordsError::PatientNotFound`], [`RecordsError::Stale`], [`RecordsError::NotDeleted`].
    fn undelete_patient(
        &self,
        call: &Call,
        patient_id: PatientId,
        revision: u64,
    ) -> impl Future<Output = Result<Patient, RecordsError>> + Send;

    /// Removes the content of a patient and of whom was merged into them; returns how many entries
    /// were emptied. Repeated, it does nothing.
    ///
    /// # Errors
    /// [`RecordsError::PatientNotFound`], [`RecordsError::Stale`], [`RecordsError::MergedAway`].
    fn erase_patient(
        &self,
        call: &Call,
        patient_id: PatientId,
        revision: u64,
    ) -> impl Future<Output = Result<u32, RecordsError>> + Send;

    /// Makes two patients one; returns who remains. Repeated, it does nothing.
    ///
    /// # Errors
    /// [`RecordsError::PatientNotFound`], [`RecordsError::Stale`], [`RecordsError::AlreadyMerged`],
    /// [`RecordsError::Invalid`] if the one who remains would have too many numbers.
    fn merge_patients(
        &self,
        call: &Call,
        merge: &Merge,
    ) -> impl Future<Output = Result<Patient, RecordsError>> + Send;

    /// Keeps an entry of a patient; if the request was made before, returns what it made.
    ///
    /// # Errors
    /// [`RecordsError::PatientNotFound`], [`RecordsError::RequestReused`],
    /// [`RecordsError::DeletedSince`], [`RecordsError::StudyLinked`], [`RecordsError::Call`].
    fn create_entry<C: Content>(
        &self,
        call: &Call,
        patient_id: PatientId,
        new: &New<C>,
    ) -> impl Future<Output = Result<Entry<C>, RecordsError>> + Send;

    /// Returns one entry, if the call may touch its patient.
    ///
    /// # Errors
    /// [`RecordsError::EntryNotFound`], [`RecordsError::Call`].
    fn read_entry<C: Content>(
        &self,
        call: &Call,
        entry_id: Uuid,
    ) -> impl Future<Output = Result<Entry<C>, RecordsError>> + Send;

    /// Returns entries of a patient with ids below `before`, newest first.
    ///
    /// # Errors
    /// [`RecordsError::PatientNotFound`].
    fn list_entries<C: Content>(
        &self,
        call: &Call,
        patient_id: PatientId,
        filter: &EntryFilter,
        before: Option<Uuid>,
        limit: u32,
    ) -> impl Future<Output = Result<Page<Entry<C>>, RecordsError>> + Send;

    /// Hides an entry, if the call may touch its patient; returns the revision after.
    ///
    /// # Errors
    /// [`RecordsError::EntryNotFound`], [`RecordsError::Stale`], [`RecordsError::Call`].
    fn delete_entry(
        &self,
        call: &Call,
        entry_id: Uuid,
        revision: u64,
    ) -> impl Future<Output = Result<u64, RecordsError>> + Send;

    /// Removes the content of an entry, deleted or not, if the call may touch its patient; returns the revision after.
    /// One that is erased stays as it is.
    ///
    /// # Errors
    /// [`RecordsError::EntryNotFound`], [`RecordsError::Stale`], [`RecordsError::Call`].
    fn erase_entry(
        &self,
        call: &Call,
        entry_id: Uuid,
        revision: u64,
    ) -> impl Future<Output = Result<u64, RecordsError>> + Send;

    /// Notes in the audit that the call may not touch the patient. Returns `error`, or why it could not be noted.
    fn deny(
        &self,
        call: &Call,
        action: Action,
        patient_id: PatientId,
        error: RecordsError,
    ) -> impl Future<Output = RecordsError> + Send;

    /// Returns where a watch, of one patient or of all, begins that wants what comes from now on. It is the watch's one
    /// audit entry.
    fn begin_watch(
        &self,
        call: &Call,
        patient_id: Option<PatientId>,
    ) -> impl Future<Output = Result<Position, RecordsError>> + Send;

    /// Returns at most `limit` changes after `position`, in order, and how far it looked.
    fn changes_after(
        &self,
        call: &Call,
        position: Position,
        patient_id: Option<PatientId>,
        limit: u32,
    ) -> impl Future<Output = Result<Looked, RecordsError>> + Send;
}

/// What a create of an entry is made of: the ids that every one has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NewEntry {
    /// The request's own id.
    pub request_id: Uuid,
    /// Whose record.
    pub patient_id: PatientId,
}

/// The rules over a store. Clones share it.
#[derive(Clone, Debug)]
pub struct Records<S> {
    store: S,
    lexicon: Arc<Lexicon>,
}

impl<S: RecordsStore> Records<S> {
    /// Keeps records in `store`; symptoms are coded with `lexicon`.
    pub fn new(store: S, lexicon: Arc<Lexicon>) -> Self {
        Self { store, lexicon }
    }

    /// Returns the store, for what has no rule beyond it.
    pub fn store(&self) -> &S {
        &self.store
    }

    /// Registers a patient. The same request again returns the patient it made.
    ///
    /// # Errors
    /// [`RecordsError::Invalid`] names wrong fields; [`RecordsError::RequestReused`] if the request id
    /// was used for other content; [`RecordsError::NumberTaken`] if an issuer's number is registered.
    pub async fn create_patient(
        &self,
        call: &Call,
        request_id: Read<Uuid>,
        draft: Read<PatientDraft>,
    ) -> Result<Patient, RecordsError> {
        let at = now();
        let content = draft.and_then(|draft| PatientDetails::check(draft, at));
        let (request_id, content) = both(request_id, content).map_err(RecordsError::Invalid)?;
        let request = request(&content)?;
        let id = PatientId::generate().as_uuid();
        self.store.create_patient(call, &New { id, content, request_id, request, at }).await
    }

    /// Changes the fields of a patient that `paths` names.
    ///
    /// # Errors
    /// [`RecordsError::Invalid`] names wrong fields and paths; else as the store's.
    pub async fn update_patient(
        &self,
        call: &Call,
        patient_id: Read<PatientId>,
        revision: u64,
        paths: &[String],
        draft: Read<PatientDraft>,
    ) -> Result<Patient, RecordsError> {
        let (fields, mask) = fields(paths);
        let changes = draft.and_then(|draft| PatientChanges::check(draft, fields, now()));
        let (mask, changes) = (mask.map_or(Ok(()), |wrong| Err(vec![wrong])), changes);
        let read = both(patient_id, both(mask, changes));
        let (patient_id, ((), changes)) = read.map_err(RecordsError::Invalid)?;
        self.store.update_patient(call, patient_id, revision, &changes).await
    }

    /// Returns patients who meet every criterion.
    ///
    /// # Errors
    /// [`RecordsError::Invalid`] if there is no criterion.
    pub async fn search_patients(
        &self,
        call: &Call,
        criteria: &Criteria,
        before: Option<Uuid>,
        limit: u32,
    ) -> Result<Page<Patient>, RecordsError> {
        if criteria.is_empty() {
            return Err(RecordsError::field("name_prefix", CRITERIA));
        }
        self.store.search_patients(call, criteria, before, limit).await
    }

    /// Makes two patients one.
    ///
    /// # Errors
    /// [`RecordsError::Invalid`] if they are one already; else as the store's.
    pub async fn merge_patients(&self, call: &Call, merge: Merge) -> Result<Patient, RecordsError> {
        if merge.patient_id == merge.duplicate {
            let right = "another patient than patient_id";
            return Err(RecordsError::field("duplicate_patient_id", right));
        }
        self.store.merge_patients(call, &merge).await
    }

    /// Codes symptoms and stores them as written. The same request again returns the report it made.
    ///
    /// # Errors
    /// [`RecordsError::Invalid`] names wrong fields; [`RecordsError::PatientNotFound`];
    /// [`RecordsError::RequestReused`] if the request id was used for other content.
    pub async fn create_report(
        &self,
        call: &Call,
        new: Read<NewEntry>,
        draft: SymptomsDraft,
    ) -> Result<Entry<Symptoms>, RecordsError> {
        let at = now();
        let reported = ReportedSymptoms::check(draft, &self.lexicon, at);
        let (new, reported) = both(new, reported).map_err(RecordsError::Invalid)?;
        let request = request(&(new.patient_id, &reported))?;
        let lexicon = Arc::clone(&self.lexicon);
        // A long text takes milliseconds: too long for the runtime's threads.
        let content = spawn_blocking(move || {
            let coded = coding::code(&lexicon, reported.text(), reported.writer());
            let version = lexicon.version().to_owned();
            reported.coded(coded, version, at)
        })
        .await
        .map_err(|error| RecordsError::store("code text", error))?;
        self.create_entry(call, new, content, request, at).await
    }

    /// Links a study to a patient. The same request again returns the link it made.
    ///
    /// # Errors
    /// [`RecordsError::Invalid`] names wrong fields; else as the store's.
    pub async fn link_study(
        &self,
        call: &Call,
        new: Read<NewEntry>,
        link: StudyLink,
        unreadable: Vec<FieldViolation>,
    ) -> Result<Entry<StudyLink>, RecordsError> {
        let at = now();
        let readable = if unreadable.is_empty() { Ok(()) } else { Err(unreadable) };
        let content = both(readable, link.check(at)).map(|((), content)| content);
        let (new, content) = both(new, content).map_err(RecordsError::Invalid)?;
        let request = request(&(new.patient_id, &content))?;
        self.create_entry(call, new, content, request, at).await
    }

    /// Stores a note on a patient. The same request again returns the note it made.
    ///
    /// # Errors
    /// [`RecordsError::Invalid`] names wrong fields; else as the store's.
    pub async fn create_note(
        &self,
        call: &Call,
        new: Read<NewEntry>,
        text: String,
    ) -> Result<Entry<Note>, RecordsError> {
        let at = now();
        let (new, content) = both(new, Note::check(text)).map_err(RecordsError::Invalid)?;
        let request = request(&(new.patient_id, &content))?;
        self.create_entry(call, new, content, request, at).await
    }

    async fn create_entry<C: Content>(
        &self,
        call: &Call,
        NewEntry { request_id, patient_id }: NewEntry,
        content: C,
        request: Vec<u8>,
        at: OffsetDateTime,
    ) -> Result<Entry<C>, RecordsError> {
        let new = New { id: Uuid::now_v7(), content, request_id, request, at };
        self.store.create_entry(call, patient_id, &new).await
    }
}

/// Databases keep microseconds; what is returned at once must equal what is read later.
pub(crate) fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_microsecond(now.microsecond()).unwrap_or(now)
}

fn request(content: &impl Serialize) -> Result<Vec<u8>, RecordsError> {
    serde_json::to_vec(content).map_err(|error| RecordsError::store("encode request", error))
}

/// Returns how many rows a page may hold.
///
/// # Errors
/// What would be right, above [`PAGE_SIZE_MAX`].
pub fn limit(page_size: u32) -> Result<u32, FieldViolation> {
    match page_size {
        0 => Ok(PAGE_SIZE_DEFAULT),
        1..=PAGE_SIZE_MAX => Ok(page_size),
        _ => Err(violation("page_size", format!("0 to {PAGE_SIZE_MAX}"))),
    }
}

/// Returns the fields that a mask names, each once, and what is wrong with it.
fn fields(paths: &[String]) -> (Vec<PatientField>, Option<FieldViolation>) {
    let distinct: BTreeSet<&str> = paths.iter().map(String::as_str).collect();
    let named = |field: &PatientField| distinct.contains(field.path());
    let fields: Vec<PatientField> = PatientField::ALL.into_iter().filter(named).collect();
    let wrong = (fields.is_empty() || fields.len() != paths.len()).then(|| {
        let names = PatientField::ALL.map(PatientField::path).join(", ");
        violation("update_mask", format!("each once and one at least: {names}"))
    });
    (fields, wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_names_fields_that_exist_once() {
        // (what the row is for, paths, whether it is accepted)
        let table: [(&str, &[&str], bool); 7] = [
            ("one", &["name"], true),
            ("several", &["name", "address"], true),
            ("none", &[], false),
            ("twice", &["name", "name"], false),
            ("unknown", &["nickname"], false),
            ("part of a field", &["address.city"], false),
            ("not the caller's to change", &["revision"], false),
        ];
        for (case, paths, accepted) in table {
            let paths: Vec<String> = paths.iter().map(|&path| path.to_owned()).collect();
            let (fields, wrong) = fields(&paths);
            assert_eq!(wrong.is_none(), accepted, "case: {case}");
            // What is known is checked all the same.
            assert_eq!(fields.contains(&PatientField::Name), paths.contains(&"name".to_owned()));
        }
    }
}
