//! The tags, comments and entities of HTML. Reading takes time in proportion to the length, whatever is not closed.

use std::collections::HashMap;

/// The names that begin a tag. `<y` in `x<y` is text.
const TAGS: &[&str] = &[
    "a",
    "abbr",
    "address",
    "article",
    "aside",
    "b",
    "big",
    "blockquote",
    "body",
    "br",
    "button",
    "caption",
    "center",
    "cite",
    "code",
    "col",
    "colgroup",
    "dd",
    "del",
    "details",
    "div",
    "dl",
    "dt",
    "em",
    "figcaption",
    "figure",
    "font",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "head",
    "header",
    "hr",
    "html",
    "i",
    "iframe",
    "img",
    "input",
    "ins",
    "label",
    "li",
    "link",
    "main",
    "mark",
    "meta",
    "nav",
    "noscript",
    "ol",
    "option",
    "p",
    "pre",
    "q",
    "s",
    "samp",
    "script",
    "section",
    "select",
    "small",
    "span",
    "strike",
    "strong",
    "style",
    "sub",
    "summary",
    "sup",
    "svg",
    "table",
    "tbody",
    "td",
    "textarea",
    "tfoot",
    "tg-emoji",
    "tg-spoiler",
    "th",
    "thead",
    "time",
    "title",
    "tr",
    "tt",
    "u",
    "ul",
    "var",
    "video",
];

/// Whether the text contains a tag, such as `<b>`, `</p>` or `<!doctype html>`.
pub(super) fn looks_like_html(text: &str) -> bool {
    let is_page = text.trim_start().get(..9).is_some_and(|start| start.eq_ignore_ascii_case("<!doctype"));
    // A tag ends at the last bracket or before, so no search for its end is in vain.
    let last = text.rfind('>').unwrap_or(0);
    is_page || text[..last].match_indices('<').any(|(at, _)| tag(&text[at..]).is_some())
}

/// A part of HTML.
pub(super) enum Token<'a> {
    Text(&'a str),
    /// The name in lower case, and the attributes.
    Open(String, &'a str),
    Close(String),
    Comment,
}

/// The first token of a text, and its length. `None` at its end.
pub(super) fn token(html: &str, may_be_tag: bool) -> Option<(Token<'_>, usize)> {
    if html.starts_with("<!--") {
        return Some((Token::Comment, html.find("-->").map_or(html.len(), |end| end + 3)));
    }
    if html.starts_with("<!") || html.starts_with("<?") {
        return Some((Token::Comment, html.find('>').map_or(html.len(), |end| end + 1)));
    }
    if let Some(tag) = Some(html).filter(|_| may_be_tag).and_then(tag) {
        return Some(tag);
    }
    let first = html.chars().next()?.len_utf8();
    let begins_tag = |at: &usize| html[at + 1..].starts_with(|c: char| c.is_ascii_alphabetic() || "/!?".contains(c));
    let next = html[first..].match_indices('<').map(|(at, _)| first + at).find(begins_tag);
    let length = next.unwrap_or(html.len());
    Some((Token::Text(&html[..length]), length))
}

/// The tag that a text begins with, and its length.
fn tag(html: &str) -> Option<(Token<'_>, usize)> {
    let tag = html.strip_prefix('<')?;
    let (is_close, tag) = tag.strip_prefix('/').map_or((false, tag), |tag| (true, tag));
    let is_in_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == ':';
    let length = tag.find(|c| !is_in_name(c)).unwrap_or(tag.len());
    let (name, rest) = tag.split_at(length);
    let name = name.to_ascii_lowercase();
    let is_known = TAGS.contains(&name.as_str()) || (name.contains(':') && !name.starts_with("http"));
    if !is_known || !rest.starts_with(|c: char| c == '>' || c == '/' || c.is_whitespace()) {
        return None;
    }
    let end = tag_end(rest)?;
    let total = html.len() - rest.len() + end + 1;
    Some((if is_close { Token::Close(name) } else { Token::Open(name, &rest[..end]) }, total))
}

/// Where a tag ends. A bracket in quotes does not end it, if the quotes are closed.
fn tag_end(tag: &str) -> Option<usize> {
    let (mut quote, mut is_value) = (None, false);
    for (at, byte) in tag.bytes().enumerate() {
        match (quote, byte) {
            (Some(open), byte) if open == byte => quote = None,
            (Some(_), _) => (),
            (None, b'>') => return Some(at),
            (None, b'"' | b'\'') if is_value => quote = Some(byte),
            (None, byte) => is_value = byte == b'=' || (is_value && byte.is_ascii_whitespace()),
        }
    }
    tag.find('>')
}

/// The value of an attribute. Text that looks like an attribute in the value of another one is not one.
pub(super) fn attribute(attributes: &str, name: &str) -> Option<String> {
    let mut rest = attributes;
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
        let first = rest.chars().next()?.len_utf8();
        let ends_name = |c: char| c.is_whitespace() || c == '=' || c == '/';
        let (found, after) = rest.split_at(rest[first..].find(ends_name).map_or(rest.len(), |end| first + end));
        rest = after;
        let Some(value) = after.trim_start().strip_prefix('=').map(str::trim_start) else { continue };
        let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
        let (value, after) = match quote {
            Some(quote) => value[1..].split_once(quote).unwrap_or((&value[1..], "")),
            None => value.split_at(value.find(char::is_whitespace).unwrap_or(value.len())),
        };
        if found.eq_ignore_ascii_case(name) {
            return Some(Entities::default().decoded(value).trim().to_owned());
        }
        rest = after;
    }
}

/// The entities of a text, each looked up once. Only what ends with a semicolon is one: `&order=5` in an address is not.
#[derive(Default)]
pub(super) struct Entities(HashMap<String, Option<String>>);

impl Entities {
    pub fn decoded(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut parts = text.split('&');
        out.push_str(parts.next().unwrap_or_default());
        for part in parts {
            let entity = part.split(|c: char| !c.is_ascii_alphanumeric() && c != '#').next().unwrap_or_default();
            let rest = part[entity.len()..].strip_prefix(';');
            let text =
                rest.and_then(|_| self.0.entry(entity.to_owned()).or_insert_with(|| entity_text(entity)).as_ref());
            match text.zip(rest) {
                Some((text, rest)) => {
                    out.push_str(text);
                    out.push_str(rest);
                }
                None => {
                    out.push('&');
                    out.push_str(part);
                }
            }
        }
        out
    }
}

fn entity_text(entity: &str) -> Option<String> {
    if entity == "nbsp" {
        return Some("\u{a0}".to_owned());
    }
    if entity.is_empty() || 32 < entity.len() {
        return None;
    }
    let written = format!("&{entity};");
    let text = nanohtml2text::html2text(&written);
    (!text.is_empty() && text != written).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_read_by_its_name_not_from_the_value_of_another() {
        for (attributes, value) in [
            (" href=\"a\"", Some("a")),
            (" title=\"x href='evil'\" HREF = 'a&amp;b' ", Some("a&b")),
            (" data-href=evil href=a/b?c=d class", Some("a/b?c=d")),
            (" title='go to href=evil'", None),
            (" href title=href=evil", None),
            ("/href=a", Some("a")),
            (" href=\"not closed", Some("not closed")),
            (" =href=a é=\"b\"href=c", Some("c")),
            ("", None),
        ] {
            assert_eq!(attribute(attributes, "href").as_deref(), value, "{attributes}");
        }
    }

    #[test]
    fn text_with_a_bracket_is_not_html() {
        for text in ["a < b", "x<y and y>z", "<3 <3>", "a <- b -> c", "<ada@example.com>", "<", "<b", "1<i"] {
            assert!(!looks_like_html(text), "{text}");
        }
        for html in ["<b>a</b>", "a<br/>", "<p class=\"x\">", "</p>", "<!DOCTYPE html>", "<A HREF='x'>"] {
            assert!(looks_like_html(html), "{html}");
        }
    }
}
