//! The message of a schedule, in the vault.

use std::collections::BTreeSet;

use domain::ports::{DocumentKey, StoreError};
use domain::schedule::Schedule;
use events::{ScheduledMessage, Target, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::directory::{TenantPorts, delete_documents};
use crate::document;
use crate::hash::hash_of;
use crate::messages::{AttachmentRef, NewMessage};

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
        hash_of(&self.body)
    }
}

/// The part of a [`StoredMessage`] that an erasure needs, even where this version cannot read the rest.
#[derive(Debug, Deserialize)]
pub(super) struct ErasableMessage {
    #[serde(default)]
    pub subjects: BTreeSet<String>,
    #[serde(default)]
    message: StoredAttachments,
}

#[derive(Debug, Default, Deserialize)]
struct StoredAttachments {
    #[serde(default)]
    attachments: Vec<AttachmentRef>,
}

impl ErasableMessage {
    /// The ids of uploaded files.
    pub fn uploaded(&self) -> impl Iterator<Item = &str> {
        self.message.attachments.iter().filter_map(|attachment| attachment.attachment_id.as_deref())
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
    stored.as_deref().map(document::decode).transpose()
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
    let now = tenant_ports.host.now();
    delete_documents(&*tenant_ports.documents, (tenant, "schedule"), id, now).await
}

/// Everywhere that the message may go. Empty if its event does not say.
pub(super) fn targets(ScheduledMessage { channel, contact_hash, fallback, .. }: &ScheduledMessage) -> Vec<Target> {
    let Some((channel, contact_hash)) = channel.zip(contact_hash.clone()) else { return Vec::new() };
    [Target { channel, contact_hash }].into_iter().chain(fallback.iter().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Messages that were stored by an earlier version. Never change these texts.
    const STORED: [&str; 2] = [
        r#"{"body":"{}","message":{"channel":{"Fixed":"email"},"kind":"invoice","to":"ada@example.com","content":
            {"subject":"s","text":"t"},"attachments":[{"attachment_id":"att_1"}],"fingerprint":"f"},
            "subjects":["customer:7"]}"#,
        r#"{"body":"{}","message":{"channel":"Auto","content":{"template":"tpl_invoice_email","variables":{"a":1}},
            "fallback":[{"channel":{"Fixed":"sms"},"content":{}}]}}"#,
    ];

    #[test]
    fn messages_of_earlier_versions_can_be_read_and_erased() {
        let read = |text: &str| serde_json::from_str::<StoredMessage>(text).expect("a message");
        assert_eq!(read(STORED[0]).message.to.as_deref(), Some("ada@example.com"));
        assert_eq!(read(STORED[1]).message.fallback.len(), 1);
        let newer = STORED[0].replace("\"kind\":\"invoice\"", "\"kind\":\"a kind of a newer version\"");
        assert!(serde_json::from_str::<StoredMessage>(&newer).is_err());
        let erasable: ErasableMessage = serde_json::from_str(&newer).expect("the part that an erasure needs");
        assert!(erasable.subjects.contains("customer:7"));
        assert_eq!(erasable.uploaded().collect::<Vec<_>>(), ["att_1"]);
    }
}
