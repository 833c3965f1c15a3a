//! Delivery reports whose message is not known yet. A callback can arrive before the provider's message id is stored.

use application::callback_log::{self, CallbackStatus};
use application::document;
use application::hint::QueueMessage;
use domain::ports::{DocumentKey, StoreError, UnmatchedRetry};
use domain::provider::ProviderReport;
use events::TenantId;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use crate::{WebhookError, WebhookHandler};

/// Seconds before each retry. After the last one the callback's log entry stays `unmatched`.
const RETRY_DELAYS_S: [u32; 6] = [5, 30, 120, 600, 900, 900];
/// How long the reports are stored, in milliseconds. All retries together take less time.
const RETENTION_MS: i64 = 24 * 3_600_000;

/// Reports of one callback that wait for their messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnmatchedReports {
    /// The provider configuration that was called.
    pub config: String,
    pub provider: String,
    #[serde(rename = "told")]
    pub reports: Vec<ProviderReport>,
}

fn key(tenant: &TenantId, name: &str) -> DocumentKey {
    DocumentKey { tenant: tenant.clone(), collection: "parked", name: name.to_owned() }
}

impl WebhookHandler {
    /// Stores unmatched reports and schedules their next retry. Does nothing if there are none, or after the last
    /// retry.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the provider must send the callback again.
    pub async fn store_unmatched(
        &self,
        tenant: &TenantId,
        name: &str,
        unmatched: &UnmatchedReports,
        tries: u32,
    ) -> Result<(), StoreError> {
        let Some(delay_s) = RETRY_DELAYS_S.get(tries as usize).filter(|_| !unmatched.reports.is_empty()) else {
            return Ok(());
        };
        let body = document::encode(unmatched)?;
        self.documents.put_document(&key(tenant, name), &body, Some(self.host.now() + RETENTION_MS)).await?;
        let retry = UnmatchedRetry { tenant: tenant.clone(), name: name.to_owned(), tries: tries + 1 };
        self.unmatched.enqueue(&retry, *delay_s).await
    }

    /// Tries to match stored reports once more.
    ///
    /// # Errors
    ///
    /// [`WebhookError`]: the queue must deliver the message again. What was appended already is not appended twice.
    pub async fn retry_unmatched(
        &self,
        UnmatchedRetry { tenant, name, tries }: UnmatchedRetry,
    ) -> Result<(), WebhookError> {
        let key = key(&tenant, &name);
        let Some(stored) = self.documents.get_document(&key, self.host.now()).await? else { return Ok(()) };
        let Ok(UnmatchedReports { config, provider, reports }) = serde_json::from_str(&stored) else {
            tracing::error!(name, "stored unmatched reports cannot be read");
            return Ok(());
        };
        let (matched, reports) = self.match_reports(Some(&tenant), (&config, &provider), reports).await?;
        self.append_reports(&provider, matched).await?;
        let is_last = RETRY_DELAYS_S.len() <= tries as usize;
        if !reports.is_empty() && !is_last {
            let unmatched = UnmatchedReports { config, provider, reports };
            return Ok(self.store_unmatched(&tenant, &name, &unmatched, tries).await?);
        }
        let status = if reports.is_empty() { CallbackStatus::Processed } else { CallbackStatus::Unmatched };
        if !reports.is_empty() {
            tracing::warn!(config, facts = reports.len(), "a callback for unknown messages");
        }
        callback_log::set_status(&*self.documents, &tenant, &name, status, self.host.now()).await?;
        Ok(self.documents.delete_document(&key).await?)
    }
}

/// Handles messages of the queue of unmatched reports concurrently. Returns the ids of the messages that must be
/// delivered again.
pub async fn handle_batch(webhook: &WebhookHandler, messages: Vec<QueueMessage>) -> Vec<String> {
    let handle = async |message: QueueMessage| {
        let retry: UnmatchedRetry = match serde_json::from_str(&message.body) {
            Ok(retry) => retry,
            Err(error) => {
                tracing::error!(message_id = message.id, %error, "not a message of the queue of unmatched reports");
                return None;
            }
        };
        let error = webhook.retry_unmatched(retry).await.err()?;
        tracing::error!(message_id = message.id, %error, "a retry of unmatched reports failed");
        Some(message.id)
    };
    join_all(messages.into_iter().map(handle)).await.into_iter().flatten().collect()
}
