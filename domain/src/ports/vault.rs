//! Personal data and secrets. They are stored outside of streams, so that they can be erased.

use async_trait::async_trait;
use events::{CommunicationId, CommunicationRequest, TenantId, Timestamp};

use super::{CommunicationKey, StoreError};
use crate::data_subject;
use crate::message::MessageContent;

/// The key of one document in the vault.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentKey {
    pub tenant: TenantId,
    /// `secret`, `message`, `callback`, …
    pub collection: &'static str,
    pub name: String,
}

impl DocumentKey {
    /// The partition key and the sort key under which every store keeps it.
    pub fn path(&self) -> (String, String) {
        (format!("{}#{}", self.tenant, self.collection), self.name.clone())
    }
}

/// Stores documents that are personal, secret or short-lived.
#[async_trait]
pub trait DocumentStore: Send + Sync {
    /// Writes or overwrites a document. It expires at `until`. `None` means that it never expires.
    async fn put_document(&self, key: &DocumentKey, body: &str, until: Option<Timestamp>) -> Result<(), StoreError>;

    /// Replaces the document if its body is still `seen`. With `None`, the document must not exist, or must have
    /// expired by `now`. Returns whether it was replaced. The new body expires at `until`. `None` means that it never
    /// expires.
    async fn replace_document(
        &self,
        key: &DocumentKey,
        seen: Option<&str>,
        body: &str,
        until: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<bool, StoreError>;

    /// Returns `None` if it was never written, was deleted, or has expired.
    async fn get_document(&self, key: &DocumentKey, now: Timestamp) -> Result<Option<String>, StoreError>;

    async fn delete_document(&self, key: &DocumentKey) -> Result<(), StoreError>;

    /// Returns names and bodies of a collection in descending order of names, starting below `before`.
    async fn list_documents(
        &self,
        tenant: &TenantId,
        collection: &'static str,
        before: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<(String, String)>, StoreError>;
}

/// Encrypts secrets before they are stored.
#[async_trait]
pub trait SecretCipher: Send + Sync {
    /// The result can be decrypted only with the same `context`.
    async fn encrypt(&self, context: &str, plain: &str) -> Result<String, StoreError>;

    async fn decrypt(&self, context: &str, encrypted: &str) -> Result<String, StoreError>;
}

/// The key of one communication's content in the vault.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentKey {
    pub tenant: TenantId,
    /// The name of the data subject, whose partition holds everything about one person.
    pub subject: String,
    pub id: CommunicationId,
    /// `CommunicationRequest::request_hash`, or the name from a later change of content.
    pub content: String,
}

impl ContentKey {
    pub fn for_request(key: &CommunicationKey, request: &CommunicationRequest, content: &str) -> ContentKey {
        let content = content.to_owned();
        ContentKey { tenant: key.tenant.clone(), subject: data_subject::of_request(request), id: key.id, content }
    }

    /// The partition key and the sort key under which every store keeps it.
    pub fn path(&self) -> (String, String) {
        (ContentKey::partition(&self.tenant, &self.subject), format!("com#{}#{}", self.id, self.content))
    }

    /// The partition that holds everything about one person.
    pub fn partition(tenant: &TenantId, subject: &str) -> String {
        format!("{tenant}#subject#{subject}")
    }

    /// Parses a sort key of a partition.
    pub fn parse(tenant: &TenantId, subject: &str, sort_key: &str) -> Option<ContentKey> {
        let (id, content) = sort_key.strip_prefix("com#")?.split_once('#')?;
        let (tenant, subject) = (tenant.clone(), subject.to_owned());
        Some(ContentKey { tenant, subject, id: id.parse().ok()?, content: content.to_owned() })
    }
}

/// Stores the content of communications.
#[async_trait]
pub trait Vault: Send + Sync {
    async fn put(&self, key: &ContentKey, content: &MessageContent, until: Timestamp) -> Result<(), StoreError>;

    /// Reads content. Returns `None` if it was erased or its retention has ended.
    async fn get(&self, key: &ContentKey, now: Timestamp) -> Result<Option<MessageContent>, StoreError>;

    /// Reads the content of several keys, in their order.
    async fn get_many(&self, keys: &[ContentKey], now: Timestamp) -> Result<Vec<Option<MessageContent>>, StoreError>;

    /// Returns everything about one person in descending order of sort keys (see [`ContentKey::path`]), starting below
    /// `before`.
    async fn list_for_data_subject(
        &self,
        tenant: &TenantId,
        subject: &str,
        before: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<(ContentKey, MessageContent)>, StoreError>;

    /// Deletes content irreversibly.
    async fn erase(&self, key: &ContentKey) -> Result<(), StoreError>;
}
