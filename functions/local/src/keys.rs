//! The secret keys of a data folder, each in a file of its own.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use application::hash::key_mark;
use domain::ports::ClockAndRng;
use infra::SystemClockAndRng;
use infra::embedded::Database;

use crate::private_files::private_file;

/// The size of every key: 128 random bits in hexadecimal digits.
const KEY_BYTES: usize = 32;

const CONTACT: &str = "contact.key";
const CREDENTIALS: &str = "secrets.key";

/// The keys of one folder.
pub struct Keys {
    /// The key that recipients' addresses are hashed with. The suppression list is matched by it.
    pub contact: Vec<u8>,
    /// The key that links and addresses of files are signed with. Deleting its file makes all links invalid.
    pub links: Vec<u8>,
    /// The key that providers' credentials are encrypted with.
    pub credentials: [u8; KEY_BYTES],
}

impl Keys {
    /// Reads the keys. A key that data depends on is created only if the folder has no data yet.
    ///
    /// # Errors
    ///
    /// A key is missing or damaged, or cannot be written.
    pub fn open(folder: &Path, has_data: bool) -> io::Result<Keys> {
        let read = |name: &str, may_create: bool| read_or_create_key(folder, name, may_create);
        Ok(Keys {
            contact: read(CONTACT, !has_data)?.to_vec(),
            links: read("links.key", true)?.to_vec(),
            credentials: read(CREDENTIALS, !has_data)?,
        })
    }
}

impl Keys {
    /// Compares the keys that data depends on with those that the data was written with. The first start remembers
    /// their marks.
    ///
    /// # Errors
    ///
    /// A key is another one.
    pub async fn check_against(&self, database: &Database) -> io::Result<()> {
        for (name, key) in [(CONTACT, &self.contact[..]), (CREDENTIALS, &self.credentials[..])] {
            if !database.match_key(name, key_mark(key)).await.map_err(io::Error::other)? {
                let message = format!("{name} is not the key that the data was written with; restore it from a backup");
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        }
        Ok(())
    }
}

fn read_or_create_key(folder: &Path, name: &str, may_create: bool) -> io::Result<[u8; KEY_BYTES]> {
    let path = folder.join(name);
    let unusable = |problem: String| {
        let message = format!("{} {problem}; restore it from a backup, or start with an empty folder", path.display());
        io::Error::new(io::ErrorKind::InvalidData, message)
    };
    match std::fs::read(&path) {
        Ok(key) => {
            let size = key.len();
            let key: [u8; KEY_BYTES] =
                key.try_into().map_err(|_| unusable(format!("has {size} bytes instead of {KEY_BYTES}")))?;
            match key.iter().all(|byte| *byte == key[0]) {
                true => Err(unusable("is one byte repeated, which is no key".to_owned())),
                false => Ok(key),
            }
        }
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Err(_) if !may_create => Err(unusable("is missing beside the data that needs it".to_owned())),
        Err(_) => {
            write_key(folder, name, format!("{:032x}", SystemClockAndRng.random()).as_bytes())?;
            read_or_create_key(folder, name, false)
        }
    }
}

/// Writes the file under another name first, so that a crash leaves either no key or the whole key.
fn write_key(folder: &Path, name: &str, key: &[u8]) -> io::Result<()> {
    let unfinished = folder.join(format!("{name}.new"));
    let mut file = private_file().truncate(true).open(&unfinished)?;
    file.write_all(key)?;
    file.sync_all()?;
    std::fs::rename(unfinished, folder.join(name))?;
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
