//! Curves of a run as a picture, made from its log alone.

use std::{fs, path::Path};

use neurotriage_imaging::chart::{self, Colour, Curve, Panel, Stroke};
use neurotriage_network::{BatchScores, METRICS_FILE, ValidationReport, ValidationScores};
use serde::Deserialize;

use crate::{TrainingError, files::write_whole};

/// Name of the picture in a run's folder.
pub const CURVES_FILE: &str = "curves.png";

/// Most bytes of a log that is read: a million lines.
const LOG_BYTES_MAX: u64 = 512 << 20;

/// Points of a smooth line of a long run: each is the mean over one of so many parts.
const PARTS: usize = 60;

/// Points that a part has at least, in a run of a few hundred.
const PART_POINTS: usize = 5;

const BLUE: Colour = [31, 99, 180];
const PALE_BLUE: Colour = [158, 188, 222];
const RED: Colour = [204, 62, 36];
const TUMOUR: [(&str, Colour, Colour); 3] = [
    ("WT", [24, 128, 72], [160, 206, 178]),
    ("TC", [190, 110, 0], [232, 198, 146]),
    ("ET", [126, 56, 160], [206, 176, 222]),
];

/// What of a log's line is drawn; numbers that were not finite are null there.
#[derive(Debug, Deserialize)]
struct Line {
    step: f64,
    loss: Option<f64>,
    #[serde(default)]
    training: Option<BatchScores>,
    #[serde(default)]
    validation: Option<ValidationReport>,
    #[serde(default)]
    validation_scores: Option<ValidationScores>,
}

/// Returns a PNG of loss, accuracy, intersection over union and Dice over the steps, for training
/// batches and held-out cases, from the text of a log. Lines that do not read are left out.
///
/// # Errors
/// [`TrainingError::Picture`] if it can't be drawn.
pub fn curves(log: &str) -> Result<Vec<u8>, TrainingError> {
    let lines: Vec<Line> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let steps: Vec<&Line> = lines.iter().filter(|line| line.validation.is_none()).collect();
    let loss = collect(&steps, |line| line.loss);
    let held_out = collect(&lines, |line| Some(line.validation_scores?.loss));
    let unit = Some([0.0, 1.0]);
    let both = |training: fn(&BatchScores) -> f64, validation: fn(&ValidationScores) -> f64| {
        let batches = collect(&steps, |line| line.training.as_ref().map(training));
        let cases = collect(&lines, |line| line.validation_scores.as_ref().map(validation));
        pair(batches, cases)
    };
    let panels = [
        Panel { title: "LOSS".to_owned(), range: None, curves: pair(loss, held_out) },
        Panel {
            title: "ACCURACY (SHARE OF VOXELS)".to_owned(),
            range: unit,
            curves: both(|scores| scores.accuracy, |scores| scores.accuracy),
        },
        Panel {
            title: "MEAN IOU OF FOUR CLASSES".to_owned(),
            range: unit,
            curves: both(|scores| scores.iou, |scores| scores.iou),
        },
        Panel { title: "DICE".to_owned(), range: unit, curves: dice(&lines, &steps) },
    ];
    Ok(chart::draw(&panels, "STEP")?)
}

/// Makes the picture of the log in `folder` anew.
///
/// # Errors
/// [`TrainingError::Io`] if the log can't be read or the picture not written;
/// [`TrainingError::Picture`].
pub fn write_curves(folder: &Path) -> Result<(), TrainingError> {
    let path = folder.join(METRICS_FILE);
    let failed = |source| TrainingError::Io { path: path.clone(), source };
    if fs::metadata(&path).map_err(failed)?.len() > LOG_BYTES_MAX {
        return Err(failed(std::io::Error::other("the log is too large to draw")));
    }
    let log = fs::read_to_string(&path).map_err(failed)?;
    write_whole(&folder.join(CURVES_FILE), &curves(&log)?)
}

fn collect<T: std::borrow::Borrow<Line>>(
    lines: &[T],
    value: impl Fn(&Line) -> Option<f64>,
) -> Vec<(f64, f64)> {
    let point = |line: &T| Some((line.borrow().step, value(line.borrow())?));
    lines.iter().filter_map(point).filter(|(_, value)| value.is_finite()).collect()
}

/// Returns the curves of a panel with one value of training and one of held-out cases.
fn pair(training: Vec<(f64, f64)>, validation: Vec<(f64, f64)>) -> Vec<Curve> {
    let smooth = smoothed(&training);
    [
        ("BATCH", PALE_BLUE, Stroke::Thin, training),
        ("BATCHES, MEAN", BLUE, Stroke::Thick, smooth),
        ("HELD-OUT CASES", RED, Stroke::Marked, validation),
    ]
    .map(|(name, colour, stroke, points)| Curve { name: name.to_owned(), colour, stroke, points })
    .into()
}

fn dice(lines: &[Line], steps: &[&Line]) -> Vec<Curve> {
    let mut curves = Vec::new();
    for (region, (name, _, pale)) in TUMOUR.into_iter().enumerate() {
        let values = collect(steps, |line| Some(picked(line.training?.dice, region)));
        curves.push(Curve {
            name: format!("{name} BATCHES"),
            colour: pale,
            stroke: Stroke::Thick,
            points: smoothed(&values),
        });
    }
    for (region, (name, colour, _)) in TUMOUR.into_iter().enumerate() {
        let points = collect(lines, |line| Some(picked(line.validation.as_ref()?.mean, region)));
        let name = format!("{name} HELD OUT");
        curves.push(Curve { name, colour, stroke: Stroke::Marked, points });
    }
    curves
}

fn picked(dice: neurotriage_network::RegionDice, region: usize) -> f64 {
    [dice.wt, dice.tc, dice.et].get(region).copied().unwrap_or(f64::NAN)
}

/// Returns the means over at most [`PARTS`] parts of as many points each.
fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let part = points.len().div_ceil(PARTS).max(PART_POINTS.min(points.len() / PART_POINTS)).max(1);
    let mean = |points: &[(f64, f64)]| {
        let count = points.len() as f64;
        let sum = points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
        (sum.0 / count, sum.1 / count)
    };
    points.chunks(part).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_becomes_the_same_picture_every_time_and_odd_lines_do_no_harm() {
        let mut log = String::new();
        for step in 1..=100 {
            let loss = 1.0 / f64::from(step);
            let dice = r#"{"wt":0.5,"tc":0.4,"et":0.3}"#;
            log.push_str(&format!(
                "{{\"step\":{step},\"loss\":{loss},\"training\":{{\"accuracy\":0.9,\"iou\":0.5,\
                 \"dice\":{dice}}}}}\n"
            ));
        }
        let picture = curves(&log).unwrap();
        assert!(picture.starts_with(b"\x89PNG"));
        assert_eq!(curves(&log).unwrap(), picture);
        // A skipped step, a line of an older run, and a cut one.
        let odd = "{\"step\":101,\"loss\":null}\n{\"step\":102,\"loss\":0.5}\n{\"st";
        assert_ne!(curves(&format!("{log}{odd}")).unwrap(), picture);
        assert!(curves("").unwrap().starts_with(b"\x89PNG"));
    }

    #[test]
    fn smoothing_takes_means_of_parts() {
        let points: Vec<(f64, f64)> = (0..600).map(|n| (f64::from(n), f64::from(n % 2))).collect();
        let smooth = smoothed(&points);
        assert_eq!(smooth.len(), PARTS);
        assert!(smooth.iter().all(|point| point.1 == 0.5));
        assert_eq!(smoothed(&points[..3]), points[..3]);
        assert!(smoothed(&[]).is_empty());
    }
}
