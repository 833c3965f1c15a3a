//! Files: those at addresses that callers give, and those that we store.

use async_trait::async_trait;
use events::{TenantId, Timestamp};

use super::{CommunicationKey, StoreError};

/// Why a file could not be fetched.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    #[error("{0}")]
    Refused(&'static str),
    #[error("it is larger than {0} bytes")]
    TooLarge(usize),
    #[error("it did not answer, or not with a file")]
    NoResponse,
}

/// Fetches files from addresses that callers give.
#[async_trait]
pub trait FileFetcher: Send + Sync {
    /// Returns the bytes and their MIME type.
    async fn fetch(&self, address: &str, max_bytes: usize) -> Result<(Vec<u8>, String), FetchError>;
}

/// Names one stored file of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// `uploads`, or `fetched` for copies that are kept for days.
    pub collection: &'static str,
    pub tenant: TenantId,
    pub name: String,
}

impl ObjectKey {
    /// A file that a caller uploaded.
    pub fn upload(tenant: &TenantId, id: &str) -> ObjectKey {
        ObjectKey { collection: "uploads", tenant: tenant.clone(), name: id.to_owned() }
    }

    /// The copy of a communication's attachment, by its index.
    pub fn fetched(key: &CommunicationKey, index: usize) -> ObjectKey {
        ObjectKey { collection: "fetched", tenant: key.tenant.clone(), name: format!("{}-{index}", key.id) }
    }

    /// The key under which every store keeps the file.
    pub fn path(&self) -> String {
        format!("{}/{}/{}", self.collection, self.tenant, self.name)
    }
}

/// The address to which a caller can upload a file, by PUT with these headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresignedUpload {
    pub url: String,
    pub headers: Vec<(String, String)>,
}

/// Stores files.
#[async_trait]
pub trait ObjectStore: Send + Sync {
    /// Returns an address that accepts `size` bytes of this type until `until`.
    async fn upload_to(
        &self,
        key: &ObjectKey,
        mime: &str,
        size: u64,
        until: Timestamp,
    ) -> Result<PresignedUpload, StoreError>;

    /// Returns an address that serves the file as `name` until `until`.
    async fn download_from(
        &self,
        key: &ObjectKey,
        name: &str,
        mime: &str,
        until: Timestamp,
    ) -> Result<String, StoreError>;

    /// Reads a file. Returns `None` if it does not exist.
    async fn read(&self, key: &ObjectKey, max_bytes: usize) -> Result<Option<Vec<u8>>, StoreError>;

    async fn write(&self, key: &ObjectKey, bytes: Vec<u8>, mime: &str) -> Result<(), StoreError>;

    /// Deletes the file. Repeating it changes nothing.
    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError>;
}
