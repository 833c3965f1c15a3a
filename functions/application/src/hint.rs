//! Hints: queue messages that name a stream and nothing else.

use domain::aggregate::{Aggregate, AggregateKey};
use domain::ports::{ClockAndRng, CommunicationKey, Hint, MAX_QUEUE_DELAY_S, QueueId, StoreError, WorkQueue};
use events::Timestamp;

use crate::Loaded;

/// One message of a batch, whatever queue it came from.
#[derive(Debug, Clone)]
pub struct QueueMessage {
    pub id: String,
    pub body: String,
}

/// Whole seconds from `now` until `due`, rounded up, so that a hint never arrives early.
pub fn delay_s(now: Timestamp, due: Timestamp) -> u32 {
    let wait_ms = due.millis_since(now).max(0) as u64;
    u32::try_from(wait_ms.div_ceil(1_000)).unwrap_or(u32::MAX)
}

/// Sends the hint of a stream to `to`, to be delivered when it is due. Sends nothing if that is further ahead than a
/// queue can delay a message: the sweep, which looks ten minutes ahead, sends it then.
///
/// # Errors
///
/// [`StoreError`]: the hint was not sent. The stream's timer repairs that.
pub async fn send<K: AggregateKey>(
    queue: &dyn WorkQueue,
    host: &dyn ClockAndRng,
    key: &K,
    to: QueueId,
    due: Timestamp,
) -> Result<(), StoreError> {
    let delay = delay_s(host.now(), due);
    if MAX_QUEUE_DELAY_S < delay {
        return Ok(());
    }
    queue.send(&[(Hint { queue: to, stream: key.stream_id() }, delay)]).await
}

/// As [`send`], best effort: the stream has a timer that repairs a lost hint.
pub async fn try_send<K: AggregateKey>(
    queue: &dyn WorkQueue,
    host: &dyn ClockAndRng,
    key: &K,
    to: QueueId,
    due: Timestamp,
) {
    if let Err(error) = send(queue, host, key, to, due).await {
        tracing::warn!(id = key.stream_id().id, %error, "a hint was not sent; the sweep will send it");
    }
}

/// Sends a hint if reports made a fallback due, best effort: the stream's timer sends the same hint a minute later.
pub async fn try_send_if_fallback_due(
    queue: &dyn WorkQueue,
    host: &dyn ClockAndRng,
    key: &CommunicationKey,
    updated: &Loaded,
) {
    let now = host.now();
    if updated.state.requested().is_ok_and(|communication| communication.is_fallback_due(now)) {
        try_send(queue, host, key, updated.state.queue(), now).await;
    }
}
