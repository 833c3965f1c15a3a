//! A recurrence as a caller writes it, and its validation.

use std::collections::BTreeSet;

use events::Timestamp;
use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

use super::cron;
use super::fault::{Fault, FaultCode, Faults, quoted};
use super::recurrence::{Calendar, FIRST_DATE, LAST_DATE, Recurrence};
use super::rrule::{self, Rule, Until};
use super::zone;

/// Maximum length of a cron expression or an RRULE, in characters.
pub const MAX_RULE_CHARS: usize = 500;

/// Maximum number of exceptions, and of additions.
pub const MAX_DATES: usize = 366;

/// The rule that determines a recurrence's dates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// A cron expression of five fields, such as `0 9 * * mon`. It includes the times of day.
    Cron(String),
    /// An RRULE of RFC 5545, such as `FREQ=MONTHLY;BYDAY=-1FR`. Its time of day is [`RecurrenceInput::time`].
    Rrule(String),
}

/// A recurrence as a caller writes it, before validation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecurrenceInput {
    /// The rule. At most [`MAX_RULE_CHARS`] characters.
    pub when: When,
    /// `HH:MM`, the local time of day. Required with an RRULE, and rejected with cron.
    pub time: Option<String>,
    /// IANA name, such as `America/Mexico_City`.
    pub time_zone: String,
    /// `YYYY-MM-DD`, the first day on which an occurrence is possible. `COUNT` and `INTERVAL` count from it.
    pub start: String,
    /// `YYYY-MM-DD`, the last day on which an occurrence is possible. `None` means no end.
    pub end: Option<String>,
    /// Days without occurrences, each `YYYY-MM-DD`. They take precedence over additions, and `COUNT` includes them. At
    /// most [`MAX_DATES`].
    pub exceptions: Vec<String>,
    /// Additional days, each `YYYY-MM-DD`, with occurrences at the rule's times of day. `COUNT` does not include them.
    /// They can be after `UNTIL`, but must be between start and end. At most [`MAX_DATES`].
    pub additions: Vec<String>,
    /// Whether a day that a month does not have becomes the month's last day. Otherwise the month is left out.
    pub clamp_to_month_end: bool,
}

impl Recurrence {
    /// Validates a recurrence.
    ///
    /// # Errors
    ///
    /// All faults, field by field. The list is never empty.
    pub fn parse(input: RecurrenceInput) -> Result<Recurrence, Vec<Fault>> {
        let mut faults = Faults::default();
        let zone = zone(&input.time_zone, &mut faults);
        let start = date("start", &input.start, &mut faults);
        let end = input.end.as_ref().map_or(Some(LAST_DATE), |end| date("end", end, &mut faults));
        let time = time(&input, &mut faults);
        let rule = ParsedRule::parse(&input, &mut faults);
        let exceptions = dates("exceptions", &input.exceptions, &mut faults);
        let additions = dates("additions", &input.additions, &mut faults);
        if let (Some(start), Some(end)) = (start, end) {
            check_span(start, end, &input, &mut faults);
        }
        let (Some((zone, zone_name)), Some(start), Some(end), Some(rule)) = (zone, start, end, rule) else {
            return Err(faults.into_vec());
        };
        let (calendar, times, count, until) = match (rule, time) {
            (ParsedRule::Cron(cron, times), _) => (Calendar::Cron(cron), times, None, None),
            (ParsedRule::Rrule(parts), Some(time)) => {
                let (count, until) = (parts.count, parts.until);
                (Calendar::Rrule(Rule::new(parts, start, input.clamp_to_month_end)), vec![time], count, until)
            }
            (ParsedRule::Rrule(_), None) => return Err(faults.into_vec()),
        };
        if !faults.is_empty() {
            return Err(faults.into_vec());
        }
        let rule_end = match (until, times.first()) {
            (Some(until), Some(time)) => last_date(until, *time, &zone),
            (Some(_), None) | (None, _) => LAST_DATE,
        };
        let rule_end = rule_end.min(end);
        let mut recurrence = Recurrence { calendar, times, zone, zone_name, start, rule_end, exceptions, additions };
        if let Some(count) = count {
            recurrence.end_after(count);
        }
        if recurrence.is_empty() {
            let field = match input.when {
                When::Cron(_) => "when/cron",
                When::Rrule(_) => "when/rrule",
            };
            faults.add(field, FaultCode::Never, "this never occurs: no date fits the rule, its start and its end");
            return Err(faults.into_vec());
        }
        Ok(recurrence)
    }
}

/// A rule whose text is valid.
enum ParsedRule {
    Cron(cron::Cron, Vec<Time>),
    Rrule(rrule::Parts),
}

impl ParsedRule {
    fn parse(input: &RecurrenceInput, faults: &mut Faults) -> Option<ParsedRule> {
        let (field, text) = match &input.when {
            When::Cron(text) => ("when/cron", text),
            When::Rrule(text) => ("when/rrule", text),
        };
        if text.chars().nth(MAX_RULE_CHARS).is_some() {
            faults.add(field, FaultCode::TooLong, format!("a rule has at most {MAX_RULE_CHARS} characters"));
            return None;
        }
        match &input.when {
            When::Cron(text) => {
                cron::parse(text, input.clamp_to_month_end, faults).map(|(cron, times)| ParsedRule::Cron(cron, times))
            }
            When::Rrule(text) => rrule::parse(text, faults).map(ParsedRule::Rrule),
        }
    }
}

fn zone(name: &str, faults: &mut Faults) -> Option<(TimeZone, std::sync::Arc<str>)> {
    let found = zone::find(name);
    if found.is_none() {
        let message = format!("{} is not an IANA time zone such as America/Mexico_City", quoted(name));
        faults.add("timeZone", FaultCode::UnknownTimeZone, message);
    }
    found
}

fn time(input: &RecurrenceInput, faults: &mut Faults) -> Option<Time> {
    let text = match (&input.when, &input.time) {
        (When::Cron(_), None) => return None,
        (When::Cron(_), Some(_)) => {
            faults.add("time", FaultCode::NotTogether, "a cron expression has its times in itself: leave `time` out");
            return None;
        }
        (When::Rrule(_), None) => {
            faults.add("time", FaultCode::Missing, "an RRULE needs a `time`, HH:MM from 00:00 to 23:59");
            return None;
        }
        (When::Rrule(_), Some(text)) => text,
    };
    let parsed = parse_time(text);
    if parsed.is_none() {
        faults.add("time", FaultCode::Malformed, format!("{} is not HH:MM from 00:00 to 23:59", quoted(text)));
    }
    parsed
}

fn parse_time(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    Time::new(digits(hour, 2)?.try_into().ok()?, digits(minute, 2)?.try_into().ok()?, 0, 0).ok()
}

fn dates(field: &str, texts: &[String], faults: &mut Faults) -> BTreeSet<Date> {
    if MAX_DATES < texts.len() {
        faults.add(field, FaultCode::TooMany, format!("at most {MAX_DATES} dates, not {}", texts.len()));
        return BTreeSet::new();
    }
    let numbered = texts.iter().enumerate();
    numbered.filter_map(|(index, text)| date(&format!("{field}/{index}"), text, faults)).collect()
}

fn date(field: &str, text: &str, faults: &mut Faults) -> Option<Date> {
    match parse_date(text) {
        Some(date) if (FIRST_DATE..=LAST_DATE).contains(&date) => Some(date),
        Some(_) => {
            faults.add(field, FaultCode::OutOfRange, format!("a date is from {FIRST_DATE} to {LAST_DATE}"));
            None
        }
        None => {
            let message = format!("{} is not a date of the form YYYY-MM-DD", quoted(text));
            faults.add(field, FaultCode::Malformed, message);
            None
        }
    }
}

fn parse_date(text: &str) -> Option<Date> {
    let (year, rest) = text.split_once('-')?;
    let (month, day) = rest.split_once('-')?;
    let (month, day) = (digits(month, 2)?.try_into().ok()?, digits(day, 2)?.try_into().ok()?);
    Date::new(digits(year, 4)?, month, day).ok()
}

/// Parses a number of exactly `count` digits, without a sign.
fn digits(text: &str, count: usize) -> Option<i16> {
    let is_number = text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

fn check_span(start: Date, end: Date, input: &RecurrenceInput, faults: &mut Faults) {
    if end < start {
        faults.add("end", FaultCode::EndBeforeStart, "the end is before the start");
        return;
    }
    if MAX_DATES < input.additions.len() {
        return;
    }
    for (index, addition) in input.additions.iter().enumerate() {
        let in_calendar = parse_date(addition).filter(|date| (FIRST_DATE..=LAST_DATE).contains(date));
        if in_calendar.is_some_and(|date| date < start || end < date) {
            let message = "an addition is not before the start, and not after the end";
            faults.add(format!("additions/{index}"), FaultCode::OutOfRange, message);
        }
    }
}

/// The last date whose occurrence is not after `until`.
fn last_date(until: Until, time: Time, zone: &TimeZone) -> Date {
    let not_after = |date: Date, is_before: bool| if is_before { date } else { date.yesterday().unwrap_or(date) };
    match until {
        Until::Day(date) => date,
        Until::Civil(moment) => not_after(moment.date(), time <= moment.time()),
        Until::Utc(moment) => {
            let Ok(instant) = TimeZone::UTC.to_timestamp(moment) else { return LAST_DATE };
            let date = zone.to_datetime(instant).date();
            let occurs = zone::resolve(DateTime::from_parts(date, time), zone);
            not_after(date, occurs.is_some_and(|(at, ..)| at <= Timestamp(instant.as_millisecond())))
        }
    }
}
