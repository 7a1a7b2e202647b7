//! Template and patient at one spacing, as tensors.

use neurotriage_imaging::{AffineMap, Grid};
use rand::{SeedableRng as _, seq::SliceRandom as _};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

use crate::{
    RegistrationError, Target,
    moving::{Moving, Skull},
    pyramid::{Fineness, Layer},
    similarity::bin_shares,
};

/// How [`Tensor::f_grid_sampler`] fills in: between voxels, linearly.
const LINEAR: i64 = 0;
/// And outside the grid: 0.
const ZEROS: i64 = 0;

/// Seed of the order of points.
const ORDER_SEED: u64 = 7;

/// What is compared at one spacing.
#[derive(Debug)]
pub(crate) struct Level {
    /// Places in the template less its centre, in a random order, `[point, 3]`, millimetres.
    pub(crate) places: Tensor,
    /// Values of the template, `[point]`.
    pub(crate) values: Tensor,
    /// Their shares of bins, `[point, bin]`.
    pub(crate) shares: Tensor,
    /// 1 in the template's brain, `[point]`.
    pub(crate) in_brain: Tensor,
    /// Number of each point's voxel in the template's grid, row-major, `[point]`.
    pub(crate) voxels: Tensor,
    /// The template's grid.
    pub(crate) grid: Grid,
    /// The patient: intensity, what may be compared, and what is not air; `[1, 3, x, y, z]`.
    moving: Tensor,
    /// From RAS+ millimetres to the coordinates of `grid_sampler`: z, y, x, each -1 to 1.
    sampler_from_mm: AffineMap,
    skull: Skull,
    pub(crate) device: Device,
}

/// What the patient's image holds at the places of a template.
pub(crate) struct Sampled {
    /// Intensity, `[point]`.
    pub(crate) values: Tensor,
    /// 0 where nothing may be compared, without gradient.
    pub(crate) weights: Tensor,
    /// Share that is not air, without gradient.
    pub(crate) foreground: Tensor,
}

impl Level {
    pub(crate) fn new(
        target: &Target,
        moving: &Moving,
        fineness: Fineness,
        device: Device,
    ) -> Result<Self, RegistrationError> {
        let points = target.points(fineness);
        let mut order: Vec<usize> = (0..points.values.len())
            // What lies around a brain tells nothing where a skull is.
            .filter(|&index| moving.skull == Skull::Removed || points.in_brain[index])
            .collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(ORDER_SEED));
        let centre = target.centre_mm();
        let places: Vec<f32> = order
            .iter()
            .flat_map(|&index| {
                let place = points.places_mm[index];
                [0, 1, 2].map(|axis| (place[axis] - centre[axis]) as f32)
            })
            .collect();
        let values: Vec<f32> = order.iter().map(|&index| points.values[index]).collect();
        let in_brain: Vec<f32> =
            order.iter().map(|&index| if points.in_brain[index] { 1.0 } else { 0.0 }).collect();
        let [_, ny, nz] = points.grid.shape;
        let voxel = |[x, y, z]: [usize; 3]| ((x * ny + y) * nz + z) as i64;
        let voxels: Vec<i64> = order.iter().map(|&index| voxel(points.voxels[index])).collect();
        let values = Tensor::f_from_slice(&values)?.f_to(device)?;
        let layer = &moving.layers[fineness as usize];
        let left_out = moving.lesions.as_ref().map(|layers| &layers[fineness as usize]);
        let foreground = &moving.foreground[fineness as usize];
        Ok(Self {
            places: Tensor::f_from_slice(&places)?.f_view([-1, 3])?.f_to(device)?,
            shares: bin_shares(&values)?,
            values,
            in_brain: Tensor::f_from_slice(&in_brain)?.f_to(device)?,
            voxels: Tensor::f_from_slice(&voxels)?.f_to(device)?,
            grid: points.grid,
            moving: channels(layer, left_out, foreground, moving.skull)?.f_to(device)?,
            sampler_from_mm: sampler_from_mm(&layer.grid).ok_or(RegistrationError::Flat)?,
            skull: moving.skull,
            device,
        })
    }

    /// Returns the number of points.
    pub(crate) fn len(&self) -> i64 {
        self.values.size().first().copied().unwrap_or(0)
    }

    /// Samples the patient where a map brings the template's places `first..first + count`.
    ///
    /// # Shapes
    /// - `matrix`: `[3, 3]`, of places less the centre to millimetres of the patient
    /// - `shift`: `[3]`, where the centre goes
    pub(crate) fn sample(
        &self,
        matrix: &Tensor,
        shift: &Tensor,
        (first, count): (i64, i64),
    ) -> Result<Sampled, RegistrationError> {
        self.sample_at(&self.places.f_narrow(0, first, count)?, matrix, shift)
    }

    /// Samples the patient where a map brings some places of the template.
    ///
    /// # Shapes
    /// - `places`: `[point, 3]`, millimetres less the centre
    /// - `matrix`, `shift`: as in [`Self::sample`]
    pub(crate) fn sample_at(
        &self,
        places: &Tensor,
        matrix: &Tensor,
        shift: &Tensor,
    ) -> Result<Sampled, RegistrationError> {
        let [linear, offset] = tensors(&self.sampler_from_mm, [0.0; 3], self.device)?;
        let count = places.size().first().copied().unwrap_or(0);
        let to_sampler = linear.f_matmul(matrix)?;
        let offset = linear.f_matmul(&shift.f_unsqueeze(1)?)?.f_squeeze_dim(1)?.f_add(&offset)?;
        let grid = places.f_matmul(&to_sampler.f_tr()?)?.f_add(&offset)?;
        let grid = grid.f_view([1, 1, 1, count, 3])?;
        let sampled = self.moving.f_grid_sampler(&grid, LINEAR, ZEROS, true)?;
        let channel = |index: i64| sampled.f_select(1, index)?.f_reshape([count]);
        let usable = channel(1)?.f_detach()?;
        let weights = match self.skull {
            // The channel holds what is left out: around the grid lies air.
            Skull::Removed => usable.f_neg()?.f_add_scalar(1.0)?,
            Skull::Present => usable,
        };
        Ok(Sampled { values: channel(0)?, weights, foreground: channel(2)?.f_detach()? })
    }
}

/// Returns a map as matrix `[3, 3]` and shift `[3]` of points less a centre.
pub(crate) fn tensors(
    map: &AffineMap,
    centre: [f64; 3],
    device: Device,
) -> Result<[Tensor; 2], RegistrationError> {
    let matrix: Vec<f32> =
        map.rows.iter().flat_map(|row| [row[0] as f32, row[1] as f32, row[2] as f32]).collect();
    let shift = map.apply(centre).map(|value| value as f32);
    Ok([
        Tensor::f_from_slice(&matrix)?.f_view([3, 3])?.f_to(device)?,
        Tensor::f_from_slice(&shift)?.f_to(device)?,
    ])
}

fn channels(
    image: &Layer,
    left_out: Option<&Layer>,
    foreground: &Layer,
    skull: Skull,
) -> Result<Tensor, RegistrationError> {
    let sides = image.grid.shape.map(|side| side as i64);
    let tensor = |values: &ndarray::Array3<f32>| -> Result<Tensor, RegistrationError> {
        let values: Vec<f32> = values.iter().copied().collect();
        Ok(Tensor::f_from_slice(&values)?.f_view([1, 1, sides[0], sides[1], sides[2]])?)
    };
    let values = tensor(&image.values)?;
    let left_out = match left_out {
        Some(layer) => tensor(&layer.values)?,
        None => values.f_zeros_like()?,
    };
    let usable = match skull {
        Skull::Removed => left_out,
        Skull::Present => left_out.f_neg()?.f_add_scalar(1.0)?,
    };
    Ok(Tensor::f_cat(&[values, usable, tensor(&foreground.values)?], 1)?.f_to_kind(Kind::Float)?)
}

/// Returns the map to the coordinates of `grid_sampler` with aligned corners: the last axis first,
/// -1 at the first voxel and 1 at the last.
fn sampler_from_mm(grid: &Grid) -> Option<AffineMap> {
    let voxel_from_mm = AffineMap::from(&grid.affine).inverse()?;
    let mut rows = [[0.0; 4]; 3];
    for (axis, &side) in grid.shape.iter().enumerate() {
        let scale = 2.0 / (side.max(2) as f64 - 1.0);
        let mut row = voxel_from_mm.rows[axis].map(|value| value * scale);
        row[3] -= 1.0;
        rows[2 - axis] = row;
    }
    Some(AffineMap { rows })
}
