//! From a normalised study to a mask.

use std::str::FromStr;

use ndarray::{Array3, Array4, ArrayView4, Axis, Zip};
use neurotriage_domain::{TumourClass, TumourRegion};
use serde::{Deserialize, Serialize};

use crate::{
    Architecture, Model, ModelCard, NetworkError, PostProcessing, Uncertainty,
    postprocess::repair,
    predict::{Predictor, Watch},
    uncertainty::{entropy_map, summary},
};

/// Probability above which a voxel belongs to a region.
const THRESHOLD: f32 = 0.5;

/// How a volume is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// The whole box at once, or windows of `otherwise` voxels if it is too large.
    WholeBox {
        /// Sides `[x, y, z]` of the windows of a box too large for one pass.
        otherwise: [usize; 3],
    },
    /// Windows of these sides `[x, y, z]`, raised to what the network can take.
    Sliding([usize; 3]),
}

/// Which mirror images are segmented too; probabilities are averaged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mirroring {
    /// None: one pass.
    #[default]
    Off,
    /// Left and right swapped: two passes.
    LeftRight,
    /// Every combination of the three axes: eight passes.
    All,
}

impl Mirroring {
    /// Returns the name that [`FromStr`] reads: `off`, `left-right` or `all`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::LeftRight => "left-right",
            Self::All => "all",
        }
    }
}

/// A text that names no [`Mirroring`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no mirroring; use off, left-right or all")]
pub struct UnknownMirroring(String);

impl FromStr for Mirroring {
    type Err = UnknownMirroring;

    fn from_str(text: &str) -> Result<Self, UnknownMirroring> {
        [Self::Off, Self::LeftRight, Self::All]
            .into_iter()
            .find(|mirroring| mirroring.as_str() == text)
            .ok_or_else(|| UnknownMirroring(text.to_owned()))
    }
}

/// How a study is segmented.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SegmentOptions {
    /// How the volume is cut.
    pub window: Window,
    /// Share of a window that the next one covers too, `[0, 0.9]`.
    pub overlap: f64,
    /// Mirror images.
    pub mirroring: Mirroring,
    /// Leaves out the air around the head, where every channel is 0.
    pub skip_air: bool,
    /// Repairs of the mask.
    pub post_processing: PostProcessing,
}

impl SegmentOptions {
    /// Returns the options that suit the model: the whole brain box at once, and for a residual
    /// network its left-right mirror image too.
    pub fn for_model(card: &ModelCard) -> Self {
        let original = card.network.architecture == Architecture::Seed;
        Self {
            window: Window::WholeBox { otherwise: card.window },
            overlap: 0.5,
            mirroring: if original { Mirroring::Off } else { Mirroring::LeftRight },
            skip_air: !original,
            post_processing: PostProcessing::default(),
        }
    }
}

/// A mask and what it rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Segmentation {
    /// Labels 0, 1, 2 or 4, `[x, y, z]`, grid of the image.
    pub labels: Array3<u8>,
    /// Probability of each region in the order of [`TumourRegion::ALL`], `[region, x, y, z]`;
    /// before post-processing.
    pub probabilities: Array4<f32>,
    /// Mean binary entropy of the three regions, in bits, `[x, y, z]`, `[0, 1]`.
    pub entropy_bits: Array3<f32>,
    /// Standard deviation of the probability of the whole tumour over mirror images and members of
    /// the model, `[x, y, z]`, `[0, 0.5]`; 0 if one member saw no mirror image.
    pub mirror_spread: Array3<f32>,
    /// How sure the network was.
    pub uncertainty: Uncertainty,
    /// Voxels that post-processing changed.
    pub repaired_voxels: usize,
}

/// Segments a normalised image.
///
/// `progress` is called after each pass with the passes done and all passes; `cancel` is asked
/// before each pass.
///
/// # Shapes
/// - `image`: `[channel, x, y, z]`, channels in the order of the model's card, any memory order
///
/// # Errors
/// [`NetworkError::Shape`] if channels or size don't fit; [`NetworkError::NotFinite`] if a voxel
/// is infinite or NaN; [`NetworkError::Cancelled`] if `cancel` said so; [`NetworkError::Torch`] if
/// libtorch fails, such as out of memory.
pub fn segment(
    model: &Model,
    image: ArrayView4<'_, f32>,
    options: &SegmentOptions,
    progress: &mut dyn FnMut(usize, usize),
    cancel: &dyn Fn() -> bool,
) -> Result<Segmentation, NetworkError> {
    let predictor =
        Predictor { network: &model.network, members: &model.members, device: model.device };
    let found = predictor.predict(image, options, &mut Watch { progress, cancel })?;
    let output = found.probabilities;
    let (mut labels, probabilities) = match model.network.config().architecture {
        Architecture::Seed => (classes_to_labels(output.view()), classes_to_regions(output.view())),
        Architecture::Residual => (regions_to_labels(output.view()), output),
    };
    let repaired_voxels = repair(&mut labels, probabilities.view(), &options.post_processing)?;
    let mut segmentation = Segmentation {
        labels,
        entropy_bits: entropy_map(probabilities.view()),
        probabilities,
        mirror_spread: found.mirror_spread,
        uncertainty: Uncertainty::default(),
        repaired_voxels,
    };
    segmentation.uncertainty = summary(&segmentation);
    Ok(segmentation)
}

/// Writes WT, then TC, then ET, each over the one before.
pub(crate) fn regions_to_labels(regions: ArrayView4<'_, f32>) -> Array3<u8> {
    let (_, x, y, z) = regions.dim();
    let mut labels = Array3::<u8>::zeros((x, y, z));
    let classes = [TumourClass::Oedema, TumourClass::NecroticCore, TumourClass::Enhancing];
    for (region, class) in regions.axis_iter(Axis(0)).zip(classes) {
        Zip::from(&mut labels).and(region).for_each(|label, &probability| {
            if probability > THRESHOLD {
                *label = class.label();
            }
        });
    }
    labels
}

/// Returns the label of the most probable of background, necrotic core, oedema, enhancing; the
/// first of equals.
pub(crate) fn classes_to_labels(classes: ArrayView4<'_, f32>) -> Array3<u8> {
    let (_, x, y, z) = classes.dim();
    let mut labels = Array3::<u8>::zeros((x, y, z));
    let mut best = classes.index_axis(Axis(0), 0).to_owned();
    for (channel, class) in classes.axis_iter(Axis(0)).skip(1).zip(TumourClass::ALL) {
        Zip::from(&mut labels).and(&mut best).and(channel).for_each(|label, best, &probability| {
            if probability > *best {
                *best = probability;
                *label = class.label();
            }
        });
    }
    labels
}

/// Returns `[wt, tc, et]` from `[background, necrotic core, oedema, enhancing]`.
fn classes_to_regions(classes: ArrayView4<'_, f32>) -> Array4<f32> {
    let (_, x, y, z) = classes.dim();
    let mut regions = Array4::<f32>::zeros((TumourRegion::ALL.len(), x, y, z));
    for (channel, class) in classes.axis_iter(Axis(0)).skip(1).zip(TumourClass::ALL) {
        for (mut target, region) in regions.axis_iter_mut(Axis(0)).zip(TumourRegion::ALL) {
            if region.contains(class.label()) {
                target += &channel;
            }
        }
    }
    regions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_written_whole_then_core_then_enhancing() {
        // (what, [wt, tc, et], label)
        let table = [
            ("nothing", [0.5, 0.5, 0.5], 0),
            ("whole tumour alone is oedema", [0.51, 0.5, 0.2], 2),
            ("core over oedema", [0.9, 0.51, 0.5], 1),
            ("enhancing over core", [0.9, 0.8, 0.51], 4),
            ("core without whole tumour counts", [0.1, 0.6, 0.2], 1),
            ("enhancing alone counts", [0.1, 0.2, 0.9], 4),
            ("enhancing over oedema", [0.9, 0.1, 0.6], 4),
        ];
        for (what, regions, label) in table {
            let regions = Array4::from_shape_fn((3, 1, 1, 1), |(region, ..)| regions[region]);
            assert_eq!(regions_to_labels(regions.view())[[0, 0, 0]], label, "{what}");
        }
    }

    #[test]
    fn mirroring_reads_and_writes_its_names() {
        for mirroring in [Mirroring::Off, Mirroring::LeftRight, Mirroring::All] {
            assert_eq!(mirroring.as_str().parse(), Ok(mirroring));
        }
        assert_eq!("left-right".parse(), Ok(Mirroring::LeftRight));
        let error = "both".parse::<Mirroring>().unwrap_err().to_string();
        assert_eq!(error, "`both` is no mirroring; use off, left-right or all");
    }
}
