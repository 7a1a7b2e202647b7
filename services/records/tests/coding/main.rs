//! What people write, and what the built-in lexicon makes of it.

mod attributes;
mod english;
mod korean;
mod written;

use neurotriage_records::{
    coding::{CODED_CHARS_MAX, Coded, Writer, code},
    lexicon::Lexicon,
};

/// Shows findings as `hemiparesis@right`, with `!` before one that the text denies.
fn shown(coded: &Coded) -> String {
    let findings = coded.findings.iter().map(|finding| {
        let denied = if finding.present { "" } else { "!" };
        let side = finding.side.map(|side| format!("@{side}")).unwrap_or_default();
        format!("{denied}{}{side}", finding.finding_id)
    });
    findings.collect::<Vec<String>>().join(" ")
}

/// Each row: the text, what is read, nothing left over.
fn check(table: &[(&str, &str)]) {
    for_each(table, |text, listed| assert!(listed.is_empty(), "text: {text}: {listed:?}"));
}

/// Each row: the text, what is read, something of it listed as not understood.
fn check_listed(table: &[(&str, &str)]) {
    for_each(table, |text, listed| assert!(!listed.is_empty(), "text: {text}"));
}

fn for_each(table: &[(&str, &str)], see: impl Fn(&str, &[String])) {
    let Ok(lexicon) = Lexicon::built_in() else { panic!("the built-in lexicon is sound") };
    for (text, findings) in table {
        let coded = code(&lexicon, text, Writer::Other);
        assert_eq!(shown(&coded), *findings, "text: {text}");
        see(text, &coded.not_understood);
    }
}

#[test]
fn english_findings_are_read_with_their_sides() {
    check(&[
        ("weakness of the right arm", "hemiparesis@right"),
        ("right-sided weakness", "hemiparesis@right"),
        ("weakness on the left", "hemiparesis@left"),
        ("weakness and numbness of the right arm and leg", "hemiparesis@right sensory_loss@right"),
        ("weakness in both legs", "hemiparesis@midline"),
        ("weakness of the left arm and right leg", "hemiparesis@midline"),
        ("the left arm feels weak", "hemiparesis@left"),
        ("hemiparesis (left)", "hemiparesis@left"),
        ("Rt hemiparesis, Lt facial palsy", "hemiparesis@right facial_palsy@left"),
        ("Right hemiparesis and aphasia", "hemiparesis@right aphasia"),
        ("right face and arm weakness", "hemiparesis@right"),
        ("right facial droop", "facial_palsy@right"),
        ("headache and weakness on the right", "headache hemiparesis@right"),
        ("numbness in left hand and headache", "sensory_loss@left headache"),
        ("the right side of my body is numb", "sensory_loss@right"),
        ("tingling in the fingers of the right hand", "paresthesia@right"),
        ("loss of vision on the right", "hemianopia@right"),
        ("right homonymous hemianopia", "hemianopia@right"),
        ("can't see to the right", "hemianopia@right"),
        ("I keep bumping into things on my left", "hemianopia@left"),
        ("vision loss in the right eye", "visual_loss@right"),
        ("blurred vision in both eyes", "blurred_vision@midline"),
        ("left superior quadrantanopia", "quadrantanopia_upper@left"),
        (
            "left lower quadrantanopia and left-sided neglect",
            "quadrantanopia_lower@left neglect@left",
        ),
        ("ignores the left side", "neglect@left"),
        ("left-sided headache", "unilateral_headache@left"),
        ("headache on both sides", "headache@midline"),
        ("drooping of the left eyelid", "ptosis@left"),
        ("ringing in the right ear", "tinnitus@right"),
        ("twitching of the left side of the face", "focal_motor_seizure@left"),
        (
            "progressive difficulty in walking with falls to the left",
            "gait_disturbance imbalance@left",
        ),
        ("I can't feel my left foot", "sensory_loss@left"),
        ("She cannot tell left from right", "left_right_disorientation"),
    ]);
}

#[test]
fn english_findings_are_read_however_they_are_put() {
    check(&[
        ("difficulty speaking", "aphasia"),
        ("trouble finding words", "anomic_aphasia"),
        ("can't find the right words", "anomic_aphasia"),
        ("word-finding difficulties", "anomic_aphasia"),
        ("he does not understand what is said", "receptive_aphasia"),
        ("Speech: slurred. Gait: unsteady.", "dysarthria gait_disturbance"),
        ("unsteady gait", "gait_disturbance"),
        ("difficulty walking and swallowing", "gait_disturbance dysphagia"),
        ("personality change", "personality_change"),
        ("not himself, apathetic and indifferent", "personality_change apathy"),
        (
            "memory problems; trouble concentrating; poor judgement",
            "memory_impairment attention_deficit executive_dysfunction",
        ),
        ("Headache and vomiting for three weeks, worse in the morning", "headache vomiting"),
        ("nausea/vomiting", "nausea vomiting"),
        ("Papilloedema, raised ICP", "papilledema raised_intracranial_pressure"),
        ("I have been seeing double for 2 weeks", "diplopia"),
        ("double vision when looking to the right", "diplopia"),
        ("He does not recognise faces", "prosopagnosia"),
        ("no sense of smell", "anosmia"),
        (
            "cannot dress himself, cannot do sums and cannot write",
            "dressing_apraxia dyscalculia dysgraphia",
        ),
        ("smells burning rubber before the attacks", "olfactory_seizure"),
        (
            "smells something burning, then stares blankly",
            "olfactory_seizure focal_impaired_awareness_seizure",
        ),
        ("déjà vu", "deja_vu"),
        (
            "bitemporal visual field loss, no periods and milky discharge",
            "bitemporal_hemianopia amenorrhea galactorrhea",
        ),
        ("very thirsty and overeating", "polydipsia hyperphagia"),
        ("I'm tired and sleepy all day", "fatigue drowsiness"),
        (
            "Patient is a right-handed 54-year-old man with a first generalized tonic-clonic seizure.",
            "seizure",
        ),
        ("passed out yesterday", "loss_of_consciousness"),
        ("stiff neck and hiccups", "neck_pain hiccups"),
        ("weak all over", "fatigue"),
        ("Rapid deterioration since yesterday, unequal pupils", "rapid_decline anisocoria"),
        ("he is declining rapidly and drowsy", "rapid_decline drowsiness"),
        ("right pupil dilated", "anisocoria@right"),
        ("headache. HEADACHE! headaches", "headache"),
    ]);
}

#[test]
fn english_denials_reach_as_far_as_they_are_meant() {
    check(&[
        ("No headache, nausea or vomiting.", "!headache !nausea !vomiting"),
        (
            "Denies headache, nausea, vomiting, but has right arm weakness.",
            "!headache !nausea !vomiting hemiparesis@right",
        ),
        ("No headache, right arm weakness since May", "!headache hemiparesis@right"),
        ("Headache, but no vomiting", "headache !vomiting"),
        ("Without nausea or vomiting", "!nausea !vomiting"),
        ("Neither nausea nor vomiting", "!nausea !vomiting"),
        ("The patient denies any seizures. She reports blurred vision.", "!seizure blurred_vision"),
        ("He has never had a seizure", "!seizure"),
        ("seizures: none; headaches - none", "!seizure !headache"),
        ("headache: no, vomiting: yes", "!headache vomiting"),
        ("seizure (-), headache (+)", "!seizure headache"),
        ("seizure-free", "!seizure"),
        ("no longer has headaches", "!headache"),
        ("headaches have not improved", "headache"),
        ("The headache is not severe", "headache"),
        ("numbness without weakness of the left leg", "sensory_loss !hemiparesis@left"),
        ("no evidence of papilledema", "!papilledema"),
        ("No rapid decline, no anisocoria", "!rapid_decline !anisocoria"),
    ]);
}

#[test]
fn korean_findings_are_read_with_their_sides() {
    check(&[
        ("두통", "headache"),
        ("왼쪽 팔에 힘이 없다", "hemiparesis@left"),
        ("오른손에 힘이 없고 물건을 자꾸 떨어뜨립니다.", "hemiparesis@right"),
        ("오른쪽 팔다리에 힘이 빠지고 말이 어눌해졌다", "hemiparesis@right dysarthria"),
        ("왼쪽 팔과 다리에 힘이 없고 저리다", "hemiparesis@left paresthesia@left"),
        ("양쪽 다리에 힘이 없어요", "hemiparesis@midline"),
        ("우측 상하지 위약감", "hemiparesis@right"),
        ("우측 편마비와 실어증", "hemiparesis@right aphasia"),
        ("좌측 반신 감각저하", "sensory_loss@left"),
        ("오른쪽 다리가 저려요", "paresthesia@right"),
        ("오른쪽 시야가 안 보인다", "hemianopia@right"),
        ("왼쪽이 안 보여요", "hemianopia@left"),
        ("왼쪽을 자꾸 부딪혀요", "hemianopia@left"),
        ("우측 상사분맹", "quadrantanopia_upper@right"),
        ("왼쪽 무시 증후군과 착의 실행증", "neglect@left dressing_apraxia"),
        ("좌측 안면마비", "facial_palsy@left"),
        ("왼쪽 눈꺼풀이 처진다", "ptosis@left"),
        ("양쪽 귀에서 소리가 나요", "tinnitus@midline"),
        ("두통(우측)", "headache@right"),
        ("오른쪽 팔에 경련이 온다", "focal_motor_seizure@right"),
        ("오른손잡이 환자로 두통을 호소", "headache"),
    ]);
}

#[test]
fn korean_findings_are_read_however_they_are_put() {
    check(&[
        ("경련", "seizure"),
        ("말이 어눌하다", "dysarthria"),
        ("말이 잘 안 나오고 단어가 생각나지 않아요", "aphasia anomic_aphasia"),
        ("단어가 잘 안 떠오르고 계산을 못 해요", "anomic_aphasia dyscalculia"),
        ("얼굴을 잘 못 알아본다", "prosopagnosia"),
        ("계산이 안 되고 좌우를 구분하지 못한다", "dyscalculia left_right_disorientation"),
        ("글씨를 못 쓰고 글을 못 읽는다", "dysgraphia alexia"),
        ("머리가 아프고 토했어요", "headache vomiting"),
        ("아침마다 머리가 깨질 듯이 아프고 토한다", "headache vomiting"),
        ("환자는 3개월 전부터 두통과 어지럼증, 오심을 호소하였음", "headache vertigo nausea"),
        ("시야가 흐리고 물체가 두 개로 보인다", "blurred_vision diplopia"),
        ("귀에서 소리가 나고 잘 안 들려요", "tinnitus hearing_impairment"),
        ("어지럽고 균형을 못 잡겠어요", "vertigo imbalance"),
        ("걸을 때 비틀거린다", "gait_disturbance"),
        ("복시, 안진, 보행 실조", "diplopia nystagmus gait_disturbance"),
        ("손을 떨고 걸음걸이가 이상하다", "tremor gait_disturbance"),
        ("성격이 변했어요", "personality_change"),
        ("기억력이 떨어졌다", "memory_impairment"),
        ("의욕이 없고 하루종일 누워 있다", "apathy abulia"),
        ("소변 실수가 있다", "urinary_incontinence"),
        ("3일 전부터 급격히 악화되었고 졸려요", "rapid_decline drowsiness"),
        ("동공 부등, 급격한 악화", "anisocoria rapid_decline"),
        ("냄새를 못 맡는다", "anosmia"),
        ("타는 냄새가 난 후 멍해진다", "olfactory_seizure focal_impaired_awareness_seizure"),
        ("의식을 잃고 쓰러졌다", "loss_of_consciousness"),
        ("양이측 반맹과 무월경", "bitemporal_hemianopia amenorrhea"),
        ("음식을 삼키기 어렵다", "dysphagia"),
        ("삼키기가 어렵습니다", "dysphagia"),
        ("물을 삼키기 힘들어요", "dysphagia"),
        ("자꾸 졸립니다", "drowsiness"),
        ("걷기가 어렵습니다", "gait_disturbance"),
        ("우울하고 불안하다", "depression anxiety"),
        ("딸꾹질이 멈추지 않는다", "hiccups"),
        ("뒷목이 뻣뻣하다", "neck_pain"),
        ("right arm weakness 있고 두통 호소", "hemiparesis@right headache"),
    ]);
}

#[test]
fn korean_denials_follow_what_they_deny() {
    check(&[
        ("두통은 없고 구토가 있다", "!headache vomiting"),
        ("두통, 구토 없음", "!headache !vomiting"),
        ("두통, 구역, 구토는 없으나 경련이 있었음", "!headache !nausea !vomiting seizure"),
        ("오심이나 구토는 없다", "!nausea !vomiting"),
        ("경련은 없었고 의식소실도 없었습니다", "!seizure !loss_of_consciousness"),
        ("머리가 안 아프다", "!headache"),
        ("경련(-), 두통(+)", "!seizure headache"),
        ("두통이 심하지 않다", "headache"),
        ("구토 증상은 전혀 없었다", "!vomiting"),
        ("두통 부인", "!headache"),
    ]);
}

#[test]
fn what_is_not_understood_is_listed_and_never_dropped() {
    let lexicon = Lexicon::built_in().expect("a sound lexicon");
    let table: [(&str, &str, &[&str]); 12] = [
        ("purple elephants dancing, headache", "headache", &["purple elephants dancing"]),
        ("headache with purple elephants", "headache", &["purple elephants"]),
        ("leg pain and headache", "headache", &["leg pain"]),
        ("weakness", "", &["weakness"]),
        ("left arm", "", &["left arm"]),
        ("no purple elephants", "", &["no purple elephants"]),
        ("family history of seizures. Headache.", "headache", &["family history of seizures"]),
        ("Seizures started in January; on levetiracetam", "seizure", &["on levetiracetam"]),
        ("배가 아프다", "", &["배가 아프다"]),
        ("하지만 힘이 없다", "", &["하지만 힘이 없다"]),
        ("반복 시 힘듦, 두통", "headache", &["반복 시 힘듦"]),
        ("가족력 경련", "", &["가족력 경련"]),
    ];
    for (text, findings, pieces) in table {
        let coded = code(&lexicon, text, Writer::Other);
        assert_eq!(shown(&coded), findings, "text: {text}");
        assert_eq!(coded.not_understood, pieces, "text: {text}");
    }
}

#[test]
fn a_relative_who_writes_means_the_patient() {
    let lexicon = Lexicon::built_in().expect("the built-in lexicon is sound");
    // (text, what a relative says with it, what anybody else does)
    let table = [
        ("Mum forgets appointments", "memory_impairment", ""),
        ("My husband had two seizures. He is confused.", "seizure confusion", ""),
        ("her mother had seizures", "", ""),
        ("mum's brother has epilepsy", "", ""),
        ("family history of epilepsy", "", ""),
        ("남편이 경련을 했어요", "seizure", ""),
        ("어머니가 자꾸 넘어지세요", "imbalance", ""),
        ("어머니의 오빠가 뇌전증이 있어요", "", ""),
        ("가족력: 뇌전증", "", ""),
    ];
    for (text, relative, other) in table {
        assert_eq!(shown(&code(&lexicon, text, Writer::Relative)), relative, "text: {text}");
        assert_eq!(shown(&code(&lexicon, text, Writer::Other)), other, "text: {text}");
    }
}

#[test]
fn sides_of_lesions_are_of_no_finding() {
    check_listed(&[
        ("Right hemiparesis from left MCA infarct", "hemiparesis@right"),
        ("aphasia due to left frontal tumour", "aphasia"),
        ("s/p R frontal craniotomy, now L facial droop", "facial_palsy@left"),
        ("좌측 전두엽 종양에 의한 편마비", "hemiparesis"),
        ("우측 측두엽 교모세포종으로 발작", "seizure"),
        ("좌측 뇌경색 후 우측 편마비", "hemiparesis@right"),
    ]);
    check(&[
        ("left cerebellar ataxia", "ataxia@left"),
        ("left temporal headache", "unilateral_headache@left"),
    ]);
}

#[test]
fn abbreviations_of_notes_are_read() {
    check(&[
        ("Lt. hemiparesis", "hemiparesis@left"),
        ("Broca's aphasia, Rt. facial droop", "expressive_aphasia facial_palsy@right"),
        ("R arm weakness, no N/V", "hemiparesis@right !nausea !vomiting"),
        ("headache, N&V", "headache nausea vomiting"),
        ("R-sided weakness", "hemiparesis@right"),
        ("Headache ? No. Seizures ? Yes.", "!headache seizure"),
        ("Seizures come and go, some weeks five, some weeks none.", "seizure"),
        ("h/a(+), N/V(-/-), seizure(-)", "headache !nausea !vomiting !seizure"),
        ("dysphagia는 없음, tremor는 없음", "!dysphagia !tremor"),
    ]);
    check_listed(&[("Persistent hiccups and vertigo. ? medulla", "hiccups vertigo")]);
}

#[test]
fn a_function_that_is_lost_is_a_finding_and_no_denial() {
    check(&[
        ("말이 나오지 않아요", "expressive_aphasia"),
        ("오른쪽이 보이지 않아요", "hemianopia@right"),
        ("균형감각이 없어요", "imbalance"),
        ("왼쪽 오른쪽 구분을 못해요", "left_right_disorientation"),
        ("겹쳐 보이지는 않아요", "!diplopia"),
        ("두통은 있으나 구역, 구토는 없고", "headache !nausea !vomiting"),
    ]);
    check_listed(&[
        ("딸꾹질이 이틀째 멈추질 않아요", "hiccups"),
        ("지남력 있음", ""),
        ("My left cheek has gone numb", "sensory_loss@left"),
    ]);
}

#[test]
fn words_of_letters_and_notes_are_no_findings() {
    let lexicon = Lexicon::built_in().expect("the built-in lexicon is sound");
    for text in [
        "I do not understand why my appointment was cancelled",
        "Please follow up his thyroid problems",
        "I am writing about the problems with transport",
        "ECG: 1 mm ST depression in V4",
        "L5/S1 disc herniation",
        "repair under general anaesthesia",
        "fine needle aspiration was benign",
        "Plan: slow titration of ramipril",
        "She knows what she wants",
        "a shunt was fitted last year",
        "흉부 CT상 결절은 보이지 않습니다",
        "이 명단에 있는 분들",
        "다음 증상이 있으면 오세요",
        "혼자 사시는 분",
        "신경 질환 센터",
        "보행 안정적임",
        "세 번 이상 운동을 하세요",
    ] {
        let coded = code(&lexicon, text, Writer::Other);
        assert_eq!(shown(&coded), "", "text: {text}");
    }
}

#[test]
fn the_matched_text_is_a_piece_of_what_was_written() {
    let lexicon = Lexicon::built_in().expect("a sound lexicon");
    // Korean as separate letters, as some systems send it, reads the same.
    let letters = "\u{1103}\u{116E}\u{1110}\u{1169}\u{11BC}";
    assert_eq!(code(&lexicon, letters, Writer::Other).findings[0].matched_text, "두통");
    let coded = code(&lexicon, "Since May: WEAKNESS of the Right Arm!", Writer::Other);
    assert_eq!(coded.findings[0].matched_text, "WEAKNESS of the Right Arm");
    assert_eq!(coded.findings[0].code, "HP:0001269");
    assert_eq!(coded.findings[0].display_name, "Hemiparesis");
}

#[test]
fn every_word_of_the_lexicon_is_read_as_its_own_finding() {
    let lexicon = Lexicon::built_in().expect("a sound lexicon");
    let source: toml::Table =
        include_str!("../../../../assets/lexicon/symptoms.toml").parse().expect("TOML");
    let mut wrong = Vec::new();
    for finding in source["finding"].as_array().expect("findings") {
        let id = finding["id"].as_str().expect("a key");
        let of = |key: &str| finding.get(key).and_then(|words| words.as_array()).cloned();
        let words = of("english").into_iter().chain(of("korean")).flatten();
        for phrase in words {
            let phrase = phrase.as_str().expect("a phrase");
            if phrase.contains(['!', '@']) {
                continue;
            }
            let coded = code(&lexicon, phrase, Writer::Other);
            let read = coded.findings.iter().any(|found| found.finding_id == id && found.present);
            if !read || coded.findings.len() > 1 {
                wrong.push(format!("{id}: {phrase}: {}", shown(&coded)));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_word_that_denies_a_finding_denies_it_alone() {
    let lexicon = Lexicon::built_in().expect("a sound lexicon");
    let source: toml::Table =
        include_str!("../../../../assets/lexicon/symptoms.toml").parse().expect("TOML");
    let mut wrong = Vec::new();
    let mut read = 0;
    for finding in source["finding"].as_array().expect("findings") {
        let denied = format!("!{}", finding["id"].as_str().expect("a key"));
        let of = |key: &str| {
            let words = finding.get(key).and_then(|words| words.as_array()).cloned();
            let words = words.unwrap_or_default().into_iter();
            words.map(|word| word.as_str().expect("words").to_owned()).collect::<Vec<_>>()
        };
        let mut rows: Vec<(String, &str)> = Vec::new();
        for function in of("english_intact") {
            rows.push((format!("{function} is normal"), &denied));
            rows.push((format!("intact {function}"), &denied));
            rows.push((function, ""));
        }
        rows.extend(of("english_absent").into_iter().map(|text| (text, denied.as_str())));
        for text in of("english_denied") {
            rows.push((format!("no {text}"), &denied));
            rows.push((text, ""));
        }
        let korean = of("korean_absent").into_iter();
        rows.extend(korean.map(|text| (text.replace("!intact", "정상"), denied.as_str())));
        rows.extend(of("korean_denied").into_iter().map(|text| (text, "")));
        for (text, meant) in rows {
            read += 1;
            let coded = code(&lexicon, &text, Writer::Other);
            if shown(&coded) != meant {
                wrong.push(format!("{text}: {} for {meant}", shown(&coded)));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(read > 100, "{read}");
}

#[test]
fn long_and_odd_texts_are_read_to_the_end() {
    let lexicon = Lexicon::built_in().expect("a sound lexicon");
    let table = [
        "weak arm ".repeat(3_000),
        "팔에 힘이 없고 ".repeat(3_000),
        "no ".repeat(7_000),
        "(-)".repeat(6_000),
        ".".repeat(CODED_CHARS_MAX),
        "가".repeat(CODED_CHARS_MAX + 1),
        "e\u{301}\u{301}''’’ -- \u{0}\u{200B}🧠 (".repeat(900),
        "' '' 'headache' l'headache’".to_owned(),
        "sudden severe ".repeat(1_400),
        "headache within 2 days ".repeat(850),
        "severe, ".repeat(2_500),
        "worst headache of my ".repeat(950),
        "갑자기 심한 ".repeat(2_800),
        "memory and attention ".repeat(950),
        "normal ".repeat(2_800),
        "left arm weak ".repeat(1_400),
        "없는 증상: 두통 ".repeat(1_900),
        "두통이 3주에 걸쳐 점점 ".repeat(1_400),
    ];
    for text in table {
        let coded = code(&lexicon, &text, Writer::Other);
        assert!(coded.findings.len() < 10);
    }
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    const WORDS: [&str; 54] = [
        "headache",
        "weakness",
        "right arm",
        "left",
        "vomiting",
        "seizures",
        "no",
        "denies",
        "not",
        "sudden",
        "severe",
        "mild",
        "a little",
        "getting worse",
        "worst",
        "of my life",
        "comes and goes",
        "better now",
        "over",
        "within",
        "two",
        "weeks",
        "days",
        "progressive",
        "and",
        ",",
        ".",
        "but",
        "in the past",
        "두통이",
        "구토",
        "오른팔에 힘이 없고",
        "갑자기",
        "심한",
        "심하지",
        "않다",
        "점점",
        "심해진다",
        "3주에 걸쳐",
        "없다",
        "두통없음",
        "안",
        "안함",
        "없다고는",
        "밖에",
        "(-)",
        "(+/-)",
        "?",
        "my mother has",
        "as a child",
        "none since",
        "ruled out",
        "without",
        "until",
    ];

    fn words() -> impl Strategy<Value = String> {
        proptest::collection::vec(proptest::sample::select(WORDS.as_slice()), 0..14)
            .prop_map(|words| words.join(" "))
    }

    fn lexicon() -> &'static Lexicon {
        static LEXICON: std::sync::OnceLock<Lexicon> = std::sync::OnceLock::new();
        LEXICON.get_or_init(|| {
            let Ok(lexicon) = Lexicon::built_in() else { panic!("the built-in lexicon is sound") };
            lexicon
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        #[test]
        fn any_text_is_read_without_a_panic(text in "\\PC{0,200}") {
            let coded = code(lexicon(), &text, Writer::Other);
            prop_assert!(coded.findings.len() <= text.chars().count());
        }

        #[test]
        fn no_word_is_dropped_and_no_denied_finding_is_described(
            before in words(), after in words(),
        ) {
            let lexicon = lexicon();
            let text = format!("{before} zzqx {after}");
            let coded = code(lexicon, &text, Writer::Other);
            prop_assert!(
                coded.not_understood.iter().any(|piece| piece.contains("zzqx")),
                "text: {text}"
            );
            for piece in &coded.not_understood {
                prop_assert!(text.contains(piece.as_str()), "text: {text}");
            }
            for finding in coded.findings.iter().filter(|finding| !finding.present) {
                let said = (finding.onset, finding.course, finding.severity);
                prop_assert_eq!(said, (None, None, None), "text: {}", text);
            }
        }
    }
}
