//! One month of the civil calendar, and sets of its days.

use jiff::civil::{Date, Weekday};
use jiff::{Span, ToSpan};

/// A set of days of one month. Bit `n` stands for day `n`, and bit 0 is never set.
pub(super) type Days = u32;

/// One month of one year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Month {
    first: Date,
}

impl Month {
    pub fn of(date: Date) -> Month {
        Month { first: date.first_of_month() }
    }

    /// The next month. Returns `None` at the end of the calendar.
    pub fn next(self) -> Option<Month> {
        self.first.checked_add(1.month()).ok().map(|first| Month { first })
    }

    /// The twelve months of this month's year.
    pub fn of_same_year(self) -> impl Iterator<Item = Month> {
        let year = self.first.year();
        (1..=12).filter_map(move |month| Date::new(year, month, 1).ok()).map(|first| Month { first })
    }

    /// One month of each of the 28 kinds, in the order of [`Month::kind`].
    pub fn of_each_kind() -> impl Iterator<Item = Month> {
        // In 28 years of the Gregorian calendar without a skipped leap year, every length begins on every weekday.
        let months: Vec<Month> = (2000..2028)
            .filter_map(|year| Date::new(year, 1, 1).ok())
            .flat_map(|day| Month::of(day).of_same_year())
            .collect();
        (0..28).filter_map(move |kind| months.iter().find(|month| month.kind() == kind).copied())
    }

    /// 0 to 27: two months with the same number have the same days on the same weekdays.
    pub fn kind(self) -> usize {
        let weekday = self.first.weekday().to_monday_zero_offset();
        (self.length() as usize - 28) * 7 + usize::from(weekday.unsigned_abs())
    }

    /// 0 to 13: two years with the same number have the same dates on the same weekdays.
    pub fn kind_of_year(self) -> usize {
        let weekday = self.first.first_of_year().weekday().to_monday_zero_offset();
        usize::from(self.first.in_leap_year()) * 7 + usize::from(weekday.unsigned_abs())
    }

    pub fn first(self) -> Date {
        self.first
    }

    pub fn year(self) -> i16 {
        self.first.year()
    }

    /// 1 to 12.
    pub fn number(self) -> u32 {
        u32::from(self.first.month().unsigned_abs())
    }

    /// The number of days in this month, 28 to 31.
    pub fn length(self) -> u32 {
        u32::from(self.first.days_in_month().unsigned_abs())
    }

    /// The number of months since the year 0.
    pub fn index(self) -> i32 {
        i32::from(self.first.year()) * 12 + i32::from(self.first.month()) - 1
    }

    pub fn date(self, day: u32) -> Option<Date> {
        Date::new(self.first.year(), self.first.month(), i8::try_from(day).ok()?).ok()
    }

    pub fn all(self) -> Days {
        Days::MAX >> (31 - self.length()) & !1
    }

    /// All days of this month on a weekday.
    pub fn weekdays(self, weekday: Weekday) -> Days {
        const EVERY_SEVENTH: Days = 1 << 1 | 1 << 8 | 1 << 15 | 1 << 22 | 1 << 29;
        let after_first = self.first.weekday().until(weekday).unsigned_abs();
        EVERY_SEVENTH << after_first & self.all()
    }

    /// The days of this month between two dates, both included.
    pub fn within(self, from: Date, through: Date) -> Days {
        let last = self.first.last_of_month();
        if through < self.first || last < from {
            return 0;
        }
        let mut days = self.all();
        if self.first < from {
            days &= Days::MAX << from.day().unsigned_abs();
        }
        if through < last {
            days &= Days::MAX >> (31 - through.day().unsigned_abs());
        }
        days
    }
}

/// The first month of a year of each of the 14 kinds, in the order of [`Month::kind_of_year`].
pub(super) fn january_of_each_kind() -> impl Iterator<Item = Month> {
    let first_of = |year: i16| Date::new(year, 1, 1).ok().map(Month::of);
    (0..14).filter_map(move |kind| (2000..2028).filter_map(first_of).find(|month| month.kind_of_year() == kind))
}

/// The days of the set, from the first to the last.
pub(super) fn each(mut days: Days) -> impl DoubleEndedIterator<Item = u32> + Clone {
    days &= !1;
    (1..32).filter(move |day| days >> day & 1 == 1)
}

/// The `nth` day of a set, counted from its start (1 is the first) or from its end (-1 is the last).
pub(super) fn nth(days: Days, nth: i16) -> Days {
    let index = usize::from(nth.unsigned_abs()).saturating_sub(1);
    let found = if nth < 0 { each(days).rev().nth(index) } else { each(days).nth(index) };
    found.map_or(0, |day| 1 << day)
}

/// The number of days since 1970-01-01.
pub(super) fn day_number(date: Date) -> i64 {
    date.duration_since(Date::constant(1970, 1, 1)).as_hours() / 24
}

/// The date that is `number` days after 1970-01-01.
pub(super) fn date_of(number: i64) -> Option<Date> {
    Date::constant(1970, 1, 1).checked_add(Span::new().try_days(number).ok()?).ok()
}

/// The days of the month with these numbers. A negative number counts from the month's end.
///
/// A number that the month does not have is left out. With `clamp`, a positive one becomes the month's last day
/// instead.
pub(super) fn by_number(month: Month, numbers: &[i8], clamp: bool) -> Days {
    let length = month.length();
    numbers.iter().fold(0, |days, &number| {
        let size = u32::from(number.unsigned_abs());
        let day = if number < 0 {
            (length + 1).saturating_sub(size)
        } else if clamp {
            size.min(length)
        } else {
            size
        };
        days | (1 << day.min(31))
    }) & month.all()
}
