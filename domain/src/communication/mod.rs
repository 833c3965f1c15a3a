//! The decisions about one communication, based only on its events.
//!
//! [`decide()`] answers a [`Command`] with new events or a [`Rejection`]. [`evolve()`] folds an event into the
//! [`State`]. [`readiness()`] says what can be done now, and [`wake`] when to look at the stream again.

mod aggregate;
mod attempts;
mod decide;
mod evolve;
mod fallback;
mod process;
mod readiness;
mod state;
#[cfg(test)]
pub(crate) mod tests;

use events::{
    CancelReason, CommunicationId, CommunicationRequest, DeadLetterReason, DeferReason, FailReason, InDoubtCause,
    RefusalClass, ReportedStatus, Resolution, ResolvedBy, SuppressReason, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::policy;
use crate::prices::MessageCost;

pub use attempts::{AttemptAudit, audit_attempts};
pub use decide::decide;
pub use evolve::evolve;
pub use process::RequestFallback;
pub use readiness::{Deadline, Readiness, readiness, wake};
pub use state::{Communication, Evidence, FallbackState, Lifecycle, State, When};

/// Why a command is rejected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// The communication does not exist.
    #[error("the communication was never requested")]
    NotRequested,
    /// The idempotency key was used with another body.
    #[error("the idempotency key belongs to another request")]
    IdempotencyKeyReused,
    /// Another worker holds the lease until this time. It received the same hint, so this worker stops.
    #[error("another worker holds the attempt until {}", .0.0)]
    AttemptInFlight(Timestamp),
    /// The next attempt is not due yet.
    #[error("not due before {}", .0.0)]
    NotDue(Timestamp),
    /// The communication has ended, so a repeated hint has nothing to do.
    #[error("the communication has ended")]
    Finished,
    /// The provider accepted the message, so it can be neither cancelled nor changed.
    #[error("the provider has already accepted the message")]
    AlreadyAccepted,
    /// An attempt was already made, so time and content can no longer be changed.
    #[error("an attempt was already made")]
    AlreadyAttempted,
    /// Time and content were changed too often. Cancel the message and send another.
    #[error(
        "its time and content were changed {} times, which is the limit; cancel it and send another",
        policy::MAX_CHANGES
    )]
    TooManyChanges,
    /// No attempt is in doubt.
    #[error("no attempt is in doubt")]
    NotInDoubt,
    /// Only dead letters can be retried.
    #[error("the communication is not a dead letter")]
    NotDeadLettered,
    /// The report names an attempt that was never made.
    #[error("no such attempt was made")]
    UnknownAttempt,
}

/// A command to one communication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Request(Box<CommunicationRequest>),
    /// Changes the time (and the expiry), the content, or both.
    Change {
        schedule: Option<(Timestamp, Timestamp)>,
        content: Option<String>,
    },
    /// Applies deadlines that have passed: expired leases, doubts and messages.
    ApplyDeadlines {
        now: Timestamp,
    },
    /// Ends the lease of an open attempt early, because its worker is known to have ended.
    EndLease {
        now: Timestamp,
    },
    BeginAttempt {
        now: Timestamp,
        lease_until: Timestamp,
        config: String,
        provider: String,
        /// The invoices that the message speaks of.
        about: Vec<String>,
    },
    RecordOutcome {
        attempt: u16,
        now: Timestamp,
        chance: u64,
        outcome: AttemptOutcome,
        /// Whether another provider is configured that has not refused the message. It can then be tried at once.
        failover: bool,
    },
    /// Records any number of delivery reports from callbacks, in any order.
    Report(Vec<DeliveryReport>),
    Suppress(SuppressReason),
    /// Holds the message until a time that users can see.
    Defer {
        until: Timestamp,
        reason: DeferReason,
    },
    /// Fails the message, because it can never be rendered or sent.
    FailPermanently(FailReason),
    Cancel {
        by: String,
        reason: CancelReason,
    },
    /// Makes the communication a dead letter, for example because its hint crashed the handler repeatedly.
    DeadLetter(DeadLetterReason),
    /// Resolves an attempt in doubt with the provider's own records, looked up by an operator or by a query.
    ResolveInDoubt {
        outcome: Resolution,
        by: ResolvedBy,
        provider_message_id: Option<String>,
    },
    /// Records that the personal data is about to be deleted.
    Erase {
        by: String,
    },
    /// Retries a dead letter, or a communication that failed in doubt, not before `at`.
    Retry {
        by: String,
        now: Timestamp,
        at: Option<Timestamp>,
    },
    /// Triggers the fallback to the next channel, if it is due.
    TriggerFallback {
        now: Timestamp,
    },
    /// Records that the communication by the next channel was requested.
    RecordFallbackRequested(CommunicationId),
}

/// The outcome of an attempt, as classified by the provider's adapter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptOutcome {
    Accepted { provider_message_id: String, segments: Option<u16>, cost: Option<MessageCost>, latency_ms: u32 },
    Refused { class: RefusalClass, code: String, retry_after_ms: Option<i64> },
    InDoubt(InDoubtCause),
}

/// One status that a provider reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryReport {
    /// The attempt that the provider echoed. `None` if it echoes nothing.
    pub attempt: Option<u16>,
    pub fact: ReportedStatus,
    pub event_id: Option<String>,
    pub at: Timestamp,
    pub code: Option<String>,
}
