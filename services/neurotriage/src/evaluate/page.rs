//! The evaluation as one HTML file: no script, nothing from outside.

mod sections;

use time::{OffsetDateTime, macros::format_description};

use super::{pictures::CasePictures, result::Evaluation};
use crate::report::NOTICE;

const STYLE: &str = include_str!("page/style.css");

/// Returns the page.
///
/// # Errors
/// If the time can't be written, which does not happen.
pub(super) fn render(
    evaluation: &Evaluation,
    pictures: &[CasePictures],
    made_at: OffsetDateTime,
) -> anyhow::Result<String> {
    let date = made_at.format(format_description!("[year]-[month]-[day] [hour]:[minute] UTC"))?;
    let model = escape(evaluation.model.as_deref().unwrap_or("two masks"));
    let mut page = Page { html: String::with_capacity(64 * 1024) };
    page.put(&format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n\
         <title>NeuroTriage evaluation: {model}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <header><h1><small>NeuroTriage evaluation</small>{model}</h1>\
         <p>{date}<br>neurotriage {}</p></header>\n<p class=\"notice\">{}</p>\n",
        env!("CARGO_PKG_VERSION"),
        escape(NOTICE)
    ));
    page.summary(evaluation);
    page.failures(evaluation);
    page.table(evaluation);
    page.cases(evaluation, pictures);
    page.reading(evaluation);
    page.put("</body>\n</html>\n");
    Ok(page.html)
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

/// Returns `text` as HTML text or attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evaluate::{
        pictures::{Gallery, Picture},
        result::{
            Failure,
            tests::{card, line},
        },
    };

    fn page(evaluation: &Evaluation, gallery: &Gallery) -> String {
        render(evaluation, gallery.pictures(), OffsetDateTime::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn the_page_shows_means_cases_pictures_and_what_failed() {
        let mut gallery = Gallery::new(true);
        let picture =
            Picture { reason: "most tumour", index: 70, count: 155, png: b"png".to_vec() };
        gallery.add("b", 0.5, vec![picture]);
        let cases = vec![line("a", true, 0.9), line("b", false, 0.5), line("c", false, 0.7)];
        let failed = vec![Failure { id: "x".into(), error: "no truth".into() }];
        let html = page(&Evaluation::of_model(card(), cases, failed), &gallery);
        for expected in [
            "1970-01-01 00:00 UTC",
            "Not a medical device",
            "2 cases not trained on",
            "All 3 cases",
            "an interval needs at least 3",
            "seen in training",
            "slice 71 of 155",
            "data:image/png;base64,cG5n",
            "no truth",
            "missed",
        ] {
            assert!(html.contains(expected), "{expected:?} is missing");
        }
        assert_eq!(html.matches("<table").count(), html.matches("</table>").count());
        assert_eq!(html.matches("<img ").count(), 1);
    }

    #[test]
    fn nothing_comes_from_outside_and_nothing_foreign_is_markup() {
        let mut foreign = card();
        foreign.name = "<script>alert(1)</script>".to_owned();
        let cases = vec![line("<img src=x>", false, 0.9)];
        let html = page(&Evaluation::of_model(foreign, cases, vec![]), &Gallery::new(false));
        for forbidden in ["<script", "<img src=x", "http://", "https://", "url("] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
        assert!(html.contains("&lt;script&gt;"));
    }
}
