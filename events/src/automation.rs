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
    /// Where customers pay: a link leads to this address and `/pay/` with its token. Only for payment links.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment_url: Option<String>,
    /// Whether an invoice without a document of its own is printed from its lines.
    #[serde(skip_serializing_if = "is_default")]
    pub render_invoices: bool,
    /// Whether an invoice is not sent without its document.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub document_required: bool,
}

/// Whether invoices are printed, which is not stored.
fn is_default(renders: &bool) -> bool {
    *renders
}

impl Default for AutomationSettings {
    fn default() -> Self {
        AutomationSettings {
            enabled: true,
            channels: None,
            template: None,
            payment_url: None,
            render_invoices: true,
            document_required: false,
        }
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
