//! What the source systems expect of messages: filters, fields, counts, and the status at the provider.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::server::{TestServer, email, eventually, sms};

async fn ids(server: &TestServer, query: &str) -> Vec<String> {
    let answer = server.get(&format!("/api/communications?{query}")).await;
    let rows = answer.body["results"].as_array().unwrap_or_else(|| panic!("{query}: {}", answer.body)).iter();
    rows.map(|row| row["id"].as_str().expect("an id").to_owned()).collect()
}

fn to(kind: &str, id: &str) -> Value {
    let mut message = email("delivered@sim.test");
    message["recipientType"] = json!(kind);
    message["recipientId"] = json!(id);
    message["type"] = json!("general");
    message["scheduledAt"] = json!("2027-06-01T09:00:00Z");
    message
}

#[tokio::test(flavor = "multi_thread")]
async fn recipients_of_different_types_are_different_people() {
    let server = TestServer::new().await;
    let mut sent = Vec::new();
    for kind in ["customer", "user", "customer", "supplier", "customer"] {
        sent.push(server.send(to(kind, "7")).await);
    }
    server.send(to("customer", "8")).await;
    sent.reverse();
    eventually("all are listed", async || (ids(&server, "recipientId=7").await.len() == 5).then_some(())).await;
    assert_eq!(ids(&server, "recipientId=7").await, sent, "newest first, of every type");
    assert_eq!(ids(&server, "recipientType=customer&recipientId=7").await, [&*sent[0], &sent[2], &sent[4]]);
    assert_eq!(ids(&server, "recipientType=user&recipientId=7").await, [&*sent[3]]);
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = server.get(&format!("/api/communications?recipientId=7&size=2{cursor}")).await;
        paged.extend(page.body["results"].as_array().expect("rows").iter().map(|row| row["id"].clone()));
        let Some(next) = page.body["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(json!(paged), json!(sent));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_names_of_the_sources_are_filters() {
    let server = TestServer::new().await;
    let waiting = server.send(to("customer", "1")).await;
    let done = server.send(email("delivered@sim.test")).await;
    let done = server.until_status(&done, "delivered").await;
    eventually("both are listed as they are", async || {
        (ids(&server, "status=delivered").await.len() == 1).then_some(())
    })
    .await;
    for (query, expected) in [
        ("status=pending", vec![waiting.clone()]),
        ("status=processing", vec![]),
        ("status=completed", vec![done.id()]),
        ("type=general", vec![waiting.clone()]),
        (&*format!("providerMessageId={}", done.text("/providerMessageId")), vec![done.id()]),
        ("providerMessageId=unknown", vec![]),
    ] {
        assert_eq!(ids(&server, query).await, expected, "{query}");
    }
    assert_eq!(server.get("/api/communications?status=pending").await.body["count"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_message_of_a_batch_is_counted_once() {
    let server = TestServer::new().await;
    let mut message = email("delivered@sim.test");
    message["idempotencyKey"] = json!("one");
    let sent = server.post("/api/communications/batch", json!({ "communications": [message, message] })).await;
    let counts = ["accepted", "replayed", "refused"].map(|name| sent.body[name].as_u64());
    assert_eq!(counts, [Some(1), Some(1), Some(0)], "{}", sent.body);
    assert_eq!(sent.body["results"][0]["idempotentReplayed"], false);
    assert_eq!(sent.body["results"][1]["idempotentReplayed"], true);
    let many = vec![email("delivered@sim.test"); 101];
    let refused = server.post("/api/communications/batch", json!({ "communications": many })).await;
    assert_eq!(refused.body["errors"].as_array().map(Vec::len), Some(1), "{}", refused.body);
    let refused = server.post("/api/communications/batch", json!({ "communications": [] })).await;
    assert_eq!(refused.text("/errors/0/code"), "empty", "{}", refused.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn null_resets_the_switch_of_a_channel() {
    let server = TestServer::new().await;
    let patch = async |path: &str, body: Value| server.answer(server.request(Method::PATCH, path).json(&body)).await;
    let path = "/api/communication-preferences/customer/7";
    assert_eq!(patch(path, json!({ "smsEnabled": false })).await.body["smsEnabled"], false);
    let mut message = sms("+447700900001");
    message["recipientId"] = json!("7");
    let refused = server.post("/api/communications/send", message.clone()).await;
    assert_eq!((refused.text("/code"), refused.text("/errors/0/code")), ("recipient_suppressed", "channel_disabled"));
    assert_eq!(patch(path, json!({ "smsEnabled": null })).await.body["smsEnabled"], true);
    assert_eq!(server.post("/api/communications/send", message.clone()).await.status, StatusCode::CREATED);
    let defaults = "/api/communication-preferences/defaults";
    assert_eq!(patch(defaults, json!({ "smsEnabled": false })).await.status, StatusCode::OK);
    let refused = server.post("/api/communications/send", message).await;
    assert_eq!(refused.text("/errors/0/code"), "channel_disabled", "the defaults hold again: {}", refused.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_and_templates_have_the_fields_of_the_sources() {
    let server = TestServer::new().await;
    let mut message = to("customer", "7");
    message["attachments"] = json!([{ "filename": "a.pdf", "fileUrl": "https://files.example.com/a.pdf" }]);
    let id = server.send(message).await;
    let shown = server.communication(&id).await;
    assert_eq!((&shown.body["maxAttempts"], &shown.body["maxRetries"]), (&json!(5), &json!(4)), "{}", shown.body);
    assert_eq!(shown.body["errorMessage"], Value::Null);
    assert_eq!(shown.text("/attachments/0/createdAt"), shown.text("/createdAt"));
    let template = json!({ "name": "n", "code": "own", "channel": "sms", "type": "general", "bodyTemplate": "Hello" });
    let template = server.post("/api/communication-templates", template).await;
    assert_eq!(template.text("/businessId"), "local", "{}", template.body);
    let system = server.get("/api/communication-templates/tpl_invoice_email").await;
    assert_eq!(system.body["businessId"], Value::Null, "{}", system.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_is_asked_for_the_status_of_a_message() {
    let server = TestServer::new().await;
    let waiting = server.send(to("customer", "7")).await;
    let ask = async |id: &str| server.get(&format!("/api/communications/{id}/provider-status")).await;
    assert_eq!(ask(&waiting).await.status, StatusCode::CONFLICT);
    let sandbox = server.send(email("delivered@sim.test")).await;
    server.until_status(&sandbox, "delivered").await;
    let refused = ask(&sandbox).await;
    assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.body);
    assert!(refused.text("/detail").contains("cannot be asked"), "{}", refused.body);
    let channel = json!({
        "provider": "twilio", "channel": "sms", "name": "ours",
        "settings": { "accountSid": "ACsimulator", "authToken": "simulator-token", "from": "+15005550006" },
    });
    assert_eq!(server.post("/api/channels", channel).await.status, StatusCode::CREATED);
    let id = server.send(sms("+447700900001")).await;
    let sent = server.until(&id, "lifecycle", "sent").await;
    let asked = ask(&id).await;
    assert_eq!(asked.status, StatusCode::OK, "{}", asked.body);
    assert_eq!((asked.text("/providerStatus"), asked.text("/reported")), ("delivered", "delivered"), "{}", asked.body);
    assert_eq!(asked.text("/providerMessageId"), sent.text("/providerMessageId"));
    assert_eq!(server.communication(&id).await.body["status"], "delivered");
    assert_eq!(ask(&id).await.text("/checkedAt"), asked.text("/checkedAt"), "the answer is kept for a while");
    for (provider, channel, body, status) in [
        ("bulksms", "sms", sms("+447700900002"), "DELIVERED"),
        ("mandrill", "email", email("delivered@sim.test"), "sent"),
    ] {
        let shown = server.get("/_dev/providers").await;
        let examples = shown.body["channels"].as_array().expect("examples");
        let mut example = examples.iter().find(|example| example["provider"] == provider).expect("an example").clone();
        example["name"] = json!(provider);
        let created = server.post("/api/channels", example).await;
        assert_eq!(created.status, StatusCode::CREATED, "{}", created.body);
        let order = json!({ "channel": channel, "order": [created.id()] });
        assert!(server.post("/api/channels/order", order).await.status.is_success());
        let id = server.send(body).await;
        server.until(&id, "lifecycle", "sent").await;
        let asked = ask(&id).await;
        assert_eq!((asked.text("/provider"), asked.text("/providerStatus")), (provider, status), "{}", asked.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_become_due_are_counted_by_minute_and_hour() {
    let server = TestServer::new().await;
    let now = server.post("/_dev/clock", json!({ "advanceMs": 0 })).await;
    let now = api::fields::parse_time(now.text("/now")).expect("a time");
    let minute = events::Timestamp(now.0 / 60_000 * 60_000);
    let later = |minutes: i64| api::fields::show_time(events::Timestamp(minute.0 + minutes * 60_000 + 30_000));
    let mut ids = Vec::new();
    for minutes in [20, 20, 21, 90, 60 * 30] {
        let mut body = tests::server::email("ada@example.com");
        body["scheduledAt"] = json!(later(minutes));
        ids.push(server.send(body).await);
    }
    let read = async || server.get("/api/communications/queue/upcoming").await;
    let of = |answer: &tests::server::Answer, list: &str| -> Vec<(String, u64)> {
        let slots = answer.body[list].as_array().expect("slots").clone();
        let slots = slots.iter().filter(|slot| slot["messages"] != 0);
        slots
            .map(|slot| {
                (slot["from"].as_str().expect("a time").to_owned(), slot["messages"].as_u64().expect("a count"))
            })
            .collect()
    };
    let at = |minutes: i64| api::fields::show_time(events::Timestamp(minute.0 + minutes * 60_000));
    let counted = tests::server::eventually("the rows are there", async || {
        let answer = read().await;
        (of(&answer, "hours").iter().map(|(_, count)| count).sum::<u64>() == 4).then_some(answer)
    })
    .await;
    let minutes = of(&counted, "minutes");
    assert_eq!(minutes, [(at(20), 2), (at(21), 1)], "{}", counted.body);
    assert_eq!(counted.body["hours"].as_array().map(Vec::len), Some(24));
    assert_eq!(of(&counted, "hours").iter().map(|(_, count)| *count).collect::<Vec<_>>(), [3, 1], "{}", counted.body);
    assert_eq!(counted.body["overdue"], json!(0));
    let answer = server.post(&format!("/api/communications/{}/cancel", ids[0]), json!({})).await;
    assert_eq!(answer.status, reqwest::StatusCode::OK, "{}", answer.body);
    tests::server::eventually("a cancelled message is not due", async || {
        (of(&read().await, "minutes") == [(at(20), 1), (at(21), 1)]).then_some(())
    })
    .await;
    let html = server.client.get(format!("{}/queue", server.local.url)).send().await.expect("a page").text().await;
    let html = html.expect("text");
    assert!(html.contains("Due in the next 24 hours") && html.contains("The next hour by minute"), "{html}");
}
