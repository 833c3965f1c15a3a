//! Use cases of the limits that a tenant sets for itself.

use std::collections::BTreeSet;

use domain::access::{Permission, Reach};
use domain::aggregate::AggregateId;
use domain::ports::StoreError;
use domain::prices::LIST_CURRENCY;
use domain::tenant_limits::{Change, Command, LIMITS, Rejection, TenantLimits};
use domain::throttle::ProviderThrottle;
use events::{TenantId, Timestamp};

use crate::app::App;
use crate::caller::{Caller, Forbidden};
use crate::directory;
use crate::execute::ExecuteError;
use crate::provider_status;
use crate::throttle_store;

/// Why a use case of limits had no effect.
#[derive(Debug, thiserror::Error)]
pub enum LimitsError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error(transparent)]
    Execute(#[from] ExecuteError<Rejection>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The tenant's limits, and what is used of them.
#[derive(Debug, Clone)]
pub struct LimitsStatus {
    pub limits: TenantLimits,
    /// The throttle of the rate that applies: the lower one of the tenant's and the deployment's. `None` if neither has
    /// one.
    pub throttle: Option<ProviderThrottle>,
    pub spend: Vec<CurrencySpend>,
    /// When the day ends that the spend is of.
    pub resets_at: Timestamp,
}

/// What the caller's messages cost today in one currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrencySpend {
    pub currency: String,
    pub spent_micros: i64,
    pub cap_micros: Option<i64>,
}

pub(crate) fn stream(tenant: &TenantId) -> AggregateId<TenantLimits> {
    AggregateId::new(tenant, LIMITS)
}

/// The throttle of all of the tenant's messages, with limits that are at most 15 seconds old. `None` if their rate is not
/// limited.
///
/// # Errors
///
/// [`LimitsError`]
pub async fn throttle(app: &App, caller: &Caller) -> Result<Option<ProviderThrottle>, LimitsError> {
    caller.authorise(Permission::View, Reach::Scoped)?;
    let tenant = &caller.principal.tenant;
    let configs = app.directory.channels(&app.tenant_ports, tenant).await?;
    Ok(throttle_store::load_tenant(&*app.limits, tenant, configs.limits.rate_within(app.tenant_rate)).await?)
}

/// The tenant's limits, read from the store.
///
/// # Errors
///
/// [`LimitsError`]
pub async fn get(app: &App, caller: &Caller) -> Result<LimitsStatus, LimitsError> {
    caller.authorise(Permission::View, Reach::Tenant)?;
    let tenant = &caller.principal.tenant;
    let configs = directory::provider_configs(&app.tenant_ports, tenant).await?;
    let rate = configs.limits.rate_within(app.tenant_rate);
    let throttle = throttle_store::load_tenant(&*app.limits, tenant, rate).await?;
    let daily = app.daily_spend(tenant, caller.principal.mode);
    let accounts = provider_status::configs_for(app, caller.principal.mode, &configs);
    let priced = accounts.into_iter().filter_map(|account| Some(account.prices?.currency().to_owned()));
    let capped = configs.limits.daily_spend_caps.keys().cloned();
    let currencies: BTreeSet<String> = priced.chain(capped).chain([LIST_CURRENCY.to_owned()]).collect();
    let currencies: Vec<String> = currencies.into_iter().collect();
    let spent = daily.spent(&currencies).await?;
    let of = |(currency, spent_micros): (String, i64)| CurrencySpend {
        cap_micros: configs.limits.daily_spend_caps.get(&currency).copied(),
        currency,
        spent_micros,
    };
    let mut spend: Vec<CurrencySpend> = currencies.into_iter().zip(spent).map(of).collect();
    spend.retain(|spend| spend.cap_micros.is_some() || spend.spent_micros > 0);
    Ok(LimitsStatus { throttle, spend, resets_at: daily.resets_at(), limits: configs.limits })
}

/// Changes the tenant's limits. This process feels it at once, the others within 15 seconds.
///
/// # Errors
///
/// [`LimitsError::Execute`]: nothing was changed.
pub async fn change(app: &App, caller: &Caller, change: Change) -> Result<LimitsStatus, LimitsError> {
    caller.authorise(Permission::Keys, Reach::Everything)?;
    let tenant = &caller.principal.tenant;
    let changed = app.executor(&caller.context()).execute(&stream(tenant), Command::Change(change)).await;
    app.directory.invalidate(tenant);
    changed?;
    get(app, caller).await
}
