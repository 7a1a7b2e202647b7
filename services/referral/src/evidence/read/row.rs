//! One row of the table.

use std::collections::BTreeMap;

use neurotriage_domain::Structure;

use super::{
    Reader, in_range,
    raw::{OwnCell, RawCause, RawCell, RawFinding, RawNumber, RawUrgentSign},
};
use crate::evidence::{
    Basis, Cause, Cell, EvidenceError, FREQUENCY_MAX, FindingEvidence, Founded,
    LIKELIHOOD_RATIO_MAX, SideRule, Urgency, UrgentSign,
};

/// Highest reliability of a side. Certainty would make one wrong word outweigh everything else.
const SIDE_RELIABILITY_MAX: f64 = 0.99;

/// Ratios of an emergency lie no further from 1 than this.
const FLAT: f64 = 1e-9;

const CELL_SHAPE: &str = "a number or `{ lr = 1.5, grade = \"C\", source = \"…\" }`";
const CAUSE_SHAPE: &str = "`{ cause = \"raised_pressure\", grade = \"C\", source = \"…\" }`; causes are raised_pressure and seizure_aftermath";
const URGENT_SIGN_SHAPE: &str = "`{ urgency = \"soon\", sentence = \"…\", grade = \"C\", source = \"…\" }`; urgency is soon or emergency";

/// What a cell takes that does not say otherwise.
struct Defaults {
    side_rule: SideRule,
    basis: Option<Basis>,
}

pub(super) fn finding(row: RawFinding, reader: &Reader) -> Result<FindingEvidence, EvidenceError> {
    let id = row.id;
    let place = |field: &str| format!("`{field}` of `{id}`");
    let side_rule = side_rule(&format!("`{id}`"), &row.side_rule)?;
    let basis = match (row.grade, row.source) {
        (Some(grade), Some(source)) => Some(reader.basis(&format!("`{id}`"), &grade, source)?),
        (None, None) => None,
        (Some(_), None) => return Err(incomplete(&id, "grade", "source")),
        (None, Some(_)) => return Err(incomplete(&id, "source", "grade")),
    };
    let side_reliability = side_reliability(&id, side_rule, row.side_reliability, reader)?;
    let Some(elsewhere) = row.elsewhere else {
        return Err(EvidenceError::Malformed {
            place: place("elsewhere"),
            found: "missing",
            shape: CELL_SHAPE,
        });
    };
    let anywhere = Defaults { side_rule: SideRule::None, basis: Some(reader.elsewhere.clone()) };
    let elsewhere = cell(&place("elsewhere"), elsewhere, &anywhere, reader)?;
    if elsewhere.side_rule != SideRule::None {
        return Err(EvidenceError::SideElsewhere { finding: id });
    }

    let own = Defaults { side_rule, basis };
    let mut cells = BTreeMap::new();
    for (name, raw) in row.ratios {
        let cell = cell(&place(&name), raw, &own, reader)?;
        for structure in reader.groups.expand(&id, &name)? {
            if cells.insert(structure, cell.clone()).is_some() {
                return Err(EvidenceError::RepeatedStructure { finding: id, structure });
            }
        }
    }
    let frequency = match row.frequency {
        Some(raw) => Some(frequency(&place("frequency"), raw, reader)?),
        None => None,
    };
    let sign_of = match row.sign_of {
        Some(raw) => Some(cause(&place("sign_of"), raw, reader)?),
        None => None,
    };
    let mut also_from = Vec::new();
    for raw in row.also_from {
        also_from.push(cause(&place("also_from"), raw, reader)?);
    }
    let urgent_sign = match row.urgent_sign {
        Some(raw) => Some(urgent_sign(&place("urgent_sign"), raw, reader)?),
        None => None,
    };
    let evidence = FindingEvidence {
        side_rule,
        side_reliability,
        group: row.group.unwrap_or_else(|| id.clone()),
        cells,
        elsewhere,
        frequency,
        sign_of,
        also_from,
        urgent_sign,
        next_check: row.next_check,
    };
    points_nowhere_if_an_emergency(id, &evidence)?;
    Ok(evidence)
}

/// Red flags act on urgency and not on the place.
fn points_nowhere_if_an_emergency(
    finding: String,
    evidence: &FindingEvidence,
) -> Result<(), EvidenceError> {
    let emergency =
        evidence.urgent_sign.as_ref().is_some_and(|sign| sign.urgency == Urgency::Emergency);
    let ratio = |structure| evidence.likelihood_ratio(structure);
    let pointed =
        Structure::ALL.iter().copied().find(|&structure| (ratio(structure) - 1.0).abs() > FLAT);
    match pointed {
        Some(structure) if emergency => {
            Err(EvidenceError::EmergencyPoints { finding, structure, value: ratio(structure) })
        }
        Some(_) | None => Ok(()),
    }
}

fn cell(
    place: &str,
    raw: RawCell,
    defaults: &Defaults,
    reader: &Reader,
) -> Result<Cell, EvidenceError> {
    let own = match raw {
        RawCell::Plain(lr) => OwnCell::plain(lr),
        RawCell::Own(own) => own,
        RawCell::Other(value) => return Err(malformed(place, &value, CELL_SHAPE)),
    };
    let good = own.lr > 0.0 && own.lr <= LIKELIHOOD_RATIO_MAX;
    in_range(place, own.lr, good, "above 0 and at most 50")?;
    let side_rule = match own.side_rule {
        Some(text) => side_rule(place, &text)?,
        None => defaults.side_rule,
    };
    let basis = match (own.grade, own.source, &defaults.basis) {
        (Some(grade), Some(source), _) => reader.basis(place, &grade, source)?,
        (Some(grade), None, Some(basis)) => reader.basis(place, &grade, basis.source.clone())?,
        (None, Some(source), Some(basis)) => reader.basis(place, basis.grade.as_str(), source)?,
        (None, None, Some(basis)) => basis.clone(),
        (_, _, None) => {
            return Err(EvidenceError::NoBasis { place: place.to_owned(), shape: CELL_SHAPE });
        }
    };
    Ok(Cell { likelihood_ratio: own.lr, side_rule, basis })
}

fn frequency(place: &str, raw: RawNumber, reader: &Reader) -> Result<Founded<f64>, EvidenceError> {
    let share = reader.number(place, raw, None)?;
    let good = share.value > 0.0 && share.value <= FREQUENCY_MAX;
    in_range(place, share.value, good, "above 0 and at most 0.95")?;
    Ok(share)
}

fn cause(place: &str, raw: RawCause, reader: &Reader) -> Result<Founded<Cause>, EvidenceError> {
    match raw {
        RawCause::Own(own) => Ok(Founded {
            value: own.cause.into(),
            basis: reader.basis(place, &own.grade, own.source)?,
        }),
        RawCause::Other(value) => Err(malformed(place, &value, CAUSE_SHAPE)),
    }
}

fn urgent_sign(
    place: &str,
    raw: RawUrgentSign,
    reader: &Reader,
) -> Result<UrgentSign, EvidenceError> {
    match raw {
        RawUrgentSign::Own(own) => Ok(UrgentSign {
            urgency: own.urgency,
            sentence: own.sentence,
            basis: reader.basis(place, &own.grade, own.source)?,
        }),
        RawUrgentSign::Other(value) => Err(malformed(place, &value, URGENT_SIGN_SHAPE)),
    }
}

fn side_reliability(
    finding: &str,
    side_rule: SideRule,
    given: Option<RawNumber>,
    reader: &Reader,
) -> Result<Founded<f64>, EvidenceError> {
    match (side_rule, given) {
        (SideRule::None, None) => Ok(Founded { value: 0.5, basis: reader.side.clone() }),
        (SideRule::None, Some(_)) => Err(incomplete(finding, "side_reliability", "side_rule")),
        (
            SideRule::Contralateral
            | SideRule::Ipsilateral
            | SideRule::Dominant
            | SideRule::NonDominant,
            None,
        ) => Err(incomplete(finding, "side_rule", "side_reliability")),
        (
            SideRule::Contralateral
            | SideRule::Ipsilateral
            | SideRule::Dominant
            | SideRule::NonDominant,
            Some(raw),
        ) => {
            let place = format!("`side_reliability` of `{finding}`");
            let sure = reader.number(&place, raw, Some(&reader.side))?;
            let good = (0.5..=SIDE_RELIABILITY_MAX).contains(&sure.value);
            in_range(&place, sure.value, good, "from 0.5 to 0.99")?;
            Ok(sure)
        }
    }
}

fn side_rule(place: &str, text: &str) -> Result<SideRule, EvidenceError> {
    match text {
        "contralateral" => Ok(SideRule::Contralateral),
        "ipsilateral" => Ok(SideRule::Ipsilateral),
        "dominant" => Ok(SideRule::Dominant),
        "non_dominant" => Ok(SideRule::NonDominant),
        "none" => Ok(SideRule::None),
        _ => Err(EvidenceError::UnknownSideRule { place: place.to_owned(), rule: text.to_owned() }),
    }
}

fn incomplete(finding: &str, given: &'static str, missing: &'static str) -> EvidenceError {
    EvidenceError::Incomplete { finding: finding.to_owned(), given, missing }
}

fn malformed(place: &str, value: &toml::Value, shape: &'static str) -> EvidenceError {
    EvidenceError::Malformed { place: place.to_owned(), found: value.type_str(), shape }
}
