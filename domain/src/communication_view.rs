//! The view of communications: one row each, projected from the stream, for lists and details.

use events::{CommunicationEvent, CommunicationId, RecordedEvent, ReportedStatus, Timestamp};
use serde::{Deserialize, Serialize};

use crate::communication::{Communication, FallbackState, Lifecycle, State, evolve};
use crate::status::status;

/// The row of one communication. It contains no personal data, which is read from the vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommunicationRow {
    pub id: CommunicationId,
    /// The stream's version up to which it was projected.
    pub position: u64,
    pub channel: String,
    pub kind: String,
    pub status: String,
    pub lifecycle: String,
    pub priority: String,
    pub source: String,
    pub mode: String,
    pub recipient_type: String,
    pub recipient_id: Option<String>,
    pub entity_type: Option<String>,
    pub entity_id: Option<String>,
    pub template_id: Option<String>,
    pub resend_of: Option<CommunicationId>,
    /// The communication that this one is the fallback of, and the fallback of this one.
    #[serde(default)]
    pub fallback_of: Option<CommunicationId>,
    #[serde(default)]
    pub fell_back_to: Option<CommunicationId>,
    pub created_by: String,
    /// The vault partition of its personal data. See [`recipient_key`].
    pub subject: String,
    pub content: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub scheduled_at: Option<Timestamp>,
    pub expires_at: Timestamp,
    pub next_retry_at: Option<Timestamp>,
    pub sent_at: Option<Timestamp>,
    pub delivered_at: Option<Timestamp>,
    pub opened_at: Option<Timestamp>,
    pub clicked_at: Option<Timestamp>,
    pub failed_at: Option<Timestamp>,
    pub provider: Option<String>,
    pub provider_message_id: Option<String>,
    pub attempts: u16,
    /// Why it is a dead letter: `retries_exhausted`, `expired`, `poison` or `in_doubt`. `None` if it is not one.
    #[serde(rename = "given_up", default)]
    pub dead_letter_outcome: Option<String>,
    /// Why the last attempt, or the communication, did not succeed.
    pub reason: Option<String>,
    pub segments: Option<u16>,
    pub maybe_sent: bool,
    pub late_evidence: bool,
    pub complained: bool,
    pub unsubscribed: bool,
}

/// The vault partition of a recipient, named by the recipient's id or by the hash of the address.
pub fn recipient_key(request: &events::CommunicationRequest) -> String {
    match &request.recipient.id {
        Some(id) => format!("{}:{id}", request.recipient.kind.as_str()),
        None => format!("contact:{}", request.contact_hash),
    }
}

/// Projects a whole stream into its row. Returns `None` if the stream does not begin with a request.
pub fn project(id: CommunicationId, records: &[RecordedEvent]) -> Option<CommunicationRow> {
    let state = records.iter().fold(State::default(), |state, r| evolve(state, &r.event));
    let State::Requested(communication) = state else { return None };
    let first = records.first()?;
    let mut row = state_row(id, &communication);
    row.position = records.len() as u64;
    row.created_at = first.meta.at;
    row.updated_at = records.last()?.meta.at;
    for record in records {
        apply_event(&mut row, record);
    }
    Some(row)
}

fn state_row(id: CommunicationId, c: &Communication) -> CommunicationRow {
    let request = &c.request;
    let at = |status| c.evidence.get(&status).map(|evidence| evidence.at);
    let opened_at = [at(ReportedStatus::Opened), at(ReportedStatus::Read)].into_iter().flatten().min();
    let name = |name: &str| name.to_owned();
    CommunicationRow {
        id,
        position: 0,
        channel: name(request.channel.as_str()),
        kind: name(request.kind.as_str()),
        status: name(status(c).as_str()),
        lifecycle: name(match c.due_at {
            Some(_) if c.lifecycle.as_str() == "queued" => "scheduled",
            _ => c.lifecycle.as_str(),
        }),
        priority: name(request.priority.as_str()),
        source: name(request.source.as_str()),
        mode: name(request.mode.as_str()),
        recipient_type: name(request.recipient.kind.as_str()),
        recipient_id: request.recipient.id.clone(),
        entity_type: request.entity.as_ref().map(|entity| entity.kind.clone()),
        entity_id: request.entity.as_ref().and_then(|entity| entity.id.clone()),
        template_id: request.template.as_ref().map(|template| template.id.clone()),
        resend_of: request.resend_of,
        fallback_of: request.fallback_of,
        fell_back_to: match c.fallback_state {
            FallbackState::Requested(next) => Some(next),
            FallbackState::NotTriggered | FallbackState::Triggered(_) | FallbackState::Abandoned(_) => None,
        },
        created_by: request.requested_by.clone(),
        subject: recipient_key(request),
        content: c.content_id.clone(),
        created_at: Timestamp(0),
        updated_at: Timestamp(0),
        scheduled_at: c.due_at,
        expires_at: c.expires_at,
        next_retry_at: match c.lifecycle {
            Lifecycle::RetryWait { until } => until.at(),
            _ => None,
        },
        sent_at: None,
        // An opened message was delivered, whether or not a provider reported that.
        delivered_at: at(ReportedStatus::Delivered).or(opened_at).or(at(ReportedStatus::Clicked)),
        opened_at,
        clicked_at: at(ReportedStatus::Clicked),
        failed_at: [at(ReportedStatus::Undelivered), at(ReportedStatus::Bounced), at(ReportedStatus::Dropped)]
            .into_iter()
            .flatten()
            .min(),
        provider: c.provider.clone(),
        provider_message_id: c.provider_message_id.clone(),
        attempts: c.attempts,
        dead_letter_outcome: dead_letter_outcome(c).map(name),
        reason: None,
        segments: None,
        maybe_sent: c.maybe_sent,
        late_evidence: c.late_evidence,
        complained: c.evidence.contains_key(&ReportedStatus::Complained),
        unsubscribed: c.evidence.contains_key(&ReportedStatus::Unsubscribed),
    }
}

fn dead_letter_outcome(c: &Communication) -> Option<&'static str> {
    match c.lifecycle {
        Lifecycle::DeadLettered(reason) => Some(reason.as_str()),
        Lifecycle::Failed(reason) if c.is_dead_letter() => Some(reason.as_str()),
        _ => None,
    }
}

/// Adds data that the state does not contain: the times of our own events, and reasons.
fn apply_event(row: &mut CommunicationRow, record: &RecordedEvent) {
    let at = record.meta.at;
    match &record.event {
        CommunicationEvent::DeliveryAttemptAccepted { segments, .. } => {
            row.sent_at.get_or_insert(at);
            row.segments = *segments;
            row.reason = None;
        }
        CommunicationEvent::DeliveryAttemptResolved { outcome: events::Resolution::Accepted, .. } => {
            row.sent_at.get_or_insert(at);
            row.reason = None;
        }
        CommunicationEvent::DeliveryAttemptRefused { class, code, .. } => {
            row.reason = Some(format!("{}:{code}", class.as_str()));
        }
        CommunicationEvent::DeliveryAttemptInDoubt { cause, .. } => {
            row.reason = Some(format!("in_doubt:{}", cause.as_str()));
        }
        CommunicationEvent::DeliveryReported { fact, code, .. } => match fact {
            ReportedStatus::Undelivered | ReportedStatus::Bounced | ReportedStatus::Dropped => {
                let code = code.as_deref().unwrap_or("");
                row.reason = Some(format!("{}:{code}", fact.as_str()));
            }
            _ => (),
        },
        CommunicationEvent::CommunicationSuppressed { reason } => {
            row.reason = Some(format!("suppressed:{}", reason.as_str()));
        }
        CommunicationEvent::CommunicationFailed { reason, .. } => {
            row.failed_at.get_or_insert(at);
            let detail = row.reason.take().map_or(String::new(), |why| format!(" ({why})"));
            row.reason = Some(format!("{}{detail}", reason.as_str()));
        }
        CommunicationEvent::CommunicationDeadLettered { reason, .. } => {
            row.failed_at.get_or_insert(at);
            let detail = row.reason.take().map_or(String::new(), |why| format!(" ({why})"));
            row.reason = Some(format!("{}{detail}", reason.as_str()));
        }
        CommunicationEvent::CommunicationCancelled { reason, .. } => {
            row.reason = Some(format!("cancelled:{}", reason.as_str()));
        }
        CommunicationEvent::RetryRequested { .. } => {
            row.failed_at = None;
            row.reason = None;
        }
        CommunicationEvent::CommunicationRequested(_)
        | CommunicationEvent::CommunicationRescheduled { .. }
        | CommunicationEvent::CommunicationContentChanged { .. }
        | CommunicationEvent::CommunicationDeferred { .. }
        | CommunicationEvent::DeliveryAttemptStarted { .. }
        | CommunicationEvent::DeliveryAttemptResolved { .. }
        | CommunicationEvent::CancellationRequested { .. }
        | CommunicationEvent::CommunicationErased { .. }
        | CommunicationEvent::FallbackTriggered { .. }
        | CommunicationEvent::FallbackRequested { .. }
        | CommunicationEvent::FallbackAbandoned { .. } => (),
    }
}

/// The UTC day of a time, such as `2026-11-21`.
pub fn utc_day(at: Timestamp) -> String {
    let moment = jiff::Timestamp::from_millisecond(at.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    moment.strftime("%Y-%m-%d").to_string()
}
