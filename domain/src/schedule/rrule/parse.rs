//! Parses the text of an RRULE part by part, and collects every fault.

use std::collections::HashSet;

use jiff::civil::{Date, DateTime, Time, Weekday};

use super::{Frequency, Parts};
use crate::schedule::fault::{FaultCode, Faults, quoted};

/// The path of the rule inside the input.
const FIELD: &str = "when/rrule";

/// Maximum `INTERVAL`. A rule that runs every thousand days is already unusual.
const MAX_INTERVAL: i64 = 1_000;

/// Maximum `COUNT`.
const MAX_COUNT: i64 = 10_000;

/// The last moment of a rule, inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::schedule) enum Until {
    /// `UNTIL=20271231`: the whole local day.
    Day(Date),
    /// `UNTIL=20271231T170000`: a local civil time.
    Civil(DateTime),
    /// `UNTIL=20271231T170000Z`: an instant, as a civil time in UTC.
    Utc(DateTime),
}

/// Parses the rule. Returns `None` and adds faults if it is invalid.
pub(in crate::schedule) fn parse(text: &str, faults: &mut Faults) -> Option<Parts> {
    let before = faults.len();
    let mut reader = Reader { faults, given: HashSet::new(), frequency: None, parts: unset() };
    let text = text.trim();
    let rule = text.get(..6).filter(|prefix| prefix.eq_ignore_ascii_case("RRULE:")).map_or(text, |_| &text[6..]);
    if rule.is_empty() {
        reader.fault(FaultCode::Missing, "the rule is empty: it needs at least `FREQ=DAILY`");
        return None;
    }
    for part in rule.split(';') {
        reader.part(part);
    }
    reader.check_combinations();
    let Reader { frequency, mut parts, .. } = reader;
    parts.frequency = frequency?;
    (faults.len() == before).then_some(parts)
}

fn unset() -> Parts {
    Parts {
        frequency: Frequency::Daily,
        interval: 1,
        weekdays: Vec::new(),
        ordinals: Vec::new(),
        month_days: Vec::new(),
        months: Vec::new(),
        positions: Vec::new(),
        count: None,
        until: None,
        week_start: Weekday::Monday,
    }
}

struct Reader<'a> {
    faults: &'a mut Faults,
    /// The names of the parts seen so far, in capitals.
    given: HashSet<String>,
    frequency: Option<Frequency>,
    parts: Parts,
}

impl Reader<'_> {
    fn fault(&mut self, code: FaultCode, message: impl Into<String>) {
        self.faults.add(FIELD, code, message);
    }

    fn part(&mut self, part: &str) {
        let Some((name, value)) = part.split_once('=') else {
            let message = format!("{} is not a part of the form `NAME=VALUE`", quoted(part));
            return self.fault(FaultCode::Malformed, message);
        };
        let name = name.trim().to_ascii_uppercase();
        let value = value.trim().to_ascii_uppercase();
        if !self.given.insert(name.clone()) {
            return self.fault(FaultCode::Repeated, format!("{} is given more than once", quoted(&name)));
        }
        match name.as_str() {
            "FREQ" => self.frequency(&value),
            "INTERVAL" => {
                self.parts.interval = self.number("INTERVAL", &value, 1, MAX_INTERVAL).unwrap_or(1);
            }
            "COUNT" => {
                let count = self.number("COUNT", &value, 1, MAX_COUNT);
                self.parts.count = count.and_then(|count| u32::try_from(count).ok());
            }
            "UNTIL" => {
                self.parts.until = until(&value);
                if self.parts.until.is_none() {
                    let message = "`UNTIL` is a date such as `20271231`, or a time such as `20271231T170000Z`";
                    self.fault(FaultCode::Malformed, message);
                }
            }
            "BYDAY" => self.by_day(&value),
            "BYMONTHDAY" => self.parts.month_days = self.numbers("BYMONTHDAY", &value, 31, true),
            "BYMONTH" => self.parts.months = self.numbers("BYMONTH", &value, 12, false),
            "BYSETPOS" => self.parts.positions = self.numbers("BYSETPOS", &value, 366, true),
            "WKST" => match weekday(&value) {
                Some(weekday) => self.parts.week_start = weekday,
                None => self.fault(FaultCode::Malformed, "`WKST` is one of MO, TU, WE, TH, FR, SA, SU"),
            },
            "BYSECOND" | "BYMINUTE" | "BYHOUR" => {
                let message = format!("`{name}` is not supported: the time of day is in `time`");
                self.fault(FaultCode::Unsupported, message);
            }
            "BYYEARDAY" | "BYWEEKNO" | "BYEASTER" | "RSCALE" | "SKIP" => {
                self.fault(FaultCode::Unsupported, format!("`{name}` is not supported"));
            }
            other => self.fault(FaultCode::UnknownPart, format!("{} is not a part of a rule", quoted(other))),
        }
    }

    fn frequency(&mut self, value: &str) {
        match value {
            "DAILY" => self.frequency = Some(Frequency::Daily),
            "WEEKLY" => self.frequency = Some(Frequency::Weekly),
            "MONTHLY" => self.frequency = Some(Frequency::Monthly),
            "YEARLY" => self.frequency = Some(Frequency::Yearly),
            "HOURLY" | "MINUTELY" | "SECONDLY" => {
                let message =
                    format!("`FREQ={value}` is too often: a rule repeats daily at most; use cron within a day");
                self.fault(FaultCode::TooOften, message);
            }
            _ => self.fault(FaultCode::Malformed, "`FREQ` is one of DAILY, WEEKLY, MONTHLY, YEARLY"),
        }
    }

    fn by_day(&mut self, value: &str) {
        for item in value.split(',') {
            let name = item.len().checked_sub(2).and_then(|at| item.split_at_checked(at));
            let read = name.and_then(|(ordinal, name)| Some((ordinal, weekday(name)?)));
            match read {
                Some(("", weekday)) => self.parts.weekdays.push(weekday),
                Some((ordinal, weekday)) => match integer(ordinal).filter(|number| *number != 0) {
                    Some(number) if number.abs() <= 53 => self.parts.ordinals.push((number as i16, weekday)),
                    Some(_) => self.fault(FaultCode::OutOfRange, "an ordinal in `BYDAY` is from 1 to 53 or -53 to -1"),
                    None => self.by_day_is_malformed(item),
                },
                None => self.by_day_is_malformed(item),
            }
        }
    }

    fn by_day_is_malformed(&mut self, item: &str) {
        let message = format!("{} in `BYDAY` is not a weekday such as MO, 2TU or -1FR", quoted(item));
        self.fault(FaultCode::Malformed, message);
    }

    fn number(&mut self, part: &str, value: &str, least: i64, most: i64) -> Option<i64> {
        match integer(value) {
            Some(number) if (least..=most).contains(&number) => Some(number),
            Some(_) => {
                self.fault(FaultCode::OutOfRange, format!("`{part}` is a number from {least} to {most}"));
                None
            }
            None => {
                self.fault(FaultCode::Malformed, format!("`{part}` is a number from {least} to {most}"));
                None
            }
        }
    }

    /// Parses a list of numbers from 1 to `most` or, if `signed`, also from -`most` to -1.
    fn numbers<N: TryFrom<i64>>(&mut self, part: &str, value: &str, most: i64, signed: bool) -> Vec<N> {
        let mut numbers = Vec::new();
        for item in value.split(',') {
            let allowed = if signed { format!("1 to {most} or -{most} to -1") } else { format!("1 to {most}") };
            match integer(item) {
                Some(number) if number != 0 && number.abs() <= most && (signed || 0 < number) => {
                    numbers.extend(N::try_from(number).ok());
                }
                Some(_) => self.fault(FaultCode::OutOfRange, format!("a number in `{part}` is from {allowed}")),
                None => {
                    let message = format!("{} in `{part}` is not a number from {allowed}", quoted(item));
                    self.fault(FaultCode::Malformed, message);
                }
            }
        }
        numbers
    }

    /// Checks the combinations of parts that are valid by themselves.
    fn check_combinations(&mut self) {
        let has = |name: &str| self.given.contains(name);
        let (no_frequency, both_ends) = (!has("FREQ"), has("COUNT") && has("UNTIL"));
        let only_positions = has("BYSETPOS") && !has("BYDAY") && !has("BYMONTHDAY") && !has("BYMONTH");
        let has_month_days = has("BYMONTHDAY");
        if no_frequency {
            self.fault(FaultCode::Missing, "`FREQ` is missing: one of DAILY, WEEKLY, MONTHLY, YEARLY");
        }
        if both_ends {
            self.fault(FaultCode::BothEnds, "`COUNT` and `UNTIL` are both given: a rule has one end");
        }
        if only_positions {
            let message = "`BYSETPOS` chooses among the dates of `BYDAY`, `BYMONTHDAY` or `BYMONTH`: none is given";
            self.fault(FaultCode::NotTogether, message);
        }
        if self.frequency == Some(Frequency::Weekly) && has_month_days {
            self.fault(FaultCode::NotTogether, "`BYMONTHDAY` has no meaning in a weekly rule");
        }
        let most = match self.frequency {
            Some(Frequency::Daily | Frequency::Weekly) => 0,
            Some(Frequency::Monthly) => 5,
            Some(Frequency::Yearly) | None => 53,
        };
        if self.parts.ordinals.iter().any(|(nth, _)| most < nth.abs()) {
            if most == 0 {
                let message = "an ordinal in `BYDAY` such as 2TU needs a monthly or yearly rule";
                self.fault(FaultCode::NotTogether, message);
            } else {
                self.fault(FaultCode::OutOfRange, "an ordinal in `BYDAY` is from 1 to 5 or -5 to -1 in a monthly rule");
            }
        }
    }
}

/// Parses a whole number of at most eighteen digits, with or without a sign.
fn integer(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let is_number = (1..=18).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

fn weekday(text: &str) -> Option<Weekday> {
    match text {
        "MO" => Some(Weekday::Monday),
        "TU" => Some(Weekday::Tuesday),
        "WE" => Some(Weekday::Wednesday),
        "TH" => Some(Weekday::Thursday),
        "FR" => Some(Weekday::Friday),
        "SA" => Some(Weekday::Saturday),
        "SU" => Some(Weekday::Sunday),
        _ => None,
    }
}

/// Parses `YYYYMMDD`, `YYYYMMDDTHHMMSS` or `YYYYMMDDTHHMMSSZ`.
fn until(text: &str) -> Option<Until> {
    let (moment, is_utc) = text.strip_suffix('Z').map_or((text, false), |moment| (moment, true));
    let (day, clock) = moment.split_once('T').map_or((moment, None), |(day, clock)| (day, Some(clock)));
    let is_digits = |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(day, 8) {
        return None;
    }
    let date = Date::new(day[..4].parse().ok()?, day[4..6].parse().ok()?, day[6..].parse().ok()?).ok()?;
    let Some(clock) = clock else {
        return (!is_utc).then_some(Until::Day(date));
    };
    if !is_digits(clock, 6) {
        return None;
    }
    let time = Time::new(clock[..2].parse().ok()?, clock[2..4].parse().ok()?, clock[4..].parse().ok()?, 0).ok()?;
    let moment = date.to_datetime(time);
    Some(if is_utc { Until::Utc(moment) } else { Until::Civil(moment) })
}
