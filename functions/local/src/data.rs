//! The data folder of one process, and its audit.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use audit::AuditHandler;
use domain::ports::{ClockAndRng, CoordinationStore};
use events::Timestamp;
use infra::SystemClockAndRng;
use infra::embedded::Database;

use crate::clock::{Clock, MAX_WALL_JUMP_MS, SWEEP, WALL_CLOCK};
use crate::keys::Keys;
use crate::private_files::{DATABASE, create_private_folder, lock, restrict_files};
use crate::scratch::create_scratch_folder;

/// The place where data is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    Folder(PathBuf),
    /// In memory. The data is lost when the process ends.
    Memory,
}

/// The folder of a running process. No other process can open it at the same time.
pub struct DataFolder {
    path: PathBuf,
    /// Whether the folder is removed when this is dropped.
    is_temporary: bool,
    pub keys: Keys,
    _lock: File,
}

impl Drop for DataFolder {
    fn drop(&mut self) {
        if self.is_temporary {
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

impl DataFolder {
    /// Opens or creates the folder.
    ///
    /// # Errors
    ///
    /// The folder cannot be created, another process uses it, or a file in it is damaged.
    pub fn open(data: &Data) -> io::Result<DataFolder> {
        let (path, lock, is_temporary) = match data {
            Data::Folder(folder) => {
                let named = |error: io::Error| {
                    let message = format!("the folder {} cannot be used: {error}", folder.display());
                    io::Error::new(error.kind(), message)
                };
                create_private_folder(folder).map_err(named)?;
                (folder.clone(), lock(folder).map_err(named)?, false)
            }
            Data::Memory => {
                let (folder, lock) = create_scratch_folder()?;
                (folder, lock, true)
            }
        };
        let keys = Keys::open(&path, has_data(&path)?)?;
        Ok(DataFolder { path, is_temporary, keys, _lock: lock })
    }

    /// Opens the database, and creates a clock that continues where an earlier process stopped.
    ///
    /// # Errors
    ///
    /// The database cannot be used, or the wall clock jumped since it was last used and the caller does not accept that.
    pub async fn open_database(&self, clock_factor: u32, accept_clock: bool) -> io::Result<(Database, Arc<Clock>)> {
        let database = Database::open(&self.path.join(DATABASE), !self.is_temporary).map_err(io::Error::other)?;
        restrict_files(&self.path)?;
        self.keys.check_against(&database).await?;
        if !accept_clock {
            check_wall_clock(&database).await?;
        } else if let Some(ahead_ms) = time_to_come(&database).await? {
            go_back(&database, ahead_ms).await?;
        }
        database.record_heartbeat(WALL_CLOCK, SystemClockAndRng.now()).await.map_err(io::Error::other)?;
        let start = latest_time(&database).await?;
        Ok((database, Arc::new(Clock::new(start, clock_factor))))
    }

    /// The folder of uploaded files.
    pub fn files(&self) -> PathBuf {
        self.path.join("files")
    }
}

/// Whether the folder already has data. An empty file is what a crash or a full disk left of it.
fn has_data(folder: &Path) -> io::Result<bool> {
    match std::fs::metadata(folder.join(DATABASE)) {
        Ok(file) if file.len() == 0 && folder.join("contact.key").exists() => {
            let message = format!("{} is empty, but the folder was in use", folder.join(DATABASE).display());
            let remedy = "restore it from a backup, or delete it to start without data";
            Err(io::Error::new(io::ErrorKind::InvalidData, format!("{message}; {remedy}")))
        }
        Ok(file) => Ok(0 < file.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// How long a folder may be unused before the wall clock is thought to be wrong, in milliseconds.
const MAX_UNUSED_MS: i64 = 31 * MAX_WALL_JUMP_MS;

/// Refuses a wall clock that is more than a day before, or a month after, the last use of the database. Otherwise a wrong
/// clock would end links and delete personal data, and the time could not go back. More than a day after is reported.
async fn check_wall_clock(database: &Database) -> io::Result<()> {
    let now = SystemClockAndRng.now();
    let last = database.last_heartbeat(WALL_CLOCK).await.map_err(io::Error::other)?;
    let Some(last) = last.filter(|last| MAX_WALL_JUMP_MS < now.millis_since(*last).abs()) else { return Ok(()) };
    let (days, direction) =
        (now.millis_since(last).abs() / MAX_WALL_JUMP_MS, if last < now { "after" } else { "before" });
    if (0..=MAX_UNUSED_MS).contains(&now.millis_since(last)) {
        tracing::warn!(days, "the data was not used for days, or the clock of this machine is wrong");
        return Ok(());
    }
    let message = format!(
        "the clock of this machine is {days} days {direction} the last use of the data; if it is right, start with \
         --accept-clock"
    );
    Err(io::Error::new(io::ErrorKind::InvalidData, message))
}

/// How far the clock of the last use was ahead of the wall clock, if that is more than a day, in milliseconds.
async fn time_to_come(database: &Database) -> io::Result<Option<i64>> {
    let last = database.last_heartbeat(WALL_CLOCK).await.map_err(io::Error::other)?;
    let ahead_ms = last.map_or(0, |last| last.millis_since(SystemClockAndRng.now()));
    Ok((MAX_WALL_JUMP_MS < ahead_ms).then_some(ahead_ms))
}

/// Takes back a wall clock that was accepted although it was ahead: the time of the last sweep goes back with it, and
/// the rate limits and breakers, which name times to come, are forgotten.
async fn go_back(database: &Database, ahead_ms: i64) -> io::Result<()> {
    if let Some(swept) = database.last_heartbeat(SWEEP).await.map_err(io::Error::other)? {
        database.record_heartbeat(SWEEP, swept - ahead_ms).await.map_err(io::Error::other)?;
    }
    database.clear_records().await.map_err(io::Error::other)
}

/// Returns the present time, or that of the last sweep if it is later, because a clock that was moved forward must not
/// go back.
async fn latest_time(database: &Database) -> io::Result<Timestamp> {
    let last = database.last_heartbeat(SWEEP).await.map_err(io::Error::other)?;
    Ok(last.unwrap_or(Timestamp(0)).max(SystemClockAndRng.now()))
}

/// How long a change can take to reach the views, in milliseconds.
const UNSETTLED_MS: i64 = 5_000;

/// Audits the data of a folder. A process may use the folder at the same time.
///
/// # Errors
///
/// There is no data, or it cannot be read.
pub async fn audit(folder: &Path) -> io::Result<audit::Report> {
    let file = database_file(folder)?;
    let store = Arc::new(Database::open_read_only(&file).map_err(io::Error::other)?);
    let clock = Clock::new(latest_time(&store).await?, 1);
    let audit = AuditHandler { store: store.clone(), views: store, host: Arc::new(clock), settle_ms: UNSETTLED_MS };
    audit.run(None).await.map_err(io::Error::other)
}

/// Rebuilds the views of a folder from its streams, and audits them.
///
/// # Errors
///
/// There is no data, a process uses it, or it cannot be read.
pub async fn rebuild(folder: &Path) -> io::Result<(audit::RebuildProgress, audit::Report)> {
    let file = database_file(folder)?;
    let _lock = lock(folder)?;
    let store = Arc::new(Database::open(&file, true).map_err(io::Error::other)?);
    store.clear_views().await.map_err(io::Error::other)?;
    let audit = AuditHandler { store: store.clone(), views: store, host: Arc::new(SystemClockAndRng), settle_ms: 0 };
    let rebuilt = audit.rebuild(None, None).await.map_err(io::Error::other)?;
    drop(audit);
    Ok((rebuilt, self::audit(folder).await?))
}

/// Returns the database file of a folder, if there is one.
fn database_file(folder: &Path) -> io::Result<PathBuf> {
    let not_found = || io::Error::new(io::ErrorKind::NotFound, format!("there is no data in {}", folder.display()));
    Some(folder.join(DATABASE)).filter(|file| file.is_file()).ok_or_else(not_found)
}
