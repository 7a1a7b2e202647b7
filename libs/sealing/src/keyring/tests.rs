use super::*;

fn secret(seed: u8) -> String {
    let bytes: Vec<u8> = (0..32).map(|index| seed.wrapping_mul(37).wrapping_add(index)).collect();
    SECRET.encode(bytes)
}

fn entry(start: &str, seed: u8) -> String {
    format!("{start}:{}", secret(seed))
}

fn wrong(text: &str) -> KeyringError {
    Keyring::parse(text).unwrap_err()
}

#[test]
fn keys_are_read_by_use_and_state() {
    let text = format!(
        "# keys of a sample deployment\n{}  # older\n\n{},{}\r\n",
        entry("seal:a:retired", 1),
        entry("seal:b:active", 2),
        entry(" index : c : active ", 3),
    );
    let keyring = Keyring::parse(&text).unwrap();
    let seal = keyring.keys(KeyUse::Seal).unwrap();
    assert_eq!(seal.active().id().as_str(), "b");
    assert_eq!(seal.find("a").unwrap().secret()[0], 37);
    assert!(seal.find("c").is_none());
    assert_eq!(keyring.keys(KeyUse::Index).unwrap().all().count(), 1);
    let missing = keyring.keys(KeyUse::Audit).unwrap_err();
    assert_eq!(missing.to_string(), "keyring has no active audit key");
}

#[test]
fn each_fault_of_an_entry_is_named_without_the_entry() {
    let table = [
        ("three parts", format!("seal:a:{}", secret(1)), Problem::Parts),
        ("unknown use", entry("sign:a:active", 1), Problem::Use),
        ("capital in the id", entry("seal:A:active", 1), Problem::Id),
        ("no id", entry("seal::active", 1), Problem::Id),
        ("dot in the id", entry("seal:a.b:active", 1), Problem::Id),
        ("unknown state", entry("seal:a:old", 1), Problem::State),
        ("not base64", "seal:a:active:hunter2!".to_owned(), Problem::Base64),
        ("no secret", "seal:a:active:".to_owned(), Problem::Length { bytes: 0 }),
        (
            "half a secret",
            format!("seal:a:active:{}", SECRET.encode([1; 16])),
            Problem::Length { bytes: 16 },
        ),
        ("zeros", format!("seal:a:active:{}", SECRET.encode([0; 32])), Problem::Weak),
    ];
    for (case, text, expected) in table {
        let good = entry("index:i:active", 9);
        let error = wrong(&format!("{good}\n{text}"));
        let KeyringError::Entry { entry: 2, problem } = &error else {
            panic!("case: {case}: {error}");
        };
        assert_eq!(*problem, expected, "case: {case}");
        let shown = format!("{error} {error:?}");
        for part in text.split(':').filter(|part| part.len() > 6) {
            assert!(!shown.contains(part), "case: {case}: {shown}");
        }
    }
}

#[test]
fn names_secrets_and_active_keys_are_single() {
    let two = |one: String, other: String| wrong(&format!("{one}\n{other}"));
    let error = two(entry("seal:a:active", 1), entry("seal:a:retired", 2));
    assert!(matches!(error, KeyringError::SameId { key_use: KeyUse::Seal, .. }), "{error}");
    let error = two(entry("seal:a:active", 1), entry("index:b:active", 1));
    assert!(matches!(error, KeyringError::SameSecret { key_use: KeyUse::Index, .. }), "{error}");
    let error = two(entry("seal:a:active", 1), entry("seal:b:active", 2));
    assert_eq!(error.to_string(), "seal keys a and b are both active; retire one");
    let error = wrong(&entry("audit:a:retired", 1));
    assert!(matches!(error, KeyringError::NoActive { key_use: KeyUse::Audit }), "{error}");
    Keyring::parse(&[entry("seal:a:active", 1), entry("index:a:active", 2)].join(",")).unwrap();
}

#[test]
fn empty_and_overlong_keyrings_are_refused() {
    assert!(matches!(wrong(" \n# nothing\n,,"), KeyringError::Empty));
    assert!(matches!(wrong(&"#".repeat(KEYRING_BYTES_MAX + 1)), KeyringError::TooLong));
    let many: Vec<String> =
        (0..=KEYS_MAX).map(|index| entry(&format!("seal:k{index}:retired"), index as u8)).collect();
    assert!(matches!(wrong(&many.join("\n")), KeyringError::TooMany));
}

#[test]
fn a_fresh_line_is_read_back_and_never_the_same() {
    let id = KeyId::parse("2026-11").unwrap();
    let line = Keyring::new_line(KeyUse::Seal, &id).unwrap();
    let keyring = Keyring::parse(&line).unwrap();
    assert_eq!(keyring.keys(KeyUse::Seal).unwrap().active().id(), &id);
    assert_ne!(line, Keyring::new_line(KeyUse::Seal, &id).unwrap());
}

#[test]
fn debug_shows_names_only() {
    let keyring = Keyring::parse(&entry("seal:a:active", 1)).unwrap();
    let shown = format!("{keyring:?}");
    assert!(shown.contains("Key(a)"), "{shown}");
    assert!(!shown.contains(&secret(1)) && !shown.contains("37, 38"), "{shown}");
}

#[cfg(unix)]
#[test]
fn a_file_that_others_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    std::fs::write(&path, entry("seal:a:active", 1)).unwrap();
    for (mode, warnings) in
        [(0o400, vec![]), (0o440, vec![]), (0o604, vec![Warning::OpenToOthers { mode: 0o604 }])]
    {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(Keyring::read(&path).unwrap().1, warnings, "{mode:o}");
    }
    let missing = Keyring::read(&folder.path().join("none")).unwrap_err();
    assert!(matches!(missing, KeyringError::Read(_)));
    std::fs::write(&path, "#".repeat(KEYRING_BYTES_MAX + 9)).unwrap();
    assert!(matches!(Keyring::read(&path).unwrap_err(), KeyringError::TooLong));
}

#[test]
fn a_fresh_keyring_serves_every_use() {
    let id = KeyId::parse("2026-11").unwrap();
    let (one, other) = (Keyring::generate(&id).unwrap(), Keyring::generate(&id).unwrap());
    assert_ne!(*one, *other);
    let keyring = Keyring::parse(&one).unwrap();
    for key_use in [KeyUse::Seal, KeyUse::Index, KeyUse::Audit] {
        assert_eq!(keyring.keys(key_use).unwrap().active().id(), &id);
    }
}
