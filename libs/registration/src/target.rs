//! The template, ready to be compared.

use ndarray::Array3;
use neurotriage_imaging::{AffineMap, Grid, Image};
use neurotriage_metrics::distance::squared_distance_mm2;

use crate::{
    RegistrationError,
    pyramid::{Fineness, normalised, pyramid},
};

/// How far around the brain a template is compared, in millimetres: there lies air, or what an
/// affine map must not pull into the brain.
const MARGIN_MM: f64 = 8.0;

/// Least volume of a template's brain, in millilitres.
const BRAIN_ML_MIN: f64 = 500.0;

/// A template: a brain without skull, at several spacings.
#[derive(Debug)]
pub struct Target {
    layers: Vec<Points>,
    centre_mm: [f64; 3],
}

/// Places at which a template is compared.
#[derive(Debug)]
pub(crate) struct Points {
    /// RAS+ millimetres.
    pub(crate) places_mm: Vec<[f64; 3]>,
    /// 0 to 1; air is 0.
    pub(crate) values: Vec<f32>,
    pub(crate) in_brain: Vec<bool>,
    /// Voxels of `grid`, `[x, y, z]`.
    pub(crate) voxels: Vec<[usize; 3]>,
    /// Where those lie.
    pub(crate) grid: Grid,
}

impl Target {
    /// Prepares a template.
    ///
    /// # Shapes
    /// - `image`: `[x, y, z]`, any orientation and spacing; 0 outside the brain, more inside
    ///
    /// # Errors
    /// [`RegistrationError::Target`] if there is no brain in it.
    pub fn new(image: &Image) -> Result<Self, RegistrationError> {
        let refuse = |reason: &str| RegistrationError::Target { reason: reason.to_owned() };
        let grid = image.grid();
        let brain = image.voxels.mapv(|value| value > 0.0);
        let voxels = brain.iter().filter(|&&inside| inside).count();
        if voxels as f64 * image.spacing().voxel_volume_mm3() / 1000.0 < BRAIN_ML_MIN {
            return Err(refuse("it holds no brain"));
        }
        let inside: Vec<f32> = image.voxels.iter().copied().filter(|&value| value > 0.0).collect();
        let values = normalised(&image.voxels, &inside)
            .ok_or_else(|| refuse("all its voxels are the same"))?;
        let values = ndarray::Zip::from(&values)
            .and(&brain)
            .map_collect(|&value, &inside| if inside { 0.1 + 0.9 * value } else { 0.0 });
        let share = brain.mapv(|inside| if inside { 1.0 } else { 0.0 });
        let mut layers = Vec::new();
        for (values, share) in pyramid(&values, &grid).iter().zip(pyramid(&share, &grid)) {
            let in_brain: Array3<bool> = share.values.mapv(|share| share >= 0.5);
            let squared = squared_distance_mm2(in_brain.view(), share.grid.affine.spacing());
            let mut points = Points {
                places_mm: Vec::new(),
                values: Vec::new(),
                in_brain: Vec::new(),
                voxels: Vec::new(),
                grid: share.grid,
            };
            for ((x, y, z), &squared_mm2) in squared.indexed_iter() {
                if f64::from(squared_mm2) <= MARGIN_MM * MARGIN_MM {
                    let place = share.grid.affine.apply([x as f64, y as f64, z as f64]);
                    points.places_mm.push(place);
                    points.values.push(values.values[[x, y, z]]);
                    points.in_brain.push(in_brain[[x, y, z]]);
                    points.voxels.push([x, y, z]);
                }
            }
            layers.push(points);
        }
        let mut centre_mm = [0.0; 3];
        let coarse = layers.last().ok_or_else(|| refuse("it has no voxels"))?;
        let inside = coarse.places_mm.iter().zip(&coarse.in_brain).filter(|(_, inside)| **inside);
        let inside: Vec<[f64; 3]> = inside.map(|(place, _)| *place).collect();
        for place in &inside {
            for (centre, mm) in centre_mm.iter_mut().zip(place) {
                *centre += mm / inside.len() as f64;
            }
        }
        Ok(Self { layers, centre_mm })
    }

    /// Returns the centre of mass of the brain, in RAS+ millimetres.
    pub fn centre_mm(&self) -> [f64; 3] {
        self.centre_mm
    }

    /// Returns the mean distance over the brain between where a map brings a patient's point and
    /// where it would stay, in millimetres: how far the patient lay from the template.
    pub fn mean_distance_mm(&self, target_from_patient: &AffineMap) -> f64 {
        let Some(patient_from_target) = target_from_patient.inverse() else { return f64::INFINITY };
        let points = self.points(Fineness::Coarse);
        let (mut sum, mut count) = (0.0, 0.0);
        for (place, _) in
            points.places_mm.iter().zip(&points.in_brain).filter(|(_, inside)| **inside)
        {
            let from = patient_from_target.apply(*place);
            let squared: f64 = (0..3).map(|axis| (from[axis] - place[axis]).powi(2)).sum();
            sum += squared.sqrt();
            count += 1.0;
        }
        sum / f64::max(count, 1.0)
    }

    pub(crate) fn points(&self, fineness: Fineness) -> &Points {
        &self.layers[fineness as usize]
    }
}
