//! One machine: a SQLite file instead of DynamoDB, memory instead of SQS.

mod database;
mod inbox;
mod objects;
mod queue;
mod sealer;
mod store;
mod views;

pub use database::{Database, OpenError};
pub use inbox::{TableInbox, Waiting};
pub use objects::{FolderObjects, upload_of};
pub use queue::{MemoryQueue, Received, Wall};
pub use sealer::FileSealer;
pub use store::{Change, LogAlerts};
