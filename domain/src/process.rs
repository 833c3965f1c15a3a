//! Processes: streams that make other streams act, such as a fallback or a schedule.

use events::{StreamId, Timestamp};

use crate::aggregate::Aggregate;

/// The next step of a process.
#[derive(Debug, Clone, PartialEq)]
pub enum Step<C, E> {
    /// The process waits for a command.
    Done,
    /// The process waits until this time.
    Wait(Timestamp),
    /// Executes a command on the process's own stream.
    Do(C),
    /// Performs an effect outside of the stream, then the next step. Everything that the effect creates has an id
    /// derived from the stream's id, so that repeating it after a crash creates no duplicates.
    Emit { effect: E, then: Box<Step<C, E>> },
}

/// A stream that makes other streams act.
pub trait Process: Aggregate {
    type Effect: Send;

    /// Returns the next step at `now`. The function is pure.
    fn next(&self, id: &StreamId, now: Timestamp) -> Step<Self::Command, Self::Effect>;
}
