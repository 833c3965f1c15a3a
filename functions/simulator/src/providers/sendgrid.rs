//! SendGrid: `POST /v3/mail/send` and the signed Event Webhook, which sends several events in one callback.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use p256::ecdsa::DerSignature;
use p256::ecdsa::signature::Signer;
use serde_json::{Value, json};

use crate::callback::Callback;
use crate::context::SimulationContext;
use crate::message::{Message, RegisteredConfig, Step};
use crate::provider::ProviderSimulation;
use crate::requests::{bearer, one_click_url, sender, text};
use crate::responses::json_response;
use crate::signing::base64;
use crate::simulator::Simulator;

struct SendGrid;

pub fn router() -> Router<Arc<Simulator>> {
    Router::new()
        .route("/v3/mail/send", post(send))
        .route("/v3/scopes", get(scopes))
        .route("/v3/user/credits", get(credits))
}

fn problem(status: StatusCode, field: Option<&str>, message: &str) -> Response {
    json_response(status, &json!({ "errors": [{ "message": message, "field": field, "help": null }] }))
}

fn account(simulator: &Simulator, headers: &HeaderMap) -> Result<Arc<RegisteredConfig>, Response> {
    let account = simulator.account("sendgrid", |account| account.has("apiKey", bearer(headers)));
    let why = "The provided authorization grant is invalid, expired, or revoked";
    account.ok_or_else(|| problem(StatusCode::UNAUTHORIZED, None, why))
}

async fn scopes(State(simulator): State<Arc<Simulator>>, headers: HeaderMap) -> Result<Response, Response> {
    account(&simulator, &headers)?;
    Ok(json_response(StatusCode::OK, &json!({ "scopes": ["mail.send"] })))
}

async fn credits(State(simulator): State<Arc<Simulator>>, headers: HeaderMap) -> Result<Response, Response> {
    account(&simulator, &headers)?;
    Ok(json_response(StatusCode::OK, &json!({ "remain": 39_900, "total": 40_000, "overage": 0, "used": 100 })))
}

async fn send(State(simulator): State<Arc<Simulator>>, headers: HeaderMap, body: Bytes) -> Result<Response, Response> {
    let account = account(&simulator, &headers)?;
    let mail: Value =
        serde_json::from_slice(&body).map_err(|_| problem(StatusCode::BAD_REQUEST, None, "Bad Request"))?;
    if let Some((field, message)) = first_error(&mail) {
        return Err(problem(StatusCode::BAD_REQUEST, Some(field), message));
    }
    let part = |kind: &str| {
        let parts = mail["content"].as_array().into_iter().flatten();
        parts.filter(|part| part["type"] == kind).find_map(|part| part["value"].as_str().map(str::to_owned))
    };
    let args = |name: &str| mail.pointer(&format!("/personalizations/0/custom_args/{name}"))?.as_str();
    let header_value = |name: &str| mail.pointer(&format!("/headers/{name}"))?.as_str();
    let message = Message {
        unsubscribe: one_click_url(header_value("List-Unsubscribe"), header_value("List-Unsubscribe-Post")),
        from: sender(text(&mail, "/from/email"), &text(&mail, "/from/name")),
        subject: Some(text(&mail, "/subject")),
        html: part("text/html"),
        attachments: mail["attachments"].as_array().cloned().unwrap_or_default(),
        tenant: args("businessId").map(str::to_owned),
        attempt: args("attemptId").map(str::to_owned),
        ..Message::new(account, text(&mail, "/personalizations/0/to/0/email"), part("text/plain").unwrap_or_default())
    };
    Ok(simulator.receive(&SendGrid, message).await)
}

/// Returns the field and the message of the first error that SendGrid would find.
fn first_error(mail: &Value) -> Option<(&'static str, &'static str)> {
    let filled = |pointer: &str| !text(mail, pointer).is_empty();
    if !filled("/personalizations/0/to/0/email") {
        return Some(("personalizations.0.to", "The to array is required for all personalization objects"));
    }
    if !filled("/from/email") {
        return Some(("from.email", "The from email does not contain a valid address."));
    }
    if !filled("/subject") {
        return Some(("subject", "The subject is required."));
    }
    if mail.pointer("/content/0/type") != Some(&json!("text/plain")) || !filled("/content/0/value") {
        return Some(("content", "If present, text/plain must be first, followed by text/html"));
    }
    None
}

impl ProviderSimulation for SendGrid {
    fn message_id(&self, context: &SimulationContext) -> String {
        format!("sim-{}", context.unique_id())
    }

    fn accepted_response(&self, message: &Message) -> Response {
        (StatusCode::ACCEPTED, [("x-message-id", message.id.clone())]).into_response()
    }

    fn refusal(&self, status: StatusCode) -> Response {
        problem(status, None, "simulated")
    }

    /// SendGrid collects events for a short time and sends them in one callback.
    fn batched_report(&self, context: &SimulationContext, message: &Message, step: Step) -> Option<Value> {
        let (event, more) = match step {
            Step::Accepted => ("processed", json!({})),
            Step::Delivered => ("delivered", json!({ "response": "250 OK" })),
            Step::Bounced => {
                ("bounce", json!({ "type": "bounce", "status": "5.1.1", "reason": "550 5.1.1 no such mailbox" }))
            }
            Step::SoftBounced => {
                ("bounce", json!({ "type": "blocked", "status": "4.2.2", "reason": "452 4.2.2 mailbox full" }))
            }
            Step::Opened => ("open", json!({})),
            Step::Clicked => ("click", json!({ "url": "https://pay.example.com/" })),
            Step::Complained => ("spamreport", json!({})),
            Step::Sent | Step::OptedOut => return None,
        };
        let mut report = json!({
            "email": message.to,
            "event": event,
            "timestamp": context.seconds(),
            "sg_event_id": context.unique_id(),
            "sg_message_id": format!("{}.recvd-sim", message.id),
            "smtp-id": format!("<{}@sim.test>", message.id),
            "businessId": message.tenant,
            "communicationId": message.communication(),
            "attemptId": message.attempt,
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            report[name] = value.clone();
        }
        Some(report)
    }

    fn batch(&self, context: &SimulationContext, account: &RegisteredConfig, reports: Vec<Value>) -> Callback {
        let events = reports.iter().map(Value::to_string).collect::<Vec<_>>().join(",\r\n");
        signed(context, &account.callback_url, format!("[{events}]\r\n"))
    }
}

fn signed(context: &SimulationContext, url: &str, body: String) -> Callback {
    let timestamp = context.seconds().to_string();
    let signature: DerSignature = context.signing_key.sign(&[timestamp.as_bytes(), body.as_bytes()].concat());
    Callback { body, ..Callback::json(url, &Value::Null) }
        .with_header("x-twilio-email-event-webhook-timestamp", timestamp)
        .with_header("x-twilio-email-event-webhook-signature", base64(&signature.to_bytes()))
}
