//! Compares rules with a simple implementation that checks every single day.

use jiff::ToSpan;
use jiff::civil::{Date, Weekday};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

const WEEKDAYS: [&str; 7] = ["MO", "TU", "WE", "TH", "FR", "SA", "SU"];

#[derive(Debug, Clone)]
struct Plain {
    frequency: &'static str,
    interval: usize,
    /// Ordinal and weekday. An ordinal of 0 means none, and weekday 0 is Monday.
    weekdays: Vec<(i16, usize)>,
    month_days: Vec<i8>,
    months: Vec<i8>,
    positions: Vec<i16>,
    week_start: usize,
    count: Option<usize>,
    start: Date,
    clamp: bool,
    exceptions: Vec<Date>,
    additions: Vec<Date>,
}

prop_compose! {
    fn plain()(
        frequency in select(vec!["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]),
        interval in prop_oneof![Just(1_usize), 1..20_usize],
        ordinals in any::<bool>(),
        weekdays in vec((-5..=5_i16, 0..7_usize), 0..4),
        month_days in vec(prop_oneof![1..=31_i8, -31..=-1_i8], 0..4),
        months in vec(1..=12_i8, 0..4),
        positions in vec(prop_oneof![1..=4_i16, -4..=-1_i16], 0..3),
        week_start in 0..7_usize,
        count in proptest::option::of(1..20_usize),
        start in (0..46_000_i64).prop_map(|days| jiff::civil::date(1970, 1, 1) + days.days()),
        clamp in any::<bool>(),
        (exceptions, additions) in (vec(0..400_i64, 0..4), vec(0..400_i64, 0..4)),
    ) -> Plain {
        let by_month = matches!(frequency, "MONTHLY" | "YEARLY");
        let weekdays: Vec<_> =
            weekdays.into_iter().map(|(nth, day)| (if ordinals && by_month { nth } else { 0 }, day)).collect();
        let month_days = if frequency == "WEEKLY" { Vec::new() } else { month_days };
        let has_by = !(weekdays.is_empty() && month_days.is_empty() && months.is_empty());
        let dates = |days: Vec<i64>| days.into_iter().map(|days| start + days.days()).collect();
        Plain {
            frequency, interval, weekdays, month_days, months,
            positions: if has_by { positions } else { Vec::new() },
            week_start, count, start, clamp,
            exceptions: dates(exceptions),
            additions: dates(additions),
        }
    }
}

fn weekday(date: Date) -> usize {
    usize::from(date.weekday().to_monday_zero_offset().unsigned_abs())
}

impl Plain {
    fn input(&self) -> RecurrenceInput {
        let mut rule = format!("FREQ={};INTERVAL={};WKST={}", self.frequency, self.interval, WEEKDAYS[self.week_start]);
        let mut list = |name: &str, items: Vec<String>| {
            if !items.is_empty() {
                rule += &format!(";{name}={}", items.join(","));
            }
        };
        let day = |(nth, day): &(i16, usize)| match nth {
            0 => WEEKDAYS[*day].to_owned(),
            nth => format!("{nth}{}", WEEKDAYS[*day]),
        };
        list("BYDAY", self.weekdays.iter().map(day).collect());
        list("BYMONTHDAY", self.month_days.iter().map(i8::to_string).collect());
        list("BYMONTH", self.months.iter().map(i8::to_string).collect());
        list("BYSETPOS", self.positions.iter().map(i16::to_string).collect());
        list("COUNT", self.count.iter().map(usize::to_string).collect());
        RecurrenceInput {
            exceptions: self.exceptions.iter().map(Date::to_string).collect(),
            additions: self.additions.iter().map(Date::to_string).collect(),
            clamp_to_month_end: self.clamp,
            ..rrule(&rule, "12:00", "UTC", &self.start.to_string())
        }
    }

    /// The number of a date's period, counted from an arbitrary beginning.
    fn period(&self, date: Date) -> i64 {
        let days = date.since(jiff::civil::date(1900, 1, 1)).expect("days").get_days();
        match self.frequency {
            "DAILY" => i64::from(days),
            // 1900-01-01 was a Monday.
            "WEEKLY" => (i64::from(days) + 7 - self.week_start as i64) / 7,
            "MONTHLY" => i64::from(date.year()) * 12 + i64::from(date.month()),
            _ => i64::from(date.year()),
        }
    }

    fn fits(&self, date: Date) -> bool {
        let nothing = self.weekdays.is_empty() && self.month_days.is_empty();
        if !self.months.is_empty() && !self.months.contains(&date.month()) {
            return false;
        }
        let length = date.days_in_month();
        let is_number = |number: i8| {
            let clamped = self.clamp && length < number && date.day() == length;
            date.day() == number || clamped || date.day() == length + 1 + number
        };
        let same_day = is_number(self.start.day());
        match self.frequency {
            "WEEKLY" if self.weekdays.is_empty() => return weekday(date) == weekday(self.start),
            "MONTHLY" if nothing => return same_day,
            "YEARLY" if nothing => {
                return same_day && (!self.months.is_empty() || date.month() == self.start.month());
            }
            _ => (),
        }
        (self.month_days.is_empty() || self.month_days.iter().any(|number| is_number(*number)))
            && (self.weekdays.is_empty() || self.weekdays.iter().any(|(nth, day)| self.is_weekday(date, *nth, *day)))
    }

    fn is_weekday(&self, date: Date, nth: i16, day: usize) -> bool {
        if weekday(date) != day || nth == 0 {
            return weekday(date) == day;
        }
        let of_year = self.frequency == "YEARLY" && self.months.is_empty();
        let same = |other: Date| if of_year { other.year() == date.year() } else { other.month() == date.month() };
        let step = if 0 < nth { -7 } else { 7 };
        let rank = (0..).take_while(|weeks| same(date + (i64::from(step) * weeks).days())).count();
        rank == usize::from(nth.unsigned_abs())
    }

    /// The dates from the start through a day, found by checking every day.
    fn dates(&self, through: Date) -> Vec<Date> {
        let first = self.start.first_of_year() - 7.days();
        let last = through.last_of_year() + 7.days();
        let all: Vec<Date> = first.series(1.day()).take_while(|date| *date <= last).collect();
        let in_rule = all.chunk_by(|one, next| self.period(*one) == self.period(*next)).flat_map(|period| {
            let is_due = (self.period(period[0]) - self.period(self.start)).rem_euclid(self.interval as i64) == 0;
            let fitting: Vec<Date> = period.iter().copied().filter(|date| is_due && self.fits(*date)).collect();
            let count = fitting.len() as i16;
            let keeps = |index: i16| {
                self.positions.is_empty() || self.positions.iter().any(|at| *at == index + 1 || *at == index - count)
            };
            (0..count).filter(|index| keeps(*index)).map(|index| fitting[index as usize]).collect::<Vec<_>>()
        });
        let in_rule = in_rule.filter(|date| self.start <= *date).take(self.count.unwrap_or(usize::MAX));
        let mut dates: Vec<Date> = in_rule.chain(self.additions.iter().copied()).collect();
        dates.retain(|date| *date <= through && !self.exceptions.contains(date));
        dates.sort_unstable();
        dates.dedup();
        dates
    }
}

#[derive(Debug, Clone)]
struct PlainCron {
    month_days: Option<Vec<i8>>,
    months: Option<Vec<i8>>,
    weekdays: Option<Vec<usize>>,
    start: Date,
}

prop_compose! {
    fn plain_cron()(
        month_days in proptest::option::of(btree_set(1..=31_i8, 1..6)),
        months in proptest::option::of(btree_set(1..=12_i8, 1..6)),
        weekdays in proptest::option::of(btree_set(0..=6_usize, 1..4)),
        start in (0..46_000_i64).prop_map(|days| jiff::civil::date(1970, 1, 1) + days.days()),
    ) -> PlainCron {
        PlainCron {
            month_days: month_days.map(|days| days.into_iter().collect()),
            months: months.map(|months| months.into_iter().collect()),
            weekdays: weekdays.map(|days| days.into_iter().collect()),
            start,
        }
    }
}

impl PlainCron {
    fn expression(&self) -> String {
        fn field<T: ToString>(items: Option<&Vec<T>>) -> String {
            let list = |items: &Vec<T>| items.iter().map(T::to_string).collect::<Vec<_>>().join(",");
            items.map_or("*".to_owned(), list)
        }
        let days = field(self.month_days.as_ref());
        format!("0 12 {days} {} {}", field(self.months.as_ref()), field(self.weekdays.as_ref()))
    }

    fn fits(&self, date: Date) -> bool {
        let by_week = |days: &Vec<usize>| days.contains(&((weekday(date) + 1) % 7));
        let by_month = |days: &Vec<i8>| days.contains(&date.day());
        self.months.as_ref().is_none_or(|months| months.contains(&date.month()))
            && match (&self.month_days, &self.weekdays) {
                (Some(month_days), Some(weekdays)) => by_month(month_days) || by_week(weekdays),
                (Some(month_days), None) => by_month(month_days),
                (None, Some(weekdays)) => by_week(weekdays),
                (None, None) => true,
            }
    }
}

/// The recurrence's dates through a day. The list is empty if it is rejected because it never occurs.
fn dates(input: RecurrenceInput, through: Date) -> Result<Vec<Date>, TestCaseError> {
    let recurrence = match Recurrence::parse(input) {
        Ok(recurrence) => recurrence,
        Err(faults) => {
            prop_assert!(faults.iter().all(|fault| fault.code == FaultCode::Never), "{:?}", faults);
            return Ok(Vec::new());
        }
    };
    let until = at(&format!("{through}T12:00:00Z"));
    Ok(recurrence.iter(ALWAYS.0, until).map(|occurrence| occurrence.nominal.time.date()).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_rule_has_the_dates_that_checking_every_day_finds(plain in plain()) {
        let through = plain.start + 1_500.days();
        prop_assert_eq!(dates(plain.input(), through)?, plain.dates(through));
    }

    #[test]
    fn cron_has_the_dates_that_checking_every_day_finds(plain in plain_cron()) {
        let through = plain.start + 1_500.days();
        let expected: Vec<Date> = plain
            .start
            .series(1.day())
            .take_while(|date| *date <= through)
            .filter(|date| plain.fits(*date))
            .collect();
        let found = dates(cron(&plain.expression(), "UTC", &plain.start.to_string()), through)?;
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn the_first_day_of_the_simple_implementation_is_a_monday() {
    assert_eq!(jiff::civil::date(1900, 1, 1).weekday(), Weekday::Monday);
}
