//! Errors of rendering and of templates.

/// Why a message cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    #[error("there is no template `{0}`")]
    UnknownTemplate(String),
    #[error("template `{0}` is for another channel")]
    WrongChannel(String),
    #[error("missing variables: {}", .0.join(", "))]
    MissingVariables(Vec<String>),
    /// The text is not valid Handlebars, or a helper received a value that it cannot use.
    #[error("{0}")]
    Template(String),
    /// Compiling the text would take too long.
    #[error("{0}")]
    TooComplex(&'static str),
    #[error("rendering takes more than 100,000 steps: loops over fewer items, or over fewer values, are needed")]
    TooManySteps,
    #[error("the rendered message is larger than 256 KB")]
    TooLarge,
    #[error("the message has neither content nor a template")]
    Empty,
    #[error("nothing in the rendered message can be seen")]
    Blank,
    #[error("the rendered message has characters that change the direction of text")]
    Direction,
}

impl RenderError {
    /// A name for logs, without any content of the message.
    pub fn kind(&self) -> &'static str {
        match self {
            RenderError::UnknownTemplate(_) => "unknown_template",
            RenderError::WrongChannel(_) => "wrong_channel",
            RenderError::MissingVariables(_) => "missing_variables",
            RenderError::Template(_) => "template",
            RenderError::TooComplex(_) => "too_complex",
            RenderError::TooManySteps => "too_many_steps",
            RenderError::TooLarge => "too_large",
            RenderError::Empty => "empty",
            RenderError::Blank => "blank",
            RenderError::Direction => "direction_characters",
        }
    }
}

/// A part of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TemplatePart {
    Subject,
    Body,
}
