//! Dead letters over HTTP: listing them, and retrying them in bulk.

use application::Caller;
use application::messages::{self, Redrive, Redriven};
use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::Response;
use domain::communication_view::ListFilter;
use events::{Channel, DeadLetterReason, FailReason};
use problem::Problem;
use serde_json::json;

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

pub(crate) async fn list(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut query = QueryParams::parse(query)?;
    let filter = ListFilter {
        dead_letters_only: true,
        channel: query.choice("channel", &Channel::names()),
        kind: read_type_filter(&mut query),
        dead_letter_reason: query.choice("reason", &dead_letter_reasons()),
        provider: query.text("provider"),
        from: query.time("from", false),
        to: query.time("to", true),
        ..ListFilter::default()
    };
    let paging = Paging::read(&mut query, &filter, is_communication_id);
    query.finish()?;
    list_page(&api, &caller, &filter, paging).await
}

/// Retries the dead letters that match, at a limited rate. Messages that were retried or sent since the view was
/// written are passed over.
pub(crate) async fn redrive(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse_optional(&read_body(body).await?)?;
    let filter = ListFilter {
        dead_letters_only: true,
        channel: fields.choice("channel", &Channel::names()),
        kind: message_body::read_type(&mut fields),
        dead_letter_reason: fields.one_of("reason", &dead_letter_reasons()),
        provider: fields.reference("provider", 100),
        from: fields.time("from"),
        to: fields.time("to"),
        ..ListFilter::default()
    };
    let limit = fields.number("limit", 1..=MAX_REDRIVE).unwrap_or(DEFAULT_REDRIVE) as usize;
    let per_second = fields.number("perSecond", 1..=100).unwrap_or(DEFAULT_PER_SECOND);
    fields.finish()?;
    let redrive = Redrive { filter, limit, per_second };
    let Redriven { matched, redriven, has_more, last_at } =
        messages::redrive(&api.app, &caller, &redrive).await.map_err(problem)?;
    let body = json!({
        "matched": matched,
        "redriven": redriven,
        "skipped": matched - redriven,
        "hasMore": has_more,
        "perSecond": per_second,
        "lastAt": last_at.map(show_time),
    });
    Ok(json(StatusCode::ACCEPTED, &body))
}
