use serde::{Deserialize, Serialize};

use crate::{Channel, MessageType, event_family};

/// How business events send messages of one type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AutomationSettings {
    pub enabled: bool,
    /// The channels for recipients who have not chosen any, in order. Absent means the type's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<Vec<Channel>>,
    /// The code of the template. Absent means the one that is named as the type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
}

impl Default for AutomationSettings {
    fn default() -> Self {
        AutomationSettings { enabled: true, channels: None, template: None }
    }
}

/// A tenant's decisions about the messages of one type that business events send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum AutomationEvent {
    /// v1. These settings apply from now on.
    AutomationChanged { kind: MessageType, revision: u32, settings: AutomationSettings },
}

event_family!(AutomationEvent { AutomationChanged: 1 });
