//! The data folder of one process, and its audit.

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use audit::AuditHandler;
use domain::ports::{ClockAndRng, CoordinationStore};
use events::Timestamp;
use infra::SystemClockAndRng;
use infra::embedded::Database;

use crate::clock::Clock;

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
    /// The folder cannot be created, or another process uses it.
    pub fn open(data: &Data) -> io::Result<DataFolder> {
        let (path, is_temporary) = match data {
            Data::Folder(folder) => (folder.clone(), false),
            Data::Memory => (temporary_folder(), true),
        };
        std::fs::create_dir_all(&path)?;
        let lock = lock(&path)?;
        Ok(DataFolder { path, is_temporary, _lock: lock })
    }

    /// Opens the database, and creates a clock that continues where an earlier process stopped.
    pub async fn open_database(&self, clock_factor: u32) -> io::Result<(Database, Arc<Clock>)> {
        let database = Database::open(&self.path.join("tidings.db"), !self.is_temporary).map_err(io::Error::other)?;
        let start = latest_time(&database).await?;
        Ok((database, Arc::new(Clock::new(start, clock_factor))))
    }

    /// The folder of uploaded files.
    pub fn files(&self) -> PathBuf {
        self.path.join("files")
    }

    /// The key that recipients' addresses are hashed with.
    pub fn contact_key(&self) -> io::Result<Vec<u8>> {
        read_or_create_key(&self.path.join("contact.key"))
    }

    /// The key that providers' credentials are encrypted with.
    pub fn credentials_key(&self) -> io::Result<[u8; 32]> {
        let path = self.path.join("secrets.key");
        let invalid = || io::Error::new(io::ErrorKind::InvalidData, format!("{} is not a key", path.display()));
        read_or_create_key(&path)?.try_into().map_err(|_| invalid())
    }
}

/// Returns the present time, or that of the last sweep if it is later, because a clock that was moved forward must not
/// go back.
async fn latest_time(database: &Database) -> io::Result<Timestamp> {
    let last = database.last_heartbeat("sweep").await.map_err(io::Error::other)?;
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
    let store = Arc::new(Database::open(&file, true).map_err(io::Error::other)?);
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
    Some(folder.join("tidings.db")).filter(|file| file.is_file()).ok_or_else(not_found)
}

fn temporary_folder() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    parent.join(format!("tidings-{}-{:08x}", std::process::id(), SystemClockAndRng.random() as u32))
}

fn lock(folder: &Path) -> io::Result<File> {
    let file = File::create(folder.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let message = format!("{} is in use by another tidings", folder.display());
            Err(io::Error::new(io::ErrorKind::AddrInUse, message))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Reads a key, or creates it if there is none yet.
fn read_or_create_key(path: &Path) -> io::Result<Vec<u8>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = format!("{:032x}", SystemClockAndRng.random()).into_bytes();
            let mut options = File::options();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            options.open(path)?.write_all(&key)?;
            Ok(key)
        }
        other => other,
    }
}
