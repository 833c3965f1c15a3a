//! Brings a process as far as it can go now: does what it says is next, until it waits or is done.

use async_trait::async_trait;
use domain::aggregate::{Aggregate, AggregateId, AggregateKey};
use domain::ports::StoreError;
use domain::process::{Process, Step};

use crate::execute::{CommandExecutor, ExecuteError, Loaded};

/// The most steps of one invocation. A process that needs more is started again by its timer.
const MAX_STEPS: usize = 20;

/// Why a process got less far than it could have. Its timer starts it again.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0}")]
    Execute(String),
    #[error("it needs too many steps")]
    Endless,
}

impl<R: std::fmt::Display> From<ExecuteError<R>> for ProcessError {
    fn from(error: ExecuteError<R>) -> Self {
        match error {
            ExecuteError::Store(error) => ProcessError::Store(error),
            other => ProcessError::Execute(other.map_rejection(|rejection| rejection.to_string()).to_string()),
        }
    }
}

/// Carries out the effects of one kind of process.
#[async_trait]
pub trait Perform<P: Process>: Send + Sync {
    /// Repeating an effect changes nothing. Returns the stream if it was appended to.
    async fn perform(&self, key: &AggregateId<P>, effect: P::Effect) -> Result<Option<Loaded<P>>, ProcessError>;
}

/// Runs a process until it waits or is done, and sets its timer to the time that it waits for.
///
/// # Errors
///
/// [`ProcessError`]
pub async fn run<P: Process>(
    executor: &CommandExecutor<'_>,
    key: &AggregateId<P>,
    performer: &dyn Perform<P>,
) -> Result<(), ProcessError>
where
    <P as Aggregate>::Rejection: std::fmt::Display,
{
    let id = key.stream_id();
    let mut loaded = executor.load(key).await?;
    for _ in 0..MAX_STEPS {
        let mut step = loaded.state.next(&id, executor.host.now());
        let command = loop {
            match step {
                Step::Done => return Ok(()),
                Step::Wait(until) => {
                    if let Some(current) = loaded.wake.filter(|current| *current != until) {
                        executor.store.reschedule_timer(&id, current, until, 0).await?;
                    }
                    return Ok(());
                }
                Step::Do(command) => break command,
                Step::Emit { effect, then } => {
                    if let Some(after) = performer.perform(key, effect).await? {
                        loaded = after;
                    }
                    step = *then;
                }
            }
        };
        loaded = match executor.attempt(key, &loaded, command).await? {
            Some(after) => after,
            None => executor.load(key).await?,
        };
    }
    Err(ProcessError::Endless)
}
