//! Stories as bundles: what goes out comes back, and every reference leads somewhere.
//!
//! The bundles are left in `fhir` of cargo's folder for tests, where `cargo xtask test` has libraries of
//! others validate them (`tools/check_fhir.py`).

use std::{collections::BTreeSet, fs, path::Path};

use neurotriage_domain::Side;
use neurotriage_fhir::{
    NOTICE,
    bundle::{BYTES_MAX, ENTRIES_MAX},
    code::{
        ConsentScope, ContactSystem, Course, Handedness, Onset, Relationship, Reporter, Severity,
        Sex,
    },
    finding::{Finding, StoredNote, StoredReport, SymptomReport},
    import::{self, State},
    patient::{
        Address, Consent, ContactPerson, ContactPoint, MedicalRecordNumber, Patient, Position,
        StoredPatient,
    },
    story::{
        Assessment, Hospital, Lesion, Outcome, Referral, ReferralStatus, Region, Segmentation,
        Story, StoryTooLarge, Study, Verdict, Volumes,
    },
};
use serde_json::Value;
use time::{
    Duration, OffsetDateTime,
    macros::{date, datetime},
};
use uuid::Uuid;

const NOW: OffsetDateTime = datetime!(2026-11-26 15:00 UTC);

fn id(number: u128) -> Uuid {
    Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + number)
}

fn finding(code: &str, name: &str, side: Option<Side>, present: bool) -> Finding {
    let (code, display_name) = (code.to_owned(), name.to_owned());
    Finding { code, display_name, side, present, onset: None, course: None, severity: None }
}

fn number(issuer: &str, number: &str) -> MedicalRecordNumber {
    MedicalRecordNumber { issuer: issuer.to_owned(), number: number.to_owned() }
}

fn point(system: ContactSystem, value: &str) -> ContactPoint {
    ContactPoint { system, value: value.to_owned() }
}

/// A patient of whom everything is known.
fn patient() -> StoredPatient {
    let patient = Patient {
        numbers: vec![number("urn:oid:1.2.410.9", "7"), number("견본 병원 (fictional)", "가-7")],
        name: "한가람".to_owned(),
        birth_date: Some(date!(1990 - 02 - 28)),
        sex: Some(Sex::Female),
        handedness: Some(Handedness::Left),
        address: Some(Address {
            lines: vec!["견본로 1".to_owned(), "2층".to_owned()],
            city: "Sampleville".to_owned(),
            district: "Sampleshire".to_owned(),
            postal_code: "00000".to_owned(),
            country: "KR".to_owned(),
            position: Some(Position { latitude_degrees: 37.57, longitude_degrees: -126.98 }),
        }),
        contact_points: vec![
            point(ContactSystem::Phone, "+82 2 0000 0000"),
            point(ContactSystem::Email, "garam@patient.example"),
        ],
        contact_persons: Relationship::ALL
            .iter()
            .map(|relationship| ContactPerson {
                relationship: Some(*relationship),
                name: "Other \"Person\" & Co".to_owned(),
                contact_points: vec![point(ContactSystem::Phone, "119")],
            })
            .collect(),
        consents: vec![
            Consent {
                scope: ConsentScope::Analysis,
                given: true,
                decided_on: date!(2026 - 11 - 01),
            },
            Consent {
                scope: ConsentScope::Research,
                given: false,
                decided_on: date!(2026 - 11 - 02),
            },
        ],
        languages: vec!["ko".to_owned(), "en-GB".to_owned()],
    };
    StoredPatient {
        patient_id: id(1),
        revision: 3,
        updated_at: Some(NOW - Duration::hours(2)),
        merged: vec![id(2), id(3)],
        patient,
    }
}

/// Findings of every kind, one of them denied, the last two read from the text.
fn report() -> StoredReport {
    let mut findings = vec![
        Finding {
            onset: Some(Onset::Subacute),
            course: Some(Course::Worsening),
            severity: Some(Severity::Moderate),
            ..finding("HP:0001269", "hemiparesis", Some(Side::Right), true)
        },
        finding("HP:0001250", "seizure", None, false),
        finding("NT:SPATIAL_NEGLECT", "spatial neglect", Some(Side::Left), true),
        finding("HP:0002315", "headache", Some(Side::Midline), true),
    ];
    findings.extend(Onset::ALL.iter().zip(Course::ALL).map(|(onset, course)| Finding {
        onset: Some(*onset),
        course: Some(*course),
        ..finding(&format!("HP:00099{:02}", *onset as u8), "", None, true)
    }));
    let from_text = (0..findings.len()).map(|place| place == 2 || place == 3).collect();
    StoredReport {
        symptom_report_id: id(20),
        created_at: Some(NOW - Duration::hours(1)),
        report: SymptomReport {
            text: "오른팔에 힘이 빠져요.\n<script>alert(1)</script> & \"quotes\"".to_owned(),
            reporter: Some(Reporter::Patient),
            reported_at: Some(NOW - Duration::microseconds(3_600_000_001)),
            findings,
        },
        from_text,
        not_understood: vec!["<script>".to_owned()],
        lexicon_version: "2026.11".to_owned(),
    }
}

/// A report of somebody else: findings alone, of no known time.
fn bare_report() -> StoredReport {
    StoredReport {
        symptom_report_id: id(21),
        created_at: None,
        report: SymptomReport {
            reporter: Some(Reporter::Relative),
            findings: vec![finding("HP:0000741", "apathy", None, true)],
            ..SymptomReport::default()
        },
        from_text: vec![false],
        not_understood: Vec::new(),
        lexicon_version: String::new(),
    }
}

fn region(name: &str, display: &str, code: &str, side: Side) -> Region {
    Region {
        name: name.to_owned(),
        display_name: display.to_owned(),
        snomed_code: code.to_owned(),
        side: Some(side),
        volume_ml: 12.3456,
    }
}

fn lesion() -> Lesion {
    Lesion {
        volumes: Volumes {
            whole_ml: 30.1234,
            necrotic_core_ml: 5.0,
            oedema_ml: 15.0,
            enhancing_ml: 10.1234,
        },
        diameter_max_mm: 41.5,
        side: Some(Side::Left),
        main_region: "frontal_left".to_owned(),
        regions: vec![
            region("frontal_left", "left frontal lobe", "83251001", Side::Left),
            region("brain_stem", "brain stem", "15926001", Side::Midline),
            region("subthalamic_nucleus_left", "left subthalamic nucleus", "", Side::Left),
        ],
        confidence: Some(0.873),
    }
}

fn segmentation(number: u128, outcome: Outcome) -> Segmentation {
    Segmentation {
        segmentation_id: id(number),
        study_id: id(30),
        model_id: "default-2026-11".to_owned(),
        weights_sha256: "ab".repeat(32),
        created_at: Some(NOW - Duration::minutes(30)),
        outcome,
        outcome_reasons: Vec::new(),
        atlas: "atlas 3".to_owned(),
        lesions: vec![
            lesion(),
            Lesion { regions: Vec::new(), main_region: String::new(), ..lesion() },
        ],
    }
}

fn assessment(number: u128, segmentation: u128, verdict: Verdict) -> Assessment {
    Assessment {
        assessment_id: id(number),
        created_at: NOW - Duration::minutes(20),
        symptom_report_id: id(20),
        segmentation_id: id(segmentation),
        verdict,
        concordance: Some(0.71234),
        reasons: vec!["The findings point to the <left> frontal lobe.".to_owned()],
        urgent_signs: vec!["raised pressure".to_owned()],
        site: Some(("frontal_left".to_owned(), "left frontal lobe".to_owned(), Side::Left)),
        hospitals: vec!["Example & Sons (fictional)".to_owned()],
        evidence_version: "7".to_owned(),
        ranking_version: "2".to_owned(),
    }
}

fn referral(number: u128, status: ReferralStatus, hospital_id: &str) -> Referral {
    Referral {
        referral_id: id(number),
        status,
        state: "accepted".to_owned(),
        assessment_id: id(50),
        hospital_id: hospital_id.to_owned(),
        referrer_id: "clinic-1".to_owned(),
        created_at: NOW - Duration::minutes(10),
        scheduled_at: Some(NOW + Duration::days(3)),
        reason: "병상이 없음".to_owned(),
    }
}

/// A story with everything in it.
fn rich() -> Story {
    let statuses = [
        ReferralStatus::Draft,
        ReferralStatus::Active,
        ReferralStatus::Completed,
        ReferralStatus::Revoked,
    ];
    let unsure = Segmentation {
        outcome_reasons: vec!["confidence is low".to_owned()],
        ..segmentation(41, Outcome::NotSure)
    };
    Story {
        patient: patient(),
        reports: vec![report(), bare_report()],
        notes: vec![StoredNote {
            note_id: id(25),
            created_at: Some(NOW - Duration::days(1)),
            text: "Comes with <her> sister & an interpreter.".to_owned(),
        }],
        studies: vec![
            Study {
                study_id: id(30),
                accession: "BraTS-7".to_owned(),
                stored_at: Some(NOW - Duration::hours(3)),
                acquired_on: Some(date!(2026 - 11 - 20)),
                description: "MRI of the head".to_owned(),
                sequences: ["FLAIR", "T1", "T1ce", "T2"].map(str::to_owned).to_vec(),
            },
            // Linked, and its images are not kept here.
            Study { study_id: id(31), ..Study::default() },
        ],
        segmentations: vec![
            segmentation(40, Outcome::Tumour),
            unsure,
            segmentation(42, Outcome::Unsaid),
            Segmentation { lesions: Vec::new(), ..segmentation(43, Outcome::NoTumourFound) },
        ],
        assessments: [
            Verdict::Concordant,
            Verdict::PartlyConcordant,
            Verdict::Discordant,
            Verdict::InsufficientEvidence,
        ]
        .into_iter()
        .zip(0..)
        .map(|(verdict, place)| assessment(50 + place, 40 + place, verdict))
        .collect(),
        referrals: statuses
            .into_iter()
            .zip(60..)
            .map(|(status, number)| referral(number, status, "example-1"))
            .collect(),
        hospitals: vec![Hospital {
            hospital_id: "example-1".to_owned(),
            name: "견본 병원 (fictional)".to_owned(),
            city: "Sampleville".to_owned(),
            identifiers: vec![("urn:oid:1.2.410.100110".to_owned(), "11".to_owned())],
        }],
        software_version: "0.1.0".to_owned(),
    }
}

/// A patient of whom nothing is known but a number.
fn minimal() -> Story {
    let patient = Patient { numbers: vec![number("Sample Hospital", "1")], ..Patient::default() };
    let patient = StoredPatient { patient_id: id(1), patient, ..StoredPatient::default() };
    Story { patient, ..Story::default() }
}

/// A story whose parts were not asked for or are gone: what is left names what is not in the bundle.
fn absent() -> Story {
    Story {
        assessments: vec![Assessment {
            concordance: None,
            reasons: Vec::new(),
            urgent_signs: Vec::new(),
            site: None,
            hospitals: Vec::new(),
            ..assessment(50, 40, Verdict::InsufficientEvidence)
        }],
        segmentations: Vec::new(),
        studies: Vec::new(),
        reports: Vec::new(),
        notes: Vec::new(),
        hospitals: Vec::new(),
        ..rich()
    }
}

fn stories() -> [(&'static str, Story); 4] {
    let no_symptoms = Story {
        reports: vec![bare_report()],
        segmentations: vec![segmentation(40, Outcome::Tumour)],
        studies: Vec::new(),
        ..minimal()
    };
    [("rich", rich()), ("minimal", minimal()), ("absent", absent()), ("no-study", no_symptoms)]
}

/// Calls `visit` with every value below `value`, and its key.
fn walk<'a>(key: &'a str, value: &'a Value, visit: &mut impl FnMut(&str, &'a Value)) {
    visit(key, value);
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| walk(key, value, visit)),
        Value::Array(items) => items.iter().for_each(|item| walk(key, item, visit)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn bundles_keep_the_rules_of_fhir_json_and_are_left_for_validation() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("fhir");
    fs::create_dir_all(&folder).unwrap();
    for (name, story) in stories() {
        let text = story.bundle(NOW).unwrap();
        fs::write(folder.join(format!("story-{name}.json")), &text).unwrap();
        let bundle: Value = serde_json::from_str(&text).unwrap();
        let urls: Vec<&str> = bundle["entry"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| entry["fullUrl"].as_str().unwrap())
            .collect();
        let unique: BTreeSet<&str> = urls.iter().copied().collect();
        assert_eq!(urls.len(), unique.len(), "{name}");
        walk("", &bundle, &mut |key, value| {
            let is_empty = match value {
                Value::Null => true,
                Value::String(text) => text.is_empty(),
                Value::Array(items) => items.is_empty(),
                Value::Object(fields) => fields.is_empty(),
                Value::Bool(_) | Value::Number(_) => false,
            };
            assert!(!is_empty, "{name}: `{key}` is empty");
            if key == "reference" {
                assert!(unique.contains(value.as_str().unwrap()), "{name}: {value} leads nowhere");
            }
        });
    }
}

#[test]
fn what_goes_out_comes_back() {
    for (name, story) in stories() {
        let text = story.bundle(NOW).unwrap();
        let read = import::read(text.as_bytes(), NOW).unwrap();
        let refused: Vec<_> =
            read.entries.iter().filter(|entry| matches!(entry.state, State::Refused(..))).collect();
        assert!(refused.is_empty(), "{name}: {refused:?}");
        let noted: Vec<_> = read.entries.iter().flat_map(|entry| &entry.notes).collect();
        assert!(noted.is_empty(), "{name}: {noted:?}");
        assert_eq!(read.patients.len(), 1, "{name}");
        assert_eq!(read.patients[0].patient, story.patient.patient, "{name}");
        let reports: Vec<SymptomReport> =
            read.reports.into_iter().map(|report| report.report).collect();
        let sent: Vec<SymptomReport> = story
            .reports
            .iter()
            .map(|stored| {
                let mut report = stored.report.clone();
                // What software read from a text is read again where it comes in.
                let mut from_text =
                    stored.from_text.iter().map(|is| *is && !report.text.is_empty());
                report.findings.retain(|_| !from_text.next().unwrap_or_default());
                for finding in &mut report.findings {
                    // Without a name the code stands for it.
                    if finding.display_name.is_empty() {
                        finding.display_name.clone_from(&finding.code);
                    }
                }
                report
            })
            .collect();
        let to_compare = |report: &SymptomReport| SymptomReport {
            // Of a report that has no time, the time it was stored is all that is known.
            reported_at: report.reported_at,
            ..report.clone()
        };
        assert_eq!(
            reports.iter().map(to_compare).collect::<Vec<_>>(),
            sent.iter().map(to_compare).collect::<Vec<_>>(),
            "{name}"
        );
        let notes: Vec<String> = read.notes.into_iter().map(|note| note.text).collect();
        let sent: Vec<String> = story.notes.iter().map(|note| note.text.clone()).collect();
        assert_eq!(notes, sent, "{name}");
    }
}

#[test]
fn every_sex_name_and_code_comes_back() {
    let sexes = Sex::ALL.iter().copied().map(Some).chain([None]);
    let names = ["한가람", "Jane Smith", "남궁 민", "Иван Петров", ""];
    for (sex, name) in sexes.zip(names.iter().cycle()) {
        for code in ["HP:0001250", "NT:unilateral-headache"] {
            for side in [None, Some(Side::Left), Some(Side::Right), Some(Side::Midline)] {
                let mut story = minimal();
                story.patient.patient.sex = sex;
                story.patient.patient.name = (*name).to_owned();
                let mut stored = bare_report();
                stored.report.findings = vec![finding(code, "a name", side, side.is_none())];
                story.reports = vec![stored];
                let text = story.bundle(NOW).unwrap();
                let read = import::read(text.as_bytes(), NOW).unwrap();
                assert_eq!(read.patients[0].patient, story.patient.patient);
                assert_eq!(read.reports[0].report, story.reports[0].report);
            }
        }
    }
}

#[test]
fn what_is_derived_is_preliminary_and_says_what_it_is() {
    let bundle: Value = serde_json::from_str(&rich().bundle(NOW).unwrap()).unwrap();
    let mut seen = BTreeSet::new();
    for entry in bundle["entry"].as_array().unwrap() {
        let resource = &entry["resource"];
        let kind = resource["resourceType"].as_str().unwrap();
        seen.insert(kind);
        let is_derived = resource.get("device").is_some();
        match kind {
            "DiagnosticReport" => {
                assert_eq!(resource["status"], "preliminary");
                assert!(resource["conclusion"].as_str().unwrap().starts_with(NOTICE));
                assert!(resource["text"]["div"].as_str().unwrap().contains(NOTICE));
            }
            "Provenance" => {
                assert!(resource["text"]["div"].as_str().unwrap().contains(NOTICE));
            }
            "Observation" if is_derived => assert_eq!(resource["status"], "preliminary"),
            "Condition" => {
                let status = &resource["verificationStatus"]["coding"][0]["code"];
                assert_eq!(status, "unconfirmed");
                assert!(resource.to_string().contains(NOTICE));
            }
            _ => {}
        }
    }
    let expected = [
        "Condition",
        "Device",
        "DiagnosticReport",
        "ImagingStudy",
        "Observation",
        "Organization",
        "Patient",
        "Provenance",
        "ServiceRequest",
    ];
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), expected);
    let read_from_text = bundle["entry"]
        .as_array()
        .unwrap()
        .iter()
        .find(|entry| entry["resource"]["code"]["coding"][0]["code"] == "NT:SPATIAL_NEGLECT");
    assert_eq!(read_from_text.unwrap()["resource"]["status"], "preliminary");
}

#[test]
fn what_import_would_refuse_for_its_size_is_not_written() {
    let note = |number: u128, text: &str| StoredNote {
        note_id: id(1_000 + number),
        created_at: None,
        text: text.to_owned(),
    };
    let many: Vec<StoredNote> = (0..10_000).map(|number| note(number, "x")).collect();
    let error = Story { notes: many, ..minimal() }.bundle(NOW).unwrap_err();
    assert_eq!(error, StoryTooLarge { entries: ENTRIES_MAX + 1, bytes: 0 });
    let long = "x".repeat(20_000);
    let large: Vec<StoredNote> = (0..1_000).map(|number| note(number, &long)).collect();
    let error = Story { notes: large, ..minimal() }.bundle(NOW).unwrap_err();
    assert!(error.bytes > BYTES_MAX && error.entries == 1_001, "{error}");
}
