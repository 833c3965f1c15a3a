//! Files and folders that only the user of this process can open.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;

/// The name of the database file.
pub const DATABASE: &str = "tidings.db";

/// Creates a folder that only this user can open. One that exists is closed to others if it holds nothing else.
pub fn create_private_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)?;
    let is_ours = |name: &str| {
        name == "lock"
            || name == "files"
            || name.starts_with(DATABASE)
            || name.ends_with(".key")
            || name.ends_with(".key.new")
    };
    let mut names = std::fs::read_dir(path)?.flatten().map(|entry| entry.file_name());
    if names.all(|name| name.to_str().is_some_and(is_ours)) { set_mode(path, 0o700) } else { Ok(()) }
}

/// Options that create a file that only this user can read.
pub fn private_file() -> OpenOptions {
    let mut options = File::options();
    options.write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Takes the permissions of others from the files that exist. SQLite creates its files with the default permissions;
/// the later ones get those of the database file.
pub fn restrict_files(folder: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name == "lock" || name.starts_with(DATABASE) || name.ends_with(".key") {
            set_mode(&path, 0o600)?;
        }
    }
    Ok(())
}

#[cfg(unix)]
fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode))
}

#[cfg(not(unix))]
fn set_mode(_: &Path, _: u32) -> io::Result<()> {
    Ok(())
}

/// Locks the folder for this process.
pub fn lock(folder: &Path) -> io::Result<File> {
    let file = private_file().open(folder.join("lock"))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let message = format!("{} is in use by another tidings", folder.display());
            Err(io::Error::new(io::ErrorKind::AddrInUse, message))
        }
        Err(TryLockError::Error(error)) => Err(error),
    }
}
