//! `POST /api/communications/send` and `/batch`: from a body to an accepted message.

use application::Caller;
use application::app::App;
use application::messages::{self, Accepted, DryRun, MessageError, NewMessage, Outcome};
use axum::Extension;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use domain::prices::Cost;
use domain::status::status;
use problem::Problem;
use serde_json::{Value, json};

use crate::fields::{BodyReader, show_time};
use crate::headers::{idempotency_key, parse_idempotency_key};
use crate::message_body::read_message;
use crate::message_problem::problem;
use crate::query::QueryParams;
use crate::{Shared, json, present, read_body, template_view};

/// Maximum number of messages of one batch.
const MAX_BATCH: usize = 100;

pub(crate) async fn send(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    query: RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let mut query = QueryParams::parse(query)?;
    let is_dry_run = query.choice("dryRun", &["true", "false"]).unwrap_or(false);
    query.finish()?;
    let idempotency_key = idempotency_key(&headers)?;
    let fields = BodyReader::parse(&read_body(body).await?)?;
    let message = read_message(fields, idempotency_key);
    if is_dry_run {
        let run = messages::dry_run(&api.app, &caller, &message).await.map_err(problem)?;
        return Ok(json(StatusCode::OK, &present_dry_run(run)));
    }
    let accepted = messages::send(&api.app, &caller, &message).await.map_err(problem)?;
    accepted_response(&api.app, &accepted).await
}

fn present_dry_run(run: DryRun) -> Value {
    let would_send = run.would_send();
    let DryRun { checks, faults, replay_of, channel, template, config, send_at, cost, rendered } = run;
    let checks = checks.iter().map(|check| {
        let result = match check.outcome {
            Outcome::Passed => "passed",
            Outcome::Delayed => "delayed",
            Outcome::Failed => "failed",
        };
        json!({ "check": check.name, "result": result, "reason": check.reason, "detail": check.detail })
    });
    let checks: Vec<Value> = checks.collect();
    let errors = match faults.is_empty() {
        true => json!([]),
        false => problem(MessageError::Invalid(faults)).body()["errors"].clone(),
    };
    json!({
        "dryRun": true,
        "wouldSend": would_send,
        "wouldSendAt": send_at.filter(|_| would_send).map(show_time),
        "channel": channel,
        "provider": config,
        "templateId": template.as_ref().map(|template| &template.id),
        "templateVersion": template.as_ref().map(|template| template.version),
        "idempotentReplayOf": replay_of,
        "checks": checks,
        "errors": errors,
        "rendered": rendered.as_ref().map(template_view::show_message),
        "estimatedCost": present::cost(cost.as_ref()),
    })
}

/// Accepts each message of a batch by itself. With `validateOnly` the messages are only checked.
pub(crate) async fn batch(
    State(api): Shared,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Response, Problem> {
    let mut fields = BodyReader::parse(&read_body(body).await?)?;
    let validate_only = fields.flag("validateOnly").unwrap_or(false);
    let items = fields.required("communications", |fields| Some(fields.list("communications", MAX_BATCH)));
    let is_empty = fields.has_no_errors() && items.as_ref().is_some_and(Vec::is_empty);
    let items = items.unwrap_or_default();
    if is_empty {
        fields.add_error("communications", "empty", "communications must have at least one item.");
    }
    fields.finish()?;
    let mut results: Vec<Result<Value, Problem>> = items.iter().map(|_| Ok(Value::Null)).collect();
    let (mut indexes, mut messages) = (Vec::new(), Vec::new());
    for (index, item) in items.into_iter().enumerate() {
        match read_item(item) {
            Ok(message) => {
                indexes.push(index);
                messages.push(message);
            }
            Err(problem) => results[index] = Err(problem),
        }
    }
    let done: Vec<Result<Value, Problem>> = if validate_only {
        let checked = messages::check_batch(&api.app, &caller, &messages).await.map_err(problem)?;
        let present = |cost: Option<Cost>| json!({ "valid": true, "estimatedCost": present::cost(cost.as_ref()) });
        checked.into_iter().map(|checked| checked.map(present).map_err(problem)).collect()
    } else {
        let sent = messages::send_batch(&api.app, &caller, &messages).await.map_err(problem)?;
        sent.into_iter().map(|sent| sent.and_then(|accepted| present_result(&accepted)).map_err(problem)).collect()
    };
    for (index, result) in indexes.into_iter().zip(done) {
        results[index] = result;
    }
    let refused = results.iter().filter(|result| result.is_err()).count();
    let is_replay = |result: &&Result<Value, Problem>| result.as_ref().is_ok_and(|it| it["idempotentReplayed"] == true);
    let replayed = results.iter().filter(is_replay).count();
    let accepted = if validate_only { 0 } else { results.len() - refused - replayed };
    let numbered = results.into_iter().enumerate().map(|(index, result)| {
        let mut result = result.unwrap_or_else(|problem| json!({ "problem": problem.body() }));
        result["index"] = json!(index);
        result
    });
    let results: Vec<Value> = numbered.collect();
    let body = json!({ "accepted": accepted, "replayed": replayed, "refused": refused, "results": results });
    Ok(json(StatusCode::OK, &body))
}

fn read_item(item: Value) -> Result<NewMessage, Problem> {
    let mut fields = BodyReader::of(item)?;
    let key = fields.reference("idempotencyKey", application::messages::IdempotencyKey::MAX_LENGTH);
    let key = key.map(|key| parse_idempotency_key(&key)).transpose()?;
    Ok(read_message(fields, key))
}

fn present_result(accepted: &Accepted) -> Result<Value, MessageError> {
    let status = status(accepted.loaded.state.requested()?).as_str();
    Ok(json!({ "id": accepted.key.id, "status": status, "idempotentReplayed": accepted.is_replay }))
}

/// 201 with the message. A replay has the header `Idempotent-Replayed`.
pub(crate) async fn accepted_response(app: &App, accepted: &Accepted) -> Result<Response, Problem> {
    let Accepted { key, loaded, row, content, expected_cost, is_replay } = accepted;
    let communication = loaded.state.requested()?;
    let mut body = json!({
        "id": key.id,
        "status": row.status,
        "estimatedSendTime": show_time(messages::estimated_send_time(app, accepted).await),
        "estimatedCost": present::cost(expected_cost.as_ref()),
        "communication": present::stored(key, row, &communication.request, content.as_ref()),
    });
    if let Some(original) = communication.request.resend_of {
        body["originalCommunicationId"] = json!(original);
    }
    let mut response = json(StatusCode::CREATED, &body);
    if let Ok(location) = HeaderValue::from_str(&format!("/api/communications/{}", key.id)) {
        response.headers_mut().insert("location", location);
    }
    if *is_replay {
        response.headers_mut().insert("idempotent-replayed", HeaderValue::from_static("true"));
    }
    Ok(response)
}
