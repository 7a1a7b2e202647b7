//! From TOML to the checked table.

mod raw;
mod row;

use std::collections::{BTreeMap, BTreeSet};

use neurotriage_domain::Structure;

use self::raw::{RawBasis, RawDominance, RawNumber, RawSource, RawTable};
use super::{
    Basis, EvidenceError, EvidenceTable, FINDING_IDS, Founded, Grade, LanguageDominance, Source,
};

const NUMBER_SHAPE: &str = "`{ value = 0.5, grade = \"C\", source = \"…\" }`";

pub(super) fn table(text: &str) -> Result<EvidenceTable, EvidenceError> {
    let raw: RawTable =
        toml::from_str(text).map_err(|error| EvidenceError::Syntax(error.message().to_owned()))?;
    if raw.version.trim().is_empty() {
        return Err(EvidenceError::NoVersion);
    }
    let weight = raw.prior_weight;
    in_range("`prior_weight`", weight, (0.0..=1.0).contains(&weight), "from 0 to 1")?;
    let sources = sources(raw.sources)?;
    let stated = |field: &str, stated: RawBasis| {
        basis(&sources, &format!("`{field}` of `defaults`"), &stated.grade, stated.source)
    };
    let reader = Reader {
        groups: Groups(raw.structure_groups),
        elsewhere: stated("elsewhere", raw.defaults.elsewhere)?,
        side: stated("side_reliability", raw.defaults.side_reliability)?,
        prior: stated("prior", raw.defaults.prior)?,
        sources,
    };
    let prior = prior(raw.prior, &reader)?;
    let mut site_checks: BTreeMap<Structure, Vec<String>> = BTreeMap::new();
    for (name, checks) in raw.site_checks {
        for structure in reader.groups.expand("site_checks", &name)? {
            site_checks.entry(structure).or_default().extend(checks.clone());
        }
    }
    let mut findings = BTreeMap::new();
    for row in raw.finding {
        let id = row.id.clone();
        if !FINDING_IDS.contains(&id.as_str()) {
            return Err(EvidenceError::UnknownFinding { finding: id });
        }
        let evidence = row::finding(row, &reader)?;
        if findings.insert(id.clone(), evidence).is_some() {
            return Err(EvidenceError::RepeatedFinding { finding: id });
        }
    }
    if let Some(finding) = FINDING_IDS.into_iter().find(|id| !findings.contains_key(*id)) {
        return Err(EvidenceError::MissingFinding { finding });
    }
    let dominance = dominance(raw.language_dominance, &reader)?;
    let table = EvidenceTable {
        version: raw.version,
        prior: prior.iter().map(|(&structure, weight)| (structure, weight.value)).collect(),
        prior_bases: prior
            .into_iter()
            .map(|(structure, weight)| (structure, weight.basis))
            .collect(),
        prior_weight: weight,
        dominance,
        findings,
        sources: reader.sources,
        site_checks,
    };
    let used: BTreeSet<&str> = table.bases().map(|basis| basis.source.as_str()).collect();
    match table.sources.keys().find(|key| !used.contains(key.as_str())) {
        Some(origin) => Err(EvidenceError::UnusedSource { origin: origin.clone() }),
        None => Ok(table),
    }
}

fn sources(raw: BTreeMap<String, RawSource>) -> Result<BTreeMap<String, Source>, EvidenceError> {
    let mut sources = BTreeMap::new();
    for (key, raw) in raw {
        let place = format!("source `{key}`");
        let grade = grade(&place, &raw.grade)?;
        if raw.citation.trim().is_empty() {
            return Err(EvidenceError::NoCitation { origin: key });
        }
        sources.insert(key, Source { grade, citation: raw.citation, doi: raw.doi });
    }
    Ok(sources)
}

fn prior(
    raw: BTreeMap<String, RawNumber>,
    reader: &Reader,
) -> Result<BTreeMap<Structure, Founded<f64>>, EvidenceError> {
    let mut prior = BTreeMap::new();
    for (name, raw) in raw {
        let place = format!("`{name}` of `prior`");
        let weight = reader.number(&place, raw, Some(&reader.prior))?;
        let good = weight.value > 0.0 && weight.value <= 1.0;
        in_range(&place, weight.value, good, "above 0 and at most 1")?;
        for structure in reader.groups.expand("prior", &name)? {
            prior.insert(structure, weight.clone());
        }
    }
    Ok(prior)
}

fn dominance(raw: RawDominance, reader: &Reader) -> Result<LanguageDominance, EvidenceError> {
    let chance = |name: &str, raw| {
        let place = format!("`{name}` of `language_dominance`");
        let chance: Founded<f64> = reader.number(&place, raw, None)?;
        let good = (0.5..1.0).contains(&chance.value);
        in_range(&place, chance.value, good, "from 0.5 to below 1")?;
        Ok(chance)
    };
    Ok(LanguageDominance {
        right: chance("right", raw.right)?,
        left: chance("left", raw.left)?,
        both: chance("both", raw.both)?,
        unknown: chance("unknown", raw.unknown)?,
    })
}

/// What rows are read with.
struct Reader {
    groups: Groups,
    sources: BTreeMap<String, Source>,
    elsewhere: Basis,
    side: Basis,
    prior: Basis,
}

impl Reader {
    fn basis(&self, place: &str, grade: &str, source: String) -> Result<Basis, EvidenceError> {
        basis(&self.sources, place, grade, source)
    }

    /// Returns a number with what it rests on; `default` is what a number alone rests on, if it may stand
    /// alone.
    fn number(
        &self,
        place: &str,
        raw: RawNumber,
        default: Option<&Basis>,
    ) -> Result<Founded<f64>, EvidenceError> {
        match (raw, default) {
            (RawNumber::Plain(value), Some(basis)) => Ok(Founded { value, basis: basis.clone() }),
            (RawNumber::Plain(_), None) => {
                Err(EvidenceError::NoBasis { place: place.to_owned(), shape: NUMBER_SHAPE })
            }
            (RawNumber::Own(own), _) => {
                Ok(Founded { value: own.value, basis: self.basis(place, &own.grade, own.source)? })
            }
            (RawNumber::Other(value), _) => Err(EvidenceError::Malformed {
                place: place.to_owned(),
                found: value.type_str(),
                shape: NUMBER_SHAPE,
            }),
        }
    }
}

fn basis(
    sources: &BTreeMap<String, Source>,
    place: &str,
    text: &str,
    source: String,
) -> Result<Basis, EvidenceError> {
    let grade = grade(place, text)?;
    let Some(listed) = sources.get(&source) else {
        return Err(EvidenceError::UnknownSource { place: place.to_owned(), origin: source });
    };
    if grade < listed.grade {
        return Err(EvidenceError::GradeTooGood {
            place: place.to_owned(),
            grade,
            origin: source,
            best: listed.grade,
        });
    }
    Ok(Basis { grade, source })
}

fn grade(place: &str, text: &str) -> Result<Grade, EvidenceError> {
    let found = Grade::ALL.into_iter().find(|grade| grade.as_str() == text);
    found.ok_or_else(|| EvidenceError::UnknownGrade {
        place: place.to_owned(),
        grade: text.to_owned(),
    })
}

fn in_range(place: &str, value: f64, good: bool, range: &'static str) -> Result<(), EvidenceError> {
    if good {
        return Ok(());
    }
    Err(EvidenceError::OutOfRange { place: place.to_owned(), value, range })
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
