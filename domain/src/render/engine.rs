//! Handlebars with limits on the steps, output size and nesting of the templates that tenants write.

use std::sync::OnceLock;

use handlebars::template::{Parameter, TemplateElement};
use handlebars::{
    Context, Handlebars, Output, RenderContext, RenderErrorReason, Renderable, StringOutput, Template,
    TemplateErrorReason,
};
use serde_json::Value;

use super::error::{RenderError, TemplatePart};
use super::helpers;
use super::scan::{MAX_BLOCKS, scan};
use super::steps::{self, charge, count_rounds, is_loop, steps_of};
use crate::templates;

/// Maximum size of one rendered part, in bytes.
pub(super) const MAX_OUTPUT: usize = 256 * 1024;

/// Maximum depth of loops inside loops.
const MAX_LOOP_DEPTH: usize = 2;

/// Maximum depth of variables inside variables.
const MAX_VARIABLE_DEPTH: usize = 20;
/// Maximum length of the name of a variable, in bytes. Loops copy names.
const MAX_VARIABLE_NAME: usize = 200;

/// Compiles text that a tenant wrote.
///
/// # Errors
///
/// [`RenderError::TooComplex`] if it passes a limit, [`RenderError::Template`] if it is not valid.
pub fn compile(text: &str) -> Result<Template, RenderError> {
    scan(text)?;
    let mut template = Template::compile(text).map_err(|error| {
        let (line, column) = error.pos().unwrap_or((1, 1));
        let reason = match error.reason() {
            // The parser's own words name the rules of its grammar.
            TemplateErrorReason::InvalidSyntax(_) => unexpected(text, line, column),
            reason => reason.to_string().lines().next().unwrap_or("not understood").to_owned(),
        };
        RenderError::Template(format!("line {line}, column {column}: {reason}"))
    })?;
    prepare(&mut template, 0, 0)?;
    Ok(template)
}

/// Says what stands where a template is not valid.
fn unexpected(text: &str, line: usize, column: usize) -> String {
    let from = text.lines().nth(line.saturating_sub(1)).unwrap_or_default().chars().skip(column.saturating_sub(1));
    let found: String = from.take(20).collect();
    match found.trim() {
        "" => "a tag or a block is not closed".to_owned(),
        found if found.starts_with("}}") => "a name or a value is missing before `}}`".to_owned(),
        found => format!("`{found}` cannot stand here"),
    }
}

/// Rejects what is nested too deeply or not available, and makes loops count their steps. Each `{{else if}}` of a chain is
/// nested in the one before it, and rendering recurses for each.
fn prepare(template: &mut Template, blocks: usize, loops: usize) -> Result<(), RenderError> {
    if MAX_BLOCKS < blocks {
        return Err(RenderError::TooComplex("blocks, or the branches of a block, are nested more than 20 deep"));
    }
    let positions = template.mapping.iter().map(|at| (at.0, at.1)).chain(std::iter::repeat((1, 1)));
    for (element, (line, column)) in template.elements.iter_mut().zip(positions) {
        match element {
            TemplateElement::HelperBlock(block) => {
                let (is_loop, name) = (is_loop(block), block.name.as_name().unwrap_or_default());
                if matches!(name, "if" | "unless" | "each" | "with") && block.params.is_empty() {
                    let text = format!("line {line}, column {column}: `{{{{#{name}}}}}` needs a value");
                    return Err(RenderError::Template(text));
                }
                let inner = loops + usize::from(is_loop);
                if inner > MAX_LOOP_DEPTH {
                    return Err(RenderError::TooComplex("loops are nested more than 2 deep"));
                }
                // What a block enters is copied in each of its tags, unless it is one of the variables.
                if matches!(name, "each" | "with") && block.params.first().is_some_and(is_computed) {
                    let text = format!("`{name}` needs a variable");
                    return Err(RenderError::Template(text));
                }
                for part in [&mut block.template, &mut block.inverse].into_iter().flatten() {
                    prepare(part, blocks + 1, inner)?;
                }
                if let Some(body) = block.template.as_mut().filter(|_| is_loop) {
                    count_rounds(body);
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

/// Whether a parameter is the result of a helper other than `lookup`.
fn is_computed(parameter: &Parameter) -> bool {
    matches!(parameter, Parameter::Subexpression(inner) if inner.name() != "lookup")
}

/// Rejects variables that would make every tag slow.
fn check_variables(value: &Value, depth: usize) -> Result<(), RenderError> {
    if MAX_VARIABLE_DEPTH < depth {
        return Err(RenderError::TooComplex("variables are nested more than 20 deep"));
    }
    match value {
        Value::Array(items) => items.iter().try_for_each(|item| check_variables(item, depth + 1)),
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| {
            if MAX_VARIABLE_NAME < name.len() {
                return Err(RenderError::TooComplex("the name of a variable is longer than 200 characters"));
            }
            check_variables(value, depth + 1)
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// Expands a template with variables.
pub(super) fn expand(
    escaping: Escaping,
    template: &Template,
    variables: &Value,
    locale: Option<&str>,
) -> Result<String, RenderError> {
    check_variables(variables, 0)?;
    let mut data = variables.clone();
    if let (Some(map), Some(locale)) = (data.as_object_mut(), locale) {
        map.insert("@locale".to_owned(), Value::String(locale.to_owned()));
    }
    let context = Context::from(data);
    let mut scope = RenderContext::new(None);
    let mut out = BoundedWriter { text: StringOutput::new(), left: MAX_OUTPUT };
    let rendered =
        charge(steps_of(template)).and_then(|()| template.render(engine(escaping), &context, &mut scope, &mut out));
    match rendered {
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
    steps::register(&mut engine);
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
