//! How people want to be contacted: their preferences, the tenant's defaults, and their preferred addresses.

use std::collections::BTreeMap;
use std::sync::Arc;

use domain::aggregate::{AggregateId, fold};
use domain::data_subject;
use domain::ports::{AddressKey, AddressRecord, DocumentKey, StoreError};
use domain::preferences::{DEFAULTS, Preferences};
use events::{
    Channel, MessageType, PreferenceEvent, QuietHours, Recipient, RecordedEvent, SuppressReason, TenantId, Timestamp,
};
use futures_util::future::{join, join_all};

use crate::cache::Cached;
use crate::directory::TenantPorts;
use crate::document;
use crate::execute;
use crate::statements;

/// How long defaults are cached, in milliseconds.
const DEFAULTS_TTL_MS: i64 = 15_000;
/// The most tenants whose defaults are cached.
const MAX_CACHED: usize = 10_000;
/// Number of people's preferences that are read at the same time.
const MAX_CONCURRENT_READS: usize = 10;

/// The tenants' defaults, at most 15 seconds old.
pub struct DefaultPreferences(Cached<TenantId, Arc<Preferences>>);

/// What consent says about a message to an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consent {
    /// Whether the address is on the suppression list.
    pub is_suppressed: bool,
    /// Why preferences forbid the message. `None` if they do not.
    pub refusal: Option<SuppressReason>,
    /// The quiet hours that apply to the recipient.
    pub quiet_hours: Option<QuietHours>,
}

impl Default for DefaultPreferences {
    fn default() -> Self {
        DefaultPreferences(Cached::new(DEFAULTS_TTL_MS, MAX_CACHED))
    }
}

/// The stream of a person's preferences.
pub fn preferences_stream(tenant: &TenantId, person: &str) -> AggregateId<Preferences> {
    AggregateId::new(tenant, person)
}

/// A person's own preferences as they are now, without the defaults.
///
/// # Errors
///
/// [`StoreError`]
pub async fn preferences(
    tenant_ports: &TenantPorts,
    tenant: &TenantId,
    person: &str,
) -> Result<Preferences, StoreError> {
    Ok(execute::load(&*tenant_ports.store, &preferences_stream(tenant, person)).await?.state)
}

/// The same, with the texts that explain opt-ins and opt-outs.
///
/// # Errors
///
/// [`StoreError`]
pub async fn preferences_with_texts(
    tenant_ports: &TenantPorts,
    tenant: &TenantId,
    person: &str,
) -> Result<Preferences, StoreError> {
    let mut preferences = preferences(tenant_ports, tenant, person).await?;
    statements::load(tenant_ports, tenant, person).await?.fill_in(&mut preferences);
    Ok(preferences)
}

/// The complete history of a person's preferences, in order, without the texts that explain them.
///
/// # Errors
///
/// [`StoreError`]
pub async fn history(
    tenant_ports: &TenantPorts,
    tenant: &TenantId,
    person: &str,
) -> Result<Vec<RecordedEvent<PreferenceEvent>>, StoreError> {
    execute::history(&*tenant_ports.store, &preferences_stream(tenant, person)).await
}

/// The preferences as of a time, from their history.
pub fn as_of(records: &[RecordedEvent<PreferenceEvent>], time: Option<Timestamp>) -> Preferences {
    fold(Preferences::default(), records.iter().filter(|record| time.is_none_or(|time| record.meta.at <= time)))
}

impl DefaultPreferences {
    /// A tenant's defaults, at most 15 seconds old.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn get(&self, tenant_ports: &TenantPorts, tenant: &TenantId) -> Result<Arc<Preferences>, StoreError> {
        let load = async { Ok(Arc::new(preferences(tenant_ports, tenant, DEFAULTS).await?)) };
        self.0.get_or_load(tenant, tenant_ports.host.now(), load).await
    }

    /// Removes a tenant's defaults, so that the next call reads them from the store.
    pub fn invalidate(&self, tenant: &TenantId) {
        self.0.invalidate(tenant);
    }

    /// The preferences that apply to the recipient of a message. For a recipient without an id they are the defaults.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn for_recipient(
        &self,
        tenant_ports: &TenantPorts,
        tenant: &TenantId,
        recipient: &Recipient,
    ) -> Result<Preferences, StoreError> {
        let own = match data_subject::of_recipient(recipient) {
            Some(person) => preferences(tenant_ports, tenant, &person).await?,
            None => Preferences::default(),
        };
        Ok(own.with_defaults(&*self.get(tenant_ports, tenant).await?))
    }

    /// What consent says about a message to an address. The preferences of its recipient decide, or those of everybody
    /// whose address it is: a message must not reach a person who does not want it only because the caller does not say
    /// who they are.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn consent(
        &self,
        tenant_ports: &TenantPorts,
        address: &AddressKey,
        recipient: &Recipient,
        kind: MessageType,
    ) -> Result<Consent, StoreError> {
        let record = tenant_ports.store.address(address);
        let own = self.for_recipient(tenant_ports, &address.tenant, recipient);
        let (record, own) = join(record, own).await;
        let (AddressRecord { suppressed, people }, own) = (record?, own?);
        let mut refusal = own.refuses(address.channel, kind);
        if refusal.is_none() && recipient.id.is_none() {
            let defaults = self.get(tenant_ports, &address.tenant).await?;
            for chunk in people.chunks(MAX_CONCURRENT_READS) {
                let read = chunk.iter().map(|person| preferences(tenant_ports, &address.tenant, person));
                for preferences in join_all(read).await {
                    let refused = preferences?.with_defaults(&defaults).refuses(address.channel, kind);
                    refusal = refusal.or(refused);
                }
                if refusal.is_some() {
                    break;
                }
            }
        }
        Ok(Consent { is_suppressed: suppressed.is_some(), refusal, quiet_hours: own.quiet_hours })
    }
}

/// Where a person's preferred addresses are stored.
pub fn addresses_key(tenant: &TenantId, person: &str) -> DocumentKey {
    DocumentKey { tenant: tenant.clone(), collection: "addresses", name: person.to_owned() }
}

/// A person's preferred address for each channel.
///
/// # Errors
///
/// [`StoreError`]
pub async fn addresses(
    tenant_ports: &TenantPorts,
    tenant: &TenantId,
    person: &str,
) -> Result<BTreeMap<Channel, String>, StoreError> {
    let stored = tenant_ports.documents.get_document(&addresses_key(tenant, person), tenant_ports.host.now()).await?;
    stored.map_or_else(|| Ok(BTreeMap::new()), |body| document::decode(&body))
}

/// Changes some of a person's preferred addresses. `None` removes one. Concurrent changes of others are kept.
///
/// # Errors
///
/// [`StoreError`]
pub async fn change_addresses(
    tenant_ports: &TenantPorts,
    tenant: &TenantId,
    person: &str,
    changes: &BTreeMap<Channel, Option<String>>,
) -> Result<(), StoreError> {
    let change = |addresses: &mut BTreeMap<Channel, String>| {
        for (channel, address) in changes {
            match address {
                Some(address) => drop(addresses.insert(*channel, address.clone())),
                None => drop(addresses.remove(channel)),
            }
        }
    };
    document::update(&*tenant_ports.documents, &*tenant_ports.host, &addresses_key(tenant, person), change).await
}
