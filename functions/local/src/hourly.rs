//! The hourly check of collections, by the process's clock, which can be moved forward.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use domain::ports::ClockAndRng;
use reconcile::ReconcileHandler;
use simulator::SimulationClock;

use crate::clock::Clock;

const HOUR_MS: i64 = 3_600_000;

/// The check, and when it was last begun.
pub struct HourlyCheck {
    reconcile: ReconcileHandler,
    clock: Arc<Clock>,
    last: AtomicI64,
}

impl HourlyCheck {
    pub fn new(reconcile: ReconcileHandler, clock: Arc<Clock>) -> Self {
        let last = AtomicI64::new(clock.now().0);
        HourlyCheck { reconcile, clock, last }
    }

    /// Runs it if the last one is an hour ago.
    pub async fn run_if_due(&self) {
        let (now, last) = (self.clock.now().0, self.last.load(Ordering::SeqCst));
        let is_due = HOUR_MS <= now - last;
        if !is_due || self.last.compare_exchange(last, now, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            return;
        }
        if let Err(error) = self.reconcile.run(None).await {
            tracing::error!(%error, "a check of collections failed; the next one looks at all again");
        }
    }

    /// Runs it once an hour.
    pub async fn run(&self) {
        loop {
            let next = self.last.load(Ordering::SeqCst) + HOUR_MS;
            let wait = self.clock.to_wall_clock(next - self.clock.now().0);
            tokio::time::sleep(wait.clamp(Duration::from_millis(200), Duration::from_secs(60))).await;
            self.run_if_due().await;
        }
    }
}
