//! What happens to messages.

use events::{CommunicationEvent, Mode, ReportedStatus, Resolution};
use serde_json::{Value, json};

use super::{Announcement, Publication};
use crate::communication::{Communication, State};

impl Publication for State {
    const SUBJECT: &'static str = "communication";

    fn mode(&self) -> Option<Mode> {
        self.requested().ok().map(|communication| communication.request.mode)
    }

    fn announce(&self, event: &CommunicationEvent) -> Option<Announcement> {
        let communication = self.requested().ok()?;
        let (what, reason) = what_happened(event)?;
        Some(Announcement::new(format!("communication.{what}"), data(communication, reason)))
    }
}

/// The last part of the type, and why.
fn what_happened(event: &CommunicationEvent) -> Option<(&'static str, Option<String>)> {
    let why = |reason: &str| Some(reason.to_owned());
    Some(match event {
        CommunicationEvent::CommunicationRequested(request) if request.scheduled_at.is_some() => ("scheduled", None),
        CommunicationEvent::CommunicationRequested(_) => ("accepted", None),
        CommunicationEvent::CommunicationSuppressed { reason } => ("suppressed", why(reason.as_str())),
        CommunicationEvent::CommunicationDeferred { reason, .. } => ("deferred", why(reason.as_str())),
        CommunicationEvent::DeliveryAttemptAccepted { .. } => ("sent", None),
        CommunicationEvent::DeliveryAttemptInDoubt { cause, .. } => ("in_doubt", why(cause.as_str())),
        CommunicationEvent::DeliveryAttemptResolved { outcome: Resolution::Accepted, .. } => ("sent", None),
        CommunicationEvent::DeliveryReported { fact, code, .. } => return Some((reported(*fact)?, code.clone())),
        CommunicationEvent::CommunicationCancelled { reason, .. } => ("cancelled", why(reason.as_str())),
        CommunicationEvent::CommunicationFailed { reason, .. } => ("failed", why(reason.as_str())),
        CommunicationEvent::CommunicationDeadLettered { reason, .. } => ("dead_lettered", why(reason.as_str())),
        CommunicationEvent::FallbackTriggered { reason, .. } => ("fell_back", why(reason.as_str())),
        CommunicationEvent::CommunicationRescheduled { .. }
        | CommunicationEvent::CommunicationContentChanged { .. }
        | CommunicationEvent::DeliveryAttemptStarted { .. }
        | CommunicationEvent::DeliveryAttemptRefused { .. }
        | CommunicationEvent::DeliveryAttemptResolved { .. }
        | CommunicationEvent::CancellationRequested { .. }
        | CommunicationEvent::RetryRequested { .. }
        | CommunicationEvent::CommunicationErased { .. }
        | CommunicationEvent::FallbackRequested { .. }
        | CommunicationEvent::FallbackAbandoned { .. } => return None,
    })
}

fn reported(fact: ReportedStatus) -> Option<&'static str> {
    Some(match fact {
        ReportedStatus::Delivered => "delivered",
        ReportedStatus::Opened => "opened",
        ReportedStatus::Clicked => "clicked",
        ReportedStatus::Read => "read",
        ReportedStatus::Bounced => "bounced",
        ReportedStatus::Undelivered | ReportedStatus::Dropped => "undelivered",
        ReportedStatus::Complained => "complained",
        ReportedStatus::Unsubscribed => "unsubscribed",
        ReportedStatus::Accepted | ReportedStatus::Sent | ReportedStatus::Deferred | ReportedStatus::Unknown => {
            return None;
        }
    })
}

fn data(communication: &Communication, reason: Option<String>) -> Value {
    let request = &communication.request;
    json!({
        "channel": request.channel,
        "type": request.kind,
        "entity": request.entity,
        "recipient": request.recipient,
        "provider": communication.provider,
        "reason": reason,
    })
}
