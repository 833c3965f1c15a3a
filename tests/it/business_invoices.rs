//! Events about invoices and payments over HTTP: what is sent, once, and what is known afterwards.

use reqwest::StatusCode;
use serde_json::{Value, json};
use tests::server::{Answer, TestServer, eventually};

fn sale(id: &str, total: &str, customer: Value) -> Value {
    json!({
        "sale": { "id": id, "number": format!("INV-{id}"), "date": "2027-01-10", "total": total, "currency": "EUR",
                  "dueDate": "2027-02-10" },
        "customer": customer, "businessName": "Acme",
    })
}

fn payment(id: &str, invoice: &str, amount: &str) -> Value {
    json!({
        "payment": { "id": id, "amount": amount, "currency": "EUR", "receivedAt": "2027-01-12T10:00:00Z" },
        "allocations": [{ "invoice": invoice, "amount": amount }],
    })
}

/// The outcome of an event's acts, such as `invoice email sent`, once it has one.
async fn acts(server: &TestServer, id: &str, kind: &str, data: Value) -> (Answer, Vec<String>) {
    let event = json!({ "id": id, "type": kind, "source": "erp", "data": data });
    let taken = server.post("/api/events", event).await;
    assert_eq!(taken.status, StatusCode::ACCEPTED, "{}", taken.body);
    let answer = eventually("the event is handled", async || {
        let answer = server.get(&format!("/api/business-events/{}", taken.id())).await;
        (answer.body["acts"].as_array().is_some_and(|acts| !acts.is_empty())).then_some(answer)
    })
    .await;
    let shown = |act: &Value| {
        let outcome = act["skipped"].as_str().unwrap_or("done");
        format!("{} {} {outcome}", act["act"].as_str().unwrap_or_default(), act["channel"].as_str().unwrap_or("-"))
    };
    let shown = answer.body["acts"].as_array().expect("acts").iter().map(shown).collect();
    (answer, shown)
}

async fn subjects(server: &TestServer, to: &str) -> Vec<String> {
    let inbox = server.inbox(to).await;
    inbox.iter().map(|message| message["subject"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sale_sends_its_invoice_once_whatever_the_events_are_called() {
    let server = TestServer::new().await;
    let customer = json!({ "id": "7", "name": "Ada", "email": "ada@sim.test" });
    let (_, first) = acts(&server, "s1", "sale.created", sale("7", "121.00", customer.clone())).await;
    assert_eq!(first, ["person - done", "invoice - done", "invoice email done"]);
    eventually("the invoice", async || subjects(&server, "ada@sim.test").await.first().cloned()).await;
    let (_, second) = acts(&server, "s2", "sale.created", sale("7", "121.00", customer)).await;
    assert_eq!(second, ["person - done", "invoice - done", "invoice email already_sent"]);
    assert_eq!(subjects(&server, "ada@sim.test").await, ["Invoice INV-7 from Acme"]);
    let body = server.inbox("ada@sim.test").await[0]["body"].to_string();
    assert!(body.contains("€121.00") && body.contains("Ada"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_sent_says_why() {
    let server = TestServer::new().await;
    let (_, no_email) = acts(&server, "s1", "sale.created", sale("1", "5", json!({ "id": "1", "name": "Bo" }))).await;
    assert_eq!(no_email, ["person - done", "invoice - done", "invoice email no_email"]);
    let mut without = sale("2", "5", Value::Null);
    without.as_object_mut().expect("an object").remove("customer");
    let (_, nobody) = acts(&server, "s2", "sale.created", without).await;
    assert_eq!(nobody, ["invoice - done", "invoice - no_customer"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_confirmed_with_what_remains_even_if_it_comes_before_its_invoice() {
    let server = TestServer::new().await;
    let (early, acts_before) = acts(&server, "p1", "payment.received", payment("p1", "9", "21.00")).await;
    assert_eq!(acts_before, ["payment - done", "payment_confirmation - unknown_invoice"], "{}", early.body);
    let customer = json!({ "id": "9", "name": "Cho", "email": "cho@sim.test" });
    acts(&server, "s9", "sale.created", sale("9", "121.00", customer)).await;
    server.advance(60_001).await;
    eventually("the confirmation", async || {
        let subjects = subjects(&server, "cho@sim.test").await;
        subjects.iter().any(|subject| subject == "We received your payment of €21.00").then_some(())
    })
    .await;
    let inbox = server.inbox("cho@sim.test").await;
    let confirmation = inbox.iter().find(|message| message["subject"] == "We received your payment of €21.00");
    let text = confirmation.expect("a confirmation")["body"].to_string();
    assert!(text.contains("INV-9") && text.contains("€100.00"), "{text}");
    let (_, again) = acts(&server, "p1-again", "payment.received", payment("p1", "9", "21.00")).await;
    assert_eq!(again, ["payment - done", "payment_confirmation email already_sent"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_failed_counts_nothing_and_is_shown() {
    let server = TestServer::new().await;
    let customer = json!({ "id": "5", "name": "Dan", "email": "dan@sim.test" });
    let (issued, _) = acts(&server, "s5", "sale.created", sale("5", "121.00", customer)).await;
    let facts = issued.body["acts"].as_array().expect("acts").iter().find(|act| act["act"] == "invoice");
    let path = format!("/api/invoices/{}", facts.expect("facts")["ref"].as_str().expect("an invoice"));
    let owed = async || {
        let shown = server.get(&path).await;
        (shown.body["owedMinor"].as_i64(), shown.body["failedPayments"].as_array().map_or(0, Vec::len))
    };
    let (_, never) = acts(&server, "f1", "payment.failed", json!({ "payment": "p0", "invoice": "5" })).await;
    assert_eq!((never, owed().await), (vec!["payment_failure - done".to_owned()], (Some(12_100), 1)));
    let explained = server.get(&format!("{path}/explain")).await;
    assert!(explained.text("/summary").contains("The payment p0 failed on"), "{}", explained.body);
    assert!(explained.text("/summary").ends_with("what is owed has not changed."), "{}", explained.body);

    acts(&server, "p5", "payment.received", payment("p1", "5", "121.00")).await;
    assert_eq!(owed().await, (Some(0), 1));
    server.advance(60_000).await;
    let failure = json!({ "payment": "p1", "invoice": "5", "reason": "Account of Dan Marker closed" });
    acts(&server, "f2", "payment.failed", failure).await;
    assert_eq!(owed().await, (Some(12_100), 2));
    let shown = server.get(&path).await;
    assert!(shown.body["payments"][0]["failedAt"].is_string(), "{}", shown.body);
    let events = server.get(&format!("{path}/events")).await;
    assert!(!events.body.to_string().contains("Marker"), "the reason stays in the vault: {}", events.body);
    let explained = server.get(&format!("{path}/explain")).await;
    assert!(explained.text("/summary").ends_with("so it counts nothing."), "{}", explained.body);

    let (_, nowhere) = acts(&server, "f3", "payment.failed", json!({ "payment": "p9" })).await;
    assert_eq!(nowhere, ["payment_failure - no_invoice"]);
}
