//! Connected components.

use std::collections::VecDeque;

use ndarray::{Array3, ArrayView3};

/// Components of a mask.
#[derive(Clone, Debug)]
pub struct Components {
    /// Number of the component of each voxel, from 1; 0 is background. `[x, y, z]`.
    pub labels: Array3<u32>,
    /// Voxels of each component; component `n` is at `n - 1`.
    pub sizes: Vec<u64>,
}

/// Returns the components of `mask`, voxels that share a face, an edge or a corner being
/// connected.
///
/// Numbered in the order in which a row-major scan meets them.
pub fn components_26(mask: ArrayView3<'_, bool>) -> Components {
    let mut labels = Array3::<u32>::zeros(mask.dim());
    let mut sizes = Vec::new();
    let mut queue = VecDeque::new();
    let (nx, ny, nz) = mask.dim();
    for (seed, &inside) in mask.indexed_iter() {
        if !inside || labels[seed] != 0 {
            continue;
        }
        let number = sizes.len() as u32 + 1;
        let mut size = 0_u64;
        labels[seed] = number;
        queue.push_back(seed);
        while let Some((x, y, z)) = queue.pop_front() {
            size += 1;
            for i in x.saturating_sub(1)..(x + 2).min(nx) {
                for j in y.saturating_sub(1)..(y + 2).min(ny) {
                    for k in z.saturating_sub(1)..(z + 2).min(nz) {
                        if mask[[i, j, k]] && labels[[i, j, k]] == 0 {
                            labels[[i, j, k]] = number;
                            queue.push_back((i, j, k));
                        }
                    }
                }
            }
        }
        sizes.push(size);
    }
    Components { labels, sizes }
}
