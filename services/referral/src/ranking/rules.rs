//! How much each factor counts, and how a distance becomes a time on the road.

use serde::Deserialize;

use crate::evidence::Urgency;

/// The weights that are compiled in.
const BUILTIN: &str = include_str!("../../../../assets/ranking/ranking.toml");

/// How far a sum of weights may be from 1.
const SUM_TOLERANCE: f64 = 1e-6;

/// Longest version, in characters.
const VERSION_CHARS_MAX: usize = 64;

/// How hospitals are ranked.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RankingRules {
    version: String,
    routine: Weights,
    soon: Weights,
    emergency: Weights,
    travel: Travel,
}

/// How much each factor counts at one urgency.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// Weight of what the hospital offers.
    pub capability: f64,
    /// Weight of the way there.
    pub travel: f64,
    /// Weight of its capacity.
    pub capacity: f64,
    /// Weight of operating at any hour.
    pub readiness: f64,
    /// Time on the road at which the factor of the way has fallen to one half, in minutes.
    pub half_minutes: f64,
}

/// From a straight line to a time on the road.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Travel {
    /// Length of the road over the straight line, 1 or more.
    pub detour: f64,
    /// Length of road that is driven at the speed of a town, in kilometres.
    pub town_km: f64,
    /// Speed in town, in kilometres an hour.
    pub town_km_per_h: f64,
    /// Speed beyond, in kilometres an hour.
    pub open_km_per_h: f64,
}

impl Travel {
    /// Returns the estimated time on the road for a straight line of `distance_km`, in minutes.
    pub fn minutes(self, distance_km: f64) -> f64 {
        let road_km = distance_km * self.detour;
        let town_km = road_km.min(self.town_km);
        60.0 * (town_km / self.town_km_per_h + (road_km - town_km) / self.open_km_per_h)
    }
}

/// Why rules cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RulesError {
    /// Not TOML, or not the shape of the rules.
    #[error("ranking rules are malformed; correct them: {0}")]
    Syntax(String),
    /// A version that cannot be told.
    #[error("ranking rules have no version; write 1 to {VERSION_CHARS_MAX} characters")]
    Version,
    /// A value out of its range.
    #[error("ranking rules: {name} is {value}; write {expected}")]
    Value {
        /// Its name, such as `soon.travel`.
        name: String,
        /// Its value.
        value: f64,
        /// What would be right.
        expected: &'static str,
    },
    /// Weights that do not sum to 1.
    #[error("ranking rules: the weights of `{urgency}` sum to {sum}; make them sum to 1")]
    Sum {
        /// Of which urgency.
        urgency: &'static str,
        /// Their sum.
        sum: f64,
    },
}

impl RankingRules {
    /// Returns the rules that are compiled in.
    ///
    /// # Errors
    /// As [`RankingRules::read`].
    pub fn builtin() -> Result<Self, RulesError> {
        Self::read(BUILTIN)
    }

    /// Returns the rules written in `text`, in TOML as `assets/ranking/ranking.toml` is.
    ///
    /// # Errors
    /// [`RulesError`] names the first value that is wrong.
    pub fn read(text: &str) -> Result<Self, RulesError> {
        let rules: Self =
            toml::from_str(text).map_err(|error| RulesError::Syntax(error.message().to_owned()))?;
        let version_chars = rules.version.trim().chars().count();
        if version_chars == 0 || version_chars > VERSION_CHARS_MAX {
            return Err(RulesError::Version);
        }
        for (urgency, weights) in
            [("routine", rules.routine), ("soon", rules.soon), ("emergency", rules.emergency)]
        {
            weights.check(urgency)?;
        }
        let Travel { detour, town_km, town_km_per_h, open_km_per_h } = rules.travel;
        in_range("travel.detour", detour, 1.0..=10.0, "a number from 1 to 10")?;
        in_range("travel.town_km", town_km, 0.0..=1_000.0, "kilometres from 0 to 1000")?;
        for (name, speed) in
            [("travel.town_km_per_h", town_km_per_h), ("travel.open_km_per_h", open_km_per_h)]
        {
            in_range(name, speed, 1.0..=1_000.0, "kilometres an hour from 1 to 1000")?;
        }
        Ok(rules)
    }

    /// Returns the version, part of every answer.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Returns the weights at `urgency`.
    pub fn weights(&self, urgency: Urgency) -> Weights {
        match urgency {
            Urgency::Routine => self.routine,
            Urgency::Soon => self.soon,
            Urgency::Emergency => self.emergency,
        }
    }

    /// Returns how a straight line becomes a time on the road.
    pub fn travel(&self) -> Travel {
        self.travel
    }
}

impl Weights {
    fn check(self, urgency: &'static str) -> Result<(), RulesError> {
        let Self { capability, travel, capacity, readiness, half_minutes } = self;
        let weights = [
            ("capability", capability),
            ("travel", travel),
            ("capacity", capacity),
            ("readiness", readiness),
        ];
        for (name, weight) in weights {
            let name = format!("{urgency}.{name}");
            in_range(&name, weight, 0.0..=1.0, "a weight from 0 to 1")?;
        }
        let name = format!("{urgency}.half_minutes");
        in_range(&name, half_minutes, 1.0..=10_000.0, "minutes from 1 to 10000")?;
        let sum: f64 = weights.iter().map(|(_, weight)| weight).sum();
        if (sum - 1.0).abs() > SUM_TOLERANCE {
            return Err(RulesError::Sum { urgency, sum });
        }
        Ok(())
    }
}

fn in_range(
    name: &str,
    value: f64,
    range: std::ops::RangeInclusive<f64>,
    expected: &'static str,
) -> Result<(), RulesError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(RulesError::Value { name: name.to_owned(), value, expected })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_of_the_rules_are_named() {
        // (what the row is for, text to find, what to write, part of the error)
        let table = [
            ("syntax", "[travel]", "[voyage]", "malformed"),
            ("version", "version = \"2026.11.1\"", "version = \" \"", "no version"),
            ("negative", "capacity = 0.10", "capacity = -0.10", "soon.capacity is -0.1"),
            ("sum", "capability = 0.55", "capability = 0.65", "`routine` sum to 1.1"),
            ("nan", "travel = 0.45", "travel = nan", "emergency.travel is NaN"),
            ("speed", "open_km_per_h = 80.0", "open_km_per_h = 0.0", "open_km_per_h is 0"),
            ("half", "half_minutes = 45.0", "half_minutes = 0.0", "emergency.half_minutes"),
            ("detour", "detour = 1.417", "detour = 0.5", "travel.detour is 0.5"),
        ];
        for (case, find, replace, expected) in table {
            assert!(BUILTIN.contains(find), "case: {case}");
            let error = RankingRules::read(&BUILTIN.replacen(find, replace, 1)).unwrap_err();
            assert!(error.to_string().contains(expected), "case: {case}: {error}");
        }
    }

    #[test]
    fn a_time_on_the_road_has_its_closed_form() {
        let travel =
            Travel { detour: 1.5, town_km: 15.0, town_km_per_h: 30.0, open_km_per_h: 90.0 };
        // (straight line in kilometres, minutes)
        for (km, minutes) in [(0.0, 0.0), (5.0, 15.0), (10.0, 30.0), (70.0, 90.0)] {
            assert!((travel.minutes(km) - minutes).abs() < 1e-9, "{km} km");
        }
    }
}
