//! Small shared records that may be lost: heartbeats, rate limits, circuit breakers, counters.

use async_trait::async_trait;
use events::Timestamp;

use super::StoreError;

/// A record and its version, which counts its replacements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionedRecord {
    pub version: u64,
    pub body: String,
}

/// The result of an addition to a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Addition {
    /// The counter after it.
    Added(i64),
    /// Nothing was added, because the sum would have been too large. The counter has this value.
    Refused(i64),
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

    /// Adds to a counter, unless the sum would be more than `most`: one conditional write. A new counter is at 0. It may
    /// be deleted after `until`, which is the same for every addition to it. If the outcome is unknown, a retry may add
    /// twice.
    async fn add_within(&self, name: &str, amount: i64, most: i64, until: Timestamp) -> Result<Addition, StoreError>;

    /// Reads counters by name, strongly consistent, in the order of `names`. A missing one is at 0.
    async fn read_counters(&self, names: &[String]) -> Result<Vec<i64>, StoreError>;
}
