//! Holds the estimate of a step's memory against what a step takes. Alone in its file: the peak is
//! that of the whole process.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

use std::{fs, process::Command, sync::Arc};

use ndarray::{Array3, Array4};
use neurotriage_dataset::{DatasetError, Sample, SampleSource};
use neurotriage_network::{
    DeviceChoice, NetworkConfig, Provenance, Start, TrainConfig, TrainControl, TrainRun,
    memory_needed_bytes, train,
};

struct Noise(usize);

impl SampleSource for Noise {
    fn sample(&self, index: u64) -> Result<Sample, DatasetError> {
        let side = self.0;
        let value = |at: usize| ((at * 7919 + index as usize * 31) % 101) as f32 / 50.0 - 1.0;
        Ok(Sample {
            image: Array4::from_shape_fn((4, side, side, side), |(c, x, y, z)| {
                value(((c * side + x) * side + y) * side + z)
            }),
            labels: Array3::from_shape_fn(
                (side, side, side),
                |(x, _, _)| if x > 9 { 2 } else { 0 },
            ),
            origin: "noise",
        })
    }
}

/// Returns a line of this process's status, in bytes.
fn status(name: &str) -> u64 {
    let text = fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}

/// Returns by how much the memory of this process grows at most over two steps.
fn grown(config: &TrainConfig, side: usize) -> u64 {
    let folder = tempfile::tempdir().unwrap();
    // "5" sets the peak back to what is held now.
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS:");
    let source: Arc<dyn SampleSource> = Arc::new(Noise(side));
    let run = TrainRun {
        folder: folder.path().to_owned(),
        start: Start::Fresh,
        provenance: Provenance::default(),
        profile: "whole/1".to_owned(),
    };
    train(config, &source, &[], &run, &TrainControl::default(), &mut |_| ()).unwrap();
    status("VmHWM:").saturating_sub(before)
}

/// Names the row that a process of its own measures: memory once freed stays with a process.
const ROW: &str = "NEUROTRIAGE_TEST_ROW";

#[test]
fn a_step_takes_about_what_is_estimated_and_not_more() {
    let base = TrainConfig {
        device: DeviceChoice::Cpu,
        threads: 1,
        steps_max: 2,
        max_minutes: 0.0,
        ..TrainConfig::default()
    };
    let coarse = NetworkConfig::residual(&[16, 32, 64]);
    let fine = NetworkConfig { stem_stride: 1, ..NetworkConfig::residual(&[8, 16]) };
    // (what the row is for, settings, side of the samples)
    let table = [
        ("coarse", TrainConfig { network: coarse.clone(), ..base.clone() }, 96),
        ("batch", TrainConfig { network: coarse.clone(), batch: 2, ..base.clone() }, 80),
        ("fine", TrainConfig { network: fine, ..base.clone() }, 80),
        ("accumulated", TrainConfig { network: coarse, accumulate: 3, ..base }, 80),
    ];
    let row = std::env::var(ROW).ok();
    for (case, config, side) in table {
        match row.as_deref() {
            None => {
                let output = Command::new(std::env::current_exe().unwrap())
                    .args(["a_step_takes_about_what_is_estimated_and_not_more", "--nocapture"])
                    .env(ROW, case)
                    .output()
                    .unwrap();
                let said = String::from_utf8_lossy(&output.stdout);
                let line = said.lines().find(|line| line.starts_with("taken")).unwrap_or(&said);
                println!("{line}");
                assert!(output.status.success(), "{case}: {line}");
            }
            Some(row) if row == case => {
                let needed = memory_needed_bytes(&config, [side; 3]).unwrap();
                let taken = grown(&config, side);
                let share = taken as f64 / needed as f64;
                println!("\ntaken {case}: {} of {} MiB, {share:.2}", taken >> 20, needed >> 20);
                assert!((0.3..=1.05).contains(&share), "{case}: {share:.2}");
            }
            Some(_) => {}
        }
    }
}
