use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Channel, MessageType, QuietHours, event_family};

/// How a person wants to be contacted. One stream for each customer, supplier, user and contact, and one for a tenant's
/// defaults. Addresses are in the vault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum PreferenceEvent {
    /// v1. Preferences were changed. Absent fields did not change.
    PreferencesChanged {
        /// Whether each channel is wanted.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        channels: BTreeMap<Channel, bool>,
        /// Channels that are wanted or not as by default again.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        channels_reset: Vec<Channel>,
        /// The allowed channels of each type, the preferred one first. Null resets the type to the defaults.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        types: BTreeMap<MessageType, Option<Vec<Channel>>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        quiet_hours: Option<QuietHours>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        quiet_hours_lifted: bool,
        /// Channels whose preferred address changed. The addresses are in the vault.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        addresses: Vec<Channel>,
    },
    /// v1. The person wants no more messages.
    OptedOut {
        /// Text that is not personal. Early events have the person's own here.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// The id of the text in the vault.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text_id: Option<String>,
    },
    /// v1. The person agreed to be contacted. `evidence` describes how and where.
    OptedIn {
        /// Text that is not personal. Early events have the person's own here.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evidence: Option<String>,
        /// The id of the text in the vault.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text_id: Option<String>,
    },
    /// v1. The tenant decided that the person must not be contacted, whatever the person wants.
    DoNotContactSet {
        /// Only early events have the text here.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// The id of the text in the vault.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        text_id: Option<String>,
    },
    /// v1. The person may be contacted again.
    DoNotContactLifted {},
}

event_family!(PreferenceEvent {
    PreferencesChanged: 1,
    OptedOut: 1,
    OptedIn: 1,
    DoNotContactSet: 1,
    DoNotContactLifted: 1,
});
