//! gRPC face of the service: decode, call one domain function, encode.

mod batch;
mod convert;
mod token;
mod watch;

use std::time::Duration;

use neurotriage_audit::Action;
use neurotriage_domain::PatientId;
use neurotriage_proto::records::v1::{self as pb, records_service_server::RecordsService};
use neurotriage_service_kit::{audit::Call, status::to_status};
use tonic::{Request, Response, Status, Streaming};
use tracing::{Span, field::display};

pub use self::batch::IDLE_MAX_DEFAULT as BATCH_IDLE_MAX_DEFAULT;
use self::token::{Asked, List, asked};
use crate::{
    change::Watchers,
    entry::{Note, StudyLink},
    error::RecordsError,
    records::{EntryFilter, Read, Records, RecordsStore, both},
    symptoms::Symptoms,
};

/// `ErrorInfo.domain` of every error this service returns.
pub const ERROR_DOMAIN: &str = "records.neurotriage.example";

/// `neurotriage.records.v1.RecordsService` over any [`RecordsStore`].
#[derive(Debug)]
pub struct RecordsGrpc<S> {
    records: Records<S>,
    watchers: Watchers,
    batch_idle_max: Duration,
}

impl<S> RecordsGrpc<S> {
    /// Serves `records`; as many as `watchers` allow may watch, and a batch waits for its next create for at most
    /// `batch_idle_max`.
    pub fn new(records: Records<S>, watchers: Watchers, batch_idle_max: Duration) -> Self {
        Self { records, watchers, batch_idle_max }
    }
}

impl<S: RecordsStore> RecordsGrpc<S> {
    /// Reads the patient that a call is about, and checks that it may touch them.
    async fn patient(&self, call: &Call, action: Action, text: &str) -> Result<PatientId, Status> {
        self.reached(call, action, text).await?.map_err(RecordsError::Invalid).map_err(refuse)
    }

    /// As [`RecordsGrpc::patient`], of a call in which more may be wrong than the id.
    async fn reached(
        &self,
        call: &Call,
        action: Action,
        text: &str,
    ) -> Result<Read<PatientId>, Status> {
        let patient_id = convert::read(convert::patient_id("patient_id", text));
        self.check(call, action, patient_id.as_ref().copied()).await?;
        Ok(patient_id)
    }

    /// As [`RecordsGrpc::check_patient`], if the patient could be read.
    async fn check<E>(
        &self,
        call: &Call,
        action: Action,
        patient_id: Result<PatientId, E>,
    ) -> Result<(), Status> {
        match patient_id {
            Ok(patient_id) => self.check_patient(call, action, patient_id).await,
            Err(_) => Ok(()),
        }
    }

    /// Checks that a call may touch a patient. One that may not is noted in the audit.
    async fn check_patient(
        &self,
        call: &Call,
        action: Action,
        patient_id: PatientId,
    ) -> Result<(), Status> {
        Span::current().record("patient_id", display(patient_id));
        let Err(error) = call.check_patient(patient_id) else { return Ok(()) };
        Err(refuse(self.records.store().deny(call, action, patient_id, error.into()).await))
    }
}

fn refuse(error: impl Into<RecordsError>) -> Status {
    to_status(ERROR_DOMAIN, error.into())
}

/// Returns who calls, or why the request can't be answered.
fn call<T>(request: &Request<T>) -> Result<Call, Status> {
    Call::of(request.extensions()).map_err(refuse)
}

/// Splits a request into who calls and what is asked for.
fn open<T>(request: Request<T>) -> Result<(Call, T), Status> {
    Ok((call(&request)?, request.into_inner()))
}

// Spans hold ids only, and those only once they are known to be ids.
#[tonic::async_trait]
impl<S: RecordsStore> RecordsService for RecordsGrpc<S> {
    type WatchChangesStream = watch::Changes;

    #[tracing::instrument(skip_all, fields(patient_id))]
    async fn create_patient(
        &self,
        request: Request<pb::CreatePatientRequest>,
    ) -> Result<Response<pb::CreatePatientResponse>, Status> {
        let (call, request) = open(request)?;
        let (request_id, draft) = convert::patient::create(request);
        let patient =
            self.records.create_patient(&call, request_id, draft).await.map_err(refuse)?;
        Span::current().record("patient_id", display(patient.patient_id));
        let patient = Some(convert::patient::message(patient));
        Ok(Response::new(pb::CreatePatientResponse { patient }))
    }

    #[tracing::instrument(skip_all, fields(patient_id))]
    async fn get_patient(
        &self,
        request: Request<pb::GetPatientRequest>,
    ) -> Result<Response<pb::GetPatientResponse>, Status> {
        let (call, request) = open(request)?;
        let patient_id = self.patient(&call, Action::Read, &request.patient_id).await?;
        let patient = self.records.store().read_patient(&call, patient_id).await.map_err(refuse)?;
        let patient = Some(convert::patient::message(patient));
        Ok(Response::new(pb::GetPatientResponse { patient }))
    }

    #[tracing::instrument(skip_all)]
    async fn list_patients(
        &self,
        request: Request<pb::ListPatientsRequest>,
    ) -> Result<Response<pb::ListPatientsResponse>, Status> {
        let (call, request) = open(request)?;
        let (filter, page) =
            (convert::patient::filter(&request), (&*request.page_token, request.page_size));
        let Asked { filters, query, before, limit } =
            asked(List::Patients, &call, filter, page).map_err(refuse)?;
        let page = self.records.store().list_patients(&call, &filters, before, limit).await;
        let page = page.map_err(refuse)?;
        Ok(Response::new(pb::ListPatientsResponse {
            next_page_token: query.next(page.next),
            patients: page.items.into_iter().map(convert::patient::message).collect(),
        }))
    }

    #[tracing::instrument(skip_all)]
    async fn search_patients(
        &self,
        request: Request<pb::SearchPatientsRequest>,
    ) -> Result<Response<pb::SearchPatientsResponse>, Status> {
        let (call, request) = open(request)?;
        let (criteria, page) =
            (convert::patient::criteria(&request), (&*request.page_token, request.page_size));
        let Asked { filters, query, before, limit } =
            asked(List::Search, &call, criteria, page).map_err(refuse)?;
        let page = self.records.search_patients(&call, &filters, before, limit).await;
        let page = page.map_err(refuse)?;
        Ok(Response::new(pb::SearchPatientsResponse {
            next_page_token: query.next(page.next),
            patients: page.items.into_iter().map(convert::patient::message).collect(),
        }))
    }

    #[tracing::instrument(skip_all, fields(patient_id))]
    async fn update_patient(
        &self,
        request: Request<pb::UpdatePatientRequest>,
    ) -> Result<Response<pb::UpdatePatientResponse>, Status> {
        let (call, request) = open(request)?;
        let (patient_id, revision, draft) = convert::patient::update(request.patient);
        self.check(&call, Action::Update, patient_id.as_ref().copied()).await?;
        let paths = request.update_mask.unwrap_or_default().paths;
        let patient = self
            .records
            .update_patient(&call, patient_id, revision, &paths, draft)
            .await
            .map_err(refuse)?;
        let patient = Some(convert::patient::message(patient));
        Ok(Response::new(pb::UpdatePatientResponse { patient }))
    }

    #[tracing::instrument(skip_all, fields(patient_id))]
    async fn delete_patient(
        &self,
        request: Request<pb::DeletePatientRequest>,
    ) -> Result<Response<pb::DeletePatientResponse>, Status> {
        let (call, request) = open(request)?;
        let patient_id = self.patient(&call, Action::Delete, &request.patient_id).await?;
        let store = self.records.store();
        let revision =
            store.delete_patient(&call, patient_id, request.revision).await.map_err(refuse)?;
        Ok(Response::new(pb::DeletePatientResponse { revision }))
    }

    #[tracing::instrument(skip_all, fields(patient_id))]
    async fn undelete_patient(
        &self,
        request: Request<pb::UndeletePatientRequest>,
    ) -> Result<Response<pb::UndeletePatientResponse>, Status> {
        let (call, request) = open(request)?;
        let patient_id = self.patient(&call, Action::Undelete, &request.patient_id).await?;
        let store = self.records.store();
        let patient =
            store.undelete_patient(&call, patient_id, request.revision).await.map_err(refuse)?;
        let patient = Some(convert::patient::message(patient));
        Ok(Response::new(pb::UndeletePatientResponse { patient }))
    }

    #[tracing::instrument(skip_all, fields(patient_id))]
    async fn erase_patient(
        &self,
        request: Request<pb::ErasePatientRequest>,
    ) -> Result<Response<pb::ErasePatientResponse>, Status> {
        let (call, request) = open(request)?;
        let patient_id = self.patient(&call, Action::Erase, &request.patient_id).await?;
        let store = self.records.store();
        let entries_erased =
            store.erase_patient(&call, patient_id, request.revision).await.map_err(refuse)?;
        Ok(Response::new(pb::ErasePatientResponse { entries_erased }))
    }

    #[tracing::instrument(skip_all, fields(patient_id))]
    async fn merge_patients(
        &self,
        request: Request<pb::MergePatientsRequest>,
    ) -> Result<Response<pb::MergePatientsResponse>, Status> {
        let (call, request) = open(request)?;
        let merge = convert::patient::merge(&request);
        let merge = merge.map_err(RecordsError::Invalid).map_err(refuse)?;
        call.check_patient(merge.patient_id).map_err(refuse)?;
        call.check_patient(merge.duplicate).map_err(refuse)?;
        Span::current().record("patient_id", display(merge.patient_id));
        let patient = self.records.merge_patients(&call, merge).await.map_err(refuse)?;
        let patient = Some(convert::patient::message(patient));
        Ok(Response::new(pb::MergePatientsResponse { patient }))
    }

    #[tracing::instrument(skip_all, fields(patient_id, symptom_report_id))]
    async fn create_symptom_report(
        &self,
        request: Request<pb::CreateSymptomReportRequest>,
    ) -> Result<Response<pb::CreateSymptomReportResponse>, Status> {
        let (call, request) = open(request)?;
        let (new, draft) = convert::entry::create_report(request);
        self.check(&call, Action::Create, new.as_ref().map(|new| new.patient_id)).await?;
        let report = self.records.create_report(&call, new, draft).await.map_err(refuse)?;
        Span::current().record("symptom_report_id", display(report.entry_id));
        let report = Some(convert::entry::report(report));
        Ok(Response::new(pb::CreateSymptomReportResponse { report }))
    }

    #[tracing::instrument(skip_all, fields(symptom_report_id))]
    async fn get_symptom_report(
        &self,
        request: Request<pb::GetSymptomReportRequest>,
    ) -> Result<Response<pb::GetSymptomReportResponse>, Status> {
        let (call, request) = open(request)?;
        let id = convert::uuid("symptom_report_id", &request.symptom_report_id).map_err(refuse)?;
        Span::current().record("symptom_report_id", display(id));
        let report = self.records.store().read_entry::<Symptoms>(&call, id).await;
        let report = Some(convert::entry::report(report.map_err(refuse)?));
        Ok(Response::new(pb::GetSymptomReportResponse { report }))
    }

    #[tracing::instrument(skip_all, fields(patient_id))]
    async fn list_symptom_reports(
        &self,
        request: Request<pb::ListSymptomReportsRequest>,
    ) -> Result<Response<pb::ListSymptomReportsResponse>, Status> {
        let (call, request) = open(request)?;
        let patient_id = self.reached(&call, Action::Search, &request.patient_id).await?;
        let filters = both(patient_id, convert::entry::filter(&request));
        let page = (&*request.page_token, request.page_size);
        let Asked { filters: (patient_id, filter), query, before, limit } =
            asked(List::Reports, &call, filters, page).map_err(refuse)?;
        let store = self.records.store();
        let page = store.list_entries(&call, patient_id, &filter, before, limit).await;
        let page = page.map_err(refuse)?;
        Ok(Response::new(pb::ListSymptomReportsResponse {
            next_page_token: query.next(page.next),
            reports: page.items.into_iter().map(convert::entry::report).collect(),
        }))
    }

    #[tracing::instrument(skip_all, fields(patient_id))]
    async fn link_study(
        &self,
        request: Request<pb::LinkStudyRequest>,
    ) -> Result<Response<pb::LinkStudyResponse>, Status> {
        let (call, request) = open(request)?;
        let (new, link, unreadable) = convert::entry::link_study(request);
        self.check(&call, Action::Create, new.as_ref().map(|new| new.patient_id)).await?;
        let link = self.records.link_study(&call, new, link, unreadable).await.map_err(refuse)?;
        let link = Some(convert::entry::link(link));
        Ok(Response::new(pb::LinkStudyResponse { link }))
    }

    #[tracing::instrument(skip_all, fields(study_link_id))]
    async fn get_study_link(
        &self,
        request: Request<pb::GetStudyLinkRequest>,
    ) -> Result<Response<pb::GetStudyLinkResponse>, Status> {
        let (call, request) = open(request)?;
        let id = convert::uuid("study_link_id", &request.study_link_id).map_err(refuse)?;
        Span::current().record("study_link_id", display(id));
        let link = self.records.store().read_entry::<StudyLink>(&call, id).await;
        let link = Some(convert::entry::link(link.map_err(refuse)?));
        Ok(Response::new(pb::GetStudyLinkResponse { link }))
    }

    #[tracing::instrument(skip_all, fields(patient_id))]
    async fn list_study_links(
        &self,
        request: Request<pb::ListStudyLinksRequest>,
    ) -> Result<Response<pb::ListStudyLinksResponse>, Status> {
        let (call, request) = open(request)?;
        let patient_id = self.reached(&call, Action::Search, &request.patient_id).await?;
        let page = (&*request.page_token, request.page_size);
        let Asked { filters: patient_id, query, before, limit } =
            asked(List::Links, &call, patient_id, page).map_err(refuse)?;
        let (store, all) = (self.records.store(), EntryFilter::default());
        let page = store.list_entries::<StudyLink>(&call, patient_id, &all, before, limit).await;
        let page = page.map_err(refuse)?;
        Ok(Response::new(pb::ListStudyLinksResponse {
            next_page_token: query.next(page.next),
            links: page.items.into_iter().map(convert::entry::link).collect(),
        }))
    }

    #[tracing::instrument(skip_all, fields(patient_id))]
    async fn create_note(
        &self,
        request: Request<pb::CreateNoteRequest>,
    ) -> Result<Response<pb::CreateNoteResponse>, Status> {
        let (call, request) = open(request)?;
        let (new, text) = convert::entry::create_note(request);
        self.check(&call, Action::Create, new.as_ref().map(|new| new.patient_id)).await?;
        let note = self.records.create_note(&call, new, text).await.map_err(refuse)?;
        let note = Some(convert::entry::note(note));
        Ok(Response::new(pb::CreateNoteResponse { note }))
    }

    #[tracing::instrument(skip_all, fields(note_id))]
    async fn get_note(
        &self,
        request: Request<pb::GetNoteRequest>,
    ) -> Result<Response<pb::GetNoteResponse>, Status> {
        let (call, request) = open(request)?;
        let id = convert::uuid("note_id", &request.note_id).map_err(refuse)?;
        Span::current().record("note_id", display(id));
        let note = self.records.store().read_entry::<Note>(&call, id).await;
        let note = Some(convert::entry::note(note.map_err(refuse)?));
        Ok(Response::new(pb::GetNoteResponse { note }))
    }

    #[tracing::instrument(skip_all, fields(patient_id))]
    async fn list_notes(
        &self,
        request: Request<pb::ListNotesRequest>,
    ) -> Result<Response<pb::ListNotesResponse>, Status> {
        let (call, request) = open(request)?;
        let patient_id = self.reached(&call, Action::Search, &request.patient_id).await?;
        let page = (&*request.page_token, request.page_size);
        let Asked { filters: patient_id, query, before, limit } =
            asked(List::Notes, &call, patient_id, page).map_err(refuse)?;
        let (store, all) = (self.records.store(), EntryFilter::default());
        let page = store.list_entries::<Note>(&call, patient_id, &all, before, limit).await;
        let page = page.map_err(refuse)?;
        Ok(Response::new(pb::ListNotesResponse {
            next_page_token: query.next(page.next),
            notes: page.items.into_iter().map(convert::entry::note).collect(),
        }))
    }

    #[tracing::instrument(skip_all, fields(entry_id))]
    async fn delete_entry(
        &self,
        request: Request<pb::DeleteEntryRequest>,
    ) -> Result<Response<pb::DeleteEntryResponse>, Status> {
        let (call, request) = open(request)?;
        let entry_id = convert::uuid("entry_id", &request.entry_id).map_err(refuse)?;
        Span::current().record("entry_id", display(entry_id));
        let store = self.records.store();
        let revision =
            store.delete_entry(&call, entry_id, request.revision).await.map_err(refuse)?;
        Ok(Response::new(pb::DeleteEntryResponse { revision }))
    }

    #[tracing::instrument(skip_all, fields(entry_id))]
    async fn erase_entry(
        &self,
        request: Request<pb::EraseEntryRequest>,
    ) -> Result<Response<pb::EraseEntryResponse>, Status> {
        let (call, request) = open(request)?;
        let entry_id = convert::uuid("entry_id", &request.entry_id).map_err(refuse)?;
        Span::current().record("entry_id", display(entry_id));
        let store = self.records.store();
        let revision =
            store.erase_entry(&call, entry_id, request.revision).await.map_err(refuse)?;
        Ok(Response::new(pb::EraseEntryResponse { revision }))
    }

    #[tracing::instrument(skip_all)]
    async fn batch_create(
        &self,
        request: Request<Streaming<pb::BatchCreateRequest>>,
    ) -> Result<Response<pb::BatchCreateResponse>, Status> {
        let (call, creates) = open(request)?;
        let results = batch::create(&self.records, &call, creates, self.batch_idle_max).await?;
        Ok(Response::new(pb::BatchCreateResponse { results }))
    }

    #[tracing::instrument(skip_all)]
    async fn watch_changes(
        &self,
        request: Request<pb::WatchChangesRequest>,
    ) -> Result<Response<watch::Changes>, Status> {
        let (call, request) = open(request)?;
        let changes =
            watch::begin(self.records.store().clone(), &self.watchers, call, &request).await;
        Ok(Response::new(changes.map_err(refuse)?))
    }
}
