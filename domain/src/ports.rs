//! What the outside must do for us. Each has a contract suite in `tests/it/contracts.rs`; both homes pass it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use events::{Channel, CommunicationId, Mode, Requested, Role, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::communication_view::{CommunicationRow, subject};
use crate::render::{Button, Link, Location, MediaKind, ProviderTemplate};
use crate::stats::Counters;

mod store;

pub use store::{
    AppendError, AppendRequest, CommunicationKey, DueTimer, EventStore, Hint, MAX_LISTED, MAX_STREAM_BYTES, QueueId,
    RollOver, ScanPage, Stream, TIMER_SHARDS,
};

pub use crate::provider::{Found, OutboundMessage, Provider, ProviderConfig, ProviderFactory, Sent};

/// The store did not answer as it should.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Throttled or unavailable: nothing was done; later it may work.
    #[error("the store is unavailable: {0}")]
    Unavailable(String),
    /// Stored data that this build cannot read.
    #[error("stored data cannot be read: {0}")]
    Unreadable(String),
}

/// Names one document of the vault.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentKey {
    pub tenant: TenantId,
    /// `secret`, `message`, `callback`, …: all of one shelf lie together, by name.
    pub shelf: &'static str,
    pub name: String,
}

impl DocumentKey {
    /// The partition and the place in it that both homes store it under.
    pub fn path(&self) -> (String, String) {
        (format!("{}#{}", self.tenant, self.shelf), self.name.clone())
    }
}

/// Records that are personal, secret or short-lived: in the vault, out of every stream. The last writer wins.
#[async_trait]
pub trait DocumentStore: Send + Sync {
    /// Until then it is there; none: until it is removed.
    async fn put_document(&self, key: &DocumentKey, body: &str, until: Option<Timestamp>) -> Result<(), StoreError>;

    /// None: never there, removed, or past its time.
    async fn get_document(&self, key: &DocumentKey, now: Timestamp) -> Result<Option<String>, StoreError>;

    async fn remove_document(&self, key: &DocumentKey) -> Result<(), StoreError>;

    /// Names and bodies of a shelf, the greatest name first, from below `before`.
    async fn shelf(
        &self,
        tenant: &TenantId,
        shelf: &'static str,
        before: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<(String, String)>, StoreError>;
}

/// Seals what must not lie open in a store.
#[async_trait]
pub trait SecretCipher: Send + Sync {
    /// `place` is bound to it: sealed text opens nowhere else.
    async fn encrypt(&self, place: &str, plain: &str) -> Result<String, StoreError>;

    async fn decrypt(&self, place: &str, sealed: &str) -> Result<String, StoreError>;
}

/// Where facts wait that found no message.
#[async_trait]
pub trait Inbox: Send + Sync {
    /// Shows them again after so many seconds, at most [`MAX_QUEUE_DELAY_S`].
    async fn again(&self, again: &UnmatchedRetry, delay_s: u32) -> Result<(), StoreError>;
}

/// Names a document of such facts, and how often they were tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnmatchedRetry {
    pub tenant: TenantId,
    pub name: String,
    pub tries: u32,
}

/// An address, by its keyed hash.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AddressKey {
    pub tenant: TenantId,
    pub channel: Channel,
    pub contact_hash: String,
}

/// Personal data of one communication. In the vault and nowhere else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageContent {
    pub recipient_contact: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipient_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The subject as rendered when it was accepted: what lists show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shown_subject: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variables: Option<serde_json::Value>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<AttachmentLink>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<Location>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buttons: Vec<Button>,
    /// A template that the provider holds and has approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_template: Option<ProviderTemplate>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttachmentLink {
    pub filename: String,
    pub file_url: String,
    /// What it is; by its name, where nobody said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<MediaKind>,
    /// The id of what was uploaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attachment: Option<String>,
}

impl From<&AttachmentLink> for Link {
    fn from(stored: &AttachmentLink) -> Link {
        let kind = stored.kind.unwrap_or_else(|| MediaKind::of(&stored.filename));
        Link { name: stored.filename.clone(), url: stored.file_url.clone(), kind }
    }
}

/// Names one content in the vault.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentKey {
    pub tenant: TenantId,
    /// The recipient: everything about one person is one partition.
    pub subject: String,
    pub id: CommunicationId,
    /// `Requested::request_hash`, or what a change of content named.
    pub content: String,
}

impl ContentKey {
    pub fn of(key: &CommunicationKey, request: &Requested, content: &str) -> ContentKey {
        let content = content.to_owned();
        ContentKey { tenant: key.tenant.clone(), subject: subject(request), id: key.id, content }
    }

    /// The partition and the place in it that both homes store it under.
    pub fn path(&self) -> (String, String) {
        (ContentKey::partition(&self.tenant, &self.subject), format!("com#{}#{}", self.id, self.content))
    }

    /// Where everything about one person lies.
    pub fn partition(tenant: &TenantId, subject: &str) -> String {
        format!("{tenant}#subject#{subject}")
    }

    /// What a place in a partition names.
    pub fn parse(tenant: &TenantId, subject: &str, place: &str) -> Option<ContentKey> {
        let (id, content) = place.strip_prefix("com#")?.split_once('#')?;
        let (tenant, subject) = (tenant.clone(), subject.to_owned());
        Some(ContentKey { tenant, subject, id: id.parse().ok()?, content: content.to_owned() })
    }
}

/// Personal data.
#[async_trait]
pub trait Vault: Send + Sync {
    async fn put(&self, key: &ContentKey, content: &MessageContent, until: Timestamp) -> Result<(), StoreError>;

    /// None: erased, or past its retention.
    async fn get(&self, key: &ContentKey, now: Timestamp) -> Result<Option<MessageContent>, StoreError>;

    /// Many at once, in the order asked.
    async fn get_many(&self, keys: &[ContentKey], now: Timestamp) -> Result<Vec<Option<MessageContent>>, StoreError>;

    /// Everything about one person, the newest communication first, from below `before`: a place as [`ContentKey::path`]
    /// has it.
    async fn list_for_data_subject(
        &self,
        tenant: &TenantId,
        subject: &str,
        before: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<(ContentKey, MessageContent)>, StoreError>;

    /// Deletes it for good.
    async fn erase(&self, key: &ContentKey) -> Result<(), StoreError>;
}

/// Who a key belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Principal {
    pub tenant: TenantId,
    pub actor: String,
    pub mode: Mode,
    /// Keys of the time before roles may everything.
    #[serde(default = "admin")]
    pub role: Role,
    /// Those that it may send by; none: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub channels: Option<Vec<Channel>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// The hashes of the addresses that it may write to; none: to everybody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<Vec<String>>,
    /// Somebody who signed in, and not a key.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_user: bool,
}

fn admin() -> Role {
    Role::Admin
}

impl Principal {
    /// One that may everything, for ever.
    pub fn admin(tenant: TenantId, actor: impl Into<String>, mode: Mode) -> Principal {
        Principal {
            tenant,
            actor: actor.into(),
            mode,
            role: Role::Admin,
            channels: None,
            expires_at: None,
            team: None,
            is_user: false,
        }
    }

    /// As events have it: `key:billing`, `user:8f3a`.
    pub fn name(&self) -> String {
        format!("{}:{}", if self.is_user { "user" } else { "key" }, self.actor)
    }

    pub fn can_send_to(&self, contact_hash: &str) -> bool {
        self.team.as_ref().is_none_or(|team| team.iter().any(|hash| hash == contact_hash))
    }
}

/// API keys, by the hash of the key.
#[async_trait]
pub trait Keys: Send + Sync {
    async fn find(&self, key_hash: &str) -> Result<Option<Principal>, StoreError>;
    async fn put(&self, key_hash: &str, principal: &Principal) -> Result<(), StoreError>;
    async fn remove(&self, key_hash: &str) -> Result<(), StoreError>;
}

/// The public keys of an identity provider.
#[async_trait]
pub trait JwksSource: Send + Sync {
    /// A JSON Web Key Set.
    async fn fetch(&self) -> Result<String, StoreError>;
}

/// Whose rows: a tenant's, live and test apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewScope {
    pub tenant: TenantId,
    pub mode: Mode,
}

/// A folded row and the counters it changes.
#[derive(Debug, Clone, PartialEq)]
pub struct ProjectedRow {
    pub view: ViewScope,
    pub row: CommunicationRow,
}

/// Names one row: rows lie in the order of their creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowKey {
    pub created_at: Timestamp,
    pub id: CommunicationId,
}

impl RowKey {
    pub fn of(row: &CommunicationRow) -> RowKey {
        RowKey { created_at: row.created_at, id: row.id }
    }

    /// The place that both homes store it in.
    pub fn path(&self) -> String {
        format!("{:013}#{}", self.created_at.0, self.id)
    }
}

/// What an index of entities is keyed by; none unless both parts are there.
pub fn entity_index_key(kind: &Option<String>, id: &Option<String>) -> Option<String> {
    kind.as_ref().zip(id.as_ref()).map(|(kind, id)| format!("{kind}#{id}"))
}

/// What is asked of a list. None means any.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListFilter {
    pub channel: Option<String>,
    pub status: Option<String>,
    pub kind: Option<String>,
    pub recipient_id: Option<String>,
    pub entity_type: Option<String>,
    pub entity_id: Option<String>,
    pub provider: Option<String>,
    /// Dead letters alone: what was given up and can be tried again.
    pub given_up: bool,
    /// How a dead letter ended.
    pub end: Option<String>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

impl ListFilter {
    pub fn matches(&self, row: &CommunicationRow) -> bool {
        let same = |asked: &Option<String>, has: &str| asked.as_deref().is_none_or(|a| a == has);
        let maybe = |asked: &Option<String>, has: &Option<String>| asked.is_none() || asked == has;
        same(&self.channel, &row.channel)
            && same(&self.status, &row.status)
            && same(&self.kind, &row.kind)
            && maybe(&self.recipient_id, &row.recipient_id)
            && maybe(&self.entity_type, &row.entity_type)
            && maybe(&self.entity_id, &row.entity_id)
            && maybe(&self.provider, &row.provider)
            && (!self.given_up || row.given_up.is_some())
            && maybe(&self.end, &row.given_up)
            && self.from.is_none_or(|from| from <= row.created_at)
            && self.to.is_none_or(|to| row.created_at < to)
    }
}

/// A page, newest first. `next` is where to go on; a page may be short and still have one.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RowPage {
    pub rows: Vec<CommunicationRow>,
    pub next: Option<String>,
}

/// Read models: rebuildable from the streams.
#[async_trait]
pub trait ViewStore: Send + Sync {
    /// Writes rows newer than those stored, and the difference in the counters, in one transaction per call. A row that
    /// is not newer changes nothing. At most 20 rows, all of one view.
    async fn apply(&self, rows: &[ProjectedRow], now: Timestamp) -> Result<(), StoreError>;

    /// Rows that match, newest first. `after` is a `RowPage::next`.
    async fn list(
        &self,
        view: &ViewScope,
        filter: &ListFilter,
        after: Option<&str>,
        size: usize,
    ) -> Result<RowPage, StoreError>;

    /// Rows by key, in the order asked.
    async fn rows(&self, view: &ViewScope, of: &[RowKey]) -> Result<Vec<Option<CommunicationRow>>, StoreError>;

    /// Counters of each day from `from` to `to` (`2026-11-21`), both included.
    async fn daily_counters(
        &self,
        view: &ViewScope,
        from: &str,
        to: &str,
    ) -> Result<BTreeMap<String, Counters>, StoreError>;

    /// Counters over all time, and when they were last written.
    async fn total_counters(&self, view: &ViewScope) -> Result<(Counters, Option<Timestamp>), StoreError>;
}

/// Queues of hints.
#[async_trait]
pub trait WorkQueue: Send + Sync {
    /// Sends each after its delay. Best effort: the timer repairs what is lost.
    async fn send(&self, hints: &[(Hint, u32)]) -> Result<(), StoreError>;

    /// (visible, in flight, delayed) of a lane.
    async fn depth(&self, lane: QueueId) -> Result<QueueDepth, StoreError>;
}

/// A queue message's seconds of delay, at most.
pub const MAX_QUEUE_DELAY_S: u32 = 900;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueDepth {
    pub waiting: u64,
    pub in_flight: u64,
    pub delayed: u64,
    pub dead: u64,
}

/// A record and how often it was swapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionedRecord {
    pub version: u64,
    pub body: String,
}

/// Small shared facts that may be lost: heartbeats, rate buckets, circuit breakers.
#[async_trait]
pub trait CoordinationStore: Send + Sync {
    async fn record_heartbeat(&self, name: &str, at: Timestamp) -> Result<(), StoreError>;
    async fn last_heartbeat(&self, name: &str) -> Result<Option<Timestamp>, StoreError>;

    /// Records by name, strongly consistent, in the order asked.
    async fn read_versioned(&self, names: &[String]) -> Result<Vec<Option<VersionedRecord>>, StoreError>;

    /// Replaces a record if it is still at `expected` (0: not there yet). `Some`: somebody else was first, and this is
    /// there now.
    async fn compare_and_swap(
        &self,
        name: &str,
        expected: u64,
        body: &str,
    ) -> Result<Option<VersionedRecord>, StoreError>;
}

/// Why a file is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    #[error("{0}")]
    Refused(&'static str),
    #[error("it is larger than {0} bytes")]
    TooLarge(usize),
    #[error("it did not answer, or not with a file")]
    NoAnswer,
}

/// Files at addresses that tenants name.
#[async_trait]
pub trait Files: Send + Sync {
    /// The bytes and their type.
    async fn fetch(&self, address: &str, max_bytes: usize) -> Result<(Vec<u8>, String), FetchError>;
}

/// Names one file of a tenant's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// `uploads`, or `fetched`: copies that are needed for days.
    pub shelf: &'static str,
    pub tenant: TenantId,
    pub name: String,
}

impl ObjectKey {
    /// What somebody uploaded.
    pub fn upload(tenant: &TenantId, id: &str) -> ObjectKey {
        ObjectKey { shelf: "uploads", tenant: tenant.clone(), name: id.to_owned() }
    }

    /// What a message's `place`-th attachment was when it was fetched.
    pub fn fetched(key: &CommunicationKey, place: usize) -> ObjectKey {
        ObjectKey { shelf: "fetched", tenant: key.tenant.clone(), name: format!("{}-{place}", key.id) }
    }

    /// The key that both homes store it under.
    pub fn path(&self) -> String {
        format!("{}/{}/{}", self.shelf, self.tenant, self.name)
    }
}

/// Where bytes may be put, by PUT with these headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresignedUpload {
    pub url: String,
    pub headers: Vec<(String, String)>,
}

/// Files that are ours.
#[async_trait]
pub trait ObjectStore: Send + Sync {
    /// An address that takes so many bytes of this type, until then.
    async fn upload_to(
        &self,
        key: &ObjectKey,
        mime: &str,
        size: u64,
        until: Timestamp,
    ) -> Result<PresignedUpload, StoreError>;

    /// An address that gives it out under a name, until then.
    async fn download_from(
        &self,
        key: &ObjectKey,
        name: &str,
        mime: &str,
        until: Timestamp,
    ) -> Result<String, StoreError>;

    /// None: not there.
    async fn read(&self, key: &ObjectKey, max_bytes: usize) -> Result<Option<Vec<u8>>, StoreError>;

    async fn write(&self, key: &ObjectKey, bytes: Vec<u8>, mime: &str) -> Result<(), StoreError>;

    /// Repeating it changes nothing.
    async fn delete(&self, key: &ObjectKey) -> Result<(), StoreError>;
}

/// Tells a person.
#[async_trait]
pub trait AlertSink: Send + Sync {
    async fn raise(&self, subject: &str, text: &str) -> Result<(), StoreError>;
}

/// What only the machine has: the time, and chance.
pub trait Host: Send + Sync {
    fn now(&self) -> Timestamp;
    fn random(&self) -> u128;
}
