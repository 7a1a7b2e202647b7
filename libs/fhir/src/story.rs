//! A patient's story, and the bundle that it becomes.

use std::collections::HashSet;

use neurotriage_domain::Side;
use serde_json::{Value, json};
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use crate::{
    bundle::{BYTES_MAX, ENTRIES_MAX},
    derived,
    element::{uri_identifier, uuid_uri},
    finding::{self, StoredNote, StoredReport},
    patient::{self, StoredPatient},
    time_text::instant,
};

/// Ids that are derived here, from what they name.
const NAMESPACE: Uuid = Uuid::from_u128(0x6d1f_0f4e_4b0a_5c53_9a3e_1c5d_8a27_f0e1);

/// Returns the id of what `name` names.
pub(crate) fn derived_id(name: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, name.as_bytes())
}

/// An imaging study.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Study {
    /// Its id.
    pub study_id: Uuid,
    /// The caller's own name for it; may be empty.
    pub accession: String,
    /// When it was stored; `None` if its images are not kept here.
    pub stored_at: Option<OffsetDateTime>,
    /// Day the images were made.
    pub acquired_on: Option<Date>,
    /// What it is; may be empty.
    pub description: String,
    /// Names of its sequences, such as `FLAIR`; empty if its images are not kept here.
    pub sequences: Vec<String>,
}

/// Sizes of a lesion, in millilitres.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Volumes {
    /// Whole tumour.
    pub whole_ml: f64,
    /// Necrotic and non-enhancing core.
    pub necrotic_core_ml: f64,
    /// Oedema.
    pub oedema_ml: f64,
    /// Enhancing tumour.
    pub enhancing_ml: f64,
}

/// A region of the brain.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// Stable name, such as `frontal_left`.
    pub name: String,
    /// Plain English.
    pub display_name: String,
    /// SNOMED CT code of the structure; empty where none is assigned.
    pub snomed_code: String,
    /// Side of the region.
    pub side: Option<Side>,
    /// Part of the lesion in it, in millilitres.
    pub volume_ml: f64,
}

/// A lesion that a model marked.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lesion {
    /// Its sizes.
    pub volumes: Volumes,
    /// Longest diameter, in millimetres.
    pub diameter_max_mm: f64,
    /// Side that holds more of it.
    pub side: Option<Side>,
    /// Region that names the site; empty if unknown.
    pub main_region: String,
    /// Regions by falling weight.
    pub regions: Vec<Region>,
    /// How far it may be trusted, 0 to 1.
    pub confidence: Option<f64>,
}

/// Whether a tumour was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outcome {
    /// Not said.
    #[default]
    Unsaid,
    /// A tumour, as marked.
    Tumour,
    /// None.
    NoTumourFound,
    /// A person must look.
    NotSure,
}

/// What a model made of a study.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Segmentation {
    /// Its id.
    pub segmentation_id: Uuid,
    /// The study.
    pub study_id: Uuid,
    /// The model.
    pub model_id: String,
    /// SHA-256 of the model's weights.
    pub weights_sha256: String,
    /// When it was stored.
    pub created_at: Option<OffsetDateTime>,
    /// Whether a tumour was found.
    pub outcome: Outcome,
    /// Why that is not sure.
    pub outcome_reasons: Vec<String>,
    /// Atlas with its version.
    pub atlas: String,
    /// Largest first.
    pub lesions: Vec<Lesion>,
}

/// Whether symptoms and image agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They do.
    Concordant,
    /// In part.
    PartlyConcordant,
    /// They do not.
    Discordant,
    /// Not enough is known.
    InsufficientEvidence,
}

/// Image and symptoms compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Assessment {
    /// Its id.
    pub assessment_id: Uuid,
    /// When it was stored.
    pub created_at: OffsetDateTime,
    /// The report that was read.
    pub symptom_report_id: Uuid,
    /// The segmentation that was read.
    pub segmentation_id: Uuid,
    /// Whether they agree.
    pub verdict: Verdict,
    /// How far, 0 to 1.
    pub concordance: Option<f64>,
    /// Why, in sentences.
    pub reasons: Vec<String>,
    /// Signs that need attention soon.
    pub urgent_signs: Vec<String>,
    /// Site fused from both: stable name, plain English and side.
    pub site: Option<(String, String, Side)>,
    /// Names of the hospitals ranked, best first.
    pub hospitals: Vec<String>,
    /// Version of the evidence table.
    pub evidence_version: String,
    /// Version of the rules by which hospitals were ranked.
    pub ranking_version: String,
}

/// How far a referral is, by FHIR's `request-status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferralStatus {
    /// Written, not sent.
    Draft,
    /// Sent, and not ended.
    Active,
    /// The patient was seen.
    Completed,
    /// Declined, withdrawn or not answered.
    Revoked,
}

/// A patient referred to a hospital.
#[derive(Clone, Debug, PartialEq)]
pub struct Referral {
    /// Its id.
    pub referral_id: Uuid,
    /// How far it is.
    pub status: ReferralStatus,
    /// The same as this suite names it, such as `accepted`.
    pub state: String,
    /// The assessment that led to it.
    pub assessment_id: Uuid,
    /// Where to.
    pub hospital_id: String,
    /// Who refers.
    pub referrer_id: String,
    /// When it was drafted.
    pub created_at: OffsetDateTime,
    /// The appointment.
    pub scheduled_at: Option<OffsetDateTime>,
    /// Why it was declined or withdrawn; may be empty.
    pub reason: String,
}

/// A hospital that a patient was referred to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hospital {
    /// Its id in the directory.
    pub hospital_id: String,
    /// Its name.
    pub name: String,
    /// City.
    pub city: String,
    /// System and value of the names that other registers gave it.
    pub identifiers: Vec<(String, String)>,
}

/// A patient's story.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Story {
    /// Whose it is.
    pub patient: StoredPatient,
    /// What was reported.
    pub reports: Vec<StoredReport>,
    /// Notes.
    pub notes: Vec<StoredNote>,
    /// Imaging studies.
    pub studies: Vec<Study>,
    /// What models made of them.
    pub segmentations: Vec<Segmentation>,
    /// Image and symptoms compared.
    pub assessments: Vec<Assessment>,
    /// Referrals.
    pub referrals: Vec<Referral>,
    /// The hospitals they go to.
    pub hospitals: Vec<Hospital>,
    /// Version of this software.
    pub software_version: String,
}

/// A story does not fit in one bundle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "story has {entries} entries and {bytes} bytes; one bundle holds {ENTRIES_MAX} entries and \
     {BYTES_MAX} bytes: ask for fewer parts or a later time"
)]
pub struct StoryTooLarge {
    /// Entries it would have.
    pub entries: usize,
    /// Bytes it would have; 0 if it has too many entries.
    pub bytes: usize,
}

/// Writes the resources of a story; knows which ids stand in the bundle.
pub(crate) struct Writer<'a> {
    pub(crate) story: &'a Story,
    held: HashSet<Uuid>,
}

impl<'a> Writer<'a> {
    fn new(story: &'a Story) -> Self {
        let mut held: HashSet<Uuid> = story.studies.iter().map(|one| one.study_id).collect();
        held.extend(story.assessments.iter().map(|one| one.assessment_id));
        held.extend(story.segmentations.iter().map(|one| one.segmentation_id));
        for stored in &story.reports {
            held.insert(stored.symptom_report_id);
            let places = 0..stored.report.findings.len();
            held.extend(places.map(|place| finding::finding_id(stored, place)));
        }
        Self { story, held }
    }

    /// Returns a reference to the resource of that id: to its entry if it is in the bundle, else by its
    /// identifier.
    pub(crate) fn reference(&self, resource_type: &str, id: Uuid) -> Value {
        let uri = uuid_uri(id);
        if self.held.contains(&id) {
            json!({ "reference": uri, "type": resource_type })
        } else {
            json!({ "type": resource_type, "identifier": uri_identifier(&uri) })
        }
    }

    /// Returns a reference to the patient.
    pub(crate) fn subject(&self) -> Value {
        patient::subject(self.story.patient.patient_id)
    }

    fn resources(&self, now: OffsetDateTime) -> Vec<Value> {
        let mut resources = vec![patient::resource(&self.story.patient)];
        for report in &self.story.reports {
            resources.extend(finding::resources(self, report));
        }
        resources.extend(self.story.notes.iter().map(|note| finding::note_resource(self, note)));
        resources.extend(derived::resources(self, now));
        resources
    }
}

impl Story {
    /// Returns the story as a bundle, made at `now`.
    ///
    /// # Errors
    /// [`StoryTooLarge`] if the bundle would be one that [`read`](crate::import::read) refuses.
    pub fn bundle(&self, now: OffsetDateTime) -> Result<String, StoryTooLarge> {
        let resources = Writer::new(self).resources(now);
        let entries = resources.len();
        if entries > ENTRIES_MAX {
            return Err(StoryTooLarge { entries, bytes: 0 });
        }
        let entry = |resource: Value| {
            let full_url = format!("urn:uuid:{}", resource["id"].as_str().unwrap_or_default());
            json!({ "fullUrl": full_url, "resource": resource })
        };
        let bundle = json!({
            "resourceType": "Bundle",
            "id": Uuid::now_v7(),
            "identifier": uri_identifier(&uuid_uri(Uuid::now_v7())),
            "type": "collection",
            "timestamp": instant(now),
            "entry": resources.into_iter().map(entry).collect::<Vec<_>>(),
        });
        let text = bundle.to_string();
        if text.len() > BYTES_MAX {
            return Err(StoryTooLarge { entries, bytes: text.len() });
        }
        Ok(text)
    }
}
