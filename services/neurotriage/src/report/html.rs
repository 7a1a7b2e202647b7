//! The report as one HTML file: no script, no link to anything outside, prints on A4.

mod sections;

use super::{Report, text::escape};

const STYLE: &str = include_str!("style.css");

/// Returns the report as a page; `overlay_png` is the picture of the marked slices, if there is one.
pub fn render(report: &Report, overlay_png: Option<&[u8]>) -> String {
    let mut page = Page { html: String::with_capacity(64 * 1024) };
    let title = format!("NeuroTriage report: {}", escape(&report.study.case));
    page.put(&format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"
    ));
    page.header(report);
    page.finding(report);
    page.overlay(report, overlay_png);
    page.image(&report.image);
    page.agreement(report);
    page.symptoms(&report.symptoms);
    page.attention(report);
    page.hospitals(&report.referral);
    page.footer(report);
    page.put("</body>\n</html>\n");
    page.html
}

/// The page so far. Everything that isn't ours goes through `escape` before `put`.
struct Page {
    html: String,
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
