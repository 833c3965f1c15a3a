//! One SQLite file with one writer, which commits many jobs at once, and several readers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use domain::ports::StoreError;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Notify, oneshot};

use super::known_addresses::KnownAddresses;
use super::records::Records;

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
  provider_message TEXT, due TEXT, due_key TEXT,
  PRIMARY KEY (view, sk));
CREATE INDEX IF NOT EXISTS by_recipient ON view_rows (view, recipient, sk) WHERE recipient IS NOT NULL;
CREATE INDEX IF NOT EXISTS by_entity ON view_rows (view, entity, sk) WHERE entity IS NOT NULL;
CREATE INDEX IF NOT EXISTS dead_letters ON view_rows (view, dead_letter, sk) WHERE dead_letter IS NOT NULL;
CREATE INDEX IF NOT EXISTS by_provider_message ON view_rows (view, provider_message, sk) WHERE provider_message IS NOT NULL;
CREATE INDEX IF NOT EXISTS by_due ON view_rows (view, due, due_key) WHERE due IS NOT NULL;
CREATE TABLE IF NOT EXISTS counters (
  view TEXT, day TEXT, name TEXT, amount INTEGER NOT NULL, PRIMARY KEY (view, day, name)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS view_times (view TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS limits (name TEXT PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS records (name TEXT PRIMARY KEY, v INTEGER NOT NULL, body TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS key_marks (name TEXT PRIMARY KEY, mark TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tallies (name TEXT PRIMARY KEY, total INTEGER NOT NULL, until INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS inbox (id INTEGER PRIMARY KEY, due INTEGER NOT NULL, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS cursors (consumer TEXT PRIMARY KEY, changed INTEGER NOT NULL) WITHOUT ROWID;
";

/// The schema version of the views. The views of a file with another version are rebuilt from its streams.
const VIEWS_VERSION: i64 = 8;
const DROP_VIEWS: &str = "
DROP TABLE IF EXISTS view_rows; DROP TABLE IF EXISTS counters; DROP TABLE IF EXISTS view_times; DROP TABLE IF EXISTS cursors;";

/// Maximum number of jobs in one commit.
const MAX_JOBS_PER_COMMIT: usize = 256;
/// The number of jobs in a commit from which on the next one waits for others.
const BUSY_JOBS: usize = 3;
/// How long it waits. A commit to disk takes longer.
const GROUP_TIME: Duration = Duration::from_micros(400);

/// Why the file cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the data file cannot be opened: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// The file was written before the first release, in a format that is no longer read.
    #[error("the data file is of a version before the first release; start with an empty folder")]
    Outdated,
    /// A newer version of this software wrote the file.
    #[error("the data file is of a newer version ({0}) than this program ({VIEWS_VERSION}); use the newer one")]
    Newer(i64),
    /// Only a start of the server brings the file to this version.
    #[error("the data file is of version {0}, and this program reads version {VIEWS_VERSION}; start the server once")]
    OtherVersion(i64),
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
    pub(super) records: Arc<Records>,
    pub(super) addresses: Arc<KnownAddresses>,
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
             PRAGMA temp_store=MEMORY; PRAGMA secure_delete=FAST; PRAGMA cache_size=-32000; PRAGMA wal_autocheckpoint=4000;"
        );
        connection.execute_batch(&pragmas)?;
        let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if has_prerelease_tables(&connection)? {
            return Err(OpenError::Outdated);
        }
        if VIEWS_VERSION < found {
            return Err(OpenError::Newer(found));
        }
        if found != VIEWS_VERSION {
            connection.execute_batch(DROP_VIEWS)?;
        }
        connection.execute_batch(SCHEMA)?;
        connection.pragma_update(None, "user_version", VIEWS_VERSION)?;
        connection.set_prepared_statement_cache_capacity(64);
        let (writer, jobs) = channel();
        let records = Arc::new(Records::default());
        let addresses = Arc::new(KnownAddresses::load(&connection)?);
        std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn({
                let records = records.clone();
                move || write_loop(&connection, &jobs, &records)
            })
            .expect("a process can start one thread");
        let readers = Arc::new(Readers { idle: Mutex::new(Vec::new()), path: path.to_owned() });
        Ok(Database { writer, readers, changed: Arc::default(), records, addresses })
    }

    /// Opens an existing file to read it. Every write fails.
    ///
    /// # Errors
    ///
    /// [`OpenError`]: the file is not a database, or not of this version.
    pub fn open_read_only(path: &Path) -> Result<Self, OpenError> {
        let (writer, _) = channel();
        let readers = Arc::new(Readers { idle: Mutex::new(Vec::new()), path: path.to_owned() });
        let database =
            Database { writer, readers, changed: Arc::default(), records: Arc::default(), addresses: Arc::default() };
        let connection = database.open_reader()?;
        let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if has_prerelease_tables(&connection)? {
            return Err(OpenError::Outdated);
        }
        match found {
            VIEWS_VERSION => Ok(database),
            _ if VIEWS_VERSION < found => Err(OpenError::Newer(found)),
            _ => Err(OpenError::OtherVersion(found)),
        }
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

    /// Deletes the rate limits and breakers.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: nothing was deleted.
    pub async fn clear_records(&self) -> Result<(), StoreError> {
        self.write(|connection| connection.execute_batch("DELETE FROM records").map_err(unavailable)).await?;
        self.records.clear();
        Ok(())
    }

    /// Stores the mark of a key, unless the file has one already. Returns whether the file's mark is this one.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the mark was neither stored nor compared.
    pub async fn match_key(&self, name: &'static str, mark: String) -> Result<bool, StoreError> {
        self.write(move |connection| {
            connection
                .execute("INSERT OR IGNORE INTO key_marks VALUES (?1, ?2)", [name, &mark])
                .and_then(|_| {
                    let sql = "SELECT mark = ?2 FROM key_marks WHERE name = ?1";
                    connection.query_row(sql, [name, &mark], |row| row.get(0))
                })
                .map_err(unavailable)
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
        let stopped = || StoreError::Unavailable("the write was not carried out".to_owned());
        self.writer.send(job).map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }

    /// Asks for a commit soon, which stores the records that have changed. Nobody waits for it.
    pub(super) fn commit_soon(&self) {
        let nothing: Job = Box::new(|_| Box::new(|_| ()));
        // A writer that has stopped refuses every write that somebody waits for.
        let _ = self.writer.send(nothing);
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
        connection.execute_batch("PRAGMA busy_timeout=5000; PRAGMA cache_size=-4000; PRAGMA mmap_size=1073741824;")?;
        connection.set_prepared_statement_cache_capacity(64);
        Ok(connection)
    }
}

fn write_loop(connection: &Connection, jobs: &Receiver<Job>, records: &Records) {
    let run = |sql| connection.prepare_cached(sql).and_then(|mut statement| statement.execute([]));
    let mut is_busy = false;
    while let Ok(first) = jobs.recv() {
        let group = collect_group(first, jobs, is_busy);
        is_busy = BUSY_JOBS <= group.len();
        let mut replies = Vec::with_capacity(group.len());
        let outcome = run("BEGIN IMMEDIATE").and_then(|_| {
            for job in group {
                // A job that panics may have left half of its work, so the whole commit is given up. The thread goes on,
                // because without it nothing could be written any more.
                match catch_unwind(AssertUnwindSafe(|| job(connection))) {
                    Ok(reply) => replies.push(reply),
                    Err(_) => {
                        tracing::error!("a write panicked; the writes of its commit are not carried out");
                        return Err(rusqlite::Error::InvalidQuery);
                    }
                }
            }
            let stored = records.store(connection)?;
            run("COMMIT")?;
            records.stored(stored);
            Ok(())
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

/// The jobs of one commit: all that wait, and while many write, also those that come a moment later.
fn collect_group(first: Job, jobs: &Receiver<Job>, is_busy: bool) -> Vec<Job> {
    let mut group = vec![first];
    let until = Instant::now() + GROUP_TIME;
    while group.len() < MAX_JOBS_PER_COMMIT {
        let next = match is_busy {
            true => jobs.recv_timeout(until.saturating_duration_since(Instant::now())).ok(),
            false => jobs.try_recv().ok(),
        };
        match next {
            Some(job) => group.push(job),
            None => break,
        }
    }
    group
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that is removed in the end.
    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let path = std::env::temp_dir().join(format!("tidings-database-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&path).expect("a folder");
            Folder(path)
        }

        fn file(&self) -> std::path::PathBuf {
            self.0.join("tidings.db")
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    async fn put(database: &Database, name: &'static str) -> Result<(), StoreError> {
        let sql = "INSERT INTO limits VALUES (?1, 1)";
        database.write(move |connection| execute(connection, sql, [name]).map(|_| ())).await
    }

    fn count(database: &Database) -> i64 {
        database
            .read(|connection| connection.query_row("SELECT COUNT(*) FROM limits", [], |row| row.get(0)))
            .expect("rows")
    }

    #[tokio::test]
    async fn a_write_that_panics_does_not_end_the_writes_of_others() {
        let folder = Folder::new("panic");
        let database = Database::open(&folder.file(), false).expect("a database");
        put(&database, "before").await.expect("a write");
        let panics = database.write(|connection| {
            execute(connection, "INSERT INTO limits VALUES ('half', 1)", [])?;
            if count_rows(connection) > 0 {
                panic!("a fault of one write");
            }
            Ok::<(), StoreError>(())
        });
        panics.await.expect_err("the write fails");
        put(&database, "after").await.expect("a write");
        assert_eq!(count(&database), 2, "nothing of the write is left");
    }

    #[tokio::test]
    async fn a_record_is_stored_no_later_than_what_follows_it() {
        use domain::ports::CoordinationStore;
        let folder = Folder::new("records");
        let database = Database::open(&folder.file(), false).expect("a database");
        assert_eq!(database.compare_and_swap("gate#a", 0, "one").await.expect("an answer"), None);
        let found =
            database.compare_and_swap("gate#a", 0, "other").await.expect("an answer").expect("another was first");
        assert_eq!((found.version, found.body.as_str()), (1, "one"));
        assert_eq!(database.compare_and_swap("gate#a", 1, "two").await.expect("an answer"), None);
        put(&database, "a claim").await.expect("a write");
        // As a process finds it that starts after kill -9.
        let next = Database::open_read_only(&folder.file()).expect("a database");
        let stored = next.read_versioned(&["gate#a".to_owned(), "gate#b".to_owned()]).await.expect("records");
        assert_eq!(stored[0].as_ref().map(|record| (record.version, record.body.as_str())), Some((2, "two")));
        assert_eq!(stored[1], None);
    }

    fn count_rows(connection: &Connection) -> i64 {
        connection.query_row("SELECT COUNT(*) FROM limits", [], |row| row.get(0)).unwrap_or(0)
    }

    #[tokio::test]
    async fn a_file_of_another_version_is_left_as_it_is() {
        let folder = Folder::new("version");
        let database = Database::open(&folder.file(), false).expect("a database");
        put(&database, "kept").await.expect("a write");
        drop(database);
        assert_eq!(count(&Database::open_read_only(&folder.file()).expect("a database")), 1);
        let read_only = Database::open_read_only(&folder.file()).expect("a database");
        put(&read_only, "refused").await.expect_err("it cannot be written");
        for (version, opens) in [(VIEWS_VERSION + 1, false), (VIEWS_VERSION - 1, true)] {
            let connection = Connection::open(folder.file()).expect("a file");
            connection.execute("INSERT INTO view_times VALUES ('v', 1) ON CONFLICT DO NOTHING", []).expect("a row");
            connection.pragma_update(None, "user_version", version).expect("a version");
            Database::open_read_only(&folder.file()).err().expect("it is refused");
            let rows: i64 =
                connection.query_row("SELECT COUNT(*) FROM view_times", [], |row| row.get(0)).expect("rows");
            assert_eq!(rows, 1, "an audit changes nothing");
            assert_eq!(Database::open(&folder.file(), false).is_ok(), opens, "version {version}");
        }
    }
}
