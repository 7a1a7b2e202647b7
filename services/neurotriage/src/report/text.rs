//! Words and numbers as reports show them.

use neurotriage_anatomy::MidlineShift;
use neurotriage_domain::Side;

use super::{Lesion, Placement};

/// Returns a share of 0 to 1 as `61 %`; a share that is there but rounds to nothing is `< 1 %`.
pub(super) fn percent(share: f64) -> String {
    let share = share.clamp(0.0, 1.0);
    if share > 0.0 && share < 0.005 {
        return "< 1 %".to_owned();
    }
    format!("{:.0} %", share * 100.0)
}

/// Returns the side, or a dash.
pub(super) fn side(side: Option<Side>) -> &'static str {
    side.map_or("-", Side::as_str)
}

/// Returns `text` on one line and without control characters, so that it can't drive a terminal.
pub(crate) fn plain(text: &str) -> String {
    let spaced: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    spaced.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Returns `text` with `&`, `<`, `>` and quotes written as HTML entities.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Returns a name made of lower-case words and underscores in plain words: `awake mapping`.
pub(super) fn words(name: &str) -> String {
    plain(&name.replace('_', " "))
}

/// Returns a duration in seconds as `0.4 s`, `12 s` or `2 min 05 s`.
pub(super) fn seconds(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{seconds:.1} s");
    }
    if seconds < 60.0 {
        return format!("{seconds:.0} s");
    }
    let whole = seconds.round();
    format!("{:.0} min {:02.0} s", (whole / 60.0).floor(), whole % 60.0)
}

/// Returns a size in bytes as `412 MiB` or `1.8 GiB`.
pub(super) fn bytes(bytes: u64) -> String {
    const MIB: f64 = 1024.0 * 1024.0;
    #[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
    let mib = bytes as f64 / MIB;
    if mib < 1024.0 { format!("{mib:.0} MiB") } else { format!("{:.1} GiB", mib / 1024.0) }
}

/// Returns an uncertainty of 0 to 1 in words.
pub(super) fn uncertainty(value: f64) -> &'static str {
    // Thirds of the scale: no calibration stands behind finer words.
    if value < 0.33 {
        "low"
    } else if value < 0.66 {
        "moderate"
    } else {
        "high"
    }
}

/// Returns a confidence of 0 to 1 in words.
pub(super) fn confidence(value: f64) -> &'static str {
    // Lesions of real tumours have 0.85 and more, false ones mostly less than 0.8.
    if value >= 0.85 {
        "high"
    } else if value >= 0.75 {
        "moderate"
    } else {
        "low"
    }
}

/// Returns `text` in lines of at most `width` characters; a longer word has a line of its own.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    // A number stays with its percent sign.
    let text = plain(text).replace(" %", "\u{a0}%");
    for word in text.split(' ') {
        let word = word.replace('\u{a0}', " ");
        let length = columns(&word);
        if used > 0 && used + 1 + length > width {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        line.push_str(&word);
        used += length;
    }
    lines.push(line);
    lines
}

/// Returns the columns of a terminal that `text` takes; East Asian wide characters take two.
pub(super) fn columns(text: &str) -> usize {
    text.chars().map(|c| if is_wide(c) { 2 } else { 1 }).sum()
}

fn is_wide(c: char) -> bool {
    matches!(u32::from(c),
        0x1100..=0x115F | 0x2E80..=0xA4CF | 0xAC00..=0xD7A3 | 0xF900..=0xFAFF | 0xFF00..=0xFF60)
}

/// Returns `text` followed by spaces up to `width` columns.
pub(super) fn pad(text: &str, width: usize) -> String {
    let missing = width.saturating_sub(columns(text));
    format!("{text}{}", " ".repeat(missing))
}

/// Eloquent areas named of one lesion at most.
const ELOQUENT_MAX: usize = 5;

/// Returns how a study was placed, in a sentence.
pub(super) fn placement(placement: Placement) -> String {
    match (placement.registered, placement.moved_mm) {
        (true, Some(mm)) => {
            format!("Registered to the template; by its header the study lay {mm:.0} mm off.")
        }
        (true, None) => "Registered to the template.".to_owned(),
        (false, _) => "Placed by its header; not registered to the template.".to_owned(),
    }
}

/// Returns how far the middle of the brain is pushed, in a sentence; `None` if nothing is known.
pub(super) fn midline_shift(placement: Placement) -> Option<String> {
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

/// Returns the eloquent areas of a lesion, nearest first, in a clause; empty if there are none.
pub(super) fn eloquent(lesion: &Lesion) -> String {
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

/// Returns what a lesion reaches and whether it has satellites, in a clause; empty if nothing is
/// known.
pub(super) fn contacts(lesion: &Lesion) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        let shares = [(0.0, "0 %"), (0.001, "< 1 %"), (0.614, "61 %"), (1.0, "100 %")];
        for (share, expected) in shares {
            assert_eq!(percent(share), expected);
        }
        let times = [(0.43, "0.4 s"), (12.2, "12 s"), (125.0, "2 min 05 s"), (119.7, "2 min 00 s")];
        for (time, expected) in times {
            assert_eq!(seconds(time), expected);
        }
        let words = [(0.85, "high"), (0.8, "moderate"), (0.75, "moderate"), (0.74, "low")];
        for (value, expected) in words {
            assert_eq!(confidence(value), expected);
        }
        assert_eq!(bytes(412 * 1024 * 1024), "412 MiB");
        assert_eq!(bytes(3 * 1024 * 1024 * 1024 / 2), "1.5 GiB");
    }

    #[test]
    fn text_can_drive_neither_a_terminal_nor_a_browser() {
        assert_eq!(plain("a\u{1b}[31mb\r\nc"), "a [31mb c");
        assert_eq!(escape("<script>'\"&\u{0}"), "&lt;script&gt;&#39;&quot;&amp; ");
    }

    #[test]
    fn lines_break_at_words_and_count_wide_characters() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("", 7), [""]);
        assert_eq!(wrap("about 61 % of", 8), ["about", "61 % of"]);
        assert_eq!(wrap("두통 두통", 8), ["두통", "두통"]);
        assert_eq!(columns(&pad("두통", 6)), 6);
    }
}
