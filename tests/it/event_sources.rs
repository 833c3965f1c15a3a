//! Events of several systems about the same things over HTTP: payments of another source than the invoice, invoices that
//! do not become known, the time zones of customers, and times in the future.

use domain::ports::ClockAndRng;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tests::server::{Answer, TestServer, eventually};

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

async fn take(server: &TestServer, event: Value) -> Answer {
    let taken = server.post("/api/events", event).await;
    assert_eq!(taken.status, StatusCode::ACCEPTED, "{}", taken.body);
    eventually("the event is handled, parked or tried", async || {
        let answer = server.get(&format!("/api/business-events/{}", taken.id())).await;
        let is_tried = answer.body["acts"].as_array().is_some_and(|acts| !acts.is_empty());
        (answer.text("/status") != "received" || is_tried).then_some(answer)
    })
    .await
}

fn outcomes(answer: &Answer) -> Vec<String> {
    let shown = |act: &Value| {
        let outcome = act["skipped"].as_str().unwrap_or("done");
        format!("{} {outcome}", act["act"].as_str().unwrap_or_default())
    };
    answer.body["acts"].as_array().expect("acts").iter().map(shown).collect()
}

/// So many days from now, as a civil day in UTC.
fn day(server: &TestServer, days: i64) -> String {
    time(server, days * DAY_MS)[..10].to_owned()
}

fn time(server: &TestServer, ms: i64) -> String {
    let at = server.local.clock.now() + ms;
    jiff::Timestamp::from_millisecond(at.0).expect("a time").to_string()
}

async fn sell(server: &TestServer, id: &str, customer: Value) -> Answer {
    let sale = json!({ "id": id, "number": format!("INV-{id}"), "date": day(server, 0), "dueDate": day(server, 3),
                       "total": "121.00", "currency": "EUR" });
    let data = json!({ "sale": sale, "customer": customer, "businessName": "Acme" });
    let sold =
        take(server, json!({ "id": format!("sale-{id}"), "type": "sale.created", "source": "erp", "data": data }));
    let sold = sold.await;
    assert_eq!(sold.text("/status"), "handled", "{}", sold.body);
    sold
}

async fn pay(server: &TestServer, id: &str, invoice: Value, amount: &str, token: Option<&str>) -> Answer {
    let payment =
        json!({ "id": id, "amount": amount, "currency": "EUR", "receivedAt": time(server, 0), "linkToken": token });
    let data = json!({ "payment": payment, "invoice": invoice });
    take(server, json!({ "id": id, "type": "payment.received", "source": "gateway", "data": data })).await
}

async fn token_of(server: &TestServer, to: &str) -> String {
    let page = format!("{}/t/local/pay/", server.local.url);
    eventually("a message with a link", async || {
        let bodies = server.inbox(to).await.into_iter().map(|message| message["body"].to_string());
        let body = bodies.into_iter().find(|body| body.contains(&page))?;
        Some(body.split(&page).nth(1)?.chars().take(43).collect())
    })
    .await
}

async fn invoice(server: &TestServer, id: &str) -> Answer {
    server.get(&format!("/api/invoices/{id}?namespace=erp")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verified_link_names_the_invoice_that_is_paid_whatever_the_ids_of_the_event_are() {
    let server = TestServer::new().await;
    server.post("/api/collections/enable", json!({})).await;
    let ada = json!({ "id": "7", "name": "Ada", "email": "ada@sim.test" });
    for id in ["ns1", "ns2"] {
        sell(&server, id, ada.clone()).await;
    }
    let bo = json!({ "id": "8", "name": "Bo", "email": "bo@sim.test" });
    sell(&server, "ns3", bo).await;
    let token = token_of(&server, "bo@sim.test").await;
    let done = ["payment done", "payment_link done", "payment_confirmation done"];
    // The same id in another system, and an id of the gateway.
    for (number, (named, amount)) in [(json!("ns3"), "100.00"), (json!("order-5"), "21.00")].into_iter().enumerate() {
        let paid = pay(&server, &format!("p{number}"), named.clone(), amount, Some(&token)).await;
        assert_eq!((paid.text("/status"), outcomes(&paid)), ("handled", done.map(str::to_owned).to_vec()), "{named}");
    }
    let paid = invoice(&server, "ns3").await;
    assert_eq!((paid.text("/status"), &paid.body["owedMinor"]), ("settled", &json!(0)), "{}", paid.body);
    assert_eq!(paid.body["paymentLink"]["payments"], json!(["p0", "p1"]), "{}", paid.body);
    let phantom = server.get("/api/invoices/ns3?namespace=gateway").await;
    assert_eq!(phantom.status, StatusCode::NOT_FOUND, "{}", phantom.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_namespace_of_a_mapping_says_whose_ids_of_invoices_a_source_has() {
    let server = TestServer::new().await;
    let mapping = server.request(Method::PUT, "/api/event-mappings/gateway").json(&json!({ "namespace": "erp" }));
    assert_eq!(server.answer(mapping).await.text("/mapping/namespace"), "erp");
    sell(&server, "ns1", json!({ "id": "7", "name": "Ada", "email": "ada@sim.test" })).await;
    let token = token_of(&server, "ada@sim.test").await;
    let by_id = pay(&server, "p1", json!("ns1"), "21.00", None).await;
    assert_eq!(outcomes(&by_id), ["payment done", "payment_confirmation done"], "{}", by_id.body);
    let by_link = pay(&server, "p2", json!("ns1"), "50.00", Some(&token)).await;
    assert_eq!(outcomes(&by_link), ["payment done", "payment_link done", "payment_confirmation done"]);
    assert_eq!(invoice(&server, "ns1").await.body["owedMinor"], json!(5_000));
    let data = json!({ "payment": "p1", "refund": "r1", "amount": "21.00", "currency": "EUR", "invoice": "ns1" });
    let event = json!({ "id": "r1", "type": "payment.refunded", "source": "gateway", "data": data });
    assert_eq!(outcomes(&take(&server, event).await), ["refund done"]);
    assert_eq!(invoice(&server, "ns1").await.body["owedMinor"], json!(7_100));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_of_an_invoice_that_does_not_become_known_is_parked_after_a_day() {
    let server = TestServer::new().await;
    let mut event = pay(&server, "p1", json!("nowhere"), "1.00", None).await;
    let path = format!("/api/business-events/{}", event.id());
    while event.text("/status") == "received" {
        let next = event.text("/nextTryAt").to_owned();
        let at: jiff::Timestamp = next.parse().expect("a time");
        let wait = at.as_millisecond() - server.local.clock.now().0 + 1;
        server.advance(wait.max(1).try_into().expect("a wait")).await;
        event = eventually("the next try", async || {
            let answer = server.get(&path).await;
            (answer.body["nextTryAt"].as_str() != Some(&next)).then_some(answer)
        })
        .await;
    }
    assert_eq!((event.text("/status"), event.text("/reason")), ("parked", "unknown_invoice"), "{}", event.body);
    assert_eq!(outcomes(&event), ["payment done", "payment_confirmation unknown_invoice"]);
    // Once the mapping says whose ids these are, it can be replayed.
    sell(&server, "nowhere", json!({ "id": "7", "name": "Ada", "email": "ada@sim.test" })).await;
    let mapping = server.request(Method::PUT, "/api/event-mappings/gateway").json(&json!({ "namespace": "erp" }));
    server.answer(mapping).await;
    server.post(&format!("{path}/replay"), json!({})).await;
    let replayed = eventually("the replay", async || {
        let answer = server.get(&path).await;
        (answer.text("/status") == "handled").then_some(answer)
    });
    assert_eq!(outcomes(&replayed.await), ["payment done", "payment_confirmation done"]);
    assert_eq!(invoice(&server, "nowhere").await.body["owedMinor"], json!(12_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_is_reminded_in_the_zone_that_an_earlier_event_told() {
    let server = TestServer::new().await;
    server.post("/api/collections/enable", json!({})).await;
    let customer = json!({ "id": "7", "email": "ada@sim.test", "timeZone": "America/Phoenix" });
    let created = json!({ "id": "c1", "type": "customer.created", "source": "crm", "data": { "customer": customer } });
    assert_eq!(take(&server, created).await.text("/status"), "handled");
    sell(&server, "z1", json!({ "id": "7" })).await;
    let hour = async |id: &str| {
        let shown = invoice(&server, id).await;
        let next: jiff::Timestamp = shown.text("/next/at").parse().expect("a time");
        (next.as_second() + 120).rem_euclid(86_400) / 3_600
    };
    assert_eq!(hour("z1").await, 16, "09:00 in Phoenix is 16:00 in UTC");
    sell(&server, "z2", json!({ "id": "7", "timeZone": "Asia/Tokyo" })).await;
    assert_eq!(hour("z2").await, 0, "what the event says comes first");
    sell(&server, "z3", json!({ "id": "9" })).await;
    assert_eq!(hour("z3").await, 9, "a customer whose zone is not known");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_more_than_a_day_in_the_future_is_parked() {
    let server = TestServer::new().await;
    let changed = |id: &str, name: &str, at: String| {
        let customer = json!({ "customer": { "id": "7", "name": name } });
        json!({ "id": id, "type": "customer.changed", "source": "crm", "time": at, "data": customer })
    };
    let late = take(&server, changed("c1", "Later", time(&server, DAY_MS + HOUR_MS))).await;
    assert_eq!((late.text("/status"), late.text("/reason")), ("parked", "in_future"), "{}", late.body);
    let soon = take(&server, changed("c2", "Soon", time(&server, DAY_MS - HOUR_MS))).await;
    assert_eq!(soon.text("/status"), "handled");
    let stated =
        json!({ "asOf": time(&server, 2 * DAY_MS), "currency": "EUR", "invoices": [{ "id": "1", "balance": "0" }] });
    let stated = json!({ "id": "s1", "type": "ar_invoice.statement", "source": "erp", "data": stated });
    assert_eq!(take(&server, stated).await.text("/reason"), "in_future");
    assert_eq!(server.get("/api/subjects/customer/7").await.text("/person/name"), "Soon");
}

#[tokio::test(flavor = "multi_thread")]
async fn null_resets_a_setting_of_an_automation_and_its_template_exists() {
    let server = TestServer::new().await;
    let patch = async |kind: &str, body: Value| {
        server.answer(server.request(Method::PATCH, &format!("/api/automations/{kind}")).json(&body)).await
    };
    let change =
        json!({ "enabled": false, "documentRequired": true, "renderInvoices": false, "template": "tpl_invoice_email" });
    let shown = |answer: &Answer| {
        let of = |name: &str| answer.body[name].clone();
        ["enabled", "documentRequired", "renderInvoices", "template"].map(of)
    };
    let changed = patch("invoice", change).await;
    assert_eq!(shown(&changed), [json!(false), json!(true), json!(false), json!("tpl_invoice_email")]);
    let null = json!({ "enabled": null, "documentRequired": null, "renderInvoices": null, "template": null });
    let reset = patch("invoice", null).await;
    assert_eq!(shown(&reset), [json!(true), json!(false), json!(true), Value::Null], "{}", reset.body);
    let refused = patch("invoice", json!({ "template": "nope" })).await;
    assert_eq!(
        (refused.status.as_u16(), refused.text("/errors/0/pointer"), refused.text("/errors/0/code")),
        (422, "/template", "unknown_template")
    );
    assert_eq!(patch("low_stock_alert", json!({ "renderInvoices": null })).await.status.as_u16(), 422);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_without_an_id_is_the_one_that_its_link_leads_to() {
    let server = TestServer::new().await;
    let invite = |id: &str, url: &str| {
        let user = json!({ "id": "9", "email": "bea@sim.test" });
        let data = json!({ "user": user, "businessName": "Acme", "inviteUrl": url });
        json!({ "id": id, "type": "user.invited", "source": "crm", "data": data })
    };
    let url = "https://app.example.com/invitations/44";
    assert_eq!(outcomes(&take(&server, invite("invite-44", url)).await), ["user_invitation done"]);
    assert_eq!(outcomes(&take(&server, invite("invite-44-b", url)).await), ["user_invitation already_sent"]);
    let other = take(&server, invite("invite-45", "https://app.example.com/invitations/45")).await;
    assert_eq!(outcomes(&other), ["user_invitation done"]);
}
