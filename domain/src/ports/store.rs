//! Streams: their store, their timers, and the queues of their hints.

use async_trait::async_trait;
use events::{Channel, StreamId, StreamKind, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{AddressKey, StoreError};

/// The queue of a stream's hints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QueueId {
    /// For the delivery of communications. Each channel has two queues, so that many ordinary messages do not delay an
    /// urgent one.
    Delivery { channel: Channel, is_high_priority: bool },
    /// For processes, such as schedules.
    Process,
}

impl QueueId {
    /// The delivery queues, two for each channel.
    pub const DELIVERY: [QueueId; 10] = {
        let mut all = [QueueId::Process; 10];
        let mut index = 0;
        while index < 10 {
            all[index] = QueueId::Delivery { channel: Channel::ALL[index / 2], is_high_priority: index % 2 == 0 };
            index += 1;
        }
        all
    };

    /// Every queue of hints.
    pub fn all() -> impl Iterator<Item = QueueId> {
        QueueId::DELIVERY.into_iter().chain([QueueId::Process])
    }

    /// `email-high`, `sms-standard`, …, `process`.
    pub fn name(self) -> String {
        match self {
            QueueId::Delivery { channel, is_high_priority } => {
                format!("{}-{}", channel.as_str(), if is_high_priority { "high" } else { "standard" })
            }
            QueueId::Process => "process".to_owned(),
        }
    }

    pub fn parse(name: &str) -> Option<QueueId> {
        QueueId::all().find(|queue| queue.name() == name)
    }
}

/// A queue message that names a stream and nothing else. The stream decides what happens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Hint {
    pub queue: QueueId,
    pub stream: StreamId,
}

/// The version of a hint's body that this build writes.
const HINT_VERSION: u16 = 1;

#[derive(Serialize, Deserialize)]
struct HintBody {
    version: u16,
    tenant: TenantId,
    kind: String,
    id: String,
}

impl Hint {
    /// The body of the queue message: `{"version": 1, "tenant": …, "kind": …, "id": …}`.
    pub fn body(&self) -> String {
        let StreamId { tenant, kind, id } = &self.stream;
        let body = serde_json::json!({ "version": HINT_VERSION, "tenant": tenant, "kind": kind.as_str(), "id": id });
        body.to_string()
    }

    /// Parses the stream in a hint's body. It can be of any kind.
    ///
    /// # Errors
    ///
    /// A text for the log if the body is not a hint, or if a newer build wrote it.
    pub fn parse_body(body: &str) -> Result<StreamId, String> {
        let body: HintBody = serde_json::from_str(body).map_err(|error| error.to_string())?;
        if HINT_VERSION < body.version {
            return Err(format!("unknown hint version {}", body.version));
        }
        let key = format!("{}#{}#{}", body.tenant, body.kind, body.id);
        StreamId::parse_storage_key(&key).ok_or_else(|| "the hint has no kind or id".to_owned())
    }
}

/// Why an append failed. Callers must treat the first three cases differently, and the last is final.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Another writer was first, so nothing was written. Load the stream and decide again.
    #[error("another writer has appended to the stream")]
    Conflict,
    /// The store was throttled, and nothing was written. The same append can be repeated.
    #[error("not applied: {0}")]
    NotApplied(String),
    /// It is unknown whether the append was written. Read the stream again and compare the writer id.
    #[error("unknown whether applied: {0}")]
    Unknown(String),
    /// The append, or the item with it, would be larger than 350 KB.
    #[error("the stream would be larger than 350 KB")]
    TooLarge,
}

/// A stream as read: its newest events, and a snapshot of the state before them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stream {
    /// The number of all its events. It is 0 for a stream that does not exist.
    pub version: u64,
    /// The state folded from the events that were moved to chunks. See `aggregate::encode_snapshot`.
    pub snapshot: Option<String>,
    /// The newest events, one line of JSON each (see `events::decode`). These are all events unless the stream has
    /// rolled over.
    pub lines: Vec<String>,
    pub wake: Option<Timestamp>,
    /// The writer id of the last append.
    pub writer_id: String,
}

impl Stream {
    /// The number of events in chunks, which come before `lines`.
    pub fn first(&self) -> u64 {
        self.version - (self.lines.len() as u64).min(self.version)
    }
}

/// Moves the events that a stream's item holds to a chunk, in the same transaction as an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollOver {
    /// The state folded from every event up to the expected version.
    pub snapshot: String,
    /// The lines that the item contains now.
    pub archived: Vec<String>,
}

/// What an append changes in the index that [`EventStore::list`] reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Listing {
    #[default]
    Unchanged,
    Add,
    /// The stream is listed as [`Listed::Ever`] only.
    Remove,
}

/// Which streams to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listed {
    /// Streams that were added to the index and not removed.
    Current,
    /// Also streams that were removed from the index.
    Ever,
}

/// One append, which is written completely or not at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendRequest {
    /// The version that the decision is based on. It is 0 for a stream that must not exist.
    pub expected_version: u64,
    /// Without events, an append sets the timer only. The stream must exist.
    pub encoded_events: Vec<String>,
    /// The new timer. `None` removes the timer.
    pub wake: Option<Timestamp>,
    /// The queue for the timer's hints.
    pub queue: QueueId,
    /// An id unique to this append. After a lost answer, it shows whether the append was written.
    pub writer_id: String,
    pub listing: Listing,
    pub roll_over: Option<RollOver>,
    /// Other streams that must still be at these versions. A stream that does not exist is at 0.
    pub unmoved: Vec<(StreamId, u64)>,
}

/// A stream whose timer is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueTimer {
    pub hint: Hint,
    pub wake: Timestamp,
    /// Hints already sent since the last append.
    pub hints_sent: u32,
}

/// Where a page of due timers ended: the time of its last timer, and the storage key of that stream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerCursor {
    pub wake: Timestamp,
    pub storage_key: String,
}

/// One page of due timers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DuePage {
    pub timers: Vec<DueTimer>,
    /// The `after` of the next call. `None` at the end.
    pub next: Option<TimerCursor>,
}

/// One page of all streams.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScanPage {
    pub streams: Vec<(StreamId, Stream)>,
    /// The `after` of the next call. `None` at the end.
    pub next: Option<String>,
}

/// The number of shards of the timer index. It must never be reduced.
pub const TIMER_SHARDS: u8 = 16;

/// Maximum size of the events in one item, and of one append, in bytes.
pub const MAX_STREAM_BYTES: usize = 350 * 1024;

/// Maximum number of streams of one kind that [`EventStore::list`] returns.
pub const MAX_LISTED: usize = 1_000;

/// Maximum number of people that are recorded for one address.
pub const MAX_PEOPLE: usize = 100;

/// What is known of an address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct AddressRecord {
    /// The reason why it is on the suppression list. `None` if it is not.
    pub suppressed: Option<String>,
    /// The people, such as `customer:7`, whose address it is and who have restricted what may be sent to them.
    pub people: Vec<String>,
}

/// Stores streams of every kind.
#[async_trait]
pub trait EventStore: Send + Sync {
    /// Maximum size of a snapshot and the events in one item, in bytes.
    fn max_stream_bytes(&self) -> usize {
        MAX_STREAM_BYTES
    }

    /// Reads a stream's item, strongly consistent. An unknown id is an empty stream.
    async fn read(&self, id: &StreamId) -> Result<Stream, StoreError>;

    /// Reads every event of a stream in order, including those that were moved to chunks.
    async fn read_history(&self, id: &StreamId) -> Result<Vec<String>, StoreError>;

    /// Appends if the stream is still at `expected_version`, and every other stream of `unmoved` at its version. If the stream's writer id is that of this append, the
    /// append was already written, and succeeds.
    async fn append(&self, id: &StreamId, append: AppendRequest) -> Result<(), AppendError>;

    /// Lists a tenant's streams, strongly consistent, ordered by kind and id. Returns at most [`MAX_LISTED`] of each
    /// kind.
    async fn list(
        &self,
        tenant: &TenantId,
        kinds: &[StreamKind],
        listed: Listed,
    ) -> Result<Vec<(StreamId, Stream)>, StoreError>;

    /// Returns a page of at most `limit` streams of one shard with `wake` up to `until`, earliest first. The index may
    /// lag behind. Streams with a queue that this build does not know are skipped.
    async fn due_timers(
        &self,
        shard: u8,
        until: Timestamp,
        after: Option<&TimerCursor>,
        limit: usize,
    ) -> Result<DuePage, StoreError>;

    /// Moves the timer from `from` to `to`, unless it has changed meanwhile. `hints_sent` is the number of hints
    /// already sent for it.
    async fn reschedule_timer(
        &self,
        id: &StreamId,
        from: Timestamp,
        to: Timestamp,
        hints_sent: u32,
    ) -> Result<(), StoreError>;

    /// Returns a page of streams of any kind, in no defined order. Changes during a scan may be missed.
    async fn scan(&self, after: Option<&str>, limit: usize) -> Result<ScanPage, StoreError>;

    /// What is known of an address, strongly consistent. It is read before each message.
    async fn address(&self, contact: &AddressKey) -> Result<AddressRecord, StoreError>;

    /// Records that an address belongs to a person who restricts what may be sent to them. Repeating it changes
    /// nothing. At most [`MAX_PEOPLE`] people are recorded for one address.
    async fn link_person(&self, contact: &AddressKey, person: &str) -> Result<(), StoreError>;

    /// Adds an address to the suppression list. Repeating it changes nothing.
    async fn suppress(&self, contact: &AddressKey, reason: &str, at: Timestamp) -> Result<(), StoreError>;

    /// Removes an address from the list if it was added for this reason.
    async fn unsuppress(&self, contact: &AddressKey, reason: &str) -> Result<(), StoreError>;

    /// Returns the reason why an address is on the list, or `None` if it is not.
    async fn suppression(&self, contact: &AddressKey) -> Result<Option<String>, StoreError> {
        Ok(self.address(contact).await?.suppressed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_can_be_parsed_unless_a_newer_build_wrote_it() {
        let tenant: TenantId = "acme".parse().expect("a tenant");
        let stream = StreamId::new(&tenant, StreamKind::new("moon"), "landing");
        let body = Hint { queue: QueueId::Process, stream: stream.clone() }.body();
        assert_eq!(Hint::parse_body(&body), Ok(stream));
        for body in ["", "{}", r#"{"version":2,"tenant":"acme","kind":"com","id":"com_1"}"#] {
            assert!(Hint::parse_body(body).is_err(), "{body}");
        }
    }

    #[test]
    fn a_queue_name_can_be_parsed() {
        for queue in QueueId::all() {
            assert_eq!(QueueId::parse(&queue.name()), Some(queue));
        }
        assert_eq!(QueueId::parse("fax-high"), None);
    }
}
