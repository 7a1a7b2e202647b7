//! Places and findings in plain English.

use neurotriage_domain::{RegionName, Side, Structure};

use super::{ReportedFinding, WeightedRegion};

/// Most places named in one sentence.
const PLACES_MAX: usize = 3;

/// Returns a structure on a side as part of a sentence: `the left frontal lobe`, `the frontal
/// lobes`, `the brain stem`.
pub(super) fn place(structure: Structure, side: Option<Side>) -> String {
    let name = match structure {
        Structure::Caudate
        | Structure::Putamen
        | Structure::GlobusPallidus
        | Structure::SubthalamicNucleus => "basal ganglia",
        _ => structure.display_name(),
    };
    match (structure, side) {
        (_, Some(side @ (Side::Left | Side::Right))) => format!("the {side} {name}"),
        (
            Structure::Frontal | Structure::Temporal | Structure::Parietal | Structure::Occipital,
            Some(Side::Midline) | None,
        ) => format!("the {name}s"),
        (_, Some(Side::Midline) | None) => format!("the {name}"),
    }
}

/// Returns a region as part of a sentence.
pub(super) fn region(region: RegionName) -> String {
    place(region.structure, Some(region.side))
}

/// Returns places joined by `or`: regions of both sides alike become one place, the first few are
/// named.
pub(super) fn places(points_to: &[WeightedRegion]) -> String {
    let mut names: Vec<String> = Vec::new();
    for entry in points_to {
        let twin = points_to.iter().any(|other| {
            other.region.structure == entry.region.structure
                && other.region.side == entry.region.side.opposite()
                && entry.region.side != Side::Midline
        });
        let side = if twin { None } else { Some(entry.region.side) };
        let name = place(entry.region.structure, side);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.truncate(PLACES_MAX);
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
