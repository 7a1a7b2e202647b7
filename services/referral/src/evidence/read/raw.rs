//! The table as it is written.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::evidence::{Cause, Urgency};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTable {
    pub(super) version: String,
    pub(super) defaults: RawDefaults,
    pub(super) prior_weight: f64,
    pub(super) prior: BTreeMap<String, RawNumber>,
    #[serde(default)]
    pub(super) structure_groups: BTreeMap<String, Vec<String>>,
    pub(super) language_dominance: RawDominance,
    pub(super) sources: BTreeMap<String, RawSource>,
    #[serde(default)]
    pub(super) site_checks: BTreeMap<String, Vec<String>>,
    pub(super) finding: Vec<RawFinding>,
}

/// What a number alone rests on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDefaults {
    pub(super) elsewhere: RawBasis,
    pub(super) side_reliability: RawBasis,
    pub(super) prior: RawBasis,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawBasis {
    pub(super) grade: String,
    pub(super) source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSource {
    pub(super) grade: String,
    pub(super) citation: String,
    pub(super) doi: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawDominance {
    pub(super) right: RawNumber,
    pub(super) left: RawNumber,
    pub(super) both: RawNumber,
    pub(super) unknown: RawNumber,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFinding {
    pub(super) id: String,
    pub(super) side_rule: String,
    pub(super) side_reliability: Option<RawNumber>,
    pub(super) group: Option<String>,
    /// Of the cells that are a number alone.
    pub(super) grade: Option<String>,
    pub(super) source: Option<String>,
    pub(super) frequency: Option<RawNumber>,
    pub(super) sign_of: Option<RawCause>,
    #[serde(default)]
    pub(super) also_from: Vec<RawCause>,
    pub(super) elsewhere: Option<RawCell>,
    #[serde(default)]
    pub(super) ratios: BTreeMap<String, RawCell>,
    pub(super) next_check: Option<String>,
    pub(super) urgent_sign: Option<RawUrgentSign>,
}

/// A number, alone or with what it rests on. What is neither is kept, so that the error can say where.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum RawNumber {
    Plain(f64),
    Own(OwnNumber),
    Other(toml::Value),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnNumber {
    pub(super) value: f64,
    pub(super) grade: String,
    pub(super) source: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum RawCell {
    Plain(f64),
    Own(OwnCell),
    Other(toml::Value),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnCell {
    pub(super) lr: f64,
    pub(super) side_rule: Option<String>,
    pub(super) grade: Option<String>,
    pub(super) source: Option<String>,
}

impl OwnCell {
    pub(super) fn plain(lr: f64) -> Self {
        Self { lr, side_rule: None, grade: None, source: None }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum RawCause {
    Own(OwnCause),
    Other(toml::Value),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnCause {
    pub(super) cause: SignedCause,
    pub(super) grade: String,
    pub(super) source: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum RawUrgentSign {
    Own(OwnUrgentSign),
    Other(toml::Value),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OwnUrgentSign {
    pub(super) urgency: Urgency,
    pub(super) sentence: String,
    pub(super) grade: String,
    pub(super) source: String,
}

/// Causes that have signs of their own; the others follow from where the lesion lies.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SignedCause {
    RaisedPressure,
    SeizureAftermath,
}

impl From<SignedCause> for Cause {
    fn from(cause: SignedCause) -> Self {
        match cause {
            SignedCause::RaisedPressure => Self::RaisedPressure,
            SignedCause::SeizureAftermath => Self::SeizureAftermath,
        }
    }
}
