//! In: a scheduled event every minute. Out: a hint for every stream whose timer is due, delayed to the second.
//! May touch: the timer index, the work queues, the heartbeat.
//! Never: decides anything about a stream, because the handler of the hint does.

pub mod config;

use std::sync::Arc;

use application::hint::delay_s;
use domain::policy;
use domain::ports::{ClockAndRng, CoordinationStore, DueTimer, EventStore, Hint, StoreError, TIMER_SHARDS, WorkQueue};
use events::Timestamp;

/// How far ahead timers are swept, in milliseconds. Their hints are sent with a delay, so that they arrive at the exact
/// second between two ticks.
pub const LOOKAHEAD_MS: i64 = 10 * 60_000;
/// Maximum number of timers that are read from one shard at once.
const BATCH_SIZE: usize = 2_000;
/// Maximum number of batches from one shard in one sweep.
const MAX_BATCHES: usize = 20;

/// The ports of the function.
#[derive(Clone)]
pub struct SweepHandler {
    pub store: Arc<dyn EventStore>,
    pub queue: Arc<dyn WorkQueue>,
    pub limits: Arc<dyn CoordinationStore>,
    pub host: Arc<dyn ClockAndRng>,
}

/// Why a sweep runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SweepReason {
    /// The scheduled run of every minute.
    Tick,
    /// The process restarted and its queues were lost, so every hint is sent at once, even if it is not due.
    Restart,
}

impl SweepHandler {
    /// Sends a hint for every due stream, then moves its timer. A crash in between sends a hint twice, which is
    /// harmless. Returns the number of hints.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: the timers that were not reached are still due at the next tick.
    pub async fn sweep(&self, reason: SweepReason) -> Result<usize, StoreError> {
        let mut sent = 0;
        let limit = if reason == SweepReason::Restart { usize::MAX } else { BATCH_SIZE };
        for shard in 0..TIMER_SHARDS {
            for _ in 0..MAX_BATCHES {
                let now = self.host.now();
                let mut due = self.store.due_timers(shard, now + LOOKAHEAD_MS, limit).await?;
                let is_last = due.len() < limit;
                // A hint is sent ahead of time only once. After that, the timer only repairs a lost hint, and waits
                // until it is due.
                due.retain(|due| due.hints_sent == 0 || due.wake <= now || reason == SweepReason::Restart);
                self.send(&due, now, reason).await?;
                sent += due.len();
                if is_last || due.is_empty() {
                    break;
                }
            }
        }
        self.limits.record_heartbeat("sweep", self.host.now()).await?;
        Ok(sent)
    }

    async fn send(&self, due: &[DueTimer], now: Timestamp, reason: SweepReason) -> Result<(), StoreError> {
        if due.is_empty() {
            return Ok(());
        }
        let delay = |wake: Timestamp| match reason {
            SweepReason::Restart => 0,
            SweepReason::Tick => delay_s(now, wake),
        };
        let hints: Vec<(Hint, u32)> = due.iter().map(|due| (due.hint.clone(), delay(due.wake))).collect();
        self.queue.send(&hints).await?;
        for due in due {
            let wake = due.wake.max(now) + policy::repair_ms(due.hints_sent);
            self.store.reschedule_timer(&due.hint.stream, due.wake, wake, due.hints_sent + 1).await?;
        }
        Ok(())
    }
}
