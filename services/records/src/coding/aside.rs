//! What is not the patient's, not now, or not real: relatives' illnesses, how it once was, and
//! what was ruled out or may come. Such words are set aside: nothing is read from them, and they
//! are listed as not understood.
//!
//! Somebody else who is the subject ("my brother has …", "형이 …") or the owner ("mother's …") begins
//! such words; they go on to the end of the sentence or until the patient is the subject again, and
//! after "my husband …" into sentences that begin with his pronoun. Who only reports ("his wife says
//! …") begins none.

use std::{collections::HashSet, ops::Range};

use super::{
    Writer,
    korean::closes_clause,
    token::{Break, Script, Token},
    words::find_row,
};
use crate::lexicon::{
    Lexicon,
    aside::{Kin, KoreanAside},
};

/// Farthest that a word of reporting stands behind who reports, in words.
const REPORT_REACH_MAX: usize = 3;
/// The same in Korean, where the verb comes last.
const KOREAN_REPORT_REACH_MAX: usize = 12;
/// Longest answer to who is meant after a sentence about somebody else, in words.
const PRONOUN_REACH_MAX: usize = 2;

/// Marks the words that are set aside, and makes clauses of them.
pub(super) fn mark(text: &str, tokens: &mut [Token], lexicon: &Lexicon, writer: Writer) {
    let mut aside = vec![false; tokens.len()];
    empty_boxes(text, tokens, &mut aside);
    let mut carried = None;
    for sentence in runs(tokens, |at| tokens[at].before == Break::Sentence) {
        carried = others(text, tokens, &sentence, carried, &mut aside, lexicon, writer);
        korean_others(tokens, &sentence, &mut aside, lexicon, writer);
        let and_now = |at: usize| {
            let word = |at: usize| tokens.get(at).map(|token| token.word.as_str());
            word(at) == Some("and") && word(at + 1) == Some("now")
        };
        let ends = |at: usize| {
            and_now(at)
                || tokens[at].before != Break::None
                || lexicon.english_words.deny_end.contains(&tokens[at].word)
                || closes_clause(&tokens[at - 1], lexicon)
        };
        let parts = runs_in(sentence, ends);
        advice(tokens, &parts, &mut aside, lexicon);
        korean_advice(tokens, &parts, &mut aside, lexicon);
        for (index, part) in parts.iter().enumerate() {
            once(tokens, &parts, index, &mut aside, lexicon);
            unreal(tokens, part, &mut aside, lexicon);
        }
    }
    for at in 0..tokens.len() {
        let (Some(token), Some(&is)) = (tokens.get_mut(at), aside.get(at)) else { continue };
        token.aside = is;
        if at > 0 && aside.get(at - 1) != Some(&is) {
            token.before = token.before.max(Break::Clause);
        }
    }
}

fn runs(tokens: &[Token], begins: impl Fn(usize) -> bool) -> Vec<Range<usize>> {
    runs_in(0..tokens.len(), begins)
}

fn runs_in(all: Range<usize>, begins: impl Fn(usize) -> bool) -> Vec<Range<usize>> {
    let mut runs = Vec::new();
    let mut start = all.start;
    for at in all.start + 1..=all.end {
        if at == all.end || begins(at) {
            runs.push(start..at);
            start = at;
        }
    }
    runs
}

fn fill(aside: &mut [bool], range: Range<usize>) {
    if let Some(words) = aside.get_mut(range) {
        words.fill(true);
    }
}

/// Returns the end of the longest of `rows` that begins at a word.
fn row_end(tokens: &[Token], at: usize, rows: &[Vec<String>]) -> Option<usize> {
    let rest = tokens.get(at..)?;
    let fits = |row: &&Vec<String>| {
        rest.len() >= row.len() && rest.iter().zip(*row).all(|(token, word)| token.word == *word)
    };
    rows.iter().filter(fits).map(|row| at + row.len()).max()
}

/// Sets aside what is said of somebody else; returns who is meant if the sentence ends with them
/// and they are the writer's own: "my husband …".
fn others(
    text: &str,
    tokens: &[Token],
    sentence: &Range<usize>,
    carried: Option<Kin>,
    aside: &mut [bool],
    lexicon: &Lexicon,
    writer: Writer,
) -> Option<Kin> {
    let words = &lexicon.english_words.aside;
    let first = tokens.get(sentence.clone()).unwrap_or_default();
    let mut first = first.iter().take(PRONOUN_REACH_MAX);
    let goes_on = carried.filter(|kin| first.any(|token| words.means(&token.word, *kin)));
    let (mut other, mut own) = (goes_on, goes_on.is_some());
    for at in sentence.clone() {
        let token = &tokens[at];
        if token.script != Script::Latin {
            if lexicon.korean_words.aside.patient.contains(&token.word) {
                other = None;
            }
            continue;
        }
        if row_end(tokens, at, &lexicon.english_words.others).is_some() {
            (other, own) = (Some(Kin::Family), false);
        } else if let Some(kin) =
            words.kin(&token.word).filter(|_| is_meant(text, tokens, at, lexicon))
            && !(writer == Writer::Relative && is_writers_own(text, tokens, at, lexicon))
        {
            let owner = at.checked_sub(1).map(|before| tokens[before].word.as_str());
            if owner.is_some_and(|owner| words.owners.contains(owner)) {
                fill(aside, at - 1..at);
            }
            (other, own) = (Some(kin), matches!(owner, Some("my" | "our")));
        } else if let Some(kin) = other
            && (words.returns(&token.word, kin)
                || (kin == Kin::Family && words.presents.contains(&token.word)))
        {
            other = None;
        }
        if other.is_some() {
            fill(aside, at..at + 1);
        }
    }
    other.filter(|_| own)
}

/// Returns true if a relative is the writer's: "my mum", "Mum", not "her mum" or "mum's brother".
fn is_writers_own(text: &str, tokens: &[Token], at: usize, lexicon: &Lexicon) -> bool {
    let words = &lexicon.english_words.aside;
    let joined = tokens[at].before == Break::None;
    let before = at.checked_sub(1).map(|before| &tokens[before]).filter(|_| joined);
    before.is_none_or(|before| {
        let others = words.owners.contains(&before.word)
            && !matches!(before.word.as_str(), "my" | "our" | "the");
        let owned = text.get(before.span.clone()).is_some_and(|word| word.contains(['\'', '’']));
        let of_kin = owned && words.kin(&before.word).is_some();
        !others && !of_kin
    })
}

/// Returns true if a relative is who the words that follow are about.
fn is_meant(text: &str, tokens: &[Token], at: usize, lexicon: &Lexicon) -> bool {
    let words = &lexicon.english_words.aside;
    let token = &tokens[at];
    let joined = |other: &&Token| other.before == Break::None;
    let next = tokens.get(at + 1).filter(joined);
    let owns = text.get(token.span.clone()).is_some_and(|word| word.contains(['\'', '’']));
    let subject = next.is_some_and(|next| matches!(next.word.as_str(), "who" | "whose"));
    // Back over "my": "seen by my wife", "a mother", "54-year-old grandmother".
    let mut before = at.checked_sub(1).filter(|_| token.before == Break::None);
    if before.is_some_and(|at| words.owners.contains(&tokens[at].word)) {
        before =
            before.filter(|&at| tokens[at].before == Break::None).and_then(|at| at.checked_sub(1));
    }
    let led = before.is_some_and(|at| words.not_after.contains(&tokens[at].word));
    let of = next.is_some_and(|next| next.word == "of");
    let rest = tokens.get(at + 1..).unwrap_or_default().iter().take_while(joined);
    let reports = rest.take(REPORT_REACH_MAX).any(|token| words.reports.contains(&token.word));
    (owns || subject || (!led && !of)) && !reports
}

fn korean_others(
    tokens: &[Token],
    sentence: &Range<usize>,
    aside: &mut [bool],
    lexicon: &Lexicon,
    writer: Writer,
) {
    let words = &lexicon.korean_words.aside;
    let stems = &lexicon.korean_words.others;
    let (mut other, mut history) = (false, false);
    for at in sentence.clone() {
        let token = &tokens[at];
        if token.script != Script::Hangul {
            if other {
                fill(aside, at..at + 1);
            }
            continue;
        }
        let rest = tokens.get(at + 1..sentence.end).unwrap_or_default();
        let reports = || {
            let near = rest.iter().take_while(|token| token.before == Break::None);
            let mut near = near.take(KOREAN_REPORT_REACH_MAX);
            near.any(|token| words.reports.iter().any(|stem| token.word.starts_with(stem)))
        };
        let begins =
            |stems: &[String]| stems.iter().any(|stem| token.word.starts_with(stem.as_str()));
        if begins(stems) {
            (other, history) = (true, true);
        } else if words.is_kin(&token.word)
            && !reports()
            && (writer == Writer::Other || belongs_to_kin(tokens, at, words))
        {
            (other, history) = (true, false);
        } else if history
            && (begins(&lexicon.korean_words.deny) || words.holder.contains(&token.word))
        {
            // "특이 과거력 없는 자로 …".
            fill(aside, at..at + 1);
            (other, history) = (false, false);
        } else if words.patient.contains(&token.word) {
            other = false;
        }
        if other {
            fill(aside, at..at + 1);
        }
    }
}

/// "어머니의 오빠가", "엄마 오빠가".
fn belongs_to_kin(tokens: &[Token], at: usize, words: &KoreanAside) -> bool {
    let before = at.checked_sub(1).map(|before| &tokens[before].word);
    before.is_some_and(|before| {
        words
            .kin
            .iter()
            .filter_map(|kin| before.strip_prefix(kin.as_str()))
            .any(|rest| matches!(rest, "의" | "") && before.chars().nth(1).is_some())
    })
}

/// "As a child", "used to have", "none since"; "어릴 때".
fn once(
    tokens: &[Token],
    parts: &[Range<usize>],
    index: usize,
    aside: &mut [bool],
    lexicon: &Lexicon,
) {
    let english = &lexicon.english_words.aside;
    let Some(part) = parts.get(index) else { return };
    let within =
        |at: usize, rows: &[Vec<String>]| row_end(tokens, at, rows).filter(|&end| end <= part.end);
    for at in part.clone() {
        if let Some(end) = within(at, &english.once) {
            // "Since he was a child" is now.
            let since = at > part.start && tokens[at - 1].word == "since";
            if since {
                continue;
            }
            fill(aside, part.clone());
            // "As a child, he had …".
            if end - at == part.len()
                && let Some(next) = parts.get(index + 1)
            {
                fill(aside, next.clone());
            }
        } else if within(at, &english.once_after).is_some() {
            fill(aside, at..part.end);
        } else if within(at, &english.ceased).is_some() {
            let turns = |token: &Token| lexicon.english_words.deny_end.contains(&token.word);
            if !tokens[part.start..at].iter().all(turns) {
                fill(aside, part.clone());
            } else if let Some(last) = index.checked_sub(1).and_then(|last| parts.get(last)) {
                fill(aside, last.start..part.end);
            }
        }
        let korean = &lexicon.korean_words.aside;
        let fits = |row: &&Vec<String>| {
            row.iter().enumerate().all(|(offset, word)| {
                tokens[..part.end].get(at + offset).is_some_and(|token| token.word == *word)
            })
        };
        if korean.once.iter().any(|row| fits(&row)) {
            fill(aside, at..part.end);
        }
    }
}

/// "[ ] headache [x] vomiting", "□ 두통 ■ 구토": what stands behind an empty box.
fn empty_boxes(text: &str, tokens: &[Token], aside: &mut [bool]) {
    let mut empty = false;
    let mut end = 0;
    for (at, token) in tokens.iter().enumerate() {
        let between = text.get(end..token.span.start).unwrap_or_default();
        end = token.span.end;
        if between.contains(['□', '☐', '■', '☑', '☒', '✓', '✔', '[']) {
            empty = ["□", "☐", "[ ]", "[]"].iter().any(|sign| between.trim_end().ends_with(sign));
        } else if token.before == Break::Sentence {
            empty = false;
        }
        if empty {
            fill(aside, at..at + 1);
        }
    }
}

/// "Return if he develops headache, vomiting or drowsiness", "side effects including …": what may come, to the end of its
/// list.
fn advice(tokens: &[Token], parts: &[Range<usize>], aside: &mut [bool], lexicon: &Lexicon) {
    let words = &lexicon.english_words;
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return };
    let sentence = first.start..last.end;
    let advises = |token: &Token| words.aside.advice.contains(&token.word);
    if tokens[sentence.clone()].iter().any(advises)
        && let Some(at) = sentence.clone().find(|&at| tokens[at].word == "if")
    {
        fill(aside, at..sentence.end);
    }
    for row in &words.aside.listed {
        let Some(at) = find_row(&tokens[..sentence.end], row, sentence.start) else { continue };
        let index = parts.iter().position(|part| part.contains(&at)).unwrap_or_default();
        // The list ends where somebody has, or does, something.
        let ends = |part: &&Range<usize>| {
            let any = |set: &HashSet<String>| {
                tokens[(*part).clone()].iter().any(|token| set.contains(&token.word))
            };
            (any(&words.restart) || any(&words.attributes.predicate)) && !any(&words.aside.told)
        };
        let end = parts[index + 1..].iter().find(ends).map_or(sentence.end, |part| part.start);
        fill(aside, at..end);
    }
}

/// "두통, 구토가 생기면 내원하도록 교육함", "졸림, 우울을 일으킬 수 있음을 설명함".
fn korean_advice(tokens: &[Token], parts: &[Range<usize>], aside: &mut [bool], lexicon: &Lexicon) {
    let (Some(first), Some(last)) = (parts.first(), parts.last()) else { return };
    let sentence = first.start..last.end;
    let hangul = |at: &usize| tokens[*at].script == Script::Hangul;
    let has = |at: usize, stems: &[&str]| stems.iter().any(|stem| tokens[at].word.contains(stem));
    let find = |range: Range<usize>, stems: &[&str]| {
        range.into_iter().rev().filter(hangul).find(|&at| has(at, stems))
    };
    // Where what is said of the patient ends: "두통으로", "호소하여".
    let start = |at: usize| {
        let ends =
            |at: &usize| tokens[*at].word.ends_with('로') || closes_clause(&tokens[*at], lexicon);
        (sentence.start..at).rev().find(ends).map_or(sentence.start, |at| at + 1)
    };
    let if_so = |range: Range<usize>| {
        range.into_iter().rev().filter(hangul).find(|&at| {
            let word = tokens[at].word.as_str();
            word.ends_with('면') || word.ends_with("경우") || word == "시"
        })
    };
    if let Some(told) = find(sentence.clone(), &["도록", "오라고", "가라고"])
        && let Some(at) = if_so(sentence.start..told)
    {
        fill(aside, start(at)..told + 1);
    }
    if let Some(told) = find(sentence.clone(), &["설명", "교육", "고지", "안내"]) {
        let risk = find(sentence.start..told, &["부작용", "위험", "가능성"]);
        let may =
            (sentence.start + 1..told).find(|&at| tokens[at - 1].word == "수" && has(at, &["있"]));
        let from = risk.map(|at| start(at).min(at)).or(may.map(start));
        if let Some(from) = from {
            fill(aside, from..told + 1);
        }
    }
}

/// "Ruled out …", "to prevent …", "in case of …"; "… 예방".
fn unreal(tokens: &[Token], part: &Range<usize>, aside: &mut [bool], lexicon: &Lexicon) {
    let english = &lexicon.english_words.aside;
    let words = &tokens[..part.end];
    for row in &english.unreal {
        let mut from = part.start;
        while let Some(at) = find_row(words, row, from) {
            from = at + row.len();
            // "Papilledema was ruled out".
            let range = if from == part.end { part.start..from } else { at..part.end };
            fill(aside, range);
        }
    }
    for row in &english.feared {
        if let Some(at) = find_row(words, row, part.start) {
            fill(aside, at + row.len()..part.end);
        }
    }
    for row in &english.unreal_after {
        if let Some(at) = find_row(words, row, part.start) {
            fill(aside, part.start..at + row.len());
        }
    }
    for at in part.clone() {
        let token = &tokens[at];
        let begins = |stem: &String| token.word.starts_with(stem.as_str());
        if token.script == Script::Hangul && lexicon.korean_words.aside.unreal.iter().any(begins) {
            // "두통으로 뇌종양 감별", "두통이 있어 예방약": the headache is why.
            let assert = &lexicon.korean_words.assert;
            let cause = tokens[part.start..at].iter().rposition(|token| {
                token.word.ends_with('로') || assert.iter().any(|stem| token.word.starts_with(stem))
            });
            fill(aside, cause.map_or(part.start, |cause| part.start + cause + 1)..at + 1);
        }
    }
}
