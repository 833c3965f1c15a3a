//! Who is signed in, and how they want to see pages.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use domain::access::{self, Permission, Reach};
use domain::ports::{ClockAndRng, Principal};
use events::Timestamp;
use jiff::tz::TimeZone;
use subtle::ConstantTimeEq;

use crate::Console;
use crate::api_client::ApiClient;
use crate::cookie::cookie;
use crate::refusal::Refusal;
use crate::shell::{Shell, Theme};
use crate::sign_in::{Session, SignIn};
use crate::time::Clock;

/// How people sign in.
pub enum Sessions {
    /// On one machine: everybody who reaches the loopback address is signed in.
    Local(LocalSession),
    /// By an identity provider.
    SignIn(SignIn),
}

/// The only session of a process on one machine.
pub struct LocalSession {
    principal: Principal,
    /// The name of the business.
    business: String,
    form_token: String,
}

impl LocalSession {
    pub fn new(principal: Principal, host: &dyn ClockAndRng) -> LocalSession {
        let mut form_token = String::new();
        for _ in 0..2 {
            let _ = write!(form_token, "{:016x}", host.random());
        }
        LocalSession { business: principal.tenant.to_string(), principal, form_token }
    }
}

/// One request of a person who is signed in.
#[derive(Clone)]
pub struct Visit {
    pub api: ApiClient,
    /// The simulated providers, where there are any.
    pub dev: Option<ApiClient>,
    pub now: Timestamp,
    pub zone: TimeZone,
    pub theme: Option<Theme>,
    /// Whether single keys are shortcuts.
    pub has_keys: bool,
    pub business: String,
    /// Every form sends it back, so that pages of other sites cannot send forms.
    pub form_token: String,
    /// Whether the person signed in, and can sign out.
    pub can_sign_out: bool,
    /// A random name for each page: the idempotency key of its form.
    pub form_key: String,
}

impl Visit {
    /// How times are shown to the reader.
    pub fn clock(&self) -> Clock {
        Clock { now: self.now, zone: self.zone.clone() }
    }

    /// Whether the API would let the person use an operation.
    pub fn may(&self, permission: Permission, reach: Reach) -> bool {
        access::check(&self.api.principal, permission, reach).is_ok()
    }

    /// The frame of a page. `section` is its entry in the navigation.
    pub fn shell(&self, title: &str, section: &'static str) -> Shell {
        Shell {
            title: title.to_owned(),
            section,
            business: self.business.clone(),
            principal: self.api.principal.clone(),
            theme: self.theme,
            has_keys: self.has_keys,
            form_token: self.form_token.clone(),
            can_sign_out: self.can_sign_out,
            refresh_s: None,
            has_inbox: self.dev.is_some(),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Visit {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let visit = parts.extensions.get::<Visit>().cloned();
        visit.ok_or_else(|| Refusal::new(StatusCode::UNAUTHORIZED, "Nobody is signed in."))
    }
}

/// Lets only people in who are signed in, and only forms of our own pages.
pub async fn require(
    State(console): State<Arc<Console>>,
    mut request: Request,
    next: Next,
) -> Result<Response, Infallible> {
    let (headers, now) = (request.headers(), console.host.now());
    let (principal, business, form_token) = match &console.sessions {
        Sessions::Local(LocalSession { principal, business, form_token }) => {
            (principal.clone(), business.clone(), form_token.clone())
        }
        Sessions::SignIn(sign_in) => match sign_in.find(headers, now).await {
            Ok(Some(Session { principal, form_token, .. })) => {
                let business = principal.tenant.to_string();
                (principal, business, form_token)
            }
            Ok(None) => return Ok(ask_to_sign_in(&request)),
            Err(error) => {
                tracing::error!(%error, "a session could not be read");
                return Ok(
                    (StatusCode::SERVICE_UNAVAILABLE, "The session could not be read. Try again.").into_response()
                );
            }
        },
    };
    let zone = cookie(headers, "zone").map(|zone| zone.replace("%2F", "/"));
    let zone = zone.and_then(|zone| TimeZone::get(&zone).ok()).unwrap_or(TimeZone::UTC);
    let visit = Visit {
        dev: console.dev.clone().map(|api| ApiClient { api, principal: principal.clone() }),
        api: ApiClient { api: console.api.clone(), principal },
        now,
        zone,
        theme: cookie(headers, "theme").and_then(Theme::parse),
        has_keys: cookie(headers, "keys") != Some("off"),
        business,
        form_token,
        can_sign_out: matches!(console.sessions, Sessions::SignIn(_)),
        form_key: format!("console-{:032x}", console.host.random()),
    };
    if !is_from_our_page(request.method(), headers) {
        return Ok(refuse_foreign());
    }
    request.extensions_mut().insert(visit);
    Ok(next.run(request).await)
}

/// A browser says whether a form is of our own page. Where it does not, the form's token decides.
fn is_from_our_page(method: &Method, headers: &HeaderMap) -> bool {
    let is_safe = matches!(*method, Method::GET | Method::HEAD);
    let site = headers.get("sec-fetch-site").map(|site| site.to_str().unwrap_or_default());
    is_safe || matches!(site, None | Some("same-origin"))
}

/// Leads a person to the page where they sign in, and from there back to the page that they asked for.
fn ask_to_sign_in(request: &Request) -> Response {
    let is_page = matches!(*request.method(), Method::GET | Method::HEAD);
    let asked = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let to: String = form_urlencoded::byte_serialize(if is_page { asked } else { "/" }.as_bytes()).collect();
    let address = format!("/session/sign-in?to={to}");
    // htmx follows a redirect within the page. This makes it leave the page.
    if request.headers().contains_key("hx-request") {
        return (StatusCode::UNAUTHORIZED, [("hx-redirect", address)]).into_response();
    }
    (StatusCode::SEE_OTHER, [(header::LOCATION, address)]).into_response()
}

fn refuse_foreign() -> Response {
    (StatusCode::FORBIDDEN, "This form was not sent by a page of the console.").into_response()
}

/// Whether a form is from a page of this session.
pub fn is_token(visit: &Visit, given: &str) -> bool {
    visit.form_token.as_bytes().ct_eq(given.as_bytes()).into()
}
