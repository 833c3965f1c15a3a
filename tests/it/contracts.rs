//! Both homes keep the same contracts. SQS and S3 keep theirs against the emulated cloud: `tests/cloud`.

use std::sync::Arc;

use domain::ports::{ClockAndRng, ContentKey, Vault};
use events::{Channel, Timestamp};
use infra::embedded::{Database, MemoryWorkQueue, QueueConsumer, WaitingClock};
use serde_json::json;
use tests::contracts;
use tests::dynamo::Dynamo;
use tests::harness::{FixedClock, Scratch};

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
    contracts::documents(&embedded().0).await;
    contracts::suppressions(&embedded().0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_keeps_the_objects_contract() {
    let server = tests::server::TestServer::new().await;
    contracts::objects(&*server.local.objects, &server.client, server.local.clock.now()).await;
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
    contracts::documents(&dynamo.store).await;
    contracts::suppressions(&dynamo.store).await;
}

#[tokio::test]
async fn dynamodb_keeps_the_views_contract() {
    contracts::views(&Dynamo::start().await.views).await;
}

struct StillWall(Arc<FixedClock>);

impl ClockAndRng for StillWall {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
    fn random(&self) -> u128 {
        self.0.random()
    }
}

impl WaitingClock for StillWall {
    fn wait(&self, _: Timestamp) -> std::time::Duration {
        std::time::Duration::from_millis(1)
    }
}

fn memory_queue() -> (MemoryWorkQueue, Arc<FixedClock>) {
    let host = FixedClock::new();
    (MemoryWorkQueue::new(Arc::new(StillWall(host.clone())), 180_000), host)
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
        let first = queue.receive(QueueConsumer::Delivery(Channel::Email)).await;
        let second = queue.receive(QueueConsumer::Delivery(Channel::Email)).await;
        assert_eq!((first.len(), second.len()), (10, 3));
        shown += first.len() + second.len();
        host.advance(180_000);
    }
    assert_eq!(shown, 65);
    // The one sent with 900 seconds of delay has come due by now; the thirteen are given up.
    let last = queue.receive(QueueConsumer::Delivery(Channel::Email)).await;
    assert_eq!(last.len(), 1);
    assert_eq!(queue.receive_dead_letters().await.len(), 13);
    last.iter().for_each(|received| queue.acknowledge(received));
}

/// DynamoDB under load leaves keys out of a batch: they are asked for again until all are there, and for ever is an
/// error.
#[tokio::test]
async fn keys_left_unprocessed_are_asked_for_again() {
    for (per_answer, is_enough) in [(2, true), (0, false)] {
        let busy = axum::Router::new().fallback(move |body: axum::body::Bytes| async move {
            let asked: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            let keys = asked["RequestItems"]["vault"]["Keys"].as_array().expect("keys").clone();
            let found: Vec<_> = keys.iter().take(per_answer).cloned().map(stored).collect();
            let left: Vec<_> = keys.into_iter().skip(per_answer).collect();
            let unprocessed = if left.is_empty() { json!({}) } else { json!({ "vault": { "Keys": left } }) };
            let answer = json!({ "Responses": { "vault": found }, "UnprocessedKeys": unprocessed });
            ([("content-type", "application/x-amz-json-1.0")], answer.to_string())
        });
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, busy).await });
        let vault = tests::dynamo::store(tests::dynamo::at(&url).dynamodb());
        let keys: Vec<ContentKey> = (0..7).map(|n| content_key(&n.to_string())).collect();
        let found = Vault::get_many(&vault, &keys, Timestamp(0)).await;
        assert_eq!(found.is_ok_and(|found| found.iter().all(Option::is_some)), is_enough);
    }
}

fn stored(mut item: serde_json::Value) -> serde_json::Value {
    let body = serde_json::to_string(&tests::harness::content()).expect("JSON");
    item["body"] = json!({ "S": body });
    item
}

fn content_key(name: &str) -> ContentKey {
    let tenant = tests::harness::tenant();
    let id = events::CommunicationId::from_idempotency_key(&tenant, name);
    ContentKey { tenant, subject: "customer:1".to_owned(), id, content: "c".to_owned() }
}
