//! The throttle of a provider configuration: its rate limiter and its circuit breaker in one small record that all
//! workers share. A worker replaces the whole record with compare-and-swap.
//!
//! The limits of a tenant and of the deployment are throttles too. Their breaker never opens.

use events::{Priority, RateLimit, Timestamp};
use serde::{Deserialize, Serialize};

use crate::circuit_breaker::{BreakerCause, CallResults, CircuitBreaker, Permit};
use crate::rate_limiter::{ByPriority, Quota, RateLimiter};

/// The state of a throttle.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProviderThrottle {
    #[serde(flatten)]
    pub limiter: RateLimiter,
    #[serde(flatten)]
    pub breaker: CircuitBreaker,
}

/// The answer to a worker that asks for some calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    Granted {
        calls: ByPriority<GrantedCalls>,
        is_probe: bool,
    },
    /// No call can be made before this time.
    Blocked(Timestamp),
}

/// What the messages of one priority got.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GrantedCalls {
    /// Number of calls that can be made now.
    pub granted: u32,
    /// When each of the other messages asks again.
    pub retry_slots: Vec<Timestamp>,
}

impl ProviderThrottle {
    pub fn new(rate: RateLimit) -> Self {
        ProviderThrottle { limiter: RateLimiter::new(rate), breaker: CircuitBreaker::default() }
    }

    /// Requests calls for messages of each priority, the most urgent first. While the breaker is open, at most one call
    /// is granted, as a probe.
    pub fn reserve(&mut self, wanted: ByPriority<u32>, now: Timestamp) -> Grant {
        let (mut limit, is_probe) = match self.breaker.permit(now) {
            Permit::Calls => (u32::MAX, false),
            Permit::Probe => (1, true),
            Permit::Blocked(until) => return Grant::Blocked(until),
        };
        let mut calls = ByPriority::<GrantedCalls>::default();
        for priority in Priority::ALL.iter().rev() {
            let wanted = wanted[*priority as usize];
            let granted = self.limiter.try_take_for(*priority, wanted.min(limit), now);
            limit -= granted;
            let retry_slots = (granted..wanted).map(|_| self.limiter.next_slot(*priority, now)).collect();
            calls[*priority as usize] = GrantedCalls { granted, retry_slots };
        }
        let granted = calls.iter().map(|calls| calls.granted).sum();
        self.breaker.begin_calls(granted, now);
        Grant::Granted { calls, is_probe: is_probe && granted > 0 }
    }

    /// When the last of `count` new messages of this priority could be sent, if nothing more urgent arrives.
    pub fn send_time(&self, priority: Priority, count: u32, now: Timestamp) -> Timestamp {
        let open_at = self.breaker.blocked_until().unwrap_or(now);
        self.limiter.send_time(priority, count, now.max(open_at))
    }

    /// Takes the results of calls into account. Returns the cause if the breaker has just opened for a new one.
    pub fn record_results(&mut self, results: CallResults, now: Timestamp) -> Option<BreakerCause> {
        self.limiter.give_back(results.unused);
        if let Some(until) = results.penalty {
            self.limiter.pause_until(until);
        }
        self.breaker.record_results(&results, now)
    }

    /// The state of the breaker: `closed`, `half_open`, `open` or `disabled`.
    pub fn state(&self, now: Timestamp) -> &'static str {
        self.breaker.state(now)
    }

    /// Closes the breaker at once.
    pub fn reset(&mut self) {
        self.breaker.reset();
    }

    /// The remaining quota of the rate limit. Nothing remains while the breaker is open.
    pub fn quota(&self, now: Timestamp) -> Quota {
        let quota = self.limiter.quota(now);
        let open_at = self.breaker.blocked_until().unwrap_or(now);
        Quota {
            remaining: if self.breaker.allows_calls(now) { quota.remaining } else { 0 },
            available_at: quota.available_at.max(open_at),
            reset_at: quota.reset_at.max(open_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::circuit_breaker::{DISABLED_MS, OPEN_MS, PROBE_TIMEOUT_MS, WINDOW_MS};

    const T0: i64 = 1_800_000_000_000;
    const RATE: RateLimit = RateLimit { burst: 5, per_second: 2 };

    fn at(ms: i64) -> Timestamp {
        Timestamp(T0 + ms)
    }

    fn granted(throttle: &mut ProviderThrottle, wanted: u32, ms: i64) -> u32 {
        reserve(throttle, wanted, ms).map_or(0, |(calls, _)| calls.granted)
    }

    /// Requests calls for normal messages. Returns what they got, and whether it is a probe.
    fn reserve(throttle: &mut ProviderThrottle, wanted: u32, ms: i64) -> Result<(GrantedCalls, bool), Timestamp> {
        match throttle.reserve([0, wanted, 0, 0], at(ms)) {
            Grant::Granted { calls: [_, calls, ..], is_probe } => Ok((calls, is_probe)),
            Grant::Blocked(until) => Err(until),
        }
    }

    #[test]
    fn the_stored_record_keeps_its_field_names() {
        let waiting = [1, 2, 3, 4].map(|n| serde_json::json!({ "count": n, "last_slot_us": 8, "passed_over": n }));
        let stored = serde_json::json!({
            "rate": { "burst": 5, "per_second": 2 }, "full_us": 7, "told_at": 9,
            "waiting": waiting,
            "window_at": T0, "calls": 3, "failures": 1,
            "shut": { "cause": "auth", "since": T0, "until": T0, "times": 2, "probe_until": null },
        });
        let throttle: ProviderThrottle = serde_json::from_value(stored.clone()).expect("a record");
        assert_eq!(serde_json::to_value(&throttle).expect("JSON"), stored);
        assert_eq!(serde_json::from_str::<ProviderThrottle>("{}").expect("a record"), ProviderThrottle::default());
    }

    fn failed(failures: u32) -> CallResults {
        CallResults { failures, ..CallResults::default() }
    }

    #[test]
    fn waiting_messages_retry_at_the_configured_rate() {
        let mut throttle = ProviderThrottle::new(RATE);
        let (GrantedCalls { granted, retry_slots }, _) = reserve(&mut throttle, 8, 0).expect("calls");
        assert_eq!(granted, 5);
        assert_eq!(retry_slots, [at(501), at(1_001), at(1_501)]);
        let (GrantedCalls { retry_slots, .. }, _) = reserve(&mut throttle, 1, 100).expect("calls");
        assert_eq!(retry_slots, [at(2_001)], "after the slots of other workers");
        for slot in [501, 1_001, 1_501, 2_001] {
            assert_eq!(super::tests::granted(&mut throttle, 1, slot), 1);
        }
    }

    fn full() -> ProviderThrottle {
        ProviderThrottle::new(RateLimit { burst: 100, per_second: 100 })
    }

    #[test]
    fn the_breaker_opens_when_half_of_twenty_calls_fail() {
        let mut throttle = full();
        assert_eq!(granted(&mut throttle, 19, 0), 19);
        assert_eq!(throttle.record_results(failed(19), at(1)), None, "too few calls");
        assert_eq!(granted(&mut throttle, 21, 2), 21);
        assert_eq!(throttle.record_results(failed(1), at(3)), Some(BreakerCause::Failing));
        assert_eq!(throttle.state(at(3)), "open");
        assert_eq!(reserve(&mut throttle, 1, 4), Err(at(3 + OPEN_MS)));
        assert_eq!(throttle.quota(at(4)).remaining, 0);
    }

    #[test]
    fn failures_of_an_earlier_window_do_not_count() {
        let mut throttle = full();
        granted(&mut throttle, 15, 0);
        throttle.record_results(failed(15), at(1));
        granted(&mut throttle, 30, WINDOW_MS);
        assert_eq!(throttle.record_results(failed(14), at(WINDOW_MS + 1)), None);
        assert_eq!(throttle.record_results(failed(1), at(WINDOW_MS + 2)), Some(BreakerCause::Failing));
    }

    fn open() -> (ProviderThrottle, i64) {
        let mut throttle = full();
        granted(&mut throttle, 20, 0);
        throttle.record_results(failed(20), at(0));
        (throttle, OPEN_MS)
    }

    #[test]
    fn only_one_probe_is_made_at_a_time() {
        let (mut throttle, later) = open();
        let (GrantedCalls { granted, retry_slots }, is_probe) = reserve(&mut throttle, 10, later).expect("calls");
        assert_eq!((granted, retry_slots.len(), is_probe), (1, 9, true));
        assert_eq!(throttle.state(at(later)), "half_open");
        assert_eq!(reserve(&mut throttle, 10, later + 1), Err(at(later + PROBE_TIMEOUT_MS)));
        throttle.record_results(CallResults { successes: 1, ..CallResults::default() }, at(later + 2));
        assert_eq!(throttle.state(at(later + 2)), "closed");
        assert_eq!(super::tests::granted(&mut throttle, 10, later + 3), 10);
    }

    #[test]
    fn a_failed_probe_doubles_the_wait_up_to_five_minutes() {
        let (mut throttle, mut now) = open();
        for wait in [60_000, 120_000, 240_000, 300_000, 300_000] {
            assert_eq!(granted(&mut throttle, 1, now), 1);
            throttle.record_results(failed(1), at(now));
            assert_eq!(reserve(&mut throttle, 1, now), Err(at(now + wait)));
            now += wait;
        }
    }

    #[test]
    fn a_probe_whose_worker_died_is_repeated() {
        let (mut throttle, later) = open();
        assert_eq!(granted(&mut throttle, 1, later), 1);
        assert_eq!(granted(&mut throttle, 1, later + PROBE_TIMEOUT_MS - 1), 0);
        assert_eq!(granted(&mut throttle, 1, later + PROBE_TIMEOUT_MS), 1);
        throttle.record_results(CallResults { unused: 1, ..CallResults::default() }, at(later + PROBE_TIMEOUT_MS));
        assert_eq!(granted(&mut throttle, 1, later + PROBE_TIMEOUT_MS), 1, "the unused token was returned");
    }

    #[test]
    fn a_late_success_does_not_close_the_breaker() {
        let (mut throttle, later) = open();
        throttle.record_results(CallResults { successes: 5, ..CallResults::default() }, at(10));
        assert_eq!(reserve(&mut throttle, 1, 11), Err(at(later)));
    }

    #[test]
    fn rejected_credentials_open_the_breaker_at_once_and_are_reported_once() {
        let mut throttle = full();
        let disabled = CallResults { disabled: Some(BreakerCause::Auth), ..CallResults::default() };
        assert_eq!(throttle.record_results(disabled, at(0)), Some(BreakerCause::Auth));
        assert_eq!(throttle.record_results(disabled, at(1)), None);
        assert_eq!(throttle.state(at(1)), "disabled");
        assert_eq!(reserve(&mut throttle, 1, 2), Err(at(1 + DISABLED_MS)));
        throttle.reset();
        assert_eq!(granted(&mut throttle, 1, 3), 1);
    }
}
