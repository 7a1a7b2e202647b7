//! The Korean catalogue: sentences are made from the fields of a report, in the terms of the Korean
//! Medical Association. Fixed sentences of the services come from the phrase book.

mod labels;
mod places;
mod referral;

use neurotriage_anatomy::{MidlineShift, korean_eloquent_name, korean_name};
use neurotriage_domain::{RegionName, Side, Structure};

use self::places::{places, region_by_name, with_particle};
use super::{
    super::{
        Alternative, Assessment, Cause, Factor, Finding, Fit, Hospital, Image, Lesion, Outcome,
        Placement, Referral, RegionProbability, Report, Requirement, Space, TumourHint, Verdict,
        text::{percent, plain, words},
    },
    Labels, Wording,
    english::{ELOQUENT_MAX, headline_regions},
    findings,
    phrasebook::{Known, look_up, word},
};

/// Weight of a further region from which the reasons name it, 0 to 1.
const FURTHER_SITE_MIN: f64 = 0.15;

/// The Korean catalogue.
pub(super) struct Korean;

fn cause(alternative: &Alternative, names: &str) -> String {
    match alternative.cause {
        Cause::RaisedPressure => {
            format!(
                "두개내압 상승은 병변의 위치와 관계없이 {} 일으킬 수 있습니다.",
                with_particle(names, "을", "를")
            )
        }
        Cause::SeizureAftermath => format!(
            "발작 뒤에는 그곳에 병변이 없어도 {} 몇 시간에서 며칠 동안 지속될 수 있습니다.",
            with_particle(names, "이", "가")
        ),
        Cause::MassEffect => format!(
            "부종이나 압박이 {} 설명할 수 있습니다: 병변의 작은 부분이 그곳에 닿습니다.",
            with_particle(names, "을", "를")
        ),
        Cause::SecondLesion => format!(
            "두 번째 병변이 있다면 {} 설명됩니다: 이 병변은 그곳에 닿지 않습니다.",
            with_particle(names, "이", "가")
        ),
        Cause::OtherDisease => {
            format!("{}의 배경에 다른 질환이 있을 수 있습니다.", names)
        }
        Cause::Unknown => format!("{}에 다른 원인이 있을 수 있습니다.", names),
    }
}

/// Returns the sentences that the phrase book knows, in Korean.
fn known(sentences: &[String]) -> Vec<String> {
    let korean = sentences.iter().filter_map(|sentence| match look_up(sentence) {
        Some(Known::Korean(korean)) => Some(korean),
        Some(Known::ToldByFields) | None => None,
    });
    korean.collect()
}

impl Korean {
    fn marked(&self, image: &Image) -> String {
        let Some(largest) = image.lesions.first() else {
            return "영상에서 종양이 발견되지 않았습니다.".to_owned();
        };
        let volume = if image.lesions.len() == 1 {
            format!("병변 {:.1} ml", largest.volumes.whole_ml)
        } else {
            format!(
                "병변 {}개, 합계 {:.1} ml, 가장 큰 것 {:.1} ml",
                image.lesions.len(),
                image.volumes.whole_ml,
                largest.volumes.whole_ml
            )
        };
        if image.space == Space::Unknown {
            return format!("{volume}. 영상의 공간을 알 수 없어 뇌 영역을 정하지 못했습니다.");
        }
        let named: Vec<String> = headline_regions(largest)
            .into_iter()
            .map(|region| {
                let name = region_by_name(&region.region, &region.display_name);
                format!("{name}({})", percent(region.share))
            })
            .collect();
        if named.is_empty() {
            return format!("{volume}. 아틀라스의 어떤 영역에도 닿지 않습니다.");
        }
        let crossing = if largest.crosses_midline { "; 정중선을 넘음" } else { "" };
        format!("{volume}: {}{crossing}.", named.join(", "))
    }

    /// Returns the verdict with the count that it rests on.
    fn first_reason(&self, report: &Report) -> String {
        let (assessment, image) = (&report.assessment, &report.image);
        if assessment.image_regions.is_empty() {
            return match image.outcome {
                Some(Outcome::NotSure) => {
                    "영상 소견이 확실하지 않아 증상과 비교하지 않았습니다.".to_owned()
                }
                _ if image.lesions.is_empty() => {
                    "영상에서 종양이 발견되지 않아 증상과 비교할 것이 없습니다.".to_owned()
                }
                _ if image.space == Space::Unknown => {
                    "병변이 어느 뇌 영역에 있는지 정하지 못했습니다.".to_owned()
                }
                _ => "병변이 증상이 가리키는 영역에 있지 않습니다.".to_owned(),
            };
        }
        let count =
            |fit: Fit| report.symptoms.findings.iter().filter(|finding| finding.fit == fit).count();
        let explained = count(Fit::Explained);
        let localising = explained + count(Fit::Unexplained);
        let counted = format!(
            "위치를 가리키는 소견 {localising}개 중 {explained}개가 병변이 있는 곳을 가리킵니다."
        );
        match assessment.verdict {
            Verdict::Concordant => format!("증상과 영상이 일치합니다: {counted}"),
            Verdict::PartlyConcordant => format!("증상과 영상이 일부 일치합니다: {counted}"),
            Verdict::Discordant => format!("증상과 영상이 일치하지 않습니다: {counted}"),
            Verdict::InsufficientEvidence if localising == 0 => {
                "보고된 소견 중 뇌 영역을 가리키는 것이 없어, 영상을 뒷받침하지도 반박하지도 않습니다.".to_owned()
            }
            Verdict::InsufficientEvidence => {
                "보고된 소견이 위치를 가리키는 힘이 약해, 영상을 뒷받침하지도 반박하지도 않습니다.".to_owned()
            }
        }
    }

    fn site_reason(&self, regions: &[RegionProbability]) -> Option<String> {
        let (first, rest) = regions.split_first()?;
        let name = |region: &RegionProbability| {
            let name = region_by_name(&region.region, &region.display_name);
            format!("{name}({})", percent(region.probability))
        };
        let further: Vec<String> =
            rest.iter().filter(|region| region.probability >= FURTHER_SITE_MIN).map(name).collect();
        let further = if further.is_empty() {
            String::new()
        } else {
            format!(" 또한 {}에 이릅니다.", further.join(", "))
        };
        Some(format!("병변의 주 위치는 {}입니다.{further}", name(first)))
    }
}

impl Wording for Korean {
    fn labels(&self) -> &'static Labels {
        &labels::LABELS
    }

    fn side(&self, side: Side) -> &'static str {
        match side {
            Side::Left => "왼쪽",
            Side::Right => "오른쪽",
            Side::Midline => "정중",
        }
    }

    fn body_side(&self, side: Side) -> &'static str {
        if side == Side::Midline { "양쪽" } else { self.side(side) }
    }

    fn region(&self, region: &str, display_name: &str) -> String {
        region_by_name(region, display_name)
    }

    fn structure(&self, structure: Structure) -> &'static str {
        // The full name is too long for a drawing.
        if structure == Structure::Hypothalamus { "시상하부" } else { korean_name(structure) }
    }

    fn finding(&self, finding_id: &str) -> String {
        findings::names(finding_id)
            .map_or_else(|| words(finding_id), |(_, korean)| korean.to_owned())
    }

    fn sided_finding(&self, finding: &Finding) -> String {
        let name = findings::names(&finding.finding_id)
            .map_or_else(|| plain(&finding.display_name), |(_, korean)| korean.to_owned());
        match finding.side {
            Some(Side::Midline) => format!("{name}(양쪽)"),
            Some(side) => format!("{name}({})", self.side(side)),
            None => name,
        }
    }

    fn fit(&self, fit: Fit) -> &'static str {
        match fit {
            Fit::Explained => "설명됨",
            Fit::Unexplained => "설명되지 않음",
            Fit::NotLocalising => "위치와 무관",
            Fit::Denied => "없다고 함",
            Fit::NotCompared => "비교하지 않음",
        }
    }

    fn verdict(&self, verdict: Verdict) -> &'static str {
        match verdict {
            Verdict::Concordant => "일치",
            Verdict::PartlyConcordant => "일부 일치",
            Verdict::Discordant => "불일치",
            Verdict::InsufficientEvidence => "근거 부족",
        }
    }

    fn verdict_meaning(&self, verdict: Verdict) -> &'static str {
        match verdict {
            Verdict::Concordant => "증상이 병변이 있는 영역을 가리킵니다.",
            Verdict::PartlyConcordant => "일부 증상은 병변의 영역과 맞고, 일부는 맞지 않습니다.",
            Verdict::Discordant => "증상이 병변과 다른 영역을 가리킵니다.",
            Verdict::InsufficientEvidence => "영상과 증상을 비교할 근거가 부족합니다.",
        }
    }

    fn outcome(&self, outcome: Outcome) -> &'static str {
        match outcome {
            Outcome::Tumour => "종양 발견",
            Outcome::NoTumourFound => "종양이 발견되지 않음",
            Outcome::NotSure => "확실하지 않음",
        }
    }

    fn capability(&self, name: &str) -> String {
        referral::capability(name)
    }

    fn factor(&self, name: &str) -> String {
        referral::factor(name)
    }

    fn step(&self, name: &str) -> String {
        let korean = match name {
            "phantom" => "팬텀 생성",
            "start" => "시작",
            "register" => "환자 등록",
            "upload" => "전송",
            "segment" => "분할",
            "assess" => "평가",
            "picture" => "그림",
            other => return words(other),
        };
        korean.to_owned()
    }

    fn seconds(&self, seconds: f64) -> String {
        super::super::text::seconds(seconds).replace(" min ", "분 ").replace(" s", "초")
    }

    fn headline(&self, image: &Image) -> String {
        match image.outcome {
            Some(Outcome::NoTumourFound) => "영상에서 종양이 발견되지 않았습니다.".to_owned(),
            Some(Outcome::NotSure) if image.lesions.is_empty() => {
                "종양이 있는지 확실하지 않음: 표시된 것은 없으나 사람이 확인해야 합니다.".to_owned()
            }
            Some(Outcome::NotSure) => {
                format!("확실하지 않음: 사람이 확인해야 합니다. 표시된 것: {}", self.marked(image))
            }
            Some(Outcome::Tumour) | None => self.marked(image),
        }
    }

    fn outcome_reasons(&self, image: &Image) -> Vec<String> {
        known(&image.outcome_reasons)
    }

    fn space_reason(&self, image: &Image) -> String {
        known(std::slice::from_ref(&image.space_reason)).join(" ")
    }

    fn placement(&self, placement: Placement) -> String {
        match (placement.registered, placement.moved_mm) {
            (true, Some(mm)) => {
                format!("표준 뇌에 정합했습니다. 헤더에 따른 위치는 {mm:.0} mm 벗어나 있었습니다.")
            }
            (true, None) => "표준 뇌에 정합했습니다.".to_owned(),
            (false, _) => "헤더에 따라 배치했으며, 표준 뇌에 정합하지 않았습니다.".to_owned(),
        }
    }

    fn midline_shift(&self, placement: Placement) -> Option<String> {
        let right_mm = placement.midline_shift_right_mm?;
        let error_mm = MidlineShift::ERROR_MM;
        Some(match MidlineShift::side_of_mm(right_mm) {
            Side::Midline => {
                format!("측정 오차(약 {error_mm:.0} mm)를 넘는 정중선 편위는 없습니다.")
            }
            side @ (Side::Left | Side::Right) => format!(
                "정중선 편위: {}으로 {:.0} mm(오차 약 {error_mm:.0} mm).",
                self.side(side),
                right_mm.abs()
            ),
        })
    }

    fn lesion_title(&self, number: usize, count: usize, lesion: &Lesion) -> String {
        let crossing = if lesion.crosses_midline {
            format!(", {}가 정중선을 넘음", percent(lesion.share_across_midline))
        } else {
            String::new()
        };
        let side = lesion.side.map_or_else(String::new, |side| format!(", {}", self.side(side)));
        format!(
            "병변 {number}/{count}: {:.1} ml, 최대 지름 {:.0} mm{side}{crossing}",
            lesion.volumes.whole_ml, lesion.diameter_max_mm
        )
    }

    fn more_regions(&self, count: usize) -> String {
        format!("그 밖에 {count}개(report.json 참조)")
    }

    fn assigned_by_distance(&self, share: f64) -> String {
        format!("{}는 어느 영역에도 속하지 않아 가장 가까운 영역으로 배정했습니다.", percent(share))
    }

    fn small_components(&self, count: u32) -> String {
        format!("작은 조각 {count}개는 병변으로 세지 않았습니다.")
    }

    fn eloquent(&self, lesion: &Lesion) -> String {
        let named = lesion.eloquent.iter().take(ELOQUENT_MAX).map(|area| {
            let name =
                korean_eloquent_name(&area.area).unwrap_or_else(|| plain(&area.display_name));
            if area.overlap_ml >= 0.05 {
                format!("{name}(겹침 {:.1} ml)", area.overlap_ml)
            } else if area.overlap_ml > 0.0 {
                format!("{name}(겹침 < 0.1 ml)")
            } else {
                format!("{name}({:.0} mm)", area.distance_mm)
            }
        });
        let mut named: Vec<String> = named.collect();
        if lesion.eloquent.len() > ELOQUENT_MAX {
            named.push(format!("20 mm 안에 {}곳 더", lesion.eloquent.len() - ELOQUENT_MAX));
        }
        named.join(", ")
    }

    fn contacts(&self, lesion: &Lesion) -> String {
        let mut parts = Vec::new();
        let mut contact = |touches: Option<bool>, what: &str| match touches {
            Some(true) => parts.push(format!("{what}에 닿음")),
            Some(false) => parts.push(format!("{what}에 닿지 않음")),
            None => {}
        };
        contact(lesion.touches_ventricles, "뇌실");
        contact(lesion.touches_cortex, "피질");
        if lesion.satellites > 0 {
            parts.push(format!("중심부의 위성 병변 {}개", lesion.satellites));
        }
        parts.join(", ")
    }

    fn of_one(&self, value: f64, word: &str) -> String {
        format!("{value:.2}/1 ({word})")
    }

    fn uncertainty(&self, value: f64) -> &'static str {
        korean_level(super::english::English.uncertainty(value))
    }

    fn confidence(&self, value: f64) -> &'static str {
        korean_level(super::english::English.confidence(value))
    }

    fn agreement(&self, concordance: f64) -> String {
        format!("영역 일치도 {concordance:.2}/1")
    }

    fn reasons(&self, report: &Report) -> Vec<String> {
        let mut reasons = vec![self.first_reason(report)];
        reasons.extend(self.site_reason(&report.assessment.image_regions));
        let general: Vec<String> = report
            .symptoms
            .findings
            .iter()
            .filter(|finding| finding.fit == Fit::NotLocalising)
            .map(|finding| self.sided_finding(finding))
            .collect();
        if !general.is_empty() {
            reasons.push(format!("그 자체로 위치를 가리키지 않는 소견: {}.", general.join(", ")));
        }
        reasons.extend(known(&report.assessment.reasons));
        reasons
    }

    fn finding_reason(&self, finding: &Finding, report: &Report) -> String {
        match finding.fit {
            Fit::Denied => return "환자가 없다고 하였습니다.".to_owned(),
            Fit::NotCompared => return String::new(),
            Fit::NotLocalising => {
                let told = known(std::slice::from_ref(&finding.reason));
                return told
                    .into_iter()
                    .next()
                    .unwrap_or_else(|| "특정 부위를 가리키지 않습니다.".to_owned());
            }
            Fit::Explained | Fit::Unexplained => {}
        }
        let pointed = if finding.points_to.is_empty() {
            "뇌의 특정 부위를 가리킵니다".to_owned()
        } else {
            format!("{} 가리킵니다", with_particle(&places(&finding.points_to), "을", "를"))
        };
        let Some(site) = report.assessment.image_regions.first() else {
            return format!("{pointed}. 비교할 병변의 위치가 없습니다.");
        };
        let name = region_by_name(&site.region, &site.display_name);
        let judged = if finding.fit == Fit::Explained {
            if finding.points_to.iter().any(|place| place.region == site.region) {
                format!("병변의 주 위치는 {name}입니다.")
            } else {
                "병변의 일부가 그곳에 있습니다.".to_owned()
            }
        } else if finding.points_to.iter().any(|place| same_structure(place, site)) {
            format!("부위는 맞으나 좌우가 맞지 않습니다: 병변의 주 위치는 {name}입니다.")
        } else {
            format!("병변의 주 위치인 {} 이를 설명하지 못합니다.", with_particle(&name, "은", "는"))
        };
        format!("{pointed}. {judged}")
    }

    fn urgent_signs(&self, assessment: &Assessment) -> Vec<String> {
        known(&assessment.urgent_signs)
    }

    fn to_consider(&self, assessment: &Assessment) -> Vec<String> {
        let names = |ids: &[String]| {
            ids.iter().map(|id| self.finding(id)).collect::<Vec<String>>().join(", ")
        };
        let mut sentences: Vec<String> = assessment
            .alternatives
            .iter()
            .map(|alternative| cause(alternative, &names(&alternative.finding_ids)))
            .collect();
        for pivot in &assessment.pivots {
            sentences.push(format!(
                "{}에 관한 말이 없었다면 판정은 ‘{}’이었을 것입니다.",
                self.finding(&pivot.finding_id),
                self.verdict(pivot.verdict_without)
            ));
        }
        if !assessment.expected_but_absent.is_empty() {
            let names = names(&assessment.expected_but_absent);
            sentences.push(format!("그곳의 병변에서 흔하나 환자가 없다고 한 것: {names}."));
        }
        if !assessment.worth_asking.is_empty() {
            let names = names(&assessment.worth_asking);
            sentences.push(format!("그곳의 병변에서 흔하나 언급되지 않은 것: {names}."));
        }
        sentences
    }

    fn next_checks(&self, assessment: &Assessment) -> Vec<String> {
        known(&assessment.next_checks)
    }

    fn hospitals_reason(&self, referral: &Referral) -> String {
        referral::hospitals_reason(referral)
    }

    fn hospital_reason(&self, hospital: &Hospital, referral: &Referral) -> String {
        let parts: Vec<String> = hospital
            .factors
            .iter()
            .map(|factor| self.factor_explanation(factor, hospital, referral))
            .filter(|explanation| !explanation.is_empty())
            .collect();
        parts.join("; ")
    }

    fn requirement(&self, requirement: &Requirement) -> String {
        referral::requirement(requirement)
    }

    fn tumour_hint(&self, hint: &TumourHint) -> String {
        referral::tumour_hint(hint)
    }

    fn score(&self, score: f64) -> String {
        format!("점수 {score:.2}")
    }

    fn factor_explanation(
        &self,
        factor: &Factor,
        hospital: &Hospital,
        referral: &Referral,
    ) -> String {
        referral::factor_explanation(factor, hospital, referral)
    }

    fn untold(&self, report: &Report) -> Vec<String> {
        let (image, assessment) = (&report.image, &report.assessment);
        let told_beside =
            |reason: &str| {
                report.symptoms.findings.iter().any(|finding| {
                    finding.reason.trim_end_matches('.') == reason.trim_end_matches('.')
                })
            };
        let general = image
            .outcome_reasons
            .iter()
            .chain([&image.space_reason])
            .chain(assessment.reasons.iter().filter(|reason| !told_beside(reason)))
            .chain(&assessment.urgent_signs)
            .chain(&assessment.next_checks)
            .chain([&report.referral.reason])
            .chain(report.referral.requirements.iter().map(|requirement| &requirement.why))
            .chain(report.referral.tumour_hints.iter().map(|hint| &hint.reason))
            .filter(|sentence| !sentence.is_empty() && look_up(sentence).is_none());
        let mut untold: Vec<String> = general.cloned().collect();
        for hospital in &report.referral.hospitals {
            for factor in &hospital.factors {
                let told = !self.factor_explanation(factor, hospital, &report.referral).is_empty();
                if !told && !factor.explanation.is_empty() {
                    untold.push(format!(
                        "{}, {}: {}",
                        hospital.name,
                        words(&factor.name),
                        factor.explanation
                    ));
                }
            }
        }
        untold
    }
}

fn same_structure(a: &RegionProbability, b: &RegionProbability) -> bool {
    match (a.region.parse::<RegionName>(), b.region.parse::<RegionName>()) {
        (Ok(a), Ok(b)) => a.structure == b.structure,
        _ => false,
    }
}

fn korean_level(level: &str) -> &'static str {
    match level {
        "low" => "낮음",
        "moderate" => "보통",
        _ => "높음",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_particle_follows_the_last_sound() {
        // (word, with particle)
        let table = [
            ("왼쪽 전두엽", "왼쪽 전두엽을"),
            ("두정엽(오른쪽)", "두정엽(오른쪽)을"),
            ("소뇌", "소뇌를"),
            ("T1", "T1를"),
            ("", "를"),
        ];
        for (word, expected) in table {
            assert_eq!(with_particle(word, "을", "를"), expected, "{word}");
        }
    }

    #[test]
    fn durations_are_korean() {
        assert_eq!(Korean.seconds(0.43), "0.4초");
        assert_eq!(Korean.seconds(125.0), "2분 05초");
    }
}
