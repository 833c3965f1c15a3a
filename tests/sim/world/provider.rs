//! A simulated provider. The seed decides whether it accepts a message, whether it answers, and whether it calls back.

use async_trait::async_trait;
use domain::communication::{AttemptOutcome, DeliveryReport};
use domain::ports::{CommunicationKey, OutboundMessage, Provider, ProviderConfig, QueryResult, SendResult, StoreError};
use domain::provider::Capabilities;
use events::{CommunicationId, InDoubtCause, RefusalClass, ReportedStatus, Timestamp};

use super::World;
use super::faults::Fault;
use super::state::{Call, Callback};
use crate::bugs::Bug;

/// One account of a simulated provider.
pub struct SimProvider {
    pub world: World,
    pub account: ProviderConfig,
    /// Whether it can be queried about an attempt in doubt.
    pub answers: bool,
    /// Whether its callbacks carry the id of our attempt.
    pub echoes: bool,
}

#[async_trait]
impl Provider for SimProvider {
    fn config(&self) -> &ProviderConfig {
        &self.account
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { echoes_our_id: self.echoes, query: self.answers, ..Capabilities::TEXT }
    }

    /// Accepts the message or not, and answers early, late or never. Callbacks come never, once or twice, in any order.
    async fn send(&self, outbound: &OutboundMessage, timeout_ms: u64) -> SendResult {
        let scripted = self.world.yield_point("provider call").await;
        let plain = |answer: AttemptOutcome| SendResult::from(answer);
        let refused =
            |class, after| plain(AttemptOutcome::Refused { class, code: "sim".to_owned(), retry_after_ms: after });
        let (draw, latency, bug) = {
            let mut state = self.world.state();
            let draw = match scripted {
                Fault::Error => 0,
                Fault::ErrorAfterEffect => 14,
                Fault::ErrorBeforeEffect => 20,
                Fault::Nothing | Fault::Kill if state.is_down(&self.account.id) => {
                    // Refuses or, if the seed decides so, hangs.
                    8 + if state.faults { 12 * state.rng.below(2) } else { 0 }
                }
                Fault::Nothing | Fault::Kill if state.faults => state.rng.below(100),
                Fault::Nothing | Fault::Kill => 99,
            };
            (draw, state.rng.below(300) as i64, state.bug)
        };
        // The effect comes first, the answer later.
        let taken = !(draw < 14 || (20..26).contains(&draw));
        let by = (!self.echoes).then(|| format!("sim-{}", outbound.attempt));
        self.world.record_call(outbound, &self.account.id, taken, by);
        let hangs = (14..26).contains(&draw);
        {
            let mut state = self.world.state();
            state.injected += u64::from(draw < 32);
            state.resume_at = state.now + if hangs || state.is_slow { timeout_ms as i64 } else { latency };
        }
        self.world.yield_point("provider answer").await;
        match draw {
            0..5 => refused(RefusalClass::Transient, None),
            5..8 => refused(RefusalClass::Throttled, Some(5_000)),
            8..11 => refused(RefusalClass::Unavailable, None),
            11..12 => refused(RefusalClass::Permanent, None),
            12..14 => refused(RefusalClass::Auth, None),
            14..32 if bug == Some(Bug::AmbiguousIsFailed) => refused(RefusalClass::Transient, None),
            14..26 => plain(AttemptOutcome::InDoubt(InDoubtCause::Timeout)),
            26..32 => plain(AttemptOutcome::InDoubt(InDoubtCause::ServerError)),
            _ => plain(AttemptOutcome::Accepted {
                provider_message_id: format!("sim-{}", outbound.attempt),
                segments: None,
                cost: None,
                latency_ms: latency as u32,
            }),
        }
    }

    async fn query_delivery(&self, outbound: &OutboundMessage, _: Timestamp, _: Timestamp, _: u64) -> QueryResult {
        if !self.answers {
            return QueryResult::Unsupported;
        }
        if self.world.read_io("query").await.is_err() {
            return QueryResult::NoResponse;
        }
        let state = self.world.state();
        match state.calls.iter().any(|call| call.taken && call.attempt == outbound.attempt) {
            true => QueryResult::Accepted(format!("sim-{}", outbound.attempt)),
            false => QueryResult::NotAccepted,
        }
    }
}

impl World {
    /// Erases all content of a communication from the vault, like the erasure of a data subject.
    pub async fn erase(&self, id: CommunicationId) -> Result<(), StoreError> {
        self.write_io("erase", |state| state.vault.retain(|key, _| key.id != id)).await
    }

    fn record_call(&self, outbound: &OutboundMessage, config: &str, taken: bool, by: Option<String>) {
        let mut state = self.state();
        let at = state.now;
        let (tenant, attempt, config) = (outbound.tenant.clone(), outbound.attempt, config.to_owned());
        let text = if state.keeps_texts { format!("{:?}", outbound.message) } else { String::new() };
        state.calls.push(Call { tenant, attempt, config, at, taken, text });
        if !taken {
            return;
        }
        let facts: &[ReportedStatus] = match state.rng.below(10) {
            0 => &[ReportedStatus::Accepted, ReportedStatus::Bounced],
            1 => &[ReportedStatus::Accepted, ReportedStatus::Undelivered],
            2..4 => {
                &[ReportedStatus::Accepted, ReportedStatus::Delivered, ReportedStatus::Opened, ReportedStatus::Clicked]
            }
            _ => &[ReportedStatus::Accepted, ReportedStatus::Delivered],
        };
        let silent = state.is_silent || state.faults && state.rng.percent(15);
        for fact in facts.iter().filter(|_| !silent) {
            let copies = 1 + u64::from(state.faults && state.rng.percent(10));
            for _ in 0..copies {
                let wait = match state.rng.below(20) {
                    0 if state.faults => 400_000,
                    _ => state.rng.below(60_000) as i64,
                };
                let key = CommunicationKey { tenant: outbound.tenant.clone(), id: outbound.attempt.communication };
                let report = DeliveryReport {
                    attempt: by.is_none().then_some(outbound.attempt.number),
                    fact: *fact,
                    event_id: None,
                    at: Timestamp(at),
                    code: None,
                };
                state.callbacks.push(Callback { at: at + wait, key, report, by: by.clone() });
            }
        }
    }
}
