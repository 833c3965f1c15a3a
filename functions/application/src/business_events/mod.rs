//! Use cases of business events, which other business systems send.

mod documents;
mod erasure;
mod facts;
mod handling;
mod links;
mod message;
mod perform;
pub mod persons;
mod read;
mod run;
mod send_invoice;
mod sendings;
mod settings;
mod stored;

use domain::access::{Permission, Reach};
use domain::aggregate::{AggregateId, AggregateKey};
use domain::business_event::{
    BusinessEvent, BusinessEventState, Command, EventData, EventStatus, Interpretation, Interpreted, Received,
    Rejection, interpret,
};
use domain::ports::StoreError;
use domain::{address, data_subject};
use events::{
    Channel, DataFault, EventClassification, IntakeChannel, Mode, ParkReason, Recipient, StreamId, TenantId, Timestamp,
    derived_id,
};

use serde_json::Value;

pub use erasure::{EraseError, erase, of_subject};
pub use read::{Replayed, discard, find, history, list, raw, replay, replay_many};
pub use run::run;
pub use send_invoice::{SendInvoiceError, SentInvoice, send_invoice};
pub use sendings::run_sendings;
pub use settings::{
    FoundMapping, SettingsError, change_automation, find_mapping, list_automations, set_mapping, try_mapping,
};
pub use stored::StoredEvent;

use crate::app::App;
use crate::caller::{Caller, Forbidden};
use crate::execute::{self, ExecuteError, Loaded};
use crate::hash::{contact_hash, hash_of};
use crate::hint;
use crate::process::ProcessError;

/// An event that occurred longer ago is not handled, in milliseconds.
const MAX_AGE_MS: i64 = 400 * 24 * 3_600_000;
/// An event of a later time is not handled, in milliseconds from now: what it says would be the newest until then.
const MAX_AHEAD_MS: i64 = 24 * 3_600_000;

/// An event as its source sent it.
#[derive(Debug, Clone)]
pub struct NewEvent {
    pub source: String,
    /// The id that the source gave it.
    pub event_id: String,
    /// `None` means now.
    pub occurred_at: Option<Timestamp>,
    pub via: IntakeChannel,
    pub stored: StoredEvent,
}

/// Why a use case of business events had no effect.
#[derive(Debug, thiserror::Error)]
pub enum BusinessEventError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("there is no such event")]
    NotFound,
    /// The data does not match the schema of its type.
    #[error("the event is not valid")]
    Invalid(Vec<DataFault>),
    /// The data of the event is erased or has expired.
    #[error("the data of the event is no longer there")]
    NoData,
    #[error(transparent)]
    Execute(#[from] ExecuteError<Rejection>),
    #[error(transparent)]
    Process(#[from] ProcessError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An event that is stored, now or before.
#[derive(Debug, Clone)]
pub struct Taken {
    pub id: String,
    pub event: BusinessEvent,
    /// An earlier request stored the same event, and this one changed nothing.
    pub is_replay: bool,
}

fn stream(tenant: &TenantId, id: &str) -> AggregateId<BusinessEventState> {
    AggregateId::new(tenant, id)
}

/// The id of the event that a source calls `event_id`.
pub fn id_of(tenant: &TenantId, mode: Mode, source: &str, event_id: &str) -> String {
    derived_id("bev", tenant, &["event", mode.as_str(), source, event_id])
}

/// How an event is understood by the mapping of now.
struct Understood {
    interpreted: Interpreted,
    mapping: Option<u32>,
    /// The system whose ids of invoices its are. `None` means the source.
    namespace: Option<String>,
    /// The data subject that it is about.
    subject: Option<String>,
    mentions: Vec<String>,
}

async fn understand(
    app: &App,
    tenant: &TenantId,
    source: &str,
    StoredEvent { kind, version, data }: &StoredEvent,
) -> Result<Understood, StoreError> {
    let found = settings::mapping_of(app, tenant, source).await?;
    let mapping = found.as_ref().map(|found| &found.mapping);
    let interpreted = interpret(mapping, (kind, *version), data, &settings::zone_of(mapping));
    let (subject, mentions) = match &interpreted.meaning {
        Interpretation::Known(data) => (subject_of(app, tenant, data), data.mentions()),
        // What is not valid is found by the invoice that it seems to be about.
        Interpretation::Invalid(_) => (None, seeming_mentions(&interpreted.mapped)),
        Interpretation::Unknown | Interpretation::NewerVersion => (None, Vec::new()),
    };
    let namespace = mapping.and_then(|mapping| mapping.namespace.clone());
    Ok(Understood { interpreted, mapping: found.and_then(|found| found.version), namespace, subject, mentions })
}

/// The ids and numbers of invoices in data that is not valid, unless they could be something else.
fn seeming_mentions(data: &Value) -> Vec<String> {
    let is_plain = |text: &&str| {
        (1..=100).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_/.".contains(&b))
    };
    let places = ["/sale/number", "/sale/id", "/invoice/number", "/invoice/id", "/invoice"];
    let named = places.iter().filter_map(|at| data.pointer(at)?.as_str()).filter(is_plain);
    named.map(str::to_owned).collect()
}

/// The person whom an event is about: by id, or else by the first of their addresses.
fn subject_of(app: &App, tenant: &TenantId, data: &EventData) -> Option<String> {
    let (kind, contact) = data.person()?;
    if let Some(named) = data_subject::of_recipient(&Recipient { kind, id: contact.id.clone() }) {
        return Some(named);
    }
    let person = domain::business_event::Person::default().with(&contact);
    let normal =
        |channel: &Channel| person.address(*channel).and_then(|text| address::normalise(*channel, text, None).ok());
    let address = Channel::ALL.iter().find_map(normal)?;
    Some(data_subject::of_address(&contact_hash(&app.contact_key, tenant, &address)))
}

impl Understood {
    fn classification(&self, version: u16, content: String) -> EventClassification {
        EventClassification {
            kind: self.interpreted.kind.clone(),
            version,
            mapping: self.mapping,
            subject: self.subject.clone(),
            mentions: self.mentions.clone(),
            content,
        }
    }
}

/// Whether an event occurs more than a day from now, or speaks of a state of then.
fn is_in_future(meaning: &Interpretation, occurred_at: Option<Timestamp>, now: Timestamp) -> bool {
    let as_of = match meaning {
        Interpretation::Known(data) => data.as_of(),
        Interpretation::Unknown | Interpretation::NewerVersion | Interpretation::Invalid(_) => None,
    };
    [occurred_at, as_of].into_iter().flatten().any(|at| now + MAX_AHEAD_MS < at)
}

/// Stores an event. From then on it is not lost: its timer has it handled. What is wrong with an event of HTTP is told
/// to its caller; one from the bus is parked, because nobody waits for an answer.
///
/// # Errors
///
/// [`BusinessEventError`]: nothing was stored, except where the outcome is unknown.
pub async fn receive(app: &App, caller: &Caller, new: NewEvent) -> Result<Taken, BusinessEventError> {
    caller.authorise(Permission::Integrate, Reach::Everything)?;
    let tells = new.via == IntakeChannel::Http;
    let understood = understand(app, &caller.principal.tenant, &new.source, &new.stored).await?;
    let now = app.host.now();
    let age = new.occurred_at.map_or(0, |at| now.millis_since(at));
    let park = match &understood.interpreted.meaning {
        Interpretation::Invalid(faults) if tells => return Err(BusinessEventError::Invalid(faults.clone())),
        Interpretation::Invalid(faults) => Some((ParkReason::Invalid, faults.clone())),
        Interpretation::NewerVersion => Some((ParkReason::UnknownVersion, Vec::new())),
        Interpretation::Known(_) | Interpretation::Unknown if MAX_AGE_MS < age => {
            Some((ParkReason::TooOld, Vec::new()))
        }
        meaning if is_in_future(meaning, new.occurred_at, now) => Some((ParkReason::InFuture, Vec::new())),
        Interpretation::Known(_) | Interpretation::Unknown => None,
    };
    match store(app, caller, new.clone(), &understood, park).await {
        Err(BusinessEventError::Execute(ExecuteError::Rejected(Rejection::IdReused))) if !tells => {
            // The first body stands. The second is an event of its own, for a person to look at.
            let hash = hash_of(&(&new.stored, new.occurred_at))?;
            let new = NewEvent { event_id: format!("{} ({hash})", new.event_id), ..new };
            store(app, caller, new, &understood, Some((ParkReason::IdReused, Vec::new()))).await
        }
        stored => stored,
    }
}

/// Stores an event that cannot be handled, for a person to look at. Its data is not read.
///
/// # Errors
///
/// As [`receive`].
pub async fn park_unread(
    app: &App,
    caller: &Caller,
    new: NewEvent,
    reason: ParkReason,
    faults: Vec<DataFault>,
) -> Result<Taken, BusinessEventError> {
    caller.authorise(Permission::Integrate, Reach::Everything)?;
    let interpreted =
        Interpreted { kind: new.stored.kind.clone(), meaning: Interpretation::Unknown, mapped: Value::Null };
    let understood = Understood { interpreted, mapping: None, namespace: None, subject: None, mentions: Vec::new() };
    store(app, caller, new, &understood, Some((reason, faults))).await
}

/// The JSON Pointer to a source's own ids, from its mapping.
///
/// # Errors
///
/// [`StoreError`]
pub async fn id_pointer(app: &App, tenant: &TenantId, source: &str) -> Result<Option<String>, StoreError> {
    Ok(settings::mapping_of(app, tenant, source).await?.and_then(|found| found.mapping.id_at))
}

/// Writes to the vault and to the stream, in this order: a crash in between leaves no event without its data.
async fn store(
    app: &App,
    caller: &Caller,
    new: NewEvent,
    understood: &Understood,
    park: Option<(ParkReason, Vec<DataFault>)>,
) -> Result<Taken, BusinessEventError> {
    let (tenant, mode) = (&caller.principal.tenant, caller.principal.mode);
    let NewEvent { source, event_id, occurred_at, via, stored } = new;
    let id = id_of(tenant, mode, &source, &event_id);
    let body_hash = hash_of(&(&stored, occurred_at))?;
    let key = stream(tenant, &id);
    let loaded = execute::load(&*app.store, &key).await?;
    let now = app.host.now();
    let content = stored::content_name(understood.subject.as_deref(), &id, &body_hash);
    if loaded.state.event.is_none() {
        stored::put(&*app.tenant_ports.documents, tenant, &content, &stored, now).await?;
    }
    let classification = understood.classification(stored.version, content);
    let occurred_at = occurred_at.unwrap_or(now);
    let received = Box::new(Received { source, event_id, occurred_at, body_hash, via, mode, classification });
    let command = match park {
        None => Command::Receive(received),
        Some((reason, faults)) => Command::ReceiveParked(received, reason, faults),
    };
    let loaded = app.executor(&caller.context()).execute_loaded(&key, loaded, command).await?;
    let is_replay = loaded.appended == 0;
    report_parked(&key.stream_id(), &loaded);
    let event = *loaded.state.event.ok_or(BusinessEventError::NotFound)?;
    Ok(Taken { id, event, is_replay })
}

/// Counts an event that was just parked, for the alarm of the deployment.
fn report_parked(id: &StreamId, loaded: &Loaded<BusinessEventState>) {
    let status = loaded.state.event.as_ref().map(|event| event.status).filter(|_| loaded.appended > 0);
    if let Some(EventStatus::Parked(reason)) = status {
        tracing::warn!(stream = %id, reason = reason.as_str(), metric = "EventParked", "an event is parked");
    }
}

/// Handles an event at once, as far as that is possible, and returns it. Its timer does the same later.
///
/// # Errors
///
/// [`BusinessEventError`]
pub async fn handle(app: &App, caller: &Caller, taken: Taken) -> Result<Taken, BusinessEventError> {
    let key = stream(&caller.principal.tenant, &taken.id);
    run(app, &key.stream_id()).await?;
    let event = execute::load(&*app.store, &key).await?.state.event.ok_or(BusinessEventError::NotFound)?;
    Ok(Taken { event: *event, ..taken })
}

/// Handles an event that was just stored, at once. If that fails, its timer has it handled.
pub async fn try_handle(app: &App, caller: &Caller, taken: Taken) -> Taken {
    if taken.event.status != EventStatus::Received || taken.is_replay {
        return taken;
    }
    match handle(app, caller, taken.clone()).await {
        Ok(handled) => handled,
        Err(error) => {
            tracing::warn!(event = taken.id, %error, "an event is stored, and will be handled later");
            taken
        }
    }
}

/// Has an event handled soon, best effort: its timer does the same.
pub async fn send_hint(app: &App, caller: &Caller, id: &str) {
    let key = stream(&caller.principal.tenant, id);
    hint::try_send(&*app.queue, &*app.host, &key, domain::ports::QueueId::Process, app.host.now()).await;
}
