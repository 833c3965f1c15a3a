//! Parts of pages that need more than text: icons, channels, statuses. Each is safe HTML.

use std::fmt;

use askama::filters::HtmlSafe;

use crate::assets::SPRITE;
use crate::words::{self, StatusWord};

/// An icon of the sprite. It is never without a word.
pub struct Icon(pub &'static str);

pub fn icon(name: &'static str) -> Icon {
    Icon(name)
}

impl fmt::Display for Icon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, r##"<svg class="ic" aria-hidden="true"><use href="{}#{}"/></svg>"##, SPRITE.address(), self.0)
    }
}

impl HtmlSafe for Icon {}

impl fmt::Display for StatusWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StatusWord { tone, icon, word } = self;
        write!(f, r#"<span class="st" data-tone="{tone}">{}{}</span>"#, Icon(icon), Escaped(word))
    }
}

impl HtmlSafe for StatusWord {}

/// A channel, with its icon.
pub struct ChannelName(pub String);

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, r#"<span class="ch">{}{}</span>"#, Icon(words::channel_icon(&self.0)), words::channel(&self.0))
    }
}

impl HtmlSafe for ChannelName {}

/// How far a message has come: accepted, sent, delivered, opened.
pub struct Reach(pub [&'static str; 4]);

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"<span class="reach" aria-hidden="true">"#)?;
        for step in self.0 {
            match step {
                "" => f.write_str("<i></i>")?,
                class => write!(f, r#"<i class="{class}"></i>"#)?,
            }
        }
        f.write_str("</span>")
    }
}

impl HtmlSafe for Reach {}

/// Text with HTML's own characters escaped.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '&' => f.write_str("&amp;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                c => fmt::Write::write_char(f, c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_escaped() {
        let status = StatusWord { tone: "good", icon: "s-sent", word: "Accepted by <b>".to_owned() };
        assert!(status.to_string().ends_with("Accepted by &lt;b&gt;</span>"), "{status}");
    }
}
