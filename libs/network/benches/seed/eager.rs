//! The seed network as one writes it without further thought: contiguous tensors
//! `[batch, channel, x, y, z]`, libtorch's own layers, one after the other.
//!
//! Loss and optimiser are the same formulas as in the library, so that what differs is the layers.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use neurotriage_network::{
    NetworkConfig, TrainConfig,
    measure::{Measured, NamedWeight},
};
use tch::{Kind, Tensor};

const SMOOTH: f64 = 1e-5;
const CLASS_WEIGHT: f64 = 0.25;
const FOCAL_ALPHA: f64 = 0.25;
const CLIP: f64 = 1e-7;

/// The seed network on libtorch's layers.
pub(crate) struct Eager {
    config: TrainConfig,
    names: HashMap<String, usize>,
    weights: Vec<Tensor>,
    first: Vec<Tensor>,
    second: Vec<Tensor>,
    steps: i32,
}

impl Eager {
    /// Takes over weights of the library's network.
    pub(crate) fn new(config: &TrainConfig, weights: &[NamedWeight]) -> Result<Self> {
        let mut names = HashMap::new();
        let mut tensors = Vec::new();
        for weight in weights {
            let tensor = Tensor::f_from_slice(&weight.values)?.f_reshape(&weight.shape)?;
            // The library holds up-convolutions as a matrix: eight offsets times channels out.
            let tensor = match weight.shape.as_slice() {
                &[rows, channels_in] => tensor
                    .f_view([2, 2, 2, rows / 8, channels_in])?
                    .f_permute([4, 3, 0, 1, 2])?
                    .f_contiguous()?,
                _ => tensor,
            };
            names.insert(weight.name.clone(), tensors.len());
            tensors.push(tensor);
        }
        let zeros = || tensors.iter().map(Tensor::f_zeros_like).collect::<Result<Vec<_>, _>>();
        let (first, second) = (zeros()?, zeros()?);
        for tensor in &mut tensors {
            *tensor = tensor.f_set_requires_grad(true)?;
        }
        Ok(Self { config: config.clone(), names, weights: tensors, first, second, steps: 0 })
    }

    /// Returns the number of learnt values.
    pub(crate) fn parameter_count(&self) -> usize {
        self.weights.iter().map(Tensor::numel).sum()
    }

    /// Runs forwards, backwards and one step of Adam.
    pub(crate) fn train_step(&mut self, images: &Tensor, labels: &Tensor) -> Result<Measured> {
        let began = Instant::now();
        let total = total_loss(&self.logits(images, true)?, labels)?;
        let gradients = Tensor::f_run_backward(&[&total], &self.weights, false, false)?;
        self.adam(&gradients)?;
        let value = total.f_double_value(&[])?;
        Ok(Measured { value, time: began.elapsed() })
    }

    /// Runs forwards alone.
    pub(crate) fn forward(&self, images: &Tensor) -> Result<Measured> {
        let _guard = tch::no_grad_guard();
        let began = Instant::now();
        let logits = self.logits(images, false)?;
        let time: Duration = began.elapsed();
        let value = logits.f_square()?.f_mean(Kind::Double)?.f_double_value(&[])?;
        Ok(Measured { value, time })
    }

    fn weight(&self, name: &str) -> Result<&Tensor> {
        let place = self.names.get(name).with_context(|| format!("find weight {name}"))?;
        self.weights.get(*place).with_context(|| format!("find weight {name}"))
    }

    fn logits(&self, images: &Tensor, training: bool) -> Result<Tensor> {
        let NetworkConfig { widths, dropout, .. } = &self.config.network;
        let dropout_at = |place: usize| dropout.get(place).copied().unwrap_or(0.0);
        let last = widths.len() - 1;
        let mut x = images.shallow_clone();
        let mut skips = Vec::new();
        for level in 0..=last {
            if level > 0 {
                x = x.f_max_pool3d([2, 2, 2], [2, 2, 2], [0, 0, 0], [1, 1, 1], false)?;
            }
            let share = if training { dropout_at(level) } else { 0.0 };
            x = self.double_conv(&format!("encoder.{level}"), &x, share)?;
            if level < last {
                skips.push(x.shallow_clone());
            }
        }
        for level in (0..last).rev() {
            let name = format!("decoder.{level}");
            let up = x.f_conv_transpose3d(
                self.weight(&format!("{name}.up.weight"))?,
                Some(self.weight(&format!("{name}.up.bias"))?),
                [2, 2, 2],
                [0, 0, 0],
                [0, 0, 0],
                1,
                [1, 1, 1],
            )?;
            let skip = skips.pop().context("find the skip of a level")?;
            let joined = Tensor::f_cat(&[up, skip], 1)?;
            let share = if training { dropout_at(2 * last - level) } else { 0.0 };
            x = self.double_conv(&name, &joined, share)?;
        }
        self.conv("head", &x, 0)
    }

    fn double_conv(&self, name: &str, input: &Tensor, dropout: f64) -> Result<Tensor> {
        let mut inner = self.conv(&format!("{name}.0"), input, 1)?.f_relu()?;
        if dropout > 0.0 {
            inner = inner.f_dropout(dropout, true)?;
        }
        Ok(self.conv(&format!("{name}.1"), &inner, 1)?.f_relu()?)
    }

    fn conv(&self, name: &str, input: &Tensor, padding: i64) -> Result<Tensor> {
        let weight = self.weight(&format!("{name}.weight"))?;
        let bias = self.weight(&format!("{name}.bias"))?;
        Ok(input.f_conv3d(weight, Some(bias), [1, 1, 1], [padding; 3], [1, 1, 1], 1)?)
    }

    fn adam(&mut self, gradients: &[Tensor]) -> Result<()> {
        let _guard = tch::no_grad_guard();
        self.steps += 1;
        let settings = &self.config.optimiser;
        let first_bias = 1.0 - settings.beta1.powi(self.steps);
        let second_bias = 1.0 - settings.beta2.powi(self.steps);
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((weight, gradient), (first, second)) in
            self.weights.iter_mut().zip(gradients).zip(moments)
        {
            let _ = first.f_lerp_(gradient, 1.0 - settings.beta1)?;
            let _ = second.f_lerp_(&gradient.f_square()?, 1.0 - settings.beta2)?;
            let root = second.f_div_scalar(second_bias)?.f_sqrt()?;
            let root = root.f_add_scalar(settings.epsilon)?;
            let step = first.f_div(&root)?.f_mul_scalar(settings.learning_rate / first_bias)?;
            let _ = weight.f_sub_(&step)?;
        }
        Ok(())
    }
}

/// Dice with weights of a quarter, plus focal.
fn total_loss(logits: &Tensor, labels: &Tensor) -> Result<Tensor> {
    let p = logits.f_softmax(1, Kind::Float)?;
    let classes = labels.f_clamp_max(3)?.f_to_kind(Kind::Int64)?;
    let g = classes.f_one_hot(4)?.f_permute([0, 4, 1, 2, 3])?.f_to_kind(Kind::Float)?;
    let over: &[i64] = &[0, 2, 3, 4];
    let both = g.f_mul(&p)?.f_sum_dim_intlist(over, false, Kind::Float)?;
    let extent = p.f_add(&g)?.f_sum_dim_intlist(over, false, Kind::Float)?;
    let f = both.f_mul_scalar(2.0)?.f_add_scalar(SMOOTH)?.f_div(&extent.f_add_scalar(SMOOTH)?)?;
    let dice = f.f_mean(Kind::Float)?.f_mul_scalar(-CLASS_WEIGHT)?.f_add_scalar(1.0)?;
    let q = p.f_clamp(CLIP, 1.0 - CLIP)?;
    let far = q.f_neg()?.f_add_scalar(1.0)?.f_square()?;
    let focal = far.f_mul(&q.f_log()?)?.f_mul(&g)?.f_mean(Kind::Float)?;
    Ok(dice.f_add(&focal.f_mul_scalar(-FOCAL_ALPHA)?)?)
}
