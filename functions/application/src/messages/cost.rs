//! What a message is expected to cost.

use domain::message::MessageContent;
use domain::ports::ProviderConfig;
use domain::prices::Cost;
use domain::provider_configs::TenantProviderConfigs;
use events::{CommunicationRequest, Mode, TenantId};

use super::MessageError;
use super::compose::Composed;
use super::render::render_whole;
use crate::app::App;
use crate::provider_status;
use crate::spend::SpendError;

/// The configuration that a message is tried with first.
pub(super) fn first_config(
    app: &App,
    request: &CommunicationRequest,
    configs: &TenantProviderConfigs,
) -> Option<ProviderConfig> {
    candidates(app, request, configs).into_iter().next()
}

/// The configurations that a message is tried with, in their order.
pub(super) fn candidates(
    app: &App,
    request: &CommunicationRequest,
    configs: &TenantProviderConfigs,
) -> Vec<ProviderConfig> {
    let serves = |config: &ProviderConfig| match &request.via {
        Some(via) => config.id == *via,
        None => config.channel == request.channel && !configs.disabled.contains(&config.id),
    };
    let mut all = provider_status::configs_for(app, request.mode, configs);
    all.retain(serves);
    all
}

/// What a message is expected to cost with the first configuration of its channel, if there is a price.
pub(super) fn expected_cost(app: &App, configs: &TenantProviderConfigs, composed: &Composed) -> Option<Cost> {
    let config = first_config(app, &composed.request, configs)?;
    config.estimate_cost(&composed.content.recipient_contact, composed.segments)
}

/// Renders the changed content of a message. Returns what it is expected to cost more than the current one.
///
/// # Errors
///
/// As [`render_whole`].
pub(super) async fn render_change(
    app: &App,
    tenant: &TenantId,
    request: &CommunicationRequest,
    current: &MessageContent,
    changed: &mut MessageContent,
) -> Result<Option<Cost>, MessageError> {
    let Some(segments) = render_whole(app, tenant, request, changed).await? else { return Ok(None) };
    let segments_before = render_whole(app, tenant, request, &mut current.clone()).await?;
    let configs = app.directory.channels(&app.tenant_ports, tenant).await?;
    let estimate = |segments| first_config(app, request, &configs)?.estimate_cost(&current.recipient_contact, segments);
    let (Some(before), Some(after)) = (estimate(segments_before), estimate(Some(segments))) else { return Ok(None) };
    let micros = after.micros - before.micros;
    Ok((0 < micros).then_some(Cost { micros, ..after }))
}

/// Counts a cost of today, unless that would pass the tenant's cap.
///
/// # Errors
///
/// [`MessageError`]: nothing was counted.
pub(super) async fn charge(app: &App, tenant: &TenantId, mode: Mode, cost: &Cost) -> Result<(), MessageError> {
    let configs = app.directory.channels(&app.tenant_ports, tenant).await?;
    let cap = configs.limits.daily_spend_caps.get(&cost.currency).copied();
    match app.daily_spend(tenant, mode).charge(cost, cap).await {
        Ok(()) => Ok(()),
        Err(SpendError::Store(error)) => Err(error.into()),
        Err(SpendError::CapReached(reached)) => Err(reached.into()),
    }
}
