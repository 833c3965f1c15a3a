//! Facebook Messenger, Graph API: `POST /{version}/{page-id}/messages` answers 200 with a `message_id`. Callbacks do
//! not echo our ids. Deliveries name Messenger's message ids, and reads name a time up to which the recipient has read
//! everything.

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

use super::callback::delivery_report;
use super::http::{exchange, query_api};
use super::meta::{api_version, challenge, refusal, verify_get, verify_post};
use super::registration::{ConnectionSettings, ProviderRegistration, invalid_setting};
use super::signatures::{SignatureCheck, VerificationKeys, VerifyResult, hex, hmac_sha256};
use super::text::{text_with_links, truncated_text};

pub(super) const REGISTRATION: ProviderRegistration = ProviderRegistration { kind: &KIND, connect, schemes: &[] };

static KIND: ProviderKind = ProviderKind {
    name: "messenger",
    title: "Facebook Messenger",
    channels: &[Channel::Messenger],
    settings: &[
        SettingSpec::required("pageId", "The page that messages come from"),
        SettingSpec::secret("pageToken", "The page's access token"),
        SettingSpec::secret("appSecret", "The app secret, which proves our requests and signs callbacks"),
        SettingSpec::optional_secret("verifyToken", "The verify token that you enter with the callback's address"),
        SettingSpec::optional(
            "messagingType",
            "UPDATE (default) or RESPONSE; more than 24 hours after the last message a tag is needed",
        ),
        SettingSpec::optional("tag", "A message tag such as POST_PURCHASE_UPDATE, sent with the type MESSAGE_TAG"),
        SettingSpec::optional("apiVersion", "The version of the Graph API, such as v26.0 (default)"),
    ],
    capabilities: CAPABILITIES,
    signs: "X-Hub-Signature-256, and the verify token once",
};
const CAPABILITIES: Capabilities = Capabilities {
    max_characters: 2_000,
    media: true,
    buttons: true,
    segments: false,
    echoes_our_id: false,
    names_person: true,
    ..Capabilities::TEXT
};

struct Messenger {
    connection: ConnectionSettings,
    base: String,
    page: String,
    token: String,
    secret: String,
}

fn connect(connection: ConnectionSettings) -> Result<Arc<dyn Provider>, InvalidSetting> {
    let page = connection.require("pageId")?;
    if !page.bytes().all(|b| b.is_ascii_digit()) {
        return Err(invalid_setting("pageId", "pageId consists of digits only."));
    }
    let base = format!("{}/{}", connection.base_url("https://graph.facebook.com"), api_version(&connection)?);
    Ok(Arc::new(Messenger {
        base,
        page,
        token: connection.require("pageToken")?,
        secret: connection.require("appSecret")?,
        connection,
    }))
}

#[derive(Deserialize)]
struct SendResponse {
    message_id: String,
}

#[async_trait]
impl Provider for Messenger {
    fn config(&self) -> &ProviderConfig {
        &self.connection.config
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn send(&self, outbound: &OutboundMessage, timeout_ms: u64) -> SendResult {
        let request = self.connection.http.client.post(self.url(&format!("{}/messages", self.page)));
        let exchange = match exchange(request.form(&self.fields(outbound)), timeout_ms).await {
            Ok(exchange) => exchange,
            Err(outcome) => return outcome.into(),
        };
        if let Some((outcome, code)) = refusal(&exchange, class) {
            return SendResult { opted_out: code == 551, ..outcome.into() };
        }
        let response = exchange.json::<SendResponse>();
        response.map_or_else(|| exchange.unreadable_response(), |response| exchange.accepted(response.message_id, None))
    }

    async fn check_credentials(&self, timeout_ms: u64) -> Result<(), AccountQueryError> {
        query_api(self.connection.http.client.get(self.url("me")), timeout_ms).await.map(|_| ())
    }

    async fn verify_callback(&self, request: &CallbackRequest, now: Timestamp) -> VerifyResult {
        let (secret, scheme): (String, SignatureCheck) = match request.method.as_str() {
            "GET" => (self.connection.get_or("verifyToken", ""), verify_get),
            _ => (self.secret.clone(), verify_post),
        };
        scheme(request, &VerificationKeys { secret, ..VerificationKeys::default() }, Some(now))
    }

    async fn parse_callback(&self, request: &CallbackRequest, _: Timestamp) -> Result<ParsedCallback, &'static str> {
        match request.method.as_str() {
            "GET" => Ok(ParsedCallback { response_body: challenge(request), ..ParsedCallback::default() }),
            _ => parse_callback(&request.body),
        }
    }
}

fn class(code: i64, subcode: Option<i64>) -> Option<RefusalClass> {
    Some(match (code, subcode) {
        (190 | 200, _) => RefusalClass::Auth,
        (4 | 32 | 613, _) => RefusalClass::Throttled,
        (1 | 2 | 1_200, _) => RefusalClass::Transient,
        // 10.2018278: more than 24 hours after the recipient's last message. 100.2018001: the recipient's id is
        // unknown. 551: the recipient does not accept messages.
        (10 | 100 | 551, _) => RefusalClass::Permanent,
        _ => return None,
    })
}

impl Messenger {
    /// The address with the token and a proof that the token is used by its own app.
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
            _ => json!({ "text": text_with_links(outbound, CAPABILITIES.max_characters) }),
        };
        fields.push(("message", content.to_string()));
        match self.connection.get("tag") {
            Some(tag) => {
                fields.push(("messaging_type", "MESSAGE_TAG".to_owned()));
                fields.push(("tag", tag));
            }
            None => fields.push(("messaging_type", self.connection.get_or("messagingType", "UPDATE"))),
        }
        fields
    }
}

fn parse_callback(body: &[u8]) -> Result<ParsedCallback, &'static str> {
    let body: Value = serde_json::from_slice(body).map_err(|_| "the body is not a Graph event")?;
    let list = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    let mut callback = ParsedCallback::default();
    for event in list(&body, "entry").iter().flat_map(|entry| list(entry, "messaging")) {
        let Some(sender) = event["sender"]["id"].as_str() else { continue };
        let stamp = |value: &Value| value.as_i64().map(Timestamp);
        if let Some(at) = stamp(&event["delivery"]["watermark"]) {
            let named = list(&event["delivery"], "mids");
            let named =
                named.iter().filter_map(|mid| mid.as_str().map(|mid| MessageRef::ProviderMessageId(mid.to_owned())));
            let mut messages: Vec<MessageRef> = named.collect();
            if messages.is_empty() {
                messages.push(MessageRef::LatestToAddress(sender.to_owned()));
            }
            callback.delivery_reports.extend(
                messages
                    .into_iter()
                    .map(|message| delivery_report(message, (ReportedStatus::Delivered, None), None, at)),
            );
        } else if let Some(at) = stamp(&event["read"]["watermark"]) {
            callback.delivery_reports.push(delivery_report(
                MessageRef::LatestToAddress(sender.to_owned()),
                (ReportedStatus::Read, None),
                None,
                at,
            ));
        } else if let Some(at) = stamp(&event["timestamp"]).filter(|_| event["message"]["is_echo"] != true) {
            let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
            let attachment = event.pointer("/message/attachments/0/type").and_then(Value::as_str);
            let (kind, content) = match (attachment, text("/postback/payload")) {
                (_, Some(payload)) => ("button", Some(payload)),
                (Some(kind @ ("image" | "video" | "audio" | "file" | "location")), _) => {
                    let kinds = ["image", "video", "audio", "file", "location"];
                    (kinds.into_iter().find(|name| *name == kind).unwrap_or("other"), text("/message/text"))
                }
                (Some(_), _) => ("other", text("/message/text")),
                (None, None) => ("text", text("/message/text")),
            };
            let id = text("/message/mid").or_else(|| text("/postback/mid"));
            let Some(provider_message_id) = id else { continue };
            let from = sender.to_owned();
            callback.inbound.push(InboundMessage { from, provider_message_id, kind, text: content, keyword: None, at });
        }
    }
    Ok(callback)
}
