//! Use cases of the provider configurations that a caller's messages can use: which is tried first, which are disabled,
//! and how many calls each has left.

use domain::access::{Permission, Reach};
use domain::ports::{ProviderConfig, VersionedRecord};
use domain::provider_configs::TenantProviderConfigs;
use domain::throttle::ProviderThrottle;
use events::{Channel, Mode};

use crate::app::App;
use crate::caller::Caller;
use crate::directory::{self, TenantPorts, tenant_of_config};
use crate::provider_configs::{self, ProviderConfigError};
use crate::throttle_store;

/// A configuration, and whether it can be called now.
#[derive(Debug, Clone)]
pub struct ProviderStatus {
    pub config: ProviderConfig,
    pub is_enabled: bool,
    pub throttle: ProviderThrottle,
}

/// The configurations for each channel, in the order they are tried: the tenant's own, or else the deployment's.
pub(crate) fn configs_for(app: &App, mode: Mode, configs: &TenantProviderConfigs) -> Vec<ProviderConfig> {
    let mut available = Vec::new();
    for channel in Channel::ALL {
        let own = configs.for_channel(*channel);
        if own.is_empty() {
            let serves = |config: &&ProviderConfig| config.channel == *channel && config.mode == mode;
            let mut deployment: Vec<ProviderConfig> = app.accounts.iter().filter(serves).cloned().collect();
            deployment.sort_by_key(|config| configs.position_of(*channel, &config.id));
            available.extend(deployment);
        } else {
            available.extend(own.into_iter().map(|config| TenantPorts::account(config, mode)));
        }
    }
    available
}

fn visible(app: &App, caller: &Caller, configs: &TenantProviderConfigs) -> Vec<ProviderConfig> {
    let mut available = configs_for(app, caller.principal.mode, configs);
    available.retain(|config| caller.may_use(config.channel));
    available
}

/// Every configuration that the caller's messages can use, by channel and in the order they are tried.
///
/// # Errors
///
/// [`ProviderConfigError`]
pub async fn list(app: &App, caller: &Caller) -> Result<Vec<ProviderStatus>, ProviderConfigError> {
    caller.authorise(Permission::View, Reach::Tenant)?;
    load(app, caller).await
}

/// The configurations that a message of the caller by this channel can use.
///
/// # Errors
///
/// [`ProviderConfigError`]
pub async fn of_channel(
    app: &App,
    caller: &Caller,
    channel: Channel,
) -> Result<Vec<ProviderStatus>, ProviderConfigError> {
    caller.authorise(Permission::View, Reach::Scoped)?;
    let mut statuses = load(app, caller).await?;
    statuses.retain(|status| status.config.channel == channel);
    Ok(statuses)
}

async fn load(app: &App, caller: &Caller) -> Result<Vec<ProviderStatus>, ProviderConfigError> {
    let configs = directory::provider_configs(&app.tenant_ports, &caller.principal.tenant).await?;
    let available = visible(app, caller, &configs);
    let names: Vec<String> = available.iter().map(|config| throttle_store::throttle_key(&config.id)).collect();
    let records = app.limits.read_versioned(&names).await?;
    let status = |(config, record): (ProviderConfig, Option<VersionedRecord>)| ProviderStatus {
        is_enabled: !configs.disabled.contains(&config.id),
        throttle: throttle_store::read(record.as_ref(), config.rate),
        config,
    };
    Ok(available.into_iter().zip(records).map(status).collect())
}

async fn find(app: &App, caller: &Caller, id: &str) -> Result<ProviderConfig, ProviderConfigError> {
    let configs = directory::provider_configs(&app.tenant_ports, &caller.principal.tenant).await?;
    visible(app, caller, &configs).into_iter().find(|config| config.id == id).ok_or(ProviderConfigError::NotFound)
}

/// One of these configurations, and how many calls it has left. The second throttle is that of all of the tenant's
/// messages, if their rate is limited.
///
/// # Errors
///
/// [`ProviderConfigError::NotFound`]
pub async fn quota(
    app: &App,
    caller: &Caller,
    id: &str,
) -> Result<(ProviderConfig, ProviderThrottle, Option<ProviderThrottle>), ProviderConfigError> {
    caller.authorise(Permission::View, Reach::Tenant)?;
    let tenant = &caller.principal.tenant;
    let configs = directory::provider_configs(&app.tenant_ports, tenant).await?;
    let found = visible(app, caller, &configs).into_iter().find(|config| config.id == id);
    let config = found.ok_or(ProviderConfigError::NotFound)?;
    let throttle = throttle_store::load(&*app.limits, &throttle_store::throttle_key(&config.id), config.rate).await?;
    let rate = configs.limits.rate_within(app.tenant_rate);
    let shared = throttle_store::load_tenant(&*app.limits, tenant, rate).await?;
    Ok((config, throttle, shared))
}

/// Uses a configuration for the tenant's messages again. If no other tenant uses it, its throttle is reset.
///
/// # Errors
///
/// [`ProviderConfigError::NotFound`]
pub async fn enable(app: &App, caller: &Caller, id: &str) -> Result<(), ProviderConfigError> {
    caller.authorise(Permission::Operate, Reach::Tenant)?;
    let config = find(app, caller, id).await?;
    // Simulated providers of the test mode have no limits that other tenants could exhaust.
    if tenant_of_config(id).is_some() || caller.principal.mode == Mode::Test {
        let name = throttle_store::throttle_key(&config.id);
        let mut known = app.limits.read_versioned(std::slice::from_ref(&name)).await?.pop().flatten();
        throttle_store::update(&*app.limits, &name, config.rate, &mut known, ProviderThrottle::reset).await?;
    }
    provider_configs::set_enabled(app, caller, id, true).await
}

/// Stops using a configuration for the tenant's messages.
///
/// # Errors
///
/// [`ProviderConfigError::NotFound`]
pub async fn disable(app: &App, caller: &Caller, id: &str) -> Result<(), ProviderConfigError> {
    caller.authorise(Permission::Operate, Reach::Tenant)?;
    find(app, caller, id).await?;
    provider_configs::set_enabled(app, caller, id, false).await
}

/// Tries a configuration first on its channel, and enables it.
///
/// # Errors
///
/// [`ProviderConfigError::NotFound`]
pub async fn use_first(app: &App, caller: &Caller, id: &str) -> Result<(), ProviderConfigError> {
    caller.authorise(Permission::Operate, Reach::Tenant)?;
    let channel = find(app, caller, id).await?.channel;
    provider_configs::use_first(app, caller, channel, id).await?;
    provider_configs::set_enabled(app, caller, id, true).await
}
