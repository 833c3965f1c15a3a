//! Uploaded files, for people who have a link to one in a message.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use domain::ports::ObjectKey;
use problem::{Problem, ProblemKind};

use crate::Shared;

/// How long the address is good that a link leads to, in milliseconds.
const READ_MS: i64 = 300_000;

/// On to where the file lies.
pub(crate) async fn show(State(webhook): Shared, uri: Uri) -> Result<Response, Problem> {
    let none = || Problem::new(ProblemKind::NotFound, "This link is not complete, or its time is over.");
    let token = uri.path().strip_prefix("/files/").unwrap_or_default();
    let now = webhook.host.now();
    let (tenant, id) = application::hash::verify_file_token(&webhook.contact_key, token, now).ok_or_else(none)?;
    let file = application::attachments::find(&*webhook.documents, &tenant, &id, now).await?;
    let gone = || Problem::new(ProblemKind::NotFound, "This file is not there any more.");
    let file = file.ok_or_else(gone)?;
    let place = ObjectKey::upload(&tenant, &id);
    let url = webhook.objects.download_from(&place, &file.filename, &file.mime, now + READ_MS).await?;
    let location = HeaderValue::from_str(&url).map_err(|_| gone())?;
    let headers = [
        (header::LOCATION, location),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    ];
    Ok((StatusCode::FOUND, headers).into_response())
}
