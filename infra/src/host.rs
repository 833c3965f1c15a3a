use std::time::{SystemTime, UNIX_EPOCH};

use domain::ports::ClockAndRng;
use events::Timestamp;

/// The machine's own clock and random source.
pub struct SystemClockAndRng;

impl ClockAndRng for SystemClockAndRng {
    fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(since.as_millis() as i64)
    }

    fn random(&self) -> u128 {
        uuid::Uuid::new_v4().as_u128()
    }
}
