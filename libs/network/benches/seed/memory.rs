//! How much memory this program took, and how much it would need. Linux only.

use std::fs;

use anyhow::{Context as _, Result, bail};

use crate::Task;

/// Resident bytes for each voxel of a batch that training took at most: 1,000 by our layers and
/// 1,200 by libtorch's, between 64 and 128 voxels a side, with a sixth added.
const TRAINING_BYTES_PER_VOXEL: u64 = 1_400;

/// The same for a forward pass: 400 measured.
const INFERENCE_BYTES_PER_VOXEL: u64 = 470;

/// Bytes of the program, libtorch, weights and moments.
const BASE_BYTES: u64 = 600 << 20;

/// Bytes of a gibibyte.
const GIB: f64 = (1_u64 << 30) as f64;

/// Fails, saying the two numbers, if what `task` needs is more than what is free.
pub(crate) fn ensure_fits(task: Task, side: usize, batch: usize) -> Result<()> {
    let voxels = (side.pow(3) * batch) as u64;
    let needed = match task {
        Task::Training => voxels * TRAINING_BYTES_PER_VOXEL,
        Task::Check | Task::Inference => voxels * INFERENCE_BYTES_PER_VOXEL,
    } + BASE_BYTES;
    let free = field("/proc/meminfo", "MemAvailable:")?;
    if needed > free {
        bail!(
            "a batch of {batch} at {side} voxels a side needs about {:.1} GiB, {:.1} GiB are \
             free; end other programs or ask for a smaller side or batch",
            needed as f64 / GIB,
            free as f64 / GIB
        );
    }
    Ok(())
}

/// Returns the most resident memory that this program had.
pub(crate) fn peak_bytes() -> Result<u64> {
    field("/proc/self/status", "VmHWM:")
}

/// Returns a line of the kernel's such as `VmHWM:  123 kB`, in bytes.
fn field(path: &str, name: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("read {path}; it needs Linux"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kibibytes = line.and_then(|rest| rest.trim().strip_suffix("kB"));
    let kibibytes: u64 = kibibytes
        .with_context(|| format!("find {name} in {path}"))?
        .trim()
        .parse()
        .with_context(|| format!("read {name} in {path}"))?;
    Ok(kibibytes * 1024)
}
