//! What the forms of the directory share: the check of a list that is to be taken out, and how much
//! of a wrong text is repeated.

use std::collections::HashSet;

use neurotriage_domain::HospitalId;
pub(crate) use neurotriage_fhir::bundle::shown;

use crate::hospital::{Capability, Field, FieldProblem, Hospital};

/// Why a directory cannot be taken out: import would refuse it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// A field of a hospital breaks its rule.
    #[error("hospital {hospital_id} has a wrong {source}")]
    Field {
        /// Which hospital.
        hospital_id: HospitalId,
        /// Which field, and what would be right.
        source: FieldProblem,
    },
    /// Two hospitals have one id.
    #[error("hospital {hospital_id} is listed twice; remove one of the two")]
    Repeated {
        /// Which hospital.
        hospital_id: HospitalId,
    },
    /// More hospitals than one file may hold.
    #[error("{hospitals} hospitals are too many for one file; write at most {hospitals_max}")]
    TooManyHospitals {
        /// How many there are.
        hospitals: usize,
        /// How many are allowed.
        hospitals_max: usize,
    },
    /// The file would be too large.
    #[error("file would have {bytes} bytes; write fewer hospitals, at most {bytes_max} bytes")]
    TooLarge {
        /// How large it would be.
        bytes: usize,
        /// How large it may be.
        bytes_max: usize,
    },
}

pub(crate) fn check_all(hospitals: &[Hospital], hospitals_max: usize) -> Result<(), ExportError> {
    if hospitals.len() > hospitals_max {
        return Err(ExportError::TooManyHospitals { hospitals: hospitals.len(), hospitals_max });
    }
    let mut seen = HashSet::with_capacity(hospitals.len());
    for hospital in hospitals {
        let hospital_id = || hospital.hospital_id.clone();
        hospital
            .check()
            .map_err(|source| ExportError::Field { hospital_id: hospital_id(), source })?;
        if !seen.insert(&hospital.hospital_id) {
            return Err(ExportError::Repeated { hospital_id: hospital_id() });
        }
    }
    Ok(())
}

pub(crate) fn check_size(text: String, bytes_max: usize) -> Result<String, ExportError> {
    if text.len() > bytes_max {
        return Err(ExportError::TooLarge { bytes: text.len(), bytes_max });
    }
    Ok(text)
}

pub(crate) fn hospital_id(text: &str) -> Result<HospitalId, FieldProblem> {
    if text.is_empty() {
        let problem = "is empty; write 1 to 64 of a-z, 0-9 and -";
        return Err(FieldProblem::new(Field::HospitalId, problem));
    }
    text.parse().map_err(|_| {
        let problem = format!("`{}` is not an id; write 1 to 64 of a-z, 0-9 and -", shown(text));
        FieldProblem::new(Field::HospitalId, problem)
    })
}

pub(crate) fn capability(text: &str) -> Result<Capability, FieldProblem> {
    text.parse().map_err(|_| {
        let names = capability_names();
        let problem = format!("`{}` is not a capability; write one of {names}", shown(text));
        FieldProblem::new(Field::Capabilities, problem)
    })
}

pub(crate) fn capability_names() -> String {
    Capability::ALL.iter().map(|one| one.as_str()).collect::<Vec<_>>().join(", ")
}

/// Returns the problem of a place that is off the earth: its latitude if that is wrong, else its
/// longitude.
pub(crate) fn off_earth(latitude: f64, longitude: f64) -> FieldProblem {
    if latitude.abs() <= 90.0 {
        let problem = format!("{longitude} is off the earth; write degrees from -180 to 180");
        return FieldProblem::new(Field::LongitudeDegrees, problem);
    }
    let problem = format!("{latitude} is off the earth; write degrees from -90 to 90");
    FieldProblem::new(Field::LatitudeDegrees, problem)
}
