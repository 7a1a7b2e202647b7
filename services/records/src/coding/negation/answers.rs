//! Questions and their answers: "Headache? No. Seizure? Yes."

use std::ops::Range;

use super::super::{
    english::is_conjunction,
    matches::Match,
    token::{Break, Script, Text, Token},
};
use crate::lexicon::{Lexicon, Says};

/// Most words beside findings in a question that asserts nothing: "두통 있나요?".
const QUESTION_WORDS_MAX: usize = 1;

/// Gives the findings of a question its answer; without one, those of a bare question are given
/// up.
pub(super) fn attach(
    text: &Text,
    sentences: &[Range<usize>],
    found: &mut [Match],
    lexicon: &Lexicon,
) {
    let tokens = text.tokens();
    for (index, question) in sentences.iter().enumerate() {
        let next = sentences.get(index + 1).map(|next| &tokens[next.clone()]).unwrap_or_default();
        let question = &tokens[question.clone()];
        let end = question.last().map(|token| token.span.end).unwrap_or_default();
        let start = next.first().map_or(usize::MAX, |token| token.span.start);
        let answer = answer(next, found, lexicon);
        // "Hiccups. ? medulla" supposes what follows; it asks nothing.
        let between = text.between(end, start);
        let attached = between.trim_start_matches([')', '"', '”', '\'']);
        let korean = question.last().is_some_and(|last| last.script == Script::Hangul);
        let attached = if korean { attached.trim_start() } else { attached };
        let asks = attached.starts_with(['?', '？'])
            || (answer.is_some() && between.contains(['?', '？']));
        if !asks {
            continue;
        }
        let bare = is_bare(question, found, lexicon);
        let asked = |one: &&mut Match| question.iter().any(|token| one.owns(&token.span));
        for one in found.iter_mut().filter(asked) {
            match answer {
                Some(yes) => one.present = yes == (one.says != Says::Absent),
                // "Is my memory normal?"
                None => one.unsure |= bare || one.says == Says::Absent,
            }
        }
    }
}

/// Returns whether the sentence begins with "yes" or "no", and nothing else up to the next comma.
fn answer(sentence: &[Token], found: &[Match], lexicon: &Lexicon) -> Option<bool> {
    let end = sentence.iter().skip(1).position(|token| token.before != Break::None);
    let words = sentence.get(..end.map_or(sentence.len(), |end| end + 1))?;
    let first = words.first()?;
    if words.iter().any(|token| found.iter().any(|one| one.covers(&token.span))) {
        return None;
    }
    match first.script {
        Script::Latin => {
            lexicon.english_words.answers.get(&first.word).copied().filter(|_| words.len() == 1)
        }
        Script::Hangul => {
            let korean = &lexicon.korean_words;
            let answers = &korean.answers;
            let denies = korean.deny.iter().any(|stem| first.word.starts_with(stem.as_str()));
            answers.get(&first.word).copied().or(denies.then_some(false))
        }
    }
}

/// A question that asserts nothing: "Headache?", "Has he had seizures?", not "Is my headache …?".
fn is_bare(question: &[Token], found: &[Match], lexicon: &Lexicon) -> bool {
    let words = &lexicon.english_words;
    let asks = question.first().is_some_and(|token| words.asks.contains(&token.word));
    if question.iter().any(|token| matches!(token.word.as_str(), "my" | "i")) {
        return false;
    }
    if asks {
        return true;
    }
    let others = question.iter().filter(|token| {
        !found.iter().any(|one| one.covers(&token.span))
            && !is_conjunction(token)
            && !words.idle.contains(&token.word)
    });
    others.count() <= QUESTION_WORDS_MAX
}
