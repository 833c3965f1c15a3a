//! Changes that cannot be projected: they are queued, and their streams are read again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use application::StreamImage;
use application::hint::QueueMessage;
use async_trait::async_trait;
use domain::ports::{
    CommunicationKey, EventStore, ProjectedRow, RepairQueue, RowRange, StoreError, StoredRow, ViewScope, ViewStore,
};
use domain::stats::Counters;
use events::{StreamId, Timestamp};
use project::ProjectHandler;
use tests::harness::Harness;

/// Views and a queue that can be out of order.
struct Outage {
    views: Arc<dyn ViewStore>,
    are_views_down: AtomicBool,
    is_queue_down: AtomicBool,
    applied: Mutex<usize>,
    queued: Mutex<Vec<StreamId>>,
}

fn check(is_down: &AtomicBool) -> Result<(), StoreError> {
    if is_down.load(Ordering::SeqCst) { Err(StoreError::Unavailable("down".to_owned())) } else { Ok(()) }
}

#[async_trait]
impl RepairQueue for Outage {
    async fn enqueue(&self, streams: &[StreamId]) -> Result<(), StoreError> {
        check(&self.is_queue_down)?;
        self.queued.lock().expect("streams").extend_from_slice(streams);
        Ok(())
    }
}

#[async_trait]
impl ViewStore for Outage {
    async fn apply(&self, rows: &[ProjectedRow], now: Timestamp) -> Result<(), StoreError> {
        check(&self.are_views_down)?;
        *self.applied.lock().expect("a number") += rows.len();
        self.views.apply(rows, now).await
    }

    async fn list(&self, scope: &ViewScope, range: &RowRange, limit: usize) -> Result<Vec<StoredRow>, StoreError> {
        self.views.list(scope, range, limit).await
    }

    async fn get_rows(&self, scope: &ViewScope, keys: &[String]) -> Result<Vec<Option<String>>, StoreError> {
        self.views.get_rows(scope, keys).await
    }

    async fn daily_counters(
        &self,
        scope: &ViewScope,
        from: &str,
        to: &str,
    ) -> Result<BTreeMap<String, Counters>, StoreError> {
        self.views.daily_counters(scope, from, to).await
    }

    async fn total_counters(&self, scope: &ViewScope) -> Result<(Counters, Option<Timestamp>), StoreError> {
        self.views.total_counters(scope).await
    }
}

async fn image(harness: &Harness, key: &CommunicationKey) -> StreamImage {
    let id = key.stream_id();
    let stream = EventStore::read(&*harness.store, &id).await.expect("a stream");
    StreamImage { id, stream }
}

#[tokio::test]
async fn changes_that_cannot_be_projected_are_queued_and_their_streams_repaired() {
    let harness = Harness::new();
    let keys = [harness.accept(|_| ()).await, harness.accept(|_| ()).await];
    let images = [image(&harness, &keys[0]).await, image(&harness, &keys[1]).await];
    let outage = Arc::new(Outage {
        views: harness.store.clone(),
        are_views_down: AtomicBool::new(true),
        is_queue_down: AtomicBool::new(true),
        applied: Mutex::default(),
        queued: Mutex::default(),
    });
    let project = ProjectHandler { store: harness.store.clone(), views: outage.clone(), host: harness.host.clone() };
    let batch = || images.to_vec();
    project.project_or_enqueue(batch(), &*outage).await.expect_err("nothing took them, so they come again");
    outage.is_queue_down.store(false, Ordering::SeqCst);
    project.project_or_enqueue(batch(), &*outage).await.expect("queued");
    let queued = outage.queued.lock().expect("streams").clone();
    assert_eq!(queued.len(), 2);
    let message =
        |(place, stream): (usize, &StreamId)| QueueMessage { id: format!("m-{place}"), body: stream.storage_key() };
    let mut messages: Vec<QueueMessage> = queued.iter().enumerate().map(message).collect();
    assert_eq!(project.repair(messages.clone()).await, ["m-0", "m-1"], "the views are still down");
    outage.are_views_down.store(false, Ordering::SeqCst);
    messages.push(QueueMessage { id: "m-2".to_owned(), body: "no stream".to_owned() });
    assert_eq!(project.repair(messages).await, ["m-2"]);
    assert_eq!(*outage.applied.lock().expect("a number"), 2);
}
