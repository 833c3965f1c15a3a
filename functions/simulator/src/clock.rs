use std::time::Duration;

use domain::ports::ClockAndRng;

/// The clock of the simulator. It can run faster than the wall clock.
pub trait SimulationClock: ClockAndRng {
    /// How long `ms` milliseconds of this clock take on the wall clock.
    fn to_wall_clock(&self, ms: i64) -> Duration;
}
