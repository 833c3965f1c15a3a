//! The bodies of documents in the vault.

use domain::ports::StoreError;
use serde::Serialize;

/// The body of a document, as JSON.
///
/// # Errors
///
/// [`StoreError::Unreadable`]: the value has no JSON form. Nothing must be stored in its place.
pub fn encode(document: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(document).map_err(|error| StoreError::Unreadable(error.to_string()))
}
