//! How one finding fits the lesion.

use neurotriage_domain::{RegionName, Side};

use super::{
    CONTRADICTED_BELOW, EXPLAINED_WEIGHT_MIN, FindingFit, Fit, POINTS_TO_MIN, ReportedFinding,
    WeightedRegion,
    likelihood::{information, ratios},
    regions::{RegionSpace, dot},
    words,
};
use crate::evidence::{EvidenceTable, FindingEvidence};

/// Side factor from which a region counts as on the side that the finding points to; 1 is no hint.
const SIDE_FITS_MIN: f64 = 1.0 - 1e-9;

/// A fit with what the verdict needs to know of it.
pub(super) struct FitDetail {
    finding: ReportedFinding,
    pub(super) fit: Fit,
    reason: String,
    points_to: Vec<WeightedRegion>,
    /// How much the finding says about the place, in nats; 0 if it does not localise.
    pub(super) information: f64,
    /// Weight of the image where the finding points, 0 to 1.
    pub(super) reached: f64,
    /// The lesion lies in a structure the finding points to, whatever the side.
    pub(super) region_agrees: bool,
    /// The finding gives a side; true if the lesion is on it, as far as its structure agrees.
    pub(super) side_agrees: Option<bool>,
    /// The lesion makes the finding less likely than a glioma of any place would.
    pub(super) contradicted: bool,
    /// It counts as evidence, but its side and not its structure does.
    pub(super) gives_side_only: bool,
}

impl FitDetail {
    pub(super) fn finding(&self) -> &ReportedFinding {
        &self.finding
    }

    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    pub(super) fn into_answer(self) -> FindingFit {
        FindingFit {
            finding: self.finding,
            fit: self.fit,
            reason: self.reason,
            points_to: self.points_to,
        }
    }

    fn plain(finding: &ReportedFinding, fit: Fit, reason: String) -> Self {
        Self {
            finding: finding.clone(),
            fit,
            reason: words::sentence(&reason),
            points_to: Vec::new(),
            information: 0.0,
            reached: 0.0,
            region_agrees: false,
            side_agrees: None,
            contradicted: false,
            gives_side_only: false,
        }
    }
}

/// Where the lesion lies, seen from one finding.
struct Overlap {
    /// Weight of the image in structures the finding points to.
    region: f64,
    /// The same, on the side it points to.
    region_and_side: f64,
}

pub(super) fn of(
    table: &EvidenceTable,
    space: &RegionSpace,
    language_left: f64,
    finding: &ReportedFinding,
    image: Option<&[f64]>,
    unplaced: &str,
) -> FitDetail {
    let name = words::finding(finding);
    if !finding.present {
        return FitDetail::plain(finding, Fit::Absent, format!("{name} was denied"));
    }
    let Some(evidence) = table.finding(&finding.finding_id) else {
        let reason = format!("{name} is not in the evidence table and is not compared");
        return FitDetail::plain(finding, Fit::NotLocalising, reason);
    };
    let ratios = ratios(evidence, finding.side, language_left, space);
    let factor = |region: RegionName| {
        evidence.side_factor(region.structure, region.side, finding.side, language_left)
    };
    let pointed: Vec<bool> = space
        .regions()
        .iter()
        .map(|region| evidence.likelihood_ratio(region.structure) >= POINTS_TO_MIN)
        .collect();
    if !pointed.contains(&true) {
        return not_localising(finding, evidence, &name, space, &ratios, factor);
    }
    let points_to = points_to(space, &ratios, &pointed, factor);
    let sided = space.regions().iter().zip(&pointed).any(|(&region, &pointed)| {
        pointed && region.side != Side::Midline && factor(region) < SIDE_FITS_MIN
    });
    let mut detail = FitDetail {
        points_to,
        information: information(&ratios, space),
        ..FitDetail::plain(finding, Fit::Unexplained, String::new())
    };
    let site = image.map(|image| main_site(space, image));
    let places = words::places(&detail.points_to, site);
    let (Some(image), Some(site)) = (image, site) else {
        detail.reason = words::sentence(&format!("{name} points to {places}; {unplaced}"));
        return detail;
    };
    let overlap = overlap(space, image, &pointed, factor);
    detail.reached = overlap.region_and_side;
    detail.region_agrees = overlap.region >= EXPLAINED_WEIGHT_MIN;
    let explained = overlap.region_and_side >= EXPLAINED_WEIGHT_MIN;
    if explained {
        detail.fit = Fit::Explained;
    }
    detail.contradicted = !explained && dot(image, &ratios) < CONTRADICTED_BELOW;
    detail.side_agrees = (sided && detail.region_agrees).then_some(explained);
    let judgement = match (explained, detail.region_agrees) {
        (true, _) if pointed_at(&detail.points_to, site) => {
            format!("the lesion's main site is {}", words::region(site))
        }
        (true, _) => {
            format!("{} of the lesion's weight lies there", words::percent(overlap.region_and_side))
        }
        (false, true) => {
            format!(
                "the structure fits and the side does not: the lesion's main site is {}",
                words::region(site)
            )
        }
        (false, false) => {
            format!("the lesion's main site is {}, which does not explain it", words::region(site))
        }
    };
    detail.reason = words::sentence(&format!("{name} points to {places}; {judgement}"));
    detail
}

fn not_localising(
    finding: &ReportedFinding,
    evidence: &FindingEvidence,
    name: &str,
    space: &RegionSpace,
    ratios: &[f64],
    factor: impl Fn(RegionName) -> f64,
) -> FitDetail {
    let hinted = space
        .regions()
        .iter()
        .map(|&region| (region.side, factor(region)))
        .max_by(|a, b| a.1.total_cmp(&b.1))
        .filter(|(_, factor)| *factor > 1.0 + 1e-9);
    let informative = ratios.iter().any(|ratio| (ratio - 1.0).abs() > 1e-9);
    let reason = match (hinted, informative) {
        (Some((side, factor)), _) => format!(
            "{name} names no region; it hints at the {side} side in about {} of patients",
            words::percent(factor / 2.0)
        ),
        (None, true) => format!("{name} is only a weak hint at the region"),
        (None, false) if evidence.urgent_sign.is_some() => {
            format!("{name} counts for urgency and points to no region")
        }
        (None, false) => format!("{name} is a general symptom and points to no region"),
    };
    FitDetail {
        gives_side_only: hinted.is_some(),
        ..FitDetail::plain(finding, Fit::NotLocalising, reason)
    }
}

fn points_to(
    space: &RegionSpace,
    ratios: &[f64],
    pointed: &[bool],
    factor: impl Fn(RegionName) -> f64,
) -> Vec<WeightedRegion> {
    let weights: Vec<f64> = space
        .regions()
        .iter()
        .zip(ratios.iter().zip(pointed))
        .map(
            |(&region, (&ratio, &pointed))| {
                if pointed && factor(region) >= SIDE_FITS_MIN { ratio } else { 0.0 }
            },
        )
        .collect();
    let sum: f64 = weights.iter().sum();
    let mut sorted = space.sorted(&weights);
    sorted.retain(|entry| entry.weight > 0.0);
    for entry in &mut sorted {
        entry.weight /= sum;
    }
    sorted.truncate(super::REGIONS_LISTED_MAX);
    sorted
}

fn overlap(
    space: &RegionSpace,
    image: &[f64],
    pointed: &[bool],
    factor: impl Fn(RegionName) -> f64,
) -> Overlap {
    let mut overlap = Overlap { region: 0.0, region_and_side: 0.0 };
    for ((&region, &weight), &pointed) in space.regions().iter().zip(image).zip(pointed) {
        if !pointed {
            continue;
        }
        overlap.region += weight;
        if factor(region) >= SIDE_FITS_MIN {
            overlap.region_and_side += weight;
        }
    }
    overlap
}

/// Returns the region that holds most of the lesion.
pub(super) fn main_site(space: &RegionSpace, image: &[f64]) -> RegionName {
    space.sorted(image)[0].region
}

fn pointed_at(points_to: &[WeightedRegion], site: RegionName) -> bool {
    points_to.iter().any(|entry| entry.region == site)
}
