//! What else may explain the findings, and what the verdict hangs on.

use super::*;
use crate::evidence::Cause::{
    self, MassEffect, OtherDisease, RaisedPressure, SecondLesion, SeizureAftermath,
};

/// Causes, each with the finding it is given.
type Causes<'a> = &'a [(Cause, &'a str)];

#[test]
fn what_the_lesion_leaves_unexplained_is_given_to_one_cause_each() {
    // (what the row is for, image, findings, causes with their findings)
    let rows: [(&str, &str, &str, Causes<'_>); 10] = [
        ("all explained", "frontal_left 1", "apathy, hemiparesis right", &[]),
        (
            "false localising",
            "frontal_left 1",
            "apathy, diplopia, papilledema",
            &[(RaisedPressure, "diplopia")],
        ),
        (
            "no sign of pressure",
            "frontal_left 1",
            "apathy, diplopia",
            &[(SecondLesion, "diplopia")],
        ),
        (
            "pressure denied",
            "frontal_left 1",
            "diplopia, no papilledema",
            &[(SecondLesion, "diplopia")],
        ),
        (
            "no seizure said",
            "temporal_left 1",
            "receptive_aphasia, hemiparesis left",
            &[(SecondLesion, "hemiparesis")],
        ),
        (
            "Todd with a seizure",
            "temporal_left 1",
            "focal_seizure, hemiparesis left",
            &[(SeizureAftermath, "hemiparesis")],
        ),
        (
            "a part reaches there",
            "frontal_left 0.9, occipital_left 0.1",
            "hemianopia right, alexia",
            &[(MassEffect, "alexia"), (MassEffect, "hemianopia")],
        ),
        (
            "elsewhere",
            "frontal_left 1",
            "apathy, hemianopia right",
            &[(SecondLesion, "hemianopia")],
        ),
        (
            "weak",
            "occipital_left 1",
            "hemianopia right, attention_deficit",
            &[(OtherDisease, "attention_deficit")],
        ),
        ("no lesion", "", "hemianopia right, papilledema", &[]),
    ];
    for (case, image, said, expected) in rows {
        let comparison = compared(image, said, RIGHT);
        let found: Vec<(Cause, &str)> = comparison
            .alternatives
            .iter()
            .flat_map(|one| one.finding_ids.iter().map(|id| (one.cause, id.as_str())))
            .collect();
        assert_eq!(found, expected, "case: {case}");
        assert!(comparison.alternatives.iter().all(|one| one.reason.ends_with('.')), "{case}");
    }
}

#[test]
fn pivots_are_the_findings_that_the_verdict_hangs_on() {
    let pivots = |image: &str, said: &str| compared(image, said, RIGHT).pivots;
    let only = pivots("frontal_left 1", "apathy, headache");
    assert_eq!(only.len(), 1);
    assert_eq!(
        (only[0].finding_id.as_str(), only[0].verdict_without),
        ("apathy", InsufficientEvidence)
    );
    let mixed = pivots("frontal_left 1", "apathy, personality_change, hemianopia right");
    assert!(
        mixed.iter().any(|pivot| {
            pivot.finding_id == "hemianopia" && pivot.verdict_without == Concordant
        })
    );
    assert_eq!(pivots("frontal_left 1", "apathy, personality_change, disinhibition"), []);
    assert_eq!(pivots("", "apathy"), [], "nothing is compared");
    // Each is what leaving it out gives.
    let said = "apathy, hemiparesis left, hemianopia right, no seizure";
    for pivot in pivots(BIFRONTAL, said) {
        let mut kept = findings(said);
        kept.retain(|finding| finding.finding_id != pivot.finding_id);
        let without = compare(&table(), &kept, RIGHT, &lesion(BIFRONTAL)).verdict;
        assert_eq!(without, pivot.verdict_without);
    }
}

#[test]
fn what_a_lesion_leads_one_to_expect_is_denied_or_not_mentioned() {
    let found = compared("frontal_left 1", "apathy, no disinhibition, no hemianopia", RIGHT);
    assert_eq!(found.expected_but_absent, ["disinhibition"]);
    assert_eq!(found.worth_asking.len(), 3);
    let known = ["apathy", "disinhibition"];
    assert!(found.worth_asking.iter().all(|id| !known.contains(&id.as_str())));
    let none = compared("", "apathy, no disinhibition", RIGHT);
    assert!(none.expected_but_absent.is_empty() && none.worth_asking.is_empty());
}
