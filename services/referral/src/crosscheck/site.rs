//! Where the symptoms alone point.

use neurotriage_domain::{Side, Structure};

use super::{
    INFORMATION_MIN, ReportedFinding, WeightedRegion,
    likelihood::Symptoms,
    regions::{RegionSpace, is_unpaired},
};
use crate::evidence::{EvidenceTable, Handedness};

/// Share of a structure's probability that must lie on one side for the side to be named.
pub const SIDE_SHARE_MIN: f64 = 0.6;

/// Where the symptoms alone point.
#[derive(Clone, Debug, PartialEq)]
pub struct SymptomSite {
    /// How much the findings say about the place, `ln(M/B)` in nats; see the module's formula.
    pub information_nats: f64,
    /// The most likely structure; `None` if the findings say less than [`INFORMATION_MIN`].
    pub structure: Option<Structure>,
    /// Its side; `None` if the findings give none. Unpaired structures have the midline.
    pub side: Option<Side>,
    /// Every structure by falling probability, both sides together; they sum to 1.
    pub structures: Vec<(Structure, f64)>,
    /// Every region by falling probability; they sum to 1.
    pub regions: Vec<WeightedRegion>,
}

/// Returns where the findings of a report point, without an image.
pub fn symptom_site(
    table: &EvidenceTable,
    findings: &[ReportedFinding],
    handedness: Handedness,
) -> SymptomSite {
    let space = RegionSpace::new(table);
    let symptoms = Symptoms::of(table, findings, &space, table.language_left(handedness));
    let posterior = space.posterior(symptoms.likelihoods());
    let on = |structure: Structure, side: Option<Side>| -> f64 {
        let regions = space.regions().iter().zip(&posterior);
        regions
            .filter(|(region, _)| {
                region.structure == structure && side.is_none_or(|side| region.side == side)
            })
            .map(|(_, weight)| weight)
            .sum()
    };
    let mut structures: Vec<(Structure, f64)> =
        table.prior().keys().map(|&structure| (structure, on(structure, None))).collect();
    structures.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let information_nats = symptoms.information();
    let first = structures.first().filter(|_| information_nats >= INFORMATION_MIN);
    let side = first.and_then(|&(structure, share)| {
        if is_unpaired(structure) {
            return Some(Side::Midline);
        }
        [Side::Left, Side::Right]
            .into_iter()
            .find(|&side| on(structure, Some(side)) >= SIDE_SHARE_MIN * share)
    });
    let structure = first.map(|first| first.0);
    let regions = space.sorted(&posterior);
    SymptomSite { information_nats, structure, side, structures, regions }
}
