//! Uploaded files in a folder, by addresses of this process that carry their signature, as S3's do.

use std::io::ErrorKind;
use std::path::PathBuf;

use async_trait::async_trait;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::ports::{ObjectKey, ObjectStore, PresignedUpload, StoreError};
use events::Timestamp;

pub struct FolderObjectStore {
    pub folder: PathBuf,
    /// Where this process serves them: `/_dev/files/<path>`.
    pub url: String,
    pub key: Vec<u8>,
}

fn down(error: impl std::fmt::Display) -> StoreError {
    StoreError::Unavailable(error.to_string())
}

impl FolderObjectStore {
    fn signature(&self, said: &str) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.key);
        URL_SAFE_NO_PAD.encode(hmac::sign(&key, said.as_bytes()))
    }

    fn address(&self, method: &str, path: &str, of: &str, until: Timestamp) -> String {
        let signature = self.signature(&format!("{method} {path} {of} {}", until.0));
        format!("{}/_dev/files/{path}?until={}&signature={signature}", self.url, until.0)
    }

    /// Whether an address of ours is meant for this, and still good.
    pub fn allows(
        &self,
        method: &str,
        path: &str,
        of: &str,
        until: Timestamp,
        signature: &str,
        now: Timestamp,
    ) -> bool {
        let said = format!("{method} {path} {of} {}", until.0);
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.key);
        let given = URL_SAFE_NO_PAD.decode(signature).unwrap_or_default();
        now < until && hmac::verify(&key, said.as_bytes(), &given).is_ok()
    }

    fn file(&self, path: &str) -> PathBuf {
        // One name, so that no path leads out of the folder.
        self.folder.join(path.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '_', "."))
    }

    /// # Errors
    ///
    /// The folder cannot be written to.
    pub fn put(&self, path: &str, bytes: &[u8]) -> std::io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        std::fs::write(self.file(path), bytes)
    }

    /// None: not there.
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

/// What of an upload is signed beside its place.
pub fn upload_of(mime: &str, size: u64) -> String {
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
        Ok(PresignedUpload { url: self.address("PUT", &key.path(), &upload_of(mime, size), until), headers })
    }

    async fn download_from(
        &self,
        key: &ObjectKey,
        name: &str,
        mime: &str,
        until: Timestamp,
    ) -> Result<String, StoreError> {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let of = format!("{} {}", encode(name), encode(mime));
        let address = self.address("GET", &key.path(), &of, until);
        Ok(format!("{address}&name={}&type={}", encode(name), encode(mime)))
    }

    async fn read(&self, key: &ObjectKey, max_bytes: usize) -> Result<Option<Vec<u8>>, StoreError> {
        match self.get(&key.path()).map_err(down)? {
            Some(bytes) if max_bytes < bytes.len() => Err(down("more than was asked for")),
            found => Ok(found),
        }
    }

    async fn write(&self, key: &ObjectKey, bytes: Vec<u8>, _: &str) -> Result<(), StoreError> {
        self.put(&key.path(), &bytes).map_err(down)
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError> {
        match std::fs::remove_file(self.file(&key.path())) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(down(error)),
            _ => Ok(()),
        }
    }
}
