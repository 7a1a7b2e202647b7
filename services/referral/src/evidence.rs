//! The evidence table: how strongly each finding points to each brain structure.
//!
//! Read from TOML and checked once; holders never check again. Knows nothing of patients.

mod page;
mod read;

use std::collections::BTreeMap;

use neurotriage_domain::{Side, Structure};
use serde::{Deserialize, Serialize};

/// The table that is compiled in.
const BUILTIN: &str = include_str!("../../../assets/evidence/evidence.toml");

/// Highest likelihood ratio that a table may hold.
pub const LIKELIHOOD_RATIO_MAX: f64 = 50.0;

/// Highest share of patients with a finding: above, its absence would outweigh everything else.
pub const FREQUENCY_MAX: f64 = 0.95;

/// Findings that a table must cover: the findings of the symptom lexicon.
#[rustfmt::skip]
pub const FINDING_IDS: [&str; 85] = [
    "seizure", "focal_seizure", "focal_motor_seizure", "focal_impaired_awareness_seizure", "visual_seizure",
    "olfactory_seizure", "somatosensory_seizure", "auditory_seizure", "deja_vu", "headache",
    "unilateral_headache", "nausea", "vomiting", "papilledema", "raised_intracranial_pressure", "hydrocephalus",
    "hemiparesis", "hemiplegia", "aphasia", "expressive_aphasia", "receptive_aphasia", "anomic_aphasia",
    "dysarthria", "hemianopia", "bitemporal_hemianopia", "quadrantanopia_upper", "quadrantanopia_lower",
    "visual_loss", "blurred_vision", "visual_hallucination", "visual_agnosia", "prosopagnosia", "sensory_loss",
    "paresthesia", "neglect", "apraxia", "dressing_apraxia", "constructional_apraxia", "dyscalculia",
    "dysgraphia", "alexia", "finger_agnosia", "left_right_disorientation", "ataxia", "limb_ataxia",
    "gait_disturbance", "nystagmus", "dysmetria", "intention_tremor", "vertigo", "hearing_impairment",
    "tinnitus", "facial_palsy", "diplopia", "ptosis", "dysphagia", "long_tract_signs", "anosmia",
    "urinary_incontinence", "apathy", "abulia", "disinhibition", "personality_change", "attention_deficit",
    "executive_dysfunction", "memory_impairment", "cognitive_impairment", "confusion", "movement_disorder",
    "tremor", "chorea", "polydipsia", "hyperphagia", "amenorrhea", "galactorrhea", "fatigue", "weight_loss",
    "drowsiness", "loss_of_consciousness", "status_epilepticus", "neck_pain", "imbalance", "depression",
    "anxiety", "hiccups",
];

/// Hand the patient writes with; hints at the side of language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handedness {
    /// Not recorded.
    Unknown,
    /// Right-handed.
    Right,
    /// Left-handed.
    Left,
    /// Uses both hands.
    Both,
}

/// Which side of the brain a finding points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SideRule {
    /// The side opposite to the body side of the finding.
    Contralateral,
    /// The body side of the finding.
    Ipsilateral,
    /// The side of language, most often the left.
    Dominant,
    /// The side opposite to language.
    NonDominant,
    /// Neither.
    None,
}

/// How well a row is founded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// Systematic review.
    A,
    /// Large cohort.
    B,
    /// Textbook or guideline for the direction; the size is set by the project.
    C,
    /// Judgement of the project.
    D,
}

/// How soon a patient should be seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Urgency {
    /// No red flag.
    Routine,
    /// A sign that needs attention soon.
    Soon,
    /// A sign that needs attention at once.
    Emergency,
}

/// What else than a lesion in its place may cause a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Raised pressure in the head: false localising signs.
    RaisedPressure,
    /// What a seizure leaves for hours to days, such as Todd's paresis.
    SeizureAftermath,
    /// Swelling or pressure of the lesion beside it.
    MassEffect,
    /// Another lesion.
    SecondLesion,
    /// Another disease.
    OtherDisease,
}

impl Cause {
    /// Every cause; earlier ones are thought of first.
    pub const ALL: [Self; 5] = [
        Self::RaisedPressure,
        Self::SeizureAftermath,
        Self::MassEffect,
        Self::SecondLesion,
        Self::OtherDisease,
    ];
}

/// One cell of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Ratio {
    /// How often the finding occurs with a glioma of the structure, relative to gliomas of any
    /// place: above 0, at most [`LIKELIHOOD_RATIO_MAX`].
    pub likelihood_ratio: f64,
    /// Which side of the structure it points to.
    pub side_rule: SideRule,
    /// How well it is founded.
    pub grade: Grade,
    /// Key of the source.
    pub source: String,
}

/// A red flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrgentSign {
    /// How soon.
    pub urgency: Urgency,
    /// Why, in a sentence.
    pub sentence: String,
}

/// One row of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct FindingEvidence {
    /// Which side a one-sided finding points to, unless a cell says otherwise.
    pub side_rule: SideRule,
    /// How often that side is right, 0.5 to below 1.
    pub side_reliability: f64,
    /// Findings of one group tend to come together; a finding of no group is its own.
    pub group: String,
    /// Structures the table names.
    pub ratios: BTreeMap<Structure, Ratio>,
    /// Likelihood ratio of every other structure.
    pub elsewhere: f64,
    /// Share of patients with a brain tumour who have the finding at presentation, above 0, at most
    /// [`FREQUENCY_MAX`]; `None` if not known.
    pub frequency: Option<f64>,
    /// The cause that the finding is a sign of, if any.
    pub sign_of: Option<Cause>,
    /// What else may cause the finding.
    pub also_from: Vec<Cause>,
    /// The red flag it is, if any.
    pub urgent_sign: Option<UrgentSign>,
    /// What to do to know more.
    pub next_check: Option<String>,
}

impl FindingEvidence {
    /// Returns the likelihood ratio of `structure`, whatever its side.
    pub fn likelihood_ratio(&self, structure: Structure) -> f64 {
        self.ratios.get(&structure).map_or(self.elsewhere, |ratio| ratio.likelihood_ratio)
    }

    /// Returns how much more often the finding is absent with a glioma of `structure` than with one of
    /// any place: `(1 - f·r) / (1 - f)`, with the frequency `f` and the likelihood ratio `r`, `f·r` at
    /// most [`FREQUENCY_MAX`]. 1 if the frequency is not known.
    pub fn absence_ratio(&self, structure: Structure) -> f64 {
        let Some(frequency) = self.frequency else { return 1.0 };
        let here = (frequency * self.likelihood_ratio(structure)).min(FREQUENCY_MAX);
        (1.0 - here) / (1.0 - frequency)
    }

    /// Returns the side rule for `structure`; structures that the row does not name have none.
    pub fn side_rule_of(&self, structure: Structure) -> SideRule {
        self.ratios.get(&structure).map_or(SideRule::None, |ratio| ratio.side_rule)
    }

    /// Returns how much more often than not the finding goes with `side` of `structure`: 2 if always,
    /// 1 if the finding gives no side, 0 if never. The factors of left and right sum to 2.
    ///
    /// `body_side` is the side of the body the finding is on; `language_left` the chance that
    /// language lies on the left, 0 to 1.
    pub fn side_factor(
        &self,
        structure: Structure,
        side: Side,
        body_side: Option<Side>,
        language_left: f64,
    ) -> f64 {
        let sure = self.side_reliability;
        let mixed = sure * language_left + (1.0 - sure) * (1.0 - language_left);
        let left = match (self.side_rule_of(structure), body_side) {
            (SideRule::Contralateral, Some(Side::Left)) => 1.0 - sure,
            (SideRule::Contralateral, Some(Side::Right)) => sure,
            (SideRule::Ipsilateral, Some(Side::Left)) => sure,
            (SideRule::Ipsilateral, Some(Side::Right)) => 1.0 - sure,
            (SideRule::Contralateral | SideRule::Ipsilateral, Some(Side::Midline) | None) => 0.5,
            (SideRule::Dominant, _) => mixed,
            (SideRule::NonDominant, _) => 1.0 - mixed,
            (SideRule::None, _) => 0.5,
        };
        match side {
            Side::Left => 2.0 * left,
            Side::Right => 2.0 * (1.0 - left),
            Side::Midline => 1.0,
        }
    }
}

/// Chance that language lies on the left, 0.5 to 1, by the hand the patient writes with.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LanguageDominance {
    right: f64,
    left: f64,
    both: f64,
    unknown: f64,
}

/// The checked table.
#[derive(Clone, Debug, PartialEq)]
pub struct EvidenceTable {
    version: String,
    prior: BTreeMap<Structure, f64>,
    prior_weight: f64,
    dominance: LanguageDominance,
    findings: BTreeMap<String, FindingEvidence>,
    sources: BTreeMap<String, String>,
    site_checks: BTreeMap<Structure, Vec<String>>,
}

/// Why a table cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EvidenceError {
    /// Not TOML, or not the shape of a table.
    #[error("evidence table is malformed; correct it: {0}")]
    Syntax(String),
    /// The table does not say which version it is.
    #[error("evidence table has no version; give it one, such as `2026.11.1`")]
    NoVersion,
    /// A row for a finding that the lexicon does not have.
    #[error(
        "evidence table names the unknown finding `{finding}`; use an id of the symptom lexicon"
    )]
    UnknownFinding {
        /// The name found.
        finding: String,
    },
    /// Two rows for one finding.
    #[error("evidence table has two rows for `{finding}`; keep one")]
    RepeatedFinding {
        /// Which finding.
        finding: String,
    },
    /// No row for a finding.
    #[error("evidence table has no row for `{finding}`; add one")]
    MissingFinding {
        /// Which finding.
        finding: &'static str,
    },
    /// A place that is neither a structure nor a group of structures.
    #[error(
        "`{place}` of the evidence table names the unknown structure `{structure}`; use a brain structure or a group"
    )]
    UnknownStructure {
        /// Row or section.
        place: String,
        /// The name found.
        structure: String,
    },
    /// A side rule that does not exist.
    #[error(
        "`{finding}` has the unknown side rule `{rule}`; use contralateral, ipsilateral, dominant, non_dominant or none"
    )]
    UnknownSideRule {
        /// Which row.
        finding: String,
        /// The rule found.
        rule: String,
    },
    /// A grade that does not exist.
    #[error("`{finding}` has the unknown grade `{grade}`; use A, B, C or D")]
    UnknownGrade {
        /// Which row.
        finding: String,
        /// The grade found.
        grade: String,
    },
    /// A source that the table does not list.
    #[error("`{finding}` names the unknown source `{origin}`; list it under `sources`")]
    UnknownSource {
        /// Which row.
        finding: String,
        /// The key found.
        origin: String,
    },
    /// A number outside its range.
    #[error("`{field}` of `{place}` is {value}; it must lie {range}")]
    OutOfRange {
        /// Row or section.
        place: String,
        /// Which number.
        field: String,
        /// The number found.
        value: f64,
        /// What is allowed.
        range: &'static str,
    },
    /// A row that has one half of what only makes sense together.
    #[error("`{finding}` has `{given}` without `{missing}`; give both or neither")]
    Incomplete {
        /// Which row.
        finding: String,
        /// What it has.
        given: &'static str,
        /// What it lacks.
        missing: &'static str,
    },
}

impl EvidenceTable {
    /// Returns the table that is compiled in.
    ///
    /// # Errors
    /// As [`EvidenceTable::from_toml`].
    pub fn builtin() -> Result<Self, EvidenceError> {
        Self::from_toml(BUILTIN)
    }

    /// Returns the table written in `text`, checked.
    ///
    /// # Errors
    /// [`EvidenceError`] names the first row that is wrong, and what would be right.
    pub fn from_toml(text: &str) -> Result<Self, EvidenceError> {
        read::table(text)
    }

    /// Returns the version of the table.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Returns the row of a finding; `None` if the table has none.
    pub fn finding(&self, finding_id: &str) -> Option<&FindingEvidence> {
        self.findings.get(finding_id)
    }

    /// Returns every row by the key of its finding.
    pub fn findings(&self) -> impl Iterator<Item = (&str, &FindingEvidence)> {
        self.findings.iter().map(|(id, row)| (id.as_str(), row))
    }

    /// Returns how often gliomas lie in each structure, both sides together: relative weights.
    pub fn prior(&self) -> &BTreeMap<Structure, f64> {
        &self.prior
    }

    /// Returns the share of the logarithm of the prior that is believed where the symptoms alone are
    /// placed, 0 to 1.
    pub fn prior_weight(&self) -> f64 {
        self.prior_weight
    }

    /// Returns the title of a source.
    pub fn source(&self, key: &str) -> Option<&str> {
        self.sources.get(key).map(String::as_str)
    }

    /// Returns what to look for when a lesion lies in `structure`.
    pub fn site_checks(&self, structure: Structure) -> &[String] {
        self.site_checks.get(&structure).map_or(&[], Vec::as_slice)
    }

    /// Returns the chance that language lies on the left, 0.5 to 1.
    pub fn language_left(&self, handedness: Handedness) -> f64 {
        match handedness {
            Handedness::Unknown => self.dominance.unknown,
            Handedness::Right => self.dominance.right,
            Handedness::Left => self.dominance.left,
            Handedness::Both => self.dominance.both,
        }
    }
}

#[cfg(test)]
mod tests;
