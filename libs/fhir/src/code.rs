//! Code systems, and the codes that values become.

use neurotriage_domain::Side;
use serde::Serialize;
use serde_json::{Value, json};

use crate::element::{coded, concept};

/// Codes of this project.
pub const OWN: &str = "urn:x-neurotriage:code";
/// Logical Observation Identifiers Names and Codes.
pub const LOINC: &str = "http://loinc.org";
/// SNOMED CT.
pub const SNOMED: &str = "http://snomed.info/sct";
/// International Classification of Diseases, 10th revision, of the WHO.
pub const ICD10: &str = "http://hl7.org/fhir/sid/icd-10";
/// The same, clinical modification of the United States.
pub const ICD10_CM: &str = "http://hl7.org/fhir/sid/icd-10-cm";
/// Yes and no, of HL7 version 2.
pub const YES_NO: &str = "http://terminology.hl7.org/CodeSystem/v2-0136";
/// Human Phenotype Ontology, as HL7's terminology names it.
pub const HPO: &str = "http://human-phenotype-ontology.org";
/// Human Phenotype Ontology, as others name it; read and never written.
pub const HPO_OBO: &str = "http://purl.obolibrary.org/obo/hp.owl";
/// Unified Code for Units of Measure.
pub const UCUM: &str = "http://unitsofmeasure.org";
/// BCP 47 language tags.
pub const LANGUAGE: &str = "urn:ietf:bcp:47";
/// System of identifiers that are URIs.
pub const URI: &str = "urn:ietf:rfc:3986";
/// DICOM modalities.
pub const DICOM: &str = "http://dicom.nema.org/resources/ontology/DCM";
/// Kinds of identifiers.
pub const IDENTIFIER_TYPE: &str = "http://terminology.hl7.org/CodeSystem/v2-0203";
/// Roles of people to a patient.
pub const ROLE: &str = "http://terminology.hl7.org/CodeSystem/v3-RoleCode";
/// Sections of diagnostic services.
pub const SECTION: &str = "http://terminology.hl7.org/CodeSystem/v2-0074";
/// How far a condition is verified.
pub const VERIFICATION: &str = "http://terminology.hl7.org/CodeSystem/condition-ver-status";
/// Whether a condition goes on.
pub const CLINICAL: &str = "http://terminology.hl7.org/CodeSystem/condition-clinical";
/// How an observation is read, such as positive.
pub const INTERPRETATION: &str =
    "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation";
/// Parts that somebody takes in making a resource.
pub const PARTICIPANT: &str = "http://terminology.hl7.org/CodeSystem/provenance-participant-type";

/// Identifiers of hospitals in this suite's directory.
pub const HOSPITAL_ID: &str = "urn:neurotriage:hospital-id";
/// Identifiers of those who refer patients.
pub const REFERRER: &str = "urn:x-neurotriage:referrer";
/// What a hospital offers.
pub const CAPABILITY: &str = "urn:neurotriage:capability";

/// Extension of a service: the share of referrals a hospital can take now, 0 to 1.
pub const CAPACITY: &str = "urn:neurotriage:capacity";
/// Extension of a service: the number of free beds.
pub const BEDS_FREE: &str = "urn:neurotriage:beds-free";
/// Extension of a referral: how far it is, as this suite names it.
pub const REFERRAL_STATE: &str = "urn:x-neurotriage:referral-state";
/// Extension of an address: its place on earth. Of FHIR itself.
pub const GEOLOCATION: &str = "http://hl7.org/fhir/StructureDefinition/geolocation";
/// Extension of a patient: the hand they write with.
pub const HANDEDNESS: &str = "urn:x-neurotriage:handedness";
/// Extension of a patient: what they agreed to, or did not.
pub const CONSENT: &str = "urn:x-neurotriage:consent";
/// Extension of a condition: the side it is on.
pub const LATERALITY: &str = "urn:x-neurotriage:laterality";
/// Extensions of a body site: the side it is on, of this project and of mCODE.
pub const SIDES: [&str; 3] = [
    LATERALITY,
    "http://hl7.org/fhir/us/mcode/StructureDefinition/mcode-laterality-qualifier",
    "http://hl7.org/fhir/us/mcode/StructureDefinition/mcode-laterality",
];
/// Extension of a condition: how it began.
pub const ONSET: &str = "urn:x-neurotriage:onset";
/// Extension of a condition: how it went on.
pub const COURSE: &str = "urn:x-neurotriage:course";

/// Own code of an observation that holds symptoms as they were reported.
pub const SYMPTOM_REPORT: &str = "symptom-report";
/// Own code of an observation that is a note.
pub const NOTE: &str = "note";
/// Own code of the component that gives a side.
pub const SIDE: &str = "laterality";

const PRESENT: &str = "52101004";
const ABSENT: &str = "2667000";

/// Returns a concept of this project's own codes.
pub fn own(code: &str, text: &str) -> Value {
    concept(OWN, code, text)
}

/// Returns that something is there, or is not.
pub fn presence(present: bool) -> Value {
    let (code, display) = if present { (PRESENT, "Present") } else { (ABSENT, "Absent") };
    json!({ "coding": [coded(SNOMED, code, Some(display))] })
}

/// Returns whether a code says that something is there; `None` if it says neither.
///
/// SNOMED CT present, absent, yes and no; the same four as answers of LOINC; yes and no of HL7's table 0136.
pub fn read_presence(system: &str, code: &str) -> Option<bool> {
    match (system, code) {
        (SNOMED, PRESENT | "373066001") | (LOINC, "LA9633-4" | "LA33-6") | (YES_NO, "Y") => {
            Some(true)
        }
        (SNOMED, ABSENT | "373067005") | (LOINC, "LA9634-2" | "LA32-8") | (YES_NO, "N") => {
            Some(false)
        }
        _ => None,
    }
}

/// Returns a side of the brain as a concept.
pub fn side_concept(side: Side, text: &str) -> Value {
    let (code, display) = match side {
        Side::Left => ("7771000", "Left"),
        Side::Right => ("24028007", "Right"),
        Side::Midline => ("399488007", "Midline"),
    };
    json!({ "coding": [coded(SNOMED, code, Some(display))], "text": text })
}

/// Returns the side of the body that a finding is on: [`Side::Midline`] is on both.
pub fn body_side_concept(side: Side, text: &str) -> Value {
    match side {
        Side::Left | Side::Right => side_concept(side, text),
        Side::Midline => {
            json!({ "coding": [coded(SNOMED, "51440002", Some("Right and left"))], "text": text })
        }
    }
}

/// Returns the side of the body that a code names.
pub fn read_body_side(system: &str, code: &str) -> Option<Side> {
    match (system, code) {
        (SNOMED, "7771000") => Some(Side::Left),
        (SNOMED, "24028007") => Some(Side::Right),
        (SNOMED, "51440002" | "399488007") => Some(Side::Midline),
        _ => None,
    }
}

/// Returns the system of a code of a finding.
pub fn finding_system(code: &str) -> &'static str {
    if code.starts_with("HP:") { HPO } else { OWN }
}

/// Returns whether a code is one that a finding may have: `HP:` with seven digits of HPO, or one of this
/// project that begins with `NT:`.
pub fn is_finding(system: &str, code: &str) -> bool {
    match system {
        HPO | HPO_OBO => code
            .strip_prefix("HP:")
            .is_some_and(|digits| digits.len() == 7 && digits.bytes().all(|b| b.is_ascii_digit())),
        OWN => code.strip_prefix("NT:").is_some_and(|rest| !rest.is_empty()) && code.len() <= 64,
        _ => false,
    }
}

macro_rules! vocabulary {
    ($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $variant:ident = $code:literal, $text:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
        pub enum $name { $($(#[$of])* #[serde(rename = $code)] $variant,)* }

        impl $name {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Returns the code.
            pub fn code(self) -> &'static str {
                match self { $(Self::$variant => $code,)* }
            }

            /// Returns the same in words.
            pub fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Returns the one of a code.
            pub fn of(code: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.code() == code)
            }

            /// Returns the codes, for a sentence.
            pub fn codes() -> String {
                Self::ALL.iter().map(|one| one.code()).collect::<Vec<_>>().join(", ")
            }
        }
    };
}

vocabulary!(
    /// Sex recorded for clinical use, by FHIR's `administrative-gender`.
    Sex {
        /// Female.
        Female = "female", "female";
        /// Male.
        Male = "male", "male";
        /// Another.
        Other = "other", "another";
        /// Asked for, and not known.
        Unknown = "unknown", "unknown";
    }
);
vocabulary!(
    /// Hand that a patient writes with.
    Handedness {
        /// Right-handed.
        Right = "right", "right-handed";
        /// Left-handed.
        Left = "left", "left-handed";
        /// Uses both hands.
        Both = "both", "uses both hands";
    }
);
vocabulary!(
    /// By what somebody is reached, by FHIR's `contact-point-system`.
    ContactSystem {
        /// A telephone number.
        Phone = "phone", "telephone";
        /// An e-mail address.
        Email = "email", "e-mail";
    }
);
vocabulary!(
    /// Who somebody is to a patient, by HL7's `v3-RoleCode`.
    Relationship {
        /// Spouse or partner.
        Partner = "SIGOTHR", "spouse or partner";
        /// Parent.
        Parent = "PRN", "parent";
        /// Child.
        Child = "CHILD", "child";
        /// Brother or sister.
        Sibling = "SIB", "brother or sister";
        /// Legal guardian.
        Guardian = "GUARD", "legal guardian";
        /// Friend, neighbour or another.
        Other = "FRND", "friend, neighbour or another";
    }
);
vocabulary!(
    /// What a consent is about.
    ConsentScope {
        /// Analysis of images and symptoms by this software.
        Analysis = "analysis", "analysis by this software";
        /// Passing records on to a hospital the patient is referred to.
        Sharing = "sharing", "passing records on";
        /// Use in research.
        Research = "research", "use in research";
    }
);
vocabulary!(
    /// How symptoms began.
    Onset {
        /// Within minutes.
        Sudden = "sudden", "within minutes";
        /// Within hours or days.
        Acute = "acute", "within hours or days";
        /// Within weeks.
        Subacute = "subacute", "within weeks";
        /// Within months or longer.
        Gradual = "gradual", "within months or longer";
    }
);
vocabulary!(
    /// How symptoms went on.
    Course {
        /// Getting worse.
        Worsening = "worsening", "getting worse";
        /// As it was.
        Stable = "stable", "as it was";
        /// Getting better.
        Improving = "improving", "getting better";
        /// Coming and going.
        Fluctuating = "fluctuating", "coming and going";
        /// Gone.
        Resolved = "resolved", "gone";
    }
);
vocabulary!(
    /// How bad symptoms are, by SNOMED CT as in FHIR's `condition-severity`.
    Severity {
        /// Mild.
        Mild = "255604002", "Mild";
        /// Moderate.
        Moderate = "6736007", "Moderate";
        /// Severe.
        Severe = "24484000", "Severe";
    }
);
vocabulary!(
    /// Who reported symptoms, by the kind of resource that stands for them.
    Reporter {
        /// The patient.
        Patient = "Patient", "the patient";
        /// A relative or carer.
        Relative = "RelatedPerson", "a relative or carer";
        /// A clinician.
        Clinician = "Practitioner", "a clinician";
        /// Another.
        Other = "Organization", "another";
    }
);

impl Relationship {
    /// Returns the relationship of a code of `v3-RoleCode`; finer ones are taken as what they are.
    pub fn of_role(code: &str) -> Option<Self> {
        match code {
            "SPS" | "HUSB" | "WIFE" | "DOMPART" | "FMRSPS" => Some(Self::Partner),
            "MTH" | "FTH" | "NMTH" | "NFTH" | "PRNINLAW" | "STPPRN" => Some(Self::Parent),
            "SON" | "DAU" | "SONC" | "DAUC" | "CHLDADOPT" | "STPCHLD" | "NCHILD" => {
                Some(Self::Child)
            }
            "BRO" | "SIS" | "NBRO" | "NSIS" | "HSIB" | "STPSIB" => Some(Self::Sibling),
            "NBOR" | "ROOM" | "FAMMEMB" | "EXT" | "ONESELF" => Some(Self::Other),
            other => Self::of(other),
        }
    }
}

impl Reporter {
    /// Returns the reporter of a kind of resource.
    pub fn of_type(resource_type: &str) -> Option<Self> {
        match resource_type {
            "PractitionerRole" => Some(Self::Clinician),
            "CareTeam" | "Device" => Some(Self::Other),
            other => Self::of(other),
        }
    }
}
