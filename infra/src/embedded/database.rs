//! One SQLite file with one writer, which commits many jobs at once, and several readers.

use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};

use domain::ports::StoreError;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Notify, oneshot};

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS events (
  pk TEXT PRIMARY KEY, v INTEGER NOT NULL, ev TEXT NOT NULL, snapshot TEXT, writer TEXT NOT NULL, lane TEXT NOT NULL,
  shard INTEGER, wake INTEGER, hints INTEGER NOT NULL DEFAULT 0, changed INTEGER NOT NULL, listed INTEGER);
CREATE TABLE IF NOT EXISTS chunks (
  pk TEXT, first INTEGER, ev TEXT NOT NULL, PRIMARY KEY (pk, first)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS listed ON events (pk) WHERE listed IS NOT NULL;
CREATE INDEX IF NOT EXISTS work ON events (shard, wake) WHERE wake IS NOT NULL;
CREATE UNIQUE INDEX IF NOT EXISTS feed ON events (changed);
CREATE TABLE IF NOT EXISTS suppressed (
  tenant TEXT, channel TEXT, contact_hash TEXT, reason TEXT NOT NULL, at INTEGER NOT NULL,
  PRIMARY KEY (tenant, channel, contact_hash)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS address_people (
  tenant TEXT, channel TEXT, contact_hash TEXT, person TEXT,
  PRIMARY KEY (tenant, channel, contact_hash, person)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS vault (
  pk TEXT, sk TEXT, body TEXT NOT NULL, until INTEGER NOT NULL, PRIMARY KEY (pk, sk));
CREATE TABLE IF NOT EXISTS keys (hash TEXT PRIMARY KEY, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS view_rows (
  view TEXT, sk TEXT, position INTEGER NOT NULL, body TEXT NOT NULL, recipient TEXT, entity TEXT, dead_letter TEXT,
  provider_message TEXT,
  PRIMARY KEY (view, sk));
CREATE INDEX IF NOT EXISTS by_recipient ON view_rows (view, recipient, sk) WHERE recipient IS NOT NULL;
CREATE INDEX IF NOT EXISTS by_entity ON view_rows (view, entity, sk) WHERE entity IS NOT NULL;
CREATE INDEX IF NOT EXISTS dead_letters ON view_rows (view, dead_letter, sk) WHERE dead_letter IS NOT NULL;
CREATE INDEX IF NOT EXISTS by_provider_message ON view_rows (view, provider_message, sk) WHERE provider_message IS NOT NULL;
CREATE TABLE IF NOT EXISTS counters (
  view TEXT, day TEXT, name TEXT, amount INTEGER NOT NULL, PRIMARY KEY (view, day, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS view_times (view TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS limits (name TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records (name TEXT PRIMARY KEY, v INTEGER NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS inbox (id INTEGER PRIMARY KEY, due INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS cursors (consumer TEXT PRIMARY KEY, changed INTEGER NOT NULL) WITHOUT ROWID;
";

/// The schema version of the views. The views of a file with another version are rebuilt from its streams.
const VIEWS_VERSION: i64 = 5;
const DROP_VIEWS: &str = "
DROP TABLE IF EXISTS view_rows; DROP TABLE IF EXISTS counters; DROP TABLE IF EXISTS view_times; DROP TABLE IF EXISTS cursors;";

/// Maximum number of jobs in one commit.
const MAX_JOBS_PER_COMMIT: usize = 256;

/// Why the file cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the data file cannot be opened: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The file was written before the first release, in a format that is no longer read.
    #[error("the data file is of a version before the first release; start with an empty folder")]
    Outdated,
}

type Reply = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
type Job = Box<dyn FnOnce(&Connection) -> Reply + Send>;

/// The file, which all embedded ports share.
#[derive(Clone)]
pub struct Database {
    writer: Sender<Job>,
    readers: Arc<Readers>,
    /// Woken after every commit that changed a stream.
    pub(super) changed: Arc<Notify>,
}

struct Readers {
    idle: Mutex<Vec<Connection>>,
    path: std::path::PathBuf,
}

impl Database {
    /// Opens or creates the file. If `durable`, every commit is on disk before its jobs return.
    ///
    /// # Errors
    ///
    /// [`OpenError`]: the file is not a database, or the folder cannot be written.
    pub fn open(path: &Path, durable: bool) -> Result<Self, OpenError> {
        let connection = Connection::open(path)?;
        let synchronous = if durable { "FULL" } else { "OFF" };
        let pragmas = format!(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous={synchronous}; PRAGMA busy_timeout=5000;
             PRAGMA temp_store=MEMORY; PRAGMA cache_size=-32000; PRAGMA wal_autocheckpoint=4000;"
        );
        connection.execute_batch(&pragmas)?;
        let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if has_prerelease_tables(&connection)? {
            return Err(OpenError::Outdated);
        }
        if found != VIEWS_VERSION {
            connection.execute_batch(DROP_VIEWS)?;
        }
        connection.execute_batch(SCHEMA)?;
        connection.pragma_update(None, "user_version", VIEWS_VERSION)?;
        connection.set_prepared_statement_cache_capacity(64);
        let (writer, jobs) = channel();
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || write_loop(&connection, &jobs))
            .expect("a process can start one thread");
        let readers = Arc::new(Readers { idle: Mutex::new(Vec::new()), path: path.to_owned() });
        Ok(Database { writer, readers, changed: Arc::new(Notify::new()) })
    }

    /// Deletes all rows and counters, so that they can be rebuilt.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: nothing was deleted.
    pub async fn clear_views(&self) -> Result<(), StoreError> {
        self.write(|connection| {
            connection.execute_batch(DROP_VIEWS).and_then(|()| connection.execute_batch(SCHEMA)).map_err(unavailable)
        })
        .await
    }

    /// Runs `job` in the next commit and returns after it. A job that fails changes nothing.
    pub(super) async fn write<T: Send + 'static, E: From<StoreError> + Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let (reply, answer) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            let result = job(connection);
            Box::new(move |committed| {
                // The caller may have been cancelled.
                let _ = reply.send(committed.map_err(E::from).and(result));
            })
        });
        let stopped = || StoreError::Unavailable("the writer has stopped".to_owned());
        self.writer.send(job).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// Runs `query` on a reader, which sees every commit whose jobs have returned.
    pub(super) fn read<T>(&self, query: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let idle = self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => self.open_reader().map_err(unavailable)?,
        };
        let result = query(&connection).map_err(unavailable);
        self.readers.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        result
    }

    fn open_reader(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.readers.path, flags)?;
        connection.execute_batch("PRAGMA busy_timeout=5000; PRAGMA cache_size=-16000;")?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(connection)
    }
}

fn write_loop(connection: &Connection, jobs: &Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let mut replies = Vec::new();
        let outcome = connection.execute_batch("BEGIN IMMEDIATE").and_then(|()| {
            let waiting = std::iter::from_fn(|| jobs.try_recv().ok());
            for job in std::iter::once(first).chain(waiting.take(MAX_JOBS_PER_COMMIT - 1)) {
                replies.push(job(connection));
            }
            connection.execute_batch("COMMIT")
        });
        if outcome.is_err() {
            // Nothing of this commit was stored, so each of its callers gets the error.
            let _ = connection.execute_batch("ROLLBACK");
        }
        for reply in replies {
            reply(outcome.as_ref().map_err(|e| StoreError::Unavailable(e.to_string())).copied());
        }
    }
}

/// Runs `body` in a savepoint, so that an error undoes its changes.
pub(super) fn in_transaction<T, E: From<StoreError>>(
    connection: &Connection,
    body: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let run = |sql| connection.execute_batch(sql).map_err(unavailable).map_err(E::from);
    run("SAVEPOINT job")?;
    let result = body();
    if result.is_err() {
        run("ROLLBACK TO job")?;
    }
    run("RELEASE job")?;
    result
}

pub(super) fn unavailable(error: rusqlite::Error) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

pub(super) fn unreadable(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unreadable(error.to_string())
}

/// Whether the file has tables of the time before the first release, when streams of different kinds were stored apart.
fn has_prerelease_tables(connection: &Connection) -> rusqlite::Result<bool> {
    connection.prepare("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'journals'")?.exists([])
}

pub(super) fn execute(connection: &Connection, sql: &str, params: impl rusqlite::Params) -> Result<usize, StoreError> {
    connection.prepare_cached(sql).and_then(|mut s| s.execute(params)).map_err(unavailable)
}
