//! What is known of a file that was uploaded, or is about to be.

use domain::ports::{DocumentKey, DocumentStore, ObjectKey, Principal, StoreError};
use events::{Mode, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::hash::sha256;

/// Bytes of one file, at most.
pub const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// What may be sent: the type as it is announced, and as its content shows it where that has another name. `text`: the
/// content has no signature.
const TYPES: [(&str, &str); 16] = [
    ("application/pdf", ""),
    ("image/png", ""),
    ("image/jpeg", ""),
    ("image/gif", ""),
    ("image/webp", ""),
    ("video/mp4", ""),
    ("audio/mpeg", ""),
    ("audio/ogg", ""),
    ("audio/mp4", "audio/m4a"),
    ("audio/amr", ""),
    ("application/vnd.openxmlformats-officedocument.wordprocessingml.document", ""),
    ("application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", ""),
    ("application/vnd.openxmlformats-officedocument.presentationml.presentation", ""),
    ("text/plain", "text"),
    ("text/csv", "text"),
    ("text/calendar", "text"),
];

/// Types that may be announced.
pub fn types() -> Vec<&'static str> {
    TYPES.iter().map(|(name, _)| *name).collect()
}

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UploadState {
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
    pub state: UploadState,
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
pub async fn save(
    documents: &dyn DocumentStore,
    tenant: &TenantId,
    id: &str,
    file: &UploadedFile,
) -> Result<(), StoreError> {
    let body = serde_json::to_string(file).map_err(|error| StoreError::Unreadable(error.to_string()))?;
    documents.put_document(&key(tenant, id), &body, Some(file.until)).await
}

/// A file of this principal's, as it was announced or last inspected.
///
/// # Errors
///
/// [`StoreError`]
pub async fn find_own(app: &App, principal: &Principal, id: &str) -> Result<Option<UploadedFile>, StoreError> {
    let found = find(&*app.tenant_ports.documents, &principal.tenant, id, app.host.now()).await?;
    Ok(found.filter(|file| file.mode == principal.mode))
}

/// The same, inspected as soon as its content is there. Content that is not what was announced is deleted.
///
/// # Errors
///
/// [`StoreError`]
pub async fn find_checked(app: &App, principal: &Principal, id: &str) -> Result<Option<UploadedFile>, StoreError> {
    let Some(file) = find_own(app, principal, id).await? else { return Ok(None) };
    if file.state != UploadState::AwaitingUpload {
        return Ok(Some(file));
    }
    let object = ObjectKey::upload(&principal.tenant, id);
    let Some(bytes) = app.objects.read(&object, MAX_BYTES as usize).await? else { return Ok(Some(file)) };
    let reason = mismatch(&file, &bytes);
    if reason.is_some() {
        app.objects.delete(&object).await?;
    }
    let state = if reason.is_some() { UploadState::Refused } else { UploadState::Ready };
    let file = UploadedFile { state, reason, sha256: Some(sha256(&bytes)), ..file };
    save(&*app.tenant_ports.documents, &principal.tenant, id, &file).await?;
    Ok(Some(file))
}

/// In what the content is not what was announced.
fn mismatch(file: &UploadedFile, bytes: &[u8]) -> Option<String> {
    if bytes.len() as u64 != file.size {
        Some(format!("The file has {} bytes; {} were declared.", bytes.len(), file.size))
    } else if !is_of_type(&file.mime, bytes) {
        Some(format!("The content is not {}.", file.mime))
    } else if file.sha256.as_ref().is_some_and(|announced| *announced != sha256(bytes)) {
        Some("The checksum is not the declared one.".to_owned())
    } else {
        None
    }
}

/// Whether the bytes are of the type that was announced.
fn is_of_type(mime: &str, bytes: &[u8]) -> bool {
    let Some((_, shown)) = TYPES.iter().find(|(name, _)| *name == mime) else { return false };
    let found = infer::get(bytes).map(|kind| kind.mime_type());
    match *shown {
        "text" => found.is_none() && std::str::from_utf8(bytes).is_ok_and(|text| !text.contains('\0')),
        "" => found == Some(mime),
        other => found == Some(other) || found == Some(mime),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_its_content_says() {
        let pdf = b"%PDF-1.7\n%...";
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
        assert!(
            is_of_type("application/pdf", pdf)
                && is_of_type("image/png", png)
                && is_of_type("text/csv", "a,b\nñ,1".as_bytes())
        );
        let html = b"<!DOCTYPE html><script>alert(1)</script>";
        let exe = b"MZ\x90\0\x03\0\0\0";
        for (mime, bytes) in [
            ("application/pdf", &png[..]),
            ("image/png", pdf),
            ("text/plain", pdf),
            ("text/plain", html),
            ("text/plain", exe),
            ("text/plain", b"\xff\xfe"),
            ("image/jpeg", b""),
            ("text/html", html),
        ] {
            assert!(!is_of_type(mime, bytes), "{mime}");
        }
    }
}
