//! Dead letters over HTTP: listing them, and retrying them in bulk.

use application::Caller;
use application::messages::{self, Cause, CauseCount, Redrive, Redriven, Selection};
use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use domain::communication_view::ListFilter;
use events::{Channel, CommunicationId, DeadLetterReason, FailReason};
use problem::Problem;
use serde_json::{Value, json};

use crate::fields::{BodyReader, show_time};
use crate::message_problem::problem;
use crate::query::QueryParams;
use crate::read::{Paging, is_communication_id, list_page, read_type_filter};
use crate::{Shared, json, message_body, read_body};

/// Maximum number of dead letters that one request retries.
const MAX_REDRIVE: u64 = 1_000;
const DEFAULT_REDRIVE: u64 = 100;
/// The default rate, in retries per second.
const DEFAULT_PER_SECOND: u64 = 10;

/// The reasons for which messages become dead letters.
pub(crate) fn dead_letter_reasons() -> Vec<&'static str> {
    DeadLetterReason::names().into_iter().chain([FailReason::InDoubt.as_str()]).collect()
}

/// The dead letters of a channel and a time.
fn read_filter(query: &mut QueryParams) -> ListFilter {
    ListFilter {
        dead_letters_only: true,
        channel: query.choice("channel", &Channel::names()),
        from: query.time("from", false),
        to: query.time("to", true),
        ..ListFilter::default()
    }
}

pub(crate) async fn list(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut query = QueryParams::parse(query)?;
    let filter = ListFilter {
        kind: read_type_filter(&mut query),
        dead_letter_reason: query.choice("reason", &dead_letter_reasons()),
        reason: query.text("cause"),
        provider: query.text("provider"),
        ..read_filter(&mut query)
    };
    let paging = Paging::read(&mut query, &filter, is_communication_id);
    query.finish()?;
    list_page(&api, &caller, &filter, paging).await
}

/// How many dead letters there are of each cause.
pub(crate) async fn causes(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut query = QueryParams::parse(query)?;
    let filter = read_filter(&mut query);
    query.finish()?;
    let found = messages::causes(&api.app, &caller, &filter).await.map_err(problem)?;
    let present = |(Cause { channel, reason, cause, provider }, group): &(Cause, CauseCount)| {
        json!({
            "channel": channel,
            "reason": reason,
            "cause": cause,
            "provider": provider,
            "count": group.count,
            "oldestAt": show_time(group.oldest),
            "newestAt": show_time(group.newest),
        })
    };
    let groups: Vec<Value> = found.groups.iter().map(present).collect();
    let body = json!({ "causes": groups, "total": found.total, "isComplete": found.is_complete });
    Ok(json(StatusCode::OK, &body))
}

/// The ids of the field `ids`, each once. `None` if the field is missing.
pub(crate) fn read_ids(fields: &mut BodyReader, most: usize) -> Option<Vec<CommunicationId>> {
    if !fields.has("ids") {
        return None;
    }
    let mut ids = Vec::new();
    for (index, given) in fields.list("ids", most).iter().enumerate() {
        match given.as_str().and_then(|id| id.parse().ok()) {
            Some(id) if ids.contains(&id) => (),
            Some(id) => ids.push(id),
            None => fields.add_error(&format!("ids/{index}"), "not_an_id", "Each entry must be the id of a message."),
        }
    }
    Some(ids)
}

/// Retries dead letters, those that match or those that are named, at a limited rate. Messages that are no dead letters,
/// or were retried or sent since the view was written, are passed over.
pub(crate) async fn redrive(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse_optional(&read_body(body).await?)?;
    let ids = read_ids(&mut fields, MAX_REDRIVE as usize);
    let filter = ListFilter {
        dead_letters_only: true,
        channel: fields.choice("channel", &Channel::names()),
        kind: message_body::read_type(&mut fields),
        dead_letter_reason: fields.one_of("reason", &dead_letter_reasons()),
        reason: fields.reference("cause", 100),
        provider: fields.reference("provider", 100),
        from: fields.time("from"),
        to: fields.time("to"),
        ..ListFilter::default()
    };
    let limit = fields.number("limit", 1..=MAX_REDRIVE);
    let per_second = fields.number("perSecond", 1..=100).unwrap_or(DEFAULT_PER_SECOND);
    let is_dry_run = fields.flag("dryRun").unwrap_or(false);
    let is_filtered = limit.is_some() || filter != ListFilter { dead_letters_only: true, ..ListFilter::default() };
    if ids.is_some() && is_filtered {
        fields.add_error("ids", "ambiguous", "Give either ids or a filter.");
    }
    fields.finish()?;
    let limit = limit.unwrap_or(DEFAULT_REDRIVE) as usize;
    let selection = ids.map_or_else(|| Selection::Filter { filter: Box::new(filter), limit }, Selection::Ids);
    let redrive = Redrive { selection, per_second, is_dry_run };
    let Redriven { matched, redriven, maybe_sent, has_more, last_at } =
        messages::redrive(&api.app, &caller, &redrive).await.map_err(problem)?;
    let body = json!({
        "dryRun": is_dry_run,
        "matched": matched,
        "redriven": redriven,
        "skipped": matched - redriven,
        "maybeSent": maybe_sent,
        "hasMore": has_more,
        "perSecond": per_second,
        "lastAt": last_at.map(show_time),
    });
    Ok(json(if is_dry_run { StatusCode::OK } else { StatusCode::ACCEPTED }, &body))
}
