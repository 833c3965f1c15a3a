//! Use cases of API keys. A key is shown once, when it is created. Only its hash is stored.

use domain::access::{Permission, Reach, channels_include, role_includes};
use domain::aggregate::AggregateId;
use domain::api_key::{ApiKey, ApiKeyState, Command, Rejection};
use domain::ports::{Principal, StoreError};
use events::{Channel, Mode, Role, Timestamp};

use crate::app::App;
use crate::caller::{Caller, Forbidden};
use crate::execute::{self, ExecuteError};
use crate::hash::{contact_hash, key_hash};

/// Why a use case of API keys had no effect.
#[derive(Debug, thiserror::Error)]
pub enum ApiKeyError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("there is no such key")]
    NotFound,
    /// What is wrong with a key to be created.
    #[error("{} faults", .0.len())]
    Invalid(Vec<KeyFault>),
    #[error(transparent)]
    Execute(#[from] ExecuteError<Rejection>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is wrong with a key to be created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    #[error("A team key must have the role sender, because the other roles can do more than send.")]
    TeamRole,
    #[error("A test key can create only test keys.")]
    LiveKeyByTestKey,
    #[error("expiresAt must be in the future.")]
    Expired,
    #[error("A key can create only keys whose role can do no more than its own.")]
    RoleBeyondCaller,
    #[error("A key can create only keys for its own channels.")]
    ChannelsBeyondCaller,
    #[error("A key can create only keys that expire no later than itself.")]
    OutlivesCaller,
    #[error("A person who signed in can create only keys that expire within {MAX_DAYS_BY_USER} days.")]
    TooLongForUser,
}

/// How long the keys that a person with a token creates can be valid, in days. A token does not say when its owner
/// leaves, so these keys are renewed.
const MAX_DAYS_BY_USER: i64 = 90;
const DAY_MS: i64 = 24 * 3_600_000;

/// What restricts a key to be created.
#[derive(Debug, Clone, Default)]
pub struct KeyScope {
    /// `None` means the mode of the caller.
    pub mode: Option<Mode>,
    /// `None` means those of the caller.
    pub channels: Option<Vec<Channel>>,
    /// `None` means as long as the caller can give.
    pub expires_at: Option<Timestamp>,
    /// The only addresses that it may send to, normalised. `None` means all. A key for a team is a live key.
    pub team: Option<Vec<String>>,
}

impl KeyScope {
    fn mode(&self, caller: &Caller) -> Mode {
        if self.team.is_some() { Mode::Live } else { self.mode.unwrap_or(caller.principal.mode) }
    }
}

/// The latest time until which a key that the caller creates can be valid. `None` means for ever.
fn latest_expiry(caller: &Caller, now: Timestamp) -> Option<Timestamp> {
    match caller.principal.is_user {
        true => Some(now + MAX_DAYS_BY_USER * DAY_MS),
        false => caller.principal.expires_at,
    }
}

/// Everything that is wrong with a key to be created: it can do no more than the caller, and for no longer.
pub fn check(app: &App, caller: &Caller, role: Option<Role>, scope: &KeyScope) -> Vec<KeyFault> {
    let is_too_powerful = scope.team.is_some() && role.is_some_and(|role| role != Role::Sender);
    let is_escalation = scope.mode(caller) == Mode::Live && caller.principal.mode == Mode::Test;
    let is_expired = scope.expires_at.is_some_and(|until| until <= app.host.now());
    let of_caller = &caller.principal;
    let is_role_beyond = role.is_some_and(|role| !role_includes(of_caller.role, role));
    let has_more_channels =
        scope.channels.is_some() && !channels_include(of_caller.channels.as_deref(), scope.channels.as_deref());
    let latest = latest_expiry(caller, app.host.now());
    let is_too_long = scope.expires_at.zip(latest).is_some_and(|(until, latest)| latest < until);
    let faults = [
        (is_role_beyond, KeyFault::RoleBeyondCaller),
        (has_more_channels, KeyFault::ChannelsBeyondCaller),
        (is_too_long && of_caller.is_user, KeyFault::TooLongForUser),
        (is_too_long && !of_caller.is_user, KeyFault::OutlivesCaller),
        (is_too_powerful, KeyFault::TeamRole),
        (is_escalation, KeyFault::LiveKeyByTestKey),
        (is_expired, KeyFault::Expired),
    ];
    faults.into_iter().filter(|(is_fault, _)| *is_fault).map(|(_, fault)| fault).collect()
}

/// The tenant's keys that are not revoked.
///
/// # Errors
///
/// [`ApiKeyError`]
pub async fn list(app: &App, caller: &Caller) -> Result<Vec<ApiKey>, ApiKeyError> {
    caller.authorise(Permission::Keys, Reach::Tenant)?;
    let states = execute::list::<ApiKeyState>(&*app.store, &caller.principal.tenant).await?;
    Ok(states.into_iter().filter_map(|(_, state)| state.key).collect())
}

/// Creates a key. Returns its stored form, and the key itself.
///
/// # Errors
///
/// [`ApiKeyError`]
pub async fn create(
    app: &App,
    caller: &Caller,
    name: String,
    role: Role,
    scope: KeyScope,
) -> Result<(ApiKey, String), ApiKeyError> {
    caller.authorise(Permission::Keys, Reach::Tenant)?;
    let faults = check(app, caller, Some(role), &scope);
    if !faults.is_empty() {
        return Err(ApiKeyError::Invalid(faults));
    }
    let others = list(app, caller).await?.len();
    let mode = scope.mode(caller);
    let label = if scope.team.is_some() { "team" } else { mode.as_str() };
    let KeyScope { channels, expires_at, team, .. } = scope;
    let channels = channels.or_else(|| caller.principal.channels.clone());
    let expires_at = expires_at.or_else(|| latest_expiry(caller, app.host.now()));
    let tenant = &caller.principal.tenant;
    // Only hashes are stored, so that a key does not say who is in the team.
    let hash_of = |address: &String| contact_hash(&app.contact_key, tenant, address);
    let team: Option<Vec<String>> = team.map(|team| team.iter().map(hash_of).collect());
    let id = format!("key_{:010x}", app.host.random() & 0xff_ffff_ffff);
    let secret = format!("td_{label}_{:032x}", app.host.random());
    let hash = key_hash(&secret);
    let principal = Principal {
        tenant: tenant.clone(),
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

fn may_revoke(caller: &Caller, key: &ApiKey) -> bool {
    let Principal { role, channels, mode, .. } = &caller.principal;
    role_includes(*role, key.role)
        && channels_include(channels.as_deref(), key.channels.as_deref())
        && (*mode == Mode::Live || key.mode == Mode::Test)
}

/// Revokes a key that can do no more than the caller. Other processes notice within a minute.
///
/// # Errors
///
/// [`ApiKeyError::NotFound`], [`Forbidden::MorePowerful`]
pub async fn revoke(app: &App, caller: &Caller, id: &str) -> Result<(), ApiKeyError> {
    caller.authorise(Permission::Keys, Reach::Tenant)?;
    let stream = AggregateId::<ApiKeyState>::new(&caller.principal.tenant, id);
    let loaded = execute::load(&*app.store, &stream).await?;
    let key = loaded.state.key.as_ref().ok_or(ApiKeyError::NotFound)?;
    if !may_revoke(caller, key) {
        return Err(Forbidden::MorePowerful.into());
    }
    // The key becomes invalid first: a crash between the two leaves an invalid key in the list.
    app.keys.remove(&key.hash).await?;
    app.principals.invalidate(&key.hash);
    app.executor(&caller.context()).execute_loaded(&stream, loaded, Command::Revoke).await?;
    Ok(())
}
