//! How a tumour is spread over regions and over the midline.

use neurotriage_domain::{RegionName, Side, VoxelSpacing};
use neurotriage_imaging::AffineMap;

use crate::{
    Atlas, LocaliseOptions,
    localisation::{MidlineShare, RegionShare, Site},
    terms::{is_ventricle, korean_region_name, snomed_concept},
};

/// Largest part that the core has in naming the site; the whole tumour has the rest.
///
/// A tumour starts in its core; oedema spreads along white matter into neighbouring lobes and
/// often is the larger part. It still counts, since it causes symptoms too.
const CORE_WEIGHT_MAX: f64 = 0.75;

/// Core volume at which the core has half of [`CORE_WEIGHT_MAX`], in millilitres: a speck of core
/// must not outvote the tumour around it, and no step must lie between a speck and a core.
const CORE_HALF_ML: f64 = 0.5;

/// If the smaller side holds at least this share, both sides are alike.
const SIDES_ALIKE_SHARE: f64 = 0.45;

/// Voxels of a tumour by place.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// Voxels of core and of oedema by atlas label, assigned ones included.
    core: [u64; 256],
    oedema: [u64; 256],
    /// Voxels that overlap the label itself.
    overlapping: [u64; 256],
    assigned: u64,
    outside: u64,
    left: u64,
    right: u64,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            core: [0; 256],
            oedema: [0; 256],
            overlapping: [0; 256],
            assigned: 0,
            outside: 0,
            left: 0,
            right: 0,
        }
    }

    /// Counts one voxel with its mask label, in a grid with these maps.
    pub(crate) fn add(&mut self, atlas: &Atlas, maps: &Maps, voxel: [usize; 3], label: u8) {
        let voxel = voxel.map(|index| index as f64);
        match atlas.side_at(maps.world_from_voxel.apply(voxel)) {
            Side::Left => self.left += 1,
            Side::Right | Side::Midline => self.right += 1,
        }
        let place = maps.atlas_from_voxel.apply(voxel);
        let mut found = atlas.label_at_voxel(place);
        if atlas.region_of_label(found).is_some() {
            self.overlapping[usize::from(found)] += 1;
        } else {
            found = atlas.nearest_label_at_voxel(place);
            if found == 0 {
                self.outside += 1;
                return;
            }
            self.assigned += 1;
        }
        let counts = if label == 2 { &mut self.oedema } else { &mut self.core };
        counts[usize::from(found)] += 1;
    }

    /// Adds the voxels of another tally.
    pub(crate) fn merge(&mut self, other: &Self) {
        for label in 0..256 {
            self.core[label] += other.core[label];
            self.oedema[label] += other.oedema[label];
            self.overlapping[label] += other.overlapping[label];
        }
        self.assigned += other.assigned;
        self.outside += other.outside;
        self.left += other.left;
        self.right += other.right;
    }

    /// Returns true if the tumour overlaps the region of this label.
    pub(crate) fn overlaps(&self, label: u8) -> bool {
        self.overlapping[usize::from(label)] > 0
    }

    /// Returns the share of voxels too far from every region.
    pub(crate) fn share_outside(&self) -> f64 {
        share(self.outside, self.left + self.right)
    }

    /// Returns the site that the counts describe.
    pub(crate) fn site(
        &self,
        atlas: &Atlas,
        spacing: VoxelSpacing,
        options: &LocaliseOptions,
    ) -> Site {
        let total = self.left + self.right;
        let ml = |voxels: u64| voxels as f64 * spacing.voxel_volume_mm3() / 1000.0;
        let core_total: u64 = self.core.iter().sum();
        let inside_total = core_total + self.oedema.iter().sum::<u64>();
        let core_weight = CORE_WEIGHT_MAX * ml(core_total) / (ml(core_total) + CORE_HALF_ML);
        let mut regions = Vec::new();
        for label in 1..=u8::MAX {
            let index = usize::from(label);
            let (core, whole) = (self.core[index], self.core[index] + self.oedema[index]);
            let Some(region) = atlas.region_of_label(label).filter(|_| whole > 0) else {
                continue;
            };
            let region_ml = atlas.volume_ml(region);
            regions.push(RegionShare {
                region,
                display_name: region.display_name(),
                korean_name: korean_region_name(region),
                snomed_code: snomed_concept(region.structure).map(|term| term.code.to_owned()),
                volume_ml: ml(whole),
                share: share(whole, total),
                core_ml: ml(core),
                core_share: share(core, core_total),
                site_weight: core_weight * share(core, core_total)
                    + (1.0 - core_weight) * share(whole, inside_total),
                region_occupied_share: (ml(self.overlapping[index]) / region_ml).min(1.0),
            });
        }
        regions.sort_by(|a, b| {
            b.site_weight.total_cmp(&a.site_weight).then_with(|| a.region.cmp(&b.region))
        });
        Site {
            main_region: main_region(&regions),
            midline: self.midline(spacing, options),
            regions,
            share_assigned_by_distance: share(self.assigned, total),
            share_outside: share(self.outside, total),
        }
    }

    fn midline(&self, spacing: VoxelSpacing, options: &LocaliseOptions) -> MidlineShare {
        let ml = |voxels: u64| voxels as f64 * spacing.voxel_volume_mm3() / 1000.0;
        let across = self.left.min(self.right);
        let share_across = share(across, self.left + self.right);
        let side = if share_across >= SIDES_ALIKE_SHARE {
            Side::Midline
        } else if self.left > self.right {
            Side::Left
        } else {
            Side::Right
        };
        MidlineShare {
            side,
            left_ml: ml(self.left),
            right_ml: ml(self.right),
            share_across,
            crosses_midline: ml(across) >= options.across_ml_min
                && share_across >= options.across_share_min,
        }
    }
}

/// Maps from the voxels of a mask.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Maps {
    pub(crate) world_from_voxel: AffineMap,
    pub(crate) atlas_from_voxel: AffineMap,
}

/// Returns the heaviest region that is no ventricle, or the heaviest of all.
fn main_region(by_weight: &[RegionShare]) -> Option<RegionName> {
    let solid = by_weight.iter().find(|share| !is_ventricle(share.region.structure));
    solid.or_else(|| by_weight.first()).map(|share| share.region)
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
