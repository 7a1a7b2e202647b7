//! NIfTI files, good and bad, as users upload them.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use ndarray::Array3;
use neurotriage_imaging::{
    Affine, Image, Mask, Orientation, Volume,
    nifti::{
        read_image, read_image_file, read_mask, write_atomically, write_image_gz, write_mask_gz,
    },
};
use proptest::prelude::*;

/// A header, written field by field, and voxels of 2 x 3 x 4 int16.
#[derive(Clone)]
struct Draft {
    bytes: Vec<u8>,
}

impl Draft {
    fn new() -> Self {
        let mut draft = Self { bytes: vec![0; 352] };
        draft.put(0, &348_i32.to_le_bytes());
        draft.dims(&[3, 2, 3, 4, 1, 1, 1, 1]);
        draft.voxel_type(4, 16);
        for axis in 0..4 {
            draft.put(76 + 4 * axis, &1_f32.to_le_bytes());
        }
        draft.put(108, &352_f32.to_le_bytes());
        draft.put(254, &1_i16.to_le_bytes());
        draft.sform([[-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 239.0], [0.0, 0.0, 1.0, 0.0]]);
        draft.put(344, b"n+1\0");
        draft.with_voxels((0..24_i16).flat_map(i16::to_le_bytes).collect())
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    fn dims(&mut self, dims: &[i16; 8]) {
        for (at, dim) in dims.iter().enumerate() {
            self.put(40 + 2 * at, &dim.to_le_bytes());
        }
    }

    fn voxel_type(&mut self, code: i16, bits: i16) {
        self.put(70, &code.to_le_bytes());
        self.put(72, &bits.to_le_bytes());
    }

    fn sform(&mut self, rows: [[f32; 4]; 3]) {
        for (at, value) in rows.as_flattened().iter().enumerate() {
            self.put(280 + 4 * at, &value.to_le_bytes());
        }
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> Vec<u8> {
        let mut draft = self.clone();
        change(&mut draft);
        draft.bytes
    }

    fn with_voxels(mut self, voxels: Vec<u8>) -> Self {
        self.bytes.truncate(352);
        self.bytes.extend(voxels);
        self
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn bad_files_are_refused_with_what_to_do() {
    let draft = Draft::new();
    let good = draft.bytes.clone();
    let packed = gzip(&good);
    let mut wrong_sum = packed.clone();
    let at = wrong_sum.len() - 6;
    wrong_sum[at] ^= 0x55;
    let float = |value: f32| {
        let mut draft = draft.clone();
        draft.voxel_type(16, 32);
        let mut voxels = vec![1.0_f32; 24];
        (voxels[3], voxels[8]) = (value, value);
        draft.with_voxels(voxels.into_iter().flat_map(f32::to_le_bytes).collect()).bytes
    };
    let mut dicom = vec![0; 200];
    dicom[128..132].copy_from_slice(b"DICM");
    let with = |change: fn(&mut Draft)| draft.with(change);
    // (case, bytes, phrases expected in the error)
    let table: Vec<(&str, Vec<u8>, [&str; 2])> = vec![
        ("empty", vec![], ["empty", "again"]),
        ("web page", b"\n<!DOCTYPE html><html>".to_vec(), ["web page", "sign in"]),
        ("xml", b"<?xml version='1.0'?><Error/>".to_vec(), ["web page", "download"]),
        ("dicom", dicom, ["DICOM", "dcm2niix"]),
        ("text", b"just some text, no image".to_vec(), ["not gzip", "again"]),
        ("three bytes", vec![1, 2, 3], ["after 3 of 352", "again"]),
        ("gzip of nothing", gzip(&[]), ["after 0 of 352", "again"]),
        ("gzip cut off", packed[..packed.len() / 2].to_vec(), ["cut off", "again"]),
        ("gzip without its end", packed[..packed.len() - 4].to_vec(), ["cut off", "again"]),
        ("gzip with a wrong checksum", wrong_sum, ["damaged", "again"]),
        ("gzip head only", packed[..6].to_vec(), ["cut off", "again"]),
        ("header cut off", good[..100].to_vec(), ["after 100 of 352", "again"]),
        ("no voxels", good[..352].to_vec(), ["48 bytes of voxels, file has 0", "again"]),
        ("voxels cut off", good[..390].to_vec(), ["48 bytes of voxels, file has 38", "again"]),
        ("too many voxels", [&good[..], &[0; 9]].concat(), ["48 bytes of voxels", "again"]),
        ("nifti-2", with(|d| d.put(0, &540_i32.to_le_bytes())), ["NIfTI-2", "NIfTI-1"]),
        ("pair", with(|d| d.put(344, b"ni1\0")), ["two files", ".nii"]),
        ("magic", with(|d| d.put(344, b"abc\0")), ["header is damaged", "export"]),
        (
            "huge",
            with(|d| d.dims(&[3, 10_000, 10_000, 10_000, 1, 1, 1, 1])),
            ["1000000000000 voxels", "crop or resample"],
        ),
        (
            "more bytes than the limit",
            with(|d| {
                d.dims(&[3, 400, 400, 400, 1, 1, 1, 1]);
                d.voxel_type(64, 64);
                d.put(108, &4e8_f32.to_le_bytes());
            }),
            ["912000000 bytes", "crop"],
        ),
        ("gzip bomb", gzip(&[&good[..], &vec![0; 8 << 20]].concat()), ["has 49", "again"]),
        ("4D", with(|d| d.dims(&[4, 2, 3, 2, 2, 1, 1, 1])), ["[2, 3, 2, 2]", "one volume"]),
        ("2D", with(|d| d.dims(&[2, 2, 3, 1, 1, 1, 1, 1])), ["[2, 3]", "one volume"]),
        ("no dimensions", with(|d| d.dims(&[0; 8])), ["dim[0] is 0", "export"]),
        ("nine dimensions", with(|d| d.dims(&[9, 2, 3, 4, 1, 1, 1, 1])), ["dim[0]", "export"]),
        ("zero side", with(|d| d.dims(&[3, 2, 0, 4, 1, 1, 1, 1])), ["dim[2] is 0", "export"]),
        ("negative side", with(|d| d.dims(&[3, 2, -3, 4, 1, 1, 1, 1])), ["dim[2] is -3", "export"]),
        ("colour", with(|d| d.voxel_type(128, 24)), ["voxel type 128", "float32"]),
        ("unknown type", with(|d| d.voxel_type(77, 16)), ["voxel type 77", "float32"]),
        ("wrong bits", with(|d| d.voxel_type(4, 32)), ["bitpix is 32", "export"]),
        ("offset", with(|d| d.put(108, &12_f32.to_le_bytes())), ["vox_offset is 12", "export"]),
        ("offset nan", with(|d| d.put(108, &f32::NAN.to_le_bytes())), ["vox_offset", "export"]),
        ("offset far", with(|d| d.put(108, &4e8_f32.to_le_bytes())), ["file has 0", "again"]),
        ("nan", float(f32::NAN), ["2 voxels are NaN", "[0, 1, 1]"]),
        ("infinite", float(f32::INFINITY), ["2 voxels are NaN, infinite", "replace"]),
        ("no orientation", with(|d| d.put(254, &[0, 0])), ["sform_code and qform_code", "export"]),
        ("flat sform", with(|d| d.sform([[0.0; 4]; 3])), ["sform", "edge x is 0 mm"]),
        ("metres", with(|d| d.put(123, &[1])), ["metres", "millimetres"]),
    ];
    for (case, bytes, phrases) in table {
        let message = read_image(&bytes, "scan.nii.gz").expect_err(case).to_string();
        assert!(message.starts_with("scan.nii.gz: "), "case {case}: {message}");
        for phrase in phrases {
            assert!(message.contains(phrase), "case {case}: {phrase:?} not in {message}");
        }
    }
}

#[test]
fn odd_but_honest_files_are_read() {
    let draft = Draft::new();
    let expected = read_image(&draft.bytes, "plain.nii").unwrap();
    assert_eq!(expected.voxels[[1, 0, 0]], 1.0, "x runs fastest in the file");
    assert_eq!(expected.voxels[[0, 1, 0]], 2.0);
    assert_eq!(expected.voxels[[1, 2, 3]], 23.0);
    assert!(expected.voxels.is_standard_layout());

    let two_members = [gzip(&draft.bytes[..300]), gzip(&draft.bytes[300..])].concat();
    let mut extended = draft.bytes.clone();
    extended.splice(352..352, [7; 16]);
    extended[108..112].copy_from_slice(&368_f32.to_le_bytes());
    let table: Vec<(&str, Vec<u8>)> = vec![
        ("gzip", gzip(&draft.bytes)),
        ("gzip in two members", two_members),
        ("fourth dimension of one", draft.with(|d| d.dims(&[4, 2, 3, 4, 1, 1, 1, 1]))),
        ("offset of zero", draft.with(|d| d.put(108, &0_f32.to_le_bytes()))),
        ("slope that is not a number", draft.with(|d| d.put(112, &f32::NAN.to_le_bytes()))),
        ("extension before the voxels", extended),
    ];
    for (case, bytes) in table {
        assert_eq!(read_image(&bytes, "scan.nii.gz").expect(case), expected, "case {case}");
    }
}

#[test]
fn slope_and_intercept_are_applied() {
    let bytes = Draft::new().with(|draft| {
        draft.put(112, &0.5_f32.to_le_bytes());
        draft.put(116, &(-3_f32).to_le_bytes());
    });
    let image = read_image(&bytes, "scan.nii").unwrap();
    assert_eq!(image.voxels[[1, 2, 3]], 23.0 * 0.5 - 3.0);
}

#[test]
fn every_voxel_type_reads_the_same_values() {
    let values: Vec<u8> = (0..24).collect();
    let of = |bytes: fn(u8) -> Vec<u8>| values.iter().flat_map(|&v| bytes(v)).collect::<Vec<u8>>();
    let table = [
        ("uint8", 2, 8, values.clone()),
        ("int8", 256, 8, values.clone()),
        ("int16", 4, 16, of(|v| i16::from(v).to_le_bytes().into())),
        ("uint16", 512, 16, of(|v| u16::from(v).to_le_bytes().into())),
        ("int32", 8, 32, of(|v| i32::from(v).to_le_bytes().into())),
        ("float32", 16, 32, of(|v| f32::from(v).to_le_bytes().into())),
        ("float64", 64, 64, of(|v| f64::from(v).to_le_bytes().into())),
    ];
    let expected = read_image(&Draft::new().bytes, "int16").unwrap();
    for (case, code, bits, voxels) in table {
        let bytes = Draft::new().with_voxels(voxels).with(|draft| draft.voxel_type(code, bits));
        assert_eq!(read_image(&bytes, case).expect(case), expected, "case {case}");
    }
}

#[test]
fn big_endian_files_are_read() {
    let mut draft = Draft { bytes: vec![0; 352] };
    draft.put(0, &348_i32.to_be_bytes());
    for (at, dim) in [3_i16, 2, 3, 4, 1, 1, 1, 1].into_iter().enumerate() {
        draft.put(40 + 2 * at, &dim.to_be_bytes());
    }
    draft.put(70, &4_i16.to_be_bytes());
    draft.put(72, &16_i16.to_be_bytes());
    draft.put(108, &352_f32.to_be_bytes());
    draft.put(254, &1_i16.to_be_bytes());
    let rows = [[-1_f32, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 239.0], [0.0, 0.0, 1.0, 0.0]];
    for (at, value) in rows.as_flattened().iter().enumerate() {
        draft.put(280 + 4 * at, &value.to_be_bytes());
    }
    draft.put(344, b"n+1\0");
    let draft = draft.with_voxels((0..24_i16).flat_map(i16::to_be_bytes).collect());
    let expected = read_image(&Draft::new().bytes, "little").unwrap();
    assert_eq!(read_image(&draft.bytes, "big").unwrap(), expected);
}

#[test]
fn qform_is_the_fallback_and_sform_comes_first() {
    let with_qform = |sform_code: i16| {
        Draft::new().with(|draft| {
            draft.put(252, &1_i16.to_le_bytes());
            draft.put(254, &sform_code.to_le_bytes());
            // Half a turn around superior: right becomes left, anterior posterior.
            draft.put(264, &1_f32.to_le_bytes());
            draft.put(80, &2_f32.to_le_bytes());
            draft.put(268, &5_f32.to_le_bytes());
        })
    };
    let by_qform = read_image(&with_qform(0), "qform").unwrap().affine;
    assert_eq!(by_qform.orientation(), Orientation::LPS);
    assert_eq!(by_qform.spacing().as_mm(), [2.0, 1.0, 1.0]);
    assert_eq!(by_qform.apply([0.0; 3]), [5.0, 0.0, 0.0]);
    let by_sform = read_image(&with_qform(1), "sform").unwrap().affine;
    assert_eq!(by_sform, Affine::brats());
}

#[test]
fn masks_hold_labels_only_and_three_means_four() {
    let file = |labels: [f32; 4]| {
        let voxels = (0..24).flat_map(|at| labels[at % 4].to_le_bytes()).collect();
        Draft::new().with_voxels(voxels).with(|draft| draft.voxel_type(16, 32))
    };
    let mask = read_mask(&file([0.0, 1.0, 2.0, 3.0]), "seg.nii").unwrap();
    assert_eq!(mask.voxels.iter().filter(|&&label| label == 4).count(), 6);
    assert!(mask.voxels.iter().all(|label| [0, 1, 2, 4].contains(label)));
    for bad in [5.0, 1.5, -1.0] {
        let message = read_mask(&file([0.0, bad, 0.0, 0.0]), "seg.nii").unwrap_err().to_string();
        assert!(message.contains(&format!("value {bad} at [1, 0, 0]")), "{message}");
    }
}

#[test]
fn a_file_that_is_missing_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let message = read_image_file(&folder.path().join("none.nii.gz")).unwrap_err().to_string();
    assert!(message.contains("cannot read") && message.contains("none.nii.gz"), "{message}");
}

#[test]
fn atomic_writes_replace_and_leave_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mask.nii.gz");
    write_atomically(&path, b"first").unwrap();
    write_atomically(&path, b"second").unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"second");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let nowhere = folder.path().join("missing").join("mask.nii.gz");
    let message = write_atomically(&nowhere, b"x").unwrap_err().to_string();
    assert!(message.contains("cannot write"), "{message}");
    // A folder in the way: the partial file must go.
    let taken = folder.path().join("taken");
    std::fs::create_dir(&taken).unwrap();
    std::fs::write(taken.join("inside"), b"x").unwrap();
    assert!(write_atomically(&taken, b"x").is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn what_does_not_fit_the_format_is_not_written() {
    let mask: Mask = Volume { voxels: Array3::zeros((40_000, 1, 1)), affine: Affine::brats() };
    let message = write_mask_gz(&mask).unwrap_err().to_string();
    assert!(message.contains("does not fit NIfTI-1"), "{message}");
}

/// Grids of any orientation, tilted around superior, with entries that float32 holds exactly.
fn affines() -> impl Strategy<Value = Affine> {
    (0..48_usize, -0.4..0.4_f32, proptest::array::uniform3(0.4..4.0_f32)).prop_map(
        |(which, tilt, edges)| {
            let orientation = Orientation::all().nth(which).unwrap();
            let mut rows = [[0.0; 4]; 4];
            for (index, world) in orientation.world_axes().into_iter().enumerate() {
                let sign = if orientation.is_positive()[index] { 1.0 } else { -1.0 };
                let mut column = [0.0; 3];
                column[world] = sign * edges[index];
                let turned = [
                    tilt.cos() * column[0] - tilt.sin() * column[1],
                    tilt.sin() * column[0] + tilt.cos() * column[1],
                    column[2],
                ];
                for row in 0..3 {
                    rows[row][index] = f64::from(turned[row]);
                }
            }
            rows[0][3] = -91.25;
            rows[1][3] = 12.5;
            rows[3][3] = 1.0;
            Affine::from_rows(rows).unwrap()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn images_and_masks_come_back_as_written(
        affine in affines(),
        shape in proptest::array::uniform3(1..6_usize),
        start in -1e6..1e6_f32,
    ) {
        let mut next = start;
        let voxels = Array3::from_shape_simple_fn(shape, || { next += 1.5; next });
        let image: Image = Volume { voxels, affine };
        let bytes = write_image_gz(&image).unwrap();
        prop_assert_eq!(read_image(&bytes, "image").unwrap(), image.clone());

        let voxels = image.voxels.mapv(|value| [0, 1, 2, 4][value.abs() as usize % 4]);
        let mask: Mask = Volume { voxels, affine };
        prop_assert_eq!(read_mask(&write_mask_gz(&mask).unwrap(), "mask").unwrap(), mask);
    }

    #[test]
    fn the_written_qform_says_what_the_sform_says(affine in affines()) {
        let image: Image = Volume { voxels: Array3::ones((2, 3, 4)), affine };
        let packed = write_image_gz(&image).unwrap();
        let mut bytes = Vec::new();
        std::io::copy(&mut flate2::read::GzDecoder::new(&packed[..]), &mut bytes).unwrap();
        bytes[254..256].copy_from_slice(&[0, 0]);
        let by_qform = read_image(&bytes, "qform").unwrap().affine;
        // Near half a turn, three float32 numbers of a quaternion tell the fourth to 3e-4 only.
        prop_assert!(by_qform.difference(&affine) < 2e-3, "{} {}", by_qform, affine);
    }

    #[test]
    fn damaged_bytes_never_panic(
        at in 0..400_usize, value in any::<u8>(), length in 0..401_usize,
    ) {
        let mut bytes = Draft::new().bytes;
        bytes[at] = value;
        bytes.truncate(length);
        let _ = read_image(&bytes, "damaged.nii");
    }
}
