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
fn every_cell_of_every_finding_has_a_grade_and_a_source_that_gives_it() {
    let table = EvidenceTable::builtin().unwrap();
    let rests = |basis: &Basis, place: &str| {
        let source = table.source(&basis.source).unwrap_or_else(|| panic!("{place}"));
        assert!(basis.grade >= source.grade && source.citation.len() > 20, "{place}");
    };
    let mut count = 0;
    for id in FINDING_IDS {
        let row = table.finding(id).unwrap();
        for &structure in Structure::ALL {
            let cell = row.cell(structure);
            rests(&cell.basis, &format!("{id} {structure}"));
            assert!(cell.likelihood_ratio > 0.0);
            if !row.cells.contains_key(&structure) {
                assert_eq!(cell.side_rule, SideRule::None, "{id} {structure}");
            }
            count += 1;
        }
        let parts = row.frequency.iter().chain([&row.side_reliability]).map(|part| &part.basis);
        let causes = row.sign_of.iter().chain(&row.also_from).map(|cause| &cause.basis);
        for basis in parts.chain(causes).chain(row.urgent_sign.iter().map(|sign| &sign.basis)) {
            rests(basis, id);
        }
    }
    for &structure in table.prior().keys() {
        rests(table.prior_basis(structure).unwrap(), "prior");
    }
    for hand in Handedness::ALL {
        rests(table.language_basis(hand), "language");
    }
    assert_eq!(count, FINDING_IDS.len() * Structure::ALL.len());
    assert_eq!(table.cells().count(), count);
}

#[test]
fn findings_are_those_of_the_lexicon() {
    let lexicon = include_str!("../../../../assets/lexicon/symptoms.toml");
    let ids = lexicon.lines().filter_map(|line| line.strip_prefix("id = \"")?.strip_suffix('"'));
    let ids: std::collections::BTreeSet<&str> = ids.collect();
    assert_eq!(ids, FINDING_IDS.into_iter().collect());
}

#[test]
fn mistakes_are_named() {
    let apathy = "id = \"apathy\"\nside_rule = \"none\"";
    let own_lobe = "frontal = 3.0";
    // (what the row is for, text to find, text to put there, part of the message)
    let table = [
        ("syntax", "version = ", "version ", "malformed"),
        ("unknown field", "[site_checks]", "[sites]", "malformed"),
        ("version", "version = \"2026.11.3\"", "version = \" \"", "no version"),
        ("finding", "id = \"apathy\"", "id = \"apathi\"", "unknown finding `apathi`"),
        ("repeated", "id = \"apathy\"", "id = \"abulia\"", "two rows for `abulia`"),
        ("structure", own_lobe, "frontl = 3.0", "structure `frontl`"),
        (
            "structure twice",
            own_lobe,
            "frontal = 3.0\ncerebrum = 1.0",
            "`apathy` names `frontal` twice",
        ),
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
        (
            "reliability",
            "side_reliability = { value = 0.92",
            "side_reliability = { value = 0.4",
            "from 0.5 to 0.99",
        ),
        (
            "side elsewhere",
            "elsewhere = 0.55",
            "elsewhere = { lr = 0.55, side_rule = \"ipsilateral\" }",
            "`elsewhere` of `apathy` has a side rule",
        ),
        (
            "grade of a cell",
            own_lobe,
            "frontal = { lr = 3.0, grade = \"E\" }",
            "`frontal` of `apathy` has the unknown grade `E`; use A, B, C or D",
        ),
        (
            "grade too good",
            own_lobe,
            "frontal = { lr = 3.0, grade = \"A\" }",
            "`frontal` of `apathy` has grade A, and its source `merck` gives C at best",
        ),
        (
            "source of a cell",
            own_lobe,
            "frontal = { lr = 3.0, source = \"merk\" }",
            "`frontal` of `apathy` names the unknown source `merk`; list it under `sources`",
        ),
        (
            "no basis of a cell",
            "id = \"weight_loss\"",
            "id = \"weight_loss\"\nratios = { insula = 1.0 }",
            "`insula` of `weight_loss` has no grade and source; write a number or",
        ),
        ("shape", own_lobe, "frontal = \"much\"", "`frontal` of `apathy` is string, not of"),
        ("shape, field", own_lobe, "frontal = { ratio = 3.0 }", "write a number or `{ lr = 1.5"),
        ("zero", own_lobe, "frontal = 0.0", "`frontal` of `apathy` is 0; it must lie above 0"),
        ("negative", own_lobe, "frontal = -1.0", "above 0 and at most 50"),
        ("too large", own_lobe, "frontal = 50.1", "above 0 and at most 50"),
        ("not a number", own_lobe, "frontal = nan", "above 0 and at most 50"),
        ("elsewhere", "elsewhere = 0.55", "elsewhere = 0.0", "`elsewhere` of `apathy`"),
        ("no elsewhere", "elsewhere = 0.55\n", "", "`elsewhere` of `apathy` is missing"),
        ("dominance", "unknown = { value = 0.92", "unknown = { value = 0.2", "language_dominance"),
        ("prior", "insula = 0.05", "insula = 0.0", "`insula` of `prior`"),
        ("prior weight", "prior_weight = 0.35", "prior_weight = 1.5", "from 0 to 1"),
        ("frequency", "{ value = 0.6,", "{ value = 0.96,", "`frequency` of `headache` is 0.96"),
        (
            "frequency alone",
            "frequency = { value = 0.6, grade = \"C\", source = \"bmj\" }",
            "frequency = 0.6",
            "`frequency` of `headache` has no grade and source; write `{ value",
        ),
        (
            "frequency, shape",
            "frequency = { value = 0.6, grade = \"C\", source = \"bmj\" }",
            "frequency = { value = 0.6, grade = \"C\" }",
            "`frequency` of `headache` is table, not of the right shape",
        ),
        (
            "cause",
            "also_from = [{ cause = \"raised",
            "also_from = [{ cause = \"lowered",
            "causes are",
        ),
        (
            "cause without signs",
            "sign_of = { cause = \"raised_pressure\"",
            "sign_of = { cause = \"second_lesion\"",
            "`sign_of` of `papilledema` is table",
        ),
        ("urgency", "urgency = \"soon\", ", "", "`urgent_sign` of `"),
        (
            "emergency that points",
            "id = \"rapid_decline\"",
            "id = \"rapid_decline\"\nratios = { frontal = { lr = 2.0, grade = \"D\", source = \"judgement\" } }",
            "`rapid_decline` is an emergency and has the ratio 2 for `frontal`",
        ),
        (
            "half a basis",
            "id = \"apathy\"\nside_rule = \"none\"\ngroup = \"frontal\"\ngrade = \"C\"",
            "id = \"apathy\"\nside_rule = \"none\"\ngroup = \"frontal\"",
            "`apathy` has `source` without `grade`",
        ),
        (
            "unused source",
            "[sources.merck]",
            "[sources.spare]\ngrade = \"C\"\ncitation = \"Spare\"\n\n[sources.merck]",
            "source `spare` is named nowhere",
        ),
        (
            "no citation",
            "citation = \"Judgement of this project\"",
            "citation = \"\"",
            "no citation",
        ),
        (
            "grade of a source",
            "[sources.judgement]\ngrade = \"D\"",
            "[sources.judgement]\ngrade = \"d\"",
            "source `judgement` has the unknown grade `d`",
        ),
    ];
    for (case, find, replace, message) in table {
        let error = refused(find, replace).to_string();
        assert!(error.contains(message), "case: {case}: {error}");
    }
    let fatigue = BUILTIN.find("[[finding]]\nid = \"fatigue\"").unwrap();
    let end = fatigue + 2 + BUILTIN[fatigue + 2..].find("[[finding]]").unwrap();
    let without = format!("{}{}", &BUILTIN[..fatigue], &BUILTIN[end..]);
    let error = EvidenceTable::from_toml(&without).unwrap_err();
    assert_eq!(error, EvidenceError::MissingFinding { finding: "fatigue" });
}

#[test]
fn general_symptoms_and_red_flags_carry_no_weight_for_any_structure() {
    let table = EvidenceTable::builtin().unwrap();
    let flat = |id: &str| {
        let evidence = table.finding(id).unwrap();
        for &structure in Structure::ALL {
            assert!((evidence.likelihood_ratio(structure) - 1.0).abs() < 1e-12, "{id} {structure}");
        }
    };
    for id in ["headache", "nausea", "vomiting", "fatigue", "weight_loss"] {
        flat(id);
    }
    // Raised pressure, pressure on the brain stem, rapid decline, status epilepticus.
    for id in [
        "papilledema",
        "raised_intracranial_pressure",
        "hydrocephalus",
        "drowsiness",
        "loss_of_consciousness",
        "anisocoria",
        "rapid_decline",
        "status_epilepticus",
    ] {
        flat(id);
        let sign = table.finding(id).unwrap().urgent_sign.as_ref().unwrap();
        assert_eq!(sign.urgency, Urgency::Emergency, "{id}");
    }
    // Signs of the brain stem point there by their own ratios and are urgent besides.
    for id in ["diplopia", "ptosis", "dysphagia", "long_tract_signs"] {
        assert!(table.finding(id).unwrap().urgent_sign.is_some(), "{id}");
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
