//! A picture in memory: text, boxes, PNG.

use super::font;
use crate::ImagingError;

/// Red, green, blue.
pub(crate) type Colour = [u8; 3];

/// Most pixels in one picture.
const PIXELS_MAX: usize = 40_000_000;

/// Rows of red, green and blue bytes.
pub(crate) struct Canvas {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Canvas {
    pub(crate) fn new(width: usize, height: usize, colour: Colour) -> Result<Self, ImagingError> {
        let pixels = width.saturating_mul(height);
        if pixels == 0 || pixels > PIXELS_MAX {
            let detail = format!("{width} x {height} pixels, expected 1 to {PIXELS_MAX} in all");
            return Err(ImagingError::Picture { detail });
        }
        Ok(Self { width, height, pixels: colour.repeat(pixels) })
    }

    pub(crate) fn put(&mut self, x: usize, y: usize, colour: Colour) {
        if x < self.width && y < self.height {
            let at = 3 * (y * self.width + x);
            self.pixels[at..at + 3].copy_from_slice(&colour);
        }
    }

    pub(crate) fn fill(&mut self, [x, y]: [usize; 2], [width, height]: [usize; 2], colour: Colour) {
        for row in y..y + height {
            for column in x..x + width {
                self.put(column, row, colour);
            }
        }
    }

    /// Draws a picture with its upper left corner at `[x, y]`.
    pub(crate) fn paste(&mut self, [x, y]: [usize; 2], picture: &Self) {
        for row in 0..picture.height.min(self.height.saturating_sub(y)) {
            let width = picture.width.min(self.width.saturating_sub(x));
            let to = 3 * ((y + row) * self.width + x);
            let from = 3 * row * picture.width;
            self.pixels[to..to + 3 * width]
                .copy_from_slice(&picture.pixels[from..from + 3 * width]);
        }
    }

    /// Writes text whose upper left corner is at `[x, y]`, each dot `scale` pixels, with a black
    /// rim so that it reads on any ground.
    pub(crate) fn text(&mut self, [x, y]: [usize; 2], text: &str, scale: usize, colour: Colour) {
        let rim = scale.div_ceil(2);
        self.dots([x, y], text, scale, |canvas, [x, y]| {
            let start = [x.saturating_sub(rim), y.saturating_sub(rim)];
            canvas.fill(start, [scale + 2 * rim; 2], [0; 3]);
        });
        self.dots([x, y], text, scale, |canvas, place| canvas.fill(place, [scale; 2], colour));
    }

    /// Writes text as [`Self::text`] does, without a rim: for a ground of one light colour.
    pub(crate) fn label(&mut self, [x, y]: [usize; 2], text: &str, scale: usize, colour: Colour) {
        self.dots([x, y], text, scale, |canvas, place| canvas.fill(place, [scale; 2], colour));
    }

    fn dots(
        &mut self,
        [x, y]: [usize; 2],
        text: &str,
        scale: usize,
        draw: impl Fn(&mut Self, [usize; 2]),
    ) {
        for (at, letter) in text.chars().enumerate() {
            for (row, bits) in font::glyph(letter).into_iter().enumerate() {
                for column in (0..font::WIDTH).filter(|column| bits >> (4 - column) & 1 == 1) {
                    let left = x + (at * font::ADVANCE + column) * scale;
                    draw(self, [left, y + row * scale]);
                }
            }
        }
    }

    pub(crate) fn size(&self) -> [usize; 2] {
        [self.width, self.height]
    }

    pub(crate) fn png(&self) -> Result<Vec<u8>, ImagingError> {
        let failed = |detail: String| ImagingError::Picture { detail };
        let side = |pixels| u32::try_from(pixels).map_err(|_| failed("too large".to_owned()));
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, side(self.width)?, side(self.height)?);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        encoder
            .write_header()
            .and_then(|mut writer| {
                writer.write_image_data(&self.pixels)?;
                writer.finish()
            })
            .map_err(|error| failed(error.to_string()))?;
        Ok(bytes)
    }
}

/// Returns the width, in pixels, of text with dots of `scale` pixels.
pub(crate) fn text_width(text: &str, scale: usize) -> usize {
    (text.chars().count() * font::ADVANCE).saturating_sub(1) * scale
}

/// Returns the height, in pixels, of text with dots of `scale` pixels.
pub(crate) fn text_height(scale: usize) -> usize {
    font::HEIGHT * scale
}
