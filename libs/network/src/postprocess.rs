//! Repairs of a mask that hold for every glioma.

use ndarray::{Array3, Zip};
use neurotriage_domain::{TumourClass, TumourRegion};
use neurotriage_imaging::components::{Connectivity, label_components};
use serde::{Deserialize, Serialize};

/// What is repaired. All 0: nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PostProcessing {
    /// Connected pieces of tumour with fewer voxels are removed.
    pub component_voxels_min: usize,
    /// Enhancing tumour of fewer voxels in all becomes necrotic core.
    pub enhancing_voxels_min: usize,
}

impl Default for PostProcessing {
    fn default() -> Self {
        Self { component_voxels_min: 100, enhancing_voxels_min: 200 }
    }
}

/// Repairs the mask in place and returns the number of voxels changed.
pub(crate) fn repair(labels: &mut Array3<u8>, settings: PostProcessing) -> usize {
    let mut changed = remove_small_components(labels, settings.component_voxels_min);
    let enhancing = TumourRegion::Enhancing;
    let count = labels.iter().filter(|&&label| enhancing.contains(label)).count();
    if count < settings.enhancing_voxels_min {
        for label in labels.iter_mut().filter(|label| enhancing.contains(**label)) {
            *label = TumourClass::NecroticCore.label();
            changed += 1;
        }
    }
    changed
}

/// Sets to 0 every piece of fewer than `voxels_min` voxels, pieces joined by faces, edges or
/// corners, and returns the number of voxels removed.
fn remove_small_components(labels: &mut Array3<u8>, voxels_min: usize) -> usize {
    if voxels_min <= 1 {
        return 0;
    }
    let pieces = label_components(labels, |label| label != 0, Connectivity::Corners26);
    let mut removed = 0;
    Zip::from(labels).and(&pieces.labels).for_each(|label, &piece| {
        if piece != 0 && pieces.size(piece) < voxels_min {
            *label = 0;
            removed += 1;
        }
    });
    removed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(labels: &mut Array3<u8>, range: std::ops::Range<usize>, label: u8) {
        labels.slice_each_axis_mut(|_| range.clone().into()).fill(label);
    }

    #[test]
    fn small_pieces_go_and_large_ones_stay() {
        let mut labels = Array3::<u8>::zeros((20, 20, 20));
        fill(&mut labels, 2..8, 2);
        labels[[8, 8, 8]] = 4; // touches by a corner
        fill(&mut labels, 15..17, 1);
        labels[[19, 0, 19]] = 2;
        assert_eq!(remove_small_components(&mut labels, 9), 9);
        assert_eq!(labels.iter().filter(|&&label| label != 0).count(), 217);
        assert_eq!(labels[[8, 8, 8]], 4);
        assert_eq!(remove_small_components(&mut labels, 0), 0);
    }

    #[test]
    fn little_enhancement_becomes_necrosis() {
        let settings = PostProcessing { component_voxels_min: 0, enhancing_voxels_min: 10 };
        for (count, expected) in [(9, 1), (10, 4)] {
            let mut labels = Array3::<u8>::from_elem((4, 4, 4), 2);
            labels.iter_mut().take(count).for_each(|label| *label = 4);
            repair(&mut labels, settings);
            assert_eq!(labels[[0, 0, 0]], expected);
            assert_eq!(labels[[3, 3, 3]], 2);
        }
    }
}
