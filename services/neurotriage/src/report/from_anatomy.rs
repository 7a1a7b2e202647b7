//! Makes the image part of a report from the localiser's own answer, without services.

use neurotriage_anatomy as anatomy;

use super::{EloquentArea, Image, Lesion, Placement, RegionShare, Space, Volumes};

/// Returns what a localised mask shows; nothing is known of its uncertainty.
pub fn image(localisation: &anatomy::Localisation) -> Image {
    Image {
        outcome: None,
        outcome_reasons: Vec::new(),
        volumes: volumes(localisation.volumes),
        uncertainty: None,
        space: match localisation.space {
            anatomy::Space::Sri24 => Space::Sri24,
            anatomy::Space::Mni152 => Space::Mni152,
            anatomy::Space::Unknown => Space::Unknown,
        },
        space_reason: localisation.space_reason.clone().unwrap_or_default(),
        placement: localisation.placement.map(|placement| Placement {
            registered: placement.placed_by == anatomy::PlacedBy::Registration,
            moved_mm: placement.registration.and_then(|quality| quality.moved_mm),
            midline_shift_right_mm: placement.midline_shift.map(|shift| shift.right_mm),
        }),
        atlas: localisation.atlas.clone(),
        components_ignored: localisation.components_ignored,
        lesions: localisation.lesions.iter().map(lesion).collect(),
        localiser_details: serde_json::Value::Null,
    }
}

fn volumes(volumes: anatomy::CompartmentVolumes) -> Volumes {
    Volumes {
        whole_ml: volumes.whole_ml,
        necrotic_core_ml: volumes.necrotic_core_ml,
        oedema_ml: volumes.oedema_ml,
        enhancing_ml: volumes.enhancing_ml,
    }
}

fn lesion(lesion: &anatomy::Lesion) -> Lesion {
    let site = lesion.site.as_ref();
    let main_region = site.and_then(|site| site.main_region);
    Lesion {
        volumes: volumes(lesion.volumes),
        centroid_mm: lesion.centroid_mm().map(Vec::from).unwrap_or_default(),
        diameter_max_mm: lesion.diameter_max_mm(),
        side: site.map(anatomy::Site::side),
        crosses_midline: site.is_some_and(|site| site.midline.crosses_midline),
        share_across_midline: site.map_or(0.0, |site| site.midline.share_across),
        main_region: main_region.map_or_else(String::new, |region| region.to_string()),
        share_assigned_by_distance: site.map_or(0.0, |site| site.share_assigned_by_distance),
        confidence: None,
        uncertainty: None,
        mirror_spread: None,
        regions: site.map_or_else(Vec::new, |site| site.regions.iter().map(region).collect()),
        eloquent: lesion.eloquent.iter().map(eloquent).collect(),
        touches_ventricles: lesion.contacts.map(|contacts| contacts.ventricles.touches),
        touches_cortex: lesion.contacts.map(|contacts| contacts.cortex.touches),
        satellites: u32::try_from(lesion.satellites.len()).unwrap_or(u32::MAX),
    }
}

fn region(share: &anatomy::RegionShare) -> RegionShare {
    RegionShare {
        region: share.region.to_string(),
        display_name: share.display_name.clone(),
        side: Some(share.region.side),
        volume_ml: share.volume_ml,
        share: share.share,
        core_share: share.core_share,
        site_weight: share.site_weight,
        snomed_code: share.snomed_code.clone().unwrap_or_default(),
        is_uncertain: !share.is_certain,
    }
}

fn eloquent(area: &anatomy::EloquentDistance) -> EloquentArea {
    EloquentArea {
        area: area.area.clone(),
        display_name: area.display_name.clone(),
        function: area.function.clone(),
        distance_mm: area.distance_mm,
        overlap_ml: area.overlap_ml,
    }
}
