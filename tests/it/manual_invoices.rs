//! What people do with invoices over HTTP: sending them, reminding of them, exporting them, and finding what was said of
//! one that is not known.

use domain::ports::{ApiKeyStore, Principal};
use events::Mode;
use local::ParkedEvents;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::server::{Answer, TestServer, eventually};

const DAY_MS: i64 = 24 * 3_600_000;

/// The day so many days from now, in UTC.
fn day(server: &TestServer, days: i64) -> String {
    use domain::ports::ClockAndRng;
    let now = server.local.clock.now().0 + days * DAY_MS;
    jiff::Timestamp::from_millisecond(now).expect("a time").to_zoned(jiff::tz::TimeZone::UTC).date().to_string()
}

async fn tell(server: &TestServer, id: &str, kind: &str, data: Value) -> Answer {
    let event = json!({ "id": id, "type": kind, "source": "erp", "data": data });
    let taken = server.post("/api/events", event).await;
    assert_eq!(taken.status, StatusCode::ACCEPTED, "{}", taken.body);
    eventually("the event is handled", async || {
        let answer = server.get(&format!("/api/business-events/{}", taken.id())).await;
        (answer.text("/status") != "received").then_some(answer)
    })
    .await
}

/// An invoice of 100.00 EUR that is due in so many days, of a customer with the same id.
async fn issue(server: &TestServer, id: &str, due_in: i64, customer: Value) -> String {
    let mut named = json!({ "id": id, "name": "Ada" });
    named.as_object_mut().expect("an object").extend(customer.as_object().expect("an object").clone());
    let data = json!({
        "invoice": { "id": id, "number": format!("INV-{id}"), "issuedOn": day(server, -1), "dueOn": day(server, due_in),
                     "total": "100.00", "currency": "EUR", "status": "issued",
                     "lines": [{ "description": "Rope", "total": "100.00" }] },
        "customer": named, "businessName": "Acme",
    });
    let event = tell(server, &format!("issued-{id}"), "ar_invoice.created", data).await;
    let acts = event.body["acts"].as_array().expect("acts").iter();
    let facts = acts.clone().find(|act| act["act"] == "invoice" && act["channel"].is_null());
    facts.expect("facts")["ref"].as_str().expect("an invoice").to_owned()
}

async fn post(server: &TestServer, path: &str, key: &str, body: Value) -> Answer {
    server.answer(server.request(Method::POST, path).header("idempotency-key", key).json(&body)).await
}

fn error(answer: &Answer) -> (u16, &str) {
    (answer.status.as_u16(), answer.text("/errors/0/code"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sends_an_invoice_with_the_same_words_and_file() {
    let server = TestServer::new().await;
    let id = issue(&server, "1", 10, json!({ "phone": "+447700900001" })).await;
    let path = format!("/api/invoices/{id}/send");
    let refused = post(&server, &path, "k0", json!({})).await;
    assert_eq!(error(&refused), (409, "no_email"), "{}", refused.body);

    let customer = json!({ "customer": { "id": "1", "email": "one@sim.test" } });
    tell(&server, "c1", "customer.changed", customer).await;
    // Its document was never printed, so that this takes a moment.
    let requested = post(&server, &path, "k1", json!({})).await;
    assert_eq!(requested.status, StatusCode::ACCEPTED, "{}", requested.body);
    let planned = (requested.text("/status"), requested.text("/acts/0/channel"), &requested.body["acts"][0]["ref"]);
    assert_eq!((requested.id(), planned), (id.clone(), ("requested", "email", &Value::Null)));
    let shown = eventually("the request is carried out", async || {
        let shown = server.get(&format!("/api/invoices/{id}")).await;
        (shown.text("/sendings/0/status") == "done").then_some(shown)
    })
    .await;
    let (communication, act) = (shown.text("/sendings/0/acts/0/ref").to_owned(), &shown.body["sendings"][0]["acts"][0]);
    assert_eq!((&act["note"], shown.text("/sent/how")), (&Value::Null, "manual"), "{}", shown.body);
    server.until_status(&communication, "delivered").await;
    let arrived = &server.inbox("one@sim.test").await[0];
    assert_eq!(arrived["subject"], "Invoice INV-1 from Acme");
    assert_eq!(arrived["attachments"][0]["filename"], "invoice-INV-1.pdf");

    // The same key sends nothing twice, and another body under it is refused.
    let again = post(&server, &path, "k1", json!({})).await;
    assert_eq!((again.status, again.text("/acts/0/ref")), (StatusCode::OK, communication.as_str()), "{}", again.body);
    assert_eq!(again.headers.get("idempotent-replayed").map(|value| value.as_bytes()), Some(&b"true"[..]));
    let reused = post(&server, &path, "k1", json!({ "channel": "email" })).await;
    assert_eq!((reused.status.as_u16(), reused.text("/code")), (422, "idempotency_key_reused"), "{}", reused.body);
    assert_eq!(server.inbox("one@sim.test").await.len(), 1);
    let by_sms = post(&server, &path, "k2", json!({ "channel": "sms" })).await;
    assert_eq!((by_sms.status, by_sms.text("/acts/0/channel")), (StatusCode::OK, "sms"), "{}", by_sms.body);
    let text = eventually("the SMS", async || server.inbox("+447700900001").await.first().cloned()).await;
    assert!(text["body"].to_string().contains("Pay here: http"), "{text}");
    let link = server.get(&format!("/api/invoices/{id}")).await;
    assert_eq!(link.text("/paymentLink/sent/channel"), "sms", "{}", link.body);
    // The file is there now, so that another email leaves at once, with the same file.
    let at_once = post(&server, &path, "k5", json!({ "channel": "email" })).await;
    assert_eq!((at_once.status, at_once.text("/status")), (StatusCode::OK, "sent"), "{}", at_once.body);
    let file = async |id: &str| server.communication(id).await.body["attachments"][0]["attachmentId"].clone();
    let printed = file(&communication).await;
    assert_eq!((printed.is_string(), file(at_once.text("/acts/0/ref")).await), (true, printed.clone()));

    let events = server.get(&format!("/api/invoices/{id}/events")).await;
    let sent = events.body["events"].as_array().expect("events").iter().filter(|event| event["type"] == "InvoiceSent");
    let how: Vec<&Value> = sent.map(|event| &event["data"]["how"]).collect();
    assert_eq!(how, [&json!("manual"), &json!("manual"), &json!("manual")], "{}", events.body);
    let shown = server.communication(&communication).await;
    assert_eq!((shown.text("/source"), shown.text("/type")), ("api", "invoice"));

    // After 30 days the event's data is gone, and with it the lines. The file that was printed is still there.
    server.advance(31 * DAY_MS as u32).await;
    let later = post(&server, &path, "k3", json!({ "channel": "email" })).await;
    assert_eq!((later.status, &later.body["acts"][0]["note"]), (StatusCode::OK, &Value::Null), "{}", later.body);
    assert_eq!(file(later.text("/acts/0/ref")).await, printed);
    tell(&server, "void", "ar_invoice.voided", json!({ "invoice": "1" })).await;
    assert_eq!(error(&post(&server, &path, "k4", json!({})).await), (409, "voided"));
    assert_eq!(server.post("/api/invoices/inv_00000000000000000000000000000000/send", json!({})).await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_reminds_by_a_step_once_and_never_of_what_is_paid() {
    let server = TestServer::new().await;
    let settings = json!({ "time": "00:00", "until": "23:59" });
    server.answer(server.request(Method::PATCH, "/api/collections").json(&settings)).await;
    let id = issue(&server, "1", 5, json!({ "email": "one@sim.test" })).await;
    let path = format!("/api/invoices/{id}/remind");
    let off = server.post(&path, json!({ "step": "d7" })).await;
    assert_eq!(error(&off), (409, "collections_off"), "{}", off.body);
    eventually("the invoice is listed", async || {
        let listed = server.get("/api/invoices").await;
        (listed.body["results"][0]["id"] == json!(id)).then_some(())
    })
    .await;
    server.post("/api/collections/enable", json!({})).await;
    let unknown = server.post(&path, json!({ "step": "d8" })).await;
    assert_eq!(error(&unknown), (422, "unknown_step"), "{}", unknown.body);
    server.post(&format!("/api/invoices/{id}/pause"), json!({})).await;
    assert_eq!(error(&server.post(&path, json!({ "step": "d7" })).await), (409, "paused"));
    server.post(&format!("/api/invoices/{id}/resume"), json!({})).await;

    let begun = server.post(&path, json!({ "step": "d7" })).await;
    assert_eq!((begun.status, begun.text("/steps/0/outcome")), (StatusCode::OK, "triggered"), "{}", begun.body);
    let repeated = server.post(&path, json!({ "step": "d7" })).await;
    assert_eq!((repeated.status, repeated.text("/steps/0/step")), (StatusCode::OK, "d7"), "{}", repeated.body);
    assert_eq!(error(&server.post(&path, json!({ "step": "d30" })).await), (409, "step_under_way"));
    server.advance(21_000).await;
    let issued = eventually("the step is issued", async || {
        server.advance(21_000).await;
        let shown = server.get(&format!("/api/invoices/{id}")).await;
        (shown.text("/steps/0/outcome") == "issued").then_some(shown)
    })
    .await;
    let communication = issued.text("/steps/0/communicationIds/0").to_owned();
    server.until_status(&communication, "delivered").await;
    assert_eq!(error(&server.post(&path, json!({ "step": "d7" })).await), (409, "step_done"));
    let other = issue(&server, "2", 5, json!({ "id": "1", "email": "one@sim.test" })).await;
    let full = server.post(&format!("/api/invoices/{other}/remind"), json!({ "step": "d7" })).await;
    assert_eq!(error(&full), (409, "max_per_day"), "{}", full.body);

    // Paid between the request and the notice: nothing is sent.
    let paid = issue(&server, "3", 5, json!({ "email": "three@sim.test" })).await;
    let inbox = server.inbox("three@sim.test").await.len();
    server.post(&format!("/api/invoices/{paid}/remind"), json!({ "step": "d7" })).await;
    let payment = json!({
        "payment": { "id": "p3", "amount": "100.00", "currency": "EUR", "receivedAt": format!("{}T00:00:00Z", day(&server, 0)) },
        "allocations": [{ "invoice": "3", "amount": "100.00" }],
    });
    tell(&server, "p3", "payment.received", payment).await;
    eventually("the step is skipped", async || {
        server.advance(21_000).await;
        let shown = server.get(&format!("/api/invoices/{paid}")).await;
        (shown.body["steps"][0]["reason"] == "settled").then_some(())
    })
    .await;
    let subjects = server.inbox("three@sim.test").await;
    assert!(subjects.len() <= inbox + 2 && !format!("{subjects:?}").contains("overdue"), "{subjects:?}");
    let settled = server.post(&format!("/api/invoices/{paid}/remind"), json!({ "step": "d30" })).await;
    assert_eq!(error(&settled), (409, "settled"), "{}", settled.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_cancels_the_channel_that_would_follow() {
    let server = TestServer::new().await;
    let settings = json!({ "time": "00:00", "until": "23:59" });
    server.answer(server.request(Method::PATCH, "/api/collections").json(&settings)).await;
    server.post("/api/collections/enable", json!({})).await;
    let id = issue(&server, "1", 5, json!({ "email": "one@sim.test", "phone": "+447700900001" })).await;
    server.post(&format!("/api/invoices/{id}/remind"), json!({ "step": "d7" })).await;
    let communication = eventually("the step is issued", async || {
        server.advance(21_000).await;
        let shown = server.get(&format!("/api/invoices/{id}")).await;
        shown.body["steps"][0]["communicationIds"][0].as_str().map(str::to_owned)
    })
    .await;
    server.until_status(&communication, "delivered").await;
    let link = server.get(&format!("/api/invoices/{id}")).await;
    let sent = (link.text("/paymentLink/sent/channel"), link.text("/paymentLink/sent/communicationId"));
    assert_eq!(sent, ("email", communication.as_str()), "{}", link.body);
    let events = server.events(&communication).await;
    assert!(!events.iter().any(|event| event == "CancellationRequested"), "{events:?}");
    let payment = json!({
        "payment": { "id": "p1", "amount": "100.00", "currency": "EUR", "receivedAt": format!("{}T00:00:00Z", day(&server, 0)) },
        "allocations": [{ "invoice": "1", "amount": "100.00" }],
    });
    tell(&server, "p1", "payment.received", payment).await;
    let timeline = server.get(&format!("/api/communications/{communication}/events")).await;
    let events = timeline.body["events"].as_array().expect("events");
    let cancelled = events.iter().find(|event| event["type"] == "CancellationRequested").map(|event| &event["data"]);
    assert_eq!(cancelled, Some(&json!({ "by": "SYSTEM_collections", "reason": "settled" })), "{}", timeline.body);
    server.advance(25 * 3_600_000).await;
    let texts = server.inbox("+447700900001").await;
    assert!(texts.is_empty(), "{texts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_has_the_invoices_of_a_customer_with_their_messages() {
    let server = TestServer::new().await;
    let id = issue(&server, "1", 5, json!({ "email": "one@sim.test" })).await;
    issue(&server, "2", 5, json!({ "email": "two@sim.test" })).await;
    let exported = eventually("the invoice", async || {
        let exported = server.get("/api/subjects/customer/1").await;
        (exported.text("/subject/id") == "1" && !exported.body["invoices"][0].is_null()).then_some(exported)
    })
    .await;
    let invoices = exported.body["invoices"].as_array().expect("invoices");
    assert_eq!((invoices.len(), &invoices[0]["id"], &invoices[0]["number"]), (1, &json!(id), &json!("INV-1")));
    let communications = exported.body["communications"].as_array().expect("communications");
    let sent = json!({ "communicationId": communications[0]["id"], "how": "automatic" });
    assert_eq!((&invoices[0]["sent"], &invoices[0]["totalMinor"]), (&sent, &json!(10_000)), "{}", exported.body);
    let address = server.get("/api/subjects/address/one@sim.test").await;
    assert_eq!(address.body["invoices"], json!([]), "an address has none of its own: {}", address.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_that_is_not_known_leads_to_the_parked_events_about_it() {
    let server = TestServer::new().await;
    let plain = server.get("/api/invoices/INV-9").await;
    assert_eq!((plain.status.as_u16(), &plain.body["parkedEvents"]), (404, &Value::Null), "{}", plain.body);
    let bad = json!({
        "id": "bus-1", "source": "erp", "account": local::DEV_ACCOUNT, "detail-type": "sale.created", "time": "2027-01-10T10:00:00Z",
        "detail": { "specversion": "1.0", "id": "s9", "type": "sale.created", "source": "erp",
                    "data": { "sale": { "id": "9", "number": "INV-9", "total": "a lot" } } },
    });
    let taken = server.post("/_dev/events", bad).await;
    let event = eventually("the event is parked", async || {
        let found = server.get("/api/business-events?status=parked&mentions=INV-9").await;
        found.body["results"][0]["id"].as_str().map(str::to_owned)
    })
    .await;
    let unknown = server.get("/api/invoices/INV-9").await;
    assert_eq!(unknown.body["parkedEvents"], json!([event]), "{} {}", taken.body, unknown.body);
    assert!(unknown.text("/detail").contains(&event), "{}", unknown.body);
    let other = server.get("/api/invoices/INV-8").await;
    assert_eq!((other.status.as_u16(), &other.body["parkedEvents"]), (404, &Value::Null));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_lists_sends_again_and_discards_events_that_name_no_tenant() {
    let server = TestServer::new().await;
    let nobody = Principal::admin("unassigned".parse().expect("a tenant"), "operator", Mode::Live);
    let key = "td_live_unassigned_operator".to_owned();
    ApiKeyStore::put(&server.local.database, &application::hash::key_hash(&key), &nobody).await.expect("a key");
    let events = ParkedEvents { url: server.local.url.clone(), key };
    let stranger = |id: &str| {
        json!({
            "id": id, "source": "erp", "account": "666666666666", "detail-type": "customer.created",
            "time": "2027-01-10T10:00:00Z", "detail": { "customer": { "id": id, "email": "c@sim.test" } },
        })
    };
    let parked = [server.post("/_dev/events", stranger("1")).await, server.post("/_dev/events", stranger("2")).await];
    let [first, second] = parked.map(|taken| taken.id());
    let listed = eventually("both are listed", async || {
        let listed = events.list(10).await.expect("a list");
        (listed.len() == 2).then_some(listed)
    })
    .await;
    assert!(listed.iter().any(|line| line.starts_with(&first) && line.contains("unknown_source  erp")), "{listed:?}");
    assert_eq!(events.list(1).await.expect("a list").len(), 1);

    let taken = events.replay(&first, local::DEV_KEY).await.expect("sent again");
    assert!(taken.ends_with(" handled"), "{taken}");
    let exported = server.get("/api/subjects/customer/1").await;
    assert_eq!(exported.text("/person/email"), "c@sim.test", "{}", exported.body);
    assert_eq!(events.replay(&first, local::DEV_KEY).await.expect("already taken"), taken);
    assert_eq!(events.discard(&second, Some("spam")).await.expect("discarded"), format!("{second} discarded"));
    eventually("none is left", async || events.list(10).await.expect("a list").is_empty().then_some(())).await;
    let unknown = ParkedEvents { key: "td_live_wrong".to_owned(), ..events };
    assert!(unknown.list(1).await.expect_err("an unknown key").contains("401"));
}
