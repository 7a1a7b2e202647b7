//! Connected parts of a mask.

use ndarray::Array3;

/// Which voxels touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connectivity {
    /// Those that share a face.
    Faces6,
    /// Those that share a face, an edge or a corner.
    Corners26,
}

/// Connected parts of a mask, numbered from 1 in the order in which they are met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Components {
    /// Number of the part that each voxel `[x, y, z]` belongs to; 0 outside.
    pub labels: Array3<u32>,
    /// Voxels of each part: part `n` is at `n - 1`.
    pub sizes: Vec<usize>,
}

impl Components {
    /// Returns the number of the largest part, the first of equals; `None` if there is none.
    pub fn largest(&self) -> Option<u32> {
        let mut best: Option<(u32, usize)> = None;
        for (number, &size) in (1..).zip(&self.sizes) {
            if best.is_none_or(|(_, largest)| size > largest) {
                best = Some((number, size));
            }
        }
        best.map(|(number, _)| number)
    }

    /// Returns the voxels of part `number`, or 0 if there is no such part.
    pub fn size(&self, number: u32) -> usize {
        (number as usize).checked_sub(1).and_then(|at| self.sizes.get(at)).copied().unwrap_or(0)
    }
}

/// Numbers the connected parts of the voxels for which `inside` is true.
///
/// Takes time linear in the number of voxels and does not recurse.
pub fn label_components<T: Copy>(
    voxels: &Array3<T>,
    inside: impl Fn(T) -> bool,
    connectivity: Connectivity,
) -> Components {
    let [width, depth, height]: [usize; 3] = voxels.dim().into();
    let mut labels = Array3::<u32>::zeros(voxels.dim());
    let mut sizes = Vec::new();
    let offsets = offsets(connectivity);
    let mut pending: Vec<[usize; 3]> = Vec::new();
    for ((x, y, z), &value) in voxels.indexed_iter() {
        if !inside(value) || labels[[x, y, z]] != 0 {
            continue;
        }
        let number = u32::try_from(sizes.len() + 1).unwrap_or(u32::MAX);
        let mut size = 0;
        labels[[x, y, z]] = number;
        pending.push([x, y, z]);
        while let Some([x, y, z]) = pending.pop() {
            size += 1;
            for [dx, dy, dz] in &offsets {
                // Past the low border wraps to a huge index, which the check below refuses.
                let next = [
                    x.wrapping_add_signed(*dx),
                    y.wrapping_add_signed(*dy),
                    z.wrapping_add_signed(*dz),
                ];
                if next[0] < width
                    && next[1] < depth
                    && next[2] < height
                    && labels[next] == 0
                    && inside(voxels[next])
                {
                    labels[next] = number;
                    pending.push(next);
                }
            }
        }
        sizes.push(size);
    }
    Components { labels, sizes }
}

fn offsets(connectivity: Connectivity) -> Vec<[isize; 3]> {
    let steps = [-1, 0, 1];
    let mut offsets = Vec::with_capacity(26);
    for dx in steps {
        for dy in steps {
            for dz in steps {
                let moved = [dx, dy, dz].iter().filter(|&&step: &&isize| step != 0).count();
                let touches = match connectivity {
                    Connectivity::Faces6 => moved == 1,
                    Connectivity::Corners26 => moved >= 1,
                };
                if touches {
                    offsets.push([dx, dy, dz]);
                }
            }
        }
    }
    offsets
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn corners_join_only_under_26() {
        let mut mask = Array3::<u8>::zeros((5, 5, 5));
        for index in [[0, 0, 0], [1, 1, 1], [1, 1, 2], [4, 4, 4]] {
            mask[index] = 2;
        }
        let by_faces = label_components(&mask, |label| label == 2, Connectivity::Faces6);
        assert_eq!(by_faces.sizes, [1, 2, 1]);
        assert_eq!(by_faces.largest(), Some(2));
        let by_corners = label_components(&mask, |label| label == 2, Connectivity::Corners26);
        assert_eq!(by_corners.sizes, [3, 1]);
        assert_eq!(by_corners.size(1), 3);
        assert_eq!(by_corners.size(0), 0);
        assert_eq!(by_corners.size(9), 0);
    }

    #[test]
    fn an_empty_mask_has_no_parts() {
        let mask = Array3::<u8>::zeros((3, 3, 3));
        let components = label_components(&mask, |label| label > 0, Connectivity::Corners26);
        assert_eq!(components.largest(), None);
        assert!(components.sizes.is_empty());
    }

    #[test]
    fn one_part_as_large_as_a_head_needs_no_recursion() {
        let mask = Array3::<u8>::ones((128, 128, 128));
        let components = label_components(&mask, |label| label > 0, Connectivity::Faces6);
        assert_eq!(components.sizes, [128 * 128 * 128]);
    }

    proptest! {
        #[test]
        fn neighbours_share_a_part_and_sizes_add_up(
            bits in proptest::collection::vec(any::<bool>(), 5 * 4 * 6)
        ) {
            let mask = Array3::from_shape_vec((5, 4, 6), bits).unwrap();
            let parts = label_components(&mask, |inside| inside, Connectivity::Faces6);
            for ((x, y, z), &label) in parts.labels.indexed_iter() {
                prop_assert_eq!(label > 0, mask[[x, y, z]]);
                for next in [[x + 1, y, z], [x, y + 1, z], [x, y, z + 1]] {
                    let other = parts.labels.get(next).copied().unwrap_or(0);
                    prop_assert!(label == 0 || other == 0 || label == other);
                }
            }
            for (number, &size) in (1_u32..).zip(&parts.sizes) {
                let counted = parts.labels.iter().filter(|&&label| label == number).count();
                prop_assert_eq!(counted, size);
            }
        }
    }
}
