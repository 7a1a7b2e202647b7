//! Symptoms as written, and what was understood of them.

use std::{collections::HashSet, fmt};

use neurotriage_domain::{FieldViolation, Side};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use crate::{
    coding::{CODED_CHARS_MAX, Coded, Finding, Writer},
    entry::{Content, EntryKind, has_odd_control},
    error::violation,
    lexicon::Lexicon,
    search::SearchKey,
};

/// Most findings that a caller codes.
pub const FINDINGS_MAX: usize = 100;
/// Longest name of a finding that the lexicon lacks, in characters.
const DISPLAY_NAME_CHARS_MAX: usize = 128;
/// Longest local code behind `NT:`.
const LOCAL_CODE_CHARS_MAX: usize = 64;
/// What the code of a finding looks like.
pub(crate) const CODE: &str =
    "an HPO code such as `HP:0001269`, or a local one that begins with `NT:`";
/// How far the caller's clock may be ahead.
const CLOCK_AHEAD_MAX: Duration = Duration::minutes(5);
/// Longest time between what is reported and its report to this service.
const REPORTED_AGO_MAX: Duration = Duration::days(366 * 120);

/// Who reported symptoms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reporter {
    /// Not said.
    #[default]
    Unspecified,
    /// The patient.
    Patient,
    /// A relative or carer.
    Relative,
    /// A clinician.
    Clinician,
    /// Another.
    Other,
}

/// What a caller reports: the fields that could be read, and what is wrong with those that could
/// not.
#[derive(Clone, Default)]
pub struct SymptomsDraft {
    /// As written.
    pub text: String,
    /// Who reported it.
    pub reporter: Reporter,
    /// Findings that the caller coded.
    pub findings: Vec<Finding>,
    /// When it was reported.
    pub reported_at: Option<OffsetDateTime>,
    /// What could not be read.
    pub unreadable: Vec<FieldViolation>,
}

/// Symptoms to store.
///
/// Invariant: at most 20,000 characters, no control characters but line breaks and tabs; a text
/// that is not blank, or findings; each finding at most once on a side, with a code.
#[derive(Clone, PartialEq, Serialize)]
pub struct ReportedSymptoms {
    /// As written.
    text: String,
    /// Who reported it.
    reporter: Reporter,
    /// Findings that the caller coded.
    findings: Vec<Finding>,
    /// When it was reported.
    #[serde(with = "time::serde::rfc3339::option")]
    reported_at: Option<OffsetDateTime>,
}

/// One report of symptoms.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Symptoms {
    /// The symptoms as written.
    pub text: String,
    /// Who reported them.
    pub reporter: Reporter,
    /// When they were reported, UTC.
    #[serde(with = "time::serde::rfc3339")]
    pub reported_at: OffsetDateTime,
    /// Findings that the caller coded, then what was understood of the text, in its order.
    pub findings: Vec<Finding>,
    /// Pieces that were not understood, in the order of the text.
    pub not_understood: Vec<String>,
    /// Version of the lexicon that coded the text.
    pub lexicon_version: String,
}

impl ReportedSymptoms {
    /// Returns the symptoms if every field is right. Findings get id and name from `lexicon`, if it
    /// knows their code.
    ///
    /// # Errors
    /// Every wrong field with what would be right.
    pub fn check(
        draft: SymptomsDraft,
        lexicon: &Lexicon,
        now: OffsetDateTime,
    ) -> Result<Self, Vec<FieldViolation>> {
        let SymptomsDraft { text, reporter, mut findings, reported_at, unreadable } = draft;
        let readable = readable(findings.len(), &unreadable);
        let mut wrong = unreadable;
        let blank = text.trim().is_empty() && findings.is_empty();
        if blank || text.chars().count() > CODED_CHARS_MAX || has_odd_control(&text) {
            let right = format!(
                "1 to {CODED_CHARS_MAX} characters that are not all blank, with no control characters but line breaks \
                 and tabs; empty only if there are findings"
            );
            wrong.push(violation("text", right));
        }
        if findings.len() > FINDINGS_MAX {
            wrong.push(violation("findings", format!("at most {FINDINGS_MAX}")));
            findings.clear();
        }
        for (at, finding) in findings.iter_mut().enumerate() {
            check_finding(at, finding, lexicon, &mut wrong);
        }
        contradictions(&findings, &readable, &mut wrong);
        let possible = now - REPORTED_AGO_MAX..=now + CLOCK_AHEAD_MAX;
        if reported_at.is_some_and(|at| !possible.contains(&at)) {
            wrong.push(violation("reported_at", "a time that is not in the future, or absent"));
        }
        if wrong.is_empty() {
            Ok(Self { text, reporter, findings, reported_at })
        } else {
            Err(wrong)
        }
    }

    /// Returns the text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Returns whom a relative in the text may mean.
    pub fn writer(&self) -> Writer {
        match self.reporter {
            Reporter::Relative => Writer::Relative,
            Reporter::Unspecified | Reporter::Patient | Reporter::Clinician | Reporter::Other => {
                Writer::Other
            }
        }
    }

    /// Returns the report, with what was understood of the text. What the caller coded wins.
    pub fn coded(self, coded: Coded, lexicon_version: String, now: OffsetDateTime) -> Symptoms {
        let Self { text, reporter, mut findings, reported_at } = self;
        let said = |read: &Finding| {
            findings.iter().any(|finding| {
                finding.code == read.code && (finding.side == read.side || read.side.is_none())
                    || contradict(finding, read)
            })
        };
        let read: Vec<Finding> = coded.findings.into_iter().filter(|read| !said(read)).collect();
        findings.extend(read);
        Symptoms {
            text,
            reporter,
            reported_at: reported_at.unwrap_or(now),
            findings,
            not_understood: coded.not_understood,
            lexicon_version,
        }
    }
}

fn check_finding(
    at: usize,
    finding: &mut Finding,
    lexicon: &Lexicon,
    wrong: &mut Vec<FieldViolation>,
) {
    let known = lexicon.entries().iter().find(|entry| {
        let same_id = finding.finding_id.is_empty() || entry.finding_id == finding.finding_id;
        let same_code = finding.code.is_empty() || entry.code == finding.code;
        same_id && same_code && !(finding.finding_id.is_empty() && finding.code.is_empty())
    });
    if let Some(entry) = known {
        finding.finding_id.clone_from(&entry.finding_id);
        finding.code.clone_from(&entry.code);
        finding.display_name.clone_from(&entry.display_name);
    } else if !finding.finding_id.is_empty() {
        let right = "a finding of the lexicon that has the code, or empty";
        wrong.push(violation(&format!("findings[{at}].finding_id"), right));
    } else {
        if !is_code(&finding.code) {
            wrong.push(violation(&format!("findings[{at}].code"), CODE));
        }
        finding.display_name = finding.display_name.trim().to_owned();
        let chars = finding.display_name.chars().count();
        if !(1..=DISPLAY_NAME_CHARS_MAX).contains(&chars)
            || finding.display_name.contains(char::is_control)
        {
            let right = format!("1 to {DISPLAY_NAME_CHARS_MAX} characters on one line");
            wrong.push(violation(&format!("findings[{at}].display_name"), right));
        }
    }
    let described =
        finding.onset.is_some() || finding.course.is_some() || finding.severity.is_some();
    if !finding.present && described {
        let right = "no onset, course or severity where the finding is denied";
        wrong.push(violation(&format!("findings[{at}].present"), right));
    }
}

/// Returns whether `code` has the shape of a finding's code.
pub(crate) fn is_code(code: &str) -> bool {
    if let Some(number) = code.strip_prefix("HP:") {
        return number.len() == 7 && number.bytes().all(|byte| byte.is_ascii_digit());
    }
    code.strip_prefix("NT:").is_some_and(|local| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        (1..=LOCAL_CODE_CHARS_MAX).contains(&local.len()) && local.bytes().all(allowed)
    })
}

/// Says of each finding whether its side and presence could be read, so that it can be held against others.
fn readable(count: usize, unreadable: &[FieldViolation]) -> Vec<bool> {
    let fields: HashSet<&str> = unreadable.iter().map(|wrong| wrong.field.as_str()).collect();
    let is_read = |at: usize| {
        ["side", "present"].iter().all(|name| !fields.contains(&*format!("findings[{at}].{name}")))
    };
    (0..count).map(is_read).collect()
}

/// Names findings that stand there before, and those that contradict one before them.
fn contradictions(findings: &[Finding], readable: &[bool], wrong: &mut Vec<FieldViolation>) {
    let findings: Vec<(usize, &Finding)> = findings
        .iter()
        .enumerate()
        .zip(readable)
        .filter_map(|(found, is_read)| is_read.then_some(found))
        .filter(|(_, finding)| !finding.code.is_empty())
        .collect();
    for (place, &(at, finding)) in findings.iter().enumerate() {
        let before = || findings[..place].iter().map(|(_, before)| *before);
        let same = |before: &Finding| (&before.code, before.side) == (&finding.code, finding.side);
        if before().any(|before| contradict(before, finding)) {
            let right = "not both present and denied, unless on the left and on the right; no side is every side";
            wrong.push(violation(&format!("findings[{at}].present"), right));
        } else if before().any(same) {
            let right = "a code that stands here once for each side";
            wrong.push(violation(&format!("findings[{at}].code"), right));
        }
    }
}

/// Whether one says what the other denies.
fn contradict(one: &Finding, other: &Finding) -> bool {
    let apart = Side::are_apart(one.side, other.side);
    one.code == other.code && one.present != other.present && !apart
}

impl Content for Symptoms {
    const KIND: EntryKind = EntryKind::SymptomReport;

    fn search_keys(&self) -> Vec<SearchKey> {
        let mut codes: Vec<&str> = self
            .findings
            .iter()
            .filter(|finding| finding.present)
            .map(|finding| finding.code.as_str())
            .collect();
        codes.sort_unstable();
        codes.dedup();
        codes.into_iter().map(|code| SearchKey::Finding(code.to_owned())).collect()
    }
}

// What a patient wrote stays out of logs.
impl fmt::Debug for SymptomsDraft {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SymptomsDraft").finish_non_exhaustive()
    }
}

impl fmt::Debug for ReportedSymptoms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReportedSymptoms({} bytes)", self.text.len())
    }
}

impl fmt::Debug for Symptoms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Symptoms({} bytes)", self.text.len())
    }
}

#[cfg(test)]
mod tests;
