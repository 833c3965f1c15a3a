//! Queues of hints, and of delivery reports that match no message yet.

use async_trait::async_trait;
use events::{StreamId, TenantId};
use serde::{Deserialize, Serialize};

use super::{Hint, QueueId, StoreError};
use crate::publication::PublicEvent;

/// The queue of streams whose last change reached no row.
#[async_trait]
pub trait RepairQueue: Send + Sync {
    async fn enqueue(&self, streams: &[StreamId]) -> Result<(), StoreError>;
}

/// The bus on which other systems hear what happened.
#[async_trait]
pub trait EventBus: Send + Sync {
    /// Puts events on the bus. Returns those that it did not take.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: it may have taken any of them.
    async fn put(&self, events: &[PublicEvent]) -> Result<Vec<NotTaken>, StoreError>;
}

/// An event that the bus did not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotTaken {
    /// Its place among the events of the call.
    pub index: usize,
    pub code: String,
    /// Whether the bus may take it the next time.
    pub is_transient: bool,
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
