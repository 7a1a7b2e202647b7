//! English: phrases in order, patterns in any order, and sides next to them.

use neurotriage_domain::Side;

use super::{
    intact::{self, is_function},
    leftover::is_place,
    matches::{Candidate, Match, PLACE_WEIGHT, overlap},
    token::{Break, Script, Text, Token},
};
use crate::lexicon::{EnglishWords, Lexicon, Pattern, Slot};

/// Most transparent words between two words of a phrase.
const TRANSPARENT_MAX: usize = 4;
/// Most words that are neither transparent nor of the pattern between two words of a pattern.
const OPAQUE_MAX: usize = 2;
/// Farthest that two words of a pattern may stand apart, in words.
const REACH_MAX: usize = 14;
/// What a "with" or "and" between two words of a pattern counts for, in words: "left face numb with
/// weakness of right leg".
const JOIN_DISTANCE: usize = 3;

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

pub(super) fn fit_phrase(
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
    let shared = Vec::new();
    let says = phrase.says;
    Some(Candidate { entry: phrase.entry, own, shared, sides: 0, weight: 0, distance: 0, says })
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
    let (mut sides, mut weight, mut distance) = (0, 0, 0);
    for slot in pattern.slots.get(1..)? {
        let forward = nearest(tokens, at, Direction::Forward, slot, pattern, lexicon);
        let backward = nearest(tokens, at, Direction::Backward, slot, pattern, lexicon);
        let (apart, place) = match (forward, backward) {
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
            let word = tokens.get(place)?;
            weight += if is_place(word, lexicon) { PLACE_WEIGHT } else { word.span.len() };
            distance += apart;
            for direction in [Direction::Forward, Direction::Backward] {
                let more = neighbours(tokens, place, direction, slot, lexicon);
                shared.extend(more.map(|token| token.span.clone()));
            }
        }
    }
    let says = pattern.says;
    Some(Candidate { entry: pattern.entry, own, shared, sides, weight, distance, says })
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

/// Returns how far away the nearest word of `slot` is, and where it stands.
fn nearest(
    tokens: &[Token],
    head: usize,
    direction: Direction,
    slot: &Slot,
    pattern: &Pattern,
    lexicon: &Lexicon,
) -> Option<(usize, usize)> {
    let words = &lexicon.english_words;
    let (mut at, mut opaque, mut distance) = (head, 0, 0);
    let of_places = slot.words.iter().any(|word| words.places.contains(word));
    let (mut passed_place, mut joined, mut anded) = (false, false, false);
    for _ in 0..REACH_MAX {
        at = step(at, direction)?;
        let token = tokens.get(at)?;
        if fits(token, slot) {
            // "Normal vision and reduced power": the power is reduced.
            let function = || tokens.get(at + 1).is_some_and(|next| is_function(next, lexicon));
            let of_next = joined && belongs_to_next(tokens, at, lexicon)
                || anded && direction == Direction::Forward && function();
            return (!of_next).then_some((distance, at));
        }
        let joins = is_conjunction(token) || matches!(token.word.as_str(), "with" | "then");
        anded |= is_conjunction(token);
        distance += if joins { JOIN_DISTANCE } else { 1 };
        // "Numb right cheek and weak left arm": the cheek is numb.
        joined |= joins && passed_place;
        // "No weakness and there is a tremor of the hand": another clause.
        if anded
            && direction == Direction::Forward
            && words.attributes.predicate.contains(&token.word)
        {
            return None;
        }
        if joined && is_head(token, lexicon) {
            return None;
        }
        passed_place |= of_places && is_place(token, lexicon);
        // "My arm is not weak": what is denied of a subject is read with it.
        let of_subject = direction == Direction::Backward
            && at + 1 == head
            && token.word == "not"
            && !intact::is_open(tokens, lexicon);
        let denies = words.deny.contains_key(&token.word) && !of_subject;
        if denies || words.deny_end.contains(&token.word) {
            return None;
        }
        if of_subject || is_transparent(token, words) {
            continue;
        }
        let of_pattern = pattern.slots.iter().any(|slot| fits(token, slot));
        if slot.side && !of_pattern {
            return None;
        }
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
        Some((at, tokens.get(at)?))
    });
    row.take(REACH_MAX)
        .take_while(move |&(at, _)| {
            direction == Direction::Backward || !belongs_to_next(tokens, at, lexicon)
        })
        .map(|(_, token)| token)
        .take_while(move |token| {
            fits(token, slot)
                || is_conjunction(token)
                || is_transparent(token, &lexicon.english_words)
        })
        .filter(move |token| fits(token, slot))
}

/// "Numbness of the left face and right arm weakness": the arm belongs to the word behind it.
fn belongs_to_next(tokens: &[Token], at: usize, lexicon: &Lexicon) -> bool {
    tokens.get(at + 1).is_some_and(|next| is_head(next, lexicon))
}

/// Returns true for a word that a pattern may be of: "weak", "numb".
fn is_head(token: &Token, lexicon: &Lexicon) -> bool {
    lexicon.english.patterns.contains_key(&token.word)
        && !is_transparent(token, &lexicon.english_words)
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
            if inside && !owned && !is_parted(one, tokens, at, lexicon) {
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
        claim(one, before, true, &mut claimed, lexicon);
    }
    // After the match: "numbness on the left". Not if the side belongs to the next match.
    for one in found.iter_mut().filter(|one| one.side.is_none()) {
        let next = tokens.partition_point(|token| token.span.start < one.span.end);
        let clause = one.clause.clone();
        let after = (next..tokens.len()).map(|at| (at, &tokens[at]));
        let after = after.take_while(|(_, token)| token.span.end <= clause.end);
        // "Hearing loss in the left ear and ringing": the side is of both.
        let led = tokens.get(next).is_some_and(|token| matches!(token.word.as_str(), "in" | "of"))
            && tokens.get(next..).is_some_and(|rest| is_sided_place(rest, lexicon));
        let after: Vec<(usize, &Token)> =
            after.take_while(|(at, _)| led || !claimed[*at]).collect();
        claim(one, after.into_iter(), false, &mut claimed, lexicon);
    }
    attach_lone_sides(text, found, &claimed, lexicon);
}

/// "Not able to lift his right arm or speak": the side is of what stands before the "or".
fn is_parted(one: &Match, tokens: &[Token], side: usize, lexicon: &Lexicon) -> bool {
    let Some(token) = tokens.get(side) else { return false };
    let within = |token: &&Token| one.span.start <= token.span.start;
    let first = tokens.partition_point(|token| !within(&token));
    let words = tokens[first..].iter().take_while(|token| token.span.start < one.span.end);
    let of_place = |place: &Token| {
        is_place(place, lexicon) && one.shared.iter().any(|word| overlap(word, &place.span))
    };
    let Some(own) = one.own.iter().map(|word| word.start).find(|&own| own > token.span.end) else {
        return false;
    };
    !words.clone().any(of_place)
        && words
            .skip(side.saturating_sub(first))
            .any(|next| is_conjunction(next) && next.span.end <= own)
}

/// "In the left ear": a place right behind the first side.
fn is_sided_place(row: &[Token], lexicon: &Lexicon) -> bool {
    let side = row.iter().position(is_side);
    let place = side.and_then(|side| row.get(side + 1));
    place.is_some_and(|place| is_place(place, lexicon) && !matches!(place.word.as_str(), "half"))
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
    before: bool,
    claimed: &mut [bool],
    lexicon: &Lexicon,
) {
    let mut last_side = false;
    for (at, token) in row {
        // "Right hand dysmetria", "both hands feel like pins and needles": the part of the body stands before it.
        if before && one.shared.is_empty() && is_place(token, lexicon) {
            continue;
        }
        if is_side(token) {
            one.side = Some(join(one.side, token));
            one.reach(&token.span);
            claimed[at] = true;
            last_side = true;
            continue;
        }
        // "Right and left": goes on once a side is found; not "on the left and her right hand".
        let goes_on = one.side.is_some() && is_conjunction(token) && (!before || last_side);
        last_side = false;
        let restarts = (lexicon.english_words.restart.contains(&token.word)
            && token.word != "with")
            || lexicon.english_words.side_ends.contains(&token.word);
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
        // "Numbness, left arm".
        let nothing_else = tokens.iter().all(|token| {
            is_transparent(token, &lexicon.english_words)
                || (token.script == Script::Latin && is_place(token, lexicon))
        });
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
