//! Tests of the CSV form.

use super::*;
use crate::directory::generated::Lcg;

const HEADER: &str = "hospital_id,name,city,latitude_degrees,longitude_degrees,capabilities,\
                      capacity,accepts_referrals,identifiers,languages,beds_free";
const ROW: &str = "a,Name,City,37.5,127,neurosurgery;stroke,0.5,TRUE,urn:x|1,ko;en,4";

fn one_refusal(text: &str) -> RefusedRow {
    let import = import(text.as_bytes()).unwrap();
    assert_eq!(import.hospitals.len(), 0, "{text}");
    assert_eq!(import.refused.len(), 1, "{text}");
    import.refused[0].clone()
}

#[test]
fn export_then_import_gives_the_same_hospitals() {
    let mut lcg = Lcg(20_261_126);
    for _ in 0..40 {
        let hospitals = (0..25)
            .map(|n| lcg.hospital(&if n == 0 { "-1-1".to_owned() } else { format!("h-{n}") }))
            .collect::<Vec<_>>();
        let text = export(&hospitals).unwrap();
        let again = import(text.as_bytes()).unwrap();
        assert_eq!(again.refused, []);
        assert_eq!(again.hospitals, hospitals);
        let marked = [BYTE_ORDER_MARK, text.as_bytes()].concat();
        assert_eq!(import(&marked).unwrap().hospitals, hospitals);
    }
    let sample = crate::hospital::sample().unwrap();
    assert_eq!(import(export(&sample).unwrap().as_bytes()).unwrap().hospitals, sample);
}

#[test]
fn no_text_of_an_export_starts_a_formula() {
    let mut lcg = Lcg(7);
    let hospitals = (0..500).map(|n| lcg.hospital(&format!("-{n}"))).collect::<Vec<_>>();
    let text = export(&hospitals).unwrap();
    let mut reader = ReaderBuilder::new().from_reader(text.as_bytes());
    let mut rows = 0;
    for record in reader.records() {
        for (field, cell) in Field::ALL.iter().zip(record.unwrap().iter()) {
            assert!(
                !cell.starts_with(FORMULA_STARTS) || cell.parse::<f64>().is_ok(),
                "{}: {cell}",
                field.as_str()
            );
        }
        rows += 1;
    }
    assert_eq!(rows, 500);
}

#[test]
fn the_mark_against_formulas_is_undone() {
    // (text, as it is written)
    let table = [
        ("=1+1", "'=1+1"),
        ("'=1+1", "''=1+1"),
        ("'s-Gravenhage", "'s-Gravenhage"),
        ("-", "'-"),
        ("\tx", "'\tx"),
        ("＠x", "'＠x"),
        ("'", "'"),
        ("plain", "plain"),
    ];
    for (text, written) in table {
        assert_eq!(guarded(text), written);
        assert_eq!(unguarded(written), text);
    }
}

#[test]
fn columns_may_stand_in_any_order_and_some_may_be_absent() {
    let text = "capacity,name,city,hospital_id,accepts_referrals,capabilities,longitude_degrees,\
                latitude_degrees\n 1 ,N,C, a ,False,,-180,90\n";
    for text in [text.to_owned(), text.replace('\n', "\r\n")] {
        let import = import(text.as_bytes()).unwrap();
        assert_eq!(import.refused, []);
        let hospital = &import.hospitals[0];
        assert_eq!(hospital.hospital_id.as_str(), "a");
        assert_eq!(hospital.location, Coordinates::from_degrees(90.0, -180.0).unwrap());
        assert_eq!((hospital.capacity, hospital.accepts_referrals), (1.0, false));
        assert_eq!((hospital.capabilities.len(), hospital.beds_free), (0, None));
    }
}

#[test]
fn a_bad_row_is_refused_alone_with_its_line() {
    let second = ROW.replacen("a,", "b,", 1);
    let third = ROW.replacen("a,Name", "c,\"two\nlines\"", 1);
    for ending in ["\n", "\r\n"] {
        let text = [
            HEADER,
            ROW,
            "",
            &second.replace("0.5", "1.5"),
            &third,
            ROW,
            &third.replacen("c,", "d,", 1).replace("stroke", "magic"),
        ]
        .join(ending);
        let import = import(text.as_bytes()).unwrap();
        let ids = import.hospitals.iter().map(|one| one.hospital_id.as_str()).collect::<Vec<_>>();
        assert_eq!(ids, ["a", "c"]);
        let rows = import
            .refused
            .iter()
            .map(|row| (row.line, row.hospital_id.as_deref(), row.field))
            .collect::<Vec<_>>();
        assert_eq!(
            rows,
            [
                (4, Some("b"), "capacity"),
                (7, Some("a"), "hospital_id"),
                (8, Some("d"), "capabilities"),
            ]
        );
        assert!(import.refused[1].problem.contains("line 2"), "{}", import.refused[1]);
        assert!(import.refused[2].to_string().starts_with("line 8, hospital d, capabilities: "));
    }
}

#[test]
fn each_mistake_is_named_with_its_remedy() {
    let long = "x".repeat(FIELD_BYTES_MAX + 1);
    // (what the row is for, find, replace, field, piece of the text)
    let table = [
        ("no id", "a,Name", ",Name", "hospital_id", "is empty; write 1 to 64"),
        ("bad id", "a,Name", "A B,Name", "hospital_id", "`A B` is not an id"),
        ("no name", "Name", " ", "name", "fill it in"),
        ("no city", "City", "", "city", "fill it in"),
        ("decimal comma", "37.5", "\"37,5\"", "latitude_degrees", "such as 37.55"),
        ("no latitude", "37.5", "", "latitude_degrees", "is empty"),
        ("latitude", "37.5", "91", "latitude_degrees", "-90 to 90"),
        ("not a number", "37.5", "NaN", "latitude_degrees", "-90 to 90"),
        ("longitude", "127", "-181", "longitude_degrees", "-180 to 180"),
        ("capability", "stroke", "magic", "capabilities", "write one of neurosurgery, awake_"),
        ("repeated", "stroke", "neurosurgery", "capabilities", "list it once"),
        ("capacity", "0.5", "2", "capacity", "0 to 1"),
        ("truth", "TRUE", "yes", "accepts_referrals", "true or false"),
        ("bar", "urn:x|1", "urn:x", "identifiers", "system|value"),
        ("backslash", "urn:x|1", "urn:x|1\\", "identifiers", "lone backslash"),
        ("language", "ko;en", "ko;en_", "languages", "language 2"),
        ("beds", ",4", ",-4", "beds_free", "whole number"),
        ("cells", "City,", "City,more,", "row", "12 cells"),
        ("cell", "City", &long, "city", "quote left open"),
    ];
    for (case, find, replace, field, piece) in table {
        let refused = one_refusal(&format!("{HEADER}\n{}\n", ROW.replacen(find, replace, 1)));
        assert_eq!((refused.line, refused.field), (2, field), "case: {case}: {refused}");
        assert!(refused.problem.contains(piece), "case: {case}: {refused}");
        assert!(refused.problem.len() < 400, "case: {case}");
    }
}

#[test]
fn a_row_in_another_encoding_is_refused_alone() {
    let mut bytes = format!("{HEADER}\n{ROW}\nb,").into_bytes();
    bytes.extend(b"\xbc\xad\xbf\xef"); // EUC-KR
    bytes.extend(ROW.trim_start_matches("a,Name").as_bytes());
    let import = import(&bytes).unwrap();
    assert_eq!(import.hospitals.len(), 1);
    let refused = &import.refused[0];
    assert_eq!((refused.hospital_id.as_deref(), refused.field), (Some("b"), "name"));
    assert!(refused.problem.contains("CSV UTF-8"));
}

#[test]
fn a_file_that_cannot_be_used_says_why() {
    let cut = HEADER.replacen("city,", "", 1);
    let rows = format!("{HEADER}\n{}", "x\n".repeat(ROWS_MAX + 1));
    let table = [
        ("empty", String::new(), CsvError::NoHeader),
        ("large", "x".repeat(BYTES_MAX + 1), CsvError::TooLarge { bytes: BYTES_MAX + 1 }),
        ("unknown", format!("{HEADER},phone"), CsvError::UnknownColumn { name: "phone".into() }),
        ("twice", format!("{HEADER},city"), CsvError::RepeatedColumn { name: "city" }),
        ("missing", cut, CsvError::MissingColumn { name: "city" }),
        ("rows", rows, CsvError::TooManyRows),
    ];
    for (case, text, error) in table {
        assert_eq!(import(text.as_bytes()), Err(error), "case: {case}");
    }
    assert_eq!(import(b"\xbc\xad"), Err(CsvError::HeaderEncoding));
    let unknown = CsvError::UnknownColumn { name: "phone".into() }.to_string();
    assert!(unknown.contains("`phone`") && unknown.contains("hospital_id, name"), "{unknown}");
}

#[test]
fn what_import_would_refuse_is_not_written() {
    let hospital = Lcg(3).hospital("a");
    let twice = export(&[hospital.clone(), hospital.clone()]);
    assert!(matches!(twice, Err(ExportError::Repeated { .. })));
    let wrong = export(&[Hospital { capacity: f64::NAN, ..hospital.clone() }]);
    assert!(matches!(wrong, Err(ExportError::Field { .. })));
    let many = export(&vec![hospital.clone(); ROWS_MAX + 1]);
    assert!(matches!(many, Err(ExportError::TooManyHospitals { .. })));
    let long = Hospital { name: "병".repeat(256), city: "원".repeat(256), ..hospital };
    let large = (0..6000)
        .map(|n| Hospital { hospital_id: format!("h-{n}").parse().unwrap(), ..long.clone() })
        .collect::<Vec<_>>();
    assert!(matches!(export(&large), Err(ExportError::TooLarge { .. })));
}

#[test]
fn the_longest_lists_fit_a_cell() {
    let identifiers = (0..crate::hospital::IDENTIFIERS_MAX)
        .map(|n| Identifier {
            system: format!("urn:{n:02}{}", ";".repeat(122)),
            value: "🧠".repeat(128),
        })
        .collect();
    let hospital = Hospital { identifiers, ..Lcg(3).hospital("a") };
    let text = export(std::slice::from_ref(&hospital)).unwrap();
    assert_eq!(import(text.as_bytes()).unwrap().hospitals, [hospital]);
}
