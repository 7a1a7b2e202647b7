//! What is known of a study beside the network's answer.

use ndarray::{ArrayView3, ArrayView4, Axis, Zip};
use neurotriage_domain::Modality;
use neurotriage_imaging::prepare::Prepared;

use super::{Doubt, MARKED_SHARE_MAX};

/// Least and largest volume of a whole brain, in millilitres: adults have 1,000 to 1,700, and a
/// mask of the brain adds or leaves out fluid.
pub const BRAIN_ML: [f64; 2] = [700.0, 2_200.0];

/// Coarsest voxel edge, in millimetres, that a study may have: thicker slices are smoothed beyond
/// what the model has learnt from.
pub const EDGE_MM_MAX: f64 = 2.5;

/// Correlation from which two sequences are one. Real studies have at most 0.75, phantoms 0.91.
pub const ALIKE_CORRELATION_MIN: f64 = 0.98;

/// Least difference between the skewness of T2 and of T1 inside the brain. Fluid is bright in T2 and
/// dark in T1, which draws the one to the right and the other to the left: real studies differ by
/// 1.9 to 3.0, phantoms by 1.1 to 2.5; noise differs by nothing.
pub const SKEWNESS_GAP_MIN: f64 = 0.5;

/// Centre of the brain in the template's space, RAS+ millimetres: the middle of six real studies,
/// which lie within `[4, 7, 10]` mm of it.
pub const BRAIN_CENTRE_MM: [f64; 3] = [-119.0, 109.0, 73.0];

/// How far the centre may lie from there along each axis, in millimetres. Left and right are known
/// best; how much of the neck and of the lowest slices is there differs.
pub const BRAIN_CENTRE_TOLERANCE_MM: [f64; 3] = [10.0, 18.0, 20.0];

/// What is known of a study beside the network's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct StudyCondition {
    /// Sequences that are missing or hold nothing.
    pub missing: Vec<Modality>,
    /// Two sequences that are the same image.
    pub alike: Option<[Modality; 2]>,
    /// Skewness of T2 less that of T1 inside the brain; nothing if one of them is missing.
    pub skewness_gap: Option<f64>,
    /// Whether the images lie in the space of the training data.
    pub space: StudySpace,
    /// Centre of what is not air, RAS+ millimetres.
    pub brain_centre_mm: [f64; 3],
    /// Volume of what is not air.
    pub brain_ml: f64,
    /// Coarsest voxel edge of the files.
    pub edge_mm_max: f64,
}

/// Whether images lie in the space of the training data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StudySpace {
    /// They do.
    Template,
    /// They do not, or it is not known.
    Foreign,
}

impl StudyCondition {
    /// Returns the condition of a prepared study; its space is for the localiser to say.
    pub fn of(prepared: &Prepared, space: StudySpace) -> Self {
        let channels = prepared.channels().view();
        let affine = prepared.grid().affine;
        let (voxels, centre) = centre(channels);
        let start = prepared.crop().start;
        let place = [0, 1, 2].map(|axis: usize| start[axis] as f64 + centre[axis]);
        let edges_mm = prepared.source().affine.spacing().as_mm();
        Self {
            missing: missing(channels),
            alike: alike(channels),
            skewness_gap: skewness_gap(channels),
            space,
            brain_centre_mm: affine.apply(place),
            brain_ml: voxels as f64 * affine.spacing().voxel_volume_mm3() / 1_000.0,
            edge_mm_max: edges_mm.into_iter().fold(0.0, f64::max),
        }
    }

    /// Returns the condition of an image without a grid, such as a sample: voxels of 1 mm, and where
    /// the template has its brain.
    ///
    /// # Shapes
    /// - `channels`: `[channel, x, y, z]` in the order of [`Modality::ALL`]
    pub fn of_channels(channels: ArrayView4<'_, f32>) -> Self {
        Self {
            missing: missing(channels),
            alike: alike(channels),
            skewness_gap: skewness_gap(channels),
            space: StudySpace::Template,
            brain_centre_mm: BRAIN_CENTRE_MM,
            brain_ml: centre(channels).0 as f64 / 1_000.0,
            edge_mm_max: 1.0,
        }
    }

    /// Returns every reason to doubt whatever is said of the study.
    pub(super) fn doubts(&self, marked_ml: f64) -> Vec<Doubt> {
        let mut doubts: Vec<Doubt> =
            self.missing.iter().copied().map(Doubt::SequenceMissing).collect();
        if let Some([first, second]) = self.alike {
            doubts.push(Doubt::SequencesAlike(first, second));
        }
        if self.skewness_gap.is_some_and(|gap| gap < SKEWNESS_GAP_MIN) {
            doubts.push(Doubt::SequencesMixedUp);
        }
        match self.space {
            StudySpace::Foreign => doubts.push(Doubt::ForeignSpace),
            StudySpace::Template => doubts.extend(self.off_centre()),
        }
        if self.edge_mm_max > EDGE_MM_MAX {
            doubts.push(Doubt::CoarseVoxels { edge_mm: self.edge_mm_max });
        }
        let [brain_ml_min, brain_ml_max] = BRAIN_ML;
        if !(brain_ml_min..=brain_ml_max).contains(&self.brain_ml) {
            doubts.push(Doubt::BrainVolume { brain_ml: self.brain_ml });
        }
        let share = if self.brain_ml > 0.0 { marked_ml / self.brain_ml } else { 0.0 };
        if share > MARKED_SHARE_MAX {
            doubts.push(Doubt::TooMuchMarked { share });
        }
        doubts
    }

    fn off_centre(&self) -> Option<Doubt> {
        let away = [0, 1, 2].map(|axis: usize| self.brain_centre_mm[axis] - BRAIN_CENTRE_MM[axis]);
        let far = away.iter().zip(BRAIN_CENTRE_TOLERANCE_MM).any(|(mm, most)| mm.abs() > most);
        let distance_mm = away.iter().map(|mm| mm * mm).sum::<f64>().sqrt();
        far.then_some(Doubt::BrainOffCentre { distance_mm })
    }
}

fn missing(channels: ArrayView4<'_, f32>) -> Vec<Modality> {
    let empty = |channel: ArrayView3<'_, f32>| channel.iter().all(|&value| value == 0.0);
    let found = Modality::ALL.into_iter().zip(channels.outer_iter());
    found.filter(|(_, channel)| empty(*channel)).map(|(modality, _)| modality).collect()
}

/// Returns the number of voxels that are not air, and their mean place.
fn centre(channels: ArrayView4<'_, f32>) -> (usize, [f64; 3]) {
    let (_, width, depth, height) = channels.dim();
    let (mut voxels, mut sum) = (0_usize, [0.0; 3]);
    for x in 0..width {
        let plane = channels.index_axis(Axis(1), x);
        for y in 0..depth {
            let row = plane.index_axis(Axis(1), y);
            for z in 0..height {
                if row.index_axis(Axis(1), z).iter().any(|&value| value != 0.0) {
                    voxels += 1;
                    for (sum, at) in sum.iter_mut().zip([x, y, z]) {
                        *sum += at as f64;
                    }
                }
            }
        }
    }
    (voxels, sum.map(|sum| sum / voxels.max(1) as f64))
}

/// Sums over the voxels that are not air in one sequence or in either of two.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    count: f64,
    sums: [f64; 2],
    squares: [f64; 2],
    product: f64,
}

/// Returns the first two sequences whose correlation is that of one image with itself.
fn alike(channels: ArrayView4<'_, f32>) -> Option<[Modality; 2]> {
    let count = channels.len_of(Axis(0));
    for first in 0..count {
        for second in first + 1..count {
            let (a, b) =
                (channels.index_axis(Axis(0), first), channels.index_axis(Axis(0), second));
            if correlation(a, b).is_some_and(|r| r >= ALIKE_CORRELATION_MIN) {
                return Some([*Modality::ALL.get(first)?, *Modality::ALL.get(second)?]);
            }
        }
    }
    None
}

/// Returns Pearson's correlation where either is not air; nothing if one of them is constant there.
fn correlation(a: ArrayView3<'_, f32>, b: ArrayView3<'_, f32>) -> Option<f64> {
    let mut moments = Moments::default();
    Zip::from(a).and(b).for_each(|&a, &b| {
        if a != 0.0 || b != 0.0 {
            let values = [f64::from(a), f64::from(b)];
            moments.count += 1.0;
            for (at, value) in values.into_iter().enumerate() {
                moments.sums[at] += value;
                moments.squares[at] += value * value;
            }
            moments.product += values[0] * values[1];
        }
    });
    let Moments { count, sums, squares, product } = moments;
    let variance = [0, 1].map(|at: usize| squares[at] - sums[at] * sums[at] / count);
    let scale = (variance[0] * variance[1]).sqrt();
    (count > 0.0 && scale > 0.0).then(|| (product - sums[0] * sums[1] / count) / scale)
}

fn skewness_gap(channels: ArrayView4<'_, f32>) -> Option<f64> {
    let skewness = |modality: Modality| -> Option<f64> {
        let index = modality.channel();
        (index < channels.len_of(Axis(0)))
            .then(|| channels.index_axis(Axis(0), index))
            .and_then(|channel| skewness(channel))
    };
    Some(skewness(Modality::T2)? - skewness(Modality::T1)?)
}

/// Returns the third standardised moment of what is not air; nothing if it is constant.
fn skewness(channel: ArrayView3<'_, f32>) -> Option<f64> {
    let brain = || channel.iter().filter(|&&value| value != 0.0).map(|&value| f64::from(value));
    let (count, sum) = brain().fold((0.0, 0.0), |(count, sum), value| (count + 1.0, sum + value));
    let mean = sum / count;
    let (squares, cubes) = brain().fold((0.0, 0.0), |(squares, cubes), value| {
        let away = value - mean;
        (squares + away * away, cubes + away * away * away)
    });
    let variance = squares / count;
    (count > 0.0 && variance > 0.0).then(|| cubes / count / variance.powf(1.5))
}

#[cfg(test)]
mod tests {
    use ndarray::{Array3, Array4};
    use neurotriage_imaging::{Affine, Image, NamedImage, Study, prepare};

    use super::*;

    /// A ball of 20 voxels about the middle of a grid of 60; fluid in its middle.
    fn study(values: [[f32; 2]; 4]) -> Study {
        let images = Modality::ALL.map(|modality| {
            let [tissue, fluid] = values[modality.channel()];
            let voxels = Array3::from_shape_fn((60, 60, 60), |(x, y, z)| {
                let squared: f64 = [x, y, z].iter().map(|&at| (at as f64 - 30.0).powi(2)).sum();
                // Texture that differs by sequence.
                let wave = ((x * 7 + y * 3 + z * (5 + 2 * modality.channel())) % 11) as f32;
                if squared > 400.0 {
                    0.0
                } else if squared < 64.0 {
                    fluid + wave
                } else {
                    tissue + wave
                }
            });
            NamedImage {
                name: modality.to_string(),
                image: Image { voxels, affine: Affine::brats() },
            }
        });
        Study::from_images(images).unwrap()
    }

    const USUAL: [[f32; 2]; 4] = [[100.0, 90.0], [100.0, 40.0], [100.0, 50.0], [100.0, 200.0]];

    #[test]
    fn a_study_is_measured() {
        let prepared = prepare(&study(USUAL)).unwrap();
        let found = StudyCondition::of(&prepared, StudySpace::Template);
        assert_eq!((found.missing.as_slice(), found.alike), (&[][..], None));
        let ball_ml = 4.0 / 3.0 * std::f64::consts::PI * 8.0;
        assert!((found.brain_ml / ball_ml - 1.0).abs() < 0.02, "{}", found.brain_ml);
        // The middle voxel (30, 30, 30) lies at RAS+ (-30, 209, 30).
        for (found_mm, expected_mm) in found.brain_centre_mm.iter().zip([-30.0, 209.0, 30.0]) {
            assert!((found_mm - expected_mm).abs() < 1e-6, "{:?}", found.brain_centre_mm);
        }
        assert!((found.edge_mm_max - 1.0).abs() < 1e-9);
        assert!(found.skewness_gap.unwrap() > 1.0);
    }

    #[test]
    fn mixed_up_and_repeated_sequences_are_noticed() {
        let [flair, t1, t1ce, t2] = USUAL;
        let of =
            |values| StudyCondition::of(&prepare(&study(values)).unwrap(), StudySpace::Foreign);
        let swapped = of([flair, t2, t1ce, t1]);
        assert!(swapped.skewness_gap.unwrap() < SKEWNESS_GAP_MIN);
        assert!(swapped.doubts(0.0).contains(&Doubt::SequencesMixedUp));
        let usual = of([flair, t1, t1ce, t2]);
        assert!(!usual.doubts(0.0).contains(&Doubt::SequencesMixedUp));
        // One image twice, the second scaled: only the correlation tells.
        let one = prepare(&study(USUAL)).unwrap().channels().clone();
        let first = one.slice_axis(Axis(0), (0..1).into()).mapv(|value| 1.1 * value);
        let others = one.slice_axis(Axis(0), (0..3).into());
        let twice = ndarray::concatenate(Axis(0), &[others, first.view()]).unwrap();
        assert_eq!(alike(twice.view()), Some([Modality::Flair, Modality::T2]));
    }

    #[test]
    fn what_is_not_there_has_no_statistics() {
        let empty = Array4::<f32>::zeros((4, 3, 3, 3));
        assert_eq!(missing(empty.view()), Modality::ALL);
        assert_eq!((alike(empty.view()), skewness_gap(empty.view())), (None, None));
        assert_eq!(centre(empty.view()), (0, [0.0; 3]));
    }

    #[test]
    fn skewness_is_the_third_standardised_moment() {
        // Three ones and a five: mean 2, variance 3, third moment (3 * -1 + 27) / 4 = 6.
        let values = Array3::from_shape_vec((1, 1, 5), vec![1.0, 1.0, 5.0, 1.0, 0.0]).unwrap();
        let expected = 6.0 / 3.0_f64.powf(1.5);
        assert!((skewness(values.view()).unwrap() - expected).abs() < 1e-6);
    }
}
