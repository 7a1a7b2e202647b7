//! Fields of a patient that can be changed one by one.

use super::PatientDetails;

/// One field, by its name in the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PatientField {
    /// `medical_record_numbers`
    MedicalRecordNumbers,
    /// `name`
    Name,
    /// `birth_date`
    BirthDate,
    /// `sex`
    Sex,
    /// `handedness`
    Handedness,
    /// `address`
    Address,
    /// `contact_points`
    ContactPoints,
    /// `contact_persons`
    ContactPersons,
    /// `consents`
    Consents,
    /// `languages`
    Languages,
}

impl PatientField {
    /// Every field.
    pub const ALL: [Self; 10] = [
        Self::MedicalRecordNumbers,
        Self::Name,
        Self::BirthDate,
        Self::Sex,
        Self::Handedness,
        Self::Address,
        Self::ContactPoints,
        Self::ContactPersons,
        Self::Consents,
        Self::Languages,
    ];

    /// Returns the name.
    pub fn path(self) -> &'static str {
        match self {
            Self::MedicalRecordNumbers => "medical_record_numbers",
            Self::Name => "name",
            Self::BirthDate => "birth_date",
            Self::Sex => "sex",
            Self::Handedness => "handedness",
            Self::Address => "address",
            Self::ContactPoints => "contact_points",
            Self::ContactPersons => "contact_persons",
            Self::Consents => "consents",
            Self::Languages => "languages",
        }
    }

    /// Returns the field with this name.
    pub fn parse(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.path() == path)
    }

    /// Returns whether patients are found by the field.
    pub fn is_searched(self) -> bool {
        matches!(self, Self::MedicalRecordNumbers | Self::Name | Self::BirthDate)
    }

    /// Returns the kind of search token that the field is found by; its name otherwise.
    pub fn kind(self) -> &'static str {
        match self {
            Self::MedicalRecordNumbers => "medical_record_number",
            Self::Name
            | Self::BirthDate
            | Self::Sex
            | Self::Handedness
            | Self::Address
            | Self::ContactPoints
            | Self::ContactPersons
            | Self::Consents
            | Self::Languages => self.path(),
        }
    }

    /// Puts the field of `from` into `to`.
    pub fn copy(self, from: &PatientDetails, to: &mut PatientDetails) {
        match self {
            Self::MedicalRecordNumbers => {
                to.medical_record_numbers.clone_from(&from.medical_record_numbers);
            }
            Self::Name => to.name.clone_from(&from.name),
            Self::BirthDate => to.birth_date = from.birth_date,
            Self::Sex => to.sex = from.sex,
            Self::Handedness => to.handedness = from.handedness,
            Self::Address => to.address.clone_from(&from.address),
            Self::ContactPoints => to.contact_points.clone_from(&from.contact_points),
            Self::ContactPersons => to.contact_persons.clone_from(&from.contact_persons),
            Self::Consents => to.consents.clone_from(&from.consents),
            Self::Languages => to.languages.clone_from(&from.languages),
        }
    }
}
