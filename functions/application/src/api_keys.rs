//! Use cases of API keys. A key is shown once, when it is created; what is stored of it opens nothing.

use domain::access::Permission;
use domain::aggregate::AggregateId;
use domain::api_key::{ApiKey, ApiKeyState, Command, Rejection};
use domain::ports::{Principal, StoreError};
use events::{Channel, Mode, Role, Timestamp};

use crate::app::App;
use crate::caller::{Caller, Forbidden};
use crate::execute::{self, ExecuteError};
use crate::hash::key_hash;

/// Why a use case of API keys had no effect.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeyError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("there is no such key")]
    NotFound,
    #[error(transparent)]
    Execute(#[from] ExecuteError<Rejection>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An API key to be created.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    pub name: String,
    pub mode: Mode,
    pub role: Role,
    pub channels: Option<Vec<Channel>>,
    pub expires_at: Option<Timestamp>,
    /// The hashes of the only addresses that it may send to. `None` means all.
    pub team: Option<Vec<String>>,
    /// The part of the key that says what it is for, such as `live`.
    pub label: &'static str,
}

/// The tenant's keys that are not revoked.
///
/// # Errors
///
/// [`ApiKeyError`]
pub async fn list(app: &App, caller: &Caller) -> Result<Vec<ApiKey>, ApiKeyError> {
    caller.authorise(Permission::Keys)?;
    let states = execute::list::<ApiKeyState>(&*app.store, &caller.principal.tenant).await?;
    Ok(states.into_iter().filter_map(|(_, state)| state.key).collect())
}

/// Creates a key. Returns what is stored of it, and the key itself.
///
/// # Errors
///
/// [`ApiKeyError`]
pub async fn create(app: &App, caller: &Caller, new: NewApiKey) -> Result<(ApiKey, String), ApiKeyError> {
    let others = list(app, caller).await?.len();
    let NewApiKey { name, mode, role, channels, expires_at, team, label } = new;
    let id = format!("key_{:010x}", app.host.random() & 0xff_ffff_ffff);
    let secret = format!("td_{label}_{:032x}", app.host.random());
    let hash = key_hash(&secret);
    let principal = Principal {
        tenant: caller.principal.tenant.clone(),
        actor: name.clone(),
        mode,
        role,
        channels: channels.clone(),
        expires_at,
        team: team.clone(),
        is_user: false,
    };
    let command =
        Command::Create { id: id.clone(), hash: hash.clone(), name, mode, role, channels, expires_at, team, others };
    let stream = AggregateId::<ApiKeyState>::new(&caller.principal.tenant, id);
    let created = app.executor(&caller.context()).execute(&stream, command).await?;
    let key = created.state.key.ok_or(ApiKeyError::NotFound)?;
    // A crash before this leaves a key in the list that is not valid and was not shown.
    app.keys.put(&hash, &principal).await?;
    Ok((key, secret))
}

/// Revokes a key. Other processes notice within a minute.
///
/// # Errors
///
/// [`ApiKeyError::NotFound`]
pub async fn revoke(app: &App, caller: &Caller, id: &str) -> Result<(), ApiKeyError> {
    caller.authorise(Permission::Keys)?;
    let stream = AggregateId::<ApiKeyState>::new(&caller.principal.tenant, id);
    let loaded = execute::load(&*app.store, &stream).await?;
    let key = loaded.state.key.as_ref().ok_or(ApiKeyError::NotFound)?;
    // The key becomes invalid first: a crash between the two leaves an invalid key in the list.
    app.keys.remove(&key.hash).await?;
    app.principals.invalidate(&key.hash);
    app.executor(&caller.context()).execute_loaded(&stream, loaded, Command::Revoke).await?;
    Ok(())
}
