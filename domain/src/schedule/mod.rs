//! Recurring schedules: the civil times that a rule determines, and their instants in a time zone.
//!
//! All functions here are pure. A rule (`rrule`, `cron`) determines civil dates, one month at a time. A [`Recurrence`]
//! adds the times of day, the exceptions and the additions. The time zone (`zone`) is applied last.

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
pub use zone::{Moved, Nominal, find as find_zone};

#[cfg(test)]
mod tests;
