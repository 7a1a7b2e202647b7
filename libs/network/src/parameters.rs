//! Named weights, kept apart from the structure that uses them, so that the same network runs with
//! the trained weights and with their moving average.

use tch::{Device, Kind, TchError, Tensor};

use crate::{NetworkError, random::seeded};

/// Place of one weight in [`Parameters`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct ParameterId(usize);

/// How a weight starts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Init {
    /// Normal, standard deviation `sqrt(2 / fan_in)`.
    HeNormal { fan_in: i64 },
    /// Uniform in `±sqrt(6 / fan_in)`.
    HeUniform { fan_in: i64 },
    /// The same value everywhere.
    Constant(f64),
}

/// Name, shape and start of one weight.
#[derive(Clone, Debug)]
pub(crate) struct ParameterSpec {
    pub(crate) name: String,
    pub(crate) shape: Vec<i64>,
    init: Init,
}

impl ParameterSpec {
    /// Draws the weight from libtorch's generator.
    fn draw(&self) -> Result<Tensor, TchError> {
        let mut tensor = Tensor::f_zeros(&self.shape, (Kind::Float, Device::Cpu))?;
        match self.init {
            Init::HeNormal { fan_in } => tensor.f_normal_(0.0, (2.0 / fan_in as f64).sqrt()),
            Init::HeUniform { fan_in } => {
                let limit = (6.0 / fan_in as f64).sqrt();
                tensor.f_uniform_(-limit, limit)
            }
            Init::Constant(value) => tensor.f_fill_(value),
        }
    }
}

/// Collects the weights of a network while it is laid out.
#[derive(Debug, Default)]
pub(crate) struct ParameterSpecs {
    specs: Vec<ParameterSpec>,
}

impl ParameterSpecs {
    /// Adds a weight.
    pub(crate) fn add(&mut self, name: String, shape: &[i64], init: Init) -> ParameterId {
        self.specs.push(ParameterSpec { name, shape: shape.to_vec(), init });
        ParameterId(self.specs.len() - 1)
    }

    /// Returns every weight in the order of its addition.
    pub(crate) fn into_specs(self) -> Vec<ParameterSpec> {
        self.specs
    }
}

/// The values of all weights of one network, in the order of its specs.
#[derive(Debug)]
pub(crate) struct Parameters {
    tensors: Vec<Tensor>,
}

impl Parameters {
    /// Draws fresh weights. The same seed gives the same weights.
    pub(crate) fn draw(
        specs: &[ParameterSpec],
        seed: i64,
        device: Device,
    ) -> Result<Self, NetworkError> {
        let tensors = seeded(seed, || {
            specs.iter().map(|spec| spec.draw()?.f_to(device)).collect::<Result<_, _>>()
        })?;
        Ok(Self { tensors })
    }

    /// Takes over given values, in the order of the specs.
    pub(crate) fn from_tensors(tensors: Vec<Tensor>) -> Self {
        Self { tensors }
    }

    /// Returns the weights computed in `kind`; gradients lead back through them.
    pub(crate) fn in_kind(&self, kind: Kind) -> Result<Self, NetworkError> {
        let cast = self.tensors.iter().map(|tensor| tensor.f_to_kind(kind));
        Ok(Self { tensors: cast.collect::<Result<_, _>>()? })
    }

    /// Returns a copy that shares no memory and takes no part in differentiation.
    pub(crate) fn duplicate(&self) -> Result<Self, NetworkError> {
        let mut tensors = Vec::with_capacity(self.tensors.len());
        for tensor in &self.tensors {
            tensors.push(tensor.f_detach_copy()?);
        }
        Ok(Self { tensors })
    }

    /// Returns zeros of the same shapes.
    pub(crate) fn zeros_like(&self) -> Result<Self, NetworkError> {
        let mut tensors = Vec::with_capacity(self.tensors.len());
        for tensor in &self.tensors {
            tensors.push(tensor.f_detach()?.f_zeros_like()?);
        }
        Ok(Self { tensors })
    }

    /// Marks every weight as one to differentiate by.
    pub(crate) fn require_grad(&mut self) -> Result<(), NetworkError> {
        for tensor in &mut self.tensors {
            *tensor = tensor.f_set_requires_grad(true)?;
        }
        Ok(())
    }

    pub(crate) fn get(&self, id: ParameterId) -> &Tensor {
        &self.tensors[id.0]
    }

    pub(crate) fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    pub(crate) fn tensors_mut(&mut self) -> &mut [Tensor] {
        &mut self.tensors
    }
}
