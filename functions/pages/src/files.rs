//! Uploaded files that a message links to.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use domain::ports::ObjectKey;
use problem::{Problem, ProblemKind};

use crate::Shared;

/// How long the address that a link redirects to is valid, in milliseconds.
const DOWNLOAD_TTL_MS: i64 = 300_000;

/// Redirects to the file in the object store.
pub(crate) async fn redirect(State(pages): Shared, uri: Uri) -> Result<Response, Problem> {
    let invalid = || Problem::new(ProblemKind::NotFound, "This link is incomplete or has expired.");
    let token = uri.path().strip_prefix("/files/").unwrap_or_default();
    let now = pages.host.now();
    let (tenant, id) = application::links::verify_file_token(&pages.link_keys, token, now).ok_or_else(invalid)?;
    let file = application::attachments::find(&*pages.documents, &tenant, &id, now).await?;
    let deleted = || Problem::new(ProblemKind::NotFound, "This file no longer exists.");
    let file = file.ok_or_else(deleted)?;
    let object = ObjectKey::upload(&tenant, &id);
    let url = pages.objects.download_from(&object, &file.filename, &file.mime, now + DOWNLOAD_TTL_MS).await?;
    let location = HeaderValue::from_str(&url).map_err(|_| deleted())?;
    Ok((StatusCode::FOUND, [(header::LOCATION, location)]).into_response())
}
