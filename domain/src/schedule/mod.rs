//! Recurring schedules: which civil times a rule names, and the instants at which they fall in a time zone.
//!
//! Everything here is pure. A rule (`rrule`, `cron`) chooses civil dates, one month at a time; a [`Recurrence`]
//! adds the times of day, the exceptions and the additions; the time zone is applied last (`zone`).

mod aggregate;
mod catch_up;
mod cron;
mod explain;
mod fault;
mod input;
mod month;
mod past;
mod recurrence;
mod rrule;
mod zone;

pub use aggregate::{
    Command, MAX_SCHEDULES, Missed, Rejection, RunOccurrences, Schedule, ScheduleState, ScheduleStatus,
    recurrence_input,
};
pub use catch_up::{CatchUpPlan, MAX_WINDOW_MS, ON_TIME_MS, plan};
pub use explain::explain;
pub use fault::{Fault, FaultCode};
pub use input::{MAX_DATES, MAX_RULE_CHARS, RecurrenceInput, When};
pub use past::{Fate, PastOccurrence, past_occurrences};
pub use recurrence::{MAX_CANDIDATES, Occurrence, Occurrences, Recurrence};
pub use zone::{Moved, Nominal};

#[cfg(test)]
mod tests;
