//! The lexicon as it is written.

use std::collections::{HashMap, HashSet};

use neurotriage_domain::Side;
use serde::Deserialize;

use super::{
    EnglishWords, IntactWords, KoreanWords, Says,
    aside::{EnglishAsideSource, KoreanAsideSource},
    attributes::{AttributeWords, AttributesSource},
};
use crate::coding::words;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Source {
    pub(super) version: String,
    #[serde(default, rename = "finding")]
    pub(super) findings: Vec<FindingSource>,
    pub(super) english: EnglishSource,
    pub(super) korean: KoreanSource,
    pub(super) classes: Classes,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FindingSource {
    pub(super) id: String,
    pub(super) code: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) sided_with: Vec<String>,
    #[serde(default)]
    english: Vec<String>,
    #[serde(default)]
    pub(super) english_patterns: Vec<String>,
    #[serde(default)]
    english_absent: Vec<String>,
    #[serde(default)]
    english_denied: Vec<String>,
    #[serde(default)]
    pub(super) english_intact: Vec<String>,
    #[serde(default)]
    korean: Vec<String>,
    #[serde(default)]
    korean_absent: Vec<String>,
    #[serde(default)]
    korean_denied: Vec<String>,
}

fn saying(says: Says, texts: &[String]) -> impl Iterator<Item = (&String, Says)> {
    texts.iter().map(move |text| (text, says))
}

impl FindingSource {
    /// Returns the English phrases and what they say of the finding.
    pub(super) fn english_phrases(&self) -> impl Iterator<Item = (&String, Says)> {
        saying(Says::Present, &self.english)
            .chain(saying(Says::Absent, &self.english_absent))
            .chain(saying(Says::AbsentIfDenied, &self.english_denied))
    }

    /// Returns the Korean patterns and what they say of the finding.
    pub(super) fn korean_patterns(&self) -> impl Iterator<Item = (&String, Says)> {
        saying(Says::Present, &self.korean)
            .chain(saying(Says::Absent, &self.korean_absent))
            .chain(saying(Says::AbsentIfDenied, &self.korean_denied))
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Classes {
    pub(super) english: HashMap<String, Vec<String>>,
    pub(super) korean: HashMap<String, Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct SidesSource {
    right: Vec<String>,
    left: Vec<String>,
    both: Vec<String>,
}

impl SidesSource {
    fn pairs(&self) -> impl Iterator<Item = (String, Side)> + '_ {
        let of = |words: &'_ [String], side: Side| -> Vec<(String, Side)> {
            words.iter().map(|word| (word.clone(), side)).collect()
        };
        of(&self.right, Side::Right)
            .into_iter()
            .chain(of(&self.left, Side::Left))
            .chain(of(&self.both, Side::Midline))
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct IntactSource {
    after: Vec<String>,
    before: Vec<String>,
    between: Vec<String>,
    past: Vec<String>,
    lead: Vec<String>,
    owners: Vec<String>,
    subject: Vec<String>,
    unless: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct EnglishSource {
    transparent: Vec<String>,
    filler: Vec<String>,
    places: Vec<String>,
    same: HashMap<String, Vec<String>>,
    rewrite: HashMap<String, Vec<String>>,
    deny: Vec<String>,
    deny_list: Vec<String>,
    deny_after: Vec<String>,
    deny_end: Vec<String>,
    restart: Vec<String>,
    sides: SidesSource,
    neutral: Vec<String>,
    lesions: Vec<String>,
    regions: Vec<String>,
    others: Vec<String>,
    deny_only: Vec<String>,
    deny_void: Vec<String>,
    deny_turn: Vec<String>,
    undenied: Vec<String>,
    partly: Vec<String>,
    answers: AnswersSource,
    asks: Vec<String>,
    side_ends: Vec<String>,
    aside: EnglishAsideSource,
    intact: IntactSource,
    pub(super) attributes: AttributesSource,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AnswersSource {
    yes: Vec<String>,
    no: Vec<String>,
}

impl AnswersSource {
    fn words(&self) -> HashMap<String, bool> {
        let of = |words: &[String], yes: bool| -> Vec<(String, bool)> {
            words.iter().map(|word| (word.clone(), yes)).collect()
        };
        of(&self.yes, true).into_iter().chain(of(&self.no, false)).collect()
    }
}

fn split(phrase: &str) -> Vec<String> {
    phrase.split_whitespace().map(ToOwned::to_owned).collect()
}

impl EnglishSource {
    pub(super) fn words(&self) -> EnglishWords {
        let mut words = EnglishWords {
            idle: self.transparent.iter().cloned().collect(),
            transparent: self.transparent.iter().chain(&self.filler).cloned().collect(),
            places: self.places.iter().cloned().collect(),
            deny: self.deny.iter().map(|word| (word.clone(), false)).collect(),
            deny_after: self.deny_after.iter().cloned().collect(),
            deny_end: self.deny_end.iter().cloned().collect(),
            restart: self.restart.iter().cloned().collect(),
            sides: self.sides.pairs().collect(),
            neutral: self.neutral.iter().map(|phrase| split(phrase)).collect(),
            lesions: self.lesions.iter().cloned().collect(),
            regions: self.regions.iter().cloned().collect(),
            others: self.others.iter().map(|phrase| split(phrase)).collect(),
            deny_only: self.deny_only.iter().cloned().collect(),
            deny_void: self.deny_void.iter().map(|phrase| split(phrase)).collect(),
            deny_turn: self.deny_turn.iter().cloned().collect(),
            undenied: self.undenied.iter().cloned().collect(),
            partly: self.partly.iter().cloned().collect(),
            answers: self.answers.words(),
            asks: self.asks.iter().cloned().collect(),
            side_ends: self.side_ends.iter().cloned().collect(),
            aside: self.aside.words(),
            ..EnglishWords::default()
        };
        words.deny.extend(self.deny_list.iter().map(|word| (word.clone(), true)));
        for (word, others) in &self.same {
            words.same.extend(others.iter().map(|other| (other.clone(), word.clone())));
        }
        for (word, phrases) in &self.rewrite {
            words.rewrites.extend(phrases.iter().map(|phrase| (split(phrase), word.clone())));
        }
        // The longest first: "is not able to" before "not able to".
        words.rewrites.sort_by_key(|(row, _)| std::cmp::Reverse(row.len()));
        let mut known: HashSet<String> = HashSet::new();
        known.extend(words.transparent.iter().cloned());
        known.extend(words.places.iter().cloned());
        known.extend(words.deny.keys().cloned());
        known.extend(words.sides.keys().cloned());
        known.extend(words.same.keys().cloned());
        known.extend(words.same.values().cloned());
        let sets = [
            &words.deny_after,
            &words.deny_end,
            &words.restart,
            &words.deny_only,
            &words.deny_turn,
            &words.undenied,
            &words.partly,
            &words.lesions,
            &words.regions,
        ];
        known.extend(sets.into_iter().flatten().cloned());
        let intact = [&self.intact.after, &self.intact.before, &self.intact.unless];
        known.extend(intact.into_iter().flatten().cloned());
        known.extend(words.answers.keys().cloned());
        known.extend(words.aside.vocabulary().cloned());
        let rows = words.neutral.iter().chain(&words.others).chain(&words.deny_void);
        known.extend(rows.flatten().cloned());
        known.extend(words.rewrites.iter().flat_map(|(row, _)| row).cloned());
        words.fixed.clone_from(&known);
        words.known = known;
        words
    }

    /// Returns the words that say that a function is intact, as a text's words come out.
    pub(super) fn intact_words(&self, words: &EnglishWords) -> IntactWords {
        let set = |row: &[String]| {
            row.iter().map(|word| words::canonical(word.clone(), words)).collect::<HashSet<_>>()
        };
        let source = &self.intact;
        let with = |row: &[String], more: &[String]| &set(row) | &set(more);
        IntactWords {
            after: set(&source.after),
            before: set(&source.before),
            between: with(&source.between, &source.past),
            past: set(&source.past),
            lead: with(&source.lead, &source.owners),
            owners: set(&source.owners),
            subject: set(&source.subject),
            unless: set(&source.unless),
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct KoreanSource {
    filler: Vec<String>,
    deny: Vec<String>,
    deny_before: Vec<String>,
    assert: Vec<String>,
    clause_endings: Vec<String>,
    sides: SidesSource,
    sides_before_part: SidesSource,
    neutral: Vec<String>,
    lesions: Vec<String>,
    regions: Vec<String>,
    others: Vec<String>,
    persist: Vec<String>,
    deny_only: Vec<String>,
    not_deny: Vec<String>,
    unsure: Vec<String>,
    partly: Vec<String>,
    except: Vec<String>,
    apart: Vec<String>,
    light: Vec<String>,
    particles: Vec<String>,
    subject: Vec<String>,
    told: Vec<String>,
    as_if: Vec<String>,
    answers: AnswersSource,
    aside: KoreanAsideSource,
    pub(super) attributes: AttributesSource,
}

impl KoreanSource {
    pub(super) fn words(&self, classes: &HashMap<String, Vec<String>>) -> KoreanWords {
        let mut sides: Vec<(String, Side)> = self.sides.pairs().collect();
        sides.sort_by_key(|(stem, _)| std::cmp::Reverse(stem.len()));
        let mut particles = self.particles.clone();
        particles.sort_by_key(|particle| std::cmp::Reverse(particle.len()));
        let pair = |row: &String| {
            row.split_once(' ').map(|(one, other)| (one.to_owned(), other.to_owned()))
        };
        KoreanWords {
            filler: self.filler.clone(),
            deny: self.deny.clone(),
            deny_before: self.deny_before.clone(),
            assert: self.assert.clone(),
            clause_endings: self.clause_endings.clone(),
            sides,
            sides_before_part: self.sides_before_part.pairs().collect(),
            parts: classes.get("part").cloned().unwrap_or_default(),
            neutral: self.neutral.iter().filter(|row| !row.contains(' ')).cloned().collect(),
            lesions: self.lesions.clone(),
            regions: self.regions.clone(),
            neutral_pairs: self.neutral.iter().filter_map(pair).collect(),
            others: self.others.clone(),
            not_deny: self.not_deny.clone(),
            unsure: self.unsure.clone(),
            partly: self.partly.clone(),
            except: self.except.clone(),
            apart: self.apart.clone(),
            light: self.light.clone(),
            particles,
            subject: self.subject.clone(),
            told: self.told.clone(),
            as_if: self.as_if.clone(),
            answers: self.answers.words(),
            aside: self.aside.words(),
            persist: self.persist.clone(),
            deny_only: self.deny_only.clone(),
            attributes: AttributeWords::default(),
        }
    }
}

impl Source {
    /// Returns every English word that phrases and classes use.
    pub(super) fn english_vocabulary(&self) -> HashSet<String> {
        let phrases = self.findings.iter().flat_map(|finding| {
            let phrases = finding.english_phrases().map(|(phrase, _)| phrase);
            phrases.chain(&finding.english_intact)
        });
        let classes = self.classes.english.values().flatten();
        let patterns = self.findings.iter().flat_map(|finding| &finding.english_patterns);
        let places = patterns.flat_map(|pattern| pattern.split_whitespace());
        let plain = places.filter(|place| !place.starts_with(['!', '@'])).map(ToOwned::to_owned);
        phrases.chain(classes).flat_map(|phrase| words::plain_words(phrase)).chain(plain).collect()
    }
}
