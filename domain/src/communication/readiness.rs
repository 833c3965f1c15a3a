//! The next step that is possible for a communication, and the time of the next look at it.

use events::Timestamp;

use super::{Communication, FallbackState, Lifecycle, State, When};
use crate::policy;

/// The next step that is possible now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// An attempt can begin.
    Ready,
    NotBefore(Timestamp),
    /// A deadline has passed: [`Command::ApplyDeadlines`](super::Command::ApplyDeadlines) comes first.
    DeadlineReached(Deadline),
    /// [`Command::TriggerFallback`](super::Command::TriggerFallback) comes first.
    FallbackDue,
    /// The communication by the next channel must be requested, then
    /// [`Command::RecordFallbackRequested`](super::Command::RecordFallbackRequested).
    FallbackRequestPending,
    Finished,
}

/// A deadline that has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deadline {
    /// The lease of an attempt ended without an answer.
    Lease { attempt: u16 },
    /// No evidence about an attempt in doubt has arrived in time.
    Evidence { attempt: u16 },
    /// The message expired before an attempt began.
    Expiry,
}

/// What a communication that has not ended waits for.
enum Wait {
    Attempt(When),
    LeaseEnd { attempt: u16, at: Timestamp },
    Evidence { attempt: u16, until: Timestamp },
}

fn current_wait(communication: &Communication) -> Option<Wait> {
    match communication.lifecycle {
        Lifecycle::Pending => Some(Wait::Attempt(communication.due_at.into())),
        Lifecycle::RetryWait { until } => Some(Wait::Attempt(until)),
        Lifecycle::Sending { attempt, lease_until } => Some(Wait::LeaseEnd { attempt, at: lease_until }),
        Lifecycle::InDoubt { attempt, evidence_until } => Some(Wait::Evidence { attempt, until: evidence_until }),
        Lifecycle::Sent
        | Lifecycle::Failed(_)
        | Lifecycle::DeadLettered(_)
        | Lifecycle::Cancelled
        | Lifecycle::Suppressed(_) => None,
    }
}

/// Returns what can be done at `now`.
pub fn readiness(communication: &Communication, now: Timestamp) -> Readiness {
    if let FallbackState::Triggered(_) = communication.fallback_state {
        return Readiness::FallbackRequestPending;
    }
    if communication.is_fallback_due(now) {
        return Readiness::FallbackDue;
    }
    match current_wait(communication) {
        None => Readiness::Finished,
        Some(Wait::Attempt(_)) if communication.expires_at <= now => Readiness::DeadlineReached(Deadline::Expiry),
        Some(Wait::Attempt(when)) => when.later_than(now).map_or(Readiness::Ready, Readiness::NotBefore),
        Some(Wait::LeaseEnd { attempt, at }) if at <= now => Readiness::DeadlineReached(Deadline::Lease { attempt }),
        Some(Wait::Evidence { attempt, until }) if until <= now => {
            Readiness::DeadlineReached(Deadline::Evidence { attempt })
        }
        Some(Wait::LeaseEnd { at, .. } | Wait::Evidence { until: at, .. }) => Readiness::NotBefore(at),
    }
}

/// Returns when to look at the stream again, or `None` when it has ended.
///
/// `current` is the timer already set. An attempt keeps it if it fires within a minute of the lease's end. That saves
/// two index writes per delivery, and an early look is harmless.
pub fn wake(state: &State, now: Timestamp, current: Option<Timestamp>) -> Option<Timestamp> {
    let State::Requested(communication) = state else { return None };
    let fallback = communication.fallback_due_at().map(|when| later_or_repair(when, now));
    delivery_wake(communication, now, current).into_iter().chain(fallback).min()
}

fn delivery_wake(communication: &Communication, now: Timestamp, current: Option<Timestamp>) -> Option<Timestamp> {
    Some(match current_wait(communication)? {
        Wait::Attempt(when) => later_or_repair(when, now),
        Wait::Evidence { until, .. } => later_or_repair(When::At(until), now),
        Wait::LeaseEnd { at: lease_until, .. } => {
            let is_soon = |at: &Timestamp| now < *at && at.millis_since(lease_until) <= policy::REPAIR_DELAY_MS;
            current.filter(is_soon).unwrap_or(lease_until)
        }
    })
}

/// The time itself if it is still to come. Otherwise a hint is under way, and the timer repairs its loss.
fn later_or_repair(when: When, now: Timestamp) -> Timestamp {
    when.later_than(now).unwrap_or(now + policy::REPAIR_DELAY_MS)
}
