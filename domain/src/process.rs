//! What a stream makes happen next. A process is a stream that makes other streams act, such as a fallback or a
//! schedule.

use events::{StreamId, Timestamp};

use crate::aggregate::Aggregate;

/// What a process needs next.
#[derive(Debug, Clone, PartialEq)]
pub enum Step<C, E> {
    /// Nothing, until somebody gives it a command.
    Done,
    /// Nothing until then.
    Wait(Timestamp),
    /// An event of its own.
    Do(C),
    /// Something outside of the stream, and then the next step. Everything that the effect creates has an id that is
    /// derived from the stream's, so that repeating it after a crash creates nothing twice.
    Emit { effect: E, then: Box<Step<C, E>> },
}

/// A stream that makes other streams act.
pub trait Process: Aggregate {
    type Effect: Send;

    /// Pure: what the stream needs at `now`.
    fn next(&self, id: &StreamId, now: Timestamp) -> Step<Self::Command, Self::Effect>;
}
