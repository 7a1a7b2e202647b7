//! Times the seed network: one training step or one forward pass, by the library's layers or by
//! libtorch's own; or one training step of the network in a training file. `cargo xtask bench` calls this once for each cell of its table, so that each has
//! a process, and with it a peak of memory, of its own.
//!
//! Prints one line of JSON: `seconds` of each repetition and `peak_bytes` of resident memory.
#![expect(clippy::print_stdout, reason = "the line is what the program is for")]

mod eager;
mod memory;

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, ValueEnum};
use ndarray::{Array4, Array5};
use neurotriage_network::{
    DeviceChoice, NetworkConfig, TrainConfig, TrainPrecision,
    measure::{Measured, Workbench},
};
use serde::{Deserialize, Serialize};
use tch::Tensor;

use self::eager::Eager;

/// Learnt values of the original network for three channels.
const PARAMETER_COUNT: usize = 5_645_828;

/// Voxels a side in the comparison of the two implementations.
const CHECK_SIDE: usize = 32;

/// Steps of that comparison: the later losses depend on the gradients of the earlier.
const CHECK_STEPS: usize = 4;

/// Largest relative difference in it: both compute in 32 bits and sum in another order.
const CHECK_TOLERANCE: f64 = 1e-3;

/// Repetitions that are not counted: libtorch chooses and prepares its kernels in the first.
const WARM_UP: usize = 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Task {
    /// Whether both implementations are the same network.
    Check,
    /// Forward, backward and optimiser step.
    Training,
    /// Forward alone.
    Inference,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Engine {
    /// The layers of this crate.
    Ours,
    /// libtorch's own layers.
    Eager,
}

/// Times the seed network.
#[derive(Debug, Parser)]
struct Arguments {
    /// What to time.
    task: Task,
    /// Whose layers.
    #[arg(long, default_value = "ours")]
    engine: Engine,
    /// Voxels along each axis, a multiple of 16.
    #[arg(long, default_value_t = 64)]
    side: usize,
    /// Samples at once.
    #[arg(long, default_value_t = 1)]
    batch: usize,
    /// Repetitions after the first.
    #[arg(long, default_value_t = 3)]
    steps: usize,
    /// A training file: its network, loss and optimiser in place of the original's.
    #[arg(long, conflicts_with = "engine")]
    config: Option<PathBuf>,
    /// In what to compute, in place of what the file says.
    #[arg(long, requires = "config", value_parser = precision)]
    precision: Option<TrainPrecision>,
    /// Threads of libtorch.
    #[arg(long, default_value_t = 2)]
    threads: usize,
    /// Passed by `cargo bench`; says nothing.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Serialize)]
struct Line {
    seconds: Vec<f64>,
    peak_bytes: u64,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.task == Task::Check {
        return check(arguments.threads);
    }
    memory::ensure_fits(arguments.task, arguments.side, arguments.batch)?;
    let mut seconds = measure(&arguments)?;
    seconds.drain(..WARM_UP.min(seconds.len()));
    let line = Line { seconds, peak_bytes: memory::peak_bytes()? };
    println!("{}", serde_json::to_string(&line)?);
    Ok(())
}

fn precision(text: &str) -> Result<TrainPrecision, String> {
    match text {
        "f32" => Ok(TrainPrecision::F32),
        "auto" => Ok(TrainPrecision::Auto),
        _ => Err("expected f32 or auto".to_owned()),
    }
}

/// Returns the settings of the original, on the CPU.
fn settings(threads: usize) -> TrainConfig {
    TrainConfig { device: DeviceChoice::Cpu, threads, ..TrainConfig::seed_original() }
}

/// Returns the settings that `arguments` ask for.
fn asked(arguments: &Arguments) -> Result<TrainConfig> {
    #[derive(Deserialize)]
    struct File {
        train: TrainConfig,
    }
    let Some(path) = &arguments.config else {
        return Ok(settings(arguments.threads));
    };
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    let File { train } =
        toml::from_str(&text).with_context(|| format!("follow {}", path.display()))?;
    let precision = arguments.precision.unwrap_or(train.precision);
    Ok(TrainConfig { device: DeviceChoice::Cpu, threads: arguments.threads, precision, ..train })
}

/// Returns images `[batch, channel, x, y, z]` in `[0, 1]` with as much texture as not to be constant,
/// and labels `[batch, x, y, z]` of a ball in three shells.
fn input(channels: usize, side: usize, batch: usize) -> (Array5<f32>, Array4<u8>) {
    let labels = Array4::from_shape_fn((batch, side, side, side), |(_, x, y, z)| {
        let offset = |at: usize| (at as f32 + 0.5) / side as f32 - 0.5;
        match offset(x).hypot(offset(y)).hypot(offset(z)) {
            radius if radius < 0.1 => 1,
            radius if radius < 0.15 => 4,
            radius if radius < 0.25 => 2,
            _ => 0,
        }
    });
    let images = Array5::from_shape_fn((batch, channels, side, side, side), |(b, c, x, y, z)| {
        let texture = ((b * 31 + c * 17 + x * 7 + y * 13 + z * 29) % 101) as f32 / 202.0;
        texture + f32::from(labels[[b, x, y, z]]) / 8.0
    });
    (images, labels)
}

fn tensors(images: &Array5<f32>, labels: &Array4<u8>) -> Result<(Tensor, Tensor)> {
    let sides = |shape: &[usize]| shape.iter().map(|&side| side as i64).collect::<Vec<i64>>();
    let values: Vec<f32> = images.iter().copied().collect();
    let classes: Vec<u8> = labels.iter().copied().collect();
    Ok((
        Tensor::f_from_slice(&values)?.f_reshape(sides(images.shape()))?,
        Tensor::f_from_slice(&classes)?.f_reshape(sides(labels.shape()))?,
    ))
}

fn measure(arguments: &Arguments) -> Result<Vec<f64>> {
    let config = asked(arguments)?;
    let mut ours = Workbench::new(&config)?;
    let (images, labels) = input(config.channels.len(), arguments.side, arguments.batch);
    let repetitions = 0..arguments.steps.max(1) + WARM_UP;
    let seconds = |measured: Measured| measured.time.as_secs_f64();
    if arguments.engine == Engine::Ours {
        return repetitions
            .map(|_| {
                let measured = match arguments.task {
                    Task::Training => ours.train_step(images.view(), labels.view()),
                    Task::Check | Task::Inference => ours.forward(images.view()),
                };
                Ok(seconds(measured?))
            })
            .collect();
    }
    let mut eager = Eager::new(&config, &ours.weights()?)?;
    drop(ours);
    let (images, labels) = tensors(&images, &labels)?;
    repetitions
        .map(|_| {
            let measured = match arguments.task {
                Task::Training => eager.train_step(&images, &labels),
                Task::Check | Task::Inference => eager.forward(&images),
            };
            Ok(seconds(measured?))
        })
        .collect()
}

/// Fails unless both implementations give the same outputs, losses and steps.
fn check(threads: usize) -> Result<()> {
    let mut config = settings(threads);
    // Dropout would be drawn anew by each.
    config.network = NetworkConfig { dropout: Vec::new(), ..config.network };
    let mut ours = Workbench::new(&config)?;
    let mut eager = Eager::new(&config, &ours.weights()?)?;
    ensure!(
        eager.parameter_count() == PARAMETER_COUNT,
        "the network has {} learnt values, the original {PARAMETER_COUNT}",
        eager.parameter_count()
    );
    let (images, labels) = input(config.channels.len(), CHECK_SIDE, 2);
    let (images_eager, labels_eager) = tensors(&images, &labels)?;
    let close = |what: &str, ours: f64, eager: f64| {
        ensure!(
            (ours - eager).abs() <= CHECK_TOLERANCE * eager.abs(),
            "{what} differs: {ours} by this crate's layers, {eager} by libtorch's"
        );
        Ok(())
    };
    for step in 0..CHECK_STEPS {
        let pass = (ours.forward(images.view())?, eager.forward(&images_eager)?);
        close(&format!("output before step {step}"), pass.0.value, pass.1.value)?;
        let one = ours.train_step(images.view(), labels.view())?;
        let other = eager.train_step(&images_eager, &labels_eager)?;
        close(&format!("loss of step {step}"), one.value, other.value)?;
    }
    Ok(())
}
