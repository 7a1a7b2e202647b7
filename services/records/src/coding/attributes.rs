//! Onset, course and severity: "sudden severe headache", "weakness that is getting worse".
//!
//! What is said goes to the nearest finding of its clause: forward from what stands before a noun,
//! backward from what is said of a subject. It reaches over words of no weight and over what else
//! is said, never over a denial or over a word that is not understood, which it may be about:
//! "headache in mild weather". Findings joined by "and" share an onset or a course; a severity
//! only if they are said to ("headache and nausea are severe"): "severe headache and nausea" says
//! no more than that the headache is severe. A clause of nothing but such words belongs to the
//! finding before it. A denied finding has none of them.

mod reading;
mod scene;

use std::{collections::HashSet, ops::Range};

use self::{
    reading::Said,
    scene::{Scan, Scene},
};
use super::{
    Course,
    english::is_conjunction,
    matches::Match,
    token::{Break, Script, Text, Token},
};
use crate::lexicon::{Lexicon, attributes::Attribute};

/// Farthest that findings share what is said, in findings.
const LIST_MAX: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Forward,
    Backward,
}

/// What is said, of which finding, and where the finding stands from there.
struct Link {
    said: usize,
    target: usize,
    direction: Direction,
}

/// Gives the findings what the text says of them; returns the words that said it.
pub(super) fn attach(text: &Text, found: &mut [Match], lexicon: &Lexicon) -> Vec<Range<usize>> {
    let mut scene = Scene::of(text, found, lexicon);
    let said = reading::said(&scene);
    scene.note(&said);
    let mut links = Vec::new();
    let mut lone = Vec::new();
    for (index, one) in said.iter().enumerate() {
        let segment = scene.segment(one.at.start);
        let aside = scene.tokens.get(one.at.start).is_some_and(|token| token.aside);
        // "The weakness he had in the past has gone".
        let gone = matches!(one.says, Attribute::Course(Course::Resolved));
        if aside || (scene.is_past(&segment) && !gone) {
            continue;
        }
        if scene.is_lone(&segment) {
            lone.extend(beside(&scene, found, &segment).map(|(target, direction)| Link {
                said: index,
                target,
                direction,
            }));
            continue;
        }
        let (targets, direction) = nearest(&scene, one, &segment);
        links.extend(targets.into_iter().map(|target| Link { said: index, target, direction }));
    }
    links.extend(lone);

    let mut used = vec![false; said.len()];
    for link in &links {
        let Some(one) = said.get(link.said) else { continue };
        if found.get_mut(link.target).is_some_and(|target| give(target, one.says)) {
            used[link.said] = true;
        }
    }
    let links = links.iter().filter(|link| used.get(link.said) == Some(&true));
    for link in links {
        if let Some(one) = said.get(link.said) {
            share(&scene, found, one, link);
        }
    }
    let words = said.iter().zip(&used).filter(|(_, used)| **used).flat_map(|(one, _)| &one.tokens);
    words.filter_map(|&at| Some(scene.tokens.get(at)?.span.clone())).collect()
}

/// Gives a finding what is said, unless it is denied or has one of the kind; returns true if so.
fn give(target: &mut Match, says: Attribute) -> bool {
    if !target.present {
        return false;
    }
    match says {
        Attribute::Onset(onset) if target.onset.is_none() => target.onset = Some(onset),
        Attribute::Course(course) if target.course.is_none() => target.course = Some(course),
        Attribute::Severity(severity) if target.severity.is_none() => {
            target.severity = Some(severity);
        }
        Attribute::Onset(_) | Attribute::Course(_) | Attribute::Severity(_) => return false,
    }
    true
}

fn nearest(scene: &Scene<'_>, said: &Said, segment: &Range<usize>) -> (Vec<usize>, Direction) {
    // "Worst headache of my life".
    let within: Vec<usize> = said.at.clone().flat_map(|at| scene.resting_on(at)).copied().collect();
    if !within.is_empty() {
        return (within, Direction::Forward);
    }
    let forward = || (scene.forward(said.at.end, segment), Direction::Forward);
    let backward = || (scene.backward(said.at.start, segment), Direction::Backward);
    let order: [(Scan, Direction); 2] = if backward_first(scene, said, segment) {
        [backward(), forward()]
    } else if is_of_another(scene, said, segment) {
        return (Vec::new(), Direction::Forward);
    } else {
        [forward(), backward()]
    };
    for (scan, direction) in order {
        match scan {
            Scan::Found(targets) => return (targets, direction),
            Scan::Blocked => break,
            Scan::End => {}
        }
    }
    (Vec::new(), Direction::Forward)
}

/// "감기가 갑자기 …": the subject before it is not understood, so that it may be said of that.
fn is_of_another(scene: &Scene<'_>, said: &Said, segment: &Range<usize>) -> bool {
    let before = (segment.start..said.at.start).rev();
    said.script == Script::Hangul
        && before
            .into_iter()
            .find(|&at| !scene.resting_on(at).is_empty() || !scene.passes(at))
            .filter(|&at| scene.resting_on(at).is_empty())
            .is_some_and(|at| {
                let subject = &scene.words_of(Script::Hangul).stop;
                subject.iter().any(|ending| scene.tokens[at].word.ends_with(ending.as_str()))
            })
}

/// Returns true if the words say it of a subject before them: "the pain is severe", "두통이 심하다".
fn backward_first(scene: &Scene<'_>, said: &Said, segment: &Range<usize>) -> bool {
    let token =
        |at: Option<usize>| at.filter(|at| segment.contains(at)).map(|at| &scene.tokens[at]);
    match said.script {
        Script::Latin => {
            let words = scene.words_of(Script::Latin);
            let mut before = said.at.start.checked_sub(1);
            while token(before).is_some_and(|word| words.degree.contains(&word.word)) {
                before = before.and_then(|at| at.checked_sub(1));
            }
            let copula = token(before).is_some_and(|word| words.predicate.contains(&word.word));
            let subject = before.and_then(|at| at.checked_sub(1));
            let there = token(subject).is_some_and(|word| word.word == "there");
            let course = matches!(said.says, Attribute::Course(_));
            said.span || (course && said.words > 1) || (copula && !there)
        }
        Script::Hangul => {
            let words = scene.words_of(Script::Hangul);
            let ends = |token: &Token, endings: &HashSet<String>| {
                endings.iter().any(|ending| token.word.ends_with(ending.as_str()))
            };
            let subject = (segment.start..said.at.start)
                .rev()
                .find(|&at| !scene.resting_on(at).is_empty() || !scene.passes(at))
                .filter(|&at| !scene.resting_on(at).is_empty())
                .is_some_and(|at| ends(&scene.tokens[at], &words.stop));
            let last = token(said.at.end.checked_sub(1));
            said.span || subject || last.is_some_and(|last| ends(last, &words.predicate))
        }
    }
}

/// Returns the finding to which a clause of nothing but such words belongs.
fn beside(
    scene: &Scene<'_>,
    found: &[Match],
    segment: &Range<usize>,
) -> Option<(usize, Direction)> {
    let sentence = scene.sentence(segment.start);
    let mut at = segment.clone();
    for _ in 0..LIST_MAX {
        if at.start <= sentence.start {
            break;
        }
        at = scene.segment(at.start - 1);
        if let Some(target) = at.clone().rev().find_map(|at| scene.resting_on(at).first()) {
            return Some((*target, Direction::Backward));
        }
        if !scene.is_lone(&at) {
            return None;
        }
    }
    if at.start > sentence.start {
        return None;
    }
    let next = scene.segment(segment.end);
    if segment.end < sentence.end {
        // "Suddenly, headache."
        let target = next.clone().find_map(|at| scene.resting_on(at).first())?;
        return Some((*target, Direction::Forward));
    }
    // "I have a headache. It is getting worse": clear only if it is the only finding.
    let last = scene.sentence(segment.start.checked_sub(1)?);
    let mut targets: Vec<usize> = last.flat_map(|at| scene.resting_on(at)).copied().collect();
    targets.sort_unstable();
    targets.dedup();
    let [target] = targets.as_slice() else { return None };
    found.get(*target).filter(|target| target.present)?;
    Some((*target, Direction::Backward))
}

/// Gives the findings of a list what is said of its first or last.
fn share(scene: &Scene<'_>, found: &mut [Match], said: &Said, link: &Link) {
    let forward = link.direction == Direction::Forward;
    if matches!(said.says, Attribute::Severity(_)) {
        let after = scene.last_word(link.target).map_or(said.at.start, |at| at + 1);
        let plural = &scene.words_of(Script::Latin).plural;
        let between = scene.tokens.get(after..said.at.start).unwrap_or_default();
        if forward || !between.iter().any(|token| plural.contains(&token.word)) {
            return;
        }
    }
    let Some(place) = scene.order.iter().position(|&one| one == link.target) else { return };
    let row: Vec<usize> = if forward {
        scene.order[place..].iter().copied().take(LIST_MAX).collect()
    } else {
        scene.order[..=place].iter().rev().copied().take(LIST_MAX).collect()
    };
    let (mut waiting, mut anded) = (Vec::new(), false);
    for pair in row.windows(2) {
        let &[one, other] = pair else { return };
        let (first, second) = if forward { (one, other) } else { (other, one) };
        let Some(and) = joined(scene, first, second) else { return };
        let has_own_time = forward && scene.has_time(other);
        if has_own_time || found.get(other).is_none_or(|other| !other.present) {
            return;
        }
        waiting.push(other);
        // Before the "and" a comma goes on only if the "and" comes: "headache, nausea and vomiting".
        anded = and || (anded && !forward);
        if anded {
            for target in waiting.drain(..) {
                if let Some(target) = found.get_mut(target) {
                    give(target, said.says);
                }
            }
        }
    }
}

/// Returns whether an "and" joins two findings, or nothing if more than a list lies between.
fn joined(scene: &Scene<'_>, first: usize, second: usize) -> Option<bool> {
    let (last, next) = (scene.last_word(first)?, scene.first_word(second)?);
    let korean = scene.words_of(Script::Hangul);
    let end = scene.tokens.get(last)?;
    let mut and = end.script == Script::Hangul
        && korean.joins.iter().any(|ending| end.word.ends_with(ending.as_str()));
    let mut list = and;
    for at in last + 1..=next {
        let token = scene.tokens.get(at)?;
        match token.before {
            Break::None => {}
            Break::Clause => list = true,
            Break::Sentence => return None,
        }
        if at == next {
            break;
        }
        if is_conjunction(token) || korean.joins.contains(&token.word) {
            (and, list) = (true, true);
        } else if scene.stops(at) || scene.denies(at) || !scene.passes(at) {
            return None;
        }
    }
    (list || next <= last).then_some(and)
}
