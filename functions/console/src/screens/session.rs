//! How a reader wants to see pages.

use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::form::Form;
use crate::refusal::Refusal;
use crate::shell::Theme;
use crate::sign_in::own_path;

/// Keeps the theme for a year, and goes back to the page.
pub async fn theme(headers: HeaderMap, Form(form): Form) -> Result<Response, Refusal> {
    let theme = Theme::parse(form.get("theme"));
    let theme = theme.ok_or_else(|| Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "The theme is light or dark."))?;
    let cookie = format!("theme={}; Path=/; Max-Age=31536000; SameSite=Lax", theme.as_str());
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, back(&headers)), (header::SET_COOKIE, cookie)]).into_response())
}

/// Switches single-key shortcuts on or off for a year, and goes back to the page.
pub async fn keys(headers: HeaderMap, Form(form): Form) -> Result<Response, Refusal> {
    let state = form.get("keys");
    if !["on", "off"].contains(&state) {
        return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, "Keyboard shortcuts are on or off."));
    }
    let cookie = format!("keys={state}; Path=/; Max-Age=31536000; SameSite=Lax");
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, back(&headers)), (header::SET_COOKIE, cookie)]).into_response())
}

/// The path that the form was on. It never leads to another site.
pub fn back(headers: &HeaderMap) -> String {
    let referrer = headers.get(header::REFERER).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let path = referrer.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
    own_path(path.unwrap_or("/")).to_owned()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_form_goes_back_to_a_page_of_the_console() {
        for (referrer, expected) in [
            ("http://127.0.0.1:7070/messages?status=failed", "/messages?status=failed"),
            ("http://127.0.0.1:7070//evil.example", "/"),
            ("http://127.0.0.1:7070/\\evil.example", "/"),
            ("http://127.0.0.1:7070", "/"),
            ("nonsense", "/"),
        ] {
            let headers = HeaderMap::from_iter([(header::REFERER, HeaderValue::from_static(referrer))]);
            assert_eq!(back(&headers), expected, "{referrer}");
        }
    }
}
