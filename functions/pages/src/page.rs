//! The HTML frame of every page.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// The look of the console, in the few parts that these pages have. It is inside of each page, so that a feature phone
/// needs one request.
const STYLE: &str = "\
:root{color-scheme:light dark;--page:light-dark(#f4f6f6,#0d1316);--surface:light-dark(#fff,#141b1f);\
--sunken:light-dark(#ecf0f0,#0f171a);--line:light-dark(#dbe2e3,#273238);--edge:light-dark(#7b888d,#6d7c84);\
--ink:light-dark(#13212a,#e6ecee);--sea:light-dark(#0a6175,#74cfe2);--on-sea:light-dark(#fff,#04222b)}\
*{box-sizing:border-box}\
body{margin:0;padding:1rem;background:#f4f6f6;background:var(--page);color:#13212a;color:var(--ink);\
font:1.0625rem/1.5 system-ui,-apple-system,\"Segoe UI\",Roboto,\"Noto Sans\",sans-serif}\
main{max-width:32rem;margin:2rem auto;padding:1.5rem;background:var(--surface);border:1px solid var(--line);\
border-radius:8px;overflow-wrap:anywhere}\
main:focus{outline:0}\
h1{margin:0 0 1rem;font-size:1.5rem;line-height:1.25}\
fieldset{margin:0 0 1rem;padding:.5rem 1rem;border:1px solid var(--line);border-radius:8px}\
legend{padding:0 .25rem;font-weight:600}\
label{display:flex;gap:.75rem;align-items:center;min-height:2.75rem}\
input{width:1.25rem;height:1.25rem;margin:0;accent-color:var(--sea)}\
button{min-height:2.75rem;padding:.5rem 1.25rem;border:1px solid #0a6175;border-color:var(--sea);border-radius:8px;\
background:#0a6175;background:var(--sea);color:#fff;color:var(--on-sea);font:inherit;font-weight:600}\
:focus-visible{outline:2px solid var(--sea);outline-offset:2px}\
p[role=status]{padding:.75rem 1rem;background:var(--sunken);border-left:4px solid var(--edge);border-radius:4px}\
.skip{position:absolute;left:-99rem;padding:.75rem 1rem;background:var(--surface);color:var(--sea)}\
.skip:focus{left:1rem;top:.5rem}";

/// The text of the link to the content.
fn skip_text(lang: &str) -> &'static str {
    if lang == "es" { "Ir al contenido" } else { "Skip to main content" }
}

/// Renders a page. `content` is HTML. Input in it must be escaped, because nothing here does it.
pub(crate) fn page(lang: &str, title: &str, content: &str) -> Response {
    let skip = skip_text(lang);
    let html = format!(
        "<!doctype html>\n<html lang=\"{lang}\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"robots\" content=\"noindex\">\n<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
         <a class=\"skip\" href=\"#main\">{skip}</a>\n<main id=\"main\" tabindex=\"-1\">\n<h1>{title}</h1>\n{content}\n\
         </main>\n</body>\n</html>\n"
    );
    (StatusCode::OK, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response()
}

/// Text as HTML.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Headers that keep other sites from framing a page or reading its address, and the page from loading anything.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
];

/// Adds the headers to a response, also to errors and redirects. A person who follows a link gets a page where a program
/// gets a problem.
pub(crate) async fn protect(request: Request, next: Next) -> Response {
    let is_person = has(request.headers(), header::ACCEPT, "text/html");
    let lang = if has(request.headers(), header::ACCEPT_LANGUAGE, "es") { "es" } else { "en" };
    let mut response = next.run(request).await;
    let is_problem = has(response.headers(), header::CONTENT_TYPE, "application/problem+json");
    if let Some((title, text)) = refusal(lang, response.status()).filter(|_| is_person && is_problem) {
        let (status, wait) = (response.status(), response.headers_mut().remove(header::RETRY_AFTER));
        response = page(lang, title, &format!("<p>{text}</p>"));
        *response.status_mut() = status;
        response.headers_mut().extend(wait.map(|wait| (header::RETRY_AFTER, wait)));
    }
    response.headers_mut().extend(HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value))));
    response
}

/// Whether a header begins with a value, as browsers write the first of several.
fn has(headers: &HeaderMap, name: HeaderName, value: &str) -> bool {
    headers.get(name).and_then(|found| found.to_str().ok()).is_some_and(|found| found.starts_with(value))
}

/// What a person is told in place of a problem that a link leads to.
fn refusal(lang: &str, status: StatusCode) -> Option<(&'static str, &'static str)> {
    let is_missing = status == StatusCode::NOT_FOUND;
    let is_busy = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
    match lang {
        "es" if is_missing => Some((
            "Este enlace no es v\u{e1}lido",
            "Est\u{e1} incompleto o ha caducado. \u{c1}bralo de nuevo desde el mensaje.",
        )),
        "es" if is_busy => Some(("Ahora no es posible", "Vuelva a intentarlo dentro de un momento.")),
        _ if is_missing => {
            Some(("This link is not valid", "It is incomplete or has expired. Open it from the message again."))
        }
        _ if is_busy => Some(("This is not possible now", "Try again in a moment.")),
        _ => None,
    }
}
