//! Mandrill: `POST /api/1.4/messages/send` with the API key in the body. Every error is an HTTP 500 with a name, and a
//! refusal may come with 200. Our ids travel as metadata. Webhooks sign our address and the form.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::communication::AttemptOutcome;
use domain::provider::{
    AccountQueryError, CallbackRequest, Capabilities, InvalidSetting, MessageRef, MessageStatus, OutboundMessage,
    ParsedCallback, Provider, ProviderConfig, ProviderKind, ProviderReport, SendResult, SettingSpec,
};
use events::{Channel, RefusalClass, ReportedStatus, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::attempt_ids::form_field;
use super::callback::{delivery_report, reports_only, unknown_code};
use super::http::{classify_status, exchange, lenient, query_api, unexpected_format};
use super::outcome::refusal_outcome;
use super::registration::{ConnectionSettings, ProviderRegistration};
use super::signatures::{VerificationKeys, VerifyResult, constant_time_eq, hmac_sha1};

pub(super) const REGISTRATION: ProviderRegistration =
    ProviderRegistration { kind: &KIND, connect, schemes: &[("mandrill-hmac-sha1", verify)] };

static KIND: ProviderKind = ProviderKind {
    name: "mandrill",
    title: "Mandrill (Mailchimp Transactional)",
    channels: &[Channel::Email],
    settings: &[
        SettingSpec::secret("apiKey", "The API key"),
        SettingSpec::required("fromEmail", "An address of a verified domain"),
        SettingSpec::optional("fromName", "The display name of the sender, if the message has no businessName"),
        SettingSpec::optional("replyTo", "The address that replies go to"),
        SettingSpec::optional("tracking", "on (default) or off: whether opens and clicks are counted"),
        SettingSpec::optional("subaccount", "Mandrill's subaccount"),
        SettingSpec::optional_secret("webhookKey", "The webhook's key; without it callbacks are refused"),
    ],
    capabilities: CAPABILITIES,
    signs: "HMAC-SHA1 over address and form",
};
const CAPABILITIES: Capabilities = Capabilities::EMAIL;

struct Mandrill {
    connection: ConnectionSettings,
    base: String,
    api_key: String,
    from_email: String,
    tracking: bool,
}

fn connect(connection: ConnectionSettings) -> Result<Arc<dyn Provider>, InvalidSetting> {
    Ok(Arc::new(Mandrill {
        base: connection.base_url("https://mandrillapp.com"),
        api_key: connection.require("apiKey")?,
        from_email: connection.require("fromEmail")?,
        tracking: connection.tracking()?,
        connection,
    }))
}

/// The result for one recipient.
#[derive(Deserialize)]
struct SendResponse {
    #[serde(rename = "_id")]
    id: Option<String>,
    status: String,
    #[serde(default, deserialize_with = "lenient")]
    reject_reason: Option<String>,
}

#[derive(Deserialize)]
struct ErrorResponse {
    name: String,
}

#[async_trait]
impl Provider for Mandrill {
    fn config(&self) -> &ProviderConfig {
        &self.connection.config
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn send(&self, outbound: &OutboundMessage, timeout_ms: u64) -> SendResult {
        let request = self.connection.http.client.post(format!("{}/api/1.4/messages/send", self.base));
        let exchange = match exchange(request.json(&self.body(outbound)), timeout_ms).await {
            Ok(exchange) => exchange,
            Err(outcome) => return outcome.into(),
        };
        let error = exchange.json::<ErrorResponse>().map(|error| error.name);
        if let Some(outcome) = classify_status(&exchange, error.as_deref()) {
            return error.as_deref().and_then(refusal_for_name).unwrap_or(outcome).into();
        }
        let Some(response) = exchange.json::<Vec<SendResponse>>().and_then(|all| all.into_iter().next()) else {
            return exchange.unreadable_response();
        };
        match response.status.as_str() {
            "sent" | "queued" | "scheduled" => exchange.accepted(response.id.unwrap_or_default(), None),
            "rejected" => rejected(response.reject_reason.as_deref().unwrap_or("rejected")),
            "invalid" => refusal_outcome(RefusalClass::Permanent, response.status, None).into(),
            _ => exchange.unreadable_response(),
        }
    }

    async fn message_status(&self, id: &str, timeout_ms: u64) -> Result<MessageStatus, AccountQueryError> {
        #[derive(Deserialize)]
        struct InfoResponse {
            state: String,
        }
        let request = self.connection.http.client.post(format!("{}/api/1.4/messages/info", self.base));
        let exchange = query_api(request.json(&json!({ "key": self.api_key, "id": id })), timeout_ms).await?;
        let InfoResponse { state: name } = exchange.json().ok_or_else(unexpected_format)?;
        let fact = match name.as_str() {
            "sent" => ReportedStatus::Sent,
            "bounced" => ReportedStatus::Bounced,
            "rejected" => ReportedStatus::Dropped,
            _ => ReportedStatus::Unknown,
        };
        let event_id = Some(format!("{id}:{name}"));
        Ok(MessageStatus { name, fact, code: None, event_id })
    }

    async fn check_credentials(&self, timeout_ms: u64) -> Result<(), AccountQueryError> {
        let ping = self.connection.http.client.post(format!("{}/api/1.4/users/ping2", self.base));
        match query_api(ping.json(&json!({ "key": self.api_key })), timeout_ms).await {
            // Mandrill answers a wrong key with 500 too.
            Err(AccountQueryError::NoResponse(code)) if code == "500" => {
                Err(AccountQueryError::CredentialsRejected(code))
            }
            other => other.map(|_| ()),
        }
    }

    /// Mandrill tests a new callback address with an empty list. It signs that with a key that it does not show until
    /// the address is saved.
    fn is_reachability_check(&self, request: &CallbackRequest) -> bool {
        request.method == "HEAD" || form_field(&request.body, "mandrill_events").is_some_and(|events| events == "[]")
    }

    async fn verify_callback(&self, request: &CallbackRequest, now: Timestamp) -> VerifyResult {
        verify(
            request,
            &VerificationKeys { secret: self.connection.get_or("webhookKey", ""), ..VerificationKeys::default() },
            Some(now),
        )
    }

    async fn parse_callback(&self, request: &CallbackRequest, _: Timestamp) -> Result<ParsedCallback, &'static str> {
        let events = form_field(&request.body, "mandrill_events").ok_or("the form holds no mandrill_events")?;
        let events: Vec<Value> = serde_json::from_str(&events).map_err(|_| "mandrill_events is not a list")?;
        let events = events.into_iter().filter_map(|event| serde_json::from_value::<Event>(event).ok());
        Ok(reports_only(events.filter_map(parse_event).collect()))
    }
}

fn refusal_for_name(name: &str) -> Option<AttemptOutcome> {
    let class = match name {
        "Invalid_Key" => RefusalClass::Auth,
        "PaymentRequired" => RefusalClass::Balance,
        "ValidationError" | "Unknown_Template" | "Unknown_Subaccount" | "Unknown_Message" => RefusalClass::Permanent,
        "GeneralError" => RefusalClass::Transient,
        "ServiceUnavailable" => RefusalClass::Unavailable,
        _ => return None,
    };
    Some(refusal_outcome(class, name, None))
}

fn rejected(reason: &str) -> SendResult {
    let class = match reason {
        "unsigned" | "invalid-sender" => RefusalClass::Auth,
        "test-mode-limit" => RefusalClass::Balance,
        "soft-bounce" => RefusalClass::Transient,
        _ => RefusalClass::Permanent,
    };
    let opted_out = matches!(reason, "hard-bounce" | "spam" | "unsub");
    SendResult { opted_out, ..refusal_outcome(class, reason, None).into() }
}

impl Mandrill {
    fn body(&self, outbound: &OutboundMessage) -> Value {
        let message = &outbound.message;
        let mut headers = json!({});
        if let Some(reply_to) = self.connection.get("replyTo") {
            headers["Reply-To"] = json!(reply_to);
        }
        if let Some(url) = &outbound.unsubscribe_url {
            headers["List-Unsubscribe"] = json!(format!("<{url}>"));
            headers["List-Unsubscribe-Post"] = json!("List-Unsubscribe=One-Click");
        }
        let files = outbound
            .files
            .iter()
            .map(|file| json!({ "type": file.mime, "name": file.name, "content": STANDARD.encode(&file.bytes) }));
        let mut body = json!({
            "key": self.api_key,
            "message": {
                "from_email": self.from_email,
                "from_name": self.connection.sender_name(outbound).unwrap_or_default(),
                "to": [{ "email": outbound.to, "name": outbound.to_name.as_deref().unwrap_or(""), "type": "to" }],
                "subject": message.subject,
                "text": message.text,
                "html": message.html,
                "headers": headers,
                "track_opens": self.tracking,
                "track_clicks": self.tracking,
                "metadata": { "businessId": outbound.tenant, "attemptId": outbound.attempt.to_string() },
                "attachments": files.collect::<Vec<_>>(),
            },
        });
        if let Some(subaccount) = self.connection.get("subaccount") {
            body["message"]["subaccount"] = json!(subaccount);
        }
        body
    }
}

/// The signature covers our address exactly as configured at Mandrill, then the name and value of each field, sorted by
/// name.
fn verify(request: &CallbackRequest, keys: &VerificationKeys, _: Option<Timestamp>) -> VerifyResult {
    let signature = request.header("x-mandrill-signature").ok_or("no signature header")?;
    if keys.secret.is_empty() {
        return Err("no webhook key is configured");
    }
    let mut fields: Vec<_> = form_urlencoded::parse(&request.body).collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    let mut signed = request.url.clone();
    for (name, value) in fields {
        signed.push_str(&name);
        signed.push_str(&value);
    }
    let signature = STANDARD.decode(signature).map_err(|_| "the signature is not base64")?;
    constant_time_eq(&hmac_sha1(keys.secret.as_bytes(), &[signed.as_bytes()]), &signature)
}

#[derive(Deserialize)]
struct Event {
    event: String,
    ts: i64,
    #[serde(rename = "_id")]
    id: Option<String>,
    msg: Message,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    metadata: Value,
    /// An identifier such as `bad_mailbox`. Any other text may hold an address and is not stored.
    bounce_description: Option<String>,
}

fn parse_event(event: Event) -> Option<ProviderReport> {
    let metadata = |name: &str| event.msg.metadata.get(name)?.as_str();
    let ids = metadata("businessId").and_then(|tenant| tenant.parse().ok());
    let ids = ids.zip(metadata("attemptId").and_then(|attempt| attempt.parse().ok()));
    let message = match ids {
        Some(ids) => MessageRef::from_attempt(ids),
        None => MessageRef::ProviderMessageId(event.id.clone().filter(|id| id.len() <= 200)?),
    };
    let fact = match event.event.as_str() {
        "send" => ReportedStatus::Sent,
        "deferral" => ReportedStatus::Deferred,
        "delivered" => ReportedStatus::Delivered,
        "hard_bounce" => ReportedStatus::Bounced,
        "soft_bounce" => ReportedStatus::Undelivered,
        "reject" => ReportedStatus::Dropped,
        "open" => ReportedStatus::Opened,
        "click" => ReportedStatus::Clicked,
        "spam" => ReportedStatus::Complained,
        "unsub" => ReportedStatus::Unsubscribed,
        _ => ReportedStatus::Unknown,
    };
    let is_identifier = |text: &String| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let code = match fact {
        ReportedStatus::Unknown => unknown_code(&event.event),
        _ => event.msg.bounce_description.filter(is_identifier),
    };
    // Mandrill's id names the message, so the kind and the time are added to name the event.
    let id = event.id.map(|id| format!("{id}:{}:{}", event.event, event.ts));
    Some(delivery_report(message, (fact, code), id, Timestamp(event.ts.saturating_mul(1_000))))
}
