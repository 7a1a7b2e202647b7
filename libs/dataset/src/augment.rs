//! Changes of intensity, each a pure function of an array and a generator. At strength 0 each leaves
//! the array as it is. Changes of place are drawn into one warp: see `scene`.

use neurotriage_phantom::field::{FastNoise, SmoothField, uniform};
use rand::{Rng, RngCore};

use crate::AugmentConfig;

/// Intensities between which curves bend, in standard deviations from the mean of the brain.
pub const CURVE_RANGE: [f32; 2] = [-5.0, 7.0];

/// Pieces of a tabulated curve.
const CURVE_PIECES: usize = 96;

/// Pieces between which the slope of a histogram change is drawn anew.
const HISTOGRAM_PIECES: usize = 6;

/// A monotone map of intensities: linear between tabulated points.
#[derive(Clone, Debug, PartialEq)]
pub struct Curve {
    points: Vec<f32>,
}

impl Curve {
    /// Returns the curve that changes nothing.
    pub fn identity() -> Self {
        let [low, high] = CURVE_RANGE;
        let step = (high - low) / CURVE_PIECES as f32;
        Self { points: (0..=CURVE_PIECES).map(|piece| low + step * piece as f32).collect() }
    }

    /// Follows this curve by a power of the distance from the lower end.
    pub fn gamma(&mut self, exponent: f32) {
        let [low, high] = CURVE_RANGE;
        for point in &mut self.points {
            let part = ((*point - low) / (high - low)).clamp(0.0, 1.0);
            *point = low + (high - low) * part.powf(exponent);
        }
    }

    /// Follows this curve by one of random slopes in `1 - strength..1 + strength`, rescaled to keep
    /// the ends.
    pub fn histogram(&mut self, rng: &mut impl RngCore, strength: f32) {
        let slopes =
            [0; HISTOGRAM_PIECES].map(|_: i32| uniform(rng, 1.0 - strength, 1.0 + strength));
        let total: f32 = slopes.iter().sum();
        let [low, high] = CURVE_RANGE;
        for point in &mut self.points {
            let at = ((*point - low) / (high - low)).clamp(0.0, 1.0) * HISTOGRAM_PIECES as f32;
            let whole = (at as usize).min(HISTOGRAM_PIECES - 1);
            let climbed: f32 = slopes[..whole].iter().sum();
            let part = climbed + slopes[whole] * (at - whole as f32);
            *point = low + (high - low) * part / total;
        }
    }

    /// Returns the value at an intensity; beyond the ends, the curve goes on with slope 1.
    #[inline]
    pub fn at(&self, value: f32) -> f32 {
        let [low, high] = CURVE_RANGE;
        let inside = value.clamp(low, high);
        let at = (inside - low) * (CURVE_PIECES as f32 / (high - low));
        let piece = (at as usize).min(CURVE_PIECES - 1);
        match self.points.get(piece..piece + 2) {
            Some([a, b]) => a + (b - a) * (at - piece as f32) + (value - inside),
            _ => value,
        }
    }
}

/// Draws the curve of one channel.
pub fn draw_curve(config: &AugmentConfig, rng: &mut impl RngCore) -> Curve {
    let mut curve = Curve::identity();
    if rng.random_bool(config.histogram) {
        curve.histogram(rng, config.histogram_strength);
    }
    if rng.random_bool(config.gamma) {
        let [low, high] = config.gamma_range;
        curve.gamma(uniform(rng, low.ln(), high.ln()).exp());
    }
    curve
}

/// Multiplies intensities, counted from `level` below 0, by a smooth field.
pub fn bias(channel: &mut [f32], shape: [usize; 3], rng: &mut impl RngCore, deviation: f32) {
    /// Where signal is 0, in standard deviations below the mean of the brain.
    const LEVEL: f32 = 3.5;
    if deviation <= 0.0 {
        return;
    }
    let [_, depth, height] = shape;
    let cell = shape.iter().copied().max().unwrap_or(1) as f32 / 2.5;
    let field = SmoothField::random(rng, shape, cell, deviation);
    let mut row_field = vec![0.0; height];
    for (row, values) in channel.chunks_exact_mut(height.max(1)).enumerate() {
        field.fill_row(row / depth, row % depth, &mut row_field);
        for (value, log) in values.iter_mut().zip(&row_field) {
            // The first three terms of the exponential, enough for a bias.
            *value = (*value + LEVEL) * (1.0 + log + 0.5 * log * log) - LEVEL;
        }
    }
}

/// Adds noise.
pub fn noise(channel: &mut [f32], rng: &mut impl RngCore, deviation: f32) {
    if deviation <= 0.0 {
        return;
    }
    let mut source = FastNoise::new(rng.next_u64());
    for value in channel {
        *value += source.normal() * deviation;
    }
}

/// Multiplies by `1 + contrast` and adds `brightness`.
pub fn linear(channel: &mut [f32], contrast: f32, brightness: f32) {
    if contrast == 0.0 && brightness == 0.0 {
        return;
    }
    for value in channel {
        *value = *value * (1.0 + contrast) + brightness;
    }
}

/// Blurs by a Gaussian of `sigma_voxels` along each axis.
pub fn blur(channel: &mut [f32], shape: [usize; 3], sigma_voxels: f32) {
    if sigma_voxels <= 0.0 {
        return;
    }
    let radius = (2.5 * sigma_voxels).ceil() as i32;
    let mut kernel: Vec<f32> = (-radius..=radius)
        .map(|step| (-(step * step) as f32 / (2.0 * sigma_voxels * sigma_voxels)).exp())
        .collect();
    let sum: f32 = kernel.iter().sum();
    kernel.iter_mut().for_each(|weight| *weight /= sum);
    for axis in 0..3 {
        let taps = |at: usize, count: usize| {
            let last = count as i32 - 1;
            let step = move |(step, weight): (usize, &f32)| {
                ((at as i32 + step as i32 - radius).clamp(0, last) as usize, *weight)
            };
            kernel.iter().enumerate().map(step).collect()
        };
        resample_axis(channel, shape, axis, taps);
    }
}

/// Makes one axis coarse: means over slices of `thickness` voxels, then linear in between.
pub fn coarsen(channel: &mut [f32], shape: [usize; 3], axis: usize, thickness: f32) {
    if thickness <= 1.0 {
        return;
    }
    let half = thickness / 2.0;
    let slice = move |index: f32, share: f32, count: usize, taps: &mut Vec<(usize, f32)>| {
        let middle = (index + 0.5) * thickness - 0.5;
        let last = count as f32 - 1.0;
        let first = (middle - half + 0.5).floor().clamp(0.0, last) as usize;
        let end = (middle + half + 0.5).ceil().clamp(first as f32 + 1.0, count as f32) as usize;
        let weight = share / (end - first) as f32;
        taps.extend((first..end).map(|at| (at, weight)));
    };
    resample_axis(channel, shape, axis, |at, count| {
        let position = (at as f32 + 0.5) / thickness - 0.5;
        let below = position.floor();
        let mut taps = Vec::new();
        slice(below, 1.0 - (position - below), count, &mut taps);
        slice(below + 1.0, position - below, count, &mut taps);
        taps
    });
}

/// Replaces each voxel by a weighted sum of voxels of its line along `axis`; `taps` returns the
/// places and weights for a place and the length of the line.
fn resample_axis(
    channel: &mut [f32],
    shape: [usize; 3],
    axis: usize,
    taps: impl Fn(usize, usize) -> Vec<(usize, f32)>,
) {
    let count = shape[axis];
    let inner: usize = shape[axis + 1..].iter().product();
    let taps: Vec<Vec<(usize, f32)>> = (0..count).map(|at| taps(at, count)).collect();
    let mut before = vec![0.0; count * inner];
    for block in channel.chunks_exact_mut((count * inner).max(1)) {
        before.copy_from_slice(block);
        if inner == 1 {
            for (value, taps) in block.iter_mut().zip(&taps) {
                *value = taps.iter().map(|&(from, weight)| weight * before[from]).sum();
            }
            continue;
        }
        for (line, taps) in block.chunks_exact_mut(inner).zip(&taps) {
            line.fill(0.0);
            for &(from, weight) in taps {
                let source = &before[from * inner..(from + 1) * inner];
                for (value, old) in line.iter_mut().zip(source) {
                    *value += weight * old;
                }
            }
        }
    }
}

/// Changes one channel after normalisation, in the order in which scanners spoil images: resolution,
/// bias, noise, scale.
pub fn spoil(
    channel: &mut [f32],
    shape: [usize; 3],
    config: &AugmentConfig,
    has_bias: Option<f32>,
    rng: &mut impl RngCore,
) {
    if rng.random_bool(config.coarse) {
        let [low, high] = config.coarse_voxels;
        // Thick slices are axial more often than not.
        let axis = [2, 2, 1, 0][rng.random_range(0..4)];
        coarsen(channel, shape, axis, uniform(rng, low, high));
    } else if rng.random_bool(config.blur) {
        let [low, high] = config.blur_voxels;
        blur(channel, shape, uniform(rng, low, high));
    }
    if let Some(deviation) = has_bias {
        bias(channel, shape, rng, deviation);
    }
    if rng.random_bool(config.noise) {
        let deviation = uniform(rng, 0.0, config.noise_deviation);
        noise(channel, rng, deviation);
    }
    if rng.random_bool(config.linear) {
        let contrast = uniform(rng, -config.contrast, config.contrast);
        linear(channel, contrast, uniform(rng, -config.brightness, config.brightness));
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const SHAPE: [usize; 3] = [6, 7, 8];

    fn ramp() -> Vec<f32> {
        (0..336).map(|value| value as f32 / 100.0).collect()
    }

    #[test]
    fn strength_zero_is_the_identity() {
        type Change = fn(&mut Vec<f32>, &mut ChaCha8Rng);
        let table: [(&str, Change); 7] = [
            ("bias", |values, rng| bias(values, SHAPE, rng, 0.0)),
            ("noise", |values, rng| noise(values, rng, 0.0)),
            ("linear", |values, _| linear(values, 0.0, 0.0)),
            ("blur", |values, _| blur(values, SHAPE, 0.0)),
            ("coarsen", |values, _| coarsen(values, SHAPE, 1, 1.0)),
            ("spoil", |values, rng| spoil(values, SHAPE, &AugmentConfig::none(), None, rng)),
            ("curve", |values, rng| {
                let curve = draw_curve(&AugmentConfig::none(), rng);
                values.iter_mut().for_each(|value| *value = (curve.at(*value) * 1e4).round() / 1e4);
            }),
        ];
        for (name, change) in table {
            let mut values = ramp();
            change(&mut values, &mut ChaCha8Rng::seed_from_u64(1));
            let worst = values.iter().zip(ramp()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-4, "{name}: {worst}");
        }
    }

    #[test]
    fn curves_are_monotone_and_keep_their_ends() {
        for seed in 0..50 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut curve = Curve::identity();
            curve.histogram(&mut rng, 0.8);
            curve.gamma(uniform(&mut rng, 0.5, 2.0));
            for value in -60..80 {
                let value = value as f32 / 10.0;
                assert!(curve.at(value + 0.1) >= curve.at(value), "seed {seed} at {value}");
            }
            assert!((curve.at(CURVE_RANGE[0]) - CURVE_RANGE[0]).abs() < 1e-4);
            assert!((curve.at(CURVE_RANGE[1]) - CURVE_RANGE[1]).abs() < 1e-4);
        }
    }

    #[test]
    fn blur_and_coarsening_keep_a_constant_and_flatten_a_spike() {
        for axis in 0..3 {
            let mut flat = vec![2.0; 336];
            coarsen(&mut flat, SHAPE, axis, 2.7);
            blur(&mut flat, SHAPE, 0.8);
            assert!(flat.iter().all(|value| (value - 2.0).abs() < 1e-5), "axis {axis}");
            let mut spike = vec![0.0; 336];
            spike[3 * 56 + 3 * 8 + 4] = 1.0;
            coarsen(&mut spike, SHAPE, axis, 2.0);
            assert!(spike.iter().fold(0.0_f32, |a, &b| a.max(b)) < 0.6);
        }
    }
}
