//! Codes of SNOMED CT and ICD-10 for findings of the lexicon: `assets/fhir/codes.toml`.

use std::{collections::BTreeMap, sync::LazyLock};

use serde::Deserialize;

use crate::code::{HPO, HPO_OBO, ICD10, ICD10_CM, OWN, SNOMED};

const TABLE: &str = include_str!("../../../assets/fhir/codes.toml");

/// The file; unknown fields are mistakes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CodeTable {
    #[cfg_attr(not(test), expect(dead_code, reason = "for those who read the file"))]
    version: String,
    snomed: BTreeMap<String, String>,
    icd10: BTreeMap<String, String>,
    icd10_who: BTreeMap<String, String>,
    icd10_cm: BTreeMap<String, String>,
}

/// The table, or an empty one: a test holds that the file is right.
static CODES: LazyLock<Option<CodeTable>> = LazyLock::new(|| toml::from_str(TABLE).ok());

/// Returns the finding that a code of another system stands for.
pub(crate) fn finding_of(system: &str, code: &str) -> Option<&'static str> {
    let table = CODES.as_ref()?;
    match system {
        SNOMED => table.snomed.get(code).map(String::as_str),
        ICD10 => classified(&table.icd10, code).or_else(|| classified(&table.icd10_who, code)),
        ICD10_CM => classified(&table.icd10, code).or_else(|| classified(&table.icd10_cm, code)),
        _ => None,
    }
}

/// Returns which system is believed first where several tell of one finding; the lower goes first.
pub(crate) fn rank(system: &str) -> u8 {
    match system {
        HPO | HPO_OBO => 0,
        OWN => 1,
        SNOMED => 2,
        _ => 3,
    }
}

/// Returns what stands for the code itself, or for all codes below one.
fn classified<'a>(rows: &'a BTreeMap<String, String>, code: &str) -> Option<&'a str> {
    let found = rows.iter().find(|(row, _)| covers(row, code));
    found.map(|(_, finding)| finding.as_str())
}

fn covers(row: &str, code: &str) -> bool {
    match row.strip_suffix('-') {
        Some(above) => {
            let above = above.strip_suffix('.').unwrap_or(above);
            code.strip_prefix(above).is_some_and(|rest| {
                rest.bytes().all(|byte| byte == b'.' || byte.is_ascii_alphanumeric())
            })
        }
        None => row == code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEXICON: &str = include_str!("../../../assets/lexicon/symptoms.toml");

    fn table() -> CodeTable {
        toml::from_str(TABLE).unwrap()
    }

    #[test]
    fn every_row_names_a_finding_of_the_lexicon() {
        let of_line = |line: &'static str| line.strip_prefix("code = \"")?.strip_suffix('"');
        let known: Vec<&str> = LEXICON.lines().filter_map(of_line).collect();
        assert!(known.len() > 50, "{}", known.len());
        let table = table();
        assert!(!table.version.is_empty());
        for rows in [&table.snomed, &table.icd10, &table.icd10_who, &table.icd10_cm] {
            for (code, finding) in rows {
                assert!(known.contains(&finding.as_str()), "{code}: {finding}");
            }
        }
    }

    /// TOML itself refuses a code that stands twice in one part.
    #[test]
    fn no_code_of_a_classification_has_two_rows() {
        let table = table();
        for own in [&table.icd10_who, &table.icd10_cm] {
            let rows: Vec<&String> = table.icd10.keys().chain(own.keys()).collect();
            for row in &rows {
                let code = row.trim_end_matches(['-', '.']);
                let of_code = rows.iter().filter(|other| covers(other, code)).count();
                assert_eq!(of_code, 1, "{row}");
            }
        }
    }

    #[test]
    fn codes_are_of_the_form_of_their_system() {
        let table = table();
        for code in table.snomed.keys() {
            assert!(neurotriage_domain::is_sctid(code), "{code}");
        }
        for rows in [&table.icd10, &table.icd10_who, &table.icd10_cm] {
            for row in rows.keys() {
                let code = row.strip_suffix('-').unwrap_or(row);
                let (category, rest) = code.split_once('.').unwrap_or((code, ""));
                let (letter, digits) = category.split_at(1);
                assert!(letter.bytes().all(|byte| byte.is_ascii_uppercase()), "{row}");
                assert!(digits.len() == 2 && digits.parse::<u8>().is_ok(), "{row}");
                assert!(rest.bytes().all(|byte| byte.is_ascii_digit()), "{row}");
            }
        }
    }

    #[test]
    fn codes_become_findings_by_their_own_system() {
        // (system, code, finding)
        let table = [
            (SNOMED, "25064002", Some("HP:0002315")),
            (SNOMED, "2506400", None),
            (ICD10, "R51", Some("HP:0002315")),
            (ICD10_CM, "R51.9", Some("HP:0002315")),
            (ICD10_CM, "G40.909", Some("HP:0001250")),
            (ICD10_CM, "G81.91", Some("HP:0001269")),
            (ICD10, "G81.9", Some("HP:0001269")),
            (ICD10, "R55", Some("HP:0007185")),
            (ICD10_CM, "R55", None),
            (SNOMED, "65958008", Some("HP:0100247")),
            (SNOMED, "65147003", None),
            (SNOMED, "64269007", None),
            (SNOMED, "286933003", None),
            (ICD10_CM, "R11.10", Some("HP:0002013")),
            (ICD10, "R11.1", None),
            (ICD10_CM, "R56.00", None),
            (ICD10_CM, "G51.0", None),
            (ICD10, "G40 ", None),
            ("urn:other", "R51", None),
        ];
        for (system, code, finding) in table {
            assert_eq!(finding_of(system, code), finding, "{system} {code}");
        }
    }
}
