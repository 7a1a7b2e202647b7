//! Which lesion of one study is which of the other.

use crate::measurement::LesionMeasurements;

/// How far two registrations of one brain may place the same point from one another, in millimetres.
///
/// Twice the 3 mm within which the localiser takes a registered study to lie.
const PLACEMENT_MM: f64 = 6.0;

/// Cubic millimetres in a millilitre.
const MM3_PER_ML: f64 = 1_000.0;

/// What became of a lesion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LesionFate {
    /// In both studies.
    Followed,
    /// Of the earlier study: now part of a lesion that another one is followed to.
    Merged,
    /// Of the later study: part of an earlier lesion that is followed to another one.
    Split,
    /// In the earlier study only.
    Gone,
    /// In the later study only.
    New,
}

/// A lesion from one study to the other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LesionChange {
    /// What became of it.
    pub fate: LesionFate,
    /// Index in the earlier study; `None` if it is new.
    pub earlier: Option<usize>,
    /// Index in the later study; `None` if it is gone.
    pub later: Option<usize>,
    /// Distance of the two centres, in millimetres; `None` without two.
    pub distance_mm: Option<f64>,
}

/// Two lesions that may be the same.
#[derive(Clone, Copy)]
struct Pair {
    earlier: usize,
    later: usize,
    distance_mm: f64,
}

/// Returns what became of each lesion, those of the earlier study first; `None` if a centre is not known.
///
/// Two lesions may be the same if spheres of their volumes around their centres touch, give or take
/// [`PLACEMENT_MM`]. The nearest pair is taken first, each lesion once; one that is left over within
/// reach of a taken one has merged with it or split from it, so that only what lies apart is new. The
/// rule is ours.
pub(super) fn follow(
    earlier: &[LesionMeasurements],
    later: &[LesionMeasurements],
) -> Option<Vec<LesionChange>> {
    let pairs = pairs(earlier, later)?;
    let mut taken: Vec<Pair> = Vec::new();
    for pair in &pairs {
        if taken.iter().all(|other| other.earlier != pair.earlier && other.later != pair.later) {
            taken.push(*pair);
        }
    }
    let mut changes = Vec::new();
    for index in 0..earlier.len() {
        let of_this = |pair: &&Pair| pair.earlier == index;
        changes.push(match (taken.iter().find(of_this), pairs.iter().find(of_this)) {
            (Some(pair), _) => linked(LesionFate::Followed, pair),
            (None, Some(pair)) => linked(LesionFate::Merged, pair),
            (None, None) => LesionChange {
                fate: LesionFate::Gone,
                earlier: Some(index),
                later: None,
                distance_mm: None,
            },
        });
    }
    for index in 0..later.len() {
        let of_this = |pair: &&Pair| pair.later == index;
        if taken.iter().any(|pair| pair.later == index) {
            continue;
        }
        changes.push(match pairs.iter().find(of_this) {
            Some(pair) => linked(LesionFate::Split, pair),
            None => LesionChange {
                fate: LesionFate::New,
                earlier: None,
                later: Some(index),
                distance_mm: None,
            },
        });
    }
    Some(changes)
}

fn linked(fate: LesionFate, pair: &Pair) -> LesionChange {
    LesionChange {
        fate,
        earlier: Some(pair.earlier),
        later: Some(pair.later),
        distance_mm: Some(pair.distance_mm),
    }
}

/// Returns the pairs within reach, nearest first.
fn pairs(earlier: &[LesionMeasurements], later: &[LesionMeasurements]) -> Option<Vec<Pair>> {
    let mut pairs = Vec::new();
    for lesion in earlier.iter().chain(later) {
        lesion.centroid_template_mm?;
    }
    for (number, before) in earlier.iter().enumerate() {
        for (other, after) in later.iter().enumerate() {
            let (from, to) = (before.centroid_template_mm?, after.centroid_template_mm?);
            let squared: f64 = (0..3).map(|axis| (from[axis] - to[axis]).powi(2)).sum();
            let distance_mm = squared.sqrt();
            let reach_mm = radius_mm(before.whole_ml) + radius_mm(after.whole_ml) + PLACEMENT_MM;
            if distance_mm <= reach_mm {
                pairs.push(Pair { earlier: number, later: other, distance_mm });
            }
        }
    }
    pairs.sort_by(|a, b| a.distance_mm.total_cmp(&b.distance_mm));
    Some(pairs)
}

/// Returns the radius of a sphere of a volume, in millimetres.
fn radius_mm(volume_ml: f64) -> f64 {
    (3.0 * volume_ml * MM3_PER_ML / (4.0 * std::f64::consts::PI)).cbrt()
}
