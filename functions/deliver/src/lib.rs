//! In: hints from one channel's queues. Out: a message at a provider, and what became of it in the stream.
//! May touch: streams, the vault, the queue, limits, journals, providers, alerts, uploaded files, and what senders link to.
//! Never: calls a provider without an attempt of its own in the stream, or twice for one attempt, or past its limit.

pub mod config;
mod delivery;
mod fallback;
mod gates;

pub use gates::WorkerCache;

use std::sync::Arc;

use application::ExecuteError;
use application::directory::TenantPorts;
use application::process::ProcessError;
use delivery::DeliveryRun;
use domain::ports::{
    AlertSink, ClockAndRng, CommunicationKey, CoordinationStore, DocumentStore, EventStore, FileFetcher, Hint,
    ObjectStore, Provider, StoreError, Vault, WorkQueue,
};
use events::RateLimit;
use events::Timestamp;
use futures_util::future::join_all;
use gates::BatchThrottle;

/// Everything the door may touch.
#[derive(Clone)]
pub struct DeliverHandler {
    pub store: Arc<dyn EventStore>,
    pub vault: Arc<dyn Vault>,
    pub queue: Arc<dyn WorkQueue>,
    /// The deployment's, in the order they are tried: for tenants without their own.
    pub providers: Vec<Arc<dyn Provider>>,
    /// The tenants' own.
    pub tenant_ports: TenantPorts,
    pub documents: Arc<dyn DocumentStore>,
    /// Files that go with emails.
    pub files: Arc<dyn FileFetcher>,
    /// Uploaded ones, and copies of those.
    pub objects: Arc<dyn ObjectStore>,
    /// What links to unsubscribe are signed with; none: there are no such links.
    pub contact_key: Vec<u8>,
    pub limits: Arc<dyn CoordinationStore>,
    /// What one tenant may send; none: as much as the providers take.
    pub tenant_rate: Option<RateLimit>,
    /// What all tenants together may send; none: as much as the providers take.
    pub global_rate: Option<RateLimit>,
    pub cache: Arc<WorkerCache>,
    pub alerts: Arc<dyn AlertSink>,
    pub host: Arc<dyn ClockAndRng>,
    /// How long a provider may take to answer.
    pub provider_timeout_ms: u64,
}

/// When the platform will kill this invocation, by the host's clock.
pub type Deadline = Timestamp;

/// Why a hint is put back on its queue.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    #[error("the message is not a hint: {0}")]
    NotAHint(String),
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Fallback(#[from] ProcessError),
    /// Better a fresh invocation than a lease cut short.
    #[error("too little time left to begin an attempt")]
    NoTime,
    #[error("others were always first")]
    Contended,
}

impl DeliverError {
    /// The queue shows again what this build cannot read, and at last gives it to the dead letters. Every other hint may
    /// go: its stream has a timer. Showing it again would count as a crash, and an outage of the store is none.
    fn should_redeliver(&self) -> bool {
        match self {
            DeliverError::NotAHint(_) => true,
            DeliverError::Store(error) | DeliverError::Execute(ExecuteError::Store(error)) => {
                matches!(error, StoreError::Unreadable(_))
            }
            DeliverError::Execute(ExecuteError::StreamFull) => true,
            DeliverError::Fallback(error) => error.is_permanent(),
            DeliverError::Execute(_) | DeliverError::NoTime | DeliverError::Contended => false,
        }
    }
}

/// Delivers a batch side by side; the ids of those to be shown again.
pub async fn handle_batch(
    deliver: &DeliverHandler,
    messages: Vec<application::hint::Message>,
    deadline: Deadline,
) -> Vec<String> {
    let gates = BatchThrottle::new(deliver, messages.len());
    let one = async |message: application::hint::Message| {
        let key = Hint::parse_body(&message.body).map(|id| CommunicationKey::from_stream(&id));
        let done = match key.map_err(DeliverError::NotAHint) {
            // Its timer belongs to another queue, and sends the hint there.
            Ok(None) => Ok(()),
            Ok(Some(key)) => DeliveryRun { deliver, gates: &gates, key: &key, deadline }.process().await,
            Err(error) => Err(error),
        };
        let error = done.err()?;
        let again = error.should_redeliver();
        tracing::error!(message_id = message.id, %error, again, "a hint was not followed");
        again.then_some(message.id)
    };
    let again = join_all(messages.into_iter().map(one)).await.into_iter().flatten().collect();
    gates.settle().await;
    again
}

impl DeliverHandler {
    /// One hint by itself. `Ok` takes it away.
    ///
    /// # Errors
    ///
    /// [`DeliverError`]: it did not get as far as it could.
    pub async fn deliver(&self, key: &CommunicationKey, deadline: Deadline) -> Result<(), DeliverError> {
        let gates = BatchThrottle::new(self, 1);
        let done = DeliveryRun { deliver: self, gates: &gates, key, deadline }.process().await;
        gates.settle().await;
        done
    }
}
