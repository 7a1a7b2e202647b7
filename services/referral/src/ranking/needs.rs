//! What a patient calls for: what no hospital may lack, and what is wanted beside it.

use neurotriage_domain::{RegionName, Side, Structure};
use serde::{Deserialize, Serialize};

use super::Need;
use crate::{evidence::Urgency, hospital::Capability};

/// Below this chance of language on the left both sides count as eloquent.
const LANGUAGE_SURE: f64 = 0.9;

/// Distance from an area of language or movement within which mapping is wanted, in millimetres;
/// grade D.
const MAPPING_MM: f64 = 10.0;

/// Areas of the localiser, without their side, near which operations are mapped in the awake patient.
const MAPPED_AREAS: [&str; 4] =
    ["broca_area", "wernicke_area", "primary_motor_cortex", "primary_somatosensory_cortex"];

/// Enhancing volume above which a lesion counts as enhancing, in millilitres; grade D.
const ENHANCING_MIN_ML: f64 = 0.5;

/// Share of a lesion that enhances below which it counts as not enhancing; grade D.
const ENHANCING_SHARE_MIN: f64 = 0.05;

/// Volume from which the lack of enhancement says something, in millilitres; grade D.
const DIFFUSE_MIN_ML: f64 = 5.0;

/// One lesion, as far as a referral depends on it.
#[derive(Clone, Debug, PartialEq)]
pub struct NeedLesion {
    /// Whole tumour, in millilitres.
    pub volume_ml: f64,
    /// Enhancing tumour, in millilitres.
    pub enhancing_ml: f64,
    /// Eloquent areas near it with their distance; `None` if the localiser could not tell.
    pub eloquent: Option<Vec<NearbyArea>>,
}

impl NeedLesion {
    fn enhances(&self) -> bool {
        self.enhancing_ml >= ENHANCING_MIN_ML
    }
}

/// An area whose injury costs a function, near a lesion.
#[derive(Clone, Debug, PartialEq)]
pub struct NearbyArea {
    /// Stable name, such as `broca_area_left`.
    pub area: String,
    /// Plain English.
    pub display_name: String,
    /// Smallest distance from the lesion, in millimetres; 0 if they overlap.
    pub distance_mm: f64,
}

/// A capability that is called for, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirement {
    /// What is called for.
    pub capability: Capability,
    /// Why, as the end of a sentence: `for a tumour of the brain stem`.
    pub why: String,
    /// True if a hospital without it is left out.
    pub essential: bool,
}

/// A kind of tumour that site, age and image make worth thinking of. No diagnosis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TumourHint {
    /// Stable name, such as `lower_grade_glioma`.
    pub kind: String,
    /// What speaks for it, in a sentence.
    pub reason: String,
    /// What it adds to what is wanted.
    pub capabilities: Vec<Capability>,
    /// Where the advice comes from.
    pub source: String,
}

/// Returns the kinds of tumour worth thinking of when a hospital is chosen.
pub fn hints(need: &Need) -> Vec<TumourHint> {
    let structure = need.site.map(|site| site.structure);
    let mut hints = Vec::new();
    let mut add = |kind: &str, reason: &str, capabilities: &[Capability], source: &str| {
        hints.push(TumourHint {
            kind: kind.to_owned(),
            reason: reason.to_owned(),
            capabilities: capabilities.to_vec(),
            source: source.to_owned(),
        });
    };
    let enhancing = need.lesions.iter().filter(|lesion| lesion.enhances()).count();
    if enhancing >= 2 && !need.is_child {
        add(
            "metastases_or_multifocal_glioma",
            "Several separate lesions enhance, as metastases and multifocal gliomas do.",
            &[Capability::StereotacticBiopsy, Capability::Radiosurgery],
            "EANO-ESMO guideline on brain metastasis (Le Rhun et al., Ann Oncol 2021;32:1332)",
        );
    }
    let diffuse = match need.lesions.as_slice() {
        [lesion] => {
            lesion.volume_ml >= DIFFUSE_MIN_ML
                && !lesion.enhances()
                && lesion.enhancing_ml < ENHANCING_SHARE_MIN * lesion.volume_ml
        }
        _ => false,
    };
    if diffuse && !need.is_child && structure.is_some_and(is_cerebral) {
        add(
            "lower_grade_glioma",
            "One lesion of a cerebral lobe hardly enhances, as lower-grade gliomas do; they are removed \
             as far as function allows.",
            &[Capability::AwakeMapping],
            "stimulation mapping in glioma surgery (De Witt Hamer et al., J Clin Oncol 2012;30:2559)",
        );
    }
    if need.is_child
        && matches!(structure, Some(Structure::Cerebellum | Structure::FourthVentricle))
    {
        add(
            "posterior_fossa_tumour_of_childhood",
            "A child has a tumour of the posterior fossa, where medulloblastoma and ependymoma are frequent; \
             both are irradiated, and protons spare the growing brain.",
            &[Capability::ProtonTherapy],
            "proton or photon radiotherapy of medulloblastoma (Kahalley et al., J Clin Oncol 2020;38:454)",
        );
    }
    if structure == Some(Structure::CerebellopontineAngle) {
        add(
            "vestibular_schwannoma_or_meningioma",
            "The tumour lies in the cerebellopontine angle, where schwannoma and meningioma are frequent.",
            &[Capability::SkullBase, Capability::Radiosurgery],
            "EANO guideline on vestibular schwannoma (Goldbrunner et al., Neuro Oncol 2020;22:31)",
        );
    }
    hints
}

/// Returns what is called for: what no hospital may lack first, then what is wanted, each once.
pub fn requirements(need: &Need) -> Vec<Requirement> {
    let mut list = Requirements(Vec::new());
    list.add(Capability::Neurosurgery, true, "for any brain tumour");
    if need.urgency == Urgency::Emergency {
        list.add(Capability::EmergencyNeurosurgery, true, "because of the urgent signs");
    }
    if need.is_child {
        list.add(Capability::PaediatricNeuroOncology, true, "for a patient under 18");
    }
    if let Some(site) = need.site {
        let why = format!("for a tumour of the {}", site.display_name());
        for &capability in of_structure(site.structure) {
            list.add(capability, false, &why);
        }
    }
    if let Some(why) = mapping(need) {
        list.add(Capability::AwakeMapping, false, &why);
    }
    if need.has_visual_signs {
        list.add(Capability::NeuroOphthalmology, false, "because of the visual signs");
    }
    if need.has_seizures {
        list.add(Capability::EpilepsySurgery, false, "because of the seizures");
    }
    for hint in hints(need) {
        let why = format!("because it may be {}", kind_in_words(&hint.kind));
        for capability in hint.capabilities {
            list.add(capability, false, &why);
        }
    }
    list.0
}

fn kind_in_words(kind: &str) -> String {
    kind.replace('_', " ")
}

struct Requirements(Vec<Requirement>);

impl Requirements {
    fn add(&mut self, capability: Capability, essential: bool, why: &str) {
        if !self.0.iter().any(|known| known.capability == capability) {
            self.0.push(Requirement { capability, why: why.to_owned(), essential });
        }
    }
}

/// Returns why an operation should be mapped; `None` if nothing asks for it.
fn mapping(need: &Need) -> Option<String> {
    let site = need.site?;
    let by_lobe = || {
        is_eloquent_lobe(site, need.language_left)
            .then(|| format!("because language may lie in or near the {}", site.display_name()))
    };
    let mut nearest: Option<&NearbyArea> = None;
    let mut told = !need.lesions.is_empty();
    for lesion in &need.lesions {
        let Some(areas) = &lesion.eloquent else {
            told = false;
            continue;
        };
        for area in areas.iter().filter(|area| is_mapped(area)) {
            if nearest.is_none_or(|nearest| area.distance_mm < nearest.distance_mm) {
                nearest = Some(area);
            }
        }
    }
    match nearest {
        Some(area) if area.distance_mm > 0.0 => Some(format!(
            "because the tumour lies {:.0} mm from the {}",
            area.distance_mm, area.display_name
        )),
        Some(area) => Some(format!("because the tumour reaches the {}", area.display_name)),
        // The map holds no areas of language on the right.
        None if told && site.side != Side::Right => None,
        None => by_lobe(),
    }
}

fn is_mapped(area: &NearbyArea) -> bool {
    area.distance_mm <= MAPPING_MM
        && MAPPED_AREAS.iter().any(|name| {
            area.area.strip_prefix(name).is_some_and(|rest| matches!(rest, "_left" | "_right"))
        })
}

fn is_cerebral(structure: Structure) -> bool {
    matches!(
        structure,
        Structure::Frontal
            | Structure::Temporal
            | Structure::Parietal
            | Structure::Occipital
            | Structure::Insula
    )
}

/// Returns true for the lobes of language on the side of language, or on both if that is unsure.
fn is_eloquent_lobe(site: RegionName, language_left: f64) -> bool {
    let lobe = is_cerebral(site.structure) && site.structure != Structure::Occipital;
    let side = match site.side {
        Side::Left => true,
        Side::Right => language_left < LANGUAGE_SURE,
        Side::Midline => false,
    };
    lobe && side
}

fn of_structure(structure: Structure) -> &'static [Capability] {
    match structure {
        Structure::BrainStem => &[Capability::SkullBase, Capability::StereotacticBiopsy],
        Structure::CerebellopontineAngle => &[Capability::SkullBase, Capability::Radiosurgery],
        Structure::Hypothalamus => &[Capability::SkullBase, Capability::NeuroOphthalmology],
        Structure::Thalamus
        | Structure::Caudate
        | Structure::Putamen
        | Structure::GlobusPallidus
        | Structure::SubthalamicNucleus
        | Structure::Fornix
        | Structure::CorpusCallosum
        | Structure::InternalCapsule
        | Structure::LateralVentricle
        | Structure::ThirdVentricle
        | Structure::FourthVentricle => &[Capability::StereotacticBiopsy],
        Structure::Occipital => &[Capability::NeuroOphthalmology],
        Structure::Frontal
        | Structure::Temporal
        | Structure::Parietal
        | Structure::Insula
        | Structure::Cerebellum => &[],
    }
}
