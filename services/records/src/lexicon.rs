//! The words that people use for neurological findings, in English and Korean.
//!
//! The lexicon is data (`assets/lexicon/symptoms.toml`, which explains its format); this module
//! reads it, checks it and lays it out for the matcher. It knows no text and no patient.

pub(crate) mod aside;
pub(crate) mod attributes;
mod source;

use std::collections::{HashMap, HashSet};

use neurotriage_domain::Side;

use self::{
    aside::{EnglishAside, KoreanAside},
    attributes::AttributeWords,
    source::Source,
};
use crate::coding::words;

/// The lexicon that is built in.
const BUILT_IN: &str = include_str!("../../../assets/lexicon/symptoms.toml");

/// Why a lexicon can't be used.
#[derive(Debug, thiserror::Error)]
pub enum LexiconError {
    /// It is not the TOML it should be.
    #[error("read lexicon")]
    Syntax(#[from] toml::de::Error),
    /// An entry is wrong.
    #[error("lexicon entry `{entry}` {problem}")]
    Entry {
        /// Which entry.
        entry: String,
        /// What is wrong with it.
        problem: &'static str,
    },
}

fn wrong(entry: &str, problem: &'static str) -> LexiconError {
    LexiconError::Entry { entry: entry.to_owned(), problem }
}

/// A finding that the lexicon can recognise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Stable key, such as `hemiparesis`.
    pub finding_id: String,
    /// HPO code, or a local code that begins with `NT:`.
    pub code: String,
    /// Plain English name.
    pub display_name: String,
    /// Keys of findings whose side it has too if it names none: an ear that rings and is deaf.
    pub(crate) sided_with: Vec<String>,
}

/// One place of a pattern: any of these words.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// Alternatives; empty for a side.
    pub(crate) words: Vec<String>,
    /// Stands for a word of side.
    pub(crate) side: bool,
    /// Another finding may use the same word: "weakness and numbness of the arm".
    pub(crate) shared: bool,
}

/// What the words of a pattern say of its finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// It is there.
    Present,
    /// It is not there: "pupils equal".
    Absent,
    /// Nothing, unless they are denied: "no weakness", but "weakness" may be anything.
    AbsentIfDenied,
}

/// A sequence of words (a phrase) or of places that words take (a pattern).
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    /// Index into [`Lexicon::entries`].
    pub(crate) entry: usize,
    pub(crate) slots: Vec<Slot>,
    pub(crate) says: Says,
}

/// Words and patterns of one language, found by the first word (English) or letter (Korean).
#[derive(Debug, Default)]
pub(crate) struct Language {
    /// In this order, nothing but transparent words between.
    pub(crate) phrases: HashMap<String, Vec<Pattern>>,
    /// English: in any order, close together. Korean: in this order, close together.
    pub(crate) patterns: HashMap<String, Vec<Pattern>>,
    /// English: phrases that say that the finding is not there.
    pub(crate) absent: HashMap<String, Vec<Pattern>>,
    /// English: functions, as phrases; one that is intact says that the finding is not there.
    pub(crate) functions: HashMap<String, Vec<Pattern>>,
}

/// A lexicon, ready for [`crate::coding::code`].
#[derive(Debug)]
pub struct Lexicon {
    version: String,
    entries: Vec<Entry>,
    pub(crate) english: Language,
    pub(crate) korean: Language,
    pub(crate) english_words: EnglishWords,
    pub(crate) korean_words: KoreanWords,
}

/// English words that are no findings but matter.
#[derive(Debug, Default)]
pub(crate) struct EnglishWords {
    /// Every word that is known: others are tried without their ending.
    pub(crate) known: HashSet<String>,
    /// Words that keep their ending: "early" is no "ear".
    pub(crate) fixed: HashSet<String>,
    /// Parts of the body: they say where, beside a finding, and nothing alone.
    pub(crate) places: HashSet<String>,
    /// Words that mean another word.
    pub(crate) same: HashMap<String, String>,
    /// Words in a row that mean one word: "not able to" is "cannot".
    pub(crate) rewrites: Vec<(Vec<String>, String)>,
    /// Words that phrases do without: "loss of vision" is "loss vision".
    pub(crate) idle: HashSet<String>,
    /// Idle words and others that may stand between the words of a phrase.
    pub(crate) transparent: HashSet<String>,
    /// Words that begin a denial, and whether it goes on through a list.
    pub(crate) deny: HashMap<String, bool>,
    /// Words that deny what stands before them.
    pub(crate) deny_after: HashSet<String>,
    /// Words that end a denial.
    pub(crate) deny_end: HashSet<String>,
    /// Words that end a denial that has denied something.
    pub(crate) restart: HashSet<String>,
    /// Words of side.
    pub(crate) sides: HashMap<String, Side>,
    /// Words in a row that hold a side or a denial but mean none.
    pub(crate) neutral: Vec<Vec<String>>,
    /// Words for what a side may be of instead of a finding: "glioma", "craniotomy".
    pub(crate) lesions: HashSet<String>,
    /// Words between such a side and its word: "frontal".
    pub(crate) regions: HashSet<String>,
    /// Words in a row that say that somebody else is meant.
    pub(crate) others: Vec<Vec<String>>,
    /// Words that a denial right before them is of, and of no finding: "no relief".
    pub(crate) deny_only: HashSet<String>,
    /// Words in a row after "never" with which it denies nothing: "like this".
    pub(crate) deny_void: Vec<Vec<String>>,
    /// Words with which "not" is only of how bad or how often it is: "not as weak as".
    pub(crate) partly: HashSet<String>,
    /// Words between a denial and a word that counts only if it is denied: "no limb weakness".
    pub(crate) undenied: HashSet<String>,
    /// Words that end a denial of something not understood: "no idea why".
    pub(crate) deny_turn: HashSet<String>,
    /// Answers to a question, and whether they affirm.
    pub(crate) answers: HashMap<String, bool>,
    /// Words over which no side reaches: "fell because his left leg …".
    pub(crate) side_ends: HashSet<String>,
    /// Words with which a question begins that asserts nothing: "does".
    pub(crate) asks: HashSet<String>,
    /// Words with which somebody else, once or what may come is meant.
    pub(crate) aside: EnglishAside,
    /// Words that say that a function is intact.
    pub(crate) intact: IntactWords,
    /// Words that say how a finding came on, goes on and how bad it is.
    pub(crate) attributes: AttributeWords,
}

/// English words that say that a function is intact.
#[derive(Debug, Default)]
pub(crate) struct IntactWords {
    /// Behind it: "memory is fine".
    pub(crate) after: HashSet<String>,
    /// Before it: "normal hearing".
    pub(crate) before: HashSet<String>,
    /// Words that may stand between the two.
    pub(crate) between: HashSet<String>,
    /// Words of them that say how it was.
    pub(crate) past: HashSet<String>,
    /// Words that may stand before the function.
    pub(crate) lead: HashSet<String>,
    /// Words of them that say whose it is.
    pub(crate) owners: HashSet<String>,
    /// Words that may stand before what says by itself that a finding is not there: "he is alert and oriented".
    pub(crate) subject: HashSet<String>,
    /// Words with which the clause says something else: "was normal until May".
    pub(crate) unless: HashSet<String>,
}

/// Korean stems that are no findings but matter.
#[derive(Debug, Default)]
pub(crate) struct KoreanWords {
    /// Stems of words that say nothing about symptoms.
    pub(crate) filler: Vec<String>,
    /// Stems that deny what stands before them.
    pub(crate) deny: Vec<String>,
    /// Whole words that deny what follows.
    pub(crate) deny_before: Vec<String>,
    /// Stems that assert what stands before them.
    pub(crate) assert: Vec<String>,
    /// Endings that close a clause.
    pub(crate) clause_endings: Vec<String>,
    /// Stems of side, longest first.
    pub(crate) sides: Vec<(String, Side)>,
    /// Single letters of side that count only before a part of the body.
    pub(crate) sides_before_part: Vec<(String, Side)>,
    /// Parts of the body.
    pub(crate) parts: Vec<String>,
    /// Stems that hold a side but mean none.
    pub(crate) neutral: Vec<String>,
    /// Stems, as in English.
    pub(crate) lesions: Vec<String>,
    /// Stems, as in English.
    pub(crate) regions: Vec<String>,
    /// Stems of two words in one clause of which the second is no finding: "치료", "진전".
    pub(crate) neutral_pairs: Vec<(String, String)>,
    /// Stems that say that somebody else is meant.
    pub(crate) others: Vec<String>,
    /// Stems that begin like a denial and deny nothing: "없어지".
    pub(crate) not_deny: Vec<String>,
    /// Stems that leave open whether it is so: "아닐까".
    pub(crate) unsure: Vec<String>,
    /// Stems that a denial behind them is of, if a finding stands before: "자주".
    pub(crate) partly: Vec<String>,
    /// Words that take what stands before them out of a denial: "밖에".
    pub(crate) except: Vec<String>,
    /// Words, or what stands behind a finding in its word, with which a denial behind them is not of
    /// it: "경련 후 의식소실 없음".
    pub(crate) apart: Vec<String>,
    /// Stems of verbs that say only that it is so: "안 하다".
    pub(crate) light: Vec<String>,
    /// Particles and endings between a finding and its denial in one word, longest first.
    pub(crate) particles: Vec<String>,
    /// Endings of words that are the subject of what follows.
    pub(crate) subject: Vec<String>,
    /// Endings of a finding that is only told to come: "마시라고".
    pub(crate) told: Vec<String>,
    /// Stems that say what something is like: "터질 것 같다".
    pub(crate) as_if: Vec<String>,
    /// Answers to a question, and whether they affirm.
    pub(crate) answers: HashMap<String, bool>,
    /// Words with which somebody else, once or what may come is meant.
    pub(crate) aside: KoreanAside,
    /// Stems after which a denial denies no finding: "멈추지 않는다".
    pub(crate) persist: Vec<String>,
    /// Stems that a denial right behind them is of, and of no finding: "호전 없음"; before a finding they are of it: "새로운 위약".
    pub(crate) deny_only: Vec<String>,
    /// Stems that say how a finding came on, goes on and how bad it is.
    pub(crate) attributes: AttributeWords,
}

impl Lexicon {
    /// Returns the lexicon that is built in.
    ///
    /// # Errors
    /// See [`Lexicon::parse`]; a test proves that the built-in one has none.
    pub fn built_in() -> Result<Self, LexiconError> {
        Self::parse(BUILT_IN)
    }

    /// Returns the lexicon that `text` describes.
    ///
    /// # Errors
    /// [`LexiconError::Syntax`] if it is not TOML of the right shape; [`LexiconError::Entry`] if a
    /// finding is there twice, has no good code, or claims a phrase of another finding, or if a
    /// phrase of onset, course or severity says two things.
    pub fn parse(text: &str) -> Result<Self, LexiconError> {
        let source: Source = toml::from_str(text)?;
        let mut lexicon = Self {
            version: source.version.clone(),
            entries: Vec::new(),
            english: Language::default(),
            korean: Language::default(),
            english_words: source.english.words(),
            korean_words: source.korean.words(&source.classes.korean),
        };
        for finding in &source.findings {
            if lexicon.entries.iter().any(|entry| entry.finding_id == finding.id) {
                return Err(wrong(&finding.id, "is there twice"));
            }
            let hpo = finding.code.strip_prefix("HP:");
            let hpo = hpo.is_some_and(|n| n.len() == 7 && n.chars().all(|c| c.is_ascii_digit()));
            if !hpo && !finding.code.starts_with("NT:") {
                return Err(wrong(&finding.id, "needs a code HP:0000000 or NT:name"));
            }
            lexicon.entries.push(Entry {
                finding_id: finding.id.clone(),
                code: finding.code.clone(),
                display_name: finding.name.clone(),
                sided_with: finding.sided_with.clone(),
            });
        }
        lexicon.english_words.known.extend(source.english_vocabulary());
        lexicon.english_words.intact = source.english.intact_words(&lexicon.english_words);
        lexicon.fill_attributes(&source)?;
        lexicon.fill_english(&source)?;
        lexicon.fill_korean(&source)?;
        Ok(lexicon)
    }

    /// Returns the version of the words, such as `2026.11.1`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Returns every finding, in the order of the file.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn fill_attributes(&mut self, source: &Source) -> Result<(), LexiconError> {
        let english = &source.english.attributes;
        let phrases = english.phrases().flat_map(|phrase| words::plain_words(phrase));
        self.english_words.known.extend(phrases);
        let read = |phrase: &str| words::english_words(phrase, &self.english_words);
        let attributes = english.words(read, ToOwned::to_owned)?;
        self.english_words.attributes = attributes;
        let split = |phrase: &str| phrase.split_whitespace().map(ToOwned::to_owned).collect();
        let letter = |word: &str| word.chars().take(1).collect();
        self.korean_words.attributes = source.korean.attributes.words(split, letter)?;
        Ok(())
    }

    fn fill_english(&mut self, source: &Source) -> Result<(), LexiconError> {
        let mut owners: HashMap<Vec<String>, usize> = HashMap::new();
        let mut functions: HashMap<Vec<String>, usize> = HashMap::new();
        for (entry, finding) in source.findings.iter().enumerate() {
            for (phrase, says) in finding.english_phrases() {
                let row = self.english_row(phrase)?;
                if *owners.entry(row.clone()).or_insert(entry) != entry {
                    return Err(wrong(phrase, "belongs to two findings"));
                }
                let rows = match says {
                    Says::Present | Says::AbsentIfDenied => &mut self.english.phrases,
                    Says::Absent => &mut self.english.absent,
                };
                push(rows, entry, row, says);
            }
            for function in &finding.english_intact {
                let row = self.english_row(function)?;
                if *functions.entry(row.clone()).or_insert(entry) != entry {
                    return Err(wrong(function, "belongs to two findings"));
                }
                push(&mut self.english.functions, entry, row, Says::Absent);
            }
            for text in &finding.english_patterns {
                let mut slots = slots(text, &source.classes.english)?;
                for slot in &mut slots {
                    for word in &mut slot.words {
                        *word = words::english_words(word, &self.english_words).join(" ");
                    }
                }
                let pattern = Pattern { entry, slots, says: Says::Present };
                let heads = pattern.slots.first().map(|slot| slot.words.clone());
                for head in heads.unwrap_or_default() {
                    self.english.patterns.entry(head).or_default().push(pattern.clone());
                }
            }
        }
        Ok(())
    }

    /// Returns the words of a phrase that count.
    fn english_row(&self, phrase: &str) -> Result<Vec<String>, LexiconError> {
        let words = &self.english_words;
        let loses = |word: &String| {
            !words.idle.contains(word)
                && words.idle.contains(&words::canonical(word.clone(), words))
        };
        let plain = words::plain_words(phrase);
        let kept = plain.iter().filter(|word| !words.idle.contains(*word)).count();
        // "On edge" would be every edge.
        if (plain.len() > 1 && kept == 1) || plain.iter().any(loses) {
            return Err(wrong(phrase, "is not itself without its idle words"));
        }
        let mut row = words::english_words(phrase, words);
        row.retain(|word| !words.idle.contains(word));
        if row.is_empty() { Err(wrong(phrase, "has no word")) } else { Ok(row) }
    }

    fn fill_korean(&mut self, source: &Source) -> Result<(), LexiconError> {
        let mut owners: HashMap<&str, usize> = HashMap::new();
        for (entry, finding) in source.findings.iter().enumerate() {
            for (text, says) in finding.korean_patterns() {
                if *owners.entry(text).or_insert(entry) != entry {
                    return Err(wrong(text, "belongs to two findings"));
                }
                let slots = slots(text, &source.classes.korean)?;
                let pattern = Pattern { entry, slots, says };
                let heads = pattern.slots.first().map(|slot| slot.words.clone());
                for head in heads.unwrap_or_default() {
                    let letter = head.chars().next().ok_or_else(|| wrong(text, "has no word"))?;
                    let patterns = self.korean.patterns.entry(letter.to_string()).or_default();
                    let same = |other: &Pattern| {
                        other.entry == entry
                            && other.says == says
                            && other.slots.len() == pattern.slots.len()
                            && other
                                .slots
                                .iter()
                                .zip(&pattern.slots)
                                .all(|(a, b)| a.words == b.words)
                    };
                    if !patterns.iter().any(same) {
                        patterns.push(pattern.clone());
                    }
                }
            }
        }
        Ok(())
    }
}

fn push(rows: &mut HashMap<String, Vec<Pattern>>, entry: usize, row: Vec<String>, says: Says) {
    let Some(first) = row.first().cloned() else { return };
    let slots = row.into_iter().map(Slot::word).collect();
    rows.entry(first).or_default().push(Pattern { entry, slots, says });
}

impl Slot {
    fn word(word: String) -> Self {
        Self { words: vec![word], side: false, shared: false }
    }
}

/// Reads `!weak @limb word @side`: any word of a class, and plain words.
fn slots(text: &str, classes: &HashMap<String, Vec<String>>) -> Result<Vec<Slot>, LexiconError> {
    let mut slots = Vec::new();
    for place in text.split_whitespace() {
        let (name, shared) = match (place.strip_prefix('!'), place.strip_prefix('@')) {
            (Some(name), _) => (name, false),
            (None, Some(name)) => (name, true),
            (None, None) => {
                slots.push(Slot::word(place.to_owned()));
                continue;
            }
        };
        if name == "side" {
            slots.push(Slot { words: Vec::new(), side: true, shared });
            continue;
        }
        let words = classes.get(name).cloned().ok_or_else(|| wrong(text, "names no class"))?;
        slots.push(Slot { words, side: false, shared });
    }
    match slots.first() {
        Some(first) if !first.side => Ok(slots),
        Some(_) | None => Err(wrong(text, "must begin with a word")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(findings: &str) -> Result<Lexicon, LexiconError> {
        Lexicon::parse(&format!(
            "version = \"1\"\n[english]\n[korean]\n[classes.english]\n[classes.korean]\n{findings}"
        ))
    }

    #[test]
    fn the_built_in_lexicon_is_sound() {
        let lexicon = Lexicon::built_in().unwrap();
        assert!(lexicon.entries().len() >= 80, "{}", lexicon.entries().len());
        assert!(!lexicon.version().is_empty());
    }

    #[test]
    fn a_phrase_is_itself_without_its_idle_words() {
        // (what the row is for, phrase, whether it is refused)
        let table = [
            ("nothing lost", "loss of smell", false),
            ("one word", "ringing", false),
            ("every edge", "on edge", true),
            ("a form of an idle word", "ringing sides", true),
        ];
        for (case, phrase, refused) in table {
            let text = format!(
                "version = \"1\"\n[english]\ntransparent = ['on', 'of', 'side']\n[korean]\n\
                 [classes.english]\n[classes.korean]\n\
                 [[finding]]\nid='a'\ncode='NT:a'\nname='A'\nenglish=['{phrase}']"
            );
            let error = Lexicon::parse(&text).err().map(|error| error.to_string());
            let refusal = error.is_some_and(|error| error.contains("is not itself"));
            assert_eq!(refusal, refused, "case: {case}");
        }
    }

    #[test]
    fn a_bad_entry_is_named() {
        let table = [
            ("no code", "[[finding]]\nid='a'\ncode='X'\nname='A'", "needs a code"),
            ("short code", "[[finding]]\nid='a'\ncode='HP:1'\nname='A'", "needs a code"),
            (
                "twice",
                "[[finding]]\nid='a'\ncode='NT:a'\nname='A'\n[[finding]]\nid='a'\ncode='NT:a'\nname='A'",
                "is there twice",
            ),
            (
                "two owners",
                "[[finding]]\nid='a'\ncode='NT:a'\nname='A'\nenglish=['x']\n[[finding]]\nid='b'\ncode='NT:b'\nname='B'\nenglish=['x']",
                "belongs to two findings",
            ),
            (
                "no class",
                "[[finding]]\nid='a'\ncode='NT:a'\nname='A'\nenglish_patterns=['x @nothing']",
                "names no class",
            ),
            (
                "side first",
                "[[finding]]\nid='a'\ncode='NT:a'\nname='A'\nkorean=['@side x']",
                "must begin with a word",
            ),
            (
                "two severities",
                "[english.attributes.severity]\nmild=['x']\nsevere=['x']",
                "says two things",
            ),
            ("no word", "[korean.attributes.onset]\nsudden=[' ']", "has no word"),
            (
                "unknown key",
                "[[finding]]\nid='a'\ncode='NT:a'\nname='A'\nfrench=['x']",
                "read lexicon",
            ),
        ];
        for (case, findings, problem) in table {
            let error = parse(findings).unwrap_err().to_string();
            assert!(error.contains(problem), "case: {case}: {error}");
        }
    }
}
