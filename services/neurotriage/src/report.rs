//! The report of one diagnosis: what the services found, in the shape that readers and programs see.
//!
//! [`Report`] is the schema of `report.json`; the terminal, HTML and FHIR renderings are made from it
//! and add nothing to it. Knows nothing of gRPC clients or files: [`from_proto`] makes it from messages.

pub mod fhir;
pub mod from_anatomy;
pub mod from_proto;
pub mod html;
pub mod json;
pub mod language;
mod map;
mod schematic;
mod svg;
pub mod terminal;
mod text;

use neurotriage_domain::Side;
use serde::Serialize;

pub use self::language::Language;
pub(crate) use self::text::plain;

/// Version of the schema; a change that could break a reader raises it.
pub const SCHEMA_VERSION: u32 = 1;

/// What every rendering of a report says, in English.
pub const NOTICE: &str = "Decision support for research use. Not a medical device, not a diagnosis: \
a clinician must review the images and the patient.";

/// One patient's image and symptoms, compared.
#[derive(Clone, Serialize)]
pub struct Report {
    /// Version of this schema: [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// What the reader must know about the use of the report: [`NOTICE`].
    pub notice: &'static str,
    /// When the report was made: RFC 3339, UTC.
    pub generated_at: String,
    /// What made the report.
    pub software: Software,
    /// What was examined.
    pub study: Study,
    /// The finding in one sentence.
    pub headline: String,
    /// What the image shows.
    pub image: Image,
    /// What the patient reports.
    pub symptoms: Symptoms,
    /// Whether the two agree.
    pub assessment: Assessment,
    /// Where the patient could go.
    pub referral: Referral,
    /// The model that marked the tumour.
    pub model: Model,
    /// How the run went.
    pub run: Run,
}

/// A program and its version.
#[derive(Clone, Serialize)]
pub struct Software {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}

/// What was examined.
#[derive(Clone, Serialize)]
pub struct Study {
    /// The caller's name of the study.
    pub case: String,
    /// A UUID.
    pub patient_id: String,
    /// A UUID.
    pub study_id: String,
    /// A UUID.
    pub segmentation_id: String,
    /// A UUID.
    pub symptom_report_id: String,
    /// A UUID.
    pub assessment_id: String,
    /// Voxels along the three array axes of the uploaded files.
    pub shape: Vec<u32>,
    /// Distance between voxel centres along the array axes, in millimetres.
    pub spacing_mm: Vec<f64>,
    /// Direction in which each array axis grows, such as `LPS`.
    pub orientation: String,
    /// The files, in the order FLAIR, T1, T1ce, T2.
    pub files: Vec<StudyFile>,
    /// True if the study is a phantom, made by this program and of no patient.
    pub phantom: bool,
}

/// One file of the study.
#[derive(Clone, Serialize)]
pub struct StudyFile {
    /// Sequence it holds, such as `flair`.
    pub modality: String,
    /// Its name without the folder.
    pub file_name: String,
    /// SHA-256 of its bytes, in hexadecimal digits.
    pub sha256: String,
}

/// What the image shows.
#[derive(Clone, Serialize)]
pub struct Image {
    /// Whether a tumour was found; null for a mask that the network did not make and for results
    /// stored before this was judged.
    pub outcome: Option<Outcome>,
    /// Why that is not sure, each a clause; empty otherwise.
    pub outcome_reasons: Vec<String>,
    /// All lesions together, in millilitres.
    pub volumes: Volumes,
    /// Mean entropy of the network's answer inside the tumour, 0 (sure) to 1; null without tumour.
    pub uncertainty: Option<f64>,
    /// Where regions were looked up: `sri24` or `unknown`.
    pub space: Space,
    /// Why the space is unknown; empty otherwise.
    pub space_reason: String,
    /// How the study was placed in that space; null if it is unknown.
    pub placement: Option<Placement>,
    /// Atlas the regions come from, with its version.
    pub atlas: String,
    /// Components too small to count as lesions.
    pub components_ignored: u32,
    /// Largest first.
    pub lesions: Vec<Lesion>,
    /// Everything that the localiser knows, in its own schema; null if it said nothing more.
    pub localiser_details: serde_json::Value,
}

/// Whether a tumour was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A tumour, as marked.
    Tumour,
    /// Nothing is marked, and no place looks like tumour.
    NoTumourFound,
    /// The marking may be wrong: a person must look.
    NotSure,
}

/// Coordinate space in which regions were looked up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Space {
    /// The SRI24 grid of BraTS.
    Sri24,
    /// MNI152.
    Mni152,
    /// No known template: no region is named.
    Unknown,
}

/// How a study was placed in the space of a template.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Placement {
    /// True if its T1 was registered to the template; false if its header was believed.
    pub registered: bool,
    /// How far from the template the header placed it, in millimetres; null if that is not known.
    pub moved_mm: Option<f64>,
    /// How far the middle of the brain is pushed to the patient's right, in millimetres, negative to
    /// the left; null if that was not measured.
    pub midline_shift_right_mm: Option<f64>,
}

/// An area whose injury costs a function, near a lesion.
#[derive(Clone, Serialize)]
pub struct EloquentArea {
    /// Stable name, such as `primary_motor_cortex_left`.
    pub area: String,
    /// Plain English.
    pub display_name: String,
    /// What is lost with it.
    pub function: String,
    /// Smallest distance from the lesion, in millimetres; 0 if they overlap.
    pub distance_mm: f64,
    /// Part of the lesion inside the area, in millilitres.
    pub overlap_ml: f64,
}

/// Volumes of a tumour and its compartments.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Volumes {
    /// Whole tumour, in millilitres.
    pub whole_ml: f64,
    /// Necrotic and non-enhancing core, in millilitres.
    pub necrotic_core_ml: f64,
    /// Oedema, in millilitres.
    pub oedema_ml: f64,
    /// Enhancing tumour, in millilitres.
    pub enhancing_ml: f64,
}

/// One connected lesion.
#[derive(Clone, Serialize)]
pub struct Lesion {
    /// How much of what.
    pub volumes: Volumes,
    /// Centre of mass in RAS+ millimetres.
    pub centroid_mm: Vec<f64>,
    /// Longest diameter in three dimensions, in millimetres.
    pub diameter_max_mm: f64,
    /// Side that holds more of the lesion; null if unknown.
    pub side: Option<Side>,
    /// True if a considerable part lies on the other side.
    pub crosses_midline: bool,
    /// Share of the lesion on the other side, 0 to 0.5.
    pub share_across_midline: f64,
    /// Region that names the site, such as `frontal_left`; empty if the space is unknown.
    pub main_region: String,
    /// Share of voxels that were given to the nearest region, 0 to 1.
    pub share_assigned_by_distance: f64,
    /// How far the lesion may be trusted, 0 to 1; null, as the two below, if that is not known.
    pub confidence: Option<f64>,
    /// Mean entropy of the network's answer inside the lesion in bits, 0 (sure) to 1.
    pub uncertainty: Option<f64>,
    /// Mean standard deviation of the probability of tumour over mirror images, 0 to 0.5.
    pub mirror_spread: Option<f64>,
    /// By falling weight.
    pub regions: Vec<RegionShare>,
    /// Eloquent areas that it overlaps or that lie near, nearest first.
    pub eloquent: Vec<EloquentArea>,
    /// Whether it reaches the ventricles; null, as the next, if that is not known.
    pub touches_ventricles: Option<bool>,
    /// Whether it reaches the cortex.
    pub touches_cortex: Option<bool>,
    /// Pieces of core apart from the largest one.
    pub satellites: u32,
}

/// How much of a lesion lies in one region.
#[derive(Clone, Serialize)]
pub struct RegionShare {
    /// Stable name, such as `frontal_left`.
    pub region: String,
    /// Plain English, such as `left frontal lobe`.
    pub display_name: String,
    /// Side of the region; null if unknown.
    pub side: Option<Side>,
    /// Part of the whole tumour in this region, in millilitres.
    pub volume_ml: f64,
    /// The same as a share of the whole tumour, 0 to 1.
    pub share: f64,
    /// Share of the tumour core in this region, 0 to 1.
    pub core_share: f64,
    /// Weight in naming the site, 0 to 1.
    pub site_weight: f64,
    /// SNOMED CT code of the structure; empty where none is assigned.
    pub snomed_code: String,
    /// True if the share falls below half when the study is placed a little off.
    pub is_uncertain: bool,
}

/// What the patient reports.
#[derive(Clone, Serialize)]
pub struct Symptoms {
    /// As written.
    pub text: String,
    /// Coded findings, in the order of the text, with how each fits the image.
    pub findings: Vec<Finding>,
    /// Pieces of the text that were not understood.
    pub not_understood: Vec<String>,
    /// Version of the lexicon that coded the text.
    pub lexicon_version: String,
}

/// One coded finding and how it fits.
#[derive(Clone, Serialize)]
pub struct Finding {
    /// Key in the lexicon, such as `hemiparesis`.
    pub finding_id: String,
    /// Human Phenotype Ontology code, or a local code that begins with `NT:`.
    pub code: String,
    /// Plain English.
    pub display_name: String,
    /// Side of the body; null if not said.
    pub side: Option<Side>,
    /// The words it was read from.
    pub matched_text: String,
    /// How it fits the lesion.
    pub fit: Fit,
    /// Why, in a sentence.
    pub reason: String,
    /// Regions it points to, strongest first.
    pub points_to: Vec<RegionProbability>,
}

/// How a finding fits the lesion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// The lesion lies where the finding points.
    Explained,
    /// The finding points elsewhere.
    Unexplained,
    /// The finding points nowhere in particular.
    NotLocalising,
    /// The text denies the finding.
    Denied,
    /// The service did not say.
    NotCompared,
}

impl Fit {
    /// Every fit, in the order of reports.
    pub const ALL: [Self; 5] =
        [Self::Explained, Self::Unexplained, Self::NotLocalising, Self::Denied, Self::NotCompared];
}

/// A region and how likely it is.
#[derive(Clone, Serialize)]
pub struct RegionProbability {
    /// Stable name, such as `frontal_left`.
    pub region: String,
    /// Plain English.
    pub display_name: String,
    /// Side of the region; null if unknown.
    pub side: Option<Side>,
    /// Probability or weight, 0 to 1.
    pub probability: f64,
}

/// Whether image and symptoms agree.
#[derive(Clone, Serialize)]
pub struct Assessment {
    /// The verdict.
    pub verdict: Verdict,
    /// Agreement of the two distributions over regions, 0 to 1; null without enough evidence.
    pub concordance: Option<f64>,
    /// Why, in sentences.
    pub reasons: Vec<String>,
    /// Where the symptoms alone point, by falling probability.
    pub symptom_regions: Vec<RegionProbability>,
    /// Where the image shows the lesion, by falling weight.
    pub image_regions: Vec<RegionProbability>,
    /// Site fused from both, such as `frontal_left`; empty if unknown.
    pub confirmed_site: String,
    /// The same in plain English.
    pub confirmed_site_name: String,
    /// How far that site may be trusted, 0 to 1; it ranks sites and is no probability. Null without a
    /// site.
    pub site_confidence: Option<f64>,
    /// Signs that need attention soon.
    pub urgent_signs: Vec<String>,
    /// What else may explain the findings, what the verdict hangs on, and what a lesion there leads one
    /// to expect, in sentences.
    pub to_consider: Vec<String>,
    /// What else may explain findings that the lesion does not.
    pub alternatives: Vec<Alternative>,
    /// Findings without which the verdict would be another.
    pub pivots: Vec<Pivot>,
    /// Keys of findings that a lesion there makes more frequent and that were denied.
    pub expected_but_absent: Vec<String>,
    /// Keys of findings that a lesion there makes far more frequent and that were not mentioned.
    pub worth_asking: Vec<String>,
    /// What to do to know more.
    pub next_checks: Vec<String>,
    /// Version of the evidence table.
    pub evidence_version: String,
}

/// Whether symptoms and image agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The symptoms point to the regions of the lesion.
    Concordant,
    /// Some do and some do not.
    PartlyConcordant,
    /// The symptoms point elsewhere.
    Discordant,
    /// Too little to compare.
    InsufficientEvidence,
}

/// Another explanation of findings that the lesion does not explain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Alternative {
    /// What it is.
    pub cause: Cause,
    /// Keys of the findings that it would explain.
    pub finding_ids: Vec<String>,
    /// Why, in a sentence.
    pub reason: String,
}

/// What else than a lesion in its place may cause a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Raised pressure in the head.
    RaisedPressure,
    /// What a seizure leaves for hours to days.
    SeizureAftermath,
    /// Swelling or pressure of the lesion beside it.
    MassEffect,
    /// Another lesion.
    SecondLesion,
    /// Another disease.
    OtherDisease,
    /// The service did not say.
    Unknown,
}

/// A finding without which the verdict would be another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Pivot {
    /// Its key.
    pub finding_id: String,
    /// The verdict without it.
    pub verdict_without: Verdict,
}

/// Where the patient could go.
#[derive(Clone, Serialize)]
pub struct Referral {
    /// Best first.
    pub hospitals: Vec<Hospital>,
    /// Why the list is empty or shorter than asked; empty otherwise.
    pub reason: String,
    /// Where the patient lives; null if unknown.
    pub home: Option<Place>,
    /// What the patient calls for in a hospital, the essential first.
    pub requirements: Vec<Requirement>,
    /// Kinds of tumour worth thinking of when a hospital is chosen. No diagnosis.
    pub tumour_hints: Vec<TumourHint>,
    /// Version of the rules by which hospitals were ranked; empty if it was not told.
    pub ranking_version: String,
}

/// A capability that is called for, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Requirement {
    /// What is called for, such as `awake_mapping`.
    pub capability: String,
    /// Why, as the end of a sentence: `for a tumour of the brain stem`.
    pub why: String,
    /// True if a hospital without it is left out.
    pub essential: bool,
}

/// A kind of tumour that site, age and image make worth thinking of. No diagnosis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TumourHint {
    /// Stable name, such as `lower_grade_glioma`.
    pub kind: String,
    /// What speaks for it, in a sentence.
    pub reason: String,
    /// Capabilities that it adds to what is wanted.
    pub capabilities: Vec<String>,
    /// Where the advice comes from.
    pub source: String,
}

/// A place on earth, WGS 84.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Place {
    /// Degrees north.
    pub latitude_degrees: f64,
    /// Degrees east.
    pub longitude_degrees: f64,
}

/// A hospital and why it stands where it does.
#[derive(Clone, Serialize)]
pub struct Hospital {
    /// Stable key in the directory.
    pub hospital_id: String,
    /// Its name.
    pub name: String,
    /// City.
    pub city: String,
    /// Where it is; null if the directory does not say.
    pub location: Option<Place>,
    /// What it offers, such as `neurosurgery`.
    pub capabilities: Vec<String>,
    /// Sum of the weighted factors, 0 to 1.
    pub score: f64,
    /// Every factor of the score.
    pub factors: Vec<Factor>,
    /// Great-circle distance from the patient's home, in kilometres; null if the home is unknown.
    pub distance_km: Option<f64>,
    /// Estimated time on the road from there, in minutes; null if the home is unknown.
    pub travel_minutes: Option<f64>,
    /// Beds free now; null if it was not told.
    pub beds_free: Option<u32>,
    /// Why, in a sentence.
    pub reason: String,
}

/// One factor of a hospital's score.
#[derive(Clone, Serialize)]
pub struct Factor {
    /// Name, such as `capability`.
    pub name: String,
    /// Value, 0 to 1.
    pub value: f64,
    /// Weight, 0 to 1.
    pub weight: f64,
    /// What the value rests on.
    pub explanation: String,
}

/// The model that marked the tumour.
#[derive(Clone, Serialize)]
pub struct Model {
    /// Name and version.
    pub model_id: String,
    /// SHA-256 of its weights, in hexadecimal digits.
    pub weights_sha256: String,
    /// Device it ran on: `cpu` or `cuda:N`.
    pub device: String,
    /// Time the network took, in seconds.
    pub inference_seconds: f64,
    /// Preprocessing profile and version, such as `whole` and 1.
    pub profile: String,
    /// Version of the preprocessing profile.
    pub profile_version: u32,
}

/// How the run went.
#[derive(Clone, Serialize)]
pub struct Run {
    /// In the order they ran.
    pub steps: Vec<Step>,
    /// From start to report, in seconds.
    pub total_seconds: f64,
    /// Most memory that the process held, in bytes; null where the system does not tell.
    pub peak_memory_bytes: Option<u64>,
}

/// One step of the run.
#[derive(Clone, Debug, Serialize)]
pub struct Step {
    /// Name, such as `segment`.
    pub name: &'static str,
    /// How long it took, in seconds.
    pub seconds: f64,
}

#[cfg(test)]
pub(crate) mod tests;
