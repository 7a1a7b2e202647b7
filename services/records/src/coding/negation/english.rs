//! English denials: before what they deny ("no", "denies"), behind it ("none"), or inside it.

use std::{collections::HashSet, ops::Range};

use super::{
    super::{
        english::{is_conjunction, is_transparent},
        intact,
        leftover::{is_place, is_unknown},
        matches::Match,
        token::{Break, Script, Token},
        words::find_row,
    },
    owned,
};
use crate::lexicon::{Lexicon, Says};

/// Words between a denial and the word that it is of: "not really better".
const ONLY_REACH_MAX: usize = 2;

/// Farthest that a word that says how bad or how often it is stands behind a finding, in words.
const PARTLY_REACH_MAX: usize = 2;

/// Farthest that a verb stands behind an "and" that ends a denial, in words.
const VERB_REACH_MAX: usize = 3;
/// Such verbs.
const VERBS: [&str; 14] = [
    "is",
    "are",
    "was",
    "were",
    "has",
    "had",
    "have",
    "felt",
    "feel",
    "feels",
    "complains",
    "reports",
    "developed",
    "became",
];

/// Words before a finding with which the denial is of others than those that were named.
const OTHERS: [&str; 8] =
    ["previous", "prior", "further", "more", "new", "other", "earlier", "additional"];
/// Words behind an "and" with which something else begins: "no headache and now double vision".
const TURNS: [&str; 9] = [
    "then",
    "now",
    "afterwards",
    "today",
    "later",
    "subsequently",
    "remains",
    "yesterday",
    "still",
];

/// Longest list that a denial behind it may be of, in words.
const LIST_WORDS_MAX: usize = 12;

/// Farthest that "cannot" stands before a denial that it makes none, in words.
const CANNOT_REACH_MAX: usize = 6;

/// What a denial reaches so far.
struct Denial<'a> {
    at: usize,
    word: &'a str,
    /// "Denies" goes on through a list; "no" only if the list has an "or".
    list: bool,
    /// What it has denied.
    hit: Vec<usize>,
    /// It is of something that is not understood: "no idea", "without glasses".
    of_other: bool,
}

pub(super) fn before(sentence: &[Token], found: &mut [Match], lexicon: &Lexicon) {
    let words = &lexicon.english_words;
    let within = |one: &Match| sentence.iter().any(|token| one.owns(&token.span));
    let entries: HashSet<usize> =
        found.iter().filter(|one| one.present && !within(one)).map(|one| one.entry).collect();
    let mut denial: Option<Denial<'_>> = None;
    for (at, token) in sentence.iter().enumerate() {
        if token.aside {
            denial = None;
            continue;
        }
        if let Some(denied) = &denial
            && token.before == Break::Clause
            && !denied.list
            && !or_follows(&sentence[at..], found, lexicon)
        {
            denial = None;
        }
        let free = !owned(token, found) && !token.neutral && token.script == Script::Latin;
        let next = sentence.get(at + 1).map(|next| next.word.as_str()).unwrap_or_default();
        if token.neutral && words.deny.contains_key(&token.word) && words.deny_only.contains(next) {
            give_up_list(sentence, at, found, lexicon);
        }
        if free {
            denial = turned(denial, sentence, at, found, lexicon);
        }
        let begins = |one: &Match| token.span.contains(&one.span.start);
        let Some(denied) = &mut denial else { continue };
        let known = !free
            || is_transparent(token, words)
            || words.deny.contains_key(&token.word)
            || words.restart.contains(&token.word)
            || is_place(token, lexicon);
        denied.of_other |= denied.hit.is_empty() && !known;
        for (index, one) in found.iter_mut().enumerate().filter(|(_, one)| begins(one)) {
            one.deny(&sentence[denied.at].span);
            one.unsure |= denied.word == "not" && is_partly(sentence, denied.at, at, lexicon);
            let end = sentence.partition_point(|token| token.span.end <= one.span.end);
            one.unsure |= is_then(sentence, end);
            // "One seizure. No previous seizures": not those.
            let others = sentence[denied.at + 1..at].iter();
            one.unsure |= others.rev().take(1).any(|token| OTHERS.contains(&token.word.as_str()))
                && entries.contains(&one.entry);
            denied.hit.push(index);
        }
    }
}

/// "No headache when lying flat", "absent at rest", "no diplopia in primary position": it is denied of then only.
fn is_then(sentence: &[Token], at: usize) -> bool {
    let word = |at: usize| {
        sentence.get(at).filter(|token| token.before == Break::None).map(|one| one.word.as_str())
    };
    let next = word(at + 1).filter(|next| *next != "the").or_else(|| word(at + 2));
    match word(at) {
        Some("when" | "while" | "whenever" | "unless") => true,
        Some("at" | "in" | "on" | "prior" | "during") => next.is_some_and(|next| {
            matches!(
                next,
                "rest"
                    | "weekends"
                    | "night"
                    | "morning"
                    | "mornings"
                    | "evening"
                    | "evenings"
                    | "primary"
                    | "gaze"
                    | "to"
            )
        }),
        _ => false,
    }
}

/// "Not as weak as before", "isn't numb all the time": the denial is only of how bad or how often it is.
fn is_partly(sentence: &[Token], denied: usize, at: usize, lexicon: &Lexicon) -> bool {
    let partly = |token: &Token| lexicon.english_words.partly.contains(&token.word);
    let rest = sentence.get(at + 1..).unwrap_or_default();
    let rest = rest.iter().take_while(|token| token.before == Break::None);
    sentence[denied + 1..at].iter().any(partly) || rest.take(PARTLY_REACH_MAX).any(partly)
}

impl Match {
    /// "Does not have normal hearing": what is denied may be that it is not there.
    fn deny(&mut self, by: &Range<usize>) {
        self.present = false;
        self.unsure |=
            self.says == Says::Absent && self.clause.start <= by.start && by.end <= self.clause.end;
    }
}

/// "No weakness", "denies any headache or limb weakness", "weakness: none"; not "no new weakness".
pub(super) fn is_denied_itself(
    tokens: &[Token],
    at: usize,
    found: &[Match],
    lexicon: &Lexicon,
) -> bool {
    let words = &lexicon.english_words;
    let starts = |at: usize| tokens.get(at).is_none_or(|token| token.before != Break::None);
    let first = (0..=at).rev().find(|&at| starts(at)).unwrap_or_default();
    let last = (at + 1..=tokens.len()).find(|&at| starts(at)).unwrap_or(tokens.len());
    if intact::is_open(&tokens[first..last], lexicon) {
        return false;
    }
    let next = tokens.get(at + 1).filter(|next| next.before != Break::Sentence);
    if next.is_some_and(|next| words.deny_after.contains(&next.word) || next.mark.is_some()) {
        return true;
    }
    for token in tokens[..at].iter().rev() {
        if words.deny.contains_key(&token.word) {
            return !token.neutral;
        }
        let idle = words.undenied.contains(&token.word) || is_conjunction(token);
        if !idle && !owned(token, found) {
            return false;
        }
    }
    false
}

/// Returns the denial that holds from a word on.
fn turned<'a>(
    denial: Option<Denial<'a>>,
    sentence: &'a [Token],
    at: usize,
    found: &mut [Match],
    lexicon: &Lexicon,
) -> Option<Denial<'a>> {
    let words = &lexicon.english_words;
    let token = &sentence[at];
    let word = token.word.as_str();
    if let Some(&list) = words.deny.get(word) {
        return begun(denial, sentence, at, list, found, lexicon);
    }
    let mut denied = denial?;
    let hit = !denied.hit.is_empty();
    if words.deny_end.contains(word) || (hit && words.restart.contains(word)) {
        return None;
    }
    // "Without glasses I can't see", "no idea why …".
    let subject = matches!(word, "i" | "he" | "she" | "we" | "they" | "im" | "ive");
    if denied.of_other && (subject || words.deny_turn.contains(word)) {
        return None;
    }
    let begun = hit || denied.of_other;
    // "No loss of consciousness during the seizure": that is there.
    let goes_on = denied.word != "never"
        && sentence.get(at + 1).is_some_and(|next| next.before == Break::None);
    if begun
        && goes_on
        && matches!(word, "during" | "after" | "before" | "following" | "since" | "between")
    {
        return None;
    }
    // "No memory of the event and was drowsy", "no weakness and sensation is reduced".
    let rest = sentence.get(at + 1..).unwrap_or_default();
    let goes_on =
        |token: &&Token| token.before == Break::None && !words.deny_end.contains(&token.word);
    let mut rest = rest.iter().take_while(goes_on).take(VERB_REACH_MAX);
    let next = rest.clone().next();
    let turns = next.is_some_and(|next| TURNS.contains(&next.word.as_str()));
    if begun && word == "and" && (turns || rest.any(|token| VERBS.contains(&token.word.as_str()))) {
        return None;
    }
    // "Never had a seizure until yesterday".
    let until = word == "until" && sentence.get(at + 1).is_none_or(|next| next.word != "now");
    let never = denied.word == "never";
    let here = |row: &Vec<String>| {
        let end = sentence.len().min(at + row.len());
        find_row(&sentence[at..end], row, 0).is_some()
    };
    let like_this = never && words.deny_void.iter().any(here);
    if until || like_this {
        for &index in &denied.hit {
            found[index].present |= found[index].says != Says::Absent;
        }
        return None;
    }
    if never && matches!(word, "before" | "previously") {
        denied.hit.iter().for_each(|&index| found[index].unsure = true);
        denied.hit.clear();
    }
    Some(denied)
}

/// Returns the denial that a word of denial begins.
fn begun<'a>(
    denial: Option<Denial<'a>>,
    sentence: &'a [Token],
    at: usize,
    list: bool,
    found: &mut [Match],
    lexicon: &Lexicon,
) -> Option<Denial<'a>> {
    let words = &lexicon.english_words;
    let word = sentence[at].word.as_str();
    let rest = sentence.get(at + 1..).unwrap_or_default();
    let mut rest = rest.iter().take_while(|token| token.before == Break::None).peekable();
    // "Babinski negative": it is of what stands before it; "MRI negative, headache".
    if word == "negative" && at > 0 && sentence[at].before == Break::None && rest.peek().is_none() {
        return None;
    }
    if list && cannot_before(sentence, at) {
        return None;
    }
    // "No relief", "has not really improved", "no pain relief"; not "denies change in vision".
    let mut opaque = false;
    for next in rest.take(ONLY_REACH_MAX + 1).filter(|_| !list || word == "without") {
        if words.deny_only.contains(&next.word) {
            give_up_list(sentence, at, found, lexicon);
            return None;
        }
        if opaque {
            break;
        }
        opaque = !is_transparent(next, words);
    }
    // "Does not deny", "not without".
    let last = denial.filter(|denied| denied.word != word && denied.hit.is_empty());
    let between = last.and_then(|last| sentence.get(last.at + 1..=at)).filter(|between| {
        between.iter().all(|token| token.before == Break::None && !is_conjunction(token))
    });
    let all = |idle: &dyn Fn(&Token) -> bool| {
        between.is_some_and(|row| row.iter().rev().skip(1).all(idle))
    };
    if list && all(&|token| words.idle.contains(&token.word)) {
        return None;
    }
    // "Did not have no headache", "does not completely deny": either may be meant.
    if all(&|token| is_transparent(token, words)) {
        let end = sentence.iter().skip(at + 1).position(|token| token.before != Break::None);
        let end = end.map_or(sentence.len(), |end| at + 1 + end);
        for one in found.iter_mut() {
            one.unsure |= sentence[at..end].iter().any(|token| one.owns(&token.span));
        }
    }
    Some(Denial { at, word, list, hit: Vec::new(), of_other: false })
}

/// "Cannot deny", "cannot walk without falling": true if the denial says that it is so.
fn cannot_before(sentence: &[Token], at: usize) -> bool {
    let reach = if sentence[at].word == "without" { CANNOT_REACH_MAX } else { 1 };
    let mut breaks = sentence[at].before != Break::None;
    let mut near = sentence[..at].iter().rev().take(reach).take_while(|token| {
        let goes_on = !breaks && !is_conjunction(token);
        breaks |= token.before != Break::None;
        goes_on
    });
    near.any(|token| token.word == "cannot")
}

/// "No change in vision, headache or seizures": the rest of the list may be denied or not.
fn give_up_list(sentence: &[Token], at: usize, found: &mut [Match], lexicon: &Lexicon) {
    let rest = sentence.get(at + 1..).unwrap_or_default();
    if !or_follows(rest, found, lexicon) {
        return;
    }
    let end = rest.iter().position(|token| lexicon.english_words.deny_end.contains(&token.word));
    let rest = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
    for one in found.iter_mut() {
        one.unsure |= rest.iter().any(|token| one.owns(&token.span));
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
pub(super) fn after(sentence: &[Token], found: &mut [Match], lexicon: &Lexicon) {
    let words = &lexicon.english_words;
    for (at, token) in sentence.iter().enumerate() {
        // "Headache: no, vomiting: yes."
        let last = at > 0 && sentence.get(at + 1).is_none_or(|next| next.before != Break::None);
        let at_end = last && matches!(token.word.as_str(), "no" | "negative" | "nil");
        let denies = words.deny_after.contains(&token.word) || at_end;
        // "Some weeks none".
        if !denies || token.neutral || owned(token, found) || is_elsewhere(sentence, at, lexicon) {
            continue;
        }
        // "Absent in the mornings".
        let partly = is_then(sentence, at + 1);
        // Back over transparent words to the match, and over the matches joined to it.
        let mut denied_any = false;
        for before in sentence[..at].iter().rev() {
            let covered = found.iter().any(|one| one.covers(&before.span));
            if covered {
                for one in found.iter_mut().filter(|one| one.covers(&before.span)) {
                    one.deny(&token.span);
                    one.unsure |= partly;
                }
                denied_any = true;
            }
            let joins = matches!(before.word.as_str(), "and" | "or");
            let passes = covered || joins || is_transparent(before, words);
            if !passes || (denied_any && before.before != Break::None) {
                break;
            }
        }
        give_up_list_before(&sentence[..at], found, lexicon);
    }
}

/// "Headache, fever and neck stiffness absent": what a list names before what is not understood may be denied too.
fn give_up_list_before(list: &[Token], found: &mut [Match], lexicon: &Lexicon) {
    let words = &lexicon.english_words;
    let verb = |token: &Token| {
        words.restart.contains(&token.word)
            || words.deny_end.contains(&token.word)
            || words.deny.contains_key(&token.word)
            || words.deny_after.contains(&token.word)
            || VERBS.contains(&token.word.as_str())
            || token.aside
    };
    let unknown = |token: &Token| is_unknown(token, found, &[], lexicon);
    let of_list = list.len() <= LIST_WORDS_MAX && !list.iter().any(verb);
    if !of_list || !list.iter().any(unknown) || !list.iter().any(|one| one.before == Break::Clause)
    {
        return;
    }
    for one in found.iter_mut() {
        one.unsure |= one.present && list.iter().any(|token| one.owns(&token.span));
    }
}

/// "…, none in left": the denial is of another place.
fn is_elsewhere(sentence: &[Token], at: usize, lexicon: &Lexicon) -> bool {
    let rest = sentence.get(at + 1..).unwrap_or_default();
    let mut rest = rest.iter().take_while(|token| token.before == Break::None);
    sentence[at].before != Break::None
        && rest.any(|token| token.side.is_some() || is_place(token, lexicon))
}

/// "Arm is not weak": the denial stands between the words of the finding.
pub(super) fn inside(tokens: &[Token], found: &mut [Match], lexicon: &Lexicon) {
    for one in found.iter_mut() {
        let within = tokens
            .iter()
            .filter(|token| one.span.start < token.span.start && token.span.end < one.span.end)
            .filter(|token| token.script == Script::Latin);
        for token in within {
            let denies = lexicon.english_words.deny.contains_key(&token.word);
            if denies && !token.neutral && !one.covers(&token.span) {
                one.present = false;
            }
        }
    }
}
