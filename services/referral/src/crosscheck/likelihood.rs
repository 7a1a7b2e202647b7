//! The likelihood of the findings in each region.

use std::collections::{BTreeMap, BTreeSet};

use neurotriage_domain::Side;

use super::{
    GROUP_DISCOUNT, ReportedFinding, SHRINKAGE,
    regions::{RegionSpace, greatest},
};
use crate::evidence::{EvidenceTable, FindingEvidence};

/// Likelihoods closer to 1 than this say nothing about the place.
const FLAT: f64 = 1e-9;

/// The likelihood of all findings together in each region of the space.
pub(super) struct Symptoms {
    likelihoods: Vec<f64>,
    information: f64,
}

/// Returns the likelihood ratio of one finding in each region, its side taken into account.
pub(super) fn ratios(
    evidence: &FindingEvidence,
    body_side: Option<Side>,
    language_left: f64,
    space: &RegionSpace,
) -> Vec<f64> {
    space
        .regions()
        .iter()
        .map(|region| {
            evidence.likelihood_ratio(region.structure)
                * evidence.side_factor(region.structure, region.side, body_side, language_left)
        })
        .collect()
}

/// Returns the likelihood ratio of the absence of one finding in each region.
fn absence_ratios(evidence: &FindingEvidence, space: &RegionSpace) -> Vec<f64> {
    space.regions().iter().map(|region| evidence.absence_ratio(region.structure)).collect()
}

/// Returns how much `likelihoods` say about the place, in nats: `ln(max / prior mean)`.
pub(super) fn information(likelihoods: &[f64], space: &RegionSpace) -> f64 {
    (greatest(likelihoods) / space.prior_mean(likelihoods)).ln().max(0.0)
}

/// One finding as logarithms, with what it is ordered by in its group.
struct Strength<'a> {
    information: f64,
    present: bool,
    finding_id: &'a str,
    log_ratios: Vec<f64>,
}

impl Symptoms {
    pub(super) fn of(
        table: &EvidenceTable,
        findings: &[ReportedFinding],
        space: &RegionSpace,
        language_left: f64,
    ) -> Self {
        let mut groups: BTreeMap<&str, Vec<Strength<'_>>> = BTreeMap::new();
        let present = sides(findings);
        let denied = denied(findings).into_iter().filter(|id| !present.contains_key(id));
        let rows = present
            .iter()
            .map(|(&id, &body_side)| (id, Some(body_side)))
            .chain(denied.map(|id| (id, None)));
        for (finding_id, body_side) in rows {
            let Some(evidence) = table.finding(finding_id) else { continue };
            let ratios = match body_side {
                Some(body_side) => ratios(evidence, body_side, language_left, space),
                None => absence_ratios(evidence, space),
            };
            groups.entry(&evidence.group).or_default().push(Strength {
                information: information(&ratios, space),
                present: body_side.is_some(),
                finding_id,
                log_ratios: ratios.into_iter().map(f64::ln).collect(),
            });
        }
        let mut logs = vec![0.0; space.regions().len()];
        let mut logs_present = logs.clone();
        for members in groups.values_mut() {
            members.sort_by(|a, b| {
                b.information.total_cmp(&a.information).then(a.finding_id.cmp(b.finding_id))
            });
            let mut part = SHRINKAGE;
            for member in members.iter() {
                let totals = logs.iter_mut().zip(&mut logs_present);
                for ((total, of_present), log) in totals.zip(&member.log_ratios) {
                    *total += part * log;
                    if member.present {
                        *of_present += part * log;
                    }
                }
                part *= GROUP_DISCOUNT;
            }
        }
        let exp = |logs: Vec<f64>| logs.into_iter().map(f64::exp).collect::<Vec<f64>>();
        // What is denied tells places apart; it does not say that there is one.
        let information = information(&exp(logs_present), space);
        Self { likelihoods: exp(logs), information }
    }

    pub(super) fn likelihoods(&self) -> &[f64] {
        &self.likelihoods
    }

    pub(super) fn information(&self) -> f64 {
        self.information
    }

    /// Returns true if every region explains the findings alike.
    pub(super) fn point_nowhere(&self) -> bool {
        self.likelihoods.iter().all(|likelihood| (likelihood - 1.0).abs() < FLAT)
    }
}

/// Returns each finding that is denied altogether, once; a finding that is denied on one side is not.
fn denied(findings: &[ReportedFinding]) -> BTreeSet<&str> {
    let whole = |finding: &&ReportedFinding| {
        !finding.present && !matches!(finding.side, Some(Side::Left | Side::Right))
    };
    findings.iter().filter(whole).map(|finding| finding.finding_id.as_str()).collect()
}

/// Returns each finding that is present, once, with its side; on both sides it has none.
fn sides(findings: &[ReportedFinding]) -> BTreeMap<&str, Option<Side>> {
    let mut said: BTreeMap<&str, BTreeSet<Side>> = BTreeMap::new();
    for finding in findings.iter().filter(|finding| finding.present) {
        let sides = said.entry(&finding.finding_id).or_default();
        match finding.side {
            Some(side @ (Side::Left | Side::Right)) => {
                sides.insert(side);
            }
            Some(Side::Midline) => sides.extend([Side::Left, Side::Right]),
            None => {}
        }
    }
    said.into_iter()
        .map(|(id, sides)| (id, if sides.len() == 1 { sides.first().copied() } else { None }))
        .collect()
}
