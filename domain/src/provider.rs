//! The port to providers: sending, queries, callbacks and configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use events::{AttemptId, Channel, CommunicationId, Mode, RateLimit, ReportedStatus, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::communication::{AttemptOutcome, DeliveryReport};
use crate::exchange::RecordedExchange;
use crate::message::RenderedMessage;
use crate::prices::{self, Cost, MessageCost, PriceList};

/// The properties that all configurations of one provider share.
#[derive(Debug, PartialEq, Eq)]
pub struct ProviderKind {
    /// The name in settings, events and callback addresses, such as `africastalking`.
    pub name: &'static str,
    pub title: &'static str,
    pub channels: &'static [Channel],
    pub settings: &'static [SettingSpec],
    pub capabilities: Capabilities,
    /// How its callbacks are authenticated.
    pub signs: &'static str,
}

/// A setting of a provider configuration.
#[derive(Debug, PartialEq, Eq)]
pub struct SettingSpec {
    pub name: &'static str,
    /// Whether it is stored encrypted and never returned.
    pub is_secret: bool,
    pub is_required: bool,
    pub description: &'static str,
}

impl SettingSpec {
    pub const fn required(name: &'static str, description: &'static str) -> SettingSpec {
        SettingSpec { name, is_secret: false, is_required: true, description }
    }

    pub const fn optional(name: &'static str, description: &'static str) -> SettingSpec {
        SettingSpec { name, is_secret: false, is_required: false, description }
    }

    pub const fn secret(name: &'static str, description: &'static str) -> SettingSpec {
        SettingSpec { name, is_secret: true, is_required: true, description }
    }

    pub const fn optional_secret(name: &'static str, description: &'static str) -> SettingSpec {
        SettingSpec { name, is_secret: true, is_required: false, description }
    }
}

/// The features that a provider supports beyond sending text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// Maximum length of a text in characters.
    pub max_characters: usize,
    pub media: bool,
    pub location: bool,
    pub buttons: bool,
    /// Supports templates that are stored and approved at the provider.
    pub templates: bool,
    /// Charges messages by segment.
    pub segments: bool,
    /// Sends only one message for requests with the same idempotency key.
    pub idempotency_key: bool,
    /// Callbacks echo our attempt id. Without it, messages are matched by the provider's own id.
    pub echoes_our_id: bool,
    /// Some callbacks name only the recipient, and mean the latest message to them.
    pub names_person: bool,
    /// Reports delivery after acceptance.
    pub receipts: bool,
    pub inbound: bool,
    /// Supports a query about whether it accepted a message.
    pub query: bool,
    pub balance: bool,
}

impl Capabilities {
    /// A text channel with delivery reports and nothing else.
    pub const TEXT: Capabilities = Capabilities {
        max_characters: 1_600,
        media: false,
        location: false,
        buttons: false,
        templates: false,
        segments: true,
        idempotency_key: false,
        echoes_our_id: true,
        names_person: false,
        receipts: true,
        inbound: true,
        query: false,
        balance: false,
    };
    /// Email. Its bodies are limited by their size in bytes.
    pub const EMAIL: Capabilities =
        Capabilities { max_characters: 262_144, media: true, segments: false, inbound: false, ..Capabilities::TEXT };
}

/// A provider configuration, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderConfig {
    /// Its id, such as `sendgrid`, `sendgrid-second` or `acme.k3f9x2`.
    pub id: String,
    /// The provider's name.
    pub provider: String,
    pub channel: Channel,
    /// Whether it reaches recipients or the simulator.
    pub mode: Mode,
    /// The rate limit for calls.
    pub rate: RateLimit,
    /// What it charges. `None` means the list prices of the provider, if they are known.
    pub prices: Option<PriceList>,
}

impl ProviderConfig {
    /// What a message to an address is expected to cost, if there is a price. `segments` are those of an SMS.
    pub fn estimate_cost(&self, to: &str, segments: Option<u16>) -> Option<Cost> {
        prices::estimate(self.prices.as_ref(), &self.provider, self.channel, to, segments)
    }
}

/// A file that is attached to an email.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailAttachment {
    pub name: String,
    pub mime: String,
    pub bytes: Vec<u8>,
}

/// A message for a provider to send.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboundMessage {
    pub tenant: TenantId,
    pub attempt: AttemptId,
    pub to: String,
    pub to_name: Option<String>,
    /// Only for email: the display name of the sender. `None` means the one in the provider's settings.
    pub from_name: Option<String>,
    pub message: RenderedMessage,
    /// Only for email.
    pub files: Vec<EmailAttachment>,
    /// Only for email: the address for one-click unsubscription (RFC 8058).
    pub unsubscribe_url: Option<String>,
}

/// The result of sending: the outcome of the attempt, and other facts in the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendResult {
    pub answer: AttemptOutcome,
    /// Whether the recipient has opted out at the provider.
    pub opted_out: bool,
    /// Statuses that the answer already reports.
    pub facts: Vec<ReportedStatus>,
    /// The request and the response, unless the message was accepted.
    pub exchange: Option<Box<RecordedExchange>>,
}

impl SendResult {
    /// Adds what the provider charged, if it said so.
    #[must_use]
    pub fn costing(mut self, charged: Option<Cost>) -> SendResult {
        if let AttemptOutcome::Accepted { cost, .. } = &mut self.answer {
            *cost = charged.map(|cost| MessageCost { cost, is_estimate: false });
        }
        self
    }
}

impl From<AttemptOutcome> for SendResult {
    fn from(answer: AttemptOutcome) -> SendResult {
        SendResult { answer, opted_out: false, facts: Vec::new(), exchange: None }
    }
}

/// Result of asking a provider whether it accepted an attempt in doubt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryResult {
    /// It accepted the message and gave it this id.
    Accepted(String),
    /// It definitely did not accept the message.
    NotAccepted,
    /// It does not answer at the moment.
    NoResponse,
    /// It supports no such query.
    Unsupported,
}

/// The status of a message as its provider states it when it is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageStatus {
    /// The provider's own word for it.
    pub name: String,
    pub fact: ReportedStatus,
    pub code: Option<String>,
    /// As in the callback about the same status, so that it counts once.
    pub event_id: Option<String>,
}

/// The balance of an account at a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// A decimal number.
    pub amount: String,
    /// A currency (ISO 4217), or the provider's own unit, such as `credits` or `emails`.
    pub unit: String,
}

/// Why a query about an account failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountQueryError {
    /// The provider supports no such query.
    Unsupported,
    /// It rejects our credentials, with this code.
    CredentialsRejected(String),
    /// It did not answer, or not in its documented format.
    NoResponse(String),
}

/// An HTTP request that claims to come from a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallbackRequest {
    pub method: String,
    /// Our address as configured, then path and query as received. The Host header is never used.
    pub url: String,
    /// Header names are in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl CallbackRequest {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The query string, without the question mark.
    pub fn query(&self) -> &str {
        self.url.split_once('?').map_or("", |(_, query)| query)
    }
}

/// The contents of a callback. A callback must be verified before it is parsed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ParsedCallback {
    pub delivery_reports: Vec<ProviderReport>,
    pub inbound: Vec<InboundMessage>,
    pub consent_changes: Vec<ConsentChange>,
    /// Number of parts that are no events, or name no message.
    pub skipped: usize,
    /// The body of the response, if the provider requires one.
    pub response_body: Option<String>,
}

/// Maximum length of an id or an address that a provider names, in bytes.
pub const MAX_ID: usize = 320;

impl ParsedCallback {
    /// Drops what names a message or a person by a text that no id and no address is as long as.
    pub fn with_usable_ids(mut self) -> ParsedCallback {
        let is_usable = |text: &str| (1..=MAX_ID).contains(&text.len());
        let given = self.delivery_reports.len();
        self.delivery_reports.retain(|report| match &report.message {
            MessageRef::Attempt { attempt: id, .. }
            | MessageRef::ProviderMessageId(id)
            | MessageRef::LatestToAddress(id) => is_usable(id),
            MessageRef::Communication { .. } => true,
        });
        self.skipped += given - self.delivery_reports.len();
        self.inbound.retain(|message| is_usable(&message.from) && message.provider_message_id.len() <= MAX_ID);
        self.consent_changes.retain(|change| is_usable(&change.contact));
        self
    }
}

/// A delivery report and the message it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderReport {
    #[serde(rename = "about")]
    pub message: MessageRef,
    pub report: DeliveryReport,
}

/// How a report names its message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageRef {
    /// By our attempt id, which the provider echoed. Without a tenant, it belongs to the owner of the configuration.
    Attempt { tenant: Option<TenantId>, attempt: String },
    /// By our id of the message, without the attempt.
    Communication { tenant: Option<TenantId>, id: CommunicationId },
    /// By the provider's own id.
    #[serde(rename = "message")]
    ProviderMessageId(String),
    /// The latest message to this address, because the provider names no message.
    #[serde(rename = "latest_to")]
    LatestToAddress(String),
}

impl MessageRef {
    pub fn from_attempt((tenant, attempt): (TenantId, AttemptId)) -> MessageRef {
        MessageRef::Attempt { tenant: Some(tenant), attempt: attempt.to_string() }
    }
}

/// A message from a recipient to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundMessage {
    pub from: String,
    pub provider_message_id: String,
    /// `text`, `image`, `video`, `audio`, `file`, `location`, `button`, `other`.
    pub kind: &'static str,
    pub text: Option<String>,
    /// `stop`, `start` or `help`, if the provider recognised the keyword. Otherwise the text decides.
    pub keyword: Option<&'static str>,
    pub at: Timestamp,
}

/// An opt-in or opt-out that a provider reports, independent of any message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentChange {
    pub contact: String,
    pub is_opt_out: bool,
    pub reason: &'static str,
}

/// A provider with its configuration.
#[async_trait]
pub trait Provider: Send + Sync {
    fn config(&self) -> &ProviderConfig;

    fn capabilities(&self) -> Capabilities {
        Capabilities::TEXT
    }

    /// Makes one send request, never retries by itself, and returns within `timeout_ms`.
    async fn send(&self, outbound: &OutboundMessage, timeout_ms: u64) -> SendResult;

    /// Asks whether the provider accepted a message between `since` and `until`. It never sends the message again.
    async fn query_delivery(
        &self,
        _: &OutboundMessage,
        _since: Timestamp,
        _until: Timestamp,
        _timeout_ms: u64,
    ) -> QueryResult {
        QueryResult::Unsupported
    }

    /// Asks for the status of a message that the provider accepted under this id.
    async fn message_status(&self, _id: &str, _timeout_ms: u64) -> Result<MessageStatus, AccountQueryError> {
        Err(AccountQueryError::Unsupported)
    }

    async fn balance(&self, _timeout_ms: u64) -> Result<Balance, AccountQueryError> {
        Err(AccountQueryError::Unsupported)
    }

    /// Checks the credentials without sending anything.
    async fn check_credentials(&self, _timeout_ms: u64) -> Result<(), AccountQueryError> {
        Err(AccountQueryError::Unsupported)
    }

    /// Checks that the provider can send to this address. The error is the reason.
    fn validate_address(&self, to: &str) -> Result<(), String> {
        let normalised = crate::address::normalise(self.config().channel, to, None);
        normalised.map(|_| ()).map_err(|error| error.to_string())
    }

    /// Whether the request only checks that the endpoint is reachable. Such a request carries no reports.
    fn is_reachability_check(&self, request: &CallbackRequest) -> bool {
        request.method == "HEAD"
    }

    /// Verifies that a request comes from the provider. The error is the reason. `now` is compared with signed times.
    async fn verify_callback(&self, _: &CallbackRequest, _now: Timestamp) -> Result<(), &'static str> {
        Err("this provider sends no callbacks")
    }

    /// Parses a verified request. The error is the reason.
    async fn parse_callback(&self, _: &CallbackRequest, _now: Timestamp) -> Result<ParsedCallback, &'static str> {
        Ok(ParsedCallback::default())
    }
}

/// A setting that is missing or unusable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSetting {
    pub setting: &'static str,
    pub detail: String,
}

/// Creates providers from configurations.
pub trait ProviderFactory: Send + Sync {
    fn kinds(&self) -> Vec<&'static ProviderKind>;

    /// Creates a provider. `settings` includes secrets. `callback_url` has neither a query nor a trailing slash.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`] names the setting that is missing or unusable.
    fn create(
        &self,
        account: ProviderConfig,
        settings: &BTreeMap<String, String>,
        callback_url: &str,
    ) -> Result<Arc<dyn Provider>, InvalidSetting>;
}
