//! Places and particles in Korean.

use neurotriage_anatomy::{korean_name, korean_region_name};
use neurotriage_domain::{RegionName, Side};

use super::super::super::{
    RegionProbability,
    text::{plain, words},
};

/// Most places named in one sentence.
const PLACES_MAX: usize = 3;

/// Returns `word` with the particle that fits its last sound: `first` after a consonant.
pub(super) fn with_particle(word: &str, first: &str, second: &str) -> String {
    let spoken = word.trim_end_matches(|c: char| !c.is_alphanumeric());
    // Words in brackets are read, and the particle follows what is read last.
    let closed = match spoken.chars().next_back().map(u32::from) {
        Some(code @ 0xAC00..=0xD7A3) => (code - 0xAC00) % 28 != 0,
        _ => false,
    };
    format!("{word}{}", if closed { first } else { second })
}

/// Returns the name of a region with its side first, or the service's own where it is unknown.
pub(super) fn region_by_name(region: &str, display_name: &str) -> String {
    region.parse::<RegionName>().map_or_else(
        |_| if display_name.is_empty() { words(region) } else { plain(display_name) },
        korean_region_name,
    )
}

/// Returns places joined by commas: regions of both sides alike become one place.
pub(super) fn places(points_to: &[RegionProbability]) -> String {
    let parsed: Vec<Option<RegionName>> =
        points_to.iter().map(|place| place.region.parse().ok()).collect();
    let mut names: Vec<String> = Vec::new();
    for (place, region) in points_to.iter().zip(&parsed) {
        let name = match region {
            Some(region) if has_twin(*region, &parsed) => {
                format!("양쪽 {}", korean_name(region.structure))
            }
            _ => region_by_name(&place.region, &place.display_name),
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.truncate(PLACES_MAX);
    names.join(", ")
}

fn has_twin(region: RegionName, among: &[Option<RegionName>]) -> bool {
    region.side != Side::Midline
        && among.iter().flatten().any(|other| {
            other.structure == region.structure && other.side == region.side.opposite()
        })
}
