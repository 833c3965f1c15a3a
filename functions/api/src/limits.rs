//! The limits that a tenant sets for itself, over HTTP.

use std::collections::BTreeMap;

use application::Caller;
use application::limits::{self, CurrencySpend, LimitsError, LimitsStatus};
use application::pauses;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use domain::prices::is_currency;
use domain::tenant_limits::{Change, MAX_CAPS, Pause};
use domain::throttle::ProviderThrottle;
use events::{Channel, RateLimit, Timestamp};
use problem::{Problem, ProblemKind};
use serde_json::{Value, json};

use crate::fields::{BodyReader, read_rate, show_time};
use crate::headers::{if_match, json_with_etag};
use crate::query::QueryParams;
use crate::{Shared, json, read_body};

/// Maximum cap: a thousand million units of a currency.
const MAX_CAP_MICROS: i64 = 1_000_000_000_000_000;
/// Maximum length of the reason of a pause, in characters.
const MAX_REASON: usize = 200;

pub(crate) fn problem(error: LimitsError) -> Problem {
    match error {
        LimitsError::Forbidden(forbidden) => forbidden.into(),
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

fn present_spend(CurrencySpend { currency, spent_micros, cap_micros }: &CurrencySpend) -> Value {
    json!({
        "currency": currency,
        "spentMicros": spent_micros,
        "capMicros": cap_micros,
        "remainingMicros": cap_micros.map(|cap| (cap - spent_micros).max(0)),
    })
}

/// A pause as part of a list, or of a message that waits for its end.
pub(crate) fn present_pause(channel: Channel, Pause { since, by, reason }: &Pause) -> Value {
    json!({ "channel": channel.as_str(), "since": show_time(*since), "by": by, "reason": reason })
}

pub(crate) fn present_pauses(pauses: &BTreeMap<Channel, Pause>) -> Vec<Value> {
    pauses.iter().map(|(channel, pause)| present_pause(*channel, pause)).collect()
}

fn respond(LimitsStatus { limits, throttle, spend, resets_at }: &LimitsStatus, now: Timestamp) -> Response {
    let shown = json!({
        "rate": limits.rate.map(present_rate),
        "effectiveRate": throttle.as_ref().map(|throttle| present_throttle(throttle, now)),
        "dailySpendCapsMicros": limits.daily_spend_caps,
        "spentToday": spend.iter().map(present_spend).collect::<Vec<_>>(),
        "resetsAt": show_time(*resets_at),
        "paused": present_pauses(&limits.pauses),
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

/// `{"KES": 500000000, "USD": null}`
fn read_caps(fields: &mut BodyReader) -> BTreeMap<String, Option<i64>> {
    if fields.is_null("dailySpendCapsMicros") {
        let detail = "dailySpendCapsMicros must be an object. Null removes the cap of one currency.";
        fields.add_error("dailySpendCapsMicros", "not_an_object", detail);
    }
    let given = fields.object("dailySpendCapsMicros").unwrap_or_default();
    let mut caps = BTreeMap::new();
    for (currency, cap) in given.as_object().into_iter().flatten() {
        let place = format!("dailySpendCapsMicros/{}", currency.replace('~', "~0").replace('/', "~1"));
        if !is_currency(currency) {
            fields.add_error(&place, "not_a_currency", "A cap needs an ISO 4217 currency code such as KES.");
            continue;
        }
        let micros = cap.as_i64().filter(|micros| (0..=MAX_CAP_MICROS).contains(micros));
        if micros.is_none() && !cap.is_null() {
            let detail =
                format!("{currency} must be a whole number of millionths from 0 to {MAX_CAP_MICROS}, or null.");
            fields.add_error(&place, "not_in_range", detail);
        }
        caps.insert(currency.clone(), micros);
    }
    if MAX_CAPS < caps.len() {
        let detail = format!("At most {MAX_CAPS} currencies can have a cap.");
        fields.add_error("dailySpendCapsMicros", "too_many", detail);
    }
    caps
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
    let daily_spend_caps = read_caps(&mut fields);
    fields.finish()?;
    let change = Change { expected, rate, daily_spend_caps };
    let status = limits::change(&api.app, &caller, change).await.map_err(problem)?;
    Ok(respond(&status, api.app.host.now()))
}

fn read_channel(name: &str) -> Result<Channel, Problem> {
    let names = Channel::names().join(", ");
    name.parse().map_err(|_| Problem::new(ProblemKind::NotFound, format!("The channels are {names}.")))
}

/// Pauses a channel. Repeating it changes nothing.
pub(crate) async fn pause(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(channel): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let channel = read_channel(&channel)?;
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let reason = fields.required("reason", |fields| fields.reference("reason", MAX_REASON));
    fields.finish()?;
    let pauses = pauses::pause(&api.app, &caller, channel, reason.unwrap_or_default()).await.map_err(problem)?;
    Ok(json(StatusCode::OK, &json!({ "paused": present_pauses(&pauses) })))
}

/// Resumes a channel. Repeating it changes nothing.
pub(crate) async fn resume(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(channel): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let channel = read_channel(&channel)?;
    BodyReader::parse_optional(&read_body(body).await?)?.finish()?;
    let pauses = pauses::resume(&api.app, &caller, channel).await.map_err(problem)?;
    Ok(json(StatusCode::OK, &json!({ "paused": present_pauses(&pauses) })))
}
