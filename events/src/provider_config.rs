use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Channel, RateLimit, event_family};

/// A tenant's decisions about one provider configuration: one of its own, or one of the deployment's that it disabled.
/// Each configuration has its own stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum ProviderConfigEvent {
    /// v1. A configuration of the tenant's own was added. Its credentials are encrypted in the vault as version
    /// `secret`. `secret_id` is the random part of their name there, which older events do not have.
    ChannelAdded {
        config: String,
        provider: String,
        channel: Channel,
        name: String,
        settings: BTreeMap<String, String>,
        secret: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        secret_id: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rate: Option<RateLimit>,
    },
    /// v1. The configuration was changed. Absent fields did not change.
    ChannelChanged {
        config: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        settings: Option<BTreeMap<String, String>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        secret: Option<u32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        secret_id: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rate: Option<RateLimit>,
    },
    /// v1. The configuration was deleted. Messages that were sent by it keep its id.
    ChannelRemoved { config: String },
    /// v1. The tenant's messages may use it again.
    ChannelEnabled { config: String },
    /// v1. The tenant's messages no longer use it.
    ChannelDisabled { config: String },
}

event_family!(ProviderConfigEvent {
    ChannelAdded: 1,
    ChannelChanged: 1,
    ChannelRemoved: 1,
    ChannelEnabled: 1,
    ChannelDisabled: 1,
});
