//! Reads a bundle: decode each entry, follow the references, put hospitals together.

mod missing;
mod resource;

use std::collections::HashSet;

use neurotriage_domain::HospitalId;
use neurotriage_fhir::bundle::{self, References, shown};
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::{
    missing::Missing,
    resource::{Failure, HealthcareService, Location, Organization, Parts, Reference},
};
use super::{BundleError, BundleImport, LIMITS, PassedOver, RefusedEntry};
use crate::hospital::Hospital;

/// Elements that refer to others, and to what.
const PROVIDED_BY: (&str, Kind) = ("HealthcareService.providedBy", Kind::Organization);
const PLACE: (&str, Kind) = ("HealthcareService.location", Kind::Location);
const MANAGED_BY: (&str, Kind) = ("Location.managingOrganization", Kind::Organization);

/// A resource and where it stood.
struct Found<T> {
    index: usize,
    full_url: Option<String>,
    resource: T,
}

/// Returns the hospitals of a bundle, the entries that are wrong and those that were passed over.
///
/// # Errors
/// [`BundleError`] if the bundle as a whole cannot be used: too large, not JSON, or no collection.
pub fn import(bytes: &[u8]) -> Result<BundleImport, BundleError> {
    let bundle = bundle::read(bytes, LIMITS)?;
    Ok(import_entries(bundle.entries.into_iter().enumerate(), []))
}

/// Does the same with entries that were read, each with its place in the bundle. `refused` are entries that were
/// refused already; they are not told again, but no hospital is put together without them.
pub fn import_entries(
    entries: impl IntoIterator<Item = (usize, Value)>,
    refused: impl IntoIterator<Item = (usize, Value)>,
) -> BundleImport {
    let mut reader = Reader::default();
    for (index, entry) in entries {
        reader.sort_in(index, &entry);
    }
    for (index, entry) in refused {
        reader.note_refused(index, &entry);
    }
    reader.finish()
}

/// Returns what the reader of JSON says, without what it read.
fn message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(", expected ") {
        Some((_, expected)) => format!("expected {expected}"),
        None if text.starts_with("missing field ") => text,
        None => "an element has another shape".to_owned(),
    }
}

fn full_url_of(entry: &Value) -> Option<&str> {
    entry.get("fullUrl").and_then(Value::as_str)
}

fn resource_of(entry: &Value) -> &Value {
    entry.get("resource").unwrap_or(&Value::Null)
}

fn id_of(entry: &Value) -> Option<&str> {
    resource_of(entry).get("id").and_then(Value::as_str)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Organization,
    Location,
    HealthcareService,
}

impl Kind {
    fn of(resource_type: &str) -> Option<Self> {
        [Self::Organization, Self::Location, Self::HealthcareService]
            .into_iter()
            .find(|kind| kind.as_str() == resource_type)
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Organization => "Organization",
            Self::Location => "Location",
            Self::HealthcareService => "HealthcareService",
        }
    }
}

/// What has a name of the bundle.
#[derive(Clone, Copy)]
enum Target {
    /// A place in the reader's list of that kind.
    Read(Kind, usize),
    /// An entry of that kind that was refused, by its place in the bundle.
    Refused(Kind, usize),
}

/// Where a reference leads.
#[derive(Clone, Copy)]
enum Lead {
    /// To a place in the reader's list.
    To(usize),
    /// To an entry that was refused, by its place in the bundle.
    Refused(usize),
    /// To nothing of this bundle.
    Elsewhere,
    /// Nobody can tell: there is no reference, or it names several entries or one of another kind.
    Unclear,
}

#[derive(Default)]
struct Reader {
    organizations: Vec<Found<Organization>>,
    locations: Vec<Found<Location>>,
    services: Vec<Found<HealthcareService>>,
    references: References<Target>,
    refused: Vec<RefusedEntry>,
    passed_over: Vec<PassedOver>,
    /// What was refused, until it is known whose it is.
    missing: Vec<Missing>,
    /// Place of a refused entry that may belong to any hospital.
    unclear: Option<usize>,
}

/// What belongs to one organization: places in the reader's lists.
#[derive(Clone, Default)]
struct Belongings {
    /// Named by a service, in order, then managed by the organization.
    locations: Vec<usize>,
    services: Vec<usize>,
    failure: Option<Failure>,
    /// Place in the bundle of an entry of it that was refused.
    refused: Option<usize>,
}

impl Reader {
    /// Decodes one entry and puts it into its list.
    fn sort_in(&mut self, index: usize, entry: &Value) {
        let full_url = full_url_of(entry);
        let at = |field, problem| failure((index, full_url), field, problem);
        let resource = resource_of(entry);
        let Some(resource_type) = resource.get("resourceType").and_then(Value::as_str) else {
            let problem = "has no resourceType; give each entry a resource".to_owned();
            return self.refuse(at("entry.resource", problem), None);
        };
        let Some(kind) = Kind::of(resource_type) else {
            let resource_type = shown(resource_type);
            let full_url = full_url.map(shown);
            let reason = "resource is no part of a hospital directory";
            self.passed_over.push(PassedOver { index, full_url, resource_type, reason });
            return;
        };
        let decoded = match kind {
            Kind::Organization => decode(&mut self.organizations, (index, full_url), resource),
            Kind::Location => decode(&mut self.locations, (index, full_url), resource),
            Kind::HealthcareService => decode(&mut self.services, (index, full_url), resource),
        };
        let place = match decoded {
            Ok(place) => place,
            Err(problem) => {
                self.missing.push(Missing::read(index, kind, entry));
                return self.refuse(at(kind.as_str(), problem), None);
            }
        };
        let (target, id) = (Target::Read(kind, place), id_of(entry));
        if let Err(repeated) = self.references.insert(target, full_url, kind.as_str(), id) {
            self.drop_last(kind);
            self.note_refused(index, entry);
            self.refuse(at("entry.fullUrl", repeated.to_string()), None);
        }
    }

    fn drop_last(&mut self, kind: Kind) {
        match kind {
            Kind::Organization => drop(self.organizations.pop()),
            Kind::Location => drop(self.locations.pop()),
            Kind::HealthcareService => drop(self.services.pop()),
        }
    }

    fn refuse(&mut self, failure: Failure, hospital_id: Option<String>) {
        let Failure { index, full_url, field, problem, depends_on } = failure;
        let full_url = full_url.as_deref().map(shown);
        let entry = RefusedEntry { index, full_url, hospital_id, field, problem, depends_on };
        self.refused.push(entry);
    }

    fn finish(mut self) -> BundleImport {
        let mut belongings = vec![Belongings::default(); self.organizations.len()];
        self.name_missing(&mut belongings);
        let named = self.assign_services(&mut belongings);
        self.assign_locations(&mut belongings);
        self.assign_missing(&mut belongings, &named);
        let organizations = std::mem::take(&mut self.organizations);
        let mut hospitals = Vec::new();
        let mut places = Vec::new();
        let mut seen = HashSet::new();
        for (organization, belongings) in organizations.iter().zip(belongings) {
            if organization.resource.active == Some(false) {
                self.passed_over.push(PassedOver {
                    index: organization.index,
                    full_url: organization.full_url.as_deref().map(shown),
                    resource_type: Kind::Organization.as_str().to_owned(),
                    reason: "organization is not active",
                });
                continue;
            }
            match self.hospital(organization, belongings, &mut seen) {
                Ok((hospital, of)) => {
                    hospitals.push(hospital);
                    places.push(of);
                }
                Err(failure) => {
                    self.refuse(failure, organization.resource.raw_id().map(shown));
                }
            }
        }
        self.refused.sort_by_key(|entry| entry.index);
        self.passed_over.sort_by_key(|entry| entry.index);
        BundleImport { hospitals, places, refused: self.refused, passed_over: self.passed_over }
    }

    /// Returns the places in the bundle of refused Locations that services name.
    fn assign_services(&mut self, belongings: &mut [Belongings]) -> HashSet<usize> {
        let mut named = HashSet::new();
        let services = std::mem::take(&mut self.services);
        for (place, service) in services.iter().enumerate() {
            let full_url = service.full_url.as_deref();
            let text = service.resource.provided_by.as_ref().and_then(Reference::text);
            let owner = match self.lead(Kind::Organization, text, full_url) {
                Lead::To(owner) => owner,
                lead @ (Lead::Refused(_) | Lead::Elsewhere | Lead::Unclear) => {
                    if matches!(lead, Lead::Unclear) {
                        self.unclear.get_or_insert(service.index);
                    }
                    let failure = service.lost(PROVIDED_BY, text, lead);
                    self.refuse(failure, None);
                    continue;
                }
            };
            let Some(owner) = belongings.get_mut(owner) else { continue };
            owner.services.push(place);
            for reference in &service.resource.location {
                let text = reference.text();
                match self.lead(Kind::Location, text, full_url) {
                    Lead::To(location) if owner.locations.contains(&location) => {}
                    Lead::To(location) => owner.locations.push(location),
                    Lead::Refused(location) => {
                        named.insert(location);
                        owner.refused.get_or_insert(location);
                    }
                    lead @ (Lead::Elsewhere | Lead::Unclear) => {
                        let failure = service.lost(PLACE, text, lead);
                        owner.failure.get_or_insert(failure);
                    }
                }
            }
        }
        self.services = services;
        named
    }

    fn assign_locations(&mut self, belongings: &mut [Belongings]) {
        let locations = std::mem::take(&mut self.locations);
        let named = belongings.iter().flat_map(|one| one.locations.clone()).collect::<HashSet<_>>();
        for (place, location) in locations.iter().enumerate() {
            let Some(reference) = &location.resource.managing_organization else {
                // One that nobody names either is no hospital's, such as a ward of a patient's stay.
                if !named.contains(&place) {
                    self.refuse(location.lost(MANAGED_BY, None, Lead::Elsewhere), None);
                }
                continue;
            };
            let text = reference.text();
            match self.lead(Kind::Organization, text, location.full_url.as_deref()) {
                Lead::To(owner) => {
                    let Some(owner) = belongings.get_mut(owner) else { continue };
                    if !owner.locations.contains(&place) {
                        owner.locations.push(place);
                    }
                }
                lead @ (Lead::Refused(_) | Lead::Elsewhere | Lead::Unclear) => {
                    if matches!(lead, Lead::Unclear) {
                        self.unclear.get_or_insert(location.index);
                    }
                    let failure = location.lost(MANAGED_BY, text, lead);
                    self.refuse(failure, None);
                }
            }
        }
        self.locations = locations;
    }

    fn lead(&self, kind: Kind, reference: Option<&str>, full_url: Option<&str>) -> Lead {
        let Some(text) = reference else { return Lead::Unclear };
        match self.references.find(text, full_url) {
            Some(Target::Read(of, place)) if of == kind => Lead::To(place),
            Some(Target::Refused(of, index)) if of == kind => Lead::Refused(index),
            Some(_) => Lead::Unclear,
            None if self.references.is_ambiguous(text) => Lead::Unclear,
            None => Lead::Elsewhere,
        }
    }

    fn hospital(
        &mut self,
        organization: &Found<Organization>,
        belongings: Belongings,
        seen: &mut HashSet<HospitalId>,
    ) -> Result<(Hospital, Vec<usize>), Failure> {
        if let Some(failure) = belongings.failure {
            return Err(failure);
        }
        if let Some(on) = belongings.refused {
            return Err(organization.depends("Organization", on));
        }
        if let Some(on) = self.unclear {
            let whose = "and whose it is cannot be told; correct it, or leave it out";
            let mut failure = organization.depends("Organization", on);
            failure.problem = format!("{}, {whose}", failure.problem);
            return Err(failure);
        }
        let services =
            belongings.services.iter().filter_map(|&place| self.services.get(place)).collect();
        let mut locations = belongings
            .locations
            .iter()
            .filter_map(|&place| self.locations.get(place))
            .filter(|location| location.resource.status.as_deref() != Some("inactive"));
        let parts = Parts { organization, location: locations.next(), services };
        let places = parts.places();
        let hospital = parts.hospital()?;
        if !seen.insert(hospital.hospital_id.clone()) {
            let problem = "was given by an entry before; give each hospital once".to_owned();
            return Err(organization.failure("Organization.id", problem));
        }
        for further in locations {
            self.passed_over.push(PassedOver {
                index: further.index,
                full_url: further.full_url.as_deref().map(shown),
                resource_type: Kind::Location.as_str().to_owned(),
                reason: "hospital has another location, which was taken",
            });
        }
        Ok((hospital, places))
    }
}

fn failure(
    (index, full_url): (usize, Option<&str>),
    field: &'static str,
    problem: String,
) -> Failure {
    Failure { index, full_url: full_url.map(str::to_owned), field, problem, depends_on: None }
}

/// Adds the resource to `list` and returns its place there.
fn decode<T: DeserializeOwned>(
    list: &mut Vec<Found<T>>,
    (index, full_url): (usize, Option<&str>),
    resource: &Value,
) -> Result<usize, String> {
    match T::deserialize(resource) {
        Ok(resource) => {
            list.push(Found { index, full_url: full_url.map(str::to_owned), resource });
            Ok(list.len() - 1)
        }
        Err(error) => {
            Err(format!("is not the resource of FHIR R4; correct it: {}", message(&error)))
        }
    }
}
