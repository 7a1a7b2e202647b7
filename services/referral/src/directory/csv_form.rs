//! A directory of hospitals as CSV (RFC 4180). No I/O.
//!
//! UTF-8, with or without a byte order mark; lines end in CRLF or LF; the first line is the header.
//! Columns may stand in any order. A row is refused alone: the others are kept.
//!
//! | column | content | must be there |
//! |---|---|---|
//! | `hospital_id` | 1 to 64 of `a-z`, `0-9`, `-`; once in the file | yes |
//! | `name` | text, 1 to 256 characters | yes |
//! | `city` | text, 1 to 256 characters | yes |
//! | `latitude_degrees` | degrees north, -90 to 90, WGS 84, with a decimal point | yes |
//! | `longitude_degrees` | degrees east, -180 to 180 | yes |
//! | `capabilities` | list of [`Capability`] names, may be empty | yes |
//! | `capacity` | share of referrals it can take now, 0 to 1 | yes |
//! | `accepts_referrals` | `true` or `false`, in either case | yes |
//! | `identifiers` | list of `system\|value`, may be empty | no |
//! | `languages` | list of BCP 47 tags, may be empty | no |
//! | `beds_free` | whole number; empty if not known | no |
//!
//! **Lists** are separated by `;`. In an item `\;` is a semicolon and `\\` a backslash. Spaces around
//! an item and empty items are dropped.
//!
//! **Formulas.** A spreadsheet runs a cell that begins with `=`, `+`, `-`, `@`, tab, carriage return or
//! line feed, or with one of the wide forms `＝＋－＠`. Export writes an apostrophe before such a text
//! (and before one that begins with apostrophes followed by such a character); import takes that one
//! apostrophe away again, so every text comes back as it was, and `'s-Gravenhage` is left alone.
//! Numbers and truth values are written bare: nothing but a number can stand there. Every cell is
//! quoted, so that a spreadsheet that splits at `;` does not make new cells out of a list. OWASP,
//! "CSV Injection", gives the characters; that the mark can be undone is ours.

#[cfg(test)]
mod tests;

use std::{collections::HashMap, fmt};

use csv::{ByteRecord, Position, ReaderBuilder};
use neurotriage_domain::HospitalId;

use crate::{
    directory::exchange::{self, ExportError, shown},
    hospital::{Capability, Coordinates, Field, FieldProblem, Hospital, Identifier},
};

/// Largest file, in bytes: one request of a gRPC or HTTP service, not a dump of a country's registers.
pub const BYTES_MAX: usize = 8 * 1024 * 1024;

/// Most rows below the header: several times the hospitals of the world that operate on brains.
pub const ROWS_MAX: usize = 100_000;

/// Largest cell, in bytes: above the longest list of identifiers that [`Hospital::check`] lets pass.
pub const FIELD_BYTES_MAX: usize = 16 * 1024;

/// What spreadsheets put before UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// First characters that make a spreadsheet take a text for a formula.
const FORMULA_STARTS: [char; 11] =
    ['=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

/// What a file gave.
#[derive(Clone, Debug, PartialEq)]
pub struct CsvImport {
    /// The hospitals of the good rows, in the file's order; no id twice.
    pub hospitals: Vec<Hospital>,
    /// The bad rows, in the file's order.
    pub refused: Vec<RefusedRow>,
}

/// A row that was not taken, by the first thing that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedRow {
    /// Line of the file on which the row begins; the header is line 1.
    pub line: u64,
    /// What stands in the id column, cut to 64 characters; `None` if nothing does.
    pub hospital_id: Option<String>,
    /// The column, or `row` if the row as a whole is wrong.
    pub field: &'static str,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl fmt::Display for RefusedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hospital_id = self.hospital_id.as_deref().unwrap_or("without id");
        write!(f, "line {}, hospital {hospital_id}, {}: {}", self.line, self.field, self.problem)
    }
}

/// Why a file cannot be used at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    /// More than [`BYTES_MAX`].
    #[error("file has {bytes} bytes; send at most {BYTES_MAX}")]
    TooLarge {
        /// How large it is.
        bytes: usize,
    },
    /// More than [`ROWS_MAX`].
    #[error("file has more than {ROWS_MAX} rows; split it")]
    TooManyRows,
    /// Nothing in it.
    #[error("file is empty; begin with a header line that names the columns")]
    NoHeader,
    /// The header is no UTF-8.
    #[error("header is not UTF-8; save the file as CSV UTF-8")]
    HeaderEncoding,
    /// A column that nobody knows.
    #[error("column `{name}` is unknown; remove it or name it one of {}", column_names())]
    UnknownColumn {
        /// Its name, cut to 64 characters.
        name: String,
    },
    /// A column stands twice.
    #[error("column `{name}` stands twice; remove one of the two")]
    RepeatedColumn {
        /// Its name.
        name: &'static str,
    },
    /// A column that must be there is not.
    #[error("column `{name}` is missing; add it to the header")]
    MissingColumn {
        /// Its name.
        name: &'static str,
    },
    /// The parser gave up.
    #[error("file cannot be read as CSV: {0}")]
    Syntax(String),
}

/// Returns the hospitals written in `bytes`, and the rows that are wrong.
///
/// # Errors
/// [`CsvError`] if the file as a whole cannot be used: too large, or its header is wrong.
pub fn import(bytes: &[u8]) -> Result<CsvImport, CsvError> {
    if bytes.len() > BYTES_MAX {
        return Err(CsvError::TooLarge { bytes: bytes.len() });
    }
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let mut reader = ReaderBuilder::new().has_headers(false).flexible(true).from_reader(bytes);
    let syntax = |error: csv::Error| CsvError::Syntax(shown(&error.to_string()));
    let mut record = ByteRecord::new();
    if !reader.read_byte_record(&mut record).map_err(syntax)? {
        return Err(CsvError::NoHeader);
    }
    let columns = read_header(&record)?;
    let mut import = CsvImport { hospitals: Vec::new(), refused: Vec::new() };
    let mut line_of = HashMap::new();
    let mut lines = Lines { bytes, line: 1, counted: 0 };
    let mut rows = 0_usize;
    while reader.read_byte_record(&mut record).map_err(syntax)? {
        rows += 1;
        if rows > ROWS_MAX {
            return Err(CsvError::TooManyRows);
        }
        let start = record.position().map_or(0, Position::byte);
        let line = lines.of_row_at(start);
        match read_row(&columns, &record)
            .and_then(|hospital| unrepeated(hospital, line, &mut line_of))
        {
            Ok(hospital) => import.hospitals.push(hospital),
            Err((field, problem)) => {
                let hospital_id = raw_id(&columns, &record);
                import.refused.push(RefusedRow { line, hospital_id, field, problem });
            }
        }
    }
    Ok(import)
}

/// Returns `hospitals` as CSV with every column, in UTF-8 without byte order mark, lines ending in
/// CRLF. [`import`] gives the same hospitals back.
///
/// # Errors
/// [`ExportError`] if import would refuse the file or a row of it.
pub fn export(hospitals: &[Hospital]) -> Result<String, ExportError> {
    exchange::check_all(hospitals, ROWS_MAX)?;
    let mut text = String::new();
    write_line(&mut text, Field::ALL.iter().map(|field| field.as_str().to_owned()));
    for hospital in hospitals {
        write_line(&mut text, Field::ALL.iter().map(|&field| cell(hospital, field)));
    }
    exchange::check_size(text, BYTES_MAX)
}

/// Counts lines as editors do. The parser's own count leaves out blank lines before a row.
struct Lines<'a> {
    bytes: &'a [u8],
    line: u64,
    counted: usize,
}

impl Lines<'_> {
    /// Returns the line of the row that begins at the byte `start` or after the line ends there.
    /// Rows must be asked for in order.
    fn of_row_at(&mut self, start: u64) -> u64 {
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        let blank = |byte: &&u8| matches!(byte, b'\r' | b'\n');
        let blanks = self.bytes.iter().skip(start).take_while(blank).count();
        let end = start.saturating_add(blanks);
        let passed = self.bytes.get(self.counted..end).unwrap_or_default();
        self.line += passed.iter().filter(|&&byte| byte == b'\n').count() as u64;
        self.counted = end;
        self.line
    }
}

fn column_names() -> String {
    Field::ALL.iter().map(|field| field.as_str()).collect::<Vec<_>>().join(", ")
}

fn is_optional(field: Field) -> bool {
    matches!(field, Field::Identifiers | Field::Languages | Field::BedsFree)
}

fn read_header(record: &ByteRecord) -> Result<Vec<Field>, CsvError> {
    let mut columns = Vec::with_capacity(record.len());
    for name in record {
        let name = std::str::from_utf8(name).map_err(|_| CsvError::HeaderEncoding)?.trim();
        let Some(&field) = Field::ALL.iter().find(|field| field.as_str() == name) else {
            return Err(CsvError::UnknownColumn { name: shown(name) });
        };
        if columns.contains(&field) {
            return Err(CsvError::RepeatedColumn { name: field.as_str() });
        }
        columns.push(field);
    }
    match Field::ALL.iter().find(|field| !is_optional(**field) && !columns.contains(field)) {
        Some(field) => Err(CsvError::MissingColumn { name: field.as_str() }),
        None => Ok(columns),
    }
}

type Refusal = (&'static str, String);

fn refusal(problem: FieldProblem) -> Refusal {
    (problem.field.as_str(), problem.problem)
}

/// What stands in the id column, whatever it is.
fn raw_id(columns: &[Field], record: &ByteRecord) -> Option<String> {
    let place = columns.iter().position(|&field| field == Field::HospitalId)?;
    let text = String::from_utf8_lossy(record.get(place)?);
    let text = unguarded(text.trim());
    (!text.is_empty()).then(|| shown(text))
}

fn unrepeated(
    hospital: Hospital,
    line: u64,
    line_of: &mut HashMap<HospitalId, u64>,
) -> Result<Hospital, Refusal> {
    if let Some(first) = line_of.get(&hospital.hospital_id) {
        let problem = format!("was given on line {first} already; give each id once");
        return Err((Field::HospitalId.as_str(), problem));
    }
    line_of.insert(hospital.hospital_id.clone(), line);
    Ok(hospital)
}

/// One row, decoded; a column that the file lacks reads as empty.
struct Row<'a>(Vec<(Field, &'a str)>);

impl<'a> Row<'a> {
    /// Returns the cell as it stands.
    fn cell(&self, field: Field) -> &'a str {
        self.0.iter().find(|(column, _)| *column == field).map_or("", |(_, text)| text)
    }

    /// Returns the cell as text, without export's mark against formulas.
    fn text(&self, field: Field) -> &'a str {
        unguarded(self.cell(field))
    }

    fn number(&self, field: Field, example: &str) -> Result<f64, FieldProblem> {
        let text = self.cell(field).trim();
        text.parse().map_err(|_| {
            let problem = match text {
                "" => format!("is empty; write a number such as {example}"),
                _ => format!("`{}` is not a number; write one such as {example}", shown(text)),
            };
            FieldProblem::new(field, problem)
        })
    }

    fn list(&self, field: Field) -> Result<Vec<String>, FieldProblem> {
        split_list(self.text(field)).map_err(|problem| FieldProblem::new(field, problem))
    }
}

fn read_row(columns: &[Field], record: &ByteRecord) -> Result<Hospital, Refusal> {
    if record.len() != columns.len() {
        let problem = format!(
            "has {} cells, the header {} columns; write as many, and quote text that holds commas",
            record.len(),
            columns.len()
        );
        return Err(("row", problem));
    }
    let mut cells = Vec::with_capacity(columns.len());
    for (&field, bytes) in columns.iter().zip(record) {
        if bytes.len() > FIELD_BYTES_MAX {
            let problem = format!(
                "has {} bytes; at most {FIELD_BYTES_MAX} are allowed (look for a quote left open)",
                bytes.len()
            );
            return Err((field.as_str(), problem));
        }
        let text = std::str::from_utf8(bytes)
            .map_err(|_| (field.as_str(), "is not UTF-8; save the file as CSV UTF-8".to_owned()))?;
        cells.push((field, text));
    }
    read_hospital(&Row(cells)).map_err(refusal)
}

fn read_hospital(row: &Row<'_>) -> Result<Hospital, FieldProblem> {
    let hospital_id = exchange::hospital_id(unguarded(row.cell(Field::HospitalId).trim()))?;
    let latitude = row.number(Field::LatitudeDegrees, "37.55")?;
    let longitude = row.number(Field::LongitudeDegrees, "126.98")?;
    let location = Coordinates::from_degrees(latitude, longitude)
        .map_err(|_| exchange::off_earth(latitude, longitude))?;
    let mut capabilities = Vec::new();
    for name in row.list(Field::Capabilities)? {
        capabilities.push(exchange::capability(&name)?);
    }
    let capacity = row.number(Field::Capacity, "0.35")?;
    let accepts_referrals = read_truth(row.cell(Field::AcceptsReferrals).trim())?;
    let mut identifiers = Vec::new();
    for item in row.list(Field::Identifiers)? {
        identifiers.push(read_identifier(&item)?);
    }
    let hospital = Hospital {
        hospital_id,
        name: row.text(Field::Name).to_owned(),
        city: row.text(Field::City).to_owned(),
        location,
        capabilities,
        capacity,
        accepts_referrals,
        identifiers,
        languages: row.list(Field::Languages)?,
        beds_free: read_beds(row.cell(Field::BedsFree).trim())?,
    };
    hospital.check()?;
    Ok(hospital)
}

fn read_truth(text: &str) -> Result<bool, FieldProblem> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => {
            let problem = format!("`{}` is neither; write true or false", shown(text));
            Err(FieldProblem::new(Field::AcceptsReferrals, problem))
        }
    }
}

fn read_beds(text: &str) -> Result<Option<u32>, FieldProblem> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| {
        let problem = format!(
            "`{}` is not a number of beds; write a whole number such as 4, or nothing",
            shown(text)
        );
        FieldProblem::new(Field::BedsFree, problem)
    })
}

fn read_identifier(item: &str) -> Result<Identifier, FieldProblem> {
    let Some((system, value)) = item.split_once('|') else {
        let problem = format!(
            "`{}` has no bar; write system|value, such as urn:oid:1.2.410|1234",
            shown(item)
        );
        return Err(FieldProblem::new(Field::Identifiers, problem));
    };
    Ok(Identifier { system: system.to_owned(), value: value.to_owned() })
}

/// Returns the items of a list: see the module's page.
fn split_list(text: &str) -> Result<Vec<String>, String> {
    let mut items = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        let literal = match c {
            ';' => {
                items.push(String::new());
                continue;
            }
            '\\' => match chars.next() {
                Some(escaped @ (';' | '\\')) => escaped,
                _ => {
                    return Err(
                        "holds a lone backslash; write \\\\ for a backslash and \\; for a \
                                semicolon within an item"
                            .to_owned(),
                    );
                }
            },
            other => other,
        };
        if let Some(item) = items.last_mut() {
            item.push(literal);
        }
    }
    Ok(items
        .iter()
        .map(|item| item.trim())
        .filter(|item| !item.is_empty())
        .map(str::to_owned)
        .collect())
}

fn join_list<S: AsRef<str>>(items: impl Iterator<Item = S>) -> String {
    let escaped = |item: S| item.as_ref().replace('\\', "\\\\").replace(';', "\\;");
    items.map(escaped).collect::<Vec<_>>().join(";")
}

fn looks_like_formula(text: &str) -> bool {
    text.trim_start_matches('\'').starts_with(FORMULA_STARTS)
}

fn guarded(text: &str) -> String {
    if looks_like_formula(text) { format!("'{text}") } else { text.to_owned() }
}

fn unguarded(text: &str) -> &str {
    match text.strip_prefix('\'') {
        Some(rest) if looks_like_formula(rest) => rest,
        _ => text,
    }
}

fn cell(hospital: &Hospital, field: Field) -> String {
    match field {
        Field::HospitalId => guarded(hospital.hospital_id.as_str()),
        Field::Name => guarded(&hospital.name),
        Field::City => guarded(&hospital.city),
        Field::LatitudeDegrees => hospital.location.latitude_degrees().to_string(),
        Field::LongitudeDegrees => hospital.location.longitude_degrees().to_string(),
        Field::Capabilities => {
            guarded(&join_list(hospital.capabilities.iter().copied().map(Capability::as_str)))
        }
        Field::Capacity => hospital.capacity.to_string(),
        Field::AcceptsReferrals => hospital.accepts_referrals.to_string(),
        Field::Identifiers => guarded(&join_list(
            hospital.identifiers.iter().map(|one| format!("{}|{}", one.system, one.value)),
        )),
        Field::Languages => guarded(&join_list(hospital.languages.iter())),
        Field::BedsFree => hospital.beds_free.map_or_else(String::new, |beds| beds.to_string()),
    }
}

fn write_line(text: &mut String, cells: impl Iterator<Item = String>) {
    for (place, cell) in cells.enumerate() {
        if place > 0 {
            text.push(',');
        }
        text.push('"');
        text.push_str(&cell.replace('"', "\"\""));
        text.push('"');
    }
    text.push_str("\r\n");
}
