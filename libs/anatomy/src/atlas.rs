//! The map of brain regions.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use ndarray::{Array2, Array3, ArrayView3, Axis};
use neurotriage_domain::{RegionName, Side, VoxelSpacing};
use neurotriage_imaging::{Affine, AffineMap, Mask, nifti::read_image};
use neurotriage_metrics::distance::nearest_feature;

use crate::{
    AnatomyError,
    grid::{Bounds, Oriented, inverse},
    midline::MidlinePlane,
    terms::has_tissue,
};

/// Name and version of [`Atlas::embedded`].
pub const ATLAS_VERSION: &str = "icbm2009a-lobes-sri24/3";

/// A voxel on no region belongs to the nearest one up to this distance, in millimetres: about
/// the width of a sulcus with the shift that a growing tumour causes.
pub const NEAREST_MM_MAX: f64 = 10.0;

const EMBEDDED_LABELS: &[u8] = include_bytes!("../../../assets/atlas/brats_grid_lobes.nii.gz");
const EMBEDDED_NAMES: &[u8] = include_bytes!("../../../assets/atlas/brats_grid_lobes_labels.json");

/// Name in the table for space around the brain: known, and no region.
const EXTRACEREBRAL: &str = "extracerebral_csf";

/// Number of values that a label may take.
const LABEL_COUNT: usize = 256;

/// A map from points in space to brain regions.
#[derive(Debug)]
pub struct Atlas {
    /// Row-major, `[x, y, z]`, in LPS order; 0 is no region.
    labels: Array3<u8>,
    voxel_from_world: AffineMap,
    spacing: VoxelSpacing,
    regions: [Option<RegionName>; LABEL_COUNT],
    voxels: [u64; LABEL_COUNT],
    midline: MidlinePlane,
    nearest: OnceLock<Array3<u8>>,
}

impl Atlas {
    /// Returns the atlas that comes with the program: 35 regions in the grid of `BraTS`.
    ///
    /// Read once; later calls cost nothing.
    ///
    /// # Errors
    /// [`AnatomyError::Atlas`] if the program was built with damaged files.
    pub fn embedded() -> Result<Arc<Self>, AnatomyError> {
        static EMBEDDED: OnceLock<Result<Arc<Atlas>, AnatomyError>> = OnceLock::new();
        EMBEDDED
            .get_or_init(|| Self::from_files(EMBEDDED_LABELS, EMBEDDED_NAMES).map(Arc::new))
            .clone()
    }

    /// Returns the atlas in a NIfTI file of labels and a JSON object from label to region name.
    ///
    /// The geometry is the sform of the file, or its qform where there is no sform.
    ///
    /// # Errors
    /// [`AnatomyError::Atlas`] if either cannot be read or they do not fit together.
    pub fn from_files(labels_nifti: &[u8], names_json: &[u8]) -> Result<Self, AnatomyError> {
        let image = read_image(labels_nifti, "atlas").map_err(damaged)?;
        let is_label = |value: f32| (0.0..256.0).contains(&value) && value.fract() == 0.0;
        if let Some(&value) = image.voxels.iter().find(|&&value| !is_label(value)) {
            return Err(damaged(format!("{value} is no label")));
        }
        let voxels = image.voxels.mapv(|value| value as u8);
        let names: BTreeMap<u8, String> = serde_json::from_slice(names_json).map_err(damaged)?;
        Self::from_labels(&Mask { voxels, affine: image.affine }, &names)
    }

    /// Returns the atlas with these labels and region names.
    ///
    /// # Errors
    /// [`AnatomyError::Atlas`] if a label has no name, a name is no region, or too few paired
    /// regions are there to find the midline; [`AnatomyError::Geometry`] or
    /// [`AnatomyError::NoVoxels`] as for a mask.
    pub fn from_labels(labels: &Mask, names: &BTreeMap<u8, String>) -> Result<Self, AnatomyError> {
        let mut regions = [None; LABEL_COUNT];
        for (&label, name) in names {
            if name != EXTRACEREBRAL {
                regions[usize::from(label)] = Some(name.parse().map_err(damaged)?);
            }
        }
        let oriented = Oriented::new(labels.voxels.view(), (&labels.affine).into())?;
        let mut voxels = [0; LABEL_COUNT];
        for &label in oriented.labels {
            voxels[usize::from(label)] += 1;
        }
        for (label, &count) in voxels.iter().enumerate().skip(1) {
            let named = u8::try_from(label).is_ok_and(|label| names.contains_key(&label));
            if count > 0 && !named {
                return Err(damaged(format!("label {label} has no name")));
            }
        }
        let sides = oriented.labels.map(|&label| regions[usize::from(label)].map(side_of));
        let midline = MidlinePlane::fit(sides.view(), &oriented.world_from_voxel)
            .ok_or_else(|| damaged("it has too few regions with a side to find the midline"))?;
        Ok(Self {
            labels: oriented.labels.as_standard_layout().into_owned(),
            voxel_from_world: inverse(&oriented.world_from_voxel)?,
            spacing: oriented.spacing,
            regions,
            voxels,
            midline,
            nearest: OnceLock::new(),
        })
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
        voxels as f64 * self.spacing.voxel_volume_mm3() / 1000.0
    }

    /// Returns the label at a point in RAS+ millimetres; 0 outside the grid.
    pub fn label_at(&self, point_mm: [f64; 3]) -> u8 {
        look_up(self.labels.view(), self.voxel_from_world.apply(point_mm))
    }

    /// Returns the region at a point in RAS+ millimetres.
    pub fn region_at(&self, point_mm: [f64; 3]) -> Option<RegionName> {
        self.region_of_label(self.label_at(point_mm))
    }

    /// Returns the side of the midline plane on which a point in RAS+ millimetres lies.
    pub fn side_at(&self, point_mm: [f64; 3]) -> Side {
        self.midline.side(point_mm)
    }

    /// Returns the labels in one slice of another volume's grid, such as to draw outlines.
    ///
    /// # Shapes
    /// - `shape`: voxels of the volume, `[x, y, z]`; the slice is number `index` across `axis`
    /// - returns: the two other axes, in their order; 0 where the atlas has nothing
    pub fn label_slice(
        &self,
        affine: &Affine,
        shape: [usize; 3],
        axis: Axis,
        index: usize,
    ) -> Array2<u8> {
        let others: Vec<usize> = (0..3).filter(|&other| other != axis.index()).collect();
        let [rows, columns] = others[..] else {
            return Array2::zeros([0, 0]);
        };
        let atlas_from_voxel = self.voxel_from_world.after(&affine.into());
        Array2::from_shape_fn([shape[rows], shape[columns]], |(row, column)| {
            let mut voxel = [index as f64; 3];
            voxel[rows] = row as f64;
            voxel[columns] = column as f64;
            look_up(self.labels.view(), atlas_from_voxel.apply(voxel))
        })
    }

    /// Returns the map from voxels of a grid to voxels of the atlas.
    pub(crate) fn voxel_map(&self, world_from_voxel: &AffineMap) -> AffineMap {
        self.voxel_from_world.after(world_from_voxel)
    }

    /// Returns the label at an atlas voxel; 0 outside the grid.
    pub(crate) fn label_at_voxel(&self, voxel: [f64; 3]) -> u8 {
        look_up(self.labels.view(), voxel)
    }

    /// Returns the label of the nearest region that has tissue, 0 beyond
    /// [`NEAREST_MM_MAX`], at an atlas voxel.
    pub(crate) fn nearest_label_at_voxel(&self, voxel: [f64; 3]) -> u8 {
        look_up(self.nearest().view(), voxel)
    }

    fn nearest(&self) -> &Array3<u8> {
        self.nearest.get_or_init(|| {
            let is_site = self
                .regions
                .map(|region| region.is_some_and(|region| has_tissue(region.structure)));
            let mut nearest = Array3::zeros(self.labels.dim());
            let inside = self.labels.indexed_iter().filter(|(_, l)| is_site[usize::from(**l)]);
            let Some(brain) = Bounds::around(inside.map(|((x, y, z), _)| [x, y, z])) else {
                return nearest;
            };
            let (nx, ny, nz) = self.labels.dim();
            let wide = brain.widened(NEAREST_MM_MAX, self.spacing, [nx, ny, nz]);
            let [dx, dy, dz] = wide.shape();
            let [x0, y0, z0] = wide.start;
            let local = Array3::from_shape_fn([dx, dy, dz], |(x, y, z)| {
                self.labels[[x0 + x, y0 + y, z0 + z]]
            });
            let features = local.mapv(|label| is_site[usize::from(label)]);
            let found = nearest_feature(features.view(), self.spacing);
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

fn side_of(region: RegionName) -> Side {
    region.side
}

/// Returns the value at the voxel nearest to a point in voxel coordinates; 0 outside.
fn look_up(labels: ArrayView3<'_, u8>, voxel: [f64; 3]) -> u8 {
    let mut index = [0; 3];
    for (slot, coordinate) in index.iter_mut().zip(voxel) {
        let rounded = (coordinate + 0.5).floor();
        if rounded.is_nan() || rounded < 0.0 {
            return 0;
        }
        *slot = rounded as usize;
    }
    labels.get(index).copied().unwrap_or(0)
}

fn damaged(error: impl std::fmt::Display) -> AnatomyError {
    AnatomyError::Atlas { reason: error.to_string() }
}
