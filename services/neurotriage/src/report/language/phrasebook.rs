//! The fixed sentences of the services and what they are in Korean.
//!
//! A service tells reasons, checks and signs as English text. Most of them are one of a closed set, with
//! numbers in places. A sentence that is not here has no translation and is shown as it was written.

use neurotriage_anatomy::{korean_eloquent_name, korean_region_name};
use neurotriage_domain::{RegionName, Side, Structure};

/// English sentence and Korean sentence. `{}` stands for any text; `{0}` and so on in the Korean one for
/// what stood there. An empty Korean sentence: the catalogue says it from the fields of the report.
#[rustfmt::skip]
pub(super) const PHRASES: &[(&str, &str)] = &[
    // Why the outcome is not sure.
    ("the {} sequence is missing or empty", "{0} 영상이 없거나 비어 있음"),
    ("the images are not in the space of the template that the model was trained in", "영상이 모델이 학습한 표준 공간에 있지 않음"),
    ("voxels are up to {} mm long, beyond the {} mm that the model can work from", "복셀 한 변이 최대 {0} mm로, 모델이 다룰 수 있는 {1} mm를 넘음"),
    ("{} ml of the image are not air, which is not the size of a brain without skull", "공기가 아닌 부분이 {0} ml로, 두개골을 제거한 뇌의 크기가 아님"),
    ("{} % of the brain are marked, more than a tumour takes", "뇌의 {0} %가 표시되어 종양이 차지하는 범위를 넘음"),
    ("the {} and the {} sequence are the same image", "{0} 영상과 {1} 영상이 같음"),
    ("fluid is not dark in T1 and bright in T2, as if the sequences were mixed up", "뇌척수액이 T1에서 어둡고 T2에서 밝지 않음: 영상 순서가 뒤바뀐 것으로 보임"),
    ("the brain lies {} mm from where the template has it: shifted, cut off or not registered", "뇌가 표준 위치에서 {0} mm 벗어남: 이동, 잘림 또는 정합되지 않음"),
    ("only {} ml are marked, smaller than any tumour that the model has learnt from", "표시된 부분이 {0} ml뿐으로, 모델이 학습한 어떤 종양보다 작음"),
    ("nothing is marked, but one place looks like tumour with a probability of {}", "표시된 부분은 없으나 한 곳이 종양일 확률이 {0}임"),
    ("confidence in the marking is low ({} of 1)", "종양 표시의 신뢰도가 낮음(1점 만점에 {0})"),
    ("the marking changes when the images are mirrored (standard deviation {})", "영상을 좌우로 뒤집으면 종양 표시가 달라짐(표준편차 {0})"),
    ("{} ml are neither clearly tumour nor clearly not", "{0} ml는 종양인지 아닌지 분명하지 않음"),
    // Why no region is named.
    ("most of the tumour lies outside the brain of the template: give the image too, to register the study", "종양 대부분이 표준 뇌의 바깥에 있음: 영상을 함께 제공해 정합해야 함"),
    ("registration to {} failed: mutual information {}, overlap of the brains {}", "{0} 정합 실패: 상호정보량 {1}, 뇌의 겹침 {2}"),
    // Reasons of the verdict.
    ("Part of the lesion lies where some findings point, but it contradicts most of what the findings say.", "병변 일부는 몇몇 증상이 가리키는 곳에 있으나, 증상이 가리키는 바의 대부분은 병변과 맞지 않습니다."),
    ("The side of the findings does not fit the side of the lesion.", "증상의 좌우가 병변의 좌우와 맞지 않습니다."),
    ("Language is taken to lie on the left, as in nearly all right-handed people.", "거의 모든 오른손잡이처럼 언어 중추가 왼쪽에 있다고 보았습니다."),
    ("In left-handed people language lies on the left less often, so findings of language side count less.", "왼손잡이는 언어 중추가 왼쪽에 있는 경우가 더 적어, 언어 쪽을 가리키는 증상의 비중을 낮추었습니다."),
    ("In people who use both hands language lies on the left less often, so findings of language side count less.", "양손잡이는 언어 중추가 왼쪽에 있는 경우가 더 적어, 언어 쪽을 가리키는 증상의 비중을 낮추었습니다."),
    ("Handedness is not recorded; language is taken to lie on the left.", "손잡이가 기록되지 않아 언어 중추가 왼쪽에 있다고 보았습니다."),
    ("Symptoms and image agree: {}", ""),
    ("Symptoms and image agree in part: {}", ""),
    ("Symptoms and image disagree: {}", ""),
    ("None of the reported findings points to a brain region, so they neither support nor contradict the image.", ""),
    ("The reported findings localise too weakly to support or contradict the image.", ""),
    ("No tumour was found in the image, so there is nothing to compare the symptoms with.", ""),
    ("The lesion lies in no region that symptoms point to.", ""),
    ("The lesion could not be placed in a brain region: {}", ""),
    ("It is not sure what the image shows, so the symptoms are not compared with it{}", ""),
    ("The lesion's main site is {}", ""),
    ("Without localising weight of their own: {}", ""),
    // Why a finding points to no region.
    ("{} names no region; it hints at the {} side in about {} of patients", "특정 부위를 가리키지 않으나, 환자의 약 {2}에서 {1} 병변을 시사합니다."),
    ("{} is only a weak hint at the region", "부위를 가리키는 힘이 약합니다."),
    ("{} counts for urgency and points to no region", "응급도 판단에 쓰이며, 특정 부위를 가리키지 않습니다."),
    ("{} is a general symptom and points to no region", "일반 증상으로, 특정 부위를 가리키지 않습니다."),
    ("{} is not in the evidence table and is not compared", "근거표에 없어 비교하지 않았습니다."),
    // Signs that need attention soon.
    ("Status epilepticus needs treatment at once.", "뇌전증지속상태는 즉시 치료가 필요합니다."),
    ("Swelling of the optic discs is a sign of raised pressure in the head.", "유두부종은 두개내압 상승의 징후입니다."),
    ("Raised pressure in the head was reported.", "두개내압 상승이 보고되었습니다."),
    ("Hydrocephalus was reported: the flow of cerebrospinal fluid may be blocked.", "수두증이 보고되었습니다: 뇌척수액의 흐름이 막혔을 수 있습니다."),
    ("Drowsiness can mean raised pressure in the head.", "졸음은 두개내압 상승을 뜻할 수 있습니다."),
    ("Loss of consciousness needs assessment at once.", "의식소실은 즉시 평가가 필요합니다."),
    ("Complete weakness of one side needs attention soon.", "완전 편마비는 조속한 진료가 필요합니다."),
    ("Loss of vision needs an eye examination soon.", "시력상실은 조속한 안과 진찰이 필요합니다."),
    ("Trouble swallowing carries a risk of aspiration.", "연하곤란은 흡인의 위험이 있습니다."),
    ("A drooping eyelid can be a sign of the brain stem and needs attention soon.", "안검하수는 뇌간 병변의 징후일 수 있어 조속한 진료가 필요합니다."),
    ("Double vision can be a sign of the brain stem and needs attention soon.", "복시는 뇌간 병변의 징후일 수 있어 조속한 진료가 필요합니다."),
    ("Long-tract signs can come from the brain stem and need attention soon.", "긴신경로징후는 뇌간에서 비롯될 수 있어 조속한 진료가 필요합니다."),
    ("Rapid decline needs assessment at once.", "급격한 악화는 즉시 평가가 필요합니다."),
    ("Unequal pupils can mean pressure on the brain stem.", "동공부등은 뇌간 압박을 뜻할 수 있습니다."),
    ("Confusion needs attention soon.", "혼돈은 조속한 진료가 필요합니다."),
    ("Headache with vomiting can mean raised pressure in the head.", "구토를 동반한 두통은 두개내압 상승을 뜻할 수 있습니다."),
    // What to check next.
    ("electroencephalogram", "뇌파 검사"),
    ("fundoscopy and visual acuity", "안저 검사와 시력 검사"),
    ("eye movement and cranial nerve examination", "안구 운동과 뇌신경 진찰"),
    ("language testing by a speech therapist", "언어재활사의 언어 평가"),
    ("formal visual field test", "시야 검사"),
    ("neuropsychological testing", "신경심리 검사"),
    ("examination of gait and coordination", "보행과 협응 진찰"),
    ("pure-tone audiometry", "순음청력검사"),
    ("swallowing assessment", "연하 기능 평가"),
    ("pituitary hormone panel", "뇌하수체 호르몬 검사"),
    ("structured neurological examination", "체계적인 신경학적 진찰"),
    ("repeat the neurological examination and confirm the side of each finding", "신경학적 진찰을 반복하고 각 증상의 좌우를 확인"),
    ("look for a second lesion or another cause of the findings", "두 번째 병변이나 증상의 다른 원인을 확인"),
    ("confirm the side of each finding and the orientation of the images", "각 증상의 좌우와 영상의 방향을 확인"),
    ("have the images read by a radiologist, and repeat or complete them if they are not sound", "영상의학과 판독을 받고, 영상이 온전하지 않으면 다시 촬영하거나 보완"),
    // Why a capability is called for.
    ("for any brain tumour", "모든 뇌종양에 필요"),
    ("because of the urgent signs", "응급 징후 때문"),
    ("for a patient under 18", "18세 미만 환자"),
    ("for a tumour of the {}", "{0}의 종양"),
    ("because language may lie in or near the {}", "{0} 또는 그 근처에 언어 중추가 있을 수 있음"),
    ("because the tumour lies {} mm from the {}", "종양이 {1}에서 {0} mm 거리에 있음"),
    ("because the tumour reaches the {}", "종양이 {0}에 닿음"),
    ("because of the visual signs", "시각 증상 때문"),
    ("because of the seizures", "발작 때문"),
    ("because it may be {}", "{0}의 가능성"),
    // Kinds of tumour worth thinking of.
    ("Several separate lesions enhance, as metastases and multifocal gliomas do.", "떨어져 있는 여러 병변이 조영증강되며, 이는 전이와 다발성 교종에서 보입니다."),
    ("One lesion of a cerebral lobe hardly enhances, as lower-grade gliomas do; they are removed as far as function allows.", "대뇌엽의 단일 병변이 거의 조영증강되지 않으며, 이는 저등급 교종에서 보입니다. 기능이 허락하는 만큼 제거합니다."),
    ("A child has a tumour of the posterior fossa, where medulloblastoma and ependymoma are frequent; both are irradiated, and protons spare the growing brain.", "소아의 후두와 종양으로, 수모세포종과 뇌실막세포종이 흔합니다. 둘 다 방사선 치료를 하며, 양성자는 자라는 뇌를 보호합니다."),
    ("The tumour lies in the cerebellopontine angle, where schwannoma and meningioma are frequent.", "종양이 소뇌교각에 있으며, 이곳에는 신경초종과 수막종이 흔합니다."),
    // Why the list of hospitals is short.
    ("No hospital can take this patient: the directory is empty.", "이 환자를 받을 수 있는 병원이 없습니다: 병원 목록이 비어 있습니다."),
    ("No hospital can take this patient: none accepts referrals at present.", "이 환자를 받을 수 있는 병원이 없습니다: 현재 의뢰를 받는 병원이 없습니다."),
    ("No hospital can take this patient: none that accepts referrals offers {}", ""),
    ("Only {} of the directory accept referrals and offer {}", ""),
];

/// What is known of a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// In Korean.
    Korean(String),
    /// The catalogue says it from the fields of the report.
    ToldByFields,
}

/// Returns what is known of an English sentence of a service.
pub(super) fn look_up(sentence: &str) -> Option<Known> {
    let sentence = sentence.trim();
    PHRASES.iter().find_map(|(english, korean)| {
        let parts =
            matched(english, sentence).or_else(|| matched(english, sentence.strip_suffix('.')?))?;
        if korean.is_empty() {
            return Some(Known::ToldByFields);
        }
        let mut text = (*korean).to_owned();
        for (number, part) in parts.iter().enumerate() {
            let korean = word(part).unwrap_or_else(|| (*part).to_owned());
            text = text.replace(&format!("{{{number}}}"), &korean);
        }
        Some(Known::Korean(text))
    })
}

/// Returns the text in the places of a template, if it fits.
fn matched<'a>(template: &str, text: &'a str) -> Option<Vec<&'a str>> {
    let mut literals = template.split("{}");
    let mut rest = text.strip_prefix(literals.next()?)?;
    let mut literals: Vec<&str> = literals.collect();
    let Some(last) = literals.pop() else { return rest.is_empty().then(Vec::new) };
    let mut parts = Vec::new();
    for literal in literals {
        let (part, after) = rest.split_once(literal)?;
        parts.push(part);
        rest = after;
    }
    parts.push(rest.strip_suffix(last)?);
    Some(parts)
}

/// Returns in Korean what stood in the place of a template: a side, a place in the brain, a kind of
/// tumour; `None` if it is none of these.
pub(super) fn word(part: &str) -> Option<String> {
    let korean = match part {
        "left" => "왼쪽",
        "right" => "오른쪽",
        "not known" => "알 수 없음",
        "metastases or multifocal glioma" => "전이 또는 다발성 교종",
        "lower grade glioma" => "저등급 교종",
        "posterior fossa tumour of childhood" => "소아 후두와 종양",
        "vestibular schwannoma or meningioma" => "전정신경초종 또는 수막종",
        place => return region(place).or_else(|| eloquent_area(place)),
    };
    Some(korean.to_owned())
}

/// Returns the Korean name of a region by its English one.
fn region(name: &str) -> Option<String> {
    let mut regions = Structure::ALL.iter().flat_map(|&structure| {
        [Side::Left, Side::Right, Side::Midline].map(|side| RegionName { structure, side })
    });
    regions.find(|region| region.display_name() == name).map(korean_region_name)
}

/// Returns the Korean name of an area of the cortex by its English one.
fn eloquent_area(name: &str) -> Option<String> {
    let (side, area) = name.split_once(' ')?;
    let stable = match area {
        "Broca's area" => "broca_area",
        "Wernicke's area" => "wernicke_area",
        "primary motor cortex" => "primary_motor_cortex",
        "primary somatosensory cortex" => "primary_somatosensory_cortex",
        "primary visual cortex" => "primary_visual_cortex",
        _ => return None,
    };
    korean_eloquent_name(&format!("{stable}_{side}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_known_with_their_numbers_and_others_are_not() {
        let korean = |text: &str| Some(Known::Korean(text.to_owned()));
        // (sentence, what is known)
        let table = [
            (
                "confidence in the marking is low (0.61 of 1)",
                korean("종양 표시의 신뢰도가 낮음(1점 만점에 0.61)"),
            ),
            (
                "Unilateral headache names no region; it hints at the left side in about 80 % of patients",
                korean("특정 부위를 가리키지 않으나, 환자의 약 80 %에서 왼쪽 병변을 시사합니다."),
            ),
            ("electroencephalogram", korean("뇌파 검사")),
            ("for a tumour of the left frontal lobe", korean("왼쪽 전두엽의 종양")),
            (
                "because the tumour lies 4 mm from the left Broca's area",
                korean("종양이 왼쪽 브로카 영역에서 4 mm 거리에 있음"),
            ),
            ("because it may be lower grade glioma", korean("저등급 교종의 가능성")),
            (
                "the FLAIR and the T1 sequence are the same image",
                korean("FLAIR 영상과 T1 영상이 같음"),
            ),
            (
                "Symptoms and image agree: 2 of 3 localising findings point to where the lesion lies.",
                Some(Known::ToldByFields),
            ),
            ("electroencephalography", None),
            ("", None),
        ];
        for (sentence, expected) in table {
            assert_eq!(look_up(sentence), expected, "{sentence}");
        }
    }

    #[test]
    fn korean_places_are_places_of_the_english_sentence() {
        for (english, korean) in PHRASES {
            let places = english.matches("{}").count();
            assert!(!korean.contains("{}"), "{english}");
            for number in places..10 {
                assert!(!korean.contains(&format!("{{{number}}}")), "{english}");
            }
        }
    }
}
