//! What was not understood: words that no finding rests on, that say nothing of one, and that are
//! not known to be idle.

use std::ops::Range;

use super::{
    english::{is_conjunction, is_transparent},
    matches::{Match, overlap},
    token::{Script, Text, Token},
};
use crate::lexicon::Lexicon;

/// Returns the pieces of the text that were not understood, in its order.
///
/// `unsure` are findings that were given up, because it is not clear whether they are there.
/// In a clause without findings the whole clause is a piece; beside findings, each run of words
/// that they leave over is one.
pub(super) fn pieces(
    text: &Text,
    found: &[Match],
    said: &[Range<usize>],
    unsure: &[Range<usize>],
    lexicon: &Lexicon,
) -> Vec<String> {
    let mut pieces = Vec::new();
    for (clause, tokens) in text.clauses() {
        let inside = found.iter().any(|one| overlap(&one.span, &clause));
        let unknown = |token: &Token| {
            unsure.iter().any(|span| overlap(span, &token.span))
                || (is_unknown(token, found, said, lexicon)
                    && !(inside && is_place(token, lexicon)))
        };
        if tokens.iter().any(|token| token.aside) || (!inside && tokens.iter().any(unknown)) {
            pieces.push(text.slice(clause).to_owned());
            continue;
        }
        if !inside {
            let lone_side = tokens.iter().any(|token| {
                token.side.is_some()
                    && !found.iter().any(|one| one.span.contains(&token.span.start))
            });
            if lone_side {
                pieces.push(text.slice(clause).to_owned());
            }
            continue;
        }
        let runs = tokens.split(|token| found.iter().any(|one| one.covers(&token.span)));
        for run in runs.filter(|run| run.iter().any(unknown)) {
            // A place beside something unknown belongs to it: "leg pain".
            let shown = |token: &&Token| unknown(token) || is_place(token, lexicon);
            let first = run.iter().find(shown);
            let last = run.iter().rfind(shown);
            if let (Some(first), Some(last)) = (first, last) {
                pieces.push(text.slice(first.span.start..last.span.end).to_owned());
            }
        }
    }
    pieces
}

pub(super) fn is_place(token: &Token, lexicon: &Lexicon) -> bool {
    match token.script {
        Script::Latin => lexicon.english_words.places.contains(&token.word),
        Script::Hangul => {
            lexicon.korean_words.parts.iter().any(|part| token.word.starts_with(part.as_str()))
        }
    }
}

/// Returns true if nothing rests on the word and it is not known to be idle.
pub(super) fn is_unknown(
    token: &Token,
    found: &[Match],
    said: &[Range<usize>],
    lexicon: &Lexicon,
) -> bool {
    let says = || said.iter().any(|word| overlap(word, &token.span));
    if token.neutral
        || token.mark.is_some()
        || found.iter().any(|one| one.covers(&token.span))
        || says()
    {
        return false;
    }
    match token.script {
        Script::Latin => {
            let words = &lexicon.english_words;
            !is_transparent(token, words)
                && !is_conjunction(token)
                && !words.deny.contains_key(&token.word)
                && !words.deny_after.contains(&token.word)
                && !words.answers.contains_key(&token.word)
                && !words.deny_end.contains(&token.word)
                && !words.restart.contains(&token.word)
        }
        Script::Hangul => {
            let words = &lexicon.korean_words;
            let begins = |stems: &[String]| stems.iter().any(|stem| token.word.starts_with(stem));
            let person = !token.aside
                && (words.aside.is_kin(&token.word) || words.aside.patient.contains(&token.word));
            !token.particle
                && !person
                && token.side.is_none()
                && !words.deny_before.contains(&token.word)
                && !is_filler(&token.word, &words.filler)
                && !begins(&words.deny)
                && !begins(&words.persist)
                && !begins(&words.assert)
                && !words.except.contains(&token.word)
                && !words.answers.contains_key(&token.word)
        }
    }
}

/// A stem of one letter would begin too many words: it stands only for itself.
pub(super) fn is_filler(word: &str, stems: &[String]) -> bool {
    stems.iter().any(|stem| {
        word == stem || (stem.chars().nth(1).is_some() && word.starts_with(stem.as_str()))
    })
}
