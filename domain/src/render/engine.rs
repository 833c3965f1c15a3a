//! Handlebars with limits on the time, output size and nesting of the templates that tenants write.

use std::sync::OnceLock;

use handlebars::template::TemplateElement;
use handlebars::{Context, Handlebars, Output, RenderContext, RenderErrorReason, Renderable, StringOutput, Template};
use serde_json::Value;

use super::error::{RenderError, TemplatePart};
use super::helpers;
use crate::templates;

/// Maximum size of one rendered part, in bytes.
pub(super) const MAX_OUTPUT: usize = 256 * 1024;

/// Maximum depth of loops inside loops. With 256 KB of variables this bounds the time.
const MAX_LOOP_DEPTH: usize = 2;

/// Maximum depth of blocks inside blocks. The limit for brackets is ten times as high.
const MAX_NESTING: usize = 20;

/// Compiles text that a tenant wrote.
///
/// # Errors
///
/// [`RenderError::Template`] if the text is not valid Handlebars or is nested too deeply.
pub fn compile(text: &str) -> Result<Template, RenderError> {
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
    let template = Template::compile(text).map_err(|error| {
        let (line, column) = error.pos().unwrap_or((1, 1));
        let reason = error.reason().to_string();
        let reason = reason.lines().next().unwrap_or("not understood").to_owned();
        RenderError::Template(format!("line {line}, column {column}: {reason}"))
    })?;
    check(&template, 0)?;
    Ok(template)
}

/// Rejects loops that are nested too deeply, and all partials and decorators.
fn check(template: &Template, loops: usize) -> Result<(), RenderError> {
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
            // A partial can call itself endlessly.
            _ => {
                let text = "partials and decorators are not available".to_owned();
                return Err(RenderError::Template(text));
            }
        }
    }
    Ok(())
}

/// Expands a template with variables.
pub(super) fn expand(
    escaping: Escaping,
    template: &Template,
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
    match template.render(engine(escaping), &context, &mut scope, &mut out) {
        Ok(()) => out.text.into_string().map_err(|_| RenderError::TooLarge),
        Err(_) if out.left == 0 => Err(RenderError::TooLarge),
        Err(error) => Err(match error.reason() {
            RenderErrorReason::MissingVariable(Some(name)) => RenderError::MissingVariables(vec![name.clone()]),
            reason => RenderError::Template(reason.to_string()),
        }),
    }
}

/// Stops a template that writes more than its limit.
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

/// How variables are escaped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escaping {
    Html,
    None,
}

impl Escaping {
    pub(super) fn of_body(is_html: bool) -> Escaping {
        if is_html { Escaping::Html } else { Escaping::None }
    }
}

fn engine(escaping: Escaping) -> &'static Handlebars<'static> {
    static HTML: OnceLock<Handlebars<'static>> = OnceLock::new();
    static PLAIN: OnceLock<Handlebars<'static>> = OnceLock::new();
    match escaping {
        Escaping::Html => HTML.get_or_init(|| new_engine(escaping)),
        Escaping::None => PLAIN.get_or_init(|| new_engine(escaping)),
    }
}

fn new_engine(escaping: Escaping) -> Handlebars<'static> {
    let mut engine = Handlebars::new();
    engine.set_strict_mode(true);
    if escaping == Escaping::None {
        engine.register_escape_fn(handlebars::no_escape);
    }
    helpers::register(&mut engine);
    for template in templates::all() {
        let mut add = |part: TemplatePart, text: &str| {
            let compiled = compile(text).expect("system templates are tested");
            engine.register_template(&system_template_name(template.id, part), compiled);
        };
        add(TemplatePart::Body, template.body);
        template.subject.into_iter().for_each(|subject| add(TemplatePart::Subject, subject));
    }
    engine
}

/// A compiled part of a system template. A subject is plain text, even if the body is HTML.
pub(super) fn system_template(id: &str, part: TemplatePart, is_html: bool) -> Option<&'static Template> {
    let escaping = Escaping::of_body(is_html && part == TemplatePart::Body);
    engine(escaping).get_template(&system_template_name(id, part))
}

fn system_template_name(id: &str, part: TemplatePart) -> String {
    match part {
        TemplatePart::Subject => format!("{id}.subject"),
        TemplatePart::Body => format!("{id}.body"),
    }
}
