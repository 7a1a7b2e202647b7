//! Lesion-wise Dice and HD95 as `BraTS` 2023 defines them for glioma.
//!
//! The truth is dilated to group what lies close together; each group is one lesion. A lesion is
//! compared with every predicted component that touches its dilation. A missed lesion scores Dice
//! 0 and [`ABSENT_DISTANCE_MM`], and so does every predicted component that touches none; the
//! score is the mean over true lesions and false components. True lesions of at most
//! [`LESION_IGNORED_MM3_MAX`] are left out of the mean, but what touches them is not false.
//!
//! HD95 is ours ([`crate::surface`]): voxel surfaces, where the challenge weighs surface elements.

use ndarray::{Array3, ArrayView3};
use neurotriage_domain::VoxelSpacing;

use crate::{
    ABSENT_DISTANCE_MM,
    bounds::Bounds,
    components::{Components, components_26},
    overlap::Counts,
    surface::hd95_mm,
};

/// Steps of dilation that group the truth; one step adds neighbours across faces and edges.
pub const DILATION_STEPS: usize = 3;

/// True lesions up to this size do not count, in cubic millimetres.
pub const LESION_IGNORED_MM3_MAX: f64 = 50.0;

/// Lesion-wise scores of one region.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LesionWise {
    /// Mean Dice over lesions and false components; 1 if there are none.
    pub dice: f64,
    /// Mean HD95 over the same, in millimetres; 0 if there are none.
    pub hd95_mm: f64,
    /// True lesions above the size limit that a prediction touches.
    pub found: u64,
    /// True lesions above the size limit that none touches.
    pub missed: u64,
    /// Predicted components that touch no true lesion.
    pub false_components: u64,
}

/// Scores a predicted mask lesion by lesion.
///
/// # Shapes
/// - `truth`, `predicted`: `[x, y, z]`, equal
pub fn lesion_wise(
    truth: ArrayView3<'_, bool>,
    predicted: ArrayView3<'_, bool>,
    spacing: VoxelSpacing,
) -> LesionWise {
    let (nx, ny, nz) = truth.dim();
    let boxes = [Bounds::of(truth), Bounds::of(predicted)];
    let Some(bounds) = boxes.into_iter().flatten().reduce(Bounds::union) else {
        return LesionWise { dice: 1.0, hd95_mm: 0.0, found: 0, missed: 0, false_components: 0 };
    };
    let bounds = bounds.widened(DILATION_STEPS, [nx, ny, nz]);
    let (truth, predicted) = (bounds.crop(truth), bounds.crop(predicted));

    let lesions = group_lesions(truth);
    let components = components_26(predicted);
    let pieces = voxels_of(&components);
    let mut touched = vec![false; pieces.len()];
    let mut scores = Scores::default();
    for lesion in &lesions {
        let touching = touching_components(lesion, &components, truth.dim());
        for &number in &touching {
            touched[number] = true;
        }
        if lesion.len() as f64 * spacing.voxel_volume_mm3() <= LESION_IGNORED_MM3_MAX {
            continue;
        }
        if touching.is_empty() {
            scores.add_missed();
            continue;
        }
        let matched: Vec<Voxel> =
            touching.iter().flat_map(|&number| pieces[number].iter().copied()).collect();
        scores.add_found(lesion, &matched, spacing);
    }
    let false_components = touched.iter().filter(|touched| !**touched).count() as u64;
    scores.finish(false_components)
}

type Voxel = [usize; 3];

#[derive(Default)]
struct Scores {
    dice_sum: f64,
    hd95_sum_mm: f64,
    found: u64,
    missed: u64,
}

impl Scores {
    fn add_missed(&mut self) {
        self.hd95_sum_mm += ABSENT_DISTANCE_MM;
        self.missed += 1;
    }

    fn add_found(&mut self, lesion: &[Voxel], matched: &[Voxel], spacing: VoxelSpacing) {
        let voxels = lesion.iter().chain(matched).copied();
        let Some(bounds) = Bounds::around(voxels) else {
            return;
        };
        let truth = paint(lesion, &bounds);
        let predicted = paint(matched, &bounds);
        let mut counts = Counts::default();
        for (&t, &p) in truth.iter().zip(&predicted) {
            counts.true_positive += u64::from(t && p);
            counts.false_positive += u64::from(!t && p);
            counts.false_negative += u64::from(t && !p);
        }
        self.dice_sum += counts.dice();
        self.hd95_sum_mm += hd95_mm(truth.view(), predicted.view(), spacing);
        self.found += 1;
    }

    fn finish(self, false_components: u64) -> LesionWise {
        let Self { dice_sum, hd95_sum_mm, found, missed } = self;
        let scored = (found + missed + false_components) as f64;
        if scored == 0.0 {
            return LesionWise { dice: 1.0, hd95_mm: 0.0, found, missed, false_components };
        }
        let hd95_sum_mm = hd95_sum_mm + false_components as f64 * ABSENT_DISTANCE_MM;
        LesionWise {
            dice: dice_sum / scored,
            hd95_mm: hd95_sum_mm / scored,
            found,
            missed,
            false_components,
        }
    }
}

/// Returns the voxels of each true lesion: what one component of the dilated truth holds.
fn group_lesions(truth: ArrayView3<'_, bool>) -> Vec<Vec<Voxel>> {
    let inside = truth.indexed_iter().filter(|(_, inside)| **inside);
    let voxels: Vec<Voxel> = inside.map(|((x, y, z), _)| [x, y, z]).collect();
    let dilated = dilate(&voxels, truth.dim());
    let groups = components_26(dilated.view());
    let mut lesions = vec![Vec::new(); groups.sizes.len()];
    for voxel in voxels {
        let number = groups.labels[voxel] as usize;
        lesions[number - 1].push(voxel);
    }
    lesions
}

fn voxels_of(components: &Components) -> Vec<Vec<Voxel>> {
    let mut pieces = vec![Vec::new(); components.sizes.len()];
    for ((x, y, z), &number) in components.labels.indexed_iter() {
        if number != 0 {
            pieces[number as usize - 1].push([x, y, z]);
        }
    }
    pieces
}

/// Returns the components, from 0, that hold a voxel of the dilated lesion.
fn touching_components(
    lesion: &[Voxel],
    components: &Components,
    dim: (usize, usize, usize),
) -> Vec<usize> {
    let dilated = dilate(lesion, dim);
    let mut touching = vec![false; components.sizes.len()];
    for (&near, &number) in dilated.iter().zip(&components.labels) {
        if near && number != 0 {
            touching[number as usize - 1] = true;
        }
    }
    touching.iter().enumerate().filter(|(_, touching)| **touching).map(|(n, _)| n).collect()
}

/// Returns a mask of everything within [`DILATION_STEPS`] of `voxels`.
fn dilate(voxels: &[Voxel], (nx, ny, nz): (usize, usize, usize)) -> Array3<bool> {
    let mut dilated = Array3::from_elem((nx, ny, nz), false);
    for &voxel in voxels {
        dilated[voxel] = true;
    }
    let mut front = voxels.to_vec();
    for _ in 0..DILATION_STEPS {
        let mut next = Vec::new();
        for [x, y, z] in front {
            for i in x.saturating_sub(1)..(x + 2).min(nx) {
                for j in y.saturating_sub(1)..(y + 2).min(ny) {
                    for k in z.saturating_sub(1)..(z + 2).min(nz) {
                        let corner = i != x && j != y && k != z;
                        if !corner && !dilated[[i, j, k]] {
                            dilated[[i, j, k]] = true;
                            next.push([i, j, k]);
                        }
                    }
                }
            }
        }
        front = next;
    }
    dilated
}

fn paint(voxels: &[Voxel], bounds: &Bounds) -> Array3<bool> {
    let mut mask = Array3::from_elem(bounds.shape(), false);
    for voxel in voxels {
        mask[[0, 1, 2].map(|axis| voxel[axis] - bounds.start[axis])] = true;
    }
    mask
}
