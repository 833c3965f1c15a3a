//! Recurring schedules: created, changed, paused, previewed and explained.

use application::messages;
use application::problem::{FieldError, Kind, Problem};
use application::schedules::{
    self, Faults, HandledOccurrence, NewSchedule, ScheduleChange, ScheduleError, StoredMessage, message_of,
};
use application::{Caller, ExecuteError};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use domain::schedule::{Fate, Fault, MAX_DATES, Occurrence, Rejection, Schedule, ScheduleStatus};
use events::{CatchUp, CatchUpPolicy, ScheduleTiming, Timestamp};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::fields::{Fields, missing, show_time};
use crate::message_body::{idempotency_key, read_message};
use crate::message_problem::{pointer, problem_of_faults};
use crate::read::Query;
use crate::{Api, Shared, json, present, read_body};

const MAX_NAME: usize = 100;
/// Longest catch-up window.
const MAX_WINDOW_MS: i64 = domain::schedule::MAX_WINDOW_MS;
const DEFAULT_CATCH_UP: CatchUp = CatchUp { policy: CatchUpPolicy::Last, window_ms: 24 * 3_600_000, most: 10 };
/// Occurrences of a preview and of a list, at most, and if the caller does not say.
const MAX_OCCURRENCES: u32 = 50;
const DEFAULT_OCCURRENCES: u32 = 10;

// ---- Reading

/// An object inside of the body, with the faults at their places.
fn nested<T>(fields: &mut Fields, field: &str, read: impl FnOnce(&mut Fields) -> T) -> Option<T> {
    let mut inner = Fields::of(fields.object(field)?).ok()?;
    let value = read(&mut inner);
    for error in inner.into_errors() {
        fields.add_error(FieldError { pointer: format!("/{field}{}", error.pointer), ..error });
    }
    Some(value)
}

fn read_dates(fields: &mut Fields, field: &str) -> Vec<String> {
    let given = fields.list(field, MAX_DATES);
    let dates: Option<Vec<String>> = given.iter().map(|date| date.as_str().map(str::to_owned)).collect();
    if dates.is_none() {
        fields.wrong(field, "not_dates", format!("{field} is a list of dates such as 2026-12-24."));
    }
    dates.unwrap_or_default()
}

fn today(time_zone: &str, now: Timestamp) -> String {
    let now = jiff::Timestamp::from_millisecond(now.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let zone = jiff::tz::TimeZone::get(time_zone).unwrap_or(jiff::tz::TimeZone::UTC);
    zone.to_datetime(now).date().to_string()
}

/// Reads the timing. What is not given is that of `base`, and what is null there is taken away. Returns `None` if nothing is
/// given, or if too little of it can be read.
fn read_timing(fields: &mut Fields, base: Option<ScheduleTiming>, now: Timestamp) -> Option<ScheduleTiming> {
    const NAMES: [&str; 8] = ["when", "time", "timeZone", "start", "end", "exceptions", "additions", "clampToMonthEnd"];
    if base.is_some() && !NAMES.iter().any(|name| fields.is_given(name)) {
        return None;
    }
    let is_new = base.is_none();
    let rule = |fields: &mut Fields| {
        let given = nested(fields, "when", |when| (when.text("cron", 1_000), when.text("rrule", 1_000)));
        if given.as_ref().is_some_and(|(cron, rrule)| cron.is_some() == rrule.is_some()) {
            fields.wrong("when", "not_one", "when is {\"cron\": …} or {\"rrule\": …}.");
        }
        given
    };
    let rule = if is_new { fields.required("when", rule) } else { rule(fields) };
    let zone = |fields: &mut Fields| fields.text("timeZone", 64);
    let zone = if is_new { fields.required("timeZone", zone) } else { zone(fields) };
    let base = match base {
        Some(base) => base,
        None => {
            let time_zone = zone.clone()?;
            let start = today(&time_zone, now);
            ScheduleTiming { time_zone, start, ..ScheduleTiming::default() }
        }
    };
    let (cron, rrule) = rule.unwrap_or((base.cron, base.rrule));
    // A cron expression has its times in itself: an earlier time goes, a given one is a fault.
    let base_time = base.time.filter(|_| cron.is_none());
    let time = if fields.is_null("time") { None } else { fields.text("time", 20).or(base_time) };
    let end = if fields.is_null("end") { None } else { fields.text("end", 20).or(base.end) };
    let exceptions = if fields.is_given("exceptions") { read_dates(fields, "exceptions") } else { base.exceptions };
    let additions = if fields.is_given("additions") { read_dates(fields, "additions") } else { base.additions };
    Some(ScheduleTiming {
        time,
        cron,
        rrule,
        time_zone: zone.unwrap_or(base.time_zone),
        start: fields.text("start", 20).unwrap_or(base.start),
        end,
        exceptions,
        additions,
        clamp_to_month_end: fields.flag("clampToMonthEnd").unwrap_or(base.clamp_to_month_end),
    })
}

fn read_catch_up(fields: &mut Fields, base: CatchUp) -> Option<CatchUp> {
    nested(fields, "catchUp", |fields| CatchUp {
        policy: fields.choice("policy", &CatchUpPolicy::names()).unwrap_or(base.policy),
        window_ms: fields.duration("window", 0..=MAX_WINDOW_MS).unwrap_or(base.window_ms),
        most: fields.number("most", 1..=100).map_or(base.most, |most| most as u8),
    })
}

/// Reads `action`: the body of `POST /api/communications/send`, without times of its own.
fn read_action(fields: &mut Fields) -> Option<StoredMessage> {
    nested(fields, "action", |action| {
        let given = action.required("send", |action| action.object("send"))?;
        let mut send = Fields::of(given.clone()).ok()?;
        for field in ["scheduledAt", "expiresAt"] {
            if send.has(field) {
                let detail =
                    format!("{field} has no meaning in a schedule: the schedule says when its messages are sent.");
                action.wrong(&format!("send/{field}"), "not_in_a_schedule", detail);
            }
            send.discard(field);
        }
        Some(StoredMessage { body: given.to_string(), message: read_message(send, None) })
    })
    .flatten()
}

/// `If-Match: "3"`. Returns `None` if it is absent or `*`.
fn expected(headers: &HeaderMap) -> Result<Option<u32>, Problem> {
    let Some(given) = headers.get(header::IF_MATCH) else { return Ok(None) };
    match given.to_str().unwrap_or_default().trim().trim_matches('"') {
        "*" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|_| Problem::new(Kind::Malformed, "If-Match is the ETag of a schedule, such as \"3\".")),
    }
}

fn read_count(query: RawQuery, name: &str) -> Result<usize, Problem> {
    let mut query = Query::parse(query)?;
    let count = query.number(name, 1..=MAX_OCCURRENCES).unwrap_or(DEFAULT_OCCURRENCES);
    query.finish()?;
    Ok(count as usize)
}

// ---- Problems

fn timing_error(fault: &Fault) -> FieldError {
    FieldError {
        pointer: format!("/{}", fault.field),
        code: fault.code.as_str(),
        detail: format!("{}.", fault.message),
    }
}

fn message_errors(faults: &[messages::Fault]) -> Vec<FieldError> {
    if faults.is_empty() {
        return Vec::new();
    }
    problem_of_faults(faults, |fault| format!("/action/send{}", pointer(fault))).errors
}

fn errors_of(faults: &Faults) -> Vec<FieldError> {
    faults.timing.iter().map(timing_error).chain(message_errors(&faults.message)).collect()
}

pub(crate) fn problem(error: ScheduleError) -> Problem {
    match error {
        ScheduleError::Forbidden(forbidden) => forbidden.into(),
        ScheduleError::NotFound | ScheduleError::Execute(ExecuteError::Rejected(Rejection::Unknown)) => {
            Problem::new(Kind::NotFound, "There is no such schedule; GET /api/schedules lists them.")
        }
        ScheduleError::Invalid(faults) => Problem::invalid(errors_of(&faults)),
        ScheduleError::Message(error) => crate::message_problem::problem(error),
        ScheduleError::IdempotencyKeyReused => {
            Problem::new(Kind::IdempotencyKeyReused, "Another schedule was created with this Idempotency-Key.")
        }
        ScheduleError::Execute(ExecuteError::Rejected(rejection @ Rejection::Changed(_))) => {
            Problem::new(Kind::PreconditionFailed, format!("The schedule was changed: {rejection}."))
        }
        ScheduleError::Execute(ExecuteError::Rejected(rejection)) => {
            Problem::new(Kind::Conflict, format!("Not possible: {rejection}."))
        }
        ScheduleError::Execute(error) => error.map_rejection(|_| domain::communication::Rejection::Finished).into(),
        ScheduleError::Store(error) => error.into(),
    }
}

/// Everything that is wrong with a body: its shape, its timing and its message.
async fn all_faults(
    api: &Api,
    caller: &Caller,
    fields: Fields,
    timing: Option<&ScheduleTiming>,
    message: Option<&StoredMessage>,
) -> Result<(), Problem> {
    let mut errors = fields.into_errors();
    if errors.is_empty() {
        return Ok(());
    }
    if let Err(ScheduleError::Invalid(faults)) = schedules::check(&api.app, caller, timing, message).await {
        errors.extend(errors_of(&faults));
    }
    Err(Problem::invalid(errors))
}

// ---- Presenting

/// `+02:00`.
fn show_offset(occurrence: &Occurrence) -> String {
    let seconds = occurrence.offset.seconds();
    let (sign, minutes) = (if seconds < 0 { '-' } else { '+' }, seconds.abs() / 60);
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

fn present_occurrence(occurrence: &Occurrence) -> Value {
    json!({
        "nominal": occurrence.nominal.to_string(),
        "at": show_time(occurrence.at),
        "offset": show_offset(occurrence),
        "moved": occurrence.moved.map(|moved| moved.as_str()),
    })
}

fn next_occurrence(schedule: &Schedule, now: Timestamp) -> Option<Occurrence> {
    let after = match schedule.status {
        ScheduleStatus::Active => now,
        ScheduleStatus::Paused { until } => until?.max(now),
        ScheduleStatus::Ended(_) => return None,
    };
    schedule.recurrence()?.next_after(after)
}

fn present_schedule(schedule: &Schedule, now: Timestamp) -> Value {
    let ScheduleTiming { cron, rrule, time, time_zone, start, end, exceptions, additions, clamp_to_month_end } =
        &schedule.timing;
    let when = match cron {
        Some(cron) => json!({ "cron": cron }),
        None => json!({ "rrule": rrule }),
    };
    let (paused_until, end_reason) = match schedule.status {
        ScheduleStatus::Active => (None, None),
        ScheduleStatus::Paused { until } => (until, None),
        ScheduleStatus::Ended(reason) => (None, Some(reason)),
    };
    let recipient = schedule.message.recipient.as_ref();
    json!({
        "id": schedule.id,
        "name": schedule.name,
        "status": schedule.status.as_str(),
        "pausedUntil": paused_until.map(show_time),
        "endReason": end_reason.map(|reason| reason.as_str()),
        "revision": schedule.revision,
        "mode": schedule.author.mode,
        "when": when,
        "time": time,
        "timeZone": time_zone,
        "start": start,
        "end": end,
        "exceptions": exceptions,
        "additions": additions,
        "clampToMonthEnd": clamp_to_month_end,
        "catchUp": {
            "policy": schedule.catch_up.policy,
            "window": SignedDuration::from_millis(schedule.catch_up.window_ms).to_string(),
            "most": schedule.catch_up.most,
        },
        "channel": schedule.message.channel,
        "type": schedule.message.kind,
        "recipientType": recipient.map(|recipient| recipient.kind),
        "recipientId": recipient.and_then(|recipient| recipient.id.clone()),
        "nextOccurrence": next_occurrence(schedule, now).as_ref().map(present_occurrence),
        "createdAt": show_time(schedule.created_at),
        "createdBy": schedule.created_by,
        "updatedAt": show_time(schedule.updated_at),
    })
}

/// A schedule with its message, which is null once it is erased.
pub(crate) fn present_with_message(schedule: &Schedule, stored: Option<&StoredMessage>, now: Timestamp) -> Value {
    let mut body = present_schedule(schedule, now);
    let send = stored.and_then(|stored| serde_json::from_str::<Value>(&stored.body).ok());
    body["action"] = send.map_or(Value::Null, |send| json!({ "send": send }));
    body
}

/// A schedule with its revision as the entity tag.
async fn respond(api: &Api, caller: &Caller, status: StatusCode, schedule: &Schedule) -> Result<Response, Problem> {
    let stored = message_of(&api.app.own, &caller.principal.tenant, schedule).await?;
    let body = present_with_message(schedule, stored.as_ref(), api.app.host.now());
    let mut response = json(status, &body);
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", schedule.revision)) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(response)
}

// ---- Handlers

pub(crate) async fn list(State(api): Shared, Extension(caller): Extension<Caller>) -> Result<Response, Problem> {
    let schedules = schedules::list(&api.app, &caller).await.map_err(problem)?;
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
    let mut fields = Fields::parse(&read_body(body).await?)?;
    let name = fields.required("name", |fields| fields.reference("name", MAX_NAME));
    let timing = read_timing(&mut fields, None, api.app.host.now());
    let message = fields.required("action", read_action);
    let catch_up = read_catch_up(&mut fields, DEFAULT_CATCH_UP).unwrap_or(DEFAULT_CATCH_UP);
    all_faults(&api, &caller, fields, timing.as_ref(), message.as_ref()).await?;
    let (Some(name), Some(timing), Some(message)) = (name, timing, message) else { return Err(missing()) };
    let new = NewSchedule { name, timing, message, catch_up, idempotency_key };
    let created = schedules::create(&api.app, &caller, new).await.map_err(problem)?;
    let mut response = respond(&api, &caller, StatusCode::CREATED, &created).await?;
    if let Ok(location) = HeaderValue::from_str(&format!("/api/schedules/{}", created.id)) {
        response.headers_mut().insert(header::LOCATION, location);
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
    let expected = expected(&headers)?;
    let mut fields = Fields::parse(&read_body(body).await?)?;
    let (current, _) = schedules::find(&api.app, &caller, &id).await.map_err(problem)?;
    let name = fields.reference("name", MAX_NAME);
    let timing = read_timing(&mut fields, Some(current.timing), api.app.host.now());
    let message = read_action(&mut fields);
    let catch_up = read_catch_up(&mut fields, current.catch_up);
    all_faults(&api, &caller, fields, timing.as_ref(), message.as_ref()).await?;
    // What is not given is that of the revision just read, so that must still be the newest.
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
) -> Result<StatusCode, Problem> {
    schedules::delete(&api.app, &caller, &id).await.map_err(problem)?;
    Ok(StatusCode::NO_CONTENT)
}

pub(crate) async fn pause(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = Fields::parse_optional(&read_body(body).await?)?;
    let until = fields.time("until");
    if until.is_some_and(|until| until <= api.app.host.now()) {
        fields.wrong("until", "in_the_past", "until must lie in the future.");
    }
    let reason = fields.reference("reason", 200);
    fields.finish()?;
    let paused = schedules::pause(&api.app, &caller, &id, until, reason).await.map_err(problem)?;
    respond(&api, &caller, StatusCode::OK, &paused).await
}

pub(crate) async fn resume(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    Fields::parse_optional(&read_body(body).await?)?.finish()?;
    let resumed = schedules::resume(&api.app, &caller, &id).await.map_err(problem)?;
    respond(&api, &caller, StatusCode::OK, &resumed).await
}

fn present_preview(occurrences: &[Occurrence]) -> Response {
    let shown: Vec<Value> = occurrences.iter().map(present_occurrence).collect();
    json(StatusCode::OK, &json!({ "occurrences": shown }))
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

/// The next occurrences of a schedule that is not saved. Whatever else a schedule's body holds is passed over.
pub(crate) async fn preview_unsaved(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    query: RawQuery,
    body: Body,
) -> Result<Response, Problem> {
    caller.authorise(domain::access::Permission::View)?;
    let count = read_count(query, "n")?;
    let mut fields = Fields::parse(&read_body(body).await?)?;
    ["name", "action", "catchUp"].iter().for_each(|field| fields.discard(field));
    let now = api.app.host.now();
    let timing = read_timing(&mut fields, None, now);
    let mut errors = fields.into_errors();
    let recurrence = timing.as_ref().map(|timing| schedules::check_timing(timing, now));
    if let Some(Err(faults)) = &recurrence {
        errors.extend(faults.iter().map(timing_error));
    }
    match recurrence {
        Some(Ok(recurrence)) if errors.is_empty() => Ok(present_preview(&recurrence.preview(now, count))),
        _ => Err(Problem::invalid(errors)),
    }
}

pub(crate) async fn events(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let (_, records) = schedules::history(&api.app, &caller, &id).await.map_err(problem)?;
    let shown: Vec<Value> =
        records.iter().enumerate().map(|(index, record)| present::decision(index + 1, record)).collect();
    Ok(json(StatusCode::OK, &json!({ "id": id, "events": shown })))
}

fn present_handled(handled: &HandledOccurrence) -> Value {
    let mut shown = present_occurrence(&handled.past.occurrence);
    let (outcome, reason, code) = match (&handled.communication, &handled.past.fate) {
        (Some(_), _) => ("sent", None, None),
        (None, Fate::Sends) => ("waiting", None, None),
        (None, Fate::Paused) => ("paused", None, None),
        (None, Fate::Missed { reason, code }) => ("missed", Some(reason.as_str()), code.as_deref()),
    };
    shown["outcome"] = json!(outcome);
    shown["reason"] = json!(reason);
    shown["code"] = json!(code);
    shown["communicationId"] = json!(handled.communication.as_ref().map(|(id, _)| id));
    shown["status"] = json!(handled.communication.as_ref().map(|(_, status)| status.as_str()));
    shown
}

/// The newest occurrences whose time has come, and what became of each.
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
    let (summary, steps) = domain::schedule::explain(&schedule, &records, now);
    let steps: Vec<Value> = steps.iter().map(present::explanation_step).collect();
    let next = next_occurrence(&schedule, now);
    let shown = json!({
        "id": id,
        "summary": summary,
        "status": schedule.status.as_str(),
        "nextOccurrence": next.as_ref().map(present_occurrence),
        "steps": steps,
    });
    Ok(json(StatusCode::OK, &shown))
}
