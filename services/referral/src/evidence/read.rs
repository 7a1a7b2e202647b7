//! From TOML to the checked table.

use std::collections::BTreeMap;

use neurotriage_domain::Structure;
use serde::Deserialize;

use super::{
    Cause, EvidenceError, EvidenceTable, FINDING_IDS, FREQUENCY_MAX, FindingEvidence, Grade,
    LIKELIHOOD_RATIO_MAX, LanguageDominance, Ratio, SideRule, Urgency, UrgentSign,
};

/// Bound in words of a likelihood ratio.
const RATIO_RANGE: &str = "above 0 and at most 50";

/// Highest reliability of a side. Certainty would make one wrong word outweigh everything else.
const SIDE_RELIABILITY_MAX: f64 = 0.99;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTable {
    version: String,
    prior_weight: f64,
    prior: BTreeMap<String, f64>,
    #[serde(default)]
    structure_groups: BTreeMap<String, Vec<String>>,
    language_dominance: LanguageDominance,
    sources: BTreeMap<String, String>,
    #[serde(default)]
    site_checks: BTreeMap<String, Vec<String>>,
    finding: Vec<RawFinding>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFinding {
    id: String,
    side_rule: String,
    side_reliability: Option<f64>,
    frequency: Option<f64>,
    sign_of: Option<SignedCause>,
    #[serde(default)]
    also_from: Vec<SignedCause>,
    group: Option<String>,
    grade: String,
    source: String,
    #[serde(default = "one")]
    elsewhere: f64,
    #[serde(default)]
    ratios: BTreeMap<String, RawRatio>,
    urgency: Option<Urgency>,
    urgent_sign: Option<String>,
    next_check: Option<String>,
}

/// Causes that have signs of their own; the others follow from where the lesion lies.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SignedCause {
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

#[derive(Deserialize)]
#[serde(untagged)]
enum RawRatio {
    Plain(f64),
    Own(RawCell),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCell {
    lr: f64,
    side_rule: Option<String>,
    grade: Option<String>,
    source: Option<String>,
}

fn one() -> f64 {
    1.0
}

pub(super) fn table(text: &str) -> Result<EvidenceTable, EvidenceError> {
    let raw: RawTable =
        toml::from_str(text).map_err(|error| EvidenceError::Syntax(error.message().to_owned()))?;
    if raw.version.trim().is_empty() {
        return Err(EvidenceError::NoVersion);
    }
    let weight = raw.prior_weight;
    let good = (0.0..=1.0).contains(&weight);
    in_range("evidence table", "prior_weight", weight, good, "from 0 to 1")?;
    let groups = Groups(raw.structure_groups);
    let mut prior = BTreeMap::new();
    for (name, weight) in &raw.prior {
        in_range("prior", name, *weight, *weight > 0.0 && *weight <= 1.0, "above 0 and at most 1")?;
        for structure in groups.expand("prior", name)? {
            prior.insert(structure, *weight);
        }
    }
    let mut site_checks: BTreeMap<Structure, Vec<String>> = BTreeMap::new();
    for (name, checks) in raw.site_checks {
        for structure in groups.expand("site_checks", &name)? {
            site_checks.entry(structure).or_default().extend(checks.clone());
        }
    }
    let mut findings = BTreeMap::new();
    for row in raw.finding {
        let id = row.id.clone();
        if !FINDING_IDS.contains(&id.as_str()) {
            return Err(EvidenceError::UnknownFinding { finding: id });
        }
        let evidence = finding(row, &groups, &raw.sources)?;
        if findings.insert(id.clone(), evidence).is_some() {
            return Err(EvidenceError::RepeatedFinding { finding: id });
        }
    }
    if let Some(finding) = FINDING_IDS.into_iter().find(|id| !findings.contains_key(*id)) {
        return Err(EvidenceError::MissingFinding { finding });
    }
    let dominance = raw.language_dominance;
    for (name, chance) in [
        ("right", dominance.right),
        ("left", dominance.left),
        ("both", dominance.both),
        ("unknown", dominance.unknown),
    ] {
        let good = (0.5..1.0).contains(&chance);
        in_range("language_dominance", name, chance, good, "from 0.5 to below 1")?;
    }
    let sources = raw.sources;
    Ok(EvidenceTable {
        version: raw.version,
        prior,
        prior_weight: weight,
        dominance,
        findings,
        sources,
        site_checks,
    })
}

fn finding(
    row: RawFinding,
    groups: &Groups,
    sources: &BTreeMap<String, String>,
) -> Result<FindingEvidence, EvidenceError> {
    let id = row.id;
    let side_rule = side_rule(&id, &row.side_rule)?;
    let row_grade = grade(&id, &row.grade)?;
    let row_source = source(&id, row.source, sources)?;
    let side_reliability = side_reliability(&id, side_rule, row.side_reliability)?;
    ratio_in_range(&id, "elsewhere", row.elsewhere)?;
    if let Some(share) = row.frequency {
        let good = share > 0.0 && share <= FREQUENCY_MAX;
        in_range(&id, "frequency", share, good, "above 0 and at most 0.95")?;
    }

    let mut ratios = BTreeMap::new();
    for (name, raw) in row.ratios {
        let cell = match raw {
            RawRatio::Plain(lr) => RawCell { lr, side_rule: None, grade: None, source: None },
            RawRatio::Own(cell) => cell,
        };
        ratio_in_range(&id, &name, cell.lr)?;
        let ratio = Ratio {
            likelihood_ratio: cell.lr,
            side_rule: match cell.side_rule {
                Some(rule) => self::side_rule(&id, &rule)?,
                None => side_rule,
            },
            grade: match cell.grade {
                Some(text) => grade(&id, &text)?,
                None => row_grade,
            },
            source: match cell.source {
                Some(key) => source(&id, key, sources)?,
                None => row_source.clone(),
            },
        };
        for structure in groups.expand(&id, &name)? {
            ratios.insert(structure, ratio.clone());
        }
    }
    let urgent_sign = urgent_sign(&id, row.urgency, row.urgent_sign)?;
    Ok(FindingEvidence {
        side_rule,
        side_reliability,
        group: row.group.unwrap_or(id),
        ratios,
        elsewhere: row.elsewhere,
        frequency: row.frequency,
        sign_of: row.sign_of.map(Cause::from),
        also_from: row.also_from.into_iter().map(Cause::from).collect(),
        urgent_sign,
        next_check: row.next_check,
    })
}

fn urgent_sign(
    finding: &str,
    urgency: Option<Urgency>,
    sentence: Option<String>,
) -> Result<Option<UrgentSign>, EvidenceError> {
    let incomplete = |given, missing| {
        Err(EvidenceError::Incomplete { finding: finding.to_owned(), given, missing })
    };
    match (urgency, sentence) {
        (Some(urgency), Some(sentence)) => Ok(Some(UrgentSign { urgency, sentence })),
        (None, None) => Ok(None),
        (Some(_), None) => incomplete("urgency", "urgent_sign"),
        (None, Some(_)) => incomplete("urgent_sign", "urgency"),
    }
}

fn side_reliability(
    finding: &str,
    side_rule: SideRule,
    given: Option<f64>,
) -> Result<f64, EvidenceError> {
    match (side_rule, given) {
        (SideRule::None, None) => Ok(0.5),
        (SideRule::None, Some(_)) => Err(EvidenceError::Incomplete {
            finding: finding.to_owned(),
            given: "side_reliability",
            missing: "side_rule",
        }),
        (_, None) => Err(EvidenceError::Incomplete {
            finding: finding.to_owned(),
            given: "side_rule",
            missing: "side_reliability",
        }),
        (_, Some(value)) => {
            let good = (0.5..=SIDE_RELIABILITY_MAX).contains(&value);
            in_range(finding, "side_reliability", value, good, "from 0.5 to 0.99")?;
            Ok(value)
        }
    }
}

fn side_rule(finding: &str, text: &str) -> Result<SideRule, EvidenceError> {
    match text {
        "contralateral" => Ok(SideRule::Contralateral),
        "ipsilateral" => Ok(SideRule::Ipsilateral),
        "dominant" => Ok(SideRule::Dominant),
        "non_dominant" => Ok(SideRule::NonDominant),
        "none" => Ok(SideRule::None),
        _ => Err(EvidenceError::UnknownSideRule {
            finding: finding.to_owned(),
            rule: text.to_owned(),
        }),
    }
}

fn grade(finding: &str, text: &str) -> Result<Grade, EvidenceError> {
    match text {
        "A" => Ok(Grade::A),
        "B" => Ok(Grade::B),
        "C" => Ok(Grade::C),
        "D" => Ok(Grade::D),
        _ => {
            Err(EvidenceError::UnknownGrade { finding: finding.to_owned(), grade: text.to_owned() })
        }
    }
}

fn source(
    finding: &str,
    key: String,
    sources: &BTreeMap<String, String>,
) -> Result<String, EvidenceError> {
    if sources.contains_key(&key) {
        return Ok(key);
    }
    Err(EvidenceError::UnknownSource { finding: finding.to_owned(), origin: key })
}

fn ratio_in_range(finding: &str, structure: &str, value: f64) -> Result<(), EvidenceError> {
    let good = value > 0.0 && value <= LIKELIHOOD_RATIO_MAX;
    in_range(finding, structure, value, good, RATIO_RANGE)
}

fn in_range(
    place: &str,
    field: &str,
    value: f64,
    good: bool,
    range: &'static str,
) -> Result<(), EvidenceError> {
    if good {
        return Ok(());
    }
    Err(EvidenceError::OutOfRange {
        place: place.to_owned(),
        field: field.to_owned(),
        value,
        range,
    })
}

/// Names that stand for several structures.
struct Groups(BTreeMap<String, Vec<String>>);

impl Groups {
    fn expand(&self, place: &str, name: &str) -> Result<Vec<Structure>, EvidenceError> {
        let unknown = |structure: &str| EvidenceError::UnknownStructure {
            place: place.to_owned(),
            structure: structure.to_owned(),
        };
        let Some(members) = self.0.get(name) else {
            return Ok(vec![name.parse().map_err(|_| unknown(name))?]);
        };
        let mut structures = Vec::new();
        for member in members {
            structures.push(member.parse().map_err(|_| unknown(member))?);
        }
        Ok(structures)
    }
}
