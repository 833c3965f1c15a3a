//! What the outside must do for us. Each has a contract suite in `tests/it/contracts.rs`; both homes pass it.

use std::collections::BTreeMap;

use async_trait::async_trait;
use events::{AttemptId, Channel, CommunicationId, Mode, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::communication::Answer;
use crate::history::HistoryRow;
use crate::render::{Link, Message};
use crate::stats::Counters;

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
    pub fn from_path(path: &str) -> Option<StreamKey> {
        let (tenant, rest) = path.split_once('#')?;
        let id = rest.strip_prefix("com#")?.parse().ok()?;
        Some(StreamKey { tenant: tenant.parse().ok()?, id })
    }
}

/// The two lanes of a channel: a flood of ordinary messages does not delay an urgent one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane {
    pub channel: Channel,
    pub high: bool,
}

impl Lane {
    pub const ALL: [Lane; 4] = [
        Lane { channel: Channel::Email, high: true },
        Lane { channel: Channel::Email, high: false },
        Lane { channel: Channel::Sms, high: true },
        Lane { channel: Channel::Sms, high: false },
    ];

    /// `email-high`, `sms-standard`, …
    pub fn name(self) -> String {
        format!("{}-{}", self.channel.as_str(), if self.high { "high" } else { "standard" })
    }

    pub fn parse(name: &str) -> Option<Lane> {
        let (channel, speed) = name.rsplit_once('-')?;
        let high = match speed {
            "high" => true,
            "standard" => false,
            _ => return None,
        };
        Some(Lane { channel: channel.parse().ok()?, high })
    }
}

/// A queue's message: it names a stream, nothing else. The stream decides.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Hint {
    pub lane: Lane,
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
    pub lane: Lane,
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

/// How many parts the timer index has. It only grows.
pub const SHARDS: u8 = 16;

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
    async fn due(&self, shard: u8, until: Timestamp, limit: usize) -> Result<Vec<Due>, StoreError>;

    /// Moves the timer of a due stream to `wake`, unless it has moved already.
    async fn rearm(&self, due: &Due, wake: Timestamp) -> Result<(), StoreError>;

    /// Whether an address is on the suppression list.
    async fn is_suppressed(&self, contact: &ContactKey) -> Result<bool, StoreError>;

    /// Puts an address on the suppression list. Repeating it changes nothing.
    async fn suppress(&self, contact: &ContactKey, reason: &str, at: Timestamp) -> Result<(), StoreError>;
}

/// An address, by its keyed hash.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContactKey {
    pub tenant: TenantId,
    pub channel: Channel,
    pub contact_hash: String,
}

/// Personal data of one communication. In the vault and nowhere else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Content {
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
    pub attachments: Vec<StoredLink>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoredLink {
    pub filename: String,
    pub file_url: String,
}

impl From<&StoredLink> for Link {
    fn from(stored: &StoredLink) -> Link {
        Link { name: stored.filename.clone(), url: stored.file_url.clone() }
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
    /// The partition and the place in it that both homes store it under.
    pub fn path(&self) -> (String, String) {
        (format!("{}#subject#{}", self.tenant, self.subject), format!("com#{}#{}", self.id, self.content))
    }
}

/// Personal data.
#[async_trait]
pub trait Vault: Send + Sync {
    async fn put(&self, key: &ContentKey, content: &Content, until: Timestamp) -> Result<(), StoreError>;

    /// None: erased, or past its retention.
    async fn get(&self, key: &ContentKey) -> Result<Option<Content>, StoreError>;

    /// Many at once, in the order asked.
    async fn get_many(&self, keys: &[ContentKey]) -> Result<Vec<Option<Content>>, StoreError>;
}

/// Who a key belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    pub tenant: TenantId,
    pub actor: String,
    pub mode: Mode,
}

/// API keys, by the hash of the key.
#[async_trait]
pub trait Keys: Send + Sync {
    async fn find(&self, key_hash: &str) -> Result<Option<Principal>, StoreError>;
    async fn put(&self, key_hash: &str, principal: &Principal) -> Result<(), StoreError>;
}

/// Whose rows: a tenant's, live and test apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ViewKey {
    pub tenant: TenantId,
    pub mode: Mode,
}

/// A folded row and the counters it changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Projected {
    pub view: ViewKey,
    pub row: HistoryRow,
}

/// What an index of entities is keyed by; none unless both parts are there.
pub fn entity_path(kind: &Option<String>, id: &Option<String>) -> Option<String> {
    kind.as_ref().zip(id.as_ref()).map(|(kind, id)| format!("{kind}#{id}"))
}

/// What is asked of a list. None means any.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    pub channel: Option<String>,
    pub status: Option<String>,
    pub kind: Option<String>,
    pub recipient_id: Option<String>,
    pub entity_type: Option<String>,
    pub entity_id: Option<String>,
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
}

impl Filter {
    pub fn matches(&self, row: &HistoryRow) -> bool {
        let same = |asked: &Option<String>, has: &str| asked.as_deref().is_none_or(|a| a == has);
        let maybe = |asked: &Option<String>, has: &Option<String>| asked.is_none() || asked == has;
        same(&self.channel, &row.channel)
            && same(&self.status, &row.status)
            && same(&self.kind, &row.kind)
            && maybe(&self.recipient_id, &row.recipient_id)
            && maybe(&self.entity_type, &row.entity_type)
            && maybe(&self.entity_id, &row.entity_id)
            && self.from.is_none_or(|from| from <= row.created_at)
            && self.to.is_none_or(|to| row.created_at < to)
    }
}

/// A page, newest first. `next` is where to go on; a page may be short and still have one.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Page {
    pub rows: Vec<HistoryRow>,
    pub next: Option<String>,
}

/// Read models: rebuildable from the streams.
#[async_trait]
pub trait Views: Send + Sync {
    /// Writes rows newer than those stored, and the difference in the counters, in one transaction per call. A row that
    /// is not newer changes nothing. At most 20 rows, all of one view.
    async fn apply(&self, rows: &[Projected], now: Timestamp) -> Result<(), StoreError>;

    /// Rows that match, newest first. `after` is a `Page::next`.
    async fn list(&self, view: &ViewKey, filter: &Filter, after: Option<&str>, size: usize)
    -> Result<Page, StoreError>;

    /// Counters of each day from `from` to `to` (`2026-11-21`), both included.
    async fn days(&self, view: &ViewKey, from: &str, to: &str) -> Result<BTreeMap<String, Counters>, StoreError>;

    /// Counters over all time, and when they were last written.
    async fn totals(&self, view: &ViewKey) -> Result<(Counters, Option<Timestamp>), StoreError>;
}

/// Queues of hints.
#[async_trait]
pub trait Queue: Send + Sync {
    /// Sends each after its delay. Best effort: the timer repairs what is lost.
    async fn send(&self, hints: &[(Hint, u32)]) -> Result<(), StoreError>;

    /// (visible, in flight, delayed) of a lane.
    async fn depth(&self, lane: Lane) -> Result<Depth, StoreError>;
}

/// A queue message's seconds of delay, at most.
pub const MAX_DELAY_S: u32 = 900;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Depth {
    pub waiting: u64,
    pub in_flight: u64,
    pub delayed: u64,
    pub dead: u64,
}

/// Small shared facts that may be lost: heartbeats now, buckets and breakers later.
#[async_trait]
pub trait Limits: Send + Sync {
    async fn beat(&self, name: &str, at: Timestamp) -> Result<(), StoreError>;
    async fn last_beat(&self, name: &str) -> Result<Option<Timestamp>, StoreError>;
}

/// Tells a person.
#[async_trait]
pub trait Alerts: Send + Sync {
    async fn raise(&self, subject: &str, text: &str) -> Result<(), StoreError>;
}

/// What a provider is asked to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbound {
    pub tenant: TenantId,
    pub attempt: AttemptId,
    pub to: String,
    pub to_name: Option<String>,
    pub message: Message,
}

/// One provider, configured.
#[async_trait]
pub trait Provider: Send + Sync {
    /// The provider's name, and our name for this configuration of it.
    fn name(&self) -> &str;
    fn config(&self) -> &str;
    fn channel(&self) -> Channel;
    /// Whether it reaches people or the simulator.
    fn mode(&self) -> Mode;

    /// Sends once, never again by itself, and ends within `timeout_ms`.
    async fn send(&self, outbound: &Outbound, timeout_ms: u64) -> Sent;
}

/// A provider's answer, and whether it means that this address must not be written to again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    pub answer: Answer,
    pub opted_out: bool,
}

/// What only the machine has: the time, and chance.
pub trait Host: Send + Sync {
    fn now(&self) -> Timestamp;
    fn random(&self) -> u128;
}
