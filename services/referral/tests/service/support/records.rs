//! The records service, as far as referral asks it: what is known is fixed, what is created is kept.

use std::{collections::HashMap, sync::atomic::Ordering};

use neurotriage_proto::records::v1::{
    self as records, BatchCreateRequest, BatchCreateResponse, BatchCreateResult,
    batch_create_request::Create, batch_create_result::Outcome,
    records_service_server::RecordsService,
};
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use super::{Neighbours, World, one, unused};

/// Returns a page of what was sorted, `page_size` at a time.
fn page<T: Clone>(all: &[T], page_size: u32, token: &str) -> (Vec<T>, String) {
    let from: usize = token.parse().unwrap_or_default();
    let size = usize::try_from(page_size).unwrap();
    let page: Vec<T> = all.iter().skip(from).take(size).cloned().collect();
    let next = from + page.len();
    (page, if next < all.len() { next.to_string() } else { String::new() })
}

fn refused(reason: &str, field: &str) -> Outcome {
    Outcome::Error(records::BatchCreateError {
        code: 3,
        reason: reason.to_owned(),
        message: "refused by the test".to_owned(),
        field_violations: vec![records::FieldViolation {
            field: field.to_owned(),
            description: "something else".to_owned(),
        }],
        ..Default::default()
    })
}

/// Answers a request that was made before: by the id, unless what it made is no longer among `kept`.
fn again<T>(id: &str, kept: &HashMap<String, T>) -> Outcome {
    if kept.contains_key(id) {
        return Outcome::Id(id.to_owned());
    }
    Outcome::Error(records::BatchCreateError {
        code: 9,
        reason: "DELETED_SINCE".to_owned(),
        message: "choose a new request_id".to_owned(),
        ..Default::default()
    })
}

/// Creates one, once for each request id; a name or text `refuse me` is refused.
fn create(world: &World, request: BatchCreateRequest) -> Outcome {
    let mut created = world.created.lock().unwrap();
    let id = Uuid::now_v7().to_string();
    let now = Some(std::time::SystemTime::now().into());
    let request_id = match request.create.unwrap() {
        Create::Patient(request) => {
            let patient = request.patient.unwrap();
            if patient.name == "refuse me" {
                return refused("INVALID_FIELDS", "patient.name");
            }
            if let Some(known) = created.get(&request.request_id) {
                return again(known, &world.patients.lock().unwrap());
            }
            let mut patients = world.patients.lock().unwrap();
            let taken = patients.values().any(|known| {
                let mut numbers = known.medical_record_numbers.iter();
                numbers.any(|number| patient.medical_record_numbers.contains(number))
            });
            if taken {
                return refused("MEDICAL_RECORD_NUMBER_TAKEN", "patient.medical_record_numbers");
            }
            let patient = records::Patient {
                patient_id: id.clone(),
                revision: 1,
                created_at: now,
                updated_at: now,
                ..patient
            };
            patients.insert(id.clone(), patient);
            request.request_id
        }
        Create::SymptomReport(request) => {
            if request.text == "refuse me" {
                return refused("INVALID_FIELDS", "text");
            }
            if let Some(known) = created.get(&request.request_id) {
                return again(known, &world.reports.lock().unwrap());
            }
            let origin = records::FindingOrigin::Caller.into();
            let findings = request.findings.into_iter();
            let report = records::SymptomReport {
                symptom_report_id: id.clone(),
                patient_id: request.patient_id,
                created_at: now,
                text: request.text,
                findings: findings.map(|one| records::Finding { origin, ..one }).collect(),
                reporter: request.reporter,
                reported_at: request.reported_at.or(now),
                revision: 1,
                ..Default::default()
            };
            world.reports.lock().unwrap().insert(id.clone(), report);
            request.request_id
        }
        Create::Note(request) => {
            if let Some(known) = created.get(&request.request_id) {
                return again(known, &world.notes.lock().unwrap());
            }
            let note = records::Note {
                note_id: id.clone(),
                patient_id: request.patient_id,
                created_at: now,
                revision: 1,
                text: request.text,
            };
            world.notes.lock().unwrap().insert(id.clone(), note);
            request.request_id
        }
        Create::StudyLink(_) => return refused("INVALID_FIELDS", "study_link"),
    };
    created.insert(request_id, id.clone());
    Outcome::Id(id)
}

#[tonic::async_trait]
impl RecordsService for Neighbours {
    type WatchChangesStream = tokio_stream::Empty<Result<records::WatchChangesResponse, Status>>;

    async fn create_patient(
        &self,
        _: Request<records::CreatePatientRequest>,
    ) -> Result<Response<records::CreatePatientResponse>, Status> {
        Err(unused())
    }

    async fn get_patient(
        &self,
        request: Request<records::GetPatientRequest>,
    ) -> Result<Response<records::GetPatientResponse>, Status> {
        self.0.note("GetPatient", &request);
        if self.0.patients_away.load(Ordering::SeqCst) {
            return Err(Status::unavailable("the test says so"));
        }
        let patient_id = request.into_inner().patient_id;
        let patient = match one(&self.0.patients, &patient_id) {
            Err(_) if self.0.any_patient.load(Ordering::SeqCst) => {
                records::Patient { patient_id, ..Default::default() }
            }
            known => known?,
        };
        Ok(Response::new(records::GetPatientResponse { patient: Some(patient) }))
    }

    async fn list_patients(
        &self,
        _: Request<records::ListPatientsRequest>,
    ) -> Result<Response<records::ListPatientsResponse>, Status> {
        Err(unused())
    }

    async fn search_patients(
        &self,
        request: Request<records::SearchPatientsRequest>,
    ) -> Result<Response<records::SearchPatientsResponse>, Status> {
        self.0.note("SearchPatients", &request);
        let number = request.into_inner().medical_record_number.unwrap();
        let patients = self.0.patients.lock().unwrap();
        let has = |patient: &&records::Patient| patient.medical_record_numbers.contains(&number);
        let patients = patients.values().filter(has).cloned().collect();
        Ok(Response::new(records::SearchPatientsResponse { patients, ..Default::default() }))
    }

    async fn update_patient(
        &self,
        _: Request<records::UpdatePatientRequest>,
    ) -> Result<Response<records::UpdatePatientResponse>, Status> {
        Err(unused())
    }

    async fn delete_patient(
        &self,
        _: Request<records::DeletePatientRequest>,
    ) -> Result<Response<records::DeletePatientResponse>, Status> {
        Err(unused())
    }

    async fn undelete_patient(
        &self,
        _: Request<records::UndeletePatientRequest>,
    ) -> Result<Response<records::UndeletePatientResponse>, Status> {
        Err(unused())
    }

    async fn erase_patient(
        &self,
        _: Request<records::ErasePatientRequest>,
    ) -> Result<Response<records::ErasePatientResponse>, Status> {
        Err(unused())
    }

    async fn merge_patients(
        &self,
        _: Request<records::MergePatientsRequest>,
    ) -> Result<Response<records::MergePatientsResponse>, Status> {
        Err(unused())
    }

    async fn create_symptom_report(
        &self,
        _: Request<records::CreateSymptomReportRequest>,
    ) -> Result<Response<records::CreateSymptomReportResponse>, Status> {
        Err(unused())
    }

    async fn get_symptom_report(
        &self,
        request: Request<records::GetSymptomReportRequest>,
    ) -> Result<Response<records::GetSymptomReportResponse>, Status> {
        self.0.note("GetSymptomReport", &request);
        let report = one(&self.0.reports, &request.get_ref().symptom_report_id)?;
        Ok(Response::new(records::GetSymptomReportResponse { report: Some(report) }))
    }

    async fn list_symptom_reports(
        &self,
        request: Request<records::ListSymptomReportsRequest>,
    ) -> Result<Response<records::ListSymptomReportsResponse>, Status> {
        self.0.note("ListSymptomReports", &request);
        let request = request.into_inner();
        let reports = self.0.reports.lock().unwrap();
        let of = |report: &&records::SymptomReport| report.patient_id == request.patient_id;
        let mut found: Vec<records::SymptomReport> = reports.values().filter(of).cloned().collect();
        found.sort_by(|one, other| other.symptom_report_id.cmp(&one.symptom_report_id));
        let (reports, next_page_token) = page(&found, request.page_size, &request.page_token);
        Ok(Response::new(records::ListSymptomReportsResponse { reports, next_page_token }))
    }

    async fn link_study(
        &self,
        _: Request<records::LinkStudyRequest>,
    ) -> Result<Response<records::LinkStudyResponse>, Status> {
        Err(unused())
    }

    async fn get_study_link(
        &self,
        _: Request<records::GetStudyLinkRequest>,
    ) -> Result<Response<records::GetStudyLinkResponse>, Status> {
        Err(unused())
    }

    async fn list_study_links(
        &self,
        request: Request<records::ListStudyLinksRequest>,
    ) -> Result<Response<records::ListStudyLinksResponse>, Status> {
        self.0.note("ListStudyLinks", &request);
        let request = request.into_inner();
        let links = self.0.links.lock().unwrap();
        let of = |link: &&records::StudyLink| link.patient_id == request.patient_id;
        let found: Vec<records::StudyLink> = links.values().filter(of).cloned().collect();
        let (links, next_page_token) = page(&found, request.page_size, &request.page_token);
        Ok(Response::new(records::ListStudyLinksResponse { links, next_page_token }))
    }

    async fn create_note(
        &self,
        _: Request<records::CreateNoteRequest>,
    ) -> Result<Response<records::CreateNoteResponse>, Status> {
        Err(unused())
    }

    async fn get_note(
        &self,
        _: Request<records::GetNoteRequest>,
    ) -> Result<Response<records::GetNoteResponse>, Status> {
        Err(unused())
    }

    async fn list_notes(
        &self,
        request: Request<records::ListNotesRequest>,
    ) -> Result<Response<records::ListNotesResponse>, Status> {
        self.0.note("ListNotes", &request);
        let request = request.into_inner();
        let notes = self.0.notes.lock().unwrap();
        let of = |note: &&records::Note| note.patient_id == request.patient_id;
        let mut found: Vec<records::Note> = notes.values().filter(of).cloned().collect();
        found.sort_by(|one, other| other.note_id.cmp(&one.note_id));
        let (notes, next_page_token) = page(&found, request.page_size, &request.page_token);
        Ok(Response::new(records::ListNotesResponse { notes, next_page_token }))
    }

    async fn delete_entry(
        &self,
        _: Request<records::DeleteEntryRequest>,
    ) -> Result<Response<records::DeleteEntryResponse>, Status> {
        Err(unused())
    }

    async fn erase_entry(
        &self,
        _: Request<records::EraseEntryRequest>,
    ) -> Result<Response<records::EraseEntryResponse>, Status> {
        Err(unused())
    }

    async fn batch_create(
        &self,
        request: Request<Streaming<BatchCreateRequest>>,
    ) -> Result<Response<BatchCreateResponse>, Status> {
        let mut stream = request.into_inner();
        let mut results = Vec::new();
        while let Some(message) = stream.message().await? {
            let outcome = Some(create(&self.0, message));
            results.push(BatchCreateResult { outcome });
        }
        Ok(Response::new(BatchCreateResponse { results }))
    }

    async fn watch_changes(
        &self,
        _: Request<records::WatchChangesRequest>,
    ) -> Result<Response<Self::WatchChangesStream>, Status> {
        Err(unused())
    }
}
