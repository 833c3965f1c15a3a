//! Recurring schedules over HTTP: each occurrence sends one message, or has a recorded reason why it did not.

use std::time::Duration;

use events::Timestamp;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::server::{Answer, TestServer, email, eventually};

const DAY_MS: u32 = 24 * 3_600_000;

fn daily(to: &str) -> Value {
    json!({
        "name": "Daily news", "when": { "cron": "0 9 * * *" }, "timeZone": "Europe/Berlin",
        "action": { "send": email(to) },
    })
}

async fn create(server: &TestServer, body: Value) -> Answer {
    let answer = server.post("/api/schedules", body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    answer
}

async fn patch(server: &TestServer, id: &str, revision: Option<&str>, body: Value) -> Answer {
    let mut request = server.request(Method::PATCH, &format!("/api/schedules/{id}")).json(&body);
    if let Some(revision) = revision {
        request = request.header("if-match", revision);
    }
    server.answer(request).await
}

async fn now(server: &TestServer) -> Timestamp {
    let answer = server.post("/_dev/clock", json!({ "advanceMs": 0 })).await;
    api::fields::parse_time(answer.text("/now")).expect("a time")
}

/// Moves the clock to the schedule's next occurrence.
async fn advance_to_next(server: &TestServer, id: &str) {
    let next = server.get(&format!("/api/schedules/{id}")).await.text("/nextOccurrence/at").to_owned();
    let next = api::fields::parse_time(&next).expect("a time");
    server.advance((next.0 - now(server).await.0) as u32 + 1).await;
}

/// The newest occurrence, once its outcome is known.
async fn newest(server: &TestServer, id: &str, outcome: &str, count: usize) -> Value {
    eventually(outcome, async || {
        let answer = server.get(&format!("/api/schedules/{id}/occurrences")).await;
        let occurrences = answer.body["occurrences"].as_array().expect("occurrences").clone();
        let first = occurrences.first().filter(|first| first["outcome"] == outcome && occurrences.len() == count);
        first.cloned()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_occurrence_sends_its_message_once() {
    let server = TestServer::new().await;
    let request = || {
        server.request(Method::POST, "/api/schedules").header("idempotency-key", "news-1").json(&daily("a@sim.test"))
    };
    let created = server.answer(request()).await;
    let id = created.id();
    assert_eq!(created.text("/status"), "active");
    assert_eq!(created.headers["etag"], "\"1\"");
    assert_eq!(created.headers["location"], format!("/api/schedules/{id}"));
    assert_eq!(server.answer(request()).await.id(), id, "the same key must not create a second schedule");
    let other = server.request(Method::POST, "/api/schedules").header("idempotency-key", "news-1");
    let reused = server.answer(other.json(&daily("b@sim.test"))).await;
    assert_eq!((reused.status.as_u16(), reused.text("/code")), (422, "idempotency_key_reused"));

    advance_to_next(&server, &id).await;
    let first = newest(&server, &id, "sent", 1).await;
    let nominal = first["nominal"].as_str().expect("a name");
    assert!(nominal.ends_with("T09:00[Europe/Berlin]"), "{nominal}");
    let sent = first["communicationId"].as_str().expect("an id");
    let message = server.until_status(sent, "delivered").await;
    assert_eq!((message.text("/source"), message.text("/subject")), ("schedule", "Hello"));
    let history = server.get(&format!("/api/communications/{sent}/events")).await;
    assert_eq!(history.text("/events/0/actor"), format!("schedule:{id}"));
    advance_to_next(&server, &id).await;
    newest(&server, &id, "sent", 2).await;
    eventually("two messages", async || (server.inbox("a@sim.test").await.len() == 2).then_some(())).await;

    let events = server.get(&format!("/api/schedules/{id}/events")).await;
    assert_eq!(events.body["events"].as_array().map(Vec::len), Some(1), "a run adds no event: {}", events.body);
    let explained = server.get(&format!("/api/schedules/{id}/explain")).await;
    assert!(
        explained.text("/summary").starts_with("It is active. It sends its message next at "),
        "{}",
        explained.body
    );
    assert_eq!(server.get("/api/schedules").await.text("/schedules/0/id"), id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_revision_is_neither_paused_nor_resumed_nor_deleted() {
    let server = TestServer::new().await;
    let id = create(&server, daily("p@sim.test")).await.id();
    let act = async |method: &Method, verb: &str, revision: &str| {
        let request = server.request(method.clone(), &format!("/api/schedules/{id}{verb}"));
        server.answer(request.header("if-match", revision)).await.status
    };
    for (method, verb) in [(Method::POST, "/pause"), (Method::POST, "/resume"), (Method::DELETE, "")] {
        assert_eq!(act(&method, verb, "\"7\"").await, StatusCode::PRECONDITION_FAILED, "{verb}");
        assert_eq!(act(&method, verb, "seven").await, StatusCode::BAD_REQUEST, "{verb}");
        assert!(act(&method, verb, "\"1\"").await.is_success(), "{verb}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_is_caught_up_and_a_pause_is_not() {
    let server = TestServer::new().await;
    let id = create(&server, daily("p@sim.test")).await.id();
    let path = |verb: &str| format!("/api/schedules/{id}/{verb}");
    let paused = server.post(&path("pause"), json!({ "reason": "Holidays" })).await;
    assert_eq!((paused.text("/status"), &paused.body["nextOccurrence"]), ("paused", &Value::Null));
    server.advance(2 * DAY_MS).await;
    newest(&server, &id, "paused", 2).await;
    let resumed = server.post(&path("resume"), json!({})).await;
    assert_eq!(resumed.text("/status"), "active", "{}", resumed.body);

    // After an outage of three days, the newest occurrence is caught up, and the others are recorded as missed.
    server.advance(3 * DAY_MS).await;
    newest(&server, &id, "sent", 5).await;
    let occurrences = server.get(&path("occurrences")).await;
    let outcomes: Vec<&Value> =
        occurrences.body["occurrences"].as_array().expect("a list").iter().map(|one| &one["outcome"]).collect();
    assert_eq!(outcomes, ["sent", "missed", "missed", "paused", "paused"], "{}", occurrences.body);
    let explained = server.get(&path("explain")).await;
    let codes: Vec<&str> =
        explained.body["steps"].as_array().expect("steps").iter().filter_map(|step| step["code"].as_str()).collect();
    assert_eq!(codes, ["created", "paused", "resumed", "missed.too_old"], "{}", explained.body);

    let until = api::fields::show_time(now(&server).await + 3 * i64::from(DAY_MS));
    let paused = server.post(&path("pause"), json!({ "until": until })).await;
    assert_eq!(paused.text("/pausedUntil"), until);
    server.advance(4 * DAY_MS).await;
    newest(&server, &id, "sent", 9).await;
    assert_eq!(server.get(&format!("/api/schedules/{id}")).await.text("/status"), "active");
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_a_change_omits_stay() {
    let server = TestServer::new().await;
    let created = create(&server, daily("c@sim.test")).await;
    let id = created.id();
    let weekly = json!({ "when": { "rrule": "FREQ=WEEKLY;BYDAY=MO" }, "time": "08:30" });
    let changed = patch(&server, &id, Some("\"1\""), weekly).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.body);
    assert_eq!((changed.text("/time"), changed.text("/timeZone")), ("08:30", "Europe/Berlin"));
    assert_eq!(changed.body["action"], created.body["action"]);
    let stale = patch(&server, &id, Some("\"1\""), json!({ "name": "Other" })).await;
    assert_eq!(stale.status, StatusCode::PRECONDITION_FAILED);
    let cron = patch(&server, &id, None, json!({ "when": { "cron": "0 9 1 * *" }, "clampToMonthEnd": true })).await;
    assert_eq!((cron.status, &cron.body["time"]), (StatusCode::OK, &Value::Null), "{}", cron.body);
    let message = patch(&server, &id, None, json!({ "action": { "send": email("d@sim.test") } })).await;
    assert_eq!(message.text("/action/send/recipientContact"), "d@sim.test");
    let same = patch(&server, &id, None, json!({ "name": "Daily news" })).await;
    assert_eq!(same.body["revision"], message.body["revision"], "nothing changed");

    assert_eq!(
        server.answer(server.request(Method::DELETE, &format!("/api/schedules/{id}"))).await.status.as_u16(),
        204
    );
    let ended = server.get(&format!("/api/schedules/{id}")).await;
    assert_eq!(
        (ended.text("/status"), ended.text("/endReason"), &ended.body["action"]),
        ("ended", "deleted", &Value::Null)
    );
    assert_eq!(patch(&server, &id, None, json!({ "name": "Other" })).await.status, StatusCode::CONFLICT);
    assert_eq!(server.post(&format!("/api/schedules/{id}/pause"), json!({})).await.status, StatusCode::CONFLICT);
    assert_eq!(server.get("/api/schedules").await.body["schedules"], json!([]));
    server.advance(60 * 60_000).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(server.inbox("d@sim.test").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn all_validation_errors_of_a_schedule_are_reported_at_once() {
    let server = TestServer::new().await;
    let body = json!({
        "name": "", "when": { "cron": "* * * * *" }, "time": "09:00", "timeZone": "Mars/Base", "start": "2026-13-01",
        "catchUp": { "policy": "sometimes", "window": "9w" }, "colour": "red",
        "action": { "send": { "channel": "email", "scheduledAt": "2027-01-01T00:00:00Z" } },
    });
    let refused = server.post("/api/schedules", body).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    let errors: Vec<&str> =
        refused.body["errors"].as_array().expect("errors").iter().filter_map(|one| one["pointer"].as_str()).collect();
    for pointer in [
        "/name",
        "/when/cron",
        "/time",
        "/timeZone",
        "/start",
        "/catchUp/policy",
        "/catchUp/window",
        "/colour",
        "/action/send/scheduledAt",
        "/action/send/type",
        "/action/send/recipientContact",
    ] {
        assert!(errors.contains(&pointer), "{pointer} in {errors:?}");
    }
    let past = json!({ "end": "2020-01-31", "start": "2020-01-01" });
    let mut body = daily("e@sim.test");
    past.as_object().into_iter().flatten().for_each(|(name, value)| body[name] = value.clone());
    assert_eq!(server.post("/api/schedules", body).await.text("/errors/0/code"), "never");
    for path in ["", "/preview", "/occurrences", "/events", "/explain"] {
        let missing = server.get(&format!("/api/schedules/sch_0000000000000000{path}")).await;
        assert_eq!(missing.status, StatusCode::NOT_FOUND, "{path}");
    }
    assert_eq!(server.get("/api/schedules/sch_0/preview?n=51").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preview_names_times_that_clocks_skip_or_repeat() {
    let server = TestServer::new().await;
    let body = json!({ "when": { "cron": "30 2 * * *" }, "timeZone": "Europe/Berlin", "start": "2027-03-28" });
    let preview = server.post("/api/schedules/preview?n=1", body).await;
    assert_eq!(
        preview.body["occurrences"][0],
        json!({
            "nominal": "2027-03-28T02:30[Europe/Berlin]", "at": "2027-03-28T01:30:00.000Z", "offset": "+02:00",
            "moved": "gap",
        })
    );
    let body = json!({ "when": { "rrule": "FREQ=MONTHLY;BYMONTHDAY=31" }, "time": "12:00", "timeZone": "UTC",
        "start": "2027-01-01", "clampToMonthEnd": true });
    let preview = server.post("/api/schedules/preview?n=2", body).await;
    assert_eq!(preview.text("/occurrences/1/nominal"), "2027-02-28T12:00[UTC]");
    let id = create(&server, daily("f@sim.test")).await.id();
    let saved = server.get(&format!("/api/schedules/{id}/preview")).await;
    assert_eq!(saved.body["occurrences"].as_array().map(Vec::len), Some(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_message_is_recorded_and_an_erasure_ends_the_schedule() {
    let server = TestServer::new().await;
    let mut body = daily("g@sim.test");
    body["action"]["send"]["recipientId"] = json!("g7");
    let id = create(&server, body).await.id();
    let listed = json!({ "channel": "email", "contact": "g@sim.test", "reason": "asked by phone" });
    assert_eq!(server.post("/api/suppressions", listed).await.status, StatusCode::CREATED);
    advance_to_next(&server, &id).await;
    let missed = newest(&server, &id, "missed", 1).await;
    assert_eq!((&missed["reason"], &missed["code"]), (&json!("refused"), &json!("suppression_list")));

    let person = "/api/subjects/customer/g7";
    let exported = server.get(person).await;
    assert_eq!(exported.text("/schedules/0/id"), id, "{}", exported.body);
    assert_eq!(server.answer(server.request(Method::DELETE, person)).await.status, StatusCode::OK);
    let ended = server.get(&format!("/api/schedules/{id}")).await;
    assert_eq!((ended.text("/endReason"), &ended.body["action"]), ("erased", &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_roles_with_permission_can_change_schedules() {
    let server = TestServer::new().await;
    let id = create(&server, daily("h@sim.test")).await.id();
    let path = format!("/api/schedules/{id}");
    let key = async |role: &str, mode: &str| {
        let body = json!({ "name": format!("{role}-{mode}"), "role": role, "mode": mode });
        server.post("/api/keys", body).await.text("/key").to_owned()
    };
    let (viewer, sender) = (key("viewer", "test").await, key("sender", "test").await);
    let status_of = async |key: &str, method: Method, path: &str| {
        let request = server.client.request(method, format!("{}{path}", server.local.url)).bearer_auth(key);
        server.answer(request.json(&json!({}))).await.status.as_u16()
    };
    assert_eq!(status_of(&viewer, Method::GET, &path).await, 200);
    assert_eq!(status_of(&viewer, Method::POST, &format!("{path}/pause")).await, 403);
    assert_eq!(status_of(&sender, Method::DELETE, &path).await, 403);
    let acts = server.get("/api/audit?subject=schedules").await;
    assert_eq!(acts.text("/acts/0/type"), "ScheduleCreated", "{}", acts.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_other_channels_cannot_change_a_schedule_whose_fallback_leaves_its_scope() {
    let server = TestServer::new().await;
    let mut schedule = daily("a@sim.test");
    schedule["action"]["send"] = json!({
        "channel": "sms", "type": "general", "recipientContact": "+447700900004", "content": "Hello",
        "fallback": [{ "channel": "email", "recipientContact": "b@sim.test", "subject": "Hello" }],
    });
    let id = create(&server, schedule).await.id();
    let key = json!({ "name": "editor", "role": "editor", "mode": "test", "channels": ["sms"] });
    let key = server.post("/api/keys", key).await.text("/key").to_owned();
    let change = json!({ "when": { "cron": "0 10 * * *" } });
    for (method, verb, body) in [
        (Method::PATCH, "", change),
        (Method::POST, "/pause", json!({})),
        (Method::POST, "/resume", json!({})),
        (Method::DELETE, "", Value::Null),
    ] {
        let url = format!("{}/api/schedules/{id}{verb}", server.local.url);
        let request = server.client.request(method.clone(), url).bearer_auth(&key);
        let refused = server.answer(if body.is_null() { request } else { request.json(&body) }).await;
        assert_eq!(refused.status, StatusCode::NOT_FOUND, "{method} {verb}: {}", refused.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_a_body_is_named_once() {
    let server = TestServer::new().await;
    let mut no_zone = daily("a@sim.test");
    no_zone.as_object_mut().expect("an object").remove("timeZone");
    no_zone["start"] = json!("2099-12-01");
    no_zone["exceptions"] = json!([]);
    let mut empty_rule = daily("a@sim.test");
    empty_rule["when"] = json!({ "rrule": "" });
    let mut no_rule = daily("a@sim.test");
    no_rule["when"] = json!({});
    for (body, expected) in [(no_zone, "/timeZone"), (empty_rule, "/when/rrule"), (no_rule, "/when")] {
        let refused = server.post("/api/schedules", body).await;
        let errors = refused.body["errors"].as_array().cloned().unwrap_or_default();
        let pointers: Vec<&str> = errors.iter().filter_map(|error| error["pointer"].as_str()).collect();
        assert_eq!(pointers, [expected], "{}", refused.body);
    }
    let twice = server.get("/api/schedules?status=ended&status=active").await;
    assert_eq!((twice.status.as_u16(), twice.text("/errors/0/code")), (400, "repeated"), "{}", twice.body);
}
