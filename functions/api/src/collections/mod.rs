//! Collections over HTTP: when customers are reminded of what they owe, and what was agreed with each.

mod backfill;
mod body;
mod debtors;

use application::Caller;
use application::collections::{self, CollectionsError, Enabled};
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use domain::collect::{CollectionsState, defaults};
use events::{CollectionSettings, LadderStep};
use jiff::SignedDuration;
use problem::Problem;
use serde_json::{Value, json};

use crate::fields::BodyReader;
use crate::headers::{if_match, json_with_etag};
use crate::{Shared, read_body};
use body::read_settings;

pub(crate) use backfill::{confirm as confirm_backfill, preview, status, stop as stop_backfill};
pub(crate) use body::read_last_day;
pub(crate) use debtors::{
    get as get_debtor, parse_customer, patch as patch_debtor, pause as pause_debtor, present_hold,
    promise as promise_debtor, resume as resume_debtor,
};

pub(crate) fn problem(error: CollectionsError) -> Problem {
    match error {
        CollectionsError::Forbidden(forbidden) => forbidden.into(),
        CollectionsError::Execute(error) => error.into(),
        CollectionsError::Store(error) => error.into(),
    }
}

fn present_ladder(ladder: &[LadderStep]) -> Vec<Value> {
    let present = |step: &LadderStep| {
        json!({
            "id": step.id,
            "afterDays": step.after_days,
            "channels": step.channels,
            "mode": step.mode,
            "after": SignedDuration::from_millis(step.escalate_after_ms).to_string(),
            "unless": step.unless,
            "template": step.template,
        })
    };
    ladder.iter().map(present).collect()
}

fn warnings(settings: &CollectionSettings) -> Vec<Value> {
    let is_default = settings.time_zone == defaults().time_zone;
    let detail = "The time zone is still UTC: customers whose zone is not known are reminded by it. Set timeZone.";
    is_default.then(|| json!({ "code": "default_time_zone", "detail": detail })).into_iter().collect()
}

fn present(state: &CollectionsState) -> Value {
    let settings = state.settings();
    json!({
        "enabled": state.enabled_from.is_some(),
        "from": state.enabled_from,
        "time": settings.time,
        "until": settings.until,
        "timeZone": settings.time_zone,
        "ladder": present_ladder(&settings.ladder),
        "grouping": settings.grouping,
        "gatherSeconds": settings.gather_seconds,
        "maxPerDay": settings.max_per_day,
        "minDaysBetween": settings.min_days_between,
        "days": settings.days,
        "holidays": settings.holidays,
        "lateDays": settings.late_days,
        "graceAfterFirstSeenDays": settings.grace_after_first_seen_days,
        "minimumMinor": settings.minimum_minor,
        "attributionDays": settings.attribution_days,
        "revision": state.revision,
        "warnings": warnings(&settings),
    })
}

fn respond(body: &Value) -> Response {
    json_with_etag(StatusCode::OK, body, "revision")
}

pub(crate) async fn get(State(api): Shared, Extension(caller): Extension<Caller>) -> Result<Response, Problem> {
    Ok(respond(&present(&collections::get(&api.app, &caller).await.map_err(problem)?)))
}

/// A missing field does not change. Null restores the default.
pub(crate) async fn patch(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let expected = if_match(&headers, "the settings'")?;
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    if fields.is_empty() {
        fields.add_error("", "empty", "At least one setting is required.");
    }
    let current = collections::get(&api.app, &caller).await.map_err(problem)?;
    let settings = read_settings(&mut fields, current.settings());
    fields.finish()?;
    // Missing fields are taken from the revision just read, so that must still be the newest.
    let expected = expected.unwrap_or(current.revision);
    let changed = collections::change(&api.app, &caller, expected, settings).await.map_err(problem)?;
    Ok(respond(&present(&changed)))
}

pub(crate) async fn enable(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, Problem> {
    BodyReader::parse_optional(&read_body(body).await?)?.finish()?;
    let Enabled { state, adopted, has_more } = collections::enable(&api.app, &caller).await.map_err(problem)?;
    let mut shown = present(&state);
    shown["adopted"] = json!(adopted);
    shown["hasMore"] = json!(has_more);
    Ok(respond(&shown))
}

pub(crate) async fn disable(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, Problem> {
    BodyReader::parse_optional(&read_body(body).await?)?.finish()?;
    Ok(respond(&present(&collections::disable(&api.app, &caller).await.map_err(problem)?)))
}
