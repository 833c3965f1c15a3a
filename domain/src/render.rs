//! Words: what a channel is given, from a template or free content and its variables.
//!
//! Text that tenants write goes through Handlebars alone, within limits; the email frame is ours and fixed.

use std::sync::OnceLock;

use events::{Channel, CommunicationRequest, TemplateRef};
use handlebars::template::{HelperTemplate, Parameter, TemplateElement};
use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, Output, Path, PathSeg, RenderContext, RenderErrorReason,
    Renderable, ScopedJson, StringOutput,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ports::MessageContent;
use crate::sms::{self, Segments};
use crate::{money, templates};

/// Bytes of one rendered part, at most.
const MAX_OUTPUT: usize = 256 * 1024;
/// Loops inside loops, at most: with 256 KB of variables this bounds the time.
const MAX_LOOP_DEPTH: usize = 2;
/// Blocks and brackets inside each other, at most.
const MAX_NESTING: usize = 20;

/// The words of one version of a template, ready to be filled in.
#[derive(Debug)]
pub struct CompiledTemplate {
    subject: Option<handlebars::Template>,
    body: handlebars::Template,
    is_html: bool,
}

/// Which of a template's parts is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplatePart {
    Subject,
    Body,
}

impl CompiledTemplate {
    /// # Errors
    ///
    /// [`RenderError`], and the part that it is about.
    pub fn new(
        channel: Channel,
        subject: Option<&str>,
        body: &str,
    ) -> Result<CompiledTemplate, (TemplatePart, RenderError)> {
        let subject = subject.map(compile).transpose().map_err(|error| (TemplatePart::Subject, error))?;
        let is_html = channel == Channel::Email && looks_like_html(body);
        let body = compile(body).map_err(|error| (TemplatePart::Body, error))?;
        Ok(CompiledTemplate { subject, body, is_html })
    }

    fn parts(&self) -> impl Iterator<Item = &handlebars::Template> {
        [Some(&self.body), self.subject.as_ref()].into_iter().flatten()
    }

    /// Every variable that it speaks of, and those that it cannot do without.
    pub fn variables(&self) -> (Vec<String>, Vec<String>) {
        let (mut all, mut required) = (Vec::new(), Vec::new());
        self.parts().for_each(|part| {
            collect_mentioned(part, &mut all);
            collect(part, &mut required);
        });
        (all, required)
    }
}

/// What is to be said, as accepted.
#[derive(Debug, Clone, Copy)]
pub struct RenderInput<'a> {
    pub channel: Channel,
    pub template: Option<&'a TemplateRef>,
    /// The words of the template, where it is not a built-in one.
    pub text: Option<&'a CompiledTemplate>,
    pub subject: Option<&'a str>,
    /// Free content: plain text or HTML, and Handlebars where variables came with it.
    pub content: Option<&'a str>,
    pub variables: Option<&'a Value>,
    pub attachments: &'a [MediaLink],
    pub locale: Option<&'a str>,
}

/// A file shown as a link, or sent by one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MediaLink {
    pub name: String,
    pub url: String,
    pub kind: MediaKind,
}

/// What a file is to the person who gets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaKind {
    Image,
    Video,
    Audio,
    File,
}

impl MediaKind {
    pub const NAMES: [&str; 4] = ["image", "video", "audio", "file"];

    pub fn as_str(self) -> &'static str {
        match self {
            MediaKind::Image => "image",
            MediaKind::Video => "video",
            MediaKind::Audio => "audio",
            MediaKind::File => "file",
        }
    }

    /// By the ending of its name.
    pub fn of(name: &str) -> MediaKind {
        let ending = name.rsplit_once('.').map_or(String::new(), |(_, ending)| ending.to_ascii_lowercase());
        match ending.as_str() {
            "jpg" | "jpeg" | "png" | "gif" | "webp" => MediaKind::Image,
            "mp4" | "3gp" | "mov" => MediaKind::Video,
            "mp3" | "ogg" | "oga" | "opus" | "m4a" | "aac" | "amr" | "wav" => MediaKind::Audio,
            _ => MediaKind::File,
        }
    }
}

impl std::str::FromStr for MediaKind {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        [MediaKind::Image, MediaKind::Video, MediaKind::Audio, MediaKind::File]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(())
    }
}

/// A place on a map.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Location {
    pub latitude: f64,
    pub longitude: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

impl Location {
    /// Where a channel has no maps.
    pub fn url(&self) -> String {
        format!("https://maps.google.com/?q={},{}", self.latitude, self.longitude)
    }
}

/// Something to press. It opens an address or sends a word back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Button {
    pub text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

/// A template that a provider holds: WhatsApp's approved ones, Twilio's content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProviderTemplate {
    /// Its name, or Twilio's `HX…`.
    pub name: String,
    pub language: String,
    /// For `{{1}}`, `{{2}}`, …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<String>,
}

/// What the provider is given.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RenderedMessage {
    /// Email alone.
    pub subject: Option<String>,
    pub text: String,
    /// Email alone.
    pub html: Option<String>,
    /// SMS alone.
    pub segments: Option<Segments>,
    pub media: Vec<MediaLink>,
    pub location: Option<Location>,
    pub buttons: Vec<Button>,
    pub template: Option<ProviderTemplate>,
}

/// Characters of a text, at most, by channel: what its providers take.
pub fn max_characters(channel: Channel) -> usize {
    match channel {
        Channel::Email => MAX_OUTPUT,
        Channel::Sms => sms::MAX_CHARACTERS,
        Channel::Whatsapp | Channel::Telegram => 4_096,
        Channel::Messenger => 2_000,
    }
}

/// Characters of a subject line, at most (RFC 5322).
const MAX_SUBJECT: usize = 998;

/// Why there are no words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    #[error("there is no template `{0}`")]
    UnknownTemplate(String),
    #[error("template `{0}` is for another channel")]
    WrongChannel(String),
    #[error("missing variables: {}", .0.join(", "))]
    MissingVariables(Vec<String>),
    /// The text is not Handlebars, or a helper was given what it cannot use.
    #[error("{0}")]
    Template(String),
    #[error("the rendered message is larger than 256 KB")]
    TooLarge,
    #[error("there is nothing to say: neither content nor a template")]
    Empty,
}

impl RenderError {
    /// What it is, without the words of the message.
    pub fn kind(&self) -> &'static str {
        match self {
            RenderError::UnknownTemplate(_) => "unknown_template",
            RenderError::WrongChannel(_) => "wrong_channel",
            RenderError::MissingVariables(_) => "missing_variables",
            RenderError::Template(_) => "template",
            RenderError::TooLarge => "too_large",
            RenderError::Empty => "empty",
        }
    }
}

/// Renders exactly what would be sent.
///
/// # Errors
///
/// [`RenderError`]: every one is final; the same draft will never render.
pub fn render(draft: &RenderInput) -> Result<RenderedMessage, RenderError> {
    let none = Value::Object(Default::default());
    let variables = draft.variables.unwrap_or(&none);
    let (subject, body, is_html) = match (draft.template, draft.content) {
        (Some(template), _) => from_template(draft, template, variables)?,
        (None, Some(content)) => from_content(draft, content)?,
        (None, None) => return Err(RenderError::Empty),
    };
    Ok(match draft.channel {
        Channel::Email => email(draft, subject, body, is_html),
        Channel::Sms | Channel::Whatsapp | Channel::Messenger | Channel::Telegram => {
            let text = if is_html { html_to_text(&body) } else { body };
            let text = sms::truncate(text.trim(), max_characters(draft.channel));
            let segments = (draft.channel == Channel::Sms).then(|| sms::segments(&text));
            RenderedMessage { text, segments, ..RenderedMessage::default() }
        }
    })
}

/// The words of a communication, from what was requested and what is in the vault. `text`: of its template, where that is
/// the tenant's own.
///
/// # Errors
///
/// As [`render`].
pub fn render_request(
    request: &CommunicationRequest,
    content: &MessageContent,
    text: Option<&CompiledTemplate>,
) -> Result<RenderedMessage, RenderError> {
    let links: Vec<MediaLink> = content.attachments.iter().map(MediaLink::from).collect();
    let MessageContent { location, buttons, provider_template, .. } = content;
    let has_words = content.content.is_some() || request.template.is_some();
    // A file, a place or a provider's own template can be all there is to say.
    let says_enough = !links.is_empty() || location.is_some() || provider_template.is_some();
    if !has_words && says_enough && request.channel != Channel::Email {
        return Ok(RenderedMessage {
            media: links,
            location: location.clone(),
            template: provider_template.clone(),
            ..RenderedMessage::default()
        });
    }
    let message = render(&RenderInput {
        channel: request.channel,
        template: request.template.as_ref(),
        text,
        subject: content.subject.as_deref(),
        content: content.content.as_deref(),
        variables: content.variables.as_ref(),
        attachments: &links,
        locale: request.locale.as_deref(),
    })?;
    Ok(RenderedMessage {
        media: links,
        location: location.clone(),
        buttons: buttons.clone(),
        template: provider_template.clone(),
        ..message
    })
}

type RenderedParts = (Option<String>, String, bool);

fn from_template(draft: &RenderInput, pinned: &TemplateRef, variables: &Value) -> Result<RenderedParts, RenderError> {
    if let Some(CompiledTemplate { subject, body, is_html }) = draft.text {
        let own = subject.as_ref().filter(|_| draft.subject.is_none() && draft.channel == Channel::Email);
        check_required_variables([Some(body), own].into_iter().flatten(), variables)?;
        let own = own.map(|subject| expand(engines().1, subject, variables, draft.locale)).transpose()?;
        let engine = if *is_html { engines().0 } else { engines().1 };
        let subject = draft.subject.map(str::to_owned).or(own);
        return Ok((subject, expand(engine, body, variables, draft.locale)?, *is_html));
    }
    let unknown = || RenderError::UnknownTemplate(pinned.id.clone());
    let builtin = templates::find(&pinned.id).ok_or_else(unknown)?;
    if builtin.channel.is_some_and(|channel| channel != draft.channel) {
        return Err(RenderError::WrongChannel(pinned.id.clone()));
    }
    let engine = if builtin.html { engines().0 } else { engines().1 };
    let body = engine.get_template(&format!("{}.body", builtin.id)).ok_or_else(unknown)?;
    // A subject is plain text, whatever the body is.
    let subject = engines().1.get_template(&format!("{}.subject", builtin.id));
    let subject = subject.filter(|_| draft.subject.is_none() && draft.channel == Channel::Email);
    check_required_variables([Some(body), subject].into_iter().flatten(), variables)?;
    let subject = subject.map(|template| expand(engines().1, template, variables, draft.locale)).transpose()?;
    let subject = draft.subject.map(str::to_owned).or(subject);
    Ok((subject, expand(engine, body, variables, draft.locale)?, builtin.html))
}

fn from_content(draft: &RenderInput, content: &str) -> Result<RenderedParts, RenderError> {
    let is_html = draft.channel == Channel::Email && looks_like_html(content);
    let Some(variables) = draft.variables else {
        return Ok((draft.subject.map(str::to_owned), content.to_owned(), is_html));
    };
    let subject = draft.subject.map(compile).transpose()?;
    let body = compile(content)?;
    check_required_variables([Some(&body), subject.as_ref()].into_iter().flatten(), variables)?;
    let subject = subject.map(|subject| expand(engines().1, &subject, variables, draft.locale)).transpose()?;
    let engine = if is_html { engines().0 } else { engines().1 };
    Ok((subject, expand(engine, &body, variables, draft.locale)?, is_html))
}

fn email(draft: &RenderInput, subject: Option<String>, body: String, is_html: bool) -> RenderedMessage {
    let subject = subject.unwrap_or_default();
    // A line break in a subject would be a header of the sender's own.
    let subject: String = subject.split_whitespace().collect::<Vec<_>>().join(" ");
    let subject = sms::truncate(&subject, MAX_SUBJECT);
    let mut text = if is_html { html_to_text(&body) } else { body.clone() };
    for MediaLink { name, url, .. } in draft.attachments {
        text.push_str(&format!("\n\n{name}: {url}"));
    }
    let body = match is_html {
        true => body,
        false => {
            let escaped = handlebars::html_escape(&body);
            let paragraphs = escaped.split("\n\n").map(|p| p.trim_end().replace('\n', "<br>\n"));
            paragraphs.map(|p| format!("<p style=\"margin:0 0 16px\">{p}</p>\n")).collect()
        }
    };
    let is_page = body.trim_start().get(..9).is_some_and(|start| start.eq_ignore_ascii_case("<!doctype"));
    let html = if is_page { body } else { email_layout(&subject, &body, draft) };
    RenderedMessage {
        subject: Some(subject),
        text: text.trim().to_owned(),
        html: Some(html),
        ..RenderedMessage::default()
    }
}

fn email_layout(title: &str, body: &str, draft: &RenderInput) -> String {
    #[derive(Serialize)]
    struct Frame<'a> {
        lang: &'a str,
        title: &'a str,
        body: &'a str,
        files: &'a [MediaLink],
    }
    let mut frame = tinytemplate::TinyTemplate::new();
    frame.add_template("email", include_str!("../templates/email.html")).expect("our own, and tested");
    let lang = draft.locale.unwrap_or("en");
    let fields = Frame { lang, title, body, files: draft.attachments };
    frame.render("email", &fields).expect("our own, and tested")
}

/// Text with line breaks and link addresses, in time linear to its size.
fn html_to_text(html: &str) -> String {
    let text = nanohtml2text::html2text(html).replace("\r\n", "\n");
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut kept: Vec<&str> = Vec::with_capacity(lines.len());
    for line in lines {
        if !line.is_empty() || kept.last().is_some_and(|last| !last.is_empty()) {
            kept.push(line);
        }
    }
    kept.join("\n").trim().to_owned()
}

/// A tag somewhere: `<b>`, `</p>`, `<!doctype`.
fn looks_like_html(text: &str) -> bool {
    let starts = text.match_indices('<').map(|(at, _)| text[at + 1..].chars().next());
    let tag = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphabetic() || c == '/' || c == '!');
    text.contains('>') && starts.into_iter().any(tag)
}

/// Compiles what a tenant wrote.
///
/// # Errors
///
/// [`RenderError::Template`]: it is not Handlebars, or nests deeper than we follow.
pub fn compile(text: &str) -> Result<handlebars::Template, RenderError> {
    let (mut blocks, mut brackets, mut previous) = (0usize, 0usize, ' ');
    for window in text.as_bytes().windows(3) {
        match window {
            b"{{#" => blocks += 1,
            b"{{/" => blocks = blocks.saturating_sub(1),
            _ => (),
        }
        if blocks > MAX_NESTING {
            return Err(RenderError::Template("blocks are nested too deeply".to_owned()));
        }
    }
    for c in text.chars() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets = brackets.saturating_sub(1),
            '}' if previous == '}' => brackets = 0,
            _ => (),
        }
        if brackets > MAX_NESTING * 10 {
            return Err(RenderError::Template("brackets are nested too deeply".to_owned()));
        }
        previous = c;
    }
    let template = handlebars::Template::compile(text).map_err(|error| {
        let (line, column) = error.pos().unwrap_or((1, 1));
        let reason = error.reason().to_string();
        let reason = reason.lines().next().unwrap_or("not understood").to_owned();
        RenderError::Template(format!("line {line}, column {column}: {reason}"))
    })?;
    check(&template, 0)?;
    Ok(template)
}

fn check(template: &handlebars::Template, loops: usize) -> Result<(), RenderError> {
    for element in &template.elements {
        match element {
            TemplateElement::HelperBlock(block) => {
                let inner = loops + usize::from(block.name.as_name() == Some("each"));
                if inner > MAX_LOOP_DEPTH {
                    let limit = format!("loops are nested more than {MAX_LOOP_DEPTH} deep");
                    return Err(RenderError::Template(limit));
                }
                for part in [&block.template, &block.inverse].into_iter().flatten() {
                    check(part, inner)?;
                }
            }
            TemplateElement::RawString(_)
            | TemplateElement::HtmlExpression(_)
            | TemplateElement::Expression(_)
            | TemplateElement::Comment(_) => (),
            // Partials can call themselves without end.
            _ => {
                let text = "partials and decorators are not available".to_owned();
                return Err(RenderError::Template(text));
            }
        }
    }
    Ok(())
}

/// All variables that are missing, of all parts, at once.
fn check_required_variables<'a>(
    templates: impl Iterator<Item = &'a handlebars::Template>,
    given: &Value,
) -> Result<(), RenderError> {
    let mut names = Vec::new();
    templates.for_each(|template| collect(template, &mut names));
    names.retain(|name| given.get(name).is_none_or(Value::is_null));
    if names.is_empty() { Ok(()) } else { Err(RenderError::MissingVariables(names)) }
}

/// The variables a template cannot do without: those it prints or compares outside loops, not those it asks `if` for.
fn collect(template: &handlebars::Template, names: &mut Vec<String>) {
    for element in &template.elements {
        match element {
            TemplateElement::Expression(e) | TemplateElement::HtmlExpression(e) => {
                if e.params.is_empty() {
                    collect_parameter(&e.name, names);
                }
                collect_parameters(e, names);
            }
            TemplateElement::HelperBlock(block) => {
                if matches!(block.name.as_name(), Some("ifEquals" | "ifGreater")) {
                    collect_parameters(block, names);
                }
            }
            _ => (),
        }
    }
}

/// Whatever is named outside of loops, asked for or printed.
fn collect_mentioned(template: &handlebars::Template, names: &mut Vec<String>) {
    for element in &template.elements {
        match element {
            TemplateElement::Expression(e) | TemplateElement::HtmlExpression(e) => {
                if e.params.is_empty() {
                    collect_parameter(&e.name, names);
                }
                e.params.iter().chain(e.hash.values()).for_each(|param| collect_parameter(param, names));
            }
            TemplateElement::HelperBlock(block) => {
                block.params.iter().for_each(|param| collect_parameter(param, names));
                if block.name.as_name() != Some("each") {
                    [&block.template, &block.inverse]
                        .into_iter()
                        .flatten()
                        .for_each(|part| collect_mentioned(part, names));
                }
            }
            _ => (),
        }
    }
}

fn collect_parameters(expression: &HelperTemplate, names: &mut Vec<String>) {
    // `currency amount currency`: the second has a default.
    let required = match expression.name.as_name() {
        Some("currency" | "date" | "uppercase" | "lowercase") => 1,
        _ => expression.params.len(),
    };
    expression.params.iter().take(required).for_each(|param| collect_parameter(param, names));
}

fn collect_parameter(parameter: &Parameter, names: &mut Vec<String>) {
    let first = match parameter {
        Parameter::Name(name) => name,
        Parameter::Path(Path::Relative((segments, _))) => match segments.first() {
            Some(PathSeg::Named(name)) => name,
            _ => return,
        },
        _ => return,
    };
    if !names.contains(first) {
        names.push(first.clone());
    }
}

fn expand(
    engine: &Handlebars<'static>,
    template: &handlebars::Template,
    variables: &Value,
    locale: Option<&str>,
) -> Result<String, RenderError> {
    let mut data = variables.clone();
    if let (Some(map), Some(locale)) = (data.as_object_mut(), locale) {
        map.insert("@locale".to_owned(), Value::String(locale.to_owned()));
    }
    let context = Context::from(data);
    let mut scope = RenderContext::new(None);
    let mut out = BoundedWriter { text: StringOutput::new(), left: MAX_OUTPUT };
    match template.render(engine, &context, &mut scope, &mut out) {
        Ok(()) => out.text.into_string().map_err(|_| RenderError::TooLarge),
        Err(_) if out.left == 0 => Err(RenderError::TooLarge),
        Err(error) => Err(match error.reason() {
            RenderErrorReason::MissingVariable(Some(name)) => RenderError::MissingVariables(vec![name.clone()]),
            reason => RenderError::Template(reason.to_string()),
        }),
    }
}

/// Stops a template that writes without end.
struct BoundedWriter {
    text: StringOutput,
    left: usize,
}

impl Output for BoundedWriter {
    fn write(&mut self, part: &str) -> Result<(), std::io::Error> {
        match self.left.checked_sub(part.len()) {
            Some(left) => {
                self.left = left;
                self.text.write(part)
            }
            None => {
                self.left = 0;
                Err(std::io::Error::other("too large"))
            }
        }
    }
}

/// (for HTML, for plain text): alike but for escaping.
fn engines() -> (&'static Handlebars<'static>, &'static Handlebars<'static>) {
    static ENGINES: OnceLock<(Handlebars<'static>, Handlebars<'static>)> = OnceLock::new();
    let (html, plain) = ENGINES.get_or_init(|| (engine(true), engine(false)));
    (html, plain)
}

fn engine(escape: bool) -> Handlebars<'static> {
    let mut engine = Handlebars::new();
    engine.set_strict_mode(true);
    if !escape {
        engine.register_escape_fn(handlebars::no_escape);
    }
    engine.register_helper("currency", Box::new(TextHelper(currency)));
    engine.register_helper("date", Box::new(TextHelper(date)));
    engine.register_helper("uppercase", Box::new(TextHelper(|helper, _| Ok(first(helper).to_uppercase()))));
    engine.register_helper("lowercase", Box::new(TextHelper(|helper, _| Ok(first(helper).to_lowercase()))));
    engine.register_helper("ifEquals", Box::new(Compare(|a, b| a == b)));
    engine.register_helper(
        "ifGreater",
        Box::new(Compare(|a, b| match (number(a), number(b)) {
            (Some(a), Some(b)) => a > b,
            _ => false,
        })),
    );
    for builtin in templates::all() {
        let mut add = |part: &str, text: &str| {
            let template = compile(text).expect("built-in templates are tested");
            engine.register_template(&format!("{}.{part}", builtin.id), template);
        };
        add("body", builtin.body);
        builtin.subject.into_iter().for_each(|subject| add("subject", subject));
    }
    engine
}

fn number(value: &Value) -> Option<f64> {
    value.as_f64().or_else(|| value.as_str()?.trim().parse().ok())
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn helper_error(reason: String) -> handlebars::RenderError {
    RenderErrorReason::Other(reason).into()
}

/// A helper's argument by position or by name; none when missing, null or empty.
fn argument(helper: &Helper, position: usize, name: &str) -> Option<String> {
    let value = helper.hash_get(name).or_else(|| helper.param(position)).map(|p| text(p.value()));
    value.filter(|value| !value.is_empty())
}

fn locale_of(context: &Context) -> &str {
    context.data().get("@locale").and_then(Value::as_str).unwrap_or("en-US")
}

/// A helper that gives text.
struct TextHelper(fn(&Helper, &Context) -> Result<String, String>);

impl HelperDef for TextHelper {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        context: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, handlebars::RenderError> {
        (self.0)(helper, context).map(|text| ScopedJson::Derived(text.into())).map_err(helper_error)
    }
}

/// `{{currency amount "EUR"}}` or `{{currency amount currency="EUR"}}`; US dollars by default.
fn currency(helper: &Helper, context: &Context) -> Result<String, String> {
    let amount = argument(helper, 0, "amount").ok_or("currency needs an amount")?;
    let code = argument(helper, 1, "currency").unwrap_or_else(|| "USD".to_owned());
    money::format(&amount, &code, locale_of(context)).map_err(|error| error.to_string())
}

/// `{{date dueDate "long"}}`: short, medium (default), long or full; `tz="Europe/London"` for a time with a zone.
fn date(helper: &Helper, context: &Context) -> Result<String, String> {
    let date = argument(helper, 0, "date").ok_or("date needs a date")?;
    let style = argument(helper, 1, "format").unwrap_or_else(|| "medium".to_owned());
    let zone = argument(helper, 2, "tz").unwrap_or_else(|| "UTC".to_owned());
    crate::calendar::format(day_of(&date, &zone)?, &style, locale_of(context))
}

fn first(helper: &Helper) -> String {
    helper.param(0).map(|param| text(param.value())).unwrap_or_default()
}

/// The calendar day of `2026-11-21`, an RFC 3339 time, or milliseconds since 1970.
fn day_of(date: &str, zone: &str) -> Result<jiff::civil::Date, String> {
    let zone = jiff::tz::TimeZone::get(zone).map_err(|_| format!("`{zone}` is not a time zone"))?;
    let moment =
        date.parse::<jiff::Timestamp>().ok().or_else(|| jiff::Timestamp::from_millisecond(date.parse().ok()?).ok());
    match moment {
        Some(moment) => Ok(moment.to_zoned(zone).date()),
        None => date.parse().map_err(|_| format!("`{}` is not a date", date.chars().take(40).collect::<String>())),
    }
}

/// `{{#ifEquals a b}}…{{else}}…{{/ifEquals}}`
struct Compare(fn(&Value, &Value) -> bool);

impl HelperDef for Compare {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        engine: &'reg Handlebars<'reg>,
        context: &'rc Context,
        scope: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let (Some(a), Some(b)) = (helper.param(0), helper.param(1)) else {
            return Err(helper_error(format!("{} compares two values", helper.name())));
        };
        let chosen = match (self.0)(a.value(), b.value()) {
            true => helper.template(),
            false => helper.inverse(),
        };
        chosen.map_or(Ok(()), |part| part.render(engine, context, scope, out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn free<'a>(channel: Channel, content: &'a str, variables: Option<&'a Value>) -> RenderInput<'a> {
        let (template, text, subject, locale) = (None, None, Some("A subject"), None);
        RenderInput { channel, template, text, subject, content: Some(content), variables, attachments: &[], locale }
    }

    fn sms(content: &str, variables: Value) -> Result<String, RenderError> {
        render(&free(Channel::Sms, content, Some(&variables))).map(|message| message.text)
    }

    fn built_in(channel: Channel, id: &str, variables: &Value) -> Result<RenderedMessage, RenderError> {
        let template = TemplateRef { id: id.to_owned(), version: 1 };
        let draft = RenderInput {
            template: Some(&template),
            subject: None,
            content: None,
            ..free(channel, "", Some(variables))
        };
        render(&draft)
    }

    #[test]
    fn helpers_mean_what_the_sources_say() {
        for (template, variables, expected) in [
            ("{{currency amount}}", json!({"amount": 1500}), "$1,500.00"),
            ("{{currency amount \"EUR\"}}", json!({"amount": "2.5"}), "€2.50"),
            ("{{currency amount currency=\"GBP\"}}", json!({"amount": "$1,500.00"}), "£1,500.00"),
            ("{{date d}}", json!({"d": "2025-10-20"}), "Oct 20, 2025"),
            ("{{date d \"full\"}}", json!({"d": "2025-10-20T23:30:00Z"}), "Monday, October 20, 2025"),
            ("{{date d tz=\"Europe/Madrid\"}}", json!({"d": "2025-10-20T23:30:00Z"}), "Oct 21, 2025"),
            ("{{uppercase a}}{{lowercase a}}", json!({"a": "Straße"}), "STRASSEstraße"),
            ("{{#ifEquals a 1}}one{{else}}other{{/ifEquals}}", json!({"a": 1}), "one"),
            ("{{#ifEquals a 1}}one{{else}}other{{/ifEquals}}", json!({"a": "1"}), "other"),
            ("{{#ifGreater a 10}}more{{else}}less{{/ifGreater}}", json!({"a": "11"}), "more"),
            ("{{#each items}}{{this.n}};{{/each}}", json!({"items": [{"n": 1}, {"n": 2}]}), "1;2;"),
            ("<{{a}}>", json!({"a": "<&>"}), "<<&>>"),
        ] {
            assert_eq!(sms(template, variables).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn all_missing_variables_are_named_at_once() {
        let missing = sms("{{a}} {{b.c}} {{currency d}} {{#if e}}{{/if}} {{{f}}}", json!({"b": {"c": 1}}));
        let names = ["a", "d", "f"].map(str::to_owned).to_vec();
        assert_eq!(missing, Err(RenderError::MissingVariables(names)));
    }

    #[test]
    fn what_a_helper_cannot_use_is_said() {
        for (template, part) in [
            ("{{currency a}}", "`lots` is not an amount"),
            ("{{date a}}", "`lots` is not a date"),
            ("{{#if a}}", "line 1"),
            ("{{nothing a}}", "nothing"),
            ("{{> other}}", "partials"),
            ("{{#*inline \"x\"}}{{> x}}{{/inline}}{{> x}}", "partials"),
        ] {
            let error = sms(template, json!({"a": "lots"})).expect_err(template);
            assert!(error.to_string().contains(part), "{template}: {error}");
        }
    }

    #[test]
    fn hostile_templates_end_soon() {
        let many: Vec<u32> = (0..60_000).collect();
        let big = sms("{{#each a}}0123456789{{/each}}", json!({ "a": many }));
        assert_eq!(big, Err(RenderError::TooLarge));
        let deep = |open: &str, shut: &str, n| open.repeat(n) + &shut.repeat(n);
        for template in [
            deep("{{#each a}}", "{{/each}}", 3),
            deep("{{#if a}}", "{{/if}}", 10_000),
            format!("{{{{f {}1{}}}}}", "(f ".repeat(10_000), ")".repeat(10_000)),
        ] {
            assert!(matches!(sms(&template, json!({"a": [1]})), Err(RenderError::Template(_))));
        }
    }

    #[test]
    fn email_escapes_variables_and_has_a_plain_part() {
        let variables = json!({"name": "<script>x</script>"});
        let message = render(&free(Channel::Email, "<p>Hi {{name}},</p><p>bye</p>", Some(&variables))).expect("words");
        let html = message.html.expect("html");
        assert!(html.contains("Hi &lt;script&gt;x") && !html.contains("<script>"));
        assert_eq!(message.text, "Hi <script>x</script>,\n\nbye");
        let plain = render(&free(Channel::Email, "a < b\n\nc", None)).expect("words");
        assert_eq!(plain.text, "a < b\n\nc");
        assert!(plain.html.expect("html").contains("a &lt; b</p>"));
    }

    #[test]
    fn a_subject_is_one_line() {
        let draft = RenderInput { subject: Some("Hello\r\nBcc: all@example.com"), ..free(Channel::Email, "x", None) };
        assert_eq!(render(&draft).expect("words").subject.as_deref(), Some("Hello Bcc: all@example.com"));
    }

    #[test]
    fn free_content_without_variables_is_left_as_it_is() {
        assert_eq!(render(&free(Channel::Sms, "{{not}} a template", None)).expect("words").text, "{{not}} a template");
    }

    #[test]
    fn every_built_in_renders() {
        let variables = json!({"customerName": "Ada & Co", "invoiceNumber": "INV-7", "businessName": "Acme", "amount": 1500,
            "dueDate": "2026-12-01", "paymentLink": "https://pay.example.com/7", "message": "Hello."});
        let invoice = built_in(Channel::Email, "tpl_invoice_email", &variables).expect("words");
        assert_eq!(invoice.subject.as_deref(), Some("Invoice INV-7 from Acme"));
        assert!(invoice.text.contains("$1,500.00") && invoice.text.contains("December 1, 2026"), "{}", invoice.text);
        assert!(invoice.html.expect("html").contains("Dear Ada &amp; Co,"));
        let link = built_in(Channel::Sms, "tpl_payment_link_sms", &variables).expect("words");
        assert_eq!(link.text, "Acme: Ada & Co, pay $1,500.00 for INV-7 here: https://pay.example.com/7");
        assert_eq!(link.segments.map(|s| s.count), Some(1));
        assert_eq!(built_in(Channel::Sms, "tpl_general", &variables).expect("words").text, "Hello Ada & Co,\n\nHello.");
        let wrong = built_in(Channel::Sms, "tpl_invoice_email", &variables);
        assert_eq!(wrong, Err(RenderError::WrongChannel("tpl_invoice_email".to_owned())));
        let none = built_in(Channel::Sms, "tpl_none", &variables);
        assert_eq!(none, Err(RenderError::UnknownTemplate("tpl_none".to_owned())));
    }

    #[test]
    fn attachments_are_links_in_email() {
        let (name, url) = ("invoice.pdf".to_owned(), "https://files.example.com/a?b=1&c=2".to_owned());
        let files = [MediaLink { name, url, kind: MediaKind::File }];
        let message = render(&RenderInput { attachments: &files, ..free(Channel::Email, "Hi", None) }).expect("words");
        assert_eq!(message.text, "Hi\n\ninvoice.pdf: https://files.example.com/a?b=1&c=2");
        assert!(
            message.html.expect("html").contains("<a href=\"https://files.example.com/a?b=1&amp;c=2\">invoice.pdf</a>")
        );
    }
}
