//! Small shared records that may be lost: heartbeats, rate limits, circuit breakers.

use async_trait::async_trait;
use events::Timestamp;

use super::StoreError;

/// A record and its version, which counts its replacements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionedRecord {
    pub version: u64,
    pub body: String,
}

/// Stores small shared records that may be lost.
#[async_trait]
pub trait CoordinationStore: Send + Sync {
    async fn record_heartbeat(&self, name: &str, at: Timestamp) -> Result<(), StoreError>;
    async fn last_heartbeat(&self, name: &str) -> Result<Option<Timestamp>, StoreError>;

    /// Reads records by name, strongly consistent, in the order of `names`.
    async fn read_versioned(&self, names: &[String]) -> Result<Vec<Option<VersionedRecord>>, StoreError>;

    /// Replaces a record if it is still at `expected`, which is 0 for a new one. Returns the current record if another
    /// writer was first.
    async fn compare_and_swap(
        &self,
        name: &str,
        expected: u64,
        body: &str,
    ) -> Result<Option<VersionedRecord>, StoreError>;
}
