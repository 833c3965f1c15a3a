//! The limits that a tenant sets for itself, over HTTP.

use application::Caller;
use application::limits::{self, LimitsError, LimitsStatus};
use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use domain::tenant_limits::{Change, Rejection};
use domain::throttle::ProviderThrottle;
use events::{RateLimit, Timestamp};
use problem::{Problem, ProblemKind};
use serde_json::{Value, json};

use crate::fields::{BodyReader, read_rate, show_time};
use crate::headers::{if_match, json_with_etag};
use crate::query::QueryParams;
use crate::{Shared, read_body};

fn problem(error: LimitsError) -> Problem {
    use application::ExecuteError::Rejected;
    match error {
        LimitsError::Forbidden(forbidden) => forbidden.into(),
        LimitsError::Execute(Rejected(Rejection::Changed(latest))) => {
            Problem::new(ProblemKind::PreconditionFailed, format!("The newest revision is {latest}."))
        }
        LimitsError::Execute(error) => error.into(),
        LimitsError::Store(error) => error.into(),
    }
}

fn present_rate(RateLimit { burst, per_second }: RateLimit) -> Value {
    json!({ "burst": burst, "perSecond": per_second })
}

fn present_throttle(throttle: &ProviderThrottle, now: Timestamp) -> Value {
    let quota = throttle.quota(now);
    json!({
        "burst": throttle.limiter.rate.burst,
        "perSecond": throttle.limiter.rate.per_second,
        "remaining": quota.remaining,
        "availableAt": show_time(quota.available_at),
        "resetAt": show_time(quota.reset_at),
    })
}

fn respond(LimitsStatus { limits, throttle }: &LimitsStatus, now: Timestamp) -> Response {
    let shown = json!({
        "rate": limits.rate.map(present_rate),
        "effectiveRate": throttle.as_ref().map(|throttle| present_throttle(throttle, now)),
        "revision": limits.revision,
        "updatedAt": limits.changed_at.map(show_time),
        "updatedBy": limits.changed_by,
    });
    json_with_etag(StatusCode::OK, &shown, "revision")
}

pub(crate) async fn get(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    query: RawQuery,
) -> Result<Response, Problem> {
    QueryParams::parse(query)?.finish()?;
    let status = limits::get(&api.app, &caller).await.map_err(problem)?;
    Ok(respond(&status, api.app.host.now()))
}

/// A missing field does not change. Null removes a limit.
pub(crate) async fn patch(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let expected = if_match(&headers, "the limits'")?;
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    if fields.is_empty() {
        fields.add_error("", "empty", "At least one limit is required.");
    }
    let is_removed = fields.is_null("rate");
    let rate = read_rate(&mut fields);
    let rate = if is_removed { Some(None) } else { rate.map(Some) };
    fields.finish()?;
    let change = Change { expected, rate, ..Change::default() };
    let status = limits::change(&api.app, &caller, change).await.map_err(problem)?;
    Ok(respond(&status, api.app.host.now()))
}
