//! Queues of hints, and of delivery reports that match no message yet.

use async_trait::async_trait;
use events::{StreamId, TenantId};
use serde::{Deserialize, Serialize};

use super::{Hint, QueueId, StoreError};

/// The queue of streams whose last change reached no row.
#[async_trait]
pub trait RepairQueue: Send + Sync {
    async fn enqueue(&self, streams: &[StreamId]) -> Result<(), StoreError>;
}

/// The queue of delivery reports that match no message yet.
#[async_trait]
pub trait UnmatchedQueue: Send + Sync {
    /// Delivers `retry` again after `delay_s` seconds, at most [`MAX_QUEUE_DELAY_S`].
    async fn enqueue(&self, retry: &UnmatchedRetry, delay_s: u32) -> Result<(), StoreError>;
}

/// Refers to a document of unmatched reports, and counts how often they were tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnmatchedRetry {
    pub tenant: TenantId,
    pub name: String,
    pub tries: u32,
}

/// Queues of hints.
#[async_trait]
pub trait WorkQueue: Send + Sync {
    /// Sends each hint after its delay in seconds. Best effort: the timer of its stream repairs a loss.
    async fn send(&self, hints: &[(Hint, u32)]) -> Result<(), StoreError>;

    /// Returns the number of hints in a queue.
    async fn depth(&self, queue: QueueId) -> Result<QueueDepth, StoreError>;
}

/// The longest delay of a queue message, in seconds.
pub const MAX_QUEUE_DELAY_S: u32 = 900;

/// The number of hints in one queue and in its dead-letter queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueDepth {
    pub waiting: u64,
    pub in_flight: u64,
    pub delayed: u64,
    pub dead: u64,
}
