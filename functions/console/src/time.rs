//! Times in the reader's zone, durations and numbers.

use std::borrow::Borrow;
use std::fmt;

use askama::filters::HtmlSafe;
use events::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// A time in the reader's zone. The exact time is shown on hover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Time {
    exact: String,
    pub text: String,
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Time { exact, text } = self;
        write!(f, r#"<time datetime="{exact}" title="{exact}">{text}</time>"#)
    }
}

impl HtmlSafe for Time {}

/// How times are shown to one reader.
#[derive(Debug, Clone)]
pub struct Clock {
    pub now: Timestamp,
    pub zone: TimeZone,
}

impl Clock {
    /// A time of the API, such as `2026-11-24T09:26:00.000Z`: as short as it can be read today.
    pub fn short(&self, text: &str) -> Option<Time> {
        self.show(text, |days, same_year| match (days, same_year) {
            (0, _) => "%H:%M",
            (-6..=6, _) => "%a %-d %b, %H:%M",
            (_, true) => "%-d %b, %H:%M",
            (_, false) => "%-d %b %Y",
        })
    }

    /// With seconds, for what follows quickly.
    pub fn precise(&self, text: &str) -> Option<Time> {
        self.show(text, |days, _| if days == 0 { "%H:%M:%S" } else { "%a %-d %b, %H:%M:%S" })
    }

    /// The day alone.
    pub fn day(&self, text: &str) -> Option<Time> {
        self.show(text, |_, same_year| if same_year { "%-d %b" } else { "%-d %b %Y" })
    }

    /// Today, where the reader is.
    pub fn today(&self) -> Option<Date> {
        let now = jiff::Timestamp::from_millisecond(self.now.0).ok()?;
        Some(now.to_zoned(self.zone.clone()).date())
    }

    fn show(&self, text: &str, format: impl Fn(i32, bool) -> &'static str) -> Option<Time> {
        let instant: jiff::Timestamp = text.parse().ok()?;
        let local = instant.to_zoned(self.zone.clone());
        let now = jiff::Timestamp::from_millisecond(self.now.0).ok()?.to_zoned(self.zone.clone());
        let days = (local.date() - now.date()).get_days();
        let shown = local.strftime(format(days, local.year() == now.year())).to_string();
        Some(Time { exact: text.to_owned(), text: shown })
    }

    /// The time of day in another zone, or nothing if there is no such zone.
    pub fn time_in(&self, zone: &str) -> Option<String> {
        let zone = TimeZone::get(zone).ok()?;
        let now = jiff::Timestamp::from_millisecond(self.now.0).ok()?.to_zoned(zone);
        Some(now.strftime("%H:%M").to_string())
    }

    /// The name of the reader's zone.
    pub fn zone_name(&self) -> String {
        zone_city(self.zone.iana_name().unwrap_or("UTC"))
    }
}

/// `America/Mexico_City` is Mexico City.
pub fn zone_city(name: &str) -> String {
    name.rsplit('/').next().unwrap_or(name).replace('_', " ")
}

/// A local time of the API without its zone: `2027-03-28T09:00[Europe/Madrid]` is Sun 28 Mar 2027, 09:00.
pub fn local_time(nominal: &str) -> String {
    let time = nominal.split('[').next().unwrap_or_default();
    let shown = time.parse::<jiff::civil::DateTime>();
    shown.map_or_else(|_| time.to_owned(), |time| time.strftime("%a %-d %b %Y, %H:%M").to_string())
}

/// The same with the place of its zone.
pub fn local_time_and_place(nominal: &str) -> String {
    let shown = local_time(nominal);
    match nominal.trim_end_matches(']').split_once('[') {
        Some((_, zone)) => format!("{shown} ({})", zone_city(zone)),
        None => shown,
    }
}

/// A duration in the unit in which it is read at once.
pub fn duration(ms: i64) -> String {
    match ms {
        ..1_000 => format!("{ms} ms"),
        1_000..60_000 => format!("{:.1} s", ms as f64 / 1_000.0),
        60_000..3_600_000 => format!("{} min", ms / 60_000),
        3_600_000..86_400_000 => format!("{} h {} min", ms / 3_600_000, ms % 3_600_000 / 60_000),
        _ => format!("{} days", ms / 86_400_000),
    }
}

/// A number with its thousands apart.
pub fn number(number: impl Borrow<u64>) -> String {
    let digits = number.borrow().to_string();
    let mut shown = String::with_capacity(digits.len() + 4);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_as_short_as_they_can_be_read_today() {
        let now = "2026-11-24T09:30:00Z".parse::<jiff::Timestamp>().expect("a time");
        let zone = TimeZone::get("Europe/Amsterdam").expect("a zone");
        let clock = Clock { now: Timestamp(now.as_millisecond()), zone };
        let short = |text: &str| clock.short(text).map(|time| time.text);
        assert_eq!(short("2026-11-24T09:26:00.000Z").as_deref(), Some("10:26"));
        assert_eq!(short("2026-11-25T07:00:00Z").as_deref(), Some("Wed 25 Nov, 08:00"));
        assert_eq!(short("2026-11-01T09:26:00Z").as_deref(), Some("1 Nov, 10:26"));
        assert_eq!(short("2027-12-01T09:26:00Z").as_deref(), Some("1 Dec 2027"));
        assert_eq!(short("tomorrow"), None);
        let shown = clock.precise("2026-11-24T09:26:01.500Z").expect("a time").to_string();
        let exact = "2026-11-24T09:26:01.500Z";
        assert_eq!(shown, format!(r#"<time datetime="{exact}" title="{exact}">10:26:01</time>"#));
    }

    #[test]
    fn the_customers_own_time_is_shown_with_its_place() {
        assert_eq!(local_time_and_place("2027-03-28T09:00[Europe/Madrid]"), "Sun 28 Mar 2027, 09:00 (Madrid)");
        assert_eq!(local_time_and_place(""), "");
    }

    #[test]
    fn numbers_and_durations_are_read_at_once() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        let shown = [84, 12_100, 1_560_000, 30_120_000, 200_000_000].map(duration);
        assert_eq!(shown, ["84 ms", "12.1 s", "26 min", "8 h 22 min", "2 days"]);
    }
}
