//! Business events over HTTP: taking them, showing them, and deciding on those that were not handled.

mod body;
mod faults;
mod present;
pub(crate) mod settings;

use application::Caller;
use application::business_events::{self, BusinessEventError, NewEvent, Replayed, Taken};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::business_event::{BusinessEventFilter, EVENT_TYPES, EventStatus, EventType};
use futures_util::future::join_all;
use problem::{Problem, ProblemKind};
use serde_json::{Value, json};

use faults::field_errors;
pub(crate) use present::act;

use crate::fields::BodyReader;
use crate::present::decision;
use crate::query::QueryParams;
use crate::read::{Paging, page_of};
use crate::{Api, Shared, json, read_body};

/// Number of events of a batch that are stored concurrently.
const MAX_CONCURRENT: usize = 16;
/// Types that can have many effects. They are left to the process function.
const LARGE_TYPES: [&str; 2] = ["low_stock.detected", "ar_invoice.statement"];
/// Maximum number of events of one bulk replay.
const MAX_REPLAYED: u64 = 500;

fn no_event() -> Problem {
    Problem::new(ProblemKind::NotFound, "No business event has this id.")
}

fn no_type() -> Problem {
    Problem::new(ProblemKind::NotFound, "No event type has this name. GET /api/event-types lists them.")
}

fn problem(error: BusinessEventError) -> Problem {
    match error {
        BusinessEventError::Forbidden(forbidden) => forbidden.into(),
        BusinessEventError::NotFound => no_event(),
        BusinessEventError::Invalid(faults) => Problem::invalid(field_errors(&faults)),
        BusinessEventError::NoData => {
            let detail = "The data of this event was erased, or is older than 30 days, so it cannot be replayed.";
            Problem::new(ProblemKind::Conflict, detail)
        }
        BusinessEventError::Execute(error) => error.into(),
        BusinessEventError::Store(error) => error.into(),
        BusinessEventError::Process(error) => {
            tracing::error!(%error, "an event was stored, but not handled");
            let detail = "The event is stored and will be handled. See its status in a moment.";
            Problem::new(ProblemKind::Unavailable, detail)
        }
    }
}

/// Takes one event, or each event of a batch by itself.
pub(crate) async fn take(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let bytes = read_body(body).await?;
    match body::read(&headers, &bytes)? {
        body::Events::One(event) => {
            let taken = business_events::receive(&api.app, &caller, event?).await.map_err(problem)?;
            let taken = handle(&api, &caller, taken).await;
            let mut response = json(StatusCode::ACCEPTED, &present::taken(&taken));
            let headers = response.headers_mut();
            if let Ok(location) = HeaderValue::from_str(&format!("/api/business-events/{}", taken.id)) {
                headers.insert(header::LOCATION, location);
            }
            if taken.is_replay {
                headers.insert("idempotent-replayed", HeaderValue::from_static("true"));
            }
            Ok(response)
        }
        body::Events::Batch(batch) => take_batch(&api, &caller, batch).await,
    }
}

/// Handles an event that was just stored, unless that can take long.
async fn handle(api: &Api, caller: &Caller, taken: Taken) -> Taken {
    let is_large = LARGE_TYPES.contains(&taken.event.received.classification.kind.as_str());
    if is_large && taken.event.status == EventStatus::Received {
        business_events::send_hint(&api.app, caller, &taken.id).await;
        return taken;
    }
    business_events::try_handle(&api.app, caller, taken).await
}

async fn take_batch(api: &Api, caller: &Caller, batch: Vec<Result<NewEvent, Problem>>) -> Result<Response, Problem> {
    let take = async |event: Result<NewEvent, Problem>| {
        let taken = business_events::receive(&api.app, caller, event?).await.map_err(problem)?;
        if taken.event.status == EventStatus::Received {
            business_events::send_hint(&api.app, caller, &taken.id).await;
        }
        Ok::<Taken, Problem>(taken)
    };
    let mut taken = Vec::new();
    let mut rest = batch.into_iter();
    loop {
        let some: Vec<_> = rest.by_ref().take(MAX_CONCURRENT).collect();
        if some.is_empty() {
            break;
        }
        taken.extend(join_all(some.into_iter().map(take)).await);
    }
    let refused = taken.iter().filter(|taken| taken.is_err()).count();
    let replayed = taken.iter().filter(|taken| taken.as_ref().is_ok_and(|taken| taken.is_replay)).count();
    let results: Vec<Value> = taken.iter().enumerate().map(|(index, taken)| present::result(index, taken)).collect();
    let accepted = taken.len() - refused - replayed;
    let body = json!({ "accepted": accepted, "replayed": replayed, "refused": refused, "results": results });
    Ok(json(StatusCode::OK, &body))
}

/// The types of events.
pub(crate) async fn types(query: RawQuery) -> Result<Response, Problem> {
    QueryParams::parse(query)?.finish()?;
    let shown: Vec<Value> = EVENT_TYPES.iter().map(present::event_type).collect();
    Ok(json(StatusCode::OK, &json!({ "types": shown })))
}

/// The JSON Schema of a type's data.
pub(crate) async fn schema(Path(kind): Path<String>) -> Result<Response, Problem> {
    let known = EventType::find(&kind).ok_or_else(no_type)?;
    Ok(document(known.schema))
}

/// Data of a type that is valid.
pub(crate) async fn example(Path(kind): Path<String>) -> Result<Response, Problem> {
    let known = EventType::find(&kind).ok_or_else(no_type)?;
    Ok(document(known.example))
}

fn document(text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

fn read_filter(query: &mut QueryParams) -> BusinessEventFilter {
    BusinessEventFilter {
        status: query.choice("status", &EventStatus::NAMES),
        reason: query.text("reason"),
        kind: query.text("type"),
        source: query.text("source"),
        event_id: query.text("eventId"),
        subject: query.text("subject"),
        mentions: query.text("mentions"),
        from: query.time("from", false),
        to: query.time("to", true),
    }
}

pub(crate) async fn list(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut query = QueryParams::parse(query)?;
    let filter = read_filter(&mut query);
    let paging = Paging::read(&mut query, &filter, |id| id.starts_with("bev_"));
    query.finish()?;
    let page = business_events::list(&api.app, &caller, &filter, paging.after.as_deref(), paging.size)
        .await
        .map_err(problem)?;
    let shown: Vec<Value> = page.rows.iter().map(present::row).collect();
    Ok(json(StatusCode::OK, &page_of(shown, page.next.as_deref(), &filter)))
}

pub(crate) async fn get(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut query = QueryParams::parse(query)?;
    let is_raw = query.choice("raw", &["true", "false"]).unwrap_or(false);
    query.finish()?;
    let (event, wake) = business_events::find(&api.app, &caller, &id).await.map_err(problem)?;
    let mut shown = present::event(&id, &event, wake);
    if is_raw {
        let stored = business_events::raw(&api.app, &caller, &event).await.map_err(problem)?;
        shown["data"] = stored.map_or(Value::Null, |stored| stored.data);
    }
    Ok(json(StatusCode::OK, &shown))
}

/// The complete history of an event.
pub(crate) async fn history(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    query: RawQuery,
) -> Result<Response, Problem> {
    QueryParams::parse(query)?.finish()?;
    let records = business_events::history(&api.app, &caller, &id).await.map_err(problem)?;
    let shown: Vec<Value> = records.iter().enumerate().map(|(index, record)| decision(index + 1, record)).collect();
    Ok(json(StatusCode::OK, &json!({ "id": id, "events": shown })))
}

pub(crate) async fn replay(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    BodyReader::parse_optional(&read_body(body).await?)?.finish()?;
    let taken = business_events::replay(&api.app, &caller, &id).await.map_err(problem)?;
    Ok(json(StatusCode::OK, &present::event(&id, &taken.event, taken.event.retry_at)))
}

pub(crate) async fn discard(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse_optional(&read_body(body).await?)?;
    let reason = fields.reference("reason", 200);
    fields.finish()?;
    let event = business_events::discard(&api.app, &caller, &id, reason).await.map_err(problem)?;
    Ok(json(StatusCode::OK, &present::event(&id, &event, None)))
}

/// Replays many events, or says what that would do.
pub(crate) async fn replay_many(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse_optional(&read_body(body).await?)?;
    let filter = BusinessEventFilter {
        status: fields.one_of("status", &["parked", "unhandled", "discarded"]).or_else(|| Some("parked".to_owned())),
        reason: fields.reference("reason", 100),
        kind: fields.reference("type", 255),
        source: fields.reference("source", 255),
        event_id: None,
        subject: fields.reference("subject", 300),
        mentions: fields.reference("mentions", 255),
        from: fields.time("from"),
        to: fields.time("to"),
    };
    let limit = fields.number("limit", 1..=MAX_REPLAYED).unwrap_or(100);
    let is_dry_run = fields.flag("dryRun").unwrap_or(false);
    fields.finish()?;
    let replay = business_events::replay_many(&api.app, &caller, &filter, limit as usize, is_dry_run);
    let (replayed, has_more) = replay.await.map_err(problem)?;
    let of = |meaning: &str| replayed.iter().filter(|event| event.meaning == meaning).count();
    let shown = |event: &Replayed| json!({ "id": event.id, "meaning": event.meaning, "status": event.status });
    let body = json!({
        "matched": replayed.len(),
        "replayable": of("known"),
        "replayed": replayed.iter().filter(|event| event.status.is_some()).count(),
        "dryRun": is_dry_run,
        "hasMore": has_more,
        "results": replayed.iter().map(shown).collect::<Vec<_>>(),
    });
    Ok(json(StatusCode::OK, &body))
}
