//! Between protobuf messages and domain types. The only place that knows both.

use std::time::SystemTime;

use neurotriage_anatomy::{
    AxialDiameters, EloquentDistance, Lesion, Localisation, PlacedBy, Placement, RegionShare,
    Space, Tissue,
};
use neurotriage_domain::{InvalidId, SegmentationId, Side, StudyId};
use neurotriage_network::ModelCard;
use neurotriage_proto::{common::v1 as common, segmentation::v1 as pb};

use crate::{
    certainty::{Certainty, Outcome},
    segmentation::{Progress, Segmentation, SegmentationError, Step},
};

/// Longest file name, in characters.
const FILE_NAME_CHARS_MAX: usize = 255;

fn invalid_id(field: &'static str) -> impl Fn(InvalidId) -> SegmentationError {
    move |error| SegmentationError::field(field, error.to_string())
}

pub(super) fn study_id(text: &str) -> Result<StudyId, SegmentationError> {
    text.parse().map_err(invalid_id("study_id"))
}

pub(super) fn segmentation_id(text: &str) -> Result<SegmentationId, SegmentationError> {
    text.parse().map_err(invalid_id("segmentation_id"))
}

pub(super) fn file_name(name: &str) -> Result<String, SegmentationError> {
    let odd = |c: char| c.is_control() || c == '/' || c == '\\';
    if name.chars().count() > FILE_NAME_CHARS_MAX || name.contains(odd) {
        let text = format!("a name without folders, at most {FILE_NAME_CHARS_MAX} characters");
        return Err(SegmentationError::field("file_name", text));
    }
    Ok(name.to_owned())
}

pub(super) fn card_json(card: &ModelCard) -> Result<String, SegmentationError> {
    serde_json::to_string(card).map_err(|source| SegmentationError::Store {
        operation: "encode model card",
        source: source.into(),
    })
}

pub(super) fn progress(progress: Progress) -> common::Progress {
    let step = match progress.step {
        Step::Queue => "queue",
        Step::Segment => "segment",
        Step::Localise => "localise",
        Step::Store => "store",
    };
    common::Progress {
        step: step.to_owned(),
        units_done: progress.done,
        units_total: progress.total,
    }
}

pub(super) fn segmentation(segmentation: Segmentation) -> pb::Segmentation {
    let certainty = segmentation.certainty;
    let mut localisation = localisation(&segmentation.localisation);
    if let Some(certainty) = &certainty {
        add_certainty(&mut localisation, certainty);
    }
    let (outcome, outcome_reasons) = match certainty {
        Some(certainty) => (outcome(certainty.outcome), certainty.reasons),
        None => (pb::Outcome::Unspecified, Vec::new()),
    };
    pb::Segmentation {
        segmentation_id: segmentation.segmentation_id.to_string(),
        study_id: segmentation.study_id.to_string(),
        model_id: segmentation.model_id,
        weights_sha256: segmentation.weights_sha256,
        created_at: Some(SystemTime::from(segmentation.created_at).into()),
        mask: Some(common::BlobReference {
            digest: segmentation.mask.digest.to_string(),
            size_bytes: segmentation.mask.size_bytes,
        }),
        localisation: Some(localisation),
        uncertainty: segmentation.uncertainty,
        inference_seconds: segmentation.inference.as_secs_f64(),
        outcome: outcome.into(),
        outcome_reasons,
    }
}

fn outcome(outcome: Outcome) -> pb::Outcome {
    match outcome {
        Outcome::Tumour => pb::Outcome::Tumour,
        Outcome::NoTumourFound => pb::Outcome::NoTumourFound,
        Outcome::NotSure => pb::Outcome::NotSure,
    }
}

fn add_certainty(localisation: &mut pb::Localisation, certainty: &Certainty) {
    for (index, lesion) in localisation.lesions.iter_mut().enumerate() {
        let known = certainty.lesion(index);
        lesion.uncertainty = known.map(|known| known.entropy_bits_mean);
        lesion.mirror_spread = known.map(|known| known.mirror_spread_mean);
        lesion.confidence = known.map(|known| known.confidence);
    }
}

pub(super) fn localisation(localisation: &Localisation) -> pb::Localisation {
    let space = match localisation.space {
        Space::Sri24 => pb::Space::Sri24,
        Space::Mni152 => pb::Space::Mni152,
        Space::Unknown => pb::Space::Unknown,
    };
    pb::Localisation {
        space: space.into(),
        space_reason: localisation.space_reason.clone().unwrap_or_default(),
        lesions: localisation.lesions.iter().map(lesion).collect(),
        components_ignored: localisation.components_ignored,
        atlas: localisation.atlas.clone(),
        // Numbers and names only: nothing in it can fail to serialise.
        json: serde_json::to_string(localisation).unwrap_or_default(),
        placement: localisation.placement.as_ref().map(placement),
    }
}

fn placement(placement: &Placement) -> pb::Placement {
    let placed_by = match placement.placed_by {
        PlacedBy::Header => pb::PlacedBy::Header,
        PlacedBy::Registration => pb::PlacedBy::Registration,
    };
    let registration = placement.registration.as_ref();
    pb::Placement {
        placed_by: placed_by.into(),
        moved_mm: registration.and_then(|quality| quality.moved_mm),
        mutual_information: registration.map(|quality| quality.mutual_information),
        brain_overlap: registration.and_then(|quality| quality.brain_overlap),
        midline_shift: placement.midline_shift.map(|shift| pb::MidlineShift {
            right_mm: shift.right_mm,
            patient_mm: shift.patient_mm.to_vec(),
        }),
    }
}

fn eloquent(area: &EloquentDistance) -> pb::EloquentArea {
    pb::EloquentArea {
        area: area.area.clone(),
        display_name: area.display_name.clone(),
        function: area.function.clone(),
        distance_mm: area.distance_mm,
        overlap_ml: area.overlap_ml,
    }
}

fn side(side: Side) -> common::Side {
    match side {
        Side::Left => common::Side::Left,
        Side::Right => common::Side::Right,
        Side::Midline => common::Side::Midline,
    }
}

fn lesion(lesion: &Lesion) -> pb::Lesion {
    let site = lesion.site.as_ref();
    let midline = site.map(|site| site.midline);
    let whole = lesion.compartment(Tissue::Whole);
    let enhancing = lesion.compartment(Tissue::Enhancing);
    pb::Lesion {
        volume_ml: lesion.volumes.whole_ml,
        necrotic_core_ml: lesion.volumes.necrotic_core_ml,
        oedema_ml: lesion.volumes.oedema_ml,
        enhancing_ml: lesion.volumes.enhancing_ml,
        centroid_mm: lesion.centroid_mm().map(Vec::from).unwrap_or_default(),
        diameter_max_mm: lesion.diameter_max_mm(),
        side: midline.map_or(common::Side::Unspecified, |midline| side(midline.side)).into(),
        crosses_midline: midline.is_some_and(|midline| midline.crosses_midline),
        share_across_midline: midline.map_or(0.0, |midline| midline.share_across),
        main_region: site
            .and_then(|site| site.main_region)
            .map(|region| region.to_string())
            .unwrap_or_default(),
        regions: site.map(|site| site.regions.iter().map(region).collect()).unwrap_or_default(),
        share_assigned_by_distance: site.map_or(0.0, |site| site.share_assigned_by_distance),
        uncertainty: None,
        mirror_spread: None,
        confidence: None,
        eloquent: lesion.eloquent.iter().map(eloquent).collect(),
        touches_ventricles: lesion.contacts.map(|contacts| contacts.ventricles.touches),
        touches_cortex: lesion.contacts.map(|contacts| contacts.cortex.touches),
        satellites: u32::try_from(lesion.satellites.len()).unwrap_or(u32::MAX),
        centroid_template_mm: whole
            .and_then(|whole| whole.centroid.atlas_mm)
            .map(Vec::from)
            .unwrap_or_default(),
        axial: whole.map(|whole| axial(&whole.axial)),
        enhancing_axial: enhancing.map(|enhancing| axial(&enhancing.axial)),
    }
}

fn axial(axial: &AxialDiameters) -> pb::AxialDiameters {
    pb::AxialDiameters {
        longest_mm: axial.longest.length_mm,
        perpendicular_mm: axial.perpendicular.length_mm,
        product_mm2: axial.product_mm2,
    }
}

fn region(share: &RegionShare) -> pb::RegionShare {
    pb::RegionShare {
        region: share.region.to_string(),
        display_name: share.display_name.clone(),
        side: side(share.region.side).into(),
        volume_ml: share.volume_ml,
        share: share.share,
        core_share: share.core_share,
        site_weight: share.site_weight,
        snomed_code: share.snomed_code.clone().unwrap_or_default(),
        is_uncertain: !share.is_certain,
        share_min: share.share_range.map(|[low, _]| low),
        share_max: share.share_range.map(|[_, high]| high),
    }
}
