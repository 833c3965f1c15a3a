//! Files to go with messages: announced here, uploaded to an address that is given for it, looked at before they are used.

use std::collections::BTreeMap;

use application::attachments::{self, MAX_BYTES, UploadState, UploadedFile, types};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use domain::ports::{ObjectKey, Principal};
use problem::{Problem, ProblemKind};
use serde_json::{Value, json};

use crate::fields::{BodyReader, missing, show_time};
use crate::{Api, Shared, json, read_body};

/// How long an address to upload to is good, in milliseconds.
const UPLOAD_MS: i64 = 3_600_000;
/// How long an address to download from is good, in milliseconds.
const DOWNLOAD_MS: i64 = 900_000;

fn no_file() -> Problem {
    Problem::new(ProblemKind::NotFound, "No attachment has this id.")
}

impl Api {
    async fn shown_file(&self, caller: &Principal, id: &str, file: &UploadedFile) -> Result<Value, Problem> {
        let UploadedFile { filename, mime, size, sha256, shared, state, reason, .. } = file;
        let mut shown = json!({
            "id": id, "filename": filename, "contentType": mime, "sizeBytes": size, "sha256": sha256, "shared": shared,
            "status": state, "reason": reason, "createdAt": show_time(file.at), "createdBy": file.by,
            "expiresAt": show_time(file.until), "downloadUrl": Value::Null, "downloadUrlExpiresAt": Value::Null,
        });
        if *state == UploadState::Ready {
            let until = self.app.host.now() + DOWNLOAD_MS;
            let place = ObjectKey::upload(&caller.tenant, id);
            shown["downloadUrl"] = json!(self.app.objects.download_from(&place, filename, mime, until).await?);
            shown["downloadUrlExpiresAt"] = json!(show_time(until));
        }
        Ok(shown)
    }

    /// The file and what is known of it.
    pub(crate) async fn remove_file(&self, caller: &Principal, id: &str) -> Result<(), Problem> {
        self.app.objects.delete(&ObjectKey::upload(&caller.tenant, id)).await?;
        Ok(self.app.tenant_ports.documents.delete_document(&attachments::key(&caller.tenant, id)).await?)
    }
}

pub(crate) async fn create(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let filename = fields.required("filename", |f| f.reference("filename", 255));
    let mime = fields.required("contentType", |f| f.one_of("contentType", &types()));
    let size = fields.required("sizeBytes", |f| f.number("sizeBytes", 1..=MAX_BYTES));
    let sha256 = fields.text("sha256", 64).map(|sha256| sha256.to_ascii_lowercase());
    if sha256.as_ref().is_some_and(|sha256| sha256.len() != 64 || !sha256.bytes().all(|b| b.is_ascii_hexdigit())) {
        fields.add_error("sha256", "not_a_checksum", "sha256 is 64 hexadecimal digits.");
    }
    let shared = fields.flag("shared").unwrap_or(false);
    fields.finish()?;
    let (Some(filename), Some(mime), Some(size)) = (filename, mime, size) else {
        return Err(missing());
    };
    let now = api.app.host.now();
    let id = format!("att_{:032x}", api.app.host.random());
    let file = UploadedFile {
        filename,
        mime,
        size,
        sha256,
        shared,
        state: UploadState::AwaitingUpload,
        reason: None,
        mode: caller.mode,
        at: now,
        by: caller.actor_id(),
        until: now + api.app.retention.of(None),
    };
    attachments::save(&*api.app.tenant_ports.documents, &caller.tenant, &id, &file).await?;
    let until = now + UPLOAD_MS;
    let place = ObjectKey::upload(&caller.tenant, &id);
    let upload = api.app.objects.upload_to(&place, &file.mime, size, until).await?;
    let mut shown = api.shown_file(&caller, &id, &file).await?;
    shown["upload"] = json!({
        "method": "PUT",
        "url": upload.url,
        "headers": upload.headers.into_iter().collect::<BTreeMap<_, _>>(),
        "expiresAt": show_time(until),
    });
    Ok(json(StatusCode::CREATED, &shown))
}

pub(crate) async fn get(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let file = attachments::find_checked(&api.app, &caller, &id).await?.ok_or_else(no_file)?;
    Ok(json(StatusCode::OK, &api.shown_file(&caller, &id, &file).await?))
}

/// What was accepted with it says so, and carries it no more.
pub(crate) async fn remove(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    attachments::find_own(&api.app, &caller, &id).await?.ok_or_else(no_file)?;
    api.remove_file(&caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
