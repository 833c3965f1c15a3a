//! Uploaded files in a folder. This process serves them at signed addresses, as S3 does.

use std::io::{ErrorKind, Write};
use std::path::PathBuf;

use async_trait::async_trait;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::ports::{ObjectKey, ObjectStore, PresignedUpload, StoreError};
use events::Timestamp;

/// Stores uploaded files in one folder.
pub struct FolderObjectStore {
    pub folder: PathBuf,
    /// The base address of this process, which serves the files at `/_dev/files/<path>`.
    pub url: String,
    /// Signs the addresses.
    pub key: Vec<u8>,
}

fn to_store_error(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

impl FolderObjectStore {
    fn signature(&self, text: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.key);
        URL_SAFE_NO_PAD.encode(hmac::sign(&key, text.as_bytes()))
    }

    fn address(&self, method: &str, path: &str, scope: &str, until: Timestamp) -> String {
        let signature = self.signature(&format!("{method} {path} {scope} {}", until.0));
        format!("{}/_dev/files/{path}?until={}&signature={signature}", self.url, until.0)
    }

    /// Whether a signed address permits this operation and has not expired. `scope` is what the signature covers
    /// besides the method, the path and the expiry.
    pub fn allows(
        &self,
        method: &str,
        path: &str,
        scope: &str,
        until: Timestamp,
        signature: &str,
        now: Timestamp,
    ) -> bool {
        let text = format!("{method} {path} {scope} {}", until.0);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.key);
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
        now < until && hmac::verify(&key, text.as_bytes(), &signature).is_ok()
    }

    fn file(&self, path: &str) -> PathBuf {
        // Separators are replaced, so that no path leads out of the folder.
        self.folder.join(path.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_', "."))
    }

    /// Writes a file that only this user can read, and creates the folder if necessary.
    ///
    /// # Errors
    ///
    /// The folder cannot be written to.
    pub fn put(&self, path: &str, bytes: &[u8]) -> std::io::Result<()> {
        let (mut folder, mut file) = (std::fs::DirBuilder::new(), std::fs::File::options());
        folder.recursive(true);
        file.write(true).create(true).truncate(true);
        #[cfg(unix)]
        {
            std::os::unix::fs::DirBuilderExt::mode(&mut folder, 0o700);
            std::os::unix::fs::OpenOptionsExt::mode(&mut file, 0o600);
        }
        folder.create(&self.folder)?;
        file.open(self.file(path))?.write_all(bytes)
    }

    /// Reads a file. Returns `None` if it does not exist.
    ///
    /// # Errors
    ///
    /// The folder cannot be read.
    pub fn get(&self, path: &str) -> std::io::Result<Option<Vec<u8>>> {
        match std::fs::read(self.file(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The scope of an upload address: the type and size of the file.
pub fn upload_scope(mime: &str, size: u64) -> String {
    format!("{mime} {size}")
}

#[async_trait]
impl ObjectStore for FolderObjectStore {
    async fn upload_to(
        &self,
        key: &ObjectKey,
        mime: &str,
        size: u64,
        until: Timestamp,
    ) -> Result<PresignedUpload, StoreError> {
        let headers =
            vec![("content-length".to_owned(), size.to_string()), ("content-type".to_owned(), mime.to_owned())];
        Ok(PresignedUpload { url: self.address("PUT", &key.path(), &upload_scope(mime, size), until), headers })
    }

    async fn download_from(
        &self,
        key: &ObjectKey,
        name: &str,
        mime: &str,
        until: Timestamp,
    ) -> Result<String, StoreError> {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let scope = format!("{} {}", encode(name), encode(mime));
        let address = self.address("GET", &key.path(), &scope, until);
        Ok(format!("{address}&name={}&type={}", encode(name), encode(mime)))
    }

    async fn read(&self, key: &ObjectKey, max_bytes: usize) -> Result<Option<Vec<u8>>, StoreError> {
        match self.get(&key.path()).map_err(to_store_error)? {
            Some(bytes) if max_bytes < bytes.len() => Err(to_store_error("the file is too large")),
            bytes => Ok(bytes),
        }
    }

    async fn write(&self, key: &ObjectKey, bytes: Vec<u8>, _: &str) -> Result<(), StoreError> {
        self.put(&key.path(), &bytes).map_err(to_store_error)
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        match std::fs::remove_file(self.file(&key.path())) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(to_store_error(error)),
            _ => Ok(()),
        }
    }
}
