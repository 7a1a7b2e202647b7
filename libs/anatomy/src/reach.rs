//! What lies near a lesion, and how far.

use ndarray::Array3;
use neurotriage_metrics::distance::squared_distance_mm2;

use crate::{
    Atlas,
    eloquent::{EloquentArea, EloquentMap, deep},
    frame::Frame,
    grid::Bounds,
    label_map::LABEL_COUNT,
    localisation::{Contact, Contacts, EloquentDistance, RegionDistance},
    terms::{is_ventricle, korean_region_name, snomed_concept},
};

/// How far around a lesion regions and areas are looked for, in millimetres.
pub const REACH_MM_MAX: f64 = 20.0;

/// Fluid around the brain this close means that the cortex is reached, in millimetres: the cortex
/// is 1 to 4.5 mm thick (Fischl and Dale, PNAS 97, 2000).
const CORTEX_MM: f64 = 4.5;

/// What a lesion reaches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reach {
    pub(crate) nearby: Vec<RegionDistance>,
    pub(crate) eloquent: Vec<EloquentDistance>,
    pub(crate) contacts: Option<Contacts>,
}

/// Smallest squared distance to a label, and the voxels of the lesion on it.
#[derive(Clone, Copy, Debug)]
struct Near {
    squared_mm2: f32,
    overlapping: u64,
}

const FAR: Near = Near { squared_mm2: f32::INFINITY, overlapping: 0 };

impl Near {
    fn see(&mut self, squared_mm2: f32) {
        self.squared_mm2 = squared_mm2.min(self.squared_mm2);
        self.overlapping += u64::from(squared_mm2 == 0.0);
    }

    /// Returns the distance, if it is within reach.
    fn distance_mm(&self) -> Option<f64> {
        self.squared_mm2.is_finite().then(|| f64::from(self.squared_mm2).sqrt())
    }
}

/// Returns what lies within [`REACH_MM_MAX`] of a lesion.
///
/// # Shapes
/// - `whole`: the lesion within `bounds` of the mask
pub(crate) fn reach(
    frame: &Frame<'_>,
    atlas: &Atlas,
    areas: &EloquentMap,
    whole: &Array3<bool>,
    bounds: &Bounds,
) -> Reach {
    let spacing = frame.oriented.spacing;
    let Some(template_from_voxel) = frame.template_from_voxel else { return Reach::default() };
    let wide = bounds.widened(REACH_MM_MAX, spacing, frame.oriented.shape());
    let mut features = Array3::from_elem(wide.shape(), false);
    for ((x, y, z), &inside) in whole.indexed_iter() {
        let at = [x, y, z];
        features[[0, 1, 2].map(|axis| at[axis] + bounds.start[axis] - wide.start[axis])] = inside;
    }
    let squared = squared_distance_mm2(features.view(), spacing);
    let (mut regions, mut eloquent) = ([FAR; LABEL_COUNT], [FAR; LABEL_COUNT]);
    let reach_mm2 = (REACH_MM_MAX * REACH_MM_MAX) as f32;
    let to_regions = atlas.map().voxel_from_world.after(&template_from_voxel);
    let to_areas = areas.map.voxel_from_world.after(&template_from_voxel);
    // Along a row both maps move by the same step from voxel to voxel.
    let (region_step, area_step) = (to_regions.step(2), to_areas.step(2));
    for (x, plane) in squared.outer_iter().enumerate() {
        for (y, row) in plane.outer_iter().enumerate() {
            let first = [x, y, 0];
            let first = [0, 1, 2].map(|axis| (first[axis] + wide.start[axis]) as f64);
            let (region_start, area_start) = (to_regions.apply(first), to_areas.apply(first));
            for (z, &squared_mm2) in row.iter().enumerate() {
                if squared_mm2 > reach_mm2 {
                    continue;
                }
                let along = |start: [f64; 3], step: [f64; 3]| {
                    [0, 1, 2].map(|axis| start[axis] + z as f64 * step[axis])
                };
                let region = atlas.map().at_voxel(along(region_start, region_step));
                regions[usize::from(region)].see(squared_mm2);
                let area = areas.map.at_voxel(along(area_start, area_step));
                eloquent[usize::from(area)].see(squared_mm2);
            }
        }
    }
    Reach {
        nearby: nearby(atlas, &regions),
        eloquent: eloquent_areas(atlas, areas, &regions, &eloquent, spacing.voxel_volume_mm3()),
        contacts: Some(contacts(atlas, &regions, spacing.as_mm())),
    }
}

/// Returns the regions that the lesion does not overlap, nearest first.
fn nearby(atlas: &Atlas, regions: &[Near; LABEL_COUNT]) -> Vec<RegionDistance> {
    let mut nearby = Vec::new();
    for label in 1..=u8::MAX {
        let near = regions[usize::from(label)];
        let (Some(region), Some(distance_mm)) = (atlas.region_of_label(label), near.distance_mm())
        else {
            continue;
        };
        if near.overlapping == 0 {
            nearby.push(RegionDistance {
                region,
                display_name: region.display_name(),
                korean_name: korean_region_name(region),
                snomed_code: snomed_concept(region.structure).map(|term| term.code.to_owned()),
                distance_mm,
            });
        }
    }
    nearby.sort_by(|a, b| {
        a.distance_mm.total_cmp(&b.distance_mm).then_with(|| a.region.cmp(&b.region))
    });
    nearby
}

fn eloquent_areas(
    atlas: &Atlas,
    areas: &EloquentMap,
    regions: &[Near; LABEL_COUNT],
    eloquent: &[Near; LABEL_COUNT],
    voxel_mm3: f64,
) -> Vec<EloquentDistance> {
    let mut found = Vec::new();
    let mut add = |area: &EloquentArea, near: Near| {
        if let Some(distance_mm) = near.distance_mm() {
            found.push(EloquentDistance {
                area: area.name.clone(),
                display_name: area.display_name.clone(),
                korean_name: area.korean_name.clone(),
                function: area.function.to_owned(),
                distance_mm,
                overlap_ml: near.overlapping as f64 * voxel_mm3 / 1000.0,
            });
        }
    };
    for label in 1..=u8::MAX {
        if let Some(area) = areas.area(label) {
            add(area, eloquent[usize::from(label)]);
        }
        if let Some(area) = atlas.region_of_label(label).and_then(deep) {
            add(&area, regions[usize::from(label)]);
        }
    }
    found.sort_by(|a, b| {
        let nearer = a.distance_mm.total_cmp(&b.distance_mm);
        nearer.then_with(|| b.overlap_ml.total_cmp(&a.overlap_ml)).then_with(|| a.area.cmp(&b.area))
    });
    found
}

fn contacts(atlas: &Atlas, regions: &[Near; LABEL_COUNT], spacing_mm: [f64; 3]) -> Contacts {
    let nearest = |labels: &dyn Fn(u8) -> bool| {
        let of = (1..=u8::MAX).filter(|&label| labels(label));
        of.filter_map(|label| regions[usize::from(label)].distance_mm()).reduce(f64::min)
    };
    let ventricles = nearest(&|label| {
        atlas.region_of_label(label).is_some_and(|region| is_ventricle(region.structure))
    });
    let fluid = nearest(&|label| atlas.extracerebral() == Some(label));
    // Neighbours, by a face, an edge or a corner.
    let neighbours_mm = spacing_mm.iter().map(|mm| mm * mm).sum::<f64>().sqrt() + 1e-6;
    let contact = |distance_mm: Option<f64>, within_mm: f64| Contact {
        touches: distance_mm.is_some_and(|mm| mm <= within_mm),
        distance_mm,
    };
    Contacts {
        ventricles: contact(ventricles, neighbours_mm),
        cortex: contact(fluid, CORTEX_MM.max(neighbours_mm)),
    }
}
