//! WhatsApp Business Cloud API: `POST /{version}/{phone-number-id}/messages` answers 200 with a `wamid`. Callbacks echo
//! our ids as `biz_opaque_callback_data`. More than 24 hours after the recipient's last message, only approved
//! templates are accepted.

use std::sync::Arc;

use async_trait::async_trait;
use domain::message::MediaKind;
use domain::provider::{
    AccountQueryError, CallbackRequest, Capabilities, InboundMessage, InvalidSetting, MessageRef, OutboundMessage,
    ParsedCallback, Provider, ProviderConfig, ProviderKind, ProviderReport, SendResult, SettingSpec,
};
use events::{Channel, RefusalClass, ReportedStatus, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::attempt_ids::{encode_attempt_ref, parse_attempt_ref};
use super::callback::{report_with_consent, unknown_code};
use super::http::{exchange, query_api};
use super::meta::{api_version, challenge, refusal, verify_get, verify_post};
use super::registration::{ConnectionSettings, ProviderRegistration, invalid_setting};
use super::signatures::{SignatureCheck, VerificationKeys, VerifyResult};
use super::text::{text_with_links, truncated_text};

pub(super) const REGISTRATION: ProviderRegistration = ProviderRegistration {
    kind: &KIND,
    connect,
    schemes: &[("meta-x-hub-sha256", verify_post), ("meta-get-challenge", verify_get)],
};

static KIND: ProviderKind = ProviderKind {
    name: "whatsapp",
    title: "WhatsApp Business Cloud API",
    channels: &[Channel::Whatsapp],
    settings: &[
        SettingSpec::required("phoneNumberId", "The id of the business number"),
        SettingSpec::secret("accessToken", "A system user's token"),
        SettingSpec::optional_secret("appSecret", "The app secret that signs callbacks; without it they are refused"),
        SettingSpec::optional_secret("verifyToken", "The verify token that you enter with the callback's address"),
        SettingSpec::optional("apiVersion", "The version of the Graph API, such as v26.0 (default)"),
    ],
    capabilities: CAPABILITIES,
    signs: "X-Hub-Signature-256, and the verify token once",
};
const CAPABILITIES: Capabilities = Capabilities {
    max_characters: 4_096,
    media: true,
    location: true,
    buttons: true,
    templates: true,
    segments: false,
    ..Capabilities::TEXT
};
/// Maximum length of a caption and of a text with buttons, in characters.
const MAX_CAPTION: usize = 1_024;

struct Whatsapp {
    connection: ConnectionSettings,
    url: String,
    access_token: String,
}

fn connect(connection: ConnectionSettings) -> Result<Arc<dyn Provider>, InvalidSetting> {
    let id = connection.require("phoneNumberId")?;
    if !id.bytes().all(|b| b.is_ascii_digit()) {
        return Err(invalid_setting(
            "phoneNumberId",
            "phoneNumberId consists of digits only. It is the id, not the number.",
        ));
    }
    let url = format!("{}/{}/{id}", connection.base_url("https://graph.facebook.com"), api_version(&connection)?);
    Ok(Arc::new(Whatsapp { url, access_token: connection.require("accessToken")?, connection }))
}

#[derive(Deserialize)]
struct SendResponse {
    messages: Vec<Id>,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[async_trait]
impl Provider for Whatsapp {
    fn config(&self) -> &ProviderConfig {
        &self.connection.config
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn send(&self, outbound: &OutboundMessage, timeout_ms: u64) -> SendResult {
        let request = self.connection.http.client.post(format!("{}/messages", self.url));
        let request = request.bearer_auth(&self.access_token).json(&body(outbound));
        let exchange = match exchange(request, timeout_ms).await {
            Ok(exchange) => exchange,
            Err(outcome) => return outcome.into(),
        };
        if let Some((outcome, code)) = refusal(&exchange, class) {
            return SendResult { opted_out: code == 131_050, ..outcome.into() };
        }
        let response = exchange.json::<SendResponse>().and_then(|response| response.messages.into_iter().next());
        response.map_or_else(|| exchange.unreadable_response(), |message| exchange.accepted(message.id, None))
    }

    async fn check_credentials(&self, timeout_ms: u64) -> Result<(), AccountQueryError> {
        query_api(self.connection.http.client.get(&self.url).bearer_auth(&self.access_token), timeout_ms)
            .await
            .map(|_| ())
    }

    async fn verify_callback(&self, request: &CallbackRequest, now: Timestamp) -> VerifyResult {
        let (name, scheme): (_, SignatureCheck) = match request.method.as_str() {
            "GET" => ("verifyToken", verify_get),
            _ => ("appSecret", verify_post),
        };
        scheme(
            request,
            &VerificationKeys { secret: self.connection.get_or(name, ""), ..VerificationKeys::default() },
            Some(now),
        )
    }

    async fn parse_callback(&self, request: &CallbackRequest, now: Timestamp) -> Result<ParsedCallback, &'static str> {
        match request.method.as_str() {
            "GET" => Ok(ParsedCallback { response_body: challenge(request), ..ParsedCallback::default() }),
            _ => parse_callback(&request.body, now),
        }
    }
}

fn class(code: i64, _: Option<i64>) -> Option<RefusalClass> {
    Some(match code {
        0 | 190 | 3 | 10 | 200..=299 | 131_005 | 368 | 131_031 => RefusalClass::Auth,
        131_042 => RefusalClass::Balance,
        4 | 80_007 | 130_429 | 131_048 | 131_056 | 133_016 => RefusalClass::Throttled,
        1 | 2 | 131_000 | 131_016 | 131_057 | 133_004 => RefusalClass::Transient,
        // 131047: more than 24 hours after the recipient's last message. 131049, 130472: Meta limits how many messages
        // this recipient gets.
        _ => RefusalClass::Permanent,
    })
}

/// Builds the request body of a message: a template, a location, a file, buttons or text.
fn body(outbound: &OutboundMessage) -> Value {
    let message = &outbound.message;
    let (kind, content) = if let Some(template) = &message.template {
        let text = |value: &String| json!({ "type": "text", "text": value });
        let mut content = json!({ "name": template.name, "language": { "code": template.language } });
        if !template.variables.is_empty() {
            let parameters: Vec<Value> = template.variables.iter().map(text).collect();
            content["components"] = json!([{ "type": "body", "parameters": parameters }]);
        }
        ("template", content)
    } else if let (Some(location), true) = (&message.location, message.text.is_empty()) {
        let mut location = json!(location);
        for name in ["latitude", "longitude"] {
            location[name] = json!(location[name].to_string());
        }
        ("location", location)
    } else if let ([link], None) = (message.media.as_slice(), &message.location) {
        let mut content = json!({ "link": link.url });
        if link.kind != MediaKind::Audio && !message.text.is_empty() {
            content["caption"] = json!(truncated_text(outbound, MAX_CAPTION));
        }
        match link.kind {
            MediaKind::Image => ("image", content),
            MediaKind::Video => ("video", content),
            MediaKind::Audio => ("audio", content),
            MediaKind::File => {
                content["filename"] = json!(link.name);
                ("document", content)
            }
        }
    } else if let Some(content) = interactive(outbound) {
        ("interactive", content)
    } else {
        ("text", json!({ "preview_url": true, "body": text_with_links(outbound, CAPABILITIES.max_characters) }))
    };
    let mut body = json!({
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        "to": outbound.to.trim_start_matches('+'),
        "type": kind,
        "biz_opaque_callback_data": encode_attempt_ref(outbound),
    });
    body[kind] = content;
    body
}

/// Builds the content of a message with up to three reply buttons or with one link button. Returns `None` if the
/// buttons do not fit either form.
fn interactive(outbound: &OutboundMessage) -> Option<Value> {
    let message = &outbound.message;
    let text = json!({ "text": truncated_text(outbound, MAX_CAPTION) });
    let title = |text: &str| domain::sms::truncate(text, 20);
    if let ([button], Some(url)) = (message.buttons.as_slice(), message.buttons.first().and_then(|b| b.url.as_ref())) {
        let parameters = json!({ "display_text": title(&button.text), "url": url });
        let action = json!({ "name": "cta_url", "parameters": parameters });
        return Some(json!({ "type": "cta_url", "body": text, "action": action }));
    }
    let replies = message.buttons.iter().filter(|button| button.url.is_none()).take(3).map(|button| {
        let id = button.data.as_deref().unwrap_or(&button.text);
        json!({ "type": "reply", "reply": { "id": id, "title": title(&button.text) } })
    });
    let replies: Vec<Value> = replies.collect();
    let fits = !replies.is_empty() && replies.len() == message.buttons.len();
    fits.then(|| json!({ "type": "button", "body": text, "action": { "buttons": replies } }))
}

/// Reads all statuses and incoming messages of all entries.
fn parse_callback(body: &[u8], now: Timestamp) -> Result<ParsedCallback, &'static str> {
    let body: Value = serde_json::from_slice(body).map_err(|_| "the body is not a Graph event")?;
    let list = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    let mut callback = ParsedCallback::default();
    for change in list(&body, "entry").iter().flat_map(|entry| list(entry, "changes")) {
        let value = &change["value"];
        list(value, "statuses").iter().for_each(|status| callback.delivery_reports.extend(parse_event(status, now)));
        callback.inbound.extend(list(value, "messages").iter().filter_map(|message| inbound(message, now)));
    }
    Ok(callback)
}

fn event_time(value: &Value, now: Timestamp) -> Timestamp {
    let seconds = value["timestamp"].as_str().and_then(|text| text.parse::<i64>().ok());
    seconds.map_or(now, |seconds| Timestamp(seconds.saturating_mul(1_000)))
}

fn parse_event(status: &Value, now: Timestamp) -> Vec<ProviderReport> {
    let (Some(id), Some(name)) = (status["id"].as_str(), status["status"].as_str()) else { return Vec::new() };
    let message = match status["biz_opaque_callback_data"].as_str().and_then(parse_attempt_ref) {
        Some(ids) => MessageRef::from_attempt(ids),
        None => MessageRef::ProviderMessageId(id.to_owned()),
    };
    let code = status["errors"][0]["code"].as_i64();
    let fact = match name {
        "sent" => ReportedStatus::Sent,
        "delivered" => ReportedStatus::Delivered,
        "read" | "played" => ReportedStatus::Read,
        "failed" => ReportedStatus::Undelivered,
        _ => ReportedStatus::Unknown,
    };
    let error_code =
        if fact == ReportedStatus::Unknown { unknown_code(name) } else { code.map(|code| code.to_string()) };
    report_with_consent(
        message,
        (fact, error_code),
        Some(format!("{id}:{name}")),
        event_time(status, now),
        code == Some(131_050),
    )
}

fn inbound(message: &Value, now: Timestamp) -> Option<InboundMessage> {
    let get = |pointer: &str| message.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let (kind, text) = match message["type"].as_str()? {
        "text" => ("text", get("/text/body")),
        "image" | "sticker" => ("image", get("/image/caption")),
        "video" => ("video", get("/video/caption")),
        "audio" => ("audio", None),
        "document" => ("file", get("/document/caption")),
        "location" => ("location", None),
        "button" => ("button", get("/button/payload").or_else(|| get("/button/text"))),
        "interactive" => ("button", get("/interactive/button_reply/id").or_else(|| get("/interactive/list_reply/id"))),
        _ => ("other", None),
    };
    Some(InboundMessage {
        from: format!("+{}", message["from"].as_str()?),
        provider_message_id: message["id"].as_str()?.to_owned(),
        kind,
        text,
        keyword: None,
        at: event_time(message, now),
    })
}
