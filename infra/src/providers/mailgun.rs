//! Mailgun, messages API v3: `POST /v3/{domain}/messages` takes a multipart form and answers 200 with an `id`. Our ids
//! travel as `v:` variables. Webhooks sign only a timestamp and a token, so that TLS alone protects the body.

use std::sync::Arc;

use async_trait::async_trait;
use domain::communication::AttemptOutcome;
use domain::provider::{
    AccountQueryError, CallbackRequest, Capabilities, InvalidSetting, MessageRef, OutboundMessage, ParsedCallback,
    Provider, ProviderConfig, ProviderKind, SendResult, SettingSpec,
};
use events::{Channel, InDoubtCause, RefusalClass, ReportedStatus, Timestamp};
use reqwest::RequestBuilder;
use reqwest::multipart::{Form, Part};
use serde::Deserialize;
use serde_json::Value;

use super::attempt_ids::form_field;
use super::callback::{report_with_consent, reports_only, unknown_code};
use super::http::{classify_status, exchange, query_api};
use super::outcome::refusal_outcome;
use super::registration::{ConnectionSettings, ProviderRegistration, invalid_setting};
use super::signatures::{VerificationKeys, VerifyResult, check_freshness, constant_time_eq, decode_hex, hmac_sha256};

pub(super) const REGISTRATION: ProviderRegistration =
    ProviderRegistration { kind: &KIND, connect, schemes: &[("mailgun-hmac-sha256", verify)] };

static KIND: ProviderKind = ProviderKind {
    name: "mailgun",
    title: "Mailgun",
    channels: &[Channel::Email],
    settings: &[
        SettingSpec::secret("apiKey", "A sending key"),
        SettingSpec::required("domain", "The sending domain, such as mg.example.com"),
        SettingSpec::required("fromEmail", "An address of that domain"),
        SettingSpec::optional("fromName", "The display name of the sender, if the message has no businessName"),
        SettingSpec::optional("replyTo", "The address that replies go to"),
        SettingSpec::optional("region", "us (default) or eu"),
        SettingSpec::optional("tracking", "on (default) or off: whether opens and clicks are counted"),
        SettingSpec::optional_secret("signingKey", "The HTTP webhook signing key; without it callbacks are refused"),
    ],
    capabilities: CAPABILITIES,
    signs: "HMAC-SHA256 over timestamp and token",
};
const CAPABILITIES: Capabilities = Capabilities::EMAIL;

/// Maximum age of a callback, in milliseconds. Mailgun retries for eight hours.
const WINDOW_MS: i64 = 9 * 3_600_000;

struct Mailgun {
    connection: ConnectionSettings,
    base: String,
    api_key: String,
    domain: String,
    from_email: String,
    tracking: bool,
}

fn connect(connection: ConnectionSettings) -> Result<Arc<dyn Provider>, InvalidSetting> {
    let base = match connection.get_or("region", "us").as_str() {
        "us" => connection.base_url("https://api.mailgun.net"),
        "eu" => connection.base_url("https://api.eu.mailgun.net"),
        _ => return Err(invalid_setting("region", "region is us or eu.")),
    };
    let domain = connection.require("domain")?;
    if !domain.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-') {
        return Err(invalid_setting("domain", "domain is a name such as mg.example.com."));
    }
    Ok(Arc::new(Mailgun {
        base,
        api_key: connection.require("apiKey")?,
        domain,
        from_email: connection.require("fromEmail")?,
        tracking: connection.tracking()?,
        connection,
    }))
}

#[derive(Deserialize)]
struct SendResponse {
    id: String,
}

#[derive(Deserialize)]
struct ErrorResponse {
    #[serde(rename = "message")]
    _message: String,
}

#[async_trait]
impl Provider for Mailgun {
    fn config(&self) -> &ProviderConfig {
        &self.connection.config
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn send(&self, outbound: &OutboundMessage, timeout_ms: u64) -> SendResult {
        let url = format!("{}/v3/{}/messages", self.base, self.domain);
        let request = self.connection.http.client.post(url).basic_auth("api", Some(&self.api_key));
        let exchange = match exchange(request.multipart(self.form(outbound)), timeout_ms).await {
            Ok(exchange) => exchange,
            Err(outcome) => return outcome.into(),
        };
        match (exchange.status.as_u16(), exchange.json::<SendResponse>()) {
            // Mailgun has been observed to send a message after it answered with such a status.
            (500..=599, _) => AttemptOutcome::InDoubt(InDoubtCause::ServerError).into(),
            // The domain is unknown.
            (404, _) if exchange.json::<ErrorResponse>().is_some() => {
                refusal_outcome(RefusalClass::Auth, "404", None).into()
            }
            (200..=299, Some(SendResponse { id })) => exchange.accepted(id.trim_matches(['<', '>']), None),
            (200..=299, None) => exchange.unreadable_response(),
            _ => classify_status(&exchange, None).map_or_else(|| exchange.unreadable_response(), SendResult::from),
        }
    }

    async fn check_credentials(&self, timeout_ms: u64) -> Result<(), AccountQueryError> {
        query_api(self.get(&format!("/v4/domains/{}", self.domain)), timeout_ms).await.map(|_| ())
    }

    async fn verify_callback(&self, request: &CallbackRequest, now: Timestamp) -> VerifyResult {
        verify(
            request,
            &VerificationKeys { secret: self.connection.get_or("signingKey", ""), ..VerificationKeys::default() },
            Some(now),
        )
    }

    async fn parse_callback(&self, request: &CallbackRequest, _: Timestamp) -> Result<ParsedCallback, &'static str> {
        parse_callback(&request.body)
    }
}

impl Mailgun {
    fn get(&self, path: &str) -> RequestBuilder {
        self.connection.http.client.get(format!("{}{path}", self.base)).basic_auth("api", Some(&self.api_key))
    }

    fn from(&self, outbound: &OutboundMessage) -> String {
        match self.connection.sender_name(outbound) {
            Some(name) => format!("{} <{}>", name.replace(['<', '>', '"', ',', '\r', '\n'], " "), self.from_email),
            None => self.from_email.clone(),
        }
    }

    fn form(&self, outbound: &OutboundMessage) -> Form {
        let message = &outbound.message;
        let subject = message.subject.clone().unwrap_or_default();
        let mut form = Form::new()
            .text("from", self.from(outbound))
            .text("to", outbound.to.clone())
            .text("subject", subject)
            .text("text", message.text.clone())
            .text("o:tracking", if self.tracking { "yes" } else { "no" })
            .text("v:businessId", outbound.tenant.to_string())
            .text("v:attemptId", outbound.attempt.to_string());
        if let Some(html) = &message.html {
            form = form.text("html", html.clone());
        }
        if let Some(reply_to) = self.connection.get("replyTo") {
            form = form.text("h:Reply-To", reply_to);
        }
        if let Some(url) = &outbound.unsubscribe_url {
            form = form
                .text("h:List-Unsubscribe", format!("<{url}>"))
                .text("h:List-Unsubscribe-Post", "List-Unsubscribe=One-Click");
        }
        for file in &outbound.files {
            let part = Part::bytes(file.bytes.clone()).file_name(file.name.clone());
            form =
                form.part("attachment", part.mime_str(&file.mime).unwrap_or_else(|_| Part::bytes(file.bytes.clone())));
        }
        form
    }
}

#[derive(Deserialize)]
struct Signature {
    timestamp: String,
    token: String,
    signature: String,
}

fn signature(request: &CallbackRequest) -> Option<Signature> {
    #[derive(Deserialize)]
    struct Signed {
        signature: Signature,
    }
    let from_json = serde_json::from_slice::<Signed>(&request.body).ok().map(|signed| signed.signature);
    let form = |name| form_field(&request.body, name);
    let from_form =
        || Some(Signature { timestamp: form("timestamp")?, token: form("token")?, signature: form("signature")? });
    from_json.or_else(from_form)
}

fn verify(request: &CallbackRequest, keys: &VerificationKeys, now: Option<Timestamp>) -> VerifyResult {
    let Signature { timestamp, token, signature } = signature(request).ok_or("the body holds no signature")?;
    if keys.secret.is_empty() {
        return Err("no signing key is configured");
    }
    let signature = decode_hex(&signature).ok_or("the signature is not hexadecimal")?;
    constant_time_eq(&hmac_sha256(keys.secret.as_bytes(), &[timestamp.as_bytes(), token.as_bytes()]), &signature)?;
    check_freshness(now, timestamp.parse().map_err(|_| "the timestamp is not a number")?, WINDOW_MS)
}

#[derive(Deserialize)]
struct Webhook {
    #[serde(rename = "event-data")]
    event: Event,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Event {
    event: String,
    id: Option<String>,
    timestamp: f64,
    severity: Option<String>,
    reason: Option<String>,
    /// An object, or its text where Mailgun truncated it.
    user_variables: Option<Value>,
    delivery_status: Option<DeliveryStatus>,
    message: Option<EventMessage>,
}

#[derive(Deserialize)]
struct EventMessage {
    headers: EventHeaders,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct EventHeaders {
    message_id: Option<String>,
}

#[derive(Deserialize)]
struct DeliveryStatus {
    code: Option<i64>,
}

fn parse_callback(body: &[u8]) -> Result<ParsedCallback, &'static str> {
    let Webhook { event } = serde_json::from_slice(body).map_err(|_| "the body is not a Mailgun event")?;
    let variables = match event.user_variables {
        Some(Value::String(text)) => serde_json::from_str(&text).unwrap_or_default(),
        other => other.unwrap_or_default(),
    };
    let metadata = |name: &str| variables.get(name)?.as_str().map(str::to_owned);
    let ids =
        metadata("businessId").and_then(|t| t.parse().ok()).zip(metadata("attemptId").and_then(|a| a.parse().ok()));
    let message_id = event.message.and_then(|message| message.headers.message_id).filter(|id| id.len() <= 200);
    let message = match (ids, message_id) {
        (Some(ids), _) => MessageRef::from_attempt(ids),
        (None, Some(id)) => MessageRef::ProviderMessageId(id.trim_matches(['<', '>']).to_owned()),
        (None, None) => return Ok(ParsedCallback::default()),
    };
    let fact = match (event.event.as_str(), event.severity.as_deref()) {
        ("accepted", _) => ReportedStatus::Accepted,
        ("delivered", _) => ReportedStatus::Delivered,
        ("failed", Some("temporary")) => ReportedStatus::Deferred,
        ("failed", _) => match event.reason.as_deref() {
            Some("suppress-unsubscribe" | "suppress-complaint") => ReportedStatus::Dropped,
            // The mail provider refused the message, not the recipient.
            Some("espblock") => ReportedStatus::Undelivered,
            _ => ReportedStatus::Bounced,
        },
        ("rejected", _) => ReportedStatus::Dropped,
        ("opened", _) => ReportedStatus::Opened,
        ("clicked", _) => ReportedStatus::Clicked,
        ("unsubscribed", _) => ReportedStatus::Unsubscribed,
        ("complained", _) => ReportedStatus::Complained,
        _ => ReportedStatus::Unknown,
    };
    let code = match fact {
        ReportedStatus::Unknown => unknown_code(&event.event),
        _ => event.delivery_status.and_then(|status| status.code).map(|code| code.to_string()),
    };
    let at = Timestamp((event.timestamp * 1_000.0) as i64);
    let opted_out = (event.event.as_str(), fact) == ("failed", ReportedStatus::Dropped);
    Ok(reports_only(report_with_consent(message, (fact, code), event.id, at, opted_out)))
}
