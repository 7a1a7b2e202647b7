//! Denials: "no seizures", "denies headache", "두통은 없다".

use super::{
    english::is_transparent,
    korean::closes_clause,
    matches::{Match, overlap},
    token::{Break, Script, Text, Token},
};
use crate::lexicon::Lexicon;

/// Marks the findings that the text denies.
pub(super) fn attach(text: &Text, found: &mut [Match], lexicon: &Lexicon) {
    let tokens = text.tokens();
    let mut start = 0;
    while start < tokens.len() {
        let rest = tokens.get(start + 1..).unwrap_or_default();
        let length = rest.iter().position(|token| token.before == Break::Sentence);
        let end = length.map_or(tokens.len(), |length| start + 1 + length);
        let sentence = &tokens[start..end];
        english(sentence, found, lexicon);
        english_after(sentence, found, lexicon);
        korean(sentence, found, lexicon);
        start = end;
    }
    inside(tokens, found, lexicon);
}

/// Returns true if a finding rests on the word itself: the "no" of "no sense of smell".
fn owned(token: &Token, found: &[Match]) -> bool {
    found.iter().any(|one| one.own.iter().any(|word| overlap(word, &token.span)))
}

/// What a denial reaches so far.
#[derive(Clone, Copy)]
struct Denial {
    /// "Denies" goes on through a list; "no" only if the list has an "or".
    list: bool,
    /// It has denied something.
    hit: bool,
}

fn english(sentence: &[Token], found: &mut [Match], lexicon: &Lexicon) {
    let words = &lexicon.english_words;
    let mut denial: Option<Denial> = None;
    for (at, token) in sentence.iter().enumerate() {
        if let Some(denied) = denial
            && token.before == Break::Clause
            && !denied.list
            && !or_follows(&sentence[at..], found, lexicon)
        {
            denial = None;
        }
        let begins = |one: &Match| token.span.contains(&one.span.start);
        if !owned(token, found) && !token.neutral && token.script == Script::Latin {
            if let Some(&list) = words.deny.get(&token.word) {
                denial = Some(Denial { list, hit: false });
            } else if words.deny_end.contains(&token.word)
                || (words.restart.contains(&token.word) && denial.is_some_and(|denial| denial.hit))
            {
                denial = None;
            }
        }
        let Some(denied) = &mut denial else { continue };
        for one in found.iter_mut().filter(|one| begins(one)) {
            one.present = false;
            denied.hit = true;
        }
    }
}

/// Returns true if an "or" comes before the sentence turns: "no headache, nausea or vomiting".
fn or_follows(rest: &[Token], found: &[Match], lexicon: &Lexicon) -> bool {
    let words = &lexicon.english_words;
    for token in rest {
        if matches!(token.word.as_str(), "or" | "nor") {
            return true;
        }
        let turns = words.deny.contains_key(&token.word)
            || words.deny_end.contains(&token.word)
            || (words.restart.contains(&token.word) && token.word != "with");
        if turns && !owned(token, found) {
            return false;
        }
    }
    false
}

/// "Seizures: none", "headache is absent": the denial follows.
fn english_after(sentence: &[Token], found: &mut [Match], lexicon: &Lexicon) {
    let words = &lexicon.english_words;
    for (at, token) in sentence.iter().enumerate() {
        // "Headache: no, vomiting: yes."
        let last = at > 0 && sentence.get(at + 1).is_none_or(|next| next.before != Break::None);
        let denies = words.deny_after.contains(&token.word) || (last && token.word == "no");
        if !denies || owned(token, found) {
            continue;
        }
        // Back over transparent words to the match, and over the matches joined to it.
        let mut denied_any = false;
        for before in sentence[..at].iter().rev() {
            let covered = found.iter().any(|one| one.covers(&before.span));
            if covered {
                for one in found.iter_mut().filter(|one| one.covers(&before.span)) {
                    one.present = false;
                }
                denied_any = true;
            }
            let joins = matches!(before.word.as_str(), "and" | "or");
            let passes = covered || joins || is_transparent(before, words);
            if !passes || (denied_any && before.before != Break::None) {
                break;
            }
        }
    }
}

fn korean(sentence: &[Token], found: &mut [Match], lexicon: &Lexicon) {
    let words = &lexicon.korean_words;
    let begins_with =
        |token: &Token, stems: &[String]| stems.iter().any(|stem| token.word.starts_with(stem));
    let mut from = 0;
    for (at, token) in sentence.iter().enumerate() {
        let marks = token.word == "(-)";
        if token.script != Script::Hangul && !marks {
            continue;
        }
        if token.before == Break::Clause && !bare_list_before(sentence, at, found) {
            from = from.max(at);
        }
        let free = !token.neutral && !owned(token, found);
        let denies = marks || (free && begins_with(token, &words.deny));
        if denies {
            deny(&sentence[from..at], found);
        } else if free && words.deny_before.contains(&token.word) {
            let Some(next) = sentence.get(at + 1) else { continue };
            found.iter_mut().filter(|one| one.covers(&next.span)).for_each(|one| {
                one.present = false;
            });
        }
        let asserts = free && begins_with(token, &words.assert);
        if denies || asserts || closes_clause(token, lexicon) {
            from = at + 1;
        }
    }
}

fn deny(tokens: &[Token], found: &mut [Match]) {
    for one in found.iter_mut() {
        if tokens.iter().any(|token| one.own.iter().any(|word| overlap(word, &token.span))) {
            one.present = false;
        }
    }
}

/// "두통, 구토 없음": a clause that is nothing but a finding joins the list that a denial ends.
fn bare_list_before(sentence: &[Token], at: usize, found: &[Match]) -> bool {
    let before = &sentence[..at];
    let start = before.iter().rposition(|token| token.before != Break::None).unwrap_or_default();
    let clause = &before[start..];
    !clause.is_empty()
        && clause.iter().all(|token| {
            token.side.is_none()
                && found.iter().any(|one| one.own.iter().any(|word| word.end == token.span.end))
        })
}

/// "머리가 안 아프다", "arm is not weak": the denial stands between the words of the finding.
fn inside(tokens: &[Token], found: &mut [Match], lexicon: &Lexicon) {
    for one in found.iter_mut() {
        let within = tokens
            .iter()
            .filter(|token| one.span.start < token.span.start && token.span.end < one.span.end);
        for token in within {
            let denies = match token.script {
                Script::Hangul => lexicon.korean_words.deny_before.contains(&token.word),
                Script::Latin => lexicon.english_words.deny.contains_key(&token.word),
            };
            if denies && !token.neutral && !one.covers(&token.span) {
                one.present = false;
            }
        }
    }
}
