//! Exact Euclidean distance transform with a spacing of its own along each axis.
//!
//! Felzenszwalb and Huttenlocher, "Distance Transforms of Sampled Functions", Theory of Computing
//! 8 (2012): along each axis in turn the squared distance is the lower envelope of parabolas, so
//! the work is linear in the number of voxels.

use ndarray::{Array3, ArrayView3, Axis};
use neurotriage_domain::VoxelSpacing;

/// Marks a voxel from which no feature has been reached.
const NO_FEATURE: u32 = u32::MAX;

/// Nearest feature voxel of every voxel.
#[derive(Clone, Debug)]
pub struct NearestFeature {
    /// Squared distance between voxel centres, in square millimetres, `[x, y, z]`; infinite
    /// everywhere if there is no feature.
    pub squared_mm2: Array3<f32>,
    /// Logical (row-major, z fastest) index of the nearest feature voxel, `[x, y, z]`;
    /// meaningless where the distance is infinite.
    pub index: Array3<u32>,
}

/// Returns the squared distance from each voxel centre to the nearest feature voxel centre.
///
/// Zero on the features themselves; infinite everywhere if there is none.
///
/// # Shapes
/// - `features`: `[x, y, z]`, fewer than 2^32 voxels
/// - returns: `[x, y, z]`, in square millimetres
pub fn squared_distance_mm2(features: ArrayView3<'_, bool>, spacing: VoxelSpacing) -> Array3<f32> {
    let mut squared = features.mapv(|feature| if feature { 0.0 } else { f32::INFINITY });
    for (axis, step_mm) in spacing.as_mm().into_iter().enumerate() {
        let mut envelope = Envelope::of_length(features.len_of(Axis(axis)));
        for mut lane in squared.lanes_mut(Axis(axis)) {
            if !envelope.build(lane.iter().copied(), step_mm) {
                continue;
            }
            for (value, found) in lane.iter_mut().zip(envelope.read()) {
                *value = found.squared_mm2;
            }
        }
    }
    squared
}

/// Returns the nearest feature voxel of each voxel, and how far it is.
///
/// # Shapes
/// - `features`: `[x, y, z]`, fewer than 2^32 voxels
pub fn nearest_feature(features: ArrayView3<'_, bool>, spacing: VoxelSpacing) -> NearestFeature {
    let mut squared_mm2 = features.mapv(|feature| if feature { 0.0 } else { f32::INFINITY });
    let mut index = Array3::from_elem(features.dim(), NO_FEATURE);
    for (number, (slot, &feature)) in index.iter_mut().zip(features.iter()).enumerate() {
        if feature {
            *slot = u32::try_from(number).unwrap_or(NO_FEATURE);
        }
    }
    for (axis, step_mm) in spacing.as_mm().into_iter().enumerate() {
        let length = features.len_of(Axis(axis));
        let mut envelope = Envelope::of_length(length);
        let mut before = vec![NO_FEATURE; length];
        let lanes = squared_mm2.lanes_mut(Axis(axis)).into_iter();
        for (mut lane, mut sites) in lanes.zip(index.lanes_mut(Axis(axis))) {
            if !envelope.build(lane.iter().copied(), step_mm) {
                continue;
            }
            for (kept, &site) in before.iter_mut().zip(sites.iter()) {
                *kept = site;
            }
            let slots = lane.iter_mut().zip(sites.iter_mut());
            for ((value, site), found) in slots.zip(envelope.read()) {
                *value = found.squared_mm2;
                *site = before[found.vertex];
            }
        }
    }
    NearestFeature { squared_mm2, index }
}

/// Lower envelope of the parabolas `(q - v)^2 step^2 + f(v)` of one line of voxels.
struct Envelope {
    values: Vec<f64>,
    /// Where each parabola of the envelope stands.
    vertices: Vec<usize>,
    /// From which position each of them is the lowest.
    starts: Vec<f64>,
    step2_mm2: f64,
}

/// What the envelope says at one position.
struct Found {
    squared_mm2: f32,
    vertex: usize,
}

impl Envelope {
    fn of_length(length: usize) -> Self {
        Self {
            values: Vec::with_capacity(length),
            vertices: Vec::with_capacity(length),
            starts: Vec::with_capacity(length),
            step2_mm2: 1.0,
        }
    }

    /// Builds the envelope; returns false if no value is finite.
    fn build(&mut self, values: impl Iterator<Item = f32>, step_mm: f64) -> bool {
        self.values.clear();
        self.values.extend(values.map(f64::from));
        self.vertices.clear();
        self.starts.clear();
        self.step2_mm2 = step_mm * step_mm;
        for position in 0..self.values.len() {
            if self.values[position].is_finite() {
                self.push(position);
            }
        }
        !self.vertices.is_empty()
    }

    fn push(&mut self, position: usize) {
        while let (Some(&top), Some(&start)) = (self.vertices.last(), self.starts.last()) {
            let crossing = self.crossing(top, position);
            if crossing > start {
                self.vertices.push(position);
                self.starts.push(crossing);
                return;
            }
            self.vertices.pop();
            self.starts.pop();
        }
        self.vertices.push(position);
        self.starts.push(f64::NEG_INFINITY);
    }

    /// Returns where the parabola at `right` becomes lower than the one at `left`.
    fn crossing(&self, left: usize, right: usize) -> f64 {
        let height = |vertex: usize| {
            self.values[vertex] + self.step2_mm2 * (vertex as f64) * (vertex as f64)
        };
        (height(right) - height(left)) / (2.0 * self.step2_mm2 * (right as f64 - left as f64))
    }

    fn read(&self) -> impl Iterator<Item = Found> + '_ {
        let mut current = 0;
        (0..self.values.len()).map(move |position| {
            while self.starts.get(current + 1).is_some_and(|&start| start < position as f64) {
                current += 1;
            }
            let vertex = self.vertices[current];
            let away = position as f64 - vertex as f64;
            let squared = away * away * self.step2_mm2 + self.values[vertex];
            Found { squared_mm2: squared as f32, vertex }
        })
    }
}
