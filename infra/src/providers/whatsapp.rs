//! WhatsApp Business Cloud API: `POST /{version}/{phone-number-id}/messages`, 200 with a `wamid`. Our ids come back as
//! `biz_opaque_callback_data`. Outside of 24 hours after the person's last word only approved templates are taken.

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

use super::meta::{VERSION, challenge, refusal, verify_get, verify_post};
use super::signatures::{Keys, Verdict};
use super::{
    ConnectionSettings, Entry, encode_attempt_ref, exchange, fault, parse_attempt_ref, query_api, report_with_consent,
    text_with_links, truncated_text, unknown_code,
};

pub(super) const ENTRY: Entry =
    Entry { kind: &KIND, connect, schemes: &[("meta-x-hub-sha256", verify_post), ("meta-get-challenge", verify_get)] };

static KIND: ProviderKind = ProviderKind {
    name: "whatsapp",
    title: "WhatsApp Business Cloud API",
    channels: &[Channel::Whatsapp],
    settings: &[
        SettingSpec::required("phoneNumberId", "The id of the business number"),
        SettingSpec::secret("accessToken", "A system user's token"),
        SettingSpec::optional_secret("appSecret", "Signs its callbacks; without it they are refused"),
        SettingSpec::optional_secret("verifyToken", "What you enter beside the callback's address"),
    ],
    capabilities: CAN,
    signs: "X-Hub-Signature-256, and the verify token once",
};
const CAN: Capabilities = Capabilities {
    max_characters: 4_096,
    media: true,
    location: true,
    buttons: true,
    templates: true,
    segments: false,
    ..Capabilities::TEXT
};
/// Characters of a caption and of a text with buttons.
const MAX_CAPTION: usize = 1_024;

struct Whatsapp {
    link: ConnectionSettings,
    url: String,
    access_token: String,
}

fn connect(link: ConnectionSettings) -> Result<Arc<dyn Provider>, InvalidSetting> {
    let id = link.need("phoneNumberId")?;
    if !id.bytes().all(|b| b.is_ascii_digit()) {
        return Err(fault("phoneNumberId", "phoneNumberId is digits alone: the id, not the number."));
    }
    let url = format!("{}/{VERSION}/{id}", link.base_url("https://graph.facebook.com"));
    Ok(Arc::new(Whatsapp { url, access_token: link.need("accessToken")?, link }))
}

#[derive(Deserialize)]
struct Taken {
    messages: Vec<Id>,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[async_trait]
impl Provider for Whatsapp {
    fn config(&self) -> &ProviderConfig {
        &self.link.account
    }

    fn capabilities(&self) -> Capabilities {
        CAN
    }

    async fn send(&self, outbound: &OutboundMessage, timeout_ms: u64) -> SendResult {
        let request = self.link.http.client.post(format!("{}/messages", self.url));
        let request = request.bearer_auth(&self.access_token).json(&body(outbound));
        let exchange = match exchange(request, timeout_ms).await {
            Ok(exchange) => exchange,
            Err(answer) => return answer.into(),
        };
        if let Some((answer, code)) = refusal(&exchange, class) {
            return SendResult { opted_out: code == 131_050, ..answer.into() };
        }
        let taken = exchange.json::<Taken>().and_then(|taken| taken.messages.into_iter().next());
        taken.map_or_else(|| exchange.unreadable_response(), |message| exchange.accepted(message.id, None))
    }

    async fn check_credentials(&self, timeout_ms: u64) -> Result<(), AccountQueryError> {
        query_api(self.link.http.client.get(&self.url).bearer_auth(&self.access_token), timeout_ms).await.map(|_| ())
    }

    async fn verify_callback(&self, request: &CallbackRequest, now: Timestamp) -> Verdict {
        let (name, scheme): (_, super::signatures::SignatureCheck) = match request.method.as_str() {
            "GET" => ("verifyToken", verify_get),
            _ => ("appSecret", verify_post),
        };
        scheme(request, &Keys { secret: self.link.or(name, ""), ..Keys::default() }, Some(now))
    }

    async fn parse_callback(&self, request: &CallbackRequest, now: Timestamp) -> Result<ParsedCallback, &'static str> {
        match request.method.as_str() {
            "GET" => Ok(ParsedCallback { response_body: challenge(request), ..ParsedCallback::default() }),
            _ => hear(&request.body, now),
        }
    }
}

fn class(code: i64, _: Option<i64>) -> Option<RefusalClass> {
    Some(match code {
        0 | 190 | 3 | 10 | 200..=299 | 131_005 | 368 | 131_031 => RefusalClass::Auth,
        131_042 => RefusalClass::Balance,
        4 | 80_007 | 130_429 | 131_048 | 131_056 | 133_016 => RefusalClass::Throttled,
        1 | 2 | 131_000 | 131_016 | 131_057 | 133_004 => RefusalClass::Transient,
        // 131047: outside of the 24 hours. 131049, 130472: Meta itself thinks that this person has had enough.
        _ => RefusalClass::Permanent,
    })
}

/// One message: a template, a place, a file, buttons, or words.
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
    } else if let (Some(place), true) = (&message.location, message.text.is_empty()) {
        let mut place = json!(place);
        for name in ["latitude", "longitude"] {
            place[name] = json!(place[name].to_string());
        }
        ("location", place)
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
        ("text", json!({ "preview_url": true, "body": text_with_links(outbound, CAN.max_characters) }))
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

/// Up to three answers, or one address.
fn interactive(outbound: &OutboundMessage) -> Option<Value> {
    let message = &outbound.message;
    let said = json!({ "text": truncated_text(outbound, MAX_CAPTION) });
    let title = |text: &str| domain::sms::truncate(text, 20);
    if let ([button], Some(url)) = (message.buttons.as_slice(), message.buttons.first().and_then(|b| b.url.as_ref())) {
        let parameters = json!({ "display_text": title(&button.text), "url": url });
        let action = json!({ "name": "cta_url", "parameters": parameters });
        return Some(json!({ "type": "cta_url", "body": said, "action": action }));
    }
    let answers = message.buttons.iter().filter(|button| button.url.is_none()).take(3).map(|button| {
        let id = button.data.as_deref().unwrap_or(&button.text);
        json!({ "type": "reply", "reply": { "id": id, "title": title(&button.text) } })
    });
    let answers: Vec<Value> = answers.collect();
    let sound = !answers.is_empty() && answers.len() == message.buttons.len();
    sound.then(|| json!({ "type": "button", "body": said, "action": { "buttons": answers } }))
}

/// All statuses and messages of all entries.
fn hear(body: &[u8], now: Timestamp) -> Result<ParsedCallback, &'static str> {
    let body: Value = serde_json::from_slice(body).map_err(|_| "not an event of Graph's")?;
    let list = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    let mut heard = ParsedCallback::default();
    for change in list(&body, "entry").iter().flat_map(|entry| list(entry, "changes")) {
        let value = &change["value"];
        list(value, "statuses").iter().for_each(|status| heard.delivery_reports.extend(tell(status, now)));
        heard.inbound.extend(list(value, "messages").iter().filter_map(|message| inbound(message, now)));
    }
    Ok(heard)
}

fn at(value: &Value, now: Timestamp) -> Timestamp {
    let seconds = value["timestamp"].as_str().and_then(|text| text.parse::<i64>().ok());
    seconds.map_or(now, |seconds| Timestamp(seconds.saturating_mul(1_000)))
}

fn tell(status: &Value, now: Timestamp) -> Vec<ProviderReport> {
    let (Some(id), Some(name)) = (status["id"].as_str(), status["status"].as_str()) else { return Vec::new() };
    let about = match status["biz_opaque_callback_data"].as_str().and_then(parse_attempt_ref) {
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
    let shown = if fact == ReportedStatus::Unknown { unknown_code(name) } else { code.map(|code| code.to_string()) };
    report_with_consent(about, (fact, shown), Some(format!("{id}:{name}")), at(status, now), code == Some(131_050))
}

fn inbound(message: &Value, now: Timestamp) -> Option<InboundMessage> {
    let text = |pointer: &str| message.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let (kind, said) = match message["type"].as_str()? {
        "text" => ("text", text("/text/body")),
        "image" | "sticker" => ("image", text("/image/caption")),
        "video" => ("video", text("/video/caption")),
        "audio" => ("audio", None),
        "document" => ("file", text("/document/caption")),
        "location" => ("location", None),
        "button" => ("button", text("/button/payload").or_else(|| text("/button/text"))),
        "interactive" => {
            ("button", text("/interactive/button_reply/id").or_else(|| text("/interactive/list_reply/id")))
        }
        _ => ("other", None),
    };
    Some(InboundMessage {
        from: format!("+{}", message["from"].as_str()?),
        provider_message_id: message["id"].as_str()?.to_owned(),
        kind,
        text: said,
        keyword: None,
        at: at(message, now),
    })
}
