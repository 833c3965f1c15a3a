//! The step budget of a rendering. Every tag, every round of a loop, every parameter and every 32 bytes that a helper
//! reads is a step, so the number of steps bounds the time whether or not there is any output.

use std::cell::Cell;

use handlebars::template::{HelperTemplate, Parameter, TemplateElement};
use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, Output, Path, RenderContext, RenderErrorReason, Template,
};
use serde_json::Value;

/// Maximum number of steps of one rendering.
pub const MAX_STEPS: usize = 100_000;

/// The name of the helper that counts. No template can contain it, because names have no `@`.
const COUNTER: &str = "@step";
/// The bytes that a helper reads in one step.
const BYTES_PER_STEP: usize = 32;

thread_local! {
    /// The steps that are left. A rendering is synchronous, so it has its thread to itself.
    static LEFT: Cell<usize> = const { Cell::new(0) };
}

/// Runs a rendering with a budget. Returns its result, and the steps that are left. `None` means that they were not
/// enough.
pub(super) fn with_budget<T>(steps: usize, run: impl FnOnce() -> T) -> (T, Option<usize>) {
    // With 1 step more, 0 means that the budget was exceeded.
    LEFT.set(steps + 1);
    let result = run();
    (result, LEFT.get().checked_sub(1))
}

/// Takes steps from the budget.
///
/// # Errors
///
/// The budget is exceeded.
pub(super) fn charge(steps: usize) -> Result<(), handlebars::RenderError> {
    let left = LEFT.get().saturating_sub(steps);
    LEFT.set(left);
    if left == 0 { Err(RenderErrorReason::Other("too many steps".to_owned()).into()) } else { Ok(()) }
}

/// Takes the steps of reading all of a value.
///
/// # Errors
///
/// The budget is exceeded.
pub(super) fn charge_value(value: &Value) -> Result<(), handlebars::RenderError> {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => charge(1),
        Value::String(text) => charge(1 + text.len() / BYTES_PER_STEP),
        Value::Array(items) => {
            charge(1)?;
            items.iter().try_for_each(charge_value)
        }
        Value::Object(fields) => {
            charge(1)?;
            fields.iter().try_for_each(|(name, value)| {
                charge(name.len() / BYTES_PER_STEP)?;
                charge_value(value)
            })
        }
    }
}

/// The steps of a template outside of its loops.
pub(super) fn steps_of(template: &Template) -> usize {
    template.elements.iter().map(steps_of_element).sum()
}

fn steps_of_element(element: &TemplateElement) -> usize {
    match element {
        TemplateElement::Expression(tag) | TemplateElement::HtmlExpression(tag) => steps_of_tag(tag),
        TemplateElement::HelperBlock(block) => {
            // The rounds of a loop count themselves.
            let body = block.template.as_ref().filter(|_| !is_loop(block)).map_or(0, steps_of);
            steps_of_tag(block) + body + block.inverse.as_ref().map_or(0, steps_of)
        }
        _ => 1,
    }
}

fn steps_of_tag(tag: &HelperTemplate) -> usize {
    1 + steps_of_parameter(&tag.name)
        + tag.params.iter().chain(tag.hash.values()).map(steps_of_parameter).sum::<usize>()
}

fn steps_of_parameter(parameter: &Parameter) -> usize {
    match parameter {
        Parameter::Path(Path::Relative((segments, _))) => segments.len(),
        Parameter::Subexpression(inner) => steps_of_element(inner.as_element()),
        _ => 1,
    }
}

pub(super) fn is_loop(block: &HelperTemplate) -> bool {
    block.name.as_name() == Some("each")
}

/// Makes every round of a loop count its steps.
pub(super) fn count_rounds(body: &mut Template) {
    let steps = 1 + steps_of(body);
    let mut counter = Template::compile(&format!("{{{{step {steps}}}}}")).expect("a valid template");
    for element in &mut counter.elements {
        if let TemplateElement::Expression(tag) = element {
            tag.name = Parameter::Name(COUNTER.to_owned());
        }
    }
    body.elements.splice(0..0, counter.elements);
    body.mapping.splice(0..0, counter.mapping);
}

pub(super) fn register(engine: &mut Handlebars<'static>) {
    engine.register_helper(COUNTER, Box::new(Counter));
}

/// The helper that takes its argument from the budget, and writes nothing.
struct Counter;

impl HelperDef for Counter {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
        _: &mut dyn Output,
    ) -> HelperResult {
        let steps = helper.param(0).and_then(|steps| steps.value().as_u64()).unwrap_or(1);
        charge(usize::try_from(steps).unwrap_or(usize::MAX))
    }
}
