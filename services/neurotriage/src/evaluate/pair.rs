//! Two mask files, without images and without a model.

use std::{path::Path, time::Instant};

use anyhow::{Context as _, ensure};
use neurotriage_imaging::{AFFINE_TOLERANCE, Mask, canonicalise, nifti::read_mask_file};
use neurotriage_metrics::score_case;

use super::result::{CaseLine, Evaluation};

/// Scores the mask in `prediction` against that in `truth`; the files may store the same grid in
/// different index orders.
///
/// # Errors
/// If a file is no tumour mask, or the two lie on different grids.
pub(super) fn evaluate(truth: &Path, prediction: &Path) -> anyhow::Result<Evaluation> {
    let began = Instant::now();
    let read = |path: &Path, what: &str| -> anyhow::Result<Mask> {
        let mask = read_mask_file(path).with_context(|| format!("read {what}"))?;
        Ok(canonicalise(mask).0)
    };
    let (true_mask, predicted) = (read(truth, "truth")?, read(prediction, "prediction")?);
    ensure!(
        true_mask.shape() == predicted.shape(),
        "truth has {:?} voxels and prediction {:?} (as x, y, z to the patient's left, back and \
         head); resample one to the grid of the other",
        true_mask.shape(),
        predicted.shape()
    );
    ensure!(
        true_mask.grid().matches(&predicted.grid(), AFFINE_TOLERANCE),
        "truth and prediction lie at different places: affine [{}] and [{}]; bring both to one \
         grid, or correct the header that is wrong",
        true_mask.affine,
        predicted.affine
    );
    let scores = score_case(true_mask.voxels.view(), predicted.voxels.view(), true_mask.spacing())?;
    let line = CaseLine {
        id: name_of(prediction),
        seen_in_training: false,
        tumour_in_truth: true_mask.voxels.iter().any(|&label| label != 0),
        answer: None,
        scores,
        seconds: began.elapsed().as_secs_f64(),
        peak_memory_mib: None,
    };
    Ok(Evaluation::of_masks(line))
}

fn name_of(path: &Path) -> String {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let stem = name.strip_suffix(".gz").unwrap_or(&name);
    stem.strip_suffix(".nii").unwrap_or(stem).to_owned()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use neurotriage_domain::VoxelSpacing;
    use neurotriage_imaging::{Affine, nifti::write_mask_gz};

    use super::*;

    fn write(folder: &Path, name: &str, mask: &Mask) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, write_mask_gz(mask).unwrap()).unwrap();
        path
    }

    /// The label at each `[x, y, z]` of 16 x 12 x `D` voxels.
    fn mask<const D: usize>(affine: Affine, label: impl Fn([usize; 3]) -> u8) -> Mask {
        let mut voxels = vec![[[0; D]; 12]; 16];
        for (x, plane) in voxels.iter_mut().enumerate() {
            for (y, row) in plane.iter_mut().enumerate() {
                for (z, voxel) in row.iter_mut().enumerate() {
                    *voxel = label([x, y, z]);
                }
            }
        }
        Mask { voxels: voxels.into(), affine }
    }

    /// A cube of enhancing tumour, four voxels a side, from `start` along x.
    fn cube(start: usize) -> impl Fn([usize; 3]) -> u8 {
        move |[x, y, z]| {
            let inside = (start..start + 4).contains(&x) && (3..7).contains(&y) && z < 4;
            if inside { 4 } else { 0 }
        }
    }

    fn lps(origin_mm: [f64; 3]) -> Affine {
        Affine::lps(VoxelSpacing::from_mm([1.0, 1.0, 2.0]).unwrap(), origin_mm).unwrap()
    }

    #[test]
    fn two_files_score_as_their_masks_do_in_any_index_order() {
        let folder = tempfile::tempdir().unwrap();
        let truth = write(folder.path(), "truth.nii.gz", &mask::<10>(lps([0.0; 3]), cube(3)));
        let half = mask::<10>(lps([0.0; 3]), cube(5));
        // The same mask with x running to the right, from the other end.
        let mut rows = *half.affine.rows();
        rows[0] = [1.0, 0.0, 0.0, -15.0];
        let affine = Affine::from_rows(rows).unwrap();
        let mirrored = mask::<10>(affine, |[x, y, z]| cube(5)([15 - x, y, z]));
        for (name, mask) in [("a.nii.gz", &half), ("b.b.nii.gz", &mirrored)] {
            let evaluation = evaluate(&truth, &write(folder.path(), name, mask)).unwrap();
            let line = &evaluation.cases[0];
            assert_eq!(format!("{}.nii.gz", line.id), name);
            assert!((line.scores.dice.et - 0.5).abs() < 1e-9, "{name}");
            assert!((line.scores.hd95_mm.et - 2.0).abs() < 1e-6, "{name}");
            assert!((line.scores.volume_truth_ml.wt - 0.128).abs() < 1e-9, "{name}");
            assert!(line.tumour_in_truth && evaluation.model.is_none());
        }
    }

    #[test]
    fn masks_that_cannot_be_compared_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let truth = write(folder.path(), "truth.nii.gz", &mask::<10>(lps([0.0; 3]), cube(3)));
        let write = |name: &str, mask: &Mask| write(folder.path(), name, mask);
        let shifted = write("shifted.nii.gz", &mask::<10>(lps([9.0, 0.0, 0.0]), cube(3)));
        let smaller = write("smaller.nii.gz", &mask::<9>(lps([0.0; 3]), cube(3)));
        let mut odd = mask::<10>(lps([0.0; 3]), cube(3));
        odd.voxels[[1, 2, 3]] = 7;
        let odd = write("odd.nii.gz", &odd);
        let missing = folder.path().join("missing.nii.gz");
        let table = [
            (&shifted, vec!["different places", "affine"]),
            (&smaller, vec!["[16, 12, 10]", "[16, 12, 9]", "resample"]),
            (&odd, vec!["read prediction", "odd.nii.gz", "value 7 at [1, 2, 3]"]),
            (&missing, vec!["read prediction", "missing.nii.gz", "check that it exists"]),
        ];
        for (prediction, phrases) in table {
            let error = format!("{:#}", evaluate(&truth, prediction).err().unwrap());
            for phrase in phrases {
                assert!(error.contains(phrase), "{phrase:?} not in {error}");
            }
        }
    }
}
