//! Use cases of preferences.

use std::collections::BTreeMap;

use domain::access::Permission;
use domain::ports::StoreError;
use domain::preferences::{Command, PreferenceChange, Preferences};
use events::{Channel, PreferenceEvent, RecordedEvent, Timestamp};

use crate::app::App;
use crate::caller::{Caller, Forbidden};
use crate::consent::{self, change_addresses, preferences_stream};
use crate::execute::ExecuteError;
use crate::hash::preferences_token;

/// Why a use case of preferences had no effect.
#[derive(Debug, thiserror::Error)]
pub enum PreferenceError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("the deployment has no public address")]
    NoPublicUrl,
    #[error(transparent)]
    Execute(#[from] ExecuteError<std::convert::Infallible>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A person's preferences, without the tenant's defaults, and their preferred addresses.
///
/// # Errors
///
/// [`PreferenceError`]
pub async fn get(
    app: &App,
    caller: &Caller,
    person: &str,
) -> Result<(Preferences, BTreeMap<Channel, String>), PreferenceError> {
    caller.authorise(Permission::View)?;
    let tenant = &caller.principal.tenant;
    let preferences = consent::preferences(&app.tenant_ports, tenant, person).await?;
    Ok((preferences, consent::addresses(&app.tenant_ports, tenant, person).await?))
}

/// The address of the page on which a person changes their preferences, and until when it is valid.
///
/// # Errors
///
/// [`PreferenceError::NoPublicUrl`]
pub fn link(app: &App, caller: &Caller, person: &str, valid_ms: i64) -> Result<(String, Timestamp), PreferenceError> {
    caller.authorise(Permission::Consent)?;
    let public_url = &app.tenant_ports.public_url;
    if public_url.is_empty() {
        return Err(PreferenceError::NoPublicUrl);
    }
    let until = app.host.now() + valid_ms;
    let token = preferences_token(&app.contact_key, &caller.principal.tenant, person, until);
    Ok((format!("{public_url}/preferences/{token}"), until))
}

/// Changes a person's preferences, or the tenant's defaults if `person` is [`domain::preferences::DEFAULTS`]. An
/// address that is `None` is removed.
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
    app.defaults.invalidate(tenant);
    Ok(changed.state)
}

/// The complete history of a person's preferences.
///
/// # Errors
///
/// [`PreferenceError`]
pub async fn history(
    app: &App,
    caller: &Caller,
    person: &str,
) -> Result<Vec<RecordedEvent<PreferenceEvent>>, PreferenceError> {
    caller.authorise(Permission::View)?;
    Ok(consent::history(&app.tenant_ports, &caller.principal.tenant, person).await?)
}
