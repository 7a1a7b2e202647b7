//! Denials: "no seizures", "denies headache", "두통은 없다", "headache (-)".
//!
//! A denial of a denial affirms ("does not deny", "없지 않다"). What may be meant either way is
//! given up: it is neither a finding nor a denial, and is listed as not understood.

mod answers;
mod english;
mod korean;

use std::ops::Range;

use super::{
    korean::closes_clause,
    marks::Mark,
    matches::{Match, overlap},
    token::{Break, Script, Text, Token},
};
use crate::lexicon::{Lexicon, Says};

/// Most words of a member of a list that is not understood: "두부 외상".
const NOUNS_MAX: usize = 2;

/// Marks the findings that the text denies, and takes out those that are given up; returns where
/// those stood.
pub(super) fn attach(text: &Text, found: &mut Vec<Match>, lexicon: &Lexicon) -> Vec<Range<usize>> {
    let tokens = text.tokens();
    korean::inside(text, found, lexicon);
    english::inside(tokens, found, lexicon);
    let sentences = sentences(tokens);
    for sentence in &sentences {
        let sentence = &tokens[sentence.clone()];
        english::before(sentence, found, lexicon);
        english::after(sentence, found, lexicon);
        korean::sentence(text, sentence, found, lexicon);
        marked(text, sentence, found, lexicon);
    }
    korean::headings(text, found);
    answers::attach(text, &sentences, found, lexicon);
    let unsure = found.iter().filter(|one| one.unsure).map(|one| one.span.clone()).collect();
    found.retain(|one| !one.unsure);
    unsure
}

/// Takes out the findings whose words count only if they are denied, and are not, or not by themselves: "no new weakness".
pub(super) fn drop_undenied(text: &Text, found: &mut Vec<Match>, lexicon: &Lexicon) {
    let tokens = text.tokens();
    let kept: Vec<bool> = found
        .iter()
        .map(|one| {
            let at = tokens.partition_point(|token| token.span.end <= one.span.start);
            let denied = || match tokens.get(at).map(|token| token.script) {
                Some(Script::Hangul) => korean::is_bare(tokens, at, found, lexicon),
                Some(Script::Latin) => english::is_denied_itself(tokens, at, found, lexicon),
                None => false,
            };
            one.says != Says::AbsentIfDenied || (!one.present && denied())
        })
        .collect();
    let mut kept = kept.into_iter();
    found.retain(|_| kept.next().unwrap_or(true));
}

fn sentences(tokens: &[Token]) -> Vec<Range<usize>> {
    let mut sentences = Vec::new();
    let mut start = 0;
    for at in 1..=tokens.len() {
        if at == tokens.len() || tokens[at].before == Break::Sentence {
            sentences.push(start..at);
            start = at;
        }
    }
    if tokens.is_empty() { Vec::new() } else { sentences }
}

/// Returns true if a finding rests on the word itself: the "no" of "no sense of smell".
fn owned(token: &Token, found: &[Match]) -> bool {
    found.iter().any(|one| one.owns(&token.span))
}

/// Denies the findings that a sign follows, or affirms them: "구토(+), 두통(-)".
fn marked(text: &Text, sentence: &[Token], found: &mut [Match], lexicon: &Lexicon) {
    let mut from = 0;
    for (at, token) in sentence.iter().enumerate() {
        // "감각이 무": the word is the finding's.
        let Some(mark) = token.mark.filter(|_| !owned(token, found)) else { continue };
        let mut near = true;
        for before in (from..at).rev() {
            let next = &sentence[before + 1];
            // One sign of a list: "오심/구토(-)" is of both, "두통, 구토(-)" may be of one.
            if next.before != Break::None {
                let between = text.slice(sentence[before].span.end..next.span.start);
                near &= between.contains(['/', '·']);
                if !near && !bare_list(sentence, before, found, lexicon) {
                    break;
                }
            }
            for one in found.iter_mut().filter(|one| one.owns(&sentence[before].span)) {
                match (mark, near) {
                    (Mark::Present, _) => one.present = true,
                    (Mark::Absent, true) => one.present = false,
                    (Mark::Absent, false) | (Mark::Unclear, _) => one.unsure = true,
                }
            }
        }
        from = at + 1;
    }
}

/// "두통, 구토 없음": true if the clause that ends at a word is nothing but a finding, so that it
/// joins the list that follows.
fn bare_list(sentence: &[Token], last: usize, found: &[Match], lexicon: &Lexicon) -> bool {
    let before = &sentence[..=last];
    // "두통은 있으나 구역, 구토는 없고": it begins behind the end of a clause too.
    let begins = |at: usize| {
        before[at].before != Break::None
            || (at > 0 && closes_clause(&before[at - 1], lexicon))
            || (at > 0 && lexicon.korean_words.except.contains(&before[at - 1].word))
    };
    let start = (0..before.len()).rev().find(|&at| begins(at)).unwrap_or_default();
    let clause = &before[start..];
    let owned = |token: &Token| {
        let within = |word: &Range<usize>| {
            word.end == token.span.end
                || (word.start <= token.span.start && token.span.end <= word.end)
        };
        found.iter().any(|one| one.own.iter().any(within))
    };
    let known = clause.iter().all(|token| token.side.is_none() && owned(token));
    let noun = |token: &Token| {
        korean::is_noun(token, lexicon) && !found.iter().any(|one| one.covers(&token.span))
    };
    // "두통, 흉통, 복시 없음": a member that is not understood.
    let unknown = clause.len() <= NOUNS_MAX && clause.iter().all(noun);
    !clause.is_empty() && (known || unknown)
}

impl Match {
    /// Returns true if the match alone rests on a word that overlaps `span`.
    fn owns(&self, span: &Range<usize>) -> bool {
        self.own.iter().any(|word| overlap(word, span))
    }
}
