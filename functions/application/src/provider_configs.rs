//! Use cases of the tenant's provider configurations. Their credentials are encrypted, and are never shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::access::Permission;
use domain::aggregate::AggregateId;
use domain::ports::StoreError;
use domain::provider::{AccountQueryError, InvalidSetting, Provider, ProviderKind};
use domain::provider_configs::{
    Command, ProviderConfigState, Rejection, Routing, RoutingCommand, TenantProviderConfig, TenantProviderConfigs,
};
use domain::throttle::ProviderThrottle;
use events::{Channel, RateLimit};

use crate::app::App;
use crate::caller::{Caller, Forbidden};
use crate::directory::{self, CALLBACK_SECRET, ProviderSetupError, TenantPorts, tenant_of_config};
use crate::execute::ExecuteError;
use crate::throttle_store;

/// How often a change is tried again because another request changed the configuration.
const MAX_CONFLICT_RETRIES: usize = 5;

/// Why a use case of provider configurations had no effect.
#[derive(Debug, thiserror::Error)]
pub enum ProviderConfigError {
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("there is no such configuration")]
    NotFound,
    /// The provider could not be called with these settings.
    #[error("{}: {}", .0.setting, .0.detail)]
    Setting(InvalidSetting),
    #[error("its credentials are gone")]
    CredentialsMissing,
    /// The provider gave no answer about the account.
    #[error("{provider}: {error:?}")]
    AccountQuery { provider: String, error: AccountQueryError },
    #[error(transparent)]
    Execute(#[from] ExecuteError<Rejection>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ProviderSetupError> for ProviderConfigError {
    fn from(error: ProviderSetupError) -> Self {
        match error {
            ProviderSetupError::Store(error) => ProviderConfigError::Store(error),
            ProviderSetupError::Setting(setting) => ProviderConfigError::Setting(setting),
            ProviderSetupError::CredentialsMissing => ProviderConfigError::CredentialsMissing,
        }
    }
}

/// The settings that a caller gives, with the credentials apart from the others.
#[derive(Debug, Clone, Default)]
pub struct GivenSettings {
    pub plain: BTreeMap<String, String>,
    pub secret: BTreeMap<String, String>,
}

/// A change of a configuration. What is `None` does not change.
#[derive(Debug, Clone, Default)]
pub struct ProviderConfigChange {
    pub name: Option<String>,
    /// Merged into the current settings. An empty value removes a setting.
    pub settings: Option<GivenSettings>,
    pub rate: Option<RateLimit>,
    pub is_enabled: Option<bool>,
}

fn stream(caller: &Caller, id: &str) -> AggregateId<ProviderConfigState> {
    AggregateId::new(&caller.principal.tenant, id)
}

/// The providers that can be configured.
///
/// # Errors
///
/// [`ProviderConfigError::Forbidden`]
pub fn kinds(app: &App, caller: &Caller) -> Result<Vec<&'static ProviderKind>, ProviderConfigError> {
    caller.authorise(Permission::Channels)?;
    Ok(app.tenant_ports.connector.kinds())
}

/// The tenant's provider configurations and their order.
///
/// # Errors
///
/// [`ProviderConfigError`]
pub async fn list(app: &App, caller: &Caller) -> Result<TenantProviderConfigs, ProviderConfigError> {
    caller.authorise(Permission::Channels)?;
    Ok(all(app, caller).await?)
}

/// The tenant's provider configurations and their order, read from the store.
pub(crate) async fn all(app: &App, caller: &Caller) -> Result<TenantProviderConfigs, StoreError> {
    directory::provider_configs(&app.tenant_ports, &caller.principal.tenant).await
}

/// One of the tenant's own configurations, and all of them.
///
/// # Errors
///
/// [`ProviderConfigError::NotFound`]
pub async fn find(
    app: &App,
    caller: &Caller,
    id: &str,
) -> Result<(TenantProviderConfigs, TenantProviderConfig), ProviderConfigError> {
    caller.authorise(Permission::Channels)?;
    let configs = all(app, caller).await?;
    let config = configs.configs.get(id).cloned().ok_or(ProviderConfigError::NotFound)?;
    Ok((configs, config))
}

/// The provider of a configuration, ready to be called.
pub(crate) async fn connect(
    app: &App,
    caller: &Caller,
    config: &TenantProviderConfig,
) -> Result<Arc<dyn Provider>, ProviderConfigError> {
    let principal = &caller.principal;
    let connected = app.directory.connect(&app.tenant_ports, &principal.tenant, config, principal.mode).await?;
    Ok(connected.provider)
}

/// The details of a configuration besides its settings.
#[derive(Debug, Clone)]
pub struct ConfigDetails {
    /// The names of its credentials.
    pub credentials: Vec<String>,
    pub rate: RateLimit,
    pub throttle: ProviderThrottle,
    /// Where the provider sends its callbacks.
    pub callback_url: String,
}

/// # Errors
///
/// [`ProviderConfigError`]
pub async fn details(
    app: &App,
    caller: &Caller,
    config: &TenantProviderConfig,
) -> Result<ConfigDetails, ProviderConfigError> {
    caller.authorise(Permission::Channels)?;
    let rate = TenantPorts::account(config, caller.principal.mode).rate;
    let throttle = throttle_store::load(&*app.limits, &config.id, rate).await?;
    let mut secrets = secrets(app, caller, config).await?;
    let callback_secret = secrets.remove(CALLBACK_SECRET).unwrap_or_default();
    let callback_url = app.tenant_ports.callback_url(config, &callback_secret);
    Ok(ConfigDetails { credentials: secrets.into_keys().collect(), rate, throttle, callback_url })
}

/// The kind of provider of this name.
pub fn kind(app: &App, provider: &str) -> Option<&'static ProviderKind> {
    app.tenant_ports.connector.kinds().into_iter().find(|kind| kind.name == provider)
}

/// The credentials of a configuration. None are returned if they are gone; they can be given again.
///
/// # Errors
///
/// [`StoreError`]
async fn secrets(
    app: &App,
    caller: &Caller,
    config: &TenantProviderConfig,
) -> Result<BTreeMap<String, String>, StoreError> {
    match app.tenant_ports.secrets(&caller.principal.tenant, config).await {
        Ok(secrets) => Ok(secrets),
        Err(ProviderSetupError::Store(error)) => Err(error),
        Err(ProviderSetupError::Setting(_) | ProviderSetupError::CredentialsMissing) => Ok(BTreeMap::new()),
    }
}

/// A configuration to be added.
#[derive(Debug, Clone)]
pub struct NewProviderConfig {
    pub kind: &'static ProviderKind,
    pub channel: Channel,
    /// `None` means the title of the provider.
    pub name: Option<String>,
    pub settings: GivenSettings,
    pub rate: Option<RateLimit>,
    /// Whether the tenant's messages use it at once.
    pub is_enabled: bool,
}

/// Adds a configuration. Returns its id.
///
/// # Errors
///
/// [`ProviderConfigError`]: nothing was added.
pub async fn add(app: &App, caller: &Caller, new: NewProviderConfig) -> Result<String, ProviderConfigError> {
    caller.authorise(Permission::Channels)?;
    let NewProviderConfig { kind, channel, name, settings, rate, is_enabled } = new;
    let GivenSettings { plain, mut secret } = settings;
    let (tenant, now) = (&caller.principal.tenant, app.host.now());
    let id = format!("{tenant}.{:010x}", app.host.random() & 0xff_ffff_ffff);
    let config = TenantProviderConfig {
        id: id.clone(),
        provider: kind.name.to_owned(),
        channel,
        name: name.unwrap_or_else(|| kind.title.to_owned()),
        settings: plain,
        secret: 1,
        rate,
        added_at: now,
        changed_at: now,
        changed_by: String::new(),
    };
    // Settings that the provider cannot be called with are refused before anything is stored.
    app.tenant_ports
        .create_provider(&config, secret.clone(), caller.principal.mode)
        .map_err(ProviderConfigError::Setting)?;
    let others = all(app, caller).await?.configs.len();
    secret.insert(CALLBACK_SECRET.to_owned(), new_callback_secret(app));
    app.tenant_ports.store_secrets(tenant, &id, 0, &secret).await?;
    let TenantProviderConfig { id: config, provider, name, settings, .. } = config;
    execute(app, caller, &id, Command::Add { config, provider, channel, name, settings, rate, is_enabled, others })
        .await?;
    Ok(id)
}

/// Changes a configuration. Concurrent changes of other fields and settings are kept.
///
/// # Errors
///
/// [`ProviderConfigError`]: nothing was changed.
pub async fn change(
    app: &App,
    caller: &Caller,
    config: &TenantProviderConfig,
    change: ProviderConfigChange,
) -> Result<(), ProviderConfigError> {
    caller.authorise(Permission::Channels)?;
    let mut current = config.clone();
    for _ in 0..MAX_CONFLICT_RETRIES {
        match try_change(app, caller, &current, change.clone()).await {
            Err(ProviderConfigError::Execute(ExecuteError::Rejected(Rejection::Changed))) => {
                (_, current) = find(app, caller, &config.id).await?;
            }
            done => return done,
        }
    }
    Err(ExecuteError::Contended.into())
}

async fn try_change(
    app: &App,
    caller: &Caller,
    config: &TenantProviderConfig,
    ProviderConfigChange { name, settings: given, rate, is_enabled }: ProviderConfigChange,
) -> Result<(), ProviderConfigError> {
    let tenant = &caller.principal.tenant;
    let (mut settings, mut secret) = (None, None);
    if let Some(given) = given {
        let plain = merge(config.settings.clone(), given.plain);
        let known = secrets(app, caller, config).await?;
        let mut merged = merge(known.clone(), given.secret);
        let changed = TenantProviderConfig { settings: plain.clone(), ..config.clone() };
        let created = app.tenant_ports.create_provider(&changed, merged.clone(), caller.principal.mode);
        created.map_err(ProviderConfigError::Setting)?;
        if merged != known {
            merged.entry(CALLBACK_SECRET.to_owned()).or_insert_with(|| new_callback_secret(app));
            secret = Some(app.tenant_ports.store_secrets(tenant, &config.id, config.secret, &merged).await?);
        }
        settings = Some(plain);
    }
    let expected = Box::new(config.clone());
    let command = Command::Change { config: config.id.clone(), expected, name, settings, secret, rate, is_enabled };
    let done = execute(app, caller, &config.id, command).await;
    let unused = match (&done, secret) {
        (Ok(()), Some(_)) => Some(config.secret),
        (Err(ProviderConfigError::Execute(ExecuteError::Rejected(_))), version) => version,
        (Ok(()), None) | (Err(_), _) => None,
    };
    if let Some(version) = unused {
        app.tenant_ports.delete_secrets(tenant, &config.id, version).await?;
    }
    done
}

fn new_callback_secret(app: &App) -> String {
    format!("{:032x}", app.host.random())
}

fn merge(mut into: BTreeMap<String, String>, from: BTreeMap<String, String>) -> BTreeMap<String, String> {
    into.extend(from);
    into.retain(|_, value| !value.is_empty());
    into
}

/// Deletes a configuration and its credentials.
///
/// # Errors
///
/// [`ProviderConfigError::NotFound`]
pub async fn remove(app: &App, caller: &Caller, id: &str) -> Result<(), ProviderConfigError> {
    caller.authorise(Permission::Channels)?;
    let removed = execute(app, caller, id, Command::Remove { config: id.to_owned() }).await;
    // A crash between the two is repaired by a retry, which finds no configuration and deletes the credentials.
    if tenant_of_config(id).as_ref() == Some(&caller.principal.tenant) {
        app.tenant_ports.delete_all_secrets(&caller.principal.tenant, id).await?;
    }
    match removed {
        Err(ProviderConfigError::Execute(ExecuteError::Rejected(Rejection::Unknown))) => {
            Err(ProviderConfigError::NotFound)
        }
        removed => removed,
    }
}

/// Uses a configuration for the tenant's messages, or not. It may be one of the deployment's.
///
/// # Errors
///
/// [`ProviderConfigError`]
pub async fn set_enabled(app: &App, caller: &Caller, id: &str, is_enabled: bool) -> Result<(), ProviderConfigError> {
    caller.authorise(Permission::Operate)?;
    execute(app, caller, id, Command::SetEnabled { config: id.to_owned(), is_enabled }).await
}

/// Changes the order in which the configurations of a channel are tried.
///
/// # Errors
///
/// [`ProviderConfigError`]
pub async fn route(app: &App, caller: &Caller, command: RoutingCommand) -> Result<(), ProviderConfigError> {
    let (permission, channel) = match &command {
        RoutingCommand::Order { channel, .. } => (Permission::Channels, channel),
        RoutingCommand::UseFirst { channel, .. } => (Permission::Operate, channel),
    };
    caller.authorise(permission)?;
    let stream = AggregateId::<Routing>::new(&caller.principal.tenant, channel.as_str());
    let done = app.executor(&caller.context()).execute(&stream, command).await;
    app.directory.invalidate(&caller.principal.tenant);
    done.map(|_| ()).map_err(|error| ProviderConfigError::Execute(error.map_rejection(|never| match never {})))
}

async fn execute(app: &App, caller: &Caller, id: &str, command: Command) -> Result<(), ProviderConfigError> {
    app.executor(&caller.context()).execute(&stream(caller, id), command).await?;
    app.directory.invalidate(&caller.principal.tenant);
    Ok(())
}
