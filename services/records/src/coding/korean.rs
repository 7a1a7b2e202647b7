//! Korean: stems in order, close together, whatever particles and spaces lie between.

use std::ops::Range;

use neurotriage_domain::Side;

use super::{
    leftover::{is_filler, is_place, is_unknown},
    matches::{Candidate, Match, PLACE_WEIGHT, overlap},
    token::{Break, Script, Text, Token},
};
use crate::lexicon::{Lexicon, Pattern, Says, Slot};

/// Most syllables between two stems of a pattern, without those of words that say nothing.
const GAP_MAX: usize = 7;
/// Most syllables between them in all.
const GAP_IN_ALL_MAX: usize = 16;
/// Second letters of words that begin like the denial "안": 안전, 안정, 안내, 안녕, 안과, 안면, 안경, 안구, 안마, 안심.
const AN_WORDS: &str = "전정내녕과면경구마심";
/// Words of one letter that are no first letter of the word behind them: "이 명단" is no "이명".
const LONE_LETTERS: [&str; 7] = ["이", "그", "저", "세", "불", "새", "각"];
/// Letters of particles between a function and what is said of it: "기억력에는", "힘만".
const PARTICLES: &str = "은는이가도에을를의만";
/// Words that may stand there too.
const IDLE: [&str; 9] = ["잘", "아주", "매우", "모두", "다", "현재", "지금", "완전히", "특별한"];
/// Endings of what is said to be intact.
const SAID: [&str; 12] =
    ["요", "다", "고", "며", "데", "지만", "음", "임", "함", "됨", "나", "까지"];
/// What in the word, or beginning the next, says that it is not so, was so, may be so, or is asked.
const NOT_SAID: [&str; 28] = [
    "었",
    "았",
    "했",
    "였",
    "졌",
    "질",
    "까",
    "겠",
    "인지",
    "은지",
    "을지",
    "으면",
    "이면",
    "하면",
    "인가",
    "은가",
    "던",
    "다가",
    "지고",
    "라는데",
    "다는데",
    "다고",
    "라고",
    "못",
    "힘들",
    "어려",
    "싶",
    "려고",
];
/// Words behind a bare "정상" that leave it what it is.
const NORMAL: [&str; 6] = ["범위", "소견", "아니", "아님", "아닙", "않"];
/// Words before a function with which it is said how it was: "수술 전 시력 정상".
const ONCE: [&str; 8] = ["평소", "예전", "이전", "원래", "과거", "작년", "처음", "발병"];
/// Farthest that a side may stand before what it belongs to, in words.
const SIDE_REACH_MAX: usize = 3;

/// A clause's Korean letters without the spaces.
struct Letters<'a> {
    tokens: &'a [Token],
    /// Letter, where it stands in the text, and in which word.
    row: Vec<(char, usize, usize)>,
    /// Words that say nothing by themselves: "자꾸", "요즘은".
    idle: Vec<bool>,
}

impl<'a> Letters<'a> {
    fn of(tokens: &'a [Token], lexicon: &Lexicon) -> Self {
        let mut row = Vec::new();
        let mut add = |index: usize, bytes: usize| {
            let Some(token) = tokens.get(index) else { return };
            let letters = token.word.get(..bytes).unwrap_or_default().char_indices();
            row.extend(letters.map(|(at, c)| (c, token.span.start + at, index)));
        };
        let mut index = 0;
        while let Some(token) = tokens.get(index) {
            if token.script != Script::Hangul {
                index += 1;
            } else if let Some(side) = said_side(tokens, index, lexicon) {
                // "두통은 오른쪽, 마비는 왼쪽" is read as "오른쪽 두통, 왼쪽 마비".
                add(index + 1, side);
                add(index, token.word.len());
                index += 2;
            } else {
                add(index, token.word.len());
                index += 1;
            }
        }
        let filler = &lexicon.korean_words.filler;
        let idle = tokens.iter().map(|token| is_filler(&token.word, filler)).collect();
        Self { tokens, row, idle }
    }

    /// Returns true if a pattern may begin here: at a word, or after the side that begins it.
    fn may_begin(&self, at: usize) -> bool {
        let Some(&(_, place, index)) = self.row.get(at) else { return false };
        let Some(token) = self.tokens.get(index) else { return false };
        let offset = place - token.span.start;
        if token.neutral || LONE_LETTERS.contains(&token.word.as_str()) {
            return false;
        }
        // "안아파요".
        let denied = token.word.get(..offset).is_some_and(|before| before == "안");
        offset == 0 || denied || (token.side.is_some() && self.after_side(token, offset))
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

    /// Returns where the next stem of a pattern may begin after a letter.
    fn places(&self, from: usize) -> impl Iterator<Item = usize> {
        let mut counted = 0;
        (from..=from + GAP_IN_ALL_MAX).take_while(move |&place| {
            let near = counted <= GAP_MAX;
            let idle = self.row.get(place).is_some_and(|letter| self.idle[letter.2]);
            counted += usize::from(!idle);
            near
        })
    }

    /// Returns the end of the longest stem of `slot` at this letter.
    fn slot_at(&self, at: usize, slot: &Slot) -> Option<usize> {
        let next = |end: usize| self.row.get(end).map(|letter| letter.0);
        // "보행 안정적", "계산 안내": no denial.
        let word = |stem: &str, end: usize| {
            stem == "안" && next(end).is_some_and(|letter| AN_WORDS.contains(letter))
        };
        let stems = slot.words.iter();
        let ends = stems.filter_map(|stem| Some((stem, self.stem_at(at, stem)?)));
        ends.filter(|(stem, end)| !word(stem, *end)).map(|(_, end)| end).max()
    }

    /// Returns true if the clause says of the function that it is intact, and now: not "정상이었는데", "괜찮아질 거예요",
    /// "정상인지", "양호하지 못함", "괜찮은 날", "패션 감각이 좋아요", "수술 전 시력 정상".
    fn is_said(&self, start: usize, end: usize, lexicon: &Lexicon) -> bool {
        let index = |at: Option<usize>| at.and_then(|at| self.row.get(at)).map(|letter| letter.2);
        let (Some(first), Some(last)) = (index(Some(start)), index(end.checked_sub(1))) else {
            return false;
        };
        let rest = self.row.get(end..).unwrap_or_default().iter();
        let rest: String = rest.take_while(|letter| letter.2 == last).map(|one| one.0).collect();
        let next = self.tokens.get(last + 1).map(|next| next.word.as_str()).unwrap_or_default();
        let begins = |word: &str, stems: &[&str]| stems.iter().any(|stem| word.starts_with(stem));
        // "정상이 아님", "정상적이지 않음" is denied in turn.
        let denied = begins(next, &["아니", "아님", "아닙", "않"]);
        let ends = if rest.is_empty() {
            next.is_empty() || begins(next, &NORMAL)
        } else {
            denied || SAID.iter().any(|ending| rest.ends_with(ending))
        };
        let before = self.tokens.get(..first).unwrap_or_default();
        let once = before.iter().any(|token| {
            token.word == "전" || token.word.ends_with("까지") || begins(&token.word, &ONCE)
        });
        let of_other = before.last().is_some_and(|last| {
            let ends = [
                "은", "는", "이", "가", "고", "며", "데", "만", "서", "요", "다", "음", "도", "나",
            ];
            last.script == Script::Hangul
                && is_unknown(last, &[], &[], lexicon)
                && !is_place(last, lexicon)
                && !ends.iter().any(|end| last.word.ends_with(end))
        });
        let not = |word: &str| NOT_SAID.iter().any(|part| word.contains(part));
        ends && !not(&rest) && !begins(next, &NOT_SAID) && !once && !of_other
    }

    /// Returns true if nothing but particles and words that say nothing stands between the two letters:
    /// "기억력은 정상", not "기억력 저하 있고 의식 정상" or "힘들지만 괜찮아요".
    fn joined(&self, from: usize, to: usize) -> bool {
        let between = self.row.get(from..to).unwrap_or_default();
        between.iter().all(|&(letter, _, index)| {
            let idle = self.tokens.get(index).is_some_and(|one| IDLE.contains(&one.word.as_str()));
            idle || PARTICLES.contains(letter)
        })
    }

    fn span(&self, range: Range<usize>) -> Option<Range<usize>> {
        let letters = self.row.get(range)?;
        let start = letters.iter().map(|letter| letter.1).min()?;
        let end = letters.iter().map(|letter| letter.1 + letter.0.len_utf8()).max()?;
        Some(start..end)
    }

    /// Returns true if a clause ends between the two letters with a "but".
    fn closes(&self, from: usize, to: usize) -> bool {
        let index = |at: usize| self.row.get(at).map(|letter| letter.2);
        let (Some(first), Some(last)) = (index(from), index(to)) else { return false };
        let words = self.tokens.get(first.min(last)..last).unwrap_or_default();
        words.iter().any(|token| is_but(&token.word))
    }

    /// Returns true if a clause ends between the two letters and another place is named in the
    /// next: "손은 저린데 오른쪽은 …".
    fn closes_between(&self, from: usize, to: usize, lexicon: &Lexicon) -> bool {
        let index = |at: usize| self.row.get(at).map(|letter| letter.2);
        let (Some(first), Some(last)) = (index(from), index(to)) else { return false };
        let words = self.tokens.get(first.min(last)..last).unwrap_or_default();
        let end = words.iter().position(|token| closes_clause(token, lexicon));
        // "팔에 힘이 없고 저리다": the arm is the subject still.
        end.is_some_and(|end| {
            words[end + 1..].iter().any(|token| token.side.is_some() || is_place(token, lexicon))
        })
    }
}

/// Returns the length of the side that is said of a topic, in bytes: "두통은 오른쪽".
fn said_side(tokens: &[Token], at: usize, lexicon: &Lexicon) -> Option<usize> {
    let topic = tokens.get(at)?;
    let side = tokens.get(at + 1).filter(|side| side.before == Break::None && is_side(side))?;
    let rest = side.word.get(side.side_bytes..)?;
    let said = matches!(
        rest,
        "" | "이고" | "이며" | "에" | "임" | "이다" | "이에요" | "입니다" | "이었고" | "이였고"
    );
    let is_topic = topic.side.is_none()
        && topic.script == Script::Hangul
        && topic.word.ends_with(['은', '는'])
        && topic.word.chars().count() > 2;
    let ends = tokens.get(at + 2).is_none_or(|next| {
        next.before != Break::None
            || closes_clause(side, lexicon)
            || said_side(tokens, at + 2, lexicon).is_some()
    });
    (said && is_topic && ends).then_some(side.side_bytes)
}

/// Returns everything in the clause that could be a Korean finding.
pub(super) fn candidates(tokens: &[Token], lexicon: &Lexicon) -> Vec<Candidate> {
    let letters = Letters::of(tokens, lexicon);
    let mut found = Vec::new();
    for at in 0..letters.row.len() {
        if !letters.may_begin(at) {
            continue;
        }
        let Some(&(letter, ..)) = letters.row.get(at) else { continue };
        let patterns = lexicon.korean.patterns.get(letter.encode_utf8(&mut [0; 4]));
        for pattern in patterns.into_iter().flatten() {
            found.extend(fit(&letters, at, pattern, lexicon));
        }
    }
    found
}

fn fit(
    letters: &Letters<'_>,
    at: usize,
    pattern: &Pattern,
    lexicon: &Lexicon,
) -> Option<Candidate> {
    let (mut own, mut shared) = (Vec::new(), Vec::new());
    let (mut next, mut distance, mut weight) = (at, 0, 0);
    for (index, slot) in pattern.slots.iter().enumerate() {
        let fits = |place| Some((place, letters.slot_at(place, slot)?));
        let (start, end) =
            if index == 0 { fits(next) } else { letters.places(next).find_map(fits) }?;
        if start > next && letters.closes_between(next.saturating_sub(1), start, lexicon) {
            return None;
        }
        // "몸이 불안정해요" is no fear.
        let unsteady = |at: usize| letters.row.get(at).is_some_and(|one| one.0 == '정');
        if index == 0 && slot.words.iter().any(|word| word == "불안") && unsteady(end) {
            return None;
        }
        // "의식이 혼미하나 경련은 없음": the denial is of the next clause.
        let denies = letters.row.get(start).is_some_and(|one| "없않못안".contains(one.0));
        if denies && letters.closes(next.saturating_sub(1), start) {
            return None;
        }
        if pattern.says == Says::Absent && index > 0 && !letters.joined(next, start) {
            return None;
        }
        distance += start - next;
        if slot.shared {
            weight += PLACE_WEIGHT;
        }
        let words = if slot.shared { &mut shared } else { &mut own };
        words.push(letters.span(start..end)?);
        if slot.shared {
            shared.extend(words_before(letters, start, slot));
        }
        next = end;
    }
    let says = pattern.says;
    if says == Says::Absent && !letters.is_said(at, next, lexicon) {
        return None;
    }
    Some(Candidate { entry: pattern.entry, own, shared, sides: 0, weight, distance, says })
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
        .take_while(|token| token.script == Script::Hangul && !token.neutral)
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
            sides.extend(side_after(tokens, found, one, lexicon));
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
    for (at, token) in tokens.get(..first)?.iter().enumerate().rev().take(SIDE_REACH_MAX) {
        if token.span.start < one.clause.start || closes_clause(token, lexicon) {
            return None;
        }
        // "두통은 오른쪽 …": the side is said of what stands before it.
        if at.checked_sub(1).is_some_and(|topic| said_side(tokens, topic, lexicon).is_some()) {
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

fn side_after<'a>(
    tokens: &'a [Token],
    found: &[Match],
    one: &Match,
    lexicon: &Lexicon,
) -> Option<&'a Token> {
    let next = tokens.partition_point(|token| token.span.start < one.span.end);
    let token = tokens.get(next).filter(|token| is_side(token))?;
    let free = !found.iter().any(|other| other.span.contains(&token.span.start));
    let follows = tokens.get(next + 1).is_some_and(|after| {
        after.before == Break::None
            && found.iter().any(|other| other.span.contains(&after.span.start))
    });
    let said = next.checked_sub(1).is_some_and(|at| said_side(tokens, at, lexicon).is_some());
    (free && (said || !follows)).then_some(token)
}

/// Returns true if the word ends a clause: "있고", "어눌하지만", "저린데".
pub(super) fn closes_clause(token: &Token, lexicon: &Lexicon) -> bool {
    token.script == Script::Hangul
        && token.word != "그리고"
        && !["려고", "다고", "라고"].iter().any(|end| token.word.ends_with(end))
        && (lexicon
            .korean_words
            .clause_endings
            .iter()
            .any(|end| token.word.ends_with(end.as_str()))
            || token.word.strip_suffix('데').is_some_and(ends_in_n)
            || is_but(&token.word))
}

/// "어눌하나", "저리나": a verb that says "but", not a noun that says "or" ("구토나", "두통이나").
pub(super) fn is_but(word: &str) -> bool {
    const NOUNS: [&str; 10] =
        ["구토", "저하", "마비", "복시", "장애", "치매", "실조", "감퇴", "둔마", "안진이"];
    const WORDS: [&str; 10] = [
        "하나",
        "누구나",
        "언제나",
        "혹시나",
        "아무나",
        "이제나",
        "어디나",
        "얼마나",
        "이나",
        "거나",
    ];
    word.strip_suffix('나').is_some_and(|stem| {
        let verb =
            ["보이", "들이", "놓이", "붙이", "쓰이", "꼬이"].iter().any(|end| stem.ends_with(end));
        stem.chars().nth(1).is_some()
            && (verb || !stem.ends_with('이'))
            && !stem.ends_with('거')
            && !NOUNS.iter().any(|noun| stem.ends_with(noun))
            && !WORDS.contains(&word)
    })
}

/// Returns true if the last syllable ends in ㄴ: "저린", "아닌".
pub(super) fn ends_in_n(word: &str) -> bool {
    final_of(word) == Some(4)
}

/// Returns true if the last syllable ends in ㄹ: "토할", "올".
pub(super) fn ends_in_l(word: &str) -> bool {
    final_of(word) == Some(8)
}

/// Returns the number of the last syllable's final consonant, as Unicode counts them.
fn final_of(word: &str) -> Option<u32> {
    /// First and last syllable of the block, and finals of a syllable.
    const FIRST: u32 = 0xAC00;
    const LAST: u32 = 0xD7A3;
    const FINALS: u32 = 28;
    let code = word.chars().next_back().map(u32::from)?;
    (FIRST..=LAST).contains(&code).then(|| (code - FIRST) % FINALS)
}
