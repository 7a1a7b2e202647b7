//! The directory of hospitals: brought in and taken out as files, listed, searched. Knows neither
//! tonic nor sea-orm.
//!
//! A reader works on a [`Snapshot`], which holds the whole directory at one revision; a write names
//! the revision that it was made for and is repeated on the next one if another write was faster.

pub mod csv_form;
pub mod exchange;
pub mod fhir_form;
#[cfg(test)]
mod generated;
pub mod search;

use std::{collections::HashSet, error::Error, future::Future, time::Duration};

use neurotriage_domain::{DomainError, ErrorCode, FieldViolation, HospitalId};

use self::{csv_form::CsvError, exchange::ExportError, fhir_form::BundleError, search::GeoIndex};
use crate::hospital::{Capability, Coordinates, Hospital};

/// Most hospitals of a directory: what one file of each form holds.
pub const HOSPITALS_MAX: usize = 20_000;

/// Most hospitals on one page of the directory.
pub const PAGE_SIZE_MAX: u32 = 200;

/// Hospitals on a page if the caller does not say.
pub const PAGE_SIZE_DEFAULT: u32 = 50;

/// Most hospitals that one search returns.
pub const FOUND_MAX: u32 = 200;

/// Hospitals that a search returns if the caller does not say.
pub const FOUND_DEFAULT: u32 = 20;

/// Most refusals, and most entries passed over, that the report of an import spells out.
pub const REPORTED_MAX: usize = 1_000;

/// How often an import begins again because another was faster.
const WRITE_TRIES: u32 = 5;

/// When to try an import again that found others at work.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The form of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileForm {
    /// As [`csv_form`] says.
    Csv,
    /// As [`fhir_form`] says.
    FhirBundle,
}

impl FileForm {
    /// Returns the most bytes that a file of this form may have.
    pub fn bytes_max(self) -> usize {
        match self {
            Self::Csv => csv_form::BYTES_MAX,
            Self::FhirBundle => fhir_form::BYTES_MAX,
        }
    }
}

/// What an import does with the hospitals that the file does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImportMode {
    /// Leaves them as they are.
    Merge,
    /// Closes them: they take no referrals until a later file says otherwise. They stay in the
    /// directory, because assessments and referrals name them. Nothing is written if a row is refused: a
    /// hospital must not be closed by a slip of the pen.
    Replace,
}

/// A piece of a file that was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Where it is, such as `line 4` or `entry 2`.
    pub place: String,
    /// The hospital it speaks of, as far as that is known.
    pub hospital_id: Option<String>,
    /// The column or element that is wrong.
    pub field: String,
    /// What is wrong with it, and what would be right.
    pub problem: String,
}

/// What an import did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportReport {
    /// Hospitals that are new.
    pub created: usize,
    /// Hospitals that the file changes.
    pub updated: usize,
    /// Hospitals that the file gives as they were.
    pub unchanged: usize,
    /// Hospitals that the file does not name and that were closed for that.
    pub closed: usize,
    /// How many pieces were refused.
    pub refused_count: usize,
    /// The first [`REPORTED_MAX`] of them, in the order of the file.
    pub refused: Vec<Refusal>,
    /// How many entries say nothing of a hospital of the directory.
    pub passed_over_count: usize,
    /// The first [`REPORTED_MAX`] of them, each with its reason.
    pub passed_over: Vec<String>,
    /// False if nothing was written: it was a trial, or a row of a replacing file was refused.
    pub written: bool,
    /// Revision of the directory after it.
    pub revision: u64,
}

/// The whole directory at one revision; cheap to clone.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Counts writes, from 0 for the empty directory.
    pub revision: u64,
    /// The hospitals by id, ready for searches by distance.
    pub index: GeoIndex,
}

impl Snapshot {
    /// Returns the snapshot of `hospitals`, in any order.
    pub fn new(revision: u64, mut hospitals: Vec<Hospital>) -> Self {
        hospitals.sort_by(|a, b| a.hospital_id.cmp(&b.hospital_id));
        Self { revision, index: GeoIndex::new(hospitals) }
    }

    /// Returns the hospitals by id.
    pub fn hospitals(&self) -> &[Hospital] {
        self.index.hospitals()
    }

    /// Returns the hospital of that id; `None` if there is none.
    pub fn find(&self, hospital_id: &HospitalId) -> Option<&Hospital> {
        let place =
            self.hospitals().binary_search_by(|hospital| hospital.hospital_id.cmp(hospital_id));
        place.ok().and_then(|place| self.hospitals().get(place))
    }

    /// Returns the hospitals that stand after `after`, all of them if it is `None`.
    pub fn after(&self, after: Option<&HospitalId>) -> &[Hospital] {
        let start = after.map_or(0, |after| {
            self.hospitals().partition_point(|hospital| hospital.hospital_id <= *after)
        });
        self.hospitals().get(start..).unwrap_or_default()
    }
}

/// The database failed.
#[derive(Debug, thiserror::Error)]
#[error("{}", if *.is_away { "database does not answer; try again" } else { *.operation })]
pub struct StoreError {
    /// What was tried.
    pub operation: &'static str,
    /// Whether the database does not answer, and may later.
    pub is_away: bool,
    /// Why it failed.
    pub source: Box<dyn Error + Send + Sync>,
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// The directory has this revision now.
    At(u64),
    /// Nothing was written: the directory is no longer at the revision that was named.
    Stale,
}

/// Where the directory is kept.
pub trait DirectoryStore: Send + Sync + 'static {
    /// Returns the directory as it is.
    fn snapshot(&self) -> impl Future<Output = Result<Snapshot, StoreError>> + Send;

    /// Adds `hospitals`, or puts them in the place of those of the same id, all or none, if the
    /// directory is still at `revision`.
    fn write(
        &self,
        revision: u64,
        hospitals: Vec<Hospital>,
    ) -> impl Future<Output = Result<Written, StoreError>> + Send;
}

/// Why an operation on the directory failed.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Fields of the request are wrong.
    #[error("request has invalid fields: {}", shown(.0))]
    Invalid(Vec<FieldViolation>),
    /// No such hospital.
    #[error("hospital {hospital_id} not found")]
    NotFound {
        /// The hospital asked for.
        hospital_id: HospitalId,
    },
    /// Not a file of the form it is said to be.
    #[error("{0}")]
    Csv(#[from] CsvError),
    /// Not a bundle of hospitals.
    #[error("{0}")]
    Bundle(#[from] BundleError),
    /// The directory would hold too many hospitals.
    #[error("directory would hold {hospitals} hospitals; at most {HOSPITALS_MAX} are allowed")]
    Full {
        /// How many it would hold.
        hospitals: usize,
    },
    /// The directory does not fit in one file.
    #[error("{0}")]
    Export(#[from] ExportError),
    /// Another import runs.
    #[error("another import runs; try again after it")]
    Busy,
    /// Other imports were faster, again and again.
    #[error("directory was changed by others {WRITE_TRIES} times in a row; import again")]
    Contended,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn shown(violations: &[FieldViolation]) -> String {
    let parts = violations.iter().map(|wrong| format!("{}: {}", wrong.field, wrong.description));
    parts.collect::<Vec<_>>().join("; ")
}

impl DirectoryError {
    /// Returns the error for one wrong field.
    pub fn field(field: &str, description: impl Into<String>) -> Self {
        let (field, description) = (field.to_owned(), description.into());
        Self::Invalid(vec![FieldViolation { field, description }])
    }
}

impl DomainError for DirectoryError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Invalid(_) | Self::Csv(_) | Self::Bundle(_) => ErrorCode::InvalidArgument,
            Self::NotFound { .. } => ErrorCode::NotFound,
            Self::Full { .. } | Self::Export(_) => ErrorCode::FailedPrecondition,
            Self::Busy => ErrorCode::ResourceExhausted,
            Self::Contended => ErrorCode::Unavailable,
            Self::Store(StoreError { is_away: true, .. }) => ErrorCode::Unavailable,
            Self::Store(_) => ErrorCode::Internal,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "INVALID_FIELDS",
            Self::NotFound { .. } => "HOSPITAL_NOT_FOUND",
            Self::Csv(_) => "CSV_UNREADABLE",
            Self::Bundle(_) => "BUNDLE_UNREADABLE",
            Self::Full { .. } => "DIRECTORY_FULL",
            Self::Export(_) => "DIRECTORY_NOT_EXPORTABLE",
            Self::Busy => "IMPORTS_BUSY",
            Self::Contended => "DIRECTORY_CONTENDED",
            Self::Store(StoreError { is_away: true, .. }) => "DATABASE_UNAVAILABLE",
            Self::Store(_) => "STORE_FAILED",
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::NotFound { hospital_id } => vec![("hospitalId", hospital_id.to_string())],
            Self::Full { hospitals } => vec![("hospitals", hospitals.to_string())],
            Self::Invalid(_)
            | Self::Csv(_)
            | Self::Bundle(_)
            | Self::Export(_)
            | Self::Busy
            | Self::Contended
            | Self::Store(_) => Vec::new(),
        }
    }

    fn field_violations(&self) -> &[FieldViolation] {
        match self {
            Self::Invalid(violations) => violations,
            Self::NotFound { .. }
            | Self::Csv(_)
            | Self::Bundle(_)
            | Self::Full { .. }
            | Self::Export(_)
            | Self::Busy
            | Self::Contended
            | Self::Store(_) => &[],
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy | Self::Contended | Self::Store(StoreError { is_away: true, .. }) => {
                Some(RETRY_AFTER)
            }
            Self::Invalid(_)
            | Self::NotFound { .. }
            | Self::Csv(_)
            | Self::Bundle(_)
            | Self::Full { .. }
            | Self::Export(_)
            | Self::Store(_) => None,
        }
    }
}

/// What a file holds.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadFile {
    /// The good hospitals.
    pub hospitals: Vec<Hospital>,
    /// What was refused, in the order of the file.
    pub refused: Vec<Refusal>,
    /// What says nothing of a hospital of the directory, each with its reason.
    pub passed_over: Vec<String>,
}

/// Reads a file. Takes a tenth of a second for the largest one: not for a thread that serves others.
///
/// # Errors
/// [`DirectoryError::Csv`] or [`DirectoryError::Bundle`] if the file as a whole cannot be used.
pub fn read(form: FileForm, bytes: &[u8]) -> Result<ReadFile, DirectoryError> {
    match form {
        FileForm::Csv => {
            let csv_form::CsvImport { hospitals, refused } = csv_form::import(bytes)?;
            let refused = refused.into_iter().map(|row| Refusal {
                place: format!("line {}", row.line),
                hospital_id: row.hospital_id,
                field: row.field.to_owned(),
                problem: row.problem,
            });
            Ok(ReadFile { hospitals, refused: refused.collect(), passed_over: Vec::new() })
        }
        FileForm::FhirBundle => {
            let fhir_form::BundleImport { hospitals, refused, passed_over, places: _ } =
                fhir_form::import(bytes)?;
            let refused = refused.into_iter().map(|entry| Refusal {
                place: place(entry.index, entry.full_url.as_deref()),
                hospital_id: entry.hospital_id,
                field: entry.field.to_owned(),
                problem: entry.problem,
            });
            let passed_over = passed_over.into_iter().map(|entry| {
                let place = place(entry.index, entry.full_url.as_deref());
                format!("{place}, {}: {}", entry.resource_type, entry.reason)
            });
            let (refused, passed_over) = (refused.collect(), passed_over.collect());
            Ok(ReadFile { hospitals, refused, passed_over })
        }
    }
}

fn place(index: usize, full_url: Option<&str>) -> String {
    match full_url {
        Some(full_url) => format!("entry {index} ({full_url})"),
        None => format!("entry {index}"),
    }
}

/// Brings the hospitals of a file in. With `trial` nothing is written, and the report says what
/// would be.
///
/// # Errors
/// [`DirectoryError::Full`]; [`DirectoryError::Contended`]; [`DirectoryError::Store`].
pub async fn import(
    store: &impl DirectoryStore,
    file: ReadFile,
    mode: ImportMode,
    trial: bool,
) -> Result<ImportReport, DirectoryError> {
    let refused_count = file.refused.len();
    let held_back = mode == ImportMode::Replace && refused_count > 0;
    let mut report = ImportReport {
        refused_count,
        passed_over_count: file.passed_over.len(),
        refused: file.refused,
        passed_over: file.passed_over,
        ..ImportReport::default()
    };
    report.refused.truncate(REPORTED_MAX);
    report.passed_over.truncate(REPORTED_MAX);
    for _ in 0..WRITE_TRIES {
        let snapshot = store.snapshot().await?;
        let plan = plan(&snapshot, &file.hospitals, mode)?;
        report.created = plan.created;
        report.updated = plan.changed.len() - plan.created - plan.closed;
        report.unchanged = file.hospitals.len() - plan.created - report.updated;
        report.closed = plan.closed;
        report.revision = snapshot.revision;
        if trial || held_back {
            return Ok(report);
        }
        report.written = true;
        if plan.changed.is_empty() {
            return Ok(report);
        }
        if let Written::At(revision) = store.write(snapshot.revision, plan.changed).await? {
            report.revision = revision;
            return Ok(report);
        }
    }
    Err(DirectoryError::Contended)
}

/// What an import changes.
struct Plan {
    /// New hospitals, changed ones and closed ones.
    changed: Vec<Hospital>,
    created: usize,
    closed: usize,
}

fn plan(snapshot: &Snapshot, given: &[Hospital], mode: ImportMode) -> Result<Plan, DirectoryError> {
    let mut plan = Plan { changed: Vec::new(), created: 0, closed: 0 };
    for hospital in given {
        match snapshot.find(&hospital.hospital_id) {
            Some(known) if known == hospital => {}
            Some(_) => plan.changed.push(hospital.clone()),
            None => {
                plan.created += 1;
                plan.changed.push(hospital.clone());
            }
        }
    }
    let hospitals = snapshot.hospitals().len() + plan.created;
    if hospitals > HOSPITALS_MAX {
        return Err(DirectoryError::Full { hospitals });
    }
    if mode == ImportMode::Replace {
        let named: HashSet<&HospitalId> =
            given.iter().map(|hospital| &hospital.hospital_id).collect();
        for hospital in snapshot.hospitals() {
            if hospital.accepts_referrals && !named.contains(&hospital.hospital_id) {
                plan.closed += 1;
                plan.changed.push(Hospital { accepts_referrals: false, ..hospital.clone() });
            }
        }
    }
    Ok(plan)
}

/// Writes the whole directory as a file.
///
/// # Errors
/// [`DirectoryError::Export`] if it does not fit in one.
pub fn export(snapshot: &Snapshot, form: FileForm) -> Result<String, DirectoryError> {
    Ok(match form {
        FileForm::Csv => csv_form::export(snapshot.hospitals())?,
        FileForm::FhirBundle => fhir_form::export(snapshot.hospitals())?,
    })
}

/// Returns a page of hospitals after `after`, and whether there are more.
///
/// # Errors
/// [`DirectoryError::Invalid`] if `page_size` is above [`PAGE_SIZE_MAX`].
pub fn page(
    snapshot: &Snapshot,
    page_size: u32,
    after: Option<&HospitalId>,
) -> Result<(Vec<Hospital>, bool), DirectoryError> {
    let page_size = limited("page_size", page_size, PAGE_SIZE_DEFAULT, PAGE_SIZE_MAX)?;
    let rest = snapshot.after(after);
    let page = rest.get(..page_size.min(rest.len())).unwrap_or_default();
    Ok((page.to_vec(), rest.len() > page_size))
}

/// What to search for.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// From where distances count.
    pub from: Coordinates,
    /// Greatest distance, in kilometres; `None` for any.
    pub within_km: Option<f64>,
    /// What a hospital must offer, all of it.
    pub capabilities: Vec<Capability>,
    /// Leaves out hospitals that take no referrals at present.
    pub only_accepting: bool,
    /// Language that a hospital must speak, a BCP 47 tag; `None` for any.
    pub language: Option<String>,
    /// Most hospitals to return; 0 for [`FOUND_DEFAULT`].
    pub hospitals_max: u32,
}

/// A hospital and how far it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The hospital.
    pub hospital: Hospital,
    /// Great-circle distance, in kilometres.
    pub distance_km: f64,
}

/// Returns the nearest hospitals that meet `search`, nearest first; the same distance goes by id.
///
/// # Errors
/// [`DirectoryError::Invalid`] if more than [`FOUND_MAX`] are asked for.
pub fn nearest(snapshot: &Snapshot, search: &Search) -> Result<Vec<Found>, DirectoryError> {
    let max = limited("hospitals_max", search.hospitals_max, FOUND_DEFAULT, FOUND_MAX)?;
    let fits = |hospital: &Hospital| {
        (hospital.accepts_referrals || !search.only_accepting)
            && search.capabilities.iter().all(|&capability| hospital.offers(capability))
            && search.language.as_deref().is_none_or(|language| hospital.speaks(language))
    };
    let found = snapshot.index.nearest(search.from, search.within_km, max, fits);
    let found = found.into_iter().filter_map(|(index, distance_km)| {
        let hospital = snapshot.hospitals().get(index)?.clone();
        Some(Found { hospital, distance_km })
    });
    Ok(found.collect())
}

fn limited(field: &str, asked: u32, default: u32, max: u32) -> Result<usize, DirectoryError> {
    let count = if asked == 0 { default } else { asked };
    if count > max {
        return Err(DirectoryError::field(field, format!("at most {max}")));
    }
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}
