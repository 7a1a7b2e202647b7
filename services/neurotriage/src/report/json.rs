//! The report as JSON: stable `snake_case` names, units in the names.

use super::Report;

/// Returns the report as indented JSON that ends with a line feed.
///
/// # Errors
/// If a value can't be written as JSON; no value of a [`Report`] is of that kind.
pub fn render(report: &Report) -> Result<String, serde_json::Error> {
    let mut json = serde_json::to_string_pretty(report)?;
    json.push('\n');
    Ok(json)
}
