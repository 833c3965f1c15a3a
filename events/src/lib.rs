//! The facts: what happened, as stored. Everything here is read for ever.

mod communication;
mod id;
mod journal;
mod stored;
mod time;
mod upcast;

pub use communication::{
    AbandonReason, Attachment, CancelReason, Channel, DeadLetterReason, DeferReason, DoubtCause, DoubtPolicy, Entity,
    Event, Fact, FailReason, Fallback, FallbackReason, FallbackStep, MessageType, Mode, Outcome, Priority, QuietHours,
    Recipient, RecipientType, RefusalClass, Requested, ResolvedBy, Retention, Role, Source, SuppressReason, Template,
    Unless,
};
pub use id::{AttemptId, CommunicationId, IdError, TenantId};
pub use journal::{CallRate, ChannelEvent, InboundEvent, KeyEvent, PreferenceEvent, TemplateEvent};
pub use stored::{Meta, Recorded, Stored, StoredError, decode, encode};
pub use time::Timestamp;
pub use upcast::upcast;

/// The types of every kind of stream.
pub fn all_types() -> impl Iterator<Item = &'static str> {
    [
        Event::TYPES,
        ChannelEvent::TYPES,
        InboundEvent::TYPES,
        TemplateEvent::TYPES,
        PreferenceEvent::TYPES,
        KeyEvent::TYPES,
    ]
    .into_iter()
    .flatten()
    .copied()
}
