//! Onset, course and severity as people write them, and what the built-in lexicon makes of it.

use neurotriage_records::{
    coding::{Coded, Finding, Origin, Writer, code},
    lexicon::Lexicon,
};

/// Shows findings as `headache@left:sudden,worsening,severe`, with `!` before one that the text
/// denies.
fn shown(coded: &Coded) -> String {
    let findings = coded.findings.iter().map(|finding| {
        let denied = if finding.present { "" } else { "!" };
        let side = finding.side.map(|side| format!("@{side}")).unwrap_or_default();
        let onset = finding.onset.map(|onset| format!("{onset:?}"));
        let course = finding.course.map(|course| format!("{course:?}"));
        let severity = finding.severity.map(|severity| format!("{severity:?}"));
        let said: Vec<String> = [onset, course, severity].into_iter().flatten().collect();
        let colon = if said.is_empty() { "" } else { ":" };
        format!("{denied}{}{side}{colon}{}", finding.finding_id, said.join(",").to_lowercase())
    });
    findings.collect::<Vec<String>>().join(" ")
}

/// Each row: what it is for, the text, what is read, the pieces that are not understood.
fn check(table: &[(&str, &str, &str, &[&str])]) {
    let Ok(lexicon) = Lexicon::built_in() else { panic!("the built-in lexicon is sound") };
    for (case, text, findings, pieces) in table {
        let coded = code(&lexicon, text, Writer::Other);
        assert_eq!(shown(&coded), *findings, "case: {case}: {text}");
        assert_eq!(coded.not_understood, *pieces, "case: {case}: {text}");
        assert!(coded.findings.iter().all(|finding| finding.origin == Origin::Text));
    }
}

#[test]
fn english_onset_is_read_from_manner_and_development_and_not_from_duration() {
    check(&[
        ("two kinds", "sudden severe headache", "headache:sudden,severe", &[]),
        ("title case", "Sudden Severe Headache", "headache:sudden,severe", &[]),
        ("phrase", "all of a sudden my right arm was weak", "hemiparesis@right:sudden", &[]),
        ("behind", "headache started suddenly with vomiting", "headache:sudden vomiting", &[]),
        ("fronted", "Suddenly, headache", "headache:sudden", &[]),
        ("overnight", "overnight weakness of the left leg", "hemiparesis@left:acute", &[]),
        ("subacute", "subacute memory loss", "memory_impairment:subacute", &[]),
        ("gradual", "headaches which came on gradually", "headache:gradual", &[]),
        ("vague span", "headache over weeks", "headache:subacute", &[]),
        (
            "fronted span of two",
            "Slowly over months, slurred speech and unsteady gait.",
            "dysarthria:gradual gait_disturbance:gradual",
            &[],
        ),
        (
            "span of development",
            "weakness of the left leg developed over two weeks",
            "hemiparesis@left:subacute",
            &[],
        ),
        (
            "within",
            "numbness of the right hand came on within two hours",
            "sensory_loss@right:acute",
            &[],
        ),
        (
            "window beside development",
            "progressive weakness of the right arm over the past six months",
            "hemiparesis@right:gradual,worsening",
            &[],
        ),
        (
            "one month is weeks",
            "numbness of the left leg within a month",
            "sensory_loss@left:subacute",
            &[],
        ),
        ("how long it lasts", "headaches go within minutes", "headache", &[]),
        ("window alone", "headache over the past six months", "headache", &[]),
        ("more than, perhaps", "headache over three weeks", "headache", &[]),
        ("duration", "headache for three weeks", "headache", &[]),
        ("beginning", "headache since last Tuesday", "headache", &[]),
        ("manner of the course", "the headache suddenly got worse", "headache:worsening", &[]),
        (
            "manner of both",
            "numbness in the left leg which started gradually and is slowly getting worse",
            "sensory_loss@left:gradual,worsening",
            &[],
        ),
        ("span of the course", "headache got worse over two days", "headache:worsening", &[]),
        (
            "span of the end",
            "left arm weakness resolved within two hours",
            "hemiparesis@left:resolved",
            &[],
        ),
        ("word of the finding", "sudden deterioration", "rapid_decline", &[]),
        ("time ago", "she fell two days ago, headache", "imbalance headache", &[]),
        ("title and name", "Mr Sudden has a headache", "headache", &[]),
        ("name", "John Sudden has a headache", "headache", &["John"]),
        (
            "list with and",
            "sudden onset of headache, nausea and vomiting",
            "headache:sudden nausea:sudden vomiting:sudden",
            &[],
        ),
        (
            "shared limb",
            "sudden weakness and numbness of the right arm",
            "hemiparesis@right:sudden sensory_loss@right:sudden",
            &[],
        ),
        (
            "list without and, own time",
            "sudden headache, vomiting for a month",
            "headache:sudden vomiting",
            &[],
        ),
        ("not across a denial", "no headache, sudden vomiting", "!headache vomiting:sudden", &[]),
    ]);
}

#[test]
fn english_course_is_read_and_told_from_circumstance() {
    check(&[
        ("worse", "headache that is getting worse", "headache:worsening", &[]),
        ("own clause", "headache, worse every day", "headache:worsening", &[]),
        ("own sentence", "I have a headache. It is getting worse.", "headache:worsening", &[]),
        ("whose?", "Headache and vomiting. Getting worse.", "headache vomiting", &[]),
        ("adjective", "severe worsening headache", "headache:worsening,severe", &[]),
        ("fluctuating", "headache comes and goes", "headache:fluctuating", &[]),
        (
            "on and off",
            "tingling on and off in the right hand",
            "paresthesia@right:fluctuating",
            &[],
        ),
        ("better", "headache, better now", "headache:improving", &[]),
        ("not so mild", "headache is a little better", "headache:improving", &[]),
        ("stable", "headache is unchanged", "headache:stable", &[]),
        ("resolved", "the headache has gone away", "headache:resolved", &[]),
        ("stopped", "he has stopped vomiting", "vomiting:resolved", &[]),
        ("morning", "headache worse in the morning", "headache", &[]),
        ("coughing", "headache getting worse with coughing", "headache", &[]),
        ("denied course", "headache has not improved", "headache", &[]),
        ("word of the finding", "vision has gone in the left eye", "visual_loss@left", &[]),
        (
            "list",
            "headache, nausea and vomiting, getting worse",
            "headache:worsening nausea:worsening vomiting:worsening",
            &[],
        ),
        ("after a denial", "headache, no vomiting, getting worse", "headache !vomiting", &[]),
        (
            "duration between",
            "I have had a mild headache for three weeks which is getting worse",
            "headache:worsening,mild",
            &[],
        ),
        (
            "of something else",
            "after my cold got better headache",
            "headache",
            &["cold got better"],
        ),
    ]);
}

#[test]
fn english_severity_belongs_to_the_nearest_finding() {
    check(&[
        ("worst", "the worst headache of my life", "headache:severe", &[]),
        ("strong word", "unbearable headache", "headache:severe", &[]),
        ("strong word denied", "headache is not unbearable", "headache", &["unbearable"]),
        ("adverb inside", "my right arm is slightly weak", "hemiparesis@right:mild", &[]),
        ("range", "mild to moderate dizziness", "vertigo:moderate", &[]),
        ("in brackets", "headache (severe)", "headache:severe", &[]),
        ("two", "mild headache and severe vertigo", "headache:mild vertigo:severe", &[]),
        ("two said", "headache is mild, vertigo is severe", "headache:mild vertigo:severe", &[]),
        (
            "two with sides",
            "severe right-sided headache and mild left arm weakness",
            "unilateral_headache@right:severe hemiparesis@left:mild",
            &[],
        ),
        ("one of two", "severe headache and nausea", "headache:severe nausea", &[]),
        ("both", "headache and nausea are severe", "headache:severe nausea:severe", &[]),
        ("one said", "headache and nausea now severe", "headache nausea:severe", &[]),
        ("and very", "headache is very severe and she vomits", "headache:severe vomiting", &[]),
        ("now", "headache at first mild, now severe", "headache:severe", &[]),
        ("twice", "headache. Severe headache", "headache:severe", &[]),
        ("denied finding", "No severe headache", "!headache", &[]),
        ("list denied", "Denies severe headache, has mild vertigo", "!headache vertigo:mild", &[]),
        ("denied severity", "The headache is not severe", "headache", &[]),
        ("weather", "mild weather, headache", "headache", &["mild weather"]),
        ("weather here", "headache in mild weather", "headache", &["weather"]),
        ("weather and", "severe weather and headache", "headache", &["weather"]),
        ("unknown noun", "headache with severe elephants", "headache", &["elephants"]),
        ("once", "severe headache in the past, none now", "!headache", &[]),
        ("once and now", "severe headache in the past, mild headache now", "headache:mild", &[]),
        ("past week is now", "severe headache in the past week", "headache:severe", &[]),
        ("little finger", "headache, numbness of my little finger", "headache sensory_loss", &[]),
    ]);
}

#[test]
fn korean_onset_course_and_severity_are_read() {
    check(&[
        ("two kinds", "갑자기 심한 두통이", "headache:sudden,severe", &[]),
        ("behind", "두통이 갑자기 시작되었다", "headache:sudden", &[]),
        ("acute", "급성 두통", "headache:acute", &[]),
        ("gradual inside", "오른팔에 서서히 힘이 빠진다", "hemiparesis@right:gradual", &[]),
        ("span", "3개월에 걸쳐 오른쪽 다리에 힘이 빠졌다", "hemiparesis@right:gradual", &[]),
        ("vague span", "몇 주에 걸쳐 진행된 기억력 저하", "memory_impairment:subacute", &[]),
        ("one month", "한 달에 걸쳐 왼쪽 다리에 힘이 빠졌다", "hemiparesis@left:subacute", &[]),
        ("since yesterday", "어제부터 두통", "headache", &[]),
        ("since months", "몇 달 전부터 두통", "headache", &[]),
        ("since weeks", "3주 전부터 두통이 점점 심해진다", "headache:worsening", &[]),
        ("list", "갑자기 두통과 구토가 생겼다", "headache:sudden vomiting:sudden", &[]),
        ("manner of the course", "두통이 갑자기 심해졌다", "headache:worsening", &[]),
        ("worse", "두통과 구토가 점점 심해진다", "headache:worsening vomiting:worsening", &[]),
        ("worse inside", "말이 점점 어눌해진다", "dysarthria:worsening", &[]),
        ("own clause", "두통이 있고 점점 심해진다", "headache:worsening", &[]),
        ("than before", "두통이 예전보다 심해졌다", "headache:worsening", &[]),
        ("better", "두통이 점점 나아진다", "headache:improving", &[]),
        ("a little better", "두통이 조금 나아졌다", "headache:improving", &[]),
        ("not better", "두통이 호전되지 않는다", "headache", &[]),
        ("comes and goes", "두통이 왔다 갔다 한다", "headache:fluctuating", &[]),
        ("resolved", "두통이 나았다", "headache:resolved", &[]),
        ("within days", "두통이 3일 만에 나았다", "headache:resolved", &[]),
        ("no longer there", "두통이 있었는데 없어졌어요", "headache:resolved", &[]),
        ("not gone", "두통이 없어지지 않아요", "headache", &[]),
        ("only for a while", "약 먹으면 두통이 없어져요", "headache", &["약 먹으면"]),
        (
            "somebody else's",
            "누나는 심한 두통이 있고 저는 어지러워요",
            "vertigo",
            &["누나는 심한 두통이 있고"],
        ),
        ("was severe", "두통이 심했는데 지금은 나았다", "headache:resolved,severe", &[]),
        ("morning", "아침에 심해지는 두통", "headache", &[]),
        ("predicate", "두통이 심하다", "headache:severe", &[]),
        ("denied severity", "두통이 심하지 않다", "headache", &[]),
        ("not mild", "두통이 가볍지 않다", "headache", &[]),
        ("phrase", "참을 수 없는 두통", "headache:severe", &[]),
        ("phrase behind", "두통을 참을 수 없어요", "headache:severe", &[]),
        ("two", "심한 두통과 가벼운 어지럼증", "headache:severe vertigo:mild", &[]),
        ("two said", "두통이 심하고 구토가 가볍다", "headache:severe vomiting:mild", &[]),
        ("with a side", "경미한 좌측 편마비", "hemiparesis@left:mild", &[]),
        ("adverb", "조금 어지럽다", "vertigo:mild", &[]),
        ("a while ago", "조금 전부터 두통", "headache", &[]),
        ("denied and not", "두통은 없고 심한 구토", "!headache vomiting:severe", &[]),
        ("denied list", "심한 두통, 구토 없음", "headache:severe !vomiting", &[]),
        ("denied", "심한 두통은 없다", "!headache", &[]),
        ("heart", "심장 두통", "headache", &["심장"]),
        ("heart aches", "심장이 아프고 두통", "headache", &["심장이 아프고"]),
        ("name", "김갑자기 두통", "headache", &["김갑자기"]),
        ("once", "예전에 심한 두통이 있었다", "headache", &["예전에"]),
        ("of something else", "감기가 심한 뒤 두통", "headache", &["감기가 심한 뒤"]),
    ]);
}

#[test]
fn findings_do_not_depend_on_what_is_said_of_them() {
    let source = include_str!("../../../../assets/lexicon/symptoms.toml");
    let mut without: toml::Table = source.parse().expect("TOML");
    for language in ["english", "korean"] {
        without[language].as_table_mut().expect("a table").remove("attributes").expect("words");
    }
    let without = Lexicon::parse(&without.to_string()).expect("a sound lexicon");
    let lexicon = Lexicon::built_in().expect("a sound lexicon");
    for text in [
        "the worst headache of my life, sudden vomiting, no seizures, memory is getting worse",
        "progressive weakness and numbness of the right arm over two weeks, worse every day",
        "갑자기 심한 두통이 있고 구토는 없으며 오른팔에 서서히 힘이 빠진다",
        "3일 전부터 급격히 악화되었고 왼쪽 눈꺼풀이 조금 처진다",
    ] {
        let (mut with, bare) =
            (code(&lexicon, text, Writer::Other), code(&without, text, Writer::Other));
        assert_ne!(with.findings, bare.findings, "text: {text}");
        for finding in &mut with.findings {
            (finding.onset, finding.course, finding.severity) = (None, None, None);
        }
        assert!(with.findings == bare.findings, "text: {text}");
    }
}

#[test]
fn a_finding_stored_without_attributes_is_read_back() {
    let stored = r#"{"finding_id":"headache","code":"HP:0002315","display_name":"Headache",
        "side":null,"present":true,"matched_text":"headache"}"#;
    let finding: Finding = serde_json::from_str(stored).expect("a finding");
    assert_eq!((finding.onset, finding.course, finding.severity), (None, None, None));
    assert_eq!(finding.origin, Origin::Text);
    let lexicon = Lexicon::built_in().expect("a sound lexicon");
    let coded = code(&lexicon, "sudden mild headache, getting better", Writer::Other).findings;
    let json = serde_json::to_value(&coded[0]).expect("JSON");
    assert_eq!(json["onset"], "sudden");
    assert_eq!(json["course"], "improving");
    assert_eq!(json["severity"], "mild");
    assert_eq!(json["origin"], "text");
}
