//! In: HTTP requests with an API key. Out: communications accepted, changed and shown.
//! May touch: streams, the vault, the queue (best effort), views, keys, limits, journals, sealed credentials, uploaded
//! files, and providers, to ask them about themselves.
//! Never: sends a message; takes a tenant from anywhere but the key.

mod attachments;
mod audit;
mod change;
mod channels;
pub mod config;
mod dead_letters;
pub mod fields;
mod keys;
mod message_body;
mod message_problem;
pub mod openapi;
mod preferences;
mod present;
mod providers;
pub mod rate;
mod read;
mod schedules;
mod send;
mod sms_provider;
mod subjects;
mod suppressions;
mod templates;
pub mod tokens;

use std::sync::Arc;

use application::problem::{Kind, Problem};
use application::{App, Caller, CommandContext};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{MatchedPath, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use domain::access::Permission;
use domain::ports::Principal;
use events::CommunicationId;

/// Bytes of a body, at most.
pub const MAX_BODY: usize = 256 * 1024;
const UNKNOWN_KEY: &str = "This API key is not known, or its time is over.";

/// The HTTP interface: the application, and what belongs to HTTP alone.
pub struct Api {
    pub app: Arc<App>,
    pub requests: rate::RequestLimiter,
    /// Whose tokens are accepted beside our own keys. None: only keys are.
    pub issuer: Option<tokens::TokenIssuer>,
}

type Shared = State<Arc<Api>>;

/// Every route, as (method, path, what its caller must be permitted). `template.yaml` leads them all here.
pub const ROUTES: &[(&str, &str, Permission)] = &[
    ("GET", "/health", Permission::View),
    ("GET", "/docs/problems/{slug}", Permission::View),
    ("POST", "/api/communications/send", Permission::Send),
    ("POST", "/api/communications/batch", Permission::Send),
    ("GET", "/api/communications", Permission::View),
    ("GET", "/api/communications/stats", Permission::Stats),
    ("GET", "/api/communications/queue/status", Permission::View),
    ("GET", "/api/communications/{id}", Permission::View),
    ("PATCH", "/api/communications/{id}", Permission::Send),
    ("GET", "/api/communications/{id}/events", Permission::View),
    ("GET", "/api/communications/{id}/explain", Permission::View),
    ("POST", "/api/communications/{id}/resend", Permission::Send),
    ("POST", "/api/communications/{id}/cancel", Permission::Send),
    ("POST", "/api/communications/{id}/resolve", Permission::Operate),
    ("POST", "/api/communications/{id}/retry", Permission::Operate),
    ("GET", "/api/dead-letters", Permission::View),
    ("POST", "/api/dead-letters/redrive", Permission::Operate),
    ("GET", "/api/providers", Permission::View),
    ("GET", "/api/providers/{id}/quota", Permission::View),
    ("POST", "/api/providers/{id}/enable", Permission::Operate),
    ("POST", "/api/providers/{id}/disable", Permission::Operate),
    ("POST", "/api/providers/{id}/switch", Permission::Operate),
    ("GET", "/api/channels", Permission::Channels),
    ("POST", "/api/channels", Permission::Channels),
    ("GET", "/api/channels/kinds", Permission::Channels),
    ("POST", "/api/channels/order", Permission::Channels),
    ("GET", "/api/channels/{id}", Permission::Channels),
    ("PATCH", "/api/channels/{id}", Permission::Channels),
    ("DELETE", "/api/channels/{id}", Permission::Channels),
    ("GET", "/api/channels/{id}/balance", Permission::Channels),
    ("GET", "/api/channels/{id}/health", Permission::Channels),
    ("POST", "/api/channels/{id}/test", Permission::Channels),
    ("GET", "/api/webhook-log", Permission::Channels),
    ("GET", "/api/subjects/{kind}/{id}", Permission::Privacy),
    ("DELETE", "/api/subjects/{kind}/{id}", Permission::Privacy),
    ("GET", "/api/suppressions", Permission::Consent),
    ("POST", "/api/suppressions", Permission::Consent),
    ("DELETE", "/api/suppressions", Permission::Consent),
    ("POST", "/api/suppressions/import", Permission::Consent),
    ("GET", "/api/suppressions/export", Permission::Consent),
    ("GET", "/api/keys", Permission::Keys),
    ("POST", "/api/keys", Permission::Keys),
    ("DELETE", "/api/keys/{id}", Permission::Keys),
    ("GET", "/api/audit", Permission::Keys),
    ("POST", "/api/attachments", Permission::Send),
    ("GET", "/api/attachments/{id}", Permission::View),
    ("DELETE", "/api/attachments/{id}", Permission::Send),
    ("GET", "/api/communication-preferences/defaults", Permission::View),
    ("PATCH", "/api/communication-preferences/defaults", Permission::Consent),
    ("GET", "/api/communication-preferences/{kind}/{id}", Permission::View),
    ("PATCH", "/api/communication-preferences/{kind}/{id}", Permission::Consent),
    ("GET", "/api/communication-preferences/{kind}/{id}/history", Permission::View),
    ("POST", "/api/communication-preferences/{kind}/{id}/link", Permission::Consent),
    ("GET", "/api/v1/communication/contacts/{id}/preferences", Permission::View),
    ("POST", "/api/v1/communication/contacts/{id}/preferences", Permission::Consent),
    ("GET", "/api/schedules", Permission::View),
    ("POST", "/api/schedules", Permission::Automate),
    ("POST", "/api/schedules/preview", Permission::View),
    ("GET", "/api/schedules/{id}", Permission::View),
    ("PATCH", "/api/schedules/{id}", Permission::Automate),
    ("DELETE", "/api/schedules/{id}", Permission::Automate),
    ("POST", "/api/schedules/{id}/pause", Permission::Automate),
    ("POST", "/api/schedules/{id}/resume", Permission::Automate),
    ("GET", "/api/schedules/{id}/preview", Permission::View),
    ("GET", "/api/schedules/{id}/occurrences", Permission::View),
    ("GET", "/api/schedules/{id}/events", Permission::View),
    ("GET", "/api/schedules/{id}/explain", Permission::View),
    ("GET", "/api/communication-templates", Permission::View),
    ("POST", "/api/communication-templates", Permission::Templates),
    ("POST", "/api/communication-templates/validate", Permission::View),
    ("GET", "/api/communication-templates/{id}", Permission::View),
    ("PATCH", "/api/communication-templates/{id}", Permission::Templates),
    ("DELETE", "/api/communication-templates/{id}", Permission::Templates),
    ("GET", "/api/communication-templates/{id}/versions", Permission::View),
    ("POST", "/api/communication-templates/{id}/activate", Permission::Templates),
    ("POST", "/api/communication-templates/{id}/deactivate", Permission::Templates),
    ("POST", "/api/communication-templates/{id}/preview", Permission::View),
    ("GET", "/api/v1/communication/templates", Permission::View),
    ("POST", "/api/v1/communication/templates", Permission::Templates),
    ("GET", "/api/v1/communication/templates/{id}", Permission::View),
    ("GET", "/api/sms-provider/config", Permission::Channels),
    ("PUT", "/api/sms-provider/config", Permission::Channels),
    ("GET", "/api/sms-provider/balance", Permission::Channels),
    ("POST", "/api/sms-provider/test", Permission::Channels),
    ("GET", "/api/v1/communication/channels", Permission::Channels),
    ("POST", "/api/v1/communication/channels", Permission::Channels),
    ("GET", "/api/v1/communication/channels/{id}", Permission::Channels),
];

/// The tenant's HTTP interface.
pub fn router(api: Arc<Api>) -> Router {
    let protected = Router::new()
        .route("/api/communications/send", post(send::send))
        .route("/api/communications/batch", post(send::batch))
        .route("/api/communications", get(read::list))
        .route("/api/communications/stats", get(read::stats))
        .route("/api/communications/queue/status", get(read::queue_status))
        .route("/api/communications/{id}", get(read::get).patch(change::patch))
        .route("/api/communications/{id}/events", get(read::timeline))
        .route("/api/communications/{id}/explain", get(read::explain))
        .route("/api/communications/{id}/resend", post(change::resend))
        .route("/api/communications/{id}/cancel", post(change::cancel))
        .route("/api/communications/{id}/resolve", post(change::resolve))
        .route("/api/communications/{id}/retry", post(change::retry))
        .route("/api/dead-letters", get(dead_letters::list))
        .route("/api/dead-letters/redrive", post(dead_letters::redrive))
        .route("/api/providers", get(providers::list))
        .route("/api/providers/{id}/quota", get(providers::quota))
        .route("/api/providers/{id}/enable", post(providers::enable))
        .route("/api/providers/{id}/disable", post(providers::disable))
        .route("/api/providers/{id}/switch", post(providers::use_first))
        .route("/api/channels", get(channels::list).post(channels::create))
        .route("/api/channels/kinds", get(channels::kinds))
        .route("/api/channels/order", post(channels::order))
        .route("/api/channels/{id}", get(channels::get).patch(channels::patch).delete(channels::remove))
        .route("/api/channels/{id}/balance", get(channels::balance))
        .route("/api/channels/{id}/health", get(channels::health))
        .route("/api/channels/{id}/test", post(channels::test))
        .route("/api/webhook-log", get(channels::webhook_log))
        .route("/api/subjects/{kind}/{id}", get(subjects::export).delete(subjects::erase))
        .route("/api/suppressions", get(suppressions::list).post(suppressions::add).delete(suppressions::remove))
        .route("/api/suppressions/import", post(suppressions::import))
        .route("/api/suppressions/export", get(suppressions::export))
        .route("/api/keys", get(keys::list).post(keys::create))
        .route("/api/keys/{id}", delete(keys::revoke))
        .route("/api/audit", get(audit::list))
        .route("/api/attachments", post(attachments::create))
        .route("/api/attachments/{id}", get(attachments::get).delete(attachments::remove))
        .route(
            "/api/communication-preferences/defaults",
            get(preferences::get_defaults).patch(preferences::patch_defaults),
        )
        .route("/api/communication-preferences/{kind}/{id}", get(preferences::get).patch(preferences::patch))
        .route("/api/communication-preferences/{kind}/{id}/history", get(preferences::history))
        .route("/api/communication-preferences/{kind}/{id}/link", post(preferences::link))
        .route(
            "/api/v1/communication/contacts/{id}/preferences",
            get(preferences::get_contact).post(preferences::patch_contact),
        )
        .route("/api/schedules", get(schedules::list).post(schedules::create))
        .route("/api/schedules/preview", post(schedules::preview_unsaved))
        .route("/api/schedules/{id}", get(schedules::get).patch(schedules::patch).delete(schedules::remove))
        .route("/api/schedules/{id}/pause", post(schedules::pause))
        .route("/api/schedules/{id}/resume", post(schedules::resume))
        .route("/api/schedules/{id}/preview", get(schedules::preview))
        .route("/api/schedules/{id}/occurrences", get(schedules::occurrences))
        .route("/api/schedules/{id}/events", get(schedules::events))
        .route("/api/schedules/{id}/explain", get(schedules::explain))
        .route("/api/communication-templates", get(templates::list).post(templates::create))
        .route("/api/communication-templates/validate", post(templates::validate))
        .route(
            "/api/communication-templates/{id}",
            get(templates::get).patch(templates::patch).delete(templates::remove),
        )
        .route("/api/communication-templates/{id}/versions", get(templates::versions))
        .route("/api/communication-templates/{id}/activate", post(templates::activate))
        .route("/api/communication-templates/{id}/deactivate", post(templates::deactivate))
        .route("/api/communication-templates/{id}/preview", post(templates::preview))
        .route("/api/v1/communication/templates", get(templates::list).post(templates::create))
        .route("/api/v1/communication/templates/{id}", get(templates::get))
        .route("/api/sms-provider/config", get(sms_provider::get).put(sms_provider::put))
        .route("/api/sms-provider/balance", get(sms_provider::balance))
        .route("/api/sms-provider/test", post(sms_provider::test))
        .route("/api/v1/communication/channels", get(channels::list).post(channels::create))
        .route("/api/v1/communication/channels/{id}", get(channels::get))
        .method_not_allowed_fallback(method_not_allowed)
        .layer(axum::middleware::from_fn_with_state(api.clone(), authenticate));
    Router::new()
        .route("/health", get(health))
        .route("/docs", get(openapi::page))
        .route("/docs/problems/{slug}", get(problem_page))
        .route("/api/openapi.json", get(openapi::openapi))
        .route("/api/collection.json", get(openapi::postman))
        .method_not_allowed_fallback(method_not_allowed)
        .merge(protected)
        .fallback(route_not_found)
        .with_state(api)
}

fn not_found() -> Problem {
    Problem::new(Kind::NotFound, "There is no such communication.")
}

async fn route_not_found() -> Problem {
    Problem::new(Kind::NotFound, "There is nothing at this address.")
}

async fn method_not_allowed() -> Problem {
    Problem::new(Kind::MethodNotAllowed, "This address takes other methods.")
}

async fn health() -> Response {
    json(StatusCode::OK, &serde_json::json!({ "status": "ok", "version": env!("CARGO_PKG_VERSION") }))
}

/// The page that a problem's `type` points at.
async fn problem_page(Path(slug): Path<String>) -> Result<Response, Problem> {
    let page = problem_text(&slug).ok_or_else(|| Problem::new(Kind::NotFound, "There is no such problem."))?;
    let html = HeaderValue::from_static("text/markdown; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, html)], page).into_response())
}

/// One section of `docs/problems.md`.
pub fn problem_text(slug: &str) -> Option<String> {
    let pages = include_str!("../../../docs/problems.md").split("\n## ").skip(1);
    let page = pages.into_iter().find(|page| page.lines().next() == Some(slug))?;
    Some(format!("# {page}"))
}

async fn authenticate(State(api): Shared, mut request: Request, next: Next) -> Result<Response, Problem> {
    let header = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let key = header.and_then(|value| value.strip_prefix("Bearer ").or_else(|| value.strip_prefix("bearer ")));
    let missing = "Send an API key: `Authorization: Bearer td_…`.";
    let key = key.ok_or_else(|| Problem::new(Kind::Unauthenticated, missing))?.trim();
    let (principal, key_hash) = match &api.issuer {
        Some(issuer) if tokens::is_token(key) => {
            let user = issuer.principal(key, api.app.host.now()).await?;
            let hash = application::hash::key_hash(&format!("{} {}", user.tenant, user.actor_id()));
            (user, hash)
        }
        _ => {
            let hash = application::hash::key_hash(key);
            let principal = api.app.principal(&hash).await?;
            (principal.ok_or_else(|| Problem::new(Kind::Unauthenticated, UNKNOWN_KEY))?, hash)
        }
    };
    api.requests.allow(&*api.app.limits, &key_hash, api.app.host.now()).await?;
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let is_it = |(method, route, _): &&(&str, &str, Permission)| *method == request.method().as_str() && *route == path;
    let caller = caller(principal, request.headers());
    // A route without this method answers further on.
    if let Some((.., permission)) = ROUTES.iter().find(is_it) {
        caller.authorise(*permission)?;
    }
    request.extensions_mut().insert(caller.principal.clone());
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

/// What is no id names no communication.
fn parse_id(id: &str) -> Result<CommunicationId, Problem> {
    id.parse().map_err(|_| not_found())
}

/// Who asks, and how their systems follow it.
fn caller(principal: Principal, headers: &HeaderMap) -> Caller {
    let text = |name: &str, limit: usize| {
        let value = headers.get(name)?.to_str().ok()?;
        let plain = value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.:".contains(c));
        (plain && !value.is_empty() && value.len() <= limit).then(|| value.to_owned())
    };
    Caller {
        principal,
        on_behalf: None,
        correlation: text("x-correlation-id", 64),
        traceparent: text("traceparent", 55),
    }
}

fn command_context(principal: &Principal, headers: &HeaderMap) -> CommandContext {
    caller(principal.clone(), headers).context()
}

async fn read_body(body: Body) -> Result<Bytes, Problem> {
    let too_large =
        |_| Problem::new(Kind::TooLarge, "A body may have 256 KB. Upload attachments: POST /api/attachments.");
    to_bytes(body, MAX_BODY).await.map_err(too_large)
}

fn json(status: StatusCode, body: &serde_json::Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
