//! The usable provider configurations over HTTP: their order, which are disabled, and how many calls each has left.

use application::Caller;
use application::provider_configs::ProviderConfigError;
use application::provider_status::{self, ProviderStatus};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use domain::ports::ProviderConfig;
use domain::throttle::ProviderThrottle;
use events::{Priority, Timestamp};
use problem::{Problem, ProblemKind};
use serde_json::{Value, json};

use crate::fields::{BodyReader, show_time};
use crate::query::QueryParams;
use crate::{Api, Shared, json, read_body};

/// Maximum number of messages that a quota is checked for.
const MAX_CHECKED: u32 = 1_000_000;

fn problem(error: ProviderConfigError) -> Problem {
    match error {
        ProviderConfigError::NotFound => {
            Problem::new(ProblemKind::NotFound, "No provider configuration has this id. GET /api/providers lists them.")
        }
        error => error.into(),
    }
}

pub(crate) fn present_status(
    ProviderStatus { config, is_enabled, throttle }: &ProviderStatus,
    now: Timestamp,
) -> Value {
    let mut shown = present_quota(config, throttle, now);
    shown["provider"] = json!(config.provider);
    shown["channel"] = json!(config.channel);
    shown["enabled"] = json!(is_enabled);
    shown["state"] = json!(throttle.state(now));
    shown["cause"] = json!(throttle.breaker.open.map(|open| open.cause.as_str()));
    shown["since"] = json!(throttle.breaker.open.map(|open| show_time(open.since)));
    shown
}

fn present_quota(config: &ProviderConfig, throttle: &ProviderThrottle, now: Timestamp) -> Value {
    let quota = throttle.quota(now);
    json!({
        "id": config.id,
        "burst": config.rate.burst,
        "perSecond": config.rate.per_second,
        "remaining": quota.remaining,
        "availableAt": show_time(quota.available_at),
        "resetAt": show_time(quota.reset_at),
    })
}

async fn present_all(api: &Api, caller: &Caller) -> Result<Response, Problem> {
    let (statuses, now) = (provider_status::list(&api.app, caller).await?, api.app.host.now());
    let statuses: Vec<Value> = statuses.iter().map(|status| present_status(status, now)).collect();
    Ok(json(StatusCode::OK, &json!({ "providers": statuses })))
}

pub(crate) async fn list(State(api): Shared, Extension(caller): Extension<Caller>) -> Result<Response, Problem> {
    present_all(&api, &caller).await
}

/// The quota. With `count`, also whether so many more messages would be sent now.
pub(crate) async fn quota(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut query = QueryParams::parse(query)?;
    let count = query.number("count", 1..=MAX_CHECKED);
    let priority = query.choice("priority", &Priority::names()).unwrap_or(Priority::Normal);
    query.finish()?;
    let (config, throttle, shared) = provider_status::quota(&api.app, &caller, &id).await.map_err(problem)?;
    let now = api.app.host.now();
    let mut shown = present_quota(&config, &throttle, now);
    if let Some(count) = count {
        let throttles = std::iter::once(&throttle).chain(&shared);
        let last_sent_at = throttles.map(|throttle| throttle.send_time(priority, count, now)).max().unwrap_or(now);
        shown["check"] = json!({
            "count": count,
            "priority": priority,
            "allowed": last_sent_at <= now,
            "lastSendTime": show_time(last_sent_at),
        });
    }
    Ok(json(StatusCode::OK, &shown))
}

/// Workers notice the changes of the following handlers within 15 seconds.
pub(crate) async fn enable(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    BodyReader::parse_optional(&read_body(body).await?)?.finish()?;
    provider_status::enable(&api.app, &caller, &id).await.map_err(problem)?;
    present_all(&api, &caller).await
}

pub(crate) async fn disable(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    BodyReader::parse_optional(&read_body(body).await?)?.finish()?;
    provider_status::disable(&api.app, &caller, &id).await.map_err(problem)?;
    present_all(&api, &caller).await
}

pub(crate) async fn use_first(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    BodyReader::parse_optional(&read_body(body).await?)?.finish()?;
    provider_status::use_first(&api.app, &caller, &id).await.map_err(problem)?;
    present_all(&api, &caller).await
}
