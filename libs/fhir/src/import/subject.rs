//! Whom a resource is about, and what else its references lead to.

use std::collections::HashMap;

use serde_json::Value;
use time::Date;

use super::Import;
use crate::{
    Problem,
    bundle::{References, Repeated},
    code::Reporter,
    finding::LeftOut,
    patient::{self, MedicalRecordNumber, NUMBERS_MAX, NumberKey},
    reader::{Node, Reader},
    resource_type,
};

pub(super) const FOCUS: &str =
    "is about somebody or something else than the patient, as its focus says";
pub(super) const NO_PATIENT: &str = "is about somebody or something else than a patient";
pub(super) const FAMILY: &str = "rests on the history of the family: no finding of the patient";

/// What tells, without a resource of its own, that an Observation is about a part of the patient or somebody else.
const FOCUS_CODE: &str = "http://hl7.org/fhir/StructureDefinition/observation-focusCode";

/// Kinds that observations and conditions may be about, beside patients.
const OTHER_SUBJECTS: [&str; 6] =
    ["Device", "Group", "Location", "Organization", "Practitioner", "RelatedPerson"];

/// Contained resources that are looked at.
const CONTAINED_MAX: usize = 100;

/// Most identifiers of a contained Patient who is looked for in the bundle.
const IDENTIFIERS_MAX: usize = 32;

/// Elements whose references say what a resource rests on.
const SOURCES: [&str; 3] = ["derivedFrom", "partOf", "basedOn"];

/// Whom a resource is about.
pub(super) enum About {
    /// The place of a Patient.
    Patient(usize),
    /// Somebody or something else.
    Else(LeftOut),
    /// Nobody knows.
    Broken(Problem),
}

/// Under which names the entries of a bundle are known.
pub(super) struct Names {
    references: References<usize>,
    /// Patients by each medical record number; `None` if two have it.
    numbers: HashMap<NumberKey, Option<usize>>,
    /// By which numbers are in use.
    today: Date,
}

/// What a reference leads to.
enum Target {
    Entry(usize),
    /// A resource that is not in the bundle, or is contained.
    Kind(&'static str),
    Nothing,
}

impl Names {
    pub(super) fn new(today: Date) -> Self {
        Self { references: References::default(), numbers: HashMap::new(), today }
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// [`Repeated`] if an entry of that name is known already.
    pub(super) fn insert(
        &mut self,
        place: usize,
        full_url: Option<&str>,
        resource_type: &str,
        resource: &Node<'_>,
    ) -> Result<(), Repeated> {
        self.references.insert(place, full_url, resource_type, resource.peek("id"))?;
        if resource_type == "Patient" {
            let keys = patient::number_keys(resource, self.today).into_iter().flatten();
            for key in keys.take(NUMBERS_MAX) {
                let known = self.numbers.entry(key);
                known
                    .and_modify(|known| *known = known.filter(|known| *known == place))
                    .or_insert(Some(place));
            }
        }
        Ok(())
    }

    /// Returns the entry that a reference leads to.
    pub(super) fn entry(
        &self,
        reference: &Node<'_>,
        resource: &Node<'_>,
        full_url: Option<&str>,
    ) -> Option<usize> {
        match self.target(reference, resource, full_url) {
            Target::Entry(place) => Some(place),
            Target::Kind(_) | Target::Nothing => None,
        }
    }

    /// Returns whom a resource is about.
    pub(super) fn about(
        &self,
        import: &Import,
        reader: &mut Reader,
        resource: &Node<'_>,
        full_url: Option<&str>,
    ) -> About {
        let subject = self.subject(import, reader, resource, full_url);
        let About::Patient(patient) = subject else { return subject };
        let left_out = |path: String, reason: &'static str| About::Else(LeftOut { path, reason });
        for focus in reader.objects(resource, "focus") {
            if self.entry(&focus, resource, full_url) != Some(patient) {
                return left_out(focus.path, FOCUS);
            }
        }
        if resource.value.get("focus").is_some_and(|focus| !focus.is_array()) {
            return left_out(resource.below("focus"), FOCUS);
        }
        let focus_code = reader.optional(|reader| reader.extensions(resource, FOCUS_CODE));
        if let Some(extension) = focus_code.into_iter().next() {
            return left_out(extension.path, FOCUS);
        }
        for source in sources(reader, resource) {
            let kind = match self.target(&source, resource, full_url) {
                Target::Entry(place) => {
                    import.entries.get(place).map_or("", |entry| entry.resource_type)
                }
                Target::Kind(kind) => kind,
                Target::Nothing => "",
            };
            if kind == "FamilyMemberHistory" {
                return left_out(source.path, FAMILY);
            }
        }
        About::Patient(patient)
    }

    /// Returns who told something, by the first of `tellers` of whom that is known; `patient` is the subject.
    pub(super) fn reporter(
        &self,
        import: &Import,
        tellers: &[Node<'_>],
        patient: usize,
        resource: &Node<'_>,
        full_url: Option<&str>,
    ) -> Option<Reporter> {
        tellers.iter().find_map(|teller| {
            let kind = match self.target(teller, resource, full_url) {
                Target::Entry(place) if place == patient => return Some(Reporter::Patient),
                Target::Entry(place) => import.entries.get(place)?.resource_type,
                Target::Kind(kind) => kind,
                Target::Nothing => return None,
            };
            match Reporter::of_type(kind) {
                Some(Reporter::Patient) => Some(Reporter::Other),
                reporter => reporter,
            }
        })
    }

    fn subject(
        &self,
        import: &Import,
        reader: &mut Reader,
        resource: &Node<'_>,
        full_url: Option<&str>,
    ) -> About {
        let path = resource.below("subject");
        let text = "must name a Patient of the bundle, by the fullUrl of its entry, as Patient/id, or \
                    by one of its identifiers";
        let Some(subject) = reader.object(resource, "subject") else {
            return About::Broken(Problem::new(path, text));
        };
        let kind_of = |place: usize| import.entries.get(place).map(|entry| entry.resource_type);
        let kind = match self.target(&subject, resource, full_url) {
            Target::Entry(place) if kind_of(place) == Some("Patient") => {
                let named = self.by_identifier(&subject);
                if named.is_some_and(|named| named != place) {
                    let text = "reference and identifier name two patients; correct one of them";
                    return About::Broken(Problem::new(path, text));
                }
                return About::Patient(place);
            }
            Target::Entry(place) => kind_of(place).unwrap_or_default(),
            Target::Kind(kind) => kind,
            Target::Nothing => "",
        };
        if OTHER_SUBJECTS.contains(&kind) {
            return About::Else(LeftOut { path, reason: NO_PATIENT });
        }
        let member = if subject.peek("reference").is_some() { "reference" } else { "identifier" };
        About::Broken(Problem::new(format!("{path}.{member}"), text))
    }

    fn target(&self, reference: &Node<'_>, resource: &Node<'_>, full_url: Option<&str>) -> Target {
        let text = reference.peek("reference");
        let mut kind = reference.peek("type").and_then(resource_type::known);
        if let Some(id) = text.and_then(|text| text.strip_prefix('#')) {
            let contained = contained(resource, id);
            let of_contained = contained.as_ref().and_then(|one| one.peek("resourceType"));
            kind = of_contained.and_then(resource_type::known).or(kind);
            if let Some(contained) = contained
                && kind == Some("Patient")
                && let Some(place) = self.by_numbers(&contained)
            {
                return Target::Entry(place);
            }
        } else if let Some(text) = text {
            if let Some(place) = self.references.find(text, full_url) {
                return Target::Entry(place);
            }
            if let Some(place) = self.by_search(text) {
                return Target::Entry(place);
            }
            kind = kind.or_else(|| kind_of_url(text));
        }
        if kind.is_none_or(|kind| kind == "Patient")
            && let Some(place) = self.by_identifier(reference)
        {
            return Target::Entry(place);
        }
        kind.map_or(Target::Nothing, Target::Kind)
    }

    /// By a logical reference.
    fn by_identifier(&self, reference: &Node<'_>) -> Option<usize> {
        let key = patient::number_key(&reference.member("identifier")?)?;
        self.numbers.get(&key).copied().flatten()
    }

    /// By all medical record numbers of a contained Patient, each of which must be of one patient of the bundle.
    fn by_numbers(&self, contained: &Node<'_>) -> Option<usize> {
        let told = contained.value.get("identifier")?.as_array()?;
        if told.len() > IDENTIFIERS_MAX {
            return None;
        }
        let place = |key: Option<NumberKey>| self.numbers.get(&key?).copied().flatten();
        let mut places = patient::number_keys(contained, self.today).into_iter().map(place);
        let first = places.next()??;
        places.all(|place| place == Some(first)).then_some(first)
    }

    /// By a conditional reference of a transaction: `Patient?identifier=system|value`.
    fn by_search(&self, text: &str) -> Option<usize> {
        let query =
            text.strip_prefix("Patient?identifier=")?.replace("%7C", "|").replace("%7c", "|");
        let (system, value) = query.split_once('|')?;
        let number = MedicalRecordNumber { issuer: system.to_owned(), number: value.to_owned() };
        self.numbers.get(&number.key()).copied().flatten()
    }
}

/// Returns the kind that a reference such as `Group/1`, `https://a/Group/1` or `Group?identifier=a|1` names.
fn kind_of_url(reference: &str) -> Option<&'static str> {
    if let Some((path, _query)) = reference.split_once('?') {
        return resource_type::known(path.rsplit('/').next()?);
    }
    let name = reference.split_once("/_history/").map_or(reference, |(name, _)| name);
    resource_type::known(name.rsplit('/').nth(1)?)
}

fn contained<'a>(resource: &Node<'a>, id: &str) -> Option<Node<'a>> {
    let all = resource.value.get("contained")?.as_array()?;
    let is_it = |one: &&Value| one.get("id").and_then(Value::as_str) == Some(id);
    let found = all.iter().take(CONTAINED_MAX).find(is_it)?;
    Some(Node::new(found, resource.below("contained")))
}

/// Returns the references that say what a resource rests on.
fn sources<'a>(reader: &mut Reader, resource: &Node<'a>) -> Vec<Node<'a>> {
    let mut sources = Vec::new();
    for name in SOURCES {
        sources.extend(reader.optional(|reader| reader.objects(resource, name)));
    }
    for evidence in reader.optional(|reader| reader.objects(resource, "evidence")) {
        sources.extend(reader.optional(|reader| reader.objects(&evidence, "detail")));
    }
    sources
}
