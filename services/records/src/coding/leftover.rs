//! What was not understood: words that no finding rests on and that are not known to be idle.

use super::{
    english::{is_conjunction, is_transparent},
    matches::Match,
    token::{Script, Text, Token},
    words::says_others,
};
use crate::lexicon::Lexicon;

/// Returns the pieces of the text that were not understood, in its order.
///
/// In a clause without findings the whole clause is a piece; beside findings, each run of words
/// that they leave over is one.
pub(super) fn pieces(text: &Text, found: &[Match], lexicon: &Lexicon) -> Vec<String> {
    let mut pieces = Vec::new();
    for (clause, tokens) in text.clauses() {
        let inside = found.iter().any(|one| super::matches::overlap(&one.span, &clause));
        let unknown = |token: &Token| is_unknown(token, found, lexicon);
        if says_others(tokens, lexicon) || (!inside && tokens.iter().any(unknown)) {
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
        for run in runs {
            let first = run.iter().find(|token| unknown(token));
            let last = run.iter().rfind(|token| unknown(token));
            if let (Some(first), Some(last)) = (first, last) {
                pieces.push(text.slice(first.span.start..last.span.end).to_owned());
            }
        }
    }
    pieces
}

fn is_unknown(token: &Token, found: &[Match], lexicon: &Lexicon) -> bool {
    if token.neutral || found.iter().any(|one| one.covers(&token.span)) {
        return false;
    }
    match token.script {
        Script::Latin => {
            let words = &lexicon.english_words;
            !is_transparent(token, words)
                && !is_conjunction(token)
                && !words.deny.contains_key(&token.word)
                && !words.deny_after.contains(&token.word)
                && !words.deny_end.contains(&token.word)
                && !words.restart.contains(&token.word)
                && token.word != "(-)"
        }
        Script::Hangul => {
            let words = &lexicon.korean_words;
            let begins = |stems: &[String]| stems.iter().any(|stem| token.word.starts_with(stem));
            token.side.is_none()
                && !words.deny_before.contains(&token.word)
                && !begins(&words.filler)
                && !begins(&words.deny)
                && !begins(&words.assert)
        }
    }
}
