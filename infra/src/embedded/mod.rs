//! Adapters for running on one machine: a SQLite file instead of DynamoDB, and queues in memory instead of SQS.

mod database;
mod inbox;
mod objects;
mod queue;
mod sealer;
mod store;
mod views;

pub use database::{Database, OpenError};
pub use inbox::{SqliteUnmatchedQueue, WaitingCallback};
pub use objects::{FolderObjectStore, upload_scope};
pub use queue::{MemoryWorkQueue, ReceivedHint, WaitingClock};
pub use sealer::LocalKeyCipher;
pub use store::{Change, LogAlertSink};
