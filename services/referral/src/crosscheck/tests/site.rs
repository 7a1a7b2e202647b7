//! Where the symptoms alone point.

use neurotriage_domain::Structure;

use super::*;
use crate::evidence::SideRule;

/// Every finding without a side and on either side, as text.
fn every_finding() -> Vec<String> {
    let sided = |id: &str| [id.to_owned(), format!("{id} left"), format!("{id} right")];
    crate::evidence::FINDING_IDS.into_iter().flat_map(sided).collect()
}

#[test]
fn the_site_of_the_symptoms_is_a_distribution_and_needs_evidence() {
    let table = table();
    let site = |said: &str| symptom_site(&table, &findings(said), RIGHT);
    let denials =
        "headache, no ataxia, no gait_disturbance, no hemiparesis, no aphasia, no seizure";
    for said in ["", "headache, nausea", "unilateral_headache left", "seizure", denials] {
        let nothing = site(said);
        assert_eq!((nothing.structure, nothing.side), (None, None), "{said}");
        assert!(nothing.information_nats < INFORMATION_MIN, "{said}");
    }
    let found = site("hemianopia right, alexia");
    assert_eq!(found.side, Some(Side::Left));
    assert!(found.structures.windows(2).all(|pair| pair[0].1 >= pair[1].1));
    for said in every_finding() {
        let sum: f64 = site(&said).structures.iter().map(|(_, share)| share).sum();
        assert!((sum - 1.0).abs() < 1e-9, "{said}: {sum}");
    }
    let stem = site("diplopia, dysphagia, long_tract_signs");
    assert_eq!((stem.structure, stem.side), (Some(Structure::BrainStem), Some(Side::Midline)));
    assert_eq!(site("apathy, disinhibition").side, None, "no side is given");
}

#[test]
fn mirrored_symptoms_flip_the_side() {
    let table = table();
    for said in every_finding().iter().filter(|said| said.ends_with(" left")) {
        let other = said.replace(" left", " right");
        let (here, there) = (
            symptom_site(&table, &findings(said), Handedness::Unknown),
            symptom_site(&table, &findings(&other), Handedness::Unknown),
        );
        assert_eq!(here.structure, there.structure, "{said}");
        let dominant = table.finding(said.trim_end_matches(" left")).unwrap().side_rule;
        if !matches!(dominant, SideRule::Dominant | SideRule::NonDominant) {
            assert_eq!(here.side.map(Side::opposite), there.side, "{said}");
        }
    }
}

#[test]
fn a_supporting_finding_never_lowers_its_region() {
    let table = table();
    let space = regions::RegionSpace::new(&table);
    let share = |said: &str, of: RegionName| {
        let site = symptom_site(&table, &findings(said), RIGHT);
        site.regions.iter().find(|entry| entry.region == of).unwrap().weight
    };
    let group = |said: &str| {
        let id = said.split(' ').next().unwrap();
        table.finding(id).unwrap().group.clone()
    };
    let rows = every_finding();
    for more in rows.iter().step_by(2) {
        let finding = &findings(more)[0];
        let evidence = table.finding(&finding.finding_id).unwrap();
        let ratios = likelihood::ratios(evidence, finding.side, 0.95, &space);
        // The region that the finding speaks for most.
        let best = space.sorted(&ratios)[0].region;
        for said in rows.iter().step_by(7) {
            // Of one group only the strongest counts in full: a stronger one pushes others back.
            if group(said) == group(more) {
                continue;
            }
            let (before, after) = (share(said, best), share(&format!("{said}, {more}"), best));
            assert!(after >= before - 1e-9, "{said} + {more}: {best} {before} -> {after}");
        }
    }
}

#[test]
fn a_denied_finding_counts_against_where_it_is_frequent() {
    let table = table();
    let share = |said: &str, of: Structure| {
        let site = symptom_site(&table, &findings(said), RIGHT);
        site.structures.iter().find(|(structure, _)| *structure == of).unwrap().1
    };
    let cerebellum = Structure::Cerebellum;
    assert!(share("nystagmus, no ataxia", cerebellum) < share("nystagmus", cerebellum));
    assert!(share("nystagmus, ataxia", cerebellum) > share("nystagmus", cerebellum));
    // Denied on one side only, said and denied, or of unknown frequency: nothing is known.
    for said in ["nystagmus, no ataxia left", "nystagmus, no chorea"] {
        assert_eq!(share(said, cerebellum), share("nystagmus", cerebellum), "{said}");
    }
    assert_eq!(
        share("nystagmus, ataxia, no ataxia", cerebellum),
        share("nystagmus, ataxia", cerebellum)
    );
}
