//! Runs a process: carries out its next effects and commands until it waits or is done.

use async_trait::async_trait;
use domain::aggregate::{Aggregate, AggregateKey};
use domain::ports::StoreError;
use domain::process::{Process, Step};
use events::Timestamp;

use crate::execute::{CommandExecutor, ExecuteError, Loaded};

/// The most steps of one invocation. A process that needs more is started again by its timer.
const MAX_STEPS: usize = 20;

/// Why a process got less far than it could have. Its timer starts it again.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Execute(ExecuteError<String>),
    #[error("it needs too many steps")]
    Endless,
}

impl ProcessError {
    /// Whether this version cannot read what is stored, or cannot store what it decided: another try fails in the same
    /// way.
    pub fn is_permanent(&self) -> bool {
        match self {
            ProcessError::Store(error) | ProcessError::Execute(ExecuteError::Store(error)) => {
                matches!(error, StoreError::Unreadable(_))
            }
            ProcessError::Execute(ExecuteError::StreamFull) => true,
            ProcessError::Execute(_) | ProcessError::Endless => false,
        }
    }
}

impl<R: std::fmt::Display> From<ExecuteError<R>> for ProcessError {
    fn from(error: ExecuteError<R>) -> Self {
        match error {
            ExecuteError::Store(error) => ProcessError::Store(error),
            other => ProcessError::Execute(other.map_rejection(|rejection| rejection.to_string())),
        }
    }
}

/// Carries out the effects of one process.
#[async_trait]
pub trait Perform<P: Process>: Send + Sync {
    /// Carries out an effect. Repeating it changes nothing. Returns the process if an event was appended to it.
    async fn perform(&self, loaded: &Loaded<P>, effect: P::Effect) -> Result<Option<Loaded<P>>, ProcessError>;
}

/// How far a process got in one step.
pub enum Progress<P: Process> {
    /// There may be more to do.
    Advanced(Loaded<P>),
    Waits {
        loaded: Loaded<P>,
        until: Timestamp,
    },
    Done,
}

/// Carries out one step: an effect, and then at most one command.
///
/// # Errors
///
/// [`ProcessError`]
pub async fn advance<K: AggregateKey>(
    executor: &CommandExecutor<'_>,
    key: &K,
    mut loaded: Loaded<K::Aggregate>,
    performer: &dyn Perform<K::Aggregate>,
) -> Result<Progress<K::Aggregate>, ProcessError>
where
    K::Aggregate: Process,
    <K::Aggregate as Aggregate>::Rejection: std::fmt::Display,
{
    let mut step = loaded.state.next(&key.stream_id(), executor.host.now());
    loop {
        match step {
            Step::Done => return Ok(Progress::Done),
            Step::Wait(until) => return Ok(Progress::Waits { loaded, until }),
            Step::Do(command) => {
                let after = executor.try_execute(key, &loaded, command).await?;
                return Ok(Progress::Advanced(match after {
                    Some(after) => after,
                    None => executor.load(key).await?,
                }));
            }
            Step::Emit { effect, then } => {
                if let Some(after) = performer.perform(&loaded, effect).await? {
                    loaded = after;
                }
                step = *then;
            }
        }
    }
}

/// Runs a process until it waits or is done, and sets its timer to the time that it waits for.
///
/// # Errors
///
/// [`ProcessError`]
pub async fn run<K: AggregateKey>(
    executor: &CommandExecutor<'_>,
    key: &K,
    performer: &dyn Perform<K::Aggregate>,
) -> Result<(), ProcessError>
where
    K::Aggregate: Process,
    <K::Aggregate as Aggregate>::Rejection: std::fmt::Display,
{
    let mut loaded = executor.load(key).await?;
    for _ in 0..MAX_STEPS {
        match advance(executor, key, loaded, performer).await? {
            Progress::Done => return Ok(()),
            Progress::Waits { loaded, until } => return Ok(executor.wait_until(key, &loaded, until).await?),
            Progress::Advanced(after) => loaded = after,
        }
    }
    Err(ProcessError::Endless)
}
