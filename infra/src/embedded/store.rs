use async_trait::async_trait;
use domain::message::MessageContent;
use domain::ports::{
    AddressKey, AlertSink, ApiKeyStore, Append, AppendError, ContentKey, CoordinationStore, DocumentKey, DocumentStore,
    Due, EventStore, Hint, JournalKey, Journals, MAX_STREAM_BYTES, Principal, QueueId, ScanPage, StoreError, Stream,
    StreamKey, TIMER_SHARDS, Vault, VersionedRecord,
};
use events::{TenantId, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::Database;
use super::database::{unavailable, unreadable};

/// A stream that changed, with all of it.
#[derive(Debug, Clone)]
pub struct Change {
    pub key: StreamKey,
    pub lines: Vec<String>,
    /// The feed's cursor after it.
    pub cursor: i64,
}

impl Database {
    /// Streams changed after the consumer's cursor, in order of their last change.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the file cannot be read.
    pub fn changes(&self, after: i64, limit: usize) -> Result<Vec<Change>, StoreError> {
        let rows = self.read(|connection| {
            let mut query = connection
                .prepare_cached("SELECT pk, ev, changed FROM events WHERE changed > ?1 ORDER BY changed LIMIT ?2")?;
            let rows = query.query_map(params![after, limit as i64], |row| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        rows.into_iter()
            .map(|(pk, ev, cursor)| {
                let key = StreamKey::parse_storage_key(&pk).ok_or_else(|| unreadable(format!("key {pk}")))?;
                Ok(Change { key, lines: ev.lines().map(str::to_owned).collect(), cursor })
            })
            .collect()
    }

    /// Waits for a commit that may have changed a stream.
    pub async fn wait_for_change(&self) {
        self.changed.notified().await;
    }

    /// Where a consumer of the feed has got to; 0 at first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the file cannot be read.
    pub fn cursor(&self, consumer: &str) -> Result<i64, StoreError> {
        let cursor = self.read(|connection| {
            let mut query = connection.prepare_cached("SELECT changed FROM cursors WHERE consumer = ?1")?;
            query.query_row([consumer], |row| row.get(0)).optional()
        })?;
        Ok(cursor.unwrap_or(0))
    }

    /// Remembers how far a consumer of the feed has got.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the file cannot be written.
    pub async fn set_cursor(&self, consumer: &'static str, cursor: i64) -> Result<(), StoreError> {
        self.write(move |connection| {
            let sql = "INSERT INTO cursors VALUES (?1, ?2) ON CONFLICT DO UPDATE SET changed = ?2";
            execute(connection, sql, params![consumer, cursor]).map(|_| ())
        })
        .await
    }

    /// Empties the suppression list. For development.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the file cannot be written.
    pub async fn clear_suppressions(&self) -> Result<(), StoreError> {
        self.write(|connection| execute(connection, "DELETE FROM suppressed", []).map(|_| ())).await
    }
}

pub(super) fn execute(connection: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<usize, StoreError> {
    connection.prepare_cached(sql).and_then(|mut s| s.execute(params)).map_err(unavailable)
}

#[async_trait]
impl EventStore for Database {
    async fn read(&self, key: &StreamKey) -> Result<Stream, StoreError> {
        let pk = key.path();
        let stream = Database::read(self, |connection| {
            let sql = "SELECT v, ev, wake, writer FROM events WHERE pk = ?1";
            let mut query = connection.prepare_cached(sql)?;
            query.query_row([&pk], stream_row).optional()
        })?;
        Ok(stream.unwrap_or_default())
    }

    async fn append(&self, key: &StreamKey, append: Append) -> Result<(), AppendError> {
        let pk = key.path();
        let shard = append.wake.map(|_| key.id.shard_byte() % TIMER_SHARDS);
        let done = self.write(move |connection| append_row(connection, &pk, shard, &append)).await;
        if done.is_ok() {
            self.changed.notify_one();
        }
        done.map_err(|Failed(error)| error)
    }

    async fn due_timers(&self, shard: u8, until: Timestamp, limit: usize) -> Result<Vec<Due>, StoreError> {
        let rows = Database::read(self, |connection| {
            let mut query = connection.prepare_cached(
                "SELECT pk, wake, lane, hints FROM events WHERE shard = ?1 AND wake <= ?2 ORDER BY wake LIMIT ?3",
            )?;
            let rows = query.query_map(params![shard, until.0, i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
                let (pk, lane): (String, String) = (row.get(0)?, row.get(2)?);
                Ok((pk, row.get::<_, i64>(1)?, lane, row.get::<_, u32>(3)?))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        rows.into_iter()
            .map(|(pk, wake, lane, hints)| {
                let wrong = || unreadable(format!("key {pk}, lane {lane}"));
                let hint = Hint {
                    key: StreamKey::parse_storage_key(&pk).ok_or_else(wrong)?,
                    lane: QueueId::parse(&lane).ok_or_else(wrong)?,
                };
                Ok(Due { hint, wake: Timestamp(wake), hints })
            })
            .collect()
    }

    async fn reschedule_timer(
        &self,
        key: &StreamKey,
        from: Timestamp,
        to: Timestamp,
        hints: u32,
    ) -> Result<(), StoreError> {
        let pk = key.path();
        self.write(move |connection| {
            let sql = "UPDATE events SET wake = ?1, hints = ?2 WHERE pk = ?3 AND wake = ?4";
            execute(connection, sql, params![to.0, hints, pk, from.0]).map(|_| ())
        })
        .await
    }

    async fn scan(&self, after: Option<&str>, limit: usize) -> Result<ScanPage, StoreError> {
        let rows = Database::read(self, |connection| {
            let sql = "SELECT v, ev, wake, writer, pk FROM events WHERE pk > ?1 ORDER BY pk LIMIT ?2";
            let mut query = connection.prepare_cached(sql)?;
            let rows = query.query_map(params![after.unwrap_or_default(), limit as i64], |row| {
                Ok((row.get::<_, String>(4)?, stream_row(row)?))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        let next = rows.last().filter(|_| rows.len() == limit).map(|(pk, _)| pk.clone());
        let key = |pk: &str| StreamKey::parse_storage_key(pk).ok_or_else(|| unreadable(format!("key {pk}")));
        let streams = rows.into_iter().map(|(pk, stream)| Ok((key(&pk)?, stream)));
        Ok(ScanPage { streams: streams.collect::<Result<_, StoreError>>()?, next })
    }

    async fn is_suppressed(&self, contact: &AddressKey) -> Result<bool, StoreError> {
        Database::read(self, |connection| {
            let sql = "SELECT 1 FROM suppressed WHERE tenant = ?1 AND channel = ?2 AND contact_hash = ?3";
            let mut query = connection.prepare_cached(sql)?;
            query.exists(params![contact.tenant.as_str(), contact.channel.as_str(), contact.contact_hash])
        })
    }

    async fn suppress(&self, contact: &AddressKey, reason: &str, at: Timestamp) -> Result<(), StoreError> {
        let (contact, reason) = (contact.clone(), reason.to_owned());
        self.write(move |connection| {
            let (tenant, channel) = (contact.tenant.as_str(), contact.channel.as_str());
            let sql = "INSERT OR IGNORE INTO suppressed VALUES (?1, ?2, ?3, ?4, ?5)";
            execute(connection, sql, params![tenant, channel, contact.contact_hash, reason, at.0]).map(|_| ())
        })
        .await
    }

    async fn unsuppress(&self, contact: &AddressKey, reason: &str) -> Result<(), StoreError> {
        let (contact, reason) = (contact.clone(), reason.to_owned());
        self.write(move |connection| {
            let (tenant, channel) = (contact.tenant.as_str(), contact.channel.as_str());
            let sql = "DELETE FROM suppressed WHERE tenant = ?1 AND channel = ?2 AND contact_hash = ?3 AND reason = ?4";
            execute(connection, sql, params![tenant, channel, contact.contact_hash, reason]).map(|_| ())
        })
        .await
    }

    async fn suppression(&self, contact: &AddressKey) -> Result<Option<String>, StoreError> {
        Database::read(self, |connection| {
            let sql = "SELECT reason FROM suppressed WHERE tenant = ?1 AND channel = ?2 AND contact_hash = ?3";
            let mut query = connection.prepare_cached(sql)?;
            let contact = params![contact.tenant.as_str(), contact.channel.as_str(), contact.contact_hash];
            query.query_row(contact, |row| row.get(0)).optional()
        })
    }
}

/// `v, ev, wake, writer`.
fn stream_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Stream> {
    let lines: String = row.get(1)?;
    Ok(Stream {
        version: row.get::<_, i64>(0)? as u64,
        lines: lines.lines().map(str::to_owned).collect(),
        wake: row.get::<_, Option<i64>>(2)?.map(Timestamp),
        writer: row.get(3)?,
    })
}

/// The writer's answer when the group could not be committed is "not applied": it was rolled back.
struct Failed(AppendError);

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Failed(AppendError::NotApplied(error.to_string()))
    }
}

fn append_row(connection: &Connection, pk: &str, shard: Option<u8>, append: &Append) -> Result<(), Failed> {
    let lines = append.lines.join("\n");
    let next = append.expected as i64 + append.lines.len() as i64;
    let (wake, lane) = (append.wake.map(|wake| wake.0), append.lane.name());
    let changed = "(SELECT COALESCE(MAX(changed), 0) + 1 FROM events)";
    let done = match append.expected {
        0 => {
            let sql = format!(
                "INSERT OR IGNORE INTO events (pk, v, ev, writer, lane, shard, wake, changed)
                 SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, {changed} WHERE LENGTH(?3) <= ?8"
            );
            let values = params![pk, next, lines, append.writer, lane, shard, wake, MAX_STREAM_BYTES as i64];
            execute(connection, &sql, values)?
        }
        expected => {
            let sql = format!(
                "UPDATE events SET v = ?2, ev = ev || char(10) || ?3, writer = ?4, shard = ?5, wake = ?6, hints = 0,
                 changed = {changed} WHERE pk = ?1 AND v = ?7 AND LENGTH(ev) + LENGTH(?3) < ?8"
            );
            let values = params![pk, next, lines, append.writer, shard, wake, expected as i64, MAX_STREAM_BYTES as i64];
            execute(connection, &sql, values)?
        }
    };
    if done == 1 {
        return Ok(());
    }
    unchanged(connection, "events", pk, append.expected, &append.writer)
}

/// Why nothing was changed: this very append was done before, the place is full, or somebody else was first.
fn unchanged(
    connection: &Connection,
    table: &'static str,
    pk: &str,
    expected: u64,
    writer: &str,
) -> Result<(), Failed> {
    let found = connection
        .prepare_cached(&format!("SELECT v, writer FROM {table} WHERE pk = ?1"))
        .and_then(|mut s| s.query_row([pk], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))).optional())
        .map_err(unavailable)?;
    match found {
        Some((_, found)) if found == writer => Ok(()),
        Some((v, _)) if v == expected as i64 => Err(Failed(AppendError::TooLarge)),
        None if expected == 0 => Err(Failed(AppendError::TooLarge)),
        _ => Err(Failed(AppendError::Conflict)),
    }
}

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
        let key = |place: &str| ContentKey::parse(tenant, subject, place);
        let of_it = found.into_iter().filter_map(|(place, body)| Some((key(&place)?, body)));
        of_it.map(|(key, body)| Ok((key, serde_json::from_str(&body).map_err(unreadable)?))).collect()
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
        Database::read(self, |connection| names.iter().map(|name| record(connection, name)).collect())
    }

    async fn compare_and_swap(
        &self,
        name: &str,
        expected: u64,
        body: &str,
    ) -> Result<Option<VersionedRecord>, StoreError> {
        let (name, body, expected) = (name.to_owned(), body.to_owned(), expected as i64);
        self.write(move |connection| {
            let done = match expected {
                0 => execute(connection, "INSERT OR IGNORE INTO records VALUES (?1, 1, ?2)", params![name, body])?,
                seen => {
                    let sql = "UPDATE records SET v = v + 1, body = ?2 WHERE name = ?1 AND v = ?3";
                    execute(connection, sql, params![name, body, seen])?
                }
            };
            if done == 1 { Ok(None) } else { record(connection, &name).map_err(unavailable) }
        })
        .await
    }
}

fn record(connection: &Connection, name: &str) -> rusqlite::Result<Option<VersionedRecord>> {
    let mut query = connection.prepare_cached("SELECT v, body FROM records WHERE name = ?1")?;
    let found =
        |row: &rusqlite::Row<'_>| Ok(VersionedRecord { version: row.get::<_, i64>(0)? as u64, body: row.get(1)? });
    query.query_row([name], found).optional()
}

#[async_trait]
impl Journals for Database {
    async fn read_journal(&self, key: &JournalKey) -> Result<Stream, StoreError> {
        let pk = key.path();
        let stream = Database::read(self, |connection| {
            let mut query = connection.prepare_cached("SELECT v, ev, NULL, writer FROM journals WHERE pk = ?1")?;
            query.query_row([&pk], stream_row).optional()
        })?;
        Ok(stream.unwrap_or_default())
    }

    async fn append_journal(
        &self,
        key: &JournalKey,
        expected: u64,
        lines: Vec<String>,
        writer: &str,
    ) -> Result<(), AppendError> {
        let (pk, writer, next) = (key.path(), writer.to_owned(), expected as i64 + lines.len() as i64);
        let done = self.write(move |connection| {
            let lines = lines.join("\n");
            let done = match expected {
                0 => {
                    let sql = "INSERT OR IGNORE INTO journals VALUES (?1, ?2, ?3, ?4)";
                    execute(connection, sql, params![pk, next, lines, writer])?
                }
                expected => {
                    let sql = "UPDATE journals SET v = ?2, ev = ev || char(10) || ?3, writer = ?4
                               WHERE pk = ?1 AND v = ?5 AND LENGTH(ev) + LENGTH(?3) < ?6";
                    let most = MAX_STREAM_BYTES as i64;
                    execute(connection, sql, params![pk, next, lines, writer, expected as i64, most])?
                }
            };
            if done == 1 { Ok(()) } else { unchanged(connection, "journals", &pk, expected, &writer) }
        });
        done.await.map_err(|Failed(error)| error)
    }
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
        shelf: &'static str,
        before: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<(String, String)>, StoreError> {
        Database::read(self, |connection| {
            let mut query = connection.prepare_cached(
                "SELECT sk, body FROM vault WHERE pk = ?1 AND (?2 IS NULL OR sk < ?2) AND until > ?3
                 ORDER BY sk DESC LIMIT ?4",
            )?;
            let values = params![format!("{tenant}#{shelf}"), before, now.0, limit as i64];
            let rows = query.query_map(values, |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.collect()
        })
    }
}

/// Alerts of a laptop: the log.
pub struct LogAlertSink;

#[async_trait]
impl AlertSink for LogAlertSink {
    async fn raise(&self, subject: &str, text: &str) -> Result<(), StoreError> {
        tracing::warn!(alert = subject, "{text}");
        Ok(())
    }
}
