//! Two tenants with their API keys. One of them has its own provider configuration.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use domain::ports::{ApiKeyStore, DocumentKey, Principal, Provider, ProviderConfig, StoreError, Stream};
use domain::provider::{Capabilities, InvalidSetting, ProviderFactory, ProviderKind};
use events::{Channel, EventMetadata, Mode, ProviderConfigEvent, StreamId, StreamKind, TenantId, Timestamp};

use super::World;
use super::faults::unavailable;
use super::provider::SimProvider;

/// API key and id of each tenant.
pub const TENANTS: [(&str, &str); 2] = [("td_sim_acme", "acme"), ("td_sim_other", "other")];

#[async_trait]
impl ApiKeyStore for World {
    async fn find(&self, hash: &str) -> Result<Option<Principal>, StoreError> {
        let found = TENANTS.iter().find(|(key, _)| application::hash::key_hash(key) == hash);
        let principal = |(_, tenant): &(&str, &str)| {
            let tenant = tenant.parse().map_err(|_| unavailable())?;
            Ok(Principal::admin(tenant, "sim", Mode::Live))
        };
        found.map(principal).transpose()
    }

    async fn put(&self, _: &str, _: &Principal) -> Result<(), StoreError> {
        Ok(())
    }

    async fn remove(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }
}

/// The second tenant's own provider configuration. Its provider does not echo our ids and cannot be queried.
pub const TENANT_CONFIG: &str = "other.tenant_ports";

pub fn second_tenant() -> TenantId {
    TENANTS[1].1.parse().expect("a tenant")
}

pub fn tenant_secret() -> DocumentKey {
    DocumentKey { tenant: second_tenant(), collection: "secret", name: format!("{TENANT_CONFIG}#1") }
}

/// The stream of the second tenant's provider configuration.
pub fn tenant_config_stream() -> (StreamId, Stream) {
    let added = ProviderConfigEvent::ChannelAdded {
        config: TENANT_CONFIG.to_owned(),
        provider: "sim".to_owned(),
        channel: Channel::Email,
        name: "Own channel".to_owned(),
        settings: BTreeMap::new(),
        secret: 1,
        secret_id: None,
        rate: None,
    };
    let meta = EventMetadata {
        at: Timestamp(0),
        command: "decided".to_owned(),
        correlation: None,
        causation: None,
        actor: "sim".to_owned(),
        traceparent: None,
    };
    let stream = Stream { version: 1, lines: vec![events::encode(&added, &meta)], ..Stream::default() };
    (StreamId::new(&second_tenant(), StreamKind::PROVIDER_CONFIG, TENANT_CONFIG), stream)
}

static SIMULATED_KIND: ProviderKind = ProviderKind {
    name: "sim",
    title: "Simulated provider",
    channels: &[Channel::Email],
    settings: &[],
    capabilities: Capabilities::TEXT,
    signs: "nothing",
};

impl ProviderFactory for World {
    fn kinds(&self) -> Vec<&'static ProviderKind> {
        vec![&SIMULATED_KIND]
    }

    fn create(
        &self,
        account: ProviderConfig,
        _: &BTreeMap<String, String>,
        _: &str,
    ) -> Result<Arc<dyn Provider>, InvalidSetting> {
        let account = ProviderConfig { rate: crate::RATE, ..account };
        Ok(Arc::new(SimProvider { world: self.clone(), account, answers: false, echoes: false }))
    }
}
