//! Tables, and rows from and to what the domain knows.

use sea_orm::ActiveValue::Set;

use crate::{
    coding::Finding,
    error::RecordsError,
    patient::{Coordinates, Handedness, Patient, PatientDetails, Sex},
    records::New,
    symptoms::SymptomReport,
};

/// Table `patient`.
pub mod patient_row {
    #![expect(missing_docs, reason = "columns; documented in the migration")]

    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "patient")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub patient_id: Uuid,
        pub request_id: Uuid,
        pub content_hash: String,
        pub revision: i64,
        pub created_at: TimeDateTimeWithTimeZone,
        pub medical_record_number: String,
        pub issuer: String,
        pub name: String,
        pub birth_date: Option<TimeDate>,
        pub sex: String,
        pub handedness: String,
        pub home_latitude_degrees: Option<f64>,
        pub home_longitude_degrees: Option<f64>,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// Table `symptom_report`.
pub mod symptom_report_row {
    #![expect(missing_docs, reason = "columns; documented in the migration")]

    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "symptom_report")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub symptom_report_id: Uuid,
        pub request_id: Uuid,
        pub content_hash: String,
        pub patient_id: Uuid,
        pub created_at: TimeDateTimeWithTimeZone,
        pub text: String,
        pub findings: Json,
        pub not_understood: Json,
        pub lexicon_version: String,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// Table `audit`.
pub mod audit_row {
    #![expect(missing_docs, reason = "columns; documented in the migration")]

    use sea_orm::entity::prelude::*;

    #[sea_orm::model]
    #[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
    #[sea_orm(table_name = "audit")]
    pub struct Model {
        #[sea_orm(primary_key, auto_increment = false)]
        pub audit_id: Uuid,
        pub occurred_at: TimeDateTimeWithTimeZone,
        pub actor: String,
        pub action: String,
        pub entity_id: Uuid,
    }

    impl ActiveModelBehavior for ActiveModel {}
}

/// A row holds what this version does not understand.
#[derive(Debug, thiserror::Error)]
#[error("column {column} holds an unknown value")]
struct UnknownValue {
    column: &'static str,
}

fn unknown(operation: &'static str, column: &'static str) -> RecordsError {
    RecordsError::Store { operation, source: Box::new(UnknownValue { column }) }
}

fn json(operation: &'static str) -> impl Fn(serde_json::Error) -> RecordsError {
    move |error| RecordsError::Store { operation, source: Box::new(error) }
}

pub(super) fn new_patient(new: &New<Patient>) -> Result<patient_row::ActiveModel, RecordsError> {
    let Patient { patient_id, revision, created_at, details } = new.record.clone();
    let revision =
        i64::try_from(revision).map_err(|_| unknown("encode patient row", "revision"))?;
    Ok(patient_row::ActiveModel {
        patient_id: Set(patient_id.as_uuid()),
        request_id: Set(new.request_id),
        content_hash: Set(new.content_hash.clone()),
        revision: Set(revision),
        created_at: Set(created_at),
        medical_record_number: Set(details.medical_record_number),
        issuer: Set(details.issuer),
        name: Set(details.name),
        birth_date: Set(details.birth_date),
        sex: Set(sex_text(details.sex).to_owned()),
        handedness: Set(handedness_text(details.handedness).to_owned()),
        home_latitude_degrees: Set(details.home.map(|home| home.latitude_degrees)),
        home_longitude_degrees: Set(details.home.map(|home| home.longitude_degrees)),
    })
}

pub(super) fn patient(row: patient_row::Model) -> Result<Patient, RecordsError> {
    const DECODE: &str = "decode patient row";
    let home = match (row.home_latitude_degrees, row.home_longitude_degrees) {
        (Some(latitude_degrees), Some(longitude_degrees)) => {
            Some(Coordinates { latitude_degrees, longitude_degrees })
        }
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => return Err(unknown(DECODE, "home")),
    };
    Ok(Patient {
        patient_id: row.patient_id.into(),
        revision: u64::try_from(row.revision).map_err(|_| unknown(DECODE, "revision"))?,
        created_at: row.created_at,
        details: PatientDetails {
            medical_record_number: row.medical_record_number,
            issuer: row.issuer,
            name: row.name,
            birth_date: row.birth_date,
            sex: sex(&row.sex).ok_or_else(|| unknown(DECODE, "sex"))?,
            handedness: handedness(&row.handedness).ok_or_else(|| unknown(DECODE, "handedness"))?,
            home,
        },
    })
}

pub(super) fn new_report(
    new: &New<SymptomReport>,
) -> Result<symptom_report_row::ActiveModel, RecordsError> {
    let encode = json("encode symptom report row");
    let report = &new.record;
    Ok(symptom_report_row::ActiveModel {
        symptom_report_id: Set(report.symptom_report_id.as_uuid()),
        request_id: Set(new.request_id),
        content_hash: Set(new.content_hash.clone()),
        patient_id: Set(report.patient_id.as_uuid()),
        created_at: Set(report.created_at),
        text: Set(report.text.clone()),
        findings: Set(serde_json::to_value(&report.findings).map_err(&encode)?),
        not_understood: Set(serde_json::to_value(&report.not_understood).map_err(&encode)?),
        lexicon_version: Set(report.lexicon_version.clone()),
    })
}

pub(super) fn report(row: symptom_report_row::Model) -> Result<SymptomReport, RecordsError> {
    let decode = json("decode symptom report row");
    let findings: Vec<Finding> = serde_json::from_value(row.findings).map_err(&decode)?;
    Ok(SymptomReport {
        symptom_report_id: row.symptom_report_id.into(),
        patient_id: row.patient_id.into(),
        created_at: row.created_at,
        text: row.text,
        findings,
        not_understood: serde_json::from_value(row.not_understood).map_err(&decode)?,
        lexicon_version: row.lexicon_version,
    })
}

fn sex_text(sex: Sex) -> &'static str {
    match sex {
        Sex::Unspecified => "unspecified",
        Sex::Female => "female",
        Sex::Male => "male",
        Sex::Other => "other",
    }
}

fn sex(text: &str) -> Option<Sex> {
    let all = [Sex::Unspecified, Sex::Female, Sex::Male, Sex::Other];
    all.into_iter().find(|&sex| sex_text(sex) == text)
}

fn handedness_text(handedness: Handedness) -> &'static str {
    match handedness {
        Handedness::Unspecified => "unspecified",
        Handedness::Right => "right",
        Handedness::Left => "left",
        Handedness::Both => "both",
    }
}

fn handedness(text: &str) -> Option<Handedness> {
    let all = [Handedness::Unspecified, Handedness::Right, Handedness::Left, Handedness::Both];
    all.into_iter().find(|&handedness| handedness_text(handedness) == text)
}
