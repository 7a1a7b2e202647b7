//! A real case, held in memory the way samples are cut from it.

use std::path::Path;

use ndarray::Array3;
use neurotriage_imaging::{CaseFiles, Prepared, prepare, resample};
use neurotriage_phantom::{patch::AIR, template::moments, tumour::TumourShape, warp::Interleaved};

use crate::{DatasetError, heal::heal};

/// Air kept around the brain, in voxels, so that its surface can be interpolated.
const MARGIN: usize = 2;

/// Voxels that stand for all of a brain, or of a class.
const REFERENCE_COUNT: usize = 4096;

/// Fewest voxels of a class whose mean and standard deviation are taken.
const STATISTICS_VOXELS_MIN: usize = 200;

/// Mean and standard deviation of one class by channel.
pub(crate) type ClassStatistics = [[f32; 2]; 4];

/// A real case: z-scored channels and labels, with and without the tumour.
///
/// About 150 MB for a whole head.
#[derive(Clone, Debug)]
pub struct CachedCase {
    id: String,
    pub(crate) volume: Interleaved,
    /// Labels, [`AIR`] outside the brain.
    pub(crate) labels: Vec<u8>,
    pub(crate) healed: Interleaved,
    /// 0 in the brain, [`AIR`] outside.
    pub(crate) brain: Vec<u8>,
    /// Place in the 1 mm grid of the first voxel.
    pub(crate) origin: [f32; 3],
    /// Voxels of necrotic core, oedema and enhancing tumour, and of the whole brain.
    pub(crate) tumour_voxels: [Vec<usize>; 3],
    pub(crate) brain_voxels: Vec<usize>,
    /// Number of voxels that are brain.
    pub(crate) brain_count: usize,
    pub(crate) shape: Option<TumourShape>,
    pub(crate) statistics: [Option<ClassStatistics>; 3],
}

impl CachedCase {
    /// Reads a folder in BraTS layout: four sequences and the expert's mask.
    ///
    /// # Errors
    /// [`DatasetError::Case`] if the files do not read or do not belong together,
    /// [`DatasetError::NoTruth`], [`DatasetError::Unfit`].
    pub fn load(dir: &Path) -> Result<Self, DatasetError> {
        let files = CaseFiles::find(dir)?;
        let study = files.read_study()?;
        let truth =
            files.read_truth()?.ok_or_else(|| DatasetError::NoTruth { id: files.id.clone() })?;
        let truth = study.align_mask(truth, &format!("{}_seg", files.id))?;
        let prepared = prepare(&study)?;
        let truth = if prepared.grid() == truth.grid() {
            truth
        } else {
            resample::nearest(&truth.voxels, &truth.grid(), &prepared.grid())?
        };
        Self::from_prepared(&files.id, &prepared, &truth.voxels)
    }

    /// Holds a prepared study and its mask.
    ///
    /// # Shapes
    /// - `truth`: `[x, y, z]` of [`Prepared::grid`], labels 0, 1, 2 and 4
    ///
    /// # Errors
    /// [`DatasetError::Unfit`] unless there are four channels, some brain, and the shapes agree.
    pub fn from_prepared(
        id: &str,
        prepared: &Prepared,
        truth: &Array3<u8>,
    ) -> Result<Self, DatasetError> {
        let unfit = |problem| DatasetError::Unfit { id: id.to_owned(), problem };
        let channels = prepared.channels();
        let crop = prepared.crop();
        if channels.shape()[0] != 4 {
            return Err(unfit("has not four channels"));
        }
        let truth = crop.view(truth).ok_or_else(|| unfit("has a mask of another shape"))?;
        let shape = crop.shape.map(|side| side + 2 * MARGIN);
        let count: usize = shape.iter().product();
        let mut voxels = vec![[0.0_f32; 4]; count];
        let mut labels = vec![AIR; count];
        for ((x, y, z), &label) in truth.indexed_iter() {
            let values = [0, 1, 2, 3].map(|channel: usize| channels[[channel, x, y, z]]);
            if values == [0.0; 4] {
                continue;
            }
            let voxel = ((x + MARGIN) * shape[1] + y + MARGIN) * shape[2] + z + MARGIN;
            voxels[voxel] = values;
            labels[voxel] = if matches!(label, 1 | 2 | 4) { label } else { 0 };
        }
        let volume = Interleaved::new(shape, voxels).ok_or_else(|| unfit("is inconsistent"))?;
        let origin = crop.start.map(|start| start as f32 - MARGIN as f32);
        Self::new(id, volume, labels, origin).ok_or_else(|| unfit("has no brain"))
    }

    fn new(id: &str, volume: Interleaved, labels: Vec<u8>, origin: [f32; 3]) -> Option<Self> {
        let brain: Vec<u8> = labels.iter().map(|&l| if l == AIR { AIR } else { 0 }).collect();
        let inside: Vec<bool> = labels.iter().map(|&label| label != AIR).collect();
        let tumour: Vec<bool> = labels.iter().map(|label| matches!(label, 1 | 2 | 4)).collect();
        let all_brain: Vec<usize> = inside
            .iter()
            .enumerate()
            .filter(|(_, inside)| **inside)
            .map(|(voxel, _)| voxel)
            .collect();
        let brain_count = all_brain.len();
        if brain_count == 0 {
            return None;
        }
        let classes: [Vec<usize>; 3] = [1, 2, 4].map(|class: u8| {
            let found = labels.iter().enumerate().filter(|(_, label)| **label == class);
            found.map(|(voxel, _)| voxel).collect()
        });
        let statistics = [&classes[0], &classes[1], &classes[2]].map(|voxels| {
            (voxels.len() >= STATISTICS_VOXELS_MIN).then(|| {
                [0, 1, 2, 3].map(|channel: usize| {
                    let values = voxels.iter().map(|&voxel| volume.voxels()[voxel][channel]);
                    let (mean, variance) = moments(values);
                    [mean, variance.sqrt()]
                })
            })
        });
        let mask: Vec<u8> = labels.iter().map(|&l| if l == AIR { 0 } else { l }).collect();
        let shape = Array3::from_shape_vec(volume.shape(), mask)
            .ok()
            .and_then(|mask| TumourShape::from_mask(&mask, [1.0; 3], origin));
        let healed = heal(&volume, &tumour, &inside);
        Some(Self {
            id: id.to_owned(),
            healed,
            brain,
            origin,
            tumour_voxels: classes.map(thin),
            brain_voxels: thin(all_brain),
            brain_count,
            shape,
            statistics,
            volume,
            labels,
        })
    }

    /// Returns the name of the case.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns a place drawn from voxels, as coordinates.
    pub(crate) fn place(&self, voxel: usize) -> [f32; 3] {
        let [_, depth, height] = self.volume.shape();
        let plane = depth * height;
        [(voxel / plane) as f32, (voxel % plane / height) as f32, (voxel % height) as f32]
    }
}

/// Keeps about [`REFERENCE_COUNT`] voxels, spread evenly.
fn thin(voxels: Vec<usize>) -> Vec<usize> {
    let step = voxels.len().div_ceil(REFERENCE_COUNT).max(1);
    voxels.into_iter().step_by(step).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use neurotriage_phantom::{Phantom, PhantomSpec};

    use super::*;

    /// Returns an ellipsoid of a brain with a tumour of three shells on one side.
    pub(crate) fn small_case(id: &str) -> CachedCase {
        let shape = [48, 56, 44];
        let mut voxels = Vec::new();
        let mut labels = Vec::new();
        for x in 0..48 {
            for y in 0..56 {
                for z in 0..44 {
                    let scaled =
                        |at: i32, middle: f32, radius: f32| ((at as f32 - middle) / radius).powi(2);
                    let inside =
                        scaled(x, 23.5, 20.0) + scaled(y, 27.5, 24.0) + scaled(z, 21.5, 18.0) < 1.0;
                    let depth = scaled(x, 15.0, 7.0) + scaled(y, 28.0, 7.0) + scaled(z, 22.0, 7.0);
                    let label = match (inside, depth) {
                        (false, _) => AIR,
                        (true, d) if d < 0.2 => 1,
                        (true, d) if d < 0.5 => 4,
                        (true, d) if d < 1.0 => 2,
                        _ => 0,
                    };
                    let wave =
                        (x as f32 * 0.9).sin() + (y as f32 * 0.7).cos() * (z as f32 * 0.8).sin();
                    let tumour = if matches!(label, 1 | 2 | 4) { 2.0 } else { 0.0 };
                    voxels.push(if inside {
                        [wave * 0.5 + tumour, wave, wave + tumour, 0.1 - wave]
                    } else {
                        [0.0; 4]
                    });
                    labels.push(label);
                }
            }
        }
        let volume = Interleaved::new(shape, voxels).unwrap();
        CachedCase::new(id, volume, labels, [90.0, 92.0, 50.0]).unwrap()
    }

    #[test]
    fn a_cached_case_knows_its_tumour_and_lives_without_it() {
        let case = small_case("a");
        assert!(case.tumour_voxels.iter().all(|voxels| !voxels.is_empty()));
        let voxel = case.tumour_voxels[0][0];
        assert_eq!(case.labels[voxel], 1);
        let [x, y, z] = case.place(voxel).map(|at| at as usize);
        assert_eq!((x * 56 + y) * 44 + z, voxel);
        assert!(case.healed.voxels()[voxel][0] < case.volume.voxels()[voxel][0]);
        assert_eq!(case.brain[voxel], 0);
        assert_eq!(case.shape.as_ref().unwrap().home(), Some([105.0, 120.0, 72.0]));
    }

    #[test]
    fn a_folder_loads_with_its_mask_and_is_refused_without() {
        let folder = tempfile::tempdir().unwrap();
        let phantom = Phantom::generate(&PhantomSpec::new(3)).unwrap();
        phantom.write_case(folder.path(), "p").unwrap();
        let case = CachedCase::load(&folder.path().join("p")).unwrap();
        assert_eq!(case.id(), "p");
        let labelled = phantom.truth.voxels.iter().filter(|&&label| label != 0).count();
        let kept = case.labels.iter().filter(|label| matches!(label, 1 | 2 | 4)).count();
        assert_eq!(kept, labelled);
        std::fs::remove_file(folder.path().join("p/p_seg.nii.gz")).unwrap();
        let refused = CachedCase::load(&folder.path().join("p"));
        assert!(matches!(refused, Err(DatasetError::NoTruth { .. })));
        let missing = CachedCase::load(&folder.path().join("q"));
        assert!(matches!(missing, Err(DatasetError::Case(_))));
    }

    #[test]
    fn a_healed_real_brain_is_not_bright_where_the_tumour_was() {
        let Some(root) = std::env::var_os("NEUROTRIAGE_CASES") else {
            eprintln!("skipped: set NEUROTRIAGE_CASES");
            return;
        };
        let files = CaseFiles::find_all(Path::new(&root)).unwrap();
        let folder = files[0].images[0].parent().unwrap();
        let case = CachedCase::load(folder).unwrap();
        let flair = |volume: &Interleaved| {
            let tumour = case.tumour_voxels.iter().flatten();
            let (mean, _) = moments(tumour.map(|&voxel| volume.voxels()[voxel][0]));
            mean
        };
        // Gliomas are bright in FLAIR; what replaces them is not.
        assert!(flair(&case.healed) < 0.5 * flair(&case.volume));
    }
}
