//! The Handlebars helpers for amounts, dates, upper and lower case, and comparisons.

use handlebars::{
    Context, Handlebars, Helper, HelperDef, HelperResult, Output, RenderContext, RenderErrorReason, Renderable,
    ScopedJson,
};
use serde_json::Value;

use crate::money;

pub(super) fn register(engine: &mut Handlebars<'static>) {
    engine.register_helper("currency", Box::new(TextHelper(currency)));
    engine.register_helper("date", Box::new(TextHelper(date)));
    engine.register_helper("uppercase", Box::new(TextHelper(|helper, _| Ok(first_argument(helper).to_uppercase()))));
    engine.register_helper("lowercase", Box::new(TextHelper(|helper, _| Ok(first_argument(helper).to_lowercase()))));
    engine.register_helper("ifEquals", Box::new(Compare(|a, b| a == b)));
    engine.register_helper("ifGreater", Box::new(Compare(is_greater)));
}

fn is_greater(a: &Value, b: &Value) -> bool {
    number(a).zip(number(b)).is_some_and(|(a, b)| a > b)
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

/// A helper that returns text.
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
        let chosen = if (self.0)(a.value(), b.value()) { helper.template() } else { helper.inverse() };
        chosen.map_or(Ok(()), |part| part.render(engine, context, scope, out))
    }
}
