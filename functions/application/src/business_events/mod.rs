//! Use cases of business events, which other business systems send.

mod erasure;
mod run;
mod stored;

use domain::access::{Permission, Reach};
use domain::aggregate::{AggregateId, AggregateKey};
use domain::business_event::{BusinessEvent, BusinessEventState, Command, Received, Rejection};
use domain::ports::StoreError;
use events::{DataFault, EventClassification, IntakeChannel, Mode, ParkReason, TenantId, Timestamp, derived_id};

pub use erasure::{EraseError, erase};
pub use run::run;
pub use stored::StoredEvent;

use crate::app::App;
use crate::caller::{Caller, Forbidden};
use crate::execute::{self, ExecuteError};
use crate::hash::hash_of;
use crate::process::ProcessError;

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

/// Stores an event. From then on it is not lost: its timer has it handled.
///
/// # Errors
///
/// [`BusinessEventError`]: nothing was stored, except where the outcome is unknown.
pub async fn receive(app: &App, caller: &Caller, new: NewEvent) -> Result<Taken, BusinessEventError> {
    caller.authorise(Permission::Integrate, Reach::Everything)?;
    store(app, caller, new, None).await
}

/// Writes to the vault and to the stream, in this order: a crash in between leaves no event without its data.
async fn store(
    app: &App,
    caller: &Caller,
    new: NewEvent,
    park: Option<(ParkReason, Vec<DataFault>)>,
) -> Result<Taken, BusinessEventError> {
    let (tenant, mode) = (&caller.principal.tenant, caller.principal.mode);
    let NewEvent { source, event_id, occurred_at, via, stored } = new;
    let id = id_of(tenant, mode, &source, &event_id);
    let body_hash = hash_of(&(&stored, occurred_at))?;
    let key = stream(tenant, &id);
    let loaded = execute::load(&*app.store, &key).await?;
    let now = app.host.now();
    let content = stored::content_name(None, &id, &body_hash);
    if loaded.state.event.is_none() {
        stored::put(&*app.tenant_ports.documents, tenant, &content, &stored, now).await?;
    }
    let StoredEvent { kind, version, .. } = stored;
    let classification =
        EventClassification { kind, version, mapping: None, subject: None, mentions: Vec::new(), content };
    let occurred_at = occurred_at.unwrap_or(now);
    let received = Box::new(Received { source, event_id, occurred_at, body_hash, via, mode, classification });
    let command = match park {
        None => Command::Receive(received),
        Some((reason, faults)) => Command::ReceiveParked(received, reason, faults),
    };
    let loaded = app.executor(&caller.context()).execute_loaded(&key, loaded, command).await?;
    let is_replay = loaded.appended == 0;
    let event = *loaded.state.event.ok_or(BusinessEventError::NotFound)?;
    Ok(Taken { id, event, is_replay })
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
