//! What one batch may call, and how often: tokens are taken for all of it at once, and what became of them is told once.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use application::consent::DefaultPreferences;
use application::directory::ProviderDirectory;
use application::gate;
use application::templates::TemplateCache;
use domain::circuit_breaker::{BreakerCause, CallResults};
use domain::communication::{AttemptOutcome, Communication};
use domain::policy;
use domain::ports::{Provider, StoreError, VersionedRecord};
use domain::throttle::Grant;
use events::{RateLimit, RefusalClass, TenantId, Timestamp};

use crate::DeliverHandler;

/// Records remembered, at most.
const KEPT: usize = 10_000;
/// A breaker that opens again is not met by everybody at once, but over this time.
const RETRY_JITTER_MS: u64 = 5_000;

/// What a worker remembers between its batches.
#[derive(Default)]
pub struct WorkerCache {
    pub(crate) directory: ProviderDirectory,
    pub(crate) library: TemplateCache,
    pub(crate) defaults: DefaultPreferences,
    records: Mutex<HashMap<String, Arc<CachedRecord>>>,
}

/// A record as last seen. Whoever changes it holds it, so that the batches of one process do not race each other.
type CachedRecord = tokio::sync::Mutex<Option<VersionedRecord>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a message may go.
pub(crate) enum Admission {
    Through(Arc<dyn Provider>),
    /// Not now: it asks again at this time, and nothing is burned.
    Wait(Timestamp),
    /// No provider of this deployment serves its channel and mode.
    NoProvider,
}

/// What was taken from one gate, and what became of it.
struct ReservedCalls {
    rate: RateLimit,
    tokens: u32,
    turns: VecDeque<Timestamp>,
    shut: Option<Timestamp>,
    is_probe: bool,
    tally: CallResults,
}

enum Reservation {
    Pass,
    Turn(Timestamp),
    Shut(Timestamp),
}

/// One batch at the gates.
pub(crate) struct BatchThrottle<'a> {
    deliver: &'a DeliverHandler,
    /// Messages of the batch that have not asked yet.
    to_come: Mutex<u32>,
    /// One at a time asks for all: the others wait here and find what it took.
    taken: tokio::sync::Mutex<BTreeMap<String, ReservedCalls>>,
}

impl<'a> BatchThrottle<'a> {
    pub fn new(deliver: &'a DeliverHandler, messages: usize) -> Self {
        let to_come = Mutex::new(u32::try_from(messages).unwrap_or(u32::MAX));
        BatchThrottle { deliver, to_come, taken: tokio::sync::Mutex::default() }
    }

    /// Those that may carry this message, the best first, and whether there would be some if they were enabled.
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
        let (mut found, is_some) = cache.directory.offer(tenant_ports, tenant, serves, providers).await?;
        if let Some(via) = &request.via {
            found.retain(|provider| provider.config().id == *via);
        }
        // The sort is stable: those that refused it come last and keep their order.
        found.sort_by_key(|provider| communication.refusing_configs.contains(&provider.config().id));
        Ok((found, is_some))
    }

    /// Finds a provider that may be called now. A breaker that is open sends it to the next one; a rate lets it wait.
    pub async fn pass(&self, tenant: &TenantId, communication: &Communication) -> Admission {
        let asking = {
            let mut to_come = lock(&self.to_come);
            let asking = (*to_come).max(1);
            *to_come = to_come.saturating_sub(1);
            asking
        };
        match self.try_admit(tenant, communication, asking).await {
            Ok(passage) => passage,
            Err(error) => {
                // Deferred, never let through: a flood costs more than a wait.
                tracing::error!(%error, "the limits cannot be reached");
                Admission::Wait(self.with_jitter(policy::LIMITER_OUTAGE_DELAY_MS))
            }
        }
    }

    async fn try_admit(
        &self,
        tenant: &TenantId,
        communication: &Communication,
        asking: u32,
    ) -> Result<Admission, StoreError> {
        let (candidates, is_some) = self.candidates(tenant, communication).await?;
        if candidates.is_empty() {
            return Ok(match is_some {
                true => Admission::Wait(self.with_jitter(policy::ACCOUNT_HOLD_MS)),
                false => Admission::NoProvider,
            });
        }
        let mut taken = self.taken.lock().await;
        let mut earliest: Option<Timestamp> = None;
        for provider in candidates {
            let account = gate::account(&provider.config().id);
            match self.step(&mut taken, &account, provider.config().rate, asking).await? {
                Reservation::Shut(until) => earliest = Some(earliest.map_or(until, |earliest| earliest.min(until))),
                Reservation::Turn(at) => return Ok(Admission::Wait(at)),
                Reservation::Pass => {
                    let shared = [
                        (format!("tenant#{tenant}"), self.deliver.tenant_rate),
                        ("global".to_owned(), self.deliver.global_rate),
                    ];
                    let mut passed = vec![account];
                    for (name, rate) in shared {
                        let Some(rate) = rate else { continue };
                        match self.step(&mut taken, &name, rate, asking).await? {
                            Reservation::Pass => passed.push(name),
                            Reservation::Turn(at) | Reservation::Shut(at) => {
                                // Another message of this batch, of another tenant perhaps, may use what was taken.
                                for name in &passed {
                                    taken.entry(name.clone()).and_modify(|gate| gate.tokens += 1);
                                }
                                return Ok(Admission::Wait(at));
                            }
                        }
                    }
                    return Ok(Admission::Through(provider));
                }
            }
        }
        let spread = (self.deliver.host.random() as u64 % RETRY_JITTER_MS) as i64;
        Ok(Admission::Wait(earliest.unwrap_or_else(|| self.deliver.host.now()) + spread))
    }

    async fn step(
        &self,
        taken: &mut BTreeMap<String, ReservedCalls>,
        name: &str,
        rate: RateLimit,
        asking: u32,
    ) -> Result<Reservation, StoreError> {
        if !taken.contains_key(name) {
            let now = self.deliver.host.now();
            let (entry, little) = self
                .change(name, rate, |gate| (gate.reserve(asking, now), gate.limiter.take_low_quota_alert(now)))
                .await?;
            if little {
                self.alert_low_quota(name, rate).await;
            }
            let none = ReservedCalls {
                rate,
                tokens: 0,
                turns: VecDeque::new(),
                shut: None,
                is_probe: false,
                tally: CallResults::default(),
            };
            let entered = match entry {
                Grant::Blocked(until) => ReservedCalls { shut: Some(until), ..none },
                Grant::Granted { granted, retry_slots: turns, is_probe } => {
                    ReservedCalls { tokens: granted, turns: turns.into(), is_probe, ..none }
                }
            };
            taken.insert(name.to_owned(), entered);
        }
        let Some(gate) = taken.get_mut(name) else {
            return Ok(Reservation::Turn(self.with_jitter(policy::LIMITER_OUTAGE_DELAY_MS)));
        };
        if let Some(until) = gate.shut {
            return Ok(Reservation::Shut(until));
        }
        if gate.tokens > 0 {
            gate.tokens -= 1;
            return Ok(Reservation::Pass);
        }
        match gate.turns.pop_front() {
            // While a probe finds out, the others look elsewhere.
            Some(turn) if gate.is_probe => Ok(Reservation::Shut(turn)),
            Some(turn) => Ok(Reservation::Turn(turn)),
            None => Ok(Reservation::Turn(self.with_jitter(policy::LIMITER_OUTAGE_DELAY_MS))),
        }
    }

    async fn change<T>(
        &self,
        name: &str,
        rate: RateLimit,
        decide: impl FnMut(&mut domain::throttle::ProviderThrottle) -> T,
    ) -> Result<T, StoreError> {
        let kept = {
            let mut records = lock(&self.deliver.cache.records);
            if KEPT <= records.len() {
                records.clear();
            }
            records.entry(name.to_owned()).or_default().clone()
        };
        let mut known = kept.lock().await;
        let changed = gate::change(&*self.deliver.limits, name, rate, &mut known, decide).await;
        if changed.is_err() {
            *known = None;
        }
        changed
    }

    fn with_jitter(&self, ms: i64) -> Timestamp {
        self.deliver.host.now() + ms + (self.deliver.host.random() as u64 % ms.max(1) as u64) as i64
    }

    /// A token that was taken and not used: somebody else had claimed the message.
    pub async fn release_token(&self, config: &str) {
        if let Some(gate) = self.taken.lock().await.get_mut(&gate::account(config)) {
            gate.tokens += 1;
        }
    }

    /// Notes what a call came to. True: another provider, which has not refused this message, may be tried at once.
    pub async fn note(
        &self,
        tenant: &TenantId,
        communication: &Communication,
        provider: &dyn Provider,
        answer: &AttemptOutcome,
    ) -> bool {
        let now = self.deliver.host.now();
        let config = &provider.config().id;
        let name = gate::account(config);
        let mut taken = self.taken.lock().await;
        if let Some(gate) = taken.get_mut(&name) {
            let tally = &mut gate.tally;
            match answer {
                AttemptOutcome::Accepted { .. } => tally.successes += 1,
                AttemptOutcome::InDoubt(_) => tally.failures += 1,
                AttemptOutcome::Refused { class, retry_after_ms, .. } => match class {
                    RefusalClass::Transient | RefusalClass::Unavailable => tally.failures += 1,
                    // The account works: it is the message that does not.
                    RefusalClass::Permanent => tally.successes += 1,
                    RefusalClass::Auth => tally.disabled = Some(BreakerCause::Auth),
                    RefusalClass::Balance => tally.disabled = Some(BreakerCause::Balance),
                    RefusalClass::Throttled => {
                        tally.penalty = tally.penalty.max(Some(now + policy::retry_after_ms(*retry_after_ms)));
                        tally.successes += 1;
                    }
                },
            }
        }
        let Ok((candidates, _)) = self.candidates(tenant, communication).await else { return false };
        let is_open = |config: &str| taken.get(&gate::account(config)).is_none_or(|gate| gate.shut.is_none());
        let others = candidates.iter().map(|other| &other.config().id).filter(|other| *other != config);
        others.into_iter().any(|other| !communication.refusing_configs.contains(other) && is_open(other))
    }

    /// Tells each gate what became of what was taken, and somebody of an account that refuses us. Best effort: what is
    /// not told here is told by the next failure.
    pub async fn settle(self) {
        let now = self.deliver.host.now();
        let taken = std::mem::take(&mut *self.taken.lock().await);
        for (name, taken) in taken {
            let tally = CallResults { unused: taken.tokens, ..taken.tally };
            let is_news = tally.unused > 0 || tally.failures > 0 || tally.disabled.is_some() || tally.penalty.is_some();
            if !is_news && !taken.is_probe {
                continue;
            }
            match self.change(&name, taken.rate, |gate| gate.record_results(tally, now)).await {
                Ok(Some(cause)) => self.tell(&name, cause).await,
                Ok(None) => (),
                Err(error) => tracing::warn!(name, %error, "a gate was not told what became of its calls"),
            }
        }
    }

    async fn alert_low_quota(&self, name: &str, RateLimit { burst, per_second }: RateLimit) {
        let config = name.trim_start_matches("gate#");
        let text = format!(
            "Less than a fifth of what {config} may be called at once is left ({burst}, then {per_second} a second). Messages \
             are about to wait their turn. You are told once an hour."
        );
        self.alert(&format!("{config} is near its limit"), &text).await;
    }

    async fn alert(&self, subject: &str, text: &str) {
        if let Err(error) = self.deliver.alerts.raise(subject, text).await {
            tracing::error!(%error, "an alert could not be raised");
        }
    }

    async fn tell(&self, name: &str, cause: BreakerCause) {
        let config = name.trim_start_matches("gate#");
        tracing::error!(config, cause = cause.as_str(), "a provider is not called for a while");
        let what = match cause {
            // It mends itself; the log and the queue's status show it.
            BreakerCause::Failing => return,
            BreakerCause::Auth => "refuses our credentials",
            BreakerCause::Balance => "says that our account is empty",
        };
        let text = format!(
            "{config} is disabled. Its messages go to the next provider of their channel, or wait. Every 15 minutes one \
             of them tries again; POST /api/providers/{config}/enable does so at once."
        );
        self.alert(&format!("{config} {what}"), &text).await;
    }
}
