//! From a mask to lesions and regions.

use std::sync::Arc;

use ndarray::Array3;
use neurotriage_domain::VoxelSpacing;
use neurotriage_imaging::Mask;

use crate::{
    AnatomyError, Atlas,
    describe::{Cut, ml, volumes},
    distribution::Tally,
    eloquent::EloquentMap,
    frame::Frame,
    grid::{Bounds, Oriented, Part},
    lesion::{LesionVoxels, find_lesions},
    localisation::{
        Caution, CompartmentVolumes, Focality, Lesion, Localisation, Placement, Site, Space,
    },
    reach::{Reach, reach},
    stability,
    template::recognise,
};

/// Most lesions that are listed; the smaller ones beyond are counted.
pub const LESIONS_MAX: usize = 100;

/// With more than this share of the tumour outside, a reader is warned.
const OUTSIDE_CAUTION_SHARE: f64 = 0.1;

/// With more than this share of the tumour outside, the mask cannot lie in the atlas's space.
const OUTSIDE_SHARE_MAX: f64 = 0.5;

/// Says so.
const OUTSIDE_REASON: &str = "most of the tumour lies outside the brain of the template: give the \
                              image too, to register the study";

/// With a smaller share of the places tried giving the same main region, a reader is warned.
const STABLE_SHARE_MIN: f64 = 0.75;

/// How the space of a mask is known.
#[derive(Clone, Debug, PartialEq)]
pub enum SpaceRule {
    /// From where its field of view lies.
    Recognise,
    /// The caller knows, such as after registration.
    Placed(Placement),
    /// The caller knows that it lies in none.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// How to localise.
#[derive(Clone, Debug, PartialEq)]
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

/// Localises a mask with the atlases that come with the program.
///
/// # Shapes
/// - `mask`: any orientation and spacing; labels 0, 1, 2, 3 or 4
///
/// # Errors
/// [`AnatomyError::Label`], [`AnatomyError::NoVoxels`] or [`AnatomyError::Geometry`] if the mask
/// is not one; [`AnatomyError::Atlas`] if the atlas is damaged. A mask without tumour is no
/// error: the answer has no lesions.
pub fn localise(mask: &Mask, options: &LocaliseOptions) -> Result<Localisation, AnatomyError> {
    let given = (&mask.affine).into();
    let oriented = Oriented::new(mask.voxels.view(), given)?;
    if let Some(&value) = oriented.labels.iter().find(|&&label| label > 4) {
        return Err(AnatomyError::Label { value });
    }
    let (placement, mut space_reason) = match &options.space {
        SpaceRule::Placed(placement) => (Some(*placement), None),
        SpaceRule::Unknown { reason } => (None, Some(reason.clone())),
        SpaceRule::Recognise => match recognise(&oriented) {
            Ok(template) => (Some(Placement::by_header(template)), None),
            Err(reason) => (None, Some(reason)),
        },
    };
    let mut maps = placement.as_ref().map(TemplateMaps::new).transpose()?;
    let template_from_patient = placement.as_ref().map(|known| &known.template_from_patient);
    let mut frame = Frame::new(oriented, &given, template_from_patient)?;
    let inside = frame.oriented.labels.indexed_iter().filter(|(_, label)| **label != 0);
    let bounds = Bounds::around(inside.map(|((x, y, z), _)| [x, y, z]));
    let spacing = frame.oriented.spacing;
    let mut found = Found::default();
    if let Some(bounds) = &bounds {
        let part = frame.oriented.crop(bounds);
        let groups = find_lesions(&part.labels, spacing, options.lesion_gap_mm);
        let (listed, ignored) = split(groups, spacing, options);
        let placed = maps.as_ref().map(|maps| maps.places(&frame, &part, &listed));
        if placed.as_ref().is_some_and(|placed| placed.all.share_outside() > OUTSIDE_SHARE_MAX) {
            space_reason = Some(OUTSIDE_REASON.to_owned());
            (maps, frame.template_from_voxel) = (None, None);
        }
        let work = Work { frame: &frame, options };
        found = work.describe_all(&part, &listed, maps.as_ref().zip(placed.as_ref()));
        found.ignored = ignored;
    }
    let placement = placement.filter(|_| space_reason.is_none());
    let cautions = cautions(&frame, bounds.as_ref(), &found, placement.as_ref());
    Ok(Localisation {
        space: placement.map_or(Space::Unknown, |known| known.template.into()),
        space_reason,
        placement,
        atlas: maps.map_or_else(String::new, |maps| maps.atlas.name().to_owned()),
        focality: focality(&found.lesions),
        volumes: total(&found.lesions),
        lesions: found.lesions,
        components_ignored: found.ignored.components,
        ignored_ml: ml(found.ignored.voxels, spacing),
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
            numbers[part.in_mask(voxel)] = number;
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
        .take_while(|lesion| ml(lesion.voxels.len(), spacing) >= options.lesion_ml_min)
        .count();
    let rest = found.split_off(large.min(LESIONS_MAX));
    let ignored = Ignored {
        components: rest.iter().map(|lesion| lesion.components).sum(),
        voxels: rest.iter().map(|lesion| lesion.voxels.len()).sum(),
        too_many: large > LESIONS_MAX,
    };
    (found, ignored)
}

/// The maps of one template's space.
struct TemplateMaps {
    placement: Placement,
    atlas: Arc<Atlas>,
    areas: Arc<EloquentMap>,
}

impl TemplateMaps {
    fn new(placement: &Placement) -> Result<Self, AnatomyError> {
        Ok(Self {
            placement: *placement,
            atlas: Atlas::of(placement.template)?,
            areas: EloquentMap::of(placement.template)?,
        })
    }

    /// Looks every voxel of the lesions up.
    fn places(&self, frame: &Frame<'_>, part: &Part, listed: &[LesionVoxels]) -> Placed {
        let mut placed = Placed { all: Tally::new(), lesions: Vec::new(), voxels: Vec::new() };
        let Some(map) = frame.template_from_voxel else { return placed };
        for lesion in listed {
            let mut tally = Tally::new();
            let mut voxels = Vec::with_capacity(lesion.voxels.len());
            for &voxel in &lesion.voxels {
                let place_mm = map.apply(part.in_mask(voxel).map(|index| index as f64));
                tally.add(&self.atlas, place_mm, part.labels[voxel]);
                voxels.push((place_mm, part.labels[voxel]));
            }
            placed.all.merge(&tally);
            placed.lesions.push(tally);
            placed.voxels.push(voxels);
        }
        placed
    }
}

/// Where the voxels of the lesions lie in a template.
struct Placed {
    all: Tally,
    /// By lesion.
    lesions: Vec<Tally>,
    /// By lesion: place in the template's millimetres, and label.
    voxels: Vec<Vec<([f64; 3], u8)>>,
}

/// What every lesion of a mask is described with.
struct Work<'a> {
    frame: &'a Frame<'a>,
    options: &'a LocaliseOptions,
}

impl Work<'_> {
    fn describe_all(
        &self,
        part: &Part,
        listed: &[LesionVoxels],
        known: Option<(&TemplateMaps, &Placed)>,
    ) -> Found {
        let lesions: Vec<Lesion> = listed
            .iter()
            .enumerate()
            .map(|(number, lesion)| self.describe(part, lesion, number, known))
            .collect();
        let site = match (&lesions[..], known) {
            ([], _) | (_, None) => None,
            // One lesion is all of them.
            ([lesion], _) => lesion.site.clone(),
            (_, Some((maps, placed))) => {
                Some(self.site(&placed.all, &placed.voxels.concat(), maps))
            }
        };
        Found { lesions, site, ignored: Ignored::default() }
    }

    fn describe(
        &self,
        part: &Part,
        lesion: &LesionVoxels,
        number: usize,
        known: Option<(&TemplateMaps, &Placed)>,
    ) -> Lesion {
        let cut = Cut::new(part, lesion);
        let tally = known.map(|(maps, placed)| (&placed.lesions[number], &*maps.atlas));
        let reach = known.map_or_else(Reach::default, |(maps, _)| {
            let whole = cut.labels.mapv(|label| label != 0);
            reach(self.frame, &maps.atlas, &maps.areas, &whole, &cut.bounds)
        });
        Lesion {
            volumes: volumes(part, lesion, self.frame.oriented.spacing),
            components: lesion.components,
            compartments: cut.compartments(self.frame, tally),
            satellites: cut.satellites(self.frame),
            site: known.map(|(maps, placed)| {
                self.site(&placed.lesions[number], &placed.voxels[number], maps)
            }),
            nearby: reach.nearby,
            eloquent: reach.eloquent,
            contacts: reach.contacts,
        }
    }

    /// Returns the site of some voxels, with its stability.
    fn site(&self, tally: &Tally, voxels: &[([f64; 3], u8)], maps: &TemplateMaps) -> Site {
        let spacing = self.frame.oriented.spacing;
        let mut site = tally.site(&maps.atlas, spacing, self.options);
        let placed_by = maps.placement.placed_by;
        stability::judge(&mut site, voxels, &maps.atlas, spacing, placed_by, self.options);
        site
    }
}

fn cautions(
    frame: &Frame<'_>,
    bounds: Option<&Bounds>,
    found: &Found,
    placement: Option<&Placement>,
) -> Vec<Caution> {
    let mut cautions = Vec::new();
    if placement.is_none() {
        cautions.push(Caution::SpaceUnknown);
    }
    if bounds.is_some_and(|bounds| touches_border(bounds, frame.oriented.shape())) {
        cautions.push(Caution::TouchesImageBorder);
    }
    if let Some(site) = &found.site {
        if site.share_outside > OUTSIDE_CAUTION_SHARE {
            cautions.push(Caution::FarFromRegions);
        }
        if site.stability.as_ref().is_some_and(|s| s.main_region_share < STABLE_SHARE_MIN) {
            cautions.push(Caution::RegionUncertain);
        }
    }
    if found.ignored.too_many {
        cautions.push(Caution::LesionsLeftOut);
    }
    cautions
}

fn focality(lesions: &[Lesion]) -> Focality {
    let region = |lesion: &Lesion| lesion.site.as_ref().and_then(|site| site.main_region);
    match lesions {
        [] => Focality::NoLesion,
        [_] => Focality::Solitary,
        [first, rest @ ..] if rest.iter().all(|lesion| region(lesion) == region(first)) => {
            Focality::Multifocal
        }
        _ => Focality::Multicentric,
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

fn touches_border(bounds: &Bounds, shape: [usize; 3]) -> bool {
    (0..3).any(|axis| bounds.start[axis] == 0 || bounds.end[axis] == shape[axis])
}
