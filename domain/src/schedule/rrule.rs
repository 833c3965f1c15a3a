//! The dates of an RRULE (RFC 5545, 3.3.10). The supported subset is `FREQ` from `DAILY` to `YEARLY`, `INTERVAL`,
//! `BYDAY`, `BYMONTHDAY`, `BYMONTH`, `BYSETPOS`, `COUNT`, `UNTIL`, `WKST`.
//!
//! As in python-dateutil, a start that does not match the rule is no occurrence. Unlike there, `BYSETPOS` of a weekly
//! rule counts the whole first week, and `BYDAY=MO,1FR` is the union of both, as the RFC requires.

mod parse;

pub(super) use parse::{Until, parse};

use jiff::civil::{Date, Weekday};

use super::month::{self, Days, Month};

/// The length of one period of the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Frequency {
    Daily,
    Weekly,
    Monthly,
    Yearly,
}

/// The parts of a rule's text, before missing parts are derived from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parts {
    pub frequency: Frequency,
    /// The number of periods from one to the next, 1 to 1,000. The default is 1.
    pub interval: i64,
    /// Weekdays without an ordinal.
    pub weekdays: Vec<Weekday>,
    /// Weekdays with an ordinal: 1 is the first of the month or year, -1 the last.
    pub ordinals: Vec<(i16, Weekday)>,
    /// 1 to 31, or -1 to -31 from the month's end.
    pub month_days: Vec<i8>,
    /// 1 to 12. Empty means every month.
    pub months: Vec<u32>,
    /// The positions of the dates to keep in a period. 1 is the first, -1 the last. Empty means all.
    pub positions: Vec<i16>,
    /// The number of dates from the start, including exceptions, after which the rule ends.
    pub count: Option<u32>,
    pub until: Option<Until>,
    /// The first day of the week. The default is Monday.
    pub week_start: Weekday,
}

/// A rule with its start. It computes the dates of any month without counting from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    parts: Parts,
    start: Date,
    clamp: bool,
    /// The dates of a yearly rule in each kind of year, computed once: see [`Month::kind_of_year`]. Empty for other
    /// frequencies.
    years: Vec<[Days; 12]>,
    /// The dates of a monthly rule in each kind of month: see [`Month::kind`]. Empty for other frequencies.
    months: Vec<Days>,
}

impl Rule {
    /// Derives missing parts from the start: the weekday, the day of the month or the month.
    pub fn new(mut parts: Parts, start: Date, clamp: bool) -> Rule {
        let has_weekdays = !parts.weekdays.is_empty() || !parts.ordinals.is_empty();
        let has_days = has_weekdays || !parts.month_days.is_empty();
        match parts.frequency {
            Frequency::Daily => (),
            Frequency::Weekly if !has_weekdays => parts.weekdays.push(start.weekday()),
            Frequency::Monthly if !has_days => parts.month_days.push(start.day()),
            Frequency::Yearly if !has_days => {
                if parts.months.is_empty() {
                    parts.months.push(Month::of(start).number());
                }
                parts.month_days.push(start.day());
            }
            Frequency::Weekly | Frequency::Monthly | Frequency::Yearly => (),
        }
        let mut rule = Rule { parts, start, clamp, years: Vec::new(), months: Vec::new() };
        match rule.parts.frequency {
            Frequency::Daily | Frequency::Weekly => (),
            Frequency::Monthly => rule.months = Month::of_each_kind().map(|month| rule.days_of_month(month)).collect(),
            Frequency::Yearly => {
                rule.years = month::january_of_each_kind().map(|month| rule.days_of_year(month)).collect()
            }
        }
        rule
    }

    /// The rule's dates in the month, without regard to its start, `COUNT` and `UNTIL`.
    pub fn days(&self, month: Month) -> Days {
        let every = self.parts.interval;
        match self.parts.frequency {
            Frequency::Daily => self.daily(month),
            Frequency::Weekly => self.weekly(month),
            Frequency::Monthly => {
                let passed = i64::from(month.index() - Month::of(self.start).index());
                let is_due = passed.rem_euclid(every) == 0 && self.includes(month);
                if is_due { self.months.get(month.kind()).copied().unwrap_or_default() } else { 0 }
            }
            Frequency::Yearly => {
                let passed = i64::from(month.year() - self.start.year());
                let of_year = self.years.get(month.kind_of_year()).filter(|_| passed.rem_euclid(every) == 0);
                of_year.and_then(|days| days.get(month.number() as usize - 1)).copied().unwrap_or_default()
            }
        }
    }

    /// Whether `BYMONTH` includes the month.
    fn includes(&self, month: Month) -> bool {
        self.parts.months.is_empty() || self.parts.months.contains(&month.number())
    }

    /// The dates of a monthly rule in a month that `BYMONTH` includes.
    fn days_of_month(&self, month: Month) -> Days {
        let matching = self.by_day(month);
        let positions = &self.parts.positions;
        if positions.is_empty() {
            return matching;
        }
        let chosen: Vec<u32> = month::each(matching).collect();
        positions.iter().filter_map(|position| pick(&chosen, *position)).fold(0, |days, day| days | 1 << day)
    }

    /// The dates of a yearly rule in the year of this month.
    fn days_of_year(&self, january: Month) -> [Days; 12] {
        let mut year = [0; 12];
        for (days, month) in year.iter_mut().zip(january.of_same_year()) {
            *days = self.matching(month);
        }
        let positions = &self.parts.positions;
        if positions.is_empty() {
            return year;
        }
        let of_month = |(index, days): (usize, &Days)| month::each(*days).map(move |day| (index, day));
        let chosen: Vec<(usize, u32)> = year.iter().enumerate().flat_map(of_month).collect();
        let mut kept = [0; 12];
        for (index, day) in positions.iter().filter_map(|position| pick(&chosen, *position)) {
            kept[*index] |= 1 << day;
        }
        kept
    }

    fn daily(&self, month: Month) -> Days {
        let positions = &self.parts.positions;
        if !positions.is_empty() && !positions.contains(&1) && !positions.contains(&-1) {
            return 0;
        }
        let passed = month::day_number(month.first()) - month::day_number(self.start) - 1;
        let due = |day: &u32| (passed + i64::from(*day)).rem_euclid(self.parts.interval) == 0;
        month::each(self.matching(month)).filter(due).fold(0, |days, day| days | 1 << day)
    }

    fn weekly(&self, month: Month) -> Days {
        let first_of_week = |date: Date| {
            let into_week = self.parts.week_start.until(date.weekday());
            month::day_number(date) - i64::from(into_week)
        };
        let start = first_of_week(self.start);
        let first = month::day_number(month.first());
        let last = first + i64::from(month.length()) - 1;
        let weeks = (first_of_week(month.first())..=last).step_by(7);
        let due = weeks.filter(|week| ((week - start) / 7).rem_euclid(self.parts.interval) == 0);
        due.flat_map(|week| self.of_week(week))
            .filter(|number| (first..=last).contains(number))
            .fold(0, |days, number| days | 1 << (number - first + 1))
    }

    /// The rule's dates in the week that begins on `first`, as day numbers.
    fn of_week(&self, first: i64) -> Vec<i64> {
        let Parts { weekdays, months, positions, .. } = &self.parts;
        let fits = |number: &i64| {
            month::date_of(*number).is_some_and(|date| {
                weekdays.contains(&date.weekday()) && (months.is_empty() || months.contains(&Month::of(date).number()))
            })
        };
        let chosen: Vec<i64> = (first..first + 7).filter(fits).collect();
        if positions.is_empty() {
            return chosen;
        }
        positions.iter().filter_map(|position| pick(&chosen, *position)).copied().collect()
    }

    /// The days of the month that match `BYMONTH`, `BYMONTHDAY` and `BYDAY`, without regard to the interval.
    fn matching(&self, month: Month) -> Days {
        if self.includes(month) { self.by_day(month) } else { 0 }
    }

    fn by_day(&self, month: Month) -> Days {
        let Parts { weekdays, ordinals, month_days, .. } = &self.parts;
        let mut days = month.all();
        if !month_days.is_empty() {
            days &= month::by_number(month, month_days, self.clamp);
        }
        if !weekdays.is_empty() || !ordinals.is_empty() {
            let plain = weekdays.iter().fold(0, |days, weekday| days | month.weekdays(*weekday));
            days &= ordinals.iter().fold(plain, |days, (nth, weekday)| days | self.ordinal(month, *nth, *weekday));
        }
        days
    }

    /// The nth weekday of the month or, in a yearly rule without `BYMONTH`, of the year.
    fn ordinal(&self, month: Month, nth: i16, weekday: Weekday) -> Days {
        if self.parts.frequency != Frequency::Yearly || !self.parts.months.is_empty() {
            return month::nth(month.weekdays(weekday), nth);
        }
        let first = month.first();
        let (first_of_year, last_of_year) = (first.first_of_year(), first.last_of_year());
        let weeks = i64::from(nth.unsigned_abs()).saturating_sub(1);
        let number = if nth < 0 {
            let back = i64::from(weekday.until(last_of_year.weekday()));
            month::day_number(last_of_year) - back - 7 * weeks
        } else {
            let ahead = i64::from(first_of_year.weekday().until(weekday));
            month::day_number(first_of_year) + ahead + 7 * weeks
        };
        let day = number - month::day_number(first) + 1;
        u32::try_from(day).ok().filter(|day| (1..=month.length()).contains(day)).map_or(0, |day| 1 << day)
    }
}

/// The `position`th item of a list, counted from its start (1 is the first) or from its end (-1 is the last).
fn pick<T>(list: &[T], position: i16) -> Option<&T> {
    let index = usize::from(position.unsigned_abs()).checked_sub(1)?;
    if position < 0 { list.iter().rev().nth(index) } else { list.get(index) }
}
