//! A bundle as patients, symptom reports and notes, and what became of each entry.
//!
//! | resource | becomes |
//! |---|---|
//! | Patient | a patient |
//! | Observation with own code `symptom-report` | a symptom report with the findings it names in `hasMember` |
//! | Observation with own code `note` | a note |
//! | Observation with a code of HPO or `NT:` | a finding |
//! | Condition with such a code | a finding, denied if `verificationStatus` is `refuted` |
//! | Observation or Condition of other code systems | passed over |
//! | Organization, Location, HealthcareService | left for the directory of hospitals |
//! | another | passed over |
//!
//! Findings that no report names become one report for each patient, time and reporter. An entry that is
//! wrong is refused with every problem found, and with it what depends on it.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use neurotriage_domain::Side;
use serde_json::Value;
use time::OffsetDateTime;

use crate::{
    Problem,
    bundle::{self, BundleError, BundleLimits, References},
    code::Reporter,
    finding::{self, FINDINGS_MAX, Finding, Kind, Read, SymptomReport},
    patient::{self, MedicalRecordNumber, Patient},
    reader::{Node, Reader},
    resource_type,
};

/// Why an entry is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It has no resource of FHIR R4.
    ResourceUnknown,
    /// It stands in the bundle twice, by its name or by its number.
    Repeated,
    /// Elements of it are wrong.
    ElementsWrong,
    /// It names an entry that is not there.
    ReferenceBroken,
    /// It contradicts another entry.
    Contradicted,
    /// It depends on an entry that was refused.
    DependsOnRefused,
}

impl Refusal {
    /// Returns the stable name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ResourceUnknown => "RESOURCE_UNKNOWN",
            Self::Repeated => "ENTRY_REPEATED",
            Self::ElementsWrong => "ELEMENTS_WRONG",
            Self::ReferenceBroken => "REFERENCE_BROKEN",
            Self::Contradicted => "CONTRADICTED",
            Self::DependsOnRefused => "DEPENDS_ON_REFUSED",
        }
    }
}

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It was read.
    Read,
    /// It is of no kind that is brought in, or says that it is of no use.
    PassedOver(&'static str),
    /// It is wrong.
    Refused(Refusal, Vec<Problem>),
}

/// An entry of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name of its resource; empty if that is none of R4.
    pub resource_type: &'static str,
    /// What became of it.
    pub state: State,
}

/// A patient of a bundle.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadPatient {
    /// Place of its entry.
    pub entry: usize,
    /// The entry's `fullUrl`.
    pub full_url: Option<String>,
    /// The patient.
    pub patient: Patient,
}

/// A symptom report of a bundle.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadReport {
    /// Places of the entries it is made of.
    pub entries: Vec<usize>,
    /// Place of the patient's entry.
    pub patient: usize,
    /// The report.
    pub report: SymptomReport,
}

/// A note of a bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadNote {
    /// Place of its entry.
    pub entry: usize,
    /// Place of the patient's entry.
    pub patient: usize,
    /// The note.
    pub text: String,
}

/// What a bundle holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Import {
    /// One for each entry, in order.
    pub entries: Vec<Entry>,
    /// The good patients, in order.
    pub patients: Vec<ReadPatient>,
    /// The good reports.
    pub reports: Vec<ReadReport>,
    /// The good notes.
    pub notes: Vec<ReadNote>,
    /// Entries for the directory of hospitals, with their places; their state is [`State::Read`].
    pub directory: Vec<(usize, Value)>,
}

const DERIVED: &str = "derived by software: no report of anybody";
const FOREIGN: &str = "its code is of no system that holds findings: HPO, or this project's own";
const NO_USE: &str = "its status says that it was entered in error or cancelled";
const OTHER: &str = "resources of this kind are not brought in";

/// Reads a bundle as of `now`, by which nothing may lie in the future.
///
/// # Errors
/// [`BundleError`] if the bundle as a whole cannot be used.
pub fn read(bytes: &[u8], now: OffsetDateTime) -> Result<Import, BundleError> {
    let bundle = bundle::read(bytes, BundleLimits::STORY)?;
    let mut importer =
        Importer { now, import: Import::default(), references: References::default() };
    for (place, entry) in bundle.entries.iter().enumerate() {
        let read = importer.enter(place, entry);
        importer.import.entries.push(read);
    }
    let mut parts = Parts::default();
    for (place, entry) in bundle.entries.iter().enumerate() {
        importer.read_entry(place, entry, &mut parts);
    }
    importer.assign(parts);
    let mut import = importer.import;
    for (place, entry) in bundle.entries.into_iter().enumerate() {
        let read = import.entries.get(place);
        if read.is_some_and(|read| is_of_directory(read.resource_type) && read.state == State::Read)
        {
            import.directory.push((place, entry));
        }
    }
    Ok(import)
}

fn is_of_directory(resource_type: &str) -> bool {
    matches!(resource_type, "Organization" | "Location" | "HealthcareService")
}

/// A finding and where it belongs.
struct Part {
    patient: usize,
    finding: Finding,
    reporter: Option<Reporter>,
    reported_at: Option<OffsetDateTime>,
    /// Place of the report that names it.
    claimed: Option<usize>,
}

/// A report, before its findings are put in.
struct Frame {
    entry: usize,
    patient: usize,
    report: SymptomReport,
    /// Each member's path, and the entry it leads to.
    members: Vec<(String, Option<usize>)>,
}

#[derive(Default)]
struct Parts {
    findings: HashMap<usize, Part>,
    /// Places of the findings, in order.
    order: Vec<usize>,
    frames: Vec<Frame>,
    numbers: HashSet<MedicalRecordNumber>,
}

struct Importer {
    now: OffsetDateTime,
    import: Import,
    references: References<usize>,
}

impl Importer {
    /// Notes what an entry is and under which names it is known.
    fn enter(&mut self, place: usize, entry: &Value) -> Entry {
        let node = Node::new(entry, format!("entry[{place}]"));
        let refused = |refusal, resource_type, path: String, text: String| Entry {
            resource_type,
            state: State::Refused(refusal, vec![Problem::new(path, text)]),
        };
        let resource = node.member("resource");
        let Some(resource) = resource.filter(|resource| resource.value.is_object()) else {
            let text = "must be a resource".to_owned();
            return refused(Refusal::ResourceUnknown, "", node.below("resource"), text);
        };
        let known = resource.peek("resourceType").and_then(resource_type::known);
        let Some(resource_type) = known else {
            let text = "is no resource of FHIR R4 (4.0.1); send one of that version".to_owned();
            return refused(Refusal::ResourceUnknown, "", resource.below("resourceType"), text);
        };
        let inserted =
            self.references.insert(place, node.peek("fullUrl"), resource_type, resource.peek("id"));
        match inserted {
            Ok(()) => Entry { resource_type, state: State::Read },
            Err(repeated) => {
                let path = node.below("fullUrl");
                refused(Refusal::Repeated, resource_type, path, repeated.to_string())
            }
        }
    }

    fn read_entry(&mut self, place: usize, entry: &Value, parts: &mut Parts) {
        let Some(Entry { resource_type, state: State::Read }) = self.import.entries.get(place)
        else {
            return;
        };
        let node = Node::new(entry, format!("entry[{place}]"));
        let full_url = node.peek("fullUrl");
        let Some(resource) = node.member("resource") else { return };
        let mut reader = Reader::default();
        match *resource_type {
            "Patient" => {
                let patient = patient::read(&mut reader, &resource, self.now);
                if self.refuse_wrong(place, reader) {
                    return;
                }
                if patient.numbers.iter().any(|number| parts.numbers.contains(number)) {
                    let text = "holds a medical record number of another patient of the bundle";
                    let problem = Problem::new(resource.below("identifier"), text);
                    return self.refuse(place, Refusal::Repeated, vec![problem]);
                }
                parts.numbers.extend(patient.numbers.iter().cloned());
                let full_url = full_url.map(str::to_owned);
                self.import.patients.push(ReadPatient { entry: place, full_url, patient });
            }
            kind @ ("Observation" | "Condition") => {
                self.read_told(place, kind == "Condition", &resource, full_url, parts);
            }
            other if is_of_directory(other) => {}
            _ => self.pass_over(place, OTHER),
        }
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
            Kind::Report | Kind::Note | Kind::Finding => {}
        }
        let mut reader = Reader::default();
        let read = if is_condition {
            finding::condition(&mut reader, resource, self.now)
        } else {
            finding::observation(&mut reader, resource, kind, self.now)
        };
        let Some(read) = read else { return self.pass_over(place, NO_USE) };
        let patient = self.subject(&mut reader, resource, full_url);
        let members: Vec<(String, Option<usize>)> = match &read {
            Read::Report(_, members) => {
                let find = |member: &Node<'_>| {
                    let reference = member.peek("reference");
                    let found = reference.and_then(|text| self.references.find(text, full_url));
                    (member.below("reference"), found)
                };
                members.iter().map(find).collect()
            }
            Read::Note(_) | Read::Finding(..) => Vec::new(),
        };
        if self.refuse_wrong(place, reader) {
            return;
        }
        let patient = match patient {
            Ok(patient) => patient,
            Err(problem) => {
                return self.refuse(place, Refusal::ReferenceBroken, vec![problem]);
            }
        };
        match read {
            Read::Report(report, _) => {
                parts.frames.push(Frame { entry: place, patient, report, members });
            }
            Read::Note(text) => {
                self.import.notes.push(ReadNote { entry: place, patient, text });
            }
            Read::Finding(finding, reporter, reported_at) => {
                let part = Part { patient, finding, reporter, reported_at, claimed: None };
                parts.findings.insert(place, part);
                parts.order.push(place);
            }
        }
    }

    /// Returns the place of the patient whom a resource is about.
    fn subject(
        &self,
        reader: &mut Reader,
        resource: &Node<'_>,
        full_url: Option<&str>,
    ) -> Result<usize, Problem> {
        let path = resource.below("subject");
        let text =
            "must name a Patient of the bundle, by the fullUrl of its entry or as Patient/id";
        let Some(subject) = reader.object(resource, "subject") else {
            return Err(Problem::new(path, text));
        };
        let reference = reader.code(&subject, "reference");
        let found = reference.and_then(|reference| self.references.find(reference, full_url));
        found
            .filter(|place| {
                let entry = self.import.entries.get(*place);
                entry.is_some_and(|entry| entry.resource_type == "Patient")
            })
            .ok_or_else(|| Problem::new(format!("{path}.reference"), text))
    }

    /// Puts findings into reports, refuses what depends on what was refused.
    fn assign(&mut self, mut parts: Parts) {
        self.drop_orphans(&mut parts);
        for frame in std::mem::take(&mut parts.frames) {
            self.assemble(frame, &mut parts.findings);
        }
        self.group(&parts);
        self.import.reports.sort_by_key(|report| report.entries.iter().min().copied());
    }

    /// Refuses what is about a patient who was refused.
    fn drop_orphans(&mut self, parts: &mut Parts) {
        let good: HashSet<usize> =
            self.import.patients.iter().map(|patient| patient.entry).collect();
        let mut orphans = Vec::new();
        parts.findings.retain(|place, part| {
            let keep = good.contains(&part.patient);
            if !keep {
                orphans.push((*place, part.patient));
            }
            keep
        });
        parts.frames.retain(|frame| {
            let keep = good.contains(&frame.patient);
            if !keep {
                orphans.push((frame.entry, frame.patient));
            }
            keep
        });
        self.import.notes.retain(|note| {
            let keep = good.contains(&note.patient);
            if !keep {
                orphans.push((note.entry, note.patient));
            }
            keep
        });
        parts.order.retain(|place| parts.findings.contains_key(place));
        for (place, patient) in orphans {
            self.refuse_dependent(place, "subject", patient);
        }
    }

    fn assemble(&mut self, frame: Frame, findings: &mut HashMap<usize, Part>) {
        let Frame { entry, patient, mut report, members } = frame;
        let mut entries = vec![entry];
        let mut problems = Vec::new();
        let mut refusal = Refusal::ReferenceBroken;
        let mut seen = HashMap::new();
        if members.len() > FINDINGS_MAX {
            let path = format!("entry[{entry}].resource.hasMember");
            problems.push(Problem::new(path, format!("give at most {FINDINGS_MAX}")));
            refusal = Refusal::ElementsWrong;
        }
        for (path, member) in members {
            let part =
                member.and_then(|member| findings.get_mut(&member).map(|part| (member, part)));
            let Some((member, part)) = part else {
                let text = "must name an Observation or Condition of the bundle that is a finding and \
                            was not refused";
                problems.push(Problem::new(path, text));
                continue;
            };
            if part.claimed.is_some() {
                problems.push(Problem::new(path, "names a finding that a report has already"));
                continue;
            }
            part.claimed = Some(entry);
            if part.patient != patient {
                problems.push(Problem::new(path, "names a finding of another patient"));
                continue;
            }
            if contradicts(&mut seen, &part.finding) {
                problems.push(Problem::new(path, CONTRADICTION));
                refusal = Refusal::Contradicted;
                continue;
            }
            entries.push(member);
            report.findings.push(part.finding.clone());
        }
        if problems.is_empty() {
            self.import.reports.push(ReadReport { entries, patient, report });
            return;
        }
        self.refuse(entry, refusal, problems);
        let claimed: Vec<usize> = findings
            .iter()
            .filter(|(_, part)| part.claimed == Some(entry))
            .map(|(place, _)| *place)
            .collect();
        for place in claimed {
            self.refuse_dependent(place, "", entry);
        }
    }

    /// Makes reports of the findings that no report names.
    fn group(&mut self, parts: &Parts) {
        type Key = (usize, Option<OffsetDateTime>, Option<Reporter>);
        /// Where the reports of one key stand, and what their findings say.
        #[derive(Default)]
        struct Group {
            report: Option<usize>,
            seen: HashMap<(String, Option<Side>), bool>,
        }
        let mut groups: HashMap<Key, Group> = HashMap::new();
        for place in &parts.order {
            let Some(part) = parts.findings.get(place) else { continue };
            if part.claimed.is_some() {
                continue;
            }
            let group = groups.entry((part.patient, part.reported_at, part.reporter)).or_default();
            if contradicts(&mut group.seen, &part.finding) {
                let problem = Problem::new(format!("entry[{place}].resource"), CONTRADICTION);
                self.refuse(*place, Refusal::Contradicted, vec![problem]);
                continue;
            }
            let open = group.report.and_then(|report| self.import.reports.get_mut(report));
            match open.filter(|open| open.report.findings.len() < FINDINGS_MAX) {
                Some(open) => {
                    open.entries.push(*place);
                    open.report.findings.push(part.finding.clone());
                }
                None => {
                    group.report = Some(self.import.reports.len());
                    self.import.reports.push(ReadReport {
                        entries: vec![*place],
                        patient: part.patient,
                        report: SymptomReport {
                            text: String::new(),
                            reporter: part.reporter,
                            reported_at: part.reported_at,
                            findings: vec![part.finding.clone()],
                        },
                    });
                }
            }
        }
    }

    fn set(&mut self, place: usize, state: State) {
        if let Some(entry) = self.import.entries.get_mut(place) {
            entry.state = state;
        }
    }

    fn pass_over(&mut self, place: usize, reason: &'static str) {
        self.set(place, State::PassedOver(reason));
    }

    fn refuse(&mut self, place: usize, refusal: Refusal, problems: Vec<Problem>) {
        self.set(place, State::Refused(refusal, problems));
    }

    fn refuse_dependent(&mut self, place: usize, element: &str, on: usize) {
        let dot = if element.is_empty() { "" } else { "." };
        let path = format!("entry[{place}].resource{dot}{element}");
        let problem = Problem::new(path, format!("depends on entry[{on}], which was refused"));
        self.refuse(place, Refusal::DependsOnRefused, vec![problem]);
    }

    /// Refuses the entry if anything was wrong with it.
    fn refuse_wrong(&mut self, place: usize, reader: Reader) -> bool {
        let is_wrong = !reader.problems.is_empty();
        if is_wrong {
            self.refuse(place, Refusal::ElementsWrong, reader.problems);
        }
        is_wrong
    }
}

const CONTRADICTION: &str = "says that a finding is there that another entry of the same report denies, or the other way round";

/// Returns whether the finding denies what is in `seen`, or the other way round; else adds it.
fn contradicts(seen: &mut HashMap<(String, Option<Side>), bool>, finding: &Finding) -> bool {
    let key = (finding.code.clone(), finding.side);
    *seen.entry(key).or_insert(finding.present) != finding.present
}
