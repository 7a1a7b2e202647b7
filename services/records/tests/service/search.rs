//! Patients searched for, in SQLite and PostgreSQL.

use neurotriage_migrations::records::Migrator;
use neurotriage_proto::records::v1::{MedicalRecordNumber, Patient, SearchPatientsRequest};
use neurotriage_testkit::databases;
use tonic::Status;

use crate::harness::{Harness, fields, named, number, patient, start};

fn by_name(text: &str) -> SearchPatientsRequest {
    SearchPatientsRequest { name_prefix: text.to_owned(), ..Default::default() }
}

fn by_number(issuer: &str, number: &str) -> SearchPatientsRequest {
    let number = MedicalRecordNumber { issuer: issuer.to_owned(), number: number.to_owned() };
    SearchPatientsRequest { medical_record_number: Some(number), ..Default::default() }
}

fn by_birth(date: &str) -> SearchPatientsRequest {
    SearchPatientsRequest { birth_date: date.to_owned(), ..Default::default() }
}

async fn create_all(harness: &mut Harness, names: &[&str]) -> Result<Vec<String>, Status> {
    let mut ids = Vec::new();
    for (at, name) in names.iter().enumerate() {
        ids.push(harness.create(named(at, name)).await?.patient_id);
    }
    Ok(ids)
}

#[tokio::test]
async fn names_are_found_by_how_their_words_begin() -> anyhow::Result<()> {
    const NAMES: [&str; 6] =
        ["김하나", "Kim Hana Sample", "Zoë van der Straße", "KIMBERLEY Sample", "남궁 하나", ""];
    // (what the row is for, typed, positions of those found, newest first)
    let table: [(&str, &str, &[usize]); 27] = [
        ("first word", "kim", &[3, 1]),
        ("case", "KiM", &[3, 1]),
        ("full width", "Ｋｉｍ", &[3, 1]),
        ("a later word", "sample", &[3, 1]),
        ("two words", "kim sam", &[3, 1]),
        ("in another order", "sam  han kim", &[1]),
        ("one prefix twice", "kim kim", &[3, 1]),
        ("beyond what is indexed", "kimber", &[3]),
        ("beyond, and another", "kimbex", &[]),
        ("inside a word", "imb", &[]),
        ("whole word and no more", "hanab", &[]),
        ("Hangul", "김하", &[0]),
        ("Hangul, whole", "김하나", &[0]),
        ("Hangul by letters", "\u{1100}\u{1175}\u{11b7}\u{1112}\u{1161}", &[0]),
        ("Hangul, second word", "하나", &[4]),
        ("accent", "ZOË", &[2]),
        ("accent by parts", "zoe\u{308}", &[2]),
        ("no accent", "zoe", &[2]),
        ("an accent more", "KÍM Sámple", &[3, 1]),
        ("a word too short to be looked for", "kim h", &[1]),
        ("family name", "김", &[0]),
        ("family name and the rest", "김 하나", &[0]),
        ("no space", "남궁하", &[4]),
        ("sharp s", "STRASSE", &[2]),
        ("quotes", "\"\" ''", &[]),
        ("wildcards", "%% __", &[]),
        ("pattern", "ki% k_m", &[]),
    ];
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let ids = create_all(&mut harness, &NAMES).await?;
        for (case, typed, found) in &table {
            let expected: Vec<&String> = found.iter().map(|&at| &ids[at]).collect();
            let found = harness.search(by_name(typed)).await?;
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "case: {case}");
        }
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn names_are_found_however_they_are_written() -> anyhow::Result<()> {
    const NAMES: [&str; 7] = [
        "Kim Ha-neul",
        "Conor O'Brien",
        "Jürgen Müller",
        "Jurgen Muller",
        "김 하늘",
        "김하늘",
        "이 영희",
    ];
    // (typed, positions of those found, newest first)
    let table: [(&str, &[usize]); 17] = [
        ("haneul", &[0]),
        ("ha neul", &[0]),
        ("ha-neul", &[0]),
        ("neul", &[0]),
        ("ha-na", &[]),
        ("obrien", &[1]),
        ("o brien", &[1]),
        ("O’Brien", &[1]),
        ("o bryan", &[]),
        ("jurgen muller", &[3, 2]),
        ("Jürgen Müller", &[3, 2]),
        ("김", &[5, 4]),
        ("김하", &[5, 4]),
        ("김하늘", &[5, 4]),
        ("하늘 김", &[4]),
        ("이 영희", &[6]),
        ("이영", &[6]),
    ];
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let ids = create_all(&mut harness, &NAMES).await?;
        for (typed, found) in &table {
            let expected: Vec<&String> = found.iter().map(|&at| &ids[at]).collect();
            let found = harness.search(by_name(typed)).await?;
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "typed: {typed}");
        }
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn searches_for_too_little_or_too_much_are_refused() -> anyhow::Result<()> {
    let nothing = SearchPatientsRequest::default();
    let table = [
        ("nothing", nothing.clone(), "name_prefix"),
        ("blank", by_name("  "), "name_prefix"),
        ("one character", by_name("k"), "name_prefix"),
        ("each of several", by_name("k h"), "name_prefix"),
        ("nothing but hyphens", by_name("- '"), "name_prefix"),
        ("percent sign", by_name("%"), "name_prefix"),
        ("underscore", by_name("_"), "name_prefix"),
        ("nothing that shows", by_name("\u{200b}"), "name_prefix"),
        ("SQL", by_name("'; DROP TABLE patient; --"), "name_prefix"),
        ("backslash", by_name("ki\\"), "name_prefix"),
        ("nine words", by_name("aa bb cc dd ee ff gg hh ii"), "name_prefix"),
        ("too long", by_name(&"가".repeat(257)), "name_prefix"),
        ("control character", by_name("ki\0m"), "name_prefix"),
        ("no issuer", by_number("", "1"), "medical_record_number"),
        ("no number", by_number("I", " "), "medical_record_number"),
        ("long number", by_number("I", &"1".repeat(65)), "medical_record_number.number"),
        ("no date", by_birth("1960"), "birth_date"),
        ("long code", SearchPatientsRequest { code: "N".repeat(129), ..nothing.clone() }, "code"),
        (
            "no code",
            SearchPatientsRequest { code: "seizure".to_owned(), ..nothing.clone() },
            "code",
        ),
        ("born in the future", by_birth("2999-01-01"), "birth_date"),
        ("large page", SearchPatientsRequest { page_size: 201, ..by_name("kim") }, "page_size"),
        (
            "no token",
            SearchPatientsRequest { page_token: "banana".to_owned(), ..by_name("kim") },
            "page_token",
        ),
    ];
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        for (case, request, field) in &table {
            let status = harness.search(request.clone()).await.expect_err(case);
            assert_eq!(fields(&status), [*field], "case: {case}");
        }
        assert!(harness.search(by_name("aa bb cc dd ee ff gg hh")).await?.is_empty());
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn every_criterion_must_be_met() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let ids = create_all(&mut harness, &["Kim Hana", "Kim Duri", "Lee Hana"]).await?;
        let young = Patient { birth_date: "1999-01-01".to_owned(), ..named(7, "Kim Hana") };
        let young = harness.create(young).await?.patient_id;
        let report = harness.report(&ids[0], "headache").await?;
        harness.report(&ids[1], "no headache. seizure").await?;
        harness.report(&young, "headache").await?;
        harness.report(&young, "headache").await?;
        let code = report.findings[0].code.clone();
        let with_code = |request| SearchPatientsRequest { code: code.clone(), ..request };

        let only = |at: usize| vec![ids[at].clone()];
        let mut another = by_number("Sample Hospital", "mrn-0");
        another.birth_date = "1999-01-01".to_owned();
        let table = [
            ("number", by_number("Sample Hospital", "MRN-1"), only(1)),
            ("number in other letters", by_number("SAMPLE  hospital", "ｍｒｎ-1"), only(1)),
            ("another issuer", by_number("Another", "MRN-1"), Vec::new()),
            ("number with its issuer", by_number("Sample", "Hospital MRN-1"), Vec::new()),
            ("birth", by_birth("1999-01-01"), vec![young.clone()]),
            ("nobody's birth", by_birth("1999-01-02"), Vec::new()),
            (
                "code",
                with_code(SearchPatientsRequest::default()),
                vec![young.clone(), ids[0].clone()],
            ),
            ("code and name", with_code(by_name("kim")), vec![young.clone(), ids[0].clone()]),
            ("code and birth", with_code(by_birth("1960-02-29")), only(0)),
            ("number of another", another, Vec::new()),
            (
                "everything",
                SearchPatientsRequest {
                    name_prefix: "ha kim".to_owned(),
                    birth_date: "1960-02-29".to_owned(),
                    ..with_code(by_number("Sample Hospital", "MRN-0"))
                },
                only(0),
            ),
            (
                "code of nobody",
                SearchPatientsRequest { code: "HP:9999999".to_owned(), ..by_name("kim") },
                Vec::new(),
            ),
        ];
        for (case, request, expected) in table {
            assert_eq!(harness.search(request).await?, expected, "case: {case}");
        }

        // Nothing of who is deleted, by whatever they are searched for.
        harness.delete(&ids[0], 1).await?;
        for request in
            [by_number("Sample Hospital", "MRN-0"), by_birth("1960-02-29"), by_name("kim ha")]
        {
            let found = harness.search(request).await?;
            assert!(!found.contains(&ids[0]), "{found:?}");
        }
        let found = harness.search(with_code(SearchPatientsRequest::default())).await?;
        assert_eq!(found, std::slice::from_ref(&young));
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn what_is_found_comes_in_pages() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let mut ids = Vec::new();
        for at in 0..13 {
            // Two in three begin alike as far as is indexed; one in three is sought.
            let name = ["Sampleton", "Samplefield", "Other"][at % 3];
            ids.push((harness.create(named(at, name)).await?.patient_id, name));
        }
        ids.reverse();
        let named = |name: &str| -> Vec<String> {
            ids.iter().filter(|(_, own)| *own == name).map(|(id, _)| id.clone()).collect()
        };
        for page_size in [1, 2, 5, 13, 0] {
            let request = SearchPatientsRequest { page_size, ..by_name("samplet") };
            assert_eq!(harness.search(request).await?, named("Sampleton"), "pages of {page_size}");
        }
        let first = SearchPatientsRequest { page_size: 2, ..by_name("sampl") };
        let page = harness.client.search_patients(first).await?.into_inner();
        assert_eq!(page.patients.len(), 2);
        let token = page.next_page_token;
        let other = SearchPatientsRequest { page_token: token.clone(), ..by_name("sample") };
        assert_eq!(fields(&harness.search(other).await.unwrap_err()), ["page_token"]);
        let more = SearchPatientsRequest { page_token: token, ..by_name("sampl") };
        assert_eq!(harness.search(more).await?.len(), 7);
        harness.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_changed_patient_is_found_by_what_they_are_now() -> anyhow::Result<()> {
    for db in databases::<Migrator>().await? {
        let mut harness = start(db).await?;
        let known = harness.create(named(1, "Kim Hana")).await?;
        let changed = Patient {
            name: "Lee Duri".to_owned(),
            birth_date: "1999-01-01".to_owned(),
            medical_record_numbers: vec![number("MRN-1"), number("MRN-9")],
            ..known.clone()
        };
        let paths = ["name", "birth_date", "medical_record_numbers"];
        harness.update(changed, &paths).await?;
        let id = [known.patient_id];
        for request in
            [by_name("lee"), by_birth("1999-01-01"), by_number("Sample Hospital", "mrn-9")]
        {
            assert_eq!(harness.search(request).await?, id);
        }
        assert!(harness.search(by_name("kim")).await?.is_empty());
        assert!(harness.search(by_birth("1960-02-29")).await?.is_empty());
        // A create that was refused leaves nothing to be found by.
        let mut refused = named(2, "Park Sample");
        refused.medical_record_numbers.push(number("MRN-9"));
        harness.create(refused).await.unwrap_err();
        assert!(harness.search(by_name("park")).await?.is_empty());
        assert!(harness.search(by_number("Sample Hospital", "MRN-2")).await?.is_empty());
        harness.create(patient(2)).await?;
        harness.stop().await?;
    }
    Ok(())
}
