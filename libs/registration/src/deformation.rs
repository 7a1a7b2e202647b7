//! What an affine map leaves: a smooth displacement.

use neurotriage_imaging::AffineMap;
use tch::{Device, Kind, Tensor};

use crate::{
    RegistrationError,
    level::{Level, tensors},
    similarity::{bin_shares, normalised_mutual_information},
    spline::Controls,
};

/// Distances of control points, coarse first, in millimetres: the first is wide enough to carry the
/// displacement through a tumour, where nothing is compared, the last narrow enough for one ventricle
/// to be pressed shut while the other widens.
const CONTROLS_MM: [f64; 3] = [32.0, 20.0, 12.0];

/// Most points compared in one step.
const POINTS_MAX: i64 = 20_000;

/// Steps at each.
const STEPS: usize = 40;

/// Root mean square of a step over the values of all control points, at the beginning and towards the
/// end, as a part of the distance of control points.
const STEP_PARTS: [f64; 2] = [0.018, 0.0018];

/// Similarity that bending by one part of the distance of control points must bring.
const BENDING_PRICE: f64 = 0.1;

/// Price of stretching against that of bending.
const STRETCH_PART: f64 = 0.1;

/// Decay of the moving means of gradient and squared gradient.
const DECAY: [f64; 2] = [0.9, 0.98];

/// A place with less tumour than this is compared.
const LESION_SHARE_MAX: f64 = 0.05;

/// Least share of the points that can be compared.
const COMPARED_SHARE_MIN: f64 = 0.3;

/// Corrections after which finer control points give what the wider ones gave.
const CORRECTIONS: usize = 6;

/// A smooth displacement of a template's points: a free-form deformation on cubic B-splines after
/// Rueckert et al. (IEEE Transactions on Medical Imaging 18, 1999).
///
/// A point `p` of the template shows what the patient has at the place to which the affine map
/// brings `p` plus its displacement.
#[derive(Clone, Debug, PartialEq)]
pub struct Deformation {
    /// Along the axes of the template's grid.
    controls: [Controls; 3],
    /// From the template's RAS+ millimetres to those along the axes of its grid, from its first voxel.
    grid_from_mm: AffineMap,
    /// RAS+ millimetres by control point, row-major.
    values_mm: Vec<[f32; 3]>,
}

impl Deformation {
    /// Returns how far a point of the template is displaced, in the template's RAS+ millimetres.
    pub fn displacement_mm(&self, point_mm: [f64; 3]) -> [f64; 3] {
        let place = self.grid_from_mm.apply(point_mm);
        let [xs, ys, zs] = [0, 1, 2].map(|axis| self.controls[axis].around(place[axis]));
        let [_, ny, nz] = self.controls.map(|controls| controls.count);
        let mut sum = [0.0; 3];
        for (x, weight_x) in (xs.0..).zip(xs.1) {
            for (y, weight_y) in (ys.0..).zip(ys.1) {
                for (z, weight_z) in (zs.0..).zip(zs.1) {
                    let weight = weight_x * weight_y * weight_z;
                    let value = self.values_mm[(x * ny + y) * nz + z];
                    for (sum, value) in sum.iter_mut().zip(value) {
                        *sum += weight * f64::from(value);
                    }
                }
            }
        }
        sum
    }

    /// Looks for the displacement that makes a patient tell most about the template; `None` if too
    /// little of the brain is free of tumour to be compared.
    ///
    /// The widest control points are moved at the first, coarser level, the others at the second;
    /// `map` goes from the template to the patient.
    pub(crate) fn find(
        [coarse, fine]: [&Level; 2],
        map: &AffineMap,
        centre_mm: [f64; 3],
    ) -> Result<Option<Self>, RegistrationError> {
        let device = fine.device;
        // Both levels cover the same template.
        let grid_from_mm = axes_from_mm(fine).ok_or(RegistrationError::Flat)?;
        let lengths_mm = {
            let edges_mm = fine.grid.affine.spacing().as_mm();
            [0, 1, 2].map(|axis| fine.grid.shape[axis] as f64 * edges_mm[axis])
        };
        let mut found: Option<([Controls; 3], Tensor)> = None;
        for step_mm in CONTROLS_MM {
            let controls = lengths_mm.map(|length| Controls::covering([0.0, length], step_mm));
            let (level, start) = match &found {
                None => {
                    let [x, y, z] = controls.map(|controls| controls.count as i64);
                    (coarse, Tensor::f_zeros([x, y, z, 3], (Kind::Float, device))?)
                }
                Some((wider, values)) => (fine, refined(wider, values, &controls, device)?),
            };
            let compared = Compared::new(level, &grid_from_mm, &controls)?;
            let search =
                Search { level, compared, affine: tensors(map, centre_mm, device)?, step_mm };
            let Some(values) = search.run(start)? else { return Ok(None) };
            found = Some((controls, values));
        }
        let (controls, values) = found.ok_or(RegistrationError::Flat)?;
        let values = Vec::<f32>::try_from(values.f_reshape([-1])?.f_to(Device::Cpu)?)?;
        let (values_mm, _) = values.as_chunks::<3>();
        Ok(Some(Self { controls, grid_from_mm, values_mm: values_mm.to_vec() }))
    }
}

/// Returns the map from RAS+ millimetres to those along the axes of a level's grid, from its first
/// voxel.
fn axes_from_mm(level: &Level) -> Option<AffineMap> {
    let mut scale = AffineMap::IDENTITY;
    for (axis, edge_mm) in level.grid.affine.spacing().as_mm().into_iter().enumerate() {
        scale.rows[axis][axis] = edge_mm;
    }
    Some(scale.after(&AffineMap::from(&level.grid.affine).inverse()?))
}

/// The points of a level that are compared: some of those in the brain.
struct Compared {
    /// Millimetres less the centre, `[point, 3]`.
    places: Tensor,
    /// The template's shares of bins, `[point, bin]`.
    shares: Tensor,
    /// Number of each point's voxel in the box around the points, row-major, `[point]`.
    voxels: Tensor,
    /// Weights of control points at the planes of that box, by axis.
    spread: [Tensor; 3],
}

impl Compared {
    fn new(
        level: &Level,
        grid_from_mm: &AffineMap,
        controls: &[Controls; 3],
    ) -> Result<Self, RegistrationError> {
        let inside = level.in_brain.f_nonzero()?.f_squeeze_dim(1)?;
        // They are in a random order already.
        let inside = inside.f_narrow(0, 0, inside.numel().min(POINTS_MAX as usize) as i64)?;
        let numbers = level.voxels.f_index_select(0, &inside)?.f_to(Device::Cpu)?;
        let grid = &level.grid;
        let [_, ny, nz] = grid.shape;
        let voxels: Vec<[usize; 3]> = Vec::<i64>::try_from(numbers)?
            .into_iter()
            .map(|number| {
                let number = number as usize;
                [number / (ny * nz), number / nz % ny, number % nz]
            })
            .collect();
        // The brain fills a third of the grid: the rest need not be known.
        let ranges = [0, 1, 2].map(|axis| {
            let along = || voxels.iter().map(|voxel| voxel[axis]);
            along().min().unwrap_or(0)..along().max().map_or(0, |last| last + 1)
        });
        let place = |axis: usize, index: usize| {
            let mut voxel = [0.0; 3];
            voxel[axis] = index as f64;
            grid_from_mm.apply(grid.affine.apply(voxel))[axis]
        };
        let coordinates =
            [0, 1, 2].map(|axis| ranges[axis].clone().map(|index| place(axis, index)).collect());
        let numbers: Vec<i64> = voxels
            .iter()
            .map(|voxel| {
                let [x, y, z] = [0, 1, 2].map(|axis| voxel[axis] - ranges[axis].start);
                ((x * ranges[1].len() + y) * ranges[2].len() + z) as i64
            })
            .collect();
        Ok(Self {
            places: level.places.f_index_select(0, &inside)?,
            shares: level.shares.f_index_select(0, &inside)?,
            voxels: Tensor::f_from_slice(&numbers)?.f_to(level.device)?,
            spread: spread(controls, &coordinates, level.device)?,
        })
    }

    /// Returns where values of control points bring the points, millimetres less the centre.
    fn displaced(&self, values: &Tensor) -> Result<Tensor, RegistrationError> {
        let everywhere = applied(&self.spread, values)?.f_reshape([-1, 3])?;
        Ok(self.places.f_add(&everywhere.f_index_select(0, &self.voxels)?)?)
    }
}

/// A search at one distance of control points.
struct Search<'a> {
    level: &'a Level,
    compared: Compared,
    /// Matrix and shift to the patient.
    affine: [Tensor; 2],
    step_mm: f64,
}

impl Search<'_> {
    /// Follows the gradient; `None` if too little can be compared.
    fn run(&self, start: Tensor) -> Result<Option<Tensor>, RegistrationError> {
        let mut values = start;
        let mut mean = values.f_zeros_like()?;
        let mut square = 0.0;
        for step in 0..STEPS {
            let Some(gradient) = self.gradient(&values)? else { return Ok(None) };
            let strength = gradient.f_square()?.f_mean(Kind::Float)?.f_double_value(&[])?;
            if strength == 0.0 {
                break;
            }
            let kept = mean.f_mul_scalar(DECAY[0])?;
            mean = kept.f_add(&gradient.f_mul_scalar(1.0 - DECAY[0])?)?;
            square = DECAY[1] * square + (1.0 - DECAY[1]) * strength;
            let age = step as i32 + 1;
            let square = square / (1.0 - DECAY[1].powi(age));
            let part = step as f64 / STEPS as f64;
            let length = STEP_PARTS[0] * (STEP_PARTS[1] / STEP_PARTS[0]).powf(part);
            // One scale for all control points: those that see nothing stay where they are.
            let factor = length * self.step_mm / (1.0 - DECAY[0].powi(age)) / square.sqrt();
            values = values.f_add(&mean.f_mul_scalar(factor)?)?;
        }
        Ok(Some(values))
    }

    /// Returns the slope of similarity less price by each value; `None` if too little can be compared.
    fn gradient(&self, values: &Tensor) -> Result<Option<Tensor>, RegistrationError> {
        let values = values.f_detach()?.f_set_requires_grad(true)?;
        let places = self.compared.displaced(&values)?;
        let sampled = self.level.sample_at(&places, &self.affine[0], &self.affine[1])?;
        // Neither tumour nor what was cut away may pull.
        let clean = sampled.weights.f_ge(1.0 - LESION_SHARE_MAX)?.f_to_kind(Kind::Float)?;
        let there = sampled.foreground.f_ge(0.5)?.f_to_kind(Kind::Float)?;
        let weights = clean.f_mul(&there)?;
        if weights.f_mean(Kind::Float)?.f_double_value(&[])? < COMPARED_SHARE_MIN {
            return Ok(None);
        }
        let moving = bin_shares(&sampled.values)?;
        let similarity = normalised_mutual_information(&self.compared.shares, &moving, &weights)?;
        let price = self.bending(&values)?.f_mul_scalar(BENDING_PRICE)?;
        let gain = similarity.f_sub(&price)?;
        let mut slopes = Tensor::f_run_backward(&[&gain], &[&values], false, false)?;
        Ok(slopes.pop())
    }

    /// Returns the mean over control points of squared second differences, and a part of squared
    /// first ones, in distances of control points.
    fn bending(&self, values: &Tensor) -> Result<Tensor, RegistrationError> {
        let mut sum = Tensor::f_zeros([1], (Kind::Float, values.device()))?;
        for axis in 0..3 {
            let side = values.size()[axis as usize];
            let apart = |values: &Tensor, side: i64| {
                let low = values.f_narrow(axis, 0, side - 1)?;
                values.f_narrow(axis, 1, side - 1)?.f_sub(&low)
            };
            let first = apart(values, side)?;
            let second = apart(&first, side - 1)?;
            sum = sum.f_add(&second.f_square()?.f_sum(Kind::Float)?)?;
            let stretch = first.f_square()?.f_sum(Kind::Float)?.f_mul_scalar(STRETCH_PART)?;
            sum = sum.f_add(&stretch)?;
        }
        let controls = values.numel() as f64 / 3.0;
        Ok(sum.f_div_scalar(controls * self.step_mm * self.step_mm)?.f_sum(Kind::Float)?)
    }
}

/// Returns values of control points at the coordinates of three matrices, `[x, y, z, 3]`.
fn applied(spread: &[Tensor; 3], values: &Tensor) -> Result<Tensor, RegistrationError> {
    let mut values = values.shallow_clone();
    for matrix in spread {
        // Along the first of the three axes, which then becomes the last of them.
        let size = values.size();
        let rest: i64 = size[1..].iter().product();
        let along = matrix.f_matmul(&values.f_reshape([size[0], rest])?)?;
        values = along.f_view([matrix.size()[0], size[1], size[2], 3])?.f_permute([1, 2, 0, 3])?;
    }
    Ok(values)
}

fn spread(
    controls: &[Controls; 3],
    coordinates: &[Vec<f64>; 3],
    device: Device,
) -> Result<[Tensor; 3], RegistrationError> {
    let matrix = |axis: usize| controls[axis].matrix(&coordinates[axis], device);
    Ok([matrix(0)?, matrix(1)?, matrix(2)?])
}

/// Returns the values of finer control points that give the displacement of the wider ones.
fn refined(
    coarse: &[Controls; 3],
    values: &Tensor,
    fine: &[Controls; 3],
    device: Device,
) -> Result<Tensor, RegistrationError> {
    let coordinates = fine.map(|controls| {
        (0..controls.count).map(|number| controls.first + number as f64 * controls.step).collect()
    });
    let wanted = applied(&spread(coarse, &coordinates, device)?, values)?;
    // A spline smooths the values of its control points: they are corrected by what it loses.
    let smoothing = spread(fine, &coordinates, device)?;
    let mut refined = wanted.shallow_clone();
    for _ in 0..CORRECTIONS {
        refined = refined.f_add(&wanted.f_sub(&applied(&smoothing, &refined)?)?)?;
    }
    Ok(refined.f_contiguous()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finer_control_points_give_the_same_displacement() {
        let length_mm = 160.0;
        let [wide, fine] =
            [32.0, 20.0].map(|step_mm| [Controls::covering([0.0, length_mm], step_mm); 3]);
        let count = wide[0].count as i64;
        let values = Tensor::zeros([count, count, count, 3], (Kind::Float, Device::Cpu));
        // One control point in the middle is moved by 10 mm along the first axis.
        let middle = count / 2;
        let _ = values.get(middle).get(middle).get(middle).get(0).fill_(10.0);
        let deformation = |controls: [Controls; 3], values: &Tensor| Deformation {
            controls,
            grid_from_mm: AffineMap::IDENTITY,
            values_mm: Vec::<f32>::try_from(values.reshape([-1])).unwrap().as_chunks().0.to_vec(),
        };
        let refined = refined(&wide, &values, &fine, Device::Cpu).unwrap();
        let (before, after) = (deformation(wide, &values), deformation(fine, &refined));
        let peak_mm = before.displacement_mm([80.0; 3])[0];
        assert!(peak_mm > 1.0, "{peak_mm}");
        for place in [[80.0, 80.0, 80.0], [60.0, 80.0, 90.0], [100.0, 70.0, 80.0], [20.0; 3]] {
            let [one, other] = [&before, &after].map(|found| found.displacement_mm(place)[0]);
            assert!((one - other).abs() < 0.05 * peak_mm, "{place:?}: {one} {other}");
        }
    }
}
