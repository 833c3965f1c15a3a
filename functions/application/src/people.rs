//! Changes of people's preferences, and the addresses for which they hold even if a message does not say whose they are.
//!
//! The addresses of a person who restricts what may be sent to them are linked to the person: the preferred ones, and
//! those that were sent to with the person's id. What the person wants is read when a message is sent, so an opt-in needs
//! no other change.

use std::collections::{BTreeMap, BTreeSet};

use domain::address;
use domain::ports::{AddressKey, StoreError, Vault};
use domain::preferences::{Command, DEFAULTS, Preferences, Rejection};
use events::{Channel, TenantId};

use crate::consent::{self, preferences_stream};
use crate::directory::TenantPorts;
use crate::execute::{CommandContext, CommandExecutor, ExecuteError, Loaded};
use crate::hash::contact_hash;

/// Number of messages that are read together.
const PAGE: usize = 100;
/// Maximum number of a person's messages whose addresses are linked, the newest first.
const MAX_MESSAGES: usize = 1_000;

/// The ports of changes of preferences.
pub struct People<'a> {
    pub tenant_ports: &'a TenantPorts,
    pub vault: &'a dyn Vault,
    pub contact_key: &'a [u8],
}

impl People<'_> {
    /// Changes a person's preferences, or the tenant's defaults.
    ///
    /// A restriction is linked first, so that it holds for the addresses as soon as it is stored. The preferred
    /// addresses are linked once more, because another request may have changed them meanwhile.
    ///
    /// # Errors
    ///
    /// [`ExecuteError`]: the change can be repeated.
    pub async fn change(
        &self,
        context: &CommandContext,
        tenant: &TenantId,
        person: &str,
        command: Command,
    ) -> Result<Loaded<Preferences>, ExecuteError<Rejection>> {
        let TenantPorts { store, host, .. } = self.tenant_ports;
        let executor = CommandExecutor { store: &**store, host: &**host, origin: context };
        let stream = preferences_stream(tenant, person);
        if person == DEFAULTS {
            return executor.execute(&stream, command).await;
        }
        if command.restricts() {
            self.link_all(tenant, person).await?;
        }
        let changed = executor.execute(&stream, command).await?;
        if changed.state.restrict() {
            self.link(tenant, person, self.preferred(tenant, person).await?).await?;
        }
        Ok(changed)
    }

    /// Links every known address of a person.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn link_all(&self, tenant: &TenantId, person: &str) -> Result<(), StoreError> {
        let mut addresses = self.preferred(tenant, person).await?;
        let (mut before, mut count) = (None::<String>, 0);
        while count < MAX_MESSAGES {
            let now = self.tenant_ports.host.now();
            let page = self.vault.list_for_data_subject(tenant, person, before.as_deref(), PAGE, now).await?;
            count += page.len();
            before = page.last().map(|(key, _)| key.path().1);
            let is_last = page.len() < PAGE;
            addresses.extend(page.into_iter().map(|(_, content)| content.recipient_contact));
            if is_last {
                break;
            }
        }
        self.link(tenant, person, addresses).await
    }

    /// Links addresses that become preferred ones, if the person restricts what may be sent, or is about to.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn link_new(
        &self,
        tenant: &TenantId,
        person: &str,
        addresses: &BTreeMap<Channel, Option<String>>,
        will_restrict: bool,
    ) -> Result<(), StoreError> {
        let addresses: BTreeSet<String> = addresses.values().flatten().cloned().collect();
        if addresses.is_empty() {
            return Ok(());
        }
        let restricts = will_restrict || consent::preferences(self.tenant_ports, tenant, person).await?.restrict();
        if restricts { self.link(tenant, person, addresses).await } else { Ok(()) }
    }

    async fn preferred(&self, tenant: &TenantId, person: &str) -> Result<BTreeSet<String>, StoreError> {
        Ok(consent::addresses(self.tenant_ports, tenant, person).await?.into_values().collect())
    }

    async fn link(&self, tenant: &TenantId, person: &str, addresses: BTreeSet<String>) -> Result<(), StoreError> {
        for address in addresses {
            let contact_hash = contact_hash(self.contact_key, tenant, &address);
            for channel in address::channels_of(&address) {
                self.link_one(tenant, person, channel, &contact_hash).await?;
            }
        }
        Ok(())
    }

    async fn link_one(
        &self,
        tenant: &TenantId,
        person: &str,
        channel: Channel,
        contact_hash: &str,
    ) -> Result<(), StoreError> {
        let address = AddressKey { tenant: tenant.clone(), channel, contact_hash: contact_hash.to_owned() };
        self.tenant_ports.store.link_person(&address, person).await
    }
}
