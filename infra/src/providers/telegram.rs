//! Telegram Bot API: `POST /bot{token}/sendMessage` and similar methods. There are no delivery reports, so a message
//! stays sent. Updates carry a secret in a header.

use std::sync::Arc;

use async_trait::async_trait;
use domain::message::MediaKind;
use domain::provider::{
    AccountQueryError, CallbackRequest, Capabilities, ConsentChange, InboundMessage, InvalidSetting, OutboundMessage,
    ParsedCallback, Provider, ProviderConfig, ProviderKind, SendResult, SettingSpec,
};
use events::{Channel, RefusalClass, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::http::{classify_status, exchange, lenient, lenient_number, query_api};
use super::outcome::refusal_outcome;
use super::registration::{ConnectionSettings, ProviderRegistration, invalid_setting};
use super::signatures::{VerificationKeys, VerifyResult, constant_time_eq};
use super::text::{text_with_links, truncated_text};

pub(super) const REGISTRATION: ProviderRegistration =
    ProviderRegistration { kind: &KIND, connect, schemes: &[("telegram-secret-token", verify)] };

static KIND: ProviderKind = ProviderKind {
    name: "telegram",
    title: "Telegram Bot API",
    channels: &[Channel::Telegram],
    settings: &[
        SettingSpec::secret("botToken", "The token from BotFather: digits, a colon and letters"),
        SettingSpec::optional_secret(
            "secretToken",
            "The secret_token given to setWebhook; without it updates are refused",
        ),
    ],
    capabilities: CAPABILITIES,
    signs: "a secret header",
};
const CAPABILITIES: Capabilities = Capabilities {
    max_characters: 4_096,
    media: true,
    location: true,
    buttons: true,
    segments: false,
    echoes_our_id: false,
    receipts: false,
    ..Capabilities::TEXT
};
/// Maximum length of a caption, in characters.
const MAX_CAPTION: usize = 1_024;

struct Telegram {
    connection: ConnectionSettings,
    base: String,
}

fn connect(connection: ConnectionSettings) -> Result<Arc<dyn Provider>, InvalidSetting> {
    let token = connection.require("botToken")?;
    let is_valid = token.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b':' | b'_' | b'-'));
    if !is_valid || !token.contains(':') {
        return Err(invalid_setting("botToken", "botToken is digits, a colon and letters, as BotFather gave it."));
    }
    let base = format!("{}/bot{token}", connection.base_url("https://api.telegram.org"));
    Ok(Arc::new(Telegram { base, connection }))
}

#[derive(Deserialize)]
struct ApiResponse {
    ok: bool,
    #[serde(default, deserialize_with = "lenient")]
    result: Option<Message>,
    #[serde(default, deserialize_with = "lenient_number")]
    error_code: Option<u16>,
    #[serde(default, deserialize_with = "lenient")]
    description: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    parameters: Option<Parameters>,
}

#[derive(Deserialize)]
struct Message {
    message_id: i64,
}

#[derive(Deserialize)]
struct Parameters {
    retry_after: Option<i64>,
    migrate_to_chat_id: Option<i64>,
}

#[async_trait]
impl Provider for Telegram {
    fn config(&self) -> &ProviderConfig {
        &self.connection.config
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn send(&self, outbound: &OutboundMessage, timeout_ms: u64) -> SendResult {
        match self.send_to(outbound, &outbound.to, timeout_ms).await {
            (sent, None) => sent,
            // The first request was definitely refused, so the message can be sent to the chat's new id.
            (_, Some(moved)) => self.send_to(outbound, &moved.to_string(), timeout_ms).await.0,
        }
    }

    async fn check_credentials(&self, timeout_ms: u64) -> Result<(), AccountQueryError> {
        match query_api(self.connection.http.client.get(format!("{}/getMe", self.base)), timeout_ms).await {
            Err(AccountQueryError::NoResponse(code)) if code == "404" => {
                Err(AccountQueryError::CredentialsRejected(code))
            }
            other => other.map(|_| ()),
        }
    }

    async fn verify_callback(&self, request: &CallbackRequest, now: Timestamp) -> VerifyResult {
        verify(
            request,
            &VerificationKeys { secret: self.connection.get_or("secretToken", ""), ..VerificationKeys::default() },
            Some(now),
        )
    }

    async fn parse_callback(&self, request: &CallbackRequest, now: Timestamp) -> Result<ParsedCallback, &'static str> {
        let update: Value = serde_json::from_slice(&request.body).map_err(|_| "the body is not an update")?;
        Ok(parse_callback(&update, now))
    }
}

impl Telegram {
    /// Returns the result and, if the chat has moved, its new id.
    async fn send_to(&self, outbound: &OutboundMessage, chat: &str, timeout_ms: u64) -> (SendResult, Option<i64>) {
        let (method, body) = request(outbound, chat);
        let request = self.connection.http.client.post(format!("{}/{method}", self.base)).json(&body);
        let exchange = match exchange(request, timeout_ms).await {
            Ok(exchange) => exchange,
            Err(outcome) => return (outcome.into(), None),
        };
        let Some(response) = exchange.json::<ApiResponse>() else {
            let outcome = classify_status(&exchange, None);
            return (outcome.map_or_else(|| exchange.unreadable_response(), SendResult::from), None);
        };
        if let (true, Some(message)) = (response.ok, response.result) {
            return (exchange.accepted(format!("{chat}:{}", message.message_id), None), None);
        }
        let code = response.error_code.unwrap_or(exchange.status.as_u16());
        let retry_after_s = response.parameters.as_ref().and_then(|parameters| parameters.retry_after);
        let class = match code {
            401 | 404 => RefusalClass::Auth,
            429 => RefusalClass::Throttled,
            400 | 403 => RefusalClass::Permanent,
            _ => {
                let outcome = classify_status(&exchange, None);
                return (outcome.map_or_else(|| exchange.unreadable_response(), SendResult::from), None);
            }
        };
        let retry_after_ms = retry_after_s.map(|seconds| seconds.saturating_mul(1_000));
        // The recipient blocked the bot, deleted the account or removed the bot from the group.
        let opted_out = code == 403;
        let name = match response.description.as_deref() {
            Some(text) if text.contains("chat not found") => "400.chat_not_found".to_owned(),
            _ => code.to_string(),
        };
        let sent = SendResult { opted_out, ..refusal_outcome(class, name, retry_after_ms).into() };
        (sent, response.parameters.and_then(|parameters| parameters.migrate_to_chat_id))
    }
}

/// Returns the API method for a message and its parameters.
fn request(outbound: &OutboundMessage, chat: &str) -> (&'static str, Value) {
    let message = &outbound.message;
    let mut body = json!({ "chat_id": chat });
    if !message.buttons.is_empty() {
        let rows = message.buttons.iter().map(|button| match &button.url {
            Some(url) => json!([{ "text": button.text, "url": url }]),
            None => {
                // Telegram accepts 64 bytes, which 16 characters never exceed.
                let data = button.data.as_deref().unwrap_or(&button.text);
                json!([{ "text": button.text, "callback_data": data.chars().take(16).collect::<String>() }])
            }
        });
        body["reply_markup"] = json!({ "inline_keyboard": rows.collect::<Vec<Value>>() });
    }
    if let (Some(location), true) = (&message.location, message.text.is_empty()) {
        body["latitude"] = json!(location.latitude);
        body["longitude"] = json!(location.longitude);
        return ("sendLocation", body);
    }
    if let ([link], None) = (message.media.as_slice(), &message.location)
        && message.text.chars().count() <= MAX_CAPTION
    {
        if !message.text.is_empty() {
            let caption = truncated_text(outbound, MAX_CAPTION);
            let markup = message.html.clone().filter(|_| caption == message.text);
            set_text(&mut body, "caption", caption, markup);
        }
        let (method, field) = match link.kind {
            MediaKind::Image => ("sendPhoto", "photo"),
            MediaKind::Video => ("sendVideo", "video"),
            MediaKind::Audio => ("sendAudio", "audio"),
            MediaKind::File => ("sendDocument", "document"),
        };
        body[field] = json!(link.url);
        return (method, body);
    }
    // The keyboard already holds the buttons' links, so they are not repeated in the text.
    let mut plain = outbound.clone();
    plain.message.buttons.clear();
    let text = text_with_links(&plain, CAPABILITIES.max_characters);
    // The links follow the text. Markup is only sent if nothing was cut.
    let links = text.strip_prefix(&message.text).filter(|_| !text.ends_with("...") || text == message.text);
    let markup = message.html.as_ref().zip(links).map(|(html, links)| format!("{html}{}", escaped(links)));
    set_text(&mut body, "text", text, markup);
    ("sendMessage", body)
}

/// Sets a text, or the same text with Telegram's markup.
fn set_text(body: &mut Value, field: &str, text: String, markup: Option<String>) {
    if markup.is_some() {
        body["parse_mode"] = json!("HTML");
    }
    body[field] = json!(markup.unwrap_or(text));
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn verify(request: &CallbackRequest, keys: &VerificationKeys, _: Option<Timestamp>) -> VerifyResult {
    let secret = request.header("x-telegram-bot-api-secret-token").ok_or("no secret header")?;
    if keys.secret.is_empty() {
        return Err("no secret token is configured");
    }
    constant_time_eq(secret.as_bytes(), keys.secret.as_bytes()).map_err(|_| "the secret is wrong")
}

fn parse_callback(update: &Value, now: Timestamp) -> ParsedCallback {
    let id = |value: &Value| value.as_i64().map(|id| id.to_string());
    if let Some(chat) = id(&update["my_chat_member"]["chat"]["id"]) {
        let is_opt_out = match update["my_chat_member"]["new_chat_member"]["status"].as_str() {
            Some("kicked" | "left") => true,
            Some("member" | "administrator" | "creator") => false,
            _ => return ParsedCallback::default(),
        };
        let consent = ConsentChange { contact: chat, is_opt_out, reason: "blocked" };
        return ParsedCallback { consent_changes: vec![consent], ..ParsedCallback::default() };
    }
    if let Some(chat) = id(&update["callback_query"]["message"]["chat"]["id"]) {
        let query = &update["callback_query"];
        let provider_message_id = query["id"].as_str().unwrap_or_default().to_owned();
        let text = query["data"].as_str().map(str::to_owned);
        let inbound = InboundMessage { from: chat, provider_message_id, kind: "button", text, keyword: None, at: now };
        return ParsedCallback { inbound: vec![inbound], ..ParsedCallback::default() };
    }
    let message = &update["message"];
    let (Some(chat), Some(number)) = (id(&message["chat"]["id"]), id(&message["message_id"])) else {
        return ParsedCallback::default();
    };
    let kinds = [
        ("photo", "image"),
        ("video", "video"),
        ("voice", "audio"),
        ("audio", "audio"),
        ("document", "file"),
        ("location", "location"),
    ];
    let kind = kinds.into_iter().find(|(field, _)| !message[*field].is_null()).map_or("text", |(_, kind)| kind);
    let text = message["text"].as_str().or_else(|| message["caption"].as_str()).map(str::to_owned);
    let at = message["date"].as_i64().map_or(now, |seconds| Timestamp(seconds.saturating_mul(1_000)));
    let provider_message_id = format!("{chat}:{number}");
    let inbound = InboundMessage { from: chat, provider_message_id, kind, text, keyword: None, at };
    ParsedCallback { inbound: vec![inbound], ..ParsedCallback::default() }
}
