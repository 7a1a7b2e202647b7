//! Hospitals and the factors of their ranking in Korean.

use super::{
    super::super::{
        Factor, Hospital, Referral,
        text::{percent, words},
    },
    Known, look_up,
};

/// Returns a capability of a hospital by its stable name.
pub(super) fn capability(name: &str) -> String {
    let korean = match name {
        "neurosurgery" => "신경외과 수술",
        "awake_mapping" => "각성 수술 중 뇌기능 지도화",
        "skull_base" => "두개저 수술",
        "paediatric_neuro_oncology" => "소아 신경종양",
        "stereotactic_biopsy" => "정위 생검",
        "radiosurgery" => "방사선수술",
        "proton_therapy" => "양성자 치료",
        "neuro_ophthalmology" => "신경안과",
        "epilepsy_surgery" => "뇌전증 수술",
        "emergency_neurosurgery" => "응급 신경외과 수술",
        "radiotherapy" => "방사선 치료",
        other => return words(other),
    };
    korean.to_owned()
}

/// Returns what a factor of the ranking rests on; empty for a factor without words.
pub(super) fn factor_explanation(factor: &Factor, hospital: &Hospital) -> String {
    match factor.name.as_str() {
        "capability" => capability_explanation(factor, hospital),
        "distance" => match hospital.distance_km {
            Some(km) => format!("환자 집에서 {km:.0} km"),
            None => "환자 집의 위치가 기록되지 않아 모든 병원에 같게 적용".to_owned(),
        },
        "capacity" => format!("현재 의뢰의 {}를 받을 수 있음", percent(factor.value)),
        "emergency" if factor.value >= 0.5 => "언제든 응급 수술이 가능함".to_owned(),
        "emergency" => "상시 응급 수술은 하지 않음".to_owned(),
        _ => String::new(),
    }
}

/// Returns why the list is empty or short; empty if it is neither.
pub(super) fn hospitals_reason(referral: &Referral) -> String {
    if referral.reason.is_empty() {
        return String::new();
    }
    match look_up(&referral.reason) {
        Some(Known::Korean(korean)) => korean,
        _ if referral.hospitals.is_empty() => {
            "이 환자를 받을 수 있는 병원이 없습니다: 의뢰를 받으면서 \
            필요한 역량을 갖춘 병원이 없습니다."
                .to_owned()
        }
        _ => format!(
            "의뢰를 받으면서 필요한 역량을 갖춘 병원은 {}곳뿐입니다.",
            referral.hospitals.len()
        ),
    }
}

/// Returns a factor of the ranking by its name.
pub(super) fn factor(name: &str) -> String {
    let korean = match name {
        "capability" => "진료 역량",
        "distance" => "거리",
        "capacity" => "수용 여력",
        "emergency" => "응급 대응",
        "language" => "언어",
        "beds" => "병상",
        "waiting" => "대기",
        "history" => "의뢰 이력",
        other => return words(other),
    };
    korean.to_owned()
}

/// Says which of the capabilities that the service speaks of the hospital has, and which not.
fn capability_explanation(factor: &Factor, hospital: &Hospital) -> String {
    let told: Vec<&str> =
        CALLED_FOR.iter().filter(|name| is_told(&factor.explanation, name)).copied().collect();
    let (met, lacking): (Vec<&str>, Vec<&str>) =
        told.into_iter().partition(|name| hospital.capabilities.iter().any(|own| own == name));
    let list = |names: &[&str]| {
        names.iter().map(|name| capability(name)).collect::<Vec<String>>().join(", ")
    };
    match (met.is_empty(), lacking.is_empty()) {
        (false, true) => format!("필요한 역량을 갖춤: {}", list(&met)),
        (true, false) => format!("필요한 역량이 없음: {}", list(&lacking)),
        (false, false) => format!("갖춘 역량: {}; 없는 역량: {}", list(&met), list(&lacking)),
        (true, true) => {
            format!("이 환자에게 필요한 역량의 {}를 갖춤", percent(factor.value))
        }
    }
}

/// Capabilities that a tumour or a finding can call for.
const CALLED_FOR: [&str; 10] = [
    "awake_mapping",
    "skull_base",
    "paediatric_neuro_oncology",
    "stereotactic_biopsy",
    "radiosurgery",
    "proton_therapy",
    "neuro_ophthalmology",
    "epilepsy_surgery",
    "emergency_neurosurgery",
    "neurosurgery",
];

/// True if an English explanation speaks of a capability by its name.
fn is_told(explanation: &str, capability: &str) -> bool {
    let explanation = explanation.replace('-', " ");
    let without_longer = if capability == "neurosurgery" {
        explanation.replace("emergency neurosurgery", "")
    } else {
        explanation
    };
    without_longer.contains(&capability.replace('_', " "))
}
