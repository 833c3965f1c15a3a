//! The ports and caches that the use cases share.

use std::sync::Arc;

use domain::aggregate::Aggregate;
use domain::ports::{
    AlertSink, ApiKeyStore, ClockAndRng, CommunicationKey, CoordinationStore, EventStore, ObjectStore, Principal,
    ProviderConfig, StoreError, Vault, ViewStore, WorkQueue,
};
use domain::printable_invoice::InvoicePrinter;
use events::{Mode, RateLimit, RetentionClass, TenantId, Timestamp};

use crate::cache::Cached;
use crate::consent::DefaultPreferences;
use crate::directory::{ProviderDirectory, TenantPorts};
use crate::hint;
use crate::links::LinkKeys;
use crate::retention::RetentionPeriods;
use crate::spend::DailySpend;
use crate::templates::TemplateCache;
use crate::{CommandContext, CommandExecutor, Loaded};

/// How long a key is cached, in milliseconds. A revocation takes effect everywhere within this time.
const KEY_TTL_MS: i64 = 60_000;
const MAX_CACHED_KEYS: usize = 10_000;

/// Everything a use case may touch.
pub struct App {
    pub store: Arc<dyn EventStore>,
    pub vault: Arc<dyn Vault>,
    pub queue: Arc<dyn WorkQueue>,
    pub views: Arc<dyn ViewStore>,
    pub keys: Arc<dyn ApiKeyStore>,
    pub limits: Arc<dyn CoordinationStore>,
    pub alerts: Arc<dyn AlertSink>,
    /// The tenants' own provider configurations.
    pub tenant_ports: TenantPorts,
    /// Uploaded files.
    pub objects: Arc<dyn ObjectStore>,
    /// `None` where invoices are not printed. Events that need it are left to a function that has one.
    pub printer: Option<Arc<dyn InvoicePrinter>>,
    pub host: Arc<dyn ClockAndRng>,
    /// The caches of one process are shared, so that it sees its own changes at once.
    pub directory: Arc<ProviderDirectory>,
    pub library: Arc<TemplateCache>,
    pub defaults: Arc<DefaultPreferences>,
    pub principals: PrincipalCache,
    /// The deployment's provider configurations, in the order they are tried.
    pub accounts: Vec<ProviderConfig>,
    /// The rate limit that the deployment sets for each tenant.
    pub tenant_rate: Option<RateLimit>,
    /// The countries that the deployment's accounts send SMS to, such as `KE,TZ`, or `*`. `None` means all.
    pub sms_countries: Option<String>,
    /// Whether a sandbox carries test messages of every channel.
    pub has_sandbox: bool,
    /// The key of address hashes and of the links in messages.
    pub contact_key: Vec<u8>,
    /// The keys of signed links.
    pub link_keys: LinkKeys,
    /// Where customers of tenants without a payment page of their own pay. `None` means the page of this deployment.
    pub payment_url: Option<String>,
    pub retention: RetentionPeriods,
}

/// Keys that were looked up less than a minute ago, by their hash.
pub struct PrincipalCache(Cached<String, Principal>);

impl Default for PrincipalCache {
    fn default() -> Self {
        PrincipalCache(Cached::new(KEY_TTL_MS, MAX_CACHED_KEYS))
    }
}

impl PrincipalCache {
    /// Removes a key, so that its next request looks it up again.
    pub fn invalidate(&self, key_hash: &str) {
        self.0.invalidate(key_hash);
    }
}

impl App {
    /// The principal of a key. Returns `None` if the key is unknown or has expired.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn principal(&self, key_hash: &str) -> Result<Option<Principal>, StoreError> {
        let now = self.host.now();
        if let Some(principal) = self.principals.0.get(key_hash, now) {
            return Ok(Some(principal));
        }
        let found = self.keys.find(key_hash).await?;
        let principal = found.filter(|principal| principal.expires_at.is_none_or(|until| now < until));
        if let Some(principal) = &principal {
            self.principals.0.insert_until(key_hash.to_owned(), principal.clone(), now, principal.expires_at);
        }
        Ok(principal)
    }

    pub fn executor<'a>(&'a self, context: &'a CommandContext) -> CommandExecutor<'a> {
        CommandExecutor { store: &*self.store, host: &*self.host, origin: context }
    }

    /// What the tenant's messages of this mode cost today.
    pub fn daily_spend<'a>(&'a self, tenant: &'a TenantId, mode: Mode) -> DailySpend<'a> {
        DailySpend { limits: &*self.limits, alerts: &*self.alerts, tenant, mode, now: self.host.now() }
    }

    /// Sends the hint, best effort: the stream has a timer that repairs a lost one.
    pub async fn hint(&self, key: &CommunicationKey, loaded: &Loaded) {
        let Ok(communication) = loaded.state.requested() else { return };
        let due = communication.due_at.unwrap_or_else(|| self.host.now());
        hint::try_send(&*self.queue, &*self.host, key, loaded.state.queue(), due).await;
    }

    /// The end of retention for the content of a message that is due at `due`.
    pub fn retain_until(&self, class: Option<RetentionClass>, due: Option<Timestamp>) -> Timestamp {
        let now = self.host.now();
        due.unwrap_or(now).max(now) + self.retention.of(class)
    }
}
