//! What every kind of stream is: a fold of its events, and a decision on the next ones. Both are pure.

use events::{EventFamily, RecordedEvent, StreamId, StreamKind, TenantId, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ports::QueueId;

/// What happens to the personal data of a kind of stream when a person is erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erasure {
    /// Its events and documents never hold personal data.
    NoPersonalData,
    /// Its events hold keyed hashes only. Addresses and content are documents of the vault under the person's key, and
    /// are deleted from there.
    VaultDocuments,
}

/// Something about a stream that must not be so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The invariant of `docs/reliability.md`.
    pub invariant: &'static str,
    pub what: String,
}

/// The state of one stream, folded from its events.
pub trait Aggregate: Default + Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    const KIND: StreamKind;
    const ERASURE: Erasure;
    /// Bytes of events that the stream's item holds before they are moved to a chunk. An append costs the whole item,
    /// so this bounds the cost of a change.
    const ROLL_OVER_BYTES: usize = 2 * 1024;
    /// Counts up when the serialised form of the state changes. An older snapshot is ignored, and the events are
    /// folded.
    const SNAPSHOT_VERSION: u16 = 1;

    type Event: EventFamily;
    type Command: Clone + Send + Sync;
    type Rejection: std::error::Error + Send + Sync + 'static;

    /// Answers `command` with what happens next. An empty list means that it is already so.
    ///
    /// # Errors
    ///
    /// The rejection says why nothing can happen.
    fn decide(&self, command: Self::Command) -> Result<Vec<Self::Event>, Self::Rejection>;

    /// Folds one event into the state. Cannot fail: what has happened, has happened.
    fn evolve(self, record: &RecordedEvent<Self::Event>) -> Self;

    /// When the stream must be looked at again; none when it is complete. `current` is the timer that it has.
    fn wake(&self, now: Timestamp, current: Option<Timestamp>) -> Option<Timestamp> {
        let _ = (now, current);
        None
    }

    /// Whether the stream exists and nothing more will happen to it without a command. Otherwise it must have a timer.
    fn is_complete(&self) -> bool {
        true
    }

    /// What an audit finds wrong with the stream's events.
    fn audit(&self, records: &[RecordedEvent<Self::Event>]) -> Vec<Violation> {
        let _ = records;
        Vec::new()
    }

    /// The command that ends a stream whose hint crashed its consumer again and again.
    fn dead_letter() -> Option<Self::Command> {
        None
    }

    /// Whether the stream is listed with the tenant's others of its kind.
    fn is_listed(&self) -> bool {
        false
    }

    /// Which queue the timer's hints go to.
    fn queue(&self) -> QueueId {
        QueueId::Process
    }
}

/// Folds events onto a state.
pub fn fold<'a, A: Aggregate>(state: A, records: impl IntoIterator<Item = &'a RecordedEvent<A::Event>>) -> A {
    records.into_iter().fold(state, A::evolve)
}

/// Names a stream and the aggregate that it is.
pub trait AggregateKey {
    type Aggregate: Aggregate;

    fn stream_id(&self) -> StreamId;
}

impl<K: AggregateKey> AggregateKey for &K {
    type Aggregate = K::Aggregate;

    fn stream_id(&self) -> StreamId {
        K::stream_id(self)
    }
}

/// The id of a stream of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AggregateId<A> {
    stream: StreamId,
    aggregate: std::marker::PhantomData<A>,
}

impl<A: Aggregate> AggregateId<A> {
    pub fn new(tenant: &TenantId, id: impl Into<String>) -> Self {
        AggregateId { stream: StreamId::new(tenant, A::KIND, id), aggregate: std::marker::PhantomData }
    }
}

impl<A: Aggregate> AggregateKey for AggregateId<A> {
    type Aggregate = A;

    fn stream_id(&self) -> StreamId {
        self.stream.clone()
    }
}

#[derive(Serialize, Deserialize)]
struct Snapshot<S> {
    version: u16,
    state: S,
}

/// The state as stored beside the newest events. A cache: the chunks hold the truth.
///
/// # Errors
///
/// The state does not serialise.
pub fn encode_snapshot<A: Aggregate>(state: &A) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Snapshot { version: A::SNAPSHOT_VERSION, state })
}

/// The state of a snapshot; none if another version of this software wrote it, and the events must be folded.
pub fn decode_snapshot<A: Aggregate>(snapshot: &str) -> Option<A> {
    let Snapshot { version, state } = serde_json::from_str::<Snapshot<serde_json::Value>>(snapshot).ok()?;
    if version == A::SNAPSHOT_VERSION { serde_json::from_value(state).ok() } else { None }
}
