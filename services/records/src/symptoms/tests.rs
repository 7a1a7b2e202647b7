//! What is accepted as symptoms, and how they are written down.

use neurotriage_domain::StudyId;
use time::macros::datetime;

use super::*;
use crate::{
    coding::{Course, Onset, Origin, Severity},
    entry::{Note, StudyLink},
};

const NOW: OffsetDateTime = datetime!(2026-11-22 12:00 UTC);

fn lexicon() -> Lexicon {
    Lexicon::built_in().unwrap()
}

/// A finding as a caller codes it.
fn finding(code: &str) -> Finding {
    Finding {
        finding_id: String::new(),
        code: code.to_owned(),
        display_name: "Sample finding".to_owned(),
        side: None,
        present: true,
        onset: None,
        course: None,
        severity: None,
        origin: Origin::Caller,
        matched_text: String::new(),
    }
}

fn draft(findings: Vec<Finding>) -> SymptomsDraft {
    SymptomsDraft { text: "headache".to_owned(), findings, ..SymptomsDraft::default() }
}

fn wrong(draft: SymptomsDraft) -> Vec<String> {
    let checked = ReportedSymptoms::check(draft, &lexicon(), NOW);
    checked.err().unwrap_or_default().into_iter().map(|violation| violation.field).collect()
}

#[test]
fn texts_and_times_keep_their_limits() {
    let text = |text: &str| SymptomsDraft { text: text.to_owned(), ..SymptomsDraft::default() };
    let at = |at| SymptomsDraft { reported_at: Some(at), ..text("headache") };
    let table: [(&str, SymptomsDraft, &[&str]); 14] = [
        ("a word", text("headache"), &[]),
        ("lines and tabs", text("두통\n\r\n\tworse"), &[]),
        ("longest", text(&"가".repeat(20_000)), &[]),
        ("too long", text(&"가".repeat(20_001)), &["text"]),
        ("empty", text(""), &["text"]),
        ("blank", text(" \n"), &["text"]),
        ("NUL", text("a\0b"), &["text"]),
        ("escape", text("a\u{1b}[2Jb"), &["text"]),
        ("C1 control", text("a\u{9b}b"), &["text"]),
        ("clock a little ahead", at(datetime!(2026-11-22 12:04 UTC)), &[]),
        ("ahead", at(datetime!(2026-11-22 12:06 UTC)), &["reported_at"]),
        ("a life ago", at(datetime!(1926-11-22 12:00 UTC)), &[]),
        ("before every life", at(datetime!(1880-01-01 0:00 UTC)), &["reported_at"]),
        (
            "findings alone",
            SymptomsDraft { text: String::new(), ..draft(vec![finding("HP:0002315")]) },
            &[],
        ),
    ];
    for (case, draft, expected) in table {
        assert_eq!(wrong(draft), expected, "case: {case}");
    }
}

#[test]
fn findings_keep_their_limits() {
    type Spoil = fn(&mut Finding);
    let table: [(&str, Spoil, &[&str]); 23] = [
        ("of the lexicon", |f| f.code = "HP:0002315".to_owned(), &[]),
        ("by its id", |f| (f.code, f.finding_id) = (String::new(), "headache".to_owned()), &[]),
        ("code that the lexicon lacks", |f| f.code = "HP:9999999".to_owned(), &[]),
        ("local code", |f| f.code = "NT:sample-1_a.b".to_owned(), &[]),
        ("longest local code", |f| f.code = format!("NT:{}", "a".repeat(64)), &[]),
        ("long local code", |f| f.code = format!("NT:{}", "a".repeat(65)), &["code"]),
        ("no code", |f| f.code.clear(), &["code"]),
        ("short HPO code", |f| f.code = "HP:000231".to_owned(), &["code"]),
        ("letters in an HPO code", |f| f.code = "HP:000231x".to_owned(), &["code"]),
        ("small letters", |f| f.code = "hp:0002315".to_owned(), &["code"]),
        ("nothing local", |f| f.code = "NT:".to_owned(), &["code"]),
        ("blank in a local code", |f| f.code = "NT:a b".to_owned(), &["code"]),
        ("of another terminology", |f| f.code = "SCT:25064002".to_owned(), &["code"]),
        ("unknown id", |f| f.finding_id = "nothing".to_owned(), &["finding_id"]),
        (
            "id and code of two findings",
            |f| (f.code, f.finding_id) = ("HP:0002315".to_owned(), "hemiparesis".to_owned()),
            &["finding_id"],
        ),
        ("no name", |f| f.display_name = " ".to_owned(), &["display_name"]),
        ("long name", |f| f.display_name = "가".repeat(129), &["display_name"]),
        ("two lines", |f| f.display_name = "a\nb".to_owned(), &["display_name"]),
        ("denied", |f| f.present = false, &[]),
        (
            "denied and severe",
            |f| (f.present, f.severity) = (false, Some(Severity::Severe)),
            &["present"],
        ),
        (
            "denied and sudden",
            |f| (f.present, f.onset) = (false, Some(Onset::Sudden)),
            &["present"],
        ),
        (
            "denied and better",
            |f| (f.present, f.course) = (false, Some(Course::Improving)),
            &["present"],
        ),
        (
            "everything",
            |f| {
                f.severity = Some(Severity::Mild);
                f.onset = Some(Onset::Gradual);
                f.course = Some(Course::Stable);
                f.side = Some(Side::Left);
            },
            &[],
        ),
    ];
    for (case, spoil, expected) in table {
        let mut spoilt = finding("NT:sample");
        spoil(&mut spoilt);
        let expected: Vec<String> =
            expected.iter().map(|field| format!("findings[1].{field}")).collect();
        let wrong = wrong(draft(vec![finding("NT:first"), spoilt]));
        assert_eq!(wrong, expected, "case: {case}");
    }
    let many = |count: u32| (0..count).map(|at| finding(&format!("HP:{at:07}"))).collect();
    assert!(wrong(draft(many(100))).is_empty());
    assert_eq!(wrong(draft(many(101))), ["findings"]);
}

#[test]
fn findings_do_not_contradict_each_other() {
    let on = |side: Option<Side>, present: bool| Finding { side, present, ..finding("NT:a") };
    let (left, right, both) = (Some(Side::Left), Some(Side::Right), Some(Side::Midline));
    let table: [(&str, Vec<Finding>, &[&str]); 12] = [
        ("two sides", vec![on(left, true), on(right, false)], &[]),
        ("two sides, the other way", vec![on(right, true), on(left, false)], &[]),
        ("a side and none", vec![on(left, true), on(None, true)], &[]),
        ("denied altogether", vec![on(left, true), on(None, false)], &["findings[1].present"]),
        ("present somewhere", vec![on(right, false), on(None, true)], &["findings[1].present"]),
        ("both sides denied", vec![on(left, true), on(both, false)], &["findings[1].present"]),
        ("both sides present", vec![on(right, false), on(both, true)], &["findings[1].present"]),
        (
            "against the first of several",
            vec![on(left, true), on(right, true), on(right, false), on(both, false)],
            &["findings[2].present", "findings[3].present"],
        ),
        ("twice", vec![on(left, true), on(left, true)], &["findings[1].code"]),
        ("both", vec![on(left, true), on(left, false)], &["findings[1].present"]),
        ("both, no side", vec![on(None, false), on(None, true)], &["findings[1].present"]),
        (
            "by id and by code",
            vec![
                finding("HP:0002315"),
                Finding { finding_id: "headache".to_owned(), present: false, ..finding("") },
            ],
            &["findings[1].present"],
        ),
    ];
    for (case, findings, expected) in table {
        assert_eq!(wrong(draft(findings)), expected, "case: {case}");
    }
    // What could not be read contradicts nothing.
    let unreadable = vec![violation("findings[1].present", "true or false")];
    let spoilt = draft(vec![on(None, false), on(None, true), on(None, true)]);
    let spoilt = wrong(SymptomsDraft { unreadable, ..spoilt });
    assert_eq!(spoilt, ["findings[1].present", "findings[2].present"]);
}

#[test]
fn the_lexicon_names_what_it_knows() {
    let sent = Finding { display_name: "my own word".to_owned(), ..finding("HP:0002315") };
    let own = Finding { display_name: " my own word ".to_owned(), ..finding("NT:own") };
    let checked = ReportedSymptoms::check(draft(vec![sent, own]), &lexicon(), NOW).unwrap();
    let [known, unknown] = checked.findings.as_slice() else { panic!("two findings") };
    assert_eq!(known.finding_id, "headache");
    assert_ne!(known.display_name, "my own word");
    assert_eq!((unknown.finding_id.as_str(), unknown.display_name.as_str()), ("", "my own word"));
}

#[test]
fn what_the_caller_coded_wins() {
    let read = |side, present| Finding {
        side,
        present,
        origin: Origin::Text,
        matched_text: "as written".to_owned(),
        ..finding("NT:a")
    };
    let said = Finding { side: Some(Side::Left), present: false, ..finding("NT:a") };
    let checked = ReportedSymptoms::check(draft(vec![said.clone()]), &lexicon(), NOW).unwrap();
    let coded = Coded {
        findings: vec![
            read(Some(Side::Left), true),
            read(None, true),
            read(Some(Side::Right), true),
            Finding { code: "NT:b".to_owned(), ..read(None, true) },
        ],
        not_understood: vec!["Purple".to_owned()],
    };
    let symptoms = checked.coded(coded, "7".to_owned(), NOW);
    let kept: Vec<(&str, Option<Side>)> =
        symptoms.findings.iter().map(|finding| (finding.code.as_str(), finding.side)).collect();
    let (left, right) = (Some(Side::Left), Some(Side::Right));
    assert_eq!(kept, [("NT:a", left), ("NT:a", right), ("NT:b", None)]);
    // What the caller denies altogether is not read on a side.
    let denied = Finding { present: false, ..finding("NT:a") };
    let checked = ReportedSymptoms::check(draft(vec![denied]), &lexicon(), NOW).unwrap();
    let coded = Coded { findings: vec![read(right, true)], not_understood: Vec::new() };
    assert_eq!(checked.coded(coded, "7".to_owned(), NOW).findings.len(), 1);
    assert!(symptoms.findings[0] == said);
    assert_eq!(symptoms.reported_at, NOW);
    assert_eq!((symptoms.not_understood.len(), symptoms.lexicon_version.as_str()), (1, "7"));
    // Found by what is present, each code once.
    assert_eq!(symptoms.search_keys().len(), 2);
}

/// As it was sealed first: what is sealed today opens tomorrow.
const STORED: &str = r#"{"text":"left arm weak","reporter":"clinician","reported_at":"2026-11-22T12:00:00Z","findings":[{"finding_id":"","code":"NT:a","display_name":"Sample finding","side":"left","present":true,"onset":"sudden","course":"worsening","severity":"severe","origin":"caller","matched_text":""}],"not_understood":["Purple"],"lexicon_version":"7"}"#;
/// Before findings had more than a side.
const STORED_BEFORE: &str = r#"{"text":"left arm weak","reporter":"clinician","reported_at":"2026-11-22T12:00:00Z","findings":[{"finding_id":"","code":"NT:a","display_name":"Sample finding","side":"left","present":true,"matched_text":""}],"not_understood":["Purple"],"lexicon_version":"7"}"#;
const STORED_LINK: &str = r#"{"study_id":"0190aaaa-bbbb-7ccc-8ddd-eeeeffffaaaa","acquired_on":"2026-11-20","description":"Head"}"#;
const STORED_NOTE: &str = r#"{"text":"seen today"}"#;

fn symptoms() -> Symptoms {
    Symptoms {
        text: "left arm weak".to_owned(),
        reporter: Reporter::Clinician,
        reported_at: NOW,
        findings: vec![Finding {
            side: Some(Side::Left),
            onset: Some(Onset::Sudden),
            course: Some(Course::Worsening),
            severity: Some(Severity::Severe),
            ..finding("NT:a")
        }],
        not_understood: vec!["Purple".to_owned()],
        lexicon_version: "7".to_owned(),
    }
}

#[test]
fn what_was_sealed_opens() {
    let read: Symptoms = serde_json::from_str(STORED).unwrap();
    assert!(read == symptoms());
    assert_eq!(serde_json::to_string(&symptoms()).unwrap(), STORED);

    let before: Symptoms = serde_json::from_str(STORED_BEFORE).unwrap();
    let finding = &before.findings[0];
    assert_eq!((finding.onset, finding.severity, finding.origin), (None, None, Origin::Text));

    let study_id: StudyId = "0190aaaa-bbbb-7ccc-8ddd-eeeeffffaaaa".parse().unwrap();
    let link: StudyLink = serde_json::from_str(STORED_LINK).unwrap();
    assert_eq!((link.study_id, link.description.as_str()), (study_id, "Head"));
    assert_eq!(serde_json::to_string(&link).unwrap(), STORED_LINK);
    let note: Note = serde_json::from_str(STORED_NOTE).unwrap();
    assert_eq!(serde_json::to_string(&note).unwrap(), STORED_NOTE);
}

#[test]
fn debug_shows_no_symptoms() {
    let draft = SymptomsDraft { text: "left arm weak".to_owned(), ..draft(symptoms().findings) };
    let reported = ReportedSymptoms::check(draft.clone(), &lexicon(), NOW).unwrap();
    let shown = format!("{draft:?} {reported:?} {:?} {:?}", symptoms(), symptoms().search_keys());
    for secret in ["weak", "Sample", "NT:a", "Purple", "evere"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
}
