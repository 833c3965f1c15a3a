//! The fields of a row.

use std::ops::Not;

use events::{Channel, CommunicationId, MessageType, Mode, Priority, RecipientType, Source, Target, Timestamp};
use serde::{Deserialize, Serialize};

/// The row of one communication. It contains no personal data, which is read from the vault. What it lacks is not stored,
/// because each kilobyte of a row is paid for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommunicationRow {
    pub id: CommunicationId,
    /// The stream's version up to which it was projected.
    pub position: u64,
    pub channel: Channel,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<Target>,
    pub kind: MessageType,
    /// As the API shows it, like `lifecycle`.
    pub status: String,
    pub lifecycle: String,
    pub priority: Priority,
    pub source: Source,
    pub mode: Mode,
    pub recipient_type: RecipientType,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipient_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resend_of: Option<CommunicationId>,
    /// The communication that this one is the fallback of, and the fallback of this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_of: Option<CommunicationId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fell_back_to: Option<CommunicationId>,
    pub created_by: String,
    /// The vault partition of its personal data. See [`data_subject`].
    pub subject: String,
    pub content: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scheduled_at: Option<Timestamp>,
    pub expires_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_retry_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivered_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opened_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clicked_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_message_id: Option<String>,
    pub attempts: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u8>,
    /// Why it is a dead letter: `retries_exhausted`, `expired`, `poison` or `in_doubt`. `None` if it is not one.
    #[serde(rename = "given_up", default, skip_serializing_if = "Option::is_none")]
    pub dead_letter_outcome: Option<String>,
    /// Why the last attempt, or the communication, did not succeed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segments: Option<u16>,
    /// What the accepted attempts cost, in millionths of `currency`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_micros: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// Whether a part of the cost comes from a price list and not from the provider.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub cost_is_estimate: bool,
    #[serde(default, skip_serializing_if = "Not::not")]
    pub maybe_sent: bool,
    #[serde(default, skip_serializing_if = "Not::not")]
    pub late_evidence: bool,
    #[serde(default, skip_serializing_if = "Not::not")]
    pub complained: bool,
    #[serde(default, skip_serializing_if = "Not::not")]
    pub unsubscribed: bool,
}
