//! Quiet hours: messages are held during them and released at their end, by the recipient's local time.

use events::{CommunicationRequest, Priority, QuietHours, Timestamp};
use jiff::civil::{DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{ToSpan, Zoned};

/// Why quiet hours are invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuietHoursError {
    #[error("is HH:MM, from 00:00 to 23:59")]
    Time,
    #[error("is an IANA time zone such as America/Mexico_City")]
    TimeZone,
    #[error("is the same as the start: that would be all day")]
    Empty,
}

/// Checks quiet hours.
///
/// # Errors
///
/// The name of the invalid field, and the error.
pub fn check(quiet: &QuietHours) -> Result<(), (&'static str, QuietHoursError)> {
    let (start, end) = (time(&quiet.start), time(&quiet.end));
    let start = start.ok_or(("start", QuietHoursError::Time))?;
    let end = end.ok_or(("end", QuietHoursError::Time))?;
    if start == end {
        return Err(("end", QuietHoursError::Empty));
    }
    TimeZone::get(&quiet.time_zone).map(|_| ()).map_err(|_| ("timeZone", QuietHoursError::TimeZone))
}

fn time(text: &str) -> Option<Time> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str| (text.len() == 2).then(|| text.parse().ok()).flatten();
    Time::new(number(hour)?, number(minute)?, 0, 0).ok()
}

/// If `now` is within the recipient's quiet hours, returns when the message can be sent. Urgent messages are never
/// held.
pub fn release_time(request: &CommunicationRequest, now: Timestamp) -> Option<Timestamp> {
    let quiet = request.quiet_hours.as_ref().filter(|_| request.priority != Priority::Urgent)?;
    release(quiet, now)
}

/// The end of the quiet hours that `now` falls into.
///
/// A night is longer or shorter when clocks change in it. If the end does not exist on that day, it is the moment after
/// the gap.
fn release(quiet: &QuietHours, now: Timestamp) -> Option<Timestamp> {
    let zone = TimeZone::get(&quiet.time_zone).ok()?;
    let local = jiff::Timestamp::from_millisecond(now.0).ok()?.to_zoned(zone.clone());
    let (start, end) = (time(&quiet.start)?, time(&quiet.end)?);
    let clock = local.time();
    let is_quiet = if start < end { start <= clock && clock < end } else { start <= clock || clock < end };
    if !is_quiet {
        return None;
    }
    let day = if clock < end { local.date() } else { local.date().checked_add(1.day()).ok()? };
    let released: Zoned = DateTime::from_parts(day, end).to_zoned(zone).ok()?;
    // When clocks go back, the end can occur twice, and the later one is after `now`.
    Some(Timestamp(released.timestamp().as_millisecond())).filter(|released| now < *released)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn night(zone: &str) -> QuietHours {
        QuietHours { start: "21:00".into(), end: "08:00".into(), time_zone: zone.into() }
    }

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().expect("a time").as_millisecond())
    }

    #[test]
    fn a_night_ends_in_the_morning_of_the_recipients_time_zone() {
        let quiet = night("America/Mexico_City");
        assert_eq!(release(&quiet, at("2026-11-21T02:59:59Z")), None, "20:59 there");
        assert_eq!(release(&quiet, at("2026-11-21T03:00:00Z")), Some(at("2026-11-21T14:00:00Z")));
        assert_eq!(release(&quiet, at("2026-11-21T13:59:59Z")), Some(at("2026-11-21T14:00:00Z")));
        assert_eq!(release(&quiet, at("2026-11-21T14:00:00Z")), None);
    }

    #[test]
    fn quiet_hours_can_be_within_one_day() {
        let quiet = QuietHours { start: "14:00".into(), end: "16:00".into(), time_zone: "Europe/Madrid".into() };
        assert_eq!(release(&quiet, at("2026-07-01T13:30:00Z")), Some(at("2026-07-01T14:00:00Z")));
        assert_eq!(release(&quiet, at("2026-07-01T14:00:00Z")), None);
    }

    #[test]
    fn an_end_that_clocks_skip_is_after_the_gap() {
        let quiet = QuietHours { start: "22:00".into(), end: "02:30".into(), time_zone: "Europe/Berlin".into() };
        // 02:30 does not exist on 2026-03-29: clocks go from 02:00 to 03:00.
        assert_eq!(release(&quiet, at("2026-03-28T23:00:00Z")), Some(at("2026-03-29T01:30:00Z")));
    }

    #[test]
    fn an_end_that_occurs_twice_is_never_in_the_past() {
        let quiet = QuietHours { start: "22:00".into(), end: "02:30".into(), time_zone: "Europe/Berlin".into() };
        // 02:15 for the second time on 2026-10-25.
        assert_eq!(release(&quiet, at("2026-10-25T01:15:00Z")), None);
    }

    #[test]
    fn the_invalid_field_is_named() {
        let quiet = |start: &str, end: &str, zone: &str| {
            check(&QuietHours { start: start.into(), end: end.into(), time_zone: zone.into() })
        };
        assert_eq!(quiet("21:00", "08:00", "Africa/Nairobi"), Ok(()));
        assert_eq!(quiet("9pm", "08:00", "UTC"), Err(("start", QuietHoursError::Time)));
        assert_eq!(quiet("21:00", "24:00", "UTC"), Err(("end", QuietHoursError::Time)));
        assert_eq!(quiet("21:00", "21:00", "UTC"), Err(("end", QuietHoursError::Empty)));
        assert_eq!(quiet("21:00", "08:00", "Mars/Olympus"), Err(("timeZone", QuietHoursError::TimeZone)));
    }
}
