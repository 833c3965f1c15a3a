//! A message as a simulated provider receives it, the configuration it was sent with, and what happens to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use events::Channel;
use serde_json::Value;

/// Credentials that contain this text are refused.
pub const INVALID: &str = "invalid";

/// An account at a simulated provider, as it is configured in Tidings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegisteredConfig {
    pub provider: String,
    /// The id of the provider configuration. Faults are injected by it.
    pub config: String,
    pub channel: Channel,
    pub settings: BTreeMap<String, String>,
    /// The address that the provider sends callbacks to.
    pub callback_url: String,
}

impl RegisteredConfig {
    /// Returns a setting's value, or an empty text if it is not set.
    pub fn get(&self, setting: &str) -> &str {
        self.settings.get(setting).map(String::as_str).unwrap_or_default()
    }

    /// Whether a request contains the value of this setting, and the value is a valid credential.
    pub fn has(&self, setting: &str, given: &str) -> bool {
        !given.is_empty() && self.get(setting) == given && !given.contains(INVALID)
    }
}

/// A message as a simulated provider receives it.
#[derive(Debug, Clone)]
pub struct Message {
    pub account: Arc<RegisteredConfig>,
    /// The provider's id of the message. It is empty until the message is accepted.
    pub id: String,
    pub to: String,
    pub from: String,
    pub subject: Option<String>,
    pub text: String,
    pub html: Option<String>,
    pub attachments: Vec<Value>,
    /// The one-click address of the email's List-Unsubscribe header.
    pub unsubscribe: Option<String>,
    /// The tenant, if the request contains it.
    pub tenant: Option<String>,
    /// The attempt's id, if the request contains it.
    pub attempt: Option<String>,
    /// The callback address, if the request contains one.
    pub callback: Option<String>,
    /// The idempotency key. Two requests with the same key count as one message.
    pub key: Option<String>,
}

impl Message {
    pub fn new(account: Arc<RegisteredConfig>, to: impl Into<String>, text: impl Into<String>) -> Message {
        Message {
            account,
            id: String::new(),
            to: to.into(),
            from: String::new(),
            subject: None,
            text: text.into(),
            html: None,
            attachments: Vec::new(),
            unsubscribe: None,
            tenant: None,
            attempt: None,
            callback: None,
            key: None,
        }
    }

    /// Returns the id of the communication that the attempt belongs to, if the request contains the attempt's id.
    pub fn communication(&self) -> Option<String> {
        let attempt = self.attempt.as_deref()?.parse::<events::AttemptId>().ok()?;
        Some(attempt.communication.to_string())
    }

    pub fn callback_url(&self) -> &str {
        self.callback.as_deref().unwrap_or(&self.account.callback_url)
    }
}

/// A step in the life of a message: what the provider or the recipient does with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Accepted,
    Sent,
    Delivered,
    Bounced,
    /// Not delivered this time, because the mailbox is full or the phone is off.
    SoftBounced,
    /// Opened, or read.
    Opened,
    Clicked,
    Complained,
    /// The recipient replied STOP or blocked the sender.
    OptedOut,
}
