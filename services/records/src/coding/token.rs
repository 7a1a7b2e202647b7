//! A text as words with their places, and the breaks between them.

use std::ops::Range;

use neurotriage_domain::Side;
use unicode_normalization::UnicodeNormalization as _;

use super::{
    CODED_CHARS_MAX, Writer, aside,
    marks::{self, Mark},
    words::{canonical, find_row, is_hangul, plain_word},
};
use crate::lexicon::Lexicon;

/// Farthest that a word for a lesion stands behind its side, in words.
const LESION_REACH_MAX: usize = 4;
/// Farthest that the second word of a pair that is no finding stands behind the first, in words.
const NEUTRAL_REACH_MAX: usize = 3;

/// Alphabet of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    /// English, and digits.
    Latin,
    /// Korean.
    Hangul,
}

/// What stands before a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Break {
    /// A space or nothing.
    None,
    /// A comma, bracket or slash: another clause.
    Clause,
    /// A full stop or line end: another sentence.
    Sentence,
}

/// One word.
#[derive(Clone, Debug)]
pub(super) struct Token {
    /// Where it stands, in bytes of [`Text::slice`].
    pub(super) span: Range<usize>,
    /// English: the form that the lexicon knows. Korean: as written.
    pub(super) word: String,
    pub(super) script: Script,
    pub(super) before: Break,
    /// Side that the word says, by itself or as its first part.
    pub(super) side: Option<Side>,
    /// Korean: length of that first part in bytes.
    pub(super) side_bytes: usize,
    /// Holds a side or a denial that is none: "right handed".
    pub(super) neutral: bool,
    /// Says of the finding before it whether it is there: "(-)".
    pub(super) mark: Option<Mark>,
    /// A side that stands here is that of a lesion: nothing else has it.
    pub(super) side_of_lesion: bool,
    /// Korean: a particle of the English word before it: "tremor는".
    pub(super) particle: bool,
    /// It is about somebody else, about once, or about what may come: nothing is read from it.
    pub(super) aside: bool,
}

/// A text, cut into words.
pub(super) struct Text {
    text: String,
    tokens: Vec<Token>,
    /// Index of each clause's first word, and the number of words.
    clauses: Vec<usize>,
}

impl Text {
    /// Returns the words of `text`.
    pub(super) fn read(text: &str, lexicon: &Lexicon, writer: Writer) -> Self {
        // Composed, so that Korean typed as separate letters reads the same.
        let text: String = text.chars().take(CODED_CHARS_MAX).nfc().collect();
        let mut tokens = cut(&text);
        for token in tokens.iter_mut().filter(|token| token.script == Script::Latin) {
            token.word = canonical(std::mem::take(&mut token.word), &lexicon.english_words);
        }
        let mut tokens = rewritten(tokens, lexicon);
        marks::mark_words(&mut tokens);
        mark_particles(&mut tokens, lexicon);
        mark_neutral(&mut tokens, lexicon);
        mark_sides(&text, &mut tokens, lexicon);
        mark_same_sides(&mut tokens, lexicon);
        aside::mark(&text, &mut tokens, lexicon, writer);
        let first = |&(index, token): &(usize, &Token)| index == 0 || token.before != Break::None;
        let mut clauses: Vec<usize> =
            tokens.iter().enumerate().filter(first).map(|(index, _)| index).collect();
        clauses.push(tokens.len());
        Self { text, tokens, clauses }
    }

    /// Returns the clauses in order, each with its words.
    pub(super) fn clauses(&self) -> impl Iterator<Item = (Range<usize>, &[Token])> {
        self.clauses.windows(2).filter_map(|ends| {
            let &[start, end] = ends else { return None };
            let tokens = self.tokens.get(start..end)?;
            let span = tokens.first()?.span.start..tokens.last()?.span.end;
            Some((span, tokens))
        })
    }

    /// Returns where each sentence begins.
    pub(super) fn sentences(&self) -> Vec<usize> {
        let first = self.tokens.iter().filter(|token| token.before == Break::Sentence);
        first.map(|token| token.span.start).collect()
    }

    /// Returns every word.
    pub(super) fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// Returns a piece of the text; empty if the range is none of it.
    pub(super) fn slice(&self, span: Range<usize>) -> &str {
        self.text.get(span).unwrap_or_default()
    }

    /// Returns the piece between two places, or to the end.
    pub(super) fn between(&self, start: usize, end: usize) -> &str {
        self.slice(start..end.min(self.text.len()))
    }
}

fn cut(text: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let mut before = Break::Sentence;
    let mut letters = text.char_indices().peekable();
    while let Some((start, c)) = letters.next() {
        let script = if is_hangul(c) { Script::Hangul } else { Script::Latin };
        if !c.is_alphanumeric() && c != '&' {
            if let Some((mark, end)) = marks::sign_at(text, start) {
                // It belongs to what stands before it, but for an end of a sentence.
                let before_mark =
                    if before == Break::Sentence { Break::Sentence } else { Break::None };
                let mut sign = token(start..end, &text[start..end], Script::Latin, before_mark);
                sign.mark = Some(mark);
                tokens.push(sign);
                before = Break::Clause;
                while letters.peek().is_some_and(|&(at, _)| at < end) {
                    letters.next();
                }
                continue;
            }
            before = before.max(break_of(text, start, c));
            continue;
        }
        let mut end = start + c.len_utf8();
        while let Some(&(at, next)) = letters.peek() {
            let inside = next.is_alphanumeric() || (matches!(next, '\'' | '’') && at > start);
            if c == '&' || !inside || is_hangul(next) != (script == Script::Hangul) {
                break;
            }
            end = at + next.len_utf8();
            letters.next();
        }
        // "h/o", "w/o".
        if let Some(slashed) = slashed_end(text, start, end) {
            end = slashed;
            while letters.peek().is_some_and(|&(at, _)| at < end) {
                letters.next();
            }
        }
        if let Some(end) = nausea_and_vomiting_end(text, start) {
            tokens.push(token(start..start + 1, "nausea", Script::Latin, before));
            tokens.push(token(end - 1..end, "vomiting", Script::Latin, Break::None));
            before = Break::None;
            while letters.peek().is_some_and(|&(at, _)| at < end) {
                letters.next();
            }
            continue;
        }
        let word = match (script, c) {
            (_, '&') => "and".to_owned(),
            (Script::Hangul, _) => text[start..end].to_owned(),
            (Script::Latin, _) => plain_word(&text[start..end]),
        };
        let mut token = token(start..end, &word, script, before);
        token.span.end = start + text[start..end].trim_end_matches(['\'', '’']).len();
        tokens.push(token);
        before = Break::None;
    }
    tokens
}

fn token(span: Range<usize>, word: &str, script: Script, before: Break) -> Token {
    Token {
        span,
        word: word.to_owned(),
        script,
        before,
        side: None,
        side_bytes: 0,
        neutral: false,
        mark: None,
        particle: false,
        side_of_lesion: false,
        aside: false,
    }
}

/// "N/V", "N&V": two findings in one word.
fn nausea_and_vomiting_end(text: &str, start: usize) -> Option<usize> {
    let end = start + 3;
    let word = text.get(start..end)?;
    let known = ["n/v", "n&v", "n+v"].iter().any(|known| word.eq_ignore_ascii_case(known));
    let ends = !text[end..].starts_with(char::is_alphanumeric);
    (known && ends).then_some(end)
}

/// Returns the end of an abbreviation of two letters and a slash, if the word begins one.
fn slashed_end(text: &str, start: usize, end: usize) -> Option<usize> {
    let letter = |c: Option<char>| c.filter(char::is_ascii_alphabetic);
    let last = text[..start].chars().next_back();
    let mut after = text.get(end..)?.chars();
    let one = end - start == 1 && letter(text[start..end].chars().next()).is_some();
    let two = after.next() == Some('/') && letter(after.next()).is_some();
    let ends = after.next().is_none_or(|c| !c.is_alphanumeric() && c != '/');
    (one && two && ends && last != Some('/')).then_some(end + 2)
}

fn break_of(text: &str, at: usize, c: char) -> Break {
    let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
    let next = text[at..].chars().nth(1);
    let last = text[..at].chars().next_back();
    match c {
        '.' | ',' if digit(last) && digit(next) => Break::None,
        '.' if abbreviates_side(text, at) => Break::None,
        '.' | '!' | '?' | ';' | '\n' | '\r' | '。' | '？' | '！' | '；' => Break::Sentence,
        ',' | '(' | ')' | '[' | ']' | '/' | '、' | '，' | '·' | '•' | '–' | '—' | '|' | '→'
        | '*' => Break::Clause,
        '-' if last.is_some_and(char::is_whitespace) && next.is_some_and(char::is_whitespace) => {
            Break::Clause
        }
        _ => Break::None,
    }
}

/// "Lt. hemiparesis": true if the full stop ends an abbreviation of a side, and the line goes on.
fn abbreviates_side(text: &str, stop: usize) -> bool {
    let word = text[..stop].rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    let rest = text[stop + 1..].trim_start_matches([' ', '\t']);
    let side = matches!(word, "R" | "L") || ["rt", "lt"].contains(&word.to_lowercase().as_str());
    // "Sz. 없음".
    let seizure = word.eq_ignore_ascii_case("sz") && rest.starts_with(is_hangul);
    seizure || (side && rest.starts_with(char::is_alphanumeric))
}

fn rewritten(tokens: Vec<Token>, lexicon: &Lexicon) -> Vec<Token> {
    let mut out: Vec<Token> = Vec::with_capacity(tokens.len());
    let mut at = 0;
    while let Some(first) = tokens.get(at) {
        let rest = &tokens[at..];
        let fits = |row: &[String]| {
            rest.len() >= row.len()
                && rest.iter().zip(row).enumerate().all(|(index, (token, word))| {
                    token.word == *word && (index == 0 || token.before == Break::None)
                })
        };
        let found = lexicon.english_words.rewrites.iter().find(|(row, _)| fits(row));
        let mut token = first.clone();
        let length = found.map_or(1, |(row, _)| row.len());
        if let (Some((_, word)), Some(last)) = (found, rest.get(length - 1)) {
            token.word.clone_from(word);
            token.span.end = last.span.end;
        }
        out.push(token);
        at += length;
    }
    out
}

/// "Tremor는 없음".
fn mark_particles(tokens: &mut [Token], lexicon: &Lexicon) {
    for at in 1..tokens.len() {
        let joined = tokens[at - 1].script == Script::Latin
            && tokens[at - 1].span.end == tokens[at].span.start;
        let token = &mut tokens[at];
        token.particle = joined
            && token.script == Script::Hangul
            && lexicon.korean_words.particles.contains(&token.word);
    }
}

fn mark_neutral(tokens: &mut [Token], lexicon: &Lexicon) {
    for row in &lexicon.english_words.neutral {
        let mut from = 0;
        while let Some(at) = find_row(tokens, row, from) {
            tokens[at..at + row.len()].iter_mut().for_each(|token| token.neutral = true);
            from = at + row.len();
        }
    }
    // "Left with a headache": nothing before it that the side could be of.
    for at in 1..tokens.len() {
        let verb = tokens[at].word == "with" && tokens[at].before == Break::None;
        let left = &mut tokens[at - 1];
        left.neutral |= verb && left.word == "left" && left.before != Break::None;
    }
    let korean = &lexicon.korean_words;
    let begins =
        |word: &str, stems: &[String]| stems.iter().any(|stem| word.starts_with(stem.as_str()));
    for (first, second) in &korean.neutral_pairs {
        let mut since: Option<usize> = None;
        for (at, token) in tokens.iter_mut().enumerate() {
            if token.before != Break::None {
                since = None;
            }
            if token.word.starts_with(first.as_str()) {
                since = Some(at);
            } else if since.is_some_and(|since| at - since <= NEUTRAL_REACH_MAX) {
                token.neutral |= token.word.starts_with(second.as_str());
            }
        }
    }
    mark_sides_of_lesions(tokens, lexicon);
    let mut persists = false;
    for token in tokens.iter_mut().filter(|token| token.script == Script::Hangul) {
        let than = token.word.ends_with("보다");
        token.neutral |= than
            || begins(&token.word, &korean.neutral)
            || (persists && begins(&token.word, &korean.deny));
        // "참을 수 없다": the "수" between does not end it.
        persists = begins(&token.word, &korean.persist) || (persists && token.word == "수");
    }
}

/// "Aphasia after left frontal glioma", "좌측 전두엽 종양": the side is the lesion's, not the finding's.
fn mark_sides_of_lesions(tokens: &mut [Token], lexicon: &Lexicon) {
    let (english, korean) = (&lexicon.english_words, &lexicon.korean_words);
    let is_lesion = |token: &Token| match token.script {
        Script::Latin => english.lesions.contains(&token.word),
        Script::Hangul => korean.lesions.iter().any(|stem| token.word.contains(stem.as_str())),
    };
    let is_region = |token: &Token| match token.script {
        Script::Latin => english.regions.contains(&token.word),
        Script::Hangul => korean.regions.iter().any(|stem| token.word.starts_with(stem.as_str())),
    };
    for at in 0..tokens.len() {
        let rest = tokens[at + 1..].iter().take_while(|token| token.before == Break::None);
        let mut after =
            rest.take(LESION_REACH_MAX).skip_while(|&token| is_region(token) && !is_lesion(token));
        let one_word = tokens[at].script == Script::Hangul && is_lesion(&tokens[at]);
        if one_word || after.next().is_some_and(is_lesion) {
            tokens[at].side_of_lesion = true;
        }
    }
}

/// "R arm", "dysmetria L": a capital by itself, not "L-dopa", "R/O" or the initial of a name.
fn side_letter(text: &str, span: &Range<usize>) -> Option<Side> {
    let side = match text.get(span.clone())? {
        "R" => Side::Right,
        "L" => Side::Left,
        _ => return None,
    };
    let joins = |c: char| matches!(c, '-' | '/' | '&' | '+');
    let after = &text[span.end..];
    let sided = after.get(..6).is_some_and(|after| after.eq_ignore_ascii_case("-sided"));
    let alone = !text[..span.start].ends_with(joins) && (sided || !after.starts_with(joins));
    let rest = text[span.end..].trim_start_matches(['.', ' ']);
    let initial = text[span.end..].starts_with('.') && rest.starts_with(char::is_uppercase);
    (alone && !initial).then_some(side)
}

/// "Ringing in the left ear, deaf on that side", "the same foot": the side that was named last.
fn mark_same_sides(tokens: &mut [Token], lexicon: &Lexicon) {
    let mut last = None;
    for at in 0..tokens.len() {
        if tokens[at].before == Break::Sentence && at > 0 {
            last = last.filter(|_| tokens[at - 1].before != Break::Sentence);
        }
        let next = tokens.get(at + 1).filter(|next| next.before == Break::None);
        let place = next.is_some_and(|next| lexicon.english_words.places.contains(&next.word));
        let side = next.is_some_and(|next| next.word == "side");
        let token = &mut tokens[at];
        match (token.word.as_str(), token.side) {
            ("same", None) if side || place => token.side = last,
            ("that", None) if side => token.side = last,
            (_, Some(side)) if side != Side::Midline => last = Some(side),
            _ => {}
        }
    }
}

/// Farthest that a word stands before a side that is not the finding's because of it, in words.
const SIDE_OF_OTHER_REACH: usize = 4;

fn mark_sides(text: &str, tokens: &mut [Token], lexicon: &Lexicon) {
    let korean = &lexicon.korean_words;
    let is_part = |word: &str| korean.parts.iter().any(|part| word.starts_with(part.as_str()));
    for at in 0..tokens.len() {
        // "두 다리": in two words.
        let part_follows = tokens
            .get(at + 1)
            .is_some_and(|next| next.before == Break::None && is_part(&next.word));
        let next = tokens.get(at + 1).filter(|next| next.before == Break::None);
        // "Worse on the left than on the right", "eyes deviated to the left", "on left gaze".
        let mut before = tokens[..at].iter().rev().take(SIDE_OF_OTHER_REACH);
        let idle = |token: &&Token| {
            matches!(
                token.word.as_str(),
                "on" | "in" | "to" | "the" | "towards" | "his" | "her" | "my"
            )
        };
        let of_other = before.find(|token| !idle(token)).is_some_and(|token| {
            matches!(
                token.word.as_str(),
                "than" | "deviated" | "deviation" | "lying" | "looking" | "gazing" | "turning"
            )
        }) || next.is_some_and(|next| next.word == "gaze");
        // "왼쪽을 볼 때 복시", "우측 주시 시": where somebody looks.
        let looks = next.is_some_and(|next| {
            ["볼", "보면", "돌리", "돌릴", "누우", "누울", "주시", "고개"]
                .iter()
                .any(|stem| next.word.starts_with(stem))
        }) && !tokens.get(at + 2).is_some_and(|then| then.word.starts_with('수'));
        let token = &mut tokens[at];
        if token.neutral || token.side_of_lesion {
            continue;
        }
        if token.script == Script::Latin && of_other {
            // A side all the same, and understood.
            let side = lexicon.english_words.sides.contains_key(&token.word);
            token.neutral |= side || side_letter(text, &token.span).is_some();
            continue;
        }
        if token.script == Script::Latin {
            let side = lexicon.english_words.sides.get(&token.word).copied();
            token.side = side.or_else(|| side_letter(text, &token.span));
            continue;
        }
        if looks {
            continue;
        }
        let whole = korean.sides.iter().find(|(stem, _)| token.word.starts_with(stem.as_str()));
        let before_part = korean.sides_before_part.iter().find(|(stem, _)| {
            let rest = token.word.strip_prefix(stem.as_str());
            rest.is_some_and(|rest| is_part(rest) || (rest.is_empty() && part_follows))
        });
        if let Some((stem, side)) = whole.or(before_part) {
            token.side = Some(*side);
            token.side_bytes = stem.len();
        }
    }
}
