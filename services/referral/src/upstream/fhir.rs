//! What FHIR takes from the other services, and what it gives to the records.

mod convert;
mod write;

use std::{future::Future, time::Duration};

use neurotriage_domain::{PatientId, SegmentationId};
use neurotriage_fhir::{
    finding::{StoredNote, StoredReport},
    patient::{MedicalRecordNumber, StoredPatient},
    story::{Segmentation, Study},
};
use neurotriage_proto::{
    ingestion::v1::ListStudiesRequest,
    records::v1::{
        self as records, BatchCreateRequest, GetPatientRequest, ListNotesRequest,
        ListStudyLinksRequest, ListSymptomReportsRequest, SearchPatientsRequest,
    },
    segmentation::v1::GetSegmentationRequest,
};
use neurotriage_service_kit::client::Upstream;
use time::OffsetDateTime;
use tonic::{Code, Status};
use uuid::Uuid;

use super::GrpcSources;
use crate::fhir::{Create, FhirError, Records, RefusedCreate, Span, StorySources};

/// Longest piece of another service's message that is repeated.
const MESSAGE_CHARS_MAX: usize = 256;

/// Entries on a page of a list.
const PAGE_SIZE: u32 = 200;

/// Deadline of one stream of creates.
const BATCH_DEADLINE: Duration = Duration::from_secs(90);

/// Most pages of one list: more than any span asks for.
const PAGES_MAX: usize = 1_000;

fn failed(service: &'static str) -> impl Fn(Status) -> FhirError {
    move |status| {
        // The token of the caller lacks what that service asks for.
        if status.code() == Code::PermissionDenied {
            let message = status.message().chars().take(MESSAGE_CHARS_MAX).collect();
            return FhirError::Denied { service, message };
        }
        FhirError::Failed(Box::new(Upstream::new(service, status)))
    }
}

/// One page, and the token of the next.
type Page<T> = (Vec<T>, String);

/// What is done with more than there may be.
#[derive(Clone, Copy)]
enum Excess {
    Refused(&'static str),
    LeftOut,
}

/// Collects pages that come newest first, until something is older than `span.from`.
async fn pages<T, F: Future<Output = Result<Page<T>, FhirError>>>(
    span: Span,
    excess: Excess,
    created_at: impl Fn(&T) -> Option<OffsetDateTime>,
    mut next: impl FnMut(String) -> F,
) -> Result<Vec<T>, FhirError> {
    let mut all = Vec::new();
    let mut token = String::new();
    for _ in 0..PAGES_MAX {
        let (page, next_token) = next(token).await?;
        for one in page {
            if let (Some(from), Some(at)) = (span.from, created_at(&one))
                && at < from
            {
                return Ok(all);
            }
            if all.len() == span.max {
                return match excess {
                    Excess::Refused(what) => Err(FhirError::TooLarge { what }),
                    Excess::LeftOut => Ok(all),
                };
            }
            all.push(one);
        }
        if next_token.is_empty() {
            return Ok(all);
        }
        token = next_token;
    }
    Err(FhirError::Malformed { service: "upstream", what: "pages without end" })
}

impl GrpcSources {
    async fn reports(
        &self,
        patient_id: PatientId,
        span: Span,
        excess: Excess,
    ) -> Result<Vec<StoredReport>, FhirError> {
        let next = |page_token| async move {
            let message = ListSymptomReportsRequest {
                patient_id: patient_id.to_string(),
                page_size: PAGE_SIZE,
                page_token,
                created_from: span.from.map(convert::timestamp),
                ..Default::default()
            };
            let mut client = self.records.clone();
            let answer = client.list_symptom_reports(self.request(message)).await;
            let answer = answer.map_err(failed("records"))?.into_inner();
            let reports = answer.reports.into_iter().map(convert::report);
            Ok((reports.collect::<Result<Vec<_>, _>>()?, answer.next_page_token))
        };
        pages(span, excess, |report: &StoredReport| report.created_at, next).await
    }

    async fn notes(
        &self,
        patient_id: PatientId,
        span: Span,
        excess: Excess,
    ) -> Result<Vec<StoredNote>, FhirError> {
        let next = |page_token| async move {
            let patient_id = patient_id.to_string();
            let message = ListNotesRequest { patient_id, page_size: PAGE_SIZE, page_token };
            let answer = self.records.clone().list_notes(self.request(message)).await;
            let answer = answer.map_err(failed("records"))?.into_inner();
            let notes = answer.notes.into_iter().map(convert::note);
            Ok((notes.collect::<Result<Vec<_>, _>>()?, answer.next_page_token))
        };
        pages(span, excess, |note: &StoredNote| note.created_at, next).await
    }
}

impl StorySources for GrpcSources {
    async fn stored_patient(&self, patient_id: PatientId) -> Result<StoredPatient, FhirError> {
        let message = GetPatientRequest { patient_id: patient_id.to_string() };
        let answer = self.records.clone().get_patient(self.request(message)).await;
        match answer {
            Ok(answer) => convert::patient(answer.into_inner()),
            Err(status) if status.code() == Code::NotFound => {
                Err(FhirError::PatientNotFound { patient_id })
            }
            Err(status) => Err(failed("records")(status)),
        }
    }

    async fn stored_reports(
        &self,
        patient_id: PatientId,
        span: Span,
    ) -> Result<Vec<StoredReport>, FhirError> {
        self.reports(patient_id, span, Excess::Refused("symptom reports")).await
    }

    async fn stored_notes(
        &self,
        patient_id: PatientId,
        span: Span,
    ) -> Result<Vec<StoredNote>, FhirError> {
        self.notes(patient_id, span, Excess::Refused("notes")).await
    }

    async fn linked_studies(
        &self,
        patient_id: PatientId,
        span: Span,
    ) -> Result<Vec<Study>, FhirError> {
        let next = |page_token| async move {
            let patient_id = patient_id.to_string();
            let message = ListStudyLinksRequest { patient_id, page_size: PAGE_SIZE, page_token };
            let answer = self.records.clone().list_study_links(self.request(message)).await;
            let answer = answer.map_err(failed("records"))?.into_inner();
            let links = answer.links.into_iter().map(convert::link);
            Ok((links.collect::<Result<Vec<_>, _>>()?, answer.next_page_token))
        };
        let created_at = |(at, _): &(Option<OffsetDateTime>, Study)| *at;
        let links = pages(span, Excess::Refused("study links"), created_at, next).await?;
        Ok(links.into_iter().map(|(_, study)| study).collect())
    }

    async fn uploaded_studies(
        &self,
        patient_id: PatientId,
        span: Span,
    ) -> Result<Vec<Study>, FhirError> {
        let next = |page_token| async move {
            let patient_id = patient_id.to_string();
            let message = ListStudiesRequest { patient_id, page_size: PAGE_SIZE, page_token };
            let answer = self.ingestion.clone().list_studies(self.request(message)).await;
            let answer = match answer {
                // A patient without studies.
                Err(status) if status.code() == Code::NotFound => {
                    return Ok((Vec::new(), String::new()));
                }
                other => other.map_err(failed("ingestion"))?.into_inner(),
            };
            let studies = answer.studies.into_iter().map(convert::study);
            Ok((studies.collect::<Result<Vec<_>, _>>()?, answer.next_page_token))
        };
        pages(span, Excess::Refused("studies"), |study: &Study| study.stored_at, next).await
    }

    async fn found_segmentation(
        &self,
        segmentation_id: SegmentationId,
    ) -> Result<Option<Segmentation>, FhirError> {
        let message = GetSegmentationRequest { segmentation_id: segmentation_id.to_string() };
        let answer = self.segmentation.clone().get_segmentation(self.request(message)).await;
        match answer {
            Ok(answer) => convert::segmentation(answer.into_inner()).map(Some),
            Err(status) if status.code() == Code::NotFound => Ok(None),
            Err(status) => Err(failed("segmentation")(status)),
        }
    }
}

impl Records for GrpcSources {
    async fn find_patient(
        &self,
        number: &MedicalRecordNumber,
    ) -> Result<Option<StoredPatient>, FhirError> {
        let message = SearchPatientsRequest {
            medical_record_number: Some(write::number(number)),
            ..Default::default()
        };
        let answer = self.records.clone().search_patients(self.request(message)).await;
        let answer = answer.map_err(failed("records"))?.into_inner();
        answer.patients.into_iter().next().map(convert::found_patient).transpose()
    }

    async fn newest_reports(
        &self,
        patient_id: PatientId,
        max: usize,
    ) -> Result<Vec<StoredReport>, FhirError> {
        self.reports(patient_id, Span { from: None, max }, Excess::LeftOut).await
    }

    async fn newest_notes(
        &self,
        patient_id: PatientId,
        max: usize,
    ) -> Result<Vec<StoredNote>, FhirError> {
        self.notes(patient_id, Span { from: None, max }, Excess::LeftOut).await
    }

    async fn create(
        &self,
        creates: Vec<Create>,
    ) -> Result<Vec<Result<Uuid, RefusedCreate>>, FhirError> {
        let messages: Vec<BatchCreateRequest> = creates.iter().map(write::create).collect();
        let request = self.request_within(BATCH_DEADLINE, tokio_stream::iter(messages));
        let answer = self.records.clone().batch_create(request).await;
        let results = answer.map_err(failed("records"))?.into_inner().results;
        results.into_iter().map(result).collect()
    }
}

fn result(result: records::BatchCreateResult) -> Result<Result<Uuid, RefusedCreate>, FhirError> {
    use records::batch_create_result::Outcome;
    match result.outcome {
        Some(Outcome::Id(id)) => {
            let id = Uuid::try_parse(&id);
            id.map(Ok).map_err(|_| convert::malformed("records", "id is no UUID"))
        }
        Some(Outcome::Error(error)) => {
            let fields = error.field_violations.iter();
            let mut problems: Vec<String> =
                fields.map(|wrong| format!("{}: {}", wrong.field, wrong.description)).collect();
            if problems.is_empty() && !error.message.is_empty() {
                problems.push(error.message);
            }
            problems.truncate(8);
            Ok(Err(RefusedCreate { reason: error.reason, problems }))
        }
        None => Err(convert::malformed("records", "a result without outcome")),
    }
}

#[cfg(test)]
mod tests {
    use neurotriage_domain::{DomainError as _, ErrorCode};

    use super::*;

    #[test]
    fn a_token_that_lacks_a_scope_elsewhere_is_told_so() {
        let lacks = "bearer token lacks a scope for this call; it needs user/Note.s";
        let error = failed("records")(Status::permission_denied(lacks));
        assert_eq!(
            (error.code(), error.reason()),
            (ErrorCode::PermissionDenied, "UPSTREAM_DENIED")
        );
        assert!(error.to_string().ends_with(lacks), "{error}");
        let away = failed("records")(Status::unavailable("10.0.0.7"));
        assert_eq!(away.code(), ErrorCode::Unavailable);
        assert!(away.retry_after().is_some());
    }

    #[tokio::test]
    async fn pages_end_at_the_time_and_at_the_most_that_is_asked_for() {
        let at = |second: i64| OffsetDateTime::from_unix_timestamp(second).unwrap();
        // Ten to a page, newest first: 99, 98, ... 0.
        let next = |token: String| async move {
            let from: i64 = if token.is_empty() { 99 } else { token.parse().unwrap() };
            let page: Vec<i64> = (0..10).map(|back| from - back).collect();
            let rest = from - 10;
            Ok((page, if rest < 0 { String::new() } else { rest.to_string() }))
        };
        let created_at = |second: &i64| Some(at(*second));
        let refused = Excess::Refused("seconds");
        let all = Span { from: None, max: 100 };
        assert_eq!(pages(all, refused, created_at, next).await.unwrap().len(), 100);
        let late = Span { from: Some(at(95)), max: 100 };
        assert_eq!(pages(late, refused, created_at, next).await.unwrap(), [99, 98, 97, 96, 95]);
        let few = Span { from: None, max: 15 };
        let error = pages(few, refused, created_at, next).await.unwrap_err();
        assert_eq!(error.reason(), "EXPORT_TOO_LARGE");
        assert_eq!(pages(few, Excess::LeftOut, created_at, next).await.unwrap().len(), 15);
        let endless = |_: String| async { Ok((Vec::<i64>::new(), "on".to_owned())) };
        assert!(pages(all, refused, created_at, endless).await.is_err());
    }
}
