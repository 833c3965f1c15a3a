//! Meta's Graph API: `POST /{version}/{id}/messages`, and callbacks with X-Hub-Signature-256. WhatsApp takes a bearer
//! token and JSON. Messenger takes a form, with token and proof in the query.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::post;
use serde_json::{Value, json};

use crate::callback::Callback;
use crate::context::SimulationContext;
use crate::message::{Message, RegisteredConfig, Step};
use crate::provider::ProviderSimulation;
use crate::requests::{Fields, bearer, form, get, is_phone_number, split_reference, text};
use crate::responses::json_response;
use crate::signing::{hex, hmac_sha256};
use crate::simulator::Simulator;

struct WhatsApp;
struct Messenger;

pub fn router() -> Router<Arc<Simulator>> {
    Router::new().route("/{version}/{id}/messages", post(send))
}

fn problem(status: StatusCode, code: i64) -> Response {
    let error = json!({ "message": "simulated", "type": "OAuthException", "code": code, "fbtrace_id": "sim" });
    json_response(status, &json!({ "error": error }))
}

/// Returns the account with the request's token. WhatsApp's token is in a header. Messenger's token is in the query,
/// with a proof of the app's secret.
fn account(
    simulator: &Simulator,
    id: &str,
    headers: &HeaderMap,
    query: &Fields,
) -> Result<Arc<RegisteredConfig>, Response> {
    let unauthorized = || problem(StatusCode::UNAUTHORIZED, 190);
    let token = get(query, "access_token");
    if token.is_empty() {
        let matches = |account: &RegisteredConfig| {
            account.has("accessToken", bearer(headers)) && account.get("phoneNumberId") == id
        };
        return simulator.account("whatsapp", matches).ok_or_else(unauthorized);
    }
    let matches =
        |account: &RegisteredConfig| account.has("pageToken", &token) && (id == "me" || account.get("pageId") == id);
    let account = simulator.account("messenger", matches).ok_or_else(unauthorized)?;
    let proof = hex(&hmac_sha256(account.get("appSecret").as_bytes(), token.as_bytes()));
    if get(query, "appsecret_proof") == proof { Ok(account) } else { Err(problem(StatusCode::BAD_REQUEST, 100)) }
}

/// Handles `GET /{version}/{id}`.
pub fn show(simulator: &Simulator, id: &str, headers: &HeaderMap, query: &str) -> Result<Response, Response> {
    account(simulator, id, headers, &form(query.as_bytes()))?;
    Ok(json_response(StatusCode::OK, &json!({ "id": id, "name": "Tidings", "quality_rating": "GREEN" })))
}

async fn send(
    State(simulator): State<Arc<Simulator>>,
    Path((_, id)): Path<(String, String)>,
    headers: HeaderMap,
    Query(query): Query<Fields>,
    body: Bytes,
) -> Result<Response, Response> {
    let account = account(&simulator, &id, &headers, &query)?;
    let wrong = |code| problem(StatusCode::BAD_REQUEST, code);
    if account.provider == "messenger" {
        let fields = form(&body);
        let part = |name| serde_json::from_str::<Value>(&get(&fields, name)).map_err(|_| wrong(100));
        let (recipient, content) = (part("recipient")?, part("message")?);
        if !is_id(&text(&recipient, "/id")) || get(&fields, "messaging_type").is_empty() {
            return Err(wrong(100));
        }
        let content_text = content["text"].as_str().or_else(|| content.pointer("/attachment/payload/text")?.as_str());
        let content_text = content_text.unwrap_or_default().to_owned();
        let attachments = content.get("attachment").cloned().into_iter().collect();
        let message = Message { from: id, attachments, ..Message::new(account, text(&recipient, "/id"), content_text) };
        return Ok(simulator.receive(&Messenger, message).await);
    }
    let sent: Value = serde_json::from_slice(&body).map_err(|_| wrong(100))?;
    let (to, kind) = (text(&sent, "/to"), text(&sent, "/type"));
    if text(&sent, "/messaging_product") != "whatsapp" || !is_phone_number(&to) {
        return Err(wrong(100));
    }
    let content_text = match kind.as_str() {
        "text" => text(&sent, "/text/body"),
        "template" => text(&sent, "/template/name"),
        "interactive" => text(&sent, "/interactive/body/text"),
        "location" => format!("{} {}", sent["location"]["latitude"], sent["location"]["longitude"]),
        "image" | "video" | "audio" | "document" => text(&sent, &format!("/{kind}/link")),
        _ => return Err(wrong(131_051)),
    };
    if content_text.is_empty() || content_text.chars().count() > 4_096 {
        return Err(wrong(131_009));
    }
    let reference = text(&sent, "/biz_opaque_callback_data");
    let (tenant, attempt) = split_reference(&reference);
    let attachments = if kind == "text" { Vec::new() } else { vec![sent[&kind].clone()] };
    let message =
        Message { from: id, attachments, tenant, attempt, ..Message::new(account, format!("+{to}"), content_text) };
    Ok(simulator.receive(&WhatsApp, message).await)
}

fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn refusal_response(status: StatusCode, balance_code: i64, throttled_code: i64) -> Response {
    match status.as_u16() {
        401 => problem(status, 190),
        402 => problem(StatusCode::PAYMENT_REQUIRED, balance_code),
        429 => problem(StatusCode::TOO_MANY_REQUESTS, throttled_code),
        _ => problem(StatusCode::BAD_REQUEST, 100),
    }
}

fn signed(message: &Message, body: &Value) -> Callback {
    let callback = Callback::json(message.callback_url(), body);
    let signature = hmac_sha256(message.account.get("appSecret").as_bytes(), callback.body.as_bytes());
    callback.with_header("x-hub-signature-256", format!("sha256={}", hex(&signature)))
}

fn whatsapp_callback(message: &Message, kind: &str, content: Value) -> Callback {
    let mut value = json!({
        "messaging_product": "whatsapp",
        "metadata": { "phone_number_id": message.account.get("phoneNumberId") },
    });
    value[kind] = json!([content]);
    let change = json!({ "field": "messages", "value": value });
    signed(message, &json!({ "object": "whatsapp_business_account", "entry": [{ "id": "0", "changes": [change] }] }))
}

fn messenger_callback(message: &Message, at: i64, event: Value) -> Callback {
    let entry = json!({ "id": message.from, "time": at, "messaging": [event] });
    signed(message, &json!({ "object": "page", "entry": [entry] }))
}

impl ProviderSimulation for WhatsApp {
    fn message_id(&self, context: &SimulationContext) -> String {
        format!("wamid.{}", context.unique_id())
    }

    fn accepted_response(&self, message: &Message) -> Response {
        let to = message.to.trim_start_matches('+');
        let body = json!({
            "messaging_product": "whatsapp",
            "contacts": [{ "input": to, "wa_id": to }],
            "messages": [{ "id": message.id, "message_status": "accepted" }],
        });
        json_response(StatusCode::OK, &body)
    }

    fn refusal(&self, status: StatusCode) -> Response {
        refusal_response(status, 131_042, 130_429)
    }

    fn opted_out(&self, _: &Message) -> Option<Response> {
        Some(problem(StatusCode::BAD_REQUEST, 131_050))
    }

    fn report(&self, context: &SimulationContext, message: &Message, step: Step) -> Option<Callback> {
        let (to, at) = (message.to.trim_start_matches('+'), context.seconds().to_string());
        let status = match step {
            Step::Sent => "sent",
            Step::Delivered => "delivered",
            Step::Bounced | Step::SoftBounced => "failed",
            Step::Opened => "read",
            Step::OptedOut => return self.reply(context, message, "STOP"),
            Step::Accepted | Step::Clicked | Step::Complained => return None,
        };
        let reference = message.tenant.as_ref().zip(message.attempt.as_ref()).map(|(t, a)| format!("{t}/{a}"));
        let mut status_report = json!({
            "id": message.id, "status": status, "timestamp": at, "recipient_id": to,
            "biz_opaque_callback_data": reference,
        });
        if matches!(step, Step::Bounced | Step::SoftBounced) {
            status_report["errors"] = json!([{ "code": 131_026, "title": "Message undeliverable" }]);
        }
        Some(whatsapp_callback(message, "statuses", status_report))
    }

    fn reply(&self, context: &SimulationContext, message: &Message, text: &str) -> Option<Callback> {
        let (from, id) = (message.to.trim_start_matches('+'), format!("wamid.{}", context.unique_id()));
        let at = context.seconds().to_string();
        let received = json!({ "from": from, "id": id, "timestamp": at, "type": "text", "text": { "body": text } });
        Some(whatsapp_callback(message, "messages", received))
    }
}

impl ProviderSimulation for Messenger {
    fn message_id(&self, context: &SimulationContext) -> String {
        format!("m_{}", context.unique_id())
    }

    fn accepted_response(&self, message: &Message) -> Response {
        json_response(StatusCode::OK, &json!({ "recipient_id": message.to, "message_id": message.id }))
    }

    fn refusal(&self, status: StatusCode) -> Response {
        refusal_response(status, 10, 613)
    }

    fn opted_out(&self, _: &Message) -> Option<Response> {
        Some(problem(StatusCode::BAD_REQUEST, 551))
    }

    fn report(&self, context: &SimulationContext, message: &Message, step: Step) -> Option<Callback> {
        let at = context.seconds() * 1_000;
        let mut event = json!({ "sender": { "id": message.to }, "recipient": { "id": message.from }, "timestamp": at });
        match step {
            Step::Delivered => event["delivery"] = json!({ "mids": [message.id], "watermark": at }),
            Step::Opened => event["read"] = json!({ "watermark": at }),
            Step::OptedOut => return self.reply(context, message, "STOP"),
            Step::Accepted | Step::Sent | Step::Bounced | Step::SoftBounced | Step::Clicked | Step::Complained => {
                return None;
            }
        }
        Some(messenger_callback(message, at, event))
    }

    fn reply(&self, context: &SimulationContext, message: &Message, text: &str) -> Option<Callback> {
        let at = context.seconds() * 1_000;
        let event = json!({
            "sender": { "id": message.to }, "recipient": { "id": message.from }, "timestamp": at,
            "message": { "mid": format!("m_{}", context.unique_id()), "text": text },
        });
        Some(messenger_callback(message, at, event))
    }
}
