//! Compares where the symptoms point with where the image shows the lesion.
//!
//! Pure: no I/O, no clock. A softened naive Bayes over lateralised regions gives a likelihood for
//! each region from the symptoms; the image gives a weight for each region. The two are compared
//! with one another, and each finding by itself with the image.
//!
//! With `L(r)` the likelihood of all findings in region `r`, `P` the prior of gliomas and `I` the
//! weights of the image: `A` is how well the lesion explains the findings, the greater of `Σ I·L`
//! and of `L` in any region that holds a quarter of the lesion; `B = Σ P·L` is how well a glioma of
//! any place does, and `M = max L` how well the best place would. Concordance is
//! `0.5 + 0.5 · ln(A/B) / ln(M/B)` if `A ≥ B`, else `A / (A + B)`: 1 if the lesion lies where the
//! findings point most, 0.5 if it explains them no better than chance, near 0 if it does not.

mod explain;
mod fit;
mod likelihood;
mod regions;
mod site;
mod verdict;
mod words;

#[cfg(test)]
mod tests;

use neurotriage_domain::{RegionName, Side};
use serde::{Deserialize, Serialize};

pub use self::explain::{Alternative, Pivot};
pub use self::site::{SIDE_SHARE_MIN, SymptomSite, symptom_site};
use crate::evidence::{EvidenceTable, Handedness, Urgency};

/// Share of the summed log likelihood ratios that is believed: findings predict the place of a
/// tumour less well than a table of signs suggests.
pub const SHRINKAGE: f64 = 0.8;

/// Part that each further finding of a group counts, relative to the one before it.
pub const GROUP_DISCOUNT: f64 = 0.5;

/// Least information, `ln(M/B)` in nats, for a verdict. A seizure alone gives about 0.1, apathy
/// alone 0.6, a hemianopia with its side 2.
pub const INFORMATION_MIN: f64 = 0.5;

/// Least concordance of a concordant pair.
pub const CONCORDANT_MIN: f64 = 0.65;

/// Concordance below which the pair is discordant.
pub const DISCORDANT_BELOW: f64 = 0.40;

/// Share of the information that must come from explained findings in a concordant pair.
pub const EXPLAINED_CONCORDANT_MIN: f64 = 0.5;

/// Share of the information from explained findings below which the pair is discordant, if the
/// contradicted findings carry at least [`CONTRADICTED_DISCORDANT_MIN`].
pub const EXPLAINED_DISCORDANT_BELOW: f64 = 0.25;

/// Share of the information from contradicted findings; see [`EXPLAINED_DISCORDANT_BELOW`].
pub const CONTRADICTED_DISCORDANT_MIN: f64 = 0.5;

/// Mean likelihood ratio of a finding over the lesion below which the lesion contradicts it.
pub const CONTRADICTED_BELOW: f64 = 0.9;

/// Likelihood ratio from which a finding is said to point to a structure.
pub const POINTS_TO_MIN: f64 = 1.5;

/// Weight of the image in the places a finding points to, from which the lesion explains it.
pub const EXPLAINED_WEIGHT_MIN: f64 = 0.25;

/// Most regions of a list in the answer.
pub const REGIONS_LISTED_MAX: usize = 8;

/// Most checks that are proposed.
pub const NEXT_CHECKS_MAX: usize = 6;

/// One coded finding of the symptom report.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportedFinding {
    /// Key in the lexicon.
    pub finding_id: String,
    /// Ontology code.
    pub code: String,
    /// Plain English name.
    pub display_name: String,
    /// Side of the body; [`Side::Midline`] if both alike, `None` if not said.
    pub side: Option<Side>,
    /// False if the text denies it.
    pub present: bool,
    /// The words it was read from.
    pub matched_text: String,
}

impl std::fmt::Debug for ReportedFinding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // `matched_text` is the patient's own words.
        f.debug_struct("ReportedFinding")
            .field("finding_id", &self.finding_id)
            .field("side", &self.side)
            .field("present", &self.present)
            .finish_non_exhaustive()
    }
}

/// One lesion of the image.
#[derive(Clone, Debug, PartialEq)]
pub struct LesionSite {
    /// Whole tumour in millilitres.
    pub volume_ml: f64,
    /// How far the network may be trusted that it is there, 0 to 1; `None` if that is not known.
    pub confidence: Option<f64>,
    /// The regions it lies in.
    pub regions: Vec<LesionRegion>,
}

/// How much a region has of a lesion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LesionRegion {
    /// The region.
    pub region: RegionName,
    /// Its weight in naming the site, 0 to 1.
    pub weight: f64,
    /// The smallest and the greatest weight if the study lay a little off; `None` if not tried.
    pub span: Option<(f64, f64)>,
}

impl LesionRegion {
    /// Returns the weight as far as the place of the study is certain: the mean of the weight and of
    /// its least and greatest.
    fn expected_weight(self) -> f64 {
        match self.span {
            Some((least, greatest)) => (least + self.weight + greatest) / 3.0,
            None => self.weight,
        }
    }
}

/// Whether the image shows a tumour, by the word of the segmentation service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ImageOutcome {
    /// It does, as marked; or nothing was said, and the lesions speak for themselves.
    #[default]
    Tumour,
    /// It does not.
    NoTumourFound,
    /// The marking may be wrong: nothing is concluded from it.
    NotSure {
        /// Why, each a clause in plain English.
        reasons: Vec<String>,
    },
}

/// What the image shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageEvidence {
    /// Whether it shows a tumour.
    pub outcome: ImageOutcome,
    /// The lesions; empty if no tumour was found.
    pub lesions: Vec<LesionSite>,
    /// Why no region could be named; empty if regions were.
    pub space_reason: String,
}

/// Whether symptoms and image agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The symptoms point to the regions of the lesion.
    Concordant,
    /// Some do and some do not, or only the region or only the side agrees.
    PartlyConcordant,
    /// The symptoms point elsewhere.
    Discordant,
    /// The symptoms localise too little, no lesion was found or placed, or it is not sure that there
    /// is one.
    InsufficientEvidence,
}

/// How a finding fits the lesion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fit {
    /// The lesion lies where this finding points.
    Explained,
    /// The finding points elsewhere, or there is no placed lesion to explain it.
    Unexplained,
    /// The finding points nowhere in particular.
    NotLocalising,
    /// The finding was denied.
    Absent,
}

/// A region and how likely it is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct WeightedRegion {
    /// Which region.
    pub region: RegionName,
    /// Probability or weight, 0 to 1.
    pub weight: f64,
}

/// One finding and how it fits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FindingFit {
    /// The finding.
    pub finding: ReportedFinding,
    /// How it fits.
    pub fit: Fit,
    /// Why, in a sentence.
    pub reason: String,
    /// Regions it points to, strongest first; weights are shares of the likelihood.
    pub points_to: Vec<WeightedRegion>,
}

/// Image and symptoms compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Whether they agree.
    pub verdict: Verdict,
    /// Agreement, 0 to 1; absent if there is not enough evidence.
    pub concordance: Option<f64>,
    /// Why, in sentences a clinician can follow.
    pub reasons: Vec<String>,
    /// Every reported finding, in the order of the report.
    pub findings: Vec<FindingFit>,
    /// Where the symptoms alone point, by falling probability; empty if they point nowhere.
    pub symptom_regions: Vec<WeightedRegion>,
    /// Where the image shows the lesion, by falling weight.
    pub image_regions: Vec<WeightedRegion>,
    /// Site fused from both; `None` if unknown.
    pub confirmed_site: Option<RegionName>,
    /// How far the site may be trusted, 0 to 1: the share that it has of image times likelihood of the
    /// symptoms, times how far the lesions may be trusted. It ranks sites; it is no probability. `None`
    /// without a site.
    #[serde(default)]
    pub site_confidence: Option<f64>,
    /// Signs that need attention soon.
    pub urgent_signs: Vec<String>,
    /// The most urgent of them.
    pub urgency: Urgency,
    /// What to do to know more.
    pub next_checks: Vec<String>,
    /// What else may explain findings that the lesion does not.
    #[serde(default)]
    pub alternatives: Vec<Alternative>,
    /// Findings without which the verdict would be another.
    #[serde(default)]
    pub pivots: Vec<Pivot>,
    /// Keys of findings that a lesion there makes more frequent and that were denied.
    #[serde(default)]
    pub expected_but_absent: Vec<String>,
    /// Keys of findings that a lesion there makes far more frequent and that the report does not
    /// mention, the most telling first.
    #[serde(default)]
    pub worth_asking: Vec<String>,
}

/// Compares the findings of a report with the lesions of an image.
///
/// The order of `findings` changes nothing but the order of [`Comparison::findings`] and of the reasons
/// that repeat them. A finding that
/// is reported twice counts once; on both sides, it counts without a side. A denied finding counts
/// against the places where it is frequent, if the table knows how frequent it is.
pub fn compare(
    table: &EvidenceTable,
    findings: &[ReportedFinding],
    handedness: Handedness,
    image: &ImageEvidence,
) -> Comparison {
    let space = regions::RegionSpace::new(table);
    let language_left = table.language_left(handedness);
    let image_weights = match image.outcome {
        ImageOutcome::Tumour => space.image(image),
        // What may not be there is compared with nothing and names no site.
        ImageOutcome::NoTumourFound | ImageOutcome::NotSure { .. } => None,
    };
    let case = Case {
        table,
        space: &space,
        language_left,
        image: image_weights.as_deref(),
        unplaced: words::unplaced(image),
    };
    let (symptoms, fits, judged) = case.judge(findings);
    let pivots = explain::pivots(findings, judged.verdict, |kept| case.judge(kept).2.verdict);
    let alternatives = explain::alternatives(table, &fits, image_weights.is_some());
    let expected = explain::expected(table, &space, findings, image_weights.as_deref());
    let confirmed_site = image_weights
        .as_deref()
        .and_then(|weights| space.most_likely_site(weights, symptoms.likelihoods()));
    let site_confidence = image_weights.as_deref().zip(confirmed_site).map(|(weights, site)| {
        space.share_of_site(weights, symptoms.likelihoods(), site) * regions::trust(image)
    });
    let (urgency, urgent_signs) = verdict::urgent_signs(table, findings);
    let context = verdict::Context { table, space: &space, handedness, image };
    let reasons = verdict::reasons(&context, &judged, &fits, image_weights.as_deref());
    let next_checks = verdict::next_checks(&context, &judged, &fits, image_weights.as_deref());
    let symptom_regions = if symptoms.point_nowhere() {
        Vec::new()
    } else {
        space.listed(&space.posterior(symptoms.likelihoods()))
    };
    Comparison {
        verdict: judged.verdict,
        concordance: judged.concordance,
        reasons,
        findings: fits.into_iter().map(fit::FitDetail::into_answer).collect(),
        symptom_regions,
        image_regions: image_weights
            .as_deref()
            .map_or_else(Vec::new, |weights| space.listed(weights)),
        confirmed_site,
        site_confidence,
        urgent_signs,
        urgency,
        next_checks,
        alternatives,
        pivots,
        expected_but_absent: expected.absent,
        worth_asking: expected.unasked,
    }
}

/// What a list of findings is judged against.
struct Case<'a> {
    table: &'a EvidenceTable,
    space: &'a regions::RegionSpace,
    language_left: f64,
    image: Option<&'a [f64]>,
    unplaced: &'a str,
}

impl Case<'_> {
    fn judge(
        &self,
        findings: &[ReportedFinding],
    ) -> (likelihood::Symptoms, Vec<fit::FitDetail>, verdict::Judged) {
        let Self { table, space, language_left, image, unplaced } = *self;
        let symptoms = likelihood::Symptoms::of(table, findings, space, language_left);
        let fits: Vec<fit::FitDetail> = findings
            .iter()
            .map(|finding| fit::of(table, space, language_left, finding, image, unplaced))
            .collect();
        let judged = verdict::judge(space, &symptoms, &fits, image);
        (symptoms, fits, judged)
    }
}
