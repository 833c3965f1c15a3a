//! The facts: what happened, as stored. Everything here is read for ever.

mod communication;
mod id;
mod journal;
mod rate_limit;
mod stored;
mod time;
mod upcast;

pub use communication::{
    AbandonReason, Attachment, CancelReason, Channel, DeadLetterReason, DeferReason, DoubtCause, DoubtPolicy,
    EntityRef, Event, Fact, FailReason, Fallback, FallbackReason, FallbackStep, MessageType, Mode, Outcome, Priority,
    QuietHours, Recipient, RecipientType, RefusalClass, Requested, ResolvedBy, Retention, Role, Source, SuppressReason,
    Template, Unless,
};
pub use id::{AttemptId, CommunicationId, IdError, TenantId};
pub use journal::{ApiKeyEvent, InboundMessageEvent, PreferenceEvent, ProviderConfigEvent, TemplateEvent};
pub use rate_limit::RateLimit;
pub use stored::{DecodeError, EventFamily, EventMetadata, Recorded, decode, encode};
pub use time::Timestamp;
pub use upcast::upcast;

/// The types of every kind of stream.
pub fn all_event_types() -> impl Iterator<Item = &'static str> {
    [
        Event::TYPES,
        ProviderConfigEvent::TYPES,
        InboundMessageEvent::TYPES,
        TemplateEvent::TYPES,
        PreferenceEvent::TYPES,
        ApiKeyEvent::TYPES,
    ]
    .into_iter()
    .flatten()
    .copied()
}
