//! Ranks hospitals for one patient. Pure: no I/O.
//!
//! A hospital that lacks something essential, or takes no referrals, is left out. The others are
//! scored by weighted factors, each 0 to 1 and each with its explanation; ties go by id.

#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use neurotriage_domain::{RegionName, Side, Structure};
use serde::{Deserialize, Serialize};

use crate::{
    evidence::Urgency,
    hospital::{Capability, Coordinates, Hospital},
};

/// Distance at which the distance factor has fallen to one half, in kilometres.
pub const HALF_DISTANCE_KM: f64 = 100.0;

/// Value of the distance factor if the home is unknown.
const DISTANCE_NEUTRAL: f64 = 0.5;

/// Below this chance of language on the left both sides count as eloquent.
const LANGUAGE_SURE: f64 = 0.9;

/// What the ranking needs to know of the patient.
#[derive(Clone, Debug, PartialEq)]
pub struct Need {
    /// Where the tumour lies; `None` if unknown.
    pub site: Option<RegionName>,
    /// Chance that language lies on the left, 0 to 1.
    pub language_left: f64,
    /// How soon the patient should be seen.
    pub urgency: Urgency,
    /// Under 18 years.
    pub is_child: bool,
    /// Seizures were reported.
    pub has_seizures: bool,
    /// A disturbance of vision was reported.
    pub has_visual_signs: bool,
    /// Where the patient lives; `None` if unknown.
    pub home: Option<Coordinates>,
}

/// A capability that is called for, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// What is called for.
    pub capability: Capability,
    /// Why, as the end of a sentence: `for a tumour of the brain stem`.
    pub why: String,
}

/// One factor of a hospital's score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Factor {
    /// Name, such as `capability`.
    pub name: String,
    /// Value, 0 to 1.
    pub value: f64,
    /// Weight, 0 to 1; all weights sum to 1.
    pub weight: f64,
    /// What the value rests on.
    pub explanation: String,
}

/// A hospital and why it stands where it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RankedHospital {
    /// The hospital.
    pub hospital: Hospital,
    /// Sum of the weighted factors, 0 to 1.
    pub score: f64,
    /// Every factor of the score.
    pub factors: Vec<Factor>,
    /// Great-circle distance from the home; `None` if the home is unknown.
    pub distance_km: Option<f64>,
    /// Why, in a sentence.
    pub reason: String,
}

/// Hospitals, best first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ranking {
    /// Best first.
    pub hospitals: Vec<RankedHospital>,
    /// Why the list is empty or shorter than asked; empty otherwise.
    pub reason: String,
}

/// Returns what no hospital may lack.
pub fn essential(need: &Need) -> Vec<Requirement> {
    let mut essential = vec![requirement(Capability::Neurosurgery, "for any brain tumour")];
    if need.urgency == Urgency::Emergency {
        essential
            .push(requirement(Capability::EmergencyNeurosurgery, "because of the urgent signs"));
    }
    if need.is_child {
        essential.push(requirement(Capability::PaediatricNeuroOncology, "for a patient under 18"));
    }
    essential
}

/// Returns what the site of the tumour and the findings call for.
pub fn wanted(need: &Need) -> Vec<Requirement> {
    let mut wanted = Vec::new();
    if let Some(site) = need.site {
        let place = site.display_name();
        for capability in of_structure(site.structure) {
            wanted.push(requirement(*capability, &format!("for a tumour of the {place}")));
        }
        if is_eloquent(site, need.language_left) {
            let why = format!("because language may lie in or near the {place}");
            wanted.push(requirement(Capability::AwakeMapping, &why));
        }
    }
    let mut add = |capability, why: &str| {
        if !wanted.iter().any(|known: &Requirement| known.capability == capability) {
            wanted.push(requirement(capability, why));
        }
    };
    if need.has_visual_signs {
        add(Capability::NeuroOphthalmology, "because of the visual signs");
    }
    if need.has_seizures {
        add(Capability::EpilepsySurgery, "because of the seizures");
    }
    wanted
}

fn requirement(capability: Capability, why: &str) -> Requirement {
    Requirement { capability, why: why.to_owned() }
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

/// Returns true for the lobes of language on the side of language, or on both if that is unsure.
fn is_eloquent(site: RegionName, language_left: f64) -> bool {
    let lobe = matches!(
        site.structure,
        Structure::Frontal | Structure::Temporal | Structure::Parietal | Structure::Insula
    );
    let side = match site.side {
        Side::Left => true,
        Side::Right => language_left < LANGUAGE_SURE,
        Side::Midline => false,
    };
    lobe && side
}

/// Ranks `directory` for `need` and returns at most `hospitals_max`.
pub fn rank(need: &Need, directory: &[Hospital], hospitals_max: usize) -> Ranking {
    let (essential, wanted) = (essential(need), wanted(need));
    let accepting: Vec<&Hospital> =
        directory.iter().filter(|hospital| hospital.accepts_referrals).collect();
    let able = |hospital: &&&Hospital| {
        essential.iter().all(|requirement| hospital.offers(requirement.capability))
    };
    let mut hospitals: Vec<RankedHospital> =
        accepting.iter().filter(able).map(|hospital| score(need, &wanted, hospital)).collect();
    hospitals.sort_by(better);
    let found = hospitals.len();
    hospitals.truncate(hospitals_max);
    let reason = if found >= hospitals_max {
        String::new()
    } else {
        shortage(directory, &accepting, &essential, found)
    };
    Ranking { hospitals, reason }
}

fn better(a: &RankedHospital, b: &RankedHospital) -> Ordering {
    b.score.total_cmp(&a.score).then_with(|| a.hospital.hospital_id.cmp(&b.hospital.hospital_id))
}

fn shortage(
    directory: &[Hospital],
    accepting: &[&Hospital],
    essential: &[Requirement],
    found: usize,
) -> String {
    if directory.is_empty() {
        return "No hospital can take this patient: the directory is empty.".to_owned();
    }
    if accepting.is_empty() {
        return "No hospital can take this patient: none accepts referrals at present.".to_owned();
    }
    let needs: Vec<String> = essential
        .iter()
        .map(|requirement| {
            format!("{} ({})", requirement.capability.display_name(), requirement.why)
        })
        .collect();
    let needs = needs.join(" and ");
    if found == 0 {
        return format!(
            "No hospital can take this patient: none that accepts referrals offers {needs}."
        );
    }
    let noun = if found == 1 { "hospital" } else { "hospitals" };
    format!("Only {found} {noun} of the directory accept referrals and offer {needs}.")
}

fn score(need: &Need, wanted: &[Requirement], hospital: &Hospital) -> RankedHospital {
    let distance_km = need.home.map(|home| home.distance_km(hospital.location));
    let urgent = need.urgency > Urgency::Routine;
    // Weights sum to 1 in both rows. The fit to the tumour leads; when time presses, distance and
    // readiness for emergencies count for more.
    let [capability_weight, distance_weight, capacity_weight, emergency_weight] =
        if urgent { [0.40, 0.30, 0.10, 0.20] } else { [0.55, 0.25, 0.20, 0.0] };
    let mut factors = vec![
        capability_factor(wanted, hospital, capability_weight),
        distance_factor(distance_km, distance_weight),
        Factor {
            name: "capacity".to_owned(),
            value: hospital.capacity.clamp(0.0, 1.0),
            weight: capacity_weight,
            explanation: format!(
                "it can take {:.0} % of its referrals now",
                100.0 * hospital.capacity
            ),
        },
    ];
    if urgent {
        let ready = hospital.offers(Capability::EmergencyNeurosurgery);
        let explanation =
            if ready { "it operates at any hour" } else { "it does not operate at any hour" };
        factors.push(Factor {
            name: "emergency".to_owned(),
            value: if ready { 1.0 } else { 0.0 },
            weight: emergency_weight,
            explanation: explanation.to_owned(),
        });
    }
    let score =
        factors.iter().map(|factor| factor.value * factor.weight).sum::<f64>().clamp(0.0, 1.0);
    let reason = reason(&factors);
    RankedHospital { hospital: hospital.clone(), score, factors, distance_km, reason }
}

fn reason(factors: &[Factor]) -> String {
    let parts: Vec<&str> = factors.iter().map(|factor| factor.explanation.as_str()).collect();
    let text = parts.join("; ");
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => format!("{}{}.", first.to_uppercase(), chars.as_str()),
        None => String::new(),
    }
}

fn capability_factor(wanted: &[Requirement], hospital: &Hospital, weight: f64) -> Factor {
    let name = "capability".to_owned();
    if wanted.is_empty() {
        let explanation =
            "it offers neurosurgery, and nothing more special is called for".to_owned();
        return Factor { name, value: 1.0, weight, explanation };
    }
    let (met, lacking): (Vec<&Requirement>, Vec<&Requirement>) =
        wanted.iter().partition(|requirement| hospital.offers(requirement.capability));
    let say = |requirements: &[&Requirement]| {
        let parts: Vec<String> = requirements
            .iter()
            .map(|requirement| {
                format!("{} {}", requirement.capability.display_name(), requirement.why)
            })
            .collect();
        parts.join(", ")
    };
    let explanation = match (met.is_empty(), lacking.is_empty()) {
        (false, true) => format!("it offers {}", say(&met)),
        (true, _) => format!("it lacks {}", say(&lacking)),
        (false, false) => format!("it offers {} and lacks {}", say(&met), say(&lacking)),
    };
    let value = share(met.len(), wanted.len());
    Factor { name, value, weight, explanation }
}

fn share(part: usize, whole: usize) -> f64 {
    // Both are a handful.
    f64::from(u32::try_from(part).unwrap_or(u32::MAX))
        / f64::from(u32::try_from(whole).unwrap_or(u32::MAX))
}

fn distance_factor(distance_km: Option<f64>, weight: f64) -> Factor {
    let (value, explanation) = match distance_km {
        Some(km) => (
            HALF_DISTANCE_KM / (HALF_DISTANCE_KM + km),
            format!("it is {km:.0} km from the patient's home"),
        ),
        None => (
            DISTANCE_NEUTRAL,
            "the patient's home is not recorded, so distance counts the same for every hospital"
                .to_owned(),
        ),
    };
    Factor { name: "distance".to_owned(), value, weight, explanation }
}
