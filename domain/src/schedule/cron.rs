//! The times of a cron expression: five fields, as in Vixie's cron.
//!
//! `minute hour day-of-month month day-of-week`, each a list of `*`, a number or name, or a range, with an optional
//! step after `*` or a range. Sunday is 0 or 7. When both the day of the month and the day of the week are restricted,
//! a day needs to fit **one** of them: `0 9 13 * fri` is every Friday and every 13th. A field that starts with `*`,
//! even `*/2`, does not count as restricted. Then a day needs to fit both.

use jiff::civil::{Time, Weekday};

use super::fault::{FaultCode, Faults, quoted};
use super::month::{self, Days, Month};

/// The path of the expression inside the input.
const FIELD: &str = "when/cron";

/// The shortest distance between two times of day, in minutes.
const SHORTEST_MINUTES: u32 = 15;

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The dates of a cron expression. Its times of day are separate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cron {
    /// 1 to 31.
    month_days: Vec<i8>,
    /// Bit 1 is January.
    months: u64,
    weekdays: Vec<Weekday>,
    /// Whether both day fields are restricted, so that a day needs to fit only one of them.
    either: bool,
    clamp: bool,
}

impl Cron {
    /// The expression's dates in the month.
    pub fn days(&self, month: Month) -> Days {
        if self.months >> month.number() & 1 == 0 {
            return 0;
        }
        let by_month = month::by_number(month, &self.month_days, self.clamp);
        let by_week = self.weekdays.iter().fold(0, |days, weekday| days | month.weekdays(*weekday));
        if self.either { by_month | by_week } else { by_month & by_week }
    }
}

/// One field: its name in messages, its lowest and highest number, and its names.
struct Field {
    name: &'static str,
    least: u32,
    most: u32,
    names: &'static [&'static str],
}

const FIELDS: [Field; 5] = [
    Field { name: "minute", least: 0, most: 59, names: &[] },
    Field { name: "hour", least: 0, most: 23, names: &[] },
    Field { name: "day of month", least: 1, most: 31, names: &[] },
    Field { name: "month", least: 1, most: 12, names: &MONTHS },
    Field { name: "day of week", least: 0, most: 7, names: &WEEKDAYS },
];

/// Parses the expression into its dates and its times of day in order. Returns `None` and adds faults if it is invalid.
pub(super) fn parse(text: &str, clamp: bool, faults: &mut Faults) -> Option<(Cron, Vec<Time>)> {
    let texts: Vec<&str> = text.split_ascii_whitespace().collect();
    let Ok([minute, hour, month_day, month, weekday]) = <[&str; 5]>::try_from(texts) else {
        let message = "a cron expression has five fields: minute, hour, day of month, month, day of week";
        faults.add(FIELD, FaultCode::Malformed, message);
        return None;
    };
    let texts = [minute, hour, month_day, month, weekday];
    let mut sets = [0; 5];
    let mut complete = true;
    for ((set, field), text) in sets.iter_mut().zip(&FIELDS).zip(texts) {
        match field.set(text) {
            Ok(read) => *set = read,
            Err((code, message)) => {
                complete = false;
                faults.add(FIELD, code, message);
            }
        }
    }
    let [minutes, hours, month_days, months, weekdays] = sets;
    let times: Vec<u32> = each(hours).flat_map(|hour| each(minutes).map(move |minute| hour * 60 + minute)).collect();
    if shortest_distance(&times).is_some_and(|distance| distance < SHORTEST_MINUTES) {
        complete = false;
        let message = "less than 15 minutes are between two times, midnight included (minute and hour)";
        faults.add(FIELD, FaultCode::TooOften, message);
    }
    if !complete {
        return None;
    }
    let time = |minutes: u32| Time::new((minutes / 60) as i8, (minutes % 60) as i8, 0, 0).ok();
    let cron = Cron {
        month_days: each(month_days).map(|day| day as i8).collect(),
        months,
        weekdays: each(weekdays | weekdays >> 7)
            .filter_map(|day| Weekday::from_sunday_zero_offset(day as i8).ok())
            .collect(),
        either: !month_day.starts_with('*') && !weekday.starts_with('*'),
        clamp,
    };
    Some((cron, times.into_iter().filter_map(time).collect()))
}

/// The shortest distance between two times of one day, or the last and the first of the next day, in minutes.
fn shortest_distance(times: &[u32]) -> Option<u32> {
    let overnight = times.first()? + 24 * 60 - times.last()?;
    let within = times.windows(2).map(|pair| pair[1] - pair[0]).min();
    Some(within.unwrap_or(overnight).min(overnight))
}

/// The numbers of a set, in order.
fn each(set: u64) -> impl Iterator<Item = u32> + Clone {
    (0..64).filter(move |number| set >> number & 1 == 1)
}

impl Field {
    /// The numbers that the field names, as bits.
    fn set(&self, text: &str) -> Result<u64, (FaultCode, String)> {
        text.split(',').try_fold(0, |set, item| Ok(set | self.item(item)?))
    }

    fn item(&self, item: &str) -> Result<u64, (FaultCode, String)> {
        let (range, step) = item.split_once('/').map_or((item, None), |(range, step)| (range, Some(step)));
        let (from, through) = if range == "*" {
            (self.least, self.most)
        } else if let Some((from, through)) = range.split_once('-').filter(|(from, _)| !from.is_empty()) {
            let (from, through) = (self.number(from)?, self.number(through)?);
            // A week may end on its Sunday by name: fri-sun.
            if through == 0 && 0 < from && !self.names.is_empty() { (from, 7) } else { (from, through) }
        } else if step.is_some() {
            let message = format!("{} in {}: a step needs `*` or a range before it", quoted(item), self.name);
            return Err((FaultCode::Unsupported, message));
        } else {
            let number = self.number(range)?;
            (number, number)
        };
        if through < from {
            let message = format!("{} in {}: the range ends before it starts", quoted(item), self.name);
            return Err((FaultCode::OutOfRange, message));
        }
        let step = match step.map(digits) {
            None => 1,
            Some(Some(step)) if 0 < step && step <= self.most => step,
            Some(_) => {
                let message = format!("{} in {}: a step is from 1 to {}", quoted(item), self.name, self.most);
                return Err((FaultCode::OutOfRange, message));
            }
        };
        Ok((from..=through).step_by(step as usize).fold(0, |set, number| set | 1 << number))
    }

    fn number(&self, text: &str) -> Result<u32, (FaultCode, String)> {
        let named = self.names.iter().zip(self.least..).find(|(name, _)| name.eq_ignore_ascii_case(text));
        let allowed = || format!("{} in {} is not from {} to {}", quoted(text), self.name, self.least, self.most);
        match named.map(|(_, number)| number).or_else(|| digits(text)) {
            Some(number) if (self.least..=self.most).contains(&number) => Ok(number),
            Some(_) => Err((FaultCode::OutOfRange, allowed())),
            None => Err((FaultCode::Malformed, allowed())),
        }
    }
}

/// A number of at most four digits, without a sign.
fn digits(text: &str) -> Option<u32> {
    let is_number = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}
