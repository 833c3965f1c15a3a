//! The beat that every door plays: load, decide, append; and what doors share at their edges.

pub mod app;
pub mod cache;
pub mod caller;
pub mod consent;
pub mod directory;
pub mod files;
pub mod gate;
pub mod hash;
pub mod hint;
pub mod journal;
pub mod library;
pub mod messages;
pub mod problem;
pub mod settings;
pub mod suppression;
pub mod time;

pub use app::App;
pub use caller::{Actor, Caller};

use domain::communication::{self, Command, Rejection, State, decide, evolve};
use domain::ports::{Append, AppendError, ClockAndRng, EventStore, QueueId, StoreError, Stream, StreamKey};
use events::{EventMetadata, Priority, RecordedEvent, Timestamp};

/// Lost races in a row before a caller is told to come again.
const MAX_CONFLICT_RETRIES: usize = 5;

/// Why a command had no effect.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The answer is no, and will be no again.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Try again later: nothing is lost.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Nobody can say whether it was stored. Ask again with the same key.
    #[error("unknown whether stored: {0}")]
    OutcomeUnknown(String),
    /// Others were always first.
    #[error("the stream is contended")]
    Contended,
    #[error("the stream is full")]
    StreamFull,
}

/// Who does something, and what made them.
#[derive(Debug, Clone, Default)]
pub struct CommandContext {
    pub actor: String,
    pub correlation: Option<String>,
    pub causation: Option<String>,
    pub traceparent: Option<String>,
}

impl CommandContext {
    /// A function acting by itself.
    pub fn function(name: &str) -> Self {
        CommandContext { actor: name.to_owned(), ..CommandContext::default() }
    }
}

/// A stream, read and folded.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    pub state: State,
    pub records: Vec<RecordedEvent>,
    pub wake: Option<Timestamp>,
    /// How many of the records this command added; 0 when it was already so.
    pub appended: usize,
    writer: String,
}

/// The two ports that every command needs, and who gives it.
#[derive(Clone, Copy)]
pub struct CommandExecutor<'a> {
    pub store: &'a dyn EventStore,
    pub host: &'a dyn ClockAndRng,
    pub origin: &'a CommandContext,
}

/// Every stored line of a stream.
///
/// # Errors
///
/// [`StoreError::Unreadable`]: a line was written by a newer version.
pub fn decode(stream: &Stream) -> Result<Vec<RecordedEvent>, StoreError> {
    let lines = stream.lines.iter().map(|line| events::decode(line));
    lines.collect::<Result<_, _>>().map_err(|error| StoreError::Unreadable(error.to_string()))
}

/// The queue lane of a communication.
pub fn lane(state: &State) -> Option<QueueId> {
    let request = &state.requested().ok()?.request;
    let high = matches!(request.priority, Priority::High | Priority::Urgent);
    Some(QueueId { channel: request.channel, high })
}

impl CommandExecutor<'_> {
    /// # Errors
    ///
    /// [`StoreError`]: the store does not answer, or holds what this version cannot read.
    pub async fn load(&self, key: &StreamKey) -> Result<Loaded, StoreError> {
        let stream = self.store.read(key).await?;
        let records = decode(&stream)?;
        let state = records.iter().fold(State::default(), |state, r| evolve(state, &r.event));
        Ok(Loaded { state, records, wake: stream.wake, appended: 0, writer: stream.writer })
    }

    /// Decides on what is loaded and appends once. None: somebody else was first.
    ///
    /// # Errors
    ///
    /// [`ExecuteError`], but for `Contended`.
    pub async fn attempt(
        &self,
        key: &StreamKey,
        loaded: &Loaded,
        command: Command,
    ) -> Result<Option<Loaded>, ExecuteError> {
        let events = decide(&loaded.state, command)?;
        if events.is_empty() {
            return Ok(Some(Loaded { appended: 0, ..loaded.clone() }));
        }
        let now = self.host.now();
        let state = events.iter().fold(loaded.state.clone(), evolve);
        let writer = format!("{:016x}", self.host.random() as u64);
        let meta = EventMetadata {
            at: now,
            command: writer.clone(),
            correlation: self.origin.correlation.clone(),
            causation: self.origin.causation.clone(),
            actor: self.origin.actor.clone(),
            traceparent: self.origin.traceparent.clone(),
        };
        let expected = loaded.records.len() as u64;
        let wake = communication::wake(&state, now, loaded.wake);
        let append = Append {
            expected,
            lines: events.iter().map(|event| events::encode(event, &meta)).collect(),
            wake,
            lane: lane(&state).ok_or(Rejection::NotRequested)?,
            writer: writer.clone(),
        };
        let stored = self.store.append(key, append).await;
        let appended = events.len();
        let new = events.into_iter().map(|event| RecordedEvent { version: 1, meta: meta.clone(), event });
        let records = loaded.records.iter().cloned().chain(new).collect();
        let after = Loaded { state, records, wake, appended, writer };
        match stored {
            Ok(()) => Ok(Some(after)),
            Err(AppendError::Conflict) => Ok(None),
            Err(AppendError::TooLarge) => Err(ExecuteError::StreamFull),
            Err(AppendError::NotApplied(why)) => Err(StoreError::Unavailable(why).into()),
            // The answer was lost: the stream itself says whether it was written.
            Err(AppendError::Unknown(why)) => match self.load(key).await {
                Ok(found) if found.writer == after.writer => Ok(Some(after)),
                Ok(found) if found.records.len() as u64 == expected => Ok(None),
                _ => Err(ExecuteError::OutcomeUnknown(why)),
            },
        }
    }

    /// Loads the stream, decides, appends; again when somebody else was first. A repeated command appends nothing.
    ///
    /// # Errors
    ///
    /// [`ExecuteError`]: what each means for the caller is its own line.
    pub async fn execute(&self, key: &StreamKey, command: Command) -> Result<Loaded, ExecuteError> {
        let loaded = self.load(key).await?;
        self.execute_loaded(key, loaded, command).await
    }

    /// The same, beginning with a stream already loaded.
    ///
    /// # Errors
    ///
    /// As [`CommandExecutor::execute`].
    pub async fn execute_loaded(
        &self,
        key: &StreamKey,
        mut loaded: Loaded,
        command: Command,
    ) -> Result<Loaded, ExecuteError> {
        for _ in 0..MAX_CONFLICT_RETRIES {
            if let Some(done) = self.attempt(key, &loaded, command.clone()).await? {
                return Ok(done);
            }
            loaded = self.load(key).await?;
        }
        Err(ExecuteError::Contended)
    }
}
