//! The original network: a plain 3D U-Net.

use tch::Tensor;

use crate::{
    NetworkConfig, NetworkError,
    layers::{Bias, Conv, ConvInit, UpConv, max_pool, with_channels_together},
    network::Mode,
    parameters::{ParameterSpecs, Parameters},
};

/// Two convolutions, each with ReLU, and dropout between.
#[derive(Debug)]
struct DoubleConv {
    first: Conv,
    second: Conv,
    dropout: f64,
}

impl DoubleConv {
    fn new(specs: &mut ParameterSpecs, name: &str, channels: [i64; 2], dropout: f64) -> Self {
        let start = (ConvInit::HeUniform, Bias::Starting(0.0));
        let inner = [channels[1], channels[1]];
        Self {
            first: Conv::new(specs, &format!("{name}.0"), channels, 3, start),
            second: Conv::new(specs, &format!("{name}.1"), inner, 3, start),
            dropout,
        }
    }

    fn forward(
        &self,
        parameters: &Parameters,
        input: &Tensor,
        mode: Mode,
    ) -> Result<Tensor, NetworkError> {
        let mut inner = self.first.forward(parameters, input)?.f_relu_()?;
        if self.dropout > 0.0 && mode == Mode::Training {
            inner = inner.f_dropout(self.dropout, true)?;
        }
        Ok(self.second.forward(parameters, &inner)?.f_relu_()?)
    }
}

/// The original network: a plain 3D U-Net whose output is logits over four classes.
#[derive(Debug)]
pub(crate) struct SeedNet {
    encoders: Vec<DoubleConv>,
    /// Finest first.
    decoders: Vec<(UpConv, DoubleConv)>,
    head: Conv,
}

impl SeedNet {
    pub(crate) fn new(config: &NetworkConfig, specs: &mut ParameterSpecs) -> Self {
        let levels = config.widths.len();
        let mut encoders = Vec::with_capacity(levels);
        let mut channels_in = config.in_channels;
        for (level, &width) in config.widths.iter().enumerate() {
            let dropout = config.dropout_at(level);
            let name = format!("encoder.{level}");
            encoders.push(DoubleConv::new(specs, &name, [channels_in, width], dropout));
            channels_in = width;
        }
        let mut decoders = Vec::with_capacity(levels - 1);
        for (level, pair) in config.widths.windows(2).enumerate() {
            let name = format!("decoder.{level}");
            let dropout = config.dropout_at(2 * levels - 2 - level);
            let up =
                UpConv::new(specs, &format!("{name}.up"), [pair[1], pair[0]], ConvInit::HeUniform);
            decoders.push((up, DoubleConv::new(specs, &name, [2 * pair[0], pair[0]], dropout)));
        }
        let channels = [config.widths[0], config.out_channels];
        let start = (ConvInit::HeUniform, Bias::Starting(0.0));
        Self { encoders, decoders, head: Conv::new(specs, "head", channels, 1, start) }
    }

    /// Returns the logits, before softmax.
    pub(crate) fn forward(
        &self,
        parameters: &Parameters,
        input: &Tensor,
        mode: Mode,
    ) -> Result<Tensor, NetworkError> {
        let mut x = with_channels_together(input)?;
        let mut skips = Vec::with_capacity(self.encoders.len());
        for (level, encoder) in self.encoders.iter().enumerate() {
            if level > 0 {
                x = max_pool(&x)?;
            }
            x = encoder.forward(parameters, &x, mode)?;
            skips.push(x.shallow_clone());
        }
        skips.pop();
        for (up, convs) in self.decoders.iter().rev() {
            let mut joined = vec![up.forward(parameters, &x)?];
            joined.extend(skips.pop());
            x = convs.forward(parameters, &Tensor::f_cat(&joined, 1)?, mode)?;
        }
        self.head.forward(parameters, &x)
    }
}
