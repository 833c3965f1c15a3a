use serde::{Deserialize, Serialize};

use crate::{Channel, MessageType, event_family};

/// A tenant's decisions about one template. Each template has its own stream. The content of a version is a document
/// that never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", content = "data")]
pub enum TemplateEvent {
    /// v1. A template for a code, a channel and a locale was created. Its first version follows in the same append.
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
    /// v1. The template has new content, named by its hash `text`. Messages keep the version that they were accepted
    /// with.
    TemplateRevised { template: String, version: u32, text: String, variables: Vec<String> },
    /// v1. The description was changed. Absent fields did not change.
    TemplateDescribed {
        template: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kind: Option<MessageType>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        description: Option<String>,
    },
    /// v1. New messages may use it again.
    TemplateActivated { template: String },
    /// v1. New messages no longer use it.
    TemplateDeactivated { template: String },
    /// v1. A draft of the next version was saved, with its content named by the hash `text`. It replaces the draft
    /// before it, and no message uses it. `base` is the version that it was written from.
    TemplateDrafted { template: String, draft: u32, base: u32, text: String },
    /// v1. There is no draft any more.
    TemplateDraftDiscarded { template: String },
    /// v1. The sample data of previews was replaced. `samples` is the hash of its document.
    TemplateSamplesChanged { template: String, samples: String },
    /// v1. It is no longer listed. Messages that were accepted with it are still sent.
    TemplateDeleted { template: String },
}

event_family!(TemplateEvent {
    TemplateCreated: 1,
    TemplateRevised: 1,
    TemplateDescribed: 1,
    TemplateActivated: 1,
    TemplateDeactivated: 1,
    TemplateDrafted: 1,
    TemplateDraftDiscarded: 1,
    TemplateSamplesChanged: 1,
    TemplateDeleted: 1,
});
