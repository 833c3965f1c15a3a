//! A refusal in the console's own language.

use askama::Template;
use axum::Json;
use axum::extract::Request;
use axum::http::{Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};

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
    let is_form = !is_read(request.method());
    let response = next.run(request).await;
    let (Some(visit), Some(refusal)) = (visit, response.extensions().get::<Refusal>().cloned()) else {
        return response;
    };
    if is_program {
        let headers = [(header::CONTENT_TYPE, "application/problem+json")];
        return (refusal.status, headers, Json(refusal.problem)).into_response();
    }
    let heading = heading(&refusal, is_form);
    let code = refusal.problem["code"].as_str().unwrap_or_default().to_owned();
    let page =
        RefusalPage { shell: visit.shell(heading, ""), heading, detail: refusal.detail().to_owned(), code, back };
    page.respond_with(refusal.status)
}

fn heading(refusal: &Refusal, is_form: bool) -> &'static str {
    match refusal.status.as_u16() {
        401 => "You are signed out",
        403 if refusal.is_form_expired() => "This page was open too long",
        403 if is_form => "You do not have permission to do this",
        403 => "You do not have permission to see this",
        404 => "There is nothing here",
        412 => "This changed while you were editing",
        413 => "Not saved: this is too large",
        422 | 400 | 409 if is_form => "Not saved",
        422 | 400 => "This address has a filter that cannot be used",
        409 => "This cannot be shown now",
        405 => "This page takes no such request",
        429 => "Too many requests",
        _ => "Not available right now",
    }
}

/// The address of a form leads to the page that the form is on, such as a link of the browser's history does.
pub async fn show_form_page(method: Method, uri: Uri) -> Response {
    if is_read(&method) {
        return Redirect::to(page_of_form(uri.path())).into_response();
    }
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "This page takes no such request.").into_response()
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// The page that has the form of an address: mostly the part before its last.
fn page_of_form(path: &str) -> &str {
    let lists = ["/collections", "/settings/keys"];
    if let Some(list) = lists.into_iter().find(|list| path.starts_with(list)) {
        return list;
    }
    match path.rsplit_once('/') {
        Some((page, _)) if !page.is_empty() && page != "/session" => page,
        _ => "/",
    }
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
