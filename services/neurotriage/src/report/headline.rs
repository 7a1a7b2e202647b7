//! The finding in one sentence.

use super::{Image, Outcome, RegionShare, Space, text};

/// Regions named in the headline at most.
const HEADLINE_REGIONS_MAX: usize = 3;
/// Smallest share of a lesion that the headline mentions, 0 to 1.
const HEADLINE_SHARE_MIN: f64 = 0.05;

/// Returns the finding in one sentence, such as `Lesion of 84.2 ml: left frontal lobe (61 %).`
pub fn headline(image: &Image) -> String {
    match image.outcome {
        Some(Outcome::NoTumourFound) => "No tumour was found in the image.".to_owned(),
        Some(Outcome::NotSure) if image.lesions.is_empty() => {
            "Not sure whether there is a tumour: none is marked, but a person must look.".to_owned()
        }
        Some(Outcome::NotSure) => {
            format!("Not sure: a person must look. Marked: {}", marked(image))
        }
        Some(Outcome::Tumour) | None => marked(image),
    }
}

/// Returns what is marked, in one sentence.
fn marked(image: &Image) -> String {
    let Some(largest) = image.lesions.first() else {
        return "No tumour was found in the image.".to_owned();
    };
    let volume = if image.lesions.len() == 1 {
        format!("Lesion of {:.1} ml", largest.volumes.whole_ml)
    } else {
        format!(
            "{} lesions, {:.1} ml in all; the largest of {:.1} ml",
            image.lesions.len(),
            image.volumes.whole_ml,
            largest.volumes.whole_ml
        )
    };
    if image.space == Space::Unknown {
        return format!("{volume}; the space of the image is unknown, so no region is named.");
    }
    let mut regions: Vec<&RegionShare> = largest.regions.iter().collect();
    regions.sort_by(|a, b| b.share.total_cmp(&a.share));
    let named: Vec<String> = regions
        .iter()
        .enumerate()
        .take_while(|(rank, region)| *rank == 0 || region.share >= HEADLINE_SHARE_MIN)
        .take(HEADLINE_REGIONS_MAX)
        .map(|(_, region)| format!("{} ({})", region.display_name, text::percent(region.share)))
        .collect();
    if named.is_empty() {
        return format!("{volume}; no region of the atlas is touched.");
    }
    let crossing = if largest.crosses_midline { "; crosses the midline" } else { "" };
    format!("{volume}: {}{crossing}.", named.join(", "))
}
