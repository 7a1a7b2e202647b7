//! Takes the tumour out of a brain, so that another can be put in.

use ndarray::Array3;
use neurotriage_imaging::smooth::gaussian;
use neurotriage_phantom::{field::FastNoise, warp::Interleaved};

/// Voxels around the mask that are replaced too: the mask's edge is not the tumour's.
const HEAL_SIGMA_VOXELS: f64 = 3.0;

/// Smoothing of what fills places whose mirror image is no use, in voxels.
const FILL_SIGMA_VOXELS: f64 = 7.0;

/// Half the range searched for the plane between the hemispheres, in half voxels.
const MIDLINE_STEPS: i32 = 20;

/// Seed of the texture of filled places: healing draws nothing else.
const FILL_SEED: u64 = 0x4845_414C;

/// Standard deviation of the texture of filled places.
const FILL_TEXTURE: f32 = 0.25;

/// Returns the brain with the tumour replaced by the mirror image of the other hemisphere, and
/// where that is air or tumour too, by a smooth continuation of the tissue around.
///
/// `tumour` and `brain` have the shape of `volume`, in the same order.
pub(crate) fn heal(volume: &Interleaved, tumour: &[bool], brain: &[bool]) -> Interleaved {
    let mut healed = volume.clone();
    if !tumour.contains(&true) {
        return healed;
    }
    let shape = volume.shape();
    let [width, depth, height] = shape;
    let midline = midline(volume, tumour, brain);
    let weights = weights(shape, tumour);
    let continued = continued(volume, &weights, brain);
    let mut noise = FastNoise::new(FILL_SEED);
    for (voxel, values) in healed.voxels_mut().iter_mut().enumerate() {
        let weight = weights[voxel];
        if weight <= 0.0 || !brain[voxel] {
            continue;
        }
        let (x, rest) = (voxel / (depth * height), voxel % (depth * height));
        let mirrored_x = 2.0 * midline - x as f32;
        let mirror = (mirrored_x.round().max(0.0) as usize).min(width - 1) * depth * height + rest;
        let usable = if brain[mirror] { 1.0 - weights[mirror] } else { 0.0 };
        let place = [mirrored_x, (rest / height) as f32, (rest % height) as f32];
        let mirrored = volume.at(place);
        let smooth = continued[voxel];
        for channel in 0..4 {
            let filled = smooth[channel] + noise.normal() * FILL_TEXTURE;
            let new = filled + (mirrored[channel] - filled) * usable;
            values[channel] += (new - values[channel]) * weight;
        }
    }
    healed
}

/// Returns the first index of the plane about which the healthy brain is most symmetric.
fn midline(volume: &Interleaved, tumour: &[bool], brain: &[bool]) -> f32 {
    let [width, depth, height] = volume.shape();
    let middle = (width as f32 - 1.0) / 2.0;
    let mut best = (f32::MAX, middle);
    for step in -MIDLINE_STEPS..=MIDLINE_STEPS {
        let plane = middle + step as f32 / 2.0;
        let (mut difference, mut count) = (0.0_f32, 0.0_f32);
        for x in (0..width).step_by(3) {
            for y in (0..depth).step_by(4) {
                for z in (0..height).step_by(4) {
                    let voxel = (x * depth + y) * height + z;
                    if !brain[voxel] || tumour[voxel] {
                        continue;
                    }
                    let here = volume.voxels()[voxel];
                    let there = volume.at([2.0 * plane - x as f32, y as f32, z as f32]);
                    // Air is exactly 0: brain opposite air counts as far off.
                    difference += if there == [0.0; 4] {
                        2.0
                    } else {
                        ((here[1] - there[1]).abs() + (here[3] - there[3]).abs()).min(2.0)
                    };
                    count += 1.0;
                }
            }
        }
        let mean = difference / count.max(1.0);
        if mean < best.0 {
            best = (mean, plane);
        }
    }
    best.1
}

/// Returns by how much each voxel is replaced: 1 in the tumour, fading out around it.
fn weights(shape: [usize; 3], tumour: &[bool]) -> Vec<f32> {
    let values = tumour.iter().map(|&inside| if inside { 1.0 } else { 0.0 }).collect();
    let Ok(mask) = Array3::from_shape_vec(shape, values) else { return Vec::new() };
    let blurred = gaussian(&mask, [HEAL_SIGMA_VOXELS; 3]);
    blurred
        .iter()
        .zip(tumour)
        .map(|(&b, &t)| if t { 1.0 } else { (b * 4.0 - 0.2).clamp(0.0, 1.0) })
        .collect()
}

/// Returns the healthy tissue's smooth continuation.
fn continued(volume: &Interleaved, weights: &[f32], brain: &[bool]) -> Vec<[f32; 4]> {
    let shape = volume.shape();
    let kept = |voxel: usize| if brain[voxel] { 1.0 - weights[voxel] } else { 0.0 };
    let smooth = |value: &dyn Fn(usize) -> f32| -> Vec<f32> {
        let values: Vec<f32> = (0..weights.len()).map(value).collect();
        match Array3::from_shape_vec(shape, values) {
            Ok(array) => gaussian(&array, [FILL_SIGMA_VOXELS; 3]).iter().copied().collect(),
            Err(_) => Vec::new(),
        }
    };
    let sums = smooth(&kept);
    let mut result = vec![[0.0; 4]; weights.len()];
    for channel in 0..4 {
        let values = smooth(&|voxel| kept(voxel) * volume.voxels()[voxel][channel]);
        for ((out, value), sum) in result.iter_mut().zip(values).zip(&sums) {
            out[channel] = if *sum > 1e-4 { value / sum } else { 0.0 };
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lesion_in_a_symmetric_brain_is_gone_after_healing() {
        let shape = [33, 24, 20];
        let mut voxels = Vec::new();
        let mut tumour = Vec::new();
        for x in 0..33_i32 {
            for y in 0..24 {
                for z in 0..20 {
                    let value = ((x - 16).abs() as f32 / 8.0) + 0.1 * (y as f32) - 0.05 * z as f32;
                    let inside = (x - 7).pow(2) + (y - 12_i32).pow(2) + (z - 10_i32).pow(2) < 20;
                    voxels.push([if inside { 9.0 } else { value }; 4]);
                    tumour.push(inside);
                }
            }
        }
        let volume = Interleaved::new(shape, voxels).unwrap();
        let brain = vec![true; tumour.len()];
        let healed = heal(&volume, &tumour, &brain);
        let voxel = (7 * 24 + 12) * 20 + 10;
        let expected = 9.0 / 8.0 + 1.2 - 0.5;
        assert!(
            (healed.voxels()[voxel][2] - expected).abs() < 0.05,
            "{:?}",
            healed.voxels()[voxel]
        );
        let far = (30 * 24 + 2) * 20 + 2;
        assert_eq!(healed.voxels()[far], volume.voxels()[far]);
    }
}
