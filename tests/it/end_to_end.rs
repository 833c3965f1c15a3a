//! End-to-end tests over HTTP: `local` with the real functions, the providers' real protocols and real signatures.

use domain::ports::{ApiKeyStore, Principal};
use events::Mode;
use local::{Data, Options};
use reqwest::{Method, StatusCode};
use serde_json::json;
use tests::harness::Scratch;
use tests::server::{TestServer, email, eventually, sms};

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_by_email_is_sent_delivered_and_opened() {
    let server = TestServer::new().await;
    let answer = server
        .post(
            "/api/communications/send",
            json!({
                "channel": "email", "type": "invoice", "recipientType": "customer", "recipientId": "cus-7",
                "recipientName": "Ada Lovelace", "recipientContact": "opened@sim.test",
                "templateId": "tpl_invoice_email",
                "templateVariables": {
                    "customerName": "Ada", "invoiceNumber": "INV-7", "amount": 1500, "businessName": "Acme",
                    "dueDate": "2026-12-01"
                },
                "entityType": "sale", "entityId": "sale-7", "priority": "high",
                "attachments": [{ "filename": "invoice.pdf", "fileUrl": "https://files.example.com/7.pdf" }],
            }),
        )
        .await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
    assert_eq!(answer.headers["location"], format!("/api/communications/{}", answer.id()).as_str());
    assert_eq!(answer.text("/status"), "queued");
    assert_eq!(answer.text("/communication/subject"), "Invoice INV-7 from Acme");
    let id = answer.id();

    let opened = server.until_status(&id, "opened").await;
    assert_eq!(opened.text("/provider"), "sendgrid");
    assert_eq!(opened.text("/rendered/subject"), "Invoice INV-7 from Acme");
    for time in ["sentAt", "deliveredAt", "openedAt"] {
        assert!(opened.body[time].is_string(), "{time} in {}", opened.body);
    }
    let events = server.events(&id).await;
    assert_eq!(events[..3], ["CommunicationRequested", "DeliveryAttemptStarted", "DeliveryAttemptAccepted"]);
    assert!(events[3..].iter().all(|event| event == "DeliveryReported"), "{events:?}");

    let received = server.inbox("opened@sim.test").await;
    assert_eq!(received.len(), 1);
    assert_eq!(received[0]["communicationId"], id.as_str());
    assert!(received[0]["body"].as_str().is_some_and(|body| body.contains("$1,500.00")));
    assert_eq!(received[0]["attachments"][0]["filename"], "invoice.pdf");
    assert!(received[0]["html"].as_str().is_some_and(|html| html.contains("December 1, 2026")));

    // Lists and statistics follow with a short delay.
    for filter in ["recipientId=cus-7", "entityType=sale&entityId=sale-7", "status=opened&channel=email&type=invoice"] {
        let path = format!("/api/communications?{filter}");
        let row = eventually(filter, async || {
            let list = server.get(&path).await;
            Some(list.body["results"][0].clone()).filter(|row| row["status"] == "opened")
        })
        .await;
        assert_eq!((&row["id"], &row["recipientName"]), (&json!(id), &json!("Ada Lovelace")));
        assert_eq!(row["subject"], "Invoice INV-7 from Acme");
    }
    let stats = server.get("/api/communications/stats").await.body;
    assert_eq!((&stats["total"], &stats["totalSent"]), (&json!(1), &json!(1)));
    assert_eq!(
        (&stats["byChannel"]["email"], &stats["byStatus"]["opened"], &stats["byType"]["invoice"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!((&stats["openRate"], &stats["unsubscribeRate"]), (&json!(1.0), &json!(0.0)));
    assert_eq!((&stats["byProvider"]["sendgrid"], &stats["byTemplate"]["tpl_invoice_email"]), (&json!(1), &json!(1)));
    for times in ["sendTimeMs", "deliveryTimeMs"] {
        assert!(stats[times]["p99"].as_i64().is_some_and(|ms| ms <= 10_000), "{stats}");
    }
    let queue = server.get("/api/communications/queue/status").await.body;
    assert_eq!((&queue["completed"], &queue["pending"], &queue["healthy"]), (&json!(1), &json!(0), &json!(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_link_by_sms_is_delivered_and_counted_in_segments() {
    let server = TestServer::new().await;
    let id = server
        .send(json!({
            "channel": "sms", "type": "payment_link", "recipientContact": "+44 7700 900001",
            "templateId": "tpl_payment_link_sms",
            "templateVariables": {
                "businessName": "Acme", "customerName": "Ada", "amount": "12.50", "currency": "EUR",
                "invoiceNumber": "INV-7", "paymentLink": "https://pay.example.com/7"
            },
        }))
        .await;
    let delivered = server.until_status(&id, "delivered").await;
    assert_eq!((delivered.text("/provider"), &delivered.body["segments"]), ("twilio", &json!(1)));
    let received = server.inbox("+447700900001").await;
    assert_eq!(received[0]["body"], "Acme: Ada, pay €12.50 for INV-7 here: https://pay.example.com/7");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_message_is_sent_at_its_time_and_never_early() {
    let server = TestServer::new().await;
    let now = api::fields::show_time(domain::ports::ClockAndRng::now(&*server.local.clock) + 3_600_000);
    let mut body = email("delivered@sim.test");
    body["scheduledAt"] = json!(now);
    let answer = server.post("/api/communications/send", body).await;
    assert_eq!((answer.text("/status"), answer.text("/estimatedSendTime")), ("scheduled", now.as_str()));
    server.advance(3_598_000).await;
    assert_eq!(server.inbox("delivered@sim.test").await.len(), 0);
    let sent = server.until_status(&answer.id(), "delivered").await;
    let sent_at = sent.text("/sentAt");
    let late =
        api::fields::parse_time(sent_at).expect("a time").millis_since(api::fields::parse_time(&now).expect("a time"));
    // docs/performance.md has the measured lateness. deliveries.rs tests the hint's delay to the second.
    assert!(0 <= late, "{} ms early", -late);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scheduled_message_can_be_changed_rescheduled_and_cancelled() {
    let server = TestServer::new().await;
    let later = |ms: i64| json!(api::fields::show_time(domain::ports::ClockAndRng::now(&*server.local.clock) + ms));
    let mut body = email("delivered@sim.test");
    body["scheduledAt"] = later(3_600_000);
    let id = server.send(body).await;
    let path = format!("/api/communications/{id}");
    let patch = async |body| server.answer(server.request(Method::PATCH, &path).json(&body)).await;
    let changed =
        patch(json!({ "scheduledAt": later(7_200_000), "content": "Other content", "subject": "News" })).await;
    assert_eq!(
        (changed.status, changed.text("/rendered/text"), changed.text("/subject")),
        (StatusCode::OK, "Other content", "News")
    );
    server.advance(3_700_000).await;
    assert_eq!(server.communication(&id).await.text("/status"), "scheduled");
    let cancelled = server.post(&format!("{path}/cancel"), json!({})).await;
    assert_eq!((cancelled.status, cancelled.text("/status")), (StatusCode::OK, "cancelled"));
    assert_eq!(
        server.post(&format!("{path}/cancel"), json!({})).await.status,
        StatusCode::OK,
        "a repeated cancellation succeeds"
    );
    server.advance(7_200_000).await;
    assert_eq!(server.inbox("delivered@sim.test").await.len(), 0);
    assert_eq!(patch(json!({ "content": "Too late" })).await.status, StatusCode::CONFLICT);
    assert_eq!(
        server.events(&id).await,
        ["CommunicationRequested", "CommunicationRescheduled", "CommunicationContentChanged", "CommunicationCancelled"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_returns_202_during_an_attempt_and_409_after_sending() {
    let server = TestServer::new().await;
    server.fault("sendgrid", "timeout", 1).await;
    let id = server.send(email("delivered@sim.test")).await;
    server.until_status(&id, "sending").await;
    let path = format!("/api/communications/{id}/cancel");
    let requested = server.post(&path, json!({})).await;
    assert_eq!((requested.status, requested.text("/status")), (StatusCode::ACCEPTED, "sending"));
    server.until(&id, "lifecycle", "in_doubt").await;
    server.advance(121_000).await;
    let failed = server.until_status(&id, "failed").await;
    assert_eq!((&failed.body["maybeSent"], failed.text("/lifecycle")), (&json!(true), "failed"));
    let sent = server.send(email("delivered@sim.test")).await;
    server.until_status(&sent, "delivered").await;
    let late = server.post(&format!("/api/communications/{sent}/cancel"), json!({})).await;
    assert_eq!((late.status, late.text("/code")), (StatusCode::CONFLICT, "conflict"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_resolves_an_attempt_whose_answer_was_lost() {
    let server = TestServer::new().await;
    for (body, to) in [(email("timeout@sim.test"), "timeout@sim.test"), (sms("+447700900022"), "+447700900022")] {
        let id = server.send(body).await;
        server.until_status(&id, "delivered").await;
        server.until(&id, "lifecycle", "sent").await;
        server.advance(300_000).await;
        assert_eq!(server.inbox(to).await.len(), 1, "sent only once");
        let events = server.events(&id).await;
        assert!(events.contains(&"DeliveryAttemptResolved".to_owned()), "{events:?}");
        assert_eq!(server.communication(&id).await.body["maybeSent"], json!(false));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttled_message_is_delivered_after_the_wait() {
    let server = TestServer::new().await;
    let id = server.send(email("throttled@sim.test")).await;
    let waiting = server.until(&id, "lifecycle", "retry_wait").await;
    assert_eq!(waiting.text("/reason"), "throttled:429");
    for _ in 0..2 {
        server.until(&id, "lifecycle", "retry_wait").await;
        server.advance(2_100).await;
    }
    let delivered = server.until_status(&id, "delivered").await;
    assert_eq!(delivered.body["attempts"], json!(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_stays_down_ends_in_a_dead_letter() {
    let server = TestServer::new().await;
    let id = server.send(email("down@sim.test")).await;
    for attempt in 1..=4 {
        eventually("the next attempt", async || {
            let now = server.communication(&id).await;
            (now.body["lifecycle"] == "retry_wait" && now.body["attempts"] == attempt).then_some(())
        })
        .await;
        server.advance(4_400_000).await;
    }
    let dead = server.until(&id, "lifecycle", "dead_lettered").await;
    assert_eq!(
        (dead.text("/status"), &dead.body["attempts"], &dead.body["maybeSent"]),
        ("failed", &json!(5), &json!(false))
    );
    assert_eq!(dead.text("/reason"), "retries_exhausted (unavailable:503)");
    assert_eq!(server.inbox("down@sim.test").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_sent_once_despite_each_injected_fault() {
    let server = TestServer::new().await;
    for (kind, provider, body) in [
        ("500", "sendgrid", email("delivered@sim.test")),
        ("reset", "sendgrid", email("delivered@sim.test")),
        ("503", "twilio", sms("+447700900001")),
        ("429", "twilio", sms("+447700900001")),
        ("401", "twilio", sms("+447700900001")),
    ] {
        server.answer(server.request(Method::DELETE, "/_dev/inbox")).await;
        server.fault(provider, kind, 1).await;
        let to = body["recipientContact"].as_str().expect("an address").to_owned();
        let id = server.send(body).await;
        eventually(kind, async || (server.communication(&id).await.body["reason"].is_string()).then_some(())).await;
        server.advance(950_000).await;
        server.until_status(&id, "delivered").await;
        assert_eq!(server.inbox(&to).await.len(), 1, "{kind}");
    }
    server.fault("sendgrid", "400", 1).await;
    let id = server.send(email("delivered@sim.test")).await;
    let failed = server.until_status(&id, "failed").await;
    assert_eq!(failed.text("/reason"), "permanent (permanent:400)");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hard_bounce_and_a_stop_suppress_the_address() {
    let server = TestServer::new().await;
    let bounced = server.send(email("bounce-hard@sim.test")).await;
    let bounced = server.until_status(&bounced, "bounced").await;
    assert_eq!(bounced.text("/reason"), "bounced:5.1.1");
    let refused = server.post("/api/communications/send", email("Bounce-Hard@SIM.test")).await;
    assert_eq!((refused.status, refused.text("/code")), (StatusCode::UNPROCESSABLE_ENTITY, "recipient_suppressed"));
    let complained = server.send(email("complaint@sim.test")).await;
    let complained = eventually("a complaint", async || {
        Some(server.communication(&complained).await).filter(|answer| answer.body["complained"] == true)
    })
    .await;
    assert_eq!(complained.text("/status"), "delivered", "a complaint does not change the status");

    let stop = server.send(sms("+447700900030")).await;
    server.until_status(&stop, "delivered").await;
    // The provider receives the STOP first, and rejects the next message.
    let again = eventually("the provider's rejection", async || {
        let id = server.post("/api/communications/send", sms("+447700900030")).await;
        (id.status == StatusCode::UNPROCESSABLE_ENTITY).then_some(id)
    })
    .await;
    assert_eq!(again.text("/code"), "recipient_suppressed");
    server.answer(server.request(Method::DELETE, "/_dev/suppressions")).await;
    server.send(email("bounce-hard@sim.test")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idempotency_key_creates_one_communication() {
    let server = TestServer::new().await;
    let send = async |key: &str, body: serde_json::Value| {
        let request = server.request(Method::POST, "/api/communications/send");
        server.answer(request.header("idempotency-key", key).json(&body)).await
    };
    let first = send("order-1", email("delivered@sim.test")).await;
    assert!(!first.headers.contains_key("idempotent-replayed"));
    server.until_status(&first.id(), "delivered").await;
    let again = send("order-1", email("delivered@sim.test")).await;
    assert_eq!((again.status, again.id()), (StatusCode::CREATED, first.id()));
    assert_eq!((again.headers["idempotent-replayed"].as_bytes(), again.text("/status")), (&b"true"[..], "delivered"));
    let webhook_key = server.local.simulator.sendgrid_public_key();
    let channel = json!({
        "provider": "sendgrid",
        "settings": { "apiKey": "SG.live", "fromEmail": "live@tidings.test", "webhookKey": webhook_key },
    });
    assert_eq!(server.post("/api/channels", channel).await.status, StatusCode::CREATED);
    let principal = Principal::admin("local".parse().expect("a tenant"), "x", Mode::Live);
    ApiKeyStore::put(&server.local.database, &application::hash::key_hash("td_live_local"), &principal)
        .await
        .expect("a key");
    let live = server.client.post(format!("{}/api/communications/send", server.local.url)).bearer_auth("td_live_local");
    let live = server.answer(live.header("idempotency-key", "order-1").json(&email("live@sim.test"))).await;
    assert_ne!(live.id(), first.id(), "live and test keys have separate idempotency keys");
    let other = send("order-1", email("other@sim.test")).await;
    assert_eq!((other.status, other.text("/code")), (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused"));
    let many = (0..10).map(|_| send("order-2", email("delivered@sim.test")));
    let ids: Vec<String> = futures_util::future::join_all(many).await.iter().map(|answer| answer.id()).collect();
    assert!(ids.iter().all(|id| *id == ids[0]));
    server.until_status(&ids[0], "delivered").await;
    assert_eq!(server.inbox("delivered@sim.test").await.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resend_is_a_new_communication_linked_to_the_old() {
    let server = TestServer::new().await;
    let id = server.send(email("bounce-hard@sim.test")).await;
    server.until_status(&id, "bounced").await;
    let path = format!("/api/communications/{id}/resend");
    let to_phone = json!({ "channel": "sms", "recipientContact": "+447700900001" });
    let resent = server.post(&path, to_phone).await;
    assert_eq!((resent.status, resent.text("/originalCommunicationId")), (StatusCode::CREATED, id.as_str()));
    let delivered = server.until_status(&resent.id(), "delivered").await;
    assert_eq!((delivered.text("/channel"), delivered.text("/source")), ("sms", "resend"));
    let same = server.post(&path, json!({})).await;
    assert_eq!(same.text("/code"), "recipient_suppressed");
    let nowhere = server.post(&path, json!({ "channel": "sms" })).await;
    assert_eq!(nowhere.body["errors"][0]["pointer"], "/recipientContact");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_loses_no_accepted_message() {
    let scratch = Scratch::new();
    let options = || Options { data: Data::Folder(scratch.0.clone()), ..TestServer::options() };
    let server = TestServer::with(options()).await;
    // Providers hang, so that the process stops with messages in different states.
    server.fault("sendgrid", "timeout", 3).await;
    let mut ids = Vec::new();
    for _ in 0..12 {
        ids.push(server.send(email("delivered@sim.test")).await);
    }
    drop(server);
    let server = TestServer::with(options()).await;
    for id in &ids {
        eventually("sent once leases and doubts have ended", async || {
            server.advance(30_000).await;
            (server.communication(id).await.body["lifecycle"] == "sent").then_some(())
        })
        .await;
    }
    let queue = eventually("the views", async || {
        Some(server.get("/api/communications/queue/status").await).filter(|queue| queue.body["completed"] == 12)
    })
    .await;
    assert_eq!((&queue.body["pending"], &queue.body["processing"]), (&json!(0), &json!(0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_cannot_use_the_same_folder() {
    let scratch = Scratch::new();
    let options = || Options { data: Data::Folder(scratch.0.clone()), ..TestServer::options() };
    let server = TestServer::with(options()).await;
    let Err(error) = local::Local::start(options()).await else { panic!("a second process started") };
    assert!(error.to_string().contains("in use"), "{error}");
    drop(server);
    TestServer::with(options()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn views_can_be_rebuilt_from_the_streams() {
    let scratch = Scratch::new();
    let options = || Options { data: Data::Folder(scratch.0.clone()), ..TestServer::options() };
    let server = TestServer::with(options()).await;
    for to in ["opened@sim.test", "bounce-hard@sim.test", "delivered@sim.test"] {
        let id = server.send(email(to)).await;
        let end = to.split(['-', '@']).next().expect("a name").replace("bounce", "bounced");
        server.until_status(&id, &end).await;
    }
    let read_views = async |server: &TestServer| {
        let stats = server.get("/api/communications/stats").await.body;
        let list = server.get("/api/communications").await.body;
        (stats["byStatus"].clone(), stats["total"].clone(), list["results"].clone())
    };
    eventually("the views", async || {
        (read_views(&server).await.0 == json!({ "opened": 1, "bounced": 1, "delivered": 1 })).then_some(())
    })
    .await;
    let before = read_views(&server).await;
    // The audit does not compare streams that changed recently.
    server.advance(60_000).await;
    assert!(local::rebuild(&scratch.0).await.is_err(), "a running process uses the folder");
    drop(server);
    // Delete a row and change the counters.
    let file = rusqlite::Connection::open(scratch.0.join("tidings.db")).expect("the data");
    let tamper = "UPDATE counters SET amount = amount + 7; DELETE FROM view_rows WHERE rowid = 1;";
    file.execute_batch(tamper).expect("tampered with");
    drop(file);
    assert!(!local::audit(&scratch.0).await.expect("a report").findings.is_empty());
    let (rebuilt, report) = local::rebuild(&scratch.0).await.expect("rebuilt");
    assert_eq!((rebuilt.streams, rebuilt.skipped, rebuilt.next), (3, 0, None));
    assert_eq!(report.findings, []);
    assert_eq!(read_views(&TestServer::with(options()).await).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_outcome_is_explained() {
    let server = TestServer::new().await;
    let id = server.send(email("throttled@sim.test")).await;
    server.until(&id, "lifecycle", "retry_wait").await;
    let path = format!("/api/communications/{id}/explain");
    let why = server.get(&path).await;
    assert!(why.text("/summary").starts_with("It is retried at "), "{}", why.body);
    let codes: Vec<&str> = (0..3).map(|n| why.text(&format!("/steps/{n}/code"))).collect();
    assert_eq!(codes, ["accepted", "attempt", "refused.throttled"]);
    assert!(why.text("/steps/2/text").contains("such an attempt does not count"), "{}", why.body);
    assert_eq!(why.text("/steps/2/inputs/attemptsCounted"), "0");
    let nobody = server.get("/api/communications/com_00000000000000000000000000000000/explain").await;
    assert_eq!(nobody.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_resolves_a_doubt_and_retries_a_dead_letter() {
    let server = TestServer::new().await;
    server.fault("sendgrid", "timeout", 1).await;
    let id = server.send(email("delivered@sim.test")).await;
    server.until(&id, "lifecycle", "in_doubt").await;
    let path = |what: &str| format!("/api/communications/{id}/{what}");
    let wrong = server.post(&path("resolve"), json!({ "outcome": "lost" })).await;
    assert_eq!(wrong.body["errors"][0]["pointer"], "/outcome");
    assert_eq!(server.post(&path("retry"), json!({})).await.status, StatusCode::CONFLICT);
    let resolved = server.post(&path("resolve"), json!({ "outcome": "not_accepted" })).await;
    assert_eq!((resolved.status, &resolved.body["maybeSent"]), (StatusCode::OK, &json!(false)));
    server.until_status(&id, "delivered").await;
    assert_eq!(server.inbox("delivered@sim.test").await.len(), 1);
    let late = server.post(&path("resolve"), json!({ "outcome": "accepted" })).await;
    assert_eq!((late.status, late.text("/code")), (StatusCode::CONFLICT, "conflict"));

    let mut once = email("delivered@sim.test");
    once["maxAttempts"] = json!(1);
    server.fault("sendgrid", "503", 1).await;
    let id = server.send(once).await;
    server.until(&id, "lifecycle", "dead_lettered").await;
    let retried = server.post(&format!("/api/communications/{id}/retry"), json!({})).await;
    assert_eq!(retried.status, StatusCode::OK, "{}", retried.body);
    server.until_status(&id, "delivered").await;
    assert!(server.events(&id).await.contains(&"RetryRequested".to_owned()));
}
