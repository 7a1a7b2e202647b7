//! How far an allowed call reaches.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use http::Extensions;
use neurotriage_domain::{HospitalId, PatientId};

use crate::error::AccessError;

/// Whose data a call may touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// What all hospitals share.
    Deployment,
    /// Everything of one hospital.
    Hospital(HospitalId),
    /// One patient of one hospital.
    Patient(HospitalId, PatientId),
}

/// What the layer allowed. In the extensions of every request that it let through.
///
/// Clones are of the same call: what one notes, all know.
#[derive(Clone, Debug)]
pub struct Grant {
    reach: Reach,
    patient_checked: Arc<AtomicBool>,
}

impl Grant {
    pub(crate) fn new(reach: Reach) -> Self {
        Self { reach, patient_checked: Arc::new(AtomicBool::new(false)) }
    }

    /// Returns the grant of the request that `extensions` are of.
    ///
    /// # Errors
    /// [`AccessError::CallNotChecked`] if the request came past the layer.
    pub fn of(extensions: &Extensions) -> Result<&Self, AccessError> {
        extensions.get().ok_or(AccessError::CallNotChecked)
    }

    /// Returns whose data the call may touch.
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// Returns the hospital whose rows the call may touch: the tenant of its transactions.
    ///
    /// # Errors
    /// [`AccessError::HospitalMissing`] if the call is about what all share.
    pub fn hospital_id(&self) -> Result<&HospitalId, AccessError> {
        match &self.reach {
            Reach::Hospital(hospital_id) | Reach::Patient(hospital_id, _) => Ok(hospital_id),
            Reach::Deployment => Err(AccessError::HospitalMissing),
        }
    }

    /// Checks that the call may touch what belongs to `patient_id`.
    ///
    /// Every handler of an RPC whose rule says [`Owner::Patient`](crate::rules::Owner::Patient) calls this for each
    /// patient, before it changes or answers anything. For a call that is kept to one patient, the layer
    /// withholds an answer that was given without.
    ///
    /// # Errors
    /// [`AccessError::OtherPatient`] if it may not, and for what belongs to no patient.
    pub fn check_patient(&self, patient_id: PatientId) -> Result<(), AccessError> {
        match &self.reach {
            Reach::Hospital(_) => Ok(()),
            Reach::Patient(_, allowed) if *allowed == patient_id => {
                self.patient_checked.store(true, Ordering::Release);
                Ok(())
            }
            Reach::Patient(..) | Reach::Deployment => Err(AccessError::OtherPatient),
        }
    }

    /// Returns whether an answer may go out as far as patients are concerned.
    pub(crate) fn may_answer(&self) -> bool {
        match self.reach {
            Reach::Deployment | Reach::Hospital(_) => true,
            Reach::Patient(..) => self.patient_checked.load(Ordering::Acquire),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{HOSPITAL, PATIENT};

    #[test]
    fn a_grant_reaches_as_far_as_it_says() {
        let hospital_id: HospitalId = HOSPITAL.parse().unwrap();
        let patient_id: PatientId = PATIENT.parse().unwrap();
        let other = PatientId::generate();

        let grant = Grant::new(Reach::Hospital(hospital_id.clone()));
        assert_eq!(grant.hospital_id(), Ok(&hospital_id));
        assert_eq!(grant.check_patient(other), Ok(()));

        let grant = Grant::new(Reach::Patient(hospital_id.clone(), patient_id));
        assert_eq!(grant.hospital_id(), Ok(&hospital_id));
        assert_eq!(grant.check_patient(patient_id), Ok(()));
        assert_eq!(grant.check_patient(other), Err(AccessError::OtherPatient));

        let grant = Grant::new(Reach::Deployment);
        assert_eq!(grant.hospital_id(), Err(AccessError::HospitalMissing));
        assert_eq!(grant.check_patient(other), Err(AccessError::OtherPatient));
    }

    #[test]
    fn a_call_for_one_patient_may_answer_only_after_the_check() {
        let patient_id: PatientId = PATIENT.parse().unwrap();
        let grant = Grant::new(Reach::Patient(HOSPITAL.parse().unwrap(), patient_id));
        assert!(!grant.may_answer());
        assert!(grant.clone().check_patient(PatientId::generate()).is_err());
        assert!(!grant.may_answer(), "a check that failed is none");
        grant.clone().check_patient(patient_id).unwrap();
        assert!(grant.may_answer());
    }

    #[test]
    fn a_request_past_the_layer_has_no_grant() {
        let mut extensions = Extensions::new();
        assert_eq!(Grant::of(&extensions).unwrap_err(), AccessError::CallNotChecked);
        extensions.insert(Grant::new(Reach::Deployment));
        assert_eq!(Grant::of(&extensions).unwrap().reach(), &Reach::Deployment);
    }
}
