//! What happened: who did what to which record, when, why, and from which trace.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
};

use time::OffsetDateTime;
use uuid::Uuid;

/// Longest subject; OpenID Connect allows 255 characters.
const SUBJECT_BYTES_MAX: usize = 255;
const TENANT_BYTES_MAX: usize = 64;
/// Longest code of a purpose.
const PURPOSE_BYTES_MAX: usize = 32;
/// Longest detail: some twenty names of fields.
const DETAIL_BYTES_MAX: usize = 512;
const KIND_BYTES_MAX: usize = 64;
const TRACE_HEX_DIGITS: usize = 32;

/// Why an event can't be recorded. No variant holds the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The subject is empty, too long or not printable ASCII.
    #[error("subject of the caller must be 1 to 255 printable ascii characters")]
    Subject,
    /// The tenant's name is none.
    #[error("tenant must be 1 to 64 of a-z, 0-9, - and _")]
    Tenant,
    /// The purpose is no code.
    #[error("purpose of use must be 1 to 32 of A-Z, 0-9, - and _")]
    Purpose,
    /// The kind of resource is no name.
    #[error("kind of resource must be 1 to 64 of a-z and _")]
    Kind,
    /// The trace id is not 32 hexadecimal digits, or all zero.
    #[error("trace id must be 32 hexadecimal digits, not all zero")]
    Trace,
    /// The detail is too long.
    #[error("detail is longer than 512 bytes")]
    Detail,
    /// The time can't be told in microseconds.
    #[error("time of the event is out of range")]
    Time,
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident => $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every value.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns the stored word.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Returns the value that `word` stands for.
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == word)
            }
        }
    };
}

words! {
    /// What was done.
    Action {
        /// A record was made.
        Create => "create",
        /// A record was shown.
        Read => "read",
        /// Records were searched or listed; each one shown has a `read` of its own.
        Search => "search",
        /// A record was changed.
        Update => "update",
        /// A record was marked as deleted.
        Delete => "delete",
        /// A mark of deletion was taken back.
        Undelete => "undelete",
        /// Two records were made one.
        Merge => "merge",
        /// The content of a record was removed for good.
        Erase => "erase",
        /// Records left the system in a file.
        Export => "export",
        /// A record was sealed again with another key.
        Reseal => "reseal",
    }
}

/// Why it was done: a code of HL7 v3 PurposeOfUse, such as `TREAT`, as OpenID and FHIR carry them.
///
/// Invariant: 1 to 32 of `A-Z`, `0-9`, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purpose(Cow<'static, str>);

impl Purpose {
    /// Administration of the system, such as the change of a key.
    pub const SYSTEM_ADMINISTRATION: Self = Self(Cow::Borrowed("HSYSADMIN"));
    /// The caller did not say. No code of HL7.
    pub const NOT_STATED: Self = Self(Cow::Borrowed("NOT-STATED"));

    /// Returns the purpose.
    ///
    /// # Errors
    /// [`EventError::Purpose`].
    pub fn new(code: String) -> Result<Self, EventError> {
        let allowed = |byte: u8| {
            byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
        };
        let right = (1..=PURPOSE_BYTES_MAX).contains(&code.len()) && code.bytes().all(allowed);
        if right { Ok(Self(Cow::Owned(code))) } else { Err(EventError::Purpose) }
    }

    /// Returns the code.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

words! {
    /// How it ended.
    Outcome {
        /// It was done.
        Done => "done",
        /// The caller may not.
        Denied => "denied",
        /// It failed.
        Failed => "failed",
    }
}

/// Who acts: the subject of the caller's token. It names staff or a program, never a patient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject(String);

impl Subject {
    /// Returns the subject.
    ///
    /// # Errors
    /// [`EventError::Subject`].
    pub fn new(text: String) -> Result<Self, EventError> {
        let right = (1..=SUBJECT_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if right { Ok(Self(text)) } else { Err(EventError::Subject) }
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whose records: the owner of chains of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tenant(String);

impl Tenant {
    /// Returns the tenant.
    ///
    /// # Errors
    /// [`EventError::Tenant`].
    pub fn new(text: String) -> Result<Self, EventError> {
        let allowed = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
        };
        let right = (1..=TENANT_BYTES_MAX).contains(&text.len()) && text.bytes().all(allowed);
        if right { Ok(Self(text)) } else { Err(EventError::Tenant) }
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What it was done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource {
    kind: &'static str,
    id: Option<Uuid>,
}

impl Resource {
    /// Returns one record of a kind, such as `patient`.
    ///
    /// # Errors
    /// [`EventError::Kind`].
    pub fn one(kind: &'static str, id: Uuid) -> Result<Self, EventError> {
        Ok(Self { id: Some(id), ..Self::all(kind)? })
    }

    /// Returns the records of a kind as a whole, for searches.
    ///
    /// # Errors
    /// [`EventError::Kind`].
    pub fn all(kind: &'static str) -> Result<Self, EventError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        let right = (1..=KIND_BYTES_MAX).contains(&kind.len()) && kind.bytes().all(allowed);
        if right { Ok(Self { kind, id: None }) } else { Err(EventError::Kind) }
    }

    /// Returns the kind.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// Returns the record.
    pub fn id(&self) -> Option<Uuid> {
        self.id
    }
}

/// A W3C trace id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceId(String);

impl TraceId {
    /// Returns the trace id.
    ///
    /// # Errors
    /// [`EventError::Trace`].
    pub fn parse(text: &str) -> Result<Self, EventError> {
        let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        let right = text.len() == TRACE_HEX_DIGITS
            && text.bytes().all(hex)
            && text.bytes().any(|byte| byte != b'0');
        if right { Ok(Self(text.to_owned())) } else { Err(EventError::Trace) }
    }

    /// Returns 32 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// More about an event, in terms that can't hold patient data: names of fields that are written
/// in the code, counts, revisions and ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Detail(String);

impl Detail {
    /// Returns the detail that there is none.
    pub fn none() -> Self {
        Self::default()
    }

    /// Adds names of fields, such as those that an update changed.
    #[must_use]
    pub fn fields(self, names: &[&'static str]) -> Self {
        self.add("fields", format_args!("{}", names.join("+")))
    }

    /// Adds how many records there were.
    #[must_use]
    pub fn count(self, count: u64) -> Self {
        self.add("count", format_args!("{count}"))
    }

    /// Adds the revision that was read or written.
    #[must_use]
    pub fn revision(self, revision: u64) -> Self {
        self.add("revision", format_args!("{revision}"))
    }

    /// Adds a word from the code, such as the reason of a refusal.
    #[must_use]
    pub fn reason(self, reason: &'static str) -> Self {
        self.add("reason", format_args!("{reason}"))
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn add(mut self, name: &str, value: fmt::Arguments<'_>) -> Self {
        let space = if self.0.is_empty() { "" } else { " " };
        // Writing to a string does not fail.
        let _ = write!(self.0, "{space}{name}={value}");
        self
    }
}

/// What happened, before it has a place in a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: OffsetDateTime,
    /// Who.
    pub actor: Subject,
    /// What.
    pub action: Action,
    /// To what.
    pub resource: Resource,
    /// Why.
    pub purpose: Purpose,
    /// From which trace; none if the caller sent none and none was begun.
    pub trace: Option<TraceId>,
    /// How it ended.
    pub outcome: Outcome,
    /// More.
    pub detail: Detail,
}

impl Event {
    /// Returns the time in microseconds since 1970, which is what a database keeps.
    ///
    /// # Errors
    /// [`EventError::Time`].
    pub fn at_us(&self) -> Result<i64, EventError> {
        i64::try_from(self.at.unix_timestamp_nanos().div_euclid(1000)).map_err(|_| EventError::Time)
    }

    /// Returns the text of the detail.
    ///
    /// # Errors
    /// [`EventError::Detail`] if it is too long.
    pub(super) fn detail_text(&self) -> Result<&str, EventError> {
        let text = self.detail.as_str();
        if text.len() > DETAIL_BYTES_MAX { Err(EventError::Detail) } else { Ok(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_name_is_refused() {
        assert_eq!(Subject::new(String::new()).unwrap_err(), EventError::Subject);
        assert_eq!(Subject::new("a\nb".to_owned()).unwrap_err(), EventError::Subject);
        assert_eq!(Subject::new("a".repeat(256)).unwrap_err(), EventError::Subject);
        assert_eq!(Tenant::new("Sample".to_owned()).unwrap_err(), EventError::Tenant);
        assert_eq!(Resource::all("Patient 1").unwrap_err(), EventError::Kind);
        for trace in ["", "0", &"0".repeat(32), &"A".repeat(32), &"a".repeat(33)] {
            assert_eq!(TraceId::parse(trace).unwrap_err(), EventError::Trace, "{trace}");
        }
        TraceId::parse("4bf92f3577b34da6a3ce929d0e0e4736").unwrap();
    }

    #[test]
    fn words_are_read_back() {
        for &action in Action::ALL {
            assert_eq!(Action::parse(action.as_str()), Some(action));
        }
        for &outcome in Outcome::ALL {
            assert_eq!(Outcome::parse(outcome.as_str()), Some(outcome));
        }
    }

    #[test]
    fn a_purpose_is_a_short_code() {
        assert_eq!(Purpose::new("TREAT".to_owned()).unwrap().as_str(), "TREAT");
        for text in ["", "treat", "CALL MRS", &"A".repeat(33)] {
            assert_eq!(Purpose::new(text.to_owned()).unwrap_err(), EventError::Purpose, "{text}");
        }
    }

    #[test]
    fn a_detail_reads_as_pairs() {
        let detail = Detail::none().fields(&["name", "contact"]).revision(3).count(2);
        assert_eq!(detail.as_str(), "fields=name+contact revision=3 count=2");
        assert_eq!(Detail::none().reason("NO_CONSENT").as_str(), "reason=NO_CONSENT");
    }
}
