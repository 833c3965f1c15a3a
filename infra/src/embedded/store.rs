//! Personal data, API keys and small records in SQLite.

use async_trait::async_trait;
use domain::message::MessageContent;
use domain::ports::{
    Addition, AlertSink, ApiKeyStore, ContentKey, CoordinationStore, DocumentKey, DocumentStore, Principal, StoreError,
    Vault, VersionedRecord,
};
use events::{TenantId, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::Database;
use super::database::{execute, unavailable, unreadable};
use super::records;

#[async_trait]
impl Vault for Database {
    async fn put(&self, key: &ContentKey, content: &MessageContent, until: Timestamp) -> Result<(), StoreError> {
        let (pk, sk) = key.path();
        let body = serde_json::to_string(content).map_err(unreadable)?;
        self.write(move |connection| {
            let sql = "INSERT OR REPLACE INTO vault VALUES (?1, ?2, ?3, ?4)";
            execute(connection, sql, params![pk, sk, body, until.0]).map(|_| ())
        })
        .await
    }

    async fn get(&self, key: &ContentKey, now: Timestamp) -> Result<Option<MessageContent>, StoreError> {
        let (pk, sk) = key.path();
        let body: Option<String> = Database::read(self, |connection| {
            let sql = "SELECT body FROM vault WHERE pk = ?1 AND sk = ?2 AND until > ?3";
            connection.prepare_cached(sql)?.query_row(params![pk, sk, now.0], |row| row.get(0)).optional()
        })?;
        body.map(|body| serde_json::from_str(&body).map_err(unreadable)).transpose()
    }

    async fn get_many(&self, keys: &[ContentKey], now: Timestamp) -> Result<Vec<Option<MessageContent>>, StoreError> {
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            found.push(Vault::get(self, key, now).await?);
        }
        Ok(found)
    }

    async fn list_for_data_subject(
        &self,
        tenant: &TenantId,
        subject: &str,
        before: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<(ContentKey, MessageContent)>, StoreError> {
        let found: Vec<(String, String)> = Database::read(self, |connection| {
            let mut query = connection.prepare_cached(
                "SELECT sk, body FROM vault WHERE pk = ?1 AND (?2 IS NULL OR sk < ?2) AND until > ?4
                 ORDER BY sk DESC LIMIT ?3",
            )?;
            let values = params![ContentKey::partition(tenant, subject), before, limit as i64, now.0];
            let rows = query.query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        })?;
        let key = |sort_key: &str| ContentKey::parse(tenant, subject, sort_key);
        let entries = found.into_iter().filter_map(|(sort_key, body)| Some((key(&sort_key)?, body)));
        entries.map(|(key, body)| Ok((key, serde_json::from_str(&body).map_err(unreadable)?))).collect()
    }

    async fn erase(&self, key: &ContentKey) -> Result<(), StoreError> {
        let (pk, sk) = key.path();
        self.write(move |connection| {
            execute(connection, "DELETE FROM vault WHERE pk = ?1 AND sk = ?2", params![pk, sk]).map(|_| ())
        })
        .await
    }
}

#[async_trait]
impl ApiKeyStore for Database {
    async fn find(&self, key_hash: &str) -> Result<Option<Principal>, StoreError> {
        let body: Option<String> = Database::read(self, |connection| {
            let mut query = connection.prepare_cached("SELECT body FROM keys WHERE hash = ?1")?;
            query.query_row([key_hash], |row| row.get(0)).optional()
        })?;
        body.map(|body| serde_json::from_str(&body).map_err(unreadable)).transpose()
    }

    async fn put(&self, key_hash: &str, principal: &Principal) -> Result<(), StoreError> {
        let (hash, body) = (key_hash.to_owned(), serde_json::to_string(principal).map_err(unreadable)?);
        self.write(move |connection| {
            execute(connection, "INSERT OR REPLACE INTO keys VALUES (?1, ?2)", params![hash, body]).map(|_| ())
        })
        .await
    }

    async fn remove(&self, key_hash: &str) -> Result<(), StoreError> {
        let hash = key_hash.to_owned();
        self.write(move |connection| execute(connection, "DELETE FROM keys WHERE hash = ?1", params![hash]).map(|_| ()))
            .await
    }
}

#[async_trait]
impl CoordinationStore for Database {
    async fn record_heartbeat(&self, name: &str, at: Timestamp) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.write(move |connection| {
            execute(connection, "INSERT OR REPLACE INTO limits VALUES (?1, ?2)", params![name, at.0]).map(|_| ())
        })
        .await
    }

    async fn last_heartbeat(&self, name: &str) -> Result<Option<Timestamp>, StoreError> {
        Database::read(self, |connection| {
            let mut query = connection.prepare_cached("SELECT at FROM limits WHERE name = ?1")?;
            query.query_row([name], |row| row.get(0).map(Timestamp)).optional()
        })
    }

    async fn read_versioned(&self, names: &[String]) -> Result<Vec<Option<VersionedRecord>>, StoreError> {
        names.iter().map(|name| self.records.get(name, || self.load_record(name))).collect()
    }

    async fn compare_and_swap(
        &self,
        name: &str,
        expected: u64,
        body: &str,
    ) -> Result<Option<VersionedRecord>, StoreError> {
        let found = self.records.swap(name, expected, body, || self.load_record(name))?;
        if found.is_none() {
            self.commit_soon();
        }
        Ok(found)
    }

    async fn add_within(&self, name: &str, amount: i64, most: i64, until: Timestamp) -> Result<Addition, StoreError> {
        let name = name.to_owned();
        self.write(move |connection| {
            let total = tally(connection, &name).map_err(unavailable)?;
            let sum = total.saturating_add(amount);
            if most < sum {
                return Ok(Addition::Refused(total));
            }
            if total == 0 {
                // A new counter takes the place of those that ended before it began.
                execute(connection, "DELETE FROM tallies WHERE until < ?1", params![until.0 - MAX_TALLY_MS])?;
            }
            execute(connection, "INSERT OR REPLACE INTO tallies VALUES (?1, ?2, ?3)", params![name, sum, until.0])?;
            Ok(Addition::Added(sum))
        })
        .await
    }

    async fn read_counters(&self, names: &[String]) -> Result<Vec<i64>, StoreError> {
        Database::read(self, |connection| names.iter().map(|name| tally(connection, name)).collect())
    }
}

impl Database {
    fn load_record(&self, name: &str) -> Result<Option<VersionedRecord>, StoreError> {
        Database::read(self, |connection| records::load(connection, name))
    }
}

/// Longest lifetime of a counter, in milliseconds.
const MAX_TALLY_MS: i64 = 7 * 24 * 3_600_000;

fn tally(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    let mut query = connection.prepare_cached("SELECT total FROM tallies WHERE name = ?1")?;
    Ok(query.query_row([name], |row| row.get(0)).optional()?.unwrap_or(0))
}

#[async_trait]
impl DocumentStore for Database {
    async fn put_document(&self, key: &DocumentKey, body: &str, until: Option<Timestamp>) -> Result<(), StoreError> {
        let ((pk, sk), body) = (key.path(), body.to_owned());
        let until = until.map_or(i64::MAX, |until| until.0);
        self.write(move |connection| {
            let sql = "INSERT OR REPLACE INTO vault VALUES (?1, ?2, ?3, ?4)";
            execute(connection, sql, params![pk, sk, body, until]).map(|_| ())
        })
        .await
    }

    async fn replace_document(
        &self,
        key: &DocumentKey,
        seen: Option<&str>,
        body: &str,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let ((pk, sk), seen, body) = (key.path(), seen.map(str::to_owned), body.to_owned());
        let until = until.map_or(i64::MAX, |until| until.0);
        self.write(move |connection| {
            let changed_rows = match seen {
                None => {
                    let sql = "INSERT INTO vault VALUES (?1, ?2, ?3, ?4)
                         ON CONFLICT DO UPDATE SET body = ?3, until = ?4 WHERE until <= ?5";
                    execute(connection, sql, params![pk, sk, body, until, now.0])?
                }
                Some(seen) => {
                    let sql = "UPDATE vault SET body = ?3, until = ?4 WHERE pk = ?1 AND sk = ?2 AND body = ?5";
                    execute(connection, sql, params![pk, sk, body, until, seen])?
                }
            };
            Ok::<_, StoreError>(changed_rows == 1)
        })
        .await
    }

    async fn get_document(&self, key: &DocumentKey, now: Timestamp) -> Result<Option<String>, StoreError> {
        let (pk, sk) = key.path();
        Database::read(self, |connection| {
            let sql = "SELECT body FROM vault WHERE pk = ?1 AND sk = ?2 AND until > ?3";
            let mut query = connection.prepare_cached(sql)?;
            query.query_row(params![pk, sk, now.0], |row| row.get(0)).optional()
        })
    }

    async fn delete_document(&self, key: &DocumentKey) -> Result<(), StoreError> {
        let (pk, sk) = key.path();
        self.write(move |connection| {
            execute(connection, "DELETE FROM vault WHERE pk = ?1 AND sk = ?2", params![pk, sk]).map(|_| ())
        })
        .await
    }

    async fn list_documents(
        &self,
        tenant: &TenantId,
        collection: &'static str,
        before: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<(String, String)>, StoreError> {
        Database::read(self, |connection| {
            let mut query = connection.prepare_cached(
                "SELECT sk, body FROM vault WHERE pk = ?1 AND (?2 IS NULL OR sk < ?2) AND until > ?3
                 ORDER BY sk DESC LIMIT ?4",
            )?;
            let values = params![format!("{tenant}#{collection}"), before, now.0, limit as i64];
            let rows = query.query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        })
    }
}

/// Writes alerts to the log.
pub struct LogAlertSink;

#[async_trait]
impl AlertSink for LogAlertSink {
    async fn raise(&self, subject: &str, text: &str) -> Result<(), StoreError> {
        tracing::warn!(alert = subject, "{text}");
        Ok(())
    }
}
