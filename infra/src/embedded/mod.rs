//! Adapters for running on one machine: a SQLite file instead of DynamoDB, and queues in memory instead of SQS.

mod cipher;
mod database;
mod event_store;
mod known_addresses;
mod objects;
mod queue;
mod records;
mod store;
mod unmatched;
mod views;

pub use cipher::LocalKeyCipher;
pub use database::{Database, OpenError};
pub use event_store::Change;
pub use objects::{FolderObjectStore, upload_scope};
pub use queue::{MemoryWorkQueue, QueueConsumer, ReceivedHint, WaitingClock};
pub use store::LogAlertSink;
pub use unmatched::{DueRetry, SqliteUnmatchedQueue};
