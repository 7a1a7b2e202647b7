//! Charts of curves as PNG, with letters of its own: no fonts of the system.

use crate::{
    ImagingError,
    overlay::canvas::{Canvas, text_height, text_width},
};

/// Red, green, blue.
pub type Colour = [u8; 3];

/// Most panels in one picture.
pub const PANELS_MAX: usize = 16;

const PAPER: Colour = [255; 3];
const INK: Colour = [40, 44, 52];
const GRID: Colour = [226, 228, 232];

/// Pixels of one panel.
const PANEL: [usize; 2] = [720, 440];
/// Pixels between the plot and the panel's edges: left, top, right, bottom.
const MARGIN: [usize; 4] = [92, 84, 24, 58];
/// Pixels of a dot of a letter: titles, and all else.
const TITLE_SCALE: usize = 3;
const TEXT_SCALE: usize = 2;
/// Pixels of a legend's sample, and between its entries.
const SAMPLE: usize = 26;
const LEGEND_GAP: usize = 18;
/// Ticks on an axis, at most one more than this.
const TICKS: usize = 6;
/// Panels beside each other.
const COLUMNS: usize = 2;

/// How a curve is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    /// A thin line.
    Thin,
    /// A thick line.
    Thick,
    /// A thick line with a mark at each point.
    Marked,
}

/// One curve.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Name in the legend; letters beyond A to Z, digits and `. , : - + / ( )` are drawn as boxes.
    pub name: String,
    /// Colour of line and legend.
    pub colour: Colour,
    /// How it is drawn.
    pub stroke: Stroke,
    /// Places `(x, y)`, x ascending; those that are not finite are left out.
    pub points: Vec<(f64, f64)>,
}

/// One chart of a picture.
#[derive(Clone, Debug)]
pub struct Panel {
    /// What it shows, with its unit.
    pub title: String,
    /// Lowest and highest value of the y axis; by the curves if not given.
    pub range: Option<[f64; 2]>,
    /// Curves; later ones lie over earlier ones.
    pub curves: Vec<Curve>,
}

/// Returns a PNG of panels, two beside each other, whose x axes have the same range and name.
///
/// # Errors
/// [`ImagingError::Picture`] if there is no panel, or more than [`PANELS_MAX`].
pub fn draw(panels: &[Panel], x_name: &str) -> Result<Vec<u8>, ImagingError> {
    if panels.is_empty() || panels.len() > PANELS_MAX {
        let detail = format!("{} panels, expected 1 to {PANELS_MAX}", panels.len());
        return Err(ImagingError::Picture { detail });
    }
    let columns = panels.len().min(COLUMNS);
    let rows = panels.len().div_ceil(COLUMNS);
    let mut canvas = Canvas::new(columns * PANEL[0], rows * PANEL[1], PAPER)?;
    let points = || panels.iter().flat_map(|panel| &panel.curves).flat_map(|curve| &curve.points);
    let across = span(points().map(|point| point.0)).unwrap_or([0.0, 1.0]);
    for (place, panel) in panels.iter().enumerate() {
        let corner = [(place % COLUMNS) * PANEL[0], (place / COLUMNS) * PANEL[1]];
        let along = panel.range.or_else(|| {
            span(panel.curves.iter().flat_map(|curve| &curve.points).map(|point| point.1))
        });
        let frame = Frame { corner, across, along: along.unwrap_or([0.0, 1.0]) };
        frame.axes(&mut canvas, &panel.title, x_name);
        frame.legend(&mut canvas, &panel.curves);
        for curve in &panel.curves {
            frame.curve(&mut canvas, curve);
        }
    }
    canvas.png()
}

/// Returns the lowest and highest of finite values, apart from each other.
fn span(values: impl Iterator<Item = f64>) -> Option<[f64; 2]> {
    let mut found: Option<[f64; 2]> = None;
    for value in values.filter(|value| value.is_finite()) {
        let [low, high] = found.unwrap_or([value; 2]);
        found = Some([low.min(value), high.max(value)]);
    }
    let [low, high] = found?;
    let gap = if high > low { 0.0 } else { 0.5_f64.max(low.abs() * 0.1) };
    Some([low - gap, high + gap])
}

/// Returns round numbers in a range, and how many decimals they need.
fn ticks([low, high]: [f64; 2]) -> (Vec<f64>, usize) {
    let rough = (high - low) / TICKS as f64;
    if !rough.is_finite() || rough <= 0.0 {
        return (vec![low], 2);
    }
    let power = 10.0_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0]
        .into_iter()
        .find(|s| s * power >= rough)
        .map_or(10.0 * power, |s| s * power);
    let first = (low / step).ceil();
    let count = ((high / step).floor() - first).max(0.0) as usize;
    let values = (0..=count.min(4 * TICKS)).map(|number| (first + number as f64) * step);
    let decimals = (-step.log10().floor()).clamp(0.0, 6.0) as usize;
    (values.collect(), decimals)
}

/// Where a panel lies, and what its plot shows.
struct Frame {
    corner: [usize; 2],
    across: [f64; 2],
    along: [f64; 2],
}

impl Frame {
    /// Returns the pixels of the plot's upper left corner, and its sides.
    fn plot(&self) -> ([usize; 2], [usize; 2]) {
        let [left, top, right, bottom] = MARGIN;
        let corner = [self.corner[0] + left, self.corner[1] + top];
        (corner, [PANEL[0] - left - right, PANEL[1] - top - bottom])
    }

    /// Returns the pixel of a place; values beyond the range lie on its edge.
    fn pixel(&self, (x, y): (f64, f64)) -> [usize; 2] {
        let (corner, sides) = self.plot();
        let share =
            |value: f64, [low, high]: [f64; 2]| ((value - low) / (high - low)).clamp(0.0, 1.0);
        let right = share(x, self.across) * (sides[0] - 1) as f64;
        let down = (1.0 - share(y, self.along)) * (sides[1] - 1) as f64;
        [corner[0] + right.round() as usize, corner[1] + down.round() as usize]
    }

    fn axes(&self, canvas: &mut Canvas, title: &str, x_name: &str) {
        let (corner, sides) = self.plot();
        let bottom = corner[1] + sides[1];
        canvas.label([corner[0], self.corner[1] + 14], title, TITLE_SCALE, INK);
        let half = text_height(TEXT_SCALE) / 2;
        let (values, decimals) = ticks(self.along);
        for value in values {
            let [_, y] = self.pixel((self.across[0], value));
            canvas.fill([corner[0], y], [sides[0], 1], GRID);
            let text = format!("{value:.decimals$}");
            let x = corner[0].saturating_sub(text_width(&text, TEXT_SCALE) + 10);
            canvas.label([x, y.saturating_sub(half)], &text, TEXT_SCALE, INK);
        }
        let (values, decimals) = ticks(self.across);
        let edge = self.corner[0] + PANEL[0];
        for value in values {
            let [x, _] = self.pixel((value, self.along[0]));
            canvas.fill([x, corner[1]], [1, sides[1]], GRID);
            let text = format!("{value:.decimals$}");
            let wide = text_width(&text, TEXT_SCALE);
            let x = x.saturating_sub(wide / 2).min(edge.saturating_sub(wide + 2));
            canvas.label([x, bottom + 8], &text, TEXT_SCALE, INK);
        }
        let x = corner[0] + (sides[0].saturating_sub(text_width(x_name, TEXT_SCALE))) / 2;
        canvas.label([x, bottom + 12 + 2 * text_height(TEXT_SCALE)], x_name, TEXT_SCALE, INK);
        canvas.fill([corner[0], corner[1]], [2, sides[1]], INK);
        canvas.fill([corner[0], bottom], [sides[0], 2], INK);
    }

    /// Draws the legend between title and plot, in as many rows as it takes.
    fn legend(&self, canvas: &mut Canvas, curves: &[Curve]) {
        let (corner, sides) = self.plot();
        let row = text_height(TEXT_SCALE) + 6;
        let mut at = [corner[0], self.corner[1] + 44];
        for curve in curves.iter().filter(|curve| !curve.name.is_empty()) {
            let wide = SAMPLE + 6 + text_width(&curve.name, TEXT_SCALE);
            if at[0] > corner[0] && at[0] + wide > corner[0] + sides[0] {
                at = [corner[0], at[1] + row];
            }
            let middle = at[1] + text_height(TEXT_SCALE) / 2;
            stroke(canvas, [at[0], middle], [at[0] + SAMPLE - 4, middle], curve);
            if curve.stroke == Stroke::Marked {
                mark(canvas, [at[0] + SAMPLE / 2 - 2, middle], curve.colour);
            }
            canvas.label([at[0] + SAMPLE + 2, at[1]], &curve.name, TEXT_SCALE, INK);
            at[0] += wide + LEGEND_GAP;
        }
    }

    fn curve(&self, canvas: &mut Canvas, curve: &Curve) {
        let finite = curve.points.iter().filter(|(x, y)| x.is_finite() && y.is_finite());
        let pixels: Vec<[usize; 2]> = finite.map(|&point| self.pixel(point)).collect();
        for pair in pixels.windows(2) {
            stroke(canvas, pair[0], pair[1], curve);
        }
        if curve.stroke == Stroke::Marked || pixels.len() == 1 {
            for &pixel in &pixels {
                mark(canvas, pixel, curve.colour);
            }
        }
    }
}

/// Draws a straight line.
fn stroke(canvas: &mut Canvas, from: [usize; 2], to: [usize; 2], curve: &Curve) {
    let wide = match curve.stroke {
        Stroke::Thin => 1,
        Stroke::Thick | Stroke::Marked => 3,
    };
    let steps = from[0].abs_diff(to[0]).max(from[1].abs_diff(to[1])).max(1);
    for step in 0..=steps {
        let share = step as f64 / steps as f64;
        let place = [0, 1].map(|axis: usize| {
            let (from, to) = (from[axis] as f64, to[axis] as f64);
            (from + share * (to - from)).round() as usize
        });
        canvas.fill(place.map(|at| at.saturating_sub(wide / 2)), [wide; 2], curve.colour);
    }
}

/// Draws a mark: a square with a light middle.
fn mark(canvas: &mut Canvas, place: [usize; 2], colour: Colour) {
    canvas.fill(place.map(|at| at.saturating_sub(4)), [9; 2], colour);
    canvas.fill(place.map(|at| at.saturating_sub(1)), [3; 2], PAPER);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panel(points: Vec<(f64, f64)>) -> Panel {
        let curve =
            Curve { name: "WT".to_owned(), colour: [200, 0, 0], stroke: Stroke::Marked, points };
        Panel { title: "DICE (0 TO 1)".to_owned(), range: None, curves: vec![curve] }
    }

    /// Width, height and pixels of a PNG.
    fn decoded(png: &[u8]) -> (usize, usize, Vec<u8>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        (info.width as usize, info.height as usize, pixels)
    }

    #[test]
    fn curves_go_through_their_points() {
        let png = draw(&[panel(vec![(0.0, 0.0), (100.0, 1.0)])], "STEP").unwrap();
        let (width, height, pixels) = decoded(&png);
        assert_eq!([width, height], PANEL);
        let frame = Frame { corner: [0, 0], across: [0.0, 100.0], along: [0.0, 1.0] };
        for (x, y, on) in [(25.0, 0.25, true), (75.0, 0.75, true), (25.0, 0.7, false)] {
            let [x, y] = frame.pixel((x, y));
            let at = 3 * (y * width + x);
            assert_eq!(pixels[at..at + 3] == [200, 0, 0], on, "{x} {y}");
        }
    }

    #[test]
    fn panels_lie_two_beside_each_other_and_empty_ones_are_drawn() {
        let panels = [panel(vec![]), panel(vec![(3.0, f64::NAN), (4.0, 2.0)]), panel(vec![])];
        let (width, height, _) = decoded(&draw(&panels, "STEP").unwrap());
        assert_eq!([width, height], [2 * PANEL[0], 2 * PANEL[1]]);
        assert!(matches!(draw(&[], "STEP"), Err(ImagingError::Picture { .. })));
    }

    #[test]
    fn ticks_are_round_and_few() {
        // (range, first, last, decimals)
        let table = [
            ([0.0, 1.0], 0.0, 1.0, 1),
            ([0.0, 4000.0], 0.0, 4000.0, 0),
            ([0.13, 0.27], 0.15, 0.25, 2),
            ([-3.0, 3.0], -3.0, 3.0, 0),
        ];
        for (range, first, last, decimals) in table {
            let (values, found) = ticks(range);
            assert!(values.len() <= TICKS + 1, "{values:?}");
            assert!((values[0] - first).abs() < 1e-9, "{values:?}");
            assert!((values[values.len() - 1] - last).abs() < 1e-9, "{values:?}");
            assert_eq!(found, decimals, "{range:?}");
        }
        assert_eq!(ticks([2.0, 2.0]).0, [2.0]);
    }
}
