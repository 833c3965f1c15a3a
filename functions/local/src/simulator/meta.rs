//! Graph: `POST /{version}/{id}/messages` of WhatsApp (bearer token, JSON) and of Messenger (token and proof in the
//! address, a form), and callbacks with X-Hub-Signature-256.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::post;
use serde_json::{Value, json};

use super::signing::{hex, hmac_sha256};
use super::{
    Callback, Fields, Known, Message, ProviderSimulation, Simulator, Step, answer, bearer, form, get, is_number, text,
};

struct WhatsApp;
struct Messenger;

pub fn router() -> Router<Arc<Simulator>> {
    Router::new().route("/{version}/{id}/messages", post(send))
}

fn problem(status: StatusCode, code: i64) -> Response {
    let error = json!({ "message": "simulated", "type": "OAuthException", "code": code, "fbtrace_id": "sim" });
    answer(status, &json!({ "error": error }))
}

/// By its token: a number's travels in a header, a page's in the address, with the proof that it is the app's own.
fn account(simulator: &Simulator, id: &str, headers: &HeaderMap, query: &Fields) -> Result<Arc<Known>, Response> {
    let no = || problem(StatusCode::UNAUTHORIZED, 190);
    let token = get(query, "access_token");
    if token.is_empty() {
        let is_it = |known: &Known| known.has("accessToken", bearer(headers)) && known.get("phoneNumberId") == id;
        return simulator.account("whatsapp", is_it).ok_or_else(no);
    }
    let is_it = |known: &Known| known.has("pageToken", &token) && (id == "me" || known.get("pageId") == id);
    let known = simulator.account("messenger", is_it).ok_or_else(no)?;
    let proof = hex(&hmac_sha256(known.get("appSecret").as_bytes(), token.as_bytes()));
    if get(query, "appsecret_proof") == proof { Ok(known) } else { Err(problem(StatusCode::BAD_REQUEST, 100)) }
}

/// `GET /{version}/{id}`
pub fn show(simulator: &Simulator, id: &str, headers: &HeaderMap, query: &str) -> Result<Response, Response> {
    account(simulator, id, headers, &form(query.as_bytes()))?;
    Ok(answer(StatusCode::OK, &json!({ "id": id, "name": "Tidings", "quality_rating": "GREEN" })))
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
        let said = content["text"].as_str().or_else(|| content.pointer("/attachment/payload/text")?.as_str());
        let said = said.unwrap_or_default().to_owned();
        let attachments = content.get("attachment").cloned().into_iter().collect();
        let message = Message { from: id, attachments, ..Message::new(account, text(&recipient, "/id"), said) };
        return Ok(simulator.take(&Messenger, message).await);
    }
    let sent: Value = serde_json::from_slice(&body).map_err(|_| wrong(100))?;
    let (to, kind) = (text(&sent, "/to"), text(&sent, "/type"));
    if text(&sent, "/messaging_product") != "whatsapp" || !is_number(&to) {
        return Err(wrong(100));
    }
    let said = match kind.as_str() {
        "text" => text(&sent, "/text/body"),
        "template" => text(&sent, "/template/name"),
        "interactive" => text(&sent, "/interactive/body/text"),
        "location" => format!("{} {}", sent["location"]["latitude"], sent["location"]["longitude"]),
        "image" | "video" | "audio" | "document" => text(&sent, &format!("/{kind}/link")),
        _ => return Err(wrong(131_051)),
    };
    if said.is_empty() || said.chars().count() > 4_096 {
        return Err(wrong(131_009));
    }
    let reference = text(&sent, "/biz_opaque_callback_data");
    let (tenant, attempt) = reference.split_once('/').map_or((None, None), |(t, a)| (Some(t.into()), Some(a.into())));
    let attachments = if kind == "text" { Vec::new() } else { vec![sent[&kind].clone()] };
    let message = Message { from: id, attachments, tenant, attempt, ..Message::new(account, format!("+{to}"), said) };
    Ok(simulator.take(&WhatsApp, message).await)
}

fn is_id(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn refused(status: StatusCode, balance: i64, throttled: i64) -> Response {
    match status.as_u16() {
        401 => problem(status, 190),
        402 => problem(StatusCode::PAYMENT_REQUIRED, balance),
        429 => problem(StatusCode::TOO_MANY_REQUESTS, throttled),
        _ => problem(StatusCode::BAD_REQUEST, 100),
    }
}

fn signed(message: &Message, body: &Value) -> Callback {
    let callback = Callback::json(message.callback_url(), body);
    let signature = hmac_sha256(message.account.get("appSecret").as_bytes(), callback.body.as_bytes());
    callback.with("x-hub-signature-256", format!("sha256={}", hex(&signature)))
}

impl ProviderSimulation for WhatsApp {
    fn message_id(&self, simulator: &Simulator) -> String {
        format!("wamid.{}", simulator.unique())
    }

    fn taken(&self, message: &Message) -> Response {
        let to = message.to.trim_start_matches('+');
        let body = json!({
            "messaging_product": "whatsapp",
            "contacts": [{ "input": to, "wa_id": to }],
            "messages": [{ "id": message.id, "message_status": "accepted" }],
        });
        answer(StatusCode::OK, &body)
    }

    fn refusal(&self, status: StatusCode) -> Response {
        refused(status, 131_042, 130_429)
    }

    fn opted_out(&self, _: &Message) -> Option<Response> {
        Some(problem(StatusCode::BAD_REQUEST, 131_050))
    }

    fn report(&self, simulator: &Simulator, message: &Message, step: Step) -> Option<Callback> {
        let (to, at) = (message.to.trim_start_matches('+'), simulator.seconds().to_string());
        let mut value = json!({
            "messaging_product": "whatsapp",
            "metadata": { "phone_number_id": message.account.get("phoneNumberId") },
        });
        let status = match step {
            Step::Sent => "sent",
            Step::Delivered => "delivered",
            Step::Bounced | Step::SoftBounced => "failed",
            Step::Opened => "read",
            Step::OptedOut => "",
            Step::Accepted | Step::Clicked | Step::Complained => return None,
        };
        if step == Step::OptedOut {
            let id = format!("wamid.{}", simulator.unique());
            value["messages"] =
                json!([{ "from": to, "id": id, "timestamp": at, "type": "text", "text": { "body": "STOP" } }]);
        } else {
            let reference = message.tenant.as_ref().zip(message.attempt.as_ref()).map(|(t, a)| format!("{t}/{a}"));
            let mut told = json!({
                "id": message.id, "status": status, "timestamp": at, "recipient_id": to,
                "biz_opaque_callback_data": reference,
            });
            if matches!(step, Step::Bounced | Step::SoftBounced) {
                told["errors"] = json!([{ "code": 131_026, "title": "Message undeliverable" }]);
            }
            value["statuses"] = json!([told]);
        }
        let change = json!({ "field": "messages", "value": value });
        Some(signed(
            message,
            &json!({ "object": "whatsapp_business_account", "entry": [{ "id": "0", "changes": [change] }] }),
        ))
    }
}

impl ProviderSimulation for Messenger {
    fn message_id(&self, simulator: &Simulator) -> String {
        format!("m_{}", simulator.unique())
    }

    fn taken(&self, message: &Message) -> Response {
        answer(StatusCode::OK, &json!({ "recipient_id": message.to, "message_id": message.id }))
    }

    fn refusal(&self, status: StatusCode) -> Response {
        refused(status, 10, 613)
    }

    fn opted_out(&self, _: &Message) -> Option<Response> {
        Some(problem(StatusCode::BAD_REQUEST, 551))
    }

    fn report(&self, simulator: &Simulator, message: &Message, step: Step) -> Option<Callback> {
        let at = simulator.seconds() * 1_000;
        let mut event = json!({ "sender": { "id": message.to }, "recipient": { "id": message.from }, "timestamp": at });
        match step {
            Step::Delivered => event["delivery"] = json!({ "mids": [message.id], "watermark": at }),
            Step::Opened => event["read"] = json!({ "watermark": at }),
            Step::OptedOut => event["message"] = json!({ "mid": format!("m_{}", simulator.unique()), "text": "STOP" }),
            Step::Accepted | Step::Sent | Step::Bounced | Step::SoftBounced | Step::Clicked | Step::Complained => {
                return None;
            }
        }
        let entry = json!({ "id": message.from, "time": at, "messaging": [event] });
        Some(signed(message, &json!({ "object": "page", "entry": [entry] })))
    }
}
