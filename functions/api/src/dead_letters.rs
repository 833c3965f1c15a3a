//! Dead letters: what was given up, and how it is taken up again.

use application::ExecuteError;
use application::problem::Problem;
use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use domain::communication::{Command, Rejection};
use domain::ports::{ListFilter, Principal, StreamKey, ViewScope};
use events::{Channel, DeadLetterReason, FailReason, MessageType, Timestamp};
use futures_util::future::join_all;
use serde_json::json;

use crate::fields::{Fields, show_time};
use crate::read::{Paging, Query};
use crate::{Shared, json, origin, read_body};

/// Dead letters taken up by one request, at most.
const MAX_ACTIONS: u64 = 1_000;
/// And where nothing is said.
const DEFAULT_REDRIVE: u64 = 100;
/// How many a second, where nothing is said.
const PER_SECOND: u64 = 10;
/// Streams changed side by side.
const MAX_CONCURRENT_SENDS: usize = 16;

pub(crate) fn ends() -> Vec<&'static str> {
    DeadLetterReason::names().into_iter().chain([FailReason::InDoubt.as_str()]).collect()
}

pub(crate) async fn list(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    query: RawQuery,
) -> Result<Response, Problem> {
    let mut query = Query::parse(query)?;
    let filter = ListFilter {
        dead_letters_only: true,
        channel: query.choice("channel", &Channel::names()),
        kind: query.choice("type", &MessageType::names()),
        dead_letter_reason: query.choice("reason", &ends()),
        provider: query.text("provider"),
        from: query.time("from", false),
        to: query.time("to", true),
        ..ListFilter::default()
    };
    let paging = Paging::read(&mut query, &filter);
    query.finish()?;
    api.show_page(&caller, &filter, paging).await
}

/// Those that match are tried again, so many a second. Each is an event of its own stream; what has been taken up since, or
/// was sent after all, is passed over.
pub(crate) async fn redrive(
    State(api): Shared,
    Extension(caller): Extension<Principal>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = Fields::parse_optional(&read_body(body).await?)?;
    let channel: Option<Channel> = fields.choice("channel", &Channel::names());
    let kind: Option<MessageType> = fields.choice("type", &MessageType::names());
    let filter = ListFilter {
        dead_letters_only: true,
        channel: channel.map(|channel| channel.as_str().to_owned()),
        kind: kind.map(|kind| kind.as_str().to_owned()),
        dead_letter_reason: fields.one_of("reason", &ends()),
        provider: fields.reference("provider", 100),
        from: fields.time("from"),
        to: fields.time("to"),
        ..ListFilter::default()
    };
    let limit = fields.number("limit", 1..=MAX_ACTIONS).unwrap_or(DEFAULT_REDRIVE) as usize;
    let per_second = fields.number("perSecond", 1..=100).unwrap_or(PER_SECOND);
    fields.finish()?;

    let view = ViewScope { tenant: caller.tenant.clone(), mode: caller.mode };
    let (mut found, mut after) = (Vec::new(), None);
    let more = loop {
        let page = api.views.list(&view, &filter, after.as_deref(), limit - found.len()).await?;
        found.extend(page.rows.into_iter().map(|row| row.id));
        after = page.next;
        if after.is_none() || found.len() == limit {
            break after.is_some();
        }
    };
    // The oldest has waited longest.
    found.reverse();
    let origin = origin(&caller, &headers);
    let now = api.host.now();
    let turn = |place: usize| now + (place as u64 * 1_000 / per_second) as i64;
    let one = async |(place, id)| {
        let key = StreamKey { tenant: caller.tenant.clone(), id };
        let command = Command::Retry { by: caller.actor.clone(), now, at: Some(turn(place)).filter(|at| now < *at) };
        match api.executor(&origin).execute(&key, command).await {
            Ok(after) => {
                api.hint(&key, &after).await;
                Ok(true)
            }
            Err(ExecuteError::Rejected(
                Rejection::NotDeadLettered | Rejection::AlreadyAccepted | Rejection::NotRequested,
            )) => Ok(false),
            Err(error) => Err(error),
        }
    };
    let mut redriven = 0;
    let all: Vec<_> = found.iter().copied().enumerate().collect();
    for some in all.chunks(MAX_CONCURRENT_SENDS) {
        for done in join_all(some.iter().copied().map(one)).await {
            redriven += usize::from(done?);
        }
    }
    let last: Option<Timestamp> = all.last().map(|(place, _)| turn(*place));
    let body = json!({
        "matched": all.len(),
        "redriven": redriven,
        "skipped": all.len() - redriven,
        "hasMore": more,
        "perSecond": per_second,
        "lastAt": last.map(show_time),
    });
    Ok(json(StatusCode::ACCEPTED, &body))
}
