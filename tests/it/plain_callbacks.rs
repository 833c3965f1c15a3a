//! Callbacks that only contain the provider's own message id, callbacks of which nothing can be applied, and messages
//! that people send to the deployment's own accounts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use p256::ecdsa::signature::Signer;
use p256::ecdsa::{DerSignature, SigningKey};
use p256::pkcs8::EncodePublicKey;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha1::Sha1;
use tests::server::{TestServer, email, eventually, sms};

/// Posts a form as Twilio signs it with the token of the simulated accounts.
async fn twilio(server: &TestServer, url: &str, fields: &[(&str, &str)]) -> StatusCode {
    let mut sorted = fields.to_vec();
    sorted.sort_unstable();
    let signed: String = sorted.iter().flat_map(|(name, value)| [*name, *value]).collect();
    let mut mac = Hmac::<Sha1>::new_from_slice(b"simulator-token").expect("a key");
    mac.update(format!("{url}{signed}").as_bytes());
    let signature = STANDARD.encode(mac.finalize().into_bytes());
    let request = server.client.post(url).header("x-twilio-signature", signature).form(fields);
    request.send().await.expect("an answer").status()
}

/// Posts events as SendGrid signs them.
async fn sendgrid(server: &TestServer, url: &str, key: &SigningKey, events: &Value) -> StatusCode {
    use domain::ports::ClockAndRng;
    let at = (server.local.clock.now().0 / 1_000).to_string();
    let body = events.to_string();
    let signature: DerSignature = key.sign(format!("{at}{body}").as_bytes());
    let request = server.client.post(url).header("x-twilio-email-event-webhook-timestamp", at);
    let request = request.header("x-twilio-email-event-webhook-signature", STANDARD.encode(signature.to_bytes()));
    request.body(body).send().await.expect("an answer").status()
}

async fn provider_message_id(server: &TestServer, id: &str) -> String {
    server.until_status(id, "delivered").await.text("/providerMessageId").to_owned()
}

/// The newest entry of the log of callbacks whose body contains a text.
async fn logged(server: &TestServer, text: &str) -> Value {
    let log = server.get("/api/webhook-log").await;
    for entry in log.body["callbacks"].as_array().expect("callbacks") {
        assert!(entry.get("body").is_none() && entry.get("headers").is_none(), "the list is short: {entry}");
        let whole =
            server.get(&format!("/api/webhook-log/{}", entry["id"].as_str().expect("an id").replace('#', "%23"))).await;
        if whole.body.to_string().contains(text) {
            return whole.body;
        }
    }
    panic!("no entry has {text}")
}

#[tokio::test(flavor = "multi_thread")]
async fn twilios_message_id_is_enough_on_shared_and_on_own_accounts() {
    let server = TestServer::new().await;
    let url = format!("{}/webhooks/twilio/sms-status", server.local.url);
    let shared = server.send(sms("+447700900001")).await;
    let sid = provider_message_id(&server, &shared).await;
    let fields = [("MessageSid", sid.as_str()), ("MessageStatus", "read")];
    assert_eq!(twilio(&server, &url, &fields).await, StatusCode::NO_CONTENT);
    eventually("it is read", async || {
        server.advance(6_000).await;
        (server.communication(&shared).await.text("/status") == "read").then_some(())
    })
    .await;

    let settings = json!({ "accountSid": "ACsimulator", "authToken": "simulator-token", "from": "+15005550006" });
    let own = json!({ "provider": "twilio", "channel": "sms", "settings": settings });
    let own = server.post("/api/channels", own).await;
    let id = server.send(sms("+447700900001")).await;
    let sid = provider_message_id(&server, &id).await;
    let fields = [("MessageSid", sid.as_str()), ("MessageStatus", "read")];
    assert_eq!(twilio(&server, own.text("/webhookUrl"), &fields).await, StatusCode::NO_CONTENT);
    eventually("it is read", async || {
        server.advance(6_000).await;
        (server.communication(&id).await.text("/status") == "read").then_some(())
    })
    .await;
    let unknown = [("MessageSid", "SMunknown"), ("MessageStatus", "delivered")];
    assert_eq!(twilio(&server, own.text("/webhookUrl"), &unknown).await, StatusCode::NO_CONTENT);
    let entry = logged(&server, "SMunknown").await;
    assert_eq!(entry["status"], "waiting", "{entry}");
    assert!(entry["detail"].as_str().is_some_and(|detail| detail.contains("1 of 1 not matched")), "{entry}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sendgrids_events_are_matched_by_each_of_their_ids_and_lost_ones_are_said() {
    let server = TestServer::new().await;
    let key = SigningKey::from_slice(&[9; 32]).expect("a key");
    let public = STANDARD.encode(key.verifying_key().to_public_key_der().expect("DER").as_bytes());
    let settings = json!({ "apiKey": "SG.x", "fromEmail": "a@example.com", "webhookKey": public });
    let own = server.post("/api/channels", json!({ "provider": "sendgrid", "settings": settings })).await;
    assert_eq!(own.status, StatusCode::CREATED, "{}", own.body);
    let url = own.text("/webhookUrl").to_owned();
    // The simulator has no key to sign with for this channel, so only our own callbacks count.
    let send = async || {
        let id = server.send(email("ada@example.com")).await;
        server.until(&id, "lifecycle", "sent").await;
        id
    };
    let (first, second) = (send().await, send().await);
    let message = server.communication(&first).await.text("/providerMessageId").to_owned();
    let event = |more: Value| {
        let mut event = json!({ "event": "delivered", "timestamp": 1_800_000_000, "email": "ada@example.com" });
        event.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        event
    };
    let events = json!([
        event(json!({ "sg_message_id": format!("{message}.filter0001.16648.5515E0B88.0") })),
        event(json!({ "communicationId": second })),
        event(json!({ "lost": "marker-1" })),
    ]);
    assert_eq!(sendgrid(&server, &url, &key, &events).await, StatusCode::NO_CONTENT);
    for id in [&first, &second] {
        eventually("it is delivered", async || {
            server.advance(6_000).await;
            (server.communication(id).await.text("/status") == "delivered").then_some(())
        })
        .await;
    }
    let entry = logged(&server, "marker-1").await;
    let detail = entry["detail"].as_str().expect("a detail");
    assert!(detail.contains("1 of 3 not matched: no message"), "{entry}");
    let nothing = json!([{ "event": "delivered", "timestamp": 1, "lost": "marker-2" }]);
    assert_eq!(sendgrid(&server, &url, &key, &nothing).await, StatusCode::NO_CONTENT);
    let entry = logged(&server, "marker-2").await;
    assert_eq!((&entry["status"], entry["detail"].as_str().is_some()), (&json!("unmatched"), true), "{entry}");

    // A group unsubscribe suppresses the address, and a group resubscribe lifts that again.
    let accepted = async || server.post("/api/communications/send", email("ada@example.com")).await.status;
    for (name, expected) in
        [("group_unsubscribe", StatusCode::UNPROCESSABLE_ENTITY), ("group_resubscribe", StatusCode::CREATED)]
    {
        let mut change = event(json!({ "communicationId": second }));
        change["event"] = json!(name);
        assert_eq!(sendgrid(&server, &url, &key, &json!([change])).await, StatusCode::NO_CONTENT);
        assert_eq!(accepted().await, expected, "{name}");
    }
    // A bounce without a status has no empty code.
    let mut bounce = event(json!({ "communicationId": second }));
    bounce["event"] = json!("bounce");
    assert_eq!(sendgrid(&server, &url, &key, &json!([bounce])).await, StatusCode::NO_CONTENT);
    assert_eq!(server.communication(&second).await.text("/reason"), "bounced");
    let listed = server.get("/api/suppressions").await;
    assert_eq!(listed.text("/suppressions/0/createdBy"), "webhook:sendgrid", "{}", listed.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_on_the_deployments_account_suppresses_and_a_yes_in_a_chat_does_not_lift_it() {
    let server = TestServer::new().await;
    let reply = async |channel: &str, sid: &str, text: &str| {
        let url = format!("{}/webhooks/twilio/{channel}-status", server.local.url);
        let prefix = if channel == "sms" { "" } else { "whatsapp:" };
        let from = format!("{prefix}+447700900088");
        let fields = [("MessageSid", sid), ("From", &from), ("Body", text)];
        assert_eq!(twilio(&server, &url, &fields).await, StatusCode::NO_CONTENT);
    };
    let whatsapp =
        json!({ "channel": "whatsapp", "type": "general", "recipientContact": "+447700900088", "content": "C" });
    let accepted = async |body: Value| server.post("/api/communications/send", body).await.status;
    reply("sms", "SM1", "Stop!").await;
    assert_eq!(accepted(sms("+447700900088")).await, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(accepted(whatsapp.clone()).await, StatusCode::CREATED);
    reply("whatsapp", "SM2", "Cancel").await;
    assert_eq!(accepted(whatsapp.clone()).await, StatusCode::CREATED);
    reply("whatsapp", "SM3", "stop").await;
    reply("whatsapp", "SM4", "Yes").await;
    assert_eq!(accepted(whatsapp.clone()).await, StatusCode::UNPROCESSABLE_ENTITY);
    reply("sms", "SM5", "Yes").await;
    assert_eq!(accepted(sms("+447700900088")).await, StatusCode::CREATED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_or_a_new_channel_is_felt_at_once() {
    let server = TestServer::new().await;
    let first = server.send(sms("+447700900001")).await;
    assert_eq!(server.until_status(&first, "delivered").await.text("/provider"), "twilio");
    let bulk = json!({ "provider": "bulksms", "settings": { "tokenId": "t", "tokenSecret": "s" } });
    let own = server.post("/api/channels", bulk).await;
    let second = server.send(sms("+447700900001")).await;
    assert_eq!(server.until(&second, "lifecycle", "sent").await.text("/provider"), "bulksms");
    let path = format!("/api/channels/{}", own.text("/id"));
    assert_eq!(server.answer(server.request(Method::DELETE, &path)).await.status, StatusCode::NO_CONTENT);
    let third = server.send(sms("+447700900001")).await;
    assert_eq!(server.until_status(&third, "delivered").await.text("/provider"), "twilio");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resend_by_another_channel_takes_the_template_of_that_channel() {
    let server = TestServer::new().await;
    let variables = json!({
        "customerName": "Ada", "invoiceNumber": "INV-1", "amount": "10.00", "currency": "EUR", "dueDate": "2026-12-01",
        "businessName": "Acme", "invoiceUrl": "https://example.com/i", "paymentUrl": "https://example.com/p",
    });
    let body = json!({
        "channel": "email", "type": "invoice", "recipientContact": "ada@example.com", "templateId": "tpl_invoice_email",
        "templateVariables": variables,
    });
    let sent = server.send(body).await;
    let path = format!("/api/communications/{sent}/resend");
    let resent = server.post(&path, json!({ "channel": "sms", "recipientContact": "+447700900001" })).await;
    assert_eq!(resent.status, StatusCode::CREATED, "{}", resent.body);
    server.until_status(&resent.id(), "delivered").await;

    let own = json!({ "code": "only_email", "channel": "email", "name": "Own", "type": "invoice", "subjectTemplate": "S", "bodyTemplate": "B" });
    let own = server.post("/api/communication-templates", own).await;
    assert_eq!(own.status, StatusCode::CREATED, "{}", own.body);
    let body = json!({ "channel": "email", "type": "invoice", "recipientContact": "ada@example.com", "templateId": "only_email", "templateVariables": {} });
    let sent = server.send(body).await;
    let path = format!("/api/communications/{sent}/resend");
    let refused = server.post(&path, json!({ "channel": "sms", "recipientContact": "+447700900001" })).await;
    assert_eq!(refused.text("/errors/0/code"), "no_template", "{}", refused.body);
}
