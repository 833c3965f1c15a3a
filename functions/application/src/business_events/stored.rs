//! The data of business events, in the vault.

use std::collections::BTreeSet;

use domain::ports::{DocumentKey, DocumentStore, StoreError};
use events::{TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::document;

/// How long the data of an event is kept, in milliseconds.
const RETENTION_MS: i64 = 30 * 24 * 3_600_000;
/// Number of events that are read together.
const PAGE: usize = 100;
const COLLECTION: &str = "business-event";
/// The partition of events that are about no person, or about several.
const NOBODY: &str = "-";

/// An event as its source sent it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredEvent {
    /// The type that the source gave.
    #[serde(rename = "type")]
    pub kind: String,
    /// The version that the source gave, or 1.
    pub version: u16,
    pub data: Value,
}

/// The name of an event's data. It begins with the data subject, so that an erasure finds it, and ends with the hash of
/// the body, so that two bodies with the same id do not overwrite each other.
pub(super) fn content_name(subject: Option<&str>, id: &str, body_hash: &str) -> String {
    format!("{}#{id}#{body_hash}", subject.unwrap_or(NOBODY))
}

fn key(tenant: &TenantId, content: &str) -> DocumentKey {
    DocumentKey { tenant: tenant.clone(), collection: COLLECTION, name: content.to_owned() }
}

pub(super) async fn put(
    documents: &dyn DocumentStore,
    tenant: &TenantId,
    content: &str,
    stored: &StoredEvent,
    now: Timestamp,
) -> Result<(), StoreError> {
    let body = document::encode(stored)?;
    documents.put_document(&key(tenant, content), &body, Some(now + RETENTION_MS)).await
}

/// Returns `None` once it is erased or expired.
pub(super) async fn get(
    documents: &dyn DocumentStore,
    tenant: &TenantId,
    content: &str,
    now: Timestamp,
) -> Result<Option<StoredEvent>, StoreError> {
    let stored = documents.get_document(&key(tenant, content), now).await?;
    stored.as_deref().map(document::decode).transpose()
}

pub(super) async fn delete(documents: &dyn DocumentStore, tenant: &TenantId, content: &str) -> Result<(), StoreError> {
    documents.delete_document(&key(tenant, content)).await
}

/// The data of all events about one data subject: the names, and the ids of the events.
pub(super) async fn of_subject(
    documents: &dyn DocumentStore,
    tenant: &TenantId,
    subject: &str,
    now: Timestamp,
) -> Result<BTreeSet<(String, String)>, StoreError> {
    let prefix = format!("{subject}#");
    // `$` is the character after `#`.
    let (mut found, mut before) = (BTreeSet::new(), format!("{subject}$"));
    loop {
        let page = documents.list_documents(tenant, COLLECTION, Some(&before), PAGE, now).await?;
        let is_last = page.len() < PAGE;
        for (name, _) in page {
            let Some((id, _)) = name.strip_prefix(&prefix).and_then(|rest| rest.split_once('#')) else {
                return Ok(found);
            };
            found.insert((name.clone(), id.to_owned()));
            before.clone_from(&name);
        }
        if is_last {
            return Ok(found);
        }
    }
}
