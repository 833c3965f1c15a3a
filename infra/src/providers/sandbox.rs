//! Replaces every provider in test mode if there is no simulator. It sends nothing. The recipient's address decides the
//! outcome, as the table in `docs/testing.md` shows.

use std::sync::Arc;

use async_trait::async_trait;
use domain::communication::AttemptOutcome;
use domain::provider::{Capabilities, OutboundMessage, Provider, ProviderConfig, SendResult};
use events::{Channel, InDoubtCause, Mode, RateLimit, RefusalClass, ReportedStatus};

use super::outcome::refusal_outcome;

/// A provider that sends nothing, with the capabilities of the provider that it replaces.
pub struct Sandbox {
    pub config: ProviderConfig,
    pub capabilities: Capabilities,
}

/// Creates one sandbox for each channel, for test messages of tenants that have no configuration of their own.
pub fn sandboxes() -> impl Iterator<Item = Arc<dyn Provider>> {
    Channel::ALL.iter().map(|channel| -> Arc<dyn Provider> {
        let name = format!("sandbox-{}", channel.as_str());
        let rate = RateLimit { burst: 1_000, per_second: 1_000 };
        let config = ProviderConfig {
            id: name,
            provider: "sandbox".to_owned(),
            channel: *channel,
            mode: Mode::Test,
            rate,
            prices: None,
        };
        Arc::new(Sandbox { config, capabilities: Capabilities::TEXT })
    })
}

#[async_trait]
impl Provider for Sandbox {
    fn config(&self) -> &ProviderConfig {
        &self.config
    }

    fn capabilities(&self) -> Capabilities {
        self.capabilities
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
                return refusal_outcome(RefusalClass::Throttled, "429", Some(2_000)).into();
            }
            (Some("bounce-soft"), _) | (_, Some("011")) if outbound.attempt.number < 3 => {
                return refusal_outcome(RefusalClass::Unavailable, "503", None).into();
            }
            (Some("down"), _) | (_, Some("021")) => {
                return refusal_outcome(RefusalClass::Unavailable, "503", None).into();
            }
            (Some("timeout"), _) | (_, Some("022")) => return AttemptOutcome::InDoubt(InDoubtCause::Timeout).into(),
            _ => &[ReportedStatus::Delivered],
        };
        // A provider without delivery reports would report nothing more.
        let facts = if self.capabilities.receipts { facts.to_vec() } else { Vec::new() };
        let provider_message_id = format!("sandbox-{}", outbound.attempt);
        let accepted = AttemptOutcome::Accepted { provider_message_id, segments: None, cost: None, latency_ms: 0 };
        SendResult { facts, ..accepted.into() }
    }
}
