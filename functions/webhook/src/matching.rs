//! Finds the communication that a delivery report belongs to.

use application::directory::provider_message_key;
use domain::communication::DeliveryReport;
use domain::ports::{CommunicationKey, StoreError};
use domain::provider::{MessageRef, ProviderReport};
use events::{AttemptId, TenantId};
use futures_util::future::join_all;

use crate::{MAX_CONCURRENT_STREAMS, WebhookHandler};

/// A delivery report and the communication it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamReport {
    pub key: CommunicationKey,
    pub report: DeliveryReport,
}

enum MatchResult {
    Matched(StreamReport),
    /// The provider's message id is not stored. Either the report came before the id was stored, or this deployment did
    /// not send the message.
    Unmatched,
    /// The report names another tenant's message or no valid attempt. A retry would not change that.
    Rejected,
}

impl WebhookHandler {
    /// Returns the reports with their communications, and those whose message is not known yet. Drops reports that name
    /// another tenant's message or no valid attempt.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn match_reports(
        &self,
        owner: Option<&TenantId>,
        config: &str,
        reports: Vec<ProviderReport>,
    ) -> Result<(Vec<StreamReport>, Vec<ProviderReport>), StoreError> {
        let (mut matched, mut unmatched) = (Vec::with_capacity(reports.len()), Vec::new());
        for chunk in reports.chunks(MAX_CONCURRENT_STREAMS) {
            let results = join_all(chunk.iter().map(|report| self.match_report(owner, config, report))).await;
            for (result, report) in results.into_iter().zip(chunk) {
                match result? {
                    MatchResult::Matched(report) => matched.push(report),
                    MatchResult::Unmatched => unmatched.push(report.clone()),
                    MatchResult::Rejected => (),
                }
            }
        }
        Ok((matched, unmatched))
    }

    async fn match_report(
        &self,
        owner: Option<&TenantId>,
        config: &str,
        ProviderReport { message, report }: &ProviderReport,
    ) -> Result<MatchResult, StoreError> {
        let (tenant, attempt) = match message {
            MessageRef::Attempt { tenant, attempt } => {
                let Some(tenant) = tenant.as_ref().or(owner) else { return Ok(MatchResult::Rejected) };
                // The tenant knows the credentials of its own configuration, so it could sign anything with them.
                if owner.is_some_and(|owner| owner != tenant) {
                    tracing::warn!(config, "a callback names another tenant's message");
                    return Ok(MatchResult::Rejected);
                }
                (tenant, attempt.clone())
            }
            MessageRef::ProviderMessageId(id) | MessageRef::LatestToAddress(id) => {
                let Some(tenant) = owner else { return Ok(MatchResult::Rejected) };
                let key = provider_message_key(tenant, config, id);
                match self.documents.get_document(&key, self.host.now()).await? {
                    Some(attempt) => (tenant, attempt),
                    None => return Ok(MatchResult::Unmatched),
                }
            }
        };
        let Ok(attempt) = attempt.parse::<AttemptId>() else { return Ok(MatchResult::Rejected) };
        let report = DeliveryReport { attempt: Some(attempt.number), ..report.clone() };
        let key = CommunicationKey { tenant: tenant.clone(), id: attempt.communication };
        Ok(MatchResult::Matched(StreamReport { key, report }))
    }
}
