//! The facts: what happened, as stored. Everything here is read for ever.

mod api_key;
mod communication;
mod family;
mod id;
mod inbound_message;
mod preference;
mod provider_config;
mod rate_limit;
mod routing;
mod stored;
mod stream;
mod template;
mod time;

pub use api_key::ApiKeyEvent;
pub use communication::{
    AbandonReason, Attachment, CancelReason, Channel, DeadLetterReason, DeferReason, DoubtCause, DoubtPolicy,
    EntityRef, Event, Fact, FailReason, Fallback, FallbackReason, FallbackStep, MessageType, Mode, Outcome, Priority,
    QuietHours, Recipient, RecipientType, RefusalClass, Requested, ResolvedBy, Retention, Role, Source, SuppressReason,
    Template, Unless,
};
pub use family::EventFamily;
pub use id::{AttemptId, CommunicationId, IdError, TenantId};
pub use inbound_message::InboundMessageEvent;
pub use preference::PreferenceEvent;
pub use provider_config::ProviderConfigEvent;
pub use rate_limit::RateLimit;
pub use routing::RoutingEvent;
pub use stored::{DecodeError, EventMetadata, RecordedEvent, decode, encode};
pub use stream::{StreamId, StreamKind};
pub use template::TemplateEvent;
pub use time::Timestamp;

/// The event types of every kind of stream.
pub fn all_event_types() -> impl Iterator<Item = &'static str> {
    let families = [
        Event::TYPES,
        ProviderConfigEvent::TYPES,
        RoutingEvent::TYPES,
        InboundMessageEvent::TYPES,
        TemplateEvent::TYPES,
        PreferenceEvent::TYPES,
        ApiKeyEvent::TYPES,
    ];
    families.into_iter().flatten().map(|(name, _)| *name)
}
