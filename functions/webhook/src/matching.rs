//! Finds the communication that a delivery report belongs to.

use application::directory::provider_message_key;
use application::views;
use domain::communication::DeliveryReport;
use domain::communication_view::{CommunicationRow, ListFilter};
use domain::ports::{CommunicationKey, StoreError, ViewRow, ViewScope};
use domain::provider::{MessageRef, ProviderReport};
use events::{AttemptId, CommunicationId, Mode, TenantId};
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
    /// another tenant's message or no valid attempt. `config` and `provider` name the configuration that was called.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn match_reports(
        &self,
        owner: Option<&TenantId>,
        (config, provider): (&str, &str),
        reports: Vec<ProviderReport>,
    ) -> Result<(Vec<StreamReport>, Vec<ProviderReport>), StoreError> {
        let (mut matched, mut unmatched) = (Vec::with_capacity(reports.len()), Vec::new());
        for chunk in reports.chunks(MAX_CONCURRENT_STREAMS) {
            let results =
                join_all(chunk.iter().map(|report| self.match_report(owner, (config, provider), report))).await;
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
        (config, provider): (&str, &str),
        ProviderReport { message, report }: &ProviderReport,
    ) -> Result<MatchResult, StoreError> {
        let (tenant, attempt) = match message {
            MessageRef::Attempt { tenant, attempt } => {
                let Some(tenant) = named_tenant(owner, tenant.as_ref(), config) else {
                    return Ok(MatchResult::Rejected);
                };
                (tenant, attempt.clone())
            }
            MessageRef::Communication { tenant, id } => {
                let tenant = tenant.as_ref().or(self.deployment_tenant.as_ref().filter(|_| owner.is_none()));
                let Some(tenant) = named_tenant(owner, tenant, config) else { return Ok(MatchResult::Rejected) };
                return Ok(matched(tenant, *id, None, report));
            }
            MessageRef::ProviderMessageId(id) | MessageRef::LatestToAddress(id) => {
                let Some(tenant) = owner.or(self.deployment_tenant.as_ref()) else { return Ok(MatchResult::Rejected) };
                let key = provider_message_key(tenant, config, id);
                match self.documents.get_document(&key, self.host.now()).await? {
                    Some(attempt) => (tenant, attempt),
                    None if matches!(message, MessageRef::LatestToAddress(_)) => return Ok(MatchResult::Unmatched),
                    None => {
                        let found = self.find_by_provider_message(tenant, provider, id).await?;
                        return Ok(found.map_or(MatchResult::Unmatched, |id| matched(tenant, id, None, report)));
                    }
                }
            }
        };
        let Ok(attempt) = attempt.parse::<AttemptId>() else { return Ok(MatchResult::Rejected) };
        Ok(matched(tenant, attempt.communication, Some(attempt.number), report))
    }

    /// Finds a tenant's message by the provider's own id, as far as the view knows it by now.
    async fn find_by_provider_message(
        &self,
        tenant: &TenantId,
        provider: &str,
        id: &str,
    ) -> Result<Option<CommunicationId>, StoreError> {
        for mode in [Mode::Live, Mode::Test] {
            let scope = ViewScope { view: CommunicationRow::VIEW, tenant: tenant.clone(), mode };
            let filter = ListFilter { provider_message_id: Some(id.to_owned()), ..ListFilter::default() };
            let is_match = |row: &CommunicationRow| row.provider.as_deref() == Some(provider) && filter.matches(row);
            let page =
                views::list::<CommunicationRow>(&*self.views, &scope, filter.ranges(), None, 1, is_match).await?;
            if let Some(row) = page.rows.first() {
                return Ok(Some(row.id));
            }
        }
        Ok(None)
    }
}

/// The tenant whose message a report names. A tenant knows the credentials of its own configuration, so it could sign
/// anything with them: it can name only its own messages.
fn named_tenant<'a>(owner: Option<&'a TenantId>, named: Option<&'a TenantId>, config: &str) -> Option<&'a TenantId> {
    if owner.is_some_and(|owner| named.is_some_and(|named| owner != named)) {
        tracing::warn!(config, "a callback names another tenant's message");
        return None;
    }
    named.or(owner)
}

fn matched(tenant: &TenantId, id: CommunicationId, attempt: Option<u16>, report: &DeliveryReport) -> MatchResult {
    let report = DeliveryReport { attempt, ..report.clone() };
    MatchResult::Matched(StreamReport { key: CommunicationKey { tenant: tenant.clone(), id }, report })
}
