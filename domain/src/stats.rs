//! Counters: what one row adds to its day and to its tenant's totals.

use std::collections::BTreeMap;

use crate::history::HistoryRow;

/// Counter names and amounts. Zero is never stored.
pub type Counters = BTreeMap<String, i64>;

/// What `row` stands for in the counters. Folding a row again adds the difference, so replays count nothing.
pub fn contribution(row: &HistoryRow) -> Counters {
    let mut counters = Counters::new();
    let mut add = |name: String, amount: i64| *counters.entry(name).or_insert(0) += amount;
    add("total".to_owned(), 1);
    add(format!("channel.{}", row.channel), 1);
    add(format!("type.{}", row.kind), 1);
    add(format!("status.{}", row.status), 1);
    add(format!("lifecycle.{}", row.lifecycle), 1);
    if let Some(sent_at) = row.sent_at {
        let due = row.scheduled_at.unwrap_or(row.created_at).max(row.created_at);
        add("sent".to_owned(), 1);
        add("accept_to_sent_ms".to_owned(), sent_at.since(due).max(0));
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

/// `new − old`, without the zeros.
pub fn difference(new: &Counters, old: Option<&Counters>) -> Counters {
    let mut difference = new.clone();
    for (name, amount) in old.into_iter().flatten() {
        *difference.entry(name.clone()).or_insert(0) -= amount;
    }
    difference.retain(|_, amount| *amount != 0);
    difference
}

/// Adds `more` into `sum`.
pub fn accumulate(sum: &mut Counters, more: &Counters) {
    for (name, amount) in more {
        *sum.entry(name.clone()).or_insert(0) += amount;
    }
    sum.retain(|_, amount| *amount != 0);
}
