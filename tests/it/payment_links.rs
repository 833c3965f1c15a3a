//! Payment links over HTTP: asked for by events and people, in invoices and reminders, opened, used, expired and revoked.

use domain::ports::ClockAndRng;
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use tests::server::{Answer, TestServer, eventually};

const HOUR_MS: u32 = 3_600_000;
const DAY_MS: u32 = 24 * HOUR_MS;
const BROWSER: &str = "Mozilla/5.0 (Linux; Android 14) AppleWebKit/537.36 Chrome/120.0 Mobile Safari/537.36";

/// An invoice of 121.00 EUR of a customer with a telephone.
async fn invoice(server: &TestServer, id: &str, customer: Value) -> Answer {
    let data = json!({
        "invoice": { "id": id, "number": format!("INV-{id}"), "issuedOn": "2027-01-10", "dueOn": "2027-02-10",
                     "total": "121.00", "currency": "EUR", "status": "issued" },
        "customer": customer, "businessName": "Acme",
    });
    event(server, &format!("created-{id}"), "ar_invoice.created", data).await
}

fn ada() -> Value {
    json!({ "id": "7", "name": "Ada", "email": "ada@sim.test", "phone": "+447700900007" })
}

/// An event, once it is handled.
async fn event(server: &TestServer, id: &str, kind: &str, data: Value) -> Answer {
    let event = json!({ "id": id, "type": kind, "source": "erp", "data": data });
    let taken = server.post("/api/events", event).await;
    assert_eq!(taken.status, StatusCode::ACCEPTED, "{}", taken.body);
    eventually("the event is handled", async || {
        let answer = server.get(&format!("/api/business-events/{}", taken.id())).await;
        (answer.text("/status") == "handled").then_some(answer)
    })
    .await
}

/// The outcome of an act, such as `sms done`.
fn outcome(answer: &Answer, name: &str) -> String {
    let acts = answer.body["acts"].as_array().expect("acts");
    let act = acts.iter().find(|act| act["act"] == name).unwrap_or_else(|| panic!("{name}: {}", answer.body));
    format!("{} {}", act["channel"].as_str().unwrap_or("-"), act["skipped"].as_str().unwrap_or("done"))
}

async fn pay(server: &TestServer, id: &str, invoice: &str, amount: &str, token: Option<&str>) -> Answer {
    let data = json!({
        "payment": { "id": id, "amount": amount, "currency": "EUR", "receivedAt": "2027-01-12T10:00:00Z", "linkToken": token },
        "invoice": invoice,
    });
    event(server, &format!("payment-{id}"), "payment.received", data).await
}

/// The last message to an address that contains a link, and its token.
async fn link_in(server: &TestServer, to: &str, page: &str) -> (String, String) {
    eventually("a message with a link", async || {
        let inbox = server.inbox(to).await;
        let body = inbox.iter().map(|message| message["body"].to_string()).find(|body| body.contains(page))?;
        let token: String = body.split(page).nth(1)?.chars().take(43).collect();
        Some((body, token))
    })
    .await
}

/// The page of a link, as a person opens it.
async fn open(server: &TestServer, method: Method, agent: &str, path: &str) -> Answer {
    let request = server.client.request(method, format!("{}{path}", server.local.url));
    server.answer(request.header(header::USER_AGENT, agent).header(header::ACCEPT_LANGUAGE, "en")).await
}

async fn resolve(server: &TestServer, token: &str) -> Answer {
    server.post("/api/payment-links/resolve", json!({ "token": token })).await
}

fn state_and_owed(answer: &Answer) -> (String, Value) {
    (answer.text("/state").to_owned(), answer.body["owedMinor"].clone())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_of_an_invoice_is_in_its_email_and_its_page_shows_what_is_owed_now() {
    let server = TestServer::new().await;
    invoice(&server, "12", ada()).await;
    let page = format!("{}/t/local/pay/", server.local.url);
    let (body, token) = link_in(&server, "ada@sim.test", &page).await;
    assert!(body.contains("INV-12"), "{body}");
    let path = format!("/t/local/pay/{token}");

    let shown = open(&server, Method::GET, BROWSER, &path).await;
    assert_eq!(shown.status, StatusCode::OK);
    let text = shown.body.as_str().expect("a page");
    assert!(text.contains("INV-12") && text.contains("€121.00") && text.contains("noindex"), "{text}");
    assert!(!text.contains("Ada"), "the customer is not named: {text}");
    for (name, value) in
        [("x-frame-options", "DENY"), ("cache-control", "no-store"), ("referrer-policy", "no-referrer")]
    {
        assert_eq!(shown.headers[name], value);
    }
    let spanish = server.client.get(format!("{}{path}", server.local.url)).header(header::ACCEPT_LANGUAGE, "es-MX");
    let spanish = server.answer(spanish.header(header::USER_AGENT, "WhatsApp/2.23 A")).await;
    assert!(spanish.body.as_str().is_some_and(|text| text.contains("Por pagar")), "{}", spanish.body);
    assert_eq!(open(&server, Method::HEAD, BROWSER, &path).await.status, StatusCode::OK);
    open(&server, Method::GET, "facebookexternalhit/1.1", &path).await;
    let invoice = server.get("/api/invoices/12?namespace=erp").await;
    let link = &invoice.body["paymentLink"];
    assert_eq!((&link["state"], &link["openings"]), (&json!("open"), &json!(1)), "only the person counts: {link}");
    assert!(!invoice.body.to_string().contains(&token), "{}", invoice.body);

    pay(&server, "p1", "12", "21.00", None).await;
    let part = open(&server, Method::GET, BROWSER, &path).await;
    assert!(part.body.as_str().is_some_and(|text| text.contains("€100.00")), "{}", part.body);
    pay(&server, "p2", "12", "100.00", None).await;
    let settled = open(&server, Method::GET, BROWSER, &path).await;
    let text = settled.body.as_str().expect("a page");
    assert!(text.contains("is paid") && !text.contains('€'), "{text}");
    assert_eq!(state_and_owed(&resolve(&server, &token).await), ("settled".to_owned(), Value::Null));

    // A wrong token, one of another tenant and a cut one are the same.
    let changed = if token.ends_with('A') { "E" } else { "A" };
    let wrong = [
        format!("/t/local/pay/{}{changed}", &token[..42]),
        format!("/t/other/pay/{token}"),
        format!("/t/local/pay/{}", &token[..42]),
        "/t/local/pay/x".to_owned(),
        format!("/t/NO/pay/{token}"),
    ];
    let mut bodies = Vec::new();
    for path in wrong {
        let answer = open(&server, Method::GET, BROWSER, &path).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        bodies.push(answer.body);
    }
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    assert_eq!(resolve(&server, &token[..42]).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_sends_a_link_by_the_channel_that_was_asked_for_or_by_sms() {
    let server = TestServer::new().await;
    let request = |channel: Value| json!({ "invoice": "12", "channel": channel, "expiresIn": "P7D" });
    let early = json!({ "id": "r0", "type": "payment_link.requested", "source": "erp", "data": request(Value::Null) });
    let early = server.post("/api/events", early).await;
    assert_eq!(early.text("/acts/0/skipped"), "unknown_invoice", "{}", early.body);
    invoice(&server, "12", ada()).await;
    let asked = event(&server, "r1", "payment_link.requested", request(json!("email"))).await;
    assert_eq!(outcome(&asked, "payment_link"), "email done");
    let by_sms = event(&server, "r2", "payment_link.requested", request(Value::Null)).await;
    assert_eq!(outcome(&by_sms, "payment_link"), "sms done");
    let page = format!("{}/t/local/pay/", server.local.url);
    let (body, token) = link_in(&server, "+447700900007", &page).await;
    assert!(body.contains("Ada, pay €121.00 for INV-12 here: "), "{body}");
    let again = event(&server, "r2-again", "payment_link.requested", request(json!("telegram"))).await;
    assert_eq!(outcome(&again, "payment_link"), "telegram no_contact", "{}", again.body);
    // The invoice has one link, and it is that of its email.
    let (_, in_email) = link_in(&server, "ada@sim.test", &page).await;
    assert_eq!(token, in_email);
    let link = server.get("/api/invoices/12?namespace=erp").await.body["paymentLink"].clone();
    assert_eq!((&link["sent"]["channel"], &link["state"]), (&json!("sms"), &json!("open")), "{link}");

    let wrong = json!({ "invoice": "12", "expiresIn": "PT30M" });
    let refused =
        server.post("/api/events", json!({ "id": "r3", "type": "payment_link.requested", "data": wrong })).await;
    assert_eq!((refused.status.as_u16(), refused.text("/errors/0/pointer")), (422, "/data/expiresIn"));
    event(&server, "v", "ar_invoice.disputed", json!({ "invoice": "12" })).await;
    let disputed = event(&server, "r4", "payment_link.requested", request(json!("sms"))).await;
    assert_eq!(outcome(&disputed, "payment_link"), "sms disputed");
    event(&server, "v2", "ar_invoice.voided", json!({ "invoice": "12" })).await;
    let voided = event(&server, "r5", "payment_link.requested", request(json!("sms"))).await;
    assert_eq!(outcome(&voided, "payment_link"), "sms voided");
    assert_eq!(state_and_owed(&resolve(&server, &token).await), ("void".to_owned(), Value::Null));
    invoice(&server, "13", json!({ "id": "8", "name": "Bo" })).await;
    let nobody = event(&server, "r6", "payment_link.requested", json!({ "invoice": "13" })).await;
    assert_eq!(outcome(&nobody, "payment_link"), "sms no_phone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_uses_its_link_and_is_confirmed_by_its_channel() {
    let server = TestServer::new().await;
    invoice(&server, "12", ada()).await;
    invoice(&server, "13", ada()).await;
    event(&server, "r1", "payment_link.requested", json!({ "invoice": "12" })).await;
    let page = format!("{}/t/local/pay/", server.local.url);
    let (_, token) = link_in(&server, "+447700900007", &page).await;
    let resolved = resolve(&server, &token).await;
    assert_eq!(
        (resolved.text("/sourceId"), resolved.text("/owed"), resolved.text("/currency")),
        ("12", "121.00", "EUR")
    );
    assert_eq!(state_and_owed(&resolved), ("open".to_owned(), json!(12_100)));

    let wrong = pay(&server, "p1", "12", "1.00", Some("AAAA")).await;
    assert_eq!(outcome(&wrong, "payment_link"), "- unknown_link");
    assert_eq!(
        (outcome(&wrong, "payment").as_str(), outcome(&wrong, "payment_confirmation").as_str()),
        ("- done", "email done")
    );
    let other = pay(&server, "p2", "13", "1.00", Some(&token)).await;
    assert_eq!(outcome(&other, "payment_link"), "- link_of_another_invoice");
    let paid = pay(&server, "p3", "12", "120.00", Some(&token)).await;
    assert_eq!(outcome(&paid, "payment_link"), "- done");
    let channels: Vec<&str> = paid.body["acts"]
        .as_array()
        .expect("acts")
        .iter()
        .filter(|act| act["act"] == "payment_confirmation")
        .map(|act| act["channel"].as_str().expect("a channel"))
        .collect();
    assert_eq!(channels, ["email", "sms"], "the link went by SMS: {}", paid.body);
    let link = server.get("/api/invoices/12?namespace=erp").await.body["paymentLink"].clone();
    assert_eq!((&link["payments"], &link["state"]), (&json!(["p3"]), &json!("settled")), "{link}");
    let events = server.get("/api/invoices/12/events?namespace=erp").await;
    let recorded = events.body["events"].as_array().expect("events").iter();
    let links: Vec<&Value> =
        recorded.filter(|event| event["type"] == "PaymentRecorded").map(|event| &event["data"]["link"]).collect();
    assert_eq!(links, [&Value::Null, &link["id"]]);
    assert!(!events.body.to_string().contains(&token));
    let settled = event(&server, "r2", "payment_link.requested", json!({ "invoice": "12" })).await;
    assert_eq!(outcome(&settled, "payment_link"), "- settled");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_sends_a_link_once_and_revokes_it() {
    let server = TestServer::new().await;
    invoice(&server, "12", ada()).await;
    let send = async |key: &str, body: Value| {
        let request =
            server.request(Method::POST, "/api/invoices/12/payment-link?namespace=erp").header("idempotency-key", key);
        server.answer(request.json(&body)).await
    };
    let sent = send("k1", json!({ "channel": "sms", "expiresIn": "P20D" })).await;
    assert_eq!((sent.status, sent.text("/channel")), (StatusCode::CREATED, "sms"), "{}", sent.body);
    let id = sent.text("/paymentLink/id").to_owned();
    assert_eq!(sent.headers["location"], format!("/api/payment-links/{id}"));
    let message = server.communication(sent.text("/communicationId")).await;
    assert_eq!((message.text("/type"), message.text("/entityId")), ("payment_link", "12"), "{}", message.body);
    let again = send("k1", json!({ "channel": "sms", "expiresIn": "P20D" })).await;
    assert_eq!(
        (again.text("/communicationId"), &again.headers["idempotent-replayed"]),
        (sent.text("/communicationId"), &header::HeaderValue::from_static("true"))
    );
    assert_eq!(send("k1", json!({ "channel": "email" })).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(send("k2", json!({})).await.text("/paymentLink/id"), id, "the invoice has one link");

    let wrong = send("k3", json!({ "channel": "fax", "expiresIn": "1y", "colour": "red" })).await;
    let mut pointers: Vec<&str> =
        wrong.body["errors"].as_array().expect("errors").iter().filter_map(|error| error["pointer"].as_str()).collect();
    pointers.sort_unstable();
    assert_eq!((wrong.status.as_u16(), pointers), (422, vec!["/channel", "/colour", "/expiresIn"]));
    for given in ["PT59M", "P367D", "soon", "-P1D"] {
        assert_eq!(send("k3", json!({ "expiresIn": given })).await.text("/errors/0/pointer"), "/expiresIn", "{given}");
    }
    let unreachable = send("k3", json!({ "channel": "telegram" })).await;
    assert_eq!(unreachable.text("/errors/0/code"), "no_contact", "{}", unreachable.body);
    assert_eq!(
        server.post("/api/invoices/99/payment-link?namespace=erp", json!({})).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(server.get("/api/payment-links/pay_1").await.status, StatusCode::NOT_FOUND);

    let page = format!("{}/t/local/pay/", server.local.url);
    let (_, token) = link_in(&server, "+447700900007", &page).await;
    for _ in 0..22 {
        resolve(&server, &token).await;
    }
    let found = server.get(&format!("/api/payment-links/{id}")).await;
    assert_eq!((&found.body["openings"], &found.body["hasMoreOpenings"]), (&json!(20), &json!(true)), "{}", found.body);
    let revoke = async || server.answer(server.request(Method::DELETE, &format!("/api/payment-links/{id}"))).await;
    assert_eq!((revoke().await.status, revoke().await.status), (StatusCode::NO_CONTENT, StatusCode::NO_CONTENT));
    assert_eq!(state_and_owed(&resolve(&server, &token).await), ("revoked".to_owned(), Value::Null));
    let text = open(&server, Method::GET, BROWSER, &format!("/t/local/pay/{token}")).await.body.to_string();
    assert!(text.contains("no longer valid") && !text.contains("121"), "{text}");
    let next = send("k4", json!({ "channel": "sms" })).await;
    assert_ne!(next.text("/paymentLink/id"), id);
    let audit = server.get("/api/audit?subject=invoices").await;
    let acts: Vec<&str> =
        audit.body["acts"].as_array().expect("acts").iter().filter_map(|act| act["data"]["act"].as_str()).collect();
    assert_eq!(acts, ["payment_link", "payment_link_revoked", "payment_link_revoked", "payment_link", "payment_link"]);
    event(&server, "v", "ar_invoice.voided", json!({ "invoice": "12" })).await;
    let refused = send("k5", json!({})).await;
    assert_eq!((refused.status, refused.text("/detail").contains("voided")), (StatusCode::CONFLICT, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_expires_and_is_renewed_before() {
    let server = TestServer::new().await;
    invoice(&server, "12", ada()).await;
    let page = format!("{}/t/local/pay/", server.local.url);
    let (_, first) = link_in(&server, "ada@sim.test", &page).await;
    server.advance(16 * DAY_MS - HOUR_MS).await;
    let same = server.post("/api/invoices/12/payment-link?namespace=erp", json!({ "channel": "sms" })).await;
    let id = same.text("/paymentLink/id").to_owned();
    server.advance(2 * HOUR_MS).await;
    let renewed = server.post("/api/invoices/12/payment-link?namespace=erp", json!({ "channel": "sms" })).await;
    assert_ne!(renewed.text("/paymentLink/id"), id);
    assert_eq!(resolve(&server, &first).await.text("/state"), "open", "the earlier link is valid until it expires");
    server.advance(14 * DAY_MS).await;
    assert_eq!(state_and_owed(&resolve(&server, &first).await), ("expired".to_owned(), Value::Null));
    let text = open(&server, Method::GET, BROWSER, &format!("/t/local/pay/{first}")).await.body.to_string();
    assert!(text.contains("has expired") && !text.contains("121"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_own_page_is_where_links_lead() {
    let server = TestServer::new().await;
    let patch = async |kind: &str, body: Value| {
        server.answer(server.request(Method::PATCH, &format!("/api/automations/{kind}")).json(&body)).await
    };
    for wrong in ["http://pay.example.com", "https://localhost", "https://pay.example.com?x=1", "pay"] {
        let refused = patch("payment_link", json!({ "paymentUrl": wrong })).await;
        assert_eq!((refused.status.as_u16(), refused.text("/errors/0/pointer")), (422, "/paymentUrl"), "{wrong}");
    }
    assert_eq!(patch("invoice", json!({ "paymentUrl": "https://pay.example.com" })).await.status.as_u16(), 422);
    let set = patch("payment_link", json!({ "paymentUrl": "https://pay.example.com/" })).await;
    assert_eq!(set.text("/paymentUrl"), "https://pay.example.com", "{}", set.body);
    invoice(&server, "12", ada()).await;
    let (_, token) = link_in(&server, "ada@sim.test", "https://pay.example.com/pay/").await;
    assert_eq!(resolve(&server, &token).await.text("/state"), "open");
    assert_eq!(patch("payment_link", json!({ "paymentUrl": null })).await.body["paymentUrl"], Value::Null);
    patch("payment_link", json!({ "enabled": false })).await;
    invoice(&server, "13", json!({ "id": "8", "name": "Bo", "email": "bo@sim.test" })).await;
    let without = eventually("the invoice", async || server.inbox("bo@sim.test").await.first().cloned()).await;
    assert!(!without["body"].to_string().contains("/pay/"), "{without}");
    let off = event(&server, "r1", "payment_link.requested", json!({ "invoice": "12" })).await;
    assert_eq!(outcome(&off, "payment_link"), "- automation_off");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_waits_is_not_sent_once_its_invoice_is_settled() {
    let server = TestServer::new().await;
    let hours_from_now = |hours: i64| {
        let at = server.local.clock.now() + hours * i64::from(HOUR_MS);
        jiff::Timestamp::from_millisecond(at.0).expect("a time").strftime("%H:%M").to_string()
    };
    let (start, end) = (hours_from_now(-1), hours_from_now(2));
    let quiet = json!({ "quietHours": { "start": start, "end": end, "timeZone": "UTC" } });
    let preferences = "/api/communication-preferences/customer/7";
    server.answer(server.request(Method::PATCH, preferences).json(&quiet)).await;
    invoice(&server, "12", ada()).await;
    let sent = server.post("/api/invoices/12/payment-link?namespace=erp", json!({ "channel": "sms" })).await;
    let id = sent.text("/communicationId").to_owned();
    server.until_status(&id, "scheduled").await;
    pay(&server, "p1", "12", "121.00", None).await;
    server.advance(3 * HOUR_MS).await;
    let message = server.until_status(&id, "suppressed").await;
    assert!(message.body.to_string().contains("settled"), "{}", message.body);
    assert_eq!(server.inbox("+447700900007").await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_of_an_erased_customer_is_gone() {
    let server = TestServer::new().await;
    invoice(&server, "12", ada()).await;
    let page = format!("{}/t/local/pay/", server.local.url);
    let (_, token) = link_in(&server, "ada@sim.test", &page).await;
    let id = server.get("/api/invoices/12?namespace=erp").await.text("/paymentLink/id").to_owned();
    eventually("the invoice is listed", async || {
        let rows = server.get("/api/invoices").await;
        rows.body["results"].as_array().is_some_and(|rows| !rows.is_empty()).then_some(())
    })
    .await;
    server.answer(server.request(Method::DELETE, "/api/subjects/customer/7")).await;
    assert_eq!(
        open(&server, Method::GET, BROWSER, &format!("/t/local/pay/{token}")).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(resolve(&server, &token).await.status, StatusCode::NOT_FOUND);
    let found = server.get(&format!("/api/payment-links/{id}")).await;
    assert_eq!((found.text("/state"), found.text("/revoked/reason")), ("revoked", "erased"), "{}", found.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_answers_so_many_requests_of_one_address_in_a_minute() {
    let server = TestServer::new().await;
    invoice(&server, "12", ada()).await;
    let page = format!("{}/t/local/pay/", server.local.url);
    let (_, token) = link_in(&server, "ada@sim.test", &page).await;
    // The minute does not end meanwhile.
    let left = 60_000 - server.local.clock.now().0.rem_euclid(60_000);
    server.advance(u32::try_from(left).expect("a minute") + 1).await;
    let path = format!("/t/local/pay/{token}");
    for _ in 0..60 {
        assert_eq!(open(&server, Method::HEAD, BROWSER, &path).await.status, StatusCode::OK);
    }
    let refused = open(&server, Method::GET, BROWSER, &path).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{}", refused.body);
    assert!(refused.headers.contains_key("retry-after"), "{:?}", refused.headers);
    let wrong = format!("/t/local/pay/{}", "A".repeat(43));
    assert_eq!(open(&server, Method::GET, BROWSER, &wrong).await.status, StatusCode::NOT_FOUND);
    server.advance(60_000).await;
    assert_eq!(open(&server, Method::GET, BROWSER, &path).await.status, StatusCode::OK);
}
