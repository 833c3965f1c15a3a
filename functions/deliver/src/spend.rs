//! What a fallback step is expected to cost. Only the first channel is counted when a message is accepted, so a step is
//! counted before its first attempt, and not sent if it would pass the spend cap of the day.

use application::spend::{DailySpend, SpendError};
use domain::communication::Communication;
use domain::ports::{OutboundMessage, Provider, StoreError};
use domain::prices::Cost;
use events::{Mode, SuppressReason, TenantId};

use crate::DeliverHandler;

/// What was counted for an attempt.
pub(crate) type Counted = Option<Cost>;

impl DeliverHandler {
    /// Counts the cost of a fallback step that was not tried yet. Returns why it must not be sent if it would pass the
    /// cap.
    pub(crate) async fn charge_step(
        &self,
        tenant: &TenantId,
        communication: &Communication,
        outbound: &OutboundMessage,
        provider: &dyn Provider,
    ) -> Result<Result<Counted, SuppressReason>, StoreError> {
        if communication.request.fallback_of.is_none() || communication.attempts > 0 {
            return Ok(Ok(None));
        }
        let segments = outbound.message.segments.map(|segments| segments.count);
        let Some(cost) = provider.config().estimate_cost(&outbound.to, segments) else { return Ok(Ok(None)) };
        let DeliverHandler { cache, tenant_ports, .. } = self;
        let configs = cache.directory.channels(tenant_ports, tenant).await?;
        let cap = configs.limits.daily_spend_caps.get(&cost.currency).copied();
        match self.daily_spend(tenant, communication.request.mode).charge(&cost, cap).await {
            Ok(()) => Ok(Ok(Some(cost))),
            Err(SpendError::CapReached(_)) => Ok(Err(SuppressReason::SpendCapReached)),
            Err(SpendError::Store(error)) => Err(error),
        }
    }

    /// Takes back what was counted for an attempt that another worker made.
    pub(crate) async fn refund_step(&self, tenant: &TenantId, counted: Counted, mode: Mode) {
        if let Some(cost) = counted {
            self.daily_spend(tenant, mode).refund(&cost).await;
        }
    }

    fn daily_spend<'a>(&'a self, tenant: &'a TenantId, mode: Mode) -> DailySpend<'a> {
        let DeliverHandler { limits, alerts, host, .. } = self;
        DailySpend { limits: &**limits, alerts: &**alerts, tenant, mode, now: host.now() }
    }
}
