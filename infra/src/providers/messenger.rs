//! Facebook Messenger, Graph: `POST /{version}/{page-id}/messages`, 200 with `message_id`. It echoes nothing of ours:
//! deliveries name its own ids, reads name a time up to which everything was seen.

use std::sync::Arc;

use async_trait::async_trait;
use domain::message::MediaKind;
use domain::provider::{
    AccountQueryError, CallbackRequest, Capabilities, InboundMessage, InvalidSetting, MessageRef, OutboundMessage,
    ParsedCallback, Provider, ProviderConfig, ProviderKind, SendResult, SettingSpec,
};
use events::{Channel, RefusalClass, ReportedStatus, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::meta::{VERSION, challenge, refusal, verify_get, verify_post};
use super::signatures::{Keys, SignatureCheck, Verdict, hex, hmac_sha256};
use super::{ConnectionSettings, Entry, exchange, fault, query_api, text_with_links, told, truncated_text};

pub(super) const ENTRY: Entry = Entry { kind: &KIND, connect, schemes: &[] };

static KIND: ProviderKind = ProviderKind {
    name: "messenger",
    title: "Facebook Messenger",
    channels: &[Channel::Messenger],
    settings: &[
        SettingSpec::required("pageId", "The page that messages come from"),
        SettingSpec::secret("pageToken", "The page's access token"),
        SettingSpec::secret("appSecret", "Proves our requests, and signs its callbacks"),
        SettingSpec::optional_secret("verifyToken", "What you enter beside the callback's address"),
        SettingSpec::optional("messagingType", "UPDATE (default) or RESPONSE; outside of 24 hours a tag is needed"),
        SettingSpec::optional("tag", "Such as POST_PURCHASE_UPDATE: sent as MESSAGE_TAG"),
    ],
    capabilities: CAN,
    signs: "X-Hub-Signature-256, and the verify token once",
};
const CAN: Capabilities = Capabilities {
    max_characters: 2_000,
    media: true,
    buttons: true,
    segments: false,
    echoes_our_id: false,
    names_person: true,
    ..Capabilities::TEXT
};

struct Messenger {
    link: ConnectionSettings,
    base: String,
    page: String,
    token: String,
    secret: String,
}

fn connect(link: ConnectionSettings) -> Result<Arc<dyn Provider>, InvalidSetting> {
    let page = link.need("pageId")?;
    if !page.bytes().all(|b| b.is_ascii_digit()) {
        return Err(fault("pageId", "pageId is digits alone."));
    }
    let base = format!("{}/{VERSION}", link.base_url("https://graph.facebook.com"));
    Ok(Arc::new(Messenger { base, page, token: link.need("pageToken")?, secret: link.need("appSecret")?, link }))
}

#[derive(Deserialize)]
struct Taken {
    message_id: String,
}

#[async_trait]
impl Provider for Messenger {
    fn config(&self) -> &ProviderConfig {
        &self.link.account
    }

    fn capabilities(&self) -> Capabilities {
        CAN
    }

    async fn send(&self, outbound: &OutboundMessage, timeout_ms: u64) -> SendResult {
        let request = self.link.http.client.post(self.url(&format!("{}/messages", self.page)));
        let exchange = match exchange(request.form(&self.fields(outbound)), timeout_ms).await {
            Ok(exchange) => exchange,
            Err(answer) => return answer.into(),
        };
        if let Some((answer, code)) = refusal(&exchange, class) {
            return SendResult { opted_out: code == 551, ..answer.into() };
        }
        let taken = exchange.json::<Taken>();
        taken.map_or_else(|| exchange.unreadable_response(), |taken| exchange.accepted(taken.message_id, None))
    }

    async fn check_credentials(&self, timeout_ms: u64) -> Result<(), AccountQueryError> {
        query_api(self.link.http.client.get(self.url("me")), timeout_ms).await.map(|_| ())
    }

    async fn verify_callback(&self, request: &CallbackRequest, now: Timestamp) -> Verdict {
        let (secret, scheme): (String, SignatureCheck) = match request.method.as_str() {
            "GET" => (self.link.or("verifyToken", ""), verify_get),
            _ => (self.secret.clone(), verify_post),
        };
        scheme(request, &Keys { secret, ..Keys::default() }, Some(now))
    }

    async fn parse_callback(&self, request: &CallbackRequest, _: Timestamp) -> Result<ParsedCallback, &'static str> {
        match request.method.as_str() {
            "GET" => Ok(ParsedCallback { response_body: challenge(request), ..ParsedCallback::default() }),
            _ => hear(&request.body),
        }
    }
}

fn class(code: i64, subcode: Option<i64>) -> Option<RefusalClass> {
    Some(match (code, subcode) {
        (190 | 200, _) => RefusalClass::Auth,
        (4 | 32 | 613, _) => RefusalClass::Throttled,
        (1 | 2 | 1_200, _) => RefusalClass::Transient,
        // 10.2018278: outside of the 24 hours. 100.2018001: nobody of that id. 551: this person is not available.
        (10 | 100 | 551, _) => RefusalClass::Permanent,
        _ => return None,
    })
}

impl Messenger {
    /// The proof shows that the token is used by its own app.
    fn url(&self, rest: &str) -> String {
        let proof = hex(&hmac_sha256(self.secret.as_bytes(), &[self.token.as_bytes()]));
        let query = [("access_token", self.token.as_str()), ("appsecret_proof", &proof)];
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
        format!("{}/{rest}?{query}", self.base)
    }

    fn fields(&self, outbound: &OutboundMessage) -> Vec<(&'static str, String)> {
        let message = &outbound.message;
        let mut fields = vec![("recipient", json!({ "id": outbound.to }).to_string())];
        let content = match message.media.as_slice() {
            [link] if message.text.is_empty() => {
                let kind = match link.kind {
                    MediaKind::Image => "image",
                    MediaKind::Video => "video",
                    MediaKind::Audio => "audio",
                    MediaKind::File => "file",
                };
                json!({ "attachment": { "type": kind, "payload": { "url": link.url, "is_reusable": true } } })
            }
            _ if !message.buttons.is_empty() => {
                let buttons = message.buttons.iter().take(3).map(|button| match &button.url {
                    Some(url) => json!({ "type": "web_url", "title": button.text, "url": url }),
                    None => {
                        let data = button.data.as_deref().unwrap_or(&button.text);
                        json!({ "type": "postback", "title": button.text, "payload": data })
                    }
                });
                let buttons: Vec<Value> = buttons.collect();
                let payload =
                    json!({ "template_type": "button", "text": truncated_text(outbound, 640), "buttons": buttons });
                json!({ "attachment": { "type": "template", "payload": payload } })
            }
            _ => json!({ "text": text_with_links(outbound, CAN.max_characters) }),
        };
        fields.push(("message", content.to_string()));
        match self.link.get("tag") {
            Some(tag) => {
                fields.push(("messaging_type", "MESSAGE_TAG".to_owned()));
                fields.push(("tag", tag));
            }
            None => fields.push(("messaging_type", self.link.or("messagingType", "UPDATE"))),
        }
        fields
    }
}

fn hear(body: &[u8]) -> Result<ParsedCallback, &'static str> {
    let body: Value = serde_json::from_slice(body).map_err(|_| "not an event of Graph's")?;
    let list = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    let mut heard = ParsedCallback::default();
    for event in list(&body, "entry").iter().flat_map(|entry| list(entry, "messaging")) {
        let Some(sender) = event["sender"]["id"].as_str() else { continue };
        let stamp = |value: &Value| value.as_i64().map(Timestamp);
        if let Some(at) = stamp(&event["delivery"]["watermark"]) {
            let named = list(&event["delivery"], "mids");
            let named =
                named.iter().filter_map(|mid| mid.as_str().map(|mid| MessageRef::ProviderMessageId(mid.to_owned())));
            let mut about: Vec<MessageRef> = named.collect();
            if about.is_empty() {
                about.push(MessageRef::LatestToAddress(sender.to_owned()));
            }
            heard
                .delivery_reports
                .extend(about.into_iter().map(|about| told(about, (ReportedStatus::Delivered, None), None, at)));
        } else if let Some(at) = stamp(&event["read"]["watermark"]) {
            heard.delivery_reports.push(told(
                MessageRef::LatestToAddress(sender.to_owned()),
                (ReportedStatus::Read, None),
                None,
                at,
            ));
        } else if let Some(at) = stamp(&event["timestamp"]).filter(|_| event["message"]["is_echo"] != true) {
            let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
            let attachment = event.pointer("/message/attachments/0/type").and_then(Value::as_str);
            let (kind, said) = match (attachment, text("/postback/payload")) {
                (_, Some(payload)) => ("button", Some(payload)),
                (Some(kind @ ("image" | "video" | "audio" | "file" | "location")), _) => {
                    let known = ["image", "video", "audio", "file", "location"];
                    (known.into_iter().find(|name| *name == kind).unwrap_or("other"), text("/message/text"))
                }
                (Some(_), _) => ("other", text("/message/text")),
                (None, None) => ("text", text("/message/text")),
            };
            let id = text("/message/mid").or_else(|| text("/postback/mid"));
            let Some(provider_message_id) = id else { continue };
            let from = sender.to_owned();
            heard.inbound.push(InboundMessage { from, provider_message_id, kind, text: said, keyword: None, at });
        }
    }
    Ok(heard)
}
