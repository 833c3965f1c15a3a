//! Queues, alerts, the bus and the coordination store.

use async_trait::async_trait;
use domain::ports::{
    Addition, AlertSink, CoordinationStore, EventBus, Hint, NotTaken, QueueDepth, QueueId, StoreError, UnmatchedQueue,
    UnmatchedRetry, VersionedRecord, WorkQueue,
};
use domain::publication::PublicEvent;
use events::Timestamp;

use super::World;
use super::state::Message;
use crate::bugs::Bug;

#[async_trait]
impl WorkQueue for World {
    async fn send(&self, hints: &[(Hint, u32)]) -> Result<(), StoreError> {
        self.write_io("queue send", |state| {
            for (hint, delay) in hints {
                // A queue sometimes loses a message or duplicates it.
                let copies = match state.faults.then(|| state.rng.below(50)) {
                    Some(0) => 0,
                    Some(1) => 2,
                    _ => 1,
                };
                for _ in 0..copies {
                    let visible_at = state.now + i64::from(*delay) * 1_000;
                    let id = state.next_id();
                    state.messages.push(Message { id, hint: hint.clone(), visible_at, receives: 0 });
                }
            }
        })
        .await
    }

    async fn depth(&self, _: QueueId) -> Result<QueueDepth, StoreError> {
        Ok(QueueDepth::default())
    }
}

#[async_trait]
impl EventBus for World {
    /// The bus takes some of the events of a call.
    async fn put(&self, events: &[PublicEvent]) -> Result<Vec<NotTaken>, StoreError> {
        let mut failed = Vec::new();
        self.write_io("put events", |state| {
            for (index, event) in events.iter().enumerate() {
                if state.faults && state.rng.percent(15) {
                    failed.push(NotTaken { index, code: "InternalFailure".to_owned(), is_transient: true });
                } else {
                    state.bus.push(event.clone());
                }
            }
            if state.bug == Some(Bug::FailedEntriesUnread) {
                failed.clear();
            }
        })
        .await?;
        Ok(failed)
    }
}

#[async_trait]
impl UnmatchedQueue for World {
    async fn enqueue(&self, retry: &UnmatchedRetry, delay_s: u32) -> Result<(), StoreError> {
        self.write_io("unmatched", |state| {
            let at = state.now + i64::from(delay_s) * 1_000;
            state.unmatched.push((at, retry.clone()));
        })
        .await
    }
}

#[async_trait]
impl AlertSink for World {
    async fn raise(&self, _: &str, _: &str) -> Result<(), StoreError> {
        self.read_io("alert").await
    }
}

#[async_trait]
impl CoordinationStore for World {
    async fn record_heartbeat(&self, _: &str, _: Timestamp) -> Result<(), StoreError> {
        self.read_io("heartbeat").await
    }

    async fn last_heartbeat(&self, _: &str) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }

    async fn read_versioned(&self, names: &[String]) -> Result<Vec<Option<VersionedRecord>>, StoreError> {
        self.read_io("records").await?;
        let state = self.state();
        Ok(names.iter().map(|name| state.records.get(name).cloned()).collect())
    }

    async fn compare_and_swap(
        &self,
        name: &str,
        expected: u64,
        body: &str,
    ) -> Result<Option<VersionedRecord>, StoreError> {
        let mut conflicting = None;
        self.write_io("swap", |state| {
            if state.bug == Some(Bug::LimitsNotShared) {
                return;
            }
            let current = state.records.get(name);
            if current.map_or(0, |current| current.version) == expected {
                let next = VersionedRecord { version: expected + 1, body: body.to_owned() };
                state.records.insert(name.to_owned(), next);
            } else {
                conflicting = current.cloned();
            }
        })
        .await?;
        Ok(conflicting)
    }

    async fn add_within(&self, name: &str, amount: i64, most: i64, _: Timestamp) -> Result<Addition, StoreError> {
        let mut addition = Addition::Refused(0);
        self.write_io("add", |state| {
            let total = state.tallies.get(name).copied().unwrap_or(0);
            addition = if most < total.saturating_add(amount) {
                Addition::Refused(total)
            } else {
                state.tallies.insert(name.to_owned(), total + amount);
                Addition::Added(total + amount)
            };
        })
        .await?;
        Ok(addition)
    }

    async fn read_counters(&self, names: &[String]) -> Result<Vec<i64>, StoreError> {
        self.read_io("counters").await?;
        let state = self.state();
        Ok(names.iter().map(|name| state.tallies.get(name).copied().unwrap_or(0)).collect())
    }
}
