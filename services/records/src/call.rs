//! Who calls, for which hospital, and why: what every operation on records needs to know.

use neurotriage_audit::{EventError, Purpose, Subject, Tenant, TraceId};
use neurotriage_domain::{HospitalId, PatientId};
use neurotriage_service_kit::access::{Grant, Identity};

use crate::error::RecordsError;

/// One call, as the audit notes it and as far as it may reach.
#[derive(Clone, Debug)]
pub struct Call {
    /// Whose records: no others are seen or written.
    pub hospital_id: HospitalId,
    /// How far the call reaches within the hospital.
    pub grant: Grant,
    /// Who calls.
    pub actor: Subject,
    /// Why.
    pub purpose: Purpose,
    /// From which trace.
    pub trace: Option<TraceId>,
}

impl Call {
    /// Returns the call of `identity` that `grant` was given to, in the trace with this id.
    ///
    /// # Errors
    /// [`RecordsError::Access`] if the call is of no hospital; [`RecordsError::Caller`] if the audit
    /// can't name who calls.
    pub fn new(
        grant: &Grant,
        identity: &Identity,
        trace_id: Option<&str>,
    ) -> Result<Self, RecordsError> {
        let hospital_id = grant.hospital_id().map_err(RecordsError::Access)?.clone();
        let unnamed = |source: EventError| RecordsError::Caller { source };
        let purpose = match &identity.purpose_of_use {
            Some(purpose) => Purpose::new(purpose.as_str().to_owned()).map_err(unnamed)?,
            None => Purpose::NOT_STATED,
        };
        Ok(Self {
            hospital_id,
            grant: grant.clone(),
            actor: Subject::new(identity.subject.clone()).map_err(unnamed)?,
            purpose,
            trace: trace_id.map(TraceId::parse).transpose().map_err(unnamed)?,
        })
    }

    /// Checks that the call may touch what belongs to `patient_id`.
    ///
    /// # Errors
    /// [`RecordsError::Access`] if it may not.
    pub fn check_patient(&self, patient_id: PatientId) -> Result<(), RecordsError> {
        self.grant.check_patient(patient_id).map_err(RecordsError::Access)
    }

    /// Returns the owner of the audit's chains.
    pub(crate) fn tenant(&self) -> Result<Tenant, RecordsError> {
        Tenant::new(self.hospital_id.as_str().to_owned())
            .map_err(|source| RecordsError::Caller { source })
    }
}
