//! Signs after a finding: "(+)", "（-）", "−", "X", "無".

use super::{
    token::{Break, Script, Token},
    words::is_hangul,
};

/// Most letters between the brackets of a sign.
const SIGN_CHARS_MAX: usize = 8;

/// What a sign says of the finding before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Present,
    Absent,
    /// "(±)", "(+/-)".
    Unclear,
}

fn is_plus(c: char) -> bool {
    matches!(c, '+' | '＋')
}

fn is_minus(c: char) -> bool {
    matches!(c, '-' | '−' | '–' | '－' | '‐')
}

/// Returns the sign that begins at a byte of the text, and where it ends.
pub(super) fn sign_at(text: &str, at: usize) -> Option<(Mark, usize)> {
    let rest = text.get(at..)?;
    let first = rest.chars().next()?;
    if matches!(first, '(' | '（' | '[') {
        let before = text[..at].trim_end_matches([' ', '\t']).chars().next_back()?;
        if is_hangul(before)
            && let Some(found) = circle_or_cross(rest)
        {
            return Some((found.0, at + found.1));
        }
        return bracketed(rest).map(|(mark, length)| (mark, at + length));
    }
    let mark = match first {
        c if is_plus(c) => Mark::Present,
        c if is_minus(c) => Mark::Absent,
        '○' | '◯' => Mark::Present,
        '×' | '✕' | '✗' => Mark::Absent,
        _ => return None,
    };
    // "3+" is a grade, "- headache" an item of a list, "right- and left-sided" half a word.
    let before = text[..at].trim_end_matches([' ', '\t']).chars().next_back()?;
    let after = rest[first.len_utf8()..].trim_start_matches([' ', '\t']).chars().next();
    let ends = after.is_none_or(|c| {
        matches!(c, ',' | ';' | '.' | '/' | '\n' | '\r' | '、' | '，' | '。' | ')')
    });
    let of_word = before.is_alphabetic() || matches!(before, ':' | '：');
    (ends && of_word).then_some((mark, at + first.len_utf8()))
}

/// "구토(X)", "두통 (○)".
fn circle_or_cross(rest: &str) -> Option<(Mark, usize)> {
    let mut letters = rest.char_indices().skip(1);
    let mark = match letters.next()?.1 {
        'O' | 'o' | '○' | '◯' => Mark::Present,
        'X' | 'x' | '×' | '✕' => Mark::Absent,
        _ => return None,
    };
    let (end, close) = letters.next()?;
    matches!(close, ')' | '）' | ']').then_some((mark, end + close.len_utf8()))
}

fn bracketed(rest: &str) -> Option<(Mark, usize)> {
    for (letter, mark) in [("(Y)", Mark::Present), ("(N)", Mark::Absent)] {
        if rest.get(..letter.len()).is_some_and(|sign| sign.eq_ignore_ascii_case(letter)) {
            return Some((mark, letter.len()));
        }
    }
    let mut signs = Vec::new();
    for (place, c) in rest.char_indices().skip(1).take(SIGN_CHARS_MAX) {
        match c {
            c if is_plus(c) => signs.push(Mark::Present),
            c if is_minus(c) => signs.push(Mark::Absent),
            '±' | '?' => signs.push(Mark::Unclear),
            '/' | ' ' | ',' => {}
            ')' | '）' | ']' => {
                let first = *signs.first()?;
                let same = signs.iter().all(|sign| *sign == first);
                let mark = if same { first } else { Mark::Unclear };
                return Some((mark, place + c.len_utf8()));
            }
            _ => return None,
        }
    }
    None
}

/// Marks the words that are signs: "경련 X, 두통 O", "경련 無".
pub(super) fn mark_words(tokens: &mut [Token]) {
    for at in 1..tokens.len() {
        let mark = match tokens[at].word.as_str() {
            "x" | "ｘ" | "無" | "无" | "무" => Mark::Absent,
            "o" | "ｏ" | "有" | "유" => Mark::Present,
            _ => continue,
        };
        let follows = tokens[at].before == Break::None
            && (tokens[at - 1].script == Script::Hangul
                || matches!(tokens[at].word.as_str(), "無" | "无" | "有"));
        let korean = tokens[at].script == Script::Hangul;
        let ends = tokens.get(at + 1).is_none_or(|next| {
            next.before != Break::None || (!korean && next.script == Script::Hangul)
        });
        if follows && ends {
            tokens[at].mark = Some(mark);
            if let Some(next) = tokens.get_mut(at + 1) {
                next.before = next.before.max(Break::Clause);
            }
        }
    }
}
