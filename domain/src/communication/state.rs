//! The state of one communication, folded from its events.

use std::collections::{BTreeMap, BTreeSet};

use events::{
    CancelReason, CommunicationId, CommunicationRequest, DeadLetterReason, FailReason, FallbackAbandonReason,
    FallbackTrigger, ReportedStatus, SuppressReason, Timestamp,
};
use serde::{Deserialize, Serialize};

use super::Rejection;

/// When something is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum When {
    /// At once.
    Now,
    At(Timestamp),
}

impl When {
    pub fn is_due(self, now: Timestamp) -> bool {
        self.later_than(now).is_none()
    }

    /// The time, if it is still to come.
    pub fn later_than(self, now: Timestamp) -> Option<Timestamp> {
        self.at().filter(|at| now < *at)
    }

    /// The time. Returns `None` for "at once".
    pub fn at(self) -> Option<Timestamp> {
        match self {
            When::Now => None,
            When::At(at) => Some(at),
        }
    }
}

/// `None` means at once.
impl From<Option<Timestamp>> for When {
    fn from(at: Option<Timestamp>) -> When {
        at.map_or(When::Now, When::At)
    }
}

/// The part of the status that our own commands determine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lifecycle {
    /// Not yet attempted: scheduled or queued.
    Pending,
    Sending {
        attempt: u16,
        lease_until: Timestamp,
    },
    RetryWait {
        until: When,
    },
    InDoubt {
        attempt: u16,
        evidence_until: Timestamp,
    },
    Sent,
    Failed(FailReason),
    DeadLettered(DeadLetterReason),
    Cancelled,
    Suppressed(SuppressReason),
}

impl Lifecycle {
    /// The name in the API.
    pub fn as_str(&self) -> &'static str {
        match self {
            Lifecycle::Pending => "queued",
            Lifecycle::Sending { .. } => "sending",
            Lifecycle::RetryWait { .. } => "retry_wait",
            Lifecycle::InDoubt { .. } => "in_doubt",
            Lifecycle::Sent => "sent",
            Lifecycle::Failed(_) => "failed",
            Lifecycle::DeadLettered(_) => "dead_lettered",
            Lifecycle::Cancelled => "cancelled",
            Lifecycle::Suppressed(_) => "suppressed",
        }
    }
}

/// What has been decided about the fallback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum FallbackState {
    /// The fallback is not decided yet, or none was requested.
    NotTriggered,
    /// The communication by the next channel must be requested.
    Triggered(FallbackTrigger),
    /// The communication by the next channel exists.
    Requested(CommunicationId),
    Abandoned(FallbackAbandonReason),
}

/// The earliest report of one status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    pub at: Timestamp,
    pub attempt: Option<u16>,
    /// How many reports of this status were recorded.
    pub(super) reports: u8,
}

/// Everything decided and reported so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Communication {
    pub request: CommunicationRequest,
    /// Names the content in the vault.
    pub content_id: String,
    /// Earliest time of the first attempt. `None` means at once.
    pub due_at: Option<Timestamp>,
    pub expires_at: Timestamp,
    pub lifecycle: Lifecycle,
    /// Number of attempts started.
    pub attempts: u16,
    /// Number of attempts that count against the limit.
    pub counted_attempts: u16,
    pub provider: Option<String>,
    /// The provider configuration of the last attempt.
    pub last_config_id: Option<String>,
    /// Configurations that refused the message for a reason on the provider's side.
    pub refusing_configs: BTreeSet<String>,
    pub provider_message_id: Option<String>,
    pub cancellation: Option<(String, CancelReason)>,
    /// Whether an attempt ended without a definite answer, so that the message may have arrived. It is never reset.
    pub maybe_sent: bool,
    /// Whether proof of sending arrived after the communication had failed.
    pub late_evidence: bool,
    pub evidence: BTreeMap<ReportedStatus, Evidence>,
    pub erased: bool,
    /// How often callers changed the time or the content.
    pub(super) changes: u16,
    pub fallback_state: FallbackState,
    /// The lease that was open when it became a dead letter. A retry must not begin before it ends.
    pub(super) held_until: Option<Timestamp>,
    /// Attempts that the provider accepted.
    pub(super) accepted: BTreeSet<u16>,
    /// Codes of unknown statuses that were reported.
    pub(super) unknown: BTreeSet<String>,
}

impl Communication {
    /// Whether a provider accepted the message, according to its answer or its reports.
    pub fn is_proven_sent(&self) -> bool {
        !self.accepted.is_empty() || self.evidence.keys().any(|status| proves_sent(*status))
    }

    /// Whether no attempt can follow, unless an operator retries the communication.
    pub fn is_finished(&self) -> bool {
        match self.lifecycle {
            Lifecycle::Pending
            | Lifecycle::Sending { .. }
            | Lifecycle::RetryWait { .. }
            | Lifecycle::InDoubt { .. } => false,
            Lifecycle::Sent
            | Lifecycle::Failed(_)
            | Lifecycle::DeadLettered(_)
            | Lifecycle::Cancelled
            | Lifecycle::Suppressed(_) => true,
        }
    }

    /// When the next attempt may begin. Returns `None` for at once, or if no attempt is waited for.
    pub fn next_attempt_at(&self) -> Option<Timestamp> {
        match self.lifecycle {
            Lifecycle::RetryWait { until } => until.at(),
            _ => self.due_at,
        }
    }

    /// Whether no attempt is open and another one will follow.
    pub(super) fn waits_for_attempt(&self) -> bool {
        match self.lifecycle {
            Lifecycle::Pending | Lifecycle::RetryWait { .. } => true,
            Lifecycle::Sending { .. }
            | Lifecycle::InDoubt { .. }
            | Lifecycle::Sent
            | Lifecycle::Failed(_)
            | Lifecycle::DeadLettered(_)
            | Lifecycle::Cancelled
            | Lifecycle::Suppressed(_) => false,
        }
    }

    /// Whether the communication can be retried with [`Command::Retry`](super::Command::Retry).
    pub fn is_dead_letter(&self) -> bool {
        matches!(self.lifecycle, Lifecycle::DeadLettered(_) | Lifecycle::Failed(FailReason::InDoubt))
    }

    /// Whether no provider can have accepted the message.
    pub(super) fn is_definitely_unsent(&self) -> bool {
        !self.maybe_sent && !self.is_proven_sent()
    }

    /// Whether a report belongs to this attempt. A report without an attempt belongs to the only one.
    pub(super) fn has_evidence_for(&self, attempt: u16) -> bool {
        let belongs = |evidence: &Evidence| evidence.attempt.map_or(self.attempts == 1, |number| number == attempt);
        self.evidence.values().any(belongs)
    }

    /// Applies proof of sending: reverts a failure or dead letter and ends pending waits.
    pub(super) fn apply_proof_of_sending(&mut self) {
        match self.lifecycle {
            Lifecycle::Failed(_) | Lifecycle::DeadLettered(_) => {
                self.late_evidence = true;
                self.lifecycle = Lifecycle::Sent;
            }
            Lifecycle::Pending | Lifecycle::RetryWait { .. } => self.lifecycle = Lifecycle::Sent,
            Lifecycle::Sending { .. }
            | Lifecycle::InDoubt { .. }
            | Lifecycle::Sent
            | Lifecycle::Cancelled
            | Lifecycle::Suppressed(_) => (),
        }
    }
}

/// The state of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum State {
    #[default]
    NotRequested,
    Requested(Box<Communication>),
}

impl State {
    /// # Errors
    ///
    /// [`Rejection::NotRequested`] if the stream is empty.
    pub fn requested(&self) -> Result<&Communication, Rejection> {
        match self {
            State::NotRequested => Err(Rejection::NotRequested),
            State::Requested(communication) => Ok(communication),
        }
    }
}

/// Whether the status proves that the provider accepted the message, whatever happened to it afterwards.
pub(super) fn proves_sent(status: ReportedStatus) -> bool {
    match status {
        ReportedStatus::Accepted
        | ReportedStatus::Sent
        | ReportedStatus::Deferred
        | ReportedStatus::Delivered
        | ReportedStatus::Bounced
        | ReportedStatus::Opened
        | ReportedStatus::Clicked
        | ReportedStatus::Read
        | ReportedStatus::Complained
        | ReportedStatus::Unsubscribed => true,
        ReportedStatus::Undelivered | ReportedStatus::Dropped | ReportedStatus::Unknown => false,
    }
}
