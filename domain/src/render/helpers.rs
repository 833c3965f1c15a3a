//! The Handlebars helpers for amounts, dates, upper and lower case, comparisons and look-up. Each takes the steps of what
//! it reads from the budget of the rendering, so those of Handlebars itself that read whole values are replaced.

use std::cmp::Ordering;

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, JsonTruthy, Output, RenderContext, RenderErrorReason,
    Renderable, ScopedJson,
};
use serde_json::Value;

use super::steps::{charge, charge_value};
use crate::money;

/// The steps of formatting an amount or a date, which takes as long as that many tags.
const FORMAT_STEPS: usize = 20;

pub(super) fn register(engine: &mut Handlebars<'static>) {
    // One calls itself with text that was not checked, the other writes what it is given to the log.
    engine.unregister_helper("raw");
    engine.unregister_helper("log");
    engine.register_helper("currency", Box::new(TextHelper(FORMAT_STEPS, currency)));
    engine.register_helper("date", Box::new(TextHelper(FORMAT_STEPS, date)));
    engine.register_helper("uppercase", Box::new(TextHelper(1, |helper, _| Ok(first_argument(helper).to_uppercase()))));
    engine.register_helper("lowercase", Box::new(TextHelper(1, |helper, _| Ok(first_argument(helper).to_lowercase()))));
    engine.register_helper("lookup", Box::new(Lookup));
    engine.register_helper("len", Box::new(Length));
    let comparisons: [(&str, Comparison); 8] = [
        ("ifEquals", |a, b| a == b),
        ("ifGreater", |a, b| number(a).zip(number(b)).is_some_and(|(a, b)| a > b)),
        ("eq", |a, b| a == b),
        ("ne", |a, b| a != b),
        ("gt", |a, b| order(a, b) == Some(Ordering::Greater)),
        ("gte", |a, b| order(a, b).is_some_and(Ordering::is_ge)),
        ("lt", |a, b| order(a, b) == Some(Ordering::Less)),
        ("lte", |a, b| order(a, b).is_some_and(Ordering::is_le)),
    ];
    for (name, compare) in comparisons {
        engine.register_helper(name, Box::new(Condition::Compare(compare)));
    }
    engine.register_helper("not", Box::new(Condition::Not));
    engine.register_helper("and", Box::new(Condition::All));
    engine.register_helper("or", Box::new(Condition::Any));
}

type Comparison = fn(&Value, &Value) -> bool;

fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
        (a, b) => number(a)?.partial_cmp(&number(b)?),
    }
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

/// A helper's argument, by name or by position. Returns `None` if it is missing, null or empty.
fn argument(helper: &Helper, position: usize, name: &str) -> Option<String> {
    let value = helper.hash_get(name).or_else(|| helper.param(position)).map(|p| text(p.value()));
    value.filter(|value| !value.is_empty())
}

fn locale(context: &Context) -> &str {
    context.data().get("@locale").and_then(Value::as_str).unwrap_or("en-US")
}

/// A helper that returns text, and its steps beside those of reading its arguments.
struct TextHelper(usize, fn(&Helper, &Context) -> Result<String, String>);

fn charge_arguments(helper: &Helper) -> Result<(), handlebars::RenderError> {
    helper.params().iter().chain(helper.hash().values()).try_for_each(|argument| charge_value(argument.value()))
}

impl HelperDef for TextHelper {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        context: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, handlebars::RenderError> {
        charge(self.0)?;
        charge_arguments(helper)?;
        (self.1)(helper, context).map(|text| ScopedJson::Derived(text.into())).map_err(helper_error)
    }
}

/// `{{currency amount "EUR"}}` or `{{currency amount currency="EUR"}}`. The default is US dollars.
fn currency(helper: &Helper, context: &Context) -> Result<String, String> {
    let amount = argument(helper, 0, "amount").ok_or("currency needs an amount")?;
    let code = argument(helper, 1, "currency").unwrap_or_else(|| "USD".to_owned());
    money::format(&amount, &code, locale(context)).map_err(|error| error.to_string())
}

/// `{{date dueDate "long"}}`: short, medium (default), long or full. `tz="Europe/London"` sets the time zone of a time.
fn date(helper: &Helper, context: &Context) -> Result<String, String> {
    let date = argument(helper, 0, "date").ok_or("date needs a date")?;
    let style = argument(helper, 1, "format").unwrap_or_else(|| "medium".to_owned());
    let zone = argument(helper, 2, "tz").unwrap_or_else(|| "UTC".to_owned());
    crate::calendar::format(day_of(&date, &zone)?, &style, locale(context))
}

fn first_argument(helper: &Helper) -> String {
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

/// `{{#ifEquals a b}}…{{else}}…{{/ifEquals}}`, or `{{#if (eq a b)}}`.
enum Condition {
    Compare(Comparison),
    Not,
    All,
    Any,
}

impl Condition {
    fn holds(&self, helper: &Helper) -> Result<bool, handlebars::RenderError> {
        let mut truths = helper.params().iter().map(|param| param.value().is_truthy(false));
        match self {
            Condition::Compare(compare) => {
                let value = |position| helper.param(position).filter(|param| !param.is_value_missing());
                let (Some(a), Some(b)) = (value(0), value(1)) else {
                    return Err(helper_error(format!("{} compares two values", helper.name())));
                };
                charge_arguments(helper)?;
                Ok(compare(a.value(), b.value()))
            }
            Condition::Not => Ok(!truths.next().unwrap_or_default()),
            Condition::All => Ok(truths.all(|is_true| is_true)),
            Condition::Any => Ok(truths.any(|is_true| is_true)),
        }
    }
}

impl HelperDef for Condition {
    fn call<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        engine: &'reg Handlebars<'reg>,
        context: &'rc Context,
        scope: &mut RenderContext<'reg, 'rc>,
        out: &mut dyn Output,
    ) -> HelperResult {
        let holds = self.holds(helper)?;
        if !helper.is_block() {
            return Ok(out.write(if holds { "true" } else { "false" })?);
        }
        let chosen = if holds { helper.template() } else { helper.inverse() };
        chosen.map_or(Ok(()), |part| part.render(engine, context, scope, out))
    }

    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, handlebars::RenderError> {
        Ok(ScopedJson::Derived(self.holds(helper)?.into()))
    }
}

/// `{{len items}}`: the number of items, of fields or of bytes.
struct Length;

impl HelperDef for Length {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        _: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, handlebars::RenderError> {
        let length = match helper.param(0).map(|param| param.value()) {
            Some(Value::Array(items)) => items.len(),
            Some(Value::Object(fields)) => fields.len(),
            Some(Value::String(text)) => text.len(),
            _ => 0,
        };
        Ok(ScopedJson::Derived(length.into()))
    }
}

/// `{{lookup items 0}}` or `{{lookup names key}}`. A value of the variables is not copied, because a loop can look up a
/// large one many times.
struct Lookup;

impl HelperDef for Lookup {
    fn call_inner<'reg: 'rc, 'rc>(
        &self,
        helper: &Helper<'rc>,
        _: &'reg Handlebars<'reg>,
        context: &'rc Context,
        _: &mut RenderContext<'reg, 'rc>,
    ) -> Result<ScopedJson<'rc>, handlebars::RenderError> {
        let (Some(collection), Some(key)) = (helper.param(0), helper.param(1)) else {
            return Err(helper_error("lookup needs a collection and a key".to_owned()));
        };
        charge_value(key.value())?;
        let key = text(key.value());
        let missing = || RenderErrorReason::MissingVariable(Some(key.chars().take(100).collect()));
        let Some(path) = collection.context_path() else {
            charge_value(collection.value())?;
            return Ok(ScopedJson::Derived(field(collection.value(), &key).ok_or_else(missing)?.clone()));
        };
        let found = path.iter().chain([&key]).try_fold(context.data(), |value, name| field(value, name));
        let path = path.iter().chain([&key]).cloned().collect();
        Ok(ScopedJson::Context(found.ok_or_else(missing)?, path))
    }
}

fn field<'a>(collection: &'a Value, key: &str) -> Option<&'a Value> {
    match collection {
        Value::Array(items) => items.get(key.parse::<usize>().ok()?),
        Value::Object(fields) => fields.get(key),
        _ => None,
    }
}
