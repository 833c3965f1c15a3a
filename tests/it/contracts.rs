//! The port contracts of the embedded adapters and of DynamoDB. `tests/cloud` checks SQS and S3 in an emulated cloud.

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
    contracts::people_of_addresses(&embedded().0).await;
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
    contracts::people_of_addresses(&dynamo.store).await;
}

#[tokio::test]
async fn dynamodb_keeps_the_views_contract() {
    contracts::views(&Dynamo::start().await.views).await;
}

struct StoppedClock(Arc<FixedClock>);

impl ClockAndRng for StoppedClock {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
    fn random(&self) -> u128 {
        self.0.random()
    }
}

impl WaitingClock for StoppedClock {
    fn wait(&self, _: Timestamp) -> std::time::Duration {
        std::time::Duration::from_millis(1)
    }
}

fn memory_queue() -> (MemoryWorkQueue, Arc<FixedClock>) {
    let host = FixedClock::new();
    (MemoryWorkQueue::new(Arc::new(StoppedClock(host.clone())), 180_000), host)
}

#[tokio::test]
async fn memory_keeps_the_queue_contract() {
    contracts::queue(&memory_queue().0).await;
}

#[tokio::test]
async fn a_received_message_is_hidden_and_becomes_a_dead_letter_after_five_receives() {
    let (queue, host) = memory_queue();
    contracts::queue(&queue).await;
    let mut received = 0;
    for _ in 0..5 {
        let first = queue.receive(QueueConsumer::Delivery(Channel::Email)).await;
        let second = queue.receive(QueueConsumer::Delivery(Channel::Email)).await;
        assert_eq!((first.len(), second.len()), (10, 3));
        received += first.len() + second.len();
        host.advance(180_000);
    }
    assert_eq!(received, 65);
    // The message with 900 seconds of delay is due by now. The other thirteen are dead letters.
    let last = queue.receive(QueueConsumer::Delivery(Channel::Email)).await;
    assert_eq!(last.len(), 1);
    assert_eq!(queue.receive_dead_letters().await.len(), 13);
    last.iter().for_each(|received| queue.acknowledge(received));
}

/// DynamoDB under load leaves out keys of a batch. They are requested again until all are read. If none is ever read,
/// the read fails.
#[tokio::test]
async fn unprocessed_keys_are_requested_again() {
    for (per_response, is_enough) in [(2, true), (0, false)] {
        let busy = axum::Router::new().fallback(move |body: axum::body::Bytes| async move {
            let request: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            let keys = request["RequestItems"]["vault"]["Keys"].as_array().expect("keys").clone();
            let found: Vec<_> = keys.iter().take(per_response).cloned().map(stored).collect();
            let left: Vec<_> = keys.into_iter().skip(per_response).collect();
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
