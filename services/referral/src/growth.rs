//! Two studies of one patient compared: volumes, lesions and diameters.
//!
//! Pure. Knows no treatment, steroids or clinical state: what it says is an imaging measure and no
//! category of response.

mod bidimensional;
mod following;
#[cfg(test)]
mod tests;

use time::Date;

use self::bidimensional::Tissue;
pub use self::{
    bidimensional::{BidimensionalChange, ImagingChange, TargetLesion},
    following::{LesionChange, LesionFate},
};
use crate::measurement::{Marking, Measurements, Outcome, Space};

/// Mean length of a month: a twelfth of 365.25 days, rounded as the field does.
const DAYS_PER_MONTH: f64 = 30.44;
/// Mean length of a year.
const DAYS_PER_YEAR: f64 = 365.25;
/// Cubic millimetres in a millilitre.
const MM3_PER_ML: f64 = 1_000.0;

/// Where the day of a study comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateOrigin {
    /// Given by the caller.
    Request,
    /// Day of the upload.
    Upload,
}

/// A study at its date.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    /// Its day.
    pub date: Date,
    /// Where that comes from.
    pub date_origin: DateOrigin,
    /// What it shows.
    pub marking: Marking,
}

/// Part of a tumour whose volume is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TumourPart {
    /// All of it.
    Whole,
    /// Necrotic and enhancing.
    Core,
    /// Enhancing.
    Enhancing,
}

impl TumourPart {
    const ALL: [Self; 3] = [Self::Whole, Self::Core, Self::Enhancing];

    fn volume_ml(self, measurements: &Measurements) -> f64 {
        match self {
            Self::Whole => measurements.whole_ml(),
            Self::Core => measurements.core_ml(),
            Self::Enhancing => measurements.enhancing_ml(),
        }
    }
}

/// How a volume changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VolumeChange {
    /// Which part.
    pub part: TumourPart,
    /// In millilitres.
    pub earlier_ml: f64,
    /// In millilitres.
    pub later_ml: f64,
    /// In percent of the earlier volume; `None` if that is 0.
    pub change_percent: Option<f64>,
    /// Mean change in millilitres per month; `None`, as the next two, if both studies are of one day.
    pub ml_per_month: Option<f64>,
    /// Days in which the volume doubles; `None` if it did not grow from above 0.
    pub doubling_days: Option<f64>,
    /// Mean growth of the mean diameter, in millimetres per year; `None` unless both volumes are above 0.
    pub diametric_expansion_mm_per_year: Option<f64>,
}

/// Two studies compared.
#[derive(Clone, Debug, PartialEq)]
pub struct Growth {
    /// Days from one to the other.
    pub interval_days: u32,
    /// Whole tumour, core and enhancing tumour.
    pub volumes: Vec<VolumeChange>,
    /// Lesions of the earlier study, then the others; empty if they cannot be followed.
    pub lesions: Vec<LesionChange>,
    /// Enhancing tumour by two diameters.
    pub enhancing: BidimensionalChange,
    /// Whole lesions by two diameters, for tumours that do not enhance.
    pub whole: BidimensionalChange,
    /// Enhancing tumour by volume.
    pub enhancing_by_volume: ImagingChange,
    /// What to know before this is used.
    pub cautions: Vec<String>,
}

/// The later study is of an earlier day.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the later study is of an earlier day than the earlier one")]
pub struct ReversedDates;

/// Compares two studies of one patient.
///
/// # Errors
/// [`ReversedDates`] if `later` is of an earlier day; both may be of the same.
pub fn compare(earlier: &Scan, later: &Scan) -> Result<Growth, ReversedDates> {
    let days = (later.date - earlier.date).whole_days();
    let interval_days = u32::try_from(days).map_err(|_| ReversedDates)?;
    let (before, after) = (&earlier.marking.measurements, &later.marking.measurements);
    let same_space = earlier.marking.space == later.marking.space
        && !matches!(earlier.marking.space, Space::Unknown);
    let followed =
        if same_space { following::follow(&before.lesions, &after.lesions) } else { None };
    let by_diameters =
        |tissue| bidimensional::compare(tissue, [before, after], followed.as_deref());
    let (enhancing, whole) = (by_diameters(Tissue::Enhancing), by_diameters(Tissue::Whole));
    let mut volumes = Vec::new();
    for part in TumourPart::ALL {
        let (earlier_ml, later_ml) = (part.volume_ml(before), part.volume_ml(after));
        volumes.push(volume_change(part, [earlier_ml, later_ml], interval_days));
    }
    let enhancing_by_volume = bidimensional::by_volume(before, after, &enhancing);
    Ok(Growth {
        interval_days,
        cautions: cautions(earlier, later, interval_days, followed.is_some()),
        volumes,
        lesions: followed.unwrap_or_default(),
        enhancing,
        whole,
        enhancing_by_volume,
    })
}

/// Returns the change in percent of the earlier value; `None` if that is 0.
fn change_percent(earlier: f64, later: f64) -> Option<f64> {
    (earlier > 0.0).then(|| (later - earlier) / earlier * 100.0)
}

/// Returns how a volume changed.
///
/// Doubling time is `days · ln 2 / ln(later / earlier)`; the mean diameter is `∛(2 V)`.
///
/// # Source
/// Pallud et al., "Velocity of tumor spontaneous expansion predicts long-term outcomes for diffuse low-grade
/// gliomas", Neuro Oncol 2013;15:595, doi:10.1093/neuonc/nos331, for the velocity of diametric
/// expansion; two points stand for their regression over several.
fn volume_change(
    part: TumourPart,
    [earlier_ml, later_ml]: [f64; 2],
    interval_days: u32,
) -> VolumeChange {
    let days = f64::from(interval_days);
    let apart = interval_days > 0;
    let both = earlier_ml > 0.0 && later_ml > 0.0;
    let diameter_mm = |volume_ml: f64| (2.0 * volume_ml * MM3_PER_ML).cbrt();
    VolumeChange {
        part,
        earlier_ml,
        later_ml,
        change_percent: change_percent(earlier_ml, later_ml),
        ml_per_month: apart.then(|| (later_ml - earlier_ml) / days * DAYS_PER_MONTH),
        doubling_days: (apart && earlier_ml > 0.0 && later_ml > earlier_ml)
            .then(|| days * std::f64::consts::LN_2 / (later_ml / earlier_ml).ln()),
        diametric_expansion_mm_per_year: (apart && both)
            .then(|| (diameter_mm(later_ml) - diameter_mm(earlier_ml)) / days * DAYS_PER_YEAR),
    }
}

/// What always holds.
const CAUTIONS_ALWAYS: [&str; 2] = [
    "These are imaging measures and no category of response: RANO also asks for the clinical state, \
     steroids, treatment and confirming scans, which are not known here.",
    "Diameters span what an enhancing rim encloses, a cyst or a cavity too, which RANO leaves out.",
];

fn cautions(earlier: &Scan, later: &Scan, interval_days: u32, followed: bool) -> Vec<String> {
    let (before, after) = (&earlier.marking, &later.marking);
    let mut cautions: Vec<String> = CAUTIONS_ALWAYS.map(str::to_owned).to_vec();
    if [earlier, later].iter().any(|scan| scan.date_origin == DateOrigin::Upload) {
        cautions.push(
            "The days are those of the uploads, not of the scans: give `acquired_on` for rates that mean \
             something."
                .to_owned(),
        );
    }
    if interval_days == 0 {
        cautions.push("Both studies are of one day: there are no rates.".to_owned());
    }
    if before.weights_sha256 != after.weights_sha256 {
        cautions.push(format!(
            "The masks are by different models ({} and {}): part of the change may be theirs. Segment both \
             with one model.",
            before.model_id, after.model_id
        ));
    }
    if before.atlas != after.atlas {
        cautions.push(format!(
            "Regions are by different atlases ({} and {}).",
            before.atlas, after.atlas
        ));
    }
    if !followed {
        cautions.push(
            "Lesions cannot be followed, as their places in one template are not known: new ones are not \
             told, and the diameters are those of the two largest in each study."
                .to_owned(),
        );
    }
    for (name, marking) in [("earlier", before), ("later", after)] {
        if marking.measurements.outcome == Outcome::NotSure {
            cautions.push(format!(
                "The marking of the {name} study is not sure: a person must look before it is compared."
            ));
        }
        if !marking.measurements.tells_diameters() {
            cautions.push(format!(
                "The segmentation of the {name} study was stored before diameters were measured."
            ));
        }
    }
    cautions
}
