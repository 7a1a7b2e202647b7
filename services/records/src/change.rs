//! Changes to records, and those who watch them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use neurotriage_domain::{HospitalId, PatientId};
use neurotriage_service_kit::audit::Call;
use time::OffsetDateTime;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{entry::EntryKind, error::RecordsError, records::RecordsStore};

/// Callers that may watch if nobody says.
pub const WATCHERS_MAX_DEFAULT: usize = 64;
/// Those of one hospital, if nobody says: four must come together before others find no place.
pub const WATCHERS_PER_HOSPITAL_MAX_DEFAULT: usize = 16;
/// How often a watcher looks for changes; with 64 of them 64 looks a second.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// How long a watcher hears nothing while nothing changes.
const SILENCE_MAX: Duration = Duration::from_secs(15);
/// Most changes of one look.
const CHANGES_MAX: u32 = 200;

/// A place in the order of changes: everything up to it was seen.
///
/// Changes are ordered by the transaction that made them, then by number. A place is good in its
/// database only: one restored into another server begins anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// Number of the transaction; 0 in SQLite.
    pub transaction_id: i64,
    /// Number of the change.
    pub sequence: i64,
}

impl Position {
    /// Before every change.
    pub const START: Self = Self { transaction_id: 0, sequence: 0 };
}

/// What was found of a feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Looked {
    /// Changes, in order.
    pub changes: Vec<Change>,
    /// If these are all: a place after which everything stands that comes, as far as the database can say. A watch of
    /// one patient need not look again at what came before.
    pub to: Option<Position>,
}

/// What kind of record changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// A patient.
    Patient,
    /// An entry.
    Entry(EntryKind),
}

impl RecordKind {
    /// Returns the stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Patient => "patient",
            Self::Entry(kind) => kind.as_str(),
        }
    }

    /// Returns the kind that `word` stands for.
    pub fn parse(word: &str) -> Option<Self> {
        if word == Self::Patient.as_str() {
            return Some(Self::Patient);
        }
        EntryKind::parse(word).map(Self::Entry)
    }
}

/// What was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeAction {
    /// Created.
    Created,
    /// Changed.
    Updated,
    /// Deleted.
    Deleted,
    /// Brought back.
    Undeleted,
    /// Erased.
    Erased,
    /// Another patient was merged into this one.
    Merged,
}

impl ChangeAction {
    const ALL: [Self; 6] =
        [Self::Created, Self::Updated, Self::Deleted, Self::Undeleted, Self::Erased, Self::Merged];

    /// Returns the stored word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Deleted => "deleted",
            Self::Undeleted => "undeleted",
            Self::Erased => "erased",
            Self::Merged => "merged",
        }
    }

    /// Returns the action that `word` stands for.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == word)
    }
}

/// One change: ids and no content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its place.
    pub position: Position,
    /// What kind of record.
    pub kind: RecordKind,
    /// The record.
    pub record_id: Uuid,
    /// Patient it belongs to.
    pub patient_id: PatientId,
    /// What was done.
    pub action: ChangeAction,
    /// Revision after it.
    pub revision: u64,
    /// When, UTC.
    pub changed_at: OffsetDateTime,
}

/// How many may watch at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WatchersMax {
    /// Callers together.
    pub together: usize,
    /// Callers of one hospital, so that none takes every place.
    pub per_hospital: usize,
}

impl Default for WatchersMax {
    fn default() -> Self {
        Self { together: WATCHERS_MAX_DEFAULT, per_hospital: WATCHERS_PER_HOSPITAL_MAX_DEFAULT }
    }
}

/// How many may watch, and when they must end. Clones share it.
#[derive(Clone, Debug)]
pub struct Watchers {
    places: Arc<Semaphore>,
    of_hospitals: OfHospitals,
    max: WatchersMax,
    stop: CancellationToken,
}

/// How many watch of each hospital that somebody watches of.
#[derive(Clone, Debug, Default)]
struct OfHospitals(Arc<Mutex<HashMap<HospitalId, usize>>>);

impl OfHospitals {
    fn lock(&self) -> MutexGuard<'_, HashMap<HospitalId, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place of a hospital that has less than `max` taken.
    fn take(&self, hospital_id: &HospitalId, max: usize) -> Option<HospitalPlace> {
        let mut taken = self.lock();
        let of_hospital = taken.get(hospital_id).copied().unwrap_or_default();
        if of_hospital >= max {
            return None;
        }
        taken.insert(hospital_id.clone(), of_hospital + 1);
        Some(HospitalPlace { taken: self.clone(), hospital_id: hospital_id.clone() })
    }
}

/// A place of a hospital; free again when it is dropped.
#[derive(Debug)]
struct HospitalPlace {
    taken: OfHospitals,
    hospital_id: HospitalId,
}

impl Drop for HospitalPlace {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        match taken.get_mut(&self.hospital_id) {
            Some(left) if *left > 1 => *left -= 1,
            Some(_) | None => drop(taken.remove(&self.hospital_id)),
        }
    }
}

impl Watchers {
    /// Lets at most `max` watch until `stop`.
    pub fn new(max: WatchersMax, stop: CancellationToken) -> Self {
        let places = Arc::new(Semaphore::new(max.together.min(Semaphore::MAX_PERMITS)));
        Self { places, of_hospitals: OfHospitals::default(), max, stop }
    }

    /// Begins a watch after `position`, or of what comes from now on.
    ///
    /// # Errors
    /// [`RecordsError::TooManyWatchers`], [`RecordsError::TooManyWatchersOfHospital`], [`RecordsError::Invalid`] if
    /// `position` is of another database; else the store's.
    pub async fn watch<S: RecordsStore>(
        &self,
        store: S,
        call: Call,
        position: Option<Position>,
        patient_id: Option<PatientId>,
    ) -> Result<Watch<S>, RecordsError> {
        let WatchersMax { together, per_hospital } = self.max;
        let of_hospital = self
            .of_hospitals
            .take(&call.hospital_id, per_hospital)
            .ok_or(RecordsError::TooManyWatchersOfHospital { watchers_max: per_hospital })?;
        let full = |_| RecordsError::TooManyWatchers { watchers_max: together };
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(full)?;
        let newest = store.begin_watch(&call, patient_id).await?;
        // Nothing of this database can be after what comes next: it would be heard of no change for long.
        if position.is_some_and(|position| position > newest) {
            let right = "a resume_token of this database: it was restored or exchanged since; read what there is anew \
                         with from_beginning";
            return Err(RecordsError::field("resume_token", right));
        }
        Ok(Watch {
            store,
            call,
            patient_id,
            position: position.unwrap_or(newest),
            found: Vec::new().into_iter(),
            heard_at: None,
            stop: self.stop.clone(),
            _places: (place, of_hospital),
        })
    }
}

/// What a watcher is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// A change.
    Change(Change),
    /// That nothing changed up to here.
    Nothing(Position),
}

/// One caller's watch. Its places are free again when it is dropped.
#[derive(Debug)]
pub struct Watch<S> {
    store: S,
    call: Call,
    patient_id: Option<PatientId>,
    position: Position,
    found: std::vec::IntoIter<Change>,
    heard_at: Option<Instant>,
    stop: CancellationToken,
    _places: (OwnedSemaphorePermit, HospitalPlace),
}

impl<S: RecordsStore> Watch<S> {
    /// Returns what comes next; waits for it.
    ///
    /// # Errors
    /// [`RecordsError::ShuttingDown`] at a shutdown, [`RecordsError::Call`] when the caller's token expires; else the store's. The watch is then over.
    pub async fn next(&mut self) -> Result<Told, RecordsError> {
        loop {
            if self.stop.is_cancelled() {
                return Err(RecordsError::ShuttingDown);
            }
            self.call.check_expiry()?;
            if let Some(change) = self.found.next() {
                self.position = change.position;
                self.heard_at = Some(Instant::now());
                return Ok(Told::Change(change));
            }
            let Looked { changes, to } = self
                .store
                .changes_after(&self.call, self.position, self.patient_id, CHANGES_MAX)
                .await?;
            if !changes.is_empty() {
                self.found = changes.into_iter();
                continue;
            }
            self.position = to.map_or(self.position, |to| to.max(self.position));
            if self.heard_at.is_none_or(|heard_at| heard_at.elapsed() >= SILENCE_MAX) {
                self.heard_at = Some(Instant::now());
                return Ok(Told::Nothing(self.position));
            }
            tokio::select! {
                () = sleep(LOOK_INTERVAL) => {}
                () = self.stop.cancelled() => {}
            }
        }
    }
}
