//! A refusal in the console's own language.

use askama::Template;
use axum::Json;
use axum::extract::Request;
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::refusal::Refusal;
use crate::session::Visit;
use crate::shell::{Page, Shell};
use crate::show;

#[derive(Template)]
#[template(path = "refusal.html")]
struct RefusalPage {
    shell: Shell,
    heading: &'static str,
    detail: String,
    code: String,
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
    let page = RefusalPage { shell: visit.shell(heading, ""), heading, detail: refusal.detail().to_owned(), code };
    page.respond_with(refusal.status)
}
