//! Use cases of the limits that a tenant sets for itself.

use domain::access::{Permission, Reach};
use domain::aggregate::AggregateId;
use domain::ports::StoreError;
use domain::tenant_limits::{Change, LIMITS, Rejection, TenantLimits};
use domain::throttle::ProviderThrottle;
use events::TenantId;

use crate::app::App;
use crate::caller::{Caller, Forbidden};
use crate::execute::{self, ExecuteError};
use crate::throttle_store::{self, tenant_throttle_key};

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
}

fn stream(tenant: &TenantId) -> AggregateId<TenantLimits> {
    AggregateId::new(tenant, LIMITS)
}

/// The throttle of all of a tenant's messages. `None` if its rate is not limited.
pub(crate) async fn tenant_throttle(
    app: &App,
    tenant: &TenantId,
    limits: &TenantLimits,
) -> Result<Option<ProviderThrottle>, StoreError> {
    let Some(rate) = limits.rate_within(app.tenant_rate) else { return Ok(None) };
    throttle_store::load(&*app.limits, &tenant_throttle_key(tenant), rate).await.map(Some)
}

/// The tenant's limits, read from the store.
///
/// # Errors
///
/// [`LimitsError`]
pub async fn get(app: &App, caller: &Caller) -> Result<LimitsStatus, LimitsError> {
    caller.authorise(Permission::View, Reach::Tenant)?;
    let limits = execute::load(&*app.store, &stream(&caller.principal.tenant)).await?.state;
    status(app, caller, limits).await
}

async fn status(app: &App, caller: &Caller, limits: TenantLimits) -> Result<LimitsStatus, LimitsError> {
    let throttle = tenant_throttle(app, &caller.principal.tenant, &limits).await?;
    Ok(LimitsStatus { limits, throttle })
}

/// Changes the tenant's limits. This process feels it at once, the others within 15 seconds.
///
/// # Errors
///
/// [`LimitsError::Execute`]: nothing was changed.
pub async fn change(app: &App, caller: &Caller, change: Change) -> Result<LimitsStatus, LimitsError> {
    caller.authorise(Permission::Keys, Reach::Everything)?;
    let tenant = &caller.principal.tenant;
    let changed = app.executor(&caller.context()).execute(&stream(tenant), change).await;
    app.directory.invalidate(tenant);
    status(app, caller, changed?.state).await
}
