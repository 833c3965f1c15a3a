//! A refusal in the console's own language.

use askama::Template;
use axum::Json;
use axum::extract::Request;
use axum::http::{Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::refusal::Refusal;
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show;
use crate::sign_in::own_path;

#[derive(Template)]
#[template(path = "refusal.html")]
struct RefusalPage {
    shell: Shell,
    heading: &'static str,
    detail: String,
    code: String,
    /// The page that led here.
    back: Option<String>,
}

impl Page for RefusalPage {}

/// Nothing has this address.
pub async fn show_unknown() -> Refusal {
    Refusal::not_found("No page has this address.")
}

/// Shows what the API refused. Programs get it as a problem.
pub async fn show_refusals(request: Request, next: Next) -> Response {
    let visit = request.extensions().get::<Visit>().cloned();
    let accepts = request.headers().get(header::ACCEPT).and_then(|accepts| accepts.to_str().ok());
    let is_program = !accepts.is_some_and(|accepts| accepts.contains("text/html"));
    let back = page_before(&request);
    let response = next.run(request).await;
    let (Some(visit), Some(refusal)) = (visit, response.extensions().get::<Refusal>().cloned()) else {
        return response;
    };
    if is_program {
        let headers = [(header::CONTENT_TYPE, "application/problem+json")];
        return (refusal.status, headers, Json(refusal.problem)).into_response();
    }
    let heading = match refusal.status.as_u16() {
        401 => "You are signed out",
        403 => "You do not have permission to see this",
        404 => "There is nothing here",
        412 => "This changed while you were editing",
        422 | 400 | 409 => "Not saved",
        429 => "Too many requests",
        _ => "Not available right now",
    };
    let code = refusal.problem["code"].as_str().unwrap_or_default().to_owned();
    let page =
        RefusalPage { shell: visit.shell(heading, ""), heading, detail: refusal.detail().to_owned(), code, back };
    page.respond_with(refusal.status)
}

/// The page of the console that led to a request, unless it is the same one.
fn page_before(request: &Request) -> Option<String> {
    let text = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let referer: Uri = text(header::REFERER)?.parse().ok()?;
    let host = referer.authority()?.as_str();
    let path = own_path(referer.path_and_query()?.as_str());
    let is_other = request.method() != Method::GET || request.uri().path() != referer.path();
    (is_other && text(header::HOST) == Some(host) && path != "/").then(|| path.to_owned())
}
