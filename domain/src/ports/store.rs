//! Streams: where they are kept, their timers, and the queues that their hints go to.

use async_trait::async_trait;
use events::{Channel, StreamId, StreamKind, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use super::{AddressKey, StoreError};

/// Which queue the hints of a stream go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QueueId {
    /// Communications that are to be delivered. Each channel has two queues, so that a flood of ordinary messages does
    /// not delay an urgent one.
    Delivery { channel: Channel, is_high_priority: bool },
    /// Streams that make other streams act, such as schedules.
    Process,
}

impl QueueId {
    /// The queues of messages, two for each channel.
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

/// A queue message: it names a stream and nothing else. The stream decides.
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

    /// The stream that a body names, of any kind.
    ///
    /// # Errors
    ///
    /// A message for the log: the body is not a hint, or a newer build wrote it.
    pub fn parse_body(body: &str) -> Result<StreamId, String> {
        let body: HintBody = serde_json::from_str(body).map_err(|error| error.to_string())?;
        if HINT_VERSION < body.version {
            return Err(format!("a hint of version {}", body.version));
        }
        let key = format!("{}#{}#{}", body.tenant, body.kind, body.id);
        StreamId::parse_storage_key(&key).ok_or_else(|| "a hint without a kind or an id".to_owned())
    }
}

/// Three classes of failure, never two, and one that is final.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Another writer was first: nothing was written. Load the stream and decide again.
    #[error("the stream has moved on")]
    Conflict,
    /// Throttled: nothing was written. The same append may be repeated.
    #[error("not applied: {0}")]
    NotApplied(String),
    /// It may or may not have been written. Read the stream again and compare the writer id.
    #[error("unknown whether applied: {0}")]
    Unknown(String),
    /// One append of more than 350 KB, or an item that would outgrow them.
    #[error("the stream would be larger than 350 KB")]
    TooLarge,
}

/// A stream as read: its newest events, and a snapshot of the fold of those before them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stream {
    /// How many events it has ever had; 0 for a stream that does not exist.
    pub version: u64,
    /// The fold of the events that were moved to chunks; see `aggregate::encode_snapshot`.
    pub snapshot: Option<String>,
    /// The newest events, one line of JSON each; see `events::decode`. All of them, unless the stream has rolled over.
    pub lines: Vec<String>,
    pub wake: Option<Timestamp>,
    /// Who appended last.
    pub writer_id: String,
}

impl Stream {
    /// How many events lie in chunks, before the first of `lines`.
    pub fn first(&self) -> u64 {
        self.version - (self.lines.len() as u64).min(self.version)
    }
}

/// Moves the events that a stream's item holds to a chunk, in the same transaction as an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollOver {
    /// The fold of every event up to the expected version.
    pub snapshot: String,
    /// The lines that the item holds now.
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
    /// Those that were added to the index and not removed.
    Current,
    /// Also those that were removed.
    Ever,
}

/// One append: all of it or nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendRequest {
    /// The version it was decided on; 0 for a stream that must not exist.
    pub expected_version: u64,
    pub encoded_events: Vec<String>,
    /// The timer from now on; none ends it.
    pub wake: Option<Timestamp>,
    /// Which queue the timer's hint goes to.
    pub queue: QueueId,
    /// Unique to this append, which recognises itself by it after a lost answer.
    pub writer_id: String,
    pub listing: Listing,
    pub roll_over: Option<RollOver>,
}

/// A stream whose timer is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueTimer {
    pub hint: Hint,
    pub wake: Timestamp,
    /// Hints already sent since the last append.
    pub hints_sent: u32,
}

/// Some of all streams.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScanPage {
    pub streams: Vec<(StreamId, Stream)>,
    /// What the next call takes as `after`; none at the end.
    pub next: Option<String>,
}

/// How many parts the timer index has. It only grows.
pub const TIMER_SHARDS: u8 = 16;

/// The bytes of events that one item may hold, and the size of one append.
pub const MAX_STREAM_BYTES: usize = 350 * 1024;

/// Streams of one kind that [`EventStore::list`] returns, at most.
pub const MAX_LISTED: usize = 1_000;

/// Where streams of every kind are kept.
#[async_trait]
pub trait EventStore: Send + Sync {
    /// Reads a stream's item, strongly consistent. An unknown id is an empty stream.
    async fn read(&self, id: &StreamId) -> Result<Stream, StoreError>;

    /// Reads every event of a stream, in order, also those that were moved to chunks.
    async fn read_history(&self, id: &StreamId) -> Result<Vec<String>, StoreError>;

    /// Appends if the stream is still at `expected_version`. An append that finds its own writer id has succeeded.
    async fn append(&self, id: &StreamId, append: AppendRequest) -> Result<(), AppendError>;

    /// The streams of a tenant that are listed, strongly consistent, ordered by kind and id. At most [`MAX_LISTED`] of
    /// each kind.
    async fn list(
        &self,
        tenant: &TenantId,
        kinds: &[StreamKind],
        listed: Listed,
    ) -> Result<Vec<(StreamId, Stream)>, StoreError>;

    /// Streams of one shard with `wake` up to `until`, earliest first, at most `limit`. May lag behind. A queue that
    /// this build does not know is passed over.
    async fn due_timers(&self, shard: u8, until: Timestamp, limit: usize) -> Result<Vec<DueTimer>, StoreError>;

    /// Moves the timer from `from` to `to`, unless it has moved already. `hints_sent`: those already sent for it.
    async fn reschedule_timer(
        &self,
        id: &StreamId,
        from: Timestamp,
        to: Timestamp,
        hints_sent: u32,
    ) -> Result<(), StoreError>;

    /// Some streams of any kind, in no order that means anything, and where to go on. What changes meanwhile may be
    /// missed or old.
    async fn scan(&self, after: Option<&str>, limit: usize) -> Result<ScanPage, StoreError>;

    /// Whether an address is on the suppression list.
    async fn is_suppressed(&self, contact: &AddressKey) -> Result<bool, StoreError>;

    /// Puts an address on the suppression list. Repeating it changes nothing.
    async fn suppress(&self, contact: &AddressKey, reason: &str, at: Timestamp) -> Result<(), StoreError>;

    /// Takes an address off the list, if it is there for this reason.
    async fn unsuppress(&self, contact: &AddressKey, reason: &str) -> Result<(), StoreError>;

    /// Why an address is on the list.
    async fn suppression(&self, contact: &AddressKey) -> Result<Option<String>, StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_reads_back_and_one_of_a_newer_build_is_refused() {
        let tenant: TenantId = "acme".parse().expect("a tenant");
        let stream = StreamId::new(&tenant, StreamKind::new("moon"), "landing");
        let body = Hint { queue: QueueId::Process, stream: stream.clone() }.body();
        assert_eq!(Hint::parse_body(&body), Ok(stream));
        for body in ["", "{}", r#"{"version":2,"tenant":"acme","kind":"com","id":"com_1"}"#] {
            assert!(Hint::parse_body(body).is_err(), "{body}");
        }
    }

    #[test]
    fn queues_read_back_what_they_print() {
        for queue in QueueId::all() {
            assert_eq!(QueueId::parse(&queue.name()), Some(queue));
        }
        assert_eq!(QueueId::parse("fax-high"), None);
    }
}
