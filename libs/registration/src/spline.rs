//! Cubic B-splines on a regular lattice of control points.

use tch::{Device, Tensor};

use crate::RegistrationError;

/// Returns the four weights of the control points around a place, `part` of the way from the second
/// to the third.
pub(crate) fn weights(part: f64) -> [f64; 4] {
    let rest = 1.0 - part;
    let near = |at: f64| (3.0 * at - 6.0) * at * at + 4.0;
    [rest.powi(3), near(part), near(rest), part.powi(3)].map(|weight| weight / 6.0)
}

/// Control points along one axis: beyond both ends of what they cover, so that every place there has
/// four around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Controls {
    /// Coordinate of the first.
    pub(crate) first: f64,
    /// Distance between two.
    pub(crate) step: f64,
    pub(crate) count: usize,
}

impl Controls {
    /// Returns the control points that cover an interval.
    pub(crate) fn covering([low, high]: [f64; 2], step: f64) -> Self {
        let intervals = ((high - low) / step).ceil().max(1.0);
        // What the intervals cover beyond is shared by both ends.
        let first = low - (intervals * step - (high - low)) / 2.0 - step;
        Self { first, step, count: intervals as usize + 3 }
    }

    /// Returns the number of the first of the four control points around a coordinate, and their
    /// weights; those of the nearest end outside.
    pub(crate) fn around(&self, coordinate: f64) -> (usize, [f64; 4]) {
        let place = (coordinate - self.first) / self.step - 1.0;
        let last = self.count as f64 - 3.0;
        let place = place.clamp(0.0, last);
        let cell = place.floor().min(last - 1.0);
        (cell as usize, weights(place - cell))
    }

    /// Returns the weights of every control point at some coordinates, `[coordinate, control]`.
    pub(crate) fn matrix(
        &self,
        coordinates: &[f64],
        device: Device,
    ) -> Result<Tensor, RegistrationError> {
        let mut matrix = vec![0.0_f32; coordinates.len() * self.count];
        for (row, &coordinate) in matrix.chunks_mut(self.count).zip(coordinates) {
            let (first, weights) = self.around(coordinate);
            for (slot, weight) in row[first..].iter_mut().zip(weights) {
                *slot = weight as f32;
            }
        }
        let shape = [coordinates.len() as i64, self.count as i64];
        Ok(Tensor::f_from_slice(&matrix)?.f_view(shape)?.f_to(device)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_sum_to_one_and_follow_a_straight_line() {
        let controls = Controls::covering([-10.0, 25.0], 8.0);
        for step in 0..=70 {
            let coordinate = -10.0 + f64::from(step) * 0.5;
            let (first, weights) = controls.around(coordinate);
            assert!((weights.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{coordinate}");
            let line = |number: usize| controls.first + number as f64 * controls.step;
            let value: f64 =
                (first..).zip(weights).map(|(number, weight)| weight * line(number)).sum();
            assert!((value - coordinate).abs() < 1e-9, "{coordinate}: {value}");
            assert!(first + 4 <= controls.count, "{coordinate}");
        }
    }

    #[test]
    fn outside_the_ends_hold() {
        let controls = Controls::covering([0.0, 16.0], 8.0);
        assert_eq!(controls.around(-5.0), controls.around(0.0));
        assert_eq!(controls.around(30.0), controls.around(16.0));
    }
}
