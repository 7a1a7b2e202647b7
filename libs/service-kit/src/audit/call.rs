//! Who calls, for which hospital, and why: what every operation on patient data needs to know.

use std::time::{Duration, SystemTime};

use http::Extensions;
use neurotriage_access::{AccessError, Grant, Identity, Reach, Refusal};
use neurotriage_audit::{EventError, Purpose, Subject, TraceId};
use neurotriage_domain::{DomainError, ErrorCode, HospitalId, PatientId};

use crate::telemetry;

/// Why a call can't be answered for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It may not.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// The audit can't name who calls or why.
    #[error("caller can't be named in the audit: {0}; get another token")]
    Unnamed(#[source] EventError),
}

impl DomainError for CallError {
    fn code(&self) -> ErrorCode {
        match self {
            Self::Access(error) => error.code(),
            Self::Unnamed(_) => ErrorCode::PermissionDenied,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Self::Access(error) => error.reason(),
            Self::Unnamed(_) => "CALLER_NOT_NAMED",
        }
    }

    fn metadata(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Access(error) => error.metadata(),
            Self::Unnamed(_) => Vec::new(),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Access(error) => error.retry_after(),
            Self::Unnamed(_) => None,
        }
    }
}

/// One call, as the audit notes it and as far as it may reach.
#[derive(Clone, Debug)]
pub struct Call {
    /// Whose data: no other is seen or written.
    pub hospital_id: HospitalId,
    /// Who calls.
    pub actor: Subject,
    /// Why.
    pub purpose: Purpose,
    /// From which trace.
    pub trace: Option<TraceId>,
    /// Until when the caller's token is good.
    good_until: Option<SystemTime>,
    /// How far the call reaches within the hospital; a program's own work reaches all of it.
    grant: Option<Grant>,
}

impl Call {
    /// Returns the call that came with the request that `extensions` are of, in the current trace.
    ///
    /// # Errors
    /// [`CallError::Access`] if it was not checked or is of no hospital; [`CallError::Unnamed`] if the audit
    /// can't name who calls.
    pub fn of(extensions: &Extensions) -> Result<Self, CallError> {
        let grant = Grant::of(extensions)?;
        let identity: &Identity = extensions.get().ok_or(AccessError::CallNotChecked)?;
        Self::new(grant, identity, telemetry::trace_id().as_deref())
    }

    /// Returns the call of `identity` that `grant` was given to, in the trace with this id.
    ///
    /// # Errors
    /// As [`Call::of`].
    pub fn new(
        grant: &Grant,
        identity: &Identity,
        trace_id: Option<&str>,
    ) -> Result<Self, CallError> {
        let named = Self::named(grant.hospital_id()?.clone(), identity, trace_id);
        let named = named.map_err(CallError::Unnamed)?;
        Ok(Self { grant: Some(grant.clone()), ..named })
    }

    /// Returns a call that was refused, to be noted and for nothing else.
    pub(super) fn refused(refusal: &Refusal) -> Result<Self, EventError> {
        let trace_id = telemetry::trace_id();
        Self::named(refusal.hospital_id.clone(), &refusal.identity, trace_id.as_deref())
    }

    fn named(
        hospital_id: HospitalId,
        identity: &Identity,
        trace_id: Option<&str>,
    ) -> Result<Self, EventError> {
        Ok(Self {
            hospital_id,
            actor: Subject::new(identity.subject.clone())?,
            purpose: match &identity.purpose_of_use {
                Some(purpose) => Purpose::new(purpose.as_str().to_owned())?,
                None => Purpose::NOT_STATED,
            },
            trace: trace_id.map(TraceId::parse).transpose()?,
            good_until: identity.good_until,
            grant: None,
        })
    }

    /// Returns the call of a program that does what nobody asked for just now, such as closing what is overdue.
    ///
    /// # Errors
    /// [`CallError::Unnamed`] if `program` is no name.
    pub fn of_program(hospital_id: HospitalId, program: &'static str) -> Result<Self, CallError> {
        Ok(Self {
            hospital_id,
            actor: Subject::new(program.to_owned()).map_err(CallError::Unnamed)?,
            purpose: Purpose::SYSTEM_ADMINISTRATION,
            trace: None,
            good_until: None,
            grant: None,
        })
    }

    /// Checks that the caller's token is still good. Streams that end by themselves at no time ask again and again.
    ///
    /// # Errors
    /// [`CallError::Access`] if it expired.
    pub fn check_expiry(&self) -> Result<(), CallError> {
        match self.good_until {
            Some(until) if SystemTime::now() >= until => Err(AccessError::TokenExpired.into()),
            Some(_) | None => Ok(()),
        }
    }

    /// Returns whether the call is kept to one patient: then whose data it touches must be known, and checked.
    pub fn is_of_one_patient(&self) -> bool {
        self.grant.as_ref().is_some_and(|grant| matches!(grant.reach(), Reach::Patient(..)))
    }

    /// Checks that the call may touch what belongs to `patient_id`.
    ///
    /// # Errors
    /// [`CallError::Access`] if it may not.
    pub fn check_patient(&self, patient_id: PatientId) -> Result<(), CallError> {
        let Some(grant) = &self.grant else { return Ok(()) };
        Ok(grant.check_patient(patient_id)?)
    }
}
