use super::*;

fn refused(find: &str, replace: &str) -> EvidenceError {
    assert!(BUILTIN.contains(find), "the table no longer holds {find}");
    EvidenceTable::from_toml(&BUILTIN.replacen(find, replace, 1)).unwrap_err()
}

#[test]
fn the_table_that_ships_is_valid_and_covers_every_finding() {
    let table = EvidenceTable::builtin().unwrap();
    assert!(!table.version().is_empty());
    for id in FINDING_IDS {
        assert!(table.finding(id).is_some(), "{id}");
    }
    let sum: f64 = table.prior().values().sum();
    assert!((sum - 1.0).abs() < 0.02, "prior sums to {sum}");
}

#[test]
fn mistakes_are_named() {
    let apathy = "id = \"apathy\"\nside_rule = \"none\"";
    // (what the row is for, text to find, text to put there, part of the message)
    let table = [
        ("syntax", "version = ", "version ", "malformed"),
        ("unknown field", "[prior]", "[priors]", "malformed"),
        ("version", "version = \"2026.11.2\"", "version = \" \"", "no version"),
        ("finding", "id = \"apathy\"", "id = \"apathi\"", "unknown finding `apathi`"),
        ("repeated", "id = \"apathy\"", "id = \"abulia\"", "two rows for `abulia`"),
        ("structure", "ratios = { frontal = 3.0", "ratios = { frontl = 3.0", "structure `frontl`"),
        ("prior structure", "insula = 0.05", "elbow = 0.05", "structure `elbow`"),
        ("group member", "[\"caudate\", ", "[\"caudat\", ", "structure `caudat`"),
        ("site check", "\ncerebellum = [", "\ncerebelum = [", "structure `cerebelum`"),
        ("side rule", apathy, "id = \"apathy\"\nside_rule = \"left\"", "unknown side rule `left`"),
        ("no reliability", apathy, "id = \"apathy\"\nside_rule = \"dominant\"", "side_reliability"),
        (
            "reliability alone",
            apathy,
            &format!("{apathy}\nside_reliability = 0.9"),
            "without `side_rule`",
        ),
        ("reliability", "side_reliability = 0.92", "side_reliability = 0.4", "from 0.5 to 0.99"),
        ("grade", "grade = \"C\"", "grade = \"E\"", "unknown grade `E`"),
        ("source", "source = \"merck\"", "source = \"merk\"", "unknown source `merk`"),
        ("zero", "frontal = 3.0", "frontal = 0.0", "above 0 and at most 50"),
        ("negative", "frontal = 3.0", "frontal = -1.0", "above 0 and at most 50"),
        ("too large", "frontal = 3.0", "frontal = 50.1", "above 0 and at most 50"),
        ("not a number", "frontal = 3.0", "frontal = nan", "above 0 and at most 50"),
        ("elsewhere", "elsewhere = 0.55", "elsewhere = 0.0", "`elsewhere` of `apathy`"),
        ("dominance", "unknown = 0.92", "unknown = 0.2", "language_dominance"),
        ("prior", "insula = 0.05", "insula = 0.0", "`insula` of `prior`"),
        ("prior weight", "prior_weight = 0.35", "prior_weight = 1.5", "from 0 to 1"),
        ("frequency", "frequency = 0.6", "frequency = 0.96", "`frequency` of `headache`"),
        ("cause", "also_from = [\"raised", "also_from = [\"lowered", "malformed"),
        (
            "cause without signs",
            "sign_of = \"raised_pressure\"",
            "sign_of = \"second_lesion\"",
            "malformed",
        ),
        ("urgency", "urgency = \"soon\"\n", "", "without `urgency`"),
    ];
    for (case, find, replace, message) in table {
        let error = refused(find, replace).to_string();
        assert!(error.contains(message), "case: {case}: {error}");
    }
    let without = BUILTIN.replacen(
        "[[finding]]\nid = \"fatigue\"\nside_rule = \"none\"\ngrade = \"C\"\nsource = \"merck\"\n",
        "",
        1,
    );
    let error = EvidenceTable::from_toml(&without).unwrap_err();
    assert_eq!(error, EvidenceError::MissingFinding { finding: "fatigue" });
}

#[test]
fn general_symptoms_carry_no_weight_for_any_structure() {
    let table = EvidenceTable::builtin().unwrap();
    for id in
        ["headache", "nausea", "vomiting", "papilledema", "fatigue", "raised_intracranial_pressure"]
    {
        let evidence = table.finding(id).unwrap();
        for &structure in Structure::ALL {
            assert!((evidence.likelihood_ratio(structure) - 1.0).abs() < 1e-12, "{id} {structure}");
        }
    }
}

#[test]
fn side_rules_give_the_side_they_should() {
    let table = EvidenceTable::builtin().unwrap();
    use Side::{Left, Right};
    // (finding, structure, body side, hand, side pointed to)
    let rows = [
        ("hemianopia", Structure::Occipital, Some(Right), Handedness::Right, Some(Left)),
        ("hemiparesis", Structure::Frontal, Some(Left), Handedness::Right, Some(Right)),
        ("limb_ataxia", Structure::Cerebellum, Some(Left), Handedness::Right, Some(Left)),
        ("facial_palsy", Structure::BrainStem, Some(Right), Handedness::Right, Some(Right)),
        ("facial_palsy", Structure::Frontal, Some(Right), Handedness::Right, Some(Left)),
        ("aphasia", Structure::Temporal, None, Handedness::Right, Some(Left)),
        ("aphasia", Structure::Temporal, None, Handedness::Unknown, Some(Left)),
        ("aphasia", Structure::Temporal, None, Handedness::Left, Some(Left)),
        ("neglect", Structure::Parietal, None, Handedness::Right, Some(Right)),
        ("hemianopia", Structure::Occipital, None, Handedness::Right, None),
        ("apathy", Structure::Frontal, Some(Left), Handedness::Right, None),
    ];
    for (id, structure, body, hand, expected) in rows {
        let evidence = table.finding(id).unwrap();
        let [left, right] = [Left, Right]
            .map(|side| evidence.side_factor(structure, side, body, table.language_left(hand)));
        assert!((left + right - 2.0).abs() < 1e-12);
        let side = if (left - right).abs() < 1e-9 {
            None
        } else if left > right {
            Some(Left)
        } else {
            Some(Right)
        };
        assert_eq!(side, expected, "{id} {structure} {body:?} {hand:?}");
    }
    let aphasia = table.finding("aphasia").unwrap();
    let factor =
        |hand| aphasia.side_factor(Structure::Temporal, Left, None, table.language_left(hand));
    assert!(factor(Handedness::Left) < factor(Handedness::Both));
    assert!(factor(Handedness::Both) < factor(Handedness::Right));
}

#[test]
fn the_page_in_the_documentation_is_that_of_the_table() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/evidence.md");
    let page = EvidenceTable::builtin().unwrap().page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(
        written == page,
        "docs/evidence.md is of another table; run `UPDATE_DOCS=1 cargo test -p neurotriage-referral evidence`"
    );
}
