//! Telegram: `POST /bot{token}/{method}`. There are no reports on accepted messages. Updates carry a secret header.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use crate::callback::Callback;
use crate::context::SimulationContext;
use crate::message::{Message, Step};
use crate::provider::ProviderSimulation;
use crate::responses::json_response;
use crate::simulator::Simulator;

struct Telegram;

fn problem(code: u16, description: &str) -> Response {
    let mut body = json!({ "ok": false, "error_code": code, "description": description });
    if code == 429 {
        body["parameters"] = json!({ "retry_after": 2 });
    }
    json_response(StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_REQUEST), &body)
}

pub async fn call(simulator: &Arc<Simulator>, token: &str, method: &str, body: &[u8]) -> Response {
    let account = simulator.account("telegram", |account| account.has("botToken", token));
    let Some(account) = account else { return problem(401, "Unauthorized") };
    let sent: Value = serde_json::from_slice(body).unwrap_or_default();
    let field = match method {
        "getMe" => {
            let me = json!({ "id": 1, "is_bot": true, "first_name": "Tidings", "username": "tidings_bot" });
            return json_response(StatusCode::OK, &json!({ "ok": true, "result": me }));
        }
        "sendMessage" => "text",
        "sendLocation" => "latitude",
        "sendPhoto" => "photo",
        "sendVideo" => "video",
        "sendAudio" => "audio",
        "sendDocument" => "document",
        _ => return problem(404, "Not Found"),
    };
    let chat = sent["chat_id"].as_str().unwrap_or_default();
    let is_chat = chat.strip_prefix('-').unwrap_or(chat).bytes().all(|b| b.is_ascii_digit()) && !chat.is_empty();
    if !is_chat && !chat.starts_with('@') {
        return problem(400, "Bad Request: chat not found");
    }
    let is_markup = sent["parse_mode"] == "HTML";
    let written = if sent["caption"].is_string() { &sent["caption"] } else { &sent[field] };
    if let Some(Err(fault)) = written.as_str().filter(|_| is_markup).map(visible_text) {
        return problem(400, &format!("Bad Request: can't parse entities: {fault}"));
    }
    let content_text = match &sent[field] {
        Value::String(text) if is_markup && visible_text(text).is_ok_and(|text| text.chars().count() <= 4_096) => {
            text.clone()
        }
        Value::String(text) if text.chars().count() > 4_096 => return problem(400, "Bad Request: message is too long"),
        Value::String(text) => text.clone(),
        Value::Number(latitude) => format!("{latitude} {}", sent["longitude"]),
        _ => return problem(400, "Bad Request: message text is empty"),
    };
    let attachments = [&sent["reply_markup"], &sent["caption"]].into_iter().filter(|part| !part.is_null()).cloned();
    let message = Message { attachments: attachments.collect(), ..Message::new(account, chat, content_text) };
    simulator.receive(&Telegram, message).await
}

/// The text that a recipient sees of Telegram's HTML, or what is wrong with it.
fn visible_text(html: &str) -> Result<String, String> {
    const TAGS: [&str; 14] =
        ["b", "strong", "i", "em", "u", "ins", "s", "strike", "del", "a", "code", "pre", "blockquote", "tg-spoiler"];
    let mut parts = html.split('<');
    let (mut text, mut open) = (parts.next().unwrap_or_default().to_owned(), Vec::new());
    for part in parts {
        let (tag, rest) = part.split_once('>').ok_or("unclosed start tag")?;
        let name = tag.trim_start_matches('/').split(' ').next().unwrap_or_default();
        if !TAGS.contains(&name) {
            return Err(format!("unsupported start tag \"{name}\""));
        }
        if !tag.starts_with('/') {
            open.push(name);
        } else if open.pop() != Some(name) {
            return Err(format!("unmatched end tag \"{name}\""));
        }
        text.push_str(rest);
    }
    if !open.is_empty() {
        return Err("can't find end tag".to_owned());
    }
    let mut shown = String::new();
    let mut parts = text.split('&');
    shown.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (entity, rest) = part.split_once(';').unwrap_or((part, ""));
        let decoded = match entity {
            "lt" => "<",
            "gt" => ">",
            "amp" => "&",
            "quot" => "\"",
            _ => return Err(format!("unsupported entity \"{entity}\"")),
        };
        shown.push_str(decoded);
        shown.push_str(rest);
    }
    Ok(shown)
}

fn update(message: &Message, update: &serde_json::Value) -> Callback {
    let secret = message.account.get("secretToken");
    Callback::json(message.callback_url(), update).with_header("x-telegram-bot-api-secret-token", secret)
}

impl ProviderSimulation for Telegram {
    fn message_id(&self, context: &SimulationContext) -> String {
        (u32::from_str_radix(&context.unique_id()[..7], 16).unwrap_or(1)).to_string()
    }

    fn accepted_response(&self, message: &Message) -> Response {
        let id: i64 = message.id.parse().unwrap_or(1);
        let result = json!({ "message_id": id, "chat": { "id": message.to, "type": "private" }, "date": 0 });
        json_response(StatusCode::OK, &json!({ "ok": true, "result": result }))
    }

    fn refusal(&self, status: StatusCode) -> Response {
        problem(status.as_u16(), "simulated")
    }

    fn opted_out(&self, _: &Message) -> Option<Response> {
        Some(problem(403, "Forbidden: bot was blocked by the user"))
    }

    fn report(&self, context: &SimulationContext, message: &Message, step: Step) -> Option<Callback> {
        if step != Step::OptedOut {
            return None;
        }
        let chat: i64 = message.to.parse().ok()?;
        let member = json!({ "chat": { "id": chat }, "new_chat_member": { "status": "kicked" } });
        Some(update(message, &json!({ "update_id": context.seconds(), "my_chat_member": member })))
    }

    fn reply(&self, context: &SimulationContext, message: &Message, text: &str) -> Option<Callback> {
        let chat: i64 = message.to.parse().ok()?;
        let id = u32::from_str_radix(&context.unique_id()[..7], 16).unwrap_or(1);
        let from = json!({ "id": chat, "is_bot": false, "first_name": "Simulated" });
        let received = json!({
            "message_id": id, "from": from, "chat": { "id": chat, "type": "private" }, "date": context.seconds(),
            "text": text,
        });
        Some(update(message, &json!({ "update_id": id, "message": received })))
    }
}
