//! How a tumour is spread over regions and over the midline.

use neurotriage_domain::{RegionName, Side, VoxelSpacing};

use crate::{
    Atlas, LocaliseOptions,
    label_map::LABEL_COUNT,
    localisation::{CompartmentRegion, MidlineShare, RegionShare, Site, Tissue},
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

/// Voxels by atlas label.
type Counts = [u64; LABEL_COUNT];

/// Voxels of a tumour by place.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// Voxels of necrotic core, oedema and enhancing tumour by atlas label, assigned ones included.
    tissues: [Counts; 3],
    /// Voxels of those three.
    totals: [u64; 3],
    /// Voxels that overlap the label itself.
    overlapping: Counts,
    assigned: u64,
    outside: u64,
    left: u64,
    right: u64,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            tissues: [[0; LABEL_COUNT]; 3],
            totals: [0; 3],
            overlapping: [0; LABEL_COUNT],
            assigned: 0,
            outside: 0,
            left: 0,
            right: 0,
        }
    }

    /// Counts one voxel with its mask label, given where it lies in the template.
    pub(crate) fn add(&mut self, atlas: &Atlas, place_mm: [f64; 3], label: u8) {
        match atlas.side_at(place_mm) {
            Side::Left => self.left += 1,
            Side::Right | Side::Midline => self.right += 1,
        }
        let tissue = match label {
            1 => 0,
            2 => 1,
            _ => 2,
        };
        self.totals[tissue] += 1;
        let voxel = atlas.map().voxel_from_world.apply(place_mm);
        let mut found = atlas.map().at_voxel(voxel);
        if atlas.region_of_label(found).is_some() {
            self.overlapping[usize::from(found)] += 1;
        } else {
            found = atlas.nearest_label_at_voxel(voxel);
            if found == 0 {
                self.outside += 1;
                return;
            }
            self.assigned += 1;
        }
        self.tissues[tissue][usize::from(found)] += 1;
    }

    /// Adds the voxels of another tally.
    pub(crate) fn merge(&mut self, other: &Self) {
        for tissue in 0..3 {
            self.totals[tissue] += other.totals[tissue];
            for label in 0..LABEL_COUNT {
                self.tissues[tissue][label] += other.tissues[tissue][label];
            }
        }
        for label in 0..LABEL_COUNT {
            self.overlapping[label] += other.overlapping[label];
        }
        self.assigned += other.assigned;
        self.outside += other.outside;
        self.left += other.left;
        self.right += other.right;
    }

    /// Returns the share of voxels too far from every region.
    pub(crate) fn share_outside(&self) -> f64 {
        share(self.outside, self.left + self.right)
    }

    /// Returns the voxels of one tissue with a label.
    fn count(&self, tissue: Tissue, label: usize) -> u64 {
        parts(tissue).iter().map(|&part| self.tissues[part][label]).sum()
    }

    fn total(&self, tissue: Tissue) -> u64 {
        parts(tissue).iter().map(|&part| self.totals[part]).sum()
    }

    /// Returns how one tissue is spread over regions, largest share first.
    pub(crate) fn regions_of(
        &self,
        tissue: Tissue,
        atlas: &Atlas,
        spacing: VoxelSpacing,
    ) -> Vec<CompartmentRegion> {
        let total = self.total(tissue);
        let mut regions = Vec::new();
        for label in 1..=u8::MAX {
            let voxels = self.count(tissue, usize::from(label));
            let Some(region) = atlas.region_of_label(label).filter(|_| voxels > 0) else {
                continue;
            };
            let volume_ml = ml(voxels, spacing);
            regions.push(CompartmentRegion { region, volume_ml, share: share(voxels, total) });
        }
        regions.sort_by(|a, b| b.share.total_cmp(&a.share).then_with(|| a.region.cmp(&b.region)));
        regions
    }

    /// Returns the site that the counts describe; its stability is not known yet.
    pub(crate) fn site(
        &self,
        atlas: &Atlas,
        spacing: VoxelSpacing,
        options: &LocaliseOptions,
    ) -> Site {
        let total = self.total(Tissue::Whole);
        let sum = |tissue| (1..LABEL_COUNT).map(|label| self.count(tissue, label)).sum::<u64>();
        let (core_inside, inside_total) = (sum(Tissue::Core), sum(Tissue::Whole));
        let core_ml = ml(core_inside, spacing);
        let core_weight = CORE_WEIGHT_MAX * core_ml / (core_ml + CORE_HALF_ML);
        let mut regions = Vec::new();
        for label in 1..=u8::MAX {
            let index = usize::from(label);
            let (core, whole) = (self.count(Tissue::Core, index), self.count(Tissue::Whole, index));
            let Some(region) = atlas.region_of_label(label).filter(|_| whole > 0) else {
                continue;
            };
            let region_ml = atlas.volume_ml(region);
            regions.push(RegionShare {
                region,
                display_name: region.display_name(),
                korean_name: korean_region_name(region),
                snomed_code: snomed_concept(region.structure).map(|term| term.code.to_owned()),
                snomed_display: snomed_concept(region.structure)
                    .map(|term| term.display.to_owned()),
                volume_ml: ml(whole, spacing),
                share: share(whole, total),
                core_ml: ml(core, spacing),
                core_share: share(core, core_inside),
                site_weight: core_weight * share(core, core_inside)
                    + (1.0 - core_weight) * share(whole, inside_total),
                region_occupied_share: (ml(self.overlapping[index], spacing) / region_ml).min(1.0),
                share_range: None,
                is_certain: true,
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
            stability: None,
        }
    }

    fn midline(&self, spacing: VoxelSpacing, options: &LocaliseOptions) -> MidlineShare {
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
            left_ml: ml(self.left, spacing),
            right_ml: ml(self.right, spacing),
            share_across,
            crosses_midline: ml(across, spacing) >= options.across_ml_min
                && share_across >= options.across_share_min,
        }
    }
}

/// Returns the places in [`Tally::tissues`] that make up a tissue.
fn parts(tissue: Tissue) -> &'static [usize] {
    match tissue {
        Tissue::Whole => &[0, 1, 2],
        Tissue::Core => &[0, 2],
        Tissue::NecroticCore => &[0],
        Tissue::Oedema => &[1],
        Tissue::Enhancing => &[2],
    }
}

fn ml(voxels: u64, spacing: VoxelSpacing) -> f64 {
    voxels as f64 * spacing.voxel_volume_mm3() / 1000.0
}

/// Returns the heaviest region that is no ventricle, or the heaviest of all.
fn main_region(by_weight: &[RegionShare]) -> Option<RegionName> {
    let solid = by_weight.iter().find(|share| !is_ventricle(share.region.structure));
    solid.or_else(|| by_weight.first()).map(|share| share.region)
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}
