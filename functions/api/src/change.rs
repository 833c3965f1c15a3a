//! Changes to a message over HTTP: new time or content, cancel, resolve, retry, resend.

use application::Caller;
use application::messages::{self, Change, Message, Resend};
use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use domain::communication::Lifecycle;
use domain::status::status;
use events::{Channel, Resolution};
use problem::{Problem, ProblemKind};
use serde_json::json;

use crate::dead_letters::read_ids;
use crate::fields::BodyReader;
use crate::headers::idempotency_key;
use crate::message_body::input_faults;
use crate::message_problem::problem;
use crate::send::accepted_response;
use crate::{MAX_BODY, Shared, json, parse_id, present, read_body};

fn present_changed(message: &Message) -> Result<Response, Problem> {
    Ok(json(StatusCode::OK, &present::message(message)?))
}

/// Changes the time or the content of a message before its first attempt.
pub(crate) async fn patch(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    if fields.is_empty() {
        fields.add_error("", "empty", "At least one field to change is required.");
    }
    let mut change = Change {
        scheduled_at: fields.time("scheduledAt"),
        expires_at: fields.time("expiresAt"),
        subject: fields.text("subject", 500),
        text: fields.text("content", MAX_BODY),
        variables: fields.object("templateVariables"),
        faults: Vec::new(),
    };
    change.faults = input_faults(fields.into_errors());
    present_changed(&messages::change(&api.app, &caller, parse_id(&id)?, &change).await.map_err(problem)?)
}

/// Answers 200 if nothing was or will be sent, and 202 while an attempt is open: its outcome is still recorded, and no
/// other attempt follows.
pub(crate) async fn cancel(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    BodyReader::parse_optional(&read_body(body).await?)?.finish()?;
    let (key, loaded) = messages::cancel(&api.app, &caller, parse_id(&id)?).await.map_err(problem)?;
    let communication = loaded.state.requested()?;
    let is_open = matches!(communication.lifecycle, Lifecycle::Sending { .. } | Lifecycle::InDoubt { .. });
    let body = json!({
        "id": key.id,
        "status": status(communication).as_str(),
        "lifecycle": communication.lifecycle.as_str(),
        "cancellationRequested": true,
        "maybeSent": communication.maybe_sent,
    });
    Ok(json(if is_open { StatusCode::ACCEPTED } else { StatusCode::OK }, &body))
}

/// Maximum number of messages that one request cancels.
const MAX_CANCELLED: usize = 100;

/// Cancels up to 100 messages, each with a result of its own.
pub(crate) async fn cancel_many(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let ids = fields.required("ids", |fields| read_ids(fields, MAX_CANCELLED));
    let is_dry_run = fields.flag("dryRun").unwrap_or(false);
    fields.finish()?;
    let ids = ids.unwrap_or_default();
    let results = messages::cancel_many(&api.app, &caller, &ids, is_dry_run).await.map_err(problem)?;
    let mut cancelled = 0;
    let mut present = |(id, result): (events::CommunicationId, Result<bool, messages::MessageError>)| match result {
        Ok(maybe_sent) => {
            cancelled += 1;
            json!({ "id": id, "cancelled": true, "maybeSent": maybe_sent, "problem": null })
        }
        Err(error) => json!({ "id": id, "cancelled": false, "maybeSent": null, "problem": problem(error).body() }),
    };
    let results: Vec<serde_json::Value> = results.into_iter().map(&mut present).collect();
    let body = json!({
        "dryRun": is_dry_run,
        "matched": results.len(),
        "cancelled": cancelled,
        "skipped": results.len() - cancelled,
        "results": results,
    });
    Ok(json(StatusCode::OK, &body))
}

/// Settles an attempt in doubt, after an operator has looked at the provider's own records.
pub(crate) async fn resolve(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let outcome: Option<Resolution> =
        fields.required("outcome", |fields| fields.choice("outcome", &Resolution::names()));
    fields.finish()?;
    let outcome = outcome.ok_or_else(|| Problem::new(ProblemKind::Invalid, "outcome is required."))?;
    present_changed(&messages::resolve(&api.app, &caller, parse_id(&id)?, outcome).await.map_err(problem)?)
}

/// Retries a dead letter with a new set of attempts.
pub(crate) async fn retry(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: Body,
) -> Result<Response, Problem> {
    BodyReader::parse_optional(&read_body(body).await?)?.finish()?;
    present_changed(&messages::retry(&api.app, &caller, parse_id(&id)?).await.map_err(problem)?)
}

/// Sends the same content as a new message, perhaps by another channel or to another address.
pub(crate) async fn resend(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let idempotency_key = idempotency_key(&headers)?;
    let mut fields = BodyReader::parse_optional(&read_body(body).await?)?;
    let mut resend = Resend {
        channel: fields.choice("channel", &Channel::names()),
        to: fields.text("recipientContact", 320),
        idempotency_key,
        faults: Vec::new(),
    };
    resend.faults = input_faults(fields.into_errors());
    let accepted = messages::resend(&api.app, &caller, parse_id(&id)?, &resend).await.map_err(problem)?;
    accepted_response(&api.app, &accepted).await
}
