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

/// Returns how much `likelihoods` say about the place, in nats: `ln(max / prior mean)`.
pub(super) fn information(likelihoods: &[f64], space: &RegionSpace) -> f64 {
    (greatest(likelihoods) / space.prior_mean(likelihoods)).ln().max(0.0)
}

/// One finding as logarithms, with what it is ordered by in its group.
struct Strength<'a> {
    information: f64,
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
        for (finding_id, body_side) in sides(findings) {
            let Some(evidence) = table.finding(finding_id) else { continue };
            let ratios = ratios(evidence, body_side, language_left, space);
            groups.entry(&evidence.group).or_default().push(Strength {
                information: information(&ratios, space),
                finding_id,
                log_ratios: ratios.into_iter().map(f64::ln).collect(),
            });
        }
        let mut logs = vec![0.0; space.regions().len()];
        for members in groups.values_mut() {
            members.sort_by(|a, b| {
                b.information.total_cmp(&a.information).then(a.finding_id.cmp(b.finding_id))
            });
            let mut part = SHRINKAGE;
            for member in members.iter() {
                for (total, log) in logs.iter_mut().zip(&member.log_ratios) {
                    *total += part * log;
                }
                part *= GROUP_DISCOUNT;
            }
        }
        let likelihoods: Vec<f64> = logs.into_iter().map(f64::exp).collect();
        let information = information(&likelihoods, space);
        Self { likelihoods, information }
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
