//! The message of a schedule, in the vault.

use std::collections::BTreeSet;

use domain::ports::{DocumentKey, StoreError};
use domain::schedule::Schedule;
use events::{TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::directory::TenantPorts;
use crate::document;
use crate::hash::hash_of;
use crate::messages::NewMessage;

/// The message of a schedule as it is stored in the vault: as the caller wrote it, and as it is sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredMessage {
    /// The JSON of the caller.
    pub body: String,
    pub message: NewMessage,
    /// The data subjects that it concerns, by their names: `customer:7`, and `contact:` with the hash of each address.
    #[serde(default)]
    pub subjects: BTreeSet<String>,
}

impl StoredMessage {
    pub fn new(body: String, message: NewMessage) -> StoredMessage {
        StoredMessage { body, message, subjects: BTreeSet::new() }
    }

    /// A hash of what the caller gave.
    pub(super) fn hash(&self) -> Result<String, StoreError> {
        hash_of(&(&self.body, &self.message))
    }
}

/// The name of the content of a message: its hash, and a part that no other request has. So a request can delete what
/// it stored, or replaced, without a look at others.
pub(super) fn content_name(hash: &str, random: u128) -> String {
    format!("{hash}.{:08x}", random as u32)
}

/// Whether a content has this hash.
pub(super) fn has_hash(content: &str, hash: &str) -> bool {
    content.split('.').next() == Some(hash)
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

/// Keeps the message of a schedule that has no further occurrence until this time.
pub(super) async fn expire_message(
    tenant_ports: &TenantPorts,
    tenant: &TenantId,
    schedule: &Schedule,
    stored: &StoredMessage,
    until: Timestamp,
) -> Result<(), StoreError> {
    let body = document::encode(stored)?;
    let key = message_key(tenant, &schedule.id, &schedule.message.content);
    tenant_ports.documents.put_document(&key, &body, Some(until)).await
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
