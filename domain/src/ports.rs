//! What the outside must do for us. Each has a contract suite in `tests/it/contracts.rs`; both homes pass it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use events::{Channel, CommunicationId, CommunicationRequest, Mode, Role, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::communication_view::{CommunicationRow, recipient_key};
use crate::message::MessageContent;
use crate::stats::Counters;

pub use crate::provider::{OutboundMessage, Provider, ProviderConfig, ProviderFactory, QueryResult, SendResult};

/// Names one stream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamKey {
    pub tenant: TenantId,
    pub id: CommunicationId,
}

impl StreamKey {
    /// The key that both homes store it under: the tenant leads.
    pub fn path(&self) -> String {
        format!("{}#com#{}", self.tenant, self.id)
    }

    /// The stream that a stored key names; none for a guard.
    pub fn parse_storage_key(path: &str) -> Option<StreamKey> {
        let (tenant, rest) = path.split_once('#')?;
        let id = rest.strip_prefix("com#")?.parse().ok()?;
        Some(StreamKey { tenant: tenant.parse().ok()?, id })
    }
}

/// The two lanes of a channel: a flood of ordinary messages does not delay an urgent one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId {
    pub channel: Channel,
    pub high: bool,
}

impl QueueId {
    pub const ALL: [QueueId; 10] = {
        let mut all = [QueueId { channel: Channel::Email, high: true }; 10];
        let mut place = 0;
        while place < 10 {
            all[place] = QueueId { channel: Channel::ALL[place / 2], high: place % 2 == 0 };
            place += 1;
        }
        all
    };

    /// `email-high`, `sms-standard`, …
    pub fn name(self) -> String {
        format!("{}-{}", self.channel.as_str(), if self.high { "high" } else { "standard" })
    }

    pub fn parse(name: &str) -> Option<QueueId> {
        let (channel, speed) = name.rsplit_once('-')?;
        let high = match speed {
            "high" => true,
            "standard" => false,
            _ => return None,
        };
        Some(QueueId { channel: channel.parse().ok()?, high })
    }
}

/// A queue's message: it names a stream, nothing else. The stream decides.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Hint {
    pub lane: QueueId,
    pub key: StreamKey,
}

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

/// Three classes, never two.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Someone else was first: nothing was written. Reload and decide again.
    #[error("the stream has moved on")]
    Conflict,
    /// Throttled: nothing was written. The same append may be repeated.
    #[error("not applied: {0}")]
    NotApplied(String),
    /// It may or may not have been written: read again and compare the writer.
    #[error("unknown whether applied: {0}")]
    Unknown(String),
    /// One append of more than 350 KB, or a stream that would outgrow its item.
    #[error("the stream would be larger than 350 KB")]
    TooLarge,
}

/// A stream as read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stream {
    /// How many appends it has seen; 0 for none.
    pub version: u64,
    /// One line of JSON each; see `events::decode`.
    pub lines: Vec<String>,
    /// The timer.
    pub wake: Option<Timestamp>,
    /// Who appended last.
    pub writer: String,
}

/// One append: all of it or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// The version it was decided on; 0 for a stream that must not exist.
    pub expected: u64,
    pub lines: Vec<String>,
    /// The timer from now on; none ends it.
    pub wake: Option<Timestamp>,
    /// Which queue the timer's hint goes to.
    pub lane: QueueId,
    /// Unique to this append: it recognises itself after a lost answer.
    pub writer: String,
}

/// A stream whose timer is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    pub hint: Hint,
    pub wake: Timestamp,
    /// Hints already sent in vain since the last append.
    pub hints: u32,
}

/// A part of all streams.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScanPage {
    pub streams: Vec<(StreamKey, Stream)>,
    /// What the next call takes as `after`; none at the end.
    pub next: Option<String>,
}

/// How many parts the timer index has. It only grows.
pub const TIMER_SHARDS: u8 = 16;

/// The 350 KB that one stream may take.
pub const MAX_STREAM_BYTES: usize = 350 * 1024;

/// Where streams are kept.
#[async_trait]
pub trait EventStore: Send + Sync {
    /// Reads the whole stream, strongly consistent. An unknown key is an empty stream.
    async fn read(&self, key: &StreamKey) -> Result<Stream, StoreError>;

    /// Appends if the stream is still at `expected`. An append that finds its own writer there has succeeded.
    async fn append(&self, key: &StreamKey, append: Append) -> Result<(), AppendError>;

    /// Streams of one shard with `wake` up to `until`, earliest first, at most `limit`. May lag behind.
    async fn due_timers(&self, shard: u8, until: Timestamp, limit: usize) -> Result<Vec<Due>, StoreError>;

    /// Moves the timer from `from` to `to`, unless it has moved already. `hints`: those already sent for it.
    async fn reschedule_timer(
        &self,
        key: &StreamKey,
        from: Timestamp,
        to: Timestamp,
        hints: u32,
    ) -> Result<(), StoreError>;

    /// Some streams, in no order that means anything, and where to go on. What changes meanwhile may be missed or old.
    async fn scan(&self, after: Option<&str>, limit: usize) -> Result<ScanPage, StoreError>;

    /// Whether an address is on the suppression list.
    async fn is_suppressed(&self, contact: &AddressKey) -> Result<bool, StoreError>;

    /// Puts an address on the suppression list. Repeating it changes nothing.
    async fn suppress(&self, contact: &AddressKey, reason: &str, at: Timestamp) -> Result<(), StoreError>;

    /// Takes it off again, if it is there for this reason.
    async fn unsuppress(&self, contact: &AddressKey, reason: &str) -> Result<(), StoreError>;

    /// Why it is on the list.
    async fn suppression(&self, contact: &AddressKey) -> Result<Option<String>, StoreError>;
}

/// Names one journal: a stream without a timer, that no queue and no view follows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JournalKey {
    pub tenant: TenantId,
    /// `channels`, `templates`, `preferences`, `keys`, `inbound`.
    pub kind: &'static str,
    pub id: String,
}

impl JournalKey {
    /// What the tenant decided about its provider configurations.
    pub fn channels(tenant: &TenantId) -> JournalKey {
        JournalKey { tenant: tenant.clone(), kind: "channels", id: "all".to_owned() }
    }

    /// What the tenant decided about its templates.
    pub fn templates(tenant: &TenantId) -> JournalKey {
        JournalKey { tenant: tenant.clone(), kind: "templates", id: "all".to_owned() }
    }

    /// The tenant's API keys.
    pub fn keys(tenant: &TenantId) -> JournalKey {
        JournalKey { tenant: tenant.clone(), kind: "keys", id: "all".to_owned() }
    }

    /// How a person wants to be written to; `customer:7`.
    pub fn preferences(tenant: &TenantId, person: &str) -> JournalKey {
        JournalKey { tenant: tenant.clone(), kind: "preferences", id: person.to_owned() }
    }

    /// The key that both homes store it under: the tenant leads.
    pub fn path(&self) -> String {
        format!("{}#{}#{}", self.tenant, self.kind, self.id)
    }
}

/// Where journals are kept: beside the streams, with the same guarantees.
#[async_trait]
pub trait Journals: Send + Sync {
    /// Reads all of it, strongly consistent. An unknown key is an empty journal.
    async fn read_journal(&self, key: &JournalKey) -> Result<Stream, StoreError>;

    /// Appends if it is still at `expected`. An append that finds its own writer there has succeeded.
    async fn append_journal(
        &self,
        key: &JournalKey,
        expected: u64,
        lines: Vec<String>,
        writer: &str,
    ) -> Result<(), AppendError>;
}

/// Names one document of the vault.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DocumentKey {
    pub tenant: TenantId,
    /// `secret`, `message`, `callback`, …: all of one shelf lie together, by name.
    pub collection: &'static str,
    pub name: String,
}

impl DocumentKey {
    /// The partition and the place in it that both homes store it under.
    pub fn path(&self) -> (String, String) {
        (format!("{}#{}", self.tenant, self.collection), self.name.clone())
    }
}

/// Records that are personal, secret or short-lived: in the vault, out of every stream. The last writer wins.
#[async_trait]
pub trait DocumentStore: Send + Sync {
    /// Until then it is there; none: until it is removed.
    async fn put_document(&self, key: &DocumentKey, body: &str, until: Option<Timestamp>) -> Result<(), StoreError>;

    /// None: never there, removed, or past its time.
    async fn get_document(&self, key: &DocumentKey, now: Timestamp) -> Result<Option<String>, StoreError>;

    async fn delete_document(&self, key: &DocumentKey) -> Result<(), StoreError>;

    /// Names and bodies of a shelf, the greatest name first, from below `before`.
    async fn list_documents(
        &self,
        tenant: &TenantId,
        collection: &'static str,
        before: Option<&str>,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<(String, String)>, StoreError>;
}

/// Seals what must not lie open in a store.
#[async_trait]
pub trait SecretCipher: Send + Sync {
    /// `place` is bound to it: sealed text opens nowhere else.
    async fn encrypt(&self, context: &str, plain: &str) -> Result<String, StoreError>;

    async fn decrypt(&self, context: &str, sealed: &str) -> Result<String, StoreError>;
}

/// Where facts wait that found no message.
#[async_trait]
pub trait UnmatchedQueue: Send + Sync {
    /// Shows them again after so many seconds, at most [`MAX_QUEUE_DELAY_S`].
    async fn enqueue(&self, retry: &UnmatchedRetry, delay_s: u32) -> Result<(), StoreError>;
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

/// Names one content in the vault.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentKey {
    pub tenant: TenantId,
    /// The recipient: everything about one person is one partition.
    pub subject: String,
    pub id: CommunicationId,
    /// `CommunicationRequest::request_hash`, or what a change of content named.
    pub content: String,
}

impl ContentKey {
    pub fn for_request(key: &StreamKey, request: &CommunicationRequest, content: &str) -> ContentKey {
        let content = content.to_owned();
        ContentKey { tenant: key.tenant.clone(), subject: recipient_key(request), id: key.id, content }
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
    pub fn actor_id(&self) -> String {
        format!("{}:{}", if self.is_user { "user" } else { "key" }, self.actor)
    }

    pub fn can_send_to(&self, contact_hash: &str) -> bool {
        self.team.as_ref().is_none_or(|team| team.iter().any(|hash| hash == contact_hash))
    }
}

/// API keys, by the hash of the key.
#[async_trait]
pub trait ApiKeyStore: Send + Sync {
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
    pub dead_letters_only: bool,
    /// How a dead letter ended.
    pub dead_letter_reason: Option<String>,
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
            && (!self.dead_letters_only || row.dead_letter_outcome.is_some())
            && maybe(&self.dead_letter_reason, &row.dead_letter_outcome)
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
    async fn get_rows(&self, view: &ViewScope, of: &[RowKey]) -> Result<Vec<Option<CommunicationRow>>, StoreError>;

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
    NoResponse,
}

/// Files at addresses that tenants name.
#[async_trait]
pub trait FileFetcher: Send + Sync {
    /// The bytes and their type.
    async fn fetch(&self, address: &str, max_bytes: usize) -> Result<(Vec<u8>, String), FetchError>;
}

/// Names one file of a tenant's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// `uploads`, or `fetched`: copies that are needed for days.
    pub collection: &'static str,
    pub tenant: TenantId,
    pub name: String,
}

impl ObjectKey {
    /// What somebody uploaded.
    pub fn upload(tenant: &TenantId, id: &str) -> ObjectKey {
        ObjectKey { collection: "uploads", tenant: tenant.clone(), name: id.to_owned() }
    }

    /// What a message's `place`-th attachment was when it was fetched.
    pub fn fetched(key: &StreamKey, place: usize) -> ObjectKey {
        ObjectKey { collection: "fetched", tenant: key.tenant.clone(), name: format!("{}-{place}", key.id) }
    }

    /// The key that both homes store it under.
    pub fn path(&self) -> String {
        format!("{}/{}/{}", self.collection, self.tenant, self.name)
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
pub trait ClockAndRng: Send + Sync {
    fn now(&self) -> Timestamp;
    fn random(&self) -> u128;
}
