use std::collections::BTreeSet;

use neurotriage_domain::{Modality, RegionName, Side, Structure};
use neurotriage_network::Doubt;
use neurotriage_referral::{
    crosscheck::{ImageEvidence, ImageOutcome, LesionRegion, LesionSite, ReportedFinding, compare},
    evidence::{EvidenceTable, Handedness, Urgency},
    hospital::{self, Capability, Coordinates},
    ranking::{NearbyArea, Need, NeedLesion, RankingRules, rank},
};

use super::{
    super::{
        Factor, Fit, Outcome, Referral, Requirement, TumourHint, Verdict, from_proto, html,
        tests::answers,
    },
    Language, findings,
    phrasebook::{Known, look_up},
};

const EVIDENCE: &str = include_str!("../../../../../assets/evidence/evidence.toml");
const LEXICON: &str = include_str!("../../../../../assets/lexicon/symptoms.toml");

fn is_hangul(c: char) -> bool {
    ('\u{AC00}'..='\u{D7A3}').contains(&c)
}

/// Returns the values of `key` in a TOML file with one key a line.
fn values<'a>(toml: &'a str, key: &str) -> Vec<&'a str> {
    let begin = format!("{key} = \"");
    toml.lines().filter_map(|line| line.strip_prefix(&begin)?.strip_suffix('"')).collect()
}

#[test]
fn every_finding_of_table_and_lexicon_has_a_name_in_both_languages() {
    let known: BTreeSet<&str> = findings::FINDINGS.iter().map(|(id, _, _)| *id).collect();
    for (source, toml) in [("evidence table", EVIDENCE), ("lexicon", LEXICON)] {
        let ids: BTreeSet<&str> = values(toml, "id").into_iter().collect();
        assert!(ids.len() > 80, "{source} is not read: {} ids", ids.len());
        assert_eq!(ids, known, "{source}");
    }
    let lexicon: Vec<(&str, &str)> =
        values(LEXICON, "id").into_iter().zip(values(LEXICON, "name")).collect();
    for (id, english, korean) in findings::FINDINGS {
        assert!(lexicon.contains(&(*id, *english)), "{id}: the lexicon does not say {english}");
        assert!(korean.chars().any(is_hangul), "{id}: {korean}");
    }
    let names: BTreeSet<&str> = findings::FINDINGS.iter().map(|(_, _, korean)| *korean).collect();
    assert_eq!(names.len(), findings::FINDINGS.len(), "two findings have one name");
}

#[test]
fn every_region_has_a_name_in_both_languages() {
    for &structure in Structure::ALL {
        for side in [Side::Left, Side::Right, Side::Midline] {
            let region = RegionName { structure, side };
            let english = Language::English.wording().region(&region.to_string(), "");
            assert_eq!(english, region.display_name());
            let korean = Language::Korean.wording().region(&region.to_string(), &english);
            assert!(!korean.contains(|c: char| c.is_ascii_alphabetic()), "{english}: {korean}");
        }
        for language in Language::ALL {
            assert!(!language.wording().structure(structure).is_empty());
        }
    }
}

#[test]
fn every_sign_and_check_of_the_evidence_table_is_in_the_phrase_book() {
    let mut sentences = values(EVIDENCE, "next_check");
    let signs = EVIDENCE.split("sentence = \"").skip(1);
    sentences.extend(signs.filter_map(|rest| rest.split('"').next()));
    let site_checks = EVIDENCE.split_once("[site_checks]").unwrap().1;
    for line in site_checks.lines().skip(1).take_while(|line| line.contains(" = [")) {
        sentences.extend(line.split('"').skip(1).step_by(2));
    }
    assert!(sentences.len() > 60);
    for sentence in sentences {
        assert!(matches!(look_up(sentence), Some(Known::Korean(_))), "{sentence}");
    }
}

#[test]
fn every_doubt_of_the_network_is_in_the_phrase_book() {
    let doubts = [
        Doubt::SequenceMissing(Modality::Flair),
        Doubt::ForeignSpace,
        Doubt::CoarseVoxels { edge_mm: 5.0 },
        Doubt::BrainVolume { brain_ml: 300.0 },
        Doubt::TooMuchMarked { share: 0.5 },
        Doubt::SequencesAlike(Modality::T1, Modality::T1ce),
        Doubt::SequencesMixedUp,
        Doubt::BrainOffCentre { distance_mm: 40.0 },
        Doubt::TinyMarking { marked_ml: 0.02 },
        Doubt::UnmarkedPeak { peak: 0.8 },
        Doubt::LowConfidence { confidence: 0.4 },
        Doubt::MirrorsDisagree { spread: 0.3 },
        Doubt::Undecided { undecided_ml: 80.0 },
    ];
    for doubt in doubts {
        assert!(matches!(look_up(&doubt.to_string()), Some(Known::Korean(_))), "{doubt}");
    }
}

#[test]
fn every_sentence_of_a_comparison_is_known_or_said_from_its_fields() {
    let table = EvidenceTable::builtin().unwrap();
    let region =
        |name: &str, weight| LesionRegion { region: name.parse().unwrap(), weight, span: None };
    let lesion = |name: &str| LesionSite {
        volume_ml: 40.0,
        confidence: None,
        regions: vec![region(name, 0.8), region("insula_left", 0.2)],
    };
    let images = [
        ImageEvidence { lesions: vec![lesion("frontal_left")], ..Default::default() },
        ImageEvidence { lesions: vec![lesion("cerebellum_right")], ..Default::default() },
        ImageEvidence { outcome: ImageOutcome::NoTumourFound, ..Default::default() },
        ImageEvidence {
            outcome: ImageOutcome::NotSure { reasons: vec!["a reason".into()] },
            ..Default::default()
        },
        ImageEvidence {
            lesions: vec![lesion("frontal_left")],
            space_reason: "the space is unknown".into(),
            ..Default::default()
        },
    ];
    let finding = |id: &str, side, present| ReportedFinding {
        finding_id: id.to_owned(),
        code: String::new(),
        display_name: id.replace('_', " "),
        side,
        present,
        matched_text: String::new(),
    };
    let hands = [Handedness::Unknown, Handedness::Right, Handedness::Left, Handedness::Both];
    let mut count = 0;
    for image in &images {
        for (at, (id, _, _)) in findings::FINDINGS.iter().enumerate() {
            for side in [None, Some(Side::Left), Some(Side::Right)] {
                let found = [
                    finding(id, side, true),
                    finding("vomiting", None, true),
                    finding("headache", None, at % 2 == 0),
                ];
                let told = compare(&table, &found, hands[at % hands.len()], image);
                let beside: Vec<&str> =
                    told.findings.iter().map(|fit| fit.reason.trim_end_matches('.')).collect();
                let own = told
                    .reasons
                    .iter()
                    .filter(|reason| !beside.contains(&reason.trim_end_matches('.')));
                for sentence in own.chain(&told.urgent_signs).chain(&told.next_checks) {
                    assert!(look_up(sentence).is_some(), "{id}: {sentence}");
                    count += 1;
                }
                for fit in &told.findings {
                    if fit.fit == neurotriage_referral::crosscheck::Fit::NotLocalising {
                        assert!(look_up(&fit.reason).is_some(), "{id}: {}", fit.reason);
                    }
                }
            }
        }
    }
    assert!(count > 1000, "{count}");
}

#[test]
fn every_sentence_of_a_ranking_is_known_or_said_from_its_fields() {
    let rules = RankingRules::builtin().unwrap();
    let directory = hospital::sample().unwrap();
    let lesion = |enhancing_ml, areas: &[(&str, &str, f64)]| NeedLesion {
        volume_ml: 30.0,
        enhancing_ml,
        eloquent: Some(
            areas
                .iter()
                .map(|(area, name, distance_mm)| NearbyArea {
                    area: (*area).to_owned(),
                    display_name: (*name).to_owned(),
                    distance_mm: *distance_mm,
                })
                .collect(),
        ),
    };
    let broca = ("broca_area_left", "left Broca's area", 4.0);
    let motor = ("primary_motor_cortex_right", "right primary motor cortex", 0.0);
    let lesions =
        [vec![], vec![lesion(0.0, &[broca])], vec![lesion(9.0, &[motor]), lesion(9.0, &[])]];
    for &structure in Structure::ALL {
        for (lesions, is_child) in lesions.iter().flat_map(|some| [(some, false), (some, true)]) {
            for urgency in [Urgency::Routine, Urgency::Soon, Urgency::Emergency] {
                let need = Need {
                    site: Some(RegionName { structure, side: Side::Left }),
                    lesions: lesions.clone(),
                    language_left: 0.9,
                    urgency,
                    is_child,
                    has_seizures: true,
                    has_visual_signs: true,
                    home: Coordinates::from_degrees(37.5, 127.0).ok().filter(|_| is_child),
                };
                check_ranking(&rank(&rules, &need, &directory, 5));
            }
        }
    }
    for capability in Capability::ALL {
        let korean = Language::Korean.wording().capability(capability.as_str());
        assert!(korean.chars().any(is_hangul), "{korean}");
    }
}

fn check_ranking(ranking: &neurotriage_referral::ranking::Ranking) {
    let words = Language::Korean.wording();
    let referral = Referral {
        hospitals: Vec::new(),
        reason: String::new(),
        home: None,
        requirements: ranking
            .requirements
            .iter()
            .map(|requirement| Requirement {
                capability: requirement.capability.as_str().to_owned(),
                why: requirement.why.clone(),
                essential: requirement.essential,
            })
            .collect(),
        tumour_hints: Vec::new(),
        ranking_version: String::new(),
    };
    for requirement in &ranking.requirements {
        let Some(Known::Korean(why)) = look_up(&requirement.why) else {
            panic!("{}", requirement.why);
        };
        assert!(!why.contains(|c: char| c.is_ascii_lowercase() && c != 'm'), "{why}");
    }
    for hint in &ranking.hints {
        let told = words.tumour_hint(&TumourHint {
            kind: hint.kind.clone(),
            reason: hint.reason.clone(),
            capabilities: Vec::new(),
            source: String::new(),
        });
        assert!(told.chars().any(is_hangul), "{}", hint.reason);
    }
    let shown = super::super::tests::report().referral.hospitals.remove(0);
    for ranked in &ranking.hospitals {
        for factor in &ranked.factors {
            assert!(words.factor(&factor.name).chars().any(is_hangul), "{}", factor.name);
            let factor = Factor {
                name: factor.name.clone(),
                value: factor.value,
                weight: factor.weight,
                explanation: factor.explanation.clone(),
            };
            let told = words.factor_explanation(&factor, &shown, &referral);
            assert!(told.chars().any(is_hangul), "{}", factor.explanation);
        }
    }
}

#[test]
fn each_word_of_the_catalogues_differs_from_the_others() {
    for language in Language::ALL {
        let words = language.wording();
        let fits: BTreeSet<&str> = Fit::ALL.into_iter().map(|fit| words.fit(fit)).collect();
        assert_eq!(fits.len(), Fit::ALL.len());
        let verdicts = [
            Verdict::Concordant,
            Verdict::PartlyConcordant,
            Verdict::Discordant,
            Verdict::InsufficientEvidence,
        ];
        let names: BTreeSet<&str> = verdicts.map(|verdict| words.verdict(verdict)).into();
        assert_eq!(names.len(), verdicts.len());
        let outcomes = [Outcome::Tumour, Outcome::NoTumourFound, Outcome::NotSure];
        let names: BTreeSet<&str> = outcomes.map(|outcome| words.outcome(outcome)).into();
        assert_eq!(names.len(), outcomes.len());
    }
}

/// Returns the text of a page without its elements, styles and hidden parts.
fn text_of(page: &str) -> String {
    let body = page.split_once("<body>").unwrap().1;
    let mut text = String::new();
    let mut rest = body;
    while let Some((before, after)) = rest.split_once('<') {
        text.push_str(before);
        text.push(' ');
        rest = after.split_once('>').unwrap().1;
    }
    text
}

#[test]
fn a_korean_page_is_korean_throughout() {
    let mut answers = answers();
    answers.assessment.urgent_signs = vec!["Confusion needs attention soon.".into()];
    answers.assessment.next_checks = vec!["pure-tone audiometry".into()];
    // The services' own words, as they write them.
    answers.assessment.reasons = vec![
        "Symptoms and image agree in part: 2 of 3 localising findings point to where the lesion lies.".into(),
        "The lesion's main site is the left frontal lobe (68 % of its weight).".into(),
        "Without localising weight of their own: headache.".into(),
        "Handedness is not recorded; language is taken to lie on the left.".into(),
    ];
    for finding in &mut answers.assessment.findings {
        if finding.finding.as_ref().unwrap().finding_id == "headache" {
            finding.reason = "Headache is a general symptom and points to no region".into();
        }
    }
    let report = from_proto::report(answers);
    let page = html::render(&report, &html::Pictures::default(), Language::Korean);
    assert!(page.contains("<html lang=\"ko\">"));
    let mut text = text_of(&page);
    // What is no language, or somebody's own words.
    let own = [
        report.symptoms.text.as_str(),
        "The cat is blue",
        "First Hospital",
        "Second Hospital",
        "Seoul",
        "NeuroTriage",
        "case-0001",
        "default-2026-11",
        "sri24-lobes-1",
        "SRI24",
        "evidence-3",
        "lexicon-1",
        "ranking-4",
        "neurotriage",
        "whole 1",
        "report.json",
        "SNOMED CT",
        "STN",
        "FLAIR",
        "T1",
        "SHA-256",
        "cpu",
        "GiB",
        "MiB",
        "UTC",
        "LPS",
    ];
    let escaped: Vec<String> = own.iter().map(|own| own.replace('\'', "&#39;")).collect();
    for own in &escaped {
        text = text.replace(own.as_str(), " ");
    }
    for finding in &report.symptoms.findings {
        text = text.replace(&finding.matched_text, " ").replace(&finding.code, " ");
    }
    for file in &report.study.files {
        text = text.replace(&file.file_name, " ");
    }
    text = text
        .replace(&"0123456789abcdef".repeat(4), " ")
        .replace("&times;", " ")
        .replace("&lt;", " ")
        .replace("&gt;", " ");
    let words: Vec<&str> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.chars().filter(char::is_ascii_alphabetic).count() >= 3)
        .collect();
    assert!(words.is_empty(), "words that are not Korean: {words:?}");
    for expected in [
        "왼쪽 전두엽(61 %)",
        "일부 일치",
        "편마비",
        "표현실어증",
        "왼쪽 전두엽, 왼쪽 두정엽을 가리킵니다. 병변의 주 위치는 왼쪽 전두엽입니다.",
        "혼돈은 조속한 진료가 필요합니다.",
        "순음청력검사",
        "두 번째 병변이 있다면 이명이 설명됩니다",
        "손잡이가 기록되지 않아",
        "의사결정 지원",
        "각성 수술 중 뇌기능 지도화(왼쪽 전두엽 또는 그 근처에 언어 중추가 있을 수 있음)",
        "저등급 교종: 대뇌엽의 단일 병변이",
    ] {
        assert!(page.contains(expected), "{expected}");
    }
    assert!(!page.contains("<details"), "something was left in English");
}

#[test]
fn what_has_no_korean_words_is_kept_in_its_own_and_marked_as_english() {
    let mut answers = answers();
    answers.assessment.urgent_signs = vec!["A sign that nobody has translated.".into()];
    let report = from_proto::report(answers);
    let page = html::render(&report, &html::Pictures::default(), Language::Korean);
    let (_, details) = page.split_once("<details class=\"original\">").unwrap();
    assert!(details.contains("lang=\"en\""));
    assert!(details.contains("A sign that nobody has translated."));
}

#[test]
fn languages_are_read_by_their_tags() {
    for language in Language::ALL {
        assert_eq!(language.tag().parse(), Ok(language));
    }
    let error = "de".parse::<Language>().unwrap_err().to_string();
    assert_eq!(error, "unknown language of reports; expected en or ko");
}
