//! The two healthy brains that phantoms are drawn from, and the sequences drawn from their tissues.

use std::sync::OnceLock;

use ndarray::Array3;
use neurotriage_imaging::{CropBox, nifti::read_image, smooth::gaussian};
use rand::{Rng, RngCore};

use crate::{
    PhantomError,
    field::{FastNoise, SmoothField, normal, uniform},
    patch::{AIR, Patch},
    warp::Interleaved,
};

const SRI24_T1: &[u8] = include_bytes!("../../../assets/atlas/brats_grid_sri24_t1.nii.gz");
const SRI24_TISSUES: &[u8] =
    include_bytes!("../../../assets/atlas/brats_grid_sri24_tissues_1csf_2gm_3wm.nii.gz");
const ICBM_T1: &[u8] = include_bytes!("../../../assets/atlas/brats_grid_icbm09a_t1_syn.nii.gz");
const ICBM_GREY: &[u8] =
    include_bytes!("../../../assets/atlas/brats_grid_icbm09a_gm_prob255_syn.nii.gz");
const ICBM_WHITE: &[u8] =
    include_bytes!("../../../assets/atlas/brats_grid_icbm09a_wm_prob255_syn.nii.gz");

/// Air kept around a template, in voxels.
const MARGIN: usize = 2;

/// Voxels that stand for a whole template when its mean is taken.
const REFERENCE_COUNT: usize = 4096;

/// A healthy brain on the BraTS grid, as tissues.
#[derive(Debug)]
pub struct Template {
    /// Shares of grey matter, white matter and fluid, and the T1 texture within the tissues with
    /// standard deviation 1.
    pub tissues: Interleaved,
    /// 0 in the brain, [`AIR`] outside.
    pub labels: Vec<u8>,
    /// Where the volume lies in the BraTS grid.
    pub crop: CropBox,
    /// Tissues at places spread evenly over the brain.
    reference: Vec<[f32; 4]>,
}

/// Returns the templates, read at the first call.
///
/// # Errors
/// [`PhantomError::Template`] if one does not read.
pub fn templates() -> Result<&'static [Template], PhantomError> {
    static TEMPLATES: OnceLock<Vec<Template>> = OnceLock::new();
    if let Some(templates) = TEMPLATES.get() {
        return Ok(templates);
    }
    let read = vec![read_sri24()?, read_icbm()?];
    Ok(TEMPLATES.get_or_init(|| read))
}

fn read(name: &'static str, bytes: &[u8]) -> Result<Array3<f32>, PhantomError> {
    read_image(bytes, name)
        .map(|image| image.voxels)
        .map_err(|error| PhantomError::Template { name, detail: error.to_string() })
}

fn read_sri24() -> Result<Template, PhantomError> {
    let t1 = read("SRI24 T1", SRI24_T1)?;
    let tissues = read("SRI24 tissues", SRI24_TISSUES)?;
    // Partial volume: the map is of whole voxels.
    let share = |tissue: f32| {
        gaussian(&tissues.mapv(|value| if value == tissue { 1.0 } else { 0.0 }), [0.55; 3])
    };
    build("SRI24", &t1, [share(2.0), share(3.0), share(1.0)])
}

fn read_icbm() -> Result<Template, PhantomError> {
    let t1 = read("ICBM 2009a T1", ICBM_T1)?;
    // Mean maps are blurred: the squares of the shares are closer to one brain.
    let square = |voxels: Array3<f32>| voxels.mapv(|value| (value / 255.0).powi(2));
    let grey = square(read("ICBM 2009a grey matter", ICBM_GREY)?);
    let white = square(read("ICBM 2009a white matter", ICBM_WHITE)?);
    let mut fluid = Array3::zeros(grey.dim());
    ndarray::Zip::from(&mut fluid).and(&grey).and(&white).for_each(|fluid, &grey, &white| {
        *fluid = (1.0 - grey.sqrt() - white.sqrt()).max(0.0).powi(2)
    });
    build("ICBM 2009a", &t1, [grey, white, fluid])
}

fn build(
    name: &'static str,
    t1: &Array3<f32>,
    shares: [Array3<f32>; 3],
) -> Result<Template, PhantomError> {
    let damaged = |detail: &str| PhantomError::Template { name, detail: detail.to_owned() };
    let brain = CropBox::around(t1, |value| value > 0.0).ok_or_else(|| damaged("is empty"))?;
    let full: [usize; 3] = t1.dim().into();
    let start = brain.start.map(|first| first.saturating_sub(MARGIN));
    let shape = [0, 1, 2].map(|axis: usize| {
        (brain.start[axis] + brain.shape[axis] + MARGIN).min(full[axis]) - start[axis]
    });
    let crop = CropBox { start, shape };
    let view = |voxels: &Array3<f32>| -> Option<Vec<f32>> {
        Some(crop.view(voxels)?.iter().copied().collect())
    };
    let differs = || damaged("parts differ in shape");
    let t1 = view(t1).ok_or_else(differs)?;
    let [grey, white, fluid] =
        [&shares[0], &shares[1], &shares[2]].map(|voxels| view(voxels).ok_or_else(differs));
    let (grey, white, fluid) = (grey?, white?, fluid?);
    let mut voxels: Vec<[f32; 4]> = Vec::with_capacity(t1.len());
    for (((&t1, grey), white), fluid) in t1.iter().zip(grey).zip(white).zip(fluid) {
        let sum = (grey + white + fluid).max(1e-3);
        voxels.push(if t1 > 0.0 { [grey / sum, white / sum, fluid / sum, t1] } else { [0.0; 4] });
    }
    texture(&mut voxels);
    let labels: Vec<u8> = t1.iter().map(|&value| if value > 0.0 { 0 } else { AIR }).collect();
    let inside = labels.iter().filter(|&&label| label == 0).count();
    let step = (inside / REFERENCE_COUNT).max(1);
    let reference = voxels
        .iter()
        .zip(&labels)
        .filter(|(_, label)| **label == 0)
        .step_by(step)
        .map(|(voxel, _)| *voxel)
        .collect();
    let tissues = Interleaved::new(shape, voxels).ok_or_else(differs)?;
    Ok(Template { tissues, labels, crop, reference })
}

/// Replaces the T1 in the last place by what the tissues do not explain, scaled to deviation 1.
fn texture(voxels: &mut [[f32; 4]]) {
    let mut means = [0.0_f64; 3];
    for (tissue, mean) in means.iter_mut().enumerate() {
        let (mut sum, mut weight) = (0.0_f64, 1e-6_f64);
        for voxel in voxels.iter() {
            // Cubed, so that mixed voxels count little.
            let share = f64::from(voxel[tissue]).powi(3);
            sum += share * f64::from(voxel[3]);
            weight += share;
        }
        *mean = sum / weight;
    }
    let (mut squares, mut count) = (0.0_f64, 1e-6_f64);
    for voxel in voxels.iter_mut().filter(|voxel| voxel[3] > 0.0) {
        let explained: f64 =
            means.iter().zip(voxel.iter()).map(|(mean, &share)| mean * f64::from(share)).sum();
        let rest = f64::from(voxel[3]) - explained;
        squares += rest * rest;
        count += 1.0;
        voxel[3] = rest as f32;
    }
    let deviation = (squares / count).sqrt().max(1e-6) as f32;
    for voxel in voxels {
        voxel[3] = (voxel[3] / deviation).clamp(-3.0, 3.0);
    }
}

/// How the tissues of a template look in the four sequences of one phantom.
#[derive(Clone, Debug)]
pub struct Rendering {
    /// Intensity by sequence of grey matter, white matter, fluid and texture.
    contrast: [[f32; 4]; 4],
    /// How two fine textures mix into each sequence.
    fine: [[f32; 2]; 4],
    /// Brightness of vessels by sequence.
    vessels: [f32; 4],
    /// Mean and standard deviation over the brain, by sequence.
    moments: [[f32; 2]; 4],
}

impl Rendering {
    /// Draws contrasts: those of glioma studies, moved by normal noise of `deviation` standard
    /// deviations.
    pub fn random(rng: &mut impl RngCore, template: &Template, deviation: f32) -> Self {
        // Grey, white, fluid, by sequence FLAIR, T1, T1ce, T2: from clusters of real studies.
        let typical = [
            [uniform(rng, -0.3, 0.6), 0.0, uniform(rng, -2.2, -1.0)],
            [-0.4, 0.6, -2.0],
            [-0.3, uniform(rng, 0.0, 0.5), -1.3],
            [0.0, -0.35, uniform(rng, 1.6, 3.5)],
        ];
        let contrast = typical.map(|[grey, white, fluid]| {
            [
                grey + normal(rng) * deviation,
                white + normal(rng) * deviation,
                fluid + normal(rng) * deviation,
                uniform(rng, 0.05, 0.3) * if rng.random_bool(0.8) { 1.0 } else { -1.0 },
            ]
        });
        let fine = [(); 4].map(|()| {
            let strength = uniform(rng, 0.02, 0.13);
            let (sin, cos) = uniform(rng, 0.0, std::f32::consts::TAU).sin_cos();
            [strength * cos, strength * sin]
        });
        let vessels = [
            uniform(rng, -0.8, 0.3),
            uniform(rng, -0.8, 0.5),
            uniform(rng, 0.5, 5.0),
            uniform(rng, -1.0, 0.3),
        ];
        let mut rendering = Self { contrast, fine, vessels, moments: [[0.0, 1.0]; 4] };
        let values: Vec<[f32; 4]> =
            template.reference.iter().map(|tissues| rendering.sequences(tissues)).collect();
        for channel in 0..4 {
            let texture = rendering.fine[channel].iter().map(|part| part * part).sum::<f32>();
            let (mean, variance) = moments(values.iter().map(|value| value[channel]));
            rendering.moments[channel] = [mean, (variance + texture).sqrt().max(1e-3)];
        }
        rendering
    }

    fn sequences(&self, tissues: &[f32; 4]) -> [f32; 4] {
        self.contrast.map(|row| {
            row[0] * tissues[0] + row[1] * tissues[1] + row[2] * tissues[2] + row[3] * tissues[3]
        })
    }

    /// Returns the z-scored sequences of voxels that stand for the whole brain.
    pub fn reference(&self, template: &Template, rng: &mut impl RngCore) -> Vec<[f32; 4]> {
        let mut noise = FastNoise::new(rng.next_u64());
        let voxel = |tissues: &[f32; 4]| {
            let mut values = self.sequences(tissues);
            for (channel, value) in values.iter_mut().enumerate() {
                let [mean, deviation] = self.moments[channel];
                let texture = self.fine[channel].iter().map(|part| part * part).sum::<f32>().sqrt();
                *value = (*value + noise.normal() * texture - mean) / deviation;
            }
            values
        };
        template.reference.iter().map(voxel).collect()
    }

    /// Turns the tissues of a patch into z-scored sequences, with texture and vessels.
    pub fn apply(&self, patch: &mut Patch, rng: &mut impl RngCore) {
        /// Distance from a vessel's middle at which its brightness ends, in deviations of the
        /// fields whose common zeros are the vessels.
        const VESSEL_REACH: f32 = 0.16;
        let shape = patch.shape;
        let mut field = |cell: f32| SmoothField::random(rng, shape, cell, 1.0);
        let fields = [field(1.7), field(2.8), field(11.0), field(9.0)];
        let [_, depth, height] = shape;
        let mut rows = [(); 4].map(|()| vec![0.0; height]);
        let count = patch.count();
        for row in 0..count / height.max(1) {
            let voxels = row * height..(row + 1) * height;
            if patch.labels[voxels.clone()].iter().all(|&label| label == AIR) {
                continue;
            }
            for (values, field) in rows.iter_mut().zip(&fields) {
                field.fill_row(row / depth, row % depth, values);
            }
            for (z, voxel) in voxels.enumerate() {
                if patch.labels[voxel] == AIR {
                    continue;
                }
                let tissues = patch.values(voxel);
                let distance = rows[2][z].hypot(rows[3][z]);
                // Vessels lie in and about the fluid.
                let vessel = (1.0 - distance / VESSEL_REACH).max(0.0) * (1.0 - tissues[1]);
                let values = self.sequences(&tissues);
                for (channel, value) in values.into_iter().enumerate() {
                    let [coarse, fine] = self.fine[channel];
                    let texture = coarse * rows[0][z] + fine * rows[1][z];
                    let [mean, deviation] = self.moments[channel];
                    let drawn = (value + texture - mean) / deviation;
                    patch.image[channel * count + voxel] = drawn + vessel * self.vessels[channel];
                }
            }
        }
    }
}

/// Returns mean and variance.
pub fn moments(values: impl Iterator<Item = f32>) -> (f32, f32) {
    let (mut count, mut sum, mut squares) = (0.0_f64, 0.0_f64, 0.0_f64);
    for value in values {
        let value = f64::from(value);
        count += 1.0;
        sum += value;
        squares += value * value;
    }
    if count == 0.0 {
        return (0.0, 1.0);
    }
    let mean = sum / count;
    (mean as f32, (squares / count - mean * mean).max(0.0) as f32)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn templates_read_and_their_shares_sum_to_one() {
        for template in templates().unwrap() {
            let brain = template.labels.iter().filter(|&&label| label == 0).count();
            assert!((1_200_000..1_700_000).contains(&brain), "{brain}");
            for [grey, white, fluid, texture] in &template.reference {
                assert!((grey + white + fluid - 1.0).abs() < 1e-3 || grey + white + fluid == 0.0);
                assert!(texture.abs() <= 3.0);
            }
        }
    }

    #[test]
    fn rendered_references_are_z_scored() {
        let template = &templates().unwrap()[0];
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let rendering = Rendering::random(&mut rng, template, 0.2);
        let reference = rendering.reference(template, &mut rng);
        for channel in 0..4 {
            let (mean, variance) = moments(reference.iter().map(|value| value[channel]));
            assert!(mean.abs() < 0.05 && (variance - 1.0).abs() < 0.1, "{mean} {variance}");
        }
    }
}
