//! In: hints from the queues of one channel. Out: a message at a provider, and its outcome in the stream.
//! May touch: streams, vault, documents, work queues, rate limits, providers, alerts, uploaded files, and files that
//! callers link to.
//! Never: calls a provider without a claimed attempt in the stream, or twice for one attempt, or beyond its rate limit.

mod cache;
pub mod config;
mod debts;
mod delivery;
mod fallback;
mod not_built;
mod outbound;
mod outcome;
mod spend;
mod throttle;

pub use cache::WorkerCache;

use std::sync::Arc;

use application::directory::TenantPorts;
use application::execute::load;
use application::links::LinkKeys;
use application::process::ProcessError;
use application::rendering::Busy;
use application::{ExecuteError, Loaded};
use delivery::DeliveryRun;
use domain::communication::{Communication, Readiness, readiness};
use domain::ports::{
    AlertSink, ClockAndRng, CommunicationKey, CoordinationStore, DocumentStore, EventStore, FileFetcher, Hint,
    ObjectStore, Provider, StoreError, Vault, WorkQueue,
};
use domain::{policy, rate_limiter};
use events::{Priority, RateLimit, Timestamp};
use futures_util::future::join_all;
use throttle::BatchThrottle;

/// The ports of the function, and its limits.
#[derive(Clone)]
pub struct DeliverHandler {
    pub store: Arc<dyn EventStore>,
    pub vault: Arc<dyn Vault>,
    pub queue: Arc<dyn WorkQueue>,
    /// The deployment's provider configurations, in the order in which they are tried. Tenants with their own do not
    /// use them.
    pub providers: Vec<Arc<dyn Provider>>,
    /// The ports of the tenants' provider configurations.
    pub tenant_ports: TenantPorts,
    pub documents: Arc<dyn DocumentStore>,
    /// Fetches files that callers link to.
    pub files: Arc<dyn FileFetcher>,
    /// Uploaded files, and copies of fetched ones.
    pub objects: Arc<dyn ObjectStore>,
    /// The keys of links to unsubscribe. Without them, emails have no such link.
    pub link_keys: Option<LinkKeys>,
    pub limits: Arc<dyn CoordinationStore>,
    /// The rate limit of each tenant. `None` means that only the providers' limits apply.
    pub tenant_rate: Option<RateLimit>,
    /// The rate limit of all tenants together. `None` means that only the providers' limits apply.
    pub global_rate: Option<RateLimit>,
    pub cache: Arc<WorkerCache>,
    pub alerts: Arc<dyn AlertSink>,
    pub host: Arc<dyn ClockAndRng>,
    /// How long a call to a provider may take, in milliseconds.
    pub provider_timeout_ms: u64,
}

/// When the platform ends this invocation, by the host's clock.
pub type Deadline = Timestamp;

/// Why a hint could not be processed completely.
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
    /// Too much large text is being rendered.
    #[error(transparent)]
    Busy(#[from] Busy),
    #[error("too many conflicts with other workers")]
    Contended,
}

impl DeliverError {
    /// Whether the queue must deliver the hint again. Returns true only if this version cannot handle the hint or its
    /// stream, so that the hint becomes a dead letter in the end. Every other stream has a timer that sends a new hint.
    /// Redelivery would count towards the dead letter, which is wrong for an outage of the store.
    fn should_redeliver(&self) -> bool {
        match self {
            DeliverError::NotAHint(_) => true,
            DeliverError::Store(error) | DeliverError::Execute(ExecuteError::Store(error)) => {
                matches!(error, StoreError::Unreadable(_))
            }
            DeliverError::Execute(ExecuteError::StreamFull) => true,
            DeliverError::Fallback(error) => error.is_permanent(),
            DeliverError::Execute(_) | DeliverError::Busy(_) | DeliverError::Contended => false,
        }
    }
}

/// Processes the hints of a batch concurrently. Returns the ids of the messages that must be delivered again.
pub async fn handle_batch(
    deliver: &DeliverHandler,
    messages: Vec<application::hint::QueueMessage>,
    deadline: Deadline,
) -> Vec<String> {
    let load = async |message: &application::hint::QueueMessage| {
        match Hint::parse_body(&message.body).map(|id| CommunicationKey::from_stream(&id)) {
            // The stream is of another kind. Its timer sends a hint to the right queue.
            Ok(None) => Ok(None),
            Ok(Some(key)) => Ok(Some((load(&*deliver.store, &key).await?, key))),
            Err(error) => Err(DeliverError::NotAHint(error)),
        }
    };
    // The rate limits must know what the whole batch wants before its first message is sent.
    let loaded = join_all(messages.iter().map(load)).await;
    let sendable =
        join_all(loaded.iter().flatten().flatten().map(|(loaded, key)| deliver.priority_if_sendable(loaded, key)))
            .await;
    let throttle = BatchThrottle::new(deliver, sendable.into_iter().flatten());
    let process = async |(message, loaded): (application::hint::QueueMessage, Result<_, DeliverError>)| {
        let result = match loaded {
            Ok(None) => Ok(()),
            Ok(Some((loaded, key))) => {
                DeliveryRun { deliver, throttle: &throttle, key: &key, deadline }.process(loaded).await
            }
            Err(error) => Err(error),
        };
        let error = result.err()?;
        let should_redeliver = error.should_redeliver();
        tracing::error!(message_id = message.id, %error, again = should_redeliver, "hint not processed");
        should_redeliver.then_some(message.id)
    };
    let failed = join_all(messages.into_iter().zip(loaded).map(process)).await.into_iter().flatten().collect();
    throttle.flush_results().await;
    failed
}

/// The priority of a message, which rises while it waits.
fn current_priority(loaded: &Loaded, communication: &Communication, now: Timestamp) -> Priority {
    let requested_at = loaded.records.first().map_or(now, |record| record.meta.at);
    let due = communication.next_attempt_at().unwrap_or(requested_at).max(requested_at);
    rate_limiter::aged(communication.request.priority, now.millis_since(due))
}

impl DeliverHandler {
    /// The priority that a message has by now, or `None` if it cannot be sent now.
    async fn priority_if_sendable(&self, loaded: &Loaded, key: &CommunicationKey) -> Option<Priority> {
        let now = self.host.now();
        let communication = loaded.state.requested().ok()?;
        let is_sendable = readiness(communication, now) == Readiness::Ready
            && matches!(self.pause_end(key, communication).await, Ok(None));
        is_sendable.then(|| current_priority(loaded, communication, now))
    }

    /// When to look again at a message whose channel is paused. `None` if it is not paused.
    async fn pause_end(
        &self,
        key: &CommunicationKey,
        communication: &Communication,
    ) -> Result<Option<Timestamp>, StoreError> {
        let channel = communication.request.channel;
        let pause = self.cache.directory.pause_of(&self.tenant_ports, &key.tenant, channel).await?;
        let now = self.host.now();
        Ok(pause.map(|pause| now + policy::pause_hold_ms(now.millis_since(pause.since))))
    }

    /// Processes one communication outside of a batch.
    ///
    /// # Errors
    ///
    /// [`DeliverError`]: the communication was not processed completely. Its timer sends a new hint.
    pub async fn deliver(&self, key: &CommunicationKey, deadline: Deadline) -> Result<(), DeliverError> {
        let loaded = load(&*self.store, key).await?;
        let throttle = BatchThrottle::new(self, self.priority_if_sendable(&loaded, key).await.into_iter());
        let result = DeliveryRun { deliver: self, throttle: &throttle, key, deadline }.process(loaded).await;
        throttle.flush_results().await;
        result
    }
}
