//! AWS SNS for SMS: `Publish` to a phone number, signed with SigV4. SNS has no delivery callbacks. It writes results to
//! CloudWatch Logs, and they take effect if a log subscription posts them to the callback address.

use std::sync::Arc;

use async_trait::async_trait;
use domain::provider::{
    AccountQueryError, CallbackRequest, Capabilities, InvalidSetting, MessageRef, OutboundMessage, ParsedCallback,
    Provider, ProviderConfig, ProviderKind, SendResult, SettingSpec,
};
use events::{Channel, RefusalClass, ReportedStatus, Timestamp};
use serde_json::Value;

use super::aws::{SigV4Signer, error_name};
use super::callback::{delivery_report, reports_only, unknown_code};
use super::http::{HttpExchange, classify_status, exchange, query_api};
use super::outcome::refusal_outcome;
use super::registration::{ConnectionSettings, ProviderRegistration};
use super::signatures::VerifyResult;
use super::text::text_with_links;

pub(super) const REGISTRATION: ProviderRegistration = ProviderRegistration { kind: &KIND, connect, schemes: &[] };

static KIND: ProviderKind = ProviderKind {
    name: "sns",
    title: "AWS SNS",
    channels: &[Channel::Sms],
    settings: &[
        SettingSpec::required("accessKeyId", "The access key of a user that is allowed sns:Publish"),
        SettingSpec::secret("secretAccessKey", "The secret of the access key"),
        SettingSpec::required("region", "The AWS region, such as eu-west-1"),
        SettingSpec::optional("senderId", "A name of at most 11 letters and digits, where the country allows one"),
        SettingSpec::optional("smsType", "Transactional (default) or Promotional"),
    ],
    capabilities: CAPABILITIES,
    signs: "the secret in the callback's address",
};
const CAPABILITIES: Capabilities = Capabilities { echoes_our_id: false, inbound: false, ..Capabilities::TEXT };

struct Sns {
    connection: ConnectionSettings,
    base: String,
    signer: SigV4Signer,
}

fn connect(connection: ConnectionSettings) -> Result<Arc<dyn Provider>, InvalidSetting> {
    let signer = SigV4Signer::from_settings(&connection, "sns")?;
    let base = connection.base_url(&format!("https://sns.{}.amazonaws.com", signer.region));
    Ok(Arc::new(Sns { base, signer, connection }))
}

#[async_trait]
impl Provider for Sns {
    fn config(&self) -> &ProviderConfig {
        &self.connection.config
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn send(&self, outbound: &OutboundMessage, timeout_ms: u64) -> SendResult {
        let text = text_with_links(outbound, CAPABILITIES.max_characters);
        let form = self.publish(&outbound.to, &text);
        match exchange(self.request(form), timeout_ms).await {
            Ok(exchange) => send_result(&exchange, &text),
            Err(outcome) => outcome.into(),
        }
    }

    async fn check_credentials(&self, timeout_ms: u64) -> Result<(), AccountQueryError> {
        let body = "Action=GetSMSAttributes&Version=2010-03-31".to_owned();
        query_api(self.request(body), timeout_ms).await.map(|_| ())
    }

    /// The callback carries no signature. The secret in its address was compared before this is called.
    async fn verify_callback(&self, _: &CallbackRequest, _: Timestamp) -> VerifyResult {
        Ok(())
    }

    async fn parse_callback(&self, request: &CallbackRequest, now: Timestamp) -> Result<ParsedCallback, &'static str> {
        parse_callback(&request.body, now)
    }
}

impl Sns {
    fn publish(&self, to: &str, text: &str) -> String {
        let kind = self.connection.get_or("smsType", "Transactional");
        let sender = self.connection.get("senderId");
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("Action", "Publish").append_pair("Version", "2010-03-31");
        form.append_pair("PhoneNumber", to).append_pair("Message", text);
        let attributes = [("AWS.SNS.SMS.SMSType", Some(kind)), ("AWS.SNS.SMS.SenderID", sender)];
        let attributes = attributes.into_iter().filter_map(|(name, value)| Some((name, value?)));
        for (index, (name, value)) in attributes.enumerate() {
            let entry = format!("MessageAttributes.entry.{}", index + 1);
            form.append_pair(&format!("{entry}.Name"), name);
            form.append_pair(&format!("{entry}.Value.DataType"), "String");
            form.append_pair(&format!("{entry}.Value.StringValue"), &value);
        }
        form.finish()
    }

    fn request(&self, body: String) -> reqwest::RequestBuilder {
        let request = self.connection.http.client.post(format!("{}/", self.base));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(body.clone());
        self.signer.sign(request, body.as_bytes())
    }
}

/// Returns the text of the first XML element with this name.
fn xml_text(exchange: &HttpExchange, name: &str) -> Option<String> {
    let text = std::str::from_utf8(&exchange.body).ok()?;
    let rest = text.split_once(&format!("<{name}>"))?.1;
    Some(rest.split_once(&format!("</{name}>"))?.0.trim().to_owned())
}

fn send_result(exchange: &HttpExchange, text: &str) -> SendResult {
    let code = xml_text(exchange, "Code").map(|code| error_name(&code));
    let Some(outcome) = classify_status(exchange, code.as_deref()) else {
        let segments = Some(domain::sms::segments(text).count);
        return xml_text(exchange, "MessageId")
            .map_or_else(|| exchange.unreadable_response(), |id| exchange.accepted(id, segments));
    };
    let Some(code) = code else { return outcome.into() };
    let class = match code.as_str() {
        "InvalidParameter" | "InvalidParameterValue" | "ParameterValueInvalid" | "OptedOut" => RefusalClass::Permanent,
        "Throttling" | "Throttled" => RefusalClass::Throttled,
        "AuthorizationError" | "InvalidClientTokenId" | "SignatureDoesNotMatch" | "KMSAccessDenied" => {
            RefusalClass::Auth
        }
        _ => return outcome.into(),
    };
    let opted_out = code == "OptedOut";
    SendResult { opted_out, ..refusal_outcome(class, code, exchange.retry_after_ms()).into() }
}

/// Reads one entry of the delivery status log.
fn parse_callback(body: &[u8], now: Timestamp) -> Result<ParsedCallback, &'static str> {
    let entry: Value = serde_json::from_slice(body).map_err(|_| "the body is not an entry of the SNS log")?;
    let text = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str);
    let id = text("/notification/messageId").ok_or("the entry names no message")?;
    let reason = text("/delivery/providerResponse").unwrap_or_default();
    let unreachable = ["Invalid phone number", "blocked SMS", "blocklist", "opted out"];
    let fact = match text("/status") {
        Some("SUCCESS") => ReportedStatus::Delivered,
        Some("FAILURE") if unreachable.iter().any(|phrase| reason.contains(phrase)) => ReportedStatus::Bounced,
        Some("FAILURE") => ReportedStatus::Undelivered,
        _ => ReportedStatus::Unknown,
    };
    let code = if fact == ReportedStatus::Unknown { unknown_code(text("/status").unwrap_or("none")) } else { None };
    Ok(reports_only(vec![delivery_report(MessageRef::ProviderMessageId(id.to_owned()), (fact, code), None, now)]))
}
