//! Fallback: each step is a communication of its own, and its explanation names the reason.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::server::{Answer, TestServer, eventually};

/// A request by email to `to`, with a fallback by SMS.
fn chain(to: &str, step: Value) -> Value {
    let mut sms = json!({ "channel": "sms", "recipientContact": "+447700900001", "content": "Pay by SMS" });
    step.as_object().into_iter().flatten().for_each(|(name, value)| sms[name] = value.clone());
    json!({
        "channel": "email", "type": "invoice", "recipientId": "ada", "recipientContact": to, "subject": "Pay",
        "content": "Pay by email", "fallback": [sms],
    })
}

async fn next_of(server: &TestServer, id: &str) -> Answer {
    let found = async || server.communication(id).await.body["fallbackId"].as_str().map(str::to_owned);
    let next = eventually("the next channel", found).await;
    server.communication(&next).await
}

async fn codes(server: &TestServer, id: &str) -> Vec<String> {
    let explained = server.get(&format!("/api/communications/{id}/explain")).await;
    let steps = explained.body["steps"].as_array().expect("steps").clone();
    steps.iter().map(|step| step["code"].as_str().expect("a code").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounce_triggers_the_fallback() {
    let server = TestServer::new().await;
    let id = server.send(chain("bounce-hard@sim.test", json!({}))).await;
    server.until_status(&id, "bounced").await;
    let next = next_of(&server, &id).await;
    assert_eq!((next.text("/channel"), next.text("/source"), next.text("/fallbackOf")), ("sms", "fallback", &*id));
    server.until_status(&next.id(), "delivered").await;
    assert_eq!(server.inbox("+447700900001").await[0]["body"], "Pay by SMS");
    let codes = codes(&server, &id).await;
    assert_eq!(codes[codes.len() - 2..], ["fallback.not_delivered", "fallback.requested"]);
    let summary = server.get(&format!("/api/communications/{id}/explain")).await.text("/summary").to_owned();
    assert!(summary.contains(&next.id()), "{summary}");
    let events = server.get(&format!("/api/communications/{}/events", next.id())).await;
    assert_eq!(events.text("/events/0/causationId"), id, "{}", events.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn suppressed_channels_are_skipped_at_once_until_the_last_step() {
    let server = TestServer::new().await;
    let listed = json!({ "channel": "email", "contact": "ada@example.com" });
    assert_eq!(server.post("/api/suppressions", listed).await.status, StatusCode::CREATED);
    let own = json!({ "smsEnabled": false, "preferredTelegramId": "7700900001" });
    let path = "/api/communication-preferences/customer/ada";
    assert_eq!(server.answer(server.request(Method::PATCH, path).json(&own)).await.status, StatusCode::OK);
    let mut body = chain("ada@example.com", json!({}));
    let telegram = json!({ "channel": "telegram", "unless": "read", "after": "PT1H" });
    body["fallback"].as_array_mut().expect("steps").push(telegram);
    let id = server.send(body).await;
    let sms = next_of(&server, &id).await;
    let telegram = next_of(&server, &sms.id()).await;
    server.until_status(&telegram.id(), "sent").await;
    assert_eq!(server.communication(&id).await.text("/reason"), "suppressed:suppression_list");
    assert_eq!(server.communication(&sms.id()).await.text("/reason"), "suppressed:channel_disabled");
    assert_eq!(telegram.text("/content"), "Pay by email", "a step inherits the fields that it does not set");
    assert_eq!(server.communication(&id).await.body["fallback"][1]["after"], "PT1H");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_message_that_is_not_read_in_time_has_a_fallback() {
    let server = TestServer::new().await;
    let late = json!({ "after": "30m", "unless": "read" });
    let unread = server.send(chain("ada@example.com", late.clone())).await;
    let read = server.send(chain("opened@sim.test", late.clone())).await;
    let cancelled = server.send(chain("bo@example.com", late.clone())).await;
    server.until_status(&unread, "delivered").await;
    server.until_status(&read, "opened").await;
    server.until_status(&cancelled, "delivered").await;
    let answer = server.post(&format!("/api/communications/{cancelled}/cancel"), json!({})).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let waits = server.get(&format!("/api/communications/{unread}/explain")).await;
    assert!(waits.text("/summary").contains("The fallback to the next channel is due at"), "{}", waits.body);
    server.advance(31 * 60_000).await;
    let next = next_of(&server, &unread).await;
    server.until_status(&next.id(), "delivered").await;
    assert!(codes(&server, &unread).await.contains(&"fallback.not_read_in_time".to_owned()));
    for other in [&read, &cancelled] {
        assert_eq!(server.communication(other).await.body["fallbackId"], Value::Null);
    }
    assert_eq!(server.inbox("+447700900001").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_is_validated_when_the_message_is_accepted() {
    let server = TestServer::new().await;
    let wrong = [
        (json!({ "channel": "fax" }), "/fallback/0/channel", "not_one_of"),
        (json!({ "recipientContact": "12" }), "/fallback/0/recipientContact", "not_an_address"),
        (json!({ "after": "soon" }), "/fallback/0/after", "not_a_duration"),
        (json!({ "after": "30s" }), "/fallback/0/after", "not_a_duration"),
        (json!({ "after": "4d" }), "/fallback/0/after", "not_a_duration"),
        (json!({ "after": "80h" }), "/fallback/0/after", "too_late"),
        (json!({ "unless": "read" }), "/fallback/0/after", "required"),
        (json!({ "unless": "paid" }), "/fallback/0/unless", "not_one_of"),
        (json!({ "priority": "high" }), "/fallback/0/priority", "unknown_field"),
        (json!({ "content": null, "templateId": "nothing" }), "/fallback/0/templateId", "unknown_template"),
        (json!({ "channel": "email", "recipientContact": "ada@example.com" }), "/fallback/0/channel", "repeated"),
        (json!({ "channel": "whatsapp", "recipientContact": null }), "/fallback/0/recipientContact", "required"),
    ];
    for (step, pointer, code) in wrong {
        let answer = server.post("/api/communications/send", chain("ada@example.com", step.clone())).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{step}: {}", answer.body);
        assert_eq!((answer.text("/errors/0/pointer"), answer.text("/errors/0/code")), (pointer, code), "{step}");
    }
    let mut not_steps = chain("ada@example.com", json!({}));
    for (fallback, pointer) in [(json!("sms"), "/fallback"), (json!(["sms"]), "/fallback/0")] {
        not_steps["fallback"] = fallback;
        let answer = server.post("/api/communications/send", not_steps.clone()).await;
        assert_eq!(answer.text("/errors/0/pointer"), pointer, "{}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_step_has_its_channels_template_and_changed_variables_apply_to_all_steps() {
    let server = TestServer::new().await;
    for channel in ["sms", "whatsapp"] {
        let template = json!({
            "name": "Pay", "code": "pay", "channel": channel, "type": "invoice",
            "bodyTemplate": format!("{{{{who}}}}, by {channel}"),
        });
        assert_eq!(server.post("/api/communication-templates", template).await.status, StatusCode::CREATED);
    }
    let at = api::fields::show_time(domain::ports::ClockAndRng::now(&*server.local.clock) + 600_000);
    let body = json!({
        "channel": "sms", "type": "invoice", "recipientContact": "+447700900010", "templateId": "pay",
        "templateVariables": { "who": "Ada" }, "scheduledAt": at, "fallback": [{ "channel": "whatsapp" }],
    });
    let id = server.send(body).await;
    let path = format!("/api/communications/{id}");
    let other = json!({ "templateVariables": { "who": "Bo" } });
    assert_eq!(server.answer(server.request(Method::PATCH, &path).json(&other)).await.status, StatusCode::OK);
    server.advance(601_000).await;
    server.until_status(&id, "bounced").await;
    let next = next_of(&server, &id).await;
    assert_eq!(next.text("/recipientContact"), "+447700900010", "WhatsApp uses the phone number");
    assert_eq!(next.text("/rendered/text"), "Bo, by whatsapp");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_prevents_pending_fallbacks_and_covers_sent_ones() {
    let server = TestServer::new().await;
    let mut body = chain("ada@example.com", json!({ "after": "30m", "unless": "read" }));
    body.as_object_mut().expect("a body").remove("recipientId");
    let id = server.send(body).await;
    server.until_status(&id, "delivered").await;
    let erased = server.answer(server.request(Method::DELETE, "/api/subjects/address/ada@example.com")).await;
    assert_eq!(erased.body["erased"], 1, "{}", erased.body);
    server.advance(31 * 60_000).await;
    assert_eq!(server.communication(&id).await.body["fallbackId"], Value::Null);
    assert!(server.inbox("+447700900001").await.is_empty());
    // A fallback that was already requested is found through its first communication.
    let mut body = chain("bounce-hard@sim.test", json!({}));
    body.as_object_mut().expect("a body").remove("recipientId");
    let id = server.send(body).await;
    server.until_status(&id, "bounced").await;
    let next = next_of(&server, &id).await;
    server.until_status(&next.id(), "delivered").await;
    server.answer(server.request(Method::DELETE, "/api/subjects/address/bounce-hard@sim.test")).await;
    assert_eq!(server.communication(&next.id()).await.body["recipientContact"], Value::Null);
}
