use serde::{Deserialize, Serialize};

use crate::{Channel, Mode, Role, Timestamp, event_family};

/// An API key, created and revoked. One stream each. The key itself is stored nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum ApiKeyEvent {
    /// v1. A key was created. Requests look it up by `hash`.
    KeyCreated {
        key: String,
        hash: String,
        name: String,
        mode: Mode,
        role: Role,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        channels: Option<Vec<Channel>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
        /// The hashes of the only addresses that it may send to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        team: Option<Vec<String>>,
    },
    /// v1. The key is no longer valid.
    KeyRevoked { key: String },
}

event_family!(ApiKeyEvent { KeyCreated: 1, KeyRevoked: 1 });
