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

/// Deletes the message of a schedule from the vault, and those that it had before.
pub(super) async fn delete_messages(tenant_ports: &TenantPorts, tenant: &TenantId, id: &str) -> Result<(), StoreError> {
    let (prefix, now) = (format!("{id}#"), tenant_ports.host.now());
    // `$` is the character after `#`.
    let mut before = format!("{id}$");
    loop {
        let page = tenant_ports.documents.list_documents(tenant, "schedule", Some(&before), 100, now).await?;
        let mine: Vec<String> =
            page.into_iter().map(|(name, _)| name).take_while(|name| name.starts_with(&prefix)).collect();
        let Some(last) = mine.last() else { return Ok(()) };
        before.clone_from(last);
        for name in mine {
            let key = DocumentKey { tenant: tenant.clone(), collection: "schedule", name };
            tenant_ports.documents.delete_document(&key).await?;
        }
    }
}
