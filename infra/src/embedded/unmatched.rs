//! The queue of delivery reports whose message is not known yet, as a table that is polled every second.

use std::sync::Arc;

use async_trait::async_trait;
use domain::ports::{ClockAndRng, StoreError, UnmatchedQueue, UnmatchedRetry};
use events::Timestamp;
use rusqlite::params;

use super::database::{Database, execute};

/// Stores the retries of unmatched reports until they are due.
pub struct SqliteUnmatchedQueue {
    pub database: Database,
    pub host: Arc<dyn ClockAndRng>,
}

/// A retry that is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueRetry {
    pub id: i64,
    /// The JSON of an [`UnmatchedRetry`].
    pub body: String,
}

#[async_trait]
impl UnmatchedQueue for SqliteUnmatchedQueue {
    async fn enqueue(&self, retry: &UnmatchedRetry, delay_s: u32) -> Result<(), StoreError> {
        let body = serde_json::to_string(retry).map_err(|error| StoreError::Unreadable(error.to_string()))?;
        let due = self.host.now() + i64::from(delay_s) * 1_000;
        let insert = "INSERT INTO inbox (due, body) VALUES (?1, ?2)";
        self.database.write(move |connection| execute(connection, insert, params![due.0, body]).map(|_| ())).await
    }
}

impl SqliteUnmatchedQueue {
    /// Returns at most 100 retries that are due.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the file cannot be read.
    pub fn due_retries(&self, now: Timestamp) -> Result<Vec<DueRetry>, StoreError> {
        self.database.read(|connection| {
            let mut query = connection.prepare_cached("SELECT id, body FROM inbox WHERE due <= ?1 LIMIT 100")?;
            let rows = query.query_map(params![now.0], |row| Ok(DueRetry { id: row.get(0)?, body: row.get(1)? }))?;
            rows.collect()
        })
    }

    /// Deletes a retry that was handled.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the file cannot be written.
    pub async fn delete(&self, id: i64) -> Result<(), StoreError> {
        let delete = "DELETE FROM inbox WHERE id = ?1";
        self.database.write(move |connection| execute(connection, delete, params![id]).map(|_| ())).await
    }
}
