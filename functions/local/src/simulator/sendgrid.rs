//! `POST /v3/mail/send` and the signed Event Webhook.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::ports::Host;
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::pkcs8::EncodePublicKey;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedReceiver;

use super::{Entry, Fate, SENDGRID, Simulator, hang, recipients, refusal, reset};
use recipients::Behaviour;

/// Callbacks of this long are sent together, as SendGrid does.
const GATHER: Duration = Duration::from_millis(30);
/// Events of one callback, at most.
const TOGETHER: usize = 200;

pub fn router(simulator: Arc<Simulator>) -> Router {
    Router::new().route("/v3/mail/send", post(send)).with_state(simulator)
}

fn problem(status: StatusCode, field: Option<&str>, message: &str) -> Response {
    refusal(status, None, json!({ "errors": [{ "message": message, "field": field, "help": null }] }))
}

async fn send(State(simulator): State<Arc<Simulator>>, headers: HeaderMap, body: Bytes) -> Response {
    let authorization = headers.get("authorization").and_then(|value| value.to_str().ok());
    let key = authorization.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let Some(account) = SENDGRID.iter().find(|account| account.secret == key) else {
        return problem(
            StatusCode::UNAUTHORIZED,
            None,
            "The provided authorization grant is invalid, expired, or revoked",
        );
    };
    let Ok(mail) = serde_json::from_slice::<Value>(&body) else {
        return problem(StatusCode::BAD_REQUEST, None, "Bad Request");
    };
    if let Some((field, message)) = fault(&mail) {
        return problem(StatusCode::BAD_REQUEST, Some(field), message);
    }
    let text = |pointer: &str| mail.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let args = |name: &str| text(&format!("/personalizations/0/custom_args/{name}"));
    let to = text("/personalizations/0/to/0/email");
    let behaviour = recipients::email(&to);
    let fate = simulator.fate(account.config, behaviour, &args("communicationId"));
    if let Fate::Refuse(status, retry_after) = fate {
        return refusal(status, retry_after, json!({ "errors": [{ "message": "simulated", "field": null }] }));
    }
    if let Fate::Reset = fate {
        return reset();
    }
    if let Fate::Hang { accepted: false, .. } = fate {
        return hang().await;
    }
    let message_id = format!("sim-{:032x}", simulator.clock.random());
    let part = |kind: &str| {
        let parts = mail["content"].as_array().into_iter().flatten();
        parts.filter(|part| part["type"] == kind).find_map(|part| part["value"].as_str().map(str::to_owned))
    };
    simulator.inbox.add(Entry {
        provider: "sendgrid",
        config: account.config,
        channel: "email",
        to: to.clone(),
        from: text("/from/email"),
        subject: Some(text("/subject")),
        body: part("text/plain").unwrap_or_default(),
        html: part("text/html"),
        attachments: mail["attachments"].as_array().cloned().unwrap_or_default(),
        tenant: Some(args("businessId")),
        communication_id: Some(args("communicationId")),
        attempt_id: Some(args("attemptId")),
        provider_message_id: message_id.clone(),
        at: api::fields::show_time(simulator.clock.now()),
    });
    let custom = mail.pointer("/personalizations/0/custom_args").cloned().unwrap_or_default();
    if !matches!(fate, Fate::Hang { silent: true, .. }) {
        tokio::spawn(live(simulator.clone(), behaviour, to, message_id.clone(), custom));
    }
    match fate {
        Fate::Hang { .. } => hang().await,
        _ => (StatusCode::ACCEPTED, [("x-message-id", message_id)]).into_response(),
    }
}

/// The first thing that SendGrid would refuse.
fn fault(mail: &Value) -> Option<(&'static str, &'static str)> {
    let filled = |pointer: &str| mail.pointer(pointer).and_then(Value::as_str).is_some_and(|text| !text.is_empty());
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

/// What becomes of a message, reported as it happens.
async fn live(simulator: Arc<Simulator>, behaviour: Behaviour, to: String, message_id: String, custom: Value) {
    let say = async |after: Duration, event: &str, more: Value| {
        tokio::time::sleep(after).await;
        let mut report = json!({
            "email": to,
            "event": event,
            "timestamp": simulator.clock.now().0.div_euclid(1_000),
            "sg_event_id": format!("{:032x}", simulator.clock.random()),
            "sg_message_id": format!("{message_id}.recvd-sim"),
            "smtp-id": format!("<{message_id}@sim.test>"),
        });
        for part in [&custom, &more] {
            for (name, value) in part.as_object().into_iter().flatten() {
                report[name] = value.clone();
            }
        }
        // The process is ending when nobody listens.
        let _ = simulator.outgoing.send(report);
    };
    let soon = Duration::from_millis(20);
    let ok = json!({ "response": "250 OK" });
    say(Duration::ZERO, "processed", json!({})).await;
    match behaviour {
        Behaviour::BounceHard => {
            say(soon, "bounce", json!({ "type": "bounce", "status": "5.1.1", "reason": "550 5.1.1 no such mailbox" }))
                .await;
        }
        Behaviour::Slow => say(simulator.clock.on_the_wall(30_000), "delivered", ok).await,
        _ => say(soon, "delivered", ok).await,
    }
    match behaviour {
        Behaviour::Opened => say(soon, "open", json!({})).await,
        Behaviour::Clicked => {
            say(soon, "open", json!({})).await;
            say(soon, "click", json!({ "url": "https://pay.example.com/" })).await;
        }
        Behaviour::Complaint => say(soon, "spamreport", json!({})).await,
        _ => (),
    }
}

/// Sends what happened in batches, each signed; a batch refused is sent again, as SendGrid does.
pub async fn call_back(simulator: Arc<Simulator>, mut events: UnboundedReceiver<Value>) {
    let mut batch = Vec::new();
    while events.recv_many(&mut batch, TOGETHER).await > 0 {
        tokio::time::sleep(GATHER).await;
        while batch.len() < TOGETHER
            && let Ok(event) = events.try_recv()
        {
            batch.push(event);
        }
        let body = format!("[{}]\r\n", batch.iter().map(Value::to_string).collect::<Vec<_>>().join(",\r\n"));
        for wait_ms in [100, 500, 2_000] {
            if post_signed(&simulator, body.clone()).await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
        batch.clear();
    }
}

async fn post_signed(simulator: &Simulator, body: String) -> bool {
    let Some(target) = simulator.target.get() else { return true };
    let timestamp = simulator.clock.now().0.div_euclid(1_000).to_string();
    let signature: DerSignature = simulator.signing.sign(&[timestamp.as_bytes(), body.as_bytes()].concat());
    let sent = simulator
        .client
        .post(format!("{target}/webhooks/sendgrid/events"))
        .header("content-type", "application/json")
        .header("x-twilio-email-event-webhook-timestamp", timestamp)
        .header("x-twilio-email-event-webhook-signature", STANDARD.encode(signature.to_bytes()))
        .body(body)
        .send()
        .await;
    sent.is_ok_and(|answer| answer.status().is_success())
}

pub fn public_key(signing: &SigningKey) -> String {
    let der = signing.verifying_key().to_public_key_der().expect("a P-256 key has a DER form");
    STANDARD.encode(der.as_bytes())
}
