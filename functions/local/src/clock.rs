//! A clock that can run faster than the wall clock and can be moved forward.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

use domain::ports::ClockAndRng;
use events::Timestamp;
use infra::SystemClockAndRng;
use infra::embedded::WaitingClock;
use simulator::SimulationClock;

/// The name of the heartbeat with the wall clock's time.
pub const WALL_CLOCK: &str = "wall-clock";
/// The name of the heartbeat with the time of the last sweep, by the process's clock.
pub const SWEEP: &str = "sweep";
/// How far the wall clock can be from where it is expected, in milliseconds, before it is taken to be wrong.
pub const MAX_WALL_JUMP_MS: i64 = 86_400_000;
/// The smallest delay that is made up for, in milliseconds.
const MIN_SLEEP_MS: i64 = 1_000;

/// The clock of one process.
pub struct Clock {
    started: Instant,
    /// What the wall clock showed then.
    wall_started: Timestamp,
    start: Timestamp,
    factor: u32,
    advanced_ms: AtomicI64,
    /// How long the machine slept since, in milliseconds of the wall clock. The monotonic clock stands still meanwhile.
    slept_ms: AtomicI64,
    has_warned: AtomicBool,
}

impl Clock {
    /// Creates a clock that begins at `start` and runs `factor` times as fast as the wall clock.
    pub fn new(start: Timestamp, factor: u32) -> Self {
        Clock {
            started: Instant::now(),
            wall_started: SystemClockAndRng.now(),
            start,
            factor,
            advanced_ms: AtomicI64::new(0),
            slept_ms: AtomicI64::new(0),
            has_warned: AtomicBool::new(false),
        }
    }

    /// Moves the clock forward.
    pub fn advance(&self, ms: i64) {
        self.advanced_ms.fetch_add(ms.max(0), Ordering::SeqCst);
    }

    /// Moves forward to the wall clock's time, which is ahead if the machine slept. A jump of more than a day is
    /// reported and ignored, because the wall clock may have been set to a wrong time. Returns whether it moved.
    pub fn follow(&self, wall: Timestamp) -> bool {
        let (slept, elapsed) = (self.slept_ms.load(Ordering::SeqCst), self.started.elapsed().as_millis() as i64);
        let missed = wall.millis_since(self.wall_started) - elapsed - slept;
        if MAX_WALL_JUMP_MS < missed.abs() {
            if !self.has_warned.swap(true, Ordering::SeqCst) {
                let hours = missed / 3_600_000;
                tracing::warn!(
                    hours,
                    "the wall clock jumped and is ignored; if it is right, restart with --accept-clock"
                );
            }
            return false;
        }
        let has_slept = MIN_SLEEP_MS <= missed;
        if has_slept {
            self.slept_ms.store(slept + missed, Ordering::SeqCst);
        }
        has_slept
    }

    /// Returns how many of this clock's milliseconds pass in `ms` milliseconds of the wall clock.
    pub fn scaled(&self, ms: i64) -> i64 {
        ms * i64::from(self.factor)
    }
}

impl ClockAndRng for Clock {
    fn now(&self) -> Timestamp {
        let elapsed = self.started.elapsed().as_micros() as i64 * i64::from(self.factor) / 1_000;
        self.start
            + elapsed
            + self.scaled(self.slept_ms.load(Ordering::SeqCst))
            + self.advanced_ms.load(Ordering::SeqCst)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_makes_up_for_sleep_but_does_not_believe_a_jump() {
        let start = Timestamp(1_795_000_000_000);
        let clock = Clock::new(start, 2);
        let wall = clock.wall_started;
        let hour = 3_600_000;
        assert!(!clock.follow(wall - hour), "time never goes back");
        assert!(clock.follow(wall + hour));
        let late = clock.now().millis_since(start + 2 * hour);
        assert!((0..60_000).contains(&late), "{late}");
        assert!(!clock.follow(wall + hour), "already made up for");
        assert!(!clock.follow(wall + 30 * hour));
        assert!(!clock.follow(wall + 10 * 365 * 24 * hour));
        assert!(!clock.follow(wall - 10 * 365 * 24 * hour));
        assert!(clock.now() < start + 3 * hour);
        assert!(clock.follow(wall + 20 * hour));
        assert!(start + 40 * hour <= clock.now());
    }
}
