//! What is known of two patients who are one.

use neurotriage_sealing::Normal;

use super::{
    Address, CONTACT_PERSONS_MAX, CONTACT_POINTS_MAX, Consent, ContactPerson, ContactPoint,
    ContactSystem, Handedness, PatientDetails, Sex,
};

impl PatientDetails {
    /// Takes over what `other` has and these details lack. Where both say something that differs, these
    /// stay. There may be more numbers afterwards than a patient may have.
    pub fn take_over(&mut self, other: Self) {
        for number in other.medical_record_numbers {
            if !self.medical_record_numbers.iter().any(|own| own.is_same(&number)) {
                self.medical_record_numbers.push(number);
            }
        }
        if self.name.is_empty() {
            self.name = other.name;
        }
        self.birth_date = self.birth_date.or(other.birth_date);
        self.sex = match (self.sex, other.sex) {
            // Not known says more than not asked, and less than anything else.
            (Sex::Unspecified, theirs) => theirs,
            (Sex::Unknown, theirs @ (Sex::Female | Sex::Male | Sex::Other)) => theirs,
            (own, _) => own,
        };
        if self.handedness == Handedness::Unspecified {
            self.handedness = other.handedness;
        }
        if self.address.as_ref().is_none_or(|own| *own == Address::default()) {
            self.address = other.address.or_else(|| self.address.take());
        }
        if self.languages.is_empty() {
            self.languages = other.languages;
        }
        add_points(&mut self.contact_points, other.contact_points);
        add_persons(&mut self.contact_persons, other.contact_persons);
        for consent in other.consents {
            add_consent(&mut self.consents, consent);
        }
    }
}

fn add_points(points: &mut Vec<ContactPoint>, others: Vec<ContactPoint>) {
    for point in others {
        if points.len() < CONTACT_POINTS_MAX && !points.iter().any(|own| is_same(own, &point)) {
            points.push(point);
        }
    }
}

/// Whether both reach the same: how a number is punctuated does not count.
fn is_same(one: &ContactPoint, other: &ContactPoint) -> bool {
    let normal = match one.system {
        ContactSystem::Phone => Normal::Phone,
        ContactSystem::Email => Normal::Text,
    };
    one.system == other.system && *normal.apply(&one.value) == *normal.apply(&other.value)
}

/// Somebody of one name who is the same to the patient is one person, reached by what both say.
fn add_persons(persons: &mut Vec<ContactPerson>, others: Vec<ContactPerson>) {
    for person in others {
        let is_same = |own: &ContactPerson| {
            own.relationship == person.relationship
                && *Normal::Text.apply(&own.name) == *Normal::Text.apply(&person.name)
        };
        if let Some(own) = persons.iter_mut().find(|own| is_same(own)) {
            add_points(&mut own.contact_points, person.contact_points);
        } else if persons.len() < CONTACT_PERSONS_MAX {
            persons.push(person);
        }
    }
}

/// The later decision counts; of two on one day the refusal, which is the careful one.
fn add_consent(consents: &mut Vec<Consent>, other: Consent) {
    let Some(own) = consents.iter_mut().find(|own| own.scope == other.scope) else {
        consents.push(other);
        return;
    };
    let is_refusal_of_that_day = other.decided_on == own.decided_on && !other.given;
    if other.decided_on > own.decided_on || is_refusal_of_that_day {
        *own = other;
    }
}

#[cfg(test)]
mod tests {
    use time::{Date, macros::date};

    use super::*;
    use crate::patient::{ConsentScope, MedicalRecordNumber, Relationship};

    fn number(number: &str) -> MedicalRecordNumber {
        MedicalRecordNumber { issuer: "Sample Hospital".to_owned(), number: number.to_owned() }
    }

    fn phone(value: &str) -> ContactPoint {
        ContactPoint { system: ContactSystem::Phone, value: value.to_owned() }
    }

    fn person(name: &str, points: &[&str]) -> ContactPerson {
        let contact_points = points.iter().map(|value| phone(value)).collect();
        ContactPerson { relationship: Relationship::Child, name: name.to_owned(), contact_points }
    }

    fn consent(given: bool, decided_on: Date) -> Consent {
        Consent { scope: ConsentScope::Sharing, given, decided_on }
    }

    fn known() -> PatientDetails {
        PatientDetails {
            medical_record_numbers: vec![number("1")],
            name: "Ada Sample".to_owned(),
            birth_date: Some(date!(1960 - 02 - 29)),
            sex: Sex::Female,
            handedness: Handedness::Left,
            address: Some(Address { city: "Sampletown".to_owned(), ..Address::default() }),
            contact_points: vec![phone("+82 2 0000 0000")],
            contact_persons: vec![person("Duri Sample", &["+82 2 0000 0001"])],
            consents: vec![consent(true, date!(2026 - 01 - 02))],
            languages: vec!["ko".to_owned()],
        }
    }

    #[test]
    fn what_is_lacking_is_taken_over() {
        let mut own = PatientDetails {
            medical_record_numbers: vec![number("2")],
            address: Some(Address::default()),
            ..PatientDetails::default()
        };
        own.take_over(known());
        let numbers = vec![number("2"), number("1")];
        assert!(own == PatientDetails { medical_record_numbers: numbers, ..known() });
    }

    #[test]
    fn what_both_have_stays() {
        let mut own = known();
        own.take_over(PatientDetails {
            name: "Adah Sampel".to_owned(),
            birth_date: Some(date!(1961 - 02 - 28)),
            sex: Sex::Male,
            handedness: Handedness::Right,
            address: Some(Address { city: "Elsewhere".to_owned(), ..Address::default() }),
            languages: vec!["en".to_owned()],
            ..known()
        });
        assert!(own == known());
        own.take_over(PatientDetails::default());
        assert!(own == known());
    }

    #[test]
    fn a_sex_that_is_known_is_more_than_unknown() {
        let table = [
            (Sex::Unspecified, Sex::Unknown, Sex::Unknown),
            (Sex::Unknown, Sex::Unspecified, Sex::Unknown),
            (Sex::Unknown, Sex::Other, Sex::Other),
            (Sex::Other, Sex::Unknown, Sex::Other),
            (Sex::Female, Sex::Male, Sex::Female),
        ];
        for (own, theirs, expected) in table {
            let mut details = PatientDetails { sex: own, ..known() };
            details.take_over(PatientDetails { sex: theirs, ..known() });
            assert_eq!(details.sex, expected, "{own:?} and {theirs:?}");
        }
    }

    #[test]
    fn contacts_are_those_of_both_up_to_the_limits() {
        let mut own = known();
        own.take_over(PatientDetails {
            contact_points: vec![phone("+82-2-0000-0000"), phone("119")],
            contact_persons: vec![
                person("DURI sample", &["+82 2 0000 0001", "112"]),
                person("Set Sample", &["113"]),
            ],
            ..known()
        });
        assert!(own.contact_points == [phone("+82 2 0000 0000"), phone("119")]);
        let duri = person("Duri Sample", &["+82 2 0000 0001", "112"]);
        assert!(own.contact_persons == [duri, person("Set Sample", &["113"])]);

        let many = |from: usize| PatientDetails {
            contact_points: (from..from + 6).map(|at| phone(&format!("100{at}"))).collect(),
            contact_persons: (from..from + 6)
                .map(|at| person(&format!("N{at}"), &["110"]))
                .collect(),
            ..known()
        };
        let mut own = many(0);
        own.take_over(many(6));
        assert_eq!((own.contact_points.len(), own.contact_persons.len()), (8, 8));
        assert!(own.contact_points[..6] == many(0).contact_points[..]);
    }

    #[test]
    fn of_two_consents_the_later_counts_and_then_the_refusal() {
        let (early, late) = (date!(2026 - 01 - 02), date!(2026 - 03 - 04));
        let table = [
            ("later refusal", (true, early), (false, late), (false, late)),
            ("later consent", (false, early), (true, late), (true, late)),
            ("own is later", (true, late), (false, early), (true, late)),
            ("one day", (true, early), (false, early), (false, early)),
            ("one day, own refusal", (false, early), (true, early), (false, early)),
        ];
        for (case, own, theirs, expected) in table {
            let of = |(given, day)| vec![consent(given, day)];
            let mut details = PatientDetails { consents: of(own), ..known() };
            details.take_over(PatientDetails { consents: of(theirs), ..known() });
            assert!(details.consents == of(expected), "case: {case}");
        }
        let research = Consent { scope: ConsentScope::Research, ..consent(true, early) };
        let mut details = known();
        details.take_over(PatientDetails { consents: vec![research.clone()], ..known() });
        assert!(details.consents == [consent(true, early), research]);
    }
}
