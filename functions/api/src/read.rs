//! Reading communications over HTTP: one, its timeline and explanation, lists, queues.

use application::Caller;
use application::limits;
use application::messages::{self, Listed, ProviderAnswer, QueueStatus};
use application::pauses;
use application::provider_status::{self as providers, ProviderStatus};
use axum::Extension;
use axum::extract::{Path, RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::communication::{Communication, Lifecycle, Readiness, readiness};
use domain::communication_view::{CommunicationRow, ListFilter};
use domain::explain;
use domain::message::MessageContent;
use domain::ports::{CommunicationKey, QueueDepth, QueueId};
use domain::stats::Counters;
use domain::status::Status;
use events::RateLimit;
use events::{Channel, MessageType, RecipientType};
use problem::Problem;
use serde::Serialize;
use serde_json::{Value, json};

use crate::fields::show_time;
use crate::limits::{present_pause, present_pauses, problem as limits_problem};
use crate::message_body::{NamedType, type_names};
use crate::message_problem::{ask_problem, problem};
use crate::providers::present_status;
use crate::query::QueryParams;
use crate::{Api, Shared, json, not_found, parse_id, present};

/// A sweep older than this means that timers are not served.
const SWEEP_STALE_MS: i64 = 3 * 60_000;

/// Reads from the stream, so that callers see their own writes.
pub(crate) async fn get(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let message = messages::get(&api.app, &caller, parse_id(&id)?).await.map_err(problem)?;
    Ok(json(StatusCode::OK, &present::message(&message)?))
}

/// The events of the stream.
pub(crate) async fn timeline(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let (key, loaded, records) = messages::history(&api.app, &caller, parse_id(&id)?).await.map_err(problem)?;
    let steps = records.iter().enumerate().map(|(index, record)| present::step(index + 1, record));
    let body = json!({
        "id": key.id,
        "position": loaded.version,
        "wakeAt": loaded.wake.map(show_time),
        "events": steps.collect::<Vec<_>>(),
    });
    Ok(json(StatusCode::OK, &body))
}

pub(crate) async fn attempts(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let (key, attempts) = messages::attempts(&api.app, &caller, parse_id(&id)?).await.map_err(problem)?;
    let shown: Vec<Value> = attempts.iter().map(present::attempt).collect();
    Ok(json(StatusCode::OK, &json!({ "id": key.id, "attempts": shown })))
}

/// Asks the provider, and answers with what it said.
pub(crate) async fn provider_status(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let id = parse_id(&id)?;
    let (ProviderAnswer { provider, provider_message_id, stated, at }, status) =
        messages::ask_provider(&api.app, &caller, id).await.map_err(ask_problem)?;
    let body = json!({
        "id": id,
        "provider": provider,
        "providerMessageId": provider_message_id,
        "providerStatus": stated.name,
        "reported": stated.fact,
        "code": stated.code,
        "checkedAt": show_time(at),
        "status": status.as_str(),
    });
    Ok(json(StatusCode::OK, &body))
}

/// Explains the state of a message in plain language.
pub(crate) async fn explain(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let (key, loaded, records) = messages::history(&api.app, &caller, parse_id(&id)?).await.map_err(problem)?;
    let (summary, steps) = explain::explain(&records).ok_or_else(not_found)?;
    let communication = loaded.state.requested()?;
    let body = json!({
        "id": key.id,
        "summary": summary,
        "lifecycle": communication.lifecycle.as_str(),
        "waitsFor": current_wait(&api, &caller, communication).await?,
        "nextLookAt": loaded.wake.map(show_time),
        "steps": steps.iter().map(present::explanation_step).collect::<Vec<_>>(),
    });
    Ok(json(StatusCode::OK, &body))
}

/// The current reason why a message that is due waits. Such waits are not recorded as events.
async fn current_wait(api: &Api, caller: &Caller, communication: &Communication) -> Result<Value, Problem> {
    let now = api.app.host.now();
    let waits = matches!(communication.lifecycle, Lifecycle::Pending | Lifecycle::RetryWait { .. });
    if !waits || readiness(communication, now) != Readiness::Ready {
        return Ok(Value::Null);
    }
    let channel = communication.request.channel;
    if let Some(pause) = pauses::list(&api.app, caller).await.map_err(limits_problem)?.get(&channel) {
        let (name, since) = (channel.as_str(), show_time(pause.since));
        let text = format!("{name} is paused since {since} by {} ({}).", pause.by, pause.reason);
        let pause = present_pause(channel, pause);
        return Ok(json!({ "code": "channel_paused", "text": text, "providers": [], "pause": pause }));
    }
    let mut statuses = providers::of_channel(&api.app, caller, communication.request.channel).await?;
    statuses.retain(|status| status.is_enabled);
    let shared = limits::throttle(&api.app, caller).await.map_err(limits_problem)?;
    let is_open = |status: &&ProviderStatus| status.throttle.state(now) == "closed";
    let (code, text) = match statuses.iter().find(is_open) {
        _ if statuses.is_empty() => ("no_provider_enabled", "No provider of the channel is enabled.".to_owned()),
        None => {
            let names: Vec<_> =
                statuses.iter().map(|s| format!("{} ({})", s.config.id, s.throttle.state(now))).collect();
            ("providers_shut", format!("The circuit breakers of all its providers are open: {}.", names.join(", ")))
        }
        Some(ProviderStatus { config, throttle, .. }) => {
            let mut throttles =
                [(config.id.as_str(), throttle)].into_iter().chain(shared.as_ref().map(|own| ("The tenant", own)));
            match throttles.find(|(_, throttle)| throttle.quota(now).remaining == 0) {
                Some((name, throttle)) => {
                    let RateLimit { burst, per_second } = throttle.limiter.rate;
                    let text = format!(
                        "{name} has reached its rate limit of {per_second} per second after a burst of {burst}."
                    );
                    ("rate_limit", text)
                }
                None => ("worker", "A worker will process the message with its next hint.".to_owned()),
            }
        }
    };
    Ok(
        json!({ "code": code, "text": text, "providers": statuses.iter().map(|status| present_status(status, now)).collect::<Vec<_>>() }),
    )
}

pub(crate) async fn list(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut query = QueryParams::parse(query)?;
    let filter = ListFilter {
        channel: query.choice("channel", &Channel::names()),
        statuses: read_status(&mut query),
        kind: read_type_filter(&mut query),
        recipient_type: query.choice("recipientType", &RecipientType::names()),
        recipient_id: query.text("recipientId"),
        entity_type: query.text("entityType"),
        entity_id: query.text("entityId"),
        provider: query.text("provider"),
        provider_message_id: query.text("providerMessageId"),
        template_id: query.text("template"),
        lifecycle: query.choice("lifecycle", &lifecycle_names()),
        reason: query.text("reason"),
        from: query.time("from", false),
        to: query.time("to", true),
        ..ListFilter::default()
    };
    let paging = Paging::read(&mut query, &filter, is_communication_id);
    query.finish()?;
    list_page(&api, &caller, &filter, paging).await
}

/// Where a page begins and how long it is.
pub(crate) struct Paging {
    pub(crate) size: usize,
    pub(crate) after: Option<String>,
}

/// Whether a text is the id of a communication.
pub(crate) fn is_communication_id(id: &str) -> bool {
    id.parse::<events::CommunicationId>().is_ok()
}

impl Paging {
    /// A cursor holds the key of a row: a time and an id.
    pub(crate) fn read(query: &mut QueryParams, filter: &impl Serialize, is_id: impl Fn(&str) -> bool) -> Self {
        let size = query.number("size", 1..=100);
        let cursor = query.text("cursor").map(|cursor| read_cursor(&cursor, filter, is_id));
        if cursor == Some(None) {
            let detail = "cursor is not valid for this query. Omit it to start from the first page.";
            query.add_error("cursor", "bad_cursor", detail.to_owned());
        }
        Paging { size: size.unwrap_or(20) as usize, after: cursor.flatten() }
    }
}

/// A page of messages, newest first, with the personal data that is still there.
pub(crate) async fn list_page(
    api: &Api,
    caller: &Caller,
    filter: &ListFilter,
    Paging { size, after }: Paging,
) -> Result<Response, Problem> {
    let Listed { rows, next, totals, as_of } =
        messages::list(&api.app, caller, filter, after.as_deref(), size).await.map_err(problem)?;
    let present_row = |(row, content): &(CommunicationRow, Option<MessageContent>)| {
        let key = CommunicationKey { tenant: caller.principal.tenant.clone(), id: row.id };
        present::row(&key, row, content.as_ref())
    };
    let results: Vec<Value> = rows.iter().map(present_row).collect();
    let count = totals.and_then(|totals| exact_count(filter, &totals));
    let body = json!({
        "count": count.unwrap_or(results.len() as i64 + i64::from(next.is_some())),
        "countIsEstimate": count.is_none() && next.is_some(),
        "size": size,
        "hasMore": next.is_some(),
        "nextCursor": next.as_deref().map(|next| cursor_of(next, filter)),
        "asOf": as_of.map(show_time),
        "results": results,
    });
    Ok(json(StatusCode::OK, &body))
}

/// The exact count, if one counter covers the filter.
fn exact_count(filter: &ListFilter, totals: &Counters) -> Option<i64> {
    let ListFilter { channel, statuses, kind, provider, template_id, lifecycle, .. } = filter;
    let one = |name: &str, value: &str| vec![format!("{name}.{value}")];
    let mut counters: Vec<Vec<String>> = Vec::new();
    counters.extend(channel.map(|channel| one("channel", channel.as_str())));
    counters.extend(kind.map(|kind| one("type", kind.as_str())));
    counters.extend(provider.as_ref().map(|provider| one("provider", provider)));
    counters.extend(template_id.as_ref().map(|template| one("template", template)));
    counters.extend(lifecycle.as_ref().map(|lifecycle| one("lifecycle", lifecycle)));
    if !statuses.is_empty() {
        counters.push(statuses.iter().map(|status| format!("status.{status}")).collect());
    }
    let covered = ListFilter {
        channel: *channel,
        statuses: statuses.clone(),
        kind: *kind,
        provider: provider.clone(),
        template_id: template_id.clone(),
        lifecycle: lifecycle.clone(),
        ..ListFilter::default()
    };
    if *filter != covered || 1 < counters.len() {
        return None;
    }
    let counters = counters.pop().unwrap_or_else(|| vec!["total".to_owned()]);
    Some(counters.iter().map(|counter| totals.get(counter).copied().unwrap_or(0)).sum())
}

/// The names by which the sources call several statuses together.
const STATUS_GROUPS: [(&str, &[&str]); 3] = [
    ("pending", &["scheduled", "queued"]),
    ("processing", &["sending"]),
    ("completed", &["sent", "delivered", "opened", "read", "clicked"]),
];

/// The values of the parameter `status`.
pub(crate) fn status_names() -> Vec<&'static str> {
    Status::NAMES.into_iter().chain(STATUS_GROUPS.map(|(name, _)| name)).collect()
}

/// What lists call the lifecycles: a message that waits for its time is `scheduled`.
const LIFECYCLES: [&str; 10] = [
    "queued",
    "scheduled",
    "sending",
    "retry_wait",
    "in_doubt",
    "sent",
    "failed",
    "dead_lettered",
    "cancelled",
    "suppressed",
];

/// The values of the parameter `lifecycle`.
pub(crate) fn lifecycle_names() -> Vec<&'static str> {
    LIFECYCLES.to_vec()
}

fn read_status(query: &mut QueryParams) -> Vec<String> {
    let Some(name) = query.choice::<String>("status", &status_names()) else { return Vec::new() };
    match STATUS_GROUPS.iter().find(|(group, _)| *group == name) {
        Some((_, statuses)) => statuses.iter().map(|status| (*status).to_owned()).collect(),
        None => vec![name],
    }
}

/// The parameter `type`.
pub(crate) fn read_type_filter(query: &mut QueryParams) -> Option<MessageType> {
    query.choice("type", &type_names()).map(|NamedType(kind)| kind)
}

/// A cursor is valid only with the filter that it was created for.
/// One page of a list as JSON.
pub(crate) fn page_of(results: Vec<Value>, next: Option<&str>, filter: &impl Serialize) -> Value {
    json!({
        "results": results,
        "hasMore": next.is_some(),
        "nextCursor": next.map(|next| cursor_of(next, filter)),
    })
}

pub(crate) fn cursor_of(next: &str, filter: &impl Serialize) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}~{next}", fingerprint(filter)))
}

fn read_cursor(cursor: &str, filter: &impl Serialize, is_id: impl Fn(&str) -> bool) -> Option<String> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let (mark, next) = text.split_once('~')?;
    let (created, id) = next.split_once('#')?;
    let sound =
        mark == fingerprint(filter) && created.len() == 13 && created.bytes().all(|b| b.is_ascii_digit()) && is_id(id);
    sound.then(|| next.to_owned())
}

fn fingerprint(filter: &impl Serialize) -> String {
    application::hash::body_hash(&json!(filter))
}

pub(crate) async fn queue_status(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
) -> Result<Response, Problem> {
    let QueueStatus { totals, as_of, depths, last_sweep } =
        messages::queue_status(&api.app, &caller).await.map_err(problem)?;
    let get = |name: &str| totals.get(name).copied().unwrap_or(0);
    let present_queue = |(queue, depth): &(QueueId, QueueDepth)| {
        json!({
            "name": queue.name(),
            "waiting": depth.waiting,
            "inFlight": depth.in_flight,
            "delayed": depth.delayed,
        })
    };
    let (statuses, now) = (providers::list(&api.app, &caller).await?, api.app.host.now());
    let providers: Vec<Value> = statuses.iter().map(|status| present_status(status, now)).collect();
    let pauses = pauses::list(&api.app, &caller).await.map_err(limits_problem)?;
    let sent = get("sent");
    let body = json!({
        "pending": get("lifecycle.queued"),
        "scheduled": get("lifecycle.scheduled"),
        "processing": get("lifecycle.sending") + get("lifecycle.in_doubt"),
        "retryWaiting": get("lifecycle.retry_wait"),
        "inDoubt": get("lifecycle.in_doubt"),
        "completed": get("lifecycle.sent"),
        "failed": get("lifecycle.failed"),
        "deadLettered": get("lifecycle.dead_lettered"),
        "cancelled": get("lifecycle.cancelled"),
        "suppressed": get("lifecycle.suppressed"),
        "averageProcessingMs": if sent == 0 { Value::Null } else { json!(get("accept_to_sent_ms") as f64 / sent as f64) },
        "queues": depths.iter().map(present_queue).collect::<Vec<_>>(),
        "providers": providers,
        "paused": present_pauses(&pauses),
        "lastSweepAt": last_sweep.map(show_time),
        "healthy": last_sweep.is_some_and(|at| now.millis_since(at) < SWEEP_STALE_MS),
        "asOf": as_of.map(show_time),
    });
    Ok(json(StatusCode::OK, &body))
}
