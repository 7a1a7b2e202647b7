//! One spelling for texts that a search takes to be the same.

use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

/// How a text is brought to one spelling before it is hashed. A change of a rule here asks for
/// every token to be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Normal {
    /// Names, identifiers, e-mail addresses: NFKC, case folded, ignorable characters left out,
    /// white space trimmed and runs of it made one space.
    Text,
    /// The text as it is.
    Verbatim,
    /// Telephone numbers: the digits, after `+` if it leads. Country codes are not added.
    Phone,
}

impl Normal {
    /// Returns the one spelling of `text`.
    pub fn apply(self, text: &str) -> Zeroizing<String> {
        match self {
            Self::Text => {
                // Folding can make a letter that composes, and composing one that folds.
                let once = folded(text);
                let twice = folded(&once);
                Zeroizing::new(twice.split_whitespace().collect::<Vec<_>>().join(" "))
            }
            Self::Verbatim => Zeroizing::new(text.to_owned()),
            Self::Phone => {
                let text = Zeroizing::new(text.nfkc().collect::<String>());
                let plus = if text.trim_start().starts_with('+') { "+" } else { "" };
                let digits = text.chars().filter(char::is_ascii_digit);
                Zeroizing::new(plus.chars().chain(digits).collect())
            }
        }
    }
}

/// Returns `text` in NFKC with its case folded.
///
/// A character is folded as the lower case of its upper case, which joins what Unicode's full
/// folding joins (`ß` and `ss`, `ς` and `σ`) and the dotless `ı` with `i`.
fn folded(text: &str) -> Zeroizing<String> {
    let folded = text
        .nfkc()
        .filter(|&letter| !ignorable(letter))
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase);
    Zeroizing::new(folded.nfkc().collect())
}

/// Returns whether `letter` shows nothing: soft hyphens, joiners, marks of direction, variation
/// selectors.
fn ignorable(letter: char) -> bool {
    matches!(letter,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_text_are_one() {
        let table = [
            ("case", "Ada SAMPLE", "ada sample"),
            ("white space", "\t Ada \u{3000}\u{a0} Sample\n", "ada sample"),
            ("decomposed accent", "Zoe\u{301}", "zoé"),
            ("full width", "Ｓａｍｐｌｅ１２", "sample12"),
            ("sharp s", "Straße", "strasse"),
            ("capital sharp s", "STRAẞE", "strasse"),
            ("final sigma", "ΣΑΣ ς", "σασ σ"),
            ("Hangul letters", "\u{1112}\u{1161}\u{1102}\u{1161}", "하나"),
            ("ligature", "ﬁne", "fine"),
            ("soft hyphen and joiner", "Sam\u{ad}p\u{200d}le", "sample"),
            ("nothing", " \u{feff}", ""),
        ];
        for (case, text, expected) in table {
            assert_eq!(Normal::Text.apply(text).as_str(), expected, "case: {case}");
        }
    }

    #[test]
    fn a_telephone_number_is_its_digits() {
        let table = [
            ("signs", "(010) 0000-12 34", "01000001234"),
            ("country code", " +82-10.0000", "+82100000"),
            ("full width", "＋８２", "+82"),
            ("plus inside", "0+1", "01"),
        ];
        for (case, text, expected) in table {
            assert_eq!(Normal::Phone.apply(text).as_str(), expected, "case: {case}");
        }
    }

    proptest! {
        #[test]
        fn a_normal_text_is_left_as_it_is(text in "\\PC{0,40}") {
            let once = Normal::Text.apply(&text);
            let twice = Normal::Text.apply(&once);
            prop_assert_eq!(&*twice, &*once);
        }

        #[test]
        fn case_makes_no_difference(text in "[a-zA-Zà-ÿÀ-ÖØ-ÞΑ-Ωα-ωА-Яа-я ]{0,40}") {
            let upper = Normal::Text.apply(&text.to_uppercase());
            prop_assert_eq!(&*upper, &*Normal::Text.apply(&text.to_lowercase()));
        }
    }
}
