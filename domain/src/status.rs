//! The status that users see: the maximum of our own lifecycle and of the providers' reports.

use events::{DeadLetterReason, ReportedStatus};

use crate::communication::{Communication, Lifecycle};

/// The statuses in ascending order. A status is only replaced by a higher one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    Scheduled,
    Queued,
    Sending,
    Sent,
    Failed,
    Delivered,
    /// The provider accepted the message and then dropped it. The API shows `failed`.
    Dropped,
    Bounced,
    Opened,
    Read,
    Clicked,
    // The last three apply only while no provider has reported anything.
    Cancelled,
    Suppressed,
    Expired,
}

impl Status {
    /// Every name in the API.
    pub const NAMES: [&str; 13] = [
        "scheduled",
        "queued",
        "sending",
        "sent",
        "failed",
        "delivered",
        "bounced",
        "opened",
        "read",
        "clicked",
        "cancelled",
        "suppressed",
        "expired",
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Status::Scheduled => "scheduled",
            Status::Queued => "queued",
            Status::Sending => "sending",
            Status::Sent => "sent",
            Status::Failed | Status::Dropped => "failed",
            Status::Delivered => "delivered",
            Status::Bounced => "bounced",
            Status::Opened => "opened",
            Status::Read => "read",
            Status::Clicked => "clicked",
            Status::Cancelled => "cancelled",
            Status::Suppressed => "suppressed",
            Status::Expired => "expired",
        }
    }
}

/// The highest status of the lifecycle and of all evidence.
pub fn status(communication: &Communication) -> Status {
    let evidence = communication.evidence.keys().filter_map(|reported| status_for(*reported)).max();
    let own_status = match communication.lifecycle {
        Lifecycle::Pending if communication.due_at.is_some() => Status::Scheduled,
        Lifecycle::Pending | Lifecycle::RetryWait { .. } => Status::Queued,
        Lifecycle::Sending { .. } | Lifecycle::InDoubt { .. } => Status::Sending,
        Lifecycle::Sent => Status::Sent,
        Lifecycle::DeadLettered(DeadLetterReason::Expired) if evidence.is_none() => Status::Expired,
        Lifecycle::Cancelled if evidence.is_none() => Status::Cancelled,
        Lifecycle::Suppressed(_) if evidence.is_none() => Status::Suppressed,
        Lifecycle::Failed(_) | Lifecycle::DeadLettered(_) => Status::Failed,
        Lifecycle::Cancelled | Lifecycle::Suppressed(_) => Status::Queued,
    };
    evidence.map_or(own_status, |evidence| evidence.max(own_status))
}

/// The status that a report stands for. Returns `None` if it never changes the status.
fn status_for(reported: ReportedStatus) -> Option<Status> {
    match reported {
        ReportedStatus::Accepted | ReportedStatus::Sent => Some(Status::Sent),
        ReportedStatus::Undelivered => Some(Status::Failed),
        ReportedStatus::Delivered => Some(Status::Delivered),
        ReportedStatus::Dropped => Some(Status::Dropped),
        ReportedStatus::Bounced => Some(Status::Bounced),
        ReportedStatus::Opened => Some(Status::Opened),
        ReportedStatus::Read => Some(Status::Read),
        ReportedStatus::Clicked => Some(Status::Clicked),
        ReportedStatus::Deferred
        | ReportedStatus::Complained
        | ReportedStatus::Unsubscribed
        | ReportedStatus::Unknown => None,
    }
}
