//! Findings put into reports.

use std::collections::{HashMap, HashSet};

use neurotriage_domain::Side;
use time::OffsetDateTime;

use super::{
    ReadReport, Refusal, State,
    entries::{Frame, Importer, Part, Parts, depends_on},
};
use crate::{
    Problem,
    code::Reporter,
    finding::{FINDINGS_MAX, Finding, SymptomReport},
};

const NO_FINDING: &str =
    "names no Observation or Condition of the bundle that is a finding and was taken";
const EMPTY: &str = "has no text, and none of its findings was taken";

impl Importer {
    /// Puts findings into reports, refuses what depends on what was refused.
    pub(super) fn assign(&mut self, mut parts: Parts) {
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
        let mut depends = Vec::new();
        let mut seen = Seen::new();
        if members.len() > FINDINGS_MAX {
            let path = format!("entry[{entry}].resource.hasMember");
            problems.push(Problem::new(path, format!("give at most {FINDINGS_MAX}")));
            refusal = Refusal::ElementsWrong;
        }
        for (path, member) in members {
            let part =
                member.and_then(|member| findings.get_mut(&member).map(|part| (member, part)));
            let Some((place, part)) = part else {
                if let Some(on) = member.filter(|member| self.is_refused(*member)) {
                    // Once it is corrected, the same bundle brings in the whole report.
                    depends.push(Problem::new(path, depends_on(on)));
                    continue;
                }
                self.note(entry, vec![Problem::new(path, NO_FINDING)]);
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
            if !report.text.is_empty() && part.read_from.contains(&entry) {
                // Whoever keeps the text reads it again: nobody coded it.
                entries.push(place);
                continue;
            }
            if contradicts(&mut seen, &part.finding) {
                problems.push(Problem::new(path, CONTRADICTION));
                refusal = Refusal::Contradicted;
                continue;
            }
            entries.push(place);
            let (_, unkept) = add(&mut report.findings, &part.finding);
            self.note_unkept(place, &unkept);
        }
        if problems.is_empty() && !depends.is_empty() {
            refusal = Refusal::DependsOnRefused;
        }
        problems.append(&mut depends);
        if problems.is_empty() && report.text.is_empty() && report.findings.is_empty() {
            return self.pass_over(entry, EMPTY);
        }
        if problems.is_empty() {
            self.import.reports.push(ReadReport {
                entries,
                finding_of: Vec::new(),
                patient,
                report,
            });
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

    /// Makes reports of the findings that no report names. In which order the entries stand decides nothing.
    fn group(&mut self, parts: &Parts) {
        type Key = (usize, Option<OffsetDateTime>, Option<Reporter>);
        let mut groups: Vec<Vec<(usize, &Part)>> = Vec::new();
        let mut of_key: HashMap<Key, usize> = HashMap::new();
        for place in &parts.order {
            let part = parts.findings.get(place).filter(|part| part.claimed.is_none());
            let Some(part) = part else { continue };
            let key = (part.patient, part.reported_at, part.reporter);
            let at = *of_key.entry(key).or_insert(groups.len());
            match groups.get_mut(at) {
                Some(group) => group.push((*place, part)),
                None => groups.push(vec![(*place, part)]),
            }
        }
        for mut group in groups {
            group.sort_by(|(place, one), (other_place, other)| {
                let unnamed = one.name.is_empty().cmp(&other.name.is_empty());
                unnamed.then_with(|| one.name.cmp(&other.name)).then(place.cmp(other_place))
            });
            self.report_group(&group);
        }
    }

    /// Makes reports of the findings of one patient, time and reporter.
    fn report_group(&mut self, group: &[(usize, &Part)]) {
        let mut seen = Seen::new();
        let is_denied = |(_, part): &&(usize, &Part)| contradicts(&mut seen, &part.finding);
        let denied: HashSet<&str> =
            group.iter().filter(is_denied).map(|(_, part)| part.finding.code.as_str()).collect();
        let mut open: Option<usize> = None;
        for (place, part) in group {
            if denied.contains(part.finding.code.as_str()) {
                let problem = Problem::new(format!("entry[{place}].resource"), CONTRADICTION);
                self.refuse(*place, Refusal::Contradicted, vec![problem]);
                continue;
            }
            let report = open.and_then(|report| self.import.reports.get_mut(report));
            let Some(report) = report.filter(|open| open.report.findings.len() < FINDINGS_MAX)
            else {
                open = Some(self.import.reports.len());
                self.import.reports.push(ReadReport {
                    entries: vec![*place],
                    finding_of: vec![0],
                    patient: part.patient,
                    report: SymptomReport {
                        text: String::new(),
                        reporter: part.reporter,
                        reported_at: part.reported_at,
                        findings: vec![part.finding.clone()],
                    },
                });
                continue;
            };
            report.entries.push(*place);
            let (finding, unkept) = add(&mut report.report.findings, &part.finding);
            report.finding_of.push(finding);
            self.note_unkept(*place, &unkept);
        }
    }

    fn is_refused(&self, place: usize) -> bool {
        let entry = self.import.entries.get(place);
        entry.is_some_and(|entry| matches!(entry.state, State::Refused(..)))
    }

    /// Notes what an entry tells otherwise than the one that is kept.
    fn note_unkept(&mut self, place: usize, elements: &[&str]) {
        let path = format!("entry[{place}].resource");
        let note = |element: &&str| {
            let text = format!(
                "{element} is not that of another entry of the same finding, which is kept"
            );
            Problem::new(path.clone(), text)
        };
        let notes = elements.iter().map(note).collect();
        self.note(place, notes);
    }
}

const CONTRADICTION: &str = "says that a finding is there that another entry of the same report denies, or the other way round";

/// Adds the finding, or what it tells beside one that says the same: a record system may hold it as an Observation and as
/// a Condition. Returns its place, and what it tells otherwise.
fn add(findings: &mut Vec<Finding>, finding: &Finding) -> (usize, Vec<&'static str>) {
    let same = |known: &Finding| known.code == finding.code && known.side == finding.side;
    let place = findings.iter().position(same).unwrap_or(findings.len());
    let Some(known) = findings.get_mut(place) else {
        findings.push(finding.clone());
        return (place, Vec::new());
    };
    let differ = [
        ("onset", join(&mut known.onset, finding.onset)),
        ("course", join(&mut known.course, finding.course)),
        ("severity", join(&mut known.severity, finding.severity)),
    ];
    let differ = differ.into_iter().filter_map(|(name, differs)| differs.then_some(name));
    (place, differ.collect())
}

/// Sets what is not known yet; returns whether something else is.
fn join<T: Copy + PartialEq>(known: &mut Option<T>, told: Option<T>) -> bool {
    *known = known.or(told);
    told.is_some() && *known != told
}

/// What findings of a report say, by their codes: of which side, and whether it is there.
type Seen = HashMap<String, HashSet<(Option<Side>, bool)>>;

/// Returns whether the finding denies what is in `seen`, or the other way round; else adds it.
fn contradicts(seen: &mut Seen, finding: &Finding) -> bool {
    let known = seen.entry(finding.code.clone()).or_default();
    if known
        .iter()
        .any(|&(side, present)| present != finding.present && !Side::are_apart(side, finding.side))
    {
        return true;
    }
    known.insert((finding.side, finding.present));
    false
}
