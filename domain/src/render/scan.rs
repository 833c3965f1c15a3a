//! One pass over a text before it is compiled. Only text that compiles quickly reaches the parser.
//!
//! The parser counts lines from the start of the text for each tag, so its time grows with the number of tags and with
//! their positions. It recurses for each block and each parenthesis. The scanner recognises tags as the parser does.

use super::error::RenderError;
use crate::text::{TextFault, check_body};

/// Maximum length of a text with tags, in characters.
pub const MAX_TEMPLATE_CHARACTERS: usize = 100_000;
/// Maximum number of tags in a text.
const MAX_TAGS: usize = 2_000;
/// Maximum length of one tag, in bytes. Comments may be longer.
const MAX_TAG_BYTES: usize = 1_000;
/// Maximum length of all tags together, in bytes.
const MAX_ALL_TAGS_BYTES: usize = 40_000;
/// Maximum sum of the positions of all tags, in bytes.
const MAX_POSITIONS: usize = 10_000_000;
/// Maximum number of backslashes in a row. The parser looks ahead to their end from each of them.
const MAX_BACKSLASHES: usize = 20;
/// Maximum depth of blocks inside blocks.
pub(super) const MAX_BLOCKS: usize = 20;
/// Maximum depth of parentheses inside parentheses.
const MAX_PARENTHESES: usize = 20;

/// What a tag is, as far as the limits need to know.
enum TagKind {
    Open,
    Close,
    Comment,
    Other,
}

struct Tag {
    kind: TagKind,
    /// In bytes.
    length: usize,
}

/// Checks the limits. Returns the approximate work of compiling the text, in bytes that the parser looks at.
///
/// # Errors
///
/// [`RenderError::TooComplex`] if the text passes a limit, [`RenderError::Template`] if it uses what is not available.
pub fn scan(text: &str) -> Result<usize, RenderError> {
    if MAX_TEMPLATE_CHARACTERS < text.len() && MAX_TEMPLATE_CHARACTERS < text.chars().count() {
        return Err(RenderError::TooComplex("it has more than 100,000 characters"));
    }
    if text.as_bytes().windows(MAX_BACKSLASHES + 1).any(|window| window.iter().all(|byte| *byte == b'\\')) {
        return Err(RenderError::TooComplex("it has more than 20 backslashes in a row"));
    }
    // Some of them are white space here and not for the parser.
    if let Some(fault) = check_body(text).filter(|fault| *fault != TextFault::Blank) {
        return Err(RenderError::Template(fault.to_string()));
    }
    let (mut at, mut tags, mut in_tags, mut positions, mut blocks) = (0, 0usize, 0usize, 0usize, 0usize);
    while let Some(found) = text[at..].find("{{") {
        let start = at + found;
        tags += 1;
        positions += start;
        if MAX_TAGS < tags {
            return Err(RenderError::TooComplex("it has more than 2,000 tags"));
        }
        if MAX_POSITIONS < positions {
            return Err(RenderError::TooComplex("it has too many tags for its length"));
        }
        let backslashes = text[at..start].bytes().rev().take_while(|byte| *byte == b'\\').count();
        // One backslash makes the braces text. Two or more are text themselves.
        if backslashes == 1 {
            at = start + if text[start..].starts_with("{{{{") { 4 } else { 2 };
            continue;
        }
        let Tag { kind, length } = read_tag(&text.as_bytes()[start..])?;
        if !matches!(kind, TagKind::Comment) {
            in_tags += length;
        }
        if MAX_ALL_TAGS_BYTES < in_tags {
            return Err(RenderError::TooComplex("its tags have more than 40,000 characters together"));
        }
        match kind {
            TagKind::Open => blocks += 1,
            TagKind::Close => blocks = blocks.saturating_sub(1),
            TagKind::Comment | TagKind::Other => (),
        }
        if MAX_BLOCKS < blocks {
            return Err(RenderError::TooComplex("blocks are nested more than 20 deep"));
        }
        at = start + length;
    }
    Ok(text.len() + positions)
}

fn read_tag(bytes: &[u8]) -> Result<Tag, RenderError> {
    let unavailable = |what: &str| Err(RenderError::Template(format!("{what} are not available")));
    if bytes.starts_with(b"{{{{") {
        return unavailable("raw blocks");
    }
    if let Some(comment) = bytes.strip_prefix(b"{{!") {
        return Ok(Tag { kind: TagKind::Comment, length: 3 + comment_length(comment)? });
    }
    let is_filler = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'~';
    let first = 2 + bytes[2..].iter().take_while(|byte| is_filler(byte)).count();
    let mark = bytes.get(first).copied().unwrap_or_default();
    let second = bytes[first..].iter().skip(1).find(|byte| !is_filler(byte));
    if matches!(mark, b'>' | b'*') || (mark == b'#' && matches!(second, Some(b'>' | b'*'))) {
        return unavailable("partials and decorators");
    }
    let kind = match mark {
        b'#' => TagKind::Open,
        b'/' => TagKind::Close,
        _ => TagKind::Other,
    };
    let from = if mark == b'{' { first + 1 } else { first };
    let length = from + content_length(&bytes[from..])?;
    if MAX_TAG_BYTES < length {
        return Err(RenderError::TooComplex("a tag is longer than 1,000 characters"));
    }
    Ok(Tag { kind, length })
}

/// The length of a comment after `{{!`. A comment that begins with two hyphens ends only with `--}}`.
fn comment_length(bytes: &[u8]) -> Result<usize, RenderError> {
    let start = bytes.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let (from, ending): (usize, &[u8]) =
        if bytes[start..].starts_with(b"--") { (start + 2, b"--}}") } else { (0, b"}}") };
    let length = bytes[from..].windows(ending.len()).position(|window| window == ending);
    let length = length.ok_or_else(|| RenderError::Template("a comment is not closed".to_owned()))?;
    Ok(from + length + ending.len())
}

/// The length of the rest of a tag, including its two closing braces. The parser refuses a tag that is not closed.
fn content_length(bytes: &[u8]) -> Result<usize, RenderError> {
    let (mut at, mut depth) = (0, 0usize);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' | b'\'' => at += string_length(&bytes[at..], *byte),
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b'[' => at += bracket_length(&bytes[at..])?,
            b'{' => return Err(RenderError::Template("objects in tags are not available".to_owned())),
            b'}' if bytes.get(at + 1) == Some(&b'}') => return Ok(at + 2),
            _ => (),
        }
        if MAX_PARENTHESES < depth {
            return Err(RenderError::TooComplex("parentheses are nested more than 20 deep"));
        }
        at += 1;
    }
    Ok(bytes.len())
}

/// The length of a quoted text, without its last quote.
fn string_length(bytes: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while let Some(byte) = bytes.get(at).filter(|byte| **byte != quote) {
        at += if *byte == b'\\' { 2 } else { 1 };
    }
    at.min(bytes.len())
}

/// The length of a name or number in brackets, without the closing bracket.
fn bracket_length(bytes: &[u8]) -> Result<usize, RenderError> {
    let length = bytes.iter().position(|byte| *byte == b']').unwrap_or(bytes.len());
    if bytes[..length].iter().skip(1).any(|byte| b"\"'()[{}".contains(byte)) {
        return Err(RenderError::Template("brackets in tags can only contain a name".to_owned()));
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_as_the_parser_reads_them() {
        for text in [
            "plain (((( [[[[ {",
            "{{a}} \\{{b ((( \\\\{{c}} {{{d}}} {{~{e}~}} {{&f}}",
            "{{t \"a ) ( }} b\" 'c \\' )'}} {{a.[b c]}} {{! ((( }} {{!-- {{ }} --}}",
            "{{#if a}}b{{else}}c{{/if}}{{~ #if d}}{{/if}}",
        ] {
            assert!(scan(text).is_ok(), "{text}");
        }
        for (text, part) in [
            ("{{{{raw}}}}{{{{/raw}}}}".to_owned(), "raw blocks"),
            ("{{ > other}}".to_owned(), "partials"),
            ("{{# *inline \"x\"}}".to_owned(), "decorators"),
            ("{{!-- }} never closed".to_owned(), "not closed"),
            ("{{f {\"a\":1}}}".to_owned(), "objects"),
            ("{{f [\"(\"]}}".to_owned(), "brackets"),
            ("{{ #if a}}".repeat(21), "20 deep"),
            (format!("{{{{f {}", "(f \")\" ".repeat(21)), "20 deep"),
            ("{{a}}".repeat(2_001), "2,000 tags"),
            (format!("{}{}", "a".repeat(99_000), "{{a}}".repeat(210)), "100,000"),
            ("\\".repeat(21), "backslashes"),
            (format!("{{{{f {}}}}}", "a ".repeat(450)).repeat(45), "40,000"),
            (format!("{}{}", "a".repeat(98_000), "{{a}}".repeat(399)), "its length"),
            (format!("{{{{f {}}}}}", "a ".repeat(1_000)), "a tag is longer"),
        ] {
            let error = scan(&text).expect_err(part).to_string();
            assert!(error.contains(part), "{error}: {part}");
        }
    }
}
