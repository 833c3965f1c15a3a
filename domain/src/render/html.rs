//! Callers' HTML as text with line breaks and link addresses, and as the markup that Telegram supports. Both take one pass
//! over the HTML.

use super::html_tokens::{Entities, Token, attribute, token};
use crate::sms;

/// Elements whose content is not shown.
const HIDDEN: &[&str] = &["script", "style", "title", "svg", "noscript", "iframe"];
/// Elements with an empty line around them.
const PARAGRAPHS: &[&str] =
    &["p", "h1", "h2", "h3", "h4", "h5", "h6", "table", "ul", "ol", "dl", "blockquote", "pre", "hr"];
/// Elements on lines of their own.
const LINES: &[&str] = &[
    "address",
    "article",
    "aside",
    "body",
    "center",
    "dd",
    "details",
    "div",
    "dt",
    "figcaption",
    "figure",
    "footer",
    "form",
    "header",
    "li",
    "main",
    "nav",
    "option",
    "section",
    "summary",
    "tr",
];

/// Converts HTML to text.
pub(super) fn html_to_text(html: &str) -> String {
    write(html, false).text
}

/// Converts HTML to text of at most `limit` characters, and to the same text with Telegram's markup, if there is any.
pub(super) fn html_to_telegram(html: &str, limit: usize) -> (String, Option<String>) {
    let written = write(html, true);
    let text = sms::truncate(&written.text, limit);
    let is_cut = text != written.text;
    let shown = if is_cut { text.len() - 3 } else { text.len() };
    let marks: Vec<&(usize, Mark)> = written.marks.iter().filter(|(at, _)| *at < shown).collect();
    if marks.is_empty() {
        return (text, None);
    }
    let (mut markup, mut open, mut done) = (String::new(), Vec::<&str>::new(), 0);
    for (at, mark) in marks {
        markup.push_str(&escaped(&text[done..*at]));
        done = *at;
        match mark {
            // Code contains no other markup, and no element contains itself.
            Mark::Open { name, .. } if open.contains(name) || open.iter().any(|it| matches!(*it, "code" | "pre")) => (),
            Mark::Open { name, link } => {
                match link {
                    Some(link) => {
                        markup.push_str(&format!("<{name} href=\"{}\">", escaped(link).replace('"', "&quot;")))
                    }
                    None => markup.push_str(&format!("<{name}>")),
                }
                open.push(name);
            }
            Mark::Close(name) => {
                if let Some(from) = open.iter().rposition(|it| it == name) {
                    open.drain(from..).rev().for_each(|name| markup.push_str(&format!("</{name}>")));
                }
            }
        }
    }
    markup.push_str(&escaped(&text[done..shown]));
    open.iter().rev().for_each(|name| markup.push_str(&format!("</{name}>")));
    markup.push_str(&text[shown..]);
    (text, Some(markup))
}

/// Text in Telegram's HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

enum Mark {
    Open { name: &'static str, link: Option<String> },
    Close(&'static str),
}

/// Text without spaces at the ends of lines, and with at most one empty line in a row.
#[derive(Default)]
struct Writer {
    text: String,
    /// Where markup begins and ends in the text.
    marks: Vec<(usize, Mark)>,
    is_space_due: bool,
    /// Line breaks before the next character.
    breaks_due: usize,
    /// Open elements with text as it is written.
    preformatted: usize,
    /// The number of items so far in each open list. `None` in a list without numbers.
    lists: Vec<Option<usize>>,
    /// The address of the open link, and where its text begins.
    link: Option<(String, usize)>,
    /// The end of the mark of the last list item. Its text follows on the same line.
    item_at: usize,
    entities: Entities,
}

impl Writer {
    fn break_lines(&mut self, count: usize) {
        if self.text.len() == self.item_at {
            return;
        }
        self.breaks_due = self.breaks_due.max(count);
        self.is_space_due = false;
    }

    fn settle(&mut self) {
        if !self.text.is_empty() {
            let breaks = "\n".repeat(self.breaks_due.min(2));
            self.text.push_str(&breaks);
            if self.is_space_due && breaks.is_empty() && !self.text.ends_with(['\n', ' ']) {
                self.text.push(' ');
            }
        }
        (self.breaks_due, self.is_space_due) = (0, false);
    }

    fn push(&mut self, text: &str) {
        self.settle();
        self.text.push_str(text);
    }

    fn push_text(&mut self, text: &str) {
        if self.preformatted > 0 {
            return self.push(&text.replace("\r\n", "\n"));
        }
        let is_space = |c: char| c.is_ascii_whitespace();
        for (index, word) in text.split(is_space).enumerate() {
            self.is_space_due |= index > 0;
            if !word.is_empty() {
                self.push(word);
            }
        }
    }

    fn open(&mut self, name: &str, attributes: &str, has_markup: bool) {
        match name {
            "br" => self.breaks_due += 1,
            "li" => {
                self.break_lines(1);
                let number = self.lists.last_mut().and_then(|list| list.as_mut().map(|count| (*count += 1, *count).1));
                self.push(&number.map_or("-".to_owned(), |number| format!("{number}.")));
                self.is_space_due = true;
                self.item_at = self.text.len();
            }
            "ul" | "ol" => {
                self.break_lines(if self.lists.is_empty() { 2 } else { 1 });
                self.lists.push((name == "ol").then_some(0));
            }
            "td" | "th" => self.is_space_due = true,
            "img" => {
                let text = attribute(attributes, "alt").unwrap_or_default();
                self.push_text(&text);
            }
            _ => self.break_around(name),
        }
        if matches!(name, "pre" | "textarea") {
            self.preformatted += 1;
        }
        let link = (name == "a").then(|| attribute(attributes, "href")).flatten().filter(|link| is_link(link));
        let is_spoiler = name == "span" && attribute(attributes, "class").as_deref() == Some("tg-spoiler");
        let mark = telegram_name(if is_spoiler { "tg-spoiler" } else { name });
        let is_web = link.as_ref().is_some_and(|link| !link.starts_with("mailto:") && !link.starts_with("tel:"));
        if let Some(name) = mark.filter(|name| has_markup && (*name != "a" || is_web)) {
            self.settle();
            self.marks.push((self.text.len(), Mark::Open { name, link }));
        } else if let Some(link) = link {
            self.settle();
            self.link = Some((link, self.text.len()));
        }
    }

    fn close(&mut self, name: &str, has_markup: bool) {
        match name {
            "ul" | "ol" => {
                self.lists.pop();
                self.break_lines(if self.lists.is_empty() { 2 } else { 1 });
            }
            "pre" | "textarea" => self.preformatted = self.preformatted.saturating_sub(1),
            _ => (),
        }
        if name == "a" {
            self.write_address_of_empty_link();
        }
        if has_markup {
            let name = if name == "span" { "tg-spoiler" } else { name };
            self.marks.extend(telegram_name(name).map(|name| (self.text.len(), Mark::Close(name))));
        }
        if name == "a"
            && let Some((link, start)) = self.link.take()
        {
            self.close_link(&link, start);
        }
        self.break_around(name);
    }

    /// Telegram does not show a link without text, so its address becomes its text.
    fn write_address_of_empty_link(&mut self) {
        let end = self.text.trim_end().len();
        let open = self.marks.iter().rev().take_while(|(at, _)| end <= *at);
        let link = open.take_while(|(_, mark)| !matches!(mark, Mark::Close("a"))).find_map(|(_, mark)| match mark {
            Mark::Open { link, .. } => link.clone(),
            Mark::Close(_) => None,
        });
        if let Some(link) = link {
            let is_space_due = std::mem::take(&mut self.is_space_due);
            self.push(&link);
            self.is_space_due = is_space_due;
        }
    }

    /// Writes the address of a link after its text, unless the text is the address.
    fn close_link(&mut self, link: &str, start: usize) {
        let address = link.strip_prefix("mailto:").or_else(|| link.strip_prefix("tel:")).unwrap_or(link);
        let label = self.text.get(start..).unwrap_or_default().trim();
        let bare = |text: &str| {
            let text = text.trim_start_matches("https://").trim_start_matches("http://");
            text.trim_end_matches('/').to_owned()
        };
        if label.is_empty() {
            self.push(address);
        } else if bare(label) != bare(address) {
            self.is_space_due = true;
            self.push(&format!("({address})"));
        }
    }

    fn break_around(&mut self, name: &str) {
        if PARAGRAPHS.contains(&name) && !matches!(name, "ul" | "ol") {
            self.break_lines(2);
        } else if LINES.contains(&name) {
            self.break_lines(1);
        }
    }
}

fn is_link(address: &str) -> bool {
    ["https://", "http://", "mailto:", "tel:", "tg://"]
        .iter()
        .any(|scheme| address.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)))
}

/// The tag that Telegram has for an element.
fn telegram_name(name: &str) -> Option<&'static str> {
    Some(match name {
        "b" | "strong" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" => "b",
        "i" | "em" => "i",
        "u" | "ins" => "u",
        "s" | "strike" | "del" => "s",
        "a" => "a",
        "code" => "code",
        "pre" => "pre",
        "blockquote" => "blockquote",
        "tg-spoiler" => "tg-spoiler",
        _ => return None,
    })
}

fn write(html: &str, has_markup: bool) -> Writer {
    let (mut writer, mut at) = (Writer::default(), 0);
    let last = html.rfind('>').unwrap_or(0);
    while let Some((token, length)) = token(&html[at..], at < last) {
        at += length;
        match token {
            Token::Comment => (),
            Token::Text(text) => {
                let text = writer.entities.decoded(text);
                writer.push_text(&text);
            }
            Token::Open(name, _) if HIDDEN.contains(&name.as_str()) => {
                at += hidden_length(&html[at..], &name);
            }
            Token::Open(name, attributes) => writer.open(&name, attributes, has_markup),
            Token::Close(name) => writer.close(&name, has_markup),
        }
    }
    writer.text.truncate(writer.text.trim_end().len());
    writer
}

/// The length of what a hidden element contains: up to its end, or all of the rest.
fn hidden_length(html: &str, name: &str) -> usize {
    let is_end = |at: &usize| html.get(at + 2..at + 2 + name.len()).is_some_and(|end| end.eq_ignore_ascii_case(name));
    html.match_indices("</").map(|(at, _)| at).find(is_end).unwrap_or(html.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_becomes_text_with_lines_and_addresses() {
        for (html, text) in [
            ("<p>Hi</p> a &amp; b", "Hi\n\na & b"),
            ("<h1>Sale</h1><p>One<br>two<br/><br>three</p>", "Sale\n\nOne\ntwo\n\nthree"),
            ("<ul><li>a</li><li>b<ul><li>c</li></ul></li></ul>x", "- a\n- b\n- c\n\nx"),
            ("<ol>\n <li> a </li>\n <li>b</li>\n</ol>", "1. a\n2. b"),
            ("Pay <a href=\"https://a.example/?b=1&amp;c=2\">here</a>.", "Pay here (https://a.example/?b=1&c=2)."),
            (
                "<a href='https://a.example/'>a.example</a> <a href=mailto:b@c.example>b@c.example</a>",
                "a.example b@c.example",
            ),
            (
                "<a href=\"javascript:alert(1)\">x</a> <a>y</a> <a href='https://z.example'></a>",
                "x y https://z.example",
            ),
            ("<style>p{}</style><script>1<2</script><!-- c -->a<img alt='logo' src=x>", "alogo"),
            ("<table><tr><td>a</td><td>b</td></tr><tr><td>c</td></tr></table>", "a b\nc"),
            ("<b>1 < 2</b> x<y &lt;b&gt; &copy; &euro; &nope; &#233;&#x1F600;", "1 < 2 x<y <b> © € &nope; é😀"),
            ("<pre>a\n  b</pre>", "a\n  b"),
            ("<p title=\"a>b\">c", "c"),
        ] {
            assert_eq!(html_to_text(html), text, "{html}");
        }
    }

    #[test]
    fn telegram_gets_the_tags_that_it_supports() {
        let markup = |html: &str| html_to_telegram(html, 4_096).1;
        for (html, expected) in [
            ("<p><strong>Hi</strong> &lt;you&gt; &amp; <em>me</em></p>", "<b>Hi</b> &lt;you&gt; &amp; <i>me</i>"),
            ("<a href=\"https://a.example/?b&amp;c\">x</a>", "<a href=\"https://a.example/?b&amp;c\">x</a>"),
            (
                "Pay: <a href=\"https://a.example/\"><img src=x></a><a href='https://b.example'> </a>",
                "Pay: <a href=\"https://a.example/\">https://a.example/</a>\
                 <a href=\"https://b.example\">https://b.example</a>",
            ),
            (
                "<a title=\"href='https://evil.example'\" href='https://a.example'>x</a>",
                "<a href=\"https://a.example\">x</a>",
            ),
            ("<b>one <i>two</b> three</i>", "<b>one <i>two</i></b> three"),
            ("<pre><b>x</b></pre><blockquote>a<blockquote>b", "<pre>x</pre>\n\n<blockquote>a\n\nb</blockquote>"),
            ("<span class=\"tg-spoiler\">x</span><div><u>y", "<tg-spoiler>x</tg-spoiler>\n<u>y</u>"),
        ] {
            assert_eq!(markup(html).as_deref(), Some(expected), "{html}");
        }
        assert_eq!(html_to_telegram("<p>plain &amp; simple</p>", 4_096), ("plain & simple".to_owned(), None));
        let (text, markup) = html_to_telegram(&format!("<b>{}&amp;</b>", "x&amp;".repeat(20)), 10);
        assert_eq!((text.as_str(), markup.as_deref()), ("x&x&x&x...", Some("<b>x&amp;x&amp;x&amp;x</b>...")));
    }
}
