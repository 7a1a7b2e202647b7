//! Single training steps and forward passes with their times, for benchmarks.
//!
//! [`crate::train()`] and [`crate::segment()`] are what programs use; here the same layers, loss
//! and optimiser run once at a time, without reading, cropping or writing, so that a benchmark can
//! set them against another implementation of the same network.

use std::time::{Duration, Instant};

use ndarray::{ArrayView4, ArrayView5};
use tch::{Device, Kind, Tensor};

use crate::{
    NetworkError, TrainConfig,
    loss::loss,
    model::signed,
    network::{Mode, Network},
    optimiser::Optimiser,
    parameters::Parameters,
    predict::to_tensor,
};

/// What one step or pass gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measured {
    /// Of a training step the loss before it; of a forward pass the mean of the squared logits.
    /// Equal values are a sign that two networks are the same.
    pub value: f64,
    /// How long it took, without the copy of the input.
    pub time: Duration,
}

/// A learnt tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedWeight {
    /// Name, as in the file of weights.
    pub name: String,
    /// Sides.
    pub shape: Vec<i64>,
    /// Values, last axis fastest.
    pub values: Vec<f32>,
}

/// A network in training, step by step.
#[derive(Debug)]
pub struct Workbench {
    config: TrainConfig,
    network: Network,
    weights: Parameters,
    optimiser: Optimiser,
    device: Device,
}

impl Workbench {
    /// Lays out the network of a configuration with weights drawn from its seed.
    ///
    /// # Errors
    /// [`NetworkError::Config`] if a setting can't work, [`NetworkError::Device`] if the device is
    /// not there.
    pub fn new(config: &TrainConfig) -> Result<Self, NetworkError> {
        config.validate()?;
        let device = config.device.resolve()?;
        crate::set_compute_threads(config.threads);
        let precision = config.precision.resolve(device)?;
        let network = Network::new(&config.network)?;
        let mut weights = Parameters::draw(network.specs(), signed(config.seed), device)?;
        weights.require_grad()?;
        let optimiser = Optimiser::new(&config.optimiser, &weights)?;
        let config = TrainConfig { precision, ..config.clone() };
        Ok(Self { config, network, weights, optimiser, device })
    }

    /// Returns the weights as they are now.
    ///
    /// # Errors
    /// [`NetworkError::Torch`] if libtorch fails.
    pub fn weights(&self) -> Result<Vec<NamedWeight>, NetworkError> {
        let mut weights = Vec::new();
        for (spec, tensor) in self.network.specs().iter().zip(self.weights.tensors()) {
            let flat = tensor.f_detach()?.f_to(Device::Cpu)?.f_contiguous()?;
            let mut values = vec![0.0_f32; flat.numel()];
            flat.f_copy_data(&mut values, flat.numel())?;
            weights.push(NamedWeight {
                name: spec.name.clone(),
                shape: spec.shape.clone(),
                values,
            });
        }
        Ok(weights)
    }

    /// Runs forwards, backwards and one step of the optimiser.
    ///
    /// # Shapes
    /// - `images`: `[batch, in_channels, x, y, z]`
    /// - `labels`: `[batch, x, y, z]`, 0, 1, 2, 3 or 4
    ///
    /// # Errors
    /// [`NetworkError::Shape`] if the network can't take these sides, [`NetworkError::Torch`] if
    /// libtorch fails.
    pub fn train_step(
        &mut self,
        images: ArrayView5<'_, f32>,
        labels: ArrayView4<'_, u8>,
    ) -> Result<Measured, NetworkError> {
        let images = self.batch(images)?;
        let shape: Vec<i64> = labels.shape().iter().map(|&side| side as i64).collect();
        let values: Vec<u8> = labels.iter().copied().collect();
        let labels = Tensor::f_from_slice(&values)?.f_reshape(shape)?.f_to(self.device)?;
        let began = Instant::now();
        let kind = self.config.precision.kind();
        let outputs = self.network.forward_in(kind, &self.weights, &images, Mode::Training)?;
        let total = loss(self.config.loss, &outputs, &labels)?;
        drop(outputs);
        let gradients = Tensor::f_run_backward(&[&total], self.weights.tensors(), false, false)?;
        let rate = self.config.optimiser.learning_rate;
        self.optimiser.step(&mut self.weights, &gradients, rate)?;
        // Reading the loss waits for a device that computes on its own.
        let value = total.f_double_value(&[])?;
        Ok(Measured { value, time: began.elapsed() })
    }

    /// Runs forwards, without dropout and without keeping what a backward pass would need.
    ///
    /// # Shapes
    /// - `images`: `[batch, in_channels, x, y, z]`
    ///
    /// # Errors
    /// As [`Workbench::train_step`].
    pub fn forward(&self, images: ArrayView5<'_, f32>) -> Result<Measured, NetworkError> {
        let images = self.batch(images)?;
        let _guard = tch::no_grad_guard();
        let began = Instant::now();
        let outputs = self.network.forward(&self.weights, &images, Mode::Inference)?;
        let time = began.elapsed();
        let finest = outputs.first().ok_or_else(|| NetworkError::Shape {
            name: "network outputs",
            expected: "at least one".to_owned(),
            got: Vec::new(),
        })?;
        let value = finest.f_square()?.f_mean(Kind::Double)?.f_double_value(&[])?;
        Ok(Measured { value, time })
    }

    fn batch(&self, images: ArrayView5<'_, f32>) -> Result<Tensor, NetworkError> {
        let mut samples = Vec::with_capacity(images.shape()[0]);
        for image in images.outer_iter() {
            samples.push(to_tensor(image)?);
        }
        Ok(Tensor::f_cat(&samples, 0)?.f_to(self.device)?)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array4, Array5};

    use super::*;
    use crate::{DeviceChoice, NetworkConfig};

    fn small() -> TrainConfig {
        let widths = vec![4, 6];
        let network = NetworkConfig { widths, dropout: Vec::new(), ..NetworkConfig::seed(3) };
        let mut config = TrainConfig { network, threads: 1, ..TrainConfig::seed_original() };
        config.device = DeviceChoice::Cpu;
        config.optimiser.learning_rate = 1e-2;
        config
    }

    #[test]
    fn steps_lower_the_loss_and_move_the_weights() {
        let mut bench = Workbench::new(&small()).unwrap();
        let labels = Array4::from_shape_fn((2, 4, 4, 4), |(_, x, ..)| u8::from(x > 1) * 4);
        let images = Array5::from_shape_fn((2, 3, 4, 4, 4), |(b, _, x, y, z)| {
            f32::from(labels[[b, x, y, z]])
        });
        let (before, pass) = (bench.weights().unwrap(), bench.forward(images.view()).unwrap());
        let losses: Vec<f64> = (0..20)
            .map(|_| bench.train_step(images.view(), labels.view()).unwrap().value)
            .collect();
        assert!(losses[19] < losses[0] && losses[19] > 0.75, "{losses:?}");
        let after = bench.weights().unwrap();
        assert_eq!(before.len(), after.len());
        for (before, after) in before.iter().zip(&after) {
            assert_eq!((&before.name, &before.shape), (&after.name, &after.shape));
            let count = before.shape.iter().product::<i64>();
            assert_eq!(i64::try_from(before.values.len()), Ok(count), "{}", before.name);
        }
        assert_ne!(before, after);
        assert_ne!(bench.forward(images.view()).unwrap().value, pass.value);
    }

    #[test]
    fn sides_that_the_network_cannot_halve_are_refused() {
        let bench = Workbench::new(&small()).unwrap();
        let images = Array5::zeros((1, 3, 4, 5, 4));
        assert!(matches!(bench.forward(images.view()), Err(NetworkError::Shape { .. })));
    }
}
