//! gRPC face of FHIR.

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use neurotriage_domain::FieldViolation;
use neurotriage_fhir::bundle::BYTES_MAX;
use neurotriage_proto::{
    CHUNK_BYTES_MAX,
    fhir::v1::{
        self as pb, ExportPatientRequest, ExportPatientResponse, ImportBundleRequest,
        ImportBundleResponse, fhir_service_server::FhirService, import_bundle_request::Content,
    },
};
use neurotriage_service_kit::{
    access::{
        Identity,
        scope::{Action, Context, Permission, Resource},
    },
    audit::Call,
    deadline,
    status::to_status,
};
use time::OffsetDateTime;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::spawn_blocking,
    time::timeout,
};
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

use super::{ERROR_DOMAIN, call};
use crate::{
    directory::DirectoryStore,
    fhir::{
        FhirError, Records, StorySources, StoryStore,
        export::{ExportRequest, Exporter, Parts},
        import::{self, EntryResult, ImportRequest, Outcome},
    },
    lifecycle::store::LifecycleStore,
};

/// Exports that run at a time: each may hold a story of 16 MiB, twice.
const EXPORTS_MAX: usize = 4;
/// Imports that run at a time: each may hold a bundle of 16 MiB and what was read from it.
const IMPORTS_MAX: usize = 2;
/// Longest time of a call once the bundle has arrived, whatever its caller allows.
const WORK_MAX: Duration = Duration::from_secs(120);
/// Longest time in which a caller takes a bundle.
const SEND_MAX: Duration = Duration::from_secs(120);
/// Longest silence of a caller in the middle of an upload.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Longest upload.
const RECEIVE_MAX: Duration = Duration::from_secs(120);
/// Refused entries whose problems are spelled out.
const SPELLED_OUT_MAX: usize = 1_000;
/// Most problems of one entry.
const PROBLEMS_MAX: usize = 8;
/// Longest description, in characters.
const DESCRIPTION_CHARS_MAX: usize = 300;
/// Most notes of one entry.
const NOTES_MAX: usize = 8;
/// Most notes of a bundle: with the problems they stay below a message.
const ALL_NOTES_MAX: usize = 2_000;
/// Longest reason of a note, in characters.
const NOTE_CHARS_MAX: usize = 140;

/// `neurotriage.fhir.v1.FhirService` over the store, the referrals and the other services.
#[derive(Debug)]
pub struct FhirGrpc<S, L, U> {
    exporter: Exporter<S, L, U>,
    exports: Arc<Semaphore>,
    imports: Arc<Semaphore>,
}

impl<S, L, U> FhirGrpc<S, L, U> {
    /// Serves from what `exporter` reads.
    pub fn new(exporter: Exporter<S, L, U>) -> Self {
        let (exports, imports) = (Semaphore::new(EXPORTS_MAX), Semaphore::new(IMPORTS_MAX));
        Self { exporter, exports: Arc::new(exports), imports: Arc::new(imports) }
    }
}

fn refuse(error: impl Into<FhirError>) -> Status {
    to_status(ERROR_DOMAIN, error.into())
}

/// Runs what takes long on a thread that serves nobody else.
async fn aside<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T, FhirError> + Send + 'static,
) -> Result<T, FhirError> {
    let ended = spawn_blocking(work).await;
    ended.map_err(|source| FhirError::Store { operation, source: Box::new(source) })?
}

/// Ends what takes longer than its caller allows.
async fn within<T>(
    asked: Option<Duration>,
    work: impl Future<Output = Result<T, FhirError>>,
) -> Result<T, FhirError> {
    let longest = asked.map_or(WORK_MAX, |asked| asked.min(WORK_MAX));
    let seconds = longest.as_secs();
    timeout(longest, work).await.unwrap_or(Err(FhirError::TooSlow { seconds }))
}

#[tonic::async_trait]
impl<S, L, U> FhirService for FhirGrpc<S, L, U>
where
    S: StoryStore + DirectoryStore,
    L: LifecycleStore,
    U: StorySources + Records,
{
    type ExportPatientStream =
        Pin<Box<dyn Stream<Item = Result<ExportPatientResponse, Status>> + Send>>;

    #[tracing::instrument(skip_all)]
    async fn export_patient(
        &self,
        request: Request<ExportPatientRequest>,
    ) -> Result<Response<Self::ExportPatientStream>, Status> {
        let asked = deadline::of_caller(request.metadata());
        let call = call(&request).map_err(refuse)?;
        let export = export_request(call, request.get_ref()).map_err(refuse)?;
        let Ok(slot) = Arc::clone(&self.exports).try_acquire_owned() else {
            return Err(refuse(FhirError::ExportsBusy));
        };
        let patient_id = export.patient_id;
        let work = async {
            let story = self.exporter.story(export).await?;
            aside("write bundle", move || {
                let bundle = story.bundle(OffsetDateTime::now_utc());
                let written =
                    bundle.map_err(|_| FhirError::TooLarge { what: "all parts together" })?;
                Ok((written, slot))
            })
            .await
        };
        let (bundle, slot) = within(asked, work).await.map_err(refuse)?;
        tracing::info!(%patient_id, bytes = bundle.len(), "patient exported");
        Ok(Response::new(Box::pin(ReceiverStream::new(send(bundle, slot)))))
    }

    #[tracing::instrument(skip_all)]
    async fn import_bundle(
        &self,
        request: Request<Streaming<ImportBundleRequest>>,
    ) -> Result<Response<ImportBundleResponse>, Status> {
        let asked = deadline::of_caller(request.metadata());
        // Patients and what is told of them the records service writes and notes; the directory is no patient's.
        let tenant = call(&request).map_err(refuse)?.hospital_id;
        let may_change_hospitals =
            request.extensions().get::<Identity>().is_some_and(may_change_hospitals);
        let Ok(slot) = Arc::clone(&self.imports).try_acquire_owned() else {
            return Err(refuse(FhirError::ImportsBusy));
        };
        let received = timeout(RECEIVE_MAX, receive(request.into_inner())).await;
        let (dry_run, bytes) = received.unwrap_or_else(|_| {
            let text = format!("not complete after {} s", RECEIVE_MAX.as_secs());
            Err(refuse(FhirError::field("content", text)))
        })?;
        let request = ImportRequest { tenant, may_change_hospitals, dry_run };
        let work = async {
            // Who gives up waiting does not stop the thread: the slot is free when that is done.
            let read = move || {
                let import = neurotriage_fhir::import::read(&bytes, OffsetDateTime::now_utc())?;
                Ok((import, slot))
            };
            let (import, _slot) = aside("read bundle", read).await?;
            let Exporter { store, sources, .. } = &self.exporter;
            import::bring_in(store, sources, &request, import).await
        };
        let results = within(asked, work).await.map_err(refuse)?;
        let count =
            |is: fn(&Outcome) -> bool| results.iter().filter(|one| is(&one.outcome)).count();
        tracing::info!(
            entries = results.len(),
            created = count(|outcome| matches!(outcome, Outcome::Created(_))),
            refused = count(|outcome| matches!(outcome, Outcome::Refused(..))),
            dry_run,
            "bundle imported"
        );
        Ok(Response::new(response(results, dry_run)))
    }
}

/// Sends a bundle piece by piece; a caller that reads too slowly is told so and keeps neither the bundle
/// nor the slot.
fn send(
    bundle: String,
    slot: OwnedSemaphorePermit,
) -> mpsc::Receiver<Result<ExportPatientResponse, Status>> {
    let (sender, receiver) = mpsc::channel(1);
    let feed = {
        let sender = sender.clone();
        async move {
            let _slot = slot;
            for piece in bundle.as_bytes().chunks(CHUNK_BYTES_MAX) {
                let piece = piece.to_vec();
                if sender.send(Ok(ExportPatientResponse { piece })).await.is_err() {
                    return;
                }
            }
        }
    };
    tokio::spawn(async move {
        if timeout(SEND_MAX, feed).await.is_err() {
            let seconds = SEND_MAX.as_secs();
            let _ = sender.send(Err(refuse(FhirError::TooSlow { seconds }))).await;
        }
    });
    receiver
}

/// The directory is every hospital's: a scope must name it, as for `ImportHospitals`.
fn may_change_hospitals(identity: &Identity) -> bool {
    [Context::User, Context::System].into_iter().any(|context| {
        [Action::Create, Action::Update].into_iter().all(|action| {
            let permission = Permission { resource: Resource::Hospital, action };
            identity.scopes.names(&[context], permission)
        })
    })
}

fn export_request(call: Call, request: &ExportPatientRequest) -> Result<ExportRequest, FhirError> {
    let mut wrong = Vec::new();
    let mut note = |field: &str, right: &str| {
        wrong.push(FieldViolation { field: field.to_owned(), description: right.to_owned() });
    };
    let patient_id = request.patient_id.parse().ok();
    if patient_id.is_none() {
        note("patient_id", "a UUID");
    }
    let from = request.created_from.as_ref().and_then(time_of);
    if request.created_from.is_some() && from.is_none() {
        note("created_from", "a time of the years 1 to 9999");
    }
    let mut parts = if request.parts.is_empty() { Parts::ALL } else { Parts::NONE };
    let mut are_known = true;
    for part in &request.parts {
        match pb::StoryPart::try_from(*part) {
            Ok(pb::StoryPart::Symptoms) => parts.symptoms = true,
            Ok(pb::StoryPart::Notes) => parts.notes = true,
            Ok(pb::StoryPart::Imaging) => parts.imaging = true,
            Ok(pb::StoryPart::Assessments) => parts.assessments = true,
            Ok(pb::StoryPart::Referrals) => parts.referrals = true,
            Ok(pb::StoryPart::Unspecified) | Err(_) => are_known = false,
        }
    }
    if !are_known {
        note("parts", "parts of this version");
    }
    match patient_id {
        Some(patient_id) if wrong.is_empty() => Ok(ExportRequest { call, patient_id, from, parts }),
        _ => Err(FhirError::Invalid(wrong)),
    }
}

fn time_of(at: &prost_types::Timestamp) -> Option<OffsetDateTime> {
    let nanos = u32::try_from(at.nanos).ok()?;
    let time = OffsetDateTime::from_unix_timestamp(at.seconds).ok()?;
    let time = time.replace_nanosecond(nanos).ok()?;
    (1..=9999).contains(&time.year()).then_some(time)
}

async fn receive(mut stream: Streaming<ImportBundleRequest>) -> Result<(bool, Vec<u8>), Status> {
    let first = next(&mut stream).await?;
    let Some(Content::Header(header)) = first.and_then(|message| message.content) else {
        let text = "the first message must carry the header";
        return Err(refuse(FhirError::field("content", text)));
    };
    let mut bytes = Vec::new();
    while let Some(message) = next(&mut stream).await? {
        let problem = match message.content {
            Some(Content::Piece(piece)) if piece.is_empty() => {
                "a piece must hold at least one byte".to_owned()
            }
            Some(Content::Piece(piece)) if piece.len() > CHUNK_BYTES_MAX => {
                format!("at most {CHUNK_BYTES_MAX} bytes in one message")
            }
            Some(Content::Piece(piece)) if bytes.len() + piece.len() > BYTES_MAX => {
                format!("at most {BYTES_MAX} bytes in a bundle")
            }
            Some(Content::Piece(piece)) => {
                bytes.extend_from_slice(&piece);
                continue;
            }
            Some(Content::Header(_)) => "send the header once".to_owned(),
            None => "each message must carry something".to_owned(),
        };
        return Err(refuse(FhirError::field("content", problem)));
    }
    Ok((header.dry_run, bytes))
}

async fn next(
    stream: &mut Streaming<ImportBundleRequest>,
) -> Result<Option<ImportBundleRequest>, Status> {
    timeout(IDLE_MAX, stream.message()).await.unwrap_or_else(|_| {
        let text = format!("nothing arrived for {} s", IDLE_MAX.as_secs());
        Err(refuse(FhirError::field("content", text)))
    })
}

fn response(results: Vec<EntryResult>, dry_run: bool) -> ImportBundleResponse {
    let mut spelled_out = 0;
    let mut notes_left = ALL_NOTES_MAX;
    let entries = results.into_iter().enumerate().map(|(place, result)| {
        let mut entry = pb::EntryResult {
            index: u32::try_from(place).unwrap_or(u32::MAX),
            resource_type: result.resource_type.to_owned(),
            ..Default::default()
        };
        let notes = result.notes.into_iter().take(NOTES_MAX.min(notes_left));
        entry.notes = notes.map(note).collect();
        notes_left -= entry.notes.len();
        let outcome = match result.outcome {
            Outcome::Created(id) => {
                entry.record_id = id.unwrap_or_default();
                pb::EntryOutcome::Created
            }
            Outcome::Updated(id) => {
                entry.record_id = id;
                pb::EntryOutcome::Updated
            }
            Outcome::Unchanged(id) => {
                entry.record_id = id;
                pb::EntryOutcome::Unchanged
            }
            Outcome::Refused(reason, problems) => {
                entry.reason = reason;
                spelled_out += 1;
                if spelled_out <= SPELLED_OUT_MAX {
                    let problems = problems.into_iter().take(PROBLEMS_MAX);
                    entry.problems = problems.map(problem).collect();
                }
                pb::EntryOutcome::Refused
            }
            Outcome::PassedOver(reason) => {
                entry.reason = reason.to_owned();
                pb::EntryOutcome::PassedOver
            }
        };
        entry.outcome = outcome.into();
        entry
    });
    ImportBundleResponse { entries: entries.collect(), written: !dry_run }
}

fn problem(problem: neurotriage_fhir::Problem) -> pb::EntryProblem {
    let description = problem.description.chars().take(DESCRIPTION_CHARS_MAX).collect();
    pb::EntryProblem { path: problem.path, description }
}

fn note(note: neurotriage_fhir::Problem) -> pb::EntryNote {
    let reason = note.description.chars().take(NOTE_CHARS_MAX).collect();
    pb::EntryNote { path: note.path, reason }
}

#[cfg(test)]
mod tests {
    use neurotriage_service_kit::access::scope::Scopes;

    use super::*;

    #[test]
    fn the_directory_changes_for_those_whose_scopes_name_it() {
        let identity = |scopes: &str| Identity {
            subject: "somebody".to_owned(),
            client_id: None,
            hospital_id: None,
            patient_id: None,
            scopes: Scopes::parse(scopes),
            purpose_of_use: None,
            good_until: None,
        };
        // (scopes, whether they may)
        let table = [
            ("system/Hospital.cu", true),
            ("user/Hospital.write", true),
            ("user/Hospital.c user/Hospital.u", true),
            ("user/Hospital.c system/Hospital.u", false),
            ("user/Hospital.c", false),
            ("system/*.*", false),
            ("patient/Hospital.cu", false),
        ];
        for (scopes, may) in table {
            assert_eq!(may_change_hospitals(&identity(scopes)), may, "{scopes}");
        }
    }

    #[test]
    fn a_report_of_many_refusals_stays_below_a_message() {
        let text = "x".repeat(1_000);
        let problem = neurotriage_fhir::Problem::new("entry[9999].resource.code.coding[0]", text);
        let problems = vec![problem; 20];
        let wrong = EntryResult {
            resource_type: "Observation",
            outcome: Outcome::Refused("ELEMENTS_WRONG".to_owned(), problems.clone()),
            notes: problems,
        };
        let response = response(vec![wrong; 10_000], true);
        assert!(!response.written);
        assert_eq!(response.entries[999].problems.len(), PROBLEMS_MAX);
        assert_eq!(response.entries[1_000].problems.len(), 0);
        // On the wire a text has some bytes around it, and there are a few numbers.
        let problem = |one: &pb::EntryProblem| one.path.len() + one.description.len() + 16;
        let note = |one: &pb::EntryNote| one.path.len() + one.reason.len() + 16;
        let entry = |one: &pb::EntryResult| {
            let problems: usize = one.problems.iter().map(problem).sum();
            one.reason.len() + 64 + problems + one.notes.iter().map(note).sum::<usize>()
        };
        let notes: usize = response.entries.iter().map(|entry| entry.notes.len()).sum();
        assert_eq!((response.entries[0].notes.len(), notes), (NOTES_MAX, ALL_NOTES_MAX));
        let bytes: usize = response.entries.iter().map(entry).sum();
        assert!(bytes < 4 * 1024 * 1024, "{bytes}");
    }
}
