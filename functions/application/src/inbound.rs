//! The content of incoming messages. Their streams hold no personal data.

use domain::ports::{DocumentKey, DocumentStore, StoreError};
use events::{TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::document;

/// How long the content is kept, in milliseconds.
const RETENTION_MS: i64 = 400 * 24 * 3_600_000;
/// Number of messages that are read together.
const PAGE: usize = 100;
const COLLECTION: &str = "inbound";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboundContent {
    pub from: String,
    pub text: Option<String>,
}

/// Stores the content of an incoming message under the id of its stream.
///
/// # Errors
///
/// [`StoreError`]
pub async fn save(
    documents: &dyn DocumentStore,
    tenant: &TenantId,
    id: &str,
    content: &InboundContent,
    now: Timestamp,
) -> Result<(), StoreError> {
    let body = document::encode(content)?;
    let key = DocumentKey { tenant: tenant.clone(), collection: COLLECTION, name: id.to_owned() };
    documents.put_document(&key, &body, Some(now + RETENTION_MS)).await
}

/// The content of all messages from an address.
///
/// # Errors
///
/// [`StoreError`]
pub async fn list_from(
    documents: &dyn DocumentStore,
    tenant: &TenantId,
    address: &str,
    now: Timestamp,
) -> Result<Vec<(DocumentKey, InboundContent)>, StoreError> {
    let (mut found, mut before) = (Vec::new(), None::<String>);
    loop {
        let page = documents.list_documents(tenant, COLLECTION, before.as_deref(), PAGE, now).await?;
        let is_last = page.len() < PAGE;
        before = page.last().map(|(name, _)| name.clone());
        for (name, body) in page {
            let content: InboundContent = document::decode(&body)?;
            if content.from == address {
                found.push((DocumentKey { tenant: tenant.clone(), collection: COLLECTION, name }, content));
            }
        }
        if is_last {
            return Ok(found);
        }
    }
}
