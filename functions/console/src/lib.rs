//! In: requests of people's browsers. Out: HTML pages.
//! May touch: nothing itself. Every page is made from answers of the API, as the person who is signed in.
//! Never: decides, validates or authorises; shows what the API does not say.

mod api_client;
mod assets;
mod chart;
mod cookie;
mod faults;
mod form;
mod history;
mod invoice_words;
mod path;
mod refusal;
mod refusal_page;
mod screens;
mod session;
mod shell;
mod show;
mod sign_in;
mod time;
mod words;

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::Response;
use domain::ports::ClockAndRng;

pub use session::{LocalSession, Sessions};
pub use sign_in::SignIn;

/// What a page's scripts, styles and images may be. Nothing comes from elsewhere, and nothing is inline.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
     connect-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The console.
pub struct Console {
    /// The API for requests that carry a [`domain::ports::Principal`] as an extension.
    pub api: Router,
    /// The simulated providers' inbox, where there is one.
    pub dev: Option<Router>,
    pub sessions: Sessions,
    pub host: Arc<dyn ClockAndRng>,
}

/// The pages, with the files that they need.
pub fn router(console: Arc<Console>) -> Router {
    screens::router()
        .fallback(refusal_page::show_unknown)
        .method_not_allowed_fallback(refusal_page::show_form_page)
        .layer(from_fn(refusal_page::show_refusals))
        .layer(from_fn_with_state(console.clone(), session::require))
        .merge(screens::open_router())
        .merge(assets::router())
        .with_state(console)
        .layer(axum::middleware::map_response(add_headers))
}

async fn add_headers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    let mut set = |name, value| {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "same-origin");
    set(header::CACHE_CONTROL, "no-store");
    response
}
