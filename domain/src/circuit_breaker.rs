//! A circuit breaker for one provider configuration: stops calls while most of them fail.
//!
//! It counts calls and failures over 30 seconds. While it is open, no calls are made. After a wait, one call is made as
//! a probe. If it succeeds, the breaker closes.

use events::Timestamp;
use serde::{Deserialize, Serialize};

use crate::policy;

/// Calls and failures are counted over this time, in milliseconds.
pub const WINDOW_MS: i64 = 30_000;
/// With fewer calls than this in a window the breaker does not open.
pub const MIN_CALLS: u32 = 20;
/// How long the breaker stays open at first, in milliseconds. The time doubles each time the probe fails.
pub const OPEN_MS: i64 = 30_000;
/// Maximum time between two probes, in milliseconds.
pub const OPEN_MAX_MS: i64 = 300_000;
/// How long the breaker stays open after the provider rejected our credentials or the account was empty.
pub const DISABLED_MS: i64 = policy::ACCOUNT_HOLD_MS;
/// A probe without a result after this time counts as not made, because its worker died.
pub const PROBE_TIMEOUT_MS: i64 = 60_000;

/// Why a provider configuration is not called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerCause {
    /// Half of the calls failed.
    Failing,
    /// The provider rejects our credentials.
    Auth,
    /// The account at the provider is empty.
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

/// An open breaker, which allows no calls except a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenBreaker {
    pub cause: BreakerCause,
    pub since: Timestamp,
    pub until: Timestamp,
    /// How often it has opened in a row.
    pub times: u32,
    /// The time until which the result of a probe is awaited. `None` while no probe is under way.
    pub probe_until: Option<Timestamp>,
}

impl OpenBreaker {
    /// When the next probe may begin.
    fn next_probe_at(&self) -> Timestamp {
        self.probe_until.unwrap_or(self.until)
    }
}

/// The results of the calls that one worker made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CallResults {
    /// Calls that were granted but not made.
    pub unused: u32,
    pub successes: u32,
    /// Calls that failed for a reason on the provider's side.
    pub failures: u32,
    /// The provider rejected our credentials or our account.
    pub disabled: Option<BreakerCause>,
    /// The time until which the provider asked us to wait.
    pub penalty: Option<Timestamp>,
}

/// Whether calls can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// The breaker is closed.
    Calls,
    /// One call, which decides whether the breaker closes.
    Probe,
    /// No call is allowed before this time.
    Blocked(Timestamp),
}

/// The state of a circuit breaker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CircuitBreaker {
    window_at: Timestamp,
    calls: u32,
    failures: u32,
    /// Set while the breaker is open.
    #[serde(rename = "shut")]
    pub open: Option<OpenBreaker>,
}

impl Default for CircuitBreaker {
    fn default() -> Self {
        CircuitBreaker { window_at: Timestamp(0), calls: 0, failures: 0, open: None }
    }
}

impl CircuitBreaker {
    pub fn permit(&self, now: Timestamp) -> Permit {
        match &self.open {
            None => Permit::Calls,
            Some(open) if now < open.next_probe_at() => Permit::Blocked(open.next_probe_at()),
            Some(_) => Permit::Probe,
        }
    }

    /// Counts calls that are about to be made. While the breaker is open the call is the probe.
    pub(crate) fn begin_calls(&mut self, calls: u32, now: Timestamp) {
        if self.window_at + WINDOW_MS <= now {
            (self.window_at, self.calls, self.failures) = (now, 0, 0);
        }
        self.calls = self.calls.saturating_add(calls);
        if let Some(open) = &mut self.open {
            open.probe_until = (calls > 0).then_some(now + PROBE_TIMEOUT_MS);
        }
    }

    /// Takes the results of calls into account. Returns the cause if the breaker has just opened for a new one.
    pub(crate) fn record_results(&mut self, results: &CallResults, now: Timestamp) -> Option<BreakerCause> {
        self.calls = self.calls.saturating_sub(results.unused);
        if now.millis_since(self.window_at) < WINDOW_MS {
            self.failures = self.failures.saturating_add(results.failures);
        }
        if let Some(cause) = results.disabled {
            let is_new = self.open.is_none_or(|open| open.cause != cause);
            self.trip(cause, DISABLED_MS, now);
            return is_new.then_some(cause);
        }
        let Some(open) = self.open else {
            let is_failing = MIN_CALLS <= self.calls && self.calls <= self.failures.saturating_mul(2);
            if is_failing {
                self.trip(BreakerCause::Failing, OPEN_MS, now);
            }
            return is_failing.then_some(BreakerCause::Failing);
        };
        // Without a probe, the calls began before the breaker opened, so their results are out of date.
        let has_probe = open.probe_until.is_some();
        if has_probe && results.failures > 0 {
            let wait_ms = (OPEN_MS << open.times.min(8)).min(OPEN_MAX_MS);
            self.trip(open.cause, wait_ms, now);
        } else if has_probe && results.successes > 0 {
            self.reset();
        } else if has_probe && results.unused > 0 {
            // The probe was not made, so the next worker may make one.
            self.open = Some(OpenBreaker { probe_until: None, ..open });
        }
        None
    }

    fn trip(&mut self, cause: BreakerCause, wait_ms: i64, now: Timestamp) {
        let (since, times) = self.open.map_or((now, 0), |open| (open.since, open.times));
        let until = now + wait_ms;
        self.open = Some(OpenBreaker { cause, since, until, times: times.saturating_add(1), probe_until: None });
    }

    /// Closes the breaker and resets the counts.
    pub fn reset(&mut self) {
        (self.open, self.calls, self.failures) = (None, 0, 0);
    }

    /// When calls can be made again. Returns `None` while the breaker is closed.
    pub fn blocked_until(&self) -> Option<Timestamp> {
        self.open.map(|open| open.next_probe_at())
    }

    /// Whether calls can be made now, counting a probe that has not begun.
    pub(crate) fn allows_calls(&self, now: Timestamp) -> bool {
        self.open.is_none_or(|open| open.probe_until.is_none() && open.until <= now)
    }

    /// `closed`, `half_open` (a probe can begin or is under way), `open`, or `disabled` if a person must solve the
    /// cause.
    pub fn state(&self, now: Timestamp) -> &'static str {
        match self.open {
            None => "closed",
            Some(open) if open.probe_until.is_some() || open.until <= now => "half_open",
            Some(OpenBreaker { cause: BreakerCause::Failing, .. }) => "open",
            Some(_) => "disabled",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_breaker() -> CircuitBreaker {
        let mut breaker = CircuitBreaker::default();
        breaker.begin_calls(MIN_CALLS, Timestamp(0));
        let failed = CallResults { failures: MIN_CALLS, ..CallResults::default() };
        assert_eq!(breaker.record_results(&failed, Timestamp(WINDOW_MS - 1)), Some(BreakerCause::Failing));
        breaker
    }

    #[test]
    fn a_cause_has_its_stored_name() {
        for cause in [BreakerCause::Failing, BreakerCause::Auth, BreakerCause::Balance] {
            assert_eq!(serde_json::to_value(cause).expect("JSON"), cause.as_str());
        }
    }

    #[test]
    fn failures_after_the_end_of_the_window_do_not_count() {
        let mut breaker = CircuitBreaker::default();
        let window_at = Timestamp(1_800_000_000_000);
        breaker.begin_calls(MIN_CALLS, window_at);
        let failed = CallResults { failures: MIN_CALLS, ..CallResults::default() };
        assert_eq!(breaker.record_results(&failed, window_at + WINDOW_MS), None);
    }

    #[test]
    fn without_a_call_the_probe_is_still_available() {
        let mut breaker = open_breaker();
        let later = breaker.blocked_until().expect("open");
        breaker.begin_calls(0, later);
        assert_eq!(breaker.permit(later), Permit::Probe);
    }

    #[test]
    fn an_unused_probe_can_be_made_again_and_the_breaker_stays_open() {
        let mut breaker = open_breaker();
        let later = breaker.blocked_until().expect("open");
        breaker.begin_calls(1, later);
        breaker.record_results(&CallResults::default(), later);
        assert_eq!(breaker.permit(later), Permit::Blocked(later + PROBE_TIMEOUT_MS), "the probe is under way");
        breaker.record_results(&CallResults { unused: 1, ..CallResults::default() }, later);
        assert_eq!(breaker.permit(later), Permit::Probe);
    }
}
