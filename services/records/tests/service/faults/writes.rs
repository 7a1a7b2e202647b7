//! What callers write, and what they know of it.

use std::collections::BTreeMap;

use neurotriage_proto::records::v1::{
    CreatePatientRequest, CreateSymptomReportRequest, ErasePatientRequest, GetPatientRequest,
    MedicalRecordNumber, MergePatientsRequest, Patient, UpdatePatientRequest,
    records_service_client::RecordsServiceClient,
};
use prost_types::FieldMask;
use tonic::{Status, transport::Channel};
use uuid::Uuid;

/// A create, and what the service said about it.
#[derive(Clone, Debug)]
pub(crate) struct Create {
    pub(crate) request_id: Uuid,
    pub(crate) content: Content,
    /// Id of what is stored, as acknowledged; none if the caller gave up.
    pub(crate) acknowledged: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) enum Content {
    /// Number and name of the patient.
    Patient { number: String, name: String },
    /// Id of the patient, and what is reported.
    Report { patient_id: String, text: String },
}

/// A patient whose create was acknowledged, as their caller knows them.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) patient_id: String,
    pub(crate) numbers: Vec<String>,
    /// As acknowledged last.
    pub(crate) name: String,
    /// As acknowledged last.
    pub(crate) revision: u64,
    /// Names that were sent with that revision and not acknowledged: one of them may be there.
    pub(crate) tried: Vec<String>,
    pub(crate) fate: Fate,
}

/// What was acknowledged last about where a patient is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Here,
    MergedInto(String),
    Erased,
}

impl Known {
    pub(crate) fn new(patient_id: String, number: String, name: String) -> Self {
        let (numbers, fate) = (vec![number], Fate::Here);
        Self { patient_id, numbers, name, revision: 1, tried: Vec::new(), fate }
    }

    /// Takes over what is there: nothing that was tried before can come any more.
    pub(crate) fn settle(&mut self, name: String, revision: u64) {
        self.name = name;
        self.revision = revision;
        self.tried.clear();
    }
}

/// What all callers wrote, and what became of it.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) creates: Vec<Create>,
    pub(crate) patients: BTreeMap<String, Known>,
}

impl Written {
    /// Returns who remains of a patient, or nothing if they were erased.
    pub(crate) fn remains(&self, patient_id: &str) -> Option<&Known> {
        let known = &self.patients[patient_id];
        match &known.fate {
            Fate::Here => Some(known),
            Fate::MergedInto(into) => self.remains(into),
            Fate::Erased => None,
        }
    }
}

/// What is asked of the service at a time.
#[derive(Debug)]
pub(crate) enum Call<'a> {
    Create(&'a Create),
    Read(&'a Known),
    Rename { patient: &'a Known, name: &'a str },
    Merge { kept: &'a Known, duplicate: &'a Known },
    Erase(&'a Known),
}

/// What is there after a call, as far as it says.
#[derive(Debug, Default)]
pub(crate) struct There {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) revision: u64,
}

impl From<Option<Patient>> for There {
    fn from(patient: Option<Patient>) -> Self {
        let Patient { patient_id: id, name, revision, .. } = patient.unwrap_or_default();
        Self { id, name, revision }
    }
}

/// Makes a call once.
pub(crate) async fn send(
    client: &mut RecordsServiceClient<Channel>,
    call: &Call<'_>,
) -> Result<There, Status> {
    match call {
        Call::Create(new) => Ok(There { id: create(client, new).await?, ..There::default() }),
        Call::Read(known) => {
            let request = GetPatientRequest { patient_id: known.patient_id.clone() };
            Ok(client.get_patient(request).await?.into_inner().patient.into())
        }
        Call::Rename { patient, name } => {
            let patient = Patient {
                patient_id: patient.patient_id.clone(),
                revision: patient.revision,
                name: (*name).to_owned(),
                ..Patient::default()
            };
            let update_mask = Some(FieldMask { paths: vec!["name".to_owned()] });
            let request = UpdatePatientRequest { patient: Some(patient), update_mask };
            Ok(client.update_patient(request).await?.into_inner().patient.into())
        }
        Call::Merge { kept, duplicate } => {
            let request = MergePatientsRequest {
                patient_id: kept.patient_id.clone(),
                revision: kept.revision,
                duplicate_patient_id: duplicate.patient_id.clone(),
                duplicate_revision: duplicate.revision,
            };
            Ok(client.merge_patients(request).await?.into_inner().patient.into())
        }
        Call::Erase(known) => {
            let (patient_id, revision) = (known.patient_id.clone(), known.revision);
            client.erase_patient(ErasePatientRequest { patient_id, revision }).await?;
            Ok(There::default())
        }
    }
}

/// Sends a create once; returns the id of what is stored.
pub(crate) async fn create(
    client: &mut RecordsServiceClient<Channel>,
    create: &Create,
) -> Result<String, Status> {
    let request_id = create.request_id.to_string();
    match &create.content {
        Content::Patient { number, name } => {
            let request = CreatePatientRequest { request_id, patient: Some(patient(number, name)) };
            let response = client.create_patient(request).await?.into_inner();
            Ok(response.patient.unwrap_or_default().patient_id)
        }
        Content::Report { patient_id, text } => {
            let request = CreateSymptomReportRequest {
                request_id,
                patient_id: patient_id.clone(),
                text: text.clone(),
                ..CreateSymptomReportRequest::default()
            };
            let response = client.create_symptom_report(request).await?.into_inner();
            Ok(response.report.unwrap_or_default().symptom_report_id)
        }
    }
}

pub(crate) const BIRTH_DATE: &str = "1960-02-29";

fn patient(number: &str, name: &str) -> Patient {
    Patient {
        medical_record_numbers: vec![MedicalRecordNumber {
            issuer: "Sample Hospital".to_owned(),
            number: number.to_owned(),
        }],
        name: name.to_owned(),
        birth_date: BIRTH_DATE.to_owned(),
        ..Patient::default()
    }
}
