//! The operating system's clock and random source.

use std::time::{SystemTime, UNIX_EPOCH};

use domain::ports::ClockAndRng;
use events::Timestamp;

/// Reads the operating system's clock and random source.
pub struct SystemClockAndRng;

impl ClockAndRng for SystemClockAndRng {
    fn now(&self) -> Timestamp {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(elapsed.as_millis() as i64)
    }

    fn random(&self) -> u128 {
        uuid::Uuid::new_v4().as_u128()
    }
}
