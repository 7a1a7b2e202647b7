//! What a training step takes of the memory, and what there is.

use std::fs;

use tch::Device;

use crate::{Architecture, NetworkConfig, NetworkError, TrainConfig, loader, network::Network};

const F32_BYTES: f64 = 4.0;

/// Copies of the weights: themselves, gradients, two moments, moving average, and one at work.
const WEIGHT_COPIES: f64 = 6.0;

/// Activations that a level keeps for the way back, in multiples of its channels, on the way down
/// and on the way up, counted in the code of each family.
const RESIDUAL_KEPT: [f64; 2] = [6.0, 6.0];
const SEED_KEPT: [f64; 2] = [4.0, 7.0];

/// Activations at work at the finest level, in multiples of its channels.
const AT_WORK: f64 = 6.0;

/// Volumes of the input's grid kept or at work for each output channel in the loss.
const LOSS_VOLUMES: f64 = 14.0;

/// Volumes of the input's grid kept for each input channel.
const INPUT_VOLUMES: f64 = 3.0;

/// Volumes of the input's grid kept or at work for each channel of the detail head.
const DETAIL_VOLUMES: f64 = 6.0;

/// What libtorch takes at its first step for code and scratch, and what the allocator holds beside
/// what was asked for, bytes: that varies by some 100 MB from run to run.
const FIRST_STEP_BYTES: f64 = 144e6;

/// Returns an estimate of the most memory, in bytes, that a training step takes on a CPU beside
/// what is held before: activations, gradients, moments, samples.
///
/// `window` are the sides of the samples in voxels, `[x, y, z]`. The estimate is a sum over the
/// levels of the network, held against the peak of real steps by a test.
///
/// # Errors
/// [`NetworkError::Config`] if the network can't work.
pub fn memory_needed_bytes(config: &TrainConfig, window: [usize; 3]) -> Result<u64, NetworkError> {
    let network = &config.network;
    let weights = Network::new(network)?.parameter_count() as f64;
    let voxels: f64 = window.iter().map(|&side| side as f64).product();
    let sample = voxels * (4.0 * F32_BYTES + 1.0);
    let held = (config.loader_threads * loader::READY_PER_THREAD) as f64
        + (config.batch * config.accumulate) as f64 * 2.0;
    let kept = config.batch as f64 * F32_BYTES * values_a_sample(network, voxels);
    // Logits and their gradients of every sample.
    let logits = if config.accumulate > 1 {
        let samples = (config.batch * config.accumulate) as f64;
        samples * F32_BYTES * voxels * network.out_channels as f64 * LOSS_VOLUMES
    } else {
        0.0
    };
    let bytes =
        kept + logits + weights * F32_BYTES * WEIGHT_COPIES + held * sample + FIRST_STEP_BYTES;
    Ok(bytes as u64)
}

/// Returns the number of values that are alive at the peak for each sample of a batch.
fn values_a_sample(network: &NetworkConfig, voxels: f64) -> f64 {
    let [down, up] = match network.architecture {
        Architecture::Residual => RESIDUAL_KEPT,
        Architecture::Seed => SEED_KEPT,
    };
    let levels = network.widths.len();
    let stem = if network.stem_stride == 2 { 8.0 } else { 1.0 };
    let mut values = 0.0;
    for (level, &width) in network.widths.iter().enumerate() {
        let grid = voxels / stem / 8.0_f64.powi(i32::try_from(level).unwrap_or(i32::MAX));
        let mut each = if level + 1 < levels { down + up } else { down };
        if level == 0 {
            each += AT_WORK;
        }
        values += grid * width as f64 * each;
    }
    values += voxels * network.in_channels as f64 * INPUT_VOLUMES;
    values += voxels * network.out_channels as f64 * LOSS_VOLUMES;
    values + voxels * network.detail_width as f64 * DETAIL_VOLUMES
}

/// Refuses a run whose step takes more than there is. On CUDA devices nothing is checked: libtorch
/// ends the run with its own error there.
pub(crate) fn check(
    config: &TrainConfig,
    window: [usize; 3],
    device: Device,
) -> Result<(), NetworkError> {
    if device != Device::Cpu {
        return Ok(());
    }
    let Some(available) = available_bytes() else {
        return Ok(());
    };
    fits(config, window, available)
}

fn fits(config: &TrainConfig, window: [usize; 3], available: u64) -> Result<(), NetworkError> {
    let needed = memory_needed_bytes(config, window)?;
    if needed as f64 <= available as f64 * config.memory_share_max {
        return Ok(());
    }
    let mebibytes = |bytes: u64| bytes.div_ceil(1 << 20);
    let [x, y, z] = window;
    Err(NetworkError::Config {
        setting: "memory_share_max",
        problem: format!(
            "a step needs about {} MiB and {} MiB are free; lower batch ({}), the patch \
             ({x}x{y}x{z}) or the network's widths, or raise memory_share_max ({}) to try anyway",
            mebibytes(needed),
            mebibytes(available),
            config.batch,
            config.memory_share_max
        ),
    })
}

/// Returns the memory that this process may still take: what the system has free, and less if a
/// control group limits it. `None` where the system does not say.
fn available_bytes() -> Option<u64> {
    let system = fs::read_to_string("/proc/meminfo").ok().and_then(|text| system_bytes(&text))?;
    let read = |path: &str| fs::read_to_string(path).ok();
    let group = [
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        (
            "/sys/fs/cgroup/memory/memory.limit_in_bytes",
            "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        ),
    ]
    .into_iter()
    .find_map(|(limit, used)| Some((read(limit)?, read(used)?)));
    let statistics = read("/sys/fs/cgroup/memory.stat")
        .or_else(|| read("/sys/fs/cgroup/memory/memory.stat"))
        .unwrap_or_default();
    let group = group.and_then(|(limit, used)| group_bytes(&limit, &used, &statistics));
    Some(group.map_or(system, |group| system.min(group)))
}

/// Returns `MemAvailable` of `/proc/meminfo` in bytes.
fn system_bytes(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Returns what a control group leaves: its limit less what it uses, files that can be dropped not
/// counted. `None` without a limit.
fn group_bytes(limit: &str, used: &str, statistics: &str) -> Option<u64> {
    let limit: u64 = limit.trim().parse().ok()?;
    let used: u64 = used.trim().parse().ok()?;
    let droppable = |name: &str| {
        statistics.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok())
    };
    let files = droppable("inactive_file ").unwrap_or(0);
    Some(limit.saturating_sub(used.saturating_sub(files)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_memory_is_the_smaller_of_system_and_group() {
        let text = "MemTotal:  100 kB\nMemAvailable:   64 kB\n";
        assert_eq!(system_bytes(text), Some(65_536));
        assert_eq!(system_bytes("MemTotal: 100 kB\n"), None);
        assert_eq!(group_bytes("max\n", "5\n", ""), None);
        assert_eq!(group_bytes("1000\n", "400\n", "anon 1\ninactive_file 100\n"), Some(700));
        assert_eq!(group_bytes("1000", "4000", ""), Some(0));
    }

    #[test]
    fn a_step_that_does_not_fit_is_refused_with_what_to_lower() {
        let config = TrainConfig::default();
        let needed = memory_needed_bytes(&config, [128; 3]).unwrap();
        assert!(fits(&config, [128; 3], needed).is_ok());
        let error = fits(&config, [128; 3], needed - 1).unwrap_err().to_string();
        for part in ["needs about", "are free", "lower batch (1)", "128x128x128", "widths"] {
            assert!(error.contains(part), "{error}");
        }
        let daring = TrainConfig { memory_share_max: 2.0, ..config };
        assert!(fits(&daring, [128; 3], needed / 2 + 1).is_ok());
    }

    #[test]
    fn larger_batches_patches_and_networks_take_more() {
        let base = TrainConfig::default();
        let bytes = |config: &TrainConfig, side| memory_needed_bytes(config, [side; 3]).unwrap();
        let less = bytes(&base, 64);
        let wide = NetworkConfig { stem_stride: 1, ..base.network.clone() };
        assert!(bytes(&TrainConfig { batch: 2, ..base.clone() }, 64) > less);
        assert!(bytes(&TrainConfig { accumulate: 4, ..base.clone() }, 64) > less);
        assert!(bytes(&TrainConfig { network: wide, ..base.clone() }, 64) > less);
        assert!(bytes(&base, 96) > less);
    }
}
