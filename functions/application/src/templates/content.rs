//! Content of a template that was checked: it compiles, and it uses only the variables that it declares.

use domain::render::{CompiledTemplate, RenderError, TemplatePart};
use events::Channel;

use super::cache::TemplateContent;

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
    /// Everything that is wrong with it.
    pub fn new(
        channel: Channel,
        content: TemplateContent,
        declared: Option<Vec<String>>,
    ) -> Result<CheckedContent, Vec<ContentFault>> {
        let mut faults = Vec::new();
        match (channel, &content.subject) {
            (Channel::Email, None) => faults.push(ContentFault::SubjectMissing),
            (Channel::Email, Some(_)) | (_, None) => (),
            (_, Some(_)) => faults.push(ContentFault::SubjectNotAllowed),
        }
        let compiled = CompiledTemplate::new(channel, content.subject.as_deref(), &content.body);
        let used = match compiled {
            Ok(compiled) => compiled.variables().0,
            Err((part, error)) => {
                faults.push(ContentFault::Part(part, error));
                return Err(faults);
            }
        };
        let variables = declared.unwrap_or_else(|| used.clone());
        let undeclared: Vec<String> = used.into_iter().filter(|name| !variables.contains(name)).collect();
        if !undeclared.is_empty() {
            faults.push(ContentFault::Undeclared(undeclared));
        }
        if faults.is_empty() { Ok(CheckedContent { channel, content, variables }) } else { Err(faults) }
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
