//! The columns of labels beside the drawing, and their lines to the regions.

use super::{
    super::svg::{Anchor, Rect, Svg},
    COLUMN_WIDTH, PICTURE_WIDTH, draw_tag,
};

/// Height of a line of a finding's name, of the line below it, and the room between labels.
const NAME_LINE: f64 = 14.0;
const DETAIL_LINE: f64 = 13.0;
const BETWEEN: f64 = 9.0;
/// Room above the first label and below the last one.
const EDGE: f64 = 6.0;
/// Half the size of the number in a label.
const TAG_HALF: f64 = 8.0;
/// Length of the level part of a line, at the label.
const STUB: f64 = 6.0;

/// A number in the drawing that a line leads to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) at: [f64; 2],
    pub(super) half: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
    Left,
    Right,
}

/// A finding beside the drawing.
pub(super) struct Label {
    number: usize,
    class: &'static str,
    lines: Vec<String>,
    details: Vec<String>,
    target: Target,
    column: Column,
    top: f64,
}

impl Label {
    pub(super) fn new(
        number: usize,
        class: &'static str,
        lines: Vec<String>,
        details: Vec<String>,
        target: Target,
    ) -> Self {
        let column = if target.at[0] < PICTURE_WIDTH / 2.0 { Column::Left } else { Column::Right };
        Self { number, class, lines, details, target, column, top: 0.0 }
    }

    fn height(&self) -> f64 {
        NAME_LINE * self.lines.len() as f64 + DETAIL_LINE * self.details.len() as f64
    }

    fn middle(&self) -> f64 {
        self.top + self.height() / 2.0
    }

    /// Returns the room that it takes.
    pub(super) fn rect(&self) -> Rect {
        let (left, right) = match self.column {
            Column::Left => (0.0, COLUMN_WIDTH),
            Column::Right => (PICTURE_WIDTH - COLUMN_WIDTH, PICTURE_WIDTH),
        };
        Rect { left, top: self.top, right, bottom: self.top + self.height() }
    }

    pub(super) fn draw_line(&self, svg: &mut Svg) {
        let rect = self.rect();
        let from = match self.column {
            Column::Left => [rect.right, self.middle()],
            Column::Right => [rect.left, self.middle()],
        };
        let stub = match self.column {
            Column::Left => [from[0] + STUB, from[1]],
            Column::Right => [from[0] - STUB, from[1]],
        };
        let [across, down] = [self.target.at[0] - stub[0], self.target.at[1] - stub[1]];
        let length = across.hypot(down).max(1.0);
        let kept = ((length - self.target.half) / length).max(0.0);
        let end = [stub[0] + across * kept, stub[1] + down * kept];
        let path = format!(
            "M{:.1} {:.1} L{:.1} {:.1} L{:.1} {:.1}",
            from[0], from[1], stub[0], stub[1], end[0], end[1]
        );
        svg.put(&format!(
            "<path d=\"{path}\" class=\"leader-edge\"/><path d=\"{path}\" class=\"leader-{}\"/>",
            self.class
        ));
    }

    pub(super) fn draw_text(&self, svg: &mut Svg) {
        let (tag_x, text_x, anchor) = match self.column {
            Column::Left => (COLUMN_WIDTH - TAG_HALF, COLUMN_WIDTH - 3.0 * TAG_HALF, Anchor::End),
            Column::Right => {
                let left = PICTURE_WIDTH - COLUMN_WIDTH;
                (left + TAG_HALF, left + 3.0 * TAG_HALF, Anchor::Start)
            }
        };
        draw_tag(svg, self.number, self.class, [tag_x, self.middle()], TAG_HALF);
        let mut y = self.top + NAME_LINE - 3.0;
        for line in &self.lines {
            svg.text([text_x, y], anchor, "label-name", line);
            y += NAME_LINE;
        }
        for detail in &self.details {
            svg.text([text_x, y], anchor, "label-detail", detail);
            y += DETAIL_LINE;
        }
    }
}

/// Puts the labels of each column beside what they lead to, without overlap, and returns the height of
/// the picture, at least `height_min`.
pub(super) fn place(labels: &mut [Label], height_min: f64) -> f64 {
    let mut height = height_min;
    for column in [Column::Left, Column::Right] {
        let of_column = labels.iter().filter(|label| label.column == column);
        let needed: f64 = of_column.map(|label| label.height() + BETWEEN).sum();
        height = height.max(needed - BETWEEN + 2.0 * EDGE);
    }
    for column in [Column::Left, Column::Right] {
        let mut own: Vec<&mut Label> =
            labels.iter_mut().filter(|label| label.column == column).collect();
        own.sort_by(|a, b| a.target.at[1].total_cmp(&b.target.at[1]).then(a.number.cmp(&b.number)));
        spread(&mut own);
        let mut free = EDGE;
        for label in &mut own {
            label.top = label.top.max(free);
            free = label.top + label.height() + BETWEEN;
        }
        let mut limit = height - EDGE;
        for label in own.iter_mut().rev() {
            label.top = label.top.min(limit - label.height());
            limit = label.top - BETWEEN;
        }
    }
    height
}

/// Puts sorted labels as near to what they lead to as their heights allow: labels that would overlap
/// form a block, which stands where its members would on average.
fn spread(labels: &mut [&mut Label]) {
    // First of each block, the sum of the places that its members wish for it, their count.
    let mut blocks: Vec<(usize, f64, f64)> = Vec::new();
    let mut above = 0.0;
    let mut offsets = Vec::new();
    for (at, label) in labels.iter().enumerate() {
        offsets.push(above);
        let mut block = (at, label.target.at[1] - label.height() / 2.0 - above, 1.0);
        above += label.height() + BETWEEN;
        while let Some(last) = blocks.pop_if(|last| last.1 / last.2 > block.1 / block.2) {
            block = (last.0, last.1 + block.1, last.2 + block.2);
        }
        blocks.push(block);
    }
    // Each block from its first label on; the next one takes over from its own.
    for (first, sum, count) in blocks {
        for (label, offset) in labels.iter_mut().zip(&offsets).skip(first) {
            label.top = sum / count + offset;
        }
    }
}
