//! The cache that a worker keeps between its batches.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use application::consent::DefaultPreferences;
use application::directory::ProviderDirectory;
use application::templates::TemplateCache;
use domain::ports::VersionedRecord;

/// Maximum number of throttle records in the cache.
const MAX_CACHED: usize = 10_000;

/// A throttle record as last read or written. The lock is held while the record is changed, so that the batches of one
/// process do not conflict.
type CachedRecord = tokio::sync::Mutex<Option<VersionedRecord>>;

/// Configuration, templates and throttle records that a worker keeps between its batches.
#[derive(Default)]
pub struct WorkerCache {
    pub(crate) directory: Arc<ProviderDirectory>,
    pub(crate) library: Arc<TemplateCache>,
    pub(crate) defaults: Arc<DefaultPreferences>,
    records: Mutex<HashMap<String, Arc<CachedRecord>>>,
}

impl WorkerCache {
    /// A cache that shares the tenants' configuration with the rest of the process.
    pub fn sharing(
        directory: Arc<ProviderDirectory>,
        library: Arc<TemplateCache>,
        defaults: Arc<DefaultPreferences>,
    ) -> WorkerCache {
        WorkerCache { directory, library, defaults, ..WorkerCache::default() }
    }

    /// Returns the throttle record with this name. It is empty if it was not read yet.
    pub(crate) fn record(&self, name: &str) -> Arc<CachedRecord> {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        if MAX_CACHED <= records.len() {
            records.clear();
        }
        records.entry(name.to_owned()).or_default().clone()
    }
}
