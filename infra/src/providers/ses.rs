//! Amazon SES v2: `POST /v2/email/outbound-emails`, signed with SigV4. Our ids travel as email tags. Events arrive
//! through an SNS topic.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::provider::{
    AccountQueryError, Balance, CallbackRequest, Capabilities, InvalidSetting, MessageRef, OutboundMessage,
    ParsedCallback, Provider, ProviderConfig, ProviderKind, SendResult, SettingSpec,
};
use events::{Channel, RefusalClass, ReportedStatus, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::aws::{SigV4Signer, SnsEnvelope, SnsTopic, error_name, verify};
use super::callback::{delivery_report, reports_only, unknown_code};
use super::http::{HttpExchange, balance, classify_status, exchange, query_api, unexpected_format};
use super::outcome::refusal_outcome;
use super::registration::{ConnectionSettings, ProviderRegistration};
use super::signatures::VerifyResult;

pub(super) const REGISTRATION: ProviderRegistration =
    ProviderRegistration { kind: &KIND, connect, schemes: &[("aws-sns-x509", verify)] };

static KIND: ProviderKind = ProviderKind {
    name: "ses",
    title: "Amazon SES",
    channels: &[Channel::Email],
    settings: &[
        SettingSpec::required("accessKeyId", "The access key of a user that is allowed ses:SendEmail"),
        SettingSpec::secret("secretAccessKey", "The secret of the access key"),
        SettingSpec::required("region", "The AWS region, such as eu-west-1"),
        SettingSpec::required("fromEmail", "An address of a verified identity"),
        SettingSpec::optional("fromName", "The display name of the sender, if the message has no businessName"),
        SettingSpec::optional("replyTo", "The address that replies go to"),
        SettingSpec::optional("configurationSet", "The configuration set whose events go to the topic"),
        SettingSpec::optional("topicArn", "The SNS topic of the events; without it callbacks are refused"),
    ],
    capabilities: CAPABILITIES,
    signs: "X.509 (SNS signature versions 1 and 2)",
};
const CAPABILITIES: Capabilities = Capabilities { balance: true, ..Capabilities::EMAIL };

struct Ses {
    connection: ConnectionSettings,
    base: String,
    signer: SigV4Signer,
    from_email: String,
    topic: SnsTopic,
}

fn connect(connection: ConnectionSettings) -> Result<Arc<dyn Provider>, InvalidSetting> {
    let signer = SigV4Signer::from_settings(&connection, "ses")?;
    let from_email = connection.require("fromEmail")?;
    let base = connection.base_url(&format!("https://email.{}.amazonaws.com", signer.region));
    Ok(Arc::new(Ses { base, signer, from_email, topic: SnsTopic::new(connection.get_or("topicArn", "")), connection }))
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SendResponse {
    message_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Quota {
    max24_hour_send: f64,
    sent_last24_hours: f64,
}

#[async_trait]
impl Provider for Ses {
    fn config(&self) -> &ProviderConfig {
        &self.connection.config
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn send(&self, outbound: &OutboundMessage, timeout_ms: u64) -> SendResult {
        let body = self.body(outbound).to_string();
        let request = self.connection.http.client.post(format!("{}/v2/email/outbound-emails", self.base));
        let request = request.header("content-type", "application/json").body(body.clone());
        let exchange = match exchange(self.signer.sign(request, body.as_bytes()), timeout_ms).await {
            Ok(exchange) => exchange,
            Err(outcome) => return outcome.into(),
        };
        let code = error_code(&exchange);
        match classify_status(&exchange, code.as_deref()) {
            Some(outcome) => match code.as_deref().and_then(|code| Some((class(code)?, code))) {
                Some((class, code)) => refusal_outcome(class, code, exchange.retry_after_ms()).into(),
                None => outcome.into(),
            },
            None => match exchange.json::<SendResponse>() {
                Some(response) => exchange.accepted(response.message_id, None),
                None => exchange.unreadable_response(),
            },
        }
    }

    /// Returns what is left of the sending quota for 24 hours.
    async fn balance(&self, timeout_ms: u64) -> Result<Balance, AccountQueryError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct AccountResponse {
            send_quota: Quota,
        }
        let AccountResponse { send_quota } = self.query_api(timeout_ms).await?.json().ok_or_else(unexpected_format)?;
        let remaining = send_quota.max24_hour_send - send_quota.sent_last24_hours;
        balance(remaining.max(0.0) as i64, "emails today")
    }

    async fn check_credentials(&self, timeout_ms: u64) -> Result<(), AccountQueryError> {
        self.query_api(timeout_ms).await.map(|_| ())
    }

    async fn verify_callback(&self, request: &CallbackRequest, now: Timestamp) -> VerifyResult {
        self.topic.verify(request, &self.connection.http, self.connection.base_override.as_deref(), now).await
    }

    async fn parse_callback(&self, request: &CallbackRequest, _: Timestamp) -> Result<ParsedCallback, &'static str> {
        let envelope = SnsEnvelope::read(&request.body)?;
        match envelope.kind.as_str() {
            "SubscriptionConfirmation" => {
                self.topic.confirm(&envelope, &self.connection.http, self.connection.base_override.as_deref()).await?;
                Ok(ParsedCallback::default())
            }
            // The first message of a topic is plain text, "Successfully validated SNS topic …", so it is not an error.
            "Notification" => {
                let event = serde_json::from_str(&envelope.message).ok();
                Ok(event.and_then(|event| parse_callback(event, &envelope.timestamp)).unwrap_or_default())
            }
            _ => Ok(ParsedCallback::default()),
        }
    }
}

/// Returns the name of the error, which is in a header or in the body.
fn error_code(exchange: &HttpExchange) -> Option<String> {
    #[derive(Deserialize)]
    struct ErrorResponse {
        #[serde(rename = "__type")]
        kind: String,
    }
    let header = exchange.header("x-amzn-errortype").map(str::to_owned);
    let name = header.or_else(|| exchange.json::<ErrorResponse>().map(|error| error.kind))?;
    Some(error_name(&name))
}

fn class(name: &str) -> Option<RefusalClass> {
    Some(match name {
        "MessageRejected" | "MailFromDomainNotVerifiedException" | "BadRequestException" | "NotFoundException" => {
            RefusalClass::Permanent
        }
        "AccountSuspendedException" | "SendingPausedException" | "AccessDeniedException" | "ExpiredTokenException" => {
            RefusalClass::Auth
        }
        "TooManyRequestsException" | "LimitExceededException" | "ThrottlingException" => RefusalClass::Throttled,
        _ => return None,
    })
}

impl Ses {
    async fn query_api(&self, timeout_ms: u64) -> Result<HttpExchange, AccountQueryError> {
        let request = self.connection.http.client.get(format!("{}/v2/email/account", self.base));
        query_api(self.signer.sign(request, b""), timeout_ms).await
    }

    fn from(&self, outbound: &OutboundMessage) -> String {
        match self.connection.sender_name(outbound) {
            Some(name) => {
                format!("\"{}\" <{}>", name.replace(['<', '>', '"', '\\', '\r', '\n'], " "), self.from_email)
            }
            None => self.from_email.clone(),
        }
    }

    fn body(&self, outbound: &OutboundMessage) -> Value {
        let message = &outbound.message;
        let utf8 = |text: &str| json!({ "Data": text, "Charset": "UTF-8" });
        let mut parts = json!({ "Text": utf8(&message.text) });
        if let Some(html) = &message.html {
            parts["Html"] = utf8(html);
        }
        let mut simple = json!({ "Subject": utf8(message.subject.as_deref().unwrap_or_default()), "Body": parts });
        if let Some(url) = &outbound.unsubscribe_url {
            simple["Headers"] = json!([
                { "Name": "List-Unsubscribe", "Value": format!("<{url}>") },
                { "Name": "List-Unsubscribe-Post", "Value": "List-Unsubscribe=One-Click" },
            ]);
        }
        if !outbound.files.is_empty() {
            let files = outbound.files.iter().map(|file| {
                json!({
                    "FileName": file.name,
                    "ContentType": file.mime,
                    "RawContent": STANDARD.encode(&file.bytes),
                    "ContentDisposition": "ATTACHMENT",
                    "ContentTransferEncoding": "BASE64",
                })
            });
            simple["Attachments"] = files.collect();
        }
        let mut body = json!({
            "FromEmailAddress": self.from(outbound),
            "Destination": { "ToAddresses": [outbound.to] },
            "Content": { "Simple": simple },
            "EmailTags": [
                { "Name": "businessId", "Value": outbound.tenant },
                { "Name": "attemptId", "Value": outbound.attempt.to_string() },
            ],
        });
        if let Some(set) = self.connection.get("configurationSet") {
            body["ConfigurationSetName"] = json!(set);
        }
        if let Some(reply_to) = self.connection.get("replyTo") {
            body["ReplyToAddresses"] = json!([reply_to]);
        }
        body
    }
}

/// Reads both forms of an event: event publishing uses `eventType`, feedback notifications use `notificationType`.
/// `notified_at` is the time of the SNS message.
fn parse_callback(event: Value, notified_at: &str) -> Option<ParsedCallback> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str);
    let kind = text("/eventType").or_else(|| text("/notificationType"))?;
    let ids = text("/mail/tags/businessId/0").and_then(|tenant| tenant.parse().ok());
    let ids = ids.zip(text("/mail/tags/attemptId/0").and_then(|attempt| attempt.parse().ok()));
    let message = match ids {
        Some(ids) => MessageRef::from_attempt(ids),
        None => MessageRef::ProviderMessageId(text("/mail/messageId")?.to_owned()),
    };
    let (part, fact) = match kind {
        "Send" => ("send", ReportedStatus::Accepted),
        "Delivery" => ("delivery", ReportedStatus::Delivered),
        "DeliveryDelay" => ("deliveryDelay", ReportedStatus::Deferred),
        "Bounce" if text("/bounce/bounceType") == Some("Permanent") => ("bounce", ReportedStatus::Bounced),
        "Bounce" => ("bounce", ReportedStatus::Undelivered),
        "Complaint" => ("complaint", ReportedStatus::Complained),
        "Reject" => ("reject", ReportedStatus::Dropped),
        "Rendering Failure" => ("failure", ReportedStatus::Dropped),
        "Open" => ("open", ReportedStatus::Opened),
        "Click" => ("click", ReportedStatus::Clicked),
        "Subscription" => ("subscription", ReportedStatus::Unsubscribed),
        _ => ("mail", ReportedStatus::Unknown),
    };
    let at = text(&format!("/{part}/timestamp")).or_else(|| text("/mail/timestamp")).unwrap_or(notified_at);
    let at = Timestamp(at.parse::<jiff::Timestamp>().ok()?.as_millisecond());
    let code = match fact {
        ReportedStatus::Unknown => unknown_code(kind),
        _ => text("/bounce/bouncedRecipients/0/status").map(str::to_owned),
    };
    let id = text("/bounce/feedbackId").or_else(|| text("/complaint/feedbackId")).map(str::to_owned);
    Some(reports_only(vec![delivery_report(message, (fact, code), id, at)]))
}
