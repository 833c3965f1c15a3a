//! Bird, once MessageBird: `POST /v1/sms/messages` with an idempotency key, and Standard Webhooks.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::post;
use serde_json::{Value, json};

use crate::callback::Callback;
use crate::context::SimulationContext;
use crate::message::{Message, Step};
use crate::provider::ProviderSimulation;
use crate::requests::{bearer, idempotency_key, is_phone_number, optional_text, text};
use crate::responses::json_response;
use crate::signing::standard_webhook_headers;
use crate::simulator::Simulator;

struct Bird;

pub fn router() -> Router<Arc<Simulator>> {
    Router::new().route("/v1/sms/messages", post(send))
}

fn problem(status: StatusCode, kind: &str, code: &str) -> Response {
    json_response(status, &json!({ "type": kind, "code": code, "message": "simulated" }))
}

async fn send(State(simulator): State<Arc<Simulator>>, headers: HeaderMap, body: Bytes) -> Result<Response, Response> {
    let account = simulator.account("messagebird", |account| account.has("apiKey", bearer(&headers)));
    let account = account.ok_or_else(|| problem(StatusCode::UNAUTHORIZED, "auth_error", "invalid_api_key"))?;
    let wrong = |code| problem(StatusCode::UNPROCESSABLE_ENTITY, "validation_error", code);
    let sms: Value = serde_json::from_slice(&body).map_err(|_| wrong("invalid_json"))?;
    let (to, content_text) = (text(&sms, "/to"), text(&sms, "/text"));
    if !to.starts_with('+') || !is_phone_number(&to[1..]) {
        return Err(wrong("invalid_destination"));
    }
    if content_text.is_empty() || text(&sms, "/from").is_empty() || text(&sms, "/category").is_empty() {
        return Err(wrong("missing_field"));
    }
    let optional = |pointer: &str| optional_text(&sms, pointer);
    let message = Message {
        from: text(&sms, "/from"),
        tenant: optional("/metadata/businessId"),
        attempt: optional("/metadata/attemptId"),
        key: idempotency_key(&headers),
        ..Message::new(account, to, content_text)
    };
    Ok(simulator.receive(&Bird, message).await)
}

fn signed(context: &SimulationContext, message: &Message, kind: &str, data: &serde_json::Value) -> Callback {
    let body = json!({ "type": kind, "timestamp": context.time(), "data": data });
    let callback = Callback::json(message.callback_url(), &body);
    let secret = message.account.get("webhookSecret");
    let headers = standard_webhook_headers(secret, &context.unique_id(), context.seconds(), &callback.body);
    headers.into_iter().fold(callback, |callback, (name, value)| callback.with_header(name, value))
}

impl ProviderSimulation for Bird {
    fn accepted_response(&self, message: &Message) -> Response {
        json_response(StatusCode::ACCEPTED, &json!({ "id": message.id, "status": "accepted", "to": message.to }))
    }

    fn refusal(&self, status: StatusCode) -> Response {
        match status.as_u16() {
            401 => problem(status, "auth_error", "invalid_api_key"),
            402 => problem(status, "billing_error", "insufficient_balance"),
            429 => problem(status, "rate_limit_error", "rate_limited"),
            _ => problem(StatusCode::UNPROCESSABLE_ENTITY, "validation_error", "simulated"),
        }
    }

    fn opted_out(&self, _: &Message) -> Option<Response> {
        Some(problem(StatusCode::UNPROCESSABLE_ENTITY, "validation_error", "recipient_opted_out"))
    }

    fn report(&self, context: &SimulationContext, message: &Message, step: Step) -> Option<Callback> {
        let metadata = json!({ "businessId": message.tenant, "attemptId": message.attempt });
        let mut data = json!({ "id": message.id, "to": message.to, "metadata": metadata });
        let kind = match step {
            Step::Accepted => "sms.accepted",
            Step::Sent => "sms.sent",
            Step::Delivered => "sms.delivered",
            Step::Bounced => {
                data["error"] = json!({ "code": "invalid_destination" });
                "sms.failed"
            }
            Step::SoftBounced => "sms.undelivered",
            Step::OptedOut => {
                data = json!({ "phone_number": message.to });
                "sms_suppression.created"
            }
            Step::Opened | Step::Clicked | Step::Complained => return None,
        };
        Some(signed(context, message, kind, &data))
    }

    fn reply(&self, context: &SimulationContext, message: &Message, text: &str) -> Option<Callback> {
        let data = json!({ "sms_id": context.unique_id(), "from": message.to, "to": message.from, "text": text });
        Some(signed(context, message, "sms.received", &data))
    }
}
