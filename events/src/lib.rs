//! The events as stored, and their encoding. Every version that was ever written remains readable.

mod api_key;
mod automation;
mod backfill;
mod business_event;
mod codec;
mod collections;
mod communication;
mod event_mapping;
mod family;
mod ids;
mod inbound_message;
mod invoice;
mod payment_link;
mod preference;
mod provider_config;
mod rate_limit;
mod routing;
mod schedule;
mod stream;
mod template;
mod tenant_limits;
mod time;
mod values;

pub use api_key::ApiKeyEvent;
pub use automation::{AutomationEvent, AutomationSettings};
pub use backfill::{BackfillEndReason, BackfillEvent, BackfillPlan, BackfillSteps};
pub use business_event::{ActOutcome, BusinessEventEvent, DataFault, EventClassification, IntakeChannel, ParkReason};
pub use codec::{DecodeError, EventMetadata, RecordedEvent, decode, encode};
pub use collections::{
    CollectionSettings, CollectionsEvent, DebtorEvent, LadderStep, NoticeDrop, NoticeEvent, NoticeGrouping,
    NoticeInvoice, NoticeMessage, StepMode, Weekday,
};
pub use communication::{
    Attachment, CommunicationEvent, CommunicationRequest, EntityRef, Fallback, FallbackStep, QuietHours, Recipient,
    Target, TemplateRef,
};
pub use event_mapping::{EventMapping, EventMappingEvent, FieldMapping, FieldReader, MappedType};
pub use family::EventFamily;
pub use ids::{AttemptId, CommunicationId, IdError, TenantId, derived_id};
pub use inbound_message::InboundMessageEvent;
pub use invoice::{
    CollectionCause, CollectionEndReason, FactSource, InvoiceDocument, InvoiceEvent, InvoiceKind, InvoiceRef,
    InvoiceSending, InvoiceStatus, InvoiceTerms, StepPostponeReason, StepSkipReason,
};
pub use payment_link::{LinkRevokeReason, PaymentLinkEvent};
pub use preference::PreferenceEvent;
pub use provider_config::ProviderConfigEvent;
pub use rate_limit::RateLimit;
pub use routing::RoutingEvent;
pub use schedule::{
    CatchUp, CatchUpPolicy, MissedReason, ScheduleAuthor, ScheduleEndReason, ScheduleEvent, ScheduleTiming,
    ScheduledMessage,
};
pub use stream::{StreamId, StreamKind};
pub use template::TemplateEvent;
pub use tenant_limits::TenantLimitsEvent;
pub use time::Timestamp;
pub use values::{
    CancelReason, Channel, DeadLetterReason, DeferReason, FailReason, FallbackAbandonReason, FallbackCondition,
    FallbackTrigger, InDoubtCause, InDoubtPolicy, MessageType, MissingFilePolicy, Mode, Priority, RecipientType,
    RefusalClass, ReportedStatus, Resolution, ResolvedBy, RetentionClass, Role, Source, SuppressReason,
};

/// The event types of all kinds of streams.
pub fn all_event_types() -> impl Iterator<Item = &'static str> {
    let families = [
        CommunicationEvent::TYPES,
        ProviderConfigEvent::TYPES,
        RoutingEvent::TYPES,
        InboundMessageEvent::TYPES,
        TemplateEvent::TYPES,
        PreferenceEvent::TYPES,
        ApiKeyEvent::TYPES,
        ScheduleEvent::TYPES,
        TenantLimitsEvent::TYPES,
        BusinessEventEvent::TYPES,
        InvoiceEvent::TYPES,
        CollectionsEvent::TYPES,
        DebtorEvent::TYPES,
        NoticeEvent::TYPES,
        BackfillEvent::TYPES,
        PaymentLinkEvent::TYPES,
        EventMappingEvent::TYPES,
        AutomationEvent::TYPES,
    ];
    families.into_iter().flatten().map(|(name, _)| *name)
}
