//! Reads what words say of findings, before it is known of which.

use std::{cmp::Reverse, ops::Range};

use super::{
    super::{
        english::is_transparent,
        leftover::is_unknown,
        token::{Break, Script, Token},
        words::plain_word,
    },
    scene::Scene,
};
use crate::{
    coding::Course,
    lexicon::attributes::{AS_WRITTEN, Attribute, AttributeRow, GAP, SpanUnit, span_onset},
};

/// Most idle words between two words of a row.
const IDLE_MAX: usize = 2;
/// Most words that stand for a gap.
const GAP_MAX: usize = 6;
/// Farthest that a denial stands before what it denies, in words.
const DENIAL_REACH_MAX: usize = 3;
/// Most words of no weight between a manner and the course that it is about.
const MANNER_REACH_MAX: usize = 2;
/// Farthest that a circumstance stands from the course that it explains, in words.
const CIRCUMSTANCE_REACH_MAX: usize = 2;

/// Words that say something of a finding.
pub(super) struct Said {
    /// From the first word to the last.
    pub(super) at: Range<usize>,
    pub(super) tokens: Vec<usize>,
    pub(super) says: Attribute,
    /// Words in the row.
    pub(super) words: usize,
    pub(super) script: Script,
    /// A span of development: "over weeks".
    pub(super) span: bool,
}

struct Fit {
    tokens: Vec<usize>,
    says: Option<Attribute>,
    words: usize,
    bytes: usize,
    span: bool,
}

/// Returns what the text says, in its order; the longest rows win their words.
pub(super) fn said(scene: &Scene<'_>) -> Vec<Said> {
    let mut fits = Vec::new();
    for at in 0..scene.tokens.len() {
        fits.extend(rows(scene, at));
        fits.extend(span(scene, at));
    }
    fits.sort_by_key(|fit| (Reverse(fit.words), Reverse(fit.bytes), fit.tokens.first().copied()));
    let mut taken = vec![false; scene.tokens.len()];
    let mut said = Vec::new();
    for fit in fits {
        if fit.tokens.iter().any(|&at| taken[at]) {
            continue;
        }
        fit.tokens.iter().for_each(|&at| taken[at] = true);
        let (Some(&first), Some(&last)) = (fit.tokens.first(), fit.tokens.last()) else { continue };
        let Some(says) = fit.says else { continue };
        let Fit { tokens, words, span, .. } = fit;
        let script = scene.tokens[first].script;
        said.push(Said { at: first..last + 1, tokens, says, words, script, span });
    }
    said.sort_by_key(|one| one.at.start);
    said.retain(|one| !is_denied(scene, one, &taken) && !is_name(scene, one));
    said.retain(|one| !is_circumstantial(scene, one) && !has_become(scene, one));
    let courses: Vec<Option<usize>> =
        (0..said.len()).map(|index| course_of(scene, &said, index)).collect();
    for (index, course) in courses.iter().enumerate() {
        // They are understood with the course.
        let Some(course) = *course else { continue };
        let tokens = said.get(index).map(|one| one.tokens.clone()).unwrap_or_default();
        if let Some(course) = said.get_mut(course) {
            course.tokens.extend(tokens);
        }
    }
    let mut courses = courses.into_iter();
    said.retain(|_| courses.next().flatten().is_none());
    said
}

fn rows(scene: &Scene<'_>, at: usize) -> Vec<Fit> {
    let token = &scene.tokens[at];
    let rows = &scene.words_of(token.script).rows;
    let keys = match token.script {
        Script::Latin => vec![token.word.clone(), format!("{AS_WRITTEN}{}", written(scene, token))],
        Script::Hangul => vec![token.word.chars().take(1).collect()],
    };
    let rows = keys.iter().filter_map(|key| rows.get(key)).flatten();
    let fit = |row: &AttributeRow| {
        let tokens = row_at(scene, at, &row.words)?;
        let words = row.words.iter().filter(|word| *word != GAP);
        let (words, bytes) = (words.clone().count(), words.map(String::len).sum());
        // "Memory is getting worse": the finding's word says it too.
        let own = tokens.iter().filter(|&&at| scene.is_owned(at)).count();
        let course =
            matches!(row.says, Some(Attribute::Course(course)) if course != Course::Resolved);
        let course = course && own < tokens.len();
        (own == 0 || course).then_some(Fit { tokens, says: row.says, words, bytes, span: false })
    };
    rows.filter_map(fit).collect()
}

fn written(scene: &Scene<'_>, token: &Token) -> String {
    plain_word(scene.text.slice(token.span.clone()))
}

fn is_word(scene: &Scene<'_>, token: &Token, word: &str) -> bool {
    match token.script {
        Script::Latin => word
            .strip_prefix(AS_WRITTEN)
            .map_or_else(|| token.word == word, |word| written(scene, token) == word),
        Script::Hangul => token.word.starts_with(word),
    }
}

/// Returns the words that a row takes if it begins at a word.
pub(super) fn row_at(scene: &Scene<'_>, at: usize, row: &[String]) -> Option<Vec<usize>> {
    let first = scene.tokens.get(at)?;
    let mut words = row.iter();
    let word = words.next()?;
    // A first stem of one letter would begin too many words.
    let short = first.script == Script::Hangul && word.chars().nth(1).is_none();
    if !is_word(scene, first, word) || (short && first.word != *word) {
        return None;
    }
    let mut taken = vec![at];
    let (mut next, mut gap) = (at + 1, false);
    for word in words {
        if word == GAP {
            gap = true;
            continue;
        }
        let limit = match (gap, first.script) {
            (true, _) => GAP_MAX,
            (false, Script::Latin) => IDLE_MAX,
            (false, Script::Hangul) => 0,
        };
        let window = scene.tokens.get(next..)?.iter().enumerate().take(limit + 1);
        let mut place = None;
        for (skipped, token) in window {
            if token.before != Break::None || token.script != first.script {
                return None;
            }
            if is_word(scene, token, word) {
                place = Some(next + skipped);
                break;
            }
            let passes = if gap {
                is_transparent(token, &scene.lexicon.english_words)
                    || !scene.resting_on(next + skipped).is_empty()
            } else {
                scene.lexicon.english_words.idle.contains(&token.word)
            };
            if !passes {
                return None;
            }
        }
        let place = place?;
        taken.push(place);
        (next, gap) = (place + 1, false);
    }
    Some(taken)
}

fn any_row_at(scene: &Scene<'_>, at: usize, rows: &[Vec<String>]) -> bool {
    rows.iter().any(|row| row_at(scene, at, row).is_some())
}

fn span(scene: &Scene<'_>, at: usize) -> Option<Fit> {
    let (tokens, unit, count) = match scene.tokens.get(at)?.script {
        Script::Latin => english_span(scene, at)?,
        Script::Hangul => korean_span(scene, at)?,
    };
    let says = Some(Attribute::Onset(span_onset(unit, count)));
    // Its words win over any row that begins in it.
    Some(Fit { words: tokens.len() + 1, tokens, says, bytes: 0, span: true })
}

/// "Over weeks", "within two hours"; "over the past three weeks" only beside "developed".
fn english_span<'a>(
    scene: &Scene<'a>,
    at: usize,
) -> Option<(Vec<usize>, &'a SpanUnit, Option<u64>)> {
    let words = &scene.lexicon.english_words.attributes;
    let first = &scene.tokens[at];
    let mut needs_development = words.span_if_develops.contains(&first.word);
    if !needs_development && !words.span.contains(&first.word) {
        return None;
    }
    let before = at.checked_sub(1).and_then(|before| scene.tokens.get(before));
    if before.is_some_and(|before| words.span_not_after.contains(&before.word)) {
        return None;
    }
    let (mut tokens, mut count, mut next) = (vec![at], None, at + 1);
    let mut one = false;
    loop {
        let token = scene.tokens.get(next).filter(|token| token.before == Break::None)?;
        tokens.push(next);
        next += 1;
        if let Some(unit) = words.units.iter().find(|unit| unit.words.contains(&token.word)) {
            let after = scene.tokens.get(next).filter(|after| after.before == Break::None);
            if after.is_some_and(|after| words.span_not_before.contains(&after.word)) {
                return None;
            }
            // "Over three weeks" may mean for more than three weeks.
            needs_development |= count.is_some() && first.word != "within";
            let developed = || scene.develops(scene.segment(at));
            let count = count.or(one.then_some(1));
            return (!needs_development || developed()).then_some((tokens, unit, count));
        }
        // "A month", but not "a few months".
        one = matches!(token.word.as_str(), "a" | "an");
        let number = words.numbers.get(&token.word).copied().or_else(|| token.word.parse().ok());
        needs_development |= words.span_window.contains(&token.word) || token.word == "the";
        count = number.or(count);
        let idle = words.span_idle.contains(&token.word)
            || words.span_vague.contains(&token.word)
            || words.span_window.contains(&token.word);
        if number.is_none() && !idle {
            return None;
        }
    }
}

/// "3주에 걸쳐", "몇 달에 걸쳐".
fn korean_span<'a>(
    scene: &Scene<'a>,
    at: usize,
) -> Option<(Vec<usize>, &'a SpanUnit, Option<u64>)> {
    let words = &scene.lexicon.korean_words.attributes;
    let last = &scene.tokens[at];
    if !words.span.iter().any(|word| last.word.starts_with(word.as_str())) {
        return None;
    }
    let before = at.checked_sub(1)?;
    let time = scene.tokens.get(before).filter(|_| last.before == Break::None)?;
    // "두 달에 걸쳐", "이틀 사이에".
    let stem = time.word.strip_suffix('에').unwrap_or(&time.word);
    let length = |unit: &&SpanUnit| {
        unit.words.iter().filter(|word| stem.ends_with(word.as_str())).map(String::len).max()
    };
    let unit = words.units.iter().filter(|unit| length(unit).is_some()).max_by_key(length)?;
    let number = before.checked_sub(1).and_then(|at| {
        let token = scene.tokens.get(at).filter(|_| time.before == Break::None)?;
        Some((at, token.word.parse().ok().or_else(|| words.numbers.get(&token.word).copied())?))
    });
    let mut tokens = vec![before, at];
    if let Some((at, _)) = number {
        tokens.insert(0, at);
    }
    Some((tokens, unit, number.map(|(_, number)| number)))
}

/// "Not severe", "심하지 않다".
fn is_denied(scene: &Scene<'_>, said: &Said, taken: &[bool]) -> bool {
    let segment = scene.segment(said.at.start);
    let before = (segment.start..said.at.start).rev();
    match said.script {
        Script::Latin => {
            let deny = &scene.lexicon.english_words.deny;
            for at in before.take(DENIAL_REACH_MAX).take_while(|&at| !taken[at]) {
                if deny.contains_key(&scene.tokens[at].word) && !scene.is_owned(at) {
                    return true;
                }
                if !scene.is_idle(at) {
                    return false;
                }
            }
            false
        }
        Script::Hangul => {
            let words = &scene.lexicon.korean_words;
            let begins = |token: &Token| words.deny.iter().any(|stem| token.word.starts_with(stem));
            let next = scene.tokens.get(said.at.end).filter(|_| segment.contains(&said.at.end));
            let last = before.take(1).next().map(|at| &scene.tokens[at].word);
            last.is_some_and(|word| words.deny_before.contains(word))
                || next.is_some_and(|next| begins(next) && scene.resting_on(said.at.end).is_empty())
        }
    }
}

/// "Mr Sudden", "John Sudden".
fn is_name(scene: &Scene<'_>, said: &Said) -> bool {
    let capital = |token: &Token| {
        scene.text.slice(token.span.clone()).starts_with(|c: char| c.is_uppercase())
    };
    let Some(before) = said.at.start.checked_sub(1).and_then(|at| scene.tokens.get(at)) else {
        return false;
    };
    let token = &scene.tokens[said.at.start];
    let titles = &scene.lexicon.english_words.attributes.titles;
    let named = token.before == Break::None
        && capital(before)
        && scene.resting_on(said.at.start - 1).is_empty()
        && is_unknown(before, &[], &[], scene.lexicon);
    said.script == Script::Latin && capital(token) && (titles.contains(&before.word) || named)
}

/// Returns true for a change that is not lasting: "worsening", not "progressive".
fn is_change(scene: &Scene<'_>, said: &Said) -> bool {
    match said.says {
        Attribute::Course(Course::Worsening | Course::Improving | Course::Resolved) => {
            !scene.develops(said.at.clone())
        }
        Attribute::Course(Course::Stable | Course::Fluctuating)
        | Attribute::Onset(_)
        | Attribute::Severity(_) => false,
    }
}

/// "Worse in the morning", "누우면 심해진다": says when, not how it goes on.
fn is_circumstantial(scene: &Scene<'_>, said: &Said) -> bool {
    let resolved = matches!(said.says, Attribute::Course(Course::Resolved));
    if !is_change(scene, said) || (resolved && said.script == Script::Latin) {
        return false;
    }
    let segment = scene.segment(said.at.start);
    let rows = &scene.words_of(said.script).circumstance;
    match said.script {
        Script::Latin => {
            let after = (said.at.end..segment.end).take(CIRCUMSTANCE_REACH_MAX);
            let near = |&at: &usize| at == said.at.end || scene.is_idle(at - 1);
            after.take_while(near).any(|at| any_row_at(scene, at, rows))
        }
        Script::Hangul => {
            let before = (segment.start..said.at.start).rev().take(CIRCUMSTANCE_REACH_MAX);
            // "약 먹으면 없어져요": it has not gone for good; "아침에 없어졌다" it has.
            let counts = |ending: &&String| !resolved || ending.as_str() == "면";
            let mut endings = rows.iter().flatten().filter(counts);
            before.into_iter().any(|at| {
                endings.clone().any(|ending| scene.tokens[at].word.ends_with(ending.as_str()))
            }) && endings.next().is_some()
        }
    }
}

/// "Has gone numb": the finding has come, not gone.
fn has_become(scene: &Scene<'_>, said: &Said) -> bool {
    let gone = said.at.end.checked_sub(1).map(|last| &scene.tokens[last]);
    let next = scene.tokens.get(said.at.end).filter(|next| next.before == Break::None);
    matches!(said.says, Attribute::Course(Course::Resolved))
        && gone.is_some_and(|gone| gone.word == "gone")
        && next.is_some()
        && !scene.resting_on(said.at.end).is_empty()
}

/// Returns the course that it is said of if it is not of the finding: "suddenly got worse", "a
/// little better".
fn course_of(scene: &Scene<'_>, said: &[Said], index: usize) -> Option<usize> {
    let one = said.get(index)?;
    let segment = scene.segment(one.at.start);
    let change = |at: &usize| {
        let other = said.get(*at);
        other.is_some_and(|other| segment.contains(&other.at.start) && is_change(scene, other))
    };
    let next = Some(index + 1).filter(change);
    let last = index.checked_sub(1).filter(change);
    let at = |index: usize| said.get(index).map(|one| one.at.clone()).unwrap_or_default();
    match one.says {
        Attribute::Onset(_) if one.span => {
            let developed = scene.develops(segment.clone());
            (0..said.len()).find(|index| !developed && change(index))
        }
        Attribute::Onset(_) => {
            let near = |mut between: Range<usize>| {
                between.len() <= MANNER_REACH_MAX && between.all(|at| scene.is_idle(at))
            };
            // "Sudden onset" is of the finding.
            if scene.develops(one.at.end..one.at.end + 1) {
                return None;
            }
            let next = next.filter(|&next| near(one.at.end..at(next).start));
            next.or_else(|| last.filter(|&last| near(at(last).end..one.at.start)))
        }
        Attribute::Severity(_) => next.filter(|&next| {
            let last = one.at.end.checked_sub(1).and_then(|last| scene.tokens.get(last));
            let word = last.map(|last| written(scene, last)).unwrap_or_default();
            let adverb = word.ends_with("ly") || matches!(word.as_str(), "little" | "bit");
            let noun = !scene.resting_on(at(next).end).is_empty();
            at(next).start == one.at.end && (one.script == Script::Hangul || adverb || !noun)
        }),
        Attribute::Course(_) => None,
    }
}
