//! The inbox of one machine: a table, looked at every second.

use std::sync::Arc;

use async_trait::async_trait;
use domain::ports::{ClockAndRng, StoreError, UnmatchedQueue, UnmatchedRetry};
use events::Timestamp;
use rusqlite::params;

use super::Database;
use super::store::execute;

pub struct SqliteUnmatchedQueue {
    pub database: Database,
    pub host: Arc<dyn ClockAndRng>,
}

/// What is due, and the name to take it away by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    pub id: i64,
    pub body: String,
}

#[async_trait]
impl UnmatchedQueue for SqliteUnmatchedQueue {
    async fn enqueue(&self, again: &UnmatchedRetry, delay_s: u32) -> Result<(), StoreError> {
        let body = serde_json::to_string(again).map_err(|error| StoreError::Unreadable(error.to_string()))?;
        let due = self.host.now() + i64::from(delay_s) * 1_000;
        let insert = "INSERT INTO inbox (due, body) VALUES (?1, ?2)";
        self.database.write(move |connection| execute(connection, insert, params![due.0, body]).map(|_| ())).await
    }
}

impl SqliteUnmatchedQueue {
    /// # Errors
    ///
    /// [`StoreError`]
    pub fn due(&self, now: Timestamp) -> Result<Vec<Waiting>, StoreError> {
        self.database.read(|connection| {
            let mut query = connection.prepare_cached("SELECT id, body FROM inbox WHERE due <= ?1 LIMIT 100")?;
            let rows = query.query_map(params![now.0], |row| Ok(Waiting { id: row.get(0)?, body: row.get(1)? }))?;
            rows.collect()
        })
    }

    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn delete(&self, id: i64) -> Result<(), StoreError> {
        let delete = "DELETE FROM inbox WHERE id = ?1";
        self.database.write(move |connection| execute(connection, delete, params![id]).map(|_| ())).await
    }
}
