//! Wrong input through the real command: it fails at once, says which file and what to do, never
//! panics, and leaves nothing half-stored.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use flate2::{Compression, read::GzDecoder, write::GzEncoder};
use neurotriage_tests::{
    programs::neurotriage,
    stored::{files_under, rows},
};

/// Bytes of a NIfTI-1 header, and where in it things are.
const HEADER_BYTES: usize = 352;
const DIM_AT: usize = 40;
const DATATYPE_AT: usize = 70;
const BITPIX_AT: usize = 72;
const PIXDIM_AT: usize = 76;
const SROW_AT: usize = 280;
const FLOAT32: i16 = 16;

/// Shape of the small studies: refusals do not need real size.
const SHAPE: [i16; 3] = [64, 64, 48];

fn header(shape: &[i16]) -> Vec<u8> {
    let mut header = vec![0_u8; HEADER_BYTES];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, &348_i32.to_le_bytes());
    put(DIM_AT, &(shape.len() as i16).to_le_bytes());
    for axis in 0..7 {
        let length = shape.get(axis).copied().unwrap_or(1);
        put(DIM_AT + 2 * (axis + 1), &length.to_le_bytes());
        put(PIXDIM_AT + 4 * (axis + 1), &1.0_f32.to_le_bytes());
    }
    put(DATATYPE_AT, &FLOAT32.to_le_bytes());
    put(BITPIX_AT, &32_i16.to_le_bytes());
    put(PIXDIM_AT, &1.0_f32.to_le_bytes());
    put(108, &352.0_f32.to_le_bytes());
    put(112, &1.0_f32.to_le_bytes());
    put(254, &1_i16.to_le_bytes());
    let affine = [[-1.0_f32, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 63.0], [0.0, 0.0, 1.0, 0.0]];
    for (row, values) in affine.iter().enumerate() {
        for (column, value) in values.iter().enumerate() {
            put(SROW_AT + 16 * row + 4 * column, &value.to_le_bytes());
        }
    }
    put(344, b"n+1\0");
    header
}

/// Returns a volume with a ball of tissue in air, in a shape of three axes or four.
fn volume(shape: &[i16]) -> Vec<u8> {
    let mut bytes = header(shape);
    let count: usize = shape.iter().map(|&length| length as usize).product();
    let plane = shape[0] as usize * shape[1] as usize;
    for index in 0..count {
        let (x, y, z) =
            (index % shape[0] as usize, index % plane / shape[0] as usize, index / plane);
        let squared = |at: usize, length: i16| (at as f32 - f32::from(length) / 2.0).powi(2);
        let distance =
            squared(x, shape[0]) + squared(y, shape[1]) + squared(z % shape[2] as usize, shape[2]);
        let value = if distance < 400.0 { 100.0 + (index % 17) as f32 } else { 0.0 };
        bytes.extend_from_slice(&f32::to_le_bytes(value));
    }
    bytes
}

fn gzipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn file(case: &Path, modality: &str) -> PathBuf {
    case.join(format!("small_{modality}.nii.gz"))
}

fn good_case(folder: &Path) -> PathBuf {
    let case = folder.join("small");
    fs::create_dir_all(&case).unwrap();
    let bytes = gzipped(&volume(&SHAPE));
    for modality in ["flair", "t1", "t1ce", "t2"] {
        fs::write(file(&case, modality), &bytes).unwrap();
    }
    case
}

/// Overwrites four bytes of the uncompressed volume in `path`.
fn patch(path: &Path, at: usize, value: [u8; 4]) {
    let mut bytes = Vec::new();
    GzDecoder::new(fs::File::open(path).unwrap()).read_to_end(&mut bytes).unwrap();
    bytes[at..at + 4].copy_from_slice(&value);
    fs::write(path, gzipped(&bytes)).unwrap();
}

struct Row {
    name: &'static str,
    spoil: fn(&Path),
    symptoms: &'static str,
    /// Words that the message must have: the file, and what is wrong or to do.
    expected: &'static [&'static str],
}

fn table() -> Vec<Row> {
    let row = |name, spoil, expected| Row { name, spoil, symptoms: "headache", expected };
    vec![
        row("missing modality", |case| fs::remove_file(file(case, "t1ce")).unwrap(), &["t1ce"]),
        row(
            "different shapes",
            |case| {
                fs::write(file(case, "t2"), gzipped(&volume(&[64, 64, 40]))).unwrap();
            },
            &["small_t2.nii.gz"],
        ),
        row(
            "different affines",
            |case| {
                patch(&file(case, "t2"), SROW_AT + 12, 25.0_f32.to_le_bytes());
            },
            &["small_t2.nii.gz"],
        ),
        row(
            "truncated gzip",
            |case| {
                let path = file(case, "t1");
                let bytes = fs::read(&path).unwrap();
                fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
            },
            &["small_t1.nii.gz"],
        ),
        row(
            "web page",
            |case| {
                fs::write(file(case, "flair"), "<!doctype html><html><body>Log in</body></html>")
                    .unwrap();
            },
            &["small_flair.nii.gz"],
        ),
        row(
            "not a number",
            |case| {
                patch(&file(case, "t1ce"), HEADER_BYTES + 4 * 1000, f32::NAN.to_le_bytes());
            },
            &["small_t1ce.nii.gz"],
        ),
        row(
            "all zero",
            |case| {
                let mut bytes = header(&SHAPE);
                bytes.resize(HEADER_BYTES + 4 * 64 * 64 * 48, 0);
                fs::write(file(case, "t2"), gzipped(&bytes)).unwrap();
            },
            &["small_t2.nii.gz"],
        ),
        row(
            "four axes",
            |case| {
                fs::write(file(case, "t1"), gzipped(&volume(&[64, 64, 48, 2]))).unwrap();
            },
            &["small_t1.nii.gz"],
        ),
        row(
            "a promise of 10^12 voxels",
            |case| {
                let bytes = header(&[10_000, 10_000, 10_000]);
                fs::write(file(case, "flair"), gzipped(&bytes)).unwrap();
            },
            &["small_flair.nii.gz"],
        ),
        row("empty file", |case| fs::write(file(case, "t2"), b"").unwrap(), &["small_t2.nii.gz"]),
        Row { name: "empty symptoms", spoil: |_| {}, symptoms: " ", expected: &["symptoms"] },
    ]
}

#[test]
fn wrong_input_is_refused_by_name_and_leaves_nothing() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for Row { name, spoil, symptoms, expected } in table() {
        let folder = tempfile::tempdir().unwrap();
        let case = good_case(folder.path());
        spoil(&case);
        let (data, out) = (folder.path().join("data"), folder.path().join("out"));
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        let output = neurotriage(&[
            "diagnose",
            "--case",
            &path(&case),
            "--symptoms",
            symptoms,
            "--out",
            &path(&out),
            "--data",
            &path(&data),
            "--device",
            "cpu",
        ])
        .unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "case {name}: {message}");
        assert!(!message.contains("panicked"), "case {name}: {message}");
        assert!(output.stdout.is_empty(), "case {name} wrote to stdout");
        for word in expected {
            assert!(message.contains(word), "case {name} lacks `{word}`: {message}");
        }
        assert!(message.contains(';'), "case {name} does not say what to do: {message}");
        let private = folder.path().to_str().unwrap();
        assert!(!message.contains(&format!("{private}/data")), "case {name}: {message}");
        assert_eq!(files_under(&data.join("blobs")).unwrap(), 0, "case {name} left blobs");
        assert_eq!(files_under(&out).unwrap(), 0, "case {name} left files");
        for database in ["ingestion", "segmentation"] {
            let file = data.join(format!("{database}.sqlite"));
            if file.exists() {
                let rows = runtime.block_on(rows(&file, &[])).unwrap();
                assert_eq!(rows, 0, "case {name} left rows in {database}");
            }
        }
    }
}

#[test]
fn the_cause_of_a_refusal_is_said_once() {
    let folder = tempfile::tempdir().unwrap();
    let case = good_case(folder.path());
    let bytes = fs::read(file(&case, "t1")).unwrap();
    fs::write(file(&case, "seg"), &bytes[..bytes.len() / 2]).unwrap();
    let output = neurotriage(&["evaluate", "--cases", case.to_str().unwrap(), "--device", "cpu"]);
    let output = output.unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert_eq!(message.matches("cut off").count(), 1, "{message}");
    assert_eq!(message.matches("small_seg.nii.gz").count(), 1, "{message}");
}

#[test]
fn a_training_file_that_is_not_there_is_named_with_one_that_is() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.toml");
    for path in [missing.as_path(), folder.path()] {
        let path = path.to_str().unwrap();
        for more in [&[][..], &["--endpoint", "http://127.0.0.1:1"]] {
            let output = neurotriage(&[&["train", "--config", path], more].concat()).unwrap();
            let message = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(1), "{message}");
            for phrase in [path, "--config", "assets/models/train-default.toml"] {
                assert!(message.contains(phrase), "{phrase}: {message}");
            }
        }
    }
}

#[test]
fn wrong_usage_ends_with_2_and_help_with_0() {
    let table: [(&[&str], i32); 5] = [
        (&["diagnose", "--hospitals", "0"], 2),
        (&["nonsense"], 2),
        (&[], 2),
        (&["--help"], 0),
        (&["diagnose", "--help"], 0),
    ];
    for (arguments, code) in table {
        let output = neurotriage(arguments).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
    }
}
