//! What findings are made of: code, presence, side, onset, course and severity.

use neurotriage_domain::Side;

use crate::{
    code::{
        HPO, INTERPRETATION, OWN, SIDES, SNOMED, Severity, is_finding, read_body_side,
        read_presence,
    },
    code_table::{finding_of, rank},
    reader::{Node, Reader},
};

/// Longest name of a finding, in characters.
const NAME_CHARS_MAX: usize = 256;

pub(super) const NO_SIDE: &str = "names no side of SNOMED CT; none is taken from it";

/// Returns a status code of `system`, which must be one of `codes`.
pub(super) fn status(
    reader: &mut Reader,
    node: &Node<'_>,
    name: &str,
    system: &str,
    codes: &[&'static str],
) -> Option<&'static str> {
    let concept = reader.object(node, name)?;
    let read = |of: &str, code: &str| {
        (of == system).then(|| codes.iter().copied().find(|known| *known == code)).flatten()
    };
    let status = reader.meaning(&concept, read);
    if status.is_none() {
        let text = format!("needs one coding of {system}: {}", codes.join(", "));
        reader.refuse(concept.path, text);
    }
    status
}

/// Returns the code of a finding and its name: of HPO, else this project's own, of SNOMED CT, of ICD-10.
pub(super) fn code(reader: &mut Reader, node: &Node<'_>) -> (String, String) {
    let Some(concept) = reader.object(node, "code") else {
        if node.member("code").is_none() {
            reader.refuse(node.below("code"), "is missing; give a code of HPO");
        }
        return <(String, String)>::default();
    };
    let mut found: Option<(u8, &str, Node<'_>)> = None;
    for (system, code, coding) in reader.codings(&concept) {
        let finding = if is_finding(system, code) { Some(code) } else { finding_of(system, code) };
        let Some(finding) = finding else {
            if system == HPO {
                reader.refuse(coding.below("code"), "must be HP: and seven digits");
            }
            continue;
        };
        let rank = rank(system);
        match &found {
            Some((best, known, _)) if *best == rank && *known != finding => {
                let text = "contradicts another coding of the same concept; keep one finding";
                reader.refuse(coding.path, text);
            }
            Some((best, ..)) if *best <= rank => {}
            Some(_) | None => found = Some((rank, finding, coding)),
        }
    }
    let text = reader.optional(|reader| reader.text(&concept, "text", NAME_CHARS_MAX));
    let Some((_, code, coding)) = found else {
        let text = format!(
            "needs a coding of {HPO}, such as HP:0001250, or of {OWN} that begins with NT:"
        );
        reader.refuse(concept.path, text);
        return <(String, String)>::default();
    };
    let display = |reader: &mut Reader| reader.text(&coding, "display", NAME_CHARS_MAX);
    let name = text.or_else(|| reader.optional(display)).unwrap_or_default();
    (code.to_owned(), name.to_owned())
}

/// Returns whether the finding is there: by its value and by its interpretation, which must agree.
pub(super) fn presence(reader: &mut Reader, node: &Node<'_>) -> bool {
    let mut told = Vec::new();
    if let Some(value) = reader.object(node, "valueCodeableConcept") {
        told.extend(reader.meaning(&value, read_presence).map(|present| (present, value.path)));
    }
    if let Some(present) = reader.boolean(node, "valueBoolean") {
        told.push((present, node.below("valueBoolean")));
    }
    for interpretation in reader.objects(node, "interpretation") {
        let read = |system: &str, code: &str| match (system, code) {
            (INTERPRETATION, "POS") => Some(true),
            (INTERPRETATION, "NEG") => Some(false),
            _ => None,
        };
        let present = reader.meaning(&interpretation, read);
        told.extend(present.map(|present| (present, interpretation.path)));
    }
    let Some((first, _)) = told.first() else {
        let text = format!(
            "must say whether the finding is there: {SNOMED} 52101004 (present) or 2667000 (absent)"
        );
        reader.refuse(node.below("valueCodeableConcept"), text);
        return false;
    };
    let first = *first;
    for (present, path) in told {
        if present != first {
            reader
                .refuse(path, "contradicts another element that says whether the finding is there");
        }
    }
    first
}

pub(super) fn one_side(reader: &mut Reader, sides: Vec<(Side, String)>) -> Option<Side> {
    let first = sides.first().map(|(side, _)| *side);
    for (side, path) in sides {
        if Some(side) != first {
            reader.refuse(path, "contradicts another element that gives the side; keep one");
        }
    }
    first
}

/// Returns how bad it is; what is not understood is left out.
pub(super) fn severity(reader: &mut Reader, concept: &Node<'_>) -> Option<Severity> {
    let read = |system: &str, code: &str| (system == SNOMED).then(|| Severity::of(code)).flatten();
    let what = format!("{SNOMED} {}", Severity::codes());
    understood(reader, concept, &what, |reader| reader.meaning(concept, read))
}

/// Returns what an own code means; what is not understood is left out.
pub(super) fn own_value<T: Copy + PartialEq>(
    reader: &mut Reader,
    concept: &Node<'_>,
    codes: &str,
    of: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let read = |system: &str, code: &str| (system == OWN).then(|| of(code)).flatten();
    let what = format!("{OWN} {codes}");
    understood(reader, concept, &what, |reader| reader.meaning(concept, read))
}

fn understood<T>(
    reader: &mut Reader,
    concept: &Node<'_>,
    what: &str,
    read: impl FnOnce(&mut Reader) -> Option<T>,
) -> Option<T> {
    let before = reader.notes.len();
    let value = reader.optional(read);
    if value.is_none() && reader.notes.len() == before {
        reader.leave_out(&concept.path, format!("needs one coding of {what}"));
    }
    value
}

/// Returns the sides that a body site names, by its codings and by extensions; one that is not understood
/// leaves the finding without a side.
pub(super) fn site_sides(reader: &mut Reader, site: &Node<'_>) -> Vec<(Side, String)> {
    let mut sides = Vec::new();
    let coded = reader.meaning(site, read_body_side);
    sides.extend(coded.map(|side| (side, site.path.clone())));
    sides.extend(extended_sides(reader, site));
    if sides.is_empty() {
        reader.leave_out(&site.path, "names no side that is known here; none is taken from it");
    }
    sides
}

/// Returns the side that several body sites name together: left and right are both.
pub(super) fn sites_side(reader: &mut Reader, sites: &[Node<'_>]) -> Option<(Side, String)> {
    let mut all: Option<(Side, String)> = None;
    for site in sites {
        let named = site_sides(reader, site);
        let Some(side) = one_side(reader, named) else { continue };
        all = Some(match all {
            Some((known, path)) if known == side => (known, path),
            Some((_, path)) => (Side::Midline, path),
            None => (side, site.path.clone()),
        });
    }
    all
}

/// Returns the sides that extensions of an element name.
pub(super) fn extended_sides(reader: &mut Reader, node: &Node<'_>) -> Vec<(Side, String)> {
    let mut sides = Vec::new();
    for url in SIDES {
        for extension in reader.optional(|reader| reader.extensions(node, url)) {
            let value = reader.optional(|reader| reader.object(&extension, "valueCodeableConcept"));
            let side = value.as_ref().and_then(|value| reader.meaning(value, read_body_side));
            match side {
                Some(side) => sides.push((side, extension.path)),
                None => reader.leave_out(extension.path, NO_SIDE),
            }
        }
    }
    sides
}
