//! The bus of EventBridge, called by the real SDK over HTTP: a server that speaks `PutEvents` takes entries, and refuses
//! some of them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use application::StreamImage;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use domain::ports::EventBus;
use domain::ports::EventStore;
use infra::aws::{Aws, EventBridgeBus};
use publish::PublishHandler;
use serde_json::{Value, json};
use tests::harness::Harness;

const BUS: &str = "tidings-test";

/// What the server answers to one call.
enum Answer {
    /// The error codes of entries, by their places. The others are taken.
    Entries(Vec<(usize, &'static str)>),
    /// The call fails as a whole.
    Error(u16, &'static str),
}

#[derive(Default)]
struct Server {
    plan: Mutex<VecDeque<Answer>>,
    calls: Mutex<Vec<Vec<Value>>>,
    taken: Mutex<Vec<Value>>,
}

async fn put_events(State(server): State<Arc<Server>>, headers: HeaderMap, body: Bytes) -> Response {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    assert_eq!(header("x-amz-target"), "AWSEvents.PutEvents");
    assert!(header("authorization").starts_with("AWS4-HMAC-SHA256 "), "the call is signed");
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    let entries = body["Entries"].as_array().expect("entries").clone();
    assert!((1..=10).contains(&entries.len()), "{} entries", entries.len());
    server.calls.lock().expect("calls").push(entries.clone());
    let refused = match server.plan.lock().expect("a plan").pop_front() {
        Some(Answer::Error(status, kind)) => {
            let status = StatusCode::from_u16(status).expect("a status");
            return (status, Json(json!({ "__type": kind, "message": "planned" }))).into_response();
        }
        Some(Answer::Entries(refused)) => refused,
        None => Vec::new(),
    };
    let result = |(index, entry): (usize, &Value)| match refused.iter().find(|(place, _)| *place == index) {
        Some((_, code)) => json!({ "ErrorCode": code, "ErrorMessage": "planned" }),
        None => {
            server.taken.lock().expect("taken").push(entry.clone());
            json!({ "EventId": format!("event-{index}") })
        }
    };
    let results: Vec<Value> = entries.iter().enumerate().map(result).collect();
    Json(json!({ "FailedEntryCount": refused.len(), "Entries": results })).into_response()
}

async fn serve(plan: Vec<Answer>) -> (Arc<Server>, EventBridgeBus) {
    let server = Arc::new(Server { plan: Mutex::new(plan.into()), ..Server::default() });
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let router = Router::new().route("/", post(put_events)).with_state(server.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.expect("served") });
    let aws = Aws::from_env(|name| match name {
        "AWS_REGION" => Some("eu-central-1".to_owned()),
        "AWS_ENDPOINT_URL" => Some(url.clone()),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("test".to_owned()),
        _ => None,
    });
    let client = aws.expect("clients").eventbridge();
    (server, EventBridgeBus { client, bus: BUS.to_owned() })
}

/// The streams of so many messages that were sent. Each has one event to publish.
async fn sent(harness: &Harness, count: usize) -> Vec<StreamImage> {
    let mut images = Vec::new();
    for _ in 0..count {
        let key = harness.accept(|_| ()).await;
        harness.hint(&key).await;
        let id = key.stream_id();
        let stream = EventStore::read(&*harness.store, &id).await.expect("a stream");
        images.push(StreamImage { id, stream });
    }
    images
}

impl Server {
    /// The number of entries of each call.
    fn sizes(&self) -> Vec<usize> {
        self.calls.lock().expect("calls").iter().map(Vec::len).collect()
    }

    /// The ids of the events that it took.
    fn ids(&self) -> Vec<String> {
        let id = |entry: &Value| {
            let detail: Value = serde_json::from_str(entry["Detail"].as_str().expect("a detail")).expect("JSON");
            detail["id"].as_str().expect("an id").to_owned()
        };
        self.taken.lock().expect("taken").iter().map(id).collect()
    }
}

async fn published(harness: &Harness, images: &[StreamImage], plan: Vec<Answer>) -> (Arc<Server>, bool) {
    let (server, bus) = serve(plan).await;
    let bus: Arc<dyn EventBus> = Arc::new(bus);
    let publish = PublishHandler { store: harness.store.clone(), bus };
    let is_published = publish.publish(images.to_vec()).await.is_ok();
    (server, is_published)
}

#[tokio::test]
async fn entries_that_fail_are_put_again_by_themselves() {
    let harness = Harness::new();
    let images = sent(&harness, 12).await;
    let plan = vec![
        Answer::Entries(vec![(2, "InternalFailure"), (7, "ThrottlingException")]),
        Answer::Entries(vec![(1, "InternalFailure")]),
    ];
    let (server, is_published) = published(&harness, &images, plan).await;
    assert!(is_published);
    assert_eq!(server.sizes(), [10, 2, 1, 2], "ten in one call, those that failed, and the next call");
    let ids = server.ids();
    let expected: Vec<String> = images.iter().map(|image| format!("evt_{}_3", image.id.id)).collect();
    assert!(ids.len() == 12 && expected.iter().all(|id| ids.contains(id)), "{ids:?}");

    let entry = server.calls.lock().expect("calls")[0][0].clone();
    let shown = json!([entry["EventBusName"], entry["Source"], entry["DetailType"]]);
    assert_eq!(shown, json!([BUS, "tidings", "communication.sent"]), "{entry}");
    let detail: Value = serde_json::from_str(entry["Detail"].as_str().expect("a detail")).expect("JSON");
    assert_eq!((&detail["subject"]["id"], &detail["sequence"]), (&json!(images[0].id.id), &json!(3)), "{detail}");
}

#[tokio::test]
async fn what_the_bus_refuses_for_good_does_not_hold_up_the_rest() {
    let harness = Harness::new();
    let images = sent(&harness, 3).await;
    let plan = vec![Answer::Entries(vec![(0, "MalformedDetail"), (1, "NotAuthorizedForSourceException")])];
    let (server, is_published) = published(&harness, &images, plan).await;
    assert_eq!((is_published, server.sizes(), server.ids().len()), (true, vec![3], 1));
}

#[tokio::test]
async fn a_batch_is_delivered_again_while_the_bus_does_not_take_it() {
    let harness = Harness::new();
    let images = sent(&harness, 2).await;
    let failing = || Answer::Entries(vec![(1, "InternalFailure")]);
    let (server, is_published) = published(&harness, &images, vec![failing(), failing_one(), failing_one()]).await;
    assert_eq!((is_published, server.sizes()), (false, vec![2, 1, 1]));
    let (server, is_published) = published(&harness, &images, Vec::new()).await;
    assert_eq!((is_published, server.ids().len()), (true, 2), "the same events, with the same ids");

    // The SDK repeats a call that fails as a whole. If it goes on, the batch is delivered again.
    let (server, is_published) = published(&harness, &images, vec![Answer::Error(500, "InternalException")]).await;
    assert_eq!((is_published, server.sizes()), (true, vec![2, 2]));
    let throttled = || Answer::Error(400, "ThrottlingException");
    let (server, is_published) = published(&harness, &images, (0..3).map(|_| throttled()).collect()).await;
    assert_eq!((is_published, server.ids().len()), (false, 0));
}

fn failing_one() -> Answer {
    Answer::Entries(vec![(0, "InternalFailure")])
}
