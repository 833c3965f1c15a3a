//! The events as stored, and their encoding. Every version that was ever written remains readable.

mod codec;
mod communication;
mod ids;
mod journal;
mod rate_limit;
mod time;
mod upcast;

pub use codec::{DecodeError, EventFamily, EventMetadata, Recorded, decode, encode};
pub use communication::{
    Attachment, CancelReason, Channel, CommunicationEvent, CommunicationRequest, DeadLetterReason, DeferReason,
    EntityRef, FailReason, Fallback, FallbackAbandonReason, FallbackCondition, FallbackStep, FallbackTrigger,
    InDoubtCause, InDoubtPolicy, MessageType, Mode, Priority, QuietHours, Recipient, RecipientType, RefusalClass,
    ReportedStatus, Resolution, ResolvedBy, RetentionClass, Role, Source, SuppressReason, TemplateRef,
};
pub use ids::{AttemptId, CommunicationId, IdError, TenantId};
pub use journal::{ApiKeyEvent, InboundMessageEvent, PreferenceEvent, ProviderConfigEvent, TemplateEvent};
pub use rate_limit::RateLimit;
pub use time::Timestamp;
pub use upcast::upcast;

/// The event types of all kinds of streams.
pub fn all_event_types() -> impl Iterator<Item = &'static str> {
    [
        CommunicationEvent::TYPES,
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
