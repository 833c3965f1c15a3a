//! The past occurrences of a schedule and their fates, derived from its history.

use events::{MissedReason, RecordedEvent, ScheduleEvent, ScheduleTiming, Timestamp};

use super::{Occurrence, Recurrence, recurrence_input};

/// How far back the newest occurrences are searched, in days. The steps are tried in order until there are enough.
const LOOK_BACK_DAYS: [i64; 5] = [2, 10, 60, 800, 20_000];
const DAY_MS: i64 = 24 * 3_600_000;

/// An occurrence whose time has come, and its fate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PastOccurrence {
    pub occurrence: Occurrence,
    pub fate: Fate,
}

/// The decision about an occurrence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It sends its message. The communication with the derived id has its status.
    Sends,
    /// It occurred during a pause.
    Paused,
    /// It had sent no message when the schedule ended.
    Ended,
    /// It sent no message. `code` is the code of the refusal.
    Missed { reason: MissedReason, code: Option<String> },
}

/// Returns at most `limit` occurrences up to `now`, newest first.
pub fn past_occurrences(records: &[RecordedEvent<ScheduleEvent>], now: Timestamp, limit: usize) -> Vec<PastOccurrence> {
    let mut found = Vec::new();
    for Period { timing, from, until } in periods(records, now).into_iter().rev() {
        let Ok(recurrence) = Recurrence::parse(recurrence_input(timing)) else { continue };
        let newest = newest_occurrences(&recurrence, from, until, limit - found.len());
        found.extend(newest.into_iter().map(|occurrence| {
            let fate = fate(records, &occurrence);
            PastOccurrence { occurrence, fate }
        }));
        if found.len() == limit {
            break;
        }
    }
    found
}

/// A period in which a schedule had one timing.
struct Period<'a> {
    timing: &'a ScheduleTiming,
    from: Timestamp,
    until: Timestamp,
}

fn periods(records: &[RecordedEvent<ScheduleEvent>], now: Timestamp) -> Vec<Period<'_>> {
    let mut periods = Vec::new();
    let mut current: Option<(&ScheduleTiming, Timestamp)> = None;
    for record in records {
        let at = record.meta.at;
        let next = match &record.event {
            ScheduleEvent::ScheduleCreated { timing, .. } => Some((timing, at)),
            ScheduleEvent::ScheduleChanged { timing: Some(timing), from, .. } => Some((timing, *from)),
            ScheduleEvent::ScheduleEnded { .. } => None,
            _ => continue,
        };
        if let Some((timing, from)) = current {
            periods.push(Period { timing, from, until: next.map_or(at, |(_, from)| from) });
        }
        current = next;
    }
    if let Some((timing, from)) = current {
        periods.push(Period { timing, from, until: now });
    }
    periods
}

/// The newest occurrences after `from` and up to `until`, newest first.
fn newest_occurrences(recurrence: &Recurrence, from: Timestamp, until: Timestamp, limit: usize) -> Vec<Occurrence> {
    let mut found: Vec<Occurrence> = Vec::new();
    for days in LOOK_BACK_DAYS {
        let after = from.max(until + -(days * DAY_MS));
        found = recurrence.iter(after, until).collect();
        if limit <= found.len() || after == from {
            break;
        }
    }
    found.into_iter().rev().take(limit).collect()
}

fn fate(records: &[RecordedEvent<ScheduleEvent>], occurrence: &Occurrence) -> Fate {
    let nominal = occurrence.nominal.to_string();
    let mut pause: Option<(Timestamp, Option<Timestamp>)> = None;
    let mut fate = Fate::Sends;
    let is_in = |pause: Option<(Timestamp, Option<Timestamp>)>, end: Timestamp| {
        let Some((from, until)) = pause else { return false };
        from < occurrence.at && occurrence.at <= until.map_or(end, |until| until.min(end))
    };
    for record in records {
        match &record.event {
            ScheduleEvent::SchedulePaused { from, until, .. } => {
                if is_in(pause, *from) {
                    fate = Fate::Paused;
                }
                pause = Some((*from, *until));
            }
            ScheduleEvent::ScheduleResumed { .. } if is_in(pause, record.meta.at) => {
                (fate, pause) = (Fate::Paused, None);
            }
            ScheduleEvent::ScheduleResumed { .. } => pause = None,
            ScheduleEvent::OccurrencesMissed { from, through, reason, code, .. }
                if *from <= nominal && nominal <= *through =>
            {
                fate = Fate::Missed { reason: *reason, code: code.clone() };
            }
            _ => (),
        }
    }
    if is_in(pause, Timestamp(i64::MAX)) { Fate::Paused } else { fate }
}
