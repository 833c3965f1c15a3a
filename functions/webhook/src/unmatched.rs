//! Facts about messages that nobody knows yet: a callback may come before our own note of the provider's id.

use domain::ports::{DocumentKey, TryAgain};
use domain::provider::Told;
use events::TenantId;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use shell::hint::Message;
use shell::problem::Problem;

use crate::{Webhook, log};

/// Seconds before each try. After the last it stays in the log as unmatched.
const DELAYS_S: [u32; 6] = [5, 30, 120, 600, 900, 900];
/// Longer than all tries together, in milliseconds.
const KEPT_MS: i64 = 24 * 3_600_000;

/// What waits, and by whose word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parked {
    pub config: String,
    pub provider: String,
    pub told: Vec<Told>,
}

fn key(tenant: &TenantId, name: &str) -> DocumentKey {
    DocumentKey { tenant: tenant.clone(), shelf: "parked", name: name.to_owned() }
}

impl Webhook {
    /// Puts facts aside, if there are any, and asks to be shown them again.
    ///
    /// # Errors
    ///
    /// [`Problem`] with 503: the provider sends them again.
    pub async fn park(&self, tenant: &TenantId, name: &str, parked: &Parked, tries: u32) -> Result<(), Problem> {
        let Some(delay_s) = DELAYS_S.get(tries as usize).filter(|_| !parked.told.is_empty()) else { return Ok(()) };
        let body = serde_json::to_string(parked).unwrap_or_default();
        self.documents.put_document(&key(tenant, name), &body, Some(self.host.now() + KEPT_MS)).await?;
        let again = TryAgain { tenant: tenant.clone(), name: name.to_owned(), tries: tries + 1 };
        Ok(self.inbox.again(&again, *delay_s).await?)
    }

    /// Looks at what was put aside once more.
    ///
    /// # Errors
    ///
    /// [`Problem`]: nothing that counts was changed, and it is to be shown again.
    pub async fn try_again(&self, TryAgain { tenant, name, tries }: TryAgain) -> Result<(), Problem> {
        let key = key(&tenant, &name);
        let Some(kept) = self.documents.document(&key, self.host.now()).await? else { return Ok(()) };
        let Ok(Parked { config, provider, told }) = serde_json::from_str(&kept) else {
            tracing::error!(name, "what was put aside cannot be read");
            return Ok(());
        };
        let (callbacks, unknown) = self.find_all(Some(&tenant), &config, told).await?;
        self.record(&provider, callbacks).await?;
        let is_last = DELAYS_S.len() <= tries as usize;
        if !unknown.is_empty() && !is_last {
            return self.park(&tenant, &name, &Parked { config, provider, told: unknown }, tries).await;
        }
        let status = if unknown.is_empty() { log::PROCESSED } else { log::UNMATCHED };
        if !unknown.is_empty() {
            tracing::warn!(config, facts = unknown.len(), "a callback for unknown messages");
        }
        self.relabel(&tenant, &name, status).await?;
        Ok(self.documents.remove_document(&key).await?)
    }
}

/// Messages of the inbox queue; the ids of those to be shown again.
pub async fn batch(webhook: &Webhook, messages: Vec<Message>) -> Vec<String> {
    let one = async |message: Message| {
        let again: TryAgain = match serde_json::from_str(&message.body) {
            Ok(again) => again,
            Err(error) => {
                tracing::error!(message_id = message.id, %error, "not a message of the inbox");
                return None;
            }
        };
        webhook.try_again(again).await.is_err().then_some(message.id)
    };
    join_all(messages.into_iter().map(one)).await.into_iter().flatten().collect()
}
