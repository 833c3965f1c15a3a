//! The events as stored, and their encoding. Every version that was ever written remains readable.

mod codec;
mod communication;
mod ids;
mod journal;
mod rate_limit;
mod time;
mod upcast;
mod values;

pub use codec::{DecodeError, EventFamily, EventMetadata, Recorded, decode, encode};
pub use communication::{
    Attachment, CommunicationEvent, CommunicationRequest, EntityRef, Fallback, FallbackStep, QuietHours, Recipient,
    TemplateRef,
};
pub use ids::{AttemptId, CommunicationId, IdError, TenantId};
pub use journal::{ApiKeyEvent, InboundMessageEvent, PreferenceEvent, ProviderConfigEvent, TemplateEvent};
pub use rate_limit::RateLimit;
pub use time::Timestamp;
pub use upcast::upcast;
pub use values::{
    CancelReason, Channel, DeadLetterReason, DeferReason, FailReason, FallbackAbandonReason, FallbackCondition,
    FallbackTrigger, InDoubtCause, InDoubtPolicy, MessageType, Mode, Priority, RecipientType, RefusalClass,
    ReportedStatus, Resolution, ResolvedBy, RetentionClass, Role, Source, SuppressReason,
};

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
