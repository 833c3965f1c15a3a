//! In: a scheduled event every minute. Out: a hint for every stream whose timer is due, delayed to the second.
//! May touch: the timer index, the work queues, the heartbeat; after a restart of the only process also streams.
//! Never: decides anything about a stream, because the handler of the hint does. The exception is the end of a lease
//! whose worker died with the process.

pub mod config;
mod resume;

use std::sync::Arc;

use application::hint::delay_s;
use domain::policy;
use domain::ports::{ClockAndRng, CoordinationStore, DueTimer, EventStore, Hint, StoreError, TIMER_SHARDS, WorkQueue};
use events::Timestamp;
use futures_util::stream::{self, StreamExt};

/// How far ahead timers are swept, in milliseconds. Their hints are sent with a delay, so that they arrive at the exact
/// second between two ticks.
pub const LOOKAHEAD_MS: i64 = 10 * 60_000;
/// Maximum number of timers that are read from one shard at once.
const PAGE: usize = 500;
/// Maximum number of pages from one shard in one sweep.
const MAX_PAGES: usize = 80;
/// Number of shards that are swept side by side.
const SHARDS_AT_ONCE: usize = 8;
/// Number of timers of one shard that are moved side by side.
const TIMERS_AT_ONCE: usize = 4;

/// The ports of the function.
#[derive(Clone)]
pub struct SweepHandler {
    pub store: Arc<dyn EventStore>,
    pub queue: Arc<dyn WorkQueue>,
    pub limits: Arc<dyn CoordinationStore>,
    pub host: Arc<dyn ClockAndRng>,
}

impl SweepHandler {
    /// Sends a hint for every due stream, then moves its timer. A crash in between sends a hint twice, which is
    /// harmless. Returns the number of hints.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the timers that were not reached are still due at the next tick.
    pub async fn sweep(&self) -> Result<usize, StoreError> {
        let shards = stream::iter(0..TIMER_SHARDS).map(|shard| self.sweep_shard(shard));
        let swept: Vec<Result<usize, StoreError>> = shards.buffer_unordered(SHARDS_AT_ONCE).collect().await;
        let sent = swept.into_iter().sum::<Result<usize, StoreError>>()?;
        self.limits.record_heartbeat("sweep", self.host.now()).await?;
        Ok(sent)
    }

    async fn sweep_shard(&self, shard: u8) -> Result<usize, StoreError> {
        let until = self.host.now() + LOOKAHEAD_MS;
        let (mut sent, mut after) = (0, None);
        for _ in 0..MAX_PAGES {
            let page = self.store.due_timers(shard, until, after.as_ref(), PAGE).await?;
            let now = self.host.now();
            // A hint is sent ahead of time only once. After that, the timer only repairs a lost hint, and waits until it
            // is due.
            let due: Vec<DueTimer> =
                page.timers.into_iter().filter(|due| due.hints_sent == 0 || due.wake <= now).collect();
            self.send(&due, now).await?;
            sent += due.len();
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(sent)
    }

    async fn send(&self, due: &[DueTimer], now: Timestamp) -> Result<(), StoreError> {
        if due.is_empty() {
            return Ok(());
        }
        let hints: Vec<(Hint, u32)> = due.iter().map(|due| (due.hint.clone(), delay_s(now, due.wake))).collect();
        self.queue.send(&hints).await?;
        let move_timer = |due: &DueTimer| {
            let (id, from, hints_sent) = (due.hint.stream.clone(), due.wake, due.hints_sent);
            async move {
                let to = from.max(now) + policy::repair_ms(hints_sent);
                self.store.reschedule_timer(&id, from, to, hints_sent + 1).await
            }
        };
        let moved: Vec<Result<(), StoreError>> =
            stream::iter(due.iter().map(move_timer)).buffer_unordered(TIMERS_AT_ONCE).collect().await;
        moved.into_iter().collect()
    }
}
