//! Where patients live, how they are reached, and whom else to reach. Nobody is refused for these.

use neurotriage_domain::{CONTACT_CHARS, is_email_address, is_phone_number};
use time::Date;

use super::{PART_CHARS_MAX, is_over, line, name};
use crate::{
    code::{ContactSystem, GEOLOCATION, ROLE, Relationship},
    patient::{Address, ContactPerson, ContactPoint, Position},
    reader::{Node, Reader},
};

/// Most contact points and persons; the further ones are left out.
const CONTACTS_MAX: usize = 8;
/// Most lines of an address; the further ones are left out.
const LINES_MAX: usize = 4;
/// Longest postal code, in characters.
const POSTAL_CODE_CHARS_MAX: usize = 16;

/// The first address that is not of the past.
pub(super) fn address(reader: &mut Reader, node: &Node<'_>, today: Date) -> Option<Address> {
    let is_old = |address: &Node<'_>| {
        matches!(address.peek("use"), Some("old" | "billing")) || is_over(address, today)
    };
    let all = reader.optional(|reader| reader.objects(node, "address"));
    let found = all.into_iter().find(|address| !is_old(address))?;
    let mut part = |name: &str, chars_max: usize| {
        reader.optional(|reader| line(reader, &found, name, chars_max)).unwrap_or_default()
    };
    let city = part("city", PART_CHARS_MAX);
    let district = part("state", PART_CHARS_MAX);
    let postal_code = part("postalCode", POSTAL_CODE_CHARS_MAX);
    let mut country = part("country", PART_CHARS_MAX);
    let is_code = country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_uppercase());
    if !country.is_empty() && !is_code {
        let text = "is not the two capital letters of ISO 3166-1, such as KR";
        reader.leave_out(found.below("country"), text);
        country = String::new();
    }
    let lines = lines(reader, &found, city.is_empty());
    let position = reader.optional(|reader| position(reader, &found));
    let address = Address { lines, city, district, postal_code, country, position };
    (address != Address::default()).then_some(address)
}

/// Returns the lines; the text as a whole if an address has nothing else.
fn lines(reader: &mut Reader, address: &Node<'_>, is_bare: bool) -> Vec<String> {
    let mut lines: Vec<String> = reader.optional(|reader| {
        let items = reader.items(address, "line");
        let read = |item: &Node<'_>| reader.as_text(item, PART_CHARS_MAX).map(super::on_one_line);
        items.iter().filter_map(read).collect()
    });
    if lines.len() > LINES_MAX {
        reader.leave_out(address.below("line"), format!("at most {LINES_MAX} lines are kept"));
        lines.truncate(LINES_MAX);
    }
    if lines.is_empty() && is_bare {
        lines.extend(reader.optional(|reader| line(reader, address, "text", PART_CHARS_MAX)));
    }
    lines
}

fn position(reader: &mut Reader, address: &Node<'_>) -> Option<Position> {
    let extension = reader.extensions(address, GEOLOCATION).into_iter().next()?;
    let mut degrees = |url: &str, limit: f64| {
        let found = reader.extensions(&extension, url).into_iter().next();
        let value = found.and_then(|found| reader.number(&found, "valueDecimal", (-limit, limit)));
        if value.is_none() {
            let text = format!("needs {url} with valueDecimal, from {} to {limit}", -limit);
            reader.refuse(&extension.path, text);
        }
        value
    };
    let latitude = degrees("latitude", 90.0);
    let longitude = degrees("longitude", 180.0);
    Some(Position { latitude_degrees: latitude?, longitude_degrees: longitude? })
}

/// Telephone and e-mail; other ways to reach somebody are not kept.
pub(super) fn points(reader: &mut Reader, node: &Node<'_>, today: Date) -> Vec<ContactPoint> {
    let mut points = Vec::new();
    for point in reader.optional(|reader| reader.objects(node, "telecom")) {
        if point.peek("use") == Some("old") || is_over(&point, today) {
            continue;
        }
        points.extend(reader.optional(|reader| self::point(reader, &point)));
    }
    if points.len() > CONTACTS_MAX {
        reader.leave_out(node.below("telecom"), format!("at most {CONTACTS_MAX} are kept"));
        points.truncate(CONTACTS_MAX);
    }
    points
}

fn point(reader: &mut Reader, point: &Node<'_>) -> Option<ContactPoint> {
    let system = match reader.code(point, "system") {
        Some("sms") => ContactSystem::Phone,
        Some("fax" | "pager" | "url" | "other") => {
            reader.refuse(point.below("system"), "is neither phone nor email");
            return None;
        }
        Some(code) => match ContactSystem::of(code) {
            Some(system) => system,
            None => {
                let text = "must be one of FHIR's contact-point-system";
                reader.refuse(point.below("system"), text);
                return None;
            }
        },
        None => {
            reader.refuse(point.below("system"), "is missing; write phone or email");
            return None;
        }
    };
    let value = line(reader, point, "value", *CONTACT_CHARS.end())?;
    let (scheme, is_one): (_, fn(&str) -> bool) = match system {
        ContactSystem::Phone => ("tel:", is_phone_number),
        ContactSystem::Email => ("mailto:", is_email_address),
    };
    let value = value.strip_prefix(scheme).unwrap_or(&value);
    if !CONTACT_CHARS.contains(&value.chars().count()) || !is_one(value) {
        let text = "is no telephone number or e-mail address, as its system says";
        reader.refuse(point.below("value"), text);
        return None;
    }
    Some(ContactPoint { system, value: value.to_owned() })
}

pub(super) fn persons(reader: &mut Reader, node: &Node<'_>, today: Date) -> Vec<ContactPerson> {
    let mut persons = Vec::new();
    for contact in reader.optional(|reader| reader.objects(node, "contact")) {
        if is_over(&contact, today) {
            continue;
        }
        if contact.value.get("modifierExtension").is_some() {
            reader.optional(|reader| reader.check_modifiers(&contact));
            continue;
        }
        let relationship = relationship(reader, &contact);
        let name = reader.optional(|reader| reader.object(&contact, "name"));
        let name = name.map(|name| name::of_element(reader, &name).0).unwrap_or_default();
        let contact_points = points(reader, &contact, today);
        if name.is_empty() || contact_points.is_empty() {
            let text = "needs a name, and a telephone number or e-mail address";
            reader.leave_out(contact.path, text);
            continue;
        }
        persons.push(ContactPerson { relationship, name, contact_points });
    }
    if persons.len() > CONTACTS_MAX {
        reader.leave_out(node.below("contact"), format!("at most {CONTACTS_MAX} are kept"));
        persons.truncate(CONTACTS_MAX);
    }
    persons
}

fn relationship(reader: &mut Reader, contact: &Node<'_>) -> Option<Relationship> {
    let concepts = reader.optional(|reader| reader.objects(contact, "relationship"));
    let read =
        |system: &str, code: &str| (system == ROLE).then(|| Relationship::of_role(code)).flatten();
    let found =
        concepts.iter().find_map(|concept| reader.optional(|reader| reader.meaning(concept, read)));
    if found.is_none() && !concepts.is_empty() {
        let text = format!("needs a coding of {ROLE} that is known here");
        reader.leave_out(contact.below("relationship"), text);
    }
    found
}
