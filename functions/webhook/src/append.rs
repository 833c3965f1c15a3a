//! Appends delivery reports, and suppresses addresses that must not be sent to any more.

use std::collections::{BTreeMap, BTreeSet};

use crate::matching::StreamReport;
use crate::{MAX_CONCURRENT_STREAMS, WebhookError, WebhookHandler};
use application::hint::try_send_if_fallback_due;
use application::suppression::{SuppressionEntry, SuppressionRegister};
use application::{CommandContext, CommandExecutor, ExecuteError, document};
use domain::communication::{Command, DeliveryReport, Rejection};
use domain::ports::{AddressKey, CommunicationKey, ContentKey, DocumentKey, StoreError};
use events::{Channel, CommunicationId, ReportedStatus, TenantId};
use futures_util::future::join_all;

/// Consecutive soft bounces, each of another message, after which an address is suppressed.
const MAX_SOFT_BOUNCES: usize = 5;
const SOFT_BOUNCES_REASON: &str = "soft_bounces";
/// How long soft bounces are counted after the last one, in milliseconds.
const SOFT_BOUNCE_WINDOW_MS: i64 = 90 * 24 * 3_600_000;
/// Times that the count of soft bounces is read and replaced again because another callback changed it.
const MAX_COUNT_RETRIES: usize = 10;

fn soft_bounce_key(contact: &AddressKey) -> DocumentKey {
    let name = format!("{}#{}", contact.channel.as_str(), contact.contact_hash);
    DocumentKey { tenant: contact.tenant.clone(), collection: "returned", name }
}

/// The codes of messages that a provider dropped because it knows that the address is not valid.
const INVALID_ADDRESS_CODES: [&str; 2] = ["bounced_address", "invalid"];

/// The reason why the address of this report must not be sent to again. Returns `None` if it can be.
pub fn suppression_reason(report: &DeliveryReport) -> Option<&'static str> {
    match (report.fact, report.code.as_deref()) {
        (ReportedStatus::Bounced | ReportedStatus::Complained | ReportedStatus::Unsubscribed, _) => {
            Some(report.fact.as_str())
        }
        (ReportedStatus::Dropped, Some(code)) if INVALID_ADDRESS_CODES.contains(&code) => {
            Some(ReportedStatus::Bounced.as_str())
        }
        _ => None,
    }
}

fn proves_delivery(status: ReportedStatus) -> bool {
    matches!(status, ReportedStatus::Delivered | ReportedStatus::Opened | ReportedStatus::Clicked)
}

/// The context of what a provider reports.
pub(crate) fn context(provider: &str) -> CommandContext {
    CommandContext::function(&format!("webhook:{provider}"))
}

impl WebhookHandler {
    /// Appends the reports, with a single append for each communication. Returns how many of them concern a known
    /// attempt.
    ///
    /// # Errors
    ///
    /// [`WebhookError::ReportsNotStored`]
    pub async fn append_reports(&self, provider: &str, reports: Vec<StreamReport>) -> Result<usize, WebhookError> {
        let mut by_stream: BTreeMap<CommunicationKey, Vec<DeliveryReport>> = BTreeMap::new();
        for StreamReport { key, report } in reports {
            by_stream.entry(key).or_default().push(report);
        }
        let streams: Vec<_> = by_stream.into_iter().collect();
        let (mut applied, mut failed) = (0, None);
        for chunk in streams.chunks(MAX_CONCURRENT_STREAMS) {
            let appends = chunk.iter().map(|(key, reports)| self.append_to_stream(provider, key, reports));
            for result in join_all(appends).await {
                match result {
                    Ok(count) => applied += count,
                    Err(error) => failed = Some(error),
                }
            }
        }
        match failed {
            None => Ok(applied),
            Some(error) => {
                tracing::error!(provider, %error, "a callback could not be stored");
                Err(WebhookError::ReportsNotStored(error))
            }
        }
    }

    async fn append_to_stream(
        &self,
        provider: &str,
        key: &CommunicationKey,
        reports: &[DeliveryReport],
    ) -> Result<usize, ExecuteError> {
        let context = context(provider);
        let executor = CommandExecutor { store: &*self.store, host: &*self.host, origin: &context };
        let loaded = executor.load(key).await?;
        let Ok(communication) = loaded.state.requested() else {
            tracing::warn!(provider, id = %key.id, "a callback for an unknown communication");
            return Ok(0);
        };
        let contact = AddressKey {
            tenant: key.tenant.clone(),
            channel: communication.request.channel,
            contact_hash: communication.request.contact_hash.clone(),
        };
        let content = ContentKey::for_request(key, &communication.request, &communication.content_id);
        self.update_suppression(provider, &contact, &key.id, &content, reports).await?;
        match executor.execute_loaded(key, loaded, Command::Report(reports.to_vec())).await {
            Err(ExecuteError::Rejected(Rejection::UnknownAttempt)) => {
                tracing::warn!(provider, id = %key.id, "a callback for an unknown attempt");
                Ok(0)
            }
            Err(error) => Err(error),
            Ok(updated) => {
                try_send_if_fallback_due(&*self.queue, &*self.host, key, &updated).await;
                Ok(reports.len())
            }
        }
    }

    /// Suppresses the address or counts a soft bounce, depending on the reports. This happens before the reports are
    /// appended, so that the provider's retry repairs a crash in between.
    async fn update_suppression(
        &self,
        provider: &str,
        contact: &AddressKey,
        id: &CommunicationId,
        content: &ContentKey,
        reports: &[DeliveryReport],
    ) -> Result<(), StoreError> {
        if let Some(reason) = reports.iter().find_map(suppression_reason) {
            let address = self.recipient_address(content).await?;
            self.suppress(provider, contact, address, reason, Some(*id)).await
        } else if contact.channel != Channel::Email {
            Ok(())
        } else if reports.iter().any(|report| proves_delivery(report.fact)) {
            self.reset_soft_bounces(contact).await
        } else if reports.iter().any(|report| report.fact == ReportedStatus::Undelivered) {
            self.count_soft_bounce(provider, contact, id, content).await
        } else {
            Ok(())
        }
    }

    /// Adds an address to the suppression list. `address` is only shown to people. Messages are checked by its hash.
    pub(crate) async fn suppress(
        &self,
        provider: &str,
        contact: &AddressKey,
        address: Option<String>,
        reason: &str,
        communication: Option<CommunicationId>,
    ) -> Result<(), StoreError> {
        let entry = SuppressionEntry {
            channel: contact.channel,
            contact: address,
            reason: reason.to_owned(),
            at: self.host.now(),
            by: context(provider).actor,
            communication,
        };
        self.suppression_list().add(contact, &entry).await
    }

    pub(crate) fn suppression_list(&self) -> SuppressionRegister<'_> {
        SuppressionRegister { store: &*self.store, documents: &*self.documents }
    }

    /// Returns the recipient's address, or `None` if it was erased.
    async fn recipient_address(&self, content: &ContentKey) -> Result<Option<String>, StoreError> {
        Ok(self.vault.get(content, self.host.now()).await?.map(|content| content.recipient_contact))
    }

    /// Counts a soft bounce. Five consecutive soft bounces suppress the address. Concurrent counts of others are kept.
    async fn count_soft_bounce(
        &self,
        provider: &str,
        contact: &AddressKey,
        id: &CommunicationId,
        content: &ContentKey,
    ) -> Result<(), StoreError> {
        let key = soft_bounce_key(contact);
        for _ in 0..MAX_COUNT_RETRIES {
            let now = self.host.now();
            let stored = self.documents.get_document(&key, now).await?;
            let mut bounced: BTreeSet<CommunicationId> =
                stored.as_deref().and_then(|stored| serde_json::from_str(stored).ok()).unwrap_or_default();
            if !bounced.insert(*id) {
                return Ok(());
            }
            // The address is suppressed before the count is stored, so that the provider's retry repairs a crash in
            // between.
            if bounced.len() >= MAX_SOFT_BOUNCES {
                let address = self.recipient_address(content).await?;
                self.suppress(provider, contact, address, SOFT_BOUNCES_REASON, Some(*id)).await?;
            }
            let (body, until) = (document::encode(&bounced)?, Some(now + SOFT_BOUNCE_WINDOW_MS));
            if self.documents.replace_document(&key, stored.as_deref(), &body, until, now).await? {
                return Ok(());
            }
        }
        Err(StoreError::Unavailable("others counted soft bounces of the address at the same time".to_owned()))
    }

    /// Resets the count of soft bounces after a message was delivered.
    async fn reset_soft_bounces(&self, contact: &AddressKey) -> Result<(), StoreError> {
        let key = soft_bounce_key(contact);
        match self.documents.get_document(&key, self.host.now()).await? {
            Some(_) => self.documents.delete_document(&key).await,
            None => Ok(()),
        }
    }

    /// Returns the key of an address that a provider's callback contains.
    pub(crate) fn address_key(&self, tenant: &TenantId, channel: Channel, address: &str) -> AddressKey {
        let address = domain::address::normalise(channel, address, None).unwrap_or_else(|_| address.to_owned());
        let contact_hash = application::hash::contact_hash(&self.contact_key, tenant, &address);
        AddressKey { tenant: tenant.clone(), channel, contact_hash }
    }
}
