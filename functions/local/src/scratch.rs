//! Folders for data that is gone when the process ends.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use domain::ports::ClockAndRng;
use infra::SystemClockAndRng;

use crate::private_files::{create_private_folder, lock};

const PREFIX: &str = "tidings-scratch-";

/// Creates a locked folder, and removes those that processes left behind when they were killed.
pub fn create_scratch_folder() -> io::Result<(PathBuf, File)> {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    let name = format!("{:032x}", SystemClockAndRng.random());
    // The folder gets its name after it was locked, so that another process never takes it for abandoned.
    let unnamed = parent.join(format!(".{PREFIX}{name}"));
    create_private_folder(&unnamed)?;
    let lock = lock(&unnamed)?;
    let folder = parent.join(format!("{PREFIX}{name}"));
    std::fs::rename(unnamed, &folder)?;
    remove_abandoned(&parent, &folder);
    Ok((folder, lock))
}

/// Removes the scratch folders of this user that no process has locked. One that cannot be removed stays.
fn remove_abandoned(parent: &Path, ours: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_scratch = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        if is_scratch && is_private_to_us(&path, ours) && lock_exists(&path).is_some_and(|lock| lock.try_lock().is_ok())
        {
            let _ = std::fs::remove_dir_all(path);
        }
    }
}

fn lock_exists(folder: &Path) -> Option<File> {
    File::open(folder.join("lock")).ok()
}

/// Whether this is a folder, not a link to one, of the same user as `ours` and closed to all others.
#[cfg(unix)]
fn is_private_to_us(path: &Path, ours: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let (Ok(theirs), Ok(ours)) = (path.symlink_metadata(), ours.symlink_metadata()) else { return false };
    theirs.is_dir() && theirs.uid() == ours.uid() && theirs.mode() & 0o077 == 0
}

#[cfg(not(unix))]
fn is_private_to_us(path: &Path, _: &Path) -> bool {
    path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir())
}
