//! A refusal in the console's own language.

use askama::Template;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;

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

/// Shows what the API refused.
pub async fn show_refusals(request: Request, next: Next) -> Response {
    let visit = request.extensions().get::<Visit>().cloned();
    let response = next.run(request).await;
    let (Some(visit), Some(refusal)) = (visit, response.extensions().get::<Refusal>().cloned()) else {
        return response;
    };
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
