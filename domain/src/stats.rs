//! Counters: the contribution of one row to its day and to its tenant's totals.

use std::collections::BTreeMap;

use crate::communication_view::CommunicationRow;

/// Amounts by counter name. Zeros are not stored.
pub type Counters = BTreeMap<String, i64>;

/// The contribution of `row` to the counters. Projecting a row again adds only the difference, so replays change
/// nothing.
pub fn contribution(row: &CommunicationRow) -> Counters {
    let mut counters = Counters::new();
    let mut add = |name: String, amount: i64| *counters.entry(name).or_insert(0) += amount;
    add("total".to_owned(), 1);
    add(format!("channel.{}", row.channel), 1);
    add(format!("type.{}", row.kind), 1);
    add(format!("status.{}", row.status), 1);
    add(format!("lifecycle.{}", row.lifecycle), 1);
    row.provider.iter().for_each(|provider| add(format!("provider.{provider}"), 1));
    row.template_id.iter().for_each(|template| add(format!("template.{template}"), 1));
    if let Some(sent_at) = row.sent_at {
        let due = row.scheduled_at.unwrap_or(row.created_at).max(row.created_at);
        let elapsed_ms = sent_at.millis_since(due).max(0);
        add("sent".to_owned(), 1);
        add("accept_to_sent_ms".to_owned(), elapsed_ms);
        add(format!("accept_to_sent.{}", bucket(elapsed_ms)), 1);
        if let Some(delivered_at) = row.delivered_at {
            let elapsed_ms = delivered_at.millis_since(sent_at).max(0);
            add("sent_to_delivered".to_owned(), 1);
            add("sent_to_delivered_ms".to_owned(), elapsed_ms);
            add(format!("sent_to_delivered.{}", bucket(elapsed_ms)), 1);
        }
    }
    let mut flag = |name: &str, is: bool| {
        if is {
            add(name.to_owned(), 1);
        }
    };
    flag("delivered", row.delivered_at.is_some());
    flag("opened", row.opened_at.is_some());
    flag("clicked", row.clicked_at.is_some());
    flag("complained", row.complained);
    flag("unsubscribed", row.unsubscribed);
    flag("late_evidence", row.late_evidence);
    let retries = i64::from(row.attempts.saturating_sub(1));
    flag("retried", retries > 0);
    if retries > 0 {
        add("retries".to_owned(), retries);
    }
    counters
}

/// Upper bounds of the histogram buckets, in milliseconds. Longer times are counted in the last bucket.
const BUCKETS_MS: [i64; 13] =
    [100, 300, 1_000, 3_000, 10_000, 30_000, 60_000, 300_000, 900_000, 3_600_000, 21_600_000, 86_400_000, 604_800_000];

fn bucket(ms: i64) -> i64 {
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
