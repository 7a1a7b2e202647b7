//! One step: samples to tensors, tensors to gradients.

use ndarray::{Array4, Axis};
use neurotriage_dataset::Sample;
use neurotriage_domain::Modality;
use tch::{Device, Kind, Tensor};

use crate::{
    NetworkError, TrainConfig,
    loader::Loader,
    loss::loss,
    model::signed,
    network::{Mode, Network},
    parameters::Parameters,
    predict::to_tensor,
    random::seeded,
};

/// Samples that go through the network together.
pub(crate) struct Batch {
    /// `[batch, channel, x, y, z]`.
    pub(crate) images: Tensor,
    /// `[batch, x, y, z]`, `u8`.
    pub(crate) labels: Tensor,
}

impl Batch {
    /// Draws the next samples; also returns the sides of the last.
    pub(crate) fn draw(
        loader: &mut Loader,
        config: &TrainConfig,
        device: Device,
    ) -> Result<(Self, [usize; 3]), NetworkError> {
        let mut images = Vec::with_capacity(config.batch);
        let mut labels = Vec::with_capacity(config.batch);
        let mut window = [0; 3];
        for _ in 0..config.batch {
            let sample = loader.next()?;
            let (x, y, z) = sample.labels.dim();
            window = [x, y, z];
            let (image, mask) = sample_to_tensors(&sample, &config.channels)?;
            images.push(image);
            labels.push(mask);
        }
        let images = Tensor::f_cat(&images, 0)?.f_to(device)?;
        Ok((Self { images, labels: Tensor::f_cat(&labels, 0)?.f_to(device)? }, window))
    }
}

/// What the network said of the samples of a step, and the way to lower its loss.
pub(crate) struct Found {
    /// The loss; may be infinite or no number.
    pub(crate) loss: f64,
    /// One for each weight, times the scale of the loss; none if the loss is not finite.
    pub(crate) gradients: Option<Vec<Tensor>>,
    /// Finest logits, `[sample, out_channel, x, y, z]`, without gradient.
    pub(crate) logits: Tensor,
    /// `[sample, x, y, z]`.
    pub(crate) labels: Tensor,
}

/// What does not change from one batch of a step to the next.
#[derive(Clone, Copy)]
pub(crate) struct Pass<'a> {
    pub(crate) config: &'a TrainConfig,
    pub(crate) network: &'a Network,
    pub(crate) weights: &'a Parameters,
    /// Steps done before.
    pub(crate) step: u64,
    /// What the loss is multiplied by.
    pub(crate) scale: f64,
}

impl Pass<'_> {
    /// Returns the gradient of the loss over all samples of `batches`.
    ///
    /// Several batches give what one batch of all their samples gives: the loss is taken of the
    /// outputs for all samples at once, and its gradient by the outputs is then led back through
    /// the network batch by batch. That computes the outputs twice, and holds the activations of
    /// one batch at a time.
    pub(crate) fn gradients(&self, batches: &[Batch]) -> Result<Found, NetworkError> {
        match batches {
            [batch] => self.of_one(batch),
            _ => self.of_several(batches),
        }
    }

    fn of_one(&self, batch: &Batch) -> Result<Found, NetworkError> {
        let outputs = self.forward(&batch.images, 0)?;
        let total = loss(self.config.loss, &outputs, &batch.labels)?;
        let value = total.f_double_value(&[])?;
        let gradients = if value.is_finite() {
            let scaled = total.f_mul_scalar(self.scale)?;
            Some(Tensor::f_run_backward(&[&scaled], self.weights.tensors(), false, false)?)
        } else {
            None
        };
        let labels = batch.labels.shallow_clone();
        Ok(Found { loss: value, gradients, logits: finest(&outputs)?, labels })
    }

    fn of_several(&self, batches: &[Batch]) -> Result<Found, NetworkError> {
        let labels: Vec<&Tensor> = batches.iter().map(|batch| &batch.labels).collect();
        let labels = Tensor::f_cat(&labels, 0)?;
        let outputs = self.outputs_together(batches)?;
        let total = loss(self.config.loss, &outputs, &labels)?;
        let value = total.f_double_value(&[])?;
        let logits = finest(&outputs)?;
        if !value.is_finite() {
            return Ok(Found { loss: value, gradients: None, logits, labels });
        }
        let scaled = total.f_mul_scalar(self.scale)?;
        let by_output = Tensor::f_run_backward(&[&scaled], &outputs, false, false)?;
        drop((outputs, total, scaled));
        let mut sum: Vec<Tensor> = Vec::new();
        for (index, batch) in batches.iter().enumerate() {
            let led_back = self.led_back(batch, index, &by_output)?;
            if sum.is_empty() {
                sum = led_back;
                continue;
            }
            let _guard = tch::no_grad_guard();
            for (total, gradient) in sum.iter_mut().zip(&led_back) {
                let _ = total.f_add_(gradient)?;
            }
        }
        Ok(Found { loss: value, gradients: Some(sum), logits, labels })
    }

    /// Returns every level's outputs for all samples, cut off from the weights.
    fn outputs_together(&self, batches: &[Batch]) -> Result<Vec<Tensor>, NetworkError> {
        let mut levels: Vec<Vec<Tensor>> = Vec::new();
        let guard = tch::no_grad_guard();
        for (index, batch) in batches.iter().enumerate() {
            let outputs = self.forward(&batch.images, index)?;
            levels.resize_with(outputs.len(), Vec::new);
            for (level, output) in levels.iter_mut().zip(outputs) {
                level.push(output);
            }
        }
        drop(guard);
        let mut joined = Vec::with_capacity(levels.len());
        for level in levels {
            joined.push(Tensor::f_cat(&level, 0)?.f_detach()?.f_set_requires_grad(true)?);
        }
        Ok(joined)
    }

    /// Returns the gradient of one batch's part in the loss, given the loss's gradient by every
    /// level's outputs for all samples.
    fn led_back(
        &self,
        batch: &Batch,
        index: usize,
        by_output: &[Tensor],
    ) -> Result<Vec<Tensor>, NetworkError> {
        let outputs = self.forward(&batch.images, index)?;
        let samples = self.config.batch as i64;
        let mut product: Option<Tensor> = None;
        for (output, gradient) in outputs.iter().zip(by_output) {
            let part = gradient.f_narrow(0, index as i64 * samples, samples)?;
            let term = output.f_mul(&part)?.f_sum(Kind::Float)?;
            product = Some(match product {
                Some(sum) => sum.f_add(&term)?,
                None => term,
            });
        }
        let product = product.ok_or_else(no_output)?;
        Ok(Tensor::f_run_backward(&[&product], self.weights.tensors(), false, false)?)
    }

    /// Returns the network's outputs in 32 bits, computed in the precision of the run.
    fn forward(&self, images: &Tensor, index: usize) -> Result<Vec<Tensor>, NetworkError> {
        // Dropout depends on step and batch alone: a resumed run repeats an unbroken one, and the
        // second pass over a batch its first.
        let seed = self.config.seed ^ self.step.rotate_left(32) ^ (index as u64).rotate_left(16);
        let kind = self.config.precision.kind();
        let forward = || self.network.forward_in(kind, self.weights, images, Mode::Training);
        if self.config.network.drops_out() { seeded(signed(seed), forward) } else { forward() }
    }
}

fn finest(outputs: &[Tensor]) -> Result<Tensor, NetworkError> {
    Ok(outputs.first().ok_or_else(no_output)?.f_detach()?)
}

fn no_output() -> NetworkError {
    NetworkError::Shape {
        name: "network outputs",
        expected: "at least one".to_owned(),
        got: Vec::new(),
    }
}

/// Returns image `[1, channel, x, y, z]` and labels `[1, x, y, z]` (`u8`) of a sample.
fn sample_to_tensors(
    sample: &Sample,
    channels: &[Modality],
) -> Result<(Tensor, Tensor), NetworkError> {
    let (x, y, z) = sample.labels.dim();
    let (channels_found, ix, iy, iz) = sample.image.dim();
    if channels_found != Modality::ALL.len() || [ix, iy, iz] != [x, y, z] {
        return Err(NetworkError::Shape {
            name: "training sample",
            expected: format!("[{}, {x}, {y}, {z}]", Modality::ALL.len()),
            got: sample.image.shape().iter().map(|&side| side as i64).collect(),
        });
    }
    let image = select_channels(&sample.image, channels)?;
    let labels: Vec<u8> = sample.labels.iter().copied().collect();
    let shape = [1, x as i64, y as i64, z as i64];
    let labels = Tensor::f_from_slice(&labels)?.f_reshape(shape)?;
    debug_assert_eq!(labels.f_kind()?, Kind::Uint8);
    Ok((image, labels))
}

fn select_channels(image: &Array4<f32>, channels: &[Modality]) -> Result<Tensor, NetworkError> {
    if channels == Modality::ALL {
        return to_tensor(image.view());
    }
    let indices: Vec<usize> = channels.iter().map(|modality| modality.channel()).collect();
    to_tensor(image.select(Axis(0), &indices).view())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LossKind, NetworkConfig, TrainPrecision};

    fn batch(samples: i64, first: i64) -> Batch {
        let whole = Tensor::f_arange(4 * 4 * 8 * 8 * 8, (Kind::Float, Device::Cpu)).unwrap();
        let images = whole.f_reshape([4, 4, 8, 8, 8]).unwrap().f_mul_scalar(0.37).unwrap();
        let images = images.f_sin().unwrap().f_narrow(0, first, samples).unwrap();
        let labels = images.f_select(1, 0).unwrap().f_gt(0.4).unwrap();
        Batch { images, labels: labels.f_to_kind(Kind::Uint8).unwrap() }
    }

    fn largest_gap(one: &[Tensor], other: &[Tensor]) -> f64 {
        let gap = |(a, b): (&Tensor, &Tensor)| {
            a.f_sub(b).unwrap().f_abs().unwrap().f_max().unwrap().f_double_value(&[]).unwrap()
        };
        one.iter().zip(other).map(gap).fold(0.0, f64::max)
    }

    fn found(config: &TrainConfig, batches: &[Batch], scale: f64) -> Found {
        let network = Network::new(&config.network).unwrap();
        let mut weights = Parameters::draw(network.specs(), 5, Device::Cpu).unwrap();
        weights.require_grad().unwrap();
        let pass = Pass { config, network: &network, weights: &weights, step: 3, scale };
        pass.gradients(batches).unwrap()
    }

    #[test]
    fn accumulated_batches_equal_one_large_batch() {
        let seed = NetworkConfig { widths: vec![3, 4], dropout: vec![], ..NetworkConfig::seed(4) };
        for (network, loss) in
            [(NetworkConfig::residual(&[4, 6, 8]), LossKind::Region), (seed, LossKind::Seed)]
        {
            let large = TrainConfig { network, loss, batch: 4, ..TrainConfig::default() };
            let small = TrainConfig { batch: 1, accumulate: 4, ..large.clone() };
            let whole = found(&large, &[batch(4, 0)], 1.0);
            let parts = found(&small, &[0, 1, 2, 3].map(|first| batch(1, first)), 1.0);
            assert!((whole.loss - parts.loss).abs() < 1e-6, "{} {}", whole.loss, parts.loss);
            assert_eq!(whole.logits.size(), parts.logits.size());
            let gap = largest_gap(&whole.gradients.unwrap(), &parts.gradients.unwrap());
            assert!(gap < 1e-5, "{loss:?}: {gap}");
        }
    }

    #[test]
    fn a_scaled_loss_scales_every_gradient() {
        let config = TrainConfig {
            network: NetworkConfig::residual(&[4, 6]),
            batch: 2,
            ..TrainConfig::default()
        };
        let plain = found(&config, &[batch(2, 0)], 1.0).gradients.unwrap();
        let scaled = found(&config, &[batch(2, 0)], 1024.0).gradients.unwrap();
        let back: Vec<Tensor> =
            scaled.iter().map(|gradient| gradient.f_mul_scalar(1.0 / 1024.0).unwrap()).collect();
        assert!(largest_gap(&plain, &back) < 1e-6);
    }

    #[test]
    fn a_step_in_sixteen_bits_leaves_gradients_in_thirty_two() {
        let config = TrainConfig {
            network: NetworkConfig::residual(&[4, 6]),
            batch: 2,
            ..TrainConfig::default()
        };
        let short = TrainConfig { precision: TrainPrecision::Bf16, ..config.clone() };
        let (exact, rough) =
            (found(&config, &[batch(2, 0)], 1.0), found(&short, &[batch(2, 0)], 1.0));
        assert!((exact.loss - rough.loss).abs() < 0.05 * exact.loss);
        let rough = rough.gradients.unwrap();
        assert!(rough.iter().all(|gradient| gradient.f_kind().unwrap() == Kind::Float));
        let gap = largest_gap(&exact.gradients.unwrap(), &rough);
        assert!(gap > 0.0 && gap < 0.2, "{gap}");
    }
}
