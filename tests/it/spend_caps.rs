//! What messages may cost on one day: counting, refusal, alerts.

use application::spend::{DailySpend, SpendError};
use domain::prices::Cost;
use events::{Mode, Timestamp};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::harness::{Harness, tenant};
use tests::server::{Answer, TestServer, email, eventually, sms};

const DAY_MS: i64 = 24 * 3_600_000;
/// The list price of an email with SendGrid, in millionths of a dollar.
const EMAIL_MICROS: i64 = 399;
/// The list price of an SMS to the United States, in millionths of a dollar for each segment.
const SEGMENT_MICROS: i64 = 7_500;

async fn set_caps(server: &TestServer, caps: Value) -> Answer {
    let body = json!({ "dailySpendCapsMicros": caps });
    server.answer(server.request(Method::PATCH, "/api/limits").json(&body)).await
}

async fn spent(server: &TestServer, currency: &str) -> Value {
    let limits = server.get("/api/limits").await.body;
    let spent =
        limits["spentToday"].as_array().expect("a list").iter().find(|one| one["currency"] == currency).cloned();
    spent.unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_would_pass_the_cap_is_refused_until_the_next_day() {
    let server = TestServer::new().await;
    // What was sent before there was a cap counts too.
    let with_key = |to: &str, key: &str| {
        server.request(Method::POST, "/api/communications/send").header("idempotency-key", key).json(&email(to))
    };
    let first = server.answer(with_key("one@example.com", "one")).await;
    assert_eq!(first.status, StatusCode::CREATED, "{}", first.body);
    let changed = set_caps(&server, json!({ "USD": 2 * EMAIL_MICROS, "KES": 5 })).await;
    assert_eq!(changed.body["dailySpendCapsMicros"], json!({ "USD": 2 * EMAIL_MICROS, "KES": 5 }), "{}", changed.body);
    server.send(email("two@example.com")).await;

    let refused = server.answer(with_key("three@example.com", "three")).await;
    assert_eq!((refused.status.as_u16(), refused.text("/code")), (422, "spend_cap_reached"), "{}", refused.body);
    let spend = &refused.body["spend"];
    let expected = json!({
        "currency": "USD", "capMicros": 2 * EMAIL_MICROS, "spentMicros": 2 * EMAIL_MICROS,
        "estimatedCostMicros": EMAIL_MICROS, "resetsAt": server.get("/api/limits").await.text("/resetsAt"),
    });
    assert_eq!(*spend, expected);
    assert!(spend["resetsAt"].as_str().expect("a time").ends_with("T00:00:00.000Z"), "{spend}");
    assert!(refused.text("/detail").contains("0.000798 USD"), "{}", refused.body);
    let repeated = server.answer(with_key("one@example.com", "one")).await;
    assert_eq!((repeated.status.as_u16(), repeated.id()), (201, first.id()), "what was accepted is not refused");
    assert_eq!(spent(&server, "USD").await["spentMicros"], json!(2 * EMAIL_MICROS), "nor counted twice");
    assert_eq!(spent(&server, "USD").await["remainingMicros"], json!(0));
    let free = server.post("/api/communications/send", sms("+447700900001")).await;
    assert_eq!((free.status, &free.body["estimatedCost"]), (StatusCode::CREATED, &Value::Null), "without a price");

    server.advance(DAY_MS as u32).await;
    assert_eq!(spent(&server, "USD").await["spentMicros"], json!(0));
    server.send(email("four@example.com")).await;
    let removed = set_caps(&server, json!({ "USD": null, "KES": null })).await;
    assert_eq!(removed.body["dailySpendCapsMicros"], json!({}));
    server.send(email("five@example.com")).await;
    server.send(email("six@example.com")).await;
    assert_eq!(spent(&server, "USD").await["spentMicros"], json!(3 * EMAIL_MICROS), "counted without a cap too");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_arrive_at_once_do_not_pass_the_cap_together() {
    let server = TestServer::new().await;
    set_caps(&server, json!({ "USD": 5 * EMAIL_MICROS + 1 })).await;
    let batch: Vec<Value> = (0..16).map(|n| email(&format!("n{n}@example.com"))).collect();
    let batch = server.post("/api/communications/batch", json!({ "communications": batch })).await;
    let results = batch.body["results"].as_array().expect("results");
    let refused = results.iter().filter(|one| one["problem"]["code"] == "spend_cap_reached").count();
    assert_eq!((batch.body["accepted"].clone(), refused), (json!(5), 11), "{}", batch.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cap_names_its_faults() {
    let server = TestServer::new().await;
    let wrong = set_caps(&server, json!({ "usd": 1, "KES": -1, "EUR": 1.5 })).await;
    let pointers: Vec<&str> = (0..3).map(|n| wrong.text(&format!("/errors/{n}/pointer"))).collect();
    let expected = ["EUR", "KES", "usd"].map(|currency| format!("/dailySpendCapsMicros/{currency}"));
    assert_eq!(pointers, expected, "{}", wrong.body);
    let null = set_caps(&server, Value::Null).await;
    assert_eq!((null.status.as_u16(), null.text("/errors/0/pointer")), (422, "/dailySpendCapsMicros"), "{}", null.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fallback_step_is_counted_when_it_is_sent_and_suppressed_beyond_the_cap() {
    let server = TestServer::new().await;
    set_caps(&server, json!({ "USD": 2 * EMAIL_MICROS + SEGMENT_MICROS })).await;
    let send = async || {
        let mut body = email("bounce-hard@sim.test");
        let sms = |to: &str| json!({ "channel": "sms", "recipientContact": to, "content": "Pay by SMS" });
        // A step without a price costs nothing.
        body["fallback"] = json!([sms("+12025550123"), sms("+447700900001")]);
        let id = server.send(body).await;
        next_step(&server, &id).await
    };
    let sent = send().await;
    server.until_status(&sent, "delivered").await;
    assert_eq!(spent(&server, "USD").await["spentMicros"], json!(EMAIL_MICROS + SEGMENT_MICROS));

    let beyond = send().await;
    server.until_status(&beyond, "suppressed").await;
    let explained = server.get(&format!("/api/communications/{beyond}/explain")).await;
    assert!(explained.body.to_string().contains("spend cap"), "{}", explained.body);
    let last = next_step(&server, &beyond).await;
    server.until_status(&last, "delivered").await;
    assert_eq!(spent(&server, "USD").await["spentMicros"], json!(2 * EMAIL_MICROS + SEGMENT_MICROS));
}

async fn next_step(server: &TestServer, id: &str) -> String {
    eventually("the step", async || server.communication(id).await.body["fallbackId"].as_str().map(str::to_owned)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_costs_more_counts_the_difference() {
    let server = TestServer::new().await;
    set_caps(&server, json!({ "USD": 3 * SEGMENT_MICROS })).await;
    let mut body = sms("+12025550123");
    body["scheduledAt"] = json!("2027-06-01T09:00:00Z");
    let path = format!("/api/communications/{}", server.send(body).await);
    let change = async |segments: usize| {
        let body = json!({ "content": "x".repeat(153 * segments) });
        server.answer(server.request(Method::PATCH, &path).json(&body)).await
    };
    assert_eq!(spent(&server, "USD").await["spentMicros"], json!(SEGMENT_MICROS));

    let refused = change(4).await;
    assert_eq!((refused.status.as_u16(), refused.text("/code")), (422, "spend_cap_reached"), "{}", refused.body);
    assert_eq!(refused.body["spend"]["estimatedCostMicros"], json!(3 * SEGMENT_MICROS), "{}", refused.body);
    assert_eq!(change(3).await.status, StatusCode::OK);
    assert_eq!(change(2).await.status, StatusCode::OK, "what costs less is allowed");
    assert_eq!(spent(&server, "USD").await["spentMicros"], json!(3 * SEGMENT_MICROS), "and takes nothing back");
    server.post(&format!("{path}/cancel"), json!({})).await;
    assert_eq!(change(3).await.status, StatusCode::CONFLICT);
    assert_eq!(spent(&server, "USD").await["spentMicros"], json!(3 * SEGMENT_MICROS));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_occurrence_beyond_the_cap_is_recorded_as_missed() {
    let server = TestServer::new().await;
    set_caps(&server, json!({ "USD": 0 })).await;
    let body = json!({
        "name": "Hourly", "when": { "cron": "0 * * * *" }, "timeZone": "UTC",
        "action": { "send": { "channel": "email", "type": "payment_reminder", "recipientContact": "p@sim.test", "subject": "S",
            "content": "Hello" } },
    });
    let created = server.post("/api/schedules", body).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.body);
    server.advance(3_601_000).await;
    let path = format!("/api/schedules/{}/occurrences", created.id());
    let missed = eventually("an occurrence", async || {
        let found = server.get(&path).await.body["occurrences"][0].clone();
        (found["outcome"] == "missed").then_some(found)
    });
    let missed = missed.await;
    assert_eq!((&missed["reason"], &missed["code"]), (&json!("refused"), &json!("spend_cap_reached")), "{missed}");
}

#[tokio::test]
async fn an_alert_is_raised_at_80_percent_and_at_the_cap_once_a_day() {
    let harness = Harness::new();
    let tenant = tenant();
    let at =
        |now| DailySpend { limits: &*harness.store, alerts: &*harness.alerts, tenant: &tenant, mode: Mode::Live, now };
    let cost = |micros| Cost { micros, currency: "KES".to_owned() };
    let alerts = || std::mem::take(&mut *harness.alerts.0.lock().expect("alerts"));
    let morning = Timestamp(1_800_000_000_000);
    let today = at(morning);
    today.charge(&cost(79), Some(100)).await.expect("within the cap");
    assert_eq!(alerts(), [] as [String; 0]);
    today.charge(&cost(1), Some(100)).await.expect("within the cap");
    assert_eq!(alerts(), ["acme has used 80 % of its daily spend cap in KES"]);
    today.refund(&cost(1)).await;
    today.charge(&cost(2), Some(100)).await.expect("within the cap");
    assert_eq!(alerts(), [] as [String; 0], "once a day");
    for _ in 0..2 {
        let refused = today.charge(&cost(20), Some(100)).await.expect_err("beyond the cap");
        let SpendError::CapReached(reached) = refused else { panic!("{refused}") };
        assert_eq!((reached.spent_micros, reached.cap_micros, reached.cost_micros), (81, 100, 20));
        assert_eq!(reached.resets_at.0 % DAY_MS, 0);
    }
    assert_eq!(alerts(), ["acme has used 100 % of its daily spend cap in KES"]);
    assert_eq!(today.spent(&["KES".to_owned(), "USD".to_owned()]).await.expect("an answer"), [81, 0]);
    let test = DailySpend { mode: Mode::Test, ..today };
    assert_eq!(test.spent(&["KES".to_owned()]).await.expect("an answer"), [0], "test messages are counted apart");
    at(morning + DAY_MS).charge(&cost(80), Some(100)).await.expect("another day");
    assert_eq!(alerts(), ["acme has used 80 % of its daily spend cap in KES"]);
}
