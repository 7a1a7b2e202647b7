//! Vocabulary shared by every service: identifiers, days, physical units, image classes, brain regions
//! and error classes.
//!
//! No I/O, no protobuf, no database: this crate may be used by all others and uses none of them.

mod calendar;
mod contact;
mod error;
mod id;
mod modality;
mod region;
mod sctid;
mod spacing;
mod tumour;

pub use calendar::{DAY_AHEAD_MAX, latest_day};
pub use contact::{
    CONTACT_CHARS, LANGUAGE_TAG_CHARS_MAX, is_email_address, is_language_tag, is_phone_number,
    not_of_a_name,
};
pub use error::{DomainError, ErrorCode, FieldViolation, once_per_field};
pub use id::{
    AssessmentId, BlobDigest, DiagnosisId, EventId, HospitalId, InvalidId, PatientId, ReferralId,
    SegmentationId, StudyId, SymptomReportId,
};
pub use modality::{Modality, UnknownModality};
pub use region::{RegionName, Side, Structure, UnknownRegion};
pub use sctid::is_sctid;
pub use spacing::{InvalidVoxelSpacing, VoxelSpacing};
pub use tumour::{TumourClass, TumourRegion, UnknownLabel};
