//! Names as a search takes them: one spelling for what people write in several ways.
//!
//! A name is read into words, and a word into pieces, at hyphens and apostrophes. Words in Hangul, Chinese characters or
//! kana that follow each other are one word, since a space between them may be left out. A word begins where one of its
//! pieces does: `Ha-neul` begins with `haneul` and with `neul`.
//!
//! A change of a rule here asks for every token of a name to be made again, and what was found before must go on to be.

use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

use crate::normal::Normal;

/// A name in its one spelling: case, width, accents and ignorable characters do not count.
pub struct FoldedName {
    words: Vec<Word>,
    /// Words between spaces, before those that may be written together were joined.
    spaced: usize,
}

/// A word that is searched for, or found, as a whole and by its pieces.
pub(crate) struct Word {
    pieces: Vec<Zeroizing<String>>,
    /// The longest of its spaced words as names were indexed before pieces were told apart: rows may hold such tokens.
    plain: Zeroizing<String>,
    is_wide: bool,
}

impl FoldedName {
    /// Reads a name, or the beginnings of its words.
    pub fn read(text: &str) -> Self {
        let normal = normal(text);
        let mut words: Vec<Word> = Vec::new();
        let mut spaced = 0;
        for plain in normal.split(' ') {
            let pieces = pieces(plain);
            if pieces.is_empty() {
                continue;
            }
            spaced += 1;
            let is_wide = pieces.iter().all(|piece| piece.chars().all(is_wide));
            let plain = Zeroizing::new(plain.to_owned());
            match words.last_mut() {
                Some(before) if is_wide && before.is_wide => {
                    before.pieces.extend(pieces);
                    if plain.chars().count() > before.plain.chars().count() {
                        before.plain = plain;
                    }
                }
                Some(_) | None => words.push(Word { pieces, plain, is_wide }),
            }
        }
        Self { words, spaced }
    }

    /// Returns whether each word of `typed` begins a word of the name, as a whole or piece by piece.
    pub fn begins_like(&self, typed: &Self) -> bool {
        let starts: Vec<Zeroizing<String>> = self.starts().collect();
        let begins = |text: &str| starts.iter().any(|start| start.starts_with(text));
        let each = |word: &Word| {
            begins(&word.joined())
                || word.pieces.len() > 1 && word.pieces.iter().all(|piece| begins(piece))
        };
        !typed.words.is_empty() && typed.words.iter().all(each)
    }

    /// Returns whether a word is long enough to be searched for; the others are then compared alone.
    pub fn is_searchable(&self, chars_min: usize) -> bool {
        self.words.iter().any(|word| word.is_searchable(chars_min))
    }

    /// Returns how many words stand between spaces.
    pub fn spaced(&self) -> usize {
        self.spaced
    }

    pub(crate) fn words(&self) -> &[Word] {
        &self.words
    }

    /// Returns what the name begins with: each word from each of its pieces on.
    pub(crate) fn starts(&self) -> impl Iterator<Item = Zeroizing<String>> {
        self.words.iter().flat_map(|word| {
            (0..word.pieces.len()).map(|from| joined(word.pieces.get(from..).unwrap_or_default()))
        })
    }
}

impl Word {
    fn joined(&self) -> Zeroizing<String> {
        joined(&self.pieces)
    }

    fn is_searchable(&self, chars_min: usize) -> bool {
        !self.spellings(chars_min).is_empty()
    }

    /// Returns spellings of which a row that the word begins like has one for certain, if one is long enough. Where no
    /// piece is, such as in `d'a`, rows that tell the pieces apart are not found: so short a beginning is not indexed.
    pub(crate) fn spellings(&self, chars_min: usize) -> Vec<Zeroizing<String>> {
        let is_long = |text: &Zeroizing<String>| text.chars().count() >= least(text, chars_min);
        let long = self.pieces.iter().filter(|piece| is_long(piece));
        let longest = long.max_by_key(|piece| piece.chars().count()).cloned();
        let joined = Some(self.joined()).filter(is_long);
        let mut spellings: Vec<Zeroizing<String>> = joined.into_iter().chain(longest).collect();
        // Alone it would find rows that were indexed before, and no other.
        if !spellings.is_empty() && is_long(&self.plain) {
            spellings.push(self.plain.clone());
        }
        spellings
    }
}

/// Returns the fewest characters of a beginning of `text` that are indexed: one that is a family name or a word by
/// itself, else `chars_min`.
pub(crate) fn least(text: &str, chars_min: usize) -> usize {
    if text.starts_with(is_wide) { 1 } else { chars_min }
}

fn joined(pieces: &[Zeroizing<String>]) -> Zeroizing<String> {
    Zeroizing::new(pieces.iter().map(|piece| piece.as_str()).collect())
}

/// Returns a name with one spelling for each letter, words and their hyphens and apostrophes left as they are: case,
/// width, accents and ignorable characters do not count.
pub fn fold_letters(name: &str) -> Zeroizing<String> {
    bare(&normal(name))
}

fn normal(name: &str) -> Zeroizing<String> {
    // Its compatibility form is a space and an accent: it would part words.
    let name = Zeroizing::new(name.replace('\u{b4}', "'"));
    Normal::Text.apply(&name)
}

/// Returns the pieces of a word in its normal form, without accents.
fn pieces(word: &str) -> Vec<Zeroizing<String>> {
    let bare = bare(word);
    let pieces = bare.split(parts).filter(|piece| !piece.is_empty());
    pieces.map(|piece| Zeroizing::new(piece.to_owned())).collect()
}

/// Returns a normal form without accents, with what is typed for letters that few keyboards have.
fn bare(normal: &str) -> Zeroizing<String> {
    let bare: Zeroizing<String> = Zeroizing::new(normal.nfd().filter(|&c| !is_accent(c)).collect());
    let mut folded = Zeroizing::new(String::with_capacity(bare.len()));
    for letter in bare.nfc() {
        match base(letter) {
            Some(base) => folded.push_str(base),
            None => folded.push(letter),
        }
    }
    folded
}

/// Returns whether `letter` parts pieces of a word: a hyphen, an apostrophe, or what is typed for one.
fn parts(letter: char) -> bool {
    is_apostrophe(letter)
        || matches!(
            letter,
            '-' | '\u{ad}' | '\u{2010}'
                ..='\u{2015}' | '\u{2212}' | '\u{b7}' | '\u{30fb}' | '\u{30a0}'
        )
}

/// Returns whether `letter` is an apostrophe, or what is typed for one.
pub fn is_apostrophe(letter: char) -> bool {
    matches!(
        letter,
        '\'' | '`' | '\u{2018}' | '\u{2019}' | '\u{2032}' | '\u{2b9}' | '\u{2bb}' | '\u{2bc}'
    )
}

/// Marks above and below letters; not the vowels and voicing marks of other scripts, which make another letter.
fn is_accent(letter: char) -> bool {
    matches!(letter,
        '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}')
}

/// Returns what is typed for a letter that is not made of another and an accent.
fn base(letter: char) -> Option<&'static str> {
    Some(match letter {
        'ø' => "o",
        'ł' => "l",
        'đ' | 'ð' => "d",
        'ħ' => "h",
        'ŧ' => "t",
        'æ' => "ae",
        'œ' => "oe",
        'þ' => "th",
        _ => return None,
    })
}

/// Hangul, Chinese characters with the marks that stand for one (々, 〆, 〇), and kana: a character is a syllable or a
/// word, and spaces are optional.
fn is_wide(letter: char) -> bool {
    matches!(letter,
        '\u{ac00}'..='\u{d7a3}' | '\u{1100}'..='\u{11ff}' | '\u{3005}'..='\u{3007}'
        | '\u{3040}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}'
        | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn begins_like(name: &str, typed: &str) -> bool {
        FoldedName::read(name).begins_like(&FoldedName::read(typed))
    }

    #[test]
    fn spellings_of_one_name_find_it() {
        // (name, typed, whether it begins like that)
        let table = [
            ("Kim Ha-neul", "haneul", true),
            ("Kim Ha-neul", "ha neul", true),
            ("Kim Ha-neul", "ha-neul kim", true),
            ("Kim Ha-neul", "neul", true),
            ("Kim Ha-neul", "kim h", true),
            ("Kim Ha-neul", "aneul", false),
            ("Kim Ha-neul", "ha-sun", false),
            ("Kim Haneul", "ha-neul", true),
            ("Kim Ha Neul", "ha-neul", true),
            ("O'Brien", "obrien", true),
            ("O’Brien", "o brien", true),
            ("O\u{b4}Brien", "O'BRIEN", true),
            ("OBrien", "o'brien", true),
            ("O'Brien", "o'bryan", false),
            ("Jürgen Müller", "jurgen muller", true),
            ("Jurgen Muller", "Jürgen Müller", true),
            ("Søren Łukasz", "soren lukasz", true),
            ("Zoë", "zoe", true),
            ("김하늘", "김", true),
            ("김하늘", "김하", true),
            ("김하늘", "김 하늘", true),
            ("김하늘", "하늘", false),
            ("김 하늘", "김하늘", true),
            ("김 하늘", "김하", true),
            ("김 하늘", "하늘 김", true),
            ("김 하늘", "김나", false),
            ("이 영희", "이 영희", true),
            ("이 영희", "이영", true),
            ("山田 太郎", "山田太", true),
            ("佐々木 太郎", "佐々木太郎", true),
            ("佐々木太郎", "佐々木 太郎", true),
            ("佐々木 太郎", "太郎", true),
            ("がく", "かく", false),
            ("Kim 하늘", "kim 하", true),
            ("Ada", "", false),
            ("Ada", "--", false),
        ];
        for (name, typed, expected) in table {
            assert_eq!(begins_like(name, typed), expected, "{typed} for {name}");
        }
    }

    #[test]
    fn one_character_is_enough_where_it_is_a_name() {
        for (typed, expected) in
            [("김", true), ("이 a", true), ("ab", true), ("a", false), ("a b", false), ("'", false)]
        {
            assert_eq!(FoldedName::read(typed).is_searchable(2), expected, "{typed}");
        }
    }

    proptest! {
        /// What was found by how its words begin, before pieces were told apart, still is.
        #[test]
        fn a_plain_beginning_is_found_whatever_is_in_it(
            name in "[a-zA-Z가-힣ß-öø-ÿ'\\-·]{1,8}( [a-zA-Z가-힣一-三'\\-]{1,8}){0,3}",
            word: prop::sample::Index,
            chars in 1..9_usize,
        ) {
            let normal = Normal::Text.apply(&name);
            let words: Vec<&str> = normal.split(' ').collect();
            let typed: String = words[word.index(words.len())].chars().take(chars).collect();
            if !FoldedName::read(&typed).words.is_empty() {
                prop_assert!(begins_like(&name, &typed));
            }
        }
    }
}
