//! In: a tick. Out: a hint for every stream whose timer is due, to the second.
//! May touch: the timer index, the queue, the heartbeat.
//! Never: decides anything about a communication; the hint's consumer does.

pub mod config;

use std::sync::Arc;

use domain::policy;
use domain::ports::{ClockAndRng, CoordinationStore, DueTimer, EventStore, Hint, StoreError, TIMER_SHARDS, WorkQueue};
use events::Timestamp;

/// Timers up to this far ahead are sent with a delay, so that they fire to the second between ticks.
pub const LOOKAHEAD_MS: i64 = 10 * 60_000;
/// Timers of one shard looked at together.
const BATCH_SIZE: usize = 2_000;
/// Rounds over one shard in one sweep.
const MAX_ROUNDS: usize = 20;

/// Everything the door may touch.
#[derive(Clone)]
pub struct SweepHandler {
    pub store: Arc<dyn EventStore>,
    pub queue: Arc<dyn WorkQueue>,
    pub limits: Arc<dyn CoordinationStore>,
    pub host: Arc<dyn ClockAndRng>,
}

/// What a sweep is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SweepReason {
    /// Every minute.
    Tick,
    /// The queues were lost: every hint goes out at once, early ones too.
    Restart,
}

impl SweepHandler {
    /// Sends a hint for every due stream, then moves its timer. A crash between the two sends a hint twice, which is
    /// harmless. Returns how many were sent.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: what was not reached is still due at the next tick.
    pub async fn sweep(&self, why: SweepReason) -> Result<usize, StoreError> {
        let mut sent = 0;
        let most = if why == SweepReason::Restart { usize::MAX } else { BATCH_SIZE };
        for shard in 0..TIMER_SHARDS {
            for _ in 0..MAX_ROUNDS {
                let now = self.host.now();
                let mut due = self.store.due_timers(shard, now + LOOKAHEAD_MS, most).await?;
                let all = due.len() < most;
                // A hint ahead of its time is sent once; after that the timer is a repair, and waits until it is due.
                due.retain(|due| due.hints_sent == 0 || due.wake <= now || why == SweepReason::Restart);
                self.send(&due, now, why).await?;
                sent += due.len();
                if all || due.is_empty() {
                    break;
                }
            }
        }
        self.limits.record_heartbeat("sweep", self.host.now()).await?;
        Ok(sent)
    }

    async fn send(&self, due: &[DueTimer], now: Timestamp, why: SweepReason) -> Result<(), StoreError> {
        if due.is_empty() {
            return Ok(());
        }
        let delay = |wake: Timestamp| match why {
            SweepReason::Restart => 0,
            SweepReason::Tick => (wake.millis_since(now).max(0) + 999).div_euclid(1_000) as u32,
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
