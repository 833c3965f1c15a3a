//! Compiling and rendering callers' text without holding up other requests.
//!
//! Small work is done at once. Larger work waits for one of a few places and runs on a thread of its own, so that a core
//! is left for everything else. The limits of `domain::render` bound how long it takes there.

use std::num::NonZeroUsize;
use std::sync::LazyLock;
use std::thread::available_parallelism;
use std::time::Duration;

use domain::message::RenderedMessage;
use domain::render::{CompiledTemplate, MAX_STEPS, RenderError, TemplatePart, compile_cost};
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// The cost up to which text is compiled at once. It takes about two milliseconds.
const SMALL_COMPILE_COST: usize = 300_000;
/// The steps in which a message is rendered at once. They take about two milliseconds.
const SMALL_STEPS: usize = 5_000;
/// How long large work waits for a place.
const MAX_WAIT: Duration = Duration::from_secs(3);

/// The places for large work: one fewer than there are cores.
static PLACES: LazyLock<Semaphore> = LazyLock::new(|| {
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    Semaphore::new(cores.saturating_sub(1).max(1))
});

/// Too much large text is being rendered. A retry may succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many large texts are being rendered")]
pub struct Busy;

/// Compiles text that a caller wrote.
///
/// # Errors
///
/// [`Busy`]. The inner error is that of [`CompiledTemplate::new`].
pub async fn compile(
    subject: Option<&str>,
    body: &str,
) -> Result<Result<CompiledTemplate, (TemplatePart, RenderError)>, Busy> {
    // Text that passes a limit is refused before it is parsed.
    let cost = |text: &str| compile_cost(text).unwrap_or(0);
    if cost(body) + subject.map_or(0, cost) <= SMALL_COMPILE_COST {
        return Ok(CompiledTemplate::new(subject, body));
    }
    let (subject, body) = (subject.map(str::to_owned), body.to_owned());
    run_apart(move || CompiledTemplate::new(subject.as_deref(), &body)).await
}

/// Renders a message in at most the number of steps that the closures are called with. `apart` is asked for a job that
/// owns what it renders, if the message is too large to be rendered at once.
///
/// # Errors
///
/// [`Busy`]. The inner error is that of the job.
pub async fn render<Job>(
    at_once: impl FnOnce(usize) -> Result<RenderedMessage, RenderError>,
    apart: impl FnOnce() -> Job,
) -> Result<Result<RenderedMessage, RenderError>, Busy>
where
    Job: FnOnce(usize) -> Result<RenderedMessage, RenderError> + Send + 'static,
{
    match at_once(SMALL_STEPS) {
        Err(RenderError::TooManySteps) => {
            let job = apart();
            run_apart(move || job(MAX_STEPS)).await
        }
        done => Ok(done),
    }
}

async fn run_apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Busy> {
    let place = timeout(MAX_WAIT, PLACES.acquire()).await.map_err(|_| Busy)?.map_err(|_| Busy)?;
    let work = move || {
        let done = work();
        // The work holds its place to its end, even if nobody waits for it any longer.
        drop(place);
        done
    };
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "rendering failed");
        Busy
    })
}
