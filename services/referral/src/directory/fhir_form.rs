//! A directory of hospitals as a FHIR R4 `Bundle` of type `collection`. No I/O.
//!
//! | field | resource and element |
//! |---|---|
//! | `hospital_id` | `Organization.identifier` of system [`RESERVED_SYSTEM`], else `Organization.id` |
//! | `name` | `Organization.name` |
//! | `city` | `Organization.address.city`, else `Location.address.city` |
//! | `identifiers` | `Organization.identifier` |
//! | `latitude_degrees`, `longitude_degrees` | `Location.position` (WGS 84) |
//! | `capabilities` | `HealthcareService.type.coding` of system [`CAPABILITY_SYSTEM`] |
//! | `languages` | `HealthcareService.communication.coding` of system [`LANGUAGE_SYSTEM`] |
//! | `accepts_referrals` | `HealthcareService.active`, and `Location.status` is not `suspended` |
//! | `capacity` | extension [`CAPACITY_URL`] of `HealthcareService`, `valueDecimal` |
//! | `beds_free` | extension [`BEDS_FREE_URL`] of `HealthcareService`, `valueUnsignedInt` |
//!
//! Export writes one of each resource for a hospital, and `appointmentRequired` true, as patients come
//! by referral; import does not read that element. The services that name an organization in
//! `providedBy` are taken together: those that are active or, if none is, all of them, and the
//! hospital then takes no referrals. The first extension found counts. The place is the first
//! `Location` that a service names, else the first whose `managingOrganization` is the hospital.
//!
//! References are `Type/id` or the `fullUrl` of an entry. A hospital is refused as a whole if one of
//! its resources is wrong: without that one it would be written over what is known of it. If nobody can
//! tell whose a wrong resource is, every hospital of the bundle is refused. Other elements are ignored, other
//! resources passed over.
//!
//! # Source
//! HL7 FHIR R4 (4.0.1): Bundle, Organization, Location, HealthcareService.

mod read;
#[cfg(test)]
mod tests;

use std::fmt;

use neurotriage_fhir::{
    bundle::BundleLimits,
    element::{self, without_empty},
};
use serde_json::{Value, json};

use crate::{
    directory::exchange::{self, ExportError},
    hospital::Hospital,
};

pub use crate::hospital::RESERVED_SYSTEM;
pub use neurotriage_fhir::bundle::BundleError;
pub use read::{import, import_entries};

/// Largest bundle, in bytes: [`ENTRIES_MAX`] entries of some 500 bytes.
pub const BYTES_MAX: usize = 32 * 1024 * 1024;

/// Most entries of a bundle: three for each of 20,000 hospitals.
pub const ENTRIES_MAX: usize = 60_000;

/// How large a bundle of hospitals may be.
const LIMITS: BundleLimits = BundleLimits { bytes_max: BYTES_MAX, entries_max: ENTRIES_MAX };

/// Entries that export writes for a hospital.
const ENTRIES_PER_HOSPITAL: usize = 3;

pub use neurotriage_fhir::code::{
    BEDS_FREE as BEDS_FREE_URL, CAPABILITY as CAPABILITY_SYSTEM, CAPACITY as CAPACITY_URL,
    LANGUAGE as LANGUAGE_SYSTEM,
};

/// Base of the full URLs that export writes. FHIR wants them to agree with `Type/id`, which a `urn`
/// cannot; the domain `invalid` (RFC 2606) is nobody's.
const BASE_URL: &str = "https://neurotriage.invalid/fhir";

/// What a bundle gave.
#[derive(Clone, Debug, PartialEq)]
pub struct BundleImport {
    /// The good hospitals, in the order of their organizations; no id twice.
    pub hospitals: Vec<Hospital>,
    /// For each hospital the places in the bundle of its organization, location and services.
    pub places: Vec<Vec<usize>>,
    /// The wrong entries, in the bundle's order.
    pub refused: Vec<RefusedEntry>,
    /// The entries that say nothing about a hospital of the directory, in the bundle's order.
    pub passed_over: Vec<PassedOver>,
}

/// An entry that was not taken, by the first thing that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedEntry {
    /// Place in the bundle, from 0.
    pub index: usize,
    /// The entry's `fullUrl`, cut to 64 characters, if it has one.
    pub full_url: Option<String>,
    /// The hospital that it belongs to, if that is known.
    pub hospital_id: Option<String>,
    /// The element, such as `Location.position`.
    pub field: &'static str,
    /// What is wrong, and what would be right.
    pub problem: String,
    /// Place of another entry that was refused, if that alone is why this one is.
    pub depends_on: Option<usize>,
}

impl fmt::Display for RefusedEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, full_url, hospital_id, field, problem, depends_on: _ } = self;
        let hospital_id = hospital_id.as_deref().unwrap_or("without id");
        match full_url {
            Some(full_url) => write!(f, "entry {full_url}")?,
            None => write!(f, "entry {index}")?,
        }
        write!(f, ", hospital {hospital_id}, {field}: {problem}")
    }
}

/// An entry that was left aside without being wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassedOver {
    /// Place in the bundle, from 0.
    pub index: usize,
    /// The entry's `fullUrl`, cut to 64 characters, if it has one.
    pub full_url: Option<String>,
    /// Its `resourceType`, cut to 64 characters.
    pub resource_type: String,
    /// Why it was left aside.
    pub reason: &'static str,
}

/// Returns `hospitals` as a bundle. [`import`] gives the same hospitals back.
///
/// # Errors
/// [`ExportError`] if import would refuse the bundle or an entry of it.
pub fn export(hospitals: &[Hospital]) -> Result<String, ExportError> {
    exchange::check_all(hospitals, ENTRIES_MAX / ENTRIES_PER_HOSPITAL)?;
    let entries = hospitals
        .iter()
        .flat_map(|hospital| [organization(hospital), location(hospital), service(hospital)])
        .map(entry)
        .collect::<Vec<_>>();
    let bundle = without_empty(json!({
        "resourceType": "Bundle",
        "type": "collection",
        "entry": entries,
    }));
    exchange::check_size(bundle.to_string(), BYTES_MAX)
}

fn entry(resource: Value) -> Value {
    let text = |name: &str| resource.get(name).and_then(Value::as_str).unwrap_or_default();
    let full_url = format!("{BASE_URL}/{}/{}", text("resourceType"), text("id"));
    json!({ "fullUrl": full_url, "resource": resource })
}

fn organization(hospital: &Hospital) -> Value {
    let identifiers = hospital
        .identifiers
        .iter()
        .map(|one| json!({ "system": one.system, "value": one.value }))
        .collect::<Vec<_>>();
    without_empty(json!({
        "resourceType": "Organization",
        "id": hospital.hospital_id.as_str(),
        "identifier": identifiers,
        "active": true,
        "name": hospital.name,
        "address": [{ "city": hospital.city }],
    }))
}

fn location(hospital: &Hospital) -> Value {
    json!({
        "resourceType": "Location",
        "id": hospital.hospital_id.as_str(),
        "status": "active",
        "position": {
            "longitude": hospital.location.longitude_degrees(),
            "latitude": hospital.location.latitude_degrees(),
        },
        "managingOrganization": reference("Organization", hospital),
    })
}

fn service(hospital: &Hospital) -> Value {
    let coded = |system: &str, code: &str, display: Option<&str>| json!({ "coding": [element::coded(system, code, display)] });
    let types = hospital
        .capabilities
        .iter()
        .map(|one| coded(CAPABILITY_SYSTEM, one.as_str(), Some(one.display_name())))
        .collect::<Vec<_>>();
    let languages =
        hospital.languages.iter().map(|tag| coded(LANGUAGE_SYSTEM, tag, None)).collect::<Vec<_>>();
    let mut extensions = vec![json!({ "url": CAPACITY_URL, "valueDecimal": hospital.capacity })];
    if let Some(beds) = hospital.beds_free {
        extensions.push(json!({ "url": BEDS_FREE_URL, "valueUnsignedInt": beds }));
    }
    without_empty(json!({
        "resourceType": "HealthcareService",
        "id": hospital.hospital_id.as_str(),
        "extension": extensions,
        "active": hospital.accepts_referrals,
        "providedBy": reference("Organization", hospital),
        "type": types,
        "location": [reference("Location", hospital)],
        "communication": languages,
        "appointmentRequired": true,
    }))
}

fn reference(resource_type: &str, hospital: &Hospital) -> Value {
    json!({ "reference": format!("{resource_type}/{}", hospital.hospital_id) })
}
