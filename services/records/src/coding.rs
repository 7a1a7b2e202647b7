//! Turns symptoms as people write them, in English or Korean, into coded findings.
//!
//! Pure: a lexicon and a text in, findings out. What is not understood is listed, never dropped.
//!
//! The text is cut into sentences and clauses; in each clause the longest phrases and patterns of
//! the lexicon win; then sides, denials and what is left over are worked out. This is matching of
//! words, not understanding: whoever uses the findings sees the words they were read from.

mod english;
mod korean;
mod leftover;
mod matches;
mod negation;
mod token;
pub(crate) mod words;

use std::fmt;

use neurotriage_domain::Side;
use serde::{Deserialize, Serialize};

use crate::lexicon::Lexicon;

/// Longest text that is coded, in characters.
pub const CODED_CHARS_MAX: usize = 20_000;

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
    /// The words it was read from.
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
    /// Findings in the order of the text; the same finding on the same side is listed once.
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
pub fn code(lexicon: &Lexicon, text: &str) -> Coded {
    let text = token::Text::read(text, lexicon);
    let mut found = Vec::new();
    for (clause, tokens) in text.clauses() {
        if words::says_others(tokens, lexicon) {
            continue;
        }
        let mut candidates = english::candidates(tokens, lexicon);
        candidates.extend(korean::candidates(tokens, lexicon));
        found.extend(matches::choose(clause, candidates));
    }
    found.sort_by_key(|found: &matches::Match| (found.span.start, found.span.end));
    english::attach_sides(&text, &mut found, lexicon);
    korean::attach_sides(&text, &mut found, lexicon);
    negation::attach(&text, &mut found, lexicon);
    let not_understood = leftover::pieces(&text, &found, lexicon);

    let mut findings: Vec<Finding> = Vec::new();
    for found in &found {
        let Some(entry) = lexicon.entries().get(found.entry) else { continue };
        let same = |other: &Finding| {
            other.finding_id == entry.finding_id
                && other.side == found.side
                && other.present == found.present
        };
        if findings.iter().any(same) {
            continue;
        }
        findings.push(Finding {
            finding_id: entry.finding_id.clone(),
            code: entry.code.clone(),
            display_name: entry.display_name.clone(),
            side: found.side,
            present: found.present,
            matched_text: text.slice(found.span.clone()).to_owned(),
        });
    }
    Coded { findings, not_understood }
}
