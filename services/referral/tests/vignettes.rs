//! Invented patients with the place that published rules name: `tests/vignettes`.

#![allow(clippy::unwrap_used, reason = "helpers of tests may stop the test")]
#![allow(clippy::print_stdout, reason = "says how well symptoms alone name the place")]

use std::{collections::BTreeSet, fs, path::Path};

use neurotriage_domain::Side;
use neurotriage_referral::{
    crosscheck::{ReportedFinding, symptom_site},
    evidence::{EvidenceTable, FINDING_IDS, Handedness},
};
use serde::Deserialize;

/// Answer where nothing localises.
const NONE: &str = "none";

/// Least shares of right answers on the vignettes held out; well below what is reached.
const REGION_ACCURACY_MIN: f64 = 0.70;
const SIDE_ACCURACY_MIN: f64 = 0.85;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    vignette: Vec<Vignette>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vignette {
    id: String,
    /// Never looked at while the table and its rules were set.
    #[serde(default)]
    held_out: bool,
    /// Of the text; English if not said.
    #[serde(default)]
    language: Option<String>,
    text: String,
    handedness: String,
    findings: Vec<Finding>,
    expected_structures: Vec<String>,
    expected_side: String,
    rule: String,
    source: String,
    difficulty: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Finding {
    id: String,
    side: Option<String>,
    presence: String,
}

fn vignettes() -> Vec<Vignette> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vignettes");
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "toml"));
    paths.sort();
    let read = |path| toml::from_str::<File>(&fs::read_to_string(path).unwrap()).unwrap().vignette;
    paths.iter().flat_map(read).collect()
}

fn reported(finding: &Finding) -> Option<ReportedFinding> {
    let side = match finding.side.as_deref() {
        None => None,
        Some("left") => Some(Side::Left),
        Some("right") => Some(Side::Right),
        Some("both") => Some(Side::Midline),
        Some(other) => panic!("unknown side {other}"),
    };
    let present = match finding.presence.as_str() {
        "present" => true,
        "absent" => false,
        "unknown" => return None,
        other => panic!("unknown presence {other}"),
    };
    Some(ReportedFinding {
        finding_id: finding.id.clone(),
        code: String::new(),
        display_name: String::new(),
        side,
        present,
        matched_text: String::new(),
    })
}

fn handedness(text: &str) -> Handedness {
    match text {
        "right" => Handedness::Right,
        "left" => Handedness::Left,
        "both" => Handedness::Both,
        "unknown" => Handedness::Unknown,
        other => panic!("unknown handedness {other}"),
    }
}

/// What was expected and what was answered.
struct Pairs(Vec<(String, String)>);

impl Pairs {
    fn accuracy(&self) -> f64 {
        let right = self.0.iter().filter(|(expected, found)| expected == found).count();
        right as f64 / self.0.len() as f64
    }

    /// Mean over the expected answers of F1 = 2 TP / (2 TP + FP + FN).
    fn macro_f1(&self) -> f64 {
        let labels: BTreeSet<&str> = self.0.iter().map(|(expected, _)| expected.as_str()).collect();
        let f1 = |label: &&str| {
            let count = |of: fn(bool, bool) -> bool| {
                let is = |text: &str| text == *label;
                self.0.iter().filter(|(expected, found)| of(is(expected), is(found))).count() as f64
            };
            let both = count(|expected, found| expected && found);
            2.0 * both / (2.0 * both + count(|expected, found| expected != found))
        };
        labels.iter().map(f1).sum::<f64>() / labels.len() as f64
    }
}

/// Returns expected and answered regions, then sides, of some vignettes. Of several structures that
/// are right, the one answered counts as the expected one.
fn answers(vignettes: &[&Vignette]) -> (Pairs, Pairs) {
    let table = EvidenceTable::builtin().unwrap();
    let (mut regions, mut sides) = (Vec::new(), Vec::new());
    for vignette in vignettes {
        let findings: Vec<_> = vignette.findings.iter().filter_map(reported).collect();
        let site = symptom_site(&table, &findings, handedness(&vignette.handedness));
        let found = site.structure.map_or(NONE.to_owned(), |structure| structure.to_string());
        let expected = match &vignette.expected_structures[..] {
            [] => NONE.to_owned(),
            several if several.contains(&found) => found.clone(),
            [first, ..] => first.clone(),
        };
        if expected != found {
            let site = site.structures.iter().take(3);
            let site: Vec<String> = site.map(|(at, share)| format!("{at} {share:.2}")).collect();
            println!(
                "  {} ({}): {expected}, not {}",
                vignette.id,
                vignette.difficulty,
                site.join(", ")
            );
        }
        if let side @ ("left" | "right") = vignette.expected_side.as_str() {
            let found = site.side.map_or(NONE.to_owned(), |side| side.to_string());
            sides.push((side.to_owned(), found));
        }
        regions.push((expected, found));
    }
    (Pairs(regions), Pairs(sides))
}

#[test]
fn every_vignette_is_whole_and_cites_its_rule() {
    let vignettes = vignettes();
    assert!(vignettes.len() >= 40);
    let ids: BTreeSet<&str> = vignettes.iter().map(|vignette| vignette.id.as_str()).collect();
    assert_eq!(ids.len(), vignettes.len(), "an id stands twice");
    for vignette in &vignettes {
        let id = &vignette.id;
        for text in [&vignette.text, &vignette.rule, &vignette.source] {
            assert!(text.len() > 10, "{id}");
        }
        assert!(matches!(vignette.difficulty.as_str(), "typical" | "hard"), "{id}");
        assert!(vignette.language.as_deref().is_none_or(|language| language == "ko"), "{id}");
        let sides = ["left", "right", "midline", "unknown"];
        assert!(sides.contains(&vignette.expected_side.as_str()), "{id}");
        for finding in &vignette.findings {
            assert!(FINDING_IDS.contains(&finding.id.as_str()), "{id}: {}", finding.id);
        }
    }
    let held_out = vignettes.iter().filter(|vignette| vignette.held_out).count();
    assert!((ids.len() / 5..=ids.len() / 2).contains(&held_out), "{held_out} held out");
}

#[test]
fn symptoms_alone_name_region_and_side() {
    let vignettes = vignettes();
    for held_out in [false, true] {
        let chosen: Vec<&Vignette> =
            vignettes.iter().filter(|vignette| vignette.held_out == held_out).collect();
        let name = if held_out { "held out" } else { "looked at" };
        println!("{name}:");
        let (regions, sides) = answers(&chosen);
        println!(
            "{name}: {} vignettes, region accuracy {:.3}, macro F1 {:.3}; {} with a side, side accuracy \
             {:.3}, macro F1 {:.3}",
            regions.0.len(),
            regions.accuracy(),
            regions.macro_f1(),
            sides.0.len(),
            sides.accuracy(),
            sides.macro_f1(),
        );
        assert!(regions.accuracy() >= REGION_ACCURACY_MIN);
        assert!(sides.accuracy() >= SIDE_ACCURACY_MIN);
    }
}
