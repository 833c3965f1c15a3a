//! In: events of other business systems, from the bus by way of a queue. Out: stored business events, and what they ask
//! for.
//! May touch: everything that a use case may touch.
//! Never: calls a provider; takes a tenant from an event whose source and account are not trusted to speak for it.

pub mod config;
mod sources;

use std::sync::Arc;

use application::app::App;
use application::business_events::{self, BusinessEventError, NewEvent, StoredEvent, Taken};
use application::caller::Caller;
use application::hint::QueueMessage;
use domain::business_event::{BusEnvelope, Envelope, is_reserved, parse_bus};
use domain::ports::Principal;
use events::{DataFault, IntakeChannel, Mode, ParkReason, TenantId};
use futures_util::future::join_all;
use serde_json::Value;

pub use sources::{EventSource, EventSources};

/// The handler of the function.
#[derive(Clone)]
pub struct IntakeHandler {
    pub app: Arc<App>,
    pub sources: EventSources,
    /// The tenant under which events are parked that name no tenant.
    pub unassigned: TenantId,
}

/// An event that is stored, and its tenant.
#[derive(Debug, Clone)]
pub struct TakenFor {
    pub tenant: TenantId,
    pub taken: Taken,
}

impl IntakeHandler {
    /// Takes the events of a batch concurrently. Returns the ids of the messages that must be delivered again.
    pub async fn batch(&self, messages: Vec<QueueMessage>) -> Vec<String> {
        let handle = async |message: QueueMessage| {
            let event = match serde_json::from_str::<Value>(&message.body) {
                Ok(event) => event,
                Err(error) => {
                    tracing::error!(message_id = message.id, %error, "a message is not an event");
                    return Some(message.id);
                }
            };
            match self.take(event, IntakeChannel::Bus).await {
                Ok(_) => None,
                Err(error) => {
                    tracing::error!(message_id = message.id, %error, "an event was not stored");
                    Some(message.id)
                }
            }
        };
        join_all(messages.into_iter().map(handle)).await.into_iter().flatten().collect()
    }

    /// Parks the events of messages that crashed this function, without looking into their data. Returns the ids of the
    /// messages that must be delivered again.
    pub async fn dead_letters(&self, messages: Vec<QueueMessage>) -> Vec<String> {
        let mut failed = Vec::new();
        for message in messages {
            let Ok(event) = serde_json::from_str::<Value>(&message.body) else {
                tracing::error!(message_id = message.id, "a dead letter is not an event, and is left in its queue");
                failed.push(message.id);
                continue;
            };
            let (account, source) = (text(&event, "account"), text(&event, "source"));
            let (tenant, mode) = self.owner(&source, &account, &event["detail"]).unwrap_or_else(|_| self.nobody());
            let new = unread(&event, IntakeChannel::Bus);
            if let Err(error) = self.park(tenant, mode, new, ParkReason::HandlerFailed, Vec::new()).await {
                tracing::error!(message_id = message.id, %error, "a dead letter was not parked");
                failed.push(message.id);
            }
        }
        failed
    }

    /// Stores an event of the bus, and handles it as far as that is possible now. Returns `None` for an event of ours,
    /// which comes back on the same bus.
    ///
    /// # Errors
    ///
    /// [`BusinessEventError`]: it is not stored.
    pub async fn take(&self, event: Value, via: IntakeChannel) -> Result<Option<TakenFor>, BusinessEventError> {
        let (account, source) = (text(&event, "account"), text(&event, "source"));
        if is_reserved(&source) {
            return Ok(None);
        }
        let (tenant, mode) = match self.owner(&source, &account, &event["detail"]) {
            Ok(owner) => owner,
            Err(reason) => {
                let (tenant, mode) = self.nobody();
                return self.park(tenant, mode, unread(&event, via), reason, Vec::new()).await.map(Some);
            }
        };
        let id_at = business_events::id_pointer(&self.app, &tenant, &source).await?;
        let raw = unread(&event, via);
        let envelope = match parse_bus(event, id_at.as_deref()) {
            Ok(BusEnvelope { envelope, .. }) => envelope,
            Err(faults) => return self.park(tenant, mode, raw, ParkReason::Invalid, faults).await.map(Some),
        };
        let Envelope { id: event_id, kind, version, source, time, data } = envelope;
        let caller = caller(&tenant, mode, &source);
        let stored = StoredEvent { kind, version, data };
        let new = NewEvent { source, event_id, occurred_at: time, via, stored };
        let taken = business_events::receive(&self.app, &caller, new).await?;
        let taken = business_events::try_handle(&self.app, &caller, taken).await;
        Ok(Some(TakenFor { taken, tenant }))
    }

    fn owner(&self, source: &str, account: &str, detail: &Value) -> Result<(TenantId, Mode), ParkReason> {
        self.sources.owner(source, account, detail)
    }

    /// Where events are parked that name no tenant.
    fn nobody(&self) -> (TenantId, Mode) {
        (self.unassigned.clone(), Mode::Live)
    }

    async fn park(
        &self,
        tenant: TenantId,
        mode: Mode,
        new: NewEvent,
        reason: ParkReason,
        faults: Vec<DataFault>,
    ) -> Result<TakenFor, BusinessEventError> {
        let caller = caller(&tenant, mode, &new.source);
        let taken = business_events::park_unread(&self.app, &caller, new, reason, faults).await?;
        Ok(TakenFor { tenant, taken })
    }
}

fn text(event: &Value, name: &str) -> String {
    event[name].as_str().unwrap_or_default().to_owned()
}

/// The caller that a source of the bus is.
fn caller(tenant: &TenantId, mode: Mode, source: &str) -> Caller {
    let principal = Principal::admin(tenant.clone(), source, mode);
    Caller { on_behalf: Some(format!("bus:{source}")), ..Caller::new(principal) }
}

/// An event under the id that the bus gave it, for one that cannot be read or handled.
fn unread(event: &Value, via: IntakeChannel) -> NewEvent {
    let detail = &event["detail"];
    let is_cloud_event = detail.get("specversion").is_some();
    let (kind, data) =
        if is_cloud_event { (&detail["type"], &detail["data"]) } else { (&event["detail-type"], detail) };
    NewEvent {
        source: text(event, "source"),
        event_id: text(event, "id"),
        occurred_at: None,
        via,
        stored: StoredEvent { kind: kind.as_str().unwrap_or_default().to_owned(), version: 1, data: data.clone() },
    }
}
