//! Streams in one SQLite table and their older events in another, and the feed of changes.

use async_trait::async_trait;
use domain::ports::{
    AddressKey, AddressRecord, AppendError, AppendRequest, DuePage, DueTimer, EventStore, Hint, Listed, Listing,
    MAX_LISTED, MAX_PEOPLE, MAX_STREAM_BYTES, ScanPage, StoreError, Stream, TIMER_SHARDS, TimerCursor,
};
use events::{StreamId, StreamKind, TenantId, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};

use super::Database;
use super::database::{execute, unavailable};
use crate::{known_queue, known_stream};

/// A stream that changed.
#[derive(Debug, Clone)]
pub struct Change {
    pub id: StreamId,
    pub stream: Stream,
    /// The feed's cursor after this change.
    pub cursor: i64,
}

impl Database {
    /// Returns the streams that changed after a cursor, in the order of their last change.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the file cannot be read.
    pub fn changes(&self, after: i64, limit: usize) -> Result<Vec<Change>, StoreError> {
        self.select_changes("WHERE changed > ?1 ORDER BY changed LIMIT ?2", after, limit)
    }

    /// Reads the streams that changed last, the last one first.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the file cannot be read.
    pub fn newest_changes(&self, limit: usize) -> Result<Vec<Change>, StoreError> {
        self.select_changes("WHERE changed > ?1 ORDER BY changed DESC LIMIT ?2", 0, limit)
    }

    fn select_changes(&self, which: &str, after: i64, limit: usize) -> Result<Vec<Change>, StoreError> {
        let rows = self.read(|connection| {
            let columns = "SELECT v, ev, snapshot, wake, writer, pk, changed FROM events";
            let mut query = connection.prepare_cached(&format!("{columns} {which}"))?;
            let rows = query.query_map(params![after, limit as i64], |row| {
                Ok((stream_row(row)?, row.get::<_, String>(5)?, row.get::<_, i64>(6)?))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        let change =
            |(stream, pk, cursor): (Stream, String, i64)| Some(Change { id: known_stream(&pk)?, stream, cursor });
        Ok(rows.into_iter().filter_map(change).collect())
    }

    /// Waits for a commit that may have changed a stream.
    pub async fn wait_for_change(&self) {
        self.changed.notified().await;
    }

    /// Returns the cursor up to which a consumer has read the feed, or 0 for a new consumer.
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

    /// Stores the cursor up to which a consumer has read the feed.
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

    /// Empties the suppression list. Only development uses it.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the file cannot be written.
    pub async fn clear_suppressions(&self) -> Result<(), StoreError> {
        self.write(|connection| execute(connection, "DELETE FROM suppressed", []).map(|_| ())).await
    }
}

#[async_trait]
impl EventStore for Database {
    async fn read(&self, id: &StreamId) -> Result<Stream, StoreError> {
        let pk = id.storage_key();
        let stream = Database::read(self, |connection| {
            let sql = "SELECT v, ev, snapshot, wake, writer FROM events WHERE pk = ?1";
            let mut query = connection.prepare_cached(sql)?;
            query.query_row([&pk], stream_row).optional()
        })?;
        Ok(stream.unwrap_or_default())
    }

    async fn read_history(&self, id: &StreamId) -> Result<Vec<String>, StoreError> {
        let pk = id.storage_key();
        let parts: Vec<String> = Database::read(self, |connection| {
            // One statement reads one snapshot. A roll-over between two statements would lose or repeat events.
            let sql = "SELECT first, ev FROM chunks WHERE pk = ?1
                       UNION ALL SELECT v, ev FROM events WHERE pk = ?1 ORDER BY 1";
            let mut query = connection.prepare_cached(sql)?;
            let rows = query.query_map([&pk], |row| row.get(1))?;
            rows.collect()
        })?;
        Ok(parts.iter().flat_map(|part| part.lines()).map(str::to_owned).collect())
    }

    async fn append(&self, id: &StreamId, append: AppendRequest) -> Result<(), AppendError> {
        let pk = id.storage_key();
        let shard = append.wake.map(|_| id.shard_byte() % TIMER_SHARDS);
        let done = self.write(move |connection| append_row(connection, &pk, shard, &append)).await;
        if done.is_ok() {
            self.changed.notify_one();
        }
        done.map_err(|AppendFailure(error)| error)
    }

    async fn list(
        &self,
        tenant: &TenantId,
        kinds: &[StreamKind],
        listed: Listed,
    ) -> Result<Vec<(StreamId, Stream)>, StoreError> {
        let mut found = Vec::new();
        let min_listed = match listed {
            Listed::Current => 1,
            Listed::Ever => 0,
        };
        for kind in kinds {
            let rows: Vec<(String, Stream)> = Database::read(self, |connection| {
                let mut query = connection.prepare_cached(
                    "SELECT v, ev, snapshot, wake, writer, pk FROM events
                     WHERE pk > ?1 AND pk < ?2 AND listed >= ?3 ORDER BY pk LIMIT ?4",
                )?;
                // `$` is the character after `#`.
                let (first, end) = (format!("{tenant}#{kind}#"), format!("{tenant}#{kind}$"));
                let values = params![first, end, min_listed, MAX_LISTED as i64];
                let rows = query.query_map(values, |row| Ok((row.get(5)?, stream_row(row)?)))?;
                rows.collect()
            })?;
            found.extend(rows.into_iter().filter_map(|(pk, stream)| Some((known_stream(&pk)?, stream))));
        }
        Ok(found)
    }

    async fn due_timers(
        &self,
        shard: u8,
        until: Timestamp,
        after: Option<&TimerCursor>,
        limit: usize,
    ) -> Result<DuePage, StoreError> {
        let rows = Database::read(self, |connection| {
            let mut query = connection.prepare_cached(
                "SELECT pk, wake, lane, hints FROM events
                 WHERE shard = ?1 AND wake <= ?2 AND (wake, pk) > (?4, ?5) ORDER BY wake, pk LIMIT ?3",
            )?;
            let (after_wake, after_pk) = after.map_or((i64::MIN, ""), |after| (after.wake.0, &after.storage_key));
            let rows = query.query_map(params![shard, until.0, limit as i64, after_wake, after_pk], |row| {
                let (pk, queue): (String, String) = (row.get(0)?, row.get(2)?);
                Ok((pk, row.get::<_, i64>(1)?, queue, row.get::<_, u32>(3)?))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        let next = rows
            .last()
            .filter(|_| rows.len() == limit)
            .map(|(pk, wake, ..)| TimerCursor { wake: Timestamp(*wake), storage_key: pk.clone() });
        let timer = |(pk, wake, queue, hints_sent): (String, i64, String, u32)| {
            let hint = Hint { queue: known_queue(&queue)?, stream: known_stream(&pk)? };
            Some(DueTimer { hint, wake: Timestamp(wake), hints_sent })
        };
        Ok(DuePage { timers: rows.into_iter().filter_map(timer).collect(), next })
    }

    async fn reschedule_timer(
        &self,
        id: &StreamId,
        from: Timestamp,
        to: Timestamp,
        hints_sent: u32,
    ) -> Result<(), StoreError> {
        let pk = id.storage_key();
        self.write(move |connection| {
            let sql = "UPDATE events SET wake = ?1, hints = ?2 WHERE pk = ?3 AND wake = ?4";
            execute(connection, sql, params![to.0, hints_sent, pk, from.0]).map(|_| ())
        })
        .await
    }

    async fn scan(&self, after: Option<&str>, limit: usize) -> Result<ScanPage, StoreError> {
        let rows = Database::read(self, |connection| {
            let sql = "SELECT v, ev, snapshot, wake, writer, pk FROM events WHERE pk > ?1 ORDER BY pk LIMIT ?2";
            let mut query = connection.prepare_cached(sql)?;
            let rows = query.query_map(params![after.unwrap_or_default(), limit as i64], |row| {
                Ok((row.get::<_, String>(5)?, stream_row(row)?))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        let next = rows.last().filter(|_| rows.len() == limit).map(|(pk, _)| pk.clone());
        let streams = rows.into_iter().filter_map(|(pk, stream)| Some((known_stream(&pk)?, stream)));
        Ok(ScanPage { streams: streams.collect(), next })
    }

    async fn address(&self, contact: &AddressKey) -> Result<AddressRecord, StoreError> {
        if !self.addresses.may_have(contact) {
            return Ok(AddressRecord::default());
        }
        Database::read(self, |connection| {
            let key = params![contact.tenant.as_str(), contact.channel.as_str(), contact.contact_hash];
            let sql = "SELECT reason FROM suppressed WHERE tenant = ?1 AND channel = ?2 AND contact_hash = ?3";
            let suppressed = connection.prepare_cached(sql)?.query_row(key, |row| row.get(0)).optional()?;
            let sql = "SELECT person FROM address_people WHERE tenant = ?1 AND channel = ?2 AND contact_hash = ?3";
            let mut query = connection.prepare_cached(sql)?;
            let people = query.query_map(key, |row| row.get(0))?.collect::<Result<_, _>>()?;
            Ok(AddressRecord { suppressed, people })
        })
    }

    async fn link_person(&self, contact: &AddressKey, person: &str) -> Result<(), StoreError> {
        self.addresses.add(contact);
        let (contact, person) = (contact.clone(), person.to_owned());
        self.write(move |connection| {
            let (tenant, channel) = (contact.tenant.as_str(), contact.channel.as_str());
            let sql = "INSERT OR IGNORE INTO address_people SELECT ?1, ?2, ?3, ?4 WHERE ?5 > (SELECT count(*) FROM \
                       address_people WHERE tenant = ?1 AND channel = ?2 AND contact_hash = ?3)";
            execute(connection, sql, params![tenant, channel, contact.contact_hash, person, MAX_PEOPLE as i64])
                .map(|_| ())
        })
        .await
    }

    async fn suppress(&self, contact: &AddressKey, reason: &str, at: Timestamp) -> Result<(), StoreError> {
        self.addresses.add(contact);
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
}

/// Reads a stream from a row whose first columns are `v, ev, snapshot, wake, writer`.
fn stream_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Stream> {
    let lines: String = row.get(1)?;
    Ok(Stream {
        version: row.get::<_, i64>(0)? as u64,
        lines: lines.lines().map(str::to_owned).collect(),
        snapshot: row.get(2)?,
        wake: row.get::<_, Option<i64>>(3)?.map(Timestamp),
        writer_id: row.get(4)?,
    })
}

/// The error of an append. If the commit fails, the append was rolled back, so it was not applied.
struct AppendFailure(AppendError);

impl From<StoreError> for AppendFailure {
    fn from(error: StoreError) -> Self {
        AppendFailure(AppendError::NotApplied(error.to_string()))
    }
}

fn append_row(
    connection: &Connection,
    pk: &str,
    shard: Option<u8>,
    append: &AppendRequest,
) -> Result<(), AppendFailure> {
    let lines = append.encoded_events.join("\n");
    let next = append.expected_version as i64 + append.encoded_events.len() as i64;
    let wake = append.wake.map(|wake| wake.0);
    let listed = match append.listing {
        Listing::Unchanged => None,
        Listing::Add => Some(1),
        Listing::Remove => Some(0),
    };
    for (id, version) in &append.unmoved {
        let mut query = connection.prepare_cached("SELECT v FROM events WHERE pk = ?1").map_err(unavailable)?;
        let found: Option<i64> =
            query.query_row([id.storage_key()], |row| row.get(0)).optional().map_err(unavailable)?;
        if found.unwrap_or(0) != *version as i64 {
            return Err(AppendFailure(AppendError::Conflict));
        }
    }
    let max_bytes = MAX_STREAM_BYTES as i64;
    let changed = "(SELECT COALESCE(MAX(changed), 0) + 1 FROM events)";
    let expected = append.expected_version as i64;
    let changed_rows = match &append.roll_over {
        _ if expected == 0 => {
            let sql = format!(
                "INSERT OR IGNORE INTO events (pk, v, ev, writer, lane, shard, wake, listed, changed)
                 SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, {changed} WHERE LENGTH(?3) <= ?9"
            );
            let queue = append.queue.name();
            execute(
                connection,
                &sql,
                params![pk, next, lines, append.writer_id, queue, shard, wake, listed, max_bytes],
            )?
        }
        None => {
            let sql = format!(
                "UPDATE events SET v = ?2, ev = CASE WHEN ?3 = '' THEN ev ELSE ev || char(10) || ?3 END,
                 writer = ?4, shard = ?5, wake = ?6, hints = 0,
                 listed = COALESCE(?7, listed), changed = {changed}
                 WHERE pk = ?1 AND v = ?8 AND LENGTH(ev) + LENGTH(?3) < ?9"
            );
            execute(
                connection,
                &sql,
                params![pk, next, lines, append.writer_id, shard, wake, listed, expected, max_bytes],
            )?
        }
        Some(roll_over) => {
            let sql = format!(
                "UPDATE events SET v = ?2, ev = ?3, snapshot = ?10, writer = ?4, shard = ?5, wake = ?6, hints = 0,
                 listed = COALESCE(?7, listed), changed = {changed}
                 WHERE pk = ?1 AND v = ?8 AND LENGTH(?10) + LENGTH(?3) < ?9"
            );
            let snapshot = &roll_over.snapshot;
            let values = params![pk, next, lines, append.writer_id, shard, wake, listed, expected, max_bytes, snapshot];
            let changed_rows = execute(connection, &sql, values)?;
            if changed_rows == 1 {
                let first = expected - roll_over.archived.len() as i64;
                let archived = roll_over.archived.join("\n");
                execute(connection, "INSERT INTO chunks VALUES (?1, ?2, ?3)", params![pk, first, archived])?;
            }
            changed_rows
        }
    };
    if changed_rows == 1 { Ok(()) } else { classify_unchanged(connection, pk, append) }
}

/// Finds out why an append changed no row: it was applied before, the stream is full, or another writer was first.
fn classify_unchanged(connection: &Connection, pk: &str, append: &AppendRequest) -> Result<(), AppendFailure> {
    let found = connection
        .prepare_cached("SELECT v, writer FROM events WHERE pk = ?1")
        .and_then(|mut s| s.query_row([pk], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))).optional())
        .map_err(unavailable)?;
    match found {
        Some((_, writer)) if writer == append.writer_id => Ok(()),
        Some((v, _)) if v == append.expected_version as i64 => Err(AppendFailure(AppendError::TooLarge)),
        None if append.expected_version == 0 => Err(AppendFailure(AppendError::TooLarge)),
        _ => Err(AppendFailure(AppendError::Conflict)),
    }
}
