//! A tumour by the products of two diameters, and the thresholds of RANO.

use super::{LesionChange, LesionFate, change_percent};
use crate::measurement::{AxialDiameters, LesionMeasurements, Measurements};

/// Most target lesions.
///
/// # Source
/// Wen et al., "RANO 2.0: Update to the Response Assessment in Neuro-Oncology Criteria for High- and
/// Low-Grade Gliomas in Adults", J Clin Oncol 2023;41:5187, doi:10.1200/JCO.23.01059: the two largest
/// lesions, enhancing ones where there are any. Its thresholds, below, are those of RANO 2010 for two diameters.
const TARGETS_MAX: usize = 2;

/// Increase in percent from which RANO looks for progression, by two diameters and by volume.
const INCREASE_PERCENT_MIN: [f64; 2] = [25.0, 40.0];

/// Decrease in percent from which RANO looks for partial response, by two diameters and by volume.
const DECREASE_PERCENT_MIN: [f64; 2] = [50.0, 65.0];

/// Allowed for rounding at a threshold, in percent.
const ROUNDING_PERCENT: f64 = 1e-9;

/// What is measured of each lesion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tissue {
    /// What enhances.
    Enhancing,
    /// All of it, as T2 and FLAIR show it.
    Whole,
}

impl Tissue {
    fn axial(self, lesion: &LesionMeasurements) -> Option<AxialDiameters> {
        match self {
            Self::Enhancing => lesion.enhancing_axial,
            Self::Whole => lesion.axial,
        }
    }

    fn is_measurable(self, lesion: &LesionMeasurements) -> bool {
        self.axial(lesion).is_some_and(|axial| axial.is_measurable())
    }

    fn product_mm2(self, lesion: &LesionMeasurements) -> f64 {
        self.axial(lesion).map_or(0.0, |axial| axial.product_mm2)
    }

    fn volume_ml(self, measurements: &Measurements) -> f64 {
        match self {
            Self::Enhancing => measurements.enhancing_ml(),
            Self::Whole => measurements.whole_ml(),
        }
    }

    /// Returns the sum of the largest products of a study, where lesions cannot be followed.
    fn largest_sum_mm2(self, measurements: &Measurements) -> f64 {
        let mut products: Vec<f64> =
            measurements.lesions.iter().map(|lesion| self.product_mm2(lesion)).collect();
        products.sort_by(|a, b| b.total_cmp(a));
        products.iter().take(TARGETS_MAX).sum()
    }

    fn lesion(self) -> &'static str {
        match self {
            Self::Enhancing => "enhancing lesion",
            Self::Whole => "lesion",
        }
    }
}

/// Why nothing can be said of diameters that are not told.
const UNTOLD: &str = "A segmentation was stored before diameters were measured: compare volumes.";

/// How an imaging measure changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImagingChange {
    /// There is nothing that the criteria can measure.
    NotMeasurable,
    /// Above the threshold of progression, or a new measurable lesion.
    Increase,
    /// Between the thresholds.
    Stable,
    /// Beyond the threshold of partial response, without a new measurable lesion.
    Decrease,
    /// Nothing of it is left.
    Disappeared,
}

/// A lesion whose diameters are followed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TargetLesion {
    /// Index in the earlier study.
    pub earlier: usize,
    /// In square millimetres.
    pub earlier_product_mm2: f64,
    /// Sum of the products of what it became; `None` if lesions cannot be followed.
    pub later_product_mm2: Option<f64>,
}

/// How a tumour changed by two diameters.
#[derive(Clone, Debug, PartialEq)]
pub struct BidimensionalChange {
    /// Largest first.
    pub targets: Vec<TargetLesion>,
    /// In square millimetres.
    pub earlier_sum_mm2: f64,
    /// In square millimetres.
    pub later_sum_mm2: f64,
    /// In percent of the earlier sum; `None` if that is 0 or diameters are not told.
    pub change_percent: Option<f64>,
    /// Which thresholds are passed.
    pub change: ImagingChange,
    /// Why, in a sentence.
    pub reason: String,
    /// Whether a measurable lesion is new.
    pub new_measurable: bool,
}

/// Compares the target lesions of two studies. `followed` is `None` if lesions cannot be followed.
pub(super) fn compare(
    tissue: Tissue,
    [earlier, later]: [&Measurements; 2],
    followed: Option<&[LesionChange]>,
) -> BidimensionalChange {
    let mut order: Vec<usize> = (0..earlier.lesions.len())
        .filter(|&index| tissue.is_measurable(&earlier.lesions[index]))
        .collect();
    order.sort_by(|&a, &b| {
        tissue.product_mm2(&earlier.lesions[b]).total_cmp(&tissue.product_mm2(&earlier.lesions[a]))
    });
    order.truncate(TARGETS_MAX);
    // A lesion that two targets merged into counts once.
    let mut counted: Vec<usize> = Vec::new();
    let mut targets = Vec::new();
    for index in order {
        let later_product_mm2 = followed.map(|changes| {
            let became = changes.iter().filter(|change| change.earlier == Some(index));
            let mut sum_mm2 = 0.0;
            for other in became.filter_map(|change| change.later) {
                if !counted.contains(&other) {
                    counted.push(other);
                    sum_mm2 += tissue.product_mm2(&later.lesions[other]);
                }
            }
            sum_mm2
        });
        let earlier_product_mm2 = tissue.product_mm2(&earlier.lesions[index]);
        targets.push(TargetLesion { earlier: index, earlier_product_mm2, later_product_mm2 });
    }
    let earlier_sum_mm2 = targets.iter().map(|target| target.earlier_product_mm2).sum();
    let later_sum_mm2 = match followed {
        Some(_) => targets.iter().filter_map(|target| target.later_product_mm2).sum(),
        None => tissue.largest_sum_mm2(later),
    };
    let new_measurable = followed.is_some_and(|changes| {
        let new = changes.iter().filter(|change| change.fate == LesionFate::New);
        new.filter_map(|change| change.later)
            .any(|index| tissue.is_measurable(&later.lesions[index]))
    });
    // What was not told is not 0.
    let told = [earlier, later].iter().all(|found| found.tells_diameters());
    let change_percent = change_percent(earlier_sum_mm2, later_sum_mm2).filter(|_| told);
    let measured = Measured {
        change_percent,
        new_measurable,
        disappeared: tissue.volume_ml(later) <= 0.0,
        thresholds: [INCREASE_PERCENT_MIN[0], DECREASE_PERCENT_MIN[0]],
    };
    let change = measured.change();
    let became_measurable = later.lesions.iter().any(|lesion| tissue.is_measurable(lesion));
    BidimensionalChange {
        reason: if told {
            reason(tissue, change, &measured, became_measurable)
        } else {
            UNTOLD.to_owned()
        },
        targets,
        earlier_sum_mm2,
        later_sum_mm2,
        change_percent,
        change,
        new_measurable,
    }
}

/// Returns how the enhancing volume changed by the volumetric thresholds of RANO 2.0.
pub(super) fn by_volume(
    earlier: &Measurements,
    later: &Measurements,
    by_diameters: &BidimensionalChange,
) -> ImagingChange {
    let percent = change_percent(earlier.enhancing_ml(), later.enhancing_ml());
    let measured = Measured {
        change_percent: percent.filter(|_| !by_diameters.targets.is_empty()),
        new_measurable: by_diameters.new_measurable,
        disappeared: later.enhancing_ml() <= 0.0,
        thresholds: [INCREASE_PERCENT_MIN[1], DECREASE_PERCENT_MIN[1]],
    };
    measured.change()
}

/// What a change is told by.
struct Measured {
    /// `None` if nothing was measurable before.
    change_percent: Option<f64>,
    new_measurable: bool,
    disappeared: bool,
    /// Increase and decrease in percent.
    thresholds: [f64; 2],
}

impl Measured {
    fn change(&self) -> ImagingChange {
        if self.new_measurable {
            return ImagingChange::Increase;
        }
        let Some(percent) = self.change_percent else {
            return ImagingChange::NotMeasurable;
        };
        let [increase, decrease] = self.thresholds;
        if self.disappeared {
            ImagingChange::Disappeared
        } else if percent >= increase - ROUNDING_PERCENT {
            ImagingChange::Increase
        } else if percent <= ROUNDING_PERCENT - decrease {
            ImagingChange::Decrease
        } else {
            ImagingChange::Stable
        }
    }
}

fn reason(
    tissue: Tissue,
    change: ImagingChange,
    measured: &Measured,
    became_measurable: bool,
) -> String {
    let lesion = tissue.lesion();
    let [increase, decrease] = measured.thresholds;
    let percent = measured.change_percent.unwrap_or_default();
    match change {
        ImagingChange::NotMeasurable if became_measurable => format!(
            "No {lesion} of the earlier study has two diameters of 10 mm or more, and one of the later study \
             has: a person must compare them."
        ),
        ImagingChange::NotMeasurable => {
            format!("No {lesion} has two diameters of 10 mm or more.")
        }
        ImagingChange::Increase if measured.new_measurable => {
            format!("A measurable {lesion} is new.")
        }
        ImagingChange::Increase => format!(
            "The sum of the products of diameters rose by {percent:.0} %: {increase} % or more."
        ),
        ImagingChange::Stable => format!(
            "The sum of the products of diameters changed by {percent:+.0} %: less than {increase} % more \
             and than {decrease} % less."
        ),
        ImagingChange::Decrease => format!(
            "The sum of the products of diameters fell by {:.0} %: {decrease} % or more.",
            -percent
        ),
        ImagingChange::Disappeared => format!("The later study shows no {lesion} any more."),
    }
}
