//! Mailgun, messages v3: `POST /v3/{domain}/messages`, multipart, 200 with `id`. Our ids travel as `v:` variables. Its
//! webhooks sign timestamp and token, not the body: TLS protects that.

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

use super::signatures::{Keys, Verdict, decode_hex, hmac_sha256, same, within};
use super::{
    ConnectionSettings, Entry, classify_status, exchange, fault, field, query_api, refused, report_with_consent,
    reports_only, unknown_code,
};

pub(super) const ENTRY: Entry = Entry { kind: &KIND, connect, schemes: &[("mailgun-hmac-sha256", verify)] };

static KIND: ProviderKind = ProviderKind {
    name: "mailgun",
    title: "Mailgun",
    channels: &[Channel::Email],
    settings: &[
        SettingSpec::secret("apiKey", "Sending key"),
        SettingSpec::required("domain", "The sending domain: mg.example.com"),
        SettingSpec::required("fromEmail", "An address of that domain"),
        SettingSpec::optional("fromName", "The name beside it"),
        SettingSpec::optional("replyTo", "Where answers go"),
        SettingSpec::optional("region", "us (default) or eu"),
        SettingSpec::optional_secret("signingKey", "HTTP webhook signing key; without it callbacks are refused"),
    ],
    capabilities: CAN,
    signs: "HMAC-SHA256 over timestamp and token",
};
const CAN: Capabilities = Capabilities::EMAIL;

/// Mailgun's retries run for eight hours.
const WINDOW_MS: i64 = 9 * 3_600_000;

struct Mailgun {
    link: ConnectionSettings,
    base: String,
    api_key: String,
    domain: String,
    from: String,
}

fn connect(link: ConnectionSettings) -> Result<Arc<dyn Provider>, InvalidSetting> {
    let base = match link.or("region", "us").as_str() {
        "us" => link.base_url("https://api.mailgun.net"),
        "eu" => link.base_url("https://api.eu.mailgun.net"),
        _ => return Err(fault("region", "region is us or eu.")),
    };
    let domain = link.need("domain")?;
    if !domain.chars().all(|c| c.is_ascii_alphanumeric() || c == '.' || c == '-') {
        return Err(fault("domain", "domain is a name such as mg.example.com."));
    }
    let email = link.need("fromEmail")?;
    let from = match link.get("fromName") {
        Some(name) => format!("{} <{email}>", name.replace(['<', '>', '"', ',', '\r', '\n'], " ")),
        None => email,
    };
    Ok(Arc::new(Mailgun { base, api_key: link.need("apiKey")?, domain, from, link }))
}

#[derive(Deserialize)]
struct Taken {
    id: String,
}

#[async_trait]
impl Provider for Mailgun {
    fn config(&self) -> &ProviderConfig {
        &self.link.account
    }

    fn capabilities(&self) -> Capabilities {
        CAN
    }

    async fn send(&self, outbound: &OutboundMessage, timeout_ms: u64) -> SendResult {
        let url = format!("{}/v3/{}/messages", self.base, self.domain);
        let request = self.link.http.client.post(url).basic_auth("api", Some(&self.api_key));
        let exchange = match exchange(request.multipart(self.form(outbound)), timeout_ms).await {
            Ok(exchange) => exchange,
            Err(answer) => return answer.into(),
        };
        match (exchange.status.as_u16(), exchange.json::<Taken>()) {
            // It has been seen to answer so and to send all the same.
            (500..=599, _) => AttemptOutcome::InDoubt(InDoubtCause::ServerError).into(),
            (404, _) => refused(RefusalClass::Auth, "404", None).into(),
            (200..=299, Some(Taken { id })) => exchange.accepted(id.trim_matches(['<', '>']), None),
            (200..=299, None) => exchange.unreadable_response(),
            _ => classify_status(&exchange, exchange.code())
                .map_or_else(|| exchange.unreadable_response(), SendResult::from),
        }
    }

    async fn check_credentials(&self, timeout_ms: u64) -> Result<(), AccountQueryError> {
        query_api(self.get(&format!("/v4/domains/{}", self.domain)), timeout_ms).await.map(|_| ())
    }

    async fn verify_callback(&self, request: &CallbackRequest, now: Timestamp) -> Verdict {
        verify(request, &Keys { secret: self.link.or("signingKey", ""), ..Keys::default() }, Some(now))
    }

    async fn parse_callback(&self, request: &CallbackRequest, _: Timestamp) -> Result<ParsedCallback, &'static str> {
        hear(&request.body)
    }
}

impl Mailgun {
    fn get(&self, path: &str) -> RequestBuilder {
        self.link.http.client.get(format!("{}{path}", self.base)).basic_auth("api", Some(&self.api_key))
    }

    fn form(&self, outbound: &OutboundMessage) -> Form {
        let message = &outbound.message;
        let subject = message.subject.clone().unwrap_or_default();
        let mut form = Form::new()
            .text("from", self.from.clone())
            .text("to", outbound.to.clone())
            .text("subject", subject)
            .text("text", message.text.clone())
            .text("o:tracking", "yes")
            .text("v:businessId", outbound.tenant.to_string())
            .text("v:attemptId", outbound.attempt.to_string());
        if let Some(html) = &message.html {
            form = form.text("html", html.clone());
        }
        if let Some(reply_to) = self.link.get("replyTo") {
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
    let of_json = serde_json::from_slice::<Signed>(&request.body).ok().map(|signed| signed.signature);
    let form = |name| field(&request.body, name);
    let of_form =
        || Some(Signature { timestamp: form("timestamp")?, token: form("token")?, signature: form("signature")? });
    of_json.or_else(of_form)
}

fn verify(request: &CallbackRequest, keys: &Keys, now: Option<Timestamp>) -> Verdict {
    let Signature { timestamp, token, signature } = signature(request).ok_or("the body holds no signature")?;
    if keys.secret.is_empty() {
        return Err("there is no signing key to check it with");
    }
    let given = decode_hex(&signature).ok_or("the signature is not hexadecimal")?;
    same(&hmac_sha256(keys.secret.as_bytes(), &[timestamp.as_bytes(), token.as_bytes()]), &given)?;
    within(now, timestamp.parse().map_err(|_| "the timestamp is no number")?, WINDOW_MS)
}

#[derive(Deserialize)]
struct Called {
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
    /// Text instead of an object where Mailgun cut it.
    user_variables: Option<Value>,
    delivery_status: Option<DeliveryStatus>,
}

#[derive(Deserialize)]
struct DeliveryStatus {
    code: Option<i64>,
}

fn hear(body: &[u8]) -> Result<ParsedCallback, &'static str> {
    let Called { event } = serde_json::from_slice(body).map_err(|_| "not an event of Mailgun's")?;
    let variables = match event.user_variables {
        Some(Value::String(text)) => serde_json::from_str(&text).unwrap_or_default(),
        other => other.unwrap_or_default(),
    };
    let ours = |name: &str| variables.get(name)?.as_str().map(str::to_owned);
    let ids = ours("businessId").and_then(|t| t.parse().ok()).zip(ours("attemptId").and_then(|a| a.parse().ok()));
    let Some(ids) = ids else { return Ok(ParsedCallback::default()) };
    let fact = match (event.event.as_str(), event.severity.as_deref()) {
        ("accepted", _) => ReportedStatus::Accepted,
        ("delivered", _) => ReportedStatus::Delivered,
        ("failed", Some("temporary")) => ReportedStatus::Deferred,
        ("failed", _) => match event.reason.as_deref() {
            Some("suppress-unsubscribe" | "suppress-complaint") => ReportedStatus::Dropped,
            // A block of the mail provider's, not of the person's.
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
    Ok(reports_only(report_with_consent(MessageRef::from_attempt(ids), (fact, code), event.id, at, opted_out)))
}
