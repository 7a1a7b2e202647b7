//! Bundles: entries and what their references lead to.

use std::{collections::HashMap, fmt};

use serde_json::{Map, Value};

use crate::{
    json::{self, JsonError},
    resource_type,
};

/// Most entries of a bundle of a patient's story.
pub const ENTRIES_MAX: usize = 10_000;

/// Largest bundle of a patient's story, in bytes.
pub const BYTES_MAX: usize = 16 * 1024 * 1024;

/// Longest name of a resource or type that an error repeats, in characters.
const SHOWN_CHARS_MAX: usize = 64;

/// Every type of bundle of FHIR R4 (4.0.1).
const TYPES: [&str; 9] = [
    "document",
    "message",
    "transaction",
    "transaction-response",
    "batch",
    "batch-response",
    "history",
    "searchset",
    "collection",
];

/// How large a bundle may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BundleLimits {
    /// In bytes.
    pub bytes_max: usize,
    /// In entries.
    pub entries_max: usize,
}

impl BundleLimits {
    /// Of a patient's story.
    pub const STORY: Self = Self { bytes_max: BYTES_MAX, entries_max: ENTRIES_MAX };

    /// Returns the most JSON values of such a bundle: what people send has 15 bytes and more to a value.
    fn values_max(self) -> usize {
        self.bytes_max / 8
    }
}

/// Why a bundle cannot be used at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// It has too many bytes.
    #[error("bundle has {bytes} bytes; send at most {bytes_max}")]
    TooLarge {
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        bytes_max: usize,
    },
    /// It has too many entries.
    #[error("bundle has {entries} entries; send at most {entries_max}")]
    TooManyEntries {
        /// How many there are.
        entries: usize,
        /// How many there may be.
        entries_max: usize,
    },
    /// Not JSON, or not the shape of a bundle.
    #[error("bundle cannot be read as FHIR JSON: {0}")]
    Syntax(String),
    /// Another resource, or another type of bundle.
    #[error("resource is {found}; send a Bundle of type collection")]
    NotACollection {
        /// What it is, as far as FHIR R4 knows it: what else was sent is never repeated.
        found: String,
    },
}

/// A bundle, as its entries.
#[derive(Clone, Debug, Default)]
pub struct Bundle {
    /// `system` and `value` of its identifier.
    pub identifier: Option<(String, String)>,
    /// In order.
    pub entries: Vec<Value>,
}

/// Reads a bundle of type `collection`.
///
/// # Errors
/// [`BundleError`].
pub fn read(bytes: &[u8], limits: BundleLimits) -> Result<Bundle, BundleError> {
    let read = json::parse(bytes, limits.bytes_max, limits.values_max());
    let mut value = read.map_err(|error| match error {
        JsonError::TooLarge { bytes, bytes_max } => BundleError::TooLarge { bytes, bytes_max },
        JsonError::Syntax(message) => BundleError::Syntax(message),
    })?;
    let Some(members) = value.as_object_mut() else {
        return Err(BundleError::Syntax("it is no object".to_owned()));
    };
    let kind = (text(members, "resourceType"), text(members, "type"));
    if kind != (Some("Bundle"), Some("collection")) {
        let resource = kind.0.and_then(resource_type::known).unwrap_or("without a resourceType");
        let of_type = TYPES.into_iter().find(|known| kind.1 == Some(*known)).unwrap_or("unknown");
        let found = format!("{resource} of type {of_type}");
        return Err(BundleError::NotACollection { found });
    }
    let identifier = members
        .get("identifier")
        .and_then(Value::as_object)
        .and_then(|one| Some((text(one, "system")?.to_owned(), text(one, "value")?.to_owned())));
    let entries = match members.remove("entry") {
        None => Vec::new(),
        Some(Value::Array(entries)) => entries,
        Some(_) => return Err(BundleError::Syntax("`entry` is no list".to_owned())),
    };
    if entries.len() > limits.entries_max {
        let (entries, entries_max) = (entries.len(), limits.entries_max);
        return Err(BundleError::TooManyEntries { entries, entries_max });
    }
    Ok(Bundle { identifier, entries })
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    members.get(name).and_then(Value::as_str)
}

/// Returns the beginning of a text, so that a report stays short whatever was sent.
pub fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

/// Where the references of a bundle lead: to `T` by `fullUrl`, and by `Type/id`.
#[derive(Clone, Debug)]
pub struct References<T> {
    by_url: HashMap<String, T>,
    /// `None` if two servers gave the same `Type/id`.
    by_id: HashMap<String, Option<T>>,
}

impl<T> Default for References<T> {
    fn default() -> Self {
        Self { by_url: HashMap::new(), by_id: HashMap::new() }
    }
}

/// An entry of that name was there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated;

impl fmt::Display for Repeated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("stands in the bundle already; give each entry once")
    }
}

impl<T: Copy> References<T> {
    /// Adds the entry `full_url` with a resource of that type and id.
    ///
    /// # Errors
    /// [`Repeated`] if an entry of that name is known already; it stays.
    pub fn insert(
        &mut self,
        target: T,
        full_url: Option<&str>,
        resource_type: &str,
        id: Option<&str>,
    ) -> Result<(), Repeated> {
        let relative = id.map(|id| format!("{resource_type}/{id}"));
        if let Some(full_url) = full_url {
            if self.by_url.contains_key(full_url) {
                return Err(Repeated);
            }
            self.by_url.insert(full_url.to_owned(), target);
        } else if relative.as_ref().is_some_and(|relative| self.by_id.contains_key(relative)) {
            return Err(Repeated);
        }
        if let Some(relative) = relative {
            self.by_id.entry(relative).and_modify(|known| *known = None).or_insert(Some(target));
        }
        Ok(())
    }

    /// Returns what `reference` names, as seen from the entry `full_url` (FHIR R4, Bundle,
    /// "Resolving references in Bundles": a relative reference first means the referring entry's own
    /// server).
    pub fn find(&self, reference: &str, full_url: Option<&str>) -> Option<T> {
        let base = full_url.and_then(|url| url.rsplitn(3, '/').nth(2));
        let near = base.and_then(|base| self.by_url.get(&format!("{base}/{reference}")));
        let found = self.by_url.get(reference).or(near).copied();
        found.or_else(|| self.by_id.get(reference).copied().flatten())
    }
}
