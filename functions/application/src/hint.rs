//! A queue message's body: `{"tenant": …, "id": …}`.

use domain::ports::StreamKey;
use serde::Deserialize;

/// One message of a batch, whatever queue it came from.
#[derive(Debug, Clone)]
pub struct Message {
    pub id: String,
    pub body: String,
}

/// The stream that a message names.
///
/// # Errors
///
/// `serde_json::Error`: not a hint of ours.
pub fn parse(body: &str) -> Result<StreamKey, serde_json::Error> {
    #[derive(Deserialize)]
    struct Body {
        tenant: events::TenantId,
        id: events::CommunicationId,
    }
    serde_json::from_str(body).map(|Body { tenant, id }| StreamKey { tenant, id })
}
