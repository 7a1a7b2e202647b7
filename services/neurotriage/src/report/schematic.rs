//! A schematic brain: where the image shows tumour, where the symptoms point, and which finding points
//! where.
//!
//! Pure: makes inline SVG from a [`Report`]. Colour never speaks alone: shares differ in lightness, the
//! regions of the symptoms are hatched, and fits differ in shape and line.

mod labels;
mod shapes;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use neurotriage_domain::{RegionName, Side, Structure};

use self::{
    labels::{Label, Target},
    shapes::{Name, Shape, WIDTH},
};
use super::{
    Finding, Fit, Report, Symptoms,
    language::Wording,
    svg::{Anchor, Svg, wrap},
    text::percent,
};

/// Width of the picture.
const PICTURE_WIDTH: f64 = 880.0;
/// Width of the column of labels on each side.
const COLUMN_WIDTH: f64 = 160.0;
/// Height of the picture where the labels need no more.
const HEIGHT_MIN: f64 = 574.0;
/// Where the views stand.
const RIGHT_AT: [f64; 2] = [166.0, 24.0];
const LEFT_AT: [f64; 2] = [444.0, 24.0];
const DEEP_AT: [f64; 2] = [166.0, 282.0];
const MIDDLE_AT: [f64; 2] = [444.0, 282.0];
/// Where the legend stands.
const LEGEND_AT: [f64; 2] = [452.0, 512.0];
/// Findings with a label at most; the table has all.
const LABELS_MAX: usize = 24;
/// Regions of one finding that carry its number at most.
const TAGGED_MAX: usize = 6;
/// Share of a finding's pointing from which a region carries its number, 0 to 1.
const TAGGED_MIN: f64 = 0.1;
/// Numbers in one region at most.
const TAGS_MAX: usize = 8;
/// Half the size of a number in a large region and in a small one, in pixels.
const TAG_HALF: f64 = 8.0;
const TAG_HALF_SMALL: f64 = 6.5;
/// Probability from which the symptoms are said to point to a region, and to point to it strongly.
const POINTED_MIN: f64 = 0.05;
const POINTED_STRONGLY_MIN: f64 = 0.25;
/// Shares of the tumour at which the shade grows darker, 0 to 1.
const SHADES: [f64; 4] = [0.005, 0.05, 0.15, 0.35];

/// Returns the findings in the order of the report's table, each with its number.
pub(super) fn numbered(symptoms: &Symptoms) -> Vec<(usize, &Finding)> {
    let of_fit = |fit: Fit| symptoms.findings.iter().filter(move |finding| finding.fit == fit);
    Fit::ALL.into_iter().flat_map(of_fit).enumerate().map(|(at, found)| (at + 1, found)).collect()
}

/// Returns the number of a finding as an inline picture in the shape of its fit.
pub(super) fn tag_in_text(number: usize, fit: Fit) -> String {
    let class = tag_class(fit);
    format!("<span class=\"tag {class}\">{number}</span>")
}

/// Returns the drawing; `None` if there is neither tumour in a known region nor a finding that points
/// to one.
pub(super) fn render(report: &Report, wording: &dyn Wording) -> Option<String> {
    let scene = Scene::of(report, wording);
    if scene.shares.is_empty() && scene.pointed.is_empty() && scene.labels.is_empty() {
        return None;
    }
    Some(scene.draw())
}

fn tag_class(fit: Fit) -> &'static str {
    match fit {
        Fit::Explained => "fits",
        Fit::Unexplained => "misfits",
        Fit::NotLocalising | Fit::Denied | Fit::NotCompared => "neutral",
    }
}

/// A view of the brain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    Right,
    Left,
    Deep,
    Middle,
}

impl View {
    fn at(self) -> [f64; 2] {
        match self {
            Self::Right => RIGHT_AT,
            Self::Left => LEFT_AT,
            Self::Deep => DEEP_AT,
            Self::Middle => MIDDLE_AT,
        }
    }

    /// Returns where a point of a shape lies in the picture.
    fn place(self, [x, y]: [f64; 2], is_mirrored: Mirrored) -> [f64; 2] {
        let [left, top] = self.at();
        let x = if is_mirrored == Mirrored::Yes { WIDTH - x } else { x };
        [left + x, top + y]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mirrored {
    Yes,
    No,
}

/// The sides of paired shapes: they are drawn for the left.
const PAIRED_SIDES: [(Side, Mirrored); 2] =
    [(Side::Left, Mirrored::No), (Side::Right, Mirrored::Yes)];

/// Returns the view and the shape in which a region is named and numbered.
fn home_of(region: RegionName) -> Option<(View, Mirrored, &'static Shape)> {
    let named =
        |shape: &&Shape| shape.structure == region.structure && shape.name != Name::Elsewhere;
    if let Some(shape) = shapes::LATERAL.iter().find(named) {
        return Some(match region.side {
            Side::Right => (View::Right, Mirrored::Yes, shape),
            Side::Left | Side::Midline => (View::Left, Mirrored::No, shape),
        });
    }
    if let Some(shape) = shapes::MIDDLE.iter().find(named) {
        return Some((View::Middle, Mirrored::No, shape));
    }
    let shape = shapes::DEEP_PAIRED.iter().find(named)?;
    let mirrored = if region.side == Side::Right { Mirrored::Yes } else { Mirrored::No };
    Some((View::Deep, mirrored, shape))
}

/// A number in a region.
struct Tag {
    number: usize,
    class: &'static str,
    at: [f64; 2],
    half: f64,
}

struct Scene<'a> {
    wording: &'a dyn Wording,
    shares: BTreeMap<RegionName, f64>,
    pointed: BTreeMap<RegionName, f64>,
    tags: Vec<Tag>,
    labels: Vec<Label>,
    left_out: usize,
    height: f64,
}

impl<'a> Scene<'a> {
    fn of(report: &Report, wording: &'a dyn Wording) -> Self {
        let mut shares: BTreeMap<RegionName, f64> = BTreeMap::new();
        let whole_ml = report.image.volumes.whole_ml.max(f64::MIN_POSITIVE);
        for share in report.image.lesions.iter().flat_map(|lesion| &lesion.regions) {
            if let Ok(region) = share.region.parse() {
                *shares.entry(region).or_default() += share.volume_ml / whole_ml;
            }
        }
        let pointed = report.assessment.symptom_regions.iter().filter_map(|region| {
            let name: RegionName = region.region.parse().ok()?;
            (region.probability >= POINTED_MIN).then_some((name, region.probability))
        });
        let mut scene = Self {
            wording,
            pointed: pointed.collect(),
            shares,
            tags: Vec::new(),
            labels: Vec::new(),
            left_out: 0,
            height: HEIGHT_MIN,
        };
        scene.mark(&report.symptoms);
        scene.height = labels::place(&mut scene.labels, HEIGHT_MIN);
        scene
    }

    /// Gives each finding that points somewhere its numbers and its label.
    fn mark(&mut self, symptoms: &Symptoms) {
        let mut in_region: BTreeMap<RegionName, Vec<(usize, Fit)>> = BTreeMap::new();
        let mut strongest: Vec<(usize, &Finding, RegionName)> = Vec::new();
        for (number, finding) in numbered(symptoms) {
            let regions = self.pointed_by(finding);
            let Some(&first) = regions.first() else { continue };
            if strongest.len() == LABELS_MAX {
                self.left_out += 1;
                continue;
            }
            strongest.push((number, finding, first));
            for region in regions {
                in_region.entry(region).or_default().push((number, finding.fit));
            }
        }
        let mut placed: BTreeMap<(RegionName, usize), [f64; 2]> = BTreeMap::new();
        for (region, numbers) in &in_region {
            let Some((view, mirrored, shape)) = home_of(*region) else { continue };
            let half = tag_half(shape);
            for (slot, (number, fit)) in numbers.iter().take(TAGS_MAX).enumerate() {
                let at = slot_at(view, mirrored, shape, [slot, numbers.len().min(TAGS_MAX)]);
                placed.insert((*region, *number), at);
                self.tags.push(Tag { number: *number, class: tag_class(*fit), at, half });
            }
        }
        for (number, finding, region) in strongest {
            let Some((view, mirrored, shape)) = home_of(region) else { continue };
            let at = placed.get(&(region, number)).copied();
            let target = Target {
                at: at.unwrap_or_else(|| view.place(shape.tags_at, mirrored)),
                half: tag_half(shape),
            };
            let lines = wrap(&self.wording.sided_finding(finding), 12.0, COLUMN_WIDTH - 26.0, 2);
            let name = self.wording.region(&region.to_string(), "");
            let detail = format!("{} · {name}", self.wording.fit(finding.fit));
            let details = wrap(&detail, 10.5, COLUMN_WIDTH - 26.0, 3);
            let class = tag_class(finding.fit);
            self.labels.push(Label::new(number, class, lines, details, target));
        }
    }

    /// Returns the regions that carry a finding's number, the strongest first; of equals the one with
    /// more tumour. First of all stands, for a finding that the lesion explains, the region with most
    /// of it.
    fn pointed_by(&self, finding: &Finding) -> Vec<RegionName> {
        if !matches!(finding.fit, Fit::Explained | Fit::Unexplained) {
            return Vec::new();
        }
        let share = |region: &RegionName| self.shares.get(region).copied().unwrap_or(0.0);
        let mut regions: Vec<(RegionName, f64)> = finding
            .points_to
            .iter()
            .filter_map(|place| Some((place.region.parse().ok()?, place.probability)))
            .filter(|(region, _)| home_of(*region).is_some())
            .collect();
        // Probabilities of both sides of a structure differ by rounding only.
        let rounded = |probability: f64| (probability * 1000.0).round();
        regions.sort_by(|a, b| {
            rounded(b.1).total_cmp(&rounded(a.1)).then(share(&b.0).total_cmp(&share(&a.0)))
        });
        let with_tumour = regions
            .iter()
            .map(|(region, _)| *region)
            .filter(|region| finding.fit == Fit::Explained && share(region) > 0.0)
            .max_by(|a, b| share(a).total_cmp(&share(b)));
        let mut tagged: Vec<RegionName> = regions
            .into_iter()
            .enumerate()
            .take_while(|(rank, (_, probability))| *rank == 0 || *probability >= TAGGED_MIN)
            .take(TAGGED_MAX)
            .map(|(_, (region, _))| region)
            .collect();
        if let Some(first) = with_tumour {
            tagged.retain(|region| *region != first);
            tagged.insert(0, first);
        }
        tagged
    }

    fn draw(&self) -> String {
        let words = &self.wording.labels().schematic;
        let mut svg = Svg::new(
            "schematic",
            [PICTURE_WIDTH, self.height],
            words.heading,
            &format!("{} {}", words.description, self.told()),
        );
        svg.put(HATCHES);
        self.lateral(&mut svg, View::Right, Mirrored::Yes, Side::Right);
        self.lateral(&mut svg, View::Left, Mirrored::No, Side::Left);
        self.deep(&mut svg);
        self.middle(&mut svg);
        self.legend(&mut svg);
        for label in &self.labels {
            label.draw_line(&mut svg);
        }
        // Above the lines, so that they can be read.
        self.names(&mut svg);
        for tag in &self.tags {
            draw_tag(&mut svg, tag.number, tag.class, tag.at, tag.half);
        }
        for label in &self.labels {
            label.draw_text(&mut svg);
        }
        if self.left_out > 0 {
            let text = format!("+{} {}", self.left_out, words.more_below);
            svg.text([PICTURE_WIDTH - 2.0, self.height - 4.0], Anchor::End, "small", &text);
        }
        svg.finish()
    }

    /// Returns what the drawing shows, for those who can't see it.
    fn told(&self) -> String {
        let name = |region: &RegionName| self.wording.region(&region.to_string(), "");
        let list = |regions: &BTreeMap<RegionName, f64>| {
            let mut regions: Vec<(&RegionName, &f64)> = regions.iter().collect();
            regions.sort_by(|a, b| b.1.total_cmp(a.1));
            let named = regions
                .iter()
                .map(|(region, part)| format!("{} {}", name(region), percent(**part)));
            named.collect::<Vec<String>>().join(", ")
        };
        let words = &self.wording.labels().schematic;
        format!(
            "{} {}. {} {}.",
            words.shares,
            list(&self.shares),
            words.pointed,
            list(&self.pointed)
        )
    }

    fn names(&self, svg: &mut Svg) {
        for (side, mirrored) in PAIRED_SIDES {
            let view = if side == Side::Right { View::Right } else { View::Left };
            for shape in shapes::LATERAL {
                self.name(svg, view, mirrored, side, shape);
            }
            for shape in shapes::DEEP_PAIRED {
                self.name(svg, View::Deep, mirrored, side, shape);
            }
        }
        for view in [View::Right, View::Left, View::Middle] {
            self.ends(svg, view);
        }
        for shape in shapes::MIDDLE {
            self.name(svg, View::Middle, Mirrored::No, Side::Midline, shape);
        }
    }

    /// Writes which end of a view is the front of the head.
    fn ends(&self, svg: &mut Svg, view: View) {
        let words = &self.wording.labels().schematic;
        let ends = match view {
            View::Right => [words.back, words.front],
            View::Left | View::Middle | View::Deep => [words.front, words.back],
        };
        let [left, top] = view.at();
        svg.text([left + 6.0, top + 28.0], Anchor::Start, "small", ends[0]);
        svg.text([left + WIDTH - 6.0, top + 28.0], Anchor::End, "small", ends[1]);
    }

    fn lateral(&self, svg: &mut Svg, view: View, mirrored: Mirrored, side: Side) {
        let words = &self.wording.labels().schematic;
        let [left, top] = view.at();
        let title = if side == Side::Right { words.right_view } else { words.left_view };
        svg.text([left + WIDTH / 2.0, top - 10.0], Anchor::Middle, "view", title);
        for shape in shapes::LATERAL {
            self.shape(svg, view, mirrored, side, shape);
        }
        for line in shapes::LATERAL_LINES {
            svg.put(&format!(
                "<path d=\"{line}\" class=\"sulcus\" transform=\"{}\"/>",
                transform(view, mirrored)
            ));
        }
    }

    fn deep(&self, svg: &mut Svg) {
        let words = &self.wording.labels().schematic;
        let [left, top] = DEEP_AT;
        svg.text([left + WIDTH / 2.0, top - 10.0], Anchor::Middle, "view", words.deep_view);
        for (side, mirrored) in PAIRED_SIDES {
            for shape in shapes::DEEP_PAIRED {
                self.shape(svg, View::Deep, mirrored, side, shape);
            }
        }
        for shape in shapes::DEEP_MIDDLE {
            self.shape(svg, View::Deep, Mirrored::No, Side::Midline, shape);
        }
        svg.text([left + 10.0, top + 20.0], Anchor::Start, "side", words.right);
        svg.text([left + WIDTH - 10.0, top + 20.0], Anchor::End, "side", words.left);
        let signs: Vec<String> = shapes::DEEP_PAIRED
            .iter()
            .filter_map(|shape| match shape.name {
                Name::Sign(sign) => {
                    Some(format!("{sign} {}", self.wording.structure(shape.structure)))
                }
                Name::Full | Name::Stacked | Name::Small | Name::Elsewhere => None,
            })
            .collect();
        let joined = signs.join(", ");
        for (number, line) in (0_u8..).zip(wrap(&joined, 9.5, WIDTH, 4)) {
            let y = top + 246.0 + 12.0 * f64::from(number);
            svg.text([left + WIDTH / 2.0, y], Anchor::Middle, "sign-key", &line);
        }
    }

    fn middle(&self, svg: &mut Svg) {
        let words = &self.wording.labels().schematic;
        let [left, top] = MIDDLE_AT;
        svg.text([left + WIDTH / 2.0, top - 10.0], Anchor::Middle, "view", words.middle_view);
        let place = transform(View::Middle, Mirrored::No);
        for path in shapes::MIDDLE_GROUND {
            svg.put(&format!("<path d=\"{path}\" class=\"ground\" transform=\"{place}\"/>"));
        }
        for line in shapes::MIDDLE_LINES {
            svg.put(&format!("<path d=\"{line}\" class=\"sulcus\" transform=\"{place}\"/>"));
        }
        for shape in shapes::MIDDLE {
            self.shape(svg, View::Middle, Mirrored::No, Side::Midline, shape);
        }
    }

    fn shape(&self, svg: &mut Svg, view: View, mirrored: Mirrored, side: Side, shape: &Shape) {
        let region = drawn_region(shape.structure, side);
        let shade = shade(self.shares.get(&region).copied().unwrap_or(0.0));
        let place = transform(view, mirrored);
        svg.put(&format!(
            "<path d=\"{}\" class=\"region shade-{shade}\" transform=\"{place}\"/>",
            shape.path
        ));
        if let Some(&probability) = self.pointed.get(&region) {
            let hatch = if probability >= POINTED_STRONGLY_MIN { "dense" } else { "sparse" };
            svg.put(&format!(
                "<path d=\"{}\" class=\"pointed\" fill=\"url(#hatch-{hatch})\" transform=\"{place}\"/>",
                shape.path
            ));
        }
    }

    fn name(&self, svg: &mut Svg, view: View, mirrored: Mirrored, side: Side, shape: &Shape) {
        let region = drawn_region(shape.structure, side);
        let share = self.shares.get(&region).copied().unwrap_or(0.0);
        let [x, y] = view.place(shape.name_at, mirrored);
        let name = self.wording.structure(shape.structure);
        let told =
            if share >= SHADES[0] { format!("{name} {}", percent(share)) } else { name.to_owned() };
        match shape.name {
            Name::Full => svg.text([x, y], Anchor::Middle, "region-name", &told),
            Name::Stacked => {
                svg.text([x, y], Anchor::Middle, "region-name small-name", name);
                if share >= SHADES[0] {
                    let share = percent(share);
                    svg.text([x, y + 11.0], Anchor::Middle, "region-name small-name", &share);
                }
            }
            Name::Small => svg.text([x, y], Anchor::Middle, "region-name small-name", &told),
            Name::Sign(sign) => svg.text([x, y + 3.0], Anchor::Middle, "sign", sign),
            Name::Elsewhere => {}
        }
    }

    fn legend(&self, svg: &mut Svg) {
        let words = &self.wording.labels().schematic;
        let [left, top] = LEGEND_AT;
        svg.text([left, top], Anchor::Start, "legend", words.shares);
        let steps = ["< 5 %", "5-15 %", "15-35 %", "> 35 %"];
        for (step, text) in (0_u8..).zip(steps) {
            let x = left + 64.0 * f64::from(step);
            svg.put(&format!(
                "<rect x=\"{x}\" y=\"{}\" width=\"14\" height=\"10\" class=\"region shade-{}\"/>",
                top + 7.0,
                step + 1
            ));
            svg.text([x + 18.0, top + 16.0], Anchor::Start, "legend", text);
        }
        svg.text([left, top + 34.0], Anchor::Start, "legend", words.pointed);
        let hatches = [("sparse", "> 5 %"), ("dense", "> 25 %")];
        for (step, (hatch, text)) in (0_u8..).zip(hatches) {
            let x = left + 128.0 + 64.0 * f64::from(step);
            svg.put(&format!(
                "<rect x=\"{x}\" y=\"{}\" width=\"14\" height=\"10\" class=\"pointed\" fill=\"url(#hatch-{hatch})\"/>",
                top + 25.0
            ));
            svg.text([x + 18.0, top + 34.0], Anchor::Start, "legend", text);
        }
        for (step, fit) in (0_u8..).zip([Fit::Explained, Fit::Unexplained]) {
            let x = left + 7.0 + 100.0 * f64::from(step);
            draw_tag(svg, 1, tag_class(fit), [x, top + 50.0], 6.5);
            svg.text([x + 12.0, top + 54.0], Anchor::Start, "legend", self.wording.fit(fit));
        }
    }
}

/// Returns the region that a shape on a side stands for.
fn drawn_region(structure: Structure, side: Side) -> RegionName {
    let is_unpaired = matches!(
        structure,
        Structure::BrainStem
            | Structure::CorpusCallosum
            | Structure::Hypothalamus
            | Structure::ThirdVentricle
            | Structure::FourthVentricle
    );
    RegionName { structure, side: if is_unpaired { Side::Midline } else { side } }
}

/// Returns the step of the shade of a share, 0 for none.
fn shade(share: f64) -> usize {
    SHADES.iter().filter(|step| share >= **step).count()
}

fn transform(view: View, mirrored: Mirrored) -> String {
    let [left, top] = view.at();
    match mirrored {
        Mirrored::No => format!("translate({left} {top})"),
        Mirrored::Yes => format!("translate({} {top}) scale(-1 1)", left + WIDTH),
    }
}

fn tag_half(shape: &Shape) -> f64 {
    match shape.name {
        Name::Full => TAG_HALF,
        Name::Stacked | Name::Small | Name::Sign(_) | Name::Elsewhere => TAG_HALF_SMALL,
    }
}

/// Returns the place of a number in a shape: of so many, the one that many after the first.
fn slot_at(view: View, mirrored: Mirrored, shape: &Shape, [slot, count]: [usize; 2]) -> [f64; 2] {
    let step = 2.0 * tag_half(shape) + 2.0;
    let row = slot / shape.tags_in_row;
    let in_row = (count - row * shape.tags_in_row).min(shape.tags_in_row);
    let column = slot % shape.tags_in_row;
    let across = column as f64 - (in_row as f64 - 1.0) / 2.0;
    // From left to right in mirror images too.
    let [x, y] = view.place(shape.tags_at, mirrored);
    [x + across * step, y + row as f64 * step]
}

fn draw_tag(svg: &mut Svg, number: usize, class: &str, [x, y]: [f64; 2], half: f64) {
    let outline = if class == "fits" {
        format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{half}\" class=\"tag-{class}\"/>")
    } else {
        format!(
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{}\" height=\"{}\" rx=\"2\" class=\"tag-{class}\"/>",
            x - half,
            y - half,
            2.0 * half,
            2.0 * half
        )
    };
    svg.put(&outline);
    let class = format!("number-{class}{}", if half < TAG_HALF { " number-small" } else { "" });
    svg.text([x, y + 0.45 * half], Anchor::Middle, &class, &number.to_string());
}

/// Diagonal lines with a light edge, so that they show on every shade.
const HATCHES: &str = "<defs>\
<pattern id=\"hatch-sparse\" width=\"9\" height=\"9\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
<path d=\"M0 0 V9\" class=\"hatch-edge\"/><path d=\"M0 0 V9\" class=\"hatch\"/></pattern>\
<pattern id=\"hatch-dense\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
<path d=\"M0 0 V5\" class=\"hatch-edge\"/><path d=\"M0 0 V5\" class=\"hatch\"/></pattern></defs>";
