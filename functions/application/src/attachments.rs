//! Use cases of attachments: a file is announced, uploaded to an address that is given for it, and checked before it is
//! used.

use domain::access::{Permission, Reach};
use domain::ports::{DocumentKey, DocumentStore, ObjectKey, PresignedUpload, StoreError};
use events::{Mode, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::caller::{Caller, Forbidden};
use crate::document;
use crate::hash::sha256;

/// How long a file can be uploaded, in milliseconds.
const UPLOAD_MS: i64 = 3_600_000;
/// How long a file can be downloaded from the same address, in milliseconds.
const DOWNLOAD_MS: i64 = 900_000;
/// Maximum size of a file, in bytes.
pub const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// The types that can be sent: as they are announced, and as they are recognised by their content if that has another
/// name. The content of `text` has no signature.
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

/// The types that can be announced.
pub fn types() -> Vec<&'static str> {
    TYPES.iter().map(|(name, _)| *name).collect()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UploadState {
    /// The content was not uploaded yet, or it was not checked yet.
    AwaitingUpload,
    /// Its content agrees with the announcement.
    Ready,
    /// Its content differed from the announcement and was deleted.
    Refused,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UploadedFile {
    pub filename: String,
    pub mime: String,
    pub size: u64,
    /// As announced, and later as computed from the content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// A shared file is not personal: erasing a data subject does not delete it.
    pub shared: bool,
    pub state: UploadState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub mode: Mode,
    pub at: Timestamp,
    pub by: String,
    pub until: Timestamp,
}

fn key(tenant: &TenantId, id: &str) -> DocumentKey {
    DocumentKey { tenant: tenant.clone(), collection: "attachment", name: id.to_owned() }
}

/// Returns `None` if there is no such file, or if it has expired.
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
    document::decode(&body).map(Some)
}

async fn save(
    documents: &dyn DocumentStore,
    tenant: &TenantId,
    id: &str,
    file: &UploadedFile,
) -> Result<(), StoreError> {
    let body = document::encode(file)?;
    documents.put_document(&key(tenant, id), &body, Some(file.until)).await
}

/// Stores a file that a process made. Repeating it with the same bytes changes nothing.
///
/// # Errors
///
/// [`StoreError`]
pub(crate) async fn store(
    app: &App,
    caller: &Caller,
    id: &str,
    (filename, mime): (&str, &str),
    bytes: Vec<u8>,
) -> Result<(), StoreError> {
    let (tenant, now) = (&caller.principal.tenant, app.host.now());
    let file = UploadedFile {
        filename: filename.to_owned(),
        mime: mime.to_owned(),
        size: bytes.len() as u64,
        sha256: Some(sha256(&bytes)),
        shared: false,
        state: UploadState::Ready,
        reason: None,
        mode: caller.principal.mode,
        at: now,
        by: caller.principal.actor_id(),
        until: now + app.retention.of(None),
    };
    app.objects.write(&ObjectKey::upload(tenant, id), bytes, mime).await?;
    save(&*app.tenant_ports.documents, tenant, id, &file).await
}

/// A file of the caller's mode, as it was announced or last inspected. A restricted caller has the files that it
/// announced itself, and the shared ones.
///
/// # Errors
///
/// [`StoreError`]
async fn find_own(app: &App, caller: &Caller, id: &str) -> Result<Option<UploadedFile>, StoreError> {
    let principal = &caller.principal;
    let found = find(&*app.tenant_ports.documents, &principal.tenant, id, app.host.now()).await?;
    Ok(found.filter(|file| file.mode == principal.mode && (file.shared || is_own(caller, file))))
}

/// Whether the caller may do with the file what its owner may. A schedule acts for the caller who gave its message.
fn is_own(caller: &Caller, file: &UploadedFile) -> bool {
    let owner = file.by.split_once(':').map_or(file.by.as_str(), |(_, name)| name);
    caller.is_unrestricted() || owner == caller.principal.actor
}

/// The same file, inspected if its content was uploaded. Content that differs from the announcement is deleted.
///
/// # Errors
///
/// [`StoreError`]
pub async fn find_checked(app: &App, caller: &Caller, id: &str) -> Result<Option<UploadedFile>, StoreError> {
    let principal = &caller.principal;
    let Some(file) = find_own(app, caller, id).await? else { return Ok(None) };
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

/// Why a use case of attachments had no effect.
#[derive(Debug, thiserror::Error)]
pub enum AttachmentError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("there is no such attachment")]
    NotFound,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A file to be uploaded.
#[derive(Debug, Clone)]
pub struct NewAttachment {
    pub filename: String,
    /// One of [`types`].
    pub mime: String,
    /// In bytes, at most [`MAX_BYTES`].
    pub size: u64,
    /// 64 hexadecimal digits in lower case.
    pub sha256: Option<String>,
    pub shared: bool,
}

/// A file, and where it can be downloaded if it is ready.
#[derive(Debug, Clone)]
pub struct Attachment {
    pub id: String,
    pub file: UploadedFile,
    pub download: Option<(String, Timestamp)>,
}

/// Announces a file. Returns where it is uploaded, and until when.
///
/// # Errors
///
/// [`AttachmentError`]
pub async fn create(
    app: &App,
    caller: &Caller,
    NewAttachment { filename, mime, size, sha256, shared }: NewAttachment,
) -> Result<(Attachment, PresignedUpload, Timestamp), AttachmentError> {
    caller.authorise(Permission::Send, Reach::Scoped)?;
    let (tenant, now) = (&caller.principal.tenant, app.host.now());
    let id = format!("att_{:032x}", app.host.random());
    let file = UploadedFile {
        filename,
        mime,
        size,
        sha256,
        shared,
        state: UploadState::AwaitingUpload,
        reason: None,
        mode: caller.principal.mode,
        at: now,
        by: caller.principal.actor_id(),
        until: now + app.retention.of(None),
    };
    save(&*app.tenant_ports.documents, tenant, &id, &file).await?;
    let until = now + UPLOAD_MS;
    let address = app.objects.upload_to(&ObjectKey::upload(tenant, &id), &file.mime, size, until).await?;
    Ok((Attachment { id, file, download: None }, address, until))
}

/// A file, checked if its content has been uploaded.
///
/// # Errors
///
/// [`AttachmentError::NotFound`]
pub async fn get(app: &App, caller: &Caller, id: &str) -> Result<Attachment, AttachmentError> {
    caller.authorise(Permission::View, Reach::Scoped)?;
    let file = find_checked(app, caller, id).await?.ok_or(AttachmentError::NotFound)?;
    let download = match file.state {
        UploadState::Ready => {
            let (object, until) = (ObjectKey::upload(&caller.principal.tenant, id), app.host.now() + DOWNLOAD_MS);
            Some((app.objects.download_from(&object, &file.filename, &file.mime, until).await?, until))
        }
        UploadState::AwaitingUpload | UploadState::Refused => None,
    };
    Ok(Attachment { id: id.to_owned(), file, download })
}

/// Deletes a file. Messages that were accepted with it are sent without it, and say so.
///
/// # Errors
///
/// [`AttachmentError::NotFound`]
pub async fn delete(app: &App, caller: &Caller, id: &str) -> Result<(), AttachmentError> {
    caller.authorise(Permission::Send, Reach::Scoped)?;
    let file = find_own(app, caller, id).await?;
    file.filter(|file| is_own(caller, file)).ok_or(AttachmentError::NotFound)?;
    Ok(erase(app, &caller.principal.tenant, id).await?)
}

/// Deletes a file of an erased person, unless it is shared.
pub(crate) async fn erase_unshared(app: &App, tenant: &TenantId, id: &str) -> Result<(), StoreError> {
    let file = find(&*app.tenant_ports.documents, tenant, id, app.host.now()).await?;
    if file.is_some_and(|file| !file.shared) { erase(app, tenant, id).await } else { Ok(()) }
}

/// Deletes the content of a file, and what is known about it. Repeating it changes nothing.
///
/// # Errors
///
/// [`StoreError`]
pub(crate) async fn erase(app: &App, tenant: &TenantId, id: &str) -> Result<(), StoreError> {
    app.objects.delete(&ObjectKey::upload(tenant, id)).await?;
    app.tenant_ports.documents.delete_document(&key(tenant, id)).await
}

/// How the content differs from what was announced.
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
