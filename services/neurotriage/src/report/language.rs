//! What a report says in words: one catalogue for each language, with the same entries.
//!
//! `Labels` are words that never change; `Wording` makes sentences from the fields of a report.
//! Knows nothing of HTML: what it returns is plain text.

mod english;
mod findings;
mod korean;
mod phrasebook;

#[cfg(test)]
mod tests;

use std::{fmt, str::FromStr};

use neurotriage_domain::{Side, Structure};

use super::{
    Assessment, Factor, Finding, Fit, Hospital, Image, Lesion, Outcome, Placement, Referral,
    Report, Requirement, TumourHint, Verdict,
};

/// Language of a report for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Korean.
    Korean,
}

impl Language {
    /// Every language.
    pub const ALL: [Self; 2] = [Self::English, Self::Korean];

    /// Returns the tag of BCP 47: `en` or `ko`.
    pub fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Korean => "ko",
        }
    }

    /// Returns the catalogue.
    pub(super) fn wording(self) -> &'static dyn Wording {
        match self {
            Self::English => &english::English,
            Self::Korean => &korean::Korean,
        }
    }
}

impl fmt::Display for Language {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.tag())
    }
}

/// Text that names no language of reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown language of reports; expected en or ko")]
pub struct UnknownLanguage;

impl FromStr for Language {
    type Err = UnknownLanguage;

    fn from_str(text: &str) -> Result<Self, UnknownLanguage> {
        Self::ALL.into_iter().find(|language| language.tag() == text).ok_or(UnknownLanguage)
    }
}

/// Words that are the same in every report.
pub(super) struct Labels {
    pub(super) report: &'static str,
    pub(super) made: &'static str,
    pub(super) study: &'static str,
    pub(super) phantom: &'static str,
    pub(super) notice: &'static str,
    pub(super) image_and_symptoms: &'static str,
    pub(super) site_from_both: &'static str,
    pub(super) not_determined: &'static str,
    pub(super) marking_uncertainty: &'static str,
    pub(super) urgent: &'static str,
    pub(super) slices_alt: &'static str,
    pub(super) slices_caption: &'static str,
    pub(super) outlines_alt: &'static str,
    pub(super) outlines_caption: &'static str,
    pub(super) enhancing: &'static str,
    pub(super) necrotic_core: &'static str,
    pub(super) oedema: &'static str,
    pub(super) image_heading: &'static str,
    pub(super) no_region_named: &'static str,
    pub(super) no_lesion: &'static str,
    pub(super) lesion_confidence: &'static str,
    pub(super) region: &'static str,
    pub(super) side: &'static str,
    pub(super) of_tumour: &'static str,
    pub(super) of_core: &'static str,
    pub(super) uncertain: &'static str,
    pub(super) uncertain_note: &'static str,
    pub(super) eloquent: &'static str,
    pub(super) contacts: &'static str,
    pub(super) agreement_heading: &'static str,
    pub(super) image: &'static str,
    pub(super) symptoms: &'static str,
    pub(super) symptoms_heading: &'static str,
    pub(super) fit: &'static str,
    pub(super) finding: &'static str,
    pub(super) read_from: &'static str,
    pub(super) why: &'static str,
    pub(super) not_understood: &'static str,
    pub(super) not_understood_why: &'static str,
    pub(super) to_consider_heading: &'static str,
    pub(super) next_checks_heading: &'static str,
    pub(super) hospitals_heading: &'static str,
    pub(super) requirements: &'static str,
    pub(super) essential: &'static str,
    pub(super) tumour_hints: &'static str,
    pub(super) provenance_heading: &'static str,
    pub(super) model: &'static str,
    pub(super) weights: &'static str,
    pub(super) preprocessing: &'static str,
    pub(super) space: &'static str,
    pub(super) space_unknown: &'static str,
    pub(super) atlas: &'static str,
    pub(super) evidence: &'static str,
    pub(super) lexicon: &'static str,
    pub(super) ranking: &'static str,
    pub(super) files: &'static str,
    pub(super) grid: &'static str,
    pub(super) voxels: &'static str,
    pub(super) patient: &'static str,
    pub(super) assessment: &'static str,
    pub(super) segmentation: &'static str,
    pub(super) time: &'static str,
    pub(super) peak_memory: &'static str,
    pub(super) software: &'static str,
    pub(super) original: &'static str,
    pub(super) schematic: SchematicLabels,
    pub(super) map: MapLabels,
}

/// Words in and beside the drawing of the brain.
pub(super) struct SchematicLabels {
    pub(super) heading: &'static str,
    pub(super) description: &'static str,
    pub(super) caption: &'static str,
    pub(super) right_view: &'static str,
    pub(super) left_view: &'static str,
    pub(super) deep_view: &'static str,
    pub(super) middle_view: &'static str,
    pub(super) front: &'static str,
    pub(super) back: &'static str,
    pub(super) right: &'static str,
    pub(super) left: &'static str,
    pub(super) shares: &'static str,
    pub(super) pointed: &'static str,
    pub(super) beside: &'static str,
    pub(super) more_below: &'static str,
}

/// Words in and beside the map of hospitals.
pub(super) struct MapLabels {
    pub(super) title: &'static str,
    pub(super) caption_home: &'static str,
    pub(super) caption_no_home: &'static str,
    pub(super) home: &'static str,
    pub(super) north: &'static str,
}

/// What a report says of its fields, in one language.
pub(super) trait Wording: Sync {
    fn labels(&self) -> &'static Labels;

    /// Returns the side of a region.
    fn side(&self, side: Side) -> &'static str;
    /// Returns the side of the body that a finding is on.
    fn body_side(&self, side: Side) -> &'static str;
    /// Returns the name of a region by its stable name.
    fn region(&self, region: &str, display_name: &str) -> String;
    /// Returns the name of a structure as short as a drawing needs it.
    fn structure(&self, structure: Structure) -> &'static str;
    /// Returns the name of a finding by its key.
    fn finding(&self, finding_id: &str) -> String;
    /// Returns a finding of the report with its side.
    fn sided_finding(&self, finding: &Finding) -> String;
    fn fit(&self, fit: Fit) -> &'static str;
    fn verdict(&self, verdict: Verdict) -> &'static str;
    fn verdict_meaning(&self, verdict: Verdict) -> &'static str;
    fn outcome(&self, outcome: Outcome) -> &'static str;
    /// Returns a capability of a hospital by its stable name.
    fn capability(&self, name: &str) -> String;
    /// Returns a factor of the ranking by its name.
    fn factor(&self, name: &str) -> String;
    /// Returns a step of the run by its name.
    fn step(&self, name: &str) -> String;
    /// Returns a duration such as `0.4 s`, `12 s` or `2 min 05 s`.
    fn seconds(&self, seconds: f64) -> String;

    /// Returns the finding in the image in one sentence.
    fn headline(&self, image: &Image) -> String;
    fn outcome_reasons(&self, image: &Image) -> Vec<String>;
    fn space_reason(&self, image: &Image) -> String;
    fn placement(&self, placement: Placement) -> String;
    /// Returns how far the middle of the brain is pushed; `None` if that is not known.
    fn midline_shift(&self, placement: Placement) -> Option<String>;
    fn lesion_title(&self, number: usize, count: usize, lesion: &Lesion) -> String;
    fn more_regions(&self, count: usize) -> String;
    fn assigned_by_distance(&self, share: f64) -> String;
    fn small_components(&self, count: u32) -> String;
    /// Returns the eloquent areas of a lesion, nearest first, in a clause; empty if there are none.
    fn eloquent(&self, lesion: &Lesion) -> String;
    /// Returns what a lesion reaches and whether it has satellites, in a clause; empty if nothing is
    /// known.
    fn contacts(&self, lesion: &Lesion) -> String;
    /// Returns a number of 0 to 1 with its word.
    fn of_one(&self, value: f64, word: &str) -> String;
    fn uncertainty(&self, value: f64) -> &'static str;
    fn confidence(&self, value: f64) -> &'static str;
    fn agreement(&self, concordance: f64) -> String;

    /// Returns the reasons of the verdict that are not told beside a finding.
    fn reasons(&self, report: &Report) -> Vec<String>;
    /// Returns why a finding fits or not.
    fn finding_reason(&self, finding: &Finding, report: &Report) -> String;
    fn urgent_signs(&self, assessment: &Assessment) -> Vec<String>;
    /// Returns what is worth a thought beside the verdict, in sentences.
    fn to_consider(&self, assessment: &Assessment) -> Vec<String>;
    fn next_checks(&self, assessment: &Assessment) -> Vec<String>;

    fn hospitals_reason(&self, referral: &Referral) -> String;
    fn hospital_reason(&self, hospital: &Hospital, referral: &Referral) -> String;
    /// Returns a capability that is called for, with its reason.
    fn requirement(&self, requirement: &Requirement) -> String;
    /// Returns what speaks for a kind of tumour; empty if the catalogue has no words for it.
    fn tumour_hint(&self, hint: &TumourHint) -> String;
    fn score(&self, score: f64) -> String;
    /// Returns what a factor of the ranking rests on; empty if the catalogue has no words for it.
    fn factor_explanation(
        &self,
        factor: &Factor,
        hospital: &Hospital,
        referral: &Referral,
    ) -> String;

    /// Returns sentences of the services that this catalogue has no words for.
    fn untold(&self, report: &Report) -> Vec<String>;
}
