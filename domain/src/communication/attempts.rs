//! The rules about the attempts of one stream, which the audit and the simulation check.

use events::{CommunicationEvent, RecordedEvent, Resolution, Timestamp};

/// Findings about the attempts of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AttemptAudit {
    /// The first attempt that began before the previous one had ended.
    pub overlapping: Option<u16>,
    /// Attempts for which it will never be known whether the provider accepted them.
    pub undecided: usize,
}

struct OpenAttempt {
    number: u16,
    /// The time until which the worker may still be calling the provider. `None` once the call has ended.
    leased_until: Option<Timestamp>,
    /// Whether the communication became a dead letter meanwhile. Then a retry can begin once the lease has ended.
    is_abandoned: bool,
}

impl OpenAttempt {
    fn excludes_another(&self, at: Timestamp) -> bool {
        !self.is_abandoned || self.leased_until.is_some_and(|until| at < until)
    }
}

/// Follows the attempts of one stream. An attempt ends with the provider's answer, with the end of its doubt or, if the
/// communication became a dead letter meanwhile, with its lease.
pub fn audit_attempts(records: &[RecordedEvent]) -> AttemptAudit {
    let mut audit = AttemptAudit::default();
    let mut open: Option<OpenAttempt> = None;
    for record in records {
        match &record.event {
            CommunicationEvent::DeliveryAttemptStarted { attempt, lease_until, .. } => {
                if open.is_some_and(|open| open.excludes_another(record.meta.at)) {
                    audit.overlapping = audit.overlapping.or(Some(*attempt));
                }
                open = Some(OpenAttempt { number: *attempt, leased_until: Some(*lease_until), is_abandoned: false });
            }
            CommunicationEvent::DeliveryAttemptInDoubt { .. } => {
                open.iter_mut().for_each(|open| open.leased_until = None);
            }
            CommunicationEvent::DeliveryAttemptAccepted { attempt, .. }
            | CommunicationEvent::DeliveryAttemptRefused { attempt, .. } => {
                open = open.filter(|open| open.number != *attempt);
            }
            CommunicationEvent::DeliveryAttemptResolved { attempt, outcome, .. } => {
                audit.undecided += usize::from(*outcome == Resolution::Unknown);
                open = open.filter(|open| open.number != *attempt);
            }
            CommunicationEvent::CommunicationDeadLettered { .. } => {
                if let Some(open) = open.as_mut().filter(|open| !open.is_abandoned) {
                    open.is_abandoned = true;
                    audit.undecided += 1;
                }
            }
            CommunicationEvent::CommunicationRequested(_)
            | CommunicationEvent::CommunicationRescheduled { .. }
            | CommunicationEvent::CommunicationContentChanged { .. }
            | CommunicationEvent::CommunicationSuppressed { .. }
            | CommunicationEvent::CommunicationDeferred { .. }
            | CommunicationEvent::DeliveryReported { .. }
            | CommunicationEvent::CancellationRequested { .. }
            | CommunicationEvent::CommunicationCancelled { .. }
            | CommunicationEvent::CommunicationFailed { .. }
            | CommunicationEvent::RetryRequested { .. }
            | CommunicationEvent::CommunicationErased { .. }
            | CommunicationEvent::FallbackTriggered { .. }
            | CommunicationEvent::FallbackRequested { .. }
            | CommunicationEvent::FallbackAbandoned { .. } => (),
        }
    }
    audit
}
