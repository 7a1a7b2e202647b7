//! The words of a text with the findings that rest on them.

use std::ops::Range;

use super::{
    super::{
        english::{is_conjunction, is_transparent},
        korean::closes_clause,
        leftover::{is_place, is_unknown},
        matches::Match,
        token::{Break, Script, Text, Token},
    },
    reading::{Said, row_at},
};
use crate::lexicon::{Lexicon, attributes::AttributeWords};

/// What a look in one direction met.
pub(super) enum Scan {
    Found(Vec<usize>),
    /// The clause, a denial or a word that begins something else.
    End,
    /// A word that is not understood.
    Blocked,
}

pub(super) struct Scene<'a> {
    pub(super) text: &'a Text,
    pub(super) tokens: &'a [Token],
    pub(super) lexicon: &'a Lexicon,
    /// Findings in the order of their first own words.
    pub(super) order: Vec<usize>,
    /// For each word, the findings that rest on it alone, and those that share it.
    own: Vec<Vec<usize>>,
    shared: Vec<Vec<usize>>,
    /// The word lies between words of a finding.
    inside: Vec<bool>,
    /// The word says something of a finding.
    said: Vec<bool>,
    /// The word says, with those that follow, that a finding came on: "developed".
    develops: Vec<bool>,
    /// First and last own word of each finding.
    ends: Vec<Option<(usize, usize)>>,
    /// Runs of words in which a finding and what is said of it stand: clauses, which Korean
    /// endings close too.
    segments: Vec<Range<usize>>,
    /// For each segment: it says how it once was.
    past: Vec<bool>,
    /// For each segment: it is about findings elsewhere.
    lone: Vec<bool>,
    sentences: Vec<Range<usize>>,
}

impl<'a> Scene<'a> {
    pub(super) fn of(text: &'a Text, found: &[Match], lexicon: &'a Lexicon) -> Self {
        let tokens = text.tokens();
        let places = |word: &Range<usize>| {
            let first = tokens.partition_point(|token| token.span.end <= word.start);
            first..tokens.partition_point(|token| token.span.start < word.end).max(first)
        };
        let mut own = vec![Vec::new(); tokens.len()];
        let mut shared = vec![Vec::new(); tokens.len()];
        let mut inside = vec![false; tokens.len()];
        let mut ends = Vec::with_capacity(found.len());
        for (index, one) in found.iter().enumerate() {
            let mut all: Option<(usize, usize)> = None;
            let mut of_own: Option<(usize, usize)> = None;
            let words = one.own.iter().map(|word| (word, true));
            for (word, is_own) in words.chain(one.shared.iter().map(|word| (word, false))) {
                for at in places(word) {
                    let list = if is_own { &mut own[at] } else { &mut shared[at] };
                    if list.last() != Some(&index) {
                        list.push(index);
                    }
                    all = Some(wider(all, at));
                    if is_own {
                        of_own = Some(wider(of_own, at));
                    }
                }
            }
            if let Some((first, last)) = all {
                inside[first..=last].fill(true);
            }
            ends.push(of_own);
        }
        let mut order: Vec<usize> = (0..found.len()).collect();
        order.sort_by_key(|&index| ends.get(index).copied().flatten());
        let cut =
            |at: usize| tokens[at].before != Break::None || closes_clause(&tokens[at - 1], lexicon);
        let mut scene = Self {
            text,
            tokens,
            lexicon,
            order,
            own,
            shared,
            inside,
            said: vec![false; tokens.len()],
            develops: Vec::new(),
            ends,
            segments: runs(tokens.len(), cut),
            past: Vec::new(),
            lone: Vec::new(),
            sentences: runs(tokens.len(), |at| tokens[at].before == Break::Sentence),
        };
        scene.develops = (0..tokens.len()).map(|at| scene.says_develop(at)).collect();
        scene.past = scene.segments.iter().map(|segment| scene.says_past(segment)).collect();
        scene
    }

    pub(super) fn note(&mut self, said: &[Said]) {
        for at in said.iter().flat_map(|one| &one.tokens) {
            self.said[*at] = true;
        }
        self.lone = self.segments.iter().map(|segment| self.says_of_others(segment)).collect();
    }

    /// Returns the words of the text that say something of a word's own language.
    pub(super) fn words_of(&self, script: Script) -> &'a AttributeWords {
        match script {
            Script::Latin => &self.lexicon.english_words.attributes,
            Script::Hangul => &self.lexicon.korean_words.attributes,
        }
    }

    fn says_develop(&self, at: usize) -> bool {
        let rows = &self.words_of(self.tokens[at].script).develop;
        rows.iter().any(|row| row_at(self, at, row).is_some())
    }

    /// Returns true if a word of the range says that a finding came on: "progressive".
    pub(super) fn develops(&self, range: Range<usize>) -> bool {
        self.develops.get(range).is_some_and(|words| words.contains(&true))
    }

    /// Returns the words around a word that may belong together; empty past the end.
    pub(super) fn segment(&self, at: usize) -> Range<usize> {
        run(&self.segments, at)
    }

    pub(super) fn sentence(&self, at: usize) -> Range<usize> {
        run(&self.sentences, at)
    }

    /// Returns the findings that rest on a word: those that own it, else those that share it.
    pub(super) fn resting_on(&self, at: usize) -> &[usize] {
        let own = self.own.get(at).map(Vec::as_slice).unwrap_or_default();
        let shared = self.shared.get(at).map(Vec::as_slice).unwrap_or_default();
        if own.is_empty() { shared } else { own }
    }

    /// Returns true if a finding rests on the word alone: the "sudden" of "sudden deterioration".
    pub(super) fn is_owned(&self, at: usize) -> bool {
        self.own.get(at).is_some_and(|own| !own.is_empty())
    }

    pub(super) fn first_word(&self, finding: usize) -> Option<usize> {
        self.ends.get(finding).copied().flatten().map(|(first, _)| first)
    }

    pub(super) fn last_word(&self, finding: usize) -> Option<usize> {
        self.ends.get(finding).copied().flatten().map(|(_, last)| last)
    }

    /// Returns true if an attribute reaches over the word.
    pub(super) fn passes(&self, at: usize) -> bool {
        let Some(token) = self.tokens.get(at) else { return false };
        self.inside[at]
            || self.said[at]
            || is_place(token, self.lexicon)
            || !is_unknown(token, &[], &[], self.lexicon)
    }

    pub(super) fn denies(&self, at: usize) -> bool {
        let Some(token) = self.tokens.get(at).filter(|token| !token.neutral) else { return false };
        match token.script {
            Script::Latin => {
                let words = &self.lexicon.english_words;
                words.deny.contains_key(&token.word) || words.deny_after.contains(&token.word)
            }
            Script::Hangul => {
                let words = &self.lexicon.korean_words;
                let begins = |stems: &[String]| {
                    stems.iter().any(|stem| token.word.starts_with(stem.as_str()))
                };
                words.deny_before.contains(&token.word)
                    || (begins(&words.deny) && !begins(&words.not_deny))
            }
        }
    }

    /// Returns true if an attribute does not reach forward over the word.
    pub(super) fn stops(&self, at: usize) -> bool {
        let Some(token) = self.tokens.get(at) else { return true };
        token.script == Script::Latin
            && (is_conjunction(token)
                || self.lexicon.english_words.attributes.stop.contains(&token.word))
    }

    pub(super) fn forward(&self, from: usize, segment: &Range<usize>) -> Scan {
        for at in from..segment.end {
            if self.said[at] {
                continue;
            }
            let targets = self.resting_on(at);
            if !targets.is_empty() {
                return Scan::Found(targets.to_vec());
            }
            if self.denies(at) || self.stops(at) {
                return Scan::End;
            }
            if !self.passes(at) {
                return Scan::Blocked;
            }
        }
        Scan::End
    }

    pub(super) fn backward(&self, from: usize, segment: &Range<usize>) -> Scan {
        for at in (segment.start..from).rev() {
            if self.said[at] {
                continue;
            }
            let targets = self.resting_on(at);
            if !targets.is_empty() {
                return Scan::Found(targets.to_vec());
            }
            if self.denies(at) {
                return Scan::End;
            }
            if !self.passes(at) {
                return Scan::Blocked;
            }
        }
        Scan::End
    }

    /// Returns true if the words are about findings elsewhere: none rests on them, and all that is
    /// not said of one has no weight.
    pub(super) fn is_lone(&self, segment: &Range<usize>) -> bool {
        self.lone.get(index_of(&self.segments, segment.start)) == Some(&true)
    }

    /// Returns true if the words say how it once was: "severe in the past".
    pub(super) fn is_past(&self, segment: &Range<usize>) -> bool {
        self.past.get(index_of(&self.segments, segment.start)) == Some(&true)
    }

    fn says_of_others(&self, segment: &Range<usize>) -> bool {
        let mut says = false;
        for at in segment.clone() {
            says |= self.said[at];
            let here = !self.resting_on(at).is_empty() || self.denies(at);
            if here || (!self.said[at] && !self.passes(at)) {
                return false;
            }
        }
        says
    }

    fn says_past(&self, segment: &Range<usize>) -> bool {
        segment.clone().any(|at| {
            let rows = &self.words_of(self.tokens[at].script).past;
            rows.iter().filter_map(|row| row_at(self, at, row)).any(|words| {
                // "In the past week" is now.
                let next = words.last().and_then(|last| self.tokens.get(last + 1));
                next.is_none_or(|next| next.before != Break::None || !self.is_span_word(next))
            })
        })
    }

    fn is_span_word(&self, token: &Token) -> bool {
        let words = &self.lexicon.english_words.attributes;
        words.span_vague.contains(&token.word)
            || words.numbers.contains_key(&token.word)
            || token.word.starts_with(|c: char| c.is_ascii_digit())
            || words.units.iter().any(|unit| unit.words.contains(&token.word))
    }

    /// Returns true if a time stands with the finding: "vomiting for a month".
    pub(super) fn has_time(&self, finding: usize) -> bool {
        let Some(last) = self.last_word(finding) else { return false };
        let segment = self.segment(last);
        let times = &self.lexicon.english_words.attributes.times;
        (last + 1..segment.end)
            .take_while(|&at| self.resting_on(at).is_empty() || self.inside[at])
            .any(|at| times.contains(&self.tokens[at].word))
    }

    /// Returns true if the word says nothing and no finding rests on it.
    pub(super) fn is_idle(&self, at: usize) -> bool {
        let Some(token) = self.tokens.get(at) else { return false };
        self.resting_on(at).is_empty()
            && match token.script {
                Script::Latin => is_transparent(token, &self.lexicon.english_words),
                Script::Hangul => !is_unknown(token, &[], &[], self.lexicon),
            }
    }
}

fn wider(ends: Option<(usize, usize)>, at: usize) -> (usize, usize) {
    ends.map_or((at, at), |(first, last)| (first.min(at), last.max(at)))
}

fn runs(length: usize, cut: impl Fn(usize) -> bool) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let mut start = 0;
    for at in 1..=length {
        if at == length || cut(at) {
            runs.push(start..at);
            start = at;
        }
    }
    runs
}

fn index_of(runs: &[Range<usize>], at: usize) -> usize {
    runs.partition_point(|run| run.end <= at)
}

fn run(runs: &[Range<usize>], at: usize) -> Range<usize> {
    runs.get(index_of(runs, at)).cloned().unwrap_or(at..at)
}
