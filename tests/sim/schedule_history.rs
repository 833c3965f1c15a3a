//! The expected occurrences of a schedule, derived from its events alone.

use events::{CatchUp, RecordedEvent, ScheduleEvent, ScheduleTiming, Timestamp};

/// A schedule's history in the form that the invariant needs.
pub struct History {
    /// Each timing, and the times between which it was in force.
    pub periods: Vec<(ScheduleTiming, i64, i64)>,
    /// Every catch-up that was ever in force. The invariant allows the widest of their windows.
    pub catch_ups: Vec<CatchUp>,
    pub pauses: Vec<(i64, i64)>,
    pub missed: Vec<(String, String, u32)>,
    /// The times at which decisions were stored. Runs that read the state before may overlap with them.
    pub decided: Vec<i64>,
    pub ended: Option<i64>,
}

impl History {
    pub fn of(records: &[RecordedEvent<ScheduleEvent>], now: i64) -> History {
        let mut history = History {
            periods: Vec::new(),
            catch_ups: Vec::new(),
            pauses: Vec::new(),
            missed: Vec::new(),
            decided: Vec::new(),
            ended: None,
        };
        let mut paused: Option<(i64, Option<Timestamp>)> = None;
        let close = |paused: &mut Option<(i64, Option<Timestamp>)>, pauses: &mut Vec<(i64, i64)>, end: i64| {
            if let Some((from, until)) = paused.take() {
                pauses.push((from, until.map_or(end, |until| until.0.min(end))));
            }
        };
        for record in records {
            let at = record.meta.at.0;
            match record.event.clone() {
                ScheduleEvent::ScheduleCreated { timing, catch_up, .. } => {
                    history.periods.push((timing, at, now));
                    history.catch_ups.push(catch_up);
                }
                ScheduleEvent::ScheduleChanged { timing, catch_up, from, .. } => {
                    history.catch_ups.extend(catch_up);
                    history.decided.push(at);
                    if let Some(timing) = timing {
                        history.periods.last_mut().expect("a period").2 = from.0;
                        history.periods.push((timing, from.0, now));
                    }
                }
                ScheduleEvent::SchedulePaused { from, until, .. } => {
                    close(&mut paused, &mut history.pauses, from.0);
                    history.decided.push(at);
                    paused = Some((from.0, until));
                }
                ScheduleEvent::ScheduleResumed { .. } => {
                    close(&mut paused, &mut history.pauses, at);
                    history.decided.push(at);
                }
                ScheduleEvent::OccurrencesMissed { from, through, count, .. } => {
                    history.missed.push((from, through, count));
                }
                ScheduleEvent::ScheduleEnded { .. } => history.ended = Some(at),
            }
        }
        close(&mut paused, &mut history.pauses, now);
        history
    }
}
