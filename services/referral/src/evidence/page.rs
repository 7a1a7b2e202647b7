//! The table as a page that people read: `docs/evidence.md`.

use std::fmt::Write as _;

use neurotriage_domain::Structure;

use super::{
    Basis, Cause, Cell, EvidenceTable, FindingEvidence, Founded, Grade, Handedness, SideRule,
};

const HEAD: &str = "# Evidence table

Made from `assets/evidence/evidence.toml` by `UPDATE_DOCS=1 cargo test -p neurotriage-referral
evidence`; do not edit.

How strongly each finding points to each brain structure. A cell is a likelihood ratio: how often the
finding occurs with a glioma there, relative to gliomas of any place. Behind it stand its grade and its
source. The grade says who names the direction: A systematic review of patients with brain tumours; B cohort of at
least 100 of them, or systematic review of other patients; C textbook, guideline, narrative review, smaller study, or
cohort of other patients; D judgement of the project. Sizes are soft settings of the project, but those that the
sources give in figures: seizures by lobe, the side of a headache, frequencies, the side of language. Decision support
for research use; not a medical device.
";

const MATRIX: &str = "
## Every cell

Ratio, grade with the number of the source, and the side, if the cell gives one: c contralateral, i ipsilateral, d side
of language, n side opposite to language. Ventricles are never the place of a lesion; they take what the row says of
structures it does not name.

";

impl EvidenceTable {
    /// Returns the table as Markdown, the same for the same table.
    pub fn page(&self) -> String {
        let mut page = HEAD.to_owned();
        // Writing to a string cannot fail.
        let _ = writeln!(page, "\nVersion {}.", self.version());
        self.write_grades(&mut page);
        self.write_findings(&mut page);
        self.write_matrix(&mut page);
        self.write_red_flags(&mut page);
        self.write_causes(&mut page);
        self.write_places_and_sides(&mut page);
        page.push_str("\n## Sources\n\nBehind each the best grade that it gives.\n\n");
        for (key, source) in &self.sources {
            let doi = source.doi.as_ref().map_or(String::new(), |doi| format!(". doi:{doi}"));
            let (grade, citation) = (source.grade.as_str(), &source.citation);
            let _ = writeln!(page, "{}. `{key}` ({grade}): {citation}{doi}", self.number(key));
        }
        page
    }

    fn write_grades(&self, page: &mut String) {
        page.push_str("\n## How well it is founded\n\n| grade | cells that rows name | all cells |\n|---|---|---|\n");
        let is_named = |id: &str, structure| {
            self.finding(id).is_some_and(|row| row.cells.contains_key(&structure))
        };
        for grade in Grade::ALL {
            let of_grade = || self.cells().filter(|(_, _, cell)| cell.basis.grade == grade);
            let named = of_grade().filter(|&(id, structure, _)| is_named(id, structure)).count();
            let _ = writeln!(page, "| {} | {named} | {} |", grade.as_str(), of_grade().count());
        }
    }

    fn write_findings(&self, page: &mut String) {
        page.push_str(
            "\n## Findings\n\n| finding | points to | elsewhere | side | frequency | counts with |\n|---|---|---|---|---|---|\n",
        );
        for (id, row) in self.findings() {
            let elsewhere = &row.elsewhere;
            let frequency = row.frequency.as_ref().map_or(String::new(), |share| {
                format!("{:.0} % ({})", 100.0 * share.value, basis(&share.basis))
            });
            let _ = writeln!(
                page,
                "| {} | {} | {} ({}) | {} | {frequency} | {} |",
                spaced(id),
                cells(row),
                elsewhere.likelihood_ratio,
                basis(&elsewhere.basis),
                side(row),
                if row.group == id { String::new() } else { spaced(&row.group) },
            );
        }
    }

    fn write_matrix(&self, page: &mut String) {
        page.push_str(MATRIX);
        page.push_str("| finding |");
        for structure in Structure::ALL {
            let _ = write!(page, " {} |", structure.display_name());
        }
        page.push_str("\n|---|");
        page.push_str(&"---|".repeat(Structure::ALL.len()));
        page.push('\n');
        for (id, row) in self.findings() {
            let _ = write!(page, "| {} |", spaced(id));
            for &structure in Structure::ALL {
                let cell = row.cell(structure);
                let Basis { grade, source } = &cell.basis;
                let (ratio, grade, number) =
                    (cell.likelihood_ratio, grade.as_str(), self.number(source));
                let _ = write!(page, " {ratio} {grade}{number}{} |", rule_letter(cell.side_rule));
            }
            page.push('\n');
        }
    }

    fn write_red_flags(&self, page: &mut String) {
        page.push_str("\n## Red flags\n\nThey act on urgency. An emergency points nowhere; what needs attention soon may point by its ratios, which the flag does not change.\n\n");
        for (id, row) in self.findings() {
            if let Some(sign) = &row.urgent_sign {
                let _ =
                    writeln!(page, "- {}: {} ({})", spaced(id), sign.sentence, basis(&sign.basis));
            }
        }
    }

    fn write_causes(&self, page: &mut String) {
        page.push_str("\n## What else may cause a finding\n\nIf there is a sign of it.\n\n");
        for (id, row) in self.findings() {
            if !row.also_from.is_empty() {
                let cause = |cause: &Founded<Cause>| {
                    format!("{} ({})", cause_name(cause.value), basis(&cause.basis))
                };
                let causes: Vec<String> = row.also_from.iter().map(cause).collect();
                let _ = writeln!(page, "- {}: {}", spaced(id), causes.join(", "));
            }
        }
        page.push('\n');
        for cause in Cause::ALL {
            let sign = |(id, row): (&str, &FindingEvidence)| {
                let sign = row.sign_of.as_ref().filter(|sign| sign.value == cause)?;
                Some(format!("{} ({})", spaced(id), basis(&sign.basis)))
            };
            let signs: Vec<String> = self.findings().filter_map(sign).collect();
            if !signs.is_empty() {
                let _ = writeln!(page, "- signs of {}: {}", cause_name(cause), signs.join(", "));
            }
        }
    }

    fn write_places_and_sides(&self, page: &mut String) {
        page.push_str("\n## Where gliomas lie\n\nRelative weights, both sides together.\n\n");
        for (&structure, weight) in self.prior() {
            let rests_on = self.prior_basis(structure).map_or(String::new(), basis);
            let _ = writeln!(page, "- {}: {weight} ({rests_on})", structure.display_name());
        }
        page.push_str("\n## Where language lies\n\nChance of the left side, by the hand the patient writes with.\n\n");
        for hand in Handedness::ALL {
            let chance = self.language_left(hand);
            let rests_on = basis(self.language_basis(hand));
            let _ = writeln!(page, "- {}: {chance} ({rests_on})", hand_name(hand));
        }
    }

    /// Returns the number of a source on the page, from 1; 0 if there is none.
    fn number(&self, key: &str) -> usize {
        self.sources.keys().position(|own| own == key).map_or(0, |place| place + 1)
    }
}

/// Returns the named cells, the strongest first; those alike in everything in one.
fn cells(row: &FindingEvidence) -> String {
    let mut cells: Vec<(&Structure, &Cell)> = row.cells.iter().collect();
    cells.sort_by(|a, b| b.1.likelihood_ratio.total_cmp(&a.1.likelihood_ratio).then(a.0.cmp(b.0)));
    let mut texts: Vec<String> = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    for (place, (structure, cell)) in cells.iter().enumerate() {
        names.push(structure.display_name());
        if cells.get(place + 1).is_some_and(|(_, next)| next == cell) {
            continue;
        }
        let rule = if cell.side_rule == row.side_rule {
            String::new()
        } else {
            format!(", {}", rule_name(cell.side_rule))
        };
        let (ratio, rests_on) = (cell.likelihood_ratio, basis(&cell.basis));
        texts.push(format!("{} {ratio} ({rests_on}{rule})", names.join(" and ")));
        names.clear();
    }
    texts.join("; ")
}

fn basis(basis: &Basis) -> String {
    format!("{} {}", basis.grade.as_str(), basis.source)
}

fn side(row: &FindingEvidence) -> String {
    if row.side_rule == SideRule::None {
        return String::new();
    }
    let sure = &row.side_reliability;
    format!("{}, {:.0} % ({})", rule_name(row.side_rule), 100.0 * sure.value, basis(&sure.basis))
}

fn rule_letter(rule: SideRule) -> &'static str {
    match rule {
        SideRule::Contralateral => " c",
        SideRule::Ipsilateral => " i",
        SideRule::Dominant => " d",
        SideRule::NonDominant => " n",
        SideRule::None => "",
    }
}

fn hand_name(hand: Handedness) -> &'static str {
    match hand {
        Handedness::Unknown => "not recorded",
        Handedness::Right => "right",
        Handedness::Left => "left",
        Handedness::Both => "both",
    }
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
