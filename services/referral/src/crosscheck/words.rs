//! Places and findings in plain English.

use neurotriage_domain::{RegionName, Side, Structure};

use super::{ImageEvidence, ImageOutcome, ReportedFinding, WeightedRegion};

/// Most places named in one sentence.
const PLACES_MAX: usize = 3;

/// Returns a structure on a side as part of a sentence: `the left frontal lobe`, `the frontal
/// lobes`, `the brain stem`.
pub(super) fn place(structure: Structure, side: Option<Side>) -> String {
    let is_basal = matches!(
        structure,
        Structure::Caudate
            | Structure::Putamen
            | Structure::GlobusPallidus
            | Structure::SubthalamicNucleus
    );
    let name = if is_basal { "basal ganglia" } else { structure.display_name() };
    let is_lobe = matches!(
        structure,
        Structure::Frontal | Structure::Temporal | Structure::Parietal | Structure::Occipital
    );
    match side {
        Some(side @ (Side::Left | Side::Right)) => format!("the {side} {name}"),
        Some(Side::Midline) | None if is_lobe => format!("the {name}s"),
        Some(Side::Midline) | None => format!("the {name}"),
    }
}

/// Returns why the image names no place, as the end of a sentence.
pub(super) fn unplaced(image: &ImageEvidence) -> &'static str {
    match image.outcome {
        ImageOutcome::NotSure { .. } => "it is not sure what the image shows",
        ImageOutcome::NoTumourFound => "no lesion was found there or elsewhere",
        ImageOutcome::Tumour if image.space_reason.is_empty() => {
            "no lesion was found there or elsewhere"
        }
        ImageOutcome::Tumour => "the lesion could not be placed",
    }
}

/// Returns a region as part of a sentence.
pub(super) fn region(region: RegionName) -> String {
    place(region.structure, Some(region.side))
}

/// Returns places joined by `or`: regions of both sides alike become one place, the strongest few
/// are named, and `site` among them if it is pointed to.
pub(super) fn places(points_to: &[WeightedRegion], site: Option<RegionName>) -> String {
    let named = |entry: &WeightedRegion| {
        let twin = points_to.iter().any(|other| {
            other.region.structure == entry.region.structure
                && other.region.side == entry.region.side.opposite()
                && entry.region.side != Side::Midline
        });
        let side = if twin { None } else { Some(entry.region.side) };
        place(entry.region.structure, side)
    };
    let mut names: Vec<String> = Vec::new();
    for entry in points_to {
        let name = named(entry);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let of_site = points_to.iter().find(|entry| Some(entry.region) == site).map(named);
    let cut_off = |name: &String| names.iter().take(PLACES_MAX).all(|kept| kept != name);
    match of_site.filter(cut_off) {
        Some(name) => {
            names.truncate(PLACES_MAX - 1);
            names.push(name);
        }
        None => names.truncate(PLACES_MAX),
    }
    list(&names, "or")
}

/// Returns `a`, `a or b`, `a, b or c`.
pub(super) fn list(names: &[String], joint: &str) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} {joint} {last}", first.join(", ")),
    }
}

/// Returns a finding with its side: `hemianopia (right)`.
pub(super) fn finding(finding: &ReportedFinding) -> String {
    let name = finding.display_name.to_lowercase();
    let name = if name.is_empty() { finding.finding_id.replace('_', " ") } else { name };
    match finding.side {
        Some(side @ (Side::Left | Side::Right)) => format!("{name} ({side})"),
        Some(Side::Midline) => format!("{name} (both sides)"),
        None => name,
    }
}

/// Returns the sentence with its first letter raised.
pub(super) fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// Returns a share as a percentage: `62 %`.
pub(super) fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}
