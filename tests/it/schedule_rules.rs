//! Guarantees of schedules that are changed, created again, erased, or not processed for days.

use domain::ports::{ClockAndRng, DocumentStore};
use events::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::server::{Answer, TestServer, email, eventually};

fn schedule(to: &str, recipient: &str) -> Value {
    let mut send = email(to);
    send["recipientId"] = json!(recipient);
    json!({ "name": "News", "when": { "cron": "0 9 * * *" }, "timeZone": "UTC", "action": { "send": send } })
}

async fn create(server: &TestServer, key: &str, body: Value) -> Answer {
    let request = server.request(Method::POST, "/api/schedules").header("idempotency-key", key);
    server.answer(request.json(&body)).await
}

async fn patch(server: &TestServer, id: &str, revision: Option<&str>, body: Value) -> Answer {
    let mut request = server.request(Method::PATCH, &format!("/api/schedules/{id}")).json(&body);
    if let Some(revision) = revision {
        request = request.header("if-match", revision);
    }
    server.answer(request).await
}

async fn erase(server: &TestServer, subject: &str) -> Answer {
    server.answer(server.request(Method::DELETE, &format!("/api/subjects/{subject}"))).await
}

/// The messages of schedules in the vault.
async fn vault(server: &TestServer) -> Vec<String> {
    let tenant = local::DEV_TENANT.parse().expect("a tenant");
    let page = server.local.database.list_documents(&tenant, "schedule", None, 100, Timestamp(0)).await;
    page.expect("documents").into_iter().map(|(_, body)| body).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_vault_holds_only_the_current_message() {
    let server = TestServer::new().await;
    let id = create(&server, "k", schedule("old@sim.test", "old")).await.id();
    let stale = json!({ "action": schedule("stale@sim.test", "stale")["action"] });
    assert_eq!(patch(&server, &id, Some("\"9\""), stale).await.status, StatusCode::PRECONDITION_FAILED);
    let reused = create(&server, "k", schedule("reused@sim.test", "reused")).await;
    assert_eq!(reused.text("/code"), "idempotency_key_reused");
    assert_eq!(vault(&server).await.len(), 1);
    let other = json!({ "action": schedule("new@sim.test", "new")["action"] });
    let changed = patch(&server, &id, None, other.clone()).await;
    assert_eq!(changed.body["revision"], 2, "{}", changed.body);
    let stored = vault(&server).await;
    assert!(stored.len() == 1 && stored[0].contains("new@sim.test"), "{stored:?}");
    assert_eq!(patch(&server, &id, None, other).await.body["revision"], 2, "an identical message is no change");
    assert_eq!(erase(&server, "customer/old").await.body["erased"], 0);
    assert_eq!(erase(&server, "address/new@sim.test").await.body["erased"], 1);
    assert!(vault(&server).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_finds_fallback_addresses_and_files() {
    let server = TestServer::new().await;
    let mut body = schedule("first@sim.test", "first");
    body["action"]["send"]["fallback"] =
        json!([{ "channel": "sms", "recipientContact": "+254700000001", "content": "By text" }]);
    let announced = json!({ "filename": "a.txt", "contentType": "text/plain", "sizeBytes": 2 });
    let file = server.post("/api/attachments", announced).await;
    let upload = server.client.put(file.text("/upload/url")).header("content-type", "text/plain").body("hi");
    assert!(upload.send().await.expect("an answer").status().is_success());
    body["action"]["send"]["attachments"] = json!([{ "attachmentId": file.id() }]);
    let created = create(&server, "f", body).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.body);
    let exported = server.get("/api/subjects/address/+254700000001").await;
    assert_eq!(exported.text("/schedules/0/id"), created.id(), "{}", exported.body);
    assert_eq!(erase(&server, "address/+254700000001").await.body["erased"], 1);
    assert_eq!(server.get(&format!("/api/schedules/{}", created.id())).await.text("/endReason"), "erased");
    let gone = server.get(&format!("/api/attachments/{}", file.id())).await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND, "{}", gone.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schedule_of_another_channel_does_not_exist_for_a_key_and_a_change_keeps_the_author() {
    let server = TestServer::new().await;
    let id = create(&server, "a", schedule("a@sim.test", "a")).await.id();
    let key = async |name: &str, channels: Value| {
        let body = json!({ "name": name, "role": "editor", "mode": "test", "channels": channels });
        server.post("/api/keys", body).await.text("/key").to_owned()
    };
    let (sms, all) = (key("sms", json!(["sms"])).await, key("all", Value::Null).await);
    let ask = async |key: &str, method: Method, path: &str, body: Value| {
        let request = server.client.request(method, format!("{}/api/schedules/{id}{path}", server.local.url));
        server.answer(request.bearer_auth(key).json(&body)).await
    };
    for (method, path, body) in [
        (Method::PATCH, "", json!({ "name": "Mine" })),
        (Method::POST, "/pause", json!({})),
        (Method::POST, "/resume", json!({})),
        (Method::DELETE, "", json!({})),
    ] {
        let refused = ask(&sms, method.clone(), path, body).await;
        assert_eq!(refused.status, StatusCode::NOT_FOUND, "{method} {path} {}", refused.body);
    }
    assert_eq!(ask(&all, Method::PATCH, "", json!({ "name": "Renamed" })).await.status, StatusCode::OK);
    let events = ask(&all, Method::GET, "/events", json!({})).await;
    assert_eq!(events.text("/events/1/data/author/actor"), events.text("/events/0/data/author/actor"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identical_request_is_replayed_even_after_changes_and_the_end() {
    let server = TestServer::new().await;
    let mut once = schedule("once@sim.test", "once");
    once["when"] = json!({ "rrule": "FREQ=DAILY;COUNT=2" });
    once["time"] = json!("09:00");
    let created = create(&server, "once", once.clone()).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.body);
    assert!(!created.headers.contains_key("idempotent-replayed"));
    let id = created.id();
    assert_eq!(patch(&server, &id, None, json!({ "name": "Renamed" })).await.status, StatusCode::OK);
    let foreign = create(&server, "once", schedule("foreign@sim.test", "foreign")).await;
    assert_eq!(foreign.text("/code"), "idempotency_key_reused", "{}", foreign.body);
    server.advance(2 * 24 * 3_600_000).await;
    let path = format!("/api/schedules/{id}");
    eventually("the end", async || (server.get(&path).await.text("/status") == "ended").then_some(())).await;
    let replayed = create(&server, "once", once).await;
    assert_eq!((replayed.status, replayed.text("/endReason")), (StatusCode::CREATED, "finished"), "{}", replayed.body);
    assert_eq!(replayed.headers["idempotent-replayed"], "true");
    let ended = server.get("/api/schedules?status=ended").await;
    assert_eq!(ended.text("/schedules/0/id"), id, "{}", ended.body);
    assert_eq!(server.get("/api/schedules").await.body["schedules"], json!([]));

    // The message of a finished schedule is deleted after the retention period.
    assert_eq!(vault(&server).await.len(), 1);
    let days_later = server.local.clock.now() + 500 * 24 * 3_600_000;
    let tenant = local::DEV_TENANT.parse().expect("a tenant");
    let stored = server.local.database.list_documents(&tenant, "schedule", None, 100, days_later).await;
    assert_eq!(stored.expect("documents"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_outage_leaves_no_occurrence_without_a_reason() {
    let server = TestServer::new().await;
    let mut body = schedule("o@sim.test", "o");
    body["when"] = json!({ "cron": "*/15 * * * *" });
    let id = create(&server, "o", body).await.id();
    server.advance(10 * 24 * 3_600_000).await;
    let path = format!("/api/schedules/{id}");
    let missed = eventually("a record", async || {
        let events = server.get(&format!("{path}/events")).await;
        let events = events.body["events"].as_array().expect("events").clone();
        let counts = events.iter().filter_map(|event| event["data"]["count"].as_u64());
        let total: u64 = counts.sum();
        (total >= 958).then_some((total, events))
    })
    .await;
    // Ten days have 960 occurrences. One or two around the clock's move may count differently.
    assert!(missed.0 <= 960, "{missed:?}");
    let explained = server.get(&format!("{path}/explain?n=1")).await;
    assert_eq!(explained.status, StatusCode::BAD_REQUEST, "an unknown parameter is rejected");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_names_its_schedule() {
    let server = TestServer::new().await;
    let id = create(&server, "n", schedule("n@sim.test", "n")).await.id();
    server.advance(24 * 3_600_000).await;
    let path = format!("/api/schedules/{id}/occurrences");
    let sent = eventually("a message", async || {
        let answer = server.get(&path).await;
        answer.body.pointer("/occurrences/0/communicationId").and_then(Value::as_str).map(str::to_owned)
    })
    .await;
    let explained = server.get(&format!("/api/communications/{sent}/explain")).await;
    assert!(explained.text("/steps/0/text").starts_with(&format!("The schedule {id} of ")), "{}", explained.body);
    let deleted = server.answer(server.request(Method::DELETE, &format!("/api/schedules/{id}"))).await;
    assert_eq!(deleted.status, StatusCode::NO_CONTENT);
    let audit = server.get("/api/audit?subject=schedules").await;
    let types: Vec<&str> =
        audit.body["acts"].as_array().expect("acts").iter().filter_map(|act| act["type"].as_str()).collect();
    assert_eq!(types, ["ScheduleEnded", "ScheduleCreated"]);
}
