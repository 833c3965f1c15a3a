//! Use cases of preferences.

use std::collections::BTreeMap;

use domain::access::Permission;
use domain::ports::StoreError;
use domain::preferences::{Command, PreferenceChange, Preferences};
use events::{Channel, PreferenceEvent, RecordedEvent};

use crate::app::App;
use crate::caller::{Caller, Forbidden};
use crate::consent::{change_addresses, history, preferences_stream};
use crate::execute::ExecuteError;

/// Why a use case of preferences had no effect.
#[derive(Debug, thiserror::Error)]
pub enum PreferenceError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error(transparent)]
    Execute(#[from] ExecuteError<std::convert::Infallible>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Changes a person's preferences, or the tenant's defaults if `person` is [`domain::preferences::DEFAULTS`]. An address that is `None` is removed.
///
/// # Errors
///
/// [`PreferenceError`]
pub async fn change(
    app: &App,
    caller: &Caller,
    person: &str,
    change: PreferenceChange,
    addresses: &BTreeMap<Channel, Option<String>>,
) -> Result<Preferences, PreferenceError> {
    caller.authorise(Permission::Consent)?;
    let tenant = &caller.principal.tenant;
    if !addresses.is_empty() {
        change_addresses(&app.tenant_ports, tenant, person, addresses).await?;
    }
    let change = PreferenceChange { addresses: addresses.keys().copied().collect(), ..change };
    let stream = preferences_stream(tenant, person);
    let changed = app.executor(&caller.context()).execute(&stream, Command::Change(change)).await?;
    app.defaults.forget(tenant);
    Ok(changed.state)
}

/// Everything that was decided about a person, for a caller who may see it.
///
/// # Errors
///
/// [`PreferenceError`]
pub async fn past(
    app: &App,
    caller: &Caller,
    person: &str,
) -> Result<Vec<RecordedEvent<PreferenceEvent>>, PreferenceError> {
    caller.authorise(Permission::View)?;
    Ok(history(&app.tenant_ports, &caller.principal.tenant, person).await?)
}
