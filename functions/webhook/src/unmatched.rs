//! Facts about messages that nobody knows yet: a callback may come before our own note of the provider's id.

use application::hint::QueueMessage;
use domain::ports::{DocumentKey, UnmatchedRetry};
use domain::provider::ProviderReport;
use events::TenantId;
use futures_util::future::join_all;
use problem::Problem;
use serde::{Deserialize, Serialize};

use crate::{Webhook, log};

/// Seconds before each try. After the last it stays in the log as unmatched.
const RETRY_DELAYS_S: [u32; 6] = [5, 30, 120, 600, 900, 900];
/// Longer than all tries together, in milliseconds.
const RETENTION_MS: i64 = 24 * 3_600_000;

/// What waits, and by whose word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnmatchedReports {
    pub config: String,
    pub provider: String,
    pub told: Vec<ProviderReport>,
}

fn key(tenant: &TenantId, name: &str) -> DocumentKey {
    DocumentKey { tenant: tenant.clone(), collection: "parked", name: name.to_owned() }
}

impl Webhook {
    /// Puts facts aside, if there are any, and asks to be shown them again.
    ///
    /// # Errors
    ///
    /// [`Problem`] with 503: the provider sends them again.
    pub async fn store_unmatched(
        &self,
        tenant: &TenantId,
        name: &str,
        parked: &UnmatchedReports,
        tries: u32,
    ) -> Result<(), Problem> {
        let Some(delay_s) = RETRY_DELAYS_S.get(tries as usize).filter(|_| !parked.told.is_empty()) else {
            return Ok(());
        };
        let body = serde_json::to_string(parked).unwrap_or_default();
        self.documents.put_document(&key(tenant, name), &body, Some(self.host.now() + RETENTION_MS)).await?;
        let again = UnmatchedRetry { tenant: tenant.clone(), name: name.to_owned(), tries: tries + 1 };
        Ok(self.inbox.enqueue(&again, *delay_s).await?)
    }

    /// Looks at what was put aside once more.
    ///
    /// # Errors
    ///
    /// [`Problem`]: nothing that counts was changed, and it is to be shown again.
    pub async fn retry_unmatched(&self, UnmatchedRetry { tenant, name, tries }: UnmatchedRetry) -> Result<(), Problem> {
        let key = key(&tenant, &name);
        let Some(kept) = self.documents.get_document(&key, self.host.now()).await? else { return Ok(()) };
        let Ok(UnmatchedReports { config, provider, told }) = serde_json::from_str(&kept) else {
            tracing::error!(name, "what was put aside cannot be read");
            return Ok(());
        };
        let (callbacks, unknown) = self.match_reports(Some(&tenant), &config, told).await?;
        self.record(&provider, callbacks).await?;
        let is_last = RETRY_DELAYS_S.len() <= tries as usize;
        if !unknown.is_empty() && !is_last {
            return self
                .store_unmatched(&tenant, &name, &UnmatchedReports { config, provider, told: unknown }, tries)
                .await;
        }
        let status = if unknown.is_empty() { log::PROCESSED } else { log::UNMATCHED };
        if !unknown.is_empty() {
            tracing::warn!(config, facts = unknown.len(), "a callback for unknown messages");
        }
        self.set_status(&tenant, &name, status).await?;
        Ok(self.documents.delete_document(&key).await?)
    }
}

/// Messages of the inbox queue; the ids of those to be shown again.
pub async fn batch(webhook: &Webhook, messages: Vec<QueueMessage>) -> Vec<String> {
    let one = async |message: QueueMessage| {
        let again: UnmatchedRetry = match serde_json::from_str(&message.body) {
            Ok(again) => again,
            Err(error) => {
                tracing::error!(message_id = message.id, %error, "not a message of the inbox");
                return None;
            }
        };
        webhook.retry_unmatched(again).await.is_err().then_some(message.id)
    };
    join_all(messages.into_iter().map(one)).await.into_iter().flatten().collect()
}
