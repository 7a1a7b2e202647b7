//! Diameters of a set of voxels, between the outer corners of the voxels.
//!
//! A diameter ends on the convex hull, so each axial slice is reduced to its hull first: a few
//! dozen points instead of thousands of voxels.

use ndarray::{ArrayView2, ArrayView3, Axis};
use neurotriage_domain::VoxelSpacing;

type Point = [f64; 2];

/// A line between two points of the searched part, in millimetres from the outer corner of its first
/// voxel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) length_mm: f64,
    pub(crate) ends_mm: [[f64; 3]; 2],
}

/// Two lines at right angles in one axial slice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct LinePair {
    pub(crate) longest: Line,
    pub(crate) perpendicular: Line,
    pub(crate) product_mm2: f64,
    /// Index of the slice in the part.
    pub(crate) slice: usize,
}

/// Convex hulls of the axial slices of a lesion.
#[derive(Clone, Debug)]
pub(crate) struct Hulls {
    /// Slice index, and its hull in millimetres, counter-clockwise.
    slices: Vec<(usize, Vec<Point>)>,
    slice_mm: f64,
}

impl Hulls {
    /// Finds the hull of each slice.
    ///
    /// # Shapes
    /// - `inside`: `[x, y, z]`; slices are taken across the last axis
    pub(crate) fn of(inside: ArrayView3<'_, bool>, spacing: VoxelSpacing) -> Self {
        let [x_mm, y_mm, slice_mm] = spacing.as_mm();
        let mut slices = Vec::new();
        for (index, slice) in inside.axis_iter(Axis(2)).enumerate() {
            let hull = convex_hull(corners(slice, [x_mm, y_mm]));
            if !hull.is_empty() {
                slices.push((index, hull));
            }
        }
        Self { slices, slice_mm }
    }

    /// Returns the longest diameter in three dimensions; `None` if there is no voxel.
    pub(crate) fn longest(&self) -> Option<Line> {
        let mut points: Vec<[f64; 3]> = Vec::new();
        for (index, hull) in &self.slices {
            let (low, high) = (*index as f64 * self.slice_mm, (*index + 1) as f64 * self.slice_mm);
            for &[x, y] in hull {
                points.push([x, y, low]);
                points.push([x, y, high]);
            }
        }
        let count = points.len().max(1) as f64;
        let centre =
            [0, 1, 2].map(|axis| points.iter().map(|point| point[axis]).sum::<f64>() / count);
        // Furthest from the centre first: two points are never further apart than the sum of
        // their distances from it, so the search ends early.
        let mut by_radius: Vec<(f64, [f64; 3])> =
            points.into_iter().map(|point| (distance(point, centre), point)).collect();
        by_radius.sort_by(|a, b| b.0.total_cmp(&a.0));
        let radius_max = by_radius.first()?.0;
        let mut best = Line { length_mm: 0.0, ends_mm: [centre; 2] };
        for (number, &(radius, point)) in by_radius.iter().enumerate() {
            if radius + radius_max <= best.length_mm {
                break;
            }
            for &(other_radius, other) in &by_radius[..number] {
                if radius + other_radius <= best.length_mm {
                    break;
                }
                let length_mm = distance(point, other);
                if length_mm > best.length_mm {
                    best = Line { length_mm, ends_mm: [point, other] };
                }
            }
        }
        Some(best)
    }

    /// Returns the axial slice with the largest product of its longest diameter and the longest
    /// one at right angles to it; `None` if there is no voxel.
    pub(crate) fn axial(&self) -> Option<LinePair> {
        let mut best: Option<LinePair> = None;
        for (slice, hull) in &self.slices {
            let Some([from, to]) = longest(hull) else {
                continue;
            };
            let away = [to[0] - from[0], to[1] - from[1]];
            let length_mm = away[0].hypot(away[1]);
            let direction = [away[0] / length_mm, away[1] / length_mm];
            let across = chord(hull, [-direction[1], direction[0]]);
            let across_mm = (across[1][0] - across[0][0]).hypot(across[1][1] - across[0][1]);
            let product_mm2 = length_mm * across_mm;
            if best.is_none_or(|best| product_mm2 > best.product_mm2) {
                let height_mm = (*slice as f64 + 0.5) * self.slice_mm;
                let line = |length_mm, ends: [Point; 2]| Line {
                    length_mm,
                    ends_mm: ends.map(|[x, y]| [x, y, height_mm]),
                };
                best = Some(LinePair {
                    longest: line(length_mm, [from, to]),
                    perpendicular: line(across_mm, across),
                    product_mm2,
                    slice: *slice,
                });
            }
        }
        best
    }
}

fn distance(a: [f64; 3], b: [f64; 3]) -> f64 {
    let squared: f64 = (0..3).map(|axis| (a[axis] - b[axis]).powi(2)).sum();
    squared.sqrt()
}

/// Returns the outer corners of the first and last voxel of each row.
fn corners(slice: ArrayView2<'_, bool>, [x_mm, y_mm]: [f64; 2]) -> Vec<Point> {
    let mut corners = Vec::new();
    for (x, row) in slice.outer_iter().enumerate() {
        let mut columns = row.iter().enumerate().filter(|(_, inside)| **inside).map(|(y, _)| y);
        let Some(first) = columns.next() else {
            continue;
        };
        let last = columns.next_back().unwrap_or(first);
        for side in [x, x + 1] {
            corners.push([side as f64 * x_mm, first as f64 * y_mm]);
            corners.push([side as f64 * x_mm, (last + 1) as f64 * y_mm]);
        }
    }
    corners
}

/// Andrew's monotone chain: the hull counter-clockwise, without points on its edges.
fn convex_hull(mut points: Vec<Point>) -> Vec<Point> {
    points.sort_by(|a, b| a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1])));
    points.dedup();
    if points.len() < 3 {
        return points;
    }
    let mut hull = half_hull(points.iter().copied());
    let upper = half_hull(points.iter().rev().copied());
    hull.pop();
    hull.extend(upper);
    hull.pop();
    hull
}

fn half_hull(points: impl Iterator<Item = Point>) -> Vec<Point> {
    let mut chain: Vec<Point> = Vec::new();
    for point in points {
        while let [.., before, last] = chain[..] {
            let turn = (last[0] - before[0]) * (point[1] - before[1])
                - (last[1] - before[1]) * (point[0] - before[0]);
            if turn > 0.0 {
                break;
            }
            chain.pop();
        }
        chain.push(point);
    }
    chain
}

/// Returns the ends of the longest diameter of a hull.
fn longest(hull: &[Point]) -> Option<[Point; 2]> {
    let mut best: Option<(f64, [Point; 2])> = None;
    for (number, &a) in hull.iter().enumerate() {
        for &b in &hull[..number] {
            let length = (a[0] - b[0]).hypot(a[1] - b[1]);
            if length > 0.0 && best.is_none_or(|(longest, _)| length > longest) {
                best = Some((length, [b, a]));
            }
        }
    }
    best.map(|(_, ends)| ends)
}

/// Returns the ends of the longest chord of a convex hull along a unit direction.
///
/// The length of such chords is concave and piecewise linear across the hull, so the longest one
/// goes through a vertex.
fn chord(hull: &[Point], direction: Point) -> [Point; 2] {
    let across = |p: &Point| p[1] * direction[0] - p[0] * direction[1];
    let along = |p: &Point| p[0] * direction[0] + p[1] * direction[1];
    // The point at a distance along the direction and across it.
    let point = |along: f64, across: f64| {
        [along * direction[0] - across * direction[1], along * direction[1] + across * direction[0]]
    };
    let mut best = (f64::NEG_INFINITY, [[0.0; 2]; 2]);
    for vertex in hull {
        let at = across(vertex);
        let (mut low, mut high) = (along(vertex), along(vertex));
        for (number, a) in hull.iter().enumerate() {
            let b = &hull[(number + 1) % hull.len()];
            let (from, to) = (across(a), across(b));
            if (from - at) * (to - at) > 0.0 || from == to {
                continue;
            }
            let part = (at - from) / (to - from);
            let crossing = along(a) + part * (along(b) - along(a));
            low = crossing.min(low);
            high = crossing.max(high);
        }
        if high - low > best.0 {
            best = (high - low, [point(low, at), point(high, at)]);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;
    use proptest::prelude::*;

    use super::*;

    /// Longest distance between outer corners of voxels, by trying every pair.
    fn brute_force(inside: &Array3<bool>, spacing_mm: [f64; 3], slice: Option<usize>) -> f64 {
        let mut corners = Vec::new();
        for ((x, y, z), &inside) in inside.indexed_iter() {
            if !inside || slice.is_some_and(|slice| slice != z) {
                continue;
            }
            for corner in 0..8 {
                let at = [x + (corner & 1), y + (corner >> 1 & 1), z + (corner >> 2)];
                let in_plane = if slice.is_some() { [at[0], at[1], 0] } else { at };
                corners.push([0, 1, 2].map(|axis| in_plane[axis] as f64 * spacing_mm[axis]));
            }
        }
        let pairs = corners.iter().flat_map(|&a| corners.iter().map(move |&b| distance(a, b)));
        pairs.fold(0.0, f64::max)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]

        #[test]
        fn diameters_match_every_pair_of_corners(
            voxels in proptest::collection::vec(proptest::bool::weighted(0.15), 6 * 5 * 4),
            spacing_mm in (0.4..2.0_f64, 0.4..2.0_f64, 0.4..6.0_f64),
        ) {
            let spacing_mm: [f64; 3] = spacing_mm.into();
            let inside = Array3::from_shape_vec([6, 5, 4], voxels).unwrap();
            let hulls = Hulls::of(inside.view(), VoxelSpacing::from_mm(spacing_mm).unwrap());
            let found_mm = hulls.longest().map_or(0.0, |line| line.length_mm);
            prop_assert!((found_mm - brute_force(&inside, spacing_mm, None)).abs() < 1e-9);
            let Some(axial) = hulls.axial() else {
                prop_assert!(!inside.iter().any(|&inside| inside));
                return Ok(());
            };
            let slice = axial.slice;
            let longest_mm = brute_force(&inside, spacing_mm, Some(slice));
            prop_assert!((axial.longest.length_mm - longest_mm).abs() < 1e-9);
            prop_assert!(axial.perpendicular.length_mm > 0.0);
            prop_assert!(axial.perpendicular.length_mm <= axial.longest.length_mm + 1e-9);
            prop_assert!(axial.longest.length_mm <= found_mm);
            let direction = |line: Line| {
                [0, 1].map(|axis| line.ends_mm[1][axis] - line.ends_mm[0][axis])
            };
            let (along, across) = (direction(axial.longest), direction(axial.perpendicular));
            prop_assert!((along[0].hypot(along[1]) - axial.longest.length_mm).abs() < 1e-9);
            prop_assert!((along[0] * across[0] + along[1] * across[1]).abs() < 1e-6);
        }
    }

    #[test]
    fn an_ellipse_has_its_two_axes() {
        let inside = Array3::from_shape_fn([81, 81, 1], |(x, y, _)| {
            let (x, y) = (x as f64 - 40.0, y as f64 - 40.0);
            (x / 36.0).powi(2) + (y / 18.0).powi(2) <= 1.0
        });
        let spacing = VoxelSpacing::from_mm([0.5, 0.5, 3.0]).unwrap();
        let axial = Hulls::of(inside.view(), spacing).axial().unwrap();
        assert!((axial.longest.length_mm - 36.0).abs() < 1.0, "{axial:?}");
        assert!((axial.perpendicular.length_mm - 18.0).abs() < 1.0, "{axial:?}");
    }
}
