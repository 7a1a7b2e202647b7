//! Entries read one by one.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use time::OffsetDateTime;

use super::{
    Entry, Import, ReadNote, ReadPatient, Refusal, State, is_of_directory,
    subject::{About, Names},
};
use crate::{
    Problem,
    bundle::BundleKind,
    code::Reporter,
    finding::{self, Finding, Kind, LeftOut, Read, SymptomReport},
    patient::{self, NumberKey},
    reader::{Node, Reader},
    resource_type,
};

pub(super) const DERIVED: &str = "derived by software: no report of anybody";
pub(super) const FOREIGN: &str = "its code is none that stands for a finding here, by HPO, this project's own, SNOMED CT or ICD-10";
pub(super) const UNCODED: &str = "has no coding: no finding is read from words";
pub(super) const OTHER: &str = "resources of this kind are not brought in";
pub(super) const RELATIVES: &str = "tells of relatives: no finding of the patient";
pub(super) const COMPOSITION: &str = "the frame of the document; what it names is read by itself";
pub(super) const SEARCH_OUTCOME: &str = "tells how the search went, no record";
pub(super) const REQUEST: &str = "its request sends no resource as a whole: only POST and PUT do";

/// A finding and where it belongs.
pub(super) struct Part {
    /// The entry's `fullUrl`, else the resource's id; may be empty.
    pub(super) name: String,
    pub(super) patient: usize,
    pub(super) finding: Finding,
    pub(super) reporter: Option<Reporter>,
    pub(super) reported_at: Option<OffsetDateTime>,
    /// Places of what software read it from, which nobody has confirmed.
    pub(super) read_from: Vec<usize>,
    /// Place of the report that names it.
    pub(super) claimed: Option<usize>,
}

/// A report, before its findings are put in.
pub(super) struct Frame {
    pub(super) entry: usize,
    pub(super) patient: usize,
    pub(super) report: SymptomReport,
    /// Each member's path, and the entry it leads to.
    pub(super) members: Vec<(String, Option<usize>)>,
}

#[derive(Default)]
pub(super) struct Parts {
    pub(super) findings: HashMap<usize, Part>,
    /// Places of the findings, in order.
    pub(super) order: Vec<usize>,
    pub(super) frames: Vec<Frame>,
    numbers: HashSet<NumberKey>,
}

/// Reads the entries of one bundle.
pub(super) struct Importer {
    kind: BundleKind,
    now: OffsetDateTime,
    pub(super) import: Import,
    pub(super) names: Names,
}

impl Importer {
    pub(super) fn new(kind: BundleKind, now: OffsetDateTime) -> Self {
        Self { kind, now, import: Import::default(), names: Names::new(now.date()) }
    }

    /// Returns what the entries become.
    pub(super) fn read(mut self, entries: &[Value]) -> Import {
        for (place, entry) in entries.iter().enumerate() {
            let read = self.enter(place, entry);
            self.import.entries.push(read);
        }
        let mut parts = Parts::default();
        for (place, entry) in entries.iter().enumerate() {
            self.read_entry(place, entry, &mut parts);
        }
        self.assign(parts);
        self.import
    }

    /// Notes what an entry is and under which names it is known.
    fn enter(&mut self, place: usize, entry: &Value) -> Entry {
        let node = Node::new(entry, format!("entry[{place}]"));
        let resource = node.member("resource").filter(|resource| resource.value.is_object());
        let known = resource.as_ref().and_then(|resource| resource.peek("resourceType"));
        let resource_type = known.and_then(resource_type::known).unwrap_or_default();
        let entry = |state, notes| Entry { resource_type, state, notes };
        let refused = |refusal, path: String, text: String| {
            entry(State::Refused(refusal, vec![Problem::new(path, text)]), Vec::new())
        };
        match self.purpose(&node) {
            Purpose::Content => {}
            Purpose::LeftOut(LeftOut { path, reason }) => {
                return entry(State::PassedOver(reason), vec![Problem::new(path, reason)]);
            }
            Purpose::Wrong(path, text) => {
                return refused(Refusal::ElementsWrong, path, text.to_owned());
            }
        }
        let Some(resource) = resource else {
            let text = "must be a resource".to_owned();
            return refused(Refusal::ResourceUnknown, node.below("resource"), text);
        };
        if resource_type.is_empty() {
            let text = "is no resource of FHIR R4 (4.0.1); send one of that version".to_owned();
            return refused(Refusal::ResourceUnknown, resource.below("resourceType"), text);
        }
        match self.names.insert(place, node.peek("fullUrl"), resource_type, &resource) {
            Ok(()) => entry(State::Read, Vec::new()),
            Err(repeated) => {
                refused(Refusal::Repeated, node.below("fullUrl"), repeated.to_string())
            }
        }
    }

    /// Returns what an entry stands in its bundle for.
    fn purpose(&self, entry: &Node<'_>) -> Purpose {
        if entry.value.get("modifierExtension").is_some() {
            let text =
                "changes the meaning of the entry in a way that is not known here; leave it out";
            return Purpose::Wrong(entry.below("modifierExtension"), text);
        }
        if self.kind == BundleKind::Searchset {
            let mode = entry.member("search").and_then(|search| search.peek("mode"));
            return match mode {
                Some("match" | "include") | None => Purpose::Content,
                Some("outcome") => Purpose::left_out(entry, "search.mode", SEARCH_OUTCOME),
                Some(_) => Purpose::Wrong(
                    entry.below("search.mode"),
                    "must be one of match, include, outcome",
                ),
            };
        }
        if self.kind.holds_requests() {
            let method = entry.member("request").and_then(|request| request.peek("method"));
            return match method {
                Some("POST" | "PUT") => Purpose::Content,
                Some("GET" | "HEAD" | "DELETE" | "PATCH") => {
                    Purpose::left_out(entry, "request.method", REQUEST)
                }
                Some(_) | None => {
                    Purpose::Wrong(entry.below("request.method"), "must be one of FHIR's http-verb")
                }
            };
        }
        Purpose::Content
    }

    fn read_entry(&mut self, place: usize, entry: &Value, parts: &mut Parts) {
        let Some(Entry { resource_type, state: State::Read, .. }) = self.import.entries.get(place)
        else {
            return;
        };
        let resource_type = *resource_type;
        let node = Node::new(entry, format!("entry[{place}]"));
        let full_url = node.peek("fullUrl");
        let Some(resource) = node.member("resource") else { return };
        match resource_type {
            "Patient" => self.read_patient(place, &resource, full_url, parts),
            "Observation" | "Condition" => {
                let is_condition = resource_type == "Condition";
                self.read_told(place, is_condition, &resource, full_url, parts);
            }
            "FamilyMemberHistory" => self.pass_over(place, RELATIVES),
            "Composition" if self.kind == BundleKind::Document => {
                self.pass_over(place, COMPOSITION);
            }
            other if is_of_directory(other) => {
                let mut reader = Reader::default();
                reader.check_modifiers(&resource);
                self.refuse_wrong(place, reader);
            }
            _ => self.pass_over(place, OTHER),
        }
    }

    fn read_patient(
        &mut self,
        place: usize,
        resource: &Node<'_>,
        full_url: Option<&str>,
        parts: &mut Parts,
    ) {
        let mut reader = Reader::default();
        let (patient, hints) = patient::read(&mut reader, resource, self.now);
        if self.refuse_wrong(place, reader) {
            return;
        }
        let keys: Vec<NumberKey> = patient.numbers.iter().map(|number| number.key()).collect();
        if keys.iter().any(|key| parts.numbers.contains(key)) {
            let text = "holds a medical record number of another patient of the bundle";
            let problem = Problem::new(resource.below("identifier"), text);
            return self.refuse(place, Refusal::Repeated, vec![problem]);
        }
        parts.numbers.extend(keys);
        let full_url = full_url.map(str::to_owned);
        self.import.patients.push(ReadPatient { entry: place, full_url, patient, hints });
    }

    fn read_told(
        &mut self,
        place: usize,
        is_condition: bool,
        resource: &Node<'_>,
        full_url: Option<&str>,
        parts: &mut Parts,
    ) {
        let kind = finding::kind(resource);
        match kind {
            Kind::Derived => return self.pass_over(place, DERIVED),
            Kind::Foreign => return self.pass_over(place, FOREIGN),
            Kind::Uncoded => {
                return self.leave_out(place, LeftOut::new(resource, "code", UNCODED));
            }
            Kind::Report | Kind::Note | Kind::Finding => {}
        }
        let mut reader = Reader::default();
        let read = if is_condition {
            finding::condition(&mut reader, resource, self.now)
        } else {
            finding::observation(&mut reader, resource, kind, self.now)
        };
        let about = self.names.about(&self.import, &mut reader, resource, full_url);
        let tellers = finding::tellers(&mut reader, resource, is_condition);
        let sources = finding::unconfirmed_sources(&mut reader, resource);
        let read_from = sources
            .iter()
            .filter_map(|source| self.names.entry(source, resource, full_url))
            .collect();
        let (read, patient) = match (read, about) {
            (Err(left_out), _) | (_, About::Else(left_out)) => {
                return self.leave_out(place, left_out);
            }
            (Ok(_), About::Broken(problem)) => {
                if !self.refuse_wrong(place, reader) {
                    self.refuse(place, Refusal::ReferenceBroken, vec![problem]);
                }
                return;
            }
            (Ok(read), About::Patient(patient)) => (read, patient),
        };
        if self.refuse_wrong(place, reader) {
            return;
        }
        let reporter = self.names.reporter(&self.import, &tellers, patient, resource, full_url);
        match read {
            Read::Report(mut report, members) => {
                report.reporter = reporter;
                let find = |member: &Node<'_>| {
                    let found = self.names.entry(member, resource, full_url);
                    (member.below("reference"), found)
                };
                let members = members.iter().map(find).collect();
                parts.frames.push(Frame { entry: place, patient, report, members });
            }
            Read::Note(text) => {
                self.import.notes.push(ReadNote { entry: place, patient, text });
            }
            Read::Finding(finding, reported_at) => {
                let own = resource.peek("id").unwrap_or_default();
                let name = full_url.unwrap_or(own).to_owned();
                let part = Part {
                    name,
                    patient,
                    finding,
                    reporter,
                    reported_at,
                    read_from,
                    claimed: None,
                };
                parts.findings.insert(place, part);
                parts.order.push(place);
            }
        }
    }

    fn leave_out(&mut self, place: usize, LeftOut { path, reason }: LeftOut) {
        self.note(place, vec![Problem::new(path, reason)]);
        self.pass_over(place, reason);
    }

    pub(super) fn set(&mut self, place: usize, state: State) {
        if let Some(entry) = self.import.entries.get_mut(place) {
            entry.state = state;
        }
    }

    /// Adds what of an entry is left out.
    pub(super) fn note(&mut self, place: usize, notes: Vec<Problem>) {
        if let Some(entry) = self.import.entries.get_mut(place) {
            entry.notes.extend(notes);
        }
    }

    pub(super) fn pass_over(&mut self, place: usize, reason: &'static str) {
        self.set(place, State::PassedOver(reason));
    }

    pub(super) fn refuse(&mut self, place: usize, refusal: Refusal, problems: Vec<Problem>) {
        self.set(place, State::Refused(refusal, problems));
    }

    pub(super) fn refuse_dependent(&mut self, place: usize, element: &str, on: usize) {
        let dot = if element.is_empty() { "" } else { "." };
        let path = format!("entry[{place}].resource{dot}{element}");
        let problem = Problem::new(path, depends_on(on));
        self.refuse(place, Refusal::DependsOnRefused, vec![problem]);
    }

    /// Refuses the entry if anything was wrong with it.
    pub(super) fn refuse_wrong(&mut self, place: usize, reader: Reader) -> bool {
        self.note(place, reader.notes);
        let is_wrong = !reader.problems.is_empty();
        if is_wrong {
            self.refuse(place, Refusal::ElementsWrong, reader.problems);
        }
        is_wrong
    }
}

pub(super) fn depends_on(place: usize) -> String {
    format!("depends on entry[{place}], which was refused")
}

/// What an entry stands in its bundle for.
enum Purpose {
    /// To be read.
    Content,
    /// Something else.
    LeftOut(LeftOut),
    /// Nobody can tell: the path, and what would be right.
    Wrong(String, &'static str),
}

impl Purpose {
    fn left_out(entry: &Node<'_>, name: &str, reason: &'static str) -> Self {
        Self::LeftOut(LeftOut { path: entry.below(name), reason })
    }
}
