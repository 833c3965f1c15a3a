//! Small records that are changed with almost every message, such as rate limits. They are kept in memory, because one
//! process alone uses the file, and stored with the next commit. What follows from a change, such as the claim of an
//! attempt, is never stored before it.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::ports::VersionedRecord;
use rusqlite::{Connection, OptionalExtension, params};

struct Held {
    /// `None` if there is no such record.
    record: Option<VersionedRecord>,
    is_stored: bool,
}

#[derive(Default)]
pub(super) struct Records {
    held: Mutex<HashMap<String, Held>>,
}

impl Records {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns a record. `load` reads it from the file if it has not been used yet.
    pub fn get<E>(
        &self,
        name: &str,
        load: impl FnOnce() -> Result<Option<VersionedRecord>, E>,
    ) -> Result<Option<VersionedRecord>, E> {
        Ok(held(&mut self.lock(), name, load)?.record.clone())
    }

    /// Replaces a record if it is still at `expected`. Otherwise returns the present one.
    pub fn swap<E>(
        &self,
        name: &str,
        expected: u64,
        body: &str,
        load: impl FnOnce() -> Result<Option<VersionedRecord>, E>,
    ) -> Result<Option<VersionedRecord>, E> {
        let mut records = self.lock();
        let held = held(&mut records, name, load)?;
        if held.record.as_ref().map_or(0, |record| record.version) != expected {
            return Ok(held.record.clone());
        }
        let record = VersionedRecord { version: expected + 1, body: body.to_owned() };
        *held = Held { record: Some(record), is_stored: false };
        Ok(None)
    }

    pub fn clear(&self) {
        self.lock().clear();
    }

    /// Stores what has changed, as a part of a commit. [`Records::stored`] is called after the commit.
    pub fn store(&self, connection: &Connection) -> rusqlite::Result<Vec<(String, u64)>> {
        let mut stored = Vec::new();
        for (name, held) in self.lock().iter().filter(|(_, held)| !held.is_stored) {
            let Some(VersionedRecord { version, body }) = &held.record else { continue };
            let mut statement = connection.prepare_cached("INSERT OR REPLACE INTO records VALUES (?1, ?2, ?3)")?;
            statement.execute(params![name, *version as i64, body])?;
            stored.push((name.clone(), *version));
        }
        Ok(stored)
    }

    /// Marks what a commit has stored, unless it has changed since.
    pub fn stored(&self, names: Vec<(String, u64)>) {
        let mut records = self.lock();
        for (name, version) in names {
            if let Some(held) = records.get_mut(&name)
                && held.record.as_ref().is_some_and(|record| record.version == version)
            {
                held.is_stored = true;
            }
        }
    }
}

/// The record as held, which is loaded first if it is not.
fn held<'a, E>(
    records: &'a mut HashMap<String, Held>,
    name: &str,
    load: impl FnOnce() -> Result<Option<VersionedRecord>, E>,
) -> Result<&'a mut Held, E> {
    Ok(match records.entry(name.to_owned()) {
        Entry::Occupied(entry) => entry.into_mut(),
        Entry::Vacant(entry) => entry.insert(Held { record: load()?, is_stored: true }),
    })
}

/// Reads a record from the file.
pub(super) fn load(connection: &Connection, name: &str) -> rusqlite::Result<Option<VersionedRecord>> {
    let mut query = connection.prepare_cached("SELECT v, body FROM records WHERE name = ?1")?;
    let found =
        |row: &rusqlite::Row<'_>| Ok(VersionedRecord { version: row.get::<_, i64>(0)? as u64, body: row.get(1)? });
    query.query_row([name], found).optional()
}
