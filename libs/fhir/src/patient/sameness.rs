//! Whether two descriptions can be of one patient.

use neurotriage_sealing::{fold_letters, is_apostrophe};

use super::Patient;
use crate::{code::Sex, time_text::day};

/// What a resource tells of a patient beside what is kept, and by which one is told from another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// The family name, if it is told by itself.
    pub family: Option<String>,
    /// The year of birth, or year and month, as `1960` or `1960-05`, if no day is told.
    pub birth_part: Option<String>,
}

/// Returns the elements of FHIR's Patient by which `sent` cannot be `kept`: both tell them, and they
/// differ.
pub fn contradictions(kept: &Patient, sent: &Patient, hints: &Hints) -> Vec<&'static str> {
    let mut elements = Vec::new();
    let is_other_day = match (kept.birth_date, sent.birth_date, &hints.birth_part) {
        (Some(kept), Some(sent), _) => kept != sent,
        (Some(kept), None, Some(part)) => !day(kept).starts_with(part.as_str()),
        (None, _, _) | (Some(_), None, None) => false,
    };
    if is_other_day {
        elements.push("birthDate");
    }
    // Whoever is "other" in one record system may be either in the next.
    let is_other_sex = matches!(
        (kept.sex, sent.sex),
        (Some(Sex::Female), Some(Sex::Male)) | (Some(Sex::Male), Some(Sex::Female))
    );
    if is_other_sex {
        elements.push("gender");
    }
    if are_other_names(&kept.name, &sent.name, hints.family.as_deref()) {
        elements.push("name");
    }
    elements
}

/// How a name is written; names of two scripts cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Script {
    Latin,
    Hangul,
    /// Characters of China and Japan.
    Han,
    /// Hiragana and katakana, in which Japanese names are told a second time, as they are spoken.
    Kana,
    /// Another, by its block of Unicode.
    Other(u32),
}

impl Script {
    fn of(text: &str) -> Option<Self> {
        let letter = text.chars().find(|c| c.is_alphabetic())?;
        Some(match letter {
            '\u{0}'..='\u{24f}' | '\u{1e00}'..='\u{1eff}' => Self::Latin,
            '\u{1100}'..='\u{11ff}' | '\u{ac00}'..='\u{d7a3}' => Self::Hangul,
            '\u{3040}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' => Self::Kana,
            '\u{3005}'..='\u{3007}' | '\u{3400}'..='\u{9fff}' | '\u{20000}'..='\u{3ffff}' => {
                Self::Han
            }
            other => Self::Other(u32::from(other) >> 8),
        })
    }

    /// Whether the family name comes first, with or without a blank.
    fn is_family_first(self) -> bool {
        matches!(self, Self::Hangul | Self::Han | Self::Kana)
    }
}

/// The family name, where it is told, must be part of the other name; where it is not, any part in common is
/// enough, for nobody knows which part it is.
fn are_other_names(kept: &str, sent: &str, family: Option<&str>) -> bool {
    let (kept, sent, family) = (fold_letters(kept), fold_letters(sent), family.map(fold_letters));
    let family = family.as_ref().filter(|family| Script::of(family).is_some());
    let told = family.unwrap_or(&sent);
    let (Some(script), Some(of_kept)) = (Script::of(told), Script::of(&kept)) else { return false };
    if script != of_kept {
        return false;
    }
    if script.is_family_first() {
        let (kept, told) = (joined(&kept), joined(told));
        return match family {
            Some(_) => !kept.starts_with(&told) && !kept.ends_with(&told),
            None => kept.chars().next() != told.chars().next(),
        };
    }
    let (kept_words, told_words) = (words(&kept), words(told));
    let kept_parts = parts(&kept_words);
    if parts(&told_words).iter().any(|part| kept_parts.contains(part)) {
        return false;
    }
    // De Luca and DeLuca, Mc Donald and McDonald.
    match family {
        Some(_) => !has_run(&kept_words, &told_words.concat()),
        None => kept_words.concat() != told_words.concat(),
    }
}

/// Returns a name without what stands between its parts, in katakana if it is in kana.
fn joined(folded: &str) -> String {
    let katakana = |c: char| match c {
        '\u{3041}'..='\u{3096}' | '\u{309d}'..='\u{309e}' => {
            char::from_u32(u32::from(c) + HIRAGANA_TO_KATAKANA).unwrap_or(c)
        }
        other => other,
    };
    folded.chars().filter(|c| c.is_alphanumeric()).map(katakana).collect()
}

/// How far the block of katakana lies behind that of hiragana, which has the same order.
const HIRAGANA_TO_KATAKANA: u32 = 0x60;

/// Returns whether words that follow each other, put together, are `joined`.
fn has_run(words: &[String], joined: &str) -> bool {
    (0..words.len()).any(|from| {
        let mut rest = joined;
        for word in words.iter().skip(from) {
            match rest.strip_prefix(word.as_str()) {
                Some("") => return true,
                Some(left) => rest = left,
                None => return false,
            }
        }
        false
    })
}

/// Small words of family names, which several may have and one may leave out.
const PARTICLES: [&str; 14] =
    ["al", "bin", "da", "de", "del", "den", "der", "di", "dos", "du", "la", "le", "van", "von"];

/// Words that tell one name from another: no single letters and no particles, unless there is nothing else.
fn parts(words: &[String]) -> Vec<&str> {
    let tells = |word: &&str| word.chars().count() > 1 && !PARTICLES.contains(word);
    let telling: Vec<&str> = words.iter().map(String::as_str).filter(tells).collect();
    if telling.is_empty() { words.iter().map(String::as_str).collect() } else { telling }
}

/// Words of folded letters, with one spelling for letters that are written in several ways.
fn words(folded: &str) -> Vec<String> {
    let plain = |c: &char| *c != '.' && !is_apostrophe(*c);
    let small: String = folded.chars().filter(plain).collect();
    // Müller is Mueller where there is no ü.
    let small = small.replace("ae", "a").replace("oe", "o").replace("ue", "u");
    let words = small.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;

    #[test]
    fn names_contradict_only_where_the_family_name_cannot_be_the_same() {
        // (kept, sent, family of what is sent, whether they are of two people)
        let table = [
            ("Jane Smith", "Jane Smith", Some("Smith"), false),
            ("SMITH, Jane", "J. Smith", Some("Smith"), false),
            ("Jane Smith", "Jane Jones", Some("Jones"), true),
            ("Jane Smith-Jones", "Jane Jones", Some("Jones"), false),
            ("Jörg Müller", "Jorg Muller", Some("Muller"), false),
            ("Aoife O'Brien", "Aoife OBrien", Some("OBrien"), false),
            ("Ana de la Cruz", "Ana Cruz", Some("Cruz"), false),
            ("Ana de la Cruz", "Ana de la Vega", Some("de la Vega"), true),
            ("Jan van der Berg", "Jan van der Meer", None, false),
            ("Jan van der Berg", "Piet van der Meer", None, true),
            ("Jan van", "Jan van", Some("van"), false),
            ("Aoife O'Brien", "Aoife O Brien", Some("O Brien"), false),
            ("Aoife O Brien", "Aoife OBrien", Some("OBrien"), false),
            ("Jane McDonald", "Jane Mc Donald", Some("Mc Donald"), false),
            ("Jane Mc Donald", "Jane McDonald", Some("McDonald"), false),
            ("Anna De Luca", "Anna DeLuca", Some("DeLuca"), false),
            ("Anna DeLuca", "Anna De Luca", Some("De Luca"), false),
            ("De Luca", "DeLuca", None, false),
            ("Anna De Luca", "Anna DeLucia", Some("DeLucia"), true),
            ("Jörg Müller", "Joerg Mueller", Some("Mueller"), false),
            ("Jörg Größe", "Jorg Groesse", Some("Groesse"), false),
            ("Søren Kjær", "Soren Kjaer", Some("Kjaer"), false),
            ("Łukasz Wałęsa", "Lukasz Walesa", Some("Walesa"), false),
            ("Ayşe Yıldız", "AYŞE YILDIZ", Some("YILDIZ"), false),
            ("Ayşe Yıldız", "Ayse Yildiz", Some("Yildiz"), false),
            ("İpek İnan", "Ipek Inan", Some("Inan"), false),
            ("Đặng Văn An", "Dang Van An", Some("Dang"), false),
            ("Jón Sigurðsson", "Jon Sigurdsson", Some("Sigurdsson"), false),
            ("Þóra Þórsdóttir", "Thora Thorsdottir", Some("Thorsdottir"), false),
            ("Aoife O\u{2bc}Brien", "Aoife OBrien", Some("OBrien"), false),
            ("Aoife O\u{b4}Brien", "Aoife O'Brien", Some("O'Brien"), false),
            ("Jane O'Neil", "Jane D'Neil", Some("D'Neil"), true),
            ("Ｊａｎｅ Ｓｍｉｔｈ", "Jane Smith", Some("Smith"), false),
            ("Jörg Müller", "Jörg Möller", Some("Möller"), true),
            ("Jane Smith", "Jane Doe", None, false),
            ("Jane Smith", "Robert Jones", None, true),
            ("J. Smith", "J. Jones", None, true),
            ("한가람", "한 가람", Some("한"), false),
            ("가람 한", "한가람", Some("한"), false),
            ("한가람", "김가람", Some("김"), true),
            ("한가람", "한가은", None, false),
            ("한가람", "김철수", None, true),
            ("남궁민", "남궁민", Some("남궁"), false),
            ("한가람", "Han Ga-ram", Some("Han"), false),
            ("山田太郎", "ヤマダ タロウ", Some("ヤマダ"), false),
            ("山田太郎", "やまだ たろう", None, false),
            ("ヤマダ タロウ", "やまだ たろう", Some("やまだ"), false),
            ("ヤマダ タロウ", "ﾔﾏﾀﾞ ﾀﾛｳ", Some("ﾔﾏﾀﾞ"), false),
            ("ヤマダ タロウ", "すずき たろう", Some("すずき"), true),
            ("ヤマダ タロウ", "すずき たろう", None, true),
            ("ジョン・スミス", "ジョン スミス", Some("スミス"), false),
            ("佐々木 太郎", "佐々木太郎", Some("佐々木"), false),
            ("佐々木 太郎", "鈴木太郎", Some("鈴木"), true),
            ("", "Jane Smith", Some("Smith"), false),
            ("Jane Smith", "", None, false),
            ("Иван Петров", "Иван Сидоров", Some("Сидоров"), true),
        ];
        for (kept, sent, family, are_two) in table {
            assert_eq!(are_other_names(kept, sent, family), are_two, "{kept} / {sent}");
        }
    }

    #[test]
    fn what_only_one_of_them_tells_contradicts_nothing() {
        let patient = |birth_date, sex| Patient { birth_date, sex, ..Patient::default() };
        let (day, other) = (Some(date!(1990 - 02 - 28)), Some(date!(1990 - 03 - 28)));
        let kept = patient(day, Some(Sex::Female));
        let (nobody, none) = (patient(None, None), Hints::default());
        assert_eq!(contradictions(&kept, &nobody, &none), Vec::<&str>::new());
        assert_eq!(contradictions(&nobody, &kept, &none), Vec::<&str>::new());
        assert_eq!(contradictions(&kept, &kept, &none), Vec::<&str>::new());
        for sex in [Sex::Other, Sex::Unknown] {
            let unclear = patient(day, Some(sex));
            assert_eq!(contradictions(&kept, &unclear, &none), Vec::<&str>::new());
            assert_eq!(contradictions(&unclear, &kept, &none), Vec::<&str>::new());
        }
        let sent = patient(other, Some(Sex::Male));
        assert_eq!(contradictions(&kept, &sent, &none), ["birthDate", "gender"]);
    }

    #[test]
    fn a_year_or_month_of_birth_contradicts_another_day() {
        let birth_date = Some(date!(1990 - 02 - 28));
        let kept = Patient { birth_date, ..Patient::default() };
        let table = [("1990", false), ("1990-02", false), ("1991", true), ("1990-03", true)];
        for (part, is_other) in table {
            let hints = Hints { birth_part: Some(part.to_owned()), ..Hints::default() };
            let differ = contradictions(&kept, &Patient::default(), &hints);
            assert_eq!(!differ.is_empty(), is_other, "{part}");
            assert!(contradictions(&Patient::default(), &kept, &hints).is_empty(), "{part}");
        }
    }
}
