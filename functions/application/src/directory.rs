//! The providers that may carry a tenant's messages: those of its own configurations, or else the deployment's.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::aggregate::Aggregate;
use domain::policy;
use domain::ports::CoordinationStore;
use domain::ports::{
    AddressKey, ClockAndRng, DocumentKey, DocumentStore, EventStore, Listed, SecretCipher, StoreError,
};
use domain::prices::{self, PriceList};
use domain::provider::{InvalidSetting, Provider, ProviderConfig, ProviderFactory};
use domain::provider_configs::{ProviderConfigState, Routing, TenantProviderConfig, TenantProviderConfigs};
use domain::tenant_limits::{Pause, TenantLimits};
use domain::throttle::ProviderThrottle;
use events::{Channel, Mode, RateLimit, TenantId, Timestamp};

use crate::cache::Cached;
use crate::document;
use crate::execute::state_of;
use crate::settings::DeploymentProviderConfig;
use crate::throttle_store;

/// How long a tenant's configurations are cached, in milliseconds. A change takes effect everywhere within this time.
pub const CHANNELS_TTL_MS: i64 = 15_000;
/// How long the state of a rate limit is cached for estimates, in milliseconds.
const THROTTLE_TTL_MS: i64 = 1_000;
/// The most tenants, and the most created providers, that are cached.
const MAX_CACHED: usize = 10_000;
/// The secret that every callback address ends with.
pub const CALLBACK_SECRET: &str = "callbackSecret";

/// The collection of the credentials, which are encrypted.
const SECRETS: &str = "secret";

/// The ports through which tenants' own data is read and written.
#[derive(Clone)]
pub struct TenantPorts {
    pub store: Arc<dyn EventStore>,
    pub documents: Arc<dyn DocumentStore>,
    pub sealer: Arc<dyn SecretCipher>,
    pub connector: Arc<dyn ProviderFactory>,
    pub host: Arc<dyn ClockAndRng>,
    /// The public address of the deployment, which callbacks are sent to, without a slash at the end.
    pub public_url: String,
}

/// The tenants' provider configurations, at most 15 seconds old, and the providers that were created from them.
pub struct ProviderDirectory {
    tenants: Cached<TenantId, Arc<TenantProviderConfigs>>,
    connected: Cached<String, CachedProvider>,
    throttles: Cached<String, ProviderThrottle>,
    /// The tenants whose pauses were read a moment ago.
    rechecked: Cached<TenantId, ()>,
}

impl Default for ProviderDirectory {
    fn default() -> Self {
        ProviderDirectory {
            tenants: Cached::new(CHANNELS_TTL_MS, MAX_CACHED),
            connected: Cached::unexpiring(MAX_CACHED),
            throttles: Cached::new(THROTTLE_TTL_MS, MAX_CACHED),
            rechecked: Cached::new(policy::PAUSE_RECHECK_MS, MAX_CACHED),
        }
    }
}

/// A tenant's own provider, and the secret that its callback address ends with.
#[derive(Clone)]
pub struct CachedProvider {
    pub provider: Arc<dyn Provider>,
    pub callback_secret: String,
}

/// Why a configuration is not connected.
#[derive(Debug, thiserror::Error)]
pub enum ProviderSetupError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{}: {}", .0.setting, .0.detail)]
    Setting(InvalidSetting),
    #[error("its credentials are gone")]
    CredentialsMissing,
}

/// Deletes the documents of a collection whose names begin with `<id>#`.
///
/// # Errors
///
/// [`StoreError`]
pub(crate) async fn delete_documents(
    documents: &dyn DocumentStore,
    (tenant, collection): (&TenantId, &'static str),
    id: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let prefix = format!("{id}#");
    // `$` is the character after `#`.
    let mut before = format!("{id}$");
    loop {
        let page = documents.list_documents(tenant, collection, Some(&before), 100, now).await?;
        let mine: Vec<String> =
            page.into_iter().map(|(name, _)| name).take_while(|name| name.starts_with(&prefix)).collect();
        let Some(last) = mine.last() else { return Ok(()) };
        before.clone_from(last);
        for name in mine {
            documents.delete_document(&DocumentKey { tenant: tenant.clone(), collection, name }).await?;
        }
    }
}

/// The tenant of a configuration, which is part of the configuration's id.
pub fn tenant_of_config(config: &str) -> Option<TenantId> {
    config.split_once('.')?.0.parse().ok()
}

/// The document that leads from a provider's own id of a message (or from an address, for the latest message to it) to
/// the attempt.
pub fn provider_message_key(tenant: &TenantId, config: &str, id: &str) -> DocumentKey {
    DocumentKey { tenant: tenant.clone(), collection: "message", name: format!("{config}#{id}") }
}

/// The document that exists while the last message from an address is less than 24 hours old.
pub fn last_inbound_key(contact: &AddressKey) -> DocumentKey {
    let name = format!("{}#{}", contact.channel.as_str(), contact.contact_hash);
    DocumentKey { tenant: contact.tenant.clone(), collection: "last-word", name }
}

/// Creates the providers of the deployment's own configurations. An invalid configuration is logged and left out.
pub fn build_deployment_providers(
    connector: &dyn ProviderFactory,
    configured: Vec<DeploymentProviderConfig>,
    public_url: &str,
) -> Vec<Arc<dyn Provider>> {
    let connect = |DeploymentProviderConfig { account, settings, callback_path }: DeploymentProviderConfig| {
        let config = account.id.clone();
        let connected = connector.create(account, &settings, &format!("{public_url}{callback_path}"));
        connected.inspect_err(|fault| tracing::error!(config, ?fault, "a configuration cannot be used")).ok()
    };
    configured.into_iter().filter_map(connect).collect()
}

/// A tenant's provider configurations, their order and the tenant's limits, read from the store.
///
/// # Errors
///
/// [`StoreError`]
pub async fn provider_configs(
    tenant_ports: &TenantPorts,
    tenant: &TenantId,
) -> Result<TenantProviderConfigs, StoreError> {
    let mut configs = TenantProviderConfigs::default();
    let kinds = [ProviderConfigState::KIND, Routing::KIND, TenantLimits::KIND];
    for (id, stream) in tenant_ports.store.list(tenant, &kinds, Listed::Current).await? {
        if id.kind == Routing::KIND {
            configs.add_routing(state_of(&*tenant_ports.store, &id, stream).await?);
        } else if id.kind == TenantLimits::KIND {
            configs.limits = state_of(&*tenant_ports.store, &id, stream).await?;
        } else {
            configs.add(&id.id, state_of(&*tenant_ports.store, &id, stream).await?);
        }
    }
    Ok(configs)
}

impl TenantPorts {
    fn secret_key(tenant: &TenantId, config: &TenantProviderConfig) -> DocumentKey {
        let version = format!("{}#{}", config.id, config.secret);
        let name = match &config.secret_id {
            Some(id) => format!("{version}#{id}"),
            None => version,
        };
        DocumentKey { tenant: tenant.clone(), collection: SECRETS, name }
    }

    /// Encrypts and stores the credentials of a configuration, as the version that it names.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the credentials were not stored.
    pub async fn store_secrets(
        &self,
        tenant: &TenantId,
        config: &TenantProviderConfig,
        secrets: &BTreeMap<String, String>,
    ) -> Result<(), StoreError> {
        let plain = document::encode(secrets)?;
        let sealed = self.sealer.encrypt(&format!("{tenant}#{}", config.id), &plain).await?;
        self.documents.put_document(&TenantPorts::secret_key(tenant, config), &sealed, None).await
    }

    /// Reads and decrypts a configuration's credentials.
    ///
    /// # Errors
    ///
    /// [`ProviderSetupError::CredentialsMissing`]: they were removed.
    pub async fn secrets(
        &self,
        tenant: &TenantId,
        config: &TenantProviderConfig,
    ) -> Result<BTreeMap<String, String>, ProviderSetupError> {
        let key = TenantPorts::secret_key(tenant, config);
        let sealed =
            self.documents.get_document(&key, self.host.now()).await?.ok_or(ProviderSetupError::CredentialsMissing)?;
        let plain = self.sealer.decrypt(&format!("{tenant}#{}", config.id), &sealed).await?;
        Ok(document::decode(&plain)?)
    }

    /// Deletes the version of the credentials that a configuration names.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn delete_secrets(&self, tenant: &TenantId, config: &TenantProviderConfig) -> Result<(), StoreError> {
        self.documents.delete_document(&TenantPorts::secret_key(tenant, config)).await
    }

    /// Deletes all versions of a configuration's credentials, also those of changes that failed.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn delete_all_secrets(&self, tenant: &TenantId, config: &str) -> Result<(), StoreError> {
        delete_documents(&*self.documents, (tenant, SECRETS), config, self.host.now()).await
    }

    /// The address that a provider calls back.
    pub fn callback_url(&self, config: &TenantProviderConfig, callback_secret: &str) -> String {
        format!("{}/webhooks/{}/{}/{callback_secret}", self.public_url, config.provider, config.id)
    }

    pub fn account(config: &TenantProviderConfig, mode: Mode) -> ProviderConfig {
        ProviderConfig {
            id: config.id.clone(),
            provider: config.provider.clone(),
            channel: config.channel,
            mode,
            rate: config.rate.unwrap_or_else(|| policy::default_rate_limit(&config.provider, config.channel)),
            prices: config.settings.get(prices::SETTING).and_then(|text| PriceList::parse(text).ok()),
        }
    }

    /// Creates the provider of a configuration with the given credentials.
    ///
    /// # Errors
    ///
    /// [`InvalidSetting`]
    pub fn create_provider(
        &self,
        config: &TenantProviderConfig,
        mut secrets: BTreeMap<String, String>,
        mode: Mode,
    ) -> Result<Arc<dyn Provider>, InvalidSetting> {
        let callback = secrets.remove(CALLBACK_SECRET).unwrap_or_default();
        let mut settings = config.settings.clone();
        settings.extend(secrets);
        self.connector.create(TenantPorts::account(config, mode), &settings, &self.callback_url(config, &callback))
    }
}

impl ProviderDirectory {
    /// A tenant's configurations, at most 15 seconds old.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn channels(
        &self,
        tenant_ports: &TenantPorts,
        tenant: &TenantId,
    ) -> Result<Arc<TenantProviderConfigs>, StoreError> {
        let load = async { Ok(Arc::new(provider_configs(tenant_ports, tenant).await?)) };
        self.tenants.get_or_load(tenant, tenant_ports.host.now(), load).await
    }

    /// Why a channel of the tenant is paused. Another process's pause is noticed within 15 seconds, and its end within
    /// one, because a pause is read again before it holds a message.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn pause_of(
        &self,
        tenant_ports: &TenantPorts,
        tenant: &TenantId,
        channel: Channel,
    ) -> Result<Option<Pause>, StoreError> {
        let mut channels = self.channels(tenant_ports, tenant).await?;
        let now = tenant_ports.host.now();
        if channels.limits.pauses.contains_key(&channel) && self.rechecked.get(tenant, now).is_none() {
            let load = async { Ok(Arc::new(provider_configs(tenant_ports, tenant).await?)) };
            channels = self.tenants.reload(tenant, now, load).await?;
            self.rechecked.insert(tenant.clone(), (), now);
        }
        Ok(channels.limits.pauses.get(&channel).cloned())
    }

    /// Removes a tenant's configurations, so that the next call reads them from the store.
    pub fn invalidate(&self, tenant: &TenantId) {
        self.tenants.invalidate(tenant);
        self.rechecked.invalidate(tenant);
    }

    /// The throttle of this name as it was at most a second ago.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub(crate) async fn recent_throttle(
        &self,
        limits: &dyn CoordinationStore,
        name: String,
        rate: RateLimit,
        now: Timestamp,
    ) -> Result<ProviderThrottle, StoreError> {
        let load = throttle_store::load(limits, &name, rate);
        let mut throttle = self.throttles.get_or_load(&name, now, load).await?;
        throttle.limiter.rate = rate;
        Ok(throttle)
    }

    /// A tenant's configurations. They are read again if this configuration is not among the cached ones, because it
    /// may have been created a moment ago.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn configs_containing(
        &self,
        tenant_ports: &TenantPorts,
        tenant: &TenantId,
        config: &str,
    ) -> Result<Arc<TenantProviderConfigs>, StoreError> {
        let channels = self.channels(tenant_ports, tenant).await?;
        if channels.configs.contains_key(config) {
            return Ok(channels);
        }
        self.invalidate(tenant);
        self.channels(tenant_ports, tenant).await
    }

    /// The provider of one of the tenant's own configurations, ready to be called.
    ///
    /// # Errors
    ///
    /// [`ProviderSetupError`]
    pub async fn connect(
        &self,
        tenant_ports: &TenantPorts,
        tenant: &TenantId,
        config: &TenantProviderConfig,
        mode: Mode,
    ) -> Result<CachedProvider, ProviderSetupError> {
        let name = format!("{}#{}#{}#{}", config.id, config.changed_at.0, config.secret, mode.as_str());
        let now = tenant_ports.host.now();
        if let Some(connected) = self.connected.get(&name, now) {
            return Ok(connected);
        }
        let secrets = tenant_ports.secrets(tenant, config).await?;
        let callback_secret = secrets.get(CALLBACK_SECRET).cloned().unwrap_or_default();
        let provider = tenant_ports.create_provider(config, secrets, mode).map_err(ProviderSetupError::Setting)?;
        let connected = CachedProvider { provider, callback_secret };
        self.connected.insert(name, connected.clone(), now);
        Ok(connected)
    }

    /// The providers that may carry this tenant's messages, in the order they are tried. A tenant with configurations
    /// of its own for a channel uses no others for it. The flag says whether there are disabled ones.
    ///
    /// # Errors
    ///
    /// [`StoreError`]. A configuration whose provider cannot be created is left out.
    pub async fn providers_for(
        &self,
        tenant_ports: &TenantPorts,
        tenant: &TenantId,
        (channel, mode): (Channel, Mode),
        deployment: &[Arc<dyn Provider>],
    ) -> Result<(Vec<Arc<dyn Provider>>, bool), StoreError> {
        let channels = self.channels(tenant_ports, tenant).await?;
        let configs = channels.for_channel(channel);
        let mut offered: Vec<Arc<dyn Provider>> = Vec::new();
        if configs.is_empty() {
            let serves = |account: &ProviderConfig| account.channel == channel && account.mode == mode;
            offered.extend(deployment.iter().filter(|provider| serves(provider.config())).cloned());
            let is_some = !offered.is_empty();
            offered.retain(|provider| !channels.disabled.contains(&provider.config().id));
            offered.sort_by_key(|provider| channels.position_of(channel, &provider.config().id));
            return Ok((offered, is_some));
        }
        for config in configs.into_iter().filter(|config| !channels.disabled.contains(&config.id)) {
            match self.connect(tenant_ports, tenant, config, mode).await {
                Ok(connected) => offered.push(connected.provider),
                Err(ProviderSetupError::Store(error @ StoreError::Unavailable(_))) => return Err(error),
                Err(error) => tracing::error!(config = config.id, %error, "a configuration cannot be used"),
            }
        }
        Ok((offered, true))
    }

    /// A provider by its name: one of the tenant's own, or one of the deployment's.
    ///
    /// # Errors
    ///
    /// [`ProviderSetupError`]
    pub async fn find(
        &self,
        tenant_ports: &TenantPorts,
        tenant: &TenantId,
        (config, mode): (&str, Mode),
        deployment: &[Arc<dyn Provider>],
    ) -> Result<Option<Arc<dyn Provider>>, ProviderSetupError> {
        let is_it = |account: &ProviderConfig| account.id == config && account.mode == mode;
        if let Some(found) = deployment.iter().find(|provider| is_it(provider.config())) {
            return Ok(Some(found.clone()));
        }
        let channels = self.channels(tenant_ports, tenant).await?;
        match channels.configs.get(config) {
            Some(config) => {
                self.connect(tenant_ports, tenant, config, mode).await.map(|connected| Some(connected.provider))
            }
            None => Ok(None),
        }
    }
}
