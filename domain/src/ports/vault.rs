//! Personal data and secrets: outside every stream, so that they can be erased.

use async_trait::async_trait;
use events::{CommunicationId, CommunicationRequest, TenantId, Timestamp};

use super::{CommunicationKey, StoreError};
use crate::communication_view::recipient_key;
use crate::message::MessageContent;

/// Names one document of the vault.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentKey {
    pub tenant: TenantId,
    /// `secret`, `message`, `callback`, …
    pub collection: &'static str,
    pub name: String,
}

impl DocumentKey {
    /// The partition key and the sort key that every store keeps it under.
    pub fn path(&self) -> (String, String) {
        (format!("{}#{}", self.tenant, self.collection), self.name.clone())
    }
}

/// Records that are personal, secret or short-lived.
#[async_trait]
pub trait DocumentStore: Send + Sync {
    /// Writes a document, whatever is there. It expires at `until`; `None` keeps it until it is deleted.
    async fn put_document(&self, key: &DocumentKey, body: &str, until: Option<Timestamp>) -> Result<(), StoreError>;

    /// Replaces the document if its body is still `seen`; `None` means that there must be none. Returns whether it was
    /// replaced. The new body does not expire.
    async fn replace_document(&self, key: &DocumentKey, seen: Option<&str>, body: &str) -> Result<bool, StoreError>;

    /// Returns `None` if it was never written, was deleted, or has expired.
    async fn get_document(&self, key: &DocumentKey, now: Timestamp) -> Result<Option<String>, StoreError>;

    async fn delete_document(&self, key: &DocumentKey) -> Result<(), StoreError>;

    /// Names and bodies of a collection, the greatest name first, from below `before`.
    async fn list_documents(
        &self,
        tenant: &TenantId,
        collection: &'static str,
        before: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<(String, String)>, StoreError>;
}

/// Encrypts what must not be stored in clear.
#[async_trait]
pub trait SecretCipher: Send + Sync {
    /// The result can be decrypted only with the same `context`.
    async fn encrypt(&self, context: &str, plain: &str) -> Result<String, StoreError>;

    async fn decrypt(&self, context: &str, encrypted: &str) -> Result<String, StoreError>;
}

/// Names the content of one communication in the vault.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentKey {
    pub tenant: TenantId,
    /// The recipient. Everything about one person is one partition.
    pub subject: String,
    pub id: CommunicationId,
    /// `CommunicationRequest::request_hash`, or what a change of content named.
    pub content: String,
}

impl ContentKey {
    pub fn for_request(key: &CommunicationKey, request: &CommunicationRequest, content: &str) -> ContentKey {
        let content = content.to_owned();
        ContentKey { tenant: key.tenant.clone(), subject: recipient_key(request), id: key.id, content }
    }

    /// The partition key and the sort key that every store keeps it under.
    pub fn path(&self) -> (String, String) {
        (ContentKey::partition(&self.tenant, &self.subject), format!("com#{}#{}", self.id, self.content))
    }

    /// The partition that holds everything about one person.
    pub fn partition(tenant: &TenantId, subject: &str) -> String {
        format!("{tenant}#subject#{subject}")
    }

    /// Reads a sort key of a partition.
    pub fn parse(tenant: &TenantId, subject: &str, sort_key: &str) -> Option<ContentKey> {
        let (id, content) = sort_key.strip_prefix("com#")?.split_once('#')?;
        let (tenant, subject) = (tenant.clone(), subject.to_owned());
        Some(ContentKey { tenant, subject, id: id.parse().ok()?, content: content.to_owned() })
    }
}

/// The content of communications.
#[async_trait]
pub trait Vault: Send + Sync {
    async fn put(&self, key: &ContentKey, content: &MessageContent, until: Timestamp) -> Result<(), StoreError>;

    /// Returns `None` if it was erased or its retention has ended.
    async fn get(&self, key: &ContentKey, now: Timestamp) -> Result<Option<MessageContent>, StoreError>;

    /// Reads several, in the order of `keys`.
    async fn get_many(&self, keys: &[ContentKey], now: Timestamp) -> Result<Vec<Option<MessageContent>>, StoreError>;

    /// Everything about one person, the newest communication first, from below the sort key `before`; see
    /// [`ContentKey::path`].
    async fn list_for_data_subject(
        &self,
        tenant: &TenantId,
        subject: &str,
        before: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<(ContentKey, MessageContent)>, StoreError>;

    /// Deletes it irreversibly.
    async fn erase(&self, key: &ContentKey) -> Result<(), StoreError>;
}
