//! Probabilities of every voxel of a volume, window by window.

use ndarray::{Array3, Array4, ArrayView4, Axis, AxisDescription, Slice};
use tch::{Device, Kind, Tensor};

use crate::{
    Architecture, NetworkError,
    network::{Mode, Network},
    parameters::Parameters,
    segment::{Mirroring, SegmentOptions, Window},
    window::{importance, starts},
};

/// Largest box computed in one piece, in voxels: a brain box of 176x208x176 has 6.4 million.
const WHOLE_BOX_VOXELS_MAX: usize = 8_000_000;

/// Largest volume accepted, in voxels of one channel.
const VOLUME_VOXELS_MAX: usize = 512 * 512 * 512;

/// What a caller wants to know, and may end, during a prediction.
pub(crate) struct Watch<'a> {
    /// Called with the number of passes done and the number of all passes.
    pub(crate) progress: &'a mut dyn FnMut(usize, usize),
    /// Asked before each pass.
    pub(crate) cancel: &'a dyn Fn() -> bool,
}

/// A network, the weights of its members and where they live.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Predictor<'a> {
    pub(crate) network: &'a Network,
    /// At least one; their answers are averaged.
    pub(crate) members: &'a [Parameters],
    pub(crate) device: Device,
}

/// Part of a volume: first voxel and sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Region {
    first: [usize; 3],
    sides: [usize; 3],
}

impl Region {
    /// Returns the range along an axis of an array `[channel, x, y, z]`.
    fn range(self, axis: usize) -> Slice {
        match axis {
            0 => Slice::from(..),
            _ => Slice::from(self.first[axis - 1]..self.first[axis - 1] + self.sides[axis - 1]),
        }
    }
}

/// What the network says of each voxel of a volume.
pub(crate) struct Prediction {
    /// Softmax or sigmoid of the network's output, mean over mirror images and members,
    /// `[out_channel, x, y, z]`; 0 for every channel where no window was computed.
    pub(crate) probabilities: Array4<f32>,
    /// Standard deviation of the first channel over mirror images and members, `[x, y, z]`: of the
    /// whole tumour, or of the background, whose deviation is the same. 0 if there is one pass.
    pub(crate) mirror_spread: Array3<f32>,
}

/// Tensors of one volume or window on the CPU.
struct Found {
    /// `[out_channel, x, y, z]`.
    mean: Tensor,
    /// `[1, x, y, z]`; nothing if there is one pass.
    spread: Option<Tensor>,
}

/// The windows of a volume: padding on both sides of each axis, sides, and starts per axis.
struct Plan {
    pad: [[usize; 2]; 3],
    window: [usize; 3],
    starts: [Vec<usize>; 3],
}

impl Plan {
    /// Returns the values of a tensor `[channel, x, y, z]` without its padding, in its order.
    fn unpadded(&self, tensor: &Tensor, sides: [usize; 3]) -> Result<Vec<f32>, NetworkError> {
        let mut inner = tensor.shallow_clone();
        for (axis, (pad, side)) in self.pad.iter().zip(sides).enumerate() {
            inner = inner.f_narrow(axis as i64 + 1, pad[0] as i64, side as i64)?;
        }
        let inner = inner.f_contiguous()?;
        let mut values = vec![0.0_f32; inner.numel()];
        inner.f_copy_data(&mut values, inner.numel())?;
        Ok(values)
    }
}

impl Predictor<'_> {
    /// Returns softmax or sigmoid of the network's output alone; see [`Self::predict`].
    ///
    /// # Shapes
    /// - `image`: `[channel, x, y, z]`
    /// - returns: `[out_channel, x, y, z]`
    pub(crate) fn probabilities(
        &self,
        image: ArrayView4<'_, f32>,
        options: &SegmentOptions,
        watch: &mut Watch<'_>,
    ) -> Result<Array4<f32>, NetworkError> {
        Ok(self.predict(image, options, watch)?.probabilities)
    }

    /// Returns what the network says of each voxel.
    ///
    /// # Shapes
    /// - `image`: `[channel, x, y, z]`
    pub(crate) fn predict(
        &self,
        image: ArrayView4<'_, f32>,
        options: &SegmentOptions,
        watch: &mut Watch<'_>,
    ) -> Result<Prediction, NetworkError> {
        let _guard = tch::no_grad_guard();
        self.check(image)?;
        let (_, x, y, z) = image.dim();
        let channels = self.network.config().out_channels.unsigned_abs() as usize;
        let mut output = Prediction {
            probabilities: Array4::zeros((channels, x, y, z)),
            mirror_spread: Array3::zeros((x, y, z)),
        };
        let region = if options.skip_air {
            occupied(image)
        } else {
            Some(Region { first: [0; 3], sides: [x, y, z] })
        };
        let Some(region) = region else {
            (watch.progress)(1, 1);
            return Ok(output);
        };
        let part = |axis: AxisDescription| region.range(axis.axis.index());
        let plan = self.plan(region.sides, options);
        let volume =
            to_tensor(image.slice_each_axis(part))?.f_constant_pad_nd(torch_padding(&plan.pad))?;
        let found = self.windows(&volume, &plan, options, watch)?;
        let values = plan.unpadded(&found.mean, region.sides)?;
        let target = output.probabilities.slice_each_axis_mut(part);
        target.into_iter().zip(values).for_each(|(target, value)| *target = value);
        if let Some(spread) = &found.spread {
            let values = plan.unpadded(spread, region.sides)?;
            let inside = |axis: AxisDescription| region.range(axis.axis.index() + 1);
            let target = output.mirror_spread.slice_each_axis_mut(inside);
            target.into_iter().zip(values).for_each(|(target, value)| *target = value);
        }
        Ok(output)
    }

    fn check(&self, image: ArrayView4<'_, f32>) -> Result<(), NetworkError> {
        let (channels, x, y, z) = image.dim();
        let want = self.network.config().in_channels;
        let voxels = x.checked_mul(y).and_then(|area| area.checked_mul(z)).unwrap_or(usize::MAX);
        if i64::try_from(channels) != Ok(want) || voxels == 0 || voxels > VOLUME_VOXELS_MAX {
            return Err(NetworkError::Shape {
                name: "image",
                expected: format!("[{want}, x, y, z] with 1 to {VOLUME_VOXELS_MAX} voxels"),
                got: image.shape().iter().map(|&side| side as i64).collect(),
            });
        }
        if image.iter().any(|value| !value.is_finite()) {
            return Err(NetworkError::NotFinite);
        }
        Ok(())
    }

    fn plan(&self, sides: [usize; 3], options: &SegmentOptions) -> Plan {
        let stride = self.network.config().stride();
        let whole = sides.map(|side| side.next_multiple_of(stride));
        let window = match options.window {
            Window::WholeBox { .. } if whole.iter().product::<usize>() <= WHOLE_BOX_VOXELS_MAX => {
                whole
            }
            Window::WholeBox { otherwise: window } | Window::Sliding(window) => {
                window.map(|side| side.max(1).next_multiple_of(stride))
            }
        };
        let mut pad = [[0; 2]; 3];
        let mut all = [const { Vec::new() }; 3];
        for axis in 0..3 {
            let missing = window[axis].saturating_sub(sides[axis]);
            pad[axis] = [missing / 2, missing - missing / 2];
            all[axis] = starts(sides[axis] + missing, window[axis], options.overlap);
        }
        Plan { pad, window, starts: all }
    }

    /// Returns what is found in a padded volume `[1, channel, x, y, z]`.
    fn windows(
        &self,
        volume: &Tensor,
        plan: &Plan,
        options: &SegmentOptions,
        watch: &mut Watch<'_>,
    ) -> Result<Found, NetworkError> {
        let [px, py, pz] = plan.window.map(|side| side as i64);
        let flips = options.mirroring.flips();
        let [xs, ys, zs] = &plan.starts;
        let passes = flips.len() * self.members.len();
        let total = xs.len() * ys.len() * zs.len() * passes;
        let mut done = 0;
        if xs.len() * ys.len() * zs.len() == 1 {
            return self.mirrored(volume, flips, &mut done, total, watch);
        }
        let weights = Tensor::f_from_slice(&importance(plan.window))?.f_reshape([1, px, py, pz])?;
        let size = volume.size();
        let zeros = |channels: i64| {
            let shape = [channels, size[2], size[3], size[4]];
            Tensor::f_zeros(shape, (Kind::Float, Device::Cpu))
        };
        let sum = zeros(self.network.config().out_channels)?;
        let spread_sum = if passes > 1 { Some(zeros(1)?) } else { None };
        let weight_sum = zeros(1)?;
        for &x in xs {
            for &y in ys {
                for &z in zs {
                    let at = |tensor: &Tensor, axis: i64| {
                        tensor
                            .f_narrow(axis, x as i64, px)?
                            .f_narrow(axis + 1, y as i64, py)?
                            .f_narrow(axis + 2, z as i64, pz)
                    };
                    let _ = at(&weight_sum, 1)?.f_add_(&weights)?;
                    let input = at(volume, 2)?;
                    if options.skip_air && input.f_count_nonzero(None)?.f_int64_value(&[])? == 0 {
                        done += passes;
                        continue;
                    }
                    let found = self.mirrored(&input, flips, &mut done, total, watch)?;
                    let _ = at(&sum, 1)?.f_add_(&found.mean.f_mul(&weights)?)?;
                    if let (Some(sum), Some(spread)) = (&spread_sum, &found.spread) {
                        let _ = at(sum, 1)?.f_add_(&spread.f_mul(&weights)?)?;
                    }
                }
            }
        }
        let spread = spread_sum.map(|sum| sum.f_div(&weight_sum)).transpose()?;
        Ok(Found { mean: sum.f_div(&weight_sum)?, spread })
    }

    /// Returns mean and spread over flips and members of one window `[1, channel, x, y, z]`, on the
    /// CPU.
    ///
    /// The spread costs one volume: with `k` passes done, pass `k + 1` adds
    /// `(p - mean_k)^2 k / (k + 1)` to the sum of squared deviations (Welford).
    fn mirrored(
        &self,
        input: &Tensor,
        flips: &[&[i64]],
        done: &mut usize,
        total: usize,
        watch: &mut Watch<'_>,
    ) -> Result<Found, NetworkError> {
        let input = input.f_to(self.device)?;
        let mut sum: Option<Tensor> = None;
        let mut squares: Option<Tensor> = None;
        let passes = flips.iter().flat_map(|axes| self.members.iter().map(move |m| (*axes, m)));
        for (before, (axes, member)) in passes.enumerate() {
            if (watch.cancel)() {
                return Err(NetworkError::Cancelled);
            }
            let found = self.forward(member, &input.f_flip(axes)?)?.f_flip(axes)?;
            sum = Some(match sum {
                Some(mut sum) => {
                    let added = squared_deviation(&found, &sum, before as f64)?;
                    squares = Some(match squares {
                        Some(mut squares) => squares.f_add_(&added)?,
                        None => added,
                    });
                    sum.f_add_(&found)?
                }
                None => found,
            });
            *done += 1;
            (watch.progress)(*done, total);
        }
        let passes = (flips.len() * self.members.len()) as f64;
        let to_cpu = |tensor: Tensor| tensor.f_squeeze_dim(0)?.f_to(Device::Cpu);
        let sum = sum.ok_or(NetworkError::Cancelled)?;
        let spread = match squares {
            Some(squares) => Some(to_cpu(squares.f_div_scalar(passes)?.f_sqrt()?)?),
            None => None,
        };
        Ok(Found { mean: to_cpu(sum.f_div_scalar(passes)?)?, spread })
    }

    fn forward(&self, member: &Parameters, input: &Tensor) -> Result<Tensor, NetworkError> {
        let mut outputs = self.network.forward(member, input, Mode::Inference)?;
        let logits = outputs.swap_remove(0);
        Ok(match self.network.config().architecture {
            Architecture::Seed => logits.f_softmax(1, Kind::Float)?,
            Architecture::Residual if self.network.config().answers_by_blocks() => {
                smooth(&logits.f_sigmoid()?)?
            }
            Architecture::Residual => logits.f_sigmoid()?,
        })
    }
}

/// Returns what one more pass adds to the sum of squared deviations of the first channel, after
/// `before` passes that sum to `sum`; see [`Predictor::mirrored`].
///
/// # Shapes
/// - `found`, `sum`: `[1, channel, x, y, z]`; returns `[1, 1, x, y, z]`
fn squared_deviation(found: &Tensor, sum: &Tensor, before: f64) -> Result<Tensor, NetworkError> {
    let mean = sum.f_narrow(1, 0, 1)?.f_div_scalar(before)?;
    let deviation = found.f_narrow(1, 0, 1)?.f_sub(&mean)?;
    Ok(deviation.f_square()?.f_mul_scalar(before / (before + 1.0))?)
}

/// Smooths by `[1 2 1] / 4` along each axis; the edge is repeated outwards.
///
/// A network that computes at half resolution answers the eight voxels of a block through eight
/// channels, whose small disagreements show as a chequered pattern: this takes it out.
///
/// # Shapes
/// - `probabilities`: `[batch, channel, x, y, z]`; returns the same
fn smooth(probabilities: &Tensor) -> Result<Tensor, NetworkError> {
    let mean_of_pairs = |tensor: &Tensor| {
        tensor.f_avg_pool3d([2, 2, 2], [1, 1, 1], [0, 0, 0], false, true, None::<i64>)
    };
    let padded = probabilities.f_contiguous()?.f_replication_pad3d([1, 1, 1, 1, 1, 1])?;
    Ok(mean_of_pairs(&mean_of_pairs(&padded)?)?)
}

impl Mirroring {
    /// Returns the axes to flip in each pass, for tensors `[batch, channel, x, y, z]`.
    fn flips(self) -> &'static [&'static [i64]] {
        const ALL: &[&[i64]] = &[&[], &[2], &[3], &[4], &[2, 3], &[2, 4], &[3, 4], &[2, 3, 4]];
        match self {
            Self::Off => &ALL[..1],
            Self::LeftRight => &ALL[..2],
            Self::All => ALL,
        }
    }
}

/// Returns padding in the order of `constant_pad_nd`: last axis first.
fn torch_padding(pad: &[[usize; 2]; 3]) -> Vec<i64> {
    pad.iter().rev().flatten().map(|&voxels| voxels as i64).collect()
}

/// Copies an image to a tensor `[1, channel, x, y, z]` on the CPU, whatever its memory order.
pub(crate) fn to_tensor(image: ArrayView4<'_, f32>) -> Result<Tensor, NetworkError> {
    let (channels, x, y, z) = image.dim();
    let shape = [1, channels as i64, x as i64, y as i64, z as i64];
    let values: Vec<f32> = image.iter().copied().collect();
    Ok(Tensor::f_from_slice(&values)?.f_reshape(shape)?)
}

/// Returns the smallest box that holds every value other than 0, or nothing if there is none.
fn occupied(image: ArrayView4<'_, f32>) -> Option<Region> {
    let mut region = Region { first: [0; 3], sides: [0; 3] };
    for axis in 0..3 {
        let mut slices = image.axis_iter(Axis(axis + 1));
        let filled = |slice: ndarray::ArrayView3<'_, f32>| slice.iter().any(|&value| value != 0.0);
        let first = slices.position(filled)?;
        let after = image.len_of(Axis(axis + 1))
            - slices.rev().position(filled).unwrap_or(
                // Nothing after the first: it is the last as well.
                image.len_of(Axis(axis + 1)) - first - 1,
            );
        region.first[axis] = first;
        region.sides[axis] = after - first;
    }
    Some(region)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_keeps_what_is_even_and_takes_out_what_is_chequered() {
        let even = Tensor::full([1, 3, 4, 6, 8], 0.7, (Kind::Float, Device::Cpu));
        let gap = (smooth(&even).unwrap() - &even).abs().max().double_value(&[]);
        assert!(gap < 1e-6, "{gap}");
        let line = Tensor::arange(8, (Kind::Float, Device::Cpu)).fmod(2.0);
        let chequered = line.expand([1, 1, 4, 6, 8], false);
        let found = smooth(&chequered).unwrap();
        assert_eq!(found.size(), [1, 1, 4, 6, 8]);
        let inner = found.narrow(4, 1, 6);
        assert!((inner - 0.5).abs().max().double_value(&[]) < 1e-6);
    }

    #[test]
    fn the_spread_over_passes_is_the_standard_deviation() {
        let passes = [0.2, 0.9, 0.4, 0.7];
        let tensor = |p: f64| Tensor::full([1, 2, 1, 1, 1], p, (Kind::Float, Device::Cpu));
        let (mut sum, mut squares) = (tensor(passes[0]), 0.0);
        for (before, &p) in passes.iter().enumerate().skip(1) {
            let added = squared_deviation(&tensor(p), &sum, before as f64).unwrap();
            assert_eq!(added.size(), [1, 1, 1, 1, 1]);
            squares += added.double_value(&[0, 0, 0, 0, 0]);
            sum += tensor(p);
        }
        // Mean 0.55; deviations 0.35, 0.35, 0.15, 0.15.
        let expected = (0.35_f64.powi(2) / 2.0 + 0.15_f64.powi(2) / 2.0).sqrt();
        assert!(((squares / 4.0).sqrt() - expected).abs() < 1e-6);
    }

    #[test]
    fn the_occupied_box_is_tight() {
        let mut image = Array4::<f32>::zeros((2, 6, 7, 8));
        assert_eq!(occupied(image.view()), None);
        image[[1, 2, 3, 7]] = -1.0;
        assert_eq!(occupied(image.view()), Some(Region { first: [2, 3, 7], sides: [1, 1, 1] }));
        image[[0, 4, 0, 5]] = 1.0;
        assert_eq!(occupied(image.view()), Some(Region { first: [2, 0, 5], sides: [3, 4, 3] }));
    }

    #[test]
    fn a_fortran_ordered_image_keeps_its_voxels_in_place() {
        use ndarray::ShapeBuilder as _;
        let mut image = Array4::<f32>::zeros((2, 3, 4, 5).f());
        image[[1, 2, 3, 4]] = 7.0;
        image[[0, 1, 0, 2]] = 5.0;
        let tensor = to_tensor(image.view()).unwrap();
        assert_eq!(tensor.f_double_value(&[0, 1, 2, 3, 4]).unwrap(), 7.0);
        assert_eq!(tensor.f_double_value(&[0, 0, 1, 0, 2]).unwrap(), 5.0);
    }
}
