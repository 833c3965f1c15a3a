//! What is known of a file that was uploaded, or is about to be.

use domain::ports::{DocumentKey, DocumentStore, StoreError};
use events::{Mode, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Nothing is there yet, or it has not been looked at.
    AwaitingUpload,
    /// It is what it was said to be.
    Ready,
    /// It is not, and is gone.
    Refused,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UploadedFile {
    pub filename: String,
    pub mime: String,
    pub size: u64,
    /// Of its content: as announced, then as found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// It is about nobody in particular: erasing a person leaves it.
    pub shared: bool,
    pub state: State,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub mode: Mode,
    pub at: Timestamp,
    pub by: String,
    pub until: Timestamp,
}

pub fn key(tenant: &TenantId, id: &str) -> DocumentKey {
    DocumentKey { tenant: tenant.clone(), collection: "attachment", name: id.to_owned() }
}

/// None: there is none, or its time is over.
///
/// # Errors
///
/// [`StoreError`]
pub async fn find(
    documents: &dyn DocumentStore,
    tenant: &TenantId,
    id: &str,
    now: Timestamp,
) -> Result<Option<UploadedFile>, StoreError> {
    let Some(body) = documents.get_document(&key(tenant, id), now).await? else { return Ok(None) };
    serde_json::from_str(&body).map(Some).map_err(|error| StoreError::Unreadable(error.to_string()))
}

/// # Errors
///
/// [`StoreError`]
pub async fn keep(
    documents: &dyn DocumentStore,
    tenant: &TenantId,
    id: &str,
    file: &UploadedFile,
) -> Result<(), StoreError> {
    let body = serde_json::to_string(file).map_err(|error| StoreError::Unreadable(error.to_string()))?;
    documents.put_document(&key(tenant, id), &body, Some(file.until)).await
}
