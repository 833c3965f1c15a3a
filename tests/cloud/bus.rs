//! Public events on an emulated bus: the rule of another system hears them. The emulator takes every entry;
//! `tests/it/event_bridge.rs` has a server that refuses some.

use std::sync::Arc;

use application::StreamImage;
use domain::ports::EventStore;
use infra::aws::EventBridgeBus;
use publish::PublishHandler;
use reqwest::Client;
use serde_json::{Value, json};
use tests::dynamo::at;
use tests::harness::Harness;

const BUS: &str = "public-events";

/// A call of EventBridge that the adapter does not make.
async fn call(endpoint: &str, action: &str, body: Value) {
    let scope = "Credential=test/20260101/us-east-1/events/aws4_request, SignedHeaders=host, Signature=0";
    let request = Client::new().post(endpoint).header("content-type", "application/x-amz-json-1.1");
    let request = request.header("x-amz-target", format!("AWSEvents.{action}"));
    let request = request.header("authorization", format!("AWS4-HMAC-SHA256 {scope}")).body(body.to_string());
    let answer = request.send().await.expect("an answer");
    assert!(answer.status().is_success(), "{action}: {:?}", answer.text().await);
}

#[tokio::test]
async fn public_events_reach_the_rules_of_other_systems() {
    let endpoint = std::env::var("TIDINGS_CLOUD").expect("TIDINGS_CLOUD");
    let (aws, harness) = (at(&endpoint), Harness::new());
    let heard = aws.sqs().create_queue().queue_name("heard").send().await.expect("a queue").queue_url.expect("a url");
    call(&endpoint, "CreateEventBus", json!({ "Name": BUS })).await;
    let pattern =
        json!({ "source": ["tidings"], "detail-type": ["communication.sent"], "detail": { "mode": ["live"] } });
    let rule = json!({ "Name": "sent", "EventBusName": BUS, "EventPattern": pattern.to_string() });
    call(&endpoint, "PutRule", rule).await;
    let target = json!({ "Id": "heard", "Arn": "arn:aws:sqs:us-east-1:000000000000:heard" });
    call(&endpoint, "PutTargets", json!({ "Rule": "sent", "EventBusName": BUS, "Targets": [target] })).await;

    let mut images = Vec::new();
    for _ in 0..12 {
        let key = harness.accept(|_| ()).await;
        harness.hint(&key).await;
        let id = key.stream_id();
        let stream = EventStore::read(&*harness.store, &id).await.expect("a stream");
        images.push(StreamImage { id, stream });
    }
    let bus = Arc::new(EventBridgeBus { client: aws.eventbridge(), bus: BUS.to_owned() });
    let publish = PublishHandler { store: harness.store.clone(), bus };
    // The newest append of each, and then everything, of which the rule wants the same.
    publish.publish(images.clone()).await.expect("published");
    publish.publish_after(images.iter().map(|image| (0, image.clone())).collect()).await.expect("published");

    let mut ids: Vec<String> = Vec::new();
    while ids.len() < 24 {
        let receive = aws.sqs().receive_message().queue_url(&heard).max_number_of_messages(10).wait_time_seconds(5);
        let messages = receive.send().await.expect("an answer").messages.unwrap_or_default();
        assert!(!messages.is_empty(), "{} events were heard", ids.len());
        for message in messages {
            let event: Value = serde_json::from_str(message.body().expect("a body")).expect("JSON");
            let shown = json!([event["source"], event["detail-type"], event["detail"]["type"]]);
            assert_eq!(shown, json!(["tidings", "communication.sent", "communication.sent"]), "{event}");
            ids.push(event["detail"]["id"].as_str().expect("an id").to_owned());
            let handle = message.receipt_handle().expect("a handle");
            aws.sqs().delete_message().queue_url(&heard).receipt_handle(handle).send().await.expect("deleted");
        }
    }
    ids.sort();
    ids.dedup();
    let mut expected: Vec<String> = images.iter().map(|image| format!("evt_{}_3", image.id.id)).collect();
    expected.sort();
    assert_eq!(ids, expected, "each event under its one id");
}
