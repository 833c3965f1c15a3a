//! What a provider reports of a message, and the requests it makes to us for that.

use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::message::{Message, RegisteredConfig, Step};
use crate::recipients::Behaviour;
use crate::simulator::Simulator;

/// The time between two steps of one message.
const STEP_DELAY: Duration = Duration::from_millis(20);
/// Messages to slow recipients take this long, in milliseconds of the simulator's clock.
const SLOW_MS: i64 = 30_000;
/// Reports that come within this time of each other travel in one callback.
const BATCH_WINDOW: Duration = Duration::from_millis(30);
/// The most reports that one callback carries.
const MAX_BATCH: usize = 200;

/// The API of one provider: the formats of its answers and its callbacks.
#[async_trait]
pub trait ProviderSimulation: Send + Sync {
    /// A new message id in the provider's format.
    fn message_id(&self, simulator: &Simulator) -> String {
        simulator.unique_id()
    }

    /// The answer to a message that is accepted.
    fn accepted_response(&self, message: &Message) -> Response;

    /// The answer to a message that is refused with 400, 401, 402 or 429. Other errors have no provider's format.
    fn refusal(&self, status: StatusCode) -> Response;

    /// The answer to a message for a recipient who opted out. None: the provider accepts it all the same.
    fn opted_out(&self, _: &Message) -> Option<Response> {
        None
    }

    /// Runs before the first report of a message.
    async fn prepare_reports(&self, _: &Simulator, _: &Message) {}

    /// The callback that reports a step. None: the provider does not report it, or batches it.
    fn report(&self, simulator: &Simulator, message: &Message, step: Step) -> Option<Callback>;

    /// The callback that carries reports given to [`Simulator::batch_report`].
    fn batch(&self, _: &Simulator, account: &RegisteredConfig, reports: Vec<Value>) -> Callback {
        Callback::json(&account.callback_url, &Value::Array(reports))
    }
}

/// A request that a provider makes to us.
#[derive(Debug, Clone)]
pub struct Callback {
    pub url: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
}

impl Callback {
    pub fn json(url: impl Into<String>, body: &Value) -> Callback {
        let headers = vec![("content-type", "application/json".to_owned())];
        Callback { url: url.into(), headers, body: body.to_string() }
    }

    pub fn form(url: impl Into<String>, fields: &[(&str, &str)]) -> Callback {
        let headers = vec![("content-type", "application/x-www-form-urlencoded".to_owned())];
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        Callback { url: url.into(), headers, body }
    }

    /// Adds a header.
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Callback {
        self.headers.push((name, value.into()));
        self
    }
}

/// A report that waits to travel with others.
pub struct BatchedReport {
    provider: &'static dyn ProviderSimulation,
    account: Arc<RegisteredConfig>,
    report: Value,
}

/// Sends batched reports, one callback for each account, until the simulator is dropped.
pub async fn run_batches(simulator: Weak<Simulator>, mut reports: UnboundedReceiver<BatchedReport>) {
    let mut batch = Vec::new();
    while reports.recv_many(&mut batch, MAX_BATCH).await > 0 {
        tokio::time::sleep(BATCH_WINDOW).await;
        while batch.len() < MAX_BATCH
            && let Ok(report) = reports.try_recv()
        {
            batch.push(report);
        }
        let Some(simulator) = simulator.upgrade() else { return };
        while let Some(BatchedReport { provider, account, .. }) = batch.first() {
            let (provider, account) = (*provider, account.clone());
            let (of_account, others): (Vec<_>, Vec<_>) = batch.into_iter().partition(|other| other.account == account);
            batch = others;
            let reports = of_account.into_iter().map(|batched| batched.report).collect();
            simulator.post(provider.batch(&simulator, &account, reports)).await;
        }
    }
}

impl Simulator {
    /// Sends a report together with others, by [`ProviderSimulation::batch`].
    pub fn batch_report(
        &self,
        provider: &'static dyn ProviderSimulation,
        account: Arc<RegisteredConfig>,
        report: Value,
    ) {
        // Without a receiver the process is ending.
        let _ = self.batches.send(BatchedReport { provider, account, report });
    }

    /// Reports what happens to a message, step by step.
    pub async fn play_reports(
        self: Arc<Self>,
        provider: &'static dyn ProviderSimulation,
        message: Message,
        behaviour: Behaviour,
    ) {
        let report = async |after: Duration, step: Step| {
            tokio::time::sleep(after).await;
            if let Some(callback) = provider.report(&self, &message, step) {
                self.post(callback).await;
            }
        };
        provider.prepare_reports(&self, &message).await;
        report(Duration::ZERO, Step::Accepted).await;
        report(Duration::ZERO, Step::Sent).await;
        match behaviour {
            Behaviour::BounceHard => report(STEP_DELAY, Step::Bounced).await,
            Behaviour::Returned => report(STEP_DELAY, Step::SoftBounced).await,
            Behaviour::Slow => report(self.clock.to_wall_clock(SLOW_MS), Step::Delivered).await,
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

    /// Sends a callback, at most three times until it succeeds.
    pub async fn post(&self, callback: Callback) {
        for wait_ms in [100, 500, 2_000] {
            let request = self.client.post(&callback.url).body(callback.body.clone());
            let request = callback.headers.iter().fold(request, |request, (name, value)| request.header(*name, value));
            if request.send().await.is_ok_and(|answer| answer.status().is_success()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
        }
    }
}
