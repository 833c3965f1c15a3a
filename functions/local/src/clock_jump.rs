//! Moves the clock far ahead, as if the time had passed: it stops at every timer on its way.

use std::time::{Duration, Instant};

use domain::ports::{ClockAndRng, EventStore, QueueId, StoreError, TIMER_SHARDS, WorkQueue};
use events::Timestamp;
use infra::embedded::{Database, MemoryWorkQueue};
use schedule::SweepHandler;

use crate::clock::Clock;
use crate::hourly::HourlyCheck;

/// The longest that one jump takes, by the wall clock. It then ends before its goal.
const MAX_JUMP: Duration = Duration::from_secs(60);
/// The longest that a stop waits until its work is done.
const MAX_STOP: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(5);

/// What passes while the clock moves.
pub struct Passing<'a> {
    pub clock: &'a Clock,
    pub database: &'a Database,
    pub queue: &'a MemoryWorkQueue,
    pub schedule: &'a SweepHandler,
    pub check: &'a HourlyCheck,
}

impl Passing<'_> {
    /// Moves the clock to a time, and serves the timers on the way, each at its time. A time in the past moves nothing.
    pub async fn until(&self, to: Timestamp) -> Result<(), StoreError> {
        let began = Instant::now();
        while began.elapsed() < MAX_JUMP {
            self.settle().await?;
            let now = self.clock.now();
            let stop = self.next_timer(now, to).await?.unwrap_or(to);
            self.by(stop.millis_since(now)).await?;
            if to <= stop {
                return self.settle().await;
            }
        }
        Ok(())
    }

    /// Moves the clock at once, and serves the timers that are due then.
    pub async fn by(&self, ms: i64) -> Result<(), StoreError> {
        self.clock.advance(ms);
        self.schedule.sweep().await?;
        self.queue.wake_receivers();
        self.check.run_if_due().await;
        Ok(())
    }

    /// The earliest timer after `now`, and not after `to`.
    async fn next_timer(&self, now: Timestamp, to: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        let mut next: Option<Timestamp> = None;
        for shard in 0..TIMER_SHARDS {
            // Timers that are due already wait for something else, such as an answer of a provider.
            let page = self.database.due_timers(shard, to, None, 1_000).await?;
            let later = page.timers.iter().map(|due| due.wake).filter(|wake| now < *wake).min();
            next = next.into_iter().chain(later).min();
        }
        Ok(next)
    }

    /// Waits until the queues are empty.
    async fn settle(&self) -> Result<(), StoreError> {
        let began = Instant::now();
        let mut quiet = 0;
        while quiet < 3 && began.elapsed() < MAX_STOP {
            tokio::time::sleep(POLL).await;
            quiet = if self.is_idle().await? { quiet + 1 } else { 0 };
        }
        Ok(())
    }

    async fn is_idle(&self) -> Result<bool, StoreError> {
        for queue in QueueId::all() {
            let depth = self.queue.depth(queue).await?;
            if 0 < depth.waiting + depth.in_flight {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
