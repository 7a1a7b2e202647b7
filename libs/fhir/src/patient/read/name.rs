//! Names of people.

use neurotriage_domain::not_of_a_name;
use time::Date;

use super::{is_over, line, on_one_line};
use crate::reader::{Node, Reader};

/// Longest name, in characters.
const NAME_CHARS_MAX: usize = 256;

/// Returns the name to call a patient by, and the family name if it is told by itself: the official one,
/// else the usual one, else another; none of the past.
pub(super) fn of_patient(
    reader: &mut Reader,
    node: &Node<'_>,
    today: Date,
) -> (String, Option<String>) {
    let mut names = reader.optional(|reader| reader.objects(node, "name"));
    let is_old = |name: &Node<'_>| matches!(name.peek("use"), Some("old" | "maiden"));
    names.retain(|name| !is_old(name) && !is_over(name, today));
    names.sort_by_key(|name| match name.peek("use") {
        Some("official") => 0,
        Some("usual") => 1,
        _ => 2,
    });
    for name in &names {
        let (joined, family) = of_element(reader, name);
        if !joined.is_empty() {
            return (joined, family);
        }
    }
    (String::new(), None)
}

/// Returns the name of a HumanName, empty if it has none, and the family name.
pub(super) fn of_element(reader: &mut Reader, name: &Node<'_>) -> (String, Option<String>) {
    let family = reader.optional(|reader| line(reader, name, "family", NAME_CHARS_MAX));
    let text = reader.optional(|reader| line(reader, name, "text", NAME_CHARS_MAX));
    if let Some(text) = text {
        return name_alone(reader, name, text, family);
    }
    let given = reader.optional(|reader| {
        let items = reader.items(name, "given");
        let read = |given: &Node<'_>| reader.as_text(given, NAME_CHARS_MAX).map(on_one_line);
        items.iter().filter_map(read).collect::<Vec<_>>()
    });
    let joined = join(family.as_deref(), &given);
    if joined.chars().count() > NAME_CHARS_MAX {
        let text = format!("has more than {NAME_CHARS_MAX} characters");
        reader.leave_out(&name.path, text);
        return (String::new(), None);
    }
    name_alone(reader, name, joined, family)
}

/// Returns the name and the family name, or leaves them out if there is more in them than a name.
fn name_alone(
    reader: &mut Reader,
    name: &Node<'_>,
    text: String,
    family: Option<String>,
) -> (String, Option<String>) {
    let Some(sign) = not_of_a_name(&text) else { return (text, family) };
    reader.leave_out(&name.path, format!("holds `{sign}`, which no name is written with"));
    (String::new(), None)
}

/// Where the family name comes first, there are no blanks between.
fn join(family: Option<&str>, given: &[String]) -> String {
    let given = given.iter().map(String::as_str);
    if family.into_iter().chain(given.clone()).any(|part| part.chars().any(is_east_asian)) {
        family.into_iter().chain(given).collect()
    } else {
        given.chain(family).collect::<Vec<_>>().join(" ")
    }
}

fn is_east_asian(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}')
}
