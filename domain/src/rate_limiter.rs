//! A token bucket that many workers share. It allows a burst of calls, then a number of calls per second.
//!
//! The algorithm is GCRA (generic cell rate algorithm). Its whole state is one number: the time at which the bucket is
//! full again.

use events::{RateLimit, Timestamp};
use serde::{Deserialize, Serialize};

/// The quota is low when fewer than a fifth of the burst's calls are left.
const LOW_QUOTA_DIVISOR: u32 = 5;
/// Minimum time between two low-quota alerts, in milliseconds.
const ALERT_INTERVAL_MS: i64 = 3_600_000;
/// Retry slots are assigned at most this far ahead, in microseconds. Later requests share slots, so no message waits
/// longer.
const MAX_SLOT_AHEAD_US: i64 = 3_600_000_000;

/// The state of a rate limiter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RateLimiter {
    pub rate: RateLimit,
    /// When the bucket is full again, in microseconds: GCRA's theoretical arrival time.
    full_us: i64,
    /// The latest retry slot that was assigned, in microseconds.
    #[serde(rename = "turn_us")]
    last_slot_us: i64,
    /// When the last low-quota alert was raised.
    #[serde(rename = "told_at")]
    alerted_at: Timestamp,
}

impl Default for RateLimiter {
    fn default() -> Self {
        RateLimiter::new(RateLimit { burst: 10, per_second: 1 })
    }
}

/// How many calls are left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    pub remaining: u32,
    /// When the next call may be made.
    pub available_at: Timestamp,
    /// When the whole burst is available again.
    pub reset_at: Timestamp,
}

impl RateLimiter {
    pub fn new(rate: RateLimit) -> Self {
        RateLimiter { rate, full_us: 0, last_slot_us: 0, alerted_at: Timestamp(0) }
    }

    fn capacity_us(&self) -> i64 {
        self.rate.interval_us() * i64::from(self.rate.burst)
    }

    /// When the next token is available, in microseconds. It may lie in the past.
    fn next_token_us(&self) -> i64 {
        self.full_us - self.capacity_us() + self.rate.interval_us()
    }

    /// Takes up to `limit` tokens and returns how many it took.
    pub fn try_take(&mut self, limit: u32, now: Timestamp) -> u32 {
        let granted = limit.min(self.available_tokens(now));
        if granted > 0 {
            self.full_us = self.full_us.max(us(now)) + i64::from(granted) * self.rate.interval_us();
        }
        granted
    }

    pub fn available_tokens(&self, now: Timestamp) -> u32 {
        let used_us = (self.full_us - us(now)).max(0);
        let available = (self.capacity_us() - used_us) / self.rate.interval_us();
        u32::try_from(available.max(0)).unwrap_or(self.rate.burst).min(self.rate.burst)
    }

    /// Assigns a time at which a message without a token tries again. Slots follow each other at the rate, so that
    /// waiting messages do not all return at once.
    pub(crate) fn next_slot(&mut self, now: Timestamp) -> Timestamp {
        let now_us = us(now);
        let last_us = if self.last_slot_us > now_us + MAX_SLOT_AHEAD_US { now_us } else { self.last_slot_us };
        self.last_slot_us = (last_us + self.rate.interval_us()).max(self.next_token_us()).max(now_us);
        Timestamp(self.last_slot_us.div_euclid(1_000) + 1)
    }

    /// Returns tokens that were taken and not used. The bucket never holds more than its burst.
    pub(crate) fn give_back(&mut self, tokens: u32) {
        self.full_us -= i64::from(tokens) * self.rate.interval_us();
    }

    /// Allows one call at `until` and none before. The burst grows again from there.
    pub(crate) fn pause_until(&mut self, until: Timestamp) {
        let paused_us = us(until) + self.capacity_us() - self.rate.interval_us();
        self.full_us = self.full_us.max(paused_us);
    }

    pub fn quota(&self, now: Timestamp) -> Quota {
        let rounded_up = |us: i64| Timestamp(us.div_euclid(1_000) + i64::from(us.rem_euclid(1_000) > 0));
        Quota {
            remaining: self.available_tokens(now),
            available_at: rounded_up(self.next_token_us()).max(now),
            reset_at: rounded_up(self.full_us).max(now),
        }
    }

    /// Returns true if a low-quota alert is due, and marks it as raised.
    pub fn take_low_quota_alert(&mut self, now: Timestamp) -> bool {
        let is_low = self.available_tokens(now) < self.rate.burst / LOW_QUOTA_DIVISOR;
        let is_due = is_low && ALERT_INTERVAL_MS <= now.millis_since(self.alerted_at);
        if is_due {
            self.alerted_at = now;
        }
        is_due
    }
}

fn us(at: Timestamp) -> i64 {
    at.0.saturating_mul(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const T0: i64 = 1_800_000_000_000;
    const RATE: RateLimit = RateLimit { burst: 5, per_second: 2 };

    fn at(ms: i64) -> Timestamp {
        Timestamp(T0 + ms)
    }

    #[test]
    fn a_burst_is_followed_by_the_rate() {
        let mut limiter = RateLimiter::new(RATE);
        assert_eq!(limiter.try_take(10, at(0)), 5);
        assert_eq!(limiter.try_take(1, at(499)), 0);
        assert_eq!(limiter.try_take(1, at(500)), 1);
        assert_eq!(limiter.try_take(9, at(1_500)), 2);
        assert_eq!(limiter.try_take(9, at(60_000)), 5);
    }

    #[test]
    fn slots_follow_each_other_at_the_rate() {
        let mut limiter = RateLimiter::new(RATE);
        assert_eq!(limiter.try_take(5, at(0)), 5);
        assert_eq!([0, 0, 0].map(|_| limiter.next_slot(at(0))), [at(501), at(1_001), at(1_501)]);
        assert_eq!(limiter.next_slot(at(100)), at(2_001), "after the slots of other workers");
        for slot in [501, 1_001, 1_501, 2_001] {
            assert_eq!(limiter.try_take(1, at(slot)), 1);
        }
    }

    #[test]
    fn no_slot_is_more_than_an_hour_ahead() {
        let mut limiter = RateLimiter::new(RateLimit { burst: 1, per_second: 1 });
        assert!((0..10_000).all(|_| limiter.next_slot(at(0)).millis_since(at(0)) <= 3_602_000));
    }

    #[test]
    fn tokens_given_back_can_be_taken_again() {
        let mut limiter = RateLimiter::new(RATE);
        assert_eq!(limiter.try_take(5, at(0)), 5);
        limiter.give_back(3);
        assert_eq!(limiter.try_take(5, at(0)), 3);
    }

    #[test]
    fn a_pause_ends_with_one_call() {
        let mut limiter = RateLimiter::new(RATE);
        limiter.pause_until(at(10_000));
        assert_eq!(limiter.try_take(1, at(9_999)), 0);
        assert_eq!(limiter.try_take(5, at(10_000)), 1);
        assert_eq!(limiter.quota(at(10_000)).available_at, at(10_500));
    }

    #[test]
    fn a_quota_has_the_remaining_calls_and_the_reset_time() {
        let mut limiter = RateLimiter::new(RATE);
        assert_eq!(limiter.quota(at(0)), Quota { remaining: 5, available_at: at(0), reset_at: at(0) });
        limiter.try_take(5, at(0));
        assert_eq!(limiter.quota(at(0)), Quota { remaining: 0, available_at: at(500), reset_at: at(2_500) });
        assert_eq!(limiter.quota(at(1_200)).remaining, 2);
    }

    #[test]
    fn a_low_quota_alert_is_raised_once_an_hour() {
        let mut limiter = RateLimiter::new(RateLimit { burst: 100, per_second: 100 });
        limiter.try_take(80, at(0));
        assert!(!limiter.take_low_quota_alert(at(0)));
        limiter.try_take(1, at(0));
        assert!(limiter.take_low_quota_alert(at(0)));
        assert!(!limiter.take_low_quota_alert(at(1)));
        limiter.try_take(100, at(ALERT_INTERVAL_MS));
        assert!(limiter.take_low_quota_alert(at(ALERT_INTERVAL_MS)));
    }

    #[test]
    fn a_rate_limit_is_two_numbers() {
        assert_eq!(RateLimit::parse("100, 10"), Some(RateLimit { burst: 100, per_second: 10 }));
        for wrong in ["", "100", "0,1", "1,0", "a,b", "1,2,3", "-1,1"] {
            assert_eq!(RateLimit::parse(wrong), None, "{wrong}");
        }
    }
}
