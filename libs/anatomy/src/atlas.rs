//! The map of brain regions.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use ndarray::{Array2, Array3, Axis};
use neurotriage_domain::{RegionName, Side};
use neurotriage_imaging::{Affine, AffineMap, Mask};
use neurotriage_metrics::distance::nearest_feature;

use crate::{
    AnatomyError, Template,
    grid::Bounds,
    label_map::{LABEL_COUNT, LabelMap, damaged, look_up, read_labels},
    midline::MidlinePlane,
    midline_shift::{SeptumPlace, septum_places},
    terms::has_tissue,
};

/// A voxel on no region belongs to the nearest one up to this distance, in millimetres: about
/// the width of a sulcus with the shift that a growing tumour causes.
pub const NEAREST_MM_MAX: f64 = 10.0;

const SRI24_LABELS: &[u8] = include_bytes!("../../../assets/atlas/brats_grid_lobes.nii.gz");
const MNI152_LABELS: &[u8] = include_bytes!("../../../assets/atlas/mni152_lobes.nii.gz");
const NAMES: &[u8] = include_bytes!("../../../assets/atlas/brats_grid_lobes_labels.json");

/// Name in the table for space around the brain: known, and no region.
const EXTRACEREBRAL: &str = "extracerebral_csf";

/// A map from points in space to brain regions.
#[derive(Debug)]
pub struct Atlas {
    name: String,
    map: LabelMap,
    regions: [Option<RegionName>; LABEL_COUNT],
    /// Label of the space around the brain.
    extracerebral: Option<u8>,
    voxels: [u64; LABEL_COUNT],
    midline: MidlinePlane,
    centre_mm: [f64; 3],
    nearest: OnceLock<Array3<u8>>,
    septum: OnceLock<Vec<SeptumPlace>>,
}

impl Atlas {
    /// Returns the atlas that comes with the program for a template's space: 35 regions.
    ///
    /// Read once; later calls cost nothing.
    ///
    /// # Errors
    /// [`AnatomyError::Atlas`] if the program was built with damaged files.
    pub fn of(template: Template) -> Result<Arc<Self>, AnatomyError> {
        static ATLASES: [OnceLock<Result<Arc<Atlas>, AnatomyError>>; 2] =
            [const { OnceLock::new() }; 2];
        let (labels, name) = match template {
            Template::Sri24 => (SRI24_LABELS, "icbm2009a-lobes-sri24/3"),
            Template::Mni152 => (MNI152_LABELS, "icbm2009a-lobes-mni152/1"),
        };
        ATLASES[template as usize]
            .get_or_init(|| Self::from_files(name, labels, NAMES).map(Arc::new))
            .clone()
    }

    /// Returns the atlas in a NIfTI file of labels and a JSON object from label to region name.
    ///
    /// The geometry is the sform of the file, or its qform where there is no sform.
    ///
    /// # Errors
    /// [`AnatomyError::Atlas`] if either cannot be read or they do not fit together.
    pub fn from_files(
        name: &str,
        labels_nifti: &[u8],
        names_json: &[u8],
    ) -> Result<Self, AnatomyError> {
        let names: BTreeMap<u8, String> = serde_json::from_slice(names_json).map_err(damaged)?;
        Self::from_labels(name, &read_labels(labels_nifti, name)?, &names)
    }

    /// Returns the atlas with these labels and region names.
    ///
    /// # Errors
    /// [`AnatomyError::Atlas`] if a label has no name, a name is no region, or too few paired
    /// regions are there to find the midline; [`AnatomyError::Geometry`] or
    /// [`AnatomyError::NoVoxels`] as for a mask.
    pub fn from_labels(
        name: &str,
        labels: &Mask,
        names: &BTreeMap<u8, String>,
    ) -> Result<Self, AnatomyError> {
        let mut regions = [None; LABEL_COUNT];
        let mut extracerebral = None;
        for (&label, name) in names {
            if name == EXTRACEREBRAL {
                extracerebral = Some(label);
            } else {
                regions[usize::from(label)] = Some(name.parse().map_err(damaged)?);
            }
        }
        let map = LabelMap::new(labels)?;
        let mut voxels = [0; LABEL_COUNT];
        for &label in &map.labels {
            voxels[usize::from(label)] += 1;
        }
        for (label, &count) in voxels.iter().enumerate().skip(1) {
            let named = u8::try_from(label).is_ok_and(|label| names.contains_key(&label));
            if count > 0 && !named {
                return Err(damaged(format!("label {label} has no name")));
            }
        }
        let sides = map.labels.map(|&label| regions[usize::from(label)].map(side_of));
        let midline = MidlinePlane::fit(sides.view(), &map.world_from_voxel)
            .ok_or_else(|| damaged("it has too few regions with a side to find the midline"))?;
        let (nearest, septum) = (OnceLock::new(), OnceLock::new());
        let centre_mm = centre_mm(&map, &regions);
        let name = name.to_owned();
        Ok(Self { name, map, regions, extracerebral, voxels, midline, centre_mm, nearest, septum })
    }

    /// Returns name and version.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns every region of the atlas, in label order.
    pub fn regions(&self) -> impl Iterator<Item = RegionName> + '_ {
        self.regions.iter().copied().flatten()
    }

    /// Returns the region of a label.
    pub fn region_of_label(&self, label: u8) -> Option<RegionName> {
        self.regions[usize::from(label)]
    }

    /// Returns the volume of a region, in millilitres; 0 if the atlas does not have it.
    pub fn volume_ml(&self, region: RegionName) -> f64 {
        let label = self.regions.iter().position(|&other| other == Some(region));
        let voxels = label.map_or(0, |label| self.voxels[label]);
        voxels as f64 * self.map.voxel_ml()
    }

    /// Returns the label at a point in RAS+ millimetres; 0 outside the grid.
    pub fn label_at(&self, point_mm: [f64; 3]) -> u8 {
        self.map.at(point_mm)
    }

    /// Returns the region at a point in RAS+ millimetres.
    pub fn region_at(&self, point_mm: [f64; 3]) -> Option<RegionName> {
        self.region_of_label(self.label_at(point_mm))
    }

    /// Returns the side of the midline plane on which a point in RAS+ millimetres lies.
    pub fn side_at(&self, point_mm: [f64; 3]) -> Side {
        self.midline.side(point_mm)
    }

    /// Returns the distance of a point in RAS+ millimetres from the midline plane along x, positive on
    /// the patient's right.
    pub fn right_of_midline_mm(&self, point_mm: [f64; 3]) -> f64 {
        self.midline.right_of_mm(point_mm)
    }

    /// Returns the labels in one slice of another volume's grid, such as to draw outlines.
    ///
    /// `atlas_from_world` maps the volume's millimetres to those of the atlas.
    ///
    /// # Shapes
    /// - `shape`: voxels of the volume, `[x, y, z]`; the slice is number `index` across `axis`
    /// - returns: the two other axes, in their order; 0 where the atlas has nothing
    pub fn label_slice(
        &self,
        atlas_from_world: &AffineMap,
        affine: &Affine,
        shape: [usize; 3],
        axis: Axis,
        index: usize,
    ) -> Array2<u8> {
        let others: Vec<usize> = (0..3).filter(|&other| other != axis.index()).collect();
        let [rows, columns] = others[..] else {
            return Array2::zeros([0, 0]);
        };
        let atlas_from_voxel =
            self.map.voxel_from_world.after(atlas_from_world).after(&affine.into());
        Array2::from_shape_fn([shape[rows], shape[columns]], |(row, column)| {
            let mut voxel = [index as f64; 3];
            voxel[rows] = row as f64;
            voxel[columns] = column as f64;
            self.map.at_voxel(atlas_from_voxel.apply(voxel))
        })
    }

    /// Returns the places between the lateral ventricles.
    pub(crate) fn septum(&self) -> &[SeptumPlace] {
        self.septum.get_or_init(|| septum_places(self))
    }

    /// Returns the x of the midline plane at y and z, in RAS+ millimetres.
    pub(crate) fn midline_x_mm(&self, y: f64, z: f64) -> f64 {
        self.midline.x_mm(y, z)
    }

    /// Returns the lowest and the highest corner of the grid's voxel centres, in RAS+ millimetres.
    pub(crate) fn extent_mm(&self) -> [[f64; 3]; 2] {
        let (nx, ny, nz) = self.map.labels.dim();
        let ends = [[0.0; 3], [nx, ny, nz].map(|side| side as f64 - 1.0)];
        let [one, other] = ends.map(|voxel| self.map.world_from_voxel.apply(voxel));
        [0, 1].map(|end| {
            [0, 1, 2].map(|axis| {
                let (a, b) = (one[axis], other[axis]);
                if end == 0 { a.min(b) } else { a.max(b) }
            })
        })
    }

    /// Returns the centre of mass of all regions, in RAS+ millimetres.
    pub(crate) fn centre_mm(&self) -> [f64; 3] {
        self.centre_mm
    }

    /// Returns the map of labels.
    pub(crate) fn map(&self) -> &LabelMap {
        &self.map
    }

    /// Returns the label of the space around the brain.
    pub(crate) fn extracerebral(&self) -> Option<u8> {
        self.extracerebral
    }

    /// Returns the label of the nearest region that has tissue, 0 beyond
    /// [`NEAREST_MM_MAX`], at an atlas voxel.
    pub(crate) fn nearest_label_at_voxel(&self, voxel: [f64; 3]) -> u8 {
        look_up(self.nearest(), voxel)
    }

    fn nearest(&self) -> &Array3<u8> {
        self.nearest.get_or_init(|| {
            let is_site = self
                .regions
                .map(|region| region.is_some_and(|region| has_tissue(region.structure)));
            let mut nearest = Array3::zeros(self.map.labels.dim());
            let inside = self.map.labels.indexed_iter().filter(|(_, l)| is_site[usize::from(**l)]);
            let Some(brain) = Bounds::around(inside.map(|((x, y, z), _)| [x, y, z])) else {
                return nearest;
            };
            let (nx, ny, nz) = self.map.labels.dim();
            let wide = brain.widened(NEAREST_MM_MAX, self.map.spacing, [nx, ny, nz]);
            let [dx, dy, dz] = wide.shape();
            let [x0, y0, z0] = wide.start;
            let local = Array3::from_shape_fn([dx, dy, dz], |(x, y, z)| {
                self.map.labels[[x0 + x, y0 + y, z0 + z]]
            });
            let features = local.mapv(|label| is_site[usize::from(label)]);
            let found = nearest_feature(features.view(), self.map.spacing);
            let reach_mm2 = (NEAREST_MM_MAX * NEAREST_MM_MAX) as f32;
            for ((at, &squared_mm2), &site) in found.squared_mm2.indexed_iter().zip(&found.index) {
                if squared_mm2 <= reach_mm2 {
                    let site = site as usize;
                    let label = local[[site / (dy * dz), site / dz % dy, site % dz]];
                    nearest[[x0 + at.0, y0 + at.1, z0 + at.2]] = label;
                }
            }
            nearest
        })
    }
}

fn centre_mm(map: &LabelMap, regions: &[Option<RegionName>; LABEL_COUNT]) -> [f64; 3] {
    let (mut sum, mut count) = ([0.0; 3], 0.0);
    for ((x, y, z), &label) in map.labels.indexed_iter() {
        if regions[usize::from(label)].is_some() {
            count += 1.0;
            for (slot, index) in sum.iter_mut().zip([x, y, z]) {
                *slot += index as f64;
            }
        }
    }
    map.world_from_voxel.apply(sum.map(|sum| sum / f64::max(count, 1.0)))
}

fn side_of(region: RegionName) -> Side {
    region.side
}
