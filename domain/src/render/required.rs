//! The variables of a template: all that it mentions, and those that it requires.

use handlebars::template::{HelperTemplate, Parameter, TemplateElement};
use handlebars::{Path, PathSeg, Template};
use serde_json::Value;

use super::error::RenderError;

/// Checks that all required variables of all parts are present.
///
/// # Errors
///
/// [`RenderError::MissingVariables`] with all missing variables.
pub(super) fn check_required_variables<'a>(
    templates: impl Iterator<Item = &'a Template>,
    variables: &Value,
) -> Result<(), RenderError> {
    let mut names = Vec::new();
    templates.for_each(|template| collect_required(template, &mut names));
    names.retain(|name| variables.get(name).is_none_or(Value::is_null));
    if names.is_empty() { Ok(()) } else { Err(RenderError::MissingVariables(names)) }
}

/// Collects the variables that a template requires: those that it prints or compares outside of loops, but not those
/// that it only tests with `if`.
pub(super) fn collect_required(template: &Template, names: &mut Vec<String>) {
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

/// Collects the variables that a template prints or tests outside of loops.
pub(super) fn collect_mentioned(template: &Template, names: &mut Vec<String>) {
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
    // The second parameter of these helpers has a default.
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
