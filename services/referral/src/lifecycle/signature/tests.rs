use proptest::prelude::*;
use time::macros::datetime;

use super::*;

/// 1795687200 seconds after the epoch.
const NOW: OffsetDateTime = datetime!(2026-11-26 10:00 UTC);
const BODY: &[u8] = br#"{"version":1}"#;
const OLD: &str = "0123456789abcdef0123456789abcdef";
const NEW: &str = "fedcba9876543210fedcba9876543210";
/// HMAC-SHA256 with key `OLD` over `1795687200.{"version":1}`, computed by Python's hmac.
const KNOWN: &str = "f0d5610d0bff5012233acb853bb8234a14a3010ffec419c62ba0cb6bb460e3a9";

fn secrets(texts: &[&str]) -> Secrets {
    let texts: Vec<SecretString> = texts.iter().map(|text| SecretString::from(*text)).collect();
    Secrets::new(&texts).unwrap()
}

#[test]
fn the_mac_is_that_of_rfc_4231() {
    // Section 4: (test case, key, data, digest or its beginning). Case 5 is cut to 128 bits.
    let counting: Vec<u8> = (1..=25).collect();
    let long_data = b"This is a test using a larger than block-size key and a larger than \
        block-size data. The key needs to be hashed before being used by the HMAC algorithm.";
    let table: [(u8, &[u8], &[u8], &str); 7] = [
        (
            1,
            &[0x0b; 20],
            b"Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
        ),
        (
            2,
            b"Jefe",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        ),
        (
            3,
            &[0xaa; 20],
            &[0xdd; 50],
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
        ),
        (
            4,
            &counting,
            &[0xcd; 50],
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
        ),
        (5, &[0x0c; 20], b"Test With Truncation", "a3b6167473100ee06e0c796c2955552b"),
        (
            6,
            &[0xaa; 131],
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
        ),
        (
            7,
            &[0xaa; 131],
            long_data,
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
        ),
    ];
    for (case, key, data, digest) in table {
        let keyed = HmacSha256::new_from_slice(key).unwrap();
        let whole = keyed.clone().chain_update(data).finalize().into_bytes();
        assert!(hex::encode(whole).starts_with(digest), "case {case}");
        // Case 7 holds a full stop, so it goes through our own framing too.
        let Some(stop) = data.iter().position(|byte| *byte == b'.') else { continue };
        let before = std::str::from_utf8(&data[..stop]).unwrap();
        let framed = message(&keyed, before, &data[stop + 1..]).finalize().into_bytes();
        assert_eq!(hex::encode(framed), digest, "case {case}, framed");
    }
}

#[test]
fn the_header_is_what_another_program_computes() {
    assert_eq!(secrets(&[OLD]).sign(BODY, NOW), format!("t=1795687200,v1={KNOWN}"));
    let both = secrets(&[NEW, OLD]).sign(BODY, NOW);
    assert_eq!(both.matches("v1=").count(), 2);
    assert!(both.ends_with(KNOWN));
}

#[test]
fn secrets_change_without_a_moment_at_which_neither_holds() {
    let (old, both, new) = (secrets(&[OLD]), secrets(&[NEW, OLD]), secrets(&[NEW]));
    let third = secrets(&["another secret that nobody knows of"]);
    // (sender, receiver, whether it holds)
    let table = [
        ("before", &old, &old, true),
        ("receiver first", &old, &both, true),
        ("sender first", &both, &old, true),
        ("both", &both, &both, true),
        ("receiver done", &both, &new, true),
        ("after", &new, &new, true),
        ("changed at once", &old, &new, false),
        ("stranger", &third, &both, false),
    ];
    for (case, sender, receiver, holds) in table {
        let header = sender.sign(BODY, NOW);
        let answer = receiver.verify(&header, BODY, TOLERANCE_DEFAULT, NOW);
        let expected = if holds { Ok(NOW) } else { Err(SignatureError::Mismatch) };
        assert_eq!(answer, expected, "case: {case}");
    }
}

#[test]
fn tolerance_counts_in_both_directions() {
    let secrets = secrets(&[OLD]);
    let header = secrets.sign(BODY, NOW);
    for (seconds, holds) in [(0, true), (300, true), (301, false), (-300, true), (-301, false)] {
        let now = NOW + time::Duration::seconds(seconds);
        let answer = secrets.verify(&header, BODY, TOLERANCE_DEFAULT, now);
        let distance_seconds = seconds.unsigned_abs();
        let error = SignatureError::OutOfTolerance { distance_seconds, tolerance_seconds: 300 };
        assert_eq!(answer, if holds { Ok(NOW) } else { Err(error) }, "{seconds} s");
    }
}

#[test]
fn what_was_not_signed_does_not_match() {
    let secrets = secrets(&[OLD]);
    let forged = KNOWN.replace("f0d5", "f0d6");
    let table = [
        ("another body", format!("t=1795687200,v1={KNOWN}"), &b"{\"version\":2}"[..]),
        ("another time", format!("t=1795687201,v1={KNOWN}"), BODY),
        ("same time, written otherwise", format!("t=01795687200,v1={KNOWN}"), BODY),
        ("another signature", format!("t=1795687200,v1={forged}"), BODY),
        ("an old one that is forged", format!("t=1,v1={forged}"), BODY),
    ];
    for (case, header, body) in table {
        let answer = secrets.verify(&header, body, TOLERANCE_DEFAULT, NOW);
        assert_eq!(answer, Err(SignatureError::Mismatch), "case: {case}");
    }
}

#[test]
fn headers_of_another_form_are_refused_and_other_schemes_passed_over() {
    let secrets = secrets(&[OLD]);
    let many = format!("t=1795687200{}", format!(",v1={KNOWN}").repeat(SIGNATURES_MAX + 1));
    let long = format!("t=1795687200,v1={KNOWN},x={}", "y".repeat(HEADER_BYTES_MAX));
    // (header, what is wrong; empty if nothing)
    let table = [
        (format!("t=1795687200,v1={KNOWN}"), ""),
        (format!("v1={KNOWN}, t=1795687200"), ""),
        (format!("t=1795687200,v0=00,v1={KNOWN},v2=x=y"), ""),
        (format!("t=1795687200,v1={}", KNOWN.to_uppercase()), ""),
        (String::new(), "member without `=`"),
        (format!("t=1795687200,v1={KNOWN},"), "member without `=`"),
        ("t=1795687200".to_owned(), "no signature"),
        (format!("t=1795687200,v2={KNOWN}"), "no signature"),
        (format!("v1={KNOWN}"), "no timestamp"),
        (format!("t=1,t=1795687200,v1={KNOWN}"), "two timestamps"),
        (format!("t=,v1={KNOWN}"), "timestamp is not a number of seconds"),
        (format!("t=-1,v1={KNOWN}"), "timestamp is not a number of seconds"),
        (format!("t=+1795687200,v1={KNOWN}"), "timestamp is not a number of seconds"),
        (format!("t=1795687200000,v1={KNOWN}"), "timestamp is not a number of seconds"),
        (format!("t=999999999999,v1={KNOWN}"), "timestamp is out of range"),
        ("t=1795687200,v1=abc".to_owned(), "signature is not 64 hexadecimal digits"),
        (format!("t=1795687200,v1={KNOWN}00"), "signature is not 64 hexadecimal digits"),
        (many, "too many signatures"),
        (long, "too long"),
    ];
    for (header, what) in table {
        let answer = secrets.verify(&header, BODY, TOLERANCE_DEFAULT, NOW);
        if what.is_empty() {
            assert_eq!(answer, Ok(NOW), "{header}");
        } else {
            assert_eq!(answer, Err(SignatureError::Malformed { what }), "{header}");
        }
    }
}

#[test]
fn secrets_are_few_long_and_never_shown() {
    let text = |text: &str| SecretString::from(text);
    let short = "s".repeat(SECRET_BYTES_MIN - 1);
    let table = [
        ("none", vec![], InvalidSecrets::Count { count: 0 }),
        ("many", vec![text(OLD); SECRETS_MAX + 1], InvalidSecrets::Count { count: 4 }),
        ("short", vec![text(OLD), text(&short)], InvalidSecrets::TooShort { position: 2 }),
    ];
    for (case, secrets, error) in table {
        assert_eq!(Secrets::new(&secrets).unwrap_err(), error, "case: {case}");
        assert!(!error.to_string().contains(OLD));
    }
    assert_eq!(format!("{:?}", secrets(&[OLD, NEW])), "Secrets(2)");
}

proptest! {
    #[test]
    fn what_was_signed_verifies_and_one_changed_bit_does_not(
        body in prop::collection::vec(any::<u8>(), 0..300),
        seconds in 0..4_000_000_000_i64,
        bit in any::<prop::sample::Index>(),
    ) {
        let now = OffsetDateTime::from_unix_timestamp(seconds).unwrap();
        let secrets = secrets(&[NEW, OLD]);
        let header = secrets.sign(&body, now);
        prop_assert_eq!(secrets.verify(&header, &body, Duration::ZERO, now), Ok(now));
        let mut changed = body.clone();
        if changed.is_empty() {
            changed.push(0);
        } else {
            let bit = bit.index(changed.len() * 8);
            changed[bit / 8] ^= 1 << (bit % 8);
        }
        let answer = secrets.verify(&header, &changed, Duration::ZERO, now);
        prop_assert_eq!(answer, Err(SignatureError::Mismatch));
    }

    #[test]
    fn no_header_makes_it_panic(header in ".{0,200}") {
        prop_assert!(secrets(&[OLD]).verify(&header, BODY, TOLERANCE_DEFAULT, NOW).is_err());
    }
}
