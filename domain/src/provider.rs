//! What a provider must do for us: send once and say honestly how that ended, and read what it calls back with.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use events::{AttemptId, Channel, Mode, RateLimit, ReportedStatus, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::communication::{AttemptOutcome, DeliveryReport};
use crate::message::RenderedMessage;

/// What all configurations of one provider have in common.
#[derive(Debug, PartialEq, Eq)]
pub struct ProviderKind {
    /// As in settings, events and addresses: `africastalking`.
    pub name: &'static str,
    pub title: &'static str,
    pub channels: &'static [Channel],
    pub settings: &'static [SettingSpec],
    pub capabilities: Capabilities,
    /// How its callbacks prove where they come from.
    pub signs: &'static str,
}

/// What a configuration is given.
#[derive(Debug, PartialEq, Eq)]
pub struct SettingSpec {
    pub name: &'static str,
    /// Sealed, never shown again.
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

/// What a provider can do beyond sending text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Capabilities {
    /// Characters of one message's text, at most.
    pub max_characters: usize,
    pub media: bool,
    pub location: bool,
    pub buttons: bool,
    /// Its own approved templates, by name.
    pub templates: bool,
    /// Charged by the segment.
    pub segments: bool,
    /// The same key twice is one message.
    pub idempotency_key: bool,
    /// Our attempt's id comes back in its callbacks. Without it messages are matched by the provider's own id.
    pub echoes_our_id: bool,
    /// Some of its callbacks name the person alone: the latest message to them is meant.
    pub names_person: bool,
    /// Reports what became of a message after it was taken.
    pub receipts: bool,
    pub inbound: bool,
    /// Can be asked whether it has a message.
    pub query: bool,
    pub balance: bool,
}

impl Capabilities {
    /// A text channel that reports back and nothing more.
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
    /// Email: bodies are bounded by bytes, long before characters matter.
    pub const EMAIL: Capabilities =
        Capabilities { max_characters: 262_144, media: true, segments: false, inbound: false, ..Capabilities::TEXT };
}

/// One configuration of a provider: what is not secret about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderConfig {
    /// Our name for it: `sendgrid`, `sendgrid-second`, `acme.k3f9x2`.
    pub id: String,
    /// The provider's name.
    pub provider: String,
    pub channel: Channel,
    /// Whether it reaches people or the simulator.
    pub mode: Mode,
    /// How fast it may be called.
    pub rate: RateLimit,
}

/// A file that travels with an email.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmailAttachment {
    pub name: String,
    pub mime: String,
    pub bytes: Vec<u8>,
}

/// What a provider is asked to send.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboundMessage {
    pub tenant: TenantId,
    pub attempt: AttemptId,
    pub to: String,
    pub to_name: Option<String>,
    pub message: RenderedMessage,
    /// Email alone.
    pub files: Vec<EmailAttachment>,
    /// Email alone: where one click unsubscribes (RFC 8058).
    pub unsubscribe_url: Option<String>,
}

/// A provider's answer, and what it tells besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendResult {
    pub answer: AttemptOutcome,
    /// This address must not be written to again.
    pub opted_out: bool,
    /// What is known of the delivery already.
    pub facts: Vec<ReportedStatus>,
}

impl From<AttemptOutcome> for SendResult {
    fn from(answer: AttemptOutcome) -> SendResult {
        SendResult { answer, opted_out: false, facts: Vec::new() }
    }
}

/// What a provider says of a message that nobody heard about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryResult {
    /// It has it, by this id.
    Accepted(String),
    /// It surely has not.
    NotAccepted,
    /// It does not answer now.
    NoResponse,
    /// It cannot be asked.
    Unsupported,
}

/// What is left in an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Balance {
    /// A decimal number.
    pub amount: String,
    /// A currency (ISO 4217), or what the provider counts: `credits`, `emails`.
    pub unit: String,
}

/// Why a question has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountQueryError {
    /// The provider has no such question.
    Unsupported,
    /// It refuses our credentials; its code.
    CredentialsRejected(String),
    /// It did not answer, or not in its own form.
    NoResponse(String),
}

/// An HTTP request that claims to come from a provider, as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallbackRequest {
    pub method: String,
    /// Our address as configured, then path and query as they came: never the Host header.
    pub url: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl CallbackRequest {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// What follows the question mark.
    pub fn query(&self) -> &str {
        self.url.split_once('?').map_or("", |(_, query)| query)
    }
}

/// What a callback says. Nothing of it is believed before it is verified.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ParsedCallback {
    pub delivery_reports: Vec<ProviderReport>,
    pub inbound: Vec<InboundMessage>,
    pub consent_changes: Vec<ConsentChange>,
    /// What the provider wants to read in the answer.
    pub response_body: Option<String>,
}

/// A fact, and which message it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProviderReport {
    #[serde(rename = "about")]
    pub message: MessageRef,
    pub report: DeliveryReport,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MessageRef {
    /// The provider echoed our id. Without a tenant: of the tenant whose configuration was called.
    Attempt { tenant: Option<TenantId>, attempt: String },
    /// By the provider's own id.
    #[serde(rename = "message")]
    ProviderMessageId(String),
    /// The latest message to this address; where a provider names none.
    #[serde(rename = "latest_to")]
    LatestToAddress(String),
}

impl MessageRef {
    pub fn from_attempt((tenant, attempt): (TenantId, AttemptId)) -> MessageRef {
        MessageRef::Attempt { tenant: Some(tenant), attempt: attempt.to_string() }
    }
}

/// Somebody wrote to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InboundMessage {
    pub from: String,
    pub provider_message_id: String,
    /// `text`, `image`, `video`, `audio`, `file`, `location`, `button`, `other`.
    pub kind: &'static str,
    pub text: Option<String>,
    /// `stop`, `start` or `help` where the provider says so itself; else the words decide.
    pub keyword: Option<&'static str>,
    pub at: Timestamp,
}

/// Whether an address may be written to, apart from any one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsentChange {
    pub contact: String,
    pub is_opt_out: bool,
    pub reason: &'static str,
}

/// One provider, configured.
#[async_trait]
pub trait Provider: Send + Sync {
    fn config(&self) -> &ProviderConfig;

    fn capabilities(&self) -> Capabilities {
        Capabilities::TEXT
    }

    /// Sends once, never again by itself, and ends within `timeout_ms`.
    async fn send(&self, outbound: &OutboundMessage, timeout_ms: u64) -> SendResult;

    /// Asks whether a message was taken, between `since` and `until`. Never makes a second message of it.
    async fn query_delivery(
        &self,
        _: &OutboundMessage,
        _since: Timestamp,
        _until: Timestamp,
        _timeout_ms: u64,
    ) -> QueryResult {
        QueryResult::Unsupported
    }

    async fn balance(&self, _timeout_ms: u64) -> Result<Balance, AccountQueryError> {
        Err(AccountQueryError::Unsupported)
    }

    /// Whether the credentials are valid. Sends nothing.
    async fn check_credentials(&self, _timeout_ms: u64) -> Result<(), AccountQueryError> {
        Err(AccountQueryError::Unsupported)
    }

    /// Whether it can write to this address at all; the reason why not.
    fn validate_address(&self, to: &str) -> Result<(), String> {
        let normal = crate::address::normalise(self.config().channel, to, None);
        normal.map(|_| ()).map_err(|error| error.to_string())
    }

    /// A request by which a provider finds out whether anybody is there. It says nothing, signed or not.
    fn is_reachability_check(&self, request: &CallbackRequest) -> bool {
        request.method == "HEAD"
    }

    /// Whether a request comes from the provider; the reason why not. `now` judges time windows.
    async fn verify_callback(&self, _: &CallbackRequest, _now: Timestamp) -> Result<(), &'static str> {
        Err("this provider calls nobody back")
    }

    /// Reads a request that was verified; the reason why it cannot be read.
    async fn parse_callback(&self, _: &CallbackRequest, _now: Timestamp) -> Result<ParsedCallback, &'static str> {
        Ok(ParsedCallback::default())
    }
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidSetting {
    pub setting: &'static str,
    pub detail: String,
}

/// Makes providers of configurations.
pub trait ProviderFactory: Send + Sync {
    fn kinds(&self) -> Vec<&'static ProviderKind>;

    /// `settings` holds secrets too. `callback_url` has neither query nor slash at its end.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`]: names the setting that is missing or cannot be used.
    fn create(
        &self,
        account: ProviderConfig,
        settings: &BTreeMap<String, String>,
        callback_url: &str,
    ) -> Result<Arc<dyn Provider>, InvalidSetting>;
}
