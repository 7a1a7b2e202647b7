//! Korean: stems in order, close together, whatever particles and spaces lie between.

use std::ops::Range;

use neurotriage_domain::Side;

use super::{
    matches::{Candidate, Match, overlap},
    token::{Break, Script, Text, Token},
};
use crate::lexicon::{Lexicon, Pattern, Slot};

/// Most syllables between two stems of a pattern.
const GAP_MAX: usize = 7;
/// Farthest that a side may stand before what it belongs to, in words.
const SIDE_REACH_MAX: usize = 3;

/// A clause's Korean letters without the spaces.
struct Letters<'a> {
    tokens: &'a [Token],
    /// Letter, where it stands in the text, and in which word.
    row: Vec<(char, usize, usize)>,
}

impl<'a> Letters<'a> {
    fn of(tokens: &'a [Token]) -> Self {
        let mut row = Vec::new();
        for (index, token) in tokens.iter().enumerate() {
            if token.script == Script::Hangul {
                let start = token.span.start;
                row.extend(token.word.char_indices().map(|(at, c)| (c, start + at, index)));
            }
        }
        Self { tokens, row }
    }

    /// Returns true if a pattern may begin here: at a word, or after the side that begins it.
    fn may_begin(&self, at: usize) -> bool {
        let Some(&(_, place, index)) = self.row.get(at) else { return false };
        let Some(token) = self.tokens.get(index) else { return false };
        let offset = place - token.span.start;
        if token.neutral {
            return false;
        }
        offset == 0 || (token.side.is_some() && self.after_side(token, offset))
    }

    /// "오른쪽팔", "오른팔": the stem of the side, then perhaps "쪽" or "편".
    fn after_side(&self, token: &Token, offset: usize) -> bool {
        offset == token.side_bytes
            || token
                .word
                .get(token.side_bytes..offset)
                .is_some_and(|between| matches!(between, "쪽" | "편" | "측" | "쪽의"))
    }

    fn stem_at(&self, at: usize, stem: &str) -> Option<usize> {
        let mut place = at;
        for letter in stem.chars() {
            if self.row.get(place)?.0 != letter {
                return None;
            }
            place += 1;
        }
        Some(place)
    }

    /// Returns the end of the longest stem of `slot` at this letter.
    fn slot_at(&self, at: usize, slot: &Slot) -> Option<usize> {
        slot.words.iter().filter_map(|stem| self.stem_at(at, stem)).max()
    }

    fn span(&self, range: Range<usize>) -> Option<Range<usize>> {
        let first = self.row.get(range.start)?;
        let last = self.row.get(range.end.checked_sub(1)?)?;
        Some(first.1..last.1 + last.0.len_utf8())
    }
}

/// Returns everything in the clause that could be a Korean finding.
pub(super) fn candidates(tokens: &[Token], lexicon: &Lexicon) -> Vec<Candidate> {
    let letters = Letters::of(tokens);
    let mut found = Vec::new();
    for at in 0..letters.row.len() {
        if !letters.may_begin(at) {
            continue;
        }
        let Some(&(letter, ..)) = letters.row.get(at) else { continue };
        let patterns = lexicon.korean.patterns.get(letter.encode_utf8(&mut [0; 4]));
        for pattern in patterns.into_iter().flatten() {
            found.extend(fit(&letters, at, pattern));
        }
    }
    found
}

fn fit(letters: &Letters<'_>, at: usize, pattern: &Pattern) -> Option<Candidate> {
    let (mut own, mut shared) = (Vec::new(), Vec::new());
    let mut next = at;
    for (index, slot) in pattern.slots.iter().enumerate() {
        let gap = if index == 0 { 0 } else { GAP_MAX };
        let places = next..=next + gap;
        let (start, end) =
            places.into_iter().find_map(|place| Some((place, letters.slot_at(place, slot)?)))?;
        let words = if slot.shared { &mut shared } else { &mut own };
        words.push(letters.span(start..end)?);
        if slot.shared {
            shared.extend(words_before(letters, start, slot));
        }
        next = end;
    }
    Some(Candidate { entry: pattern.entry, own, shared, sides: 0 })
}

/// Returns the words right before that begin with a stem of `slot` too: "팔과 다리".
fn words_before(letters: &Letters<'_>, at: usize, slot: &Slot) -> Vec<Range<usize>> {
    let Some(&(_, _, index)) = letters.row.get(at) else { return Vec::new() };
    let before = letters.tokens.get(..index).unwrap_or_default().iter().rev();
    let begins = |token: &&Token| {
        let rest = token.word.get(token.side_bytes..).unwrap_or_default();
        let rest = rest.strip_prefix(['쪽', '편']).unwrap_or(rest);
        let bare_side = token.side.is_some() && rest.is_empty();
        bare_side || slot.words.iter().any(|stem| rest.starts_with(stem.as_str()))
    };
    before
        .take_while(|token| token.script == Script::Hangul)
        .take_while(begins)
        .map(|token| token.span.clone())
        .collect()
}

/// Gives each match the side that is written in it, before it, or right after it.
pub(super) fn attach_sides(text: &Text, found: &mut [Match], lexicon: &Lexicon) {
    let tokens = text.tokens();
    for index in 0..found.len() {
        let Some(one) = found.get(index).filter(|one| one.side.is_none()) else { continue };
        let inside = tokens.iter().filter(|token| {
            is_side(token) && one.span.start <= token.span.end && token.span.start < one.span.end
        });
        let mut sides: Vec<&Token> = inside.filter(|token| touches(one, token)).collect();
        if sides.is_empty() {
            sides.extend(side_before(tokens, found, one, lexicon));
        }
        if sides.is_empty() {
            sides.extend(side_after(tokens, found, one));
        }
        let owned = |token: &&&Token| one.own.iter().any(|word| overlap(word, &token.span));
        if sides.iter().filter(owned).count() > 1 {
            // The sides are what the finding is about: "왼쪽과 오른쪽을 구분".
            continue;
        }
        let side = sides
            .iter()
            .filter_map(|token| token.side)
            .reduce(|one, other| if one == other { one } else { Side::Midline });
        let spans: Vec<Range<usize>> = sides.iter().map(|token| side_span(token)).collect();
        if let Some(one) = found.get_mut(index) {
            one.side = side;
            spans.iter().for_each(|span| one.reach(span));
        }
    }
}

fn is_side(token: &Token) -> bool {
    token.script == Script::Hangul && token.side.is_some()
}

fn side_span(token: &Token) -> Range<usize> {
    token.span.start..token.span.start + token.side_bytes
}

/// A side inside the span, or in the word with which the match begins: "오른팔에".
fn touches(one: &Match, token: &Token) -> bool {
    let span = side_span(token);
    one.span.start <= span.start || token.span.contains(&one.span.start)
}

fn side_before<'a>(
    tokens: &'a [Token],
    found: &[Match],
    one: &Match,
    lexicon: &Lexicon,
) -> Option<&'a Token> {
    let first = tokens.partition_point(|token| token.span.end <= one.span.start);
    for token in tokens.get(..first)?.iter().rev().take(SIDE_REACH_MAX) {
        if token.span.start < one.clause.start || closes_clause(token, lexicon) {
            return None;
        }
        if is_side(token) && !found.iter().any(|other| other.span.contains(&token.span.start)) {
            return Some(token);
        }
        if found.iter().any(|other| other.covers(&token.span)) {
            return None;
        }
    }
    None
}

fn side_after<'a>(tokens: &'a [Token], found: &[Match], one: &Match) -> Option<&'a Token> {
    let next = tokens.partition_point(|token| token.span.start < one.span.end);
    let token = tokens.get(next).filter(|token| is_side(token))?;
    let free = !found.iter().any(|other| other.span.contains(&token.span.start));
    let follows = tokens.get(next + 1).is_some_and(|after| {
        after.before == Break::None
            && found.iter().any(|other| other.span.contains(&after.span.start))
    });
    (free && !follows).then_some(token)
}

/// Returns true if the word ends a clause: "있고", "어눌하지만".
pub(super) fn closes_clause(token: &Token, lexicon: &Lexicon) -> bool {
    token.script == Script::Hangul
        && token.word != "그리고"
        && lexicon.korean_words.clause_endings.iter().any(|end| token.word.ends_with(end.as_str()))
}
