//! Mandrill, messages/send 1.4: the key is in the body, every error is an HTTP 500 with a name, and a refusal may come
//! with 200. Our ids travel as metadata. Its webhooks sign our address and the form.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::communication::AttemptOutcome;
use domain::provider::{
    AccountQueryError, CallbackRequest, Capabilities, InvalidSetting, MessageRef, OutboundMessage, ParsedCallback,
    Provider, ProviderConfig, ProviderKind, ProviderReport, SendResult, SettingSpec,
};
use events::{Channel, RefusalClass, ReportedStatus, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::signatures::{Keys, Verdict, hmac_sha1, same};
use super::{
    ConnectionSettings, Entry, classify_status, exchange, field, query_api, refused, reports_only, told, unknown_code,
};

pub(super) const ENTRY: Entry = Entry { kind: &KIND, connect, schemes: &[("mandrill-hmac-sha1", verify)] };

static KIND: ProviderKind = ProviderKind {
    name: "mandrill",
    title: "Mandrill (Mailchimp Transactional)",
    channels: &[Channel::Email],
    settings: &[
        SettingSpec::secret("apiKey", "API key"),
        SettingSpec::required("fromEmail", "An address of a verified domain"),
        SettingSpec::optional("fromName", "The name beside it"),
        SettingSpec::optional("replyTo", "Where answers go"),
        SettingSpec::optional("subaccount", "Mandrill's subaccount"),
        SettingSpec::optional_secret("webhookKey", "The webhook's key; without it callbacks are refused"),
    ],
    capabilities: CAN,
    signs: "HMAC-SHA1 over address and form",
};
const CAN: Capabilities = Capabilities::EMAIL;

struct Mandrill {
    link: ConnectionSettings,
    base: String,
    api_key: String,
    from_email: String,
}

fn connect(link: ConnectionSettings) -> Result<Arc<dyn Provider>, InvalidSetting> {
    Ok(Arc::new(Mandrill {
        base: link.base_url("https://mandrillapp.com"),
        api_key: link.need("apiKey")?,
        from_email: link.need("fromEmail")?,
        link,
    }))
}

/// One for each recipient.
#[derive(Deserialize)]
struct Taken {
    #[serde(rename = "_id")]
    id: Option<String>,
    status: String,
    reject_reason: Option<String>,
}

#[derive(Deserialize)]
struct Fault {
    name: String,
}

#[async_trait]
impl Provider for Mandrill {
    fn config(&self) -> &ProviderConfig {
        &self.link.account
    }

    fn capabilities(&self) -> Capabilities {
        CAN
    }

    async fn send(&self, outbound: &OutboundMessage, timeout_ms: u64) -> SendResult {
        let request = self.link.http.client.post(format!("{}/api/1.4/messages/send", self.base));
        let exchange = match exchange(request.json(&self.body(outbound)), timeout_ms).await {
            Ok(exchange) => exchange,
            Err(answer) => return answer.into(),
        };
        if let Some(no) = classify_status(&exchange, exchange.code()) {
            let named = exchange.json::<Fault>().and_then(|fault| by_name(&fault.name));
            return named.unwrap_or(no).into();
        }
        let Some(taken) = exchange.json::<Vec<Taken>>().and_then(|all| all.into_iter().next()) else {
            return exchange.unreadable_response();
        };
        match taken.status.as_str() {
            "sent" | "queued" | "scheduled" => exchange.accepted(taken.id.unwrap_or_default(), None),
            "rejected" => rejected(taken.reject_reason.as_deref().unwrap_or("rejected")),
            _ => refused(RefusalClass::Permanent, taken.status, None).into(),
        }
    }

    async fn check_credentials(&self, timeout_ms: u64) -> Result<(), AccountQueryError> {
        let ping = self.link.http.client.post(format!("{}/api/1.4/users/ping2", self.base));
        match query_api(ping.json(&json!({ "key": self.api_key })), timeout_ms).await {
            // Its only answer to a wrong key.
            Err(AccountQueryError::NoResponse(code)) if code == "500" => {
                Err(AccountQueryError::CredentialsRejected(code))
            }
            other => other.map(|_| ()),
        }
    }

    /// An empty list, signed with a key that nobody has been told yet: Mandrill tries an address before it is kept.
    fn is_reachability_check(&self, request: &CallbackRequest) -> bool {
        request.method == "HEAD" || field(&request.body, "mandrill_events").is_some_and(|events| events == "[]")
    }

    async fn verify_callback(&self, request: &CallbackRequest, now: Timestamp) -> Verdict {
        verify(request, &Keys { secret: self.link.or("webhookKey", ""), ..Keys::default() }, Some(now))
    }

    async fn parse_callback(&self, request: &CallbackRequest, _: Timestamp) -> Result<ParsedCallback, &'static str> {
        let events = field(&request.body, "mandrill_events").ok_or("no mandrill_events")?;
        let events: Vec<Value> = serde_json::from_str(&events).map_err(|_| "mandrill_events is not a list")?;
        let events = events.into_iter().filter_map(|event| serde_json::from_value::<Event>(event).ok());
        Ok(reports_only(events.filter_map(tell).collect()))
    }
}

fn by_name(name: &str) -> Option<AttemptOutcome> {
    let class = match name {
        "Invalid_Key" => RefusalClass::Auth,
        "PaymentRequired" => RefusalClass::Balance,
        "ValidationError" | "Unknown_Template" | "Unknown_Subaccount" | "Unknown_Message" => RefusalClass::Permanent,
        "GeneralError" => RefusalClass::Transient,
        "ServiceUnavailable" => RefusalClass::Unavailable,
        _ => return None,
    };
    Some(refused(class, name, None))
}

fn rejected(reason: &str) -> SendResult {
    let class = match reason {
        "unsigned" | "invalid-sender" => RefusalClass::Auth,
        "test-mode-limit" => RefusalClass::Balance,
        "soft-bounce" => RefusalClass::Transient,
        _ => RefusalClass::Permanent,
    };
    let opted_out = matches!(reason, "hard-bounce" | "spam" | "unsub");
    SendResult { opted_out, ..refused(class, reason, None).into() }
}

impl Mandrill {
    fn body(&self, outbound: &OutboundMessage) -> Value {
        let message = &outbound.message;
        let mut headers = json!({});
        if let Some(reply_to) = self.link.get("replyTo") {
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
                "from_name": self.link.or("fromName", &self.from_email),
                "to": [{ "email": outbound.to, "name": outbound.to_name.as_deref().unwrap_or(""), "type": "to" }],
                "subject": message.subject,
                "text": message.text,
                "html": message.html,
                "headers": headers,
                "track_opens": true,
                "track_clicks": true,
                "metadata": { "businessId": outbound.tenant, "attemptId": outbound.attempt.to_string() },
                "attachments": files.collect::<Vec<_>>(),
            },
        });
        if let Some(subaccount) = self.link.get("subaccount") {
            body["message"]["subaccount"] = json!(subaccount);
        }
        body
    }
}

/// Our address exactly as configured there, then each field's name and value, sorted by name.
fn verify(request: &CallbackRequest, keys: &Keys, _: Option<Timestamp>) -> Verdict {
    let given = request.header("x-mandrill-signature").ok_or("no signature header")?;
    if keys.secret.is_empty() {
        return Err("there is no webhook key to check it with");
    }
    let mut fields: Vec<_> = form_urlencoded::parse(&request.body).collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    let mut signed = request.url.clone();
    for (name, value) in fields {
        signed.push_str(&name);
        signed.push_str(&value);
    }
    let given = STANDARD.decode(given).map_err(|_| "the signature is not base64")?;
    same(&hmac_sha1(keys.secret.as_bytes(), &[signed.as_bytes()]), &given)
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
    /// A word such as `bad_mailbox`.
    bounce_description: Option<String>,
}

fn tell(event: Event) -> Option<ProviderReport> {
    let ours = |name: &str| event.msg.metadata.get(name)?.as_str();
    let about = MessageRef::from_attempt((ours("businessId")?.parse().ok()?, ours("attemptId")?.parse().ok()?));
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
    let word = |text: &String| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let code = match fact {
        ReportedStatus::Unknown => unknown_code(&event.event),
        _ => event.msg.bounce_description.filter(word),
    };
    // It names the message, not the event: what happened to it, and when, makes the difference.
    let id = event.id.map(|id| format!("{id}:{}:{}", event.event, event.ts));
    Some(told(about, (fact, code), id, Timestamp(event.ts.saturating_mul(1_000))))
}
