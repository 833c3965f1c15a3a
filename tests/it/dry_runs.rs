//! Dry runs of messages, and acts on messages of the simulated inbox.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::server::{TestServer, email, eventually, sms};

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_says_what_would_happen_and_changes_nothing() {
    let server = TestServer::new().await;
    let dry = async |body: Value, key: Option<&str>| {
        let request = server.request(Method::POST, "/api/communications/send?dryRun=true").json(&body);
        let request = key.into_iter().fold(request, |request, key| request.header("idempotency-key", key));
        let answer = server.answer(request).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        answer.body
    };
    let result = |body: &Value, name: &str| {
        let check = body["checks"].as_array().expect("checks").iter().find(|check| check["check"] == name);
        check.map(|check| (check["result"].clone(), check["reason"].clone()))
    };
    let mut message = sms("+447700900001");
    message["content"] = json!("Hello");
    let ok = dry(message.clone(), Some("k-1")).await;
    assert_eq!((&ok["wouldSend"], &ok["rendered"]["text"]), (&json!(true), &json!("Hello")), "{ok}");
    assert_eq!((&ok["rendered"]["segments"]["count"], &ok["provider"]), (&json!(1), &json!("twilio")), "{ok}");
    for name in ["duplicates", "message", "content", "suppression", "preferences", "quietHours", "route", "rate"] {
        assert_eq!(result(&ok, name), Some((json!("passed"), Value::Null)), "{name}: {ok}");
    }
    assert!(server.inbox("+447700900001").await.is_empty(), "nothing was sent");
    let listed = server.get("/api/communications?channel=sms").await;
    assert_eq!(listed.body["results"], json!([]), "nothing was stored");

    let sent = server.request(Method::POST, "/api/communications/send").header("idempotency-key", "k-1").json(&message);
    let sent = server.answer(sent).await;
    assert_eq!(sent.status, StatusCode::CREATED, "a dry run does not use up the key");
    let again = dry(message.clone(), Some("k-1")).await;
    assert_eq!((&again["wouldSend"], &again["idempotentReplayOf"]), (&json!(false), &sent.body["id"]), "{again}");

    let wrong = json!({ "channel": "sms", "type": "invoice", "recipientContact": "nobody", "content": "Hi" });
    let wrong = dry(wrong, None).await;
    assert_eq!((&wrong["wouldSend"], &wrong["errors"][0]["pointer"]), (&json!(false), &json!("/recipientContact")));
    let unfilled = json!({
        "channel": "sms", "type": "invoice", "recipientContact": "+447700900001", "templateId": "tpl_invoice_sms",
    });
    let unfilled = dry(unfilled, None).await;
    assert_eq!(
        (&unfilled["wouldSend"], &unfilled["errors"][0]["pointer"]),
        (&json!(false), &json!("/templateVariables"))
    );
    let incomplete = server.request(Method::POST, "/api/communications/send?dryRun=true").json(&json!({}));
    assert_eq!(server.answer(incomplete).await.status, StatusCode::UNPROCESSABLE_ENTITY, "as a send of it");

    server.post("/api/suppressions", json!({ "channel": "sms", "contact": "+447700900001", "reason": "asked" })).await;
    let suppressed = dry(message.clone(), None).await;
    assert_eq!(result(&suppressed, "suppression"), Some((json!("failed"), json!("suppression_list"))), "{suppressed}");
    message["recipientContact"] = json!("+447700900004");
    message["quietHours"] = json!({ "start": "00:00", "end": "23:59", "timeZone": "UTC" });
    let quiet = dry(message, None).await;
    assert_eq!(result(&quiet, "quietHours").map(|(result, _)| result), Some(json!("delayed")), "{quiet}");
    assert_eq!(quiet["wouldSend"], true);
    let unknown = server.request(Method::POST, "/api/communications/send?dryrun=true").json(&json!({}));
    assert_eq!(server.answer(unknown).await.status, StatusCode::BAD_REQUEST);
}

/// The id in the inbox of the newest message to an address.
async fn received(server: &TestServer, to: &str) -> u64 {
    server.inbox(to).await[0]["id"].as_u64().expect("an id")
}

async fn act(server: &TestServer, id: u64, name: &str, body: Value) -> StatusCode {
    server.post(&format!("/_dev/inbox/{id}/{name}"), body).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_acts_on_a_message_and_the_provider_reports_it() {
    let server = TestServer::new().await;
    let sent = server.send(email("ada@example.com")).await;
    server.until_status(&sent, "delivered").await;
    let id = received(&server, "ada@example.com").await;
    let shown = server.get(&format!("/_dev/inbox/{id}")).await.body;
    assert_eq!(shown["communicationId"], json!(sent), "{shown}");
    let acts: Vec<&str> = shown["acts"].as_array().expect("acts").iter().filter_map(Value::as_str).collect();
    assert!(acts.contains(&"open") && acts.contains(&"click") && !acts.contains(&"reply"), "{acts:?}");
    for (name, status) in [("open", "opened"), ("click", "clicked")] {
        assert_eq!(act(&server, id, name, json!({})).await, StatusCode::OK, "{name}");
        server.until_status(&sent, status).await;
    }
    assert_eq!(act(&server, id, "complain", json!({})).await, StatusCode::OK);
    eventually("the complaint is known", async || {
        (server.communication(&sent).await.body["complained"] == true).then_some(())
    })
    .await;
    let shown = server.get(&format!("/_dev/inbox/{id}")).await.body;
    assert!(2 < shown["callbacks"].as_array().expect("callbacks").len(), "{shown}");
    assert_eq!(act(&server, id, "reply", json!({ "text": "Hi" })).await, StatusCode::CONFLICT, "an email has no reply");
    assert_eq!(act(&server, 999, "open", json!({})).await, StatusCode::NOT_FOUND);
    assert_eq!(act(&server, id, "dance", json!({})).await, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_replies_and_opts_out_on_each_channel_that_has_replies() {
    let server = TestServer::new().await;
    for (channel, to) in [
        ("sms", "+447700900001"),
        ("whatsapp", "+447700900004"),
        ("messenger", "7700900001"),
        ("telegram", "7700900004"),
    ] {
        let message = json!({ "channel": channel, "type": "general", "recipientContact": to, "content": "Hello" });
        let sent = server.send(message.clone()).await;
        eventually("it is received", async || (!server.inbox(to).await.is_empty()).then_some(())).await;
        let id = received(&server, to).await;
        assert_eq!(act(&server, id, "reply", json!({})).await, StatusCode::UNPROCESSABLE_ENTITY, "{channel}");
        assert_eq!(act(&server, id, "reply", json!({ "text": "When?" })).await, StatusCode::OK, "{channel}");
        assert_eq!(server.inbox(to).await[0]["replies"][0]["text"], "When?", "{channel} {sent}");
        assert_eq!(act(&server, id, "stop", json!({})).await, StatusCode::OK, "{channel}");
        eventually("the opt-out is known", async || {
            let refused = server.post("/api/communications/send", message.clone()).await;
            (refused.status == StatusCode::UNPROCESSABLE_ENTITY).then_some(())
        })
        .await;
    }
    let faults = server.get("/_dev/faults").await.body;
    assert!(faults["providers"].as_array().is_some_and(|all| all.contains(&json!("twilio"))), "{faults}");
    server.post("/_dev/faults", json!({ "provider": "twilio", "kind": "503", "count": 2 })).await;
    assert_eq!(server.get("/_dev/faults").await.body["faults"][0]["count"], 2);
}
