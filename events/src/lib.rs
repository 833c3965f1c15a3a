//! The facts: what happened, as stored. Everything here is read for ever.

mod communication;
mod id;
mod stored;
mod time;
mod upcast;

pub use communication::{
    Attachment, CancelReason, Channel, DeadLetterReason, DoubtCause, DoubtPolicy, Entity, Event, Fact, FailReason,
    Mode, Outcome, Priority, QuietHours, Recipient, RecipientType, RefusalClass, Requested, ResolvedBy, Source,
    SuppressReason, Template,
};
pub use communication::{DeferReason, MessageType};
pub use id::{AttemptId, CommunicationId, IdError, TenantId};
pub use stored::{Meta, Recorded, StoredError, decode, encode};
pub use time::Timestamp;
pub use upcast::upcast;
