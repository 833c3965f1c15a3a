//! Mandrill: `POST /api/1.4/messages/send`, where every error is an HTTP 500, and webhooks that sign address and form.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use serde_json::{Value, json};

use super::signing::{base64, hmac_sha1};
use super::{Callback, Known, Message, ProviderSimulation, Simulator, Step, answer, one_click, text};

struct Mandrill;

pub fn router() -> Router<Arc<Simulator>> {
    Router::new().route("/api/1.4/messages/send", post(send)).route("/api/1.4/users/ping2", post(ping))
}

fn problem(code: i64, name: &str, message: &str) -> Response {
    let body = json!({ "status": "error", "code": code, "name": name, "message": message });
    answer(StatusCode::INTERNAL_SERVER_ERROR, &body)
}

/// The account whose key is in the body, and the body.
fn account(simulator: &Simulator, body: &[u8]) -> Result<(Arc<Known>, Value), Response> {
    let body: Value = serde_json::from_slice(body).map_err(|_| problem(-2, "ValidationError", "not JSON"))?;
    let known = simulator.account("mandrill", |known| known.has("apiKey", body["key"].as_str().unwrap_or_default()));
    known.map(|known| (known, body)).ok_or_else(|| problem(-1, "Invalid_Key", "Invalid API key"))
}

async fn ping(State(simulator): State<Arc<Simulator>>, body: Bytes) -> Result<Response, Response> {
    account(&simulator, &body)?;
    Ok(answer(StatusCode::OK, &json!({ "PING": "PONG!" })))
}

async fn send(State(simulator): State<Arc<Simulator>>, body: Bytes) -> Result<Response, Response> {
    let (account, body) = account(&simulator, &body)?;
    let (to, from) = (text(&body, "/message/to/0/email"), text(&body, "/message/from_email"));
    if !to.contains('@') || !from.contains('@') {
        return Err(problem(-2, "ValidationError", "You must specify addresses"));
    }
    let optional = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let head = |name: &str| body.pointer(&format!("/message/headers/{name}"))?.as_str();
    let message = Message {
        unsubscribe: one_click(head("List-Unsubscribe"), head("List-Unsubscribe-Post")),
        from,
        subject: optional("/message/subject"),
        html: optional("/message/html"),
        attachments: body.pointer("/message/attachments").and_then(Value::as_array).cloned().unwrap_or_default(),
        tenant: optional("/message/metadata/businessId"),
        attempt: optional("/message/metadata/attemptId"),
        ..Message::new(account, to, text(&body, "/message/text"))
    };
    Ok(simulator.take(&Mandrill, message).await)
}

impl ProviderSimulation for Mandrill {
    fn taken(&self, message: &Message) -> Response {
        answer(StatusCode::OK, &json!([{ "email": message.to, "status": "queued", "_id": message.id }]))
    }

    fn refusal(&self, status: StatusCode) -> Response {
        match status.as_u16() {
            401 => problem(-1, "Invalid_Key", "simulated"),
            402 => problem(-99, "PaymentRequired", "simulated"),
            429 => answer(status, &json!({ "message": "simulated" })),
            _ => problem(-2, "ValidationError", "simulated"),
        }
    }

    fn report(&self, simulator: &Simulator, message: &Message, step: Step) -> Option<Callback> {
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
        let at = simulator.seconds();
        let mut about = json!({
            "_id": message.id, "ts": at, "email": message.to,
            "metadata": { "businessId": message.tenant, "attemptId": message.attempt },
        });
        if step == Step::Bounced {
            about["bounce_description"] = json!("bad_mailbox");
        }
        let events = json!([{ "event": event, "_id": message.id, "ts": at, "msg": about }]).to_string();
        let url = message.callback_url();
        let signed = format!("{url}mandrill_events{events}");
        let signature = base64(&hmac_sha1(message.account.get("webhookKey").as_bytes(), signed.as_bytes()));
        Some(Callback::form(url, &[("mandrill_events", &events)]).with("x-mandrill-signature", signature))
    }
}
