//! Samples as the original system learned from them: whole crops of real cases, unchanged.
//!
//! [`OriginalCase`] prepares a case as the original did, [`OriginalCase::is_kept`] is its rule for
//! leaving cases out, [`original_split`] its division into training and validation, and
//! [`OriginalSource`] hands out the cases epoch by epoch. For comparison with the original and
//! nothing else: [`crate::MixSource`] is what the project's own models learn from.

mod mersenne;
mod split;

use std::path::Path;

use ndarray::{Array3, Array4, Axis};
use neurotriage_domain::Modality;
use neurotriage_imaging::{
    CaseFiles, Study,
    seed::{SEED_CHANNELS, seed_labels, seed_volume},
};
use rand::{SeedableRng, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;

pub use self::split::original_split;
use crate::{DatasetError, Sample, SampleSource};

/// Name of the preparation, with its version, as model cards say it.
pub const ORIGINAL_PROFILE: &str = "seed/1";

/// A case is kept if more than this share of its crop, strictly, is not background: about 21 ml of
/// tumour.
pub const TUMOUR_SHARE_MIN: f64 = 0.01;

/// A case as the original prepared it: 27 MB.
///
/// FLAIR, T1ce and T2, each axial slice scaled to `[0, 1]` with its air, then cropped to 128 voxels
/// a side; labels 0, 1, 2 and 3, which is the enhancing tumour.
#[derive(Clone, Debug)]
pub struct OriginalCase {
    id: String,
    /// Channels as in [`SEED_CHANNELS`].
    channels: Array4<f32>,
    labels: Array3<u8>,
    tumour_share: f64,
}

impl OriginalCase {
    /// Reads a folder in BraTS layout: four sequences and the expert's mask.
    ///
    /// # Errors
    /// [`DatasetError::Case`] if the files do not read, do not belong together, or are not on the
    /// grid of BraTS; [`DatasetError::NoTruth`].
    pub fn load(dir: &Path) -> Result<Self, DatasetError> {
        let files = CaseFiles::find(dir)?;
        let study = files.read_study()?;
        let truth =
            files.read_truth()?.ok_or_else(|| DatasetError::NoTruth { id: files.id.clone() })?;
        let truth = study.align_mask(truth, &format!("{}_seg", files.id))?;
        Self::from_study(&files.id, &study, &truth.voxels)
    }

    /// Prepares a study and its mask.
    ///
    /// # Shapes
    /// - `truth`: `[x, y, z]` of the study, 240 x 240 x 155, labels 0, 1, 2 and 4
    ///
    /// # Errors
    /// [`DatasetError::Case`] unless both are on the grid of BraTS.
    pub fn from_study(id: &str, study: &Study, truth: &Array3<u8>) -> Result<Self, DatasetError> {
        let channels = seed_volume(study)?;
        let labels = seed_labels(truth)?;
        let background = labels.iter().filter(|&&label| label == 0).count();
        let tumour_share = 1.0 - background as f64 / labels.len() as f64;
        Ok(Self { id: id.to_owned(), channels, labels, tumour_share })
    }

    /// Returns the name of the case.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the share of the crop's voxels that are tumour, 0 to 1.
    pub fn tumour_share(&self) -> f64 {
        self.tumour_share
    }

    /// Returns whether the original kept the case: [`OriginalCase::tumour_share`] above
    /// [`TUMOUR_SHARE_MIN`], strictly.
    pub fn is_kept(&self) -> bool {
        self.tumour_share > TUMOUR_SHARE_MIN
    }

    /// Returns the image with all four channels, T1 all 0, and the labels.
    ///
    /// # Shapes
    /// - image: `[channel, x, y, z]` = `[4, 128, 128, 128]`, channels in the order of
    ///   [`Modality::ALL`]
    /// - labels: `[x, y, z]` = `[128, 128, 128]`, 0, 1, 2 and 3
    pub fn arrays(&self) -> (Array4<f32>, Array3<u8>) {
        let (_, width, depth, height) = self.channels.dim();
        let mut image = Array4::zeros((Modality::ALL.len(), width, depth, height));
        for (channel, modality) in self.channels.outer_iter().zip(SEED_CHANNELS) {
            image.index_axis_mut(Axis(0), modality.channel()).assign(&channel);
        }
        (image, self.labels.clone())
    }
}

/// Hands out whole cases, unchanged, each once an epoch.
///
/// Sample `index` belongs to epoch `index / n` of `n` cases; each epoch has an order of its own,
/// which follows from the seed and the epoch alone. A batch may span two epochs, where the original
/// had a shorter last batch.
#[derive(Clone, Debug)]
pub struct OriginalSource {
    cases: Vec<OriginalCase>,
    seed: u64,
}

impl OriginalSource {
    /// Returns the source that hands out these cases; whether they should be kept was the caller's
    /// question.
    ///
    /// # Errors
    /// [`DatasetError::Empty`] without a case.
    pub fn new(cases: Vec<OriginalCase>, seed: u64) -> Result<Self, DatasetError> {
        if cases.is_empty() {
            return Err(DatasetError::Empty);
        }
        Ok(Self { cases, seed })
    }

    /// Returns the cases, in the order given.
    pub fn cases(&self) -> &[OriginalCase] {
        &self.cases
    }

    /// Returns the steps of `epochs` epochs in batches of `batch`; the last batch counts as whole.
    pub fn steps(&self, epochs: u64, batch: u64) -> u64 {
        (self.cases.len() as u64 * epochs).div_ceil(batch.max(1))
    }

    /// Returns the case that sample `index` is.
    fn case(&self, index: u64) -> Option<&OriginalCase> {
        let count = self.cases.len() as u64;
        let (epoch, place) = (index.checked_div(count)?, index.checked_rem(count)?);
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(epoch);
        let mut order: Vec<usize> = (0..self.cases.len()).collect();
        order.shuffle(&mut rng);
        self.cases.get(*order.get(usize::try_from(place).ok()?)?)
    }
}

impl SampleSource for OriginalSource {
    fn sample(&self, index: u64) -> Result<Sample, DatasetError> {
        let (image, labels) = self.case(index).ok_or(DatasetError::Empty)?.arrays();
        Ok(Sample { image, labels, origin: "original" })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use neurotriage_imaging::{Affine, CropBox, NamedImage, SEED_CROP, Volume};

    use super::*;

    /// A study on the grid of BraTS whose every sequence is a ramp of its own.
    fn study() -> Study {
        let image = |channel: usize| NamedImage {
            name: format!("channel {channel}"),
            image: Volume {
                voxels: Array3::from_shape_fn([240, 240, 155], |place| match channel {
                    0 => place.0 as f32,
                    1 => -1.0 - place.2 as f32,
                    2 => place.1 as f32,
                    _ => (place.0 + place.1) as f32,
                }),
                affine: Affine::brats(),
            },
        };
        Study::from_images([0, 1, 2, 3].map(image)).unwrap()
    }

    /// Labels with `voxels` of class `label` in the crop, and 1000 outside of it.
    fn truth(voxels: usize, label: u8) -> Array3<u8> {
        let CropBox { start, .. } = SEED_CROP;
        let mut labels = Array3::zeros([240, 240, 155]);
        for place in 0..voxels {
            let [x, y, z] = [place % 128, place / 128 % 128, place / 16384];
            labels[[start[0] + x, start[1] + y, start[2] + z]] = label;
        }
        for place in 0..1000 {
            labels[[place % 50, place / 50, 3]] = label;
        }
        labels
    }

    /// A case of 2 x 2 x 2 voxels that are all `value`.
    fn tiny(id: &str, value: f32) -> OriginalCase {
        OriginalCase {
            id: id.to_owned(),
            channels: Array4::from_elem((3, 2, 2, 2), value),
            labels: Array3::zeros((2, 2, 2)),
            tumour_share: 0.5,
        }
    }

    fn source(count: usize, seed: u64) -> OriginalSource {
        let cases = (0..count).map(|case| tiny(&format!("case {case}"), case as f32));
        OriginalSource::new(cases.collect(), seed).unwrap()
    }

    #[test]
    fn only_tumours_above_a_hundredth_of_the_crop_are_kept() {
        let study = study();
        // A hundredth of 128^3 is 20,971.52 voxels; what lies outside the crop does not count.
        for (voxels, label, kept) in
            [(0, 2, false), (20_971, 1, false), (20_972, 1, true), (20_972, 4, true)]
        {
            let case = OriginalCase::from_study("a", &study, &truth(voxels, label)).unwrap();
            assert_eq!(case.is_kept(), kept, "{voxels} voxels");
            assert!((case.tumour_share() * 2_097_152.0 - voxels as f64).abs() < 1e-6);
        }
    }

    #[test]
    fn the_rule_is_strict_at_a_hundredth() {
        let at = |tumour_share| OriginalCase { tumour_share, ..tiny("a", 0.0) }.is_kept();
        assert!(!at(0.01) && at(0.010_000_001));
    }

    #[test]
    fn channels_keep_their_places_and_t1_is_empty() {
        let case = OriginalCase::from_study("a", &study(), &truth(30_000, 4)).unwrap();
        let (image, labels) = case.arrays();
        assert_eq!(image.dim(), (4, 128, 128, 128));
        assert!(image.is_standard_layout() && labels.is_standard_layout());
        let at = [5, 70, 90];
        let ramp = |index: usize| (index + 56) as f32 / 239.0;
        let expected = [ramp(at[0]), 0.0, ramp(at[1]), (ramp(at[0]) + ramp(at[1])) / 2.0];
        for (channel, expected) in expected.into_iter().enumerate() {
            let got = image[[channel, at[0], at[1], at[2]]];
            assert!((got - expected).abs() < 1e-5, "channel {channel}: {got} {expected}");
        }
        assert_eq!(labels.iter().filter(|&&label| label == 3).count(), 30_000);
        assert!(labels.iter().all(|label| matches!(label, 0 | 3)), "4 became 3");
    }

    #[test]
    fn every_case_comes_once_an_epoch_and_epochs_differ() {
        let source = source(7, 42);
        let drawn = |index| source.sample(index).unwrap().image[[0, 0, 0, 0]];
        let epochs: Vec<Vec<u32>> = (0..4)
            .map(|epoch| (0..7).map(|place| drawn(epoch * 7 + place) as u32).collect())
            .collect();
        for epoch in &epochs {
            assert_eq!(epoch.iter().copied().collect::<BTreeSet<_>>().len(), 7, "{epoch:?}");
        }
        assert_eq!(epochs.iter().collect::<BTreeSet<_>>().len(), 4, "{epochs:?}");
    }

    #[test]
    fn a_sample_follows_from_seed_and_index_alone() {
        let order = |seed: u64, indices: &[u64]| -> Vec<f32> {
            let source = source(9, seed);
            indices.iter().map(|&at| source.sample(at).unwrap().image[[0, 0, 0, 0]]).collect()
        };
        let forwards = order(5, &[0, 1, 2, 30, 31, 1000]);
        let backwards = order(5, &[1000, 31, 30, 2, 1, 0]);
        assert!(forwards.iter().eq(backwards.iter().rev()));
        let first: Vec<u64> = (0..9).collect();
        assert_ne!(order(5, &first), order(6, &first));
    }

    #[test]
    fn a_hundred_epochs_are_counted_in_steps() {
        assert_eq!(source(6, 1).steps(100, 2), 300);
        assert_eq!(source(5, 1).steps(1, 2), 3);
        assert!(matches!(OriginalSource::new(Vec::new(), 1), Err(DatasetError::Empty)));
    }

    #[test]
    fn other_grids_and_folders_without_a_mask_are_refused() {
        let small = Array3::zeros([240, 240, 154]);
        let refused = OriginalCase::from_study("a", &study(), &small);
        assert!(matches!(refused, Err(DatasetError::Case(_))));
        let missing = OriginalCase::load(Path::new("no such folder"));
        assert!(matches!(missing, Err(DatasetError::Case(_))));
    }

    #[test]
    fn real_cases_are_prepared_and_judged_by_their_tumour() {
        let Some(root) = std::env::var_os("NEUROTRIAGE_CASES") else {
            eprintln!("skipped: set NEUROTRIAGE_CASES");
            return;
        };
        let files = CaseFiles::find_all(Path::new(&root)).unwrap();
        let case = OriginalCase::load(files[0].images[0].parent().unwrap()).unwrap();
        let (image, labels) = case.arrays();
        let tumour = labels.iter().filter(|&&label| label > 0).count();
        assert_eq!(case.is_kept(), tumour >= 20_972, "{}", case.id());
        assert!(image.iter().all(|value| (0.0..=1.0).contains(value)));
        assert!(image.index_axis(Axis(0), 1).iter().all(|&value| value == 0.0));
        assert!(labels.iter().all(|&label| label < 4));
    }
}
