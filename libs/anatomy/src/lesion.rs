//! Lesions: connected components, joined when they lie close together.

use std::collections::HashMap;

use ndarray::Array3;
use neurotriage_domain::VoxelSpacing;
use neurotriage_metrics::components::{Components, components_26};

/// Voxels of one lesion.
#[derive(Clone, Debug)]
pub(crate) struct LesionVoxels {
    /// Index in the part that was searched, `[x, y, z]`, in row-major order.
    pub(crate) voxels: Vec<[usize; 3]>,
    /// Connected components joined.
    pub(crate) components: u32,
}

/// Returns the lesions of a label array, largest first.
///
/// Components are joined when the centres of two of their voxels are at most `gap_mm` apart.
pub(crate) fn find_lesions(
    labels: &Array3<u8>,
    spacing: VoxelSpacing,
    gap_mm: f64,
) -> Vec<LesionVoxels> {
    let found = components_26(labels.mapv(|label| label != 0).view());
    let mut groups = Groups::new(found.sizes.len());
    if found.sizes.len() > 1 {
        join_close(&found, spacing, gap_mm, &mut groups);
    }
    let mut lesions: HashMap<usize, LesionVoxels> = HashMap::new();
    for ((x, y, z), &number) in found.labels.indexed_iter() {
        if number == 0 {
            continue;
        }
        let root = groups.root(number as usize - 1);
        let lesion = lesions
            .entry(root)
            .or_insert_with(|| LesionVoxels { voxels: Vec::new(), components: 0 });
        lesion.voxels.push([x, y, z]);
    }
    for component in 0..found.sizes.len() {
        if let Some(lesion) = lesions.get_mut(&groups.root(component)) {
            lesion.components += 1;
        }
    }
    let mut lesions: Vec<LesionVoxels> = lesions.into_values().collect();
    lesions
        .sort_by(|a, b| b.voxels.len().cmp(&a.voxels.len()).then_with(|| a.voxels.cmp(&b.voxels)));
    lesions
}

/// Joins components that come within `gap_mm`.
///
/// Voxels are put into cubes of that side, so that only neighbouring cubes are searched. The
/// largest component is never asked for its neighbours, only found as one.
fn join_close(found: &Components, spacing: VoxelSpacing, gap_mm: f64, groups: &mut Groups) {
    let step_mm = spacing.as_mm();
    let side_mm = gap_mm.max(f64::EPSILON);
    let place = |at: [usize; 3]| [0, 1, 2].map(|axis| at[axis] as f64 * step_mm[axis]);
    let cube = |at: [f64; 3]| at.map(|mm| (mm / side_mm).floor() as i64);
    let largest = (0..found.sizes.len()).max_by_key(|&number| found.sizes[number]);
    let mut surface: Vec<(usize, [f64; 3])> = Vec::new();
    for ((x, y, z), &number) in found.labels.indexed_iter() {
        if number != 0 && is_surface(&found.labels, [x, y, z]) {
            surface.push((number as usize - 1, place([x, y, z])));
        }
    }
    let mut cubes: HashMap<[i64; 3], Vec<usize>> = HashMap::new();
    for (entry, (_, at)) in surface.iter().enumerate() {
        cubes.entry(cube(*at)).or_default().push(entry);
    }
    for (component, at) in &surface {
        if Some(*component) == largest {
            continue;
        }
        let [cx, cy, cz] = cube(*at);
        for number in 0..27 {
            let near = [cx + number % 3 - 1, cy + number / 3 % 3 - 1, cz + number / 9 - 1];
            for &entry in cubes.get(&near).map_or(&[][..], Vec::as_slice) {
                let (other, place) = &surface[entry];
                if other == component || groups.root(*other) == groups.root(*component) {
                    continue;
                }
                let squared: f64 = (0..3).map(|axis| (place[axis] - at[axis]).powi(2)).sum();
                if squared <= gap_mm * gap_mm {
                    groups.join(*other, *component);
                }
            }
        }
    }
}

fn is_surface(labels: &Array3<u32>, [x, y, z]: [usize; 3]) -> bool {
    let own = labels[[x, y, z]];
    let is_own = |x: usize, y: usize, z: usize| labels.get([x, y, z]) == Some(&own);
    let low = x > 0 && y > 0 && z > 0;
    !(low
        && is_own(x - 1, y, z)
        && is_own(x, y - 1, z)
        && is_own(x, y, z - 1)
        && is_own(x + 1, y, z)
        && is_own(x, y + 1, z)
        && is_own(x, y, z + 1))
}

/// Disjoint sets.
struct Groups {
    parent: Vec<usize>,
}

impl Groups {
    fn new(count: usize) -> Self {
        Self { parent: (0..count).collect() }
    }

    fn root(&mut self, mut member: usize) -> usize {
        while self.parent[member] != member {
            self.parent[member] = self.parent[self.parent[member]];
            member = self.parent[member];
        }
        member
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.parent[a.max(b)] = a.min(b);
    }
}
