use proptest::prelude::*;
use time::macros::date;

use super::*;

const OLD: &str = "seal:a:STATE:AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";
const NEW: &str = "seal:b:active:ISIjJCUmJygpKissLS4vMDEyMzQ1Njc4OTo7PD0+P0A=";

fn before() -> Sealer {
    Sealer::new(&Keyring::parse(&OLD.replace("STATE", "active")).unwrap()).unwrap()
}

fn after() -> Sealer {
    let text = format!("{}\n{NEW}", OLD.replace("STATE", "retired"));
    Sealer::new(&Keyring::parse(&text).unwrap()).unwrap()
}

fn place() -> Place<'static> {
    Place { tenant: "north", table: "patient", column: "name", row: Uuid::from_u128(7) }
}

#[test]
fn what_is_sealed_opens() {
    let (sealer, place) = (before(), place());
    for text in ["", "김하나", &"x".repeat(CONTENT_BYTES_MAX)] {
        let sealed = sealer.seal_text(&place, text).unwrap();
        let stored = Sealed::parse(sealed.into_string()).unwrap();
        assert_eq!(sealer.open_text(&place, &stored).unwrap(), text);
    }
    for date in [date!(1960 - 02 - 29), Date::MIN, Date::MAX] {
        let sealed = sealer.seal_date(&place, date).unwrap();
        assert_eq!(sealer.open_date(&place, &sealed).unwrap(), date);
    }
    let value = vec![("seizure".to_owned(), 0.1)];
    let sealed = sealer.seal_json(&place, &value).unwrap();
    assert_eq!(sealer.open_json::<Vec<(String, f64)>>(&place, &sealed).unwrap(), value);
}

/// The value is that of `tools/sealing_vectors.py`.
#[test]
fn the_stored_form_is_fixed() {
    let sealer = before();
    let frame = frame(Content::Text, b"Sample").unwrap();
    let sealed = seal_with(sealer.keys.active(), &place(), &frame, [9; NONCE_BYTES]).unwrap();
    assert_eq!(
        sealed.as_str(),
        "v1.a.CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJLzM-tA0vscXevVkRB3n4AVlJqhu_Fk29zFh3YUpEQ8KRlq7Btx-2Mv9VcnqkNH3I"
    );
    assert_eq!(sealer.open_text(&place(), &sealed).unwrap(), "Sample");
}

#[test]
fn a_value_opens_in_its_place_only() {
    let (sealer, home) = (before(), place());
    let sealed = sealer.seal_text(&home, "Sample").unwrap();
    let moved = [
        Place { row: Uuid::from_u128(8), ..home },
        Place { tenant: "south", ..home },
        Place { column: "contact", ..home },
        Place { table: "symptom_report", ..home },
        Place { table: "patientn", column: "ame", ..home },
    ];
    for place in moved {
        let error = sealer.open_text(&place, &sealed).unwrap_err();
        assert!(matches!(error, SealError::Refused { .. }), "{place}: {error}");
    }
}

#[test]
fn a_value_is_of_one_kind() {
    let (sealer, place) = (before(), place());
    let text = sealer.seal_text(&place, "1960").unwrap();
    let error = sealer.open_date(&place, &text).unwrap_err();
    assert!(error.to_string().ends_with("holds no date"), "{error}");
    let error = sealer.open_json::<u32>(&place, &text).unwrap_err();
    assert!(error.to_string().ends_with("holds no json"), "{error}");
    let json = sealer.seal_json(&place, &"Sample").unwrap();
    let error = sealer.open_json::<u32>(&place, &json).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("Sample"), "{error:?}");
    assert!(sealer.open_text(&place, &json).is_err());
}

#[test]
fn values_of_short_texts_are_of_one_length() {
    let (sealer, place) = (before(), place());
    let length = |text: &str| sealer.seal_text(&place, text).unwrap().as_str().len();
    assert_eq!(length(""), length(&"x".repeat(27)));
    assert!(length("") < length(&"x".repeat(28)));
    let one = sealer.seal_text(&place, "Sample").unwrap();
    assert_ne!(one, sealer.seal_text(&place, "Sample").unwrap());
}

#[test]
fn rotation_reads_with_the_old_key_and_writes_with_the_new() {
    let (before, after, place) = (before(), after(), place());
    let old = before.seal_date(&place, date!(1960 - 02 - 29)).unwrap();
    assert!(!before.needs_rotation(&old) && after.needs_rotation(&old));
    let new = after.reseal(&place, &old).unwrap();
    assert!(!after.needs_rotation(&new));
    assert_eq!(after.open_date(&place, &new).unwrap(), date!(1960 - 02 - 29));
    let error = before.open_date(&place, &new).unwrap_err();
    assert!(matches!(error, SealError::UnknownKey { .. }), "{error}");
    let renamed = Sealed::parse(new.as_str().replace(".b.", ".a.")).unwrap();
    assert!(matches!(after.reseal(&place, &renamed).unwrap_err(), SealError::Refused { .. }));
}

#[test]
fn malformed_values_and_long_contents_are_refused() {
    let (sealer, place) = (before(), place());
    let table = [
        ("plain text", "Sample Person"),
        ("four parts", "v1.a.AAAA.AAAA"),
        ("other version", "v2.a.AAAA"),
        ("bad id", "v1.A.AAAA"),
        ("not base64", "v1.a.Sample!"),
        ("padding", "v1.a.AAA="),
        ("short", "v1.a.AAAA"),
        ("empty", "v1.a."),
    ];
    for (case, text) in table {
        let opened = Sealed::parse(text.to_owned())
            .and_then(|sealed| sealer.open_text(&place, &sealed))
            .unwrap_err();
        assert!(matches!(opened, SealError::Malformed { .. }), "case: {case}: {opened}");
        assert!(!opened.to_string().contains("Sample"), "case: {case}: {opened}");
    }
    assert!(Sealed::parse(format!("v1.a.{}", "A".repeat(TEXT_BYTES_MAX))).is_err());
    let long = "x".repeat(CONTENT_BYTES_MAX + 1);
    let error = sealer.seal_text(&place, &long).unwrap_err();
    assert!(matches!(error, SealError::TooLong { .. }), "{error}");
    let keys = std::collections::BTreeMap::from([(vec![1], 2)]);
    assert!(matches!(sealer.seal_json(&place, &keys).unwrap_err(), SealError::Unwritable));
}

#[test]
fn debug_shows_the_key_id_only() {
    let sealed = before().seal_text(&place(), "Sample").unwrap();
    assert_eq!(format!("{sealed:?}"), "Sealed(v1.a)");
}

proptest! {
    #[test]
    fn every_text_comes_back(text in ".{0,200}", row: u128) {
        let (sealer, place) = (before(), Place { row: Uuid::from_u128(row), ..place() });
        let sealed = sealer.seal_text(&place, &text).unwrap();
        prop_assert_eq!(sealer.open_text(&place, &sealed).unwrap(), text);
    }

    #[test]
    fn one_changed_bit_is_refused(text in ".{0,80}", at: prop::sample::Index, bit in 0..8_u32) {
        let (sealer, place) = (before(), place());
        let sealed = sealer.seal_text(&place, &text).unwrap();
        let raw = sealed.as_str().rsplit('.').next().unwrap();
        let mut raw = URL_SAFE_NO_PAD.decode(raw).unwrap();
        let at = at.index(raw.len());
        raw[at] ^= 1 << bit;
        let text = format!("v1.a.{}", URL_SAFE_NO_PAD.encode(raw));
        let altered = Sealed::parse(text).unwrap();
        let refused =
            matches!(sealer.open_text(&place, &altered), Err(SealError::Refused { .. }));
        prop_assert!(refused);
    }

    #[test]
    fn no_text_makes_it_panic(text in "(v1\\.a\\.)?[A-Za-z0-9_.-]{0,200}") {
        if let Ok(sealed) = Sealed::parse(text) {
            prop_assert!(before().open_text(&place(), &sealed).is_err());
        }
    }
}
