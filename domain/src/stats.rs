//! Counters of rows, by day and in total.

use std::collections::BTreeMap;

use events::Timestamp;

/// Amounts by counter name. Zeros are not stored.
pub type Counters = BTreeMap<String, i64>;

/// Upper bounds of the histogram buckets, in milliseconds. Longer times are counted in the last bucket.
const BUCKETS_MS: [i64; 13] =
    [100, 300, 1_000, 3_000, 10_000, 30_000, 60_000, 300_000, 900_000, 3_600_000, 21_600_000, 86_400_000, 604_800_000];

/// The histogram bucket of a duration.
pub fn bucket(ms: i64) -> i64 {
    let bound = BUCKETS_MS.iter().find(|end| ms <= **end);
    *bound.unwrap_or(&BUCKETS_MS[BUCKETS_MS.len() - 1])
}

/// A percentile of a histogram, rounded up to the end of its bucket. Returns `None` if nothing was counted. `times` is
/// `accept_to_sent` or `sent_to_delivered`.
pub fn percentile_ms(counters: &Counters, times: &str, percent: i64) -> Option<i64> {
    let count = |end: &i64| counters.get(&format!("{times}.{end}")).copied().unwrap_or(0).max(0);
    let all: i64 = BUCKETS_MS.iter().map(count).sum();
    let mut within = 0;
    BUCKETS_MS
        .iter()
        .find(|end| {
            within += count(end);
            all > 0 && all * percent <= within * 100
        })
        .copied()
}

/// The difference `new − old`, without zeros.
pub fn counter_delta(new: &Counters, old: Option<&Counters>) -> Counters {
    let mut delta = new.clone();
    for (name, amount) in old.into_iter().flatten() {
        *delta.entry(name.clone()).or_insert(0) -= amount;
    }
    delta.retain(|_, amount| *amount != 0);
    delta
}

/// Adds `more` into `sum`.
pub fn add_counters(sum: &mut Counters, more: &Counters) {
    for (name, amount) in more {
        *sum.entry(name.clone()).or_insert(0) += amount;
    }
    sum.retain(|_, amount| *amount != 0);
}

/// The UTC day of a time, such as `2026-11-21`.
pub fn utc_day(at: Timestamp) -> String {
    let moment = jiff::Timestamp::from_millisecond(at.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    moment.strftime("%Y-%m-%d").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_end_of_its_bucket() {
        let mut counters = Counters::new();
        for (ms, count) in [(50, 90), (2_000, 9), (5_000_000_000, 1)] {
            counters.insert(format!("accept_to_sent.{}", bucket(ms)), count);
        }
        let of = |percent| percentile_ms(&counters, "accept_to_sent", percent);
        assert_eq!([of(50), of(90), of(95), of(99), of(100)], [100, 100, 3_000, 3_000, 604_800_000].map(Some));
        assert_eq!(percentile_ms(&counters, "sent_to_delivered", 50), None);
    }
}
