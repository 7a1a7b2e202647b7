//! How far the middle of the brain is pushed to one side.

use neurotriage_domain::{Side, Structure};
use neurotriage_imaging::AffineMap;
use serde::{Deserialize, Serialize};

use crate::Atlas;

/// How far from the midline both lateral ventricles must begin for the septum pellucidum to be between
/// them, in millimetres: their front horns and bodies do, further back they part.
const VENTRICLES_MM: f64 = 6.0;

/// Distance of the places looked at, in millimetres.
const STEP_MM: f64 = 2.0;

/// How far from the midline both hemispheres must lie where the falx ends, in millimetres.
const HEMISPHERES_MM: f64 = 6.0;

/// How far inside the ends of the falx its place is read, in millimetres: there is brain on all sides.
const INSET_MM: f64 = 6.0;

/// The largest displacement of the septum pellucidum from the ideal midline, which is the straight
/// line between the front and the back end of the falx at the same height.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct MidlineShift {
    /// Towards the patient's right, in the patient's millimetres; negative is to the left.
    pub right_mm: f64,
    /// Where the septum lies in the template, in its RAS+ millimetres.
    pub atlas_mm: [f64; 3],
    /// Where it lies in the patient, in RAS+ millimetres.
    pub patient_mm: [f64; 3],
}

impl MidlineShift {
    /// About how far off a shift may be, in millimetres: six real studies pushed by 5 and 10 mm come
    /// back within 1, and in the one of six whose tumour presses one ventricle shut the septum was
    /// found 3 mm from where the eye sees it.
    pub const ERROR_MM: f64 = 3.0;

    /// Measures the shift.
    ///
    /// `displacement_mm` is how far a point of the template is displaced in the patient beyond the
    /// affine map, in the template's RAS+ millimetres, such as registration finds it. `None` if the
    /// atlas has no place between lateral ventricles, the map flattens space, or a displacement is no
    /// number.
    pub fn measure(
        atlas: &Atlas,
        template_from_patient: &AffineMap,
        displacement_mm: impl Fn([f64; 3]) -> [f64; 3],
    ) -> Option<Self> {
        let patient_from_template = template_from_patient.inverse()?;
        let off_mm = |row: &SeptumPlace| {
            let [front, back] = row.falx_mm.map(|end_mm| (end_mm[1], displacement_mm(end_mm)[0]));
            let part = (row.septum_mm[1] - back.0) / (front.0 - back.0);
            displacement_mm(row.septum_mm)[0] - (back.1 + part * (front.1 - back.1))
        };
        let all = atlas.septum().iter().map(|row| (row, off_mm(row)));
        let (row, off_mm) = all.max_by(|a, b| a.1.abs().total_cmp(&b.1.abs()))?;
        let by_mm = displacement_mm(row.septum_mm);
        let place = [0, 1, 2].map(|axis| row.septum_mm[axis] + by_mm[axis]);
        let patient_mm = patient_from_template.apply(place);
        let ideal = patient_from_template.apply([place[0] - off_mm, place[1], place[2]]);
        let squared: f64 = (0..3).map(|axis| (patient_mm[axis] - ideal[axis]).powi(2)).sum();
        let right_mm = squared.sqrt().copysign(off_mm);
        right_mm.is_finite().then_some(Self { right_mm, atlas_mm: row.septum_mm, patient_mm })
    }

    /// Returns the side to which the midline is pushed; the midline if that is within the error.
    pub fn side(&self) -> Side {
        Self::side_of_mm(self.right_mm)
    }

    /// Returns the side of a shift to the right by so many millimetres.
    pub fn side_of_mm(right_mm: f64) -> Side {
        if right_mm.abs() <= Self::ERROR_MM {
            Side::Midline
        } else if right_mm > 0.0 {
            Side::Right
        } else {
            Side::Left
        }
    }
}

/// A place between the lateral ventricles.
#[derive(Debug)]
pub(crate) struct SeptumPlace {
    septum_mm: [f64; 3],
    /// Front and back end of the falx at the same height.
    falx_mm: [[f64; 3]; 2],
}

/// Returns the places of the septum pellucidum, in the atlas's RAS+ millimetres.
pub(crate) fn septum_places(atlas: &Atlas) -> Vec<SeptumPlace> {
    let [low, high] = atlas.extent_mm();
    let steps = |axis: usize| {
        let count = ((high[axis] - low[axis]) / STEP_MM) as u32;
        (0..=count).map(move |step| low[axis] + f64::from(step) * STEP_MM)
    };
    let middle = |y: f64, z: f64| [atlas.midline_x_mm(y, z), y, z];
    // Whether the left region lies within reach on the left, and the right one on the right.
    let beside = |point: [f64; 3], reach_mm: f64, wanted: &dyn Fn(Structure) -> bool| {
        let count = (reach_mm / STEP_MM) as u32;
        [(-1.0, Side::Left), (1.0, Side::Right)].into_iter().all(|(sign, side)| {
            (0..=count).any(|step| {
                let x = point[0] + sign * f64::from(step) * STEP_MM;
                let region = atlas.region_at([x, point[1], point[2]]);
                region.is_some_and(|region| region.side == side && wanted(region.structure))
            })
        })
    };
    let is_ventricle = |structure| structure == Structure::LateralVentricle;
    let mut rows = Vec::new();
    for z in steps(2) {
        let mut brain = steps(1).filter(|&y| beside(middle(y, z), HEMISPHERES_MM, &|_| true));
        let Some(back) = brain.next() else { continue };
        let front = brain.next_back().unwrap_or(back);
        let (front, back) = (front - INSET_MM, back + INSET_MM);
        let falx_mm = [middle(front, z), middle(back, z)];
        for y in steps(1).filter(|&y| y > back && y < front) {
            let septum_mm = middle(y, z);
            if beside(septum_mm, VENTRICLES_MM, &is_ventricle) {
                rows.push(SeptumPlace { septum_mm, falx_mm });
            }
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Template;

    /// A displacement of the middle of SRI24's septum that fades away.
    fn bump(right_mm: f64) -> impl Fn([f64; 3]) -> [f64; 3] {
        let centre = [-118.0, 132.0, 80.0];
        move |point| {
            let squared: f64 = (0..3).map(|axis| (point[axis] - centre[axis]).powi(2)).sum();
            // Far away it is some millimetres to the right: the head lies askew.
            [1.0 + right_mm * (-squared / 1250.0).exp() + 0.02 * point[1], 5.0, -3.0]
        }
    }

    #[test]
    fn the_shift_is_that_of_the_septum_from_the_line_between_the_ends_of_the_falx() {
        let atlas = Atlas::of(Template::Sri24).unwrap();
        for (right_mm, side) in
            [(9.0, Side::Right), (-6.0, Side::Left), (0.5, Side::Midline), (0.0, Side::Midline)]
        {
            let shift =
                MidlineShift::measure(&atlas, &AffineMap::IDENTITY, bump(right_mm)).unwrap();
            // A little of the push reaches the ends of the falx.
            assert!((shift.right_mm - right_mm).abs() < 0.6, "{right_mm}: {shift:?}");
            assert_eq!(shift.side(), side, "{right_mm}");
            if right_mm.abs() > 1.0 {
                assert!((shift.atlas_mm[1] - 132.0).abs() <= 6.0, "{shift:?}");
                assert_eq!(shift.patient_mm[1], shift.atlas_mm[1] + 5.0);
            }
        }
    }

    #[test]
    fn millimetres_are_those_of_the_patient() {
        let atlas = Atlas::of(Template::Sri24).unwrap();
        // The patient's head is a tenth smaller than the template.
        let mut larger = AffineMap::IDENTITY;
        for axis in 0..3 {
            larger.rows[axis][axis] = 1.0 / 0.9;
        }
        let same = MidlineShift::measure(&atlas, &AffineMap::IDENTITY, bump(8.0)).unwrap();
        let small = MidlineShift::measure(&atlas, &larger, bump(8.0)).unwrap();
        assert!((small.right_mm - 0.9 * same.right_mm).abs() < 1e-9);
        let mut flat = AffineMap::IDENTITY;
        flat.rows[0] = [0.0; 4];
        assert_eq!(MidlineShift::measure(&atlas, &flat, bump(8.0)), None);
    }

    #[test]
    fn both_atlases_have_a_septum_in_the_middle_of_the_brain() {
        for template in Template::ALL {
            let atlas = Atlas::of(template).unwrap();
            let rows = atlas.septum();
            assert!(rows.len() > 100, "{template:?}: {}", rows.len());
            for row in rows {
                let [front, back] = row.falx_mm;
                let length_mm = front[1] - back[1];
                assert!((110.0..190.0).contains(&length_mm), "{template:?}: {length_mm}");
                assert!(row.septum_mm[1] > back[1] && row.septum_mm[1] < front[1]);
            }
        }
    }
}
