//! Event files that TensorBoard reads.
//!
//! The crates that write them are not kept up (their last releases are years old, one brings a second
//! protobuf), and the format is small: records with a masked CRC-32C, each a protobuf message of
//! which four fields are needed.

use std::{
    fs::{self, File, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use crc::{CRC_32_ISCSI, Crc};
use neurotriage_network::TrainProgress;
use prost::Message;

use crate::TrainingError;

/// What the names of event files begin with; TensorBoard looks for it.
const NAME_START: &str = "events.out.tfevents.";

/// Added to every checksum, by the format.
const MASK: u32 = 0xA282_EAD8;

const CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// `tensorflow.Event`: the fields used.
#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

/// `tensorflow.Summary`.
#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

/// `tensorflow.Summary.Value`: a number with a name.
#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, tag = "2")]
    simple_value: f32,
}

/// An open event file.
pub(crate) struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Opens a new event file in `folder`; a resumed run adds one beside the first, as TensorBoard
    /// expects.
    pub(crate) fn create(folder: &Path) -> Result<Self, TrainingError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| TrainingError::Io { path, source }
        };
        fs::create_dir_all(folder).map_err(failed(folder))?;
        let now = seconds();
        let path = folder.join(format!("{NAME_START}{now:.0}.{}", std::process::id()));
        let file =
            OpenOptions::new().append(true).create(true).open(&path).map_err(failed(&path))?;
        let mut events = Self { path, file };
        events.add(Event {
            wall_time: now,
            file_version: Some("brain.Event:2".to_owned()),
            ..Event::default()
        })?;
        Ok(events)
    }

    /// Adds the numbers of a line of the log.
    pub(crate) fn write(&mut self, at: &TrainProgress) -> Result<(), TrainingError> {
        let value = values(at);
        let step = i64::try_from(at.step).unwrap_or(i64::MAX);
        let summary = Some(Summary { value });
        self.add(Event { wall_time: seconds(), step, summary, ..Event::default() })
    }

    fn add(&mut self, event: Event) -> Result<(), TrainingError> {
        let failed = |source| TrainingError::Io { path: self.path.clone(), source };
        self.file.write_all(&record(&event.encode_to_vec())).map_err(failed)
    }
}

/// Returns what is drawn of a line of the log. A line of a validation repeats the last step, which
/// was added before.
fn values(at: &TrainProgress) -> Vec<Value> {
    let mut found = Vec::new();
    let mut add = |tag: &str, value: f64| {
        found.push(Value { tag: tag.to_owned(), simple_value: value as f32 });
    };
    if let Some(report) = &at.validation {
        add("validation/dice_wt", report.mean.wt);
        add("validation/dice_tc", report.mean.tc);
        add("validation/dice_et", report.mean.et);
        if let Some(scores) = &at.validation_scores {
            add("validation/loss", scores.loss);
            add("validation/accuracy", scores.accuracy);
            add("validation/iou", scores.iou);
        }
        return found;
    }
    add("training/loss", at.loss);
    add("training/loss_mean", at.loss_mean);
    add("training/learning_rate", at.learning_rate);
    add("training/gradient_norm", at.gradient_norm);
    if let Some(scores) = &at.training {
        add("training/accuracy", scores.accuracy);
        add("training/iou", scores.iou);
        add("training/dice_wt", scores.dice.wt);
        add("training/dice_tc", scores.dice.tc);
        add("training/dice_et", scores.dice.et);
    }
    found
}

fn seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// Returns a record: length, its checksum, content, its checksum, all little-endian.
fn record(content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u64).to_le_bytes();
    let mut bytes = Vec::with_capacity(content.len() + 16);
    bytes.extend(length);
    bytes.extend(masked(&length).to_le_bytes());
    bytes.extend(content);
    bytes.extend(masked(content).to_le_bytes());
    bytes
}

/// Returns the CRC-32C, turned by 15 bits and moved by a constant, so that a checksum of data that
/// holds checksums is of use.
fn masked(bytes: &[u8]) -> u32 {
    CRC.checksum(bytes).rotate_right(15).wrapping_add(MASK)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(step: u64) -> TrainProgress {
        TrainProgress {
            step,
            done: 0.5,
            minutes: 1.0,
            loss: 0.25,
            loss_mean: 0.5,
            learning_rate: 1e-3,
            gradient_norm: 1.0,
            skipped: 0,
            loss_scale: None,
            training: None,
            validation: None,
            validation_scores: None,
        }
    }

    /// Splits a file into the contents of its records, checking every checksum.
    fn contents(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        while !bytes.is_empty() {
            let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            assert_eq!(bytes[8..12], masked(&bytes[..8]).to_le_bytes());
            let content = &bytes[12..12 + length];
            assert_eq!(bytes[12 + length..16 + length], masked(content).to_le_bytes());
            found.push(content.to_vec());
            bytes = &bytes[16 + length..];
        }
        found
    }

    #[test]
    fn records_carry_the_first_version_and_then_numbers_by_step() {
        let folder = tempfile::tempdir().unwrap();
        let mut events = EventFile::create(folder.path()).unwrap();
        events.write(&progress(10)).unwrap();
        events.write(&progress(20)).unwrap();
        let path = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        assert!(path.file_name().unwrap().to_string_lossy().starts_with(NAME_START));
        let found = contents(&fs::read(&path).unwrap());
        let found: Vec<Event> =
            found.iter().map(|content| Event::decode(content.as_slice()).unwrap()).collect();
        assert_eq!(found[0].file_version.as_deref(), Some("brain.Event:2"));
        assert_eq!(found.iter().map(|event| event.step).collect::<Vec<_>>(), [0, 10, 20]);
        let summary = found[2].summary.as_ref().unwrap();
        let loss = summary.value.iter().find(|value| value.tag == "training/loss").unwrap();
        assert_eq!(loss.simple_value, 0.25);
    }

    #[test]
    fn checksums_are_those_of_the_format() {
        // CRC-32C of "123456789" is e3069283 by its definition.
        assert_eq!(CRC.checksum(b"123456789"), 0xE306_9283);
        assert_eq!(masked(b"123456789"), 0xE306_9283_u32.rotate_right(15).wrapping_add(MASK));
        assert_eq!(record(b"").len(), 16);
    }
}
