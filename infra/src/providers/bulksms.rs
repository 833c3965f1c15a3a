//! BulkSMS: `POST /v1/messages` answers 201 with a list. It accepts a deduplication id. Its callbacks are not signed
//! and are authenticated by the secret in their address. They are matched by its message id, because its field for our
//! id holds only 20 characters.

use std::sync::Arc;

use async_trait::async_trait;
use domain::provider::{
    AccountQueryError, Balance, CallbackRequest, Capabilities, InboundMessage, InvalidSetting, MessageRef,
    MessageStatus, OutboundMessage, ParsedCallback, Provider, ProviderConfig, ProviderKind, QueryResult, SendResult,
    SettingSpec,
};
use events::{Channel, RefusalClass, ReportedStatus, Timestamp};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::attempt_ids::encode_attempt_ref;
use super::callback::{report_with_consent, unknown_code};
use super::http::{
    HttpExchange, balance, classify_status, exchange, lenient, lenient_number, query_api, unexpected_format,
};
use super::outcome::{query_by_idempotent_repeat, refusal_outcome};
use super::registration::{ConnectionSettings, ProviderRegistration};
use super::signatures::{VerifyResult, url_secret};
use super::text::text_with_links;

pub(super) const REGISTRATION: ProviderRegistration =
    ProviderRegistration { kind: &KIND, connect, schemes: &[("url-secret", url_secret)] };

static KIND: ProviderKind = ProviderKind {
    name: "bulksms",
    title: "BulkSMS",
    channels: &[Channel::Sms],
    settings: &[
        SettingSpec::required("tokenId", "The API token's id"),
        SettingSpec::secret("tokenSecret", "The API token's secret"),
        SettingSpec::optional("from", "Your sender name or number; by default one of BulkSMS that accepts replies"),
    ],
    capabilities: CAPABILITIES,
    signs: "the secret in the callback's address",
};
const CAPABILITIES: Capabilities =
    Capabilities { echoes_our_id: false, idempotency_key: true, query: true, balance: true, ..Capabilities::TEXT };

/// Maximum number of parts of one message, enough for 1,600 characters. BulkSMS's default of 3 would truncate long
/// texts.
const MAX_PARTS: u8 = 24;

struct BulkSms {
    connection: ConnectionSettings,
    base: String,
    token_id: String,
    token_secret: String,
}

fn connect(connection: ConnectionSettings) -> Result<Arc<dyn Provider>, InvalidSetting> {
    Ok(Arc::new(BulkSms {
        base: connection.base_url("https://api.bulksms.com"),
        token_id: connection.require("tokenId")?,
        token_secret: connection.require("tokenSecret")?,
        connection,
    }))
}

#[derive(Deserialize)]
struct SendResponse {
    id: String,
    #[serde(default, deserialize_with = "lenient")]
    to: Option<String>,
    #[serde(default, rename = "numberOfParts", deserialize_with = "lenient_number")]
    parts: Option<u16>,
}

#[async_trait]
impl Provider for BulkSms {
    fn config(&self) -> &ProviderConfig {
        &self.connection.config
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn send(&self, outbound: &OutboundMessage, timeout_ms: u64) -> SendResult {
        let text = text_with_links(outbound, CAPABILITIES.max_characters);
        let mut message = json!({
            "to": [{ "type": "INTERNATIONAL", "address": outbound.to }],
            "body": text,
            "longMessageMaxParts": MAX_PARTS,
        });
        if let Some(from) = self.connection.get("from") {
            let is_number = from.trim_start_matches('+').bytes().all(|b| b.is_ascii_digit());
            let kind = if is_number { "INTERNATIONAL" } else { "ALPHANUMERIC" };
            message["from"] = json!({ "type": kind, "address": from });
        }
        let id = deduplication_id(outbound);
        let url = format!("{}/v1/messages?auto-unicode=true&deduplication-id={id}", self.base);
        let request = self.connection.http.client.post(url).basic_auth(&self.token_id, Some(&self.token_secret));
        let exchange = match exchange(request.json(&json!([message])), timeout_ms).await {
            Ok(exchange) => exchange,
            Err(outcome) => return outcome.into(),
        };
        match classify_status(&exchange, None) {
            Some(_) if exchange.status.as_u16() == 403 => refusal_outcome(RefusalClass::Balance, "403", None).into(),
            Some(outcome) => outcome.into(),
            None => {
                let response = exchange.json::<Vec<SendResponse>>().and_then(|all| all.into_iter().next());
                let Some(response) = response else { return exchange.unreadable_response() };
                // A different recipient means that our deduplication id collided with an older one, which happens about
                // once in two billion messages. The next attempt has another id.
                let digits = |text: &str| text.trim_start_matches('+').to_owned();
                if response.to.is_some_and(|to| digits(&to) != digits(&outbound.to)) {
                    return refusal_outcome(RefusalClass::Transient, "deduplicated", None).into();
                }
                exchange.accepted(response.id, response.parts.or(Some(domain::sms::segments(&text).count)))
            }
        }
    }

    /// Repeats the request. For about 12 hours, the same deduplication id creates no second message.
    async fn query_delivery(
        &self,
        outbound: &OutboundMessage,
        _: Timestamp,
        _: Timestamp,
        timeout_ms: u64,
    ) -> QueryResult {
        query_by_idempotent_repeat(self.send(outbound, timeout_ms).await.answer)
    }

    async fn message_status(&self, id: &str, timeout_ms: u64) -> Result<MessageStatus, AccountQueryError> {
        if !id.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(AccountQueryError::Unsupported);
        }
        let message: Message =
            self.get(&format!("/v1/messages/{id}"), timeout_ms).await?.json().ok_or_else(unexpected_format)?;
        let Status { kind: name, subtype: code } = message.status.ok_or_else(unexpected_format)?;
        let event_id = Some(format!("{id}:{name}"));
        Ok(MessageStatus { fact: fact_of(&name), name, code, event_id })
    }

    async fn balance(&self, timeout_ms: u64) -> Result<Balance, AccountQueryError> {
        #[derive(Deserialize)]
        struct Profile {
            credits: Credits,
        }
        #[derive(Deserialize)]
        struct Credits {
            balance: f64,
        }
        let Profile { credits } = self.get("/v1/profile", timeout_ms).await?.json().ok_or_else(unexpected_format)?;
        balance(credits.balance, "credits")
    }

    async fn check_credentials(&self, timeout_ms: u64) -> Result<(), AccountQueryError> {
        self.get("/v1/profile", timeout_ms).await.map(|_| ())
    }

    /// BulkSMS tests a new callback address with an empty list.
    fn is_reachability_check(&self, request: &CallbackRequest) -> bool {
        request.method == "HEAD" || request.body.trim_ascii() == b"[]"
    }

    /// The callback carries no signature. The secret in its address was compared before this is called.
    async fn verify_callback(&self, _: &CallbackRequest, _: Timestamp) -> VerifyResult {
        Ok(())
    }

    async fn parse_callback(&self, request: &CallbackRequest, now: Timestamp) -> Result<ParsedCallback, &'static str> {
        parse_callback(&request.body, now)
    }
}

/// Returns 31 bits of a hash of the attempt, because BulkSMS accepts only a number.
fn deduplication_id(outbound: &OutboundMessage) -> u32 {
    let hash = Sha256::digest(encode_attempt_ref(outbound));
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) >> 1
}

impl BulkSms {
    async fn get(&self, path: &str, timeout_ms: u64) -> Result<HttpExchange, AccountQueryError> {
        let request = self.connection.http.client.get(format!("{}{path}", self.base));
        query_api(request.basic_auth(&self.token_id, Some(&self.token_secret)), timeout_ms).await
    }
}

#[derive(Deserialize)]
struct Message {
    id: String,
    #[serde(rename = "type")]
    kind: String,
    from: Option<String>,
    body: Option<String>,
    status: Option<Status>,
}

#[derive(Deserialize)]
struct Status {
    #[serde(rename = "type")]
    kind: String,
    subtype: Option<String>,
}

fn fact_of(status: &str) -> ReportedStatus {
    match status {
        "ACCEPTED" | "SCHEDULED" => ReportedStatus::Accepted,
        "SENT" => ReportedStatus::Sent,
        "DELIVERED" => ReportedStatus::Delivered,
        "FAILED" => ReportedStatus::Undelivered,
        _ => ReportedStatus::Unknown,
    }
}

fn parse_callback(body: &[u8], now: Timestamp) -> Result<ParsedCallback, &'static str> {
    let messages: Vec<serde_json::Value> =
        serde_json::from_slice(body).map_err(|_| "the body is not a list of messages")?;
    let mut callback = ParsedCallback::default();
    for message in messages.into_iter().filter_map(|message| serde_json::from_value::<Message>(message).ok()) {
        if message.kind == "RECEIVED" {
            let Some(from) = message.from else { continue };
            let (provider_message_id, text) = (message.id, message.body);
            let from = format!("+{}", from.trim_start_matches('+'));
            callback.inbound.push(InboundMessage {
                from,
                provider_message_id,
                kind: "text",
                text,
                keyword: None,
                at: now,
            });
            continue;
        }
        let Some(Status { kind, subtype }) = message.status else { continue };
        let fact = fact_of(&kind);
        let code = if fact == ReportedStatus::Unknown { unknown_code(&kind) } else { subtype.clone() };
        let id = Some(format!("{}:{kind}", message.id));
        let message = MessageRef::ProviderMessageId(message.id);
        let opted_out = subtype.as_deref() == Some("BLOCKED");
        callback.delivery_reports.extend(report_with_consent(message, (fact, code), id, now, opted_out));
    }
    Ok(callback)
}
