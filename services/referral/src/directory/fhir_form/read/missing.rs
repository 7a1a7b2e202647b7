//! Entries that were refused: a hospital that one of them belongs to is not written without it.

use std::collections::HashSet;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{Belongings, Found, Kind, Lead, Reader, Target, full_url_of, id_of, resource_of};

/// An entry that was refused, and whose it is.
pub(super) struct Missing {
    index: usize,
    kind: Kind,
    full_url: Option<String>,
    id: Option<String>,
    /// The reference to its organization; of an organization none.
    owner: Option<String>,
}

impl Missing {
    pub(super) fn read(index: usize, kind: Kind, entry: &Value) -> Self {
        let owner = match kind {
            Kind::Organization => None,
            Kind::Location => Some("managingOrganization"),
            Kind::HealthcareService => Some("providedBy"),
        };
        let owner = owner.and_then(|name| resource_of(entry).get(name)?.get("reference")?.as_str());
        Self {
            index,
            kind,
            full_url: full_url_of(entry).map(str::to_owned),
            id: id_of(entry).map(str::to_owned),
            owner: owner.map(str::to_owned),
        }
    }
}

impl Reader {
    /// Notes an entry that somebody refused; one that says the same as another of its name is not missed.
    pub(super) fn note_refused(&mut self, index: usize, entry: &Value) {
        let resource_type = resource_of(entry).get("resourceType").and_then(Value::as_str);
        let Some(kind) = resource_type.and_then(Kind::of) else { return };
        if !self.is_copy(kind, entry) {
            self.missing.push(Missing::read(index, kind, entry));
        }
    }

    fn is_copy(&self, kind: Kind, entry: &Value) -> bool {
        let resource = resource_of(entry);
        let is_modified = entry.get("modifierExtension").is_some()
            || ["modifierExtension", "implicitRules"]
                .iter()
                .any(|name| resource.get(name).is_some());
        if is_modified {
            return false;
        }
        let Some(Target::Read(of, place)) = self.known(kind, full_url_of(entry), id_of(entry))
        else {
            return false;
        };
        of == kind
            && match kind {
                Kind::Organization => says(&self.organizations, place, resource),
                Kind::Location => says(&self.locations, place, resource),
                Kind::HealthcareService => says(&self.services, place, resource),
            }
    }

    /// Returns what has the name of an entry already.
    fn known(&self, kind: Kind, full_url: Option<&str>, id: Option<&str>) -> Option<Target> {
        match (full_url, id) {
            (Some(full_url), _) => self.references.find(full_url, None),
            (None, Some(id)) => self.references.find(&format!("{}/{id}", kind.as_str()), None),
            (None, None) => None,
        }
    }

    /// Enters the names of what is missing, so that who refers to it is told why.
    pub(super) fn name_missing(&mut self, belongings: &mut [Belongings]) {
        let all = std::mem::take(&mut self.missing);
        for Missing { index, kind, full_url, id, owner: _ } in &all {
            let (full_url, id) = (full_url.as_deref(), id.as_deref());
            let target = Target::Refused(*kind, *index);
            let entered = self.references.insert(target, full_url, kind.as_str(), id);
            // Another tells of the same organization, and they do not agree.
            if entered.is_err()
                && let Some(Target::Read(Kind::Organization, place)) =
                    self.known(*kind, full_url, id)
                && let Some(organization) = belongings.get_mut(place)
            {
                organization.refused.get_or_insert(*index);
            }
        }
        self.missing = all;
    }

    /// Notes with each organization what of it is missing. `named` are Locations that a service names.
    pub(super) fn assign_missing(&mut self, belongings: &mut [Belongings], named: &HashSet<usize>) {
        for missing in std::mem::take(&mut self.missing) {
            let lead = match (missing.kind, &missing.owner) {
                (Kind::Organization, _) => continue,
                (Kind::Location, None) if named.contains(&missing.index) => continue,
                (Kind::Location | Kind::HealthcareService, owner) => {
                    let full_url = missing.full_url.as_deref();
                    self.lead(Kind::Organization, owner.as_deref(), full_url)
                }
            };
            match lead {
                Lead::To(owner) => {
                    if let Some(owner) = belongings.get_mut(owner) {
                        owner.refused.get_or_insert(missing.index);
                    }
                }
                Lead::Unclear => {
                    self.unclear.get_or_insert(missing.index);
                }
                Lead::Refused(_) | Lead::Elsewhere => {}
            }
        }
    }
}

/// Returns whether the resource at that place is read as `resource` is.
fn says<T: PartialEq + DeserializeOwned>(
    list: &[Found<T>],
    place: usize,
    resource: &Value,
) -> bool {
    let Some(known) = list.get(place) else { return false };
    T::deserialize(resource).is_ok_and(|one| one == known.resource)
}
