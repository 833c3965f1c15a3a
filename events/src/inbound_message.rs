use serde::{Deserialize, Serialize};

use crate::{Channel, Timestamp, event_family};

/// A message that a person sent to the tenant. Each message has its own stream. Its text and sender are in the vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum InboundMessageEvent {
    /// v1. A provider delivered a message to us.
    MessageReceived {
        channel: Channel,
        config: String,
        provider: String,
        provider_message_id: String,
        /// Keyed hash of the sender's address.
        contact_hash: String,
        /// `text`, `image`, `video`, `audio`, `file`, `location`, `button`, `other`.
        kind: String,
        /// `stop`, `start` or `help`, if the text is a consent keyword.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keyword: Option<String>,
        /// The time of sending, by the provider's clock.
        sent_at: Timestamp,
        /// Names the content in the vault.
        content: String,
    },
}

event_family!(InboundMessageEvent { MessageReceived: 1 });
