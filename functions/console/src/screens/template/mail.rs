//! An email as its recipient would see it: a document of its own, in which nothing runs.

use axum::extract::RawQuery;
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};

use super::editor::{Edited, load};
use crate::form::{Fields, Form};
use crate::path::Path;
use crate::refusal::Refusal;
use crate::session::Visit;

/// The draft, or the version in use.
pub async fn mail(visit: Visit, Path(id): Path<String>, RawQuery(query): RawQuery) -> Result<Response, Refusal> {
    let query = Fields::of_query(query.as_deref());
    let loaded = load(&visit, &id).await?;
    let edited = Edited { sample: query.get("sample").to_owned(), ..Edited::stored(&loaded) };
    Ok(document(&loaded.examine(&visit, &edited).await?.html))
}

/// What is in the editor. The form is sent to the frame.
pub async fn mail_of_form(visit: Visit, Path(id): Path<String>, Form(form): Form) -> Result<Response, Refusal> {
    let loaded = load(&visit, &id).await?;
    Ok(document(&loaded.examine(&visit, &Edited::of_form(&form)).await?.html))
}

fn document(html: &str) -> Response {
    let policy = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'";
    let shown = match html {
        "" => "<!doctype html><html lang=\"en\"><title>No preview</title><p>The checks say why there is no preview.</p></html>".to_owned(),
        html => html.to_owned(),
    };
    ([(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy))], Html(shown)).into_response()
}
