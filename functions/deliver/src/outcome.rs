//! Calls the provider and stores the result.

use std::sync::Arc;

use application::directory::provider_message_key;
use application::suppression::{SuppressionEntry, SuppressionRegister};
use application::{CommandExecutor, ExecuteError, Loaded, exchanges};
use domain::communication::{AttemptOutcome, Command, DeliveryReport, Lifecycle};
use domain::exchange::RecordedExchange;
use domain::ports::{AddressKey, CommunicationKey, OutboundMessage, Provider, SendResult, StoreError};
use domain::prices::MessageCost;
use events::ReportedStatus;
use futures_util::future::join;

use crate::DeliverError;
use crate::delivery::DeliveryRun;

/// How often recording an outcome is tried. Each time, the SDK itself tries three times.
const MAX_RECORD_TRIES: usize = 3;
/// How long a provider's message id is stored, in milliseconds. Callbacks that name it later are not matched.
const PROVIDER_MESSAGE_ID_TTL_MS: i64 = 30 * 24 * 3_600_000;

impl DeliveryRun<'_> {
    /// Calls the provider once and records the outcome.
    pub async fn send(
        &self,
        executor: &CommandExecutor<'_>,
        claimed: Loaded,
        outbound: OutboundMessage,
        provider: Arc<dyn Provider>,
    ) -> Result<(), DeliverError> {
        let SendResult { mut answer, opted_out, facts, exchange } =
            provider.send(&outbound, self.call_timeout_ms()).await;
        let communication = claimed.state.requested().map_err(ExecuteError::from)?;
        let contact = self.contact_key(&communication.request);
        if let AttemptOutcome::Accepted { provider_message_id, .. } = &answer {
            self.store_provider_message_id(&*provider, &outbound, provider_message_id).await;
        }
        let failover = self.throttle.record_call(&self.key.tenant, communication, &*provider, &answer).await;
        if let AttemptOutcome::Accepted { cost: cost @ None, segments, .. } = &mut answer {
            let segments = segments.or(outbound.message.segments.map(|segments| segments.count));
            let estimate = provider.config().estimate_cost(&outbound.to, segments);
            *cost = estimate.map(|cost| MessageCost { cost, is_estimate: true });
        }
        let outcome = Command::RecordOutcome {
            attempt: outbound.attempt.number,
            now: self.deliver.host.now(),
            chance: self.deliver.host.random() as u64,
            outcome: answer,
            failover,
        };
        let mut updated = record_with_retries(executor, self.key, claimed, outcome).await?;
        log_outcome(self.key, &*provider, &updated);
        if let Some(exchange) = exchange {
            self.store_exchange(&updated, outbound.attempt.number, &exchange).await;
        }
        if !facts.is_empty() {
            let report = Command::Report(self.delivery_reports(&outbound, facts));
            updated = executor.execute_loaded(self.key, updated, report).await?;
        }
        // If a crash prevents this, the provider reports the opt-out again for the next message.
        if opted_out && let Err(error) = self.suppress(&contact, &outbound.to).await {
            tracing::error!(id = %self.key.id, %error, "an opt-out was not stored");
        }
        let communication = updated.state.requested().map_err(ExecuteError::from)?;
        let now = self.deliver.host.now();
        match communication.lifecycle {
            _ if communication.is_fallback_due(now) => self.send_hint(&updated, now).await,
            Lifecycle::RetryWait { until } => self.schedule_hint(&updated, until.at().unwrap_or(now)).await,
            _ => Ok(()),
        }
    }

    /// Stores what was said to the provider, for a person who wants to know why it failed. Best effort.
    async fn store_exchange(&self, updated: &Loaded, attempt: u16, exchange: &RecordedExchange) {
        let Ok(communication) = updated.state.requested() else { return };
        let (documents, now) = (&*self.deliver.documents, self.deliver.host.now());
        let stored = exchanges::store(documents, self.key, &communication.request, attempt, exchange, now).await;
        if let Err(error) = stored {
            tracing::warn!(id = %self.key.id, %error, "the exchange of an attempt was not stored");
        }
    }

    async fn suppress(&self, contact: &AddressKey, address: &str) -> Result<(), StoreError> {
        let entry = SuppressionEntry {
            channel: contact.channel,
            contact: Some(address.to_owned()),
            reason: "provider_opt_out".to_owned(),
            at: self.deliver.host.now(),
            by: "deliver".to_owned(),
            communication: Some(self.key.id),
        };
        SuppressionRegister { store: &*self.deliver.store, documents: &*self.deliver.documents }
            .add(contact, &entry)
            .await
    }

    /// Stores which attempt a provider's message id belongs to, if the provider does not echo our own ids. This happens
    /// before the outcome is stored, so that a callback in between is matched. Best effort: if it fails, callbacks are
    /// not matched, but the outcome is still recorded.
    async fn store_provider_message_id(&self, provider: &dyn Provider, outbound: &OutboundMessage, id: &str) {
        let capabilities = provider.capabilities();
        if capabilities.echoes_our_id || !capabilities.receipts || id.is_empty() {
            return;
        }
        let (config, attempt) = (&provider.config().id, outbound.attempt.to_string());
        let until = Some(self.deliver.host.now() + PROVIDER_MESSAGE_ID_TTL_MS);
        let put = async |name: &str| {
            let key = provider_message_key(&self.key.tenant, config, name);
            if let Err(error) = self.deliver.documents.put_document(&key, &attempt, until).await {
                tracing::error!(id = %self.key.id, %error, "a provider's message id was not stored");
            }
        };
        if capabilities.names_person {
            join(put(id), put(&outbound.to)).await;
        } else {
            put(id).await;
        }
    }

    fn delivery_reports(&self, outbound: &OutboundMessage, statuses: Vec<ReportedStatus>) -> Vec<DeliveryReport> {
        let at = self.deliver.host.now();
        let attempt = Some(outbound.attempt.number);
        let report = |fact| DeliveryReport { attempt, fact, event_id: None, at, code: None };
        statuses.into_iter().map(report).collect()
    }
}

/// Records an outcome, and tries again if the store does not answer. A lost outcome leaves the attempt in doubt, which
/// can lead to a second send.
async fn record_with_retries(
    executor: &CommandExecutor<'_>,
    key: &CommunicationKey,
    claimed: Loaded,
    outcome: Command,
) -> Result<Loaded, ExecuteError> {
    let mut recorded = executor.execute_loaded(key, claimed, outcome.clone()).await;
    for _ in 1..MAX_RECORD_TRIES {
        match recorded {
            Err(
                ExecuteError::Store(StoreError::Unavailable(_))
                | ExecuteError::OutcomeUnknown(_)
                | ExecuteError::Contended,
            ) => {
                recorded = executor.execute(key, outcome.clone()).await;
            }
            other => return other,
        }
    }
    recorded
}

fn log_outcome(key: &CommunicationKey, provider: &dyn Provider, updated: &Loaded) {
    for record in updated.records.iter().rev().take(updated.appended) {
        let event = record.event.name();
        tracing::info!(tenant = %key.tenant, id = %key.id, config = provider.config().id, event, "attempt ended");
    }
}
