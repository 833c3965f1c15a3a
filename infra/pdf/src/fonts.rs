//! The embedded fonts, and text that is shaped with them.

use std::sync::LazyLock;

use domain::printable_invoice::PrintError;
use krilla::text::{Font, GlyphId, KrillaGlyph};
use rustybuzz::{Direction, Face, GlyphBuffer, ShapePlan, UnicodeBuffer, script, shape_with_plan};

static FONTS: LazyLock<[Typeface; 2]> = LazyLock::new(|| {
    [include_bytes!("../fonts/NotoSans-Regular.ttf").as_slice(), include_bytes!("../fonts/NotoSans-Bold.ttf")]
        .map(Typeface::new)
});

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    Regular,
    Bold,
}

impl Weight {
    fn typeface(self) -> &'static Typeface {
        &FONTS[self as usize]
    }

    pub(crate) fn font(self) -> Font {
        self.typeface().font.clone()
    }
}

struct Typeface {
    font: Font,
    face: Face<'static>,
    plan: ShapePlan,
}

impl Typeface {
    fn new(bytes: &'static [u8]) -> Typeface {
        let face = Face::from_slice(bytes, 0).expect("the embedded font is valid");
        let plan = ShapePlan::new(&face, Direction::LeftToRight, Some(script::LATIN), None, &[]);
        Typeface { font: Font::new(bytes.into(), 0).expect("the embedded font is valid"), face, plan }
    }

    fn shape(&self, text: &str) -> GlyphBuffer {
        let mut buffer = UnicodeBuffer::new();
        buffer.push_str(text);
        buffer.set_direction(Direction::LeftToRight);
        buffer.set_script(script::LATIN);
        shape_with_plan(&self.face, &self.plan, buffer)
    }
}

/// A line of text with the glyphs that show it.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub text: String,
    pub weight: Weight,
    /// In points.
    pub size: f32,
    /// In points.
    pub width: f32,
    pub glyphs: Vec<KrillaGlyph>,
}

impl Line {
    /// Shapes a text.
    ///
    /// # Errors
    ///
    /// [`PrintError::NoGlyph`] names the first character that the font does not have.
    pub(crate) fn new(text: &str, weight: Weight, size: f32) -> Result<Line, PrintError> {
        let typeface = weight.typeface();
        let scale = typeface.font.units_per_em();
        let shaped = typeface.shape(text);
        let infos = shaped.glyph_infos();
        let mut glyphs = Vec::with_capacity(infos.len());
        for (index, (info, position)) in infos.iter().zip(shaped.glyph_positions()).enumerate() {
            let next = infos[index..].iter().find(|later| later.cluster != info.cluster);
            let range = info.cluster as usize..next.map_or(text.len(), |later| later.cluster as usize);
            if info.glyph_id == 0 {
                let is_missing = |c: &char| typeface.face.glyph_index(*c).is_none();
                return Err(PrintError::NoGlyph(text[range].chars().find(is_missing).unwrap_or_default()));
            }
            glyphs.push(KrillaGlyph::new(
                GlyphId::new(info.glyph_id),
                position.x_advance as f32 / scale,
                position.x_offset as f32 / scale,
                position.y_offset as f32 / scale,
                position.y_advance as f32 / scale,
                range,
                None,
            ));
        }
        let width = glyphs.iter().map(|glyph| glyph.x_advance).sum::<f32>() * size;
        Ok(Line { text: text.to_owned(), weight, size, width, glyphs })
    }

    /// Shapes a text in as many lines as it needs to be no wider than `width` points. Words that are wider are broken.
    ///
    /// # Errors
    ///
    /// [`PrintError::NoGlyph`] names the first character that the font does not have.
    pub(crate) fn wrap(text: &str, weight: Weight, size: f32, width: f32) -> Result<Vec<Line>, PrintError> {
        let whole = Line::new(text, weight, size)?;
        if whole.width <= width {
            return Ok(vec![whole]);
        }
        let mut lines = Vec::new();
        let mut start = 0;
        while start < text.len() {
            let end = start + whole.fitting(start, width);
            lines.push(Line::new(text[start..end].trim(), weight, size)?);
            start = end;
        }
        Ok(lines)
    }

    /// The bytes from `start` on that fit into `width`: up to the last space, or else within a word.
    fn fitting(&self, start: usize, width: f32) -> usize {
        let (mut used, mut end, mut space) = (0.0, None, None);
        for glyph in self.glyphs.iter().filter(|glyph| start <= glyph.text_range.start) {
            // A space at the end of a line takes no room.
            if self.text[glyph.text_range.clone()] == *" " {
                space = Some(glyph.text_range.end);
            } else if width < used + glyph.x_advance * self.size {
                // A character alone is never too wide, but what has no end would never be left.
                return space.or(end).unwrap_or(glyph.text_range.end) - start;
            }
            used += glyph.x_advance * self.size;
            end = Some(glyph.text_range.start).filter(|end| start < *end);
        }
        self.text.len() - start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapped(text: &str, width: f32) -> Vec<String> {
        let lines = Line::wrap(text, Weight::Regular, 10.0, width).expect("lines");
        assert!(lines.iter().all(|line| line.width <= width), "{text:?}");
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn text_is_wrapped_between_words_and_within_long_ones() {
        assert_eq!(wrapped("red green blue", 60.0), ["red green", "blue"]);
        assert_eq!(wrapped("red", 60.0), ["red"]);
        assert_eq!(wrapped("a wwwwwwwwwwww", 40.0), ["a", "wwww", "wwww", "wwww"]);
        assert_eq!(wrapped(&"x\u{323}\u{301}".repeat(9), 40.0).concat(), "x\u{323}\u{301}".repeat(9));
    }

    #[test]
    fn digits_have_one_width() {
        let width = |text: &str| Line::new(text, Weight::Regular, 10.0).expect("a line").width;
        assert!((1..=9).all(|digit: u8| width(&digit.to_string().repeat(4)) == width("0000")));
    }

    #[test]
    fn a_missing_glyph_is_named() {
        for (text, missing) in [("Rope 漢字", '漢'), ("a\u{5d0}", '\u{5d0}'), ("🙂", '🙂'), ("e\u{1ab0}", '\u{1ab0}')]
        {
            let result = Line::new(text, Weight::Bold, 10.0).map(|line| line.text);
            assert_eq!(result, Err(PrintError::NoGlyph(missing)), "{text}");
        }
        for text in ["Ñandú Žluťoučký", "Ελληνικά ᾧ", "Українська ґ", "€ ₹ ₽ ₺ № ½ – — “”"]
        {
            assert!(Line::new(text, Weight::Bold, 10.0).is_ok(), "{text}");
        }
    }
}
