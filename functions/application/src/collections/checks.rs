//! The records of the hourly check of collections: what it found, which tenants it looks at, and when sources have stated
//! their open invoices.

use domain::ports::{DocumentKey, DocumentStore, StoreError};
use events::{Mode, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::document;

/// The tenant whose documents name the tenants that ever had collections on. It has no key, and no one acts for it.
const REGISTRY: &str = "tidings-collections";
const TENANTS: &str = "tenants";
const CHECKS: &str = "reconcile";
const STATEMENTS: &str = "statements";
/// Number of tenants that are listed together.
const PAGE: usize = 200;
/// Maximum number of invoices that a finding names.
pub const MAX_NAMED: usize = 20;

/// Invoices with something that a person has to look at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedInvoices {
    pub count: u64,
    /// The first of them, at most [`MAX_NAMED`].
    pub ids: Vec<String>,
}

impl NamedInvoices {
    pub fn add(&mut self, id: &str) {
        self.count += 1;
        if self.ids.len() < MAX_NAMED {
            self.ids.push(id.to_owned());
        }
    }
}

/// What one check found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// Number of invoices whose reminders go on.
    pub looked: u64,
    /// How many of them had another timer than they should have had. It was set.
    pub repaired: u64,
    /// How many of these had no timer, or one that was not served.
    pub lost: u64,
    /// Payments and the stated balance differ.
    pub disagreements: NamedInvoices,
    /// The last statement of the source does not name them.
    pub unconfirmed: NamedInvoices,
    /// Number of business events that are parked.
    pub parked: u64,
    /// When the oldest of them was received, in milliseconds.
    pub oldest_parked_at: Option<Timestamp>,
}

/// The record of the last check of a tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// When the last complete check ended. `None` before the first one.
    pub at: Option<Timestamp>,
    pub findings: Findings,
    /// A check that was cut by its time limit: where it goes on, and what it found so far.
    pub unfinished: Option<(String, Findings)>,
}

fn registry() -> Option<TenantId> {
    REGISTRY.parse().ok()
}

/// Lets the hourly check look at a tenant. It is recorded before collections are switched on, so that no crash leaves a
/// tenant out.
///
/// # Errors
///
/// [`StoreError`]
pub async fn register(documents: &dyn DocumentStore, tenant: &TenantId) -> Result<(), StoreError> {
    let Some(registry) = registry() else { return Ok(()) };
    let key = DocumentKey { tenant: registry, collection: TENANTS, name: tenant.to_string() };
    documents.put_document(&key, "{}", None).await
}

/// The tenants that have, or had, collections on, below `before` in descending order. Returns fewer than asked for at
/// the end.
///
/// # Errors
///
/// [`StoreError`]
pub async fn registered(
    documents: &dyn DocumentStore,
    before: Option<&str>,
    now: Timestamp,
) -> Result<(Vec<TenantId>, Option<String>), StoreError> {
    let Some(registry) = registry() else { return Ok((Vec::new(), None)) };
    let page = documents.list_documents(&registry, TENANTS, before, PAGE, now).await?;
    let next = page.last().filter(|_| page.len() == PAGE).map(|(name, _)| name.clone());
    Ok((page.iter().filter_map(|(name, _)| name.parse().ok()).collect(), next))
}

fn check_key(tenant: &TenantId, mode: Mode) -> DocumentKey {
    DocumentKey { tenant: tenant.clone(), collection: CHECKS, name: mode.as_str().to_owned() }
}

/// The last check of a tenant.
///
/// # Errors
///
/// [`StoreError`]
pub async fn load_check(
    documents: &dyn DocumentStore,
    (tenant, mode): (&TenantId, Mode),
    now: Timestamp,
) -> Result<Check, StoreError> {
    let stored = documents.get_document(&check_key(tenant, mode), now).await?;
    stored.as_deref().map_or_else(|| Ok(Check::default()), document::decode)
}

/// # Errors
///
/// [`StoreError`]
pub async fn store_check(
    documents: &dyn DocumentStore,
    (tenant, mode): (&TenantId, Mode),
    check: &Check,
) -> Result<(), StoreError> {
    documents.put_document(&check_key(tenant, mode), &document::encode(check)?, None).await
}

fn statement_key(tenant: &TenantId, mode: Mode, namespace: &str) -> DocumentKey {
    let name = format!("{}#{namespace}", mode.as_str());
    DocumentKey { tenant: tenant.clone(), collection: STATEMENTS, name }
}

/// Records as of when a source has stated which invoices are open.
///
/// # Errors
///
/// [`StoreError`]
pub async fn record_statement(
    app: &App,
    (tenant, mode): (&TenantId, Mode),
    namespace: &str,
    as_of: Timestamp,
) -> Result<(), StoreError> {
    let key = statement_key(tenant, mode, namespace);
    let latest = |known: &mut Option<Timestamp>| *known = (*known).max(Some(as_of));
    document::update(&*app.tenant_ports.documents, &*app.host, &key, latest).await
}

/// As of when a source has last stated which invoices are open. `None` if it never has.
///
/// # Errors
///
/// [`StoreError`]
pub async fn last_statement(
    documents: &dyn DocumentStore,
    (tenant, mode): (&TenantId, Mode),
    namespace: &str,
    now: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let stored = documents.get_document(&statement_key(tenant, mode, namespace), now).await?;
    stored.as_deref().map_or(Ok(None), document::decode)
}
