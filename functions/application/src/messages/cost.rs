//! What a message is expected to cost.

use domain::address::country_of;
use domain::ports::{ProviderConfig, StoreError};
use domain::prices::{self, Cost};
use domain::provider_configs::TenantProviderConfigs;
use events::{Channel, CommunicationRequest, TenantId};

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
pub(super) async fn expected_cost(
    app: &App,
    tenant: &TenantId,
    composed: &Composed,
) -> Result<Option<Cost>, StoreError> {
    let request = &composed.request;
    let configs = app.directory.channels(&app.tenant_ports, tenant).await?;
    let Some(config) = first_config(app, request, &configs) else { return Ok(None) };
    let to = &composed.content.recipient_contact;
    Ok(estimate_cost(&configs, (&config.id, &config.provider), request.channel, to, composed.segments))
}

/// What a message costs by the price list of its configuration, or else of its provider. `config` is the id of the
/// configuration and the name of its provider.
pub fn estimate_cost(
    configs: &TenantProviderConfigs,
    (config, provider): (&str, &str),
    channel: Channel,
    to: &str,
    segments: Option<u16>,
) -> Option<Cost> {
    let own = configs.configs.get(config).and_then(|config| config.settings.get(prices::SETTING)).map(String::as_str);
    let country = matches!(channel, Channel::Sms | Channel::Whatsapp).then(|| country_of(to)).flatten();
    prices::estimate(own, provider, channel, country.as_deref(), segments)
}
