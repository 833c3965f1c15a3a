//! A validated recurrence and its occurrences.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use events::Timestamp;
use jiff::civil::{Date, DateTime, Time, date};
use jiff::tz::{Offset, TimeZone};

use super::cron::Cron;
use super::month::{self, Days, Month};
use super::rrule::Rule;
use super::zone::{self, Moved, Nominal};

/// Maximum number of months and nominal times that one call considers.
///
/// The whole calendar has 2,760 months, and a day has at most 96 times, so the next occurrence is always found.
pub const MAX_CANDIDATES: u32 = 5_000;

/// The first date on which an occurrence is possible.
pub(super) const FIRST_DATE: Date = date(1970, 1, 1);

/// The last date on which an occurrence is possible. A recurrence without an end ends here.
pub(super) const LAST_DATE: Date = date(2199, 12, 31);

/// An upper limit of the distance between a nominal time's instant and the same time at another offset. It is more than
/// a day, because Samoa skipped a whole day in 2011.
const LONGEST_MOVE: jiff::SignedDuration = jiff::SignedDuration::from_hours(48);

/// The rule that determines the dates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Calendar {
    Cron(Cron),
    Rrule(Rule),
}

/// A recurrence: civil dates and times, and their time zone. Created by [`Recurrence::parse`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recurrence {
    pub(super) calendar: Calendar,
    /// Times of day, in order and without duplicates. Not empty.
    pub(super) times: Vec<Time>,
    pub(super) zone: TimeZone,
    /// IANA name, in the spelling of the database.
    pub(super) zone_name: Arc<str>,
    /// The first date, included.
    pub(super) start: Date,
    /// The last date of the rule, limited by `UNTIL`, `COUNT` or the end.
    pub(super) rule_end: Date,
    pub(super) exceptions: BTreeSet<Date>,
    pub(super) additions: BTreeSet<Date>,
}

/// One time at which a recurrence occurs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occurrence {
    /// The nominal time, which stays the same when the zone's rules change.
    pub nominal: Nominal,
    /// The instant, by the zone's rules that this build knows.
    pub at: Timestamp,
    /// The zone's offset from UTC at that instant.
    pub offset: Offset,
    /// Whether clocks in the zone skip or repeat the nominal time. `None` if they do neither.
    pub moved: Option<Moved>,
}

impl Recurrence {
    /// Returns the first `limit` occurrences whose instants are after `after` and not after `until`, ordered by
    /// instant.
    ///
    /// One call considers at most [`MAX_CANDIDATES`]. To get more, call it again with the instant of the last
    /// occurrence.
    pub fn occurrences(&self, after: Timestamp, until: Timestamp, limit: usize) -> Vec<Occurrence> {
        self.iter(after, until).take(limit).collect()
    }

    /// The first occurrence after `now`. Returns `None` if there are no more.
    pub fn next_after(&self, now: Timestamp) -> Option<Occurrence> {
        self.iter(now, Timestamp(i64::MAX)).next()
    }

    /// The next `count` occurrences after `now`, for a preview.
    pub fn preview(&self, now: Timestamp, count: usize) -> Vec<Occurrence> {
        self.occurrences(now, Timestamp(i64::MAX), count)
    }

    /// Iterates over the occurrences that [`Recurrence::occurrences`] returns.
    pub fn iter(&self, after: Timestamp, until: Timestamp) -> Occurrences<'_> {
        let first = self.civil_date(after).and_then(|date| date.checked_sub(LONGEST_MOVE).ok()).unwrap_or(FIRST_DATE);
        let last = self.civil_date(until).and_then(|date| date.checked_add(LONGEST_MOVE).ok()).unwrap_or(LAST_DATE);
        // Beyond the calendar, nothing is after the last date or before the first.
        let is_past = self.civil_date(after).is_none() && 0 < after.0;
        let is_before = self.civil_date(until).is_none() && until.0 < 0;
        let from = first.max(self.start);
        let through = last.min(self.last_date());
        let month = (from <= through && !is_past && !is_before).then(|| Month::of(from));
        Occurrences {
            nominal: NominalTimes {
                recurrence: self,
                from,
                through,
                month,
                days: VecDeque::new(),
                day: None,
                time: 0,
                considered: 0,
            },
            zone: &self.zone,
            ahead: None,
            moved: VecDeque::new(),
            after,
            until,
        }
    }

    fn civil_date(&self, at: Timestamp) -> Option<Date> {
        let instant = jiff::Timestamp::from_millisecond(at.0).ok()?;
        Some(self.zone.to_datetime(instant).date())
    }

    /// The last date on which an occurrence is possible, by the rule or by an addition.
    fn last_date(&self) -> Date {
        self.additions.last().map_or(self.rule_end, |addition| self.rule_end.max(*addition))
    }

    /// The rule's dates in the month, from its start to its end, without regard to exceptions.
    fn rule_days(&self, month: Month) -> Days {
        let within = month.within(self.start, self.rule_end);
        if within == 0 {
            return 0;
        }
        let days = match &self.calendar {
            Calendar::Cron(cron) => cron.days(month),
            Calendar::Rrule(rule) => rule.days(month),
        };
        days & within
    }

    fn days(&self, month: Month) -> Days {
        let listed = |dates: &BTreeSet<Date>| {
            let dates = dates.range(month.first()..=month.first().last_of_month());
            dates.fold(0, |days, date| days | 1 << date.day().unsigned_abs())
        };
        (self.rule_days(month) | listed(&self.additions)) & !listed(&self.exceptions)
    }

    /// The months from the start to the last possible date.
    fn months(&self) -> impl Iterator<Item = Month> {
        let end = self.last_date();
        std::iter::successors(Some(Month::of(self.start)), |month| month.next())
            .take_while(move |month| month.first() <= end)
    }

    /// Ends the rule on its `count`th date. A rule with fewer dates keeps its end.
    pub(super) fn end_after(&mut self, count: u32) {
        let mut left = count;
        let last = self.months().find_map(|month| {
            let days = self.rule_days(month);
            if days.count_ones() < left {
                left -= days.count_ones();
                return None;
            }
            month::each(days).nth(left.saturating_sub(1) as usize).and_then(|day| month.date(day))
        });
        if let Some(last) = last {
            self.rule_end = last;
        }
    }

    /// Whether nothing occurs on any date.
    pub(super) fn is_empty(&self) -> bool {
        self.times.is_empty() || self.months().all(|month| self.days(month) == 0)
    }
}

/// The nominal times between two dates, in nominal order.
#[derive(Debug, Clone)]
struct NominalTimes<'a> {
    recurrence: &'a Recurrence,
    from: Date,
    through: Date,
    /// The next month to consider.
    month: Option<Month>,
    /// The remaining days of the month before it.
    days: VecDeque<Date>,
    /// The day whose times are being returned.
    day: Option<Date>,
    /// Index of the day's next time.
    time: usize,
    considered: u32,
}

impl NominalTimes<'_> {
    /// Returns the next nominal time, or `None` at the end. If `bounded`, also returns `None` after [`MAX_CANDIDATES`].
    fn next(&mut self, bounded: bool) -> Option<DateTime> {
        loop {
            if bounded && MAX_CANDIDATES <= self.considered {
                return None;
            }
            if let Some(day) = self.day
                && let Some(time) = self.recurrence.times.get(self.time)
            {
                self.time += 1;
                self.considered += 1;
                return Some(DateTime::from_parts(day, *time));
            }
            self.day = self.days.pop_front();
            self.time = 0;
            if self.day.is_none() {
                let month = self.month.filter(|month| month.first() <= self.through)?;
                let days = self.recurrence.days(month) & month.within(self.from, self.through);
                self.days = month::each(days).filter_map(|day| month.date(day)).collect();
                self.month = month.next();
                self.considered += 1;
            }
        }
    }
}

/// Iterates over occurrences in strictly ascending order of instants, after `after` and not after `until`.
///
/// A nominal time that clocks skip is moved. If another nominal time is already at that instant, the moved one is left
/// out.
#[derive(Debug, Clone)]
pub struct Occurrences<'a> {
    nominal: NominalTimes<'a>,
    zone: &'a TimeZone,
    /// The next occurrence in nominal order, if it has already been computed.
    ahead: Option<Occurrence>,
    /// Occurrences moved out of a gap. They wait for occurrences that may have earlier instants.
    moved: VecDeque<Occurrence>,
    after: Timestamp,
    until: Timestamp,
}

impl Occurrences<'_> {
    fn resolved(&mut self) -> Option<Occurrence> {
        loop {
            // While a moved occurrence waits, the limit does not apply. Otherwise two could occur at one instant.
            let time = self.nominal.next(self.moved.is_empty())?;
            if let Some((at, offset, moved)) = zone::resolve(time, self.zone) {
                let nominal = Nominal { time, zone: self.nominal.recurrence.zone_name.clone() };
                return Some(Occurrence { nominal, at, offset, moved });
            }
        }
    }

    fn next_by_instant(&mut self) -> Option<Occurrence> {
        loop {
            if self.ahead.is_none() {
                self.ahead = self.resolved();
            }
            if self.ahead.as_ref().is_some_and(|ahead| ahead.moved == Some(Moved::Gap)) {
                self.moved.extend(self.ahead.take());
                continue;
            }
            match (self.moved.front(), &self.ahead) {
                (Some(moved), Some(real)) if moved.at == real.at => drop(self.moved.pop_front()),
                (Some(moved), Some(real)) if real.at < moved.at => return self.ahead.take(),
                (Some(_), _) => return self.moved.pop_front(),
                (None, _) => return self.ahead.take(),
            }
        }
    }
}

impl Iterator for Occurrences<'_> {
    type Item = Occurrence;

    fn next(&mut self) -> Option<Occurrence> {
        loop {
            let occurrence = self.next_by_instant()?;
            if self.until < occurrence.at {
                return None;
            }
            if self.after < occurrence.at {
                self.after = occurrence.at;
                return Some(occurrence);
            }
        }
    }
}
