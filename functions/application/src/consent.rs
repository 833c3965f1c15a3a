//! How people want to be written to: their journals, the tenant's defaults, and their preferred addresses.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use domain::ports::{DocumentKey, JournalKey, Journals, StoreError};
use domain::preferences::Preferences;
use events::{Channel, PreferenceEvent, Recipient, RecordedEvent, TenantId, Timestamp};

use crate::directory::Own;
use crate::journal;

/// Whose journal holds a tenant's defaults.
pub const DEFAULTS: &str = "defaults";
/// How long defaults are believed without asking again, in milliseconds.
const DEFAULTS_TTL_MS: i64 = 15_000;
/// Tenants remembered, at most.
const MAX_CACHED: usize = 10_000;

/// The tenants' defaults, a moment old.
#[derive(Default)]
pub struct DefaultPreferences(Mutex<HashMap<TenantId, (Arc<Preferences>, Timestamp)>>);

/// `customer:7`: as the recipient of a message names them.
pub fn person(recipient: &Recipient) -> Option<String> {
    recipient.id.as_ref().map(|id| format!("{}:{id}", recipient.kind.as_str()))
}

/// Everything that was decided, in order.
///
/// # Errors
///
/// [`StoreError`]
pub async fn history(
    journals: &dyn Journals,
    tenant: &TenantId,
    person: &str,
) -> Result<Vec<RecordedEvent<PreferenceEvent>>, StoreError> {
    journal::read(journals, &JournalKey::preferences(tenant, person)).await
}

/// As of a time; none: as of now.
pub fn fold(records: &[RecordedEvent<PreferenceEvent>], as_of: Option<Timestamp>) -> Preferences {
    let mut preferences = Preferences::default();
    for RecordedEvent { meta, event, .. } in
        records.iter().filter(|record| as_of.is_none_or(|as_of| record.meta.at <= as_of))
    {
        preferences.evolve(event, &meta.actor, meta.at);
    }
    preferences
}

impl DefaultPreferences {
    /// At most 15 seconds old.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn of(&self, own: &Own, tenant: &TenantId) -> Result<Arc<Preferences>, StoreError> {
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = own.host.now();
        if let Some((known, until)) = lock().get(tenant)
            && now < *until
        {
            return Ok(known.clone());
        }
        let read = Arc::new(fold(&history(&*own.journals, tenant, DEFAULTS).await?, None));
        let mut all = lock();
        if MAX_CACHED <= all.len() {
            all.clear();
        }
        all.insert(tenant.clone(), (read.clone(), now + DEFAULTS_TTL_MS));
        Ok(read)
    }

    /// The next to ask reads them anew.
    pub fn forget(&self, tenant: &TenantId) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(tenant);
    }

    /// What holds for the recipient of a message, read now; none for one without an id.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn for_recipient(
        &self,
        own: &Own,
        tenant: &TenantId,
        recipient: &Recipient,
    ) -> Result<Option<Preferences>, StoreError> {
        let Some(person) = person(recipient) else { return Ok(None) };
        let defaults = self.of(own, tenant).await?;
        let theirs = fold(&history(&*own.journals, tenant, &person).await?, None);
        Ok(Some(theirs.over(&defaults)))
    }
}

/// Where a person's preferred addresses lie.
pub fn addresses_key(tenant: &TenantId, person: &str) -> DocumentKey {
    DocumentKey { tenant: tenant.clone(), collection: "addresses", name: person.to_owned() }
}

/// A person's preferred address for each channel.
///
/// # Errors
///
/// [`StoreError`]
pub async fn addresses(own: &Own, tenant: &TenantId, person: &str) -> Result<BTreeMap<Channel, String>, StoreError> {
    let kept = own.documents.get_document(&addresses_key(tenant, person), own.host.now()).await?;
    let read = |kept: String| serde_json::from_str(&kept).map_err(|error| StoreError::Unreadable(error.to_string()));
    kept.map_or_else(|| Ok(BTreeMap::new()), read)
}
