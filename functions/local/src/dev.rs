//! The routes under `/_dev`, which exist only in this process.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api::fields::{BodyReader, show_time};
use application::kinds;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::business_event::EventStatus;
use domain::ports::{ClockAndRng, QueueId, WorkQueue};
use events::{IntakeChannel, Timestamp};
use infra::embedded::{Database, FolderObjectStore, MemoryWorkQueue, upload_scope};
use infra::providers::content_disposition;
use intake::{IntakeHandler, TakenFor};
use problem::{Problem, ProblemKind};
use schedule::SweepHandler;
use serde::Deserialize;
use serde_json::{Value, json};
use simulator::{Act, ActError, Fault, FaultKind, Simulator, examples};

use crate::clock::Clock;
use crate::clock_jump::Passing;
use crate::hourly::HourlyCheck;

/// Maximum time that a caller can wait for a message.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// How many streams the list of public events looks at.
const MAX_STREAMS: usize = 1_000;

/// How far `to` can move the clock, in milliseconds.
const MAX_JUMP_MS: i64 = 400 * 86_400_000;

/// Maximum length of a reply, in characters.
const MAX_REPLY: usize = 1_600;

/// Maximum size of an uploaded file, in bytes.
const MAX_FILE: usize = 17 * 1024 * 1024;

pub struct Dev {
    pub simulator: Arc<Simulator>,
    pub clock: Arc<Clock>,
    /// Held while the clock is moved, so that two requests at once do not pass their goals.
    pub jump: tokio::sync::Mutex<()>,
    pub queue: Arc<MemoryWorkQueue>,
    pub schedule: SweepHandler,
    pub check: Arc<HourlyCheck>,
    pub database: Database,
    pub objects: Arc<FolderObjectStore>,
    pub intake: IntakeHandler,
}

type Shared = State<Arc<Dev>>;

pub fn router(dev: Arc<Dev>) -> Router {
    Router::new()
        .route("/_dev/inbox", get(list_received).delete(clear_inbox))
        .route("/_dev/inbox/{id}", get(show_received))
        .route("/_dev/inbox/{id}/{act}", post(act))
        .route("/_dev/providers", get(list_provider_examples))
        .route("/_dev/faults", get(list_faults).post(inject_fault).delete(clear_faults))
        .route("/_dev/clock", get(show_clock).post(advance_clock))
        .route("/_dev/events", post(take_event))
        .route("/_dev/bus", get(list_public_events))
        .route("/_dev/queues", get(show_queues))
        .route("/_dev/suppressions", delete(clear_suppressions))
        .route("/_dev/files/{folder}/{tenant}/{name}", get(download_file).put(upload_file))
        .layer(DefaultBodyLimit::max(MAX_FILE))
        .layer(axum::middleware::from_fn(json_only))
        .with_state(dev)
}

/// Rejects a POST whose body is not declared as JSON. A browser lets a page of another site send any other body without
/// asking first.
async fn json_only(request: Request, next: Next) -> Response {
    let kind = header_of(request.headers(), "content-type");
    let is_json = kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
    let length = header_of(request.headers(), "content-length");
    let has_body = request.headers().contains_key(header::TRANSFER_ENCODING) || !matches!(&*length, "" | "0");
    if request.method() == Method::POST && has_body && !is_json {
        return malformed("Send JSON, with the header content-type: application/json.").into_response();
    }
    next.run(request).await
}

fn malformed(detail: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::Malformed, detail)
}

fn parse<'a, T: Deserialize<'a>>(body: &'a Bytes) -> Result<T, Problem> {
    serde_json::from_slice(body).map_err(|error| malformed(format!("{error}.")))
}

/// The events that the function `publish` would have put on the bus for the streams that changed last, in their order.
async fn list_public_events(State(dev): Shared) -> Result<Json<Value>, Problem> {
    let mut events = Vec::new();
    for change in dev.database.newest_changes(MAX_STREAMS)? {
        events.extend(kinds::public_events(&dev.database, &change.id, change.stream, 0).await?);
    }
    events.sort_by(|a, b| (&a.timestamp, a.sequence).cmp(&(&b.timestamp, b.sequence)));
    Ok(Json(json!({ "events": events })))
}

/// Parses a duration such as `5s`, `500ms` or `5`, which means seconds.
fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1),
        None => (text.strip_suffix('s').unwrap_or(text), 1_000),
    };
    Some(Duration::from_millis(number.parse::<u64>().ok()?.checked_mul(unit)?).min(MAX_WAIT))
}

async fn list_received(
    State(dev): Shared,
    Query(mut query): Query<HashMap<String, String>>,
) -> Result<Json<Value>, Problem> {
    let to = query.remove("to");
    let channel = query.remove("channel");
    let wait = query
        .remove("wait")
        .map(|wait| parse_duration(&wait).ok_or_else(|| malformed("wait must be a duration such as 5s.")));
    let wait = wait.transpose()?;
    if let Some(name) = query.keys().next() {
        return Err(malformed(format!("Unknown parameter {name}. The parameters are to, channel and wait.")));
    }
    let mut entries = match wait {
        Some(wait) => dev.simulator.inbox.wait(to.as_deref(), wait).await,
        None => dev.simulator.inbox.list(to.as_deref()),
    };
    entries.retain(|entry| channel.as_ref().is_none_or(|channel| entry.channel == channel));
    Ok(Json(json!({ "messages": entries })))
}

async fn clear_inbox(State(dev): Shared) -> StatusCode {
    dev.simulator.clear_inbox();
    StatusCode::NO_CONTENT
}

fn no_message() -> Problem {
    Problem::new(ProblemKind::NotFound, "The inbox has no message with this id. GET /_dev/inbox lists them.")
}

/// One message of the inbox, with the callbacks about it and the acts that its provider reports.
async fn show_received(State(dev): Shared, Path(id): Path<String>) -> Result<Json<Value>, Problem> {
    let id: u64 = id.parse().map_err(|_| no_message())?;
    let entry = dev.simulator.inbox.get(id).ok_or_else(no_message)?;
    let mut shown = serde_json::to_value(&entry).unwrap_or_default();
    shown["callbacks"] = json!(entry.callbacks);
    shown["acts"] = json!(dev.simulator.acts(id));
    Ok(Json(shown))
}

/// Acts as the recipient of a message, or as its provider. The answer comes when the callbacks were sent.
async fn act(
    State(dev): Shared,
    Path((id, name)): Path<(String, String)>,
    body: Bytes,
) -> Result<Json<Value>, Problem> {
    let id: u64 = id.parse().map_err(|_| no_message())?;
    let mut fields = BodyReader::parse_optional(&body)?;
    let text = if name == "reply" { fields.required("text", |fields| fields.text("text", MAX_REPLY)) } else { None };
    fields.finish()?;
    let act = Act::parse(&name, text)
        .ok_or_else(|| Problem::new(ProblemKind::NotFound, format!("The acts are: {}.", Act::NAMES.join(", "))))?;
    dev.simulator.act(id, act).await.map_err(|error| match error {
        ActError::Unknown => no_message(),
        ActError::NotReported => {
            let acts = dev.simulator.acts(id).join(", ");
            Problem::new(ProblemKind::Conflict, format!("The provider does not report that. It reports: {acts}."))
        }
    })?;
    Ok(Json(json!({ "id": id, "act": name })))
}

/// Returns examples for `POST /api/channels` that work with the simulator.
async fn list_provider_examples(State(dev): Shared) -> Json<Value> {
    let examples = examples(&dev.simulator.sendgrid_public_key()).into_iter();
    let shown = examples.map(|(provider, channel, settings)| {
        json!({ "provider": provider, "channel": channel.as_str(), "settings": settings })
    });
    Json(json!({ "channels": shown.collect::<Vec<_>>() }))
}

async fn inject_fault(State(dev): Shared, body: Bytes) -> Result<StatusCode, Problem> {
    let fault: Fault = parse(&body)?;
    let configs = dev.simulator.configs();
    if !configs.contains(&fault.provider) {
        return Err(malformed(format!("provider must be one of: {}.", configs.join(", "))));
    }
    dev.simulator.inject(fault);
    Ok(StatusCode::NO_CONTENT)
}

/// The faults that are not used up, and what can be injected.
async fn list_faults(State(dev): Shared) -> Json<Value> {
    let mut providers = dev.simulator.configs();
    providers.sort();
    Json(json!({ "faults": dev.simulator.faults(), "providers": providers, "kinds": FaultKind::ALL }))
}

async fn show_clock(State(dev): Shared) -> Json<Value> {
    Json(json!({ "now": show_time(dev.clock.now()) }))
}

async fn clear_faults(State(dev): Shared) -> StatusCode {
    dev.simulator.clear_faults();
    StatusCode::NO_CONTENT
}

async fn advance_clock(State(dev): Shared, body: Bytes) -> Result<Json<Value>, Problem> {
    let mut fields = BodyReader::parse(&body)?;
    let (mut to, mut advance_ms) = (None, None);
    if fields.is_given("to") {
        to = fields.time("to");
    } else {
        advance_ms = fields.required("advanceMs", |fields| fields.number("advanceMs", 0..=u64::from(u32::MAX)));
    }
    if to.is_some_and(|to| dev.clock.now() + MAX_JUMP_MS < to) {
        fields.add_error("to", "too_late", "to must be at most 400 days ahead.");
    }
    fields.finish()?;
    let Dev { clock, database, queue, schedule, check, jump, .. } = &*dev;
    let _one_at_a_time = jump.lock().await;
    let passing = Passing { clock, database, queue, schedule, check };
    match to {
        Some(to) => passing.until(to).await?,
        None => passing.by(advance_ms.unwrap_or_default() as i64).await?,
    }
    Ok(Json(json!({ "now": show_time(dev.clock.now()) })))
}

/// Takes an event as it comes from the bus, in the envelope of EventBridge.
async fn take_event(State(dev): Shared, body: Bytes) -> Result<Response, Problem> {
    let event: Value = parse(&body)?;
    let taken = dev.intake.take(event, IntakeChannel::Dev).await;
    let taken = taken.map_err(|error| Problem::new(ProblemKind::Unavailable, format!("{error}.")))?;
    let Some(TakenFor { tenant, taken }) = taken else { return Ok(StatusCode::NO_CONTENT.into_response()) };
    let event = &taken.event;
    let reason = match event.status {
        EventStatus::Parked(reason) => Some(reason),
        _ => None,
    };
    let shown = json!({
        "id": taken.id,
        "tenant": tenant,
        "type": event.received.classification.kind,
        "status": event.status.as_str(),
        "reason": reason,
        "faults": event.faults,
        "acts": event.acts,
    });
    Ok((StatusCode::ACCEPTED, Json(shown)).into_response())
}

async fn show_queues(State(dev): Shared) -> Result<Json<Value>, Problem> {
    let mut shown = serde_json::Map::new();
    for queue in QueueId::all() {
        let depth = dev.queue.depth(queue).await?;
        let depth = json!({
            "waiting": depth.waiting, "inFlight": depth.in_flight, "delayed": depth.delayed, "dead": depth.dead,
        });
        shown.insert(queue.name(), depth);
    }
    Ok(Json(Value::Object(shown)))
}

/// The signed parameters of a file's address. They are checked as S3 checks a presigned address.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignedQuery {
    until: i64,
    signature: String,
    #[serde(default)]
    name: String,
    #[serde(default, rename = "type")]
    kind: String,
}

fn forbidden() -> Problem {
    Problem::new(ProblemKind::Forbidden, "This URL was not issued by the server, is for another file, or has expired.")
}

fn header_of(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

async fn upload_file(
    State(dev): Shared,
    Path((folder, tenant, name)): Path<(String, String, String)>,
    Query(signed): Query<SignedQuery>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<StatusCode, Problem> {
    let (path, size) = (format!("{folder}/{tenant}/{name}"), body.len() as u64);
    let upload = upload_scope(&header_of(&headers, "content-type"), size);
    if !dev.objects.allows("PUT", &path, &upload, Timestamp(signed.until), &signed.signature, dev.clock.now()) {
        return Err(forbidden());
    }
    dev.objects.put(&path, &body).map_err(|error| Problem::new(ProblemKind::Unavailable, error.to_string()))?;
    Ok(StatusCode::OK)
}

async fn download_file(
    State(dev): Shared,
    Path((folder, tenant, name)): Path<(String, String, String)>,
    Query(signed): Query<SignedQuery>,
) -> Result<Response, Problem> {
    let path = format!("{folder}/{tenant}/{name}");
    let download = format!("{} {}", signed.name, signed.kind);
    if !dev.objects.allows("GET", &path, &download, Timestamp(signed.until), &signed.signature, dev.clock.now()) {
        return Err(forbidden());
    }
    let found = dev.objects.get(&path).map_err(|error| Problem::new(ProblemKind::Unavailable, error.to_string()))?;
    let bytes = found.ok_or_else(|| Problem::new(ProblemKind::NotFound, "No file has this path."))?;
    let text = |encoded: &str| {
        let decoded = URL_SAFE_NO_PAD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        decoded.unwrap_or_default()
    };
    let headers = [
        (header::CONTENT_TYPE, text(&signed.kind)),
        (header::CONTENT_DISPOSITION, content_disposition(&text(&signed.name))),
    ];
    Ok((headers, bytes).into_response())
}

async fn clear_suppressions(State(dev): Shared) -> Result<StatusCode, Problem> {
    dev.database.clear_suppressions().await?;
    Ok(StatusCode::NO_CONTENT)
}
