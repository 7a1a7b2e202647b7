//! Texts that nothing else holds, and the search for them.

use std::collections::{BTreeSet, HashSet};

use uuid::Uuid;

/// How marks begin: texts, digits, dates, each in lower case.
const BEGINNINGS: [&str; 3] = ["zq", "7391", "19"];
/// How long marks are: texts, digits, dates.
const LENGTHS: [usize; 3] = [TEXT_CHARS, 12, 10];
/// Length of a mark of letters and digits: the shortest text of a NIfTI header.
const TEXT_CHARS: usize = 16;
/// How the bytes of a text begin that are shown as numbers.
const SPELLED: &str = "90, 113, ";
/// What is shown around what was found, in bytes.
const AROUND: usize = 300;

/// Makes texts that nothing else holds.
#[derive(Default)]
pub(crate) struct Marks(Vec<String>);

impl Marks {
    fn made(&mut self, mark: String) -> String {
        self.0.push(mark.clone());
        mark
    }

    /// Returns a mark of letters and digits. It is no UUID, no hospital's id and no date.
    pub(crate) fn text(&mut self) -> String {
        self.made(format!("Zq{}", &Uuid::new_v4().simple().to_string()[..TEXT_CHARS - 2]))
    }

    /// Returns a mark of digits.
    pub(crate) fn digits(&mut self) -> String {
        let number = Uuid::new_v4().as_u128() % 100_000_000;
        self.made(format!("7391{number:08}").replace('0', "7"))
    }

    /// Returns a day that no log is of, another one each time.
    pub(crate) fn day(&mut self) -> String {
        let number = self.0.len();
        let (year, month, day) =
            (1970 + number % 30, 1 + number / 30 % 9, 10 + number / (30 * 9) % 10);
        self.made(format!("{year}-{month:02}-{day}"))
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// Returns those that are in `bytes`, in letters of either case or as numbers, with what stands before each.
    pub(crate) fn found_in(&self, bytes: &[u8]) -> BTreeSet<String> {
        let text = String::from_utf8_lossy(bytes);
        let lower = text.to_ascii_lowercase();
        let marks: HashSet<String> = self.0.iter().map(|mark| mark.to_ascii_lowercase()).collect();
        let mut places = BTreeSet::new();
        // One look for how marks begin, since there are hundreds of them and much to search.
        for (at, _) in BEGINNINGS.iter().flat_map(|beginning| lower.match_indices(beginning)) {
            let is_mark =
                |chars: usize| lower.get(at..at + chars).is_some_and(|own| marks.contains(own));
            if LENGTHS.into_iter().any(is_mark) {
                places.insert(at);
            }
        }
        for (at, _) in text.match_indices(SPELLED) {
            let numbers = text[at..].split(|letter: char| !letter.is_ascii_digit());
            let letters = numbers.filter_map(|number| number.parse::<u8>().ok());
            let spelled: String = letters.take(TEXT_CHARS).map(char::from).collect();
            if marks.contains(&spelled.to_ascii_lowercase()) {
                places.insert(at);
            }
        }
        let around = |at: usize| {
            let bytes = text.as_bytes();
            let end = bytes.len().min(at + TEXT_CHARS);
            String::from_utf8_lossy(&bytes[at.saturating_sub(AROUND)..end]).into_owned()
        };
        places.into_iter().map(around).collect()
    }
}

#[test]
fn a_mark_is_found_however_it_is_written() {
    let mut marks = Marks::default();
    let (text, digits, day) = (marks.text(), marks.digits(), marks.day());
    for shown in [
        format!("a {text}."),
        text.to_uppercase(),
        format!("{:?}", text.as_bytes()),
        format!("+{digits}"),
        format!("\"{day}\""),
    ] {
        assert_eq!(marks.found_in(shown.as_bytes()).len(), 1, "{shown}");
    }
    let other = Marks::default().text();
    assert!(marks.found_in(format!("zq 19 7391 90, 113, 7 {other}").as_bytes()).is_empty());
}
