//! From a mask to lesions and regions.

use ndarray::Array3;
use neurotriage_domain::VoxelSpacing;
use neurotriage_imaging::{AffineMap, Mask};
use neurotriage_metrics::distance::squared_distance_mm2;

use crate::{
    ATLAS_VERSION, AnatomyError, Atlas, NEAREST_MM_MAX,
    diameter::Hulls,
    distribution::{Maps, Tally},
    grid::{Bounds, Oriented, Part},
    lesion::{LesionVoxels, find_lesions},
    localisation::{
        AxialDiameters, BoundingBox, Caution, CompartmentVolumes, Lesion, Localisation,
        RegionDistance, Site, Space,
    },
    space::reason_not_sri24,
};

/// Most lesions that are listed; the smaller ones beyond are counted.
pub const LESIONS_MAX: usize = 100;

/// With more than this share of the tumour outside, a reader is warned.
const OUTSIDE_CAUTION_SHARE: f64 = 0.1;

/// With more than this share of the tumour outside, the mask cannot lie in the atlas's space.
const OUTSIDE_SHARE_MAX: f64 = 0.5;

/// Says so.
const OUTSIDE_REASON: &str = "most of the tumour lies outside the brain of the template; register \
                              the study to SRI24 first";

/// How the space of a mask is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpaceRule {
    /// From where its field of view lies.
    Recognise,
    /// The caller knows that its millimetres are those of SRI24, such as after registration, even
    /// if the field of view is another.
    AssumeSri24,
}

/// How to localise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LocaliseOptions {
    /// How the space of the mask is known.
    pub space: SpaceRule,
    /// Components at most this far apart are one lesion, in millimetres.
    pub lesion_gap_mm: f64,
    /// Anything smaller is counted, not listed, in millilitres.
    pub lesion_ml_min: f64,
    /// Least volume beyond the midline for a tumour to cross it, in millilitres.
    pub across_ml_min: f64,
    /// Least share beyond the midline for a tumour to cross it, 0 to 0.5.
    pub across_share_min: f64,
}

impl Default for LocaliseOptions {
    fn default() -> Self {
        Self {
            space: SpaceRule::Recognise,
            lesion_gap_mm: 5.0,
            lesion_ml_min: 0.1,
            across_ml_min: 1.0,
            across_share_min: 0.05,
        }
    }
}

/// Localises a mask with [`Atlas::embedded`].
///
/// # Shapes
/// - `mask`: any orientation and spacing; labels 0, 1, 2, 3 or 4
///
/// # Errors
/// [`AnatomyError::Label`], [`AnatomyError::NoVoxels`] or [`AnatomyError::Geometry`] if the mask
/// is not one; [`AnatomyError::Atlas`] if the atlas is damaged. A mask without tumour is no
/// error: the answer has no lesions.
pub fn localise(mask: &Mask, options: &LocaliseOptions) -> Result<Localisation, AnatomyError> {
    localise_in(&*Atlas::embedded()?, mask, options)
}

/// Localises a mask with an atlas of the caller.
///
/// # Shapes
/// - `mask`: any orientation and spacing; labels 0, 1, 2, 3 or 4
///
/// # Errors
/// As [`localise`].
pub fn localise_in(
    atlas: &Atlas,
    mask: &Mask,
    options: &LocaliseOptions,
) -> Result<Localisation, AnatomyError> {
    let oriented = Oriented::new(mask.voxels.view(), (&mask.affine).into())?;
    if let Some(&value) = oriented.labels.iter().find(|&&label| label > 4) {
        return Err(AnatomyError::Label { value });
    }
    let spacing = oriented.spacing;
    let inside = oriented.labels.indexed_iter().filter(|(_, label)| **label != 0);
    let bounds = Bounds::around(inside.map(|((x, y, z), _)| [x, y, z]));
    let maps = Maps {
        world_from_voxel: oriented.world_from_voxel,
        atlas_from_voxel: atlas.voxel_map(&oriented.world_from_voxel),
    };
    let work = Work { atlas, oriented: &oriented, maps, options };
    let mut space_reason = match options.space {
        SpaceRule::Recognise => reason_not_sri24(&oriented),
        SpaceRule::AssumeSri24 => None,
    };
    let mut found = Found::default();
    if let Some(bounds) = &bounds {
        found = work.find(&oriented.crop(bounds), &mut space_reason);
    }
    let mut cautions = Vec::new();
    if space_reason.is_some() {
        cautions.push(Caution::SpaceUnknown);
    }
    if bounds.is_some_and(|bounds| touches_border(&bounds, oriented.shape())) {
        cautions.push(Caution::TouchesImageBorder);
    }
    if found.site.as_ref().is_some_and(|site| site.share_outside > OUTSIDE_CAUTION_SHARE) {
        cautions.push(Caution::FarFromRegions);
    }
    if found.ignored.too_many {
        cautions.push(Caution::LesionsLeftOut);
    }
    Ok(Localisation {
        space: if space_reason.is_some() { Space::Unknown } else { Space::Sri24 },
        space_reason,
        atlas: ATLAS_VERSION.to_owned(),
        volumes: total(&found.lesions),
        lesions: found.lesions,
        components_ignored: found.ignored.components,
        ignored_ml: volume_ml(found.ignored.voxels, spacing),
        site: found.site,
        cautions,
    })
}

/// Returns the number of the lesion that each voxel belongs to: 1 for the first of
/// [`Localisation::lesions`], and so on; 0 outside and in what is too small to be listed.
///
/// For whoever sums something up by lesion: it takes the localiser's word for what one is.
///
/// # Shapes
/// - `mask`: any orientation and spacing; labels 0, 1, 2, 3 or 4
/// - returns: `[x, y, z]` of the mask brought to LPS order; that of `mask` if it is in LPS order
///
/// # Errors
/// [`AnatomyError::NoVoxels`] or [`AnatomyError::Geometry`].
pub fn lesion_numbers(mask: &Mask, options: &LocaliseOptions) -> Result<Array3<u8>, AnatomyError> {
    let oriented = Oriented::new(mask.voxels.view(), (&mask.affine).into())?;
    let mut numbers = Array3::zeros(oriented.labels.dim());
    let inside = oriented.labels.indexed_iter().filter(|(_, label)| **label != 0);
    let Some(bounds) = Bounds::around(inside.map(|((x, y, z), _)| [x, y, z])) else {
        return Ok(numbers);
    };
    let part = oriented.crop(&bounds);
    let groups = find_lesions(&part.labels, oriented.spacing, options.lesion_gap_mm);
    // At most 100 are listed.
    for (number, lesion) in (1_u8..).zip(split(groups, oriented.spacing, options).0) {
        for voxel in lesion.voxels {
            numbers[in_mask(&part, voxel)] = number;
        }
    }
    Ok(numbers)
}

/// What a mask holds.
#[derive(Default)]
struct Found {
    lesions: Vec<Lesion>,
    site: Option<Site>,
    ignored: Ignored,
}

/// What is not listed.
#[derive(Default)]
struct Ignored {
    components: u32,
    voxels: usize,
    too_many: bool,
}

/// Splits lesions, largest first, into those to list and the rest.
fn split(
    mut found: Vec<LesionVoxels>,
    spacing: VoxelSpacing,
    options: &LocaliseOptions,
) -> (Vec<LesionVoxels>, Ignored) {
    let large = found
        .iter()
        .take_while(|lesion| volume_ml(lesion.voxels.len(), spacing) >= options.lesion_ml_min)
        .count();
    let rest = found.split_off(large.min(LESIONS_MAX));
    let ignored = Ignored {
        components: rest.iter().map(|lesion| lesion.components).sum(),
        voxels: rest.iter().map(|lesion| lesion.voxels.len()).sum(),
        too_many: large > LESIONS_MAX,
    };
    (found, ignored)
}

/// What every lesion of a mask is described with.
struct Work<'a> {
    atlas: &'a Atlas,
    oriented: &'a Oriented<'a>,
    maps: Maps,
    options: &'a LocaliseOptions,
}

impl Work<'_> {
    /// Describes the lesions of the part that holds them all.
    ///
    /// Writes a reason into `space_reason` if they lie where no brain is.
    fn find(&self, part: &Part, space_reason: &mut Option<String>) -> Found {
        let spacing = self.oriented.spacing;
        let groups = find_lesions(&part.labels, spacing, self.options.lesion_gap_mm);
        let (listed, ignored) = split(groups, spacing, self.options);
        let mut tallies = Vec::new();
        let mut all = Tally::new();
        if space_reason.is_none() {
            for lesion in &listed {
                let tally = self.tally(part, lesion);
                all.merge(&tally);
                tallies.push(tally);
            }
        }
        if all.share_outside() > OUTSIDE_SHARE_MAX {
            *space_reason = Some(OUTSIDE_REASON.to_owned());
            tallies.clear();
        }
        let lesions = listed
            .iter()
            .enumerate()
            .map(|(number, lesion)| self.describe(part, lesion, tallies.get(number)))
            .collect();
        let site = (!tallies.is_empty()).then(|| all.site(self.atlas, spacing, self.options));
        Found { lesions, site, ignored }
    }

    fn tally(&self, part: &Part, lesion: &LesionVoxels) -> Tally {
        let mut tally = Tally::new();
        for &voxel in &lesion.voxels {
            tally.add(self.atlas, &self.maps, in_mask(part, voxel), part.labels[voxel]);
        }
        tally
    }

    fn describe(&self, part: &Part, lesion: &LesionVoxels, tally: Option<&Tally>) -> Lesion {
        let spacing = self.oriented.spacing;
        let bounds = Bounds::around(lesion.voxels.iter().map(|&voxel| in_mask(part, voxel)))
            .unwrap_or(Bounds { start: [0; 3], end: [0; 3] });
        let mut whole = Array3::from_elem(bounds.shape(), false);
        let mut core = whole.clone();
        for &voxel in &lesion.voxels {
            let at = in_mask(part, voxel);
            let at = [0, 1, 2].map(|axis| at[axis] - bounds.start[axis]);
            whole[at] = true;
            core[at] = part.labels[voxel] != 2;
        }
        let hulls = Hulls::of(whole.view(), spacing);
        Lesion {
            volumes: volumes(part, lesion, spacing),
            components: lesion.components,
            centroid_mm: self.centroid_mm(part, lesion),
            bounding_box: bounding_box(&bounds, &self.maps.world_from_voxel),
            diameter_max_mm: hulls.diameter_max_mm(),
            axial_whole: hulls.axial(bounds.start[2]).unwrap_or(NO_DIAMETERS),
            axial_core: Hulls::of(core.view(), spacing).axial(bounds.start[2]),
            site: tally.map(|tally| tally.site(self.atlas, spacing, self.options)),
            nearby: tally.map_or_else(Vec::new, |tally| self.nearby(&whole, &bounds, tally)),
        }
    }

    fn centroid_mm(&self, part: &Part, lesion: &LesionVoxels) -> [f64; 3] {
        let mut sum = [0.0; 3];
        for &voxel in &lesion.voxels {
            let at = in_mask(part, voxel);
            for axis in 0..3 {
                sum[axis] += at[axis] as f64;
            }
        }
        let count = lesion.voxels.len().max(1) as f64;
        self.maps.world_from_voxel.apply(sum.map(|sum| sum / count))
    }

    /// Returns the regions within reach that the lesion does not overlap, nearest first.
    fn nearby(&self, whole: &Array3<bool>, bounds: &Bounds, tally: &Tally) -> Vec<RegionDistance> {
        let spacing = self.oriented.spacing;
        let wide = bounds.widened(NEAREST_MM_MAX, spacing, self.oriented.shape());
        let mut features = Array3::from_elem(wide.shape(), false);
        for ((x, y, z), &inside) in whole.indexed_iter() {
            let at = [x, y, z];
            features[[0, 1, 2].map(|axis| at[axis] + bounds.start[axis] - wide.start[axis])] =
                inside;
        }
        let squared = squared_distance_mm2(features.view(), spacing);
        let mut nearest_mm2 = [f32::INFINITY; 256];
        let reach_mm2 = (NEAREST_MM_MAX * NEAREST_MM_MAX) as f32;
        for ((x, y, z), &squared_mm2) in squared.indexed_iter() {
            if squared_mm2 > reach_mm2 {
                continue;
            }
            let at = [x, y, z];
            let voxel = [0, 1, 2].map(|axis| (at[axis] + wide.start[axis]) as f64);
            let label = self.atlas.label_at_voxel(self.maps.atlas_from_voxel.apply(voxel));
            let nearest = &mut nearest_mm2[usize::from(label)];
            *nearest = squared_mm2.min(*nearest);
        }
        let mut nearby = Vec::new();
        for label in 1..=u8::MAX {
            let squared_mm2 = nearest_mm2[usize::from(label)];
            let Some(region) = self.atlas.region_of_label(label) else {
                continue;
            };
            if squared_mm2.is_finite() && !tally.overlaps(label) {
                let distance_mm = f64::from(squared_mm2).sqrt();
                let display_name = region.display_name();
                nearby.push(RegionDistance { region, display_name, distance_mm });
            }
        }
        nearby.sort_by(|a, b| {
            a.distance_mm.total_cmp(&b.distance_mm).then_with(|| a.region.cmp(&b.region))
        });
        nearby
    }
}

/// Of a lesion without voxels, which does not occur.
const NO_DIAMETERS: AxialDiameters =
    AxialDiameters { longest_mm: 0.0, perpendicular_mm: 0.0, product_mm2: 0.0, slice: 0 };

fn in_mask(part: &Part, voxel: [usize; 3]) -> [usize; 3] {
    [0, 1, 2].map(|axis| voxel[axis] + part.start[axis])
}

fn volume_ml(voxels: usize, spacing: VoxelSpacing) -> f64 {
    voxels as f64 * spacing.voxel_volume_mm3() / 1000.0
}

fn volumes(part: &Part, lesion: &LesionVoxels, spacing: VoxelSpacing) -> CompartmentVolumes {
    let mut counts = [0_usize; 3];
    for &voxel in &lesion.voxels {
        match part.labels[voxel] {
            1 => counts[0] += 1,
            2 => counts[1] += 1,
            _ => counts[2] += 1,
        }
    }
    let [necrotic, oedema, enhancing] = counts;
    CompartmentVolumes {
        whole_ml: volume_ml(necrotic + oedema + enhancing, spacing),
        core_ml: volume_ml(necrotic + enhancing, spacing),
        necrotic_core_ml: volume_ml(necrotic, spacing),
        oedema_ml: volume_ml(oedema, spacing),
        enhancing_ml: volume_ml(enhancing, spacing),
    }
}

fn total(lesions: &[Lesion]) -> CompartmentVolumes {
    let sum = |of: fn(&CompartmentVolumes) -> f64| -> f64 {
        lesions.iter().map(|lesion| of(&lesion.volumes)).sum()
    };
    CompartmentVolumes {
        whole_ml: sum(|volumes| volumes.whole_ml),
        core_ml: sum(|volumes| volumes.core_ml),
        necrotic_core_ml: sum(|volumes| volumes.necrotic_core_ml),
        oedema_ml: sum(|volumes| volumes.oedema_ml),
        enhancing_ml: sum(|volumes| volumes.enhancing_ml),
    }
}

/// Returns the box in space around the outer faces of a box of voxels.
fn bounding_box(bounds: &Bounds, world_from_voxel: &AffineMap) -> BoundingBox {
    let mut box_mm = BoundingBox { min_mm: [f64::INFINITY; 3], max_mm: [f64::NEG_INFINITY; 3] };
    for corner in 0..8 {
        let at = [0, 1, 2].map(|axis| {
            let end = if corner >> axis & 1 == 0 { bounds.start[axis] } else { bounds.end[axis] };
            end as f64 - 0.5
        });
        let place = world_from_voxel.apply(at);
        for (axis, mm) in place.into_iter().enumerate() {
            box_mm.min_mm[axis] = mm.min(box_mm.min_mm[axis]);
            box_mm.max_mm[axis] = mm.max(box_mm.max_mm[axis]);
        }
    }
    box_mm
}

fn touches_border(bounds: &Bounds, shape: [usize; 3]) -> bool {
    (0..3).any(|axis| bounds.start[axis] == 0 || bounds.end[axis] == shape[axis])
}
