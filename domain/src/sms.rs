//! SMS text: how many segments it is charged as, and where it is cut.

use unicode_segmentation::UnicodeSegmentation;

/// Characters that a provider takes in one message.
pub const MAX_CHARACTERS: usize = 1_600;

/// How a text is sent over the air.
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

/// What a text is charged as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segments {
    pub encoding: Encoding,
    pub count: u16,
}

/// GSM 03.38 basic characters; one septet each.
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
/// GSM 03.38 extension; two septets each, never split.
const EXTENDED: &str = "^{}\\[~]|€\u{c}";

/// Counts segments as Twilio does: a character or grapheme is never split over two.
pub fn segments(text: &str) -> Segments {
    let gsm = text.chars().all(|c| BASIC.contains(c) || EXTENDED.contains(c));
    match gsm {
        true => {
            let units = text.chars().map(|c| if EXTENDED.contains(c) { 2 } else { 1 });
            Segments { encoding: Encoding::Gsm7, count: count(units, 160, 153) }
        }
        false => {
            // CRLF is one grapheme but may be split.
            let clusters = text.graphemes(true).flat_map(|g| match g {
                "\r\n" => vec![1, 1],
                other => vec![other.encode_utf16().count()],
            });
            Segments { encoding: Encoding::Ucs2, count: count(clusters, 70, 67) }
        }
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
        // A grapheme longer than a whole segment goes on over several.
        parts += unit.saturating_sub(1) / part;
        filled += unit.min(part);
    }
    parts.min(usize::from(u16::MAX)) as u16
}

/// At most so many characters, whole graphemes, the last three of them dots where something was cut.
pub fn truncate(text: &str, most: usize) -> String {
    // Providers count UTF-16 units or characters: the larger measure keeps both.
    if text.encode_utf16().count() <= most {
        return text.to_owned();
    }
    let mut left = most - 3;
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
            // 76 pairs fill 152 of 153 septets: the pair is not split.
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
    fn a_cut_never_splits_what_a_reader_sees_as_one() {
        assert_eq!(truncate("short", 8), "short");
        assert_eq!(truncate("123456789", 8), "12345...");
        assert_eq!(truncate("1234👩‍👩‍👧89", 8), "1234...");
        assert_eq!(truncate(&"x".repeat(2_000), MAX_CHARACTERS).len(), MAX_CHARACTERS);
    }
}
