//! Recurring schedules over HTTP.

mod body;
mod present;

use application::Caller;
use application::schedules::{self, Created, NewSchedule, ScheduleChange, ScheduleError, message_of};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use domain::schedule::{Occurrence, Schedule, explain as explain_schedule};
use events::{CatchUp, CatchUpPolicy, Timestamp};
use problem::Problem;
use serde_json::{Value, json};

use crate::fields::{BodyReader, missing};
use crate::headers::{idempotency_key, if_match, json_with_etag};
use crate::present::{decision, explanation_step};
use crate::query::QueryParams;
use crate::{Api, Shared, json, read_body};
use body::{all_faults, errors_of, read_action, read_catch_up, read_timing};
use present::{next_occurrence, present_handled, present_occurrence, present_schedule};

pub(crate) use body::problem;
pub(crate) use present::present_with_message;

const MAX_NAME: usize = 100;
const WHOSE_TAG: &str = "a schedule's";
const DEFAULT_CATCH_UP: CatchUp = CatchUp { policy: CatchUpPolicy::Last, window_ms: 24 * 3_600_000, most: 10 };
/// Maximum number of events, and of steps of an explanation, in one answer: the newest.
const MAX_EVENTS: usize = 200;
/// Maximum number of occurrences of a preview and of a list.
const MAX_OCCURRENCES: u32 = 50;
const DEFAULT_OCCURRENCES: u32 = 10;

fn read_count(query: RawQuery, name: &str) -> Result<usize, Problem> {
    let mut query = QueryParams::parse(query)?;
    let count = query.number(name, 1..=MAX_OCCURRENCES).unwrap_or(DEFAULT_OCCURRENCES);
    query.finish()?;
    Ok(count as usize)
}

/// A schedule with its revision as the entity tag.
async fn respond(api: &Api, caller: &Caller, status: StatusCode, schedule: &Schedule) -> Result<Response, Problem> {
    let stored = message_of(&api.app.tenant_ports, &caller.principal.tenant, schedule).await?;
    let body = present_with_message(schedule, stored.as_ref(), api.app.host.now());
    Ok(json_with_etag(status, &body, "revision"))
}

fn present_preview(occurrences: &[Occurrence]) -> Response {
    let shown: Vec<Value> = occurrences.iter().map(present_occurrence).collect();
    json(StatusCode::OK, &json!({ "occurrences": shown }))
}

pub(crate) async fn list(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut query = QueryParams::parse(query)?;
    let status: Option<String> = query.choice("status", &["active", "paused", "ended"]);
    query.finish()?;
    let listed = match status.as_deref() {
        Some("ended") => schedules::list_ended(&api.app, &caller).await,
        _ => schedules::list(&api.app, &caller).await,
    };
    let mut schedules = listed.map_err(problem)?;
    schedules.retain(|schedule| status.as_ref().is_none_or(|status| status == schedule.status.as_str()));
    let now = api.app.host.now();
    let shown: Vec<Value> = schedules.iter().map(|schedule| present_schedule(schedule, now)).collect();
    Ok(json(StatusCode::OK, &json!({ "schedules": shown })))
}

pub(crate) async fn create(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let idempotency_key = idempotency_key(&headers)?;
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let name = fields.required("name", |fields| fields.reference("name", MAX_NAME));
    let is_start_given = fields.has("start");
    let timing = read_timing(&mut fields, None, api.app.host.now());
    let message = fields.required("action", read_action);
    let catch_up = read_catch_up(&mut fields, DEFAULT_CATCH_UP).unwrap_or(DEFAULT_CATCH_UP);
    all_faults(&api, &caller, fields, timing.as_ref(), message.as_ref()).await?;
    let (Some(name), Some(timing), Some(message)) = (name, timing, message) else { return Err(missing()) };
    let new = NewSchedule { name, timing, is_start_given, message, catch_up, idempotency_key };
    let Created { schedule, is_replay } = schedules::create(&api.app, &caller, new).await.map_err(problem)?;
    let mut response = respond(&api, &caller, StatusCode::CREATED, &schedule).await?;
    if let Ok(location) = HeaderValue::from_str(&format!("/api/schedules/{}", schedule.id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    if is_replay {
        response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    Ok(response)
}

pub(crate) async fn get(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let (schedule, _) = schedules::find(&api.app, &caller, &id).await.map_err(problem)?;
    respond(&api, &caller, StatusCode::OK, &schedule).await
}

pub(crate) async fn patch(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let expected = if_match(&headers, WHOSE_TAG)?;
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let (current, _) = schedules::find(&api.app, &caller, &id).await.map_err(problem)?;
    let name = fields.reference("name", MAX_NAME);
    let timing = read_timing(&mut fields, Some(current.timing), api.app.host.now());
    let message = read_action(&mut fields);
    let catch_up = read_catch_up(&mut fields, current.catch_up);
    all_faults(&api, &caller, fields, timing.as_ref(), message.as_ref()).await?;
    // Missing parts are taken from the revision just read, so that must still be the newest.
    let is_partial = timing.is_some() || catch_up.is_some();
    let base = expected.or(is_partial.then_some(current.revision));
    let change = ScheduleChange { expected: base, name, timing, message, catch_up };
    let changed = schedules::change(&api.app, &caller, &id, change).await.map_err(problem)?;
    respond(&api, &caller, StatusCode::OK, &changed).await
}

pub(crate) async fn remove(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Problem> {
    let expected = if_match(&headers, WHOSE_TAG)?;
    schedules::delete(&api.app, &caller, &id, expected).await.map_err(problem)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn pause(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let expected = if_match(&headers, WHOSE_TAG)?;
    let mut fields = BodyReader::parse_optional(&read_body(body).await?)?;
    let until = fields.time("until");
    if until.is_some_and(|until| until <= api.app.host.now()) {
        fields.add_error("until", "in_the_past", "until must lie in the future.");
    }
    let reason = fields.reference("reason", 200);
    fields.finish()?;
    let paused = schedules::pause(&api.app, &caller, &id, expected, until, reason).await.map_err(problem)?;
    respond(&api, &caller, StatusCode::OK, &paused).await
}

pub(crate) async fn resume(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let expected = if_match(&headers, WHOSE_TAG)?;
    BodyReader::parse_optional(&read_body(body).await?)?.finish()?;
    let resumed = schedules::resume(&api.app, &caller, &id, expected).await.map_err(problem)?;
    respond(&api, &caller, StatusCode::OK, &resumed).await
}

/// The next occurrences of a schedule.
pub(crate) async fn preview(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let count = read_count(query, "n")?;
    let (schedule, _) = schedules::find(&api.app, &caller, &id).await.map_err(problem)?;
    let after = next_occurrence(&schedule, api.app.host.now()).map(|next| Timestamp(next.at.0 - 1));
    let occurrences = match (schedule.recurrence(), after) {
        (Some(recurrence), Some(after)) => recurrence.preview(after, count),
        _ => Vec::new(),
    };
    Ok(present_preview(&occurrences))
}

/// The next occurrences of a schedule that is not saved. Other fields of a schedule's body are ignored.
pub(crate) async fn preview_unsaved(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    query: RawQuery,
    body: Body,
) -> Result<Response, Problem> {
    let count = read_count(query, "n")?;
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    ["name", "action", "catchUp"].iter().for_each(|field| fields.discard(field));
    let now = api.app.host.now();
    let timing = read_timing(&mut fields, None, now);
    let mut errors = fields.into_errors();
    let previewed = timing.as_ref().map(|timing| schedules::preview(&caller, timing, now, count));
    match previewed {
        Some(Err(ScheduleError::Invalid(faults))) => errors.extend(errors_of(&faults)),
        Some(Err(error)) => return Err(problem(error)),
        Some(Ok(occurrences)) if errors.is_empty() => return Ok(present_preview(&occurrences)),
        Some(Ok(_)) | None => (),
    }
    Err(Problem::invalid(errors))
}

/// The newest events before a position, in order.
pub(crate) async fn events(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut query = QueryParams::parse(query)?;
    let before = query.number("before", 1..=u32::MAX).map_or(usize::MAX, |before| before as usize - 1);
    query.finish()?;
    let (_, records) = schedules::history(&api.app, &caller, &id).await.map_err(problem)?;
    let end = records.len().min(before);
    let start = end.saturating_sub(MAX_EVENTS);
    let numbered = records.iter().enumerate().take(end).skip(start);
    let events: Vec<Value> = numbered.map(|(index, record)| decision(index + 1, record)).collect();
    Ok(json(StatusCode::OK, &json!({ "id": id, "events": events, "hasMore": start > 0 })))
}

/// The newest occurrences whose time has come, each with its outcome.
pub(crate) async fn occurrences(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let count = read_count(query, "limit")?;
    let handled = schedules::occurrences(&api.app, &caller, &id, count).await.map_err(problem)?;
    let shown: Vec<Value> = handled.iter().map(present_handled).collect();
    Ok(json(StatusCode::OK, &json!({ "id": id, "occurrences": shown })))
}

/// Why a schedule sends its message, or does not.
pub(crate) async fn explain(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let (schedule, records) = schedules::history(&api.app, &caller, &id).await.map_err(problem)?;
    let now = api.app.host.now();
    let (summary, steps) = explain_schedule(&schedule, &records, now);
    let start = steps.len().saturating_sub(MAX_EVENTS);
    let steps: Vec<Value> = steps[start..].iter().map(explanation_step).collect();
    let next = next_occurrence(&schedule, now);
    let shown = json!({
        "id": id,
        "summary": summary,
        "status": schedule.status.as_str(),
        "nextOccurrence": next.as_ref().map(present_occurrence),
        "steps": steps,
        "hasMore": start > 0,
    });
    Ok(json(StatusCode::OK, &shown))
}
