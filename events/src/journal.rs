//! Facts of journals: streams without a timer, one for what a tenant decided, one for each message that came in.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Channel, MessageType, Mode, QuietHours, RateLimit, Role, Timestamp};

/// What a tenant decided about its provider configurations. One journal for all of them: their order is one decision.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum ProviderConfigEvent {
    /// v1. A configuration of the tenant's own. Its credentials are in the vault, sealed, as version `secret`.
    ChannelAdded {
        config: String,
        provider: String,
        channel: Channel,
        name: String,
        settings: BTreeMap<String, String>,
        secret: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rate: Option<RateLimit>,
    },
    /// v1. What is not named stays.
    ChannelChanged {
        config: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        settings: Option<BTreeMap<String, String>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        secret: Option<u32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rate: Option<RateLimit>,
    },
    /// v1. Gone; what was sent by it keeps its name.
    ChannelRemoved { config: String },
    /// v1. Used for the tenant's messages again.
    ChannelEnabled { config: String },
    /// v1. Not used for the tenant's messages, whether its own or the deployment's.
    ChannelDisabled { config: String },
    /// v1. Those named are tried first, in this order.
    ChannelsOrdered { channel: Channel, order: Vec<String> },
}

/// A message that somebody sent to us. One journal each; its words and its sender are in the vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum InboundMessageEvent {
    /// v1. A provider handed us a message.
    MessageReceived {
        channel: Channel,
        config: String,
        provider: String,
        provider_message_id: String,
        /// Keyed hash of the sender's address.
        contact_hash: String,
        /// `text`, `image`, `video`, `audio`, `file`, `location`, `button`, `other`.
        kind: String,
        /// `stop`, `start` or `help`, where its words are one of those.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keyword: Option<String>,
        /// When the provider says that it was sent.
        sent_at: Timestamp,
        /// Names its words in the vault.
        content: String,
    },
}

/// What a tenant decided about its templates. One journal for all of them: each name is taken once. The words are
/// documents, one for each version, that never change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum TemplateEvent {
    /// v1. One for a code, a channel and a locale. Its first version follows in the same append.
    TemplateCreated {
        template: String,
        code: String,
        channel: Channel,
        locale: String,
        kind: MessageType,
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
    },
    /// v1. New words. `text`: their hash. Messages keep the version that they were accepted with.
    TemplateRevised { template: String, version: u32, text: String, variables: Vec<String> },
    /// v1. What is not named stays.
    TemplateDescribed {
        template: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kind: Option<MessageType>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
    },
    /// v1. Used again for new messages.
    TemplateActivated { template: String },
    /// v1. Not used for new messages.
    TemplateDeactivated { template: String },
    /// v1. Gone from lists; messages that were accepted with it are sent.
    TemplateDeleted { template: String },
}

/// How a person wants to be written to. One journal for each customer, supplier, user and contact, and one for a tenant's
/// defaults. Addresses are in the vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum PreferenceEvent {
    /// v1. What is not named stays.
    PreferencesChanged {
        /// Channels that are wanted, and those that are not.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        channels: BTreeMap<Channel, bool>,
        /// By which channels each type may come, the best first; none: the type is left to the defaults again.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        types: BTreeMap<MessageType, Option<Vec<Channel>>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        quiet_hours: Option<QuietHours>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        quiet_hours_lifted: bool,
        /// Channels whose preferred address changed; the addresses are in the vault.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        addresses: Vec<Channel>,
    },
    /// v1. Wants nothing more.
    OptedOut {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// v1. Agreed to be written to; `evidence`: how and where.
    OptedIn {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evidence: Option<String>,
    },
    /// v1. Must not be written to, whatever they want.
    DoNotContactSet {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// v1. May be written to again.
    DoNotContactLifted {},
}

/// A tenant's API keys, made and revoked. One journal for all of them. The keys themselves are nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum ApiKeyEvent {
    /// v1. `hash`: what it is found by.
    KeyCreated {
        key: String,
        hash: String,
        name: String,
        mode: Mode,
        role: Role,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        channels: Option<Vec<Channel>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
        /// The hashes of the only addresses that it may write to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        team: Option<Vec<String>>,
    },
    /// v1. Opens nothing any more.
    KeyRevoked { key: String },
}

macro_rules! names_of {
    ($events:ident: $($variant:ident),*) => {
        impl $events {
            /// Every type, in the order of the catalogue.
            pub const TYPES: &[&str] = &[$(stringify!($variant)),*];

            /// The type as stored.
            pub fn name(&self) -> &'static str {
                match self { $($events::$variant { .. } => stringify!($variant)),* }
            }
        }

        impl crate::EventFamily for $events {
            const TYPES: &[&str] = $events::TYPES;

            fn name(&self) -> &'static str {
                $events::name(self)
            }
        }
    };
}
names_of!(ProviderConfigEvent: ChannelAdded, ChannelChanged, ChannelRemoved, ChannelEnabled, ChannelDisabled, ChannelsOrdered);
names_of!(InboundMessageEvent: MessageReceived);
names_of!(ApiKeyEvent: KeyCreated, KeyRevoked);
names_of!(PreferenceEvent: PreferencesChanged, OptedOut, OptedIn, DoNotContactSet, DoNotContactLifted);
names_of!(
    TemplateEvent: TemplateCreated, TemplateRevised, TemplateDescribed, TemplateActivated, TemplateDeactivated, TemplateDeleted
);
