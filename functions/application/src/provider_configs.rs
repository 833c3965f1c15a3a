//! Use cases of the tenant's provider configurations. Their credentials are encrypted, and are never shown.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::access::{Permission, Reach};
use domain::aggregate::AggregateId;
use domain::ports::StoreError;
use domain::provider::{AccountQueryError, InvalidSetting, Provider, ProviderKind};
use domain::provider_configs::{
    Command, MAX_PROVIDER_CONFIGS, ProviderConfigState, Rejection, Routing, RoutingCommand, TenantProviderConfig,
    TenantProviderConfigs,
};
use domain::throttle::ProviderThrottle;
use events::{Channel, RateLimit};

use crate::app::App;
use crate::caller::{Caller, Forbidden};
use crate::directory::{self, CALLBACK_SECRET, ProviderSetupError, TenantPorts};
use crate::execute::{self, ExecuteError};
use crate::provider_settings::{CheckedSettings, SettingFault, SmsProviderFault};
use crate::throttle_store;

/// Changes in a row that may be lost to other writers before a change fails.
const MAX_CHANGE_RETRIES: usize = 5;

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
    #[error("the settings are not valid: {0:?}")]
    Settings(Vec<SettingFault>),
    /// The fields of the SMS provider have faults.
    #[error("the SMS provider is not valid: {0:?}")]
    SmsProvider(Vec<SmsProviderFault>),
    #[error("the order is not valid: {0:?}")]
    Order(Vec<OrderFault>),
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

/// A place of an order, from 0, that names no configuration of the channel, or one that was named before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderFault(pub usize);

/// A configuration to be added, of the provider of its settings.
#[derive(Debug, Clone)]
pub struct NewProviderConfig {
    pub channel: Channel,
    /// `None` means the title of the provider.
    pub name: Option<String>,
    pub settings: CheckedSettings,
    pub rate: Option<RateLimit>,
    /// Whether the tenant's messages use it from the beginning.
    pub is_enabled: bool,
}

/// A change of a configuration. What is `None` does not change.
#[derive(Debug, Clone, Default)]
pub struct ProviderConfigChange {
    pub name: Option<String>,
    /// Merged into the current settings. An empty value removes a setting.
    pub settings: Option<CheckedSettings>,
    pub rate: Option<RateLimit>,
    pub is_enabled: Option<bool>,
}

fn stream(caller: &Caller, id: &str) -> AggregateId<ProviderConfigState> {
    AggregateId::new(&caller.principal.tenant, id)
}

/// The tenant's provider configurations by the caller's channels, and their order, read from the store.
///
/// # Errors
///
/// [`ProviderConfigError`]
pub async fn all(app: &App, caller: &Caller) -> Result<TenantProviderConfigs, ProviderConfigError> {
    caller.authorise(Permission::Channels, Reach::Tenant)?;
    let mut configs = directory::provider_configs(&app.tenant_ports, &caller.principal.tenant).await?;
    configs.configs.retain(|_, config| caller.may_use(config.channel));
    Ok(configs)
}

/// The kinds of providers that a tenant can configure.
///
/// # Errors
///
/// [`Forbidden`]
pub fn kinds(app: &App, caller: &Caller) -> Result<Vec<&'static ProviderKind>, Forbidden> {
    caller.authorise(Permission::Channels, Reach::Tenant)?;
    Ok(app.tenant_ports.connector.kinds())
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
    let configs = all(app, caller).await?;
    configs.configs.get(id).cloned().map(|config| (configs, config)).ok_or(ProviderConfigError::NotFound)
}

/// The provider of a configuration, ready to be called.
///
/// # Errors
///
/// [`ProviderConfigError`]
pub async fn connect(
    app: &App,
    caller: &Caller,
    config: &TenantProviderConfig,
) -> Result<Arc<dyn Provider>, ProviderConfigError> {
    caller.authorise(Permission::Channels, Reach::Tenant)?;
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
    caller.authorise(Permission::Channels, Reach::Tenant)?;
    let rate = TenantPorts::account(config, caller.principal.mode).rate;
    let throttle = throttle_store::load(&*app.limits, &throttle_store::throttle_key(&config.id), rate).await?;
    // A configuration is also shown if its credentials are gone.
    let mut secrets = match app.tenant_ports.secrets(&caller.principal.tenant, config).await {
        Ok(secrets) => secrets,
        Err(ProviderSetupError::Store(error)) => return Err(error.into()),
        Err(ProviderSetupError::Setting(_) | ProviderSetupError::CredentialsMissing) => BTreeMap::new(),
    };
    let callback_secret = secrets.remove(CALLBACK_SECRET).unwrap_or_default();
    let callback_url = app.tenant_ports.callback_url(config, &callback_secret);
    Ok(ConfigDetails { credentials: secrets.into_keys().collect(), rate, throttle, callback_url })
}

/// The kind of provider of this name.
pub fn kind(app: &App, provider: &str) -> Option<&'static ProviderKind> {
    app.tenant_ports.connector.kinds().into_iter().find(|kind| kind.name == provider)
}

/// Adds a configuration. Returns its id.
///
/// # Errors
///
/// [`ProviderConfigError`]: nothing was added.
pub async fn add(app: &App, caller: &Caller, new: NewProviderConfig) -> Result<String, ProviderConfigError> {
    add_at(app, caller, new, false).await
}

/// Adds a configuration that is tried before the existing ones of its channel. Returns its id.
///
/// # Errors
///
/// As [`add`].
pub(crate) async fn add_first(
    app: &App,
    caller: &Caller,
    new: NewProviderConfig,
) -> Result<String, ProviderConfigError> {
    add_at(app, caller, new, true).await
}

async fn add_at(
    app: &App,
    caller: &Caller,
    NewProviderConfig { channel, name, settings, rate, is_enabled }: NewProviderConfig,
    is_first: bool,
) -> Result<String, ProviderConfigError> {
    caller.authorise(Permission::Channels, Reach::Tenant)?;
    caller.check_channel(channel)?;
    let (tenant, now) = (&caller.principal.tenant, app.host.now());
    let kind = settings.kind();
    let CheckedSettings { plain, mut secret, .. } = settings;
    let config = TenantProviderConfig {
        id: format!("{tenant}.{:010x}", app.host.random() & 0xff_ffff_ffff),
        provider: kind.name.to_owned(),
        channel,
        name: name.unwrap_or_else(|| kind.title.to_owned()),
        settings: plain,
        secret: 1,
        secret_id: Some(new_secret_id(app)),
        rate,
        added_at: now,
        changed_at: now,
        changed_by: String::new(),
    };
    // Settings that the provider cannot be called with are refused before anything is stored.
    app.tenant_ports
        .create_provider(&config, secret.clone(), caller.principal.mode)
        .map_err(ProviderConfigError::Setting)?;
    let others = directory::provider_configs(&app.tenant_ports, tenant).await?.configs.len();
    if MAX_PROVIDER_CONFIGS <= others {
        return Err(ExecuteError::Rejected(Rejection::TooMany).into());
    }
    secret.insert(CALLBACK_SECRET.to_owned(), format!("{:032x}", app.host.random()));
    app.tenant_ports.store_secrets(tenant, &config, &secret).await?;
    if is_first {
        // An order may name a configuration that does not exist, so it takes effect when the configuration is added.
        route(app, caller, RoutingCommand::UseFirst { channel, config: config.id.clone() }).await?;
    }
    let TenantProviderConfig { id, provider, name, settings, secret_id, .. } = config.clone();
    let command = Command::Add {
        config: id.clone(),
        provider,
        channel,
        name,
        settings,
        secret_id: secret_id.unwrap_or_default(),
        rate,
        is_enabled,
        others,
    };
    match execute(app, caller, &id, command).await {
        Ok(()) => Ok(id),
        // A repeated append is rejected although it was stored.
        Err(ExecuteError::Rejected(Rejection::Exists)) if is_in_use(app, caller, &config).await? => Ok(id),
        Err(error) => {
            delete_after_error(app, caller, &config, &error).await;
            Err(error.into())
        }
    }
}

/// Whether these are the current credentials of the configuration.
async fn is_in_use(app: &App, caller: &Caller, config: &TenantProviderConfig) -> Result<bool, StoreError> {
    let current = load(app, caller, &config.id).await?.config;
    Ok(current.is_some_and(|current| current.secret_id == config.secret_id))
}

/// Deletes new credentials after an append that failed. After an unknown outcome they may be in use.
async fn delete_after_error(
    app: &App,
    caller: &Caller,
    config: &TenantProviderConfig,
    error: &ExecuteError<Rejection>,
) {
    let is_known = !matches!(error, ExecuteError::OutcomeUnknown(_));
    if is_known && matches!(is_in_use(app, caller, config).await, Ok(false)) {
        delete_unused_secrets(app, caller, config).await;
    }
}

/// The random part of the name of new credentials.
fn new_secret_id(app: &App) -> String {
    format!("{:016x}", app.host.random() as u64)
}

/// Credentials that could not be deleted are deleted with the configuration.
async fn delete_unused_secrets(app: &App, caller: &Caller, config: &TenantProviderConfig) {
    if let Err(error) = app.tenant_ports.delete_secrets(&caller.principal.tenant, config).await {
        tracing::warn!(config = config.id, %error, "unused credentials were not deleted");
    }
}

/// Changes a configuration. If another change comes first, the change is merged into the result of that one.
///
/// # Errors
///
/// [`ProviderConfigError`]: nothing was changed. [`ProviderConfigError::CredentialsMissing`] if settings change:
/// without the old credentials, the secret of the callback address would be lost.
pub async fn change(
    app: &App,
    caller: &Caller,
    id: &str,
    change: ProviderConfigChange,
) -> Result<(), ProviderConfigError> {
    caller.authorise(Permission::Channels, Reach::Tenant)?;
    for _ in 0..MAX_CHANGE_RETRIES {
        let state = load(app, caller, id).await?;
        if try_change(app, caller, &state, &change).await? {
            return Ok(());
        }
    }
    Err(ExecuteError::Contended.into())
}

async fn load(app: &App, caller: &Caller, id: &str) -> Result<ProviderConfigState, StoreError> {
    Ok(execute::load(&*app.store, &stream(caller, id)).await?.state)
}

/// The configuration as it is to be, with its new credentials. They are `None` if they do not change.
async fn merge_settings(
    app: &App,
    caller: &Caller,
    config: &TenantProviderConfig,
    given: &CheckedSettings,
) -> Result<(TenantProviderConfig, Option<BTreeMap<String, String>>), ProviderConfigError> {
    let known = app.tenant_ports.secrets(&caller.principal.tenant, config).await?;
    let merged = merge(known.clone(), given.secret.clone());
    let settings = merge(config.settings.clone(), given.plain.clone());
    let mut changed = TenantProviderConfig { settings, ..config.clone() };
    let created = app.tenant_ports.create_provider(&changed, merged.clone(), caller.principal.mode);
    created.map_err(ProviderConfigError::Setting)?;
    if merged == known {
        return Ok((changed, None));
    }
    (changed.secret, changed.secret_id) = (config.secret + 1, Some(new_secret_id(app)));
    Ok((changed, Some(merged)))
}

/// Decides on one state of the configuration. Returns false if another writer was first.
async fn try_change(
    app: &App,
    caller: &Caller,
    state: &ProviderConfigState,
    ProviderConfigChange { name, settings: given, rate, is_enabled }: &ProviderConfigChange,
) -> Result<bool, ProviderConfigError> {
    let tenant = &caller.principal.tenant;
    let config = state.config.as_ref().filter(|config| caller.may_use(config.channel));
    let config = config.ok_or(ProviderConfigError::NotFound)?;
    let (mut settings, mut stored) = (None, None);
    if let Some(given) = given {
        let (changed, secrets) = match merge_settings(app, caller, config, given).await {
            Ok(merged) => merged,
            // Another writer deletes the credentials that its change supersedes.
            Err(ProviderConfigError::CredentialsMissing)
                if load(app, caller, &config.id).await?.revision != state.revision =>
            {
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        settings = Some(changed.settings.clone());
        if let Some(secrets) = secrets {
            app.tenant_ports.store_secrets(tenant, &changed, &secrets).await?;
            stored = Some(changed);
        }
    }
    let command = Command::Change {
        config: config.id.clone(),
        expected: state.revision,
        name: name.clone(),
        settings,
        secret_id: stored.as_ref().and_then(|changed| changed.secret_id.clone()),
        rate: *rate,
        is_enabled: *is_enabled,
    };
    let is_first = match execute(app, caller, &config.id, command).await {
        Ok(()) => true,
        Err(ExecuteError::Rejected(Rejection::Changed)) => false,
        Err(error) => {
            if let Some(stored) = &stored {
                delete_after_error(app, caller, stored, &error).await;
            }
            return Err(error.into());
        }
    };
    let Some(stored) = stored else { return Ok(is_first) };
    // A repeated append is rejected although it was stored, so the stream says whose credentials are in use.
    let is_done = is_first || is_in_use(app, caller, &stored).await?;
    delete_unused_secrets(app, caller, if is_done { config } else { &stored }).await;
    Ok(is_done)
}

fn merge(mut into: BTreeMap<String, String>, from: BTreeMap<String, String>) -> BTreeMap<String, String> {
    into.extend(from);
    into.retain(|_, value| !value.is_empty());
    into
}

/// Deletes a configuration and its credentials. Repeating it deletes credentials that a crash left behind.
///
/// # Errors
///
/// [`ProviderConfigError::NotFound`]
pub async fn remove(app: &App, caller: &Caller, id: &str) -> Result<(), ProviderConfigError> {
    caller.authorise(Permission::Channels, Reach::Tenant)?;
    let config = load(app, caller, id).await?.config;
    if config.as_ref().is_some_and(|config| !caller.may_use(config.channel)) {
        return Err(ProviderConfigError::NotFound);
    }
    if config.is_some() {
        execute(app, caller, id, Command::Remove { config: id.to_owned() }).await?;
    }
    app.tenant_ports.delete_all_secrets(&caller.principal.tenant, id).await?;
    config.map(|_| ()).ok_or(ProviderConfigError::NotFound)
}

/// Uses a configuration for the tenant's messages, or not. It may be one of the deployment's.
///
/// # Errors
///
/// [`ProviderConfigError`]
pub async fn set_enabled(app: &App, caller: &Caller, id: &str, is_enabled: bool) -> Result<(), ProviderConfigError> {
    caller.authorise(Permission::Operate, Reach::Tenant)?;
    Ok(execute(app, caller, id, Command::SetEnabled { config: id.to_owned(), is_enabled }).await?)
}

fn order_faults(configs: &TenantProviderConfigs, channel: Channel, order: &[String]) -> Vec<OrderFault> {
    let is_fault = |(place, id): &(usize, &String)| {
        let is_known = configs.configs.get(*id).is_some_and(|config| config.channel == channel);
        !is_known || order[..*place].contains(id)
    };
    order.iter().enumerate().filter(is_fault).map(|(place, _)| OrderFault(place)).collect()
}

/// Checks an order of the configurations of a channel. Nothing is stored.
///
/// # Errors
///
/// [`ProviderConfigError`]
pub async fn check_order(
    app: &App,
    caller: &Caller,
    channel: Channel,
    order: &[String],
) -> Result<Vec<OrderFault>, ProviderConfigError> {
    caller.check_channel(channel)?;
    Ok(order_faults(&all(app, caller).await?, channel, order))
}

/// Sets the order in which the configurations of a channel are tried. Those that it does not name come last. Returns
/// the complete order.
///
/// # Errors
///
/// [`ProviderConfigError::Order`] as [`check_order`]: nothing was changed.
pub async fn order(
    app: &App,
    caller: &Caller,
    channel: Channel,
    order: Vec<String>,
) -> Result<Vec<String>, ProviderConfigError> {
    let faults = check_order(app, caller, channel, &order).await?;
    if !faults.is_empty() {
        return Err(ProviderConfigError::Order(faults));
    }
    route(app, caller, RoutingCommand::Order { channel, order }).await?;
    let configs = all(app, caller).await?;
    Ok(configs.for_channel(channel).into_iter().map(|config| config.id.clone()).collect())
}

/// Tries a configuration first on its channel. It may be one of the deployment's.
///
/// # Errors
///
/// [`ProviderConfigError`]
pub async fn use_first(app: &App, caller: &Caller, channel: Channel, id: &str) -> Result<(), ProviderConfigError> {
    caller.authorise(Permission::Operate, Reach::Tenant)?;
    route(app, caller, RoutingCommand::UseFirst { channel, config: id.to_owned() }).await
}

async fn route(app: &App, caller: &Caller, command: RoutingCommand) -> Result<(), ProviderConfigError> {
    let (RoutingCommand::Order { channel, .. } | RoutingCommand::UseFirst { channel, .. }) = &command;
    let stream = AggregateId::<Routing>::new(&caller.principal.tenant, channel.as_str());
    let done = app.executor(&caller.context()).execute(&stream, command).await;
    app.directory.invalidate(&caller.principal.tenant);
    done.map(|_| ()).map_err(|error| ProviderConfigError::Execute(error.map_rejection(|never| match never {})))
}

async fn execute(app: &App, caller: &Caller, id: &str, command: Command) -> Result<(), ExecuteError<Rejection>> {
    app.executor(&caller.context()).execute(&stream(caller, id), command).await?;
    app.directory.invalidate(&caller.principal.tenant);
    Ok(())
}
