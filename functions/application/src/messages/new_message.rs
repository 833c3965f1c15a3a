//! A message as a caller describes it, and the faults it can have.

use domain::message::{Button, Location, MediaKind, ProviderTemplate};
use events::{
    Channel, EntityRef, FallbackCondition, InDoubtPolicy, MessageType, MissingFilePolicy, Priority, QuietHours,
    Recipient, RecipientType, RetentionClass, Source, Timestamp,
};
use serde::{Deserialize, Serialize};

/// A message to be accepted. Required values may still be missing: `compose` reports that, with every other fault.
/// Schedules store it, so fields keep their names, and a new field has a default.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NewMessage {
    pub channel: Option<ChannelChoice>,
    pub kind: Option<MessageType>,
    /// The address. `None` means the recipient's preferred one for the channel.
    pub to: Option<String>,
    /// `None` means a customer.
    pub recipient_type: Option<RecipientType>,
    pub recipient_id: Option<String>,
    pub recipient_name: Option<String>,
    pub content: NewContent,
    pub locale: Option<String>,
    pub attachments: Vec<AttachmentRef>,
    pub location: Option<Location>,
    pub buttons: Vec<Button>,
    /// The business record that the message is about.
    pub entity: Option<EntityRef>,
    pub scheduled_at: Option<Timestamp>,
    pub expires_at: Option<Timestamp>,
    pub priority: Option<Priority>,
    pub in_doubt: Option<InDoubtPolicy>,
    /// `None` means that it fails.
    pub on_missing_file: Option<MissingFilePolicy>,
    pub max_attempts: Option<u8>,
    pub quiet_hours: Option<QuietHours>,
    pub retention: Option<RetentionClass>,
    pub fallback: Vec<NewStep>,
    /// The caller's own data about the message, an object. It is not sent.
    pub metadata: Option<serde_json::Value>,
    /// `None` means the API.
    pub source: Option<Source>,
    /// The invoices that it speaks of. It is sent only while something is owed.
    pub unless_settled: Vec<String>,
    /// Why it has no document although one was wanted.
    pub without_document: Option<String>,
    /// The only provider configuration that may carry the message.
    pub via: Option<String>,
    pub idempotency_key: Option<IdempotencyKey>,
    /// A hash of the whole request. The same idempotency key with another fingerprint is refused.
    pub fingerprint: String,
    /// Faults that the caller found when it read the request, such as a field of the wrong type. They are reported with
    /// those that `compose` finds.
    #[serde(skip)]
    pub faults: Vec<Fault>,
}

/// The choice of a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ChannelChoice {
    /// The recipient's most preferred channel that can reach them.
    Auto,
    Fixed(Channel),
}

/// The text of a message, or the template it is rendered from.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NewContent {
    pub subject: Option<String>,
    pub text: Option<String>,
    /// A template's id or code.
    pub template: Option<String>,
    /// The template's variables, an object.
    pub variables: Option<serde_json::Value>,
    /// A template that the provider holds.
    pub provider_template: Option<ProviderTemplate>,
}

impl NewContent {
    /// The content of a fallback step. The message's values fill in those that the step does not have.
    pub(super) fn or(&self, message: &NewContent) -> NewContent {
        let has_own = self.text.is_some() || self.template.is_some();
        let (text, template) = if has_own { (&self.text, &self.template) } else { (&message.text, &message.template) };
        NewContent {
            subject: self.subject.clone().or_else(|| message.subject.clone()),
            text: text.clone(),
            template: template.clone(),
            variables: self.variables.clone().or_else(|| message.variables.clone()),
            provider_template: self.provider_template.clone().or_else(|| message.provider_template.clone()),
        }
    }
}

/// An attachment of a message: an uploaded file by its id, or a file at an address.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct AttachmentRef {
    pub attachment_id: Option<String>,
    pub filename: Option<String>,
    pub file_url: Option<String>,
    pub kind: Option<MediaKind>,
}

/// Another channel to try when the one before it has failed or was not delivered or read in time.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct NewStep {
    pub channel: Option<ChannelChoice>,
    /// `None` means the message's own number if both channels use phone numbers, or else the recipient's preferred
    /// address.
    pub to: Option<String>,
    pub content: NewContent,
    /// How long to wait for the channel before it, in milliseconds. `None` means until it has failed for good.
    pub after_ms: Option<i64>,
    /// `None` means unless delivered.
    pub unless: Option<FallbackCondition>,
}

/// A key that identifies one request, chosen by the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    pub const MAX_LENGTH: usize = 255;

    /// 1 to 255 visible ASCII characters and spaces. Spaces around it do not count.
    pub fn parse(text: &str) -> Option<IdempotencyKey> {
        let text = text.trim();
        let is_visible = text.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        let is_sound = !text.is_empty() && text.len() <= IdempotencyKey::MAX_LENGTH && is_visible;
        is_sound.then(|| IdempotencyKey(text.to_owned()))
    }

    /// The key of a message that a process sends. No caller can choose the same key, because it contains a character
    /// that [`IdempotencyKey::parse`] refuses.
    pub fn derived(parts: &[&str]) -> IdempotencyKey {
        IdempotencyKey(parts.join("\0"))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// One thing that is wrong with a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The fallback step with the fault. `None` means the message itself.
    pub step: Option<usize>,
    pub field: Field,
    /// A code for programs, such as `required`.
    pub code: &'static str,
    /// A sentence for people.
    pub detail: String,
}

/// The field with a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Field {
    Channel,
    Type,
    To,
    Subject,
    Content,
    Template,
    Variables,
    RecipientName,
    Locale,
    EntityType,
    ScheduledAt,
    ExpiresAt,
    /// The index of the attachment.
    Attachment(usize),
    AttachmentId(usize),
    AttachmentName(usize),
    AttachmentUrl(usize),
    Button(usize),
    /// `start`, `end` or `timeZone`.
    QuietHours(&'static str),
    Location,
    After,
    /// A place that only the caller knows, such as an unknown field: a pointer into its own input.
    Input(String),
}

/// Collects faults.
#[derive(Debug, Default)]
pub(super) struct Faults {
    all: Vec<Fault>,
    step: Option<usize>,
}

impl Faults {
    pub fn new(found_before: Vec<Fault>) -> Self {
        Faults { all: found_before, step: None }
    }

    /// Faults that are added from now on belong to this step.
    pub fn in_step(&mut self, step: Option<usize>) {
        self.step = step;
    }

    pub fn add(&mut self, field: Field, code: &'static str, detail: impl Into<String>) {
        self.all.push(Fault { step: self.step, field, code, detail: detail.into() });
    }

    /// Adds a fault if the value is missing.
    pub fn required<T>(&mut self, value: Option<T>, field: Field, name: &str) -> Option<T> {
        if value.is_none() {
            self.add(field, "required", format!("{name} is required."));
        }
        value
    }

    /// Whether the message itself has this fault already: its steps inherit it.
    pub fn has_inherited(&self, field: &Field, code: &str) -> bool {
        let same = |fault: &Fault| fault.step.is_none() && fault.field == *field && fault.code == code;
        self.step.is_some() && self.all.iter().any(same)
    }

    pub fn finish(self) -> Result<(), Vec<Fault>> {
        if self.all.is_empty() { Ok(()) } else { Err(self.all) }
    }
}

impl NewMessage {
    /// A recipient of no named type is a customer.
    pub(super) fn recipient(&self) -> Recipient {
        let kind = self.recipient_type.unwrap_or(RecipientType::Customer);
        Recipient { kind, id: self.recipient_id.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idempotency_key_is_visible_and_short() {
        assert_eq!(
            IdempotencyKey::parse(" invoice-1234/send ").as_ref().map(IdempotencyKey::as_str),
            Some("invoice-1234/send")
        );
        for wrong in ["", "   ", "a\u{0}b", "ñ", &"k".repeat(256)] {
            assert_eq!(IdempotencyKey::parse(wrong), None, "{wrong}");
        }
    }
}
