//! Checks data by a JSON Schema. It knows the keywords that the schemas of event types use, and collects every fault.

use events::DataFault;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo};
use serde_json::{Map, Value};
use url::Url;

use crate::amount;

/// Everything that is wrong with `data`. Pointers begin with `pointer`. No value is quoted.
pub fn faults(schema: &Value, data: &Value, pointer: &str) -> Vec<DataFault> {
    let mut checker = Checker { faults: Vec::new() };
    checker.check(schema, data, pointer);
    checker.faults
}

/// One step of a JSON Pointer.
pub fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

pub fn fault(pointer: impl Into<String>, code: &str, detail: impl Into<String>) -> DataFault {
    DataFault { pointer: pointer.into(), code: code.to_owned(), detail: detail.into() }
}

struct Checker {
    faults: Vec<DataFault>,
}

impl Checker {
    fn add(&mut self, pointer: &str, code: &str, detail: impl Into<String>) {
        self.faults.push(fault(pointer, code, detail));
    }

    fn check(&mut self, schema: &Value, data: &Value, pointer: &str) {
        let types = type_names(schema);
        if !types.iter().any(|name| has_type(data, name)) {
            let allowed: Vec<&str> = types.into_iter().filter(|name| *name != "null").map(described).collect();
            return self.add(pointer, "wrong_type", format!("must be {}.", allowed.join(" or ")));
        }
        if let Some(names) = schema["enum"].as_array()
            && !names.contains(data)
        {
            let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
            self.add(pointer, "not_one_of", format!("must be one of: {}.", names.join(", ")));
        }
        match data {
            Value::String(text) => self.check_text(schema, text, pointer),
            Value::Number(number) => self.check_number(schema, number, pointer),
            Value::Array(items) => self.check_list(schema, items, pointer),
            Value::Object(map) => self.check_object(schema, map, pointer),
            Value::Null | Value::Bool(_) => (),
        }
    }

    fn check_text(&mut self, schema: &Value, text: &str, pointer: &str) {
        let length = text.chars().count() as u64;
        if schema["minLength"].as_u64().is_some_and(|least| length < least) {
            self.add(pointer, "empty", "must not be empty.");
        }
        if let Some(most) = schema["maxLength"].as_u64().filter(|most| *most < length) {
            self.add(pointer, "too_long", format!("must be at most {most} characters."));
        }
        if text.chars().any(|letter| letter.is_control() && !matches!(letter, '\n' | '\t')) {
            self.add(pointer, "control_characters", "must not contain control characters.");
        }
        if let Some((code, detail)) = schema["format"].as_str().and_then(|format| format_fault(format, text)) {
            self.add(pointer, code, detail);
        }
    }

    fn check_number(&mut self, schema: &Value, number: &serde_json::Number, pointer: &str) {
        if let Some(least) =
            schema["minimum"].as_i64().filter(|least| number.as_f64().is_some_and(|n| n < *least as f64))
        {
            self.add(pointer, "too_small", format!("must be at least {least}."));
        }
        if let Some(most) = schema["maximum"]
            .as_i64()
            .filter(|most| number.as_f64().is_some_and(|n| *most as f64 <= n && n != *most as f64))
        {
            self.add(pointer, "too_large", format!("must be at most {most}."));
        }
    }

    fn check_list(&mut self, schema: &Value, items: &[Value], pointer: &str) {
        let length = items.len() as u64;
        if schema["minItems"].as_u64().is_some_and(|least| length < least) {
            self.add(pointer, "empty", "must have at least one item.");
        }
        if let Some(most) = schema["maxItems"].as_u64().filter(|most| *most < length) {
            return self.add(pointer, "too_many", format!("must have at most {most} items."));
        }
        for (index, item) in items.iter().enumerate() {
            self.check(&schema["items"], item, &format!("{pointer}/{index}"));
        }
    }

    fn check_object(&mut self, schema: &Value, map: &Map<String, Value>, pointer: &str) {
        let is_given = |name: &str| map.get(name).is_some_and(|value| !value.is_null());
        let required = names_of(&schema["required"]);
        for name in &required {
            if !is_given(name) {
                self.add(&format!("{pointer}/{}", escape(name)), "required", "is required.");
            }
        }
        if let Some(choices) = schema["anyOf"].as_array()
            && !choices.iter().any(|choice| names_of(&choice["required"]).iter().all(|name| is_given(name)))
        {
            let names: Vec<&str> = choices.iter().flat_map(|choice| names_of(&choice["required"])).collect();
            self.add(pointer, "required", format!("must have one of: {}.", names.join(", ")));
        }
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            if let Some(value) = map.get(name).filter(|value| !value.is_null()) {
                self.check(schema, value, &format!("{pointer}/{}", escape(name)));
            }
        }
    }
}

fn names_of(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn type_names(schema: &Value) -> Vec<&str> {
    match &schema["type"] {
        Value::String(name) => vec![name],
        list => names_of(list),
    }
}

fn has_type(data: &Value, name: &str) -> bool {
    match name {
        "string" => data.is_string(),
        "number" => data.is_number(),
        "integer" => data.is_i64() || data.is_u64(),
        "boolean" => data.is_boolean(),
        "array" => data.is_array(),
        "object" => data.is_object(),
        "null" => data.is_null(),
        _ => false,
    }
}

fn described(name: &str) -> &str {
    match name {
        "string" => "a string",
        "number" => "a number",
        "integer" => "a whole number",
        "boolean" => "true or false",
        "array" => "a list",
        _ => "an object",
    }
}

/// What is wrong with a text by its format. Formats that need more context than the text are checked where it is read.
fn format_fault(format: &str, text: &str) -> Option<(&'static str, &'static str)> {
    let is_valid = match format {
        "currency" => amount::is_currency(text),
        "civil-date" => is_date(text) || text.parse::<jiff::Timestamp>().is_ok(),
        "date-time" => text.parse::<jiff::Timestamp>().is_ok(),
        "time-zone" => is_zone(text),
        "locale" => text.parse::<icu_locale::Locale>().is_ok(),
        "duration" => duration_ms(text).is_some_and(|ms| 0 < ms),
        "web-url" => Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "https" | "http")),
        _ => true,
    };
    let fault = match format {
        "currency" => ("not_a_currency", "must be a currency code of ISO 4217 such as EUR."),
        "civil-date" => ("not_a_date", "must be a date such as 2026-11-24."),
        "date-time" => ("not_a_time", "must be an RFC 3339 time such as 2026-12-01T09:00:00Z."),
        "time-zone" => ("not_a_time_zone", "must be an IANA name such as Europe/Madrid."),
        "locale" => ("not_a_locale", "must be a language tag such as es-MX."),
        "duration" => ("not_a_duration", "must be a duration such as P7D or 30m."),
        _ => ("not_a_url", "must be an https:// or http:// address."),
    };
    (!is_valid).then_some(fault)
}

/// Whether a text is a day of the calendar, `YYYY-MM-DD`.
pub fn is_date(text: &str) -> bool {
    text.len() == 10 && text.parse::<Date>().is_ok()
}

/// The milliseconds of a duration such as `P7D` or `30m`. A day has 24 hours.
pub fn duration_ms(text: &str) -> Option<i64> {
    let span: Span = text.parse().ok()?;
    let duration = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
    i64::try_from(duration.as_millis()).ok()
}

/// Whether a text is the name of a zone of the time zone database. Offsets and most abbreviations are none.
pub fn is_zone(text: &str) -> bool {
    TimeZone::get(text).is_ok_and(|zone| !zone.is_unknown() && zone.iana_name().is_some())
}
