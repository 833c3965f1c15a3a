//! What was said to a provider in an attempt that failed.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::server::{TestServer, email, eventually, sms};

/// Lets the two refused attempts of a message be followed by one that is accepted.
async fn deliver(server: &TestServer, id: &str) {
    for attempts in [1, 2] {
        eventually("an attempt is refused", async || {
            let row = server.communication(id).await.body;
            (row["lifecycle"] == "retry_wait" && attempts <= row["attempts"].as_u64().unwrap_or(0)).then_some(())
        })
        .await;
        server.advance(1_200_000).await;
    }
    server.until_status(id, "delivered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_attempt_shows_its_request_and_response_without_secrets() {
    let server = TestServer::new().await;
    let examples = server.get("/_dev/providers").await.body;
    let secrets: Vec<String> = examples["channels"]
        .as_array()
        .expect("examples")
        .iter()
        .filter_map(|example| example["settings"].as_object())
        .flat_map(|settings| {
            ["authToken", "apiKey"].map(|name| settings.get(name).and_then(Value::as_str).map(str::to_owned))
        })
        .flatten()
        .collect();
    assert!(!secrets.is_empty());
    for mut message in [email("bounce-soft@sim.test"), sms("+447700900011")] {
        message["recipientId"] = json!("cus-9");
        let sent = server.send(message).await;
        deliver(&server, &sent).await;
        let path = format!("/api/communications/{sent}/attempts");
        let shown = server.get(&path).await.body;
        let attempts = shown["attempts"].as_array().expect("attempts");
        let (first, last) = (&attempts[0], &attempts[attempts.len() - 1]);
        assert_eq!((&first["outcome"], &first["response"]["status"]), (&json!("refused"), &json!(503)), "{shown}");
        assert_eq!(first["request"]["method"], "POST");
        assert!(
            first["request"]["body"]
                .as_str()
                .is_some_and(|body| body.contains("sim.test") || body.contains("447700900011"))
        );
        assert_eq!((&last["outcome"], &last["request"]), (&json!("accepted"), &Value::Null), "nothing is kept of it");
        assert!(secrets.iter().all(|secret| !shown.to_string().contains(secret)), "{shown}");
        let page = server.client.get(format!("{}/messages/{sent}", server.local.url)).send().await.expect("a page");
        assert!(page.text().await.expect("text").contains("Request and response of attempt 1"));
    }
    let sent = server.get("/api/communications?recipientId=cus-9").await.body["results"][0]["id"].clone();
    let path = format!("/api/communications/{}/attempts", sent.as_str().expect("an id"));
    let erased = server.answer(server.request(Method::DELETE, "/api/subjects/customer/cus-9")).await;
    assert!(erased.status.is_success(), "{}", erased.body);
    let shown = server.get(&path).await;
    assert_eq!(shown.status, StatusCode::OK);
    assert!(shown.body["attempts"].as_array().expect("attempts").iter().all(|attempt| attempt["request"].is_null()));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_kept_of_a_message_whose_content_is_kept_for_a_short_time() {
    let server = TestServer::new().await;
    let mut message = email("bounce-soft@sim.test");
    message["retention"] = json!("short");
    let sent = server.send(message).await;
    deliver(&server, &sent).await;
    let shown = server.get(&format!("/api/communications/{sent}/attempts")).await.body;
    assert_eq!((&shown["attempts"][0]["outcome"], &shown["attempts"][0]["request"]), (&json!("refused"), &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_secret_of_the_callback_address_is_removed_from_kept_requests() {
    let server = TestServer::new().await;
    let examples = server.get("/_dev/providers").await.body;
    let found = examples["channels"].as_array().expect("examples").iter().find(|it| it["provider"] == "twilio");
    let mut body = found.expect("an example of Twilio").clone();
    body["channel"] = json!("sms");
    let body = json!({ "provider": "twilio", "channel": "sms", "name": "Own", "settings": body["settings"] });
    let added = server.post("/api/channels", body).await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.body);
    let secret = added.text("/webhookUrl").rsplit('/').next().expect("a secret").to_owned();
    assert!(secret.len() >= 16, "{secret}");
    let sent = server.send(sms("+447700900011")).await;
    eventually("an attempt is refused", async || {
        (server.communication(&sent).await.body["lifecycle"] == "retry_wait").then_some(())
    })
    .await;
    let shown = server.get(&format!("/api/communications/{sent}/attempts")).await.body;
    let request = shown["attempts"][0]["request"]["body"].as_str().expect("a body");
    assert!(request.contains("StatusCallback") && request.contains("removed"), "{request}");
    assert!(!shown.to_string().contains(&secret), "{shown}");
}
