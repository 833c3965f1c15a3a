//! Both homes keep the same contracts. SQS keeps the queue's against the emulated cloud: `tests/cloud`.

use std::sync::Arc;

use domain::ports::Host;
use events::{Channel, Timestamp};
use infra::embedded::{Database, MemoryQueue, Wall};
use tests::bench::{Scratch, StillHost};
use tests::contracts;
use tests::dynamo::Dynamo;

fn embedded() -> (Database, Scratch) {
    let scratch = Scratch::new();
    (Database::open(&scratch.0.join("contract.db"), true).expect("a database"), scratch)
}

#[tokio::test]
async fn sqlite_keeps_the_event_store_contract() {
    contracts::event_store(&embedded().0).await;
}

#[tokio::test]
async fn sqlite_keeps_the_vault_contract() {
    contracts::vault(&embedded().0).await;
}

#[tokio::test]
async fn sqlite_keeps_the_keys_and_limits_contracts() {
    contracts::keys(&embedded().0).await;
    contracts::limits(&embedded().0).await;
    contracts::routes(&embedded().0).await;
}

#[tokio::test]
async fn sqlite_keeps_the_views_contract() {
    contracts::views(&embedded().0).await;
}

#[tokio::test]
async fn dynamodb_keeps_the_event_store_contract() {
    contracts::event_store(&Dynamo::start().await.store).await;
}

#[tokio::test]
async fn dynamodb_keeps_the_vault_contract() {
    contracts::vault(&Dynamo::start().await.store).await;
}

#[tokio::test]
async fn dynamodb_keeps_the_keys_and_limits_contracts() {
    let dynamo = Dynamo::start().await;
    contracts::keys(&dynamo.store).await;
    contracts::limits(&dynamo.store).await;
    contracts::routes(&dynamo.store).await;
}

#[tokio::test]
async fn dynamodb_keeps_the_views_contract() {
    contracts::views(&Dynamo::start().await.views).await;
}

struct StillWall(Arc<StillHost>);

impl Host for StillWall {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
    fn random(&self) -> u128 {
        self.0.random()
    }
}

impl Wall for StillWall {
    fn wait(&self, _: Timestamp) -> std::time::Duration {
        std::time::Duration::from_millis(1)
    }
}

fn memory_queue() -> (MemoryQueue, Arc<StillHost>) {
    let host = StillHost::new();
    (MemoryQueue::new(Arc::new(StillWall(host.clone())), 180_000), host)
}

#[tokio::test]
async fn memory_keeps_the_queue_contract() {
    contracts::queue(&memory_queue().0).await;
}

#[tokio::test]
async fn a_message_is_hidden_while_it_is_worked_on_and_dead_after_five_times() {
    let (queue, host) = memory_queue();
    contracts::queue(&queue).await;
    let mut shown = 0;
    for _ in 0..5 {
        let first = queue.receive(Channel::Email).await;
        let second = queue.receive(Channel::Email).await;
        assert_eq!((first.len(), second.len()), (10, 3));
        shown += first.len() + second.len();
        host.advance(180_000);
    }
    assert_eq!(shown, 65);
    // The one sent with 900 seconds of delay has come due by now; the thirteen are given up.
    let last = queue.receive(Channel::Email).await;
    assert_eq!(last.len(), 1);
    assert_eq!(queue.receive_dead().await.len(), 13);
    last.iter().for_each(|received| queue.acknowledge(received));
}
