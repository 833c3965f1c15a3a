//! Reads the parameters of a query string and collects all errors in them.

use std::collections::HashMap;
use std::str::FromStr;

use axum::extract::RawQuery;
use events::Timestamp;
use problem::{FieldError, Problem, ProblemKind};

use crate::fields::parse_time;

const DAY_MS: i64 = 24 * 3_600_000;

/// A query string. Each parameter is read by its name, and all errors are collected.
pub(crate) struct QueryParams {
    given: HashMap<String, String>,
    errors: Vec<FieldError>,
}

impl QueryParams {
    pub(crate) fn parse(raw: RawQuery) -> Result<Self, Problem> {
        let uri = format!("/?{}", raw.0.unwrap_or_default()).parse::<axum::http::Uri>();
        let uri = uri.map_err(|_| Problem::new(ProblemKind::Malformed, "The query string cannot be parsed."))?;
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&uri);
        let pairs = pairs.map_err(|error| Problem::new(ProblemKind::Malformed, format!("{error}.")))?.0;
        let mut query = QueryParams { given: HashMap::new(), errors: Vec::new() };
        for (name, value) in pairs {
            if query.given.insert(name.clone(), value).is_some() {
                query.add_error(&name, "repeated", format!("{name} is given more than once."));
            }
        }
        Ok(query)
    }

    pub(crate) fn add_error(&mut self, name: &str, code: &'static str, detail: String) {
        self.errors.push(FieldError { pointer: name.to_owned(), code, detail });
    }

    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        self.given.remove(name).filter(|text| !text.is_empty())
    }

    pub(crate) fn choice<T: FromStr>(&mut self, name: &str, names: &[&str]) -> Option<T> {
        let text = self.given.remove(name)?;
        let value = text.parse().ok().filter(|_| names.contains(&text.as_str()));
        if value.is_none() {
            self.add_error(name, "not_one_of", format!("{name} must be one of: {}.", names.join(", ")));
        }
        value
    }

    pub(crate) fn number(&mut self, name: &str, range: std::ops::RangeInclusive<u32>) -> Option<u32> {
        let text = self.given.remove(name)?;
        let number = text.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            let detail = format!("{name} must be a whole number from {} to {}.", range.start(), range.end());
            self.add_error(name, "not_in_range", detail);
        }
        number
    }

    pub(crate) fn flag(&mut self, name: &str) -> Option<bool> {
        let text = self.given.remove(name)?;
        let flag = text.parse().ok();
        if flag.is_none() {
            self.add_error(name, "not_a_flag", format!("{name} must be true or false."));
        }
        flag
    }

    /// A day, such as `2026-12-01`.
    pub(crate) fn day(&mut self, name: &str) -> Option<String> {
        let text = self.given.remove(name)?;
        let day = domain::collect::parse_day(&text).map(|day| day.to_string());
        if day.is_none() {
            self.add_error(name, "not_a_day", format!("{name} must be a day such as 2026-12-01."));
        }
        day
    }

    /// A time, or a day taken as its first moment (`next`: as the first moment after it).
    pub(crate) fn time(&mut self, name: &str, next: bool) -> Option<Timestamp> {
        let text = self.text(name)?;
        let start = |day: jiff::civil::Date| {
            let zoned = day.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
            Some(Timestamp(zoned.timestamp().as_millisecond() + if next { DAY_MS } else { 0 }))
        };
        let time = parse_time(&text).or_else(|| text.parse().ok().and_then(start));
        if time.is_none() {
            self.add_error(name, "not_a_time", format!("{name} must be a day (2026-12-01) or an RFC 3339 time."));
        }
        time
    }

    pub(crate) fn finish(mut self) -> Result<(), Problem> {
        let unknown: Vec<String> = self.given.keys().cloned().collect();
        for name in unknown {
            let detail = match name.as_str() {
                "page" => "Pages are addressed by cursor. Use nextCursor of the previous response.".to_owned(),
                "businessId" => "businessId comes from the API key.".to_owned(),
                _ => format!("Unknown parameter {name}."),
            };
            self.add_error(&name, "unknown_parameter", detail);
        }
        match self.errors.is_empty() {
            true => Ok(()),
            false => Err(Problem { kind: ProblemKind::Malformed, ..Problem::invalid(self.errors) }),
        }
    }
}
