//! Stands in for every provider in test mode where there is no simulator: nothing leaves, and what would become of a
//! message is decided by its recipient. The table is in `docs/testing.md`.

use std::sync::Arc;

use async_trait::async_trait;
use domain::communication::AttemptOutcome;
use domain::provider::{Capabilities, OutboundMessage, Provider, ProviderConfig, SendResult};
use events::RateLimit;
use events::{Channel, InDoubtCause, Mode, RefusalClass, ReportedStatus};

use super::refused;

pub struct Sandbox {
    pub account: ProviderConfig,
    pub can: Capabilities,
}

/// For test messages of tenants without configurations of their own: one for each channel.
pub fn sandboxes() -> impl Iterator<Item = Arc<dyn Provider>> {
    Channel::ALL.iter().map(|channel| -> Arc<dyn Provider> {
        let config = format!("sandbox-{}", channel.as_str());
        let rate = RateLimit { burst: 1_000, per_second: 1_000 };
        let account =
            ProviderConfig { id: config, provider: "sandbox".to_owned(), channel: *channel, mode: Mode::Test, rate };
        Arc::new(Sandbox { account, can: Capabilities::TEXT })
    })
}

#[async_trait]
impl Provider for Sandbox {
    fn config(&self) -> &ProviderConfig {
        &self.account
    }

    fn capabilities(&self) -> Capabilities {
        self.can
    }

    async fn send(&self, outbound: &OutboundMessage, _: u64) -> SendResult {
        let name = outbound.to.strip_suffix("@sim.test");
        let digits = outbound.to.strip_prefix("+447700900");
        let facts: &[ReportedStatus] = match (name, digits) {
            (Some("bounce-hard"), _) | (_, Some("010")) => &[ReportedStatus::Bounced],
            (Some("opened"), _) => &[ReportedStatus::Delivered, ReportedStatus::Opened],
            (_, Some("002")) => &[ReportedStatus::Delivered, ReportedStatus::Read],
            (Some("clicked"), _) => &[ReportedStatus::Delivered, ReportedStatus::Opened, ReportedStatus::Clicked],
            (Some("complaint"), _) => &[ReportedStatus::Delivered, ReportedStatus::Complained],
            (Some("throttled"), _) | (_, Some("020")) if outbound.attempt.number < 3 => {
                return refused(RefusalClass::Throttled, "429", Some(2_000)).into();
            }
            (Some("bounce-soft"), _) | (_, Some("011")) if outbound.attempt.number < 3 => {
                return refused(RefusalClass::Unavailable, "503", None).into();
            }
            (Some("down"), _) | (_, Some("021")) => return refused(RefusalClass::Unavailable, "503", None).into(),
            (Some("timeout"), _) | (_, Some("022")) => return AttemptOutcome::InDoubt(InDoubtCause::Timeout).into(),
            _ => &[ReportedStatus::Delivered],
        };
        let facts = if self.can.receipts { facts.to_vec() } else { Vec::new() };
        let provider_message_id = format!("sandbox-{}", outbound.attempt);
        let answer = AttemptOutcome::Accepted { provider_message_id, segments: None, cost_micros: None, latency_ms: 0 };
        SendResult { answer, opted_out: false, facts }
    }
}
