//! Reads a bundle: decode each entry, follow the references, put hospitals together.

mod resource;

use std::collections::HashSet;

use neurotriage_domain::HospitalId;
use neurotriage_fhir::bundle::{self, References, shown};
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::resource::{Failure, HealthcareService, Location, Organization, Parts};
use super::{BundleError, BundleImport, LIMITS, PassedOver, RefusedEntry};
use crate::hospital::Hospital;

/// Longest message of the JSON reader that a report repeats, in characters: it may quote what it read.
const MESSAGE_CHARS_MAX: usize = 160;

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
    Ok(import_entries(bundle.entries.into_iter().enumerate()))
}

/// Does the same with entries that were read, each with its place in the bundle.
pub fn import_entries(entries: impl IntoIterator<Item = (usize, Value)>) -> BundleImport {
    let mut reader = Reader::default();
    for (index, entry) in entries {
        reader.sort_in(index, entry);
    }
    reader.finish()
}

fn message(error: &serde_json::Error) -> String {
    error.to_string().chars().take(MESSAGE_CHARS_MAX).collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Organization,
    Location,
    HealthcareService,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Organization => "Organization",
            Self::Location => "Location",
            Self::HealthcareService => "HealthcareService",
        }
    }
}

#[derive(Default)]
struct Reader {
    organizations: Vec<Found<Organization>>,
    locations: Vec<Found<Location>>,
    services: Vec<Found<HealthcareService>>,
    /// Places in the reader's list of that kind.
    references: References<(Kind, usize)>,
    refused: Vec<RefusedEntry>,
    passed_over: Vec<PassedOver>,
}

/// What belongs to one organization: places in the reader's lists.
#[derive(Clone, Default)]
struct Belongings {
    /// Named by a service, in order, then managed by the organization.
    locations: Vec<usize>,
    services: Vec<usize>,
    failure: Option<Failure>,
}

impl Reader {
    /// Decodes one entry and puts it into its list.
    fn sort_in(&mut self, index: usize, mut entry: Value) {
        let full_url = entry.get("fullUrl").and_then(Value::as_str).map(str::to_owned);
        let resource = entry.get_mut("resource").map(Value::take).unwrap_or_default();
        let Some(resource_type) = resource.get("resourceType").and_then(Value::as_str) else {
            let problem = "has no resourceType; give each entry a resource".to_owned();
            return self.refuse((index, full_url.as_deref()), None, "entry.resource", problem);
        };
        let id = resource.get("id").and_then(Value::as_str).map(str::to_owned);
        let (kind, place) = match resource_type {
            "Organization" => (Kind::Organization, self.organizations.len()),
            "Location" => (Kind::Location, self.locations.len()),
            "HealthcareService" => (Kind::HealthcareService, self.services.len()),
            other => {
                let resource_type = shown(other);
                let full_url = full_url.as_deref().map(shown);
                let reason = "resource is no part of a hospital directory";
                self.passed_over.push(PassedOver { index, full_url, resource_type, reason });
                return;
            }
        };
        let at = (index, full_url);
        let decoded = match kind {
            Kind::Organization => decode(&mut self.organizations, at, resource),
            Kind::Location => decode(&mut self.locations, at, resource),
            Kind::HealthcareService => decode(&mut self.services, at, resource),
        };
        match decoded {
            Ok(full_url) => {
                let full_url = full_url.as_deref();
                let target = (kind, place);
                let name = kind.as_str();
                if let Err(repeated) = self.references.insert(target, full_url, name, id.as_deref())
                {
                    self.drop_last(kind);
                    self.refuse((index, full_url), None, "entry.fullUrl", repeated.to_string());
                }
            }
            Err((full_url, problem)) => {
                self.refuse((index, full_url.as_deref()), None, kind.as_str(), problem);
            }
        }
    }

    fn drop_last(&mut self, kind: Kind) {
        match kind {
            Kind::Organization => drop(self.organizations.pop()),
            Kind::Location => drop(self.locations.pop()),
            Kind::HealthcareService => drop(self.services.pop()),
        }
    }

    fn refuse(
        &mut self,
        (index, full_url): (usize, Option<&str>),
        hospital_id: Option<String>,
        field: &'static str,
        problem: String,
    ) {
        let full_url = full_url.map(shown);
        self.refused.push(RefusedEntry { index, full_url, hospital_id, field, problem });
    }

    fn finish(mut self) -> BundleImport {
        let mut belongings = vec![Belongings::default(); self.organizations.len()];
        self.assign_services(&mut belongings);
        self.assign_locations(&mut belongings);
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
                    let full_url = failure.full_url.as_deref();
                    let hospital_id = organization.resource.raw_id().map(shown);
                    self.refuse(
                        (failure.index, full_url),
                        hospital_id,
                        failure.field,
                        failure.problem,
                    );
                }
            }
        }
        self.refused.sort_by_key(|entry| entry.index);
        self.passed_over.sort_by_key(|entry| entry.index);
        BundleImport { hospitals, places, refused: self.refused, passed_over: self.passed_over }
    }

    fn assign_services(&mut self, belongings: &mut [Belongings]) {
        const FIELD: &str = "HealthcareService.providedBy";
        let services = std::mem::take(&mut self.services);
        for (place, service) in services.iter().enumerate() {
            let at = (service.index, service.full_url.as_deref());
            let reference = service.resource.provided_by.as_ref();
            let owner = match self.follow(Kind::Organization, reference, at.1) {
                Ok(owner) => owner,
                Err(problem) => {
                    self.refuse(at, None, FIELD, problem);
                    continue;
                }
            };
            let Some(owner) = belongings.get_mut(owner) else { continue };
            owner.services.push(place);
            for reference in &service.resource.location {
                match self.follow(Kind::Location, Some(reference), at.1) {
                    Ok(location) if owner.locations.contains(&location) => {}
                    Ok(location) => owner.locations.push(location),
                    Err(problem) => {
                        let failure = service.failure("HealthcareService.location", problem);
                        owner.failure.get_or_insert(failure);
                    }
                }
            }
        }
        self.services = services;
    }

    fn assign_locations(&mut self, belongings: &mut [Belongings]) {
        let locations = std::mem::take(&mut self.locations);
        let named = belongings.iter().flat_map(|one| one.locations.clone()).collect::<HashSet<_>>();
        for (place, location) in locations.iter().enumerate() {
            let at = (location.index, location.full_url.as_deref());
            let reference = location.resource.managing_organization.as_ref();
            if reference.is_none() && named.contains(&place) {
                continue;
            }
            match self.follow(Kind::Organization, reference, at.1) {
                Ok(owner) => {
                    let Some(owner) = belongings.get_mut(owner) else { continue };
                    if !owner.locations.contains(&place) {
                        owner.locations.push(place);
                    }
                }
                Err(problem) => self.refuse(at, None, "Location.managingOrganization", problem),
            }
        }
        self.locations = locations;
    }

    fn follow(
        &self,
        kind: Kind,
        reference: Option<&resource::Reference>,
        full_url: Option<&str>,
    ) -> Result<usize, String> {
        let kind_name = kind.as_str();
        let Some(text) = reference.and_then(|reference| reference.reference.as_deref()) else {
            return Err(format!("is missing; write {kind_name}/id or the fullUrl of an entry"));
        };
        let found = self.references.find(text, full_url).filter(|(found, _)| *found == kind);
        found.map(|(_, place)| place).ok_or_else(|| {
            format!(
                "`{}` names no {kind_name} that was read from this bundle, or more than one; write \
                 {kind_name}/id or the fullUrl of an entry",
                shown(text)
            )
        })
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

type At = (usize, Option<String>);

/// Adds the resource to `list` and returns its full URL.
fn decode<T: DeserializeOwned>(
    list: &mut Vec<Found<T>>,
    (index, full_url): At,
    resource: Value,
) -> Result<Option<String>, (Option<String>, String)> {
    match serde_json::from_value(resource) {
        Ok(resource) => {
            list.push(Found { index, full_url: full_url.clone(), resource });
            Ok(full_url)
        }
        Err(error) => {
            let problem =
                format!("is not the resource of FHIR R4; correct it: {}", message(&error));
            Err((full_url, problem))
        }
    }
}
