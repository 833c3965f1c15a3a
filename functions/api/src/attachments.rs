//! Attachments over HTTP.

use std::collections::BTreeMap;

use application::Caller;
use application::attachments::{self, Attachment, MAX_BYTES, NewAttachment, UploadedFile, types};
use application::messages::NOT_A_FILE_NAME;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use domain::file_name;
use problem::Problem;
use serde_json::{Value, json};

use crate::fields::{BodyReader, missing, show_time};
use crate::{Shared, json, read_body};

fn present(Attachment { id, file, download }: &Attachment) -> Value {
    let UploadedFile { filename, mime, size, sha256, shared, state, reason, .. } = file;
    json!({
        "id": id, "filename": filename, "contentType": mime, "sizeBytes": size, "sha256": sha256, "shared": shared,
        "status": state, "reason": reason, "createdAt": show_time(file.at), "createdBy": file.by,
        "expiresAt": show_time(file.until),
        "downloadUrl": download.as_ref().map(|(url, _)| url),
        "downloadUrlExpiresAt": download.as_ref().map(|(_, until)| show_time(*until)),
    })
}

pub(crate) async fn create(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let filename = fields.required("filename", |f| f.text("filename", 255));
    let mime = fields.required("contentType", |f| f.one_of("contentType", &types()));
    let filename = filename.and_then(|text| match file_name::last_segment(&text) {
        None => {
            fields.add_error("filename", "not_a_file_name", NOT_A_FILE_NAME);
            None
        }
        Some(name) if mime.as_ref().is_some_and(|mime| !file_name::fits(name, mime)) => {
            let ends = file_name::extensions(mime.as_deref().unwrap_or_default()).join(", .");
            fields.add_error("filename", "not_the_type", format!("The name of a file of this type ends with .{ends}."));
            None
        }
        Some(name) => Some(name.to_owned()),
    });
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
    let new = NewAttachment { filename, mime, size, sha256, shared };
    let (attachment, upload, until) = attachments::create(&api.app, &caller, new).await?;
    let mut shown = present(&attachment);
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
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    Ok(json(StatusCode::OK, &present(&attachments::get(&api.app, &caller, &id).await?)))
}

pub(crate) async fn remove(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    attachments::delete(&api.app, &caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
