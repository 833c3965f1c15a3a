//! Adapters for running on one machine: a SQLite file instead of DynamoDB, and queues in memory instead of SQS.

mod database;
mod event_store;
mod inbox;
mod objects;
mod queue;
mod sealer;
mod store;
mod views;

pub use database::{Database, OpenError};
pub use event_store::Change;
pub use inbox::{SqliteUnmatchedQueue, WaitingCallback};
pub use objects::{FolderObjectStore, upload_scope};
pub use queue::{MemoryWorkQueue, QueueConsumer, ReceivedHint, WaitingClock};
pub use sealer::LocalKeyCipher;
pub use store::LogAlertSink;
