//! What was said to a provider in one attempt, and what it answered.

use serde::{Deserialize, Serialize};

/// A request to a provider and its response, without secrets. Bodies can be cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedExchange {
    pub method: String,
    pub url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// Empty if the body is not text in one piece.
    pub request: String,
    /// The HTTP status. `None` if there was no answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub response: String,
}
