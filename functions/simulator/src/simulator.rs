//! The state of all simulated providers, and what happens to a message.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;

use crate::batches::{BatchedReport, run_batches};
use crate::callback::Callback;
use crate::clock::SimulationClock;
use crate::context::SimulationContext;
use crate::faults::{Fault, Faults};
use crate::inbox::{Inbox, InboxEntry, MAX_ENTRIES, SentCallback};
use crate::lock::lock;
use crate::message::{Message, RegisteredConfig, Step};
use crate::provider::ProviderSimulation;
use crate::received::Received;
use crate::recipients::{Behaviour, behaviour_of};
use crate::responses::{SimulatedResponse, hang, refusal, reset};
use crate::signing;
use crate::subscriptions::Subscriptions;

/// The time between two steps of one message.
const STEP_DELAY: Duration = Duration::from_millis(20);
/// How long the delivery to a slow recipient takes, in milliseconds of the simulator's clock.
const SLOW_MS: i64 = 30_000;
/// Maximum number of idempotency keys that are remembered.
const MAX_KEYS: usize = 100_000;

/// All simulated providers of one process.
pub struct Simulator {
    pub inbox: Inbox,
    faults: Faults,
    accounts: Mutex<Vec<Arc<RegisteredConfig>>>,
    /// How often each message was refused, by communication.
    refusals: Mutex<HashMap<String, u32>>,
    /// Addresses that opted out.
    opted_out: Mutex<HashSet<String>>,
    /// Accepted messages, by account and idempotency key.
    accepted: Mutex<HashMap<(String, String), Message>>,
    /// The messages of the inbox, by their ids there.
    received: Mutex<BTreeMap<u64, Received>>,
    pub(crate) context: Arc<SimulationContext>,
    batches: UnboundedSender<BatchedReport>,
}

impl Simulator {
    /// Creates a simulator. It must be called in a Tokio runtime. `random` becomes the key that signs SendGrid's
    /// callbacks.
    pub fn new(clock: Arc<dyn SimulationClock>, random: [u128; 2], client: reqwest::Client) -> Arc<Self> {
        let (batches, reports) = tokio::sync::mpsc::unbounded_channel();
        let signing_key = signing::ecdsa_key(random);
        let subscriptions = Subscriptions::default();
        let context = Arc::new(SimulationContext { subscriptions, clock, signing_key, client });
        tokio::spawn(run_batches(context.clone(), reports));
        Arc::new(Simulator {
            inbox: Inbox::default(),
            faults: Faults::default(),
            accounts: Mutex::default(),
            refusals: Mutex::default(),
            opted_out: Mutex::default(),
            accepted: Mutex::default(),
            received: Mutex::default(),
            context,
            batches,
        })
    }

    /// Adds an account, or replaces the one of the same provider and name.
    pub fn register(&self, config: RegisteredConfig) {
        let mut accounts = lock(&self.accounts);
        accounts.retain(|other| (&other.provider, &other.config) != (&config.provider, &config.config));
        accounts.push(Arc::new(config));
    }

    /// Returns the ids of all registered provider configurations.
    pub fn configs(&self) -> Vec<String> {
        lock(&self.accounts).iter().map(|account| account.config.clone()).collect()
    }

    /// Returns the newest account of a provider that matches.
    pub(crate) fn account(
        &self,
        provider: &str,
        matches: impl Fn(&RegisteredConfig) -> bool,
    ) -> Option<Arc<RegisteredConfig>> {
        let accounts = lock(&self.accounts);
        accounts.iter().rev().find(|account| account.provider == provider && matches(account)).cloned()
    }

    /// Returns the public key in base64, as SendGrid's settings show it.
    pub fn sendgrid_public_key(&self) -> String {
        signing::public_key(&self.context.signing_key)
    }

    pub fn inject(&self, fault: Fault) {
        self.faults.add(fault);
    }

    /// Removes all faults and opt-outs.
    pub fn clear_faults(&self) {
        self.faults.clear();
        lock(&self.opted_out).clear();
    }

    /// Counts a refusal of this message, and returns the number of earlier ones.
    fn count_refusal(&self, message: &str) -> u32 {
        let mut refusals = lock(&self.refusals);
        let count = refusals.entry(message.to_owned()).or_insert(0);
        *count += 1;
        *count - 1
    }

    /// Returns how to respond to a request. An injected fault comes before the recipient's behaviour.
    fn response_for(&self, message: &Message, behaviour: Behaviour) -> SimulatedResponse {
        if let Some(fault) = self.faults.take(&message.account.config) {
            return fault.into();
        }
        // A message without an attempt's id is identified by its recipient and its text.
        let name = message.communication().unwrap_or_else(|| format!("{} {}", message.to, message.text));
        match behaviour {
            Behaviour::Throttled if self.count_refusal(&name) < 2 => {
                SimulatedResponse::Refuse(StatusCode::TOO_MANY_REQUESTS, Some(2))
            }
            Behaviour::BounceSoft if self.count_refusal(&name) < 2 => {
                SimulatedResponse::Refuse(StatusCode::SERVICE_UNAVAILABLE, None)
            }
            Behaviour::Down => SimulatedResponse::Refuse(StatusCode::SERVICE_UNAVAILABLE, None),
            Behaviour::Timeout => SimulatedResponse::Hang { accepted: true, silent: false },
            _ => {
                lock(&self.refusals).remove(&name);
                SimulatedResponse::Accept
            }
        }
    }

    /// Accepts or refuses a well-formed message as the provider would. Reports on it if it is accepted.
    pub(crate) async fn receive(
        self: &Arc<Self>,
        provider: &'static dyn ProviderSimulation,
        mut message: Message,
    ) -> Response {
        let key = message.key.clone().map(|key| (message.account.config.clone(), key));
        if let Some(earlier) = key.as_ref().and_then(|key| lock(&self.accepted).get(key).cloned()) {
            return provider.accepted_response(&earlier);
        }
        let behaviour = behaviour_of(&message.to);
        if lock(&self.opted_out).contains(&message.to)
            && let Some(refused) = provider.opted_out(&message)
        {
            return refused;
        }
        let (hangs, is_silent) = match self.response_for(&message, behaviour) {
            SimulatedResponse::Refuse(status, retry_after) => return refusal(provider, status, retry_after),
            SimulatedResponse::Reset => return reset(),
            SimulatedResponse::Hang { accepted: false, .. } => return hang().await,
            SimulatedResponse::Hang { silent, .. } => (true, silent),
            SimulatedResponse::Accept => (false, false),
        };
        message.id = provider.message_id(&self.context);
        let id = self.inbox.add(InboxEntry::new(&message, self.context.time()));
        self.keep(id, Received { provider, message: message.clone() });
        if let Some(key) = key {
            self.remember(key, message.clone());
        }
        let accepted = provider.accepted_response(&message);
        if !is_silent {
            tokio::spawn(self.clone().play_reports(id, provider, message, behaviour));
        }
        if hangs { hang().await } else { accepted }
    }

    /// Reports what happens to a message, step by step.
    async fn play_reports(
        self: Arc<Self>,
        id: u64,
        provider: &'static dyn ProviderSimulation,
        message: Message,
        behaviour: Behaviour,
    ) {
        let report = async |after: Duration, step: Step| {
            tokio::time::sleep(after).await;
            self.report(id, provider, &message, step).await;
        };
        provider.prepare_reports(&self.context, &message).await;
        report(Duration::ZERO, Step::Accepted).await;
        report(Duration::ZERO, Step::Sent).await;
        match behaviour {
            Behaviour::BounceHard => report(STEP_DELAY, Step::Bounced).await,
            Behaviour::Returned => report(STEP_DELAY, Step::SoftBounced).await,
            Behaviour::Slow => report(self.context.clock.to_wall_clock(SLOW_MS), Step::Delivered).await,
            _ => report(STEP_DELAY, Step::Delivered).await,
        }
        match behaviour {
            Behaviour::Opened => report(STEP_DELAY, Step::Opened).await,
            Behaviour::Clicked => {
                report(STEP_DELAY, Step::Opened).await;
                report(STEP_DELAY, Step::Clicked).await;
            }
            Behaviour::Complaint => {
                self.opt_out(&message.to);
                report(STEP_DELAY, Step::Complained).await;
            }
            Behaviour::Stop => {
                self.opt_out(&message.to);
                report(STEP_DELAY, Step::OptedOut).await;
            }
            _ => (),
        }
    }

    /// Reports a step, as the provider does. Returns whether the provider reports it at all.
    pub(crate) async fn report(
        &self,
        id: u64,
        provider: &'static dyn ProviderSimulation,
        message: &Message,
        step: Step,
    ) -> bool {
        let batched = provider.batched_report(&self.context, message, step);
        let callback = provider.report(&self.context, message, step);
        let is_reported = batched.is_some() || callback.is_some();
        if let Some(report) = batched {
            let (url, body) = (message.account.callback_url.clone(), report.to_string());
            self.inbox.add_callback(id, SentCallback { url, body, at: self.context.time() });
            self.batch_report(provider, message, report);
        }
        if let Some(callback) = callback {
            self.send(id, callback).await;
        }
        is_reported
    }

    /// Sends a callback about a message of the inbox.
    pub(crate) async fn send(&self, id: u64, callback: Callback) {
        let (url, body) = (callback.url.clone(), callback.body.clone());
        self.inbox.add_callback(id, SentCallback { url, body, at: self.context.time() });
        self.context.post(callback).await;
    }

    fn keep(&self, id: u64, received: Received) {
        let mut kept = lock(&self.received);
        kept.insert(id, received);
        while MAX_ENTRIES < kept.len() {
            kept.pop_first();
        }
    }

    pub(crate) fn received(&self, id: u64) -> Option<Received> {
        lock(&self.received).get(&id).cloned()
    }

    /// Removes all messages from the inbox.
    pub fn clear_inbox(&self) {
        self.inbox.clear();
        lock(&self.received).clear();
    }

    /// Faults that were injected and are not used up.
    pub fn faults(&self) -> Vec<Fault> {
        self.faults.active()
    }

    /// Sends a report together with others of its account.
    fn batch_report(&self, provider: &'static dyn ProviderSimulation, message: &Message, report: Value) {
        // Sending fails only if the receiver is gone, because the process is ending.
        let _ = self.batches.send(BatchedReport { provider, account: message.account.clone(), report });
    }

    fn remember(&self, key: (String, String), message: Message) {
        let mut accepted = lock(&self.accepted);
        if MAX_KEYS <= accepted.len() {
            accepted.clear();
        }
        accepted.insert(key, message);
    }

    /// Records that an address opted out. Email providers still accept messages for it.
    pub(crate) fn opt_out(&self, address: &str) {
        lock(&self.opted_out).insert(address.to_owned());
    }
}
