//! Operator tasks over HTTP: providers, quotas, dead letters, and attempts in doubt that a provider query resolves.

use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::server::{TestServer, email, eventually, sms};

async fn provider(server: &TestServer, id: &str) -> Value {
    let answer = server.get("/api/providers").await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let all = answer.body["providers"].as_array().expect("providers").clone();
    all.into_iter().find(|provider| provider["id"] == id).expect("the provider")
}

async fn order(server: &TestServer, channel: &str) -> Vec<String> {
    let answer = server.get("/api/providers").await;
    let all = answer.body["providers"].as_array().expect("providers").clone();
    let mine = all.iter().filter(|provider| provider["channel"] == channel && provider["enabled"] == true);
    mine.map(|provider| provider["id"].as_str().expect("an id").to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_has_the_remaining_calls_and_the_reset_time() {
    let rate = events::RateLimit { burst: 5, per_second: 1 };
    let server = TestServer::with(local::Options { rate: Some(rate), ..TestServer::options() }).await;
    for n in 0..3 {
        let id = server.send(email(&format!("quota-{n}@example.com"))).await;
        server.until_status(&id, "delivered").await;
    }
    let quota = server.get("/api/providers/sendgrid/quota").await;
    assert_eq!((&quota.body["burst"], &quota.body["perSecond"]), (&json!(5), &json!(1)));
    let left = quota.body["remaining"].as_u64().expect("a number");
    assert!((2..5).contains(&left), "{}", quota.body);
    assert!(quota.text("/resetAt") > quota.text("/availableAt"));
    let check = async |count: &str| server.get(&format!("/api/providers/sendgrid/quota?count={count}")).await;
    let few = check("2&priority=urgent").await;
    assert_eq!((&few.body["check"]["allowed"], &few.body["check"]["priority"]), (&json!(true), &json!("urgent")));
    let many = check("500").await;
    assert_eq!(many.body["check"]["allowed"], json!(false));
    let last: jiff::Timestamp = many.text("/check/lastSendTime").parse().expect("a time");
    assert!(last > jiff::Timestamp::now() + jiff::SignedDuration::from_secs(450), "{}", many.body);
    for wrong in ["0", "x", "2&priority=asap"] {
        assert_eq!(check(wrong).await.status, StatusCode::BAD_REQUEST, "{wrong}");
    }
    let unknown = server.get("/api/providers/postmark/quota").await;
    assert_eq!((unknown.status, unknown.text("/code")), (StatusCode::NOT_FOUND, "not_found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_estimated_send_time_knows_the_messages_that_wait() {
    let rate = events::RateLimit { burst: 1, per_second: 1 };
    let server = TestServer::with(local::Options { rate: Some(rate), ..TestServer::options() }).await;
    let messages: Vec<_> = (0..60).map(|n| email(&format!("backlog-{n}@example.com"))).collect();
    server.post("/api/communications/batch", json!({ "communications": messages })).await;
    let estimate_s = async |priority: &str| {
        let mut message = email("estimate@example.com");
        message["priority"] = json!(priority);
        let answer = server.post("/api/communications/send", message).await;
        let at: jiff::Timestamp = answer.text("/estimatedSendTime").parse().expect("a time");
        (at - jiff::Timestamp::now()).total(jiff::Unit::Second).expect("seconds")
    };
    let knows_backlog = async || (estimate_s("normal").await > 20.0).then_some(());
    eventually("the backlog is known", knows_backlog).await;
    assert!(estimate_s("urgent").await < 15.0, "it overtakes them");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_switches_disables_and_enables_providers() {
    let server = TestServer::new().await;
    assert_eq!(order(&server, "email").await, ["sendgrid", "sendgrid-second"]);
    server.post("/api/providers/sendgrid-second/switch", json!({})).await;
    assert_eq!(order(&server, "email").await, ["sendgrid-second", "sendgrid"]);
    let id = server.send(email("switched@example.com")).await;
    server.until_status(&id, "delivered").await;
    assert_eq!(server.inbox("switched@example.com").await[0]["config"], "sendgrid-second");

    for name in ["sendgrid", "sendgrid-second"] {
        let answer = server.post(&format!("/api/providers/{name}/disable"), json!({})).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    }
    server.advance(15_000).await;
    let id = server.send(email("held@example.com")).await;
    let path = format!("/api/communications/{id}/explain");
    let held = async || Some(server.get(&path).await).filter(|why| why.body["nextLookAt"].is_string());
    let why = eventually("the message is held", held).await;
    assert_eq!(why.text("/waitsFor/code"), "no_provider_enabled", "{}", why.body);
    server.post("/api/providers/sendgrid/enable", json!({})).await;
    server.advance(40 * 60_000).await;
    server.until_status(&id, "delivered").await;
    let wrong = server.post("/api/providers/sendgrid/enable", json!({ "force": true })).await;
    assert_eq!((wrong.status, wrong.text("/errors/0/pointer")), (StatusCode::UNPROCESSABLE_ENTITY, "/force"));
    assert_eq!(server.post("/api/providers/postmark/switch", json!({})).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_with_rejected_credentials_is_skipped_until_it_is_enabled() {
    let server = TestServer::new().await;
    server.fault("sendgrid", "401", 1).await;
    let id = server.send(email("first@example.com")).await;
    server.until_status(&id, "delivered").await;
    assert_eq!(server.inbox("first@example.com").await[0]["config"], "sendgrid-second");
    let shown = provider(&server, "sendgrid").await;
    assert_eq!((&shown["state"], &shown["cause"]), (&json!("disabled"), &json!("auth")), "{shown}");
    let status = server.get("/api/communications/queue/status").await;
    assert_eq!(status.text("/providers/0/state"), "disabled");
    let id = server.send(email("second@example.com")).await;
    let sent = server.until_status(&id, "delivered").await;
    assert_eq!(sent.body["attempts"], 1, "the disabled provider is not called");
    server.post("/api/providers/sendgrid/enable", json!({})).await;
    assert_eq!(provider(&server, "sendgrid").await["state"], "closed");
    let id = server.send(email("third@example.com")).await;
    server.until_status(&id, "delivered").await;
    assert_eq!(server.inbox("third@example.com").await[0]["config"], "sendgrid");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_account_holds_its_messages_without_another_provider() {
    let server = TestServer::new().await;
    server.post("/api/providers/twilio-second/disable", json!({})).await;
    server.fault("twilio", "402", 1).await;
    let id = server.send(sms("+447700900001")).await;
    server.until(&id, "lifecycle", "retry_wait").await;
    let second = server.send(sms("+447700900051")).await;
    let path = format!("/api/communications/{second}/explain");
    let held = async || Some(server.get(&path).await).filter(|why| why.body["waitsFor"]["code"] == "providers_shut");
    let why = eventually("it is held", held).await;
    assert!(why.text("/waitsFor/text").contains("twilio (disabled)"), "{}", why.body);
    // One of the two is the probe. The other follows when it has succeeded.
    server.advance(15 * 60_000).await;
    for id in [&id, &second] {
        let delivered = async || {
            server.advance(60_000).await;
            Some(server.communication(id).await).filter(|one| one.body["status"] == "delivered")
        };
        eventually("both are delivered", delivered).await;
    }
}

fn once(to: &str) -> Value {
    let mut body = email(to);
    body["maxAttempts"] = json!(1);
    body
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_listed_by_filter_and_redriven_at_a_rate() {
    let server = TestServer::new().await;
    server.fault("sendgrid", "503", 3).await;
    let mut dead = Vec::new();
    for n in 0..3 {
        let id = server.send(once(&format!("dead-{n}@example.com"))).await;
        server.until(&id, "lifecycle", "dead_lettered").await;
        dead.push(id);
    }
    server.fault("twilio", "timeout", 1).await;
    let mut held = sms("+447700900061");
    held["inDoubt"] = json!("hold");
    held["expiresAt"] = json!("2031-01-01T00:00:00Z");
    server.send(held).await;

    let list = async |query: &str| server.get(&format!("/api/dead-letters{query}")).await;
    let all =
        async || Some(list("").await).filter(|page| page.body["results"].as_array().is_some_and(|r| r.len() == 3));
    let page = eventually("three dead letters", all).await;
    let found: Vec<&str> = (0..3).map(|n| page.text(&format!("/results/{n}/id"))).collect();
    assert_eq!(found, [&dead[2], &dead[1], &dead[0]]);
    assert!(page.text("/results/0/reason").starts_with("retries_exhausted"), "{}", page.body);
    let count = async |query: &str| list(query).await.body["results"].as_array().expect("results").len();
    assert_eq!(count("?reason=retries_exhausted&channel=email&provider=sendgrid").await, 3);
    assert_eq!((count("?reason=poison").await, count("?channel=sms").await), (0, 0));
    assert_eq!((count("?to=2026-01-01").await, count("?from=2026-01-01").await), (0, 3));
    let first = list("?size=2").await;
    assert_eq!(first.body["hasMore"], true);
    let rest = list(&format!("?size=2&cursor={}", first.text("/nextCursor"))).await;
    assert_eq!(rest.text("/results/0/id"), dead[0]);
    let wrong = list("?reason=bad&page=2").await;
    assert_eq!((wrong.status, wrong.body["errors"].as_array().map(Vec::len)), (StatusCode::BAD_REQUEST, Some(2)));

    let causes = server.get("/api/dead-letters/causes").await;
    assert_eq!((&causes.body["total"], &causes.body["isComplete"]), (&json!(3), &json!(true)), "{}", causes.body);
    let group = &causes.body["causes"][0];
    let expected = (&json!("retries_exhausted"), &json!("unavailable:503"), &json!("email"), &json!(3));
    assert_eq!((&group["reason"], &group["cause"], &group["channel"], &group["count"]), expected, "{group}");
    assert_eq!(server.get("/api/dead-letters/causes?channel=sms").await.body["total"], 0);
    assert_eq!((count("?cause=unavailable:503").await, count("?cause=throttled").await), (3, 0));
    let listed = async |query: &str| {
        let page = server.get(&format!("/api/communications?{query}")).await;
        (page.body["results"].as_array().map_or(0, Vec::len), page.body["count"].clone())
    };
    assert_eq!(listed("lifecycle=dead_lettered").await, (3, json!(3)));
    assert_eq!(listed("reason=unavailable").await.0, 3);
    assert_eq!(listed("reason=retries_exhausted&lifecycle=queued").await.0, 0);
    assert_eq!(listed("template=tpl_none").await, (0, json!(0)));
    assert_eq!(listed("provider=sendgrid").await, (3, json!(3)));

    let redrive = async |body: Value| server.post("/api/dead-letters/redrive", body).await;
    let both = redrive(json!({ "ids": [dead[0]], "reason": "poison" })).await;
    assert_eq!(both.text("/errors/0/code"), "ambiguous", "{}", both.body);
    assert_eq!(redrive(json!({ "ids": ["x"] })).await.text("/errors/0/pointer"), "/ids/0");
    let plan = redrive(json!({ "cause": "unavailable:503", "dryRun": true })).await;
    assert_eq!((plan.status, &plan.body["redriven"]), (StatusCode::OK, &json!(3)), "{}", plan.body);
    assert_eq!((&plan.body["dryRun"], &plan.body["maybeSent"]), (&json!(true), &json!(0)));
    assert_eq!(count("").await, 3, "a dry run changes nothing");
    assert!(!server.events(&dead[0]).await.contains(&"RetryRequested".to_owned()));
    let named = redrive(json!({ "ids": [dead[0], dead[0]] })).await;
    assert_eq!((&named.body["matched"], &named.body["redriven"]), (&json!(1), &json!(1)), "{}", named.body);
    server.until_status(&dead[0], "delivered").await;
    let over = redrive(json!({ "ids": [dead[0]], "dryRun": true })).await;
    assert_eq!((&over.body["redriven"], &over.body["skipped"]), (&json!(0), &json!(1)));
    assert_eq!(redrive(json!({ "reason": "poison" })).await.body["matched"], 0);
    let wrong = redrive(json!({ "reason": "bad", "limit": 0, "perSecond": 1_000, "all": true })).await;
    assert_eq!(wrong.body["errors"].as_array().map(Vec::len), Some(4), "{}", wrong.body);
    let done = redrive(json!({ "reason": "retries_exhausted", "perSecond": 2 })).await;
    assert_eq!(done.status, StatusCode::ACCEPTED, "{}", done.body);
    assert_eq!((&done.body["redriven"], &done.body["skipped"]), (&json!(2), &json!(0)));
    for id in &dead {
        server.until_status(id, "delivered").await;
        assert!(server.events(id).await.contains(&"RetryRequested".to_owned()));
    }
    let again = redrive(json!({ "reason": "retries_exhausted" })).await;
    assert_eq!(again.body["redriven"], 0, "only dead letters are redriven");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_are_cancelled_together_after_a_preview() {
    let server = TestServer::new().await;
    let mut later = email("ada@example.com");
    later["scheduledAt"] = json!("2027-06-01T09:00:00Z");
    let (first, second) = (server.send(later.clone()).await, server.send(later).await);
    let sent = server.send(email("delivered@sim.test")).await;
    server.until_status(&sent, "delivered").await;
    let missing = "com_01a22740947473f1ac5c1370faa09549";
    let cancel = async |body: Value| server.post("/api/communications/cancel", body).await;
    let all = json!([first, sent, second, missing]);
    let plan = cancel(json!({ "ids": all, "dryRun": true })).await;
    assert_eq!((&plan.body["cancelled"], &plan.body["skipped"]), (&json!(2), &json!(2)), "{}", plan.body);
    assert_eq!(server.communication(&first).await.text("/status"), "scheduled", "a dry run changes nothing");
    let done = cancel(json!({ "ids": all })).await;
    assert_eq!((done.status, &done.body["cancelled"]), (StatusCode::OK, &json!(2)), "{}", done.body);
    let code = |n: usize| done.text(&format!("/results/{n}/problem/code"));
    assert_eq!((code(1), code(3)), ("conflict", "not_found"), "{}", done.body);
    assert_eq!(server.communication(&second).await.text("/status"), "cancelled");
    assert_eq!(cancel(json!({})).await.text("/errors/0/code"), "required");
    let many: Vec<String> = (0..101).map(|n| format!("com_{n:032x}")).collect();
    assert_eq!(cancel(json!({ "ids": many })).await.text("/errors/0/code"), "too_many");
}

#[tokio::test(flavor = "multi_thread")]
async fn twilio_is_queried_about_a_message_without_a_report() {
    let server = TestServer::new().await;
    server.fault("twilio", "accept_then_silence", 1).await;
    let mut held = sms("+447700900071");
    held["inDoubt"] = json!("hold");
    let id = server.send(held).await;
    server.until(&id, "lifecycle", "in_doubt").await;
    server.advance(domain::policy::EVIDENCE_WAIT_MS as u32).await;
    let sent = server.until(&id, "lifecycle", "sent").await;
    assert!(sent.text("/providerMessageId").starts_with("SM"), "{}", sent.body);
    assert_eq!(server.inbox("+447700900071").await.len(), 1);
    let why = server.get(&format!("/api/communications/{id}/explain")).await;
    assert!(why.body["steps"].as_array().expect("steps").iter().any(|s| s["code"] == "resolved.accepted.query"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_twilio_did_not_accept_is_sent_again_once() {
    let server = TestServer::new().await;
    server.fault("twilio", "timeout", 1).await;
    let mut held = sms("+447700900072");
    held["inDoubt"] = json!("hold");
    let id = server.send(held).await;
    server.until(&id, "lifecycle", "in_doubt").await;
    server.advance(domain::policy::EVIDENCE_WAIT_MS as u32).await;
    let sent = server.until_status(&id, "delivered").await;
    assert_eq!((&sent.body["maybeSent"], &sent.body["attempts"]), (&json!(false), &json!(2)));
    assert_eq!(server.inbox("+447700900072").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn quiet_hours_are_validated_and_hold_a_message() {
    let server = TestServer::new().await;
    let quiet = |hours: Value| {
        let mut body = email("quiet@example.com");
        body["quietHours"] = hours;
        body
    };
    for (hours, pointer) in [
        (json!({ "start": "9pm", "end": "08:00", "timeZone": "UTC" }), "/quietHours/start"),
        (json!({ "start": "21:00", "end": "21:00", "timeZone": "UTC" }), "/quietHours/end"),
        (json!({ "start": "21:00", "end": "08:00", "timeZone": "Mars" }), "/quietHours/timeZone"),
        (json!({ "start": "21:00", "end": "08:00", "zone": "UTC" }), "/quietHours"),
        (json!("night"), "/quietHours"),
    ] {
        let answer = server.post("/api/communications/send", quiet(hours)).await;
        assert_eq!((answer.status, answer.text("/errors/0/pointer")), (StatusCode::UNPROCESSABLE_ENTITY, pointer));
    }
    // The quiet hours cover 23 hours of the day, including the current one.
    let now = jiff::Timestamp::now();
    let clock = |hours: i64| (now + jiff::SignedDuration::from_hours(hours)).strftime("%H:%M").to_string();
    let hours = json!({ "start": clock(-20), "end": clock(3), "timeZone": "UTC" });
    let answer = server.post("/api/communications/send", quiet(hours)).await;
    let held: jiff::Timestamp = answer.text("/estimatedSendTime").parse().expect("a time");
    assert!(held > now + jiff::SignedDuration::from_mins(150), "{}", answer.body);
    let id = answer.id();
    let deferred = async || {
        let found = server.events(&id).await;
        found.contains(&"CommunicationDeferred".to_owned()).then_some(())
    };
    eventually("the message is deferred", deferred).await;
    server.advance(3 * 3_600_000 + 60_000).await;
    server.until_status(&id, "delivered").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_message_of_a_batch_is_accepted_or_rejected_by_itself() {
    let server = TestServer::new().await;
    let keyed = |key: &str, to: &str| {
        let mut body = email(to);
        body["idempotencyKey"] = json!(key);
        body
    };
    let batch = json!({ "communications": [
        keyed("b-1", "one@example.com"), { "channel": "email" }, keyed("b-2", "two@example.com"), "three", keyed("b-1", "other@example.com"),
    ]});
    let mut dry = batch.clone();
    dry["validateOnly"] = json!(true);
    let checked = server.post("/api/communications/batch", dry).await;
    assert_eq!(
        (checked.status, &checked.body["accepted"], &checked.body["refused"]),
        (StatusCode::OK, &json!(0), &json!(2))
    );
    assert_eq!(checked.body["results"][0]["valid"], true);
    assert_eq!(server.get("/api/communications").await.body["count"], 0);

    let done = server.post("/api/communications/batch", batch.clone()).await;
    let problem = |n: usize| done.body["results"][n]["problem"]["code"].clone();
    assert_eq!((problem(1), problem(3)), (json!("invalid"), json!("malformed")), "{}", done.body);
    assert_eq!(done.body["results"][1]["problem"]["errors"][0]["pointer"], "/type");
    let ids: Vec<&str> = [0, 2].map(|n| done.text(&format!("/results/{n}/id"))).to_vec();
    for id in &ids {
        server.until_status(id, "delivered").await;
    }
    let again = server.post("/api/communications/batch", batch).await;
    assert_eq!(again.text("/results/2/id"), ids[1]);
    assert_eq!(again.body["results"][2]["idempotentReplayed"], true);
    let other = again.body["results"][4]["problem"]["code"].clone();
    assert_eq!(other, "idempotency_key_reused", "another body under the same key");

    for (wrong, code) in [
        (json!({ "communications": [] }), "empty"),
        (json!({}), "required"),
        (json!({ "communications": vec![email("x@example.com"); 101] }), "too_many"),
        (json!({ "communications": [email("x@example.com")], "validateOnly": "yes" }), "not_a_flag"),
    ] {
        let answer = server.post("/api/communications/batch", wrong).await;
        assert_eq!((answer.status, answer.text("/errors/0/code")), (StatusCode::UNPROCESSABLE_ENTITY, code));
    }
}
