//! Functions that are said to be intact: "memory is fine" and "normal hearing" say that a finding is not there.

use std::ops::Range;

use super::{
    english::{fit_phrase, is_conjunction},
    leftover::is_place,
    matches::Candidate,
    token::{Script, Token},
};
use crate::lexicon::{Lexicon, Pattern};

/// Farthest that the word stands from the function, in words.
const REACH_MAX: usize = 8;

/// Returns every English function of the clause that it says to be intact.
pub(super) fn candidates(tokens: &[Token], lexicon: &Lexicon) -> Vec<Candidate> {
    let unless = &lexicon.english_words.intact.unless;
    if tokens.iter().any(|token| unless.contains(&token.word)) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let functions = lexicon.english.functions.get(&token.word).into_iter().flatten();
        found.extend(functions.filter_map(|function| fit(tokens, at, function, lexicon)));
    }
    found
}

fn fit(tokens: &[Token], at: usize, function: &Pattern, lexicon: &Lexicon) -> Option<Candidate> {
    let mut candidate = fit_phrase(tokens, at, function, lexicon)?;
    let end = candidate.own.last()?.end;
    let next = tokens.partition_point(|token| token.span.end <= end);
    // Shared: "memory and attention are normal"; and "loss of normal sensation" has more words of its own.
    candidate.shared = said_before(tokens.get(..at)?, lexicon)
        .or_else(|| said_after(tokens.get(next..)?, lexicon))?;
    Some(candidate)
}

/// "Memory is fine", "sensation to light touch was intact", "vision and hearing are normal".
fn said_after(after: &[Token], lexicon: &Lexicon) -> Option<Vec<Range<usize>>> {
    let words = &lexicon.english_words.intact;
    let row = after.get(..after.len().min(REACH_MAX))?;
    let at = row.iter().position(|token| !may_lie_between(token, lexicon))?;
    row.get(at).filter(|token| words.after.contains(&token.word))?;
    let row = row.get(..=at)?.iter();
    let said = row
        .filter(|token| words.after.contains(&token.word) || words.between.contains(&token.word));
    Some(said.map(|token| token.span.clone()).collect())
}

/// "Normal hearing", "with intact memory and attention"; not "loss of normal sensation".
fn said_before(before: &[Token], lexicon: &Lexicon) -> Option<Vec<Range<usize>>> {
    let words = &lexicon.english_words;
    let joins = |token: &Token| {
        token.side.is_some() || is_conjunction(token) || is_function(token, lexicon)
    };
    let mut row = before.iter().rev().take(REACH_MAX).skip_while(|token| joins(token));
    let said = row.next().filter(|token| words.intact.before.contains(&token.word))?;
    let open = row.next().is_none_or(|token| {
        words.transparent.contains(&token.word) && token.word != "of"
            || words.restart.contains(&token.word)
            || words.deny.contains_key(&token.word)
            || is_conjunction(token)
            || token.script == Script::Hangul
    });
    open.then(|| vec![said.span.clone()])
}

fn may_lie_between(token: &Token, lexicon: &Lexicon) -> bool {
    let words = &lexicon.english_words;
    words.intact.between.contains(&token.word)
        || token.side.is_some()
        || token.particle
        || is_conjunction(token)
        || is_place(token, lexicon)
        || is_function(token, lexicon)
}

fn is_function(token: &Token, lexicon: &Lexicon) -> bool {
    lexicon.english.functions.contains_key(&token.word)
}
