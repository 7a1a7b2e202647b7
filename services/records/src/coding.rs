//! Turns symptoms as people write them, in English or Korean, into coded findings.
//!
//! Pure: a lexicon and a text in, findings out. What is not understood is listed, never dropped.
//!
//! The text is cut into sentences and clauses; what is about somebody else, about once or about what
//! may come is set aside; in each clause the longest phrases and patterns of the lexicon win; then
//! sides, denials, what is said of the findings (onset, course, severity) and what is left over are
//! worked out. A wrong finding, denial or side is worse than none: what could be read in two ways
//! is listed as not understood. This is matching of words, not understanding: whoever uses the
//! findings sees the words they were read from.

mod aside;
mod attributes;
mod english;
mod intact;
mod korean;
mod leftover;
mod marks;
mod matches;
mod negation;
mod token;
pub(crate) mod words;

use std::{collections::HashMap, fmt};

use neurotriage_domain::Side;
use serde::{Deserialize, Serialize};

use crate::lexicon::Lexicon;

/// Longest text that is coded, in characters.
pub const CODED_CHARS_MAX: usize = 20_000;

/// How fast a finding came on, as written.
///
/// Only words of manner ("suddenly", "gradually") and stated spans of development say so: "over
/// weeks", "within two hours", "developed over the past six months". How long ago it began ("for
/// three weeks", "since May", "over the past six months" alone, and "over three weeks", which may
/// mean for longer) says nothing of how fast it came, and a manner or span of a change ("suddenly
/// got worse") is of the change: there a finding has no onset. In a finding that comes in attacks
/// it is that of the attacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Onset {
    /// Within minutes.
    Sudden,
    /// Within hours or days.
    Acute,
    /// Within weeks.
    Subacute,
    /// Over months or longer.
    Gradual,
}

/// How a finding has gone on since it began, as written.
///
/// When it is worse or better ("in the morning", "with coughing") is no course. A finding that has
/// gone is still one that was there: it is present, and resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Course {
    /// It gets worse.
    Worsening,
    /// It stays as it is.
    Stable,
    /// It gets better.
    Improving,
    /// It comes and goes.
    Fluctuating,
    /// It has gone.
    Resolved,
}

/// How bad a finding is, as written; never inferred from what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Slight.
    Mild,
    /// Between mild and severe.
    Moderate,
    /// Bad.
    Severe,
}

/// Where a finding comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Whoever sent the report coded it.
    Caller,
    /// It was read from the text.
    #[default]
    Text,
}

/// Who wrote a text: whom a relative in it may mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Writer {
    /// The patient, a clinician, or not said: "my mother has seizures" is about somebody else.
    #[default]
    Other,
    /// A relative or carer: their mother is the patient, the mother of hers somebody else.
    Relative,
}

/// One coded finding.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable key, such as `hemiparesis`.
    pub finding_id: String,
    /// HPO code, or a local code that begins with `NT:`.
    pub code: String,
    /// Plain English name.
    pub display_name: String,
    /// Side of the body it is on, as written; the midline stands for both sides.
    pub side: Option<Side>,
    /// False if the text denies it.
    pub present: bool,
    /// How fast it came on, if the text says so.
    #[serde(default)]
    pub onset: Option<Onset>,
    /// How it has gone on, if the text says so.
    #[serde(default)]
    pub course: Option<Course>,
    /// How bad it is, if the text says so.
    #[serde(default)]
    pub severity: Option<Severity>,
    /// Where it comes from.
    #[serde(default)]
    pub origin: Origin,
    /// The words it was read from, without those of onset, course and severity, which may stand in
    /// another clause.
    pub matched_text: String,
}

// The matched text is the patient's own: it stays out of logs.
impl fmt::Debug for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finding").field("finding_id", &self.finding_id).finish_non_exhaustive()
    }
}

/// What was understood of a text.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Coded {
    /// Findings in the order of the text; the same finding on the same side is listed once, with
    /// the first onset, course and severity that the text says of it.
    pub findings: Vec<Finding>,
    /// Pieces of the text that were not understood, in its order.
    pub not_understood: Vec<String>,
}

impl fmt::Debug for Coded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coded").field("findings", &self.findings).finish_non_exhaustive()
    }
}

/// Returns the findings in `text`, and the pieces of it that were not understood.
///
/// Only the first [`CODED_CHARS_MAX`] characters are read; callers refuse longer texts.
pub fn code(lexicon: &Lexicon, text: &str, writer: Writer) -> Coded {
    let text = token::Text::read(text, lexicon, writer);
    let mut found = Vec::new();
    for (clause, tokens) in text.clauses() {
        if tokens.first().is_some_and(|token| token.aside) {
            continue;
        }
        let mut candidates = english::candidates(tokens, lexicon);
        candidates.extend(intact::candidates(tokens, lexicon));
        candidates.extend(korean::candidates(tokens, lexicon));
        found.extend(matches::choose(clause, candidates));
    }
    found.sort_by_key(|found: &matches::Match| (found.span.start, found.span.end));
    english::attach_sides(&text, &mut found, lexicon);
    korean::attach_sides(&text, &mut found, lexicon);
    let unsure = negation::attach(&text, &mut found, lexicon);
    negation::drop_undenied(&text, &mut found, lexicon);
    let said = attributes::attach(&text, &mut found, lexicon);
    let not_understood = leftover::pieces(&text, &found, &said, &unsure, lexicon);

    let mut findings: Vec<Finding> = Vec::new();
    give_sides(&text, &mut found);
    give_sides_of_others(&text, &mut found, lexicon);
    for found in &found {
        let Some(entry) = lexicon.entries().get(found.entry) else { continue };
        let same = |other: &Finding| {
            other.finding_id == entry.finding_id
                && other.side == found.side
                && other.present == found.present
        };
        if let Some(first) = findings.iter_mut().find(|other| same(other)) {
            first.onset = first.onset.or(found.onset);
            first.course = first.course.or(found.course);
            first.severity = first.severity.or(found.severity);
            continue;
        }
        findings.push(Finding {
            finding_id: entry.finding_id.clone(),
            code: entry.code.clone(),
            display_name: entry.display_name.clone(),
            side: found.side,
            present: found.present,
            onset: found.onset,
            course: found.course,
            severity: found.severity,
            origin: Origin::Text,
            matched_text: text.slice(found.span.clone()).to_owned(),
        });
    }
    Coded { findings, not_understood }
}

/// "왼쪽 귀에서 소리가 나고 잘 안 들려요": a finding that names no side has that of the one before it in its sentence, if the
/// lexicon says that they are of one place.
fn give_sides_of_others(text: &token::Text, found: &mut [matches::Match], lexicon: &Lexicon) {
    let sentences = text.sentences();
    let sentence =
        |one: &matches::Match| sentences.partition_point(|start| *start <= one.span.start);
    for at in 1..found.len() {
        let (before, rest) = found.split_at_mut(at);
        let (Some(last), Some(one)) = (before.last(), rest.first_mut()) else { continue };
        let key = |entry: usize| lexicon.entries().get(entry);
        let (Some(entry), Some(other)) = (key(one.entry), key(last.entry)) else { continue };
        let both = last.present && one.present && sentence(last) == sentence(one);
        if both && one.side.is_none() && entry.sided_with.contains(&other.finding_id) {
            one.side = last.side;
        }
    }
}

/// "Facial palsy, on the left", "동명반맹, 왼쪽이 안 보임": a finding that names no side and no part of the body
/// is the one of its sentence that names a side, if there is one.
fn give_sides(text: &token::Text, found: &mut [matches::Match]) {
    let sentences = text.sentences();
    let key = |one: &matches::Match| {
        let sentence = sentences.partition_point(|start| *start <= one.span.start);
        (sentence, one.entry, one.present)
    };
    let mut sides = HashMap::new();
    for one in found.iter() {
        let Some(side) = one.side else { continue };
        let only = sides.entry(key(one)).or_insert(Some(side));
        *only = only.filter(|only| *only == side);
    }
    for one in found.iter_mut().filter(|one| one.side.is_none() && one.shared.is_empty()) {
        one.side = sides.get(&key(one)).copied().flatten();
    }
}
