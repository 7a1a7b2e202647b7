//! Which reports of a bundle the records hold already.

use std::collections::HashMap;

use neurotriage_domain::Side;
use neurotriage_fhir::{
    code::{Course, Onset, Severity},
    finding::{Finding, StoredReport, SymptomReport},
};
use time::OffsetDateTime;
use uuid::Uuid;

/// Returns the stored report that says what is sent: the same text, of the same person and time, with every finding;
/// more may have been read from the text.
pub(super) fn same_report(stored: &[StoredReport], sent: &SymptomReport) -> Option<Uuid> {
    let is_same = |stored: &&StoredReport| {
        let kept = &stored.report;
        is_of_same(kept, sent)
            && sent
                .findings
                .iter()
                .all(|one| kept.findings.iter().any(|own| told(own) == told(one)))
            && (!sent.text.is_empty() || kept.findings.len() == sent.findings.len())
    };
    stored.iter().find(is_same).map(|stored| stored.symptom_report_id)
}

/// Takes from `sent`, which has no text, the findings that stored reports of the same person and time hold: a list of
/// problems that has grown is not stored again. Returns for each finding, as they were, the report that holds it.
pub(super) fn take_held(stored: &[StoredReport], sent: &mut SymptomReport) -> Vec<Option<Uuid>> {
    let mut known: HashMap<Told<'_>, Uuid> = HashMap::new();
    for stored in stored.iter().filter(|stored| is_of_same(&stored.report, sent)) {
        for finding in &stored.report.findings {
            known.entry(told(finding)).or_insert(stored.symptom_report_id);
        }
    }
    let mut held = Vec::new();
    sent.findings.retain(|finding| {
        held.push(known.get(&told(finding)).copied());
        !known.contains_key(&told(finding))
    });
    held
}

/// What a finding tells: all but its plain name.
type Told<'a> = (&'a str, Option<Side>, bool, Option<Onset>, Option<Course>, Option<Severity>);

fn told(finding: &Finding) -> Told<'_> {
    let Finding { code, display_name: _, side, present, onset, course, severity } = finding;
    (code, *side, *present, *onset, *course, *severity)
}

/// Whether both have one text, and were told by one person at one time.
fn is_of_same(kept: &SymptomReport, sent: &SymptomReport) -> bool {
    kept.text == sent.text
        && kept.reporter == sent.reporter
        && is_same_time(kept.reported_at, sent.reported_at)
}

/// Whether a report was told when it is sent to have been; without a time it may be any.
fn is_same_time(kept: Option<OffsetDateTime>, sent: Option<OffsetDateTime>) -> bool {
    match (kept, sent) {
        (_, None) => true,
        (Some(kept), Some(sent)) => neurotriage_fhir::is_same_time(kept, sent),
        (None, Some(_)) => false,
    }
}
