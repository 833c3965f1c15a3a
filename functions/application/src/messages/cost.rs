//! What a message is expected to cost.

use domain::ports::ProviderConfig;
use domain::prices::Cost;
use domain::provider_configs::TenantProviderConfigs;
use events::CommunicationRequest;

use super::compose::Composed;
use crate::app::App;
use crate::provider_status;

/// The configuration that a message is tried with first.
pub(super) fn first_config(
    app: &App,
    request: &CommunicationRequest,
    configs: &TenantProviderConfigs,
) -> Option<ProviderConfig> {
    let serves = |config: &ProviderConfig| match &request.via {
        Some(via) => config.id == *via,
        None => config.channel == request.channel && !configs.disabled.contains(&config.id),
    };
    provider_status::configs_for(app, request.mode, configs).into_iter().find(serves)
}

/// What a message is expected to cost with the first configuration of its channel, if there is a price.
pub(super) fn expected_cost(app: &App, configs: &TenantProviderConfigs, composed: &Composed) -> Option<Cost> {
    let config = first_config(app, &composed.request, configs)?;
    config.estimate_cost(&composed.content.recipient_contact, composed.segments)
}
