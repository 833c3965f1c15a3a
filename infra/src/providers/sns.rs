//! AWS SNS, SMS: `Publish` to a phone number, SigV4. It calls nobody back: results are in CloudWatch Logs, and count
//! where a subscription of yours posts them to the callback address.

use std::sync::Arc;

use async_trait::async_trait;
use domain::provider::{
    AccountQueryError, CallbackRequest, Capabilities, InvalidSetting, MessageRef, OutboundMessage, ParsedCallback,
    Provider, ProviderConfig, ProviderKind, SendResult, SettingSpec,
};
use events::{Channel, RefusalClass, ReportedStatus, Timestamp};
use serde_json::Value;

use super::aws::{SigV4Signer, error_name};
use super::signatures::Verdict;
use super::{
    ConnectionSettings, Entry, HttpExchange, classify_status, exchange, query_api, refused, reports_only,
    text_with_links, told, unknown_code,
};

pub(super) const ENTRY: Entry = Entry { kind: &KIND, connect, schemes: &[] };

static KIND: ProviderKind = ProviderKind {
    name: "sns",
    title: "AWS SNS",
    channels: &[Channel::Sms],
    settings: &[
        SettingSpec::required("accessKeyId", "Of a user that may sns:Publish"),
        SettingSpec::secret("secretAccessKey", "Its secret"),
        SettingSpec::required("region", "Such as eu-west-1"),
        SettingSpec::optional("senderId", "A name of at most 11 letters and digits, where the country takes one"),
        SettingSpec::optional("smsType", "Transactional (default) or Promotional"),
    ],
    capabilities: CAN,
    signs: "the secret in the callback's address",
};
const CAN: Capabilities = Capabilities { echoes_our_id: false, inbound: false, ..Capabilities::TEXT };

struct Sns {
    link: ConnectionSettings,
    base: String,
    signer: SigV4Signer,
}

fn connect(link: ConnectionSettings) -> Result<Arc<dyn Provider>, InvalidSetting> {
    let signer = SigV4Signer::of(&link, "sns")?;
    let base = link.base_url(&format!("https://sns.{}.amazonaws.com", signer.region));
    Ok(Arc::new(Sns { base, signer, link }))
}

#[async_trait]
impl Provider for Sns {
    fn config(&self) -> &ProviderConfig {
        &self.link.account
    }

    fn capabilities(&self) -> Capabilities {
        CAN
    }

    async fn send(&self, outbound: &OutboundMessage, timeout_ms: u64) -> SendResult {
        let text = text_with_links(outbound, CAN.max_characters);
        let form = self.publish(&outbound.to, &text);
        match exchange(self.request(form), timeout_ms).await {
            Ok(exchange) => answered(&exchange, &text),
            Err(answer) => answer.into(),
        }
    }

    async fn check_credentials(&self, timeout_ms: u64) -> Result<(), AccountQueryError> {
        let body = "Action=GetSMSAttributes&Version=2010-03-31".to_owned();
        query_api(self.request(body), timeout_ms).await.map(|_| ())
    }

    /// The secret in its address, which was compared before, is all there is.
    async fn verify_callback(&self, _: &CallbackRequest, _: Timestamp) -> Verdict {
        Ok(())
    }

    async fn parse_callback(&self, request: &CallbackRequest, now: Timestamp) -> Result<ParsedCallback, &'static str> {
        hear(&request.body, now)
    }
}

impl Sns {
    fn publish(&self, to: &str, text: &str) -> String {
        let kind = self.link.or("smsType", "Transactional");
        let sender = self.link.get("senderId");
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("Action", "Publish").append_pair("Version", "2010-03-31");
        form.append_pair("PhoneNumber", to).append_pair("Message", text);
        let attributes = [("AWS.SNS.SMS.SMSType", Some(kind)), ("AWS.SNS.SMS.SenderID", sender)];
        let given = attributes.into_iter().filter_map(|(name, value)| Some((name, value?)));
        for (place, (name, value)) in given.enumerate() {
            let entry = format!("MessageAttributes.entry.{}", place + 1);
            form.append_pair(&format!("{entry}.Name"), name);
            form.append_pair(&format!("{entry}.Value.DataType"), "String");
            form.append_pair(&format!("{entry}.Value.StringValue"), &value);
        }
        form.finish()
    }

    fn request(&self, body: String) -> reqwest::RequestBuilder {
        let request = self.link.http.client.post(format!("{}/", self.base));
        let request = request.header("content-type", "application/x-www-form-urlencoded").body(body.clone());
        self.signer.sign(request, body.as_bytes())
    }
}

/// The text between a tag of XML and its end.
fn tag(exchange: &HttpExchange, name: &str) -> Option<String> {
    let text = std::str::from_utf8(&exchange.body).ok()?;
    let rest = text.split_once(&format!("<{name}>"))?.1;
    Some(rest.split_once(&format!("</{name}>"))?.0.trim().to_owned())
}

fn answered(exchange: &HttpExchange, text: &str) -> SendResult {
    let Some(no) = classify_status(exchange, exchange.code()) else {
        let segments = Some(domain::sms::segments(text).count);
        return tag(exchange, "MessageId")
            .map_or_else(|| exchange.unreadable_response(), |id| exchange.accepted(id, segments));
    };
    let code = error_name(&tag(exchange, "Code").unwrap_or_default());
    let class = match code.as_str() {
        "InvalidParameter" | "InvalidParameterValue" | "ParameterValueInvalid" | "OptedOut" => RefusalClass::Permanent,
        "Throttling" | "Throttled" => RefusalClass::Throttled,
        "AuthorizationError" | "InvalidClientTokenId" | "SignatureDoesNotMatch" | "KMSAccessDenied" => {
            RefusalClass::Auth
        }
        _ => return no.into(),
    };
    let opted_out = code == "OptedOut";
    SendResult { opted_out, ..refused(class, code, exchange.retry_after_ms()).into() }
}

/// One entry of the log, as CloudWatch has it.
fn hear(body: &[u8], now: Timestamp) -> Result<ParsedCallback, &'static str> {
    let entry: Value = serde_json::from_slice(body).map_err(|_| "not an entry of SNS's log")?;
    let text = |pointer: &str| entry.pointer(pointer).and_then(Value::as_str);
    let id = text("/notification/messageId").ok_or("it names no message")?;
    let reason = text("/delivery/providerResponse").unwrap_or_default();
    let gone = ["Invalid phone number", "blocked SMS", "blocklist", "opted out"];
    let fact = match text("/status") {
        Some("SUCCESS") => ReportedStatus::Delivered,
        Some("FAILURE") if gone.iter().any(|words| reason.contains(words)) => ReportedStatus::Bounced,
        Some("FAILURE") => ReportedStatus::Undelivered,
        _ => ReportedStatus::Unknown,
    };
    let code = if fact == ReportedStatus::Unknown { unknown_code(text("/status").unwrap_or("none")) } else { None };
    Ok(reports_only(vec![told(MessageRef::ProviderMessageId(id.to_owned()), (fact, code), None, now)]))
}
