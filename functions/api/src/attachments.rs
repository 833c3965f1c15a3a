//! Files to go with messages: announced here, uploaded to an address that is given for it, looked at before they are used.

use std::collections::BTreeMap;

use application::files::{self, State as Stage, UploadedFile};
use application::problem::{Kind, Problem};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use domain::ports::{ObjectKey, Principal};
use serde_json::{Value, json};

use crate::fields::{Fields, missing, show_time};
use crate::{Api, Shared, json, read_body};

/// Bytes of one file, at most.
const MAX_BYTES: u64 = 16 * 1024 * 1024;
/// How long an address to upload to is good, in milliseconds.
const UPLOAD_MS: i64 = 3_600_000;
/// How long an address to download from is good, in milliseconds.
const DOWNLOAD_MS: i64 = 900_000;

/// What may be sent: the type as it is said, and as its content shows it where that has another name. Text shows nothing.
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
pub(crate) fn types() -> Vec<&'static str> {
    TYPES.iter().map(|(name, _)| *name).collect()
}

fn no_file() -> Problem {
    Problem::new(Kind::NotFound, "There is no such attachment.")
}

/// Whether the bytes are of the type that was announced.
fn is_of(mime: &str, bytes: &[u8]) -> bool {
    let Some((_, shown)) = TYPES.iter().find(|(name, _)| *name == mime) else { return false };
    let found = infer::get(bytes).map(|kind| kind.mime_type());
    match *shown {
        "text" => found.is_none() && std::str::from_utf8(bytes).is_ok_and(|text| !text.contains('\0')),
        "" => found == Some(mime),
        other => found == Some(other) || found == Some(mime),
    }
}

impl Api {
    /// What is known of one of this caller's.
    async fn announced(&self, caller: &Principal, id: &str) -> Result<Option<UploadedFile>, Problem> {
        let found = files::find(&*self.own.documents, &caller.tenant, id, self.host.now()).await?;
        Ok(found.filter(|file| file.mode == caller.mode))
    }

    /// The same, looked at as soon as something is there.
    async fn uploaded_one(&self, caller: &Principal, id: &str) -> Result<Option<UploadedFile>, Problem> {
        let Some(file) = self.announced(caller, id).await? else { return Ok(None) };
        if file.state != Stage::AwaitingUpload {
            return Ok(Some(file));
        }
        let place = ObjectKey::upload(&caller.tenant, id);
        let Some(bytes) = self.objects.read(&place, MAX_BYTES as usize).await? else { return Ok(Some(file)) };
        let sha256 = application::hash::sha256(&bytes);
        let wrong = if bytes.len() as u64 != file.size {
            Some(format!("It has {} bytes; {} were announced.", bytes.len(), file.size))
        } else if !is_of(&file.mime, &bytes) {
            Some(format!("Its content is not {}.", file.mime))
        } else if file.sha256.as_ref().is_some_and(|announced| *announced != sha256) {
            Some("Its checksum is not the one that was announced.".to_owned())
        } else {
            None
        };
        if wrong.is_some() {
            self.objects.delete(&place).await?;
        }
        let state = if wrong.is_some() { Stage::Refused } else { Stage::Ready };
        let file = UploadedFile { state, reason: wrong, sha256: Some(sha256), ..file };
        files::keep(&*self.own.documents, &caller.tenant, id, &file).await?;
        Ok(Some(file))
    }

    /// Those that a message names.
    pub(crate) async fn uploaded(
        &self,
        caller: &Principal,
        fields: &Fields,
    ) -> Result<BTreeMap<String, UploadedFile>, Problem> {
        let mut found = BTreeMap::new();
        let given = fields.raw("attachments").and_then(Value::as_array).into_iter().flatten().take(10);
        for id in given.filter_map(|item| item.get("attachmentId")?.as_str()) {
            if !found.contains_key(id)
                && let Some(file) = self.uploaded_one(caller, id).await?
            {
                found.insert(id.to_owned(), file);
            }
        }
        Ok(found)
    }

    async fn shown_file(&self, caller: &Principal, id: &str, file: &UploadedFile) -> Result<Value, Problem> {
        let UploadedFile { filename, mime, size, sha256, shared, state, reason, .. } = file;
        let mut shown = json!({
            "id": id, "filename": filename, "contentType": mime, "sizeBytes": size, "sha256": sha256, "shared": shared,
            "status": state, "reason": reason, "createdAt": show_time(file.at), "createdBy": file.by,
            "expiresAt": show_time(file.until), "downloadUrl": Value::Null, "downloadUrlExpiresAt": Value::Null,
        });
        if *state == Stage::Ready {
            let until = self.host.now() + DOWNLOAD_MS;
            let place = ObjectKey::upload(&caller.tenant, id);
            shown["downloadUrl"] = json!(self.objects.download_from(&place, filename, mime, until).await?);
            shown["downloadUrlExpiresAt"] = json!(show_time(until));
        }
        Ok(shown)
    }

    /// The file and what is known of it.
    pub(crate) async fn remove_file(&self, caller: &Principal, id: &str) -> Result<(), Problem> {
        self.objects.delete(&ObjectKey::upload(&caller.tenant, id)).await?;
        Ok(self.own.documents.remove_document(&files::key(&caller.tenant, id)).await?)
    }
}

pub(crate) async fn create(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = Fields::parse(&read_body(body).await?)?;
    let filename = fields.required("filename", |f| f.reference("filename", 255));
    let mime = fields.required("contentType", |f| f.one_of("contentType", &types()));
    let size = fields.required("sizeBytes", |f| f.number("sizeBytes", 1..=MAX_BYTES));
    let sha256 = fields.text("sha256", 64).map(|sha256| sha256.to_ascii_lowercase());
    if sha256.as_ref().is_some_and(|sha256| sha256.len() != 64 || !sha256.bytes().all(|b| b.is_ascii_hexdigit())) {
        fields.wrong("sha256", "not_a_checksum", "sha256 is 64 hexadecimal digits.");
    }
    let shared = fields.flag("shared").unwrap_or(false);
    fields.finish()?;
    let (Some(filename), Some(mime), Some(size)) = (filename, mime, size) else {
        return Err(missing());
    };
    let now = api.host.now();
    let id = format!("att_{:032x}", api.host.random());
    let file = UploadedFile {
        filename,
        mime,
        size,
        sha256,
        shared,
        state: Stage::AwaitingUpload,
        reason: None,
        mode: caller.mode,
        at: now,
        by: caller.name(),
        until: now + api.retention.of(None),
    };
    files::keep(&*api.own.documents, &caller.tenant, &id, &file).await?;
    let until = now + UPLOAD_MS;
    let place = ObjectKey::upload(&caller.tenant, &id);
    let upload = api.objects.upload_to(&place, &file.mime, size, until).await?;
    let mut shown = api.shown_file(&caller, &id, &file).await?;
    shown["upload"] = json!({
        "method": "PUT",
        "url": upload.url,
        "headers": upload.headers.into_iter().collect::<BTreeMap<_, _>>(),
        "expiresAt": show_time(until),
    });
    Ok(json(StatusCode::CREATED, &shown))
}

pub(crate) async fn one(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let file = api.uploaded_one(&caller, &id).await?.ok_or_else(no_file)?;
    Ok(json(StatusCode::OK, &api.shown_file(&caller, &id, &file).await?))
}

/// What was accepted with it says so, and carries it no more.
pub(crate) async fn remove(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    api.announced(&caller, &id).await?.ok_or_else(no_file)?;
    api.remove_file(&caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_its_content_says() {
        let pdf = b"%PDF-1.7\n%...";
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR";
        assert!(is_of("application/pdf", pdf) && is_of("image/png", png) && is_of("text/csv", "a,b\nñ,1".as_bytes()));
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
            assert!(!is_of(mime, bytes), "{mime}");
        }
    }
}
