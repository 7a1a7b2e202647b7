//! The residual encoder and decoder.

use tch::Tensor;

use crate::{
    NetworkConfig, NetworkError,
    layers::{
        Bias, Conv, ConvInit, InstanceNorm, UpConv, depth_to_space, space_to_depth,
        with_channels_together,
    },
    network::Mode,
    parameters::{ParameterSpecs, Parameters},
};

/// First value of the bias of every head: few voxels are tumour.
const HEAD_BIAS: f64 = -2.0;

/// Most coarser levels with a head of their own.
const DEEP_HEADS_MAX: usize = 3;

/// A convolution, then instance normalisation.
#[derive(Debug)]
struct NormedConv {
    conv: Conv,
    norm: InstanceNorm,
}

impl NormedConv {
    fn new(specs: &mut ParameterSpecs, name: &str, channels: [i64; 2], kernel: i64) -> Self {
        let start = (ConvInit::HeNormal, Bias::Without);
        Self {
            conv: Conv::new(specs, &format!("{name}.conv"), channels, kernel, start),
            norm: InstanceNorm::new(specs, &format!("{name}.norm"), channels[1]),
        }
    }

    fn forward(&self, parameters: &Parameters, input: &Tensor) -> Result<Tensor, NetworkError> {
        self.norm.forward(parameters, &self.conv.forward(parameters, input)?)
    }
}

/// Two convolutions beside an identity.
#[derive(Debug)]
struct Block {
    first: NormedConv,
    second: NormedConv,
    dropout: f64,
}

impl Block {
    fn new(specs: &mut ParameterSpecs, name: &str, channels: i64, dropout: f64) -> Self {
        let channels = [channels, channels];
        Self {
            first: NormedConv::new(specs, &format!("{name}.0"), channels, 3),
            second: NormedConv::new(specs, &format!("{name}.1"), channels, 3),
            dropout,
        }
    }

    fn forward(
        &self,
        parameters: &Parameters,
        input: &Tensor,
        mode: Mode,
    ) -> Result<Tensor, NetworkError> {
        let mut inner = self.first.forward(parameters, input)?;
        let mut inner = self.second.forward(parameters, &inner.f_leaky_relu_()?)?;
        let mut sum = inner.f_add_(input)?;
        let output = sum.f_leaky_relu_()?;
        if self.dropout > 0.0 && mode == Mode::Training {
            return Ok(output.f_dropout(self.dropout, true)?);
        }
        Ok(output)
    }
}

#[derive(Debug)]
struct Decoder {
    up: UpConv,
    block: Block,
}

/// What is seen at the resolution of the input only: corrects the finest logits.
///
/// It starts as no correction: its last convolution is 0 at first. There is no normalisation: at
/// this resolution it would cost more than the convolutions.
#[derive(Debug)]
struct Detail {
    image: Conv,
    unfold: Conv,
    inner: Conv,
    last: Conv,
}

impl Detail {
    fn new(specs: &mut ParameterSpecs, config: &NetworkConfig, width: i64) -> Self {
        let start = (ConvInit::HeNormal, Bias::Starting(0.0));
        let mut conv = |name: &str, channels, kernel, start| {
            Conv::new(specs, &format!("detail.{name}"), channels, kernel, start)
        };
        let finest = config.widths.first().copied().unwrap_or(0);
        Self {
            image: conv("image", [config.in_channels, width], 3, start),
            unfold: conv("unfold", [finest, 8 * width], 1, start),
            inner: conv("inner", [width, width], 3, start),
            last: conv("last", [width, config.out_channels], 1, (ConvInit::Zero, start.1)),
        }
    }

    /// # Shapes
    /// - `image`: `[batch, in_channels, x, y, z]`
    /// - `features`: `[batch, channel, x / 2, y / 2, z / 2]`, of the finest level
    /// - returns: `[batch, out_channels, x, y, z]`
    fn forward(
        &self,
        parameters: &Parameters,
        image: &Tensor,
        features: &Tensor,
    ) -> Result<Tensor, NetworkError> {
        let image = with_channels_together(image)?;
        let mut sum = self.image.forward(parameters, &image)?;
        let mut sum = sum.f_add_(&depth_to_space(&self.unfold.forward(parameters, features)?)?)?;
        let mut inner = self.inner.forward(parameters, &sum.f_leaky_relu_()?)?;
        self.last.forward(parameters, &inner.f_leaky_relu_()?)
    }
}

/// The residual encoder and decoder with one sigmoid head per region and level.
#[derive(Debug)]
pub(crate) struct ResidualNet {
    stem_stride: i64,
    /// Per level: the convolution that leads in, and a block.
    encoders: Vec<(NormedConv, Block)>,
    /// Per level but the coarsest, finest first.
    decoders: Vec<Decoder>,
    /// Finest first; more than one only with deep supervision.
    heads: Vec<Conv>,
    detail: Option<Detail>,
}

impl ResidualNet {
    pub(crate) fn new(config: &NetworkConfig, specs: &mut ParameterSpecs) -> Self {
        let widths = &config.widths;
        let levels = widths.len();
        let mut encoders = Vec::with_capacity(levels);
        for (level, &width) in widths.iter().enumerate() {
            let (channels_in, kernel) = match (level, config.stem_stride) {
                (0, 2) => (8 * config.in_channels, 1),
                (0, _) => (config.in_channels, 3),
                _ => (widths[level - 1], 2),
            };
            let name = format!("encoder.{level}");
            let lead = NormedConv::new(specs, &format!("{name}.in"), [channels_in, width], kernel);
            let block =
                Block::new(specs, &format!("{name}.block"), width, config.dropout_at(level));
            encoders.push((lead, block));
        }
        let mut decoders = Vec::with_capacity(levels - 1);
        for (level, pair) in widths.windows(2).enumerate() {
            let name = format!("decoder.{level}");
            let up =
                UpConv::new(specs, &format!("{name}.up"), [pair[1], pair[0]], ConvInit::HeNormal);
            let block = Block::new(specs, &format!("{name}.block"), pair[0], 0.0);
            decoders.push(Decoder { up, block });
        }
        let coarse_heads =
            if config.deep_supervision { (levels - 2).min(DEEP_HEADS_MAX) } else { 0 };
        let mut heads = Vec::with_capacity(1 + coarse_heads);
        for (level, &width) in widths.iter().enumerate().take(1 + coarse_heads) {
            let blocks = if level == 0 && config.stem_stride == 2 { 8 } else { 1 };
            let channels = [width, blocks * config.out_channels];
            let start = (ConvInit::HeNormal, Bias::Starting(HEAD_BIAS));
            heads.push(Conv::new(specs, &format!("head.{level}"), channels, 1, start));
        }
        let detail =
            (config.detail_width > 0).then(|| Detail::new(specs, config, config.detail_width));
        Self { stem_stride: config.stem_stride, encoders, decoders, heads, detail }
    }

    /// Returns the logits at the grid of the input, and in training those of the coarser heads.
    pub(crate) fn forward(
        &self,
        parameters: &Parameters,
        input: &Tensor,
        mode: Mode,
    ) -> Result<Vec<Tensor>, NetworkError> {
        let mut x = if self.stem_stride == 2 {
            space_to_depth(input)?
        } else {
            with_channels_together(input)?
        };
        let mut skips = Vec::with_capacity(self.encoders.len());
        for (lead, block) in &self.encoders {
            let mut inner = lead.forward(parameters, &x)?;
            x = block.forward(parameters, &inner.f_leaky_relu_()?, mode)?;
            skips.push(x.shallow_clone());
        }
        skips.pop();
        let mut outputs = Vec::with_capacity(self.heads.len());
        for (level, decoder) in self.decoders.iter().enumerate().rev() {
            let mut up = decoder.up.forward(parameters, &x)?;
            if let Some(skip) = skips.pop() {
                up = up.f_add_(&skip)?;
            }
            x = decoder.block.forward(parameters, &up, mode)?;
            let wanted = level == 0 || mode == Mode::Training;
            if let (true, Some(head)) = (wanted, self.heads.get(level)) {
                outputs.push(head.forward(parameters, &x)?);
            }
        }
        outputs.reverse();
        if self.stem_stride == 2
            && let Some(finest) = outputs.first_mut()
        {
            *finest = depth_to_space(finest)?;
            if let Some(detail) = &self.detail {
                *finest = finest.f_add(&detail.forward(parameters, input, &x)?)?;
            }
        }
        Ok(outputs)
    }
}
