//! How well whole texts are read: texts like those of patients, relatives and clinicians, written by people who had not
//! seen the lexicon, with the findings that they meant.
//!
//! The words of the lexicon have since been made with most of them in view. The `unseen` ones have not: what the coder
//! does with them is what it does with texts that nobody has tuned it to, as long as nobody does.
//!
//! Each row is who wrote (`relative` or `other`), the text, its findings as [`shown`] shows them or `-`, and what the text
//! says of them, such as `onset=sudden;course=worsening`, or `-`.

use std::collections::BTreeSet;

use neurotriage_records::{
    coding::{Finding, Writer, code},
    lexicon::Lexicon,
};

use super::shown;

/// Texts of one language, and the least that is to be made of them.
struct Texts {
    name: &'static str,
    rows: &'static str,
    /// Share of texts that are read as they were meant, to the last side and course.
    texts_min: f64,
    /// Share of the findings that are read of which there are.
    precision_min: f64,
    /// Share of the findings that there are of which are read.
    recall_min: f64,
}

const ALL: [Texts; 4] = [
    Texts {
        name: "English",
        rows: include_str!("written/english.tsv"),
        texts_min: 0.86,
        precision_min: 0.94,
        recall_min: 0.93,
    },
    Texts {
        name: "Korean",
        rows: include_str!("written/korean.tsv"),
        texts_min: 0.82,
        precision_min: 0.91,
        recall_min: 0.94,
    },
    Texts {
        name: "English, unseen",
        rows: include_str!("written/english_unseen.tsv"),
        texts_min: 0.82,
        precision_min: 0.94,
        recall_min: 0.92,
    },
    Texts {
        name: "Korean, unseen",
        rows: include_str!("written/korean_unseen.tsv"),
        texts_min: 0.72,
        precision_min: 0.89,
        recall_min: 0.87,
    },
];

#[derive(Debug, Default)]
struct Score {
    texts: usize,
    right_texts: usize,
    right: usize,
    wrong: usize,
    missed: usize,
}

/// Returns what a finding has of `onset=sudden`.
fn says(finding: &Finding, attribute: &str) -> bool {
    let word = |value: Option<String>| value.unwrap_or_default().to_lowercase();
    match attribute.split_once('=') {
        Some(("onset", value)) => word(finding.onset.map(|one| format!("{one:?}"))) == value,
        Some(("course", value)) => word(finding.course.map(|one| format!("{one:?}"))) == value,
        Some(("severity", value)) => word(finding.severity.map(|one| format!("{one:?}"))) == value,
        _ => panic!("no attribute: {attribute}"),
    }
}

fn score(rows: &str) -> Score {
    let Ok(lexicon) = Lexicon::built_in() else { panic!("the built-in lexicon is sound") };
    let mut score = Score::default();
    for row in rows.lines() {
        let columns: Vec<&str> = row.split('\t').collect();
        let &[writer, text, findings, attributes] = columns.as_slice() else {
            panic!("four columns: {row}")
        };
        let writer = match writer {
            "relative" => Writer::Relative,
            "other" => Writer::Other,
            _ => panic!("no writer: {row}"),
        };
        let coded = code(&lexicon, text, writer);
        let read = shown(&coded);
        let words = |text: &str| -> BTreeSet<String> {
            text.split_whitespace().filter(|word| *word != "-").map(ToOwned::to_owned).collect()
        };
        let (meant, read) = (words(findings), words(&read));
        score.texts += 1;
        score.right += read.intersection(&meant).count();
        score.wrong += read.difference(&meant).count();
        score.missed += meant.difference(&read).count();
        let said = attributes.split(';').filter(|attribute| *attribute != "-");
        let all =
            said.clone().all(|attribute| coded.findings.iter().any(|one| says(one, attribute)));
        let described =
            |one: &Finding| one.onset.is_some() || one.course.is_some() || one.severity.is_some();
        let none = said.count() > 0 || !coded.findings.iter().any(described);
        score.right_texts += usize::from(meant == read && all && none);
    }
    score
}

#[test]
#[allow(clippy::print_stdout, reason = "figures for `docs/records.md`")]
fn whole_texts_are_read_as_they_were_meant() {
    for all in ALL {
        let score = score(all.rows);
        let share = |part: usize, of: usize| part as f64 / of as f64;
        let texts = share(score.right_texts, score.texts);
        let precision = share(score.right, score.right + score.wrong);
        let recall = share(score.right, score.right + score.missed);
        let name = all.name;
        println!(
            "{name}: texts {texts:.3}, precision {precision:.3}, recall {recall:.3}; {score:?}"
        );
        assert!(score.texts >= 100, "{name}: {score:?}");
        assert!(texts >= all.texts_min, "{name}: {score:?}");
        assert!(precision >= all.precision_min, "{name}: {score:?}");
        assert!(recall >= all.recall_min, "{name}: {score:?}");
    }
}

/// Each row is a sentence as notes, letters and messages have it, and its findings or `-`: no row may be misread.
const SENTENCES: &str = include_str!("written/sentences.tsv");

#[test]
fn usual_sentences_that_were_once_misread_are_read() {
    let Ok(lexicon) = Lexicon::built_in() else { panic!("the built-in lexicon is sound") };
    let mut wrong = Vec::new();
    for row in SENTENCES.lines() {
        let Some((text, findings)) = row.split_once('\t') else { panic!("two columns: {row}") };
        let words = |text: &str| -> BTreeSet<String> {
            text.split_whitespace().filter(|word| *word != "-").map(ToOwned::to_owned).collect()
        };
        let read = shown(&code(&lexicon, text, Writer::Other));
        if words(&read) != words(findings) {
            wrong.push(format!("{text}: {read} for {findings}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(SENTENCES.lines().count() > 200);
}
