//! Draws samples of every kind.

use ndarray::{Array3, Array4};
use neurotriage_phantom::{
    field::uniform,
    patch::{AIR, Patch},
    template::templates,
    warp::{Matrix, Warp},
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    CachedCase, DatasetError, MaskShapes, MixConfig, Sample, SampleSource, Shares,
    augment::{Curve, draw_curve, spoil},
    scene::{Painter, Scene, draw_centre, draw_matrix},
};

/// Normalised intensities are cut off here, as in the preparation of studies.
const Z_SCORE_MAX: f32 = 5.0;

/// Every how many voxels of an implant one counts towards the mean of the brain.
const IMPLANT_STEP: usize = 5;

/// Edge of the cells in which a sample is bent, voxels of the patch.
const ELASTIC_CELL_VOXELS: f32 = 24.0;

/// Kinds of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Real,
    Transplant,
    Paste,
    Phantom,
    Healthy,
}

/// Draws samples from real cases, shapes and templates.
#[derive(Clone, Debug)]
pub struct MixSource {
    config: MixConfig,
    cases: Vec<CachedCase>,
    shapes: MaskShapes,
    kinds: Vec<(Kind, f64)>,
}

impl MixSource {
    /// Returns the source that draws from these cases and shapes.
    ///
    /// Kinds of samples for which there is no case are left out; without shapes, tumours are made.
    ///
    /// # Errors
    /// [`DatasetError::Setting`] for a setting out of range, [`DatasetError::Empty`] if nothing can
    /// be drawn, [`DatasetError::Phantom`] if the templates do not read.
    pub fn new(
        config: MixConfig,
        cases: Vec<CachedCase>,
        shapes: Option<MaskShapes>,
    ) -> Result<Self, DatasetError> {
        config.check()?;
        let Shares { real, transplant, paste, phantom, healthy } = config.shares;
        let can_paste = cases.len() > 1 && cases.iter().any(|case| case.shape.is_some());
        let kinds: Vec<(Kind, f64)> = [
            (Kind::Real, real, !cases.is_empty()),
            (Kind::Transplant, transplant, !cases.is_empty()),
            (Kind::Paste, paste, can_paste),
            (Kind::Phantom, phantom, true),
            (Kind::Healthy, healthy, true),
        ]
        .into_iter()
        .filter(|(_, share, possible)| *possible && *share > 0.0)
        .map(|(kind, share, _)| (kind, share))
        .collect();
        if kinds.is_empty() {
            return Err(DatasetError::Empty);
        }
        // The first call reads the templates: here, so that no sample waits for it.
        templates()?;
        Ok(Self { config, cases, shapes: shapes.unwrap_or_default(), kinds })
    }

    /// Returns the settings.
    pub fn config(&self) -> &MixConfig {
        &self.config
    }

    fn draw_scene<'a>(
        &self,
        painter: &Painter<'a>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Scene<'a>, DatasetError> {
        let total: f64 = self.kinds.iter().map(|(_, share)| share).sum();
        let mut at = rng.random::<f64>() * total;
        let mut drawn = self.kinds.first().map_or(Kind::Healthy, |(kind, _)| *kind);
        for &(kind, share) in &self.kinds {
            drawn = kind;
            at -= share;
            if at < 0.0 {
                break;
            }
        }
        let scene = match drawn {
            Kind::Real => painter.real(rng),
            Kind::Transplant => painter.transplant(rng),
            Kind::Paste => match painter.paste(rng) {
                // The case drawn may be the only one with a tumour.
                None => painter.transplant(rng),
                scene => scene,
            },
            Kind::Phantom => painter.phantom(rng),
            Kind::Healthy if !self.cases.is_empty() && rng.random_bool(0.7) => painter.healed(rng),
            Kind::Healthy => painter.healthy(rng),
        };
        scene.ok_or(DatasetError::Empty)
    }

    fn draw_warp(&self, scene: &Scene<'_>, rng: &mut ChaCha8Rng) -> Warp {
        let augment = &self.config.augment;
        let matrix = draw_matrix(&self.config, rng);
        let volume = scene.source.shape();
        let centre = draw_centre(&self.config, scene.focus, &matrix, volume, rng);
        let mut warp = Warp { shape: self.config.patch, centre, matrix, displacement: None };
        if rng.random_bool(augment.elastic) {
            let deviation = uniform(rng, augment.elastic_mm[0], augment.elastic_mm[1]);
            warp.displace(rng, ELASTIC_CELL_VOXELS / self.config.voxel_mm.sqrt(), deviation);
        }
        warp
    }
}

impl SampleSource for MixSource {
    fn sample(&self, index: u64) -> Result<Sample, DatasetError> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.config.seed);
        rng.set_stream(index);
        let painter = Painter {
            config: &self.config,
            cases: &self.cases,
            shapes: &self.shapes,
            templates: templates()?,
        };
        let scene = self.draw_scene(&painter, &mut rng)?;
        let mut warp = self.draw_warp(&scene, &mut rng);
        let push = scene.implant.as_ref().and_then(|implant| implant.push);
        let mut patch = Patch::gather(scene.source, scene.labels, &warp, push.as_ref());
        if patch.labels.iter().all(|&label| label == AIR) {
            warp.centre = scene.source.shape().map(|side| (side as f32 - 1.0) / 2.0);
            patch = Patch::gather(scene.source, scene.labels, &warp, push.as_ref());
        }
        if let Some(rendering) = &scene.rendering {
            rendering.apply(&mut patch, &mut rng);
        }
        if let Some(implant) = &scene.implant {
            let shape = &implant.shape;
            patch.implant(&mut rng, &warp, shape, &implant.placement, &implant.look);
        }
        self.change_intensities(&mut patch, &scene, &warp.matrix, &mut rng);
        finish(patch, scene.origin)
    }
}

impl MixSource {
    /// Bends histograms, z-scores as the whole brain would be, spoils, drops out.
    fn change_intensities(
        &self,
        patch: &mut Patch,
        scene: &Scene<'_>,
        matrix: &Matrix,
        rng: &mut ChaCha8Rng,
    ) {
        let augment = &self.config.augment;
        let count = patch.count();
        let implant: Vec<[f32; 4]> = match scene.implant {
            None => Vec::new(),
            Some(_) => (0..count)
                .filter(|&voxel| matches!(patch.labels[voxel], 1 | 2 | 4))
                .step_by(IMPLANT_STEP)
                .map(|voxel| patch.values(voxel))
                .collect(),
        };
        let volume = determinant(matrix).abs() * IMPLANT_STEP as f32;
        let has_bias =
            rng.random_bool(augment.bias).then(|| uniform(rng, 0.0, augment.bias_strength));
        let missing =
            if rng.random_bool(augment.dropout) { Some(rng.random_range(0..4)) } else { None };
        for (channel, values) in patch.image.chunks_exact_mut(count.max(1)).enumerate() {
            let curve = draw_curve(augment, rng);
            let implanted = implant.iter().map(|voxel| voxel[channel]);
            let reference = scene.reference.iter().map(|voxel| voxel[channel]);
            let (mean, deviation) =
                brain_moments(&curve, reference, scene.brain_count, implanted, volume);
            let missing = missing == Some(channel);
            for (value, &label) in values.iter_mut().zip(&patch.labels) {
                *value = if missing || label == AIR {
                    0.0
                } else {
                    (curve.at(*value) - mean) / deviation
                };
            }
            if missing {
                continue;
            }
            spoil(values, patch.shape, augment, has_bias, rng);
            for (value, &label) in values.iter_mut().zip(&patch.labels) {
                *value = if label == AIR { 0.0 } else { value.clamp(-Z_SCORE_MAX, Z_SCORE_MAX) };
            }
        }
    }
}

/// Returns mean and standard deviation that the curve's values have over the whole brain with the
/// implant, of whose voxels each stands for `volume` voxels.
fn brain_moments(
    curve: &Curve,
    reference: impl ExactSizeIterator<Item = f32>,
    brain_count: usize,
    implanted: impl ExactSizeIterator<Item = f32>,
    volume: f32,
) -> (f32, f32) {
    let covered = implanted.len() as f64 * f64::from(volume);
    let rest = (brain_count as f64 - covered).max(brain_count as f64 * 0.3);
    let weight = rest / (reference.len() as f64).max(1.0);
    let (mut total, mut sum, mut squares) = (0.0_f64, 0.0_f64, 0.0_f64);
    let weighted = reference
        .map(|value| (value, weight))
        .chain(implanted.map(|value| (value, f64::from(volume))));
    for (value, weight) in weighted {
        let value = f64::from(curve.at(value));
        total += weight;
        sum += weight * value;
        squares += weight * value * value;
    }
    let mean = sum / total.max(1e-9);
    let variance = (squares / total.max(1e-9) - mean * mean).max(1e-6);
    (mean as f32, variance.sqrt() as f32)
}

fn determinant(m: &Matrix) -> f32 {
    m[0][0] * (m[1][1] * m[2][2] - m[1][2] * m[2][1])
        - m[0][1] * (m[1][0] * m[2][2] - m[1][2] * m[2][0])
        + m[0][2] * (m[1][0] * m[2][1] - m[1][1] * m[2][0])
}

fn finish(patch: Patch, origin: &'static str) -> Result<Sample, DatasetError> {
    let [width, depth, height] = patch.shape;
    let labels =
        patch.labels.into_iter().map(|label| if label == AIR { 0 } else { label }).collect();
    let shapes = (
        Array4::from_shape_vec((4, width, depth, height), patch.image),
        Array3::from_shape_vec((width, depth, height), labels),
    );
    // A patch has four values and one label for each voxel of its shape.
    let (Ok(image), Ok(labels)) = shapes else { return Err(DatasetError::Empty) };
    Ok(Sample { image, labels, origin })
}
