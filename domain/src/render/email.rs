//! Emails: the layout, and the plain text beside it.

use serde::Serialize;

use super::html::html_to_text;
use crate::message::{MediaLink, RenderedMessage};
use crate::sms;

/// Maximum length of a subject line in characters (RFC 5322).
const MAX_SUBJECT: usize = 998;

/// Renders an email from its expanded parts.
pub(super) fn render_email(
    locale: Option<&str>,
    attachments: &[MediaLink],
    subject: Option<String>,
    body: String,
    is_html: bool,
) -> RenderedMessage {
    let subject = subject.unwrap_or_default();
    // A line break in a subject would begin another header.
    let subject: String = subject.split_whitespace().collect::<Vec<_>>().join(" ");
    let subject = sms::truncate(&subject, MAX_SUBJECT);
    let mut text = if is_html { html_to_text(&body) } else { body.clone() };
    for MediaLink { name, url, .. } in attachments {
        text.push_str(&format!("\n\n{name}: {url}"));
    }
    let body = if is_html { body } else { paragraphs(&body) };
    let is_page = body.trim_start().get(..9).is_some_and(|start| start.eq_ignore_ascii_case("<!doctype"));
    let html = if is_page { body } else { email_layout(&subject, &body, locale, attachments) };
    RenderedMessage {
        subject: Some(subject),
        text: text.trim().to_owned(),
        html: Some(html),
        ..RenderedMessage::default()
    }
}

/// Converts plain text to HTML paragraphs.
fn paragraphs(text: &str) -> String {
    let escaped = handlebars::html_escape(text);
    let paragraphs = escaped.split("\n\n").map(|p| p.trim_end().replace('\n', "<br>\n"));
    paragraphs.map(|p| format!("<p style=\"margin:0 0 16px\">{p}</p>\n")).collect()
}

fn email_layout(title: &str, body: &str, locale: Option<&str>, attachments: &[MediaLink]) -> String {
    #[derive(Serialize)]
    struct Fields<'a> {
        lang: &'a str,
        title: &'a str,
        body: &'a str,
        files: &'a [MediaLink],
    }
    let mut layout = tinytemplate::TinyTemplate::new();
    layout.add_template("email", include_str!("../../templates/email.html")).expect("compiled in and tested");
    let lang = locale.unwrap_or("en");
    let fields = Fields { lang, title, body, files: attachments };
    layout.render("email", &fields).expect("compiled in and tested")
}
