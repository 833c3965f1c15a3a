//! Preferences and consent over HTTP: enforced when a message is accepted and again when it is sent.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::server::{Answer, TestServer};

const ADA: &str = "/api/communication-preferences/customer/ada";

async fn patch(server: &TestServer, path: &str, body: Value) -> Answer {
    let changed = server.answer(server.request(Method::PATCH, path).json(&body)).await;
    assert_eq!(changed.status, StatusCode::OK, "{body}: {}", changed.body);
    changed
}

fn to_ada(channel: &str, kind: &str) -> Value {
    json!({
        "channel": channel, "type": kind, "recipientId": "ada", "subject": "S", "content": "C",
        "recipientContact": if channel == "email" { "ada@example.com" } else { "+447700900001" },
    })
}

async fn refused(server: &TestServer, body: Value) -> String {
    let answer = server.post("/api/communications/send", body).await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", answer.body);
    answer.text("/detail").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_against_a_preference_is_rejected() {
    let server = TestServer::new().await;
    let fresh = server.get(ADA).await;
    assert_eq!((&fresh.body["emailEnabled"], &fresh.body["optedOut"]), (&json!(true), &json!(false)), "{}", fresh.body);
    server.send(to_ada("sms", "invoice")).await;
    let body = json!({ "smsEnabled": false, "preferences": { "invoice": ["whatsapp"] } });
    assert_eq!(patch(&server, ADA, body).await.body["preferences"], json!({ "invoice": ["whatsapp"] }));
    assert!(refused(&server, to_ada("sms", "payment_link")).await.contains("channel_disabled"));
    assert!(refused(&server, to_ada("email", "invoice")).await.contains("type_disabled"));
    server.send(to_ada("email", "payment_link")).await;
    // The preferences of another recipient are independent.
    let mut other = to_ada("sms", "invoice");
    other["recipientId"] = json!("bo");
    server.send(other).await;
    let out = patch(&server, ADA, json!({ "optedOut": true, "optedOutReason": "Too many" })).await;
    assert_eq!((out.text("/optedOutReason"), out.body["optedOutAt"].is_string()), ("Too many", true));
    assert!(refused(&server, to_ada("email", "payment_link")).await.contains("opted_out"));
    patch(&server, ADA, json!({ "optedOut": false, "optInEvidence": "Form 7" })).await;
    server.send(to_ada("email", "payment_link")).await;
    patch(&server, ADA, json!({ "doNotContact": true, "doNotContactReason": "Court order" })).await;
    assert!(refused(&server, to_ada("email", "payment_link")).await.contains("do_not_contact"));
}

#[tokio::test(flavor = "multi_thread")]
async fn consent_is_checked_again_when_a_message_is_sent() {
    let server = TestServer::new().await;
    let mut later = to_ada("email", "invoice");
    let at = api::fields::show_time(domain::ports::ClockAndRng::now(&*server.local.clock) + 3_600_000);
    later["scheduledAt"] = json!(at);
    let id = server.send(later).await;
    patch(&server, ADA, json!({ "optedOut": true })).await;
    server.advance(3_700_000).await;
    let done = server.until(&id, "lifecycle", "suppressed").await;
    assert_eq!(done.text("/reason"), "suppressed:opted_out");
    assert!(server.inbox("ada@example.com").await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_channel_is_chosen_by_preference() {
    let server = TestServer::new().await;
    let auto =
        |kind: &str| json!({ "channel": "auto", "type": kind, "recipientId": "ada", "subject": "S", "content": "C" });
    let none = server.post("/api/communications/send", auto("invoice")).await;
    assert_eq!(none.text("/errors/0/code"), "no_channel", "{}", none.body);
    let own = json!({
        "preferredEmail": "ada@example.com", "preferredWhatsapp": "+447700900004", "preferredPhone": "+447700900005",
        "preferences": { "invoice": ["messenger", "whatsapp", "email"] },
    });
    assert_eq!(patch(&server, ADA, own).await.text("/preferredWhatsapp"), "+447700900004");
    let sent = server.post("/api/communications/send", auto("invoice")).await;
    assert_eq!(sent.status, StatusCode::CREATED, "{}", sent.body);
    assert_eq!(sent.text("/communication/channel"), "whatsapp", "the first channel has no address");
    server.until_status(&sent.id(), "delivered").await;
    // Without a preference for the type, email is used.
    let sent = server.post("/api/communications/send", auto("payment_link")).await;
    assert_eq!(
        (sent.text("/communication/channel"), sent.text("/communication/recipientContact")),
        ("email", "ada@example.com")
    );
    let known = json!({ "channel": "sms", "type": "invoice_reminder", "recipientId": "ada", "content": "C" });
    let sent = server.post("/api/communications/send", known).await;
    assert_eq!(sent.text("/communication/recipientContact"), "+447700900005", "{}", sent.body);
    patch(&server, ADA, json!({ "preferredPhone": null })).await;
    assert_eq!(server.get(ADA).await.body["preferredPhone"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn defaults_apply_without_a_preference_and_changes_have_a_history() {
    let server = TestServer::new().await;
    let defaults = "/api/communication-preferences/defaults";
    let night = json!({ "start": "21:00", "end": "08:00", "timeZone": "Africa/Nairobi" });
    patch(&server, defaults, json!({ "smsEnabled": false, "quietHours": night })).await;
    assert!(refused(&server, to_ada("sms", "invoice")).await.contains("channel_disabled"));
    patch(&server, ADA, json!({ "smsEnabled": true })).await;
    let sent = server.post("/api/communications/send", to_ada("sms", "invoice")).await;
    assert_eq!(sent.status, StatusCode::CREATED, "{}", sent.body);
    let events = server.get(&format!("/api/communications/{}/events", sent.id())).await;
    assert_eq!(events.body["events"][0]["data"]["quietHours"]["timeZone"], "Africa/Nairobi", "{}", events.body);
    let before = server.get(ADA).await.text("/updatedAt").to_owned();
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    patch(&server, ADA, json!({ "optedOut": true, "optedOutReason": "Enough" })).await;
    patch(&server, ADA, json!({ "optedOut": true })).await;
    let all = server.get(&format!("{ADA}/history")).await;
    let names: Vec<_> = all.body["events"].as_array().expect("events").iter().map(|e| e["type"].clone()).collect();
    assert_eq!(names, ["PreferencesChanged", "OptedOut"], "an unchanged preference adds no event");
    assert_eq!(all.body["preferences"]["optedOut"], true);
    let then = server.get(&format!("{ADA}/history?asOf={before}")).await;
    assert_eq!(then.body["preferences"]["optedOut"], false, "{}", then.body);
    let v1 = server.post("/api/v1/communication/contacts/c-1/preferences", json!({ "emailEnabled": false })).await;
    assert_eq!((v1.status, v1.text("/entityType")), (StatusCode::OK, "contact"));
}

#[tokio::test(flavor = "multi_thread")]
async fn validation_errors_of_preferences_name_their_field() {
    let server = TestServer::new().await;
    for (body, pointer) in [
        (json!({}), "/"),
        (json!({ "emailEnabled": "yes" }), "/emailEnabled"),
        (json!({ "preferences": { "gossip": ["email"] } }), "/preferences/gossip"),
        (json!({ "preferences": { "invoice": ["pigeon"] } }), "/preferences/invoice"),
        (json!({ "preferredEmail": "nobody" }), "/preferredEmail"),
        (json!({ "quietHours": { "start": "8", "end": "9", "timeZone": "UTC" } }), "/quietHours/start"),
        (json!({ "faxEnabled": true }), "/faxEnabled"),
    ] {
        let refused = server.answer(server.request(Method::PATCH, ADA).json(&body)).await;
        assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}: {}", refused.body);
        let errors = refused.body["errors"].as_array().expect("errors").clone();
        assert!(errors.iter().any(|error| error["pointer"] == pointer), "{body}: {}", refused.body);
    }
    let defaults = "/api/communication-preferences/defaults";
    let refused = server.answer(server.request(Method::PATCH, defaults).json(&json!({ "optedOut": true }))).await;
    assert_eq!(refused.text("/errors/0/code"), "not_for_defaults", "{}", refused.body);
    assert_eq!(server.get("/api/communication-preferences/robot/1").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn recipients_change_their_preferences_on_a_page_with_a_signed_link() {
    let server = TestServer::new().await;
    let path = "/api/communication-preferences/customer/Ána%20%2F7";
    let link = server.post(&format!("{path}/link"), json!({})).await;
    assert_eq!(link.status, StatusCode::CREATED, "{}", link.body);
    let url = link.text("/url").to_owned();
    let seen = server.client.get(&url).header("accept-language", "es-MX,es").send().await.expect("a page");
    assert_eq!(seen.status(), StatusCode::OK);
    let page = seen.text().await.expect("a page");
    assert!(
        page.contains("lang=\"es\"") && page.contains("name=\"sms\" checked") && page.contains("Guardar"),
        "{page}"
    );
    assert_eq!(
        server.get(&format!("{path}/history")).await.body["events"],
        json!([]),
        "viewing the page changes nothing"
    );

    let save = async |form: &'static str| {
        let saved = server.client.post(&url).header("content-type", "application/x-www-form-urlencoded").body(form);
        saved.send().await.expect("a page").text().await.expect("a page")
    };
    let page = save("email=on&whatsapp=on&messenger=on&telegram=on").await;
    assert!(page.contains("Saved.") && page.contains("name=\"sms\">"), "{page}");
    let now = server.get(path).await.body;
    assert_eq!(
        (&now["smsEnabled"], &now["emailEnabled"], &now["optedOut"]),
        (&json!(false), &json!(true), &json!(false))
    );
    assert_eq!(now["updatedBy"], "preference-page");
    save("nothing=on").await;
    assert_eq!(server.get(path).await.body["optedOut"], true);
    save("email=on&sms=on&whatsapp=on&messenger=on&telegram=on").await;
    let now = server.get(path).await.body;
    assert_eq!((&now["smsEnabled"], &now["optedOut"]), (&json!(true), &json!(false)));

    let ask = async |url: String| server.client.get(url).send().await.expect("an answer").status();
    assert_eq!(ask(format!("{}x", &url[..url.len() - 1])).await, StatusCode::NOT_FOUND, "a forged link");
    let other = url.replace("/preferences/local/", "/preferences/other/");
    assert_eq!(ask(other).await, StatusCode::NOT_FOUND, "the link of another tenant");
    server.advance(30 * 24 * 3_600_000 + 1_000).await;
    assert_eq!(ask(url).await, StatusCode::NOT_FOUND, "the link has expired");
    let wrong = server.post(&format!("{path}/link"), json!({ "days": 0 })).await;
    assert_eq!(wrong.text("/errors/0/pointer"), "/days", "{}", wrong.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_opt_out_holds_for_the_persons_addresses_without_their_id() {
    let server = TestServer::new().await;
    let person = "/api/communication-preferences/customer/c9";
    let to = |channel: &str, contact: &str| json!({ "channel": channel, "type": "invoice", "recipientContact": contact, "subject": "S", "content": "C" });
    // An address that was sent to with the person's id is theirs, as is a preferred one.
    let mut known = to("email", "c9@example.com");
    known["recipientId"] = json!("c9");
    server.send(known).await;
    patch(&server, person, json!({ "optedOut": true })).await;
    patch(&server, person, json!({ "preferredPhone": "+447700900055" })).await;
    for (channel, contact) in [("sms", "+44 7700 900055"), ("whatsapp", "+447700900055"), ("email", "C9@example.com")] {
        assert!(refused(&server, to(channel, contact)).await.contains("opted_out"), "{channel}");
    }
    // Another person with the same address decides for themselves.
    let mut other = to("sms", "+447700900055");
    other["recipientId"] = json!("c10");
    server.send(other).await;
    // The export has the texts of earlier decisions, too.
    for (evidence, reason) in [("form one", "too many letters"), ("form two", "asked again")] {
        patch(&server, person, json!({ "optedOut": false, "optInEvidence": evidence })).await;
        patch(&server, person, json!({ "optedOut": true, "optedOutReason": reason })).await;
    }
    let export = server.get("/api/subjects/customer/c9").await.body.to_string();
    for text in ["form one", "too many letters", "form two", "asked again"] {
        assert!(export.contains(text), "{text}: {export}");
    }
    // The erasure of the person keeps their decision.
    server.answer(server.request(Method::DELETE, "/api/subjects/customer/c9")).await;
    assert!(refused(&server, to("sms", "+447700900055")).await.contains("opted_out"));
    patch(&server, person, json!({ "optedOut": false, "optInEvidence": "a form" })).await;
    server.send(to("sms", "+447700900055")).await;
    patch(&server, person, json!({ "doNotContact": true })).await;
    assert!(refused(&server, to("sms", "+447700900055")).await.contains("do_not_contact"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiting_message_without_an_id_is_suppressed_after_an_opt_out_and_says_why() {
    let server = TestServer::new().await;
    let person = "/api/communication-preferences/customer/c9";
    patch(&server, person, json!({ "preferredPhone": "+447700900056" })).await;
    let at = domain::ports::ClockAndRng::now(&*server.local.clock) + 3_600_000;
    let body = json!({ "channel": "sms", "type": "invoice", "recipientContact": "+447700900056", "content": "C", "scheduledAt": api::fields::show_time(at) });
    let sent = server.send(body).await;
    patch(&server, person, json!({ "smsEnabled": false })).await;
    server.advance(3_700_000).await;
    server.until(&sent, "lifecycle", "suppressed").await;
    let explained = server.get(&format!("/api/communications/{sent}/explain")).await;
    assert!(explained.body.to_string().contains("suppressed.channel_disabled"), "{}", explained.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn defaults_hold_for_messages_without_a_recipient_id() {
    let server = TestServer::new().await;
    let night = json!({ "start": "21:00", "end": "08:00", "timeZone": "Africa/Nairobi" });
    patch(&server, "/api/communication-preferences/defaults", json!({ "smsEnabled": false, "quietHours": night }))
        .await;
    assert!(refused(&server, tests::server::sms("+447700900057")).await.contains("channel_disabled"));
    let sent = server.send(tests::server::email("ada@example.com")).await;
    let events = server.get(&format!("/api/communications/{sent}/events")).await;
    assert_eq!(events.body["events"][0]["data"]["quietHours"]["timeZone"], "Africa/Nairobi", "{}", events.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_can_be_based_on_a_revision_and_preferences_shown_as_they_apply() {
    let server = TestServer::new().await;
    let based_on = async |revision: &str, body: Value| {
        let request = server.request(Method::PATCH, ADA).header("if-match", format!("\"{revision}\""));
        server.answer(request.json(&body)).await
    };
    assert_eq!(server.get(ADA).await.body["revision"], 0);
    let night = json!({ "start": "21:00", "end": "08:00", "timeZone": "Africa/Nairobi" });
    let first = based_on("0", json!({ "quietHours": night, "preferredEmail": "ada@example.com" })).await;
    assert_eq!((first.status, &first.body["revision"]), (StatusCode::OK, &json!(1)), "{}", first.body);
    let stale = based_on("0", json!({ "preferredEmail": "bo@example.com", "optInEvidence": "none" })).await;
    assert_eq!((stale.status, stale.text("/code")), (StatusCode::PRECONDITION_FAILED, "precondition_failed"));
    assert_eq!(server.get(ADA).await.text("/preferredEmail"), "ada@example.com", "nothing of it was stored");
    assert_eq!(based_on("one", json!({ "smsEnabled": true })).await.status, StatusCode::BAD_REQUEST);

    let defaults = json!({ "smsEnabled": false, "preferences": { "invoice": ["email"] } });
    patch(&server, "/api/communication-preferences/defaults", defaults).await;
    let applied = server.get(&format!("{ADA}?withDefaults=true")).await;
    assert_eq!(
        (&applied.body["smsEnabled"], &applied.body["preferences"], applied.text("/quietHours/start")),
        (&json!(false), &json!({ "invoice": ["email"] }), "21:00")
    );
    assert_eq!(server.get(ADA).await.body["smsEnabled"], true);
    assert_eq!(server.get(&format!("{ADA}?withDefaults=perhaps")).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_known_by_their_preferences_and_messages() {
    let server = TestServer::new().await;
    let mut message = to_ada("email", "invoice");
    message["recipientName"] = json!("Ada");
    let id = server.send(message).await;
    server.until_status(&id, "delivered").await;
    patch(&server, ADA, json!({ "preferredPhone": "+447700900005" })).await;
    let new = json!({ "channel": "email", "contact": "ada@example.com", "reason": "by phone" });
    assert_eq!(server.post("/api/suppressions", new).await.status, StatusCode::CREATED);
    let known = tests::server::eventually("the list has the message", async || {
        let known = server.get("/api/people/customer/ada").await;
        known.body["addresses"].as_array().is_some_and(|all| all.len() == 2).then_some(known)
    })
    .await;
    assert_eq!(known.text("/name"), "Ada");
    let phone = json!({ "channel": "sms", "contact": "+447700900005", "source": "preferences", "suppressedFor": null });
    let mail =
        json!({ "channel": "email", "contact": "ada@example.com", "source": "messages", "suppressedFor": "manual" });
    assert_eq!(known.body["addresses"], json!([phone, mail]));
    let nobody = server.get("/api/people/supplier/ada").await;
    assert_eq!((&nobody.body["name"], &nobody.body["addresses"]), (&Value::Null, &json!([])));
    assert_eq!(server.get("/api/people/robot/ada").await.status, StatusCode::NOT_FOUND);
    // An address is found by itself, on every channel that it is suppressed on.
    let found = server.get("/api/suppressions?contact=ADA@example.com").await;
    assert_eq!(found.text("/suppressions/0/reason"), "by phone", "{}", found.body);
    assert_eq!(
        server.get("/api/suppressions?contact=ada@example.com&channel=sms").await.status,
        StatusCode::BAD_REQUEST
    );
    assert_eq!(server.get("/api/suppressions?contact=%2B447700900005").await.body["suppressions"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_is_refused_leaves_the_addresses_as_they_are() {
    let server = TestServer::new().await;
    for round in 0..15 {
        let path = format!("/api/communication-preferences/customer/p{round}");
        let change = |n: u32| {
            let body = json!({ "preferredEmail": format!("n{n}@example.com"), "smsEnabled": n.is_multiple_of(2) });
            server.answer(server.request(Method::PATCH, &path).header("if-match", "\"0\"").json(&body))
        };
        let answers = futures_util::future::join_all((0..4).map(change)).await;
        let changed: Vec<usize> = (0..4).filter(|n| answers[*n].status == StatusCode::OK).collect();
        assert_eq!(
            changed.len(),
            1,
            "one of them is first: {:?}",
            answers.iter().map(|a| a.status).collect::<Vec<_>>()
        );
        let stored = server.get(&path).await;
        assert_eq!(stored.text("/preferredEmail"), format!("n{}@example.com", changed[0]), "{}", stored.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_names_message_types_as_they_are() {
    let server = TestServer::new().await;
    patch(&server, ADA, json!({ "preferences": { "payment_link": ["sms"] } })).await;
    let history = server.get(&format!("{ADA}/history")).await;
    assert!(history.body.to_string().contains(r#""types":{"payment_link":["sms"]}"#), "{}", history.body);
}
