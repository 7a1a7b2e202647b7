//! English that says that a finding is not there: functions that are intact ("memory is fine", "normal hearing"), and
//! words that say so by themselves ("pupils equal").
//!
//! A wrong denial is worse than none: the clause must say it in so many words, of nothing else ("blood pressure reading
//! normal"), of now ("was normal until …") and without conditions.

use std::ops::Range;

use super::{
    english::{fit_phrase, is_conjunction, is_transparent},
    leftover::is_place,
    matches::Candidate,
    token::{Script, Token},
};
use crate::lexicon::{Lexicon, Pattern};

/// Farthest that the word stands from the function, in words.
const REACH_MAX: usize = 8;

/// Returns what the clause says not to be there by such words.
pub(super) fn candidates(tokens: &[Token], lexicon: &Lexicon) -> Vec<Candidate> {
    if is_open(tokens, lexicon) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate().filter(|(_, token)| !token.neutral) {
        let functions = lexicon.english.functions.get(&token.word).into_iter().flatten();
        found.extend(functions.filter_map(|function| fit(tokens, at, function, lexicon)));
        let phrases = lexicon.english.absent.get(&token.word).into_iter().flatten();
        let phrases = phrases.filter_map(|phrase| fit_phrase(tokens, at, phrase, lexicon));
        found.extend(phrases.filter(|candidate| {
            let subject = |word: &str| lexicon.english_words.intact.subject.contains(word);
            may_follow(&tokens[end(tokens, candidate)..], lexicon)
                && is_led(&tokens[..at], &subject, lexicon)
        }));
    }
    found
}

/// Returns true if the clause speaks of what was, may be, or is so in part.
pub(super) fn is_open(tokens: &[Token], lexicon: &Lexicon) -> bool {
    tokens.iter().any(|token| lexicon.english_words.intact.unless.contains(&token.word))
}

/// Returns the index behind the last word of a candidate.
fn end(tokens: &[Token], candidate: &Candidate) -> usize {
    let last = candidate.own.last().map_or(0, |last| last.end);
    tokens.partition_point(|token| token.span.end <= last)
}

fn fit(tokens: &[Token], at: usize, function: &Pattern, lexicon: &Lexicon) -> Option<Candidate> {
    let mut candidate = fit_phrase(tokens, at, function, lexicon)?;
    let next = end(tokens, &candidate);
    // Shared: "memory and attention are normal"; and "loss of normal sensation" has more words of its own.
    candidate.shared =
        said_before(tokens, at, next, lexicon).or_else(|| said_after(tokens, at, next, lexicon))?;
    Some(candidate)
}

/// "Memory is fine", "sensation to light touch was intact", "vision and hearing are normal".
fn said_after(
    tokens: &[Token],
    at: usize,
    next: usize,
    lexicon: &Lexicon,
) -> Option<Vec<Range<usize>>> {
    let words = &lexicon.english_words.intact;
    let row = tokens.get(next..)?.iter().enumerate().take(REACH_MAX);
    let between = |(index, token): &(usize, &Token)| {
        // "Reduced power and normal sensation": the word is of what stands behind the "and".
        let follows =
            || tokens.get(next + index + 1).is_some_and(|next| is_function(next, lexicon));
        !token.neutral
            && if is_conjunction(token) { follows() } else { lies_between(token, lexicon) }
    };
    let (index, said) = row.clone().find(|step| !between(step))?;
    let here = words.after.contains(&said.word) && may_follow(&tokens[next + index + 1..], lexicon);
    // "His walking was normal, then …": how it once was.
    let past = row.clone().take(index).any(|(_, token)| words.past.contains(&token.word));
    let owned = tokens[..at].iter().any(|token| words.owners.contains(&token.word));
    if !here || (past && owned) || !is_led(&tokens[..at], &|_| false, lexicon) {
        return None;
    }
    let said = row.take(index + 1).filter(|(_, token)| {
        words.after.contains(&token.word) || words.between.contains(&token.word)
    });
    Some(said.map(|(_, token)| token.span.clone()).collect())
}

/// "Normal hearing", "with intact memory and attention"; not "loss of normal sensation".
fn said_before(
    tokens: &[Token],
    at: usize,
    next: usize,
    lexicon: &Lexicon,
) -> Option<Vec<Range<usize>>> {
    let words = &lexicon.english_words;
    let joins = |token: &Token| {
        token.side.is_some() || is_conjunction(token) || is_function(token, lexicon)
    };
    let row = tokens[..at].iter().enumerate().rev().take(REACH_MAX);
    let (place, said) = row.clone().find(|(_, token)| token.neutral || !joins(token))?;
    let here = !said.neutral && words.intact.before.contains(&said.word);
    // "She does not have normal hearing" is denied in turn.
    let begins = |token: &Token| words.deny.contains_key(&token.word) || is_conjunction(token);
    let led =
        tokens[..place].last().is_some_and(begins) || is_led(&tokens[..place], &|_| false, lexicon);
    let open = here && led && may_follow(tokens.get(next..)?, lexicon);
    open.then(|| vec![said.span.clone()])
}

/// Returns true if nothing stands before it that it may be of: the clause, or what follows an "and" or a verb, begins with
/// it.
fn is_led(before: &[Token], subject: &dyn Fn(&str) -> bool, lexicon: &Lexicon) -> bool {
    let words = &lexicon.english_words;
    for (at, token) in before.iter().enumerate().rev() {
        if token.neutral {
            return false;
        }
        let last = at.checked_sub(1).and_then(|last| before.get(last));
        let listed = last.is_some_and(|last| is_function(last, lexicon));
        let begins = is_conjunction(token) && !listed
            || words.restart.contains(&token.word)
            || words.deny_end.contains(&token.word)
            || (token.script == Script::Hangul && !token.particle);
        if begins {
            return true;
        }
        let idle = is_conjunction(token)
            || words.intact.lead.contains(&token.word)
            || subject(&token.word)
            || token.side.is_some()
            || token.particle
            || is_place(token, lexicon)
            || is_function(token, lexicon);
        if !idle {
            return false;
        }
    }
    true
}

/// Returns true if what follows does not make it another thing: "normal strength paracetamol", "full of".
fn may_follow(after: &[Token], lexicon: &Lexicon) -> bool {
    // "Sensation intact to light touch but reduced to pinprick".
    if after.iter().any(|token| lexicon.english_words.deny_end.contains(&token.word)) {
        return false;
    }
    after.first().is_none_or(|token| {
        let idle = is_transparent(token, &lexicon.english_words) && token.word != "of";
        !token.neutral
            && (idle
                || is_conjunction(token)
                || token.script == Script::Hangul
                || is_place(token, lexicon)
                || is_function(token, lexicon))
    })
}

fn lies_between(token: &Token, lexicon: &Lexicon) -> bool {
    let words = &lexicon.english_words;
    words.intact.between.contains(&token.word)
        || token.side.is_some()
        || token.particle
        || is_place(token, lexicon)
        || is_function(token, lexicon)
}

/// Returns true for a word that begins a function: "memory".
pub(super) fn is_function(token: &Token, lexicon: &Lexicon) -> bool {
    lexicon.english.functions.contains_key(&token.word)
}
