//! BulkSMS: `POST /v1/messages`, 201 with a list. It takes a deduplication id and signs nothing: the secret is in the
//! address, and callbacks are matched by its own id (its field for ours takes 20 characters).

use std::sync::Arc;

use async_trait::async_trait;
use domain::provider::{
    AccountQueryError, Balance, CallbackRequest, Capabilities, InboundMessage, InvalidSetting, MessageRef,
    OutboundMessage, ParsedCallback, Provider, ProviderConfig, ProviderKind, QueryResult, SendResult, SettingSpec,
};
use events::{Channel, RefusalClass, ReportedStatus, Timestamp};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::signatures::{Verdict, url_secret};
use super::{
    ConnectionSettings, Entry, HttpExchange, balance, classify_status, exchange, query_api, query_by_idempotent_repeat,
    refused, report_with_consent, text_with_links, unexpected_format, unknown_code,
};

pub(super) const ENTRY: Entry = Entry { kind: &KIND, connect, schemes: &[("url-secret", url_secret)] };

static KIND: ProviderKind = ProviderKind {
    name: "bulksms",
    title: "BulkSMS",
    channels: &[Channel::Sms],
    settings: &[
        SettingSpec::required("tokenId", "The API token's id"),
        SettingSpec::secret("tokenSecret", "Its secret"),
        SettingSpec::optional("from", "A name or number of yours; else one of theirs that takes replies"),
    ],
    capabilities: CAN,
    signs: "the secret in the callback's address",
};
const CAN: Capabilities =
    Capabilities { echoes_our_id: false, idempotency_key: true, query: true, balance: true, ..Capabilities::TEXT };

/// Parts of one message, more than 1,600 characters ever need. Their own default of 3 would cut it.
const MAX_PARTS: u8 = 24;

struct BulkSms {
    link: ConnectionSettings,
    base: String,
    token_id: String,
    token_secret: String,
}

fn connect(link: ConnectionSettings) -> Result<Arc<dyn Provider>, InvalidSetting> {
    Ok(Arc::new(BulkSms {
        base: link.base_url("https://api.bulksms.com"),
        token_id: link.need("tokenId")?,
        token_secret: link.need("tokenSecret")?,
        link,
    }))
}

#[derive(Deserialize)]
struct Taken {
    id: String,
    to: String,
    #[serde(rename = "numberOfParts")]
    parts: Option<u16>,
}

#[async_trait]
impl Provider for BulkSms {
    fn config(&self) -> &ProviderConfig {
        &self.link.account
    }

    fn capabilities(&self) -> Capabilities {
        CAN
    }

    async fn send(&self, outbound: &OutboundMessage, timeout_ms: u64) -> SendResult {
        let text = text_with_links(outbound, CAN.max_characters);
        let mut message = json!({
            "to": [{ "type": "INTERNATIONAL", "address": outbound.to }],
            "body": text,
            "longMessageMaxParts": MAX_PARTS,
        });
        if let Some(from) = self.link.get("from") {
            let is_number = from.trim_start_matches('+').bytes().all(|b| b.is_ascii_digit());
            let kind = if is_number { "INTERNATIONAL" } else { "ALPHANUMERIC" };
            message["from"] = json!({ "type": kind, "address": from });
        }
        let number = deduplication_id(outbound);
        let url = format!("{}/v1/messages?auto-unicode=true&deduplication-id={number}", self.base);
        let request = self.link.http.client.post(url).basic_auth(&self.token_id, Some(&self.token_secret));
        let exchange = match exchange(request.json(&json!([message])), timeout_ms).await {
            Ok(exchange) => exchange,
            Err(answer) => return answer.into(),
        };
        match classify_status(&exchange, exchange.code()) {
            Some(_) if exchange.status.as_u16() == 403 => refused(RefusalClass::Balance, "403", None).into(),
            Some(no) => no.into(),
            None => {
                let taken = exchange.json::<Vec<Taken>>().and_then(|all| all.into_iter().next());
                let Some(taken) = taken else { return exchange.unreadable_response() };
                // Two of our numbers are the same once in some billions: the next attempt has another.
                let digits = |text: &str| text.trim_start_matches('+').to_owned();
                if digits(&taken.to) != digits(&outbound.to) {
                    return refused(RefusalClass::Transient, "deduplicated", None).into();
                }
                exchange.accepted(taken.id, taken.parts.or(Some(domain::sms::segments(&text).count)))
            }
        }
    }

    /// The same request with the same deduplication id makes no second message, for about 12 hours.
    async fn query_delivery(
        &self,
        outbound: &OutboundMessage,
        _: Timestamp,
        _: Timestamp,
        timeout_ms: u64,
    ) -> QueryResult {
        query_by_idempotent_repeat(self.send(outbound, timeout_ms).await.answer)
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
        let Profile { credits } = self.profile(timeout_ms).await?.json().ok_or_else(unexpected_format)?;
        balance(credits.balance, "credits")
    }

    async fn check_credentials(&self, timeout_ms: u64) -> Result<(), AccountQueryError> {
        self.profile(timeout_ms).await.map(|_| ())
    }

    /// It tries a new address with an empty list.
    fn is_reachability_check(&self, request: &CallbackRequest) -> bool {
        request.method == "HEAD" || request.body.trim_ascii() == b"[]"
    }

    /// The secret in its address, which was compared before, is all there is.
    async fn verify_callback(&self, _: &CallbackRequest, _: Timestamp) -> Verdict {
        Ok(())
    }

    async fn parse_callback(&self, request: &CallbackRequest, now: Timestamp) -> Result<ParsedCallback, &'static str> {
        hear(&request.body, now)
    }
}

/// 31 bits of the attempt's hash: a number is all that it takes.
fn deduplication_id(outbound: &OutboundMessage) -> u32 {
    let hash = Sha256::digest(super::encode_attempt_ref(outbound));
    u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]) >> 1
}

impl BulkSms {
    async fn profile(&self, timeout_ms: u64) -> Result<HttpExchange, AccountQueryError> {
        let request = self.link.http.client.get(format!("{}/v1/profile", self.base));
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

fn hear(body: &[u8], now: Timestamp) -> Result<ParsedCallback, &'static str> {
    let messages: Vec<serde_json::Value> = serde_json::from_slice(body).map_err(|_| "not a list of messages")?;
    let mut heard = ParsedCallback::default();
    for message in messages.into_iter().filter_map(|message| serde_json::from_value::<Message>(message).ok()) {
        if message.kind == "RECEIVED" {
            let Some(from) = message.from else { continue };
            let (provider_message_id, text) = (message.id, message.body);
            let from = format!("+{}", from.trim_start_matches('+'));
            heard.inbound.push(InboundMessage {
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
        let fact = match (kind.as_str(), subtype.as_deref()) {
            ("ACCEPTED" | "SCHEDULED", _) => ReportedStatus::Accepted,
            ("SENT", _) => ReportedStatus::Sent,
            ("DELIVERED", _) => ReportedStatus::Delivered,
            ("FAILED", _) => ReportedStatus::Undelivered,
            _ => ReportedStatus::Unknown,
        };
        let code = if fact == ReportedStatus::Unknown { unknown_code(&kind) } else { subtype.clone() };
        let id = Some(format!("{}:{kind}", message.id));
        let about = MessageRef::ProviderMessageId(message.id);
        let opted_out = subtype.as_deref() == Some("BLOCKED");
        heard.delivery_reports.extend(report_with_consent(about, (fact, code), id, now, opted_out));
    }
    Ok(heard)
}
