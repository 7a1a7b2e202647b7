//! gRPC face of the directory of hospitals.

use std::{pin::Pin, sync::Arc, time::Duration};

use neurotriage_domain::HospitalId;
use neurotriage_proto::{
    CHUNK_BYTES_MAX,
    referral::v1::{
        self as pb, ExportHospitalsRequest, ExportHospitalsResponse, GetHospitalRequest,
        GetHospitalResponse, ImportHospitalsHeader, ImportHospitalsRequest,
        ImportHospitalsResponse, ListHospitalsRequest, ListHospitalsResponse,
        SearchHospitalsRequest, SearchHospitalsResponse,
        hospital_directory_service_server::HospitalDirectoryService,
        import_hospitals_request::Content,
    },
};
use neurotriage_service_kit::status::to_status;
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};
use tokio_stream::Stream;
use tonic::{Request, Response, Status, Streaming};

use super::{ERROR_DOMAIN, convert};
use crate::{
    directory::{
        self, DirectoryError, DirectoryStore, FileForm, ImportMode, ImportReport, ReadFile,
        Refusal, Search, StoreError,
    },
    hospital::{Capability, Coordinates},
};

/// Imports that run at a time: each may hold a file of 32 MiB and what was read from it.
const IMPORTS_MAX: usize = 1;

/// Longest silence of a caller in the middle of an upload.
const IDLE_MAX: Duration = Duration::from_secs(30);

/// Longest upload.
const RECEIVE_MAX: Duration = Duration::from_secs(120);

/// Most capabilities that one search may name.
const CAPABILITIES_MAX: usize = 16;

/// `neurotriage.referral.v1.HospitalDirectoryService` over any [`DirectoryStore`].
#[derive(Debug)]
pub struct DirectoryGrpc<S> {
    store: S,
    imports: Arc<Semaphore>,
}

impl<S> DirectoryGrpc<S> {
    /// Serves from `store`.
    pub fn new(store: S) -> Self {
        Self { store, imports: Arc::new(Semaphore::new(IMPORTS_MAX)) }
    }
}

fn refuse(error: DirectoryError) -> Status {
    to_status(ERROR_DOMAIN, error)
}

/// Runs what takes long on a thread that serves nobody else.
async fn aside<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T, DirectoryError> + Send + 'static,
) -> Result<T, Status> {
    let ended = spawn_blocking(work).await;
    let ended =
        ended.map_err(|source| StoreError { operation, is_away: false, source: Box::new(source) });
    ended.map_err(DirectoryError::from).and_then(|result| result).map_err(refuse)
}

#[tonic::async_trait]
impl<S: DirectoryStore> HospitalDirectoryService for DirectoryGrpc<S> {
    type ExportHospitalsStream =
        Pin<Box<dyn Stream<Item = Result<ExportHospitalsResponse, Status>> + Send>>;

    #[tracing::instrument(skip_all)]
    async fn import_hospitals(
        &self,
        request: Request<Streaming<ImportHospitalsRequest>>,
    ) -> Result<Response<ImportHospitalsResponse>, Status> {
        let Ok(_slot) = Arc::clone(&self.imports).try_acquire_owned() else {
            return Err(refuse(DirectoryError::Busy));
        };
        let received = timeout(RECEIVE_MAX, receive(request.into_inner())).await;
        let sent = received.unwrap_or_else(|_| {
            let text = format!("not complete after {} s", RECEIVE_MAX.as_secs());
            Err(refuse(DirectoryError::field("content", text)))
        })?;
        let Sent { form, mode, dry_run, bytes } = sent;
        let file: ReadFile =
            aside("read hospital file", move || directory::read(form, &bytes)).await?;
        let report = directory::import(&self.store, file, mode, dry_run).await.map_err(refuse)?;
        tracing::info!(
            created = report.created,
            updated = report.updated,
            closed = report.closed,
            refused = report.refused_count,
            written = report.written,
            "hospitals imported"
        );
        Ok(Response::new(import_report(report)))
    }

    #[tracing::instrument(skip_all)]
    async fn export_hospitals(
        &self,
        request: Request<ExportHospitalsRequest>,
    ) -> Result<Response<Self::ExportHospitalsStream>, Status> {
        let form = form(request.get_ref().form()).map_err(refuse)?;
        let snapshot = self.store.snapshot().await.map_err(|error| refuse(error.into()))?;
        let text = aside("write hospital file", move || directory::export(&snapshot, form)).await?;
        let pieces: Vec<_> = text
            .as_bytes()
            .chunks(CHUNK_BYTES_MAX)
            .map(|piece| Ok(ExportHospitalsResponse { piece: piece.to_vec() }))
            .collect();
        Ok(Response::new(Box::pin(tokio_stream::iter(pieces))))
    }

    #[tracing::instrument(skip_all)]
    async fn get_hospital(
        &self,
        request: Request<GetHospitalRequest>,
    ) -> Result<Response<GetHospitalResponse>, Status> {
        let hospital_id: HospitalId = request.get_ref().hospital_id.parse().map_err(
            |error: neurotriage_domain::InvalidId| {
                refuse(DirectoryError::field("hospital_id", error.to_string()))
            },
        )?;
        let snapshot = self.store.snapshot().await.map_err(|error| refuse(error.into()))?;
        let found = snapshot.find(&hospital_id).cloned().map(convert::hospital);
        match found {
            Some(hospital) => Ok(Response::new(GetHospitalResponse { hospital: Some(hospital) })),
            None => Err(refuse(DirectoryError::NotFound { hospital_id })),
        }
    }

    #[tracing::instrument(skip_all)]
    async fn list_hospitals(
        &self,
        request: Request<ListHospitalsRequest>,
    ) -> Result<Response<ListHospitalsResponse>, Status> {
        let request = request.into_inner();
        let after = page_token(&request.page_token).map_err(refuse)?;
        let snapshot = self.store.snapshot().await.map_err(|error| refuse(error.into()))?;
        let (hospitals, more) =
            directory::page(&snapshot, request.page_size, after.as_ref()).map_err(refuse)?;
        let next_page_token = match hospitals.last() {
            Some(last) if more => last.hospital_id.to_string(),
            Some(_) | None => String::new(),
        };
        let hospitals = hospitals.into_iter().map(convert::hospital).collect();
        Ok(Response::new(ListHospitalsResponse { hospitals, next_page_token }))
    }

    #[tracing::instrument(skip_all)]
    async fn search_hospitals(
        &self,
        request: Request<SearchHospitalsRequest>,
    ) -> Result<Response<SearchHospitalsResponse>, Status> {
        let search = search(request.into_inner()).map_err(refuse)?;
        let snapshot = self.store.snapshot().await.map_err(|error| refuse(error.into()))?;
        let found = directory::nearest(&snapshot, &search).map_err(refuse)?;
        let hospitals = found
            .into_iter()
            .map(|found| pb::FoundHospital {
                hospital: Some(convert::hospital(found.hospital)),
                distance_km: found.distance_km,
            })
            .collect();
        Ok(Response::new(SearchHospitalsResponse { hospitals }))
    }
}

/// A file that has arrived.
struct Sent {
    form: FileForm,
    mode: ImportMode,
    dry_run: bool,
    bytes: Vec<u8>,
}

async fn receive(mut stream: Streaming<ImportHospitalsRequest>) -> Result<Sent, Status> {
    let first = next(&mut stream).await?;
    let Some(Content::Header(header)) = first.and_then(|message| message.content) else {
        let text = "the first message must carry the header";
        return Err(refuse(DirectoryError::field("content", text)));
    };
    let ImportHospitalsHeader { dry_run, .. } = header;
    let (form, mode) = (form(header.form()).map_err(refuse)?, mode(header.mode).map_err(refuse)?);
    let mut bytes = Vec::new();
    while let Some(message) = next(&mut stream).await? {
        let problem = match message.content {
            Some(Content::Piece(piece)) if piece.is_empty() => {
                "a piece must hold at least one byte".to_owned()
            }
            Some(Content::Piece(piece)) if piece.len() > CHUNK_BYTES_MAX => {
                format!("at most {CHUNK_BYTES_MAX} bytes in one message")
            }
            Some(Content::Piece(piece)) if bytes.len() + piece.len() > form.bytes_max() => {
                format!("at most {} bytes in a file of this form", form.bytes_max())
            }
            Some(Content::Piece(piece)) => {
                bytes.extend_from_slice(&piece);
                continue;
            }
            Some(Content::Header(_)) => "send the header once".to_owned(),
            None => "each message must carry something".to_owned(),
        };
        return Err(refuse(DirectoryError::field("content", problem)));
    }
    Ok(Sent { form, mode, dry_run, bytes })
}

async fn next(
    stream: &mut Streaming<ImportHospitalsRequest>,
) -> Result<Option<ImportHospitalsRequest>, Status> {
    timeout(IDLE_MAX, stream.message()).await.unwrap_or_else(|_| {
        let text = format!("nothing arrived for {} s", IDLE_MAX.as_secs());
        Err(refuse(DirectoryError::field("content", text)))
    })
}

fn form(form: pb::DirectoryForm) -> Result<FileForm, DirectoryError> {
    match form {
        pb::DirectoryForm::Csv => Ok(FileForm::Csv),
        pb::DirectoryForm::FhirBundle => Ok(FileForm::FhirBundle),
        pb::DirectoryForm::Unspecified => {
            Err(DirectoryError::field("form", "one of the forms of this version"))
        }
    }
}

fn mode(wire: i32) -> Result<ImportMode, DirectoryError> {
    match pb::ImportMode::try_from(wire) {
        Ok(pb::ImportMode::Unspecified | pb::ImportMode::Merge) => Ok(ImportMode::Merge),
        Ok(pb::ImportMode::Replace) => Ok(ImportMode::Replace),
        Err(_) => Err(DirectoryError::field("mode", "one of the modes of this version")),
    }
}

fn page_token(text: &str) -> Result<Option<HospitalId>, DirectoryError> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        let text = "pass the next_page_token of the page before, unchanged";
        DirectoryError::field("page_token", text)
    })
}

fn search(request: SearchHospitalsRequest) -> Result<Search, DirectoryError> {
    let from = request.from.ok_or_else(|| DirectoryError::field("from", "a place is missing"))?;
    let from = Coordinates::from_degrees(from.latitude_degrees, from.longitude_degrees)
        .map_err(|error| DirectoryError::field("from", error.to_string()))?;
    if request.within_km.is_some_and(|km| km.is_nan() || km < 0.0) {
        return Err(DirectoryError::field("within_km", "0 or more kilometres, or absent"));
    }
    if request.capabilities.len() > CAPABILITIES_MAX {
        let text = format!("at most {CAPABILITIES_MAX}");
        return Err(DirectoryError::field("capabilities", text));
    }
    let capabilities = request
        .capabilities
        .iter()
        .map(|name| name.parse())
        .collect::<Result<Vec<Capability>, _>>()
        .map_err(|_| {
            let names = Capability::ALL.iter().map(|capability| capability.as_str());
            let text = format!("each one of {}", names.collect::<Vec<_>>().join(", "));
            DirectoryError::field("capabilities", text)
        })?;
    Ok(Search {
        from,
        within_km: request.within_km,
        capabilities,
        only_accepting: request.only_accepting,
        language: (!request.language.is_empty()).then_some(request.language),
        hospitals_max: request.hospitals_max,
    })
}

fn import_report(report: ImportReport) -> ImportHospitalsResponse {
    let refused = |refusal: Refusal| pb::RefusedHospital {
        place: refusal.place,
        hospital_id: refusal.hospital_id.unwrap_or_default(),
        field: refusal.field,
        problem: refusal.problem,
    };
    ImportHospitalsResponse {
        created: count(report.created),
        updated: count(report.updated),
        unchanged: count(report.unchanged),
        closed: count(report.closed),
        refused_count: count(report.refused_count),
        refused: report.refused.into_iter().map(refused).collect(),
        passed_over_count: count(report.passed_over_count),
        passed_over: report.passed_over,
        written: report.written,
        revision: report.revision,
    }
}

fn count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
