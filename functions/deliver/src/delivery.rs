//! Processes one communication step by step until it waits, is sent or ends.

use std::sync::Arc;

use application::directory::ProviderSetupError;
use application::execute::history_of;
use application::process::{Progress, advance};
use application::{CommandContext, CommandExecutor, ExecuteError, Loaded, hint};
use domain::aggregate::Aggregate;
use domain::communication::{Command, Communication, Lifecycle, Readiness, Rejection, readiness};
use domain::ports::{AddressKey, CommunicationKey, ContentKey, OutboundMessage, Provider, QueryResult};
use domain::{policy, quiet_hours};
use events::{
    CommunicationEvent, CommunicationRequest, DeferReason, FailReason, MissingFilePolicy, Priority, RecordedEvent,
    Resolution, ResolvedBy, SuppressReason, Timestamp,
};
use futures_util::future::join;

use crate::debts::Debts;
use crate::fallback::FallbackRun;
use crate::not_built::{FileFault, NotBuilt};
use crate::throttle::{Admission, BatchThrottle};
use crate::{Deadline, DeliverError, DeliverHandler, current_priority};

/// Maximum number of decisions for one hint, such as a resolved doubt, an expiry and an attempt, including conflicts.
const MAX_DECISIONS: usize = 8;
/// If the due time is at most this far ahead, in milliseconds, the hint is sent now with a delay. Otherwise the sweep
/// sends it.
const IMMEDIATE_HINT_MS: i64 = 60_000;
/// When the hint of a message comes to another invocation, in milliseconds, if this one has too little time left.
const NO_TIME_WAIT_MS: i64 = 1_000;
/// How long a communication waits, in milliseconds, while too much other text is being rendered.
const BUSY_WAIT_MS: i64 = 1_000;

/// The next step for a communication.
enum NextStep {
    Decide(Command),
    Wait(Timestamp),
    Send(Box<OutboundMessage>, Arc<dyn Provider>, Debts),
}

/// The processing of one hint.
pub(crate) struct DeliveryRun<'a> {
    pub deliver: &'a DeliverHandler,
    pub throttle: &'a BatchThrottle<'a>,
    pub key: &'a CommunicationKey,
    pub deadline: Deadline,
}

impl DeliveryRun<'_> {
    /// Processes one communication until it waits or ends.
    pub async fn process(&self, mut loaded: Loaded) -> Result<(), DeliverError> {
        let DeliveryRun { deliver, throttle, key, .. } = self;
        let context = CommandContext::function("deliver");
        let executor = CommandExecutor { store: &*deliver.store, host: &*deliver.host, origin: &context };
        for _ in 0..MAX_DECISIONS {
            let now = self.deliver.host.now();
            let Ok(communication) = loaded.state.requested() else {
                tracing::warn!(id = %key.id, "a hint for an unknown communication");
                return Ok(());
            };
            let priority = current_priority(&loaded, communication, now);
            let next = match readiness(communication, now) {
                Readiness::Finished => return Ok(()),
                Readiness::NotBefore(until) => return self.schedule_hint(&loaded, until).await,
                Readiness::DeadlineReached(_) => self.query_provider(&loaded).await?,
                Readiness::Ready => match self.deliver.pause_end(self.key, communication).await? {
                    Some(until) => NextStep::Wait(until),
                    None => self.prepare(&loaded, communication, priority).await?,
                },
                Readiness::FallbackDue | Readiness::FallbackRequestPending => {
                    match advance(&executor, *key, loaded, &FallbackRun { deliver, key }).await? {
                        Progress::Advanced(updated) => loaded = updated,
                        Progress::Waits { .. } | Progress::Done => return Ok(()),
                    }
                    continue;
                }
            };
            let command = match next {
                NextStep::Decide(command) => command,
                NextStep::Wait(until) => return self.set_wait(&loaded, until).await,
                NextStep::Send(outbound, provider, debts) => {
                    let mode = communication.request.mode;
                    match deliver.charge_step(&key.tenant, communication, &outbound, &*provider).await? {
                        Ok(counted) => {
                            if let Some(claimed) = self.claim(&executor, &loaded, &provider, debts).await? {
                                return self.send(&executor, claimed, *outbound, provider).await;
                            }
                            throttle.release_token(&provider.config().id, priority).await;
                            deliver.refund_step(&key.tenant, counted, mode).await;
                            loaded = executor.load(key).await?;
                            continue;
                        }
                        Err(reason) => {
                            throttle.release_token(&provider.config().id, priority).await;
                            Command::Suppress(reason)
                        }
                    }
                }
            };
            loaded = match executor.try_execute(key, &loaded, command).await? {
                Some(updated) => updated,
                None => executor.load(key).await?,
            };
        }
        Err(DeliverError::Contended)
    }

    /// If the due time is near, schedules this hint for that second. Otherwise leaves it to the timer.
    pub async fn schedule_hint(&self, loaded: &Loaded, until: Timestamp) -> Result<(), DeliverError> {
        let communication = loaded.state.requested().map_err(ExecuteError::from)?;
        let waits = matches!(communication.lifecycle, Lifecycle::Pending | Lifecycle::RetryWait { .. });
        let wait_ms = until.millis_since(self.deliver.host.now());
        if waits && wait_ms <= IMMEDIATE_HINT_MS { self.send_hint(loaded, until).await } else { Ok(()) }
    }

    /// Sends this hint again, to be delivered at `due`.
    pub async fn send_hint(&self, loaded: &Loaded, due: Timestamp) -> Result<(), DeliverError> {
        let DeliverHandler { queue, host, .. } = self.deliver;
        Ok(hint::send(&**queue, &**host, self.key, loaded.state.queue(), due).await?)
    }

    /// Sets the communication's timer to the end of a wait. A wait appends no event and does not count as an attempt.
    async fn set_wait(&self, loaded: &Loaded, until: Timestamp) -> Result<(), DeliverError> {
        let communication = loaded.state.requested().map_err(ExecuteError::from)?;
        let Some(wake) = loaded.wake else { return Ok(()) };
        let now = self.deliver.host.now();
        // A message that expires during the wait is processed when it expires.
        let until = if now < communication.expires_at { until.min(communication.expires_at) } else { until };
        let wait_ms = until.millis_since(now).max(0);
        if IMMEDIATE_HINT_MS < wait_ms {
            return Ok(self.deliver.store.reschedule_timer(&self.key.stream_id(), wake, until, 0).await?);
        }
        self.deliver.store.reschedule_timer(&self.key.stream_id(), wake, until + policy::REPAIR_DELAY_MS, 1).await?;
        self.send_hint(loaded, until).await
    }

    /// Asks the provider about an attempt in doubt, if it supports queries, then applies the deadline.
    async fn query_provider(&self, loaded: &Loaded) -> Result<NextStep, DeliverError> {
        let now = self.deliver.host.now();
        let communication = loaded.state.requested().map_err(ExecuteError::from)?;
        let apply_deadline = NextStep::Decide(Command::ApplyDeadlines { now });
        let Lifecycle::InDoubt { attempt, evidence_until } = communication.lifecycle else { return Ok(apply_deadline) };
        let provider =
            self.provider_of_last_attempt(communication).await?.filter(|provider| provider.capabilities().query);
        let Some(provider) = provider else { return Ok(apply_deadline) };
        let records = history_of(&*self.deliver.store, self.key, loaded).await?;
        let Some((since, until)) = attempt_window(&records, attempt) else { return Ok(apply_deadline) };
        let Some(content) = self.deliver.vault.get(&self.content_key(communication), now).await? else {
            return Ok(apply_deadline);
        };
        let Ok(outbound) = self.build_outbound(communication, attempt, content).await? else {
            return Ok(apply_deadline);
        };
        let found = provider.query_delivery(&outbound, since, until, self.call_timeout_ms()).await;
        tracing::info!(tenant = %self.key.tenant, id = %self.key.id, config = provider.config().id, ?found, "provider queried");
        let resolve = |outcome, provider_message_id| {
            NextStep::Decide(Command::ResolveInDoubt { outcome, by: ResolvedBy::Query, provider_message_id })
        };
        Ok(match found {
            QueryResult::Accepted(id) => resolve(Resolution::Accepted, Some(id)),
            QueryResult::NotAccepted => resolve(Resolution::NotAccepted, None),
            QueryResult::NoResponse if now.millis_since(evidence_until) < policy::QUERY_WINDOW_MS => {
                NextStep::Wait(now + policy::QUERY_INTERVAL_MS)
            }
            QueryResult::NoResponse | QueryResult::Unsupported => apply_deadline,
        })
    }

    /// Returns the provider of the last attempt, or `None` if its configuration was deleted or cannot be used.
    async fn provider_of_last_attempt(
        &self,
        communication: &Communication,
    ) -> Result<Option<Arc<dyn Provider>>, DeliverError> {
        let DeliverHandler { cache, tenant_ports, providers, .. } = self.deliver;
        let Some(config) = &communication.last_config_id else { return Ok(None) };
        let name = (config.as_str(), communication.request.mode);
        match cache.directory.find(tenant_ports, &self.key.tenant, name, providers).await {
            Ok(provider) => Ok(provider),
            Err(ProviderSetupError::Store(error)) => Err(error.into()),
            Err(error) => {
                tracing::error!(config, %error, "a provider cannot be queried");
                Ok(None)
            }
        }
    }

    /// Checks everything that can prevent an attempt, then renders the message and chooses a provider.
    async fn prepare(
        &self,
        loaded: &Loaded,
        communication: &Communication,
        priority: Priority,
    ) -> Result<NextStep, DeliverError> {
        let now = self.deliver.host.now();
        if self.deadline.millis_since(now) < policy::MIN_TIME_TO_CLAIM_MS {
            // A full lease does not fit into this invocation. The hint comes to another one.
            return Ok(NextStep::Wait(now + NO_TIME_WAIT_MS));
        }
        let request = &communication.request;
        let DeliverHandler { cache, tenant_ports, .. } = self.deliver;
        let address = self.contact_key(request);
        let consent = cache.defaults.consent(tenant_ports, &address, &request.recipient, request.kind);
        let content_key = self.content_key(communication);
        let content = self.deliver.vault.get(&content_key, now);
        let (consent, content) = join(consent, content).await;
        let consent = consent?;
        if consent.is_suppressed {
            return Ok(NextStep::Decide(Command::Suppress(SuppressReason::SuppressionList)));
        }
        // The recipient may have changed the preferences since the message was accepted.
        if let Some(reason) = consent.refusal {
            return Ok(NextStep::Decide(Command::Suppress(reason)));
        }
        let Some(mut content) = content? else {
            return Ok(NextStep::Decide(Command::Suppress(SuppressReason::Erased)));
        };
        if let Some(until) = quiet_hours::release_time(request, now) {
            return Ok(NextStep::Decide(Command::Defer { until, reason: DeferReason::QuietHours }));
        }
        let debts = match Debts::read(self.deliver, &self.key.tenant, request, &mut content).await? {
            Ok(debts) => debts,
            Err(command) => return Ok(NextStep::Decide(command)),
        };
        let outbound = match self.build_outbound(communication, communication.attempts + 1, content).await {
            Ok(Ok(outbound)) => outbound,
            Err(DeliverError::Busy(_)) => return Ok(NextStep::Wait(now + BUSY_WAIT_MS)),
            Err(error) => return Err(error),
            Ok(Err(NotBuilt::File(fault))) => return Ok(self.without_file(loaded, communication, fault)),
            Ok(Err(NotBuilt::Unrenderable(kind))) => {
                tracing::warn!(id = %self.key.id, kind, "cannot be rendered");
                return Ok(NextStep::Decide(Command::FailPermanently(FailReason::Unrenderable)));
            }
        };
        Ok(match self.throttle.admit(&self.key.tenant, communication, priority).await {
            Admission::Admitted(provider) => NextStep::Send(Box::new(outbound), provider, debts),
            Admission::Wait(until) => NextStep::Wait(until),
            Admission::NoProvider => {
                tracing::error!(id = %self.key.id, channel = request.channel.as_str(), mode = request.mode.as_str(), "no provider");
                NextStep::Decide(Command::FailPermanently(FailReason::NoProvider))
            }
        })
    }

    /// What becomes of a message of which a file is missing: it is held until the file is there, or it fails. A file that
    /// does not answer gets some time before the message fails.
    fn without_file(&self, loaded: &Loaded, communication: &Communication, fault: FileFault) -> NextStep {
        let now = self.deliver.host.now();
        let requested_at = loaded.records.first().map_or(now, |record| record.meta.at);
        if communication.request.on_missing_file == Some(MissingFilePolicy::Hold) {
            let due = communication.request.scheduled_at.unwrap_or(requested_at).max(requested_at);
            let until = now + policy::missing_file_delay_ms(now.millis_since(due));
            let until = until.min(communication.expires_at);
            return NextStep::Decide(Command::Defer { until, reason: DeferReason::MissingFile });
        }
        let due = communication.next_attempt_at().unwrap_or(requested_at).max(requested_at);
        if fault == FileFault::NoResponse && now.millis_since(due) < policy::FILE_WAIT_MS {
            return NextStep::Wait(now + policy::FILE_RETRY_MS);
        }
        tracing::warn!(id = %self.key.id, "a file is missing");
        NextStep::Decide(Command::FailPermanently(FailReason::MissingFile))
    }

    /// Claims an attempt. The append is the lock. Returns `None` if another worker was first, if the communication is
    /// no longer due, or if an invoice that it speaks of has changed.
    async fn claim(
        &self,
        executor: &CommandExecutor<'_>,
        loaded: &Loaded,
        provider: &Arc<dyn Provider>,
        debts: Debts,
    ) -> Result<Option<Loaded>, DeliverError> {
        let begin = Command::BeginAttempt {
            now: self.deliver.host.now(),
            lease_until: self.deadline + policy::LEASE_MARGIN_MS,
            config: provider.config().id.clone(),
            provider: provider.config().provider.clone(),
            about: debts.about,
        };
        match executor.try_execute_if(self.key, loaded, begin, &debts.unmoved).await {
            Ok(claimed) => Ok(claimed),
            Err(ExecuteError::Rejected(Rejection::NotDue(_) | Rejection::AttemptInFlight(_) | Rejection::Finished)) => {
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Returns how long a call to a provider may take: its timeout, or less if the deadline is nearer.
    pub fn call_timeout_ms(&self) -> u64 {
        let left = self.deadline.millis_since(self.deliver.host.now()).max(1_000) as u64;
        self.deliver.provider_timeout_ms.min(left)
    }

    fn content_key(&self, communication: &Communication) -> ContentKey {
        ContentKey::for_request(self.key, &communication.request, &communication.content_id)
    }

    /// Returns the key of the recipient's address in the suppression list.
    pub fn contact_key(&self, request: &CommunicationRequest) -> AddressKey {
        AddressKey {
            tenant: self.key.tenant.clone(),
            channel: request.channel,
            contact_hash: request.contact_hash.clone(),
        }
    }
}

/// Returns the time in which an attempt was made, from its claim to the end of its lease.
fn attempt_window(records: &[RecordedEvent], attempt: u16) -> Option<(Timestamp, Timestamp)> {
    records.iter().rev().find_map(|record| match record.event {
        CommunicationEvent::DeliveryAttemptStarted { attempt: number, lease_until, .. } if number == attempt => {
            Some((record.meta.at, lease_until))
        }
        _ => None,
    })
}
