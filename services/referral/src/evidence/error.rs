//! What can be wrong with a table, where, and what would be right.

use neurotriage_domain::Structure;

use super::Grade;

/// Why a table cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum EvidenceError {
    /// Not TOML, or not the shape of a table.
    #[error("evidence table is malformed; correct it: {0}")]
    Syntax(String),
    /// The table does not say which version it is.
    #[error("evidence table has no version; give it one, such as `2026.11.1`")]
    NoVersion,
    /// A row for a finding that the lexicon does not have.
    #[error(
        "evidence table names the unknown finding `{finding}`; use an id of the symptom lexicon"
    )]
    UnknownFinding {
        /// The name found.
        finding: String,
    },
    /// Two rows for one finding.
    #[error("evidence table has two rows for `{finding}`; keep one")]
    RepeatedFinding {
        /// Which finding.
        finding: String,
    },
    /// No row for a finding.
    #[error("evidence table has no row for `{finding}`; add one")]
    MissingFinding {
        /// Which finding.
        finding: &'static str,
    },
    /// A place that is neither a structure nor a group of structures.
    #[error(
        "`{place}` of the evidence table names the unknown structure `{structure}`; use a brain structure or a group"
    )]
    UnknownStructure {
        /// Row or section.
        place: String,
        /// The name found.
        structure: String,
    },
    /// A structure named twice in a row, alone or in a group.
    #[error("`{finding}` names `{structure}` twice; name it alone or in a group")]
    RepeatedStructure {
        /// Which row.
        finding: String,
        /// Which structure.
        structure: Structure,
    },
    /// A side rule that does not exist.
    #[error(
        "{place} has the unknown side rule `{rule}`; use contralateral, ipsilateral, dominant, non_dominant or none"
    )]
    UnknownSideRule {
        /// Row or cell.
        place: String,
        /// The rule found.
        rule: String,
    },
    /// A side for structures that the row does not name.
    #[error("`elsewhere` of `{finding}` has a side rule; name the structures that give a side")]
    SideElsewhere {
        /// Which row.
        finding: String,
    },
    /// A grade that does not exist.
    #[error("{place} has the unknown grade `{grade}`; use A, B, C or D")]
    UnknownGrade {
        /// Row, cell or source.
        place: String,
        /// The grade found.
        grade: String,
    },
    /// A grade that the source does not give.
    #[error(
        "{place} has grade {}, and its source `{origin}` gives {} at best; lower the grade or name another source",
        grade.as_str(),
        best.as_str()
    )]
    GradeTooGood {
        /// Row or cell.
        place: String,
        /// The grade found.
        grade: Grade,
        /// Key of its source.
        origin: String,
        /// The best grade that the source gives.
        best: Grade,
    },
    /// A source that the table does not list.
    #[error("{place} names the unknown source `{origin}`; list it under `sources`")]
    UnknownSource {
        /// Row or cell.
        place: String,
        /// The key found.
        origin: String,
    },
    /// A source that nothing names.
    #[error("source `{origin}` is named nowhere; name it in a row or remove it")]
    UnusedSource {
        /// Its key.
        origin: String,
    },
    /// A source without words.
    #[error("source `{origin}` has no citation; write authors, title, place and year")]
    NoCitation {
        /// Its key.
        origin: String,
    },
    /// Something without grade and source.
    #[error("{place} has no grade and source; write {shape}")]
    NoBasis {
        /// Row or cell.
        place: String,
        /// What to write.
        shape: &'static str,
    },
    /// Something of the wrong shape.
    #[error("{place} is {found}, not of the right shape; write {shape}")]
    Malformed {
        /// Row or cell.
        place: String,
        /// What was found.
        found: &'static str,
        /// What to write.
        shape: &'static str,
    },
    /// A number outside its range.
    #[error("{place} is {value}; it must lie {range}")]
    OutOfRange {
        /// Row, cell or section.
        place: String,
        /// The number found.
        value: f64,
        /// What is allowed.
        range: &'static str,
    },
    /// A row that has one half of what only makes sense together.
    #[error("`{finding}` has `{given}` without `{missing}`; give both or neither")]
    Incomplete {
        /// Which row.
        finding: String,
        /// What it has.
        given: &'static str,
        /// What it lacks.
        missing: &'static str,
    },
    /// An emergency that points to a place.
    #[error(
        "`{finding}` is an emergency and has the ratio {value} for `{structure}`; a red flag acts on urgency alone: write 1"
    )]
    EmergencyPoints {
        /// Which row.
        finding: String,
        /// Which structure.
        structure: Structure,
        /// The ratio found.
        value: f64,
    },
}
