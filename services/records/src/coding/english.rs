//! English: phrases in order, patterns in any order, and sides next to them.

use neurotriage_domain::Side;

use super::{
    matches::{Candidate, Match, overlap},
    token::{Break, Script, Text, Token},
};
use crate::lexicon::{EnglishWords, Lexicon, Pattern, Slot};

/// Most transparent words between two words of a phrase.
const TRANSPARENT_MAX: usize = 4;
/// Most words that are neither transparent nor of the pattern between two words of a pattern.
const OPAQUE_MAX: usize = 2;
/// Farthest that two words of a pattern may stand apart, in words.
const REACH_MAX: usize = 14;

pub(super) fn is_conjunction(token: &Token) -> bool {
    matches!(token.word.as_str(), "and" | "or" | "nor" | "plus")
}

/// Returns true if the word may stand inside a phrase without changing it.
pub(super) fn is_transparent(token: &Token, words: &EnglishWords) -> bool {
    token.neutral
        || token.side.is_some()
        || words.transparent.contains(&token.word)
        || token.word.starts_with(|c: char| c.is_ascii_digit())
}

/// Returns everything in the clause that could be an English finding.
pub(super) fn candidates(tokens: &[Token], lexicon: &Lexicon) -> Vec<Candidate> {
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        if token.script != Script::Latin || token.neutral {
            continue;
        }
        let phrases = lexicon.english.phrases.get(&token.word).into_iter().flatten();
        found.extend(phrases.filter_map(|phrase| fit_phrase(tokens, at, phrase, lexicon)));
        let patterns = lexicon.english.patterns.get(&token.word).into_iter().flatten();
        found.extend(patterns.filter_map(|pattern| fit_pattern(tokens, at, pattern, lexicon)));
    }
    found
}

fn fit_phrase(
    tokens: &[Token],
    at: usize,
    phrase: &Pattern,
    lexicon: &Lexicon,
) -> Option<Candidate> {
    let mut own = vec![tokens.get(at)?.span.clone()];
    let mut next = at + 1;
    for slot in phrase.slots.get(1..)? {
        let window = tokens.get(next..)?.iter().take(TRANSPARENT_MAX + 1);
        let mut skipped = 0;
        for token in window {
            if slot.words.contains(&token.word) {
                break;
            }
            if !is_transparent(token, &lexicon.english_words) {
                return None;
            }
            skipped += 1;
        }
        let token = tokens.get(next + skipped).filter(|token| slot.words.contains(&token.word))?;
        own.push(token.span.clone());
        next += skipped + 1;
    }
    Some(Candidate { entry: phrase.entry, own, shared: Vec::new(), sides: 0 })
}

fn fit_pattern(
    tokens: &[Token],
    at: usize,
    pattern: &Pattern,
    lexicon: &Lexicon,
) -> Option<Candidate> {
    let head = tokens.get(at)?;
    let mut own = vec![head.span.clone()];
    let mut shared = Vec::new();
    let mut sides = 0;
    for slot in pattern.slots.get(1..)? {
        let forward = nearest(tokens, at, Direction::Forward, slot, pattern, lexicon);
        let backward = nearest(tokens, at, Direction::Backward, slot, pattern, lexicon);
        let (_, place) = match (forward, backward) {
            (Some(forward), Some(backward)) if backward.0 < forward.0 => backward,
            (Some(forward), _) => forward,
            (None, backward) => backward?,
        };
        if slot.side {
            // The side itself is worked out for all matches together.
            sides += 1;
            continue;
        }
        let words = if slot.shared { &mut shared } else { &mut own };
        words.push(tokens.get(place)?.span.clone());
        if slot.shared {
            for direction in [Direction::Forward, Direction::Backward] {
                let more = neighbours(tokens, place, direction, slot, lexicon);
                shared.extend(more.map(|token| token.span.clone()));
            }
        }
    }
    Some(Candidate { entry: pattern.entry, own, shared, sides })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

fn step(at: usize, direction: Direction) -> Option<usize> {
    match direction {
        Direction::Forward => at.checked_add(1),
        Direction::Backward => at.checked_sub(1),
    }
}

fn fits(token: &Token, slot: &Slot) -> bool {
    if slot.side {
        return matches!(token.side, Some(Side::Left | Side::Right));
    }
    !token.neutral && slot.words.contains(&token.word)
}

/// Returns how many words that count lie between, and where the nearest word of `slot` stands.
fn nearest(
    tokens: &[Token],
    head: usize,
    direction: Direction,
    slot: &Slot,
    pattern: &Pattern,
    lexicon: &Lexicon,
) -> Option<(usize, usize)> {
    let words = &lexicon.english_words;
    let (mut at, mut opaque, mut counted) = (head, 0, 0);
    for _ in 0..REACH_MAX {
        at = step(at, direction)?;
        let token = tokens.get(at)?;
        if fits(token, slot) {
            return Some((counted, at));
        }
        if words.deny.contains_key(&token.word) || words.deny_end.contains(&token.word) {
            return None;
        }
        if is_transparent(token, words) {
            continue;
        }
        if slot.side {
            return None;
        }
        counted += 1;
        let of_pattern = pattern.slots.iter().any(|slot| fits(token, slot));
        if !of_pattern && !is_conjunction(token) {
            opaque += 1;
        }
        if opaque > OPAQUE_MAX {
            return None;
        }
    }
    None
}

/// Returns the words of `slot` that follow with "and" or nothing between: "arm and leg".
fn neighbours<'a>(
    tokens: &'a [Token],
    from: usize,
    direction: Direction,
    slot: &'a Slot,
    lexicon: &'a Lexicon,
) -> impl Iterator<Item = &'a Token> {
    let mut at = from;
    let row = std::iter::from_fn(move || {
        at = step(at, direction)?;
        tokens.get(at)
    });
    row.take(REACH_MAX)
        .take_while(move |token| {
            fits(token, slot)
                || is_conjunction(token)
                || is_transparent(token, &lexicon.english_words)
        })
        .filter(move |token| fits(token, slot))
}

/// Gives each match the side that is written in it, before it, or after it.
pub(super) fn attach_sides(text: &Text, found: &mut [Match], lexicon: &Lexicon) {
    let tokens = text.tokens();
    let mut claimed = vec![false; tokens.len()];
    for one in found.iter_mut() {
        for (at, token) in tokens.iter().enumerate().filter(|(_, token)| is_side(token)) {
            let inside = one.span.start <= token.span.start && token.span.end <= one.span.end;
            // A side that the finding is about is none: "confuses left and right".
            let owned = one.own.iter().any(|word| overlap(word, &token.span));
            claimed[at] |= owned;
            if inside && !owned {
                one.side = Some(join(one.side, token));
                claimed[at] = true;
            }
        }
    }
    for one in found.iter_mut().filter(|one| one.side.is_none()) {
        let first = tokens.partition_point(|token| token.span.start < one.span.start);
        let clause = one.clause.clone();
        let before = (0..first).rev().map(|at| (at, &tokens[at]));
        let before = before.take_while(|(_, token)| token.span.start >= clause.start);
        claim(one, before, &mut claimed, lexicon);
    }
    // After the match: "numbness on the left". Not if the side belongs to the next match.
    for one in found.iter_mut().filter(|one| one.side.is_none()) {
        let next = tokens.partition_point(|token| token.span.start < one.span.end);
        let clause = one.clause.clone();
        let after = (next..tokens.len()).map(|at| (at, &tokens[at]));
        let after: Vec<(usize, &Token)> =
            after.take_while(|(at, token)| token.span.end <= clause.end && !claimed[*at]).collect();
        claim(one, after.into_iter(), &mut claimed, lexicon);
    }
    attach_lone_sides(text, found, &claimed, lexicon);
}

fn is_side(token: &Token) -> bool {
    token.script == Script::Latin && token.side.is_some()
}

fn join(side: Option<Side>, token: &Token) -> Side {
    match (side, token.side) {
        (Some(one), Some(other)) if one != other => Side::Midline,
        (Some(one), _) => one,
        (None, other) => other.unwrap_or(Side::Midline),
    }
}

/// Takes sides from `row` while nothing but transparent words lies between.
fn claim<'a>(
    one: &mut Match,
    row: impl Iterator<Item = (usize, &'a Token)>,
    claimed: &mut [bool],
    lexicon: &Lexicon,
) {
    for (at, token) in row {
        if is_side(token) {
            one.side = Some(join(one.side, token));
            one.reach(&token.span);
            claimed[at] = true;
            continue;
        }
        // "right and left": goes on once a side is found.
        let goes_on = one.side.is_some() && is_conjunction(token);
        let restarts = lexicon.english_words.restart.contains(&token.word) && token.word != "with";
        if !goes_on && (restarts || !is_transparent(token, &lexicon.english_words)) {
            return;
        }
        if token.script != Script::Latin {
            return;
        }
    }
}

/// "Weakness of the arm (left)": a clause of nothing but a side belongs to the match before it.
fn attach_lone_sides(text: &Text, found: &mut [Match], claimed: &[bool], lexicon: &Lexicon) {
    let mut first = 0;
    for (clause, tokens) in text.clauses() {
        let range = first..first + tokens.len();
        first = range.end;
        let nothing_else = tokens.iter().all(|token| is_transparent(token, &lexicon.english_words));
        let free = range.clone().any(|at| claimed.get(at) == Some(&false));
        let sentence = tokens.first().is_none_or(|token| token.before == Break::Sentence);
        if !nothing_else || !free || sentence || !tokens.iter().any(is_side) {
            continue;
        }
        let last = found.iter_mut().rfind(|one| one.span.end <= clause.start);
        let Some(one) = last.filter(|one| one.side.is_none()) else { continue };
        for token in tokens.iter().filter(|token| is_side(token)) {
            one.side = Some(join(one.side, token));
            one.reach(&token.span);
        }
    }
}
