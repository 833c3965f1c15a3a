//! SendGrid: `POST /v3/mail/send` answers 202 with `X-Message-Id`. Our ids travel in `custom_args`. The Event Webhook
//! is signed with ECDSA P-256 over the timestamp header and the raw body.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::provider::{
    AccountQueryError, Balance, CallbackRequest, Capabilities, ConsentChange, InvalidSetting, MessageRef,
    OutboundMessage, ParsedCallback, Provider, ProviderConfig, ProviderKind, SendResult, SettingSpec,
};
use events::{Channel, ReportedStatus, TenantId, Timestamp};
use p256::ecdsa::signature::Verifier as _;
use p256::ecdsa::{DerSignature, VerifyingKey};
use p256::pkcs8::DecodePublicKey;
use reqwest::RequestBuilder;
use serde::Deserialize;
use serde_json::json;

use super::callback::{report_with_consent, unknown_code};
use super::http::{balance, classify_status, exchange, query_api, unexpected_format};
use super::registration::{ConnectionSettings, ProviderRegistration, invalid_setting};
use super::signatures::{SIGNATURE_MISMATCH, VerificationKeys, VerifyResult, check_freshness};

pub(super) const REGISTRATION: ProviderRegistration =
    ProviderRegistration { kind: &KIND, connect, schemes: &[("sendgrid-ecdsa-p256-sha256", verify)] };

static KIND: ProviderKind = ProviderKind {
    name: "sendgrid",
    title: "SendGrid",
    channels: &[Channel::Email],
    settings: &[
        SettingSpec::secret("apiKey", "API key with the right to send: SG.…"),
        SettingSpec::required("fromEmail", "The address of a verified sender"),
        SettingSpec::optional("fromName", "The display name of the sender, if the message has no businessName"),
        SettingSpec::optional("replyTo", "The address that replies go to"),
        SettingSpec::optional("region", "us (default) or eu"),
        SettingSpec::optional("tracking", "on (default) or off: whether opens and clicks are counted"),
        SettingSpec::optional("webhookKey", "The Event Webhook's verification key; without it callbacks are refused"),
    ],
    capabilities: CAPABILITIES,
    signs: "ECDSA P-256 over timestamp and body",
};
const CAPABILITIES: Capabilities = Capabilities { balance: true, ..Capabilities::EMAIL };

/// Maximum age of a callback, in milliseconds. SendGrid retries for a day, so an older request is not one of its
/// retries.
const WINDOW_MS: i64 = 48 * 3_600_000;

struct SendGrid {
    connection: ConnectionSettings,
    base: String,
    api_key: String,
    from_email: String,
    webhook_key: String,
    tracking: bool,
}

fn connect(connection: ConnectionSettings) -> Result<Arc<dyn Provider>, InvalidSetting> {
    let base = match connection.get_or("region", "us").as_str() {
        "us" => connection.base_url("https://api.sendgrid.com"),
        "eu" => connection.base_url("https://api.eu.sendgrid.com"),
        _ => return Err(invalid_setting("region", "region is us or eu.")),
    };
    let webhook_key = connection.get_or("webhookKey", "");
    if !webhook_key.is_empty() && public_key(&webhook_key).is_none() {
        return Err(invalid_setting(
            "webhookKey",
            "webhookKey is not a P-256 public key as shown in SendGrid's settings.",
        ));
    }
    Ok(Arc::new(SendGrid {
        base,
        api_key: connection.require("apiKey")?,
        from_email: connection.require("fromEmail")?,
        webhook_key,
        tracking: connection.tracking()?,
        connection,
    }))
}

#[async_trait]
impl Provider for SendGrid {
    fn config(&self) -> &ProviderConfig {
        &self.connection.config
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn send(&self, outbound: &OutboundMessage, timeout_ms: u64) -> SendResult {
        let request = self.connection.http.client.post(format!("{}/v3/mail/send", self.base));
        let request = request.bearer_auth(&self.api_key).json(&self.body(outbound));
        let exchange = match exchange(request, timeout_ms).await {
            Ok(exchange) => exchange,
            Err(outcome) => return outcome.into(),
        };
        match classify_status(&exchange, None) {
            Some(outcome) => outcome.into(),
            // SendGrid accepts with 202 and an id in a header. Any other success is not its answer.
            None if exchange.status.as_u16() != 202 => exchange.unreadable_response(),
            None => exchange.accepted(exchange.header("x-message-id").unwrap_or_default(), None),
        }
    }

    /// Returns the remaining credits of the plan. Not every plan has credits.
    async fn balance(&self, timeout_ms: u64) -> Result<Balance, AccountQueryError> {
        #[derive(Deserialize)]
        struct Credits {
            remain: i64,
        }
        let credits = query_api(self.get("/v3/user/credits"), timeout_ms).await?;
        let Credits { remain } = credits.json().ok_or_else(unexpected_format)?;
        balance(remain, "emails")
    }

    async fn check_credentials(&self, timeout_ms: u64) -> Result<(), AccountQueryError> {
        query_api(self.get("/v3/scopes"), timeout_ms).await.map(|_| ())
    }

    async fn verify_callback(&self, request: &CallbackRequest, now: Timestamp) -> VerifyResult {
        verify(
            request,
            &VerificationKeys { public_key: self.webhook_key.clone(), ..VerificationKeys::default() },
            Some(now),
        )
    }

    async fn parse_callback(&self, request: &CallbackRequest, _: Timestamp) -> Result<ParsedCallback, &'static str> {
        parse_callback(&request.body)
    }
}

impl SendGrid {
    fn get(&self, path: &str) -> RequestBuilder {
        self.connection.http.client.get(format!("{}{path}", self.base)).bearer_auth(&self.api_key)
    }

    fn body(&self, outbound: &OutboundMessage) -> serde_json::Value {
        let mut to = json!({ "email": outbound.to });
        if let Some(name) = &outbound.to_name {
            to["name"] = json!(name);
        }
        let message = &outbound.message;
        // The plain part comes first, because SendGrid refuses the other order. It refuses an empty part, too.
        let plain = if message.text.is_empty() { " " } else { &message.text };
        let mut content = vec![json!({ "type": "text/plain", "value": plain })];
        content.extend(message.html.iter().map(|html| json!({ "type": "text/html", "value": html })));
        let mut from = json!({ "email": self.from_email });
        if let Some(name) = self.connection.sender_name(outbound) {
            from["name"] = json!(name);
        }
        let mut body = json!({
            "personalizations": [{
                "to": [to],
                "custom_args": {
                    "businessId": outbound.tenant,
                    "communicationId": outbound.attempt.communication,
                    "attemptId": outbound.attempt.to_string(),
                },
            }],
            "from": from,
            "subject": message.subject.as_deref().filter(|s| !s.is_empty()).unwrap_or("(no subject)"),
            "content": content,
            "tracking_settings": {
                "click_tracking": { "enable": self.tracking },
                "open_tracking": { "enable": self.tracking },
            },
        });
        if let Some(reply_to) = self.connection.get("replyTo") {
            body["reply_to"] = json!({ "email": reply_to });
        }
        if let Some(url) = &outbound.unsubscribe_url {
            body["headers"] = json!({
                "List-Unsubscribe": format!("<{url}>"),
                "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
            });
        }
        if !outbound.files.is_empty() {
            let files = outbound.files.iter().map(|file| {
                let content = STANDARD.encode(&file.bytes);
                json!({ "content": content, "filename": file.name, "type": file.mime, "disposition": "attachment" })
            });
            body["attachments"] = files.collect();
        }
        body
    }
}

fn public_key(key: &str) -> Option<VerifyingKey> {
    let der = STANDARD.decode(key.trim()).ok()?;
    VerifyingKey::from_public_key_der(&der).ok()
}

fn verify(request: &CallbackRequest, keys: &VerificationKeys, now: Option<Timestamp>) -> VerifyResult {
    let timestamp = request.header("x-twilio-email-event-webhook-timestamp").ok_or("no timestamp header")?;
    let signature = request.header("x-twilio-email-event-webhook-signature").ok_or("no signature header")?;
    let key = public_key(&keys.public_key).ok_or("no verification key is configured")?;
    let signature = STANDARD.decode(signature).map_err(|_| "the signature is not base64")?;
    let signature = DerSignature::try_from(signature.as_slice()).map_err(|_| "the signature is not DER")?;
    let signed = [timestamp.as_bytes(), &request.body].concat();
    key.verify(&signed, &signature).map_err(|_| SIGNATURE_MISMATCH)?;
    check_freshness(now, timestamp.parse().map_err(|_| "the timestamp is not a number")?, WINDOW_MS)
}

#[derive(Deserialize)]
struct Event {
    event: String,
    timestamp: i64,
    sg_event_id: Option<String>,
    /// The SMTP status, such as 5.1.1. The longer text is not stored, because it may hold addresses.
    status: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    /// Why the message was dropped, as one of SendGrid's fixed phrases.
    reason: Option<String>,
    #[serde(rename = "businessId")]
    tenant: Option<String>,
    #[serde(rename = "attemptId")]
    attempt: Option<String>,
    #[serde(rename = "communicationId")]
    communication: Option<String>,
    /// The `X-Message-Id` of the response and a suffix: `….filter0001.16648.5515E0B88.0`.
    sg_message_id: Option<String>,
    email: Option<String>,
}

impl Event {
    /// By our ids if they are there, or else by SendGrid's.
    fn message(&self) -> Option<MessageRef> {
        let tenant: Option<TenantId> = self.tenant.as_ref().and_then(|tenant| tenant.parse().ok());
        let attempt = self.attempt.as_ref().and_then(|attempt| attempt.parse().ok());
        let communication = self.communication.as_ref().and_then(|id| id.parse().ok());
        match (tenant, attempt, communication) {
            (Some(tenant), Some(attempt), _) => Some(MessageRef::from_attempt((tenant, attempt))),
            (tenant, _, Some(id)) => Some(MessageRef::Communication { tenant, id }),
            _ => self.sg_message_id.as_deref().filter(|id| id.len() <= 200).map(|id| {
                let end = id.find(".filter").or_else(|| id.find(".recvd")).or_else(|| id.find('.'));
                MessageRef::ProviderMessageId(id[..end.unwrap_or(id.len())].to_owned())
            }),
        }
    }
}

/// A code for one of SendGrid's reasons for dropping a message. Other texts are not stored, because they may hold
/// addresses.
fn drop_code(reason: &str) -> Option<String> {
    const REASONS: [&str; 7] = [
        "Bounced Address",
        "Unsubscribed Address",
        "Spam Reporting Address",
        "Invalid",
        "Spam Content",
        "Invalid SMTPAPI header",
        "Recipient List over Package Quota",
    ];
    let known = REASONS.into_iter().find(|known| reason.eq_ignore_ascii_case(known))?;
    Some(known.to_ascii_lowercase().replace(' ', "_"))
}

/// Reads a list of events. Elements that are not events or name no message are counted, so that they do not affect the
/// others.
pub(super) fn parse_callback(body: &[u8]) -> Result<ParsedCallback, &'static str> {
    let items: Vec<serde_json::Value> = serde_json::from_slice(body).map_err(|_| "the body is not a list of events")?;
    let mut callback = ParsedCallback::default();
    for item in items {
        let event = serde_json::from_value::<Event>(item).ok();
        match event.and_then(|event| event.message().map(|message| (message, event))) {
            Some((message, event)) => read_event(message, event, &mut callback),
            None => callback.skipped += 1,
        }
    }
    Ok(callback)
}

fn read_event(message: MessageRef, event: Event, callback: &mut ParsedCallback) {
    let fact = match (event.event.as_str(), event.kind.as_deref()) {
        ("processed", _) => ReportedStatus::Accepted,
        ("deferred", _) => ReportedStatus::Deferred,
        ("delivered", _) => ReportedStatus::Delivered,
        ("bounce", Some("blocked")) => ReportedStatus::Undelivered,
        ("bounce", _) => ReportedStatus::Bounced,
        ("dropped", _) => ReportedStatus::Dropped,
        ("open", _) => ReportedStatus::Opened,
        ("click", _) => ReportedStatus::Clicked,
        ("spamreport", _) => ReportedStatus::Complained,
        ("unsubscribe" | "group_unsubscribe", _) => ReportedStatus::Unsubscribed,
        _ => ReportedStatus::Unknown,
    };
    let is_status = |s: &String| !s.is_empty() && s.len() <= 12 && s.chars().all(|c| c.is_ascii_digit() || c == '.');
    let code = match fact {
        ReportedStatus::Unknown => unknown_code(&event.event),
        ReportedStatus::Dropped => event.reason.as_deref().and_then(drop_code),
        _ => event.status.filter(is_status),
    };
    if event.event == "group_resubscribe"
        && let Some(contact) = event.email
    {
        callback.consent_changes.push(ConsentChange { contact, is_opt_out: false, reason: "resubscribed" });
    }
    let at = Timestamp(event.timestamp.saturating_mul(1_000));
    let is_unwanted = matches!(code.as_deref(), Some("unsubscribed_address" | "spam_reporting_address"));
    let opted_out = fact == ReportedStatus::Dropped && is_unwanted;
    callback.delivery_reports.extend(report_with_consent(message, (fact, code), event.sg_event_id, at, opted_out));
}
