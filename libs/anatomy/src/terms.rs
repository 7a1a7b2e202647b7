//! Names and codes of structures for people and for other systems.

use neurotriage_domain::{RegionName, Side, Structure};
use serde::Serialize;

/// A SNOMED CT concept of a body structure, without side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SnomedConcept {
    /// Concept identifier.
    pub code: &'static str,
    /// Preferred display.
    pub display: &'static str,
}

/// Returns the SNOMED CT concept of a structure.
///
/// `None` for the subthalamic nucleus, the cerebellopontine angle and the hypothalamus with the
/// pituitary area: the first two had no code that could be checked, and the last is two concepts.
pub fn snomed_concept(structure: Structure) -> Option<SnomedConcept> {
    let (code, display) = match structure {
        Structure::Frontal => ("83251001", "Frontal lobe structure"),
        Structure::Temporal => ("78277001", "Temporal lobe structure"),
        Structure::Parietal => ("16630005", "Parietal lobe structure"),
        Structure::Occipital => ("31065004", "Occipital lobe structure"),
        Structure::Insula => ("36169008", "Insular structure"),
        Structure::Cerebellum => ("113305005", "Cerebellar structure"),
        Structure::BrainStem => ("15926001", "Brainstem structure"),
        Structure::Thalamus => ("42695009", "Thalamic structure"),
        Structure::Caudate => ("11000004", "Caudate nucleus structure"),
        Structure::Putamen => ("89278009", "Structure of putamen"),
        Structure::GlobusPallidus => ("14738005", "Globus pallidus structure"),
        Structure::Fornix => ("87463005", "Cerebral fornix structure"),
        Structure::CorpusCallosum => ("88442005", "Corpus callosum structure"),
        Structure::InternalCapsule => ("85637007", "Internal capsule structure of brain"),
        Structure::LateralVentricle => ("66720007", "Lateral ventricle structure"),
        Structure::ThirdVentricle => ("49841001", "Third ventricle structure"),
        Structure::FourthVentricle => ("35918002", "Fourth ventricle structure"),
        Structure::SubthalamicNucleus
        | Structure::Hypothalamus
        | Structure::CerebellopontineAngle => return None,
    };
    Some(SnomedConcept { code, display })
}

/// Returns the Korean name of a structure, without side.
pub fn korean_name(structure: Structure) -> &'static str {
    match structure {
        Structure::Frontal => "전두엽",
        Structure::Temporal => "측두엽",
        Structure::Parietal => "두정엽",
        Structure::Occipital => "후두엽",
        Structure::Insula => "뇌섬엽",
        Structure::Cerebellum => "소뇌",
        Structure::BrainStem => "뇌간",
        Structure::Thalamus => "시상",
        Structure::Caudate => "미상핵",
        Structure::Putamen => "피각",
        Structure::GlobusPallidus => "담창구",
        Structure::SubthalamicNucleus => "시상하핵",
        Structure::Fornix => "뇌궁",
        Structure::CorpusCallosum => "뇌량",
        Structure::InternalCapsule => "내포",
        Structure::Hypothalamus => "시상하부·뇌하수체 부위",
        Structure::CerebellopontineAngle => "소뇌교각",
        Structure::LateralVentricle => "측뇌실",
        Structure::ThirdVentricle => "제3뇌실",
        Structure::FourthVentricle => "제4뇌실",
    }
}

/// Returns the Korean name of a region with its side first: `왼쪽 전두엽`, `뇌간`.
pub fn korean_region_name(region: RegionName) -> String {
    let structure = korean_name(region.structure);
    match region.side {
        Side::Left => format!("왼쪽 {structure}"),
        Side::Right => format!("오른쪽 {structure}"),
        Side::Midline => structure.to_owned(),
    }
}

/// Returns true for the ventricles: places a tumour may reach, but not its site.
pub(crate) fn is_ventricle(structure: Structure) -> bool {
    matches!(
        structure,
        Structure::LateralVentricle | Structure::ThirdVentricle | Structure::FourthVentricle
    )
}

/// Returns true for regions that a displaced piece of brain may belong to: not for spaces full of
/// fluid, which a tumour is in only where it overlaps them.
pub(crate) fn has_tissue(structure: Structure) -> bool {
    !is_ventricle(structure) && structure != Structure::CerebellopontineAngle
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_distinct_and_carry_their_check_digit() {
        let mut codes = BTreeSet::new();
        for &structure in Structure::ALL {
            let Some(concept) = snomed_concept(structure) else {
                continue;
            };
            assert!(neurotriage_domain::is_sctid(concept.code), "{structure}: {}", concept.code);
            assert!(codes.insert(concept.code), "{structure}");
        }
        assert_eq!(codes.len(), Structure::ALL.len() - 3);
        assert!(!neurotriage_domain::is_sctid("83251002"));
    }

    #[test]
    fn korean_names_are_distinct_and_put_the_side_first() {
        let names: BTreeSet<_> = Structure::ALL.iter().map(|&s| korean_name(s)).collect();
        assert_eq!(names.len(), Structure::ALL.len());
        let table = [
            ("frontal_left", "왼쪽 전두엽"),
            ("insula_right", "오른쪽 뇌섬엽"),
            ("brain_stem", "뇌간"),
        ];
        for (region, expected) in table {
            assert_eq!(korean_region_name(region.parse().unwrap()), expected);
        }
    }
}
