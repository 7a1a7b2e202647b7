//! What a mask encloses.

use ndarray::{Array3, ArrayView2, Axis, Zip};

use crate::CropBox;

/// Returns the voxels outside a mask that it encloses in at least `planes_min` of the three planes
/// through them: from where no path of faces within the plane leads out.
///
/// A shell in space need not be whole for that, unlike with a flood fill in space: a ring in two of
/// three planes is enough with `planes_min` 2.
///
/// # Shapes
/// - `mask`: `[x, y, z]`; returns the same
pub fn enclosed(mask: &Array3<bool>, planes_min: u8) -> Array3<bool> {
    let mut found = Array3::from_elem(mask.dim(), false);
    let Some(crop) = CropBox::around(mask, |inside| inside) else { return found };
    let Some(inner) = crop.view(mask) else { return found };
    let mut votes = Array3::<u8>::zeros(inner.dim());
    for axis in [Axis(0), Axis(1), Axis(2)] {
        for (plane, mut votes) in inner.axis_iter(axis).zip(votes.axis_iter_mut(axis)) {
            let open = reached_from_border(plane);
            Zip::indexed(plane).and(&mut votes).for_each(|(row, column), &inside, votes| {
                let place = row * plane.ncols() + column;
                *votes += u8::from(!inside && !open.get(place).copied().unwrap_or(true));
            });
        }
    }
    for ((x, y, z), &votes) in votes.indexed_iter() {
        let [dx, dy, dz] = crop.start;
        found[[x + dx, y + dy, z + dz]] = votes >= planes_min.max(1);
    }
    found
}

/// Returns the places of a plane, row by row, that are outside the mask and joined with its border.
fn reached_from_border(plane: ArrayView2<'_, bool>) -> Vec<bool> {
    let (rows, columns) = plane.dim();
    let mut reached = vec![false; rows * columns];
    let mut pending = Vec::new();
    let mut visit = |row: usize, column: usize, pending: &mut Vec<(usize, usize)>| {
        if let Some(false) = plane.get((row, column)) {
            let place = &mut reached[row * columns + column];
            if !*place {
                *place = true;
                pending.push((row, column));
            }
        }
    };
    for row in 0..rows {
        visit(row, 0, &mut pending);
        visit(row, columns.wrapping_sub(1), &mut pending);
    }
    for column in 0..columns {
        visit(0, column, &mut pending);
        visit(rows.wrapping_sub(1), column, &mut pending);
    }
    while let Some((row, column)) = pending.pop() {
        // Past the low border wraps to a huge index, which is not in the plane.
        visit(row.wrapping_sub(1), column, &mut pending);
        visit(row + 1, column, &mut pending);
        visit(row, column.wrapping_sub(1), &mut pending);
        visit(row, column + 1, &mut pending);
    }
    reached
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hollow ball of radius 6 in the middle of 16 voxels a side, 2 thick.
    fn shell() -> Array3<bool> {
        Array3::from_shape_fn((16, 16, 16), |(x, y, z)| {
            let squared: i32 = [x, y, z].iter().map(|&at| (2 * at as i32 - 15).pow(2)).sum();
            (64..=144).contains(&squared)
        })
    }

    fn count(mask: &Array3<bool>) -> usize {
        mask.iter().filter(|&&inside| inside).count()
    }

    #[test]
    fn the_inside_of_a_shell_is_enclosed_and_the_rest_is_not() {
        let inside = enclosed(&shell(), 3);
        assert!(inside[[8, 8, 8]] && !inside[[0, 0, 0]] && !inside[[8, 8, 2]]);
        let hollow: usize = shell().len() - count(&shell());
        assert!(count(&inside) > 200 && count(&inside) < hollow);
        assert!(Zip::from(&inside).and(&shell()).all(|&enclosed, &shell| !(enclosed && shell)));
    }

    #[test]
    fn a_ring_with_a_way_out_encloses_in_the_planes_where_it_is_whole() {
        // A window in the shell, towards high x: the planes across x stay whole.
        let mut shell = shell();
        for x in 8..16 {
            for y in 7..9 {
                for z in 7..9 {
                    shell[[x, y, z]] = false;
                }
            }
        }
        // (planes, what the middle is)
        for (planes, middle) in [(1, true), (2, false), (3, false)] {
            assert_eq!(enclosed(&shell, planes)[[8, 8, 8]], middle, "{planes} planes");
        }
        // Where the window is in neither plane, two still hold.
        assert!(enclosed(&shell, 2)[[8, 8, 10]]);
    }

    #[test]
    fn an_empty_mask_and_a_full_one_enclose_nothing() {
        for full in [false, true] {
            assert_eq!(count(&enclosed(&Array3::from_elem((5, 4, 3), full), 1)), 0);
        }
    }
}
