//! Words with which a text speaks of somebody else, of once, or of what is not there.

use std::collections::HashSet;

use serde::Deserialize;

/// Whom a word for somebody else may mean, as far as pronouns go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kin {
    He,
    She,
    Any,
    /// A family's history, of which no pronoun is.
    Family,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct EnglishAsideSource {
    he: Vec<String>,
    she: Vec<String>,
    any: Vec<String>,
    owners: Vec<String>,
    not_after: Vec<String>,
    reports: Vec<String>,
    patient: Vec<String>,
    presents: Vec<String>,
    once: Vec<String>,
    once_after: Vec<String>,
    ceased: Vec<String>,
    unreal: Vec<String>,
    unreal_after: Vec<String>,
    feared: Vec<String>,
    advice: Vec<String>,
    listed: Vec<String>,
    told: Vec<String>,
}

/// English words that set others aside.
#[derive(Debug, Default)]
pub(crate) struct EnglishAside {
    he: HashSet<String>,
    she: HashSet<String>,
    any: HashSet<String>,
    /// "My", "his": words before somebody else that say whose they are.
    pub(crate) owners: HashSet<String>,
    /// Words after which somebody else is nobody's subject: "by", "with".
    pub(crate) not_after: HashSet<String>,
    /// What somebody does who only reports.
    pub(crate) reports: HashSet<String>,
    patient: HashSet<String>,
    /// Words with which what the patient has follows a history: "presents".
    pub(crate) presents: HashSet<String>,
    /// Rows with which a clause says how it once was.
    pub(crate) once: Vec<Vec<String>>,
    /// Rows that say so of what follows them.
    pub(crate) once_after: Vec<Vec<String>>,
    /// Rows that say that what stands before them has not come back.
    pub(crate) ceased: Vec<Vec<String>>,
    /// Rows that say that what follows, or what ends with them, is not there or may come.
    pub(crate) unreal: Vec<Vec<String>>,
    /// Rows that say so of what stands before them.
    pub(crate) unreal_after: Vec<Vec<String>>,
    /// Rows that say so of what follows them, and are said themselves: "worried about …".
    pub(crate) feared: Vec<Vec<String>>,
    /// Words of a sentence whose "if" speaks of what may come: "return".
    pub(crate) advice: HashSet<String>,
    /// Rows that say of a whole list that it may come: "side effects".
    pub(crate) listed: Vec<Vec<String>>,
    /// Words with which such a list was only spoken of: "explained".
    pub(crate) told: HashSet<String>,
}

fn set(words: &[String]) -> HashSet<String> {
    words.iter().cloned().collect()
}

fn rows(phrases: &[String]) -> Vec<Vec<String>> {
    phrases.iter().map(|row| row.split_whitespace().map(ToOwned::to_owned).collect()).collect()
}

impl EnglishAsideSource {
    pub(super) fn words(&self) -> EnglishAside {
        EnglishAside {
            he: set(&self.he),
            she: set(&self.she),
            any: set(&self.any),
            owners: set(&self.owners),
            not_after: set(&self.not_after),
            reports: set(&self.reports),
            patient: set(&self.patient),
            presents: set(&self.presents),
            once: rows(&self.once),
            once_after: rows(&self.once_after),
            ceased: rows(&self.ceased),
            unreal: rows(&self.unreal),
            unreal_after: rows(&self.unreal_after),
            feared: rows(&self.feared),
            advice: set(&self.advice),
            listed: rows(&self.listed),
            told: set(&self.told),
        }
    }
}

impl EnglishAside {
    /// Returns whom the word means, if somebody else.
    pub(crate) fn kin(&self, word: &str) -> Option<Kin> {
        if self.he.contains(word) {
            Some(Kin::He)
        } else if self.she.contains(word) {
            Some(Kin::She)
        } else {
            self.any.contains(word).then_some(Kin::Any)
        }
    }

    /// Returns true if the pronoun may mean them.
    pub(crate) fn means(&self, word: &str, kin: Kin) -> bool {
        match word {
            "he" | "hes" => matches!(kin, Kin::He | Kin::Any),
            "she" | "shes" => matches!(kin, Kin::She | Kin::Any),
            "they" | "theyre" => kin != Kin::Family,
            _ => false,
        }
    }

    /// Returns true if the word makes the patient the subject again.
    pub(crate) fn returns(&self, word: &str, kin: Kin) -> bool {
        let pronoun = matches!(word, "he" | "hes" | "she" | "shes");
        self.patient.contains(word) || (pronoun && !self.means(word, kin))
    }

    /// Returns every word that a text's words must be compared with.
    pub(super) fn vocabulary(&self) -> impl Iterator<Item = &String> {
        let sets = [
            &self.he,
            &self.she,
            &self.any,
            &self.owners,
            &self.not_after,
            &self.reports,
            &self.patient,
            &self.presents,
            &self.advice,
            &self.told,
        ];
        let rows = [
            &self.once,
            &self.once_after,
            &self.ceased,
            &self.unreal,
            &self.unreal_after,
            &self.feared,
            &self.listed,
        ];
        sets.into_iter().flatten().chain(rows.into_iter().flatten().flatten())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct KoreanAsideSource {
    kin: Vec<String>,
    subjects: Vec<String>,
    reports: Vec<String>,
    patient: Vec<String>,
    holder: Vec<String>,
    once: Vec<String>,
    unreal: Vec<String>,
}

/// Korean words that set others aside.
#[derive(Debug, Default)]
pub(crate) struct KoreanAside {
    /// Stems of somebody else.
    pub(crate) kin: Vec<String>,
    subjects: HashSet<String>,
    /// Stems of what somebody does who only reports.
    pub(crate) reports: Vec<String>,
    /// Words that make the patient the subject again.
    pub(crate) patient: HashSet<String>,
    /// Words for whoever has a history, after which the patient's own begins: "자로".
    pub(crate) holder: HashSet<String>,
    /// Rows of whole words with which a clause says how it once was.
    pub(crate) once: Vec<Vec<String>>,
    /// Stems that say that what stands before them is not there or may come.
    pub(crate) unreal: Vec<String>,
}

impl KoreanAsideSource {
    pub(super) fn words(&self) -> KoreanAside {
        KoreanAside {
            kin: self.kin.clone(),
            subjects: set(&self.subjects),
            reports: self.reports.clone(),
            patient: set(&self.patient),
            holder: set(&self.holder),
            once: rows(&self.once),
            unreal: self.unreal.clone(),
        }
    }
}

impl KoreanAside {
    /// Returns true if the word is somebody else as a subject, or alone: "어머니가", "형".
    pub(crate) fn is_kin(&self, word: &str) -> bool {
        self.kin.iter().filter_map(|kin| word.strip_prefix(kin.as_str())).any(|rest| {
            // A name of one letter alone may be anything: "형", "딸".
            let alone = rest.is_empty() && word.chars().nth(1).is_some();
            alone || self.subjects.contains(rest)
        })
    }
}
