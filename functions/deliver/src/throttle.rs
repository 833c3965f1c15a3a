//! Rate limits and circuit breakers of one batch. Tokens are reserved for the whole batch at once, and the results of
//! its calls are recorded once.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use application::throttle_store;
use domain::circuit_breaker::{BreakerCause, CallResults};
use domain::communication::{AttemptOutcome, Communication};
use domain::policy;
use domain::ports::{Provider, StoreError};
use domain::rate_limiter::ByPriority;
use domain::throttle::{Grant, ProviderThrottle};
use events::{Priority, RateLimit, RefusalClass, TenantId, Timestamp};

use crate::DeliverHandler;

/// Retries after a breaker closes are spread over this time, in milliseconds.
const RETRY_JITTER_MS: u64 = 5_000;

/// Whether and where a message can be sent.
pub(crate) enum Admission {
    Admitted(Arc<dyn Provider>),
    /// The message must wait until then. The wait does not count as an attempt.
    Wait(Timestamp),
    /// No provider configuration serves its channel and mode.
    NoProvider,
}

/// The calls that one batch reserved with one rate limiter, and their results.
struct ReservedCalls {
    rate: RateLimit,
    tokens: ByPriority<u32>,
    /// When messages that got no token may retry.
    retry_slots: ByPriority<VecDeque<Timestamp>>,
    /// The time until which the breaker is open. `None` if it is closed.
    open_until: Option<Timestamp>,
    /// Whether the single reserved call is a probe, whose result decides if the breaker closes.
    is_probe: bool,
    results: CallResults,
}

/// The answer of one rate limiter or circuit breaker for one message.
enum Reservation {
    Granted,
    RetryAt(Timestamp),
    BreakerOpen(Timestamp),
}

/// The rate limiters and circuit breakers of one batch.
pub(crate) struct BatchThrottle<'a> {
    deliver: &'a DeliverHandler,
    state: tokio::sync::Mutex<BatchState>,
}

struct BatchState {
    /// Number of messages of the batch that were not admitted yet.
    pending_messages: ByPriority<u32>,
    /// Reservations by throttle record. The first message reserves for the whole batch while the others wait for the
    /// lock.
    reserved: BTreeMap<String, ReservedCalls>,
}

impl<'a> BatchThrottle<'a> {
    /// `messages` has the priority of each message of the batch that can be sent.
    pub fn new(deliver: &'a DeliverHandler, messages: impl Iterator<Item = Priority>) -> Self {
        let mut pending_messages = ByPriority::default();
        messages.for_each(|priority| pending_messages[priority as usize] += 1);
        let state = BatchState { pending_messages, reserved: BTreeMap::new() };
        BatchThrottle { deliver, state: tokio::sync::Mutex::new(state) }
    }

    /// Returns the providers that can send this message, the preferred one first, and whether there are any providers
    /// if disabled ones are included.
    async fn candidates(
        &self,
        tenant: &TenantId,
        communication: &Communication,
    ) -> Result<(Vec<Arc<dyn Provider>>, bool), StoreError> {
        let DeliverHandler { cache, tenant_ports, providers, .. } = self.deliver;
        let request = &communication.request;
        let serves = (request.channel, request.mode);
        if let Some(via) = &request.via {
            cache.directory.configs_containing(tenant_ports, tenant, via).await?;
        }
        let (mut providers, exist) = cache.directory.providers_for(tenant_ports, tenant, serves, providers).await?;
        if let Some(via) = &request.via {
            providers.retain(|provider| provider.config().id == *via);
        }
        // Providers that refused this message come last. The sort is stable, so the order is otherwise unchanged.
        providers.sort_by_key(|provider| communication.refusing_configs.contains(&provider.config().id));
        Ok((providers, exist))
    }

    /// Finds a provider that can be called now. If a breaker is open, the next provider is tried. If a rate limit is
    /// reached, the message waits.
    pub async fn admit(&self, tenant: &TenantId, communication: &Communication, priority: Priority) -> Admission {
        match self.try_admit(tenant, communication, priority).await {
            Ok(admission) => admission,
            Err(error) => {
                // The message waits, because calls without limits would do more harm than a delay.
                tracing::error!(%error, "the rate limits cannot be read");
                Admission::Wait(self.with_jitter(policy::LIMITER_OUTAGE_DELAY_MS))
            }
        }
    }

    async fn try_admit(
        &self,
        tenant: &TenantId,
        communication: &Communication,
        priority: Priority,
    ) -> Result<Admission, StoreError> {
        let (candidates, exist) = self.candidates(tenant, communication).await?;
        if candidates.is_empty() {
            let hold = || Admission::Wait(self.with_jitter(policy::ACCOUNT_HOLD_MS));
            return Ok(if exist { hold() } else { Admission::NoProvider });
        }
        let DeliverHandler { cache, tenant_ports, .. } = self.deliver;
        let limits = &cache.directory.channels(tenant_ports, tenant).await?.limits;
        let tenant_rate = limits.rate_within(self.deliver.tenant_rate);
        let mut state = self.state.lock().await;
        let BatchState { pending_messages, reserved } = &mut *state;
        let mut wanted = *pending_messages;
        wanted[priority as usize] = wanted[priority as usize].max(1);
        let pending = &mut pending_messages[priority as usize];
        *pending = pending.saturating_sub(1);
        let mut earliest: Option<Timestamp> = None;
        for provider in candidates {
            let name = throttle_store::throttle_key(&provider.config().id);
            match self.reserve(reserved, &name, provider.config().rate, (wanted, priority)).await? {
                Reservation::BreakerOpen(until) => {
                    earliest = Some(earliest.map_or(until, |earliest| earliest.min(until)))
                }
                Reservation::RetryAt(at) => return Ok(Admission::Wait(at)),
                Reservation::Granted => {
                    let shared = [
                        (throttle_store::tenant_throttle_key(tenant), tenant_rate),
                        ("global".to_owned(), self.deliver.global_rate),
                    ];
                    let mut granted = vec![name];
                    for (name, rate) in shared {
                        let Some(rate) = rate else { continue };
                        match self.reserve(reserved, &name, rate, (wanted, priority)).await? {
                            Reservation::Granted => granted.push(name),
                            Reservation::RetryAt(at) | Reservation::BreakerOpen(at) => {
                                // Another message of this batch, perhaps of another tenant, can use the tokens.
                                for name in granted {
                                    reserved.entry(name).and_modify(|calls| calls.tokens[priority as usize] += 1);
                                }
                                return Ok(Admission::Wait(at));
                            }
                        }
                    }
                    return Ok(Admission::Admitted(provider));
                }
            }
        }
        let jitter = (self.deliver.host.random() as u64 % RETRY_JITTER_MS) as i64;
        Ok(Admission::Wait(earliest.unwrap_or_else(|| self.deliver.host.now()) + jitter))
    }

    /// Takes one call from the batch's reservation. The first message makes the reservation for all pending messages.
    async fn reserve(
        &self,
        reserved: &mut BTreeMap<String, ReservedCalls>,
        name: &str,
        rate: RateLimit,
        (wanted, priority): (ByPriority<u32>, Priority),
    ) -> Result<Reservation, StoreError> {
        if !reserved.contains_key(name) {
            let now = self.deliver.host.now();
            let reserve = |throttle: &mut ProviderThrottle| {
                (throttle.reserve(wanted, now), throttle.limiter.take_low_quota_alert(now))
            };
            let (grant, is_low) = self.update(name, rate, reserve).await?;
            if is_low {
                self.alert_low_quota(name, rate).await;
            }
            let empty = ReservedCalls {
                rate,
                tokens: ByPriority::default(),
                retry_slots: ByPriority::default(),
                open_until: None,
                is_probe: false,
                results: CallResults::default(),
            };
            let calls = match grant {
                Grant::Blocked(until) => ReservedCalls { open_until: Some(until), ..empty },
                Grant::Granted { calls, is_probe } => ReservedCalls {
                    tokens: calls.each_ref().map(|calls| calls.granted),
                    retry_slots: calls.map(|calls| calls.retry_slots.into()),
                    is_probe,
                    ..empty
                },
            };
            reserved.insert(name.to_owned(), calls);
        }
        let Some(calls) = reserved.get_mut(name) else {
            return Ok(Reservation::RetryAt(self.with_jitter(policy::LIMITER_OUTAGE_DELAY_MS)));
        };
        if let Some(until) = calls.open_until {
            return Ok(Reservation::BreakerOpen(until));
        }
        // A token that was given back can be used by a more urgent message too.
        if let Some(tokens) = calls.tokens[..=priority as usize].iter_mut().rev().find(|tokens| **tokens > 0) {
            *tokens -= 1;
            return Ok(Reservation::Granted);
        }
        match calls.retry_slots[priority as usize].pop_front() {
            // Only the probe may call this provider, so the other messages try the next one.
            Some(slot) if calls.is_probe => Ok(Reservation::BreakerOpen(slot)),
            Some(slot) => Ok(Reservation::RetryAt(slot)),
            None => Ok(Reservation::RetryAt(self.with_jitter(policy::LIMITER_OUTAGE_DELAY_MS))),
        }
    }

    /// Changes a throttle record, through the cache.
    async fn update<T>(
        &self,
        name: &str,
        rate: RateLimit,
        decide: impl FnMut(&mut ProviderThrottle) -> T,
    ) -> Result<T, StoreError> {
        let record = self.deliver.cache.record(name);
        let mut cached = record.lock().await;
        let result = throttle_store::update(&*self.deliver.limits, name, rate, &mut cached, decide).await;
        if result.is_err() {
            *cached = None;
        }
        result
    }

    /// Returns a time between `ms` and twice `ms` from now.
    fn with_jitter(&self, ms: i64) -> Timestamp {
        self.deliver.host.now() + ms + (self.deliver.host.random() as u64 % ms.max(1) as u64) as i64
    }

    /// Returns a token that was not used, because another worker had claimed the message.
    pub async fn release_token(&self, config: &str, priority: Priority) {
        if let Some(calls) = self.state.lock().await.reserved.get_mut(&throttle_store::throttle_key(config)) {
            calls.tokens[priority as usize] += 1;
        }
    }

    /// Records the result of a call. Returns whether another provider that has not refused this message can be tried at
    /// once.
    pub async fn record_call(
        &self,
        tenant: &TenantId,
        communication: &Communication,
        provider: &dyn Provider,
        outcome: &AttemptOutcome,
    ) -> bool {
        let now = self.deliver.host.now();
        let config = &provider.config().id;
        let name = throttle_store::throttle_key(config);
        let reserved = &mut self.state.lock().await.reserved;
        if let Some(ReservedCalls { results, .. }) = reserved.get_mut(&name) {
            match outcome {
                AttemptOutcome::Accepted { .. } => results.successes += 1,
                AttemptOutcome::InDoubt(_) => results.failures += 1,
                AttemptOutcome::Refused { class, retry_after_ms, .. } => match class {
                    RefusalClass::Transient | RefusalClass::Unavailable => results.failures += 1,
                    // The provider works, but does not accept this message.
                    RefusalClass::Permanent => results.successes += 1,
                    RefusalClass::Auth => results.disabled = Some(BreakerCause::Auth),
                    RefusalClass::Balance => results.disabled = Some(BreakerCause::Balance),
                    RefusalClass::Throttled => {
                        results.penalty = results.penalty.max(Some(now + policy::retry_after_ms(*retry_after_ms)));
                        results.successes += 1;
                    }
                },
            }
        }
        let Ok((candidates, _)) = self.candidates(tenant, communication).await else { return false };
        let is_callable = |config: &str| {
            reserved.get(&throttle_store::throttle_key(config)).is_none_or(|calls| calls.open_until.is_none())
        };
        let others = candidates.iter().map(|other| &other.config().id).filter(|other| *other != config);
        others.into_iter().any(|other| !communication.refusing_configs.contains(other) && is_callable(other))
    }

    /// Records the results of this batch's calls with the rate limiter and circuit breaker of each provider
    /// configuration. Raises an alert when a breaker opens because the provider rejects our credentials or the account
    /// is empty. Best effort: a result that cannot be stored is made up for by the next failure.
    pub async fn flush_results(self) {
        let now = self.deliver.host.now();
        let reserved = std::mem::take(&mut self.state.lock().await.reserved);
        for (name, ReservedCalls { rate, tokens, is_probe, results, .. }) in reserved {
            let results = CallResults { unused: tokens.iter().sum(), ..results };
            let CallResults { unused, failures, disabled, penalty, .. } = &results;
            let is_relevant = *unused > 0 || *failures > 0 || disabled.is_some() || penalty.is_some();
            if !is_relevant && !is_probe {
                continue;
            }
            match self.update(&name, rate, |throttle| throttle.record_results(results, now)).await {
                Ok(Some(cause)) => self.alert_breaker_open(&name, cause).await,
                Ok(None) => (),
                Err(error) => tracing::warn!(name, %error, "could not record call results"),
            }
        }
    }

    async fn alert_low_quota(&self, name: &str, RateLimit { burst, per_second }: RateLimit) {
        let config = name.trim_start_matches("gate#");
        let text = format!(
            "Less than a fifth of the burst of {config} is left ({burst} calls, then {per_second} per second). Messages will \
             soon have to wait. This alert is raised once an hour at most."
        );
        self.alert(&format!("{config} is near its rate limit"), &text).await;
    }

    async fn alert(&self, subject: &str, text: &str) {
        if let Err(error) = self.deliver.alerts.raise(subject, text).await {
            tracing::error!(%error, "an alert could not be raised");
        }
    }

    async fn alert_breaker_open(&self, name: &str, cause: BreakerCause) {
        let config = name.trim_start_matches("gate#");
        tracing::error!(config, cause = cause.as_str(), "circuit breaker opened");
        let what = match cause {
            // This raises no alert, because the breaker closes by itself. The log and the status of the provider show
            // it.
            BreakerCause::Failing => return,
            BreakerCause::Auth => "rejects our credentials",
            BreakerCause::Balance => "reports that the account is empty",
        };
        let text = format!(
            "{config} is disabled. Its messages are sent with the next provider of their channel, or wait. Every 15 minutes \
             one of them tries again. POST /api/providers/{config}/enable enables it at once."
        );
        self.alert(&format!("{config} {what}"), &text).await;
    }
}
