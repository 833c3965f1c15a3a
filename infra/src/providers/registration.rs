//! The types by which a provider's file registers its provider, and the settings that a provider is created with.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::provider::{InvalidSetting, OutboundMessage, Provider, ProviderConfig, ProviderKind};

use super::http::HttpClients;
use super::signatures::SignatureCheck;

/// A provider as the registry lists it.
pub struct ProviderRegistration {
    pub kind: &'static ProviderKind,
    /// Builds the provider of one configuration, without calling it.
    pub(super) connect: fn(ConnectionSettings) -> Result<Arc<dyn Provider>, InvalidSetting>,
    /// The provider's signature checks, by their names in files of recorded callbacks.
    pub(super) schemes: &'static [(&'static str, SignatureCheck)],
}

/// A configuration of a provider, with everything that is needed to call the provider.
pub(super) struct ConnectionSettings {
    pub config: ProviderConfig,
    pub settings: BTreeMap<String, String>,
    /// The address that the provider posts its callbacks to.
    pub callback_url: String,
    pub http: HttpClients,
    /// Replaces the provider's own address, for example with a simulator's. It has no slash at the end.
    pub base_override: Option<String>,
}

impl ConnectionSettings {
    /// An empty setting counts as missing.
    pub fn get(&self, name: &str) -> Option<String> {
        self.settings.get(name).filter(|value| !value.is_empty()).cloned()
    }

    pub fn get_or(&self, name: &str, default: &str) -> String {
        self.get(name).unwrap_or_else(|| default.to_owned())
    }

    pub fn require(&self, setting: &'static str) -> Result<String, InvalidSetting> {
        self.get(setting).ok_or_else(|| invalid_setting(setting, format!("{setting} is required.")))
    }

    /// The display name of an email's sender: the message's own, or that of the settings.
    pub fn sender_name(&self, outbound: &OutboundMessage) -> Option<String> {
        outbound.from_name.clone().or_else(|| self.get("fromName"))
    }

    /// Whether the provider counts opens and clicks of emails.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`]: neither on nor off.
    pub fn tracking(&self) -> Result<bool, InvalidSetting> {
        match self.get_or("tracking", "on").as_str() {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err(invalid_setting("tracking", "tracking is on or off.")),
        }
    }

    /// The address that requests begin with, such as `https://api.example.com`, without a slash at the end.
    pub fn base_url(&self, default: &str) -> String {
        self.base_override.clone().unwrap_or_else(|| default.to_owned())
    }
}

pub(super) fn invalid_setting(setting: &'static str, detail: impl Into<String>) -> InvalidSetting {
    InvalidSetting { setting, detail: detail.into() }
}
