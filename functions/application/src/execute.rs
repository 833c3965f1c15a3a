//! Loads a stream, decides on a command and appends the events: the same for every kind of stream.

use domain::aggregate::{Aggregate, AggregateKey, decode_snapshot, encode_snapshot, fold};
use domain::communication::{self, State};
use domain::ports::{
    AppendError, AppendRequest, ClockAndRng, EventStore, Listed, Listing, RollOver, StoreError, Stream,
};
use events::{EventFamily, EventMetadata, RecordedEvent, StreamId, TenantId, Timestamp};

/// Appends in a row that may be lost to other writers before a command fails.
const MAX_CONFLICT_RETRIES: usize = 5;
/// The share of a stream's item that optional commands can fill, in percent.
const OPTIONAL_SHARE: usize = 80;

/// Why a command had no effect.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError<R = communication::Rejection> {
    /// The decision was no, and a retry would not change it.
    #[error("{0}")]
    Rejected(R),
    /// Nothing was stored. A retry may succeed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It is unknown whether the events were stored. A retry with the same idempotency key is safe.
    #[error("unknown whether stored: {0}")]
    OutcomeUnknown(String),
    /// Other writers were always first.
    #[error("the stream is contended")]
    Contended,
    /// One append is larger than an item can be.
    #[error("the stream is full")]
    StreamFull,
}

impl<R> ExecuteError<R> {
    /// The same error with another type of rejection.
    pub fn map_rejection<T>(self, map: impl FnOnce(R) -> T) -> ExecuteError<T> {
        match self {
            ExecuteError::Rejected(rejection) => ExecuteError::Rejected(map(rejection)),
            ExecuteError::Store(error) => ExecuteError::Store(error),
            ExecuteError::OutcomeUnknown(why) => ExecuteError::OutcomeUnknown(why),
            ExecuteError::Contended => ExecuteError::Contended,
            ExecuteError::StreamFull => ExecuteError::StreamFull,
        }
    }
}

impl From<communication::Rejection> for ExecuteError {
    fn from(rejection: communication::Rejection) -> Self {
        ExecuteError::Rejected(rejection)
    }
}

/// The actor and the cause of a command.
#[derive(Debug, Clone, Default)]
pub struct CommandContext {
    pub actor: String,
    pub correlation: Option<String>,
    pub causation: Option<String>,
    pub traceparent: Option<String>,
}

impl CommandContext {
    /// The context of a function that acts by itself. The actor is its name, such as `deliver`, or its name and a part
    /// of it, such as `webhook:twilio`.
    pub fn function(name: &str) -> Self {
        CommandContext { actor: name.to_owned(), ..CommandContext::default() }
    }
}

/// A stream, read and folded.
#[derive(Debug, Clone)]
pub struct Loaded<A: Aggregate = State> {
    pub state: A,
    /// The newest events: all of them, unless the stream has rolled over. See [`history`].
    pub records: Vec<RecordedEvent<A::Event>>,
    /// How many events the stream has ever had.
    pub version: u64,
    pub wake: Option<Timestamp>,
    /// How many of the records the command added; 0 if it changed nothing.
    pub appended: usize,
    /// The records as stored, which a roll-over archives.
    lines: Vec<String>,
    /// Size of the stored snapshot.
    snapshot_bytes: usize,
    writer_id: String,
}

/// A stream that does not exist.
impl<A: Aggregate> Default for Loaded<A> {
    fn default() -> Self {
        Loaded {
            state: A::default(),
            records: Vec::new(),
            version: 0,
            wake: None,
            appended: 0,
            lines: Vec::new(),
            snapshot_bytes: 0,
            writer_id: String::new(),
        }
    }
}

impl<A: Aggregate> Loaded<A> {
    async fn from_stream(store: &dyn EventStore, id: &StreamId, stream: Stream) -> Result<Self, StoreError> {
        let records = decode::<A::Event>(&stream.lines)?;
        let snapshot = stream.snapshot.as_deref();
        let state = match snapshot.map(decode_snapshot::<A>) {
            None => fold(A::default(), &records),
            Some(Some(state)) => fold(state, &records),
            // Another version of this software wrote the snapshot. The events are still there.
            Some(None) => fold(A::default(), &decode::<A::Event>(&store.read_history(id).await?)?),
        };
        let snapshot_bytes = snapshot.map_or(0, str::len);
        let Stream { version, lines, wake, writer_id, .. } = stream;
        Ok(Loaded { state, records, version, wake, appended: 0, lines, snapshot_bytes, writer_id })
    }

    fn has_rolled_over(&self) -> bool {
        (self.records.len() as u64) < self.version
    }

    /// Size of the stream's item.
    fn item_bytes(&self) -> usize {
        self.snapshot_bytes + self.lines.iter().map(String::len).sum::<usize>()
    }

    /// The roll-over that this append carries out, if the stream's item holds enough events for one, or has no room for
    /// `more` bytes.
    fn roll_over(&self, more: usize, max_bytes: usize) -> Option<RollOver> {
        let held = self.item_bytes() - self.snapshot_bytes;
        if held == 0 || held < A::ROLL_OVER_BYTES && self.item_bytes() + more < max_bytes / 2 {
            return None;
        }
        // A state that does not serialise stays in its events, until the item is full.
        let snapshot = encode_snapshot(&self.state).ok()?;
        Some(RollOver { snapshot, archived: self.lines.clone() })
    }

    fn append_request(
        &self,
        events: &[A::Event],
        meta: &EventMetadata,
        max_bytes: usize,
    ) -> (AppendRequest, Loaded<A>) {
        let encoded_events: Vec<String> = events.iter().map(|event| events::encode(event, meta)).collect();
        let new: Vec<RecordedEvent<A::Event>> = events
            .iter()
            .map(|event| RecordedEvent {
                version: A::Event::version_of(event.name()).unwrap_or(1),
                meta: meta.clone(),
                event: event.clone(),
            })
            .collect();
        let state = fold(self.state.clone(), &new);
        let listing = match (self.state.is_listed(), state.is_listed()) {
            (false, true) => Listing::Add,
            (true, false) => Listing::Remove,
            (true, true) | (false, false) => Listing::Unchanged,
        };
        let roll_over = self.roll_over(encoded_events.iter().map(String::len).sum(), max_bytes);
        let kept = if roll_over.is_some() { 0 } else { self.records.len() };
        let after = Loaded {
            wake: state.wake(meta.at, self.wake),
            version: self.version + events.len() as u64,
            appended: events.len(),
            records: self.records[..kept].iter().cloned().chain(new).collect(),
            lines: self.lines[..kept].iter().chain(&encoded_events).cloned().collect(),
            snapshot_bytes: roll_over.as_ref().map_or(self.snapshot_bytes, |roll_over| roll_over.snapshot.len()),
            writer_id: meta.command.clone(),
            state,
        };
        let request = AppendRequest {
            expected_version: self.version,
            encoded_events,
            wake: after.wake,
            queue: after.state.queue(),
            writer_id: meta.command.clone(),
            listing,
            roll_over,
            unmoved: Vec::new(),
        };
        (request, after)
    }
}

/// Decodes stored events.
///
/// # Errors
///
/// [`StoreError::Unreadable`]: a newer version wrote one of them.
pub fn decode<E: EventFamily>(lines: &[String]) -> Result<Vec<RecordedEvent<E>>, StoreError> {
    let records = lines.iter().map(|line| events::decode(line));
    records.collect::<Result<_, _>>().map_err(|error| StoreError::Unreadable(error.to_string()))
}

/// # Errors
///
/// [`StoreError`]: the store does not answer, or holds what this version cannot read.
pub async fn load<K: AggregateKey>(store: &dyn EventStore, key: &K) -> Result<Loaded<K::Aggregate>, StoreError> {
    let id = key.stream_id();
    let stream = store.read(&id).await?;
    Loaded::from_stream(store, &id, stream).await
}

/// Every event of a stream, also those that were moved to chunks.
///
/// # Errors
///
/// As [`load`].
pub async fn history<K: AggregateKey>(
    store: &dyn EventStore,
    key: &K,
) -> Result<Vec<RecordedEvent<<K::Aggregate as Aggregate>::Event>>, StoreError> {
    decode(&store.read_history(&key.stream_id()).await?)
}

/// Every event of a stream that was loaded already. Reads nothing unless the stream has rolled over.
///
/// # Errors
///
/// As [`load`].
pub async fn history_of<K: AggregateKey>(
    store: &dyn EventStore,
    key: &K,
    loaded: &Loaded<K::Aggregate>,
) -> Result<Vec<RecordedEvent<<K::Aggregate as Aggregate>::Event>>, StoreError> {
    if loaded.has_rolled_over() { history(store, key).await } else { Ok(loaded.records.clone()) }
}

/// Every event of a stream that was read with others. Reads nothing unless the stream has rolled over.
///
/// # Errors
///
/// As [`load`].
pub async fn history_of_stream<E: EventFamily>(
    store: &dyn EventStore,
    id: &StreamId,
    stream: &Stream,
) -> Result<Vec<RecordedEvent<E>>, StoreError> {
    if stream.first() == 0 { decode(&stream.lines) } else { decode(&store.read_history(id).await?) }
}

/// The state of a stream that was read with others.
///
/// # Errors
///
/// As [`load`].
pub async fn state_of<A: Aggregate>(store: &dyn EventStore, id: &StreamId, stream: Stream) -> Result<A, StoreError> {
    Ok(Loaded::<A>::from_stream(store, id, stream).await?.state)
}

/// The states of a tenant's listed streams of one kind, by id.
///
/// # Errors
///
/// As [`load`].
pub async fn list<A: Aggregate>(store: &dyn EventStore, tenant: &TenantId) -> Result<Vec<(String, A)>, StoreError> {
    list_streams(store, tenant, Listed::Current).await
}

/// The states of a tenant's streams of one kind, by id: the listed ones, or all that it has ever had.
///
/// # Errors
///
/// As [`load`].
pub async fn list_streams<A: Aggregate>(
    store: &dyn EventStore,
    tenant: &TenantId,
    listed: Listed,
) -> Result<Vec<(String, A)>, StoreError> {
    let mut states = Vec::new();
    for (id, stream) in store.list(tenant, &[A::KIND], listed).await? {
        let state = state_of(store, &id, stream).await?;
        states.push((id.id, state));
    }
    Ok(states)
}

/// Executes commands. It holds the two ports that every command needs, and the context of the commands.
#[derive(Clone, Copy)]
pub struct CommandExecutor<'a> {
    pub store: &'a dyn EventStore,
    pub host: &'a dyn ClockAndRng,
    pub origin: &'a CommandContext,
}

/// What a command of an aggregate can fail with.
type Failure<A> = ExecuteError<<A as Aggregate>::Rejection>;

impl CommandExecutor<'_> {
    /// # Errors
    ///
    /// As [`load`].
    pub async fn load<K: AggregateKey>(&self, key: &K) -> Result<Loaded<K::Aggregate>, StoreError> {
        load(self.store, key).await
    }

    /// Decides on a loaded stream and appends once. Returns `None` if another writer was first.
    ///
    /// # Errors
    ///
    /// [`ExecuteError`], except for `Contended`.
    pub async fn try_execute<K: AggregateKey>(
        &self,
        key: &K,
        loaded: &Loaded<K::Aggregate>,
        command: <K::Aggregate as Aggregate>::Command,
    ) -> Result<Option<Loaded<K::Aggregate>>, Failure<K::Aggregate>> {
        self.try_execute_if(key, loaded, command, &[]).await
    }

    /// As [`CommandExecutor::try_execute`], if other streams are still at the versions that the decision is based on.
    ///
    /// # Errors
    ///
    /// [`ExecuteError`], except for `Contended`.
    pub async fn try_execute_if<K: AggregateKey>(
        &self,
        key: &K,
        loaded: &Loaded<K::Aggregate>,
        command: <K::Aggregate as Aggregate>::Command,
        unmoved: &[(StreamId, u64)],
    ) -> Result<Option<Loaded<K::Aggregate>>, Failure<K::Aggregate>> {
        let is_optional = K::Aggregate::is_optional(&command);
        let events = loaded.state.decide(command).map_err(ExecuteError::Rejected)?;
        if events.is_empty() {
            return Ok(Some(Loaded { appended: 0, ..loaded.clone() }));
        }
        let at = self.host.now();
        let meta = EventMetadata {
            at,
            command: format!("{:016x}", self.host.random() as u64),
            correlation: self.origin.correlation.clone(),
            causation: self.origin.causation.clone(),
            actor: self.origin.actor.clone(),
            traceparent: self.origin.traceparent.clone(),
        };
        let max_bytes = self.store.max_stream_bytes();
        let (request, after) = loaded.append_request(&events, &meta, max_bytes);
        if is_optional && max_bytes * OPTIONAL_SHARE / 100 < after.item_bytes() {
            return Err(ExecuteError::StreamFull);
        }
        let request = AppendRequest { unmoved: unmoved.to_vec(), ..request };
        match self.store.append(&key.stream_id(), request).await {
            Ok(()) => Ok(Some(after)),
            Err(AppendError::Conflict) => Ok(None),
            Err(AppendError::TooLarge) => Err(ExecuteError::StreamFull),
            Err(AppendError::NotApplied(why)) => Err(StoreError::Unavailable(why).into()),
            // The response was lost. The stream itself says whether the events were stored.
            Err(AppendError::Unknown(why)) => match self.load(key).await {
                Ok(found) if found.writer_id == after.writer_id => Ok(Some(after)),
                Ok(found) if found.version == loaded.version => Ok(None),
                _ => Err(ExecuteError::OutcomeUnknown(why)),
            },
        }
    }

    /// Moves the timer of a loaded stream, unless a command has moved it meanwhile.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn wait_until<K: AggregateKey>(
        &self,
        key: &K,
        loaded: &Loaded<K::Aggregate>,
        until: Timestamp,
    ) -> Result<(), StoreError> {
        match loaded.wake {
            Some(current) if current != until => self.store.reschedule_timer(&key.stream_id(), current, until, 0).await,
            Some(_) | None => Ok(()),
        }
    }

    /// Sets the timer of a loaded stream, also if it has none. Returns false if the stream has changed meanwhile.
    ///
    /// # Errors
    ///
    /// [`StoreError`]
    pub async fn restore_timer<K: AggregateKey>(
        &self,
        key: &K,
        loaded: &Loaded<K::Aggregate>,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        let id = key.stream_id();
        if let Some(current) = loaded.wake {
            self.store.reschedule_timer(&id, current, at, 0).await?;
            return Ok(true);
        }
        let request = AppendRequest {
            expected_version: loaded.version,
            encoded_events: Vec::new(),
            wake: Some(at),
            queue: loaded.state.queue(),
            writer_id: format!("{:016x}", self.host.random() as u64),
            listing: Listing::Unchanged,
            roll_over: None,
            unmoved: Vec::new(),
        };
        match self.store.append(&id, request).await {
            Ok(()) => Ok(true),
            Err(AppendError::Conflict) => Ok(false),
            Err(error) => Err(StoreError::Unavailable(error.to_string())),
        }
    }

    /// Loads the stream, decides and appends, and starts again if another writer was first. A repeated command appends
    /// nothing.
    ///
    /// # Errors
    ///
    /// [`ExecuteError`]
    pub async fn execute<K: AggregateKey>(
        &self,
        key: &K,
        command: <K::Aggregate as Aggregate>::Command,
    ) -> Result<Loaded<K::Aggregate>, Failure<K::Aggregate>> {
        let loaded = self.load(key).await?;
        self.execute_loaded(key, loaded, command).await
    }

    /// Executes a command on a stream that is already loaded.
    ///
    /// # Errors
    ///
    /// As [`CommandExecutor::execute`].
    pub async fn execute_loaded<K: AggregateKey>(
        &self,
        key: &K,
        mut loaded: Loaded<K::Aggregate>,
        command: <K::Aggregate as Aggregate>::Command,
    ) -> Result<Loaded<K::Aggregate>, Failure<K::Aggregate>> {
        for _ in 0..MAX_CONFLICT_RETRIES {
            if let Some(done) = self.try_execute(key, &loaded, command.clone()).await? {
                return Ok(done);
            }
            loaded = self.load(key).await?;
        }
        Err(ExecuteError::Contended)
    }
}
