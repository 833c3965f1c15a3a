//! A tenant's own provider configurations over HTTP, and the callbacks to them.

use domain::aggregate::AggregateId;
use domain::inbound_message::InboundMessageState;
use domain::ports::{AddressKey, ClockAndRng, DocumentStore, EventStore};
use events::Channel;
use hmac::{Hmac, KeyInit, Mac};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use sha2::Sha256;
use tests::server::{TestServer, email, eventually, sms};

async fn add(server: &TestServer, body: Value) -> Value {
    let answer = server.post("/api/channels", body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    answer.body
}

fn twilio(name: &str) -> Value {
    json!({
        "provider": "twilio", "channel": "sms", "name": name, "rate": { "burst": 20, "perSecond": 2 },
        "settings": { "accountSid": "ACsimulator", "authToken": "simulator-token", "from": "+15005550006" },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_own_channel_sends_its_messages_and_receives_their_reports() {
    let server = TestServer::new().await;
    let own = add(&server, twilio("Ours")).await;
    let id = own["id"].as_str().expect("an id").to_owned();
    assert!(id.starts_with("local."), "{id}");
    assert!(!own.to_string().contains("simulator-token"), "credentials are never returned: {own}");
    assert_eq!(own["credentials"], json!(["authToken"]));
    let sent = server.send(sms("+447700900001")).await;
    let done = server.until_status(&sent, "delivered").await;
    assert_eq!(done.text("/provider"), "twilio");
    let providers = server.get("/api/providers").await;
    let listed = providers.body["providers"].as_array().expect("providers");
    assert!(listed.iter().any(|provider| provider["id"] == id.as_str()));
    assert!(
        listed.iter().all(|provider| provider["id"] != "twilio"),
        "a tenant's own configurations replace the deployment's"
    );
    let log = eventually("a callback in the log", async || {
        let log = server.get("/api/webhook-log?provider=twilio&status=processed").await;
        (!log.body["callbacks"].as_array().expect("callbacks").is_empty()).then_some(log)
    })
    .await;
    assert_eq!(log.body["callbacks"][0]["verified"], true);
    assert_eq!(log.body["callbacks"][0]["channelId"], id.as_str());
    let secret = own["webhookUrl"].as_str().and_then(|url| url.rsplit('/').next()).expect("a secret");
    assert!(!log.body.to_string().contains(secret), "the log does not contain the secret of the address");
}

#[tokio::test(flavor = "multi_thread")]
async fn channels_are_ordered_changed_disabled_and_deleted() {
    let server = TestServer::new().await;
    let [first, second] = [add(&server, twilio("One")).await, add(&server, twilio("Two")).await];
    let [first, second] = [&first["id"], &second["id"]].map(|id| id.as_str().expect("an id").to_owned());
    let order = async || {
        let all = server.get("/api/channels?channel=sms").await.body["channels"].as_array().expect("channels").clone();
        all.iter().map(|channel| channel["id"].as_str().expect("an id").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(order().await, [first.clone(), second.clone()]);
    let answer = server.post("/api/channels/order", json!({ "channel": "sms", "order": [second] })).await;
    assert_eq!(answer.body["order"], json!([second, first]), "{}", answer.body);
    assert_eq!(order().await, [second.clone(), first.clone()]);

    let path = format!("/api/channels/{first}");
    let change = json!({ "name": "Uno", "settings": { "authToken": "other" }, "enabled": false });
    let changed = server.answer(server.request(Method::PATCH, &path).json(&change)).await;
    assert_eq!((changed.text("/name"), &changed.body["enabled"]), ("Uno", &json!(false)), "{}", changed.body);
    assert_eq!(changed.body["credentialsVersion"], 2);
    let health = server.get(&format!("{path}/health")).await;
    assert_eq!(health.status, StatusCode::OK, "{}", health.body);
    assert_eq!(server.answer(server.request(Method::DELETE, &path)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(server.get(&path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(order().await, [second]);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_changes_of_a_channel_keep_each_other_and_the_callback_address() {
    let server = TestServer::new().await;
    let own = add(&server, twilio("One")).await;
    let path = format!("/api/channels/{}", own["id"].as_str().expect("an id"));
    let changes = [
        json!({ "settings": { "authToken": "other" } }),
        json!({ "settings": { "from": "+15005550009" } }),
        json!({ "settings": { "defaultRegion": "KE" } }),
        json!({ "name": "Uno" }),
    ];
    let patches = changes.iter().map(|change| server.answer(server.request(Method::PATCH, &path).json(change)));
    for answer in futures_util::future::join_all(patches).await {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    }
    let changed = server.get(&path).await.body;
    assert_eq!((&changed["name"], &changed["credentialsVersion"]), (&json!("Uno"), &json!(2)), "{changed}");
    assert_eq!(changed["settings"]["from"], "+15005550009");
    assert_eq!(changed["settings"]["defaultRegion"], "KE");
    assert_eq!((&changed["webhookUrl"], &changed["credentials"]), (&own["webhookUrl"], &own["credentials"]));
    let secrets = async || {
        let tenant = "local".parse().expect("a tenant");
        let now = events::Timestamp(0);
        server.local.database.list_documents(&tenant, "secret", None, 10, now).await.expect("documents").len()
    };
    assert_eq!(secrets().await, 1, "superseded credentials are deleted");
    assert_eq!(server.answer(server.request(Method::DELETE, &path)).await.status, StatusCode::NO_CONTENT);
    assert_eq!(secrets().await, 0);
    assert_eq!(server.answer(server.request(Method::DELETE, &path)).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_changes_of_a_channel_are_both_kept() {
    let server = TestServer::new().await;
    let own = add(&server, twilio("Ours")).await;
    let path = format!("/api/channels/{}", own["id"].as_str().expect("an id"));
    for round in 0..10 {
        let [token, region] = [
            json!({ "settings": { "authToken": format!("token-{round}") } }),
            json!({ "settings": { "allowedCountries": if round % 2 == 0 { "KE" } else { "GB" } } }),
        ]
        .map(|change| server.answer(server.request(Method::PATCH, &path).json(&change)));
        let (token, region) = tokio::join!(token, region);
        assert_eq!((token.status, region.status), (StatusCode::OK, StatusCode::OK), "{} {}", token.body, region.body);
        let now = server.get(&path).await.body;
        assert_eq!(now["settings"]["allowedCountries"], if round % 2 == 0 { "KE" } else { "GB" });
        assert_eq!((&now["credentialsVersion"], &now["webhookUrl"]), (&json!(round + 2), &own["webhookUrl"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn validation_errors_of_a_channel_name_their_field() {
    let server = TestServer::new().await;
    for (body, pointer) in [
        (json!({ "provider": "pigeon", "settings": {} }), "/provider"),
        (json!({ "provider": "twilio", "settings": {} }), "/channel"),
        (json!({ "provider": "twilio", "channel": "email", "settings": {} }), "/channel"),
        (json!({ "provider": "sendgrid" }), "/settings"),
        (json!({ "provider": "sendgrid", "settings": {} }), "/settings/apiKey"),
        (json!({ "provider": "sendgrid", "settings": { "apikey": "x" } }), "/settings/apikey"),
        (json!({ "provider": "sendgrid", "settings": { "apiKey": 7 } }), "/settings/apiKey"),
        (json!({ "provider": "telegram", "settings": { "botToken": "no" } }), "/settings/botToken"),
        (
            json!({ "provider": "custom", "channel": "sms", "settings": { "url": "https://169.254.169.254/", "body": {} } }),
            "/settings/url",
        ),
        (json!({ "provider": "bulksms", "settings": {}, "rate": { "burst": 0, "perSecond": 1 } }), "/rate"),
    ] {
        let answer = server.post("/api/channels", body.clone()).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}: {}", answer.body);
        let errors = answer.body["errors"].as_array().expect("errors");
        assert!(errors.iter().any(|error| error["pointer"] == pointer), "{body}: {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_message_uses_exactly_the_given_channel() {
    let server = TestServer::new().await;
    let [_, second] = [add(&server, twilio("One")).await, add(&server, twilio("Two")).await];
    let id = second["id"].as_str().expect("an id");
    let answer = server.post(&format!("/api/channels/{id}/test"), json!({ "to": "+447700900001" })).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    server.until_status(&answer.id(), "delivered").await;
    let events = server.get(&format!("/api/communications/{}/events", answer.id())).await;
    assert!(events.body.to_string().contains(id), "{}", events.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn tenants_without_their_own_channels_can_use_every_channel() {
    let server = TestServer::new().await;
    for (channel, to, last, provider) in [
        ("whatsapp", "+447700900002", "read", "twilio"),
        ("messenger", "7700900002", "read", "twilio"),
        ("telegram", "7700900001", "sent", "telegram"),
    ] {
        let id = server
            .send(json!({ "channel": channel, "type": "invoice", "recipientContact": to, "content": "Hello" }))
            .await;
        let status = server.until_status(&id, last).await;
        assert_eq!(status.text("/provider"), provider, "{channel}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_suppresses_a_number_and_start_lifts_it() {
    let server = TestServer::new().await;
    let bulk = json!({ "provider": "bulksms", "settings": { "tokenId": "t", "tokenSecret": "s" } });
    let own = add(&server, bulk).await;
    let url = own["webhookUrl"].as_str().expect("an address").to_owned();
    let reply = async |id: &str, text: &str| {
        let body = json!([{ "id": id, "type": "RECEIVED", "from": "447700900077", "to": "1", "body": text }]);
        server.client.post(&url).json(&body).send().await.expect("an answer").status()
    };
    let accepted = async || server.post("/api/communications/send", sms("+447700900077")).await.status;
    assert_eq!(accepted().await, StatusCode::CREATED);
    assert_eq!(reply("1", "Stop!").await, StatusCode::NO_CONTENT);
    assert_eq!(accepted().await, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(reply("2", "start").await, StatusCode::NO_CONTENT);
    for id in ["1", "2"] {
        let name = application::hash::body_hash(&json!([own["id"], id]));
        let stream = AggregateId::<InboundMessageState>::new(&"local".parse().expect("a tenant"), name);
        let records = application::execute::history(&server.local.database, &stream).await.expect("a stream");
        let actors: Vec<&str> = records.iter().map(|record| record.meta.actor.as_str()).collect();
        assert_eq!(actors, ["webhook:bulksms"]);
    }
    assert_eq!(accepted().await, StatusCode::CREATED);
    let wrong = format!("{}x", url);
    assert_eq!(
        server.client.post(&wrong).json(&json!([])).send().await.expect("an answer").status(),
        StatusCode::NOT_FOUND
    );
    // A reachability check carries no reports, but it is answered.
    assert_eq!(server.client.post(&url).json(&json!([])).send().await.expect("an answer").status(), StatusCode::OK);
    let key = AddressKey {
        tenant: "local".parse().expect("a tenant"),
        channel: Channel::Sms,
        contact_hash: "nobody".to_owned(),
    };
    assert!(server.local.database.suppression(&key).await.expect("an answer").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_that_arrives_too_early_waits_for_its_message() {
    let server = TestServer::new().await;
    let bulk = json!({ "provider": "bulksms", "settings": { "tokenId": "t", "tokenSecret": "s" } });
    let own = add(&server, bulk).await;
    let (id, url) = (own["id"].as_str().expect("an id"), own["webhookUrl"].as_str().expect("an address"));
    server.fault(id, "accept_then_silence", 1).await;
    let sent = server.post(&format!("/api/channels/{id}/test"), json!({ "to": "+447700900001" })).await;
    server.until(&sent.id(), "lifecycle", "in_doubt").await;
    let report = |message: &str| json!([{ "id": message, "type": "SENT", "status": { "type": "DELIVERED" } }]);
    for message in ["early", "unknown"] {
        let answer = server.client.post(url).json(&report(message)).send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    }
    let logged = async |status: &str| {
        let log = server.get(&format!("/api/webhook-log?status={status}")).await;
        log.body["callbacks"].as_array().expect("callbacks").len()
    };
    assert_eq!(logged("waiting").await, 2);
    let tenant = "local".parse().expect("a tenant");
    let known = application::directory::provider_message_key(&tenant, id, "early");
    let attempt = format!("{}_1", sent.id().replacen("com_", "att_", 1));
    server.local.database.put_document(&known, &attempt, None).await.expect("stored");
    server.advance(6_000).await;
    let done = server.until_status(&sent.id(), "delivered").await;
    assert_eq!(done.body["attempts"], 1);
    eventually("the callback is processed", async || (logged("processed").await == 1).then_some(())).await;
    for _ in 0..6 {
        server.advance(900_000).await;
        tokio::time::sleep(std::time::Duration::from_millis(1_100)).await;
    }
    eventually("the other callback is given up", async || (logged("unmatched").await == 1).then_some(())).await;
    assert_eq!(logged("waiting").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn five_consecutive_soft_bounces_suppress_an_address() {
    let server = TestServer::new().await;
    let send = async || server.post("/api/communications/send", email("returned@sim.test")).await;
    let bounce = async || {
        let sent = send().await;
        assert_eq!(sent.status, StatusCode::CREATED, "{}", sent.body);
        server.until_status(&sent.id(), "failed").await;
    };
    for _ in 0..4 {
        bounce().await;
    }
    assert_eq!(send().await.status, StatusCode::CREATED);
    eventually("the address is suppressed", async || {
        (send().await.status == StatusCode::UNPROCESSABLE_ENTITY).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_post_unsubscribes_and_a_get_does_not() {
    let server = TestServer::new().await;
    for example in server.get("/_dev/providers").await.body["channels"].as_array().expect("channels") {
        if example["channel"] != "email" {
            continue;
        }
        let own = add(&server, example.clone()).await;
        let to = format!("{}@example.com", own["provider"].as_str().expect("a name"));
        let first = server.send(email(&to)).await;
        server.until_status(&first, "delivered").await;
        let url = server.inbox(&to).await[0]["unsubscribeUrl"].as_str().expect("a link").to_owned();
        let seen = server.client.get(&url).send().await.expect("a page");
        assert_eq!(seen.status(), StatusCode::OK);
        assert!(seen.text().await.expect("a page").contains("<form method=\"post\">"));
        let sent = server.send(email(&to)).await;
        server.until_status(&sent, "delivered").await;
        for _ in 0..2 {
            let clicked = server.client.post(&url).body("List-Unsubscribe=One-Click").send().await.expect("an answer");
            assert_eq!(clicked.status(), StatusCode::OK);
        }
        let refused = server.post("/api/communications/send", email(&to)).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", refused.body);
        let events = server.get(&format!("/api/communications/{first}/events")).await;
        let by_page = |event: &&Value| event["actor"] == "pages:unsubscribe";
        let events = events.body["events"].as_array().expect("events").clone();
        assert_eq!(events.iter().filter(by_page).count(), 1, "{events:?}");
        let list = server.get("/api/suppressions?channel=email").await;
        let entries = list.body["suppressions"].as_array().expect("entries");
        let entry = entries.iter().find(|entry| entry["contact"] == to.as_str()).expect("an entry");
        assert_eq!(entry["createdBy"], "pages:unsubscribe");
        let forged = format!("{}x", &url[..url.len() - 1]);
        assert_eq!(server.client.post(&forged).send().await.expect("an answer").status(), StatusCode::NOT_FOUND);
        let path = format!("/api/channels/{}", own["id"].as_str().expect("an id"));
        server.answer(server.request(Method::DELETE, &path)).await;
    }
    let mut urgent = email("code@example.com");
    urgent["priority"] = json!("urgent");
    let sent = server.send(urgent).await;
    server.until_status(&sent, "delivered").await;
    assert!(
        server.inbox("code@example.com").await[0].get("unsubscribeUrl").is_none(),
        "urgent messages have no unsubscribe link"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn files_are_attached_to_an_email_or_stay_links_if_they_cannot_be_fetched() {
    let server = TestServer::new().await;
    let mut message = email("files@example.com");
    message["attachments"] = json!([
        { "filename": "invoice.pdf", "fileUrl": "https://files.example.com/invoice.pdf" },
        { "filename": "large.pdf", "fileUrl": "https://files.example.com/large.pdf" },
    ]);
    let sent = server.send(message).await;
    server.until_status(&sent, "delivered").await;
    let arrived = &server.inbox("files@example.com").await[0];
    let files = arrived["attachments"].as_array().expect("files");
    assert_eq!((files.len(), &files[0]["filename"]), (1, &json!("invoice.pdf")), "{arrived}");
    let body = arrived["body"].as_str().expect("a text");
    assert!(!body.contains("invoice.pdf") && body.contains("large.pdf"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whatsapp_sends_free_form_content_only_after_a_recent_message() {
    let server = TestServer::new().await;
    let examples = server.get("/_dev/providers").await;
    let examples = examples.body["channels"].as_array().expect("channels").clone();
    let whatsapp = examples.iter().find(|example| example["provider"] == "whatsapp").expect("an example");
    let own = add(&server, whatsapp.clone()).await;
    let send = async || {
        let message = json!({
            "channel": "whatsapp", "type": "invoice", "recipientContact": "+447700900055",
            "content": "Free-form content",
            "providerTemplate": { "name": "invoice_ready", "language": "en", "variables": ["INV-1"] },
        });
        let sent = server.send(message).await;
        server.until_status(&sent, "delivered").await;
        server.inbox("+447700900055").await[0]["body"].as_str().expect("a text").to_owned()
    };
    assert_eq!(send().await, "invoice_ready");
    let at = server.local.clock.now().0 / 1_000;
    let text = json!({ "body": "Hello" });
    let message =
        json!({ "from": "447700900055", "id": "wamid.1", "timestamp": at.to_string(), "type": "text", "text": text });
    let body = json!({ "entry": [{ "changes": [{ "value": { "messages": [message] } }] }] }).to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(b"app-example").expect("a key");
    mac.update(body.as_bytes());
    let signature: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let url = own["webhookUrl"].as_str().expect("an address");
    let answer = server.client.post(url).header("x-hub-signature-256", format!("sha256={signature}")).body(body).send();
    assert_eq!(answer.await.expect("an answer").status(), StatusCode::NO_CONTENT);
    assert_eq!(send().await, "Free-form content");
    server.advance(24 * 3_600_000).await;
    assert_eq!(send().await, "invoice_ready");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sms_provider_is_a_view_of_the_first_sms_channel() {
    let server = TestServer::new().await;
    let put =
        async |body: Value| server.answer(server.request(Method::PUT, "/api/sms-provider/config").json(&body)).await;
    assert_eq!(server.get("/api/sms-provider/config").await.status, StatusCode::NOT_FOUND);
    let wrong = put(json!({ "provider": "TWILIO", "apiKey": "ACexample", "apiUrl": "https://example.com" })).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    let pointers = wrong.body["errors"].as_array().expect("errors").iter().map(|error| error["pointer"].clone());
    assert_eq!(pointers.collect::<Vec<_>>(), [json!("/apiUrl"), json!("/apiSecret"), json!("/senderId")][..2].to_vec());
    for (body, balance) in [
        (
            json!({ "provider": "AFRICASTALKING", "apiKey": "atsk", "apiSecret": "sandbox", "senderId": "ACME" }),
            Some("1785.50"),
        ),
        (json!({ "provider": "BULKSMS", "apiKey": "t", "apiSecret": "s", "senderId": "ACME" }), Some("250.5")),
        (
            json!({ "provider": "TWILIO", "apiKey": "ACexample", "apiSecret": "s", "senderId": "+15005550006" }),
            Some("104.25"),
        ),
        (
            json!({ "provider": "CUSTOM", "apiKey": "k", "apiUrl": "https://sms.example.org/send", "senderId": "ACME" }),
            None,
        ),
    ] {
        let made = put(body.clone()).await;
        assert_eq!(made.status, StatusCode::OK, "{}", made.body);
        assert_eq!((&made.body["provider"], &made.body["senderId"]), (&body["provider"], &body["senderId"]));
        assert!(!made.body.to_string().contains("atsk") && made.body.get("apiKey").is_none(), "{}", made.body);
        let response = server.get("/api/sms-provider/balance").await;
        match balance {
            Some(amount) => {
                assert_eq!(response.text("/balance"), amount);
                assert_eq!(server.get("/api/sms-provider/config").await.text("/balance"), amount);
            }
            None => assert_eq!(response.status, StatusCode::CONFLICT),
        }
        let test = json!({ "phoneNumber": "+447700900001", "message": "Hello" });
        let sent = server.post("/api/sms-provider/test", test).await;
        assert_eq!(sent.status, StatusCode::CREATED, "{}", sent.body);
        let done = server.until_status(&sent.id(), "delivered").await;
        assert_eq!(done.text("/provider").to_uppercase(), body["provider"].as_str().expect("a name"));
    }
    let changed = put(json!({ "provider": "CUSTOM", "isActive": false })).await;
    assert_eq!(changed.body["isActive"], json!(false), "{}", changed.body);
    let all = server.get("/api/v1/communication/channels?channel=sms").await;
    assert_eq!(all.body["channels"].as_array().expect("channels").len(), 4);
    let first = &all.body["channels"][0];
    assert_eq!((&first["provider"], &first["enabled"]), (&json!("custom"), &json!(false)));
    let one = server.get(&format!("/api/v1/communication/channels/{}", first["id"].as_str().expect("an id"))).await;
    assert_eq!(one.body["id"], first["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_check_is_answered_only_with_the_right_token() {
    let server = TestServer::new().await;
    let examples = server.get("/_dev/providers").await;
    for name in ["whatsapp", "messenger"] {
        let examples = examples.body["channels"].as_array().expect("channels").iter();
        let example = examples.clone().find(|example| example["provider"] == name).expect("an example");
        let own = add(&server, example.clone()).await;
        let url = own["webhookUrl"].as_str().expect("an address");
        let ask = async |token: &str| {
            let query = format!("?hub.mode=subscribe&hub.verify_token={token}&hub.challenge=1158201444");
            server.client.get(format!("{url}{query}")).send().await.expect("an answer")
        };
        let response = ask("verify-example").await;
        assert_eq!((response.status(), response.text().await.expect("text").as_str()), (StatusCode::OK, "1158201444"));
        assert_eq!(ask("wrong").await.status(), StatusCode::FORBIDDEN);
        assert_eq!(server.client.head(url).send().await.expect("an answer").status(), StatusCode::OK);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sms_is_sent_only_to_allowed_countries() {
    let server = TestServer::new().await;
    let kenyan =
        json!({ "provider": "bulksms", "settings": { "tokenId": "t", "tokenSecret": "s", "defaultRegion": "KE" } });
    let own = add(&server, kenyan).await;
    let send = async |to: &str| server.post("/api/communications/send", sms(to)).await;
    let sent = send("0711 000000").await;
    assert_eq!(sent.text("/communication/recipientContact"), "+254711000000", "{}", sent.body);
    let refused = send("+447700900001").await;
    assert_eq!(refused.text("/errors/0/code"), "country_not_allowed", "{}", refused.body);
    let path = format!("/api/channels/{}", own["id"].as_str().expect("an id"));
    let wrong = json!({ "settings": { "allowedCountries": "KE,Mars" } });
    let wrong = server.answer(server.request(Method::PATCH, &path).json(&wrong)).await;
    assert_eq!(wrong.text("/errors/0/pointer"), "/settings/allowedCountries");
    let wider = json!({ "settings": { "allowedCountries": "KE, GB" } });
    let wider = server.answer(server.request(Method::PATCH, &path).json(&wider)).await;
    assert_eq!(wider.status, StatusCode::OK, "{}", wider.body);
    assert_eq!(send("+447700900001").await.status, StatusCode::CREATED);
    assert_eq!(send("+18762100000").await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let removed = json!({ "settings": { "allowedCountries": "" } });
    let removed = server.answer(server.request(Method::PATCH, &path).json(&removed)).await;
    assert_eq!(removed.status, StatusCode::OK, "{}", removed.body);
    assert_eq!(send("+447700900001").await.text("/errors/0/code"), "country_not_allowed");
}
