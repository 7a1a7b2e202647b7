//! Ranks hospitals for one patient. Pure: no I/O.
//!
//! A hospital that lacks something essential, or takes no referrals, is left out. The others are
//! scored by weighted factors, each 0 to 1 and each with its explanation; ties go by id.

mod needs;
mod rules;
#[cfg(test)]
mod tests;

use std::cmp::Ordering;

use neurotriage_domain::RegionName;
use serde::{Deserialize, Serialize};

pub use self::{
    needs::{NearbyArea, NeedLesion, Requirement, TumourHint, hints, requirements},
    rules::{RankingRules, RulesError, Travel, Weights},
};
use crate::{
    evidence::Urgency,
    hospital::{Capability, Coordinates, Hospital},
};

/// Value of the travel factor if the home is unknown.
const TRAVEL_NEUTRAL: f64 = 0.5;

/// What the ranking needs to know of the patient.
#[derive(Clone, Debug, PartialEq)]
pub struct Need {
    /// Where the tumour lies; `None` if unknown.
    pub site: Option<RegionName>,
    /// What the image shows, largest first; empty if nothing is sure.
    pub lesions: Vec<NeedLesion>,
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
    /// Great-circle distance from the home, in kilometres; `None` if the home is unknown.
    pub distance_km: Option<f64>,
    /// Estimated time on the road, in minutes; `None` if the home is unknown.
    #[serde(default)]
    pub travel_minutes: Option<f64>,
    /// Why, in a sentence.
    pub reason: String,
}

/// Hospitals, best first. Fields with a default were added after the first assessments were stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ranking {
    /// Best first.
    pub hospitals: Vec<RankedHospital>,
    /// Why the list is empty or shorter than asked; empty otherwise.
    pub reason: String,
    /// What the patient calls for, the essential first.
    #[serde(default)]
    pub requirements: Vec<Requirement>,
    /// Kinds of tumour worth thinking of, which called for some of it.
    #[serde(default)]
    pub hints: Vec<TumourHint>,
    /// Version of the rules.
    #[serde(default)]
    pub rules_version: String,
}

/// Ranks `directory` for `need` and returns at most `hospitals_max`.
pub fn rank(
    rules: &RankingRules,
    need: &Need,
    directory: &[Hospital],
    hospitals_max: usize,
) -> Ranking {
    let requirements = requirements(need);
    let (essential, wanted): (Vec<&Requirement>, Vec<&Requirement>) =
        requirements.iter().partition(|requirement| requirement.essential);
    let weights = rules.weights(need.urgency);
    let mut accepting = 0;
    let mut able = Vec::new();
    for hospital in directory.iter().filter(|hospital| hospital.accepts_referrals) {
        accepting += 1;
        if offers_all(hospital, &essential) {
            able.push(Scored::new(rules, &weights, need, &wanted, hospital));
        }
    }
    let found = able.len();
    if found > hospitals_max && hospitals_max > 0 {
        able.select_nth_unstable_by(hospitals_max - 1, better);
    }
    able.truncate(hospitals_max);
    able.sort_by(better);
    // Sentences are written for the few that are shown, not for a whole directory.
    let hospitals =
        able.into_iter().map(|scored| scored.explained(&weights, &wanted)).collect::<Vec<_>>();
    let reason = if found >= hospitals_max {
        String::new()
    } else {
        shortage(directory, accepting, &essential, found)
    };
    let hints = hints(need);
    let rules_version = rules.version().to_owned();
    Ranking { hospitals, reason, requirements, hints, rules_version }
}

fn offers_all(hospital: &Hospital, requirements: &[&Requirement]) -> bool {
    requirements.iter().all(|requirement| hospital.offers(requirement.capability))
}

fn better(a: &Scored<'_>, b: &Scored<'_>) -> Ordering {
    b.score.total_cmp(&a.score).then_with(|| a.hospital.hospital_id.cmp(&b.hospital.hospital_id))
}

/// Says why fewer hospitals than asked were found, and what the directory lacks.
fn shortage(
    directory: &[Hospital],
    accepting: usize,
    essential: &[&Requirement],
    found: usize,
) -> String {
    if directory.is_empty() {
        return "No hospital can take this patient: the directory is empty.".to_owned();
    }
    if accepting == 0 {
        return "No hospital can take this patient: none accepts referrals at present.".to_owned();
    }
    let needs = said(essential, |requirement| {
        format!("{} ({})", requirement.capability.display_name(), requirement.why)
    });
    if found > 0 {
        let noun = if found == 1 { "hospital" } else { "hospitals" };
        return format!("Only {found} {noun} of the directory accept referrals and offer {needs}.");
    }
    let closed = directory
        .iter()
        .filter(|hospital| !hospital.accepts_referrals && offers_all(hospital, essential))
        .count();
    let closed = match closed {
        0 => String::new(),
        1 => " One that does takes no referrals at present.".to_owned(),
        more => format!(" {more} that do take no referrals at present."),
    };
    format!(
        "No hospital can take this patient: none that accepts referrals offers {needs}.{closed}"
    )
}

fn said(requirements: &[&Requirement], say: impl Fn(&Requirement) -> String) -> String {
    requirements.iter().map(|requirement| say(requirement)).collect::<Vec<_>>().join(" and ")
}

/// A hospital with the values of its factors, before anything is put into words.
struct Scored<'a> {
    hospital: &'a Hospital,
    score: f64,
    distance_km: Option<f64>,
    travel_minutes: Option<f64>,
    capability: f64,
    travel: f64,
    capacity: f64,
    readiness: f64,
}

impl<'a> Scored<'a> {
    fn new(
        rules: &RankingRules,
        weights: &Weights,
        need: &Need,
        wanted: &[&Requirement],
        hospital: &'a Hospital,
    ) -> Self {
        let distance_km = need.home.map(|home| home.distance_km(hospital.location));
        let travel_minutes = distance_km.map(|km| rules.travel().minutes(km));
        let met =
            wanted.iter().filter(|requirement| hospital.offers(requirement.capability)).count();
        let capability = if wanted.is_empty() { 1.0 } else { share(met, wanted.len()) };
        let travel = travel_minutes.map_or(TRAVEL_NEUTRAL, |minutes| {
            weights.half_minutes / (weights.half_minutes + minutes)
        });
        let capacity =
            if hospital.beds_free == Some(0) { 0.0 } else { hospital.capacity.clamp(0.0, 1.0) };
        let readiness = if hospital.offers(Capability::EmergencyNeurosurgery) { 1.0 } else { 0.0 };
        let score = (weights.capability * capability
            + weights.travel * travel
            + weights.capacity * capacity
            + weights.readiness * readiness)
            .clamp(0.0, 1.0);
        Self {
            hospital,
            score,
            distance_km,
            travel_minutes,
            capability,
            travel,
            capacity,
            readiness,
        }
    }

    fn explained(self, weights: &Weights, wanted: &[&Requirement]) -> RankedHospital {
        let factor = |name: &str, value: f64, weight: f64, explanation: String| Factor {
            name: name.to_owned(),
            value,
            weight,
            explanation,
        };
        let ready = self.readiness > 0.0;
        let readiness =
            if ready { "it operates at any hour" } else { "it does not operate at any hour" };
        let factors = vec![
            factor(
                "capability",
                self.capability,
                weights.capability,
                said_of_capability(wanted, self.hospital),
            ),
            factor("travel", self.travel, weights.travel, self.said_of_travel()),
            factor("capacity", self.capacity, weights.capacity, said_of_capacity(self.hospital)),
            factor("readiness", self.readiness, weights.readiness, readiness.to_owned()),
        ];
        let factors: Vec<Factor> =
            factors.into_iter().filter(|factor| factor.weight > 0.0).collect();
        RankedHospital {
            hospital: self.hospital.clone(),
            score: self.score,
            distance_km: self.distance_km,
            travel_minutes: self.travel_minutes,
            reason: reason(&factors),
            factors,
        }
    }

    fn said_of_travel(&self) -> String {
        match (self.distance_km, self.travel_minutes) {
            (Some(km), Some(minutes)) => format!(
                "it is {km:.0} km from the patient's home, about {} by road (estimated)",
                duration(minutes)
            ),
            _ => {
                "the patient's home is not recorded, so the way counts the same for every hospital"
                    .to_owned()
            }
        }
    }
}

/// Returns a time as `5 min` or `2 h 05 min`.
fn duration(minutes: f64) -> String {
    let minutes = minutes.round();
    if minutes < 60.0 {
        return format!("{minutes:.0} min");
    }
    format!("{:.0} h {:02.0} min", (minutes / 60.0).floor(), minutes % 60.0)
}

fn said_of_capacity(hospital: &Hospital) -> String {
    let share = format!("it can take {:.0} % of its referrals now", 100.0 * hospital.capacity);
    match hospital.beds_free {
        Some(0) => "it has no free bed".to_owned(),
        Some(1) => format!("{share} and has one free bed"),
        Some(beds) => format!("{share} and has {beds} free beds"),
        None => share,
    }
}

fn said_of_capability(wanted: &[&Requirement], hospital: &Hospital) -> String {
    if wanted.is_empty() {
        return "it offers neurosurgery, and nothing more special is called for".to_owned();
    }
    let (met, lacking): (Vec<&Requirement>, Vec<&Requirement>) =
        wanted.iter().copied().partition(|requirement| hospital.offers(requirement.capability));
    let say = |requirements: &[&Requirement]| {
        let parts: Vec<String> = requirements
            .iter()
            .map(|requirement| {
                format!("{} {}", requirement.capability.display_name(), requirement.why)
            })
            .collect();
        parts.join(", ")
    };
    match (met.is_empty(), lacking.is_empty()) {
        (false, true) => format!("it offers {}", say(&met)),
        (true, _) => format!("it lacks {}", say(&lacking)),
        (false, false) => format!("it offers {} and lacks {}", say(&met), say(&lacking)),
    }
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

fn share(part: usize, whole: usize) -> f64 {
    // Both are a handful.
    f64::from(u32::try_from(part).unwrap_or(u32::MAX))
        / f64::from(u32::try_from(whole).unwrap_or(u32::MAX))
}
