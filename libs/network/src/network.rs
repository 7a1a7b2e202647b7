//! A network of either family, without its weights.

use tch::{Kind, Tensor};

use crate::{
    Architecture, NetworkConfig, NetworkError,
    layers::sides,
    parameters::{ParameterSpec, ParameterSpecs, Parameters},
    residual::ResidualNet,
    seed::SeedNet,
};

/// What a forward pass is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Dropout on, every head computed.
    Training,
    /// Dropout off, finest head alone.
    Inference,
}

#[derive(Debug)]
enum Body {
    Seed(SeedNet),
    Residual(ResidualNet),
}

/// A network of either family, without its weights.
#[derive(Debug)]
pub(crate) struct Network {
    config: NetworkConfig,
    specs: Vec<ParameterSpec>,
    body: Body,
}

impl Network {
    /// Lays out the network.
    ///
    /// # Errors
    /// [`NetworkError::Config`] if the configuration can't work.
    pub(crate) fn new(config: &NetworkConfig) -> Result<Self, NetworkError> {
        config.validate()?;
        let mut specs = ParameterSpecs::default();
        let body = match config.architecture {
            Architecture::Seed => Body::Seed(SeedNet::new(config, &mut specs)),
            Architecture::Residual => Body::Residual(ResidualNet::new(config, &mut specs)),
        };
        Ok(Self { config: config.clone(), specs: specs.into_specs(), body })
    }

    pub(crate) fn config(&self) -> &NetworkConfig {
        &self.config
    }

    pub(crate) fn specs(&self) -> &[ParameterSpec] {
        &self.specs
    }

    /// Returns the number of learnt values.
    pub(crate) fn parameter_count(&self) -> i64 {
        self.specs.iter().map(|spec| spec.shape.iter().product::<i64>()).sum()
    }

    /// As [`Self::forward`], computed in `kind`, from weights and to logits of 32 bits.
    pub(crate) fn forward_in(
        &self,
        kind: Kind,
        parameters: &Parameters,
        input: &Tensor,
        mode: Mode,
    ) -> Result<Vec<Tensor>, NetworkError> {
        if kind == Kind::Float {
            return self.forward(parameters, input, mode);
        }
        let mut outputs =
            self.forward(&parameters.in_kind(kind)?, &input.f_to_kind(kind)?, mode)?;
        for output in &mut outputs {
            *output = output.f_to_kind(Kind::Float)?;
        }
        Ok(outputs)
    }

    /// Returns logits, finest first; coarser ones only in training with deep supervision.
    ///
    /// # Shapes
    /// - `input`: `[batch, in_channels, x, y, z]`, sides multiples of [`NetworkConfig::stride`]
    /// - returns: `[batch, out_channels, x, y, z]`; each further one at half the resolution of the
    ///   one before, starting from `stem_stride`
    pub(crate) fn forward(
        &self,
        parameters: &Parameters,
        input: &Tensor,
        mode: Mode,
    ) -> Result<Vec<Tensor>, NetworkError> {
        let [_, channels, x, y, z] = sides("network input", input)?;
        let stride = self.config.stride() as i64;
        if channels != self.config.in_channels || [x, y, z].iter().any(|side| side % stride != 0) {
            return Err(NetworkError::Shape {
                name: "network input",
                expected: format!(
                    "{} channels and sides that are multiples of {stride}",
                    self.config.in_channels
                ),
                got: input.size(),
            });
        }
        match &self.body {
            Body::Seed(net) => Ok(vec![net.forward(parameters, input, mode)?]),
            Body::Residual(net) => net.forward(parameters, input, mode),
        }
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;
    use crate::random::normal;

    #[test]
    fn the_seed_network_has_the_parameters_of_the_original() {
        for (channels, expected) in [(3, 5_645_828), (4, 5_646_260)] {
            let network = Network::new(&NetworkConfig::seed(channels)).unwrap();
            assert_eq!(network.parameter_count(), expected, "{channels} channels");
        }
    }

    #[test]
    fn outputs_have_the_grid_of_the_input() {
        let residual = NetworkConfig::residual(&[4, 8, 12]);
        let fine = NetworkConfig { stem_stride: 1, ..residual.clone() };
        let detailed = NetworkConfig { detail_width: 4, ..residual.clone() };
        let seed =
            NetworkConfig { widths: vec![2, 4, 6], dropout: vec![], ..NetworkConfig::seed(4) };
        for (config, heads) in [(residual, 2), (detailed, 2), (fine, 2), (seed, 1)] {
            let network = Network::new(&config).unwrap();
            let parameters = Parameters::draw(network.specs(), 3, Device::Cpu).unwrap();
            let input = normal(1, &[1, 4, 8, 16, 24]);
            let outputs = network.forward(&parameters, &input, Mode::Training).unwrap();
            assert_eq!(outputs.len(), heads);
            assert_eq!(outputs[0].size(), [1, config.out_channels, 8, 16, 24]);
            let outputs = network.forward(&parameters, &input, Mode::Inference).unwrap();
            assert_eq!(outputs.len(), 1);
            let odd = input.f_narrow(2, 0, 7).unwrap();
            assert!(network.forward(&parameters, &odd, Mode::Inference).is_err());
        }
    }

    #[test]
    fn detail_corrects_nothing_before_it_has_learnt() {
        let plain = NetworkConfig::residual(&[4, 8]);
        let detailed = NetworkConfig { detail_width: 4, ..plain.clone() };
        let input = normal(1, &[1, 4, 4, 8, 8]);
        let answer = |config: &NetworkConfig| {
            let network = Network::new(config).unwrap();
            let parameters = Parameters::draw(network.specs(), 3, Device::Cpu).unwrap();
            network.forward(&parameters, &input, Mode::Inference).unwrap().swap_remove(0)
        };
        assert_eq!(answer(&plain), answer(&detailed));
    }
}
