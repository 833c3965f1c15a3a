//! The text of an SMS: its encoding, its segments, and its truncation.

use unicode_segmentation::UnicodeSegmentation;

/// Maximum length of one message in characters, which every provider accepts.
pub const MAX_CHARACTERS: usize = 1_600;

/// The encoding of a text on the air interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Gsm7,
    Ucs2,
}

impl Encoding {
    pub fn as_str(self) -> &'static str {
        match self {
            Encoding::Gsm7 => "GSM-7",
            Encoding::Ucs2 => "UCS-2",
        }
    }
}

/// The segments for which a text is charged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segments {
    pub encoding: Encoding,
    pub count: u16,
}

/// The basic characters of GSM 03.38. Each takes one septet.
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
/// The extension of GSM 03.38. Each character takes two septets, which are never split.
const EXTENDED: &str = "^{}\\[~]|€\u{c}";

/// Counts segments like Twilio, which never splits a character or grapheme over two segments.
pub fn segments(text: &str) -> Segments {
    let is_gsm = text.chars().all(|c| BASIC.contains(c) || EXTENDED.contains(c));
    if is_gsm {
        let units = text.chars().map(|c| if EXTENDED.contains(c) { 2 } else { 1 });
        Segments { encoding: Encoding::Gsm7, count: count(units, 160, 153) }
    } else {
        // CRLF is one grapheme but can be split.
        let clusters = text.graphemes(true).flat_map(|g| match g {
            "\r\n" => vec![1, 1],
            other => vec![other.encode_utf16().count()],
        });
        Segments { encoding: Encoding::Ucs2, count: count(clusters, 70, 67) }
    }
}

fn count(units: impl Iterator<Item = usize> + Clone, single: usize, part: usize) -> u16 {
    let total: usize = units.clone().sum();
    if total <= single {
        return 1;
    }
    let (mut parts, mut filled) = (1usize, 0usize);
    for unit in units {
        if part < filled + unit {
            parts += 1;
            filled = 0;
        }
        // A grapheme longer than a whole segment extends over several.
        parts += unit.saturating_sub(1) / part;
        filled += unit.min(part);
    }
    parts.min(usize::from(u16::MAX)) as u16
}

/// Cuts a text to `limit` characters, at the end of a grapheme. A text that was cut ends in three dots.
pub fn truncate(text: &str, limit: usize) -> String {
    // Some providers count UTF-16 units, others characters. The number of units is never the smaller one.
    if text.encode_utf16().count() <= limit {
        return text.to_owned();
    }
    let mut left = limit - 3;
    let kept = text.graphemes(true).take_while(|grapheme| {
        let units = grapheme.encode_utf16().count();
        let fits = units <= left;
        left = left.saturating_sub(units);
        fits
    });
    kept.collect::<String>() + "..."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_counted_as_providers_charge() {
        for (text, encoding, count) in [
            ("", Encoding::Gsm7, 1),
            (&"a".repeat(160), Encoding::Gsm7, 1),
            (&"a".repeat(161), Encoding::Gsm7, 2),
            (&"€".repeat(80), Encoding::Gsm7, 1),
            (&"€".repeat(81), Encoding::Gsm7, 2),
            // 76 pairs fill 152 of 153 septets, because a pair is not split.
            (&"€".repeat(153), Encoding::Gsm7, 3),
            (&"я".repeat(70), Encoding::Ucs2, 1),
            (&"я".repeat(71), Encoding::Ucs2, 2),
            (&"😀".repeat(35), Encoding::Ucs2, 1),
            (&"😀".repeat(36), Encoding::Ucs2, 2),
            (&"😀".repeat(67), Encoding::Ucs2, 3),
            ("ç", Encoding::Ucs2, 1),
        ] {
            assert_eq!(segments(text), Segments { encoding, count }, "{text}");
        }
    }

    #[test]
    fn truncation_never_splits_a_grapheme() {
        assert_eq!(truncate("short", 8), "short");
        assert_eq!(truncate("123456789", 8), "12345...");
        assert_eq!(truncate("1234👩‍👩‍👧89", 8), "1234...");
        assert_eq!(truncate(&"x".repeat(2_000), MAX_CHARACTERS).len(), MAX_CHARACTERS);
    }
}
