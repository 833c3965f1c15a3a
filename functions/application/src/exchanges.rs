//! The requests and responses of attempts that failed, in the vault. They contain what the message says.

use domain::exchange::RecordedExchange;
use domain::ports::{CommunicationKey, DocumentKey, DocumentStore, StoreError};
use events::{CommunicationRequest, RetentionClass, Timestamp};
use futures_util::future::try_join_all;

use crate::document;

/// How long they are kept, in milliseconds.
const TTL_MS: i64 = 30 * 24 * 3_600_000;

fn document_key(key: &CommunicationKey, attempt: u16) -> DocumentKey {
    DocumentKey { tenant: key.tenant.clone(), collection: "exchange", name: format!("{}#{attempt}", key.id) }
}

/// Stores the exchange of an attempt for 30 days. Nothing is stored of a message whose content is kept for a short time.
///
/// # Errors
///
/// [`StoreError`]
pub async fn store(
    documents: &dyn DocumentStore,
    key: &CommunicationKey,
    request: &CommunicationRequest,
    attempt: u16,
    exchange: &RecordedExchange,
    now: Timestamp,
) -> Result<(), StoreError> {
    if request.retention == Some(RetentionClass::Short) {
        return Ok(());
    }
    documents.put_document(&document_key(key, attempt), &document::encode(exchange)?, Some(now + TTL_MS)).await
}

/// The exchanges of the given attempts, in their order. `None` where there is none.
pub(crate) async fn load(
    documents: &dyn DocumentStore,
    key: &CommunicationKey,
    attempts: impl IntoIterator<Item = u16>,
    now: Timestamp,
) -> Result<Vec<Option<RecordedExchange>>, StoreError> {
    let load = async |attempt: u16| {
        let stored = documents.get_document(&document_key(key, attempt), now).await?;
        stored.as_deref().map(document::decode).transpose()
    };
    try_join_all(attempts.into_iter().map(load)).await
}

/// Deletes the exchanges of all attempts of a message.
pub(crate) async fn erase(
    documents: &dyn DocumentStore,
    key: &CommunicationKey,
    attempts: impl IntoIterator<Item = u16>,
) -> Result<(), StoreError> {
    for attempt in attempts {
        documents.delete_document(&document_key(key, attempt)).await?;
    }
    Ok(())
}
