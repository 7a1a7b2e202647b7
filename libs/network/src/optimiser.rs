//! Gradient steps, by hand, so that their whole state can be stored.

use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::{NetworkError, parameters::Parameters};

/// Which rule turns gradients into steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimiserKind {
    /// Adam with weight decay apart from the gradient.
    AdamW,
    /// Adam; weight decay is added to the gradient.
    Adam,
    /// Gradient descent with Nesterov momentum.
    Sgd,
}

/// How gradients become steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimiserConfig {
    /// Rule.
    pub kind: OptimiserKind,
    /// Step size at the end of the warm-up.
    pub learning_rate: f64,
    /// Shrinks weights with more than one axis.
    pub weight_decay: f64,
    /// Decay of the mean of gradients; for `sgd` the momentum.
    pub beta1: f64,
    /// Decay of the mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub epsilon: f64,
}

impl Default for OptimiserConfig {
    fn default() -> Self {
        Self {
            kind: OptimiserKind::AdamW,
            learning_rate: 1e-3,
            weight_decay: 1e-2,
            beta1: 0.9,
            beta2: 0.99,
            epsilon: 1e-8,
        }
    }
}

/// A rule and its moments.
#[derive(Debug)]
pub(crate) struct Optimiser {
    config: OptimiserConfig,
    /// Mean of gradients, or momentum.
    pub(crate) first: Parameters,
    /// Mean of squared gradients; all 0 for SGD.
    pub(crate) second: Parameters,
    /// Steps taken.
    pub(crate) steps: u64,
}

impl Optimiser {
    pub(crate) fn new(
        config: &OptimiserConfig,
        weights: &Parameters,
    ) -> Result<Self, NetworkError> {
        Ok(Self {
            config: config.clone(),
            first: weights.zeros_like()?,
            second: weights.zeros_like()?,
            steps: 0,
        })
    }

    /// Moves every weight one step.
    pub(crate) fn step(
        &mut self,
        weights: &mut Parameters,
        gradients: &[Tensor],
        learning_rate: f64,
    ) -> Result<(), NetworkError> {
        let _guard = tch::no_grad_guard();
        self.steps += 1;
        let moments = self.first.tensors_mut().iter_mut().zip(self.second.tensors_mut());
        for ((weight, gradient), (first, second)) in
            weights.tensors_mut().iter_mut().zip(gradients).zip(moments)
        {
            match self.config.kind {
                OptimiserKind::AdamW | OptimiserKind::Adam => {
                    adam_step(
                        &self.config,
                        self.steps,
                        learning_rate,
                        weight,
                        gradient,
                        first,
                        second,
                    )?;
                }
                OptimiserKind::Sgd => {
                    sgd_step(&self.config, learning_rate, weight, gradient, first)?
                }
            }
        }
        Ok(())
    }
}

fn decays(weight: &Tensor) -> bool {
    weight.size().len() > 1
}

fn adam_step(
    config: &OptimiserConfig,
    steps: u64,
    learning_rate: f64,
    weight: &mut Tensor,
    gradient: &Tensor,
    first: &mut Tensor,
    second: &mut Tensor,
) -> Result<(), NetworkError> {
    let decay = if decays(weight) { config.weight_decay } else { 0.0 };
    let coupled;
    let gradient = if config.kind == OptimiserKind::Adam && decay > 0.0 {
        coupled = gradient.f_add(&weight.f_mul_scalar(decay)?)?;
        &coupled
    } else {
        gradient
    };
    if config.kind == OptimiserKind::AdamW && decay > 0.0 {
        let _ = weight.f_mul_scalar_(1.0 - learning_rate * decay)?;
    }
    let exponent = i32::try_from(steps).unwrap_or(i32::MAX);
    let first_bias = 1.0 - config.beta1.powi(exponent);
    let second_bias = 1.0 - config.beta2.powi(exponent);
    let _ = first.f_lerp_(gradient, 1.0 - config.beta1)?;
    let _ = second.f_lerp_(&gradient.f_square()?, 1.0 - config.beta2)?;
    let root = second.f_div_scalar(second_bias)?.f_sqrt()?.f_add_scalar(config.epsilon)?;
    let step = first.f_div(&root)?.f_mul_scalar(learning_rate / first_bias)?;
    let _ = weight.f_sub_(&step)?;
    Ok(())
}

fn sgd_step(
    config: &OptimiserConfig,
    learning_rate: f64,
    weight: &mut Tensor,
    gradient: &Tensor,
    momentum: &mut Tensor,
) -> Result<(), NetworkError> {
    let decay = if decays(weight) { config.weight_decay } else { 0.0 };
    let gradient = gradient.f_add(&weight.f_mul_scalar(decay)?)?;
    let mut moved = momentum.f_mul_scalar_(config.beta1)?;
    let moved = moved.f_add_(&gradient)?;
    let step = gradient.f_add(&moved.f_mul_scalar(config.beta1)?)?.f_mul_scalar(learning_rate)?;
    let _ = weight.f_sub_(&step)?;
    Ok(())
}

/// Scales gradients so that their common length is at most `norm_max`, and returns the length that
/// they had. A length that is not finite leaves them as they are.
pub(crate) fn clip_gradients(gradients: &mut [Tensor], norm_max: f64) -> Result<f64, NetworkError> {
    let _guard = tch::no_grad_guard();
    let mut squares = Vec::with_capacity(gradients.len());
    for gradient in gradients.iter() {
        squares.push(gradient.f_square()?.f_sum(tch::Kind::Float)?);
    }
    let norm = Tensor::f_stack(&squares, 0)?.f_sum(tch::Kind::Double)?.f_sqrt()?;
    let norm = norm.f_double_value(&[])?;
    if norm.is_finite() && norm > norm_max {
        for gradient in gradients.iter_mut() {
            let _ = gradient.f_mul_scalar_(norm_max / norm)?;
        }
    }
    Ok(norm)
}

/// How the step size falls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScheduleKind {
    /// `(1 - t)^0.9`.
    Poly,
    /// Half a cosine, from 1 to 0.
    Cosine,
    /// Stays.
    Constant,
}

/// How the step size rises and falls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ScheduleConfig {
    /// How it falls.
    pub kind: ScheduleKind,
    /// Steps over which it first rises from 0.
    pub warmup_steps: u64,
}

impl Default for ScheduleConfig {
    fn default() -> Self {
        Self { kind: ScheduleKind::Cosine, warmup_steps: 50 }
    }
}

impl ScheduleConfig {
    /// Returns the share of the full step size before step `step`, with the share `done` of the run
    /// behind, in `[0, 1]`.
    pub(crate) fn factor(&self, step: u64, done: f64) -> f64 {
        let left = 1.0 - done.clamp(0.0, 1.0);
        let fall = match self.kind {
            ScheduleKind::Poly => left.powf(0.9),
            ScheduleKind::Cosine => 0.5 - 0.5 * (std::f64::consts::PI * left).cos(),
            ScheduleKind::Constant => 1.0,
        };
        if step < self.warmup_steps {
            return fall * (step + 1) as f64 / self.warmup_steps as f64;
        }
        fall
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn every_rule_walks_to_the_minimum_of_a_parabola() {
        for (kind, rate) in
            [(OptimiserKind::AdamW, 0.1), (OptimiserKind::Adam, 0.1), (OptimiserKind::Sgd, 0.02)]
        {
            let start = Tensor::f_full([2, 2], 3.0, (Kind::Float, Device::Cpu)).unwrap();
            let mut weights = Parameters::from_tensors(vec![start]);
            let config = OptimiserConfig { kind, weight_decay: 0.0, ..OptimiserConfig::default() };
            let mut optimiser = Optimiser::new(&config, &weights).unwrap();
            for _ in 0..300 {
                let gradient = weights.tensors()[0].f_mul_scalar(2.0).unwrap();
                optimiser.step(&mut weights, &[gradient], rate).unwrap();
            }
            let left = weights.tensors()[0].f_abs().unwrap().f_max().unwrap();
            assert!(left.f_double_value(&[]).unwrap() < 0.05, "{kind:?}");
        }
    }

    #[test]
    fn the_first_adam_step_has_the_length_of_the_learning_rate() {
        let start = Tensor::f_zeros([3], (Kind::Float, Device::Cpu)).unwrap();
        let mut weights = Parameters::from_tensors(vec![start]);
        let mut optimiser = Optimiser::new(&OptimiserConfig::default(), &weights).unwrap();
        let gradient = Tensor::f_from_slice(&[5.0_f32, -0.1, 2.0]).unwrap();
        optimiser.step(&mut weights, &[gradient], 0.01).unwrap();
        for (index, expected) in [-0.01, 0.01, -0.01].into_iter().enumerate() {
            let moved = weights.tensors()[0].f_double_value(&[index as i64]).unwrap();
            assert!((moved - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn long_gradients_are_cut_and_short_ones_kept() {
        let mut gradients =
            [Tensor::f_from_slice(&[3.0_f32]).unwrap(), Tensor::f_from_slice(&[4.0_f32]).unwrap()];
        assert!((clip_gradients(&mut gradients, 1.0).unwrap() - 5.0).abs() < 1e-6);
        assert!((gradients[1].f_double_value(&[0]).unwrap() - 0.8).abs() < 1e-6);
        assert!((clip_gradients(&mut gradients, 2.0).unwrap() - 1.0).abs() < 1e-6);
    }

    #[test]
    fn the_step_size_rises_then_falls_to_zero() {
        let schedule = ScheduleConfig { kind: ScheduleKind::Cosine, warmup_steps: 10 };
        assert!((schedule.factor(0, 0.0) - 0.1).abs() < 1e-9);
        assert!((schedule.factor(10, 0.0) - 1.0).abs() < 1e-9);
        assert!((schedule.factor(10, 0.5) - 0.5).abs() < 1e-9);
        for kind in [ScheduleKind::Cosine, ScheduleKind::Poly] {
            let schedule = ScheduleConfig { kind, warmup_steps: 0 };
            assert!(schedule.factor(99, 1.0).abs() < 1e-9);
        }
    }
}
