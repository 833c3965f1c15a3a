//! What stands before a provider account: how fast it may be called, and whether it may be called at all.
//!
//! The rate is GCRA: one number, the time at which the bucket is full again. The circuit breaker counts calls and failures
//! of the last 30 seconds. Both are one small record that all workers share; whoever changes it swaps the whole of it.
//! The limits of a tenant and of all tenants together are gates too, which no failure ever shuts.

use events::{RateLimit, Timestamp};
use serde::{Deserialize, Serialize};

/// Calls are counted over this time.
pub const WINDOW_MS: i64 = 30_000;
/// Fewer calls than this in a window say nothing.
pub const MIN_CALLS: u32 = 20;
/// How long a breaker stays open at first; doubled each time the probe fails.
pub const OPEN_MS: i64 = 30_000;
/// And at most.
pub const OPEN_MAX_MS: i64 = 300_000;
/// How long refused credentials or an empty account keep it shut before one message tries again.
pub const DISABLED_MS: i64 = crate::policy::ACCOUNT_HOLD_MS;
/// A probe whose worker died is given up after this.
pub const PROBE_TIMEOUT_MS: i64 = 60_000;
/// Below one in so many of the burst, little is left.
const LOW_QUOTA_DIVISOR: u32 = 5;
/// Somebody is told of that once in this time.
const ALERT_INTERVAL_MS: i64 = 3_600_000;
/// Turns are given out this far ahead; after that the queue folds over itself, so that none waits for ever.
const MAX_SLOT_AHEAD_US: i64 = 3_600_000_000;

/// Why an account is not called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerCause {
    /// Half of its calls failed.
    Failing,
    /// It refuses our credentials.
    Auth,
    /// It is empty.
    Balance,
}

impl BreakerCause {
    pub fn as_str(self) -> &'static str {
        match self {
            BreakerCause::Failing => "failing",
            BreakerCause::Auth => "auth",
            BreakerCause::Balance => "balance",
        }
    }
}

/// An account that is not called, but for a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenBreaker {
    pub cause: BreakerCause,
    pub since: Timestamp,
    pub until: Timestamp,
    /// Times in a row.
    pub times: u32,
    /// The one call that may find out has begun, and is waited for until then.
    pub probe_until: Option<Timestamp>,
}

/// The record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProviderThrottle {
    pub rate: RateLimit,
    /// When the bucket is full again, in microseconds: GCRA's theoretical arrival time.
    full_us: i64,
    /// The last turn given to one that must wait.
    #[serde(rename = "turn_us")]
    last_slot_us: i64,
    window_at: Timestamp,
    calls: u32,
    failures: u32,
    /// When somebody was last told that little is left.
    #[serde(rename = "told_at")]
    alerted_at: Timestamp,
    #[serde(rename = "shut")]
    pub open_breaker: Option<OpenBreaker>,
}

impl Default for ProviderThrottle {
    fn default() -> Self {
        ProviderThrottle::new(RateLimit { burst: 10, per_second: 1 })
    }
}

/// What a worker that asks for some calls is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// `granted` calls may be made now; each of the others has a turn, at which it asks again.
    Granted { granted: u32, retry_slots: Vec<Timestamp>, is_probe: bool },
    /// None may be made before this.
    Blocked(Timestamp),
}

/// What became of the calls that one worker made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallResults {
    /// Calls granted and not made.
    pub unused: u32,
    pub successes: u32,
    /// Calls that failed on the provider's side, whatever the message.
    pub failures: u32,
    /// It refused our credentials or our account.
    pub disabled: Option<BreakerCause>,
    /// It asked us to wait until then.
    pub penalty: Option<Timestamp>,
}

/// How much is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    pub remaining: u32,
    /// When the next call may be made.
    pub available_at: Timestamp,
    /// When the whole burst is there again.
    pub reset_at: Timestamp,
}

impl ProviderThrottle {
    pub fn new(rate: RateLimit) -> Self {
        ProviderThrottle {
            rate,
            full_us: 0,
            last_slot_us: 0,
            window_at: Timestamp(0),
            calls: 0,
            failures: 0,
            alerted_at: Timestamp(0),
            open_breaker: None,
        }
    }

    fn capacity_us(&self) -> i64 {
        self.rate.interval_us() * i64::from(self.rate.burst)
    }

    /// Little is left, and nobody has been told of it for an hour. Asking makes it told.
    pub fn take_low_quota_alert(&mut self, now: Timestamp) -> bool {
        let little = self.available_tokens(now) < self.rate.burst / LOW_QUOTA_DIVISOR;
        let news = little && ALERT_INTERVAL_MS <= now.millis_since(self.alerted_at);
        if news {
            self.alerted_at = now;
        }
        news
    }

    /// Asks for `wanted` calls.
    pub fn reserve(&mut self, wanted: u32, now: Timestamp) -> Grant {
        let mut most = wanted;
        let mut is_probe = false;
        if let Some(shut) = &mut self.open_breaker {
            let wait = shut.probe_until.unwrap_or(shut.until);
            if now < wait {
                return Grant::Blocked(wait);
            }
            (most, is_probe) = (wanted.min(1), true);
            shut.probe_until = Some(now + PROBE_TIMEOUT_MS);
        }
        let granted = self.try_take(most, now);
        if is_probe && granted == 0 {
            self.open_breaker.iter_mut().for_each(|shut| shut.probe_until = None);
            is_probe = false;
        }
        if self.window_at + WINDOW_MS <= now {
            (self.window_at, self.calls, self.failures) = (now, 0, 0);
        }
        self.calls = self.calls.saturating_add(granted);
        let retry_slots = (granted..wanted).map(|_| self.next_slot(now)).collect();
        Grant::Granted { granted, retry_slots, is_probe }
    }

    /// As many of `most` calls as there is room for.
    pub fn try_take(&mut self, most: u32, now: Timestamp) -> u32 {
        let granted = most.min(self.available_tokens(now));
        if granted > 0 {
            self.full_us = self.full_us.max(us(now)) + i64::from(granted) * self.rate.interval_us();
        }
        granted
    }

    fn available_tokens(&self, now: Timestamp) -> u32 {
        let used_us = (self.full_us - us(now)).max(0);
        let room = (self.capacity_us() - used_us) / self.rate.interval_us();
        u32::try_from(room.max(0)).unwrap_or(self.rate.burst).min(self.rate.burst)
    }

    /// A time for one that must wait: those who wait come back at the rate, one after the other, not all at once.
    fn next_slot(&mut self, now: Timestamp) -> Timestamp {
        let now_us = us(now);
        let next_us = self.full_us - self.capacity_us() + self.rate.interval_us();
        let last_us = if self.last_slot_us > now_us + MAX_SLOT_AHEAD_US { now_us } else { self.last_slot_us };
        self.last_slot_us = (last_us + self.rate.interval_us()).max(next_us).max(now_us);
        Timestamp(self.last_slot_us.div_euclid(1_000) + 1)
    }

    /// Takes in what became of calls. Some: it has just been shut, for this cause.
    pub fn record_results(&mut self, tally: CallResults, now: Timestamp) -> Option<BreakerCause> {
        let given_back_us = i64::from(tally.unused) * self.rate.interval_us();
        // What is given back after the bucket has filled by itself is not added to it.
        self.full_us -= given_back_us;
        self.calls = self.calls.saturating_sub(tally.unused);
        if let Some(until) = tally.penalty {
            // One call at that moment, and the burst grows again from there.
            let penalty_us = us(until) + self.capacity_us() - self.rate.interval_us();
            self.full_us = self.full_us.max(penalty_us);
        }
        if now.millis_since(self.window_at) < WINDOW_MS {
            self.failures = self.failures.saturating_add(tally.failures);
        }
        let shut = self.open_breaker;
        match (shut, tally.disabled) {
            (_, Some(cause)) => {
                let news = shut.is_none_or(|shut| shut.cause != cause);
                self.trip_breaker(cause, DISABLED_MS, now);
                news.then_some(cause)
            }
            (Some(OpenBreaker { probe_until: Some(_), cause, times, .. }), None) if tally.failures > 0 => {
                let wait_ms = (OPEN_MS << times.min(8)).min(OPEN_MAX_MS);
                self.trip_breaker(cause, wait_ms, now);
                None
            }
            (Some(OpenBreaker { probe_until: Some(_), .. }), None) if tally.successes > 0 => {
                self.reset();
                None
            }
            (Some(shut), None) => {
                // The probe was not made after all.
                let unmade = shut.probe_until.is_some() && tally.unused > 0;
                self.open_breaker = Some(OpenBreaker { probe_until: shut.probe_until.filter(|_| !unmade), ..shut });
                None
            }
            (None, None) if MIN_CALLS <= self.calls && self.calls <= self.failures.saturating_mul(2) => {
                self.trip_breaker(BreakerCause::Failing, OPEN_MS, now);
                Some(BreakerCause::Failing)
            }
            (None, None) => None,
        }
    }

    fn trip_breaker(&mut self, cause: BreakerCause, wait_ms: i64, now: Timestamp) {
        let (since, times) = self.open_breaker.map_or((now, 0), |shut| (shut.since, shut.times));
        let until = now + wait_ms;
        self.open_breaker =
            Some(OpenBreaker { cause, since, until, times: times.saturating_add(1), probe_until: None });
    }

    /// Open again, with nothing held against it.
    pub fn reset(&mut self) {
        (self.open_breaker, self.calls, self.failures) = (None, 0, 0);
    }

    pub fn quota(&self, now: Timestamp) -> Quota {
        let next_us = self.full_us - self.capacity_us() + self.rate.interval_us();
        let up = |us: i64| Timestamp(us.div_euclid(1_000) + i64::from(us.rem_euclid(1_000) > 0));
        let open_at = self.open_breaker.map_or(now, |shut| shut.probe_until.unwrap_or(shut.until));
        Quota {
            remaining: if self.is_breaker_closed(now) { self.available_tokens(now) } else { 0 },
            available_at: up(next_us).max(now).max(open_at),
            reset_at: up(self.full_us).max(now).max(open_at),
        }
    }

    /// As a circuit breaker is: closed means that calls pass.
    fn is_breaker_closed(&self, now: Timestamp) -> bool {
        self.open_breaker.is_none_or(|shut| shut.probe_until.is_none() && shut.until <= now)
    }

    /// `closed`, `half_open`, `open`, or `disabled` for what waits for a person.
    pub fn state(&self, now: Timestamp) -> &'static str {
        match self.open_breaker {
            None => "closed",
            Some(shut) if shut.probe_until.is_some() || shut.until <= now => "half_open",
            Some(OpenBreaker { cause: BreakerCause::Failing, .. }) => "open",
            Some(_) => "disabled",
        }
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

    fn granted(gate: &mut ProviderThrottle, wanted: u32, ms: i64) -> u32 {
        match gate.reserve(wanted, at(ms)) {
            Grant::Granted { granted, .. } => granted,
            Grant::Blocked(_) => 0,
        }
    }

    fn failed(failures: u32) -> CallResults {
        CallResults { failures, ..CallResults::default() }
    }

    #[test]
    fn a_burst_then_the_rate() {
        let mut gate = ProviderThrottle::new(RATE);
        assert_eq!(granted(&mut gate, 10, 0), 5);
        assert_eq!(granted(&mut gate, 1, 499), 0);
        assert_eq!(granted(&mut gate, 1, 500), 1);
        assert_eq!(granted(&mut gate, 9, 1_500), 2);
        assert_eq!(granted(&mut gate, 9, 60_000), 5);
    }

    #[test]
    fn waiting_messages_retry_at_the_configured_rate() {
        let mut gate = ProviderThrottle::new(RATE);
        let Grant::Granted { granted, retry_slots, .. } = gate.reserve(8, at(0)) else { panic!("shut") };
        assert_eq!(granted, 5);
        assert_eq!(retry_slots, [at(501), at(1_001), at(1_501)]);
        let Grant::Granted { retry_slots, .. } = gate.reserve(1, at(100)) else { panic!("shut") };
        assert_eq!(retry_slots, [at(2_001)], "behind the others, of whichever worker");
        for turn in [501, 1_001, 1_501, 2_001] {
            assert_eq!(super::tests::granted(&mut gate, 1, turn), 1);
        }
    }

    #[test]
    fn no_turn_is_further_than_an_hour_for_long() {
        let mut gate = ProviderThrottle::new(RateLimit { burst: 1, per_second: 1 });
        let Grant::Granted { retry_slots, .. } = gate.reserve(10_000, at(0)) else { panic!("shut") };
        assert!(retry_slots.iter().all(|turn| turn.millis_since(at(0)) <= 3_602_000));
    }

    #[test]
    fn what_was_not_used_is_given_back() {
        let mut gate = ProviderThrottle::new(RATE);
        assert_eq!(granted(&mut gate, 5, 0), 5);
        gate.record_results(CallResults { unused: 3, ..CallResults::default() }, at(0));
        assert_eq!(granted(&mut gate, 5, 0), 3);
    }

    #[test]
    fn a_provider_that_asks_us_to_wait_is_left_alone_by_everybody() {
        let mut gate = ProviderThrottle::new(RATE);
        gate.record_results(CallResults { penalty: Some(at(10_000)), ..CallResults::default() }, at(0));
        assert_eq!(granted(&mut gate, 1, 9_999), 0);
        assert_eq!(granted(&mut gate, 5, 10_000), 1);
        assert_eq!(gate.quota(at(10_000)).available_at, at(10_500));
    }

    fn full() -> ProviderThrottle {
        ProviderThrottle::new(RateLimit { burst: 100, per_second: 100 })
    }

    #[test]
    fn half_of_twenty_calls_failing_opens_the_breaker() {
        let mut gate = full();
        assert_eq!(granted(&mut gate, 19, 0), 19);
        assert_eq!(gate.record_results(failed(19), at(1)), None, "too few to say");
        assert_eq!(granted(&mut gate, 21, 2), 21);
        assert_eq!(gate.record_results(failed(1), at(3)), Some(BreakerCause::Failing));
        assert_eq!(gate.state(at(3)), "open");
        assert_eq!(gate.reserve(1, at(4)), Grant::Blocked(at(3 + OPEN_MS)));
        assert_eq!(gate.quota(at(4)).remaining, 0);
    }

    #[test]
    fn failures_of_an_earlier_window_are_forgotten() {
        let mut gate = full();
        granted(&mut gate, 15, 0);
        gate.record_results(failed(15), at(1));
        granted(&mut gate, 30, WINDOW_MS);
        assert_eq!(gate.record_results(failed(14), at(WINDOW_MS + 1)), None);
        assert_eq!(gate.record_results(failed(1), at(WINDOW_MS + 2)), Some(BreakerCause::Failing));
    }

    fn open() -> (ProviderThrottle, i64) {
        let mut gate = full();
        granted(&mut gate, 20, 0);
        gate.record_results(failed(20), at(0));
        (gate, OPEN_MS)
    }

    #[test]
    fn one_probe_at_a_time_finds_out() {
        let (mut gate, later) = open();
        let Grant::Granted { granted, retry_slots, is_probe } = gate.reserve(10, at(later)) else { panic!("shut") };
        assert_eq!((granted, retry_slots.len(), is_probe), (1, 9, true));
        assert_eq!(gate.state(at(later)), "half_open");
        assert_eq!(gate.reserve(10, at(later + 1)), Grant::Blocked(at(later + PROBE_TIMEOUT_MS)));
        gate.record_results(CallResults { successes: 1, ..CallResults::default() }, at(later + 2));
        assert_eq!(gate.state(at(later + 2)), "closed");
        assert_eq!(super::tests::granted(&mut gate, 10, later + 3), 10);
    }

    #[test]
    fn a_probe_that_fails_doubles_the_wait_up_to_five_minutes() {
        let (mut gate, mut now) = open();
        for wait in [60_000, 120_000, 240_000, 300_000, 300_000] {
            assert_eq!(granted(&mut gate, 1, now), 1);
            gate.record_results(failed(1), at(now));
            assert_eq!(gate.reserve(1, at(now)), Grant::Blocked(at(now + wait)));
            now += wait;
        }
    }

    #[test]
    fn a_probe_whose_worker_died_is_made_again() {
        let (mut gate, later) = open();
        assert_eq!(granted(&mut gate, 1, later), 1);
        assert_eq!(granted(&mut gate, 1, later + PROBE_TIMEOUT_MS - 1), 0);
        assert_eq!(granted(&mut gate, 1, later + PROBE_TIMEOUT_MS), 1);
        gate.record_results(CallResults { unused: 1, ..CallResults::default() }, at(later + PROBE_TIMEOUT_MS));
        assert_eq!(granted(&mut gate, 1, later + PROBE_TIMEOUT_MS), 1, "given back, so the next may");
    }

    #[test]
    fn a_late_success_from_before_does_not_close_it() {
        let (mut gate, later) = open();
        gate.record_results(CallResults { successes: 5, ..CallResults::default() }, at(10));
        assert_eq!(gate.reserve(1, at(11)), Grant::Blocked(at(later)));
    }

    #[test]
    fn refused_credentials_shut_it_at_once_and_are_told_once() {
        let mut gate = full();
        let disabled = CallResults { disabled: Some(BreakerCause::Auth), ..CallResults::default() };
        assert_eq!(gate.record_results(disabled, at(0)), Some(BreakerCause::Auth));
        assert_eq!(gate.record_results(disabled, at(1)), None);
        assert_eq!(gate.state(at(1)), "disabled");
        assert_eq!(gate.reserve(1, at(2)), Grant::Blocked(at(1 + DISABLED_MS)));
        gate.reset();
        assert_eq!(granted(&mut gate, 1, 3), 1);
    }

    #[test]
    fn a_quota_says_how_much_is_left_and_when_it_is_full() {
        let mut gate = ProviderThrottle::new(RATE);
        assert_eq!(gate.quota(at(0)), Quota { remaining: 5, available_at: at(0), reset_at: at(0) });
        granted(&mut gate, 5, 0);
        assert_eq!(gate.quota(at(0)), Quota { remaining: 0, available_at: at(500), reset_at: at(2_500) });
        assert_eq!(gate.quota(at(1_200)).remaining, 2);
    }

    #[test]
    fn a_low_quota_alert_is_raised_once_an_hour() {
        let mut gate = full();
        granted(&mut gate, 80, 0);
        assert!(!gate.take_low_quota_alert(at(0)));
        granted(&mut gate, 1, 0);
        assert!(gate.take_low_quota_alert(at(0)));
        assert!(!gate.take_low_quota_alert(at(1)));
        granted(&mut gate, 100, ALERT_INTERVAL_MS);
        assert!(gate.take_low_quota_alert(at(ALERT_INTERVAL_MS)));
    }

    #[test]
    fn a_rate_is_two_numbers() {
        assert_eq!(RateLimit::parse("100, 10"), Some(RateLimit { burst: 100, per_second: 10 }));
        for wrong in ["", "100", "0,1", "1,0", "a,b", "1,2,3", "-1,1"] {
            assert_eq!(RateLimit::parse(wrong), None, "{wrong}");
        }
    }
}
