//! A token bucket that many workers share. It allows a burst of calls, then a number of calls per second.
//!
//! The algorithm is GCRA (generic cell rate algorithm). Its state is one number: the time at which the bucket is full
//! again. Beside it, the limiter knows how many messages of each priority wait for a call. A call that a more urgent
//! message waits for is not given to another one, except every tenth.

use events::{Priority, RateLimit, Timestamp};
use serde::{Deserialize, Serialize};

/// The quota is low when fewer than a fifth of the burst's calls are left.
const LOW_QUOTA_DIVISOR: u32 = 5;
/// Minimum time between two low-quota alerts, in milliseconds.
const ALERT_INTERVAL_MS: i64 = 3_600_000;
/// Retry slots are assigned at most this far ahead, in microseconds. Later requests share slots, so no message waits
/// longer.
const MAX_SLOT_AHEAD_US: i64 = 3_600_000_000;
/// A waiting message that has not come back this long after its retry slot, in microseconds, no longer counts as
/// waiting. It may have been cancelled, or its hint was lost.
const LATE_US: i64 = 5_000_000;
/// Of so many calls, one goes to each priority that waits, whatever more urgent messages wait.
const SHARE_OF_LESS_URGENT: u32 = 10;
/// A message that has waited this long, in milliseconds, counts as one priority higher, and after twice as long as two.
/// It never counts as urgent: many old messages would delay a new urgent one.
const AGING_MS: i64 = 300_000;

/// One value for each priority, the least urgent first.
pub type ByPriority<T> = [T; Priority::ALL.len()];

/// The priority that a message counts as once it has waited.
pub fn aged(priority: Priority, waited_ms: i64) -> Priority {
    let rises = usize::try_from(waited_ms / AGING_MS).unwrap_or_default();
    let highest = (Priority::High as usize).max(priority as usize);
    Priority::ALL[(priority as usize).saturating_add(rises).min(highest)]
}

/// The messages of one priority that wait for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
struct WaitingLine {
    count: u32,
    /// The latest retry slot that was assigned, in microseconds.
    last_slot_us: i64,
    /// Number of calls given to more urgent messages since one was given to this line.
    passed_over: u32,
}

/// The state of a rate limiter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RateLimiter {
    pub rate: RateLimit,
    /// When the bucket is full again, in microseconds: GCRA's theoretical arrival time.
    full_us: i64,
    waiting: ByPriority<WaitingLine>,
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
        RateLimiter { rate, full_us: 0, waiting: Default::default(), alerted_at: Timestamp(0) }
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

    /// Takes up to `limit` tokens for messages of one priority and returns how many it took. Tokens that more urgent
    /// messages wait for are left to them.
    pub(crate) fn try_take_for(&mut self, priority: Priority, limit: u32, now: Timestamp) -> u32 {
        self.forget_late(now);
        let available = self.available_tokens(now);
        let unclaimed = available.saturating_sub(self.waiting_above(priority));
        let is_its_turn = SHARE_OF_LESS_URGENT <= self.waiting[priority as usize].passed_over + 1;
        let allowed = if is_its_turn { unclaimed.max(available.min(1)) } else { unclaimed };
        let granted = self.try_take(limit.min(allowed), now);
        if granted > 0 {
            let (less_urgent, rest) = self.waiting.split_at_mut(priority as usize);
            if let Some(own) = rest.first_mut() {
                own.count = own.count.saturating_sub(granted);
                own.passed_over = 0;
            }
            for line in less_urgent.iter_mut().filter(|line| line.count > 0) {
                line.passed_over = line.passed_over.saturating_add(granted);
            }
        }
        granted
    }

    /// Assigns a time at which a message without a token tries again. The slots of a priority follow each other and
    /// those of more urgent messages at the rate, so that waiting messages do not all return at once. They ignore the
    /// slots of less urgent messages.
    pub(crate) fn next_slot(&mut self, priority: Priority, now: Timestamp) -> Timestamp {
        self.forget_late(now);
        let slot_us = self.slot_us(priority, now);
        let count_within = (slot_us - us(now) + LATE_US) / self.rate.interval_us() + 1;
        let line = &mut self.waiting[priority as usize];
        line.last_slot_us = slot_us;
        // A message that came back in vain is counted once more. There are never more than there are slots.
        line.count = line.count.saturating_add(1).min(u32::try_from(count_within).unwrap_or(u32::MAX));
        rounded_up_past(slot_us)
    }

    fn slot_us(&self, priority: Priority, now: Timestamp) -> i64 {
        let now_us = us(now);
        let last_us = self.waiting[priority as usize..].iter().map(|line| line.last_slot_us).max().unwrap_or_default();
        let last_us = if last_us > now_us + MAX_SLOT_AHEAD_US { now_us } else { last_us };
        (last_us + self.rate.interval_us()).max(self.next_token_us()).max(now_us)
    }

    /// When the last of `count` new messages of this priority gets its call, if nothing more urgent arrives.
    pub(crate) fn send_time(&self, priority: Priority, count: u32, now: Timestamp) -> Timestamp {
        let mut limiter = self.clone();
        limiter.forget_late(now);
        let waiting = limiter.waiting_above(priority).saturating_add(limiter.waiting[priority as usize].count);
        let unclaimed = limiter.available_tokens(now).saturating_sub(waiting);
        if count <= unclaimed {
            return now;
        }
        let more = i64::from(count - unclaimed - 1) * limiter.rate.interval_us();
        rounded_up_past(limiter.slot_us(priority, now) + more)
    }

    /// Number of messages of higher priorities that wait.
    fn waiting_above(&self, priority: Priority) -> u32 {
        let more_urgent = &self.waiting[priority as usize + 1..];
        more_urgent.iter().fold(0, |sum, line| sum.saturating_add(line.count))
    }

    /// Forgets the messages that should have come back by now.
    fn forget_late(&mut self, now: Timestamp) {
        let late = |line: &&mut WaitingLine| line.last_slot_us + LATE_US < us(now);
        self.waiting.iter_mut().filter(late).for_each(|line| *line = WaitingLine::default());
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

/// The first whole millisecond after a time in microseconds.
fn rounded_up_past(us: i64) -> Timestamp {
    Timestamp(us.div_euclid(1_000) + 1)
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

    const NORMAL: Priority = Priority::Normal;

    #[test]
    fn slots_follow_each_other_at_the_rate() {
        let mut limiter = RateLimiter::new(RATE);
        assert_eq!(limiter.try_take(5, at(0)), 5);
        assert_eq!([0, 0, 0].map(|_| limiter.next_slot(NORMAL, at(0))), [at(501), at(1_001), at(1_501)]);
        assert_eq!(limiter.next_slot(NORMAL, at(100)), at(2_001), "after the slots of other workers");
        for slot in [501, 1_001, 1_501, 2_001] {
            assert_eq!(limiter.try_take(1, at(slot)), 1);
        }
    }

    #[test]
    fn no_slot_is_more_than_an_hour_ahead() {
        let mut limiter = RateLimiter::new(RateLimit { burst: 1, per_second: 1 });
        assert!((0..10_000).all(|_| limiter.next_slot(NORMAL, at(0)).millis_since(at(0)) <= 3_602_000));
    }

    const ONE_BY_ONE: RateLimit = RateLimit { burst: 1, per_second: 1 };

    #[test]
    fn an_urgent_message_gets_the_next_call_whatever_waits_below() {
        let mut limiter = RateLimiter::new(ONE_BY_ONE);
        assert_eq!(limiter.try_take_for(Priority::Low, 1, at(0)), 1);
        let slots = [0, 0, 0].map(|_| limiter.next_slot(Priority::Low, at(0)));
        assert_eq!(slots, [at(1_001), at(2_001), at(3_001)]);
        assert_eq!(limiter.next_slot(Priority::High, at(0)), at(1_001));
        assert_eq!(limiter.next_slot(Priority::Urgent, at(10)), at(1_001));
        assert_eq!(limiter.next_slot(NORMAL, at(20)), at(2_001), "after the high one");
        assert_eq!(limiter.send_time(Priority::Urgent, 1, at(20)), at(2_001));
        assert_eq!(limiter.send_time(Priority::Low, 2, at(20)), at(5_001));
        for less_urgent in [Priority::Low, NORMAL, Priority::High] {
            assert_eq!(limiter.try_take_for(less_urgent, 1, at(1_001)), 0, "{less_urgent:?}");
        }
        assert_eq!(limiter.try_take_for(Priority::Urgent, 1, at(1_002)), 1);
        assert_eq!(limiter.try_take_for(NORMAL, 1, at(2_002)), 0, "the high one waits");
        assert_eq!(limiter.try_take_for(Priority::High, 1, at(2_002)), 1);
    }

    #[test]
    fn every_tenth_call_goes_to_each_priority_that_waits() {
        let mut limiter = RateLimiter::new(ONE_BY_ONE);
        assert_eq!(limiter.try_take(1, at(0)), 1);
        let mut calls = ByPriority::<u32>::default();
        for second in 0..100 {
            let now = at(second * 1_000 + 2);
            for priority in Priority::ALL {
                calls[*priority as usize] += limiter.try_take_for(*priority, 1, now);
                limiter.next_slot(*priority, now);
            }
        }
        assert!(calls[..3].iter().all(|calls| (8..=11).contains(calls)), "{calls:?}");
        assert!(calls[3] > 65, "{calls:?}");
    }

    #[test]
    fn a_message_that_does_not_come_back_holds_nothing_up() {
        let mut limiter = RateLimiter::new(ONE_BY_ONE);
        limiter.try_take(1, at(0));
        assert_eq!(limiter.next_slot(Priority::Urgent, at(0)), at(1_001));
        assert_eq!(limiter.try_take_for(NORMAL, 1, at(5_900)), 0);
        assert_eq!(limiter.try_take_for(NORMAL, 1, at(6_001)), 1);
    }

    #[test]
    fn a_message_rises_while_it_waits_but_never_to_urgent() {
        let risen = |minutes: i64| aged(Priority::Low, minutes * 60_000);
        assert_eq!(
            [0, 4, 5, 10, 9_999].map(risen),
            [Priority::Low, Priority::Low, NORMAL, Priority::High, Priority::High]
        );
        assert_eq!(aged(Priority::Urgent, i64::MAX), Priority::Urgent);
        assert_eq!(aged(NORMAL, -1), NORMAL);
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
