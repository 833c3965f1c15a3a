//! Mandrill: `POST /api/1.4/messages/send`, where every error is an HTTP 500, and webhooks that sign address and form.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use serde_json::{Value, json};

use crate::callback::Callback;
use crate::context::SimulationContext;
use crate::message::{Message, RegisteredConfig, Step};
use crate::provider::ProviderSimulation;
use crate::requests::{one_click_url, optional_text, sender, text};
use crate::responses::json_response;
use crate::signing::{base64, hmac_sha1};
use crate::simulator::Simulator;

struct Mandrill;

pub fn router() -> Router<Arc<Simulator>> {
    Router::new()
        .route("/api/1.4/messages/send", post(send))
        .route("/api/1.4/messages/info", post(show_message))
        .route("/api/1.4/users/ping2", post(ping))
}

fn problem(code: i64, name: &str, message: &str) -> Response {
    let body = json!({ "status": "error", "code": code, "name": name, "message": message });
    json_response(StatusCode::INTERNAL_SERVER_ERROR, &body)
}

/// Returns the account whose key is in the body, and the parsed body.
fn account(simulator: &Simulator, body: &[u8]) -> Result<(Arc<RegisteredConfig>, Value), Response> {
    let body: Value = serde_json::from_slice(body).map_err(|_| problem(-2, "ValidationError", "not JSON"))?;
    let account =
        simulator.account("mandrill", |account| account.has("apiKey", body["key"].as_str().unwrap_or_default()));
    account.map(|account| (account, body)).ok_or_else(|| problem(-1, "Invalid_Key", "Invalid API key"))
}

async fn ping(State(simulator): State<Arc<Simulator>>, body: Bytes) -> Result<Response, Response> {
    account(&simulator, &body)?;
    Ok(json_response(StatusCode::OK, &json!({ "PING": "PONG!" })))
}

async fn show_message(State(simulator): State<Arc<Simulator>>, body: Bytes) -> Result<Response, Response> {
    let (_, body) = account(&simulator, &body)?;
    let found = simulator.inbox.find("mandrill", &text(&body, "/id"));
    let found = found.ok_or_else(|| problem(11, "Unknown_Message", "No message exists with this id"))?;
    let shown = json!({ "_id": found.provider_message_id, "email": found.to, "state": "sent", "opens": 0 });
    Ok(json_response(StatusCode::OK, &shown))
}

async fn send(State(simulator): State<Arc<Simulator>>, body: Bytes) -> Result<Response, Response> {
    let (account, body) = account(&simulator, &body)?;
    let (to, from) = (text(&body, "/message/to/0/email"), text(&body, "/message/from_email"));
    if !to.contains('@') || !from.contains('@') {
        return Err(problem(-2, "ValidationError", "You must specify addresses"));
    }
    let optional = |pointer: &str| optional_text(&body, pointer);
    let header_value = |name: &str| body.pointer(&format!("/message/headers/{name}"))?.as_str();
    let message = Message {
        unsubscribe: one_click_url(header_value("List-Unsubscribe"), header_value("List-Unsubscribe-Post")),
        from: sender(from, &text(&body, "/message/from_name")),
        subject: optional("/message/subject"),
        html: optional("/message/html"),
        attachments: body.pointer("/message/attachments").and_then(Value::as_array).cloned().unwrap_or_default(),
        tenant: optional("/message/metadata/businessId"),
        attempt: optional("/message/metadata/attemptId"),
        ..Message::new(account, to, text(&body, "/message/text"))
    };
    Ok(simulator.receive(&Mandrill, message).await)
}

impl ProviderSimulation for Mandrill {
    fn accepted_response(&self, message: &Message) -> Response {
        json_response(StatusCode::OK, &json!([{ "email": message.to, "status": "queued", "_id": message.id }]))
    }

    fn refusal(&self, status: StatusCode) -> Response {
        match status.as_u16() {
            401 => problem(-1, "Invalid_Key", "simulated"),
            402 => problem(-99, "PaymentRequired", "simulated"),
            429 => json_response(status, &json!({ "message": "simulated" })),
            _ => problem(-2, "ValidationError", "simulated"),
        }
    }

    fn report(&self, context: &SimulationContext, message: &Message, step: Step) -> Option<Callback> {
        let event = match step {
            Step::Sent => "send",
            Step::Delivered => "delivered",
            Step::Bounced => "hard_bounce",
            Step::SoftBounced => "soft_bounce",
            Step::Opened => "open",
            Step::Clicked => "click",
            Step::Complained => "spam",
            Step::Accepted | Step::OptedOut => return None,
        };
        let at = context.seconds();
        let mut data = json!({
            "_id": message.id, "ts": at, "email": message.to,
            "metadata": { "businessId": message.tenant, "attemptId": message.attempt },
        });
        if step == Step::Bounced {
            data["bounce_description"] = json!("bad_mailbox");
        }
        let events = json!([{ "event": event, "_id": message.id, "ts": at, "msg": data }]).to_string();
        let url = message.callback_url();
        let signed = format!("{url}mandrill_events{events}");
        let signature = base64(&hmac_sha1(message.account.get("webhookKey").as_bytes(), signed.as_bytes()));
        Some(Callback::form(url, &[("mandrill_events", &events)]).with_header("x-mandrill-signature", signature))
    }
}
