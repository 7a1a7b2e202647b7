//! Hospitals and the factors of their ranking in Korean.

use super::{
    super::super::{
        Factor, Hospital, Referral, Requirement, TumourHint,
        text::{percent, words},
    },
    Known, look_up, word,
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
        "stroke" => "뇌졸중 진료",
        "radiotherapy" => "방사선 치료",
        other => return words(other),
    };
    korean.to_owned()
}

/// Returns a capability that is called for, with its reason where there are words for it.
pub(super) fn requirement(requirement: &Requirement) -> String {
    let name = capability(&requirement.capability);
    match look_up(&requirement.why) {
        Some(Known::Korean(why)) => format!("{name}({why})"),
        Some(Known::ToldByFields) | None => name,
    }
}

/// Returns what speaks for a kind of tumour; empty if there are no words for it.
pub(super) fn tumour_hint(hint: &TumourHint) -> String {
    match (word(&words(&hint.kind)), look_up(&hint.reason)) {
        (Some(kind), Some(Known::Korean(reason))) => format!("{kind}: {reason}"),
        _ => String::new(),
    }
}

/// Returns what a factor of the ranking rests on; empty if there are no words for it.
pub(super) fn factor_explanation(
    factor: &Factor,
    hospital: &Hospital,
    referral: &Referral,
) -> String {
    match factor.name.as_str() {
        "capability" => capability_explanation(factor, hospital, referral),
        "travel" | "distance" => travel_explanation(hospital),
        "capacity" => capacity_explanation(factor, hospital),
        "readiness" | "emergency" if factor.value >= 0.5 => "언제든 응급 수술이 가능함".to_owned(),
        "readiness" | "emergency" => "상시 응급 수술은 하지 않음".to_owned(),
        _ => String::new(),
    }
}

fn capacity_explanation(factor: &Factor, hospital: &Hospital) -> String {
    let share = percent(factor.value);
    match hospital.beds_free {
        Some(0) => "빈 병상이 없음".to_owned(),
        Some(beds) => format!("현재 의뢰의 {share}를 받을 수 있고 빈 병상이 {beds}개 있음"),
        None => format!("현재 의뢰의 {share}를 받을 수 있음"),
    }
}

fn travel_explanation(hospital: &Hospital) -> String {
    match (hospital.distance_km, hospital.travel_minutes) {
        (Some(km), Some(minutes)) => {
            format!("환자 집에서 {km:.0} km, 도로로 약 {}(추정)", duration(minutes))
        }
        (Some(km), None) => format!("환자 집에서 {km:.0} km"),
        (None, _) => "환자 집의 위치가 기록되지 않아 모든 병원에 같게 적용".to_owned(),
    }
}

fn duration(minutes: f64) -> String {
    let minutes = minutes.round();
    if minutes < 60.0 {
        return format!("{minutes:.0}분");
    }
    format!("{:.0}시간 {:.0}분", (minutes / 60.0).floor(), minutes % 60.0)
}

/// Says which of what is called for beside the essential the hospital has, and which not.
fn capability_explanation(factor: &Factor, hospital: &Hospital, referral: &Referral) -> String {
    if referral.requirements.is_empty() {
        return format!("이 환자에게 필요한 역량의 {}를 갖춤", percent(factor.value));
    }
    let wanted = referral.requirements.iter().filter(|requirement| !requirement.essential);
    let (met, lacking): (Vec<&Requirement>, Vec<&Requirement>) =
        wanted.partition(|wanted| hospital.capabilities.contains(&wanted.capability));
    let list = |wanted: &[&Requirement]| {
        wanted.iter().map(|wanted| requirement(wanted)).collect::<Vec<String>>().join(", ")
    };
    match (met.is_empty(), lacking.is_empty()) {
        (true, true) => "신경외과 수술을 갖춤; 더 특별한 역량은 필요하지 않음".to_owned(),
        (false, true) => format!("필요한 역량을 갖춤: {}", list(&met)),
        (true, false) => format!("없는 역량: {}", list(&lacking)),
        (false, false) => format!("갖춘 역량: {}; 없는 역량: {}", list(&met), list(&lacking)),
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
        "travel" | "distance" => "이동 거리",
        "capacity" => "수용 여력",
        "readiness" | "emergency" => "응급 대응",
        other => return words(other),
    };
    korean.to_owned()
}
