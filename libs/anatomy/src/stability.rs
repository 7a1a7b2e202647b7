//! How an answer changes if the study is placed a little off.

use neurotriage_domain::{RegionName, VoxelSpacing};
use neurotriage_imaging::AffineMap;

use crate::{
    Atlas, LocaliseOptions, PlacedBy,
    distribution::Tally,
    localisation::{PossibleRegion, Site, Stability},
};

/// Shift along each axis, and turn about it: by header and by registration.
///
/// Registered from other places, the real studies at hand come back within 3 mm; by their headers
/// they lie 4 to 20 mm from where registration puts them, some of it pitch.
const SHIFT_MM: [f64; 2] = [5.0, 3.0];
const TURN_DEGREES: [f64; 2] = [5.0, 3.0];

/// Most voxels looked up at each place.
const VOXELS_MAX: usize = 20_000;

/// A region is certain if every place keeps at least this part of its share.
const SHARE_KEPT_MIN: f64 = 0.5;

/// A region that is not reached is worth naming if some place gives it this share.
const POSSIBLE_SHARE_MIN: f64 = 0.05;

/// Places a tumour a little off, in all directions, and writes into its site how the answer changes.
///
/// `voxels` are the tumour's places in the template and their labels.
pub(crate) fn judge(
    site: &mut Site,
    voxels: &[([f64; 3], u8)],
    atlas: &Atlas,
    spacing: VoxelSpacing,
    placed_by: PlacedBy,
    options: &LocaliseOptions,
) {
    let which = usize::from(placed_by == PlacedBy::Registration);
    let (shift_mm, turn_degrees) = (SHIFT_MM[which], TURN_DEGREES[which]);
    let step = voxels.len() / VOXELS_MAX + 1;
    let mut tried: Vec<Site> = Vec::new();
    for change in changes(atlas.centre_mm(), shift_mm, turn_degrees) {
        let mut tally = Tally::new();
        for (place_mm, label) in voxels.iter().step_by(step) {
            tally.add(atlas, change.apply(*place_mm), *label);
        }
        tried.push(tally.site(atlas, spacing, options));
    }
    let same = tried.iter().filter(|other| other.main_region == site.main_region).count();
    for region in &mut site.regions {
        let shares = tried.iter().map(|other| share_of(other, region.region));
        let (low, high) = range(shares.chain([region.share]));
        region.share_range = Some([low, high]);
        region.is_certain = low >= SHARE_KEPT_MIN * region.share;
    }
    let mut possible: Vec<PossibleRegion> = Vec::new();
    for region in tried.iter().flat_map(|other| &other.regions) {
        if site.region(region.region).is_some() || region.share < POSSIBLE_SHARE_MIN {
            continue;
        }
        match possible.iter_mut().find(|known| known.region == region.region) {
            Some(known) => known.share_max = known.share_max.max(region.share),
            None => {
                possible.push(PossibleRegion { region: region.region, share_max: region.share })
            }
        }
    }
    possible
        .sort_by(|a, b| b.share_max.total_cmp(&a.share_max).then_with(|| a.region.cmp(&b.region)));
    let main_region_share = same as f64 / tried.len().max(1) as f64;
    site.stability = Some(Stability { shift_mm, turn_degrees, main_region_share, possible });
}

fn share_of(site: &Site, region: RegionName) -> f64 {
    site.region(region).map_or(0.0, |share| share.share)
}

fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
        (low.min(value), high.max(value))
    })
}

/// Returns shifts along each axis and turns about it, both ways.
fn changes(centre_mm: [f64; 3], shift_mm: f64, turn_degrees: f64) -> Vec<AffineMap> {
    let mut changes = Vec::with_capacity(12);
    for axis in 0..3 {
        for sign in [1.0, -1.0] {
            let along = |size: f64| {
                let mut vector = [0.0; 3];
                vector[axis] = sign * size;
                vector
            };
            changes.push(AffineMap::shift([0.0; 3], along(shift_mm)));
            changes.push(AffineMap::rotation(centre_mm, along(turn_degrees.to_radians())));
        }
    }
    changes
}
