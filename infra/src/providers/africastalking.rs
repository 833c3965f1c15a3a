//! Africa's Talking for SMS: `POST /version1/messaging` answers 201 with a status for each recipient. Its callbacks
//! carry neither our ids nor a signature, so they are matched by its message id and authenticated by the secret in
//! their address. It has no API to look up a message.

use std::sync::Arc;

use async_trait::async_trait;
use domain::prices;
use domain::provider::{
    AccountQueryError, Balance, CallbackRequest, Capabilities, ConsentChange, InboundMessage, InvalidSetting,
    MessageRef, OutboundMessage, ParsedCallback, Provider, ProviderConfig, ProviderKind, SendResult, SettingSpec,
};
use events::{Channel, RefusalClass, ReportedStatus, Timestamp};
use serde::Deserialize;

use super::attempt_ids::form_field;
use super::callback::{report_with_consent, reports_only, unknown_code};
use super::http::{
    HttpExchange, balance, classify_status, exchange, lenient, lenient_number, query_api, unexpected_format,
};
use super::outcome::refusal_outcome;
use super::registration::{ConnectionSettings, ProviderRegistration};
use super::signatures::{VerifyResult, url_secret};
use super::text::text_with_links;

pub(super) const REGISTRATION: ProviderRegistration =
    ProviderRegistration { kind: &KIND, connect, schemes: &[("url-secret", url_secret)] };

static KIND: ProviderKind = ProviderKind {
    name: "africastalking",
    title: "Africa's Talking",
    channels: &[Channel::Sms],
    settings: &[
        SettingSpec::secret("apiKey", "The application's API key"),
        SettingSpec::required("username", "The application's username; sandbox for the sandbox"),
        SettingSpec::optional("senderId", "A registered short code or name"),
    ],
    capabilities: CAPABILITIES,
    signs: "the secret in the callback's address",
};
const CAPABILITIES: Capabilities = Capabilities { echoes_our_id: false, balance: true, ..Capabilities::TEXT };

struct AfricasTalking {
    connection: ConnectionSettings,
    base: String,
    api_key: String,
    username: String,
}

fn connect(connection: ConnectionSettings) -> Result<Arc<dyn Provider>, InvalidSetting> {
    let username = connection.require("username")?;
    let base = match username.as_str() {
        "sandbox" => connection.base_url("https://api.sandbox.africastalking.com"),
        _ => connection.base_url("https://api.africastalking.com"),
    };
    Ok(Arc::new(AfricasTalking { base, api_key: connection.require("apiKey")?, username, connection }))
}

#[derive(Deserialize)]
struct SendResponse {
    #[serde(rename = "SMSMessageData")]
    data: Data,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Data {
    /// `Sent to 1/1 …`, or an error for all recipients, such as `InvalidSenderId`.
    message: String,
    #[serde(default)]
    recipients: Vec<Recipient>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Recipient {
    status_code: u32,
    #[serde(default, deserialize_with = "lenient")]
    message_id: Option<String>,
    /// Currency and amount, such as `KES 0.8000`.
    #[serde(default, deserialize_with = "lenient")]
    cost: Option<String>,
    #[serde(default, deserialize_with = "lenient_number")]
    message_parts: Option<u16>,
}

#[async_trait]
impl Provider for AfricasTalking {
    fn config(&self) -> &ProviderConfig {
        &self.connection.config
    }

    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn send(&self, outbound: &OutboundMessage, timeout_ms: u64) -> SendResult {
        let text = text_with_links(outbound, CAPABILITIES.max_characters);
        let sender = self.connection.get("senderId");
        let mut fields = vec![
            ("username", self.username.as_str()),
            ("to", outbound.to.as_str()),
            ("message", text.as_str()),
            ("bulkSMSMode", "1"),
            ("enqueue", "1"),
        ];
        fields.extend(sender.as_deref().map(|sender| ("from", sender)));
        let request = self.connection.http.client.post(format!("{}/version1/messaging", self.base));
        let request = request.header("apiKey", &self.api_key).header("accept", "application/json").form(&fields);
        match exchange(request, timeout_ms).await {
            Ok(exchange) => send_result(&exchange, domain::sms::segments(&text).count),
            Err(outcome) => outcome.into(),
        }
    }

    async fn balance(&self, timeout_ms: u64) -> Result<Balance, AccountQueryError> {
        #[derive(Deserialize)]
        struct AccountResponse {
            #[serde(rename = "UserData")]
            user: User,
        }
        #[derive(Deserialize)]
        struct User {
            balance: String,
        }
        let AccountResponse { user } = self.account_details(timeout_ms).await?.json().ok_or_else(unexpected_format)?;
        let (unit, amount) = user.balance.split_once(' ').ok_or_else(unexpected_format)?;
        balance(amount.trim(), unit)
    }

    async fn check_credentials(&self, timeout_ms: u64) -> Result<(), AccountQueryError> {
        self.account_details(timeout_ms).await.map(|_| ())
    }

    /// The callback carries no signature. The secret in its address was compared before this is called.
    async fn verify_callback(&self, _: &CallbackRequest, _: Timestamp) -> VerifyResult {
        Ok(())
    }

    async fn parse_callback(&self, request: &CallbackRequest, now: Timestamp) -> Result<ParsedCallback, &'static str> {
        parse_callback(&request.body, now)
    }
}

impl AfricasTalking {
    async fn account_details(&self, timeout_ms: u64) -> Result<HttpExchange, AccountQueryError> {
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("username", &self.username).finish();
        let request = self.connection.http.client.get(format!("{}/version1/user?{query}", self.base));
        query_api(request.header("apiKey", &self.api_key).header("accept", "application/json"), timeout_ms).await
    }
}

fn send_result(exchange: &HttpExchange, segments: u16) -> SendResult {
    if let Some(outcome) = classify_status(exchange, None) {
        return outcome.into();
    }
    let Some(SendResponse { data }) = exchange.json::<SendResponse>() else { return exchange.unreadable_response() };
    let Some(recipient) = data.recipients.into_iter().next() else {
        let class = match data.message.as_str() {
            "InvalidSenderId" | "UserInBlacklist" => RefusalClass::Auth,
            "InsufficientBalance" => RefusalClass::Balance,
            _ => RefusalClass::Permanent,
        };
        let code: String = data.message.chars().filter(char::is_ascii_alphanumeric).collect();
        return refusal_outcome(class, code, None).into();
    };
    let code = recipient.status_code;
    let class = match code {
        100..=102 => {
            // Such as `KES 0.8000`.
            let cost = recipient.cost.as_deref().and_then(|cost| cost.split_once(' '));
            let cost = cost.and_then(|(currency, amount)| prices::charged(amount, currency));
            let id = recipient.message_id.unwrap_or_default();
            return exchange.accepted(id, recipient.message_parts.or(Some(segments))).costing(cost);
        }
        402 => RefusalClass::Auth,
        405 => RefusalClass::Balance,
        500 | 501 => RefusalClass::Transient,
        _ => RefusalClass::Permanent,
    };
    SendResult { opted_out: code == 406, ..refusal_outcome(class, code.to_string(), None).into() }
}

/// Tells a delivery report, an incoming message and an opt-out apart by the fields of the form.
fn parse_callback(body: &[u8], now: Timestamp) -> Result<ParsedCallback, &'static str> {
    let get = |name: &str| form_field(body, name);
    if let (Some(id), Some(status)) = (get("id"), get("status")) {
        let reason = get("failureReason");
        let reason = reason.as_deref();
        let is_unreachable = matches!(reason, Some("UserDoesNotExist" | "UserIsInactive" | "NotNetworkSubcriber"));
        let fact = match status.as_str() {
            "Sent" | "Submitted" | "Buffered" => ReportedStatus::Sent,
            "Success" => ReportedStatus::Delivered,
            "Failed" if is_unreachable => ReportedStatus::Bounced,
            "Failed" | "Rejected" | "AbsentSubscriber" | "Expired" => ReportedStatus::Undelivered,
            _ => ReportedStatus::Unknown,
        };
        let code = if fact == ReportedStatus::Unknown { unknown_code(&status) } else { reason.map(str::to_owned) };
        let message = MessageRef::ProviderMessageId(id.clone());
        let opted_out = reason == Some("UserInBlackList");
        return Ok(reports_only(report_with_consent(
            message,
            (fact, code),
            Some(format!("{id}:{status}")),
            now,
            opted_out,
        )));
    }
    if let (Some(from), Some(text)) = (get("from"), get("text")) {
        let id = get("id").or_else(|| get("linkId")).or_else(|| get("date")).unwrap_or_default();
        let id = format!("{from}:{id}");
        let inbound =
            InboundMessage { from, provider_message_id: id, kind: "text", text: Some(text), keyword: None, at: now };
        return Ok(ParsedCallback { inbound: vec![inbound], ..ParsedCallback::default() });
    }
    let contact = get("phoneNumber").ok_or("neither a report nor a message")?;
    let consent = ConsentChange { contact, is_opt_out: true, reason: "provider_opt_out" };
    Ok(ParsedCallback { consent_changes: vec![consent], ..ParsedCallback::default() })
}
