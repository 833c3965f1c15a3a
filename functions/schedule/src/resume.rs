//! Resumes the unfinished work of an earlier process, whose queues were in memory and whose workers have ended.

use application::hint::delay_s;
use application::kinds::rules_of;
use application::{CommandContext, CommandExecutor};
use domain::policy;
use domain::ports::{DueTimer, Hint, MAX_QUEUE_DELAY_S, StoreError, TIMER_SHARDS};
use futures_util::stream::{self, StreamExt};

use crate::SweepHandler;

/// How far ahead of a timer its stream may need a hint, in milliseconds: a repair waits for up to 15 minutes.
const LOOKAHEAD_MS: i64 = policy::MAX_REPAIR_DELAY_MS + 5 * 60_000;
/// Number of timers that are read at once.
const PAGE: usize = 100;
/// Number of streams that are resumed side by side.
const STREAMS_AT_ONCE: usize = 32;

impl SweepHandler {
    /// Puts the attempts that an earlier process left open in doubt, and sends the hints that were lost with its queues.
    /// Timers that lie ahead stay as they are, so that repeated restarts do not delay anything. Returns the number of
    /// streams.
    ///
    /// This is right only if no other process works on the streams, and if no attempt begins before it has returned.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: some streams were not reached. Their leases end by themselves, and their timers send the hints.
    pub async fn resume(&self) -> Result<usize, StoreError> {
        let until = self.host.now() + LOOKAHEAD_MS;
        let mut resumed = 0;
        for shard in 0..TIMER_SHARDS {
            let mut after = None;
            loop {
                let page = self.store.due_timers(shard, until, after.as_ref(), PAGE).await?;
                resumed += page.timers.len();
                let streams = stream::iter(page.timers).map(|due| self.resume_stream(due));
                let hints: Vec<Vec<(Hint, u32)>> = streams.buffer_unordered(STREAMS_AT_ONCE).collect().await;
                let hints = hints.concat();
                if !hints.is_empty() {
                    self.queue.send(&hints).await?;
                }
                after = page.next;
                if after.is_none() {
                    break;
                }
                // A store in the same process answers without waiting, and other tasks need their turn.
                tokio::task::yield_now().await;
            }
        }
        self.limits.record_heartbeat("sweep", self.host.now()).await?;
        Ok(resumed)
    }

    /// Returns the hints of one stream: for now, and for the next time when it must be looked at.
    async fn resume_stream(&self, due: DueTimer) -> Vec<(Hint, u32)> {
        let DueTimer { hint, wake, .. } = due;
        let Some(rules) = rules_of(&hint.stream) else { return Vec::new() };
        let context = CommandContext::function("restart");
        let executor = CommandExecutor { store: &*self.store, host: &*self.host, origin: &context };
        let next = (rules.resume)(&executor, &hint.stream).await.unwrap_or_else(|error| {
            tracing::error!(stream = %hint.stream, %error, "a stream was not resumed; its timer sends a hint");
            None
        });
        let now = self.host.now();
        if wake <= now
            && let Err(error) = self.store.reschedule_timer(&hint.stream, wake, now + policy::repair_ms(0), 1).await
        {
            tracing::warn!(stream = %hint.stream, %error, "a timer was not moved; the next sweep sends another hint");
        }
        let later = next.map(|next| delay_s(now, next)).filter(|delay| *delay <= MAX_QUEUE_DELAY_S);
        let delays = std::iter::once(0).chain(later);
        delays.map(|delay| (hint.clone(), delay)).collect()
    }
}
