//! The report for a terminal: aligned columns, colour only where the caller says so.

use super::{
    Finding, Fit, Hospital, Image, Language, Lesion, Outcome, RegionProbability, Report, Space,
    Verdict,
    language::Wording,
    text::{bytes, pad, percent, plain, seconds, side, words, wrap},
};

/// Columns that a report fills at most, but for single long words.
const WIDTH: usize = 96;
/// Regions shown of one lesion at most; the rest are summed in one row.
const REGIONS_MAX: usize = 8;
/// Regions shown of where the symptoms point.
const SYMPTOM_REGIONS_MAX: usize = 4;
/// Columns of the bar of a share of 1.
const BAR_WIDTH: usize = 10;

/// Returns the catalogue: terminals are written to in English.
fn english() -> &'static dyn Wording {
    Language::English.wording()
}

/// Returns the report as text with ANSI colours.
pub fn render_coloured(report: &Report) -> String {
    Page::new(true).report(report)
}

/// Returns the report as text without colours.
pub fn render_plain(report: &Report) -> String {
    Page::new(false).report(report)
}

/// Returns what the image shows alone, without colours.
pub fn render_image(image: &Image) -> String {
    let mut page = Page::new(false);
    page.hanging("", &english().headline(image));
    page.image(image);
    page.line("");
    page.hanging("atlas ", &image.atlas);
    page.hanging("", super::NOTICE);
    page.text
}

#[derive(Clone, Copy)]
enum Ink {
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
}

impl Ink {
    fn code(self) -> &'static str {
        match self {
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Red => "1;31",
            Self::Green => "1;32",
            Self::Yellow => "1;33",
        }
    }
}

struct Page {
    coloured: bool,
    text: String,
}

impl Page {
    fn new(coloured: bool) -> Self {
        Self { coloured, text: String::new() }
    }

    fn ink(&self, ink: Ink, text: &str) -> String {
        if self.coloured { format!("\x1b[{}m{text}\x1b[0m", ink.code()) } else { text.to_owned() }
    }

    fn line(&mut self, text: &str) {
        self.text.push_str(text.trim_end());
        self.text.push('\n');
    }

    fn heading(&mut self, text: &str) {
        let heading = self.ink(Ink::Bold, &text.to_uppercase());
        self.line("");
        self.line(&heading);
    }

    /// Writes `text` after `first`, wrapped, with later lines indented as wide as `first`.
    fn hanging(&mut self, first: &str, text: &str) {
        let indent = super::text::columns(first);
        for (number, line) in wrap(text, WIDTH.saturating_sub(indent)).iter().enumerate() {
            if number == 0 {
                self.line(&format!("{first}{line}"));
            } else {
                self.line(&format!("{}{line}", " ".repeat(indent)));
            }
        }
    }

    fn report(mut self, report: &Report) -> String {
        self.top(report);
        self.finding(report);
        self.image(&report.image);
        self.symptoms(report);
        self.agreement(report);
        self.attention(report);
        self.hospitals(report);
        self.provenance(report);
        self.text
    }

    fn top(&mut self, report: &Report) {
        let title =
            self.ink(Ink::Bold, &format!("NeuroTriage report: {}", plain(&report.study.case)));
        self.line(&title);
        if report.study.phantom {
            self.hanging("", "Synthetic study (phantom): the images are of no patient.");
        }
        for line in wrap(report.notice, WIDTH) {
            let line = self.ink(Ink::Dim, &line);
            self.line(&line);
        }
    }

    fn finding(&mut self, report: &Report) {
        self.heading("Finding");
        self.outcome(&report.image);
        self.hanging("  ", &report.headline);
        let assessment = &report.assessment;
        let ink = match assessment.verdict {
            Verdict::Concordant => Ink::Green,
            Verdict::PartlyConcordant => Ink::Yellow,
            Verdict::Discordant => Ink::Red,
            Verdict::InsufficientEvidence => Ink::Dim,
        };
        let verdict = self.ink(ink, &english().verdict(assessment.verdict).to_uppercase());
        let agreement = assessment
            .concordance
            .map_or_else(String::new, |value| format!(" (agreement of regions {value:.2} of 1)"));
        self.line(&format!("  Image and symptoms: {verdict}{agreement}"));
        if !assessment.confirmed_site.is_empty() {
            self.line(&format!("  Site from both: {}", plain(&assessment.confirmed_site_name)));
        }
        for sign in &assessment.urgent_signs {
            let urgent = self.ink(Ink::Red, "URGENT");
            self.line(&format!("  {urgent}: {}", plain(sign)));
        }
    }

    /// Writes that there is no tumour, or that it is not sure, and why.
    fn outcome(&mut self, image: &Image) {
        let (ink, outcome) = match image.outcome {
            Some(outcome @ Outcome::NotSure) => (Ink::Red, outcome),
            Some(outcome @ Outcome::NoTumourFound) => (Ink::Bold, outcome),
            Some(Outcome::Tumour) | None => return,
        };
        let name = self.ink(ink, &english().outcome(outcome).to_uppercase());
        self.line(&format!("  {name}"));
        for reason in &image.outcome_reasons {
            self.hanging("  - ", reason);
        }
    }

    fn image(&mut self, image: &Image) {
        self.heading("Image");
        if image.space == Space::Unknown && !image.space_reason.is_empty() {
            self.hanging("  Space unknown: ", &image.space_reason);
        }
        if let Some(known) = image.placement {
            self.hanging("  ", &english().placement(known));
            if let Some(shift) = english().midline_shift(known) {
                self.hanging("  ", &shift);
            }
        }
        if image.lesions.is_empty() {
            self.line("  No lesion was found.");
        }
        for (number, lesion) in image.lesions.iter().enumerate() {
            self.lesion(number + 1, image.lesions.len(), lesion);
        }
        if image.components_ignored > 0 {
            let count = image.components_ignored;
            self.line(&format!("  {count} small component(s) not counted as lesions."));
        }
        if let Some(value) = image.uncertainty {
            let word = english().uncertainty(value);
            self.line(&format!("  Uncertainty of the marking: {value:.2} of 1 ({word})."));
        }
    }

    fn lesion(&mut self, number: usize, count: usize, lesion: &Lesion) {
        let crossing = if lesion.crosses_midline {
            format!(", {} across the midline", percent(lesion.share_across_midline))
        } else {
            String::new()
        };
        let sides = lesion.side.map_or_else(String::new, |side| format!(", {side}"));
        self.line(&format!(
            "  Lesion {number} of {count}: {:.1} ml, longest diameter {:.0} mm{sides}{crossing}",
            lesion.volumes.whole_ml, lesion.diameter_max_mm
        ));
        self.line(&format!(
            "    necrotic core {:.1} ml | enhancing {:.1} ml | oedema {:.1} ml",
            lesion.volumes.necrotic_core_ml, lesion.volumes.enhancing_ml, lesion.volumes.oedema_ml
        ));
        if let Some(value) = lesion.confidence {
            let word = english().confidence(value);
            self.line(&format!("    confidence {value:.2} of 1 ({word})"));
        }
        if lesion.regions.is_empty() {
            return;
        }
        let heading = format!(
            "    {} {} {:>8} {:>7} {:>7}  {} {}",
            pad("region", 32),
            pad("side", 8),
            "ml",
            "tumour",
            "core",
            pad("", BAR_WIDTH),
            "SNOMED CT"
        );
        let heading = self.ink(Ink::Dim, heading.trim_end());
        self.line(&heading);
        for region in lesion.regions.iter().take(REGIONS_MAX) {
            let sure = if region.is_uncertain { " ?" } else { "" };
            let row = format!(
                "    {} {} {:>8.1} {:>7} {:>7}  {} {}",
                pad(&format!("{}{sure}", plain(&region.display_name)), 32),
                pad(side(region.side), 8),
                region.volume_ml,
                percent(region.share),
                percent(region.core_share),
                bar(region.share),
                plain(&region.snomed_code)
            );
            self.line(&row);
        }
        let rest = lesion.regions.iter().skip(REGIONS_MAX);
        let (others, volume_ml, share) = rest.fold((0, 0.0, 0.0), |(count, ml, share), region| {
            (count + 1, ml + region.volume_ml, share + region.share)
        });
        if others > 0 {
            let name = pad(&format!("{others} more"), 32);
            self.line(&format!("    {name} {} {volume_ml:>8.1} {:>7}", pad("", 8), percent(share)));
        }
        if lesion.share_assigned_by_distance > 0.0 {
            let share = percent(lesion.share_assigned_by_distance);
            self.line(&format!("    {share} of it lay on no region and was given to the nearest."));
        }
        if lesion.regions.iter().take(REGIONS_MAX).any(|region| region.is_uncertain) {
            self.line("    ?: less than half of it if the study lies a few millimetres off.");
        }
        for (name, text) in
            [("eloquent areas: ", english().eloquent(lesion)), ("it ", english().contacts(lesion))]
        {
            if !text.is_empty() {
                self.hanging(&format!("    {name}"), &text);
            }
        }
    }

    fn symptoms(&mut self, report: &Report) {
        self.heading("Symptoms");
        self.hanging("  as written: ", &report.symptoms.text);
        for fit in Fit::ALL {
            for finding in report.symptoms.findings.iter().filter(|finding| finding.fit == fit) {
                self.symptom(finding);
            }
        }
        for piece in &report.symptoms.not_understood {
            let label = self.label(Ink::Yellow, "not understood");
            self.line(&format!("  {label} \"{}\"", plain(piece)));
        }
    }

    fn label(&self, ink: Ink, text: &str) -> String {
        self.ink(ink, &pad(text, 15))
    }

    fn symptom(&mut self, finding: &Finding) {
        let ink = match finding.fit {
            Fit::Explained => Ink::Green,
            Fit::Unexplained => Ink::Red,
            Fit::NotLocalising | Fit::Denied | Fit::NotCompared => Ink::Dim,
        };
        let label = self.label(ink, english().fit(finding.fit));
        let sided = finding.side.map_or_else(String::new, |side| format!(", {side}"));
        let name = self.ink(Ink::Bold, &format!("{}{sided}", plain(&finding.display_name)));
        let code = plain(&finding.code);
        self.line(&format!("  {label} {name} [{code}] from \"{}\"", plain(&finding.matched_text)));
        if !finding.reason.is_empty() {
            self.hanging(&" ".repeat(18), &finding.reason);
        }
    }

    fn agreement(&mut self, report: &Report) {
        let assessment = &report.assessment;
        self.heading("Do image and symptoms agree?");
        self.hanging("  ", english().verdict_meaning(assessment.verdict));
        for reason in english().reasons(report) {
            self.hanging("  - ", &reason);
        }
        self.regions("  symptoms point to  ", &assessment.symptom_regions);
        self.regions("  image shows        ", &assessment.image_regions);
    }

    fn regions(&mut self, first: &str, regions: &[RegionProbability]) {
        if regions.is_empty() {
            return;
        }
        let named: Vec<String> = regions
            .iter()
            .take(SYMPTOM_REGIONS_MAX)
            .map(|region| format!("{} ({})", region.display_name, percent(region.probability)))
            .collect();
        self.hanging(first, &named.join(", "));
    }

    fn attention(&mut self, report: &Report) {
        let assessment = &report.assessment;
        self.listed("What else to consider", &assessment.to_consider);
        self.listed("What to check next", &assessment.next_checks);
    }

    fn listed(&mut self, heading: &str, lines: &[String]) {
        if lines.is_empty() {
            return;
        }
        self.heading(heading);
        for line in lines {
            self.hanging("  - ", line);
        }
    }

    fn hospitals(&mut self, report: &Report) {
        self.heading("Hospitals");
        if !report.referral.reason.is_empty() {
            self.hanging("  ", &report.referral.reason);
        }
        for (rank, hospital) in report.referral.hospitals.iter().enumerate() {
            self.hospital(rank + 1, hospital);
        }
    }

    fn hospital(&mut self, rank: usize, hospital: &Hospital) {
        let name = self.ink(Ink::Bold, &plain(&hospital.name));
        let distance = hospital.distance_km.map_or_else(String::new, |km| format!(", {km:.0} km"));
        let city = plain(&hospital.city);
        self.line(&format!("  {rank}. {name}, {city}{distance}   score {:.2}", hospital.score));
        if !hospital.reason.is_empty() {
            self.hanging("     ", &hospital.reason);
        }
        let factors: Vec<String> = hospital
            .factors
            .iter()
            .map(|factor| {
                format!("{} {:.2} x {:.2}", words(&factor.name), factor.value, factor.weight)
            })
            .collect();
        if !factors.is_empty() {
            let line = self.ink(Ink::Dim, &format!("     {}", factors.join(" + ")));
            self.line(&line);
        }
    }

    fn provenance(&mut self, report: &Report) {
        self.heading("Made with");
        let model = &report.model;
        let short = model.weights_sha256.get(..12).unwrap_or(&model.weights_sha256);
        let voxels: Vec<String> = report.study.shape.iter().map(u32::to_string).collect();
        let spacing: Vec<String> =
            report.study.spacing_mm.iter().map(|spacing| format!("{spacing:.2}")).collect();
        let rows = [
            ("model", format!("{} (weights {short}, {})", model.model_id, model.device)),
            ("preprocessing", format!("{} {}", model.profile, model.profile_version)),
            ("atlas", report.image.atlas.clone()),
            ("evidence", report.assessment.evidence_version.clone()),
            ("lexicon", report.symptoms.lexicon_version.clone()),
            ("software", format!("{} {}", report.software.name, report.software.version)),
            ("study", report.study.study_id.clone()),
            (
                "grid",
                format!(
                    "{} voxels of {} mm, {}",
                    voxels.join(" x "),
                    spacing.join(" x "),
                    report.study.orientation
                ),
            ),
            ("made at", report.generated_at.clone()),
        ];
        for (name, value) in rows {
            self.hanging(&format!("  {}", pad(name, 16)), &value);
        }
        let run = &report.run;
        let steps: Vec<String> = run
            .steps
            .iter()
            .map(|step| format!("{} {}", words(step.name), seconds(step.seconds)))
            .collect();
        let memory = run
            .peak_memory_bytes
            .map_or_else(String::new, |peak| format!(", peak memory {}", bytes(peak)));
        self.hanging(
            &format!("  {}", pad("time", 16)),
            &format!("{} ({}){memory}", seconds(run.total_seconds), steps.join(", ")),
        );
    }
}

fn bar(share: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to BAR_WIDTH")]
    let filled = (share.clamp(0.0, 1.0) * 10.0).round() as usize;
    format!("{}{}", "#".repeat(filled.min(BAR_WIDTH)), ".".repeat(BAR_WIDTH.saturating_sub(filled)))
}
