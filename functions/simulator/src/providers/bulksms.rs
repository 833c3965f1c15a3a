//! BulkSMS: `POST /v1/messages` with a deduplication id, and unsigned reports.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get as on_get, post};
use domain::sms;
use serde_json::{Value, json};

use crate::callback::Callback;
use crate::context::SimulationContext;
use crate::message::{Message, RegisteredConfig, Step};
use crate::provider::ProviderSimulation;
use crate::requests::{Fields, basic, is_phone_number, text};
use crate::responses::json_response;
use crate::simulator::Simulator;

struct BulkSms;

pub fn router() -> Router<Arc<Simulator>> {
    Router::new()
        .route("/v1/messages", post(send))
        .route("/v1/messages/{id}", on_get(show_message))
        .route("/v1/profile", on_get(profile))
}

fn problem(status: StatusCode, title: &str) -> Response {
    json_response(status, &json!({ "type": "about:blank", "title": title, "status": status.as_u16() }))
}

fn account(simulator: &Simulator, headers: &HeaderMap) -> Result<Arc<RegisteredConfig>, Response> {
    let (id, secret) = basic(headers);
    let account =
        simulator.account("bulksms", |account| account.has("tokenId", &id) && account.has("tokenSecret", &secret));
    account.ok_or_else(|| problem(StatusCode::UNAUTHORIZED, "Authentication Failed"))
}

async fn profile(State(simulator): State<Arc<Simulator>>, headers: HeaderMap) -> Result<Response, Response> {
    account(&simulator, &headers)?;
    Ok(json_response(StatusCode::OK, &json!({ "credits": { "balance": 250.5, "isTransferAllowed": false } })))
}

/// One message, in the form of a report: delivered, as those that are not fail at once.
async fn show_message(
    State(simulator): State<Arc<Simulator>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Response> {
    account(&simulator, &headers)?;
    let found = simulator.inbox.find("bulksms", &id).ok_or_else(|| problem(StatusCode::NOT_FOUND, "Not Found"))?;
    let status = json!({ "id": "DELIVERED", "type": "DELIVERED", "subtype": null });
    Ok(json_response(
        StatusCode::OK,
        &json!({ "id": id, "type": "SENT", "to": found.to, "body": found.body, "status": status }),
    ))
}

async fn send(
    State(simulator): State<Arc<Simulator>>,
    headers: HeaderMap,
    Query(query): Query<Fields>,
    body: Bytes,
) -> Result<Response, Response> {
    let account = account(&simulator, &headers)?;
    let wrong = |title| problem(StatusCode::BAD_REQUEST, title);
    let all: Vec<Value> = serde_json::from_slice(&body).map_err(|_| wrong("Not a list of messages"))?;
    let [one] = all.as_slice() else { return Err(wrong("Not one message")) };
    let to = text(one, "/to/0/address");
    if !is_phone_number(to.trim_start_matches('+')) || text(one, "/body").is_empty() {
        return Err(wrong("Invalid message"));
    }
    let parts = u64::from(sms::segments(&text(one, "/body")).count);
    if one["longMessageMaxParts"].as_u64().unwrap_or(3) < parts {
        return Err(wrong("It would be cut"));
    }
    let key = query.get("deduplication-id").cloned();
    if key.as_ref().is_some_and(|key| key.parse::<i32>().is_err()) {
        return Err(wrong("deduplication-id is a number of 32 bits"));
    }
    let message = Message { from: text(one, "/from/address"), key, ..Message::new(account, to, text(one, "/body")) };
    Ok(simulator.receive(&BulkSms, message).await)
}

fn message_json(message: &Message, kind: &str, subtype: Option<&str>) -> Value {
    json!([{
        "id": message.id,
        "type": "SENT",
        "to": message.to,
        "from": message.from,
        "body": message.text,
        "numberOfParts": sms::segments(&message.text).count,
        "status": { "type": kind, "subtype": subtype },
    }])
}

impl ProviderSimulation for BulkSms {
    fn accepted_response(&self, message: &Message) -> Response {
        json_response(StatusCode::CREATED, &message_json(message, "ACCEPTED", None))
    }

    fn refusal(&self, status: StatusCode) -> Response {
        match status.as_u16() {
            402 => problem(StatusCode::FORBIDDEN, "Insufficient credits"),
            _ => problem(status, "simulated"),
        }
    }

    fn report(&self, context: &SimulationContext, message: &Message, step: Step) -> Option<Callback> {
        let reported = match step {
            Step::Sent => message_json(message, "SENT", None),
            Step::Delivered => message_json(message, "DELIVERED", None),
            Step::Bounced => message_json(message, "FAILED", Some("NOT_SENT")),
            Step::SoftBounced => message_json(message, "FAILED", Some("EXPIRED")),
            Step::OptedOut => return self.reply(context, message, "STOP"),
            Step::Accepted | Step::Opened | Step::Clicked | Step::Complained => return None,
        };
        Some(Callback::json(message.callback_url(), &reported))
    }

    fn reply(&self, context: &SimulationContext, message: &Message, text: &str) -> Option<Callback> {
        let received = json!([{
            "id": context.unique_id(), "type": "RECEIVED", "from": message.to.trim_start_matches('+'),
            "to": message.from, "body": text, "relatedSentMessageId": message.id,
        }]);
        Some(Callback::json(message.callback_url(), &received))
    }
}
