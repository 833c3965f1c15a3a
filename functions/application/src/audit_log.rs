//! Who changed what in the tenant's account: the events of its streams, and the recorded actions that have no stream.

use domain::access::{Permission, Reach};
use domain::address;
use domain::aggregate::{Aggregate, AggregateKey};
use domain::api_key::ApiKeyState;
use domain::business_event::{AutomationState, MappingState};
use domain::collect::{BackfillState, CollectionsState};
use domain::ports::{EventStore, Listed, StoreError, Stream};
use domain::preferences::{DEFAULTS, Preferences};
use domain::provider_configs::{ProviderConfigState, Routing};
use domain::schedule::ScheduleState;
use domain::templates::TemplateState;
use domain::tenant_limits::{LIMITS, TenantLimits};
use events::{
    ApiKeyEvent, AutomationEvent, BackfillEvent, Channel, CollectionsEvent, EventMappingEvent, EventMetadata,
    PreferenceEvent, ProviderConfigEvent, RecordedEvent, RoutingEvent, ScheduleEvent, StreamId, TemplateEvent,
    TenantId, TenantLimitsEvent, Timestamp,
};

use crate::actions::{self, Action, RecordedAction};
use crate::app::App;
use crate::caller::{Caller, Forbidden};
use crate::execute::history_of_stream;
use crate::invoices::settings_stream;
use crate::suppressions::address_key;

/// Maximum number of entries: the newest.
const MAX_ENTRIES: usize = 500;

/// A subject whose changes are the events of streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamSubject {
    Keys,
    Channels,
    Templates,
    Schedules,
    EventMappings,
    Automations,
    Defaults,
    Limits,
    Collections,
}

impl StreamSubject {
    const ALL: [StreamSubject; 9] = [
        StreamSubject::Keys,
        StreamSubject::Channels,
        StreamSubject::Templates,
        StreamSubject::Schedules,
        StreamSubject::EventMappings,
        StreamSubject::Automations,
        StreamSubject::Defaults,
        StreamSubject::Limits,
        StreamSubject::Collections,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            StreamSubject::Keys => "keys",
            StreamSubject::Channels => "channels",
            StreamSubject::Templates => "templates",
            StreamSubject::Schedules => "schedules",
            StreamSubject::EventMappings => "event_mappings",
            StreamSubject::Automations => "automations",
            StreamSubject::Defaults => "defaults",
            StreamSubject::Limits => "limits",
            StreamSubject::Collections => "collections",
        }
    }
}

/// Subjects whose changes are recorded actions.
const ACTION_SUBJECTS: [&str; 5] = ["suppressions", "subjects", "business_events", "debtors", "invoices"];

/// All subjects.
pub fn subjects() -> Vec<&'static str> {
    StreamSubject::ALL.map(StreamSubject::as_str).into_iter().chain(ACTION_SUBJECTS).collect()
}

/// Why the audit log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum AuditLogError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Selects entries.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// One of [`subjects`].
    pub subject: Option<String>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    /// An address: only actions about it.
    pub contact: Option<String>,
    /// Who acted, such as `key:billing`.
    pub actor: Option<String>,
}

/// One change.
#[derive(Debug, Clone)]
pub enum AuditEntry {
    Action(RecordedAction),
    /// An event of a stream, with its position in the stream.
    Event {
        subject: StreamSubject,
        /// The id of the stream, which is that of the thing in its subject.
        id: String,
        position: usize,
        event: Box<AuditedEvent>,
    },
}

/// An event of one of the audited kinds of streams.
#[derive(Debug, Clone)]
pub enum AuditedEvent {
    Key(RecordedEvent<ApiKeyEvent>),
    Channel(RecordedEvent<ProviderConfigEvent>),
    Routing(RecordedEvent<RoutingEvent>),
    Template(RecordedEvent<TemplateEvent>),
    Schedule(Box<RecordedEvent<ScheduleEvent>>),
    EventMapping(Box<RecordedEvent<EventMappingEvent>>),
    Automation(RecordedEvent<AutomationEvent>),
    Defaults(RecordedEvent<PreferenceEvent>),
    Limits(RecordedEvent<TenantLimitsEvent>),
    Collections(Box<RecordedEvent<CollectionsEvent>>),
    Backfill(RecordedEvent<BackfillEvent>),
}

impl AuditEntry {
    fn actor(&self) -> &str {
        match self {
            AuditEntry::Action(action) => &action.actor,
            AuditEntry::Event { event, .. } => &event.meta().actor,
        }
    }
}

impl AuditedEvent {
    fn meta(&self) -> &EventMetadata {
        match self {
            AuditedEvent::Key(record) => &record.meta,
            AuditedEvent::Channel(record) => &record.meta,
            AuditedEvent::Routing(record) => &record.meta,
            AuditedEvent::Template(record) => &record.meta,
            AuditedEvent::Schedule(record) => &record.meta,
            AuditedEvent::EventMapping(record) => &record.meta,
            AuditedEvent::Automation(record) => &record.meta,
            AuditedEvent::Defaults(record) => &record.meta,
            AuditedEvent::Limits(record) => &record.meta,
            AuditedEvent::Collections(record) => &record.meta,
            AuditedEvent::Backfill(record) => &record.meta,
        }
    }
}

/// The newest entries, newest first.
#[derive(Debug, Clone)]
pub struct AuditLog {
    pub entries: Vec<AuditEntry>,
    /// Whether these are all that match.
    pub is_complete: bool,
}

/// # Errors
///
/// [`AuditLogError`]
pub async fn list(app: &App, caller: &Caller, filter: &AuditFilter) -> Result<AuditLog, AuditLogError> {
    caller.authorise(Permission::Keys, Reach::Everything)?;
    let AuditFilter { subject: selected, from, to, contact, actor } = filter;
    let tenant = &caller.principal.tenant;
    let is_subject = |subject: &str| selected.as_deref().is_none_or(|selected| selected == subject);
    let hashes = contact.as_ref().map(|contact| possible_hashes(app, tenant, contact));
    let is_about = |action: &Action| match &hashes {
        Some(hashes) => action.contact_hash().is_some_and(|hash| hashes.iter().any(|known| known == hash)),
        None => true,
    };
    let is_by = |by: &str| actor.as_deref().is_none_or(|actor| actor == by);
    let is_selected = |recorded: &RecordedAction| {
        is_subject(recorded.action.subject()) && is_about(&recorded.action) && is_by(&recorded.actor)
    };
    let recorded = actions::list(app, caller, (*from, *to), MAX_ENTRIES + 1, is_selected).await?;
    let mut all: Vec<(Timestamp, AuditEntry)> =
        recorded.into_iter().map(|(at, action)| (at, AuditEntry::Action(action))).collect();
    for subject in StreamSubject::ALL.into_iter().filter(|it| is_subject(it.as_str()) && hashes.is_none()) {
        all.extend(events_of(&*app.store, tenant, subject).await?);
    }
    all.retain(|(at, entry)| {
        from.is_none_or(|from| from <= *at) && to.is_none_or(|to| *at < to) && is_by(entry.actor())
    });
    all.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    let is_complete = all.len() <= MAX_ENTRIES;
    let entries = all.into_iter().take(MAX_ENTRIES).map(|(_, entry)| entry).collect();
    Ok(AuditLog { entries, is_complete })
}

/// The hashes of an address whose channel is not known.
fn possible_hashes(app: &App, tenant: &TenantId, contact: &str) -> Vec<String> {
    let hash = |channel: &Channel| {
        let address = address::normalise(*channel, contact, None).ok()?;
        Some(address_key(app, tenant, *channel, &address).contact_hash)
    };
    Channel::ALL.iter().filter_map(hash).collect()
}

async fn events_of(
    store: &dyn EventStore,
    tenant: &TenantId,
    subject: StreamSubject,
) -> Result<Vec<(Timestamp, AuditEntry)>, StoreError> {
    match subject {
        StreamSubject::Keys => events_of_kind::<ApiKeyState>(store, tenant, subject, AuditedEvent::Key).await,
        StreamSubject::Schedules => {
            let audited = |record| AuditedEvent::Schedule(Box::new(record));
            let mut events = events_of_kind::<ScheduleState>(store, tenant, subject, audited).await?;
            // These were recorded by the scheduler, not decided by a caller.
            events.retain(|(_, entry)| !is_missed(entry));
            Ok(events)
        }
        StreamSubject::EventMappings => {
            let audited = |record| AuditedEvent::EventMapping(Box::new(record));
            events_of_kind::<MappingState>(store, tenant, subject, audited).await
        }
        StreamSubject::Automations => {
            events_of_kind::<AutomationState>(store, tenant, subject, AuditedEvent::Automation).await
        }
        StreamSubject::Templates => {
            events_of_kind::<TemplateState>(store, tenant, subject, AuditedEvent::Template).await
        }
        StreamSubject::Channels => {
            let mut events =
                events_of_kind::<ProviderConfigState>(store, tenant, subject, AuditedEvent::Channel).await?;
            events.extend(events_of_kind::<Routing>(store, tenant, subject, AuditedEvent::Routing).await?);
            Ok(events)
        }
        StreamSubject::Defaults => {
            let id = StreamId::new(tenant, Preferences::KIND, DEFAULTS);
            let stream = store.read(&id).await?;
            events_of_stream::<Preferences>(store, &id, &stream, subject, AuditedEvent::Defaults).await
        }
        StreamSubject::Limits => {
            let id = StreamId::new(tenant, TenantLimits::KIND, LIMITS);
            let stream = store.read(&id).await?;
            events_of_stream::<TenantLimits>(store, &id, &stream, subject, AuditedEvent::Limits).await
        }
        StreamSubject::Collections => {
            let id = settings_stream(tenant).stream_id();
            let stream = store.read(&id).await?;
            let audited = |record| AuditedEvent::Collections(Box::new(record));
            let mut events = events_of_stream::<CollectionsState>(store, &id, &stream, subject, audited).await?;
            let backfills = events_of_kind::<BackfillState>(store, tenant, subject, AuditedEvent::Backfill).await?;
            events.extend(backfills);
            events.retain(|(_, entry)| !is_page(entry));
            Ok(events)
        }
    }
}

fn is_missed(entry: &AuditEntry) -> bool {
    let AuditEntry::Event { event, .. } = entry else { return false };
    matches!(&**event, AuditedEvent::Schedule(record) if matches!(record.event, ScheduleEvent::OccurrencesMissed { .. }))
}

/// Whether an entry was recorded by a running backfill, or as a part of its confirmation, and not decided by a caller.
fn is_page(entry: &AuditEntry) -> bool {
    let AuditEntry::Event { event, .. } = entry else { return false };
    match &**event {
        AuditedEvent::Backfill(record) => {
            matches!(record.event, BackfillEvent::BackfillPagePlanned { .. } | BackfillEvent::BackfillPageDone { .. })
        }
        AuditedEvent::Collections(record) => matches!(record.event, CollectionsEvent::BackfillClaimed { .. }),
        _ => false,
    }
}

/// The events of all streams of one kind that the tenant has ever had.
async fn events_of_kind<A: Aggregate>(
    store: &dyn EventStore,
    tenant: &TenantId,
    subject: StreamSubject,
    audited: fn(RecordedEvent<A::Event>) -> AuditedEvent,
) -> Result<Vec<(Timestamp, AuditEntry)>, StoreError> {
    let mut events = Vec::new();
    for (id, stream) in store.list(tenant, &[A::KIND], Listed::Ever).await? {
        events.extend(events_of_stream::<A>(store, &id, &stream, subject, audited).await?);
    }
    Ok(events)
}

async fn events_of_stream<A: Aggregate>(
    store: &dyn EventStore,
    id: &StreamId,
    stream: &Stream,
    subject: StreamSubject,
    audited: fn(RecordedEvent<A::Event>) -> AuditedEvent,
) -> Result<Vec<(Timestamp, AuditEntry)>, StoreError> {
    let records = history_of_stream::<A::Event>(store, id, stream).await?;
    let entry = |(index, record): (usize, RecordedEvent<A::Event>)| {
        let event = |record| AuditEntry::Event {
            subject,
            id: id.id.clone(),
            position: index + 1,
            event: Box::new(audited(record)),
        };
        (record.meta.at, event(record))
    };
    Ok(records.into_iter().enumerate().map(entry).collect())
}
