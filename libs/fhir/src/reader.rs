//! Reading elements: each that is wrong is noted with its path, and reading goes on.

use neurotriage_domain::latest_day;
use serde_json::{Map, Value};
use time::{Date, OffsetDateTime};

use crate::{Problem, code, time_text};

/// Most items of one list.
const ITEMS_MAX: usize = 1_000;

/// Longest URI or code that is looked at, in bytes.
const CODE_BYTES_MAX: usize = 1_024;

/// An element and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node<'a> {
    pub(crate) value: &'a Value,
    pub(crate) path: String,
}

impl<'a> Node<'a> {
    pub(crate) fn new(value: &'a Value, path: impl Into<String>) -> Self {
        Self { value, path: path.into() }
    }

    /// Returns the member of that name, if the element has it.
    pub(crate) fn member(&self, name: &str) -> Option<Node<'a>> {
        let value = self.value.get(name)?;
        Some(Node { value, path: self.below(name) })
    }

    pub(crate) fn below(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    /// Returns the text of a member whatever else is wrong with the element.
    pub(crate) fn peek(&self, name: &str) -> Option<&'a str> {
        self.value.get(name).and_then(Value::as_str)
    }

    fn members(&self) -> Option<&'a Map<String, Value>> {
        self.value.as_object()
    }
}

/// What is wrong with one entry, and what of it is left out.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    pub(crate) problems: Vec<Problem>,
    /// What is not kept of an entry that is otherwise good.
    pub(crate) notes: Vec<Problem>,
}

impl Reader {
    pub(crate) fn refuse(&mut self, path: impl Into<String>, description: impl Into<String>) {
        self.problems.push(Problem::new(path, description));
    }

    /// Notes that an element is not kept; the entry stays good.
    pub(crate) fn leave_out(&mut self, path: impl Into<String>, reason: impl Into<String>) {
        self.notes.push(Problem::new(path, reason));
    }

    /// Reads what the entry is good without: what is wrong in it is left out.
    pub(crate) fn optional<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.problems.len();
        let value = read(self);
        let wrong = self.problems.split_off(before);
        self.notes.extend(wrong);
        value
    }

    /// Notes what R4 asks a reader to understand before it reads on: this one does not.
    pub(crate) fn check_modifiers(&mut self, node: &Node<'_>) {
        for name in ["implicitRules", "modifierExtension"] {
            if node.value.get(name).is_some() {
                let text = "changes the meaning of the resource in a way that is not known here; leave \
                            the entry out, or send it without";
                self.refuse(node.below(name), text);
            }
        }
    }

    /// Returns true if the element is an object; notes it if it is not.
    fn is_object(&mut self, node: &Node<'_>) -> bool {
        match node.members() {
            Some(members) if !members.is_empty() => true,
            Some(_) => {
                self.refuse(&node.path, "is empty; leave it out");
                false
            }
            None => {
                self.refuse(&node.path, "must be an object");
                false
            }
        }
    }

    /// Returns the member of that name if it is an object.
    pub(crate) fn object<'a>(&mut self, node: &Node<'a>, name: &str) -> Option<Node<'a>> {
        let member = node.member(name)?;
        self.is_object(&member).then_some(member)
    }

    /// Returns the objects of a list, each with its path; nothing if there is no such member.
    pub(crate) fn objects<'a>(&mut self, node: &Node<'a>, name: &str) -> Vec<Node<'a>> {
        let mut items = self.items(node, name);
        items.retain(|item| self.is_object(item));
        items
    }

    pub(crate) fn items<'a>(&mut self, node: &Node<'a>, name: &str) -> Vec<Node<'a>> {
        let Some(member) = node.member(name) else { return Vec::new() };
        let Some(items) = member.value.as_array() else {
            self.refuse(member.path, "must be a list");
            return Vec::new();
        };
        if items.is_empty() {
            self.refuse(member.path, "is an empty list; leave it out");
            return Vec::new();
        }
        if items.len() > ITEMS_MAX {
            self.refuse(member.path, format!("give at most {ITEMS_MAX} items"));
            return Vec::new();
        }
        let path = |place: usize| format!("{}[{place}]", member.path);
        items.iter().enumerate().map(|(place, value)| Node::new(value, path(place))).collect()
    }

    /// Returns a text of 1 to `chars_max` characters.
    pub(crate) fn text<'a>(
        &mut self,
        node: &Node<'a>,
        name: &str,
        chars_max: usize,
    ) -> Option<&'a str> {
        let member = node.member(name)?;
        self.as_text(&member, chars_max)
    }

    pub(crate) fn as_text<'a>(&mut self, node: &Node<'a>, chars_max: usize) -> Option<&'a str> {
        let Some(text) = node.value.as_str() else {
            self.refuse(&node.path, "must be a text");
            return None;
        };
        if text.trim().is_empty() {
            self.refuse(&node.path, "is blank; fill it in, or leave it out");
            return None;
        }
        if text.chars().count() > chars_max {
            self.refuse(&node.path, format!("give at most {chars_max} characters"));
            return None;
        }
        if text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r')) {
            self.refuse(&node.path, "holds control characters; leave them out");
            return None;
        }
        Some(text)
    }

    /// Returns a URI, code or id.
    pub(crate) fn code<'a>(&mut self, node: &Node<'a>, name: &str) -> Option<&'a str> {
        let text = self.text(node, name, CODE_BYTES_MAX)?;
        if text != text.trim() {
            self.refuse(node.below(name), "begins or ends with blanks; leave them out");
            return None;
        }
        Some(text)
    }

    pub(crate) fn boolean(&mut self, node: &Node<'_>, name: &str) -> Option<bool> {
        let member = node.member(name)?;
        let value = member.value.as_bool();
        if value.is_none() {
            self.refuse(member.path, "must be true or false");
        }
        value
    }

    /// Returns a number of a range.
    pub(crate) fn number(
        &mut self,
        node: &Node<'_>,
        name: &str,
        (least, greatest): (f64, f64),
    ) -> Option<f64> {
        let member = node.member(name)?;
        let value = member.value.as_f64().filter(|value| (least..=greatest).contains(value));
        if value.is_none() {
            self.refuse(member.path, format!("must be a number from {least} to {greatest}"));
        }
        value
    }

    /// Returns a day that has begun somewhere by `now`.
    pub(crate) fn day(&mut self, node: &Node<'_>, name: &str, now: OffsetDateTime) -> Option<Date> {
        let text = self.code(node, name)?;
        match time_text::read_day(text) {
            Some(day) if day <= latest_day(now) => Some(day),
            Some(_) => {
                self.refuse(node.below(name), "lies in the future; correct it");
                None
            }
            None => {
                let text = "write a whole day as YYYY-MM-DD, or leave it out: a year or month alone \
                            is not kept";
                self.refuse(node.below(name), text);
                None
            }
        }
    }

    /// Returns a time that is not after `now`, as far as clocks and zones differ; of a day, or of a year or month alone,
    /// the first moment.
    pub(crate) fn time(
        &mut self,
        node: &Node<'_>,
        name: &str,
        now: OffsetDateTime,
    ) -> Option<OffsetDateTime> {
        let text = self.code(node, name)?;
        let day = time_text::read_day(text).or_else(|| time_text::first_day(text));
        let (at, is_future) = match day {
            Some(day) => (Some(time_text::first_moment(day, now)), day > latest_day(now)),
            None => {
                let at = time_text::read_time(text);
                (at, at.is_some_and(|at| at > time_text::latest_time(now)))
            }
        };
        match at {
            Some(_) if is_future => {
                self.refuse(node.below(name), "lies in the future; correct it");
                None
            }
            Some(at) => {
                if time_text::is_partial(text) {
                    let text = "is a year or month alone: its first day is kept";
                    self.leave_out(node.below(name), text);
                }
                Some(at)
            }
            None => {
                let text = "write a day, or a time with seconds and zone, such as \
                            2026-11-26T15:04:05+09:00";
                self.refuse(node.below(name), text);
                None
            }
        }
    }

    /// Returns system and code of the codings of a concept; a coding without a system has an empty one.
    pub(crate) fn codings<'a>(&mut self, concept: &Node<'a>) -> Vec<(&'a str, &'a str, Node<'a>)> {
        let mut found = Vec::new();
        for coding in self.objects(concept, "coding") {
            let system = self.code(&coding, "system").unwrap_or_default();
            if let Some(code) = self.code(&coding, "code") {
                found.push((system, code, coding));
            }
        }
        found
    }

    /// Returns what the codings of a concept mean by `read`. Refuses two meanings; `None` if there is
    /// none.
    pub(crate) fn meaning<T: Copy + PartialEq>(
        &mut self,
        concept: &Node<'_>,
        read: impl Fn(&str, &str) -> Option<T>,
    ) -> Option<T> {
        let mut meaning = None;
        for (system, code, coding) in self.codings(concept) {
            let Some(this) = read(system, code) else { continue };
            if meaning.is_some_and(|known| known != this) {
                self.refuse(
                    coding.path,
                    "contradicts another coding of the same concept; keep one",
                );
                return None;
            }
            meaning = Some(this);
        }
        meaning
    }

    /// Returns the extensions of that URL.
    pub(crate) fn extensions<'a>(&mut self, node: &Node<'a>, url: &str) -> Vec<Node<'a>> {
        let mut found = self.objects(node, "extension");
        found.retain(|extension| extension.peek("url") == Some(url));
        found
    }

    /// Returns the one code of an own extension `valueCode`, by `of`.
    pub(crate) fn extension_code<T>(
        &mut self,
        node: &Node<'_>,
        url: &str,
        codes: &str,
        of: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let extensions = self.extensions(node, url);
        if let Some(second) = extensions.get(1) {
            self.refuse(&second.path, "is given twice; keep one");
            return None;
        }
        let extension = extensions.first()?;
        let read = extension.peek("valueCode").and_then(of);
        if read.is_none() {
            self.refuse(extension.below("valueCode"), format!("must be one of {codes}"));
        }
        read
    }
}

/// Returns whether a concept holds this project's own `code`.
pub(crate) fn is_own(concept: Option<&Value>, code: &str) -> bool {
    let codings = concept.and_then(|concept| concept.get("coding")).and_then(Value::as_array);
    codings.is_some_and(|codings| {
        codings.iter().any(|coding| {
            coding.get("system").and_then(Value::as_str) == Some(code::OWN)
                && coding.get("code").and_then(Value::as_str) == Some(code)
        })
    })
}
