//! Between the messages of a comparison and domain values.

use neurotriage_domain::InvalidId;
use neurotriage_proto::referral::v1 as pb;
use time::{Date, format_description::BorrowedFormatItem, macros::format_description};

use super::diagnosis::{measurements, space};
use crate::{
    diagnosis::{CODE_VERSION, ComparedSource, ComparisonRequest, DiagnosisError, StudyComparison},
    growth::{
        BidimensionalChange, DateOrigin, ImagingChange, LesionChange, LesionFate, Scan,
        TargetLesion, TumourPart, VolumeChange,
    },
};

const DAY: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");

pub(in crate::grpc) fn comparison_request(
    request: &pb::CompareStudiesRequest,
) -> Result<ComparisonRequest, DiagnosisError> {
    let (earlier, earlier_on) = timepoint("earlier", request.earlier.as_ref())?;
    let (later, later_on) = timepoint("later", request.later.as_ref())?;
    let acquired_on = match (earlier_on, later_on) {
        (Some(earlier_on), Some(later_on)) => Some([earlier_on, later_on]),
        (None, None) => None,
        (None, Some(_)) => return Err(one_sided("earlier.acquired_on")),
        (Some(_), None) => return Err(one_sided("later.acquired_on")),
    };
    Ok(ComparisonRequest { earlier, later, acquired_on })
}

fn one_sided(field: &str) -> DiagnosisError {
    DiagnosisError::field(field, "the day of the scan, as for the other study; give both or none")
}

fn timepoint(
    name: &str,
    timepoint: Option<&pb::Timepoint>,
) -> Result<(ComparedSource, Option<Date>), DiagnosisError> {
    use pb::timepoint::Source;

    let invalid = |field: &str, description: String| {
        DiagnosisError::field(&format!("{name}.{field}"), description)
    };
    let source = timepoint.and_then(|timepoint| timepoint.source.as_ref());
    let source = match source {
        Some(Source::DiagnosisId(text)) => text
            .parse()
            .map(ComparedSource::Diagnosis)
            .map_err(|error: InvalidId| invalid("diagnosis_id", error.to_string()))?,
        Some(Source::SegmentationId(text)) => text
            .parse()
            .map(ComparedSource::Segmentation)
            .map_err(|error: InvalidId| invalid("segmentation_id", error.to_string()))?,
        None => {
            let text = "a diagnosis_id or a segmentation_id".to_owned();
            return Err(invalid("source", text));
        }
    };
    let text = timepoint.map_or("", |timepoint| timepoint.acquired_on.as_str());
    if text.is_empty() {
        return Ok((source, None));
    }
    let date = Date::parse(text, DAY)
        .map_err(|_| invalid("acquired_on", "a day as YYYY-MM-DD, or empty".to_owned()))?;
    Ok((source, Some(date)))
}

pub(in crate::grpc) fn study_comparison(comparison: StudyComparison) -> pb::StudyComparison {
    let growth = comparison.growth;
    pb::StudyComparison {
        patient_id: comparison.patient_id.to_string(),
        earlier: Some(compared_study(comparison.earlier)),
        later: Some(compared_study(comparison.later)),
        interval_days: growth.interval_days,
        volumes: growth.volumes.iter().map(volume_change).collect(),
        lesions: growth.lesions.iter().map(lesion_change).collect(),
        enhancing: Some(bidimensional_change(growth.enhancing)),
        whole: Some(bidimensional_change(growth.whole)),
        enhancing_by_volume: imaging_change(growth.enhancing_by_volume).into(),
        cautions: growth.cautions,
        code_version: CODE_VERSION.to_owned(),
    }
}

fn compared_study(scan: Scan) -> pb::ComparedStudy {
    let date_origin = match scan.date_origin {
        DateOrigin::Request => pb::DateOrigin::Request,
        DateOrigin::Upload => pb::DateOrigin::Upload,
    };
    let marking = scan.marking;
    pb::ComparedStudy {
        study_id: marking.study_id.to_string(),
        segmentation_id: marking.segmentation_id.to_string(),
        // A date prints as ISO 8601.
        date: scan.date.to_string(),
        date_origin: date_origin.into(),
        model_id: marking.model_id,
        weights_sha256: marking.weights_sha256,
        atlas: marking.atlas,
        space: space(marking.space).into(),
        measurements: Some(measurements(marking.measurements)),
    }
}

fn volume_change(change: &VolumeChange) -> pb::VolumeChange {
    let part = match change.part {
        TumourPart::Whole => pb::TumourPart::Whole,
        TumourPart::Core => pb::TumourPart::Core,
        TumourPart::Enhancing => pb::TumourPart::Enhancing,
    };
    pb::VolumeChange {
        part: part.into(),
        earlier_ml: change.earlier_ml,
        later_ml: change.later_ml,
        change_ml: change.later_ml - change.earlier_ml,
        change_percent: change.change_percent,
        ml_per_month: change.ml_per_month,
        doubling_days: change.doubling_days,
        diametric_expansion_mm_per_year: change.diametric_expansion_mm_per_year,
    }
}

fn lesion_change(change: &LesionChange) -> pb::LesionChange {
    let fate = match change.fate {
        LesionFate::Followed => pb::LesionFate::Followed,
        LesionFate::Merged => pb::LesionFate::Merged,
        LesionFate::Split => pb::LesionFate::Split,
        LesionFate::Gone => pb::LesionFate::Gone,
        LesionFate::New => pb::LesionFate::New,
    };
    pb::LesionChange {
        fate: fate.into(),
        earlier_index: change.earlier.map(index),
        later_index: change.later.map(index),
        distance_mm: change.distance_mm,
    }
}

/// Lesions are few: an index beyond this cannot be.
fn index(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

fn bidimensional_change(change: BidimensionalChange) -> pb::BidimensionalChange {
    let target = |target: &TargetLesion| pb::TargetLesion {
        earlier_index: index(target.earlier),
        earlier_product_mm2: target.earlier_product_mm2,
        later_product_mm2: target.later_product_mm2,
    };
    pb::BidimensionalChange {
        targets: change.targets.iter().map(target).collect(),
        earlier_sum_mm2: change.earlier_sum_mm2,
        later_sum_mm2: change.later_sum_mm2,
        change_percent: change.change_percent,
        change: imaging_change(change.change).into(),
        reason: change.reason,
    }
}

fn imaging_change(change: ImagingChange) -> pb::ImagingChange {
    match change {
        ImagingChange::NotMeasurable => pb::ImagingChange::NotMeasurable,
        ImagingChange::Increase => pb::ImagingChange::Increase,
        ImagingChange::Stable => pb::ImagingChange::Stable,
        ImagingChange::Decrease => pb::ImagingChange::Decrease,
        ImagingChange::Disappeared => pb::ImagingChange::Disappeared,
    }
}
