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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{AugmentConfig, case::tests::small_case};

    fn config(shares: Shares) -> MixConfig {
        MixConfig { seed: 11, patch: [32, 32, 24], shares, ..MixConfig::default() }
    }

    fn none() -> Shares {
        Shares { real: 0.0, transplant: 0.0, paste: 0.0, phantom: 0.0, healthy: 0.0 }
    }

    fn source(config: MixConfig) -> MixSource {
        MixSource::new(config, vec![small_case("a"), small_case("b")], None).unwrap()
    }

    fn kinds() -> [(&'static str, Shares); 5] {
        [
            ("real", Shares { real: 1.0, ..none() }),
            ("transplant", Shares { transplant: 1.0, ..none() }),
            ("paste", Shares { paste: 1.0, ..none() }),
            ("phantom", Shares { phantom: 1.0, ..none() }),
            ("healthy", Shares { healthy: 1.0, ..none() }),
        ]
    }

    #[test]
    fn samples_of_every_kind_are_sound() {
        for (kind, shares) in kinds() {
            let source = source(config(shares));
            let mut labelled = 0;
            for index in 0..12 {
                let Sample { image, labels, origin } = source.sample(index).unwrap();
                assert_eq!(origin, kind);
                assert_eq!(image.dim(), (4, 32, 32, 24));
                assert_eq!(labels.dim(), (32, 32, 24));
                assert!(image.is_standard_layout() && labels.is_standard_layout());
                assert!(image.iter().all(|value| value.abs() <= Z_SCORE_MAX), "{kind} {index}");
                assert!(labels.iter().all(|label| matches!(label, 0 | 1 | 2 | 4)));
                assert!(image.iter().any(|&value| value != 0.0), "{kind} {index} is empty");
                let empty = image
                    .outer_iter()
                    .filter(|channel| channel.iter().all(|&value| value == 0.0))
                    .count();
                assert!(empty <= 1, "{kind} {index}: {empty} channels are missing");
                labelled += usize::from(labels.iter().any(|&label| label != 0));
            }
            assert_eq!(labelled > 5, kind != "healthy", "{kind}: {labelled} of 12 have a tumour");
        }
    }

    #[test]
    fn the_same_seed_and_index_give_the_same_sample_in_any_order() {
        let first = source(config(Shares::default()));
        let second = source(config(Shares::default()));
        let drawn: Vec<Sample> = (0..8).map(|index| first.sample(index).unwrap()).collect();
        for (index, sample) in drawn.iter().enumerate().rev() {
            let again = second.sample(index as u64).unwrap();
            assert_eq!(again.image, sample.image, "index {index}");
            assert_eq!(again.labels, sample.labels, "index {index}");
        }
        let other = source(MixConfig { seed: 12, ..config(Shares::default()) });
        assert_ne!(other.sample(0).unwrap().image, drawn[0].image);
        assert_ne!(drawn[1].image, drawn[2].image);
    }

    /// Voxels by which a patch of [`AROUND`] exceeds the small case on each side: it is so large
    /// that it is always centred.
    const MARGIN: [usize; 3] = [5, 5, 4];
    const AROUND: [usize; 3] = [58, 66, 52];

    fn unchanged() -> MixConfig {
        let augment = AugmentConfig::none();
        MixConfig {
            patch: AROUND,
            recolour: 0.0,
            augment,
            ..config(Shares { real: 1.0, ..none() })
        }
    }

    #[test]
    fn without_augmentation_a_real_sample_is_the_case_itself() {
        let case = small_case("a");
        let sample = source(unchanged()).sample(3).unwrap();
        let [mx, my, mz] = MARGIN;
        let index = |[x, y, z]: [usize; 3]| (x * 56 + y) * 44 + z;
        for x in 0..48 {
            for y in 0..56 {
                for z in 0..44 {
                    let expected = case.labels[index([x, y, z])];
                    let expected = if expected == AIR { 0 } else { expected };
                    assert_eq!(sample.labels[[x + mx, y + my, z + mz]], expected);
                }
            }
        }
        // The small case is not z-scored; the sample is, over the whole brain: a linear change.
        let places = [14, 24, 33].map(|x| [x, 28, 22]);
        let [a, b, c] = places.map(|place| case.volume.voxels()[index(place)][3]);
        let [u, v, w] = places.map(|[x, y, z]| sample.image[[3, x + mx, y + my, z + mz]]);
        assert!(((a - b) * (v - w) - (u - v) * (b - c)).abs() < 1e-3);
    }

    #[test]
    fn a_flip_mirrors_image_and_labels() {
        let mut flipped = unchanged();
        flipped.augment.flip_x = 1.0;
        let plain = source(unchanged()).sample(3).unwrap();
        let flipped = source(flipped).sample(3).unwrap();
        for ((x, y, z), label) in plain.labels.indexed_iter() {
            let mirror = AROUND[0] - 1 - x;
            assert_eq!(flipped.labels[[mirror, y, z]], *label);
            let mirrored = flipped.image[[0, mirror, y, z]];
            assert!((mirrored - plain.image[[0, x, y, z]]).abs() < 1e-3);
        }
    }

    #[test]
    fn kinds_without_cases_are_left_out_and_nothing_is_an_error() {
        let alone = MixSource::new(config(Shares::default()), Vec::new(), None).unwrap();
        for index in 0..6 {
            assert!(matches!(alone.sample(index).unwrap().origin, "phantom" | "healthy"));
        }
        let empty = MixSource::new(config(Shares { real: 1.0, ..none() }), Vec::new(), None);
        assert!(matches!(empty, Err(DatasetError::Empty)));
        let wrong = MixConfig { foreground: 2.0, ..config(Shares::default()) };
        assert!(matches!(
            MixSource::new(wrong, Vec::new(), None),
            Err(DatasetError::Setting { name: "foreground", .. })
        ));
    }
}
