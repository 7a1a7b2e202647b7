//! What a person's name, a telephone number, an e-mail address and a language tag look like.

use std::ops::RangeInclusive;

/// Fewest and most characters of a telephone number or an e-mail address (RFC 3696, erratum 1690).
pub const CONTACT_CHARS: RangeInclusive<usize> = 3..=254;
/// Longest language tag, in characters (RFC 5646, section 4.4.1).
pub const LANGUAGE_TAG_CHARS_MAX: usize = 35;

/// What no name is written with: signs of program text and of markup, and those that divide lists.
const NO_NAMES: [&str; 8] = [";", "=", "<", ">", "\\", "--", "/*", "*/"];

/// Returns what of `text` no person's name is written with, such as `;` or `--`; nothing if it may be a name. Whoever sends
/// it has put more in the field than a name, or something else. Apostrophes, hyphens, quotation marks, commas, brackets,
/// slashes and digits are in names. Its length and control characters are not looked at.
pub fn not_of_a_name(text: &str) -> Option<&'static str> {
    NO_NAMES.into_iter().find(|sign| text.contains(sign))
}

/// Returns whether `text` can be dialled: digits, three at least, with what is written between them. Its length is not
/// looked at.
pub fn is_phone_number(text: &str) -> bool {
    let digits = text.chars().filter(char::is_ascii_digit).count();
    let is_part = |c: char| c.is_ascii_digit() || "+-(). /x#*".contains(c);
    digits >= *CONTACT_CHARS.start() && text.chars().all(is_part)
}

/// Returns whether `text` has the parts of an e-mail address: what tells one from a slip, for what delivers mail is
/// known to the mail server alone. Its length is not looked at.
pub fn is_email_address(text: &str) -> bool {
    let parts = text.rsplit_once('@');
    let is_odd = |c: char| c.is_whitespace() || c.is_control();
    parts.is_some_and(|(local, host)| !local.is_empty() && !host.is_empty())
        && !text.contains(is_odd)
}

/// Returns whether `tag` has the shape of a language tag, such as `ko`: a language of 2, 3 or 5 to 8 letters and further
/// subtags. Left out are private use alone (`x-…`), grandfathered tags, and whether the subtags are registered.
///
/// # Source
/// RFC 5646, section 2.1.
pub fn is_language_tag(tag: &str) -> bool {
    let mut subtags = tag.split('-');
    let language = subtags.next().unwrap_or_default();
    matches!(language.len(), 2 | 3 | 5..=8)
        && language.bytes().all(|byte| byte.is_ascii_alphabetic())
        && subtags.all(|subtag| {
            (1..=8).contains(&subtag.len()) && subtag.bytes().all(|b| b.is_ascii_alphanumeric())
        })
        // A single letter announces an extension, which must follow.
        && tag.rsplit('-').next().is_some_and(|last| last.len() > 1)
        && tag.len() <= LANGUAGE_TAG_CHARS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_program_text() {
        for name in [
            "",
            "O'Brien-Smith, Mary Ann (\"Polly\")",
            "Lim s/o Raju @ Tan, Jr. 3rd",
            "D`Arcy ‘t Hooft",
            "김하나",
            "ZZTEST_PATIENT #2 & Co.",
        ] {
            assert_eq!(not_of_a_name(name), None, "{name}");
        }
        for (text, sign) in [
            ("Robert'); DROP TABLE patient;--", ";"),
            ("' OR '1'='1", "="),
            ("admin'--", "--"),
            ("admin'/*", "/*"),
            ("<b>Kim</b>", "<"),
            ("Kim\\", "\\"),
        ] {
            assert_eq!(not_of_a_name(text), Some(sign), "{text}");
        }
    }

    #[test]
    fn contacts_and_tags_have_their_shapes() {
        let phone = is_phone_number as fn(&str) -> bool;
        let (email, tag) =
            (is_email_address as fn(&str) -> bool, is_language_tag as fn(&str) -> bool);
        let table = [
            ("phone", phone, "+82 2 0000-0000", true),
            ("extension", phone, "(02) 000.0000 x12", true),
            ("few digits", phone, "12", false),
            ("letters", phone, "call 000", false),
            ("address", email, "a@b.example", true),
            ("no host", email, "a@", false),
            ("space", email, "a b@c.example", false),
            ("language", tag, "ko", true),
            ("script and country", tag, "zh-Hant-TW", true),
            ("four letters", tag, "kore", false),
            ("an extension without its words", tag, "ko-u", false),
            ("underscore", tag, "ko_KR", false),
            ("nothing", tag, "", false),
        ];
        for (case, is_right, text, expected) in table {
            assert_eq!(is_right(text), expected, "case: {case}");
        }
    }
}
