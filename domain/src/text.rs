//! The characters that callers' text must not contain.

use serde_json::Value;

/// Why a text is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextFault {
    #[error("must not contain control characters")]
    Control,
    /// Characters that reverse the direction of what follows, so that a name looks like another.
    #[error("must not contain characters that change the direction of text")]
    Direction,
    #[error("must contain more than white space")]
    Blank,
}

impl TextFault {
    /// A code for programs.
    pub fn code(self) -> &'static str {
        match self {
            TextFault::Control => "control_characters",
            TextFault::Direction => "direction_characters",
            TextFault::Blank => "blank",
        }
    }
}

/// Checks text of several lines. It may contain line breaks and tabs, and the directions of its languages.
pub fn check_body(text: &str) -> Option<TextFault> {
    if has_control(text) {
        return Some(TextFault::Control);
    }
    let is_seen = |c: char| !c.is_whitespace() && !is_hidden(c);
    (!text.chars().any(is_seen)).then_some(TextFault::Blank)
}

/// Checks a subject or a name.
pub fn check_line(text: &str) -> Option<TextFault> {
    check_body(text).or_else(|| changes_direction(text).then_some(TextFault::Direction))
}

/// Whether a text has characters that reverse the direction of what follows.
pub fn changes_direction(text: &str) -> bool {
    text.contains(|c| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
}

/// Whether a character has no visible form of its own: Unicode's default ignorable ones, and the empty Braille cell.
pub fn is_hidden(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fff8}' | '\u{e0000}'..='\u{e0fff}')
}

/// Checks all texts in a value. They may be blank.
pub fn check_values(value: &Value) -> Option<TextFault> {
    match value {
        Value::String(text) => has_control(text).then_some(TextFault::Control),
        Value::Array(items) => items.iter().find_map(check_values),
        Value::Object(fields) => fields.values().find_map(check_values),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

fn has_control(text: &str) -> bool {
    text.contains(|c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t'))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn text_has_visible_characters_and_no_control_characters() {
        for (text, body, line) in [
            ("Hello\n\tthere", None, None),
            ("  \n \u{a0}\u{200b}", Some(TextFault::Blank), Some(TextFault::Blank)),
            ("\u{ad}\u{3164}\u{2800}\u{e0041}", Some(TextFault::Blank), Some(TextFault::Blank)),
            ("👩\u{200d}🚀", None, None),
            ("a\u{0}b", Some(TextFault::Control), Some(TextFault::Control)),
            ("a\u{9b}b", Some(TextFault::Control), Some(TextFault::Control)),
            ("invoice\u{202e}fdp.exe", None, Some(TextFault::Direction)),
            ("\u{2067}שלום\u{2069}", None, Some(TextFault::Direction)),
            ("שלום", None, None),
        ] {
            assert_eq!((check_body(text), check_line(text)), (body, line), "{text:?}");
        }
        assert_eq!(check_values(&json!({ "a": [" ", { "b": "\u{7}" }] })), Some(TextFault::Control));
        assert_eq!(check_values(&json!({ "a": [" ", { "b": 7 }] })), None);
    }
}
