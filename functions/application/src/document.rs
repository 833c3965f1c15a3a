//! The bodies of documents in the vault.

use domain::ports::{ClockAndRng, DocumentKey, DocumentStore, StoreError};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Times that a document is read and replaced again because another request changed it.
const MAX_UPDATE_RETRIES: usize = 5;

/// The body of a document, as JSON.
///
/// # Errors
///
/// [`StoreError::Unreadable`]: the value has no JSON form. Nothing must be stored in its place.
pub fn encode(document: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(document).map_err(|error| StoreError::Unreadable(error.to_string()))
}

/// The value of a body that [`encode`] wrote.
///
/// # Errors
///
/// [`StoreError::Unreadable`]
pub fn decode<T: DeserializeOwned>(body: &str) -> Result<T, StoreError> {
    serde_json::from_str(body).map_err(|error| StoreError::Unreadable(error.to_string()))
}

/// Changes a document that does not expire. Concurrent changes of others are kept. One that does not exist is empty.
///
/// # Errors
///
/// [`StoreError`]
pub(crate) async fn update<T: Serialize + DeserializeOwned + Default>(
    documents: &dyn DocumentStore,
    host: &dyn ClockAndRng,
    key: &DocumentKey,
    change: impl Fn(&mut T),
) -> Result<(), StoreError> {
    for _ in 0..MAX_UPDATE_RETRIES {
        let now = host.now();
        let stored = documents.get_document(key, now).await?;
        let mut value = stored.as_deref().map_or_else(|| Ok(T::default()), decode)?;
        change(&mut value);
        if documents.replace_document(key, stored.as_deref(), &encode(&value)?, None, now).await? {
            return Ok(());
        }
    }
    Err(StoreError::Unavailable(format!("others changed the {} at the same time", key.collection)))
}
