//! A clock that can run faster than the wall clock and can be moved forward.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use domain::ports::ClockAndRng;
use events::Timestamp;
use infra::SystemClockAndRng;
use infra::embedded::WaitingClock;
use simulator::SimulationClock;

/// The clock of one process.
pub struct Clock {
    started: Instant,
    start: Timestamp,
    factor: u32,
    advanced_ms: AtomicI64,
}

impl Clock {
    /// Creates a clock that begins at `start` and runs `factor` times as fast as the wall clock.
    pub fn new(start: Timestamp, factor: u32) -> Self {
        Clock { started: Instant::now(), start, factor, advanced_ms: AtomicI64::new(0) }
    }

    /// Moves the clock forward.
    pub fn advance(&self, ms: i64) {
        self.advanced_ms.fetch_add(ms.max(0), Ordering::SeqCst);
    }

    /// Returns how many of this clock's milliseconds pass in `ms` milliseconds of the wall clock.
    pub fn scaled(&self, ms: i64) -> i64 {
        ms * i64::from(self.factor)
    }
}

impl ClockAndRng for Clock {
    fn now(&self) -> Timestamp {
        let elapsed = self.started.elapsed().as_micros() as i64 * i64::from(self.factor) / 1_000;
        self.start + elapsed + self.advanced_ms.load(Ordering::SeqCst)
    }

    fn random(&self) -> u128 {
        SystemClockAndRng.random()
    }
}

impl SimulationClock for Clock {
    fn to_wall_clock(&self, ms: i64) -> Duration {
        Duration::from_micros(ms.max(0) as u64 * 1_000 / u64::from(self.factor))
    }
}

impl WaitingClock for Clock {
    fn wait(&self, until: Timestamp) -> Duration {
        // The extra millisecond makes up for rounding, so that the clock has reached `until`.
        self.to_wall_clock(until.millis_since(self.now())) + Duration::from_millis(1)
    }
}
