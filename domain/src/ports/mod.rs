//! The ports: the interfaces of the domain and the use cases to external systems. Each port has a contract suite in
//! `tests/support/contracts/`, which the adapters of both deployments pass.

mod access;
mod coordination;
mod files;
mod keys;
mod queues;
mod sign_in;
mod store;
mod vault;
mod views;

use async_trait::async_trait;
use events::Timestamp;

pub use access::{ApiKeyStore, JwksSource, Principal};
pub use coordination::{Addition, CoordinationStore, VersionedRecord};
pub use files::{FetchError, FileFetcher, ObjectKey, ObjectStore, PresignedUpload};
pub use keys::{AddressKey, CommunicationKey};
pub use queues::{
    EventBus, MAX_QUEUE_DELAY_S, NotTaken, QueueDepth, RepairQueue, UnmatchedQueue, UnmatchedRetry, WorkQueue,
};
pub use sign_in::{CodeGrant, IdTokenVerifier, IdentityProvider, SignInError};
pub use store::{
    AddressRecord, AppendError, AppendRequest, DuePage, DueTimer, EventStore, Hint, Listed, Listing, MAX_LISTED,
    MAX_PEOPLE, MAX_STREAM_BYTES, QueueId, RollOver, ScanPage, Stream, TIMER_SHARDS, TimerCursor,
};
pub use vault::{ContentKey, DocumentKey, DocumentStore, SecretCipher, Vault};
pub use views::{
    MAX_ROWS_PER_TRANSACTION, ProjectedRow, RowIndex, RowRange, StoredRow, ViewRow, ViewScope, ViewStore, parse_row,
    time_prefix,
};

pub use crate::provider::{OutboundMessage, Provider, ProviderConfig, ProviderFactory, QueryResult, SendResult};

/// An error of a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store is throttled or unavailable. A retry may succeed.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// This build cannot read the stored data.
    #[error("stored data cannot be read: {0}")]
    Unreadable(String),
}

/// Alerts the operators.
#[async_trait]
pub trait AlertSink: Send + Sync {
    async fn raise(&self, subject: &str, text: &str) -> Result<(), StoreError>;
}

/// Provides the time and random numbers.
pub trait ClockAndRng: Send + Sync {
    fn now(&self) -> Timestamp;
    fn random(&self) -> u128;
}
