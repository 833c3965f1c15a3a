//! Which providers a tenant's messages may take: its own configurations, connected, or else the deployment's.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::aggregate::Aggregate;
use domain::policy;
use domain::ports::{
    AddressKey, ClockAndRng, DocumentKey, DocumentStore, EventStore, Listed, SecretCipher, StoreError,
};
use domain::provider::{InvalidSetting, Provider, ProviderConfig, ProviderFactory};
use domain::provider_configs::{ProviderConfigState, Routing, TenantProviderConfig, TenantProviderConfigs};
use events::{Channel, Mode, TenantId};

use crate::cache::Cached;
use crate::execute::state_of;
use crate::settings::DeploymentProviderConfig;

/// How long a tenant's decisions are believed without asking again, in milliseconds: what a change takes to be felt.
pub const CHANNELS_TTL_MS: i64 = 15_000;
/// Tenants, and connected providers, remembered at most.
const MAX_CACHED: usize = 10_000;
/// The secret that every callback address ends with.
pub const CALLBACK_SECRET: &str = "callbackSecret";

/// What it needs to know a tenant's own configurations.
#[derive(Clone)]
pub struct TenantPorts {
    pub store: Arc<dyn EventStore>,
    pub documents: Arc<dyn DocumentStore>,
    pub sealer: Arc<dyn SecretCipher>,
    pub connector: Arc<dyn ProviderFactory>,
    pub host: Arc<dyn ClockAndRng>,
    /// Where callbacks reach us, without a slash at the end.
    pub public_url: String,
}

/// The tenants' provider configurations, at most 15 seconds old, and the providers that were created from them.
pub struct ProviderDirectory {
    tenants: Cached<TenantId, Arc<TenantProviderConfigs>>,
    connected: Cached<String, CachedProvider>,
}

impl Default for ProviderDirectory {
    fn default() -> Self {
        ProviderDirectory {
            tenants: Cached::new(CHANNELS_TTL_MS, MAX_CACHED),
            connected: Cached::unexpiring(MAX_CACHED),
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
    NoSecrets,
}

/// A configuration's id names its tenant: a callback's address says whose it is.
pub fn tenant_of_config(config: &str) -> Option<TenantId> {
    config.split_once('.')?.0.parse().ok()
}

/// Where a provider's own id of a message, or the latest to an address, leads to the attempt that it was.
pub fn provider_message_key(tenant: &TenantId, config: &str, id: &str) -> DocumentKey {
    DocumentKey { tenant: tenant.clone(), collection: "message", name: format!("{config}#{id}") }
}

/// There while a person's last word to us is less than 24 hours old.
pub fn last_inbound_key(contact: &AddressKey) -> DocumentKey {
    let name = format!("{}#{}", contact.channel.as_str(), contact.contact_hash);
    DocumentKey { tenant: contact.tenant.clone(), collection: "last-word", name }
}

/// The deployment's own configurations, connected. One that is wrong is left out and logged: its neighbours go on.
pub fn connected(
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

/// Everything that a tenant decided about provider configurations.
///
/// # Errors
///
/// [`StoreError`]
pub async fn provider_configs(
    tenant_ports: &TenantPorts,
    tenant: &TenantId,
) -> Result<TenantProviderConfigs, StoreError> {
    let mut configs = TenantProviderConfigs::default();
    let kinds = [ProviderConfigState::KIND, Routing::KIND];
    for (id, stream) in tenant_ports.store.list(tenant, &kinds, Listed::Current).await? {
        if id.kind == Routing::KIND {
            configs.add_routing(state_of(&*tenant_ports.store, &id, stream).await?);
        } else {
            configs.add(&id.id, state_of(&*tenant_ports.store, &id, stream).await?);
        }
    }
    Ok(configs)
}

impl TenantPorts {
    fn secret_key(tenant: &TenantId, config: &str, version: u32) -> DocumentKey {
        DocumentKey { tenant: tenant.clone(), collection: "secret", name: format!("{config}#{version}") }
    }

    /// Seals a configuration's credentials.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: nothing that counts was stored.
    pub async fn store_secrets(
        &self,
        tenant: &TenantId,
        config: &str,
        version: u32,
        secrets: &BTreeMap<String, String>,
    ) -> Result<(), StoreError> {
        let plain = serde_json::to_string(secrets).map_err(|error| StoreError::Unreadable(error.to_string()))?;
        let sealed = self.sealer.encrypt(&format!("{tenant}#{config}"), &plain).await?;
        self.documents.put_document(&TenantPorts::secret_key(tenant, config, version), &sealed, None).await
    }

    /// Opens them again.
    ///
    /// # Errors
    ///
    /// [`ProviderSetupError::NoSecrets`]: they were removed.
    pub async fn secrets(
        &self,
        tenant: &TenantId,
        config: &TenantProviderConfig,
    ) -> Result<BTreeMap<String, String>, ProviderSetupError> {
        let key = TenantPorts::secret_key(tenant, &config.id, config.secret);
        let sealed = self.documents.get_document(&key, self.host.now()).await?.ok_or(ProviderSetupError::NoSecrets)?;
        let plain = self.sealer.decrypt(&format!("{tenant}#{}", config.id), &sealed).await?;
        Ok(serde_json::from_str(&plain).map_err(|error| StoreError::Unreadable(error.to_string()))?)
    }

    /// Forgets credentials that are no longer in force.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn delete_secrets(&self, tenant: &TenantId, config: &str, version: u32) -> Result<(), StoreError> {
        self.documents.delete_document(&TenantPorts::secret_key(tenant, config, version)).await
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
        }
    }

    /// Connects with what is given, kept or not.
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
    /// What a tenant decided, at most 15 seconds old.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn channels(
        &self,
        tenant_ports: &TenantPorts,
        tenant: &TenantId,
    ) -> Result<Arc<TenantProviderConfigs>, StoreError> {
        let now = tenant_ports.host.now();
        if let Some(configs) = self.tenants.get(tenant, now) {
            return Ok(configs);
        }
        let configs = Arc::new(provider_configs(tenant_ports, tenant).await?);
        self.tenants.insert(tenant.clone(), configs.clone(), now);
        Ok(configs)
    }

    /// The next call reads the tenant's configurations from the store.
    pub fn invalidate(&self, tenant: &TenantId) {
        self.tenants.invalidate(tenant);
    }

    /// The same, and read again if it does not hold this configuration: it may have been made a moment ago.
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

    /// One of a tenant's own, ready to be called.
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

    /// Those that may carry this tenant's messages, in the order they are tried. A tenant with configurations of its own
    /// for a channel uses no others there. The flag: there are some, if only they were enabled.
    ///
    /// # Errors
    ///
    /// [`StoreError`]. A configuration that cannot be connected is left out: its neighbours go on.
    pub async fn offer(
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

    /// One by its name: a tenant's own, or the deployment's.
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
