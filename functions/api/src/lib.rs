//! In: HTTP requests with an API key. Out: communications accepted, changed and shown.
//! May touch: streams, the vault, the queue (best effort), views, keys, rate limits, encrypted credentials, uploaded
//! files, and providers, to ask them about themselves.
//! Never: sends a message; takes a tenant from anywhere but the key.

mod attachments;
mod audit;
mod business_events;
mod change;
mod channels;
mod collections;
pub mod config;
mod dead_letters;
pub mod fields;
mod headers;
pub mod health;
mod invoices;
mod keys;
mod limits;
mod message_body;
mod message_problem;
pub mod openapi;
mod payment_links;
mod people;
mod preferences;
mod present;
mod providers;
mod query;
pub mod rate;
mod read;
mod routes;
mod schedules;
mod send;
mod sms_provider;
mod statistics;
mod subjects;
mod suppressions;
mod template_drafts;
mod template_view;
mod templates;
pub mod tokens;

use std::sync::Arc;

use application::App;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{MatchedPath, Path, RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use domain::ports::Principal;
use events::CommunicationId;
use problem::{Problem, ProblemKind};
use query::QueryParams;

pub use routes::{ROUTES, Route};

/// Maximum size of a body, in bytes.
pub const MAX_BODY: usize = 256 * 1024;
const UNKNOWN_KEY: &str = "The API key is unknown or has expired.";

/// The HTTP interface: the application, and what belongs to HTTP alone.
pub struct Api {
    pub app: Arc<App>,
    pub requests: rate::RequestLimiter,
    pub health: health::HealthCheck,
    /// The issuer of the tokens that are accepted beside API keys. `None` means that only keys are accepted.
    pub issuer: Option<tokens::TokenIssuer>,
}

type Shared = State<Arc<Api>>;

/// The tenant's HTTP interface.
pub fn router(api: Arc<Api>) -> Router {
    let add = |router: Router<Arc<Api>>, route: &Route| router.route(route.path, (route.handler)());
    let public = ROUTES.iter().filter(|route| route.access.is_none());
    let protected = protected().layer(axum::middleware::from_fn_with_state(api.clone(), authenticate));
    // The documents describe the table, so they are not part of it.
    let documents = Router::new()
        .route("/docs", get(openapi::page))
        .route("/api/openapi.json", get(openapi::openapi))
        .route("/api/collection.json", get(openapi::postman));
    public
        .fold(documents, add)
        .method_not_allowed_fallback(method_not_allowed)
        .merge(protected)
        .route("/api/{*rest}", any(route_not_found))
        .fallback(route_not_found)
        .with_state(api)
}

/// The same interface inside of a process, for requests that carry a [`Principal`] as an extension: a person who is
/// signed in to the console. No request from outside can carry one.
pub fn router_for_principals(api: Arc<Api>) -> Router {
    protected()
        .layer(axum::middleware::from_fn_with_state(api.clone(), admit_principal))
        .route("/api/openapi.json", get(openapi::openapi))
        .route("/docs/problems/{slug}", get(problem_page))
        .fallback(route_not_found)
        .with_state(api)
}

/// The routes that need a caller.
fn protected() -> Router<Arc<Api>> {
    let add = |router: Router<Arc<Api>>, route: &Route| router.route(route.path, (route.handler)());
    let routes = ROUTES.iter().filter(|route| route.access.is_some());
    routes.fold(Router::new(), add).method_not_allowed_fallback(method_not_allowed)
}

fn not_found() -> Problem {
    Problem::new(ProblemKind::NotFound, "No communication has this id.")
}

async fn route_not_found() -> Problem {
    Problem::new(ProblemKind::NotFound, "No route has this path.")
}

async fn method_not_allowed() -> Problem {
    Problem::new(ProblemKind::MethodNotAllowed, "The path exists, but not with this method.")
}

/// The page that a problem's `type` points at.
async fn problem_page(Path(slug): Path<String>) -> Result<Response, Problem> {
    let page =
        problem_text(&slug).ok_or_else(|| Problem::new(ProblemKind::NotFound, "No problem type has this name."))?;
    let headers = [(header::CONTENT_TYPE, "text/markdown; charset=utf-8"), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    Ok((headers, page).into_response())
}

/// One section of `docs/problems.md`.
pub fn problem_text(slug: &str) -> Option<String> {
    let pages = include_str!("../../../docs/problems.md").split("\n## ").skip(1);
    let page = pages.into_iter().find(|page| page.lines().next() == Some(slug))?;
    Some(format!("# {page}"))
}

async fn authenticate(State(api): Shared, request: Request, next: Next) -> Result<Response, Problem> {
    let missing = "Send an API key: `Authorization: Bearer td_…`.";
    let key = credential(request.headers()).ok_or_else(|| Problem::new(ProblemKind::Unauthenticated, missing))?;
    let (principal, key_hash) = match &api.issuer {
        Some(issuer) if tokens::is_token(key) => {
            let user = issuer.principal(key, api.app.host.now()).await?;
            let hash = user_hash(&user);
            (user, hash)
        }
        _ => {
            let hash = application::hash::key_hash(key);
            let principal = api.app.principal(&hash).await?;
            (principal.ok_or_else(|| Problem::new(ProblemKind::Unauthenticated, UNKNOWN_KEY))?, hash)
        }
    };
    admit(&api, principal, &key_hash, request, next).await
}

async fn admit_principal(State(api): Shared, mut request: Request, next: Next) -> Result<Response, Problem> {
    let missing = || Problem::new(ProblemKind::Unauthenticated, "Nobody is signed in.");
    let principal = request.extensions_mut().remove::<Principal>().ok_or_else(missing)?;
    let hash = user_hash(&principal);
    admit(&api, principal, &hash, request, next).await
}

fn user_hash(user: &Principal) -> String {
    application::hash::key_hash(&format!("{} {}", user.tenant, user.actor_id()))
}

/// Checks the rate of the caller, and their permission by the table of routes.
async fn admit(
    api: &Api,
    principal: Principal,
    key_hash: &str,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    api.requests.allow(&*api.app.limits, key_hash, api.app.host.now()).await?;
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    let caller = headers::caller(principal, request.headers());
    // A route that the table does not list is refused, even if the router has a handler for it.
    let route = routes::find(request.method(), path);
    let Some((route, (permission, reach))) = route.and_then(|route| Some((route, route.access?))) else {
        let mut refused = method_not_allowed().await.into_response();
        if let Ok(allowed) = HeaderValue::from_str(&routes::allowed(path)) {
            refused.headers_mut().insert(header::ALLOW, allowed);
        }
        return Ok(refused);
    };
    caller.authorise(permission, reach)?;
    if openapi::has_no_query(route) {
        QueryParams::parse(RawQuery(request.uri().query().map(str::to_owned)))?.finish()?;
    }
    request.extensions_mut().insert(caller);
    Ok(next.run(request).await)
}

/// The key or token of a request. The name of the scheme may be in any case.
fn credential(headers: &HeaderMap) -> Option<&str> {
    let (scheme, credential) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| credential.trim())
}

/// Text that is not an id is the id of no communication.
fn parse_id(id: &str) -> Result<CommunicationId, Problem> {
    id.parse().map_err(|_| not_found())
}

async fn read_body(body: Body) -> Result<Bytes, Problem> {
    let too_large = "The body is larger than 256 KB. Upload files with POST /api/attachments.";
    problem::read_body(body, MAX_BODY, too_large).await
}

fn json(status: StatusCode, body: &serde_json::Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}
