//! The days and times at which a customer can be reminded, in the customer's zone. The zone is applied last.

use events::{CollectionSettings, Timestamp, Weekday};
use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Zoned};

/// A year without an allowed day is not looked beyond.
const MAX_DAYS_AHEAD: usize = 400;

/// The calendar of reminders for one customer.
pub struct Calendar<'a> {
    settings: &'a CollectionSettings,
    zone: TimeZone,
    time: Time,
    until: Time,
}

fn weekday(day: Date) -> Weekday {
    match day.weekday() {
        jiff::civil::Weekday::Monday => Weekday::Monday,
        jiff::civil::Weekday::Tuesday => Weekday::Tuesday,
        jiff::civil::Weekday::Wednesday => Weekday::Wednesday,
        jiff::civil::Weekday::Thursday => Weekday::Thursday,
        jiff::civil::Weekday::Friday => Weekday::Friday,
        jiff::civil::Weekday::Saturday => Weekday::Saturday,
        jiff::civil::Weekday::Sunday => Weekday::Sunday,
    }
}

/// A day as `YYYY-MM-DD`.
pub fn parse_day(text: &str) -> Option<Date> {
    text.parse().ok().filter(|_| text.len() == 10)
}

/// A time as `HH:MM`.
pub fn parse_time(text: &str) -> Option<Time> {
    let is_plain = text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b':');
    let (hour, minute) = text.split_once(':').filter(|_| is_plain)?;
    Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
}

impl<'a> Calendar<'a> {
    /// The first of `zones` that is known decides, or else the tenant's. `None` if the settings cannot be read by this
    /// version.
    pub fn new(settings: &'a CollectionSettings, zones: [Option<&str>; 2]) -> Option<Calendar<'a>> {
        let zones = zones.into_iter().flatten().chain([settings.time_zone.as_str()]);
        let zone = zones.into_iter().find_map(|zone| TimeZone::get(zone).ok())?;
        let (time, until) = (parse_time(&settings.time)?, parse_time(&settings.until)?);
        Some(Calendar { settings, zone, time, until })
    }

    /// The zone's IANA name.
    pub fn zone(&self) -> Option<&str> {
        self.zone.iana_name()
    }

    /// The civil day and time there.
    pub fn local(&self, at: Timestamp) -> Option<Zoned> {
        Some(jiff::Timestamp::from_millisecond(at.0).ok()?.to_zoned(self.zone.clone()))
    }

    fn is_allowed(&self, day: Date) -> bool {
        let is_holiday = self.settings.holidays.iter().any(|holiday| parse_day(holiday) == Some(day));
        self.settings.days.contains(&weekday(day)) && !is_holiday
    }

    /// The first allowed day from `day` on. `None` if a year has none.
    pub fn allowed_from(&self, day: Date) -> Option<Date> {
        let mut day = day;
        for _ in 0..MAX_DAYS_AHEAD {
            if self.is_allowed(day) {
                return Some(day);
            }
            day = day.tomorrow().ok()?;
        }
        None
    }

    pub fn allowed_after(&self, day: Date) -> Option<Date> {
        self.allowed_from(day.tomorrow().ok()?)
    }

    /// When a day begins.
    pub fn beginning_of(&self, day: Date) -> Option<Timestamp> {
        self.instant(day, Time::midnight())
    }

    /// When reminders leave on a day.
    pub fn start_of(&self, day: Date) -> Option<Timestamp> {
        self.instant(day, self.time)
    }

    /// When reminders of a day can leave at the latest.
    pub fn end_of(&self, day: Date) -> Option<Timestamp> {
        self.instant(day, self.until)
    }

    /// When a reminder can leave, from a time on. `None` if a year has no allowed day.
    pub fn open_from(&self, at: Timestamp) -> Option<Timestamp> {
        let day = self.local(at)?.date();
        let allowed = self.allowed_from(day)?;
        if day < allowed || at < self.start_of(day)? {
            return self.start_of(allowed);
        }
        if at < self.end_of(day)? { Some(at) } else { self.start_of(self.allowed_after(day)?) }
    }

    /// A time that clocks skip is later by the skipped time, and one that they show twice is the first of the two.
    fn instant(&self, day: Date, time: Time) -> Option<Timestamp> {
        let instant = self.zone.to_ambiguous_timestamp(day.to_datetime(time)).compatible().ok()?;
        Some(Timestamp(instant.as_millisecond()))
    }
}

/// A day so many days later.
pub fn add_days(day: Date, days: i64) -> Option<Date> {
    day.checked_add(Span::new().try_days(days).ok()?).ok()
}
