//! Renders templates without sending anything: a preview of a stored template, and a check of one that is not stored.

use std::sync::Arc;

use domain::access::{Permission, Reach};
use domain::message::RenderedMessage;
use domain::render::{CompiledTemplate, RenderError, RenderInput, TemplatePart, Warning, lint, render_within};
use domain::templates::{DEFAULT_LOCALE, SystemTemplate};
use events::{Channel, TemplateRef};
use serde_json::Value;

use super::cache::TemplateContent;
use super::content::{ContentFault, TemplateFault};
use super::{TemplateError, VisibleTemplate, find, version};
use crate::app::App;
use crate::caller::Caller;
use crate::rendering::{self, Busy};

/// How a stored template is previewed.
#[derive(Debug, Clone)]
pub struct PreviewRequest {
    /// `None` means the latest version.
    pub version: Option<u32>,
    /// The channel, if the template is for any. `None` means email.
    pub channel: Option<Channel>,
    /// `None` means the locale of the template.
    pub locale: Option<String>,
    pub variables: Value,
}

/// A template that is not stored.
#[derive(Debug, Clone)]
pub struct UnsavedTemplate {
    pub channel: Channel,
    pub content: TemplateContent,
    pub locale: Option<String>,
    /// The variables to render it with. With `None`, it is not rendered.
    pub variables: Option<Value>,
    /// The variables that callers give. Others are warned of. Empty means that nobody knows.
    pub known: Vec<String>,
}

/// The result of a check.
#[derive(Debug)]
pub enum Validation {
    NotCompiled(TemplatePart, RenderError),
    Compiled {
        variables: Vec<String>,
        /// The variables without which it is not rendered.
        required: Vec<String>,
        rendered: Option<Result<Box<RenderedMessage>, RenderError>>,
        warnings: Vec<Warning>,
    },
}

fn compile(builtin: &SystemTemplate) -> Result<CompiledTemplate, TemplateError> {
    let compiled = CompiledTemplate::new(builtin.subject, builtin.body);
    compiled.map_err(|(_, error)| TemplateError::BuiltInBroken(error))
}

/// The variables of a built-in template.
///
/// # Errors
///
/// [`TemplateError::BuiltInBroken`]
pub fn builtin_variables(builtin: &SystemTemplate) -> Result<Vec<String>, TemplateError> {
    Ok(compile(builtin)?.variables().0)
}

async fn render_compiled(
    channel: Channel,
    pinned: TemplateRef,
    compiled: CompiledTemplate,
    variables: Value,
    locale: Option<String>,
) -> Result<Result<RenderedMessage, RenderError>, Busy> {
    let job = Arc::new(move |steps| {
        let input = RenderInput {
            channel,
            template: Some(&pinned),
            text: Some(&compiled),
            subject: None,
            content: None,
            variables: Some(&variables),
            attachments: &[],
            locale: locale.as_deref(),
        };
        render_within(&input, steps).0
    });
    let owned = || {
        let job = job.clone();
        move |steps| job(steps)
    };
    rendering::render(|steps| job(steps), owned).await
}

/// Renders a template exactly as it would be sent.
///
/// # Errors
///
/// [`TemplateError::NotRendered`] if the variables do not fit, [`TemplateError::NoVersion`], and as [`find`].
pub async fn preview(
    app: &App,
    caller: &Caller,
    id: &str,
    PreviewRequest { version: asked, channel, locale, variables }: PreviewRequest,
) -> Result<RenderedMessage, TemplateError> {
    caller.authorise(Permission::View, Reach::Scoped)?;
    let (of, compiled, pinned, written_in) = match find(app, caller, id).await? {
        VisibleTemplate::BuiltIn(builtin) => {
            let pinned = TemplateRef { id: id.to_owned(), version: builtin.version, text: None };
            (builtin.channel, compile(builtin)?, pinned, builtin.locale.to_owned())
        }
        VisibleTemplate::Own(own) => {
            let (version, TemplateContent { subject, body }) = version(app, caller, &own, asked).await?;
            let compiled = rendering::compile(subject.as_deref(), &body).await?;
            let compiled = compiled.map_err(|(part, error)| {
                TemplateError::Invalid(vec![TemplateFault::Content(ContentFault::Part(part, error))])
            })?;
            let pinned = TemplateRef { id: id.to_owned(), version: version.version, text: Some(version.text) };
            (Some(own.channel), compiled, pinned, own.locale)
        }
    };
    let channel = of.or(channel).unwrap_or(Channel::Email);
    let locale = locale.or(Some(written_in).filter(|written_in| written_in != DEFAULT_LOCALE));
    let rendered = render_compiled(channel, pinned, compiled, variables, locale).await?;
    rendered.map_err(TemplateError::NotRendered)
}

/// Checks whether a template compiles, and renders it if there are variables. Nothing is stored.
///
/// # Errors
///
/// [`TemplateError::Forbidden`], [`TemplateError::Busy`]
pub async fn validate(
    caller: &Caller,
    UnsavedTemplate { channel, content, locale, variables: given, known }: UnsavedTemplate,
) -> Result<Validation, TemplateError> {
    caller.authorise(Permission::View, Reach::Scoped)?;
    let compiled = match rendering::compile(content.subject.as_deref(), &content.body).await? {
        Ok(compiled) => compiled,
        Err((part, error)) => return Ok(Validation::NotCompiled(part, error)),
    };
    let pinned = TemplateRef { id: String::new(), version: 0, text: None };
    let (variables, required) = compiled.variables();
    let warnings = lint(content.subject.as_deref(), &content.body, &variables, &known);
    let rendered = match given {
        Some(given) => Some(render_compiled(channel, pinned, compiled, given, locale).await?.map(Box::new)),
        None => None,
    };
    Ok(Validation::Compiled { variables, required, rendered, warnings })
}
