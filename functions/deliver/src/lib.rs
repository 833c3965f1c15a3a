//! In: hints from one channel's queues. Out: a message at a provider, and what became of it in the stream.
//! May touch: streams, the vault, the queue, providers, alerts.
//! Never: calls a provider without an attempt of its own in the stream, or twice for one attempt.

pub mod config;

use std::sync::Arc;

use domain::communication::{Answer, Command, Communication, Lifecycle, Readiness, Rejection, readiness};
use domain::history::subject;
use domain::policy;
use domain::ports::{
    Alerts, ContactKey, ContentKey, EventStore, Hint, Host, Outbound, Provider, Queue, Sent, StoreError, StreamKey,
    Vault,
};
use domain::render::words;
use events::{AttemptId, FailReason, RefusalClass, Requested, SuppressReason, Timestamp};
use futures_util::future::join_all;
use shell::{ExecuteError, Loaded, Origin, Shell};

/// Decisions taken for one hint, at most: a doubt settled, an expiry, an attempt, and races between them.
const MAX_STEPS: usize = 8;
/// Tries to store what became of an attempt; each is the SDK's own three.
const RECORD_TRIES: usize = 3;
/// A hint that comes this little early is sent again for the exact second; the timer takes care of the rest.
const EARLY_MS: i64 = 60_000;

/// Everything the door may touch.
#[derive(Clone)]
pub struct Deliver {
    pub store: Arc<dyn EventStore>,
    pub vault: Arc<dyn Vault>,
    pub queue: Arc<dyn Queue>,
    pub providers: Vec<Arc<dyn Provider>>,
    pub alerts: Arc<dyn Alerts>,
    pub host: Arc<dyn Host>,
    /// How long a provider may take to answer.
    pub provider_timeout_ms: u64,
}

/// When the platform will kill this invocation, by the host's clock.
pub type Deadline = Timestamp;

/// Why a hint is put back on its queue.
#[derive(Debug, thiserror::Error)]
pub enum DeliverError {
    #[error("the message is not a hint")]
    NotAHint(#[source] serde_json::Error),
    #[error(transparent)]
    Execute(#[from] ExecuteError),
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Better a fresh invocation than a lease cut short.
    #[error("too little time left to begin an attempt")]
    NoTime,
    #[error("others were always first")]
    Contended,
}

/// Delivers a batch side by side; the ids of those to be shown again.
pub async fn batch(deliver: &Deliver, messages: Vec<shell::hint::Message>, deadline: Deadline) -> Vec<String> {
    let one = async |message: shell::hint::Message| {
        let key = shell::hint::parse(&message.body).map_err(DeliverError::NotAHint);
        let done = match key {
            Ok(key) => deliver.deliver(&key, deadline).await,
            Err(error) => Err(error),
        };
        match done {
            Ok(()) => None,
            Err(error) => {
                tracing::error!(message_id = message.id, %error, "a message is shown again");
                Some(message.id)
            }
        }
    };
    join_all(messages.into_iter().map(one)).await.into_iter().flatten().collect()
}

impl Deliver {
    /// Brings one communication as far as it can go now. `Ok` takes the hint away.
    ///
    /// # Errors
    ///
    /// [`DeliverError`]: the hint is to be shown again.
    pub async fn deliver(&self, key: &StreamKey, deadline: Deadline) -> Result<(), DeliverError> {
        let origin = Origin::function("deliver");
        let shell = Shell { store: &*self.store, host: &*self.host, origin: &origin };
        let mut loaded = shell.load(key).await?;
        for _ in 0..MAX_STEPS {
            let now = self.host.now();
            let Ok(communication) = loaded.state.requested() else {
                tracing::warn!(id = %key.id, "a hint without its stream");
                return Ok(());
            };
            let command = match readiness(communication, now) {
                Readiness::Finished => return Ok(()),
                _ if is_due(communication, now) => Command::Advance { now },
                Readiness::NotBefore(until) => {
                    return self.come_again(key, &loaded, until, now).await;
                }
                Readiness::Ready => match self.prepare(key, communication, deadline).await? {
                    Prepared::Not(command) => command,
                    Prepared::Ready(outbound, provider) => {
                        match self.claim(&shell, key, &loaded, &provider, deadline).await? {
                            Some(claimed) => {
                                return self.send(&shell, key, claimed, *outbound, provider, deadline).await;
                            }
                            None => {
                                loaded = shell.load(key).await?;
                                continue;
                            }
                        }
                    }
                },
            };
            loaded = match shell.attempt(key, &loaded, command).await? {
                Some(after) => after,
                None => shell.load(key).await?,
            };
        }
        Err(DeliverError::Contended)
    }

    /// Early by a little: the same hint at the exact second. Early by more: the timer will send one.
    async fn come_again(
        &self,
        key: &StreamKey,
        loaded: &Loaded,
        until: Timestamp,
        now: Timestamp,
    ) -> Result<(), DeliverError> {
        let communication = loaded.state.requested().map_err(ExecuteError::from)?;
        let waits = matches!(communication.lifecycle, Lifecycle::Waiting | Lifecycle::RetryWait { .. });
        if let Some(lane) = shell::lane(&loaded.state)
            && waits
            && until.since(now) <= EARLY_MS
        {
            let seconds = until.since(now).div_euclid(1_000) + 1;
            self.queue.send(&[(Hint { lane, key: key.clone() }, seconds as u32)]).await?;
        }
        Ok(())
    }

    /// Everything that may say no before an attempt is made of it.
    async fn prepare(
        &self,
        key: &StreamKey,
        communication: &Communication,
        deadline: Deadline,
    ) -> Result<Prepared, DeliverError> {
        if deadline.since(self.host.now()) < policy::CLAIM_NEEDS_MS {
            return Err(DeliverError::NoTime);
        }
        let request = &communication.request;
        let contact = contact_key(key, request);
        let content = ContentKey {
            tenant: key.tenant.clone(),
            subject: subject(request),
            id: key.id,
            content: communication.content.clone(),
        };
        let (suppressed, content) =
            futures_util::future::join(self.store.is_suppressed(&contact), self.vault.get(&content)).await;
        if suppressed? {
            return Ok(Prepared::Not(Command::Suppress(SuppressReason::SuppressionList)));
        }
        let Some(content) = content? else {
            return Ok(Prepared::Not(Command::Suppress(SuppressReason::Erased)));
        };
        let can = |p: &&Arc<dyn Provider>| p.channel() == request.channel && p.mode() == request.mode;
        let Some(provider) = self.providers.iter().find(can).cloned() else {
            tracing::error!(id = %key.id, channel = request.channel.as_str(), mode = request.mode.as_str(), "no provider");
            return Ok(Prepared::Not(Command::Abandon(FailReason::NoProvider)));
        };
        match words(request, &content) {
            Ok(message) => {
                let attempt = AttemptId { communication: key.id, number: communication.attempts + 1 };
                let outbound = Outbound {
                    tenant: key.tenant.clone(),
                    attempt,
                    to: content.recipient_contact,
                    to_name: content.recipient_name,
                    message,
                };
                Ok(Prepared::Ready(Box::new(outbound), provider))
            }
            Err(error) => {
                // The error may quote variables, so only its kind is logged.
                tracing::warn!(id = %key.id, kind = error.kind(), "cannot be rendered");
                Ok(Prepared::Not(Command::Abandon(FailReason::Unrenderable)))
            }
        }
    }

    /// The append is the lock. None: somebody else was first.
    async fn claim(
        &self,
        shell: &Shell<'_>,
        key: &StreamKey,
        loaded: &Loaded,
        provider: &Arc<dyn Provider>,
        deadline: Deadline,
    ) -> Result<Option<Loaded>, DeliverError> {
        let begin = Command::BeginAttempt {
            now: self.host.now(),
            lease_until: deadline + policy::LEASE_MARGIN_MS,
            config: provider.config().to_owned(),
            provider: provider.name().to_owned(),
        };
        match shell.attempt(key, loaded, begin).await {
            Ok(claimed) => Ok(claimed),
            Err(ExecuteError::Rejected(Rejection::NotDue(_) | Rejection::AttemptInFlight(_) | Rejection::Finished)) => {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Calls the provider once, then records what is known of it.
    async fn send(
        &self,
        shell: &Shell<'_>,
        key: &StreamKey,
        claimed: Loaded,
        outbound: Outbound,
        provider: Arc<dyn Provider>,
        deadline: Deadline,
    ) -> Result<(), DeliverError> {
        let left = deadline.since(self.host.now()).max(1_000) as u64;
        let Sent { answer, opted_out } = provider.send(&outbound, self.provider_timeout_ms.min(left)).await;
        let request = &claimed.state.requested().map_err(ExecuteError::from)?.request;
        let contact = contact_key(key, request);
        let refusal = match &answer {
            Answer::Refused { class: class @ (RefusalClass::Auth | RefusalClass::Balance), code, .. } => {
                Some((*class, code.clone()))
            }
            _ => None,
        };
        let outcome = Command::RecordOutcome {
            attempt: outbound.attempt.number,
            now: self.host.now(),
            chance: self.host.random() as u64,
            outcome: answer,
        };
        let after = record(shell, key, claimed, outcome).await?;
        log(key, &provider, &after);
        // After the outcome: were it lost here, the provider says so again next time.
        if opted_out && let Err(error) = self.store.suppress(&contact, "provider_opt_out", self.host.now()).await {
            tracing::error!(id = %key.id, %error, "an opt-out was not stored");
        }
        if let Some((class, code)) = refusal {
            let subject = format!("{} refuses our {}", provider.name(), class.as_str());
            let text =
                format!("{} answered {code}; messages are held and tried again every 15 minutes.", provider.name());
            if let Err(error) = self.alerts.raise(&subject, &text).await {
                tracing::error!(%error, "an alert could not be raised");
            }
        }
        Ok(())
    }
}

enum Prepared {
    Not(Command),
    Ready(Box<Outbound>, Arc<dyn Provider>),
}

/// Time has brought something: a lease or a doubt ended, or the message expired.
fn is_due(communication: &Communication, now: Timestamp) -> bool {
    match communication.lifecycle {
        Lifecycle::Sending { lease_until, .. } => lease_until <= now,
        Lifecycle::InDoubt { evidence_until, .. } => evidence_until <= now,
        _ => communication.expires_at <= now,
    }
}

/// An outcome that cannot be stored becomes a doubt, and a doubt may become a second send: worth more than one try.
async fn record(shell: &Shell<'_>, key: &StreamKey, claimed: Loaded, outcome: Command) -> Result<Loaded, ExecuteError> {
    let mut recorded = shell.execute_on(key, claimed, outcome.clone()).await;
    for _ in 1..RECORD_TRIES {
        match recorded {
            Err(ExecuteError::Store(StoreError::Unavailable(_)) | ExecuteError::Unknown(_)) => {
                recorded = shell.execute(key, outcome.clone()).await;
            }
            done => return done,
        }
    }
    recorded
}

fn contact_key(key: &StreamKey, request: &Requested) -> ContactKey {
    ContactKey { tenant: key.tenant.clone(), channel: request.channel, contact_hash: request.contact_hash.clone() }
}

fn log(key: &StreamKey, provider: &Arc<dyn Provider>, after: &Loaded) {
    for record in after.records.iter().rev().take(after.appended) {
        let event = record.event.name();
        tracing::info!(tenant = %key.tenant, id = %key.id, provider = provider.name(), event, "attempt ended");
    }
}
