//! Bundles: entries and what their references lead to.

use std::{borrow::Cow, collections::HashMap, fmt};

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
    /// Another resource, or a bundle of a type that does not hold records as they are.
    #[error(
        "resource is {found}; send a Bundle of type collection, searchset, transaction, batch or document"
    )]
    NoContent {
        /// What it is, as far as FHIR R4 knows it: what else was sent is never repeated.
        found: String,
    },
    /// It asks for rules that R4 wants a reader to know before it reads on.
    #[error("bundle names implicitRules that are not known here; send it without")]
    RulesUnknown,
}

/// What a bundle is for, of the types that hold records as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleKind {
    /// Resources put together.
    Collection,
    /// The answer to a search.
    Searchset,
    /// Requests that hold together; those that send resources are read.
    Transaction,
    /// Requests, each by itself; those that send resources are read.
    Batch,
    /// A Composition and what it names.
    Document,
}

impl BundleKind {
    fn of(code: &str) -> Option<Self> {
        match code {
            "collection" => Some(Self::Collection),
            "searchset" => Some(Self::Searchset),
            "transaction" => Some(Self::Transaction),
            "batch" => Some(Self::Batch),
            "document" => Some(Self::Document),
            _ => None,
        }
    }

    /// Returns whether each entry says what to do with its resource.
    pub fn holds_requests(self) -> bool {
        matches!(self, Self::Transaction | Self::Batch)
    }
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
    let mut members = members(bytes, limits)?;
    if bundle_type(&members) != Some("collection") {
        return Err(BundleError::NotACollection { found: found(&members) });
    }
    let identifier = members
        .get("identifier")
        .and_then(Value::as_object)
        .and_then(|one| Some((text(one, "system")?.to_owned(), text(one, "value")?.to_owned())));
    Ok(Bundle { identifier, entries: entries(&mut members, limits)? })
}

/// Reads a bundle of any type that holds records as they are.
///
/// # Errors
/// [`BundleError`].
pub fn read_content(
    bytes: &[u8],
    limits: BundleLimits,
) -> Result<(BundleKind, Vec<Value>), BundleError> {
    let mut members = members(bytes, limits)?;
    let Some(kind) = bundle_type(&members).and_then(BundleKind::of) else {
        return Err(BundleError::NoContent { found: found(&members) });
    };
    if members.contains_key("implicitRules") {
        return Err(BundleError::RulesUnknown);
    }
    Ok((kind, entries(&mut members, limits)?))
}

fn members(bytes: &[u8], limits: BundleLimits) -> Result<Map<String, Value>, BundleError> {
    let read = json::parse(bytes, limits.bytes_max, limits.values_max());
    let value = read.map_err(|error| match error {
        JsonError::TooLarge { bytes, bytes_max } => BundleError::TooLarge { bytes, bytes_max },
        JsonError::Syntax(message) => BundleError::Syntax(message),
    })?;
    let Value::Object(members) = value else {
        return Err(BundleError::Syntax("it is no object".to_owned()));
    };
    Ok(members)
}

/// Returns the type, if the resource is a bundle.
fn bundle_type(members: &Map<String, Value>) -> Option<&str> {
    (text(members, "resourceType") == Some("Bundle")).then(|| text(members, "type")).flatten()
}

fn found(members: &Map<String, Value>) -> String {
    let resource = text(members, "resourceType").and_then(resource_type::known);
    let resource = resource.unwrap_or("without a resourceType");
    let given = text(members, "type");
    let of_type = TYPES.into_iter().find(|known| given == Some(*known)).unwrap_or("unknown");
    format!("{resource} of type {of_type}")
}

fn entries(
    members: &mut Map<String, Value>,
    limits: BundleLimits,
) -> Result<Vec<Value>, BundleError> {
    let entries = match members.remove("entry") {
        None => Vec::new(),
        Some(Value::Array(entries)) => entries,
        Some(_) => return Err(BundleError::Syntax("`entry` is no list".to_owned())),
    };
    if entries.len() > limits.entries_max {
        let (entries, entries_max) = (entries.len(), limits.entries_max);
        return Err(BundleError::TooManyEntries { entries, entries_max });
    }
    Ok(entries)
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
    /// With the server that the `fullUrl` names; `None` if two entries have the same `Type/id`.
    by_id: HashMap<String, Option<(T, Option<String>)>>,
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
        let server = full_url.and_then(server).map(str::to_owned);
        if let Some(full_url) = full_url.map(unversioned) {
            if self.by_url.contains_key(full_url.as_ref()) {
                return Err(Repeated);
            }
            self.by_url.insert(full_url.into_owned(), target);
        } else if relative.as_ref().is_some_and(|relative| self.by_id.contains_key(relative)) {
            return Err(Repeated);
        }
        if let Some(relative) = relative {
            let known = self.by_id.entry(relative).and_modify(|known| *known = None);
            known.or_insert(Some((target, server)));
        }
        Ok(())
    }

    /// Returns what `reference` names, as seen from the entry `full_url` (FHIR R4, Bundle,
    /// "Resolving references in Bundles": a relative reference is one to the referring entry's own
    /// server, if its `fullUrl` names one). A version is left aside: every version is of the same patient or thing.
    pub fn find(&self, reference: &str, full_url: Option<&str>) -> Option<T> {
        let reference = unversioned(reference);
        let reference = reference.as_ref();
        if let Some(target) = self.by_url.get(reference) {
            return Some(*target);
        }
        let own = full_url.and_then(server);
        let near = own.and_then(|own| self.by_url.get(&format!("{own}/{reference}")));
        if let Some(target) = near {
            return Some(*target);
        }
        let (target, of_target) = self.by_id.get(reference)?.as_ref()?;
        let is_near = match (own, of_target) {
            (Some(own), Some(of_target)) => own == of_target,
            (None, _) | (_, None) => true,
        };
        is_near.then_some(*target)
    }
}

impl<T> References<T> {
    /// Returns whether `reference` is a `Type/id` that several entries have: which one it names depends on who asks.
    pub fn is_ambiguous(&self, reference: &str) -> bool {
        matches!(self.by_id.get(unversioned(reference).as_ref()), Some(None))
    }
}

/// Returns the server that a `fullUrl` of the form `http(s)://server/Type/id` names.
fn server(full_url: &str) -> Option<&str> {
    let url = full_url.split_once("/_history/").map_or(full_url, |(url, _)| url);
    if !url.starts_with("http://") && !url.starts_with("https://") {
        return None;
    }
    let (rest, _id) = url.rsplit_once('/')?;
    let (server, resource_type) = rest.rsplit_once('/')?;
    resource_type::known(resource_type).map(|_| server)
}

/// Returns a reference or URL without its version; the digits of a UUID are small letters.
fn unversioned(reference: &str) -> Cow<'_, str> {
    const UUID: &str = "urn:uuid:";
    if reference.get(..UUID.len()).is_some_and(|scheme| scheme.eq_ignore_ascii_case(UUID)) {
        return Cow::Owned(reference.to_ascii_lowercase());
    }
    Cow::Borrowed(reference.split_once("/_history/").map_or(reference, |(name, _)| name))
}
