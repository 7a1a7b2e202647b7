//! Building blocks, written for tensors whose channels lie together in memory.
//!
//! Every activation is `[batch, channel, x, y, z]` by shape and `[batch, x, y, z, channel]` in
//! memory: on a CPU the convolutions then read and write it without reordering, and a block of
//! voxels becomes channels by moving contiguous runs.

use tch::{Kind, Tensor};

use crate::{
    NetworkError,
    parameters::{Init, ParameterId, ParameterSpecs, Parameters},
    precision::cpu_computes_bf16,
};

/// Added to the variance in instance normalisation.
const NORM_EPSILON: f64 = 1e-5;

/// Returns the view `[batch, x, y, z, channel]` of `[batch, channel, x, y, z]`.
pub(crate) fn channels_last(input: &Tensor) -> Result<Tensor, NetworkError> {
    Ok(input.f_permute([0, 2, 3, 4, 1])?)
}

/// Returns the view `[batch, channel, x, y, z]` of `[batch, x, y, z, channel]`.
pub(crate) fn channels_first(input: &Tensor) -> Result<Tensor, NetworkError> {
    Ok(input.f_permute([0, 4, 1, 2, 3])?)
}

/// Returns `input` with its channels together in memory; no copy if they are.
pub(crate) fn with_channels_together(input: &Tensor) -> Result<Tensor, NetworkError> {
    channels_first(&channels_last(input)?.f_contiguous()?)
}

/// Returns the five sides of a tensor `[batch, channel, x, y, z]`.
pub(crate) fn sides(name: &'static str, input: &Tensor) -> Result<[i64; 5], NetworkError> {
    let size = input.size();
    <[i64; 5]>::try_from(size.as_slice()).map_err(|_| NetworkError::Shape {
        name,
        expected: "[batch, channel, x, y, z]".to_owned(),
        got: size,
    })
}

/// Turns blocks of 2x2x2 voxels into channels.
///
/// Channel `c` of the voxel at offset `(i, j, k)` in its block becomes channel
/// `((i * 2 + j) * 2 + k) * channels + c`.
///
/// # Shapes
/// - `input`: `[batch, channel, x, y, z]`, sides even
/// - returns: `[batch, 8 * channel, x / 2, y / 2, z / 2]`
pub(crate) fn space_to_depth(input: &Tensor) -> Result<Tensor, NetworkError> {
    let [b, c, x, y, z] = sides("input of space_to_depth", input)?;
    if [x, y, z].iter().any(|side| side % 2 != 0) {
        return Err(NetworkError::Shape {
            name: "input of space_to_depth",
            expected: "even sides".to_owned(),
            got: vec![b, c, x, y, z],
        });
    }
    let blocks = channels_last(input)?
        .f_reshape([b, x / 2, 2, y / 2, 2, z / 2, 2, c])?
        .f_permute([0, 1, 3, 5, 2, 4, 6, 7])?
        .f_contiguous()?
        .f_view([b, x / 2, y / 2, z / 2, 8 * c])?;
    channels_first(&blocks)
}

/// Turns channels into blocks of 2x2x2 voxels: the inverse of [`space_to_depth`].
///
/// # Shapes
/// - `input`: `[batch, 8 * channel, x, y, z]`
/// - returns: `[batch, channel, 2 * x, 2 * y, 2 * z]`
pub(crate) fn depth_to_space(input: &Tensor) -> Result<Tensor, NetworkError> {
    let [b, c, x, y, z] = sides("input of depth_to_space", input)?;
    if c % 8 != 0 {
        return Err(NetworkError::Shape {
            name: "input of depth_to_space",
            expected: "a multiple of 8 channels".to_owned(),
            got: vec![b, c, x, y, z],
        });
    }
    let voxels = channels_last(input)?
        .f_reshape([b, x, y, z, 2, 2, 2, c / 8])?
        .f_permute([0, 1, 4, 2, 5, 3, 6, 7])?
        .f_contiguous()?
        .f_view([b, 2 * x, 2 * y, 2 * z, c / 8])?;
    channels_first(&voxels)
}

/// Returns the maximum over blocks of 2x2x2 voxels; sides must be even.
pub(crate) fn max_pool(input: &Tensor) -> Result<Tensor, NetworkError> {
    let [b, c, x, y, z] = sides("input of max_pool", input)?;
    let blocks = channels_last(input)?.f_reshape([b, x / 2, 2, y / 2, 2, z / 2, 2, c])?;
    channels_first(&blocks.f_amax([2, 4, 6].as_slice(), false)?)
}

/// A convolution.
#[derive(Debug)]
pub(crate) struct Conv {
    weight: ParameterId,
    bias: Option<ParameterId>,
    kernel: i64,
    stride: i64,
}

/// How the weights of a convolution start.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ConvInit {
    /// He normal, for layers before a leaky ReLU.
    HeNormal,
    /// He uniform, as in the original.
    HeUniform,
    /// All 0, for a layer that must not change anything at first.
    Zero,
}

/// Whether a layer adds a bias, and its first value.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bias {
    /// None: a normalisation follows.
    Without,
    /// This value at first.
    Starting(f64),
}

impl Conv {
    /// Adds a convolution of `kernel`³ that keeps the grid (`kernel` odd), or halves it
    /// (`kernel` 2).
    pub(crate) fn new(
        specs: &mut ParameterSpecs,
        name: &str,
        [channels_in, channels_out]: [i64; 2],
        kernel: i64,
        (init, bias): (ConvInit, Bias),
    ) -> Self {
        let fan_in = channels_in * kernel.pow(3);
        let init = match init {
            ConvInit::HeNormal => Init::HeNormal { fan_in },
            ConvInit::HeUniform => Init::HeUniform { fan_in },
            ConvInit::Zero => Init::Constant(0.0),
        };
        let shape = [channels_out, channels_in, kernel, kernel, kernel];
        let weight = specs.add(format!("{name}.weight"), &shape, init);
        let bias = match bias {
            Bias::Without => None,
            Bias::Starting(value) => {
                Some(specs.add(format!("{name}.bias"), &[channels_out], Init::Constant(value)))
            }
        };
        Self { weight, bias, kernel, stride: if kernel == 2 { 2 } else { 1 } }
    }

    /// # Shapes
    /// - `input`: `[batch, channels_in, x, y, z]`
    /// - returns: `[batch, channels_out, x / stride, y / stride, z / stride]`
    pub(crate) fn forward(
        &self,
        parameters: &Parameters,
        input: &Tensor,
    ) -> Result<Tensor, NetworkError> {
        let weight = parameters.get(self.weight);
        let bias = self.bias.map(|bias| parameters.get(bias));
        let padding = if self.stride == 2 { 0 } else { self.kernel / 2 };
        let (stride, padding) = ([self.stride; 3], [padding; 3]);
        let kind = input.f_kind()?;
        let by_onednn = kind == Kind::Float || kind == Kind::BFloat16 && cpu_computes_bf16();
        if !by_onednn || input.device() != tch::Device::Cpu {
            return Ok(input.f_conv3d(weight, bias, stride, padding, [1, 1, 1], 1)?);
        }
        // conv3d takes a slow path for small inputs, and leaves channels-last with it. Of other
        // kinds, oneDNN takes 16 bits only on some processors.
        let direct = |input: &Tensor, weight: &Tensor, bias: Option<&Tensor>| {
            input.f_mkldnn_convolution(weight, bias, padding, stride, [1, 1, 1], 1)
        };
        let narrower = input.size().iter().skip(2).any(|&side| side < self.kernel);
        if kind == Kind::Float || !narrower {
            return Ok(direct(input, weight, bias)?);
        }
        // In 16 bits, oneDNN's gradient by the weights reads memory that nothing wrote where a side
        // of the input is smaller than the kernel's. Such inputs are tiny: 32 bits cost nothing.
        let long = |tensor: &Tensor| tensor.f_to_kind(Kind::Float);
        let bias = bias.map(long).transpose()?;
        Ok(direct(&long(input)?, &long(weight)?, bias.as_ref())?.f_to_kind(kind)?)
    }
}

/// Doubles the grid: a transposed convolution of 2x2x2 with stride 2, computed as one matrix
/// product per voxel and a rearrangement.
#[derive(Debug)]
pub(crate) struct UpConv {
    weight: ParameterId,
    bias: ParameterId,
    channels_out: i64,
}

impl UpConv {
    pub(crate) fn new(
        specs: &mut ParameterSpecs,
        name: &str,
        [channels_in, channels_out]: [i64; 2],
        init: ConvInit,
    ) -> Self {
        let init = match init {
            ConvInit::HeNormal => Init::HeNormal { fan_in: channels_in },
            // Keras counts the fan of a transposed kernel by its output channels.
            ConvInit::HeUniform => Init::HeUniform { fan_in: channels_out * 8 },
            ConvInit::Zero => Init::Constant(0.0),
        };
        let shape = [8 * channels_out, channels_in];
        let weight = specs.add(format!("{name}.weight"), &shape, init);
        let bias = specs.add(format!("{name}.bias"), &[channels_out], Init::Constant(0.0));
        Self { weight, bias, channels_out }
    }

    /// # Shapes
    /// - `input`: `[batch, channels_in, x, y, z]`
    /// - returns: `[batch, channels_out, 2 * x, 2 * y, 2 * z]`
    pub(crate) fn forward(
        &self,
        parameters: &Parameters,
        input: &Tensor,
    ) -> Result<Tensor, NetworkError> {
        let bias = parameters.get(self.bias).f_repeat([8])?;
        let flat = channels_last(input)?.f_contiguous()?;
        let product = flat.f_linear(parameters.get(self.weight), Some(&bias))?;
        debug_assert_eq!(product.size().last(), Some(&(8 * self.channels_out)));
        depth_to_space(&channels_first(&product)?)
    }
}

/// Instance normalisation with a learnt scale and shift per channel.
#[derive(Debug)]
pub(crate) struct InstanceNorm {
    scale: ParameterId,
    shift: ParameterId,
}

impl InstanceNorm {
    pub(crate) fn new(specs: &mut ParameterSpecs, name: &str, channels: i64) -> Self {
        let scale = specs.add(format!("{name}.scale"), &[channels], Init::Constant(1.0));
        let shift = specs.add(format!("{name}.shift"), &[channels], Init::Constant(0.0));
        Self { scale, shift }
    }

    /// Keeps the shape.
    ///
    /// Each sample goes through batch normalisation by its own statistics, which for one sample is
    /// instance normalisation: on channels-last tensors libtorch computes its gradient on a CPU about
    /// five times as fast as that of group normalisation with one channel a group, and on CUDA devices
    /// without turning the tensors round.
    pub(crate) fn forward(
        &self,
        parameters: &Parameters,
        input: &Tensor,
    ) -> Result<Tensor, NetworkError> {
        let scale = Some(parameters.get(self.scale));
        let shift = Some(parameters.get(self.shift));
        let none = None::<&Tensor>;
        let norm = |sample: &Tensor| {
            // By its own statistics: no running ones are given, so none are kept.
            sample.f_batch_norm(scale, shift, none, none, true, 0.0, NORM_EPSILON, false)
        };
        if input.size().first() == Some(&1) {
            return Ok(norm(input)?);
        }
        let samples = input.f_split(1, 0)?.iter().map(norm).collect::<Result<Vec<_>, _>>()?;
        Ok(Tensor::f_cat(&samples, 0)?)
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::random::normal;

    #[test]
    fn blocks_become_channels_and_voxels_again() {
        let input = Tensor::f_arange(2 * 3 * 4 * 6 * 8, (Kind::Float, Device::Cpu))
            .unwrap()
            .f_reshape([2, 3, 4, 6, 8])
            .unwrap();
        let deep = space_to_depth(&input).unwrap();
        assert_eq!(deep.size(), [2, 24, 2, 3, 4]);
        let offset = ((2 + 1) * 2 + 1) * 3 + 2;
        assert_eq!(
            deep.f_double_value(&[1, offset, 1, 2, 3]).unwrap(),
            input.f_double_value(&[1, 2, 3, 5, 7]).unwrap()
        );
        assert_eq!(depth_to_space(&deep).unwrap(), input);
        assert!(space_to_depth(&input.f_narrow(2, 0, 3).unwrap()).is_err());
        assert!(depth_to_space(&input).is_err());
    }

    #[test]
    fn up_convolution_equals_the_transposed_one() {
        let mut specs = ParameterSpecs::default();
        let layer = UpConv::new(&mut specs, "up", [3, 2], ConvInit::HeNormal);
        let parameters = Parameters::draw(&specs.into_specs(), 1, Device::Cpu).unwrap();
        let input = normal(1, &[1, 3, 2, 3, 4]);
        let ours = layer.forward(&parameters, &input).unwrap();
        // [(i, j, k, out), in] -> [in, out, i, j, k]
        let weight = parameters.get(layer.weight).f_reshape([2, 2, 2, 2, 3]).unwrap();
        let weight = weight.f_permute([4, 3, 0, 1, 2]).unwrap().f_contiguous().unwrap();
        let theirs = input
            .f_conv_transpose3d(
                &weight,
                None::<&Tensor>,
                [2, 2, 2],
                [0, 0, 0],
                [0, 0, 0],
                1,
                [1, 1, 1],
            )
            .unwrap();
        let gap = ours.f_sub(&theirs).unwrap().f_abs().unwrap().f_max().unwrap();
        assert!(gap.f_double_value(&[]).unwrap() < 1e-5);
    }

    #[test]
    fn instance_norm_leaves_mean_zero_and_variance_one() {
        let mut specs = ParameterSpecs::default();
        let layer = InstanceNorm::new(&mut specs, "norm", 5);
        let parameters = Parameters::draw(&specs.into_specs(), 1, Device::Cpu).unwrap();
        let input = normal(1, &[2, 5, 8, 8, 8]);
        let input = with_channels_together(&(input * 3.0 + 7.0)).unwrap();
        let output = layer.forward(&parameters, &input).unwrap();
        let (variance, mean) =
            output.f_var_mean_correction([2, 3, 4].as_slice(), 0, false).unwrap();
        assert!(mean.f_abs().unwrap().f_max().unwrap().f_double_value(&[]).unwrap() < 1e-4);
        let off = (variance - 1.0).f_abs().unwrap().f_max().unwrap();
        assert!(off.f_double_value(&[]).unwrap() < 1e-3);
    }

    #[test]
    fn instance_norm_and_its_gradient_equal_group_norm_with_a_channel_a_group() {
        let mut specs = ParameterSpecs::default();
        let layer = InstanceNorm::new(&mut specs, "norm", 5);
        let parameters = Parameters::draw(&specs.into_specs(), 1, Device::Cpu).unwrap();
        for batch in [1, 3] {
            let input = normal(1, &[batch, 5, 4, 6, 8]);
            let input = with_channels_together(&(input * 3.0 + 7.0)).unwrap();
            let input = input.f_set_requires_grad(true).unwrap();
            let weights = normal(2, &input.size());
            let ours = layer.forward(&parameters, &input).unwrap();
            let none = None::<&Tensor>;
            let theirs = input.f_group_norm(5, none, none, NORM_EPSILON, true).unwrap();
            let gradient = |output: &Tensor| {
                let sum = output.f_mul(&weights).unwrap().f_sum(Kind::Float).unwrap();
                Tensor::f_run_backward(&[&sum], &[&input], true, false).unwrap().swap_remove(0)
            };
            for (ours, theirs) in [(&ours, &theirs), (&gradient(&ours), &gradient(&theirs))] {
                let gap = ours.f_sub(theirs).unwrap().f_abs().unwrap().f_max().unwrap();
                assert!(gap.f_double_value(&[]).unwrap() < 1e-4, "batch {batch}");
            }
            assert_eq!(ours.stride(), input.stride(), "batch {batch}");
        }
    }

    /// Fills memory that the allocator hands out next with what no computation may read.
    fn poison() {
        let spoilt = |count: i64| {
            let value = if count % 3 == 0 { f64::NAN } else { 1e36 };
            let count = (1 << (4 + count % 14)) + count;
            Tensor::f_full([count], value, (Kind::BFloat16, Device::Cpu)).unwrap()
        };
        drop((0..300).map(spoilt).collect::<Vec<_>>());
    }

    #[test]
    fn gradients_in_sixteen_bits_are_those_of_thirty_two() {
        if !cpu_computes_bf16() {
            eprintln!("skipped: this processor does not compute in bf16");
            return;
        }
        for (channels, kernel) in [([4, 6], 3), ([16, 16], 3), ([6, 8], 2), ([8, 3], 1)] {
            let mut specs = ParameterSpecs::default();
            let start = (ConvInit::HeNormal, Bias::Starting(0.5));
            let conv = Conv::new(&mut specs, "conv", channels, kernel, start);
            let specs = specs.into_specs();
            for (x, y, z) in [(2, 2, 2), (1, 4, 2), (2, 8, 8), (8, 8, 2), (3, 3, 3), (4, 6, 8)] {
                if x < 2 && kernel == 2 {
                    continue;
                }
                let input = normal(1, &[2, channels[0], x, y, z]);
                let input = with_channels_together(&input).unwrap();
                let gradients = |kind: Kind| {
                    let mut weights = Parameters::draw(&specs, 1, Device::Cpu).unwrap();
                    weights.require_grad().unwrap();
                    let cast = weights.in_kind(kind).unwrap();
                    poison();
                    let output = conv.forward(&cast, &input.f_to_kind(kind).unwrap()).unwrap();
                    let sum = output.f_square().unwrap().f_mean(Kind::Float).unwrap();
                    poison();
                    Tensor::f_run_backward(&[&sum], weights.tensors(), false, false).unwrap()
                };
                for (short, exact) in gradients(Kind::BFloat16).iter().zip(&gradients(Kind::Float))
                {
                    let largest = |tensor: &Tensor| {
                        tensor.f_abs().unwrap().f_max().unwrap().f_double_value(&[]).unwrap()
                    };
                    let gap = largest(&short.f_sub(exact).unwrap());
                    let size = largest(exact);
                    assert!(gap < 0.05 * size, "{channels:?} {kernel} {x} {y} {z}: {gap} {size}");
                }
            }
        }
    }
}
