//! Words that say how a finding came on, how it goes on and how bad it is.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use super::{LexiconError, wrong};
use crate::coding::{Course, Onset, Severity};

/// Stands in a row for a few words of no weight, or for the finding: "worst … of my life".
pub(crate) const GAP: &str = "...";
/// Begins a word that counts only as it is written: "slowly" is not "slow".
pub(crate) const AS_WRITTEN: char = '=';

/// What words say of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attribute {
    Onset(Onset),
    Course(Course),
    Severity(Severity),
}

/// Words in a row (English) or stems that begin words in a row (Korean).
#[derive(Clone, Debug)]
pub(crate) struct AttributeRow {
    pub(crate) words: Vec<String>,
    /// Nothing for a row that only holds such words: "little finger".
    pub(crate) says: Option<Attribute>,
}

/// A unit of time, and the onset of what takes a few of them to come.
#[derive(Clone, Debug)]
pub(crate) struct SpanUnit {
    pub(crate) words: Vec<String>,
    pub(crate) minutes: u64,
    pub(crate) onset: Onset,
}

/// Words of one language that say something of a finding.
#[derive(Debug, Default)]
pub(crate) struct AttributeWords {
    /// By the first word (English) or letter (Korean).
    pub(crate) rows: HashMap<String, Vec<AttributeRow>>,
    /// Rows that say that a finding came on.
    pub(crate) develop: Vec<Vec<String>>,
    /// English: what follows a course that is none. Korean: endings of what precedes it.
    pub(crate) circumstance: Vec<Vec<String>>,
    /// Rows that say that it was once so.
    pub(crate) past: Vec<Vec<String>>,
    /// Words over which an attribute does not reach forward; Korean: particles of a subject.
    pub(crate) stop: HashSet<String>,
    /// English: words before a predicate. Korean: endings of one.
    pub(crate) predicate: HashSet<String>,
    /// Words between those and the predicate.
    pub(crate) degree: HashSet<String>,
    /// Words that say that a predicate has more than one subject.
    pub(crate) plural: HashSet<String>,
    /// Words before or after which findings share what is said; Korean: endings.
    pub(crate) joins: HashSet<String>,
    /// Words before a name.
    pub(crate) titles: HashSet<String>,
    /// Words that give the finding after "and" a time of its own.
    pub(crate) times: HashSet<String>,
    /// Words that begin (English) or end (Korean) a span of development.
    pub(crate) span: HashSet<String>,
    /// Words that begin one only beside a word of development.
    pub(crate) span_if_develops: HashSet<String>,
    /// Words between its beginning and its number.
    pub(crate) span_idle: HashSet<String>,
    /// Words that make it a window of time: "over the past week".
    pub(crate) span_window: HashSet<String>,
    /// Words of a number that is not said.
    pub(crate) span_vague: HashSet<String>,
    /// Words before it with which it says how long something lasts: "go within minutes".
    pub(crate) span_not_after: HashSet<String>,
    /// Words after the unit with which it is no span: "two weeks ago".
    pub(crate) span_not_before: HashSet<String>,
    pub(crate) numbers: HashMap<String, u64>,
    pub(crate) units: Vec<SpanUnit>,
}

/// The same, as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct AttributesSource {
    onset: OnsetSource,
    course: CourseSource,
    severity: SeveritySource,
    nothing: Vec<String>,
    develop: Vec<String>,
    circumstance: Vec<String>,
    past: Vec<String>,
    stop: Vec<String>,
    predicate: Vec<String>,
    degree: Vec<String>,
    plural: Vec<String>,
    joins: Vec<String>,
    titles: Vec<String>,
    times: Vec<String>,
    span: SpanSource,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct OnsetSource {
    sudden: Vec<String>,
    acute: Vec<String>,
    subacute: Vec<String>,
    gradual: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CourseSource {
    worsening: Vec<String>,
    stable: Vec<String>,
    improving: Vec<String>,
    fluctuating: Vec<String>,
    resolved: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SeveritySource {
    mild: Vec<String>,
    moderate: Vec<String>,
    severe: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct SpanSource {
    words: Vec<String>,
    if_develops: Vec<String>,
    idle: Vec<String>,
    window: Vec<String>,
    vague: Vec<String>,
    not_after: Vec<String>,
    not_before: Vec<String>,
    numbers: HashMap<String, u64>,
    minute: Vec<String>,
    hour: Vec<String>,
    day: Vec<String>,
    week: Vec<String>,
    month: Vec<String>,
    year: Vec<String>,
}

const MINUTES_PER_HOUR: u64 = 60;
const MINUTES_PER_DAY: u64 = 24 * MINUTES_PER_HOUR;
const MINUTES_PER_WEEK: u64 = 7 * MINUTES_PER_DAY;
const MINUTES_PER_MONTH: u64 = 30 * MINUTES_PER_DAY;
const MINUTES_PER_YEAR: u64 = 365 * MINUTES_PER_DAY;

/// From here on a span is hours: people say "two hours", not "120 minutes".
const ACUTE_MINUTES_MIN: u64 = 2 * MINUTES_PER_HOUR;
/// From here on a span is weeks, likewise.
const SUBACUTE_MINUTES_MIN: u64 = 2 * MINUTES_PER_WEEK;
/// From here on a span is months: this project's bound of subacute.
const GRADUAL_MINUTES_MIN: u64 = 8 * MINUTES_PER_WEEK;

impl AttributesSource {
    fn said(&self) -> [(&[String], Option<Attribute>); 13] {
        let onset = |onset| Some(Attribute::Onset(onset));
        let course = |course| Some(Attribute::Course(course));
        let severity = |severity| Some(Attribute::Severity(severity));
        [
            (&self.onset.sudden, onset(Onset::Sudden)),
            (&self.onset.acute, onset(Onset::Acute)),
            (&self.onset.subacute, onset(Onset::Subacute)),
            (&self.onset.gradual, onset(Onset::Gradual)),
            (&self.course.worsening, course(Course::Worsening)),
            (&self.course.stable, course(Course::Stable)),
            (&self.course.improving, course(Course::Improving)),
            (&self.course.fluctuating, course(Course::Fluctuating)),
            (&self.course.resolved, course(Course::Resolved)),
            (&self.severity.mild, severity(Severity::Mild)),
            (&self.severity.moderate, severity(Severity::Moderate)),
            (&self.severity.severe, severity(Severity::Severe)),
            (&self.nothing, None),
        ]
    }

    /// Returns every phrase whose words a text's words must be compared with.
    pub(super) fn phrases(&self) -> impl Iterator<Item = &String> {
        let rows = self.said().into_iter().flat_map(|(phrases, _)| phrases);
        rows.chain(&self.develop).chain(&self.circumstance).chain(&self.past)
    }

    /// Returns the words; `read` makes the words of a phrase as a text's words come out, `key`
    /// makes what a row is found by of its first word.
    ///
    /// # Errors
    /// [`LexiconError::Entry`] if a phrase has no word or says two things.
    pub(super) fn words(
        &self,
        read: impl Fn(&str) -> Vec<String>,
        key: impl Fn(&str) -> String,
    ) -> Result<AttributeWords, LexiconError> {
        let mut rows: HashMap<String, Vec<AttributeRow>> = HashMap::new();
        for (phrases, says) in self.said() {
            for phrase in phrases {
                let words = read(phrase);
                let first = words.first().filter(|word| *word != GAP && !word.is_empty());
                let first = key(first.ok_or_else(|| wrong(phrase, "has no word"))?);
                let others = rows.entry(first).or_default();
                if let Some(other) = others.iter().find(|other| other.words == words) {
                    if other.says != says {
                        return Err(wrong(phrase, "says two things"));
                    }
                    continue;
                }
                others.push(AttributeRow { words, says });
            }
        }
        let all = |phrases: &[String]| phrases.iter().map(|phrase| read(phrase)).collect();
        let set = |words: &[String]| words.iter().cloned().collect::<HashSet<String>>();
        let span = &self.span;
        let units = [
            (&span.minute, 1, Onset::Sudden),
            (&span.hour, MINUTES_PER_HOUR, Onset::Acute),
            (&span.day, MINUTES_PER_DAY, Onset::Acute),
            (&span.week, MINUTES_PER_WEEK, Onset::Subacute),
            (&span.month, MINUTES_PER_MONTH, Onset::Gradual),
            (&span.year, MINUTES_PER_YEAR, Onset::Gradual),
        ];
        let unit = |(words, minutes, onset): (&Vec<String>, u64, Onset)| SpanUnit {
            words: words.clone(),
            minutes,
            onset,
        };
        Ok(AttributeWords {
            rows,
            develop: all(&self.develop),
            circumstance: all(&self.circumstance),
            past: all(&self.past),
            stop: set(&self.stop),
            predicate: set(&self.predicate),
            degree: set(&self.degree),
            plural: set(&self.plural),
            joins: set(&self.joins),
            titles: set(&self.titles),
            times: set(&self.times),
            span: set(&span.words),
            span_if_develops: set(&span.if_develops),
            span_idle: set(&span.idle),
            span_window: set(&span.window),
            span_vague: set(&span.vague),
            span_not_after: set(&span.not_after),
            span_not_before: set(&span.not_before),
            numbers: span.numbers.clone(),
            units: units.map(unit).into(),
        })
    }
}

/// Returns the onset of what took `count` of a unit to come, or a few if none is said.
///
/// A span in a small unit counts as the larger one that it makes ("over 90 days" is months), and
/// one month as weeks.
pub(crate) fn span_onset(unit: &SpanUnit, count: Option<u64>) -> Onset {
    let Some(count) = count else { return unit.onset };
    let minutes = count.saturating_mul(unit.minutes);
    if minutes >= GRADUAL_MINUTES_MIN {
        return Onset::Gradual;
    }
    match unit.onset {
        Onset::Sudden if minutes < ACUTE_MINUTES_MIN => Onset::Sudden,
        Onset::Sudden | Onset::Acute if minutes < SUBACUTE_MINUTES_MIN => Onset::Acute,
        Onset::Sudden | Onset::Acute | Onset::Subacute | Onset::Gradual => Onset::Subacute,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_counts_as_the_largest_unit_that_it_makes() {
        let minute = SpanUnit { words: Vec::new(), minutes: 1, onset: Onset::Sudden };
        let day = SpanUnit { minutes: MINUTES_PER_DAY, onset: Onset::Acute, ..minute.clone() };
        let week = SpanUnit { minutes: MINUTES_PER_WEEK, onset: Onset::Subacute, ..minute.clone() };
        let month =
            SpanUnit { minutes: MINUTES_PER_MONTH, onset: Onset::Gradual, ..minute.clone() };
        // (what the row is for, unit, number, onset)
        let table = [
            ("a few minutes", &minute, None, Onset::Sudden),
            ("119 minutes", &minute, Some(119), Onset::Sudden),
            ("two hours", &minute, Some(120), Onset::Acute),
            ("no number", &day, None, Onset::Acute),
            ("13 days", &day, Some(13), Onset::Acute),
            ("14 days", &day, Some(14), Onset::Subacute),
            ("90 days", &day, Some(90), Onset::Gradual),
            ("one week", &week, Some(1), Onset::Subacute),
            ("7 weeks", &week, Some(7), Onset::Subacute),
            ("8 weeks", &week, Some(8), Onset::Gradual),
            ("a month", &month, Some(1), Onset::Subacute),
            ("months", &month, None, Onset::Gradual),
            ("two months", &month, Some(2), Onset::Gradual),
            ("no overflow", &week, Some(u64::MAX), Onset::Gradual),
        ];
        for (case, unit, count, onset) in table {
            assert_eq!(span_onset(unit, count), onset, "case: {case}");
        }
    }
}
