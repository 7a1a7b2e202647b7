//! Words made comparable: small letters, no accents, no endings that the lexicon does not know.

use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

use super::token::Token;
use crate::lexicon::EnglishWords;

/// Shortest idle word that another is taken for a form of: "sides".
const IDLE_FORM_BYTES_MIN: usize = 4;

/// Returns true for letters of the Korean alphabet.
pub(super) fn is_hangul(c: char) -> bool {
    matches!(c, '\u{AC00}'..='\u{D7A3}' | '\u{1100}'..='\u{11FF}' | '\u{3131}'..='\u{318E}')
}

/// Returns the word in small letters, without accents and apostrophes.
pub(super) fn plain_word(word: &str) -> String {
    let letters = word.nfd().filter(|&c| !is_combining_mark(c) && !matches!(c, '\'' | '’'));
    letters.flat_map(char::to_lowercase).collect()
}

/// Returns the words of a phrase of the lexicon, as [`plain_word`] makes them.
pub(crate) fn plain_words(phrase: &str) -> Vec<String> {
    phrase.split([' ', '-']).filter(|word| !word.is_empty()).map(plain_word).collect()
}

/// Returns the words of a phrase as a text's words come out: known forms, rewritten rows.
pub(crate) fn english_words(phrase: &str, words: &EnglishWords) -> Vec<String> {
    let mut row: Vec<String> =
        plain_words(phrase).into_iter().map(|word| canonical(word, words)).collect();
    for (from, to) in &words.rewrites {
        while let Some(at) = row.windows(from.len()).position(|window| window == from.as_slice()) {
            row.splice(at..at + from.len(), [to.clone()]);
        }
    }
    row
}

/// Returns the form of a plain English word that the lexicon knows, or the word itself.
pub(crate) fn canonical(word: String, words: &EnglishWords) -> String {
    let form = known_form(&word, words).unwrap_or(word);
    words.same.get(&form).cloned().unwrap_or(form)
}

fn known_form(word: &str, words: &EnglishWords) -> Option<String> {
    let known = |form: &str| words.known.contains(form);
    if words.fixed.contains(word) || word.len() < 4 {
        return None;
    }
    // (ending, what stands for it)
    let endings: [(&str, &[&str]); 7] = [
        ("ies", &["y"]),
        ("es", &["", "e"]),
        ("s", &[""]),
        ("ing", &["", "e"]),
        ("ed", &["", "e"]),
        ("ly", &["", "e"]),
        ("ness", &[""]),
    ];
    for (ending, replacements) in endings {
        let Some(stem) = word.strip_suffix(ending).filter(|stem| stem.len() >= 2) else { continue };
        for replacement in replacements {
            let form = format!("{stem}{replacement}");
            if known(&form) && (form.len() >= IDLE_FORM_BYTES_MIN || !words.idle.contains(&form)) {
                return Some(form);
            }
        }
        // "vomitting", "stopped": a doubled letter.
        let mut letters = stem.chars().rev();
        if let (Some(last), Some(before)) = (letters.next(), letters.next())
            && last == before
            && last.is_ascii()
        {
            let form = &stem[..stem.len() - 1];
            // "Hissing" is no "his".
            if known(form) && !words.idle.contains(form) {
                return Some(form.to_owned());
            }
        }
    }
    None
}

/// Returns where `row` stands in `tokens`, word by word.
pub(super) fn find_row(tokens: &[Token], row: &[String], from: usize) -> Option<usize> {
    let fits = |window: &[Token]| window.iter().zip(row).all(|(token, word)| token.word == *word);
    let tail = tokens.get(from..)?;
    tail.windows(row.len()).position(fits).map(|at| from + at)
}
