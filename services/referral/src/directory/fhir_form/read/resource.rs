//! The elements of FHIR resources that a hospital is made of, and how they are put together.

use neurotriage_domain::HospitalId;
use serde::Deserialize;

use super::{Found, Kind, Lead};
use crate::{
    directory::{
        exchange,
        fhir_form::{BEDS_FREE_URL, CAPABILITY_SYSTEM, CAPACITY_URL, LANGUAGE_SYSTEM},
    },
    hospital::{
        Capability, Coordinates, Field, FieldProblem, Hospital, Identifier, RESERVED_SYSTEM,
    },
};

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(super) struct Organization {
    id: Option<String>,
    pub(super) active: Option<bool>,
    name: Option<String>,
    #[serde(default)]
    identifier: Vec<RawIdentifier>,
    #[serde(default)]
    address: Vec<Address>,
}

#[derive(Deserialize, PartialEq)]
struct RawIdentifier {
    system: Option<String>,
    value: Option<String>,
}

#[derive(Deserialize, PartialEq)]
struct Address {
    city: Option<String>,
}

#[derive(Deserialize, PartialEq)]
pub(super) struct Reference {
    reference: Option<String>,
}

impl Reference {
    pub(super) fn text(&self) -> Option<&str> {
        self.reference.as_deref()
    }
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(super) struct Location {
    pub(super) status: Option<String>,
    position: Option<Position>,
    address: Option<Address>,
    pub(super) managing_organization: Option<Reference>,
}

#[derive(Deserialize, PartialEq)]
struct Position {
    longitude: f64,
    latitude: f64,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub(super) struct HealthcareService {
    active: Option<bool>,
    pub(super) provided_by: Option<Reference>,
    #[serde(default)]
    r#type: Vec<CodeableConcept>,
    #[serde(default)]
    pub(super) location: Vec<Reference>,
    #[serde(default)]
    communication: Vec<CodeableConcept>,
    #[serde(default)]
    extension: Vec<Extension>,
}

#[derive(Deserialize, PartialEq)]
struct CodeableConcept {
    #[serde(default)]
    coding: Vec<Coding>,
}

#[derive(Deserialize, PartialEq)]
struct Coding {
    system: Option<String>,
    code: Option<String>,
}

#[derive(Deserialize, PartialEq)]
#[serde(rename_all = "camelCase")]
struct Extension {
    url: Option<String>,
    value_decimal: Option<f64>,
    value_unsigned_int: Option<u32>,
}

/// What is wrong with a hospital, and which entry is to blame.
#[derive(Clone)]
pub(super) struct Failure {
    pub(super) index: usize,
    pub(super) full_url: Option<String>,
    pub(super) field: &'static str,
    pub(super) problem: String,
    /// The entry whose refusal is why.
    pub(super) depends_on: Option<usize>,
}

impl<T> Found<T> {
    pub(super) fn failure(&self, field: &'static str, problem: impl Into<String>) -> Failure {
        let Self { index, full_url, .. } = self;
        let (index, full_url, problem) = (*index, full_url.clone(), problem.into());
        Failure { index, full_url, field, problem, depends_on: None }
    }

    /// Fails because another entry was refused.
    pub(super) fn depends(&self, field: &'static str, on: usize) -> Failure {
        let failure = self.failure(field, format!("depends on entry[{on}], which was refused"));
        Failure { depends_on: Some(on), ..failure }
    }

    /// Fails because the reference `text` of a field leads nowhere.
    pub(super) fn lost(
        &self,
        (field, kind): (&'static str, Kind),
        text: Option<&str>,
        lead: Lead,
    ) -> Failure {
        let kind = kind.as_str();
        match (lead, text) {
            (Lead::Refused(on), _) => self.depends(field, on),
            (Lead::To(_) | Lead::Elsewhere | Lead::Unclear, None) => self
                .failure(field, format!("is missing; write {kind}/id or the fullUrl of an entry")),
            (Lead::To(_) | Lead::Elsewhere | Lead::Unclear, Some(_)) => {
                let problem = format!(
                    "names no {kind} that was read from this bundle, or more than one; write \
                     {kind}/id or the fullUrl of an entry"
                );
                self.failure(field, problem)
            }
        }
    }
}

impl Organization {
    fn reserved(&self) -> Option<&RawIdentifier> {
        self.identifier.iter().find(|one| one.system.as_deref() == Some(RESERVED_SYSTEM))
    }

    /// Returns the text that ought to be the hospital's id.
    pub(super) fn raw_id(&self) -> Option<&str> {
        match self.reserved() {
            Some(identifier) => identifier.value.as_deref(),
            None => self.id.as_deref(),
        }
    }
}

fn codes<'a>(
    concepts: &'a [CodeableConcept],
    system: &'static str,
) -> impl Iterator<Item = &'a str> {
    concepts
        .iter()
        .flat_map(|concept| &concept.coding)
        .filter(move |coding| coding.system.as_deref() == Some(system))
        .map(|coding| coding.code.as_deref().unwrap_or_default())
}

/// The resources of one hospital.
pub(super) struct Parts<'a> {
    pub(super) organization: &'a Found<Organization>,
    pub(super) location: Option<&'a Found<Location>>,
    pub(super) services: Vec<&'a Found<HealthcareService>>,
}

impl Parts<'_> {
    /// Returns the places of the resources in the bundle.
    pub(super) fn places(&self) -> Vec<usize> {
        let location = self.location.map(|location| location.index);
        let services = self.services.iter().map(|service| service.index);
        std::iter::once(self.organization.index).chain(location).chain(services).collect()
    }

    pub(super) fn hospital(mut self) -> Result<Hospital, Failure> {
        let organization = self.organization;
        let raw_id = organization.resource.raw_id().unwrap_or_default();
        let hospital_id: HospitalId = raw_id.parse().map_err(|_| {
            organization.failure("Organization.id", "is not an id; write 1 to 64 of a-z, 0-9 and -")
        })?;
        let Some(&first_service) = self.services.first() else {
            let problem = "no HealthcareService read from the bundle names this hospital; add one";
            return Err(organization.failure("HealthcareService.providedBy", problem));
        };
        let Some(location) = self.location else {
            let problem =
                "no active Location read from the bundle belongs to this hospital; add one";
            return Err(organization.failure("Location.managingOrganization", problem));
        };
        let is_active =
            |service: &&Found<HealthcareService>| service.resource.active != Some(false);
        let any_active = self.services.iter().any(is_active);
        if any_active {
            self.services.retain(is_active);
        }
        let open = location.resource.status.as_deref() != Some("suspended");
        let hospital = Hospital {
            hospital_id,
            name: organization.resource.name.clone().unwrap_or_default(),
            city: self.city(location),
            location: place(location)?,
            capabilities: self.capabilities()?,
            capacity: self.capacity(first_service)?,
            accepts_referrals: any_active && open,
            identifiers: self.identifiers()?,
            languages: self.languages(),
            beds_free: self.beds_free()?,
        };
        hospital.check().map_err(|wrong| self.blame(wrong, location, first_service))?;
        Ok(hospital)
    }

    fn city(&self, location: &Found<Location>) -> String {
        let addresses = self.organization.resource.address.iter();
        let city = addresses.chain(&location.resource.address).find_map(|one| one.city.clone());
        city.unwrap_or_default()
    }

    fn identifiers(&self) -> Result<Vec<Identifier>, Failure> {
        let mut identifiers = Vec::new();
        for raw in &self.organization.resource.identifier {
            if raw.system.as_deref() == Some(RESERVED_SYSTEM) {
                continue;
            }
            let (Some(system), Some(value)) = (&raw.system, &raw.value) else {
                let problem = "lacks a system or a value; give both or leave the identifier out";
                return Err(self.organization.failure("Organization.identifier", problem));
            };
            identifiers.push(Identifier { system: system.clone(), value: value.clone() });
        }
        Ok(identifiers)
    }

    fn capabilities(&self) -> Result<Vec<Capability>, Failure> {
        const FIELD: &str = "HealthcareService.type";
        let mut capabilities = Vec::new();
        for service in &self.services {
            let types = &service.resource.r#type;
            let mut ours = codes(types, CAPABILITY_SYSTEM).peekable();
            if ours.peek().is_none() && !types.is_empty() {
                let problem = format!("has no coding of {CAPABILITY_SYSTEM}; add one");
                return Err(service.failure(FIELD, problem));
            }
            for code in ours {
                let capability: Capability = code.parse().map_err(|_| {
                    let names = exchange::capability_names();
                    service.failure(FIELD, format!("is not a capability; write one of {names}"))
                })?;
                if !capabilities.contains(&capability) {
                    capabilities.push(capability);
                }
            }
        }
        Ok(capabilities)
    }

    fn languages(&self) -> Vec<String> {
        let mut languages = Vec::<String>::new();
        for service in &self.services {
            for tag in codes(&service.resource.communication, LANGUAGE_SYSTEM) {
                if !languages.iter().any(|known| known.eq_ignore_ascii_case(tag)) {
                    languages.push(tag.to_owned());
                }
            }
        }
        languages
    }

    fn extension(&self, url: &str) -> Option<(&Found<HealthcareService>, &Extension)> {
        self.services.iter().find_map(|service| {
            let mut extensions = service.resource.extension.iter();
            extensions.find(|one| one.url.as_deref() == Some(url)).map(|one| (*service, one))
        })
    }

    fn capacity(&self, first_service: &Found<HealthcareService>) -> Result<f64, Failure> {
        let found = self.extension(CAPACITY_URL);
        let (service, value) = match found {
            Some((service, extension)) => (service, extension.value_decimal),
            None => (first_service, None),
        };
        value.ok_or_else(|| {
            let problem = format!("has no {CAPACITY_URL} with valueDecimal; add one, 0 to 1");
            service.failure("HealthcareService.extension", problem)
        })
    }

    fn beds_free(&self) -> Result<Option<u32>, Failure> {
        let Some((service, extension)) = self.extension(BEDS_FREE_URL) else {
            return Ok(None);
        };
        match extension.value_unsigned_int {
            Some(beds) => Ok(Some(beds)),
            None => {
                let problem = format!("{BEDS_FREE_URL} has no valueUnsignedInt; add it");
                Err(service.failure("HealthcareService.extension", problem))
            }
        }
    }

    fn blame(
        &self,
        FieldProblem { field, problem }: FieldProblem,
        location: &Found<Location>,
        service: &Found<HealthcareService>,
    ) -> Failure {
        let organization = self.organization;
        let of = |url| self.extension(url).map_or(service, |(service, _)| service);
        match field {
            Field::HospitalId => organization.failure("Organization.id", problem),
            Field::Name => organization.failure("Organization.name", problem),
            Field::City => organization.failure("Organization.address.city", problem),
            Field::Identifiers => organization.failure("Organization.identifier", problem),
            Field::LatitudeDegrees | Field::LongitudeDegrees => {
                location.failure("Location.position", problem)
            }
            Field::Capabilities => service.failure("HealthcareService.type", problem),
            Field::Languages => service.failure("HealthcareService.communication", problem),
            Field::AcceptsReferrals => service.failure("HealthcareService.active", problem),
            Field::Capacity => of(CAPACITY_URL).failure("HealthcareService.extension", problem),
            Field::BedsFree => of(BEDS_FREE_URL).failure("HealthcareService.extension", problem),
        }
    }
}

fn place(location: &Found<Location>) -> Result<Coordinates, Failure> {
    if let Some(status) = location.resource.status.as_deref()
        && !["active", "suspended"].contains(&status)
    {
        let problem = "is no status of a hospital; write active or suspended";
        return Err(location.failure("Location.status", problem));
    }
    let Some(Position { longitude, latitude }) = location.resource.position else {
        let problem = "is missing; give longitude and latitude in degrees, WGS 84";
        return Err(location.failure("Location.position", problem));
    };
    Coordinates::from_degrees(latitude, longitude).map_err(|_| {
        let problem = "is off the earth; write degrees: latitude -90 to 90, longitude -180 to 180";
        location.failure("Location.position", problem)
    })
}
