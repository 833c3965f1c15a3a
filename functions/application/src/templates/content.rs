//! The rules for what a template consists of. Content that was checked compiles, and uses only the variables that it
//! declares.

use domain::render::{RenderError, TemplatePart};
use domain::templates::DEFAULT_LOCALE;
use events::Channel;

use super::cache::TemplateContent;
use crate::rendering::{self, Busy};

/// The longest code of a template.
const MAX_CODE: usize = 100;
/// The longest locale.
const MAX_LOCALE: usize = 35;

/// What is wrong with a template.
#[derive(Debug)]
pub enum TemplateFault {
    /// Not a code: see [`is_code`].
    Code,
    /// Not a locale: see [`is_locale`].
    Locale,
    Content(ContentFault),
}

/// Whether a text can be the code of a tenant's own template. Codes that begin like ids are not allowed.
pub fn is_code(text: &str) -> bool {
    let is_allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
    !text.is_empty() && text.len() <= MAX_CODE && text.bytes().all(is_allowed) && !text.starts_with("tpl_")
}

/// Whether a text is a language tag such as `es` or `es-MX`, or `default`.
pub fn is_locale(text: &str) -> bool {
    let is_part = |part: &str| (2..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric());
    let is_language = text.split('-').next().is_some_and(|part| part.bytes().all(|b| b.is_ascii_alphabetic()));
    text == DEFAULT_LOCALE || (text.len() <= MAX_LOCALE && is_language && text.split('-').all(is_part))
}

/// What is wrong with the content of a template.
#[derive(Debug)]
pub enum ContentFault {
    /// An email needs a subject.
    SubjectMissing,
    /// Only an email has a subject.
    SubjectNotAllowed,
    Part(TemplatePart, RenderError),
    /// Variables that are used and not declared.
    Undeclared(Vec<String>),
}

/// Content that can be stored. Only [`CheckedContent::new`] creates it.
#[derive(Debug, Clone)]
pub struct CheckedContent {
    channel: Channel,
    content: TemplateContent,
    variables: Vec<String>,
}

impl CheckedContent {
    /// Checks content. If the caller declares no variables, they are those that the content uses.
    ///
    /// # Errors
    ///
    /// [`Busy`]. The inner error is everything that is wrong with the content.
    pub async fn new(
        channel: Channel,
        content: TemplateContent,
        declared: Option<Vec<String>>,
    ) -> Result<Result<CheckedContent, Vec<ContentFault>>, Busy> {
        let mut faults = Vec::new();
        match (channel, &content.subject) {
            (Channel::Email, None) => faults.push(ContentFault::SubjectMissing),
            (Channel::Email, Some(_)) | (_, None) => (),
            (_, Some(_)) => faults.push(ContentFault::SubjectNotAllowed),
        }
        let used = match rendering::compile(content.subject.as_deref(), &content.body).await? {
            Ok(compiled) => compiled.variables().0,
            Err((part, error)) => {
                faults.push(ContentFault::Part(part, error));
                return Ok(Err(faults));
            }
        };
        let variables = declared.unwrap_or_else(|| used.clone());
        let undeclared: Vec<String> = used.into_iter().filter(|name| !variables.contains(name)).collect();
        if !undeclared.is_empty() {
            faults.push(ContentFault::Undeclared(undeclared));
        }
        Ok(if faults.is_empty() { Ok(CheckedContent { channel, content, variables }) } else { Err(faults) })
    }

    pub fn channel(&self) -> Channel {
        self.channel
    }

    pub fn content(&self) -> &TemplateContent {
        &self.content
    }

    pub fn variables(&self) -> &[String] {
        &self.variables
    }
}
