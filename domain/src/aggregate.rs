//! The interface of every kind of stream: a fold of its events into a state, and decisions on commands. Both are pure.

use events::{EventFamily, RecordedEvent, StreamId, StreamKind, TenantId, Timestamp};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ports::QueueId;

/// What happens to the personal data of a kind of stream when a person is erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Erasure {
    /// The stream's events and documents never contain personal data.
    NoPersonalData,
    /// The stream's events contain only keyed hashes. Addresses and content are documents in the vault under the
    /// person's key, and are deleted there.
    VaultDocuments,
}

/// A violation of an invariant by a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The number of the invariant in `docs/reliability.md`.
    pub invariant: &'static str,
    pub what: String,
}

/// The state of one stream, folded from its events.
pub trait Aggregate: Default + Clone + Serialize + DeserializeOwned + Send + Sync + 'static {
    const KIND: StreamKind;
    const ERASURE: Erasure;
    /// Size of the events in the stream's item, in bytes, above which they are moved to a chunk. Each append rewrites
    /// the whole item, so this limits the cost of a change.
    const ROLL_OVER_BYTES: usize = 2 * 1024;
    /// Increased whenever the serialised form of the state changes. Snapshots of another version are ignored, and the
    /// events are folded instead.
    const SNAPSHOT_VERSION: u16 = 1;

    type Event: EventFamily;
    type Command: Clone + Send + Sync;
    type Rejection: std::error::Error + Send + Sync + 'static;

    /// Decides on `command` and returns new events. An empty list means that nothing changes.
    ///
    /// # Errors
    ///
    /// The rejection is the reason why the command cannot be carried out.
    fn decide(&self, command: Self::Command) -> Result<Vec<Self::Event>, Self::Rejection>;

    /// Folds one event into the state. It cannot fail, because the event has already happened.
    fn evolve(self, record: &RecordedEvent<Self::Event>) -> Self;

    /// Whether a stream that is nearly full refuses the command, so that there is room for what must always work: the
    /// course of a delivery, and whatever ends, forbids or erases something.
    fn is_optional(command: &Self::Command) -> bool {
        let _ = command;
        false
    }

    /// When the stream must be looked at again. Returns `None` if it is complete. `current` is the timer already set.
    fn wake(&self, now: Timestamp, current: Option<Timestamp>) -> Option<Timestamp> {
        let _ = (now, current);
        None
    }

    /// Whether nothing more will happen to the stream without a command. Otherwise it must have a timer.
    fn is_complete(&self) -> bool {
        true
    }

    /// The violations that an audit finds in the stream's events.
    fn audit(&self, records: &[RecordedEvent<Self::Event>]) -> Vec<Violation> {
        let _ = records;
        Vec::new()
    }

    /// The command that ends a stream whose hint crashed its handler repeatedly.
    fn dead_letter() -> Option<Self::Command> {
        None
    }

    /// The command for a stream that a worker may have been working on, when every worker is known to have ended
    /// because the only process was restarted.
    fn after_restart(now: Timestamp) -> Option<Self::Command> {
        let _ = now;
        None
    }

    /// Whether lists of the tenant's streams of this kind include the stream.
    fn is_listed(&self) -> bool {
        false
    }

    /// The queue for the timer's hints.
    fn queue(&self) -> QueueId {
        QueueId::Process
    }
}

/// Folds events onto a state.
pub fn fold<'a, A: Aggregate>(state: A, records: impl IntoIterator<Item = &'a RecordedEvent<A::Event>>) -> A {
    records.into_iter().fold(state, A::evolve)
}

/// The id of a stream, with the type of its aggregate.
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

/// Encodes the state that is stored beside the newest events. It is only a cache, because the chunks contain the
/// events.
///
/// # Errors
///
/// The state cannot be serialised.
pub fn encode_snapshot<A: Aggregate>(state: &A) -> Result<String, serde_json::Error> {
    serde_json::to_string(&Snapshot { version: A::SNAPSHOT_VERSION, state })
}

/// Decodes the state of a snapshot. Returns `None` if its version differs, and the events must be folded instead.
pub fn decode_snapshot<A: Aggregate>(snapshot: &str) -> Option<A> {
    let Snapshot { version, state } = serde_json::from_str::<Snapshot<serde_json::Value>>(snapshot).ok()?;
    if version == A::SNAPSHOT_VERSION { serde_json::from_value(state).ok() } else { None }
}
