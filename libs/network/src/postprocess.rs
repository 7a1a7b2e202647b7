//! Repairs of a mask that hold for every glioma.
//!
//! A false piece of one voxel costs a lesion-wise score as much as a missed lesion, so pieces that
//! are tiny, or of which the network was not sure anywhere, go back to what surrounds them. Where
//! tumour enhances, core lies in it or near it. What a core encloses is core. Pure: labels and
//! probabilities in, labels out.

use ndarray::{Array3, ArrayView3, ArrayView4, Axis, Zip};
use neurotriage_domain::{TumourClass, TumourRegion, VoxelSpacing};
use neurotriage_imaging::{
    CropBox,
    components::{Connectivity, label_components},
    holes::enclosed,
};
use neurotriage_metrics::distance::squared_distance_mm2;
use serde::{Deserialize, Serialize};

use crate::NetworkError;

/// What is repaired. [`PostProcessing::NONE`]: nothing.
///
/// Pieces are joined by faces, edges or corners; a region is the whole tumour, the core (necrotic
/// and enhancing) or the enhancing tumour; probabilities are those of the region.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PostProcessing {
    /// Pieces of tumour with fewer voxels are removed. 100: a tenth of a millilitre, below which
    /// no lesion is listed.
    pub component_voxels_min: usize,
    /// Pieces of tumour whose highest probability is lower are removed, `[0, 1]`.
    pub component_peak_min: f32,
    /// Voxels that the core encloses in at least so many of the three planes through them become
    /// necrotic core; 0: none. 2: oedema does not lie inside a ring of core. In 122 masks by experts
    /// (every third of BraTS 2020, at half resolution) that changes the core by a Dice of .995 at
    /// least, and fluid and bleeding inside a rim are often taken for oedema by the network.
    pub core_enclosing_planes: u8,
    /// Necrotic core farther from enhancing tumour than so many voxels becomes oedema, unless the core
    /// that is left encloses it; 0: none. 3: in 366 masks by experts (BraTS 2020) the rule, with the
    /// two below, keeps the core at a mean Dice of .979, and below .8 in nine of them; the network
    /// takes dark oedema around enhancing tumour for core far more often than that.
    pub core_reach_voxels: f32,
    /// Fewest voxels of enhancing tumour for which `core_reach_voxels` holds. 1000: one millilitre.
    pub core_reach_enhancing_voxels_min: usize,
    /// Smallest share of the core that enhances, `[0, 1]`, for which `core_reach_voxels` holds. .1: in
    /// those masks it is below .05 (as in tumours of low grade, most of whose core does not enhance) or
    /// above .3 in all but 22.
    pub core_reach_enhancing_share_min: f64,
    /// Pieces of core with fewer voxels become oedema. 50: the size below which BraTS 2023 counts no
    /// lesion; on six real cases it took out false pieces and no Dice.
    pub core_voxels_min: usize,
    /// Pieces of core whose highest probability is lower become oedema, `[0, 1]`.
    pub core_peak_min: f32,
    /// Pieces of core whose mean probability is lower become oedema, `[0, 1]`.
    pub core_mean_min: f32,
    /// Pieces of enhancing tumour with fewer voxels become necrotic core. 30: below the size that
    /// counts, and enhancing rims are thin.
    pub enhancing_component_voxels_min: usize,
    /// Pieces of enhancing tumour whose highest probability is lower become necrotic core, `[0, 1]`.
    pub enhancing_peak_min: f32,
    /// Pieces of enhancing tumour whose mean probability is lower become necrotic core, `[0, 1]`.
    pub enhancing_mean_min: f32,
    /// Enhancing tumour of fewer voxels in all becomes necrotic core. 200: what the winner of
    /// BraTS 2020 used.
    pub enhancing_voxels_min: usize,
}

impl PostProcessing {
    /// Repairs nothing.
    pub const NONE: Self = Self {
        component_voxels_min: 0,
        component_peak_min: 0.0,
        core_enclosing_planes: 0,
        core_reach_voxels: 0.0,
        core_reach_enhancing_voxels_min: 0,
        core_reach_enhancing_share_min: 0.0,
        core_voxels_min: 0,
        core_peak_min: 0.0,
        core_mean_min: 0.0,
        enhancing_component_voxels_min: 0,
        enhancing_peak_min: 0.0,
        enhancing_mean_min: 0.0,
        enhancing_voxels_min: 0,
    };
}

impl Default for PostProcessing {
    fn default() -> Self {
        Self {
            component_voxels_min: 100,
            core_enclosing_planes: 2,
            core_reach_voxels: 3.0,
            core_reach_enhancing_voxels_min: 1_000,
            core_reach_enhancing_share_min: 0.1,
            core_voxels_min: 50,
            enhancing_component_voxels_min: 30,
            enhancing_voxels_min: 200,
            ..Self::NONE
        }
    }
}

/// What a piece of a region needs, to stay.
#[derive(Clone, Copy, Debug)]
struct Rule {
    voxels_min: usize,
    peak_min: f32,
    mean_min: f32,
}

impl Rule {
    /// Returns true if no piece can break the rule.
    fn is_idle(self) -> bool {
        self.voxels_min <= 1 && self.peak_min <= 0.0 && self.mean_min <= 0.0
    }

    fn keeps(self, voxels: usize, tally: Tally) -> bool {
        voxels >= self.voxels_min
            && tally.peak >= self.peak_min
            && tally.sum / voxels as f64 >= f64::from(self.mean_min)
    }
}

/// Probabilities of one piece.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    peak: f32,
    sum: f64,
}

/// Repairs the mask in place and returns the number of voxels changed.
///
/// In this order: pieces of tumour, pieces of enhancing tumour, all enhancing tumour, core far from
/// it, pieces of core, what the core encloses. What a rule takes out returns to the class around it:
/// tumour to background, enhancing tumour to necrotic core, core to oedema.
///
/// # Shapes
/// - `labels`: `[x, y, z]`, 0, 1, 2 or 4
/// - `probabilities`: `[region, x, y, z]` in the order of [`TumourRegion::ALL`]
///
/// # Errors
/// [`NetworkError::Shape`] if the two don't belong together.
pub fn repair(
    labels: &mut Array3<u8>,
    probabilities: ArrayView4<'_, f32>,
    settings: &PostProcessing,
) -> Result<usize, NetworkError> {
    let (x, y, z) = labels.dim();
    if probabilities.dim() != (TumourRegion::ALL.len(), x, y, z) {
        return Err(NetworkError::Shape {
            name: "probabilities",
            expected: format!("[{}, {x}, {y}, {z}]", TumourRegion::ALL.len()),
            got: probabilities.shape().iter().map(|&side| side as i64).collect(),
        });
    }
    let [whole, core, enhancing] =
        [0, 1, 2].map(|region| probabilities.index_axis(Axis(0), region));
    let necrotic_label = TumourClass::NecroticCore.label();
    let mut changed = remove(
        labels,
        whole,
        Removal { region: TumourRegion::Whole, becomes: 0, rule: settings.whole_rule() },
    );
    changed += remove(
        labels,
        enhancing,
        Removal {
            region: TumourRegion::Enhancing,
            becomes: necrotic_label,
            rule: settings.enhancing_rule(),
        },
    );
    let is_enhancing = |label: u8| TumourRegion::Enhancing.contains(label);
    let count = labels.iter().filter(|&&label| is_enhancing(label)).count();
    if count < settings.enhancing_voxels_min {
        for label in labels.iter_mut().filter(|label| is_enhancing(**label)) {
            *label = necrotic_label;
            changed += 1;
        }
    }
    changed += draw_in_core(labels, settings);
    changed += remove(
        labels,
        core,
        Removal {
            region: TumourRegion::Core,
            becomes: TumourClass::Oedema.label(),
            rule: settings.core_rule(),
        },
    );
    Ok(changed + fill_core(labels, settings.core_enclosing_planes))
}

/// Makes oedema of necrotic core that is far from enhancing tumour, and returns the number of voxels
/// changed.
fn draw_in_core(labels: &mut Array3<u8>, settings: &PostProcessing) -> usize {
    let reach = settings.core_reach_voxels;
    let is_core = |label: u8| TumourRegion::Core.contains(label);
    let Some(crop) = CropBox::around(labels, is_core).filter(|_| reach > 0.0) else { return 0 };
    let Some(inner) = crop.view(labels) else { return 0 };
    let enhancing = inner.mapv(|label| TumourRegion::Enhancing.contains(label));
    let enhancing_voxels = enhancing.iter().filter(|&&enhances| enhances).count();
    let core_voxels = inner.iter().filter(|&&label| is_core(label)).count();
    if enhancing_voxels < settings.core_reach_enhancing_voxels_min.max(1)
        || (enhancing_voxels as f64) < settings.core_reach_enhancing_share_min * core_voxels as f64
    {
        return 0;
    }
    let squared = squared_distance_mm2(enhancing.view(), VoxelSpacing::ONE_MM);
    let [dx, dy, dz] = crop.start;
    let mut changed = 0;
    for ((x, y, z), &squared) in squared.indexed_iter() {
        let label = &mut labels[[x + dx, y + dy, z + dz]];
        if *label == TumourClass::NecroticCore.label() && squared > reach.powi(2) {
            *label = TumourClass::Oedema.label();
            changed += 1;
        }
    }
    changed
}

/// Makes necrotic core of what the core encloses, and returns the number of voxels changed.
fn fill_core(labels: &mut Array3<u8>, planes_min: u8) -> usize {
    if planes_min == 0 {
        return 0;
    }
    let core = labels.mapv(|label| TumourRegion::Core.contains(label));
    let mut changed = 0;
    Zip::from(labels).and(&enclosed(&core, planes_min)).for_each(|label, &enclosed| {
        if enclosed {
            *label = TumourClass::NecroticCore.label();
            changed += 1;
        }
    });
    changed
}

impl PostProcessing {
    fn whole_rule(&self) -> Rule {
        Rule {
            voxels_min: self.component_voxels_min,
            peak_min: self.component_peak_min,
            mean_min: 0.0,
        }
    }

    fn core_rule(&self) -> Rule {
        Rule {
            voxels_min: self.core_voxels_min,
            peak_min: self.core_peak_min,
            mean_min: self.core_mean_min,
        }
    }

    fn enhancing_rule(&self) -> Rule {
        Rule {
            voxels_min: self.enhancing_component_voxels_min,
            peak_min: self.enhancing_peak_min,
            mean_min: self.enhancing_mean_min,
        }
    }
}

/// Which pieces are taken out, and what becomes of them.
struct Removal {
    region: TumourRegion,
    becomes: u8,
    rule: Rule,
}

/// Takes out the pieces of a region that break its rule, and returns the number of voxels changed.
fn remove(labels: &mut Array3<u8>, probability: ArrayView3<'_, f32>, removal: Removal) -> usize {
    let Removal { region, becomes, rule } = removal;
    if rule.is_idle() {
        return 0;
    }
    let pieces = label_components(labels, |label| region.contains(label), Connectivity::Corners26);
    let mut tallies = vec![Tally::default(); pieces.sizes.len()];
    Zip::from(&pieces.labels).and(probability).for_each(|&piece, &probability| {
        if piece != 0 {
            let tally = &mut tallies[piece as usize - 1];
            tally.peak = tally.peak.max(probability);
            tally.sum += f64::from(probability);
        }
    });
    let goes: Vec<bool> = pieces
        .sizes
        .iter()
        .zip(tallies)
        .map(|(&voxels, tally)| !rule.keeps(voxels, tally))
        .collect();
    let mut changed = 0;
    Zip::from(labels).and(&pieces.labels).for_each(|label, &piece| {
        if piece != 0 && goes[piece as usize - 1] {
            *label = becomes;
            changed += 1;
        }
    });
    changed
}

#[cfg(test)]
mod tests {
    use ndarray::Array4;

    use super::*;

    fn fill(labels: &mut Array3<u8>, range: std::ops::Range<usize>, label: u8) {
        labels.slice_each_axis_mut(|_| range.clone().into()).fill(label);
    }

    fn count(labels: &Array3<u8>, wanted: u8) -> usize {
        labels.iter().filter(|&&label| label == wanted).count()
    }

    /// Every region as likely as `probability` everywhere.
    fn even(labels: &Array3<u8>, probability: f32) -> Array4<f32> {
        let (x, y, z) = labels.dim();
        Array4::from_elem((3, x, y, z), probability)
    }

    /// Oedema of 12 cubed; in it a core of 5 cubed with 27 enhancing voxels, and far from it a core
    /// of one voxel and an enhancing piece of two.
    fn tumour() -> Array3<u8> {
        let mut labels = Array3::<u8>::zeros((16, 16, 16));
        fill(&mut labels, 1..13, 2);
        fill(&mut labels, 2..7, 1);
        fill(&mut labels, 3..6, 4);
        labels[[10, 10, 10]] = 1;
        labels[[11, 2, 2]] = 4;
        labels[[11, 3, 3]] = 4;
        labels
    }

    #[test]
    fn small_pieces_go_and_large_ones_stay() {
        let mut labels = Array3::<u8>::zeros((20, 20, 20));
        fill(&mut labels, 2..8, 2);
        labels[[8, 8, 8]] = 4; // touches by a corner
        fill(&mut labels, 15..17, 1);
        labels[[19, 0, 19]] = 2;
        let sure = even(&labels, 1.0);
        let settings = PostProcessing { component_voxels_min: 9, ..PostProcessing::NONE };
        assert_eq!(repair(&mut labels, sure.view(), &settings).unwrap(), 9);
        assert_eq!(labels.iter().filter(|&&label| label != 0).count(), 217);
        assert_eq!(labels[[8, 8, 8]], 4);
    }

    #[test]
    fn nothing_is_repaired_without_a_rule() {
        let mut labels = tumour();
        let none = even(&labels, 0.0);
        assert_eq!(repair(&mut labels, none.view(), &PostProcessing::NONE).unwrap(), 0);
        assert_eq!(labels, tumour());
    }

    #[test]
    fn what_a_rim_encloses_is_core_and_what_lies_beside_it_is_not() {
        let mut labels = Array3::<u8>::zeros((16, 16, 16));
        fill(&mut labels, 1..15, 2);
        fill(&mut labels, 4..12, 4);
        fill(&mut labels, 5..11, 2);
        labels[[7, 7, 7]] = 0;
        // A gap in one wall, which the planes across x do not see.
        labels[[11, 7, 7]] = 2;
        let sure = even(&labels, 1.0);
        let settings = PostProcessing { core_enclosing_planes: 2, ..PostProcessing::NONE };
        // All but the voxels that see the gap in both planes along x.
        assert_eq!(repair(&mut labels, sure.view(), &settings).unwrap(), 216 - 6);
        assert_eq!([labels[[7, 8, 8]], labels[[11, 7, 7]], labels[[2, 2, 2]]], [1, 2, 2]);
    }

    #[test]
    fn core_stays_near_what_enhances_unless_little_does() {
        let far = [3, 15, 15];
        let make = |enhancing: usize| {
            let mut labels = Array3::<u8>::from_elem((30, 30, 30), 2);
            // A rim around a wide cavity, whose middle is 8 voxels from it, and core beside it.
            fill(&mut labels, 8..28, 4);
            fill(&mut labels, 9..27, 1);
            labels
                .slice_each_axis_mut(|axis| {
                    if axis.axis.index() == 0 { (..8).into() } else { (12..18).into() }
                })
                .fill(1);
            let all: Vec<_> =
                labels.indexed_iter().filter(|(_, l)| **l == 4).map(|(at, _)| at).collect();
            for at in all.into_iter().skip(enhancing) {
                labels[at] = 1;
            }
            labels
        };
        let settings = PostProcessing {
            core_enclosing_planes: 2,
            core_reach_voxels: 4.0,
            core_reach_enhancing_voxels_min: 100,
            core_reach_enhancing_share_min: 0.1,
            ..PostProcessing::NONE
        };
        let repaired = |mut labels: Array3<u8>| {
            let sure = even(&labels, 1.0);
            let changed = repair(&mut labels, sure.view(), &settings).unwrap();
            (changed, labels)
        };
        let (_, labels) = repaired(make(usize::MAX));
        // Beside the rim at x 8: 4 voxels stay, 4 go; the cavity is enclosed and stays.
        assert_eq!([labels[[7, 15, 15]], labels[[4, 15, 15]], labels[far]], [1, 1, 2]);
        assert_eq!(labels[[17, 17, 17]], 1);
        for enhancing in [99, 500] {
            let (changed, _) = repaired(make(enhancing));
            assert_eq!(changed, 0, "{enhancing} voxels are too few, in all or of this core");
        }
    }

    #[test]
    fn little_enhancement_becomes_necrosis() {
        let settings = PostProcessing { enhancing_voxels_min: 10, ..PostProcessing::NONE };
        for (count, expected) in [(9, 1), (10, 4)] {
            let mut labels = Array3::<u8>::from_elem((4, 4, 4), 2);
            labels.iter_mut().take(count).for_each(|label| *label = 4);
            let sure = even(&labels, 1.0);
            repair(&mut labels, sure.view(), &settings).unwrap();
            assert_eq!(labels[[0, 0, 0]], expected);
            assert_eq!(labels[[3, 3, 3]], 2);
        }
    }

    #[test]
    fn each_rule_returns_its_pieces_to_what_surrounds_them() {
        let none = PostProcessing::NONE;
        // (rule, settings, voxels changed, necrotic, oedema, enhancing voxels afterwards)
        // Before: 98 + 1 necrotic, 29 enhancing, 12^3 - 128 = 1600 oedema.
        let table = [
            ("none", none, 0, 99, 1600, 29),
            ("core of 1", PostProcessing { core_voxels_min: 2, ..none }, 1, 98, 1601, 29),
            ("cores of 1 and 2", PostProcessing { core_voxels_min: 3, ..none }, 3, 98, 1603, 27),
            (
                "enhancing of 2",
                PostProcessing { enhancing_component_voxels_min: 3, ..none },
                2,
                101,
                1600,
                27,
            ),
            (
                "enhancing of 2, then its core",
                PostProcessing { enhancing_component_voxels_min: 3, core_voxels_min: 3, ..none },
                5,
                98,
                1603,
                27,
            ),
            ("all cores", PostProcessing { core_voxels_min: 1000, ..none }, 128, 0, 1728, 0),
        ];
        for (name, settings, changed, necrotic, oedema, enhancing) in table {
            let mut labels = tumour();
            let sure = even(&labels, 1.0);
            assert_eq!(repair(&mut labels, sure.view(), &settings).unwrap(), changed, "{name}");
            let found = [1, 2, 4].map(|label| count(&labels, label));
            assert_eq!(found, [necrotic, oedema, enhancing], "{name}");
        }
    }

    #[test]
    fn doubtful_pieces_go_by_their_peak_and_by_their_mean() {
        let none = PostProcessing::NONE;
        let mut probabilities = even(&tumour(), 0.9);
        // The enhancing piece of two voxels: peak 0.7, mean 0.65; the core of one: 0.55.
        for region in 1..3 {
            probabilities[[region, 11, 2, 2]] = 0.7;
            probabilities[[region, 11, 3, 3]] = 0.6;
            probabilities[[region, 10, 10, 10]] = 0.55;
        }
        // (rule, settings, voxels changed, necrotic, oedema, enhancing voxels afterwards)
        let table = [
            ("peak reached", PostProcessing { enhancing_peak_min: 0.7, ..none }, 0, 99, 1600, 29),
            ("peak too low", PostProcessing { enhancing_peak_min: 0.71, ..none }, 2, 101, 1600, 27),
            ("mean reached", PostProcessing { enhancing_mean_min: 0.64, ..none }, 0, 99, 1600, 29),
            ("mean too low", PostProcessing { enhancing_mean_min: 0.66, ..none }, 2, 101, 1600, 27),
            ("core peak", PostProcessing { core_peak_min: 0.6, ..none }, 1, 98, 1601, 29),
            ("core mean", PostProcessing { core_mean_min: 0.66, ..none }, 3, 98, 1603, 27),
            ("whole peak", PostProcessing { component_peak_min: 0.91, ..none }, 1728, 0, 0, 0),
        ];
        for (name, settings, changed, necrotic, oedema, enhancing) in table {
            let mut labels = tumour();
            let found = repair(&mut labels, probabilities.view(), &settings).unwrap();
            assert_eq!(found, changed, "{name}");
            let found = [1, 2, 4].map(|label| count(&labels, label));
            assert_eq!(found, [necrotic, oedema, enhancing], "{name}");
        }
    }

    #[test]
    fn probabilities_of_another_grid_are_refused() {
        let mut labels = tumour();
        let other = Array4::zeros((3, 16, 16, 15));
        let error = repair(&mut labels, other.view(), &PostProcessing::default()).unwrap_err();
        assert!(matches!(error, NetworkError::Shape { name: "probabilities", .. }));
    }
}
