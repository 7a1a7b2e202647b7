//! Gradient descent on the twelve parameters.

use neurotriage_imaging::AffineMap;
use tch::{Kind, Tensor};

use crate::{
    RegistrationError,
    level::{Level, tensors},
    similarity::{bin_shares, normalised_mutual_information},
};

/// Distance from the centre at which a unit of every parameter moves a point by a millimetre.
const RADIUS_MM: f64 = 70.0;

/// Standard deviation that stretching is expected to have: brains differ by some per cent.
const STRETCH_DEVIATION: f64 = 0.08;

/// Similarity that one such deviation of one parameter must bring.
const STRETCH_PRICE: f64 = 0.002;

/// Decay of the moving means of gradient and squared gradient, as in Adam (Kingma and Ba 2015).
const DECAY: [f64; 2] = [0.9, 0.98];

/// Which maps are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freedom {
    /// Shifts and turns.
    Rigid,
    /// Stretches and shears too.
    Affine,
}

/// A map, and how well it fits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    /// From the template to the patient, in RAS+ millimetres.
    pub(crate) map: AffineMap,
    /// Normalised mutual information of all points, less the price of stretching.
    pub(crate) similarity: f64,
}

/// A search at one level.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Descent<'a> {
    pub(crate) level: &'a Level,
    /// Centre of the template.
    pub(crate) centre_mm: [f64; 3],
}

/// Steps of a search.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steps {
    pub(crate) count: usize,
    /// Longest step, first and last, in millimetres at [`RADIUS_MM`].
    pub(crate) length_mm: [f64; 2],
    /// Most points compared in one step.
    pub(crate) points_max: usize,
}

impl Descent<'_> {
    /// Follows the gradient from a map.
    pub(crate) fn run(
        &self,
        from: AffineMap,
        freedom: Freedom,
        steps: Steps,
    ) -> Result<Found, RegistrationError> {
        let mut place = [0.0_f64; 12];
        let (mut mean, mut square) = ([0.0_f64; 12], [0.0_f64; 12]);
        let free = if freedom == Freedom::Rigid { 6 } else { 12 };
        let all = self.level.len();
        let count = all.min(i64::try_from(steps.points_max).unwrap_or(i64::MAX));
        let mut first = 0;
        for step in 0..steps.count {
            if first + count > all {
                first = 0;
            }
            let gradient = self.gradient(&from, &place, (first, count))?;
            first += count;
            let part = step as f64 / steps.count as f64;
            let length = steps.length_mm[0] * (steps.length_mm[1] / steps.length_mm[0]).powf(part);
            for index in 0..free {
                let slope = gradient[index];
                mean[index] = DECAY[0] * mean[index] + (1.0 - DECAY[0]) * slope;
                square[index] = DECAY[1] * square[index] + (1.0 - DECAY[1]) * slope * slope;
                let age = step as i32 + 1;
                let mean = mean[index] / (1.0 - DECAY[0].powi(age));
                let square = square[index] / (1.0 - DECAY[1].powi(age));
                place[index] += length * mean / (square.sqrt() + 1e-12);
            }
        }
        let _guard = tch::no_grad_guard();
        let (map, similarity) = {
            let parameters = self.tensor(&place)?;
            let [matrix, shift] = self.map(&from, &parameters)?;
            (self.read(&matrix, &shift)?, self.similarity(&parameters, &matrix, &shift, (0, all))?)
        };
        Ok(Found { map, similarity: similarity.f_double_value(&[])? })
    }

    /// Returns the slope of the similarity by each parameter.
    fn gradient(
        &self,
        from: &AffineMap,
        place: &[f64; 12],
        points: (i64, i64),
    ) -> Result<[f64; 12], RegistrationError> {
        let parameters = self.tensor(place)?.f_set_requires_grad(true)?;
        let [matrix, shift] = self.map(from, &parameters)?;
        let similarity = self.similarity(&parameters, &matrix, &shift, points)?;
        let gradient = Tensor::f_run_backward(&[&similarity], &[&parameters], false, false)?;
        let mut slopes = [0.0; 12];
        for (slope, value) in slopes.iter_mut().zip(Vec::<f32>::try_from(&gradient[0])?) {
            *slope = f64::from(value);
        }
        Ok(slopes)
    }

    fn tensor(&self, place: &[f64; 12]) -> Result<Tensor, RegistrationError> {
        let place = place.map(|value| value as f32);
        Ok(Tensor::f_from_slice(&place)?.f_to(self.level.device)?)
    }

    /// Returns matrix `[3, 3]` and shift `[3]` of places less the centre to the patient.
    ///
    /// The parameters are shifts, turns, stretches and shears, in millimetres at [`RADIUS_MM`]: turns
    /// and the rest are the logarithm of a matrix, split into its skew and its symmetric part.
    fn map(&self, from: &AffineMap, parameters: &Tensor) -> Result<[Tensor; 2], RegistrationError> {
        let mut basis = [0.0_f32; 9 * 9];
        let unit = (1.0 / RADIUS_MM) as f32;
        let mut set = |parameter: usize, row: usize, column: usize, value: f32| {
            basis[parameter * 9 + row * 3 + column] = value;
        };
        for axis in 0..3 {
            let (a, b) = ((axis + 1) % 3, (axis + 2) % 3);
            set(axis, b, a, unit);
            set(axis, a, b, -unit);
            set(3 + axis, axis, axis, unit);
            set(6 + axis, a, b, unit);
            set(6 + axis, b, a, unit);
        }
        let device = self.level.device;
        let basis = Tensor::f_from_slice(&basis)?.f_view([9, 9])?.f_to(device)?;
        let logarithm = parameters.f_narrow(0, 3, 9)?.f_unsqueeze(0)?.f_matmul(&basis)?;
        let change = logarithm.f_view([3, 3])?.f_linalg_matrix_exp()?;
        let [matrix, shift] = tensors(from, self.centre_mm, device)?;
        Ok([matrix.f_matmul(&change)?, shift.f_add(&parameters.f_narrow(0, 0, 3)?)?])
    }

    fn similarity(
        &self,
        parameters: &Tensor,
        matrix: &Tensor,
        shift: &Tensor,
        (first, count): (i64, i64),
    ) -> Result<Tensor, RegistrationError> {
        let sampled = self.level.sample(matrix, shift, (first, count))?;
        let shares = self.level.shares.f_narrow(0, first, count)?;
        let moving = bin_shares(&sampled.values)?;
        let similarity = normalised_mutual_information(&shares, &moving, &sampled.weights)?;
        let deviation = STRETCH_DEVIATION * RADIUS_MM;
        let stretch = parameters.f_narrow(0, 6, 6)?.f_div_scalar(deviation)?;
        let price = stretch.f_square()?.f_sum(Kind::Float)?.f_mul_scalar(STRETCH_PRICE)?;
        Ok(similarity.f_sub(&price)?)
    }

    /// Returns the map of the template's millimetres to the patient's.
    fn read(&self, matrix: &Tensor, shift: &Tensor) -> Result<AffineMap, RegistrationError> {
        let matrix = Vec::<f32>::try_from(matrix.f_reshape([9])?)?;
        let shift = Vec::<f32>::try_from(shift)?;
        let mut rows = [[0.0; 4]; 3];
        for (row, values) in rows.iter_mut().enumerate() {
            for column in 0..3 {
                values[column] = f64::from(matrix[row * 3 + column]);
            }
            values[3] = f64::from(shift[row]);
        }
        Ok(AffineMap { rows }.after(&AffineMap::shift(self.centre_mm, [0.0; 3])))
    }
}
