//! Words and numbers as reports show them.

use neurotriage_domain::Side;

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
