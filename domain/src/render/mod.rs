//! Rendering: turns a template or free content, with its variables, into the exact message for a channel.
//!
//! Text that tenants write is expanded by Handlebars within limits. The layout of emails is our own.

mod email;
mod engine;
mod error;
mod helpers;
mod html;
mod html_tokens;
mod lint;
mod required;
mod scan;
mod steps;
#[cfg(test)]
mod tests;

use events::{Channel, CommunicationRequest, TemplateRef};
use handlebars::Template;
use serde_json::Value;

use crate::message::{MediaLink, MessageContent, RenderedMessage};
use crate::text::{self, TextFault};
use crate::{sms, templates};

use email::render_email;
use engine::{Escaping, MAX_OUTPUT, expand, system_template};
use html::{html_to_telegram, html_to_text};
use html_tokens::looks_like_html;
use required::{check_required_variables, collect_mentioned, collect_required};

pub use engine::compile;
pub use error::{RenderError, TemplatePart};
pub use lint::{Warning, lint};
pub use scan::{MAX_TEMPLATE_CHARACTERS, scan as compile_cost};
pub use steps::MAX_STEPS;

/// One version of a template, compiled.
#[derive(Debug)]
pub struct CompiledTemplate {
    subject: Option<Template>,
    body: Template,
    is_html: bool,
}

impl CompiledTemplate {
    /// # Errors
    ///
    /// The [`RenderError`], and the part that caused it.
    pub fn new(subject: Option<&str>, body: &str) -> Result<CompiledTemplate, (TemplatePart, RenderError)> {
        let subject = subject.map(compile).transpose().map_err(|error| (TemplatePart::Subject, error))?;
        let is_html = looks_like_html(body);
        let body = compile(body).map_err(|error| (TemplatePart::Body, error))?;
        Ok(CompiledTemplate { subject, body, is_html })
    }

    fn parts(&self) -> impl Iterator<Item = &Template> {
        [Some(&self.body), self.subject.as_ref()].into_iter().flatten()
    }

    /// The variables that the template mentions, and those that it requires.
    pub fn variables(&self) -> (Vec<String>, Vec<String>) {
        let (mut mentioned, mut required) = (Vec::new(), Vec::new());
        self.parts().for_each(|part| {
            collect_mentioned(part, &mut mentioned);
            collect_required(part, &mut required);
        });
        (mentioned, required)
    }
}

/// The input of rendering.
#[derive(Debug, Clone, Copy)]
pub struct RenderInput<'a> {
    pub channel: Channel,
    pub template: Option<&'a TemplateRef>,
    /// The compiled text: of the tenant's own template, or of free content with variables. `None` means that free
    /// content is compiled each time.
    pub text: Option<&'a CompiledTemplate>,
    pub subject: Option<&'a str>,
    /// Free content: plain text or HTML. It is expanded by Handlebars only if there are variables.
    pub content: Option<&'a str>,
    pub variables: Option<&'a Value>,
    pub attachments: &'a [MediaLink],
    pub locale: Option<&'a str>,
}

/// Maximum length of a text in characters, as the providers of the channel accept it.
pub fn max_characters(channel: Channel) -> usize {
    match channel {
        Channel::Email => MAX_OUTPUT,
        Channel::Sms => sms::MAX_CHARACTERS,
        Channel::Whatsapp | Channel::Telegram => 4_096,
        Channel::Messenger => 2_000,
    }
}

/// Renders exactly the message that would be sent.
///
/// # Errors
///
/// [`RenderError`]. Every error is final, because the same input always fails.
pub fn render(input: &RenderInput) -> Result<RenderedMessage, RenderError> {
    render_within(input, MAX_STEPS).0
}

/// Renders like [`render`], in at most this many steps. Also returns the number of steps that were taken.
///
/// # Errors
///
/// As [`render`]. [`RenderError::TooManySteps`] is only final if all of [`MAX_STEPS`] were allowed.
pub fn render_within(input: &RenderInput, steps: usize) -> (Result<RenderedMessage, RenderError>, usize) {
    match steps::with_budget(steps, || render_input(input)) {
        (rendered, Some(left)) => (rendered, steps - left),
        (_, None) => (Err(RenderError::TooManySteps), steps),
    }
}

fn render_input(input: &RenderInput) -> Result<RenderedMessage, RenderError> {
    let none = Value::Object(Default::default());
    let variables = input.variables.unwrap_or(&none);
    let (subject, body, is_html) = match (input.template, input.content) {
        (Some(template), _) => from_template(input, template, variables)?,
        (None, Some(content)) => from_content(input, content)?,
        (None, None) => return Err(RenderError::Empty),
    };
    Ok(match input.channel {
        Channel::Email => render_email(input.locale, input.attachments, subject, body, is_html),
        Channel::Telegram if is_html => {
            let (text, html) = html_to_telegram(&body, max_characters(input.channel));
            RenderedMessage { text, html, ..RenderedMessage::default() }
        }
        Channel::Sms | Channel::Whatsapp | Channel::Messenger | Channel::Telegram => {
            let text = if is_html { html_to_text(&body) } else { body };
            let text = sms::truncate(text.trim(), max_characters(input.channel));
            let segments = (input.channel == Channel::Sms).then(|| sms::segments(&text));
            RenderedMessage { text, segments, ..RenderedMessage::default() }
        }
    })
}

/// Renders a communication from its request and the content in the vault, in at most this many steps. `text` is its
/// compiled template, if that is the tenant's own, or its compiled free content.
///
/// # Errors
///
/// As [`render_within`].
pub fn render_request(
    request: &CommunicationRequest,
    content: &MessageContent,
    text: Option<&CompiledTemplate>,
    steps: usize,
) -> Result<RenderedMessage, RenderError> {
    let links: Vec<MediaLink> = content.attachments.iter().map(MediaLink::from).collect();
    let MessageContent { location, buttons, provider_template, .. } = content;
    let has_text = content.content.is_some() || request.template.is_some();
    // A file, a location or a provider's own template can be sent without text.
    let needs_no_text = !links.is_empty() || location.is_some() || provider_template.is_some();
    if !has_text && needs_no_text && request.channel != Channel::Email {
        return Ok(RenderedMessage {
            media: links,
            location: location.clone(),
            template: provider_template.clone(),
            ..RenderedMessage::default()
        });
    }
    let input = RenderInput {
        channel: request.channel,
        template: request.template.as_ref(),
        text,
        subject: content.subject.as_deref(),
        content: content.content.as_deref(),
        variables: content.variables.as_ref(),
        attachments: &links,
        locale: request.locale.as_deref(),
    };
    let message = render_within(&input, steps).0?;
    let has_image = message.html.as_ref().is_some_and(|html| html.contains("<img"));
    if text::check_body(&message.text) == Some(TextFault::Blank) && !needs_no_text && !has_image {
        return Err(RenderError::Blank);
    }
    // Entities of HTML are characters only now.
    if text::changes_direction(&message.text) || message.subject.as_deref().is_some_and(text::changes_direction) {
        return Err(RenderError::Direction);
    }
    Ok(RenderedMessage {
        media: links,
        location: location.clone(),
        buttons: buttons.clone(),
        template: provider_template.clone(),
        ..message
    })
}

/// Subject, body, and whether the body is HTML.
type RenderedParts = (Option<String>, String, bool);

fn from_template(input: &RenderInput, template: &TemplateRef, variables: &Value) -> Result<RenderedParts, RenderError> {
    let (subject, body, is_html) = match input.text {
        Some(CompiledTemplate { subject, body, is_html }) => (subject.as_ref(), body, *is_html),
        None => from_system_template(input, &template.id)?,
    };
    let subject = subject.filter(|_| input.subject.is_none() && input.channel == Channel::Email);
    check_required_variables([Some(body), subject].into_iter().flatten(), variables)?;
    let subject = subject.map(|subject| expand(Escaping::None, subject, variables, input.locale)).transpose()?;
    let subject = input.subject.map(str::to_owned).or(subject);
    Ok((subject, expand(Escaping::of_body(is_html), body, variables, input.locale)?, is_html))
}

fn from_system_template(
    input: &RenderInput,
    id: &str,
) -> Result<(Option<&'static Template>, &'static Template, bool), RenderError> {
    let unknown = || RenderError::UnknownTemplate(id.to_owned());
    let template = templates::find(id).ok_or_else(unknown)?;
    if template.channel.is_some_and(|channel| channel != input.channel) {
        return Err(RenderError::WrongChannel(id.to_owned()));
    }
    let body = system_template(template.id, TemplatePart::Body, template.html).ok_or_else(unknown)?;
    Ok((system_template(template.id, TemplatePart::Subject, template.html), body, template.html))
}

fn from_content(input: &RenderInput, content: &str) -> Result<RenderedParts, RenderError> {
    let Some(variables) = input.variables else {
        return Ok((input.subject.map(str::to_owned), content.to_owned(), looks_like_html(content)));
    };
    let compiled;
    let CompiledTemplate { subject, body, is_html } = match input.text {
        Some(text) => text,
        None => {
            compiled = CompiledTemplate::new(input.subject, content).map_err(|(_, error)| error)?;
            &compiled
        }
    };
    check_required_variables([Some(body), subject.as_ref()].into_iter().flatten(), variables)?;
    let subject =
        subject.as_ref().map(|subject| expand(Escaping::None, subject, variables, input.locale)).transpose()?;
    Ok((subject, expand(Escaping::of_body(*is_html), body, variables, input.locale)?, *is_html))
}
