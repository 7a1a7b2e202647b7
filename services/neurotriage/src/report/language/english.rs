//! The English catalogue. Sentences that services wrote are told in their own words.

mod labels;

use neurotriage_anatomy::MidlineShift;
use neurotriage_domain::{RegionName, Side, Structure};

use super::{
    super::{
        Assessment, Factor, Finding, Fit, Hospital, Image, Lesion, Outcome, Placement, Referral,
        RegionShare, Report, Requirement, Space, TumourHint, Verdict,
        text::{percent, plain, words},
    },
    Labels, Wording, findings,
};

/// Regions named in the headline at most.
pub(super) const HEADLINE_REGIONS_MAX: usize = 3;
/// Smallest share of a lesion that the headline mentions, 0 to 1.
pub(super) const HEADLINE_SHARE_MIN: f64 = 0.05;
/// Eloquent areas named of one lesion at most.
pub(super) const ELOQUENT_MAX: usize = 5;

/// The English catalogue.
pub(super) struct English;

impl English {
    fn marked(&self, image: &Image) -> String {
        let Some(largest) = image.lesions.first() else {
            return "No tumour was found in the image.".to_owned();
        };
        let volume = if image.lesions.len() == 1 {
            format!("Lesion of {:.1} ml", largest.volumes.whole_ml)
        } else {
            format!(
                "{} lesions, {:.1} ml in all; the largest of {:.1} ml",
                image.lesions.len(),
                image.volumes.whole_ml,
                largest.volumes.whole_ml
            )
        };
        if image.space == Space::Unknown {
            return format!("{volume}; the space of the image is unknown, so no region is named.");
        }
        let named: Vec<String> = headline_regions(largest)
            .into_iter()
            .map(|region| format!("{} ({})", region.display_name, percent(region.share)))
            .collect();
        if named.is_empty() {
            return format!("{volume}; no region of the atlas is touched.");
        }
        let crossing = if largest.crosses_midline { "; crosses the midline" } else { "" };
        format!("{volume}: {}{crossing}.", named.join(", "))
    }
}

/// Returns the regions of a lesion that a headline names, by falling share.
pub(super) fn headline_regions(lesion: &Lesion) -> Vec<&RegionShare> {
    let mut regions: Vec<&RegionShare> = lesion.regions.iter().collect();
    regions.sort_by(|a, b| b.share.total_cmp(&a.share));
    let kept = regions
        .into_iter()
        .enumerate()
        .take_while(|(rank, region)| *rank == 0 || region.share >= HEADLINE_SHARE_MIN)
        .take(HEADLINE_REGIONS_MAX);
    kept.map(|(_, region)| region).collect()
}

impl Wording for English {
    fn labels(&self) -> &'static Labels {
        &labels::LABELS
    }

    fn side(&self, side: Side) -> &'static str {
        side.as_str()
    }

    fn body_side(&self, side: Side) -> &'static str {
        if side == Side::Midline { "both" } else { side.as_str() }
    }

    fn region(&self, region: &str, display_name: &str) -> String {
        if display_name.is_empty() {
            region.parse().map_or_else(|_| words(region), RegionName::display_name)
        } else {
            plain(display_name)
        }
    }

    fn structure(&self, structure: Structure) -> &'static str {
        match structure {
            Structure::Frontal => "Frontal",
            Structure::Temporal => "Temporal",
            Structure::Parietal => "Parietal",
            Structure::Occipital => "Occipital",
            Structure::Insula => "Insula",
            Structure::Cerebellum => "Cerebellum",
            Structure::BrainStem => "Brain stem",
            Structure::Thalamus => "Thalamus",
            Structure::Caudate => "Caudate",
            Structure::Putamen => "Putamen",
            Structure::GlobusPallidus => "Pallidum",
            Structure::SubthalamicNucleus => "Subthalamic n.",
            Structure::Fornix => "Fornix",
            Structure::CorpusCallosum => "Corpus callosum",
            Structure::InternalCapsule => "Internal capsule",
            Structure::Hypothalamus => "Hypothalamus",
            Structure::CerebellopontineAngle => "CP angle",
            Structure::LateralVentricle => "Lateral ventricle",
            Structure::ThirdVentricle => "3rd ventricle",
            Structure::FourthVentricle => "4th ventricle",
        }
    }

    fn finding(&self, finding_id: &str) -> String {
        findings::names(finding_id)
            .map_or_else(|| words(finding_id), |(english, _)| english.to_lowercase())
    }

    fn sided_finding(&self, finding: &Finding) -> String {
        let name = plain(&finding.display_name);
        match finding.side {
            Some(Side::Midline) => format!("{name} (both sides)"),
            Some(side) => format!("{name} ({side})"),
            None => name,
        }
    }

    fn fit(&self, fit: Fit) -> &'static str {
        match fit {
            Fit::Explained => "explained",
            Fit::Unexplained => "unexplained",
            Fit::NotLocalising => "not localising",
            Fit::Denied => "denied",
            Fit::NotCompared => "not compared",
        }
    }

    fn verdict(&self, verdict: Verdict) -> &'static str {
        match verdict {
            Verdict::Concordant => "concordant",
            Verdict::PartlyConcordant => "partly concordant",
            Verdict::Discordant => "discordant",
            Verdict::InsufficientEvidence => "not enough evidence",
        }
    }

    fn verdict_meaning(&self, verdict: Verdict) -> &'static str {
        match verdict {
            Verdict::Concordant => "The symptoms point to the regions of the lesion.",
            Verdict::PartlyConcordant => {
                "Some symptoms fit the regions of the lesion, others do not."
            }
            Verdict::Discordant => "The symptoms point to other regions than the lesion's.",
            Verdict::InsufficientEvidence => {
                "There is too little evidence to compare image and symptoms."
            }
        }
    }

    fn outcome(&self, outcome: Outcome) -> &'static str {
        match outcome {
            Outcome::Tumour => "tumour found",
            Outcome::NoTumourFound => "no tumour found",
            Outcome::NotSure => "not sure",
        }
    }

    fn capability(&self, name: &str) -> String {
        words(name)
    }

    fn factor(&self, name: &str) -> String {
        words(name)
    }

    fn step(&self, name: &str) -> String {
        words(name)
    }

    fn seconds(&self, seconds: f64) -> String {
        super::super::text::seconds(seconds)
    }

    fn headline(&self, image: &Image) -> String {
        match image.outcome {
            Some(Outcome::NoTumourFound) => "No tumour was found in the image.".to_owned(),
            Some(Outcome::NotSure) if image.lesions.is_empty() => {
                "Not sure whether there is a tumour: none is marked, but a person must look."
                    .to_owned()
            }
            Some(Outcome::NotSure) => {
                format!("Not sure: a person must look. Marked: {}", self.marked(image))
            }
            Some(Outcome::Tumour) | None => self.marked(image),
        }
    }

    fn outcome_reasons(&self, image: &Image) -> Vec<String> {
        image.outcome_reasons.clone()
    }

    fn space_reason(&self, image: &Image) -> String {
        image.space_reason.clone()
    }

    fn placement(&self, placement: Placement) -> String {
        match (placement.registered, placement.moved_mm) {
            (true, Some(mm)) => {
                format!("Registered to the template; by its header the study lay {mm:.0} mm off.")
            }
            (true, None) => "Registered to the template.".to_owned(),
            (false, _) => "Placed by its header; not registered to the template.".to_owned(),
        }
    }

    fn midline_shift(&self, placement: Placement) -> Option<String> {
        let right_mm = placement.midline_shift_right_mm?;
        let error_mm = MidlineShift::ERROR_MM;
        Some(match MidlineShift::side_of_mm(right_mm) {
            Side::Midline => {
                format!("No midline shift beyond the error of measurement, about {error_mm:.0} mm.")
            }
            side @ (Side::Left | Side::Right) => format!(
                "Midline shift of {:.0} mm to the {side}, give or take about {error_mm:.0}.",
                right_mm.abs()
            ),
        })
    }

    fn lesion_title(&self, number: usize, count: usize, lesion: &Lesion) -> String {
        let crossing = if lesion.crosses_midline {
            format!(", {} across the midline", percent(lesion.share_across_midline))
        } else {
            String::new()
        };
        let side = lesion.side.map_or_else(String::new, |side| format!(", {side}"));
        format!(
            "Lesion {number} of {count}: {:.1} ml, longest diameter {:.0} mm{side}{crossing}",
            lesion.volumes.whole_ml, lesion.diameter_max_mm
        )
    }

    fn more_regions(&self, count: usize) -> String {
        format!("{count} more, in report.json")
    }

    fn assigned_by_distance(&self, share: f64) -> String {
        format!("{} of it lay on no region and was given to the nearest.", percent(share))
    }

    fn small_components(&self, count: u32) -> String {
        format!("{count} small component(s) not counted as lesions.")
    }

    fn eloquent(&self, lesion: &Lesion) -> String {
        let named = lesion.eloquent.iter().take(ELOQUENT_MAX).map(|area| {
            let name = plain(&area.display_name);
            if area.overlap_ml >= 0.05 {
                format!("{name} (overlaps, {:.1} ml)", area.overlap_ml)
            } else if area.overlap_ml > 0.0 {
                format!("{name} (overlaps, < 0.1 ml)")
            } else {
                format!("{name} ({:.0} mm)", area.distance_mm)
            }
        });
        let mut named: Vec<String> = named.collect();
        if lesion.eloquent.len() > ELOQUENT_MAX {
            named.push(format!("{} more within 20 mm", lesion.eloquent.len() - ELOQUENT_MAX));
        }
        named.join(", ")
    }

    fn contacts(&self, lesion: &Lesion) -> String {
        let mut parts = Vec::new();
        let mut contact = |touches: Option<bool>, what: &str| match touches {
            Some(true) => parts.push(format!("reaches the {what}")),
            Some(false) => parts.push(format!("does not reach the {what}")),
            None => {}
        };
        contact(lesion.touches_ventricles, "ventricles");
        contact(lesion.touches_cortex, "cortex");
        if lesion.satellites > 0 {
            parts.push(format!("has {} satellite(s) of core", lesion.satellites));
        }
        parts.join(", ")
    }

    fn of_one(&self, value: f64, word: &str) -> String {
        format!("{value:.2} of 1 ({word})")
    }

    fn uncertainty(&self, value: f64) -> &'static str {
        // Thirds of the scale: no calibration stands behind finer words.
        if value < 0.33 {
            "low"
        } else if value < 0.66 {
            "moderate"
        } else {
            "high"
        }
    }

    fn confidence(&self, value: f64) -> &'static str {
        // Lesions of real tumours have 0.85 and more, false ones mostly less than 0.8.
        if value >= 0.85 {
            "high"
        } else if value >= 0.75 {
            "moderate"
        } else {
            "low"
        }
    }

    fn agreement(&self, concordance: f64) -> String {
        format!("agreement of regions {concordance:.2} of 1")
    }

    fn reasons(&self, report: &Report) -> Vec<String> {
        let told = |reason: &str| {
            let same = |finding: &Finding| {
                finding.reason.trim_end_matches('.') == reason.trim_end_matches('.')
            };
            report.symptoms.findings.iter().any(same)
        };
        report.assessment.reasons.iter().filter(|reason| !told(reason)).cloned().collect()
    }

    fn finding_reason(&self, finding: &Finding, _: &Report) -> String {
        finding.reason.clone()
    }

    fn urgent_signs(&self, assessment: &Assessment) -> Vec<String> {
        assessment.urgent_signs.clone()
    }

    fn to_consider(&self, assessment: &Assessment) -> Vec<String> {
        let names = |ids: &[String]| {
            ids.iter().map(|id| self.finding(id)).collect::<Vec<String>>().join(", ")
        };
        let mut sentences: Vec<String> =
            assessment.alternatives.iter().map(|alternative| alternative.reason.clone()).collect();
        for pivot in &assessment.pivots {
            sentences.push(format!(
                "If nothing were said of {}, the verdict would be {}.",
                self.finding(&pivot.finding_id),
                self.verdict(pivot.verdict_without)
            ));
        }
        if !assessment.expected_but_absent.is_empty() {
            let names = names(&assessment.expected_but_absent);
            sentences.push(format!("Often caused by a lesion there, and denied: {names}."));
        }
        if !assessment.worth_asking.is_empty() {
            let names = names(&assessment.worth_asking);
            sentences.push(format!("Often caused by a lesion there, and not mentioned: {names}."));
        }
        sentences
    }

    fn next_checks(&self, assessment: &Assessment) -> Vec<String> {
        assessment.next_checks.clone()
    }

    fn hospitals_reason(&self, referral: &Referral) -> String {
        referral.reason.clone()
    }

    fn hospital_reason(&self, hospital: &Hospital, _: &Referral) -> String {
        hospital.reason.clone()
    }

    fn requirement(&self, requirement: &Requirement) -> String {
        format!("{} {}", words(&requirement.capability), plain(&requirement.why))
    }

    fn tumour_hint(&self, hint: &TumourHint) -> String {
        format!("{}: {} ({})", words(&hint.kind), plain(&hint.reason), plain(&hint.source))
    }

    fn score(&self, score: f64) -> String {
        format!("score {score:.2}")
    }

    fn factor_explanation(&self, factor: &Factor, _: &Hospital, _: &Referral) -> String {
        factor.explanation.clone()
    }

    fn untold(&self, _: &Report) -> Vec<String> {
        Vec::new()
    }
}
