//! Reads a bundle: decode each entry, follow the references, put hospitals together.

mod resource;

use std::collections::{HashMap, HashSet};

use neurotriage_domain::HospitalId;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use self::resource::{Failure, HealthcareService, Location, Organization, Parts};
use super::{BYTES_MAX, BundleError, BundleImport, ENTRIES_MAX, PassedOver, RefusedEntry};
use crate::{directory::exchange::shown, hospital::Hospital};

/// Longest message of the JSON reader that a report repeats, in characters: it may quote what it read.
const MESSAGE_CHARS_MAX: usize = 160;

#[derive(Deserialize)]
struct Bundle {
    #[serde(rename = "resourceType")]
    resource_type: Option<String>,
    r#type: Option<String>,
    #[serde(default)]
    entry: Vec<Value>,
}

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
    if bytes.len() > BYTES_MAX {
        return Err(BundleError::TooLarge { bytes: bytes.len() });
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let bundle: Bundle =
        serde_json::from_slice(bytes).map_err(|error| BundleError::Syntax(message(&error)))?;
    let kind = (bundle.resource_type.as_deref(), bundle.r#type.as_deref());
    if kind != (Some("Bundle"), Some("collection")) {
        let (resource_type, bundle_type) = kind;
        let found = format!(
            "{} of type {}",
            resource_type.unwrap_or("without resourceType"),
            bundle_type.unwrap_or("unknown")
        );
        return Err(BundleError::NotACollection { found: shown(&found) });
    }
    if bundle.entry.len() > ENTRIES_MAX {
        return Err(BundleError::TooManyEntries { entries: bundle.entry.len() });
    }
    let mut reader = Reader::default();
    for (index, entry) in bundle.entry.into_iter().enumerate() {
        reader.sort_in(index, entry);
    }
    Ok(reader.finish())
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

/// Where references lead: places in the reader's list of that kind.
#[derive(Default)]
struct References {
    by_url: HashMap<String, (Kind, usize)>,
    /// `None` if two servers gave the same `Type/id`.
    by_id: HashMap<String, Option<(Kind, usize)>>,
}

impl References {
    /// Returns false if an entry of that name is known already.
    fn insert(
        &mut self,
        kind: Kind,
        place: usize,
        full_url: Option<&str>,
        id: Option<&str>,
    ) -> bool {
        let relative = id.map(|id| format!("{}/{id}", kind.as_str()));
        if let Some(full_url) = full_url {
            if self.by_url.contains_key(full_url) {
                return false;
            }
            self.by_url.insert(full_url.to_owned(), (kind, place));
        } else if relative.as_ref().is_some_and(|relative| self.by_id.contains_key(relative)) {
            return false;
        }
        if let Some(relative) = relative {
            let target = Some((kind, place));
            self.by_id.entry(relative).and_modify(|known| *known = None).or_insert(target);
        }
        true
    }

    /// Returns what `reference` names, as seen from the entry `full_url` (FHIR R4, Bundle,
    /// "Resolving references in Bundles": a relative reference first means the referring entry's own
    /// server).
    fn find(&self, kind: Kind, reference: &str, full_url: Option<&str>) -> Option<usize> {
        let base = full_url.and_then(|url| url.rsplitn(3, '/').nth(2));
        let near = base.and_then(|base| self.by_url.get(&format!("{base}/{reference}")));
        let found = self.by_url.get(reference).or(near).copied();
        let (found_kind, place) = found.or_else(|| self.by_id.get(reference).copied().flatten())?;
        (found_kind == kind).then_some(place)
    }
}

#[derive(Default)]
struct Reader {
    organizations: Vec<Found<Organization>>,
    locations: Vec<Found<Location>>,
    services: Vec<Found<HealthcareService>>,
    references: References,
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
                if !self.references.insert(kind, place, full_url, id.as_deref()) {
                    self.drop_last(kind);
                    let problem = "stands in the bundle already; give each entry once".to_owned();
                    self.refuse((index, full_url), None, "entry.fullUrl", problem);
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
                Ok(hospital) => hospitals.push(hospital),
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
        BundleImport { hospitals, refused: self.refused, passed_over: self.passed_over }
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
        self.references.find(kind, text, full_url).ok_or_else(|| {
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
    ) -> Result<Hospital, Failure> {
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
        Ok(hospital)
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
