//! Mailgun: `POST /v3/{domain}/messages`, multipart, and webhooks that sign timestamp and token.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get as on_get, post};
use serde_json::{Value, json};

use crate::callback::Callback;
use crate::context::SimulationContext;
use crate::message::{Message, RegisteredConfig, Step};
use crate::provider::ProviderSimulation;
use crate::requests::{Fields, basic, get, header, one_click_url};
use crate::responses::json_response;
use crate::signing::{hex, hmac_sha256};
use crate::simulator::Simulator;

struct Mailgun;

pub fn router() -> Router<Arc<Simulator>> {
    Router::new().route("/v3/{domain}/messages", post(send)).route("/v4/domains/{domain}", on_get(domain))
}

fn problem(status: StatusCode, message: &str) -> Response {
    json_response(status, &json!({ "message": message }))
}

fn account(simulator: &Simulator, domain: &str, headers: &HeaderMap) -> Result<Arc<RegisteredConfig>, Response> {
    let (user, key) = basic(headers);
    let account = simulator.account("mailgun", |account| user == "api" && account.has("apiKey", &key));
    let account = account.ok_or_else(|| (StatusCode::UNAUTHORIZED, "Forbidden").into_response())?;
    if account.get("domain") == domain { Ok(account) } else { Err(problem(StatusCode::NOT_FOUND, "Domain not found")) }
}

async fn domain(
    State(simulator): State<Arc<Simulator>>,
    Path(domain): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Response> {
    account(&simulator, &domain, &headers)?;
    Ok(json_response(StatusCode::OK, &json!({ "domain": { "name": domain, "state": "active" } })))
}

/// Parses a multipart form into texts by name, and files.
fn parse_multipart(headers: &HeaderMap, body: &[u8]) -> Option<(Fields, Vec<Value>)> {
    let boundary = header(headers, "content-type").split("boundary=").nth(1)?.trim_matches('"');
    let (mut fields, mut files) = (Fields::new(), Vec::new());
    let body = String::from_utf8_lossy(body);
    for part in body.split(&format!("--{boundary}")).skip(1) {
        let Some((head, content)) = part.trim_start_matches("\r\n").split_once("\r\n\r\n") else { continue };
        let content = content.strip_suffix("\r\n").unwrap_or(content);
        let value = |name: &str| Some(head.split(&format!("{name}=\"")).nth(1)?.split('"').next()?.to_owned());
        match (value("; name")?, value("filename")) {
            (_, Some(filename)) => files.push(json!({ "filename": filename, "size": content.len() })),
            (name, None) => {
                fields.insert(name, content.to_owned());
            }
        }
    }
    Some((fields, files))
}

async fn send(
    State(simulator): State<Arc<Simulator>>,
    Path(domain): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Response> {
    let account = account(&simulator, &domain, &headers)?;
    let refuse = |why: &str| problem(StatusCode::BAD_REQUEST, why);
    let (fields, attachments) = parse_multipart(&headers, &body).ok_or_else(|| refuse("not a multipart form"))?;
    for name in ["from", "to"] {
        if !get(&fields, name).contains('@') {
            return Err(refuse(&format!("'{name}' parameter is not a valid address. please check documentation")));
        }
    }
    if get(&fields, "text").is_empty() && get(&fields, "html").is_empty() {
        return Err(refuse("Need at least one of 'text', 'html', 'amp-html' or 'template' parameters specified"));
    }
    let header_value = |name: &str| fields.get(name).map(String::as_str);
    let message = Message {
        unsubscribe: one_click_url(header_value("h:List-Unsubscribe"), header_value("h:List-Unsubscribe-Post")),
        from: get(&fields, "from"),
        subject: Some(get(&fields, "subject")),
        html: fields.get("html").cloned(),
        attachments,
        tenant: fields.get("v:businessId").cloned(),
        attempt: fields.get("v:attemptId").cloned(),
        ..Message::new(account, get(&fields, "to"), get(&fields, "text"))
    };
    Ok(simulator.receive(&Mailgun, message).await)
}

impl ProviderSimulation for Mailgun {
    fn message_id(&self, context: &SimulationContext) -> String {
        format!("{}@sim.test", context.unique_id())
    }

    fn accepted_response(&self, message: &Message) -> Response {
        let id = format!("<{}>", message.id);
        json_response(StatusCode::OK, &json!({ "id": id, "message": "Queued. Thank you." }))
    }

    fn refusal(&self, status: StatusCode) -> Response {
        problem(status, "simulated")
    }

    fn report(&self, context: &SimulationContext, message: &Message, step: Step) -> Option<Callback> {
        let (event, more) = match step {
            Step::Accepted => ("accepted", json!({})),
            Step::Delivered => ("delivered", json!({ "delivery-status": { "code": 250 } })),
            Step::Bounced => {
                ("failed", json!({ "severity": "permanent", "reason": "bounce", "delivery-status": { "code": 550 } }))
            }
            Step::Opened => ("opened", json!({})),
            Step::Clicked => ("clicked", json!({ "url": "https://pay.example.com/" })),
            Step::Complained => ("complained", json!({})),
            // Mailgun retries for hours and reports each failure.
            Step::SoftBounced => ("failed", json!({ "severity": "temporary", "delivery-status": { "code": 452 } })),
            Step::Sent | Step::OptedOut => return None,
        };
        let mut data = json!({
            "event": event,
            "id": context.unique_id(),
            "timestamp": context.seconds(),
            "recipient": message.to,
            "message": { "headers": { "message-id": message.id } },
            "user-variables": { "businessId": message.tenant, "attemptId": message.attempt },
        });
        for (name, value) in more.as_object().into_iter().flatten() {
            data[name] = value.clone();
        }
        let (timestamp, token) = (context.seconds().to_string(), context.unique_id());
        let key = message.account.get("signingKey").as_bytes();
        let signature = hex(&hmac_sha256(key, format!("{timestamp}{token}").as_bytes()));
        let signature = json!({ "timestamp": timestamp, "token": token, "signature": signature });
        Some(Callback::json(message.callback_url(), &json!({ "signature": signature, "event-data": data })))
    }
}
