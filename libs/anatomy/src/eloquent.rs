//! Areas whose injury costs a function.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use neurotriage_domain::{RegionName, Structure};

use crate::{
    AnatomyError, Template,
    label_map::{LabelMap, damaged, read_labels},
    terms::korean_region_name,
};

const SRI24: &[u8] = include_bytes!("../../../assets/atlas/brats_grid_eloquent.nii.gz");
const MNI152: &[u8] = include_bytes!("../../../assets/atlas/mni152_eloquent.nii.gz");
const NAMES: &[u8] = include_bytes!("../../../assets/atlas/eloquent_labels.json");

/// How an area is called, and what is lost with it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EloquentArea {
    /// Stable name.
    pub(crate) name: String,
    pub(crate) display_name: String,
    pub(crate) korean_name: String,
    pub(crate) function: &'static str,
}

/// The map of cortical areas; deep ones are regions of the atlas.
#[derive(Debug)]
pub(crate) struct EloquentMap {
    pub(crate) map: LabelMap,
    /// By label.
    areas: Vec<Option<EloquentArea>>,
}

impl EloquentMap {
    /// Returns the map of a template's space. Read once; later calls cost nothing.
    pub(crate) fn of(template: Template) -> Result<Arc<Self>, AnatomyError> {
        static MAPS: [OnceLock<Result<Arc<EloquentMap>, AnatomyError>>; 2] =
            [const { OnceLock::new() }; 2];
        let labels = match template {
            Template::Sri24 => SRI24,
            Template::Mni152 => MNI152,
        };
        MAPS[template as usize].get_or_init(|| Self::read(labels).map(Arc::new)).clone()
    }

    fn read(labels: &[u8]) -> Result<Self, AnatomyError> {
        let names: BTreeMap<u8, String> = serde_json::from_slice(NAMES).map_err(damaged)?;
        let mut areas = vec![None; 256];
        for (label, name) in names {
            let unknown = || damaged(format!("{name} is no eloquent area"));
            areas[usize::from(label)] = Some(cortical(&name).ok_or_else(unknown)?);
        }
        Ok(Self { map: LabelMap::new(&read_labels(labels, "eloquent areas")?)?, areas })
    }

    pub(crate) fn area(&self, label: u8) -> Option<&EloquentArea> {
        self.areas.get(usize::from(label)).and_then(Option::as_ref)
    }
}

/// Returns the area with this name: structure, then side.
fn cortical(name: &str) -> Option<EloquentArea> {
    let (structure, side, korean_side) = match name.rsplit_once('_')? {
        (structure, "left") => (structure, "left", "왼쪽"),
        (structure, "right") => (structure, "right", "오른쪽"),
        _ => return None,
    };
    let (display, korean, function) = match structure {
        "primary_motor_cortex" => {
            ("primary motor cortex", "일차 운동 피질", "movement of the other side of the body")
        }
        "primary_somatosensory_cortex" => (
            "primary somatosensory cortex",
            "일차 체성감각 피질",
            "sensation of the other side of the body",
        ),
        "broca_area" => ("Broca's area", "브로카 영역", "speaking, where language is on this side"),
        "wernicke_area" => (
            "Wernicke's area",
            "베르니케 영역",
            "understanding speech, where language is on this side",
        ),
        "primary_visual_cortex" => {
            ("primary visual cortex", "일차 시각 피질", "sight in the other half of the field")
        }
        _ => return None,
    };
    Some(EloquentArea {
        name: name.to_owned(),
        display_name: format!("{side} {display}"),
        korean_name: format!("{korean_side} {korean}"),
        function,
    })
}

/// Returns the Korean name of the eloquent area with this stable name, such as
/// `primary_motor_cortex_left`; `None` if there is no such area.
pub fn korean_eloquent_name(name: &str) -> Option<String> {
    let found = cortical(name).or_else(|| deep(name.parse().ok()?))?;
    Some(found.korean_name)
}

/// Returns a deep region of the atlas as an eloquent area, if it is one.
pub(crate) fn deep(region: RegionName) -> Option<EloquentArea> {
    let function = match region.structure {
        Structure::InternalCapsule => "movement and sensation of the other side of the body",
        Structure::BrainStem => "consciousness, breathing, eye movement, swallowing",
        Structure::Thalamus => "sensation of the other side of the body, wakefulness",
        Structure::Hypothalamus => "hormones, temperature, sight by the chiasm",
        Structure::Frontal
        | Structure::Temporal
        | Structure::Parietal
        | Structure::Occipital
        | Structure::Insula
        | Structure::Cerebellum
        | Structure::Caudate
        | Structure::Putamen
        | Structure::GlobusPallidus
        | Structure::SubthalamicNucleus
        | Structure::Fornix
        | Structure::CorpusCallosum
        | Structure::CerebellopontineAngle
        | Structure::LateralVentricle
        | Structure::ThirdVentricle
        | Structure::FourthVentricle => return None,
    };
    Some(EloquentArea {
        name: region.to_string(),
        display_name: region.display_name(),
        korean_name: korean_region_name(region),
        function,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_area_of_both_maps_has_a_name_and_voxels() {
        for template in Template::ALL {
            let map = EloquentMap::of(template).unwrap();
            for label in 1..=u8::MAX {
                let voxels = map.map.labels.iter().filter(|&&other| other == label).count();
                let ml = voxels as f64 * map.map.voxel_ml();
                match map.area(label) {
                    Some(area) => assert!((5.0..40.0).contains(&ml), "{}: {ml} ml", area.name),
                    None => assert_eq!(voxels, 0, "{template:?} {label}"),
                }
            }
        }
    }
}
