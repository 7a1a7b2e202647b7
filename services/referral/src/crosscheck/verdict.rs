//! The verdict, and what to tell the reader.

use neurotriage_domain::Structure;

use super::{
    CONCORDANT_MIN, CONTRADICTED_DISCORDANT_MIN, DISCORDANT_BELOW, EXPLAINED_CONCORDANT_MIN,
    EXPLAINED_DISCORDANT_BELOW, EXPLAINED_WEIGHT_MIN, Fit, INFORMATION_MIN, ImageEvidence,
    ImageOutcome, NEXT_CHECKS_MAX, ReportedFinding, Verdict,
    fit::{self, FitDetail},
    likelihood::Symptoms,
    regions::{RegionSpace, dot, greatest},
    words,
};
use crate::evidence::{EvidenceTable, Handedness, SideRule, Urgency};

/// Weight of a further region from which the reasons name it.
const FURTHER_SITE_MIN: f64 = 0.15;

/// Said where a part of the lesion fits well and most findings do not.
const MOSTLY_CONTRADICTED: &str = "Part of the lesion lies where some findings point, but it contradicts most of \
what the findings say.";

/// What the reasons rest on.
pub(super) struct Context<'a> {
    pub(super) table: &'a EvidenceTable,
    pub(super) space: &'a RegionSpace,
    pub(super) handedness: Handedness,
    pub(super) image: &'a ImageEvidence,
}

/// The verdict with the number behind it.
pub(super) struct Judged {
    pub(super) verdict: Verdict,
    pub(super) concordance: Option<f64>,
    side_conflict: bool,
}

/// Applies the rules, in this order:
///
/// 1. no lesion in a known region, or less information than [`INFORMATION_MIN`]: insufficient;
/// 2. findings on the wrong side outweigh those on the right side: partly concordant if half of
///    the information agrees in its structure, else discordant;
/// 3. explained findings carry less than [`EXPLAINED_DISCORDANT_BELOW`] of the information and
///    contradicted ones at least [`CONTRADICTED_DISCORDANT_MIN`], or the concordance is below
///    [`DISCORDANT_BELOW`]: discordant;
/// 4. concordance at least [`CONCORDANT_MIN`] and explained findings carry at least
///    [`EXPLAINED_CONCORDANT_MIN`] of the information: concordant;
/// 5. partly concordant.
pub(super) fn judge(
    space: &RegionSpace,
    symptoms: &Symptoms,
    fits: &[FitDetail],
    image: Option<&[f64]>,
) -> Judged {
    let insufficient =
        Judged { verdict: Verdict::InsufficientEvidence, concordance: None, side_conflict: false };
    let Some(image) = image else { return insufficient };
    let total = sum(fits, |_| true);
    if symptoms.information() < INFORMATION_MIN || total <= 0.0 {
        return insufficient;
    }
    let concordance = concordance(space, symptoms, image);
    let explained = sum(fits, |fit| fit.fit == Fit::Explained) / total;
    let contradicted = sum(fits, |fit| fit.contradicted) / total;
    let right_structure = sum(fits, |fit| fit.region_agrees) / total;
    let side_conflict = sum(fits, |fit| fit.side_agrees == Some(false))
        > sum(fits, |fit| fit.side_agrees == Some(true));
    let verdict = if side_conflict {
        if right_structure >= 0.5 { Verdict::PartlyConcordant } else { Verdict::Discordant }
    } else if (explained < EXPLAINED_DISCORDANT_BELOW
        && contradicted >= CONTRADICTED_DISCORDANT_MIN)
        || concordance < DISCORDANT_BELOW
    {
        Verdict::Discordant
    } else if concordance >= CONCORDANT_MIN && explained >= EXPLAINED_CONCORDANT_MIN {
        Verdict::Concordant
    } else {
        Verdict::PartlyConcordant
    };
    Judged { verdict, concordance: Some(concordance), side_conflict }
}

fn sum(fits: &[FitDetail], of: impl Fn(&FitDetail) -> bool) -> f64 {
    fits.iter().filter(|fit| of(fit)).map(|fit| fit.information).sum()
}

fn concordance(space: &RegionSpace, symptoms: &Symptoms, image: &[f64]) -> f64 {
    let likelihoods = symptoms.likelihoods();
    let mean = dot(image, likelihoods);
    let best_part = image
        .iter()
        .zip(likelihoods)
        .map(|(weight, likelihood)| (weight / EXPLAINED_WEIGHT_MIN).min(1.0) * likelihood)
        .fold(0.0, f64::max);
    let lesion = mean.max(best_part);
    let chance = space.prior_mean(likelihoods);
    if lesion < chance {
        return lesion / (lesion + chance);
    }
    let best = greatest(likelihoods);
    (0.5 + 0.5 * (lesion / chance).ln() / (best / chance).ln()).clamp(0.0, 1.0)
}

/// Returns the reasons, the most important first.
pub(super) fn reasons(
    context: &Context<'_>,
    judged: &Judged,
    fits: &[FitDetail],
    image: Option<&[f64]>,
) -> Vec<String> {
    let mut reasons = vec![headline(judged, fits, image.is_some(), context.image)];
    if let Some(image) = image {
        reasons.push(site_sentence(context.space, image));
    }
    for fit in fits {
        if matches!(fit.fit, Fit::Explained | Fit::Unexplained) || fit.gives_side_only {
            reasons.push(format!("{}.", fit.reason()));
        }
    }
    let general: Vec<String> = fits
        .iter()
        .filter(|fit| fit.fit == Fit::NotLocalising && !fit.gives_side_only)
        .map(|fit| words::finding(fit.finding()))
        .collect();
    if !general.is_empty() {
        let names = words::list(&general, "and");
        reasons.push(format!("Without localising weight of their own: {names}."));
    }
    // The number alone would read as if they agreed.
    if judged.verdict == Verdict::Discordant
        && !judged.side_conflict
        && judged.concordance.is_some_and(|concordance| concordance >= DISCORDANT_BELOW)
    {
        reasons.push(MOSTLY_CONTRADICTED.to_owned());
    }
    if judged.side_conflict {
        reasons.push("The side of the findings does not fit the side of the lesion.".to_owned());
    }
    if uses_language_side(context.table, fits) {
        reasons.push(language_sentence(context.handedness).to_owned());
    }
    reasons
}

fn headline(judged: &Judged, fits: &[FitDetail], placed: bool, image: &ImageEvidence) -> String {
    if !placed {
        if let ImageOutcome::NotSure { reasons } = &image.outcome {
            return not_sure(reasons);
        }
        return if image.lesions.is_empty() || image.outcome == ImageOutcome::NoTumourFound {
            "No tumour was found in the image, so there is nothing to compare the symptoms with."
                .to_owned()
        } else if image.space_reason.is_empty() {
            "The lesion lies in no region that symptoms point to.".to_owned()
        } else {
            format!(
                "The lesion could not be placed in a brain region: {}.",
                image.space_reason.trim_end_matches('.')
            )
        };
    }
    let explained = fits.iter().filter(|fit| fit.fit == Fit::Explained).count();
    let localising = explained + fits.iter().filter(|fit| fit.fit == Fit::Unexplained).count();
    let count =
        format!("{explained} of {localising} localising findings point to where the lesion lies");
    match judged.verdict {
        Verdict::Concordant => format!("Symptoms and image agree: {count}."),
        Verdict::PartlyConcordant => format!("Symptoms and image agree in part: {count}."),
        Verdict::Discordant => format!("Symptoms and image disagree: {count}."),
        Verdict::InsufficientEvidence if localising == 0 => {
            "None of the reported findings points to a brain region, so they neither support nor contradict the image.".to_owned()
        }
        Verdict::InsufficientEvidence => {
            "The reported findings localise too weakly to support or contradict the image.".to_owned()
        }
    }
}

fn not_sure(reasons: &[String]) -> String {
    let text = "It is not sure what the image shows, so the symptoms are not compared with it";
    if reasons.is_empty() {
        return format!("{text}.");
    }
    let trimmed: Vec<&str> = reasons.iter().map(|reason| reason.trim_end_matches('.')).collect();
    format!("{text}: {}.", trimmed.join("; "))
}

fn site_sentence(space: &RegionSpace, image: &[f64]) -> String {
    let sorted = space.sorted(image);
    let mut text = String::new();
    for (i, entry) in sorted.iter().enumerate() {
        let (name, share) = (words::region(entry.region), words::percent(entry.weight));
        if i == 0 {
            text = format!("The lesion's main site is {name} ({share} of its weight)");
        } else if entry.weight >= FURTHER_SITE_MIN {
            text.push_str(&format!("; it reaches {name} ({share})"));
        }
    }
    text + "."
}

fn uses_language_side(table: &EvidenceTable, fits: &[FitDetail]) -> bool {
    fits.iter().any(|fit| {
        fit.finding().present
            && table.finding(&fit.finding().finding_id).is_some_and(|evidence| {
                matches!(evidence.side_rule, SideRule::Dominant | SideRule::NonDominant)
            })
    })
}

fn language_sentence(handedness: Handedness) -> &'static str {
    match handedness {
        Handedness::Right => {
            "Language is taken to lie on the left, as in nearly all right-handed people."
        }
        Handedness::Left => {
            "In left-handed people language lies on the left less often, so findings of language side count less."
        }
        Handedness::Both => {
            "In people who use both hands language lies on the left less often, so findings of language side count less."
        }
        Handedness::Unknown => "Handedness is not recorded; language is taken to lie on the left.",
    }
}

/// Returns the greatest urgency and the signs behind it, each once, the most urgent first.
pub(super) fn urgent_signs(
    table: &EvidenceTable,
    findings: &[ReportedFinding],
) -> (Urgency, Vec<String>) {
    let mut signs: Vec<(Urgency, String)> = Vec::new();
    let present =
        |id: &str| findings.iter().any(|finding| finding.present && finding.finding_id == id);
    for finding in findings.iter().filter(|finding| finding.present) {
        let sign = table.finding(&finding.finding_id).and_then(|row| row.urgent_sign.as_ref());
        if let Some(sign) = sign {
            signs.push((sign.urgency, sign.sentence.clone()));
        }
    }
    if present("vomiting") && (present("headache") || present("unilateral_headache")) {
        let text = "Headache with vomiting can mean raised pressure in the head.";
        signs.push((Urgency::Soon, text.to_owned()));
    }
    signs.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    signs.dedup();
    let urgency = signs.first().map_or(Urgency::Routine, |sign| sign.0);
    (urgency, signs.into_iter().map(|sign| sign.1).collect())
}

/// Returns what to do to know more, each once, the most useful first: what settles a disagreement,
/// then what the site calls for, then what the findings call for.
pub(super) fn next_checks(
    context: &Context<'_>,
    judged: &Judged,
    fits: &[FitDetail],
    image: Option<&[f64]>,
) -> Vec<String> {
    let mut checks: Vec<String> = Vec::new();
    let mut add = |check: &str| {
        if !checks.iter().any(|known| known == check) && checks.len() < NEXT_CHECKS_MAX {
            checks.push(check.to_owned());
        }
    };
    let check_of = |fit: &FitDetail| {
        context.table.finding(&fit.finding().finding_id).and_then(|row| row.next_check.as_deref())
    };
    if matches!(context.image.outcome, ImageOutcome::NotSure { .. }) {
        add(
            "have the images read by a radiologist, and repeat or complete them if they are not sound",
        );
    }
    match judged.verdict {
        Verdict::Discordant => {
            add("repeat the neurological examination and confirm the side of each finding");
            add("look for a second lesion or another cause of the findings");
        }
        Verdict::PartlyConcordant if judged.side_conflict => {
            add("confirm the side of each finding and the orientation of the images");
        }
        Verdict::InsufficientEvidence => add("structured neurological examination"),
        Verdict::PartlyConcordant | Verdict::Concordant => {}
    }
    let mut present: Vec<&FitDetail> = fits.iter().filter(|fit| fit.finding().present).collect();
    present.sort_by(|a, b| a.finding().finding_id.cmp(&b.finding().finding_id));
    for fit in present.iter().filter(|fit| fit.fit == Fit::Unexplained) {
        check_of(fit).into_iter().for_each(&mut add);
    }
    if let Some(image) = image {
        let site: Structure = fit::main_site(context.space, image).structure;
        context.table.site_checks(site).iter().map(String::as_str).for_each(&mut add);
    }
    for fit in present {
        check_of(fit).into_iter().for_each(&mut add);
    }
    checks
}
