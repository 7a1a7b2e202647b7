//! The table as a page that people read: `docs/evidence.md`.

use std::fmt::Write as _;

use neurotriage_domain::Structure;

use super::{Cause, EvidenceTable, FindingEvidence, SideRule};

const HEAD: &str = "# Evidence table

Made from `assets/evidence/evidence.toml` by `UPDATE_DOCS=1 cargo test -p neurotriage-referral
evidence`; do not edit.

How strongly each finding points to each brain structure. A cell is a likelihood ratio: how often the
finding occurs with a glioma there, relative to gliomas of any place; behind it the grade (A systematic
review, B large cohort, C textbook or guideline for the direction and the project for the size, D
judgement of the project) and the source. Structures that a row does not name have the ratio under
`elsewhere`, of grade D by judgement. Decision support for research use; not a medical device.
";

impl EvidenceTable {
    /// Returns the table as Markdown, the same for the same table.
    pub fn page(&self) -> String {
        let mut page = HEAD.to_owned();
        // Writing to a string cannot fail.
        let _ = writeln!(page, "\nVersion {}.\n\n## Findings\n", self.version());
        page.push_str("| finding | points to | elsewhere | side | frequency | counts with |\n");
        page.push_str("|---|---|---|---|---|---|\n");
        for (id, row) in self.findings() {
            let _ = writeln!(
                page,
                "| {} | {} | {} | {} | {} | {} |",
                spaced(id),
                cells(row),
                row.elsewhere,
                side(row),
                row.frequency.map_or(String::new(), |share| format!("{:.0} %", 100.0 * share)),
                if row.group == id { String::new() } else { spaced(&row.group) },
            );
        }
        page.push_str("\n## Red flags\n\nThey act on urgency and not on the place.\n\n");
        for (id, row) in self.findings() {
            if let Some(sign) = &row.urgent_sign {
                let _ = writeln!(page, "- {}: {}", spaced(id), sign.sentence);
            }
        }
        page.push_str("\n## What else may cause a finding\n\nIf there is a sign of it.\n\n");
        for (id, row) in self.findings() {
            if !row.also_from.is_empty() {
                let causes: Vec<&str> =
                    row.also_from.iter().map(|&cause| cause_name(cause)).collect();
                let _ = writeln!(page, "- {}: {}", spaced(id), causes.join(", "));
            }
        }
        page.push('\n');
        for cause in Cause::ALL {
            let signs = self.findings().filter(|(_, row)| row.sign_of == Some(cause));
            let signs: Vec<String> = signs.map(|(id, _)| spaced(id)).collect();
            if !signs.is_empty() {
                let _ = writeln!(page, "- signs of {}: {}", cause_name(cause), signs.join(", "));
            }
        }
        let _ =
            writeln!(page, "\n## Where gliomas lie\n\nRelative weights, both sides together.\n");
        for (structure, weight) in self.prior() {
            let _ = writeln!(page, "- {}: {weight}", structure.display_name());
        }
        page.push_str("\n## Sources\n\n");
        for (key, title) in &self.sources {
            let _ = writeln!(page, "- `{key}`: {title}");
        }
        page
    }
}

/// Returns the named cells, the strongest first; those alike in everything in one.
fn cells(row: &FindingEvidence) -> String {
    let mut cells: Vec<(&Structure, _)> = row.ratios.iter().collect();
    cells.sort_by(|a, b| b.1.likelihood_ratio.total_cmp(&a.1.likelihood_ratio).then(a.0.cmp(b.0)));
    let mut texts: Vec<String> = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for (place, (structure, ratio)) in cells.iter().enumerate() {
        names.push(structure.display_name());
        if cells.get(place + 1).is_some_and(|(_, next)| next == ratio) {
            continue;
        }
        let rule = if ratio.side_rule == row.side_rule {
            String::new()
        } else {
            format!(", {}", rule_name(ratio.side_rule))
        };
        let (value, grade, source) = (ratio.likelihood_ratio, ratio.grade, &ratio.source);
        texts.push(format!("{} {value} ({grade:?} {source}{rule})", names.join(" and ")));
        names.clear();
    }
    texts.join("; ")
}

fn side(row: &FindingEvidence) -> String {
    if row.side_rule == SideRule::None {
        return String::new();
    }
    format!("{}, {:.0} %", rule_name(row.side_rule), 100.0 * row.side_reliability)
}

fn rule_name(rule: SideRule) -> &'static str {
    match rule {
        SideRule::Contralateral => "contralateral",
        SideRule::Ipsilateral => "ipsilateral",
        SideRule::Dominant => "side of language",
        SideRule::NonDominant => "side opposite to language",
        SideRule::None => "no side",
    }
}

fn cause_name(cause: Cause) -> &'static str {
    match cause {
        Cause::RaisedPressure => "raised pressure",
        Cause::SeizureAftermath => "the aftermath of a seizure",
        Cause::MassEffect => "mass effect",
        Cause::SecondLesion => "a second lesion",
        Cause::OtherDisease => "another disease",
    }
}

fn spaced(key: &str) -> String {
    key.replace('_', " ")
}
