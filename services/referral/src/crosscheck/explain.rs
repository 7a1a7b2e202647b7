//! What else may explain the findings, what the verdict hangs on, and what the lesion leads one to
//! expect.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{
    EXPLAINED_WEIGHT_MIN, Fit, INFORMATION_MIN, POINTS_TO_MIN, ReportedFinding, Verdict,
    fit::FitDetail, regions::RegionSpace, words,
};
use crate::evidence::{Cause, EvidenceTable};

/// Weight of the image in the places a finding points to, from which a part of the lesion reaches them.
const REACHED_MIN: f64 = 0.01;

/// Mean likelihood ratio over the lesion from which a finding that nobody asked for is worth asking.
const WORTH_ASKING_MIN: f64 = 2.0;

/// Most findings that are worth asking.
const WORTH_ASKING_MAX: usize = 3;

/// Another explanation of findings that the lesion does not explain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alternative {
    /// What it is.
    pub cause: Cause,
    /// Keys of the findings it would explain, at least one.
    pub finding_ids: Vec<String>,
    /// Why, in a sentence.
    pub reason: String,
}

/// A finding without which the verdict would be another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pivot {
    /// Its key.
    pub finding_id: String,
    /// The verdict without it.
    pub verdict_without: Verdict,
}

/// Returns what else may explain the findings that a placed lesion leaves unexplained: each finding is
/// given to the first cause that fits, in the order of [`Cause`]. Empty without a lesion.
pub(super) fn alternatives(
    table: &EvidenceTable,
    fits: &[FitDetail],
    placed: bool,
) -> Vec<Alternative> {
    let mut left: Vec<&FitDetail> =
        fits.iter().filter(|fit| placed && fit.fit == Fit::Unexplained).collect();
    left.sort_by(|a, b| a.finding().finding_id.cmp(&b.finding().finding_id));
    let mut found = Vec::new();
    for cause in Cause::ALL {
        let (explained, rest): (Vec<_>, Vec<_>) =
            left.into_iter().partition(|fit| may_explain(table, fits, cause, fit));
        left = rest;
        if !explained.is_empty() {
            found.push(alternative(cause, &explained));
        }
    }
    found
}

fn may_explain(table: &EvidenceTable, fits: &[FitDetail], cause: Cause, of: &FitDetail) -> bool {
    let row = |fit: &FitDetail| table.finding(&fit.finding().finding_id);
    let signs = || {
        let sign = |fit: &FitDetail| row(fit).is_some_and(|row| row.is_sign_of(cause));
        fits.iter().any(|fit| fit.finding().present && sign(fit))
    };
    match cause {
        Cause::RaisedPressure | Cause::SeizureAftermath => {
            row(of).is_some_and(|row| row.may_come_from(cause)) && signs()
        }
        Cause::MassEffect => (REACHED_MIN..EXPLAINED_WEIGHT_MIN).contains(&of.reached),
        Cause::SecondLesion => of.information >= INFORMATION_MIN,
        Cause::OtherDisease => true,
    }
}

fn alternative(cause: Cause, fits: &[&FitDetail]) -> Alternative {
    let names: Vec<String> = fits.iter().map(|fit| words::finding(fit.finding())).collect();
    let names = words::list(&names, "and");
    let reason = match cause {
        Cause::RaisedPressure => {
            format!("Raised pressure in the head can cause {names}, wherever the lesion lies.")
        }
        Cause::SeizureAftermath => {
            format!("After a seizure, {names} can last for hours to days without a lesion there.")
        }
        Cause::MassEffect => {
            format!(
                "Swelling or pressure may explain {names}: a small part of the lesion reaches there."
            )
        }
        Cause::SecondLesion => {
            format!("A second lesion would explain {names}: no part of this one lies there.")
        }
        Cause::OtherDisease => format!("Another disease may be behind {names}."),
    };
    let mut finding_ids: Vec<String> =
        fits.iter().map(|fit| fit.finding().finding_id.clone()).collect();
    finding_ids.dedup();
    Alternative { cause, finding_ids, reason }
}

/// Returns the findings, present or denied, without which the verdict would be another, by key.
/// `verdict_of` judges a list of findings.
pub(super) fn pivots(
    findings: &[ReportedFinding],
    verdict: Verdict,
    verdict_of: impl Fn(&[ReportedFinding]) -> Verdict,
) -> Vec<Pivot> {
    let ids: BTreeSet<&str> = findings.iter().map(|finding| finding.finding_id.as_str()).collect();
    let without = |id: &str| {
        let kept: Vec<ReportedFinding> =
            findings.iter().filter(|finding| finding.finding_id != id).cloned().collect();
        let verdict_without = verdict_of(&kept);
        (verdict_without != verdict).then(|| Pivot { finding_id: id.to_owned(), verdict_without })
    };
    ids.into_iter().filter_map(without).collect()
}

/// What a lesion leads one to expect.
#[derive(Default)]
pub(super) struct Expected {
    /// Findings that it makes more frequent and that were denied, by key.
    pub(super) absent: Vec<String>,
    /// Findings that it makes far more frequent and that the report does not mention, the most
    /// telling first.
    pub(super) unasked: Vec<String>,
}

/// Returns what the lesion leads one to expect and the report does not confirm.
pub(super) fn expected(
    table: &EvidenceTable,
    space: &RegionSpace,
    findings: &[ReportedFinding],
    image: Option<&[f64]>,
) -> Expected {
    let Some(image) = image else { return Expected::default() };
    let said = |id: &str, present: bool| {
        findings.iter().any(|finding| finding.finding_id == id && finding.present == present)
    };
    let mut rows: Vec<(f64, &str)> = table
        .findings()
        .map(|(id, row)| {
            let ratios =
                space.regions().iter().map(|region| row.likelihood_ratio(region.structure));
            (ratios.zip(image).map(|(ratio, weight)| ratio * weight).sum(), id)
        })
        .collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    let names = |kept: &dyn Fn(f64, &str) -> bool| -> Vec<String> {
        let kept = rows.iter().filter(|(ratio, id)| kept(*ratio, id));
        kept.map(|(_, id)| (*id).to_owned()).collect()
    };
    let mut absent =
        names(&|ratio, id| ratio >= POINTS_TO_MIN && said(id, false) && !said(id, true));
    absent.sort();
    let mut unasked =
        names(&|ratio, id| ratio >= WORTH_ASKING_MIN && !said(id, false) && !said(id, true));
    unasked.truncate(WORTH_ASKING_MAX);
    Expected { absent, unasked }
}
