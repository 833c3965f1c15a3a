//! Public events for other systems.

use std::sync::{Arc, Mutex};

use application::StreamImage;
use async_trait::async_trait;
use domain::ports::{EventBus, EventStore, NotTaken, StoreError};
use domain::publication::PublicEvent;
use publish::PublishHandler;
use serde_json::{Value, json};
use tests::harness::Harness;
use tests::server::{TestServer, email};

/// A bus that refuses events by a plan, one list for each call.
#[derive(Default)]
struct PlannedBus {
    refusals: Mutex<Vec<Vec<NotTaken>>>,
    calls: Mutex<Vec<Vec<String>>>,
}

impl PlannedBus {
    fn refusing(refusals: &[&[(usize, bool)]]) -> Arc<PlannedBus> {
        let refusal = |&(index, is_transient): &(usize, bool)| NotTaken { index, code: "E".to_owned(), is_transient };
        let mut plan: Vec<Vec<NotTaken>> = refusals.iter().map(|call| call.iter().map(refusal).collect()).collect();
        plan.reverse();
        Arc::new(PlannedBus { refusals: Mutex::new(plan), ..PlannedBus::default() })
    }

    fn calls(&self) -> Vec<Vec<String>> {
        self.calls.lock().expect("calls").clone()
    }
}

#[async_trait]
impl EventBus for PlannedBus {
    async fn put(&self, events: &[PublicEvent]) -> Result<Vec<NotTaken>, StoreError> {
        self.calls.lock().expect("calls").push(events.iter().map(|event| event.kind.clone()).collect());
        Ok(self.refusals.lock().expect("a plan").pop().unwrap_or_default())
    }
}

async fn delivered(harness: &Harness) -> Vec<StreamImage> {
    let mut images = Vec::new();
    for _ in 0..2 {
        let key = harness.accept(|_| ()).await;
        harness.hint(&key).await;
        let id = key.stream_id();
        let stream = harness.store.read(&id).await.expect("a stream");
        images.push(StreamImage { id, stream });
    }
    images
}

#[tokio::test]
async fn only_the_newest_append_is_published_and_only_failed_entries_are_put_again() {
    let harness = Harness::new();
    let images = delivered(&harness).await;
    let bus = PlannedBus::refusing(&[&[(1, true)], &[]]);
    let publish = PublishHandler { store: harness.store.clone(), bus: bus.clone() };
    publish.publish(images.clone()).await.expect("published");
    let sent = || "communication.sent".to_owned();
    assert_eq!(bus.calls(), [vec![sent(), sent()], vec![sent()]]);

    let bus = PlannedBus::refusing(&[&[(0, false)]]);
    let publish = PublishHandler { store: harness.store.clone(), bus: bus.clone() };
    publish.publish(images.clone()).await.expect("what is refused for good does not hold up the rest");
    assert_eq!(bus.calls().len(), 1);

    let bus = PlannedBus::refusing(&[&[(0, true)], &[(0, true)], &[(0, true)]]);
    let publish = PublishHandler { store: harness.store.clone(), bus };
    publish.publish(images).await.expect_err("the batch is delivered again");
}

async fn public_events(server: &TestServer) -> Vec<Value> {
    let bus = server.get("/_dev/bus").await.body;
    bus["events"].as_array().expect("events").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_and_an_invoice_are_published_without_personal_data() {
    let server = TestServer::new().await;
    let mut body = email("opened@sim.test");
    body["recipientName"] = json!("Marker Name");
    body["metadata"] = json!({ "note": "marker-metadata" });
    let id = server.send(body).await;
    server.until_status(&id, "opened").await;
    let kinds = |events: &[Value]| -> Vec<String> {
        events.iter().map(|event| event["type"].as_str().expect("a type").to_owned()).collect()
    };
    let events = public_events(&server).await;
    let expected = ["accepted", "sent", "delivered", "opened"].map(|last| format!("communication.{last}"));
    assert_eq!(kinds(&events), expected, "{events:?}");
    assert_eq!(events[0]["subject"], json!({ "type": "communication", "id": id }));
    assert_eq!((&events[0]["tenant"], &events[0]["mode"]), (&json!("local"), &json!("test")));

    let example = server.get("/api/event-types/sale.created/example.json").await.body;
    let sale = json!({ "id": "sale-event-1", "type": "sale.created", "data": example });
    let taken = server.post("/api/events", sale).await;
    assert!(taken.status.is_success(), "{}", taken.body);
    let sale = &example["sale"];
    let payment = json!({
        "id": "pay-event-1", "type": "payment.received",
        "data": {
            "payment": { "id": "pay-1", "amount": sale["total"], "currency": sale["currency"], "receivedAt": "2026-11-29T09:00:00Z" },
            "allocations": [{ "invoice": sale["id"], "amount": sale["total"] }],
        },
    });
    let paid = server.post("/api/events", payment).await;
    assert!(paid.status.is_success(), "{}", paid.body);
    let settled = tests::server::eventually("the invoice is settled", async || {
        let events = public_events(&server).await;
        kinds(&events).contains(&"invoice.settled".to_owned()).then_some(events)
    });
    let events = json!(settled.await).to_string();
    for marker in ["opened@sim.test", "Marker Name", "marker-metadata", "contact_hash", "contactHash"] {
        assert!(!events.contains(marker), "{marker}");
    }
    let customer = &example["customer"];
    for field in ["name", "email", "phone"] {
        let Some(text) = customer[field].as_str() else { continue };
        assert!(!events.contains(text), "{field}");
    }
}
