//! Pieces of inline SVG: text that is measured by estimate, since nothing renders it here.

use super::text::escape;

/// Returns the width that `text` takes in a sans-serif face of `size` pixels, rather too much than too
/// little.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    text.chars().map(|c| em(c) * size).sum()
}

/// Returns the width of a letter in parts of the size of the face.
fn em(c: char) -> f64 {
    match c {
        'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' => 0.30,
        'f' | 't' | 'r' | ' ' | '(' | ')' | '-' | '·' => 0.38,
        'm' | 'w' | 'M' | 'W' | '%' => 0.90,
        'A'..='Z' => 0.70,
        c if u32::from(c) >= 0x1100 => 1.0,
        _ => 0.58,
    }
}

/// Returns `text` in at most `lines_max` lines of at most `width` pixels; what is left over is cut off
/// and marked.
pub(super) fn wrap(text: &str, size: f64, width: f64, lines_max: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let longer = if line.is_empty() { word.to_owned() } else { format!("{line} {word}") };
        if !line.is_empty() && text_width(&longer, size) > width {
            lines.push(std::mem::replace(&mut line, word.to_owned()));
        } else {
            line = longer;
        }
    }
    lines.push(line);
    let is_cut = lines.len() > lines_max;
    lines.truncate(lines_max);
    let last = lines.len();
    for (number, line) in lines.iter_mut().enumerate() {
        *line = shortened(line, size, width, is_cut && number + 1 == last);
    }
    lines
}

/// Returns `text` cut to `width` pixels with an ellipsis, if it is longer.
pub(super) fn shortened_to(text: &str, size: f64, width: f64) -> String {
    shortened(text, size, width, false)
}

/// Returns `text` cut to `width` with an ellipsis, which is there too if `is_cut`.
fn shortened(text: &str, size: f64, width: f64, is_cut: bool) -> String {
    if !is_cut && text_width(text, size) <= width {
        return text.to_owned();
    }
    let mut kept = text.to_owned();
    while !kept.is_empty() && text_width(&kept, size) + em('…') * size > width {
        kept.pop();
    }
    format!("{}…", kept.trim_end())
}

/// A rectangle.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rect {
    pub(super) left: f64,
    pub(super) top: f64,
    pub(super) right: f64,
    pub(super) bottom: f64,
}

impl Rect {
    /// Returns the square around a point.
    pub(super) fn around([x, y]: [f64; 2], half: f64) -> Self {
        Self { left: x - half, top: y - half, right: x + half, bottom: y + half }
    }

    /// True if the two share more than an edge.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }

    /// True if `other` lies inside.
    pub(super) fn contains(&self, other: &Self) -> bool {
        self.left <= other.left
            && other.right <= self.right
            && self.top <= other.top
            && other.bottom <= self.bottom
    }
}

/// Where a text is anchored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    /// Its first letter.
    Start,
    /// Its middle.
    Middle,
    /// Its last letter.
    End,
}

impl Anchor {
    fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Middle => "middle",
            Self::End => "end",
        }
    }
}

/// An SVG element so far.
pub(super) struct Svg {
    text: String,
}

impl Svg {
    /// Returns an empty picture that scales to the width of its place; `id` makes its title's and
    /// description's ids.
    pub(super) fn new(id: &str, [width, height]: [f64; 2], title: &str, description: &str) -> Self {
        let text = format!(
            "<svg class=\"drawing\" viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" \
             aria-labelledby=\"{id}-title {id}-description\"><title id=\"{id}-title\">{}</title>\
             <desc id=\"{id}-description\">{}</desc>\n",
            escape(title),
            escape(description)
        );
        Self { text }
    }

    /// Appends elements that are made already.
    pub(super) fn put(&mut self, elements: &str) {
        self.text.push_str(elements);
        self.text.push('\n');
    }

    /// Appends a line of text; `class` is one of the style sheet's.
    pub(super) fn text(&mut self, [x, y]: [f64; 2], anchor: Anchor, class: &str, text: &str) {
        self.put(&format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{}\" class=\"{class}\">{}</text>",
            anchor.as_str(),
            escape(text)
        ));
    }

    /// Returns the whole element.
    pub(super) fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_their_width_and_what_is_cut_is_marked() {
        let width = 80.0;
        let lines = wrap("Focal sensory seizure with somatosensory features", 12.0, width, 2);
        assert_eq!(lines.len(), 2);
        assert!(lines.iter().all(|line| text_width(line, 12.0) <= width), "{lines:?}");
        assert!(lines[1].ends_with('…'), "{lines:?}");
        assert_eq!(wrap("두통", 12.0, width, 2), ["두통"]);
        let word = wrap("Incomprehensibilities", 12.0, width, 2);
        assert!(word.len() == 1 && word[0].ends_with('…'), "{word:?}");
    }
}
