//! From the voxels of a lesion to its description.

use ndarray::Array3;
use neurotriage_domain::VoxelSpacing;
use neurotriage_metrics::{components::components_26, distance::squared_distance_mm2};

use crate::{
    Atlas,
    diameter::{Hulls, Line},
    distribution::Tally,
    frame::Frame,
    grid::{Bounds, Part},
    lesion::LesionVoxels,
    localisation::{AxialDiameters, Compartment, CompartmentVolumes, Diameter, Satellite, Tissue},
};

/// Smallest piece of core that is a satellite, in millilitres: half of the smallest lesion listed.
const SATELLITE_ML_MIN: f64 = 0.05;

/// Most satellites of a lesion that are listed.
const SATELLITES_MAX: usize = 20;

/// One lesion, cut out of the mask.
pub(crate) struct Cut {
    /// Where it lies in the mask in LPS order.
    pub(crate) bounds: Bounds,
    /// Labels of the lesion, 0 elsewhere; `[x, y, z]` from the start of `bounds`.
    pub(crate) labels: Array3<u8>,
}

impl Cut {
    pub(crate) fn new(part: &Part, lesion: &LesionVoxels) -> Self {
        let bounds = Bounds::around(lesion.voxels.iter().map(|&voxel| part.in_mask(voxel)))
            .unwrap_or(Bounds { start: [0; 3], end: [0; 3] });
        let mut labels = Array3::zeros(bounds.shape());
        for &voxel in &lesion.voxels {
            let at = part.in_mask(voxel);
            labels[[0, 1, 2].map(|axis| at[axis] - bounds.start[axis])] = part.labels[voxel];
        }
        Self { bounds, labels }
    }

    /// Returns the tissues that the lesion has, the whole first.
    pub(crate) fn compartments(
        &self,
        frame: &Frame<'_>,
        regions: Option<(&Tally, &Atlas)>,
    ) -> Vec<Compartment> {
        let compartment = |tissue| self.compartment(frame, tissue, regions);
        Tissue::ALL.into_iter().filter_map(compartment).collect()
    }

    fn compartment(
        &self,
        frame: &Frame<'_>,
        tissue: Tissue,
        regions: Option<(&Tally, &Atlas)>,
    ) -> Option<Compartment> {
        let spacing = frame.oriented.spacing;
        let inside = self.labels.mapv(|label| tissue.holds(label));
        let centre = Centre::of(&inside)?;
        let hulls = Hulls::of(inside.view(), spacing);
        let (longest, axial) = (hulls.longest()?, hulls.axial()?);
        let line = |line: Line| self.diameter(frame, line);
        Some(Compartment {
            tissue,
            volume_ml: ml(centre.voxels, spacing),
            centroid: frame.position(self.in_mask(centre.place)),
            bounding_box: frame.bounding_box(&self.shifted(&centre.bounds)),
            diameter_max: line(longest),
            axial: AxialDiameters {
                longest: line(axial.longest),
                perpendicular: line(axial.perpendicular),
                product_mm2: axial.product_mm2,
                slice: u32::try_from(self.bounds.start[2] + axial.slice).unwrap_or(u32::MAX),
            },
            regions: regions
                .map_or_else(Vec::new, |(tally, atlas)| tally.regions_of(tissue, atlas, spacing)),
        })
    }

    /// Returns the pieces of core apart from the largest one, largest first.
    pub(crate) fn satellites(&self, frame: &Frame<'_>) -> Vec<Satellite> {
        let spacing = frame.oriented.spacing;
        let core = self.labels.mapv(|label| Tissue::Core.holds(label));
        let pieces = components_26(core.view());
        let mut by_size: Vec<(usize, usize)> = pieces
            .sizes
            .iter()
            .enumerate()
            .map(|(index, &size)| (size as usize, index + 1))
            .collect();
        by_size.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        let large = |&(size, _): &(usize, usize)| ml(size, spacing) >= SATELLITE_ML_MIN;
        let Some((&(_, main), rest)) = by_size.split_first() else { return Vec::new() };
        let rest: Vec<_> = rest.iter().copied().filter(large).take(SATELLITES_MAX).collect();
        if rest.is_empty() {
            return Vec::new();
        }
        let of = |number: usize| pieces.labels.mapv(|label| label as usize == number);
        let squared = squared_distance_mm2(of(main).view(), spacing);
        let satellite = |(size, number): (usize, usize)| {
            let inside = of(number);
            let centre = Centre::of(&inside)?;
            let nearest = inside.iter().zip(&squared).filter(|(inside, _)| **inside);
            let squared_mm2 = nearest.map(|(_, &squared)| squared).fold(f32::INFINITY, f32::min);
            Some(Satellite {
                volume_ml: ml(size, spacing),
                centroid: frame.position(self.in_mask(centre.place)),
                distance_mm: f64::from(squared_mm2).sqrt(),
            })
        };
        rest.into_iter().filter_map(satellite).collect()
    }

    fn diameter(&self, frame: &Frame<'_>, line: Line) -> Diameter {
        let spacing_mm = frame.oriented.spacing.as_mm();
        // The line counts from the outer corner of the first voxel.
        let voxel =
            |end: [f64; 3]| self.in_mask([0, 1, 2].map(|axis| end[axis] / spacing_mm[axis] - 0.5));
        Diameter {
            length_mm: line.length_mm,
            ends: line.ends_mm.map(|end| frame.position(voxel(end))),
        }
    }

    fn in_mask(&self, place: [f64; 3]) -> [f64; 3] {
        [0, 1, 2].map(|axis| place[axis] + self.bounds.start[axis] as f64)
    }

    fn shifted(&self, bounds: &Bounds) -> Bounds {
        let shift = |at: [usize; 3]| [0, 1, 2].map(|axis| at[axis] + self.bounds.start[axis]);
        Bounds { start: shift(bounds.start), end: shift(bounds.end) }
    }
}

/// Count, centre of mass and box of voxels.
struct Centre {
    voxels: usize,
    place: [f64; 3],
    bounds: Bounds,
}

impl Centre {
    /// `None` if there is no voxel.
    fn of(inside: &Array3<bool>) -> Option<Self> {
        let voxels = || inside.indexed_iter().filter(|(_, inside)| **inside);
        let bounds = Bounds::around(voxels().map(|((x, y, z), _)| [x, y, z]))?;
        let (mut count, mut sum) = (0, [0.0; 3]);
        for ((x, y, z), _) in voxels() {
            count += 1;
            for (slot, index) in sum.iter_mut().zip([x, y, z]) {
                *slot += index as f64;
            }
        }
        Some(Self { voxels: count, place: sum.map(|sum| sum / count as f64), bounds })
    }
}

pub(crate) fn ml(voxels: usize, spacing: VoxelSpacing) -> f64 {
    voxels as f64 * spacing.voxel_volume_mm3() / 1000.0
}

/// Returns the volumes of a lesion by tissue.
pub(crate) fn volumes(
    part: &Part,
    lesion: &LesionVoxels,
    spacing: VoxelSpacing,
) -> CompartmentVolumes {
    let volume_ml = |tissue: Tissue| {
        let inside = lesion.voxels.iter().filter(|&&voxel| tissue.holds(part.labels[voxel]));
        ml(inside.count(), spacing)
    };
    CompartmentVolumes {
        whole_ml: volume_ml(Tissue::Whole),
        core_ml: volume_ml(Tissue::Core),
        necrotic_core_ml: volume_ml(Tissue::NecroticCore),
        oedema_ml: volume_ml(Tissue::Oedema),
        enhancing_ml: volume_ml(Tissue::Enhancing),
    }
}
