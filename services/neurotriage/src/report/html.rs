//! The report as one HTML file: no script, no link to anything outside, prints on A4.

mod sections;

use super::{
    Language, Report,
    language::{Labels, Wording},
    text::escape,
};

const STYLE: &str = include_str!("style.css");

/// Pictures of the study that the page shows.
#[derive(Default)]
pub struct Pictures {
    /// Slices through the marking, as PNG.
    pub slices_png: Option<Vec<u8>>,
    /// Slices with the outlines of the regions; `None` if no region is known.
    pub outlines: Option<Outlines>,
}

/// Slices with the outlines of regions.
pub struct Outlines {
    /// The picture, as PNG.
    pub png: Vec<u8>,
    /// The regions that it numbers, from 1.
    pub regions: Vec<OutlinedRegion>,
}

/// A region that the picture outlines in colour.
pub struct OutlinedRegion {
    /// Stable name, such as `frontal_left`.
    pub region: String,
    /// Plain English.
    pub display_name: String,
    /// Share of the tumour in it, 0 to 1.
    pub share: f64,
    /// Colour of its outline.
    pub rgb: [u8; 3],
}

/// Returns the report as a page in a language.
pub fn render(report: &Report, pictures: &Pictures, language: Language) -> String {
    let words = language.wording();
    let labels = words.labels();
    let mut page = Page { html: String::with_capacity(256 * 1024), words, labels };
    let title = format!("{}: {}", escape(labels.report), escape(&report.study.case));
    page.put(&format!(
        "<!doctype html>\n<html lang=\"{language}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"
    ));
    page.header(report);
    page.finding(report);
    page.slices(report, pictures);
    page.image(&report.image);
    page.schematic(report);
    page.agreement(report);
    page.symptoms(report);
    page.attention(report);
    page.hospitals(&report.referral);
    page.untold(report);
    page.footer(report);
    page.put("</body>\n</html>\n");
    page.html
}

/// The page so far. Everything that isn't ours goes through `escape` before `put`.
struct Page {
    html: String,
    words: &'static dyn Wording,
    labels: &'static Labels,
}

impl Page {
    fn put(&mut self, html: &str) {
        self.html.push_str(html);
    }
}

fn bar(class: &str, share: f64) -> String {
    let width = share.clamp(0.0, 1.0) * 100.0;
    format!("<span class=\"bar\"><i class=\"{class}\" style=\"width:{width:.1}%\"></i></span>")
}
