use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Channel, RateLimit, event_family};

/// The limits that a tenant sets for itself, and the channels that it has paused. Each tenant has one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum TenantLimitsEvent {
    /// v1. These are all limits from now on. One that is absent does not apply.
    LimitsChanged {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        rate: Option<RateLimit>,
        /// The most that the messages of one day (UTC) may cost, by currency, in millionths.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        daily_spend_caps: BTreeMap<String, i64>,
    },
    /// v1. No attempt begins on this channel until it is resumed. What is due waits.
    SendingPaused { channel: Channel, reason: String },
    /// v1. What waited is sent again.
    SendingResumed { channel: Channel },
}

event_family!(TenantLimitsEvent { LimitsChanged: 1, SendingPaused: 1, SendingResumed: 1 });
