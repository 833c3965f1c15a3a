//! The limits that a tenant sets for itself: how fast it may send.

use reqwest::Method;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::server::{Answer, TestServer, email, sms};

async fn patch(server: &TestServer, body: Value) -> Answer {
    server.answer(server.request(Method::PATCH, "/api/limits").json(&body)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_rate_takes_effect_at_once() {
    let server = TestServer::new().await;
    let none = server.get("/api/limits").await;
    assert_eq!((&none.body["rate"], &none.body["effectiveRate"]), (&Value::Null, &Value::Null), "{}", none.body);
    // The worker has cached that there is no limit.
    let first = server.send(email("first@example.com")).await;
    server.until_status(&first, "delivered").await;

    let rate = json!({ "burst": 1, "perSecond": 1 });
    let changed = patch(&server, json!({ "rate": rate })).await;
    assert_eq!((changed.status, &changed.body["rate"]), (StatusCode::OK, &rate), "{}", changed.body);
    assert_eq!(changed.body["effectiveRate"]["remaining"], 1);
    let batch: Vec<Value> = (0..4).map(|n| email(&format!("n{n}@example.com"))).collect();
    let batch = server.post("/api/communications/batch", json!({ "communications": batch })).await;
    let ids: Vec<&str> = (0..4).map(|n| batch.text(&format!("/results/{n}/id"))).collect();
    let mut sent = Vec::new();
    for id in &ids {
        sent.push(server.until_status(id, "delivered").await.text("/sentAt").to_owned());
    }
    sent.sort();
    let seconds: std::collections::BTreeSet<&str> = sent.iter().map(|at| &at[..19]).collect();
    assert!(seconds.len() >= 3, "one a second: {sent:?}");

    let quota = server.get("/api/providers/sendgrid/quota?count=100").await;
    assert_eq!(quota.body["check"]["allowed"], json!(false), "{}", quota.body);
    let wait = server.post("/api/communications/send", email("later@example.com")).await;
    assert!(wait.text("/estimatedSendTime") > wait.text("/communication/createdAt"), "{}", wait.body);

    let removed = patch(&server, json!({ "rate": null })).await;
    assert_eq!((&removed.body["rate"], &removed.body["effectiveRate"]), (&Value::Null, &Value::Null));
    let audit = server.get("/api/audit?subject=limits").await;
    assert_eq!(audit.body["acts"].as_array().map(Vec::len), Some(2), "{}", audit.body);
    assert_eq!(
        (audit.text("/acts/1/type"), &audit.body["acts"][1]["data"]["rate"]["burst"]),
        ("LimitsChanged", &json!(1))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_limits_names_its_faults_and_its_revision() {
    let server = TestServer::new().await;
    let empty = patch(&server, json!({})).await;
    assert_eq!((empty.status.as_u16(), empty.text("/errors/0/code")), (422, "empty"));
    let wrong = patch(&server, json!({ "rate": { "burst": 0, "perSecond": 1 }, "speed": 3 })).await;
    assert_eq!((wrong.text("/errors/0/pointer"), wrong.text("/errors/1/pointer")), ("/rate", "/speed"));

    let based_on = async |tag: &str, burst: u32| {
        let body = json!({ "rate": { "burst": burst, "perSecond": 1 } });
        server.answer(server.request(Method::PATCH, "/api/limits").header("if-match", tag).json(&body)).await
    };
    let first = based_on("\"0\"", 5).await;
    assert_eq!((first.status.as_u16(), first.headers["etag"].to_str().expect("text")), (200, "\"1\""));
    assert_eq!(based_on("\"0\"", 6).await.status.as_u16(), 412);
    assert_eq!(server.get("/api/limits").await.headers["etag"].to_str().expect("text"), "\"1\"");
    assert_eq!(based_on("\"1\"", 6).await.status.as_u16(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_key_that_may_manage_keys_of_the_whole_tenant_changes_limits() {
    let server = TestServer::new().await;
    let status = async |method: Method, body: Value| {
        let key = server.post("/api/keys", body).await.text("/key").to_owned();
        let request = server.client.request(method, format!("{}/api/limits", server.local.url)).bearer_auth(key);
        server.answer(request.json(&json!({ "rate": null }))).await.status.as_u16()
    };
    let viewer = json!({ "name": "board", "role": "viewer" });
    assert_eq!(status(Method::GET, viewer.clone()).await, 200);
    assert_eq!(status(Method::PATCH, viewer).await, 403);
    let restricted = json!({ "name": "sms", "role": "admin", "channels": ["sms"] });
    assert_eq!(status(Method::PATCH, restricted).await, 403);
    assert_eq!(status(Method::PATCH, json!({ "name": "ops", "role": "admin" })).await, 200);
}

async fn pause(server: &TestServer, channel: &str, act: &str, body: Value) -> Answer {
    server.post(&format!("/api/limits/channels/{channel}/{act}"), body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_channel_holds_what_is_due_and_sends_it_at_once_when_it_is_resumed() {
    let server = TestServer::new().await;
    let reason = json!({ "reason": "The texts name the wrong amount" });
    let paused = pause(&server, "sms", "pause", reason.clone()).await;
    assert_eq!((paused.status, paused.text("/paused/0/channel")), (StatusCode::OK, "sms"), "{}", paused.body);
    assert_eq!(paused.text("/paused/0/by"), "key:developer", "{}", paused.body);
    let since = paused.text("/paused/0/since").to_owned();
    let again = pause(&server, "sms", "pause", json!({ "reason": "another" })).await;
    assert_eq!(
        (again.text("/paused/0/since"), again.text("/paused/0/reason")),
        (&*since, paused.text("/paused/0/reason"))
    );

    let held = server.send(sms("+447700900001")).await;
    let other = server.send(email("ada@example.com")).await;
    server.until_status(&other, "delivered").await;
    let explained = server.get(&format!("/api/communications/{held}/explain")).await;
    assert_eq!(explained.text("/waitsFor/code"), "channel_paused", "{}", explained.body);
    assert_eq!(explained.text("/waitsFor/pause/reason"), "The texts name the wrong amount");
    assert_eq!(server.events(&held).await, ["CommunicationRequested"], "holding is no event and no attempt");
    let queue = server.get("/api/communications/queue/status").await;
    assert_eq!((queue.text("/paused/0/channel"), &queue.body["pending"]), ("sms", &json!(1)), "{}", queue.body);
    let dry = server.post("/api/communications/send?dryRun=true", sms("+447700900001")).await;
    let checks = dry.body["checks"].as_array().expect("checks");
    let check = checks.iter().find(|check| check["check"] == "pause").expect("the check");
    assert_eq!((&check["result"], &check["reason"]), (&json!("delayed"), &json!("channel_paused")), "{}", dry.body);
    assert_eq!(dry.body["wouldSendAt"], Value::Null, "nobody knows when it is resumed");

    let short = json!({ "expiresAt": explained_time(server.get("/api/communications/queue/status").await, 60_000) });
    let mut expiring = sms("+447700900002");
    expiring["expiresAt"] = short["expiresAt"].clone();
    let expiring = server.send(expiring).await;
    server.advance(61_000).await;
    let expired = server.until(&expiring, "lifecycle", "dead_lettered").await;
    assert_eq!(expired.text("/reason"), "expired", "what expires while the channel is paused is expired");
    assert_eq!(server.communication(&held).await.text("/status"), "queued");

    let resumed = pause(&server, "sms", "resume", json!({})).await;
    assert_eq!((resumed.status, &resumed.body["paused"]), (StatusCode::OK, &json!([])));
    server.until_status(&held, "delivered").await;
    let acts = server.get("/api/audit?subject=limits").await;
    let types: Vec<&str> =
        acts.body["acts"].as_array().expect("acts").iter().map(|act| act["type"].as_str().expect("a type")).collect();
    assert_eq!(types, ["SendingResumed", "SendingPaused"]);
    assert_eq!(acts.text("/acts/0/actor"), "key:developer");
}

/// A time so long after that of a queue's status.
fn explained_time(queue: Answer, later_ms: i64) -> String {
    let at = api::fields::parse_time(queue.text("/lastSweepAt")).expect("a time");
    api::fields::show_time(events::Timestamp(at.0 + later_ms))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_needs_a_reason_a_channel_and_the_permission() {
    let server = TestServer::new().await;
    let none = pause(&server, "sms", "pause", json!({})).await;
    assert_eq!(
        (none.status.as_u16(), none.text("/errors/0/code"), none.text("/errors/0/pointer")),
        (422, "required", "/reason")
    );
    let long = pause(&server, "sms", "pause", json!({ "reason": "x".repeat(201) })).await;
    assert_eq!(long.text("/errors/0/code"), "too_long");
    assert_eq!(pause(&server, "fax", "pause", json!({ "reason": "r" })).await.status.as_u16(), 404);
    assert_eq!(pause(&server, "sms", "resume", json!({})).await.status, StatusCode::OK, "it is not paused");
    for role in ["operator", "sender", "viewer"] {
        let key = server.post("/api/keys", json!({ "name": role, "role": role })).await.text("/key").to_owned();
        for act in ["pause", "resume"] {
            let path = format!("{}/api/limits/channels/sms/{act}", server.local.url);
            let request = server.client.post(path).bearer_auth(&key).json(&json!({ "reason": "r" }));
            assert_eq!(server.answer(request).await.status.as_u16(), 403, "{role} {act}");
        }
    }
}
