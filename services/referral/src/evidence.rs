//! The evidence table: how strongly each finding points to each brain structure.
//!
//! Read from TOML and checked once; holders never check again. Knows nothing of patients.

mod error;
mod page;
mod read;

use std::collections::BTreeMap;

use neurotriage_domain::{Side, Structure};
use serde::{Deserialize, Serialize};

pub use self::error::EvidenceError;

/// The table that is compiled in.
const BUILTIN: &str = include_str!("../../../assets/evidence/evidence.toml");

/// Highest likelihood ratio that a table may hold.
pub const LIKELIHOOD_RATIO_MAX: f64 = 50.0;

/// Highest share of patients with a finding: above, its absence would outweigh everything else.
pub const FREQUENCY_MAX: f64 = 0.95;

/// Findings that a table must cover: the findings of the symptom lexicon.
#[rustfmt::skip]
pub const FINDING_IDS: [&str; 87] = [
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
    "anxiety", "hiccups", "anisocoria", "rapid_decline",
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

impl Handedness {
    /// Every hand.
    pub const ALL: [Self; 4] = [Self::Unknown, Self::Right, Self::Left, Self::Both];
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

/// How well something is founded: who names the direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grade {
    /// Systematic review of patients with brain tumours.
    A,
    /// Cohort of at least 100 patients with brain tumours, or systematic review of other patients.
    B,
    /// Textbook, guideline, narrative review, smaller study, or cohort of other patients.
    C,
    /// Judgement of the project.
    D,
}

impl Grade {
    /// Every grade, the best first.
    pub const ALL: [Self; 4] = [Self::A, Self::B, Self::C, Self::D];

    /// Returns the letter.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::B => "B",
            Self::C => "C",
            Self::D => "D",
        }
    }
}

/// What something rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Basis {
    /// How well it is founded; never better than the source's.
    pub grade: Grade,
    /// Key of the source, which [`EvidenceTable::source`] knows.
    pub source: String,
}

/// Something and what it rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Founded<T> {
    /// What is said.
    pub value: T,
    /// What it rests on.
    pub basis: Basis,
}

/// A source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The best grade it gives.
    pub grade: Grade,
    /// Authors, title, place and year, and what it found.
    pub citation: String,
    /// Its DOI, if it has one.
    pub doi: Option<String>,
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
pub struct Cell {
    /// How often the finding occurs with a glioma of the structure, relative to gliomas of any
    /// place: above 0, at most [`LIKELIHOOD_RATIO_MAX`].
    pub likelihood_ratio: f64,
    /// Which side of the structure it points to.
    pub side_rule: SideRule,
    /// What the ratio rests on.
    pub basis: Basis,
}

/// A red flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrgentSign {
    /// How soon.
    pub urgency: Urgency,
    /// Why, in a sentence.
    pub sentence: String,
    /// What it rests on.
    pub basis: Basis,
}

/// One row of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct FindingEvidence {
    /// Which side a one-sided finding points to, unless a cell says otherwise.
    pub side_rule: SideRule,
    /// How often that side is right, 0.5 to below 1.
    pub side_reliability: Founded<f64>,
    /// Findings of one group tend to come together; a finding of no group is its own.
    pub group: String,
    /// Structures the table names.
    pub cells: BTreeMap<Structure, Cell>,
    /// The cell of every other structure; gives no side.
    pub elsewhere: Cell,
    /// Share of patients with a brain tumour who have the finding at presentation, above 0, at most
    /// [`FREQUENCY_MAX`]; `None` if not known.
    pub frequency: Option<Founded<f64>>,
    /// The cause that the finding is a sign of, if any.
    pub sign_of: Option<Founded<Cause>>,
    /// What else may cause the finding.
    pub also_from: Vec<Founded<Cause>>,
    /// The red flag it is, if any.
    pub urgent_sign: Option<UrgentSign>,
    /// What to do to know more.
    pub next_check: Option<String>,
}

impl FindingEvidence {
    /// Returns the cell of `structure`: every structure has one.
    pub fn cell(&self, structure: Structure) -> &Cell {
        self.cells.get(&structure).unwrap_or(&self.elsewhere)
    }

    /// Returns the likelihood ratio of `structure`, whatever its side.
    pub fn likelihood_ratio(&self, structure: Structure) -> f64 {
        self.cell(structure).likelihood_ratio
    }

    /// Returns true if the finding is a sign of `cause`.
    pub fn is_sign_of(&self, cause: Cause) -> bool {
        self.sign_of.as_ref().is_some_and(|sign| sign.value == cause)
    }

    /// Returns true if `cause` may bring the finding, wherever the lesion lies.
    pub fn may_come_from(&self, cause: Cause) -> bool {
        self.also_from.iter().any(|other| other.value == cause)
    }

    /// Returns how much more often the finding is absent with a glioma of `structure` than with one of
    /// any place: `(1 - f·r) / (1 - f)`, with the frequency `f` and the likelihood ratio `r`, `f·r` at
    /// most [`FREQUENCY_MAX`]. 1 if the frequency is not known.
    pub fn absence_ratio(&self, structure: Structure) -> f64 {
        let Some(frequency) = self.frequency.as_ref().map(|share| share.value) else { return 1.0 };
        let here = (frequency * self.likelihood_ratio(structure)).min(FREQUENCY_MAX);
        (1.0 - here) / (1.0 - frequency)
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
        let sure = self.side_reliability.value;
        let mixed = sure * language_left + (1.0 - sure) * (1.0 - language_left);
        let left = match (self.cell(structure).side_rule, body_side) {
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
#[derive(Clone, Debug, PartialEq)]
struct LanguageDominance {
    right: Founded<f64>,
    left: Founded<f64>,
    both: Founded<f64>,
    unknown: Founded<f64>,
}

impl LanguageDominance {
    fn of(&self, handedness: Handedness) -> &Founded<f64> {
        match handedness {
            Handedness::Unknown => &self.unknown,
            Handedness::Right => &self.right,
            Handedness::Left => &self.left,
            Handedness::Both => &self.both,
        }
    }
}

/// The checked table.
#[derive(Clone, Debug, PartialEq)]
pub struct EvidenceTable {
    version: String,
    prior: BTreeMap<Structure, f64>,
    prior_bases: BTreeMap<Structure, Basis>,
    prior_weight: f64,
    dominance: LanguageDominance,
    findings: BTreeMap<String, FindingEvidence>,
    sources: BTreeMap<String, Source>,
    site_checks: BTreeMap<Structure, Vec<String>>,
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

    /// Returns every cell: each finding with each structure.
    pub fn cells(&self) -> impl Iterator<Item = (&str, Structure, &Cell)> {
        self.findings().flat_map(|(id, row)| {
            Structure::ALL.iter().map(move |&structure| (id, structure, row.cell(structure)))
        })
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

    /// Returns what the weight of `structure` among [`EvidenceTable::prior`] rests on.
    pub fn prior_basis(&self, structure: Structure) -> Option<&Basis> {
        self.prior_bases.get(&structure)
    }

    /// Returns a source by its key.
    pub fn source(&self, key: &str) -> Option<&Source> {
        self.sources.get(key)
    }

    /// Returns what to look for when a lesion lies in `structure`.
    pub fn site_checks(&self, structure: Structure) -> &[String] {
        self.site_checks.get(&structure).map_or(&[], Vec::as_slice)
    }

    /// Returns the chance that language lies on the left, 0.5 to 1.
    pub fn language_left(&self, handedness: Handedness) -> f64 {
        self.dominance.of(handedness).value
    }

    /// Returns what [`EvidenceTable::language_left`] rests on.
    pub fn language_basis(&self, handedness: Handedness) -> &Basis {
        &self.dominance.of(handedness).basis
    }

    /// Returns what everything in the table rests on.
    fn bases(&self) -> impl Iterator<Item = &Basis> {
        let dominance = Handedness::ALL.into_iter().map(|hand| self.language_basis(hand));
        let rows = self.findings.values().flat_map(|row| {
            let cells = row.cells.values().map(|cell| &cell.basis);
            let causes = row.sign_of.iter().chain(&row.also_from).map(|cause| &cause.basis);
            let urgent = row.urgent_sign.iter().map(|sign| &sign.basis);
            let numbers = row.frequency.iter().chain([&row.side_reliability]);
            cells
                .chain([&row.elsewhere.basis])
                .chain(causes)
                .chain(urgent)
                .chain(numbers.map(|number| &number.basis))
        });
        self.prior_bases.values().chain(dominance).chain(rows)
    }
}

#[cfg(test)]
mod tests;
