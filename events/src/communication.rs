//! The events of one communication, and the request that begins it.

use serde::{Deserialize, Serialize};

use crate::values::{
    CancelReason, Channel, DeadLetterReason, DeferReason, FailReason, FallbackAbandonReason, FallbackCondition,
    FallbackTrigger, InDoubtCause, InDoubtPolicy, MessageType, MissingFilePolicy, Mode, Priority, RecipientType,
    RefusalClass, ReportedStatus, Resolution, ResolvedBy, RetentionClass, Source, SuppressReason,
};
use crate::{CommunicationId, Timestamp, event_family};

/// Where a message or one of its fallback steps goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub channel: Channel,
    /// Keyed hash of the address.
    pub contact_hash: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipient {
    #[serde(rename = "type")]
    pub kind: RecipientType,
    /// The caller's own id of the recipient: a reference, not a name or an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// The template version that a communication was accepted with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateRef {
    pub id: String,
    pub version: u32,
    /// The hash of its content. `None` for a built-in template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// The business object that a communication is about, such as an invoice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntityRef {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
}

/// One attachment. Its name and address are stored in the vault under `key`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    pub key: String,
    /// Set once we store the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mime: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
}

/// The local time during which a recipient must not be disturbed. `21:00` to `08:00` is a night.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuietHours {
    /// `HH:MM`, the first quiet minute.
    pub start: String,
    /// `HH:MM`, the first minute that is no longer quiet.
    pub end: String,
    /// IANA name, such as `America/Mexico_City`.
    pub time_zone: String,
}

/// The channels to try if this one does not deliver the message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fallback {
    /// Waiting times count from this time, or from the due time if that is later.
    pub from: Timestamp,
    /// The channels in order, at least one. The first is tried next, and the others become its own fallback.
    pub steps: Vec<FallbackStep>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FallbackStep {
    pub channel: Channel,
    pub contact_hash: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateRef>,
    /// How long to wait for the previous channel. `None` means until that channel has finally failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<i64>,
    pub unless: FallbackCondition,
}

/// The request as accepted, without personal data, which is stored in the vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommunicationRequest {
    pub channel: Channel,
    #[serde(rename = "type")]
    pub kind: MessageType,
    pub priority: Priority,
    pub source: Source,
    pub recipient: Recipient,
    /// Keyed hash of the normalised address. The suppression list is searched by it.
    pub contact_hash: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<TemplateRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<Attachment>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entity: Option<EntityRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_at: Option<Timestamp>,
    /// No attempt begins after this time.
    pub expires_at: Timestamp,
    /// The message is held during quiet hours and released at their end. Urgent messages are not held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_hours: Option<QuietHours>,
    pub in_doubt: InDoubtPolicy,
    /// `None` means that it fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_missing_file: Option<MissingFilePolicy>,
    /// Maximum number of counted attempts.
    pub max_attempts: u8,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub campaign: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resend_of: Option<CommunicationId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Fallback>,
    /// The communication that this one is the fallback of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_of: Option<CommunicationId>,
    /// `None` means standard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<RetentionClass>,
    /// The invoices that it speaks of, by the ids of their streams. It is sent only while something is owed, and says
    /// what is owed when it is sent.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unless_settled: Vec<String>,
    /// Why it has no document although one was wanted, such as `no_glyph`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_document: Option<String>,
    /// The only provider configuration to use, for a test send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<String>,
    /// Hash of the request body. The same idempotency key with another body is rejected. The hash also names the
    /// content in the vault.
    pub request_hash: String,
    pub requested_by: String,
    pub mode: Mode,
}

/// An event of one communication. Types are added but never changed. `docs/events.md` is the catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum CommunicationEvent {
    /// v1. A communication was accepted.
    CommunicationRequested(Box<CommunicationRequest>),
    /// v1. The time was changed before the first attempt.
    CommunicationRescheduled { scheduled_at: Timestamp, expires_at: Timestamp },
    /// v1. The content was changed before the first attempt. `content` names it in the vault.
    CommunicationContentChanged { content: String },
    /// v1. A rule forbids sending the message. Terminal.
    CommunicationSuppressed { reason: SuppressReason },
    /// v1. The message is held until a time that users can see.
    CommunicationDeferred { until: Timestamp, reason: DeferReason },
    /// v1. A worker claimed the attempt. Only this worker may call the provider until `lease_until`.
    DeliveryAttemptStarted {
        attempt: u16,
        /// The provider configuration used.
        config: String,
        provider: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        idempotency_key: Option<String>,
        lease_until: Timestamp,
        /// The invoices that the message really speaks of, by the ids of their streams.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        about: Vec<String>,
    },
    /// v1. The provider accepted the message. This does not prove delivery.
    DeliveryAttemptAccepted {
        attempt: u16,
        provider_message_id: String,
        /// SMS segments.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        segments: Option<u16>,
        /// Millionths of `currency`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost_micros: Option<i64>,
        /// ISO 4217.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        currency: Option<String>,
        /// Whether the cost comes from a price list and not from the provider.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        cost_is_estimate: bool,
        latency_ms: u32,
    },
    /// v1. The provider definitely refused the message.
    DeliveryAttemptRefused {
        attempt: u16,
        class: RefusalClass,
        /// The provider's own code, or the HTTP status.
        code: String,
        /// Whether the attempt counts against `max_attempts`.
        counted: bool,
        /// When the next attempt is due. `None` if there will be none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_at: Option<Timestamp>,
        /// The next attempt uses another provider that has not refused the message yet.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        failover: bool,
    },
    /// v1. It is unknown whether the provider accepted the message. Evidence is awaited.
    DeliveryAttemptInDoubt { attempt: u16, cause: InDoubtCause, evidence_until: Timestamp },
    /// v1. The doubt about an attempt ended.
    DeliveryAttemptResolved {
        attempt: u16,
        outcome: Resolution,
        by: ResolvedBy,
        /// The provider's id of the message, if a query found it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        provider_message_id: Option<String>,
    },
    /// v1. The provider reported a status.
    DeliveryReported {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        attempt: Option<u16>,
        fact: ReportedStatus,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        provider_event_id: Option<String>,
        /// The provider's time of the status, or ours if the provider gives none.
        provider_at: Timestamp,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<String>,
    },
    /// v1. Cancelled while an attempt was open. No further attempt follows.
    CancellationRequested { by: String, reason: CancelReason },
    /// v1. Cancelled before anything was sent. Terminal.
    CommunicationCancelled { by: String, reason: CancelReason },
    /// v1. The communication failed. Terminal, unless a provider reports that it was sent after all.
    CommunicationFailed { reason: FailReason, maybe_sent: bool },
    /// v1. The communication became a dead letter. Terminal until it is retried.
    CommunicationDeadLettered { reason: DeadLetterReason, maybe_sent: bool },
    /// v1. A dead letter is retried until `expires_at`. Its attempts are counted from zero.
    RetryRequested {
        by: String,
        expires_at: Timestamp,
        /// Earliest time of the next attempt. `None` means at once.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_at: Option<Timestamp>,
    },
    /// v1. The personal data was deleted from the vault.
    CommunicationErased { by: String },
    /// v1. The fallback to the next channel was decided.
    FallbackTriggered { channel: Channel, reason: FallbackTrigger },
    /// v1. The communication by the next channel was requested.
    FallbackRequested { communication: CommunicationId },
    /// v1. The fallback does not take place.
    FallbackAbandoned { reason: FallbackAbandonReason },
}

event_family!(CommunicationEvent {
    CommunicationRequested: 1,
    CommunicationRescheduled: 1,
    CommunicationContentChanged: 1,
    CommunicationSuppressed: 1,
    CommunicationDeferred: 1,
    DeliveryAttemptStarted: 1,
    DeliveryAttemptAccepted: 1,
    DeliveryAttemptRefused: 1,
    DeliveryAttemptInDoubt: 1,
    DeliveryAttemptResolved: 1,
    DeliveryReported: 1,
    CancellationRequested: 1,
    CommunicationCancelled: 1,
    CommunicationFailed: 1,
    CommunicationDeadLettered: 1,
    RetryRequested: 1,
    CommunicationErased: 1,
    FallbackTriggered: 1,
    FallbackRequested: 1,
    FallbackAbandoned: 1,
});
