use serde::{Deserialize, Serialize};

/// `burst` calls at once, then `per_second` calls per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    pub burst: u32,
    pub per_second: u32,
}

impl RateLimit {
    /// Microseconds between two tokens.
    pub fn interval_us(self) -> i64 {
        1_000_000 / i64::from(self.per_second.max(1))
    }

    /// Parses `100,10`: a burst of 100, then 10 per second. Returns `None` if it is not two numbers within limits.
    pub fn parse(text: &str) -> Option<RateLimit> {
        let (burst, per_second) = text.split_once(',')?;
        let (burst, per_second) = (burst.trim().parse().ok()?, per_second.trim().parse().ok()?);
        let is_valid = (1..=1_000_000).contains(&burst) && (1..=100_000).contains(&per_second);
        is_valid.then_some(RateLimit { burst, per_second })
    }
}
