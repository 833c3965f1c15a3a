//! Reads a JSON object field by field and collects every error, so that one answer reports all of them.

use std::str::FromStr;

pub use application::time::show_time;
use domain::text::{TextFault, check_line};
use events::{RateLimit, Timestamp};
use jiff::SignedDuration;
use jiff::fmt::temporal::Pieces;
use problem::{FieldError, Problem, ProblemKind};
use serde_json::{Map, Value};

/// A body being read. Fields that are left at the end are unknown.
#[derive(Clone)]
pub struct BodyReader {
    map: Map<String, Value>,
    errors: Vec<FieldError>,
}

impl BodyReader {
    /// # Errors
    ///
    /// [`ProblemKind::Malformed`]: not JSON, or not an object.
    pub fn parse(body: &[u8]) -> Result<Self, Problem> {
        match serde_json::from_slice(body) {
            Ok(value) => BodyReader::of(value),
            Err(error) => Err(Problem::new(ProblemKind::Malformed, format!("The body is not JSON: {error}."))),
        }
    }

    /// Creates a reader of a parsed value.
    ///
    /// # Errors
    ///
    /// [`ProblemKind::Malformed`]: not an object.
    pub fn of(value: Value) -> Result<Self, Problem> {
        match value {
            Value::Object(map) => Ok(BodyReader { map, errors: Vec::new() }),
            _ => Err(Problem::new(ProblemKind::Malformed, "The body must be a JSON object.")),
        }
    }

    /// Parses a body that may be absent.
    ///
    /// # Errors
    ///
    /// As [`BodyReader::parse`].
    pub fn parse_optional(body: &[u8]) -> Result<Self, Problem> {
        BodyReader::parse(if body.is_empty() { b"{}" } else { body })
    }

    /// A hash of the body, before anything is read from it.
    pub fn hash(&self) -> String {
        application::hash::body_hash(&Value::Object(self.map.clone()))
    }

    pub fn add_error(&mut self, field: &str, code: &'static str, detail: impl Into<String>) {
        let detail = detail.into();
        self.errors.push(FieldError { pointer: format!("/{field}"), code, detail });
    }

    pub fn has_no_errors(&self) -> bool {
        self.errors.is_empty()
    }

    pub fn push(&mut self, error: FieldError) {
        self.errors.push(error);
    }

    /// Whether a field is present and not null.
    pub fn has(&self, field: &str) -> bool {
        self.map.get(field).is_some_and(|value| !value.is_null())
    }

    /// Whether a field is present. It may be null.
    pub fn is_given(&self, field: &str) -> bool {
        self.map.contains_key(field)
    }

    /// Ignores a field: no value of it is an error.
    pub fn discard(&mut self, field: &str) {
        self.map.remove(field);
    }

    pub fn is_null(&mut self, field: &str) -> bool {
        let is_null = self.map.get(field).is_some_and(Value::is_null);
        if is_null {
            self.map.remove(field);
        }
        is_null
    }

    fn take(&mut self, field: &str) -> Option<Value> {
        self.map.remove(field).filter(|value| !value.is_null())
    }

    pub fn text(&mut self, field: &str, most: usize) -> Option<String> {
        match self.take(field)? {
            Value::String(text) if text.is_empty() => {
                self.add_error(field, "empty", format!("{field} must not be empty."));
                None
            }
            Value::String(text) if text.chars().count() <= most => Some(text),
            Value::String(_) => {
                self.add_error(field, "too_long", format!("{field} must be at most {most} characters."));
                None
            }
            _ => {
                self.add_error(field, "not_text", format!("{field} must be a string."));
                None
            }
        }
    }

    /// Reads an id or a name. It has no control characters, so that it can be part of a key, and can be seen as it is.
    pub fn reference(&mut self, field: &str, most: usize) -> Option<String> {
        let text = self.text(field, most)?;
        let fault = text.chars().any(char::is_control).then_some(TextFault::Control).or_else(|| check_line(&text));
        if let Some(fault) = fault {
            self.add_error(field, fault.code(), format!("{field} {fault}."));
            return None;
        }
        Some(text)
    }

    pub fn required<T>(&mut self, field: &str, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        if self.map.get(field).is_none_or(Value::is_null) {
            self.map.remove(field);
            self.add_error(field, "required", format!("{field} is required."));
            return None;
        }
        read(self)
    }

    pub fn choice<T: FromStr>(&mut self, field: &str, names: &[&str]) -> Option<T> {
        let given = self.take(field)?;
        let chosen = given.as_str().and_then(|text| text.parse().ok());
        if chosen.is_none() {
            self.add_error(field, "not_one_of", format!("{field} must be one of: {}.", names.join(", ")));
        }
        chosen
    }

    /// Reads one of the given names, exactly as written.
    pub fn one_of(&mut self, field: &str, names: &[&str]) -> Option<String> {
        let given = self.take(field)?;
        let chosen = given.as_str().filter(|text| names.contains(text)).map(str::to_owned);
        if chosen.is_none() {
            self.add_error(field, "not_one_of", format!("{field} must be one of: {}.", names.join(", ")));
        }
        chosen
    }

    pub fn time(&mut self, field: &str) -> Option<Timestamp> {
        let given = self.take(field)?;
        let text = given.as_str().unwrap_or_default();
        let time = parse_time(text);
        if time.is_none() {
            let (code, detail) = match has_form_of_time(text) {
                true => {
                    ("not_in_range", format!("{field} must be a time from year -9999 to {}.", jiff::Timestamp::MAX))
                }
                false => ("not_a_time", format!("{field} must be an RFC 3339 time such as 2026-12-01T09:00:00Z.")),
            };
            self.add_error(field, code, detail);
        }
        time
    }

    /// Reads a duration such as `PT30M` or `30m`. Returns milliseconds.
    pub fn duration(&mut self, field: &str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let given = self.take(field)?;
        let read = given.as_str().and_then(|text| text.parse::<SignedDuration>().ok());
        let ms = read.map(|duration| duration.as_millis() as i64).filter(|ms| range.contains(ms));
        if ms.is_none() {
            let shown = |ms: &i64| format!("{:#}", SignedDuration::from_millis(*ms));
            let (least, most) = (shown(range.start()), shown(range.end()));
            let detail = format!("{field} must be a duration such as 30m or PT30M, from {least} to {most}.");
            self.add_error(field, "not_a_duration", detail);
        }
        ms
    }

    pub fn object(&mut self, field: &str) -> Option<Value> {
        match self.take(field)? {
            object @ Value::Object(_) => Some(object),
            _ => {
                self.add_error(field, "not_an_object", format!("{field} must be an object."));
                None
            }
        }
    }

    /// Reads an object inside of the body. Its errors are at their places in it.
    pub fn nested<T>(&mut self, field: &str, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let given = self.object(field)?;
        self.inner(field, given, read)
    }

    fn inner<T>(&mut self, place: &str, given: Value, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        let Ok(mut inner) = BodyReader::of(given) else {
            self.add_error(place, "not_an_object", format!("{place} must be an object."));
            return None;
        };
        let value = read(&mut inner);
        for error in inner.into_errors() {
            self.push(FieldError { pointer: format!("/{place}{}", error.pointer), ..error });
        }
        Some(value)
    }

    /// Reads a list of objects. Returns `None` if one of them cannot be read, or if the field is absent.
    pub fn items<T>(
        &mut self,
        field: &str,
        most: usize,
        mut read: impl FnMut(&mut Self) -> Option<T>,
    ) -> Option<Vec<T>> {
        let is_given = self.has(field);
        let given = self.list(field, most).into_iter().enumerate();
        let items: Vec<_> = given.map(|(at, item)| self.inner(&format!("{field}/{at}"), item, &mut read)).collect();
        items.into_iter().map(Option::flatten).collect::<Option<Vec<T>>>().filter(|_| is_given)
    }

    /// Reads a list of texts, at most `most` of them and none twice. `fault` says what is wrong with one.
    /// Returns `None` if one is wrong, or if the field is absent.
    pub fn texts<T: PartialEq>(
        &mut self,
        field: &str,
        most: usize,
        read: impl Fn(&str) -> Option<T>,
        fault: (&'static str, &str),
    ) -> Option<Vec<T>> {
        let is_given = self.has(field);
        let mut texts = Vec::new();
        let given = self.list(field, most);
        let count = given.len();
        for (at, item) in given.iter().enumerate() {
            let place = format!("{field}/{at}");
            match item.as_str().and_then(&read) {
                None => self.add_error(&place, fault.0, format!("{place} must be {}.", fault.1)),
                Some(text) if texts.contains(&text) => {
                    self.add_error(&place, "repeated", format!("{place} is in the list already."));
                }
                Some(text) => texts.push(text),
            }
        }
        (is_given && texts.len() == count).then_some(texts)
    }

    pub fn list(&mut self, field: &str, most: usize) -> Vec<Value> {
        match self.take(field) {
            None => Vec::new(),
            Some(Value::Array(items)) if items.len() <= most => items,
            Some(Value::Array(_)) => {
                self.add_error(field, "too_many", format!("{field} must have at most {most} items."));
                Vec::new()
            }
            Some(_) => {
                self.add_error(field, "not_a_list", format!("{field} must be a list."));
                Vec::new()
            }
        }
    }

    pub fn number(&mut self, field: &str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let given = self.take(field)?;
        let number = given.as_u64().filter(|number| range.contains(number));
        if number.is_none() {
            let detail = format!("{field} must be a whole number from {} to {}.", range.start(), range.end());
            self.add_error(field, "not_in_range", detail);
        }
        number
    }

    /// Reads a whole number that can be negative.
    pub fn integer(&mut self, field: &str, range: std::ops::RangeInclusive<i64>) -> Option<i64> {
        let given = self.take(field)?;
        let number = given.as_i64().filter(|number| range.contains(number));
        if number.is_none() {
            let detail = format!("{field} must be a whole number from {} to {}.", range.start(), range.end());
            self.add_error(field, "not_in_range", detail);
        }
        number
    }

    pub fn flag(&mut self, field: &str) -> Option<bool> {
        let given = self.take(field)?;
        if !given.is_boolean() {
            self.add_error(field, "not_a_flag", format!("{field} must be true or false."));
        }
        given.as_bool()
    }

    pub fn is_empty(&self) -> bool {
        self.map.is_empty() && self.errors.is_empty()
    }

    /// # Errors
    ///
    /// [`ProblemKind::Invalid`] with every error, including unknown fields.
    pub fn finish(self) -> Result<(), Problem> {
        let errors = self.into_errors();
        if errors.is_empty() { Ok(()) } else { Err(Problem::invalid(errors)) }
    }

    /// Whether there are errors, including unknown fields. The faults that a use case would find are then asked for
    /// separately, so that one answer reports all of them.
    pub fn has_errors(&self) -> bool {
        !self.errors.is_empty() || !self.map.is_empty()
    }

    /// Returns every error, including unknown fields.
    pub fn into_errors(mut self) -> Vec<FieldError> {
        let unknown: Vec<String> = self.map.keys().cloned().collect();
        for field in unknown {
            let detail = match field.as_str() {
                "businessId" | "createdBy" => format!("{field} comes from the API key, not from the body."),
                _ => format!("Unknown field {field}."),
            };
            self.add_error(&field.replace('~', "~0").replace('/', "~1"), "unknown_field", detail);
        }
        self.errors
    }
}

/// The problem of a missing required field. It is never returned, because [`BodyReader::finish`] reports the field
/// first.
pub fn missing() -> Problem {
    Problem::new(ProblemKind::Invalid, "Required fields are missing.")
}

/// Reads `{"burst": 100, "perSecond": 10}` from the field `rate`.
pub(crate) fn read_rate(fields: &mut BodyReader) -> Option<RateLimit> {
    let given = fields.object("rate")?;
    let number = |name: &str| given.get(name).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    let is_whole = given.as_object().is_some_and(|given| given.len() == 2);
    let rate = number("burst").zip(number("perSecond")).filter(|_| is_whole);
    let rate = rate.and_then(|(burst, per_second)| RateLimit::parse(&format!("{burst},{per_second}")));
    if rate.is_none() {
        fields.add_error("rate", "not_a_rate", "rate must be {\"burst\": 100, \"perSecond\": 10}, both at least 1.");
    }
    rate
}

/// Whether a text is a time with an offset, though it may be too early or too late.
fn has_form_of_time(text: &str) -> bool {
    Pieces::parse(text).is_ok_and(|pieces| pieces.time().is_some() && pieces.offset().is_some())
}

/// Parses an RFC 3339 time with any offset.
pub fn parse_time(text: &str) -> Option<Timestamp> {
    text.parse::<jiff::Timestamp>().ok().map(|time| Timestamp(time.as_millisecond()))
}
