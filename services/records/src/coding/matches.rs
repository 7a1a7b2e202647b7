//! Candidates for a finding in a clause, and the choice among those that want the same words.

use std::{cmp::Reverse, ops::Range};

use neurotriage_domain::Side;

use super::{Course, Onset, Severity};
use crate::lexicon::Says;

/// What a part of the body counts for among shared words, in letters: all the same, so that the
/// nearest wins.
pub(super) const PLACE_WEIGHT: usize = 4;

/// Words that a pattern of the lexicon fits.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// Index into the lexicon's entries.
    pub(super) entry: usize,
    /// Words that no other finding may use.
    pub(super) own: Vec<Range<usize>>,
    /// Words that another finding may use too.
    pub(super) shared: Vec<Range<usize>>,
    /// How many words of side its pattern asks for.
    pub(super) sides: usize,
    /// What its shared words count for beside its own, in letters.
    pub(super) weight: usize,
    /// How far those words stand from the first, in words.
    pub(super) distance: usize,
    /// What its words say of the finding.
    pub(super) says: Says,
}

/// A candidate that won its words.
#[derive(Clone, Debug)]
pub(super) struct Match {
    pub(super) entry: usize,
    pub(super) own: Vec<Range<usize>>,
    pub(super) shared: Vec<Range<usize>>,
    /// From the first word to the last; sides that are read with it make it longer.
    pub(super) span: Range<usize>,
    /// Clause in which it stands.
    pub(super) clause: Range<usize>,
    pub(super) side: Option<Side>,
    pub(super) present: bool,
    /// What its own words say of it; a denial may say something else.
    pub(super) says: Says,
    /// It is not clear whether it is there: it is given up.
    pub(super) unsure: bool,
    pub(super) onset: Option<Onset>,
    pub(super) course: Option<Course>,
    pub(super) severity: Option<Severity>,
}

impl Match {
    /// Returns true if the match rests on a word that overlaps `span`.
    pub(super) fn covers(&self, span: &Range<usize>) -> bool {
        self.own.iter().chain(&self.shared).any(|word| overlap(word, span))
    }

    /// Makes the span reach over `word`.
    pub(super) fn reach(&mut self, word: &Range<usize>) {
        self.span.start = self.span.start.min(word.start);
        self.span.end = self.span.end.max(word.end);
    }
}

pub(super) fn overlap(one: &Range<usize>, other: &Range<usize>) -> bool {
    one.start < other.end && other.start < one.end
}

fn bytes(words: &[Range<usize>]) -> usize {
    words.iter().map(ExactSizeIterator::len).sum()
}

fn span(candidate: &Candidate) -> Range<usize> {
    let words = || candidate.own.iter().chain(&candidate.shared);
    let start = words().map(|word| word.start).min().unwrap_or_default();
    start..words().map(|word| word.end).max().unwrap_or_default()
}

/// Returns the candidates that win their words: the longest first, own words counting double; then
/// those whose shared words stand nearest ("left facial droop with right arm weakness": the arm is
/// weak); then those that ask for a side, share more words, or stand closest together.
pub(super) fn choose(clause: Range<usize>, mut candidates: Vec<Candidate>) -> Vec<Match> {
    candidates.sort_by_key(|candidate| {
        let span = span(candidate);
        (
            Reverse(2 * bytes(&candidate.own) + candidate.weight),
            candidate.distance,
            Reverse(candidate.sides),
            Reverse(bytes(&candidate.shared)),
            span.len(),
            span.start,
        )
    });
    let mut taken = vec![false; clause.len()];
    let mut won = Vec::new();
    for candidate in candidates {
        let places = || candidate.own.iter().cloned().flatten().map(|byte| byte - clause.start);
        if places().any(|place| taken.get(place).copied().unwrap_or(true)) {
            continue;
        }
        for place in places() {
            if let Some(taken) = taken.get_mut(place) {
                *taken = true;
            }
        }
        let span = span(&candidate);
        let Candidate { entry, own, shared, says, .. } = candidate;
        won.push(Match {
            entry,
            own,
            shared,
            span,
            clause: clause.clone(),
            side: None,
            present: says != Says::Absent,
            says,
            unsure: false,
            onset: None,
            course: None,
            severity: None,
        });
    }
    won
}
