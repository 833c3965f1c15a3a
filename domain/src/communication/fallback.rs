//! The fallback to the next channel: when it is due, and the request for it.

use events::{
    CommunicationId, CommunicationRequest, DeadLetterReason, FailReason, Fallback, FallbackCondition, FallbackStep,
    FallbackTrigger, ReportedStatus, Source, SuppressReason, Timestamp,
};

use super::{Communication, FallbackState, Lifecycle, When};

impl Communication {
    /// Whether the communication has ended and no fallback can follow.
    pub fn is_complete(&self) -> bool {
        self.is_finished() && self.fallback_due_at().is_none()
    }

    /// The request for the fallback of this communication, whose id is `id`. Returns `None` if there is no next
    /// channel.
    pub fn fallback_request(&self, id: CommunicationId, now: Timestamp) -> Option<CommunicationRequest> {
        let mut steps = self.request.fallback.iter().flat_map(|fallback| &fallback.steps).cloned();
        let FallbackStep { channel, contact_hash, template, .. } = steps.next()?;
        let steps: Vec<FallbackStep> = steps.collect();
        Some(CommunicationRequest {
            channel,
            source: Source::Fallback,
            contact_hash,
            template,
            scheduled_at: None,
            expires_at: self.expires_at,
            resend_of: None,
            fallback: (!steps.is_empty()).then_some(Fallback { from: now, steps }),
            fallback_of: Some(id),
            via: None,
            ..self.request.clone()
        })
    }

    fn next_fallback_step(&self) -> Option<&FallbackStep> {
        self.request.fallback.as_ref()?.steps.first()
    }

    /// When the fallback is due, and why. Returns `None` if no fallback follows in the current state.
    pub(super) fn fallback_due(&self) -> Option<(When, FallbackTrigger)> {
        let fallback = self.request.fallback.as_ref()?;
        let step = self.next_fallback_step()?;
        let is_off = self.fallback_state != FallbackState::NotTriggered || self.cancellation.is_some() || self.erased;
        if is_off || self.meets_condition(step.unless) {
            return None;
        }
        let was_returned = [ReportedStatus::Bounced, ReportedStatus::Undelivered, ReportedStatus::Dropped]
            .iter()
            .any(|status| self.evidence.contains_key(status));
        let failed = match self.lifecycle {
            // The recipient must not be contacted at all, or the message no longer has a purpose.
            Lifecycle::Cancelled
            | Lifecycle::Suppressed(
                SuppressReason::OptedOut
                | SuppressReason::DoNotContact
                | SuppressReason::Erased
                | SuppressReason::Settled
                | SuppressReason::CollectionPaused,
            )
            | Lifecycle::Failed(FailReason::Cancelled)
            | Lifecycle::DeadLettered(DeadLetterReason::Poison | DeadLetterReason::Expired) => return None,
            Lifecycle::Suppressed(
                SuppressReason::ChannelDisabled
                | SuppressReason::TypeDisabled
                | SuppressReason::SuppressionList
                | SuppressReason::SpendCapReached,
            )
            | Lifecycle::Failed(
                FailReason::Permanent | FailReason::Unrenderable | FailReason::MissingFile | FailReason::NoProvider,
            )
            | Lifecycle::DeadLettered(DeadLetterReason::RetriesExhausted) => Some(FallbackTrigger::NotSent),
            Lifecycle::Sent if was_returned => Some(FallbackTrigger::NotDelivered),
            // After a doubt under `hold`, a fallback could be a duplicate. So it follows only at its own time.
            Lifecycle::Failed(FailReason::InDoubt)
            | Lifecycle::Pending
            | Lifecycle::Sending { .. }
            | Lifecycle::RetryWait { .. }
            | Lifecycle::InDoubt { .. }
            | Lifecycle::Sent => None,
        };
        let in_time = || {
            let at = self.due_at.unwrap_or(fallback.from) + step.after_ms?;
            let reason = match step.unless {
                FallbackCondition::Delivered => FallbackTrigger::NotDeliveredInTime,
                FallbackCondition::Read => FallbackTrigger::NotReadInTime,
            };
            // A message that has expired is not sent by any channel.
            (at < self.expires_at).then_some((When::At(at), reason))
        };
        failed.map(|reason| (When::Now, reason)).or_else(in_time)
    }

    /// Whether the report that makes a fallback unnecessary has arrived.
    fn meets_condition(&self, condition: FallbackCondition) -> bool {
        let has = |status| self.evidence.contains_key(&status);
        let is_read = has(ReportedStatus::Opened) || has(ReportedStatus::Read) || has(ReportedStatus::Clicked);
        match condition {
            FallbackCondition::Delivered => {
                is_read || (has(ReportedStatus::Delivered) && !has(ReportedStatus::Bounced))
            }
            FallbackCondition::Read => is_read,
        }
    }

    /// The step that must be triggered at `now`, and why.
    pub(super) fn due_fallback(&self, now: Timestamp) -> Option<(&FallbackStep, FallbackTrigger)> {
        let (when, trigger) = self.fallback_due()?;
        self.next_fallback_step().filter(|_| when.is_due(now)).map(|step| (step, trigger))
    }

    /// When the fallback needs attention. Returns `None` if no fallback follows in the current state.
    pub fn fallback_due_at(&self) -> Option<When> {
        match self.fallback_state {
            FallbackState::Triggered(_) => Some(When::Now),
            FallbackState::NotTriggered | FallbackState::Requested(_) | FallbackState::Abandoned(_) => {
                self.fallback_due().map(|(when, _)| when)
            }
        }
    }

    /// Whether the fallback needs attention at `now`.
    pub fn is_fallback_due(&self, now: Timestamp) -> bool {
        self.fallback_due_at().is_some_and(|when| when.is_due(now))
    }
}
