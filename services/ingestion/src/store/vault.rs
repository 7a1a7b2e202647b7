//! What callers name a study and its files, sealed: they may write a patient's name there.

use std::collections::BTreeMap;

use neurotriage_domain::{HospitalId, Modality};
use neurotriage_sealing::{Keyring, KeyringError, Place, SealError, Sealed, Sealer};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::broken;
use crate::{error::StudyError, study::Study};

/// The names of one study, as they are sealed.
#[derive(Serialize, Deserialize)]
pub(super) struct Names {
    pub(super) accession: String,
    pub(super) file_names: BTreeMap<Modality, String>,
}

impl Names {
    pub(super) fn of(study: &Study) -> Self {
        let file_names = study.volumes.iter().map(|it| (it.modality, it.file_name.clone()));
        Self { accession: study.accession.clone(), file_names: file_names.collect() }
    }
}

/// The keys of the store at work.
#[derive(Clone, Debug)]
pub(super) struct Vault {
    sealer: Sealer,
}

fn place(hospital_id: &HospitalId, study_id: Uuid) -> Place<'_> {
    Place { tenant: hospital_id.as_str(), table: "study", column: "names", row: study_id }
}

impl Vault {
    /// Opens the vault with the keys of `keyring`.
    pub(super) fn new(keyring: &Keyring) -> Result<Self, KeyringError> {
        Ok(Self { sealer: Sealer::new(keyring)? })
    }

    pub(super) fn seal(
        &self,
        hospital_id: &HospitalId,
        study_id: Uuid,
        names: &Names,
    ) -> Result<String, StudyError> {
        let sealed = self.sealer.seal_json(&place(hospital_id, study_id), names);
        sealed.map(Sealed::into_string).map_err(broken::<SealError>("seal names"))
    }

    pub(super) fn open(
        &self,
        hospital_id: &HospitalId,
        study_id: Uuid,
        stored: &str,
    ) -> Result<Names, StudyError> {
        Sealed::parse(stored.to_owned())
            .and_then(|sealed| self.sealer.open_json(&place(hospital_id, study_id), &sealed))
            .map_err(broken("open names"))
    }

    /// Seals again, if it was not sealed with the active key. What this version does not know of stays.
    pub(super) fn reseal(
        &self,
        hospital_id: &HospitalId,
        study_id: Uuid,
        stored: &str,
    ) -> Result<Option<String>, StudyError> {
        let again = || {
            let sealed = Sealed::parse(stored.to_owned())?;
            if !self.sealer.needs_rotation(&sealed) {
                return Ok(None);
            }
            let sealed = self.sealer.reseal(&place(hospital_id, study_id), &sealed)?;
            Ok(Some(sealed.into_string()))
        };
        again().map_err(broken::<SealError>("seal names again"))
    }
}
