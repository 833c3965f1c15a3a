//! The message of a schedule, in the vault.

use domain::ports::{DocumentKey, StoreError};
use domain::schedule::Schedule;
use events::TenantId;
use serde::{Deserialize, Serialize};

use crate::directory::TenantPorts;
use crate::messages::NewMessage;

/// The message of a schedule as it is stored in the vault: as the caller wrote it, and as it is sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredMessage {
    /// The JSON of the caller.
    pub body: String,
    pub message: NewMessage,
}

pub(super) fn message_key(tenant: &TenantId, id: &str, content: &str) -> DocumentKey {
    DocumentKey { tenant: tenant.clone(), collection: "schedule", name: format!("{id}#{content}") }
}

/// The message of a schedule. Returns `None` once it is erased.
///
/// # Errors
///
/// [`StoreError`]
pub async fn message_of(
    tenant_ports: &TenantPorts,
    tenant: &TenantId,
    schedule: &Schedule,
) -> Result<Option<StoredMessage>, StoreError> {
    let key = message_key(tenant, &schedule.id, &schedule.message.content);
    let stored = tenant_ports.documents.get_document(&key, tenant_ports.host.now()).await?;
    let read = |body: String| serde_json::from_str(&body).map_err(|error| StoreError::Unreadable(error.to_string()));
    stored.map(read).transpose()
}
